/* Every word of the emulated device against a plain computation. */
#include "emu_kernel.h"

#include <math.h>

#include "format.h"
#include "host.h"

enum { LANES = 32, SEEDS = 20 };

static void fill_random(void *data, size_t size, uint64_t seed) {
  uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)apq__random(&seed);
}

static uint32_t bits_of(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

static const char *embedded_text(const char *name) {
  const apq__embedded *row = apq__embedded_templates;
  while (row->name && strcmp(row->name, name) != 0) row++;
  return row->text ? row->text : "";
}

/* Every name that the CUDA prelude gives: found as "name(" where a word begins. */
static void no_word_is_missing(void **state) {
  (void)state;
  const char *emu = embedded_text("prelude_emu.h"), *cuda = embedded_text("prelude_cuda.h");
  int count = 0;
  for (const char *at = strstr(cuda, " apq_"); at; at = strstr(at + 1, " apq_")) {
    size_t length = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (at[1 + length] != '(') continue;
    if (strncmp(at, " apq_shared_address(", length + 2) == 0) continue; /* the prelude's own */
    char *call = apq__strndup(at, length + 2);
    if (!call || !strstr(emu, call)) fail_msg("prelude_emu.h lacks '%s'", call ? call : "?");
    apq__free(call);
    count++;
  }
  assert_true(count > 40);
}

/* ---- mma ---- */

/* The fragments as the PTX ISA draws them: matrices of 32-bit words, row r of a, column c of b. */
static const char mma_body[] =
    "APQ_KERNEL(test, test_args, 32, 1) {\n"
    "  int lane = apq_thread(), d[4];\n"
    "  apq_u32 a[4], b[2];\n"
    "  for (int i = 0; i < 4; i++) a[i] = apq_ldg32((apq_u32 *)args.p[0] + lane * 4 + i);\n"
    "  for (int i = 0; i < 2; i++) b[i] = apq_ldg32((apq_u32 *)args.p[1] + lane * 2 + i);\n"
    "  for (int i = 0; i < 4; i++) d[i] = (int)apq_ldg32((apq_u32 *)args.p[2] + lane * 4 + i);\n"
    "  MMA(d, a, b);\n"
    "  for (int i = 0; i < 4; i++) apq_stg32((apq_u32 *)args.p[2] + lane * 4 + i, (apq_u32)d[i]);\n"
    "}\n";

static uint32_t dot_and(uint32_t x, uint32_t y) {
  return (uint32_t)__builtin_popcount(x & y);
}
static uint32_t dot_xor(uint32_t x, uint32_t y) {
  return (uint32_t)__builtin_popcount(x ^ y);
}
static uint32_t dot_u8(uint32_t x, uint32_t y) {
  uint32_t sum = 0;
  for (int i = 0; i < 32; i += 8) sum += (x >> i & 255) * (y >> i & 255);
  return sum;
}

static void check_mma(const char *arch, const char *word, uint32_t (*dot)(uint32_t, uint32_t)) {
  uint32_t rows[16][8], columns[8][8], d[16][8];
  uint32_t a[LANES][4], b[LANES][2], before[LANES][4], after[LANES][4];
  fill_random(rows, sizeof rows, 1);
  fill_random(columns, sizeof columns, 2);
  fill_random(d, sizeof d, 3);
  for (int lane = 0; lane < LANES; lane++) {
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
      a[lane][i] = rows[g + i % 2 * 8][t + i / 2 * 4];
      before[lane][i] = d[g + i / 2 * 8][2 * t + i % 2];
    }
    for (int i = 0; i < 2; i++) b[lane][i] = columns[g][t + i * 4];
  }
  test_kernel test;
  apq_error error = APQ_ERROR_INIT;
  char *body = apq__format("#define MMA apq_mma_%s\n%s", word, mma_body);
  apq__object object;
  test_compile(arch, body, &object);
  test_open(&test, arch, 0, &object);
  test_use(&test, "test", 0);
  test_args args = {{test_upload(&test, a, sizeof a), test_upload(&test, b, sizeof b),
                     test_upload(&test, before, sizeof before), NULL},
                    {0}};
  check_ok(test_launch(&test, 1, LANES, 0, &args, &error), &error);
  test_download(&test, after, args.p[2], sizeof after);
  for (int r = 0; r < 16; r++)
    for (int c = 0; c < 8; c++) {
      uint32_t sum = d[r][c];
      for (int w = 0; w < 8; w++) sum += dot(rows[r][w], columns[c][w]);
      assert_int_equal(after[r % 8 * 4 + c / 2][r / 8 * 2 + c % 2], sum);
    }
  test_close(&test);
  apq__object_free(&object);
  apq__free(body);
}

