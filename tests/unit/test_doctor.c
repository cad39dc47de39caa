/* The diagnosis of a machine: what is there, what is not, and what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "doctor.h"
#include "failing_allocator.h"
#include "host.h"

static char folder[256];

static int make_folder(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "%s/test_doctor.XXXXXX", APQ_BINARY_DIR);
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char *command = apq__format("rm -rf '%s'", folder);
  int result = system(command);
  apq__free(command);
  return result;
}

static const apq__finding *find(const apq__diagnosis *diagnosis, const char *name) {
  for (int i = 0; i < diagnosis->count; i++)
    if (strcmp(diagnosis->finding[i].name, name) == 0) return &diagnosis->finding[i];
  fail_msg("no finding '%s'", name);
  return &diagnosis->finding[0];
}

static apq__diagnosis diagnose(const char *database, const char *cache_dir) {
  apq__diagnosis diagnosis;
  assert_int_equal(apq__diagnose(database, cache_dir, &diagnosis, NULL), APQ_OK);
  return diagnosis;
}

static void every_finding_says_what_follows(void **state) {
  (void)state;
  const char *names[] = {"driver", "nvrtc", "cublaslt", "host compiler", "cache", "database"};
  char *database = apq__format("%s/absent.db", folder);
  apq__diagnosis diagnosis = diagnose(database, folder);
  apq__text text = {0};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) (void)find(&diagnosis, names[i]);
  for (int i = 0; i < diagnosis.count; i++) {
    const apq__finding *finding = &diagnosis.finding[i];
    assert_true(strlen(finding->found) > 0);
    assert_true((finding->follows == NULL) == (finding->health == APQ__HEALTH_OK));
  }
  assert_int_equal(find(&diagnosis, "cache")->health, APQ__HEALTH_OK);
  assert_int_equal(find(&diagnosis, "database")->health, APQ__HEALTH_MISSING);
  assert_non_null(strstr(find(&diagnosis, "database")->found, database));
  apq__diagnosis_write(&diagnosis, &text);
  assert_int_equal(text.failed, 0);
  assert_non_null(strstr(text.data, diagnosis.verdict));
  printf("%s", text.data);
  apq__text_free(&text);
  apq__diagnosis_free(&diagnosis);
  apq__free(database);
}

static void a_database_is_counted_or_called_broken(void **state) {
  (void)state;
  char *good = apq__format("%s/good.db", folder), *bad = apq__format("%s/bad.db", folder);
  apq__db *db = NULL;
  char note[256];
  assert_int_equal(apq__db_open(good, APQ__DB_WRITE, &db, note, NULL), APQ_OK);
  apq__db_close(db);
  apq__diagnosis diagnosis = diagnose(good, folder);
  assert_int_equal(find(&diagnosis, "database")->health, APQ__HEALTH_OK);
  assert_non_null(strstr(find(&diagnosis, "database")->found, "0 winners"));
  apq__diagnosis_free(&diagnosis);
  const char text[] = "this is not a database, whatever its name says";
  assert_int_equal(apq__write_file(bad, text, sizeof text, NULL), APQ_OK);
  diagnosis = diagnose(bad, folder);
  assert_int_equal(find(&diagnosis, "database")->health, APQ__HEALTH_BROKEN);
  assert_non_null(strstr(find(&diagnosis, "database")->found, "bad.db"));
  apq__diagnosis_free(&diagnosis);
  /* Looking leaves it where it is. */
  assert_int_equal(access(bad, F_OK), 0);
  apq__free(good);
  apq__free(bad);
}

static void a_cache_that_cannot_be_is_broken(void **state) {
  (void)state;
  char *file = apq__format("%s/file", folder), *under = apq__format("%s/file/cache", folder);
  assert_true(file && under);
  assert_int_equal(apq__write_file(file, "x", 1, NULL), APQ_OK);
  apq__diagnosis diagnosis = diagnose(NULL, under);
  assert_int_equal(find(&diagnosis, "cache")->health, APQ__HEALTH_BROKEN);
  assert_non_null(strstr(find(&diagnosis, "cache")->found, under));
  apq__diagnosis_free(&diagnosis);
  apq__free(file);
  apq__free(under);
}

static void memory_may_run_out_anywhere(void **state) {
  (void)state;
  int reached_the_end = 0;
  for (long i = 1; i < 2000 && !reached_the_end; i++) {
    failing_allocator count = {.fail_at = i};
    apq__diagnosis diagnosis;
    assert_int_equal(failing_install(&count), APQ_OK);
    apq_status status = apq__diagnose(NULL, folder, &diagnosis, NULL);
    apq__diagnosis_free(&diagnosis);
    apq_set_allocator(NULL);
    assert_true(status == APQ_OK || status == APQ_OUT_OF_MEMORY);
    assert_int_equal(count.live, 0);
    reached_the_end = count.calls < i;
  }
  assert_true(reached_the_end);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_finding_says_what_follows),
      cmocka_unit_test(a_database_is_counted_or_called_broken),
      cmocka_unit_test(a_cache_that_cannot_be_is_broken),
      cmocka_unit_test(memory_may_run_out_anywhere),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
