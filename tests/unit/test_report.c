/* What a report says of made-up measurements whose order is known, whatever the model's constants
 * are. */
#include "db_fixture.h"

#include <math.h>

#include "failing_allocator.h"
#include "generator.h"
#include "report.h"
#include "report_page.h"

static const apq__environment gpu = {"Test GPU", "sm_80", "13.0", "nvrtc 13.0", 100, 0};
static const apq__environment odd_gpu = {"Odd GPU", "sm_42", "13.0", "nvrtc 13.0", 10, 0};
static const volatile sig_atomic_t stop;

enum { CONFIGS = 5, M = 16 };

typedef struct costed {
  char key[APQ__KEY_MAX];
  double cost;
} costed;

static int compare(const void *a, const void *b) {
  double x = ((const costed *)a)->cost, y = ((const costed *)b)->cost;
  return (x > y) - (x < y);
}

/* Kernels for M tokens by rising cost, all costs different. */
static void order_by_model(costed out[CONFIGS]) {
  static const char *const tiles[CONFIGS] = {
      "tile_m=16,tile_n=32,warps_m=1,warps_n=1", "tile_m=16,tile_n=64,warps_m=1,warps_n=2",
      "tile_m=64,tile_n=64,warps_m=2,warps_n=2", "tile_m=128,tile_n=64,warps_m=4,warps_n=2",
      "tile_m=32,tile_n=128,warps_m=1,warps_n=4"};
  apq__target target;
  apq__problem problem = problem_of(M);
  assert_int_equal(apq__target_emulated(gpu.arch, &target, NULL), APQ_OK);
  target.sm_count = gpu.sm_count;
  apq__target_fill_rates(&target);
  for (int i = 0; i < CONFIGS; i++) {
    char text[256];
    apq__config config;
    snprintf(text, sizeof text, "family=imma,p=2,q=4,out=f16,%s", tiles[i]);
    assert_int_equal(apq__config_parse(text, &config, NULL), APQ_OK);
    assert_int_equal(apq__config_complete(&config, NULL), APQ_OK);
    apq__config_key(&config, out[i].key);
    out[i].cost = apq__config_cost(&config, &problem, &target);
    assert_true(out[i].cost < 1);
  }
  qsort(out, CONFIGS, sizeof *out, compare);
  for (int i = 1; i < CONFIGS; i++) assert_true(out[i].cost > out[i - 1].cost);
}

static const char *hash_of(const char *family) {
  return apq__family_hash(apq__family_find(family), 0);
}

/* Kernel i of the model's order takes seconds[i]. */
static void add_run(apq__db *db, const double seconds[CONFIGS], const char *run, int64_t when) {
  costed order[CONFIGS];
  order_by_model(order);
  for (int i = 0; i < CONFIGS; i++)
    add_time(db, &gpu, M, order[i].key, hash_of("imma"), seconds[i], run, when);
}

static void read_report(apq__db *db, const apq__cli_options *options, apq__report *out) {
  const apq__cli cli = {options, &stop};
  apq_error error = APQ_ERROR_INIT;
  if (apq__report_read(&cli, db, out, &error)) fail_msg("report: %s", error.message);
}

static void is_near(double found, double wanted) {
  if (!(fabs(found - wanted) < 1e-12)) fail_msg("%.17g, wanted %.17g", found, wanted);
}

static void the_model_is_compared_with_the_newest_run(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "a.db", path), APQ__DB_WRITE);
  /* Ranks 2, 1, 4, 3, 5; in the run before, the model was right and all were faster. */
  const double before[] = {1e-7, 2e-7, 3e-7, 4e-7, 5e-7}, now[] = {2e-5, 1e-5, 4e-5, 3e-5, 5e-5};
  add_run(db, before, "a", 100);
  add_run(db, now, "b", 200);
  /* A kernel that is no more counts, without a cost. */
  add_time(db, &gpu, M, "family=gone,p=2,q=4", "0", 9e-5, "b", 200);
  apq__report report;
  const apq__cli_options options = {0};
  read_report(db, &options, &report);
  assert_int_equal(report.count, 1);
  const apq__report_entry *entry = &report.entry[0];
  assert_int_equal(entry->count, CONFIGS + 1);
  assert_true(entry->is_current);
  is_near(entry->winner.measurement.p50, 1e-5);
  is_near(entry->correlation, 0.8);
  assert_int_equal(entry->place, 2);
  is_near(entry->choice_ratio, 2);
  is_near(apq__report_tops(entry), 2.0 * M * 4096 * 4096 / 1e-5 * 1e-12);
  costed order[CONFIGS];
  order_by_model(order);
  assert_string_equal(entry->kernel[entry->choice].key, order[0].key);
  assert_string_equal(entry->kernel[CONFIGS].family, "gone");
  assert_true(isnan(entry->kernel[CONFIGS].cost));
  apq__report_free(&report);
  apq__db_close(db);
}

