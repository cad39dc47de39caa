/* The CUDA device: memory, kernels, streams, events, graphs, and what it says when a kernel fails.
 */
#include "gpu_support.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "compile_impl.h"

#ifndef APQ_HAVE_CUDA

int main(void) {
  (void)open_gpu();
  return SKIPPED;
}

#else

static const char source[] =
    "typedef struct add_args { int *to; int n, value; } add_args;\n"
    "extern \"C\" __global__ void __launch_bounds__(128) add(const add_args args) {\n"
    "  int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);\n"
    "  if (i < args.n) atomicAdd(args.to + i, args.value);\n"
    "}\n"
    /* Writes all of `words` words of dynamic shared memory, then adds them up. */
    "extern \"C\" __global__ void __launch_bounds__(128) fill_shared(const add_args args) {\n"
    "  extern __shared__ int words[];\n"
    "  for (int i = (int)threadIdx.x; i < args.n; i += 128) words[i] = args.value;\n"
    "  __syncthreads();\n"
    "  int sum = 0;\n"
    "  for (int i = (int)threadIdx.x; i < args.n; i += 128) sum += words[args.n - 1 - i];\n"
    "  atomicAdd(args.to, sum);\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(32) spin(const add_args args) {\n"
    "  long long begin = clock64();\n"
    "  while (clock64() - begin < args.n) {}\n"
    "  if (threadIdx.x == 0) *args.to = args.value;\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(32) wild(const add_args args) {\n"
    "  *(volatile int *)16 = args.value;\n"
    "}\n";

typedef struct add_args {
  int *to;
  int n, value;
} add_args;

/* This program, for what needs a process of its own. */
static const char *program;

/* The GPU and the kernels above, for all tests. */
static struct {
  apq__device *device;
  apq__module *module;
  void *image;
  size_t size;
} gpu;

static void load_kernels(void) {
  apq_error error = APQ_ERROR_INIT;
  char *log = NULL;
  assert_ok(apq__nvrtc_compile(source, &gpu.device->target, &gpu.image, &gpu.size, &log, &error),
            &error);
  apq__free(log);
  assert_ok(gpu.device->ops->load(gpu.device, gpu.image, gpu.size, &gpu.module, &error), &error);
}

static int set_up(void **state) {
  (void)state;
  load_kernels();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  gpu.device->ops->unload(gpu.device, gpu.module);
  apq__free(gpu.image);
  return 0;
}

static apq__kernel *kernel_of(const char *name, size_t smem_bytes) {
  apq_error error = APQ_ERROR_INIT;
  apq__kernel *kernel = NULL;
  apq__kernel_info info;
  assert_ok(
      gpu.device->ops->kernel(gpu.device, gpu.module, name, smem_bytes, &kernel, &info, &error),
      &error);
  assert_true(info.registers > 0 && info.registers <= 255);
  /* The launch bounds, which the choice of the shared-memory carve-out relies on. */
  assert_true(info.max_threads == 32 || info.max_threads == 128);
  return kernel;
}

static int *alloc_words(int count, int value) {
  apq_error error = APQ_ERROR_INIT;
  void *words = NULL;
  size_t bytes = (size_t)count * sizeof(int);
  int *host = apq__alloc(bytes);
  assert_non_null(host);
  for (int i = 0; i < count; i++) host[i] = value;
  assert_ok(gpu.device->ops->alloc(gpu.device, bytes, &words, &error), &error);
  assert_ok(gpu.device->ops->to_device(gpu.device, words, host, bytes, &error), &error);
  apq__free(host);
  return words;
}

static void assert_words(const int *words, int count, int value) {
  apq_error error = APQ_ERROR_INIT;
  size_t bytes = (size_t)count * sizeof(int);
  int *host = apq__alloc(bytes);
  assert_non_null(host);
  assert_ok(gpu.device->ops->to_host(gpu.device, host, words, bytes, &error), &error);
  for (int i = 0; i < count; i++)
    if (host[i] != value) fail_msg("word %d of %d is %d, not %d", i, count, host[i], value);
  apq__free(host);
}