static void mma_multiplies_fragments(void **state) {
  (void)state;
  check_mma("sm_80", "b1_and", dot_and);
  check_mma("sm_90a", "b1_and", dot_and);
  check_mma("sm_120", "b1_and", dot_and);
  check_mma("sm_75", "b1_xor", dot_xor);
  check_mma("sm_80", "b1_xor", dot_xor);
  check_mma("sm_75", "u8", dot_u8);
  check_mma("sm_90a", "u8", dot_u8);
}

static void b1_and_does_not_exist_on_sm_75(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__target target;
  apq__object object;
  check_ok(apq__target_emulated("sm_75", &target, &error), &error);
  char *body = apq__format("#define MMA apq_mma_b1_and\n%s", mma_body);
  char *source = test_source(75, body);
  assert_int_equal(apq__compile(source, &target, NULL, &object, &error), APQ_COMPILE);
  assert_non_null(strstr(error.log, "apq_mma_b1_and"));
  apq_error_clear(&error);
  apq__free(source);
  apq__free(body);
}

/* ---- warps ---- */

static void ballots_and_shuffles(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 96, 1) {\n"
      "  int lane = apq_thread() % 32;\n"
      "  apq_u32 *out = (apq_u32 *)args.p[0] + 5 * apq_thread(), v = 1000u * apq_thread() + 7;\n"
      "  apq_stg32(out, apq_ballot(lane % 3 == 1));\n"
      "  apq_stg32(out + 1, apq_shuffle(v, lane / 2));\n"
      "  apq_stg32(out + 2, apq_shuffle(v, lane + 33));\n"
      "  apq_stg32(out + 3, apq_shuffle_xor(v, 5));\n"
      "  apq_stg32(out + 4, apq_float_bits(apq_shuffle_xor_f32((float)v, 16)));\n"
      "}\n";
  enum { THREADS = 96 };
  uint32_t out[THREADS][5];
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  test_compile("sm_80", body, &object);
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    test_open(&test, "sm_80", seed, &object);
    test_use(&test, "test", 0);
    test_args args = {{test_alloc(&test, sizeof out)}, {0}};
    check_ok(test_launch(&test, 1, THREADS, 0, &args, &error), &error);
    test_download(&test, out, args.p[0], sizeof out);
    for (unsigned i = 0; i < THREADS; i++) {
      unsigned lane = i % LANES, warp = i - lane;
      assert_int_equal(out[i][0], 0x92492492u);
      assert_int_equal(out[i][1], 1000 * (warp + lane / 2) + 7);
      assert_int_equal(out[i][2], 1000 * (warp + (lane + 33) % LANES) + 7);
      assert_int_equal(out[i][3], 1000 * (warp + (lane ^ 5)) + 7);
      assert_int_equal(out[i][4], bits_of((float)(1000 * (warp + (lane ^ 16)) + 7)));
    }
    test_close(&test);
  }
  apq__object_free(&object);
}

/* ---- memory ---- */

/* Every width in both memories: block b reverses its part of p[0] into p[1] through shared memory.
 */
