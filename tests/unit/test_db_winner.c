/* Which variant wins, and what may not. */
#include "db_fixture.h"

#include "db_impl.h"

static void lowest_median_of_the_newest_run_wins(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  assert_winners(db, NULL, NULL, "");
  add_time(db, &real_gpu, 1, "a=1", "h", 10e-6, "run1", 100);
  add_time(db, &real_gpu, 1, "a=2", "h", 9e-6, "run1", 101);
  add_time(db, &real_gpu, 1, "a=3", "h", 12e-6, "run1", 102);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=2 9.00;");
  add_time(db, &real_gpu, 1, "a=3", "h", 11e-6, "run2", 200);
  add_time(db, &real_gpu, 1, "a=1", "h", 10.5e-6, "run2", 201);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 10.50;");
  /* An old run that arrives late, as an import does. */
  add_time(db, &real_gpu, 1, "a=9", "h", 1e-6, "run0", 50);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 10.50;");
  apq__db_close(db);
}

static void ties_within_one_percent_go_to_the_smaller_key(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  add_time(db, &real_gpu, 1, "a=7", "h", 100e-6, "run1", 100);
  add_time(db, &real_gpu, 1, "a=5", "h", 100.99e-6, "run1", 101);
  add_time(db, &real_gpu, 1, "a=3", "h", 101.01e-6, "run1", 102);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=5 100.99;");
  apq__db_close(db);
}

static void contests_are_separate(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__environment slice = real_gpu, other = real_gpu, driver = real_gpu;
  slice.sm_count = 16;
  snprintf(other.gpu, sizeof other.gpu, "A100");
  snprintf(other.arch, sizeof other.arch, "sm_80");
  snprintf(driver.driver, sizeof driver.driver, "12.4");
  add_time(db, &real_gpu, 2, "a=1", "h1", 10e-6, "r", 1);
  add_time(db, &real_gpu, 2, "a=2", "h2", 20e-6, "r", 1);
  add_time(db, &driver, 2, "a=3", "h1", 5e-6, "r", 1);
  add_time(db, &slice, 2, "a=4", "h1", 4e-6, "r", 1);
  add_time(db, &other, 2, "a=5", "h1", 3e-6, "r", 1);
  add_time(db, &real_gpu, 1, "a=6", "h1", 2e-6, "r", 1);
  add_time(db, &emulated_gpu, 1, "a=7", "h1", 1e-6, "r", 1);
  assert_winners(db, NULL, NULL,
                 "A100 2 h1 a=5 3.00;NVIDIA H200 2 h1 a=4 4.00;NVIDIA H200 1 h1 a=6 2.00;"
                 "NVIDIA H200 2 h1 a=3 5.00;NVIDIA H200 2 h2 a=2 20.00;emu:sm_90a 1 h1 a=7 1.00;");
  assert_winners(db, "A100", NULL, "A100 2 h1 a=5 3.00;");
  assert_winners(db, NULL, "sm_80", "A100 2 h1 a=5 3.00;");
  assert_winners(db, "emu:sm_90a", "sm_90a", "emu:sm_90a 1 h1 a=7 1.00;");
  assert_winners(db, "A100", "sm_90a", "");
  apq__db_close(db);
}

static void wrong_results_cannot_win(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = problem_of(1);
  apq__variant best = variant_of("a=1", "h");
  add_time(db, &real_gpu, 1, "a=1", "h", 10e-6, "run1", 100);
  add_time(db, &real_gpu, 1, "a=2", "h", 20e-6, "run1", 101);
  add_time(db, &real_gpu, 2, "a=1", "h", 10e-6, "run1", 100);
  assert_int_equal(
      apq__db_add_failure(db, &real_gpu, &problem, &best, "timeout", "slow", NULL, NULL), APQ_OK);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 10.00;NVIDIA H200 2 h a=1 10.00;");
  assert_int_equal(
      apq__db_add_failure(db, &real_gpu, &problem, &best, "verify", "differs", NULL, NULL), APQ_OK);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=2 20.00;NVIDIA H200 2 h a=1 10.00;");
  assert_int_equal(apq__db_add_failure(db, &real_gpu, NULL, &best, "verify", "differs", NULL, NULL),
                   APQ_OK);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=2 20.00;");
  /* Whoever withdraws a failure, the winners follow. */
  assert_int_equal(apq__store_exec(db->store, "DELETE FROM failure", NULL), APQ_OK);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 10.00;NVIDIA H200 2 h a=1 10.00;");
  apq__db_close(db);
}

