/* Kernels with one planted fault each, and their correct twins: the emulated device must report the
 * first with block and thread whatever the order of threads, and let the second pass. */
#include "emu_kernel.h"

enum { SEEDS = 20, GLOBAL_BYTES = 4096 };

/* `body` has its fault where BAD is not zero.  t is the thread; in and out are GLOBAL_BYTES each,
 * in all zeros; `smem` bytes of shared memory, zeroed behind a barrier when `zeroed`. */
typedef struct fault_case {
  const char *name;
  unsigned blocks, threads, smem;
  int zeroed;
  const char *body;
  const char *expected; /* in the report; "A|B": one of the two */
} fault_case;

static const fault_case cases[] = {
    {"a read with no barrier after a write", 2, 64, 256, 1,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * (t ^ 32)));\n",
     "with no barrier between"},
    {"a read with no barrier after a write, never written before", 2, 64, 256, 0,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * (t ^ 32)));\n",
     "with no barrier between|never written"},
    {"a write with no barrier after a read", 1, 64, 256, 1,
     "  apq_u32 v = apq_lds32(4 * (t ^ 32));\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  apq_sts32(4 * t, v);\n",
     "with no barrier between"},
    {"two writes with no barrier between", 1, 64, 16, 0,
     "  if (t == 5) apq_sts32(4, 1);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 40) apq_sts32(4, 1);\n",
     "thread 5: shared write of 4 bytes at offset 4: written by thread 40|"
     "thread 40: shared write of 4 bytes at offset 4: written by thread 5"},
    {"lanes exchange through shared memory with no syncwarp", 1, 64, 256, 1,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_syncwarp();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * (t ^ 1)));\n",
     "with no barrier between"},
    {"a shuffle is no memory barrier", 1, 32, 128, 1,
     "  apq_sts32(4 * t, 1);\n"
     "  if (BAD)\n"
     "    apq_shuffle(0, 0);\n"
     "  else\n"
     "    apq_syncwarp();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * (t ^ 1)));\n",
     "with no barrier between"},
    {"syncwarp does not order other warps", 1, 64, 256, 1,
     "  apq_sts32(4 * t, 1);\n"
     "  if (BAD)\n"
     "    apq_syncwarp();\n"
     "  else\n"
     "    apq_syncthreads();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * (t ^ 32)));\n",
     "with no barrier between"},
    {"the reader of another warp is not forgotten", 1, 64, 16, 1,
     "  if (t != 33) apq_lds32(0);\n"
     "  if (BAD)\n"
     "    apq_syncwarp();\n"
     "  else\n"
     "    apq_syncthreads();\n"
     "  if (t == 33) apq_sts32(0, 1);\n",
     "with no barrier between"},
    {"halves of a word are apart, each is not", 1, 64, 128, 0,
     "  if (BAD)\n"
     "    apq_sts16(2 * (t % 63), 1);\n"
     "  else\n"
     "    apq_sts16(2 * t, 1);\n",
     "shared write of 2 bytes at offset 0: written by thread"},
    {"a read while others add", 1, 64, 16, 1,
     "  apq_atomic_add_shared(0, 1);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 0) apq_stg32(out, apq_lds32(0));\n",
     "with no barrier between"},
    {"only one who added reads", 1, 32, 16, 1,
     "  if (t < 2) apq_atomic_add_shared(0, 1);\n"
     "  if (!BAD) apq_syncwarp();\n"
     "  if (t < 2) apq_lds32(0);\n",
     "with no barrier between"},
    {"cp.async data read before the wait", 1, 32, 512, 0,
     "  apq_cp_async16(16 * t, in + 16 * t, 16);\n"
     "  apq_cp_async_commit();\n"
     "  if (!BAD) apq_cp_async_wait(0);\n"
     "  apq_lds128(16 * t);\n",
     "by this thread at line 1 is still in flight"},
    {"a wait that leaves the group pending", 1, 32, 1024, 0,
     "  for (int i = 0; i < 2; i++) {\n"
     "    apq_cp_async16(512 * i + 16 * t, in + 16 * t, 16);\n"
     "    apq_cp_async_commit();\n"
     "  }\n"
     "  apq_cp_async_wait(BAD);\n"
     "  apq_lds128(512 + 16 * t);\n",
     "is still in flight"},
    {"a wait without the commit", 1, 32, 512, 0,
     "  apq_cp_async16(16 * t, in + 16 * t, 16);\n"
     "  if (!BAD) apq_cp_async_commit();\n"
     "  apq_cp_async_wait(0);\n"
     "  apq_lds128(16 * t);\n",
     "is still in flight"},
    {"cp.async data of another thread read with no barrier", 1, 64, 1024, 0,
     "  apq_cp_async16(16 * t, in + 16 * t, 16);\n"
     "  apq_cp_async_commit();\n"
     "  if (BAD) apq_syncthreads();\n"
     "  apq_cp_async_wait(0);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  apq_lds128(16 * (t ^ 32));\n",
     "is still in flight|with no barrier between"},
    {"a slot refilled while others read it", 1, 64, 1024, 1,
     "  apq_lds128(16 * (t ^ 32));\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  apq_cp_async16(16 * t, in + 16 * t, 16);\n"
     "  apq_cp_async_commit();\n"
     "  apq_cp_async_wait(0);\n",
     "with no barrier between|is still in flight"},
    {"bytes in flight overwritten", 1, 32, 512, 0,
     "  apq_cp_async16(16 * t, in + 16 * t, 16);\n"
     "  apq_cp_async_commit();\n"
     "  if (!BAD) apq_cp_async_wait(0);\n"
     "  apq_sts32(16 * t + 4, 0);\n",
     "shared write of 4 bytes"},
    {"a cp.async of part of its bytes", 1, 32, 512, 0,
     "  apq_cp_async16(16 * t, in + 16 * t, BAD ? 8 : 16);\n", "cp.async of 8 valid bytes"},
    {"a global read one element too far", 2, 32, 0, 0,
     "  int last = apq_block_x() == 1 && t == 31;\n"
     "  apq_ldg32(in + (last ? 4096 - 4 + 4 * BAD : 0));\n",
     "block (1,0,0) thread 31: global read of 4 bytes at offset 4096 of an allocation of 4096 "
     "bytes"},
    {"a global write one element too far", 1, 32, 0, 0,
     "  if (t == 7) apq_stg16(out + 4096 - 2 + 2 * BAD, 0);\n",
     "thread 7: global write of 2 bytes at offset 4096 of an allocation of 4096 bytes"},
    {"a global read that begins too early", 1, 32, 0, 0, "  if (t == 7) apq_ldg8(in - BAD);\n",
     "thread 7: global read of 1 bytes 1 bytes before an allocation of 4096 bytes"},
    {"a global read that ends too late", 1, 32, 0, 0,
     "  apq_ldg32((apq_u8 *)args.p[2] + 24 + 4 * BAD);\n",
     "global read of 4 bytes at offset 28 of an allocation of 30 bytes"},
    {"a global access through a wild pointer", 1, 32, 0, 0,
     "  apq_ldg32(BAD ? (apq_u8 *)64 : in);\n", "in no allocation"},
    {"a cp.async from out of bounds", 1, 32, 512, 0,
     "  apq_cp_async16(16 * t, in + 4096 - 512 + 16 * t + 16 * BAD, 16);\n"
     "  apq_cp_async_commit();\n"
     "  apq_cp_async_wait(0);\n",
     "thread 31: global read of 16 bytes at offset 4096"},
    {"a misaligned wide global access", 1, 32, 0, 0,
     "  if (t == 3) apq_stg128(out + 16 + 4 * BAD, (apq_u32x4){0, 0, 0, 0});\n",
     "thread 3: global write of 16 bytes at"},
    {"a misaligned wide shared access", 1, 32, 512, 1, "  if (t == 3) apq_lds128(16 + 8 * BAD);\n",
     "thread 3: shared read of 16 bytes at offset 24: misaligned"},
    {"a shared write one element too far", 1, 32, 256, 0,
     "  if (t == 9) apq_sts32(252 + 4 * BAD, 0);\n",
     "thread 9: shared write of 4 bytes at offset 256: outside the block's 256 bytes"},
    {"a shared read before the start", 1, 32, 256, 1, "  if (t == 9) apq_lds32(BAD ? -4 : 4);\n",
     "thread 9: shared read of 4 bytes at offset -4: outside"},
    {"a shared read of what was never written", 1, 32, 256, 0,
     "  if (!BAD && t == 2) apq_sts32(8, 0);\n"
     "  if (t == 2) apq_lds32(8);\n",
     "thread 2: shared read of 4 bytes at offset 8: never written"},
    {"a shared read of what only another block wrote", 2, 32, 16, 0,
     "  if (t == 2 && (apq_block_x() == 0 || !BAD)) apq_sts32(8, 0);\n"
     "  if (t == 2) apq_lds32(8);\n",
     "block (1,0,0) thread 2: shared read of 4 bytes at offset 8: never written"},
    {"a shared read of a word half written", 1, 32, 16, 0,
     "  if (t == 2) apq_sts16(8, 0);\n"
     "  if (t == 2 && !BAD) apq_sts16(10, 0);\n"
     "  if (t == 2) apq_lds32(8);\n",
     "never written"},
    {"warps at two barriers", 1, 64, 0, 0,
     "  if (t < 32 || !BAD)\n"
     "    apq_syncthreads();\n"
     "  else\n"
     "    apq_syncthreads();\n",
     "divergent"},
    {"half a warp at a barrier", 1, 64, 0, 0, "  if (t % 32 < 16 || !BAD) apq_syncthreads();\n",
     "waits at syncthreads at line 1|have exited"},
    {"lanes at two words", 1, 32, 0, 0,
     "  if (t < 16 && BAD)\n"
     "    apq_ballot(1);\n"
     "  else\n"
     "    apq_shuffle(0, 0);\n",
     "divergent"},
    {"lanes at two matrix words", 1, 32, 0, 0,
     "  int d[4] = {0};\n"
     "  apq_u32 a[4] = {0}, b[2] = {0};\n"
     "  if (t == 8 && BAD)\n"
     "    apq_mma_b1_and(d, a, b);\n"
     "  else\n"
     "    apq_mma_u8(d, a, b);\n",
     "divergent"},
    {"a lane exits before a shuffle", 1, 32, 0, 0,
     "  if (t == 30 && BAD) return;\n"
     "  apq_shuffle_xor(0, 1);\n",
     "shuffle_xor"},
    {"a warp exits before a barrier", 1, 96, 0, 0,
     "  if (t / 32 == 1 && BAD) return;\n"
     "  apq_syncthreads();\n",
     "waits at syncthreads|warps have exited"},
    {"a collective in a part of a warp", 1, 48, 0, 0, "  if (BAD || t < 32) apq_ballot(1);\n",
     "warp of only 16 threads"},
    {"a plain load of what this launch wrote", 1, 32, 0, 0,
     "  if (t == 4) apq_stg32(out + 16, 7);\n"
     "  if (t == 4 && BAD) apq_ldg32(out + 16);\n"
     "  if (t == 4) apq_ldg32_volatile(out + 16);\n",
     "thread 4: global read at offset 16 of an allocation: written in this launch by block (0,0,0) "
     "thread 4: only a volatile load"},
    {"results for another block with no fence", 2, 32, 0, 0,
     "  if (t == 4) apq_stg32(out + 4 * apq_block_x(), 7);\n"
     "  if (t == 4 && !BAD) apq_threadfence();\n"
     "  if (t == 4 && apq_atomic_increment((unsigned *)in) == 1) {\n"
     "    apq_threadfence();\n"
     "    apq_ldg32_volatile(out);\n"
     "    apq_ldg32_volatile(out + 4);\n"
     "  }\n"
     "  apq_threadfence();\n",
     "thread 4, with no threadfence, barrier and atomic after it"},
    {"results of another thread given away with no barrier", 2, 32, 0, 0,
     "  if (t == 4) apq_stg32(out + 4 * apq_block_x(), 7);\n"
     "  apq_threadfence();\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 5 && apq_atomic_increment((unsigned *)in) == 1) {\n"
     "    apq_ldg32_volatile(out);\n"
     "    apq_ldg32_volatile(out + 4);\n"
     "  }\n",
     "thread 4, with no threadfence, barrier and atomic after it"},
    {"one thread fences for all, with no barrier before", 2, 64, 0, 0,
     "  apq_stg32(out + 4 * (64 * apq_block_x() + t), 7);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 5) {\n"
     "    apq_threadfence();\n"
     "    if (apq_atomic_increment((unsigned *)in) == 1)\n"
     "      for (int i = 0; i < 128; i++) apq_ldg32_volatile(out + 4 * i);\n"
     "  }\n",
     ", with no threadfence, barrier and atomic after it"},
    {"a write after the fence that one thread makes for all", 2, 64, 0, 0,
     "  apq_stg32(out + 4 * (64 * apq_block_x() + t), 7);\n"
     "  apq_syncthreads();\n"
     "  if (t == 5) apq_threadfence();\n"
     "  apq_syncthreads();\n"
     "  if (BAD && t == 9) apq_stg32(out + 4 * (64 * apq_block_x() + t), 8);\n"
     "  apq_syncthreads();\n"
     "  if (t == 5 && apq_atomic_increment((unsigned *)in) == 1)\n"
     "    for (int i = 0; i < 128; i++) apq_ldg32_volatile(out + 4 * i);\n",
     "thread 9, with no threadfence, barrier and atomic after it"},
    {"results of another block read with no ticket", 2, 32, 0, 0,
     "  if (t == 4) apq_stg32(out + 4 * apq_block_x(), 7);\n"
     "  apq_threadfence();\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 4) apq_atomic_increment((unsigned *)in);\n"
     "  if (t == 9 && (BAD || apq_ldg32_volatile(in) == 2))\n"
     "    apq_ldg32_volatile(out + 4 * (1 - apq_block_x()));\n",
     "thread 4, with no atomic and barrier of this block before it"},
    {"polling for what no other block will write", 1, 32, 0, 0,
     "  if (t == 0)\n"
     "    while (apq_ldg32_volatile(in) != (BAD ? 1u : 0u)) {\n"
     "    }\n",
     "polls memory without end"},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* All of them in one source, compiled once. */
