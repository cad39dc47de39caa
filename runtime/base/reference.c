#include "reference.h"

#include <float.h>
#include <math.h>

#include "activation.h"
#include "format.h"

/* Codes summed at once: a constant count lets the compiler use vector instructions. */
enum { COUNT = 64 };

static uint32_t dot(const uint8_t *a, const uint8_t *w, int k) {
  uint32_t sum = 0;
  for (int i = 0; i < k; i++) sum += (uint32_t)a[i] * w[i];
  return sum;
}

static uint32_t dot_block(const uint8_t *a, const uint8_t *w) {
  int32_t sum = 0;
  for (int i = 0; i < COUNT; i++) sum += (int16_t)a[i] * (int16_t)w[i];
  return (uint32_t)sum;
}

/* Arithmetic modulo 2^32 keeps what an int64 sum would leave after the reduction. */
static uint32_t dot_codes(const uint8_t *a, const uint8_t *w, int k) {
  int whole = k / COUNT * COUNT;
  uint32_t sum = dot(a + whole, w + whole, k - whole);
  for (int i = 0; i < whole; i += COUNT) sum += dot_block(a + i, w + i);
  return sum;
}

void apq__reference_product(const uint8_t *a, int64_t lda, const uint8_t *w, int64_t ldw, int m,
                            int n, int k, int32_t *d) {
  for (int row = 0; row < m; row++)
    for (int column = 0; column < n; column++)
      d[(int64_t)row * n + column] = (int32_t)dot_codes(a + row * lda, w + column * ldw, k);
}

static uint32_t zero_of(const apq__operand *operand, int row) {
  return (uint32_t)(operand->zeros ? operand->zeros[row] : operand->zero);
}

static float scale_of(const apq__operand *operand, int row) {
  return operand->scales ? operand->scales[row] : 1.0f;
}

static uint32_t correct(uint32_t d, int k, const apq__operand *w, uint32_t zero_w, uint32_t sum_w,
                        const apq__operand *a, uint32_t zero_a, uint32_t sum_a) {
  uint32_t alpha_w = (uint32_t)w->alpha, alpha_a = (uint32_t)a->alpha;
  return alpha_a * alpha_w * d - alpha_a * zero_w * sum_a - alpha_w * zero_a * sum_w +
         (uint32_t)k * zero_a * zero_w;
}

/* Everything after the scales. */
static void finish(float value, int row, int column, const apq__epilogue *epilogue, void *y,
                   int64_t at) {
  if (epilogue->bias) value = value + epilogue->bias[column];
  value = apq__activate(epilogue->activation, value);
  if (epilogue->combine) {
    int64_t from = row * epilogue->ld_other + column;
    float other = apq__load_float(epilogue->other, epilogue->out, from);
    value = epilogue->combine == APQ_COMBINE_ADD ? value + other : value * other;
  }
  apq__store_float(y, epilogue->out, at, value);
}

void apq__reference_epilogue(const int32_t *d, int m, int n, int k, const apq__operand *w,
                             const apq__operand *a, const apq__epilogue *epilogue, void *y,
                             int64_t ldy) {
  for (int row = 0; row < m; row++)
    for (int column = 0; column < n; column++) {
      uint32_t c = correct((uint32_t)d[(int64_t)row * n + column], k, w, zero_of(w, column),
                           (uint32_t)w->sums[column], a, zero_of(a, row), (uint32_t)a->sums[row]);
      int64_t at = row * ldy + column;
      if (epilogue->out == APQ_DTYPE_I32) {
        ((int32_t *)y)[at] = (int32_t)c;
        continue;
      }
      float scale = scale_of(a, row) * scale_of(w, column);
      finish((float)(int32_t)c * scale, row, column, epilogue, y, at);
    }
}

