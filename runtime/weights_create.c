/* Weights of rows: ready codes, or floats to quantize. */
#include <string.h>

#include "alloc.h"
#include "config.h"
#include "context.h"
#include "status.h"
#include "weights.h"
#include "weights_quantize.h"

static int is_floating(apq_dtype dtype) {
  return dtype == APQ_DTYPE_F32 || dtype == APQ_DTYPE_F16 || dtype == APQ_DTYPE_BF16;
}

static int takes_zero(const apq_weights_desc *desc) {
  return (desc->dtype == APQ_DTYPE_CODES8 && desc->format == APQ_FORMAT_UINT) ||
         (desc->dtype == APQ_DTYPE_I8 && desc->format == APQ_FORMAT_INT);
}

static apq_status check_arrays(const apq_weights_desc *desc, apq_error *error) {
  const char *const stage = "argument";
  if (!desc->data) return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "data is NULL");
  if (desc->ld != 0 && desc->ld < desc->k)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "ld=%lld: less than k=%d",
                     (long long)desc->ld, desc->k);
  /* Past this, a row's address overflows. */
  if (desc->ld > INT64_MAX / 8 / desc->n)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "ld=%lld: too large for %d rows",
                     (long long)desc->ld, desc->n);
  if (desc->scale && is_floating(desc->dtype))
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "scale: must be NULL when dtype is %s, the scales come from quantizing",
                     apq_dtype_name(desc->dtype));
  if (desc->zero && !takes_zero(desc))
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "zero: goes with codes8 and uint, or i8 and int, not with %s and %s",
                     apq_dtype_name(desc->dtype), apq_format_name(desc->format));
  return APQ_OK;
}

static apq_status check_desc(const apq_weights_desc *desc, apq_error *error) {
  const char *const stage = "argument";
  apq_status status = apq__check_dimension(desc->n, "n", error);
  if (!status) status = apq__check_dimension(desc->k, "k", error);
  if (!status) status = apq__check_bits(desc->bits, "bits", error);
  if (!status) status = apq__check_format(desc->format, "format", error);
  if (!status) status = apq__check_group(desc->group, desc->k, error);
  if (status) return status;
  if (desc->dtype != APQ_DTYPE_CODES8 && desc->dtype != APQ_DTYPE_I8 && !is_floating(desc->dtype))
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "dtype=%s: weights are made from codes8, i8, f32, f16 or bf16",
                     apq_dtype_name(desc->dtype));
  if ((unsigned)desc->clip >= APQ_CLIP_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "clip=%d: not an apq_clip",
                     (int)desc->clip);
  if (desc->clip != APQ_CLIP_ABSMAX && !is_floating(desc->dtype))
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "clip: %s are taken as they are, there is nothing to clip",
                     apq_dtype_name(desc->dtype));
  if (desc->on_device != 0 && desc->on_device != 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "on_device=%d: must be 0 or 1",
                     desc->on_device);
  return check_arrays(desc, error);
}

static apq_status check_codes(const apq_weights_desc *desc, int64_t ld, apq_error *error) {
  const uint8_t *codes = desc->data;
  for (int row = 0; row < desc->n; row++) {
    const uint8_t *at = codes + row * ld;
    unsigned all = 0;
    for (int col = 0; col < desc->k; col++) all |= at[col];
    if (all >> desc->bits == 0) continue;
    int col = 0;
    while (at[col] >> desc->bits == 0) col++;
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "data[%d][%d]=%d: a code of %d bits is below %d", row, col, at[col],
                     desc->bits, 1 << desc->bits);
  }
  return APQ_OK;
}

/* u = (v + zero) / alpha, which must be a code. */
static apq_status codes_of_integers(const apq_weights_desc *desc, int64_t ld, uint8_t *codes,
                                    apq_error *error) {
  const apq__affine map = apq__format_affine(desc->format, desc->bits);
  const int8_t *data = desc->data;
  for (int row = 0; row < desc->n; row++)
    for (int col = 0; col < desc->k; col++) {
      const int8_t value = data[row * ld + col];
      const int shifted = map.zero + value;
      if (shifted < 0 || shifted % map.alpha || shifted / map.alpha >> desc->bits)
        return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                         "data[%d][%d]=%d: not %s of %d bits", row, col, value,
                         apq_format_name(desc->format), desc->bits);
      codes[(int64_t)row * desc->k + col] = (uint8_t)(shifted / map.alpha);
    }
  return APQ_OK;
}