static void memory_words_move_what_they_say(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 64, 1) {\n"
      "  int t = apq_thread(), other = 63 - t;\n"
      "  apq_u8 *in = (apq_u8 *)args.p[0] + 1024 * apq_block_x();\n"
      "  apq_u8 *out = (apq_u8 *)args.p[1] + 1024 * apq_block_x();\n"
      "  apq_sts128(16 * t, apq_ldg128(in + 16 * t));\n"
      "  apq_syncthreads();\n"
      "  apq_u32x4 v = apq_lds128(16 * other);\n"
      "  apq_syncthreads();\n"
      "  apq_sts16(16 * t, (apq_u16)v.x);\n"
      "  apq_sts16(16 * t + 2, (apq_u16)(v.x >> 16));\n"
      "  apq_sts32(16 * t + 4, v.y);\n"
      "  apq_sts32(16 * t + 8, v.z);\n"
      "  apq_sts32(16 * t + 12, v.w);\n"
      "  apq_syncthreads();\n"
      "  v.x = apq_lds32(16 * t);\n"
      "  v.y = apq_lds32(16 * t + 4);\n"
      "  if (t % 4 == 0) apq_stg128(out + 16 * t, (apq_u32x4){v.x, v.y, v.z, v.w});\n"
      "  if (t % 4 == 1) {\n"
      "    apq_stg32(out + 16 * t, v.x), apq_stg32(out + 16 * t + 4, v.y);\n"
      "    apq_stg32(out + 16 * t + 8, v.z), apq_stg32(out + 16 * t + 12, v.w);\n"
      "  }\n"
      "  for (int i = 0; i < 8 && t % 4 == 2; i++)\n"
      "    apq_stg16(out + 16 * t + 2 * i, apq_ldg16(in + 16 * other + 2 * i));\n"
      "  for (int i = 0; i < 16 && t % 4 == 3; i++)\n"
      "    apq_stg8(out + 16 * t + i, apq_ldg8(in + 16 * other + i));\n"
      "  if (t == 0) apq_atomic_increment((unsigned *)args.p[2]);\n"
      "  if (t == 0 && apq_ldg_f32((float *)args.p[3]) == 2.5f && apq_grid_x() == 3)\n"
      "    apq_atomic_increment((unsigned *)args.p[2] + 1);\n"
      "}\n";
  enum { BLOCKS = 3, BYTES = BLOCKS * 1024 };
  static uint8_t in[BYTES], out[BYTES];
  const float number = 2.5f;
  uint32_t counts[2] = {10, 20};
  apq_error error = APQ_ERROR_INIT;
  fill_random(in, sizeof in, 4);
  apq__object object;
  test_compile("sm_90a", body, &object);
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", 1024);
    test_args args = {{test_upload(&test, in, sizeof in), test_alloc(&test, sizeof out),
                       test_upload(&test, counts, sizeof counts),
                       test_upload(&test, &number, sizeof number)},
                      {0}};
    check_ok(test_launch(&test, BLOCKS, 64, 1024, &args, &error), &error);
    test_download(&test, out, args.p[1], sizeof out);
    for (int i = 0; i < BYTES; i++)
      assert_int_equal(out[i], in[i / 1024 * 1024 + (63 - i % 1024 / 16) * 16 + i % 16]);
    uint32_t after[2];
    test_download(&test, after, args.p[2], sizeof after);
    assert_int_equal(after[0], 13);
    assert_int_equal(after[1], 23);
    test_close(&test);
  }
  apq__object_free(&object);
}

/* Row l of 16 bytes holds words 4l to 4l+3; lane l points at row perm(l). */
static void ldmatrix_spreads_rows(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 32, 1) {\n"
      "  apq_u32 t = (apq_u32)apq_thread(), r[4];\n"
      "  apq_sts128((int)(16 * t), (apq_u32x4){4 * t, 4 * t + 1, 4 * t + 2, 4 * t + 3});\n"
      "  apq_syncwarp();\n"
      "  apq_ldmatrix4(r, (int)(16 * (t * 5 % 32)));\n"
      "  apq_stg128((apq_u8 *)args.p[0] + 16 * t, (apq_u32x4){r[0], r[1], r[2], r[3]});\n"
      "}\n";
  test_kernel test;
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  uint32_t out[LANES][4];
  test_compile("sm_75", body, &object);
  test_open(&test, "sm_75", 0, &object);
  test_use(&test, "test", 512);
  test_args args = {{test_alloc(&test, sizeof out)}, {0}};
  check_ok(test_launch(&test, 1, LANES, 512, &args, &error), &error);
  test_download(&test, out, args.p[0], sizeof out);
  for (int lane = 0; lane < LANES; lane++)
    for (int i = 0; i < 4; i++)
      assert_int_equal(out[lane][i], 4 * ((8 * i + lane / 4) * 5 % LANES) + lane % 4);
  test_close(&test);
  apq__object_free(&object);
}

static void shared_atomics_add(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 256, 1) {\n"
      "  if (apq_thread() < 2) apq_sts32(4 * apq_thread(), 0xfffffff0u);\n"
      "  apq_syncthreads();\n"
      "  apq_atomic_add_shared(4 * (apq_thread() % 2), (apq_u32)apq_thread());\n"
      "  apq_syncthreads();\n"
      "  if (apq_thread() < 2) apq_stg32((apq_u32 *)args.p[0] + apq_thread(), apq_lds32(4 * "
      "apq_thread()));\n"
      "}\n";
  test_kernel test;
  apq_error error = APQ_ERROR_INIT;
  uint32_t out[2];
  apq__object object;
  test_compile("sm_80", body, &object);
  test_open(&test, "sm_80", 0, &object);
  test_use(&test, "test", 8);
  test_args args = {{test_alloc(&test, sizeof out)}, {0}};
  check_ok(test_launch(&test, 1, 256, 8, &args, &error), &error);
  test_download(&test, out, args.p[0], sizeof out);
  assert_int_equal(out[0], 128 * 127 - 16);
  assert_int_equal(out[1], 128 * 128 - 16);
  test_close(&test);
  apq__object_free(&object);
}

