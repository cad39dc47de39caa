#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"
#include "statistics.h"
#include "status.h"

static apq_status fail_memory(apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "report", "out of memory for the report");
}

/* ---- winners ---- */

static int is_same_gpu(const apq__environment *a, const apq__environment *b) {
  return strcmp(a->gpu, b->gpu) == 0 && strcmp(a->arch, b->arch) == 0 && a->sm_count == b->sm_count;
}

static int is_same_subject(const apq__winner *a, const apq__winner *b) {
  return is_same_gpu(&a->environment, &b->environment) &&
         apq__problem_is_same(&a->problem, &b->problem) &&
         strcmp(a->measurement.objective, b->measurement.objective) == 0;
}

/* The database keeps a winner for each family and version of it.  Of present versions the fastest
 * is the problem's; past ones come after them, and of these only the newest run counts. */
static int is_better(const apq__winner *a, int is_a_current, const apq__report_entry *b) {
  const apq__measurement *new = &a->measurement, *old = &b->winner.measurement;
  if (is_a_current != b->is_current) return is_a_current;
  if (!is_a_current && strcmp(new->run, old->run) != 0) return new->unix_time > old->unix_time;
  return new->p50 < old->p50;
}

typedef struct winner_visit {
  const apq__selection *selection;
  const apq__target *only; /* NULL: any GPU */
  apq__report *report;
  int out_of_memory;
} winner_visit;

static int take_winner(const apq__winner *winner, void *user) {
  winner_visit *visit = user;
  apq__report *report = visit->report;
  int is_current = apq__cli_is_current(winner);
  if (!apq__selection_has(visit->selection, &winner->problem)) return 0;
  for (int i = report->count - 1; i >= 0; i--) {
    apq__report_entry *entry = &report->entry[i];
    if (!apq__problem_is_same(&entry->winner.problem, &winner->problem)) break;
    if (!is_same_subject(&entry->winner, winner)) continue;
    if (!is_better(winner, is_current, entry)) return 0;
    entry->winner = *winner;
    entry->is_current = is_current;
    return 0;
  }
  if (report->count == report->capacity) {
    int capacity = report->capacity ? report->capacity * 2 : 64;
    apq__report_entry *entry = apq__realloc(report->entry, (size_t)capacity * sizeof *entry);
    visit->out_of_memory = !entry;
    if (!entry) return 1;
    report->entry = entry;
    report->capacity = capacity;
  }
  report->entry[report->count++] =
      (apq__report_entry){.winner = *winner, .is_current = is_current, .choice = -1};
  return 0;
}

static int compare_text_then(const char *a, const char *b, const int *x, const int *y, int count) {
  int order = strcmp(a, b);
  for (int i = 0; i < count && order == 0; i++) order = (x[i] > y[i]) - (x[i] < y[i]);
  return order;
}

static int compare_entries(const void *left, const void *right) {
  const apq__winner *a = &((const apq__report_entry *)left)->winner;
  const apq__winner *b = &((const apq__report_entry *)right)->winner;
  const apq__problem *p = &a->problem, *r = &b->problem;
  const int x[] = {
      a->environment.sm_count, p->p, p->q, p->n, p->k, (int)p->out, p->group, (int)p->in, p->m};
  const int y[] = {
      b->environment.sm_count, r->p, r->q, r->n, r->k, (int)r->out, r->group, (int)r->in, r->m};
  int order = compare_text_then(a->environment.gpu, b->environment.gpu, x, y, 1);
  if (order == 0) order = strcmp(a->environment.arch, b->environment.arch);
  if (order) return order;
  return compare_text_then(a->measurement.objective, b->measurement.objective, x + 1, y + 1, 8);
}

/* ---- kernels of the winner's run ---- */

typedef struct kernel_visit {
  apq__report_entry *entry;
  const apq__target *target; /* NULL: unknown arch */
  int out_of_memory;
} kernel_visit;

/* Knobs that came after the kernel was measured are at their defaults, which is what it was. */
static double model(const apq__config *measured, const apq__problem *problem,
                    const apq__target *target) {
  apq__config config = *measured;
  apq__shape shape;
  if (!target || apq__config_complete(&config, NULL) ||
      apq__config_limits(&config, problem, target, &shape, NULL))
    return NAN;
  return apq__config_cost(&config, problem, target);
}

static int take_kernel(const apq__winner *row, void *user) {
  kernel_visit *visit = user;
  apq__report_entry *entry = visit->entry;
  char text[APQ__KEY_MAX];
  if (!is_same_subject(row, &entry->winner) ||
      strcmp(row->measurement.run, entry->winner.measurement.run) != 0)
    return 0;
  visit->out_of_memory = 1;
  if (entry->count == entry->capacity) {
    int capacity = entry->capacity ? entry->capacity * 2 : 64;
    apq__report_kernel *kernel = apq__realloc(entry->kernel, (size_t)capacity * sizeof *kernel);
    if (!kernel) return 1;
    entry->kernel = kernel;
    entry->capacity = capacity;
  }
  apq__report_kernel *kernel = &entry->kernel[entry->count];
  *kernel = (apq__report_kernel){.seconds = row->measurement.p50};
  kernel->key = apq__strdup(apq__config_key(&row->variant.config, text));
  kernel->name = apq__strdup(apq__print_config(&row->variant.config, text));
  entry->count++;
  if (!kernel->key || !kernel->name) return 1;
  const char *family = apq__config_get(&row->variant.config, "family");
  if (family) strncpy(kernel->family, family, sizeof kernel->family - 1);
  kernel->cost = model(&row->variant.config, &entry->winner.problem, visit->target);
  visit->out_of_memory = 0;
  return 0;
}

