/* Kept tensor maps: what comes back is what the device made for that box, whoever asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "map_cache.h"

static atomic_long made;

/* Every word tells of the box. */
static uint64_t word_of(const apq__tensor_box *box, int word) {
  return ((uintptr_t)box->base * 31 + box->rows * 7 + (unsigned)box->box_rows) * 64 +
         (unsigned)word;
}

static apq_status make_map(apq__device *device, const apq__tensor_box *box, apq_tensor_map *out,
                           apq_error *error) {
  (void)device, (void)error;
  atomic_fetch_add(&made, 1);
  for (int w = 0; w < APQ__MAP_WORDS; w++) out->word[w] = word_of(box, w);
  return APQ_OK;
}

static apq_status refuse(apq__device *device, const apq__tensor_box *box, apq_tensor_map *out,
                         apq_error *error) {
  (void)device, (void)box, (void)out, (void)error;
  return APQ_INFEASIBLE;
}

static const apq__device_ops ops = {.tensor_map = make_map}, broken = {.tensor_map = refuse};
static apq__device device = {.ops = &ops};
static apq__map_cache cache;

static apq__tensor_box box_of(int i) {
  return (apq__tensor_box){.base = (const void *)(uintptr_t)(0x100000 + (i / 4) * 0x1000),
                           .row_bytes = 512,
                           .rows = (size_t)(1 + i % 2),
                           .planes = 2,
                           .row_pitch = 512,
                           .plane_pitch = 1024,
                           .box_bytes = 128,
                           .box_rows = 64 << i / 2 % 2,
                           .swizzle = 128};
}

static int is_right(const apq__tensor_box *box, const apq_tensor_map *map) {
  for (int w = 0; w < APQ__MAP_WORDS; w++)
    if (map->word[w] != word_of(box, w)) return 0;
  return 1;
}

static void a_map_is_made_once(void **state) {
  (void)state;
  const apq__tensor_box box = box_of(0), other = box_of(1);
  apq_tensor_map map;
  memset(&cache, 0, sizeof cache);
  made = 0;
  for (int i = 0; i < 5; i++) {
    assert_int_equal(apq__map_get(&cache, &device, &box, &map, NULL), APQ_OK);
    assert_true(is_right(&box, &map));
  }
  assert_int_equal(made, 1);
  assert_int_equal(apq__map_get(&cache, &device, &other, &map, NULL), APQ_OK);
  assert_true(is_right(&other, &map));
  assert_int_equal(apq__map_get(NULL, &device, &box, &map, NULL), APQ_OK);
  assert_int_equal(made, 3);
}

static void what_fails_is_not_kept(void **state) {
  (void)state;
  const apq__tensor_box box = box_of(0);
  apq_tensor_map map;
  memset(&cache, 0, sizeof cache);
  device.ops = &broken;
  assert_int_equal(apq__map_get(&cache, &device, &box, &map, NULL), APQ_INFEASIBLE);
  device.ops = &ops;
  assert_int_equal(apq__map_get(&cache, &device, &box, &map, NULL), APQ_OK);
  assert_true(is_right(&box, &map));
}

enum { THREADS = 8, CALLS = 100000, BOXES = 64 };

/* More boxes than places, so that they push each other out all the time. */
static void *ask_many(void *argument) {
  uint32_t seed = (uint32_t)(uintptr_t)argument;
  for (int i = 0; i < CALLS; i++) {
    apq_tensor_map map;
    seed = seed * 1664525u + 1013904223u;
    const apq__tensor_box box = box_of((int)(seed >> 16) % BOXES);
    if (apq__map_get(&cache, &device, &box, &map, NULL) || !is_right(&box, &map)) return argument;
  }
  return NULL;
}

static void threads_get_whole_maps(void **state) {
  (void)state;
  pthread_t thread[THREADS];
  memset(&cache, 0, sizeof cache);
  made = 0;
  for (int t = 0; t < THREADS; t++)
    assert_int_equal(pthread_create(&thread[t], NULL, ask_many, (void *)(uintptr_t)(t + 1)), 0);
  for (int t = 0; t < THREADS; t++) {
    void *failed = NULL;
    pthread_join(thread[t], &failed);
    assert_null(failed);
  }
  assert_in_range(made, BOXES, (long)THREADS * CALLS - 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_map_is_made_once),
      cmocka_unit_test(what_fails_is_not_kept),
      cmocka_unit_test(threads_get_whole_maps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