static void present_templates_go_before_past_ones(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "a.db", path), APQ__DB_WRITE);
  costed order[CONFIGS];
  order_by_model(order);
  add_time(db, &gpu, M, order[0].key, hash_of("imma"), 3e-5, "a", 100);
  add_time(db, &gpu, M, order[1].key, "past", 1e-5, "b", 200);
  /* Only past ones: the newest run, though an older one was faster. */
  add_time(db, &gpu, 256, order[0].key, "past", 1e-5, "c", 100);
  add_time(db, &gpu, 256, order[1].key, "more_past", 2e-5, "d", 200);
  apq__report report;
  const apq__cli_options options = {0};
  read_report(db, &options, &report);
  assert_int_equal(report.count, 2);
  assert_true(report.entry[0].is_current);
  is_near(report.entry[0].winner.measurement.p50, 3e-5);
  assert_int_equal(report.entry[0].count, 1);
  assert_true(isnan(report.entry[0].correlation));
  assert_false(report.entry[1].is_current);
  is_near(report.entry[1].winner.measurement.p50, 2e-5);
  apq__report_free(&report);
  apq__db_close(db);
}

static void an_unknown_arch_has_no_model(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "a.db", path), APQ__DB_WRITE);
  costed order[CONFIGS];
  order_by_model(order);
  for (int i = 0; i < CONFIGS; i++)
    add_time(db, &odd_gpu, M, order[i].key, hash_of("imma"), 1e-5 * (i + 1), "a", 100);
  apq__report report;
  const apq__cli_options options = {0};
  read_report(db, &options, &report);
  assert_int_equal(report.count, 1);
  assert_int_equal(report.entry[0].count, CONFIGS);
  assert_true(isnan(report.entry[0].correlation) && isnan(report.entry[0].choice_ratio));
  assert_int_equal(report.entry[0].place, 0);
  assert_int_equal(report.entry[0].choice, -1);
  apq__text page = {0};
  apq__report_page(&report, apq__db_path(db), &page);
  assert_false(page.failed);
  assert_non_null(strstr(page.data, "<td>sm_42</td>"));
  assert_null(strstr(page.data, "<figure>")); /* one m, and nothing to put over the times */
  apq__text_free(&page);
  apq__report_free(&report);
  apq__db_close(db);
}

static void the_page_shows_where_families_hand_over(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "a.db", path), APQ__DB_WRITE);
  static const struct {
    int m;
    double bmma, imma;
  } sweep[] = {{256, 3e-5, 2e-5}, {1, 1e-5, 2e-5}, {4096, 9e-5, 8e-5}, {16, 1e-5, 2e-5}};
  for (int i = 0; i < 4; i++) {
    add_time(db, &gpu, sweep[i].m, "family=bmma,p=2,q=4", hash_of("bmma"), sweep[i].bmma, "a", 100);
    add_time(db, &gpu, sweep[i].m, "family=imma,p=2,q=4", hash_of("imma"), sweep[i].imma, "a", 100);
  }
  apq__report report;
  const apq__cli_options options = {0};
  read_report(db, &options, &report);
  assert_int_equal(report.count, 4);
  const int wanted[] = {1, 16, 256, 4096};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(report.entry[i].winner.problem.m, wanted[i]);
    assert_int_equal(report.entry[i].count, 2);
    assert_true(i == 0 || apq__report_is_same_group(&report.entry[0], &report.entry[i]));
  }
  apq__text page = {0};
  apq__report_page(&report, apq__db_path(db), &page);
  assert_false(page.failed);
  assert_non_null(strstr(page.data, "Fastest: bmma at m = 1 to 16, imma at m = 256 to 4096."));
  assert_non_null(strstr(page.data, "<title>bmma: m = 1 to 16</title>"));
  assert_non_null(strstr(page.data, "<title>imma: m = 256 to 4096</title>"));
  int bands = 0;
  for (const char *at = page.data; (at = strstr(at, "<rect class=\"band ")); at++) bands++;
  assert_int_equal(bands, 2);
  apq__text_free(&page);
  apq__report_free(&report);

  apq__cli_options few = {.tokens = {16, 256}, .tokens_count = 2};
  read_report(db, &few, &report);
  assert_int_equal(report.count, 2);
  apq__report_free(&report);
  apq__db_close(db);
}

