#include "statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Identical kernels timed round-robin differ by this much. */
#define FLOOR_NOISE 0.0025
/* Assumed when there are too few pairs to tell. */
#define BLIND_NOISE 0.05
/* From the median absolute deviation to the half width of the 95 % interval of a median, times the
 * root of the number of samples: 1.4826 makes it a standard deviation, 1.2533 is the median's
 * efficiency, 1.96 the interval. */
#define MAD_TO_INTERVAL (1.4826 * 1.2533 * 1.96)

enum { STAGE_ROUNDS = 3, FINALISTS = 8 };

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Copies what is not NaN, sorted. */
static int sorted_copy(const double *from, int count, double *to) {
  int kept = 0;
  for (int i = 0; i < count && i < APQ__ROUNDS_MAX; i++)
    if (!isnan(from[i])) to[kept++] = from[i];
  qsort(to, (size_t)kept, sizeof *to, compare);
  return kept;
}

static double quantile(const double *sorted, int count, double at) {
  double position = at * (count - 1);
  int below = (int)position;
  if (below + 1 >= count) return sorted[count - 1];
  double part = position - below;
  /* In this form, and no more than the neighbor above: weighting both would round equal samples to
   * something below them, and quantiles must be in order. */
  double low = sorted[below], high = sorted[below + 1];
  return fmin(low + (high - low) * part, high);
}

void apq__quantiles_of(const double *samples, int count, apq__quantiles *out) {
  double sorted[APQ__ROUNDS_MAX];
  *out = (apq__quantiles){0};
  out->count = sorted_copy(samples, count, sorted);
  if (out->count == 0) return;
  out->min = sorted[0];
  out->p10 = quantile(sorted, out->count, 0.1);
  out->p50 = quantile(sorted, out->count, 0.5);
  out->p90 = quantile(sorted, out->count, 0.9);
  out->max = sorted[out->count - 1];
}

void apq__paired_ratio(const double *a, const double *b, int rounds, apq__ratio *out) {
  double ratio[APQ__ROUNDS_MAX], deviation[APQ__ROUNDS_MAX];
  *out = (apq__ratio){0, 1, 1, 1, BLIND_NOISE};
  int pairs = 0;
  for (int r = 0; r < rounds && r < APQ__ROUNDS_MAX; r++)
    if (!isnan(a[r]) && !isnan(b[r]) && b[r] > 0) ratio[pairs++] = a[r] / b[r];
  apq__quantiles q;
  apq__quantiles_of(ratio, pairs, &q);
  if (q.count == 0) return;
  out->pairs = q.count;
  out->p10 = q.p10;
  out->p50 = q.p50;
  out->p90 = q.p90;
  if (q.count < 3) return;
  for (int i = 0; i < pairs; i++) deviation[i] = fabs(ratio[i] - q.p50);
  apq__quantiles_of(deviation, pairs, &q);
  out->noise = fmax(FLOOR_NOISE, MAD_TO_INTERVAL * q.p50 / sqrt(q.count));
}

static int is_pair(const double *x, const double *y, int i) {
  return !isnan(x[i]) && !isnan(y[i]);
}

/* How far the ranks of pair i lie from the middle of their lists.  Half the difference between how
 * many values are lower and how many higher gives equal values the mean of their ranks. */
static void centered_ranks(const double *x, const double *y, int count, int i, double *rank_x,
                           double *rank_y) {
  int balance_x = 0, balance_y = 0;
  for (int j = 0; j < count; j++) {
    if (!is_pair(x, y, j)) continue;
    balance_x += (x[j] < x[i]) - (x[j] > x[i]);
    balance_y += (y[j] < y[i]) - (y[j] > y[i]);
  }
  *rank_x = balance_x * 0.5;
  *rank_y = balance_y * 0.5;
}

