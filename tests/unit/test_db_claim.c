/* Several tuners on one file, and what is known and done. */
#include "db_fixture.h"

#include <sys/wait.h>
#include <time.h>

#include "db_impl.h"

static void claims_exclude_others_until_released(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = problem_of(1), other = problem_of(2);
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "a", 100, NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "b", 100, &error), APQ_BUSY);
  assert_non_null(strstr(error.message, "k=4096,m=1"));
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "a", 100, NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &other, "b", 100, NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &emulated_gpu, &problem, "b", 100, NULL), APQ_OK);
  /* Only the owner releases. */
  assert_int_equal(apq__db_release(db, &real_gpu, &problem, "b", NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "b", 100, NULL), APQ_BUSY);
  assert_int_equal(apq__db_release(db, &real_gpu, &problem, "a", NULL), APQ_OK);
  assert_int_equal(apq__db_release(db, &real_gpu, &problem, "a", NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "b", 100, NULL), APQ_OK);
  apq_error_clear(&error);
  apq__db_close(db);
}

static void claims_of_the_dead_expire(void **state) {
  char path[512];
  path_in(*state, "apq.db", path);
  apq__problem problem = problem_of(1);
  pid_t child = fork();
  if (child == 0) {
    apq__db *db = NULL;
    if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL) ||
        apq__db_claim(db, &real_gpu, &problem, "dead", 100, NULL))
      _exit(1);
    _exit(0);
  }
  int result = -1;
  waitpid(child, &result, 0);
  assert_int_equal(result, 0);
  apq__db *db = open_for(path, APQ__DB_WRITE);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "b", 100, NULL), APQ_BUSY);
  assert_int_equal(
      apq__store_exec(db->store, "UPDATE claim SET claimed_at = claimed_at - 99", NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "b", 102, NULL), APQ_BUSY);
  assert_int_equal(apq__store_exec(db->store, "UPDATE claim SET claimed_at = claimed_at - 3", NULL),
                   APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "b", 102, NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "dead", 102, NULL), APQ_BUSY);
  /* A clock set back does not make a claim last longer than it should. */
  assert_int_equal(
      apq__store_exec(db->store, "UPDATE claim SET claimed_at = claimed_at + 5000", NULL), APQ_OK);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "c", 102, NULL), APQ_OK);
  apq__db_close(db);
}

enum { PROCESSES = 8, PROBLEMS = 12 };

/* What a tuner does: claims each problem that is not done, tunes it, marks it done. */
static int tune_all(const char *path, int process) {
  apq__db *db = NULL;
  char owner[32], run[32];
  snprintf(owner, sizeof owner, "process %d", process);
  if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL)) return 1;
  for (int i = 0; i < PROBLEMS; i++) {
    apq__problem problem = problem_of(1 + (i + process) % PROBLEMS);
    apq_status status = apq__db_claim(db, &real_gpu, &problem, owner, 600, NULL);
    if (status == APQ_BUSY) continue;
    if (status) return 2;
    int done = 0;
    if (apq__db_is_tuned(db, &real_gpu, &problem, "burst", "space", "hash", &done, NULL)) return 3;
    if (!done) {
      apq__variant variant = {0};
      if (apq__config_set(&variant.config, "a", "1", NULL)) return 4;
      snprintf(variant.hash, sizeof variant.hash, "h");
      snprintf(run, sizeof run, "%s", owner);
      apq__measurement measurement = time_of(1e-6, run, 100 + process);
      if (apq__db_add_measurement(db, &real_gpu, &problem, &variant, &measurement, NULL)) return 5;
      if (apq__db_set_tuned(db, &real_gpu, &problem, "burst", "space", "hash", NULL)) return 6;
    }
    if (apq__db_release(db, &real_gpu, &problem, owner, NULL)) return 7;
  }
  apq__db_close(db);
  return 0;
}

static void processes_share_the_work_without_repeating_it(void **state) {
  char path[512];
  pid_t child[PROCESSES];
  path_in(*state, "apq.db", path);
  for (int i = 0; i < PROCESSES; i++) {
    child[i] = fork();
    if (child[i] == 0) _exit(tune_all(path, i));
  }
  for (int i = 0; i < PROCESSES; i++) {
    int result = -1;
    waitpid(child[i], &result, 0);
    assert_int_equal(result, 0);
  }
  apq__db *db = open_for(path, APQ__DB_READ);
  apq__db_counts counts;
  assert_int_equal(apq__db_count(db, &counts, NULL), APQ_OK);
  assert_int_equal(counts.problems, PROBLEMS);
  assert_int_equal(counts.measurements, PROBLEMS);
  assert_int_equal(counts.winners, PROBLEMS);
  int64_t claims = -1;
  assert_int_equal(
      apq__store_integer(db->store, "SELECT count(*) FROM claim", NULL, 0, -1, &claims, NULL),
      APQ_OK);
  assert_int_equal(claims, 0);
  apq__db_close(db);
}

