/* Runs one sandboxed Lua 5.4 script and holds what it declared as plain C values. */
#ifndef APQ_LUA_HOST_H
#define APQ_LUA_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"

/* What a script may cost.  Its load is one call; so is each apq__script_filter.  All calls together
 * may cost a thousand times one call. */
typedef struct apq__script_limits {
  int64_t instructions; /* of one call; 0: 10 million */
  double seconds;       /* wall clock of one call, against slow library calls; 0: 5 */
  size_t memory;        /* bytes the script holds at any time; 0: 32 MiB */
} apq__script_limits;

typedef struct apq__script apq__script;

typedef enum apq__script_kind {
  APQ__SCRIPT_BOOLEAN,
  APQ__SCRIPT_INTEGER, /* an integral float counts as one */
  APQ__SCRIPT_NUMBER,
  APQ__SCRIPT_STRING,
  APQ__SCRIPT_TABLE,
  APQ__SCRIPT_FUNCTION
} apq__script_kind;

/* A value the script made; owned by the script object. */
typedef struct apq__script_value {
  apq__script_kind kind;
  int64_t integer; /* INTEGER, and BOOLEAN as 0 or 1 */
  double number;
  const char *string;  /* no zero byte inside */
  int function;        /* handle for apq__script_filter */
  int line, last_line; /* FUNCTION: where it is defined */
  int list_count;      /* TABLE: entries 1..list_count come first, in order, with a NULL key ... */
  int count;           /* ... then the named ones, sorted */
  struct apq__script_entry *entry;
} apq__script_value;

typedef struct apq__script_entry {
  const char *key;
  apq__script_value value;
} apq__script_entry;

/* "boolean", "integer", ... */
const char *apq__script_kind_name(apq__script_kind kind);

/* Runs `text`, whose chunk must end in `return <declare> { ... }`; that table is the root.  `file`
 * names it in every message as "file:line:".  Scripts see: assert, error, ipairs, next, pairs,
 * pcall, select, tonumber, tostring, type; math without random numbers; string without patterns
 * (they can take exponential time outside the instruction count), dump and pack; table without
 * move; and model_layers(name).  PARSE: syntax; INVALID_ARGUMENT: not of this form, or the script
 * raised an error; TIMEOUT, OUT_OF_MEMORY: a limit. `limits` may be NULL. */
apq_status apq__script_run(const char *file, const char *text, size_t size, const char *declare,
                           const apq__script_limits *limits, apq__script **out, apq_error *error);
void apq__script_close(apq__script *script);

const apq__script_value *apq__script_root(const apq__script *script);
/* The line of `return <declare> {`. */
int apq__script_line(const apq__script *script);
/* The named entry of a table, or NULL. */
const apq__script_value *apq__script_get(const apq__script_value *table, const char *key);

/* The tables a predicate is called with, read-only to it; reading a name they lack is an error. */
typedef enum apq__script_view {
  APQ__SCRIPT_CONFIG,
  APQ__SCRIPT_PROBLEM,
  APQ__SCRIPT_DEVICE,
  APQ__SCRIPT_VIEW_COUNT
} apq__script_view;

/* A field of a view: an integer or a boolean unless `text` is set. */
typedef struct apq__script_field {
  const char *name;
  const char *text;
  int64_t integer;
  int is_boolean;
  int rank; /* CONFIG only, see apq__script_filter; -1 for a field that never changes */
} apq__script_field;

/* Empties a view and gives it these fields. */
apq_status apq__script_set_view(apq__script *script, apq__script_view view,
                                const apq__script_field *fields, int count, apq_error *error);

/* Sets `changes` in the config view, then calls predicates function[0..count) with (config,
 * problem, device) until one returns false: *rejected is its index, or `count`.  *deepest is the
 * largest rank among the fields of the config that were read, -1 when none was: as predicates
 * depend on their arguments only, the answer is the same for every config that differs in fields of
 * larger rank alone.  On failure *rejected is the predicate at fault.  A result that is not a
 * boolean is INVALID_ARGUMENT. */
apq_status apq__script_filter(apq__script *script, const apq__script_field *changes,
                              int change_count, const int *function, int count, int *rejected,
                              int *deepest, apq_error *error);

#endif
