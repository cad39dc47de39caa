#include "emu_impl.h"

#include <stdio.h>

enum {
  COUNT_MAX = (1 << 20) - 1, /* PTX ISA, mbarrier: arrivals, and bytes */
};

static void check_place(apq__emu *emu, int line, int at) {
  if (at < 0 || at + 8 > emu->shared_size)
    apq__emu_fault(emu, line, "mbarrier at offset %d: outside the block's %d bytes", at,
                   emu->shared_size);
  if (at % 8) apq__emu_fault(emu, line, "mbarrier at offset %d: misaligned", at);
}

static void init(apq_emu *words, int line, int at, int count) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_block *block = emu->block;
  check_place(emu, line, at);
  if (count < 1 || count > COUNT_MAX)
    apq__emu_fault(emu, line, "mbarrier at offset %d for %d arrivals: 1 to %d are possible", at,
                   count, COUNT_MAX);
  if (block->mbarrier_at[at / 8])
    apq__emu_fault(emu, line, "mbarrier at offset %d: initialized before, at line %d", at,
                   block->mbarriers[block->mbarrier_at[at / 8] - 1].line);
  if (block->mbarrier_count == APQ__EMU_MBARRIERS)
    apq__emu_fault(emu, line, "more than %d mbarriers, which the emulated device does not follow",
                   APQ__EMU_MBARRIERS);
  apq__emu_begin_async(emu);
  apq__emu_note_write8(emu, line, at);
  block->mbarriers[block->mbarrier_count] = (apq__emu_mbarrier){
      .block = block,
      .at = at,
      .count = count,
      .pending = count,
      .thread = words->thread,
      .line = line,
      .made_at = emu->clock,
  };
  block->mbarrier_at[at / 8] = (uint8_t)++block->mbarrier_count;
}

static void publish(apq_emu *words, int line) {
  (void)line;
  apq__emu *emu = apq__emu_of(words);
  apq__emu_block *block = emu->block;
  uint64_t now = apq__emu_tick(emu);
  for (int i = 0; i < block->mbarrier_count; i++)
    if (block->mbarriers[i].thread == words->thread && !block->mbarriers[i].published_at)
      block->mbarriers[i].published_at = now;
}

apq__emu_mbarrier *apq__emu_find_mbarrier(apq__emu *emu, int line, apq__emu_block *block, int at,
                                          int is_async) {
  check_place(emu, line, at);
  int index = block->mbarrier_at[at / 8];
  if (!index)
    apq__emu_fault(emu, line, "no mbarrier was initialized at offset %d%s", at,
                   block == emu->block ? "" : " of the other block");
  apq__emu_mbarrier *barrier = &block->mbarriers[index - 1];
  apq__emu_view view = apq__emu_view_now(emu);
  if (!apq__emu_is_after(emu, &view, block->rank, barrier->thread, barrier->made_at))
    apq__emu_fault(emu, line,
                   "mbarrier at offset %d: initialized by thread %d at line %d with no "
                   "barrier between",
                   at, barrier->thread, barrier->line);
  if (!is_async && block == emu->block) return barrier;
  if (!barrier->published_at ||
      !apq__emu_is_after(emu, &view, block->rank, barrier->thread, barrier->published_at))
    apq__emu_fault(emu, line,
                   "mbarrier at offset %d: no mbarrier_publish by thread %d between its "
                   "initialization at line %d and a barrier",
                   at, barrier->thread, barrier->line);
  return barrier;
}

void apq__emu_check_no_mbarrier(apq__emu *emu, const apq__emu_block *block, apq__emu_deed deed) {
  for (int i = 0; i < block->mbarrier_count; i++) {
    const apq__emu_mbarrier *barrier = &block->mbarriers[i];
    if (barrier->at < deed.at + deed.size && deed.at < barrier->at + 8)
      apq__emu_fault(emu, deed.line, "%s of %d bytes at offset %d: there is an mbarrier at %d",
                     deed.what, deed.size, deed.at, barrier->at);
  }
}

/* ---- phases ---- */

static apq__emu_known *gathered(apq__emu *emu, apq__emu_mbarrier *barrier) {
  if (!barrier->gathered) barrier->gathered = apq__emu_know_nothing(emu);
  return barrier->gathered;
}

/* Ends the phase when nothing is missing. */
static void try_complete(apq__emu *emu, int line, apq__emu_mbarrier *barrier) {
  if (barrier->pending) return;
  if (barrier->expected < 0)
    apq__emu_fault(emu, line, "mbarrier at offset %d: %lld bytes more than its phase expects",
                   barrier->at, -barrier->expected);
  if (barrier->expected) return;
  int index = (int)(barrier - barrier->block->mbarriers);
  gathered(emu, barrier)->time[apq__emu_mbarrier_place(&emu->order, barrier->block->rank, index)] =
      apq__emu_tick(emu);
  apq__emu_drop(&emu->order, barrier->done);
  barrier->done = barrier->gathered;
  barrier->gathered = NULL;
  barrier->pending = barrier->count;
  barrier->phase++;
  apq__emu_thread *waiter = barrier->waiters;
  barrier->waiters = NULL;
  for (; waiter; waiter = waiter->next_waiter) {
    waiter->awaited = NULL;
    apq__emu_learn(emu, waiter, barrier->done);
    apq__emu_wake_thread(emu, waiter);
  }
}

