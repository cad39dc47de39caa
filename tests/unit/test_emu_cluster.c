/* Clusters on the emulated device: blocks that live together, arrivals at each other's mbarriers,
 * multicast copies; and the launches that are refused. */
#include "emu_kernel.h"

#include "host.h"

enum { SEEDS = 8, CHUNK = 1024, STAGES = 2, STEPS = 5 };

/* Each of the SIZE blocks of a cluster copies its part of the rows of every step into all of them
 * and adds up what all have brought, times its rank + 1.  A slot is free when every block has said
 * so to every block. */
static const char body[] =
    "#define FULL(s) (2048 + 8 * (s))\n"
    "#define FREE(s) (2064 + 8 * (s))\n"
    "APQ_KERNEL(test, test_bulk_args, 96, 1) {\n"
    "  int t = apq_thread(), rank = apq_cluster_rank(), part = 8 / SIZE, steps = args.plain.i[0];\n"
    "  if (t == 0) {\n"
    "    for (int s = 0; s < 2; s++) apq_mbarrier_init(FULL(s), 1), apq_mbarrier_init(FREE(s), 2 * "
    "SIZE);\n"
    "    apq_mbarrier_publish();\n"
    "  }\n"
    "  apq_cluster_sync();\n"
    "  if (t == 64)\n"
    "    for (int i = 0; i < steps; i++) {\n"
    "      apq_mbarrier_wait(FREE(i % 2), (i / 2 & 1) ^ 1);\n"
    "      apq_mbarrier_expect(FULL(i % 2), 1024);\n"
    "      apq_tma_load_multicast(i % 2 * 1024 + rank * part * 128, &args.map[0], FULL(i % 2), 0,\n"
    "                             8 * i + rank * part, apq_block_x() / SIZE, (1 << SIZE) - 1);\n"
    "    }\n"
    "  apq_u32 sum = 0;\n"
    "  for (int i = 0; i < steps && t < 64; i++) {\n"
    "    apq_mbarrier_wait(FULL(i % 2), i / 2 & 1);\n"
    "    for (int j = 0; j < 4; j++) sum += apq_lds32(i % 2 * 1024 + j * 256 + 4 * t);\n"
    "    apq_syncwarp();\n"
    "    if (t % 32 < SIZE) apq_mbarrier_arrive_at(FREE(i % 2), t % 32);\n"
    "  }\n"
    "  if (t < 64) apq_stg32((apq_u32 *)args.plain.p[0] + 64 * apq_block_x() + t, sum * "
    "(apq_u32)(rank + 1));\n"
    "  apq_cluster_sync();\n"
    "}\n";

static void check_cluster(unsigned size) {
  enum { CLUSTERS = 3, PLANE = 8 * STEPS * 128 };
  static uint32_t in[CLUSTERS][PLANE / 4], out[8 * CLUSTERS][64];
  apq__object object;
  uint64_t random = size;
  for (int i = 0; i < CLUSTERS * PLANE / 4; i++)
    in[i / (PLANE / 4)][i % (PLANE / 4)] = (uint32_t)apq__random(&random);
  char *source = apq__format("#define SIZE %u\n%s", size, body);
  test_compile("sm_90a", source, &object);
  apq__free(source);
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    apq_error error = APQ_ERROR_INIT;
    test_bulk_args args;
    memset(&args, 0, sizeof args);
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", 2080);
    const apq__tensor_box box = {test_upload(&test, in, sizeof in),
                                 128,
                                 8 * STEPS,
                                 CLUSTERS,
                                 128,
                                 PLANE,
                                 128,
                                 8 / (int)size,
                                 0};
    check_ok(test.device->ops->tensor_map(test.device, &box, &args.map[0], &error), &error);
    args.plain.p[0] = test_alloc(&test, sizeof out);
    args.plain.i[0] = STEPS;
    check_ok(test_launch_bulk(&test, CLUSTERS * size, size, 96, 2080, &args, &error), &error);
    test_download(&test, out, args.plain.p[0], CLUSTERS * size * sizeof out[0]);
    for (unsigned block = 0; block < CLUSTERS * size; block++)
      for (unsigned t = 0; t < 64; t++) {
        uint32_t sum = 0;
        for (unsigned i = t; i < PLANE / 4; i += 64) sum += in[block / size][i];
        if (out[block][t] != sum * (block % size + 1))
          fail_msg("cluster of %u, block %u, thread %u: %u", size, block, t, out[block][t]);
      }
    test_close(&test);
  }
  apq__object_free(&object);
}

static void blocks_of_a_cluster_share_copies(void **state) {
  (void)state;
  for (unsigned size = 1; size <= 8; size *= 2) check_cluster(size);
}

