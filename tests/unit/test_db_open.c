/* Opening: what is not there, not ours, damaged, older, newer or not writable. */
#include "db_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "db_impl.h"
#include "db_schema.h"

static void write_text(const char *path, const void *data, size_t size) {
  apq_error error = APQ_ERROR_INIT;
  if (apq__write_file(path, data, size, &error)) fail_msg("%s", error.message);
}

static void assert_same_content(const char *path, const void *data, size_t size) {
  char *have = NULL;
  size_t have_size = 0;
  assert_int_equal(apq__read_file(path, &have, &have_size, NULL), APQ_OK);
  assert_int_equal(have_size, size);
  assert_memory_equal(have, data, size);
  apq__free(have);
}

static void a_new_file_and_its_folders_are_made(void **state) {
  char path[512];
  path_in(*state, "a/b c/100%#?.db", path);
  apq__db *db = open_for(path, APQ__DB_WRITE);
  assert_string_equal(apq__db_path(db), path);
  add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
  apq__db_close(db);
  db = open_for(path, APQ__DB_READ);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 1.00;");
  apq__problem problem = problem_of(1);
  apq__variant variant = variant_of("a=1", "h");
  apq__measurement measurement = time_of(1e-6, "r", 1);
  assert_int_equal(apq__db_add_measurement(db, &real_gpu, &problem, &variant, &measurement, NULL),
                   APQ_READ_ONLY);
  assert_int_equal(apq__db_claim(db, &real_gpu, &problem, "me", 1, NULL), APQ_READ_ONLY);
  apq__db_close(db);
  apq__db_close(NULL);
}

static void names_that_sqlite_treats_specially_are_files(void **state) {
  char before[512];
  assert_non_null(getcwd(before, sizeof before));
  assert_int_equal(chdir(*state), 0);
  const char *names[] = {":memory:", "file:x?mode=memory", "plain.db"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    apq__db_close(open_for(names[i], APQ__DB_WRITE));
    assert_int_equal(access(names[i], F_OK), 0);
    apq__db_close(open_for(names[i], APQ__DB_READ));
  }
  assert_int_equal(chdir(before), 0);
}

static void what_is_not_there_is_not_found(void **state) {
  char path[512];
  apq__db *db = NULL;
  apq_error error = APQ_ERROR_INIT;
  path_in(*state, "none.db", path);
  assert_int_equal(apq__db_open(path, APQ__DB_READ, &db, NULL, &error), APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, path));
  assert_int_equal(access(path, F_OK), -1);
  /* An empty file is what a process leaves that was stopped before its first commit. */
  write_text(path, "", 0);
  assert_int_equal(apq__db_open(path, APQ__DB_READ, &db, NULL, &error), APQ_NOT_FOUND);
  assert_null(db);
  apq__db_close(open_for(path, APQ__DB_WRITE));
  assert_int_equal(count_files(*state, "none.db"), 1);
  assert_int_equal(apq__db_open(*state, APQ__DB_READ, &db, NULL, &error), APQ_IO);
  assert_int_equal(apq__db_open(*state, APQ__DB_WRITE, &db, NULL, &error), APQ_IO);
  assert_non_null(strstr(error.message, *state));
  apq_error_clear(&error);
}

/* Refused for reading; set aside for writing, unchanged, and a working one in its place. */
static void assert_set_aside(void *folder, const char *name, const void *data, size_t size,
                             const char *reason) {
  char path[512], aside[600], note[256];
  apq__db *db = NULL;
  apq_error error = APQ_ERROR_INIT;
  path_in(folder, name, path);
  snprintf(aside, sizeof aside, "%s.set-aside-1", path);
  write_text(path, data, size);
  assert_int_equal(apq__db_open(path, APQ__DB_READ, &db, note, &error), APQ_CORRUPT);
  assert_non_null(strstr(error.message, path));
  if (!strstr(error.message, reason)) fail_msg("'%s' has no '%s'", error.message, reason);
  assert_same_content(path, data, size);
  assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, &error), APQ_OK);
  assert_non_null(strstr(note, path));
  assert_non_null(strstr(note, ".set-aside-1'"));
  assert_same_content(aside, data, size);
  add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
  apq__db_close(db);
  assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, &error), APQ_OK);
  assert_string_equal(note, "");
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 1.00;");
  apq__db_close(db);
  apq_error_clear(&error);
}

