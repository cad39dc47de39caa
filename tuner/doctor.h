/* What the project needs of a machine: found or missing, and what follows. */
#ifndef APQ_DOCTOR_H
#define APQ_DOCTOR_H

#include "alloc.h"
#include "apq.h"

typedef enum apq__health {
  APQ__HEALTH_OK,
  APQ__HEALTH_MISSING, /* absent: something is done without it */
  APQ__HEALTH_BROKEN,  /* there, but of no use as it is */
} apq__health;

/* One thing that was looked for. */
typedef struct apq__finding {
  const char
      *name; /* "driver", "gpu", "nvrtc", "cublaslt", "host compiler", "cache", "database", ... */
  apq__health health;
  char found[512];     /* what there is, or what was looked for and where */
  const char *follows; /* what is done without it; NULL when health is OK */
} apq__finding;

typedef struct apq__diagnosis {
  apq__finding *finding;
  int count;
  const char *verdict; /* one line: what can be done on this machine */
  int is_usable;       /* 0: neither a GPU nor the emulated device can run a kernel */
} apq__diagnosis;

/* "ok", "missing", "broken". */
const char *apq__health_name(apq__health health);

/* Looks at the driver, each GPU, the compilers, cuBLASLt, the cache folder and the databases;
 * changes nothing but a file that it creates in the cache folder and removes.  `database` and
 * `cache_dir`: NULL for the user's.  OUT_OF_MEMORY is the only failure: everything else is a
 * finding. */
apq_status apq__diagnose(const char *database, const char *cache_dir, apq__diagnosis *out,
                         apq_error *error);
void apq__diagnosis_free(apq__diagnosis *diagnosis);

/* The diagnosis as lines of text, the verdict last. */
void apq__diagnosis_write(const apq__diagnosis *diagnosis, apq__text *out);

#endif
