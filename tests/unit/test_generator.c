/* Families, completion, limits and generated sources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "alloc.h"
#include "generator.h"

static apq__target target_of(const char *arch) {
  apq__target target;
  assert_int_equal(apq__target_emulated(arch, &target, NULL), APQ_OK);
  return target;
}

static apq__config config_of(const char *text) {
  apq__config config;
  apq_error error = APQ_ERROR_INIT;
  if (apq__config_parse(text, &config, &error) || apq__config_complete(&config, &error))
    fail_msg("%s: %s", text, error.message);
  return config;
}

static void every_family_declares_its_knobs(void **state) {
  (void)state;
  const char *names[] = {"bmma", "imma", "decode", "pack"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const apq__family *family = apq__family_find(names[i]);
    assert_non_null(family);
    int count = 0;
    const apq__knob_decl *knobs = apq__family_knobs(family, &count);
    assert_true(count >= 4);
    for (int k = 0; k < count; k++) {
      int is_default_in_domain = 0;
      for (int v = 0; v < knobs[k].value_count; v++)
        is_default_in_domain |= strcmp(knobs[k].values[v], knobs[k].fallback) == 0;
      if (!is_default_in_domain)
        fail_msg("%s.%s: default not in its domain", names[i], knobs[k].name);
      assert_true(strlen(knobs[k].doc) > 0);
    }
    assert_int_equal(strlen(apq__family_hash(family, 0)), 64);
    assert_string_not_equal(apq__family_hash(family, 0), apq__family_hash(family, 1));
  }
  assert_null(apq__family_find("nosuch"));
  apq__config bytes = config_of("family=imma"), planes = config_of("family=bmma");
  apq__config either[] = {config_of("family=decode,core=u8"), config_of("family=decode,core=b1")};
  apq__config pairs = config_of("family=imma_bulk,q=4,form=pairs");
  apq__config packed = config_of("family=pack,q=4,form=pairs");
  assert_int_equal(apq__config_form(&bytes), APQ__FORM_BYTES);
  assert_int_equal(apq__config_form(&planes), APQ__FORM_PLANES);
  assert_int_equal(apq__config_form(&either[0]), APQ__FORM_BYTES);
  assert_int_equal(apq__config_form(&either[1]), APQ__FORM_PLANES);
  assert_int_equal(apq__config_form(&pairs), APQ__FORM_PAIRS);
  assert_int_equal(apq__config_form(&packed), APQ__FORM_PAIRS);
  assert_int_equal(apq__family_is_product(apq__family_find("pack")), 0);
}

static void completion_names_what_is_wrong(void **state) {
  (void)state;
  const struct {
    const char *text, *named;
  } bad[] = {{"p=1", "family"},
             {"family=nosuch", "nosuch"},
             {"family=bmma,colour=1", "colour"},
             {"family=bmma,tile_m=48", "tile_m=48"},
             {"family=bmma,p=9", "p=9"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    apq__config config;
    apq_error error = APQ_ERROR_INIT;
    assert_int_equal(apq__config_parse(bad[i].text, &config, NULL), APQ_OK);
    assert_int_not_equal(apq__config_complete(&config, &error), APQ_OK);
    assert_non_null(strstr(error.message, bad[i].named));
  }
}

static void limits_give_reasons(void **state) {
  (void)state;
  const struct {
    const char *arch, *config, *reason;
  } rows[] = {
      {"sm_80", "family=bmma,tile_m=8", "multiple"},
      {"sm_80", "family=bmma,tile_m=16,warps_m=2", "divide"},
      {"sm_75", "family=bmma", "op=xor"},
      {"sm_86",
       "family=bmma,p=8,q=8,tile_m=256,tile_n=256,warps_m=8,warps_n=4,recombine=shared,store="
       "staged",
       "shared memory"},
      {"sm_90a", "family=bmma,p=8,q=8", "registers"},
      {"sm_90a", "family=bmma,schedule=horner,recombine=shared", "schedule"},
      {"sm_90a", "family=imma,split_k=4", "staged"},
      {"sm_90a", "family=imma,tile_m=256,tile_n=256,warps_m=8,warps_n=8", "threads"},
      {"sm_75", "family=decode", "core=u8"},
      {"sm_80", "family=decode,pdl=1", "dependent"},
      {"sm_90a", "family=decode,core=u8,schedule=horner", "schedule"},
      {"sm_90a", "family=decode,unpack=fill", "unpack"},
      {"sm_90a", "family=decode,warps_k=32,warps_n=2", "threads"},
      {"sm_90a", "family=decode,warps_k=1,tiles=4", "rows"},
      {"sm_90a", "family=decode,p=8,depth=8", "registers"},
      {"sm_80", "family=decode,cluster=2,warps_n=2", "clusters"},
      {"sm_90a", "family=decode,cluster=2", "16 rows"},
      {"sm_90a", "family=decode,cluster=2,warps_n=2,persist=1", "one tile"},
      {"sm_90a", "family=decode,core=u8,operand=shared,unpack=wait", "pdl=1"},
      {"sm_90a", "family=decode,cluster=2,warps_n=2,split_k=2", "not both"},
      {"sm_90a", "family=decode,operand=shared,src=f16,split_k=2", "clears them"},
      {"sm_90a", "family=decode,tile_m=32,operand=shared,warps_k=32,tiles=4", "shared memory"},
      {"sm_80", "family=stream,pdl=1", "dependent"},
      {"sm_90a", "family=pack,q=5,form=pairs", "activations of up to four bits"},
      {"sm_80", "family=imma,p=4,q=5,form=pairs", "activations of up to four bits"},
      {"sm_90a", "family=imma_bulk,p=5,q=4,form=pairs", "weights: of up to four bits"},
      {"sm_90a", "family=imma_bulk,p=4,q=4,form=pairs,group=128,tile_m=64", "group scales"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq__target target = target_of(rows[i].arch);
    apq__config config;
    apq_error error = APQ_ERROR_INIT;
    apq__shape shape;
    assert_int_equal(apq__config_parse(rows[i].config, &config, NULL), APQ_OK);
    assert_int_equal(apq__config_complete(&config, NULL), APQ_OK);
    apq_status status = apq__config_limits(&config, NULL, &target, &shape, &error);
    if (status != APQ_INFEASIBLE || !strstr(error.message, rows[i].reason))
      fail_msg("%s on %s: %s", rows[i].config, rows[i].arch, error.message);
  }
}

/* 16 times the largest product of a W4A4 code and a code and 1 is 3840. */
static void pairs_limit_k(void **state) {
  (void)state;
  const apq__target target = target_of("sm_90a");
  apq__problem problem = {.p = 4, .q = 4, .m = 3, .n = 64, .k = 1118481, .out = APQ_DTYPE_F16};
  apq__shape shape;
  apq_error error = APQ_ERROR_INIT;
  const apq__config config = config_of("family=imma_bulk,p=4,q=4,form=pairs");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  problem.k++;
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_INFEASIBLE);
  assert_non_null(strstr(error.message, "below 2^32"));
}

