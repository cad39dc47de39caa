/* What a loaded space holds; shared by space*.c only. */
#ifndef APQ_SPACE_IMPL_H
#define APQ_SPACE_IMPL_H

#include <stddef.h>

#include "generator.h"
#include "lua_host.h"
#include "script_locate.h"
#include "space.h"

enum {
  APQ__SPACE_NAME_MAX = 48,
  APQ__SPACE_CONSTRAINTS_MAX = 48,
  APQ__SPACE_PARTS_MAX = 16,
};

/* A knob the script lists: the values to try, all in the family's domain. */
typedef struct apq__space_knob {
  char name[APQ__WORD_MAX];
  int count;
  char (*value)[APQ__WORD_MAX];
} apq__space_knob;

typedef struct apq__space_constraint {
  char name[64];
  int line, last_line;
  int function; /* handle in `script` */
} apq__space_constraint;

/* Where a value stands in its script, for messages. */
typedef struct apq__space_place {
  int count;
  apq__script_step step[6];
} apq__space_place;

struct apq__space {
  char *file; /* as errors name it */
  char *text;
  size_t size;
  apq__script *script;
  /* A part written inside a union borrows file, text and script from it. */
  int is_inline;
  const apq__script_value *root;
  apq__space_place place; /* of `root` in the text */
  char name[APQ__SPACE_NAME_MAX];
  const char *objective;     /* static string */
  const apq__family *family; /* NULL for a union */
  int knob_count;
  apq__space_knob knob[APQ__KNOBS_MAX];
  int constraint_count;
  apq__space_constraint constraint[APQ__SPACE_CONSTRAINTS_MAX];
  int problem_count;
  apq__problem *problem;
  int part_count; /* of a union; 0 otherwise */
  apq__space *part[APQ__SPACE_PARTS_MAX];
  char hash[2][65]; /* of CUDA and of emulated devices */
};

/* Fills a space from its root; file, text and script are there.  `depth` counts unions in unions.
 */
apq_status apq__space_parse(apq__space *space, int depth, apq_error *error);

void apq__space_hash_all(apq__space *space);

/* apq__space_load at some depth of unions; `beside`: the file that names it, whose folder relative
 * paths start from, or NULL. */
apq_status apq__space_load_at(const char *path_or_name, const char *beside, int depth,
                              apq__space **out, apq_error *error);

#endif
