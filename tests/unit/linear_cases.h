/* The linear layer through the public interface, against a reference in double precision that knows
 * nothing of codes' sums, planes or groups of instructions: it takes the values that codes stand
 * for, multiplies and adds.  *state is the context; the same cases serve the emulated device and
 * real GPUs. */
#ifndef LINEAR_CASES_H
#define LINEAR_CASES_H

#include <math.h>

#include "activation.h"
#include "context.h"
#include "plan.h"
#include "runtime_fixture.h"

/* One product; the weights have a group of their own scales and zero points where it is not 0. */
typedef struct linear_case {
  int p, q, m, n, k, group;
  apq_format w_format, a_format;
  apq_dtype input, output;
  float static_scale;
  int static_zero;
  int has_bias;
  apq_activation activation;
  apq_combine combine;
  apq_activation input_gate;
} linear_case;

typedef struct linear_data {
  linear_case c;
  int groups, zero_count;
  int64_t ldx, ldy, ldo;
  uint8_t *w_codes;
  float *w_scale, *bias;
  int32_t *w_zero;
  void *x, *other;
} linear_data;

static inline linear_data linear_make(const linear_case *c, uint64_t seed) {
  linear_data d = {.c = *c,
                   .groups = 1,
                   .ldx = (c->input_gate ? 2 : 1) * c->k + 5,
                   .ldy = c->n + 3,
                   .ldo = c->n + 1};
  if (c->group) d.groups = (c->k + c->group - 1) / c->group;
  const int cells = c->n * d.groups;
  d.w_codes = apq__alloc((size_t)c->n * (size_t)c->k);
  for (int i = 0; i < c->n * c->k; i++)
    d.w_codes[i] = (uint8_t)(apq__random(&seed) & ((1u << c->p) - 1));
  d.w_scale = random_floats(cells, &seed);
  if (c->w_format == APQ_FORMAT_UINT) d.w_zero = random_zeros(cells, c->p, &seed);
  if (c->has_bias) d.bias = random_floats(c->n, &seed);
  d.x = apq__calloc((size_t)(c->m * d.ldx), apq__dtype_bytes(c->input));
  for (int64_t i = 0; i < c->m * d.ldx; i++)
    apq__store_float(d.x, c->input, i, random_float(&seed) * 2.0f + 0.25f);
  d.other = apq__calloc((size_t)(c->m * d.ldo), apq__dtype_bytes(c->output));
  for (int64_t i = 0; i < c->m * d.ldo; i++)
    apq__store_float(d.other, c->output, i, random_float(&seed));
  return d;
}

static inline void linear_free(linear_data *d) {
  void *const all[] = {d->w_codes, d->w_scale, d->bias, d->w_zero, d->x, d->other};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) apq__free(all[i]);
}

static inline apq_weights *linear_weights(apq_context *context, const linear_data *d) {
  const apq_weights_desc desc = {.n = d->c.n,
                                 .k = d->c.k,
                                 .bits = d->c.p,
                                 .format = d->c.w_format,
                                 .dtype = APQ_DTYPE_CODES8,
                                 .data = d->w_codes,
                                 .scale = d->w_scale,
                                 .zero = d->w_zero,
                                 .group = d->c.group};
  apq_weights *weights = NULL;
  CHECK(apq_weights_create(context, &desc, &weights, error));
  return weights;
}

