#include "emu_impl.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

enum {
  RED_ZONE = 256, /* bytes on each side of an allocation */
  RED = 0xfd,
  FRESH = 0xa5,    /* what new memory holds: a large number in every type */
  ALIGNMENT = 256, /* what CUDA gives; never more, so that nothing can come to rely on it */
  KEPT_MAX = 256,  /* released allocations that are still recognized ... */
};
#define KEPT_BYTES ((size_t)64 << 20) /* ... and how much memory they may hold */

/* Index of the last allocation at or below the address, -1 when there is none. */
static int find(const apq__emu_memory *memory, uintptr_t address) {
  int low = 0, high = memory->count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (memory->table[middle].base <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low - 1;
}

static void forget_hot(apq__emu_memory *memory) {
  static apq__emu_allocation none;
  for (int i = 0; i < APQ__EMU_HOT; i++) memory->hot[i] = &none;
}

static void forget(apq__emu_memory *memory, int i) {
  apq__emu_allocation *gone = &memory->table[i];
  if (gone->released) {
    memory->released_bytes -= gone->size;
    memory->released_count--;
  }
  apq__free(gone->raw);
  apq__free(gone->writes);
  memory->count--;
  memmove(gone, gone + 1, (size_t)(memory->count - i) * sizeof *gone);
}

/* Frees what was released, lowest address first, until little enough is held. */
static void trim(apq__emu_memory *memory) {
  for (int i = 0; i < memory->count;) {
    if (memory->released_bytes <= KEPT_BYTES && memory->released_count <= KEPT_MAX) return;
    if (memory->table[i].released)
      forget(memory, i);
    else
      i++;
  }
}

apq_status apq__emu_alloc(apq__emu *emu, size_t size, void **out, apq_error *error) {
  apq__emu_memory *memory = &emu->memory;
  *out = NULL;
  if (size > (size_t)emu->base.target.mem_bytes - memory->live_bytes)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "%s has no room for %zu bytes",
                     emu->base.target.name, size);
  if (memory->count == memory->capacity) {
    int capacity = memory->capacity ? 2 * memory->capacity : 64;
    apq__emu_allocation *table = apq__realloc(memory->table, (size_t)capacity * sizeof *table);
    if (!table) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no host memory");
    memory->table = table;
    memory->capacity = capacity;
  }
  size_t whole = size + 2 * RED_ZONE + 2 * ALIGNMENT;
  char *raw = apq__alloc(whole);
  if (!raw)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no host memory for %zu bytes", size);
  uintptr_t base = (uintptr_t)raw + RED_ZONE;
  base = (base + 2 * ALIGNMENT - 1) / (2 * ALIGNMENT) * (2 * ALIGNMENT);
  base += base - (uintptr_t)raw >= RED_ZONE + ALIGNMENT ? (uintptr_t)0 - ALIGNMENT : ALIGNMENT;
  memset((char *)base - RED_ZONE, RED, RED_ZONE);
  memset((char *)base, FRESH, size);
  memset((char *)base + size, RED, RED_ZONE);
  int i = find(memory, base) + 1;
  memmove(&memory->table[i + 1], &memory->table[i],
          (size_t)(memory->count - i) * sizeof *memory->table);
  memory->table[i] = (apq__emu_allocation){base, size, raw, NULL, 0};
  memory->count++;
  memory->live_bytes += size;
  forget_hot(memory);
  *out = (void *)base;
  return APQ_OK;
}

void apq__emu_release(apq__emu *emu, void *pointer) {
  apq__emu_memory *memory = &emu->memory;
  int i = find(memory, (uintptr_t)pointer);
  if (i < 0 || memory->table[i].base != (uintptr_t)pointer || memory->table[i].released) return;
  memory->table[i].released = 1;
  memory->live_bytes -= memory->table[i].size;
  memory->released_bytes += memory->table[i].size;
  memory->released_count++;
  forget_hot(memory);
  trim(memory);
}

void apq__emu_release_all(apq__emu *emu) {
  for (int i = 0; i < emu->memory.count; i++) {
    apq__free(emu->memory.table[i].raw);
    apq__free(emu->memory.table[i].writes);
  }
  apq__free(emu->memory.table);
  apq__free(emu->memory.intervals);
}

const char *apq__emu_explain(const apq__emu_memory *memory, uintptr_t address, size_t size,
                             char text[200]) {
  int i = find(memory, address);
  const apq__emu_allocation *below = i >= 0 ? &memory->table[i] : NULL;
  const apq__emu_allocation *above = i + 1 < memory->count ? &memory->table[i + 1] : NULL;
  uintptr_t offset = below ? address - below->base : 0;
  if (below && !below->released && size <= below->size && offset <= below->size - size) return NULL;
  if (below && below->released && offset < below->size)
    snprintf(text, 200, "at offset %zu of %zu bytes that were released", (size_t)offset,
             below->size);
  else if (below && offset < below->size + RED_ZONE)
    snprintf(text, 200, "at offset %zu of an allocation of %zu bytes: out of bounds",
             (size_t)offset, below->size);
  else if (above && above->base - address <= RED_ZONE)
    snprintf(text, 200, "%zu bytes before an allocation of %zu bytes: out of bounds",
             (size_t)(above->base - address), above->size);
  else
    snprintf(text, 200, "at %p, which is in no allocation", (void *)address);
  return text;
}

apq_status apq__emu_check_range(apq__emu *emu, const void *pointer, size_t size, const char *what,
                                apq_error *error) {
  char text[200];
  if (!apq__emu_explain(&emu->memory, (uintptr_t)pointer, size, text)) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "device", "%s of %zu bytes %s", what, size, text);
}

static int is_filled(const char *bytes, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != (char)RED) return 0;
  return 1;
}

apq_status apq__emu_check_red_zones(apq__emu *emu, apq_error *error) {
  for (int i = 0; i < emu->memory.count; i++) {
    const apq__emu_allocation *at = &emu->memory.table[i];
    char *below = (char *)at->base - RED_ZONE, *above = (char *)at->base + at->size;
    int below_ok = is_filled(below, RED_ZONE), above_ok = is_filled(above, RED_ZONE);
    if (below_ok && above_ok) continue;
    memset(below, RED, RED_ZONE);
    memset(above, RED, RED_ZONE);
    return apq__fail(error, APQ_KERNEL_FAULT, "device",
                     "%s: something wrote just %s an allocation of %zu bytes", emu->kernel->name,
                     below_ok ? "behind" : "before", at->size);
  }
  return APQ_OK;
}

apq__emu_allocation *apq__emu_find(apq__emu_memory *memory, uintptr_t address) {
  return &memory->table[find(memory, address)];
}

apq_status apq__emu_ready_memory(apq__emu *emu, apq_error *error) {
  apq__emu_memory *memory = &emu->memory;
  memory->launch++;
  if (!emu->is_dependent || !memory->chain) memory->chain = memory->launch;
  forget_hot(memory);
  if (!memory->intervals) {
    memory->interval_capacity = 1024;
    memory->intervals = apq__alloc((size_t)memory->interval_capacity * sizeof *memory->intervals);
    if (!memory->intervals) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no host memory");
    memory->intervals[0] = (apq__emu_interval){.published = 1};
  }
  memory->interval_count = 1;
  return APQ_OK;
}