/* The bytes of a database made by `sql`. */
static char *database_of(void *folder, const char *sql, size_t *size) {
  char path[512], *data = NULL;
  apq__store *store = NULL;
  unlink(path_in(folder, "made.db", path));
  assert_int_equal(apq__store_open(path, APQ__STORE_WRITE, &store, NULL), APQ_OK);
  assert_int_equal(apq__db_migrate(store, 0, APQ__DB_VERSION, NULL), APQ_OK);
  apq_error error = APQ_ERROR_INIT;
  if (apq__store_exec(store, sql, &error)) fail_msg("%s", error.message);
  apq__store_close(store);
  assert_int_equal(apq__read_file(path, &data, size, NULL), APQ_OK);
  unlink(path);
  return data;
}

static void foreign_files_are_set_aside(void **state) {
  size_t size = 0;
  assert_set_aside(*state, "text.db", "hello, this is no database", 26, "not a database");
  char *zeros = calloc(1, 10000);
  assert_set_aside(*state, "zeros.db", zeros, 10000, "not a database");
  free(zeros);
  char *data = database_of(*state, "PRAGMA application_id = 7", &size);
  assert_set_aside(*state, "other.db", data, size, "another program");
  apq__free(data);
  data = database_of(*state, "PRAGMA application_id = 0; PRAGMA user_version = 0", &size);
  assert_set_aside(*state, "plain.db", data, size, "another program");
  apq__free(data);
  data = database_of(*state, "PRAGMA user_version = 99", &size);
  assert_set_aside(*state, "newer.db", data, size, "version 99");
  apq__free(data);
}

/* Damage that a reader meets only where it reads; a writer looks everywhere. */
static void altered_schemas_and_rows_are_set_aside(void **state) {
  const char *alterations[] = {
      "DROP VIEW winner",
      "DROP TRIGGER measurement_no_update",
      ("DROP TRIGGER measurement_is_honest; CREATE TRIGGER measurement_is_honest BEFORE INSERT ON"
       " measurement BEGIN SELECT 1; END"),
      "DROP TRIGGER measurement_no_update; UPDATE measurement SET p50 = p50 * 1.001",
      "DROP TRIGGER variant_no_update; UPDATE variant SET key = 'a=2'",
      "PRAGMA foreign_keys = OFF; DROP TRIGGER problem_no_delete; DELETE FROM problem",
      "UPDATE failure SET message = 'nothing'",
      "UPDATE winner_cache SET record = zeroblob(length(record))",
      "UPDATE tuned SET problem = 'x'",
  };
  char path[512], note[256];
  for (size_t i = 0; i < sizeof alterations / sizeof alterations[0]; i++) {
    char name[32];
    snprintf(name, sizeof name, "%zu.db", i);
    apq__db *db = open_for(path_in(*state, name, path), APQ__DB_WRITE);
    add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
    apq__problem problem = problem_of(1);
    apq__variant variant = variant_of("a=1", "h");
    assert_int_equal(apq__db_add_failure(db, &real_gpu, &problem, &variant, "run", "m", "l", NULL),
                     APQ_OK);
    assert_int_equal(apq__db_set_tuned(db, &real_gpu, &problem, "burst", "s", "h", NULL), APQ_OK);
    apq_error error = APQ_ERROR_INIT;
    if (apq__store_exec(db->store, alterations[i], &error))
      fail_msg("%s: %s", alterations[i], error.message);
    apq__db_close(db);
    assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, NULL), APQ_OK);
    if (!strstr(note, "set-aside-1")) fail_msg("%s: '%s'", alterations[i], note);
    assert_winners(db, NULL, NULL, "");
    apq__db_close(db);
  }
}