/* The activations as the layer quantizes them, back in values. */
static inline void linear_inputs(const linear_data *d, int row, double *values) {
  const linear_case *c = &d->c;
  float *x = apq__alloc((size_t)c->k * sizeof *x);
  for (int i = 0; i < c->k; i++) {
    x[i] = apq__load_float(d->x, c->input, row * d->ldx + i);
    if (c->input_gate)
      x[i] = apq__gated_input(c->input_gate, x[i],
                              apq__load_float(d->x, c->input, row * d->ldx + c->k + i), c->input);
  }
  float low, high;
  apq__row_range(x, c->k, &low, &high);
  apq__quantizer by = apq__quantizer_of(low, high, c->q, c->a_format);
  if (c->static_scale > 0) {
    by.scale = c->static_scale;
    by.inverse = 1.0f / c->static_scale;
    if (c->a_format == APQ_FORMAT_UINT) by.zero = c->static_zero;
  }
  const apq__affine affine = apq__format_affine(c->a_format, c->q);
  for (int i = 0; i < c->k; i++)
    values[i] =
        (double)by.scale * (affine.alpha * apq__quantize(&by, x[i], c->q, c->a_format) - by.zero);
  apq__free(x);
}

static inline double linear_activate(apq_activation activation, double y) {
  const double tanh_argument = sqrt(2 / acos(-1)) * (y + 0.044715 * y * y * y);
  switch (activation) {
  case APQ_ACTIVATION_SILU:
    return y / (1 + exp(-y));
  case APQ_ACTIVATION_GELU:
    return y * erfc(-y / sqrt(2)) / 2;
  case APQ_ACTIVATION_GELU_TANH:
    return y / (1 + exp(-2 * tanh_argument));
  default:
    return y;
  }
}

/* One element and how much float steps may change it before its last rounding. */
static inline double linear_expect(const linear_data *d, const double *inputs, int row, int column,
                                   double *slack) {
  const linear_case *c = &d->c;
  const apq__affine affine = apq__format_affine(c->w_format, c->p);
  double sum = 0, size = 0;
  for (int i = 0; i < c->k; i++) {
    int cell = column * d->groups + (c->group ? i / c->group : 0);
    int zero = d->w_zero ? d->w_zero[cell] : affine.zero;
    double w = (double)d->w_scale[cell] * (affine.alpha * d->w_codes[column * c->k + i] - zero);
    sum += inputs[i] * w;
    /* What cancels between groups cancels in floats. */
    if (c->group && i % c->group == 0) size += fabs(inputs[i] * w) * c->group;
  }
  size += fabs(sum);
  if (d->bias) {
    sum += (double)d->bias[column];
    size += fabs((double)d->bias[column]);
  }
  double y = linear_activate(c->activation, sum);
  if (c->combine) {
    double other = (double)apq__load_float(d->other, c->output, row * d->ldo + column);
    y = c->combine == APQ_COMBINE_ADD ? y + other : y * other;
    size += fabs(other);
  }
  *slack = (size + fabs(y)) * (4 + d->groups) * 0x1p-23 + 1e-8;
  return y;
}

/* A unit in the last place of the type at this magnitude. */
static inline double linear_unit(apq_dtype type, double y) {
  const int bits = type == APQ_DTYPE_F16 ? 11 : type == APQ_DTYPE_BF16 ? 8 : 24;
  int exponent = 0;
  frexp(y, &exponent);
  if (type == APQ_DTYPE_F16 && exponent < -13) exponent = -13;
  return ldexp(1, exponent - bits);
}

static inline void linear_compare(const linear_data *d, int m, const void *y) {
  const linear_case *c = &d->c;
  double *inputs = apq__alloc((size_t)c->k * sizeof *inputs);
  for (int row = 0; row < m; row++) {
    linear_inputs(d, row, inputs);
    for (int column = 0; column < c->n; column++) {
      double slack, expected = linear_expect(d, inputs, row, column, &slack);
      double got = (double)apq__load_float(y, c->output, row * d->ldy + column);
      if (fabs(got - expected) <= 0.5 * linear_unit(c->output, expected) * 1.001 + slack) continue;
      fail_msg("W%dA%d %dx%dx%d group %d, %s x %s, %s to %s, activation %d, combine %d: y[%d][%d] "
               "is %.9g, expected %.9g",
               c->p, c->q, m, c->n, c->k, c->group, apq_format_name(c->w_format),
               apq_format_name(c->a_format), apq_dtype_name(c->input), apq_dtype_name(c->output),
               (int)c->activation, (int)c->combine, row, column, got, expected);
    }
  }
  apq__free(inputs);
}

