/* What the public interface refuses, and what it promises about preparing, capturing and threads.
 */
#include "runtime_fixture.h"

#include <pthread.h>

#include "context.h"

static const product_case usual = {2,
                                   2,
                                   9,
                                   20,
                                   150,
                                   APQ_FORMAT_INT,
                                   APQ_FORMAT_UINT,
                                   APQ_DTYPE_CODES8,
                                   APQ_DTYPE_CODES8,
                                   APQ_DTYPE_F32,
                                   0};

typedef struct fixture {
  apq_context *context;
  apq_weights *weights;
  product_data data;
  product_run run;
} fixture;

static int set_up(void **state) {
  static fixture f;
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  f.context = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db");
  f.data = make_data(&usual, 1);
  f.weights = make_weights(f.context, &f.data);
  f.run = start_run(f.context, f.weights, &f.data);
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  end_run(&f->run);
  apq_weights_destroy(f->weights);
  free_data(&f->data);
  apq_context_close(f->context);
  return 0;
}

static void bad_devices_are_refused(void **state) {
  (void)state;
  static const char *const names[] = {"emu:sm_42", "nosuch", "cuda:77", "emu:"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    apq_context *context = (apq_context *)(void *)state;
    apq_context_options options = {.device = names[i]};
    apq_error error = APQ_ERROR_INIT;
    apq_status status = apq_context_open(&options, &context, &error);
    if (status == APQ_OK || !error.message[0]) fail_msg("%s: opened", names[i]);
    assert_null(context);
    apq_error_clear(&error);
  }
  REFUSES(APQ_NULL_POINTER, "out", apq_context_open(NULL, NULL, error));
}

