/* What the verbs of apq-tune share.  Unlike the library, they print. */
#ifndef APQ_CLI_H
#define APQ_CLI_H

#include <signal.h>

#include "apq.h"
#include "cli_options.h"
#include "config.h"
#include "db.h"
#include "device.h"
#include "json_writer.h"
#include "space.h"

/* Exit statuses; --help explains them. */
enum {
  APQ__EXIT_OK = 0,
  APQ__EXIT_FAILURE = 1,
  APQ__EXIT_USAGE = 2,
  APQ__EXIT_INCOMPLETE = 3,
  APQ__EXIT_INTERRUPTED = 130,
};

typedef struct apq__cli {
  const apq__cli_options *options;
  const volatile sig_atomic_t *stop; /* non-zero after the first SIGINT or SIGTERM */
} apq__cli;

#define APQ__VERB_DECLARE(name, arguments, summary) int apq__cli_##name(const apq__cli *cli);
APQ__VERB_MAP(APQ__VERB_DECLARE)
#undef APQ__VERB_DECLARE

/* Prints "apq-tune: message" and the log on standard error, clears the error, and returns the exit
 * status it stands for. */
int apq__cli_fail(apq_error *error);
/* "apq-tune: note" on standard error, unless --quiet. */
void apq__cli_note(const apq__cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes the document to standard output and frees it; returns `exit_status`, or FAILURE when it
 * cannot be written. */
int apq__cli_print_json(apq__json *json, int exit_status);

/* ---- problems ---- */

/* A list of problems; apq__free the items. */
typedef struct apq__problem_list {
  apq__problem *item;
  int count, capacity;
} apq__problem_list;
/* Does nothing when the list has it. */
apq_status apq__problem_list_add(apq__problem_list *list, const apq__problem *problem,
                                 apq_error *error);

/* The problems that --bits, --shape, --m, --model and --out describe: their cross product without
 * repeats.  What is not given has a default (W2A2, W4A4, W4A8; 4096x4096; 1, 16, 256, 4096 tokens;
 * f16), unless nothing is given and `space` (may be NULL) has a list. */
apq_status apq__cli_problems(const apq__cli *cli, apq__space *space, apq__problem_list *out,
                             apq_error *error);
/* Whether any of these options was given. */
int apq__cli_has_selection(const apq__cli *cli);

/* The same options as a filter over what a database has: what is not given lets everything through.
 */
typedef struct apq__selection {
  const apq__cli_options *options;
  apq__layer_shape *layer; /* of --model */
  int layer_count;
} apq__selection;
apq_status apq__cli_selection(const apq__cli *cli, apq__selection *out, apq_error *error);
int apq__selection_has(const apq__selection *selection, const apq__problem *problem);
void apq__selection_free(apq__selection *selection);

/* ---- database and device ---- */

/* The database file that --db, APQ_DB or the user's cache folder gives: a new string. */
apq_status apq__cli_db_path(const apq__cli *cli, char **out, apq_error *error);
/* Opens it, and notes what was set aside or migrated. */
apq_status apq__cli_db_open(const apq__cli *cli, apq__db_mode mode, apq__db **out,
                            apq_error *error);

/* The fastest kernel of each GPU, problem and objective that the selection lets through; of one GPU
 * and arch where not NULL.  Winners of templates that have changed since are left out and noted.
 * apq__free the items. */
typedef struct apq__winner_list {
  apq__winner *item;
  int count, capacity;
  int stale; /* left out */
} apq__winner_list;
apq_status apq__cli_winners(const apq__cli *cli, apq__db *db, const char *gpu, const char *arch,
                            apq__winner_list *out, apq_error *error);

/* Whether the text of the winner's kernel is still the one that was measured. */
int apq__cli_is_current(const apq__winner *winner);

/* A context on --device and --db; notes what is wrong with the databases it looked at. */
apq_status apq__cli_context_open(const apq__cli *cli, apq_context **out, apq_error *error);

/* The one PROBLEM argument, or what the options select; at least one.  INVALID_ARGUMENT otherwise.
 */
apq_status apq__cli_argument_problems(const apq__cli *cli, apq__problem_list *out,
                                      apq_error *error);
/* Whether the text is a CONFIG rather than a PROBLEM: it names a family. */
int apq__cli_is_config(const char *text);
/* Parses and completes a CONFIG. */
apq_status apq__cli_parse_config(const char *text, apq__config *out, apq_error *error);

/* ---- JSON members ---- */

void apq__json_problem(apq__json *json, const char *key, const apq__problem *problem);
void apq__json_config(apq__json *json, const char *key, const apq__config *config);

#endif
