#include "space_builtin.h"

#include <string.h>

#include "embedded.h"
#include "space.h"

extern const apq__embedded apq__embedded_spaces[];

/* In the order of --help and `list`; models.lua is data for spaces, not a space. */
static const char *const names[] = {"default", "quick", "bmma",      "imma",
                                    "bgmma",   "igmma", "imma_bulk", "decode"};

const char *apq__embedded_lua(const char *name) {
  size_t length = strlen(name);
  for (const apq__embedded *file = apq__embedded_spaces; file->name; file++)
    if (strncmp(file->name, name, length) == 0 && strcmp(file->name + length, ".lua") == 0)
      return file->text;
  return NULL;
}

const char *apq__space_builtin(int i) {
  return i >= 0 && i < (int)(sizeof names / sizeof names[0]) ? names[i] : NULL;
}

const char *apq__space_builtin_text(const char *name) {
  for (int i = 0; apq__space_builtin(i); i++)
    if (strcmp(names[i], name) == 0) return apq__embedded_lua(name);
  return NULL;
}
