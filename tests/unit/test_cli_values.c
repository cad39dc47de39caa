/* Option values: what is read, what is refused and how numbers are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "cli_values.h"
#include "generator.h"

static void bits_are_read(void **state) {
  (void)state;
  apq__bits bits[APQ__BITS_MAX];
  int count = 0;
  assert_int_equal(apq__parse_bits("--bits", "W2A2,w4a8,W2A2", bits, &count, NULL), APQ_OK);
  assert_int_equal(count, 2);
  assert_int_equal(bits[1].p, 4);
  assert_int_equal(bits[1].q, 8);
  assert_int_equal(apq__parse_bits("--bits", "W*A8", bits, &count, NULL), APQ_OK);
  assert_int_equal(count, 8);
  assert_int_equal(apq__parse_bits("--bits", "all,W3A3", bits, &count, NULL), APQ_OK);
  assert_int_equal(count, 64);
}

static void shapes_are_read(void **state) {
  (void)state;
  apq__mnk shape[APQ__SHAPES_MAX];
  int count = 0;
  assert_int_equal(apq__parse_shapes("--shape", "4096x11008,1X2x3", shape, &count, NULL), APQ_OK);
  assert_int_equal(count, 2);
  assert_int_equal(shape[0].m, 0);
  assert_int_equal(shape[0].n, 4096);
  assert_int_equal(shape[0].k, 11008);
  assert_int_equal(shape[1].m, 1);
  assert_int_equal(shape[1].k, 3);
  int tokens[APQ__TOKENS_MAX];
  assert_int_equal(apq__parse_tokens("--m", "1,16,2147483647", tokens, &count, NULL), APQ_OK);
  assert_int_equal(count, 3);
  assert_int_equal(tokens[2], 2147483647);
  apq_dtype out[4];
  assert_int_equal(apq__parse_outputs("--out", "f16,i32,f16", out, &count, NULL), APQ_OK);
  assert_int_equal(count, 2);
  assert_int_equal(out[1], APQ_DTYPE_I32);
  apq__input input[4];
  assert_int_equal(apq__parse_inputs("--input", "f16,packed,f16", input, &count, NULL), APQ_OK);
  assert_int_equal(count, 2);
  assert_int_equal(input[1], APQ__INPUT_PACKED);
  assert_int_equal(apq__parse_inputs("--input", "f16,codes8", input, &count, NULL),
                   APQ_INVALID_ARGUMENT);
}

static void bad_lists_are_refused_by_name(void **state) {
  (void)state;
  const struct {
    char kind;
    const char *text, *message;
  } cases[] = {
      {'b', "W0A2", "--x: 'W0A2': weight bits must be 1 to 8"},
      {'b', "W2A9", "--x: 'W2A9': activation bits must be 1 to 8"},
      {'b', "W2A2,W16A2", "--x: 'W16A2': weight bits must be 1 to 8"},
      {'b', "W-1A2", "--x: 'W-1A2': must be like W4A8"},
      {'b', "W2", "must be like W4A8"},
      {'b', "W2A2x", "must be like W4A8"},
      {'b', "", "must be like W4A8"},
      {'b', "W2A2,", "must be like W4A8"},
      {'s', "4096", "--x: '4096': must be NxK or MxNxK"},
      {'s', "1x2x3x4", "must be NxK or MxNxK"},
      {'s', "-1x4096", "--x: '-1x4096': sizes must be at least 1"},
      {'s', "16x-2", "sizes must be at least 1"},
      {'s', "0x4096", "sizes must be at least 1"},
      {'s', "4096x2147483648", "sizes must be below 2^31"},
      {'s', "99999999999999999999999x1", "sizes must be below 2^31"},
      {'s', "ax2", "is not a size"},
      {'s', "2x", "is not a size"},
      {'m', "1,,2", "--x: '': is not a size"},
      {'m', "3.5", "is not a number of tokens"},
      {'m', "0", "sizes must be at least 1"},
      {'o', "f64", "--x: 'f64': must be i32, f16, bf16 or f32"},
      {'o', "codes8", "must be i32, f16, bf16 or f32"},
  };
  apq__bits bits[APQ__BITS_MAX];
  apq__mnk shape[APQ__SHAPES_MAX];
  int tokens[APQ__TOKENS_MAX], count;
  apq_dtype out[4];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    const char *text = cases[i].text;
    apq_status status =
        cases[i].kind == 'b'   ? apq__parse_bits("--x", text, bits, &count, &error)
        : cases[i].kind == 's' ? apq__parse_shapes("--x", text, shape, &count, &error)
        : cases[i].kind == 'm' ? apq__parse_tokens("--x", text, tokens, &count, &error)
                               : apq__parse_outputs("--x", text, out, &count, &error);
    if (status != APQ_INVALID_ARGUMENT || !strstr(error.message, cases[i].message))
      fail_msg("'%s' gave %s: %s", text, apq_status_name(status), error.message);
  }
}

static void too_long_lists_are_refused(void **state) {
  (void)state;
  apq__mnk shape[APQ__SHAPES_MAX];
  char text[4 * (APQ__SHAPES_MAX + 1) + 1] = "";
  int count = 0;
  for (int i = 0; i <= APQ__SHAPES_MAX; i++) memcpy(text + 4 * i, i ? ",1x1" : " 1x1", 5);
  assert_int_equal(apq__parse_shapes("--x", text + 1, shape, &count, NULL), APQ_INVALID_ARGUMENT);
  text[4 * APQ__SHAPES_MAX] = 0;
  assert_int_equal(apq__parse_shapes("--x", text + 1, shape, &count, NULL), APQ_OK);
  assert_int_equal(count, APQ__SHAPES_MAX);
}

static void durations_are_read(void **state) {
  (void)state;
  const struct {
    const char *text;
    double seconds; /* 0: refused */
  } cases[] = {{"90", 90},       {"90s", 90},  {"10m", 600},  {"1h30m", 5400}, {"1.5h", 5400},
               {"1h1m1s", 3661}, {"0.5", 0.5}, {"0", 0},      {"-1", 0},       {"", 0},
               {"m", 0},         {"10x", 0},   {"1m1h", 0},   {"1h30", 0},     {"nan", 0},
               {"inf", 0},       {"1e30", 0},  {"10m10m", 0}, {"0s", 0},       {" 1", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    double seconds = -1;
    apq_error error = APQ_ERROR_INIT;
    apq_status status = apq__parse_duration("--budget", cases[i].text, &seconds, &error);
    if (cases[i].seconds > 0) {
      assert_int_equal(status, APQ_OK);
      assert_true(fabs(seconds - cases[i].seconds) < 1e-9);
    } else {
      assert_int_equal(status, APQ_INVALID_ARGUMENT);
      assert_non_null(strstr(error.message, "--budget: '"));
    }
  }
}