static int is_tuned(apq__db *db, const apq__environment *environment, int m, const char *objective,
                    const char *space, const char *hash) {
  int done = -1;
  apq__problem problem = problem_of(m);
  assert_int_equal(apq__db_is_tuned(db, environment, &problem, objective, space, hash, &done, NULL),
                   APQ_OK);
  return done;
}

static void tuned_is_of_one_gpu_problem_objective_and_space(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = problem_of(1);
  apq__environment slice = real_gpu, driver = real_gpu;
  slice.sm_count = 16;
  snprintf(driver.driver, sizeof driver.driver, "99");
  assert_false(is_tuned(db, &real_gpu, 1, "burst", "s", "h"));
  assert_int_equal(apq__db_set_tuned(db, &real_gpu, &problem, "burst", "s", "h", NULL), APQ_OK);
  assert_int_equal(apq__db_set_tuned(db, &real_gpu, &problem, "burst", "s", "h", NULL), APQ_OK);
  assert_true(is_tuned(db, &real_gpu, 1, "burst", "s", "h"));
  /* A new driver is used, and listed for another tuning, but forgets nothing. */
  assert_true(is_tuned(db, &driver, 1, "burst", "s", "h"));
  assert_false(is_tuned(db, &slice, 1, "burst", "s", "h"));
  assert_false(is_tuned(db, &emulated_gpu, 1, "burst", "s", "h"));
  assert_false(is_tuned(db, &real_gpu, 2, "burst", "s", "h"));
  assert_false(is_tuned(db, &real_gpu, 1, "sustained", "s", "h"));
  assert_false(is_tuned(db, &real_gpu, 1, "burst", "t", "h"));
  assert_false(is_tuned(db, &real_gpu, 1, "burst", "s", "i"));
  char long_name[300];
  memset(long_name, 'x', sizeof long_name);
  long_name[299] = 0;
  assert_int_equal(apq__db_set_tuned(db, &real_gpu, &problem, "burst", long_name, "h", NULL),
                   APQ_INVALID_ARGUMENT);
  apq__db_close(db);
}

static apq__known known(apq__db *db, const apq__environment *environment, int m, const char *config,
                        const char *hash, const char *objective) {
  apq__known out = APQ__UNKNOWN;
  apq__problem problem = problem_of(m);
  apq__variant variant = variant_of(config, hash);
  assert_int_equal(apq__db_known(db, environment, &problem, &variant, objective, &out, NULL),
                   APQ_OK);
  return out;
}

static void known_is_what_was_measured_or_failed_here(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__environment compiler = real_gpu, driver = real_gpu;
  snprintf(compiler.compiler, sizeof compiler.compiler, "nvrtc 12.0");
  snprintf(driver.driver, sizeof driver.driver, "12.0");
  apq__problem one = problem_of(1);
  apq__variant second = variant_of("a=2", "h"), third = variant_of("a=3", "h");
  assert_int_equal(known(db, &real_gpu, 1, "a=1", "h", "burst"), APQ__UNKNOWN);
  add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
  assert_int_equal(known(db, &real_gpu, 1, "a=1", "h", "burst"), APQ__MEASURED);
  assert_int_equal(known(db, &driver, 1, "a=1", "h", "burst"), APQ__MEASURED);
  assert_int_equal(known(db, &compiler, 1, "a=1", "h", "burst"), APQ__UNKNOWN);
  assert_int_equal(known(db, &real_gpu, 1, "a=1", "h", "sustained"), APQ__UNKNOWN);
  assert_int_equal(known(db, &real_gpu, 2, "a=1", "h", "burst"), APQ__UNKNOWN);
  assert_int_equal(known(db, &real_gpu, 1, "a=1", "g", "burst"), APQ__UNKNOWN);
  assert_int_equal(known(db, &emulated_gpu, 1, "a=1", "h", "burst"), APQ__UNKNOWN);
  assert_int_equal(apq__db_add_failure(db, &real_gpu, &one, &second, "run", "m", "log", NULL),
                   APQ_OK);
  assert_int_equal(apq__db_add_failure(db, &real_gpu, NULL, &third, "compile", "m", NULL, NULL),
                   APQ_OK);
  assert_int_equal(known(db, &real_gpu, 1, "a=2", "h", "burst"), APQ__FAILED);
  assert_int_equal(known(db, &real_gpu, 1, "a=2", "h", "sustained"), APQ__FAILED);
  assert_int_equal(known(db, &real_gpu, 2, "a=2", "h", "burst"), APQ__UNKNOWN);
  assert_int_equal(known(db, &real_gpu, 2, "a=3", "h", "burst"), APQ__FAILED);
  assert_int_equal(known(db, &compiler, 2, "a=3", "h", "burst"), APQ__UNKNOWN);
  /* A failure outweighs a time. */
  add_time(db, &real_gpu, 1, "a=2", "h", 1e-6, "r", 1);
  assert_int_equal(known(db, &real_gpu, 1, "a=2", "h", "burst"), APQ__FAILED);
  apq__db_close(db);
}