/* What starts from floats is another sweep than what starts from packed activations. */
static void sweeps_are_of_one_input(void **state) {
  char path[512];
  apq__db *db = open_for(path_in(*state, "a.db", path), APQ__DB_WRITE);
  for (int i = 0; i < 6; i++) {
    apq__problem problem = problem_of(1 << i / 2 * 4);
    if (i % 2) problem.in = APQ__INPUT_F16;
    add_time_of(db, &gpu, problem, "family=bmma,p=2,q=4", hash_of("bmma"), 1e-5, "a", 100);
  }
  apq__report report;
  const apq__cli_options options = {0};
  read_report(db, &options, &report);
  assert_int_equal(report.count, 6);
  for (int i = 0; i < 6; i++) {
    assert_int_equal(report.entry[i].winner.problem.m, 1 << i % 3 * 4);
    assert_int_equal(report.entry[i].winner.problem.in, i < 3 ? APQ__INPUT_PACKED : APQ__INPUT_F16);
  }
  apq__text page = {0};
  apq__report_page(&report, apq__db_path(db), &page);
  assert_false(page.failed);
  assert_non_null(strstr(page.data, "f16, from f16</h3>"));
  apq__text_free(&page);
  apq__report_free(&report);
  apq__db_close(db);
}

/* Each allocation fails once: an error or a failed page, and nothing is left behind. */
static void lack_of_memory_is_an_error(void **state) {
  static const apq__environment emulated = {"emu:sm_80", "sm_80", "emu", "cc 12.2.0", 108, 1};
  char path[512];
  const apq__cli_options options = {0};
  const apq__cli cli = {&options, &stop};
  apq__db *db = open_for(path_in(*state, "a.db", path), APQ__DB_WRITE);
  for (int m = 1; m <= 4; m *= 4) {
    add_time(db, &emulated, m, "family=bmma,p=2,q=4", hash_of("bmma"), 1e-5, "a", 100);
    add_time(db, &emulated, m, "family=imma,p=2,q=4", hash_of("imma"), 2e-5, "a", 100);
  }
  apq__db_close(db);
  int is_whole = 0;
  for (long n = 1; !is_whole && n < 10000; n++) {
    failing_allocator allocator = {.fail_at = n};
    assert_int_equal(failing_install(&allocator), APQ_OK);
    apq_error error = APQ_ERROR_INIT;
    apq__report report = {0};
    apq__text page = {0};
    db = NULL;
    apq_status status = apq__db_open(path, APQ__DB_READ, &db, NULL, &error);
    if (!status) status = apq__report_read(&cli, db, &report, &error);
    if (!status) apq__report_page(&report, path, &page);
    if (status)
      assert_int_equal(status, APQ_OUT_OF_MEMORY);
    else
      assert_true(page.failed || strstr(page.data, "</html>"));
    is_whole = allocator.calls < n;
    assert_true(!is_whole || (!status && !page.failed));
    apq__text_free(&page);
    apq__report_free(&report);
    apq__db_close(db);
    apq_error_clear(&error);
    assert_int_equal(allocator.live, 0);
    assert_int_equal(apq_set_allocator(NULL), APQ_OK);
  }
  assert_true(is_whole);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
      IN_FOLDER(the_model_is_compared_with_the_newest_run),
      IN_FOLDER(present_templates_go_before_past_ones),
      IN_FOLDER(an_unknown_arch_has_no_model),
      IN_FOLDER(the_page_shows_where_families_hand_over),
      IN_FOLDER(sweeps_are_of_one_input),
      IN_FOLDER(lack_of_memory_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
