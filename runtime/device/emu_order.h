/* What threads know of each other: vector clocks.  A block barrier orders everything before it with
 * everything after it, and one number says so; the other barriers order only those who meet there.
 * There each thread leaves what it knows and takes what the others left. */
#ifndef APQ_EMU_ORDER_H
#define APQ_EMU_ORDER_H

#include <stdint.h>

#include "apq.h"

struct apq__emu;
struct apq__emu_thread;
struct apq__emu_warp;

/* For each block of the cluster: a clock for all its threads, one for each warp, each thread, each
 * mbarrier (whose copies have landed).  What is recorded before any of the three that concern a
 * thread is known.  Not changed once it is shared. */
typedef struct apq__emu_known {
  struct apq__emu_known *next;   /* of all */
  struct apq__emu_known *free;   /* next unused one */
  struct apq__emu_known *merged; /* the last that was taken into this one while it grew */
  int users;
  uint64_t time[];
} apq__emu_known;

enum { APQ__EMU_UNIONS = 8 };

typedef struct apq__emu_order {
  int stride, size; /* clocks of a block, of the cluster */
  int warps, threads;
  apq__emu_known *all, *unused;
  struct {
    apq__emu_known *a, *b, *both;
  } unions[APQ__EMU_UNIONS]; /* lately made */
  int next_union;
} apq__emu_order;

/* For a launch of blocks of so many threads. */
void apq__emu_order_start(struct apq__emu *emu);
/* Forgets what the last cluster knew; all pointers to it are void. */
void apq__emu_order_reset(apq__emu_order *order);
void apq__emu_order_free(apq__emu_order *order);

/* One with nothing in it, to be changed by its only user. */
apq__emu_known *apq__emu_know_nothing(struct apq__emu *emu);
void apq__emu_drop(apq__emu_order *order, apq__emu_known *known);
apq__emu_known *apq__emu_share(apq__emu_known *known);

/* `to`, an own one, takes over what the thread knows and did until now; for a warp all its lanes.
 */
void apq__emu_leave_thread(struct apq__emu *emu, apq__emu_known *to,
                           const struct apq__emu_thread *thread);
void apq__emu_leave_warp(struct apq__emu *emu, apq__emu_known *to,
                         const struct apq__emu_warp *warp);
/* The thread, or every lane of the warp, takes what is known there. */
void apq__emu_learn(struct apq__emu *emu, struct apq__emu_thread *thread, apq__emu_known *known);
void apq__emu_learn_warp(struct apq__emu *emu, struct apq__emu_warp *warp, apq__emu_known *known);
/* The lanes of a warp share what each of them knows. */
void apq__emu_join_warp(struct apq__emu *emu, struct apq__emu_warp *warp);

/* Whether what thread `thread` of block `rank` did at `time` is known. */
int apq__emu_knows(const apq__emu_order *order, const apq__emu_known *known, int rank, int thread,
                   uint64_t time);
/* Place of an mbarrier's clock. */
static inline int apq__emu_mbarrier_place(const apq__emu_order *order, int rank, int mbarrier) {
  return rank * order->stride + 1 + order->warps + order->threads + mbarrier;
}

#endif
