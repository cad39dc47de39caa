#include "emu_impl.h"

#include <string.h>

#include "host.h"

/* The words at which all lanes of a warp meet.  The matrix words are told apart by their kind. */
typedef enum meeting { SYNC_BLOCK, SYNC_WARP, BALLOT, SHUFFLE, SHUFFLE_XOR, LDMATRIX, MMA } meeting;
static const char *const word_name[] = {
    "syncthreads", "syncwarp",   "ballot",     "shuffle", "shuffle_xor",
    "ldmatrix4",   "mma_b1_and", "mma_b1_xor", "mma_u8",
};

enum {
  POISON = 0xcd,
  SLICE_MASK = 63, /* a warp runs 1 to 64 collectives before another may run */
};
#define CLOCK_STEP ((uint64_t)1 << 32)
#define CLOCK_END  ((uint64_t)1 << 62)

static inline void become(apq__emu *emu, apq__emu_thread *thread) {
  emu->current = thread;
  emu->words.thread = thread->index;
  emu->warp_since = thread->warp->since;
}

static inline void resume(apq__emu *emu, apq__emu_thread *thread) {
  apq__emu_thread *self = emu->current;
  become(emu, thread);
  apq__fiber_switch(self->fiber, thread->fiber);
}

static apq__emu_thread *take_ready_warp(apq__emu *emu) {
  int i = (int)(apq__random(&emu->random) % (uint64_t)emu->ready_count);
  int warp = emu->ready[i];
  emu->ready[i] = emu->ready[--emu->ready_count];
  return emu->warps[warp].resume;
}

/* ---- meeting ---- */

static _Noreturn void report_divergence(apq__emu *emu, int word, int line) {
  const apq__emu_warp *warp = emu->current->warp;
  apq__emu_fault(
      emu, line, "%s, while thread %d of the same warp waits at %s at line %d: divergent",
      word_name[word], warp->threads[warp->first].index, word_name[warp->word], warp->line);
}

static _Noreturn void report_missing(apq__emu *emu, int word, int line) {
  const apq__emu_warp *warp = emu->current->warp;
  if (warp->exited)
    apq__emu_fault(emu, line, "%s, but %d threads of its warp have exited: it would wait forever",
                   word_name[word], warp->exited);
  apq__emu_fault(emu, line, "%s in a warp of only %d threads", word_name[word], warp->size);
}

/* Waits for the other lanes.  Returns 1 in the lane that comes last, before the others go on; it
 * acts for all. */
static inline int meet(apq__emu *emu, int word, int line) {
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  if (warp->arrived == 0) {
    warp->word = word;
    warp->line = line;
    warp->first = self->lane;
    if (warp->exited || (warp->size != APQ__EMU_LANES && word != SYNC_BLOCK))
      report_missing(emu, word, line);
  } else if (warp->word != word || warp->line != line) {
    report_divergence(emu, word, line);
  }
  if (++warp->arrived == warp->size) {
    warp->arrived = 0;
    return 1;
  }
  resume(emu, &warp->threads[warp->next[self->lane]]);
  return 0;
}

/* Now and then another warp gets its turn, so that warps do not only meet at barriers. */
static inline void maybe_yield(apq__emu *emu) {
  if (--emu->slice > 0 || emu->ready_count == 0) return;
  emu->slice = 1 + (int)(apq__random(&emu->random) & SLICE_MASK);
  apq__emu_warp *warp = emu->current->warp;
  warp->resume = emu->current;
  apq__emu_thread *other = take_ready_warp(emu);
  emu->ready[emu->ready_count++] = (int)(warp - emu->warps);
  resume(emu, other);
}

/* ---- barriers ---- */

static void shuffle_lanes(apq__emu *emu, apq__emu_warp *warp) {
  uint64_t random = apq__random(&emu->random);
  unsigned order = (unsigned)(random % APQ__EMU_ORDERS);
  warp->next = warp->size == APQ__EMU_LANES ? emu->orders[order] : emu->ragged[order];
  warp->resume = &warp->threads[(random >> 32) % (unsigned)warp->size];
}

static void open_barrier(apq__emu *emu) {
  int self = (int)(emu->current->warp - emu->warps);
  emu->clock += CLOCK_STEP;
  emu->block_since = emu->clock;
  emu->waiting_warps = 0;
  for (int i = 0; i < emu->warp_count; i++) {
    emu->warps[i].since = emu->clock;
    shuffle_lanes(emu, &emu->warps[i]);
    if (i != self) emu->ready[emu->ready_count++] = i;
  }
  emu->warp_since = emu->clock;
  maybe_yield(emu);
}

static void sync_block(apq_emu *words, int line) {
  apq__emu *emu = apq__emu_of(words);
  if (!meet(emu, SYNC_BLOCK, line)) return;
  if (emu->done_warps)
    apq__emu_fault(emu, line, "syncthreads, but %d warps have exited", emu->done_warps);
  if (emu->waiting_warps == 0) {
    emu->barrier_line = line;
    emu->barrier_thread = words->thread;
  } else if (emu->barrier_line != line) {
    apq__emu_fault(emu, line, "syncthreads, while thread %d waits at the one at line %d: divergent",
                   emu->barrier_thread, emu->barrier_line);
  }
  if (++emu->waiting_warps == emu->warp_count)
    open_barrier(emu);
  else
    resume(emu, take_ready_warp(emu));
}

static void sync_warp(apq_emu *words, int line) {
  apq__emu *emu = apq__emu_of(words);
  if (!meet(emu, SYNC_WARP, line)) return;
  emu->clock += CLOCK_STEP;
  emu->current->warp->since = emu->clock;
  emu->warp_since = emu->clock;
  maybe_yield(emu);
}

