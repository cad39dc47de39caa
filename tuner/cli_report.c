#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "host.h"
#include "report.h"
#include "report_page.h"
#include "status.h"
#include "text_table.h"

static void number_cell(apq__table *table, int digits, double value) {
  char text[32];
  apq__table_cell(table, "%s", apq__print_fixed(value, digits, text));
}

static void add_row(apq__table *table, const apq__report_entry *entry) {
  const apq__winner *winner = &entry->winner;
  char text[APQ__KEY_MAX];
  apq__table_cell(table, "%s", winner->environment.gpu);
  apq__table_cell(table, "%s", apq__print_problem(&winner->problem, text));
  apq__table_cell(table, "%d", entry->count);
  apq__table_cell(table, "%s", apq__print_time(winner->measurement.p50, text));
  number_cell(table, 1, apq__report_tops(entry));
  number_cell(table, 2, entry->correlation);
  number_cell(table, 0, entry->place ? (double)entry->place : NAN);
  number_cell(table, 2, entry->choice_ratio);
  apq__table_cell(table, "%s%s",
                  winner->measurement.modelled ? "modelled" : winner->measurement.objective,
                  entry->is_current ? "" : ", old");
  apq__table_cell(table, "%s", apq__print_config(&winner->variant.config, text));
}

static void print_table(const apq__report *report) {
  static const char *const headers[] = {"gpu",       "problem",      ">kernels", ">time",
                                        ">TOPS",     ">correlation", ">place",   ">first choice",
                                        "objective", "kernel",       NULL};
  apq__table table;
  int old = 0, modelled = 0;
  apq__table_init(&table, headers);
  for (int i = 0; i < report->count; i++) {
    add_row(&table, &report->entry[i]);
    old += !report->entry[i].is_current;
    modelled += report->entry[i].winner.measurement.modelled;
  }
  apq__table_print(&table, stdout);
  puts("\ncorrelation: Spearman's, of modelled and measured times of the kernels;"
       " place: the winner's in the model's order;\n"
       "first choice: time of the kernel that the model puts first, times the winner's");
  if (old) puts("old: the kernel's template has changed since; dispatch does not use it");
  if (modelled)
    puts("modelled: nothing was measured on an emulated device, so the model agrees with itself");
}

static void add_object(apq__json *json, const apq__report_entry *entry) {
  const apq__winner *winner = &entry->winner;
  const apq__report_kernel *choice = entry->choice < 0 ? NULL : &entry->kernel[entry->choice];
  apq__json_begin_object(json, NULL);
  apq__json_string(json, "gpu", winner->environment.gpu);
  apq__json_string(json, "arch", winner->environment.arch);
  apq__json_int(json, "sm_count", winner->environment.sm_count);
  apq__json_problem(json, "problem", &winner->problem);
  apq__json_string(json, "objective", winner->measurement.objective);
  apq__json_string(json, "run", winner->measurement.run);
  apq__json_bool(json, "modelled", winner->measurement.modelled);
  apq__json_bool(json, "current", entry->is_current);
  apq__json_int(json, "kernels", entry->count);
  apq__json_config(json, "winner", &winner->variant.config);
  apq__json_double(json, "seconds", winner->measurement.p50);
  apq__json_double(json, "tops", apq__report_tops(entry));
  apq__json_double(json, "rank_correlation", entry->correlation);
  apq__json_double(json, "winner_place", entry->place ? (double)entry->place : NAN);
  apq__json_string(json, "first_choice", choice ? choice->key : NULL);
  apq__json_double(json, "first_choice_seconds", choice ? choice->seconds : NAN);
  apq__json_double(json, "first_choice_ratio", entry->choice_ratio);
  apq__json_end_object(json);
}

static int print_json(const apq__report *report, int exit_status) {
  apq__json json = {0};
  apq__json_begin_array(&json, NULL);
  for (int i = 0; i < report->count; i++) add_object(&json, &report->entry[i]);
  apq__json_end_array(&json);
  return apq__cli_print_json(&json, exit_status);
}

static apq_status write_page(const apq__cli *cli, const apq__report *report, const char *database,
                             const char *path, apq_error *error) {
  apq__text page = {0};
  apq__report_page(report, database, &page);
  apq_status status = APQ_OK;
  if (page.failed)
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "report", "out of memory for the page");
  else if (strcmp(path, "-") == 0)
    fwrite(page.data, 1, page.length, stdout);
  else
    status = apq__write_file(path, page.data, page.length, error);
  if (!status && strcmp(path, "-") != 0)
    apq__cli_note(cli, "%s: %d problem%s", path, report->count, report->count == 1 ? "" : "s");
  apq__text_free(&page);
  return status;
}

int apq__cli_report(const apq__cli *cli) {
  const apq__cli_options *options = cli->options;
  const char *path = options->argument_count ? options->argument[0] : NULL;
  apq_error error = APQ_ERROR_INIT;
  apq__db *db = NULL;
  apq__report report = {0};
  int exit_status = APQ__EXIT_OK;
  if (path && strcmp(path, "-") == 0 && options->is_json) {
    apq__fail(&error, APQ_INVALID_ARGUMENT, "option",
              "--json and the page of 'report -' cannot both go to standard output");
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  apq_status status = apq__cli_db_open(cli, APQ__DB_READ, &db, &error);
  if (!status) status = apq__report_read(cli, db, &report, &error);
  if (!status && report.count == 0) {
    apq__cli_note(cli, "there are no winners to report on%s",
                  apq__cli_has_selection(cli) || options->device ? " among those selected" : "");
    exit_status = APQ__EXIT_INCOMPLETE;
  }
  if (!status && path && report.count)
    status = write_page(cli, &report, apq__db_path(db), path, &error);
  if (status)
    exit_status = apq__cli_fail(&error);
  else if (options->is_json)
    exit_status = print_json(&report, exit_status);
  else if (!path && report.count)
    print_table(&report);
  apq__report_free(&report);
  apq__db_close(db);
  return exit_status;
}