static int compile_cases(void **state) {
  static apq__object object;
  apq__text text = {0};
  for (int i = 0; i < CASES; i++) {
    const fault_case *c = &cases[i];
    apq__text_add(&text,
                  "APQ_KERNEL(test_%d, test_args, %u, 1) {\n"
                  "  const int t = apq_thread(), BAD = args.i[0];\n"
                  "  apq_u8 *in = args.p[0], *out = args.p[1];\n"
                  "  (void)in, (void)out;\n",
                  i, c->threads);
    if (c->zeroed)
      apq__text_add(&text,
                    "  for (int i = t; i < %u; i += %u) apq_sts32(4 * i, 0);\n"
                    "  apq_syncthreads();\n",
                    c->smem / 4, c->threads);
    apq__text_add(&text, "#line 1\n%s}\n", c->body);
  }
  assert_false(text.failed);
  test_compile("sm_80", text.data, &object);
  apq__text_free(&text);
  *state = &object;
  return 0;
}

static int free_cases(void **state) {
  apq__object_free(*state);
  return 0;
}

static int has_one_of(const char *message, const char *expected) {
  char part[200];
  for (const char *at = expected; *at;) {
    size_t length = strcspn(at, "|");
    snprintf(part, sizeof part, "%.*s", (int)length, at);
    if (strstr(message, part)) return 1;
    at += length + (at[length] == '|');
  }
  return 0;
}

