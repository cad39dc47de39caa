#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cli_compare.h"
#include "progress.h"
#include "text_table.h"
#include "tune.h"

/* ---- results ---- */

static void cell_ratio(apq__table *table, double other, double own) {
  if (other > 0 && own > 0)
    apq__table_cell(table, "%.2fx", other / own);
  else
    apq__table_cell(table, "-");
}

static double tops(const apq__tune_result *result) {
  const apq__problem *p = &result->problem;
  return 2.0 * p->m * p->n * p->k / result->seconds * 1e-12;
}

static void print_table(const apq__tune_summary *summary, const apq__comparison *compared) {
  static const char *const measured[] = {"problem",  ">time",    ">TOPS",  ">vs default",
                                         ">vs fp16", ">vs int8", "kernel", NULL};
  static const char *const modelled[] = {"problem", ">modelled time", ">vs default", "kernel",
                                         NULL};
  int is_modelled = summary->target.emulated;
  apq__table table;
  apq__table_init(&table, is_modelled ? modelled : measured);
  for (int i = 0; i < summary->count; i++) {
    const apq__tune_result *result = &summary->result[i];
    char text[APQ__KEY_MAX];
    if (!result->has_winner) continue;
    apq__table_cell(&table, "%s", apq__print_problem(&result->problem, text));
    apq__table_cell(&table, "%s", apq__print_time(result->seconds, text));
    if (!is_modelled) apq__table_cell(&table, "%.1f", tops(result));
    cell_ratio(&table, result->default_seconds, result->seconds);
    if (!is_modelled) {
      cell_ratio(&table, compared[i].fp16, compared[i].winner);
      cell_ratio(&table, compared[i].int8, compared[i].winner);
    }
    apq__table_cell(&table, "%s", apq__print_config(&result->winner, text));
  }
  printf("\nWinners on %s (%s):\n", summary->target.name, summary->compiler);
  apq__table_print(&table, stdout);
  if (is_modelled)
    puts("\nEvery kernel was checked bit for bit on the emulated device; its times are modelled, "
         "not "
         "measured.");
}

static void print_counts(const apq__cli *cli, const apq__tune_summary *summary) {
  char time[16];
  apq__cli_note(
      cli, "%d tuned, %d already tuned, %d in part, %d failed, %d claimed, %d left; %s; %s",
      summary->tuned, summary->already, summary->partial, summary->failed, summary->claimed,
      summary->untuned, apq__print_duration(summary->elapsed_seconds, time), summary->db_path);
  for (int i = 0; i < summary->count; i++) {
    const apq__tune_result *result = &summary->result[i];
    char text[64];
    if (result->outcome == APQ__TUNE_FAILED)
      fprintf(stderr, "apq-tune: %s failed: %s\n", apq__print_problem(&result->problem, text),
              result->message);
  }
}

static void add_result(apq__json *json, const apq__tune_result *result,
                       const apq__comparison *compared) {
  apq__json_begin_object(json, NULL);
  apq__json_problem(json, "problem", &result->problem);
  apq__json_string(json, "outcome", apq__tune_outcome_name(result->outcome));
  apq__json_string(json, "message", result->message[0] ? result->message : NULL);
  if (result->has_winner) {
    apq__json_config(json, "winner", &result->winner);
    apq__json_double(json, "seconds", result->seconds);
    apq__json_bool(json, "modelled", result->modelled);
    apq__json_config(json, "default", &result->default_config);
    if (result->default_seconds > 0)
      apq__json_double(json, "default_seconds", result->default_seconds);
    if (compared->winner > 0) apq__json_double(json, "compared_seconds", compared->winner);
    if (compared->fp16 > 0) apq__json_double(json, "cublaslt_fp16_seconds", compared->fp16);
    if (compared->int8 > 0) apq__json_double(json, "cublaslt_int8_seconds", compared->int8);
  }
  apq__json_int(json, "candidates", result->candidates);
  apq__json_int(json, "pruned", result->pruned);
  apq__json_int(json, "measured", result->measured);
  apq__json_int(json, "failed", result->failed);
  apq__json_int(json, "known", result->known);
  apq__json_int(json, "tied", result->tied);
  apq__json_bool(json, "replaced", result->replaced);
  apq__json_double(json, "elapsed_seconds", result->elapsed_seconds);
  apq__json_end_object(json);
}

