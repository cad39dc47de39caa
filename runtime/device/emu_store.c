#include "emu_impl.h"

#include <string.h>

#include "alloc.h"

/* Bulk stores from shared to global memory, and the fence that lets operations see threads' stores.
 * A store reads when it is issued, which nothing can tell from later, and writes when it is waited
 * for, or at the end. */

enum { CHUNK = 16 };

static void fence_async(apq_emu *words, int line) {
  (void)line;
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  self->fence[self->fences++ % APQ__EMU_FENCES] = apq__emu_tick(emu);
}

static apq__emu_store *push_store(apq__emu *emu, int line, apq__emu_thread *thread) {
  if (thread->store_count == thread->store_capacity) {
    int capacity = thread->store_capacity ? 2 * thread->store_capacity : 8;
    apq__emu_store *stores = apq__realloc(thread->stores, (size_t)capacity * sizeof *stores);
    if (!stores) apq__emu_fault(emu, line, "no memory to emulate bulk stores");
    thread->stores = stores;
    thread->store_capacity = capacity;
  }
  return &thread->stores[thread->store_count];
}

/* Reads `bytes` bytes of shared memory for a store; returns the operation. */
static uint32_t read_shared(apq__emu *emu, int line, int at, int bytes) {
  const apq__emu_deed deed = {line, "bulk store's read", at, bytes};
  apq__emu_view view = apq__emu_view_now(emu);
  apq__emu_begin_async(emu);
  apq__emu_clear_needs(emu, &emu->needs);
  uint32_t op = apq__emu_add_op(emu, (apq__emu_op){
                                         .kind = APQ__EMU_STORE,
                                         .rank = (uint8_t)emu->block->rank,
                                         .issuer = (uint8_t)emu->block->rank,
                                         .thread = (uint16_t)emu->words.thread,
                                         .line = line,
                                     });
  apq__emu_gather_needs(emu, &view, emu->block, deed, op, APQ__EMU_GROUPS, &emu->needs);
  apq__emu_check_needs(emu, &view, emu->block, deed, &emu->needs);
  return op;
}

/* Adds a store of `bytes` bytes to the current thread's; the caller fills them in. */
static uint8_t *add_store(apq__emu *emu, int line, uint32_t op, void *to, int bytes) {
  apq__emu_thread *self = emu->current;
  apq__emu_check_target(emu, line, to, (size_t)bytes);
  apq__emu_store *store = push_store(emu, line, self);
  *store = (apq__emu_store){apq__alloc((size_t)bytes), to, bytes, line, self->store_groups, op, 0};
  if (!store->bytes) apq__emu_fault(emu, line, "no memory to emulate bulk stores");
  self->store_count++;
  return store->bytes;
}

/* A store that reads shared memory, until it is waited for, and writes nothing. */
static void add_idle_store(apq__emu *emu, int line, uint32_t op) {
  apq__emu_thread *self = emu->current;
  apq__emu_store *store = push_store(emu, line, self);
  *store = (apq__emu_store){NULL, NULL, 0, line, self->store_groups, op, 0};
  self->store_count++;
}

static void bulk_store(apq_emu *words, int line, void *to, int at, int bytes) {
  apq__emu *emu = apq__emu_of(words);
  if (at % 16 || (uintptr_t)to % 16 || bytes % 16 || bytes <= 0)
    apq__emu_fault(emu, line,
                   "bulk store of %d bytes from offset %d to %p: multiples of 16 are wanted", bytes,
                   at, to);
  uint32_t op = read_shared(emu, line, at, bytes);
  memcpy(add_store(emu, line, op, to, bytes), emu->shared + at, (size_t)bytes);
}

/* A store for each row of the box that lies in the tensor, to the end of the 16 bytes that the row
 * ends in: so the GPU does it. */
static void tma_store(apq_emu *words, int line, const void *map, int at, int x, int y, int z) {
  apq__emu *emu = apq__emu_of(words);
  const apq__tensor_box box = apq__emu_read_map(emu, line, map);
  if (at % 128) apq__emu_fault(emu, line, "tensor store from offset %d: not 128-byte aligned", at);
  if (x < 0 || y < 0 || z < 0)
    apq__emu_fault(emu, line, "tensor store to (%d, %d, %d), before the tensor", x, y, z);
  uint32_t op = read_shared(emu, line, at, box.box_bytes * box.box_rows);
  unsigned mask = box.swizzle ? (unsigned)box.swizzle / CHUNK - 1 : 0;
  if ((size_t)z >= box.planes || (size_t)x >= box.row_bytes || (size_t)y >= box.rows) {
    add_idle_store(emu, line, op);
    return;
  }
  size_t left = (box.row_bytes - (size_t)x + CHUNK - 1) / CHUNK * CHUNK;
  int bytes = left < (size_t)box.box_bytes ? (int)left : box.box_bytes;
  for (int i = 0; i < box.box_rows && (size_t)y + (size_t)i < box.rows; i++) {
    char *to = (char *)(uintptr_t)box.base + (size_t)z * box.plane_pitch +
               ((size_t)y + (size_t)i) * box.row_pitch + (size_t)x;
    uint8_t *row = add_store(emu, line, op, to, bytes);
    for (int c = 0; c < bytes; c += CHUNK) {
      unsigned from = (unsigned)(at + i * box.box_bytes + c);
      memcpy(row + c, emu->shared + (from ^ (from >> 7 & mask) * CHUNK), CHUNK);
    }
  }
}

static void bulk_commit(apq_emu *words, int line) {
  (void)line;
  apq__emu_of(words)->current->store_groups++;
}

static void note_read(apq__emu *emu, apq__emu_store *store) {
  if (store->is_read) return;
  apq__emu_op *op = apq__emu_op_of(emu, store->op);
  store->is_read = op->is_done = 1;
  op->time[0] = emu->clock;
}

/* Writes the first `count` stores. */
static void write_stores(apq__emu *emu, apq__emu_thread *thread, int count) {
  for (int i = 0; i < count; i++) {
    apq__emu_store *store = &thread->stores[i];
    if (store->size)
      apq__emu_write_target(emu, store->line, store->to, store->bytes, (size_t)store->size);
    apq__free(store->bytes);
  }
  thread->store_count -= count;
  memmove(thread->stores, thread->stores + count,
          (size_t)thread->store_count * sizeof *thread->stores);
}

static void bulk_wait(apq_emu *words, int line, int pending, int only_read) {
  (void)line;
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  int count = 0;
  while (count < self->store_count && self->stores[count].group < self->store_groups - pending)
    note_read(emu, &self->stores[count++]);
  if (!only_read && count) write_stores(emu, self, count);
}

void apq__emu_finish_stores(apq__emu *emu) {
  apq__emu_thread *self = emu->current;
  if (!self->store_count) return;
  for (int i = 0; i < self->store_count; i++)
    if (!self->stores[i].is_read)
      apq__emu_fault(emu, 0, "exits, while its bulk store of line %d still reads shared memory%s",
                     self->stores[i].line,
                     self->stores[i].group == self->store_groups ? ": never committed" : "");
  write_stores(emu, self, self->store_count);
}

void apq__emu_store_words(apq_emu *words) {
  words->fence_async = fence_async;
  words->bulk_store = bulk_store;
  words->tma_store = tma_store;
  words->bulk_commit = bulk_commit;
  words->bulk_wait = bulk_wait;
}
