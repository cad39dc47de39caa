/* Number formats, the int32 bound, and half and bf16 conversions against their definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "format.h"

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static void codes_stand_for_the_stated_values(void **state) {
  (void)state;
  for (int bits = 1; bits <= 8; bits++) {
    apq__affine u = apq__format_affine(APQ_FORMAT_UINT, bits);
    apq__affine s = apq__format_affine(APQ_FORMAT_INT, bits);
    apq__affine b = apq__format_affine(APQ_FORMAT_BIPOLAR, bits);
    for (int code = 0; code < 1 << bits; code++) {
      assert_int_equal(u.alpha * code - u.zero, code);
      int bipolar = 0;
      for (int i = 0; i < bits; i++) bipolar += (1 << i) * (2 * (code >> i & 1) - 1);
      assert_int_equal(b.alpha * code - b.zero, bipolar);
      int value = s.alpha * code - s.zero;
      assert_int_equal(apq__int_from_code((uint8_t)code, bits), value);
      assert_int_equal(apq__code_from_int(value, bits), code);
      /* The two's complement pattern with its top bit flipped. */
      assert_int_equal(code, (value & ((1 << bits) - 1)) ^ (1 << (bits - 1)));
    }
    int top = 1 << bits;
    assert_int_equal(apq__format_max_abs(APQ_FORMAT_UINT, bits, NULL, 0), top - 1);
    assert_int_equal(apq__format_max_abs(APQ_FORMAT_INT, bits, NULL, 0), top / 2);
    assert_int_equal(apq__format_max_abs(APQ_FORMAT_BIPOLAR, bits, NULL, 0), top - 1);
  }
}

static void zero_points_widen_the_range(void **state) {
  (void)state;
  const int32_t zero[] = {1, 3, -7, 2};
  assert_int_equal(apq__format_max_abs(APQ_FORMAT_UINT, 2, zero, 1), 2);
  assert_int_equal(apq__format_max_abs(APQ_FORMAT_UINT, 2, zero, 2), 3);
  assert_int_equal(apq__format_max_abs(APQ_FORMAT_UINT, 2, zero, 4), 10);
  const int32_t extreme[] = {INT32_MIN, INT32_MAX};
  assert_true(apq__format_max_abs(APQ_FORMAT_UINT, 8, extreme, 2) == 2147483648 + 255);
}

static void the_bound_is_exact(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__check_bound(33025, 255, 255, &error), APQ_OK); /* 2147450625 */
  assert_int_equal(apq__check_bound(33026, 255, 255, &error), APQ_OUT_OF_RANGE);
  assert_non_null(strstr(error.message, "33026 * 255 * 255"));
  assert_int_equal(apq__check_bound(131071, 128, 128, &error), APQ_OK);
  assert_int_equal(apq__check_bound(131072, 128, 128, &error), APQ_OUT_OF_RANGE);
  assert_int_equal(apq__check_bound(INT32_MAX, 1, 1, &error), APQ_OK);
  assert_int_equal(apq__check_bound(2147483648, 1, 1, &error), APQ_OUT_OF_RANGE);
  assert_int_equal(apq__check_bound(INT32_MAX, INT32_MAX, INT32_MAX, &error), APQ_OUT_OF_RANGE);
  assert_int_equal(apq__check_bound(1, 4294967296, 1, &error), APQ_OUT_OF_RANGE);
  assert_int_equal(apq__check_bound(INT64_MAX, 0, 255, &error), APQ_OK);
}

/* The value that IEEE 754 gives a 16-bit pattern of 1 sign bit, 15 - m exponent bits and m mantissa
 * bits, infinities taken as the next finite value would be, which is how rounding sees them. */
static double value_of(int pattern, int m) {
  int magnitude = pattern & 0x7fff, bias = (1 << (14 - m)) - 1;
  int exponent = magnitude >> m, mantissa = magnitude & ((1 << m) - 1);
  double value =
      exponent ? ldexp((1 << m) + mantissa, exponent - bias - m) : ldexp(mantissa, 1 - bias - m);
  return pattern & 0x8000 ? -value : value;
}

