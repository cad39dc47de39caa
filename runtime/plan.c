#include "plan.h"

#include <stdint.h>

#include "alloc.h"
#include "context.h"
#include "status.h"
#include "weights.h"

int apq__plan_quantizes(const apq_plan *plan) {
  return plan->desc.input != APQ_DTYPE_CODES8;
}

apq__problem apq__plan_problem(const apq_plan *plan, int m) {
  const apq_weights *weights = plan->desc.weights;
  return (apq__problem){.p = weights->bits,
                        .q = plan->desc.bits,
                        .m = m,
                        .n = weights->n,
                        .k = weights->k,
                        .out = plan->desc.output};
}

static apq_status check_array(const void *array, const char *name, int allowed, const char *needs,
                              apq_error *error) {
  if (array && !allowed)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s: needs %s", name, needs);
  if ((uintptr_t)array % 4 != 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s: not aligned to 4 bytes", name);
  return APQ_OK;
}

static apq_status check_types(const apq_plan_desc *desc, apq_error *error) {
  if (desc->input != APQ_DTYPE_CODES8 && desc->input != APQ_DTYPE_F16 &&
      desc->input != APQ_DTYPE_BF16 && desc->input != APQ_DTYPE_F32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "input=%s: must be codes8, f16, bf16 or f32", apq_dtype_name(desc->input));
  if (desc->output != APQ_DTYPE_I32 && desc->output != APQ_DTYPE_F16 &&
      desc->output != APQ_DTYPE_BF16 && desc->output != APQ_DTYPE_F32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "output=%s: must be i32, f16, bf16 or f32", apq_dtype_name(desc->output));
  return APQ_OK;
}

static apq_status check_desc(apq_context *context, const apq_plan_desc *desc, apq_error *error) {
  const int is_codes = desc->input == APQ_DTYPE_CODES8;
  apq_status status = apq__check_pointer(desc->weights, "weights", error);
  if (status) return status;
  if (desc->weights->context != context)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "weights: made in another context");
  if (desc->weights->group)
    return apq__fail(error, APQ_UNSUPPORTED, "plan",
                     "weights: no kernel applies scales of groups of %d", desc->weights->group);
  status = apq__check_bits(desc->bits, "bits", error);
  if (!status) status = apq__check_format(desc->format, "format", error);
  if (!status) status = check_types(desc, error);
  if (!status)
    status = check_array(desc->input_scale, "input_scale", is_codes, "input codes8", error);
  if (!status)
    status =
        check_array(desc->input_zero, "input_zero", is_codes && desc->format == APQ_FORMAT_UINT,
                    "input codes8 and format uint", error);
  if (!status)
    status =
        check_array(desc->bias, "bias", desc->output != APQ_DTYPE_I32, "a floating output", error);
  if (status) return status;
  /* Zero points of tokens, given or computed, lie in the code range, so no value exceeds 2^bits
   * - 1. */
  int64_t max_input = apq__format_max_abs(desc->format, desc->bits, NULL, 0);
  return apq__check_bound(desc->weights->k, desc->weights->max_abs, max_input, error);
}

apq_status apq_plan_create(apq_context *context, const apq_plan_desc *desc, apq_plan **out,
                           apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(desc, "desc", error);
  if (!status) status = check_desc(context, desc, error);
  if (status) return status;

  apq_plan *plan = apq__calloc(1, sizeof *plan);
  if (!plan) return apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a plan");
  plan->context = context;
  plan->desc = *desc;
  plan->input = apq__format_affine(desc->format, desc->bits);
  atomic_init(&plan->table, NULL);
  if (pthread_mutex_init(&plan->lock, NULL) != 0) {
    apq__free(plan);
    return apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a mutex");
  }
  *out = plan;
  return APQ_OK;
}

void apq_plan_destroy(apq_plan *plan) {
  if (!plan) return;
  apq__entry_table *table = atomic_load(&plan->table);
  /* The newest table holds every entry of the older ones. */
  for (int i = 0; table && i < table->count; i++) {
    apq__free(table->entry[i]->rejected);
    apq__free(table->entry[i]);
  }
  while (table) {
    apq__entry_table *previous = table->previous;
    apq__free(table);
    table = previous;
  }
  pthread_mutex_destroy(&plan->lock);
  apq__free(plan);
}

const apq__entry *apq__plan_find(const apq_plan *plan, int m) {
  const apq__entry_table *table = atomic_load_explicit(&plan->table, memory_order_acquire);
  int low = 0, high = table ? table->count : 0;
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (table->entry[middle]->m < m)
      low = middle + 1;
    else
      high = middle;
  }
  return table && low < table->count && table->entry[low]->m == m ? table->entry[low] : NULL;
}

size_t apq_plan_workspace(const apq_plan *plan, int m) {
  const apq__entry *entry = plan ? apq__plan_find(plan, m) : NULL;
  return entry ? entry->layout.total : 0;
}
