/* What the tests of weights share: looking inside, and the word a refusal must contain. */
#ifndef WEIGHTS_FIXTURE_H
#define WEIGHTS_FIXTURE_H

#include "runtime_fixture.h"

#include "bitplane.h"
#include "context.h"
#include "weights.h"

/* Everything weights hold, on the host. */
typedef struct looked {
  int n, k, bits, group, groups, alpha, zero;
  apq_format format;
  uint8_t *codes; /* [n][k] */
  float *scales;  /* [n][groups], 1.0 where there are none */
  int32_t *zeros; /* [n][groups], the format's where there are none */
  int32_t *sums, *group_sums;
  int has_scales, has_zeros;
} looked;

static inline looked look_inside(const apq_weights *w) {
  apq__weights_copy copy;
  CHECK(apq__weights_copy_out(w, &copy, error));
  looked l = {
      w->n, w->k, w->bits, w->group, w->groups, w->affine.alpha,     w->affine.zero,    w->format,
      NULL, NULL, NULL,    NULL,     NULL,      copy.scales != NULL, copy.zeros != NULL};
  const size_t cells = (size_t)w->n * (size_t)w->groups;
  l.codes = apq__alloc((size_t)w->n * (size_t)w->k);
  l.scales = apq__alloc(cells * 4);
  l.zeros = apq__alloc(cells * 4);
  apq__unpack_planes(copy.planes, w->n, w->k, w->bits, l.codes, w->k);
  assert_int_equal(apq__plane_dirty_row(copy.planes, w->n, w->k, w->bits), -1);
  for (size_t i = 0; i < cells; i++) {
    l.scales[i] = copy.scales ? copy.scales[i] : 1.0f;
    l.zeros[i] = copy.zeros ? copy.zeros[i] : w->affine.zero;
  }
  void *sums = NULL, *group_sums = NULL;
  CHECK(apq__weights_fetch(w->context, w->w_sum, (size_t)w->n * 4, &sums, error));
  CHECK(apq__weights_fetch(w->context, w->w_group_sum, cells * 4, &group_sums, error));
  l.sums = sums;
  l.group_sums = group_sums;
  assert_int_equal(w->group != 0, group_sums != NULL);
  apq__weights_copy_free(&copy);
  return l;
}

static inline void look_end(looked *l) {
  apq__free(l->codes);
  apq__free(l->scales);
  apq__free(l->zeros);
  apq__free(l->sums);
  apq__free(l->group_sums);
}

static inline int cell_of(const looked *l, int row, int col) {
  return row * l->groups + (l->group ? col / l->group : 0);
}

static inline double value_of(const looked *l, int row, int col) {
  const int cell = cell_of(l, row, col);
  return (double)l->scales[cell] * (l->alpha * l->codes[row * l->k + col] - l->zeros[cell]);
}

/* Row sums and group sums are those of the codes, and the bound is one. */
static inline void expect_sums(const apq_weights *w, const looked *l) {
  for (int row = 0; row < l->n; row++) {
    int sum = 0;
    for (int g = 0; g < l->groups; g++) {
      int part = 0;
      for (int i = 0; i < l->k; i++)
        if (cell_of(l, row, i) == row * l->groups + g) part += l->codes[row * l->k + i];
      if (l->group) assert_int_equal(l->group_sums[row * l->groups + g], part);
      sum += part;
    }
    assert_int_equal(l->sums[row], sum);
    for (int i = 0; i < l->k; i++)
      assert_true(labs((long)l->alpha * l->codes[row * l->k + i] - l->zeros[cell_of(l, row, i)]) <=
                  w->max_abs);
  }
}

/* Equal in everything that a product sees. */
static inline void expect_same(const apq_weights *left, const apq_weights *right) {
  looked a = look_inside(left), b = look_inside(right);
  assert_int_equal(a.n, b.n);
  assert_int_equal(a.k, b.k);
  assert_int_equal(a.bits, b.bits);
  assert_int_equal(a.group, b.group);
  assert_int_equal(a.alpha, b.alpha);
  assert_int_equal(a.zero, b.zero);
  assert_int_equal(a.format, b.format);
  assert_int_equal(a.has_scales, b.has_scales);
  assert_int_equal(a.has_zeros, b.has_zeros);
  assert_true(left->max_abs == right->max_abs);
  const size_t cells = (size_t)a.n * (size_t)a.groups;
  assert_memory_equal(a.codes, b.codes, (size_t)a.n * (size_t)a.k);
  assert_memory_equal(a.scales, b.scales, cells * 4);
  assert_memory_equal(a.zeros, b.zeros, cells * 4);
  assert_memory_equal(a.sums, b.sums, (size_t)a.n * 4);
  if (a.group) assert_memory_equal(a.group_sums, b.group_sums, cells * 4);
  look_end(&a);
  look_end(&b);
}

/* Random codes, scales and, for UINT, zero points in groups. */
static inline apq_weights *random_weights(apq_context *context, int n, int k, int bits,
                                          apq_format format, int group, uint64_t seed) {
  const int groups = group && group < k ? (k + group - 1) / group : 1;
  uint8_t *codes = apq__alloc((size_t)n * (size_t)k);
  for (int i = 0; i < n * k; i++) codes[i] = (uint8_t)(apq__random(&seed) & ((1u << bits) - 1));
  float *scales = random_floats(n * groups, &seed);
  int32_t *zeros = random_zeros(n * groups, bits, &seed);
  const apq_weights_desc desc = {.n = n,
                                 .k = k,
                                 .bits = bits,
                                 .format = format,
                                 .dtype = APQ_DTYPE_CODES8,
                                 .data = codes,
                                 .scale = scales,
                                 .zero = format == APQ_FORMAT_UINT ? zeros : NULL,
                                 .group = group};
  apq_weights *weights = NULL;
  CHECK(apq_weights_create(context, &desc, &weights, error));
  apq__free(codes);
  apq__free(scales);
  apq__free(zeros);
  return weights;
}

static inline int weights_set_up(void **state) {
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  *state = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db");
  return 0;
}

static inline int weights_tear_down(void **state) {
  apq_context_close(*state);
  return 0;
}

#endif
