/* Verification lets good kernels pass and refuses planted wrong ones, on the emulated device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "generator.h"
#include "packers.h"
#include "planted_source.h"
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
      "family=decode,q=8,operand=shared,src=f16,tile_m=4,warps_n=2",
      "family=decode,q=5,operand=shared,src=f32,core=u8,tile_m=8,hold=2",
      "family=pack,q=4,src=f16",
      "family=pack,q=8,src=f32,form=bytes",
      "family=pack,q=3,src=codes8",
      "family=pack,q=4,src=f16,gate=1",
      "family=pack,q=8,src=bf16,gate=1,form=bytes,hold=1",
      "family=pack,q=2,src=f32,gate=1,warps=4",
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

/* Verifies the kernel of a config with arguments changed under it. */
static apq_status verify_spoiled(const char *text, const char *change, apq_error *error) {
  apq__config config = complete(text);
  apq__object object;
  char *source = NULL;
  assert_int_equal(apq__generate(&config, &device->target, &source, error), APQ_OK);
  int is_pack = apq__config_is(&config, "family", "pack");
  char *planted = plant_in_arguments(source, is_pack ? "apq_pack_args" : "apq_gemm_args", change);
  assert_non_null(planted);
  if (apq__compile(planted, &device->target, NULL, &object, error))
    fail_msg("%s\n%s", error->message, error->log ? error->log : "");
  apq_status status =
      apq__verify_image(device, &config, NULL, object.image, object.size, 1, NULL, error);
  apq__object_free(&object);
  apq__free(planted);
  apq__free(source);
  return status;
}

static void planted_errors_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *config, *change;
  } plants[] = {
      {"family=bmma,p=2,q=2", "spoiled.bias = 0;"},
      {"family=bmma,p=2,q=2", "spoiled.w_scale = 0;"},
      {"family=bmma,p=2,q=2", "spoiled.zero_a++;"},
      {"family=bmma,p=2,q=2", "spoiled.w_zero = 0;"},
      {"family=bmma,p=2,q=2,out=i32", "spoiled.alpha_w = 1;"},
      {"family=bmma,p=2,q=2", "spoiled.k++;"},
      /* A row, or a column, too many is written; and one too few. */
      {"family=bmma,p=2,q=2", "spoiled.n++;"},
      {"family=bmma,p=2,q=2", "spoiled.m++;"},
      {"family=imma,p=4,q=8", "spoiled.m -= spoiled.m > 1;"},
      {"family=imma,p=4,q=8", "spoiled.ldy = spoiled.n;"},
      {"family=decode,operand=shared,src=f16", "spoiled.ldx = spoiled.k;"},
      {"family=decode,operand=shared,src=f16", "spoiled.is_static = 0;"},
      {"family=decode,operand=shared,src=f16", "spoiled.static_scale *= 1.01f;"},
      {"family=decode,operand=shared,src=f16", "spoiled.ldx++;"},
      {"family=decode,operand=shared,src=f16,core=u8,tile_m=4",
       "spoiled.format = spoiled.format == 1 ? 2 : spoiled.format;"},
      {"family=pack,q=4,src=f16", "spoiled.k--;"},
      {"family=pack,q=4,src=f16", "spoiled.format = spoiled.format == 1 ? 2 : spoiled.format;"},
      {"family=pack,q=8,src=codes8,form=bytes", "spoiled.ldx = spoiled.k;"},
      {"family=pack,q=8,src=f16,gate=1", "spoiled.gate.kind = 3 - spoiled.gate.kind;"},
      {"family=pack,q=8,src=f16,gate=1", "spoiled.gate.term[0] *= 1.01f;"},
  };
  for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    apq_status status = verify_spoiled(plants[i].config, plants[i].change, &error);
    /* Reading or writing out of bounds is the device's find. */
    if (status != APQ_MISMATCH && status != APQ_KERNEL_FAULT)
      fail_msg("%s %s: %s", plants[i].config, plants[i].change, apq_status_name(status));
    assert_true(strlen(error.message) > 10);
    apq_error_clear(&error);
  }
}

/* The emulated device aside, the results alone give a wrong kernel away. */
static void a_wrong_result_names_its_element(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(verify_spoiled("family=bmma,p=2,q=2", "spoiled.bias = 0;", &error),
                   APQ_MISMATCH);
  assert_non_null(strstr(error.message, "y[0][0] is "));
  assert_non_null(strstr(error.message, ", expected "));
  apq_error_clear(&error);
}

/* ---- the problem itself, which real GPUs check beside the small shapes ---- */

typedef struct bench {
  apq__spot_check check;
  apq__device_data data;
} bench;

static void bench_open(bench *b, apq_dtype out) {
  apq__problem problem = {2, 2, 150, 130, 700, out, 0, 0};
  apq_error error = APQ_ERROR_INIT;
  if (apq__spot_check_make(&problem, 5, &b->check, &error) ||
      apq__device_data_make(device, &b->check.host, 1 << APQ__FORM_PLANES, problem.n, &b->data,
                            &error))
    fail_msg("%s", error.message);
}

