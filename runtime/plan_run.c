#include "plan.h"

#include <stdint.h>

#include "bitplane.h"
#include "config.h"
#include "context.h"
#include "kernel_launch.h"
#include "status.h"
#include "weights.h"

enum { ALIGNMENT = 256 };

/* ---- checks ---- */

/* Whether the device owns the memory; asked once for an address while it stays in its place of the
 * table. */
static apq_status check_owner(const apq_plan *plan, const void *data, const char *name,
                              apq_error *error) {
  _Atomic(uintptr_t) *seen = (_Atomic(uintptr_t) *)plan->seen;
  const uintptr_t address = (uintptr_t)data;
  /* Neighbors in a workspace differ from bit 8 on, buffers of a model from about bit 20. */
  _Atomic(uintptr_t) *place = &seen[(address >> 8 ^ address >> 13 ^ address >> 21) % APQ__SEEN];
  if (atomic_load_explicit(place, memory_order_relaxed) == address) return APQ_OK;
  apq_status status = apq__context_check_owner(plan->context, data, name, error);
  if (!status) atomic_store_explicit(place, address, memory_order_relaxed);
  return status;
}

/* A matrix argument: its row stride in elements, the default filled in, its alignment and owner
 * checked. */
static apq_status check_matrix(const apq_plan *plan, const void *data, const char *name,
                               int64_t *ld, int columns, apq_dtype dtype, apq_error *error) {
  const size_t bytes = apq__dtype_bytes(dtype);
  apq_status status = apq__check_pointer(data, name, error);
  if (status) return status;
  if ((uintptr_t)data % bytes != 0)
    return apq__fail(error, APQ_MISALIGNED, "argument", "%s: not aligned to its %zu-byte elements",
                     name, bytes);
  if (*ld == 0) *ld = columns;
  if (*ld < columns)
    return apq__fail(error, APQ_BAD_SHAPE, "argument", "ld%s=%lld: less than the %d columns of %s",
                     name, (long long)*ld, columns, name);
  return check_owner(plan, data, name, error);
}

static apq_status check_workspace(const apq_plan *plan, const apq__entry *entry, int m,
                                  const void *workspace, size_t bytes, apq_error *error) {
  if (bytes < entry->total)
    return apq__fail(error, APQ_WORKSPACE_TOO_SMALL, "argument",
                     "workspace_bytes=%zu: m=%d needs %zu", bytes, m, entry->total);
  if (entry->total == 0) return APQ_OK;
  apq_status status = apq__check_pointer(workspace, "workspace", error);
  if (status) return status;
  if ((uintptr_t)workspace % ALIGNMENT != 0)
    return apq__fail(error, APQ_MISALIGNED, "argument", "workspace: not aligned to %d bytes",
                     ALIGNMENT);
  return check_owner(plan, workspace, "workspace", error);
}

/* Fills in the strides of a copy of the caller's output. */
static apq_status check_output(const apq_plan *plan, const apq__plan_product *product,
                               apq_output *output, apq_error *error) {
  const int n = product->weights->n;
  const apq_dtype type = plan->recipe->key.output;
  apq_status status = check_matrix(plan, output->y, "y", &output->ldy, n, type, error);
  if (status || !product->combine) return status;
  return check_matrix(plan, output->other, "other", &output->ld_other, n, type, error);
}

/* ---- launches ---- */

/* What one call works on. */
typedef struct run {
  const apq_plan *plan;
  const apq__plan_slot *slot;
  int m;
  uint8_t *workspace;
  void *stream;
  apq_error *error;
} run;

/* A place in the workspace; there may be none where nothing needs it. */
static void *at(const run *r, size_t offset) {
  return r->workspace ? r->workspace + offset : NULL;
}

static apq_status launch_pack(const run *r, int form, int clears, const void *x, int64_t ldx) {
  const apq_plan *plan = r->plan;
  const apq__entry *entry = r->slot->entry;
  const apq__packing *packing = &entry->packing[form];
  apq_pack_args args = {.x = x,
                        .out = at(r, packing->at),
                        .sum = at(r, entry->sums),
                        .ldx = ldx,
                        .rows = r->m,
                        .k = plan->recipe->key.k,
                        .row_bytes = packing->row_bytes,
                        .format = (int)plan->format};
  if (entry->group) {
    args.group_sum = at(r, entry->group_sums);
    args.group = entry->group;
    args.groups = entry->groups;
  }
  if (apq__plan_quantizes(plan)) {
    args.scale = at(r, entry->scales);
    args.zero = at(r, entry->zeros);
    args.is_static = plan->static_scale > 0;
    args.static_scale = plan->static_scale;
    args.static_zero = plan->static_zero;
    args.gate = plan->gate;
  }
  if (clears && entry->ticket_bytes) {
    args.clear = at(r, entry->tickets);
    args.clear_count = (int)(entry->ticket_bytes / 4);
  }
  apq__shape shape = packing->shape;
  shape.grid[0] = (unsigned)r->m;
  return apq__kernel_launch(plan->context->device, packing->kernel->kernel, &shape, &args,
                            sizeof args, r->stream, r->error);
}