static void counts_and_seeds_are_read(void **state) {
  (void)state;
  int count = 0;
  uint64_t seed = 0;
  assert_int_equal(apq__parse_count("--jobs", "8", 1, 64, &count, NULL), APQ_OK);
  assert_int_equal(count, 8);
  const char *bad[] = {"0", "65", "-1", "x", "1.5", "", "99999999999"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal(apq__parse_count("--jobs", bad[i], 1, 64, &count, NULL), APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__parse_seed("--seed", "0xffffffffffffffff", &seed, NULL), APQ_OK);
  assert_true(seed == UINT64_MAX);
  const char *bad_seed[] = {"-1", "", "x", "18446744073709551616", "1z"};
  for (size_t i = 0; i < sizeof bad_seed / sizeof bad_seed[0]; i++)
    assert_int_equal(apq__parse_seed("--seed", bad_seed[i], &seed, NULL), APQ_INVALID_ARGUMENT);
}

static void numbers_are_printed_for_people(void **state) {
  (void)state;
  char text[APQ__KEY_MAX];
  const struct {
    double seconds;
    const char *time, *duration;
  } cases[] = {{0, "-", "0:00"},
               {1.234e-6, "1.23 us", "0:00"},
               {12.34e-6, "12.3 us", "0:00"},
               {0.00035, "350 us", "0:00"},
               {0.00135, "1.35 ms", "0:00"},
               {42, "42.0 s", "0:42"},
               {3723, "3723 s", "1:02:03"},
               {-1, "-", "?"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_string_equal(apq__print_time(cases[i].seconds, text), cases[i].time);
    assert_string_equal(apq__print_duration(cases[i].seconds, text), cases[i].duration);
  }
  assert_string_equal(apq__print_fixed(-0.004, 2, text), "0.00");
  assert_string_equal(apq__print_fixed(-0.4, 0, text), "0");
  assert_string_equal(apq__print_fixed(-0.006, 2, text), "-0.01");
  assert_string_equal(apq__print_fixed(1550.06, 1, text), "1550.1");
  assert_string_equal(apq__print_fixed(NAN, 1, text), "-");
  apq__problem problem = {4, 8, 1, 4096, 11008, APQ_DTYPE_BF16, 0, 0};
  assert_string_equal(apq__print_problem(&problem, text), "W4A8 1x4096x11008 bf16");
  apq__config config;
  assert_int_equal(apq__config_parse("family=bmma,p=3,q=3,tile_m=16,swap=1", &config, NULL),
                   APQ_OK);
  assert_int_equal(apq__config_complete(&config, NULL), APQ_OK);
  assert_string_equal(apq__print_config(&config, text), "bmma tile_m=16 swap=1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bits_are_read),
      cmocka_unit_test(shapes_are_read),
      cmocka_unit_test(bad_lists_are_refused_by_name),
      cmocka_unit_test(too_long_lists_are_refused),
      cmocka_unit_test(durations_are_read),
      cmocka_unit_test(counts_and_seeds_are_read),
      cmocka_unit_test(numbers_are_printed_for_people),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
