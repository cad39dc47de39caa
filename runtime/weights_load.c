/* Reading a file of weights. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "safetensors.h"
#include "status.h"
#include "weights_file.h"

/* A matrix in the mapping. */
typedef struct matrix {
  const char *name, *text, *digest; /* in the notes */
  apq__weights_parts parts;
  apq__file_tensor tensor[APQ__FILE_TENSORS];
} matrix;

struct apq_weights_file {
  apq__safetensors container;
  matrix *entry; /* in the order of the notes */
  int count;
};

/* ---- open ---- */

static int is_stored_as(const apq__tensor *stored, const apq__file_tensor *wanted) {
  if (strcmp(stored->dtype, wanted->dtype) != 0 || stored->rank != wanted->rank) return 0;
  for (int i = 0; i < wanted->rank; i++)
    if (stored->shape[i] != wanted->shape[i]) return 0;
  return 1;
}

/* The tensor `name` + `suffix`, or NULL. */
static const apq__tensor *find(const apq__safetensors *file, const char *name, const char *suffix) {
  char key[APQ__FILE_NAME_MAX + 32];
  snprintf(key, sizeof key, "%s%s", name, suffix);
  return apq__safetensors_find(file, key);
}

/* Points a tensor of the matrix into the mapping. */
static apq_status locate(const apq__safetensors *file, matrix *m, apq__file_tensor *tensor,
                         apq_error *error) {
  const apq__tensor *stored = find(file, m->name, tensor->suffix);
  if (!stored)
    return apq__safetensors_corrupt(file, error, "matrix '%s': no tensor '%s%s'", m->name, m->name,
                                    tensor->suffix);
  if (!is_stored_as(stored, tensor))
    return apq__safetensors_corrupt(file, error, "tensor '%s': not of the type and shape of '%s'",
                                    stored->name, m->text);
  const uint8_t *data = file->data + stored->begin;
  /* The mapping begins at a page. */
  const uintptr_t alignment = tensor->rank == 3 ? APQ__FILE_ALIGNMENT : 4;
  if ((uintptr_t)data % alignment)
    return apq__safetensors_corrupt(file, error, "tensor '%s': not aligned to %d bytes",
                                    stored->name, (int)alignment);
  tensor->data = data;
  return APQ_OK;
}

/* What fills a matrix up to the alignment, where it takes any. */
static apq_status check_padding(const apq__safetensors *file, const matrix *m, int *tensors,
                                apq_error *error) {
  const apq__tensor *padding = find(file, m->name, APQ__FILE_PADDING);
  if (!padding) return APQ_OK;
  ++*tensors;
  int bad = padding->end - padding->begin >= APQ__FILE_ALIGNMENT;
  for (int64_t i = padding->begin; i < padding->end && !bad; i++) bad = file->data[i] != 0;
  if (!bad) return APQ_OK;
  return apq__safetensors_corrupt(file, error, "tensor '%s': not the zeros it must be",
                                  padding->name);
}

static apq_status open_matrix(const apq__safetensors *file, const apq__note *note, matrix *m,
                              int *tensors, apq_error *error) {
  int has_scales = 0, has_zeros = 0;
  char key[APQ__FILE_NAME_MAX + 32];
  apq_error trouble = APQ_ERROR_INIT;
  m->name = note->key + strlen(APQ__NOTE_MATRIX);
  m->text = note->value;
  if (strlen(m->name) < 1 || strlen(m->name) > APQ__FILE_NAME_MAX)
    return apq__safetensors_corrupt(file, error, "metadata '%.40s...': not a matrix's name",
                                    note->key);
  if (apq__file_parse(m->text, &m->parts, &has_scales, &has_zeros, &trouble)) {
    apq__safetensors_corrupt(file, error, "matrix '%s': %s", m->name, trouble.message);
    apq_error_clear(&trouble);
    return APQ_CORRUPT;
  }
  snprintf(key, sizeof key, APQ__NOTE_DIGEST "%s", m->name);
  m->digest = apq__safetensors_note(file, key);
  if (!m->digest) return apq__safetensors_corrupt(file, error, "matrix '%s': no checksum", m->name);
  apq__file_tensors(&m->parts, has_scales, has_zeros, m->tensor);
  apq_status status = APQ_OK;
  for (int i = 0; i < APQ__FILE_TENSORS && !status; i++) {
    if (!m->tensor[i].bytes) continue;
    status = locate(file, m, &m->tensor[i], error);
    ++*tensors;
  }
  if (!status) status = check_padding(file, m, tensors, error);
  m->parts.planes = m->tensor[0].data;
  m->parts.scales = m->tensor[1].data;
  m->parts.zeros = m->tensor[2].data;
  return status;
}