/* ---- collectives ----  A result stays until the whole warp has met again, so each lane reads its
 * own when it goes on. */

static apq_u32 ballot(apq_emu *words, int line, int predicate) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->value[self->lane] = predicate != 0;
  if (meet(emu, BALLOT, line)) {
    uint32_t mask = 0;
    for (int i = 0; i < APQ__EMU_LANES; i++) mask |= warp->value[i] << i;
    for (int i = 0; i < APQ__EMU_LANES; i++) warp->result[i] = mask;
    maybe_yield(emu);
  }
  return warp->result[self->lane];
}

static apq_u32 shuffle(apq_emu *words, int line, apq_u32 v, int lane) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->value[self->lane] = v;
  warp->argument[self->lane] = lane;
  if (meet(emu, SHUFFLE, line)) {
    for (int i = 0; i < APQ__EMU_LANES; i++)
      warp->result[i] = warp->value[warp->argument[i] & (APQ__EMU_LANES - 1)];
    maybe_yield(emu);
  }
  return warp->result[self->lane];
}

static apq_u32 shuffle_xor(apq_emu *words, int line, apq_u32 v, int mask) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->value[self->lane] = v;
  warp->argument[self->lane] = mask;
  if (meet(emu, SHUFFLE_XOR, line)) {
    for (int i = 0; i < APQ__EMU_LANES; i++) {
      int from = i ^ warp->argument[i];
      warp->result[i] = warp->value[from & ~(APQ__EMU_LANES - 1) ? i : from];
    }
    maybe_yield(emu);
  }
  return warp->result[self->lane];
}

/* A lane reads its row when it comes, so that a store by a lane that comes later is seen to be
 * late. */
static void ldmatrix4(apq_emu *words, int line, apq_u32 *r, int at) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  apq__emu_note_read16(emu, line, at);
  warp->argument[self->lane] = at;
  warp->r[self->lane] = r;
  if (!meet(emu, LDMATRIX, line)) return;
  for (int matrix = 0; matrix < 4; matrix++)
    for (int row = 0; row < 8; row++) {
      uint32_t row_words[4];
      memcpy(row_words, emu->shared + warp->argument[8 * matrix + row], sizeof row_words);
      for (int i = 0; i < 4; i++) warp->r[4 * row + i][matrix] = row_words[i];
    }
  maybe_yield(emu);
}

static void mma(apq_emu *words, int line, int kind, int *d, const apq_u32 *a, const apq_u32 *b) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->d[self->lane] = d;
  warp->a[self->lane] = a;
  warp->b[self->lane] = b;
  if (!meet(emu, MMA + kind, line)) return;
  apq__emu_mma(&emu->math, kind, warp->d, warp->a, warp->b);
  maybe_yield(emu);
}

/* ---- a block from start to end ---- */

static _Noreturn void exit_thread(apq__emu *emu) {
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  if (warp->arrived)
    apq__emu_fault(emu, 0, "exits, while thread %d of the same warp waits at %s at line %d",
                   warp->threads[warp->first].index, word_name[warp->word], warp->line);
  apq__emu_thread *other = &warp->threads[warp->next[self->lane]];
  if (++warp->exited == warp->size) {
    if (emu->waiting_warps)
      apq__emu_fault(emu, 0, "exits, while thread %d waits at syncthreads at line %d",
                     emu->barrier_thread, emu->barrier_line);
    if (++emu->done_warps == emu->warp_count) apq__fiber_leave(&emu->home);
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

static void ready_block(apq__emu *emu) {
  if (emu->clock >= CLOCK_END) {
    memset(emu->cells, 0, (size_t)emu->base.target.smem_per_block / 4 * sizeof *emu->cells);
    emu->clock = 0;
  }
  emu->clock += CLOCK_STEP;
  emu->block_start = emu->block_since = emu->clock;
  emu->ready_count = emu->waiting_warps = emu->done_warps = 0;
  emu->polls = 0;
  emu->first_interval = emu->memory.interval_count;
  emu->atomic_at = 0;
  emu->slice = 1 + (int)(apq__random(&emu->random) & SLICE_MASK);
  memset(emu->shared, POISON, (size_t)emu->shared_size);
  for (int i = 0; i < emu->thread_count; i++) {
    apq__emu_thread *thread = &emu->threads[i];
    thread->index = i;
    thread->lane = i % APQ__EMU_LANES;
    thread->warp = &emu->warps[i / APQ__EMU_LANES];
    thread->fiber = &emu->pool.fibers[i];
    thread->first = thread->last = thread->groups = 0;
    thread->interval = 0;
    apq__fiber_prepare(thread->fiber, start_thread, emu);
  }
  for (int i = 0; i < emu->warp_count; i++) {
    apq__emu_warp *warp = &emu->warps[i];
    int left = emu->thread_count - i * APQ__EMU_LANES;
    warp->threads = &emu->threads[i * APQ__EMU_LANES];
    warp->size = left < APQ__EMU_LANES ? left : APQ__EMU_LANES;
    warp->arrived = warp->exited = 0;
    warp->since = emu->clock;
    shuffle_lanes(emu, warp);
    emu->ready[emu->ready_count++] = i;
  }
}

void apq__emu_run_block(apq__emu *emu) {
  ready_block(emu);
  apq__emu_thread *first = take_ready_warp(emu);
  become(emu, first);
  apq__fiber_switch(&emu->home, first->fiber);
}

void apq__emu_warp_words(apq_emu *words) {
  words->sync_block = sync_block;
  words->sync_warp = sync_warp;
  words->ballot = ballot;
  words->shuffle = shuffle;
  words->shuffle_xor = shuffle_xor;
  words->ldmatrix4 = ldmatrix4;
  words->mma = mma;
}
