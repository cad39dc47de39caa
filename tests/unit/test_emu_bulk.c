/* The words of sm_90 that move data and order threads, on the emulated device, against a plain
 * computation: tensor boxes, bulk copies and stores, stmatrix, barriers, registers, dependent
 * launches. */
#include "emu_kernel.h"

#include "host.h"

enum { SEEDS = 10, LANES = 32 };

static void fill_random(void *data, size_t size, uint64_t seed) {
  uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)apq__random(&seed);
}

/* ---- tensor boxes ---- */

enum { PLANES = 3, ROWS = 20, ROW_BYTES = 150, ROW_PITCH = 160, PLANE_PITCH = 3600, BOX_ROWS = 16 };

/* Dumps the box of map 0 at (i[0], i[1], i[2]), of i[3] bytes, into p[0]. */
static const char box_body[] =
    "APQ_KERNEL(test, test_bulk_args, 64, 1) {\n"
    "  int t = apq_thread(), size = args.plain.i[3];\n"
    "  if (t == 0) {\n"
    "    apq_tma_prefetch(&args.map[0]);\n"
    "    apq_mbarrier_init(4096, 1);\n"
    "    apq_mbarrier_publish();\n"
    "    apq_mbarrier_expect(4096, size);\n"
    "    apq_tma_load(0, &args.map[0], 4096, args.plain.i[0], args.plain.i[1], args.plain.i[2]);\n"
    "  }\n"
    "  apq_syncthreads();\n"
    "  apq_mbarrier_wait(4096, 0);\n"
    "  for (int i = 4 * t; i < size; i += 256)\n"
    "    apq_stg32((apq_u8 *)args.plain.p[0] + i, apq_lds32(i));\n"
    "}\n";

static int outside(int at, int end) {
  return at < 0 || at >= end;
}

static void check_box(test_kernel *test, const uint8_t *tensor, const apq__tensor_box *box,
                      const int at[3]) {
  uint8_t out[4096];
  apq_error error = APQ_ERROR_INIT;
  test_bulk_args args = {{{{0}}}, {{test_alloc(test, sizeof out)}, {at[0], at[1], at[2]}}};
  args.plain.i[3] = box->box_bytes * box->box_rows;
  check_ok(test->device->ops->tensor_map(test->device, box, &args.map[0], &error), &error);
  check_ok(test_launch_bulk(test, 1, 0, 64, 4104, &args, &error), &error);
  test_download(test, out, args.plain.p[0], sizeof out);
  for (int r = 0; r < box->box_rows; r++)
    for (int c = 0; c < box->box_bytes; c++) {
      int x = at[0] + c, y = at[1] + r, z = at[2], expected = 0;
      if (!outside(x, ROW_BYTES) && !outside(y, ROWS) && !outside(z, PLANES))
        expected = tensor[z * PLANE_PITCH + y * ROW_PITCH + x];
      /* Row r of `swizzle` bytes: its chunk c stands at c ^ (r % 8), and at rows / 2, / 4. */
      int per_line = box->swizzle ? 128 / box->swizzle : 1;
      int chunk = c / 16 ^ (box->swizzle ? r / per_line % (box->swizzle / 16) : 0);
      int found = out[r * box->box_bytes + chunk * 16 + c % 16];
      if (found != expected)
        fail_msg("swizzle %d, box at (%d,%d,%d): row %d byte %d is %d instead of %d", box->swizzle,
                 at[0], at[1], at[2], r, c, found, expected);
    }
  test->device->ops->release(test->device, args.plain.p[0]);
}

static void tensor_boxes_are_cut_filled_and_swizzled(void **state) {
  (void)state;
  static const int places[][3] = {{0, 0, 0},    {16, 3, 1},   {-5, -2, 2},  {130, 10, 0},
                                  {149, 19, 2}, {150, 20, 1}, {0, 0, -1},   {0, 0, 3},
                                  {-128, 0, 0}, {0, -16, 0},  {-1000, 5, 1}};
  static const int widths[][2] = {{128, 128}, {64, 64}, {32, 32}, {208, 0}, {16, 0}};
  static uint8_t tensor[PLANES * PLANE_PITCH];
  apq__object object;
  fill_random(tensor, sizeof tensor, 5);
  test_compile("sm_90a", box_body, &object);
  for (unsigned seed = 1; seed <= 3; seed++) {
    test_kernel test;
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", 4104);
    const void *base = test_upload(&test, tensor, sizeof tensor);
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
      for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
        const apq__tensor_box box = {base,        ROW_BYTES,    ROWS,     PLANES,      ROW_PITCH,
                                     PLANE_PITCH, widths[w][0], BOX_ROWS, widths[w][1]};
        check_box(&test, tensor, &box, places[p]);
      }
    test_close(&test);
  }
  apq__object_free(&object);
}