static void what_others_add_to_the_file_stays(void **state) {
  char path[512], note[256];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  assert_int_equal(
      apq__store_exec(db->store, "CREATE VIEW mine AS SELECT p50 FROM measurement", NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, NULL), APQ_OK);
  assert_string_equal(note, "");
  apq__db_close(db);
}

static void numbers_of_files_set_aside_grow(void **state) {
  char path[512], aside[600], note[256];
  path_in(*state, "apq.db", path);
  for (int i = 1; i <= 3; i++) {
    char text[64], number[32];
    apq__db *db = NULL;
    int size = snprintf(text, sizeof text, "damaged file number %d", i);
    write_text(path, text, (size_t)size);
    /* Its journal goes with it: it must not be rolled back into the new one. */
    snprintf(aside, sizeof aside, "%s-journal", path);
    write_text(aside, "journal", 7);
    assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, NULL), APQ_OK);
    apq__db_close(db);
    snprintf(number, sizeof number, ".set-aside-%d'", i);
    assert_non_null(strstr(note, number));
    snprintf(aside, sizeof aside, "%s.set-aside-%d", path, i);
    assert_same_content(aside, text, (size_t)size);
  }
}

/* Many processes find the same damaged file: one sets it aside, all work on the one new file. */
static void processes_set_one_file_aside_once(void **state) {
  char path[512];
  enum { PROCESSES = 8 };
  pid_t child[PROCESSES];
  write_text(path_in(*state, "apq.db", path), "damaged", 7);
  for (int i = 0; i < PROCESSES; i++) {
    child[i] = fork();
    if (child[i] == 0) {
      apq__db *db = NULL;
      if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL)) _exit(1);
      apq__problem problem = problem_of(1 + i);
      apq__variant variant = variant_of("a=1", "h");
      apq__measurement measurement = time_of(1e-6, "r", 1);
      if (apq__db_add_measurement(db, &real_gpu, &problem, &variant, &measurement, NULL)) _exit(2);
      apq__db_close(db);
      _exit(0);
    }
  }
  for (int i = 0; i < PROCESSES; i++) {
    int result = -1;
    waitpid(child[i], &result, 0);
    assert_int_equal(result, 0);
  }
  assert_int_equal(count_files(*state, "apq.db.set-aside-"), 1);
  apq__db *db = open_for(path, APQ__DB_READ);
  apq__db_counts counts;
  assert_int_equal(apq__db_count(db, &counts, NULL), APQ_OK);
  assert_int_equal(counts.measurements, PROCESSES);
  apq__db_close(db);
}

/* A file of version 1 with `count` problems measured: step 2 undone, so that what step 1 made
 * remains. */
static void make_version_1(const char *path, int count) {
  apq__store *store = NULL;
  apq__db *db = open_for(path, APQ__DB_WRITE);
  for (int i = 0; i < count; i++) add_time(db, &real_gpu, 1 + i, "a=1", "h", 1e-6, "r", 1);
  apq__db_close(db);
  assert_int_equal(apq__store_open(path, APQ__STORE_WRITE, &store, NULL), APQ_OK);
  assert_int_equal(apq__store_exec(store,
                                   "DROP TRIGGER measurement_pending; DROP TRIGGER failure_pending;"
                                   "DROP TRIGGER failure_withdrawn; DROP TABLE winner_pending;"
                                   "DROP TABLE winner_cache; PRAGMA user_version = 1",
                                   NULL),
                   APQ_OK);
  apq__store_close(store);
}

static void schema_of(apq__store *store, apq__text *out) {
  apq__rows rows;
  int more = 0;
  assert_int_equal(apq__rows_open(store,
                                  "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1",
                                  NULL, 0, &rows, NULL),
                   APQ_OK);
  while (!apq__rows_next(&rows, &more, NULL) && more)
    apq__text_add(out, "%s %s\n", apq__rows_text(&rows, 0), apq__rows_text(&rows, 1));
  apq__rows_close(&rows);
}

