/* The CUDA backend's own logic, over a driver of the tests' own (fake_cuda.h): contexts, targets,
 * limits, errors, ownership. What a real GPU does is tests/gpu's subject. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "compile_impl.h"
#include "device_impl.h"
#include "device_scope.h"
#include "fake_cuda.h"

#ifndef APQ_HAVE_CUDA

int main(void) {
  printf("skipped: built without the CUDA backend\n");
  return 77;
}

#else

#define assert_ok(call, error)                                                                     \
  do {                                                                                             \
    if (call) fail_msg("%s: %s", #call, (error)->message);                                         \
  } while (0)

/* This program, for what needs a process of its own. */
static const char *program;

static fake_cuda *fake;
static int (*depth)(void);
static void (*push_foreign)(void);
static int (*pop_foreign)(void);

static void find(void *library, const char *symbol, void *function) {
  void *address = dlsym(library, symbol);
  memcpy(function, &address, sizeof address);
}

/* The backend's dlopen of "libcuda.so.1" then finds this library, which is loaded and has that
 * name, whether or not there is a real one. */
static int load_fake(void) {
  void *library = dlopen(APQ_BINARY_DIR "/tests/fake_cuda/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  fake_cuda *(*state)(void) = NULL;
  if (!library) return 0;
  find(library, "fake_cuda_state", &state);
  find(library, "fake_cuda_depth", &depth);
  find(library, "fake_cuda_push_foreign", &push_foreign);
  find(library, "fake_cuda_pop_foreign", &pop_foreign);
  fake = state();
  return 1;
}

static apq__device *open_device(int ordinal) {
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  assert_ok(apq__cuda_open(ordinal, &device, &error), &error);
  return device;
}

/* A cubin as far as its headers go: one section of 8 bytes. */
typedef struct small_cubin {
  Elf64_Ehdr head;
  char text[8];
  Elf64_Shdr section;
} small_cubin;

static small_cubin make_cubin(void) {
  small_cubin cubin = {0};
  memcpy(cubin.head.e_ident, ELFMAG, SELFMAG);
  cubin.head.e_ident[EI_CLASS] = ELFCLASS64;
  cubin.head.e_machine = 190;
  cubin.head.e_shoff = offsetof(small_cubin, section);
  cubin.head.e_shnum = 1;
  cubin.head.e_shentsize = sizeof(Elf64_Shdr);
  cubin.section.sh_type = SHT_PROGBITS;
  cubin.section.sh_offset = offsetof(small_cubin, text);
  cubin.section.sh_size = sizeof cubin.text;
  return cubin;
}

static apq__module *load_module(apq__device *device) {
  apq_error error = APQ_ERROR_INIT;
  small_cubin cubin = make_cubin();
  apq__module *module = NULL;
  assert_ok(device->ops->load(device, &cubin, sizeof cubin, &module, &error), &error);
  return module;
}

static void *open_on_a_thread(void *out) {
  (void)apq__cuda_open(0, out, NULL);
  return NULL;
}

static void *use_on_a_thread(void *argument) {
  apq__device *device = argument;
  apq_status status = device->ops->synchronize(device, NULL, NULL);
  return status ? argument : NULL;
}

/* Comes first: the threads race for the loading of the library, then for the context. */
static void threads_may_open_and_start_at_once(void **state) {
  (void)state;
  enum { THREADS = 4 };
  pthread_t thread[THREADS];
  apq__device *device[THREADS] = {NULL};
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&thread[i], NULL, open_on_a_thread, &device[i]), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < THREADS; i++) assert_non_null(device[i]);
  assert_int_equal(fake->retained[0], 0); /* nobody has used it yet */
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&thread[i], NULL, use_on_a_thread, device[0]), 0);
  for (int i = 0; i < THREADS; i++) {
    void *failed = NULL;
    pthread_join(thread[i], &failed);
    assert_null(failed);
  }
  assert_int_equal(fake->retained[0], 1);
  for (int i = 0; i < THREADS; i++) device[i]->ops->close(device[i]);
  assert_int_equal(fake->retained[0], 0);
}

