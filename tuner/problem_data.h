/* Operands of one problem, on the host and on a device: what verification compares, and what
 * measuring and benchmarks run on. */
#ifndef APQ_PROBLEM_DATA_H
#define APQ_PROBLEM_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"
#include "device.h"
#include "format.h"
#include "generator.h"
#include "kernel_abi.h"

/* How the codes of both operands are chosen. */
typedef enum apq__data_kind {
  APQ__DATA_RANDOM,
  APQ__DATA_ONES,   /* every bit set: the largest sums */
  APQ__DATA_SPARSE, /* one code in sixteen is not zero */
  APQ__DATA_KIND_COUNT
} apq__data_kind;
const char *apq__data_kind_name(apq__data_kind kind);

typedef struct apq__data_spec {
  apq__problem problem;
  apq__data_kind kind;
  apq_format w_format, a_format;
  int w_zeros, a_zeros;      /* 1: random zero points for each row (format UINT) */
  int w_scales, a_scales;    /* 1: random scales for each row; must be 0 when the output is I32 */
  int bias;                  /* the same */
  apq_activation activation; /* NONE when the output is I32 */
  apq_combine combine;       /* the same */
  uint64_t seed;
  /* Of a problem whose input is not packed; a_zeros and a_scales are then ignored. */
  int x_gap;     /* ldx - k */
  int is_static; /* 1: one scale and zero point for all rows */
  int odd_rows;  /* 1: rows of zeros, of what is not finite and the like among them */
} apq__data_spec;

/* Host side.  Arrays are NULL where the spec has none. */
typedef struct apq__host_data {
  apq__data_spec spec;
  apq__affine w, a;
  uint8_t *w_codes, *a_codes;         /* [n][k], [m][k] */
  int groups;                         /* of a row: 1 unless the problem has groups */
  int32_t *w_sum, *a_sum;             /* [n], [m] */
  int32_t *w_group_sum, *a_group_sum; /* [n][groups], [m][groups]; NULL without groups */
  int32_t *w_zero, *a_zero;           /* [n][groups], [m] */
  float *w_scale, *a_scale;           /* the same */
  float *bias;                        /* [n] */
  void *other;                        /* [m][n] of the output type, with `combine` */
  void *x;                            /* [m][ldx] of the input type: what a_codes come from */
  int64_t ldx;
  float static_scale; /* with is_static */
  int static_zero;
} apq__host_data;

apq_status apq__host_data_make(const apq__data_spec *spec, apq__host_data *out, apq_error *error);
void apq__host_data_free(apq__host_data *data);

/* The reference's y for `row_count` rows and `column_count` columns of the product, in the output
 * type, [row][column]; NULL lists mean all, in order, with the counts ignored. */
apq_status apq__host_data_expect(const apq__host_data *data, const int *rows, int row_count,
                                 const int *columns, int column_count, void *y, apq_error *error);

/* A kernel under test, loaded on a device. */
typedef struct apq__test_kernel {
  apq__device *device;
  apq__config config;
  apq__module *module;
  apq__kernel *kernel;
  apq__kernel_info info;
  unsigned smem_bytes;
  int is_product;
  apq__form form; /* of the activations */
} apq__test_kernel;

/* A pack kernel that runs before each product which takes packed activations. */
typedef struct apq__packer {
  apq__test_kernel loaded;
  apq__shape shape;
  apq_pack_args args; /* but x */
} apq__packer;

/* Device side: the operands packed, results, and workspace grown as kernels need it. */
typedef struct apq__device_data {
  apq__device *device;
  apq__problem problem;
  void *w, *a[APQ__FORM_COUNT]; /* a form not asked for is NULL */
  size_t w_bytes, a_bytes[APQ__FORM_COUNT];
  void *w_sum, *a_sum, *w_zero, *a_zero, *w_scale, *a_scale, *bias, *other;
  void *w_group_sum, *a_group_sum;
  void *y_block; /* y between two canaries */
  int64_t ldy;
  size_t y_bytes; /* from the first to the last row's end, gaps between rows included */
  void *workspace;
  size_t workspace_bytes;
  void *tickets; /* zeros, of kernels that leave them so */
  size_t ticket_bytes;
  apq_gemm_args args; /* but w, a, y, partial, tickets */
  /* Of a problem whose input is not packed. */
  void *x; /* [m][ldx] */
  size_t x_bytes;
  void *pack_zero; /* zero points that a packer writes where products need none */
  /* One for each form that there is (packers.h); without them products that take packed activations
   * get those that the host packed. */
  apq__packer packer[APQ__FORM_COUNT];
} apq__device_data;

/* All forms that hold the problem's activations. */
enum { APQ__ALL_FORMS = (1 << APQ__FORM_COUNT) - 1 };

/* Uploads; bit i of `forms` asks for the activations in form i.  `ldy` at least n. */
apq_status apq__device_data_make(apq__device *device, const apq__host_data *host, int forms,
                                 int64_t ldy, apq__device_data *out, apq_error *error);
void apq__device_data_free(apq__device_data *data);

/* Sets y, the gaps between its rows and both canaries to a pattern no result is made of. */
apq_status apq__device_data_poison(apq__device_data *data, apq_error *error);
/* Copies y into `y` (y_bytes) and checks canaries and, unless ldy is n, gaps: MISMATCH says where
 * something was written. */
apq_status apq__device_data_fetch(apq__device_data *data, void *y, apq_error *error);
/* What poison is made of; canaries of other buffers are made of it too. */
enum { APQ__POISON = 0xcb };
/* Device address of y. */
void *apq__device_data_y(const apq__device_data *data);

apq_status apq__test_kernel_load(apq__device *device, const apq__config *config, const void *image,
                                 size_t size, apq__test_kernel *out, apq_error *error);
void apq__test_kernel_unload(apq__test_kernel *loaded);

/* A kernel made ready for the problem of `data`. */
typedef struct apq__prepared {
  const apq__test_kernel *loaded;
  apq__device_data *data;
  apq__kernel *kernel; /* with the shared memory of this problem */
  apq__shape shape;
  apq_gemm_args args;
  void *tickets; /* to be zeroed before each launch, or NULL */
} apq__prepared;
/* Grows the workspace and tickets; those of kernels prepared before move with them, so prepare
 * again after another was prepared.  INFEASIBLE when the config cannot do this problem. */
apq_status apq__prepared_make(const apq__test_kernel *loaded, apq__device_data *data,
                              apq__prepared *out, apq_error *error);
/* Queues one product with these operands (NULL: the data's own): zeroes tickets, packs where the
 * data has packers and the kernel does not quantize for itself, launches.  `a`: packed as the
 * kernel wants it, or rows of x where the problem's input is not packed. */
apq_status apq__prepared_launch(apq__prepared *prepared, const void *w, const void *a, void *y,
                                void *stream, apq_error *error);

#endif
