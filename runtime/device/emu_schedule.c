#include "emu_impl.h"

#include <stdio.h>
#include <string.h>

#include "host.h"

enum { SLICE_MASK = 63 }; /* a warp runs 1 to 64 collectives before another may run */

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

const char *apq__emu_word_name(int word) {
#define NAME(name, text) text,
  static const char *const names[] = {APQ__EMU_MEETINGS(NAME)};
#undef NAME
  return names[word];
}

/* ---- who runs ---- */

static __attribute__((noinline)) void enter_block(apq__emu *emu, apq__emu_block *block) {
  emu->block = block;
  emu->shared = block->shared;
  emu->cells = block->cells;
  emu->chunks = block->chunks;
  emu->is_async = block->is_async;
  emu->block_since = block->since;
  emu->words.rank = block->rank;
  memcpy(emu->words.block, block->position, sizeof emu->words.block);
}

static inline void become(apq__emu *emu, apq__emu_thread *thread) {
  apq__emu_warp *warp = thread->warp;
  emu->current = thread;
  emu->words.thread = thread->index;
  emu->warp_since = warp->since;
  warp->state = APQ__EMU_RUNNING;
  if (UNLIKELY(emu->block != warp->block)) enter_block(emu, warp->block);
}

static inline void resume(apq__emu *emu, apq__emu_thread *thread) {
  apq__emu_thread *self = emu->current;
  become(emu, thread);
  if (thread != self) apq__fiber_switch(self->fiber, thread->fiber);
}

/* The lane after this one, in the warp's order, that can run; NULL if none can. */
static inline apq__emu_thread *next_lane(const apq__emu_warp *warp, int lane) {
  if (UNLIKELY(!warp->runnable)) return NULL;
  do lane = warp->next[lane];
  while (!(warp->runnable >> lane & 1));
  return &warp->threads[lane];
}

/* ---- deadlocks ---- */

static int is_alone(const apq__emu_warp *warp, int lane) {
  return warp->threads[lane].awaited != NULL;
}

/* A thread that waits for an mbarrier, as the likely cause of the others' waiting. */
static const apq__emu_thread *find_lone_waiter(const apq__emu *emu) {
  for (int i = 0; i < emu->cluster * emu->warp_count; i++)
    for (int lane = 0; lane < emu->warps[i].size; lane++)
      if (is_alone(&emu->warps[i], lane)) return &emu->warps[i].threads[lane];
  return NULL;
}

static _Noreturn void report_deadlock(apq__emu *emu) {
  const apq__emu_thread *waiter = find_lone_waiter(emu);
  if (waiter) {
    char text[160];
    apq__emu_explain_wait(emu, waiter, text, sizeof text);
    apq__emu_blame(emu, waiter->warp->block, waiter->index);
    apq__emu_fault(emu, waiter->awaited_line, "waits forever: %s", text);
  }
  for (int i = 0; i < emu->cluster; i++) apq__emu_compare_products(emu, emu->blocks[i]);
  for (int i = 0; i < emu->cluster * emu->warp_count; i++) {
    const apq__emu_warp *warp = &emu->warps[i];
    if (warp->exited == warp->size) continue;
    apq__emu_blame(emu, warp->block, warp->threads[0].index);
    apq__emu_fault(emu, warp->line, "waits at %s forever: no other thread can come",
                   apq__emu_word_name(warp->parked_word));
  }
  apq__emu_fault(emu, 0, "nothing can run");
}

static apq__emu_thread *take_ready_warp(apq__emu *emu) {
  uint64_t random = apq__random(&emu->random);
  if (emu->flight_count && (random >> 32) % 4 == 0) apq__emu_land(emu);
  while (emu->ready_count == 0)
    if (!apq__emu_land(emu)) report_deadlock(emu);
  int i = (int)((uint32_t)random % (uint32_t)emu->ready_count);
  apq__emu_warp *warp = emu->ready[i];
  emu->ready[i] = emu->ready[--emu->ready_count];
  int lane = warp->resume->lane;
  return warp->runnable >> lane & 1 ? warp->resume : next_lane(warp, lane);
}

static void make_ready(apq__emu *emu, apq__emu_warp *warp) {
  warp->state = APQ__EMU_READY;
  emu->ready[emu->ready_count++] = warp;
}