/* What the problem adds: the panel of activations, all of k in one load, persistent grids. */
static void decode_limits_follow_the_problem(void **state) {
  (void)state;
  apq__target target = target_of("sm_90a");
  apq__problem problem = {.p = 2, .q = 8, .m = 3, .n = 11000, .k = 4096, .out = APQ_DTYPE_F16};
  apq__shape shape;
  apq_error error = APQ_ERROR_INIT;
  apq__config config = config_of("family=decode,p=2,q=8,tile_m=2,warps_k=4,tiles=2,pdl=1");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  assert_int_equal(shape.grid[0], (11000 + 31) / 32);
  assert_int_equal(shape.grid[1], 2);
  assert_int_equal(shape.dependent, 1);
  assert_int_equal(shape.tile_n, 32);
  assert_int_equal(shape.tile_k, 2048);
  config = config_of("family=decode,p=2,q=8,tile_m=4,persist=2,operand=keep");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  assert_int_equal(shape.grid[0], 264);
  problem.k = 4097;
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_INFEASIBLE);
  assert_non_null(strstr(error.message, "keep"));
  /* Eight planes of four tokens in lines of 1024 k, behind the edges and the sums. */
  config = config_of("family=decode,p=2,q=8,tile_m=4,operand=shared,warps_k=2");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  assert_int_equal(shape.smem_bytes, (4 * 16 + 2 * 2 * 4 * 16 * 4) + 64 + 32 * 5 * 128);
  problem.k = 100000;
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_INFEASIBLE);
  assert_non_null(strstr(error.message, "shared memory"));
  /* Each block of the cluster has three slabs of k; the mbarrier, the edges, and of each of the
   * cluster's 4 x 2 warps of k a chunk of 512 bytes for 16 rows come before the bytes. */
  problem.k = 4097;
  config = config_of("family=decode,p=2,q=8,tile_m=8,operand=shared,core=u8,warps_k=2,warps_n=4,"
                     "cluster=4");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  assert_int_equal(shape.cluster, 4);
  assert_int_equal(shape.grid[0], (11000 + 63) / 64 * 4);
  assert_int_equal(shape.smem_bytes, 16 + 8 * 16 + 4 * 2 * 512 + 112 + 8 * 3 * 512);
}

