/* The two compilers behind apq__compile.  Both are thread safe and know nothing of the cache. */
#ifndef APQ_COMPILE_IMPL_H
#define APQ_COMPILE_IMPL_H

#include <stddef.h>

#include "apq.h"
#include "target.h"

/* Source text to object image, `*size` bytes of apq__alloc.  `*log` gets the compiler's whole
 * output (apq__free; NULL when there is none), on failure too.  COMPILE when the source is at
 * fault, its first error in the message; NO_COMPILER names what was looked for and where.  On
 * failure `*image` is NULL. */
#ifdef APQ_HAVE_CUDA
apq_status apq__nvrtc_compile(const char *source, const apq__target *target, void **image,
                              size_t *size, char **log, apq_error *error);
#endif
apq_status apq__host_compile(const char *source, const apq__target *target, void **image,
                             size_t *size, char **log, apq_error *error);

/* "nvrtc 13.0", "cc (Debian 12.2.0-14) 12.2.0"; asks the compiler once a process.  NO_COMPILER as
 * above. */
#ifdef APQ_HAVE_CUDA
apq_status apq__nvrtc_version(char *text, size_t size, apq_error *error);
#endif
apq_status apq__host_compiler_version(char *text, size_t size, apq_error *error);

/* Everything beside the source that decides the object: options and the like, part of the cache
 * key. */
#ifdef APQ_HAVE_CUDA
const char *apq__nvrtc_options(void);
#endif
const char *apq__host_compiler_options(void);

#endif
