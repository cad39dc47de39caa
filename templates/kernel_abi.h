/* The arguments of every kernel, one struct by value.  This text stands at the top of each
 * generated source and is included by the host code that launches, so both sides agree by
 * construction.  Plain C11, no includes. */
#ifndef APQ_KERNEL_ABI_H
#define APQ_KERNEL_ABI_H

/* Products: D[m][n] = sum_k ua[m][k] uw[n][k] modulo 2^32, then the epilogue
 *   c = alpha_a alpha_w D - alpha_a z_w Sa - alpha_w z_a Sw + k z_a z_w            (modulo 2^32)
 *   y = float(c) * (s_a[m] * s_w[n]) + bias[n]                                     (unless int32
 * output)  */
typedef struct apq_gemm_args {
  const void *w;    /* weight planes [p][n][row_bytes] */
  const void *a;    /* activations: planes [q][m][row_bytes], or bytes [m][byte_row] (bitplane.h) */
  void *y;          /* [m][ldy] of the output type */
  const int *w_sum; /* [n] */
  const int *a_sum; /* [m] */
  const int *w_zero;    /* [n], or NULL: zero_w */
  const int *a_zero;    /* [m], or NULL: zero_a */
  const float *w_scale; /* [n], or NULL: 1 */
  const float *a_scale; /* [m], or NULL: 1 */
  const float *bias;    /* [n], or NULL: none */
  int *partial;         /* split-K: [split][m][n] sums */
  unsigned *tickets;    /* split-K: [output tiles], zero before the launch */
  long long ldy;        /* elements */
  int m, n, k;
  int row_bytes;        /* of a plane: ceil(k/128)*16 */
  int alpha_w, alpha_a; /* 1 or 2 */
  int zero_w, zero_a;
} apq_gemm_args;

/* A matrix as the bulk tensor copies see it (device.h); opaque, and each device has its own. */
typedef struct __attribute__((aligned(64))) apq_tensor_map {
  unsigned long long word[16];
} apq_tensor_map;

/* Products of the families that copy by tensor maps: boxes of planes or bytes, as the config says.
 */
typedef struct apq_tma_args {
  apq_tensor_map w, a;
  apq_gemm_args gemm;
} apq_tma_args;

/* Packing: one block a row.  Reads x[rows][ldx], writes codes, their sum, the scale and the zero
 * point of the row. */
typedef struct apq_pack_args {
  const void *x; /* [rows][ldx] of the source type */
  void *out;     /* planes [bits][rows][row_bytes], or bytes [rows][byte_row] */
  int *sum;      /* [rows] */
  float *scale;  /* [rows]; unused when the source holds codes */
  int *zero;     /* [rows] */
  long long ldx; /* elements */
  int rows, k;
  int row_bytes; /* of the output row */
  int format;    /* apq_format */
} apq_pack_args;

#endif
