/* Reporting failures: every internal function that fails does it through apq__fail. */
#ifndef APQ_STATUS_H
#define APQ_STATUS_H

#include <stdarg.h>

#include "apq.h"

/* Fills `error` (may be NULL) and returns `status`, so that `return apq__fail(...)` is one
 * statement.  An earlier log is freed. */
apq_status apq__fail(apq_error *error, apq_status status, const char *stage, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
#ifdef __clang_analyzer__
/* The analyzer sees one source file at a time and would take the result for OK as well. */
#define apq__fail(error, status, ...) (apq__fail(error, status, __VA_ARGS__), (status))
#endif

/* Gives `log` (from apq__alloc, may be NULL) to `error`, which frees it; with a NULL error frees it
 * now. */
void apq__error_take_log(apq_error *error, char *log);

/* Puts "prefix: " before the message already there. */
void apq__error_prefix(apq_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Status for an errno value: ENOENT -> NOT_FOUND, EACCES/EROFS -> READ_ONLY, else IO. */
apq_status apq__status_from_errno(int code);

#endif
