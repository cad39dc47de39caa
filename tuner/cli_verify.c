#include <stdio.h>

#include "cli.h"
#include "generator.h"
#include "host.h"
#include "status.h"
#include "verify.h"

/* What one verification run works with. */
typedef struct verification {
  const apq__cli *cli;
  apq__device *device;
  char *cache_dir;
  apq__json json;
  int checked, failed;
} verification;

/* Checks one kernel and prints a line; a kernel that fails is counted, not returned. */
static void check(verification *run, const apq__config *config, const apq__problem *problem) {
  apq_error error = APQ_ERROR_INIT;
  apq__verify_report report = {0};
  char text[APQ__KEY_MAX], label[64];
  apq__shape shape;
  apq_status status = apq__config_limits(config, problem, &run->device->target, &shape, &error);
  if (!status)
    status = apq__verify_config(run->device, config, problem, run->cache_dir,
                                run->cli->options->seed, &report, &error);
  run->checked++;
  run->failed += status != APQ_OK;
  apq__json_begin_object(&run->json, NULL);
  if (problem) apq__json_problem(&run->json, "problem", problem);
  apq__json_config(&run->json, "config", config);
  apq__json_bool(&run->json, "ok", status == APQ_OK);
  apq__json_string(&run->json, "status", apq_status_name(status));
  apq__json_string(&run->json, "message", status ? error.message : NULL);
  apq__json_int(&run->json, "products", report.products);
  apq__json_int(&run->json, "outputs", report.outputs);
  apq__json_end_object(&run->json);
  if (!run->cli->options->is_json) {
    printf("%-6s %s%s%s", status ? "FAILED" : "ok",
           problem ? apq__print_problem(problem, label) : "", problem ? "  " : "",
           apq__print_config(config, text));
    if (status)
      printf("\n       %s\n", error.message);
    else
      printf("  (%d products, %lld outputs equal)\n", report.products, report.outputs);
    fflush(stdout);
  }
  if (error.log && *error.log) fprintf(stderr, "%s\n", error.log);
  apq_error_clear(&error);
}

static apq_status check_winners(verification *run, apq_error *error) {
  const apq__target *target = &run->device->target;
  apq__db *db = NULL;
  apq__winner_list winners = {0};
  apq_status status = apq__cli_db_open(run->cli, APQ__DB_READ, &db, error);
  if (!status) status = apq__cli_winners(run->cli, db, target->name, target->arch, &winners, error);
  apq__db_close(db);
  for (int i = 0; i < winners.count && !status; i++) {
    if (*run->cli->stop)
      status = apq__fail(error, APQ_INTERRUPTED, "verify", "interrupted after %d of %d winners", i,
                         winners.count);
    else
      check(run, &winners.item[i].variant.config, &winners.item[i].problem);
  }
  apq__free(winners.item);
  return status;
}

int apq__cli_verify(const apq__cli *cli) {
  const apq__cli_options *options = cli->options;
  apq_error error = APQ_ERROR_INIT;
  apq__config config;
  if (options->argument_count && apq__cli_parse_config(options->argument[0], &config, &error)) {
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  verification run = {.cli = cli, .cache_dir = apq__cache_dir()};
  int exit_status;
  apq_status status = apq__device_open(options->device, &run.device, &error);
  apq__json_begin_array(&run.json, NULL);
  if (!status && options->argument_count)
    check(&run, &config, NULL);
  else if (!status)
    status = check_winners(&run, &error);
  apq__json_end_array(&run.json);
  if (status)
    exit_status = apq__cli_fail(&error);
  else
    exit_status = run.failed    ? APQ__EXIT_FAILURE
                  : run.checked ? APQ__EXIT_OK
                                : APQ__EXIT_INCOMPLETE;
  if (!status && run.checked == 0)
    apq__cli_note(cli, "no winners of %s to verify", run.device->target.name);
  if (options->is_json) exit_status = apq__cli_print_json(&run.json, exit_status);
  apq__text_free(&run.json.text);
  apq__device_close(run.device);
  apq__free(run.cache_dir);
  return exit_status;
}
