/* Kernels loaded on a context's device, each once. */
#ifndef APQ_KERNELS_H
#define APQ_KERNELS_H

#include <pthread.h>

#include "apq.h"
#include "config.h"
#include "db.h"
#include "device.h"
#include "winner_table.h"

/* Where the object came from. */
typedef enum apq__origin {
  APQ__ORIGIN_DATABASE,
  APQ__ORIGIN_CACHE,
  APQ__ORIGIN_COMPILER,
  APQ__ORIGIN_COUNT
} apq__origin;
const char *apq__origin_name(apq__origin origin);

typedef struct apq__loaded {
  struct apq__loaded *next;
  char *config;        /* canonical text */
  unsigned smem_bytes; /* dynamic shared memory it may be launched with */
  apq__origin origin;
  apq__module *module;
  apq__kernel *kernel;
  apq__kernel_info info;
} apq__loaded;

typedef struct apq__kernel_cache {
  pthread_mutex_t lock;
  int has_lock;
  apq__loaded *first;
  int count;
} apq__kernel_cache;

apq_status apq__kernel_cache_open(apq__kernel_cache *cache, apq_error *error);
/* Unloads everything.  Accepts a cache that was zeroed and never opened. */
void apq__kernel_cache_close(apq__kernel_cache *cache, apq__device *device);

/* The kernel of a complete config, loaded now if it was not: from an object stored in one of the
 * context's databases (needs no compiler), else generated and compiled through the context's object
 * cache.  `tuned` (may be NULL) names the object of a winner.  *out belongs to the context.  Thread
 * safe: one thread loads at a time. */
apq_status apq__kernel_get(apq_context *context, const apq__config *config, unsigned smem_bytes,
                           const apq__tuned *tuned, const apq__loaded **out, apq_error *error);

/* The id under which the object of a config may be stored in a database (apq__db_add_artifact), so
 * that it is found without a winner that names it: SHA-256 of the arch, the kind of device, the
 * template hash and the config. */
apq_status apq__artifact_id(const apq__config *config, const apq__target *target, char id[65],
                            apq_error *error);

/* Compiles a complete config and stores its object under that id.  What a tuner does with the pack
 * kernels (apq__pack_config) of the bits it tunes: with them, and the objects of the winners, a
 * machine with no compiler runs whole plans. */
apq_status apq__artifact_store(apq__db *db, const apq__config *config, const apq__target *target,
                               const char *cache_dir, apq_error *error);

#endif
