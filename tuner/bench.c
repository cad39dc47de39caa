#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "bench_rival.h"
#include "compile.h"
#include "db.h"
#include "generator.h"
#include "host.h"
#include "measure.h"
#include "packers.h"
#include "problem_data.h"
#include "spot_check.h"
#include "statistics.h"
#include "status.h"
#include "verify.h"

enum { ROUNDS = 30 };

const char *apq__bench_kind_name(apq__bench_kind kind) {
  static const char *const names[APQ__BENCH_KIND_COUNT] = {"apq", "cublaslt-fp16", "cublaslt-int8",
                                                           "cublaslt-fp8", "floor"};
  return (unsigned)kind < APQ__BENCH_KIND_COUNT ? names[kind] : "?";
}

/* One entry of the group being timed. */
typedef struct contender {
  apq__test_kernel kernel; /* KERNEL */
  apq__prepared prepared;
  const apq__rotation *rotation;
  apq__rival *rival; /* the others */
  apq__timing timing;
} contender;

/* The group being timed. */
typedef struct stage {
  const apq__bench_options *options;
  apq__bench_group *group;
  apq__spot_check check;
  apq__device_data data;
  apq__rotation rotation;
  apq__pace pace;
  contender *contenders;
  double (*seconds)[APQ__ROUNDS_MAX];
} stage;

static int is_stopped(const apq__bench_options *options) {
  return options->stop && *options->stop;
}

/* A failure belongs to its entry; the others go on. */
static void fail_entry(apq__bench_entry *entry, const apq_error *error) {
  entry->status = error->status;
  snprintf(entry->message, sizeof entry->message, "%s", error->message);
}

/* ---- contenders ---- */

/* The kernel's object: the database's where it has one, else compiled. */
static apq_status get_object(const apq__bench_options *options, const apq__bench_entry *entry,
                             void **image, size_t *size, apq_error *error) {
  char *source = NULL;
  apq__db *db = NULL;
  apq__object object = {0};
  *image = NULL;
  if (entry->artifact && entry->artifact[0] && options->db_path &&
      apq__db_open(options->db_path, APQ__DB_READ, &db, NULL, NULL) == APQ_OK)
    apq__db_load_artifact(db, entry->artifact, image, size, NULL);
  apq__db_close(db);
  if (*image) return APQ_OK;
  apq_status status = apq__generate(&entry->config, &options->device->target, &source, error);
  if (status == APQ_OK)
    status = apq__compile(source, &options->device->target, options->cache_dir, &object, error);
  apq__free(source);
  if (status != APQ_OK) return status;
  *image = object.image;
  *size = object.size;
  return APQ_OK;
}

static apq_status make_kernel(stage *s, contender *c, const apq__bench_entry *entry,
                              apq_error *error) {
  void *image;
  size_t size;
  apq__verify_report report = {0};
  int refuted = 0;
  c->rotation = &s->rotation;
  apq_status status = get_object(s->options, entry, &image, &size, error);
  if (status != APQ_OK) return status;
  status =
      apq__test_kernel_load(s->options->device, &entry->config, image, size, &c->kernel, error);
  apq__free(image);
  /* The floor has no results. */
  if (status == APQ_OK && entry->kind == APQ__BENCH_FLOOR)
    return apq__prepared_make(&c->kernel, &s->data, &c->prepared, error);
  if (status == APQ_OK) status = apq__verify_kernel(&c->kernel, s->options->seed, &report, error);
  if (status == APQ_OK) status = apq__prepared_make(&c->kernel, &s->data, &c->prepared, error);
  if (status == APQ_OK)
    status = apq__spot_check_run(&s->check, &c->prepared, &refuted, NULL, error);
  if (status == APQ_OK && refuted)
    status = apq__fail(error, APQ_MISMATCH, "verify",
                       "this kernel and one before it differ, and the one before is wrong");
  return status;
}

