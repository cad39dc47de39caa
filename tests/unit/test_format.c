/* Number formats, the int32 bound, and half and bf16 conversions against the compiler's own. */
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

static void every_half_becomes_the_right_float(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 65536; i++) {
    uint16_t bits = (uint16_t)i;
    float got = apq__float_from_half(bits);
    _Float16 half;
    memcpy(&half, &bits, sizeof half);
    float expected = (float)half;
    if (isnan(expected)) {
      assert_true(isnan(got));
      assert_int_equal(apq__half_from_float(got), 0x7fff);
    } else {
      assert_int_equal(bits_of(got), bits_of(expected));
      assert_int_equal(apq__half_from_float(got), bits);
    }
    float from_bf16 = apq__float_from_bf16(bits);
    assert_int_equal(bits_of(from_bf16), i << 16);
    assert_int_equal(apq__bf16_from_float(from_bf16), isnan(from_bf16) ? 0x7fff : bits);
  }
}

static uint16_t compiler_half(float value) {
  if (isnan(value)) return 0x7fff;
  _Float16 half = (_Float16)value;
  uint16_t bits;
  memcpy(&bits, &half, sizeof bits);
  return bits;
}

/* bf16 by arithmetic alone: the nearer neighbor, the even one at a tie. */
static uint16_t nearest_bf16(float value) {
  if (isnan(value)) return 0x7fff;
  uint32_t below = bits_of(value) & 0xffff0000, above = below + 0x10000;
  /* The neighbor above the largest finite bf16 counts as 2^128, not as infinity. */
  double a = float_of(below),
         b = (above & 0x7fffffff) == 0x7f800000 ? ldexp(a < 0 ? -1 : 1, 128) : float_of(above);
  if (isinf(value)) return (uint16_t)(below >> 16);
  double to_a = fabs(value - a), to_b = fabs(b - value);
  int up = to_b < to_a || (to_a == to_b && (below & 0x10000));
  return (uint16_t)((up ? above : below) >> 16);
}

static void every_kind_of_float_rounds_right(void **state) {
  (void)state;
  /* All signs, exponents and leading mantissa bits, with the low bits round every tie of either
   * type. */
  static const uint32_t low[] = {0,      1,      0xfff,  0x1000,         0x1001,
                                 0x1fff, 0x0800, 0x7fff, 0x8000 - 0x1000};
  for (uint32_t high = 0; high < 1u << 19; high++) {
    for (size_t i = 0; i < sizeof low / sizeof low[0]; i++) {
      float value = float_of(high << 13 | (low[i] & 0x1fff));
      if (apq__half_from_float(value) != compiler_half(value))
        fail_msg("half of %a", (double)value);
      if (apq__bf16_from_float(value) != nearest_bf16(value)) fail_msg("bf16 of %a", (double)value);
    }
  }
  uint32_t x = 1;
  for (int i = 0; i < 2000000; i++) {
    x = x * 1664525 + 1013904223;
    float value = float_of(x);
    if (apq__half_from_float(value) != compiler_half(value)) fail_msg("half of %a", (double)value);
    if (apq__bf16_from_float(value) != nearest_bf16(value)) fail_msg("bf16 of %a", (double)value);
  }
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
      cmocka_unit_test(every_half_becomes_the_right_float),
      cmocka_unit_test(every_kind_of_float_rounds_right),
      cmocka_unit_test(elements_are_loaded_and_stored_by_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