typedef struct fault_buffers {
  void *in, *out, *odd;
} fault_buffers;

static apq_status launch_case(test_kernel *test, int index, int bad, const fault_buffers *at,
                              apq_error *error) {
  const fault_case *c = &cases[index];
  char name[16];
  snprintf(name, sizeof name, "test_%d", index);
  test_use(test, name, c->smem);
  check_ok(test->device->ops->fill(test->device, at->in, 0, GLOBAL_BYTES, NULL, error), error);
  const test_args args = {{at->in, at->out, at->odd}, {bad}};
  return test_launch(test, c->blocks, c->threads, c->smem, &args, error);
}

static void open_buffers(test_kernel *test, fault_buffers *at) {
  *at = (fault_buffers){test_alloc(test, GLOBAL_BYTES), test_alloc(test, GLOBAL_BYTES),
                        test_alloc(test, 30)};
}

/* The twin runs after each fault: a fault leaves nothing behind. */
static void each_fault_is_reported_and_its_twin_passes(void **state) {
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    fault_buffers at;
    test_open(&test, "sm_80", seed, *state);
    open_buffers(&test, &at);
    for (int i = 0; i < CASES; i++) {
      apq_error error = APQ_ERROR_INIT;
      char number[32];
      apq_status status = launch_case(&test, i, 1, &at, &error);
      snprintf(number, sizeof number, "seed %u)", seed);
      if (status != APQ_KERNEL_FAULT || !has_one_of(error.message, cases[i].expected) ||
          !strstr(error.message, ": block (") || !strstr(error.message, ") thread ") ||
          !strstr(error.message, number))
        fail_msg("%s, seed %u: %s: %s", cases[i].name, seed, apq_status_name(status),
                 error.message);
      status = launch_case(&test, i, 0, &at, &error);
      if (status != APQ_OK)
        fail_msg("the correct twin of %s, seed %u: %s", cases[i].name, seed, error.message);
      apq_error_clear(&error);
    }
    test_close(&test);
  }
}