static void null_objects_are_refused(void **state) {
  fixture *f = *state;
  void *memory = NULL;
  char byte = 0;
  apq_weights_desc weights = {0};
  apq_plan_desc plan = {0};
  apq_weights *w = NULL;
  apq_plan *p = NULL;
  REFUSES(APQ_NULL_POINTER, "context", apq_device_alloc(NULL, 1, &memory, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_device_alloc(f->context, 1, NULL, error));
  REFUSES(APQ_INVALID_ARGUMENT, "bytes", apq_device_alloc(f->context, 0, &memory, error));
  REFUSES(APQ_NULL_POINTER, "context", apq_copy_to_device(NULL, &byte, &byte, 1, error));
  REFUSES(APQ_NULL_POINTER, "to", apq_copy_to_device(f->context, NULL, &byte, 1, error));
  REFUSES(APQ_NULL_POINTER, "from", apq_copy_to_host(f->context, &byte, NULL, 1, error));
  REFUSES(APQ_NULL_POINTER, "context", apq_synchronize(NULL, NULL, error));
  REFUSES(APQ_NULL_POINTER, "context", apq_weights_create(NULL, &weights, &w, error));
  REFUSES(APQ_NULL_POINTER, "desc", apq_weights_create(f->context, NULL, &w, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_create(f->context, &weights, NULL, error));
  REFUSES(APQ_NULL_POINTER, "context", apq_plan_create(NULL, &plan, &p, error));
  REFUSES(APQ_NULL_POINTER, "desc", apq_plan_create(f->context, NULL, &p, error));
  REFUSES(APQ_NULL_POINTER, "weights", apq_plan_create(f->context, &plan, &p, error));
  REFUSES(APQ_NULL_POINTER, "plan", apq_plan_prepare(NULL, NULL, 0, error));
  REFUSES(APQ_NULL_POINTER, "plan",
          apq_plan_run(NULL, 1, &byte, 0, &byte, 0, NULL, 0, NULL, error));
  /* What has no status does nothing. */
  apq_context_close(NULL);
  apq_weights_destroy(NULL);
  apq_plan_destroy(NULL);
  apq_device_free(NULL, NULL);
  apq_device_free(f->context, NULL);
  assert_int_equal(apq_plan_workspace(NULL, 1), 0);
  assert_int_equal(apq_plan_explain(NULL, 1, NULL, 0), 0);
  assert_int_equal(apq_context_describe(NULL, &byte, 1), 0);
}

static void bad_weights_are_refused_by_field(void **state) {
  fixture *f = *state;
  const uint8_t codes[4] = {0, 3, 1, 4};
  const float scales[2] = {1, NAN}, values[4] = {0};
  const int32_t zeros[2] = {1, 1};
  const apq_dtype C = APQ_DTYPE_CODES8;
  const apq_format U = APQ_FORMAT_UINT;
  const struct {
    const char *field;
    apq_weights_desc desc;
  } rows[] = {
      {"n=0", {0, 2, 2, U, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"n=2147483647", {INT32_MAX, 2, 2, U, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"k=-1", {2, -1, 2, U, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"bits=0", {2, 2, 0, U, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"bits=9", {2, 2, 9, U, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"format=7", {2, 2, 2, (apq_format)7, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"dtype=i32", {2, 2, 2, U, APQ_DTYPE_I32, codes, 0, NULL, NULL, 0, 0, 0}},
      {"data", {2, 2, 2, U, C, NULL, 0, NULL, NULL, 0, 0, 0}},
      {"ld=1", {2, 2, 2, U, C, codes, 1, NULL, NULL, 0, 0, 0}},
      {"data[1][1]=4", {2, 2, 2, U, C, codes, 0, NULL, NULL, 0, 0, 0}},
      {"scale[1]", {2, 2, 3, U, C, codes, 0, scales, NULL, 0, 0, 0}},
      {"scale", {2, 2, 2, U, APQ_DTYPE_F32, values, 0, scales, NULL, 0, 0, 0}},
      {"zero", {2, 2, 2, U, APQ_DTYPE_F32, values, 0, NULL, zeros, 0, 0, 0}},
      {"zero", {2, 2, 3, APQ_FORMAT_INT, C, codes, 0, NULL, zeros, 0, 0, 0}},
      {"group=48", {2, 100, 2, U, C, codes, 0, NULL, NULL, 48, 0, 0}},
      {"group=-1", {2, 2, 2, U, C, codes, 0, NULL, NULL, -1, 0, 0}},
      {"clip=9", {2, 2, 2, U, APQ_DTYPE_F32, values, 0, NULL, NULL, 0, (apq_clip)9, 0}},
      {"nothing to clip", {2, 2, 3, U, C, codes, 0, NULL, NULL, 0, APQ_CLIP_MSE, 0}},
      {"on_device=2", {2, 2, 3, U, C, codes, 0, NULL, NULL, 0, 0, 2}},
      {"ld=4611686018427387904", {2, 2, 3, U, C, codes, INT64_MAX / 2 + 1, NULL, NULL, 0, 0, 0}},
      {"data[1][1]=4: not int",
       {2, 2, 3, APQ_FORMAT_INT, APQ_DTYPE_I8, codes, 0, NULL, NULL, 0, 0, 0}},
      {"data[0][0]=0: not bipolar",
       {2, 2, 3, APQ_FORMAT_BIPOLAR, APQ_DTYPE_I8, codes, 0, NULL, NULL, 0, 0, 0}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq_weights *weights = f->weights;
    REFUSES(APQ_INVALID_ARGUMENT, rows[i].field,
            apq_weights_create(f->context, &rows[i].desc, &weights, error));
    assert_null(weights);
  }
}

static void bad_plans_are_refused_by_field(void **state) {
  fixture *f = *state;
  const apq_weights *w = f->weights;
  const apq_dtype C = APQ_DTYPE_CODES8, F = APQ_DTYPE_F32, I = APQ_DTYPE_I32;
  const apq_format U = APQ_FORMAT_UINT, S = APQ_FORMAT_INT;
  const float *scale = f->run.y;
  const int32_t *zero = f->run.y;
  const float *odd = (const float *)(const void *)((const char *)f->run.y + 2);
  const struct {
    const char *field;
    apq_plan_desc desc;
  } rows[] = {
      {"bits=0", {w, 0, U, C, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"bits=9", {w, 9, U, C, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"format=-1", {w, 2, (apq_format)-1, C, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"input=i32", {w, 2, U, I, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"output=codes8", {w, 2, U, C, C, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"input_scale", {w, 2, U, F, F, scale, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"input_zero", {w, 2, U, F, F, NULL, zero, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"input_zero", {w, 2, S, C, F, NULL, zero, NULL, 0, 0, 0, 0, NULL, 0, 0}},
      {"bias", {w, 2, U, C, I, NULL, NULL, scale, 0, 0, 0, 0, NULL, 0, 0}},
      {"static_scale", {w, 2, U, C, F, NULL, NULL, NULL, 1, 0, 0, 0, NULL, 0, 0}},
      {"static_scale=-1", {w, 2, U, F, F, NULL, NULL, NULL, -1, 0, 0, 0, NULL, 0, 0}},
      {"static_scale=0", {w, 2, U, F, F, NULL, NULL, NULL, 0, 1, 0, 0, NULL, 0, 0}},
      {"finite inverse", {w, 2, U, F, F, NULL, NULL, NULL, 1e-40f, 0, 0, 0, NULL, 0, 0}},
      {"static_zero=4", {w, 2, U, F, F, NULL, NULL, NULL, 1, 4, 0, 0, NULL, 0, 0}},
      {"static_zero", {w, 2, S, F, F, NULL, NULL, NULL, 1, 1, 0, 0, NULL, 0, 0}},
      {"activation=9", {w, 2, U, C, F, NULL, NULL, NULL, 0, 0, (apq_activation)9, 0, NULL, 0, 0}},
      {"activation", {w, 2, U, C, I, NULL, NULL, NULL, 0, 0, APQ_ACTIVATION_SILU, 0, NULL, 0, 0}},
      {"combine=-1", {w, 2, U, C, F, NULL, NULL, NULL, 0, 0, 0, (apq_combine)-1, NULL, 0, 0}},
      {"combine", {w, 2, U, C, I, NULL, NULL, NULL, 0, 0, 0, APQ_COMBINE_ADD, NULL, 0, 0}},
      {"more_count=8", {w, 2, U, C, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, APQ_PRODUCTS_MAX, 0}},
      {"input_gate=4",
       {w, 2, U, F, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, APQ_ACTIVATION_COUNT}},
      {"input_gate", {w, 2, U, C, F, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, APQ_ACTIVATION_SILU}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq_plan *plan = f->run.plan;
    REFUSES(APQ_INVALID_ARGUMENT, rows[i].field,
            apq_plan_create(f->context, &rows[i].desc, &plan, error));
    assert_null(plan);
  }
  apq_plan *none = NULL;
  apq_plan_desc bad = {.weights = w, .bits = 2, .input = C, .output = F, .bias = odd};
  REFUSES(APQ_MISALIGNED, "bias: not aligned", apq_plan_create(f->context, &bad, &none, error));
  bad.bias = (const float *)(const void *)&bad;
  REFUSES(APQ_FOREIGN_POINTER, "bias: ", apq_plan_create(f->context, &bad, &none, error));
  bad.bias = NULL;
  bad.more_count = 1;
  REFUSES(APQ_NULL_POINTER, "more", apq_plan_create(f->context, &bad, &none, error));
  const apq_product_desc more = {.weights = w, .combine = (apq_combine)7};
  bad.more = &more;
  REFUSES(APQ_INVALID_ARGUMENT, "more[0].combine=7",
          apq_plan_create(f->context, &bad, &none, error));
  apq_context *other = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db");
  const apq_plan_desc desc = {.weights = w, .bits = 2, .input = C, .output = F};
  apq_plan *plan = NULL;
  REFUSES(APQ_INVALID_ARGUMENT, "another context", apq_plan_create(other, &desc, &plan, error));
  apq_context_close(other);
}

static void products_that_could_wrap_are_refused(void **state) {
  fixture *f = *state;
  /* k * 255 * 255 reaches 2^31 between these two lengths. */
  const int fits = 33025, wraps = 33026;
  uint8_t *codes = apq__calloc((size_t)wraps, 1);
  for (int k = fits; k <= wraps; k++) {
    const apq_weights_desc matrix = {.n = 1,
                                     .k = k,
                                     .bits = 8,
                                     .format = APQ_FORMAT_UINT,
                                     .dtype = APQ_DTYPE_CODES8,
                                     .data = codes};
    apq_weights *weights = NULL;
    apq_plan *plan = NULL;
    CHECK(apq_weights_create(f->context, &matrix, &weights, error));
    const apq_plan_desc desc = {
        .weights = weights, .bits = 8, .input = APQ_DTYPE_CODES8, .output = APQ_DTYPE_I32};
    if (k == fits)
      CHECK(apq_plan_create(f->context, &desc, &plan, error));
    else
      REFUSES(APQ_OUT_OF_RANGE, "33026", apq_plan_create(f->context, &desc, &plan, error));
    apq_plan_destroy(plan);
    apq_weights_destroy(weights);
  }
  /* The bound is of the actual zero points: one far outside the codes counts. */
  const int32_t zero = 1 << 30;
  const apq_weights_desc matrix = {.n = 1,
                                   .k = 2,
                                   .bits = 2,
                                   .format = APQ_FORMAT_UINT,
                                   .dtype = APQ_DTYPE_CODES8,
                                   .data = codes,
                                   .zero = &zero};
  apq_weights *weights = NULL;
  apq_plan *plan = NULL;
  CHECK(apq_weights_create(f->context, &matrix, &weights, error));
  const apq_plan_desc desc = {
      .weights = weights, .bits = 1, .input = APQ_DTYPE_CODES8, .output = APQ_DTYPE_I32};
  REFUSES(APQ_OUT_OF_RANGE, "", apq_plan_create(f->context, &desc, &plan, error));
  apq_weights_destroy(weights);
  apq__free(codes);
}

static void bad_sizes_are_not_prepared(void **state) {
  fixture *f = *state;
  const int bad[] = {4, 0}, negative = -3;
  REFUSES(APQ_INVALID_ARGUMENT, "m[1]=0", apq_plan_prepare(f->run.plan, bad, 2, error));
  REFUSES(APQ_INVALID_ARGUMENT, "m[0]=-3", apq_plan_prepare(f->run.plan, &negative, 1, error));
  REFUSES(APQ_INVALID_ARGUMENT, "count=-1", apq_plan_prepare(f->run.plan, bad, -1, error));
  REFUSES(APQ_NULL_POINTER, "m", apq_plan_prepare(f->run.plan, NULL, 1, error));
  assert_int_equal(apq_plan_workspace(f->run.plan, 4), 0);
  CHECK(apq_plan_prepare(f->run.plan, NULL, 0, error));
}

static void bad_runs_launch_nothing(void **state) {
  fixture *f = *state;
  const product_run *r = &f->run;
  const size_t bytes = r->workspace_bytes;
  const int m = usual.m, k = usual.k, n = usual.n;
  char *const odd = (char *)r->y + 2, *const shifted = (char *)r->workspace + 16;
  poison_result(r, &f->data);
  REFUSES(APQ_NOT_PREPARED, "m=10",
          apq_plan_run(r->plan, m + 1, r->x, 0, r->y, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_INVALID_ARGUMENT, "m=0",
          apq_plan_run(r->plan, 0, r->x, 0, r->y, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_NULL_POINTER, "x is NULL",
          apq_plan_run(r->plan, m, NULL, 0, r->y, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_NULL_POINTER, "y is NULL",
          apq_plan_run(r->plan, m, r->x, 0, NULL, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_BAD_SHAPE, "ldx=149",
          apq_plan_run(r->plan, m, r->x, k - 1, r->y, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_BAD_SHAPE, "ldy=19",
          apq_plan_run(r->plan, m, r->x, 0, r->y, n - 1, r->workspace, bytes, NULL, error));
  REFUSES(APQ_MISALIGNED, "y: not aligned",
          apq_plan_run(r->plan, m, r->x, 0, odd, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_WORKSPACE_TOO_SMALL, "workspace_bytes",
          apq_plan_run(r->plan, m, r->x, 0, r->y, 0, r->workspace, bytes - 1, NULL, error));
  REFUSES(APQ_NULL_POINTER, "workspace is NULL",
          apq_plan_run(r->plan, m, r->x, 0, r->y, 0, NULL, bytes, NULL, error));
  REFUSES(APQ_MISALIGNED, "workspace: not aligned",
          apq_plan_run(r->plan, m, r->x, 0, r->y, 0, shifted, bytes, NULL, error));
  float host[4];
  REFUSES(APQ_FOREIGN_POINTER,
          "x: ", apq_plan_run(r->plan, m, host, 0, r->y, 0, r->workspace, bytes, NULL, error));
  REFUSES(APQ_FOREIGN_POINTER,
          "y: ", apq_plan_run(r->plan, m, r->x, 0, host, 0, r->workspace, bytes, NULL, error));
  const apq_output output = {.y = r->y};
  REFUSES(APQ_BAD_SHAPE, "count=2",
          apq_plan_run_all(r->plan, m, r->x, 0, &output, 2, r->workspace, bytes, NULL, error));
  REFUSES(APQ_NULL_POINTER, "output",
          apq_plan_run_all(r->plan, m, r->x, 0, NULL, 1, r->workspace, bytes, NULL, error));
  CHECK(apq_synchronize(f->context, NULL, error));
  uint8_t *got = apq__alloc(f->data.y_bytes);
  CHECK(apq_copy_to_host(f->context, got, r->y, f->data.y_bytes, error));
  for (size_t i = 0; i < f->data.y_bytes; i++) assert_int_equal(got[i], FILLER);
  apq__free(got);
}

static void a_captured_run_is_replayed(void **state) {
  fixture *f = *state;
  apq__device *device = f->context->device;
  void *stream = NULL;
  apq__graph *graph = NULL;
  poison_result(&f->run, &f->data);
  CHECK(device->ops->stream_create(device, &stream, error));
  CHECK(device->ops->capture_begin(device, stream, error));
  assert_true(device->ops->is_capturing(device, stream));
  /* What would need compiling, or is wrong, leaves the capture as it is. */
  const product_run *r = &f->run;
  REFUSES(APQ_NOT_PREPARED, "m=1000",
          apq_plan_run(r->plan, 1000, r->x, 0, r->y, 0, r->workspace, r->workspace_bytes, stream,
                       error));
  REFUSES(APQ_WORKSPACE_TOO_SMALL, "needs",
          apq_plan_run(r->plan, usual.m, r->x, 0, r->y, 0, r->workspace, 1, stream, error));
  assert_true(device->ops->is_capturing(device, stream));
  CHECK(run_once(&f->run, &f->data, stream, error));
  CHECK(device->ops->capture_end(device, stream, &graph, error));
  for (int replay = 0; replay < 2; replay++) {
    poison_result(&f->run, &f->data);
    CHECK(device->ops->graph_launch(device, graph, stream, error));
    CHECK(apq_synchronize(f->context, stream, error));
    expect_result(&f->run, &f->data);
  }
  device->ops->graph_destroy(device, graph);
  device->ops->stream_destroy(device, stream);
}

/* ---- threads ---- */

enum { THREADS = 16, RUNS = 3 };

typedef struct worker {
  fixture *f;
  product_run run; /* own y and workspace */
  apq_error error;
  apq_status status;
} worker;

static void *run_many(void *argument) {
  worker *w = argument;
  for (int i = 0; i < RUNS && !w->status; i++)
    w->status = run_once(&w->run, &w->f->data, NULL, &w->error);
  return NULL;
}

static void *prepare_many(void *argument) {
  worker *w = argument;
  for (int m = 1; m <= 24 && !w->status; m++)
    w->status = apq_plan_prepare(w->run.plan, &m, 1, &w->error);
  return NULL;
}

static void many_threads_run_one_plan_while_it_is_prepared(void **state) {
  fixture *f = *state;
  static worker workers[THREADS + 1];
  pthread_t threads[THREADS + 1];
  for (int i = 0; i <= THREADS; i++) {
    worker *w = &workers[i];
    *w = (worker){.f = f, .run = f->run};
    w->run.y = device_new(f->context, f->data.y_bytes);
    w->run.workspace = device_new(f->context, f->run.workspace_bytes);
    poison_result(&w->run, &f->data);
  }
  for (int i = 0; i <= THREADS; i++)
    assert_int_equal(
        pthread_create(&threads[i], NULL, i < THREADS ? run_many : prepare_many, &workers[i]), 0);
  for (int i = 0; i <= THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(apq_synchronize(f->context, NULL, error));
  for (int i = 0; i <= THREADS; i++) {
    if (workers[i].status) fail_msg("thread %d: %s", i, workers[i].error.message);
    if (i < THREADS) expect_result(&workers[i].run, &f->data);
    apq_device_free(f->context, workers[i].run.y);
    apq_device_free(f->context, workers[i].run.workspace);
  }
  for (int m = 1; m <= 24; m++) assert_true(apq_plan_workspace(f->run.plan, m) > 0);
}

/* ---- texts ---- */

static void expect_lines(const char *text, const char *const *lines) {
  for (; *lines; lines++)
    if (!strstr(text, *lines)) fail_msg("no '%s' in:\n%s", *lines, text);
}

static void explanations_name_the_choice(void **state) {
  fixture *f = *state;
  char text[4096], small[10];
  static const char *const prepared[] = {"problem: k=150,m=9,n=20,out=f32,p=2,q=2\n",
                                         "device: emu:sm_80",
                                         "source: model\n",
                                         "us modelled\n",
                                         "kernel: ",
                                         "family=",
                                         "pack: family=pack",
                                         "workspace: ",
                                         "loaded from: ",
                                         NULL};
  size_t length = apq_plan_explain(f->run.plan, usual.m, text, sizeof text);
  assert_int_equal(length, strlen(text));
  expect_lines(text, prepared);
  static const char *const unprepared[] = {"m=77", "source: model\n", "not prepared", NULL};
  apq_plan_explain(f->run.plan, 77, text, sizeof text);
  expect_lines(text, unprepared);
  apq_plan_explain(f->run.plan, -1, text, sizeof text);
  assert_non_null(strstr(text, "error: "));
  /* Cut where the buffer ends, still terminated, the whole length returned. */
  assert_int_equal(apq_plan_explain(f->run.plan, usual.m, small, sizeof small), length);
  assert_string_equal(small, "problem: ");
  assert_int_equal(apq_plan_explain(f->run.plan, usual.m, NULL, 0), length);
}

static void descriptions_name_device_and_databases(void **state) {
  fixture *f = *state;
  char text[4096];
  static const char *const lines[] = {
      "device: emu:sm_80 (sm_80", "emulated",         "compiler: ", "no-such.db", "not read: ",
      "winners: 0 for this GPU",  "kernels loaded: ", NULL};
  size_t length = apq_context_describe(f->context, text, sizeof text);
  assert_int_equal(length, strlen(text));
  expect_lines(text, lines);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_devices_are_refused),
      cmocka_unit_test(null_objects_are_refused),
      cmocka_unit_test(bad_weights_are_refused_by_field),
      cmocka_unit_test(bad_plans_are_refused_by_field),
      cmocka_unit_test(products_that_could_wrap_are_refused),
      cmocka_unit_test(bad_sizes_are_not_prepared),
      cmocka_unit_test(bad_runs_launch_nothing),
      cmocka_unit_test(a_captured_run_is_replayed),
      cmocka_unit_test(explanations_name_the_choice),
      cmocka_unit_test(descriptions_name_device_and_databases),
      cmocka_unit_test(many_threads_run_one_plan_while_it_is_prepared),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
