#include "space.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "host.h"
#include "space_builtin.h"
#include "space_impl.h"
#include "status.h"

enum { SCRIPT_BYTES_MAX = 1 << 20, UNION_DEPTH_MAX = 4 };

static int is_path(const char *text) {
  size_t length = strlen(text);
  return strchr(text, '/') || (length > 4 && strcmp(text + length - 4, ".lua") == 0);
}

static apq_status fail_unknown(const char *name, apq_error *error) {
  char names[128] = "";
  for (int i = 0; apq__space_builtin(i); i++) {
    size_t length = strlen(names);
    snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", apq__space_builtin(i));
  }
  return apq__fail(error, APQ_NOT_FOUND, "space",
                   "no built-in space '%s'; there are %s (the name of a script ends in .lua)", name,
                   names);
}

/* A path inside a union starts from the folder of the union's file. */
static char *resolve(const char *path, const char *beside) {
  const char *slash = beside && path[0] != '/' ? strrchr(beside, '/') : NULL;
  return slash ? apq__format("%.*s/%s", (int)(slash - beside), beside, path) : apq__strdup(path);
}

static apq_status read_script(apq__space *space, const char *path_or_name, const char *beside,
                              apq_error *error) {
  const char *builtin = apq__space_builtin_text(path_or_name);
  if (builtin) {
    space->file = apq__format("%s.lua", path_or_name);
    space->text = apq__strdup(builtin);
    space->size = strlen(builtin);
  } else if (is_path(path_or_name)) {
    space->file = resolve(path_or_name, beside);
    if (space->file) {
      apq_status status = apq__read_file(space->file, &space->text, &space->size, error);
      if (status) return status;
    }
  } else {
    return fail_unknown(path_or_name, error);
  }
  if (!space->file || !space->text)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "'%s': out of memory", path_or_name);
  if (space->size > SCRIPT_BYTES_MAX)
    return apq__fail(error, APQ_OUT_OF_RANGE, "space", "%s: %zu bytes; a space has at most %d",
                     space->file, space->size, SCRIPT_BYTES_MAX);
  return APQ_OK;
}

/* The script's text, models.lua (which a script may read), and what stands below: parts, or the
 * family's template. */
static void hash_space(apq__space *space, int emulated) {
  const char *models = apq__embedded_lua("models");
  apq__piece piece[3 + APQ__SPACE_PARTS_MAX];
  int count = 0;
  /* The union's text covers what is written inside it. */
  if (!space->is_inline) piece[count++] = (apq__piece){space->text, space->size};
  if (models) piece[count++] = (apq__piece){models, strlen(models)};
  if (space->family) piece[count++] = (apq__piece){apq__family_hash(space->family, emulated), 64};
  for (int i = 0; i < space->part_count; i++)
    piece[count++] = (apq__piece){space->part[i]->hash[emulated], 64};
  apq__sha256(piece, count, space->hash[emulated]);
}

void apq__space_hash_all(apq__space *space) {
  hash_space(space, 0);
  hash_space(space, 1);
}

apq_status apq__space_load_at(const char *path_or_name, const char *beside, int depth,
                              apq__space **out, apq_error *error) {
  if (depth > UNION_DEPTH_MAX)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "space", "'%s': spaces contain each other",
                     path_or_name);
  apq__space *space = apq__calloc(1, sizeof *space);
  if (!space) return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "out of memory");
  apq_status status = read_script(space, path_or_name, beside, error);
  if (!status)
    status = apq__script_run(space->file, space->text, space->size, "space", NULL, &space->script,
                             error);
  if (!status) {
    space->root = apq__script_root(space->script);
    status = apq__space_parse(space, depth, error);
  }
  if (status) {
    apq__space_close(space);
    return status;
  }
  apq__space_hash_all(space);
  *out = space;
  return APQ_OK;
}

apq_status apq__space_load(const char *path_or_name, apq__space **out, apq_error *error) {
  return apq__space_load_at(path_or_name, NULL, 0, out, error);
}

void apq__space_close(apq__space *space) {
  if (!space) return;
  for (int i = 0; i < space->part_count; i++) apq__space_close(space->part[i]);
  for (int i = 0; i < space->knob_count; i++) apq__free(space->knob[i].value);
  apq__free(space->problem);
  if (!space->is_inline) {
    apq__script_close(space->script);
    apq__free(space->text);
    apq__free(space->file);
  }
  apq__free(space);
}

const char *apq__space_name(const apq__space *space) {
  return space->name;
}

const char *apq__space_hash(const apq__space *space, int emulated) {
  return space->hash[emulated != 0];
}

const char *apq__space_objective(const apq__space *space) {
  return space->objective;
}

apq_status apq__space_problems(apq__space *space, apq__problem **out, int *count,
                               apq_error *error) {
  *out = NULL;
  *count = 0;
  if (space->problem_count == 0) return APQ_OK;
  *out = apq__calloc((size_t)space->problem_count, sizeof **out);
  if (!*out) return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "out of memory");
  memcpy(*out, space->problem, (size_t)space->problem_count * sizeof **out);
  *count = space->problem_count;
  return APQ_OK;
}