/* One launch of a kernel that takes add_args. */
static apq_status launch(const apq__kernel *kernel, unsigned blocks, unsigned threads,
                         unsigned smem_bytes, int *to, int n, int value, void *stream,
                         apq_error *error) {
  const add_args args = {to, n, value};
  const apq__launch how = {.kernel = kernel,
                           .grid = {blocks, 1, 1},
                           .threads = threads,
                           .smem_bytes = smem_bytes,
                           .args = &args,
                           .args_size = sizeof args};
  return gpu.device->ops->launch(gpu.device, &how, stream, error);
}

static void the_target_is_described(void **state) {
  (void)state;
  const apq__target *target = &gpu.device->target;
  printf("%s: %s (cc %d), driver %s, %d SMs, %.2f GHz, %.0f GB/s, L2 %lld MB at %.0f GB/s, "
         "%d bytes of shared memory a block\n",
         target->name, target->arch, target->cc, target->driver, target->sm_count,
         target->clock_hz * 1e-9, target->dram_bytes_per_s * 1e-9,
         (long long)(target->l2_bytes >> 20), target->l2_bytes_per_s * 1e-9,
         target->smem_per_block);
  assert_true(strncmp(target->arch, "sm_", 3) == 0);
  assert_int_equal(target->emulated, 0);
  assert_true(target->cc >= 75 && target->sm_count > 0);
  assert_true(strchr(target->driver, '.') != NULL);
  assert_true(target->smem_per_block > 48 * 1024 && target->smem_per_sm >= target->smem_per_block);
  assert_true(target->regs_per_sm >= 65536 && target->threads_per_sm >= 1024);
  assert_true(target->blocks_per_sm >= 16);
  assert_true(target->l2_bytes >= 1 << 20 && target->mem_bytes >= 1 << 30);
  assert_true(target->clock_hz > 5e8 && target->clock_hz < 5e9);
  assert_true(target->dram_bytes_per_s > 5e10 && target->dram_bytes_per_s < 5e13);
  assert_true(target->l2_bytes_per_s > 0 && target->u8_macs > 0);
}

static void memory_holds_what_was_copied_and_filled(void **state) {
  (void)state;
  apq__device *device = gpu.device;
  apq_error error = APQ_ERROR_INIT;
  enum { BYTES = 100003 };
  unsigned char *host = apq__alloc(BYTES), *back = apq__calloc(BYTES, 1);
  void *memory = NULL, *none = NULL;
  for (int i = 0; i < BYTES; i++) host[i] = (unsigned char)(i * 7 + i / 256);
  assert_ok(device->ops->alloc(device, BYTES, &memory, &error), &error);
  assert_ok(device->ops->to_device(device, memory, host, BYTES, &error), &error);
  assert_ok(device->ops->to_host(device, back, memory, BYTES, &error), &error);
  assert_memory_equal(host, back, BYTES);
  assert_ok(device->ops->fill(device, (char *)memory + 1, 0xa5, BYTES - 2, NULL, &error), &error);
  assert_ok(device->ops->synchronize(device, NULL, &error), &error);
  assert_ok(device->ops->to_host(device, back, memory, BYTES, &error), &error);
  assert_int_equal(back[0], host[0]);
  assert_int_equal(back[BYTES - 1], host[BYTES - 1]);
  for (int i = 1; i < BYTES - 1; i++) assert_int_equal(back[i], 0xa5);
  assert_ok(device->ops->alloc(device, 0, &none, &error), &error);
  assert_ok(device->ops->to_device(device, none, host, 0, &error), &error);
  assert_ok(device->ops->fill(device, none, 0, 0, NULL, &error), &error);
  device->ops->release(device, none);
  device->ops->release(device, NULL);
  device->ops->release(device, memory);
  apq__free(host);
  apq__free(back);
}

