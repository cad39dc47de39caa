#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "context.h"
#include "dispatch.h"
#include "host.h"
#include "status.h"
#include "text_table.h"

static const apq__bench_kind kinds[] = {APQ__BENCH_KERNEL, APQ__BENCH_FP16, APQ__BENCH_INT8,
                                        APQ__BENCH_FP8, APQ__BENCH_FLOOR};
enum { ENTRIES = sizeof kinds / sizeof kinds[0] };

/* One problem's row: the groups' entries live beside them. */
typedef struct bench_run {
  apq__bench_group *group;
  apq__bench_entry *entry;
  apq__source *source; /* where the kernel of each group comes from */
  int count;
} bench_run;

/* All problems that this GPU has winners for, when the command line names none. */
static apq_status add_tuned(const apq_context *context, apq__problem_list *out, apq_error *error) {
  apq_status status = APQ_OK;
  for (int i = 0; i < context->winners.count && !status; i++)
    if (context->winners.row[i].same_gpu)
      status = apq__problem_list_add(out, &context->winners.row[i].problem, error);
  return status;
}

static apq_status find_problems(const apq__cli *cli, const apq_context *context,
                                apq__problem_list *out, apq_error *error) {
  if (cli->options->argument_count || apq__cli_has_selection(cli))
    return apq__cli_argument_problems(cli, out, error);
  return add_tuned(context, out, error);
}

/* The floor of a product: its weights read once, launched as it is. */
static apq_status floor_config(const apq__config *product, apq__config *out, apq_error *error) {
  *out = (apq__config){0};
  apq_status status = apq__config_set(out, "family", "stream", error);
  if (!status) status = apq__config_set_int(out, "p", apq__config_int(product, "p", 1), error);
  if (!status) status = apq__config_set_int(out, "pdl", apq__config_int(product, "pdl", 0), error);
  return status ? status : apq__config_complete(out, error);
}

static apq_status fill(bench_run *run, const apq_context *context,
                       const apq__problem_list *problems, apq_error *error) {
  size_t count = (size_t)problems->count;
  run->group = apq__calloc(count, sizeof *run->group);
  run->entry = apq__calloc(count * ENTRIES, sizeof *run->entry);
  run->source = apq__calloc(count, sizeof *run->source);
  if (!run->group || !run->entry || !run->source)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "bench", "out of memory");
  for (int i = 0; i < problems->count; i++) {
    apq__choice choice[APQ__CHOICES_MAX];
    int choices = 0;
    apq__bench_entry *entry = run->entry + (size_t)i * ENTRIES;
    apq_status status = apq__dispatch(&context->winners, &problems->item[i],
                                      apq__context_target(context), choice, &choices, error);
    if (status) return status;
    for (int e = 0; e < ENTRIES; e++) entry[e].kind = kinds[e];
    entry[0].config = choice[0].config;
    status = floor_config(&choice[0].config, &entry[ENTRIES - 1].config, error);
    if (status) return status;
    if (choice[0].tuned && choice[0].tuned->artifact[0])
      entry[0].artifact = choice[0].tuned->artifact;
    run->source[i] = choice[0].source;
    run->group[i] = (apq__bench_group){problems->item[i], entry, ENTRIES};
    run->count++;
  }
  return APQ_OK;
}

static void free_run(bench_run *run) {
  apq__free(run->group);
  apq__free(run->entry);
  apq__free(run->source);
}

/* ---- output ---- */

static void print_row(apq__table *table, const apq__bench_group *group, apq__source source) {
  char text[APQ__KEY_MAX];
  const apq__bench_entry *own = &group->entry[0];
  apq__table_cell(table, "%s", apq__print_problem(&group->problem, text));
  for (int e = 0; e < ENTRIES; e++) {
    const apq__bench_entry *entry = &group->entry[e];
    if (entry->status)
      apq__table_cell(table, "failed");
    else
      apq__table_cell(table, "%s", apq__print_time(entry->p50, text));
  }
  for (int e = 1; e < ENTRIES; e++) {
    const apq__bench_entry *entry = &group->entry[e];
    int is_timed = !own->status && !entry->status && own->samples && entry->samples;
    if (is_timed)
      apq__table_cell(table, "%.2fx", 1 / entry->paired_p50);
    else
      apq__table_cell(table, "-");
  }
  if (own->status)
    apq__table_cell(table, "-");
  else
    apq__table_cell(table, "%.1f", own->tops);
  apq__table_cell(table, "%s", apq__source_name(source));
  apq__table_cell(table, "%s", apq__print_config(&own->config, text));
}

static void print_table(const bench_run *run, const apq__target *target) {
  static const char *const headers[] = {"problem", ">apq",     ">fp16",    ">int8",   ">fp8",
                                        ">floor",  ">vs fp16", ">vs int8", ">vs fp8", ">vs floor",
                                        ">TOPS",   "choice",   "kernel",   NULL};
  apq__table table;
  apq__table_init(&table, headers);
  for (int i = 0; i < run->count; i++) print_row(&table, &run->group[i], run->source[i]);
  printf("%s: tuned kernels beside cuBLASLt, interleaved in one run, medians; floor: the weights "
         "read and nothing else\n",
         target->name);
  apq__table_print(&table, stdout);
}

