/* Quantiles, paired ratios, halving, ties and budget shares, on made-up samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "host.h"
#include "statistics.h"

static void quantiles_interpolate_and_skip_missing(void **state) {
  (void)state;
  double v[] = {5, NAN, 1, 4, 2, 3};
  apq__quantiles q;
  apq__quantiles_of(v, 6, &q);
  assert_int_equal(q.count, 5);
  assert_float_equal(q.min, 1, 0);
  assert_float_equal(q.p50, 3, 1e-12);
  assert_float_equal(q.p10, 1.4, 1e-12);
  assert_float_equal(q.p90, 4.6, 1e-12);
  assert_float_equal(q.max, 5, 0);
  apq__quantiles_of(v, 0, &q);
  assert_int_equal(q.count, 0);
  assert_float_equal(q.p50, 0, 0);
}

static void drift_that_hits_both_leaves_the_ratio_alone(void **state) {
  (void)state;
  double a[30], b[30];
  uint64_t seed = 7;
  for (int r = 0; r < 30; r++) {
    double drift = 1 + 0.16 * r / 30;
    b[r] = drift * (1 + 0.001 * (double)(apq__random(&seed) % 100) / 100);
    a[r] = drift * 1.02;
  }
  apq__ratio ratio;
  apq__paired_ratio(a, b, 30, &ratio);
  assert_int_equal(ratio.pairs, 30);
  assert_float_equal(ratio.p50, 1.0195, 0.001);
  assert_true(ratio.noise < 0.004);
  a[3] = NAN, b[4] = NAN;
  apq__paired_ratio(a, b, 30, &ratio);
  assert_int_equal(ratio.pairs, 28);
  apq__paired_ratio(a, b, 2, &ratio);
  assert_true(ratio.noise >= 0.05);
}

enum { FIELD = 24 };
typedef struct field {
  double seconds[FIELD][APQ__ROUNDS_MAX];
  unsigned char alive[FIELD], pinned[FIELD];
  apq__contest contest;
} field;

static void field_init(field *f) {
  memset(f, 0, sizeof *f);
  memset(f->alive, 1, sizeof f->alive);
  for (int i = 0; i < FIELD; i++)
    for (int r = 0; r < APQ__ROUNDS_MAX; r++) f->seconds[i][r] = NAN;
  f->contest = (apq__contest){FIELD, 0, f->seconds, f->alive, f->pinned};
}

/* Candidate i takes 1 + i/50; all share a drift, and each sample has its own noise of a tenth of a
 * percent. */
static void play(field *f, int rounds, uint64_t *seed) {
  for (int n = 0; n < rounds; n++, f->contest.rounds++)
    for (int i = 0; i < FIELD; i++)
      if (f->alive[i])
        f->seconds[i][f->contest.rounds] = (1 + i / 50.0) * (1 + 0.01 * f->contest.rounds) *
                                           (1 + 0.001 * (double)(apq__random(seed) % 1000) / 1000);
}

static void halving_keeps_the_best_and_the_pinned(void **state) {
  (void)state;
  field f;
  field_init(&f);
  f.pinned[20] = 1;
  uint64_t seed = 1;
  int stage, keep, stages = 0;
  for (;;) {
    apq__contest_next(&f.contest, 30, &stage, &keep);
    if (stage == 0) break;
    play(&f, stage, &seed);
    apq__contest_halve(&f.contest, keep);
    assert_true(++stages < 10);
  }
  assert_int_equal(f.contest.rounds, 30);
  for (int i = 0; i < 8; i++) assert_int_equal(f.alive[i], 1);
  for (int i = 9; i < FIELD; i++) assert_int_equal(f.alive[i], i == 20);
  assert_int_equal(apq__contest_leader(&f.contest), 0);
}

static void hopeless_candidates_go_at_once(void **state) {
  (void)state;
  field f;
  field_init(&f);
  uint64_t seed = 1;
  for (int i = 3; i < FIELD; i++) f.alive[i] = 0;
  play(&f, 3, &seed);
  for (int r = 0; r < 3; r++) f.seconds[1][r] *= 2.5;
  assert_int_equal(apq__contest_halve(&f.contest, 8), 1);
  assert_int_equal(f.alive[1], 0);
  assert_int_equal(f.alive[2], 1);
}

static void ties_go_to_the_incumbent_then_to_the_smaller_key(void **state) {
  (void)state;
  field f;
  field_init(&f);
  const char *keys[FIELD];
  for (int i = 0; i < FIELD; i++) keys[i] = "z";
  keys[0] = "c", keys[1] = "a", keys[2] = "b";
  uint64_t seed = 1;
  for (int i = 4; i < FIELD; i++) f.alive[i] = 0;
  play(&f, 30, &seed);
  /* 0, 1 and 2 within a thousandth, 3 six percent slower. */
  for (int r = 0; r < 30; r++) {
    f.seconds[1][r] = f.seconds[0][r] * 1.001;
    f.seconds[2][r] = f.seconds[0][r] * 1.0005;
  }
  int tied = 0;
  assert_int_equal(apq__contest_winner(&f.contest, keys, -1, &tied), 1);
  assert_int_equal(tied, 2);
  assert_int_equal(apq__contest_winner(&f.contest, keys, 2, &tied), 2);
  assert_int_equal(apq__contest_winner(&f.contest, keys, 0, &tied), 0);
  assert_int_equal(apq__contest_winner(&f.contest, keys, 3, &tied), 1);
  memset(f.alive, 0, sizeof f.alive);
  assert_int_equal(apq__contest_winner(&f.contest, keys, 0, &tied), -1);
}