/* A block that has waited for all that others copy into it may exit before them. */
static void waiting_for_copies_is_enough(void **state) {
  (void)state;
  static const char one_way[] =
      "APQ_KERNEL(test, test_bulk_args, 32, 1) {\n"
      "  int t = apq_thread();\n"
      "  if (t == 0) apq_mbarrier_init(1024, 1), apq_mbarrier_publish();\n"
      "  apq_cluster_sync();\n"
      "  if (t == 0) apq_mbarrier_expect(1024, 1024);\n"
      "  if (t == 0 && apq_cluster_rank() == 3)\n"
      "    apq_tma_load_multicast(0, &args.map[0], 1024, 0, 0, 0, 15);\n"
      "  apq_mbarrier_wait(1024, 0);\n"
      "  apq_stg32((apq_u32 *)args.plain.p[1] + 32 * apq_block_x() + t, apq_lds32(4 * t));\n"
      "}\n";
  uint32_t in[8][32], out[4][32];
  apq__object object;
  for (int i = 0; i < 8 * 32; i++) in[i / 32][i % 32] = (uint32_t)i * 77;
  test_compile("sm_90a", one_way, &object);
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    apq_error error = APQ_ERROR_INIT;
    test_bulk_args args;
    memset(&args, 0, sizeof args);
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", 1032);
    const apq__tensor_box box = {
        test_upload(&test, in, sizeof in), 128, 8, 1, 128, 1024, 128, 8, 0};
    check_ok(test.device->ops->tensor_map(test.device, &box, &args.map[0], &error), &error);
    args.plain.p[1] = test_alloc(&test, sizeof out);
    check_ok(test_launch_bulk(&test, 4, 4, 32, 1032, &args, &error), &error);
    test_download(&test, out, args.plain.p[1], sizeof out);
    for (int block = 0; block < 4; block++) assert_memory_equal(out[block], in[0], sizeof in[0]);
    test_close(&test);
  }
  apq__object_free(&object);
}

/* Each block of four sends its rank and the thread's number to every block, which adds them up and
 * exits. */
static void blocks_send_each_other_chunks(void **state) {
  (void)state;
  static const char exchange[] =
      "APQ_KERNEL(test, test_bulk_args, 32, 1) {\n"
      "  int t = apq_thread(), rank = apq_cluster_rank();\n"
      "  apq_u32 sum = 0;\n"
      "  if (t == 0) {\n"
      "    apq_mbarrier_init(2048, 1);\n"
      "    apq_mbarrier_publish();\n"
      "    apq_mbarrier_expect(2048, 4 * 512);\n"
      "  }\n"
      "  apq_cluster_meet();\n"
      "  for (int i = 0; i < 4; i++) {\n"
      "    apq_u32x4 v = {1, (apq_u32)rank, (apq_u32)t, (apq_u32)i};\n"
      "    apq_send128(rank * 512 + 16 * t, i, v, 2048);\n"
      "  }\n"
      "  apq_mbarrier_wait(2048, 0);\n"
      "  for (int i = 0; i < 4; i++) {\n"
      "    apq_u32x4 v = apq_lds128(i * 512 + 16 * (t ^ 1));\n"
      "    sum += v.x + 10 * v.y + 100 * v.z + 10000 * v.w;\n"
      "  }\n"
      "  apq_stg32((apq_u32 *)args.plain.p[0] + 32 * apq_block_x() + t, sum);\n"
      "}\n";
  uint32_t out[8][32];
  apq__object object;
  test_compile("sm_90a", exchange, &object);
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    apq_error error = APQ_ERROR_INIT;
    test_bulk_args args;
    memset(&args, 0, sizeof args);
    test_open(&test, "sm_90a", seed, &object);
    test_use(&test, "test", 2056);
    args.plain.p[0] = test_alloc(&test, sizeof out);
    check_ok(test_launch_bulk(&test, 8, 4, 32, 2056, &args, &error), &error);
    test_download(&test, out, args.plain.p[0], sizeof out);
    for (unsigned block = 0; block < 8; block++)
      for (unsigned t = 0; t < 32; t++)
        assert_int_equal(out[block][t], 4 + 10 * 6 + 4 * 100 * (t ^ 1) + 4 * 10000 * (block % 4));
    test_close(&test);
  }
  apq__object_free(&object);
}

static void impossible_clusters_are_refused(void **state) {
  (void)state;
  static const char empty[] = "APQ_KERNEL(test, test_args, 32, 1) {}\n";
  static const struct {
    const char *arch;
    unsigned blocks, cluster;
    int dependent;
    apq_status status;
    const char *expected;
  } rows[] = {
      {"sm_90a", 16, 8, 0, APQ_OK, ""},
      {"sm_90a", 16, 16, 0, APQ_KERNEL_FAULT, "a cluster of 16 blocks"},
      {"sm_90a", 6, 4, 0, APQ_KERNEL_FAULT, "6 blocks along x is not made of clusters of 4"},
      {"sm_80", 4, 1, 0, APQ_OK, ""},
      {"sm_80", 4, 2, 0, APQ_INFEASIBLE, "neither clusters nor dependent launches"},
      {"sm_80", 4, 0, 1, APQ_INFEASIBLE, "neither clusters nor dependent launches"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq__object object;
    test_kernel test;
    apq_error error = APQ_ERROR_INIT;
    const test_args args = {{NULL}, {0}};
    test_compile(rows[i].arch, empty, &object);
    test_open(&test, rows[i].arch, 0, &object);
    test_use(&test, "test", 0);
    const apq__launch launch = {.kernel = test.kernel,
                                .grid = {rows[i].blocks, 1, 1},
                                .threads = 32,
                                .args = &args,
                                .args_size = sizeof args,
                                .cluster = rows[i].cluster,
                                .dependent = rows[i].dependent};
    assert_int_equal(test.device->ops->launch(test.device, &launch, NULL, &error), rows[i].status);
    if (rows[i].status != APQ_OK) assert_non_null(strstr(error.message, rows[i].expected));
    apq_error_clear(&error);
    test_close(&test);
    apq__object_free(&object);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_of_a_cluster_share_copies),
      cmocka_unit_test(waiting_for_copies_is_enough),
      cmocka_unit_test(blocks_send_each_other_chunks),
      cmocka_unit_test(impossible_clusters_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