static void add_entry(apq__json *json, const apq__bench_entry *entry) {
  apq__json_begin_object(json, NULL);
  apq__json_string(json, "what", apq__bench_kind_name(entry->kind));
  if (entry->kind == APQ__BENCH_KERNEL || entry->kind == APQ__BENCH_FLOOR)
    apq__json_config(json, "config", &entry->config);
  apq__json_string(json, "status", apq_status_name(entry->status));
  if (entry->status) {
    apq__json_string(json, "message", entry->message);
  } else {
    apq__json_int(json, "samples", entry->samples);
    apq__json_double(json, "min", entry->min);
    apq__json_double(json, "p10", entry->p10);
    apq__json_double(json, "p50", entry->p50);
    apq__json_double(json, "p90", entry->p90);
    apq__json_double(json, "max", entry->max);
    apq__json_double(json, "tops", entry->tops);
    /* Time of the kernel over time of this: its inverse is the kernel's speed-up. */
    apq__json_double(json, "paired_ratio_p10", entry->paired_p10);
    apq__json_double(json, "paired_ratio_p50", entry->paired_p50);
    apq__json_double(json, "paired_ratio_p90", entry->paired_p90);
  }
  apq__json_end_object(json);
}

static void add_run(apq__json *json, const bench_run *run, const apq__target *target) {
  apq__json_begin_object(json, NULL);
  apq__json_string(json, "command", "bench");
  apq__json_string(json, "gpu", target->name);
  apq__json_begin_array(json, "results");
  for (int i = 0; i < run->count; i++) {
    apq__json_begin_object(json, NULL);
    apq__json_problem(json, "problem", &run->group[i].problem);
    apq__json_string(json, "choice", apq__source_name(run->source[i]));
    apq__json_begin_array(json, "entries");
    for (int e = 0; e < ENTRIES; e++) add_entry(json, &run->group[i].entry[e]);
    apq__json_end_array(json);
    apq__json_end_object(json);
  }
  apq__json_end_array(json);
  apq__json_end_object(json);
}

/* Each different message once. */
static int report_failures(const bench_run *run) {
  int failures = 0;
  const char *last = "";
  for (int i = 0; i < run->count * ENTRIES; i++) {
    const apq__bench_entry *entry = &run->entry[i];
    if (!entry->status) continue;
    failures++;
    if (strcmp(last, entry->message) != 0)
      fprintf(stderr, "apq-tune: %s: %s\n", apq__bench_kind_name(entry->kind), entry->message);
    last = entry->message;
  }
  return failures;
}

/* ---- the verb ---- */

static void show_progress(int group, int group_count, int round, int rounds, void *user) {
  (void)user;
  fprintf(stderr, "\r\033[K[%d/%d] round %d/%d", group + 1, group_count, round, rounds);
  fflush(stderr);
}

static apq_status run_bench(const apq__cli *cli, const apq_context *context, bench_run *run,
                            apq_error *error) {
  const apq__cli_options *given = cli->options;
  int is_shown = !given->is_quiet && isatty(STDERR_FILENO);
  char *db_path = NULL;
  apq_status status = apq__cli_db_path(cli, &db_path, error);
  if (status) return status;
  apq__bench_options options = {.device = context->device,
                                .db_path = db_path,
                                .cache_dir = context->cache_dir,
                                .objective = given->objective,
                                .rounds = given->rounds,
                                .seed = given->seed,
                                .progress = is_shown ? show_progress : NULL,
                                .stop = cli->stop};
  status = apq__bench(&options, run->group, run->count, error);
  if (is_shown) fputs("\r\033[K", stderr);
  apq__free(db_path);
  return status;
}

int apq__cli_bench(const apq__cli *cli) {
  apq_error error = APQ_ERROR_INIT;
  apq_context *context = NULL;
  apq__problem_list problems = {0};
  bench_run run = {0};
  int exit_status = APQ__EXIT_OK;
  apq_status status = apq__cli_context_open(cli, &context, &error);
  if (!status && apq__context_target(context)->emulated)
    status = apq__fail(&error, APQ_UNSUPPORTED, "bench",
                       "bench needs a GPU: %s is emulated and has no time of its own",
                       apq__context_target(context)->name);
  if (!status) status = find_problems(cli, context, &problems, &error);
  if (!status && problems.count == 0) {
    apq__cli_note(cli, "nothing is tuned for %s: name problems, or tune first",
                  apq__context_target(context)->name);
    exit_status = APQ__EXIT_INCOMPLETE;
    goto cleanup;
  }
  if (!status) status = fill(&run, context, &problems, &error);
  if (!status) status = run_bench(cli, context, &run, &error);
  /* After an interrupt the groups that are finished are shown. */
  if (status) exit_status = apq__cli_fail(&error);
  if (status && status != APQ_INTERRUPTED) goto cleanup;
  if (report_failures(&run) && !status) exit_status = APQ__EXIT_INCOMPLETE;
  if (cli->options->is_json) {
    apq__json json = {0};
    add_run(&json, &run, apq__context_target(context));
    exit_status = apq__cli_print_json(&json, exit_status);
  } else {
    print_table(&run, apq__context_target(context));
  }

cleanup:
  free_run(&run);
  apq__free(problems.item);
  apq_context_close(context);
  return exit_status;
}