/* ---- waiting ---- */

/* No lane of the running warp can go on. */
static __attribute__((noinline)) void leave_to_warp(apq__emu *emu) {
  apq__emu_thread *self = emu->current;
  self->warp->state = APQ__EMU_PARKED;
  self->warp->resume = self;
  resume(emu, take_ready_warp(emu));
}

/* The running thread cannot go on: another lane does, or another warp. */
static inline void leave_to_other(apq__emu *emu) {
  apq__emu_thread *self = emu->current;
  apq__emu_thread *other = next_lane(self->warp, self->lane);
  if (UNLIKELY(!other)) {
    leave_to_warp(emu);
    return;
  }
  emu->current = other;
  emu->words.thread = other->index;
  apq__fiber_switch(self->fiber, other->fiber);
}

static _Noreturn void report_divergence(apq__emu *emu, int word, int line) {
  const apq__emu_warp *warp = emu->current->warp;
  apq__emu_fault(emu, line,
                 "%s, while thread %d of the same warp waits at %s at line %d: divergent",
                 apq__emu_word_name(word), warp->threads[warp->first].index,
                 apq__emu_word_name(warp->word), warp->line);
}

static _Noreturn void report_missing(apq__emu *emu, int word, int line) {
  const apq__emu_warp *warp = emu->current->warp;
  if (warp->exited)
    apq__emu_fault(emu, line, "%s, but %d threads of its warp have exited: it would wait forever",
                   apq__emu_word_name(word), warp->exited);
  apq__emu_fault(emu, line, "%s in a warp of only %d threads", apq__emu_word_name(word),
                 warp->size);
}

static int wants_whole_warp(int word) {
  return word != APQ__EMU_SYNC_BLOCK && word != APQ__EMU_SYNC_CLUSTER;
}

int apq__emu_meet(apq__emu *emu, int word, int line) {
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  if (warp->arrived == 0) {
    warp->word = word;
    warp->line = line;
    warp->first = self->lane;
    if (UNLIKELY(warp->exited || (warp->size != APQ__EMU_LANES && wants_whole_warp(word))))
      report_missing(emu, word, line);
  } else if (UNLIKELY(warp->word != word || warp->line != line)) {
    report_divergence(emu, word, line);
  }
  if (++warp->arrived == warp->size) {
    warp->arrived = 0;
    warp->runnable = ~(uint32_t)0 >> (APQ__EMU_LANES - warp->size);
    return 1;
  }
  warp->runnable &= ~((uint32_t)1 << self->lane);
  leave_to_other(emu);
  return 0;
}

void apq__emu_yield(apq__emu *emu) {
  if (--emu->slice > 0 || emu->ready_count == 0) return;
  emu->slice = 1 + (int)(apq__random(&emu->random) & SLICE_MASK);
  apq__emu_warp *warp = emu->current->warp;
  warp->resume = emu->current;
  apq__emu_thread *other = take_ready_warp(emu);
  make_ready(emu, warp);
  resume(emu, other);
}

void apq__emu_wait_alone(apq__emu *emu) {
  apq__emu_thread *self = emu->current;
  self->warp->runnable &= ~((uint32_t)1 << self->lane);
  leave_to_other(emu);
}

void apq__emu_wake_thread(apq__emu *emu, apq__emu_thread *thread) {
  apq__emu_warp *warp = thread->warp;
  warp->runnable |= (uint32_t)1 << thread->lane;
  if (warp->state != APQ__EMU_PARKED) return;
  warp->resume = thread;
  make_ready(emu, warp);
}

void apq__emu_shuffle_lanes(apq__emu *emu, apq__emu_warp *warp) {
  uint64_t random = apq__random(&emu->random);
  unsigned order = (unsigned)(random % APQ__EMU_ORDERS);
  warp->next = warp->size == APQ__EMU_LANES ? emu->orders[order] : emu->ragged[order];
  warp->resume = &warp->threads[(random >> 32) % (unsigned)warp->size];
}

void apq__emu_park(apq__emu *emu, int word, int line) {
  apq__emu_warp *warp = emu->current->warp;
  warp->parked_word = word;
  warp->line = line;
  warp->state = APQ__EMU_PARKED;
  resume(emu, take_ready_warp(emu));
}

