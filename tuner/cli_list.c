#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "generator.h"
#include "status.h"
#include "text_table.h"

/* Each kind of list fills a table for people or an array for programs, and tells how many rows it
 * has. */
typedef struct listing {
  const apq__cli *cli;
  apq__table table;
  apq__json json;
  int rows;
} listing;

/* ---- winners ---- */

static void add_winner(listing *list, const apq__winner *winner) {
  char text[APQ__KEY_MAX];
  const apq__measurement *m = &winner->measurement;
  apq__json_begin_object(&list->json, NULL);
  apq__json_string(&list->json, "gpu", winner->environment.gpu);
  apq__json_string(&list->json, "arch", winner->environment.arch);
  apq__json_problem(&list->json, "problem", &winner->problem);
  apq__json_config(&list->json, "config", &winner->variant.config);
  apq__json_double(&list->json, "seconds", m->p50);
  apq__json_bool(&list->json, "modelled", m->modelled);
  apq__json_string(&list->json, "objective", m->objective);
  apq__json_int(&list->json, "unix_time", m->unix_time);
  apq__json_end_object(&list->json);

  apq__table_cell(&list->table, "%s", winner->environment.gpu);
  apq__table_cell(&list->table, "%s", apq__print_problem(&winner->problem, text));
  apq__table_cell(&list->table, "%s", apq__print_time(m->p50, text));
  apq__table_cell(&list->table, "%s", m->modelled ? "modelled" : m->objective);
  apq__table_cell(&list->table, "%s", apq__print_config(&winner->variant.config, text));
  list->rows++;
}

/* With --device, only what was tuned on that GPU. */
static apq_status find_gpu(const apq__cli *cli, apq__target *out, apq_error *error) {
  apq__device *device = NULL;
  *out = (apq__target){0};
  if (!cli->options->device) return APQ_OK;
  apq_status status = apq__device_open(cli->options->device, &device, error);
  if (!status) *out = device->target;
  apq__device_close(device);
  return status;
}

static apq_status list_winners(listing *list, apq_error *error) {
  static const char *const headers[] = {"gpu", "problem", ">time", "objective", "kernel", NULL};
  apq__table_init(&list->table, headers);
  apq__db *db = NULL;
  apq__winner_list winners = {0};
  apq__target target;
  apq_status status = find_gpu(list->cli, &target, error);
  if (!status) status = apq__cli_db_open(list->cli, APQ__DB_READ, &db, error);
  if (!status)
    status = apq__cli_winners(list->cli, db, target.name[0] ? target.name : NULL,
                              target.arch[0] ? target.arch : NULL, &winners, error);
  for (int i = 0; i < winners.count && !status; i++) add_winner(list, &winners.item[i]);
  apq__free(winners.item);
  apq__db_close(db);
  return status;
}

/* ---- failures ---- */

typedef struct failure_visit {
  listing *list;
  apq__selection selection;
} failure_visit;

static int add_failure(const apq__failure *failure, void *user) {
  failure_visit *visit = user;
  listing *list = visit->list;
  apq__problem problem;
  char text[APQ__KEY_MAX];
  if (failure->problem[0] && (apq__problem_parse(failure->problem, &problem, NULL) ||
                              !apq__selection_has(&visit->selection, &problem)))
    return 0;
  apq__json_begin_object(&list->json, NULL);
  apq__json_string(&list->json, "gpu", failure->environment.gpu);
  if (failure->problem[0]) apq__json_problem(&list->json, "problem", &problem);
  apq__json_config(&list->json, "config", &failure->variant.config);
  apq__json_string(&list->json, "stage", failure->stage);
  apq__json_string(&list->json, "message", failure->message);
  apq__json_string(&list->json, "log", failure->log);
  apq__json_int(&list->json, "unix_time", failure->unix_time);
  apq__json_end_object(&list->json);

  apq__table_cell(&list->table, "%s", failure->environment.gpu);
  apq__table_cell(&list->table, "%s",
                  failure->problem[0] ? apq__print_problem(&problem, text) : "all problems");
  apq__table_cell(&list->table, "%s", failure->stage);
  apq__table_cell(&list->table, "%s", apq__print_config(&failure->variant.config, text));
  apq__table_cell(&list->table, "%s", failure->message);
  list->rows++;
  return 0;
}

static apq_status list_failures(listing *list, apq_error *error) {
  static const char *const headers[] = {"gpu", "problem", "stage", "kernel", "message", NULL};
  apq__table_init(&list->table, headers);
  apq__db *db = NULL;
  failure_visit visit = {.list = list};
  apq_status status = apq__cli_selection(list->cli, &visit.selection, error);
  if (!status) status = apq__cli_db_open(list->cli, APQ__DB_READ, &db, error);
  if (!status) status = apq__db_failures(db, add_failure, &visit, error);
  apq__selection_free(&visit.selection);
  apq__db_close(db);
  return status;
}

/* ---- what is built in ---- */

/* The first comment of a script, without its dashes. */
static void first_comment(const char *text, char line[160]) {
  const char *at = text + strspn(text, "- ");
  snprintf(line, 160, "%.*s", (int)strcspn(at, "\n"), at);
}

static apq_status list_spaces(listing *list, apq_error *error) {
  static const char *const headers[] = {"space", "about", NULL};
  (void)error;
  apq__table_init(&list->table, headers);
  for (const char *name; (name = apq__space_builtin(list->rows)); list->rows++) {
    char about[160];
    first_comment(apq__space_builtin_text(name), about);
    apq__json_begin_object(&list->json, NULL);
    apq__json_string(&list->json, "name", name);
    apq__json_string(&list->json, "about", about);
    apq__json_end_object(&list->json);
    apq__table_cell(&list->table, "%s", name);
    apq__table_cell(&list->table, "%s", about);
  }
  return APQ_OK;
}