/* A ring of three slots; odd chunks are zeros that read nothing. */
static void cp_async_copies_and_fills(void **state) {
  (void)state;
  static const char body[] = "APQ_KERNEL(test, test_args, 32, 1) {\n"
                             "  int t = apq_thread();\n"
                             "  const apq_u8 *in = (const apq_u8 *)args.p[0];\n"
                             "  for (int i = 0; i < 2; i++) {\n"
                             "    apq_cp_async16(512 * i + 16 * t, t % 2 ? (const void *)0 : in + "
                             "512 * i + 16 * t, t % 2 ? 0 : 16);\n"
                             "    apq_cp_async_commit();\n"
                             "  }\n"
                             "  for (int i = 0; i < 8; i++) {\n"
                             "    apq_cp_async_wait(1);\n"
                             "    apq_syncthreads();\n"
                             "    if (i + 2 < 8)\n"
                             "      apq_cp_async16((i + 2) % 3 * 512 + 16 * t, t % 2 ? (const void "
                             "*)0 : in + 512 * (i + 2) + 16 * t,\n"
                             "                     t % 2 ? 0 : 16);\n"
                             "    apq_cp_async_commit();\n"
                             "    apq_stg128((apq_u8 *)args.p[1] + 512 * i + 16 * t, apq_lds128(i "
                             "% 3 * 512 + 16 * (t ^ 3)));\n"
                             "  }\n"
                             "}\n";
  static const char *const archs[] = {"sm_75", "sm_80", "sm_90a"};
  enum { BYTES = 8 * 512 };
  static uint8_t in[BYTES], out[BYTES];
  apq_error error = APQ_ERROR_INIT;
  fill_random(in, sizeof in, 5);
  for (int i = 0; i < 3; i++) {
    test_kernel test;
    apq__object object;
    test_compile(archs[i], body, &object);
    test_open(&test, archs[i], 0, &object);
    test_use(&test, "test", 3 * 512);
    test_args args = {{test_upload(&test, in, sizeof in), test_alloc(&test, sizeof out)}, {0}};
    check_ok(test_launch(&test, 1, 32, 3 * 512, &args, &error), &error);
    test_download(&test, out, args.p[1], sizeof out);
    for (int at = 0; at < BYTES; at++) {
      int t = (at % 512 / 16) ^ 3;
      assert_int_equal(out[at], t % 2 ? 0 : in[at / 512 * 512 + 16 * t + at % 16]);
    }
    test_close(&test);
    apq__object_free(&object);
  }
}

/* ---- arithmetic ---- */

/* Runs a body of one warp on `count` inputs at p[0], with i[0] = count; its results are at p[1]. */
static void run_words(const char *body, const void *in, size_t in_bytes, int count, void *out,
                      size_t out_bytes) {
  test_kernel test;
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  test_compile("sm_80", body, &object);
  test_open(&test, "sm_80", 0, &object);
  test_use(&test, "test", 0);
  test_args args = {{test_upload(&test, in, in_bytes), test_alloc(&test, out_bytes)}, {count}};
  check_ok(test_launch(&test, 1, 32, 0, &args, &error), &error);
  test_download(&test, out, args.p[1], out_bytes);
  test_close(&test);
  apq__object_free(&object);
}

