/* Inside a plan; the public face is in apq.h. */
#ifndef APQ_PLAN_H
#define APQ_PLAN_H

#include <pthread.h>
#include <stdatomic.h>

#include "apq.h"
#include "dispatch.h"
#include "format.h"
#include "kernels.h"

/* Byte offsets in the caller's workspace, each a multiple of 256. */
typedef struct apq__layout {
  size_t packed;  /* activations as planes or bytes */
  size_t sums;    /* int32 [m] */
  size_t scales;  /* float [m], quantized inputs only */
  size_t zeros;   /* int32 [m], quantized inputs only */
  size_t partial; /* split-K sums; the tickets are the last ticket_bytes of the same part */
  size_t tickets;
  size_t total;
} apq__layout;

/* Everything one token count needs at run time.  Immutable once published. */
typedef struct apq__entry {
  int m;
  apq__choice choice;
  apq__config pack_config;
  apq__shape pack_shape;
  int wants_bytes; /* activations as bytes rather than planes */
  int row_bytes;   /* of the packed activations */
  apq__layout layout;
  const apq__loaded *product, *pack; /* belong to the context */
  char *rejected;                    /* why better choices were not taken, a line each; or NULL */
} apq__entry;

/* Entries by ascending m.  A table is never changed: `prepare` publishes a longer one, and keeps
 * the old ones until the plan is destroyed, since a run may still read them. */
typedef struct apq__entry_table {
  struct apq__entry_table *previous;
  int count;
  apq__entry *entry[];
} apq__entry_table;

struct apq_plan {
  apq_context *context;
  apq_plan_desc desc;
  apq__affine input;                 /* of the activations */
  pthread_mutex_t lock;              /* one `prepare` at a time */
  _Atomic(apq__entry_table *) table; /* NULL before the first prepare */
};

/* 1 when the inputs are quantized by the pack kernel. */
int apq__plan_quantizes(const apq_plan *plan);
apq__problem apq__plan_problem(const apq_plan *plan, int m);
/* The entry of m, or NULL when it was not prepared. */
const apq__entry *apq__plan_find(const apq_plan *plan, int m);

/* Fills an entry but for its kernels: choice -> pack config, shapes and workspace. */
apq_status apq__entry_lay_out(const apq_plan *plan, int m, const apq__choice *choice,
                              apq__entry *entry, apq_error *error);

#endif
