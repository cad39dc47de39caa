/* Warpgroup products of the emulated device against a plain computation, for every number of
 * columns and every swizzle, with operands that tensor copies bring. */
#include "emu_kernel.h"

#include "failing_allocator.h"
#include "host.h"

enum { ROWS = 64, N_MAX = 256, K_BYTES = 512, LANES = 32 };

static void fill_random(void *data, size_t size, uint64_t seed) {
  uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)apq__random(&seed);
}

static uint32_t dot(const uint8_t *a, const uint8_t *b, int is_u8) {
  uint32_t sum = 0;
  for (int i = 0; i < K_BYTES; i++)
    sum += is_u8 ? (uint32_t)a[i] * b[i] : (uint32_t)__builtin_popcount(a[i] & b[i]);
  return sum;
}

/* One block: thread 128 brings stage after stage of WIDTH bytes of K, in panels of as many as are
 * swizzled or, with SWIZZLE 0, of 16; the warpgroup before it adds the products to 7 and stores. */
static const char body[] =
    "#define STAGES 2\n"
    "#define SLOT (64 * WIDTH + N * WIDTH)\n"
    "#define PANEL (SWIZZLE ? SWIZZLE : 16)\n"
    "#if SWIZZLE\n"
    "#define DESC(at, rows) apq_wgmma_desc(at, SWIZZLE)\n"
    "#else\n"
    "#define DESC(at, rows) apq_wgmma_desc_plain(at, 16 * (rows))\n"
    "#endif\n"
    "#define STEP(k, rows) (apq_u64)(((k) * 32 / PANEL * (rows) * PANEL + (k) * 32 % PANEL) / 16)\n"
    "#define BARS (STAGES * SLOT)\n"
    "APQ_KERNEL(test, test_bulk_args, 160, 1) {\n"
    "  int t = apq_thread(), count = args.plain.i[0] / WIDTH;\n"
    "  if (t == 0) {\n"
    "    for (int s = 0; s < STAGES; s++) {\n"
    "      apq_mbarrier_init(BARS + 16 * s, 1);\n"
    "      apq_mbarrier_init(BARS + 16 * s + 8, 4);\n"
    "    }\n"
    "    apq_mbarrier_publish();\n"
    "  }\n"
    "  apq_syncthreads();\n"
    "  if (t >= 128) {\n"
    "    if (t != 128) return;\n"
    "    for (int i = 0; i < count; i++) {\n"
    "      int s = i % STAGES, phase = i / STAGES & 1;\n"
    "      apq_mbarrier_wait(BARS + 16 * s + 8, phase ^ 1);\n"
    "      apq_mbarrier_expect(BARS + 16 * s, SLOT);\n"
    "      for (int k = 0; k < WIDTH; k += PANEL) {\n"
    "        int b_at = s * SLOT + 64 * WIDTH + k * N;\n"
    "        apq_tma_load(s * SLOT + k * 64, &args.map[0], BARS + 16 * s, i * WIDTH + k, 0, 0);\n"
    "        apq_tma_load(b_at, &args.map[1], BARS + 16 * s, i * WIDTH + k, 0, 0);\n"
    "      }\n"
    "    }\n"
    "    return;\n"
    "  }\n"
    "  int d[N / 2];\n"
    "  for (int i = 0; i < N / 2; i++) d[i] = 7;\n"
    "  for (int i = 0; i < count; i++) {\n"
    "    int s = i % STAGES, phase = i / STAGES & 1;\n"
    "    apq_u64 a = DESC(s * SLOT, 64), b = DESC(s * SLOT + 64 * WIDTH, N);\n"
    "    apq_mbarrier_wait(BARS + 16 * s, phase);\n"
    "#if REGISTERS\n"
    "    for (int k = 0; k < WIDTH / 32; k++) {\n"
    "      apq_u32 r[4];\n"
    "      for (int j = 0; j < 4; j++) {\n"
    "        int row = t / 32 * 16 + t % 32 / 4 + j % 2 * 8;\n"
    "        int byte = k * 32 + t % 4 * 4 + j / 2 * 16;\n"
    "        int at = s * SLOT + (byte / PANEL * 64 + row) * PANEL + byte % PANEL;\n"
    "        r[j] = apq_lds32(at ^ (at >> 7 & (PANEL / 16 - 1)) << 4);\n"
    "      }\n"
    "      apq_wgmma_fence();\n"
    "      WORD(N, d, r, b + STEP(k, N), 1);\n"
    "      apq_wgmma_commit();\n"
    "      apq_wgmma_wait(0);\n"
    "    }\n"
    "    (void)a;\n"
    "#else\n"
    "    apq_wgmma_fence();\n"
    "    for (int k = 0; k < WIDTH / 32; k++) WORD(N, d, a + STEP(k, 64), b + STEP(k, N), 1);\n"
    "    apq_wgmma_commit();\n"
    "    apq_wgmma_wait(0);\n"
    "#endif\n"
    "    apq_syncwarp();\n"
    "    if (t % 32 == 0) apq_mbarrier_arrive(BARS + 16 * s + 8);\n"
    "  }\n"
    "  for (int i = 0; i < N / 2; i++) {\n"
    "    int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + t % 4 * 2 + i % "
    "2;\n"
    "    apq_stg32((apq_u32 *)args.plain.p[0] + row * N + column, (apq_u32)d[i]);\n"
    "  }\n"
    "}\n";