/* Blocks that share a tile have room for their part of k, sums of whole tiles and a ticket a tile;
 * those that go on are a multiple of the parts. */
static void decode_blocks_park_their_sums(void **state) {
  (void)state;
  apq__target target = target_of("sm_90a");
  apq__problem problem = {.p = 2, .q = 8, .m = 3, .n = 1000, .k = 16384, .out = APQ_DTYPE_F16};
  apq__shape shape;
  apq_error error = APQ_ERROR_INIT;
  apq__config config = config_of("family=decode,p=2,q=8,tile_m=2,warps_k=4,tiles=2,split_k=4");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  assert_int_equal(shape.grid[0], 32 * 4);
  assert_int_equal(shape.grid[1], 2);
  assert_int_equal(shape.cluster, 1);
  assert_int_equal(shape.ticket_bytes, 256);
  assert_int_equal(shape.workspace_bytes, 32 * 2 * 4 * (2 * 32) * 4 + 256);
  assert_int_equal(shape.keeps_tickets, 1);
  config = config_of("family=decode,p=2,q=8,warps_k=8,persist=1,split_k=8,operand=keep,depth=1");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  assert_int_equal(shape.grid[0], 132 / 8 * 8);
  config = config_of("family=decode,p=2,q=8,warps_k=8,once=1,split_k=4");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_OK);
  config = config_of("family=decode,p=2,q=8,warps_k=8,once=1,split_k=2");
  assert_int_equal(apq__config_limits(&config, &problem, &target, &shape, &error), APQ_INFEASIBLE);
  assert_non_null(strstr(error.message, "all of k"));
}

static void a_source_is_self_contained_and_resolved(void **state) {
  (void)state;
  apq__target target = target_of("sm_80");
  target.emulated = 0;
  apq__config config = config_of("family=bmma,p=3,q=2,layout=xor,tile_k=1024,store=staged");
  char *source = NULL;
  assert_int_equal(apq__generate(&config, &target, &source, NULL), APQ_OK);
  assert_null(strstr(source, "#include"));
  assert_null(strstr(source, "@knob"));
  assert_null(strstr(source, "SCHEDULE_HORNER"));
  assert_null(strstr(source, "LAYOUT =="));
  assert_non_null(strstr(source, "#define P 3"));
  assert_non_null(strstr(source, "family=bmma"));
  assert_non_null(strstr(source, "row & 7"));
  assert_non_null(strstr(source, "m16n8k256"));
  assert_null(strstr(source, "apq_next_pair(&lane->load_weight"));
  apq__free(source);
}

/* All parts of a family, the last of which holds the kernel. */
static void every_family_ends_with_its_kernel(void **state) {
  (void)state;
  apq__target target = target_of("sm_90a");
  for (int i = 0; apq__family_at(i); i++) {
    apq__config config = {0};
    char *source = NULL;
    assert_int_equal(apq__config_set(&config, "family", apq__family_name(apq__family_at(i)), NULL),
                     APQ_OK);
    assert_int_equal(apq__config_complete(&config, NULL), APQ_OK);
    assert_int_equal(apq__generate(&config, &target, &source, NULL), APQ_OK);
    assert_non_null(strstr(source, "APQ_KERNEL(KERNEL"));
    apq__free(source);
  }
}

