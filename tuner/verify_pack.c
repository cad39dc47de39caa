#include "verify_pack.h"

#include <math.h>
#include <string.h>

#include "activation.h"
#include "alloc.h"
#include "bitplane.h"
#include "gemm_args.h"
#include "generator.h"
#include "host.h"
#include "problem_data.h"
#include "reference.h"
#include "kernel_launch.h"
#include "status.h"

enum { ROWS = 7, CANARY = 256 };

typedef struct pack_case {
  apq_dtype source;
  int bits;
  apq__form form;
  int k, gap; /* gap: ldx - k, with a gate ldx - 2 k */
  apq_activation gate;
  apq_format format;
  int group;     /* of the sums; 0: none */
  int is_static; /* one scale and zero point for all rows */
  uint64_t seed;
} pack_case;

static const float static_scale = 0.0123f;

/* Host side of one case: the rows, and what must come of them. */
typedef struct pack_data {
  void *x; /* [ROWS][ldx] of the source type */
  uint8_t *codes, *packed;
  size_t x_bytes, packed_bytes;
  int row_bytes;
  int groups;
  int32_t sum[ROWS], zero[ROWS];
  int32_t *group_sum; /* [ROWS][groups], or NULL */
  float scale[ROWS];
} pack_data;

static int64_t row_stride(const pack_case *c) {
  return (c->gate ? 2 : 1) * (int64_t)c->k + c->gap;
}

float apq__verify_value(int row, int64_t i, uint64_t *seed) {
  float uniform = (float)(apq__random(seed) >> 40) / 16777216.0f - 0.5f;
  switch (row % 7) {
  case 1:
    return 0;
  case 2:
    return i % 5 == 0 ? INFINITY : i % 7 == 0 ? NAN : i % 11 == 0 ? -INFINITY : uniform;
  case 3:
    return uniform * 1e-30f;
  case 4:
    return uniform * 6e4f;
  case 5:
    return -fabsf(uniform) - 0.25f;
  case 6:
    return (float)(int)(uniform * 16) * 0.5f;
  default:
    return uniform;
  }
}

static void pack_data_free(pack_data *data) {
  apq__free(data->x);
  apq__free(data->codes);
  apq__free(data->packed);
  apq__free(data->group_sum);
}

/* Zero points of a static scale: the format's, but for UINT, where any will do. */
static int32_t static_zero(const pack_case *c) {
  return c->format == APQ_FORMAT_UINT ? (1 << c->bits) / 3
                                      : apq__format_affine(c->format, c->bits).zero;
}

static void quantize_row(const pack_case *c, pack_data *data, int row, float *scratch,
                         uint64_t *seed) {
  int64_t first = row * row_stride(c);
  uint8_t *codes = data->codes + (int64_t)row * c->k;
  for (int64_t i = 0; i < c->k; i++) {
    if (c->source == APQ_DTYPE_CODES8) {
      codes[i] = (uint8_t)(apq__random(seed) & ((1u << c->bits) - 1));
      ((uint8_t *)data->x)[first + i] = codes[i];
      continue;
    }
    apq__store_float(data->x, c->source, first + i, apq__verify_value(row, i, seed));
    scratch[i] = apq__load_float(data->x, c->source, first + i);
    if (!c->gate) continue;
    apq__store_float(data->x, c->source, first + c->k + i, apq__verify_value(0, i, seed) * 3);
    float up = apq__load_float(data->x, c->source, first + c->k + i);
    scratch[i] = apq__gated_input(c->gate, scratch[i], up, c->source);
  }
  if (c->is_static) {
    data->scale[row] = static_scale;
    data->zero[row] = static_zero(c);
    const apq__quantizer by = {static_scale, 1.0f / static_scale, data->zero[row]};
    for (int64_t i = 0; i < c->k; i++)
      codes[i] = apq__quantize(&by, scratch[i], c->bits, c->format);
  } else if (c->source != APQ_DTYPE_CODES8) {
    apq__reference_quantize(scratch, c->k, c->bits, c->format, codes, &data->scale[row],
                            &data->zero[row]);
  }
  for (int64_t i = 0; c->group && i < c->k; i++)
    data->group_sum[row * data->groups + i / c->group] += codes[i];
}