/* A box of shared memory, whose byte i is i / 16 * 7 + i, goes into the tensor. */
static const char box_store_body[] =
    "APQ_KERNEL(test, test_bulk_args, 64, 1) {\n"
    "  int t = apq_thread(), size = args.plain.i[3];\n"
    "  for (int i = 4 * t; i < size; i += 256) {\n"
    "    apq_u32 first = (apq_u32)(i / 16 * 7 + i) & 255;\n"
    "    apq_u32 word = 0;\n"
    "    for (apq_u32 b = 0; b < 4; b++) word |= (first + b & 255) << 8 * b;\n"
    "    apq_sts32(i, word);\n"
    "  }\n"
    "  apq_fence_async();\n"
    "  apq_syncthreads();\n"
    "  if (t == 0) {\n"
    "    apq_tma_store(&args.map[0], 0, args.plain.i[0], args.plain.i[1], args.plain.i[2]);\n"
    "    apq_bulk_commit();\n"
    "    apq_bulk_wait_read(0);\n"
    "  }\n"
    "}\n";

static void check_stored_box(test_kernel *test, void *base, const apq__tensor_box *box,
                             const int at[3]) {
  enum { FILL = 0xee, ROW_END = (ROW_BYTES + 15) / 16 * 16 };
  static uint8_t tensor[PLANES * PLANE_PITCH];
  apq_error error = APQ_ERROR_INIT;
  test_bulk_args args = {{{{0}}}, {{0}, {at[0], at[1], at[2], box->box_bytes * box->box_rows}}};
  memset(tensor, FILL, sizeof tensor);
  check_ok(test->device->ops->to_device(test->device, base, tensor, sizeof tensor, &error), &error);
  check_ok(test->device->ops->tensor_map(test->device, box, &args.map[0], &error), &error);
  check_ok(test_launch_bulk(test, 1, 0, 64, 4096, &args, &error), &error);
  test_download(test, tensor, base, sizeof tensor);
  for (int i = 0; i < PLANES * PLANE_PITCH; i++) {
    int z = i / PLANE_PITCH, y = i % PLANE_PITCH / ROW_PITCH, x = i % PLANE_PITCH % ROW_PITCH;
    int r = y - at[1], c = x - at[0], expected = FILL;
    /* Rows are written to the end of their last 16 bytes. */
    if (z == at[2] && y < ROWS && x < ROW_END && !outside(r, box->box_rows) &&
        !outside(c, box->box_bytes)) {
      int per_line = box->swizzle ? 128 / box->swizzle : 1;
      int chunk = c / 16 ^ (box->swizzle ? r / per_line % (box->swizzle / 16) : 0);
      int from = r * box->box_bytes + chunk * 16 + c % 16;
      expected = (from / 16 * 7 + from) & 255;
    }
    if (tensor[i] != expected)
      fail_msg("swizzle %d, box to (%d,%d,%d): plane %d row %d byte %d is %d instead of %d",
               box->swizzle, at[0], at[1], at[2], z, y, x, tensor[i], expected);
  }
}