void apq__reference_grouped(const uint8_t *a_codes, int64_t lda, const uint8_t *w_codes,
                            int64_t ldw, int m, int n, int k, int group, const apq__operand *w,
                            const apq__operand *a, const apq__epilogue *epilogue, void *y,
                            int64_t ldy) {
  const int groups = (k + group - 1) / group;
  for (int row = 0; row < m; row++)
    for (int column = 0; column < n; column++) {
      float value = 0;
      for (int g = 0; g < groups; g++) {
        int first = g * group, length = k - first < group ? k - first : group;
        int64_t w_at = (int64_t)column * groups + g, a_at = (int64_t)row * groups + g;
        uint32_t d = dot_codes(a_codes + row * lda + first, w_codes + column * ldw + first, length);
        uint32_t zero_w = (uint32_t)(w->zeros ? w->zeros[w_at] : w->zero);
        uint32_t c = correct(d, length, w, zero_w, (uint32_t)w->sums[w_at], a, zero_of(a, row),
                             (uint32_t)a->sums[a_at]);
        float scaled = (float)(int32_t)c * (w->scales ? w->scales[w_at] : 1.0f);
        value = value + scaled;
      }
      finish(value * scale_of(a, row), row, column, epilogue, y, row * ldy + column);
    }
}

static float finite_or_zero(float x) {
  return fabsf(x) <= FLT_MAX ? x : 0.0f;
}

static int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

/* The step of a row whose values span `range`; a span too small to divide by is as good as none. */
static float row_scale(float range, float steps) {
  float scale = range / steps;
  return isfinite(1.0f / scale) ? scale : 1.0f;
}

uint8_t apq__quantize(const apq__quantizer *by, float x, int bits, apq_format format) {
  /* Far beyond the codes, and far from the ends of int. */
  const float limit = 1024.0f;
  int last = (1 << bits) - 1;
  float scaled = finite_or_zero(x) * by->inverse;
  scaled = scaled < -limit ? -limit : scaled > limit ? limit : scaled;
  switch (format) {
  case APQ_FORMAT_INT: {
    int half = 1 << (bits - 1);
    return (uint8_t)(clamp((int)rintf(scaled), -half, half - 1) + half);
  }
  case APQ_FORMAT_BIPOLAR: {
    float shifted = scaled + (float)last;
    return (uint8_t)clamp((int)rintf(shifted * 0.5f), 0, last);
  }
  default:
    return (uint8_t)clamp((int)rintf(scaled) + by->zero, 0, last);
  }
}

void apq__row_range(const float *x, int64_t k, float *low, float *high) {
  *low = 0;
  *high = 0;
  for (int64_t i = 0; i < k; i++) {
    float value = finite_or_zero(x[i]);
    *low = fminf(*low, value);
    *high = fmaxf(*high, value);
  }
}

apq__quantizer apq__quantizer_of(float low, float high, int bits, apq_format format) {
  int last = (1 << bits) - 1, half_last = (1 << (bits - 1)) - 1;
  float most = fmaxf(high, -low);
  apq__quantizer by = {0};
  switch (format) {
  case APQ_FORMAT_INT:
    by.scale = row_scale(most, bits == 1 ? 1.0f : (float)half_last);
    break;
  case APQ_FORMAT_BIPOLAR:
    by.scale = row_scale(most, (float)last);
    break;
  default:
    by.scale = row_scale(fminf(high - low, FLT_MAX), (float)last);
  }
  by.inverse = 1.0f / by.scale;
  by.zero = format == APQ_FORMAT_UINT ? clamp((int)rintf(-low * by.inverse), 0, last)
                                      : apq__format_affine(format, bits).zero;
  return by;
}

void apq__reference_quantize(const float *x, int64_t k, int bits, apq_format format, uint8_t *codes,
                             float *scale, int32_t *zero) {
  float low, high;
  apq__row_range(x, k, &low, &high);
  const apq__quantizer by = apq__quantizer_of(low, high, bits, format);
  *scale = by.scale;
  *zero = by.zero;
  for (int64_t i = 0; i < k; i++) codes[i] = apq__quantize(&by, x[i], bits, format);
}