static void version_1_is_migrated_in_place(void **state) {
  char path[512], note[256];
  make_version_1(path_in(*state, "apq.db", path), 3);
  /* That is version 1. */
  apq__store *file = NULL, *model = NULL;
  apq__text have = {0}, want = {0};
  assert_int_equal(apq__store_open(path, APQ__STORE_READ, &file, NULL), APQ_OK);
  assert_int_equal(apq__store_open("model", APQ__STORE_MEMORY, &model, NULL), APQ_OK);
  assert_int_equal(apq__db_migrate(model, 0, 1, NULL), APQ_OK);
  schema_of(file, &have);
  schema_of(model, &want);
  assert_string_equal(have.data, want.data);
  apq__text_free(&have);
  apq__text_free(&want);
  apq__store_close(file);
  apq__store_close(model);
  const char *winners =
      "NVIDIA H200 1 h a=1 1.00;NVIDIA H200 2 h a=1 1.00;NVIDIA H200 3 h a=1 1.00;";
  /* A reader sees the winners, and leaves the file as it is. */
  char *before = NULL;
  size_t size = 0;
  assert_int_equal(apq__read_file(path, &before, &size, NULL), APQ_OK);
  apq__db *db = open_for(path, APQ__DB_READ);
  assert_winners(db, NULL, NULL, winners);
  apq__db_close(db);
  assert_same_content(path, before, size);
  apq__free(before);
  assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, NULL), APQ_OK);
  assert_non_null(strstr(note, "migrated from version 1 to 2"));
  assert_winners(db, NULL, NULL, winners);
  add_time(db, &real_gpu, 2, "a=2", "h", 0.5e-6, "r", 1);
  apq__db_close(db);
  assert_int_equal(apq__db_open(path, APQ__DB_WRITE, &db, note, NULL), APQ_OK);
  assert_string_equal(note, "");
  assert_winners(db, NULL, NULL,
                 "NVIDIA H200 1 h a=1 1.00;NVIDIA H200 2 h a=2 0.50;NVIDIA H200 3 h a=1 1.00;");
  assert_int_equal(count_files(*state, "apq.db"), 1);
  apq__db_close(db);
}

/* A row from another program, such as the sqlite3 shell, which knows nothing of the kept winners.
 */
static void rows_of_other_programs_count(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  apq__db *reader = open_for(path, APQ__DB_READ);
  add_time(db, &real_gpu, 1, "a=1", "h", 2e-6, "r", 1);
  add_time(db, &real_gpu, 1, "a=2", "h", 1e-6, "r", 1);
  apq__problem problem = problem_of(1);
  apq__variant variant = variant_of("a=2", "h");
  assert_int_equal(apq__db_add_failure(db, &real_gpu, &problem, &variant, "verify", "", "", NULL),
                   APQ_OK);
  assert_winners(reader, NULL, NULL, "NVIDIA H200 1 h a=1 2.00;");
  assert_int_equal(apq__store_exec(db->store, "DELETE FROM failure", NULL), APQ_OK);
  assert_winners(reader, NULL, NULL, "NVIDIA H200 1 h a=2 1.00;");
  apq__db_counts counts;
  assert_int_equal(apq__db_count(reader, &counts, NULL), APQ_OK);
  assert_int_equal(counts.winners, 1);
  apq__db_close(db);
  db = open_for(path, APQ__DB_WRITE);
  int64_t pending = -1;
  assert_int_equal(apq__store_integer(db->store, "SELECT count(*) FROM winner_pending", NULL, 0, -1,
                                      &pending, NULL),
                   APQ_OK);
  assert_int_equal(pending, 0);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=2 1.00;");
  apq__db_close(reader);
  apq__db_close(db);
}

