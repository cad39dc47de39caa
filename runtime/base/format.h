/* Number formats as the affine map of a code: v = scale * (alpha * u - zero). */
#ifndef APQ_FORMAT_H
#define APQ_FORMAT_H

#include <stdint.h>

#include "apq.h"

typedef struct apq__affine {
  int alpha, zero;
} apq__affine;

/* The map of a format at `bits` bits (table in apq.h). */
apq__affine apq__format_affine(apq_format format, int bits);

/* Largest |alpha*u - zero| over all codes and, when `zero` is not NULL, over its `count` zero
 * points (which replace the format's own). */
int64_t apq__format_max_abs(apq_format format, int bits, const int32_t *zero, int64_t count);

/* The same of any map, alpha 1 or 2. */
int64_t apq__affine_max_abs(apq__affine map, int bits, const int32_t *zero, int64_t count);

/* OUT_OF_RANGE, naming the numbers, unless k * max_a * max_w < 2^31: then every corrected product
 * fits int32. */
apq_status apq__check_bound(int64_t k, int64_t max_w, int64_t max_a, apq_error *error);

/* Two's complement value <-> code of the INT format (top bit flipped). */
uint8_t apq__code_from_int(int value, int bits);
int apq__int_from_code(uint8_t code, int bits);

/* Round to nearest even; infinities as IEEE 754 says.  Every NaN becomes 0x7fff, as on the GPU (PTX
 * cvt).  bf16 is the upper half of a float. */
uint16_t apq__half_from_float(float value);
float apq__float_from_half(uint16_t bits);
uint16_t apq__bf16_from_float(float value);
float apq__float_from_bf16(uint16_t bits);

/* Element i of a buffer of F16, BF16 or F32 as a float, and back (rounded to nearest even). */
float apq__load_float(const void *data, apq_dtype dtype, int64_t i);
void apq__store_float(void *data, apq_dtype dtype, int64_t i, float value);

#endif
