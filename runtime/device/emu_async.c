#include "emu_impl.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "emu_record.h"

/* Asynchronous operations on shared memory and their traces.  Threads' accesses leave records in
 * cells (emu_shared.c), operations leave their numbers in chunks; each looks at both. */

enum { CHUNK = 16 };

apq__emu_view apq__emu_view_now(const apq__emu *emu) {
  return (apq__emu_view){
      .rank = emu->block->rank,
      .thread = emu->words.thread,
      .before = UINT64_MAX,
      .block_since = emu->block_since,
      .warp_since = emu->warp_since,
      .known = emu->current->known,
  };
}

int apq__emu_is_after(const apq__emu *emu, const apq__emu_view *view, int rank, int thread,
                      uint64_t time) {
  if (time >= view->before) return 0;
  if (rank == view->rank) {
    if (time < view->block_since || thread == view->thread) return 1;
    if (thread / APQ__EMU_LANES == view->thread / APQ__EMU_LANES && time < view->warp_since)
      return 1;
  }
  return view->known && apq__emu_knows(&emu->order, view->known, rank, thread, time);
}

void apq__emu_begin_async(apq__emu *emu) {
  apq__emu_block *block = emu->block;
  if (block->is_async) return;
  emu->is_async = block->is_async = 1;
  for (int i = 0; i < (emu->shared_size + CHUNK - 1) / CHUNK; i++)
    block->chunks[i].touched = block->index + 1;
}

uint32_t apq__emu_add_op(apq__emu *emu, apq__emu_op op) {
  if (emu->op_count == emu->op_capacity) {
    uint32_t capacity = emu->op_capacity ? 2 * emu->op_capacity : 256;
    apq__emu_op *ops = apq__realloc(emu->ops, (size_t)capacity * sizeof *ops);
    if (!ops) apq__emu_fault(emu, op.line, "no memory to emulate asynchronous operations");
    emu->ops = ops;
    emu->op_capacity = capacity;
  }
  emu->ops[emu->op_count] = op;
  return emu->first_op + emu->op_count++;
}

/* ---- reports ---- */

static const char *op_name(const apq__emu_op *op) {
  static const char *const names[] = {"a bulk copy", "a wgmma", "a bulk store"};
  return names[op->kind];
}

static _Noreturn void report_op(apq__emu *emu, const apq__emu_view *view, apq__emu_deed deed,
                                const apq__emu_op *op, const char *why) {
  char other[32] = "";
  if (op->issuer != view->rank) snprintf(other, sizeof other, " of block %d", op->issuer);
  apq__emu_blame(emu, emu->blocks[view->rank], view->thread);
  apq__emu_fault(emu, deed.line,
                 "%s of %d bytes at offset %d: %s issued by thread %d%s at line %d %s", deed.what,
                 deed.size, deed.at, op_name(op), op->thread, other, op->line, why);
}

static _Noreturn void report_record(apq__emu *emu, const apq__emu_view *view, int rank,
                                    apq__emu_deed deed, const char *act, uint64_t record,
                                    const char *why) {
  char other[32] = "";
  if (rank != view->rank) snprintf(other, sizeof other, " of block %d", rank);
  apq__emu_blame(emu, emu->blocks[view->rank], view->thread);
  apq__emu_fault(emu, deed.line, "%s of %d bytes at offset %d: %s by thread %d%s at line %d %s",
                 deed.what, deed.size, deed.at, act, apq__emu_record_thread(record), other,
                 apq__emu_record_line(record), why);
}

/* ---- what came before ---- */

/* The viewer knows that the copy has landed. */
static void check_landed(apq__emu *emu, const apq__emu_view *view, apq__emu_deed deed,
                         const apq__emu_op *op) {
  if (!op->is_done) report_op(emu, view, deed, op, "is still in flight");
  int place = apq__emu_mbarrier_place(&emu->order, op->rank, op->mbarrier);
  if (op->time[0] >= view->before || !view->known || view->known->time[place] <= op->time[0])
    report_op(emu, view, deed, op, "was not waited for by this thread");
}

/* The viewer comes after the wait for a read.  Warpgroups end their products together, so that
 * the wait of one of the four warps is enough. */
static int is_read_over(const apq__emu *emu, const apq__emu_view *view, const apq__emu_op *op) {
  if (op->kind == APQ__EMU_STORE)
    return op->is_done && apq__emu_is_after(emu, view, op->issuer, op->thread, op->time[0]);
  int first = op->thread / APQ__EMU_LANES / APQ__EMU_GROUP_WARPS * APQ__EMU_GROUP_WARPS;
  for (int i = 0; i < APQ__EMU_GROUP_WARPS; i++) {
    if (!op->time[i]) continue;
    int thread = (first + i) * APQ__EMU_LANES;
    if (op->issuer == view->rank && view->thread / APQ__EMU_LANES == first + i &&
        op->time[i] < view->before)
      return 1;
    for (int lane = 0; lane < APQ__EMU_LANES; lane++)
      if (apq__emu_is_after(emu, view, op->issuer, thread + lane, op->time[i])) return 1;
  }
  return 0;
}

