/* Where in a script's text an entry of its table stands, for error messages: Lua keeps no lines for
 * table entries. */
#ifndef APQ_SCRIPT_LOCATE_H
#define APQ_SCRIPT_LOCATE_H

/* One step into a table: a name, or (name NULL) a position from 1. */
typedef struct apq__script_step {
  const char *name;
  int position;
} apq__script_step;

/* Follows `steps` from the first '{' on or after `line` and returns the line of the last step it
 * can follow: tables that the script computes cannot be followed, then the line of their beginning
 * is the answer.  At least `line`. */
int apq__script_locate(const char *text, int line, const apq__script_step *steps, int count);

/* Whether `word` stands as a name of its own in lines first..last. */
int apq__script_mentions(const char *text, int first, int last, const char *word);

#endif
