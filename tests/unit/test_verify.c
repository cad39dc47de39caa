/* Verification lets good kernels pass and refuses planted wrong ones, on the emulated device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "generator.h"
#include "problem_data.h"
#include "spot_check.h"
#include "status.h"
#include "verify.h"

static apq__device *device;

static int open_device(void **state) {
  (void)state;
  return apq__device_open("emu:sm_90a", &device, NULL) != APQ_OK;
}

static int close_device(void **state) {
  (void)state;
  apq__device_close(device);
  return 0;
}

static apq__config complete(const char *text) {
  apq__config config;
  apq_error error = APQ_ERROR_INIT;
  if (apq__config_parse(text, &config, &error) || apq__config_complete(&config, &error))
    fail_msg("%s", error.message);
  return config;
}

static void good_kernels_pass(void **state) {
  (void)state;
  const char *configs[] = {
      "family=bmma,p=1,q=1",
      "family=bmma,p=2,q=3,tile_m=32,tile_n=32,out=i32,layout=xor,store=staged",
      "family=bmma,p=2,q=2,split_k=4,store=staged,out=bf16",
      "family=imma,p=4,q=8,out=f32",
      "family=pack,q=4,src=f16",
      "family=pack,q=8,src=f32,form=bytes",
      "family=pack,q=3,src=codes8",
  };
  for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
    apq__config config = complete(configs[i]);
    apq__verify_report report;
    apq_error error = APQ_ERROR_INIT;
    if (apq__verify_config(device, &config, NULL, NULL, i, &report, &error))
      fail_msg("%s: %s", configs[i], error.message);
    assert_true(report.products >= 6);
    assert_true(report.outputs > 1000);
  }
}

/* Replaces `old` in the source by `new`; the test is void when the template no longer has it. */
static char *alter(const char *source, const char *old, const char *new) {
  const char *at = strstr(source, old);
  if (!at) fail_msg("the generated source has no \"%s\"", old);
  return apq__format("%.*s%s%s", (int)(at - source), source, new, at + strlen(old));
}

static apq_status verify_altered(const char *text, const char *old, const char *new,
                                 apq_error *error) {
  apq__config config = complete(text);
  apq__object object;
  char *source = NULL;
  assert_int_equal(apq__generate(&config, &device->target, &source, error), APQ_OK);
  char *altered = alter(source, old, new);
  if (apq__compile(altered, &device->target, NULL, &object, error))
    fail_msg("%s\n%s", error->message, error->log ? error->log : "");
  apq_status status =
      apq__verify_image(device, &config, NULL, object.image, object.size, 1, NULL, error);
  apq__object_free(&object);
  apq__free(altered);
  apq__free(source);
  return status;
}

static void planted_errors_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *config, *old, *new;
  } plants[] = {
      /* A plane product with the wrong weight. */
      {"family=bmma,p=2,q=2", "<< (i + j)", "<< (i + i)"},
      /* The zero point correction with one factor wrong. */
      {"family=bmma,p=2,q=2", "column->zero * row->rest", "column->zero * row->sum"},
      /* The bias forgotten. */
      {"family=bmma,p=2,q=2", "if (args->bias) y = apq_add(y, column->bias);", ""},
      /* Rounded once instead of twice: the last bit differs. */
      {"family=bmma,p=2,q=2,out=f32",
       "apq_mul(apq_int_to_float((int)c), apq_mul(row->scale, column->scale))",
       "apq_mul(apq_mul(apq_int_to_float((int)c), row->scale), column->scale)"},
      /* One column past the matrix is written. */
      {"family=bmma,p=2,q=2", "n >= args->n", "n > args->n"},
      /* The last stages of k are left out. */
      {"family=bmma,p=2,q=2", "int steps = apq_steps(&lane);",
       "int steps = apq_steps(&lane) - (apq_steps(&lane) > 3);"},
      {"family=pack,q=4,src=f16", "<< (BITS - 1)", "<< (BITS - 1) | 1"},
  };
  for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    apq_status status = verify_altered(plants[i].config, plants[i].old, plants[i].new, &error);
    /* Writing out of bounds may be the device's find or the canary's. */
    if (status != APQ_MISMATCH && status != APQ_KERNEL_FAULT)
      fail_msg("\"%s\" for \"%s\": %s", plants[i].new, plants[i].old, apq_status_name(status));
    assert_true(strlen(error.message) > 10);
    apq_error_clear(&error);
  }
}

/* ---- the problem itself, which real GPUs check beside the small shapes ---- */

typedef struct bench {
  apq__spot_check check;
  apq__device_data data;
} bench;