static uint8_t a[ROWS][K_BYTES], b[N_MAX][K_BYTES];

static void check_products(const char *word, int n, int width, int swizzle, int is_u8,
                           int has_registers) {
  static uint32_t out[ROWS * N_MAX];
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  test_kernel test;
  test_bulk_args args;
  memset(&args, 0, sizeof args);
  int panel = swizzle ? swizzle : 16;
  size_t smem = 2 * (size_t)(ROWS + n) * (size_t)width + 32;
  char *source =
      apq__format("#define N %d\n#define WIDTH %d\n#define SWIZZLE %d\n#define REGISTERS %d\n"
                  "#define WORD %s\n%s",
                  n, width, swizzle, has_registers, word, body);
  test_compile("sm_90a", source, &object);
  apq__free(source);
  test_open(&test, "sm_90a", 0, &object);
  test_use(&test, "test", smem);
  const void *at_a = test_upload(&test, a, sizeof a), *at_b = test_upload(&test, b, sizeof b);
  const apq__tensor_box box_a = {at_a, K_BYTES, ROWS, 1, K_BYTES, sizeof a, panel, ROWS, swizzle};
  const apq__tensor_box box_b = {at_b, K_BYTES, N_MAX, 1, K_BYTES, sizeof b, panel, n, swizzle};
  check_ok(test.device->ops->tensor_map(test.device, &box_a, &args.map[0], &error), &error);
  check_ok(test.device->ops->tensor_map(test.device, &box_b, &args.map[1], &error), &error);
  args.plain.p[0] = test_alloc(&test, sizeof out);
  args.plain.i[0] = K_BYTES;
  check_ok(test_launch_bulk(&test, 1, 0, 160, smem, &args, &error), &error);
  test_download(&test, out, args.plain.p[0], sizeof out);
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < n; c++) {
      uint32_t expected = 7 + dot(a[r], b[c], is_u8);
      if (out[r * n + c] != expected)
        fail_msg("%s, n = %d, swizzle %d: row %d column %d is %u instead of %u", word, n, swizzle,
                 r, c, out[r * n + c], expected);
    }
  test_close(&test);
  apq__object_free(&object);
}

