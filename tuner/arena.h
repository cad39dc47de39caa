/* Memory that is released all at once. */
#ifndef APQ_ARENA_H
#define APQ_ARENA_H

#include <stddef.h>

/* Start it zeroed. */
typedef struct apq__arena {
  struct apq__arena_block *block;
  size_t bytes; /* held in all */
} apq__arena;

/* Zeroed memory for any type; NULL when there is none, or when the arena would hold more than
 * `limit` bytes. */
void *apq__arena_get(apq__arena *arena, size_t size, size_t limit);
void apq__arena_free(apq__arena *arena);

#endif
