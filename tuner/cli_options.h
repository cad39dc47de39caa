/* The command line of apq-tune: verbs, options, and what was given. */
#ifndef APQ_CLI_OPTIONS_H
#define APQ_CLI_OPTIONS_H

#include <stdio.h>

#include "apq.h"
#include "cli_values.h"

/* One list gives each verb's number, name, arguments and summary; apq__cli_<name> runs it. */
#define APQ__VERB_MAP(X)                                                                           \
  X(tune, "", "Tune problems and keep the winners in the database (the default verb).")            \
  X(list, "[WHAT]", "List winners (the default), failures, spaces, models, devices or families.")  \
  X(show, "[PROBLEM|CONFIG]", "Show a problem's measurements, or with --source a kernel's text.")  \
  X(space, "[SPACE]", "Check a search space; say what each constraint and limit removes.")         \
  X(explain, "[PROBLEM]", "Say which kernel the library would run for a problem, and why.")        \
  X(verify, "[CONFIG]", "Check winners, or one config, bit for bit against the reference.")        \
  X(bench, "[PROBLEM]", "Time winners side by side with cuBLASLt fp16 and int8.")                  \
  X(report, "[FILE]", "Compare winners with the cost model; with FILE, as a page with plots.")     \
  X(export, "[FILE]", "Write the database as text (to standard output without FILE).")             \
  X(import, "FILE", "Merge an exported text into the database ('-': standard input).")             \
  X(doctor, "", "Say what works on this machine and what does not.")

typedef enum apq__verb {
#define APQ__VERB_ENUM(name, arguments, summary) APQ__VERB_##name,
  APQ__VERB_MAP(APQ__VERB_ENUM)
#undef APQ__VERB_ENUM
      APQ__VERB_COUNT
} apq__verb;

typedef struct apq__cli_options {
  apq__verb verb;
  int is_verb_given;
  int is_help, is_version;

  const char *space, *device, *db, *model, *objective; /* NULL unless given */
  apq__bits bits[APQ__BITS_MAX];
  int bits_count; /* this and the other counts are 0 unless given */
  apq__mnk shape[APQ__SHAPES_MAX];
  int shape_count;
  int tokens[APQ__TOKENS_MAX];
  int tokens_count;
  apq_dtype out[4];
  int out_count;
  apq__input input[APQ__INPUT_COUNT];
  int input_count;
  int group, is_group_given;
  double budget; /* seconds; 0: none */
  int jobs, top, rounds;
  uint64_t seed;
  int is_json, is_quiet, is_source, is_retune, with_artifacts, no_compare;

  char **argument; /* what follows the verb, borrowed from argv */
  int argument_count;
} apq__cli_options;

/* Reads argv.  INVALID_ARGUMENT names the option, value or verb at fault. */
apq_status apq__cli_parse(int argc, char **argv, apq__cli_options *out, apq_error *error);

/* Help on the program, or on one verb when it was given. */
void apq__cli_help(const apq__cli_options *options, FILE *stream);

const char *apq__verb_name(apq__verb verb);

#endif
