/* The arguments of every kernel, one struct by value.  This text stands at the top of each
 * generated source and is included by the host code that launches, so both sides agree by
 * construction.  Plain C11, no includes. */
#ifndef APQ_KERNEL_ABI_H
#define APQ_KERNEL_ABI_H

/* An activation, gate(y) = y / (1 + 2^-t),
 *   t = y * (term[0] + term[1] z + ... + term[9] z^9),  z = min(y^2, limit). */
typedef struct apq_gate_args {
  float term[10], limit;
  int kind; /* 0: none, y stays; 2: term[1] .. term[9] are 0; 1: otherwise */
} apq_gate_args;

/* Products: D[m][n] = sum_k ua[m][k] uw[n][k] modulo 2^32, then the epilogue
 *   c = alpha_a alpha_w D - alpha_a z_w Sa - alpha_w z_a Sw + k z_a z_w            (modulo 2^32)
 *   y = float(c) * (s_a[m] * s_w[n]) + bias[n]                                     (unless int32
 * output).  With `group`, groups of that many k have their own s_w, z_w and sums, and
 *   y = (((0 + float(c_0) * s_w[n][0]) + float(c_1) * s_w[n][1]) + ...) * s_a[m] + bias[n]
 * where c_g is c of group g alone.  Last, also not for int32 output, with gate.kind  y = gate(y),
 * and with `combine`  y = y + other[m][n]  or  y * other[m][n]. */
typedef struct apq_gemm_args {
  /* What the first loads need comes first: a launch fetches its arguments from memory, 64 bytes at
   * a time. */
  const void *w; /* weight planes [p][n][row_bytes] */
  const void *a; /* activations: planes [q][m][row_bytes], or bytes [m][byte_row] (bitplane.h) */
  int m, n, k;
  int row_bytes;        /* of a plane: ceil(k/128)*16 */
  void *y;              /* [m][ldy] of the output type */
  long long ldy;        /* elements */
  int alpha_w, alpha_a; /* 1 or 2 */
  int zero_w, zero_a;
  const int *w_sum;     /* [n] */
  const int *a_sum;     /* [m] */
  const float *w_scale; /* [n], with `group` [n][groups], or NULL: 1 */
  const float *a_scale; /* [m], or NULL: 1 */
  const int *w_zero;    /* [n], with `group` [n][groups], or NULL: zero_w */
  const int *a_zero;    /* [m], or NULL: zero_a */
  const float *bias;    /* [n], or NULL: none */
  const void *other;    /* [m][ld_other] of the output type; may be y itself */
  long long ld_other;
  int combine;            /* 0: no `other`; 1: it is added; 2: multiplied */
  int group, groups;      /* k of a group, a multiple of 32, and ceil(k / group); 0: none */
  const int *w_group_sum; /* with `group`: [n][groups] */
  const int *a_group_sum; /* with `group`: [m][groups] */
  int *partial;           /* split-K: [split][m][n] sums */
  unsigned *tickets;      /* split-K: [output tiles], zero before the launch */
  apq_gate_args gate;
  /* For kernels that quantize their activations themselves, as apq_pack_args says: these in place
   * of a, a_sum, a_scale, a_zero and a_group_sum. */
  int format, is_static;
  const void *x; /* [m][ldx] of the source type */
  long long ldx; /* elements */
  float static_scale;
  int static_zero;
} apq_gemm_args;

/* A matrix as the bulk tensor copies see it (device.h); opaque, and each device has its own. */
typedef struct __attribute__((aligned(64))) apq_tensor_map {
  unsigned long long word[16];
} apq_tensor_map;

/* Products of the families that copy by tensor maps: boxes of planes or bytes, as the config says.
 */
typedef struct apq_tma_args {
  apq_tensor_map w, a;
  /* With store=tensor, where rows of y, and of gemm.other, begin and end at 16-byte addresses. */
  apq_tensor_map y, other;
  apq_gemm_args gemm;
} apq_tma_args;

/* Packing: one block a row.  Reads x[rows][ldx], writes codes, their sums, the scale and the zero
 * point of the row.  With gate.kind a row is two, and what is quantized is gate(x[r][i]) x[r][k +
 * i] rounded to the source type. */
typedef struct apq_pack_args {
  const void *x;  /* [rows][ldx] of the source type */
  void *out;      /* planes [bits][rows][row_bytes], or bytes [rows][byte_row] */
  int *sum;       /* [rows] */
  int *group_sum; /* with `group`: [rows][groups] */
  float *scale;   /* [rows]; unused when the source holds codes */
  int *zero;      /* [rows] */
  long long ldx;  /* elements */
  int rows, k;
  int row_bytes;     /* of the output row */
  int format;        /* apq_format */
  int group, groups; /* as in apq_gemm_args */
  int is_static;     /* 1: every row has the scale and zero point below; 0: each its own */
  float static_scale;
  int static_zero;
  int clear_count;
  apq_gate_args gate;
  unsigned *clear; /* [clear_count] words that become 0: the tickets of the products that follow */
} apq_pack_args;

#endif