static int infinity_of(int m) {
  return ((1 << (15 - m)) - 1) << m;
}

/* The pattern whose value is nearest, the even one at a tie: by bisection, since patterns are
 * ordered as their values. */
static int nearest(float value, int m) {
  if (isnan(value)) return 0x7fff;
  int sign = signbit(value) ? 0x8000 : 0, low = 0, high = infinity_of(m);
  if (isinf(value)) return sign | high;
  double magnitude = fabsf(value);
  if (magnitude >= value_of(high, m)) return sign | high;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (value_of(middle, m) <= magnitude)
      low = middle;
    else
      high = middle;
  }
  double to_low = magnitude - value_of(low, m), to_high = value_of(high, m) - magnitude;
  int up = to_high < to_low || (to_low == to_high && low % 2);
  return sign | (up ? high : low);
}

enum { HALF = 10, BF16 = 7 }; /* mantissa bits */

static void every_pattern_becomes_the_right_float(void **state) {
  (void)state;
  for (int pattern = 0; pattern < 65536; pattern++) {
    float half = apq__float_from_half((uint16_t)pattern),
          bf16 = apq__float_from_bf16((uint16_t)pattern);
    int magnitude = pattern & 0x7fff;
    assert_int_equal(isnan(half), magnitude > infinity_of(HALF));
    assert_int_equal(isnan(bf16), magnitude > infinity_of(BF16));
    assert_int_equal(!!signbit(half), pattern >> 15);
    assert_int_equal(isinf(half) != 0, magnitude == infinity_of(HALF));
    if (isfinite(half)) assert_true(half == value_of(pattern, HALF));
    assert_int_equal(apq__half_from_float(half), isnan(half) ? 0x7fff : pattern);
    assert_int_equal(bits_of(bf16), (uint32_t)pattern << 16);
    assert_int_equal(apq__bf16_from_float(bf16), isnan(bf16) ? 0x7fff : pattern);
  }
}

static void check_rounding(uint32_t bits) {
  float value = float_of(bits);
  if (apq__half_from_float(value) != nearest(value, HALF)) fail_msg("half of %a", (double)value);
  if (apq__bf16_from_float(value) != nearest(value, BF16)) fail_msg("bf16 of %a", (double)value);
}

static void every_kind_of_float_rounds_right(void **state) {
  (void)state;
  /* All signs, exponents and leading mantissa bits, with low bits at and on both sides of every tie
   * of either type. */
  static const uint32_t low[] = {0, 1, 0xfff, 0x1000, 0x1001, 0x1fff};
  for (uint32_t high = 0; high < 1u << 19; high++)
    for (size_t i = 0; i < sizeof low / sizeof low[0]; i++) check_rounding(high << 13 | low[i]);
  uint32_t x = 1;
  for (int i = 0; i < 300000; i++) check_rounding(x = x * 1664525 + 1013904223);
}

static void elements_are_loaded_and_stored_by_type(void **state) {
  (void)state;
  const apq_dtype types[] = {APQ_DTYPE_F16, APQ_DTYPE_BF16, APQ_DTYPE_F32};
  for (int t = 0; t < 3; t++) {
    float buffer[4] = {0};
    for (int i = 0; i < 4; i++) apq__store_float(buffer, types[t], i, (float)i - 1.5f);
    for (int i = 0; i < 4; i++)
      assert_true(apq__load_float(buffer, types[t], i) == (float)i - 1.5f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_stand_for_the_stated_values),
      cmocka_unit_test(zero_points_widen_the_range),
      cmocka_unit_test(the_bound_is_exact),
      cmocka_unit_test(every_pattern_becomes_the_right_float),
      cmocka_unit_test(every_kind_of_float_rounds_right),
      cmocka_unit_test(elements_are_loaded_and_stored_by_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
