/* Verification of pack kernels. */
#ifndef APQ_VERIFY_PACK_H
#define APQ_VERIFY_PACK_H

#include "problem_data.h"
#include "verify.h"

/* Element i of a row of each kind, row % 7: ordinary, all zero, with infinities and NaN, tiny,
 * huge, one-sided, halfway values. */
float apq__verify_value(int row, int64_t i, uint64_t *seed);

/* Packs rows of every kind (ordinary, zero, with infinities and NaN, tiny, huge, one-sided) and
 * lengths, in every format, and compares codes, sums, scales and zero points bit for bit with the
 * host's.  Adds to `report`. */
apq_status apq__verify_pack(const apq__test_kernel *kernel, uint64_t seed,
                            apq__verify_report *report, apq_error *error);

#endif