static void modelled_and_measured_times_do_not_mix(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = problem_of(1);
  apq__variant variant = variant_of("a=1", "h");
  apq__measurement measurement = time_of(1e-6, "r", 1);
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(
      apq__db_add_measurement(db, &emulated_gpu, &problem, &variant, &measurement, &error),
      APQ_INVALID_ARGUMENT);
  measurement.modelled = 1;
  assert_int_equal(apq__db_add_measurement(db, &real_gpu, &problem, &variant, &measurement, &error),
                   APQ_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "modelled"));
  apq__environment liar = emulated_gpu;
  snprintf(liar.gpu, sizeof liar.gpu, "NVIDIA H200");
  assert_int_equal(apq__db_add_measurement(db, &liar, &problem, &variant, &measurement, &error),
                   APQ_INVALID_ARGUMENT);
  assert_winners(db, NULL, NULL, "");
  /* The schema itself refuses, whoever writes. */
  add_time(db, &real_gpu, 1, "a=1", "h", 10e-6, "run1", 100);
  const char *forged[] = {
      "INSERT INTO environment (gpu, arch, driver, compiler, sm_count, emulated)"
      " VALUES ('NVIDIA H200', 'sm_90a', '1', '1', 1, 1)",
      "INSERT INTO measurement SELECT NULL, environment, problem, variant, objective, 'forged', 1,"
      " samples, min, p10, p50, p90, max, incumbent_ratio, sm_mhz, temperature_c, throttle_reasons,"
      " unix_time, artifact, randomblob(16) FROM measurement",
      "INSERT INTO measurement SELECT NULL, environment, problem, variant, objective, 'forged', 0,"
      " samples, -1, p10, p50, p90, max, incumbent_ratio, sm_mhz, temperature_c, throttle_reasons,"
      " unix_time, artifact, randomblob(16) FROM measurement",
      "UPDATE measurement SET p50 = 1e-9",
      "UPDATE measurement SET modelled = 1",
      "UPDATE environment SET gpu = 'emu:x', emulated = 1",
      "UPDATE variant SET hash = 'other'",
      "DELETE FROM measurement",
      "DELETE FROM problem",
  };
  for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++)
    assert_int_equal(apq__store_exec(db->store, forged[i], &error), APQ_INVALID_ARGUMENT);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 10.00;");
  apq_error_clear(&error);
  apq__db_close(db);
}

static void nonsense_is_refused(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  const apq__measurement good = time_of(1e-6, "r", 1);
  apq__measurement bad[7];
  for (int i = 0; i < 7; i++) bad[i] = good;
  bad[0].p50 = 0.0 / 0.0;
  bad[1].max = 1.0 / 0.0;
  bad[2].min = 0;
  bad[3].p10 = bad[3].p90 * 2;
  bad[4].samples = 0;
  snprintf(bad[5].objective, sizeof bad[5].objective, "other");
  bad[6].run[0] = 0;
  apq__problem problem = problem_of(1);
  apq__variant variant = variant_of("a=1", "h");
  for (int i = 0; i < 7; i++)
    assert_int_equal(apq__db_add_measurement(db, &real_gpu, &problem, &variant, &bad[i], NULL),
                     APQ_INVALID_ARGUMENT);
  problem.q = 9;
  assert_int_equal(apq__db_add_measurement(db, &real_gpu, &problem, &variant, &good, NULL),
                   APQ_INVALID_ARGUMENT);
  apq__db_counts counts;
  assert_int_equal(apq__db_count(db, &counts, NULL), APQ_OK);
  assert_int_equal(counts.environments + counts.problems + counts.variants + counts.measurements,
                   0);
  apq__db_close(db);
}