/* Every table and column, in the documentation's table of them. */
static void the_schema_is_documented(void **state) {
  (void)state;
  char *text = NULL, row[64], name[80];
  size_t size = 0;
  apq__store *model = NULL;
  apq__rows rows;
  int more = 0, count = 0;
  assert_int_equal(apq__read_file(APQ_SOURCE_DIR "/docs/database.md", &text, &size, NULL), APQ_OK);
  assert_int_equal(apq__store_open("model", APQ__STORE_MEMORY, &model, NULL), APQ_OK);
  assert_int_equal(apq__db_migrate(model, 0, APQ__DB_VERSION, NULL), APQ_OK);
  assert_int_equal(apq__rows_open(model,
                                  "SELECT s.name, c.name FROM sqlite_schema s JOIN"
                                  " pragma_table_info(s.name) c WHERE s.type = 'table'",
                                  NULL, 0, &rows, NULL),
                   APQ_OK);
  while (!apq__rows_next(&rows, &more, NULL) && more) {
    snprintf(row, sizeof row, "\n| `%s` |", apq__rows_text(&rows, 0));
    snprintf(name, sizeof name, "`%s`", apq__rows_text(&rows, 1));
    const char *line = strstr(text, row);
    const char *found = line ? strstr(line, name) : NULL;
    if (!found || found > strchr(line + 1, '\n')) fail_msg("%s of%s is not documented", name, row);
    count++;
  }
  assert_true(count > 60);
  apq__rows_close(&rows);
  apq__store_close(model);
  apq__free(text);
}

/* ---- where nothing can be written ---- */

/* Runs `body` in a child that is not root, for whom permissions count; its exit status. */
static int as_plain_user(int (*body)(const char *folder), const char *folder) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(100);
    _exit(body(folder));
  }
  int result = -1;
  waitpid(child, &result, 0);
  return WIFEXITED(result) ? WEXITSTATUS(result) : -1;
}

static int count_one(const apq__winner *winner, void *user) {
  (void)winner;
  ++*(int *)user;
  return 0;
}

static int read_only_body(const char *folder) {
  char path[512];
  const char *names[] = {"apq.db", "wal.db", "old.db"};
  for (int i = 0; i < 3; i++) {
    apq__db *db = NULL;
    int count = 0;
    if (apq__db_open(path_in((void *)(uintptr_t)folder, names[i], path), APQ__DB_READ, &db, NULL,
                     NULL))
      return 10 + i;
    if (apq__db_winners(db, NULL, NULL, count_one, &count, NULL) || count != 1) return 20 + i;
    apq__db_close(db);
  }
  apq__db *db = NULL;
  apq_error error = APQ_ERROR_INIT;
  path_in((void *)(uintptr_t)folder, "apq.db", path);
  if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, &error) != APQ_READ_ONLY) return 30;
  if (!strstr(error.message, folder)) return 31;
  path_in((void *)(uintptr_t)folder, "sub/apq.db", path);
  if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, &error) != APQ_READ_ONLY) return 32;
  if (!strstr(error.message, folder)) return 33;
  path_in((void *)(uintptr_t)folder, "damaged.db", path);
  if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, &error) != APQ_READ_ONLY) return 34;
  apq_error_clear(&error);
  return 0;
}

static void a_read_only_folder_can_be_read(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
  apq__db_close(db);
  make_version_1(path_in(*state, "old.db", path), 1);
  db = open_for(path_in(*state, "wal.db", path), APQ__DB_WRITE);
  add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
  assert_int_equal(apq__store_run(db->store, "PRAGMA journal_mode = WAL", NULL, 0, NULL), APQ_OK);
  apq__db_close(db);
  write_text(path_in(*state, "damaged.db", path), "damaged", 7);
  const char *names[] = {"apq.db", "old.db", "wal.db", "damaged.db"};
  for (int i = 0; i < 4; i++) assert_int_equal(chmod(path_in(*state, names[i], path), 0444), 0);
  assert_int_equal(chmod(*state, 0555), 0);
  assert_int_equal(as_plain_user(read_only_body, *state), 0);
  assert_int_equal(count_files(*state, ""), 2 + 4);
  assert_int_equal(chmod(*state, 0755), 0);
}

