#include "compile.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "compile_impl.h"
#include "host.h"
#include "status.h"

/* One row for each kind of target. */
typedef struct compiler {
  apq_status (*compile)(const char *source, const apq__target *target, void **image, size_t *size,
                        char **log, apq_error *error);
  apq_status (*version)(char *text, size_t size, apq_error *error);
  const char *(*options)(void);
} compiler;

static const compiler host_compiler = {apq__host_compile, apq__host_compiler_version,
                                       apq__host_compiler_options};

static apq_status find_compiler(const apq__target *target, const compiler **out, apq_error *error) {
  *out = &host_compiler;
  if (target->emulated) return APQ_OK;
#ifdef APQ_HAVE_CUDA
  static const compiler nvrtc = {apq__nvrtc_compile, apq__nvrtc_version, apq__nvrtc_options};
  (void)error;
  *out = &nvrtc;
  return APQ_OK;
#else
  return apq__fail(error, APQ_NO_COMPILER, "compile",
                   "this build has no CUDA backend, so it cannot compile for %s", target->name);
#endif
}

/* ---- the cache: an object, then this ---- */

typedef struct trailer {
  char magic[8];
  char sha256[64]; /* of the object */
} trailer;
static const char magic[8] = {'a', 'p', 'q', 'o', 'b', 'j', '0', '1'};

static void hash_image(const void *image, size_t size, char hex[65]) {
  const apq__piece piece = {image, size};
  apq__sha256(&piece, 1, hex);
}

static char *object_path(const char *cache_dir, const char *sha256) {
  return cache_dir ? apq__format("%s/objects/%s", cache_dir, sha256) : NULL;
}

/* Whatever is wrong with the file, it counts as absent. */
static int read_cached(const char *path, apq__object *out) {
  char *data = NULL, hex[65];
  size_t size = 0;
  trailer end;
  if (apq__read_file(path, &data, &size, NULL) != APQ_OK) return 0;
  if (size <= sizeof end) goto damaged;
  size -= sizeof end;
  memcpy(&end, data + size, sizeof end);
  hash_image(data, size, hex);
  if (memcmp(end.magic, magic, sizeof magic) != 0 ||
      memcmp(end.sha256, hex, sizeof end.sha256) != 0)
    goto damaged;
  out->image = data;
  out->size = size;
  out->from_cache = 1;
  return 1;
damaged:
  apq__free(data);
  return 0;
}

/* No trouble here fails a compilation. */
static void write_cached(const char *cache_dir, const char *path, const apq__object *object) {
  trailer end;
  char hex[65];
  char *folder = apq__format("%s/objects", cache_dir);
  char *data = apq__alloc(object->size + sizeof end);
  if (!folder || !data) goto cleanup;
  hash_image(object->image, object->size, hex);
  memcpy(end.magic, magic, sizeof magic);
  memcpy(end.sha256, hex, sizeof end.sha256);
  memcpy(data, object->image, object->size);
  memcpy(data + object->size, &end, sizeof end);
  if (apq__make_dirs(folder, NULL) == APQ_OK)
    apq__write_file(path, data, object->size + sizeof end, NULL);
cleanup:
  apq__free(folder);
  apq__free(data);
}

/* ---- compilation ---- */

static apq_status compile_now(const compiler *with, const char *source, const apq__target *target,
                              apq__object *out, apq_error *error) {
  char *log = NULL;
  double begin = apq__now();
  apq_status status = with->compile(source, target, &out->image, &out->size, &log, error);
  out->seconds = apq__now() - begin;
  if (status == APQ_OK)
    apq__free(log);
  else
    apq__error_take_log(error, log);
  return status;
}

apq_status apq__compile(const char *source, const apq__target *target, const char *cache_dir,
                        apq__object *out, apq_error *error) {
  const compiler *with;
  char version[160];
  memset(out, 0, sizeof *out);
  apq_status status = find_compiler(target, &with, error);
  if (status == APQ_OK) status = with->version(version, sizeof version, error);
  if (status != APQ_OK) return status;
  const char *options = with->options();
  /* Each with its zero, so that no two lists of pieces run together to the same text. */
  const apq__piece pieces[] = {
      {source, strlen(source) + 1},
      {options, strlen(options) + 1},
      {version, strlen(version) + 1},
      {target->arch, strlen(target->arch) + 1},
  };
  apq__sha256(pieces, sizeof pieces / sizeof pieces[0], out->sha256);
  char *path = object_path(cache_dir, out->sha256);
  if (!path || !read_cached(path, out)) {
    status = compile_now(with, source, target, out, error);
    if (status == APQ_OK && path) write_cached(cache_dir, path, out);
  }
  apq__free(path);
  if (status != APQ_OK) apq__object_free(out);
  return status;
}

void apq__object_free(apq__object *object) {
  if (!object) return;
  apq__free(object->image);
  memset(object, 0, sizeof *object);
}

apq_status apq__compiler_version(const apq__target *target, char *text, size_t size,
                                 apq_error *error) {
  const compiler *with;
  apq_status status = find_compiler(target, &with, error);
  return status == APQ_OK ? with->version(text, size, error) : status;
}
