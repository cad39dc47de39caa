#include "problem_data.h"

#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "gemm_args.h"
#include "host.h"
#include "reference.h"
#include "kernel_launch.h"
#include "status.h"
#include "verify_pack.h"

/* Bytes before and after y. */
enum { CANARY = 1024 };

const char *apq__data_kind_name(apq__data_kind kind) {
  static const char *const names[APQ__DATA_KIND_COUNT] = {"random", "ones", "sparse"};
  return (unsigned)kind < APQ__DATA_KIND_COUNT ? names[kind] : "?";
}

/* ---- host ---- */

static void make_codes(uint8_t *codes, int64_t count, int bits, apq__data_kind kind,
                       uint64_t *seed) {
  uint8_t mask = (uint8_t)((1 << bits) - 1);
  if (kind == APQ__DATA_ONES) {
    memset(codes, mask, (size_t)count);
    return;
  }
  for (int64_t i = 0; i < count; i += 8) {
    uint64_t word = apq__random(seed);
    for (int64_t j = i; j < i + 8 && j < count; j++, word >>= 8) codes[j] = (uint8_t)word & mask;
  }
  if (kind == APQ__DATA_RANDOM) return;
  for (int64_t i = 0; i < count; i += 16) {
    uint64_t word = apq__random(seed);
    for (int64_t j = i; j < i + 16 && j < count; j++, word >>= 4)
      if (word & 15) codes[j] = 0;
  }
}

/* [rows][groups], of `group` codes each; 0: of all. */
static int32_t *make_sums(const uint8_t *codes, int64_t rows, int64_t k, int64_t group) {
  int64_t groups = group ? (k + group - 1) / group : 1;
  uint32_t *sums = apq__calloc((size_t)(rows * groups), sizeof *sums);
  for (int64_t row = 0; sums && row < rows; row++)
    for (int64_t i = 0; i < k; i++)
      sums[row * groups + (group ? i / group : 0)] += codes[row * k + i];
  return (int32_t *)sums;
}

static int32_t *make_zeros(int64_t rows, int bits, uint64_t *seed) {
  int32_t *zeros = apq__calloc((size_t)rows, sizeof *zeros);
  for (int64_t row = 0; zeros && row < rows; row++)
    zeros[row] = (int32_t)(apq__random(seed) % (1u << bits));
  return zeros;
}

/* Between 2^-10 and 2^-8 with full mantissas of both signs of rounding; bias about as large as
 * results are. */
static float *make_floats(int64_t rows, float scale, float offset, uint64_t *seed) {
  float *values = apq__calloc((size_t)rows, sizeof *values);
  for (int64_t row = 0; values && row < rows; row++)
    values[row] = offset + scale * (float)(apq__random(seed) >> 40) / 16777216.0f;
  return values;
}

/* Between -1 and 1. */
static void *make_other(const apq__problem *problem, uint64_t *seed) {
  int64_t count = (int64_t)problem->m * problem->n;
  void *values = apq__alloc((size_t)count * apq__dtype_bytes(problem->out));
  for (int64_t i = 0; values && i < count; i++)
    apq__store_float(values, problem->out, i, (float)(apq__random(seed) >> 40) / 8388608.0f - 1.0f);
  return values;
}

/* Rows of the input type, and what comes of quantizing them: codes, scales, and for UINT zero
 * points. Returns 0 when out of memory. */
static int make_rows(apq__host_data *out, uint64_t *seed) {
  const apq__data_spec *spec = &out->spec;
  const apq__problem *problem = &spec->problem;
  const apq_dtype dtype = apq__input_dtype(problem->in);
  const int64_t k = problem->k;
  int32_t *zero = apq__calloc((size_t)problem->m, sizeof *zero);
  float *row = apq__alloc((size_t)k * sizeof *row);
  out->ldx = k + spec->x_gap;
  out->x = apq__calloc((size_t)(problem->m * out->ldx), apq__dtype_bytes(dtype));
  out->a_scale = apq__calloc((size_t)problem->m, sizeof *out->a_scale);
  const int is_made = zero && row && out->x && out->a_scale;
  if (spec->is_static) {
    out->static_scale = 0.0123f;
    out->static_zero = spec->a_format == APQ_FORMAT_UINT ? (1 << problem->q) / 3 : out->a.zero;
  }
  for (int m = 0; is_made && m < problem->m; m++) {
    uint8_t *codes = out->a_codes + m * k;
    for (int64_t i = 0; i < k; i++) {
      float value = apq__verify_value(spec->odd_rows ? m : 0, i, seed);
      if (spec->kind == APQ__DATA_ONES) value = 1;
      if (spec->kind == APQ__DATA_SPARSE && apq__random(seed) % 16) value = 0;
      apq__store_float(out->x, dtype, m * out->ldx + i, value);
      row[i] = apq__load_float(out->x, dtype, m * out->ldx + i);
    }
    if (!spec->is_static) {
      apq__reference_quantize(row, k, problem->q, spec->a_format, codes, &out->a_scale[m],
                              &zero[m]);
      continue;
    }
    const apq__quantizer by = {out->static_scale, 1.0f / out->static_scale, out->static_zero};
    for (int64_t i = 0; i < k; i++)
      codes[i] = apq__quantize(&by, row[i], problem->q, spec->a_format);
    out->a_scale[m] = by.scale;
    zero[m] = by.zero;
  }
  apq__free(row);
  if (spec->a_format == APQ_FORMAT_UINT)
    out->a_zero = zero;
  else
    apq__free(zero);
  return is_made;
}

