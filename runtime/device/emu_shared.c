#include "emu_impl.h"

#include <stdio.h>
#include <string.h>

#include "emu_record.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef enum access_kind { READ, WRITE, ADD } access_kind;
static const char *const access_name[] = {"read", "write", "atomic addition"};
static const char *const deed_name[] = {"shared read", "shared write", "shared atomic addition"};

typedef struct shared_access {
  access_kind kind;
  int line, at, size;
} shared_access;

/* What the running thread would write into a record now. */
static inline uint64_t record_now(const apq__emu *emu, int line) {
  unsigned shown = line > 0xffff ? 0xffff : (unsigned)line;
  return emu->clock | shown << 16 | (unsigned)emu->words.thread;
}

/* Whether the record's maker is known by what was learned at other barriers than the block's.  Of
 * the many makers of an atomic record it is the last. */
static __attribute__((noinline)) int is_known(const apq__emu *emu, uint64_t record) {
  const apq__emu_known *known = emu->current->known;
  return known && apq__emu_knows(&emu->order, known, emu->block->rank,
                                 apq__emu_record_thread(record), record);
}

/* Whether a barrier (or program order) stands between the record and the running thread. */
static inline int is_ordered(const apq__emu *emu, uint64_t record) {
  if (record < emu->block_since) return 1;
  unsigned who = (unsigned)(record & APQ__EMU_WHO_MASK), self = (unsigned)emu->words.thread;
  if (who == self || who == (self | APQ__EMU_ATOMIC)) return 1;
  if (!(who & APQ__EMU_WIDE) &&
      (who & APQ__EMU_THREAD_MASK) / APQ__EMU_LANES == self / APQ__EMU_LANES &&
      record < emu->warp_since)
    return 1;
  return is_known(emu, record);
}

static _Noreturn void report(apq__emu *emu, shared_access access, const char *deed, uint64_t record,
                             const char *why) {
  char other[48];
  if (record & (APQ__EMU_MANY | APQ__EMU_WIDE))
    snprintf(other, sizeof other, "threads, last of them %d,", apq__emu_record_thread(record));
  else if (apq__emu_record_thread(record) == emu->words.thread)
    snprintf(other, sizeof other, "this thread");
  else
    snprintf(other, sizeof other, "thread %d", apq__emu_record_thread(record));
  apq__emu_fault(emu, access.line, "shared %s of %d bytes at offset %d: %s by %s at line %d %s",
                 access_name[access.kind], access.size, access.at, deed, other,
                 apq__emu_record_line(record), why);
}

/* Whether a bulk copy brought what no thread has written since. */
static int was_loaded(apq__emu *emu, shared_access access) {
  if (!emu->op_count) return 0;
  const apq__emu_view view = apq__emu_view_now(emu);
  return apq__emu_check_loaded(
      emu, &view, emu->block,
      (apq__emu_deed){access.line, deed_name[access.kind], access.at, access.size});
}

/* The long way for one half: everything that can be wrong with what was last written there. */
static __attribute__((noinline)) void check_written(apq__emu *emu, shared_access access,
                                                    uint64_t record) {
  if (!apq__emu_is_recent(emu, record)) {
    if (access.kind == WRITE || was_loaded(emu, access)) return;
    apq__emu_fault(emu, access.line, "shared %s of %d bytes at offset %d: never written",
                   access_name[access.kind], access.size, access.at);
  }
  if (record & APQ__EMU_FLIGHT)
    report(emu, access, "a cp.async issued", record, "is still in flight");
  if (access.kind == ADD && (record & APQ__EMU_ATOMIC)) return;
  if (!is_ordered(emu, record))
    report(emu, access, record & APQ__EMU_ATOMIC ? "added to" : "written", record,
           "with no barrier between");
}

static void check_readers(apq__emu *emu, shared_access access, const apq__emu_cell *cell) {
  if (!is_ordered(emu, cell->read))
    report(emu, access, "read", cell->read, "with no barrier between");
  if (!is_ordered(emu, cell->read_before))
    report(emu, access, "read", cell->read_before, "with no barrier between");
}

