/* What the runtime's tests share: a context on the emulated device, random data, and a product with
 * its reference. */
#ifndef RUNTIME_FIXTURE_H
#define RUNTIME_FIXTURE_H

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "apq.h"
#include "config.h"
#include "format.h"
#include "host.h"
#include "reference.h"

#define CHECK(call)                                                                                \
  do {                                                                                             \
    apq_error check_error = APQ_ERROR_INIT;                                                        \
    apq_error *const error = &check_error;                                                         \
    if (call)                                                                                      \
      fail_msg("%s: %s: %s: %s\n%s", #call, apq_status_name(error->status), error->stage,          \
               error->message, error->log ? error->log : "");                                      \
  } while (0)

/* `call` fails with this status and a message that holds `word`. */
#define REFUSES(expected, word, call)                                                              \
  do {                                                                                             \
    apq_error refusal = APQ_ERROR_INIT;                                                            \
    apq_error *const error = &refusal;                                                             \
    apq_status status = call;                                                                      \
    if (status != (expected) || refusal.status != (expected) || !strstr(refusal.message, word))    \
      fail_msg("%s: %s: '%s'", #call, apq_status_name(status), refusal.message);                   \
    apq_error_clear(&refusal);                                                                     \
  } while (0)

/* The runtime's tests share a folder of compiled kernels, and one run of the tests serves the next.
 */
static inline void use_cache(const char *folder) {
  setenv("APQ_CACHE_DIR", folder, 1);
  unsetenv("APQ_DB");
}

static inline apq_context *open_device(const char *device, const char *database) {
  apq_context *context = NULL;
  const apq_context_options options = {.device = device, .database = database};
  CHECK(apq_context_open(&options, &context, error));
  return context;
}

static inline void *device_new(apq_context *context, size_t bytes) {
  void *memory = NULL;
  CHECK(apq_device_alloc(context, bytes, &memory, error));
  return memory;
}

static inline void *device_copy(apq_context *context, const void *from, size_t bytes) {
  void *memory = device_new(context, bytes);
  CHECK(apq_copy_to_device(context, memory, from, bytes, error));
  return memory;
}

/* One product to check.  Bits of `with` add options. */
enum {
  WITH_W_SCALE = 1, /* codes only */
  WITH_W_ZERO = 2,  /* codes and UINT only */
  WITH_A_SCALE = 4,
  WITH_A_ZERO = 8,
  WITH_BIAS = 16,
  WITH_PADDING = 32, /* rows of w, x and y longer than their columns */
};
typedef struct product_case {
  int p, q, m, n, k;
  apq_format w_format, a_format;
  apq_dtype w_type, input, output;
  unsigned with;
} product_case;

/* Host copies of everything a product reads, codes in full. */
typedef struct product_data {
  product_case c;
  int64_t w_ld, x_ld, y_ld;
  void *w, *x; /* as given to the library */
  uint8_t *w_codes, *a_codes;
  float *w_scale, *a_scale, *bias;
  int32_t *w_zero, *a_zero, *w_sum, *a_sum;
  size_t y_bytes;
} product_data;

static inline float random_float(uint64_t *seed) {
  return (float)((double)(apq__random(seed) >> 40) / 8388608.0 - 1.0);
}

static inline int32_t *random_zeros(int count, int bits, uint64_t *seed) {
  int32_t *zero = apq__alloc((size_t)count * sizeof *zero);
  for (int i = 0; i < count; i++) zero[i] = (int32_t)(apq__random(seed) % (1u << bits));
  return zero;
}

static inline float *random_floats(int count, uint64_t *seed) {
  float *value = apq__alloc((size_t)count * sizeof *value);
  for (int i = 0; i < count; i++) value[i] = random_float(seed);
  return value;
}

/* One operand: data as given, and the codes, scales and zero points it stands for. */
static inline void *make_operand(apq_dtype type, apq_format format, int bits, int rows, int k,
                                 int64_t ld, uint64_t *seed, uint8_t **codes, float **scale,
                                 int32_t **zero, int32_t **sum) {
  void *data = apq__calloc((size_t)(rows * ld), apq__dtype_bytes(type));
  uint8_t *code = apq__alloc((size_t)rows * (size_t)k);
  int32_t *sums = apq__calloc((size_t)rows, sizeof *sums);
  float *row = apq__alloc((size_t)k * sizeof *row);
  if (type != APQ_DTYPE_CODES8) {
    *scale = apq__alloc((size_t)rows * sizeof **scale);
    *zero = apq__alloc((size_t)rows * sizeof **zero);
  }
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < k; j++) {
      if (type == APQ_DTYPE_CODES8) {
        ((uint8_t *)data)[i * ld + j] = code[i * k + j] =
            (uint8_t)(apq__random(seed) & ((1u << bits) - 1));
      } else {
        apq__store_float(data, type, i * ld + j, random_float(seed) * 3.0f + 0.5f);
        row[j] = apq__load_float(data, type, i * ld + j);
      }
    }
    if (type != APQ_DTYPE_CODES8)
      apq__reference_quantize(row, k, bits, format, code + i * k, &(*scale)[i], &(*zero)[i]);
    for (int j = 0; j < k; j++) sums[i] += code[i * k + j];
  }
  apq__free(row);
  *codes = code;
  *sum = sums;
  return data;
}