apq_status apq__host_data_make(const apq__data_spec *spec, apq__host_data *out, apq_error *error) {
  const apq__problem *problem = &spec->problem;
  int64_t m = problem->m, n = problem->n, k = problem->k;
  uint64_t seed = spec->seed;
  *out = (apq__host_data){0};
  out->spec = *spec;
  out->w = apq__format_affine(spec->w_format, problem->p);
  out->a = apq__format_affine(spec->a_format, problem->q);
  out->w_codes = apq__alloc((size_t)(n * k));
  out->a_codes = apq__alloc((size_t)(m * k));
  if (!out->w_codes || !out->a_codes) goto no_memory;
  make_codes(out->w_codes, n * k, problem->p, spec->kind, &seed);
  if (!problem->in)
    make_codes(out->a_codes, m * k, problem->q, spec->kind, &seed);
  else if (!make_rows(out, &seed))
    goto no_memory;
  out->w_sum = make_sums(out->w_codes, n, k, 0);
  out->a_sum = make_sums(out->a_codes, m, k, 0);
  if (!out->w_sum || !out->a_sum) goto no_memory;
  if (problem->group) {
    out->w_group_sum = make_sums(out->w_codes, n, k, problem->group);
    out->a_group_sum = make_sums(out->a_codes, m, k, problem->group);
    if (!out->w_group_sum || !out->a_group_sum) goto no_memory;
  }
  out->groups = problem->group ? (problem->k + problem->group - 1) / problem->group : 1;
  const int64_t n_groups = n * out->groups;
  if (spec->w_zeros && !(out->w_zero = make_zeros(n_groups, problem->p, &seed))) goto no_memory;
  if (spec->a_zeros && !problem->in && !(out->a_zero = make_zeros(m, problem->q, &seed)))
    goto no_memory;
  if (spec->w_scales && !(out->w_scale = make_floats(n_groups, 0.003f, 0.001f, &seed)))
    goto no_memory;
  if (spec->a_scales && !problem->in && !(out->a_scale = make_floats(m, 0.003f, 0.001f, &seed)))
    goto no_memory;
  if (spec->bias && !(out->bias = make_floats(n, 2.0f, -1.0f, &seed))) goto no_memory;
  if (spec->combine && !(out->other = make_other(problem, &seed))) goto no_memory;
  return APQ_OK;

no_memory:
  apq__host_data_free(out);
  return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for operands of %lldx%lldx%lld",
                   (long long)m, (long long)n, (long long)k);
}

void apq__host_data_free(apq__host_data *data) {
  if (!data) return;
  apq__free(data->w_codes);
  apq__free(data->a_codes);
  apq__free(data->w_sum);
  apq__free(data->a_sum);
  apq__free(data->w_group_sum);
  apq__free(data->a_group_sum);
  apq__free(data->w_zero);
  apq__free(data->a_zero);
  apq__free(data->w_scale);
  apq__free(data->a_scale);
  apq__free(data->bias);
  apq__free(data->other);
  apq__free(data->x);
  *data = (apq__host_data){0};
}

/* Some rows of one operand, contiguous. */
typedef struct gathered {
  uint8_t *codes;
  int32_t *sums, *zeros;
  float *scales, *bias;
  void *other; /* of the rows and columns */
} gathered;

