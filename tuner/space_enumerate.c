#include "space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "space_impl.h"
#include "status.h"

enum { ROWS_MAX = sizeof((apq__space_report *)0)->row / sizeof(apq__space_report_row) };
static const long combinations_max = 4000000;

/* What one call of apq__space_candidates works on. */
typedef struct space_search {
  const apq__space *top;
  const apq__problem *problem;
  const apq__target *target;
  apq__space_report *report;
  struct {
    const apq__space *space; /* whose constraint the row is, or NULL: a static limit */
    int constraint;
  } origin[ROWS_MAX];
  apq__config *kept;
  long capacity;
} space_search;

static apq_status out_of_memory(apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "out of memory");
}

/* ---- report ---- */

/* Rows of a union carry the part's name. */
static void row_name(const space_search *search, const apq__space *space, const char *name,
                     char out[64]) {
  if (space == search->top)
    snprintf(out, 64, "%s", name);
  else
    snprintf(out, 64, "%s: %s", space->name, name);
}

/* The row of this name, made if need be; when the table is full the last row gathers the rest. */
static int find_row(space_search *search, const char *name) {
  apq__space_report *report = search->report;
  for (int i = 0; i < report->row_count; i++)
    if (strcmp(report->row[i].name, name) == 0 && !search->origin[i].space) return i;
  if (report->row_count == ROWS_MAX) return ROWS_MAX - 1;
  int row = report->row_count++;
  report->row[row] = (apq__space_report_row){{0}, 0};
  search->origin[row].space = NULL;
  snprintf(report->row[row].name, sizeof report->row[row].name, "%s",
           row == ROWS_MAX - 1 ? "other reasons" : name);
  return row;
}

static void count_limit(space_search *search, const apq__space *space, const char *reason,
                        long count) {
  char name[64];
  row_name(search, space, reason, name);
  search->report->row[find_row(search, name)].removed += count;
}

/* Gives each constraint its row, in script order, and returns the first one's index. */
static void add_constraint_rows(space_search *search, const apq__space *space, int row[]) {
  apq__space_report *report = search->report;
  for (int i = 0; i < space->constraint_count; i++) {
    if (report->row_count >= ROWS_MAX - 1) {
      row[i] = find_row(search, "other reasons");
      continue;
    }
    row[i] = report->row_count++;
    report->row[row[i]].removed = 0;
    row_name(search, space, space->constraint[i].name, report->row[row[i]].name);
    search->origin[row[i]].space = space;
    search->origin[row[i]].constraint = i;
  }
}

static apq_status fail_empty(const space_search *search, apq_error *error) {
  const apq__space_report *report = search->report;
  char key[APQ__KEY_MAX], where[320] = "";
  int most = 0;
  for (int i = 1; i < report->row_count; i++)
    if (report->row[i].removed > report->row[most].removed) most = i;
  const apq__space *space = report->row_count ? search->origin[most].space : NULL;
  if (space)
    snprintf(where, sizeof where, "%s:%d: ", space->file,
             space->constraint[search->origin[most].constraint].line);
  return apq__fail(error, APQ_NOT_FOUND, "space",
                   "%sspace '%s' has no candidate for %s on %s: %s '%s' removed %ld of %ld", where,
                   search->top->name, apq__problem_key(search->problem, key), search->target->arch,
                   space ? "constraint" : "the limit",
                   report->row_count ? report->row[most].name : "",
                   report->row_count ? report->row[most].removed : 0, report->total);
}

/* ---- views ---- */

static apq__script_field integer_field(const char *name, int64_t value) {
  return (apq__script_field){name, NULL, value, 0};
}

static apq__script_field text_field(const char *name, const char *value) {
  return (apq__script_field){name, value, 0, 0};
}

static apq__script_field boolean_field(const char *name, int value) {
  return (apq__script_field){name, NULL, value, 1};
}

static apq__script_field knob_field(const char *name, const char *value) {
  int integer = 0;
  if (apq__parse_int(value, &integer)) return integer_field(name, integer);
  return text_field(name, value);
}

