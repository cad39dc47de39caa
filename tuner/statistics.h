/* What samples say: quantiles, paired ratios and their noise, successive halving, ties, and how a
 * budget is shared.  Pure functions of numbers, so that every decision of the tuner can be tested
 * without a device. */
#ifndef APQ_STATISTICS_H
#define APQ_STATISTICS_H

#include <stdint.h>

enum { APQ__ROUNDS_MAX = 256 };

typedef struct apq__quantiles {
  int count;
  double min, p10, p50, p90, max; /* all 0 when count is 0 */
} apq__quantiles;

/* Of the samples that are not NaN; at most APQ__ROUNDS_MAX are given.  Linear interpolation between
 * order statistics. */
void apq__quantiles_of(const double *samples, int count, apq__quantiles *out);

/* a[r] / b[r] over the rounds in which both were sampled.  `noise` is the half width of the 95 %
 * interval of the median, from the median absolute deviation, never below what identical kernels
 * differ by (0.25 %); with fewer than three pairs it is 5 %. */
typedef struct apq__ratio {
  int pairs;
  double p10, p50, p90; /* 1 when there is no pair */
  double noise;
} apq__ratio;
void apq__paired_ratio(const double *a, const double *b, int rounds, apq__ratio *out);

/* Spearman's rank correlation of x and y over the pairs of which neither is NaN; equal values share
 * the mean of their ranks.  NaN with fewer than two pairs, or when all x or all y are equal.  Takes
 * time with the square of `count`. */
double apq__rank_correlation(const double *x, const double *y, int count);

/* A contest: samples of every candidate in every round, NaN where it was not sampled. */
typedef struct apq__contest {
  int count;
  int rounds;                         /* played so far */
  double (*seconds)[APQ__ROUNDS_MAX]; /* [count][round] */
  unsigned char *alive;               /* [count] 0: out, 1: sampled in each round */
  const unsigned char *pinned;        /* [count] 1: never dropped by halving */
} apq__contest;

/* The living candidate with the lowest median, the first of equals; -1 when none lives. */
int apq__contest_leader(const apq__contest *contest);
int apq__contest_alive(const apq__contest *contest);

/* Drops those that are not among the `keep` best and slower than the leader by more than the noise;
 * and all that take more than twice the leader's time.  Pinned ones stay.  Returns how many were
 * dropped. */
int apq__contest_halve(apq__contest *contest, int keep);

/* How many rounds to play before the next halving, and how many to keep then: three rounds and half
 * of the field until 8 are left, then the rest of `rounds` in one go.  *stage 0: the contest is
 * over. */
void apq__contest_next(const apq__contest *contest, int rounds, int *stage, int *keep);

/* The winner: the incumbent (-1: none) unless the leader beats it by more than the noise;
 * otherwise, of those within the noise of the leader, the one with the smallest key.  *tied counts
 * the others within the noise.  -1 when none lives. */
int apq__contest_winner(const apq__contest *contest, const char *const *keys, int incumbent,
                        int *tied);

/* Seconds the next problem may take: what is left of the budget, divided by the problems left.  A
 * budget of 0 gives infinity. */
double apq__budget_share(double budget, double elapsed, int problems_left);

/* Fills `order` with 0..count-1 for round `round`: a rotation whose start differs from round to
 * round, over an order shuffled once by `seed`. */
void apq__round_order(uint64_t seed, int round, int count, int *order);

#endif