static apq_status try_launch(apq__device *device, const apq__launch *launch, const char *expected) {
  apq_error error = APQ_ERROR_INIT;
  apq_status status = device->ops->launch(device, launch, NULL, &error);
  if (status != APQ_OK) assert_non_null(strstr(error.message, expected));
  return status;
}

static void launches_beyond_the_limits_are_refused(void **state) {
  test_kernel test;
  fault_buffers at;
  apq_error error = APQ_ERROR_INIT;
  test_open(&test, "sm_80", 0, *state);
  open_buffers(&test, &at);
  test_use(&test, "test_0", 256);
  apq__device *device = test.device;
  const test_args args = {{at.in, at.out, at.odd}, {0}};
  const apq__launch good = {.kernel = test.kernel,
                            .grid = {1, 1, 1},
                            .threads = 64,
                            .smem_bytes = 256,
                            .args = &args,
                            .args_size = sizeof args};
  assert_int_equal(try_launch(device, &good, ""), APQ_OK);
  apq__launch bad = good;
  bad.threads = 65;
  assert_int_equal(try_launch(device, &bad, "65 threads"), APQ_KERNEL_FAULT);
  bad.threads = 0;
  assert_int_equal(try_launch(device, &bad, "0 threads"), APQ_KERNEL_FAULT);
  bad = good;
  bad.grid[1] = 0;
  assert_int_equal(try_launch(device, &bad, "grid of (1,0,1)"), APQ_KERNEL_FAULT);
  bad = good;
  bad.grid[2] = 65536;
  assert_int_equal(try_launch(device, &bad, "grid"), APQ_KERNEL_FAULT);
  bad = good;
  bad.smem_bytes = 260;
  assert_int_equal(try_launch(device, &bad, "260 bytes of shared"), APQ_KERNEL_FAULT);
  bad = good;
  bad.args_size = 8;
  assert_int_equal(try_launch(device, &bad, "8 bytes of arguments"), APQ_KERNEL_FAULT);
  size_t too_much = (size_t)device->target.smem_per_block + 1;
  assert_int_equal(
      device->ops->kernel(device, test.module, "test_0", too_much, &test.kernel, NULL, &error),
      APQ_INFEASIBLE);
  test_close(&test);
}