static inline apq_plan_desc linear_plan(const linear_case *c, const apq_weights *weights,
                                        const float *bias) {
  return (apq_plan_desc){.weights = weights,
                         .bits = c->q,
                         .format = c->a_format,
                         .input = c->input,
                         .output = c->output,
                         .bias = bias,
                         .static_scale = c->static_scale,
                         .static_zero = c->static_zero,
                         .activation = c->activation,
                         .combine = c->combine,
                         .input_gate = c->input_gate};
}

/* The whole way with a plan that has what `m` tokens need prepared. */
static inline void linear_run(apq_context *context, apq_plan *plan, const linear_data *d, int m) {
  const linear_case *c = &d->c;
  const size_t element = apq__dtype_bytes(c->output), y_bytes = (size_t)(m * d->ldy) * element;
  const size_t bytes = apq_plan_workspace(plan, m);
  void *x = device_copy(context, d->x, (size_t)(m * d->ldx) * apq__dtype_bytes(c->input));
  void *other = device_copy(context, d->other, (size_t)(m * d->ldo) * element);
  void *y = device_new(context, y_bytes), *workspace = device_new(context, bytes);
  const apq_output output = {y, d->ldy, c->combine ? other : NULL, c->combine ? d->ldo : 0};
  CHECK(apq_plan_run_all(plan, m, x, d->ldx, &output, 1, workspace, bytes, NULL, error));
  CHECK(apq_synchronize(context, NULL, error));
  void *got = apq__alloc(y_bytes);
  CHECK(apq_copy_to_host(context, got, y, y_bytes, error));
  linear_compare(d, m, got);
  apq__free(got);
  void *const memory[] = {x, other, y, workspace};
  for (int i = 0; i < 4; i++) apq_device_free(context, memory[i]);
}

static inline void linear_check(apq_context *context, const linear_case *c, uint64_t seed) {
  linear_data d = linear_make(c, seed);
  apq_weights *weights = linear_weights(context, &d);
  float *bias = d.bias ? device_copy(context, d.bias, (size_t)c->n * 4) : NULL;
  const apq_plan_desc desc = linear_plan(c, weights, bias);
  apq_plan *plan = NULL;
  CHECK(apq_plan_create(context, &desc, &plan, error));
  CHECK(apq_plan_prepare(plan, &c->m, 1, error));
  linear_run(context, plan, &d, c->m);
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  apq_device_free(context, bias);
  linear_free(&d);
}

/* Every pair of bits; formats, groups, types, activations and scale kinds by turns, so that the 64
 * pairs between them take all of them several times. */
static inline void all_pairs_against_double_precision(void **state) {
  static const apq_dtype types[] = {APQ_DTYPE_F16, APQ_DTYPE_BF16, APQ_DTYPE_F32};
  for (int i = 0; i < 64; i++) {
    linear_case c = {.p = i / 8 + 1,
                     .q = i % 8 + 1,
                     .m = 1 + i % 5,
                     .n = 24 + i % 9,
                     .k = 300 + i % 7,
                     .group = i % 5 ? 16 << i % 5 : 0,
                     .w_format = (apq_format)(i % 3),
                     .a_format = (apq_format)(i / 3 % 3),
                     .input = types[i / 2 % 3],
                     .output = types[i / 4 % 3],
                     .has_bias = i % 2,
                     .activation = (apq_activation)(i / 5 % 4),
                     .combine = (apq_combine)(i / 7 % 3),
                     .input_gate = i % 3 ? APQ_ACTIVATION_NONE : (apq_activation)(i / 3 % 4)};
    if (i % 4 == 3) c.static_scale = 0.03f, c.static_zero = c.a_format == APQ_FORMAT_UINT;
    linear_check(*state, &c, 77 + (uint64_t)i);
  }
}

