/* The CPU reference that every kernel must equal to the last bit. */
#ifndef APQ_REFERENCE_H
#define APQ_REFERENCE_H

#include <stdint.h>

#include "apq.h"

/* D[m][n] = sum_k a[m][k] * w[n][k] of unsigned codes, summed in int64 and reduced modulo 2^32. */
void apq__reference_product(const uint8_t *a, int64_t lda, const uint8_t *w, int64_t ldw, int m,
                            int n, int k, int32_t *d);

/* One operand of the epilogue: its affine map, with per-row zero points and scales where not NULL.
 */
typedef struct apq__operand {
  int alpha, zero;
  const int32_t *zeros; /* [rows] or NULL: replaces zero */
  const int32_t *sums;  /* [rows] sums of codes */
  const float *scales;  /* [rows] or NULL: 1.0 */
} apq__operand;

/* What follows the scales; start it zeroed but for `out`. */
typedef struct apq__epilogue {
  apq_dtype out;
  const float *bias; /* [n] or NULL: none */
  apq_activation activation;
  apq_combine combine;
  const void *other; /* [m][ld_other] of type `out`, with `combine` */
  int64_t ld_other;
} apq__epilogue;

/* Applies zero points to d[m][n], and scales it, into y[m][ldy] of type `out`:
 *
 *   c = alpha_a alpha_w D - alpha_a z_w Sa - alpha_w z_a Sw + k z_a z_w        modulo 2^32
 *
 * is y when `out` is I32.  Otherwise, each a float operation rounded to nearest even,
 *
 *   t = s_a[m] * s_w[n],  v = float(c) * t,  v = v + bias[n] with a bias,
 *   v = apq__activate(activation, v),  v = v + other[m][n] or v * other[m][n] with `combine`
 *
 * and y = v rounded to `out`.  The NaN of F16 and BF16 is 0x7fff; that of F32 has no fixed payload.
 */
void apq__reference_epilogue(const int32_t *d, int m, int n, int k, const apq__operand *w,
                             const apq__operand *a, const apq__epilogue *epilogue, void *y,
                             int64_t ldy);

/* Products of weights whose scales and zero points belong to groups of `group` k, the last of which
 * may be short, from codes: w->zeros, w->scales and w->sums are [n][groups], a->sums [m][groups],
 * groups = ceil(k / group).  With c_g the c above of group g alone, over its own k,
 *
 *   v = 0,  v = v + float(c_g) * s_w[n][g] for rising g,  v = v * s_a[m]
 *
 * each a float operation, and then as above from the bias on.  `out` is not I32. */
void apq__reference_grouped(const uint8_t *a_codes, int64_t lda, const uint8_t *w_codes,
                            int64_t ldw, int m, int n, int k, int group, const apq__operand *w,
                            const apq__operand *a, const apq__epilogue *epilogue, void *y,
                            int64_t ldy);

/* Quantizes one row of k floats to codes, the scale s and the zero point of the row.  Pack kernels
 * do the same, operation by operation; every +, -, * and / below is one float operation rounded to
 * nearest even, rint() is to the nearest integer, ties to even, and L = 2^bits - 1 and H =
 * 2^(bits-1) are converted to float exactly.
 *
 *   x       = x where it is finite, else 0
 *   most    = max |x|,  low = min(0, min x),  high = max(0, max x)
 *
 *             INT                            BIPOLAR                          UINT
 *   range   = most                           most                             min(high - low,
 * FLT_MAX) s       = range / (H - 1), bits 1: / 1   range / L                        range / L if 1
 * / s is not finite, s = 1            (a row of zeros, or too small to divide by) inverse = 1 / s
 *   t       = x * inverse                    x * inverse                      x * inverse
 *   zero    = H                              L                                clamp(rint((-low) *
 * inverse), 0, L) code    = clamp(rint(t), -H, H-1) + H    clamp(rint((t + L) * 0.5), 0, L)
 * clamp(rint(t) + zero, 0, L)
 *
 * |t| stays below 2^9, so the conversions to int never saturate. */
void apq__reference_quantize(const float *x, int64_t k, int bits, apq_format format, uint8_t *codes,
                             float *scale, int32_t *zero);

/* Its two steps: from `low` and `high` to the scale, its inverse and the zero point; from a value,
 * which may lie outside of [low, high], to its code. */
typedef struct apq__quantizer {
  float scale, inverse;
  int zero;
} apq__quantizer;
apq__quantizer apq__quantizer_of(float low, float high, int bits, apq_format format);
uint8_t apq__quantize(const apq__quantizer *by, float x, int bits, apq_format format);

/* low and high of a row. */
void apq__row_range(const float *x, int64_t k, float *low, float *high);

#endif
