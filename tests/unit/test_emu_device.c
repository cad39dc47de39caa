/* The emulated device behind its table of functions: names, memory, objects, streams, graphs,
 * threads. */
#include "emu_kernel.h"

#include <pthread.h>

static apq_error error;

static void devices_open_by_name(void **state) {
  (void)state;
  static const struct {
    const char *name;
    apq_status status;
    const char *text; /* the target's name, or part of the message */
  } rows[] = {
      {"emu", APQ_OK, "emu:sm_90a"},
      {"emu:sm_75", APQ_OK, "emu:sm_75"},
      {"emu:sm_80", APQ_OK, "emu:sm_80"},
      {"emu:sm_81", APQ_NOT_FOUND, "sm_80, sm_86"},
      {"emu:", APQ_INVALID_ARGUMENT, "'emu:'"},
      {"emulator", APQ_INVALID_ARGUMENT, "'emulator'"},
      {"cuda:x", APQ_INVALID_ARGUMENT, "'x'"},
      {"cuda:-1", APQ_INVALID_ARGUMENT, "'-1'"},
      {"cuda:99999", APQ_NO_DEVICE, ""},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq__device *device = NULL;
    assert_int_equal(apq__device_open(rows[i].name, &device, &error), rows[i].status);
    if (rows[i].status == APQ_OK)
      assert_string_equal(device->target.name, rows[i].text);
    else
      assert_non_null(strstr(error.message, rows[i].text));
    assert_int_equal(device != NULL, rows[i].status == APQ_OK);
    apq__device_close(device);
  }
  apq__device_close(NULL);
}

static void the_environment_names_a_device_and_a_seed(void **state) {
  (void)state;
  apq__device *device = NULL;
  setenv("APQ_DEVICE", "emu:sm_86", 1);
  check_ok(apq__device_open(NULL, &device, &error), &error);
  assert_string_equal(device->target.name, "emu:sm_86");
  apq__device_close(device);
  check_ok(apq__device_open("", &device, &error), &error);
  assert_string_equal(device->target.name, "emu:sm_86");
  apq__device_close(device);
  unsetenv("APQ_DEVICE");
  setenv("APQ_EMU_SEED", "12x", 1);
  assert_int_equal(apq__device_open("emu", &device, &error), APQ_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "APQ_EMU_SEED"));
  unsetenv("APQ_EMU_SEED");
}

static void the_list_has_a_line_for_each_device(void **state) {
  (void)state;
  char text[2000], cut[8];
  apq__device_list(text, sizeof text);
  assert_non_null(strstr(text, "emu:sm_80\n"));
  assert_non_null(strstr(text, "emu:sm_90a (emu)\n"));
  assert_non_null(strstr(text, "cuda"));
  apq__device_list(cut, sizeof cut);
  assert_int_equal(strlen(cut), sizeof cut - 1);
}

/* ---- memory ---- */

static void memory_is_hostile_and_bounded(void **state) {
  (void)state;
  apq__device *device = NULL;
  void *memory = NULL, *more = NULL;
  char data[100];
  check_ok(apq__device_open("emu:sm_80", &device, &error), &error);
  const apq__device_ops *ops = device->ops;
  for (size_t size = 0; size < 100; size++) {
    check_ok(ops->alloc(device, size, &memory, &error), &error);
    assert_int_equal((uintptr_t)memory % 512, 256);
  }
  check_ok(ops->to_host(device, data, memory, 99, &error), &error);
  assert_true(data[0] != 0);
  memset(data, 7, sizeof data);
  check_ok(ops->to_device(device, memory, data, 99, &error), &error);
  check_ok(ops->fill(device, (char *)memory + 98, 9, 1, NULL, &error), &error);
  check_ok(ops->to_host(device, data, memory, 99, &error), &error);
  assert_int_equal(data[97], 7);
  assert_int_equal(data[98], 9);
  assert_int_equal(ops->to_device(device, memory, data, 100, &error), APQ_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "copy to the device of 100 bytes"));
  assert_int_equal(ops->to_host(device, data, (char *)memory + 98, 2, &error),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(ops->fill(device, (char *)memory - 1, 0, 1, NULL, &error), APQ_INVALID_ARGUMENT);
  ops->release(device, memory);
  ops->release(device, NULL);
  assert_int_equal(ops->to_host(device, data, memory, 1, &error), APQ_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "released"));
  assert_int_equal(ops->alloc(device, (size_t)1 << 60, &more, &error), APQ_OUT_OF_MEMORY);
  assert_null(more);
  /* Far more than is kept of released memory. */
  for (int i = 0; i < 200; i++) {
    check_ok(ops->alloc(device, 1 << 20, &memory, &error), &error);
    ops->release(device, memory);
  }
  apq__device_close(device);
}

