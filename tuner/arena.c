#include "arena.h"

#include <string.h>

#include "alloc.h"

enum { BLOCK_BYTES = 16384, ALIGNMENT = 16 };

typedef struct apq__arena_block {
  struct apq__arena_block *next;
  size_t used, size;
  _Alignas(ALIGNMENT) char data[];
} apq__arena_block;

void *apq__arena_get(apq__arena *arena, size_t size, size_t limit) {
  if (size > limit) return NULL;
  size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  apq__arena_block *block = arena->block;
  if (!block || block->size - block->used < size) {
    size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    if (arena->bytes + room > limit) return NULL;
    block = apq__alloc(sizeof *block + room);
    if (!block) return NULL;
    *block = (apq__arena_block){arena->block, 0, room};
    arena->block = block;
    arena->bytes += room;
  }
  void *data = block->data + block->used;
  block->used += size;
  return memset(data, 0, size);
}

void apq__arena_free(apq__arena *arena) {
  while (arena->block) {
    apq__arena_block *next = arena->block->next;
    apq__free(arena->block);
    arena->block = next;
  }
  arena->bytes = 0;
}