static void check_reads(apq__emu *emu, const apq__emu_view *view, apq__emu_deed deed,
                        const apq__emu_chunk *chunk, uint32_t *known_over) {
  if (chunk->read_latest < emu->first_op) return;
  for (int i = 0; i <= APQ__EMU_GROUPS; i++) {
    const apq__emu_op *op = apq__emu_op_of(emu, chunk->read[i]);
    if (!op || chunk->read[i] == known_over[i]) continue;
    if (!is_read_over(emu, view, op))
      report_op(emu, view, deed, op, "reads them, and was not waited for with a barrier between");
    known_over[i] = chunk->read[i];
  }
}

/* The writer has fenced, and the viewer comes after that. */
static void check_fenced(apq__emu *emu, const apq__emu_view *view, int rank, apq__emu_deed deed,
                         uint64_t record) {
  int index = apq__emu_record_thread(record);
  const apq__emu_thread *thread = &emu->blocks[rank]->threads[index];
  int kept = thread->fences < APQ__EMU_FENCES ? thread->fences : APQ__EMU_FENCES;
  for (int i = thread->fences - kept; i < thread->fences; i++) {
    uint64_t fence = thread->fence[i % APQ__EMU_FENCES];
    if (fence <= record) continue;
    /* Of older fences nothing is known any more: one may have been the first after the record. */
    if (i == thread->fences - kept && kept < thread->fences) return;
    if (apq__emu_is_after(emu, view, rank, index, fence)) return;
    break;
  }
  report_record(emu, view, rank, deed, "written", record,
                "with no fence_async by it before the barrier");
}

static void check_record(apq__emu *emu, const apq__emu_view *view, int rank, apq__emu_deed deed,
                         const char *act, uint64_t record) {
  if (record & APQ__EMU_FLIGHT)
    report_record(emu, view, rank, deed, "a cp.async issued", record, "is still in flight");
  if (!apq__emu_is_after(emu, view, rank, apq__emu_record_thread(record), record))
    report_record(emu, view, rank, deed, act, record, "with no barrier between");
}

/* ---- threads ---- */

int apq__emu_check_loaded(apq__emu *emu, const apq__emu_view *view, const apq__emu_block *block,
                          apq__emu_deed deed) {
  if (!block->chunks) return 0;
  const apq__emu_op *op = apq__emu_op_of(emu, block->chunks[deed.at / CHUNK].loaded);
  if (!op) return 0;
  check_landed(emu, view, deed, op);
  return 1;
}

void apq__emu_check_chunk(apq__emu *emu, apq__emu_deed deed) {
  const apq__emu_chunk *chunk = &emu->chunks[deed.at / CHUNK];
  const apq__emu_op *load = apq__emu_op_of(emu, chunk->loaded);
  apq__emu_view view = apq__emu_view_now(emu);
  uint32_t over[APQ__EMU_GROUPS + 1] = {0};
  if (load) check_landed(emu, &view, deed, load);
  check_reads(emu, &view, deed, chunk, over);
}

/* ---- operations ---- */

static void check_span(apq__emu *emu, apq__emu_deed deed) {
  if (deed.at < 0 || deed.size < 0 || (long long)deed.at + deed.size > emu->shared_size)
    apq__emu_fault(emu, deed.line, "%s of %d bytes at offset %d: outside the block's %d bytes",
                   deed.what, deed.size, deed.at, emu->shared_size);
}

/* What threads did to the chunk before an operation writes there. */
static void check_cells(apq__emu *emu, const apq__emu_view *view, apq__emu_block *block,
                        apq__emu_deed deed, apq__emu_cell *cells) {
  for (int i = 0; i < CHUNK / 4; i++) {
    for (int half = 0; half < 2; half++) {
      uint64_t record = cells[i].written[half];
      if (!apq__emu_is_recent(emu, record)) continue;
      check_record(emu, view, block->rank, deed, "written", record);
      check_fenced(emu, view, block->rank, deed, record);
    }
    if (apq__emu_is_recent(emu, cells[i].read))
      check_record(emu, view, block->rank, deed, "read", cells[i].read);
    if (apq__emu_is_recent(emu, cells[i].read_before))
      check_record(emu, view, block->rank, deed, "read", cells[i].read_before);
  }
  memset(cells, 0, CHUNK / 4 * sizeof *cells);
}

