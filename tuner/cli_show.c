#include <stdio.h>

#include "cli.h"
#include "context.h"
#include "dispatch.h"
#include "generator.h"
#include "text_table.h"

/* ---- measurements of a problem ---- */

typedef struct measurement_visit {
  apq__table *table;
  apq__json *json;
  int rows, most; /* most: 0 is all */
} measurement_visit;

static int add_measurement(const apq__winner *row, void *user) {
  measurement_visit *visit = user;
  const apq__measurement *m = &row->measurement;
  char text[APQ__KEY_MAX];
  if (visit->most && visit->rows == visit->most) return 1;
  apq__json_begin_object(visit->json, NULL);
  apq__json_string(visit->json, "gpu", row->environment.gpu);
  apq__json_config(visit->json, "config", &row->variant.config);
  apq__json_string(visit->json, "objective", m->objective);
  apq__json_string(visit->json, "run", m->run);
  apq__json_bool(visit->json, "modelled", m->modelled);
  apq__json_int(visit->json, "samples", m->samples);
  apq__json_double(visit->json, "min", m->min);
  apq__json_double(visit->json, "p10", m->p10);
  apq__json_double(visit->json, "p50", m->p50);
  apq__json_double(visit->json, "p90", m->p90);
  apq__json_double(visit->json, "max", m->max);
  apq__json_double(visit->json, "ratio_to_winner", m->incumbent_ratio);
  apq__json_int(visit->json, "sm_mhz", m->sm_mhz);
  apq__json_int(visit->json, "temperature_c", m->temperature_c);
  apq__json_int(visit->json, "throttle_reasons", m->throttle_reasons);
  apq__json_int(visit->json, "unix_time", m->unix_time);
  apq__json_end_object(visit->json);

  apq__table_cell(visit->table, "%s", row->environment.gpu);
  apq__table_cell(visit->table, "%s", apq__print_time(m->p50, text));
  apq__table_cell(visit->table, "%s", apq__print_time(m->p10, text));
  apq__table_cell(visit->table, "%s", apq__print_time(m->p90, text));
  apq__table_cell(visit->table, "%d", m->samples);
  apq__table_cell(visit->table, "%.3f", m->incumbent_ratio);
  apq__table_cell(visit->table, "%s", m->modelled ? "modelled" : m->objective);
  apq__table_cell(visit->table, "%.8s", m->run);
  apq__table_cell(visit->table, "%s", apq__print_config(&row->variant.config, text));
  visit->rows++;
  return 0;
}

static apq_status show_problem(const apq__cli *cli, apq__db *db, const apq__problem *problem,
                               apq__json *json, int *rows, apq_error *error) {
  static const char *const headers[] = {"gpu",    ">median",   ">p10", ">p90",   ">samples",
                                        ">ratio", "objective", "run",  "kernel", NULL};
  char text[64];
  apq__table table;
  apq__table_init(&table, headers);
  apq__json_begin_object(json, NULL);
  apq__json_problem(json, "problem", problem);
  apq__json_begin_array(json, "measurements");
  measurement_visit visit = {&table, json, 0, cli->options->top};
  apq_status status = apq__db_measurements(db, NULL, problem, add_measurement, &visit, error);
  apq__json_end_array(json);
  apq__json_end_object(json);
  if (!status && !cli->options->is_json) {
    printf("%s%s\n", apq__print_problem(problem, text), visit.rows ? "" : ": no measurements");
    apq__table_print(&table, stdout);
  }
  apq__text_free(&table.text);
  *rows += visit.rows;
  return status;
}

static int show_problems(const apq__cli *cli, const apq__problem_list *problems) {
  apq_error error = APQ_ERROR_INIT;
  apq__db *db = NULL;
  apq__json json = {0};
  int rows = 0, exit_status = APQ__EXIT_OK;
  apq_status status = apq__cli_db_open(cli, APQ__DB_READ, &db, &error);
  apq__json_begin_array(&json, NULL);
  for (int i = 0; i < problems->count && !status; i++)
    status = show_problem(cli, db, &problems->item[i], &json, &rows, &error);
  apq__json_end_array(&json);
  apq__db_close(db);
  if (status)
    exit_status = apq__cli_fail(&error);
  else if (rows == 0)
    exit_status = APQ__EXIT_INCOMPLETE;
  if (!status && cli->options->is_json) exit_status = apq__cli_print_json(&json, exit_status);
  apq__text_free(&json.text);
  return exit_status;
}

