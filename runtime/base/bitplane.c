#include "bitplane.h"

#include <string.h>

enum { BLOCK = 128 };

int64_t apq__plane_row_bytes(int64_t k) {
  return (k + BLOCK - 1) / BLOCK * (BLOCK / 8);
}

int64_t apq__planes_bytes(int64_t rows, int64_t k, int bits) {
  return apq__plane_row_bytes(k) * rows * bits;
}

void apq__pack_planes_scalar(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, int bits,
                             uint8_t *planes, int32_t *sums) {
  int64_t row_bytes = apq__plane_row_bytes(k);
  memset(planes, 0, (size_t)apq__planes_bytes(rows, k, bits));
  for (int64_t row = 0; row < rows; row++) {
    uint32_t sum = 0;
    for (int64_t i = 0; i < k; i++) {
      uint8_t code = codes[row * ld + i];
      sum += code;
      for (int bit = 0; bit < bits; bit++)
        planes[(bit * rows + row) * row_bytes + i / 8] |= (uint8_t)((code >> bit & 1) << (i % 8));
    }
    if (sums) sums[row] = (int32_t)sum;
  }
}

/* Up to eight codes, code i in byte i counted from the least significant, on any byte order. */
static uint64_t load_codes(const uint8_t *codes, int64_t count) {
  uint64_t word = 0;
  if (count >= 8) {
    for (int i = 0; i < 8; i++) word |= (uint64_t)codes[i] << (8 * i);
  } else {
    for (int i = 0; i < count; i++) word |= (uint64_t)codes[i] << (8 * i);
  }
  return word;
}

/* Bit 0 of byte i becomes bit i: the product moves it from 8i to 56 + i, and no two terms meet at
 * one place. */
static uint8_t gather_bits(uint64_t bytes) {
  return (uint8_t)(((bytes & 0x0101010101010101u) * 0x0102040810204080u) >> 56);
}

/* The inverse: bit i becomes bit 0 of byte i. */
static uint64_t spread_bits(uint8_t bits) {
  uint64_t chosen = (bits * 0x0101010101010101u) & 0x8040201008040201u;
  return ((chosen + 0x7f7f7f7f7f7f7f7fu) >> 7) & 0x0101010101010101u;
}

static uint32_t add_bytes(uint64_t bytes) {
  uint64_t pairs = (bytes & 0x00ff00ff00ff00ffu) + (bytes >> 8 & 0x00ff00ff00ff00ffu);
  return (uint32_t)((pairs * 0x0001000100010001u) >> 48);
}

void apq__pack_planes(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, int bits,
                      uint8_t *planes, int32_t *sums) {
  int64_t row_bytes = apq__plane_row_bytes(k), plane_bytes = rows * row_bytes;
  for (int64_t row = 0; row < rows; row++) {
    const uint8_t *from = codes + row * ld;
    uint8_t *to = planes + row * row_bytes;
    uint32_t sum = 0;
    for (int64_t byte = 0; byte < row_bytes; byte++) {
      uint64_t word = load_codes(from + 8 * byte, k - 8 * byte);
      sum += add_bytes(word);
      for (int bit = 0; bit < bits; bit++) to[bit * plane_bytes + byte] = gather_bits(word >> bit);
    }
    if (sums) sums[row] = (int32_t)sum;
  }
}

void apq__unpack_planes(const uint8_t *planes, int64_t rows, int64_t k, int bits, uint8_t *codes,
                        int64_t ld) {
  int64_t row_bytes = apq__plane_row_bytes(k), plane_bytes = rows * row_bytes;
  for (int64_t row = 0; row < rows; row++) {
    const uint8_t *from = planes + row * row_bytes;
    for (int64_t i = 0; i < k; i += 8) {
      uint64_t word = 0;
      for (int bit = 0; bit < bits; bit++)
        word |= spread_bits(from[bit * plane_bytes + i / 8]) << bit;
      for (int64_t j = 0; j < 8 && i + j < k; j++)
        codes[row * ld + i + j] = (uint8_t)(word >> (8 * j));
    }
  }
}

