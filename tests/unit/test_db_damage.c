/* Random damage to a good file, and memory that runs out: nothing crashes, nothing wrong is read,
 * nothing is lost. */
#include "db_fixture.h"

#include "db_impl.h"
#include "failing_allocator.h"

static void fill(apq__db *db) {
  char config[64], id[65];
  for (int i = 0; i < 30; i++) {
    snprintf(config, sizeof config, "a=%d,family=bmma,tile_m=64", i % 10);
    add_time(db, i % 7 ? &real_gpu : &emulated_gpu, 1 + i % 5, config, i % 3 ? "h" : "g",
             1e-6 * (1 + i % 11), "run", 100 + i);
  }
  apq__problem problem = problem_of(1);
  apq__variant variant = variant_of("a=1", "h");
  apq__sha256(&(apq__piece){"x", 1}, 1, id);
  assert_int_equal(apq__db_add_failure(db, &real_gpu, &problem, &variant, "compile", "m",
                                       "a log\nof lines", NULL),
                   APQ_OK);
  assert_int_equal(apq__db_add_artifact(db, id, "sm_90a", "nvrtc", config, sizeof config, NULL),
                   APQ_OK);
}

/* The winners must be among these lines. */
static int is_among(const apq__winner *winner, void *user) {
  apq__text one = {0};
  append_winner(winner, &one);
  assert_non_null(strstr(user, one.data));
  apq__text_free(&one);
  return 0;
}

static int ignore_failure(const apq__failure *failure, void *user) {
  (void)user;
  return failure->log == NULL;
}

/* Reads all there is.  Any failure will do, but none that says that the library is at fault. */
static void read_damaged(const char *path, char *winners) {
  apq__db *db = NULL;
  apq__problem problem = problem_of(1);
  apq__db_counts counts;
  char *text = NULL;
  apq_status status = apq__db_open(path, APQ__DB_READ, &db, NULL, NULL);
  assert_true(status == APQ_OK || status == APQ_CORRUPT || status == APQ_NOT_FOUND ||
              status == APQ_IO || status == APQ_READ_ONLY);
  if (status) return;
  const apq_status reads[] = {
      apq__db_winners(db, NULL, NULL, is_among, winners, NULL),
      apq__db_measurements(db, NULL, &problem, is_among, winners, NULL),
      apq__db_failures(db, ignore_failure, NULL, NULL),
      apq__db_count(db, &counts, NULL),
      apq__db_export(db, APQ__EXPORT_ARTIFACTS, &text, NULL),
  };
  for (int i = 0; i < APQ__COUNT(reads); i++)
    assert_true(reads[i] == APQ_OK || reads[i] == APQ_CORRUPT || reads[i] == APQ_IO);
  apq__free(text);
  apq__db_close(db);
}

static void flip(char *data, size_t at, unsigned bit) {
  unsigned char *bytes = (unsigned char *)data;
  bytes[at] = (unsigned char)(bytes[at] ^ 1u << bit);
}

/* Changes some bytes; the new size. */
static size_t damage(char *data, size_t size, uint64_t *seed, int kind) {
  uint64_t r = apq__random(seed);
  size_t at = (size_t)(r % size);
  switch (kind % 5) {
  case 0:
    return at;
  case 1:
    flip(data, at, r >> 40 & 7);
    return size;
  case 2:
    for (int i = 0; i < 8; i++) {
      r = apq__random(seed);
      flip(data, r % size, r >> 40 & 7);
    }
    return size;
  /* The header decides most. */
  case 3:
    flip(data, r % 100, r >> 40 & 7);
    return size;
  default:
    for (size_t i = at; i < at + 64 && i < size; i++) data[i] = (char)apq__random(seed);
    return size;
  }
}

static int has_line(const apq__winner *winner, void *user) {
  return append_winner(winner, user);
}