static void the_target_comes_from_the_attributes(void **state) {
  (void)state;
  apq__target table;
  assert_int_equal(apq__target_emulated("sm_90a", &table, NULL), APQ_OK);
  apq__device *device = open_device(0);
  apq__target target = device->target;
  device->ops->close(device);
  assert_string_equal(target.name, "Fake GPU 0");
  assert_string_equal(target.arch, "sm_90a");
  assert_string_equal(target.driver, "12.4");
  assert_int_equal(target.cc, 90);
  assert_int_equal(target.emulated, 0);
  assert_int_equal(target.sm_count, 132);
  assert_int_equal(target.smem_per_block, 232448);
  assert_int_equal(target.smem_per_sm, 233472);
  assert_int_equal(target.l2_bytes, 62914560);
  assert_true(target.mem_bytes == (int64_t)140 << 30);
  /* The table's sustained clock is below the driver's boost clock; 0.87 of 2 * 3.201 GHz * 768
   * bytes. */
  assert_true(target.clock_hz == table.clock_hz);
  assert_true(target.dram_bytes_per_s > 4.27e12 && target.dram_bytes_per_s < 4.29e12);
  assert_true(target.u8_macs == table.u8_macs && target.l2_bytes_per_s > 0);
  fake->memory_clock_khz = 0;
  device = open_device(0);
  assert_true(device->target.dram_bytes_per_s == table.dram_bytes_per_s);
  device->ops->close(device);
  fake->memory_clock_khz = 3201000;
}