/* Every count of a range is served, by choices that are prepared for the last of their part. */
static inline void ranges_serve_every_count(void **state) {
  apq_context *context = *state;
  const linear_case c = {.p = 2,
                         .q = 4,
                         .m = 70,
                         .n = 40,
                         .k = 200,
                         .w_format = APQ_FORMAT_INT,
                         .a_format = APQ_FORMAT_INT,
                         .input = APQ_DTYPE_F16,
                         .output = APQ_DTYPE_F16};
  linear_data d = linear_make(&c, 5);
  apq_weights *weights = linear_weights(context, &d);
  const apq_plan_desc desc = linear_plan(&c, weights, NULL);
  apq_plan *plan = NULL;
  CHECK(apq_plan_create(context, &desc, &plan, error));
  CHECK(apq_plan_prepare_range(plan, 3, 65, error));
  const int own = 37;
  CHECK(apq_plan_prepare(plan, &own, 1, error));
  assert_int_equal(apq_plan_workspace(plan, 2), 0);
  assert_int_equal(apq_plan_workspace(plan, 80), 0);
  for (int m = 3; m < 65; m++) assert_true(apq_plan_workspace(plan, m) > 0);
  static const int counts[] = {3, 16, 17, 18, 33, 36, 37, 38, 50, 63, 64, 65};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    linear_run(context, plan, &d, counts[i]);
  char text[4096];
  apq_plan_explain(plan, 38, text, sizeof text);
  assert_non_null(strstr(text, "range: m from 37 to 40"));
  apq_plan_explain(plan, 37, text, sizeof text);
  assert_null(strstr(text, "range: "));
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  linear_free(&d);
}

/* gate and up of one MLP in one plan: up first, then gate, with its activation, times what up
 * wrote, in place. */
static inline void products_share_their_activations(void **state) {
  apq_context *context = *state;
  linear_case c = {.p = 3,
                   .q = 5,
                   .m = 6,
                   .n = 33,
                   .k = 260,
                   .group = 128,
                   .w_format = APQ_FORMAT_UINT,
                   .a_format = APQ_FORMAT_UINT,
                   .input = APQ_DTYPE_F16,
                   .output = APQ_DTYPE_F32};
  linear_data up = linear_make(&c, 8);
  c.activation = APQ_ACTIVATION_SILU;
  c.combine = APQ_COMBINE_MULTIPLY;
  linear_data gate = linear_make(&c, 9);
  apq_weights *weights[] = {linear_weights(context, &up), linear_weights(context, &gate)};
  const apq_product_desc more = {
      .weights = weights[1], .activation = APQ_ACTIVATION_SILU, .combine = APQ_COMBINE_MULTIPLY};
  apq_plan_desc desc = linear_plan(&up.c, weights[0], NULL);
  desc.more = &more;
  desc.more_count = 1;
  apq_plan *plan = NULL;
  CHECK(apq_plan_create(context, &desc, &plan, error));
  CHECK(apq_plan_prepare(plan, &c.m, 1, error));
  const size_t y_bytes = (size_t)(c.m * up.ldy) * 4, bytes = apq_plan_workspace(plan, c.m);
  void *x = device_copy(context, up.x, (size_t)(c.m * up.ldx) * 2);
  void *y = device_new(context, y_bytes), *workspace = device_new(context, bytes);
  const apq_output output[] = {{y, up.ldy, NULL, 0}, {y, up.ldy, y, up.ldy}};
  CHECK(apq_plan_run_all(plan, c.m, x, up.ldx, output, 2, workspace, bytes, NULL, error));
  /* One product alone is not this plan's. */
  if (apq_plan_run(plan, c.m, x, up.ldx, y, 0, workspace, bytes, NULL, NULL) !=
      APQ_INVALID_ARGUMENT)
    fail_msg("a run of one product of two");
  CHECK(apq_synchronize(context, NULL, error));
  float *got = apq__alloc(y_bytes);
  CHECK(apq_copy_to_host(context, got, y, y_bytes, error));
  double *inputs = apq__alloc((size_t)c.k * sizeof *inputs);
  gate.c.combine = APQ_COMBINE_NONE;
  for (int row = 0; row < c.m; row++) {
    linear_inputs(&up, row, inputs);
    for (int column = 0; column < c.n; column++) {
      double slack[2], a = linear_expect(&up, inputs, row, column, &slack[0]),
                       b = linear_expect(&gate, inputs, row, column, &slack[1]);
      double limit = slack[0] * (fabs(b) + 1) + slack[1] * (fabs(a) + 1);
      assert_true(fabs((double)got[row * up.ldy + column] - a * b) <= limit);
    }
  }
  apq__free(inputs);
  apq__free(got);
  void *const memory[] = {x, y, workspace};
  for (int i = 0; i < 3; i++) apq_device_free(context, memory[i]);
  apq_plan_destroy(plan);
  for (int i = 0; i < 2; i++) apq_weights_destroy(weights[i]);
  linear_free(&up);
  linear_free(&gate);
}

