#include "weights.h"

#include <math.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "parallel.h"
#include "status.h"

/* ---- checks ---- */

apq_status apq__check_bits(int bits, const char *name, apq_error *error) {
  if (bits >= 1 && bits <= 8) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: must be 1 to 8", name, bits);
}

apq_status apq__check_format(apq_format format, const char *name, apq_error *error) {
  if ((unsigned)format < APQ_FORMAT_COUNT) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: not an apq_format", name,
                   (int)format);
}

apq_status apq__check_group(int group, int k, apq_error *error) {
  if (group == 0 || group == 32 || group == 64 || group == 128 || group == 256) return APQ_OK;
  if (group >= k) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                   "group=%d: must be 0, 32, 64, 128, 256, or k and more", group);
}

int apq__weights_group(int group, int k) {
  return group >= k ? 0 : group;
}

int apq__weights_groups(int group, int k) {
  return group ? 1 + (k - 1) / group : 1;
}

apq_status apq__weights_no_memory(int n, int k, apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no host memory for %d x %d weights", n, k);
}

static int64_t scales_of(const apq__weights_parts *parts) {
  return (int64_t)parts->n * apq__weights_groups(parts->group, parts->k);
}

/* What is packed once must not spoil every product after. */
static apq_status check_scales(const apq__weights_parts *parts, apq_error *error) {
  const int groups = apq__weights_groups(parts->group, parts->k);
  const int64_t count = parts->scales ? scales_of(parts) : 0;
  int64_t i = 0;
  while (i < count && isfinite(parts->scales[i])) i++;
  if (i == count) return APQ_OK;
  if (!parts->group)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "scale[%lld]=%g: must be finite",
                     (long long)i, (double)parts->scales[i]);
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "scale[%lld][%lld]=%g: must be finite",
                   (long long)(i / groups), (long long)(i % groups), (double)parts->scales[i]);
}

/* ---- to the device ---- */

typedef struct summing {
  const apq__weights_parts *parts;
  int32_t *sums, *group_sums;
} summing;

static void sum_rows(void *user, int worker, int begin, int end) {
  const summing *job = user;
  const apq__weights_parts *parts = job->parts;
  (void)worker;
  apq__plane_sums(parts->planes, parts->n, parts->k, parts->bits, parts->group, begin, end,
                  job->sums, job->group_sums);
}

/* Copies to new device memory; a NULL source gives NULL. */
static apq_status upload(apq_context *context, const void *from, size_t bytes, void **to,
                         apq_error *error) {
  if (!from) return APQ_OK;
  apq__device *device = context->device;
  apq_status status = device->ops->alloc(device, bytes, to, error);
  if (!status) status = device->ops->to_device(device, *to, from, bytes, error);
  return status;
}

static apq_status upload_all(apq_weights *weights, const apq__weights_parts *parts,
                             const summing *made, apq_error *error) {
  const size_t rows = (size_t)parts->n * 4, cells = (size_t)scales_of(parts) * 4;
  const size_t planes = (size_t)apq__planes_bytes(parts->n, parts->k, parts->bits);
  const void *const from[] = {weights->parent ? NULL : parts->planes, parts->scales, parts->zeros,
                              made->sums, made->group_sums};
  const size_t bytes[] = {planes, cells, cells, rows, cells};
  void *to[] = {NULL, NULL, NULL, NULL, NULL};
  apq_status status = APQ_OK;
  for (int i = 0; i < 5 && !status; i++)
    status = upload(weights->context, from[i], bytes[i], &to[i], error);
  if (!weights->parent) weights->planes = to[0];
  weights->w_scale = to[1];
  weights->w_zero = to[2];
  weights->w_sum = to[3];
  weights->w_group_sum = to[4];
  return status;
}

/* Fills what needs no memory. */
static void describe(apq_weights *weights, apq_context *context, const apq__weights_parts *parts,
                     apq_weights *parent, int dropped) {
  *weights = (apq_weights){
      .context = context,
      .n = parts->n,
      .k = parts->k,
      .bits = parts->bits,
      .format = parts->format,
      .affine = parts->affine,
      .group = parts->group,
      .groups = apq__weights_groups(parts->group, parts->k),
      .max_abs = apq__affine_max_abs(parts->affine, parts->bits, parts->zeros, scales_of(parts)),
      .parent = parent,
      .dropped = dropped,
  };
  atomic_init(&weights->holders, 1);
  apq__context_hold(context);
  if (!parent) return;
  atomic_fetch_add(&parent->holders, 1);
  weights->planes = (uint8_t *)parent->planes + apq__planes_bytes(parts->n, parts->k, dropped);
}

apq_status apq__weights_build(apq_context *context, const apq__weights_parts *parts,
                              apq_weights *parent, int dropped, apq_weights **out,
                              apq_error *error) {
  *out = NULL;
  apq_status status = apq__context_check_open(context, error);
  if (!status) status = check_scales(parts, error);
  if (status) return status;
  summing job = {.parts = parts, .sums = apq__calloc((size_t)parts->n, sizeof *job.sums)};
  if (parts->group) job.group_sums = apq__calloc((size_t)scales_of(parts), sizeof *job.sums);
  apq_weights *weights = apq__calloc(1, sizeof *weights);
  if (!weights || !job.sums || (parts->group && !job.group_sums)) {
    apq__free(weights);
    status = apq__weights_no_memory(parts->n, parts->k, error);
    goto cleanup;
  }
  describe(weights, context, parts, parent, dropped);
  /* A thread is worth its start from about a million bytes on. */
  const int grain = 1 + (int)((1 << 20) / (apq__plane_row_bytes(parts->k) * parts->bits));
  apq__parallel(apq__parallel_workers(parts->n, grain), parts->n, sum_rows, &job);
  status = upload_all(weights, parts, &job, error);
  if (status)
    apq_weights_destroy(weights);
  else
    *out = weights;

cleanup:
  apq__free(job.sums);
  apq__free(job.group_sums);
  return status;
}