double apq__rank_correlation(const double *x, const double *y, int count) {
  double xx = 0, yy = 0, xy = 0;
  for (int i = 0; i < count; i++) {
    if (!is_pair(x, y, i)) continue;
    double a, b;
    centered_ranks(x, y, count, i, &a, &b);
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

int apq__contest_alive(const apq__contest *contest) {
  int alive = 0;
  for (int i = 0; i < contest->count; i++) alive += contest->alive[i] != 0;
  return alive;
}

int apq__contest_leader(const apq__contest *contest) {
  int best = -1;
  double best_seconds = 0;
  for (int i = 0; i < contest->count; i++) {
    if (!contest->alive[i]) continue;
    apq__quantiles q;
    apq__quantiles_of(contest->seconds[i], contest->rounds, &q);
    if (q.count == 0) continue;
    if (best < 0 || q.p50 < best_seconds) {
      best = i;
      best_seconds = q.p50;
    }
  }
  return best;
}

static void ratio_to(const apq__contest *contest, int i, int leader, apq__ratio *out) {
  apq__paired_ratio(contest->seconds[i], contest->seconds[leader], contest->rounds, out);
}

/* How many living candidates have a lower ratio to the leader; equal ones count by index. */
static int rank_of(const apq__contest *contest, int i, int leader, double own) {
  int rank = 0;
  for (int other = 0; other < contest->count; other++) {
    if (!contest->alive[other] || other == i) continue;
    apq__ratio ratio;
    ratio_to(contest, other, leader, &ratio);
    rank += ratio.p50 < own || (ratio.p50 <= own && other < i);
  }
  return rank;
}

int apq__contest_halve(apq__contest *contest, int keep) {
  int leader = apq__contest_leader(contest), dropped = 0;
  if (leader < 0) return 0;
  /* Marked first and removed after, so that ranks are of one field. */
  for (int i = 0; i < contest->count; i++) {
    if (!contest->alive[i] || contest->pinned[i] || i == leader) continue;
    apq__ratio ratio;
    ratio_to(contest, i, leader, &ratio);
    int slower = ratio.p50 - 1 > ratio.noise;
    if (ratio.p50 > 2 || (slower && rank_of(contest, i, leader, ratio.p50) >= keep))
      contest->alive[i] = 2;
  }
  for (int i = 0; i < contest->count; i++) {
    if (contest->alive[i] != 2) continue;
    contest->alive[i] = 0;
    dropped++;
  }
  return dropped;
}

void apq__contest_next(const apq__contest *contest, int rounds, int *stage, int *keep) {
  int alive = apq__contest_alive(contest), left = rounds - contest->rounds, droppable = 0;
  for (int i = 0; i < contest->count; i++) droppable += contest->alive[i] && !contest->pinned[i];
  if (left > APQ__ROUNDS_MAX - contest->rounds) left = APQ__ROUNDS_MAX - contest->rounds;
  *keep = alive / 2 > FINALISTS ? alive / 2 : FINALISTS;
  *stage = droppable > FINALISTS && left > STAGE_ROUNDS ? STAGE_ROUNDS : left;
  if (*stage < 0 || alive == 0) *stage = 0;
}

int apq__contest_winner(const apq__contest *contest, const char *const *keys, int incumbent,
                        int *tied) {
  int leader = apq__contest_leader(contest), winner = leader, within = 0;
  *tied = 0;
  if (leader < 0) return -1;
  for (int i = 0; i < contest->count; i++) {
    if (!contest->alive[i]) continue;
    apq__ratio ratio;
    ratio_to(contest, i, leader, &ratio);
    if (ratio.pairs == 0 || ratio.p50 - 1 > ratio.noise) continue;
    within++;
    if (winner == incumbent) continue;
    if (i == incumbent) {
      winner = i;
      continue;
    }
    if (strcmp(keys[i], keys[winner]) < 0) winner = i;
  }
  *tied = within - 1;
  return winner;
}

double apq__budget_share(double budget, double elapsed, int problems_left) {
  if (budget <= 0) return INFINITY;
  double left = budget - elapsed;
  if (left <= 0 || problems_left <= 0) return 0;
  return left / problems_left;
}

static int common_divisor(int a, int b) {
  while (b) {
    int rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

void apq__round_order(uint64_t seed, int round, int count, int *order) {
  if (count <= 0) return;
  for (int i = 0; i < count; i++) order[i] = i;
  for (int i = count - 1; i > 0; i--) {
    int j = (int)(apq__random(&seed) % (uint64_t)(i + 1));
    int swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  /* The start walks by a stride near the golden section of the field, which spreads it in few
   * rounds; having no common divisor with the field, it comes to every place. */
  int stride = count * 5 / 8 + 1;
  while (common_divisor(stride, count) > 1) stride++;
  int start = (int)((int64_t)round * stride % count);
  for (int pass = 0; pass < 3; pass++) {
    /* Rotation by three reversals: [0,start), [start,count), all. */
    int low = pass == 1 ? start : 0, high = (pass == 0 ? start : count) - 1;
    for (; low < high; low++, high--) {
      int swap = order[low];
      order[low] = order[high];
      order[high] = swap;
    }
  }
}
