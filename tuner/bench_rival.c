#include "bench_rival.h"

#include <math.h>
#include <string.h>

#include "alloc.h"
#include "format.h"
#include "host.h"
#include "status.h"

enum { SAMPLED = 8 }; /* rows and columns whose results are checked */

/* ---- element types ---- */

/* e4m3: sign, four bits of exponent with bias 7, three of mantissa; no infinities. */
static double e4m3_value(uint8_t bits) {
  int exponent = bits >> 3 & 15, mantissa = bits & 7;
  double magnitude = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
  return bits & 0x80 ? -magnitude : magnitude;
}

static double element(apq__cublaslt_kind kind, const void *data, int64_t i) {
  switch (kind) {
  case APQ__CUBLASLT_F16:
    return apq__float_from_half(((const uint16_t *)data)[i]);
  case APQ__CUBLASLT_I8:
    return ((const int8_t *)data)[i];
  default:
    return e4m3_value(((const uint8_t *)data)[i]);
  }
}

/* Random bits with exponents that keep values between 1/8 and 2: the multipliers see full
 * mantissas, the sums stay finite. */
static void fill_random(apq__cublaslt_kind kind, void *data, size_t bytes, uint64_t *seed) {
  unsigned char *at = data;
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word = apq__random(seed);
    if (kind == APQ__CUBLASLT_F16)
      word = (word & 0x8fff8fff8fff8fffull) | 0x3000300030003000ull;
    else if (kind == APQ__CUBLASLT_E4M3)
      word = (word & 0x9f9f9f9f9f9f9f9full) | 0x2020202020202020ull;
    memcpy(at + i, &word, bytes - i < 8 ? bytes - i : 8);
  }
}

/* ---- operands ---- */

typedef struct operand {
  void *host;
  size_t bytes;
} operand;

static apq_status upload_sets(apq__rival *rival, const operand *from, void **to, apq_error *error) {
  const apq__device_ops *ops = rival->device->ops;
  apq_status status = APQ_OK;
  for (int i = 0; i < rival->sets && status == APQ_OK; i++) {
    status = ops->alloc(rival->device, from->bytes, &to[i], error);
    if (status == APQ_OK && from->host)
      status = ops->to_device(rival->device, to[i], from->host, from->bytes, error);
  }
  return status;
}

/* Results at a few rows and columns against sums in double. */
static apq_status check_results(const apq__rival *rival, const apq__problem *problem,
                                const operand *a, const operand *w, size_t y_bytes,
                                apq_error *error) {
  const apq__device_ops *ops = rival->device->ops;
  void *y = apq__alloc(y_bytes);
  if (!y) return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for results");
  apq_status status = apq__rival_launch((void *)rival, 0, NULL, error);
  if (status == APQ_OK) status = ops->synchronize(rival->device, NULL, error);
  if (status == APQ_OK) status = ops->to_host(rival->device, y, rival->y[0], y_bytes, error);
  int is_exact = rival->kind == APQ__CUBLASLT_I8;
  for (int i = 0; i < SAMPLED * SAMPLED && status == APQ_OK; i++) {
    int64_t m = (int64_t)(i / SAMPLED) * (problem->m - 1) / (SAMPLED - 1);
    int64_t n = (int64_t)(i % SAMPLED) * (problem->n - 1) / (SAMPLED - 1);
    double sum = 0, size = 0;
    for (int64_t k = 0; k < problem->k; k++) {
      double product = element(rival->kind, a->host, m * problem->k + k) *
                       element(rival->kind, w->host, n * problem->k + k);
      sum += product;
      size += fabs(product);
    }
    int64_t at = m * problem->n + n;
    double got = is_exact ? (double)((const int32_t *)y)[at]
                          : (double)apq__float_from_half(((const uint16_t *)y)[at]);
    /* Half an ulp of the fp16 result, and what the sums lose: fp8 products are summed with 13 bits.
     */
    double allowed = is_exact ? 0 : fabs(sum) / 1024 + size / 4096;
    if (!(fabs(got - sum) <= allowed))
      status =
          apq__fail(error, APQ_MISMATCH, "verify", "cuBLASLt %s: y[%lld][%lld] is %g, expected %g",
                    apq__cublaslt_kind_name(rival->kind), (long long)m, (long long)n, got, sum);
  }
  apq__free(y);
  return status;
}

apq_status apq__rival_make(apq__device *device, apq__cublaslt_kind kind,
                           const apq__problem *problem, uint64_t seed, apq__rival *out,
                           apq_error *error) {
  size_t m = (size_t)problem->m, n = (size_t)problem->n, k = (size_t)problem->k;
  size_t width = apq__cublaslt_operand_bytes(kind);
  operand a = {NULL, m * k * width}, w = {NULL, n * k * width};
  operand y = {NULL, m * n * apq__cublaslt_result_bytes(kind)};
  *out = (apq__rival){.device = device, .kind = kind};
  apq_status status =
      apq__cublaslt_create(device, kind, problem->m, problem->n, problem->k, &out->product, error);
  if (status != APQ_OK) return status;
  out->sets = apq__rotation_count(&device->target, a.bytes + w.bytes + y.bytes);
  a.host = apq__alloc(a.bytes);
  w.host = apq__alloc(w.bytes);
  if (!a.host || !w.host) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for cuBLASLt's operands");
    goto cleanup;
  }
  fill_random(kind, a.host, a.bytes, &seed);
  fill_random(kind, w.host, w.bytes, &seed);
  status = upload_sets(out, &a, out->a, error);
  if (status == APQ_OK) status = upload_sets(out, &w, out->w, error);
  if (status == APQ_OK) status = upload_sets(out, &y, out->y, error);
  size_t workspace = apq__cublaslt_workspace(out->product);
  if (status == APQ_OK && workspace > 0)
    status = device->ops->alloc(device, workspace, &out->workspace, error);
  if (status == APQ_OK)
    status = apq__cublaslt_pick(out->product, out->a[0], out->w[0], out->y[0], out->workspace, NULL,
                                &out->algorithm, error);
  if (status == APQ_OK) status = check_results(out, problem, &a, &w, y.bytes, error);
cleanup:
  apq__free(a.host);
  apq__free(w.host);
  if (status != APQ_OK) apq__rival_free(out);
  return status;
}

void apq__rival_free(apq__rival *rival) {
  if (!rival || !rival->device) return;
  const apq__device_ops *ops = rival->device->ops;
  for (int i = 0; i < rival->sets; i++) {
    void *blocks[] = {rival->a[i], rival->w[i], rival->y[i]};
    for (size_t j = 0; j < sizeof blocks / sizeof blocks[0]; j++)
      if (blocks[j]) ops->release(rival->device, blocks[j]);
  }
  if (rival->workspace) ops->release(rival->device, rival->workspace);
  apq__cublaslt_destroy(rival->product);
  *rival = (apq__rival){0};
}

apq_status apq__rival_launch(void *user, int set, void *stream, apq_error *error) {
  apq__rival *rival = user;
  return apq__cublaslt_run(rival->product, rival->algorithm, rival->a[set], rival->w[set],
                           rival->y[set], rival->workspace, stream, error);
}