static inline product_data make_data(const product_case *c, uint64_t seed) {
  const int padding = c->with & WITH_PADDING ? 3 : 0;
  product_data d = {
      .c = *c, .w_ld = c->k + padding, .x_ld = c->k + padding, .y_ld = c->n + padding};
  if (c->with & WITH_W_SCALE) d.w_scale = random_floats(c->n, &seed);
  if (c->with & WITH_W_ZERO) d.w_zero = random_zeros(c->n, c->p, &seed);
  if (c->with & WITH_A_SCALE) d.a_scale = random_floats(c->m, &seed);
  if (c->with & WITH_A_ZERO) d.a_zero = random_zeros(c->m, c->q, &seed);
  if (c->with & WITH_BIAS) d.bias = random_floats(c->n, &seed);
  d.w = make_operand(c->w_type, c->w_format, c->p, c->n, c->k, d.w_ld, &seed, &d.w_codes,
                     &d.w_scale, &d.w_zero, &d.w_sum);
  d.x = make_operand(c->input, c->a_format, c->q, c->m, c->k, d.x_ld, &seed, &d.a_codes, &d.a_scale,
                     &d.a_zero, &d.a_sum);
  d.y_bytes = (size_t)(c->m * d.y_ld) * apq__dtype_bytes(c->output);
  return d;
}

static inline void free_data(product_data *d) {
  void *const all[] = {d->w,    d->x,      d->w_codes, d->a_codes, d->w_scale, d->a_scale,
                       d->bias, d->w_zero, d->a_zero,  d->w_sum,   d->a_sum};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) apq__free(all[i]);
}

/* What y must hold, `filler` in the padding of its rows. */
static inline void *reference_of(const product_data *d, int filler) {
  const product_case *c = &d->c;
  int32_t *sums = apq__alloc((size_t)c->m * (size_t)c->n * sizeof *sums);
  apq__reference_product(d->a_codes, c->k, d->w_codes, c->k, c->m, c->n, c->k, sums);
  apq__affine w = apq__format_affine(c->w_format, c->p), a = apq__format_affine(c->a_format, c->q);
  const apq__operand w_operand = {w.alpha, w.zero, d->w_zero, d->w_sum, d->w_scale};
  const apq__operand a_operand = {a.alpha, a.zero, d->a_zero, d->a_sum, d->a_scale};
  void *y = apq__alloc(d->y_bytes);
  memset(y, filler, d->y_bytes);
  const apq__epilogue epilogue = {.out = c->output, .bias = d->bias};
  apq__reference_epilogue(sums, c->m, c->n, c->k, &w_operand, &a_operand, &epilogue, y, d->y_ld);
  apq__free(sums);
  return y;
}

static inline apq_weights *make_weights(apq_context *context, const product_data *d) {
  const product_case *c = &d->c;
  const int is_codes = c->w_type == APQ_DTYPE_CODES8;
  const apq_weights_desc desc = {.n = c->n,
                                 .k = c->k,
                                 .bits = c->p,
                                 .format = c->w_format,
                                 .dtype = c->w_type,
                                 .data = d->w,
                                 .ld = d->w_ld,
                                 .scale = is_codes ? d->w_scale : NULL,
                                 .zero = is_codes ? d->w_zero : NULL};
  apq_weights *weights = NULL;
  CHECK(apq_weights_create(context, &desc, &weights, error));
  return weights;
}