static void a_released_buffer_is_recognized(void **state) {
  test_kernel test;
  fault_buffers at;
  apq_error error = APQ_ERROR_INIT;
  test_open(&test, "sm_80", 0, *state);
  open_buffers(&test, &at);
  assert_int_equal(launch_case(&test, 0, 0, &at, &error), APQ_OK);
  test.device->ops->release(test.device, at.out);
  assert_int_equal(launch_case(&test, 0, 0, &at, &error), APQ_KERNEL_FAULT);
  assert_non_null(strstr(error.message, "of 4096 bytes that were released"));
  test_close(&test);
}

/* Kernels that avoid the words escape the checks, but not the red zones. */
static void a_raw_pointer_hits_a_red_zone(void **state) {
  (void)state;
  apq__object object;
  test_kernel test;
  apq_error error = APQ_ERROR_INIT;
  test_compile("sm_80",
               "APQ_KERNEL(test, test_args, 32, 1) {\n"
               "  if (apq_thread() == 0) ((char *)args.p[0])[args.i[0]] = 1;\n"
               "}\n",
               &object);
  test_open(&test, "sm_80", 0, &object);
  test_use(&test, "test", 0);
  test_args args = {{test_alloc(&test, 100)}, {99}};
  assert_int_equal(test_launch(&test, 1, 32, 0, &args, &error), APQ_OK);
  args.i[0] = 100;
  assert_int_equal(test_launch(&test, 1, 32, 0, &args, &error), APQ_KERNEL_FAULT);
  assert_non_null(strstr(error.message, "behind an allocation of 100 bytes"));
  args.i[0] = -1;
  assert_int_equal(test_launch(&test, 1, 32, 0, &args, &error), APQ_KERNEL_FAULT);
  assert_non_null(strstr(error.message, "before an allocation of 100 bytes"));
  test_close(&test);
  apq__object_free(&object);
}

