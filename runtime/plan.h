/* Inside a plan; the public face is in apq.h. */
#ifndef APQ_PLAN_H
#define APQ_PLAN_H

#include <pthread.h>
#include <stdatomic.h>

#include "apq.h"
#include "entry.h"
#include "format.h"
#include "kernel_abi.h"
#include "map_cache.h"

/* One product of a plan: the arguments of its kernel, but for those of the run. */
typedef struct apq__plan_product {
  const apq_weights *weights;
  apq_combine combine;
  apq_gemm_args args;
} apq__plan_product;

/* An entry as a plan runs it: with the tensor maps of the plan's weights where kernels take them.
 */
typedef struct apq__plan_slot {
  const apq__entry *entry;
  apq_tensor_map *maps; /* [products], or NULL when no kernel takes any */
} apq__plan_slot;

/* Slots by ascending token count: of single counts and, apart, of ranges, which do not overlap.  A
 * table is never changed: `prepare` publishes another with all of its slots and more, and keeps the
 * old ones until the plan is destroyed, since a run may still read them. */
enum { APQ__SLOTS_SINGLE, APQ__SLOTS_RANGE, APQ__SLOTS_COUNT };
typedef struct apq__slot_table {
  struct apq__slot_table *previous;
  int count[APQ__SLOTS_COUNT];
  apq__plan_slot *list[APQ__SLOTS_COUNT]; /* in `storage` */
  apq__plan_slot storage[];
} apq__slot_table;

enum { APQ__SEEN = 16 };

struct apq_plan {
  apq_context *context;
  apq__recipe *recipe; /* belongs to the context */
  apq_format format;
  apq__affine input; /* of the activations */
  float static_scale;
  int static_zero;
  apq_gate_args gate; /* of the input */
  const float *input_scale;
  const int32_t *input_zero;
  pthread_mutex_t lock;             /* one `prepare` at a time */
  _Atomic(apq__slot_table *) table; /* NULL before the first prepare */
  /* Addresses that were found to be the device's: looking one up costs as much as a run should. */
  _Atomic(uintptr_t) seen[APQ__SEEN];
  apq__map_cache maps; /* of activations and results */
  int count;
  apq__plan_product product[];
};

/* 1 when the inputs are quantized by the pack kernel. */
int apq__plan_quantizes(const apq_plan *plan);
/* The slot that serves m, or NULL when it was not prepared. */
const apq__plan_slot *apq__plan_find(const apq_plan *plan, int m);
/* CLOSED when the context was closed. */
apq_status apq__plan_check_open(const apq_plan *plan, apq_error *error);

#endif