/* p[0]: three floats a case; out: their fma, and the reciprocal of 1 to 2. */
static void products_and_sums_are_rounded_once(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 32, 1) {\n"
      "  for (int i = apq_thread(); i < args.i[0]; i += 32) {\n"
      "    const float *v = (const float *)args.p[0] + 3 * i;\n"
      "    float a = apq_ldg_f32(v), b = apq_ldg_f32(v + 1), c = apq_ldg_f32(v + 2);\n"
      "    apq_u32 *out = (apq_u32 *)args.p[1] + 2 * i, bits = apq_float_bits(a) & 0x7fffff;\n"
      "    apq_stg32(out, apq_float_bits(apq_fma(a, b, c)));\n"
      "    apq_stg32(out + 1, apq_float_bits(apq_reciprocal(apq_bits_float(bits | 0x3f800000))));\n"
      "  }\n"
      "}\n";
  enum { COUNT = 60000 };
  static float in[COUNT][3];
  static uint32_t out[COUNT][2];
  fill_random(in, sizeof in, 16);
  for (int i = 0; i < COUNT; i++) {
    /* Most sums of wholly random floats are one of the terms. */
    if (i % 4 == 1) in[i][2] = -in[i][0] * in[i][1];
    if (i % 4 == 2) in[i][1] = 1.0f + in[i][1] * 0x1p-140f, in[i][2] = in[i][0] * 0x1p-24f;
    if (i % 4 == 3) in[i][0] = ldexpf(frexpf(in[i][0], &(int){0}), -70), in[i][1] = 0x1.8p-60f;
  }
  run_words(body, in, sizeof in, COUNT, out, sizeof out);
  for (int i = 0; i < COUNT; i++) {
    const float expected = fmaf(in[i][0], in[i][1], in[i][2]);
    float got;
    memcpy(&got, &out[i][0], 4);
    if (isnan(expected))
      assert_true(isnan(got));
    else if (out[i][0] != bits_of(expected))
      fail_msg("fma(%a, %a, %a) is %a, expected %a", (double)in[i][0], (double)in[i][1],
               (double)in[i][2], (double)got, (double)expected);
    const uint32_t bits = (bits_of(in[i][0]) & 0x7fffff) | 0x3f800000;
    float divisor;
    memcpy(&divisor, &bits, 4);
    assert_int_equal(out[i][1], bits_of(1.0f / divisor));
  }
}

/* p[0]: floats; out a float: half, back from half, bf16, back from bf16, integer, popc, finite, max
 * with 1, min with 1, abs. */
static void conversions_round_like_the_reference(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 32, 1) {\n"
      "  for (int i = apq_thread(); i < args.i[0]; i += 32) {\n"
      "    float v = apq_ldg_f32((const float *)args.p[0] + i);\n"
      "    apq_u32 *out = (apq_u32 *)args.p[1] + 10 * i;\n"
      "    apq_u16 half = apq_float_to_half(v), brain = apq_float_to_bf16(v);\n"
      "    apq_stg32(out, half);\n"
      "    apq_stg32(out + 1, apq_float_bits(apq_half_to_float(half)));\n"
      "    apq_stg32(out + 2, brain);\n"
      "    apq_stg32(out + 3, apq_float_bits(apq_bf16_to_float(brain)));\n"
      "    apq_stg32(out + 4, (apq_u32)apq_float_to_int(v));\n"
      "    apq_stg32(out + 5, (apq_u32)apq_popc(apq_float_bits(v)));\n"
      "    apq_stg32(out + 6, (apq_u32)apq_is_finite(v));\n"
      "    apq_stg32(out + 7, apq_float_bits(apq_max(v, 1.0f)));\n"
      "    apq_stg32(out + 8, apq_float_bits(apq_min(1.0f, v)));\n"
      "    apq_stg32(out + 9, apq_float_bits(apq_abs(v)));\n"
      "  }\n"
      "}\n";
  enum { COUNT = 40000, WIDTH = 10 };
  static float in[COUNT];
  static uint32_t out[COUNT][WIDTH];
  static const float edges[] = {0.0f,           -0.0f,
                                0.5f,           1.5f,
                                -2.5f,          65504.0f,
                                65519.9f,       65520.0f,
                                6.1e-5f,        5.96e-8f,
                                2.98e-8f,       2.99e-8f,
                                1e-40f,         2147483520.0f,
                                2147483648.0f,  -2147483648.0f,
                                -2147483904.0f, 8388607.5f,
                                8388609.0f,     INFINITY,
                                -INFINITY,      NAN};
  fill_random(in, sizeof in, 6);
  memcpy(in, edges, sizeof edges);
  for (int i = COUNT / 2; i < COUNT; i++) {
    uint32_t bits;
    memcpy(&bits, &in[i], sizeof bits);
    bits = (bits & 0x87ffffffu) | 0x38000000u; /* the range of halves */
    memcpy(&in[i], &bits, sizeof bits);
  }
  run_words(body, in, sizeof in, COUNT, out, sizeof out);
  for (int i = 0; i < COUNT; i++) {
    float v = in[i], back;
    uint32_t bits = bits_of(v);
    int nan = v != v;
    assert_int_equal(out[i][0], nan ? 0x7fff : apq__half_from_float(v));
    memcpy(&back, &out[i][1], sizeof back);
    if (nan)
      assert_true(back != back);
    else
      assert_int_equal(out[i][1], bits_of(apq__float_from_half((uint16_t)out[i][0])));
    assert_int_equal(out[i][2], nan ? 0x7fff : apq__bf16_from_float(v));
    assert_int_equal(out[i][3], out[i][2] << 16);
    long integer = nan                  ? 0
                   : v >= 2147483648.0f ? INT32_MAX
                   : v < -2147483648.0f ? INT32_MIN
                                        : lrintf(v);
    assert_int_equal((int32_t)out[i][4], integer);
    assert_int_equal(out[i][5], __builtin_popcount(bits));
    assert_int_equal(out[i][6], isfinite(v) != 0);
    assert_int_equal(out[i][7], bits_of(nan ? 1.0f : fmaxf(v, 1.0f)));
    assert_int_equal(out[i][8], bits_of(nan ? 1.0f : fminf(v, 1.0f)));
    assert_int_equal(out[i][9], bits & 0x7fffffffu);
  }
}

