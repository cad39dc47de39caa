/* cuBLASLt as the product to compare with: every kind equals a product in integers, and one
 * algorithm is the fastest. */
#include "gpu_support.h"

#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "cublaslt.h"
#include "format.h"
#include "host.h"

#ifndef APQ_HAVE_CUDA

int main(void) {
  (void)open_gpu();
  return SKIPPED;
}

#else

enum { M = 48, N = 80, K = 256, LIMIT = 2 };
#define RESULTS ((size_t)M * N)

static apq__device *device;

/* Values from -2 to 2: exact in every type, and so are their sums, which stay below 2048. */
static void encode(apq__cublaslt_kind kind, int value, void *to, size_t i) {
  static const uint8_t e4m3[] = {0x00, 0x38, 0x40}; /* 0, 1, 2; the sign is the top bit */
  if (kind == APQ__CUBLASLT_F16)
    ((uint16_t *)to)[i] = apq__half_from_float((float)value);
  else if (kind == APQ__CUBLASLT_I8)
    ((int8_t *)to)[i] = (int8_t)value;
  else
    ((uint8_t *)to)[i] = (uint8_t)(value < 0 ? e4m3[-value] | 0x80 : e4m3[value]);
}

static int decode(apq__cublaslt_kind kind, const void *from, size_t i) {
  if (kind == APQ__CUBLASLT_I8) return ((const int32_t *)from)[i];
  return (int)apq__float_from_half(((const uint16_t *)from)[i]);
}

typedef struct operands {
  int a[M * K], w[N * K];
  void *dev_a, *dev_w, *dev_y, *workspace;
} operands;

static void *upload(apq__cublaslt_kind kind, const int *values, size_t count) {
  apq_error error = APQ_ERROR_INIT;
  size_t bytes = count * apq__cublaslt_operand_bytes(kind);
  void *host = apq__alloc(bytes), *memory = NULL;
  for (size_t i = 0; i < count; i++) encode(kind, values[i], host, i);
  assert_ok(device->ops->alloc(device, bytes, &memory, &error), &error);
  assert_ok(device->ops->to_device(device, memory, host, bytes, &error), &error);
  apq__free(host);
  return memory;
}

static operands *make_operands(apq__cublaslt_kind kind, size_t workspace_bytes) {
  apq_error error = APQ_ERROR_INIT;
  uint64_t seed = 17;
  operands *o = apq__calloc(1, sizeof *o);
  for (size_t i = 0; i < M * K; i++) o->a[i] = (int)(apq__random(&seed) % (2 * LIMIT + 1)) - LIMIT;
  for (size_t i = 0; i < N * K; i++) o->w[i] = (int)(apq__random(&seed) % (2 * LIMIT + 1)) - LIMIT;
  o->dev_a = upload(kind, o->a, M * K);
  o->dev_w = upload(kind, o->w, N * K);
  assert_ok(
      device->ops->alloc(device, RESULTS * apq__cublaslt_result_bytes(kind), &o->dev_y, &error),
      &error);
  assert_ok(device->ops->alloc(device, workspace_bytes, &o->workspace, &error), &error);
  return o;
}

static void free_operands(operands *o) {
  device->ops->release(device, o->dev_a);
  device->ops->release(device, o->dev_w);
  device->ops->release(device, o->dev_y);
  device->ops->release(device, o->workspace);
  apq__free(o);
}

static void assert_product(apq__cublaslt_kind kind, const operands *o) {
  apq_error error = APQ_ERROR_INIT;
  size_t bytes = RESULTS * apq__cublaslt_result_bytes(kind);
  void *y = apq__alloc(bytes);
  assert_ok(device->ops->to_host(device, y, o->dev_y, bytes, &error), &error);
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      int sum = 0, got = decode(kind, y, (size_t)m * N + (size_t)n);
      for (int k = 0; k < K; k++) sum += o->a[m * K + k] * o->w[n * K + k];
      if (got != sum)
        fail_msg("%s y[%d][%d] is %d, not %d", apq__cublaslt_kind_name(kind), m, n, got, sum);
    }
  apq__free(y);
}