static void too_much_memory_is_refused(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  void *memory = &error;
  assert_int_equal(gpu.device->ops->alloc(gpu.device, (size_t)1 << 50, &memory, &error),
                   APQ_OUT_OF_MEMORY);
  assert_null(memory);
  assert_non_null(strstr(error.message, "cuMemAlloc"));
  assert_non_null(strstr(error.message, "CUDA_ERROR_OUT_OF_MEMORY"));
}

static void a_kernel_runs(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__kernel *add = kernel_of("add", 0);
  int *words = alloc_words(1000, 5);
  assert_ok(launch(add, 8, 128, 0, words, 999, 37, NULL, &error), &error);
  assert_ok(gpu.device->ops->synchronize(gpu.device, NULL, &error), &error);
  assert_words(words, 999, 42);
  assert_words(words + 999, 1, 5);
  assert_ptr_equal(kernel_of("add", 0), add);
  gpu.device->ops->release(gpu.device, words);
}

static void bad_kernels_and_launches_are_refused(void **state) {
  (void)state;
  apq__device *device = gpu.device;
  apq_error error = APQ_ERROR_INIT;
  apq__kernel *kernel = NULL;
  apq__kernel_info info;
  apq__module *module = NULL;
  assert_int_equal(device->ops->kernel(device, gpu.module, "absent", 0, &kernel, &info, &error),
                   APQ_NOT_FOUND);
  assert_null(kernel);
  assert_non_null(strstr(error.message, "absent"));
  size_t too_much = (size_t)device->target.smem_per_block + 4;
  assert_int_equal(device->ops->kernel(device, gpu.module, "add", too_much, &kernel, &info, &error),
                   APQ_INFEASIBLE);
  assert_int_equal(device->ops->load(device, gpu.image, gpu.size / 2, &module, &error),
                   APQ_CORRUPT);
  assert_int_equal(device->ops->load(device, "not a cubin", 11, &module, &error), APQ_CORRUPT);
  assert_null(module);
  assert_int_not_equal(launch(kernel_of("add", 0), 1, 2048, 0, NULL, 0, 0, NULL, &error), APQ_OK);
  assert_non_null(strstr(error.message, "2048 threads"));
  assert_non_null(strstr(error.message, "cuLaunchKernel"));
  assert_ok(device->ops->synchronize(device, NULL, &error), &error);
}

static void all_shared_memory_of_a_block_can_be_used(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  int bytes = gpu.device->target.smem_per_block;
  apq__kernel *kernel = kernel_of("fill_shared", 1024);
  assert_ptr_equal(kernel_of("fill_shared", (size_t)bytes), kernel);
  assert_ptr_equal(kernel_of("fill_shared", 4096), kernel); /* keeps the larger limit */
  int *sum = alloc_words(1, 0);
  assert_ok(launch(kernel, 3, 128, (unsigned)bytes, sum, bytes / 4, 2, NULL, &error), &error);
  assert_ok(gpu.device->ops->synchronize(gpu.device, NULL, &error), &error);
  assert_words(sum, 1, 3 * 2 * (bytes / 4));
  gpu.device->ops->release(gpu.device, sum);
}