static apq_status check_kind(const apq__safetensors *file, apq_error *error) {
  const char *format = apq__safetensors_note(file, APQ__NOTE_FORMAT);
  const char *version = apq__safetensors_note(file, APQ__NOTE_VERSION);
  if (!format || strcmp(format, APQ__FILE_FORMAT) != 0)
    return apq__fail(error, APQ_PARSE, "weights",
                     "'%s': a safetensors file, but none of " APQ__FILE_FORMAT, file->path);
  if (!version || strcmp(version, APQ__FILE_VERSION) != 0)
    return apq__fail(error, APQ_UNSUPPORTED, "weights",
                     "'%s': of version '%s', this library reads version " APQ__FILE_VERSION,
                     file->path, version ? version : "");
  return APQ_OK;
}

static int is_matrix(const apq__note *note) {
  return strncmp(note->key, APQ__NOTE_MATRIX, strlen(APQ__NOTE_MATRIX)) == 0;
}

static apq_status open_matrices(apq_weights_file *file, apq_error *error) {
  const apq__safetensors *container = &file->container;
  int tensors = 0;
  apq_status status = check_kind(container, error);
  if (status) return status;
  file->entry = apq__calloc((size_t)container->note_count, sizeof *file->entry);
  if (!file->entry)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for the matrices of '%s'",
                     container->path);
  for (int i = 0; i < container->note_count && !status; i++)
    if (is_matrix(&container->note[i]))
      status =
          open_matrix(container, &container->note[i], &file->entry[file->count++], &tensors, error);
  if (status) return status;
  if (tensors != container->tensor_count)
    return apq__safetensors_corrupt(container, error, "%d tensors belong to no matrix",
                                    container->tensor_count - tensors);
  return APQ_OK;
}

apq_status apq_weights_file_open(const char *path, apq_weights_file **out, apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(path, "path", error);
  if (status) return status;
  apq_weights_file *file = apq__calloc(1, sizeof *file);
  if (!file) return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory to open '%s'", path);
  status = apq__safetensors_open(path, &file->container, error);
  if (!status) status = open_matrices(file, error);
  if (status)
    apq_weights_file_close(file);
  else
    *out = file;
  return status;
}

void apq_weights_file_close(apq_weights_file *file) {
  if (!file) return;
  apq__safetensors_close(&file->container);
  apq__free(file->entry);
  apq__free(file);
}

/* ---- matrices ---- */

int apq_weights_file_count(const apq_weights_file *file) {
  return file ? file->count : 0;
}

const char *apq_weights_file_name(const apq_weights_file *file, int index) {
  return file && index >= 0 && index < file->count ? file->entry[index].name : NULL;
}

static apq_status check_data(const apq__safetensors *file, const matrix *m, apq_error *error) {
  char hex[65];
  apq_status status = apq__file_digest(m->name, m->text, m->tensor, hex, error);
  if (status) return status;
  if (strcmp(hex, m->digest) != 0)
    return apq__safetensors_corrupt(file, error, "matrix '%s': its checksum does not match",
                                    m->name);
  /* Products take the tail for zeros. */
  const int64_t row = apq__plane_dirty_row(m->parts.planes, m->parts.n, m->parts.k, m->parts.bits);
  if (row >= 0)
    return apq__safetensors_corrupt(file, error, "matrix '%s': row %lld has bits beyond k=%d",
                                    m->name, (long long)row, m->parts.k);
  return APQ_OK;
}

apq_status apq_weights_file_load(const apq_weights_file *file, const char *name,
                                 apq_context *context, apq_weights **out, apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(file, "file", error);
  if (!status) status = apq__check_pointer(name, "name", error);
  if (!status) status = apq__check_pointer(context, "context", error);
  if (status) return status;
  const matrix *m = file->entry, *const end = file->entry + file->count;
  while (m < end && strcmp(m->name, name) != 0) m++;
  if (m == end)
    return apq__fail(error, APQ_NOT_FOUND, "weights", "'%s': no matrix '%s'", file->container.path,
                     name);
  status = check_data(&file->container, m, error);
  if (status) return status;
  apq_error trouble = APQ_ERROR_INIT;
  status = apq__weights_build(context, &m->parts, NULL, 0, out, &trouble);
  if (status == APQ_INVALID_ARGUMENT) /* a scale, which came from the file */
    status =
        apq__safetensors_corrupt(&file->container, error, "matrix '%s': %s", name, trouble.message);
  else if (status)
    apq__fail(error, status, trouble.stage, "%s", trouble.message);
  apq_error_clear(&trouble);
  return status;
}
