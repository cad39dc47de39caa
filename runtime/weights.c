#include "weights.h"

#include <math.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "config.h"
#include "context.h"
#include "parallel.h"
#include "reference.h"
#include "status.h"

apq_status apq__check_bits(int bits, const char *name, apq_error *error) {
  if (bits >= 1 && bits <= 8) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: must be 1 to 8", name, bits);
}

apq_status apq__check_format(apq_format format, const char *name, apq_error *error) {
  if ((unsigned)format < APQ_FORMAT_COUNT) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: not an apq_format", name,
                   (int)format);
}

/* The matrix on the host, on its way to the device. */
typedef struct packed {
  uint8_t *codes;  /* [n][k] when quantized here, else NULL */
  uint8_t *planes; /* bit planes */
  int32_t *sums;   /* [n] */
  float *scales;   /* [n] or NULL */
  int32_t *zeros;  /* [n] or NULL */
} packed;

static void packed_free(packed *host) {
  apq__free(host->codes);
  apq__free(host->planes);
  apq__free(host->sums);
  apq__free(host->scales);
  apq__free(host->zeros);
}

static apq_status check_desc(const apq_weights_desc *desc, apq_error *error) {
  const int is_codes = desc->dtype == APQ_DTYPE_CODES8;
  const char *const stage = "argument";
  apq_status status = apq__check_dimension(desc->n, "n", error);
  if (!status) status = apq__check_dimension(desc->k, "k", error);
  if (!status) status = apq__check_bits(desc->bits, "bits", error);
  if (!status) status = apq__check_format(desc->format, "format", error);
  if (status) return status;
  if (!is_codes && desc->dtype != APQ_DTYPE_F32 && desc->dtype != APQ_DTYPE_F16 &&
      desc->dtype != APQ_DTYPE_BF16)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "dtype=%s: weights are made from codes8, f32, f16 or bf16",
                     apq_dtype_name(desc->dtype));
  if (!desc->data) return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "data is NULL");
  if (desc->ld != 0 && desc->ld < desc->k)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage, "ld=%lld: less than k=%d",
                     (long long)desc->ld, desc->k);
  if (desc->scale && !is_codes)
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "scale: must be NULL when dtype is %s, the scales come from quantizing",
                     apq_dtype_name(desc->dtype));
  if (desc->zero && (!is_codes || desc->format != APQ_FORMAT_UINT))
    return apq__fail(error, APQ_INVALID_ARGUMENT, stage,
                     "zero: goes with dtype codes8 and format uint, not %s and %s",
                     apq_dtype_name(desc->dtype), apq_format_name(desc->format));
  return APQ_OK;
}

/* Codes must be below 2^bits, scales finite: what is packed once must not spoil every product
 * after. */
static apq_status check_codes(const apq_weights_desc *desc, int64_t ld, apq_error *error) {
  const uint8_t *codes = desc->data;
  for (int row = 0; row < desc->n; row++) {
    if (desc->scale && !isfinite(desc->scale[row]))
      return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "scale[%d]=%g: must be finite", row,
                       (double)desc->scale[row]);
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

static apq_status no_memory(const apq_weights_desc *desc, apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no host memory to pack %d x %d weights",
                   desc->n, desc->k);
}

/* Quantizing the rows of one matrix. */
typedef struct quantizing {
  const apq_weights_desc *desc;
  int64_t ld;
  packed *host;
  float *rows; /* [workers][k] */
} quantizing;

static void quantize_rows(void *user, int worker, int begin, int end) {
  const quantizing *job = user;
  const apq_weights_desc *desc = job->desc;
  const int64_t k = desc->k;
  float *row = job->rows + worker * k;
  for (int i = begin; i < end; i++) {
    for (int j = 0; j < desc->k; j++)
      row[j] = apq__load_float(desc->data, desc->dtype, i * job->ld + j);
    apq__reference_quantize(row, k, desc->bits, desc->format, job->host->codes + i * k,
                            &job->host->scales[i], &job->host->zeros[i]);
  }
}