void apq__emu_wake_warp(apq__emu *emu, apq__emu_warp *warp) {
  apq__emu_shuffle_lanes(emu, warp);
  if (warp->state == APQ__EMU_PARKED) make_ready(emu, warp);
}

/* ---- blocks from start to end ---- */

/* The last thread of a warp exits. */
static void exit_warp(apq__emu *emu) {
  apq__emu_block *block = emu->block;
  if (block->waiting_warps)
    apq__emu_fault(emu, 0, "exits, while thread %d waits at syncthreads at line %d",
                   block->barrier_thread, block->barrier_line);
  if (emu->waiting_warps)
    apq__emu_fault(emu, 0, "exits, while others of its cluster wait at cluster_sync");
  if (++block->done_warps < emu->warp_count) return;
  apq__emu_end_block(emu, block);
  if (++emu->done_blocks == emu->cluster) apq__fiber_leave(&emu->home);
}

static _Noreturn void exit_thread(apq__emu *emu) {
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  if (warp->arrived)
    apq__emu_fault(emu, 0, "exits, while thread %d of the same warp waits at %s at line %d",
                   warp->threads[warp->first].index, apq__emu_word_name(warp->word), warp->line);
  apq__emu_finish_products(emu);
  apq__emu_finish_stores(emu);
  if (emu->cluster > 1) {
    apq__emu_block *block = emu->block;
    if (!block->known_at_exit) block->known_at_exit = apq__emu_know_nothing(emu);
    apq__emu_leave_thread(emu, block->known_at_exit, self);
  }
  warp->runnable &= ~((uint32_t)1 << self->lane);
  if (++warp->exited == warp->size) exit_warp(emu);
  apq__emu_thread *other = next_lane(warp, self->lane);
  if (!other) {
    warp->state = APQ__EMU_PARKED;
    warp->resume = self;
    other = take_ready_warp(emu);
  }
  become(emu, other);
  apq__fiber_leave(other->fiber);
}

static void start_thread(void *argument) {
  apq__emu *emu = argument;
  apq__fiber_entered(&emu->home);
  emu->kernel->code->run(emu->args);
  exit_thread(emu);
}

static void draw_order(apq__emu *emu, int size, uint8_t next[APQ__EMU_LANES]) {
  uint8_t lanes[APQ__EMU_LANES];
  for (int i = 0; i < size; i++) lanes[i] = (uint8_t)i;
  for (int i = size - 1; i > 0; i--) {
    int j = (int)(apq__random(&emu->random) % (uint64_t)(i + 1));
    uint8_t lane = lanes[i];
    lanes[i] = lanes[j];
    lanes[j] = lane;
  }
  for (int i = 0; i < size; i++) next[lanes[i]] = lanes[(i + 1) % size];
}

void apq__emu_draw_orders(apq__emu *emu) {
  int rest = emu->thread_count % APQ__EMU_LANES;
  for (int i = 0; i < APQ__EMU_ORDERS; i++) {
    draw_order(emu, APQ__EMU_LANES, emu->orders[i]);
    if (rest) draw_order(emu, rest, emu->ragged[i]);
  }
}

void apq__emu_run_cluster(apq__emu *emu, uint32_t first_block) {
  emu->ready_count = emu->waiting_warps = emu->done_blocks = 0;
  emu->polls = 0;
  emu->first_interval = emu->memory.interval_count;
  emu->slice = 1 + (int)(apq__random(&emu->random) & SLICE_MASK);
  for (int i = 0; i < emu->cluster; i++)
    apq__emu_start_block(emu, emu->blocks[i], first_block + (uint32_t)i);
  for (int i = 0; i < emu->cluster * emu->thread_count; i++)
    apq__fiber_prepare(emu->threads[i].fiber, start_thread, emu);
  for (int i = 0; i < emu->cluster * emu->warp_count; i++) make_ready(emu, &emu->warps[i]);
  apq__emu_thread *first = take_ready_warp(emu);
  emu->block = NULL; /* whatever was at hand is not this cluster's */
  become(emu, first);
  apq__fiber_switch(&emu->home, first->fiber);
}