static void a_batch_is_all_or_nothing(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = problem_of(1);
  apq__variant variants[] = {variant_of("a=1", "h"), variant_of("a=2", "h")};
  apq__measurement times[] = {time_of(2e-6, "r", 1), time_of(1e-6, "r", 2)};
  times[1].samples = -1;
  assert_int_equal(apq__db_add_measurements(db, &real_gpu, &problem, 2, variants, times, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_winners(db, NULL, NULL, "");
  times[1].samples = 1;
  assert_int_equal(apq__db_add_measurements(db, &real_gpu, &problem, 2, variants, times, NULL),
                   APQ_OK);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=2 1.00;");
  apq__db_close(db);
}

static int keep(const apq__winner *winner, void *user) {
  *(apq__winner *)user = *winner;
  return 1;
}

static void every_field_comes_back(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = {.p = 8, .q = 1, .m = 2147483647, .n = 33, .k = 129, .out = APQ_DTYPE_I32};
  apq__variant variant = variant_of("family=bmma,offset=-12,tile_m=64", "0123");
  apq__measurement in = {"sustained", "run-7",   0,           123,           1.0 / 3e6,
                         1.1 / 3e6,   1.2 / 3e6, 1.3 / 3e6,   0.5,           -0.0,
                         345,         -3,        0xffffffffu, 1234567890123, "00ff"};
  assert_int_equal(apq__db_add_measurement(db, &real_gpu, &problem, &variant, &in, NULL), APQ_OK);
  apq__winner kept[3];
  memset(kept, 0, sizeof kept);
  assert_int_equal(apq__db_winners(db, NULL, NULL, keep, &kept[0], NULL), APQ_OK);
  assert_int_equal(apq__db_derive_winners(db, keep, &kept[1], NULL), APQ_OK);
  assert_int_equal(apq__db_measurements(db, "NVIDIA H200", &problem, keep, &kept[2], NULL), APQ_OK);
  for (int i = 0; i < 3; i++) {
    const apq__winner *w = &kept[i];
    assert_string_equal(w->environment.gpu, real_gpu.gpu);
    assert_string_equal(w->environment.driver, real_gpu.driver);
    assert_string_equal(w->environment.compiler, real_gpu.compiler);
    assert_int_equal(w->environment.sm_count, real_gpu.sm_count);
    assert_memory_equal(&w->problem, &problem, sizeof problem);
    assert_memory_equal(&w->variant.config, &variant.config, sizeof variant.config);
    assert_string_equal(w->variant.hash, "0123");
    assert_string_equal(w->measurement.objective, "sustained");
    assert_string_equal(w->measurement.run, "run-7");
    assert_string_equal(w->measurement.artifact, "00ff");
    assert_memory_equal(&w->measurement.min, &in.min, 5 * sizeof(double));
    assert_int_equal(w->measurement.sm_mhz, 345);
    assert_int_equal(w->measurement.temperature_c, -3);
    assert_int_equal(w->measurement.throttle_reasons, 0xffffffffu);
    assert_int_equal(w->measurement.unix_time, 1234567890123);
  }
  assert_int_equal(apq__db_measurements(db, "A100", &problem, keep, NULL, NULL), APQ_OK);
  apq__db_close(db);
}

/* The kept winners and the view agree after many random insertions, and again when the kept ones
 * are made anew. */
static void kept_winners_are_the_derived_ones(void **state) {
  char path[512], config[32], run[16];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  uint64_t seed = 5;
  assert_int_equal(apq__store_exec(db->store, "PRAGMA synchronous = OFF", NULL), APQ_OK);
  for (int i = 0; i < 600; i++) {
    uint64_t r = apq__random(&seed);
    snprintf(config, sizeof config, "a=%d", (int)(r % 9));
    snprintf(run, sizeof run, "run%d", (int)(r >> 8 & 3));
    add_time(db, r >> 16 & 1 ? &real_gpu : &emulated_gpu, 1 + (int)(r >> 20 & 3), config,
             r >> 24 & 1 ? "h" : "g", 1e-6 * (100 + (double)(r >> 28 & 7)), run,
             (int64_t)(r >> 32 & 63));
    if (i % 40 == 39) {
      apq__problem problem = problem_of(1 + (int)(r >> 20 & 3));
      apq__variant variant = variant_of(config, "h");
      assert_int_equal(
          apq__db_add_failure(db, &real_gpu, &problem, &variant, "verify", "", "", NULL), APQ_OK);
    }
  }
  apq__text derived = {0};
  assert_int_equal(apq__db_derive_winners(db, append_winner, &derived, NULL), APQ_OK);
  assert_true(derived.length > 16 * 20);
  assert_winners(db, NULL, NULL, derived.data);
  apq__text_free(&derived);
  apq__db_close(db);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(lowest_median_of_the_newest_run_wins),
      TEST(ties_within_one_percent_go_to_the_smaller_key),
      TEST(contests_are_separate),
      TEST(wrong_results_cannot_win),
      TEST(modelled_and_measured_times_do_not_mix),
      TEST(nonsense_is_refused),
      TEST(a_batch_is_all_or_nothing),
      TEST(every_field_comes_back),
      TEST(kept_winners_are_the_derived_ones),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
