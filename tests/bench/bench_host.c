/* What the library costs the host: one planned call beyond the driver's launches, and opening a
 * context on a database of many winners.  Not a test: run it on a quiet machine.
 *   bench_host [CALLS [WINNERS]] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "context.h"
#include "db.h"
#include "generator.h"
#include "launch_stub.h"
#include "map_cache.h"
#include "status.h"

static void check(apq_status status, const apq_error *error) {
  if (!status) return;
  fprintf(stderr, "%s: %s\n", apq_status_name(status), error->message);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *left, const void *right) {
  const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

static void report(const char *what, int64_t *samples, int count, int64_t empty) {
  qsort(samples, (size_t)count, sizeof *samples, compare);
  printf("%s: median %" PRId64 " ns, p99 %" PRId64 " ns\n", what, samples[count / 2] - empty,
         samples[(int64_t)count * 99 / 100] - empty);
}

/* ---- one call ---- */

/* What two readings of the clock and nothing between them take. */
static int64_t empty_sample(int64_t *samples, int count) {
  for (int i = 0; i < count; i++) {
    const int64_t begin = now_ns();
    samples[i] = now_ns() - begin;
  }
  qsort(samples, (size_t)count, sizeof *samples, compare);
  return samples[count / 2];
}

static void bench_calls(int count) {
  enum { N = 4096, K = 4096, SIZES = 4 };
  static const int sizes[SIZES] = {1, 16, 100, 2000};
  apq_error error = APQ_ERROR_INIT;
  apq_context *context = NULL;
  apq_weights *weights = NULL;
  apq_plan *plan = NULL;
  const apq_context_options options = {.device = "emu:sm_80", .database = "/nonexistent/apq.db"};
  check(apq_context_open(&options, &context, &error), &error);
  uint8_t *codes = apq__calloc(N, K);
  const apq_weights_desc matrix = {.n = N,
                                   .k = K,
                                   .bits = 2,
                                   .format = APQ_FORMAT_INT,
                                   .dtype = APQ_DTYPE_CODES8,
                                   .data = codes};
  check(apq_weights_create(context, &matrix, &weights, &error), &error);
  apq__free(codes);
  const apq_plan_desc desc = {.weights = weights,
                              .bits = 8,
                              .format = APQ_FORMAT_INT,
                              .input = APQ_DTYPE_F16,
                              .output = APQ_DTYPE_F16};
  check(apq_plan_create(context, &desc, &plan, &error), &error);
  check(apq_plan_prepare_range(plan, 1, 2048, &error), &error);
  const size_t bytes = apq_plan_workspace(plan, 2048);
  void *x = NULL, *y = NULL, *workspace = NULL;
  check(apq_device_alloc(context, (size_t)2048 * K * 2, &x, &error), &error);
  check(apq_device_alloc(context, (size_t)2048 * N * 2, &y, &error), &error);
  check(apq_device_alloc(context, bytes, &workspace, &error), &error);

  int64_t *samples = apq__alloc((size_t)count * sizeof *samples);
  const int64_t empty = empty_sample(samples, count);
  const apq__device_ops *real = stub_install(context);
  stub_expects.y = y;
  stub_expects.workspace = workspace;
  stub_expects.workspace_bytes = bytes;
  for (int i = 0; i < count; i++) {
    stub_expects.m = sizes[i % SIZES];
    const int64_t begin = now_ns();
    apq_status status =
        apq_plan_run(plan, sizes[i % SIZES], x, 0, y, 0, workspace, bytes, NULL, &error);
    samples[i] = now_ns() - begin;
    check(status, &error);
  }
  context->device->ops = real;
  report("one planned call, two launches stubbed", samples, count, empty);
  if (atomic_load(&stub_wrong)) printf("%ld launches had wrong arguments\n", stub_wrong);
  apq__free(samples);
  apq_device_free(context, x);
  apq_device_free(context, y);
  apq_device_free(context, workspace);
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  apq_context_close(context);
}

/* ---- tensor maps ---- */

