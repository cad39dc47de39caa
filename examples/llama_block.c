/* The seven products of a Llama-2-7B block on low-bit weights, chained as the model chains them:
 *
 *   q, k, v = x Wq, x Wk, x Wv     one launch: the matrices are joined, the results are columns
 *   h       = attention(q, k, v) Wo + x
 *   g, u    = h Wgate, h Wup              likewise
 *   y       = (silu(g) * u) Wdown + h     activated as it is quantized and packed
 *
 * fp16 in and out, activations quantized per token as part of each product; random weights.  In
 * place of attention stands q itself, read where it lies; RMS norms are left out.  On a GPU the
 * block is timed as a CUDA graph over layers that exceed the L2 cache, beside the same seven
 * products of fp16 weights by cuBLASLt, without activation and residual; `apq-tune --model
 * llama-2-7b` first makes it fast.  Without a GPU a small block runs on the emulated device and is
 * not timed.
 *
 *   llama_block [LAYERS [TOKENS [BITS]]]       such as: llama_block 4 1,2048 W2A2,W2A8
 *
 * The few functions of the CUDA driver and of cuBLASLt that are needed are declared here and loaded
 * at run time, so that building it takes no toolkit. */
#include <apq.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static apq_context *context;
static apq_error error = APQ_ERROR_INIT;

static void check(apq_status status) {
  if (status == APQ_OK) return;
  fprintf(stderr, "%s in %s: %s\n%s", apq_status_name(status), error.stage, error.message,
          error.log ? error.log : "");
  exit(1);
}

static void *device_memory(const void *from, size_t bytes) {
  void *to = NULL;
  check(apq_device_alloc(context, bytes, &to, &error));
  if (from) check(apq_copy_to_device(context, to, from, bytes, &error));
  return to;
}

/* ---- the block ---- */

typedef struct sizes {
  int hidden, inner;
} sizes;

/* Weights of one layer, four bits; fewer are the top planes of the same memory. */
typedef struct layer {
  apq_weights *qkv, *o, *gate_up, *down;
} layer;

/* The plans of a block in their order: q, k and v; o; gate and up; down. */
enum { PARTS = 4 };

typedef struct block {
  apq_weights *view[PARTS];
  apq_plan *qkv, *o, *gate_up, *down;
} block;

/* Values that stay about as large as the inputs: uniform codes of four bits have a spread of 4.6.
 */
static apq_weights *random_weights(int n, int k, const uint8_t *codes) {
  apq_weights *weights = NULL;
  float *scale = malloc((size_t)n * sizeof *scale);
  const float step = 0.2f / 4.6f;
  float root = 1;
  while (root * root < (float)k) root++;
  for (int i = 0; i < n; i++) scale[i] = step / root;
  const apq_weights_desc desc = {.n = n,
                                 .k = k,
                                 .bits = 4,
                                 .format = APQ_FORMAT_INT,
                                 .dtype = APQ_DTYPE_CODES8,
                                 .data = codes,
                                 .scale = scale};
  check(apq_weights_create(context, &desc, &weights, &error));
  free(scale);
  return weights;
}

/* `count` matrices as one. */
static apq_weights *joined_weights(int count, int n, int k, const uint8_t *codes) {
  apq_weights *part[3], *all = NULL;
  for (int i = 0; i < count; i++) part[i] = random_weights(n, k, codes + 16 * i);
  check(apq_weights_concat(context, (const apq_weights *const *)part, count, &all, &error));
  for (int i = 0; i < count; i++) apq_weights_destroy(part[i]);
  return all;
}

static layer make_layer(sizes s, const uint8_t *codes) {
  layer l = {0};
  l.qkv = joined_weights(3, s.hidden, s.hidden, codes);
  l.o = random_weights(s.hidden, s.hidden, codes + 48);
  l.gate_up = joined_weights(2, s.inner, s.hidden, codes + 64);
  l.down = random_weights(s.hidden, s.inner, codes + 96);
  return l;
}