static void capabilities_map_to_archs(void **state) {
  (void)state;
  const struct {
    int cc;
    const char *arch; /* NULL: no kernels for it */
    int arch_cc;
  } rows[] = {{75, "sm_75", 75},    {80, "sm_80", 80},    {86, "sm_86", 86},
              {87, "sm_86", 86},    {89, "sm_89", 89},    {90, "sm_90a", 90},
              {100, "sm_100", 100}, {103, "sm_100", 100}, {120, "sm_120", 120},
              {121, "sm_120", 120}, {70, NULL, 0},        {72, NULL, 0},
              {110, NULL, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    apq__device *device = NULL;
    fake->cc[1] = rows[i].cc;
    apq_status status = apq__cuda_open(1, &device, &error);
    if (!rows[i].arch) {
      char version[8];
      snprintf(version, sizeof version, "%d.%d", rows[i].cc / 10, rows[i].cc % 10);
      assert_int_equal(status, APQ_UNSUPPORTED);
      assert_non_null(strstr(error.message, version));
      continue;
    }
    assert_ok(status, &error);
    assert_string_equal(device->target.arch, rows[i].arch);
    assert_int_equal(device->target.cc, rows[i].arch_cc);
    device->ops->close(device);
  }
  assert_int_equal(fake->retained[1], 0);
  fake->cc[1] = 86;
}

/* Every operation once; returns through `error` the first failure. */
static apq_status use_everything(apq__device *device, apq_error *error) {
  const apq__device_ops *ops = device->ops;
  void *memory = NULL, *stream = NULL;
  apq__event *begin = NULL, *end = NULL;
  apq__graph *graph = NULL;
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  apq__kernel_info info;
  small_cubin cubin = make_cubin();
  char bytes[64] = "what is copied", back[64] = "";
  double seconds = 0;
  const int argument = 4711;
  apq__launch launch = {
      .grid = {3, 2, 1}, .threads = 128, .args = &argument, .args_size = sizeof argument};
  apq_status status = ops->alloc(device, sizeof bytes, &memory, error);
  if (!status) status = ops->to_device(device, memory, bytes, sizeof bytes, error);
  if (!status) status = ops->stream_create(device, &stream, error);
  if (!status) status = ops->fill(device, memory, 'W', 1, stream, error);
  if (!status) status = ops->to_host(device, back, memory, sizeof back, error);
  if (!status) assert_string_equal(back, "What is copied");
  if (!status) status = ops->load(device, &cubin, sizeof cubin, &module, error);
  if (!status) status = ops->kernel(device, module, "known", 0, &kernel, &info, error);
  launch.kernel = kernel;
  if (!status) status = ops->launch(device, &launch, stream, error);
  if (!status) status = ops->event_create(device, &begin, error);
  if (!status) status = ops->event_create(device, &end, error);
  if (!status) status = ops->event_record(device, begin, stream, error);
  if (!status) status = ops->event_record(device, end, stream, error);
  if (!status) status = ops->event_seconds(device, begin, end, &seconds, error);
  if (!status) assert_true(seconds > 1.4e-3 && seconds < 1.6e-3);
  if (!status) status = ops->capture_begin(device, stream, error);
  if (!status) assert_int_equal(ops->is_capturing(device, stream), 1);
  if (!status) status = ops->capture_end(device, stream, &graph, error);
  if (!status) assert_int_equal(ops->is_capturing(device, stream), 0);
  if (!status) status = ops->graph_launch(device, graph, stream, error);
  if (!status) status = ops->synchronize(device, stream, error);
  ops->graph_destroy(device, graph);
  ops->event_destroy(device, end);
  ops->event_destroy(device, begin);
  ops->unload(device, module);
  ops->stream_destroy(device, stream);
  ops->release(device, memory);
  return status;
}

static void assert_nothing_is_left(void) {
  assert_int_equal(fake->allocations, 0);
  assert_int_equal(fake->modules, 0);
  assert_int_equal(fake->streams, 0);
  assert_int_equal(fake->events, 0);
  assert_int_equal(fake->graphs, 0);
  assert_int_equal(fake->execs, 0);
}

static void calls_leave_the_thread_s_contexts_alone(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__cuda_scope scope;
  apq__device *device = open_device(0), *other = open_device(1);
  /* No context; another's; another of ours; the right one, which is not pushed again. */
  assert_ok(use_everything(device, &error), &error);
  assert_int_equal(depth(), 0);
  push_foreign();
  assert_ok(use_everything(device, &error), &error);
  assert_int_equal(depth(), 1);
  assert_true(pop_foreign());
  assert_ok(apq__cuda_enter(other, &scope, &error), &error);
  assert_ok(use_everything(device, &error), &error);
  assert_int_equal(depth(), 1);
  apq__cuda_leave(&scope);
  assert_ok(apq__cuda_enter(device, &scope, &error), &error);
  assert_ok(use_everything(device, &error), &error);
  assert_int_equal(depth(), 1);
  apq__cuda_leave(&scope);
  assert_int_equal(depth(), 0);
  assert_nothing_is_left();
  device->ops->close(device);
  other->ops->close(other);
  assert_int_equal(fake->retained[0] + fake->retained[1], 0);
}

static void a_launch_passes_its_arguments(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = open_device(0);
  int value = 0;
  fake->launches = 0;
  assert_ok(use_everything(device, &error), &error);
  assert_int_equal(fake->launches, 1);
  assert_int_equal(fake->args_size, sizeof value);
  memcpy(&value, fake->args, sizeof value);
  assert_int_equal(value, 4711);
  assert_int_equal(fake->grid[0], 3);
  assert_int_equal(fake->grid[1], 2);
  assert_int_equal(fake->threads, 128);
  device->ops->close(device);
}

static apq__kernel *known_kernel(apq__device *device, apq__module *module, size_t smem_bytes) {
  apq_error error = APQ_ERROR_INIT;
  apq__kernel *kernel = NULL;
  apq__kernel_info info;
  assert_ok(device->ops->kernel(device, module, "known", smem_bytes, &kernel, &info, &error),
            &error);
  assert_int_equal(info.registers, 40);
  assert_int_equal(info.local_bytes, 16);
  assert_int_equal(info.static_smem_bytes, 1024);
  assert_int_equal(info.max_threads, 256);
  return kernel;
}

static void a_launch_may_form_clusters_and_overlap_the_one_before(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = open_device(0);
  small_cubin cubin = make_cubin();
  apq__module *module = NULL;
  const int argument = 4711;
  assert_ok(device->ops->load(device, &cubin, sizeof cubin, &module, &error), &error);
  apq__launch launch = {.kernel = known_kernel(device, module, 0),
                        .grid = {4, 1, 1},
                        .threads = 128,
                        .args = &argument,
                        .args_size = sizeof argument,
                        .cluster = 2,
                        .dependent = 1};
  device->target.cc = 90;
  assert_ok(device->ops->launch(device, &launch, NULL, &error), &error);
  assert_int_equal(fake->grid[0], 4);
  assert_int_equal(fake->cluster, 2);
  assert_int_equal(fake->dependent, 1);
  launch.cluster = 1;
  launch.dependent = 0;
  assert_ok(device->ops->launch(device, &launch, NULL, &error), &error);
  assert_int_equal(fake->cluster, 0);
  device->target.cc = 89;
  launch.cluster = 2;
  assert_int_equal(device->ops->launch(device, &launch, NULL, &error), APQ_INFEASIBLE);
  assert_non_null(strstr(error.message, "clusters"));
  device->ops->unload(device, module);
  device->ops->close(device);
}

static void a_tensor_map_says_what_a_box_is(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = open_device(0);
  apq_tensor_map map;
  apq__tensor_box box = {.base = (const void *)4096,
                         .row_bytes = 512,
                         .rows = 100,
                         .planes = 3,
                         .row_pitch = 512,
                         .plane_pitch = 51200,
                         .box_bytes = 64,
                         .box_rows = 128,
                         .swizzle = 64};
  device->target.cc = 90;
  assert_ok(device->ops->tensor_map(device, &box, &map, &error), &error);
  const unsigned long long words[] = {4096, 512, 100, 3, 512, 51200, 64, 128, 1, 2};
  assert_memory_equal(map.word, words, sizeof words);
  box.row_pitch = 500;
  assert_int_equal(device->ops->tensor_map(device, &box, &map, &error), APQ_DEVICE);
  assert_non_null(strstr(error.message, "pitch 500"));
  device->target.cc = 80;
  assert_int_equal(device->ops->tensor_map(device, &box, &map, &error), APQ_INFEASIBLE);
  device->ops->close(device);
}

static void shared_memory_is_opted_in_to(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__kernel *kernel = NULL;
  apq__device *device = open_device(0);
  apq__module *module = load_module(device);
  fake->max_dynamic_smem = fake->carveout = 0;
  apq__kernel *first = known_kernel(device, module, 1000);
  assert_int_equal(fake->max_dynamic_smem, 0); /* below 48 KB */
  assert_int_equal(fake->carveout, 11);        /* 8 blocks of 1000 + 1024 + 1024 of 233472 */
  assert_ptr_equal(known_kernel(device, module, 100000), first);
  assert_int_equal(fake->max_dynamic_smem, 100000);
  assert_int_equal(fake->carveout, 88); /* 2 blocks of 100000 + 1024 + 1024 */
  assert_ptr_equal(known_kernel(device, module, 500), first);
  assert_int_equal(fake->max_dynamic_smem, 100000); /* the larger stays */
  assert_ptr_equal(known_kernel(device, module, 232448 - 1024), first);
  assert_int_equal(fake->max_dynamic_smem, 231424);
  assert_int_equal(fake->carveout, 100);
  assert_int_equal(
      device->ops->kernel(device, module, "known", 232448 - 1023, &kernel, NULL, &error),
      APQ_INFEASIBLE);
  assert_non_null(strstr(error.message, "232449"));
  assert_int_equal(device->ops->kernel(device, module, "unknown", 0, &kernel, NULL, &error),
                   APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, "'unknown'"));
  assert_null(kernel);
  device->ops->unload(device, module);
  device->ops->close(device);
}

