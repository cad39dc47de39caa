#include "verify.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "generator.h"
#include "host.h"
#include "problem_data.h"
#include "status.h"
#include "verify_pack.h"
#include "spot_check.h"

/* Multiply-accumulates the reference may spend on one small shape. */
#define SHAPE_WORK 150000000ll

/* ---- small shapes ---- */

enum { SHAPES = 6 };

/* Sizes at which a tiled kernel with a ring of stages and a split of K can go wrong. */
static void small_shapes(const apq__config *config, const apq__shape *launch, apq__problem base,
                         apq__problem out[SHAPES]) {
  int tm = launch->tile_m, tn = launch->tile_n, tk = launch->tile_k;
  int stages = apq__config_int(config, "stages", 1);
  int splits = apq__config_int(config, "split_k", 1);
  const struct {
    int m, n, k;
  } sizes[SHAPES] = {
      {1, 1, 1},
      {3, 5, 127},
      {tm + 1, tn - 1, 129},                   /* a second tile of one row, odd row length */
      {tm, tn, tk},                            /* nothing ragged */
      {tm - 1, tn + 1, tk * (stages + 1) + 1}, /* the ring wraps, the last stage holds one k */
      /* Whole tiles, whose rows may be aligned, and others; of a kernel that quantizes rows, whole
       * chunks of eight k. */
      {2 * tm + 3, 2 * tn + 8, tk + (base.in ? 104 : 100)},
  };
  /* A kernel that splits K wants at least one stage for each split. */
  int least = tk * (splits - 1);
  for (int i = 0; i < SHAPES; i++) {
    apq__problem *shape = &out[i];
    *shape = base;
    shape->m = sizes[i].m > 0 ? sizes[i].m : 1;
    shape->n = sizes[i].n > 0 ? sizes[i].n : 1;
    shape->k = sizes[i].k + least;
    int64_t row_work = (int64_t)shape->m * shape->k;
    if (row_work * shape->n > SHAPE_WORK) {
      int fit = (int)(SHAPE_WORK / row_work);
      /* Still past the first tile when it was. */
      if (shape->n > tn && fit <= tn) fit = tn + 1;
      if (fit < shape->n) shape->n = fit > 0 ? fit : 1;
    }
  }
}

/* Data, affine forms and epilogues.  From w_scales on, but for the gap, for floating results only.
 */
typedef struct data_case {
  apq__data_kind kind;
  apq_format w_format, a_format;
  int w_zeros, a_zeros, w_scales, a_scales, bias;
  int gap; /* ldy - n */
  apq_activation activation;
  apq_combine combine;
  int x_gap, is_static; /* as in apq__data_spec */
} data_case;

static const data_case data_cases[] = {
    {APQ__DATA_RANDOM, APQ_FORMAT_INT, APQ_FORMAT_INT, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0},
    {APQ__DATA_ONES, APQ_FORMAT_UINT, APQ_FORMAT_UINT, 1, 1, 1, 1, 1, 8, APQ_ACTIVATION_SILU,
     APQ_COMBINE_MULTIPLY, 5, 0},
    {APQ__DATA_SPARSE, APQ_FORMAT_BIPOLAR, APQ_FORMAT_BIPOLAR, 0, 0, 0, 1, 0, 7,
     APQ_ACTIVATION_NONE, APQ_COMBINE_ADD, 3, 0},
    {APQ__DATA_RANDOM, APQ_FORMAT_UINT, APQ_FORMAT_UINT, 1, 1, 1, 1, 1, 8, 0, APQ_COMBINE_ADD, 8,
     0},
    {APQ__DATA_RANDOM, APQ_FORMAT_UINT, APQ_FORMAT_BIPOLAR, 1, 0, 1, 0, 1, 0, APQ_ACTIVATION_GELU,
     APQ_COMBINE_NONE, 0, 1},
    {APQ__DATA_ONES, APQ_FORMAT_INT, APQ_FORMAT_UINT, 0, 1, 0, 0, 0, 16, APQ_ACTIVATION_GELU_TANH,
     APQ_COMBINE_ADD, 16, 0},
};
enum { CASES = sizeof data_cases / sizeof data_cases[0] };

