#include "context.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "db.h"
#include "fingerprint.h"
#include "host.h"
#include "status.h"

const apq__target *apq__context_target(const apq_context *context) {
  return &context->device->target;
}

apq_status apq__check_pointer(const void *pointer, const char *name, apq_error *error) {
  if (pointer) return APQ_OK;
  return apq__fail(error, APQ_NULL_POINTER, "argument", "%s is NULL", name);
}

apq_status apq__check_dimension(int value, const char *name, apq_error *error) {
  if (value >= 1 && value <= APQ__DIMENSION_MAX) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: must be 1 to %d", name, value,
                   APQ__DIMENSION_MAX);
}

/* ---- databases ---- */

/* Adds a file to look at; `path` is borrowed, NULL is left out. */
static apq_status add_file(apq_context *context, const char *role, const char *path,
                           apq_error *error) {
  if (!path) return APQ_OK;
  apq__source_file *file = &context->file[context->file_count];
  file->role = role;
  file->path = apq__strdup(path);
  if (!file->path) return apq__fail(error, APQ_OUT_OF_MEMORY, "context", "no memory for a path");
  context->file_count++;
  return APQ_OK;
}

static apq_status list_files(apq_context *context, const char *explicit_path, apq_error *error) {
  if (!explicit_path) explicit_path = apq__variable_get(APQ__VAR_DB);
  if (explicit_path) return add_file(context, "database", explicit_path, error);
  char *user = apq__db_user_path();
  apq_status status = add_file(context, "user database", user, error);
  apq__free(user);
  if (!status) status = add_file(context, "system database", apq__db_system_path(), error);
  return status;
}

/* Reads one file's winners.  Whatever is wrong with it is noted, and the context goes on without;
 * only OUT_OF_MEMORY fails. */
static apq_status read_file(apq_context *context, int i, apq_error *error) {
  apq__source_file *file = &context->file[i];
  apq__db *db = NULL;
  apq_error trouble = APQ_ERROR_INIT;
  int before = context->winners.count;
  apq_status status = apq__db_open(file->path, APQ__DB_READ, &db, file->note, &trouble);
  if (!status) {
    status =
        apq__winner_table_read(&context->winners, db, i, apq__context_target(context), &trouble);
    file->readable = !status;
  }
  file->winners = context->winners.count - before;
  apq__db_close(db);
  if (status) snprintf(file->note, sizeof file->note, "not read: %s", trouble.message);
  if (status == APQ_OUT_OF_MEMORY) apq__fail(error, status, trouble.stage, "%s", trouble.message);
  apq_error_clear(&trouble);
  return status == APQ_OUT_OF_MEMORY ? status : APQ_OK;
}

/* ---- open and close ---- */

apq_status apq_context_open(const apq_context_options *options, apq_context **out,
                            apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  const apq_context_options none = {0};
  if (!options) options = &none;
  apq_context *context = apq__calloc(1, sizeof *context);
  if (!context) return apq__fail(error, APQ_OUT_OF_MEMORY, "context", "no memory for a context");

  atomic_init(&context->holders, 1);
  atomic_init(&context->is_closed, 0);
  status = apq__kernel_cache_open(&context->kernels, error);
  if (!status) status = apq__recipes_open(&context->recipes, error);
  if (status) goto cleanup;
  status = apq__device_open(options->device, &context->device, error);
  if (status) goto cleanup;
  context->cache_dir = apq__cache_dir();
  status = list_files(context, options->database, error);
  for (int i = 0; !status && i < context->file_count; i++) status = read_file(context, i, error);
  apq__winner_table_seal(&context->winners);
  if (!status && options->winners_hash)
    status = apq__context_check_hash(context, options->winners_hash, error);

cleanup:
  if (status) {
    apq_context_close(context);
    return status;
  }
  *out = context;
  return APQ_OK;
}

static void context_free(apq_context *context) {
  apq__recipes_close(&context->recipes);
  apq__kernel_cache_close(&context->kernels, context->device);
  apq__winner_table_free(&context->winners);
  for (int i = 0; i < context->file_count; i++) apq__free(context->file[i].path);
  apq__free(context->cache_dir);
  apq__device_close(context->device);
  apq__free(context);
}

void apq__context_hold(apq_context *context) {
  atomic_fetch_add(&context->holders, 1);
}

void apq__context_release(apq_context *context) {
  if (atomic_fetch_sub(&context->holders, 1) == 1) context_free(context);
}

void apq_context_close(apq_context *context) {
  if (!context) return;
  atomic_store(&context->is_closed, 1);
  apq__context_release(context);
}

apq_status apq__context_check_open(const apq_context *context, apq_error *error) {
  if (!atomic_load_explicit(&context->is_closed, memory_order_relaxed)) return APQ_OK;
  return apq__fail(error, APQ_CLOSED, "argument", "the context of this object was closed");
}

apq_status apq__context_check_owner(const apq_context *context, const void *address,
                                    const char *name, apq_error *error) {
  apq__device *device = context->device;
  if (device->ops->owns(device, address)) return APQ_OK;
  return apq__fail(error, APQ_FOREIGN_POINTER, "argument", "%s: %p is not memory of %s", name,
                   address, device->target.name);
}

/* ---- device memory ---- */

apq_status apq_device_alloc(apq_context *context, size_t bytes, void **out, apq_error *error) {
  apq_status status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(out, "out", error);
  if (!status) status = apq__context_check_open(context, error);
  if (status) return status;
  *out = NULL;
  if (bytes == 0) return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "bytes is 0");
  return context->device->ops->alloc(context->device, bytes, out, error);
}

void apq_device_free(apq_context *context, void *memory) {
  if (context && memory) context->device->ops->release(context->device, memory);
}

static apq_status check_copy(apq_context *context, const void *to, const void *from,
                             apq_error *error) {
  apq_status status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(to, "to", error);
  if (!status) status = apq__check_pointer(from, "from", error);
  if (!status) status = apq__context_check_open(context, error);
  return status;
}

apq_status apq_copy_to_device(apq_context *context, void *to, const void *from, size_t bytes,
                              apq_error *error) {
  apq_status status = check_copy(context, to, from, error);
  if (status || bytes == 0) return status;
  return context->device->ops->to_device(context->device, to, from, bytes, error);
}

apq_status apq_copy_to_host(apq_context *context, void *to, const void *from, size_t bytes,
                            apq_error *error) {
  apq_status status = check_copy(context, to, from, error);
  if (status || bytes == 0) return status;
  return context->device->ops->to_host(context->device, to, from, bytes, error);
}

apq_status apq_synchronize(apq_context *context, void *stream, apq_error *error) {
  apq_status status = apq__check_pointer(context, "context", error);
  if (status) return status;
  return context->device->ops->synchronize(context->device, stream, error);
}