static void a_damaged_cubin_does_not_reach_the_driver(void **state) {
  (void)state;
  apq__device *device = open_device(0);
  apq__module *module = NULL;
  const small_cubin whole = make_cubin();
  for (size_t size = 0; size < sizeof whole; size++)
    assert_int_equal(device->ops->load(device, &whole, size, &module, NULL), APQ_CORRUPT);
  small_cubin bad = whole;
  bad.head.e_machine = EM_X86_64;
  assert_int_equal(device->ops->load(device, &bad, sizeof bad, &module, NULL), APQ_CORRUPT);
  bad = whole;
  bad.section.sh_offset = UINT64_MAX - 3;
  assert_int_equal(device->ops->load(device, &bad, sizeof bad, &module, NULL), APQ_CORRUPT);
  bad = whole;
  bad.head.e_shoff = UINT64_MAX - sizeof(Elf64_Shdr) + 1;
  assert_int_equal(device->ops->load(device, &bad, sizeof bad, &module, NULL), APQ_CORRUPT);
  assert_null(module);
  assert_int_equal(fake->modules, 0);
  device->ops->close(device);
}

/* The check above must not refuse what the compiler makes. */
static void what_nvrtc_makes_is_a_whole_cubin(void **state) {
  (void)state;
  static const char source[] =
      "extern \"C\" __global__ void known(int *p) { __shared__ int s[64];\n"
      "  s[threadIdx.x] = *p; __syncthreads(); *p = s[threadIdx.x ^ 1]; }\n";
  apq__device *device = open_device(0);
  for (int i = 0; apq__target_arch(i); i++) {
    apq_error error = APQ_ERROR_INIT;
    apq__target target;
    apq__module *module = NULL;
    void *image = NULL;
    char *log = NULL;
    size_t size = 0;
    assert_ok(apq__target_emulated(apq__target_arch(i), &target, &error), &error);
    if (apq__nvrtc_compile(source, &target, &image, &size, &log, &error) == APQ_NO_COMPILER) {
      printf("skipped: %s\n", error.message);
      device->ops->close(device);
      skip();
    }
    assert_non_null(image);
    assert_ok(device->ops->load(device, image, size, &module, &error), &error);
    device->ops->unload(device, module);
    for (size_t cut = 0; cut < size; cut += 1 + size / 97)
      assert_int_equal(device->ops->load(device, image, cut, &module, NULL), APQ_CORRUPT);
    apq__free(image);
    apq__free(log);
  }
  device->ops->close(device);
}

