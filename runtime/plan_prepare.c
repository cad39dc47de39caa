#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "generator.h"
#include "status.h"
#include "weights.h"

enum { ALIGNMENT = 256 };

/* ---- one token count ---- */

/* Takes `bytes` from the workspace; its offset. */
static size_t take(size_t *total, size_t bytes) {
  size_t at = *total;
  *total = at + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return at;
}

static apq__layout lay_out(const apq_plan *plan, int m, const apq__entry *entry) {
  const apq__shape *shape = &entry->choice.shape;
  const size_t row = (size_t)m * 4;
  const size_t planes = entry->wants_bytes ? 1 : (size_t)plan->desc.bits;
  apq__layout layout = {0};
  layout.packed = take(&layout.total, planes * (size_t)m * (size_t)entry->row_bytes);
  layout.sums = take(&layout.total, row);
  if (apq__plan_quantizes(plan)) {
    layout.scales = take(&layout.total, row);
    layout.zeros = take(&layout.total, row);
  }
  layout.partial = take(&layout.total, shape->workspace_bytes);
  layout.tickets = layout.partial + shape->workspace_bytes - shape->ticket_bytes;
  return layout;
}

apq_status apq__entry_lay_out(const apq_plan *plan, int m, const apq__choice *choice,
                              apq__entry *entry, apq_error *error) {
  const int k = plan->desc.weights->k;
  entry->m = m;
  entry->choice = *choice;
  entry->wants_bytes = apq__config_wants_bytes(&choice->config);
  entry->row_bytes = (int)(entry->wants_bytes ? apq__byte_row_bytes(k) : apq__plane_row_bytes(k));
  const apq__problem rows = apq__plan_problem(plan, m);
  apq_status status =
      apq__pack_config(plan->desc.input, &rows, entry->wants_bytes, &entry->pack_config, error);
  if (status) return status;
  status = apq__config_limits(&entry->pack_config, &rows, apq__context_target(plan->context),
                              &entry->pack_shape, error);
  if (!status) entry->layout = lay_out(plan, m, entry);
  return status;
}

static apq_status load_choice(const apq_plan *plan, int m, const apq__choice *choice,
                              apq__entry *entry, apq_error *error) {
  apq_status status = apq__entry_lay_out(plan, m, choice, entry, error);
  if (!status)
    status = apq__kernel_get(plan->context, &choice->config, choice->shape.smem_bytes,
                             choice->tuned, &entry->product, error);
  if (!status)
    status = apq__kernel_get(plan->context, &entry->pack_config, entry->pack_shape.smem_bytes, NULL,
                             &entry->pack, error);
  return status;
}

static void give_error(apq_error *from, apq_error *to) {
  if (!to) {
    apq_error_clear(from);
    return;
  }
  apq_error_clear(to);
  *to = *from;
}

static apq_status no_memory(apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a prepared size");
}

/* Tries the choices in their order; the ones that do not load are told in entry->rejected. */
static apq_status load_first(const apq_plan *plan, int m, const apq__choice *choice, int count,
                             apq__entry *entry, apq_error *error) {
  apq__text rejected = {0};
  apq_error trouble = APQ_ERROR_INIT;
  apq_status status = APQ_OK;
  for (int i = 0; i < count; i++) {
    status = load_choice(plan, m, &choice[i], entry, &trouble);
    if (status == APQ_OK || status == APQ_OUT_OF_MEMORY) break;
    apq__text_add(&rejected, "rejected: %s: %s\n", apq__source_name(choice[i].source),
                  trouble.message);
  }
  if (!status && rejected.failed) status = no_memory(&trouble);
  if (status) {
    apq__text_free(&rejected);
    give_error(&trouble, error);
    return status;
  }
  apq_error_clear(&trouble);
  entry->rejected = rejected.data;
  return APQ_OK;
}

static apq_status prepare_one(const apq_plan *plan, int m, apq__entry **out, apq_error *error) {
  const apq__problem problem = apq__plan_problem(plan, m);
  int count = 0;
  apq__entry *entry = apq__calloc(1, sizeof *entry);
  apq__choice *choice = apq__calloc(APQ__CHOICES_MAX, sizeof *choice);
  if (!entry || !choice) {
    apq__free(entry);
    apq__free(choice);
    return no_memory(error);
  }
  apq_status status = apq__dispatch(&plan->context->winners, &problem,
                                    apq__context_target(plan->context), choice, &count, error);
  if (!status) status = load_first(plan, m, choice, count, entry, error);
  apq__free(choice);
  if (status) {
    apq__free(entry);
    return status;
  }
  *out = entry;
  return APQ_OK;
}

/* ---- the table ---- */

static int compare_entries(const void *left, const void *right) {
  const apq__entry *const *a = left, *const *b = right;
  return ((*a)->m > (*b)->m) - ((*a)->m < (*b)->m);
}

static int holds(apq__entry *const *entry, int count, int m) {
  for (int i = 0; i < count; i++)
    if (entry[i]->m == m) return 1;
  return 0;
}

/* Prepares the counts that are not in the current table and publishes a table with all of them.  On
 * failure nothing changes. */
static apq_status extend(apq_plan *plan, const int *m, int count, apq_error *error) {
  apq__entry_table *old = atomic_load(&plan->table);
  const int old_count = old ? old->count : 0;
  const size_t slot = sizeof(apq__entry *);
  apq_status status = APQ_OK;
  apq__entry_table *table = apq__calloc(1, sizeof *table + (size_t)(old_count + count) * slot);
  if (!table) return no_memory(error);
  table->previous = old;
  table->count = old_count;
  if (old) memcpy(table->entry, old->entry, (size_t)old_count * slot);
  for (int i = 0; i < count && !status; i++) {
    if (holds(table->entry, table->count, m[i])) continue;
    status = prepare_one(plan, m[i], &table->entry[table->count], error);
    if (!status) table->count++;
  }
  if (!status && table->count > old_count) {
    qsort(table->entry, (size_t)table->count, slot, compare_entries);
    atomic_store_explicit(&plan->table, table, memory_order_release);
    return APQ_OK;
  }
  for (int i = old_count; i < table->count; i++) {
    apq__free(table->entry[i]->rejected);
    apq__free(table->entry[i]);
  }
  apq__free(table);
  return status;
}

apq_status apq_plan_prepare(apq_plan *plan, const int *m, int count, apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (status) return status;
  if (count < 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "count=%d: is negative", count);
  if (count == 0) return APQ_OK;
  status = apq__check_pointer(m, "m", error);
  if (status) return status;
  for (int i = 0; i < count && !status; i++) {
    char name[16];
    snprintf(name, sizeof name, "m[%d]", i);
    status = apq__check_dimension(m[i], name, error);
  }
  if (status) return status;
  pthread_mutex_lock(&plan->lock);
  status = extend(plan, m, count, error);
  pthread_mutex_unlock(&plan->lock);
  return status;
}
