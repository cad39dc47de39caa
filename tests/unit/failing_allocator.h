/* An allocator for tests whose call number `fail_at` fails and that counts what is still allocated.
 */
#ifndef APQ_FAILING_ALLOCATOR_H
#define APQ_FAILING_ALLOCATOR_H

#include <stdlib.h>

#include "apq.h"

typedef struct failing_allocator {
  long calls, fail_at, live; /* fail_at 0: none fails */
} failing_allocator;

static inline int failing_is_due(failing_allocator *count) {
  return ++count->calls == count->fail_at;
}

static inline void *failing_allocate(void *user, size_t size) {
  failing_allocator *count = user;
  if (failing_is_due(count)) return NULL;
  count->live++;
  return malloc(size);
}

static inline void *failing_reallocate(void *user, void *old, size_t size) {
  failing_allocator *count = user;
  if (failing_is_due(count)) return NULL;
  if (!old) count->live++;
  return realloc(old, size);
}

static inline void failing_release(void *user, void *old) {
  failing_allocator *count = user;
  count->live--;
  free(old);
}

/* Makes `count` the library's allocator; apq_set_allocator(NULL) ends it.  One thread only. */
static inline apq_status failing_install(failing_allocator *count) {
  apq_allocator hook = {failing_allocate, failing_reallocate, failing_release, count};
  return apq_set_allocator(&hook);
}

#endif