/* Keeps the two readers that any later writer must be compared with. */
static void note_reader(apq__emu *emu, apq__emu_cell *cell, uint64_t now) {
  uint64_t last = cell->read, before = cell->read_before;
  if (last < emu->block_since) {
    cell->read_before = 0;
  } else if ((last ^ now) & APQ__EMU_THREAD_MASK) {
    int same_warp = apq__emu_record_thread(last) / APQ__EMU_LANES ==
                    apq__emu_record_thread(now) / APQ__EMU_LANES;
    int wide = before >= emu->block_since && apq__emu_record_thread(before) / APQ__EMU_LANES !=
                                                 apq__emu_record_thread(last) / APQ__EMU_LANES;
    if (!same_warp || !wide) cell->read_before = last;
  }
  cell->read = now;
}

static inline void read_cell(apq__emu *emu, shared_access access, apq__emu_cell *cell,
                             uint64_t now) {
  uint64_t start = emu->cluster_start, record = cell->written[0];
  if (UNLIKELY(record != cell->written[1] || record - start >= emu->block_since - start)) {
    check_written(emu, access, record);
    check_written(emu, access, cell->written[1]);
  }
  if (cell->read != now) note_reader(emu, cell, now);
}

static inline void write_cell(apq__emu *emu, shared_access access, apq__emu_cell *cell,
                              uint64_t now) {
  uint64_t since = emu->block_since;
  if (UNLIKELY(cell->written[0] >= since || cell->written[1] >= since)) {
    check_written(emu, access, cell->written[0]);
    check_written(emu, access, cell->written[1]);
  }
  if (UNLIKELY(cell->read >= since)) check_readers(emu, access, cell);
  *cell = (apq__emu_cell){{now, now}, 0, 0};
}

/* What else the blocks of sm_90 have in shared memory: mbarriers, which only their own words may
 * touch, and traces of asynchronous operations. */
static __attribute__((noinline)) void check_rest(apq__emu *emu, shared_access access) {
  const apq__emu_block *block = emu->block;
  const apq__emu_deed deed = {access.line, deed_name[access.kind], access.at, access.size};
  emu->chunks[access.at / 16].touched = block->index + 1;
  if (block->mbarrier_at[access.at / 8] || block->mbarrier_at[(access.at + access.size - 1) / 8])
    apq__emu_check_no_mbarrier(emu, block, deed);
  if (access.kind != READ && emu->op_count) apq__emu_check_chunk(emu, deed);
}

static inline void check_span(apq__emu *emu, shared_access access) {
  if (UNLIKELY((unsigned)access.at + (unsigned)access.size > (unsigned)emu->shared_size ||
               access.at < 0))
    apq__emu_fault(emu, access.line,
                   "shared %s of %d bytes at offset %d: outside the block's %d bytes",
                   access_name[access.kind], access.size, access.at, emu->shared_size);
  if (UNLIKELY(access.at & (access.size - 1)))
    apq__emu_fault(emu, access.line, "shared %s of %d bytes at offset %d: misaligned",
                   access_name[access.kind], access.size, access.at);
  if (UNLIKELY(emu->is_async)) check_rest(emu, access);
}

static inline __attribute__((always_inline)) void read_span(apq__emu *emu, int line, int at,
                                                            int size) {
  const shared_access access = {READ, line, at, size};
  check_span(emu, access);
  uint64_t now = record_now(emu, line);
  for (int i = 0; i < size / 4; i++) read_cell(emu, access, &emu->cells[at / 4 + i], now);
}

static inline __attribute__((always_inline)) void write_span(apq__emu *emu, int line, int at,
                                                             int size) {
  const shared_access access = {WRITE, line, at, size};
  check_span(emu, access);
  uint64_t now = record_now(emu, line);
  for (int i = 0; i < size / 4; i++) write_cell(emu, access, &emu->cells[at / 4 + i], now);
}

void apq__emu_note_read16(apq__emu *emu, int line, int at) {
  read_span(emu, line, at, 16);
}

