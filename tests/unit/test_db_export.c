/* Export and import as text. */
#include "db_fixture.h"

#include "db_impl.h"

static char *export_of(apq__db *db, int what) {
  char *text = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__db_export(db, what, &text, &error)) fail_msg("export: %s", error.message);
  return text;
}

static void import_into(apq__db *db, const char *text) {
  apq_error error = APQ_ERROR_INIT;
  if (apq__db_import(db, text, "test.txt", &error)) fail_msg("import: %s", error.message);
}

/* A database of some of each kind of row; two seeds share part of their rows. */
static apq__db *make_database(void *folder, const char *name, uint64_t seed) {
  char path[512], config[32], id[65];
  apq__db *db = open_for(path_in(folder, name, path), APQ__DB_WRITE);
  assert_int_equal(apq__store_exec(db->store, "PRAGMA synchronous = OFF", NULL), APQ_OK);
  for (int i = 0; i < 40; i++) {
    uint64_t r = apq__random(&seed);
    snprintf(config, sizeof config, "a=%d", (int)(r & 3));
    apq__problem problem = problem_of(1 + (int)(r >> 8 & 3));
    apq__variant variant = variant_of(config, "h");
    add_time(db, r >> 16 & 1 ? &real_gpu : &emulated_gpu, problem.m, config, "h",
             1e-6 * (double)(1 + (r >> 24 & 7)) / 3, r >> 32 & 1 ? "run\tone" : "run2",
             (int64_t)(r >> 33 & 7));
    if (i % 8 == 0)
      assert_int_equal(apq__db_add_failure(db, &real_gpu, i ? &problem : NULL, &variant, "compile",
                                           "a\tmessage\\", "line 1\nline 2\n", NULL),
                       APQ_OK);
    if (i % 8 == 1)
      assert_int_equal(
          apq__db_set_tuned(db, &real_gpu, &problem, "burst", "my space", config, NULL), APQ_OK);
    if (i % 8 == 2) {
      apq__sha256(&(apq__piece){config, strlen(config)}, 1, id);
      assert_int_equal(apq__db_add_artifact(db, id, "sm_90a", i > 20 ? "nvrtc 13.0" : "nvrtc 12.4",
                                            &r, 1 + (size_t)(r & 7), NULL),
                       APQ_OK);
    }
  }
  return db;
}

static void an_export_makes_the_same_database(void **state) {
  char path[512];
  for (int what = 0; what < 2; what++) {
    apq__db *from = make_database(*state, what ? "from1.db" : "from0.db", 1);
    apq__db *to = open_for(path_in(*state, what ? "to1.db" : "to0.db", path), APQ__DB_WRITE);
    char *text = export_of(from, what);
    import_into(to, text);
    char *again = export_of(to, what);
    assert_string_equal(text, again);
    assert_true(strncmp(text, "apq-database\t1\n", 15) == 0);
    assert_non_null(
        strstr(text, "\nmeasurement\tNVIDIA H200\tsm_90a\t13.0\tnvrtc 13.0\t132\t0\tk=4096"));
    assert_non_null(strstr(text, "\nfailure\t"));
    assert_non_null(strstr(text, "\ntuned\t"));
    assert_int_equal(strstr(text, "\nartifact\t") != NULL, what);
    apq__text winners = {0};
    assert_int_equal(apq__db_winners(from, NULL, NULL, append_winner, &winners, NULL), APQ_OK);
    assert_winners(to, NULL, NULL, winners.data);
    apq__text_free(&winners);
    apq__free(text);
    apq__free(again);
    apq__db_close(from);
    apq__db_close(to);
  }
}

static void order_and_repetition_do_not_matter(void **state) {
  char path[512];
  apq__db *a = make_database(*state, "a.db", 1), *b = make_database(*state, "b.db", 2);
  apq__db *ab = open_for(path_in(*state, "ab.db", path), APQ__DB_WRITE);
  apq__db *ba = open_for(path_in(*state, "ba.db", path), APQ__DB_WRITE);
  char *text_a = export_of(a, APQ__EXPORT_ARTIFACTS), *text_b = export_of(b, APQ__EXPORT_ARTIFACTS);
  import_into(ab, text_a);
  import_into(ab, text_b);
  import_into(ab, text_a);
  import_into(ba, text_b);
  import_into(ba, text_a);
  char *one = export_of(ab, APQ__EXPORT_ARTIFACTS), *other = export_of(ba, APQ__EXPORT_ARTIFACTS);
  assert_string_equal(one, other);
  assert_true(strlen(one) > strlen(text_a));
  apq__text winners = {0};
  assert_int_equal(apq__db_winners(ab, NULL, NULL, append_winner, &winners, NULL), APQ_OK);
  assert_winners(ba, NULL, NULL, winners.data);
  apq__text_free(&winners);
  /* Into a database that has half of it already. */
  import_into(a, text_b);
  char *third = export_of(a, APQ__EXPORT_ARTIFACTS);
  assert_string_equal(one, third);
  char *texts[] = {text_a, text_b, one, other, third};
  for (int i = 0; i < 5; i++) apq__free(texts[i]);
  apq__db *databases[] = {a, b, ab, ba};
  for (int i = 0; i < 4; i++) apq__db_close(databases[i]);
}