static void budgets_are_shared_and_run_out(void **state) {
  (void)state;
  assert_true(isinf(apq__budget_share(0, 1e9, 3)));
  assert_float_equal(apq__budget_share(60, 0, 3), 20, 1e-12);
  assert_float_equal(apq__budget_share(60, 30, 1), 30, 1e-12);
  assert_float_equal(apq__budget_share(60, 61, 2), 0, 0);
}

static void rounds_start_elsewhere_and_visit_each_once(void **state) {
  (void)state;
  int order[FIELD], first[8];
  for (int round = 0; round < 8; round++) {
    int seen[FIELD] = {0};
    apq__round_order(5, round, FIELD, order);
    for (int i = 0; i < FIELD; i++) seen[order[i]]++;
    for (int i = 0; i < FIELD; i++) assert_int_equal(seen[i], 1);
    first[round] = order[0];
    for (int other = 0; other < round; other++) assert_int_not_equal(first[round], first[other]);
  }
  apq__round_order(5, 3, 1, order);
  assert_int_equal(order[0], 0);
}

/* Equal samples of any value and number: rounding must not put a quantile below the minimum. */
static void quantiles_are_in_order(void **state) {
  (void)state;
  for (int count = 1; count <= 32; count++)
    for (int i = 0; i < 1000; i++) {
      double samples[32];
      for (int s = 0; s < count; s++) samples[s] = (i + 1) * 1.7e-7 + (s % 2 ? 0 : (i % 3) * 1e-21);
      apq__quantiles q;
      apq__quantiles_of(samples, count, &q);
      assert_true(q.min <= q.p10 && q.p10 <= q.p50 && q.p50 <= q.p90 && q.p90 <= q.max);
    }
}

static void assert_correlation(double found, double wanted) {
  assert_true(fabs(found - wanted) < 1e-15);
}

static void rank_correlation_is_of_order_alone(void **state) {
  (void)state;
  double x[] = {10, 20, 30, 40, 50}, rising[] = {1, 8, 27, 64, 1e9}, falling[] = {5, 4, 3, 2, -7};
  assert_correlation(apq__rank_correlation(x, rising, 5), 1);
  assert_correlation(apq__rank_correlation(x, falling, 5), -1);
  /* Ranks 1 to 5 against 2, 1, 4, 3, 5: 1 - 6 * 4 / (5 * 24). */
  double swapped[] = {2, 1, 4, 3, 5};
  assert_correlation(apq__rank_correlation(x, swapped, 5), 0.8);
  assert_correlation(apq__rank_correlation(swapped, x, 5), 0.8);
}

static void rank_correlation_averages_ties(void **state) {
  (void)state;
  /* Ranks 1, 2.5, 2.5, 4 against 1 to 4: 4.5 / sqrt(4.5 * 5). */
  double tied[] = {1, 2, 2, 3}, x[] = {1, 2, 3, 4}, level[] = {6, 6, 6, 6};
  assert_correlation(apq__rank_correlation(tied, x, 4), 4.5 / sqrt(22.5));
  /* Ties in both: 1.5, 1.5, 3.5, 3.5 against 1, 3, 3, 3. */
  double a[] = {5, 5, 9, 9}, b[] = {0, 2, 2, 2};
  assert_correlation(apq__rank_correlation(a, b, 4), 2 / sqrt(4.0 * 3.0));
  assert_true(isnan(apq__rank_correlation(x, level, 4)));
  assert_true(isnan(apq__rank_correlation(level, x, 4)));
}

static void rank_correlation_skips_missing(void **state) {
  (void)state;
  double x[] = {1, NAN, 2, 3, 9}, y[] = {3, 100, 4, 5, NAN};
  assert_correlation(apq__rank_correlation(x, y, 5), 1);
  assert_true(isnan(apq__rank_correlation(x, y, 1)));
  assert_true(isnan(apq__rank_correlation(x, y, 2)));
  assert_true(isnan(apq__rank_correlation(x, y, 0)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_are_in_order),
      cmocka_unit_test(quantiles_interpolate_and_skip_missing),
      cmocka_unit_test(drift_that_hits_both_leaves_the_ratio_alone),
      cmocka_unit_test(halving_keeps_the_best_and_the_pinned),
      cmocka_unit_test(hopeless_candidates_go_at_once),
      cmocka_unit_test(ties_go_to_the_incumbent_then_to_the_smaller_key),
      cmocka_unit_test(budgets_are_shared_and_run_out),
      cmocka_unit_test(rank_correlation_is_of_order_alone),
      cmocka_unit_test(rank_correlation_averages_ties),
      cmocka_unit_test(rank_correlation_skips_missing),
      cmocka_unit_test(rounds_start_elsewhere_and_visit_each_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