/* ---- objects ---- */

static void foreign_objects_are_refused(void **state) {
  (void)state;
  apq__device *device = NULL;
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  apq__object object;
  check_ok(apq__device_open("emu:sm_80", &device, &error), &error);
  const apq__device_ops *ops = device->ops;
  assert_int_equal(ops->load(device, "not an object", 13, &module, &error), APQ_CORRUPT);
  check_ok(apq__compile("int x;\n", &device->target, NULL, &object, &error), &error);
  assert_int_equal(ops->load(device, object.image, object.size, &module, &error), APQ_CORRUPT);
  assert_int_equal(ops->load(device, object.image, object.size / 2, &module, &error), APQ_CORRUPT);
  apq__object_free(&object);
  const char *future = "__attribute__((visibility(\"default\"))) const int apq_emu_version = 99;\n"
                       "__attribute__((visibility(\"default\"))) void apq_emu_attach(void) {}\n";
  check_ok(apq__compile(future, &device->target, NULL, &object, &error), &error);
  assert_int_equal(ops->load(device, object.image, object.size, &module, &error), APQ_CORRUPT);
  assert_non_null(strstr(error.message, "version 99"));
  apq__object_free(&object);
  test_compile("sm_80", "APQ_KERNEL(test, test_args, 32, 1) {}\n", &object);
  check_ok(ops->load(device, object.image, object.size, &module, &error), &error);
  assert_int_equal(ops->kernel(device, module, "other", 0, &kernel, NULL, &error), APQ_NOT_FOUND);
  apq__kernel_info info;
  check_ok(ops->kernel(device, module, "test", 0, &kernel, &info, &error), &error);
  assert_int_equal(info.max_threads, 32);
  apq__object_free(&object);
  apq__device_close(device); /* with the module still loaded */
}

/* ---- streams and graphs ---- */

/* Adds i[0] to each of 32 counters. */
static const char add_body[] = "APQ_KERNEL(test, test_args, 32, 1) {\n"
                               "  apq_u32 *at = (apq_u32 *)args.p[0] + apq_thread();\n"
                               "  apq_stg32(at, apq_ldg32(at) + (apq_u32)args.i[0]);\n"
                               "}\n";

static uint32_t read_counter(test_kernel *test, const void *memory, int i) {
  uint32_t counters[32];
  test_download(test, counters, memory, sizeof counters);
  return counters[i];
}

static void graphs_replay_what_was_captured(void **state) {
  (void)state;
  test_kernel test;
  apq__object object;
  void *stream = NULL;
  apq__graph *graph = NULL;
  test_compile("sm_80", add_body, &object);
  test_open(&test, "sm_80", 0, &object);
  test_use(&test, "test", 0);
  apq__device *device = test.device;
  const apq__device_ops *ops = device->ops;
  void *counters = test_alloc(&test, 128);
  test_args args = {{counters}, {5}};
  const apq__launch launch = {.kernel = test.kernel,
                              .grid = {1, 1, 1},
                              .threads = 32,
                              .args = &args,
                              .args_size = sizeof args};
  check_ok(ops->stream_create(device, &stream, &error), &error);
  check_ok(ops->fill(device, counters, 0, 128, stream, &error), &error);
  check_ok(ops->launch(device, &launch, stream, &error), &error);
  assert_int_equal(read_counter(&test, counters, 31), 5);

  assert_int_equal(ops->is_capturing(device, stream), 0);
  check_ok(ops->capture_begin(device, stream, &error), &error);
  assert_int_equal(ops->is_capturing(device, stream), 1);
  assert_int_equal(ops->is_capturing(device, NULL), 0);
  assert_int_equal(ops->capture_begin(device, stream, &error), APQ_BUSY);
  check_ok(ops->fill(device, counters, 1, 4, stream, &error), &error);
  check_ok(ops->launch(device, &launch, stream, &error), &error);
  args.i[0] = 100; /* after the capture has copied it */
  check_ok(ops->capture_end(device, stream, &graph, &error), &error);
  assert_int_equal(ops->is_capturing(device, stream), 0);
  assert_int_equal(read_counter(&test, counters, 31), 5);
  for (int i = 0; i < 3; i++) check_ok(ops->graph_launch(device, graph, stream, &error), &error);
  check_ok(ops->synchronize(device, stream, &error), &error);
  assert_int_equal(read_counter(&test, counters, 0), 0x01010101 + 5);
  assert_int_equal(read_counter(&test, counters, 31), 20);
  ops->graph_destroy(device, graph);
  ops->stream_destroy(device, stream);
  test_close(&test);
  apq__object_free(&object);
}

