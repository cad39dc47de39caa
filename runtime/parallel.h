/* Rows of host work spread over the machine's processors. */
#ifndef APQ_PARALLEL_H
#define APQ_PARALLEL_H

/* Workers worth having for `count` rows when one should have at least `grain`; 1 to 16. */
int apq__parallel_workers(int count, int grain);

/* Calls body(user, worker, begin, end) for each of `workers` consecutive ranges of 0 .. count, each
 * in a thread of its own or, where none can be made, in the caller's; returns when all are done.
 * Allocates nothing. */
void apq__parallel(int workers, int count, void (*body)(void *user, int worker, int begin, int end),
                   void *user);

#endif
