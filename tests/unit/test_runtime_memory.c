/* Each allocation of each public call fails once: the call says OUT_OF_MEMORY or does without, and
 * nothing leaks. */
#include "runtime_fixture.h"

#include "failing_allocator.h"

static failing_allocator count;

static const product_case usual = {
    2, 2, 9, 20, 150, APQ_FORMAT_UINT, APQ_FORMAT_UINT, APQ_DTYPE_F32, APQ_DTYPE_F16, APQ_DTYPE_F32,
    0};

/* What the calls under test use and make. */
typedef struct way {
  product_data data;
  apq_context *context;
  apq_weights *weights, *other;
  apq_plan *plan;
  void *x, *y, *workspace;
  size_t workspace_bytes;
} way;

static apq_status do_open(way *w, apq_error *error) {
  const apq_context_options options = {"emu:sm_80", APQ_BINARY_DIR "/no-such.db", NULL};
  return apq_context_open(&options, &w->context, error);
}

static apq_status do_weights(way *w, apq_error *error) {
  const apq_weights_desc desc = {.n = usual.n,
                                 .k = usual.k,
                                 .bits = usual.p,
                                 .format = usual.w_format,
                                 .dtype = usual.w_type,
                                 .data = w->data.w};
  return apq_weights_create(w->context, &desc, &w->weights, error);
}

/* Groups, a search, an import: what make_weights does not. */
static apq_status do_groups(way *w, apq_error *error) {
  const apq_weights_desc desc = {.n = usual.n,
                                 .k = usual.k,
                                 .bits = 3,
                                 .format = APQ_FORMAT_INT,
                                 .dtype = usual.w_type,
                                 .data = w->data.w,
                                 .group = 32,
                                 .clip = APQ_CLIP_MSE};
  return apq_weights_create(w->context, &desc, &w->other, error);
}

static apq_status do_import(way *w, apq_error *error) {
  static const int32_t words[128], zeros[4];
  static const uint16_t scales[32];
  const apq_checkpoint_desc desc = {.layout = APQ_CHECKPOINT_AWQ,
                                    .n = 8,
                                    .k = 128,
                                    .bits = 4,
                                    .group = 32,
                                    .qweight = words,
                                    .qzeros = zeros,
                                    .scales = scales,
                                    .scale_dtype = APQ_DTYPE_F16};
  return apq_weights_import(w->context, &desc, &w->other, error);
}

static apq_status do_view(way *w, apq_error *error) {
  return apq_weights_view(w->weights, 1, &w->other, error);
}

static apq_status do_dequantize(way *w, apq_error *error) {
  float values[20 * 150];
  return apq_weights_dequantize(w->weights, values, 0, error);
}

#define FILE_PATH APQ_BINARY_DIR "/tests/runtime_memory.safetensors"

static apq_status do_save(way *w, apq_error *error) {
  const apq_named_weights matrices[] = {{"one", w->weights}, {"two", w->weights}};
  return apq_weights_save(FILE_PATH, matrices, 2, error);
}

static apq_status do_load(way *w, apq_error *error) {
  apq_weights_file *file = NULL;
  apq_status status = apq_weights_file_open(FILE_PATH, &file, error);
  if (!status) status = apq_weights_file_load(file, "two", w->context, &w->other, error);
  apq_weights_file_close(file);
  return status;
}

static apq_status do_plan(way *w, apq_error *error) {
  const apq_plan_desc desc = {.weights = w->weights,
                              .bits = usual.q,
                              .format = usual.a_format,
                              .input = usual.input,
                              .output = usual.output};
  return apq_plan_create(w->context, &desc, &w->plan, error);
}

static apq_status do_prepare(way *w, apq_error *error) {
  return apq_plan_prepare(w->plan, &usual.m, 1, error);
}

static apq_status do_memory(way *w, apq_error *error) {
  w->workspace_bytes = apq_plan_workspace(w->plan, usual.m);
  apq_status status = APQ_OK;
  if (!w->x) status = apq_device_alloc(w->context, (size_t)(usual.m * usual.k) * 2, &w->x, error);
  if (!status && !w->y) status = apq_device_alloc(w->context, w->data.y_bytes, &w->y, error);
  if (!status && !w->workspace)
    status = apq_device_alloc(w->context, w->workspace_bytes, &w->workspace, error);
  if (!status)
    status =
        apq_copy_to_device(w->context, w->x, w->data.x, (size_t)(usual.m * usual.k) * 2, error);
  return status;
}

static apq_status do_run(way *w, apq_error *error) {
  apq_status status = apq_plan_run(w->plan, usual.m, w->x, 0, w->y, 0, w->workspace,
                                   w->workspace_bytes, NULL, error);
  return status ? status : apq_synchronize(w->context, NULL, error);
}

/* A text is whole, or, without memory, empty. */
static apq_status text_status(size_t length, const char *text, const char *begins) {
  assert_int_equal(length, strlen(text));
  if (length == 0) return APQ_OUT_OF_MEMORY;
  assert_memory_equal(text, begins, strlen(begins));
  return APQ_OK;
}

