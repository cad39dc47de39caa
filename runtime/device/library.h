/* Shared libraries looked up at run time: the driver, NVML, NVRTC, cuBLASLt. */
#ifndef APQ_LIBRARY_H
#define APQ_LIBRARY_H

#include <stddef.h>

#include "apq.h"
#include "host.h"

/* A library and the functions taken from it. */
typedef struct apq__library_desc {
  const char *what;       /* "NVRTC", for messages */
  const char *hint;       /* where it comes from, for messages: "it comes with the CUDA toolkit" */
  apq__variable variable; /* that may name the file, or APQ__VAR_COUNT */
  const char *const *names;   /* tried in turn when the variable is unset; NULL ends them */
  const char *const *symbols; /* functions, in the order of the table they go to; NULL ends them */
  size_t optional;            /* how many of the last of them may be missing, and are NULL then */
  apq_status status;          /* of a failure */
  const char *stage;          /* of a failure */
} apq__library_desc;

/* Loads the library, for the life of the process, and fills `table`, an array of function pointers
 * (or a struct of nothing else).  A failure says what was looked for, or which function is missing.
 */
apq_status apq__library_load(const apq__library_desc *desc, void *table, apq_error *error);

#endif
