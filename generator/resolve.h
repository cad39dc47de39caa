/* Removes the conditional branches that a config does not take, so that a generated source shows
 * only what it does. */
#ifndef APQ_RESOLVE_H
#define APQ_RESOLVE_H

#include "alloc.h"
#include "config.h"

/* Known names while resolving: the config's knobs in upper case (with NAME_VALUE for word values),
 * and every object-like #define passed so far whose body is a constant expression of known names.
 */
typedef struct apq__resolver {
  const apq__config *config;
  int define_count;
  struct {
    char name[40];
    char body[120];
  } define[160];
} apq__resolver;

/* Appends `text` to `out` line by line.  #if chains whose conditions are known keep only the taken
 * branch; others stay as they are. Comment lines with an @-word (declarations for the generator)
 * are dropped, and runs of blank lines become one.  PARSE, naming `name` and the line, for
 * unbalanced conditionals. */
apq_status apq__resolve(apq__resolver *resolver, const char *name, const char *text, apq__text *out,
                        apq_error *error);

#endif