static void a_default_exists_for_every_problem_and_arch(void **state) {
  (void)state;
  const int shapes[][3] = {
      {1, 1, 1}, {17, 33, 129}, {1, 4096, 4096}, {4096, 4096, 4096}, {5, 40, 100000}};
  for (int i = 0; apq__target_arch(i); i++) {
    apq__target target = target_of(apq__target_arch(i));
    for (int p = 1; p <= 8; p++)
      for (int q = 1; q <= 8; q++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
          apq__problem problem = {p, q, shapes[s][0], shapes[s][1], shapes[s][2], APQ_DTYPE_F16,
                                  0, 0};
          apq__config config;
          apq_error error = APQ_ERROR_INIT;
          if (apq__default_config(&problem, &target, &config, &error))
            fail_msg("%s p=%d q=%d: %s", target.arch, p, q, error.message);
          double seconds = apq__config_cost(&config, &problem, &target);
          assert_true(seconds > 0 && seconds < 10);
          problem.group = 32 << (p + q + (int)s) % 4;
          if (apq__default_config(&problem, &target, &config, &error))
            fail_msg("%s p=%d q=%d group=%d: %s", target.arch, p, q, problem.group, error.message);
          assert_int_equal(apq__config_int(&config, "group", 0), problem.group);
        }
  }
}

/* A problem and a config must agree on the groups, and the family's instructions with both. */
static void limits_of_groups_give_reasons(void **state) {
  (void)state;
  static const struct {
    const char *config;
    int group;
    const char *reason;
  } rows[] = {
      {"family=bmma", 128, "other groups"},
      {"family=bmma,group=128", 128, "spans 256 k"},
      {"family=bmma,group=256,schedule=horner", 256, "schedule=side"},
      {"family=imma,group=128,split_k=2,store=staged", 128, "split_k=1"},
      {"family=imma,group=256,tile_k=128", 256, "not a multiple of the group"},
      {"family=imma,group=32", 0, "other groups"},
      {"family=imma,group=32,tile_m=32,tile_n=32", 32, NULL},
      {"family=bmma,group=256,tile_m=32,tile_n=32", 256, NULL},
      {"family=bgmma,group=128", 128, "spans 256 k"},
      {"family=bgmma,group=256,schedule=horner", 256, "schedule=side"},
      {"family=bgmma,group=256,tile_m=64,tile_n=32,consumers=1", 256, NULL},
      {"family=igmma,group=128,split_k=2", 128, "split_k=1"},
      {"family=igmma,group=128,split_k=stream", 128, "split_k=1"},
      {"family=igmma,group=128,roles=pingpong", 128, "roles=cooperative"},
      {"family=igmma,overlap=2,split_k=stream", 0, "split_k=1"},
      {"family=igmma,split_k=stream", 0, NULL},
      {"family=igmma,group=128,overlap=2", 128, "overlap=0"},
      {"family=igmma,group=128,tile_m=256", 128, "too many registers"},
      {"family=igmma,group=64,tile_k=256,tile_m=96", 64, NULL},
      {"family=imma_bulk,group=128,ahead=1", 128, "ahead=1"},
      {"family=imma_bulk,group=32,tile_k=256", 32, NULL},
      {"family=decode,group=64,persist=1", 64, "persist=0"},
      {"family=decode,group=64,cluster=2,warps_n=2", 64, "cluster=1"},
      {"family=decode,group=64,split_k=2", 64, "split_k=1"},
      {"family=decode,group=64", 64, NULL},
  };
  const apq__target target = target_of("sm_90a");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq__config config;
    apq__shape shape;
    apq__problem problem = {2, 2, 64, 64, 1024, APQ_DTYPE_F16, rows[i].group, 0};
    apq_error error = APQ_ERROR_INIT;
    assert_int_equal(apq__config_parse(rows[i].config, &config, &error), APQ_OK);
    assert_int_equal(apq__config_set_int(&config, "p", 2, &error), APQ_OK);
    assert_int_equal(apq__config_set_int(&config, "q", 2, &error), APQ_OK);
    assert_int_equal(apq__config_complete(&config, &error), APQ_OK);
    apq_status status = apq__config_limits(&config, &problem, &target, &shape, &error);
    assert_int_equal(status, rows[i].reason ? APQ_INFEASIBLE : APQ_OK);
    if (rows[i].reason && !strstr(error.message, rows[i].reason))
      fail_msg("%s: '%s' is not in '%s'", rows[i].config, rows[i].reason, error.message);
  }
}