/* q, k and v joined: the columns of one result, bit for bit those of each alone. */
static inline void joined_matrices_are_columns_of_one(void **state) {
  apq_context *context = *state;
  enum { PARTS = 3, M = 4 };
  static const int sizes[PARTS] = {40, 16, 9};
  apq_weights *part[PARTS], *all = NULL;
  apq_plan *plan[PARTS + 1] = {NULL};
  linear_data data[PARTS];
  int total = 0;
  for (int i = 0; i < PARTS; i++) {
    const linear_case c = {.p = 4,
                           .q = 8,
                           .m = M,
                           .n = sizes[i],
                           .k = 200,
                           .group = 64,
                           .w_format = APQ_FORMAT_UINT,
                           .a_format = APQ_FORMAT_INT,
                           .input = APQ_DTYPE_F16,
                           .output = APQ_DTYPE_F16};
    data[i] = linear_make(&c, 20 + (uint64_t)i);
    part[i] = linear_weights(context, &data[i]);
    total += sizes[i];
  }
  CHECK(apq_weights_concat(context, (const apq_weights *const *)part, PARTS, &all, error));
  void *x = device_copy(context, data[0].x, (size_t)(M * data[0].ldx) * 2);
  uint16_t got[PARTS + 1][M * 65];
  assert_int_equal(total, 65);
  for (int i = 0; i <= PARTS; i++) {
    const int m = M, n = i < PARTS ? sizes[i] : total;
    apq_plan_desc desc = linear_plan(&data[0].c, i < PARTS ? part[i] : all, NULL);
    CHECK(apq_plan_create(context, &desc, &plan[i], error));
    CHECK(apq_plan_prepare(plan[i], &m, 1, error));
    const size_t bytes = apq_plan_workspace(plan[i], M);
    void *y = device_new(context, (size_t)(M * n) * 2), *workspace = device_new(context, bytes);
    CHECK(apq_plan_run(plan[i], M, x, data[0].ldx, y, 0, workspace, bytes, NULL, error));
    CHECK(apq_synchronize(context, NULL, error));
    CHECK(apq_copy_to_host(context, got[i], y, (size_t)(M * n) * 2, error));
    apq_device_free(context, y);
    apq_device_free(context, workspace);
  }
  for (int row = 0; row < M; row++)
    for (int i = 0, first = 0; i < PARTS; first += sizes[i++])
      assert_memory_equal(&got[PARTS][row * total + first], &got[i][row * sizes[i]],
                          (size_t)sizes[i] * 2);
  apq_device_free(context, x);
  for (int i = 0; i <= PARTS; i++) apq_plan_destroy(plan[i]);
  for (int i = 0; i < PARTS; i++) {
    apq_weights_destroy(part[i]);
    linear_free(&data[i]);
  }
  apq_weights_destroy(all);
}

