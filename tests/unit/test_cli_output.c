/* What the program writes: JSON, tables, and the display of a tuning run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_writer.h"
#include "progress.h"
#include "text_table.h"

static void json_is_well_formed(void **state) {
  (void)state;
  apq__json json = {0};
  apq__json_begin_object(&json, NULL);
  apq__json_string(&json, "text", "a\"b\\c\n\x01\xc3\xa9");
  apq__json_string(&json, "none", NULL);
  apq__json_begin_array(&json, "list");
  apq__json_int(&json, NULL, -9007199254740993);
  apq__json_double(&json, NULL, 1.5e-6);
  apq__json_double(&json, NULL, NAN);
  apq__json_double(&json, NULL, INFINITY);
  apq__json_begin_object(&json, NULL);
  apq__json_end_object(&json);
  apq__json_end_array(&json);
  apq__json_begin_array(&json, "empty");
  apq__json_end_array(&json);
  apq__json_bool(&json, "yes", 2);
  apq__json_end_object(&json);
  assert_false(json.text.failed);
  assert_string_equal(json.text.data, "{\n"
                                      "  \"text\": \"a\\\"b\\\\c\\n\\u0001\xc3\xa9\",\n"
                                      "  \"none\": null,\n"
                                      "  \"list\": [\n"
                                      "    -9007199254740993,\n"
                                      "    1.5e-06,\n"
                                      "    null,\n"
                                      "    null,\n"
                                      "    {}\n"
                                      "  ],\n"
                                      "  \"empty\": [],\n"
                                      "  \"yes\": true\n"
                                      "}\n");
  apq__text_free(&json.text);
}

/* Everything written to the stream so far. */
static char *contents(FILE *stream) {
  static char text[4096];
  fflush(stream);
  rewind(stream);
  text[fread(text, 1, sizeof text - 1, stream)] = 0;
  return text;
}

static void tables_are_aligned(void **state) {
  (void)state;
  static const char *const headers[] = {"name", ">value", "about", NULL};
  FILE *stream = tmpfile();
  apq__table table;
  apq__table_init(&table, headers);
  apq__table_cell(&table, "a");
  apq__table_cell(&table, "%d", 12345678);
  apq__table_cell(&table, "x y");
  apq__table_cell(&table, "longer");
  apq__table_cell(&table, "%d", 1);
  apq__table_cell(&table, "%s", "");
  apq__table_print(&table, stream);
  assert_string_equal(contents(stream), "name       value  about\n"
                                        "a       12345678  x y\n"
                                        "longer         1  \n");
  fclose(stream);
  stream = tmpfile();
  apq__table_init(&table, headers);
  apq__table_print(&table, stream);
  assert_string_equal(contents(stream), "");
  fclose(stream);
}

static void progress_writes_plain_lines_to_files(void **state) {
  (void)state;
  FILE *stream = tmpfile();
  apq__progress progress;
  apq__progress_init(&progress, stream, 0);
  assert_false(progress.is_terminal);
  apq__problem problem = {2, 2, 16, 64, 128, APQ_DTYPE_F16, 0, 0};
  apq__config config;
  assert_int_equal(apq__config_parse("family=bmma,tile_m=16", &config, NULL), APQ_OK);
  apq__tune_progress at = {.phase = APQ__TUNE_CHECK,
                           .problem_count = 2,
                           .problem = &problem,
                           .total = 10,
                           .eta_seconds = -1};
  apq__progress_update(&at, &progress);
  at.done = 1;
  at.elapsed_seconds = 1; /* too soon for another line */
  apq__progress_update(&at, &progress);
  at.done = 5;
  at.failures = 2;
  at.best = &config;
  at.best_seconds = 11.2e-6;
  at.elapsed_seconds = 11;
  at.eta_seconds = 42;
  apq__progress_update(&at, &progress);
  at.note = "a candidate crashed";
  at.elapsed_seconds = 11.5;
  apq__progress_update(&at, &progress);
  at.note = NULL;
  apq__tune_result result = {.problem = problem,
                             .outcome = APQ__TUNE_TUNED,
                             .has_winner = 1,
                             .winner = config,
                             .seconds = 1e-5,
                             .default_seconds = 2e-5,
                             .modelled = 1,
                             .failed = 2};
  at.phase = APQ__TUNE_RESULT;
  at.result = &result;
  apq__progress_update(&at, &progress);
  apq__progress_end(&progress);
  assert_string_equal(
      contents(stream),
      "[1/2] W2A2 16x64x128 f16: checking 0/10\n"
      "[1/2] W2A2 16x64x128 f16: checking 5/10, 2 failed, ETA 0:42, best 11.2 us bmma tile_m=16\n"
      "a candidate crashed\n"
      "[1/2] W2A2 16x64x128 f16: tuned, modelled 10.0 us, 2.00x its default, 2 failed, bmma "
      "tile_m=16\n");
  fclose(stream);
}

static void progress_redraws_a_terminal_line(void **state) {
  (void)state;
  FILE *stream = tmpfile();
  apq__progress progress;
  apq__progress_init(&progress, stream, 0);
  progress.is_terminal = 1;
  apq__problem problem = {2, 2, 16, 64, 128, APQ_DTYPE_F16, 0, 0};
  apq__tune_progress at = {.phase = APQ__TUNE_CHECK,
                           .problem_count = 1,
                           .problem = &problem,
                           .total = 3,
                           .eta_seconds = -1};
  apq__progress_update(&at, &progress);
  at.done = 1;
  at.elapsed_seconds = 0.05;
  apq__progress_update(&at, &progress);
  at.elapsed_seconds = 0.2;
  apq__progress_update(&at, &progress);
  apq__progress_end(&progress);
  assert_string_equal(contents(stream), "[1/1] W2A2 16x64x128 f16: checking 0/3"
                                        "\r\033[K[1/1] W2A2 16x64x128 f16: checking 1/3\r\033[K");
  fclose(stream);

  stream = tmpfile();
  apq__progress_init(&progress, stream, 1);
  at.note = "nothing is shown";
  apq__progress_update(&at, &progress);
  apq__progress_end(&progress);
  assert_string_equal(contents(stream), "");
  fclose(stream);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_is_well_formed),
      cmocka_unit_test(tables_are_aligned),
      cmocka_unit_test(progress_writes_plain_lines_to_files),
      cmocka_unit_test(progress_redraws_a_terminal_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
