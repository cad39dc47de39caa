#include "dispatch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

enum {
  PER_SOURCE = 2, /* rows taken from each source: one, and one more should its kernel fail */
};
/* How much slower than the model's own choice a row for another shape may look. */
static const double HOPELESS = 2.0;

static const char *const source_names[APQ__SOURCE_COUNT] = {"exact", "nearest", "same arch",
                                                            "model"};

const char *apq__source_name(apq__source source) {
  return (unsigned)source < APQ__SOURCE_COUNT ? source_names[source] : "?";
}

/* A row and how far it is. */
typedef struct ranked {
  const apq__tuned *tuned;
  apq__source source;
  double distance; /* squared */
} ranked;

static double log_distance(int a, int b) {
  double d = log2((double)a) - log2((double)b);
  return d * d;
}

static int is_same_shape(const apq__problem *a, const apq__problem *b) {
  return a->m == b->m && a->n == b->n && a->k == b->k;
}

static ranked rank(const apq__tuned *tuned, const apq__problem *problem) {
  const apq__problem *at = &tuned->problem;
  ranked r = {tuned, APQ__SOURCE_SAME_ARCH, 0};
  r.distance = log_distance(at->m, problem->m) + log_distance(at->n, problem->n) +
               log_distance(at->k, problem->k);
  if (tuned->same_gpu)
    r.source = is_same_shape(at, problem) ? APQ__SOURCE_EXACT : APQ__SOURCE_NEAREST;
  return r;
}

static int compare_ranked(const void *left, const void *right) {
  const ranked *a = left, *b = right;
  if (a->source != b->source) return a->source < b->source ? -1 : 1;
  if (a->distance < b->distance) return -1;
  if (a->distance > b->distance) return 1;
  if (a->tuned->problem.in != b->tuned->problem.in) return a->tuned->problem.in ? -1 : 1;
  if (a->tuned->problem.m != b->tuned->problem.m)
    return a->tuned->problem.m > b->tuned->problem.m ? -1 : 1;
  /* The table's order is total; it decides the rest. */
  return a->tuned < b->tuned ? -1 : a->tuned > b->tuned;
}

/* All rows of the problem's p, q, out and group, with its input and with packed activations, in the
 * order of preference.  *out is NULL when there are none. */
static apq_status rank_rows(const apq__winner_table *table, const apq__problem *problem,
                            ranked **out, int *count, apq_error *error) {
  apq__problem packed = *problem;
  packed.in = APQ__INPUT_PACKED;
  int first = 0, own = apq__winner_table_range(table, problem, &first);
  int packed_first = 0, others = 0;
  if (problem->in) others = apq__winner_table_range(table, &packed, &packed_first);
  const int found = own + others;
  *out = NULL;
  *count = 0;
  if (!found) return APQ_OK;
  ranked *rows = apq__alloc((size_t)found * sizeof *rows);
  if (!rows)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "dispatch", "no memory to rank %d winners", found);
  for (int i = 0; i < own; i++) rows[i] = rank(&table->row[first + i], problem);
  for (int i = 0; i < others; i++) rows[own + i] = rank(&table->row[packed_first + i], problem);
  qsort(rows, (size_t)found, sizeof *rows, compare_ranked);
  *out = rows;
  *count = found;
  return APQ_OK;
}

static int is_same_config(const apq__config *a, const apq__config *b) {
  char key_a[APQ__KEY_MAX], key_b[APQ__KEY_MAX];
  return strcmp(apq__config_key(a, key_a), apq__config_key(b, key_b)) == 0;
}

typedef struct list {
  apq__choice *choice;
  int count;
} list;

static void append(list *to, const apq__choice *choice) {
  for (int i = 0; i < to->count; i++)
    if (is_same_config(&to->choice[i].config, &choice->config)) return;
  if (to->count < APQ__CHOICES_MAX) to->choice[to->count++] = *choice;
}

/* Completes a choice whose config is set; 0 when it is not feasible here. */
static int is_feasible(apq__choice *choice, const apq__problem *problem,
                       const apq__target *target) {
  if (apq__config_complete(&choice->config, NULL)) return 0;
  if (apq__config_limits(&choice->config, problem, target, &choice->shape, NULL)) return 0;
  choice->modelled_seconds = apq__config_cost(&choice->config, problem, target);
  return 1;
}

/* Family decode reads the weights again for each tile of tokens, so a kernel for fewer tokens is
 * slower by whole multiples. */
static int rereads_weights(const apq__choice *choice, const apq__problem *problem) {
  return apq__config_is(&choice->config, "family", "decode") && problem->m > choice->shape.tile_m;
}

/* Tuned rows: those to try before the model's choice go to `before`, the hopeless ones to `after`.
 */
static void choose_rows(const ranked *rows, int count, const apq__problem *problem,
                        const apq__target *target, double model_seconds, list *before,
                        list *after) {
  int taken[APQ__SOURCE_COUNT] = {0};
  for (int i = 0; i < count; i++) {
    const apq__tuned *tuned = rows[i].tuned;
    apq__choice choice = {.source = rows[i].source, .tuned = tuned};
    if (taken[choice.source] == PER_SOURCE) continue;
    if (apq__config_parse(tuned->config, &choice.config, NULL)) continue;
    if (!is_feasible(&choice, problem, target)) continue;
    int is_hopeless =
        !is_same_shape(&tuned->problem, problem) &&
        (choice.modelled_seconds > HOPELESS * model_seconds || rereads_weights(&choice, problem));
    if (is_hopeless && after->count == PER_SOURCE) continue;
    if (!is_hopeless) taken[choice.source]++;
    append(is_hopeless ? after : before, &choice);
  }
}

apq_status apq__dispatch(const apq__winner_table *table, const apq__problem *problem,
                         const apq__target *target, apq__choice choice[APQ__CHOICES_MAX],
                         int *count, apq_error *error) {
  *count = 0;
  apq_status status = apq__problem_check(problem, error);
  if (status) return status;
  ranked *rows = NULL;
  int row_count = 0;
  status = rank_rows(table, problem, &rows, &row_count, error);
  if (status) return status;

  apq__choice model = {.source = APQ__SOURCE_MODEL};
  int has_model = !apq__default_config(problem, target, &model.config, NULL) &&
                  is_feasible(&model, problem, target);

  apq__choice reserve[PER_SOURCE];
  list before = {choice, 0}, after = {reserve, 0};
  choose_rows(rows, row_count, problem, target, has_model ? model.modelled_seconds : INFINITY,
              &before, &after);
  apq__free(rows);
  if (has_model) append(&before, &model);
  for (int i = 0; i < after.count; i++) append(&before, &after.choice[i]);
  *count = before.count;
  if (*count) return APQ_OK;
  status = apq__default_config(problem, target, &model.config, error);
  if (status) return status;
  return apq__fail(error, APQ_INTERNAL, "dispatch", "the model's choice is not feasible on %s",
                   target->name);
}
