#include "emu_impl.h"

#include <string.h>

#include "alloc.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

enum { POLLS_MAX = 1000 * 1000 }; /* volatile loads of one address in a row */

/* The long way: finds the allocation, remembers it, or reports. */
static __attribute__((noinline)) apq__emu_allocation *
look_up(apq__emu *emu, int line, uintptr_t address, size_t size, const char *deed) {
  apq__emu_memory *memory = &emu->memory;
  char text[200];
  if (address & (size - 1))
    apq__emu_fault(emu, line, "global %s of %zu bytes at %p: misaligned", deed, size,
                   (void *)address);
  if (apq__emu_explain(memory, address, size, text))
    apq__emu_fault(emu, line, "global %s of %zu bytes %s", deed, size, text);
  apq__emu_allocation *at = apq__emu_find(memory, address);
  memory->hot[memory->hot_next] = at;
  memory->hot_next = (memory->hot_next + 1) % APQ__EMU_HOT;
  return at;
}

static inline __attribute__((always_inline)) apq__emu_allocation *
check(apq__emu *emu, int line, const void *pointer, size_t size, const char *deed) {
  uintptr_t address = (uintptr_t)pointer;
  for (int i = 0; i < APQ__EMU_HOT && !(address & (size - 1)); i++) {
    apq__emu_allocation *at = emu->memory.hot[i];
    uintptr_t offset = address - at->base;
    if (offset < at->size && size <= at->size - offset) return at;
  }
  return look_up(emu, line, address, size, deed);
}

/* An access of any size by an asynchronous copy. */
static apq__emu_allocation *check_span(apq__emu *emu, int line, const void *pointer, size_t size,
                                       const char *deed) {
  char text[200];
  if (apq__emu_explain(&emu->memory, (uintptr_t)pointer, size, text))
    apq__emu_fault(emu, line, "global %s of %zu bytes %s", deed, size, text);
  return apq__emu_find(&emu->memory, (uintptr_t)pointer);
}

static _Noreturn void report_writer(apq__emu *emu, int line, const apq__emu_interval *writer,
                                    size_t offset, const char *why) {
  uint32_t x = (uint32_t)emu->words.grid[0], y = (uint32_t)emu->words.grid[1];
  apq__emu_fault(emu, line,
                 "global read at offset %zu of an allocation: written in this launch by block "
                 "(%u,%u,%u) thread %u%s",
                 offset, writer->block % x, writer->block / x % y, writer->block / x / y,
                 writer->thread, why);
}

typedef enum load_kind { PLAIN, COHERENT } load_kind;

/* Whether the running thread comes after what `thread` of its block did at this time. */
static int is_after(const apq__emu *emu, int thread, uint64_t clock) {
  const apq__emu_view view = apq__emu_view_now(emu);
  return apq__emu_is_after(emu, &view, emu->block->rank, thread, clock);
}

/* Before grid_wait, a dependent launch may find the launches before it at work. */
static __attribute__((noinline)) void check_dependent(apq__emu *emu, int line,
                                                      const apq__emu_allocation *at,
                                                      uintptr_t address, size_t size) {
  size_t offset = address - at->base;
  for (size_t i = offset / 4; at->writes && i <= (offset + size - 1) / 4; i++) {
    uint64_t launch = at->writes[i] >> 32;
    if (launch >= emu->memory.chain && launch < emu->memory.launch)
      apq__emu_fault(emu, line,
                     "global read at offset %zu of an allocation, before grid_wait in a dependent "
                     "launch: a launch before may still write it",
                     4 * i);
  }
}

/* The running thread learns what others have announced by atomics. */
static void note_atomic(apq__emu *emu) {
  apq__emu_warp *warp = emu->current->warp;
  emu->current->has_atomic = 1;
  if (warp->atomic_at) return;
  warp->atomic_at = emu->clock;
  warp->atomic_thread = emu->words.thread;
}

/* Whether an atomic of this block comes before what the running thread does. */
static int is_after_atomic(const apq__emu *emu) {
  if (emu->current->has_atomic) return 1;
  for (int i = 0; i < emu->warp_count; i++) {
    const apq__emu_warp *warp = &emu->block->warps[i];
    if (warp->atomic_at && is_after(emu, warp->atomic_thread, warp->atomic_at)) return 1;
  }
  return 0;
}

/* A plain load may be served by a cache that does not see writes of the same launch.  A coherent
 * one sees those of other blocks if they were published, and if this block has found that out by an
 * atomic. */