static apq_status do_explain(way *w, apq_error *error) {
  char text[4096];
  (void)error;
  return text_status(apq_plan_explain(w->plan, usual.m, text, sizeof text), text, "problem: ");
}

static apq_status do_explain_unprepared(way *w, apq_error *error) {
  char text[4096];
  (void)error;
  return text_status(apq_plan_explain(w->plan, usual.m + 1, text, sizeof text), text, "problem: ");
}

static apq_status do_describe(way *w, apq_error *error) {
  char text[4096];
  (void)error;
  return text_status(apq_context_describe(w->context, text, sizeof text), text, "device: ");
}

static void end_way(way *w) {
  apq_device_free(w->context, w->x);
  apq_device_free(w->context, w->y);
  apq_device_free(w->context, w->workspace);
  apq_plan_destroy(w->plan);
  apq_weights_destroy(w->weights);
  apq_context_close(w->context);
}

/* Fails allocation 1, 2, 3, ... of one step until one pass needs no more; leaves the step done.
 * `undo` takes a success back. */
static void fail_each(way *w, const char *name, apq_status (*step)(way *, apq_error *),
                      void (*undo)(way *)) {
  int refused = 0;
  for (long i = 1;; i++) {
    apq_error error = APQ_ERROR_INIT;
    count.calls = 0;
    count.fail_at = i;
    apq_status status = step(w, &error);
    int was_reached = count.calls >= i;
    count.fail_at = 0;
    /* The emulated device tells a thread's lack of memory as that thread's fault. */
    if (status == APQ_KERNEL_FAULT && strstr(error.message, "no memory"))
      status = APQ_OUT_OF_MEMORY;
    if (status != APQ_OK && status != APQ_OUT_OF_MEMORY)
      fail_msg("%s, allocation %ld: %s: %s", name, i, apq_status_name(status), error.message);
    apq_error_clear(&error);
    refused += status == APQ_OUT_OF_MEMORY;
    if (!was_reached) {
      assert_int_equal(status, APQ_OK);
      break;
    }
    if (status == APQ_OK && undo) undo(w);
  }
  print_message("%s: %d refusals\n", name, refused);
}

static void undo_open(way *w) {
  apq_context_close(w->context);
  w->context = NULL;
}
static void undo_weights(way *w) {
  apq_weights_destroy(w->weights);
  w->weights = NULL;
}
static void undo_other(way *w) {
  apq_weights_destroy(w->other);
  w->other = NULL;
}
static void undo_plan(way *w) {
  apq_plan_destroy(w->plan);
  w->plan = NULL;
}

static void every_allocation_of_every_call(void **state) {
  (void)state;
  way w = {.data = make_data(&usual, 3)};
  const long base = count.live;
  fail_each(&w, "open", do_open, undo_open);
  fail_each(&w, "weights", do_weights, undo_weights);
  const struct {
    const char *name;
    apq_status (*step)(way *, apq_error *);
    void (*undo)(way *);
  } steps[] = {{"groups", do_groups, undo_other}, {"import", do_import, undo_other},
               {"view", do_view, undo_other},     {"dequantize", do_dequantize, NULL},
               {"save", do_save, NULL},           {"load", do_load, undo_other}};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    fail_each(&w, steps[i].name, steps[i].step, steps[i].undo);
    undo_other(&w);
  }
  fail_each(&w, "plan", do_plan, undo_plan);
  fail_each(&w, "prepare", do_prepare, NULL);
  fail_each(&w, "memory", do_memory, NULL);
  fail_each(&w, "run", do_run, NULL);
  fail_each(&w, "explain", do_explain, NULL);
  fail_each(&w, "explain unprepared", do_explain_unprepared, NULL);
  fail_each(&w, "describe", do_describe, NULL);
  product_run run = {.context = w.context, .plan = w.plan, .y = w.y};
  expect_result(&run, &w.data);
  end_way(&w);
  assert_int_equal(count.live, base);
  free_data(&w.data);
}

static void open_and_close_leave_nothing(void **state) {
  (void)state;
  long base = 0;
  for (int i = 0; i < 4; i++) {
    way w = {.data = make_data(&usual, 3)};
    apq_status (*const steps[])(way *, apq_error *) = {do_open,    do_weights, do_plan,
                                                       do_prepare, do_memory,  do_run};
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) CHECK(steps[s](&w, error));
    end_way(&w);
    free_data(&w.data);
    if (i == 0) base = count.live; /* what is made once a process */
    assert_int_equal(count.live, base);
  }
}

static int install(void **state) {
  (void)state;
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  return failing_install(&count) != APQ_OK;
}

static int remove_hook(void **state) {
  (void)state;
  return apq_set_allocator(NULL) != APQ_OK;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(open_and_close_leave_nothing),
      cmocka_unit_test(every_allocation_of_every_call),
  };
  return cmocka_run_group_tests(tests, install, remove_hook);
}
