#include "map_cache.h"

static void make_key(const apq__tensor_box *box, uint64_t key[APQ__MAP_KEY_WORDS]) {
  key[0] = (uintptr_t)box->base;
  key[1] = box->row_bytes;
  key[2] = box->rows;
  key[3] = box->planes;
  key[4] = box->row_pitch;
  key[5] = box->plane_pitch;
  key[6] = (uint64_t)box->box_bytes << 32 | (unsigned)box->box_rows;
  key[7] = (unsigned)box->swizzle;
}

/* Parts of a workspace differ from bit 8 on, buffers of a model from about bit 20. */
static size_t place_of(const apq__tensor_box *box) {
  const uintptr_t base = (uintptr_t)box->base;
  return (base >> 8 ^ base >> 13 ^ base >> 21 ^ box->rows) % APQ__MAPS_KEPT;
}

/* Acquire loads keep the words between the two reads of the version. */
static int look_up(apq__map_cache *cache, size_t i, const uint64_t key[APQ__MAP_KEY_WORDS],
                   apq_tensor_map *out) {
  const unsigned version = atomic_load_explicit(&cache->place[i].version, memory_order_acquire);
  if (version % 2 || version == 0) return 0;
  for (int w = 0; w < APQ__MAP_KEY_WORDS; w++)
    if (atomic_load_explicit(&cache->place[i].key[w], memory_order_acquire) != key[w]) return 0;
  for (int w = 0; w < APQ__MAP_WORDS; w++)
    out->word[w] = atomic_load_explicit(&cache->place[i].map[w], memory_order_acquire);
  return atomic_load_explicit(&cache->place[i].version, memory_order_relaxed) == version;
}

/* Of two writers one gives up.  Release stores keep the words behind the odd version. */
static void keep(apq__map_cache *cache, size_t i, const uint64_t key[APQ__MAP_KEY_WORDS],
                 const apq_tensor_map *map) {
  unsigned version = atomic_load_explicit(&cache->place[i].version, memory_order_relaxed);
  if (version % 2 ||
      !atomic_compare_exchange_strong_explicit(&cache->place[i].version, &version, version + 1,
                                               memory_order_acq_rel, memory_order_relaxed))
    return;
  for (int w = 0; w < APQ__MAP_KEY_WORDS; w++)
    atomic_store_explicit(&cache->place[i].key[w], key[w], memory_order_release);
  for (int w = 0; w < APQ__MAP_WORDS; w++)
    atomic_store_explicit(&cache->place[i].map[w], map->word[w], memory_order_release);
  atomic_store_explicit(&cache->place[i].version, version + 2, memory_order_release);
}

apq_status apq__map_get(apq__map_cache *cache, apq__device *device, const apq__tensor_box *box,
                        apq_tensor_map *out, apq_error *error) {
  if (!cache) return device->ops->tensor_map(device, box, out, error);
  uint64_t key[APQ__MAP_KEY_WORDS];
  const size_t i = place_of(box);
  make_key(box, key);
  if (look_up(cache, i, key, out)) return APQ_OK;
  apq_status status = device->ops->tensor_map(device, box, out, error);
  if (!status) keep(cache, i, key, out);
  return status;
}
