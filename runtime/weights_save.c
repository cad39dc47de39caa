/* Writing a file of weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "context.h"
#include "host.h"
#include "json_writer.h"
#include "safetensors.h"
#include "status.h"
#include "weights_file.h"

/* A matrix on its way to the file. */
typedef struct entry {
  const char *name;
  const apq_weights *weights;
  apq__file_tensor tensor[APQ__FILE_TENSORS]; /* without data */
  int64_t padding;
  char text[APQ__KEY_MAX];
  char digest[65];
} entry;

static const uint8_t zeros[APQ__FILE_ALIGNMENT];

/* ---- checks ---- */

/* Bytes of the UTF-8 character at `text` (RFC 3629), 0 when it is none or a control character. */
static int character_bytes(const unsigned char *text) {
  static const struct {
    unsigned char first, last; /* first byte */
    unsigned char low, high;   /* second byte */
    int bytes;
  } rows[] = {
      {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
      {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
      {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (text[0] < rows[i].first || text[0] > rows[i].last) continue;
    if (rows[i].bytes > 1 && (text[1] < rows[i].low || text[1] > rows[i].high)) return 0;
    for (int b = 2; b < rows[i].bytes; b++)
      if ((text[b] & 0xc0) != 0x80) return 0;
    return rows[i].bytes;
  }
  return 0;
}

static int is_name(const char *name) {
  const unsigned char *at = (const unsigned char *)name;
  while (*at) {
    const int bytes = character_bytes(at);
    if (!bytes) return 0;
    at += bytes;
  }
  const size_t length = strlen(name);
  return length >= 1 && length <= APQ__FILE_NAME_MAX;
}

static int compare_names(const void *left, const void *right) {
  const char *const *a = left, *const *b = right;
  return strcmp(*a, *b);
}

static apq_status check_duplicates(const apq_named_weights *matrices, int count, apq_error *error) {
  const char **name = apq__calloc((size_t)count, sizeof(const char *));
  if (!name) return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for %d names", count);
  for (int i = 0; i < count; i++) name[i] = matrices[i].name;
  qsort(name, (size_t)count, sizeof(const char *), compare_names);
  apq_status status = APQ_OK;
  for (int i = 1; i < count && !status; i++)
    if (strcmp(name[i - 1], name[i]) == 0)
      status = apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "matrices: two are named '%s'",
                         name[i]);
  apq__free(name);
  return status;
}

static apq_status check_arguments(const char *path, const apq_named_weights *matrices, int count,
                                  apq_error *error) {
  apq_status status = apq__check_pointer(path, "path", error);
  if (status) return status;
  if (count < 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "count=%d: must be at least 1",
                     count);
  status = apq__check_pointer(matrices, "matrices", error);
  for (int i = 0; i < count && !status; i++) {
    char field[48];
    snprintf(field, sizeof field, "matrices[%d].name", i);
    status = apq__check_pointer(matrices[i].name, field, error);
    if (!status && !is_name(matrices[i].name))
      status = apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                         "%s: must be 1 to %d bytes of UTF-8 without control characters", field,
                         (int)APQ__FILE_NAME_MAX);
    snprintf(field, sizeof field, "matrices[%d].weights", i);
    if (!status) status = apq__check_pointer(matrices[i].weights, field, error);
  }
  return status ? status : check_duplicates(matrices, count, error);
}

/* ---- the header ---- */

static apq_status describe(entry *e, const apq_named_weights *matrix, apq_error *error) {
  const apq_weights *w = matrix->weights;
  /* The text asks only whether there are scales and zero points. */
  const apq__weights_parts parts = {.n = w->n,
                                    .k = w->k,
                                    .bits = w->bits,
                                    .format = w->format,
                                    .affine = w->affine,
                                    .group = w->group,
                                    .scales = w->w_scale,
                                    .zeros = w->w_zero};
  e->name = matrix->name;
  e->weights = w;
  apq__file_tensors(&parts, w->w_scale != NULL, w->w_zero != NULL, e->tensor);
  int64_t bytes = 0;
  for (int i = 0; i < APQ__FILE_TENSORS; i++) bytes += e->tensor[i].bytes;
  e->padding = (APQ__FILE_ALIGNMENT - bytes % APQ__FILE_ALIGNMENT) % APQ__FILE_ALIGNMENT;
  memset(e->digest, '0', sizeof e->digest - 1); /* until it is known */
  return apq__file_text(&parts, e->text, error);
}

static void write_tensor(apq__json *json, const char *name, const apq__file_tensor *tensor,
                         int64_t *at) {
  char key[APQ__FILE_NAME_MAX + 32];
  snprintf(key, sizeof key, "%s%s", name, tensor->suffix);
  apq__json_begin_object(json, key);
  apq__json_string(json, "dtype", tensor->dtype);
  apq__json_begin_array(json, "shape");
  for (int i = 0; i < tensor->rank; i++) apq__json_int(json, NULL, tensor->shape[i]);
  apq__json_end_array(json);
  apq__json_begin_array(json, "data_offsets");
  apq__json_int(json, NULL, *at);
  *at += tensor->bytes;
  apq__json_int(json, NULL, *at);
  apq__json_end_array(json);
  apq__json_end_object(json);
}

static void write_notes(apq__json *json, const entry *entries, int count) {
  char key[APQ__FILE_NAME_MAX + 32];
  apq__json_begin_object(json, "__metadata__");
  apq__json_string(json, APQ__NOTE_FORMAT, APQ__FILE_FORMAT);
  apq__json_string(json, APQ__NOTE_VERSION, APQ__FILE_VERSION);
  for (int i = 0; i < count; i++) {
    snprintf(key, sizeof key, APQ__NOTE_MATRIX "%s", entries[i].name);
    apq__json_string(json, key, entries[i].text);
    snprintf(key, sizeof key, APQ__NOTE_DIGEST "%s", entries[i].name);
    apq__json_string(json, key, entries[i].digest);
  }
  apq__json_end_object(json);
}

/* Everything before the tensors, a multiple of the alignment long; as long for any digests. */
static apq_status write_header(const entry *entries, int count, apq__text *out, apq_error *error) {
  apq__json json = {{0}, 0, 0};
  int64_t at = 0;
  apq__json_begin_object(&json, NULL);
  write_notes(&json, entries, count);
  for (int i = 0; i < count; i++) {
    for (int t = 0; t < APQ__FILE_TENSORS; t++)
      if (entries[i].tensor[t].bytes)
        write_tensor(&json, entries[i].name, &entries[i].tensor[t], &at);
    const apq__file_tensor padding = {APQ__FILE_PADDING,  "U8", 1, {entries[i].padding},
                                      entries[i].padding, NULL};
    if (padding.bytes) write_tensor(&json, entries[i].name, &padding, &at);
  }
  apq__json_end_object(&json);
  if (json.text.failed) {
    apq__text_free(&json.text);
    return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for a header");
  }
  /* The writer's last newline goes; the format pads with spaces. */
  const size_t text = json.text.length - 1;
  const size_t whole = (APQ__SAFETENSORS_LENGTH_BYTES + text + APQ__FILE_ALIGNMENT - 1) /
                       APQ__FILE_ALIGNMENT * APQ__FILE_ALIGNMENT;
  const size_t length = whole - APQ__SAFETENSORS_LENGTH_BYTES;
  apq_status status = APQ_OK;
  if (length > APQ__SAFETENSORS_HEADER_MAX) {
    status =
        apq__fail(error, APQ_OUT_OF_RANGE, "weights", "count=%d: too many for one file", count);
  } else {
    char bytes[APQ__SAFETENSORS_LENGTH_BYTES];
    for (int i = 0; i < APQ__SAFETENSORS_LENGTH_BYTES; i++)
      bytes[i] = (char)((uint64_t)length >> (8 * i) & 0xff);
    apq__text_add_bytes(out, bytes, sizeof bytes);
    apq__text_add_bytes(out, json.text.data, text);
    apq__text_add(out, "%*s", (int)(length - text), "");
    if (out->failed)
      status = apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for a header");
  }
  apq__text_free(&json.text);
  return status;
}

/* ---- the file ---- */

static apq_status write_matrix(entry *e, apq__new_file *file, apq_error *error) {
  apq__weights_copy copy;
  apq_status status = apq__weights_copy_out(e->weights, &copy, error);
  if (status) return status;
  apq__file_tensors(&copy.parts, copy.scales != NULL, copy.zeros != NULL, e->tensor);
  status = apq__file_digest(e->name, e->text, e->tensor, e->digest, error);
  for (int i = 0; i < APQ__FILE_TENSORS && !status; i++)
    status = apq__new_file_write(file, e->tensor[i].data, (size_t)e->tensor[i].bytes, error);
  if (!status) status = apq__new_file_write(file, zeros, (size_t)e->padding, error);
  apq__weights_copy_free(&copy);
  return status;
}

/* The header goes first with digests unknown, and again over it when they are. */
static apq_status write_all(entry *entries, int count, apq__new_file *file, apq_error *error) {
  apq__text header = {0};
  apq_status status = write_header(entries, count, &header, error);
  if (!status) status = apq__new_file_write(file, header.data, header.length, error);
  for (int i = 0; i < count && !status; i++) status = write_matrix(&entries[i], file, error);
  apq__text_free(&header);
  header = (apq__text){0};
  if (!status) status = write_header(entries, count, &header, error);
  if (!status) status = apq__new_file_rewrite(file, header.data, header.length, error);
  apq__text_free(&header);
  return status;
}

apq_status apq_weights_save(const char *path, const apq_named_weights *matrices, int count,
                            apq_error *error) {
  apq__new_file file = {0};
  apq_status status = check_arguments(path, matrices, count, error);
  if (status) return status;
  entry *entries = apq__calloc((size_t)count, sizeof *entries);
  if (!entries)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for %d matrices", count);
  for (int i = 0; i < count && !status; i++) status = describe(&entries[i], &matrices[i], error);
  if (!status) status = apq__new_file_begin(&file, path, error);
  if (!status) {
    status = write_all(entries, count, &file, error);
    status = apq__new_file_end(&file, status, error);
  }
  apq__free(entries);
  return status;
}