static int print_summary(const apq__tune_summary *summary, const apq__space *space,
                         const apq__comparison *compared, int exit_status) {
  apq__json json = {0};
  apq__json_begin_object(&json, NULL);
  apq__json_string(&json, "command", "tune");
  apq__json_string(&json, "gpu", summary->target.name);
  apq__json_string(&json, "arch", summary->target.arch);
  apq__json_bool(&json, "emulated", summary->target.emulated);
  apq__json_string(&json, "compiler", summary->compiler);
  apq__json_string(&json, "space", apq__space_name(space));
  apq__json_string(&json, "run", summary->run);
  apq__json_string(&json, "database", summary->db_path);
  apq__json_bool(&json, "out_of_budget", summary->out_of_budget);
  apq__json_double(&json, "elapsed_seconds", summary->elapsed_seconds);
  apq__json_begin_array(&json, "results");
  for (int i = 0; i < summary->count; i++) add_result(&json, &summary->result[i], &compared[i]);
  apq__json_end_array(&json);
  apq__json_end_object(&json);
  return apq__cli_print_json(&json, exit_status);
}

/* ---- the verb ---- */

/* The device is opened for a moment only: workers hold it while tuning. */
static apq_status find_target(const apq__cli *cli, apq__target *out, apq_error *error) {
  apq__device *device = NULL;
  apq_status status = apq__device_open(cli->options->device, &device, error);
  if (status) return status;
  *out = device->target;
  apq__device_close(device);
  return APQ_OK;
}

static int report(const apq__cli *cli, const apq__tune_summary *summary, const apq__space *space,
                  apq_status status) {
  int exit_status = APQ__EXIT_OK;
  if (status == APQ_INTERRUPTED)
    exit_status = APQ__EXIT_INTERRUPTED;
  else if (summary->failed || summary->claimed || summary->untuned || summary->partial)
    exit_status = APQ__EXIT_INCOMPLETE;
  apq__comparison *compared = apq__calloc((size_t)summary->count + 1, sizeof *compared);
  if (!compared) return APQ__EXIT_FAILURE;
  int winners = 0;
  for (int i = 0; i < summary->count; i++) winners += summary->result[i].has_winner;
  const char *objective =
      cli->options->objective ? cli->options->objective : apq__space_objective(space);
  if (winners && !status && !summary->target.emulated && !summary->out_of_budget &&
      !cli->options->no_compare)
    apq__cli_compare(cli, summary, objective, compared);
  if (cli->options->is_json) {
    exit_status = print_summary(summary, space, compared, exit_status);
  } else {
    if (winners) print_table(summary, compared);
    fflush(stdout);
  }
  print_counts(cli, summary);
  apq__free(compared);
  return exit_status;
}

int apq__cli_tune(const apq__cli *cli) {
  const apq__cli_options *given = cli->options;
  apq_error error = APQ_ERROR_INIT;
  apq__tune_summary summary = {0};
  apq__problem_list problems = {0};
  apq__space *space = NULL;
  char *db_path = NULL;
  apq__target target;
  apq__progress progress;
  int exit_status;
  apq_status status = find_target(cli, &target, &error);
  if (!status)
    status = apq__space_load(given->space      ? given->space
                             : target.emulated ? "quick"
                                               : "default",
                             &space, &error);
  if (!status) status = apq__cli_problems(cli, space, &problems, &error);
  if (!status) status = apq__cli_db_path(cli, &db_path, &error);
  if (status) goto fail;

  apq__cli_note(cli, "tuning %d problem%s on %s%s, space %s", problems.count,
                problems.count == 1 ? "" : "s", target.name,
                target.emulated ? " (emulated: times are modelled)" : "", apq__space_name(space));
  apq__progress_init(&progress, stderr, given->is_quiet);
  apq__tune_options options = {.device = given->device,
                               .db_path = db_path,
                               .space = space,
                               .problems = problems.item,
                               .problem_count = problems.count,
                               .budget_seconds = given->budget,
                               .jobs = given->jobs,
                               .objective = given->objective,
                               .seed = given->seed,
                               .top = given->top,
                               .rounds = given->rounds,
                               .retune = given->is_retune,
                               .progress = apq__progress_update,
                               .user = &progress,
                               .stop = cli->stop};
  status = apq__tune(&options, &summary, &error);
  apq__progress_end(&progress);
  if (status && status != APQ_INTERRUPTED) goto fail;
  exit_status = report(cli, &summary, space, status);
  apq_error_clear(&error);
  goto cleanup;

fail:
  exit_status = apq__cli_fail(&error);
cleanup:
  apq__tune_summary_free(&summary);
  apq__space_close(space);
  apq__free(problems.item);
  apq__free(db_path);
  return exit_status;
}