/* Kernels whose blocks take one tile after another would have one each here: with `is_lone` one
 * block, or cluster, takes all. */
static apq_status verify_case(const apq__test_kernel *kernel, const apq__problem *shape,
                              const data_case *form, int is_lone, uint64_t seed,
                              apq__verify_report *report, apq_error *error) {
  int is_float = shape->out != APQ_DTYPE_I32;
  apq__post post = is_float ? apq__config_post(&kernel->config) : APQ__POST_NONE;
  apq__data_spec spec = {*shape,
                         form->kind,
                         form->w_format,
                         form->a_format,
                         form->w_zeros,
                         form->a_zeros,
                         form->w_scales && is_float,
                         form->a_scales && is_float,
                         form->bias && is_float,
                         post == APQ__POST_ACTIVATION ? form->activation : APQ_ACTIVATION_NONE,
                         post ? form->combine : APQ_COMBINE_NONE,
                         seed,
                         form->x_gap,
                         form->is_static,
                         1};
  apq__host_data host = {0};
  apq__device_data data = {0};
  apq__prepared prepared = {0};
  void *y = NULL, *expected = NULL;
  apq_status status = apq__host_data_make(&spec, &host, error);
  if (status == APQ_OK)
    status = apq__device_data_make(kernel->device, &host, 1 << kernel->form,
                                   (int64_t)shape->n + form->gap, &data, error);
  if (status == APQ_OK) status = apq__prepared_make(kernel, &data, &prepared, error);
  if (status == APQ_OK && is_lone && prepared.shape.is_tma)
    prepared.shape.grid[0] = prepared.shape.cluster > 1 ? prepared.shape.cluster : 1;
  /* What leaves its tickets as it found them has to do so. */
  for (int i = 0; i < 1 + prepared.shape.keeps_tickets && status == APQ_OK; i++) {
    status = apq__device_data_poison(&data, error);
    if (status == APQ_OK) status = apq__prepared_launch(&prepared, NULL, NULL, NULL, NULL, error);
    if (status == APQ_OK) status = kernel->device->ops->synchronize(kernel->device, NULL, error);
  }
  if (status != APQ_OK) goto cleanup;

  size_t outputs = (size_t)shape->m * (size_t)shape->n;
  y = apq__alloc(data.y_bytes);
  expected = apq__alloc(outputs * apq__dtype_bytes(shape->out));
  if (!y || !expected) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for %zu results", outputs);
    goto cleanup;
  }
  status = apq__device_data_fetch(&data, y, error);
  if (status == APQ_OK) status = apq__host_data_expect(&host, NULL, 0, NULL, 0, expected, error);
  if (status == APQ_OK)
    status = apq__compare_results(shape, y, data.ldy, expected, NULL, shape->m, NULL, shape->n,
                                  apq__data_kind_name(form->kind), error);
  report->products++;
  report->outputs += (long long)outputs;
cleanup:
  apq__free(y);
  apq__free(expected);
  apq__device_data_free(&data);
  apq__host_data_free(&host);
  return status;
}