static void arrive_on(apq__emu *emu, int line, apq__emu_mbarrier *barrier, int bytes) {
  if (barrier->pending == 0)
    apq__emu_fault(
        emu, line,
        "mbarrier at offset %d: more than the %d arrivals of its phase, which still waits "
        "for %lld bytes",
        barrier->at, barrier->count, barrier->expected);
  barrier->expected += bytes;
  if (barrier->expected > COUNT_MAX)
    apq__emu_fault(emu, line, "mbarrier at offset %d: %lld bytes expected; at most %d are possible",
                   barrier->at, barrier->expected, COUNT_MAX);
  barrier->pending--;
  apq__emu_leave_thread(emu, gathered(emu, barrier), emu->current);
  try_complete(emu, line, barrier);
}

static void arrive(apq_emu *words, int line, int at) {
  apq__emu *emu = apq__emu_of(words);
  arrive_on(emu, line, apq__emu_find_mbarrier(emu, line, emu->block, at, 0), 0);
}

static void expect(apq_emu *words, int line, int at, int bytes) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_mbarrier *barrier = apq__emu_find_mbarrier(emu, line, emu->block, at, 0);
  if (bytes < 0) apq__emu_fault(emu, line, "mbarrier at offset %d: %d bytes expected", at, bytes);
  arrive_on(emu, line, barrier, bytes);
}

void apq__emu_check_alive(apq__emu *emu, int line, const apq__emu_block *block) {
  if (block->done_warps == emu->warp_count)
    apq__emu_fault(emu, line, "acts on block %d of the cluster, which has exited", block->rank);
}

/* The running thread arrives at another block, which must outlive that. */
static void note_visit(apq__emu *emu, int line, apq__emu_block *block) {
  if (block == emu->block) return;
  int self = emu->block->rank * emu->thread_count + emu->words.thread;
  block->visited[self] = emu->clock;
  block->visited_line[self] = line;
}

static void arrive_at(apq_emu *words, int line, int at, int rank) {
  apq__emu *emu = apq__emu_of(words);
  if (rank < 0 || rank >= emu->cluster)
    apq__emu_fault(emu, line, "mbarrier_arrive_at block %d of a cluster of %d", rank, emu->cluster);
  apq__emu_block *block = emu->blocks[rank];
  apq__emu_check_alive(emu, line, block);
  note_visit(emu, line, block);
  arrive_on(emu, line, apq__emu_find_mbarrier(emu, line, block, at, 0), 0);
}

void apq__emu_complete_bytes(apq__emu *emu, apq__emu_mbarrier *barrier, int bytes,
                             const apq__emu_op *op) {
  barrier->expected -= bytes;
  if (barrier->expected < 0 && barrier->pending == 0)
    apq__emu_blame(emu, emu->blocks[op->issuer], op->thread);
  try_complete(emu, op->line, barrier);
}

static void await(apq_emu *words, int line, int at, int parity) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  if (parity != 0 && parity != 1)
    apq__emu_fault(emu, line, "mbarrier_wait for parity %d: it is 0 or 1", parity);
  apq__emu_mbarrier *barrier = apq__emu_find_mbarrier(emu, line, emu->block, at, 0);
  if ((barrier->phase & 1) != (uint32_t)parity) {
    apq__emu_learn(emu, self, barrier->done);
    return;
  }
  self->awaited = barrier;
  self->awaited_line = line;
  self->awaited_parity = parity;
  self->next_waiter = barrier->waiters;
  barrier->waiters = self;
  apq__emu_wait_alone(emu);
}

void apq__emu_explain_wait(const apq__emu *emu, const apq__emu_thread *thread, char *text,
                           size_t size) {
  (void)emu;
  const apq__emu_mbarrier *barrier = thread->awaited;
  int length = snprintf(text, size, "phase %u of the mbarrier at offset %d lacks %d of %d arrivals",
                        barrier->phase, barrier->at, barrier->pending, barrier->count);
  if (barrier->expected)
    snprintf(text + length, size - (size_t)length,
             " and %lld bytes, of which none are on their way", barrier->expected);
}

void apq__emu_mbarrier_words(apq_emu *words) {
  words->mbarrier_init = init;
  words->mbarrier_publish = publish;
  words->mbarrier_arrive = arrive;
  words->mbarrier_arrive_at = arrive_at;
  words->mbarrier_expect = expect;
  words->mbarrier_wait = await;
}