static void events_measure_time_on_a_stream(void **state) {
  (void)state;
  apq__device *device = gpu.device;
  apq_error error = APQ_ERROR_INIT;
  apq__event *begin = NULL, *end = NULL;
  void *stream = NULL;
  double seconds = -1;
  int *word = alloc_words(1, 0);
  enum { CYCLES = 2000000 };
  assert_ok(device->ops->stream_create(device, &stream, &error), &error);
  assert_ok(device->ops->event_create(device, &begin, &error), &error);
  assert_ok(device->ops->event_create(device, &end, &error), &error);
  assert_ok(device->ops->event_record(device, begin, stream, &error), &error);
  assert_ok(launch(kernel_of("spin", 0), 1, 32, 0, word, CYCLES, 9, stream, &error), &error);
  assert_ok(device->ops->event_record(device, end, stream, &error), &error);
  assert_ok(device->ops->event_seconds(device, begin, end, &seconds, &error), &error);
  printf("%d cycles: %.1f us\n", CYCLES, seconds * 1e6);
  assert_true(seconds > CYCLES / 4e9 && seconds < CYCLES / 1e8);
  assert_words(word, 1, 9);
  device->ops->event_destroy(device, begin);
  device->ops->event_destroy(device, end);
  device->ops->event_destroy(device, NULL);
  device->ops->stream_destroy(device, stream);
  device->ops->release(device, word);
}

static void a_graph_replays_what_was_captured(void **state) {
  (void)state;
  apq__device *device = gpu.device;
  apq_error error = APQ_ERROR_INIT;
  void *stream = NULL;
  apq__graph *graph = NULL;
  apq__kernel *add = kernel_of("add", 0);
  int *words = alloc_words(256, 0);
  assert_ok(device->ops->stream_create(device, &stream, &error), &error);
  assert_int_equal(device->ops->is_capturing(device, stream), 0);
  assert_int_equal(device->ops->is_capturing(device, NULL), 0);
  assert_ok(device->ops->capture_begin(device, stream, &error), &error);
  assert_int_equal(device->ops->is_capturing(device, stream), 1);
  assert_ok(device->ops->fill(device, words, 0, 256 * sizeof(int), stream, &error), &error);
  for (int i = 0; i < 10; i++)
    assert_ok(launch(add, 2, 128, 0, words, 256, i, stream, &error), &error);
  assert_ok(device->ops->capture_end(device, stream, &graph, &error), &error);
  assert_int_equal(device->ops->is_capturing(device, stream), 0);
  assert_non_null(graph);
  assert_words(words, 256, 0); /* captured, not run */
  for (int i = 0; i < 3; i++) {
    assert_ok(device->ops->graph_launch(device, graph, stream, &error), &error);
    assert_ok(launch(add, 2, 128, 0, words, 256, 1000, stream, &error), &error);
    assert_ok(device->ops->synchronize(device, stream, &error), &error);
    assert_words(words, 256, 1045);
  }
  device->ops->graph_destroy(device, graph);
  device->ops->graph_destroy(device, NULL);
  device->ops->stream_destroy(device, stream);
  device->ops->release(device, words);
}

/* The promise of apq_plan_run is checked by the device: the thread that captures must only launch.
 */
static void a_synchronization_while_capturing_is_an_error(void **state) {
  (void)state;
  apq__device *device = gpu.device;
  apq_error error = APQ_ERROR_INIT;
  void *stream = NULL;
  apq__graph *graph = NULL;
  assert_ok(device->ops->stream_create(device, &stream, &error), &error);
  assert_ok(device->ops->capture_begin(device, stream, &error), &error);
  assert_int_not_equal(device->ops->synchronize(device, stream, &error), APQ_OK);
  assert_non_null(strstr(error.message, "CAPTURE"));
  assert_int_not_equal(device->ops->capture_end(device, stream, &graph, &error), APQ_OK);
  assert_null(graph);
  assert_int_equal(device->ops->is_capturing(device, stream), 0);
  device->ops->stream_destroy(device, stream);
  assert_ok(device->ops->synchronize(device, NULL, &error), &error);
}