static void gathered_free(gathered *part) {
  apq__free(part->codes);
  apq__free(part->sums);
  apq__free(part->zeros);
  apq__free(part->scales);
  apq__free(part->bias);
  apq__free(part->other);
}

static void *gather(const void *from, size_t width, const int *rows, int count, int *failed) {
  if (!from) return NULL;
  char *to = apq__alloc((size_t)count * width);
  if (!to) {
    *failed = 1;
    return NULL;
  }
  for (int i = 0; i < count; i++)
    memcpy(to + (size_t)i * width, (const char *)from + (size_t)rows[i] * width, width);
  return to;
}

/* The `other` of some rows and columns, contiguous; NULL lists mean all. */
static void *gather_other(const apq__host_data *data, const int *rows, int row_count,
                          const int *columns, int column_count, int *failed) {
  const size_t width = apq__dtype_bytes(data->spec.problem.out);
  if (!data->other) return NULL;
  char *to = apq__alloc((size_t)row_count * (size_t)column_count * width);
  *failed |= !to;
  for (int i = 0; to && i < row_count; i++)
    for (int j = 0; j < column_count; j++) {
      size_t from = (size_t)(rows ? rows[i] : i) * (size_t)data->spec.problem.n +
                    (size_t)(columns ? columns[j] : j);
      memcpy(to + ((size_t)i * (size_t)column_count + (size_t)j) * width,
             (const char *)data->other + from * width, width);
    }
  return to;
}

/* The listed rows of an operand's arrays; those it has none of stay NULL.  `width`s in elements. */
static void gather_operand(const uint8_t *codes, size_t k, const int32_t *sums, size_t sum_width,
                           const int32_t *zeros, const float *scales, size_t zero_width,
                           const int *rows, int count, gathered *out, int *failed) {
  out->codes = gather(codes, k, rows, count, failed);
  out->sums = gather(sums, sum_width * sizeof(int32_t), rows, count, failed);
  out->zeros = gather(zeros, zero_width * sizeof(int32_t), rows, count, failed);
  out->scales = gather(scales, zero_width * sizeof(float), rows, count, failed);
}

apq_status apq__host_data_expect(const apq__host_data *data, const int *rows, int row_count,
                                 const int *columns, int column_count, void *y, apq_error *error) {
  const apq__problem *problem = &data->spec.problem;
  const int32_t *a_sums = problem->group ? data->a_group_sum : data->a_sum;
  const int32_t *w_sums = problem->group ? data->w_group_sum : data->w_sum;
  const size_t k = (size_t)problem->k, groups = (size_t)data->groups;
  gathered a = {0}, w = {0};
  int failed = 0;
  if (!rows) row_count = problem->m;
  if (!columns) column_count = problem->n;
  if (rows)
    gather_operand(data->a_codes, k, a_sums, groups, data->a_zero, data->a_scale, 1, rows,
                   row_count, &a, &failed);
  if (columns) {
    gather_operand(data->w_codes, k, w_sums, groups, data->w_zero, data->w_scale, groups, columns,
                   column_count, &w, &failed);
    w.bias = gather(data->bias, sizeof(float), columns, column_count, &failed);
  }
  a.other = gather_other(data, rows, row_count, columns, column_count, &failed);
  int32_t *d = apq__alloc((size_t)row_count * (size_t)column_count * sizeof *d);
  apq_status status = APQ_OK;
  if (failed || !d) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "verify",
                       "no memory for %d x %d reference results", row_count, column_count);
    goto cleanup;
  }
  const uint8_t *a_codes = rows ? a.codes : data->a_codes;
  const uint8_t *w_codes = columns ? w.codes : data->w_codes;
  const apq__operand a_operand = {data->a.alpha, data->a.zero, rows ? a.zeros : data->a_zero,
                                  rows ? a.sums : a_sums, rows ? a.scales : data->a_scale};
  const apq__operand w_operand = {data->w.alpha, data->w.zero, columns ? w.zeros : data->w_zero,
                                  columns ? w.sums : w_sums, columns ? w.scales : data->w_scale};
  const apq__epilogue epilogue = {.out = problem->out,
                                  .bias = columns ? w.bias : data->bias,
                                  .activation = data->spec.activation,
                                  .combine = data->spec.combine,
                                  .other = a.other,
                                  .ld_other = column_count};
  if (problem->group) {
    apq__reference_grouped(a_codes, problem->k, w_codes, problem->k, row_count, column_count,
                           problem->k, problem->group, &w_operand, &a_operand, &epilogue, y,
                           column_count);
    goto cleanup;
  }
  apq__reference_product(a_codes, problem->k, w_codes, problem->k, row_count, column_count,
                         problem->k, d);
  apq__reference_epilogue(d, row_count, column_count, problem->k, &w_operand, &a_operand, &epilogue,
                          y, column_count);