/* The order in which the tuner tries them. */
static int is_before(const apq__report_kernel *a, const apq__report_kernel *b) {
  return a->cost < b->cost || (a->cost <= b->cost && strcmp(a->key, b->key) < 0);
}

static void find_places(apq__report_entry *entry, const apq__target *target) {
  double own = model(&entry->winner.variant.config, &entry->winner.problem, target);
  entry->place = !isnan(own);
  for (int i = 0; i < entry->count; i++) {
    const apq__report_kernel *kernel = &entry->kernel[i], *first = NULL;
    if (entry->choice >= 0) first = &entry->kernel[entry->choice];
    if (isnan(kernel->cost)) continue;
    entry->place += kernel->cost < own;
    if (!first || is_before(kernel, first)) entry->choice = i;
  }
  entry->choice_ratio = NAN;
  if (entry->choice >= 0)
    entry->choice_ratio = entry->kernel[entry->choice].seconds / entry->winner.measurement.p50;
}

static apq_status correlate(apq__report_entry *entry, apq_error *error) {
  double *cost = apq__calloc((size_t)entry->count, 2 * sizeof *cost);
  if (!cost) return fail_memory(error);
  double *seconds = cost + entry->count;
  for (int i = 0; i < entry->count; i++) {
    cost[i] = entry->kernel[i].cost;
    seconds[i] = entry->kernel[i].seconds;
  }
  entry->correlation = apq__rank_correlation(cost, seconds, entry->count);
  apq__free(cost);
  return APQ_OK;
}

static apq_status read_kernels(apq__db *db, const apq__target *device, apq__report_entry *entry,
                               apq_error *error) {
  const apq__environment *environment = &entry->winner.environment;
  apq__target target;
  kernel_visit visit = {.entry = entry};
  if (device && strcmp(device->name, environment->gpu) == 0 &&
      strcmp(device->arch, environment->arch) == 0 && device->sm_count == environment->sm_count) {
    visit.target = device;
  } else if (apq__target_emulated(environment->arch, &target, NULL) == APQ_OK) {
    target.sm_count = environment->sm_count;
    apq__target_fill_rates(&target);
    visit.target = &target;
  }
  apq_status status = apq__db_measurements(db, environment->gpu, &entry->winner.problem,
                                           take_kernel, &visit, error);
  if (!status && visit.out_of_memory) status = fail_memory(error);
  if (status) return status;
  find_places(entry, visit.target);
  return correlate(entry, error);
}

/* ---- all of it ---- */

/* A GPU was measured on somewhere: the model asks this machine's, if it has one.  Not needed, so
 * that there is none is no error. */
static void open_measured_device(const apq__report *report, apq__device **out) {
  for (int i = 0; i < report->count; i++) {
    if (report->entry[i].winner.environment.emulated) continue;
    if (apq__device_open(NULL, out, NULL)) *out = NULL;
    return;
  }
}

apq_status apq__report_read(const apq__cli *cli, apq__db *db, apq__report *out, apq_error *error) {
  apq__device *device = NULL;
  apq__selection selection = {0};
  winner_visit visit = {.selection = &selection, .report = out};
  *out = (apq__report){0};
  apq_status status = apq__cli_selection(cli, &selection, error);
  if (!status && cli->options->device) {
    status = apq__device_open(cli->options->device, &device, error);
    if (!status) visit.only = &device->target;
  }
  if (!status)
    status = apq__db_winners(db, visit.only ? visit.only->name : NULL,
                             visit.only ? visit.only->arch : NULL, take_winner, &visit, error);
  if (!status && visit.out_of_memory) status = fail_memory(error);
  if (!status && !device) open_measured_device(out, &device);
  for (int i = 0; i < out->count && !status; i++)
    status = read_kernels(db, device ? &device->target : NULL, &out->entry[i], error);
  if (!status && out->count)
    qsort(out->entry, (size_t)out->count, sizeof *out->entry, compare_entries);
  apq__device_close(device);
  apq__selection_free(&selection);
  if (status) apq__report_free(out);
  return status;
}

void apq__report_free(apq__report *report) {
  for (int i = 0; i < report->count; i++) {
    apq__report_entry *entry = &report->entry[i];
    for (int k = 0; k < entry->count; k++) {
      apq__free(entry->kernel[k].key);
      apq__free(entry->kernel[k].name);
    }
    apq__free(entry->kernel);
  }
  apq__free(report->entry);
  *report = (apq__report){0};
}

double apq__report_tops(const apq__report_entry *entry) {
  const apq__problem *p = &entry->winner.problem;
  double seconds = entry->winner.measurement.p50;
  return seconds > 0 ? 2e-12 * p->m * p->n * p->k / seconds : NAN;
}

int apq__report_is_same_group(const apq__report_entry *a, const apq__report_entry *b) {
  apq__winner one = a->winner, other = b->winner;
  one.problem.m = other.problem.m = 1;
  return is_same_subject(&one, &other);
}