void apq__emu_note_write16(apq__emu *emu, int line, int at) {
  write_span(emu, line, at, 16);
}

void apq__emu_note_write8(apq__emu *emu, int line, int at) {
  write_span(emu, line, at, 8);
}

void apq__emu_mark_flight(apq__emu *emu, int at) {
  for (int i = 0; i < 4; i++) {
    apq__emu_cell *cell = &emu->cells[at / 4 + i];
    cell->written[0] |= APQ__EMU_FLIGHT;
    cell->written[1] |= APQ__EMU_FLIGHT;
  }
}

void apq__emu_mark_arrived(apq__emu *emu, int at) {
  for (int i = 0; i < 4; i++) {
    apq__emu_cell *cell = &emu->cells[at / 4 + i];
    uint64_t now = record_now(emu, apq__emu_record_line(cell->written[0]));
    cell->written[0] = now;
    cell->written[1] = now;
  }
}

static apq_u32 lds32(apq_emu *words, int line, int at) {
  apq__emu *emu = apq__emu_of(words);
  read_span(emu, line, at, 4);
  apq_u32 v;
  memcpy(&v, emu->shared + at, sizeof v);
  return v;
}

static apq_u32x4 lds128(apq_emu *words, int line, int at) {
  apq__emu *emu = apq__emu_of(words);
  read_span(emu, line, at, 16);
  apq_u32x4 v;
  memcpy(&v, emu->shared + at, sizeof v);
  return v;
}

static void sts16(apq_emu *words, int line, int at, apq_u16 v) {
  apq__emu *emu = apq__emu_of(words);
  const shared_access access = {WRITE, line, at, 2};
  check_span(emu, access);
  apq__emu_cell *cell = &emu->cells[at / 4];
  check_written(emu, access, cell->written[at / 2 % 2]);
  check_readers(emu, access, cell);
  cell->written[at / 2 % 2] = record_now(emu, line);
  memcpy(emu->shared + at, &v, sizeof v);
}

static void sts32(apq_emu *words, int line, int at, apq_u32 v) {
  apq__emu *emu = apq__emu_of(words);
  write_span(emu, line, at, 4);
  memcpy(emu->shared + at, &v, sizeof v);
}

static void sts128(apq_emu *words, int line, int at, apq_u32x4 v) {
  apq__emu *emu = apq__emu_of(words);
  write_span(emu, line, at, 16);
  memcpy(emu->shared + at, &v, sizeof v);
}

/* Readers stay: they are ordered with this thread, but maybe not with the next that adds. */
static void atomic_add_shared(apq_emu *words, int line, int at, apq_u32 v) {
  apq__emu *emu = apq__emu_of(words);
  const shared_access access = {ADD, line, at, 4};
  check_span(emu, access);
  apq__emu_cell *cell = &emu->cells[at / 4];
  check_written(emu, access, cell->written[0]);
  check_written(emu, access, cell->written[1]);
  check_readers(emu, access, cell);
  uint64_t last = cell->written[0], now = record_now(emu, line) | APQ__EMU_ATOMIC;
  if ((last & APQ__EMU_ATOMIC) && last >= emu->block_since) {
    int same_warp = apq__emu_record_thread(last) / APQ__EMU_LANES ==
                    apq__emu_record_thread(now) / APQ__EMU_LANES;
    if (!same_warp || (last & APQ__EMU_WIDE))
      now |= APQ__EMU_WIDE;
    else if ((last & APQ__EMU_MANY) || apq__emu_record_thread(last) != apq__emu_record_thread(now))
      now |= APQ__EMU_MANY;
  }
  cell->written[0] = cell->written[1] = now;
  apq_u32 sum;
  memcpy(&sum, emu->shared + at, sizeof sum);
  sum += v;
  memcpy(emu->shared + at, &sum, sizeof sum);
}

void apq__emu_shared_words(apq_emu *words) {
  words->lds32 = lds32;
  words->lds128 = lds128;
  words->sts16 = sts16;
  words->sts32 = sts32;
  words->sts128 = sts128;
  words->atomic_add_shared = atomic_add_shared;
}
