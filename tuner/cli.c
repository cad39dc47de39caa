#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "context.h"
#include "generator.h"
#include "host.h"
#include "status.h"

int apq__cli_fail(apq_error *error) {
  int status = error->status == APQ_INTERRUPTED ? APQ__EXIT_INTERRUPTED : APQ__EXIT_FAILURE;
  fprintf(stderr, "apq-tune: %s\n", error->message);
  if (error->log && *error->log) fprintf(stderr, "%s\n", error->log);
  apq_error_clear(error);
  return status;
}

void apq__cli_note(const apq__cli *cli, const char *format, ...) {
  if (cli->options->is_quiet) return;
  va_list arguments;
  va_start(arguments, format);
  fputs("apq-tune: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

int apq__cli_print_json(apq__json *json, int exit_status) {
  if (json->text.failed) {
    apq_error error = APQ_ERROR_INIT;
    apq__fail(&error, APQ_OUT_OF_MEMORY, "output", "out of memory for the JSON output");
    exit_status = apq__cli_fail(&error);
  } else {
    fwrite(json->text.data, 1, json->text.length, stdout);
  }
  apq__text_free(&json->text);
  return exit_status;
}

/* ---- database ---- */

apq_status apq__cli_db_path(const apq__cli *cli, char **out, apq_error *error) {
  const char *given = cli->options->db ? cli->options->db : apq__variable_get(APQ__VAR_DB);
  *out = given ? apq__strdup(given) : apq__db_user_path();
  if (*out) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "database",
                   "no place for a database: set --db, %s, %s or HOME",
                   apq__variable_name(APQ__VAR_DB), apq__variable_name(APQ__VAR_CACHE_DIR));
}

apq_status apq__cli_db_open(const apq__cli *cli, apq__db_mode mode, apq__db **out,
                            apq_error *error) {
  char *path = NULL, note[256] = "";
  apq_status status = apq__cli_db_path(cli, &path, error);
  if (!status) status = apq__db_open(path, mode, out, note, error);
  if (status == APQ_NOT_FOUND && mode == APQ__DB_READ)
    apq__fail(error, APQ_NOT_FOUND, "database", "no database '%s': apq-tune makes it", path);
  if (note[0]) apq__cli_note(cli, "%s", note);
  apq__free(path);
  return status;
}

typedef struct winner_visit {
  const apq__selection *selection;
  apq__winner_list *list;
  int out_of_memory;
} winner_visit;

int apq__cli_is_current(const apq__winner *winner) {
  const char *name = apq__config_get(&winner->variant.config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  return family &&
         strcmp(apq__family_hash(family, winner->environment.emulated), winner->variant.hash) == 0;
}

static int is_same_place(const apq__winner *a, const apq__winner *b) {
  return strcmp(a->environment.gpu, b->environment.gpu) == 0 &&
         strcmp(a->environment.arch, b->environment.arch) == 0 &&
         apq__problem_is_same(&a->problem, &b->problem);
}

static int take_winner(const apq__winner *winner, void *user) {
  winner_visit *visit = user;
  apq__winner_list *list = visit->list;
  if (!apq__selection_has(visit->selection, &winner->problem)) return 0;
  if (!apq__cli_is_current(winner)) {
    list->stale++;
    return 0;
  }
  /* The database keeps one winner a family; the fastest is the problem's.  They come side by side.
   */
  for (int i = list->count - 1; i >= 0 && is_same_place(&list->item[i], winner); i--) {
    if (strcmp(list->item[i].measurement.objective, winner->measurement.objective) != 0) continue;
    if (winner->measurement.p50 < list->item[i].measurement.p50) list->item[i] = *winner;
    return 0;
  }
  if (list->count == list->capacity) {
    int capacity = list->capacity ? list->capacity * 2 : 64;
    apq__winner *item = apq__realloc(list->item, (size_t)capacity * sizeof *item);
    visit->out_of_memory = !item;
    if (!item) return 1;
    list->item = item;
    list->capacity = capacity;
  }
  list->item[list->count++] = *winner;
  return 0;
}

apq_status apq__cli_winners(const apq__cli *cli, apq__db *db, const char *gpu, const char *arch,
                            apq__winner_list *out, apq_error *error) {
  apq__selection selection;
  apq_status status = apq__cli_selection(cli, &selection, error);
  if (status) return status;
  winner_visit visit = {&selection, out, 0};
  status = apq__db_winners(db, gpu, arch, take_winner, &visit, error);
  if (visit.out_of_memory)
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "database", "out of memory for the winners");
  if (!status && out->stale)
    apq__cli_note(cli, "%d winner%s left out: their templates have changed since: tune again",
                  out->stale, out->stale == 1 ? " is" : "s are");
  apq__selection_free(&selection);
  return status;
}

/* ---- context and arguments ---- */

apq_status apq__cli_context_open(const apq__cli *cli, apq_context **out, apq_error *error) {
  const apq_context_options options = {.device = cli->options->device,
                                       .database = cli->options->db};
  apq_status status = apq_context_open(&options, out, error);
  for (int i = 0; !status && i < (*out)->file_count; i++) {
    const apq__source_file *file = &(*out)->file[i];
    /* That a default place holds no database is nothing to talk about. */
    int is_expected = !cli->options->db && file->path && access(file->path, F_OK) != 0;
    if (file->note[0] && !is_expected)
      apq__cli_note(cli, "%s '%s': %s", file->role, file->path, file->note);
  }
  return status;
}

apq_status apq__cli_argument_problems(const apq__cli *cli, apq__problem_list *out,
                                      apq_error *error) {
  const apq__cli_options *options = cli->options;
  *out = (apq__problem_list){0};
  if (options->argument_count == 0 && apq__cli_has_selection(cli))
    return apq__cli_problems(cli, NULL, out, error);
  if (options->argument_count == 0)
    return apq__fail(
        error, APQ_INVALID_ARGUMENT, "option",
        "'%s' needs a problem: k=4096,m=1,n=4096,out=f16,p=2,q=8, or --bits and --shape",
        apq__verb_name(options->verb));
  apq__problem problem;
  apq_status status = apq__problem_parse(options->argument[0], &problem, error);
  return status ? status : apq__problem_list_add(out, &problem, error);
}

int apq__cli_is_config(const char *text) {
  return strncmp(text, "family=", 7) == 0 || strstr(text, ",family=");
}

apq_status apq__cli_parse_config(const char *text, apq__config *out, apq_error *error) {
  apq_status status = apq__config_parse(text, out, error);
  return status ? status : apq__config_complete(out, error);
}

/* ---- JSON members ---- */

void apq__json_problem(apq__json *json, const char *key, const apq__problem *problem) {
  apq__json_begin_object(json, key);
  apq__json_int(json, "p", problem->p);
  apq__json_int(json, "q", problem->q);
  apq__json_int(json, "m", problem->m);
  apq__json_int(json, "n", problem->n);
  apq__json_int(json, "k", problem->k);
  apq__json_string(json, "out", apq_dtype_name(problem->out));
  if (problem->group) apq__json_int(json, "group", problem->group);
  if (problem->in) apq__json_string(json, "in", apq__input_name(problem->in));
  apq__json_end_object(json);
}

void apq__json_config(apq__json *json, const char *key, const apq__config *config) {
  char text[APQ__KEY_MAX];
  apq__json_string(json, key, apq__config_key(config, text));
}
