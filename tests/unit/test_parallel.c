/* Every row is done once, by a worker that exists, whatever the counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "parallel.h"

enum { ROWS_MAX = 1000 };

typedef struct tally {
  int done[ROWS_MAX];
  int worker[ROWS_MAX];
} tally;

static void count_rows(void *user, int worker, int begin, int end) {
  tally *t = user;
  for (int i = begin; i < end; i++) {
    t->done[i]++;
    t->worker[i] = worker;
  }
}

static void every_row_is_done_once(void **state) {
  (void)state;
  static const int counts[] = {0, 1, 2, 15, 16, 17, 1000};
  for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
    for (int workers = 1; workers <= 16; workers++) {
      static tally t;
      memset(&t, 0, sizeof t);
      apq__parallel(workers, counts[c], count_rows, &t);
      for (int i = 0; i < ROWS_MAX; i++) {
        assert_int_equal(t.done[i], i < counts[c]);
        assert_in_range(t.worker[i], 0, workers - 1);
      }
    }
}

static void workers_have_enough_to_do(void **state) {
  (void)state;
  assert_int_equal(apq__parallel_workers(1, 1), 1);
  assert_int_equal(apq__parallel_workers(100, 1000), 1);
  for (int grain = 1; grain < 2000; grain *= 3) {
    int workers = apq__parallel_workers(1000, grain);
    assert_in_range(workers, 1, 16);
    assert_true(workers == 1 || 1000 / workers >= grain);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row_is_done_once),
      cmocka_unit_test(workers_have_enough_to_do),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
