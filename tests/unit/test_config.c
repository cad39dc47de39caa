/* Canonical keys: sorting, parsing, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "config.h"

static void keys_are_sorted_and_round_trip(void **state) {
  (void)state;
  apq__config config;
  char key[APQ__KEY_MAX];
  assert_int_equal(apq__config_parse("tile_m=64,family=bmma,p=2", &config, NULL), APQ_OK);
  assert_string_equal(apq__config_key(&config, key), "family=bmma,p=2,tile_m=64");
  assert_int_equal(apq__config_set_int(&config, "p", 3, NULL), APQ_OK);
  assert_int_equal(apq__config_int(&config, "p", 0), 3);
  assert_int_equal(config.count, 3);
}

static void malformed_keys_are_refused(void **state) {
  (void)state;
  const char *bad[] = {
      "p", "p=", "=1", "p=1,p=2", "p=1,", ",p=1", "P=1", "p=a b", "a_name_longer_than_16=1"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    apq__config config;
    apq_error error = APQ_ERROR_INIT;
    assert_int_equal(apq__config_parse(bad[i], &config, &error), APQ_PARSE);
    assert_true(strlen(error.message) > 0);
  }
}

static void problems_round_trip_and_are_checked(void **state) {
  (void)state;
  apq__problem problem;
  char key[APQ__KEY_MAX];
  const char *text = "k=129,m=17,n=33,out=bf16,p=3,q=5";
  assert_int_equal(apq__problem_parse(text, &problem, NULL), APQ_OK);
  assert_string_equal(apq__problem_key(&problem, key), text);
  text = "group=128,k=129,m=17,n=33,out=bf16,p=3,q=5";
  assert_int_equal(apq__problem_parse(text, &problem, NULL), APQ_OK);
  assert_int_equal(problem.group, 128);
  assert_string_equal(apq__problem_key(&problem, key), text);
  apq__problem other = problem;
  assert_true(apq__problem_is_same(&problem, &other));
  other.group = 0;
  assert_false(apq__problem_is_same(&problem, &other));
  text = "group=128,in=bf16,k=129,m=17,n=33,out=bf16,p=3,q=5";
  assert_int_equal(apq__problem_parse(text, &problem, NULL), APQ_OK);
  assert_int_equal(problem.in, APQ__INPUT_BF16);
  assert_string_equal(apq__problem_key(&problem, key), text);
  other.group = 128;
  assert_false(apq__problem_is_same(&problem, &other));
  /* Packed is the input that is not told: each problem has one text. */
  assert_int_equal(apq__problem_parse("in=packed,k=1,m=1,n=1,out=f16,p=1,q=1", &problem, NULL),
                   APQ_PARSE);
  assert_int_equal(apq__problem_parse("in=i32,k=1,m=1,n=1,out=f16,p=1,q=1", &problem, NULL),
                   APQ_PARSE);
  problem = other;
  problem.in = APQ__INPUT_COUNT;
  assert_int_equal(apq__problem_check(&problem, NULL), APQ_INVALID_ARGUMENT);
  for (int i = 0; i < APQ__INPUT_COUNT; i++) {
    apq__input input = APQ__INPUT_COUNT;
    assert_true(apq__input_parse(apq__input_name((apq__input)i), &input));
    assert_int_equal(input, i);
    assert_int_equal(apq__input_of(apq__input_dtype(input)), i);
  }
  assert_int_equal(apq__input_of(APQ_DTYPE_I32), APQ__INPUT_PACKED);
  assert_int_equal(apq__problem_parse("group=0,k=1,m=1,n=1,out=f16,p=1,q=1", &problem, NULL),
                   APQ_PARSE);
  assert_int_equal(apq__problem_parse("group=96,k=1,m=1,n=1,out=f16,p=1,q=1", &problem, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__problem_parse("group=64,k=1,m=1,n=1,out=i32,p=1,q=1", &problem, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__problem_parse("k=1,m=1,n=1,out=i32,p=9,q=1", &problem, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__problem_parse("k=1,m=-1,n=1,out=i32,p=1,q=1", &problem, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__problem_parse("k=1,m=1,n=1,out=codes8,p=1,q=1", &problem, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__problem_parse("k=1,m=1,n=1,p=1,q=1", &problem, NULL), APQ_PARSE);
  assert_int_equal(apq__problem_parse("k=1,m=1,n=1,out=i32,p=1,q=1,x=1", &problem, NULL),
                   APQ_PARSE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_sorted_and_round_trip),
      cmocka_unit_test(malformed_keys_are_refused),
      cmocka_unit_test(problems_round_trip_and_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