static __attribute__((noinline)) void check_writes(apq__emu *emu, int line,
                                                   const apq__emu_allocation *at, uintptr_t address,
                                                   size_t size, load_kind kind) {
  size_t offset = address - at->base;
  for (size_t i = offset / 4; i <= (offset + size - 1) / 4; i++) {
    if (at->writes[i] >> 32 != emu->memory.launch) continue;
    const apq__emu_interval *writer = &emu->memory.intervals[(uint32_t)at->writes[i]];
    if (kind == PLAIN)
      report_writer(emu, line, writer, 4 * i, ": only a volatile load is sure to see it");
    if (writer == emu->memory.intervals || writer->block == emu->block->index) continue;
    if (!writer->published)
      report_writer(emu, line, writer, 4 * i, ", with no threadfence, barrier and atomic after it");
    if (!is_after_atomic(emu))
      report_writer(emu, line, writer, 4 * i,
                    ", with no atomic and barrier of this block before it");
  }
}

/* The running thread's interval, begun by its first write after a fence. */
static uint32_t current_interval(apq__emu *emu, int line) {
  apq__emu_memory *memory = &emu->memory;
  apq__emu_thread *thread = emu->current;
  if (thread->interval && !memory->intervals[thread->interval].covered_at) {
    memory->intervals[thread->interval].written_at = emu->clock;
    return thread->interval;
  }
  if (memory->interval_count == memory->interval_capacity) {
    uint32_t capacity = 2 * memory->interval_capacity;
    apq__emu_interval *intervals =
        apq__realloc(memory->intervals, (size_t)capacity * sizeof *intervals);
    if (!intervals) apq__emu_fault(emu, line, "no memory to emulate fences");
    memory->intervals = intervals;
    memory->interval_capacity = capacity;
  }
  thread->interval = memory->interval_count++;
  memory->intervals[thread->interval] = (apq__emu_interval){
      .written_at = emu->clock, .block = emu->block->index, .thread = (uint16_t)thread->index};
  return thread->interval;
}

static void note_write(apq__emu *emu, int line, apq__emu_allocation *at, uintptr_t address,
                       size_t size, uint32_t interval) {
  if (!at->writes) {
    at->writes = apq__calloc((at->size + 3) / 4, sizeof *at->writes);
    if (!at->writes) apq__emu_fault(emu, line, "no memory to emulate global writes");
  }
  size_t offset = address - at->base;
  for (size_t i = offset / 4; i <= (offset + size - 1) / 4; i++)
    at->writes[i] = (uint64_t)emu->memory.launch << 32 | interval;
}

static inline void check_load(apq__emu *emu, int line, const void *pointer, size_t size,
                              load_kind kind) {
  const apq__emu_allocation *at = check(emu, line, pointer, size, "read");
  if (UNLIKELY(emu->is_dependent) && !emu->current->grid_waited)
    check_dependent(emu, line, at, (uintptr_t)pointer, size);
  if (at->writes) check_writes(emu, line, at, (uintptr_t)pointer, size, kind);
}

void apq__emu_check_source(apq__emu *emu, int line, const void *pointer) {
  check_load(emu, line, pointer, 16, COHERENT);
}

void apq__emu_check_bulk_source(apq__emu *emu, int line, const void *pointer, size_t size) {
  const apq__emu_allocation *at = check_span(emu, line, pointer, size, "read");
  if (emu->is_dependent && !emu->current->grid_waited)
    check_dependent(emu, line, at, (uintptr_t)pointer, size);
  if (at->writes) check_writes(emu, line, at, (uintptr_t)pointer, size, PLAIN);
}

/* A store of the running thread; in a dependent launch after grid_wait, as a launch before may
 * still read there. */
static inline void check_store(apq__emu *emu, int line) {
  if (UNLIKELY(emu->is_dependent) && !emu->current->grid_waited)
    apq__emu_fault(emu, line, "global write before grid_wait in a dependent launch");
}

void apq__emu_check_target(apq__emu *emu, int line, const void *pointer, size_t size) {
  check_span(emu, line, pointer, size, "write");
  check_store(emu, line);
}

void apq__emu_write_target(apq__emu *emu, int line, void *pointer, const void *bytes, size_t size) {
  apq__emu_allocation *at = check_span(emu, line, pointer, size, "write");
  note_write(emu, line, at, (uintptr_t)pointer, size, current_interval(emu, line));
  memcpy(pointer, bytes, size);
}

