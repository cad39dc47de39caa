/* The CPU reference against its definition, term by term in wide integers and in double precision.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "alloc.h"
#include "format.h"
#include "host.h"
#include "reference.h"

static uint8_t *random_codes(int64_t count, int bits, uint64_t *seed) {
  uint8_t *codes = apq__alloc((size_t)count);
  for (int64_t i = 0; i < count; i++) codes[i] = (uint8_t)(apq__random(seed) & ((1u << bits) - 1));
  return codes;
}

static void products_are_exact(void **state) {
  (void)state;
  static const int shapes[][3] = {{1, 1, 1},   {2, 3, 63},    {3, 2, 64},   {1, 5, 65},
                                  {4, 4, 128}, {17, 33, 129}, {5, 40, 1000}};
  uint64_t seed = 1;
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
    int m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
    int64_t lda = k + 1, ldw = k + 2;
    uint8_t *a = random_codes(m * lda, 8, &seed), *w = random_codes(n * ldw, 8, &seed);
    int32_t *d = apq__calloc((size_t)m * (size_t)n, sizeof *d);
    apq__reference_product(a, lda, w, ldw, m, n, k, d);
    for (int row = 0; row < m; row++)
      for (int column = 0; column < n; column++) {
        int64_t sum = 0;
        for (int i = 0; i < k; i++) sum += a[row * lda + i] * w[column * ldw + i];
        assert_int_equal(d[row * n + column], sum);
      }
    apq__free(a);
    apq__free(w);
    apq__free(d);
  }
}

static void products_wrap_modulo_2_32(void **state) {
  (void)state;
  int k = 70000; /* 70000 * 255 * 255 is past 2^32 */
  uint8_t *ones = apq__alloc((size_t)k);
  memset(ones, 255, (size_t)k);
  int32_t d;
  apq__reference_product(ones, k, ones, k, 1, 1, k, &d);
  assert_int_equal((uint32_t)d, (uint32_t)((int64_t)k * 255 * 255));
  apq__free(ones);
}

/* One case of the epilogue: m = 3, n = 5, k = 200, with formats and optional arrays. */
typedef struct epilogue_case {
  apq_format a_format, w_format;
  int a_bits, w_bits, zeros, scales, bias;
} epilogue_case;

enum { M = 3, N = 5, K = 200, LDY = 7 };

static void sum_rows(const uint8_t *codes, int rows, int32_t *sums) {
  for (int row = 0; row < rows; row++) {
    sums[row] = 0;
    for (int i = 0; i < K; i++) sums[row] += codes[row * K + i];
  }
}

/* The stated value of the product of values, never through D or the sums. */
static int64_t value_product(const uint8_t *a, const apq__operand *am, int row, const uint8_t *w,
                             const apq__operand *wm, int column) {
  int64_t sum = 0, za = am->zeros ? am->zeros[row] : am->zero,
          zw = wm->zeros ? wm->zeros[column] : wm->zero;
  for (int i = 0; i < K; i++)
    sum +=
        ((int64_t)am->alpha * a[row * K + i] - za) * ((int64_t)wm->alpha * w[column * K + i] - zw);
  return sum;
}

/* One operation, rounded to float in memory, where no compiler can fuse it with another. */
static float multiplied(volatile float a, volatile float b) {
  volatile float product = a * b;
  return product;
}

static float added(volatile float a, volatile float b) {
  volatile float sum = a + b;
  return sum;
}

static void check_epilogue(const epilogue_case *c, apq_dtype out, uint64_t *seed) {
  static const float scale_a[M] = {0.1f, 3.7e-3f, -12.5f},
                     scale_w[N] = {1e-3f, 0.7f, 1.0f / 3, 5e-6f, 2};
  static const float bias[N] = {0.25f, -1e3f, 0, 1e-7f, 3.14159f};
  static const int32_t zero_a[M] = {0, 3, 200}, zero_w[N] = {1, 7, 255, -4, 2};
  uint8_t *a = random_codes(M * K, c->a_bits, seed), *w = random_codes(N * K, c->w_bits, seed);
  int32_t d[M * N], sums_a[M], sums_w[N];
  sum_rows(a, M, sums_a);
  sum_rows(w, N, sums_w);
  apq__reference_product(a, K, w, K, M, N, K, d);
  apq__affine ma = apq__format_affine(c->a_format, c->a_bits),
              mw = apq__format_affine(c->w_format, c->w_bits);
  apq__operand oa = {ma.alpha, ma.zero, c->zeros ? zero_a : NULL, sums_a,
                     c->scales ? scale_a : NULL};
  apq__operand ow = {mw.alpha, mw.zero, c->zeros ? zero_w : NULL, sums_w,
                     c->scales ? scale_w : NULL};
  int32_t y[M * LDY];
  memset(y, 0x5a, sizeof y);
  const apq__epilogue epilogue = {.out = out, .bias = c->bias ? bias : NULL};
  apq__reference_epilogue(d, M, N, K, &ow, &oa, &epilogue, y, LDY);
  for (int row = 0; row < M; row++)
    for (int column = 0; column < N; column++) {
      int64_t exact = value_product(a, &oa, row, w, &ow, column);
      int64_t at = row * LDY + column;
      if (out == APQ_DTYPE_I32) {
        assert_int_equal(y[at], exact);
        continue;
      }
      float t = multiplied(c->scales ? scale_a[row] : 1, c->scales ? scale_w[column] : 1);
      float u = multiplied((float)exact, t), v = c->bias ? added(u, bias[column]) : u;
      float expected[1];
      apq__store_float(expected, out, 0, v);
      assert_true(apq__load_float(y, out, at) == apq__load_float(expected, out, 0));
    }
  apq__free(a);
  apq__free(w);
}

