#include "plan.h"

#include <stdint.h>

#include "bitplane.h"
#include "config.h"
#include "context.h"
#include "kernel_abi.h"
#include "kernel_launch.h"
#include "status.h"
#include "weights.h"

enum { ALIGNMENT = 256 };

/* A matrix argument: its row stride in elements, the default filled in, and its alignment checked.
 */
static apq_status check_matrix(const void *data, const char *name, const char *ld_name, int64_t *ld,
                               int columns, apq_dtype dtype, apq_error *error) {
  const size_t bytes = apq__dtype_bytes(dtype);
  apq_status status = apq__check_pointer(data, name, error);
  if (status) return status;
  if ((uintptr_t)data % bytes != 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "%s: not aligned to its %zu-byte elements", name, bytes);
  if (*ld == 0) *ld = columns;
  if (*ld < columns)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "%s=%lld: less than the %d columns of %s", ld_name, (long long)*ld, columns,
                     name);
  return APQ_OK;
}

static apq_status check_workspace(const apq__entry *entry, const void *workspace, size_t bytes,
                                  apq_error *error) {
  if (bytes < entry->layout.total)
    return apq__fail(error, APQ_WORKSPACE_TOO_SMALL, "argument",
                     "workspace_bytes=%zu: m=%d needs %zu", bytes, entry->m, entry->layout.total);
  if (!workspace && entry->layout.total)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "workspace is NULL");
  if ((uintptr_t)workspace % ALIGNMENT != 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "workspace: not aligned to %d bytes",
                     ALIGNMENT);
  return APQ_OK;
}

static apq_status launch_pack(const apq_plan *plan, const apq__entry *entry, const void *x,
                              int64_t ldx, uint8_t *workspace, void *stream, apq_error *error) {
  const apq__layout *at = &entry->layout;
  apq_pack_args args = {.x = x,
                        .out = workspace + at->packed,
                        .sum = (int *)(void *)(workspace + at->sums),
                        .ldx = ldx,
                        .rows = entry->m,
                        .k = plan->desc.weights->k,
                        .row_bytes = entry->row_bytes,
                        .format = (int)plan->desc.format};
  if (apq__plan_quantizes(plan)) {
    args.scale = (float *)(void *)(workspace + at->scales);
    args.zero = (int *)(void *)(workspace + at->zeros);
  }
  return apq__kernel_launch(plan->context->device, entry->pack->kernel, &entry->pack_shape, &args,
                            sizeof args, stream, error);
}

static apq_status launch_product(const apq_plan *plan, const apq__entry *entry, void *y,
                                 int64_t ldy, uint8_t *workspace, void *stream, apq_error *error) {
  const apq__layout *at = &entry->layout;
  const apq_weights *weights = plan->desc.weights;
  apq_gemm_args args = {.w = weights->planes,
                        .a = workspace + at->packed,
                        .y = y,
                        .w_sum = weights->w_sum,
                        .a_sum = (const int *)(const void *)(workspace + at->sums),
                        .w_zero = weights->w_zero,
                        .a_zero = plan->desc.input_zero,
                        .w_scale = weights->w_scale,
                        .a_scale = plan->desc.input_scale,
                        .bias = plan->desc.bias,
                        .partial = (int *)(void *)(workspace + at->partial),
                        .tickets = (unsigned *)(void *)(workspace + at->tickets),
                        .ldy = ldy,
                        .m = entry->m,
                        .n = weights->n,
                        .k = weights->k,
                        .row_bytes = (int)apq__plane_row_bytes(weights->k),
                        .alpha_w = weights->affine.alpha,
                        .alpha_a = plan->input.alpha,
                        .zero_w = weights->affine.zero,
                        .zero_a = plan->input.zero};
  if (apq__plan_quantizes(plan)) {
    args.a_scale = (const float *)(const void *)(workspace + at->scales);
    if (plan->desc.format == APQ_FORMAT_UINT)
      args.a_zero = (const int *)(const void *)(workspace + at->zeros);
  }
  return apq__product_launch(plan->context->device, entry->product->kernel, &entry->choice.shape,
                             &args, weights->bits, plan->desc.bits, entry->wants_bytes, stream,
                             error);
}

apq_status apq_plan_run(const apq_plan *plan, int m, const void *x, int64_t ldx, void *y,
                        int64_t ldy, void *workspace, size_t workspace_bytes, void *stream,
                        apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (status) return status;
  if (m < 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "m=%d: must be at least 1", m);
  const apq__entry *entry = apq__plan_find(plan, m);
  if (!entry)
    return apq__fail(error, APQ_NOT_PREPARED, "argument",
                     "m=%d: not among the sizes given to apq_plan_prepare", m);
  const apq_weights *weights = plan->desc.weights;
  status = check_matrix(x, "x", "ldx", &ldx, weights->k, plan->desc.input, error);
  if (!status) status = check_matrix(y, "y", "ldy", &ldy, weights->n, plan->desc.output, error);
  if (!status) status = check_workspace(entry, workspace, workspace_bytes, error);
  if (!status) status = launch_pack(plan, entry, x, ldx, workspace, stream, error);
  if (!status && entry->choice.shape.ticket_bytes) {
    apq__device *device = plan->context->device;
    status = device->ops->fill(device, (uint8_t *)workspace + entry->layout.tickets, 0,
                               entry->choice.shape.ticket_bytes, stream, error);
  }
  if (!status) status = launch_product(plan, entry, y, ldy, workspace, stream, error);
  return status;
}
