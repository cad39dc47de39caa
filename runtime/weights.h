/* A packed weight matrix; the public face is in apq.h. */
#ifndef APQ_WEIGHTS_H
#define APQ_WEIGHTS_H

#include <stdatomic.h>

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
  void *planes;     /* part of the parent's when there is one */
  float *w_scale;   /* [n][groups], or NULL: 1.0 */
  int *w_zero;      /* [n][groups], or NULL: affine.zero */
  int *w_sum;       /* [n] */
  int *w_group_sum; /* [n][groups] sums of codes; NULL when per channel */

  apq_weights *parent; /* of a view, kept alive by it; NULL: the planes are these weights' own */
  int dropped;         /* lowest planes of the parent that the view leaves out */
  atomic_int holders;  /* the caller, and every view */
};

/* A matrix in host memory, on its way to the device; everything is borrowed. */
typedef struct apq__weights_parts {
  int n, k, bits;
  apq_format format;
  apq__affine affine;
  int group;             /* as in apq_weights */
  const uint8_t *planes; /* tail bits zero */
  const float *scales;   /* [n][groups], or NULL: 1.0 */
  const int32_t *zeros;  /* [n][groups], or NULL: affine.zero */
} apq__weights_parts;

/* Checks the scales (finite), takes the sums from the planes and uploads everything.  With a
 * `parent`, which gains a holder, the planes are on the device already: the parent's without the
 * `dropped` lowest. */
apq_status apq__weights_build(apq_context *context, const apq__weights_parts *parts,
                              apq_weights *parent, int dropped, apq_weights **out,
                              apq_error *error);

/* The same from codes [n][ld], each below 2^bits; parts->planes is not read. */
apq_status apq__weights_build_codes(apq_context *context, const apq__weights_parts *parts,
                                    const uint8_t *codes, int64_t ld, apq_weights **out,
                                    apq_error *error);

/* What the device holds, back on the host. */
typedef struct apq__weights_copy {
  apq__weights_parts parts;
  uint8_t *planes;
  float *scales;  /* or NULL */
  int32_t *zeros; /* or NULL */
} apq__weights_copy;
apq_status apq__weights_copy_out(const apq_weights *weights, apq__weights_copy *out,
                                 apq_error *error);
void apq__weights_copy_free(apq__weights_copy *copy);

/* The group as stored: one that spans all of k is no group. */
int apq__weights_group(int group, int k);
/* Scales of a row. */
int apq__weights_groups(int group, int k);

/* INVALID_ARGUMENT when not 1 to 8; `name` is the field. */
apq_status apq__check_bits(int bits, const char *name, apq_error *error);
apq_status apq__check_format(apq_format format, const char *name, apq_error *error);
/* INVALID_ARGUMENT unless 0, 32, 64, 128, 256, or at least k. */
apq_status apq__check_group(int group, int k, apq_error *error);

/* Fails with OUT_OF_MEMORY, naming the shape. */
apq_status apq__weights_no_memory(int n, int k, apq_error *error);

/* Copies `bytes` bytes of an array in device memory to new host memory (apq__free); a NULL `from`
 * gives NULL. */
apq_status apq__weights_fetch(apq_context *context, const void *from, size_t bytes, void **to,
                              apq_error *error);

#endif