static void epilogues_equal_the_product_of_values(void **state) {
  (void)state;
  static const epilogue_case cases[] = {
      {APQ_FORMAT_UINT, APQ_FORMAT_UINT, 8, 8, 0, 0, 0},
      {APQ_FORMAT_INT, APQ_FORMAT_INT, 8, 2, 0, 1, 0},
      {APQ_FORMAT_BIPOLAR, APQ_FORMAT_INT, 3, 5, 0, 1, 1},
      {APQ_FORMAT_INT, APQ_FORMAT_BIPOLAR, 1, 1, 0, 1, 1},
      {APQ_FORMAT_UINT, APQ_FORMAT_UINT, 4, 2, 1, 1, 1},
      {APQ_FORMAT_UINT, APQ_FORMAT_UINT, 8, 8, 1, 0, 0},
  };
  static const apq_dtype outs[] = {APQ_DTYPE_I32, APQ_DTYPE_F32, APQ_DTYPE_F16, APQ_DTYPE_BF16};
  uint64_t seed = 3;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int o = 0; o < 4; o++) check_epilogue(&cases[i], outs[o], &seed);
}

/* The bias cancels the rounded product; a fused multiply-add would leave the rounding error. */
static void the_epilogue_never_fuses(void **state) {
  (void)state;
  const float scale_a = 1 + 0x1p-12f, scale_w = 1 + 0x1p-13f;
  int32_t sums = 0, d = 4097;
  apq__operand a = {1, 0, NULL, &sums, &scale_a}, w = {1, 0, NULL, &sums, &scale_w};
  float t = multiplied(scale_a, scale_w), u = multiplied(4097, t), bias = -u, y = 1;
  assert_true(4097.0 * t != (double)u);
  const apq__epilogue epilogue = {.out = APQ_DTYPE_F32, .bias = &bias};
  apq__reference_epilogue(&d, 1, 1, 1, &w, &a, &epilogue, &y, 1);
  assert_true(y == 0);
}

static void epilogues_wrap_modulo_2_32(void **state) {
  (void)state;
  int32_t sum_a = INT32_MAX, sum_w = INT32_MIN, d = INT32_MIN, y;
  apq__operand a = {2, 255, NULL, &sum_a, NULL}, w = {2, 255, NULL, &sum_w, NULL};
  const apq__epilogue epilogue = {.out = APQ_DTYPE_I32};
  apq__reference_epilogue(&d, 1, 1, INT32_MAX, &w, &a, &epilogue, &y, 1);
  int64_t expected = 4 * (int64_t)d - 2 * 255 * (int64_t)sum_a - 2 * 255 * (int64_t)sum_w +
                     INT32_MAX * (int64_t)65025;
  assert_int_equal((uint32_t)y, (uint32_t)expected);
}

/* Every decoded value lies within half a step of its input (a whole one for BIPOLAR, whose values
 * are two apart). */
static void check_quantized(const float *x, int64_t k, int bits, apq_format format) {
  uint8_t codes[64];
  float scale;
  int32_t zero;
  apq__reference_quantize(x, k, bits, format, codes, &scale, &zero);
  assert_true(scale > 0 && isfinite(scale));
  int alpha = apq__format_affine(format, bits).alpha, low = 0, high = (1 << bits) - 1;
  assert_in_range(zero, 0, format == APQ_FORMAT_INT ? high / 2 + 1 : high);
  for (int64_t i = 0; i < k; i++) {
    double value = isfinite(x[i]) ? x[i] : 0, decoded = (double)scale * (alpha * codes[i] - zero);
    assert_in_range(codes[i], low, high);
    /* 1-bit INT has -1 and 0 only: what is above is cut. */
    if (format == APQ_FORMAT_INT && bits == 1 && value > 0) value = 0;
    double limit = scale * (format == APQ_FORMAT_BIPOLAR ? 1.0 : 0.5) * 1.001;
    if (!(fabs(decoded - value) <= limit))
      fail_msg("%s%d: %g became %g, step %g", apq_format_name(format), bits, value, decoded,
               (double)scale);
  }
}