static int read_only_file_body(const char *folder) {
  char path[512];
  apq__db *db = NULL;
  apq_error error = APQ_ERROR_INIT;
  path_in((void *)(uintptr_t)folder, "apq.db", path);
  if (apq__db_open(path, APQ__DB_WRITE, &db, NULL, &error) != APQ_READ_ONLY) return 1;
  if (!strstr(error.message, path)) return 2;
  path_in((void *)(uintptr_t)folder, "secret.db", path);
  if (apq__db_open(path, APQ__DB_READ, &db, NULL, &error) != APQ_IO) return 3;
  if (!strstr(error.message, path)) return 4;
  apq_error_clear(&error);
  return 0;
}

static void a_file_that_cannot_be_written_is_said_so(void **state) {
  char path[512];
  apq__db_close(open_for(path_in(*state, "secret.db", path), APQ__DB_WRITE));
  assert_int_equal(chmod(path, 0), 0);
  apq__db_close(open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE));
  assert_int_equal(chmod(path, 0444), 0);
  assert_int_equal(chmod(*state, 0777), 0);
  assert_int_equal(as_plain_user(read_only_file_body, *state), 0);
}

/* A writer killed inside a transaction whose pages have reached the file leaves a journal to roll
 * back. */
static void a_killed_writer_leaves_the_last_commit(void **state) {
  char path[512], journal[600];
  apq__db *db = open_for(path_in(*state, "apq.db", path), APQ__DB_WRITE);
  add_time(db, &real_gpu, 1, "a=1", "h", 1e-6, "r", 1);
  apq__db_close(db);
  pid_t child = fork();
  if (child == 0) {
    apq__store *store = NULL;
    /* A cache of a few pages, so that changed ones are written before the commit. */
    if (apq__store_open(path, APQ__STORE_WRITE, &store, NULL) ||
        apq__store_exec(
            store,
            "PRAGMA cache_size = 4; BEGIN IMMEDIATE;"
            "INSERT INTO problem (key, p, q, m, n, k, out)"
            " WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000)"
            " SELECT 'key' || i, 1, 1, 1, 1, 1, 'i32' FROM c",
            NULL))
      _exit(1);
    kill(getpid(), SIGKILL);
  }
  int result = 0;
  waitpid(child, &result, 0);
  assert_true(WIFSIGNALED(result));
  snprintf(journal, sizeof journal, "%s-journal", path);
  assert_int_equal(access(journal, F_OK), 0);
  db = open_for(path, APQ__DB_READ);
  apq__db_counts counts;
  assert_int_equal(apq__db_count(db, &counts, NULL), APQ_OK);
  assert_int_equal(counts.problems, 1);
  assert_winners(db, NULL, NULL, "NVIDIA H200 1 h a=1 1.00;");
  apq__db_close(db);
  assert_int_equal(access(journal, F_OK), -1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(a_new_file_and_its_folders_are_made),
      TEST(names_that_sqlite_treats_specially_are_files),
      TEST(what_is_not_there_is_not_found),
      TEST(foreign_files_are_set_aside),
      TEST(altered_schemas_and_rows_are_set_aside),
      TEST(what_others_add_to_the_file_stays),
      TEST(numbers_of_files_set_aside_grow),
      TEST(processes_set_one_file_aside_once),
      TEST(version_1_is_migrated_in_place),
      TEST(rows_of_other_programs_count),
      cmocka_unit_test(the_schema_is_documented),
      TEST(a_read_only_folder_can_be_read),
      TEST(a_file_that_cannot_be_written_is_said_so),
      TEST(a_killed_writer_leaves_the_last_commit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