static void bench_open(bench *b, apq_dtype out) {
  apq__problem problem = {2, 2, 150, 130, 700, out};
  apq_error error = APQ_ERROR_INIT;
  if (apq__spot_check_make(&problem, 5, &b->check, &error) ||
      apq__device_data_make(device, &b->check.host, APQ__FORM_PLANES, problem.n, &b->data, &error))
    fail_msg("%s", error.message);
}

static void bench_close(bench *b) {
  apq__device_data_free(&b->data);
  apq__spot_check_free(&b->check);
}

/* Runs the check with a kernel whose results are wrong at one element, unless `row` is -1. */
static apq_status run_with_error(bench *b, int row, int column, int *refuted, apq_error *error) {
  apq__config config =
      complete(b->check.host.spec.problem.out == APQ_DTYPE_I32 ? "family=bmma,p=2,q=2,out=i32"
                                                               : "family=bmma,p=2,q=2,out=f16");
  apq__object object;
  apq__test_kernel kernel;
  apq__prepared prepared;
  char *source = NULL, condition[160];
  assert_int_equal(apq__generate(&config, &device->target, &source, error), APQ_OK);
  const char *store = "apq_store_one(args, m, n, apq_result(";
  snprintf(condition, sizeof condition,
           "apq_store_one(args, m, n, (apq_u32)(m == %d && n == %d) ^ apq_result(", row, column);
  char *altered = alter(source, store, condition);
  assert_int_equal(apq__compile(altered, &device->target, NULL, &object, error), APQ_OK);
  assert_int_equal(
      apq__test_kernel_load(device, &config, object.image, object.size, &kernel, error), APQ_OK);
  assert_int_equal(apq__prepared_make(&kernel, &b->data, &prepared, error), APQ_OK);
  apq_status status = apq__spot_check_run(&b->check, &prepared, refuted, NULL, error);
  apq__test_kernel_unload(&kernel);
  apq__object_free(&object);
  apq__free(altered);
  apq__free(source);
  return status;
}

/* A row that is not among the sampled ones, nor at a tile's edge. */
static int unsampled_row(const bench *b) {
  for (int row = 10; row < 60; row++) {
    int sampled = 0;
    for (int i = 0; i < b->check.row_count; i++) sampled |= b->check.rows[i] == row;
    if (!sampled) return row;
  }
  fail_msg("every row is sampled");
  return 0;
}

static void spot_check_finds_corners_and_sampled_rows(void **state) {
  (void)state;
  bench b;
  int refuted;
  apq_error error = APQ_ERROR_INIT;
  bench_open(&b, APQ_DTYPE_F16);
  assert_int_equal(run_with_error(&b, -1, -1, &refuted, &error), APQ_OK);
  assert_int_equal(refuted, 0);
  assert_int_equal(run_with_error(&b, 127, 64, &refuted, &error), APQ_MISMATCH);
  assert_non_null(strstr(error.message, "y[127][64]"));
  assert_int_equal(run_with_error(&b, b.check.rows[20], 77, &refuted, &error), APQ_MISMATCH);
  apq_error_clear(&error);
  bench_close(&b);
}

static void freivalds_finds_any_element(void **state) {
  (void)state;
  bench b;
  int refuted;
  apq_error error = APQ_ERROR_INIT;
  bench_open(&b, APQ_DTYPE_I32);
  assert_int_equal(run_with_error(&b, unsampled_row(&b), 31, &refuted, &error), APQ_MISMATCH);
  assert_non_null(strstr(error.message, "Freivalds"));
  assert_int_equal(run_with_error(&b, -1, -1, &refuted, &error), APQ_OK);
  apq_error_clear(&error);
  bench_close(&b);
}

static void disagreement_is_settled_by_the_reference(void **state) {
  (void)state;
  bench b;
  int refuted;
  apq_error error = APQ_ERROR_INIT;
  bench_open(&b, APQ_DTYPE_F16);
  int row = unsampled_row(&b);
  /* Wrong where nothing looks: it passes, until a right one is compared with it. */
  assert_int_equal(run_with_error(&b, row, 31, &refuted, &error), APQ_OK);
  assert_int_equal(run_with_error(&b, -1, -1, &refuted, &error), APQ_OK);
  assert_int_equal(refuted, 1);
  assert_int_equal(run_with_error(&b, row, 31, &refuted, &error), APQ_MISMATCH);
  assert_int_equal(run_with_error(&b, -1, -1, &refuted, &error), APQ_OK);
  assert_int_equal(refuted, 0);
  apq_error_clear(&error);
  bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_kernels_pass),
      cmocka_unit_test(planted_errors_are_refused),
      cmocka_unit_test(spot_check_finds_corners_and_sampled_rows),
      cmocka_unit_test(freivalds_finds_any_element),
      cmocka_unit_test(disagreement_is_settled_by_the_reference),
  };
  return cmocka_run_group_tests(tests, open_device, close_device);
}