cleanup:
  apq__free(d);
  gathered_free(&a);
  gathered_free(&w);
  return status;
}

/* ---- device ---- */

static apq_status upload(apq__device *device, const void *from, size_t bytes, void **to,
                         apq_error *error) {
  if (!from) return APQ_OK;
  apq_status status = device->ops->alloc(device, bytes, to, error);
  if (status == APQ_OK) status = device->ops->to_device(device, *to, from, bytes, error);
  return status;
}

/* Packs an operand on the host in one form and uploads it. */
static apq_status upload_packed(apq__device *device, const uint8_t *codes, int64_t rows, int64_t k,
                                int bits, apq__form form, void **to, size_t *bytes,
                                apq_error *error) {
  *bytes = (size_t)apq__form_bytes(form, rows, k, bits);
  uint8_t *packed = apq__alloc(*bytes);
  if (!packed)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for %zu packed bytes", *bytes);
  apq__pack_form(form, codes, k, rows, k, bits, packed, NULL);
  apq_status status = upload(device, packed, *bytes, to, error);
  apq__free(packed);
  return status;
}

static void fill_args(apq__device_data *data, const apq__host_data *host) {
  apq_gemm_args *args = &data->args;
  args->w_sum = data->w_sum;
  args->a_sum = data->a_sum;
  args->w_zero = data->w_zero;
  args->a_zero = data->a_zero;
  args->w_scale = data->w_scale;
  args->a_scale = data->a_scale;
  args->bias = data->bias;
  args->other = data->other;
  args->ld_other = data->problem.n;
  args->combine = (int)host->spec.combine;
  args->group = data->problem.group;
  args->groups = data->problem.group ? host->groups : 0;
  args->w_group_sum = data->w_group_sum;
  args->a_group_sum = data->a_group_sum;
  args->gate = apq__gate_args(host->spec.activation);
  args->ldy = data->ldy;
  args->m = data->problem.m;
  args->n = data->problem.n;
  args->k = data->problem.k;
  args->row_bytes = (int)apq__plane_row_bytes(data->problem.k);
  args->alpha_w = host->w.alpha;
  args->alpha_a = host->a.alpha;
  args->zero_w = host->w.zero;
  args->zero_a = host->a.zero;
  args->format = (int)host->spec.a_format;
  args->is_static = host->spec.is_static;
  args->ldx = host->ldx;
  args->static_scale = host->static_scale;
  args->static_zero = host->static_zero;
}

apq_status apq__device_data_make(apq__device *device, const apq__host_data *host, int forms,
                                 int64_t ldy, apq__device_data *out, apq_error *error) {
  const apq__problem *problem = &host->spec.problem;
  size_t m = (size_t)problem->m, n = (size_t)problem->n, groups = (size_t)host->groups;
  apq_status status;
  *out = (apq__device_data){.device = device, .problem = *problem, .ldy = ldy};
  out->x_bytes = m * (size_t)host->ldx * apq__dtype_bytes(apq__input_dtype(problem->in));
  out->y_bytes = ((m - 1) * (size_t)ldy + n) * apq__dtype_bytes(problem->out);
  const struct {
    const void *from;
    size_t bytes;
    void **to;
  } arrays[] = {
      {host->w_sum, n * 4, &out->w_sum},
      {host->a_sum, m * 4, &out->a_sum},
      {host->w_group_sum, n * groups * 4, &out->w_group_sum},
      {host->a_group_sum, m * groups * 4, &out->a_group_sum},
      {host->w_zero, n * groups * 4, &out->w_zero},
      {host->a_zero, m * 4, &out->a_zero},
      {host->w_scale, n * groups * 4, &out->w_scale},
      {host->a_scale, m * 4, &out->a_scale},
      {host->bias, n * 4, &out->bias},
      {host->x, out->x_bytes, &out->x},
      {host->other, m * n * apq__dtype_bytes(problem->out), &out->other},
  };
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
    status = upload(device, arrays[i].from, arrays[i].bytes, arrays[i].to, error);
    if (status != APQ_OK) goto cleanup;
  }
  status = upload_packed(device, host->w_codes, problem->n, problem->k, problem->p,
                         APQ__FORM_PLANES, &out->w, &out->w_bytes, error);
  for (int i = 0; status == APQ_OK && i < APQ__FORM_COUNT; i++) {
    const apq__form form = (apq__form)i;
    if ((forms >> i & 1) && problem->q <= apq__form_bits(form))
      status = upload_packed(device, host->a_codes, problem->m, problem->k, problem->q, form,
                             &out->a[i], &out->a_bytes[i], error);
  }
  if (status == APQ_OK)
    status = device->ops->alloc(device, out->y_bytes + 2 * CANARY, &out->y_block, error);
  if (status == APQ_OK) fill_args(out, host);