/* A plan and the device memory of its arguments. */
typedef struct product_run {
  apq_context *context;
  apq_plan *plan;
  void *x, *y, *scale, *zero, *bias, *workspace;
  size_t workspace_bytes;
} product_run;

enum { FILLER = 0xa5 };

static inline product_run start_run(apq_context *context, const apq_weights *weights,
                                    const product_data *d) {
  const product_case *c = &d->c;
  const int is_codes = c->input == APQ_DTYPE_CODES8;
  product_run r = {.context = context};
  const size_t row = (size_t)c->m * 4;
  r.x = device_copy(context, d->x, (size_t)(c->m * d->x_ld) * apq__dtype_bytes(c->input));
  r.y = device_new(context, d->y_bytes);
  if (is_codes && d->a_scale) r.scale = device_copy(context, d->a_scale, row);
  if (is_codes && d->a_zero) r.zero = device_copy(context, d->a_zero, row);
  if (d->bias) r.bias = device_copy(context, d->bias, (size_t)c->n * 4);
  const apq_plan_desc desc = {.weights = weights,
                              .bits = c->q,
                              .format = c->a_format,
                              .input = c->input,
                              .output = c->output,
                              .input_scale = r.scale,
                              .input_zero = r.zero,
                              .bias = r.bias};
  CHECK(apq_plan_create(context, &desc, &r.plan, error));
  CHECK(apq_plan_prepare(r.plan, &c->m, 1, error));
  r.workspace_bytes = apq_plan_workspace(r.plan, c->m);
  if (r.workspace_bytes) r.workspace = device_new(context, r.workspace_bytes);
  return r;
}

static inline void poison(apq_context *context, void *memory, size_t bytes) {
  if (!bytes) return;
  void *filler = apq__alloc(bytes);
  memset(filler, FILLER, bytes);
  CHECK(apq_copy_to_device(context, memory, filler, bytes, error));
  apq__free(filler);
}

static inline void poison_result(const product_run *r, const product_data *d) {
  poison(r->context, r->y, d->y_bytes);
}

/* Whether device memory y equals the reference to the last bit, padding untouched. */
static inline void expect_result(const product_run *r, const product_data *d) {
  const product_case *c = &d->c;
  uint8_t *got = apq__alloc(d->y_bytes), *expected = reference_of(d, FILLER);
  CHECK(apq_copy_to_host(r->context, got, r->y, d->y_bytes, error));
  const size_t size = apq__dtype_bytes(c->output);
  for (size_t i = 0; i < d->y_bytes; i += size)
    if (memcmp(got + i, expected + i, size) != 0) {
      char text[4096];
      apq_plan_explain(r->plan, c->m, text, sizeof text);
      fail_msg("W%dA%d %dx%dx%d %s x %s, %s to %s, options %u: element %zu of rows of %lld\n%s",
               c->p, c->q, c->m, c->n, c->k, apq_format_name(c->w_format),
               apq_format_name(c->a_format), apq_dtype_name(c->input), apq_dtype_name(c->output),
               c->with, i / size, (long long)d->y_ld, text);
    }
  apq__free(got);
  apq__free(expected);
}

static inline void end_run(product_run *r) {
  void *const memory[] = {r->x, r->y, r->scale, r->zero, r->bias, r->workspace};
  for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
    apq_device_free(r->context, memory[i]);
  apq_plan_destroy(r->plan);
}

static inline apq_status run_once(const product_run *r, const product_data *d, void *stream,
                                  apq_error *error) {
  return apq_plan_run(r->plan, d->c.m, r->x, d->x_ld, r->y, d->y_ld, r->workspace,
                      r->workspace_bytes, stream, error);
}

/* The whole way, from data to the comparison. */
static inline void check_product(apq_context *context, const product_case *c, uint64_t seed) {
  product_data data = make_data(c, seed);
  apq_weights *weights = make_weights(context, &data);
  product_run run = start_run(context, weights, &data);
  poison_result(&run, &data);
  CHECK(run_once(&run, &data, NULL, error));
  CHECK(apq_synchronize(context, NULL, error));
  expect_result(&run, &data);
  end_run(&run);
  apq_weights_destroy(weights);
  free_data(&data);
}

#endif