static void quantization_stays_within_half_a_step(void **state) {
  (void)state;
  uint64_t seed = 9;
  float x[64];
  for (int round = 0; round < 200; round++) {
    double size = ldexp(1, round % 80 - 40), shift = round % 3 - 1;
    for (int i = 0; i < 64; i++)
      x[i] = (float)(size * ((double)(apq__random(&seed) >> 11) * 0x1p-52 - 1 + shift));
    if (round % 5 == 0) x[3] = NAN, x[4] = INFINITY, x[5] = -INFINITY;
    for (int bits = 1; bits <= 8; bits++) {
      check_quantized(x, 64, bits, APQ_FORMAT_INT);
      check_quantized(x, 64, bits, APQ_FORMAT_BIPOLAR);
      check_quantized(x, 64, bits, APQ_FORMAT_UINT);
    }
  }
}

static void expect_codes(const float *x, int64_t k, int bits, apq_format format,
                         const uint8_t *codes, float scale, int zero) {
  uint8_t got[8];
  float got_scale;
  int32_t got_zero;
  apq__reference_quantize(x, k, bits, format, got, &got_scale, &got_zero);
  assert_memory_equal(got, codes, (size_t)k);
  assert_true(got_scale == scale);
  assert_int_equal(got_zero, zero);
}

static void quantization_is_as_written(void **state) {
  (void)state;
  /* Ties go to even: 0.5 -> 0, 1.5 -> 2, -0.5 -> 0. */
  expect_codes((const float[]){7, 0.5f, 1.5f, -0.5f, -7}, 5, 4, APQ_FORMAT_INT,
               (const uint8_t[]){15, 8, 10, 8, 1}, 1, 8);
  expect_codes((const float[]){-2, 1, -1, 2}, 4, 1, APQ_FORMAT_INT, (const uint8_t[]){0, 1, 1, 1},
               2, 1);
  expect_codes((const float[]){3, -3, 1, 0}, 4, 2, APQ_FORMAT_BIPOLAR,
               (const uint8_t[]){3, 0, 2, 2}, 1, 3);
  expect_codes((const float[]){-1, 0, 1, 2}, 4, 2, APQ_FORMAT_UINT, (const uint8_t[]){0, 1, 2, 3},
               1, 1);
  /* All of one sign: the range still holds zero. */
  expect_codes((const float[]){5, 10, 15}, 3, 4, APQ_FORMAT_UINT, (const uint8_t[]){5, 10, 15}, 1,
               0);
  expect_codes((const float[]){-15, -5}, 2, 4, APQ_FORMAT_UINT, (const uint8_t[]){0, 10}, 1, 15);
}

static void degenerate_rows_get_a_usable_scale(void **state) {
  (void)state;
  const float zeros[] = {0, -0.0f, NAN, INFINITY}, tiny[] = {0x1p-149f, -0x1p-149f, 0x1p-140f, 0};
  const float huge[] = {FLT_MAX, -FLT_MAX, 1, 0};
  expect_codes(zeros, 4, 4, APQ_FORMAT_INT, (const uint8_t[]){8, 8, 8, 8}, 1, 8);
  expect_codes(zeros, 4, 4, APQ_FORMAT_UINT, (const uint8_t[]){0, 0, 0, 0}, 1, 0);
  expect_codes(tiny, 4, 8, APQ_FORMAT_INT, (const uint8_t[]){128, 128, 128, 128}, 1, 128);
  expect_codes(tiny, 4, 8, APQ_FORMAT_UINT, (const uint8_t[]){0, 0, 0, 0}, 1, 0);
  for (int bits = 1; bits <= 8; bits++) {
    check_quantized(huge, 4, bits, APQ_FORMAT_INT);
    check_quantized(huge, 4, bits, APQ_FORMAT_BIPOLAR);
    uint8_t codes[4];
    float scale;
    int32_t zero;
    apq__reference_quantize(huge, 4, bits, APQ_FORMAT_UINT, codes, &scale, &zero);
    assert_true(isfinite(scale));
    assert_true(codes[1] == 0 && codes[0] == (1 << bits) - 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products_are_exact),
      cmocka_unit_test(products_wrap_modulo_2_32),
      cmocka_unit_test(epilogues_equal_the_product_of_values),
      cmocka_unit_test(the_epilogue_never_fuses),
      cmocka_unit_test(epilogues_wrap_modulo_2_32),
      cmocka_unit_test(quantization_stays_within_half_a_step),
      cmocka_unit_test(quantization_is_as_written),
      cmocka_unit_test(degenerate_rows_get_a_usable_scale),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
