#include <stdio.h>

#include "cli.h"
#include "context.h"
#include "dispatch.h"

static void add_choice(apq__json *json, const apq__choice *choice) {
  apq__json_begin_object(json, NULL);
  apq__json_string(json, "source", apq__source_name(choice->source));
  apq__json_config(json, "config", &choice->config);
  apq__json_double(json, "modelled_seconds", choice->modelled_seconds);
  if (choice->tuned) {
    apq__json_begin_object(json, "tuned");
    apq__json_problem(json, "problem", &choice->tuned->problem);
    apq__json_string(json, "gpu", choice->tuned->gpu);
    apq__json_double(json, "seconds", choice->tuned->seconds);
    apq__json_bool(json, "modelled", choice->tuned->modelled);
    apq__json_string(json, "objective", choice->tuned->objective);
    apq__json_end_object(json);
  }
  apq__json_end_object(json);
}

/* Why this choice, as a sentence. */
static void print_reason(const apq__problem *wanted, const apq__choice *choice) {
  char problem[64], time[16];
  const apq__tuned *tuned = choice->tuned;
  if (!tuned) {
    printf("not tuned; lowest modelled time, %s", apq__print_time(choice->modelled_seconds, time));
    return;
  }
  if (choice->source == APQ__SOURCE_EXACT && tuned->problem.in == wanted->in)
    printf("tuned here");
  else if (choice->source == APQ__SOURCE_EXACT)
    printf("tuned here for activations that are packed before");
  else
    printf("tuned for %s", apq__print_problem(&tuned->problem, problem));
  if (!tuned->same_gpu) printf(" on %s", tuned->gpu);
  printf(", %s %s", apq__print_time(tuned->seconds, time),
         tuned->modelled ? "modelled" : tuned->objective);
  if (choice->source != APQ__SOURCE_EXACT)
    printf("; modelled for this problem: %s", apq__print_time(choice->modelled_seconds, time));
}

static void print_choices(const apq__problem *problem, const apq__choice *choice, int count) {
  char text[APQ__KEY_MAX];
  printf("%s\n", apq__print_problem(problem, text));
  for (int i = 0; i < count; i++) {
    printf("  %s: %s\n    %s: ", i ? "then" : "runs", apq__print_config(&choice[i].config, text),
           apq__source_name(choice[i].source));
    print_reason(problem, &choice[i]);
    putchar('\n');
  }
}

int apq__cli_explain(const apq__cli *cli) {
  apq_error error = APQ_ERROR_INIT;
  apq_context *context = NULL;
  apq__problem_list problems;
  apq__json json = {0};
  if (apq__cli_argument_problems(cli, &problems, &error)) {
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  int exit_status = APQ__EXIT_OK;
  apq_status status = apq__cli_context_open(cli, &context, &error);
  apq__json_begin_array(&json, NULL);
  for (int i = 0; i < problems.count && !status; i++) {
    apq__choice choice[APQ__CHOICES_MAX];
    int count = 0;
    status = apq__dispatch(&context->winners, &problems.item[i], apq__context_target(context),
                           choice, &count, &error);
    if (status) break;
    if (!cli->options->is_json) print_choices(&problems.item[i], choice, count);
    apq__json_begin_object(&json, NULL);
    apq__json_problem(&json, "problem", &problems.item[i]);
    apq__json_begin_array(&json, "choices");
    for (int c = 0; c < count; c++) add_choice(&json, &choice[c]);
    apq__json_end_array(&json);
    apq__json_end_object(&json);
  }
  apq__json_end_array(&json);
  if (status)
    exit_status = apq__cli_fail(&error);
  else if (cli->options->is_json)
    exit_status = apq__cli_print_json(&json, exit_status);
  apq__text_free(&json.text);
  apq_context_close(context);
  apq__free(problems.item);
  return exit_status;
}
