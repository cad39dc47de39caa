/* Bit planes: the one layout of packed matrices, [bits][rows][ceil(k/128)*16 bytes]; bit k%8 of
 * byte k/8; plane 0 the least significant; tail bits zero. */
#ifndef APQ_BITPLANE_H
#define APQ_BITPLANE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of one row of one plane: ceil(k/128)*16. */
int64_t apq__plane_row_bytes(int64_t k);
/* Bytes of all planes. */
int64_t apq__planes_bytes(int64_t rows, int64_t k, int bits);

/* Packs codes [rows][ld] (each below 2^bits) and writes row sums [rows] when `sums` is not NULL.
 * `_scalar` is the reference, written to be read; the other is fast and gives the same bytes. */
void apq__pack_planes_scalar(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, int bits,
                             uint8_t *planes, int32_t *sums);
void apq__pack_planes(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, int bits,
                      uint8_t *planes, int32_t *sums);
void apq__unpack_planes(const uint8_t *planes, int64_t rows, int64_t k, int bits, uint8_t *codes,
                        int64_t ld);

/* Sums of the codes of each row [rows] and, where `group_sums` is not NULL, of each group of
 * `group` (a multiple of 32) codes of a row [rows][ceil(k/group)].  Modulo 2^32.  Rows begin to
 * end. */
void apq__plane_sums(const uint8_t *planes, int64_t rows, int64_t k, int bits, int group,
                     int64_t begin, int64_t end, int32_t *sums, int32_t *group_sums);
/* The first row with a bit set beyond column k in any plane, or -1. */
int64_t apq__plane_dirty_row(const uint8_t *planes, int64_t rows, int64_t k, int bits);

/* Byte form that u8 kernels read: [rows][ceil(k/128)*128], codes of each block of 128 permuted so
 * that the four codes a kernel extracts together from a 32-bit plane word lie in one word: code k =
 * 32t + 8j + b of a block (t < 4, j < 4, b < 8) is at byte 16b + 4t + j, so that ldmatrix of chunk
 * b gives word b to lane t.  Tail bytes zero. */
int64_t apq__byte_row_bytes(int64_t k);
int64_t apq__byte_position(int64_t k);
void apq__pack_bytes(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, uint8_t *bytes,
                     int32_t *sums);

/* Pairs, the byte form of codes a of at most four bits for kernels whose weights stay two codes a
 * byte.  Codes k and k + 4 with k % 8 < 4 are a pair; with a' = a + 1 the place of the second holds
 * a'[k + 4], that of the first 16 a'[k] - a'[k + 4], which is in 0 ... 255.  Then
 *   (w[k] + 16 w[k + 4]) second + w[k] first = 16 (w[k] a'[k] + w[k + 4] a'[k + 4]),
 * so the low codes alone and both as they are, which are cheaper to make than both alone, give 16
 * times the product with a'.  Tail codes are 0 like the weights' there. */
void apq__pack_pairs(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, uint8_t *bytes,
                     int32_t *sums);

/* The forms in which kernels take activations. */
typedef enum apq__form {
  APQ__FORM_PLANES,
  APQ__FORM_BYTES,
  APQ__FORM_PAIRS,
  APQ__FORM_COUNT
} apq__form;
/* As configs name it. */
const char *apq__form_name(apq__form form);
/* Most bits that codes may have. */
int apq__form_bits(apq__form form);
/* Bytes of a row (of a plane), and of all. */
int64_t apq__form_row_bytes(apq__form form, int64_t k);
int64_t apq__form_bytes(apq__form form, int64_t rows, int64_t k, int bits);
void apq__pack_form(apq__form form, const uint8_t *codes, int64_t ld, int64_t rows, int64_t k,
                    int bits, uint8_t *packed, int32_t *sums);

#endif
