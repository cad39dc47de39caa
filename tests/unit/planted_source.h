/* Errors planted in generated sources, at places that every template has. */
#ifndef PLANTED_SOURCE_H
#define PLANTED_SOURCE_H

#include <string.h>

#include "alloc.h"

/* `code` put in front of the first statement of the kernel; NULL when there is no kernel. */
static inline char *plant_in_kernel(const char *source, const char *code) {
  const char *kernel = NULL, *next = source;
  while ((next = strstr(next, "\nAPQ_KERNEL(")) != NULL) kernel = next++;
  const char *body = kernel ? strchr(kernel, '{') : NULL;
  if (!body) return NULL;
  return apq__format("%.*s\n%s\n%s", (int)(body + 1 - source), source, code, body + 1);
}

/* The kernel works with changed arguments: `change` is statements about `spoiled`. */
static inline char *plant_in_arguments(const char *source, const char *type, const char *change) {
  char *code = apq__format("%s spoiled = args;\n%s\n#define args spoiled", type, change);
  char *planted = code ? plant_in_kernel(source, code) : NULL;
  apq__free(code);
  return planted;
}

/* A high bit of y[row][column], an integer or a float not yet rounded, is flipped when it is stored
 * on its own (store=direct). */
static inline char *plant_in_result(const char *source, int row, int column) {
  const char *store = strstr(source, "apq_store_one(const");
  const char *end = store ? strstr(store, ") {") : NULL;
  if (!end) return NULL;
  const char *name = end; /* the last parameter's, which is the result */
  while (name[-1] != ' ') name--;
  return apq__format("%.*s) {\n  %.*s ^= m == %d && n == %d ? 0x400000u : 0u;%s",
                     (int)(end - source), source, (int)(end - name), name, row, column, end + 3);
}

#endif
