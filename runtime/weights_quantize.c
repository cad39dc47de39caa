#include "weights_quantize.h"

#include <float.h>
#include <math.h>

#include "alloc.h"
#include "format.h"
#include "parallel.h"
#include "reference.h"
#include "status.h"
#include "weights.h"

/* The search for the best ratio: 2^(-i/8) from 1 down to 1/32 (the best for one bit of a row of
 * thousands of normal values is about 1/5), then the neighbors at 1/16 and 1/32 of an octave. */
enum { COARSE_STEPS = 40, COARSE_PER_OCTAVE = 8, REFINEMENTS = 2 };

/* ---- one channel or group ---- */

typedef struct span {
  const float *x; /* finite values */
  int count;
  float low, high; /* their range, with 0 */
} span;

/* What apq__quantize makes of a value, and its error, in steps. */
typedef struct stepper {
  float inverse, zero, alpha, part, last;
} stepper;

static inline float squared_steps(const stepper *by, float x) {
  /* Adding and taking away 1.5 * 2^23 leaves a small float rounded to the nearest integer. */
  const float rounder = 12582912.0f, steps = x * by->inverse;
  float code = (steps + by->zero) * by->part;
  code = code > 0 ? code : 0;
  code = code < by->last ? code : by->last;
  code = (code + rounder) - rounder;
  const float off = steps - (by->alpha * code - by->zero);
  return off * off;
}

/* The squared error of quantizing, for comparing ratios: given up once it reaches `worst`.  Counted
 * in steps, whose squares neither overflow nor vanish.  A value half way between two codes may fall
 * to the other one than apq__quantize says: the error is the same. */
static double squared_error(const span *of, const apq__quantizer *by, int bits, apq_format format,
                            double worst) {
  /* As many lanes as compilers keep in vectors, and blocks short enough for sums of floats. */
  enum { LANES = 8, BLOCK = 128 };
  const float alpha = (float)apq__format_affine(format, bits).alpha;
  const stepper how = {by->inverse, (float)by->zero, alpha, 1.0f / alpha, (float)((1 << bits) - 1)};
  const double unit = (double)by->scale * (double)by->scale;
  double total = 0;
  for (int begin = 0; begin < of->count && total * unit < worst; begin += BLOCK) {
    const int count = of->count - begin < BLOCK ? of->count - begin : BLOCK;
    const float *x = of->x + begin;
    float sum[LANES] = {0};
    int i = 0;
    for (; i + LANES <= count; i += LANES)
      for (int j = 0; j < LANES; j++) sum[j] += squared_steps(&how, x[i + j]);
    for (; i < count; i++) sum[0] += squared_steps(&how, x[i]);
    for (int j = 0; j < LANES; j++) total += (double)sum[j];
  }
  return total * unit;
}

typedef struct search {
  const span *of;
  int bits;
  apq_format format;
  double least;
  float exponent; /* of the best ratio so far */
  apq__quantizer best;
} search;

static void try_exponent(search *s, float exponent) {
  const float ratio = exp2f(exponent);
  const apq__quantizer by =
      apq__quantizer_of(s->of->low * ratio, s->of->high * ratio, s->bits, s->format);
  const double found = squared_error(s->of, &by, s->bits, s->format, s->least);
  if (found >= s->least) return;
  s->least = found;
  s->exponent = exponent;
  s->best = by;
}

static apq__quantizer best_quantizer(const span *of, int bits, apq_format format) {
  search s = {of, bits, format, DBL_MAX, 0, apq__quantizer_of(of->low, of->high, bits, format)};
  for (int i = 0; i <= COARSE_STEPS; i++) try_exponent(&s, -(float)i / (float)COARSE_PER_OCTAVE);
  float step = 0.5f / (float)COARSE_PER_OCTAVE;
  for (int i = 0; i < REFINEMENTS; i++, step *= 0.5f) {
    const float center = s.exponent;
    if (center + step <= 0) try_exponent(&s, center + step);
    try_exponent(&s, center - step);
  }
  return s.best;
}

/* ---- the matrix ---- */

typedef struct quantizing {
  const apq_weights_desc *desc;
  const void *data;
  int64_t ld;
  int group, groups;
  uint8_t *codes;
  float *scales;
  int32_t *zeros;
  float *rows; /* [workers][k] */
} quantizing;

static void load_row(const quantizing *job, int row, float *to) {
  const apq_weights_desc *desc = job->desc;
  for (int i = 0; i < desc->k; i++) {
    const float x = apq__load_float(job->data, desc->dtype, row * job->ld + i);
    to[i] = isfinite(x) ? x : 0.0f;
  }
}

static void quantize_rows(void *user, int worker, int begin, int end) {
  const quantizing *job = user;
  const apq_weights_desc *desc = job->desc;
  const int width = job->group ? job->group : desc->k;
  float *x = job->rows + (int64_t)worker * desc->k;
  for (int row = begin; row < end; row++) {
    load_row(job, row, x);
    uint8_t *codes = job->codes + (int64_t)row * desc->k;
    for (int g = 0; g < job->groups; g++) {
      const int at = g * width, left = desc->k - at;
      span of = {.x = x + at, .count = left < width ? left : width};
      apq__row_range(of.x, of.count, &of.low, &of.high);
      const apq__quantizer by = desc->clip == APQ_CLIP_MSE
                                    ? best_quantizer(&of, desc->bits, desc->format)
                                    : apq__quantizer_of(of.low, of.high, desc->bits, desc->format);
      for (int i = 0; i < of.count; i++)
        codes[at + i] = apq__quantize(&by, of.x[i], desc->bits, desc->format);
      job->scales[(int64_t)row * job->groups + g] = by.scale;
      if (job->zeros) job->zeros[(int64_t)row * job->groups + g] = by.zero;
    }
  }
}

apq_status apq__weights_quantize(const apq_weights_desc *desc, const void *data, int group,
                                 uint8_t **codes, float **scales, int32_t **zeros,
                                 apq_error *error) {
  const int groups = apq__weights_groups(group, desc->k);
  const int has_zeros = desc->format == APQ_FORMAT_UINT;
  /* A thread is worth its start from about a million elements on, and the search sees each some
   * twenty times. */
  const int worth = desc->clip == APQ_CLIP_MSE ? 1 << 16 : 1 << 20;
  const int workers = apq__parallel_workers(desc->n, 1 + worth / desc->k);
  const size_t cells = (size_t)desc->n * (size_t)groups;
  quantizing job = {.desc = desc,
                    .data = data,
                    .ld = desc->ld ? desc->ld : desc->k,
                    .group = group,
                    .groups = groups,
                    .codes = apq__calloc((size_t)desc->n, (size_t)desc->k),
                    .scales = apq__calloc(cells, sizeof(float)),
                    .zeros = has_zeros ? apq__calloc(cells, sizeof(int32_t)) : NULL,
                    .rows = apq__calloc((size_t)workers * (size_t)desc->k, sizeof(float))};
  apq_status status = APQ_OK;
  if (job.codes && job.scales && job.rows && (job.zeros || !has_zeros)) {
    apq__parallel(workers, desc->n, quantize_rows, &job);
    *codes = job.codes;
    *scales = job.scales;
    *zeros = job.zeros;
  } else {
    apq__free(job.codes);
    apq__free(job.scales);
    apq__free(job.zeros);
    status = apq__weights_no_memory(desc->n, desc->k, error);
  }
  apq__free(job.rows);
  return status;
}
