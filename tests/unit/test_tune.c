/* The tuning engine end to end on the emulated device: winners, resuming, isolation, budgets,
 * several processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "db.h"
#include "generator.h"
#include "host.h"
#include "measure.h"
#include "planted_source.h"
#include "tune.h"
#include "tune_impl.h"
#include "worker.h"

/* Eight candidates; the template's default is a ninth. */
static const char space_text[] =
    "return space { name = 'tiny', family = 'bmma', objective = 'burst', knobs = {"
    " tile_m = {16, 32}, tile_n = {16, 32}, stages = {2, 3}, layout = {'xor'}, warps_m = {1},"
    " warps_n = {2} } }";

static char folder[64], db_path[96];
static apq__space *space;

static int set_up(void **state) {
  (void)state;
  char path[96];
  apq_error error = APQ_ERROR_INIT;
  snprintf(folder, sizeof folder, "/tmp/apq_tune_XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(db_path, sizeof db_path, "%s/t.db", folder);
  snprintf(path, sizeof path, "%s/tiny.lua", folder);
  if (apq__write_file(path, space_text, strlen(space_text), &error) != APQ_OK) return -1;
  if (apq__space_load(path, &space, &error) == APQ_OK) return 0;
  fprintf(stderr, "%s\n", error.message);
  return -1;
}

static int tear_down(void **state) {
  (void)state;
  char command[96];
  apq__space_close(space);
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command);
}

static const apq__problem problems[] = {{1, 1, 16, 64, 256, APQ_DTYPE_F16, 0, 0},
                                        {1, 1, 64, 64, 512, APQ_DTYPE_F16, 0, 0}};

static apq__tune_options base_options(void) {
  static char cache[96];
  snprintf(cache, sizeof cache, "%s/cache", folder);
  return (apq__tune_options){.device = "emu:sm_90a",
                             .db_path = db_path,
                             .cache_dir = cache,
                             .space = space,
                             .problems = problems,
                             .problem_count = 1,
                             .top = 20,
                             .prune_ratio = 100,
                             .jobs = 2,
                             .claim_ttl = 2};
}

static void tune(const apq__tune_options *options, apq__tune_summary *summary,
                 apq_status expected) {
  apq_error error = APQ_ERROR_INIT;
  apq_status status = apq__tune(options, summary, &error);
  if (status != expected) fail_msg("%s: %s", apq_status_name(status), error.message);
  apq_error_clear(&error);
}

static apq__db *open_db(void) {
  apq__db *db = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__db_open(db_path, APQ__DB_READ, &db, NULL, &error)) fail_msg("%s", error.message);
  return db;
}

static apq__db_counts count_db(void) {
  apq__db *db = open_db();
  apq__db_counts counts;
  assert_int_equal(apq__db_count(db, &counts, NULL), APQ_OK);
  apq__db_close(db);
  return counts;
}

/* ---- plain runs ---- */

static void candidates_become_a_winner(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  tune(&options, &summary, APQ_OK);
  const apq__tune_result *result = &summary.result[0];
  assert_int_equal(summary.tuned, 1);
  assert_int_equal(result->outcome, APQ__TUNE_TUNED);
  assert_true(result->has_winner && result->modelled);
  assert_int_equal(result->candidates, 8);
  assert_int_equal(result->measured, 9);
  assert_int_equal(result->failed, 0);
  assert_true(result->seconds > 0 && result->default_seconds >= result->seconds);
  assert_true(summary.target.emulated);
  apq__tune_summary_free(&summary);

  /* Nine objects of products and four of pack kernels. */
  apq__db_counts counts = count_db();
  assert_int_equal(counts.measurements, 9);
  assert_int_equal(counts.winners, 1);
  assert_int_equal(counts.artifacts, 13);

  /* A second run finds it done; told to, it does it again. */
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.already, 1);
  assert_true(summary.result[0].has_winner && summary.result[0].default_seconds > 0);
  apq__tune_summary_free(&summary);
  options.retune = 1;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.tuned, 1);
  assert_int_equal(summary.result[0].measured, 9);
  assert_int_equal(summary.result[0].replaced, 0);
  apq__tune_summary_free(&summary);
}

static int see_artifact(const apq__winner *winner, void *user) {
  apq__db *db = user;
  void *image = NULL;
  size_t size = 0;
  assert_int_equal(apq__db_load_artifact(db, winner->measurement.artifact, &image, &size, NULL),
                   APQ_OK);
  assert_true(size > 0);
  apq__free(image);
  return 0;
}

static void the_winners_object_is_stored(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.top = 3;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.result[0].pruned, 9 - summary.result[0].measured);
  apq__tune_summary_free(&summary);
  apq__db *db = open_db();
  assert_int_equal(apq__db_winners(db, NULL, NULL, see_artifact, db, NULL), APQ_OK);
  apq__db_close(db);
}