static void check_kind(apq__cublaslt_kind kind) {
  apq_error error = APQ_ERROR_INIT;
  apq__cublaslt *product = NULL;
  apq_status status = apq__cublaslt_create(device, kind, M, N, K, &product, &error);
  if (status == APQ_UNSUPPORTED && kind == APQ__CUBLASLT_E4M3 && device->target.cc < 89) {
    printf("skipped: no fp8 on %s\n", device->target.arch);
    skip();
  }
  assert_ok(status, &error);
  int count = apq__cublaslt_count(product), best = -1;
  assert_true(count >= 1 && count <= 8);
  operands *o = make_operands(kind, apq__cublaslt_workspace(product));
  for (int i = 0; i < count; i++) {
    assert_ok(device->ops->fill(device, o->dev_y, 0xff, RESULTS * apq__cublaslt_result_bytes(kind),
                                NULL, &error),
              &error);
    assert_ok(
        apq__cublaslt_run(product, i, o->dev_a, o->dev_w, o->dev_y, o->workspace, NULL, &error),
        &error);
    assert_ok(device->ops->synchronize(device, NULL, &error), &error);
    assert_product(kind, o);
  }
  assert_ok(
      apq__cublaslt_pick(product, o->dev_a, o->dev_w, o->dev_y, o->workspace, NULL, &best, &error),
      &error);
  printf("%s: %d algorithms, the fastest is %d, %zu bytes of workspace\n",
         apq__cublaslt_kind_name(kind), count, best, apq__cublaslt_workspace(product));
  assert_true(best >= 0 && best < count);
  assert_int_equal(apq__cublaslt_run(product, count, NULL, NULL, NULL, NULL, NULL, &error),
                   APQ_INVALID_ARGUMENT);
  free_operands(o);
  apq__cublaslt_destroy(product);
}

static void fp16_equals_integers(void **state) {
  (void)state;
  check_kind(APQ__CUBLASLT_F16);
}

static void int8_equals_integers(void **state) {
  (void)state;
  check_kind(APQ__CUBLASLT_I8);
}

static void fp8_equals_integers(void **state) {
  (void)state;
  check_kind(APQ__CUBLASLT_E4M3);
}

static void a_product_can_be_captured(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__cublaslt *product = NULL;
  apq__graph *graph = NULL;
  void *stream = NULL;
  assert_ok(apq__cublaslt_create(device, APQ__CUBLASLT_I8, M, N, K, &product, &error), &error);
  operands *o = make_operands(APQ__CUBLASLT_I8, apq__cublaslt_workspace(product));
  assert_ok(device->ops->stream_create(device, &stream, &error), &error);
  /* Once before, since the first run loads the kernel. */
  assert_ok(
      apq__cublaslt_run(product, 0, o->dev_a, o->dev_w, o->dev_y, o->workspace, stream, &error),
      &error);
  assert_ok(device->ops->capture_begin(device, stream, &error), &error);
  assert_ok(
      apq__cublaslt_run(product, 0, o->dev_a, o->dev_w, o->dev_y, o->workspace, stream, &error),
      &error);
  assert_ok(device->ops->capture_end(device, stream, &graph, &error), &error);
  assert_ok(device->ops->fill(device, o->dev_y, 0xff, RESULTS * sizeof(int32_t), stream, &error),
            &error);
  assert_ok(device->ops->graph_launch(device, graph, stream, &error), &error);
  assert_ok(device->ops->synchronize(device, stream, &error), &error);
  assert_product(APQ__CUBLASLT_I8, o);
  device->ops->graph_destroy(device, graph);
  device->ops->stream_destroy(device, stream);
  free_operands(o);
  apq__cublaslt_destroy(product);
}

static void an_odd_shape_is_unsupported_not_wrong(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__cublaslt *product = NULL;
  assert_int_equal(apq__cublaslt_create(device, APQ__CUBLASLT_E4M3, 3, 5, 7, &product, &error),
                   APQ_UNSUPPORTED);
  assert_null(product);
  assert_non_null(strstr(error.message, "m=3 n=5 k=7"));
}

int main(void) {
  char version[64];
  apq_error error = APQ_ERROR_INIT;
  device = open_gpu();
  if (!device) return SKIPPED;
  if (apq__cublaslt_version(version, sizeof version, &error)) {
    printf("skipped: %s\n", error.message);
    return SKIPPED;
  }
  printf("%s\n", version);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fp16_equals_integers),
      cmocka_unit_test(int8_equals_integers),
      cmocka_unit_test(fp8_equals_integers),
      cmocka_unit_test(a_product_can_be_captured),
      cmocka_unit_test(an_odd_shape_is_unsupported_not_wrong),
  };
  int result = cmocka_run_group_tests(tests, NULL, NULL);
  device->ops->close(device);
  return result;
}

#endif