/* What apq_plan_prepare does while some stream is captured, by this thread or another. */
static void a_module_loads_while_a_stream_is_captured(void **state) {
  (void)state;
  apq__device *device = gpu.device;
  apq_error error = APQ_ERROR_INIT;
  void *stream = NULL;
  apq__graph *graph = NULL;
  apq__module *module = NULL;
  apq__kernel *add = NULL;
  apq__kernel_info info;
  int *words = alloc_words(256, 0);
  assert_ok(device->ops->stream_create(device, &stream, &error), &error);
  assert_ok(device->ops->capture_begin(device, stream, &error), &error);
  assert_ok(device->ops->load(device, gpu.image, gpu.size, &module, &error), &error);
  assert_ok(device->ops->kernel(device, module, "add", 100000, &add, &info, &error), &error);
  assert_ok(launch(add, 2, 128, 100000, words, 256, 7, stream, &error), &error);
  assert_ok(device->ops->capture_end(device, stream, &graph, &error), &error);
  assert_ok(device->ops->graph_launch(device, graph, stream, &error), &error);
  assert_ok(device->ops->synchronize(device, stream, &error), &error);
  assert_words(words, 256, 7);
  device->ops->graph_destroy(device, graph);
  device->ops->unload(device, module);
  device->ops->stream_destroy(device, stream);
  device->ops->release(device, words);
}

enum { THREADS = 4, LAUNCHES = 200, WORDS = 512 };

typedef struct thread_job {
  apq__kernel *kernel;
  int *words;
  apq_status status;
  char message[488];
} thread_job;

/* On a thread that has no CUDA context of its own. */
static void *launch_many(void *argument) {
  thread_job *job = argument;
  apq_error error = APQ_ERROR_INIT;
  void *stream = NULL;
  job->status = gpu.device->ops->stream_create(gpu.device, &stream, &error);
  for (int i = 0; !job->status && i < LAUNCHES; i++)
    job->status = launch(job->kernel, WORDS / 128, 128, 0, job->words, WORDS, 1, stream, &error);
  if (!job->status) job->status = gpu.device->ops->synchronize(gpu.device, stream, &error);
  gpu.device->ops->stream_destroy(gpu.device, stream);
  snprintf(job->message, sizeof job->message, "%s", error.message);
  return NULL;
}