static apq_status pack_data_make(const pack_case *c, pack_data *out, apq_error *error) {
  uint64_t seed = c->seed;
  *out = (pack_data){0};
  out->x_bytes = (size_t)ROWS * (size_t)row_stride(c) * apq__dtype_bytes(c->source);
  out->row_bytes = (int)apq__form_row_bytes(c->form, c->k);
  out->packed_bytes = (size_t)apq__form_bytes(c->form, ROWS, c->k, c->bits);
  out->x = apq__calloc(1, out->x_bytes);
  out->codes = apq__alloc((size_t)ROWS * (size_t)c->k);
  out->packed = apq__alloc(out->packed_bytes);
  float *scratch = apq__alloc((size_t)c->k * sizeof *scratch);
  if (c->group) {
    out->groups = (c->k + c->group - 1) / c->group;
    out->group_sum = apq__calloc((size_t)ROWS * (size_t)out->groups, sizeof(int32_t));
  }
  if ((c->group && !out->group_sum) || !out->x || !out->codes || !out->packed || !scratch) {
    apq__free(scratch);
    pack_data_free(out);
    return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for rows of %d", c->k);
  }
  for (int row = 0; row < ROWS; row++) quantize_row(c, out, row, scratch, &seed);
  apq__free(scratch);
  apq__pack_form(c->form, out->codes, c->k, ROWS, c->k, c->bits, out->packed, out->sum);
  return APQ_OK;
}

static apq_status differs(const pack_case *c, const char *what, int64_t at, apq_error *error) {
  return apq__fail(
      error, APQ_MISMATCH, "verify", "pack %d rows of %d, %s %s, %d bits: %s differs at %lld", ROWS,
      c->k, apq_dtype_name(c->source), apq_format_name(c->format), c->bits, what, (long long)at);
}

static apq_status compare_bytes(const pack_case *c, const char *what, const void *got,
                                const void *expected, size_t bytes, size_t width,
                                apq_error *error) {
  for (size_t at = 0; at < bytes; at += width)
    if (memcmp((const char *)got + at, (const char *)expected + at, width) != 0)
      return differs(c, what, (int64_t)(at / width), error);
  return APQ_OK;
}

/* One device buffer of results between canaries. */
typedef struct result_buffer {
  const char *name;
  const void *expected;
  size_t bytes, width;
  void *block;
} result_buffer;

static apq_status check_result(apq__device *device, const pack_case *c, const result_buffer *result,
                               apq_error *error) {
  size_t whole = result->bytes + 2 * CANARY;
  unsigned char *got = apq__alloc(whole);
  if (!got) return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for %zu bytes", whole);
  apq_status status = device->ops->to_host(device, got, result->block, whole, error);
  if (status == APQ_OK)
    status = compare_bytes(c, result->name, got + CANARY, result->expected, result->bytes,
                           result->width, error);
  for (size_t i = 0; status == APQ_OK && i < whole; i++) {
    if (i == CANARY) i += result->bytes;
    if (got[i] != APQ__POISON) status = differs(c, "a canary", (int64_t)i - CANARY, error);
  }
  apq__free(got);
  return status;
}

