/* Where kernels come from: winners and objects of a database, and what happens when it is missing,
 * stale or damaged.  The products are right in every case. */
#include "runtime_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "compile.h"
#include "context.h"
#include "db.h"
#include "device.h"
#include "generator.h"
#include "kernels.h"

#define FOLDER APQ_BINARY_DIR "/tests/cache/runtime-db"
#define PATH   FOLDER "/apq.db"

/* The winner is one that the cost model never chooses: it has splits of k. */
#define SPLIT                                                                                      \
  "family=bmma,p=2,q=2,out=i32,tile_m=32,tile_n=32,tile_k=512,warps_m=2,warps_n=2,stages=2,"       \
  "split_k=2,store=staged"

static const product_case usual = {2,
                                   2,
                                   40,
                                   36,
                                   1000,
                                   APQ_FORMAT_INT,
                                   APQ_FORMAT_INT,
                                   APQ_DTYPE_CODES8,
                                   APQ_DTYPE_CODES8,
                                   APQ_DTYPE_I32,
                                   0};

/* What is different about a row that is written. */
typedef struct row_options {
  int is_stale;         /* a hash of another template */
  const char *artifact; /* id of its object */
} row_options;

/* Of the device for which winners are written. */
static const char *arch = "sm_80";

static apq__target emulated_target(void) {
  apq__target target;
  CHECK(apq__target_emulated(arch, &target, error));
  return target;
}

static apq__config complete(const char *text) {
  apq__config config;
  CHECK(apq__config_parse(text, &config, error));
  CHECK(apq__config_complete(&config, error));
  return config;
}

static apq__db *open_for_writing(void) {
  apq__db *db = NULL;
  CHECK(apq__make_dirs(FOLDER, error));
  CHECK(apq__db_open(PATH, APQ__DB_WRITE, &db, NULL, error));
  return db;
}

static void add_winner(apq__db *db, const char *text, int m, row_options options) {
  const apq__target target = emulated_target();
  apq__environment environment = {.sm_count = target.sm_count, .emulated = 1};
  snprintf(environment.gpu, sizeof environment.gpu, "%s", target.name);
  snprintf(environment.arch, sizeof environment.arch, "%s", target.arch);
  snprintf(environment.driver, sizeof environment.driver, "emu");
  snprintf(environment.compiler, sizeof environment.compiler, "cc");
  apq__variant variant = {.config = complete(text)};
  apq__problem problem = {.p = apq__config_int(&variant.config, "p", 0),
                          .q = apq__config_int(&variant.config, "q", 0),
                          .m = m,
                          .n = usual.n,
                          .k = usual.k};
  assert_true(apq__dtype_parse(apq__config_get(&variant.config, "out"), &problem.out));
  const apq__family *family = apq__family_find(apq__config_get(&variant.config, "family"));
  snprintf(variant.hash, sizeof variant.hash, "%s", apq__family_hash(family, 1));
  if (options.is_stale) variant.hash[0] = variant.hash[0] == '0' ? '1' : '0';
  apq__measurement measurement = {.objective = "burst",
                                  .run = "00000000000000000000000000000001",
                                  .modelled = 1,
                                  .samples = 1,
                                  .min = 1e-6,
                                  .p10 = 1e-6,
                                  .p50 = 1e-6,
                                  .p90 = 1e-6,
                                  .max = 1e-6,
                                  .incumbent_ratio = 1,
                                  .unix_time = 1700000000};
  if (options.artifact)
    snprintf(measurement.artifact, sizeof measurement.artifact, "%s", options.artifact);
  CHECK(apq__db_add_measurement(db, &environment, &problem, &variant, &measurement, error));
}

/* Stores the compiled object of a config under `id`. */
static void add_object(apq__db *db, const apq__config *config, const char *id) {
  const apq__target target = emulated_target();
  char *source = NULL, *cache = apq__cache_dir();
  apq__object object = {0};
  CHECK(apq__generate(config, &target, &source, error));
  CHECK(apq__compile(source, &target, cache, &object, error));
  CHECK(apq__db_add_artifact(db, id, target.arch, "cc", object.image, object.size, error));
  apq__object_free(&object);
  apq__free(source);
  apq__free(cache);
}