static void stored_boxes_are_cut_and_swizzled(void **state) {
  (void)state;
  static const int places[][3] = {{0, 0, 0},   {16, 3, 1}, {128, 10, 2}, {144, 19, 0},
                                  {160, 5, 1}, {0, 20, 1}, {0, 0, 3}};
  static const int widths[][2] = {{128, 128}, {64, 64}, {32, 32}, {208, 0}, {16, 0}};
  static uint8_t zeros[PLANES * PLANE_PITCH];
  apq__object object;
  test_compile("sm_90a", box_store_body, &object);
  for (unsigned seed = 1; seed <= 2; seed++) {
    test_kernel test;
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", 4096);
    void *base = test_upload(&test, zeros, sizeof zeros);
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
      for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
        const apq__tensor_box box = {base,        ROW_BYTES,    ROWS,     PLANES,      ROW_PITCH,
                                     PLANE_PITCH, widths[w][0], BOX_ROWS, widths[w][1]};
        check_stored_box(&test, base, &box, places[p]);
      }
    test_close(&test);
  }
  apq__object_free(&object);
}

static void impossible_boxes_are_refused(void **state) {
  (void)state;
  apq__device *device = NULL;
  void *memory = NULL;
  apq_error error = APQ_ERROR_INIT;
  apq_tensor_map map;
  check_ok(apq__device_open("emu:sm_90a", &device, &error), &error);
  check_ok(device->ops->alloc(device, 4096, &memory, &error), &error);
  char *base = memory;
  const apq__tensor_box good = {base, 128, 32, 1, 128, 4096, 128, 32, 128};
  const struct {
    apq__tensor_box box;
    const char *flaw;
  } rows[] = {
      {{base + 8, 120, 31, 1, 128, 4096, 128, 32, 128}, "base is not 16-byte aligned"},
      {{base, 128, 0, 1, 128, 4096, 128, 32, 128}, "it is empty"},
      {{base, 120, 32, 1, 120, 4096, 128, 32, 128}, "a pitch is not a multiple of 16"},
      {{base, 128, 32, 1, 128, (size_t)1 << 40, 128, 32, 128}, "2^40"},
      {{base, 128, (size_t)1 << 33, 1, 128, 4096, 128, 32, 128}, "above 2^32"},
      {{base, 128, 32, 1, 112, 4096, 128, 32, 128}, "rows overlap"},
      {{base, 128, 32, 1, 128, 4096, 128, 257, 128}, "1 to 256 rows"},
      {{base, 128, 32, 1, 128, 4096, 272, 32, 0}, "1 to 256 bytes"},
      {{base, 128, 32, 1, 128, 4096, 24, 32, 0}, "no multiple of 16 bytes"},
      {{base, 128, 32, 1, 128, 4096, 128, 32, 256}, "a swizzle is 0, 32, 64 or 128"},
      {{base, 128, 32, 1, 128, 4096, 128, 32, 64}, "not as wide as the swizzle"},
      {{base, 128, 33, 1, 128, 4096, 128, 32, 128}, "out of bounds"},
  };
  check_ok(device->ops->tensor_map(device, &good, &map, &error), &error);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    assert_int_equal(device->ops->tensor_map(device, &rows[i].box, &map, &error),
                     APQ_INVALID_ARGUMENT);
    if (!strstr(error.message, rows[i].flaw)) fail_msg("%s: %s", rows[i].flaw, error.message);
  }
  apq__device_close(device);
  check_ok(apq__device_open("emu:sm_80", &device, &error), &error);
  assert_int_equal(device->ops->tensor_map(device, &good, &map, &error), APQ_INFEASIBLE);
  apq_error_clear(&error);
  apq__device_close(device);
}

/* ---- kernels of one block ---- */

/* Launches `body` for several seeds with `in` in p[0] and checks what it leaves in p[1]. */
static void check_body(const char *body, unsigned threads, size_t smem, const void *in,
                       size_t in_size, const void *expected, size_t out_size) {
  apq__object object;
  uint8_t out[4096];
  assert_true(out_size <= sizeof out);
  test_compile("sm_90a", body, &object);
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    apq_error error = APQ_ERROR_INIT;
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", smem);
    const test_args args = {{test_upload(&test, in, in_size), test_alloc(&test, out_size)}, {0}};
    check_ok(test_launch(&test, 1, threads, smem, &args, &error), &error);
    test_download(&test, out, args.p[1], out_size);
    assert_memory_equal(out, expected, out_size);
    test_close(&test);
  }
  apq__object_free(&object);
}

/* Four chunks come by bulk copies into a ring of two, are added up in place and leave by bulk
 * stores. */