/* The activations of a product: as a pack kernel left them, or the input itself. */
static void give_activations(const run *r, const apq__product_entry *product, const void *x,
                             int64_t ldx, apq_gemm_args *args) {
  const apq_plan *plan = r->plan;
  const apq__entry *entry = r->slot->entry;
  if (product->quantizes) {
    args->x = x;
    args->ldx = ldx;
    args->format = (int)plan->format;
    args->is_static = plan->static_scale > 0;
    args->static_scale = plan->static_scale;
    args->static_zero = plan->static_zero;
    return;
  }
  args->a = at(r, entry->packing[product->form].at);
  args->a_sum = at(r, entry->sums);
  args->a_group_sum = at(r, entry->group_sums);
  if (!apq__plan_quantizes(plan)) return;
  args->a_scale = at(r, entry->scales);
  if (plan->format == APQ_FORMAT_UINT) args->a_zero = at(r, entry->zeros);
}

static apq_status launch_product(const run *r, int i, const void *x, int64_t ldx,
                                 const apq_output *output) {
  const apq_plan *plan = r->plan;
  const apq__entry *entry = r->slot->entry;
  const apq__product_entry *product = &entry->product[i];
  apq_gemm_args args = plan->product[i].args;
  give_activations(r, product, x, ldx, &args);
  args.y = output->y;
  args.other = output->other;
  args.ld_other = output->ld_other;
  args.partial = at(r, product->partial);
  args.tickets = at(r, product->tickets);
  args.ldy = output->ldy;
  args.m = r->m;
  return apq__product_launch(plan->context->device, product->kernel->kernel, &product->choice.shape,
                             &args, r->slot->maps ? &r->slot->maps[i] : NULL,
                             (apq__map_cache *)&plan->maps, plan->recipe->key.q, product->form,
                             r->stream, r->error);
}

/* All checks come first: what fails them leaves the stream, which may be under capture, as it was.
 */
static apq_status run_checked(const apq_plan *plan, int m, const void *x, int64_t ldx,
                              apq_output *output, void *workspace, size_t workspace_bytes,
                              void *stream, apq_error *error) {
  apq_status status = apq__plan_check_open(plan, error);
  if (status) return status;
  if (m < 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "m=%d: must be at least 1", m);
  const apq__plan_slot *slot = apq__plan_find(plan, m);
  if (!slot)
    return apq__fail(error, APQ_NOT_PREPARED, "argument",
                     "m=%d: not among the sizes given to apq_plan_prepare", m);
  const apq__recipe_key *key = &plan->recipe->key;
  const int count = plan->count;
  status = check_matrix(plan, x, "x", &ldx, key->is_gated ? 2 * key->k : key->k, key->input, error);
  for (int i = 0; i < count && !status; i++)
    status = check_output(plan, &plan->product[i], &output[i], error);
  if (!status) status = check_workspace(plan, slot->entry, m, workspace, workspace_bytes, error);

  const run r = {plan, slot, m, workspace, stream, error};
  int packed = 0;
  for (int form = 0; form < APQ__FORM_COUNT && !status; form++) {
    if (!slot->entry->packing[form].is_used) continue;
    status = launch_pack(&r, form, packed == 0, x, ldx);
    packed++;
  }
  for (int i = 0; i < count && !status; i++) status = launch_product(&r, i, x, ldx, &output[i]);
  return status;
}

/* ---- entry points ---- */

apq_status apq_plan_run(const apq_plan *plan, int m, const void *x, int64_t ldx, void *y,
                        int64_t ldy, void *workspace, size_t workspace_bytes, void *stream,
                        apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (status) return status;
  if (plan->count > 1 || plan->product[0].combine)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "plan: has several products or combines: use apq_plan_run_all");
  apq_output output = {.y = y, .ldy = ldy};
  return run_checked(plan, m, x, ldx, &output, workspace, workspace_bytes, stream, error);
}

apq_status apq_plan_run_all(const apq_plan *plan, int m, const void *x, int64_t ldx,
                            const apq_output *output, int count, void *workspace,
                            size_t workspace_bytes, void *stream, apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (!status) status = apq__check_pointer(output, "output", error);
  if (status) return status;
  if (count != plan->count)
    return apq__fail(error, APQ_BAD_SHAPE, "argument", "count=%d: the plan has %d products", count,
                     plan->count);
  apq_output copy[APQ_PRODUCTS_MAX];
  for (int i = 0; i < count; i++) copy[i] = output[i];
  return run_checked(plan, m, x, ldx, copy, workspace, workspace_bytes, stream, error);
}