static void many_threads_launch_at_once(void **state) {
  (void)state;
  int *words = alloc_words(WORDS, 0);
  apq__kernel *add = kernel_of("add", 0);
  pthread_t thread[THREADS];
  thread_job job[THREADS];
  for (int i = 0; i < THREADS; i++) {
    job[i] = (thread_job){.kernel = add, .words = words};
    assert_int_equal(pthread_create(&thread[i], NULL, launch_many, &job[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < THREADS; i++)
    if (job[i].status) fail_msg("thread %d: %s", i, job[i].message);
  assert_words(words, WORDS, THREADS * LAUNCHES);
  gpu.device->ops->release(gpu.device, words);
}

static void a_device_opened_twice_shares_its_memory(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *again = NULL;
  int *words = alloc_words(4, 77), host[4] = {0};
  assert_ok(apq__cuda_open(0, &again, &error), &error);
  assert_ok(again->ops->to_host(again, host, words, sizeof host, &error), &error);
  assert_int_equal(host[3], 77);
  again->ops->close(again);
  assert_words(words, 4, 77);
  gpu.device->ops->release(gpu.device, words);
}

static void an_absent_ordinal_is_named(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  assert_true(apq__cuda_count(NULL) >= 1);
  assert_int_equal(apq__cuda_open(99, &device, &error), APQ_NO_DEVICE);
  assert_non_null(strstr(error.message, "cuda:99"));
  assert_int_equal(apq__cuda_open(-1, &device, &error), APQ_NO_DEVICE);
}

static void clocks_are_read(void **state) {
  (void)state;
  apq__clock_state clock;
  gpu.device->ops->clock_state(gpu.device, &clock);
  printf("SM %d MHz, memory %d MHz, %d C, throttle reasons 0x%x\n", clock.sm_mhz, clock.mem_mhz,
         clock.temperature_c, clock.throttle_reasons);
  if (!clock.sm_mhz) {
    printf("skipped: NVML gives nothing here\n");
    skip();
  }
  assert_true(clock.sm_mhz >= 100 && clock.sm_mhz < 5000);
  assert_true(clock.mem_mhz >= 100 && clock.mem_mhz < 50000);
  assert_true(clock.temperature_c > 0 && clock.temperature_c < 120);
}

/* In a process of its own, which loses its context.  The exit status says which step went wrong. */
static int check_fault(void) {
  apq_error error = APQ_ERROR_INIT;
  void *memory = NULL;
  char *log = NULL;
  apq__kernel *wild = NULL;
  apq__kernel_info info;
  if (apq__cuda_open(0, &gpu.device, &error)) return 1;
  const apq__device_ops *ops = gpu.device->ops;
  if (apq__nvrtc_compile(source, &gpu.device->target, &gpu.image, &gpu.size, &log, &error))
    return 2;
  if (ops->load(gpu.device, gpu.image, gpu.size, &gpu.module, &error)) return 3;
  if (ops->kernel(gpu.device, gpu.module, "wild", 0, &wild, &info, &error)) return 4;
  if (launch(wild, 1, 32, 0, NULL, 0, 1, NULL, &error)) return 5;
  if (ops->synchronize(gpu.device, NULL, &error) != APQ_KERNEL_FAULT) return 6;
  printf("%s\n", error.message);
  if (!strstr(error.message, "CUDA_ERROR_ILLEGAL_ADDRESS")) return 7;
  /* It sticks. */
  if (ops->alloc(gpu.device, 64, &memory, &error) != APQ_KERNEL_FAULT) return 8;
  if (ops->synchronize(gpu.device, NULL, &error) != APQ_KERNEL_FAULT) return 9;
  ops->unload(gpu.device, gpu.module);
  ops->close(gpu.device);
  apq__free(gpu.image);
  apq__free(log);
  return 0;
}

static int exit_status_of(pid_t child) {
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  return WEXITSTATUS(result);
}

static void a_kernel_fault_sticks_to_its_process(void **state) {
  (void)state;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    execl(program, program, "fault", (char *)NULL);
    _exit(127);
  }
  assert_int_equal(exit_status_of(child), 0);
  /* This process goes on. */
  int *words = alloc_words(16, 3);
  assert_words(words, 16, 3);
  gpu.device->ops->release(gpu.device, words);
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

int main(int argc, char **argv) {
  program = argv[0];
  if (argc == 2 && strcmp(argv[1], "fault") == 0) return check_fault();
  gpu.device = open_gpu();
  if (!gpu.device) return SKIPPED;
  char version[64];
  apq_error error = APQ_ERROR_INIT;
  if (apq__nvrtc_version(version, sizeof version, &error)) {
    printf("skipped: %s\n", error.message);
    return SKIPPED;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_target_is_described),
      cmocka_unit_test(memory_holds_what_was_copied_and_filled),
      cmocka_unit_test(too_much_memory_is_refused),
      cmocka_unit_test(a_kernel_runs),
      cmocka_unit_test(bad_kernels_and_launches_are_refused),
      cmocka_unit_test(all_shared_memory_of_a_block_can_be_used),
      cmocka_unit_test(events_measure_time_on_a_stream),
      cmocka_unit_test(a_graph_replays_what_was_captured),
      cmocka_unit_test(a_synchronization_while_capturing_is_an_error),
      cmocka_unit_test(a_module_loads_while_a_stream_is_captured),
      cmocka_unit_test(many_threads_launch_at_once),
      cmocka_unit_test(a_device_opened_twice_shares_its_memory),
      cmocka_unit_test(an_absent_ordinal_is_named),
      cmocka_unit_test(clocks_are_read),
      cmocka_unit_test(a_kernel_fault_sticks_to_its_process),
      cmocka_unit_test(a_forked_child_is_told_why_it_cannot),
  };
  int result = cmocka_run_group_tests(tests, set_up, tear_down);
  gpu.device->ops->close(gpu.device);
  return result;
}

#endif