static apq_plan *make_plan(apq_plan_desc desc, const apq_weights *weights, const int *m,
                           int count) {
  apq_plan *plan = NULL;
  desc.weights = weights;
  check(apq_plan_create(context, &desc, &plan, &error));
  check(apq_plan_prepare(plan, m, count, &error));
  return plan;
}

static block make_block(const layer *l, int weight_bits, int input_bits, const int *m, int count) {
  block b = {0};
  apq_weights *const whole[] = {l->qkv, l->o, l->gate_up, l->down};
  for (int i = 0; i < PARTS && weight_bits < 4; i++)
    check(apq_weights_view(whole[i], weight_bits, &b.view[i], &error));
  const apq_weights *w[PARTS];
  for (int i = 0; i < PARTS; i++) w[i] = weight_bits < 4 ? b.view[i] : whole[i];
  apq_plan_desc desc = {.bits = input_bits,
                        .format = APQ_FORMAT_INT,
                        .input = APQ_DTYPE_F16,
                        .output = APQ_DTYPE_F16};
  b.qkv = make_plan(desc, w[0], m, count);
  b.gate_up = make_plan(desc, w[2], m, count);
  desc.combine = APQ_COMBINE_ADD;
  b.o = make_plan(desc, w[1], m, count);
  desc.input_gate = APQ_ACTIVATION_SILU;
  b.down = make_plan(desc, w[3], m, count);
  return b;
}

static void destroy_block(block *b) {
  apq_plan *const plans[] = {b->qkv, b->o, b->gate_up, b->down};
  for (int i = 0; i < PARTS; i++) {
    apq_plan_destroy(plans[i]);
    apq_weights_destroy(b->view[i]);
  }
}

/* fp16, [m][columns] each; gu: g, then u. */
typedef struct buffers {
  void *x, *qkv, *h, *gu, *workspace;
  size_t workspace_bytes;
} buffers;

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

static buffers make_buffers(sizes s, const block *b, int m) {
  const size_t row = (size_t)m * 2;
  buffers u = {.workspace_bytes = larger(
                   larger(apq_plan_workspace(b->qkv, m), apq_plan_workspace(b->o, m)),
                   larger(apq_plan_workspace(b->gate_up, m), apq_plan_workspace(b->down, m)))};
  const size_t count = (size_t)m * (size_t)s.hidden;
  uint16_t *x = malloc(count * 2);
  /* From 0.5 to 2, half of them negative. */
  for (size_t i = 0; i < count; i++)
    x[i] = (uint16_t)(0x3800 + rand() % 0x800 + (rand() % 2 ? 0x8000 : 0));
  u.x = device_memory(x, count * 2);
  free(x);
  u.qkv = device_memory(NULL, row * 3 * (size_t)s.hidden);
  u.h = device_memory(NULL, row * (size_t)s.hidden);
  u.gu = device_memory(NULL, row * 2 * (size_t)s.inner);
  u.workspace = device_memory(NULL, u.workspace_bytes);
  return u;
}

static void free_buffers(buffers *u) {
  void *const memory[] = {u->x, u->qkv, u->h, u->gu, u->workspace};
  for (int i = 0; i < 5; i++) apq_device_free(context, memory[i]);
}

static void run_part(sizes s, const block *b, const buffers *u, int m, int part, void *stream) {
  const apq_output o = {u->h, 0, u->x, 0}, down = {u->x, 0, u->h, 0};
  const int64_t qkv_row = 3 * (int64_t)s.hidden;
  void *const w = u->workspace;
  const size_t bytes = u->workspace_bytes;
  if (part == 0) check(apq_plan_run(b->qkv, m, u->x, 0, u->qkv, 0, w, bytes, stream, &error));
  if (part == 1) check(apq_plan_run_all(b->o, m, u->qkv, qkv_row, &o, 1, w, bytes, stream, &error));
  if (part == 2) check(apq_plan_run(b->gate_up, m, u->h, 0, u->gu, 0, w, bytes, stream, &error));
  if (part == 3) check(apq_plan_run_all(b->down, m, u->gu, 0, &down, 1, w, bytes, stream, &error));
}