static void a_capture_forbids_to_wait(void **state) {
  (void)state;
  apq__device *device = NULL;
  void *stream = NULL, *memory = NULL, *more = NULL;
  apq__graph *graph = NULL;
  apq__event *event = NULL;
  char byte = 0;
  double seconds;
  check_ok(apq__device_open("emu:sm_80", &device, &error), &error);
  const apq__device_ops *ops = device->ops;
  check_ok(ops->alloc(device, 16, &memory, &error), &error);
  check_ok(ops->event_create(device, &event, &error), &error);
  check_ok(ops->stream_create(device, &stream, &error), &error);
  for (int i = 0; i < 5; i++) {
    check_ok(ops->capture_begin(device, stream, &error), &error);
    apq_status status = i == 0   ? ops->synchronize(device, stream, &error)
                        : i == 1 ? ops->to_host(device, &byte, memory, 1, &error)
                        : i == 2 ? ops->to_device(device, memory, &byte, 1, &error)
                        : i == 3 ? ops->event_seconds(device, event, event, &seconds, &error)
                                 : ops->alloc(device, 16, &more, &error);
    assert_int_equal(status, APQ_BUSY);
    assert_int_equal(ops->capture_end(device, stream, &graph, &error), APQ_DEVICE);
    assert_null(graph);
  }
  assert_int_equal(ops->capture_end(device, stream, &graph, &error), APQ_INVALID_ARGUMENT);
  assert_int_equal(ops->capture_begin(device, NULL, &error), APQ_INVALID_ARGUMENT);
  assert_int_equal(ops->synchronize(device, memory, &error), APQ_INVALID_ARGUMENT);
  check_ok(ops->event_record(device, event, stream, &error), &error);
  check_ok(ops->event_seconds(device, event, event, &seconds, &error), &error);
  assert_true(seconds >= 0 && seconds <= 0);
  ops->event_destroy(device, event);
  check_ok(ops->capture_begin(device, stream, &error), &error);
  apq__device_close(device); /* with a stream, a capture and memory left */
}

/* ---- threads ---- */

typedef struct worker {
  test_kernel test;
  void *counters;
  apq_status status;
} worker;

static void *launch_often(void *argument) {
  worker *self = argument;
  const test_args args = {{self->counters}, {1}};
  for (int i = 0; i < 50 && self->status == APQ_OK; i++)
    self->status = test_launch(&self->test, 4, 32, 0, &args, NULL);
  return NULL;
}

/* Two threads on one device and one on another with the same object: each block adds 1 to every
 * counter. */
static void threads_share_devices(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 32, 1) {\n"
      "  apq_atomic_increment((unsigned *)args.p[0] + apq_shuffle_xor((apq_u32)apq_thread(), 1));\n"
      "}\n";
  apq__object object;
  worker workers[3];
  pthread_t threads[3];
  test_compile("sm_80", body, &object);
  memset(workers, 0, sizeof workers);
  for (int i = 0; i < 3; i += 2) {
    test_open(&workers[i].test, "sm_80", 0, &object);
    test_use(&workers[i].test, "test", 0);
    workers[i].counters = test_alloc(&workers[i].test, 128);
    check_ok(workers[i].test.device->ops->fill(workers[i].test.device, workers[i].counters, 0, 128,
                                               NULL, &error),
             &error);
  }
  workers[1] = workers[0];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, launch_often, &workers[i]), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(workers[i].status, APQ_OK);
  }
  for (int i = 0; i < 32; i++) {
    assert_int_equal(read_counter(&workers[0].test, workers[0].counters, i), 400);
    assert_int_equal(read_counter(&workers[2].test, workers[2].counters, i), 200);
  }
  test_close(&workers[0].test);
  test_close(&workers[2].test);
  apq__object_free(&object);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(devices_open_by_name),
      cmocka_unit_test(the_environment_names_a_device_and_a_seed),
      cmocka_unit_test(the_list_has_a_line_for_each_device),
      cmocka_unit_test(memory_is_hostile_and_bounded),
      cmocka_unit_test(foreign_objects_are_refused),
      cmocka_unit_test(graphs_replay_what_was_captured),
      cmocka_unit_test(a_capture_forbids_to_wait),
      cmocka_unit_test(threads_share_devices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
