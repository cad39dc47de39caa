/* Search spaces: sandboxed Lua 5.4 scripts that list knobs, constraints and problems. */
#ifndef APQ_SPACE_H
#define APQ_SPACE_H

#include "apq.h"
#include "config.h"
#include "target.h"

typedef struct apq__space apq__space;

/* Loads a space: a path (with a '/' or ending in ".lua"), or the name of a built-in one ("default",
 * "quick", "bmma", "imma").  The form of a script is shown by templates/bmma.lua; unions by
 * quick.lua and default.lua.  Errors name file and line: PARSE for syntax, INVALID_ARGUMENT for
 * unknown names and values or an error the script raised, TIMEOUT for an endless loop,
 * OUT_OF_MEMORY, NOT_FOUND for a missing file. */
apq_status apq__space_load(const char *path_or_name, apq__space **out, apq_error *error);
void apq__space_close(apq__space *space);
const char *apq__space_name(const apq__space *space);
/* SHA-256 of the script text(s), of the table of models and of the template hashes of its families.
 */
const char *apq__space_hash(const apq__space *space, int emulated);
/* "burst" or "sustained". */
const char *apq__space_objective(const apq__space *space);

/* Built-in spaces: name i, NULL past the end, and the Lua text. */
const char *apq__space_builtin(int i);
const char *apq__space_builtin_text(const char *name);

/* What removed how many: a row for each constraint in script order (also where it removed none),
 * rows for the static limits' reasons, and "listed twice" for what several parts of a union gave;
 * rows of a union's parts begin with "<part>: ".  removed + kept = total. */
typedef struct apq__space_report_row {
  char name[64]; /* constraint name, or a static limit's reason */
  long removed;
} apq__space_report_row;
typedef struct apq__space_report {
  long total, kept; /* size of the whole product of knob lists; candidates left */
  int row_count;
  apq__space_report_row row[64];
} apq__space_report;

/* All candidates of one problem on one target: complete, feasible configs (apq__config_complete,
 * apq__config_limits), sorted by canonical key, without duplicates.  *out is an array of *count
 * (apq__free).  NOT_FOUND, with the report's largest remover named (a constraint with its file and
 * line), when nothing is left; a constraint that fails is an error with its name, file and line.
 * `report` may be NULL; it is filled whatever the status.  Not to be called from several threads on
 * one space. */
apq_status apq__space_candidates(apq__space *space, const apq__problem *problem,
                                 const apq__target *target, apq__config **out, int *count,
                                 apq__space_report *report, apq_error *error);

/* The script's own problem list, if it has one (count 0 otherwise; lists of a union's parts do not
 * count). *out: apq__free. */
apq_status apq__space_problems(apq__space *space, apq__problem **out, int *count, apq_error *error);

/* (n, k) shapes of a model's linear layers by name ("llama-2-7b"), from the built-in Lua table of
 * models. */
typedef struct apq__layer_shape {
  char name[24];
  int n, k;
} apq__layer_shape;
apq_status apq__model_shapes(const char *model, apq__layer_shape **out, int *count,
                             apq_error *error);

/* Name of model i, in alphabetical order.  NOT_FOUND past the end. */
apq_status apq__model_name(int i, char name[24], apq_error *error);

#endif