/* What making weights allocates on the host. */
typedef struct scratch {
  void *data, *scale, *zero; /* copies of device memory */
  uint8_t *codes;
  float *scales;
  int32_t *zeros;
} scratch;

static void scratch_free(scratch *made) {
  void *const memory[] = {made->data,  made->scale,  made->zero,
                          made->codes, made->scales, made->zeros};
  for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) apq__free(memory[i]);
}

/* Brings the arrays of `desc` from the device to the host. */
static apq_status fetch(apq_context *context, apq_weights_desc *desc, int groups, scratch *made,
                        apq_error *error) {
  const int64_t ld = desc->ld ? desc->ld : desc->k;
  const size_t cells = (size_t)desc->n * (size_t)groups * 4;
  const size_t bytes = (size_t)((desc->n - 1) * ld + desc->k) * apq__dtype_bytes(desc->dtype);
  apq_status status = apq__weights_fetch(context, desc->data, bytes, &made->data, error);
  if (!status) status = apq__weights_fetch(context, desc->scale, cells, &made->scale, error);
  if (!status) status = apq__weights_fetch(context, desc->zero, cells, &made->zero, error);
  desc->data = made->data;
  desc->scale = made->scale;
  desc->zero = made->zero;
  return status;
}

/* Zero points of integers are those of codes, less the format's. */
static apq_status move_zeros(const apq_weights_desc *desc, int groups, scratch *made,
                             apq_error *error) {
  const int64_t count = (int64_t)desc->n * groups;
  const int offset = apq__format_affine(desc->format, desc->bits).zero;
  made->zeros = apq__calloc((size_t)count, sizeof *made->zeros);
  if (!made->zeros) return apq__weights_no_memory(desc->n, desc->k, error);
  for (int64_t i = 0; i < count; i++) {
    if (desc->zero[i] > INT32_MAX - offset)
      return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "zero[%lld][%lld]=%d: too large",
                       (long long)(i / groups), (long long)(i % groups), desc->zero[i]);
    made->zeros[i] = desc->zero[i] + offset;
  }
  return APQ_OK;
}

/* Finds the codes, and fills in the scales and zero points, of data in host memory. */
static apq_status make_codes(const apq_weights_desc *desc, apq__weights_parts *parts, scratch *made,
                             const uint8_t **codes, int64_t *ld, apq_error *error) {
  const int groups = apq__weights_groups(parts->group, desc->k);
  *ld = desc->ld ? desc->ld : desc->k;
  if (desc->dtype == APQ_DTYPE_CODES8) {
    *codes = desc->data;
    parts->scales = desc->scale;
    parts->zeros = desc->zero;
    return check_codes(desc, *ld, error);
  }
  apq_status status = APQ_OK;
  if (desc->dtype == APQ_DTYPE_I8) {
    made->codes = apq__calloc((size_t)desc->n, (size_t)desc->k);
    if (!made->codes) return apq__weights_no_memory(desc->n, desc->k, error);
    status = codes_of_integers(desc, *ld, made->codes, error);
    if (!status && desc->zero) status = move_zeros(desc, groups, made, error);
    if (desc->zero) parts->format = APQ_FORMAT_UINT;
    parts->scales = desc->scale;
  } else {
    status = apq__weights_quantize(desc, desc->data, parts->group, &made->codes, &made->scales,
                                   &made->zeros, error);
    parts->scales = made->scales;
  }
  parts->zeros = made->zeros;
  parts->affine = apq__format_affine(parts->format, parts->bits);
  *codes = made->codes;
  *ld = desc->k;
  return status;
}

apq_status apq_weights_create(apq_context *context, const apq_weights_desc *desc, apq_weights **out,
                              apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(desc, "desc", error);
  if (!status) status = check_desc(desc, error);
  if (status) return status;

  apq_weights_desc host = *desc;
  scratch made = {0};
  const uint8_t *codes = NULL;
  int64_t ld = 0;
  apq__weights_parts parts = {.n = desc->n,
                              .k = desc->k,
                              .bits = desc->bits,
                              .format = desc->format,
                              .affine = apq__format_affine(desc->format, desc->bits),
                              .group = apq__weights_group(desc->group, desc->k)};
  if (desc->on_device)
    status = fetch(context, &host, apq__weights_groups(parts.group, parts.k), &made, error);
  if (!status) status = make_codes(&host, &parts, &made, &codes, &ld, error);
  if (!status) status = apq__weights_build_codes(context, &parts, codes, ld, out, error);
  scratch_free(&made);
  return status;
}