/* The whole report of a fault that no order of threads changes, and the same one twice from one
 * seed. */
static void reports_are_exact_and_reproducible(void **state) {
  test_kernel test;
  fault_buffers at;
  apq_error first = APQ_ERROR_INIT, second = APQ_ERROR_INIT;
  test_open(&test, "sm_80", 77, *state);
  open_buffers(&test, &at);
  int wide = 0;
  while (strcmp(cases[wide].name, "a misaligned wide shared access") != 0) wide++;
  launch_case(&test, wide, 1, &at, &first);
  char expected[160];
  snprintf(expected, sizeof expected,
           "test_%d: block (0,0,0) thread 3: shared read of 16 bytes at offset 24: misaligned "
           "(line 1, seed 77)",
           wide);
  assert_string_equal(first.message, expected);
  for (int i = 0; i < CASES; i++) {
    launch_case(&test, i, 1, &at, &first);
    launch_case(&test, i, 1, &at, &second);
    assert_string_equal(first.message, second.message);
  }
  test_close(&test);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_fault_is_reported_and_its_twin_passes),
      cmocka_unit_test(launches_beyond_the_limits_are_refused),
      cmocka_unit_test(a_released_buffer_is_recognized),
      cmocka_unit_test(a_raw_pointer_hits_a_red_zone),
      cmocka_unit_test(reports_are_exact_and_reproducible),
  };
  return cmocka_run_group_tests(tests, compile_cases, free_cases);
}