static apq_status set_views(const space_search *search, apq__script *script,
                            const apq__config *config, apq_error *error) {
  const apq__problem *problem = search->problem;
  const apq__target *target = search->target;
  const apq__script_field of_problem[] = {
      integer_field("m", problem->m), integer_field("n", problem->n),
      integer_field("k", problem->k), integer_field("p", problem->p),
      integer_field("q", problem->q), text_field("out", apq_dtype_name(problem->out))};
  const apq__script_field of_device[] = {text_field("name", target->name),
                                         text_field("arch", target->arch),
                                         integer_field("cc", target->cc),
                                         boolean_field("emulated", target->emulated),
                                         integer_field("sm_count", target->sm_count),
                                         integer_field("smem_per_block", target->smem_per_block),
                                         integer_field("smem_per_sm", target->smem_per_sm),
                                         integer_field("regs_per_sm", target->regs_per_sm),
                                         integer_field("threads_per_sm", target->threads_per_sm),
                                         integer_field("blocks_per_sm", target->blocks_per_sm),
                                         integer_field("l2_bytes", target->l2_bytes),
                                         integer_field("mem_bytes", target->mem_bytes),
                                         boolean_field("b1_and", target->b1_and_macs > 0),
                                         boolean_field("b1_xor", target->b1_xor_macs > 0),
                                         boolean_field("u8", target->u8_macs > 0)};
  apq__script_field of_config[APQ__KNOBS_MAX];
  for (int i = 0; i < config->count; i++)
    of_config[i] = knob_field(config->knob[i].name, config->knob[i].value);
  apq_status status = apq__script_set_view(script, APQ__SCRIPT_PROBLEM, of_problem,
                                           sizeof of_problem / sizeof of_problem[0], error);
  if (!status)
    status = apq__script_set_view(script, APQ__SCRIPT_DEVICE, of_device,
                                  sizeof of_device / sizeof of_device[0], error);
  if (!status)
    status = apq__script_set_view(script, APQ__SCRIPT_CONFIG, of_config, config->count, error);
  return status;
}

/* ---- one family's product of knob lists ---- */

/* The odometer over a space's knobs; knob i stands at `digit[i]`. */
typedef struct knob_product {
  const apq__space *space;
  apq__config config;     /* complete, of the current digits */
  int at[APQ__KNOBS_MAX]; /* index of knob i in `config` */
  int digit[APQ__KNOBS_MAX];
  apq__script_field change[APQ__KNOBS_MAX]; /* what the last step changed */
  int change_count;
  int row[APQ__SPACE_CONSTRAINTS_MAX]; /* report row of each constraint */
  int function[APQ__SPACE_CONSTRAINTS_MAX];
} knob_product;

static apq_status product_size(const apq__space *space, long *out, apq_error *error) {
  *out = 1;
  for (int i = 0; i < space->knob_count; i++) {
    *out *= space->knob[i].count;
    if (*out > combinations_max)
      return apq__fail(error, APQ_OUT_OF_RANGE, "space",
                       "%s:%d: the knob lists give more than %ld combinations: list fewer values",
                       space->file, apq__script_line(space->script), combinations_max);
  }
  return APQ_OK;
}

static void set_digit(knob_product *product, int knob, int digit) {
  const apq__space_knob *list = &product->space->knob[knob];
  apq__knob *slot = &product->config.knob[product->at[knob]];
  product->digit[knob] = digit;
  memcpy(slot->value, list->value[digit], APQ__WORD_MAX);
  product->change[product->change_count++] = knob_field(list->name, slot->value);
}

/* The next combination; 0 after the last. */
static int step(knob_product *product) {
  product->change_count = 0;
  for (int i = product->space->knob_count - 1; i >= 0; i--) {
    int next = product->digit[i] + 1;
    set_digit(product, i, next < product->space->knob[i].count ? next : 0);
    if (product->digit[i]) return 1;
  }
  return 0;
}

/* The first combination, with the problem's bits and the defaults of what the space does not list.
 */
static apq_status start(knob_product *product, const space_search *search, const apq__space *space,
                        apq_error *error) {
  const char *family = apq__family_name(space->family);
  apq__config *config = &product->config;
  apq_status status = apq__config_set(config, "family", family, error);
  if (!status) status = apq__config_set_int(config, "p", search->problem->p, error);
  if (!status) status = apq__config_set_int(config, "q", search->problem->q, error);
  if (!status) status = apq__config_set(config, "out", apq_dtype_name(search->problem->out), error);
  for (int i = 0; i < space->knob_count && !status; i++)
    status = apq__config_set(config, space->knob[i].name, space->knob[i].value[0], error);
  if (!status) status = apq__config_complete(config, error);
  if (status) return status;
  for (int i = 0; i < space->knob_count; i++)
    while (strcmp(config->knob[product->at[i]].name, space->knob[i].name) != 0) product->at[i]++;
  return APQ_OK;
}

static apq_status keep(space_search *search, const apq__config *config, apq_error *error) {
  if (search->report->kept == search->capacity) {
    long capacity = search->capacity ? search->capacity * 2 : 256;
    apq__config *kept = apq__realloc(search->kept, (size_t)capacity * sizeof *kept);
    if (!kept) return out_of_memory(error);
    search->kept = kept;
    search->capacity = capacity;
  }
  search->kept[search->report->kept++] = *config;
  return APQ_OK;
}

