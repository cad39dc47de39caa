#include "library.h"

#include <dlfcn.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

/* The names joined by commas, for the message. */
static apq_status fail_missing(const apq__library_desc *desc, apq_error *error) {
  apq__text names = {0};
  for (int i = 0; desc->names[i]; i++) apq__text_add(&names, "%s%s", i ? ", " : "", desc->names[i]);
  int has_variable = desc->variable != APQ__VAR_COUNT;
  apq_status status =
      apq__fail(error, desc->status, desc->stage, "no %s: looked for %s; %s%s%s%s", desc->what,
                names.data ? names.data : "it", desc->hint, has_variable ? ", and " : "",
                has_variable ? apq__variable_name(desc->variable) : "",
                has_variable ? " may name the file" : "");
  apq__text_free(&names);
  return status;
}

static apq_status open_library(const apq__library_desc *desc, void **out, apq_error *error) {
  const char *chosen = NULL;
  if (desc->variable != APQ__VAR_COUNT) chosen = apq__variable_get(desc->variable);
  if (chosen) {
    *out = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    const char *reason = *out ? NULL : dlerror();
    if (*out) return APQ_OK;
    return apq__fail(error, desc->status, desc->stage,
                     "no %s: %s names a file that cannot be loaded: %s", desc->what,
                     apq__variable_name(desc->variable), reason ? reason : chosen);
  }
  for (int i = 0; desc->names[i]; i++) {
    *out = dlopen(desc->names[i], RTLD_NOW | RTLD_LOCAL);
    if (*out) return APQ_OK;
  }
  return fail_missing(desc, error);
}

apq_status apq__library_load(const apq__library_desc *desc, void *table, apq_error *error) {
  void *library = NULL;
  size_t count = 0;
  while (desc->symbols[count]) count++;
  apq_status status = open_library(desc, &library, error);
  for (size_t i = 0; !status && i < count; i++) {
    void *address = dlsym(library, desc->symbols[i]);
    if (!address && i < count - desc->optional)
      status = apq__fail(error, desc->status, desc->stage,
                         "the %s library has no %s: it is too old, or another library", desc->what,
                         desc->symbols[i]);
    /* POSIX gives functions as data pointers; copying the bytes is the conversion that C allows. */
    memcpy((char *)table + i * sizeof address, &address, sizeof address);
  }
  return status;
}
