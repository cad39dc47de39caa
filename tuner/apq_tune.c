/* The program: reads the command line and runs one verb. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "worker.h"

/* Set by the first SIGINT or SIGTERM; the next one ends the program at once. */
static volatile sig_atomic_t stop;

static void ask_to_stop(int number) {
  stop = 1;
  signal(number, SIG_DFL);
}

static int run_verb(const apq__cli_options *options) {
  static int (*const run[])(const apq__cli *) = {
#define APQ__VERB_RUN(name, arguments, summary) apq__cli_##name,
      APQ__VERB_MAP(APQ__VERB_RUN)
#undef APQ__VERB_RUN
  };
  const apq__cli cli = {options, &stop};
  struct sigaction action = {.sa_handler = ask_to_stop};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  return run[options->verb](&cli);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], APQ__WORKER_VERB) == 0) return apq__worker_main();
  apq__cli_options options;
  apq_error error = APQ_ERROR_INIT;
  if (apq__cli_parse(argc, argv, &options, &error)) {
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  int status = APQ__EXIT_OK;
  if (options.is_help)
    apq__cli_help(&options, stdout);
  else if (options.is_version)
    printf("apq-tune %s\n", apq_version());
  else
    status = run_verb(&options);
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fputs("apq-tune: standard output cannot be written\n", stderr);
    return APQ__EXIT_FAILURE;
  }
  return status;
}