void apq__emu_claim(apq__emu *emu, const apq__emu_view *view, apq__emu_block *block,
                    apq__emu_deed deed, uint32_t op) {
  uint32_t over[APQ__EMU_GROUPS + 1] = {0}, landed = 0;
  check_span(emu, deed);
  apq__emu_check_no_mbarrier(emu, block, deed);
  for (int at = deed.at; at < deed.at + deed.size; at += CHUNK) {
    apq__emu_chunk *chunk = &block->chunks[at / CHUNK];
    const apq__emu_deed here = {deed.line, deed.what, at, CHUNK};
    const apq__emu_op *load = apq__emu_op_of(emu, chunk->loaded);
    if (load && chunk->loaded != landed) {
      check_landed(emu, view, here, load);
      landed = chunk->loaded;
    }
    check_reads(emu, view, here, chunk, over);
    if (chunk->touched == block->index + 1)
      check_cells(emu, view, block, here, &block->cells[at / 4]);
    chunk->touched = 0;
    chunk->loaded = op;
  }
}

static void add_need(apq__emu *emu, apq__emu_needs *needs, apq__emu_need need, int line) {
  if (needs->count == needs->capacity) {
    int capacity = needs->capacity ? 2 * needs->capacity : 16;
    apq__emu_need *list = apq__realloc(needs->list, (size_t)capacity * sizeof *list);
    if (!list) apq__emu_fault(emu, line, "no memory to emulate asynchronous operations");
    needs->list = list;
    needs->capacity = capacity;
  }
  needs->list[needs->count++] = need;
}

static void need_record(apq__emu *emu, apq__emu_needs *needs, uint64_t record, int at, int line) {
  int thread = apq__emu_record_thread(record);
  if (emu->seen[thread] == emu->seen_stamp) {
    apq__emu_need *need = &needs->list[emu->seen_at[thread]];
    if (need->record < record) *need = (apq__emu_need){0, at, record};
    return;
  }
  emu->seen[thread] = emu->seen_stamp;
  emu->seen_at[thread] = (uint32_t)needs->count;
  add_need(emu, needs, (apq__emu_need){0, at, record}, line);
}

static void need_load(apq__emu *emu, apq__emu_needs *needs, uint32_t op, int at, int line) {
  for (int i = needs->count - 1; i >= 0 && i >= needs->count - 8; i--)
    if (needs->list[i].op == op) return;
  add_need(emu, needs, (apq__emu_need){op, at, 0}, line);
}

/* Each half word's last writer: a thread since the copy, or the copy. */
static void need_cells(apq__emu *emu, const apq__emu_view *view, const apq__emu_block *block,
                       apq__emu_deed deed, uint32_t loaded, apq__emu_needs *needs) {
  for (int i = 0; i < CHUNK / 4; i++) {
    const apq__emu_cell *cell = &block->cells[deed.at / 4 + i];
    for (int half = 0; half < 2; half++) {
      uint64_t record = cell->written[half];
      if (apq__emu_is_recent(emu, record)) {
        need_record(emu, needs, record, deed.at, deed.line);
      } else if (loaded >= emu->first_op) {
        need_load(emu, needs, loaded, deed.at, deed.line);
      } else {
        apq__emu_blame(emu, emu->blocks[view->rank], view->thread);
        apq__emu_fault(emu, deed.line, "%s of %d bytes at offset %d: never written", deed.what,
                       deed.size, deed.at);
      }
    }
  }
}

void apq__emu_clear_needs(apq__emu *emu, apq__emu_needs *needs) {
  needs->count = 0;
  emu->seen_stamp++;
}

void apq__emu_gather_needs(apq__emu *emu, const apq__emu_view *view, apq__emu_block *block,
                           apq__emu_deed deed, uint32_t op, int slot, apq__emu_needs *needs) {
  uint32_t last = 0;
  check_span(emu, deed);
  for (int at = deed.at; at < deed.at + deed.size; at += CHUNK) {
    apq__emu_chunk *chunk = &block->chunks[at / CHUNK];
    const apq__emu_deed here = {deed.line, deed.what, at, CHUNK};
    if (chunk->loaded < emu->first_op || chunk->touched == block->index + 1)
      need_cells(emu, view, block, here, chunk->loaded, needs);
    else if (chunk->loaded != last)
      need_load(emu, needs, last = chunk->loaded, at, deed.line);
    chunk->read_latest = chunk->read[slot] = op;
  }
}

void apq__emu_check_needs(apq__emu *emu, const apq__emu_view *view, const apq__emu_block *block,
                          apq__emu_deed deed, const apq__emu_needs *needs) {
  for (int i = 0; i < needs->count; i++) {
    const apq__emu_need *need = &needs->list[i];
    const apq__emu_deed here = {deed.line, deed.what, need->at, CHUNK};
    const apq__emu_op *op = apq__emu_op_of(emu, need->op);
    if (op) {
      check_landed(emu, view, here, op);
    } else {
      check_record(emu, view, block->rank, here, "written", need->record);
      check_fenced(emu, view, block->rank, here, need->record);
    }
  }
}
