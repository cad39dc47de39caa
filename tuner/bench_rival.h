/* cuBLASLt on the shape of a problem, with operands of its own, as one thing to time. */
#ifndef APQ_BENCH_RIVAL_H
#define APQ_BENCH_RIVAL_H

#include "config.h"
#include "cublaslt.h"
#include "measure.h"

typedef struct apq__rival {
  apq__device *device;
  apq__cublaslt *product;
  apq__cublaslt_kind kind;
  int algorithm; /* the fastest that cuBLASLt proposes */
  int sets;
  void *a[APQ__SETS_MAX], *w[APQ__SETS_MAX], *y[APQ__SETS_MAX], *workspace;
} apq__rival;

/* Random operands in rotating sets, the algorithm picked, and its results compared with the host's
 * at sampled elements: exactly for int8, within rounding of the operand type's sums otherwise
 * (MISMATCH).  UNSUPPORTED, NOT_FOUND as apq__cublaslt_create. */
apq_status apq__rival_make(apq__device *device, apq__cublaslt_kind kind,
                           const apq__problem *problem, uint64_t seed, apq__rival *out,
                           apq_error *error);
void apq__rival_free(apq__rival *rival);

/* An apq__subject's launch; `user` is the rival. */
apq_status apq__rival_launch(void *user, int set, void *stream, apq_error *error);

#endif
