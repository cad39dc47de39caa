#include "winner_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "status.h"

/* A winner is for another GPU when the name or the number of SMs differs: vendors sell both under
 * one name. */
static int is_same_gpu(const apq__environment *environment, const apq__target *target) {
  return strcmp(environment->gpu, target->name) == 0 && environment->sm_count == target->sm_count;
}

/* Whether the template that made this variant is still the one compiled in. */
static int is_current(const apq__variant *variant, int emulated) {
  const char *name = apq__config_get(&variant->config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  return family && apq__family_is_product(family) &&
         strcmp(apq__family_hash(family, emulated), variant->hash) == 0;
}

/* Whether the config computes this problem: a row edited by hand must not give wrong products. */
static int fits_problem(const apq__config *config, const apq__problem *problem) {
  const char *out = apq__config_get(config, "out"), *source = apq__config_source(config);
  return apq__config_int(config, "p", problem->p) == problem->p &&
         apq__config_int(config, "q", problem->q) == problem->q &&
         apq__config_int(config, "group", 0) == problem->group &&
         (!out || strcmp(out, apq_dtype_name(problem->out)) == 0) &&
         (!source || strcmp(source, apq__input_name(problem->in)) == 0);
}

static apq_status grow(apq__winner_table *table, apq_error *error) {
  if (table->count < table->capacity) return APQ_OK;
  int capacity = table->capacity ? table->capacity * 2 : 64;
  apq__tuned *row = apq__realloc(table->row, (size_t)capacity * sizeof *row);
  if (!row)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "database", "no memory for %d winners", capacity);
  table->row = row;
  table->capacity = capacity;
  return APQ_OK;
}

apq_status apq__winner_table_add(apq__winner_table *table, const apq__winner *winner, int database,
                                 const apq__target *target, apq_error *error) {
  const apq__environment *environment = &winner->environment;
  if (strcmp(environment->arch, target->arch) != 0) return APQ_OK;
  if (!environment->emulated != !target->emulated ||
      (winner->measurement.modelled && !target->emulated)) {
    table->foreign++;
    return APQ_OK;
  }
  if (!is_current(&winner->variant, target->emulated) ||
      !fits_problem(&winner->variant.config, &winner->problem)) {
    table->stale++;
    return APQ_OK;
  }
  apq_status status = grow(table, error);
  if (status) return status;
  char key[APQ__KEY_MAX];
  apq__tuned *row = &table->row[table->count];
  *row = (apq__tuned){.problem = winner->problem,
                      .config = apq__strdup(apq__config_key(&winner->variant.config, key)),
                      .same_gpu = is_same_gpu(environment, target),
                      .database = database,
                      .modelled = winner->measurement.modelled,
                      .seconds = winner->measurement.p50};
  if (!row->config)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "database", "no memory for a winner");
  /* Arrays of equal sizes, each with its zero. */
  _Static_assert(sizeof row->gpu == sizeof environment->gpu, "gpu");
  _Static_assert(sizeof row->objective == sizeof winner->measurement.objective, "objective");
  _Static_assert(sizeof row->artifact == sizeof winner->measurement.artifact, "artifact");
  memcpy(row->gpu, environment->gpu, sizeof row->gpu);
  memcpy(row->objective, winner->measurement.objective, sizeof row->objective);
  memcpy(row->artifact, winner->measurement.artifact, sizeof row->artifact);
  table->count++;
  return APQ_OK;
}

typedef struct reading {
  apq__winner_table *table;
  const apq__target *target;
  apq_error *error;
  apq_status status;
  int database;
} reading;

static int read_one(const apq__winner *winner, void *user) {
  reading *r = user;
  r->status = apq__winner_table_add(r->table, winner, r->database, r->target, r->error);
  return r->status != APQ_OK;
}

apq_status apq__winner_table_read(apq__winner_table *table, apq__db *db, int database,
                                  const apq__target *target, apq_error *error) {
  reading r = {table, target, error, APQ_OK, database};
  apq_status status = apq__db_winners(db, NULL, target->arch, read_one, &r, error);
  return r.status ? r.status : status;
}

static int order(int64_t a, int64_t b) {
  return (a > b) - (a < b);
}

/* By kind: what one look-up must find side by side. */
static int compare_kind(const apq__problem *a, const apq__problem *b) {
  int difference = order(a->p, b->p);
  if (!difference) difference = order(a->q, b->q);
  if (!difference) difference = order((int64_t)a->out, (int64_t)b->out);
  if (!difference) difference = order(a->group, b->group);
  if (!difference) difference = order((int64_t)a->in, (int64_t)b->in);
  return difference;
}

/* By what may be in the sealed table only once. */
static int compare_slot(const apq__tuned *a, const apq__tuned *b) {
  int difference = compare_kind(&a->problem, &b->problem);
  if (!difference) difference = order(b->same_gpu, a->same_gpu);
  if (!difference) difference = order(a->problem.m, b->problem.m);
  if (!difference) difference = order(a->problem.n, b->problem.n);
  if (!difference) difference = order(a->problem.k, b->problem.k);
  if (!difference) difference = strcmp(a->gpu, b->gpu);
  return difference;
}

static int compare_rows(const void *left, const void *right) {
  const apq__tuned *a = left, *b = right;
  int difference = compare_slot(a, b);
  if (!difference) difference = order(a->database, b->database);
  if (!difference) difference = strcmp(a->objective, b->objective); /* "burst" < "sustained" */
  if (!difference) difference = (a->seconds > b->seconds) - (a->seconds < b->seconds);
  if (!difference) difference = strcmp(a->config, b->config);
  return difference;
}

void apq__winner_table_seal(apq__winner_table *table) {
  if (!table->count) return;
  qsort(table->row, (size_t)table->count, sizeof table->row[0], compare_rows);
  int kept = 1;
  for (int i = 1; i < table->count; i++) {
    if (compare_slot(&table->row[kept - 1], &table->row[i]) == 0)
      apq__free(table->row[i].config);
    else
      table->row[kept++] = table->row[i];
  }
  table->count = kept;
}

/* First row whose kind is not before (or, with `after`, is after) that of the problem. */
static int bound(const apq__winner_table *table, const apq__problem *problem, int after) {
  int low = 0, high = table->count;
  while (low < high) {
    int middle = low + (high - low) / 2;
    int difference = compare_kind(&table->row[middle].problem, problem);
    if (difference < 0 || (after && difference == 0))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

int apq__winner_table_range(const apq__winner_table *table, const apq__problem *problem,
                            int *first) {
  *first = bound(table, problem, 0);
  return bound(table, problem, 1) - *first;
}

void apq__winner_table_free(apq__winner_table *table) {
  for (int i = 0; i < table->count; i++) apq__free(table->row[i].config);
  apq__free(table->row);
  *table = (apq__winner_table){0};
}