/* What the driver takes to describe a matrix for the bulk tensor copies; on a GPU that has them. */
static void bench_maps(int count) {
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  void *memory = NULL;
  apq_tensor_map map;
  if (apq__device_open("cuda", &device, &error)) {
    apq_error_clear(&error);
    return;
  }
  check(device->ops->alloc(device, 1 << 20, &memory, &error), &error);
  const apq__tensor_box box = {.base = memory,
                               .row_bytes = 512,
                               .rows = 512,
                               .planes = 2,
                               .row_pitch = 512,
                               .plane_pitch = 512 * 512,
                               .box_bytes = 128,
                               .box_rows = 64,
                               .swizzle = 128};
  int64_t *samples = apq__alloc((size_t)count * sizeof *samples);
  const int64_t empty = empty_sample(samples, count);
  for (int i = 0; i < count; i++) {
    const int64_t begin = now_ns();
    apq_status status = device->ops->tensor_map(device, &box, &map, &error);
    samples[i] = now_ns() - begin;
    check(status, &error);
  }
  report("a tensor map", samples, count, empty);
  static apq__map_cache cache;
  for (int i = 0; i < count; i++) {
    const int64_t begin = now_ns();
    apq_status status = apq__map_get(&cache, device, &box, &map, &error);
    samples[i] = now_ns() - begin;
    check(status, &error);
  }
  report("one that is kept", samples, count, empty);
  apq__free(samples);
  device->ops->release(device, memory);
  apq__device_close(device);
}

/* ---- opening ---- */

/* Winners of as many problems, each for the emulated sm_80. */
static void fill_database(const char *path, int count) {
  apq_error error = APQ_ERROR_INIT;
  apq__db *db = NULL;
  char note[256];
  apq__target target;
  check(apq__target_emulated("sm_80", &target, &error), &error);
  check(apq__db_open(path, APQ__DB_WRITE, &db, note, &error), &error);
  apq__environment environment = {.sm_count = target.sm_count, .emulated = 1};
  snprintf(environment.gpu, sizeof environment.gpu, "%s", target.name);
  snprintf(environment.arch, sizeof environment.arch, "%s", target.arch);
  for (int i = 0; i < count; i++) {
    const apq__problem problem = {.p = 1 + i % 8,
                                  .q = 1 + i / 8 % 8,
                                  .m = 1 + i / 64,
                                  .n = 4096,
                                  .k = 4096,
                                  .out = APQ_DTYPE_F16};
    apq__variant variant = {0};
    check(apq__default_config(&problem, &target, &variant.config, &error), &error);
    const apq__family *family = apq__family_find(apq__config_get(&variant.config, "family"));
    snprintf(variant.hash, sizeof variant.hash, "%s", apq__family_hash(family, 1));
    apq__measurement row = {.min = 1e-6,
                            .p10 = 1e-6,
                            .p50 = 1e-6,
                            .p90 = 1e-6,
                            .max = 1e-6,
                            .modelled = 1,
                            .samples = 1};
    snprintf(row.objective, sizeof row.objective, "burst");
    snprintf(row.run, sizeof row.run, "bench");
    check(apq__db_add_measurement(db, &environment, &problem, &variant, &row, &error), &error);
  }
  apq__db_close(db);
}

static void bench_open(int winners) {
  enum { OPENS = 21 };
  char path[] = "/tmp/apq_bench_XXXXXX";
  int64_t samples[OPENS];
  apq_error error = APQ_ERROR_INIT;
  int file = mkstemp(path);
  if (file < 0) return;
  close(file);
  unlink(path);
  fill_database(path, winners);
  const apq_context_options options = {.device = "emu:sm_80", .database = path};
  int read = 0;
  for (int i = 0; i < OPENS; i++) {
    apq_context *context = NULL;
    const int64_t begin = now_ns();
    check(apq_context_open(&options, &context, &error), &error);
    samples[i] = now_ns() - begin;
    read = context->winners.count;
    apq_context_close(context);
  }
  char what[80];
  snprintf(what, sizeof what, "opening a context, %d winners", read);
  report(what, samples, OPENS, 0);
  unlink(path);
}

int main(int argc, char **argv) {
  const int calls = argc > 1 ? atoi(argv[1]) : 200000, winners = argc > 2 ? atoi(argv[2]) : 10000;
  bench_calls(calls > 0 ? calls : 1);
  bench_maps(calls > 0 ? calls : 1);
  bench_open(winners > 0 ? winners : 1);
  return 0;
}