/* Sends the current combination through constraints, then limits. */
static apq_status judge(space_search *search, knob_product *product, apq_error *error) {
  const apq__space *space = product->space;
  int rejected = 0;
  if (space->constraint_count) {
    apq_status status =
        apq__script_filter(space->script, product->change, product->change_count, product->function,
                           space->constraint_count, &rejected, error);
    if (status) {
      if (rejected < space->constraint_count)
        apq__error_prefix(error, "constraint '%s'", space->constraint[rejected].name);
      return status;
    }
  }
  if (rejected < space->constraint_count) {
    search->report->row[product->row[rejected]].removed++;
    return APQ_OK;
  }
  apq__shape shape;
  apq_error reason = APQ_ERROR_INIT;
  apq_status status =
      apq__config_limits(&product->config, search->problem, search->target, &shape, &reason);
  if (status == APQ_OK) return keep(search, &product->config, error);
  if (status != APQ_INFEASIBLE) return apq__fail(error, status, reason.stage, "%s", reason.message);
  count_limit(search, space, reason.message, 1);
  return APQ_OK;
}

static apq_status search_family(space_search *search, const apq__space *space, apq_error *error) {
  long size = 0;
  apq_status status = product_size(space, &size, error);
  if (status) return status;
  knob_product *product = apq__calloc(1, sizeof *product);
  if (!product) return out_of_memory(error);
  product->space = space;
  search->report->total += size;
  add_constraint_rows(search, space, product->row);
  for (int i = 0; i < space->constraint_count; i++)
    product->function[i] = space->constraint[i].function;

  apq_error reason = APQ_ERROR_INIT;
  status = start(product, search, space, &reason);
  if (status == APQ_INVALID_ARGUMENT) {
    /* The family does not do this problem's bits or type: every combination falls to that. */
    count_limit(search, space, reason.message, size);
    status = APQ_OK;
    goto cleanup;
  }
  if (status) {
    apq__fail(error, status, reason.stage, "%s", reason.message);
    goto cleanup;
  }
  if (space->constraint_count) status = set_views(search, space->script, &product->config, error);
  while (!status) {
    status = judge(search, product, error);
    if (status || !step(product)) break;
  }

cleanup:
  apq__free(product);
  return status;
}

static apq_status search_space(space_search *search, const apq__space *space, apq_error *error) {
  if (space->family) return search_family(search, space, error);
  apq_status status = APQ_OK;
  for (int i = 0; i < space->part_count && !status; i++)
    status = search_space(search, space->part[i], error);
  return status;
}

/* ---- order ---- */

/* Compares words as they stand in a canonical key, where `end` follows each. */
static int compare_words(const char *a, const char *b, int end) {
  while (*a && *a == *b) a++, b++;
  return (*a ? (unsigned char)*a : end) - (*b ? (unsigned char)*b : end);
}

/* By canonical key, without making the keys. */
static int compare_configs(const void *left, const void *right) {
  const apq__config *a = left, *b = right;
  int count = a->count < b->count ? a->count : b->count;
  for (int i = 0; i < count; i++) {
    int order = compare_words(a->knob[i].name, b->knob[i].name, '=');
    if (!order) order = compare_words(a->knob[i].value, b->knob[i].value, ',');
    if (order) return order;
  }
  return a->count - b->count;
}

/* Sorts and counts repeats, which a union can have, as removed. */
static void sort_kept(space_search *search) {
  apq__space_report *report = search->report;
  if (!search->kept) return;
  qsort(search->kept, (size_t)report->kept, sizeof *search->kept, compare_configs);
  long kept = 1;
  for (long i = 1; i < report->kept; i++)
    if (compare_configs(&search->kept[i], &search->kept[kept - 1]) != 0)
      search->kept[kept++] = search->kept[i];
  if (kept < report->kept) count_limit(search, search->top, "listed twice", report->kept - kept);
  report->kept = kept;
}

apq_status apq__space_candidates(apq__space *space, const apq__problem *problem,
                                 const apq__target *target, apq__config **out, int *count,
                                 apq__space_report *report, apq_error *error) {
  apq__space_report own;
  space_search search = {
      .top = space, .problem = problem, .target = target, .report = report ? report : &own};
  search.report->total = search.report->kept = 0;
  search.report->row_count = 0;
  *out = NULL;
  *count = 0;
  apq_status status = apq__problem_check(problem, error);
  if (!status) status = search_space(&search, space, error);
  if (!status && search.report->kept == 0) status = fail_empty(&search, error);
  if (status) {
    apq__free(search.kept);
    return status;
  }
  sort_kept(&search);
  *out = search.kept;
  *count = (int)search.report->kept;
  return APQ_OK;
}
