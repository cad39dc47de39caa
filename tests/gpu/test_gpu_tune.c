/* Tuning on a GPU: measured winners, planted kernels that break the device, and a benchmark beside
 * cuBLASLt. */
#include "gpu_support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "bench.h"
#include "db.h"
#include "generator.h"
#include "host.h"
#include "planted_source.h"
#include "tune.h"
#include "worker.h"

static const char space_text[] =
    "return space { name = 'tiny', family = 'bmma', objective = 'burst', knobs = {"
    " tile_m = {32, 64}, tile_n = {32, 64}, stages = {2, 3}, layout = {'xor'},"
    " store = {'direct'} } }";
enum { SPACE_COUNT = 8 };

static char folder[64], db_path[96];
static apq__space *space;

static int set_up(void **state) {
  (void)state;
  char path[96];
  snprintf(folder, sizeof folder, "/tmp/apq_gpu_tune_XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(db_path, sizeof db_path, "%s/t.db", folder);
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

static const apq__problem problem = {2, 2, 512, 1024, 2048, APQ_DTYPE_F16, 0, 0};

static apq__tune_options base_options(void) {
  return (apq__tune_options){.device = "cuda",
                             .db_path = db_path,
                             .cache_dir = folder,
                             .space = space,
                             .problems = &problem,
                             .problem_count = 1,
                             .prune_ratio = 1000};
}

static void tune(const apq__tune_options *options, apq__tune_summary *summary) {
  apq_error error = APQ_ERROR_INIT;
  if (apq__tune(options, summary, &error)) fail_msg("%s", error.message);
  assert_int_equal(summary->result[0].outcome, APQ__TUNE_TUNED);
  printf("winner %.2f us, default %.2f us, %d tied\n", summary->result[0].seconds * 1e6,
         summary->result[0].default_seconds * 1e6, summary->result[0].tied);
}

static int see_row(const apq__winner *row, void *user) {
  const apq__measurement *m = &row->measurement;
  assert_false(m->modelled);
  assert_true(m->samples >= 1 && m->min > 1e-6 && m->max < 1e-2);
  assert_true(m->sm_mhz > 100);
  ++*(int *)user;
  return 0;
}

static void a_space_is_measured_and_stored(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  apq__db *db = NULL;
  int rows = 0;
  tune(&options, &summary);
  assert_true(summary.result[0].measured >= SPACE_COUNT);
  assert_true(summary.result[0].default_seconds > 0);
  assert_int_equal(summary.result[0].failed, 0);
  apq__tune_summary_free(&summary);
  assert_int_equal(apq__db_open(db_path, APQ__DB_READ, &db, NULL, NULL), APQ_OK);
  assert_int_equal(apq__db_measurements(db, NULL, &problem, see_row, &rows, NULL), APQ_OK);
  assert_true(rows >= SPACE_COUNT);
  apq__db_close(db);

  options.retune = 1;
  options.objective = "sustained";
  tune(&options, &summary);
  apq__tune_summary_free(&summary);
}

/* Spoils the candidates with three stages: an illegal address, an endless loop, a wrong element. */
static apq_status generate_planted(const apq__config *config, const apq__target *target,
                                   char **source, apq_error *error) {
  apq_status status = apq__generate(config, target, source, error);
  if (status || !apq__config_is(config, "stages", "3") || !apq__config_is(config, "layout", "xor"))
    return status;
  int kind = (apq__config_int(config, "tile_m", 0) == 64) * 2 +
             (apq__config_int(config, "tile_n", 0) == 64);
  char *planted = NULL;
  if (kind == 0) planted = plant_in_kernel(*source, "*(volatile int *)16 = 1;");
  /* A fence has an effect, so the compiler may not leave the loop out, nor assume that it ends. */
  if (kind == 1) planted = plant_in_kernel(*source, "while (args.k > 0) apq_threadfence();");
  /* At the problem's own size only, in no corner of a tile. */
  if (kind == 2) planted = plant_in_result(*source, 499, 777);
  if (kind == 3) planted = plant_in_result(*source, 0, 0);
  apq__free(*source);
  *source = planted;
  return planted ? APQ_OK : apq__generate(config, target, source, error);
}

typedef struct seen {
  int run, timeout, verify;
} seen;

static int see_failure(const apq__failure *failure, void *user) {
  seen *s = user;
  printf("%s: %s\n", failure->stage, failure->message);
  s->run += strcmp(failure->stage, "run") == 0 || strcmp(failure->stage, "crash") == 0;
  s->timeout += strcmp(failure->stage, "timeout") == 0;
  s->verify += strcmp(failure->stage, "verify") == 0;
  return 0;
}

static void broken_kernels_cost_themselves_only(void **state) {
  (void)state;
  apq__tune_options options = base_options();
  apq__tune_summary summary;
  options.generate = generate_planted;
  options.run_timeout = 10;
  tune(&options, &summary);
  apq__db *db = NULL;
  seen s = {0};
  assert_int_equal(apq__db_open(db_path, APQ__DB_READ, &db, NULL, NULL), APQ_OK);
  assert_int_equal(apq__db_failures(db, see_failure, &s, NULL), APQ_OK);
  apq__db_close(db);
  assert_int_equal(s.run, 1);
  assert_int_equal(s.timeout, 1);
  assert_int_equal(s.verify, 2);
  const apq__tune_result *result = &summary.result[0];
  assert_int_equal(result->failed, 4);
  assert_false(apq__config_is(&result->winner, "stages", "3") &&
               apq__config_is(&result->winner, "layout", "xor"));
  apq__tune_summary_free(&summary);
}

static void a_benchmark_stands_beside_cublaslt(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  assert_int_equal(apq__device_open("cuda", &device, &error), APQ_OK);
  apq__bench_entry entries[] = {{.kind = APQ__BENCH_KERNEL},
                                {.kind = APQ__BENCH_FP16},
                                {.kind = APQ__BENCH_INT8},
                                {.kind = APQ__BENCH_KERNEL}};
  assert_int_equal(apq__config_parse("family=bmma,p=2,q=2", &entries[0].config, NULL), APQ_OK);
  assert_int_equal(apq__config_complete(&entries[0].config, NULL), APQ_OK);
  entries[3].config = entries[0].config;
  apq__bench_group group = {problem, entries, 4};
  apq__bench_options options = {.device = device, .cache_dir = folder};
  if (apq__bench(&options, &group, 1, &error)) fail_msg("%s", error.message);
  for (int i = 0; i < 4; i++) {
    const apq__bench_entry *entry = &entries[i];
    printf("%s: %s%s %.2f us, %.2f TOPS, ratio %.3f, paired %.3f\n",
           apq__bench_kind_name(entry->kind), apq_status_name(entry->status), entry->message,
           entry->p50 * 1e6, entry->tops, entry->ratio, entry->paired_p50);
    /* A machine may lack the vendor's library. */
    if (entry->kind == APQ__BENCH_KERNEL || entry->status != APQ_NOT_FOUND)
      assert_int_equal(entry->status, APQ_OK);
  }
  /* The same kernel twice. */
  assert_float_equal(entries[3].paired_p50, 1, 0.03);
  apq__device_close(device);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], APQ__WORKER_VERB) == 0) return apq__worker_main();
  apq__device *device = open_gpu();
  if (!device) return SKIPPED;
  apq__device_close(device);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_space_is_measured_and_stored, set_up, tear_down),
      cmocka_unit_test_setup_teardown(broken_kernels_cost_themselves_only, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_benchmark_stands_beside_cublaslt, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
