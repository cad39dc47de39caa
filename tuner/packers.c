#include "packers.h"

#include "alloc.h"
#include "bitplane.h"
#include "generator.h"

static apq_status load(apq__generate_fn *generate, apq__compile_fn *compile, const char *cache_dir,
                       apq__device *device, const apq__config *config, apq__test_kernel *out,
                       apq_error *error) {
  char *source = NULL;
  apq__object object = {0};
  apq_status status = generate(config, &device->target, &source, error);
  if (status == APQ_OK) status = compile(source, &device->target, cache_dir, &object, error);
  if (status == APQ_OK)
    status = apq__test_kernel_load(device, config, object.image, object.size, out, error);
  apq__object_free(&object);
  apq__free(source);
  return status;
}

static void fill_args(const apq__device_data *data, apq__form form, apq_pack_args *args) {
  const apq__problem *problem = &data->problem;
  const apq_gemm_args *product = &data->args;
  *args = (apq_pack_args){.out = data->a[form],
                          .sum = data->a_sum,
                          .group_sum = data->a_group_sum,
                          .scale = data->a_scale,
                          .zero = data->a_zero ? data->a_zero : data->pack_zero,
                          .ldx = product->ldx,
                          .rows = problem->m,
                          .k = problem->k,
                          .row_bytes = (int)apq__form_row_bytes(form, problem->k),
                          .format = product->format,
                          .group = product->group,
                          .groups = product->groups,
                          .is_static = product->is_static,
                          .static_scale = product->static_scale,
                          .static_zero = product->static_zero};
}

/* What packers write, so that products which find anything else in it fail. */
static apq_status poison(apq__device_data *data, apq_error *error) {
  const size_t m = (size_t)data->problem.m;
  const struct {
    void *at;
    size_t bytes;
  } block[] = {{data->a_sum, m * 4},
               {data->a_scale, m * 4},
               {data->a_zero, m * 4},
               {data->a_group_sum, m * (size_t)data->args.groups * 4}};
  apq_status status = APQ_OK;
  for (size_t i = 0; i < sizeof block / sizeof block[0] && status == APQ_OK; i++)
    if (block[i].at)
      status = data->device->ops->fill(data->device, block[i].at, APQ__POISON, block[i].bytes, NULL,
                                       error);
  return status;
}

apq_status apq__packers_make(apq__generate_fn *generate, apq__compile_fn *compile,
                             const char *cache_dir, apq__device_data *data, apq_error *error) {
  apq__device *device = data->device;
  const apq__problem *problem = &data->problem;
  apq_status status = APQ_OK;
  if (!problem->in) return APQ_OK;
  if (!data->a_zero)
    status = device->ops->alloc(device, (size_t)problem->m * 4, &data->pack_zero, error);
  for (int i = 0; i < APQ__FORM_COUNT && status == APQ_OK; i++) {
    const apq__form form = (apq__form)i;
    apq__packer *packer = &data->packer[form];
    apq__config config;
    if (!data->a[form]) continue;
    status = apq__pack_config(apq__input_dtype(problem->in), problem, form, &config, error);
    if (status == APQ_OK)
      status = apq__config_limits(&config, problem, &device->target, &packer->shape, error);
    if (status == APQ_OK)
      status = load(generate, compile, cache_dir, device, &config, &packer->loaded, error);
    fill_args(data, form, &packer->args);
  }
  return status == APQ_OK ? poison(data, error) : status;
}
