/* Hashes of what a context chooses from and of what a plan chose. */
#ifndef APQ_FINGERPRINT_H
#define APQ_FINGERPRINT_H

#include "apq.h"

/* MISMATCH when the context's winners do not hash to `expected`. */
apq_status apq__context_check_hash(apq_context *context, const char *expected, apq_error *error);

#endif