static void bad_options_are_refused(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.device = "emu:sm_12";
  tune(&options, &summary, APQ_NOT_FOUND);
  apq__tune_summary_free(&summary);
  options = base_options();
  options.objective = "fast";
  tune(&options, &summary, APQ_INVALID_ARGUMENT);
  apq__tune_summary_free(&summary);
  options = base_options();
  options.db_path = "/proc/none/t.db";
  assert_int_not_equal(apq__tune(&options, &summary, NULL), APQ_OK);
  apq__tune_summary_free(&summary);
  static const char *const nothing[] = {"/bin/true", NULL};
  options = base_options();
  options.worker_argv = nothing;
  tune(&options, &summary, APQ_IO);
  apq__tune_summary_free(&summary);
}

/* ---- planted candidates ---- */

/* Spoils the candidates with three stages, each in its own way. */
static apq_status generate_planted(const apq__config *config, const apq__target *target,
                                   char **source, apq_error *error) {
  char fifo[160];
  apq_status status = apq__generate(config, target, source, error);
  if (status != APQ_OK || !apq__config_is(config, "stages", "3") ||
      !apq__config_is(config, "layout", "xor"))
    return status;
  int kind = (apq__config_int(config, "tile_m", 0) == 32) * 2 +
             (apq__config_int(config, "tile_n", 0) == 32);
  snprintf(fifo, sizeof fifo, "#include \"%s/fifo\"\n", folder);
  char *planted = NULL;
  switch (kind) {
  case 0:
    planted = plant_in_kernel(*source, "*(volatile int *)16 = 1;");
    break;
  case 1:
    planted = plant_in_kernel(*source, "volatile int on = 1;\nwhile (on) { }");
    break;
  case 2:
    planted = plant_in_result(*source, 0, 0);
    break;
  case 3:
    planted = apq__format("%s%s", fifo, *source);
    break;
  }
  apq__free(*source);
  *source = planted;
  return planted ? APQ_OK : APQ_INTERNAL;
}

typedef struct seen {
  int crash, timeout, verify, compile, all;
  int has_log;
} seen;

static int see_failure(const apq__failure *failure, void *user) {
  seen *s = user;
  s->all++;
  s->crash += strcmp(failure->stage, "crash") == 0 || strcmp(failure->stage, "run") == 0;
  s->timeout += strcmp(failure->stage, "timeout") == 0;
  s->verify += strcmp(failure->stage, "verify") == 0;
  s->compile += strcmp(failure->stage, "compile") == 0;
  return 0;
}

static void crashes_and_hangs_cost_one_candidate_each(void **state) {
  (void)state;
  char fifo[96];
  snprintf(fifo, sizeof fifo, "%s/fifo", folder);
  assert_int_equal(mkfifo(fifo, 0600), 0);
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.generate = generate_planted;
  options.compile_timeout = 4;
  options.run_timeout = 2;
  tune(&options, &summary, APQ_OK);
  const apq__tune_result *result = &summary.result[0];
  /* Four of the tiny space and the default remain. */
  assert_int_equal(result->outcome, APQ__TUNE_TUNED);
  assert_int_equal(result->measured, 5);
  assert_int_equal(result->failed, 4);
  assert_false(apq__config_is(&result->winner, "stages", "3") &&
               apq__config_is(&result->winner, "layout", "xor"));
  apq__tune_summary_free(&summary);

  apq__db *db = open_db();
  seen s = {0};
  assert_int_equal(apq__db_failures(db, see_failure, &s, NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(s.all, 4);
  assert_int_equal(s.crash, 1);
  assert_int_equal(s.timeout, 2); /* the endless kernel and the endless compile */
  assert_int_equal(s.verify, 1);

  /* Known failures are not tried again, for another problem either. */
  options.problems = &problems[1];
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.result[0].known, 4);
  assert_int_equal(summary.result[0].failed, 0);
  apq__tune_summary_free(&summary);
}

static apq_status generate_rubbish(const apq__config *config, const apq__target *target,
                                   char **source, apq_error *error) {
  (void)config, (void)target, (void)error;
  *source = apq__strdup("int rubbish(;\n");
  return APQ_OK;
}

static void nothing_that_passes_is_a_failed_problem(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.generate = generate_rubbish;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.failed, 1);
  assert_int_equal(summary.result[0].failed, 9);
  assert_false(summary.result[0].has_winner);
  assert_non_null(strstr(summary.result[0].message, "none of 8 candidates"));
  apq__tune_summary_free(&summary);
  apq__db *db = open_db();
  seen s = {0};
  assert_int_equal(apq__db_failures(db, see_failure, &s, NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(s.compile, 9);
}

/* ---- stopping and resuming ---- */

static volatile sig_atomic_t stop;

static void stop_after_three(const apq__tune_progress *progress, void *user) {
  (void)user;
  if (progress->phase == APQ__TUNE_CHECK && progress->done >= 3) stop = 1;
}

static void a_stopped_run_resumes(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  stop = 0;
  options.stop = &stop;
  options.problem_count = 2;
  options.progress = stop_after_three;
  tune(&options, &summary, APQ_INTERRUPTED);
  assert_int_equal(summary.partial, 1);
  assert_int_equal(summary.untuned, 1);
  int first = summary.result[0].measured;
  assert_true(summary.result[0].has_winner && first >= 3 && first < 9);
  assert_string_equal(summary.result[1].message, "interrupted");
  apq__tune_summary_free(&summary);
  assert_int_equal(count_db().measurements, first);

  options.stop = NULL;
  options.progress = NULL;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.tuned, 2);
  assert_true(summary.result[0].known >= first - 2); /* winner and default are tried again */
  apq__tune_summary_free(&summary);
}

static void die_after_three(const apq__tune_progress *progress, void *user) {
  (void)user;
  if (progress->phase == APQ__TUNE_CHECK && progress->done >= 3) kill(getpid(), SIGKILL);
}

/* Waits for every child, orphans included; returns how many there were, -1 when one still lives
 * after some seconds. */
static int reap_all(void) {
  int count = 0;
  for (int i = 0; i < 300; i++) {
    pid_t pid = waitpid(-1, NULL, WNOHANG);
    if (pid < 0) return count;
    if (pid > 0)
      count++;
    else
      usleep(10000);
  }
  return -1;
}

static void a_killed_run_leaves_no_worker_and_resumes(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    options.progress = die_after_three;
    apq__tune(&options, &summary, NULL);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  assert_true(reap_all() >= 2);

  int64_t before = count_db().measurements;
  assert_true(before >= 3);
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.tuned, 1);
  assert_true(summary.result[0].known >= before - 2);
  apq__tune_summary_free(&summary);
}

