#include <stdio.h>

#include "cli.h"
#include "generator.h"
#include "status.h"
#include "text_table.h"

typedef struct ranked {
  const apq__config *config;
  double seconds;
} ranked;

static void keep_best(ranked *best, int most, int *count, const apq__config *config,
                      double seconds) {
  int at = *count;
  while (at > 0 && best[at - 1].seconds > seconds) at--;
  if (at == most) return;
  if (*count < most) ++*count;
  for (int i = *count - 1; i > at; i--) best[i] = best[i - 1];
  best[at] = (ranked){config, seconds};
}

static void add_report(apq__json *json, const apq__space_report *report) {
  apq__json_int(json, "total", report->total);
  apq__json_int(json, "kept", report->kept);
  apq__json_begin_array(json, "removed");
  for (int i = 0; i < report->row_count; i++) {
    apq__json_begin_object(json, NULL);
    apq__json_string(json, "by", report->row[i].name);
    apq__json_int(json, "count", report->row[i].removed);
    apq__json_end_object(json);
  }
  apq__json_end_array(json);
}

static void print_report(const apq__problem *problem, const apq__space_report *report) {
  static const char *const headers[] = {">configs", "", NULL};
  char text[64];
  apq__table table;
  apq__table_init(&table, headers);
  apq__table_cell(&table, "%ld", report->total);
  apq__table_cell(&table, "in the product of the knob lists");
  for (int i = 0; i < report->row_count; i++) {
    apq__table_cell(&table, "-%ld", report->row[i].removed);
    apq__table_cell(&table, "%s", report->row[i].name);
  }
  apq__table_cell(&table, "%ld", report->kept);
  apq__table_cell(&table, "candidates");
  printf("%s\n", apq__print_problem(problem, text));
  apq__table_print(&table, stdout);
}

/* Shows the candidates that the cost model puts first. */
static apq_status show_best(const apq__cli *cli, const apq__problem *problem,
                            const apq__target *target, const apq__config *config, int count,
                            apq__json *json, apq_error *error) {
  enum { BEST_MAX = 1000 };
  int most = cli->options->top < BEST_MAX ? cli->options->top : BEST_MAX, kept = 0;
  ranked *best = apq__calloc(BEST_MAX, sizeof *best);
  if (!best) return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "out of memory");
  for (int i = 0; i < count; i++)
    keep_best(best, most, &kept, &config[i], apq__config_cost(&config[i], problem, target));
  apq__json_begin_array(json, "best_modelled");
  for (int i = 0; i < kept; i++) {
    char text[APQ__KEY_MAX], time[16];
    apq__json_begin_object(json, NULL);
    apq__json_config(json, "config", best[i].config);
    apq__json_double(json, "modelled_seconds", best[i].seconds);
    apq__json_end_object(json);
    if (!cli->options->is_json)
      printf("  %9s  %s\n", apq__print_time(best[i].seconds, time),
             apq__print_config(best[i].config, text));
  }
  apq__json_end_array(json);
  apq__free(best);
  return APQ_OK;
}

static apq_status check_problem(const apq__cli *cli, apq__space *space, const apq__problem *problem,
                                const apq__target *target, apq__json *json, apq_error *error) {
  apq__space_report report;
  apq__config *config = NULL;
  int count = 0;
  apq_status status =
      apq__space_candidates(space, problem, target, &config, &count, &report, error);
  if (status && status != APQ_NOT_FOUND) return status;
  apq__json_begin_object(json, NULL);
  apq__json_problem(json, "problem", problem);
  add_report(json, &report);
  if (!cli->options->is_json) print_report(problem, &report);
  if (cli->options->top && !status)
    status = show_best(cli, problem, target, config, count, json, error);
  apq__json_end_object(json);
  apq__free(config);
  return status;
}

int apq__cli_space(const apq__cli *cli) {
  const apq__cli_options *options = cli->options;
  const char *name = options->argument_count ? options->argument[0] : options->space;
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  apq__space *space = NULL;
  apq__problem_list problems = {0};
  apq__json json = {0};
  int exit_status = APQ__EXIT_OK;
  apq_status status = apq__device_open(options->device, &device, &error);
  if (!status) status = apq__space_load(name ? name : "default", &space, &error);
  if (!status) status = apq__cli_problems(cli, space, &problems, &error);
  if (status) goto cleanup;
  apq__json_begin_object(&json, NULL);
  apq__json_string(&json, "command", "space");
  apq__json_string(&json, "space", apq__space_name(space));
  apq__json_string(&json, "sha256", apq__space_hash(space, device->target.emulated));
  apq__json_string(&json, "arch", device->target.arch);
  apq__json_begin_array(&json, "problems");
  for (int i = 0; i < problems.count && !status; i++) {
    status = check_problem(cli, space, &problems.item[i], &device->target, &json, &error);
    if (status != APQ_NOT_FOUND) continue;
    exit_status = apq__cli_fail(&error);
    status = APQ_OK;
  }
  apq__json_end_array(&json);
  apq__json_end_object(&json);
  if (!status && options->is_json) exit_status = apq__cli_print_json(&json, exit_status);

cleanup:
  if (status) exit_status = apq__cli_fail(&error);
  apq__text_free(&json.text);
  apq__free(problems.item);
  apq__space_close(space);
  apq__device_close(device);
  return exit_status;
}