void apq__plane_sums(const uint8_t *planes, int64_t rows, int64_t k, int bits, int group,
                     int64_t begin, int64_t end, int32_t *sums, int32_t *group_sums) {
  const int64_t row_bytes = apq__plane_row_bytes(k), plane_bytes = rows * row_bytes;
  const int64_t words = (k + 31) / 32, groups = group_sums ? (k + group - 1) / group : 0;
  for (int64_t row = begin; row < end; row++) {
    uint32_t total = 0;
    int32_t *parts = group_sums ? group_sums + row * groups : NULL;
    for (int64_t i = 0; i < groups; i++) parts[i] = 0;
    for (int64_t i = 0; i < words; i++) {
      uint32_t sum = 0;
      for (int bit = 0; bit < bits; bit++) {
        uint32_t word;
        memcpy(&word, planes + bit * plane_bytes + row * row_bytes + 4 * i, sizeof word);
        sum += (uint32_t)__builtin_popcount(word) << bit;
      }
      total += sum;
      if (parts) parts[32 * i / group] += (int32_t)sum;
    }
    if (sums) sums[row] = (int32_t)total;
  }
}

int64_t apq__plane_dirty_row(const uint8_t *planes, int64_t rows, int64_t k, int bits) {
  const int64_t row_bytes = apq__plane_row_bytes(k), whole = k / 8;
  for (int64_t row = 0; row < rows * bits; row++) {
    const uint8_t *at = planes + row * row_bytes;
    unsigned beyond = k % 8 ? (unsigned)at[whole] >> (k % 8) : 0u;
    for (int64_t i = whole + (k % 8 != 0); i < row_bytes; i++) beyond |= at[i];
    if (beyond) return row % rows;
  }
  return -1;
}

int64_t apq__byte_row_bytes(int64_t k) {
  return (k + BLOCK - 1) / BLOCK * BLOCK;
}

int64_t apq__byte_position(int64_t k) {
  int64_t b = k % 8, j = k / 8 % 4, t = k / 32 % 4;
  return k / 128 * 128 + 16 * b + 4 * t + j;
}

void apq__pack_bytes(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, uint8_t *bytes,
                     int32_t *sums) {
  int64_t row_bytes = apq__byte_row_bytes(k);
  memset(bytes, 0, (size_t)(rows * row_bytes));
  for (int64_t row = 0; row < rows; row++) {
    uint32_t sum = 0;
    for (int64_t i = 0; i < k; i++) {
      uint8_t code = codes[row * ld + i];
      sum += code;
      bytes[row * row_bytes + apq__byte_position(i)] = code;
    }
    if (sums) sums[row] = (int32_t)sum;
  }
}

void apq__pack_pairs(const uint8_t *codes, int64_t ld, int64_t rows, int64_t k, uint8_t *bytes,
                     int32_t *sums) {
  int64_t row_bytes = apq__byte_row_bytes(k);
  apq__pack_bytes(codes, ld, rows, k, bytes, sums);
  for (int64_t i = 0; i < rows * row_bytes; i += BLOCK) {
    for (int j = 0; j < BLOCK / 2; j++) {
      uint8_t *first = bytes + i + j, *second = first + BLOCK / 2;
      *second = (uint8_t)(*second + 1);
      *first = (uint8_t)(16 * (*first + 1) - *second);
    }
  }
}

static const struct {
  const char *name;
  int bits;
} forms[APQ__FORM_COUNT] = {
    [APQ__FORM_PLANES] = {"planes", 8},
    [APQ__FORM_BYTES] = {"bytes", 8},
    [APQ__FORM_PAIRS] = {"pairs", 4},
};

const char *apq__form_name(apq__form form) {
  return forms[form].name;
}

int apq__form_bits(apq__form form) {
  return forms[form].bits;
}

int64_t apq__form_row_bytes(apq__form form, int64_t k) {
  return form == APQ__FORM_PLANES ? apq__plane_row_bytes(k) : apq__byte_row_bytes(k);
}

int64_t apq__form_bytes(apq__form form, int64_t rows, int64_t k, int bits) {
  return apq__form_row_bytes(form, k) * rows * (form == APQ__FORM_PLANES ? bits : 1);
}

void apq__pack_form(apq__form form, const uint8_t *codes, int64_t ld, int64_t rows, int64_t k,
                    int bits, uint8_t *packed, int32_t *sums) {
  if (form == APQ__FORM_PLANES)
    apq__pack_planes(codes, ld, rows, k, bits, packed, sums);
  else if (form == APQ__FORM_BYTES)
    apq__pack_bytes(codes, ld, rows, k, packed, sums);
  else
    apq__pack_pairs(codes, ld, rows, k, packed, sums);
}
