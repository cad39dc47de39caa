/* Many threads and many contexts. */
#include "linear_cases.h"

#include <pthread.h>

#include "failing_allocator.h"
#include "launch_stub.h"

static const linear_case small = {.p = 2,
                                  .q = 2,
                                  .m = 3,
                                  .n = 24,
                                  .k = 130,
                                  .w_format = APQ_FORMAT_INT,
                                  .a_format = APQ_FORMAT_INT,
                                  .input = APQ_DTYPE_F16,
                                  .output = APQ_DTYPE_F16};

/* ---- threads ---- */

enum { THREADS = 16, STREAMS = 4, CALLS = 10000, SIZES = 4 };

typedef struct worker {
  const apq_plan *plan;
  void *x, *stream[STREAMS], *y[STREAMS], *workspace[STREAMS];
  size_t bytes;
  apq_status status;
  apq_error error;
} worker;

/* Each call in another stream, with that stream's workspace and result, and another size. */
static void *call_many(void *argument) {
  worker *w = argument;
  stub_expects.workspace_bytes = w->bytes;
  for (int i = 0; i < CALLS && !w->status; i++) {
    const int at = i % STREAMS, m = 1 + i / STREAMS % SIZES;
    stub_expects.y = w->y[at];
    stub_expects.workspace = w->workspace[at];
    stub_expects.stream = w->stream[at];
    stub_expects.m = m;
    w->status = apq_plan_run(w->plan, m, w->x, 0, w->y[at], 0, w->workspace[at], w->bytes,
                             w->stream[at], &w->error);
  }
  return NULL;
}

static void sixteen_threads_four_streams(void **state) {
  (void)state;
  apq_context *context = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db");
  linear_data d = linear_make(&small, 1);
  apq_weights *weights = linear_weights(context, &d);
  const apq_plan_desc desc = linear_plan(&small, weights, NULL);
  apq_plan *plan = NULL;
  CHECK(apq_plan_create(context, &desc, &plan, error));
  CHECK(apq_plan_prepare_range(plan, 1, SIZES, error));
  static worker workers[THREADS];
  pthread_t threads[THREADS];
  void *x = device_copy(context, d.x, (size_t)(small.m * d.ldx) * 2);
  for (int i = 0; i < THREADS; i++) {
    worker *w = &workers[i];
    *w = (worker){.plan = plan, .x = x, .bytes = apq_plan_workspace(plan, SIZES)};
    for (int s = 0; s < STREAMS; s++) {
      CHECK(context->device->ops->stream_create(context->device, &w->stream[s], error));
      w->y[s] = device_new(context, (size_t)(SIZES * small.n) * 2);
      w->workspace[s] = device_new(context, w->bytes);
    }
  }
  const apq__device_ops *real = stub_install(context);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, call_many, &workers[i]), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  context->device->ops = real;
  for (int i = 0; i < THREADS; i++) {
    if (workers[i].status) fail_msg("thread %d: %s", i, workers[i].error.message);
    for (int s = 0; s < STREAMS; s++) {
      real->stream_destroy(context->device, workers[i].stream[s]);
      apq_device_free(context, workers[i].y[s]);
      apq_device_free(context, workers[i].workspace[s]);
    }
  }
  assert_int_equal(atomic_load(&stub_wrong), 0);
  assert_int_equal(atomic_load(&stub_launches), 2L * THREADS * CALLS);
  apq_device_free(context, x);
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  apq_context_close(context);
  linear_free(&d);
}

/* ---- contexts ---- */

static void ten_thousand_contexts_leave_nothing(void **state) {
  (void)state;
  failing_allocator count = {0};
  assert_int_equal(failing_install(&count), APQ_OK);
  for (int i = 0; i < 10000; i++) {
    apq_context *context = NULL;
    const apq_context_options options = {.device = "emu:sm_80",
                                         .database = APQ_BINARY_DIR "/no-such.db"};
    CHECK(apq_context_open(&options, &context, error));
    apq_context_close(context);
  }
  assert_int_equal(count.live, 0);
  assert_int_equal(apq_set_allocator(NULL), APQ_OK);
}

/* Objects keep a closed context; nothing but destroying them works. */
static void closed_contexts_wait_for_their_objects(void **state) {
  (void)state;
  apq_context *context = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db");
  linear_data d = linear_make(&small, 3);
  apq_weights *weights = linear_weights(context, &d), *other = NULL;
  const apq_plan_desc desc = linear_plan(&small, weights, NULL);
  apq_plan *plan = NULL, *second = NULL;
  char hash[65];
  CHECK(apq_plan_create(context, &desc, &plan, error));
  CHECK(apq_plan_prepare(plan, &small.m, 1, error));
  void *x = device_copy(context, d.x, (size_t)(small.m * d.ldx) * 2);
  apq_context_close(context);
  REFUSES(APQ_CLOSED, "closed", apq_plan_run(plan, small.m, x, 0, x, 0, x, 1 << 20, NULL, error));
  REFUSES(APQ_CLOSED, "closed", apq_plan_prepare(plan, &small.m, 1, error));
  REFUSES(APQ_CLOSED, "closed", apq_plan_fingerprint(plan, hash, error));
  REFUSES(APQ_CLOSED, "closed", apq_plan_create(context, &desc, &second, error));
  const apq_weights *const parts[] = {weights};
  REFUSES(APQ_CLOSED, "closed", apq_weights_concat(context, parts, 1, &other, error));
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  linear_free(&d);
}

/* ---- pinning ---- */

static void winners_can_be_pinned(void **state) {
  (void)state;
  char hash[65];
  apq_context *context = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db"), *pinned = NULL;
  CHECK(apq_context_winners_hash(context, hash, error));
  assert_int_equal(strlen(hash), 64);
  apq_context_options options = {"emu:sm_80", APQ_BINARY_DIR "/no-such.db", hash};
  CHECK(apq_context_open(&options, &pinned, error));
  apq_context_close(pinned);
  hash[3] = hash[3] == '0' ? '1' : '0';
  REFUSES(APQ_MISMATCH, hash, apq_context_open(&options, &pinned, error));
  assert_null(pinned);
  apq_context_close(context);
}

static int set_cache(void **state) {
  (void)state;
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sixteen_threads_four_streams),
      cmocka_unit_test(ten_thousand_contexts_leave_nothing),
      cmocka_unit_test(closed_contexts_wait_for_their_objects),
      cmocka_unit_test(winners_can_be_pinned),
  };
  return cmocka_run_group_tests(tests, set_cache, NULL);
}
