/* From source text to a loadable object: NVRTC for CUDA targets, the host C compiler for emulated
 * ones; with a cache of objects by content hash. */
#ifndef APQ_COMPILE_H
#define APQ_COMPILE_H

#include <stddef.h>

#include "apq.h"
#include "target.h"

typedef struct apq__object {
  void *image; /* a cubin, or a host shared object; apq__free */
  size_t size;
  char sha256[65]; /* of (source, options, compiler version, arch): the cache key */
  int from_cache;
  double seconds; /* spent compiling, 0 when from the cache */
} apq__object;

/* Compiles for target->arch (an emulated target selects the host compiler).  Thread safe.  COMPILE
 * carries the whole log; NO_COMPILER says which library or program was looked for and where.
 * `cache_dir` may be NULL: no cache; a cache that cannot be read or written is treated as absent.
 */
apq_status apq__compile(const char *source, const apq__target *target, const char *cache_dir,
                        apq__object *out, apq_error *error);
void apq__object_free(apq__object *object);

/* "nvrtc 13.0" or "cc (Debian 12.2.0-14) 12.2.0": what apq__compile would use for this target; part
 * of every measurement's environment.  NO_COMPILER when there is none. */
apq_status apq__compiler_version(const apq__target *target, char *text, size_t size,
                                 apq_error *error);

#endif