static void bulk_copies_and_stores_stream(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 96, 1) {\n"
      "  int t = apq_thread();\n"
      "  if (t == 0) {\n"
      "    for (int s = 0; s < 2; s++) apq_mbarrier_init(1024 + 8 * s, 1);\n"
      "    for (int s = 0; s < 2; s++) apq_mbarrier_init(1040 + 8 * s, 64);\n"
      "    apq_mbarrier_publish();\n"
      "  }\n"
      "  apq_syncthreads();\n"
      "  if (t >= 64) {\n"
      "    for (int i = 0; i < 4 && t == 64; i++) {\n"
      "      apq_mbarrier_wait(1040 + i % 2 * 8, (i / 2 & 1) ^ 1);\n"
      "      apq_mbarrier_expect(1024 + i % 2 * 8, 512);\n"
      "      for (int part = 0; part < 2; part++)\n"
      "        apq_bulk_load(i % 2 * 512 + 256 * part, (apq_u8 *)args.p[0] + 512 * i + 256 * "
      "part,\n"
      "                      256, 1024 + i % 2 * 8);\n"
      "    }\n"
      "    return;\n"
      "  }\n"
      "  for (int i = 0; i < 4; i++) {\n"
      "    int at = i % 2 * 512 + 8 * t;\n"
      "    apq_mbarrier_wait(1024 + i % 2 * 8, i / 2 & 1);\n"
      "    apq_u32 low = apq_lds32(at), high = apq_lds32(at + 4);\n"
      "    apq_sts32(at, low + high);\n"
      "    apq_sts32(at + 4, low - high);\n"
      "    apq_fence_async();\n"
      "    apq_named_barrier(1, 64);\n"
      "    if (t == 0) {\n"
      "      apq_bulk_store((apq_u8 *)args.p[1] + 512 * i, i % 2 * 512, 512);\n"
      "      apq_bulk_commit();\n"
      "      apq_bulk_wait_read(0);\n"
      "    }\n"
      "    apq_named_barrier(1, 64);\n"
      "    apq_mbarrier_arrive(1040 + i % 2 * 8);\n"
      "  }\n"
      "  if (t == 0) apq_bulk_wait(0);\n"
      "}\n";
  uint32_t in[512], expected[512];
  fill_random(in, sizeof in, 6);
  for (int i = 0; i < 512; i += 2) {
    expected[i] = in[i] + in[i + 1];
    expected[i + 1] = in[i] - in[i + 1];
  }
  check_body(body, 96, 1056, in, sizeof in, expected, sizeof expected);
}

/* stmatrix is the inverse of ldmatrix; transposed, rows and columns of each matrix change places,
 * and twice transposed stay. */
static void stmatrix_spreads_registers(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 32, 1) {\n"
      "  int t = apq_thread();\n"
      "  apq_u32x4 v = apq_ldg128_stream((apq_u8 *)args.p[0] + 16 * t);\n"
      "  apq_u32 r[4];\n"
      "  apq_sts128(16 * t, v);\n"
      "  apq_syncwarp();\n"
      "  apq_ldmatrix4(r, 16 * t);\n"
      "  apq_stmatrix4(512 + 16 * (t ^ 5), r);\n"
      "  apq_stmatrix4_transposed(1024 + 16 * t, r);\n"
      "  apq_syncwarp();\n"
      "  apq_stg128((apq_u8 *)args.p[1] + 16 * t, apq_lds128(512 + 16 * (t ^ 5)));\n"
      "  apq_stg128((apq_u8 *)args.p[1] + 512 + 16 * t, apq_lds128(1024 + 16 * t));\n"
      "  apq_ldmatrix4_transposed(r, 16 * t);\n"
      "  apq_syncwarp();\n"
      "  apq_stmatrix4_transposed(512 + 16 * t, r);\n"
      "  apq_syncwarp();\n"
      "  apq_stg128((apq_u8 *)args.p[1] + 1024 + 16 * t, apq_lds128(512 + 16 * t));\n"
      "}\n";
  uint16_t in[4][8][8], expected[3][4][8][8];
  fill_random(in, sizeof in, 7);
  memcpy(expected[0], in, sizeof in);
  memcpy(expected[2], in, sizeof in);
  for (int matrix = 0; matrix < 4; matrix++)
    for (int row = 0; row < 8; row++)
      for (int column = 0; column < 8; column++)
        expected[1][matrix][column][row] = in[matrix][row][column];
  check_body(body, 32, 1536, in, sizeof in, expected, sizeof expected);
}

