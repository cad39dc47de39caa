/* Checks kernels on the problem itself, where the whole product is too much for the CPU: exact spot
 * checks and what can be had of the whole for less. */
#ifndef APQ_SPOT_CHECK_H
#define APQ_SPOT_CHECK_H

#include "problem_data.h"

/* The operands of one problem and what is known of its result; made once, used for every candidate.
 */
typedef struct apq__spot_check {
  apq__host_data host;
  int *rows, *columns; /* sampled; columns NULL: all */
  int row_count, column_count;
  void *expected;          /* [row_count][column_count], output type */
  uint32_t *vector, *sums; /* int32 results: [2][n] odd numbers r, and [2][m] what y r must be
                              modulo 2^32; else NULL */
  void *agreed;            /* whole y of the first kernel that passed, or NULL */
} apq__spot_check;

apq_status apq__spot_check_make(const apq__problem *problem, uint64_t seed, apq__spot_check *out,
                                apq_error *error);
void apq__spot_check_free(apq__spot_check *check);

/* Runs the kernel once on `prepared`'s data, which must be made of check->host with ldy n, and
 * checks: canaries; at least 64 random rows, over all columns as far as the work allows; the
 * corners of every tile; for int32 the whole by Freivalds' check (R. Freivalds, "Probabilistic
 * machines can use less running time", 1977); and that the whole equals, to the last bit, what the
 * first kernel that passed gave.  Where two differ, the reference decides: MISMATCH when this
 * kernel is wrong, else OK with *refuted set to 1: all that passed before are wrong. *outputs (may
 * be NULL) grows by the elements compared with the reference. */
apq_status apq__spot_check_run(apq__spot_check *check, apq__prepared *prepared, int *refuted,
                               long long *outputs, apq_error *error);

/* Compares `count` elements: OK, or MISMATCH naming the first that differs as y[m][n], m and n from
 * the lists (NULL: m0 + row, column). `got` has rows of `ld` elements, `expected` of column_count.
 */
apq_status apq__compare_results(const apq__problem *problem, const void *got, int64_t ld,
                                const void *expected, const int *rows, int row_count,
                                const int *columns, int column_count, const char *what,
                                apq_error *error);

#endif