cleanup:
  if (status != APQ_OK) apq__device_data_free(out);
  return status;
}

void apq__device_data_free(apq__device_data *data) {
  if (!data || !data->device) return;
  void *blocks[] = {data->w,           data->w_sum,       data->a_sum,     data->w_zero,
                    data->a_zero,      data->w_scale,     data->a_scale,   data->bias,
                    data->other,       data->y_block,     data->workspace, data->tickets,
                    data->w_group_sum, data->a_group_sum, data->x,         data->pack_zero};
  for (int i = 0; i < APQ__FORM_COUNT; i++) apq__test_kernel_unload(&data->packer[i].loaded);
  for (int i = 0; i < APQ__FORM_COUNT; i++)
    if (data->a[i]) data->device->ops->release(data->device, data->a[i]);
  for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
    if (blocks[i]) data->device->ops->release(data->device, blocks[i]);
  *data = (apq__device_data){0};
}

void *apq__device_data_y(const apq__device_data *data) {
  return (char *)data->y_block + CANARY;
}

apq_status apq__device_data_poison(apq__device_data *data, apq_error *error) {
  return data->device->ops->fill(data->device, data->y_block, APQ__POISON,
                                 data->y_bytes + 2 * CANARY, NULL, error);
}

/* First byte that is not poison, or -1. */
static int64_t first_touched(const unsigned char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (bytes[i] != APQ__POISON) return (int64_t)i;
  return -1;
}

static apq_status check_canaries(apq__device_data *data, apq_error *error) {
  unsigned char canary[CANARY];
  for (int after = 0; after < 2; after++) {
    size_t offset = after ? CANARY + data->y_bytes : 0;
    apq_status status = data->device->ops->to_host(data->device, canary,
                                                   (char *)data->y_block + offset, CANARY, error);
    if (status != APQ_OK) return status;
    int64_t at = first_touched(canary, CANARY);
    if (at >= 0)
      return apq__fail(error, APQ_MISMATCH, "verify", "wrote %lld bytes %s the result matrix",
                       (long long)(after ? at + 1 : CANARY - at), after ? "past" : "before");
  }
  return APQ_OK;
}

apq_status apq__device_data_fetch(apq__device_data *data, void *y, apq_error *error) {
  apq_status status = check_canaries(data, error);
  if (status != APQ_OK) return status;
  status =
      data->device->ops->to_host(data->device, y, apq__device_data_y(data), data->y_bytes, error);
  size_t element = apq__dtype_bytes(data->problem.out);
  size_t gap = (size_t)(data->ldy - data->problem.n) * element, pitch = (size_t)data->ldy * element;
  for (int row = 0; status == APQ_OK && gap > 0 && row + 1 < data->problem.m; row++) {
    int64_t at = first_touched((const unsigned char *)y + (size_t)(row + 1) * pitch - gap, gap);
    if (at >= 0)
      status = apq__fail(error, APQ_MISMATCH, "verify",
                         "wrote between rows: %lld bytes past the end of row %d", (long long)at + 1,
                         row);
  }
  return status;
}

/* ---- kernels ---- */

