#include "space.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "lua_host.h"
#include "space_builtin.h"
#include "status.h"

static apq_status fail_unknown(const apq__script_value *models, const char *model,
                               apq_error *error) {
  char names[320] = "";
  for (int i = 0; i < models->count; i++) {
    size_t length = strlen(names);
    snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", models->entry[i].key);
  }
  return apq__fail(error, APQ_NOT_FOUND, "space", "no model '%s'; there are %s", model, names);
}

static int read_dimension(const apq__script_value *layer, const char *key, int *out) {
  const apq__script_value *value = apq__script_get(layer, key);
  if (!value || value->kind != APQ__SCRIPT_INTEGER || value->integer < 1 ||
      value->integer > INT32_MAX)
    return 0;
  *out = (int)value->integer;
  return 1;
}

static apq_status read_layers(const apq__script_value *model, apq__layer_shape **out, int *count,
                              apq_error *error) {
  apq__layer_shape *layers = apq__calloc((size_t)model->count, sizeof *layers);
  if (!layers) return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "out of memory");
  for (int i = 0; i < model->count; i++) {
    const apq__script_value *layer = &model->entry[i].value;
    const apq__script_value *name =
        layer->kind == APQ__SCRIPT_TABLE ? apq__script_get(layer, "name") : NULL;
    if (!name || name->kind != APQ__SCRIPT_STRING || !read_dimension(layer, "n", &layers[i].n) ||
        !read_dimension(layer, "k", &layers[i].k)) {
      apq__free(layers);
      return apq__fail(error, APQ_PARSE, "space", "models.lua: layer %d lacks name, n or k", i + 1);
    }
    snprintf(layers[i].name, sizeof layers[i].name, "%s", name->string);
  }
  *out = layers;
  *count = model->count;
  return APQ_OK;
}

static apq_status run_models(apq__script **out, apq_error *error) {
  const char *text = apq__embedded_lua("models");
  if (!text) return apq__fail(error, APQ_INTERNAL, "space", "models.lua is not in this build");
  return apq__script_run("models.lua", text, strlen(text), "models", NULL, out, error);
}

apq_status apq__model_shapes(const char *model, apq__layer_shape **out, int *count,
                             apq_error *error) {
  apq__script *script = NULL;
  apq_status status = run_models(&script, error);
  if (status) return status;
  const apq__script_value *models = apq__script_root(script);
  const apq__script_value *found = apq__script_get(models, model);
  status = found ? read_layers(found, out, count, error) : fail_unknown(models, model, error);
  apq__script_close(script);
  return status;
}

apq_status apq__model_name(int i, char name[24], apq_error *error) {
  apq__script *script = NULL;
  apq_status status = run_models(&script, error);
  if (status) return status;
  const apq__script_value *models = apq__script_root(script);
  if (i >= 0 && i < models->count)
    snprintf(name, 24, "%s", models->entry[i].key);
  else
    status = apq__fail(error, APQ_NOT_FOUND, "space", "there are %d models", models->count);
  apq__script_close(script);
  return status;
}