/* p[0]: pairs of words; out: dp4a, permute, unsigned and signed maxima of halves, select. */
static void packed_words_work_on_their_parts(void **state) {
  (void)state;
  static const char body[] =
      "APQ_KERNEL(test, test_args, 32, 1) {\n"
      "  for (int i = apq_thread(); i < args.i[0]; i += 32) {\n"
      "    const apq_u32 *in = (const apq_u32 *)args.p[0] + 2 * i;\n"
      "    apq_u32 a = apq_ldg32(in), b = apq_ldg32(in + 1), *out = (apq_u32 *)args.p[1] + 5 * i;\n"
      "    apq_stg32(out, (apq_u32)apq_dp4a_u8(a, b, -7));\n"
      "    apq_stg32(out + 1, apq_permute(a, b, 0x6240));\n"
      "    apq_stg32(out + 2, apq_max_u16x2(a, b));\n"
      "    apq_stg32(out + 3, apq_max_s16x2(a, b));\n"
      "    apq_stg32(out + 4, apq_select(a, b, 0x00ffff00u));\n"
      "  }\n"
      "}\n";
  static const uint32_t in[][2] = {{0x01020304u, 0x05060708u},
                                   {0xffffffffu, 0xffffffffu},
                                   {0x80007fffu, 0x7fff8000u},
                                   {0x0001ffffu, 0x00020000u}};
  static const uint32_t expected[][5] = {
      {63, 0x06020804u, 0x05060708u, 0x05060708u, 0x05020308u},
      {4 * 255 * 255 - 7, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu},
      {2 * 0x7f * 0x80 - 7, 0xff0000ffu, 0x80008000u, 0x7fff7fffu, 0x7f007f00u},
      {(uint32_t)-5, 0x020100ffu, 0x0002ffffu, 0x00020000u, 0x0001ff00u}};
  enum { COUNT = sizeof in / sizeof in[0] };
  apq__object object = {0};
  test_kernel test;
  test_compile("sm_90a", body, &object);
  test_open(&test, "sm_90a", 1, &object);
  test_use(&test, "test", 0);
  test_args args = {.i = {COUNT}};
  uint32_t out[COUNT][5];
  args.p[0] = test_upload(&test, in, sizeof in);
  args.p[1] = test_alloc(&test, sizeof out);
  apq_error error = APQ_ERROR_INIT;
  check_ok(test_launch(&test, 1, 32, 0, &args, &error), &error);
  test_download(&test, out, args.p[1], sizeof out);
  for (int i = 0; i < COUNT; i++)
    for (int j = 0; j < 5; j++) assert_int_equal(out[i][j], expected[i][j]);
  test.device->ops->release(test.device, args.p[0]);
  test.device->ops->release(test.device, args.p[1]);
  test_close(&test);
  apq__object_free(&object);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_word_is_missing),
      cmocka_unit_test(mma_multiplies_fragments),
      cmocka_unit_test(b1_and_does_not_exist_on_sm_75),
      cmocka_unit_test(ballots_and_shuffles),
      cmocka_unit_test(memory_words_move_what_they_say),
      cmocka_unit_test(ldmatrix_spreads_rows),
      cmocka_unit_test(shared_atomics_add),
      cmocka_unit_test(cp_async_copies_and_fills),
      cmocka_unit_test(products_and_sums_are_rounded_once),
      cmocka_unit_test(conversions_round_like_the_reference),
      cmocka_unit_test(packed_words_work_on_their_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