static void bench_close(bench *b) {
  apq__device_data_free(&b->data);
  apq__spot_check_free(&b->check);
}

/* Runs the check with a kernel whose results are wrong at one element, unless `row` is -1. */
static apq_status run_with_error(bench *b, int row, int column, int *refuted, apq_error *error) {
  apq__config config = complete(b->check.host.spec.problem.out == APQ_DTYPE_I32
                                    ? "family=bmma,p=2,q=2,out=i32,store=direct"
                                    : "family=bmma,p=2,q=2,out=f16,store=direct");
  apq__object object;
  apq__test_kernel kernel;
  apq__prepared prepared;
  char *source = NULL;
  assert_int_equal(apq__generate(&config, &device->target, &source, error), APQ_OK);
  char *altered = plant_in_result(source, row, column);
  assert_non_null(altered);
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

/* ---- problems whose input is to be quantized ---- */

static apq_status check_input(bench *b, const char *text, int *refuted, apq_error *error) {
  apq__config config = complete(text);
  apq__object object;
  apq__test_kernel kernel;
  apq__prepared prepared;
  char *source = NULL;
  assert_int_equal(apq__generate(&config, &device->target, &source, error), APQ_OK);
  assert_int_equal(apq__compile(source, &device->target, NULL, &object, error), APQ_OK);
  assert_int_equal(
      apq__test_kernel_load(device, &config, object.image, object.size, &kernel, error), APQ_OK);
  apq_status status = apq__prepared_make(&kernel, &b->data, &prepared, error);
  if (status == APQ_OK) status = apq__spot_check_run(&b->check, &prepared, refuted, NULL, error);
  apq__test_kernel_unload(&kernel);
  apq__object_free(&object);
  apq__free(source);
  return status;
}

/* Kernels that take packed activations, of every form, follow a pack kernel, and agree to the last
 * bit with one that quantizes for itself. */
static void inputs_are_packed_or_quantized(void **state) {
  (void)state;
  static const struct {
    apq__input in;
    const char *own, *other;
  } inputs[] = {
      {APQ__INPUT_F16, "family=decode,p=2,q=4,tile_m=4,operand=shared,src=f16",
       "family=decode,p=2,q=4,tile_m=4,operand=shared,src=bf16"},
      {APQ__INPUT_F32, "family=decode,p=2,q=4,tile_m=4,operand=shared,core=u8,src=f32",
       "family=decode,p=2,q=4,tile_m=4,operand=shared,src=f16"},
  };
  static const char *const packed[] = {
      "family=decode,p=2,q=4,tile_m=4",
      "family=imma,p=2,q=4",
      "family=imma,p=2,q=4,form=pairs",
  };
  for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
    const apq__problem problem = {
        .p = 2, .q = 4, .m = 7, .n = 70, .k = 700, .out = APQ_DTYPE_F16, .in = inputs[i].in};
    bench b;
    apq_error error = APQ_ERROR_INIT;
    int refuted = 0;
    if (apq__spot_check_make(&problem, 5, &b.check, &error) ||
        apq__device_data_make(device, &b.check.host, APQ__ALL_FORMS, problem.n, &b.data, &error) ||
        apq__packers_make(apq__generate, apq__compile, NULL, &b.data, &error))
      fail_msg("%s", error.message);
    /* Without its launch there is nothing that could be right. */
    apq__packer *packer = &b.data.packer[APQ__FORM_PLANES];
    apq__kernel *kernel = packer->loaded.kernel;
    packer->loaded.kernel = NULL;
    assert_int_equal(check_input(&b, packed[0], &refuted, &error), APQ_MISMATCH);
    packer->loaded.kernel = kernel;
    apq_error_clear(&error);
    if (check_input(&b, inputs[i].own, &refuted, &error)) fail_msg("%s", error.message);
    for (size_t j = 0; j < sizeof packed / sizeof packed[0]; j++)
      if (check_input(&b, packed[j], &refuted, &error) || refuted)
        fail_msg("%s: %s", packed[j], error.message);
    assert_int_equal(check_input(&b, inputs[i].other, &refuted, &error), APQ_INFEASIBLE);
    apq_error_clear(&error);
    bench_close(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(inputs_are_packed_or_quantized),
      cmocka_unit_test(good_kernels_pass),
      cmocka_unit_test(planted_errors_are_refused),
      cmocka_unit_test(a_wrong_result_names_its_element),
      cmocka_unit_test(spot_check_finds_corners_and_sampled_rows),
      cmocka_unit_test(freivalds_finds_any_element),
      cmocka_unit_test(disagreement_is_settled_by_the_reference),
  };
  return cmocka_run_group_tests(tests, open_device, close_device);
}
