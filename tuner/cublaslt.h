/* The vendor's matrix product, for comparison: cuBLASLt, loaded at run time. */
#ifndef APQ_CUBLASLT_H
#define APQ_CUBLASLT_H

#include <stddef.h>

#include "apq.h"
#include "device.h"

/* What is multiplied: a and w of one type, y of another. */
typedef enum apq__cublaslt_kind {
  APQ__CUBLASLT_F16,  /* fp16 x fp16 -> fp16, summed in fp32 */
  APQ__CUBLASLT_I8,   /* int8 x int8 -> int32 */
  APQ__CUBLASLT_E4M3, /* fp8 e4m3 x e4m3 -> fp16, summed in fp32 with the fast accumulation */
  APQ__CUBLASLT_KIND_COUNT
} apq__cublaslt_kind;

/* "fp16", "int8", "fp8"; and bytes of an element of the operands and of y. */
const char *apq__cublaslt_kind_name(apq__cublaslt_kind kind);
size_t apq__cublaslt_operand_bytes(apq__cublaslt_kind kind);
size_t apq__cublaslt_result_bytes(apq__cublaslt_kind kind);

/* "cublaslt 13.1.0".  NOT_FOUND says what was looked for; UNSUPPORTED when built without the
 * toolkit's headers. */
apq_status apq__cublaslt_version(char *text, size_t size, apq_error *error);

/* y[m][n] = sum_k a[m][k] * w[n][k], all three row-major and dense, on one device: the algorithms
 * that cuBLASLt proposes, best guess first. */
typedef struct apq__cublaslt apq__cublaslt;

/* UNSUPPORTED when cuBLASLt has no algorithm for the kind, shape (k and n must be multiples of 4
 * for int8, of 16 for fp8) or GPU, and on an emulated device.  `device` must outlive the product.
 */
apq_status apq__cublaslt_create(apq__device *device, apq__cublaslt_kind kind, int m, int n, int k,
                                apq__cublaslt **out, apq_error *error);
void apq__cublaslt_destroy(apq__cublaslt *product);

/* Number of algorithms, at least 1 and at most 8, and the bytes of workspace that suffice for each
 * of them. */
int apq__cublaslt_count(const apq__cublaslt *product);
size_t apq__cublaslt_workspace(const apq__cublaslt *product);

/* Enqueues one product by algorithm 0 .. count-1.  Device pointers, 256-byte aligned.  May be
 * captured in a graph; calls that may overlap in time need a workspace each. */
apq_status apq__cublaslt_run(const apq__cublaslt *product, int algorithm, const void *a,
                             const void *w, void *y, void *workspace, void *stream,
                             apq_error *error);

/* Runs every algorithm a few times in turns and says which had the lowest median.  Blocks.  An
 * algorithm that fails is passed over; the last failure is returned when all do. */
apq_status apq__cublaslt_pick(const apq__cublaslt *product, const void *a, const void *w, void *y,
                              void *workspace, void *stream, int *algorithm, apq_error *error);

#endif
