/* What the tuner and the benchmark do on GPUs only, on an emulated device that poses as one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "bench.h"
#include "db.h"
#include "generator.h"
#include "planted_source.h"
#include "posing_device.h"
#include "spot_check.h"
#include "tune.h"
#include "worker.h"

static const char space_text[] =
    "return space { name = 'tiny', family = 'bmma', objective = 'burst', knobs = {"
    " tile_m = {16, 32}, tile_n = {16, 32}, stages = {2}, warps_m = {1}, warps_n = {1, 2},"
    " store = {'direct'} } }";
enum { SPACE_COUNT = 8 };

#define CRASHING_WORKER "--crashing-worker"

static char folder[64], db_path[96], cache[96];
static apq__space *space;

static int set_up(void **state) {
  (void)state;
  char path[96];
  snprintf(folder, sizeof folder, "/tmp/apq_timed_XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(db_path, sizeof db_path, "%s/t.db", folder);
  snprintf(cache, sizeof cache, "%s/cache", folder);
  snprintf(path, sizeof path, "%s/tiny.lua", folder);
  if (apq__write_file(path, space_text, strlen(space_text), NULL) != APQ_OK) return -1;
  return apq__space_load(path, &space, NULL) == APQ_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  char command[96];
  apq__space_close(space);
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command);
}

static apq_status generate(const apq__config *config, const apq__target *target, char **source,
                           apq_error *error) {
  apq__target copy = posing_as_emulated(target);
  return apq__generate(config, &copy, source, error);
}

static const apq__problem problem = {1, 1, 40, 72, 256, APQ_DTYPE_I32, 0, 0};

static apq__tune_options base_options(void) {
  return (apq__tune_options){.db_path = db_path,
                             .cache_dir = cache,
                             .space = space,
                             .problems = &problem,
                             .problem_count = 1,
                             .prune_ratio = 100,
                             .rounds = 6,
                             .jobs = 2,
                             .generate = generate};
}

static void tune(const apq__tune_options *options, apq__tune_summary *summary,
                 apq_status expected) {
  apq_error error = APQ_ERROR_INIT;
  apq_status status = apq__tune(options, summary, &error);
  if (status != expected) fail_msg("%s: %s", apq_status_name(status), error.message);
  apq_error_clear(&error);
}

/* Rows of one problem, as `apq__db_measurements` gives them. */
typedef struct rows {
  int count, kept; /* kept: sampled in every round */
  char winner_key[APQ__KEY_MAX];
  char artifact[65];
  double best, worst;
} rows;

static int see_row(const apq__winner *row, void *user) {
  rows *r = user;
  char key[APQ__KEY_MAX];
  const apq__measurement *m = &row->measurement;
  assert_false(m->modelled);
  assert_true(m->samples >= 3 && m->min <= m->p50 && m->p50 <= m->max);
  assert_int_equal(m->sm_mhz, 1980);
  r->count++;
  r->kept += m->samples == 6;
  if (r->best == 0 || m->p50 < r->best) r->best = m->p50;
  if (m->p50 > r->worst) r->worst = m->p50;
  if (m->incumbent_ratio <= 1 && m->incumbent_ratio >= 1 && m->artifact[0]) {
    snprintf(r->winner_key, sizeof r->winner_key, "%s", apq__config_key(&row->variant.config, key));
    snprintf(r->artifact, sizeof r->artifact, "%s", m->artifact);
  }
  return 0;
}

static rows read_rows(void) {
  rows r = {0};
  apq__db *db = NULL;
  assert_int_equal(apq__db_open(db_path, APQ__DB_READ, &db, NULL, NULL), APQ_OK);
  assert_int_equal(apq__db_measurements(db, NULL, &problem, see_row, &r, NULL), APQ_OK);
  apq__db_close(db);
  return r;
}

/* The posed cost, without the constant: blocks, and threads of warps. */
static void the_fastest_wins_and_stays(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  tune(&options, &summary, APQ_OK);
  const apq__tune_result *result = &summary.result[0];
  assert_int_equal(result->outcome, APQ__TUNE_TUNED);
  assert_int_equal(result->measured, SPACE_COUNT + 1);
  assert_false(result->modelled);
  /* Fewest blocks, most threads: the template's default, 64x64 with four warps, has two tiles in n.
   */
  assert_true(result->seconds > 200e-6 && result->seconds < 1000e-6);
  rows r = read_rows();
  assert_int_equal(r.count, SPACE_COUNT + 1);
  assert_true(r.kept >= 8);
  assert_true(r.worst > 1.1 * r.best);
  assert_true(result->seconds <= r.best * 1.011);
  assert_true(result->default_seconds >= result->seconds);
  apq__config winner = result->winner;
  apq__tune_summary_free(&summary);

  options.retune = 1;
  options.seed = 99;
  tune(&options, &summary, APQ_OK);
  char before[APQ__KEY_MAX], after[APQ__KEY_MAX];
  assert_string_equal(apq__config_key(&winner, before),
                      apq__config_key(&summary.result[0].winner, after));
  assert_int_equal(summary.result[0].replaced, 0);
  apq__tune_summary_free(&summary);
}

