/* Real kernels with one word of synchronization taken out, on an emulated device. */
#ifndef APQ_MUTANTS_H
#define APQ_MUTANTS_H

#include "emu_kernel.h"

#include "bitplane.h"
#include "config.h"
#include "generator.h"
#include "kernel_abi.h"
#include "kernel_launch.h"

typedef struct product {
  apq__device *device;
  apq__config config;
  apq__shape shape;
  apq_gemm_args args;
  char *source;
} product;

static inline void *zeros(apq__device *device, size_t size) {
  apq_error error = APQ_ERROR_INIT;
  void *memory = NULL;
  check_ok(device->ops->alloc(device, size, &memory, &error), &error);
  check_ok(device->ops->fill(device, memory, 0, size, NULL, &error), &error);
  return memory;
}

/* The kernel of a config for m x n x k; `sm_count` 0: as the device has them. */
static inline void open_product(product *at, const char *device, int sm_count, const char *text,
                                int m, int n, int k) {
  apq_error error = APQ_ERROR_INIT;
  check_ok(apq__device_open(device, &at->device, &error), &error);
  if (sm_count) at->device->target.sm_count = sm_count;
  check_ok(apq__config_parse(text, &at->config, &error), &error);
  check_ok(apq__config_complete(&at->config, &error), &error);
  int p = apq__config_int(&at->config, "p", 0), q = apq__config_int(&at->config, "q", 0);
  apq__problem problem = {p, q, m, n, k, APQ_DTYPE_I32, 0, 0};
  const char *source = apq__config_source(&at->config);
  if (source) assert_true(apq__input_parse(source, &problem.in));
  check_ok(apq__config_limits(&at->config, &problem, &at->device->target, &at->shape, &error),
           &error);
  check_ok(apq__generate(&at->config, &at->device->target, &at->source, &error), &error);
  size_t a_bytes = (size_t)apq__form_bytes(apq__config_form(&at->config), m, k, q);
  at->args = (apq_gemm_args){
      .w = zeros(at->device, (size_t)apq__planes_bytes(n, k, p)),
      .a = zeros(at->device, a_bytes),
      .y = zeros(at->device, 4 * (size_t)m * (size_t)n),
      .w_sum = zeros(at->device, 4 * (size_t)n),
      .a_sum = zeros(at->device, 4 * (size_t)m),
      .x = zeros(at->device, 4 * (size_t)m * (size_t)k),
      .ldx = k,
      .ldy = n,
      .m = m,
      .n = n,
      .k = k,
      .row_bytes = (int)apq__plane_row_bytes(k),
      .alpha_w = 1,
      .alpha_a = 1,
  };
}

static inline void close_product(product *at) {
  apq__free(at->source);
  apq__device_close(at->device);
}

static inline apq_status launch_source(product *at, apq_error *error) {
  const apq__device_ops *ops = at->device->ops;
  apq__object object;
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  char name[APQ__WORD_MAX + 8];
  check_ok(apq__compile(at->source, &at->device->target, NULL, &object, error), error);
  check_ok(ops->load(at->device, object.image, object.size, &module, error), error);
  check_ok(ops->kernel(at->device, module, apq__kernel_name(&at->config, name),
                       at->shape.smem_bytes, &kernel, NULL, error),
           error);
  /* Fresh tickets: a fault may have left some. */
  apq_gemm_args args = at->args;
  if (at->shape.workspace_bytes) {
    args.partial = zeros(at->device, at->shape.workspace_bytes);
    args.tickets = (unsigned *)(void *)((char *)args.partial + at->shape.workspace_bytes -
                                        at->shape.ticket_bytes);
  }
  apq_tensor_map map;
  if (at->shape.is_tma)
    check_ok(apq__weights_map(at->device, &at->shape, &args, apq__config_int(&at->config, "p", 0),
                              &map, error),
             error);
  apq_status status = apq__product_launch(at->device, kernel, &at->shape, &args, &map, NULL,
                                          apq__config_int(&at->config, "q", 0),
                                          apq__config_form(&at->config), NULL, error);
  ops->release(at->device, args.partial);
  ops->unload(at->device, module);
  apq__object_free(&object);
  return status;
}

/* Takes out each occurrence of `word` in turn.  Returns how many were missed. */
static inline int count_missed(product *at, const char *word) {
  int missed = 0;
  const char *first =
      strstr(at->source, "APQ_WORD apq_u32 apq_floats_to_bf16s("); /* prelude's end */
  assert_non_null(first);
  for (char *found = (char *)(uintptr_t)strstr(first, word); found;
       found = strstr(found + 1, word)) {
    apq_error error = APQ_ERROR_INIT;
    size_t length = strcspn(found, ";");
    char saved[256];
    assert_true(length < sizeof saved);
    memcpy(saved, found, length);
    memset(found, ' ', length);
    apq_status status = launch_source(at, &error);
    memcpy(found, saved, length);
    if (status == APQ_OK) continue;
    assert_int_equal(status, APQ_KERNEL_FAULT);
    assert_non_null(strstr(error.message, "block ("));
    assert_non_null(strstr(error.message, "thread "));
    apq_error_clear(&error);
    missed++;
  }
  return missed;
}

#endif