/* y replaces x, as the next block's input. */
static void run_block(sizes s, const block *b, const buffers *u, int m, void *stream) {
  for (int part = 0; part < PARTS; part++) run_part(s, b, u, m, part, stream);
}

/* ---- CUDA, as far as used ---- */

#define DRIVER(X)                                                                                  \
  X(cuDeviceGet, (int *, int))                                                                     \
  X(cuDevicePrimaryCtxRetain, (void **, int))                                                      \
  X(cuCtxSetCurrent, (void *))                                                                     \
  X(cuStreamCreate, (void **, unsigned))                                                           \
  X(cuStreamSynchronize, (void *))                                                                 \
  X(cuStreamBeginCapture_v2, (void *, int))                                                        \
  X(cuStreamEndCapture, (void *, void **))                                                         \
  X(cuGraphInstantiateWithFlags, (void **, void *, unsigned long long))                            \
  X(cuGraphLaunch, (void *, void *))                                                               \
  X(cuGraphExecDestroy, (void *))                                                                  \
  X(cuGraphDestroy, (void *))                                                                      \
  X(cuEventCreate, (void **, unsigned))                                                            \
  X(cuEventRecord, (void *, void *))                                                               \
  X(cuEventSynchronize, (void *))                                                                  \
  X(cuEventElapsedTime, (float *, void *, void *))

#define CUBLASLT(X)                                                                                \
  X(cublasLtCreate, (void **))                                                                     \
  X(cublasLtMatmulDescCreate, (void **, int, int))                                                 \
  X(cublasLtMatmulDescSetAttribute, (void *, int, const void *, size_t))                           \
  X(cublasLtMatrixLayoutCreate, (void **, int, uint64_t, uint64_t, int64_t))                       \
  X(cublasLtMatmulPreferenceCreate, (void **))                                                     \
  X(cublasLtMatmulPreferenceSetAttribute, (void *, int, const void *, size_t))                     \
  X(cublasLtMatmulAlgoGetHeuristic,                                                                \
    (void *, void *, void *, void *, void *, void *, void *, int, void *, int *))                  \
  X(cublasLtMatmul,                                                                                \
    (void *, void *, const void *, const void *, void *, const void *, void *, const void *,       \
     const void *, void *, void *, void *, const void *, void *, size_t, void *))

static struct {
#define FIELD(name, parameters) int(*name) parameters;
  DRIVER(FIELD) CUBLASLT(FIELD)
} cuda;

static int load_library(const char *const *names, const char *const *symbols, int count,
                        void **fields) {
  void *library = NULL;
  for (; *names && !library; names++) library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
  for (int i = 0; library && i < count; i++)
    if (!(fields[i] = dlsym(library, symbols[i]))) return 0;
  return library != NULL;
}

#define NAME(name, parameters) #name,
static const char *const symbols[] = {DRIVER(NAME) CUBLASLT(NAME)};
#define ONE(name, parameters) +1
enum { DRIVER_COUNT = DRIVER(ONE), CUBLASLT_COUNT = CUBLASLT(ONE), WORKSPACE = 64 << 20 };

static int load_driver(void) {
  static const char *const names[] = {"libcuda.so.1", NULL};
  return load_library(names, symbols, DRIVER_COUNT, (void **)&cuda);
}

static int load_cublaslt(void) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                      "/usr/local/cuda/lib64/libcublasLt.so", NULL};
  return load_library(names, symbols + DRIVER_COUNT, CUBLASLT_COUNT, (void **)&cuda + DRIVER_COUNT);
}

static void must(int result, const char *what) {
  if (!result) return;
  fprintf(stderr, "%s: error %d\n", what, result);
  exit(1);
}

/* Median seconds of what was captured into the stream since begin_capture, over a few replays. */
static void begin_capture(void *stream) {
  must(cuda.cuStreamBeginCapture_v2(stream, 1), "cuStreamBeginCapture");
}

