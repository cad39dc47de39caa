/* A packed weight matrix; the public face is in apq.h. */
#ifndef APQ_WEIGHTS_H
#define APQ_WEIGHTS_H

#include "apq.h"
#include "format.h"

struct apq_weights {
  apq_context *context;
  int n, k, bits;
  apq_format format;
  apq__affine affine; /* where w_zero is not NULL it replaces affine.zero */
  int64_t max_abs;    /* largest |alpha*u - zero| with the actual zero points */
  int group;          /* codes along k that share a scale: 32, 64, 128, 256; 0: all, per channel */
  int groups;         /* of a row: ceil(k / group), the last may be short; 1 when per channel */
  /* Device memory. */
  void *planes;
  float *w_scale;   /* [n][groups], or NULL: 1.0 */
  int *w_zero;      /* [n][groups], or NULL: affine.zero */
  int *w_sum;       /* [n] */
  int *w_group_sum; /* [n][groups] sums of codes; NULL when per channel */
};

/* INVALID_ARGUMENT when not 1 to 8; `name` is the field. */
apq_status apq__check_bits(int bits, const char *name, apq_error *error);
apq_status apq__check_format(apq_format format, const char *name, apq_error *error);

#endif
