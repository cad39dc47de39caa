#include "kernels.h"

#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "context.h"
#include "generator.h"
#include "host.h"
#include "status.h"

static const char *const origin_names[APQ__ORIGIN_COUNT] = {"database", "object cache", "compiler"};

const char *apq__origin_name(apq__origin origin) {
  return (unsigned)origin < APQ__ORIGIN_COUNT ? origin_names[origin] : "?";
}

apq_status apq__kernel_cache_open(apq__kernel_cache *cache, apq_error *error) {
  if (pthread_mutex_init(&cache->lock, NULL) != 0)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "context", "no memory for a mutex");
  cache->has_lock = 1;
  return APQ_OK;
}

static void loaded_free(apq__loaded *loaded, apq__device *device) {
  if (!loaded) return;
  if (loaded->module) device->ops->unload(device, loaded->module);
  apq__free(loaded->config);
  apq__free(loaded);
}

void apq__kernel_cache_close(apq__kernel_cache *cache, apq__device *device) {
  while (cache->first) {
    apq__loaded *loaded = cache->first;
    cache->first = loaded->next;
    loaded_free(loaded, device);
  }
  if (cache->has_lock) pthread_mutex_destroy(&cache->lock);
  *cache = (apq__kernel_cache){0};
}

apq_status apq__artifact_id(const apq__config *config, const apq__target *target, char id[65],
                            apq_error *error) {
  const char *name = apq__config_get(config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  if (!family)
    return apq__fail(error, APQ_NOT_FOUND, "kernel", "no kernel family '%s'", name ? name : "");
  char key[APQ__KEY_MAX];
  const char *part[] = {target->arch, target->emulated ? "emulated" : "cuda",
                        apq__family_hash(family, target->emulated), apq__config_key(config, key)};
  /* Each piece with its zero, so that no two lists of parts give the same bytes. */
  apq__piece piece[4];
  for (int i = 0; i < 4; i++) piece[i] = (apq__piece){part[i], strlen(part[i]) + 1};
  apq__sha256(piece, 4, id);
  return APQ_OK;
}

/* Loads an image and looks up its kernel into `loaded`; leaves it without module when that fails.
 */
static apq_status load_image(apq__device *device, const apq__config *config, const void *image,
                             size_t size, apq__loaded *loaded, apq_error *error) {
  char name[APQ__WORD_MAX + 8];
  apq_status status = device->ops->load(device, image, size, &loaded->module, error);
  if (status) {
    loaded->module = NULL;
    return status;
  }
  status = device->ops->kernel(device, loaded->module, apq__kernel_name(config, name),
                               loaded->smem_bytes, &loaded->kernel, &loaded->info, error);
  if (status) {
    device->ops->unload(device, loaded->module);
    loaded->module = NULL;
  }
  return status;
}

/* One stored object from one file; every failure but OUT_OF_MEMORY only means "not there". */
static apq_status load_artifact(apq_context *context, const apq__source_file *file,
                                const apq__config *config, const char *id, apq__loaded *loaded,
                                apq_error *error) {
  apq__db *db = NULL;
  void *image = NULL;
  size_t size = 0;
  apq_status status = apq__db_open(file->path, APQ__DB_READ, &db, NULL, error);
  if (!status) status = apq__db_load_artifact(db, id, &image, &size, error);
  if (!status) status = load_image(context->device, config, image, size, loaded, error);
  if (!status) loaded->origin = APQ__ORIGIN_DATABASE;
  apq__free(image);
  apq__db_close(db);
  return status;
}

/* Tries the winner's own object, then the one stored under the config's id.  OK without a module
 * when there is none. */
static apq_status load_stored(apq_context *context, const apq__config *config,
                              const apq__tuned *tuned, apq__loaded *loaded, apq_error *error) {
  char id[65];
  apq_status status = apq__artifact_id(config, apq__context_target(context), id, error);
  if (status) return status;
  for (int i = 0; i < context->file_count && !loaded->module; i++) {
    const apq__source_file *file = &context->file[i];
    if (!file->readable) continue;
    if (tuned && tuned->database == i && tuned->artifact[0])
      status = load_artifact(context, file, config, tuned->artifact, loaded, error);
    if (status != APQ_OUT_OF_MEMORY && !loaded->module)
      status = load_artifact(context, file, config, id, loaded, error);
    if (status == APQ_OUT_OF_MEMORY) return status;
  }
  return APQ_OK;
}

static apq_status compile(const apq__config *config, const apq__target *target,
                          const char *cache_dir, apq__object *object, apq_error *error) {
  char *source = NULL;
  apq_status status = apq__generate(config, target, &source, error);
  if (!status) status = apq__compile(source, target, cache_dir, object, error);
  apq__free(source);
  return status;
}

static apq_status compile_and_load(apq_context *context, const apq__config *config,
                                   apq__loaded *loaded, apq_error *error) {
  const apq__target *target = apq__context_target(context);
  apq__object object = {0};
  apq_status status = compile(config, target, context->cache_dir, &object, error);
  if (!status)
    status = load_image(context->device, config, object.image, object.size, loaded, error);
  if (!status) loaded->origin = object.from_cache ? APQ__ORIGIN_CACHE : APQ__ORIGIN_COMPILER;
  apq__object_free(&object);
  return status;
}

apq_status apq__artifact_store(apq__db *db, const apq__config *config, const apq__target *target,
                               const char *cache_dir, apq_error *error) {
  char id[65], version[64];
  apq__object object = {0};
  apq_status status = apq__artifact_id(config, target, id, error);
  if (!status) status = apq__compiler_version(target, version, sizeof version, error);
  if (!status) status = compile(config, target, cache_dir, &object, error);
  if (!status)
    status = apq__db_add_artifact(db, id, target->arch, version, object.image, object.size, error);
  apq__object_free(&object);
  return status;
}

static const apq__loaded *find(const apq__kernel_cache *cache, const char *key,
                               unsigned smem_bytes) {
  for (const apq__loaded *at = cache->first; at; at = at->next)
    if (at->smem_bytes == smem_bytes && strcmp(at->config, key) == 0) return at;
  return NULL;
}

static apq_status load(apq_context *context, const apq__config *config, const char *key,
                       unsigned smem_bytes, const apq__tuned *tuned, const apq__loaded **out,
                       apq_error *error) {
  apq__loaded *loaded = apq__calloc(1, sizeof *loaded);
  if (loaded) loaded->config = apq__strdup(key);
  if (!loaded || !loaded->config) {
    apq__free(loaded);
    return apq__fail(error, APQ_OUT_OF_MEMORY, "kernel", "no memory for a kernel's record");
  }
  loaded->smem_bytes = smem_bytes;
  apq_status status = load_stored(context, config, tuned, loaded, error);
  if (!status && !loaded->module) status = compile_and_load(context, config, loaded, error);
  if (status) {
    loaded_free(loaded, context->device);
    return status;
  }
  loaded->next = context->kernels.first;
  context->kernels.first = loaded;
  context->kernels.count++;
  *out = loaded;
  return APQ_OK;
}

apq_status apq__kernel_get(apq_context *context, const apq__config *config, unsigned smem_bytes,
                           const apq__tuned *tuned, const apq__loaded **out, apq_error *error) {
  char key[APQ__KEY_MAX];
  apq__config_key(config, key);
  pthread_mutex_lock(&context->kernels.lock);
  apq_status status = APQ_OK;
  *out = find(&context->kernels, key, smem_bytes);
  if (!*out) status = load(context, config, key, smem_bytes, tuned, out, error);
  pthread_mutex_unlock(&context->kernels.lock);
  return status;
}