static apq_status make_rival(stage *s, contender *c, const apq__bench_entry *entry,
                             apq_error *error) {
  apq__cublaslt_kind kind = entry->kind == APQ__BENCH_FP16   ? APQ__CUBLASLT_F16
                            : entry->kind == APQ__BENCH_INT8 ? APQ__CUBLASLT_I8
                                                             : APQ__CUBLASLT_E4M3;
  c->rival = apq__calloc(1, sizeof *c->rival);
  if (!c->rival) return apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for cuBLASLt");
  return apq__rival_make(s->options->device, kind, &s->group->problem, s->options->seed, c->rival,
                         error);
}

static apq_status launch_kernel(void *user, int set, void *stream, apq_error *error) {
  contender *c = user;
  const void *a = apq__rotation_input(c->rotation, set, c->kernel.form);
  return apq__prepared_launch(&c->prepared, c->rotation->w[set], a, c->rotation->y[set], stream,
                              error);
}

/* Records the launches, after every kernel of the group has had its say about the workspace. */
static apq_status make_timing(stage *s, contender *c, apq_error *error) {
  apq__subject subject = {launch_kernel, c, s->rotation.count};
  apq_status status = APQ_OK;
  if (c->rival)
    subject = (apq__subject){apq__rival_launch, c->rival, c->rival->sets};
  else
    status = apq__prepared_make(&c->kernel, &s->data, &c->prepared, error);
  if (status == APQ_OK) status = apq__timing_make(&s->pace, &subject, &c->timing, error);
  return status;
}

/* Each pass over the entries still standing. */
static void for_each(stage *s, apq_status (*step)(stage *, contender *, const apq__bench_entry *,
                                                  apq_error *)) {
  for (int i = 0; i < s->group->count; i++) {
    apq__bench_entry *entry = &s->group->entry[i];
    apq_error error = APQ_ERROR_INIT;
    if (entry->status == APQ_OK && step(s, &s->contenders[i], entry, &error) != APQ_OK)
      fail_entry(entry, &error);
    apq_error_clear(&error);
  }
}

static apq_status step_make(stage *s, contender *c, const apq__bench_entry *entry,
                            apq_error *error) {
  if (entry->kind == APQ__BENCH_KERNEL || entry->kind == APQ__BENCH_FLOOR)
    return make_kernel(s, c, entry, error);
  return make_rival(s, c, entry, error);
}

static apq_status step_time(stage *s, contender *c, const apq__bench_entry *entry,
                            apq_error *error) {
  (void)entry;
  return make_timing(s, c, error);
}

/* ---- one group ---- */

static apq_status stage_open(stage *s, apq_error *error) {
  const apq__bench_options *options = s->options;
  const apq__problem *problem = &s->group->problem;
  size_t count = (size_t)s->group->count;
  s->contenders = apq__calloc(count, sizeof *s->contenders);
  s->seconds = apq__alloc(count * sizeof *s->seconds);
  if (!s->contenders || !s->seconds)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for %d entries", s->group->count);
  for (size_t i = 0; i < count; i++)
    for (int r = 0; r < APQ__ROUNDS_MAX; r++) s->seconds[i][r] = NAN;
  apq_status status = apq__spot_check_make(problem, options->seed, &s->check, error);
  if (status == APQ_OK)
    status = apq__device_data_make(options->device, &s->check.host, APQ__ALL_FORMS, problem->n,
                                   &s->data, error);
  if (status == APQ_OK)
    status = apq__packers_make(apq__generate, apq__compile, options->cache_dir, &s->data, error);
  if (status == APQ_OK) status = apq__rotation_make(&s->data, &s->rotation, error);
  if (status == APQ_OK)
    status = apq__pace_open(options->device, options->objective ? options->objective : "burst",
                            &s->pace, error);
  return status;
}

static void stage_close(stage *s) {
  for (int i = 0; s->contenders && i < s->group->count; i++) {
    contender *c = &s->contenders[i];
    apq__timing_free(&s->pace, &c->timing);
    apq__rival_free(c->rival);
    apq__free(c->rival);
    apq__test_kernel_unload(&c->kernel);
  }
  apq__pace_close(&s->pace);
  apq__rotation_free(&s->rotation);
  apq__device_data_free(&s->data);
  apq__spot_check_free(&s->check);
  apq__free(s->contenders);
  apq__free(s->seconds);
}