/* Per output channel, by the same rules as the pack kernels. */
static apq_status quantize(const apq_weights_desc *desc, int64_t ld, packed *host,
                           apq_error *error) {
  /* A thread is worth its start from about a million elements on. */
  const int grain = 1 + (1 << 20) / desc->k;
  const int workers = apq__parallel_workers(desc->n, grain);
  host->codes = apq__calloc((size_t)desc->n, (size_t)desc->k);
  host->scales = apq__calloc((size_t)desc->n, sizeof *host->scales);
  host->zeros = apq__calloc((size_t)desc->n, sizeof *host->zeros);
  float *rows = apq__calloc((size_t)workers * (size_t)desc->k, sizeof *rows);
  if (!rows || !host->codes || !host->scales || !host->zeros) {
    apq__free(rows);
    return no_memory(desc, error);
  }
  quantizing job = {desc, ld, host, rows};
  apq__parallel(workers, desc->n, quantize_rows, &job);
  apq__free(rows);
  if (desc->format != APQ_FORMAT_UINT) {
    /* The format's own zero: kernels take it as a constant. */
    apq__free(host->zeros);
    host->zeros = NULL;
  }
  return APQ_OK;
}

static apq_status take_arrays(const apq_weights_desc *desc, packed *host, apq_error *error) {
  const size_t bytes = (size_t)desc->n * sizeof(float);
  if (desc->scale && !(host->scales = apq__alloc(bytes))) return no_memory(desc, error);
  if (desc->zero && !(host->zeros = apq__alloc(bytes))) return no_memory(desc, error);
  if (desc->scale) memcpy(host->scales, desc->scale, bytes);
  if (desc->zero) memcpy(host->zeros, desc->zero, bytes);
  return APQ_OK;
}

static apq_status pack(const apq_weights_desc *desc, packed *host, apq_error *error) {
  int64_t ld = desc->ld ? desc->ld : desc->k;
  const int is_codes = desc->dtype == APQ_DTYPE_CODES8;
  apq_status status = is_codes ? check_codes(desc, ld, error) : quantize(desc, ld, host, error);
  if (!status && is_codes) status = take_arrays(desc, host, error);
  if (status) return status;
  host->planes = apq__alloc((size_t)apq__planes_bytes(desc->n, desc->k, desc->bits));
  host->sums = apq__calloc((size_t)desc->n, sizeof *host->sums);
  if (!host->planes || !host->sums) return no_memory(desc, error);
  const uint8_t *codes = is_codes ? desc->data : host->codes;
  apq__pack_planes(codes, is_codes ? ld : desc->k, desc->n, desc->k, desc->bits, host->planes,
                   host->sums);
  apq__free(host->codes); /* as large as the matrix: not kept through the upload */
  host->codes = NULL;
  return APQ_OK;
}

/* Copies to new device memory; a NULL source is left NULL. */
static apq_status upload_one(apq_context *context, const void *from, size_t bytes, void **to,
                             apq_error *error) {
  if (!from) return APQ_OK;
  apq__device *device = context->device;
  apq_status status = device->ops->alloc(device, bytes, to, error);
  if (!status) status = device->ops->to_device(device, *to, from, bytes, error);
  return status;
}

static apq_status upload(apq_weights *weights, const packed *host, apq_error *error) {
  const size_t row = (size_t)weights->n * 4;
  const void *const from[] = {host->planes, host->sums, host->scales, host->zeros};
  const size_t bytes[] = {(size_t)apq__planes_bytes(weights->n, weights->k, weights->bits), row,
                          row, row};
  void *to[] = {NULL, NULL, NULL, NULL};
  apq_status status = APQ_OK;
  for (int i = 0; i < 4 && !status; i++)
    status = upload_one(weights->context, from[i], bytes[i], &to[i], error);
  weights->planes = to[0];
  weights->w_sum = to[1];
  weights->w_scale = to[2];
  weights->w_zero = to[3];
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

  packed host = {0};
  apq_weights *weights = apq__calloc(1, sizeof *weights);
  if (!weights) {
    status = no_memory(desc, error);
    goto cleanup;
  }
  *weights = (apq_weights){.context = context,
                           .n = desc->n,
                           .k = desc->k,
                           .bits = desc->bits,
                           .groups = 1,
                           .format = desc->format,
                           .affine = apq__format_affine(desc->format, desc->bits)};
  status = pack(desc, &host, error);
  if (status) goto cleanup;
  weights->max_abs = apq__format_max_abs(desc->format, desc->bits, host.zeros, desc->n);
  status = upload(weights, &host, error);
  if (status) goto cleanup;
  *out = weights;

cleanup:
  packed_free(&host);
  if (status) apq_weights_destroy(weights);
  return status;
}

void apq_weights_destroy(apq_weights *weights) {
  if (!weights) return;
  void *const memory[] = {weights->planes, weights->w_sum, weights->w_scale, weights->w_zero};
  for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
    apq_device_free(weights->context, memory[i]);
  apq__free(weights);
}