static int append_failure(const apq__failure *failure, void *user) {
  char key[APQ__KEY_MAX];
  apq__text_add(user, "%s [%s] %s %s: %s (%s);", failure->environment.gpu, failure->problem,
                apq__config_key(&failure->variant.config, key), failure->stage, failure->message,
                failure->log);
  return 0;
}

static void failures_keep_their_whole_log(void **state) {
  char path[512], *log = malloc(300001);
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__problem problem = problem_of(1);
  apq__variant variant = variant_of("a=1", "h");
  memset(log, 'l', 300000);
  log[300000] = 0;
  assert_int_equal(
      apq__db_add_failure(db, &real_gpu, &problem, &variant, "compile", "m", log, NULL), APQ_OK);
  assert_int_equal(apq__db_add_failure(db, &real_gpu, NULL, &variant, "crash", NULL, NULL, NULL),
                   APQ_OK);
  apq__text text = {0};
  assert_int_equal(apq__db_failures(db, append_failure, &text, NULL), APQ_OK);
  apq__text expected = {0};
  apq__text_add(&expected, "NVIDIA H200 [] a=1 crash:  ();");
  apq__text_add(&expected, "NVIDIA H200 [k=4096,m=1,n=4096,out=f16,p=2,q=4] a=1 compile: m (%s);",
                log);
  assert_string_equal(text.data, expected.data);
  apq__text_free(&text);
  apq__text_free(&expected);
  free(log);
  apq__db_close(db);
}

static void objects_are_checked_against_their_digest(void **state) {
  char path[512], id[65], other[65], bad[65] = "short";
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  const char image[] = "\x7f"
                       "ELF some object\0with a zero";
  void *loaded = NULL;
  size_t size = 0;
  apq__sha256(&(apq__piece){image, sizeof image}, 1, id);
  apq__sha256(&(apq__piece){"other", 5}, 1, other);
  assert_int_equal(apq__db_load_artifact(db, id, &loaded, &size, NULL), APQ_NOT_FOUND);
  assert_int_equal(apq__db_add_artifact(db, id, "sm_90a", "nvrtc 12.4", image, sizeof image, NULL),
                   APQ_OK);
  assert_int_equal(apq__db_add_artifact(db, id, "sm_90a", "nvrtc 12.4", image, sizeof image, NULL),
                   APQ_OK);
  assert_int_equal(apq__db_load_artifact(db, id, &loaded, &size, NULL), APQ_OK);
  assert_int_equal(size, sizeof image);
  assert_memory_equal(loaded, image, size);
  apq__free(loaded);
  assert_int_equal(apq__db_load_artifact(db, other, &loaded, &size, NULL), APQ_NOT_FOUND);
  assert_null(loaded);
  /* An id of another kind may hold any bytes, and the newest compiler's are given. */
  assert_int_equal(apq__db_add_artifact(db, other, "sm_90a", "nvrtc 13.0", "new", 3, NULL), APQ_OK);
  assert_int_equal(apq__db_add_artifact(db, other, "sm_90a", "nvrtc 12.4", "old", 3, NULL), APQ_OK);
  assert_int_equal(apq__db_load_artifact(db, other, &loaded, &size, NULL), APQ_OK);
  assert_memory_equal(loaded, "new", 3);
  apq__free(loaded);
  assert_int_equal(apq__db_add_artifact(db, bad, "sm_90a", "c", "x", 1, NULL),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(apq__store_exec(db->store, "UPDATE artifact SET image = x'00'", NULL), APQ_OK);
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__db_load_artifact(db, id, &loaded, &size, &error), APQ_CORRUPT);
  assert_non_null(strstr(error.message, id));
  assert_null(loaded);
  char *text = NULL;
  assert_int_equal(apq__db_export(db, APQ__EXPORT_ARTIFACTS, &text, &error), APQ_CORRUPT);
  assert_null(text);
  apq_error_clear(&error);
  apq__db_close(db);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(claims_exclude_others_until_released),
      TEST(claims_of_the_dead_expire),
      TEST(processes_share_the_work_without_repeating_it),
      TEST(tuned_is_of_one_gpu_problem_objective_and_space),
      TEST(known_is_what_was_measured_or_failed_here),
      TEST(failures_keep_their_whole_log),
      TEST(objects_are_checked_against_their_digest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