static int count_crash(const apq__failure *failure, void *user) {
  *(int *)user += strcmp(failure->stage, "crash") == 0;
  return 0;
}

static void a_crash_while_timing_costs_one_candidate(void **state) {
  (void)state;
  static const char *const argv[] = {"/proc/self/exe", CRASHING_WORKER, NULL};
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.worker_argv = argv;
  tune(&options, &summary, APQ_OK);
  const apq__tune_result *result = &summary.result[0];
  assert_int_equal(result->outcome, APQ__TUNE_TUNED);
  assert_true(result->failed >= 1);
  assert_int_equal(result->measured, SPACE_COUNT + 1 - result->failed);
  apq__db *db = NULL;
  int crashes = 0;
  assert_int_equal(apq__db_open(db_path, APQ__DB_READ, &db, NULL, NULL), APQ_OK);
  assert_int_equal(apq__db_failures(db, count_crash, &crashes, NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(crashes, result->failed);
  apq__tune_summary_free(&summary);
}

/* Packed activations cost their pack kernel's launch, which makes the kernel that packs for itself
 * twice as fast here. */
static void packing_is_timed_with_the_product(void **state) {
  (void)state;
  static const char text[] =
      "return space { name = 'inputs', family = 'decode', objective = 'burst', knobs = {"
      " operand = {'shared'}, tile_m = {8}, warps_k = {2, 4}, src = {'packed', 'f16'} } }";
  static const apq__problem input = {
      .p = 1, .q = 1, .m = 8, .n = 32, .k = 256, .out = APQ_DTYPE_F16, .in = APQ__INPUT_F16};
  char path[96], key[APQ__KEY_MAX];
  snprintf(path, sizeof path, "%s/inputs.lua", folder);
  assert_int_equal(apq__write_file(path, text, strlen(text), NULL), APQ_OK);
  apq__tune_options options = base_options();
  apq__space *inputs = NULL;
  assert_int_equal(apq__space_load(path, &inputs, NULL), APQ_OK);
  options.space = inputs;
  options.problems = &input;
  apq__tune_summary summary;
  tune(&options, &summary, APQ_OK);
  const apq__tune_result *result = &summary.result[0];
  if (result->outcome != APQ__TUNE_TUNED) fail_msg("%s", result->message);
  assert_int_equal(result->measured, 5); /* and the template's default */
  assert_int_equal(result->failed, 0);
  assert_non_null(strstr(apq__config_key(&result->winner, key), "src=f16"));
  apq__db *db = NULL;
  rows r = {0};
  assert_int_equal(apq__db_open(db_path, APQ__DB_READ, &db, NULL, NULL), APQ_OK);
  assert_int_equal(apq__db_measurements(db, NULL, &input, see_row, &r, NULL), APQ_OK);
  apq__db_close(db);
  assert_true(r.best < 400e-6 && r.worst > 1.7 * r.best);
  apq__tune_summary_free(&summary);
  apq__space_close(inputs);
}

/* A row of `tall` that the check of the problem does not sample. */
static int hidden_row;
static const apq__problem tall = {1, 1, 100, 72, 256, APQ_DTYPE_F16, 0, 0};

/* One kernel is wrong where nothing looks, another kills its worker while being verified. */
static apq_status generate_planted(const apq__config *config, const apq__target *target,
                                   char **source, apq_error *error) {
  apq_status status = generate(config, target, source, error);
  if (status || apq__config_int(config, "warps_n", 0) != 1) return status;
  int tile_m = apq__config_int(config, "tile_m", 0), tile_n = apq__config_int(config, "tile_n", 0);
  char *planted = NULL;
  if (tile_m == 16 && tile_n == 16) planted = plant_in_result(*source, hidden_row, 5);
  if (tile_m == 32 && tile_n == 16) planted = plant_in_kernel(*source, "*(volatile int *)16 = 1;");
  if (!planted) return status;
  apq__free(*source);
  *source = planted;
  return status;
}

static int count_wrong(const apq__failure *failure, void *user) {
  *(int *)user += strcmp(failure->stage, "verify") == 0;
  return 0;
}

static void a_hidden_error_is_found_by_comparison(void **state) {
  (void)state;
  apq__spot_check check;
  assert_int_equal(apq__spot_check_make(&tall, 0, &check, NULL), APQ_OK);
  for (int row = 99, sampled = 1; sampled; hidden_row = row--) {
    /* Not at the edge of a tile either. */
    sampled = row % 16 == 0 || row % 16 == 15;
    for (int i = 0; i < check.row_count; i++) sampled |= check.rows[i] == row;
  }
  apq__spot_check_free(&check);
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.problems = &tall;
  options.generate = generate_planted;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.result[0].outcome, APQ__TUNE_TUNED);
  assert_int_equal(summary.result[0].failed, 2);
  apq__tune_summary_free(&summary);
  apq__db *db = NULL;
  int wrong = 0;
  assert_int_equal(apq__db_open(db_path, APQ__DB_READ, &db, NULL, NULL), APQ_OK);
  assert_int_equal(apq__db_failures(db, count_wrong, &wrong, NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(wrong, 1);
}

static volatile sig_atomic_t stop;

static void stop_in_second_round(const apq__tune_progress *progress, void *user) {
  (void)user;
  if (progress->phase == APQ__TUNE_MEASURE && progress->done > SPACE_COUNT + 1) stop = 1;
}

static void a_stop_while_timing_keeps_the_samples(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  stop = 0;
  options.stop = &stop;
  options.progress = stop_in_second_round;
  tune(&options, &summary, APQ_INTERRUPTED);
  assert_int_equal(summary.partial, 1);
  assert_true(summary.result[0].has_winner);
  assert_int_equal(summary.result[0].measured, SPACE_COUNT + 1);
  apq__tune_summary_free(&summary);
}

enum { BUDGET_SECONDS = 2 };

static void sleep_after_the_first_check(const apq__tune_progress *progress, void *user) {
  (void)user;
  if (progress->phase == APQ__TUNE_CHECK && progress->done == 1) sleep(BUDGET_SECONDS);
}

/* One kernel of several, measured alone, would count as the winner. */
static void a_lone_kernel_wins_nothing(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.budget_seconds = BUDGET_SECONDS;
  options.progress = sleep_after_the_first_check;
  tune(&options, &summary, APQ_OK);
  assert_true(summary.out_of_budget);
  assert_false(summary.result[0].has_winner);
  assert_int_equal(summary.result[0].outcome, APQ__TUNE_UNTUNED);
  apq__tune_summary_free(&summary);
}

static void a_bench_compares_kernels_in_one_run(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  tune(&options, &summary, APQ_OK);
  apq__tune_summary_free(&summary);
  rows r = read_rows();

  apq__device *device = NULL;
  assert_int_equal(posing_open(NULL, &device, NULL), APQ_OK);
  apq__bench_entry entries[3] = {{.kind = APQ__BENCH_KERNEL, .artifact = r.artifact},
                                 {.kind = APQ__BENCH_KERNEL, .artifact = r.artifact},
                                 {.kind = APQ__BENCH_KERNEL}};
  assert_int_equal(apq__config_parse(r.winner_key, &entries[0].config, NULL), APQ_OK);
  entries[1].config = entries[0].config;
  apq__bench_group group = {problem, entries, 3};
  apq__bench_options bench = {.device = device, .db_path = db_path, .rounds = 10};
  apq_error error = APQ_ERROR_INIT;
  if (apq__bench(&bench, &group, 1, &error)) fail_msg("%s", error.message);
  for (int i = 0; i < 2; i++) {
    if (entries[i].status) fail_msg("%s", entries[i].message);
    assert_int_equal(entries[i].samples, 10);
    assert_true(entries[i].p50 > 200e-6 && entries[i].tops > 0);
    assert_float_equal(entries[i].paired_p50, 1, 0.01);
    assert_float_equal(entries[i].ratio, 1, 0.05);
  }
  /* An entry without a config says so, and costs nothing else. */
  assert_int_not_equal(entries[2].status, APQ_OK);
  assert_true(strlen(entries[2].message) > 5);
  apq__device_close(device);

  assert_int_equal(apq__device_open("emu", &bench.device, NULL), APQ_OK);
  assert_int_equal(apq__bench(&bench, &group, 1, &error), APQ_INVALID_ARGUMENT);
  apq__device_close(bench.device);
  apq_error_clear(&error);
}

#define TIMED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv) {
  static const apq__worker_hooks hooks = {posing_open, posing_compile, posing_compiler_version,
                                          generate};
  if (argc == 2 && strcmp(argv[1], APQ__WORKER_VERB) == 0) return apq__worker_serve(&hooks);
  if (argc == 2 && strcmp(argv[1], CRASHING_WORKER) == 0) {
    posing.crash_at = 40;
    return apq__worker_serve(&hooks);
  }
  const struct CMUnitTest tests[] = {
      TIMED_TEST(the_fastest_wins_and_stays),
      TIMED_TEST(packing_is_timed_with_the_product),
      TIMED_TEST(a_crash_while_timing_costs_one_candidate),
      TIMED_TEST(a_hidden_error_is_found_by_comparison),
      TIMED_TEST(a_stop_while_timing_keeps_the_samples),
      TIMED_TEST(a_lone_kernel_wins_nothing),
      TIMED_TEST(a_bench_compares_kernels_in_one_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
