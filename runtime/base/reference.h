/* The CPU reference that every kernel must equal to the last bit. */
#ifndef APQ_REFERENCE_H
#define APQ_REFERENCE_H

#include <stdint.h>

#include "apq.h"

/* D[m][n] = sum_k a[m][k] * w[n][k] of unsigned codes, summed in int64 and reduced modulo 2^32. */
void apq__reference_product(const uint8_t *a, int64_t lda, const uint8_t *w, int64_t ldw, int m,
                            int n, int k, int32_t *d);

/* One operand of the epilogue: its affine map, with per-row zero points and scales where not NULL. */
typedef struct apq__operand {
  int alpha, zero;
  const int32_t *zeros; /* [rows] or NULL: replaces zero */
  const int32_t *sums;  /* [rows] sums of codes */
  const float *scales;  /* [rows] or NULL: 1.0 */
} apq__operand;

/* Applies zero points modulo 2^32:  alpha_a alpha_w D - alpha_a z_w Sa - alpha_w z_a Sw + k z_a z_w, then, unless `out` is
 * I32,  float(c) * (s_a[m] * s_w[n]) + bias[n]  with every operation rounded to float and the last one to `out`. */
void apq__reference_epilogue(const int32_t *d, int m, int n, int k, const apq__operand *w,
                             const apq__operand *a, const float *bias, apq_dtype out, void *y,
                             int64_t ldy);

/* Quantizes one row of k floats to codes exactly as the pack kernels do: s = absmax / (2^(bits-1)-1) for INT (absmax for 1
 * bit), absmax / (2^bits-1) for BIPOLAR; for UINT s = (max(0,x) - min(0,x)) / (2^bits-1) and zero = round(-min/s).
 * A row of zeros gets scale 1.  Rounding is to nearest even in float; results are clamped to the code range.
 * `zero` gets the zero point used.  Non-finite input is treated as 0. */
void apq__reference_quantize(const float *x, int64_t k, int bits, apq_format format, uint8_t *codes,
                             float *scale, int32_t *zero);

#endif