static void an_export_of_winners_gives_the_same_winners(void **state) {
  char path[512];
  apq__db *from = make_database(*state, "from.db", 4);
  apq__db *to = open_for(path_in(*state, "to.db", path), APQ__DB_WRITE);
  char *text = export_of(from, APQ__EXPORT_WINNERS), *all = export_of(from, 0);
  import_into(to, text);
  assert_true(strlen(text) < strlen(all));
  assert_null(strstr(text, "\nfailure\t"));
  apq__text winners = {0};
  assert_int_equal(apq__db_winners(from, NULL, NULL, append_winner, &winners, NULL), APQ_OK);
  assert_winners(to, NULL, NULL, winners.data);
  apq__db_counts counts;
  assert_int_equal(apq__db_count(to, &counts, NULL), APQ_OK);
  assert_int_equal(counts.measurements, counts.winners);
  apq__text_free(&winners);
  apq__free(text);
  apq__free(all);
  apq__db_close(from);
  apq__db_close(to);
}

/* Puts a right checksum under `body`. */
static char *with_checksum(const char *body) {
  char sha256[65];
  apq__sha256(&(apq__piece){body, strlen(body)}, 1, sha256);
  return apq__format("%schecksum\t%s\n", body, sha256);
}

static void assert_refused(apq__db *db, const char *text, const char *line, const char *reason) {
  apq_error error = APQ_ERROR_INIT;
  char *before = export_of(db, APQ__EXPORT_ARTIFACTS);
  assert_int_equal(apq__db_import(db, text, "test.txt", &error), APQ_PARSE);
  assert_int_equal(error.status, APQ_PARSE);
  if (!strstr(error.message, line) || !strstr(error.message, reason))
    fail_msg("'%s' has no '%s' or no '%s'", error.message, line, reason);
  char *after = export_of(db, APQ__EXPORT_ARTIFACTS);
  assert_string_equal(before, after);
  apq__free(before);
  apq__free(after);
  apq_error_clear(&error);
}

#define GOOD_LINE                                                                                  \
  "measurement\tG\tsm_90a\t13.0\tnvrtc\t132\t0\tk=1,m=1,n=1,out=i32,p=1,q=1\tburst\ta="            \
  "1\th\tr\t0\t1"                                                                                  \
  "\t1e-06\t1e-06\t1e-06\t1e-06\t1e-06\t1\t0\t0\t0\t7\t\n"

