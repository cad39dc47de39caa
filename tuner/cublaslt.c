#include "cublaslt.h"

#include "status.h"

static const struct {
  const char *name;
  size_t operand_bytes, result_bytes;
} kinds[APQ__CUBLASLT_KIND_COUNT] = {{"fp16", 2, 2}, {"int8", 1, 4}, {"fp8", 1, 2}};

const char *apq__cublaslt_kind_name(apq__cublaslt_kind kind) {
  return (unsigned)kind < APQ__CUBLASLT_KIND_COUNT ? kinds[kind].name : "?";
}

size_t apq__cublaslt_operand_bytes(apq__cublaslt_kind kind) {
  return (unsigned)kind < APQ__CUBLASLT_KIND_COUNT ? kinds[kind].operand_bytes : 0;
}

size_t apq__cublaslt_result_bytes(apq__cublaslt_kind kind) {
  return (unsigned)kind < APQ__CUBLASLT_KIND_COUNT ? kinds[kind].result_bytes : 0;
}

#if defined(APQ_HAVE_CUDA) && defined(__has_include)
#if __has_include(<cublasLt.h>)
#define HAVE_CUBLASLT 1
#endif
#endif

#ifdef HAVE_CUBLASLT

#include <cublasLt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "alloc.h"
#include "device_scope.h"
#include "library.h"

enum {
  ALGORITHMS_MAX = 8,
  WORKSPACE_MAX = 64 << 20, /* twice what the vendor recommends for Hopper */
  PICK_ROUNDS = 5,
  PICK_RUNS = 4, /* products between two events */
};

#define FUNCTIONS(X)                                                                               \
  X(cublasLtGetVersion)                                                                            \
  X(cublasLtGetStatusName)                                                                         \
  X(cublasLtCreate)                                                                                \
  X(cublasLtDestroy)                                                                               \
  X(cublasLtMatmul)                                                                                \
  X(cublasLtMatmulAlgoGetHeuristic)                                                                \
  X(cublasLtMatmulDescCreate)                                                                      \
  X(cublasLtMatmulDescDestroy)                                                                     \
  X(cublasLtMatmulDescSetAttribute)                                                                \
  X(cublasLtMatrixLayoutCreate)                                                                    \
  X(cublasLtMatrixLayoutDestroy)                                                                   \
  X(cublasLtMatmulPreferenceCreate)                                                                \
  X(cublasLtMatmulPreferenceDestroy)                                                               \
  X(cublasLtMatmulPreferenceSetAttribute)

static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                    "/usr/local/cuda/lib64/libcublasLt.so", NULL};
static const char *const symbols[] = {
#define SYMBOL(name) #name,
    FUNCTIONS(SYMBOL)
#undef SYMBOL
        NULL};
static const apq__library_desc library = {
    .what = "cuBLASLt",
    .hint = "it comes with the CUDA toolkit",
    .variable = APQ__VAR_CUBLASLT,
    .names = names,
    .symbols = symbols,
    .status = APQ_NOT_FOUND,
    .stage = "cublaslt",
};

/* Written once under `once`, read ever after. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
  struct {
#define FIELD(name) __typeof__(&(name)) name;
    FUNCTIONS(FIELD)
#undef FIELD
  } call;
  apq_error failure; /* never holds a log */
} loaded;

static void load(void) {
  apq__library_load(&library, &loaded.call, &loaded.failure);
}

static apq_status get_library(apq_error *error) {
  pthread_once(&once, load);
  if (!loaded.failure.status) return APQ_OK;
  return apq__fail(error, loaded.failure.status, "cublaslt", "%s", loaded.failure.message);
}