static void each_failing_call_is_named_and_leaves_nothing(void **state) {
  (void)state;
  const char *calls[] = {
      "cuMemAlloc",         "cuMemcpyHtoD",       "cuStreamSynchronize",  "cuStreamCreate",
      "cuMemsetD8Async",    "cuMemcpyDtoH",       "cuModuleLoadData",     "cuModuleGetFunction",
      "cuFuncGetAttribute", "cuLaunchKernel",     "cuEventCreate",        "cuEventRecord",
      "cuEventSynchronize", "cuEventElapsedTime", "cuStreamBeginCapture", "cuStreamEndCapture",
      "cuGraphInstantiate", "cuGraphLaunch",
  };
  apq__device *device = open_device(0);
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    fake->fail_call = calls[i];
    fake->fail_result = FAKE_ERROR_INVALID_VALUE;
    assert_int_equal(use_everything(device, &error), APQ_DEVICE);
    if (!strstr(error.message, calls[i]) || !strstr(error.message, "CUDA_ERROR_INVALID_VALUE"))
      fail_msg("%s fails: '%s'", calls[i], error.message);
    assert_nothing_is_left();
    assert_int_equal(depth(), 0);
  }
  fake->fail_call = NULL;
  device->ops->close(device);
}

static void results_become_statuses(void **state) {
  (void)state;
  const struct {
    int result;
    apq_status status;
    const char *text;
  } rows[] = {{FAKE_ERROR_OUT_OF_MEMORY, APQ_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
              {FAKE_ERROR_ILLEGAL_ADDRESS, APQ_KERNEL_FAULT, "cannot use the device any more"},
              {719, APQ_KERNEL_FAULT, "719"},
              {701, APQ_INFEASIBLE, "701"},
              {209, APQ_UNSUPPORTED, "209"},
              {12345, APQ_DEVICE, "unknown CUDA error 12345"}};
  apq__device *device = open_device(0);
  fake->fail_call = "cuStreamSynchronize";
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    fake->fail_result = rows[i].result;
    assert_int_equal(device->ops->synchronize(device, NULL, &error), rows[i].status);
    if (!strstr(error.message, rows[i].text)) fail_msg("%d: '%s'", rows[i].result, error.message);
    assert_string_equal(error.stage, "device");
  }
  fake->fail_call = NULL;
  device->ops->close(device);
}

static void after_a_fault_everything_can_still_be_destroyed(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = open_device(0);
  apq__module *module = load_module(device);
  void *memory = NULL, *stream = NULL;
  assert_ok(device->ops->alloc(device, 16, &memory, &error), &error);
  assert_ok(device->ops->stream_create(device, &stream, &error), &error);
  fake->sticky = FAKE_ERROR_ILLEGAL_ADDRESS;
  assert_int_equal(device->ops->synchronize(device, stream, &error), APQ_KERNEL_FAULT);
  assert_int_equal(use_everything(device, &error), APQ_KERNEL_FAULT);
  device->ops->release(device, memory);
  device->ops->stream_destroy(device, stream);
  device->ops->unload(device, module);
  device->ops->close(device);
  fake->sticky = 0;
  assert_nothing_is_left();
  assert_int_equal(fake->retained[0], 0);
  assert_int_equal(depth(), 0);
}

