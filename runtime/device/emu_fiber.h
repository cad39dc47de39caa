/* Stacks to switch between: one emulated thread each.  A switch takes a few nanoseconds on x86-64
 * and aarch64 (emu_switch.S) and goes through ucontext elsewhere. */
#ifndef APQ_EMU_FIBER_H
#define APQ_EMU_FIBER_H

#include <stddef.h>

#include "apq.h"

typedef struct apq__fiber {
  void *sp;    /* saved stack pointer, or the ucontext_t */
  void *left;  /* stack pointer of a fiber that left for this one; of no use */
  char *stack; /* lowest byte; NULL for a thread's own stack */
  size_t stack_size;
  void *fake_stack; /* AddressSanitizer's */
  void *sanitizer;  /* ThreadSanitizer's fiber */
} apq__fiber;

/* `count` fibers, each with a guard page below its stack. */
typedef struct apq__fiber_pool {
  apq__fiber *fibers;
  int count;
  void *mapping;
  size_t mapping_size;
} apq__fiber_pool;

apq_status apq__fiber_pool_create(apq__fiber_pool *pool, int count, apq_error *error);
void apq__fiber_pool_destroy(apq__fiber_pool *pool); /* accepts a zeroed one */

/* Makes `home` stand for the calling thread, so that fibers can switch back to it. */
apq_status apq__fiber_adopt(apq__fiber *home, apq_error *error);
void apq__fiber_release(apq__fiber *home);

/* The next switch to `fiber` calls entry(arg), which must never return.  What the fiber did before
 * is forgotten. */
void apq__fiber_prepare(apq__fiber *fiber, void (*entry)(void *), void *arg);

/* The first thing an entry function does; `home` is the adopted thread. */
void apq__fiber_entered(apq__fiber *home);

/* Saves the running context in `from` and continues `to`; returns when something switches back. */
void apq__fiber_switch(apq__fiber *from, apq__fiber *to);
/* The same when `from` will not be continued. */
_Noreturn void apq__fiber_leave(apq__fiber *to);

#endif