/* Producers and consumers of two warps each change places at two barriers; the warps of a third
 * kind never come there. */
static void named_barriers_hand_over(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 160, 1) {\n"
      "  int t = apq_thread();\n"
      "  if (t >= 128) return;\n"
      "  apq_u32 sum = 0;\n"
      "  for (int i = 0; i < 6; i++) {\n"
      "    if (t < 64) {\n"
      "      if (i > 0) apq_named_barrier(2, 128);\n"
      "      apq_sts32(4 * t, apq_ldg32((apq_u32 *)args.p[0] + t) * (apq_u32)(i + 1));\n"
      "      apq_named_barrier(1, 128);\n"
      "    } else {\n"
      "      apq_named_barrier(1, 128);\n"
      "      sum += apq_lds32(4 * (127 - t));\n"
      "      if (i < 5) apq_named_barrier(2, 128);\n"
      "    }\n"
      "  }\n"
      "  if (t >= 64) apq_stg32((apq_u32 *)args.p[1] + t - 64, sum);\n"
      "}\n";
  uint32_t in[64], expected[64];
  fill_random(in, sizeof in, 8);
  for (int i = 0; i < 64; i++) expected[i] = 21 * in[63 - i];
  check_body(body, 160, 256, in, sizeof in, expected, sizeof expected);
}

/* Two warpgroups get what the first gives back: 40 + 232 + 232 of 3 times 168. */
static void registers_move_between_warpgroups(void **state) {
  (void)state;
  static const char body[] = "APQ_KERNEL(test, test_args, 384, 1) {\n"
                             "  int t = apq_thread();\n"
                             "  if (t < 128) {\n"
                             "    apq_registers_decrease(40);\n"
                             "    return;\n"
                             "  }\n"
                             "  apq_registers_increase(232);\n"
                             "  apq_stg32((apq_u32 *)args.p[1] + t - 128,\n"
                             "            (apq_u32)apq_dp4a_u8(apq_ldg32((apq_u32 *)args.p[0] + t "
                             "- 128), 0xff01ff02u, -5));\n"
                             "}\n";
  uint8_t in[256][4];
  uint32_t expected[256];
  fill_random(in, sizeof in, 9);
  for (int i = 0; i < 256; i++)
    expected[i] = 2u * in[i][0] + 255u * in[i][1] + in[i][2] + 255u * in[i][3] - 5;
  check_body(body, 384, 0, in, sizeof in, expected, sizeof expected);
}

/* Phases are counted by parity: a fresh mbarrier has completed one of parity 1. */
static void mbarriers_count_phases(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 128, 1) {\n"
      "  int t = apq_thread();\n"
      "  if (t == 0) apq_mbarrier_init(512, 128), apq_sts32(0, apq_ldg32(args.p[0]));\n"
      "  apq_syncthreads();\n"
      "  apq_mbarrier_wait(512, 1);\n"
      "  for (int i = 0; i < 7; i++) {\n"
      "    apq_u32 v = apq_lds32(4 * (i % 2 ? 64 : 0));\n"
      "    if (t == 37 * i % 128) apq_sts32(4 * (i % 2 ? 0 : 64), v + (apq_u32)t);\n"
      "    apq_mbarrier_arrive(512);\n"
      "    apq_mbarrier_wait(512, i & 1);\n"
      "  }\n"
      "  if (t == 127) apq_stg32(args.p[1], apq_lds32(256));\n"
      "}\n";
  uint32_t in = 1000, expected = 1000;
  for (uint32_t i = 0; i < 7; i++) expected += 37 * i % 128;
  check_body(body, 128, 520, &in, sizeof in, &expected, sizeof expected);
}

/* ---- dependent launches ---- */

