/* The tensor maps of a plan's calls, kept: the driver takes longer to write one than a call should,
 * and calls repeat the same few. */
#ifndef APQ_MAP_CACHE_H
#define APQ_MAP_CACHE_H

#include <stdatomic.h>
#include <stdint.h>

#include "device.h"

enum { APQ__MAPS_KEPT = 16, APQ__MAP_KEY_WORDS = 8, APQ__MAP_WORDS = sizeof(apq_tensor_map) / 8 };

/* Places that any thread reads and writes without a lock.  `version` is odd while one is written,
 * and another afterwards: who saw the same even version before and after has a whole map. Start it
 * zeroed. */
typedef struct apq__map_cache {
  struct {
    _Atomic(unsigned) version;
    _Atomic(uint64_t) key[APQ__MAP_KEY_WORDS]; /* the box */
    _Atomic(uint64_t) map[APQ__MAP_WORDS];
  } place[APQ__MAPS_KEPT];
} apq__map_cache;

/* The map of a box: the one that is kept, else made by the device and kept.  Without a cache it is
 * made. */
apq_status apq__map_get(apq__map_cache *cache, apq__device *device, const apq__tensor_box *box,
                        apq_tensor_map *out, apq_error *error);

#endif