static int compare_floats(const void *a, const void *b) {
  return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

static double end_capture(void *stream) {
  enum { REPLAYS = 15 };
  void *graph = NULL, *exec = NULL, *event[2];
  float ms[REPLAYS];
  must(cuda.cuStreamEndCapture(stream, &graph), "cuStreamEndCapture");
  must(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0), "cuGraphInstantiate");
  for (int i = 0; i < 2; i++) must(cuda.cuEventCreate(&event[i], 0), "cuEventCreate");
  for (int i = -3; i < REPLAYS; i++) {
    must(cuda.cuEventRecord(event[0], stream), "cuEventRecord");
    must(cuda.cuGraphLaunch(exec, stream), "cuGraphLaunch");
    must(cuda.cuEventRecord(event[1], stream), "cuEventRecord");
    must(cuda.cuEventSynchronize(event[1]), "a replay");
    if (i >= 0) must(cuda.cuEventElapsedTime(&ms[i], event[0], event[1]), "cuEventElapsedTime");
  }
  must(cuda.cuGraphExecDestroy(exec), "cuGraphExecDestroy");
  must(cuda.cuGraphDestroy(graph), "cuGraphDestroy");
  qsort(ms, REPLAYS, sizeof ms[0], compare_floats);
  return ms[REPLAYS / 2] * 1e-3;
}

/* ---- cuBLASLt ---- */

/* One fp16 product y[m][n] = a[m][k] w[n][k]^T. */
typedef struct rival {
  void *desc, *w, *a, *y;
  uint64_t algorithm[8];
} rival;