#define LOAD(name, type)                                                                           \
  static type name(apq_emu *words, int line, const void *pointer) {                                \
    check_load(apq__emu_of(words), line, pointer, sizeof(type), PLAIN);                            \
    return *(const type *)pointer;                                                                 \
  }
#define STORE(name, type)                                                                          \
  static void name(apq_emu *words, int line, void *pointer, type v) {                              \
    apq__emu *emu = apq__emu_of(words);                                                            \
    apq__emu_allocation *at = check(emu, line, pointer, sizeof v, "write");                        \
    check_store(emu, line);                                                                        \
    uint32_t interval = current_interval(emu, line);                                               \
    note_write(emu, line, at, (uintptr_t)pointer, sizeof v, interval);                             \
    *(type *)pointer = v;                                                                          \
  }
LOAD(ldg8, apq_u8)
LOAD(ldg16, apq_u16)
LOAD(ldg32, apq_u32)
LOAD(ldg128, apq_u32x4)
STORE(stg8, apq_u8)
STORE(stg16, apq_u16)
STORE(stg32, apq_u32)
STORE(stg128, apq_u32x4)

/* Whether an atomic of this launch was the last to write there. */
static int is_atomic(apq__emu *emu, const void *pointer) {
  const apq__emu_allocation *at = apq__emu_find(&emu->memory, (uintptr_t)pointer);
  if (!at->writes) return 0;
  uint64_t write = at->writes[((uintptr_t)pointer - at->base) / 4];
  return write >> 32 == emu->memory.launch && (uint32_t)write == 0;
}

static apq_u32 ldg32_volatile(apq_emu *words, int line, const void *pointer) {
  apq__emu *emu = apq__emu_of(words);
  if (emu->polled != pointer) emu->polls = 0;
  emu->polled = pointer;
  if (++emu->polls > POLLS_MAX)
    apq__emu_fault(emu, line, "polls memory without end: no other block runs meanwhile");
  check_load(emu, line, pointer, sizeof(apq_u32), COHERENT);
  if (is_atomic(emu, pointer)) note_atomic(emu);
  return *(const apq_u32 *)pointer;
}

static apq_u16 ldg16_volatile(apq_emu *words, int line, const void *pointer) {
  check_load(apq__emu_of(words), line, pointer, sizeof(apq_u16), COHERENT);
  return *(const apq_u16 *)pointer;
}

/* What this block wrote and fenced before the running thread came here. */
static void publish(apq__emu *emu) {
  apq__emu_memory *memory = &emu->memory;
  for (uint32_t i = emu->first_interval; i < memory->interval_count; i++) {
    apq__emu_interval *at = &memory->intervals[i];
    if (at->block != emu->block->index) continue;
    if ((at->fenced_at && is_after(emu, at->thread, at->fenced_at)) ||
        (at->covered_at && is_after(emu, at->covered_by, at->covered_at)))
      at->published = 1;
  }
}

static apq_u32 atomic_increment(apq_emu *words, int line, unsigned *pointer) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_allocation *at = check(emu, line, pointer, sizeof *pointer, "atomic increment");
  check_store(emu, line);
  note_write(emu, line, at, (uintptr_t)pointer, sizeof *pointer, 0);
  publish(emu);
  note_atomic(emu);
  return (*pointer)++;
}

/* Orders what the running thread wrote, and what others wrote before a barrier that it has passed.
 */
static void threadfence(apq_emu *words, int line) {
  (void)line;
  apq__emu *emu = apq__emu_of(words);
  apq__emu_memory *memory = &emu->memory;
  apq__emu_thread *self = emu->current;
  for (uint32_t i = emu->first_interval; i < memory->interval_count; i++) {
    apq__emu_interval *at = &memory->intervals[i];
    if (at->block != emu->block->index || at->published || at->thread == self->index ||
        !is_after(emu, at->thread, at->written_at))
      continue;
    at->covered_at = emu->clock;
    at->covered_by = (uint16_t)self->index;
  }
  if (self->interval) memory->intervals[self->interval].fenced_at = emu->clock;
  self->interval = 0;
}

void apq__emu_global_words(apq_emu *words) {
  words->ldg8 = ldg8;
  words->ldg16 = ldg16;
  words->ldg32 = ldg32;
  words->ldg128 = ldg128;
  words->ldg32_volatile = ldg32_volatile;
  words->ldg16_volatile = ldg16_volatile;
  words->stg8 = stg8;
  words->stg16 = stg16;
  words->stg32 = stg32;
  words->stg128 = stg128;
  words->atomic_increment = atomic_increment;
  words->threadfence = threadfence;
}
