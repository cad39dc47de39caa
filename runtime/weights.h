/* A packed weight matrix; the public face is in apq.h. */
#ifndef APQ_WEIGHTS_H
#define APQ_WEIGHTS_H

#include "apq.h"
#include "format.h"

struct apq_weights {
  apq_context *context;
  int n, k, bits;
  apq_format format;
  apq__affine affine;
  int64_t max_abs; /* largest |alpha*u - zero| with the actual zero points */
  /* Device memory. */
  void *planes;
  void *sums;   /* int32 [n] */
  void *scales; /* float [n], or NULL: 1.0 */
  void *zeros;  /* int32 [n], or NULL: affine.zero */
};

/* INVALID_ARGUMENT when not 1 to 8; `name` is the field. */
apq_status apq__check_bits(int bits, const char *name, apq_error *error);
apq_status apq__check_format(apq_format format, const char *name, apq_error *error);

#endif