static void products_equal_a_plain_computation(void **state) {
  (void)state;
  fill_random(a, sizeof a, 1);
  fill_random(b, sizeof b, 2);
  for (int n = 16; n <= N_MAX; n += 48) {
    check_products("apq_wgmma_b1", n, 128, 128, 0, 0);
    check_products("apq_wgmma_b1", n, 64, 0, 0, 0);
    check_products("apq_wgmma_u8", n, 64, 64, 1, 0);
    check_products("apq_wgmma_b1_registers", n, 64, 64, 0, 1);
    check_products("apq_wgmma_u8_registers", n, 32, 32, 1, 1);
  }
  check_products("apq_wgmma_b1", 256, 32, 32, 0, 0);
  check_products("apq_wgmma_b1", 256, 64, 64, 0, 0);
  check_products("apq_wgmma_u8", 256, 128, 128, 1, 0);
  check_products("apq_wgmma_u8_registers", 256, 128, 128, 1, 1);
  /* In panels: of core matrices, and of rows swizzled in parts. */
  check_products("apq_wgmma_u8", 256, 128, 0, 1, 0);
  check_products("apq_wgmma_u8_registers", 256, 128, 0, 1, 1);
  check_products("apq_wgmma_b1", 256, 128, 32, 0, 0);
  check_products("apq_wgmma_u8_registers", 256, 128, 64, 1, 1);
}

/* Opens a device, makes a product, and the same again on the same device after a failure.  Returns
 * the first status. */
static apq_status make_one(const apq__object *object, size_t smem, apq_error *error) {
  apq__device *device = NULL;
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  void *memory = NULL;
  test_bulk_args args;
  memset(&args, 0, sizeof args);
  apq_status status = apq__device_open("emu:sm_90a", &device, error);
  if (status != APQ_OK) return status;
  const apq__device_ops *ops = device->ops;
  status = ops->load(device, object->image, object->size, &module, error);
  if (status == APQ_OK) status = ops->kernel(device, module, "test", smem, &kernel, NULL, error);
  if (status == APQ_OK) status = ops->alloc(device, N_MAX * K_BYTES, &memory, error);
  const apq__tensor_box box = {memory, K_BYTES, ROWS, 1, K_BYTES, sizeof a, 128, ROWS, 128};
  if (status == APQ_OK) status = ops->tensor_map(device, &box, &args.map[0], error);
  args.map[1] = args.map[0];
  args.plain.p[0] = memory ? (uint8_t *)memory + sizeof a : NULL;
  args.plain.i[0] = K_BYTES;
  const apq__launch launch = {.kernel = kernel,
                              .grid = {1, 1, 1},
                              .threads = 160,
                              .smem_bytes = (unsigned)smem,
                              .args = &args,
                              .args_size = sizeof args};
  if (status == APQ_OK) {
    status = ops->launch(device, &launch, NULL, error);
    if (status != APQ_OK) assert_int_equal(ops->launch(device, &launch, NULL, NULL), APQ_OK);
  }
  apq__device_close(device);
  return status;
}

static void no_memory_is_reported_and_survived(void **state) {
  (void)state;
  apq__object object;
  size_t smem = (size_t)4 * ROWS * 128 + 32;
  char *source = apq__format("#define N 64\n#define WIDTH 128\n#define SWIZZLE 128\n"
                             "#define REGISTERS 0\n"
                             "#define WORD apq_wgmma_b1\n%s",
                             body);
  test_compile("sm_90a", source, &object);
  apq__free(source);
  apq_status status = APQ_OUT_OF_MEMORY;
  long failed = 0;
  for (long i = 1; status != APQ_OK; i++) {
    apq_error error = APQ_ERROR_INIT;
    failing_allocator count = {.fail_at = i};
    assert_int_equal(failing_install(&count), APQ_OK);
    status = make_one(&object, smem, &error);
    assert_int_equal(apq_set_allocator(NULL), APQ_OK);
    assert_int_equal(count.live, 0);
    if (status == APQ_OK) break;
    if (status != APQ_OUT_OF_MEMORY && !strstr(error.message, "no memory"))
      fail_msg("allocation %ld: %s: %s", i, apq_status_name(status), error.message);
    failed++;
  }
  assert_in_range(failed, 20, 2000);
  apq__object_free(&object);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products_equal_a_plain_computation),
      cmocka_unit_test(no_memory_is_reported_and_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