static rival make_rival(void *handle, int m, int n, int k) {
  enum { F32 = 0, F16 = 2, COMPUTE_F32 = 68, TRANSA = 3, MAX_WORKSPACE = 1, TRANSPOSED = 1 };
  struct { /* cublasLtMatmulHeuristicResult_t */
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
  } found = {0};
  const int transposed = TRANSPOSED;
  const size_t workspace = WORKSPACE;
  void *preference = NULL;
  int count = 0;
  rival r;
  must(cuda.cublasLtMatmulDescCreate(&r.desc, COMPUTE_F32, F32), "cublasLtMatmulDescCreate");
  must(cuda.cublasLtMatmulDescSetAttribute(r.desc, TRANSA, &transposed, sizeof transposed),
       "cublasLtMatmulDescSetAttribute");
  /* Columns of cuBLASLt are rows here. */
  const uint64_t rows = (uint64_t)m, columns = (uint64_t)n, depth = (uint64_t)k;
  must(cuda.cublasLtMatrixLayoutCreate(&r.w, F16, depth, columns, k), "a layout");
  must(cuda.cublasLtMatrixLayoutCreate(&r.a, F16, depth, rows, k), "a layout");
  must(cuda.cublasLtMatrixLayoutCreate(&r.y, F16, columns, rows, n), "a layout");
  must(cuda.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  must(cuda.cublasLtMatmulPreferenceSetAttribute(preference, MAX_WORKSPACE, &workspace,
                                                 sizeof workspace),
       "cublasLtMatmulPreferenceSetAttribute");
  must(cuda.cublasLtMatmulAlgoGetHeuristic(handle, r.desc, r.w, r.a, r.y, r.y, preference, 1,
                                           &found, &count),
       "cublasLtMatmulAlgoGetHeuristic");
  memcpy(r.algorithm, found.algorithm, sizeof r.algorithm);
  return r;
}

/* Seconds a layer for the same products, the matrices of q, k and v joined, in fp16. */
static double time_rival(sizes s, int m, int layers, void *stream) {
  enum { PRODUCTS = 5 };
  const int n[PRODUCTS] = {3 * s.hidden, s.hidden, s.inner, s.inner, s.hidden};
  const int k[PRODUCTS] = {s.hidden, s.hidden, s.hidden, s.hidden, s.inner};
  const float one = 1, zero = 0;
  void *handle = NULL, *w[PRODUCTS], *workspace = device_memory(NULL, WORKSPACE);
  rival r[PRODUCTS];
  must(cuda.cublasLtCreate(&handle), "cublasLtCreate");
  const size_t widest = 2 * (size_t)m * (size_t)(3 * s.hidden > s.inner ? 3 * s.hidden : s.inner);
  void *a = device_memory(NULL, widest), *y = device_memory(NULL, widest);
  for (int i = 0; i < PRODUCTS; i++) {
    const size_t bytes = (size_t)n[i] * (size_t)k[i] * 2;
    uint16_t *values = malloc(bytes);
    uint32_t seed = 1;
    for (size_t j = 0; j < bytes / 2; j++)
      values[j] = (uint16_t)(0x2000 + ((seed = seed * 1664525u + 1013904223u) >> 19));
    r[i] = make_rival(handle, m, n[i], k[i]);
    w[i] = device_memory(NULL, bytes * (size_t)layers);
    for (int l = 0; l < layers; l++)
      check(apq_copy_to_device(context, (char *)w[i] + bytes * (size_t)l, values, bytes, &error));
    if (i == 0)
      check(apq_copy_to_device(context, a, values, widest < bytes ? widest : bytes, &error));
    free(values);
  }
  begin_capture(stream);
  for (int l = 0; l < layers; l++)
    for (int i = 0; i < PRODUCTS; i++)
      must(cuda.cublasLtMatmul(handle, r[i].desc, &one,
                               (char *)w[i] + 2 * (size_t)n[i] * (size_t)k[i] * (size_t)l, r[i].w,
                               a, r[i].a, &zero, y, r[i].y, y, r[i].y, r[i].algorithm, workspace,
                               WORKSPACE, stream),
           "cublasLtMatmul");
  const double seconds = end_capture(stream) / layers;
  for (int i = 0; i < PRODUCTS; i++) apq_device_free(context, w[i]);
  void *const memory[] = {a, y, workspace};
  for (int i = 0; i < 3; i++) apq_device_free(context, memory[i]);
  return seconds;
}

/* ---- main ---- */

enum { LIST_MAX = 8, LAYERS_MAX = 32 };

/* What is timed: numbers of tokens, and bits of weights (at most four) and activations. */
static int counts[LIST_MAX] = {1, 16, 128, 2048}, count_count = 4;
static struct { int weight_bits, input_bits; } pairs[LIST_MAX] = {{2, 2}, {2, 8}, {4, 4}, {4, 8}};
static int pair_count = 4;

static int read_counts(const char *list) {
  for (count_count = 0; count_count < LIST_MAX; list++) {
    int length = 0;
    if (sscanf(list, "%d%n", &counts[count_count], &length) != 1 || counts[count_count] < 1)
      return 0;
    count_count++;
    list += length;
    if (*list != ',') return *list == 0;
  }
  return 0;
}

static int read_pairs(const char *list) {
  for (pair_count = 0; pair_count < LIST_MAX; list++) {
    int w = 0, a = 0, length = 0;
    if (sscanf(list, "W%1dA%1d%n", &w, &a, &length) != 2 || w < 1 || w > 4 || a < 1 || a > 8)
      return 0;
    pairs[pair_count].weight_bits = w;
    pairs[pair_count++].input_bits = a;
    list += length;
    if (*list != ',') return *list == 0;
  }
  return 0;
}

static void time_all(sizes s, const layer *layers, int layer_count) {
  void *cuda_context = NULL, *stream = NULL;
  int ordinal = 0;
  double rival_seconds[LIST_MAX] = {0};
  must(cuda.cuDeviceGet(&ordinal, 0), "cuDeviceGet");
  must(cuda.cuDevicePrimaryCtxRetain(&cuda_context, ordinal), "cuDevicePrimaryCtxRetain");
  must(cuda.cuCtxSetCurrent(cuda_context), "cuCtxSetCurrent");
  must(cuda.cuStreamCreate(&stream, 1), "cuStreamCreate");
  const int has_rival = load_cublaslt();
  for (int i = 0; has_rival && i < count_count; i++)
    rival_seconds[i] = time_rival(s, counts[i], layer_count, stream);
  if (!has_rival) printf("cuBLASLt was not found: no comparison\n");
  printf("%6s %6s %14s %18s %8s   %s\n", "M", "bits", "us a block", "cuBLASLt fp16 us", "ratio",
         "us apart: qkv, o, gate and up, down");
  for (int p = 0; p < pair_count; p++) {
    block blocks[LAYERS_MAX];
    for (int l = 0; l < layer_count; l++)
      blocks[l] =
          make_block(&layers[l], pairs[p].weight_bits, pairs[p].input_bits, counts, count_count);
    for (int i = 0; i < count_count; i++) {
      buffers u = make_buffers(s, &blocks[0], counts[i]);
      begin_capture(stream);
      for (int l = 0; l < layer_count; l++) run_block(s, &blocks[l], &u, counts[i], stream);
      const double seconds = end_capture(stream) / layer_count;
      printf("%6d   W%dA%d %14.1f %18.1f %8.2f  ", counts[i], pairs[p].weight_bits,
             pairs[p].input_bits, seconds * 1e6, rival_seconds[i] * 1e6,
             has_rival ? rival_seconds[i] / seconds : 0.0);
      for (int part = 0; part < PARTS; part++) {
        begin_capture(stream);
        for (int l = 0; l < layer_count; l++) run_part(s, &blocks[l], &u, counts[i], part, stream);
        printf(" %.1f", end_capture(stream) / layer_count * 1e6);
      }
      printf("\n");
      free_buffers(&u);
    }
    for (int l = 0; l < layer_count; l++) destroy_block(&blocks[l]);
  }
}

int main(int argc, char **argv) {
  int layer_count = argc > 1 ? atoi(argv[1]) : 4;
  if (layer_count < 1 || layer_count > LAYERS_MAX || (argc > 2 && !read_counts(argv[2])) ||
      (argc > 3 && !read_pairs(argv[3]))) {
    fprintf(stderr,
            "usage: llama_block [LAYERS [TOKENS [BITS]]]: at most %d layers, %d of each list\n",
            LAYERS_MAX, LIST_MAX);
    return 2;
  }
  char text[2048];
  check(apq_context_open(NULL, &context, &error));
  apq_context_describe(context, text, sizeof text);
  printf("%s\n", text);
  const int is_emulated = strstr(text, "emulated on the CPU") != NULL;
  const sizes s = is_emulated ? (sizes){64, 176} : (sizes){4096, 11008};
  if (is_emulated) layer_count = 1;
  if (!is_emulated && !load_driver()) {
    fprintf(stderr, "libcuda.so.1 lacks something that is needed\n");
    return 1;
  }

  const size_t code_count = (size_t)s.hidden * (size_t)s.inner + 128;
  uint8_t *codes = malloc(code_count);
  uint32_t seed = 7;
  for (size_t i = 0; i < code_count; i++)
    codes[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 28);
  layer layers[LAYERS_MAX];
  for (int l = 0; l < layer_count; l++) layers[l] = make_layer(s, codes);
  free(codes);

  /* Once outside of any graph, the results looked at. */
  block b = make_block(&layers[0], 2, 8, (const int[]){1}, 1);
  buffers u = make_buffers(s, &b, 1);
  uint16_t y[8];
  run_block(s, &b, &u, 1, NULL);
  check(apq_synchronize(context, NULL, &error));
  check(apq_copy_to_host(context, y, u.x, sizeof y, &error));
  int finite = 0;
  for (int i = 0; i < 8; i++) finite += (y[i] & 0x7c00) != 0x7c00;
  printf("one block, W2A8, one token: %d of the first 8 results are finite\n\n", finite);
  if (!is_emulated) time_all(s, layers, layer_count);
  free_buffers(&u);
  destroy_block(&b);
  for (int l = 0; l < layer_count; l++) {
    apq_weights *const all[] = {layers[l].qkv, layers[l].o, layers[l].gate_up, layers[l].down};
    for (int i = 0; i < PARTS; i++) apq_weights_destroy(all[i]);
  }
  apq_context_close(context);
  return finite == 8 ? 0 : 1;
}
