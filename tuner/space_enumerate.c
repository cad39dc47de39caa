#include "space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "knob_product.h"
#include "space_impl.h"
#include "status.h"

enum { ROWS_MAX = sizeof((apq__space_report *)0)->row / sizeof(apq__space_report_row) };
/* Combinations looked at one by one, and candidates kept: more would take minutes, and gigabytes.
 */
static const long looked_max = 2000000, kept_max = 500000;

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
  long looked;
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
  return (apq__script_field){name, NULL, value, 0, -1};
}

static apq__script_field text_field(const char *name, const char *value) {
  return (apq__script_field){name, value, 0, 0, -1};
}

static apq__script_field boolean_field(const char *name, int value) {
  return (apq__script_field){name, NULL, value, 1, -1};
}

static apq__script_field knob_field(const char *name, const char *value) {
  int integer = 0;
  if (apq__parse_int(value, &integer)) return integer_field(name, integer);
  return text_field(name, value);
}

static apq_status set_views(const space_search *search, apq__script *script,
                            const apq__knob_product *product, apq_error *error) {
  const apq__config *config = &product->config;
  const apq__problem *problem = search->problem;
  const apq__target *target = search->target;
  const apq__script_field of_problem[] = {
      integer_field("m", problem->m),         integer_field("n", problem->n),
      integer_field("k", problem->k),         integer_field("p", problem->p),
      integer_field("q", problem->q),         text_field("out", apq_dtype_name(problem->out)),
      integer_field("group", problem->group), text_field("input", apq__input_name(problem->in))};
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
  for (int i = 0; i < config->count; i++) {
    of_config[i] = knob_field(config->knob[i].name, config->knob[i].value);
    of_config[i].rank = apq__knob_product_rank(product, config->knob[i].name);
  }
  apq_status status = apq__script_set_view(script, APQ__SCRIPT_PROBLEM, of_problem,
                                           sizeof of_problem / sizeof of_problem[0], error);
  if (!status)
    status = apq__script_set_view(script, APQ__SCRIPT_DEVICE, of_device,
                                  sizeof of_device / sizeof of_device[0], error);
  if (!status)
    status = apq__script_set_view(script, APQ__SCRIPT_CONFIG, of_config, config->count, error);
  return status;
}

/* ---- one family ---- */

static apq_status keep(space_search *search, const apq__space *space, const apq__config *config,
                       apq_error *error) {
  if (search->report->kept == kept_max)
    return apq__fail(error, APQ_OUT_OF_RANGE, "space",
                     "%s:%d: more than %ld candidates: add constraints or list fewer values",
                     space->file, apq__script_line(space->script), kept_max);
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

static apq_status count_look(space_search *search, const apq__space *space, apq_error *error) {
  if (search->looked++ < looked_max) return APQ_OK;
  return apq__fail(error, APQ_OUT_OF_RANGE, "space",
                   "%s:%d: more than %ld combinations have to be looked at: list fewer values, or "
                   "put constraints that "
                   "read few knobs first",
                   space->file, apq__script_line(space->script), looked_max);
}

/* Asks the constraints about the current combination: *rejected is the one that says no, or their
 * count; *deepest the largest rank the answer depends on. */
static apq_status ask(const apq__space *space, apq__knob_product *product, int *rejected,
                      int *deepest, apq_error *error) {
  apq__script_field change[APQ__KNOBS_MAX];
  int function[APQ__SPACE_CONSTRAINTS_MAX], changes = 0;
  for (int i = product->dirty; i < product->count; i++)
    change[changes++] =
        knob_field(product->list[i]->name, product->config.knob[product->at[i]].value);
  for (int i = 0; i < space->constraint_count; i++) function[i] = space->constraint[i].function;
  apq_status status = apq__script_filter(space->script, change, changes, function,
                                         space->constraint_count, rejected, deepest, error);
  if (status && *rejected < space->constraint_count)
    apq__error_prefix(error, "constraint '%s'", space->constraint[*rejected].name);
  if (*deepest >= product->count) *deepest = product->count - 1;
  product->dirty = product->count;
  return status;
}

/* A combination that the constraints let through: the static limits have the last word. */
static apq_status check_limits(space_search *search, const apq__space *space,
                               const apq__config *config, apq_error *error) {
  apq__shape shape;
  apq_error reason = APQ_ERROR_INIT;
  apq_status status = apq__config_limits(config, search->problem, search->target, &shape, &reason);
  if (status == APQ_OK) return keep(search, space, config, error);
  if (status != APQ_INFEASIBLE) return apq__fail(error, status, reason.stage, "%s", reason.message);
  count_limit(search, space, reason.message, 1);
  return APQ_OK;
}

/* Walks the product.  An answer of the constraints holds until a wheel turns that it depends on. */
static apq_status walk(space_search *search, const apq__space *space, apq__knob_product *product,
                       const int row[], apq_error *error) {
  int depends = product->count; /* on ranks up to this; larger than any: not asked yet */
  for (int turned = 0; turned >= 0;) {
    int rejected = space->constraint_count;
    apq_status status = count_look(search, space, error);
    if (!status && turned <= depends && rejected)
      status = ask(space, product, &rejected, &depends, error);
    if (status) return status;
    if (rejected < space->constraint_count) {
      search->report->row[row[rejected]].removed +=
          (long)apq__knob_product_behind(product, depends);
      turned = apq__knob_product_turn(product, depends);
      depends = product->count;
      continue;
    }
    status = check_limits(search, space, &product->config, error);
    if (status) return status;
    turned = apq__knob_product_turn(product, product->count - 1);
  }
  return APQ_OK;
}

static apq_status search_family(space_search *search, const apq__space *space, apq_error *error) {
  int row[APQ__SPACE_CONSTRAINTS_MAX];
  apq__knob_product product;
  apq_error reason = APQ_ERROR_INIT;
  apq_status status = apq__knob_product_start(&product, space, search->problem, &reason);
  if (status && status != APQ_INVALID_ARGUMENT)
    return apq__fail(error, status, reason.stage, "%s", reason.message);
  search->report->total += (long)product.size;
  add_constraint_rows(search, space, row);
  if (status) {
    /* The family does not do this problem's bits or type: every combination falls to that. */
    count_limit(search, space, reason.message, (long)product.size);
    return APQ_OK;
  }
  if (space->constraint_count) status = set_views(search, space->script, &product, error);
  product.dirty = product.count;
  return status ? status : walk(search, space, &product, row, error);
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