static void malformed_text_is_refused_whole(void **state) {
  char path[512];
  const struct {
    const char *body, *line, *reason;
  } bad[] = {
      {"", "test.txt:1", "first line"},
      {"apq-database\t2\n", "test.txt:1", "first line"},
      {"apq-database\t1\n" GOOD_LINE "\n", "test.txt:3", "unknown kind"},
      {"apq-database\t1\n" GOOD_LINE "claim\tx\n", "test.txt:3", "unknown kind"},
      {"apq-database\t1\n" GOOD_LINE "tuned\tx\n", "test.txt:3", "fields"},
      {"apq-database\t1\n" GOOD_LINE "measurement\tG\n", "test.txt:3", "fields"},
      {"apq-database\t1\n" GOOD_LINE
       "tuned\tG\t132\tsm_90a\tk=1,m=1,n=1,out=i32,p=1,q=9\tburst\ts\th\t1\n",
       "test.txt:3", "'problem'"},
      {"apq-database\t1\n" GOOD_LINE
       "tuned\tG\t1e2\tsm_90a\tk=1,m=1,n=1,out=i32,p=1,q=1\tburst\ts\th\t1\n",
       "test.txt:3", "'sm_count'"},
      {"apq-database\t1\n" GOOD_LINE
       "tuned\tG\\q\t132\tsm_90a\tk=1,m=1,n=1,out=i32,p=1,q=1\tburst\ts\th\t1\n",
       "test.txt:3", "'gpu'"},
      {"apq-database\t1\n" GOOD_LINE
       "tuned\tG\t132\tan arch too long\tk=1,m=1,n=1,out=i32,p=1,q=1\tburst\ts\th\t1\n",
       "test.txt:3", "'arch'"},
      {"apq-database\t1\n" GOOD_LINE "measurement\tG\tsm_90a\t13.0\tnvrtc\t132\t0\tk=1,m=1,n=1,out="
       "i32,p=1,q=1\tburst\ta=1\th\tr\t0"
       "\t1\t1e-06\t1e-06\t1e-07\t1e-06\t1e-06\t1\t0\t0\t0\t8\t\n",
       "test.txt:3", "quantiles"},
      {"apq-database\t1\n" GOOD_LINE "measurement\tG\tsm_90a\t13.0\tnvrtc\t132\t0\tk=1,m=1,n=1,out="
       "i32,p=1,q=1\tburst\ta=1\th\tr\t1"
       "\t1\t1e-06\t1e-06\t1e-06\t1e-06\t1e-06\t1\t0\t0\t0\t8\t\n",
       "test.txt:3", "modelled"},
      {"apq-database\t1\n" GOOD_LINE "measurement\tG\tsm_90a\t13.0\tnvrtc\t132\t0\tk=1,m=1,n=1,out="
       "i32,p=1,q=1\tburst\ta=1\th\tr\t0"
       "\t1\tnan\t1e-06\t1e-06\t1e-06\t1e-06\t1\t0\t0\t0\t8\t\n",
       "test.txt:3", "'min'"},
      {"apq-database\t1\n" GOOD_LINE "artifact\tshort\tsm_90a\tnvrtc\tAAAA\n", "test.txt:3",
       "64 hexadecimal"},
      {"apq-database\t1\n" GOOD_LINE "artifact\tid\tsm_90a\tnvrtc\tAAA\n", "test.txt:3", "base64"},
  };
  apq__db *db = make_database(*state, "apq.db", 1);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char *text = with_checksum(bad[i].body);
    assert_refused(db, text, bad[i].line, bad[i].reason);
    apq__free(text);
  }
  assert_refused(db, "", "test.txt:1", "first line");
  assert_refused(db, "apq-database\t1\n", "test.txt:1", "checksum");
  assert_refused(db, "apq-database\t1\n" GOOD_LINE, "test.txt:2", "checksum");
  assert_refused(db, "apq-database\t1\n" GOOD_LINE "checksum\t00\n", "test.txt:3", "checksum");
  char *good = with_checksum("apq-database\t1\n" GOOD_LINE);
  char *changed = strstr(good, "burst");
  *changed = 'B';
  assert_refused(db, good, "test.txt:3", "checksum");
  *changed = 'b';
  import_into(db, good);
  /* A reader may not import. */
  apq__db *reader = open_for(path_in(*state, "apq.db", path), APQ__DB_READ);
  assert_int_equal(apq__db_import(reader, good, "test.txt", NULL), APQ_READ_ONLY);
  apq__free(good);
  apq__db_close(reader);
  apq__db_close(db);
}

/* Any one changed byte of an export, and any cut, is refused and changes nothing. */
static void damaged_exports_are_refused(void **state) {
  char path[512];
  apq__db *from = make_database(*state, "from.db", 1);
  apq__db *to = open_for(path_in(*state, "to.db", path), APQ__DB_WRITE);
  char *text = export_of(from, APQ__EXPORT_ARTIFACTS);
  uint64_t seed = 11;
  size_t length = strlen(text);
  for (int i = 0; i < 300; i++) {
    char *copy = apq__strdup(text);
    size_t at = (size_t)(apq__random(&seed) % (length - 1));
    copy[at] = i & 1 ? 0 : copy[at] == 'x' ? 'y' : 'x';
    assert_int_equal(apq__db_import(to, copy, "test.txt", NULL), APQ_PARSE);
    apq__free(copy);
  }
  apq__db_counts counts;
  assert_int_equal(apq__db_count(to, &counts, NULL), APQ_OK);
  assert_int_equal(counts.measurements + counts.failures + counts.artifacts + counts.variants, 0);
  apq__free(text);
  apq__db_close(from);
  apq__db_close(to);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      TEST(an_export_makes_the_same_database),
      TEST(order_and_repetition_do_not_matter),
      TEST(an_export_of_winners_gives_the_same_winners),
      TEST(malformed_text_is_refused_whole),
      TEST(damaged_exports_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
