/* Several contexts and several GPUs in one process, through the public interface, over a driver of
 * the tests' own that poses as two GPUs of different archs (fake_cuda.h).  Kernels are compiled by
 * NVRTC and never run: that each context uses its own GPU, kernels and memory is what shows. */
#include "runtime_fixture.h"

#include <dlfcn.h>
#include <pthread.h>

#include "context.h"
#include "fake_cuda.h"
#include "nvrtc_library.h"

#ifndef APQ_HAVE_CUDA

int main(void) {
  printf("skipped: built without the CUDA backend\n");
  return 77;
}

#else

enum { GPUS = FAKE_DEVICES, N = 64, K = 256, M = 3 };

static fake_cuda *fake;

/* One context with a plan that is ready to run. */
typedef struct side {
  apq_context *context;
  apq_weights *weights;
  apq_plan *plan;
  void *x, *y, *workspace;
  size_t bytes;
} side;

static side open_side(const char *device) {
  side s = {.context = open_device(device, "/nonexistent/apq.db")};
  uint8_t *codes = apq__calloc(N, K);
  const apq_weights_desc matrix = {.n = N,
                                   .k = K,
                                   .bits = 2,
                                   .format = APQ_FORMAT_INT,
                                   .dtype = APQ_DTYPE_CODES8,
                                   .data = codes};
  CHECK(apq_weights_create(s.context, &matrix, &s.weights, error));
  apq__free(codes);
  const apq_plan_desc desc = {.weights = s.weights,
                              .bits = 2,
                              .format = APQ_FORMAT_INT,
                              .input = APQ_DTYPE_F16,
                              .output = APQ_DTYPE_F16};
  CHECK(apq_plan_create(s.context, &desc, &s.plan, error));
  CHECK(apq_plan_prepare(s.plan, (const int[]){M}, 1, error));
  s.bytes = apq_plan_workspace(s.plan, M);
  s.x = device_new(s.context, M * K * 2);
  s.y = device_new(s.context, M * N * 2);
  s.workspace = device_new(s.context, s.bytes);
  return s;
}

static apq_status run_side(const side *s, int m, void *stream, apq_error *error) {
  return apq_plan_run(s->plan, m, s->x, 0, s->y, 0, s->workspace, s->bytes, stream, error);
}

static void close_side(side *s) {
  apq_device_free(s->context, s->x);
  apq_device_free(s->context, s->y);
  apq_device_free(s->context, s->workspace);
  apq_plan_destroy(s->plan);
  apq_weights_destroy(s->weights);
  apq_context_close(s->context);
}

static void each_context_has_its_gpu(void **state) {
  (void)state;
  side first = open_side("cuda:0"), second = open_side("cuda:1"), again = open_side("cuda:0");
  char text[2048];
  apq_context_describe(second.context, text, sizeof text);
  assert_non_null(strstr(text, "Fake GPU 1"));
  assert_non_null(strstr(text, "sm_80"));
  fake->launches_on[0] = fake->launches_on[1] = 0;
  CHECK(run_side(&first, M, NULL, error));
  CHECK(run_side(&second, M, NULL, error));
  CHECK(run_side(&second, M, NULL, error));
  CHECK(run_side(&again, M, NULL, error));
  assert_int_equal(fake->launches_on[0], 4);
  assert_int_equal(fake->launches_on[1], 4);
  /* Memory of one GPU is foreign to the other. */
  REFUSES(APQ_FOREIGN_POINTER, "Fake GPU 1",
          apq_plan_run(second.plan, M, first.x, 0, second.y, 0, second.workspace, second.bytes,
                       NULL, error));
  REFUSES(APQ_FOREIGN_POINTER, "y:",
          apq_plan_run(first.plan, M, first.x, 0, second.y, 0, first.workspace, first.bytes, NULL,
                       error));
  /* Closing one of two contexts leaves the other its GPU. */
  close_side(&again);
  CHECK(run_side(&first, M, NULL, error));
  close_side(&first);
  CHECK(run_side(&second, M, NULL, error));
  close_side(&second);
  assert_int_equal(fake->retained[0] + fake->retained[1], 0);
  assert_int_equal(fake->modules, 0);
}

static void *run_many(void *argument) {
  const side *s = argument;
  for (int i = 0; i < 1000; i++)
    if (run_side(s, M, NULL, NULL)) return argument;
  return NULL;
}

static void threads_use_several_gpus_at_once(void **state) {
  (void)state;
  side sides[GPUS] = {open_side("cuda:0"), open_side("cuda:1")};
  pthread_t thread[GPUS];
  fake->launches_on[0] = fake->launches_on[1] = 0;
  for (int i = 0; i < GPUS; i++)
    assert_int_equal(pthread_create(&thread[i], NULL, run_many, &sides[i]), 0);
  for (int i = 0; i < GPUS; i++) {
    void *failed = NULL;
    pthread_join(thread[i], &failed);
    assert_null(failed);
    assert_int_equal(fake->launches_on[i], 2000);
  }
  for (int i = 0; i < GPUS; i++) close_side(&sides[i]);
}

/* What needs compiling is refused, and `prepare` may come in the middle: the capture goes on. */
static void a_capture_outlives_what_is_not_prepared(void **state) {
  (void)state;
  side s = open_side("cuda:0");
  apq__device *device = s.context->device;
  void *stream = NULL;
  apq__graph *graph = NULL;
  CHECK(device->ops->stream_create(device, &stream, error));
  CHECK(device->ops->capture_begin(device, stream, error));
  REFUSES(APQ_NOT_PREPARED, "m=1", run_side(&s, 1, stream, error));
  CHECK(apq_plan_prepare(s.plan, (const int[]){1}, 1, error));
  CHECK(run_side(&s, 1, stream, error));
  CHECK(device->ops->capture_end(device, stream, &graph, error));
  assert_non_null(graph);
  device->ops->graph_destroy(device, graph);
  device->ops->stream_destroy(device, stream);
  close_side(&s);
}

int main(void) {
  const char *path = APQ_BINARY_DIR "/tests/fake_cuda/libcuda.so.1";
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  fake_cuda *(*find)(void) = NULL;
  void *symbol = library ? dlsym(library, "fake_cuda_state") : NULL;
  if (!symbol) {
    printf("cannot load %s\n", path);
    return 1;
  }
  memcpy(&find, &symbol, sizeof find);
  fake = find();
  fake->cc[1] = 80;
  fake->knows_kernels = 1;
  const apq__nvrtc *nvrtc = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__nvrtc_get(&nvrtc, &error)) {
    printf("skipped: %s\n", error.message);
    return 77;
  }
  use_cache(APQ_BINARY_DIR "/tests/several_gpus_cache");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_context_has_its_gpu),
      cmocka_unit_test(threads_use_several_gpus_at_once),
      cmocka_unit_test(a_capture_outlives_what_is_not_prepared),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