static apq_status play_round(stage *s, int round, apq_error *error) {
  apq__bench_group *group = s->group;
  int *order = apq__alloc((size_t)group->count * sizeof *order);
  if (!order) return apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for a round");
  apq__round_order(s->options->seed, round, group->count, order);
  for (int i = 0; i < group->count; i++) {
    int index = order[i];
    apq__bench_entry *entry = &group->entry[index];
    apq_error failure = APQ_ERROR_INIT;
    if (entry->status == APQ_OK &&
        apq__timing_sample(&s->pace, &s->contenders[index].timing, &s->seconds[index][round], NULL,
                           &failure) != APQ_OK)
      fail_entry(entry, &failure);
    apq_error_clear(&failure);
  }
  apq__free(order);
  return APQ_OK;
}

static void fill_results(stage *s, int rounds) {
  const apq__problem *problem = &s->group->problem;
  for (int i = 0; i < s->group->count; i++) {
    apq__bench_entry *entry = &s->group->entry[i];
    const apq__bench_entry *first = &s->group->entry[0];
    if (entry->status != APQ_OK) continue;
    apq__quantiles q;
    apq__quantiles_of(s->seconds[i], rounds, &q);
    entry->samples = q.count;
    entry->min = q.min;
    entry->p10 = q.p10;
    entry->p50 = q.p50;
    entry->p90 = q.p90;
    entry->max = q.max;
    entry->tops = 2.0 * problem->m * problem->n * problem->k / q.p50 * 1e-12;
    if (first->status != APQ_OK) continue;
    apq__ratio ratio;
    apq__paired_ratio(s->seconds[0], s->seconds[i], rounds, &ratio);
    entry->ratio = first->p50 / entry->p50;
    entry->paired_p10 = ratio.p10;
    entry->paired_p50 = ratio.p50;
    entry->paired_p90 = ratio.p90;
  }
}

static void clear_results(apq__bench_group *group) {
  for (int i = 0; i < group->count; i++) {
    apq__bench_entry *entry = &group->entry[i];
    *entry = (apq__bench_entry){
        .kind = entry->kind, .config = entry->config, .artifact = entry->artifact};
  }
}

static void report(const apq__bench_options *options, int group, int count, int round, int rounds) {
  if (options->progress) options->progress(group, count, round, rounds, options->user);
}

static apq_status bench_group(const apq__bench_options *options, apq__bench_group *groups,
                              int index, int count, apq_error *error) {
  stage s = {.options = options, .group = &groups[index]};
  int rounds = options->rounds > 0 ? options->rounds : ROUNDS;
  if (rounds > APQ__ROUNDS_MAX) rounds = APQ__ROUNDS_MAX;
  clear_results(s.group);
  report(options, index, count, 0, rounds);
  apq_status status = stage_open(&s, error);
  if (status == APQ_OK) {
    for_each(&s, step_make);
    for_each(&s, step_time);
  }
  for (int round = 0; round < rounds && status == APQ_OK; round++) {
    if (is_stopped(options))
      status = apq__fail(error, APQ_INTERRUPTED, "run", "interrupted in group %d", index + 1);
    else
      status = play_round(&s, round, error);
    report(options, index, count, round + 1, rounds);
  }
  if (status == APQ_OK) fill_results(&s, rounds);
  stage_close(&s);
  return status;
}

apq_status apq__bench(const apq__bench_options *options, apq__bench_group *groups, int count,
                      apq_error *error) {
  if (!options->device || options->device->target.emulated)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "a benchmark needs a GPU: an emulated device has no time to measure");
  apq_status status = APQ_OK;
  for (int i = 0; i < count && status == APQ_OK; i++) {
    status = apq__problem_check(&groups[i].problem, error);
    if (status == APQ_OK && groups[i].count > 0)
      status = bench_group(options, groups, i, count, error);
  }
  return status;
}