static const char dependent_body[] =
    "APQ_KERNEL(first, test_args, 32, 1) {\n"
    "  if (args.i[0]) apq_grid_wait();\n"
    "  apq_stg32((apq_u32 *)args.p[0] + apq_thread(), 5);\n"
    "  apq_grid_release();\n"
    "}\n"
    "APQ_KERNEL(test, test_args, 32, 1) {\n"
    "  int t = apq_thread();\n"
    "  apq_u32 *from = (apq_u32 *)args.p[0] + t, *to = (apq_u32 *)args.p[1] + t, v = 0;\n"
    "  if (args.i[0] == 1) v = apq_ldg32(from);\n"
    "  if (args.i[0] == 2) apq_stg32(to, 1);\n"
    "  v += apq_ldg32((apq_u32 *)args.p[2] + t);\n"
    "  if (args.i[0] != 3) apq_grid_wait();\n"
    "  if (args.i[0] != 3) apq_stg32(to, v + apq_ldg32(from));\n"
    "}\n";

static void dependent_launches_wait_before_they_touch(void **state) {
  (void)state;
  static const char *const expected[] = {NULL, "before grid_wait in a dependent launch",
                                         "global write before grid_wait",
                                         "exits without grid_wait"};
  apq__object object;
  test_kernel test;
  apq_error error = APQ_ERROR_INIT;
  test_compile("sm_90a", dependent_body, &object);
  test_open(&test, "sm_90a", 0, &object);
  test_use(&test, "first", 0);
  const apq__kernel *first = test.kernel;
  test_use(&test, "test", 0);
  const uint32_t input[32] = {3};
  test_args args = {
      {test_alloc(&test, 128), test_alloc(&test, 128), test_upload(&test, input, 128)}, {0}};
  apq__launch launch = {
      .kernel = first, .grid = {1, 1, 1}, .threads = 32, .args = &args, .args_size = sizeof args};
  for (int i = 0; i < 4; i++) {
    args.i[0] = 0;
    launch.kernel = first;
    launch.dependent = 0;
    check_ok(test.device->ops->launch(test.device, &launch, NULL, &error), &error);
    args.i[0] = i;
    launch.kernel = test.kernel;
    launch.dependent = 1;
    apq_status status = test.device->ops->launch(test.device, &launch, NULL, &error);
    assert_int_equal(status, expected[i] ? APQ_KERNEL_FAULT : APQ_OK);
    if (expected[i] && !strstr(error.message, expected[i])) fail_msg("%s", error.message);
    /* After a synchronization nothing runs that could still write. */
    check_ok(test.device->ops->synchronize(test.device, NULL, &error), &error);
    args.i[0] = 1;
    check_ok(test.device->ops->launch(test.device, &launch, NULL, &error), &error);
  }
  uint32_t out[32];
  test_download(&test, out, args.p[1], sizeof out);
  assert_int_equal(out[0], 13);
  apq_error_clear(&error);
  test_close(&test);
  apq__object_free(&object);
}

static void the_words_do_not_exist_before_sm_90(void **state) {
  (void)state;
  static const char *const uses[] = {"apq_mbarrier_arrive(0)", "apq_fence_async()",
                                     "apq_cluster_sync()", "apq_wgmma_fence()"};
  for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
    apq_error error = APQ_ERROR_INIT;
    apq__target target;
    apq__object object;
    check_ok(apq__target_emulated("sm_89", &target, &error), &error);
    char *body = apq__format("APQ_KERNEL(test, test_args, 32, 1) { %s; }\n", uses[i]);
    char *source = test_source(89, body);
    assert_int_equal(apq__compile(source, &target, NULL, &object, &error), APQ_COMPILE);
    apq_error_clear(&error);
    apq__free(source);
    apq__free(body);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensor_boxes_are_cut_filled_and_swizzled),
      cmocka_unit_test(stored_boxes_are_cut_and_swizzled),
      cmocka_unit_test(impossible_boxes_are_refused),
      cmocka_unit_test(bulk_copies_and_stores_stream),
      cmocka_unit_test(stmatrix_spreads_registers),
      cmocka_unit_test(named_barriers_hand_over),
      cmocka_unit_test(registers_move_between_warpgroups),
      cmocka_unit_test(mbarriers_count_phases),
      cmocka_unit_test(dependent_launches_wait_before_they_touch),
      cmocka_unit_test(the_words_do_not_exist_before_sm_90),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