static apq_status verify_product(const apq__test_kernel *kernel, uint64_t seed,
                                 apq__verify_report *report, apq_error *error) {
  apq__problem base = {0}, shapes[SHAPES];
  base.p = apq__config_int(&kernel->config, "p", 1);
  base.q = apq__config_int(&kernel->config, "q", 1);
  base.group = apq__config_int(&kernel->config, "group", 0);
  const char *source = apq__config_source(&kernel->config);
  if (source) apq__input_parse(source, &base.in);
  const char *out = apq__config_get(&kernel->config, "out");
  if (!out || !apq__dtype_parse(out, &base.out))
    return apq__fail(error, APQ_INVALID_ARGUMENT, "verify", "the config has no output type");
  apq__shape launch;
  apq_status status =
      apq__config_limits(&kernel->config, NULL, &kernel->device->target, &launch, error);
  if (status != APQ_OK) return status;
  small_shapes(&kernel->config, &launch, base, shapes);
  /* Neighboring shapes take other forms, so that all are used; the emulated device is slow and does
   * not hide races. */
  int forms = kernel->device->target.emulated ? 2 : 3;
  int infeasible = 0;
  for (int i = 0; i < SHAPES * forms; i++) {
    int shape = i % SHAPES, form = (shape + i / SHAPES) % CASES;
    status = verify_case(kernel, &shapes[shape], &data_cases[form], i % 2,
                         seed + (uint64_t)i * 7919, report, error);
    /* A shape that this config refuses is none it can be wrong on. */
    if (status == APQ_INFEASIBLE)
      infeasible++;
    else if (status != APQ_OK)
      return status;
  }
  if (infeasible == SHAPES * forms) return APQ_INFEASIBLE;
  if (error) apq_error_clear(error);
  return APQ_OK;
}

/* ---- entry points ---- */

apq_status apq__verify_kernel(const apq__test_kernel *kernel, uint64_t seed,
                              apq__verify_report *report, apq_error *error) {
  double begin = apq__now();
  report->registers = kernel->info.registers;
  report->local_bytes = kernel->info.local_bytes;
  apq_status status = kernel->is_product ? verify_product(kernel, seed, report, error)
                                         : apq__verify_pack(kernel, seed, report, error);
  report->seconds += apq__now() - begin;
  return status;
}

static apq_status verify_problem(const apq__test_kernel *kernel, const apq__problem *problem,
                                 uint64_t seed, apq__verify_report *report, apq_error *error) {
  apq__spot_check check = {0};
  apq__device_data data = {0};
  apq__prepared prepared;
  int refuted;
  apq_status status = apq__spot_check_make(problem, seed, &check, error);
  if (status == APQ_OK)
    status = apq__device_data_make(kernel->device, &check.host, 1 << kernel->form, problem->n,
                                   &data, error);
  if (status == APQ_OK) status = apq__prepared_make(kernel, &data, &prepared, error);
  if (status == APQ_OK)
    status = apq__spot_check_run(&check, &prepared, &refuted, &report->outputs, error);
  report->products++;
  apq__device_data_free(&data);
  apq__spot_check_free(&check);
  return status;
}

apq_status apq__verify_image(apq__device *device, const apq__config *config,
                             const apq__problem *problem, const void *image, size_t size,
                             uint64_t seed, apq__verify_report *report, apq_error *error) {
  apq__verify_report own = {0};
  apq__test_kernel kernel;
  double begin = apq__now();
  if (!report) report = &own;
  *report = own;
  apq_status status = apq__test_kernel_load(device, config, image, size, &kernel, error);
  if (status != APQ_OK) return status;
  status = apq__verify_kernel(&kernel, seed, report, error);
  if (status == APQ_OK && problem && kernel.is_product && !device->target.emulated)
    status = verify_problem(&kernel, problem, seed, report, error);
  report->seconds = apq__now() - begin;
  apq__test_kernel_unload(&kernel);
  return status;
}

apq_status apq__verify_config(apq__device *device, const apq__config *config,
                              const apq__problem *problem, const char *cache_dir, uint64_t seed,
                              apq__verify_report *report, apq_error *error) {
  char *source = NULL;
  apq__object object = {0};
  apq_status status = apq__generate(config, &device->target, &source, error);
  if (status == APQ_OK) status = apq__compile(source, &device->target, cache_dir, &object, error);
  if (status == APQ_OK)
    status =
        apq__verify_image(device, config, problem, object.image, object.size, seed, report, error);
  apq__free(source);
  apq__object_free(&object);
  return status;
}