apq_status apq__weights_build_codes(apq_context *context, const apq__weights_parts *parts,
                                    const uint8_t *codes, int64_t ld, apq_weights **out,
                                    apq_error *error) {
  apq__weights_parts packed = *parts;
  uint8_t *planes = apq__alloc((size_t)apq__planes_bytes(parts->n, parts->k, parts->bits));
  if (!planes) return apq__weights_no_memory(parts->n, parts->k, error);
  apq__pack_planes(codes, ld, parts->n, parts->k, parts->bits, planes, NULL);
  packed.planes = planes;
  apq_status status = apq__weights_build(context, &packed, NULL, 0, out, error);
  apq__free(planes);
  return status;
}

void apq_weights_destroy(apq_weights *weights) {
  while (weights && atomic_fetch_sub(&weights->holders, 1) == 1) {
    apq_context *context = weights->context;
    apq_weights *parent = weights->parent;
    void *const memory[] = {parent ? NULL : weights->planes, weights->w_scale, weights->w_zero,
                            weights->w_sum, weights->w_group_sum};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
      if (memory[i]) context->device->ops->release(context->device, memory[i]);
    apq__free(weights);
    apq__context_release(context);
    weights = parent;
  }
}

/* ---- from the device ---- */

apq_status apq__weights_fetch(apq_context *context, const void *from, size_t bytes, void **to,
                              apq_error *error) {
  *to = NULL;
  if (!from) return APQ_OK;
  void *memory = apq__alloc(bytes);
  if (!memory)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no host memory for %zu bytes of weights",
                     bytes);
  apq_status status = context->device->ops->to_host(context->device, memory, from, bytes, error);
  if (status)
    apq__free(memory);
  else
    *to = memory;
  return status;
}

apq_status apq__weights_copy_out(const apq_weights *weights, apq__weights_copy *out,
                                 apq_error *error) {
  const size_t cells = (size_t)weights->n * (size_t)weights->groups * 4;
  void *planes = NULL, *scales = NULL, *zeros = NULL;
  apq_status status = apq__weights_fetch(
      weights->context, weights->planes,
      (size_t)apq__planes_bytes(weights->n, weights->k, weights->bits), &planes, error);
  if (!status)
    status = apq__weights_fetch(weights->context, weights->w_scale, cells, &scales, error);
  if (!status) status = apq__weights_fetch(weights->context, weights->w_zero, cells, &zeros, error);
  *out = (apq__weights_copy){.parts = {.n = weights->n,
                                       .k = weights->k,
                                       .bits = weights->bits,
                                       .format = weights->format,
                                       .affine = weights->affine,
                                       .group = weights->group,
                                       .planes = planes,
                                       .scales = scales,
                                       .zeros = zeros},
                             .planes = planes,
                             .scales = scales,
                             .zeros = zeros};
  if (status) apq__weights_copy_free(out);
  return status;
}

void apq__weights_copy_free(apq__weights_copy *copy) {
  apq__free(copy->planes);
  apq__free(copy->scales);
  apq__free(copy->zeros);
  *copy = (apq__weights_copy){0};
}

apq_status apq_weights_get_info(const apq_weights *weights, apq_weights_info *out,
                                apq_error *error) {
  apq_status status = apq__check_pointer(weights, "weights", error);
  if (!status) status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = (apq_weights_info){.n = weights->n,
                            .k = weights->k,
                            .bits = weights->bits,
                            .format = weights->format,
                            .group = weights->group,
                            .alpha = weights->affine.alpha,
                            .zero = weights->affine.zero,
                            .has_zeros = weights->w_zero != NULL,
                            .has_scales = weights->w_scale != NULL,
                            .is_view = weights->parent != NULL};
  return APQ_OK;
}

static void dequantize_row(const apq__weights_parts *parts, int row, const uint8_t *codes,
                           float *values) {
  const int groups = apq__weights_groups(parts->group, parts->k);
  for (int i = 0; i < parts->k; i++) {
    const int64_t cell = (int64_t)row * groups + (parts->group ? i / parts->group : 0);
    const int32_t zero = parts->zeros ? parts->zeros[cell] : parts->affine.zero;
    const double scale = parts->scales ? (double)parts->scales[cell] : 1.0;
    /* 33 bits by 24: exact in double only below 2^53, which codes and sane zero points keep. */
    values[i] = (float)(scale * (double)((int64_t)parts->affine.alpha * codes[i] - zero));
  }
}

apq_status apq_weights_dequantize(const apq_weights *weights, float *values, int64_t ld,
                                  apq_error *error) {
  apq_status status = apq__check_pointer(weights, "weights", error);
  if (!status) status = apq__check_pointer(values, "values", error);
  if (status) return status;
  const int n = weights->n, k = weights->k;
  if (ld == 0) ld = k;
  if (ld < k)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "ld=%lld: less than k=%d",
                     (long long)ld, k);
  apq__weights_copy copy;
  uint8_t *codes = NULL;
  status = apq__weights_copy_out(weights, &copy, error);
  if (status) return status;
  codes = apq__calloc((size_t)n, (size_t)k);
  if (codes) {
    apq__unpack_planes(copy.planes, n, k, weights->bits, codes, k);
    for (int row = 0; row < n; row++)
      dequantize_row(&copy.parts, row, codes + (int64_t)row * k, values + row * ld);
  } else {
    status = apq__weights_no_memory(n, k, error);
  }
  apq__free(codes);
  apq__weights_copy_free(&copy);
  return status;
}