/* Plans of layers of equal shape share what they prepared; a graph of all gives the same bits at
 * every replay. */
static inline void a_graph_of_32_layers_repeats_itself(void **state) {
  enum { LAYERS = 32 };
  apq_context *context = *state;
  const int replays = apq__context_target(context)->emulated ? 50 : 1000;
  const int kernels = context->kernels.count;
  const apq__device_ops *ops = context->device->ops;
  const linear_case c = {.p = 2,
                         .q = 3,
                         .m = 1,
                         .n = 32,
                         .k = 32,
                         .w_format = APQ_FORMAT_INT,
                         .a_format = APQ_FORMAT_INT,
                         .input = APQ_DTYPE_F16,
                         .output = APQ_DTYPE_F16};
  apq_weights *weights[LAYERS];
  apq_plan *plans[LAYERS];
  char hash[2][65];
  void *x[2] = {device_new(context, 64), device_new(context, 64)};
  void *stream = NULL;
  apq__graph *graph = NULL;
  for (int i = 0; i < LAYERS; i++) {
    linear_data d = linear_make(&c, 100 + (uint64_t)i);
    weights[i] = linear_weights(context, &d);
    const apq_plan_desc desc = linear_plan(&c, weights[i], NULL);
    CHECK(apq_plan_create(context, &desc, &plans[i], error));
    CHECK(apq_plan_prepare(plans[i], &c.m, 1, error));
    CHECK(apq_plan_fingerprint(plans[i], hash[i > 0], error));
    if (i > 0) assert_string_equal(hash[0], hash[1]);
    assert_ptr_equal(plans[i]->recipe, plans[0]->recipe);
    linear_free(&d);
  }
  /* One product and one pack kernel for all of them. */
  assert_in_range(context->kernels.count - kernels, 0, 2);
  const size_t bytes = apq_plan_workspace(plans[0], 1);
  void *workspace = device_new(context, bytes);
  uint16_t input[32], first[32], again[32];
  for (int i = 0; i < 32; i++) input[i] = (uint16_t)(0x3000 + 97 * i);
  CHECK(ops->stream_create(context->device, &stream, error));
  CHECK(ops->capture_begin(context->device, stream, error));
  for (int i = 0; i < LAYERS; i++)
    CHECK(apq_plan_run(plans[i], 1, x[i % 2], 0, x[1 - i % 2], 0, workspace, bytes, stream, error));
  CHECK(ops->capture_end(context->device, stream, &graph, error));
  for (int i = 0; i < replays; i++) {
    CHECK(apq_copy_to_device(context, x[0], input, sizeof input, error));
    CHECK(ops->graph_launch(context->device, graph, stream, error));
    CHECK(apq_synchronize(context, stream, error));
    CHECK(apq_copy_to_host(context, i ? again : first, x[0], sizeof first, error));
    if (i) assert_memory_equal(first, again, sizeof first);
  }
  ops->graph_destroy(context->device, graph);
  ops->stream_destroy(context->device, stream);
  for (int i = 0; i < 2; i++) apq_device_free(context, x[i]);
  apq_device_free(context, workspace);
  for (int i = 0; i < LAYERS; i++) {
    apq_plan_destroy(plans[i]);
    apq_weights_destroy(weights[i]);
  }
}

#define LINEAR_CASES                                                                               \
  cmocka_unit_test(all_pairs_against_double_precision),                                            \
      cmocka_unit_test(ranges_serve_every_count),                                                  \
      cmocka_unit_test(products_share_their_activations),                                          \
      cmocka_unit_test(joined_matrices_are_columns_of_one),                                        \
      cmocka_unit_test(a_graph_of_32_layers_repeats_itself)

#endif
