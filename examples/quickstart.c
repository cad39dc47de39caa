/* A 2-bit weight matrix times 8-bit activations, twice: ready codes to exact integers, and floats
 * to floats. Runs on the first GPU, or, where there is none, on the emulated device. */
#include <apq.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 5, N = 48, K = 200, WEIGHT_BITS = 2, INPUT_BITS = 8 };

static apq_context *context;
static apq_error error = APQ_ERROR_INIT;

static void check(apq_status status) {
  if (status == APQ_OK) return;
  fprintf(stderr, "%s in %s: %s\n", apq_status_name(status), error.stage, error.message);
  exit(1);
}

static void *device_copy(const void *from, size_t bytes) {
  void *to = NULL;
  check(apq_device_alloc(context, bytes, &to, &error));
  if (from) check(apq_copy_to_device(context, to, from, bytes, &error));
  return to;
}

/* y[M][N] = x[M][K] * weights, for one kind of input and output; both element sizes are in bytes.
 */
static void multiply(const apq_plan_desc *desc, const void *x, size_t x_bytes, void *y) {
  apq_plan *plan = NULL;
  const int m = M; /* a plan serves the token counts it was prepared for */
  check(apq_plan_create(context, desc, &plan, &error));
  check(apq_plan_prepare(plan, &m, 1, &error));
  size_t workspace_bytes = apq_plan_workspace(plan, m);
  void *workspace = device_copy(NULL, workspace_bytes);
  void *x_device = device_copy(x, (size_t)M * K * x_bytes);
  void *y_device = device_copy(NULL, (size_t)M * N * 4);
  check(apq_plan_run(plan, m, x_device, 0, y_device, 0, workspace, workspace_bytes, NULL, &error));
  check(apq_synchronize(context, NULL, &error));
  check(apq_copy_to_host(context, y, y_device, (size_t)M * N * 4, &error));

  char text[4096];
  apq_plan_explain(plan, m, text, sizeof text);
  printf("%s\n", text);
  apq_device_free(context, workspace);
  apq_device_free(context, x_device);
  apq_device_free(context, y_device);
  apq_plan_destroy(plan);
}

int main(void) {
  static uint8_t w[N][K], a[M][K]; /* codes: w stands for -2 .. 1, a for -128 .. 127 */
  static float x[M][K], scale[N];
  static int32_t exact[M][N];
  static float result[M][N];
  for (int n = 0; n < N; n++) scale[n] = 0.01f * (float)(n + 1);
  for (int i = 0; i < N * K; i++) w[i / K][i % K] = (uint8_t)(rand() & 3);
  for (int i = 0; i < M * K; i++) a[i / K][i % K] = (uint8_t)(rand() & 255);
  for (int i = 0; i < M * K; i++) x[i / K][i % K] = (float)rand() / (float)RAND_MAX - 0.5f;

  check(apq_context_open(NULL, &context, &error));
  apq_weights *weights = NULL;
  const apq_weights_desc matrix = {.n = N,
                                   .k = K,
                                   .bits = WEIGHT_BITS,
                                   .format = APQ_FORMAT_INT,
                                   .dtype = APQ_DTYPE_CODES8,
                                   .data = w,
                                   .scale = scale};
  check(apq_weights_create(context, &matrix, &weights, &error));
  apq_plan_desc desc = {.weights = weights,
                        .bits = INPUT_BITS,
                        .format = APQ_FORMAT_INT,
                        .input = APQ_DTYPE_CODES8,
                        .output = APQ_DTYPE_I32};
  multiply(&desc, a, 1, exact);
  desc.input = APQ_DTYPE_F32; /* quantized to 8 bits, a scale per token, as part of the run */
  desc.output = APQ_DTYPE_F32;
  multiply(&desc, x, sizeof(float), result);

  int wrong = 0;
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      int32_t sum = 0;
      float product = 0, most = 0;
      for (int k = 0; k < K; k++) {
        sum += (a[m][k] - 128) * (w[n][k] - 2);
        product += x[m][k] * scale[n] * (float)(w[n][k] - 2);
        most = fmaxf(most, fabsf(x[m][k]));
      }
      /* Each x is rounded by at most half a step, and |w| is at most 2 scales. */
      float bound = (float)K * 2 * scale[n] * most / 127 / 2 + 1e-4f;
      wrong += sum != exact[m][n] || !(fabsf(product - result[m][n]) <= bound);
    }
  printf("%d of %d results differ from the plain loops\n", wrong, M * N);
  apq_weights_destroy(weights);
  apq_context_close(context);
  return wrong ? 1 : 0;
}