static apq_status verify_case(const apq__test_kernel *kernel, const pack_case *c,
                              apq__verify_report *report, apq_error *error) {
  enum { RESULTS = 5 };
  apq__device *device = kernel->device;
  const apq__device_ops *ops = device->ops;
  pack_data data;
  void *x = NULL;
  apq_status status = pack_data_make(c, &data, error);
  if (status != APQ_OK) return status;
  result_buffer results[RESULTS] = {
      {apq__form_name(c->form), data.packed, data.packed_bytes, 1, NULL},
      {"sum", data.sum, sizeof data.sum, 4, NULL},
      {"scale", data.scale, sizeof data.scale, 4, NULL},
      {"zero point", data.zero, sizeof data.zero, 4, NULL},
      {"group sum", data.group_sum, (size_t)ROWS * (size_t)data.groups * 4, 4, NULL},
  };
  int is_codes = c->source == APQ_DTYPE_CODES8;
  status = ops->alloc(device, data.x_bytes, &x, error);
  if (status == APQ_OK) status = ops->to_device(device, x, data.x, data.x_bytes, error);
  for (int i = 0; status == APQ_OK && i < RESULTS; i++) {
    if (is_codes && (i == 2 || i == 3)) results[i].bytes = 0; /* not written */
    size_t whole = results[i].bytes + 2 * CANARY;
    status = ops->alloc(device, whole, &results[i].block, error);
    if (status == APQ_OK)
      status = ops->fill(device, results[i].block, APQ__POISON, whole, NULL, error);
  }
  if (status != APQ_OK) goto cleanup;

  apq_pack_args args = {.x = x,
                        .out = (char *)results[0].block + CANARY,
                        .sum = (int *)((char *)results[1].block + CANARY),
                        .ldx = row_stride(c),
                        .rows = ROWS,
                        .k = c->k,
                        .row_bytes = data.row_bytes,
                        .format = (int)c->format,
                        .gate = apq__gate_args(c->gate)};
  if (!is_codes) {
    args.scale = (float *)((char *)results[2].block + CANARY);
    args.zero = (int *)((char *)results[3].block + CANARY);
  }
  if (c->group) {
    args.group_sum = (int *)((char *)results[4].block + CANARY);
    args.group = c->group;
    args.groups = data.groups;
  }
  if (c->is_static) {
    args.is_static = 1;
    args.static_scale = static_scale;
    args.static_zero = static_zero(c);
  }
  apq__problem problem = {c->bits, c->bits, ROWS, 1, c->k, APQ_DTYPE_F32, 0, 0};
  apq__shape shape;
  status = apq__config_limits(&kernel->config, &problem, &device->target, &shape, error);
  if (status != APQ_OK) goto cleanup;
  status = apq__kernel_launch(device, kernel->kernel, &shape, &args, sizeof args, NULL, error);
  if (status == APQ_OK) status = ops->synchronize(device, NULL, error);
  for (int i = 0; status == APQ_OK && i < RESULTS; i++)
    status = check_result(device, c, &results[i], error);
  report->products++;
  report->outputs += (long long)ROWS * c->k;
cleanup:
  if (x) ops->release(device, x);
  for (int i = 0; i < RESULTS; i++)
    if (results[i].block) ops->release(device, results[i].block);
  pack_data_free(&data);
  return status;
}

apq_status apq__verify_pack(const apq__test_kernel *kernel, uint64_t seed,
                            apq__verify_report *report, apq_error *error) {
  static const int lengths[] = {1, 31, 127, 128, 129, 512, 1000, 4100};
  pack_case c = {.bits = apq__config_int(&kernel->config, "q", 8),
                 .form = apq__config_form(&kernel->config)};
  const char *source = apq__config_get(&kernel->config, "src");
  if (!source || !apq__dtype_parse(source, &c.source))
    return apq__fail(error, APQ_INVALID_ARGUMENT, "verify", "the config has no source type");
  int formats = c.source == APQ_DTYPE_CODES8 ? 1 : APQ_FORMAT_COUNT;
  int count = (int)(sizeof lengths / sizeof lengths[0]);
  apq_status status = APQ_OK;
  for (int i = 0; status == APQ_OK && i < count * formats; i++) {
    c.k = lengths[i % count];
    c.gap = i % 3 * 5;
    c.format = (apq_format)(i / count);
    c.group = i % 5 ? 16 << (i % 5) : 0;
    c.is_static = c.source != APQ_DTYPE_CODES8 && i % 4 == 3;
    if (apq__config_int(&kernel->config, "gate", 0))
      c.gate = (apq_activation)(1 + i % (APQ_ACTIVATION_COUNT - 1));
    c.seed = seed + (uint64_t)i;
    status = verify_case(kernel, &c, report, error);
  }
  return status;
}