/* A box is a panel of the rows that one block copies; narrow ones ask the copies for more rows. */
static void boxes_follow_the_swizzle(void **state) {
  (void)state;
  static const struct {
    const char *config;
    apq__box w, a;
  } rows[] = {
      {"family=bgmma,tile_n=64,tile_m=128", {128, 64, 128}, {128, 128, 128}},
      {"family=bgmma,tile_n=64,tile_m=128,swizzle=64", {64, 64, 64}, {64, 128, 64}},
      {"family=bgmma,tile_n=64,tile_m=128,swizzle=none,cluster_m=2", {16, 32, 0}, {16, 128, 0}},
      {"family=bgmma,tile_n=64,tile_m=128,tile_k=256,swizzle=64", {32, 64, 32}, {32, 128, 32}},
      {"family=igmma,tile_k=512", {64, 128, 64}, {128, 128, 128}},
      {"family=igmma,tile_k=256,swizzle=64", {32, 128, 32}, {64, 128, 64}},
      {"family=igmma,tile_k=256,swizzle=none,cluster_n=2", {16, 128, 0}, {16, 64, 0}},
      {"family=imma_bulk,tile_k=256", {32, 128, 32}, {128, 128, 128}},
  };
  const apq__target target = target_of("sm_90a");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq__config config = config_of(rows[i].config);
    apq__shape shape;
    assert_int_equal(apq__config_limits(&config, NULL, &target, &shape, NULL), APQ_OK);
    if (memcmp(&shape.w_box, &rows[i].w, sizeof rows[i].w) != 0 ||
        memcmp(&shape.a_box, &rows[i].a, sizeof rows[i].a) != 0)
      fail_msg("%s: boxes %d x %d, %d and %d x %d, %d", rows[i].config, shape.w_box.bytes,
               shape.w_box.rows, shape.w_box.swizzle, shape.a_box.bytes, shape.a_box.rows,
               shape.a_box.swizzle);
  }
  const apq__problem problem = {
      .p = 2, .q = 2, .m = 4096, .n = 4096, .k = 4096, .out = APQ_DTYPE_F16};
  static const char *const widths[] = {"none", "32", "64", "128"};
  double before = 1;
  for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
    apq__config config = config_of("family=bgmma,p=2,q=2");
    assert_int_equal(apq__config_set(&config, "swizzle", widths[i], NULL), APQ_OK);
    double seconds = apq__config_cost(&config, &problem, &target);
    assert_true(seconds > 0 && seconds <= before);
    before = seconds;
  }
}

/* A winner tuned with overlap runs with what follows the scales too, without the overlap. */
static void a_winner_takes_what_follows_the_scales(void **state) {
  (void)state;
  static const char *const winners[] = {
      "family=bgmma,p=2,q=2,schedule=horner,tile_m=128,tile_n=128,overlap=2",
      "family=igmma,p=4,q=4,overlap=2", "family=decode,p=2,q=8"};
  apq__target target = target_of("sm_90a");
  for (size_t i = 0; i < sizeof winners / sizeof winners[0]; i++) {
    apq__config config = config_of(winners[i]);
    apq_error error = APQ_ERROR_INIT;
    apq__shape shape;
    if (apq__config_limits(&config, NULL, &target, &shape, &error) ||
        apq__config_need_post(&config, APQ__POST_COMBINE, &target, &error) ||
        apq__config_limits(&config, NULL, &target, &shape, &error))
      fail_msg("%s: %s", winners[i], error.message);
    assert_true(apq__config_post(&config) >= APQ__POST_COMBINE);
    assert_true(!apq__config_get(&config, "overlap") || apq__config_is(&config, "overlap", "0"));
    assert_true(!apq__config_get(&config, "store") || apq__config_is(&config, "store", "tensor"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_family_declares_its_knobs),
      cmocka_unit_test(completion_names_what_is_wrong),
      cmocka_unit_test(limits_give_reasons),
      cmocka_unit_test(pairs_limit_k),
      cmocka_unit_test(decode_limits_follow_the_problem),
      cmocka_unit_test(decode_blocks_park_their_sums),
      cmocka_unit_test(a_source_is_self_contained_and_resolved),
      cmocka_unit_test(every_family_ends_with_its_kernel),
      cmocka_unit_test(a_default_exists_for_every_problem_and_arch),
      cmocka_unit_test(limits_of_groups_give_reasons),
      cmocka_unit_test(boxes_follow_the_swizzle),
      cmocka_unit_test(a_winner_takes_what_follows_the_scales),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