static void opening_fails_cleanly(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  assert_int_equal(apq__cuda_count(NULL), FAKE_DEVICES);
  assert_int_equal(apq__cuda_open(FAKE_DEVICES, &device, &error), APQ_NO_DEVICE);
  assert_non_null(strstr(error.message, "cuda:2"));
  assert_int_equal(apq__cuda_open(-1, &device, &error), APQ_NO_DEVICE);
  assert_null(device);
}

static void a_context_that_cannot_be_made_is_tried_again(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  void *memory = NULL;
  apq__device *device = open_device(0);
  fake->fail_call = "cuDevicePrimaryCtxRetain";
  fake->fail_result = FAKE_ERROR_OUT_OF_MEMORY;
  assert_int_equal(device->ops->alloc(device, 16, &memory, &error), APQ_OUT_OF_MEMORY);
  assert_non_null(strstr(error.message, "Fake GPU 0: cuDevicePrimaryCtxRetain"));
  assert_null(memory);
  fake->fail_call = NULL;
  assert_ok(device->ops->alloc(device, 16, &memory, &error), &error);
  device->ops->release(device, memory);
  device->ops->close(device);
  assert_nothing_is_left();
  assert_int_equal(fake->retained[0], 0);
}

static int exit_status_of(pid_t child) {
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  return WEXITSTATUS(result);
}

static void a_forked_child_is_told_why_it_cannot(void **state) {
  (void)state;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    apq_error error = APQ_ERROR_INIT;
    apq__device *device = NULL;
    apq_status status = apq__cuda_open(0, &device, &error);
    _exit(status == APQ_DEVICE && strstr(error.message, "fork") ? 0 : 1);
  }
  assert_int_equal(exit_status_of(child), 0);
}

/* In a process of its own, since the library is started once. */
static int check_no_start(void) {
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  fake->init_result = FAKE_ERROR_NO_DEVICE;
  if (apq__cuda_count(&error) != 0 || error.status != APQ_NO_DEVICE) return 2;
  if (apq__cuda_open(0, &device, &error) != APQ_NO_DEVICE || device) return 3;
  return strstr(error.message, "cuInit: CUDA_ERROR_NO_DEVICE") ? 0 : 4;
}

static void a_driver_that_does_not_start_is_no_device(void **state) {
  (void)state;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    execl(program, program, "no-start", (char *)NULL);
    _exit(127);
  }
  assert_int_equal(exit_status_of(child), 0);
}

int main(int argc, char **argv) {
  program = argv[0];
  if (!load_fake()) {
    printf("cannot load the tests' driver: %s\n", dlerror());
    return 1;
  }
  if (argc == 2 && strcmp(argv[1], "no-start") == 0) return check_no_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_may_open_and_start_at_once),
      cmocka_unit_test(the_target_comes_from_the_attributes),
      cmocka_unit_test(capabilities_map_to_archs),
      cmocka_unit_test(calls_leave_the_thread_s_contexts_alone),
      cmocka_unit_test(a_launch_passes_its_arguments),
      cmocka_unit_test(a_launch_may_form_clusters_and_overlap_the_one_before),
      cmocka_unit_test(a_tensor_map_says_what_a_box_is),
      cmocka_unit_test(shared_memory_is_opted_in_to),
      cmocka_unit_test(a_damaged_cubin_does_not_reach_the_driver),
      cmocka_unit_test(what_nvrtc_makes_is_a_whole_cubin),
      cmocka_unit_test(each_failing_call_is_named_and_leaves_nothing),
      cmocka_unit_test(results_become_statuses),
      cmocka_unit_test(after_a_fault_everything_can_still_be_destroyed),
      cmocka_unit_test(opening_fails_cleanly),
      cmocka_unit_test(a_context_that_cannot_be_made_is_tried_again),
      cmocka_unit_test(a_forked_child_is_told_why_it_cannot),
      cmocka_unit_test(a_driver_that_does_not_start_is_no_device),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