static void a_budget_that_is_spent_leaves_the_rest_untuned(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.problem_count = 2;
  options.budget_seconds = 1e-6;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.untuned, 2);
  assert_true(summary.out_of_budget);
  assert_string_equal(summary.result[1].message, "the budget ran out");
  apq__tune_summary_free(&summary);
  options.budget_seconds = 300;
  tune(&options, &summary, APQ_OK);
  assert_int_equal(summary.tuned, 2);
  assert_false(summary.out_of_budget);
  apq__tune_summary_free(&summary);
}

static void two_processes_share_the_work(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.problem_count = 2;
  options.jobs = 1;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    apq_status status = apq__tune(&options, &summary, NULL);
    _exit(status == APQ_OK ? summary.tuned : 100);
  }
  const apq__problem other_way[] = {problems[1], problems[0]};
  options.problems = other_way;
  tune(&options, &summary, APQ_OK);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status) + summary.tuned, 2);
  assert_int_equal(summary.failed + summary.untuned + summary.partial, 0);
  apq__tune_summary_free(&summary);
  assert_int_equal(count_db().measurements, 18);
}

/* ---- pure parts ---- */

static void selection_keeps_pinned_and_every_family(void **state) {
  (void)state;
  apq__selection_row rows[40];
  unsigned char keep[40];
  for (int i = 0; i < 40; i++) rows[i] = (apq__selection_row){1 + 0.05 * i, i >= 30, i == 39};
  assert_int_equal(apq__select_candidates(rows, 40, 16, 2.6, keep), 17);
  for (int i = 0; i < 14; i++) assert_int_equal(keep[i], 1);
  for (int i = 14; i < 30; i++) assert_int_equal(keep[i], 0);
  assert_true(keep[30] && keep[31] && !keep[32] && keep[39]);
  /* Beyond the ratio only what is pinned is kept. */
  assert_int_equal(apq__select_candidates(rows, 40, 16, 1.12, keep), 4);
}

static void samples_cover_all_sets_and_last_long_enough(void **state) {
  (void)state;
  int launches, replays;
  apq__timing_plan(2e-6, 60, 0, &launches, &replays);
  assert_int_equal(launches % 60, 0);
  assert_true(launches >= 240 && replays >= 1);
  apq__timing_plan(1.5e-3, 2, 0, &launches, &replays);
  assert_int_equal(launches, 4);
  assert_int_equal(replays, 1);
  apq__timing_plan(2e-6, 60, 1, &launches, &replays);
  assert_true(launches * replays * 2e-6 > 15e-3);
  apq__target target = {.l2_bytes = 60 << 20, .mem_bytes = (int64_t)141 << 30};
  assert_true(apq__rotation_count(&target, 2 << 20) * (2.0 * (1 << 20)) > 2.0 * (60 << 20));
  assert_int_equal(apq__rotation_count(&target, (size_t)1 << 30), 2);
}

#define TUNING_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], APQ__WORKER_VERB) == 0) return apq__worker_main();
  const struct CMUnitTest tests[] = {
      TUNING_TEST(candidates_become_a_winner),
      TUNING_TEST(the_winners_object_is_stored),
      TUNING_TEST(bad_options_are_refused),
      TUNING_TEST(crashes_and_hangs_cost_one_candidate_each),
      TUNING_TEST(nothing_that_passes_is_a_failed_problem),
      TUNING_TEST(a_stopped_run_resumes),
      TUNING_TEST(a_killed_run_leaves_no_worker_and_resumes),
      TUNING_TEST(a_budget_that_is_spent_leaves_the_rest_untuned),
      TUNING_TEST(two_processes_share_the_work),
      cmocka_unit_test(selection_keeps_pinned_and_every_family),
      cmocka_unit_test(samples_cover_all_sets_and_last_long_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