/* ---- kernels ---- */

static apq_status print_source(const apq__config *config, const apq__target *target,
                               apq_error *error) {
  char *source = NULL;
  apq__shape shape;
  apq_status status = apq__config_limits(config, NULL, target, &shape, error);
  if (!status) status = apq__generate(config, target, &source, error);
  if (!status) fputs(source, stdout);
  apq__free(source);
  return status;
}

/* The text of the kernel that dispatch would run for each problem. */
static int show_sources(const apq__cli *cli, const apq__problem_list *problems) {
  apq_error error = APQ_ERROR_INIT;
  apq_context *context = NULL;
  apq_status status = apq__cli_context_open(cli, &context, &error);
  for (int i = 0; i < problems->count && !status; i++) {
    const apq__target *target = apq__context_target(context);
    apq__choice choice[APQ__CHOICES_MAX];
    int count = 0;
    status = apq__dispatch(&context->winners, &problems->item[i], target, choice, &count, &error);
    if (!status) status = print_source(&choice[0].config, target, &error);
  }
  apq_context_close(context);
  return status ? apq__cli_fail(&error) : APQ__EXIT_OK;
}

static void print_limits(const apq__cli *cli, const apq__config *config, const apq__target *target,
                         const apq__shape *shape, const char *reason) {
  apq__json json = {0};
  char key[APQ__KEY_MAX];
  if (!cli->options->is_json) {
    printf("%s\non %s: ", apq__config_key(config, key), target->arch);
    if (reason)
      printf("infeasible: %s\n", reason);
    else
      printf("%u threads, %u bytes of shared memory, about %d registers a thread\n", shape->threads,
             shape->smem_bytes, shape->registers);
    return;
  }
  apq__json_begin_object(&json, NULL);
  apq__json_config(&json, "config", config);
  apq__json_string(&json, "arch", target->arch);
  apq__json_string(&json, "infeasible", reason);
  if (!reason) {
    apq__json_int(&json, "threads", shape->threads);
    apq__json_int(&json, "smem_bytes", shape->smem_bytes);
    apq__json_int(&json, "registers", shape->registers);
  }
  apq__json_end_object(&json);
  apq__cli_print_json(&json, APQ__EXIT_OK);
}

static int show_config(const apq__cli *cli, const char *text) {
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  apq__config config;
  apq_status status = apq__cli_parse_config(text, &config, &error);
  if (status) {
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  status = apq__device_open(cli->options->device, &device, &error);
  if (!status && cli->options->is_source) {
    status = print_source(&config, &device->target, &error);
  } else if (!status) {
    apq__shape shape = {0};
    status = apq__config_limits(&config, NULL, &device->target, &shape, &error);
    if (!status || status == APQ_INFEASIBLE)
      print_limits(cli, &config, &device->target, &shape, status ? error.message : NULL);
    if (status == APQ_INFEASIBLE) status = APQ_OK;
  }
  apq__device_close(device);
  int exit_status = status ? apq__cli_fail(&error) : APQ__EXIT_OK;
  apq_error_clear(&error);
  return exit_status;
}

int apq__cli_show(const apq__cli *cli) {
  const apq__cli_options *options = cli->options;
  if (options->argument_count && apq__cli_is_config(options->argument[0]))
    return show_config(cli, options->argument[0]);
  apq_error error = APQ_ERROR_INIT;
  apq__problem_list problems;
  if (apq__cli_argument_problems(cli, &problems, &error)) {
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  int exit_status =
      options->is_source ? show_sources(cli, &problems) : show_problems(cli, &problems);
  apq__free(problems.item);
  return exit_status;
}