static void random_damage_loses_nothing(void **state) {
  char path[512], aside[600], note[256];
  char *good = NULL, *export = NULL;
  size_t size = 0;
  apq__text all = {0}, winners = {0};
  apq__db *db = open_for(path_in(*state, "good.db", path), APQ__DB_WRITE);
  fill(db);
  assert_int_equal(apq__db_each_measurement(db, has_line, &all, NULL), APQ_OK);
  assert_int_equal(apq__db_winners(db, NULL, NULL, has_line, &winners, NULL), APQ_OK);
  assert_int_equal(apq__db_export(db, 0, &export, NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(apq__read_file(path, &good, &size, NULL), APQ_OK);
  uint64_t seed = 2024;
  int set_aside = 0;
  for (int i = 0; i < 300; i++) {
    char *damaged = malloc(size);
    memcpy(damaged, good, size);
    size_t damaged_size = damage(damaged, size, &seed, i);
    path_in(*state, "apq.db", path);
    assert_int_equal(apq__write_file(path, damaged, damaged_size, NULL), APQ_OK);
    read_damaged(path, all.data);
    apq_error error = APQ_ERROR_INIT;
    if (apq__db_open(path, APQ__DB_WRITE, &db, note, &error)) fail_msg("%d: %s", i, error.message);
    snprintf(aside, sizeof aside, "%s.set-aside-1", path);
    if (note[0] && access(aside, F_OK) == 0) {
      char *kept = NULL;
      size_t kept_size = 0;
      assert_int_equal(apq__read_file(aside, &kept, &kept_size, NULL), APQ_OK);
      assert_int_equal(kept_size, damaged_size);
      apq__free(kept);
      set_aside++;
    } else if (damaged_size) {
      /* The damage was where nothing is. */
      char *now = NULL;
      assert_int_equal(apq__db_export(db, 0, &now, NULL), APQ_OK);
      if (strcmp(now, export) != 0) fail_msg("%d: other content", i);
      assert_winners(db, NULL, NULL, winners.data);
      apq__free(now);
    }
    add_time(db, &real_gpu, 9, "a=1", "h", 1e-6, "r", 1);
    apq__db_close(db);
    free(damaged);
    unlink(aside);
    unlink(path);
    assert_int_equal(count_files(*state, "apq.db"), 0);
  }
  assert_true(set_aside > 100 && set_aside < 300);
  apq__text_free(&all);
  apq__text_free(&winners);
  apq__free(export);
  apq__free(good);
}

/* ---- memory ---- */

static apq_status open_new(const char *path) {
  apq__db *db = NULL;
  unlink(path);
  apq_status status = apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL);
  apq__db_close(db);
  return status;
}

static apq_status open_damaged(const char *path) {
  apq__db *db = NULL;
  char aside[600];
  snprintf(aside, sizeof aside, "%s.set-aside-1", path);
  unlink(aside);
  FILE *file = fopen(path, "wb");
  fputs("damaged", file);
  fclose(file);
  apq_status status = apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL);
  apq__db_close(db);
  return status;
}

static int count_winner(const apq__winner *winner, void *user) {
  (void)winner;
  ++*(int *)user;
  return 0;
}

static apq_status read_winners(const char *path) {
  apq__db *db = NULL;
  int count = 0;
  apq_status status = apq__db_open(path, APQ__DB_READ, &db, NULL, NULL);
  if (!status) status = apq__db_winners(db, NULL, NULL, count_winner, &count, NULL);
  if (!status) assert_int_equal(count, 1);
  apq__db_close(db);
  return status;
}

static apq_status add_one(const char *path) {
  apq__db *db = NULL;
  apq__problem problem = problem_of(1);
  apq__variant variant = {.hash = "h"};
  apq__measurement measurement = time_of(1e-6, "r", 1);
  apq_status status = apq__config_set(&variant.config, "a", "1", NULL);
  if (!status) status = apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL);
  if (!status)
    status = apq__db_add_measurement(db, &real_gpu, &problem, &variant, &measurement, NULL);
  apq__db_close(db);
  return status;
}

static apq_status copy_over(const char *path) {
  char to[600];
  apq__db *from = NULL, *db = NULL;
  char *text = NULL;
  snprintf(to, sizeof to, "%s-copy", path);
  apq_status status = apq__db_open(path, APQ__DB_READ, &from, NULL, NULL);
  if (!status) status = apq__db_open(to, APQ__DB_WRITE, &db, NULL, NULL);
  if (!status) status = apq__db_export(from, APQ__EXPORT_ARTIFACTS, &text, NULL);
  if (!status) status = apq__db_import(db, text, "text", NULL);
  apq__free(text);
  apq__db_close(from);
  apq__db_close(db);
  return status;
}

static apq_status load_object(const char *path) {
  apq__db *db = NULL;
  void *image = NULL;
  size_t size = 0;
  char id[65];
  apq__sha256(&(apq__piece){"x", 1}, 1, id);
  apq_status status = apq__db_open(path, APQ__DB_WRITE, &db, NULL, NULL);
  if (!status) status = apq__db_add_artifact(db, id, "sm_90a", "nvrtc", "bytes", 5, NULL);
  if (!status) status = apq__db_load_artifact(db, id, &image, &size, NULL);
  apq__free(image);
  apq__db_close(db);
  return status;
}

/* Fails the first allocation, then the second, and so on until the work succeeds. */
static void each_allocation_may_fail(void **state) {
  char path[512];
  apq_status (*const works[])(const char *) = {open_new,     open_damaged, add_one,    add_one,
                                               read_winners, copy_over,    load_object};
  path_in(*state, "apq.db", path);
  for (int i = 0; i < APQ__COUNT(works); i++) {
    apq_status status = APQ_OUT_OF_MEMORY;
    for (long n = 1; status; n++) {
      failing_allocator allocator = {.fail_at = n};
      assert_int_equal(failing_install(&allocator), APQ_OK);
      status = works[i](path);
      assert_int_equal(apq_set_allocator(NULL), APQ_OK);
      assert_int_equal(allocator.live, 0);
      if (status != APQ_OUT_OF_MEMORY && (status || n <= allocator.calls))
        fail_msg("work %d, allocation %ld of %ld: %s", i, n, allocator.calls,
                 apq_status_name(status));
    }
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(random_damage_loses_nothing),
      TEST(each_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
