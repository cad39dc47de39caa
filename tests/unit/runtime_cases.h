/* Products through the public interface, each compared with the CPU reference to the last bit;
 * *state is the context. The same cases serve the emulated device and real GPUs. */
#ifndef RUNTIME_CASES_H
#define RUNTIME_CASES_H

#include "runtime_fixture.h"

#define CODES APQ_DTYPE_CODES8
#define I32   APQ_DTYPE_I32
#define F16   APQ_DTYPE_F16
#define BF16  APQ_DTYPE_BF16
#define F32   APQ_DTYPE_F32
#define UINT  APQ_FORMAT_UINT
#define INT   APQ_FORMAT_INT
#define BI    APQ_FORMAT_BIPOLAR

static inline void check_all(apq_context *context, const product_case *rows, size_t count) {
  for (size_t i = 0; i < count; i++) check_product(context, &rows[i], 1000 + i);
}

static inline void bits_shapes_and_outputs(void **state) {
  static const product_case rows[] = {
      {1, 1, 1, 1, 1, BI, BI, CODES, CODES, I32, 0},
      {1, 1, 17, 33, 129, BI, BI, CODES, CODES, I32, 0},
      {2, 8, 5, 40, 1000, INT, INT, CODES, CODES, F16, WITH_W_SCALE | WITH_A_SCALE},
      {3, 5, 17, 33, 129, UINT, INT, CODES, CODES, F32, WITH_W_SCALE | WITH_BIAS},
      {8, 8, 5, 40, 1000, INT, UINT, CODES, CODES, BF16, WITH_A_SCALE | WITH_BIAS},
      {8, 8, 17, 33, 129, UINT, UINT, CODES, CODES, I32, WITH_W_ZERO | WITH_A_ZERO},
      {4, 4, 70, 66, 300, INT, BI, CODES, CODES, I32, WITH_PADDING},
  };
  check_all(*state, rows, sizeof rows / sizeof rows[0]);
}

/* One kernel, every pair of formats: they differ in its arguments alone. */
static inline void every_pair_of_formats(void **state) {
  for (int w = 0; w < APQ_FORMAT_COUNT; w++)
    for (int a = 0; a < APQ_FORMAT_COUNT; a++) {
      unsigned zeros = (w == UINT ? WITH_W_ZERO : 0u) | (a == UINT ? WITH_A_ZERO : 0u);
      product_case c = {2, 2, 9, 20, 150, (apq_format)w, (apq_format)a, CODES, CODES, I32, 0};
      check_product(*state, &c, 7);
      c.with = zeros | WITH_PADDING;
      if (zeros) check_product(*state, &c, 8);
    }
}

/* And every set of options of the floating epilogue. */
static inline void every_set_of_options(void **state) {
  for (unsigned with = 0; with < 64; with++) {
    product_case c = {2, 2, 9, 20, 150, UINT, UINT, CODES, CODES, F32, with};
    check_product(*state, &c, with);
  }
}

static inline void inputs_quantized_at_run_time(void **state) {
  static const product_case rows[] = {
      {2, 2, 9, 20, 150, UINT, UINT, CODES, F32, F32, WITH_BIAS | WITH_PADDING},
      {2, 2, 9, 20, 150, UINT, INT, CODES, F32, F32, WITH_W_ZERO | WITH_W_SCALE},
      {2, 2, 9, 20, 150, UINT, BI, CODES, F32, F32, 0},
      {2, 2, 9, 20, 150, BI, UINT, CODES, F16, F32, WITH_BIAS},
      {2, 2, 9, 20, 150, BI, INT, CODES, BF16, F32, WITH_PADDING},
      {2, 2, 9, 20, 150, BI, INT, CODES, F32, I32, 0},
      {8, 8, 5, 40, 1000, INT, UINT, CODES, F16, BF16, WITH_BIAS},
  };
  check_all(*state, rows, sizeof rows / sizeof rows[0]);
}

static inline void weights_quantized_per_channel(void **state) {
  static const apq_dtype types[] = {F32, F16, BF16};
  for (int format = 0; format < APQ_FORMAT_COUNT; format++)
    for (size_t i = 0; i < 3; i++) {
      product_case c = {2, 2, 9, 20, 150, (apq_format)format, INT, types[i], CODES, F32, 0};
      c.with = i == 1 ? WITH_PADDING : WITH_A_SCALE | WITH_BIAS;
      check_product(*state, &c, 3 + i);
    }
}

/* One plan serves many token counts, in any order. */
static inline void one_plan_many_sizes(void **state) {
  product_case c = {2, 2, 64, 20, 150, INT, INT, CODES, CODES, I32, 0};
  product_data data = make_data(&c, 5);
  apq_weights *weights = make_weights(*state, &data);
  product_run run = start_run(*state, weights, &data);
  const int sizes[] = {3, 64, 1, 3, 9};
  CHECK(apq_plan_prepare(run.plan, sizes, 5, error));
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    product_data part = data;
    part.c.m = sizes[i];
    part.y_bytes = (size_t)(sizes[i] * data.y_ld) * 4;
    poison_result(&run, &part);
    assert_true(apq_plan_workspace(run.plan, sizes[i]) > 0);
    assert_true(apq_plan_workspace(run.plan, sizes[i]) <= run.workspace_bytes);
    CHECK(run_once(&run, &part, NULL, error));
    CHECK(apq_synchronize(*state, NULL, error));
    expect_result(&run, &part);
  }
  end_run(&run);
  apq_weights_destroy(weights);
  free_data(&data);
}

#define RUNTIME_CASES                                                                              \
  cmocka_unit_test(bits_shapes_and_outputs), cmocka_unit_test(every_pair_of_formats),              \
      cmocka_unit_test(every_set_of_options), cmocka_unit_test(inputs_quantized_at_run_time),      \
      cmocka_unit_test(weights_quantized_per_channel), cmocka_unit_test(one_plan_many_sizes)

#endif