apq_status apq__cublaslt_version(char *text, size_t size, apq_error *error) {
  apq_status status = get_library(error);
  if (status) return status;
  size_t version = loaded.call.cublasLtGetVersion();
  /* 130100 is 13.1.0. */
  snprintf(text, size, "cublaslt %zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
  return APQ_OK;
}

struct apq__cublaslt {
  apq__device *device;
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t product;
  cublasLtMatrixLayout_t w, a, y;
  cublasLtMatmulHeuristicResult_t algorithm[ALGORITHMS_MAX];
  int count;
  int is_integer;
};

/* The calls are well-formed, so what cuBLASLt calls invalid is a shape, type or GPU that it does
 * not take. */
static apq_status meaning_of(cublasStatus_t result) {
  switch (result) {
  case CUBLAS_STATUS_NOT_SUPPORTED:
  case CUBLAS_STATUS_ARCH_MISMATCH:
  case CUBLAS_STATUS_INVALID_VALUE:
    return APQ_UNSUPPORTED;
  case CUBLAS_STATUS_ALLOC_FAILED:
    return APQ_OUT_OF_MEMORY;
  default:
    return APQ_DEVICE;
  }
}

static apq_status check(cublasStatus_t result, const char *call, apq_error *error) {
  if (result == CUBLAS_STATUS_SUCCESS) return APQ_OK;
  return apq__fail(error, meaning_of(result), "cublaslt", "%s: %s", call,
                   loaded.call.cublasLtGetStatusName(result));
}
#define CALL(error, name, ...) check(loaded.call.name(__VA_ARGS__), #name, (error))

/* Types by kind. */
static const struct {
  cudaDataType_t operand, result, scale;
  cublasComputeType_t compute;
  int8_t fast_accumulation;
} types[APQ__CUBLASLT_KIND_COUNT] = {
    {CUDA_R_16F, CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 0},
    {CUDA_R_8I, CUDA_R_32I, CUDA_R_32I, CUBLAS_COMPUTE_32I, 0},
    {CUDA_R_8F_E4M3, CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 1},
};

/* cuBLASLt is column-major: a row-major y[m][n] is its n x m matrix, w[n][k] its k x n matrix to be
 * transposed, a[m][k] its k x m matrix. */
static apq_status describe(apq__cublaslt *product, apq__cublaslt_kind kind, int m, int n, int k,
                           apq_error *error) {
  const int32_t transposed = CUBLAS_OP_T;
  const uint64_t rows_n = (uint64_t)n, rows_k = (uint64_t)k, columns_m = (uint64_t)m;
  apq_status status = CALL(error, cublasLtMatmulDescCreate, &product->product, types[kind].compute,
                           types[kind].scale);
  if (!status)
    status = CALL(error, cublasLtMatmulDescSetAttribute, product->product,
                  CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
  if (!status && types[kind].fast_accumulation)
    status = CALL(error, cublasLtMatmulDescSetAttribute, product->product,
                  CUBLASLT_MATMUL_DESC_FAST_ACCUM, &types[kind].fast_accumulation,
                  sizeof types[kind].fast_accumulation);
  if (!status)
    status = CALL(error, cublasLtMatrixLayoutCreate, &product->w, types[kind].operand, rows_k,
                  rows_n, k);
  if (!status)
    status = CALL(error, cublasLtMatrixLayoutCreate, &product->a, types[kind].operand, rows_k,
                  columns_m, k);
  if (!status)
    status = CALL(error, cublasLtMatrixLayoutCreate, &product->y, types[kind].result, rows_n,
                  columns_m, n);
  return status;
}

static apq_status find_algorithms(apq__cublaslt *product, apq_error *error) {
  const uint64_t workspace = WORKSPACE_MAX;
  cublasLtMatmulPreference_t preference = NULL;
  int found = 0;
  apq_status status = CALL(error, cublasLtMatmulPreferenceCreate, &preference);
  if (status) return status;
  status = CALL(error, cublasLtMatmulPreferenceSetAttribute, preference,
                CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
  if (!status)
    status = CALL(error, cublasLtMatmulAlgoGetHeuristic, product->handle, product->product,
                  product->w, product->a, product->y, product->y, preference, ALGORITHMS_MAX,
                  product->algorithm, &found);
  for (int i = 0; !status && i < found; i++)
    if (product->algorithm[i].state == CUBLAS_STATUS_SUCCESS)
      product->algorithm[product->count++] = product->algorithm[i];
  (void)loaded.call.cublasLtMatmulPreferenceDestroy(preference);
  if (!status && product->count == 0)
    status = apq__fail(error, APQ_UNSUPPORTED, "cublaslt", "cuBLASLt proposes no algorithm");
  return status;
}

apq_status apq__cublaslt_create(apq__device *device, apq__cublaslt_kind kind, int m, int n, int k,
                                apq__cublaslt **out, apq_error *error) {
  *out = NULL;
  if ((unsigned)kind >= APQ__CUBLASLT_KIND_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "cublaslt", "no kind %d", (int)kind);
  if (device->target.emulated)
    return apq__fail(error, APQ_UNSUPPORTED, "cublaslt",
                     "cuBLASLt runs on CUDA devices only, not on %s", device->target.name);
  apq_status status = get_library(error);
  if (status) return status;
  apq__cublaslt *product = apq__calloc(1, sizeof *product);
  if (!product) return apq__fail(error, APQ_OUT_OF_MEMORY, "cublaslt", "a product");
  product->device = device;
  product->is_integer = types[kind].compute == CUBLAS_COMPUTE_32I;
  apq__cuda_scope scope;
  status = apq__cuda_enter(device, &scope, error);
  if (!status) status = CALL(error, cublasLtCreate, &product->handle);
  if (!status) status = describe(product, kind, m, n, k, error);
  if (!status) status = find_algorithms(product, error);
  apq__cuda_leave(&scope);
  if (status) {
    apq__error_prefix(error, "%s m=%d n=%d k=%d", kinds[kind].name, m, n, k);
    apq__cublaslt_destroy(product);
    return status;
  }
  *out = product;
  return APQ_OK;
}

void apq__cublaslt_destroy(apq__cublaslt *product) {
  if (!product) return;
  apq__cuda_scope scope;
  apq_status entered = apq__cuda_enter(product->device, &scope, NULL);
  if (!entered) {
    if (product->y) (void)loaded.call.cublasLtMatrixLayoutDestroy(product->y);
    if (product->a) (void)loaded.call.cublasLtMatrixLayoutDestroy(product->a);
    if (product->w) (void)loaded.call.cublasLtMatrixLayoutDestroy(product->w);
    if (product->product) (void)loaded.call.cublasLtMatmulDescDestroy(product->product);
    if (product->handle) (void)loaded.call.cublasLtDestroy(product->handle);
  }
  apq__cuda_leave(&scope);
  apq__free(product);
}

int apq__cublaslt_count(const apq__cublaslt *product) {
  return product->count;
}

size_t apq__cublaslt_workspace(const apq__cublaslt *product) {
  size_t bytes = 0;
  for (int i = 0; i < product->count; i++)
    if (product->algorithm[i].workspaceSize > bytes) bytes = product->algorithm[i].workspaceSize;
  return bytes;
}

apq_status apq__cublaslt_run(const apq__cublaslt *product, int algorithm, const void *a,
                             const void *w, void *y, void *workspace, void *stream,
                             apq_error *error) {
  static const float one = 1.0f, none = 0.0f;
  static const int32_t one_integer = 1, no_integer = 0;
  if (algorithm < 0 || algorithm >= product->count)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "cublaslt", "no algorithm %d: there are %d",
                     algorithm, product->count);
  const cublasLtMatmulHeuristicResult_t *chosen = &product->algorithm[algorithm];
  const void *alpha = product->is_integer ? (const void *)&one_integer : (const void *)&one;
  const void *beta = product->is_integer ? (const void *)&no_integer : (const void *)&none;
  apq__cuda_scope scope;
  apq_status status = apq__cuda_enter(product->device, &scope, error);
  if (!status)
    status = CALL(error, cublasLtMatmul, product->handle, product->product, alpha, w, product->w, a,
                  product->a, beta, y, product->y, y, product->y, &chosen->algo, workspace,
                  chosen->workspaceSize, stream);
  apq__cuda_leave(&scope);
  return status;
}

/* Seconds of PICK_RUNS products. */
static apq_status time_once(const apq__cublaslt *product, int algorithm, const void *a,
                            const void *w, void *y, void *workspace, void *stream,
                            apq__event *const event[2], double *seconds, apq_error *error) {
  apq__device *device = product->device;
  apq_status status = device->ops->event_record(device, event[0], stream, error);
  for (int i = 0; !status && i < PICK_RUNS; i++)
    status = apq__cublaslt_run(product, algorithm, a, w, y, workspace, stream, error);
  if (!status) status = device->ops->event_record(device, event[1], stream, error);
  if (!status) status = device->ops->event_seconds(device, event[0], event[1], seconds, error);
  return status;
}

static int compare_seconds(const void *left, const void *right) {
  double l = *(const double *)left, r = *(const double *)right;
  return (l > r) - (l < r);
}

apq_status apq__cublaslt_pick(const apq__cublaslt *product, const void *a, const void *w, void *y,
                              void *workspace, void *stream, int *algorithm, apq_error *error) {
  apq__device *device = product->device;
  apq__event *event[2] = {NULL, NULL};
  double seconds[ALGORITHMS_MAX][PICK_ROUNDS] = {{0}};
  apq_status failed[ALGORITHMS_MAX] = {APQ_OK}, last = APQ_OK;
  apq_status status = device->ops->event_create(device, &event[0], error);
  if (!status) status = device->ops->event_create(device, &event[1], error);
  if (status) goto cleanup;
  /* Round -1 warms up: it loads the kernels. */
  for (int round = -1; round < PICK_ROUNDS; round++) {
    for (int i = 0; i < product->count; i++) {
      double elapsed = 0;
      if (failed[i]) continue;
      failed[i] = time_once(product, i, a, w, y, workspace, stream, event, &elapsed, error);
      if (failed[i]) last = failed[i];
      if (round >= 0) seconds[i][round] = elapsed;
    }
  }
  int best = -1;
  for (int i = 0; i < product->count; i++) {
    if (failed[i]) continue;
    qsort(seconds[i], PICK_ROUNDS, sizeof seconds[i][0], compare_seconds);
    if (best < 0 || seconds[i][PICK_ROUNDS / 2] < seconds[best][PICK_ROUNDS / 2]) best = i;
  }
  if (best < 0)
    status = last;
  else
    *algorithm = best;
cleanup:
  device->ops->event_destroy(device, event[0]);
  device->ops->event_destroy(device, event[1]);
  return status;
}

#else

static apq_status not_built(apq_error *error) {
  return apq__fail(error, APQ_UNSUPPORTED, "cublaslt",
                   "built without the CUDA toolkit's cublasLt.h: no comparison with cuBLASLt");
}

apq_status apq__cublaslt_version(char *text, size_t size, apq_error *error) {
  if (size) text[0] = 0;
  return not_built(error);
}

apq_status apq__cublaslt_create(apq__device *device, apq__cublaslt_kind kind, int m, int n, int k,
                                apq__cublaslt **out, apq_error *error) {
  (void)device, (void)kind, (void)m, (void)n, (void)k;
  *out = NULL;
  return not_built(error);
}

/* No product exists, so nobody calls these with one. */
void apq__cublaslt_destroy(apq__cublaslt *product) {
  (void)product;
}

int apq__cublaslt_count(const apq__cublaslt *product) {
  (void)product;
  return 0;
}

size_t apq__cublaslt_workspace(const apq__cublaslt *product) {
  (void)product;
  return 0;
}

apq_status apq__cublaslt_run(const apq__cublaslt *product, int algorithm, const void *a,
                             const void *w, void *y, void *workspace, void *stream,
                             apq_error *error) {
  (void)product, (void)algorithm, (void)a, (void)w, (void)y, (void)workspace, (void)stream;
  return not_built(error);
}

apq_status apq__cublaslt_pick(const apq__cublaslt *product, const void *a, const void *w, void *y,
                              void *workspace, void *stream, int *algorithm, apq_error *error) {
  (void)product, (void)a, (void)w, (void)y, (void)workspace, (void)stream, (void)algorithm;
  return not_built(error);
}

#endif
