#include "emu_order.h"

#include <string.h>

#include "alloc.h"
#include "emu_impl.h"

void apq__emu_order_start(apq__emu *emu) {
  apq__emu_order *order = &emu->order;
  int stride = 1 + emu->warp_count + emu->thread_count + APQ__EMU_MBARRIERS;
  if (stride * emu->cluster != order->size) apq__emu_order_free(order);
  order->stride = stride;
  order->size = stride * emu->cluster;
  order->warps = emu->warp_count;
  order->threads = emu->thread_count;
}

void apq__emu_order_reset(apq__emu_order *order) {
  order->unused = NULL;
  for (apq__emu_known *at = order->all; at; at = at->next) {
    at->free = order->unused;
    at->merged = NULL;
    at->users = 0;
    order->unused = at;
  }
  memset(order->unions, 0, sizeof order->unions);
}

void apq__emu_order_free(apq__emu_order *order) {
  while (order->all) {
    apq__emu_known *gone = order->all;
    order->all = gone->next;
    apq__free(gone);
  }
  memset(order, 0, sizeof *order);
}

static apq__emu_known *take(apq__emu *emu) {
  apq__emu_order *order = &emu->order;
  apq__emu_known *known = order->unused;
  if (known) {
    order->unused = known->free;
  } else {
    known = apq__alloc(sizeof *known + (size_t)order->size * sizeof known->time[0]);
    if (!known) apq__emu_fault(emu, 0, "no memory to emulate barriers");
    known->next = order->all;
    order->all = known;
  }
  known->free = known->merged = NULL;
  known->users = 1;
  return known;
}

apq__emu_known *apq__emu_know_nothing(apq__emu *emu) {
  apq__emu_known *known = take(emu);
  memset(known->time, 0, (size_t)emu->order.size * sizeof known->time[0]);
  return known;
}

apq__emu_known *apq__emu_share(apq__emu_known *known) {
  if (known) known->users++;
  return known;
}

void apq__emu_drop(apq__emu_order *order, apq__emu_known *known) {
  while (known && --known->users == 0) {
    apq__emu_known *merged = known->merged;
    known->merged = NULL;
    known->free = order->unused;
    order->unused = known;
    known = merged;
  }
}

static void raise(uint64_t *to, uint64_t time) {
  if (*to < time) *to = time;
}

/* Takes `from` into `to`, unless that was the last one. */
static void merge(apq__emu *emu, apq__emu_known *to, apq__emu_known *from) {
  if (!from || to->merged == from) return;
  apq__emu_drop(&emu->order, to->merged);
  to->merged = apq__emu_share(from);
  for (int i = 0; i < emu->order.size; i++)
    if (to->time[i] < from->time[i]) to->time[i] = from->time[i];
}

void apq__emu_leave_thread(apq__emu *emu, apq__emu_known *to, const apq__emu_thread *thread) {
  const apq__emu_warp *warp = thread->warp;
  merge(emu, to, thread->known);
  uint64_t *time = to->time + warp->block->rank * emu->order.stride;
  raise(&time[0], warp->block->since);
  raise(&time[1 + warp->index], warp->since);
  time[1 + emu->order.warps + thread->index] = apq__emu_tick(emu);
}

void apq__emu_leave_warp(apq__emu *emu, apq__emu_known *to, const apq__emu_warp *warp) {
  for (int i = 0; i < warp->size; i++) merge(emu, to, warp->threads[i].known);
  uint64_t *time = to->time + warp->block->rank * emu->order.stride;
  raise(&time[0], warp->block->since);
  time[1 + warp->index] = apq__emu_tick(emu);
}

/* The union of two; one of them if it has all of the other. */
static apq__emu_known *unite(apq__emu *emu, apq__emu_known *a, apq__emu_known *b) {
  apq__emu_order *order = &emu->order;
  for (int i = 0; i < APQ__EMU_UNIONS; i++)
    if (order->unions[i].a == a && order->unions[i].b == b)
      return apq__emu_share(order->unions[i].both);
  apq__emu_known *both = take(emu);
  int a_lacks = 0, b_lacks = 0;
  for (int i = 0; i < order->size; i++) {
    uint64_t in_a = a->time[i], in_b = b->time[i];
    a_lacks |= in_a < in_b;
    b_lacks |= in_b < in_a;
    both->time[i] = in_a < in_b ? in_b : in_a;
  }
  if (!a_lacks || !b_lacks) {
    apq__emu_drop(order, both);
    both = apq__emu_share(a_lacks ? b : a);
  }
  int next = order->next_union++ % APQ__EMU_UNIONS;
  apq__emu_drop(order, order->unions[next].a);
  apq__emu_drop(order, order->unions[next].b);
  apq__emu_drop(order, order->unions[next].both);
  order->unions[next].a = apq__emu_share(a);
  order->unions[next].b = apq__emu_share(b);
  order->unions[next].both = apq__emu_share(both);
  return both;
}

void apq__emu_learn(apq__emu *emu, apq__emu_thread *thread, apq__emu_known *known) {
  apq__emu_known *old = thread->known;
  if (!known || old == known) return;
  thread->warp->block->is_knowing = 1;
  apq__emu_drop(&emu->order, known->merged); /* it grows no more */
  known->merged = NULL;
  thread->known = old ? unite(emu, old, known) : apq__emu_share(known);
  apq__emu_drop(&emu->order, old);
}

void apq__emu_learn_warp(apq__emu *emu, apq__emu_warp *warp, apq__emu_known *known) {
  for (int i = 0; i < warp->size; i++) apq__emu_learn(emu, &warp->threads[i], known);
}

void apq__emu_join_warp(apq__emu *emu, apq__emu_warp *warp) {
  apq__emu_known *first = warp->threads[0].known;
  int i = 1;
  while (i < warp->size && warp->threads[i].known == first) i++;
  if (i == warp->size) return;
  apq__emu_known *all = apq__emu_know_nothing(emu);
  for (i = 0; i < warp->size; i++) merge(emu, all, warp->threads[i].known);
  apq__emu_learn_warp(emu, warp, all);
  apq__emu_drop(&emu->order, all);
}

int apq__emu_knows(const apq__emu_order *order, const apq__emu_known *known, int rank, int thread,
                   uint64_t time) {
  const uint64_t *at = known->time + rank * order->stride;
  return time < at[0] || time < at[1 + thread / APQ__EMU_LANES] ||
         time < at[1 + order->warps + thread];
}