apq_status apq__test_kernel_load(apq__device *device, const apq__config *config, const void *image,
                                 size_t size, apq__test_kernel *out, apq_error *error) {
  const char *name = apq__config_get(config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  *out = (apq__test_kernel){.device = device, .config = *config};
  if (!family)
    return apq__fail(error, APQ_NOT_FOUND, "load", "no kernel family \"%s\"", name ? name : "");
  out->is_product = apq__family_is_product(family);
  out->form = apq__config_form(config);
  apq__shape shape;
  apq_status status = apq__config_limits(config, NULL, &device->target, &shape, error);
  if (status != APQ_OK) return status;
  out->smem_bytes = shape.smem_bytes;
  char kernel_name[APQ__WORD_MAX + 8];
  status = device->ops->load(device, image, size, &out->module, error);
  if (status == APQ_OK)
    status = device->ops->kernel(device, out->module, apq__kernel_name(config, kernel_name),
                                 shape.smem_bytes, &out->kernel, &out->info, error);
  if (status != APQ_OK) apq__test_kernel_unload(out);
  return status;
}

void apq__test_kernel_unload(apq__test_kernel *loaded) {
  if (!loaded || !loaded->device) return;
  if (loaded->module) loaded->device->ops->unload(loaded->device, loaded->module);
  *loaded = (apq__test_kernel){0};
}

static apq_status grow(apq__device *device, size_t bytes, int fill, void **memory, size_t *have,
                       apq_error *error) {
  if (bytes <= *have) return APQ_OK;
  if (*memory) device->ops->release(device, *memory);
  *memory = NULL;
  *have = 0;
  apq_status status = device->ops->alloc(device, bytes, memory, error);
  if (status != APQ_OK) return status;
  *have = bytes;
  return device->ops->fill(device, *memory, fill, bytes, NULL, error);
}

/* Tickets that launches leave zero have a place of their own: sums of other kernels would end up in
 * the workspace's. */
static apq_status place_tickets(apq__prepared *out, apq_error *error) {
  apq__device_data *data = out->data;
  const apq__shape *shape = &out->shape;
  apq_status status = APQ_OK;
  if (shape->keeps_tickets) {
    status = grow(data->device, shape->ticket_bytes, 0, &data->tickets, &data->ticket_bytes, error);
    out->args.tickets = data->tickets;
  } else if (shape->ticket_bytes > 0) {
    out->tickets = (char *)data->workspace + shape->workspace_bytes - shape->ticket_bytes;
    out->args.tickets = out->tickets;
  }
  return status;
}

apq_status apq__prepared_make(const apq__test_kernel *loaded, apq__device_data *data,
                              apq__prepared *out, apq_error *error) {
  *out = (apq__prepared){.loaded = loaded, .data = data};
  const apq__shape *shape = &out->shape;
  apq_status status = apq__config_limits(&loaded->config, &data->problem, &loaded->device->target,
                                         &out->shape, error);
  /* The kernel was loaded for any problem; this one may need more shared memory. */
  char name[APQ__WORD_MAX + 8];
  if (status == APQ_OK)
    status = loaded->device->ops->kernel(loaded->device, loaded->module,
                                         apq__kernel_name(&loaded->config, name), shape->smem_bytes,
                                         &out->kernel, NULL, error);
  /* Partial sums must not be taken for zeros. */
  if (status == APQ_OK)
    status = grow(data->device, shape->workspace_bytes, APQ__POISON, &data->workspace,
                  &data->workspace_bytes, error);
  if (status != APQ_OK) return status;
  out->args = data->args;
  if (shape->workspace_bytes > 0) out->args.partial = data->workspace;
  return place_tickets(out, error);
}

apq_status apq__prepared_launch(apq__prepared *prepared, const void *w, const void *a, void *y,
                                void *stream, apq_error *error) {
  const apq__device_data *data = prepared->data;
  const apq__test_kernel *loaded = prepared->loaded;
  apq__device *device = data->device;
  apq_status status = APQ_OK;
  const apq__packer *packer = &data->packer[loaded->form];
  const int is_packed = !data->problem.in || !apq__config_source(&loaded->config);
  prepared->args.w = w ? w : data->w;
  prepared->args.a = a && !data->problem.in ? a : data->a[loaded->form];
  prepared->args.x = a && data->problem.in ? a : data->x;
  prepared->args.y = y ? y : apq__device_data_y(data);
  if (prepared->tickets)
    status = device->ops->fill(device, prepared->tickets, 0, prepared->shape.ticket_bytes, stream,
                               error);
  if (status == APQ_OK && is_packed && loaded->is_product && packer->loaded.kernel) {
    apq_pack_args pack = packer->args;
    pack.x = prepared->args.x;
    status = apq__kernel_launch(device, packer->loaded.kernel, &packer->shape, &pack, sizeof pack,
                                stream, error);
  }
  apq_tensor_map map;
  if (status == APQ_OK && prepared->shape.is_tma)
    status =
        apq__weights_map(device, &prepared->shape, &prepared->args, data->problem.p, &map, error);
  if (status == APQ_OK)
    status = apq__product_launch(device, prepared->kernel, &prepared->shape, &prepared->args, &map,
                                 NULL, data->problem.q, loaded->form, stream, error);
  return status;
}
