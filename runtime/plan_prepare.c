#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "context.h"
#include "kernel_launch.h"
#include "status.h"
#include "weights.h"

static apq_status no_memory(apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a prepared size");
}

/* Token counts first .. last that one choice of kernels is to serve. */
typedef struct span {
  int first, last;
} span;

/* ---- slots ---- */

static apq_status make_slot(const apq_plan *plan, span s, apq__plan_slot *slot, apq_error *error) {
  *slot = (apq__plan_slot){0};
  apq_status status =
      apq__entry_get(plan->context, plan->recipe, s.first, s.last, &slot->entry, error);
  for (int i = 0; i < plan->count && !status; i++) {
    const apq__shape *shape = &slot->entry->product[i].choice.shape;
    if (!shape->is_tma) continue;
    if (!slot->maps) slot->maps = apq__calloc((size_t)plan->count, sizeof *slot->maps);
    if (!slot->maps) return no_memory(error);
    status = apq__weights_map(plan->context->device, shape, &plan->product[i].args,
                              plan->product[i].weights->bits, &slot->maps[i], error);
  }
  if (status) apq__free(slot->maps);
  return status;
}

static int compare_slots(const void *left, const void *right) {
  const apq__plan_slot *a = left, *b = right;
  return (a->entry->high > b->entry->high) - (a->entry->high < b->entry->high);
}

static int holds(const apq__plan_slot *slot, int count, span s) {
  for (int i = 0; i < count; i++)
    if (slot[i].entry->low == s.first && slot[i].entry->high == s.last) return 1;
  return 0;
}

/* ---- the table ---- */

/* Room for the old slots and `more` in one list.  NULL when out of memory. */
static apq__slot_table *copy_table(apq__slot_table *old, int list, int more) {
  const int other = 1 - list;
  const int kept[APQ__SLOTS_COUNT] = {old ? old->count[0] : 0, old ? old->count[1] : 0};
  const size_t slots = (size_t)kept[0] + (size_t)kept[1] + (size_t)more;
  apq__slot_table *table = apq__calloc(1, sizeof *table + slots * sizeof table->storage[0]);
  if (!table) return NULL;
  table->previous = old;
  table->list[other] = table->storage;
  table->list[list] = table->storage + kept[other];
  for (int i = 0; i < APQ__SLOTS_COUNT; i++) {
    table->count[i] = kept[i];
    if (kept[i]) memcpy(table->list[i], old->list[i], (size_t)kept[i] * sizeof table->storage[0]);
  }
  return table;
}

/* Prepares what the current table lacks and publishes a table with all of it.  On failure nothing
 * changes. */
static apq_status extend(apq_plan *plan, int list, const span *spans, int count, apq_error *error) {
  apq__slot_table *old = atomic_load(&plan->table);
  const int old_count = old ? old->count[list] : 0;
  apq__slot_table *table = copy_table(old, list, count);
  if (!table) return no_memory(error);
  apq_status status = APQ_OK;
  for (int i = 0; i < count && !status; i++) {
    if (holds(table->list[list], table->count[list], spans[i])) continue;
    status = make_slot(plan, spans[i], &table->list[list][table->count[list]], error);
    if (!status) table->count[list]++;
  }
  if (!status && table->count[list] > old_count) {
    qsort(table->list[list], (size_t)table->count[list], sizeof table->storage[0], compare_slots);
    atomic_store_explicit(&plan->table, table, memory_order_release);
    return APQ_OK;
  }
  for (int i = old_count; i < table->count[list]; i++) apq__free(table->list[list][i].maps);
  apq__free(table);
  return status;
}

static apq_status extend_locked(apq_plan *plan, int list, const span *spans, int count,
                                apq_error *error) {
  apq_status status = apq__plan_check_open(plan, error);
  if (status) return status;
  pthread_mutex_lock(&plan->lock);
  status = extend(plan, list, spans, count, error);
  pthread_mutex_unlock(&plan->lock);
  return status;
}

/* ---- entry points ---- */

apq_status apq_plan_prepare(apq_plan *plan, const int *m, int count, apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (status) return status;
  if (count < 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "count=%d: is negative", count);
  if (count == 0) return APQ_OK;
  status = apq__check_pointer(m, "m", error);
  if (status) return status;
  span *spans = apq__calloc((size_t)count, sizeof *spans);
  if (!spans) return no_memory(error);
  for (int i = 0; i < count && !status; i++) {
    char name[16];
    snprintf(name, sizeof name, "m[%d]", i);
    status = apq__check_dimension(m[i], name, error);
    spans[i] = (span){m[i], m[i]};
  }
  if (!status) status = extend_locked(plan, APQ__SLOTS_SINGLE, spans, count, error);
  apq__free(spans);
  return status;
}

/* The counts that share a choice with m: each has its own up to 16, then an eighth of the power of
 * two below. */
static span span_of(int m) {
  enum { OWN = 16, PARTS = 8 };
  if (m <= OWN) return (span){m, m};
  int power = OWN;
  while (power <= (m - 1) / 2) power *= 2;
  int step = power / PARTS;
  int last = (m + step - 1) / step * step;
  return (span){last - step + 1, last};
}

apq_status apq_plan_prepare_range(apq_plan *plan, int from, int to, apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (!status) status = apq__check_dimension(from, "from", error);
  if (!status) status = apq__check_dimension(to, "to", error);
  if (status) return status;
  if (from > to)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "from=%d: above to=%d", from, to);
  enum { SPANS = 16 + 8 * 31 };
  span spans[SPANS];
  int count = 0;
  for (int64_t m = from; m <= to; m = (int64_t)spans[count - 1].last + 1)
    spans[count++] = span_of((int)m);
  return extend_locked(plan, APQ__SLOTS_RANGE, spans, count, error);
}