static void add_pack_object(apq__db *db) {
  const apq__target target = emulated_target();
  apq__config config;
  char *cache = apq__cache_dir();
  const apq__problem problem = {.q = usual.q, .m = usual.m, .k = usual.k};
  CHECK(apq__pack_config(usual.input, &problem, 0, &config, error));
  CHECK(apq__artifact_store(db, &config, &target, cache, error));
  apq__free(cache);
}

static void remove_database(void) {
  unlink(PATH);
  unlink(PATH "-journal");
  unlink(PATH "-wal");
  unlink(PATH "-shm");
}

static void write_text(const char *path, const char *text) {
  CHECK(apq__make_dirs(FOLDER, error));
  CHECK(apq__write_file(path, text, strlen(text), error));
}

static void expect_in(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static void expect_described(apq_context *context, const char *part) {
  char text[4096];
  apq_context_describe(context, text, sizeof text);
  expect_in(text, part);
}

/* The product with this context is right, and its explanation has these parts. */
static void expect_case(apq_context *context, const product_case *c, const char *const *parts) {
  product_data data = make_data(c, 11);
  apq_weights *weights = make_weights(context, &data);
  product_run run = start_run(context, weights, &data);
  /* What the workspace holds must not matter: what the first run left there, or anything else. */
  for (int i = 0; i < 3; i++) {
    poison_result(&run, &data);
    if (i == 2) poison(context, run.workspace, run.workspace_bytes);
    CHECK(run_once(&run, &data, NULL, error));
    CHECK(apq_synchronize(context, NULL, error));
    expect_result(&run, &data);
  }
  char text[4096];
  apq_plan_explain(run.plan, c->m, text, sizeof text);
  for (; *parts; parts++) expect_in(text, *parts);
  end_run(&run);
  apq_weights_destroy(weights);
  free_data(&data);
}

/* The same with this config as the only winner, tuned on and run on a device of `of`. */
static void expect_winner(const char *of, const char *config, const product_case *c,
                          const char *const *parts) {
  char device[32];
  snprintf(device, sizeof device, "emu:%s", of);
  remove_database();
  apq__db *db = open_for_writing();
  const char *before = arch;
  arch = of;
  add_winner(db, config, c->m, (row_options){0});
  arch = before;
  apq__db_close(db);
  apq_context *context = open_device(device, PATH);
  expect_case(context, c, parts);
  apq_context_close(context);
}

static void expect_product(apq_context *context, const char *const *parts) {
  expect_case(context, &usual, parts);
}

static const char *const by_model[] = {"source: model\n", NULL};

static int fresh(void **state) {
  (void)state;
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  remove_database();
  return 0;
}

static void a_missing_database_leaves_the_model(void **state) {
  (void)state;
  apq_context *context = open_device("emu:sm_80", PATH);
  expect_described(context, "database: " PATH "; not read: ");
  expect_product(context, by_model);
  apq_context_close(context);
}

static void a_damaged_database_leaves_the_model(void **state) {
  (void)state;
  write_text(PATH, "SQLite format 3 but not really, only some text that begins like one.");
  apq_context *context = open_device("emu:sm_80", PATH);
  expect_described(context, "not read: ");
  expect_product(context, by_model);
  apq_context_close(context);

  /* Damaged in its middle: whatever is found out when, the product is right. */
  remove_database();
  apq__db *db = open_for_writing();
  for (int m = 1; m < 60; m++) add_winner(db, SPLIT, m, (row_options){0});
  apq__db_close(db);
  char *bytes = NULL;
  size_t size = 0;
  CHECK(apq__read_file(PATH, &bytes, &size, error));
  memset(bytes + 4096, 0x5a, size - 4096);
  CHECK(apq__write_file(PATH, bytes, size, error));
  apq__free(bytes);
  context = open_device("emu:sm_80", PATH);
  expect_described(context, "not read: ");
  expect_product(context, by_model);
  apq_context_close(context);
}

static void a_folder_in_its_place_leaves_the_model(void **state) {
  (void)state;
  CHECK(apq__make_dirs(FOLDER "/folder", error));
  apq_context *context = open_device("emu:sm_80", FOLDER "/folder");
  expect_described(context, "not read: ");
  expect_product(context, by_model);
  apq_context_close(context);
}

static void an_exact_winner_is_used(void **state) {
  (void)state;
  apq__db *db = open_for_writing();
  add_winner(db, SPLIT, usual.m, (row_options){0});
  apq__db_close(db);
  apq_context *context = open_device("emu:sm_80", PATH);
  expect_described(context, "1 winners read");
  expect_described(context, "winners: 1 for this GPU, 0 for others");
  static const char *const parts[] = {"source: exact\n", "split_k=2", "time: 1.000 us modelled\n",
                                      "burst", NULL};
  expect_product(context, parts);
  apq_context_close(context);
}

/* Kernels of each form of activations, after each quantizer. */
static void winners_of_all_forms_take_quantized_inputs(void **state) {
  (void)state;
  static const struct {
    const char *config;
    product_case c;
    const char *parts[3];
  } rows[] = {
      {"family=bmma,p=2,q=2,out=f16,tile_m=32,tile_n=32,warps_m=2,warps_n=2",
       {2, 2, 40, 36, 1000, APQ_FORMAT_INT, APQ_FORMAT_UINT, APQ_DTYPE_CODES8, APQ_DTYPE_F32,
        APQ_DTYPE_F16, WITH_BIAS | WITH_PADDING},
       {"source: exact\n", "pack: family=pack,form=planes,gate=0,hold=1,q=2,src=f32", NULL}},
      {"family=bmma,p=2,q=2,out=f16,tile_m=32,tile_n=32,warps_m=2,warps_n=2",
       {2, 2, 40, 36, 1000, APQ_FORMAT_BIPOLAR, APQ_FORMAT_BIPOLAR, APQ_DTYPE_F32, APQ_DTYPE_BF16,
        APQ_DTYPE_F16, 0},
       {"source: exact\n", "pack: family=pack,form=planes,gate=0,hold=1,q=2,src=bf16", NULL}},
      {"family=imma,p=2,q=2,out=f32,tile_m=32,tile_n=32,warps_m=2,warps_n=2,split_k=2,store=staged",
       {2, 2, 40, 36, 1000, APQ_FORMAT_UINT, APQ_FORMAT_INT, APQ_DTYPE_CODES8, APQ_DTYPE_F16,
        APQ_DTYPE_F32, WITH_W_ZERO | WITH_W_SCALE},
       {"source: exact\n", "pack: family=pack,form=bytes,gate=0,hold=1,q=2,src=f16", NULL}},
      {"family=imma,p=2,q=2,out=f16,form=pairs,tile_m=32,tile_n=32,warps_m=2,warps_n=2",
       {2, 2, 40, 36, 1000, APQ_FORMAT_UINT, APQ_FORMAT_UINT, APQ_DTYPE_CODES8, APQ_DTYPE_F16,
        APQ_DTYPE_F16, WITH_W_ZERO | WITH_W_SCALE | WITH_BIAS},
       {"source: exact\n", "pack: family=pack,form=pairs,gate=0,hold=1,q=2,src=f16", NULL}},
      {"family=imma_bulk,p=2,q=2,out=f16,form=pairs,tile_m=32,tile_n=128,tile_k=256",
       {2, 2, 40, 36, 1000, APQ_FORMAT_INT, APQ_FORMAT_INT, APQ_DTYPE_CODES8, APQ_DTYPE_F32,
        APQ_DTYPE_F16, WITH_PADDING},
       {"source: exact\n", "pack: family=pack,form=pairs,gate=0,hold=1,q=2,src=f32", NULL}},
      {"family=imma_bulk,p=2,q=2,out=i32,form=pairs,tile_m=32,tile_n=128,tile_k=256",
       {2, 2, 40, 36, 1000, APQ_FORMAT_BIPOLAR, APQ_FORMAT_BIPOLAR, APQ_DTYPE_CODES8,
        APQ_DTYPE_CODES8, APQ_DTYPE_I32, 0},
       {"source: exact\n", "pack: family=pack,form=pairs,gate=0,hold=1,q=2,src=codes8", NULL}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const int is_bulk = strstr(rows[i].config, "imma_bulk") != NULL;
    expect_winner(is_bulk ? "sm_90a" : "sm_80", rows[i].config, &rows[i].c, rows[i].parts);
  }
}

/* Activations in pairs, of all bits that they hold, quantized with zero points of their own. */
static void pairs_of_all_bits_are_multiplied(void **state) {
  (void)state;
  static const char *const parts[] = {"source: exact\n", "pack: family=pack,form=pairs", NULL};
  for (int i = 0; i < 16; i++) {
    const int p = i / 4 + 1, q = i % 4 + 1;
    const product_case c = {p,
                            q,
                            40,
                            36,
                            1000,
                            (apq_format)(i % 3),
                            APQ_FORMAT_UINT,
                            APQ_DTYPE_CODES8,
                            APQ_DTYPE_F16,
                            APQ_DTYPE_F16,
                            i % 2 ? WITH_BIAS | WITH_W_SCALE : WITH_PADDING};
    char config[128];
    snprintf(config, sizeof config,
             "family=imma_bulk,p=%d,q=%d,out=f16,form=pairs,tile_m=32,tile_n=128,tile_k=256", p, q);
    expect_winner("sm_90a", config, &c, parts);
  }
}

/* Blocks of few tokens whose parts of k meet in the workspace; of 1000 k some have no part. */
static void winners_of_few_tokens_share_sums(void **state) {
  (void)state;
  static const char *const configs[] = {
      "family=decode,p=2,q=2,out=f16,pdl=1,split_k=2,warps_k=1",
      "family=decode,p=2,q=2,out=f16,tile_m=8,operand=shared,pdl=1,split_k=4,tiles=2",
      "family=decode,p=2,q=2,out=f16,core=u8,operand=shared,once=1,unpack=fill,split_k=2,warps_n=2",
      "family=decode,p=2,q=2,out=f16,tile_m=2,operand=keep,persist=1,split_k=8,warps_k=2"};
  static const char *const parts[] = {"source: exact\n", "split_k=", "pack: family=pack", NULL};
  for (int i = 0; i < 8; i++) {
    const product_case c = {2,
                            2,
                            1 + i / 4 * 8,
                            36,
                            1000,
                            (apq_format)(i % 3),
                            APQ_FORMAT_UINT,
                            APQ_DTYPE_CODES8,
                            APQ_DTYPE_F16,
                            APQ_DTYPE_F16,
                            i % 2 ? WITH_BIAS | WITH_W_SCALE : WITH_PADDING};
    expect_winner("sm_90a", configs[i % 4], &c, parts);
  }
}

static void a_near_winner_is_used(void **state) {
  (void)state;
  apq__db *db = open_for_writing();
  add_winner(db, SPLIT, usual.m + 5, (row_options){0});
  apq__db_close(db);
  apq_context *context = open_device("emu:sm_80", PATH);
  static const char *const parts[] = {"source: nearest\n", "split_k=2", "m=45", NULL};
  expect_product(context, parts);
  apq_context_close(context);
}

static void a_stale_winner_is_counted_and_ignored(void **state) {
  (void)state;
  apq__db *db = open_for_writing();
  add_winner(db, SPLIT, usual.m, (row_options){.is_stale = 1});
  apq__db_close(db);
  apq_context *context = open_device("emu:sm_80", PATH);
  expect_described(context, "winners: 0 for this GPU, 0 for others of its arch; 1 stale");
  expect_product(context, by_model);
  apq_context_close(context);
}

static void the_environment_names_the_database(void **state) {
  (void)state;
  apq__db *db = open_for_writing();
  add_winner(db, SPLIT, usual.m, (row_options){0});
  apq__db_close(db);
  setenv("APQ_DB", PATH, 1);
  apq_context *context = open_device("emu:sm_80", NULL);
  expect_described(context, "database: " PATH ", 1 winners read");
  apq_context_close(context);
  unsetenv("APQ_DB");
  setenv("APQ_CACHE_DIR", FOLDER, 1);
  context = open_device("emu:sm_80", NULL);
  expect_described(context, "user database: " PATH ", 1 winners read");
  expect_described(context, "system database: ");
  apq_context_close(context);
}

static void a_stored_object_is_loaded(void **state) {
  (void)state;
  const char *id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
  const apq__config config = complete(SPLIT);
  apq__db *db = open_for_writing();
  add_object(db, &config, id);
  add_winner(db, SPLIT, usual.m, (row_options){.artifact = id});
  add_pack_object(db);
  apq__db_close(db);
  apq_context *context = open_device("emu:sm_80", PATH);
  static const char *const parts[] = {"source: exact\n", "loaded from: database; pack: database\n",
                                      NULL};
  expect_product(context, parts);
  apq_context_close(context);

  /* And needs no compiler. */
  setenv("APQ_CC", "/nonexistent/cc", 1);
  setenv("APQ_CACHE_DIR", FOLDER "/nothing-compiled", 1);
  context = open_device("emu:sm_80", PATH);
  expect_product(context, parts);
  apq_context_close(context);
  unsetenv("APQ_CC");
}

static void a_damaged_object_is_compiled_again(void **state) {
  (void)state;
  const char *id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
  static const char garbage[] = "this is no shared object";
  apq__db *db = open_for_writing();
  CHECK(apq__db_add_artifact(db, id, "sm_80", "cc", garbage, sizeof garbage, error));
  add_winner(db, SPLIT, usual.m, (row_options){.artifact = id});
  apq__db_close(db);
  apq_context *context = open_device("emu:sm_80", PATH);
  static const char *const parts[] = {"source: exact\n", "split_k=2", NULL};
  expect_product(context, parts);
  apq_context_close(context);
}

static void nothing_to_compile_with_is_told(void **state) {
  (void)state;
  setenv("APQ_CC", "/nonexistent/cc", 1);
  setenv("APQ_CACHE_DIR", FOLDER "/nothing-compiled", 1);
  apq_context *context = open_device("emu:sm_80", PATH);
  product_data data = make_data(&usual, 11);
  apq_weights *weights = make_weights(context, &data);
  apq_plan *plan = NULL;
  const apq_plan_desc desc = {.weights = weights,
                              .bits = usual.q,
                              .format = usual.a_format,
                              .input = usual.input,
                              .output = usual.output};
  CHECK(apq_plan_create(context, &desc, &plan, error));
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq_plan_prepare(plan, &usual.m, 1, &error), APQ_NO_COMPILER);
  expect_in(error.message, "/nonexistent/cc");
  assert_int_equal(apq_plan_workspace(plan, usual.m), 0);
  apq_error_clear(&error);
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  free_data(&data);
  apq_context_close(context);
  unsetenv("APQ_CC");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_missing_database_leaves_the_model, fresh),
      cmocka_unit_test_setup(a_damaged_database_leaves_the_model, fresh),
      cmocka_unit_test_setup(a_folder_in_its_place_leaves_the_model, fresh),
      cmocka_unit_test_setup(an_exact_winner_is_used, fresh),
      cmocka_unit_test_setup(winners_of_all_forms_take_quantized_inputs, fresh),
      cmocka_unit_test_setup(pairs_of_all_bits_are_multiplied, fresh),
      cmocka_unit_test_setup(winners_of_few_tokens_share_sums, fresh),
      cmocka_unit_test_setup(a_near_winner_is_used, fresh),
      cmocka_unit_test_setup(a_stale_winner_is_counted_and_ignored, fresh),
      cmocka_unit_test_setup(the_environment_names_the_database, fresh),
      cmocka_unit_test_setup(a_stored_object_is_loaded, fresh),
      cmocka_unit_test_setup(a_damaged_object_is_compiled_again, fresh),
      cmocka_unit_test_setup(nothing_to_compile_with_is_told, fresh),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