static void add_layer(listing *list, const char *model, const apq__layer_shape *layer) {
  apq__json_begin_object(&list->json, NULL);
  apq__json_string(&list->json, "model", model);
  apq__json_string(&list->json, "layer", layer->name);
  apq__json_int(&list->json, "n", layer->n);
  apq__json_int(&list->json, "k", layer->k);
  apq__json_end_object(&list->json);
  apq__table_cell(&list->table, "%s", model);
  apq__table_cell(&list->table, "%s", layer->name);
  apq__table_cell(&list->table, "%d", layer->n);
  apq__table_cell(&list->table, "%d", layer->k);
  list->rows++;
}

static apq_status list_models(listing *list, apq_error *error) {
  static const char *const headers[] = {"model", "layer", ">n", ">k", NULL};
  const char *only = list->cli->options->model;
  char name[24];
  apq__table_init(&list->table, headers);
  if (only) snprintf(name, sizeof name, "%s", only);
  for (int i = 0; only ? i == 0 : apq__model_name(i, name, NULL) == APQ_OK; i++) {
    apq__layer_shape *layer = NULL;
    int count = 0;
    apq_status status = apq__model_shapes(only ? only : name, &layer, &count, error);
    if (status) return status;
    for (int l = 0; l < count; l++) add_layer(list, name, &layer[l]);
    apq__free(layer);
  }
  return APQ_OK;
}

static apq_status list_devices(listing *list, apq_error *error) {
  static const char *const headers[] = {"device", NULL};
  char text[4096];
  (void)error;
  apq__table_init(&list->table, headers);
  apq__device_list(text, sizeof text);
  for (char *line = text, *end; *line; line = end) {
    end = line + strcspn(line, "\n");
    if (*end) *end++ = 0;
    apq__json_string(&list->json, NULL, line);
    apq__table_cell(&list->table, "%s", line);
    list->rows++;
  }
  return APQ_OK;
}

static void add_knob(listing *list, const char *family, const apq__knob_decl *knob) {
  char domain[256] = "";
  apq__json_begin_object(&list->json, NULL);
  apq__json_string(&list->json, "family", family);
  apq__json_string(&list->json, "knob", knob->name);
  apq__json_string(&list->json, "default", knob->fallback);
  apq__json_string(&list->json, "about", knob->doc);
  apq__json_begin_array(&list->json, "values");
  for (int i = 0; i < knob->value_count; i++) {
    size_t length = strlen(domain);
    snprintf(domain + length, sizeof domain - length, "%s%s", i ? " " : "", knob->values[i]);
    apq__json_string(&list->json, NULL, knob->values[i]);
  }
  apq__json_end_array(&list->json);
  apq__json_end_object(&list->json);
  apq__table_cell(&list->table, "%s", family);
  apq__table_cell(&list->table, "%s", knob->name);
  apq__table_cell(&list->table, "%s", knob->fallback);
  apq__table_cell(&list->table, "%s", domain);
  apq__table_cell(&list->table, "%s", knob->doc);
  list->rows++;
}

static apq_status list_families(listing *list, apq_error *error) {
  static const char *const headers[] = {"family", "knob", "default", "values", "about", NULL};
  (void)error;
  apq__table_init(&list->table, headers);
  const apq__family *family;
  for (int i = 0; (family = apq__family_at(i)); i++) {
    int count = 0;
    const apq__knob_decl *knob = apq__family_knobs(family, &count);
    for (int k = 0; k < count; k++) add_knob(list, apq__family_name(family), &knob[k]);
  }
  return APQ_OK;
}

/* ---- the verb ---- */

static const struct {
  const char *name;
  apq_status (*fill)(listing *list, apq_error *error);
} kinds[] = {{"winners", list_winners}, {"failures", list_failures}, {"spaces", list_spaces},
             {"models", list_models},   {"devices", list_devices},   {"families", list_families}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int fail_kind(const char *name) {
  fprintf(stderr, "apq-tune: list: nothing is called '%s'; there are", name);
  for (int i = 0; i < KINDS; i++) fprintf(stderr, "%s %s", i ? "," : "", kinds[i].name);
  fputc('\n', stderr);
  return APQ__EXIT_USAGE;
}

int apq__cli_list(const apq__cli *cli) {
  const char *name = cli->options->argument_count ? cli->options->argument[0] : kinds[0].name;
  int kind = 0, exit_status = APQ__EXIT_OK;
  while (kind < KINDS && strcmp(kinds[kind].name, name) != 0) kind++;
  if (kind == KINDS) return fail_kind(name);
  listing list = {.cli = cli};
  apq_error error = APQ_ERROR_INIT;
  apq__json_begin_array(&list.json, NULL);
  apq_status status = kinds[kind].fill(&list, &error);
  apq__json_end_array(&list.json);
  if (status) {
    exit_status = apq__cli_fail(&error);
  } else {
    if (list.rows == 0) {
      apq__cli_note(cli, "there are no %s", name);
      exit_status = APQ__EXIT_INCOMPLETE;
    }
    if (cli->options->is_json)
      exit_status = apq__cli_print_json(&list.json, exit_status);
    else
      apq__table_print(&list.table, stdout);
  }
  apq__text_free(&list.table.text);
  apq__text_free(&list.json.text);
  return exit_status;
}
