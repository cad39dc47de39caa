#include "safetensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "sqlite_store.h"
#include "status.h"

/* The header is untrusted text.  SQLite's JSON parser reads it: the library holds SQLite anyway,
 * the parser is strict, bounded in depth, and fuzzed by its makers. */

apq_status apq__safetensors_corrupt(const apq__safetensors *file, apq_error *error,
                                    const char *format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return apq__fail(error, APQ_CORRUPT, "weights", "'%s': %s", file->path, text);
}

static apq_status no_memory(const apq__safetensors *file, apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for the header of '%s'",
                   file->path);
}

/* ---- the header's text ---- */

/* A copy of the header, terminated. */
static apq_status take_header(apq__safetensors *file, char **header, apq_error *error) {
  const apq__file_map *map = &file->map;
  uint64_t length = 0;
  if (map->size < APQ__SAFETENSORS_LENGTH_BYTES)
    return apq__fail(error, APQ_PARSE, "weights",
                     "'%s': %zu bytes are too few for a safetensors file", file->path, map->size);
  for (int i = 0; i < APQ__SAFETENSORS_LENGTH_BYTES; i++)
    length |= (uint64_t)map->data[i] << (8 * i);
  const size_t rest = map->size - APQ__SAFETENSORS_LENGTH_BYTES;
  const char *text = (const char *)map->data + APQ__SAFETENSORS_LENGTH_BYTES;
  if (rest && text[0] != '{')
    return apq__fail(error, APQ_PARSE, "weights", "'%s': not a safetensors file", file->path);
  if (length > APQ__SAFETENSORS_HEADER_MAX)
    return apq__safetensors_corrupt(file, error, "a header of %llu bytes is above the limit of %d",
                                    (unsigned long long)length, (int)APQ__SAFETENSORS_HEADER_MAX);
  if (length > rest)
    return apq__safetensors_corrupt(file, error,
                                    "cut short: a header of %llu bytes, and %zu are there",
                                    (unsigned long long)length, rest);
  if (memchr(text, 0, (size_t)length))
    return apq__safetensors_corrupt(file, error, "the header is not JSON: it holds a zero byte");
  *header = apq__strndup(text, (size_t)length);
  if (!*header) return no_memory(file, error);
  file->data = map->data + APQ__SAFETENSORS_LENGTH_BYTES + length;
  file->data_bytes = (int64_t)(rest - (size_t)length);
  return APQ_OK;
}

/* ---- its structure ---- */

/* What stands in the row of a JSON value. */
typedef struct node {
  int64_t id, parent;
  const char *key, *type;
  int is_integer; /* one that fits int64 */
  int64_t integer;
  const char *text;
} node;

enum { FIELD_NONE = 0, FIELD_DTYPE = 1, FIELD_SHAPE = 2, FIELD_OFFSETS = 4, FIELDS_ALL = 7 };

/* Values come in the order of the text, each after the one it is in. */
typedef struct reading {
  apq__safetensors *file;
  int tensor_capacity, note_capacity;
  int64_t root, section, field; /* ids of the object, entry and array being read; -1: none */
  int in_notes, has_notes;
  int seen;     /* fields of the tensor being read */
  int field_is; /* the array being read */
  int offsets;  /* of them, how many */
} reading;

static int is_type(const node *at, const char *type) {
  return strcmp(at->type, type) == 0;
}

/* Room for one more element. */
static int grow(void **array, int count, int *capacity, size_t size) {
  if (count < *capacity) return 1;
  const int wanted = *capacity ? 2 * *capacity : 64;
  void *bigger = apq__realloc(*array, (size_t)wanted * size);
  if (!bigger) return 0;
  *array = bigger;
  *capacity = wanted;
  return 1;
}

static apq_status end_entry(reading *r, apq_error *error) {
  apq__safetensors *file = r->file;
  if (r->section < 0 || r->in_notes) return APQ_OK;
  const apq__tensor *tensor = &file->tensor[file->tensor_count - 1];
  if (r->seen == FIELDS_ALL && r->offsets == 2) return APQ_OK;
  return apq__safetensors_corrupt(
      file, error, "tensor '%s': needs dtype, shape and two data_offsets", tensor->name);
}

static apq_status begin_entry(reading *r, const node *at, apq_error *error) {
  apq__safetensors *file = r->file;
  apq_status status = end_entry(r, error);
  if (status) return status;
  if (!is_type(at, "object"))
    return apq__safetensors_corrupt(file, error, "'%s' in the header is not an object", at->key);
  r->section = at->id;
  r->field = -1;
  r->seen = r->offsets = 0;
  r->in_notes = strcmp(at->key, "__metadata__") == 0;
  if (r->in_notes && r->has_notes)
    return apq__safetensors_corrupt(file, error, "two entries '__metadata__'");
  r->has_notes |= r->in_notes;
  if (r->in_notes) return APQ_OK;
  void *array = file->tensor;
  if (!grow(&array, file->tensor_count, &r->tensor_capacity, sizeof *file->tensor))
    return no_memory(file, error);
  file->tensor = array;
  file->tensor[file->tensor_count] = (apq__tensor){.name = apq__strdup(at->key)};
  return file->tensor[file->tensor_count++].name ? APQ_OK : no_memory(file, error);
}

static apq_status take_note(reading *r, const node *at, apq_error *error) {
  apq__safetensors *file = r->file;
  if (!is_type(at, "text"))
    return apq__safetensors_corrupt(file, error, "metadata '%s' is not a string", at->key);
  void *array = file->note;
  if (!grow(&array, file->note_count, &r->note_capacity, sizeof *file->note))
    return no_memory(file, error);
  file->note = array;
  apq__note *note = &file->note[file->note_count++];
  *note = (apq__note){apq__strdup(at->key), apq__strdup(at->text)};
  return note->key && note->value ? APQ_OK : no_memory(file, error);
}

static apq_status begin_field(reading *r, const node *at, apq_error *error) {
  static const struct {
    const char *key, *type;
    int field;
  } fields[] = {{"dtype", "text", FIELD_DTYPE},
                {"shape", "array", FIELD_SHAPE},
                {"data_offsets", "array", FIELD_OFFSETS}};
  apq__safetensors *file = r->file;
  apq__tensor *tensor = &file->tensor[file->tensor_count - 1];
  size_t i = 0;
  while (i < 3 && strcmp(at->key, fields[i].key) != 0) i++;
  if (i == 3 || !is_type(at, fields[i].type) || (r->seen & fields[i].field))
    return apq__safetensors_corrupt(file, error, "tensor '%s': '%s' is %s", tensor->name, at->key,
                                    i == 3                         ? "unknown"
                                    : !is_type(at, fields[i].type) ? "of the wrong type"
                                                                   : "given twice");
  r->seen |= fields[i].field;
  r->field_is = fields[i].field;
  r->field = at->id;
  if (r->field_is != FIELD_DTYPE) return APQ_OK;
  tensor->dtype = apq__strdup(at->text);
  return tensor->dtype ? APQ_OK : no_memory(file, error);
}

static apq_status take_number(reading *r, const node *at, apq_error *error) {
  apq__safetensors *file = r->file;
  apq__tensor *tensor = &file->tensor[file->tensor_count - 1];
  const int is_shape = r->field_is == FIELD_SHAPE;
  if (!is_type(at, "integer") || !at->is_integer || at->integer < 0)
    return apq__safetensors_corrupt(file, error, "tensor '%s': %s holds what is no size",
                                    tensor->name, is_shape ? "shape" : "data_offsets");
  if (is_shape ? tensor->rank == APQ__TENSOR_RANK_MAX : r->offsets == 2)
    return apq__safetensors_corrupt(file, error, "tensor '%s': too many numbers in %s",
                                    tensor->name, is_shape ? "shape" : "data_offsets");
  if (is_shape)
    tensor->shape[tensor->rank++] = at->integer;
  else if (r->offsets++ == 0)
    tensor->begin = at->integer;
  else
    tensor->end = at->integer;
  return APQ_OK;
}

static apq_status take_node(reading *r, const node *at, apq_error *error) {
  if (r->root < 0) {
    r->root = at->id;
    return APQ_OK; /* an object, since the text begins with a brace */
  }
  if (at->parent == r->root) return begin_entry(r, at, error);
  if (at->parent == r->section && r->in_notes) return take_note(r, at, error);
  if (at->parent == r->section) return begin_field(r, at, error);
  if (at->parent == r->field && r->field >= 0 && r->field_is != FIELD_DTYPE)
    return take_number(r, at, error);
  return apq__safetensors_corrupt(r->file, error, "'%s' in the header is nested too deep", at->key);
}

static apq_status read_nodes(apq__safetensors *file, apq__store *store, const char *header,
                             apq_error *error) {
  const apq__value text = apq__value_text(header);
  reading r = {.file = file, .root = -1, .section = -1, .field = -1};
  apq__rows rows = {0};
  int64_t is_valid = 0;
  int more = 0;
  apq_status status =
      apq__store_integer(store, "SELECT json_valid(?1)", &text, 1, 0, &is_valid, error);
  if (!status && !is_valid)
    status = apq__safetensors_corrupt(file, error, "the header is not JSON");
  if (!status)
    status = apq__rows_open(store,
                            "SELECT id, parent, key, type, typeof(atom) = 'integer', atom, atom "
                            "FROM json_tree(?1)",
                            &text, 1, &rows, error);
  while (!status && !(status = apq__rows_next(&rows, &more, error)) && more) {
    /* Numbers first: reading a column as text converts it. */
    node at = {.id = apq__rows_integer(&rows, 0),
               .parent = apq__rows_integer(&rows, 1),
               .is_integer = (int)apq__rows_integer(&rows, 4),
               .integer = apq__rows_integer(&rows, 5)};
    at.key = apq__rows_text(&rows, 2);
    at.type = apq__rows_text(&rows, 3);
    at.text = apq__rows_text(&rows, 6);
    status = take_node(&r, &at, error);
  }
  if (!status) status = end_entry(&r, error);
  apq__rows_close(&rows);
  return status;
}

static apq_status read_header(apq__safetensors *file, apq_error *error) {
  char *header = NULL;
  apq__store *store = NULL;
  apq_status status = take_header(file, &header, error);
  if (!status) status = apq__store_open(file->path, APQ__STORE_MEMORY, &store, error);
  if (!status) status = read_nodes(file, store, header, error);
  apq__store_close(store);
  apq__free(header);
  return status;
}

/* ---- what it says ---- */

static int64_t dtype_size(const char *name) {
  static const struct {
    const char *name;
    int size;
  } types[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
               {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
               {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcmp(types[i].name, name) == 0) return types[i].size;
  return 0;
}

static apq_status check_tensor(const apq__safetensors *file, const apq__tensor *tensor,
                               apq_error *error) {
  int64_t bytes = dtype_size(tensor->dtype);
  if (!bytes)
    return apq__safetensors_corrupt(file, error, "tensor '%s': unknown dtype '%s'", tensor->name,
                                    tensor->dtype);
  if (tensor->begin > tensor->end || tensor->end > file->data_bytes)
    return apq__safetensors_corrupt(
        file, error, "tensor '%s': bytes %lld to %lld, and %lld are there", tensor->name,
        (long long)tensor->begin, (long long)tensor->end, (long long)file->data_bytes);
  int overflows = 0;
  for (int i = 0; i < tensor->rank; i++)
    overflows |= __builtin_mul_overflow(bytes, tensor->shape[i], &bytes);
  if (overflows || bytes != tensor->end - tensor->begin)
    return apq__safetensors_corrupt(file, error,
                                    "tensor '%s': its shape does not take the %lld bytes it has",
                                    tensor->name, (long long)(tensor->end - tensor->begin));
  return APQ_OK;
}

static int compare_places(const void *left, const void *right) {
  const apq__tensor *a = left, *b = right;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  return (a->end > b->end) - (a->end < b->end);
}

static int compare_names(const void *left, const void *right) {
  const apq__tensor *a = left, *b = right;
  return strcmp(a->name, b->name);
}

static int compare_keys(const void *left, const void *right) {
  const apq__note *a = left, *b = right;
  return strcmp(a->key, b->key);
}

static apq_status check_places(apq__safetensors *file, apq_error *error) {
  int64_t end = 0;
  if (file->tensor_count)
    qsort(file->tensor, (size_t)file->tensor_count, sizeof *file->tensor, compare_places);
  for (int i = 0; i < file->tensor_count; i++) {
    const apq__tensor *tensor = &file->tensor[i];
    if (tensor->begin != end)
      return apq__safetensors_corrupt(file, error, "tensor '%s': %s", tensor->name,
                                      tensor->begin < end ? "lies over another"
                                                          : "a gap lies before it");
    end = tensor->end;
  }
  if (end != file->data_bytes)
    return apq__safetensors_corrupt(file, error, "%lld bytes belong to no tensor",
                                    (long long)(file->data_bytes - end));
  return APQ_OK;
}

static apq_status check_names(apq__safetensors *file, apq_error *error) {
  if (file->tensor_count)
    qsort(file->tensor, (size_t)file->tensor_count, sizeof *file->tensor, compare_names);
  for (int i = 1; i < file->tensor_count; i++)
    if (strcmp(file->tensor[i - 1].name, file->tensor[i].name) == 0)
      return apq__safetensors_corrupt(file, error, "two tensors '%s'", file->tensor[i].name);
  if (!file->note_count) return APQ_OK;
  file->note_by_key = apq__calloc((size_t)file->note_count, sizeof *file->note_by_key);
  if (!file->note_by_key) return no_memory(file, error);
  memcpy(file->note_by_key, file->note, (size_t)file->note_count * sizeof *file->note);
  qsort(file->note_by_key, (size_t)file->note_count, sizeof *file->note, compare_keys);
  for (int i = 1; i < file->note_count; i++) {
    const apq__note *note = &file->note_by_key[i];
    if (strcmp(note[-1].key, note->key) == 0)
      return apq__safetensors_corrupt(file, error, "metadata '%s' is given twice", note->key);
  }
  return APQ_OK;
}

/* ---- open and close ---- */

apq_status apq__safetensors_open(const char *path, apq__safetensors *out, apq_error *error) {
  *out = (apq__safetensors){.path = apq__strdup(path)};
  if (!out->path) return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory for a path");
  apq_status status = apq__file_map_open(path, &out->map, error);
  if (!status) status = read_header(out, error);
  for (int i = 0; i < out->tensor_count && !status; i++)
    status = check_tensor(out, &out->tensor[i], error);
  if (!status) status = check_places(out, error);
  if (!status) status = check_names(out, error);
  if (status) apq__safetensors_close(out);
  return status;
}

void apq__safetensors_close(apq__safetensors *file) {
  for (int i = 0; i < file->tensor_count; i++) {
    apq__free(file->tensor[i].name);
    apq__free(file->tensor[i].dtype);
  }
  for (int i = 0; i < file->note_count; i++) {
    apq__free(file->note[i].key);
    apq__free(file->note[i].value);
  }
  apq__free(file->tensor);
  apq__free(file->note);
  apq__free(file->note_by_key);
  apq__free(file->path);
  apq__file_map_close(&file->map);
  *file = (apq__safetensors){0};
}

const apq__tensor *apq__safetensors_find(const apq__safetensors *file, const char *name) {
  const apq__tensor wanted = {.name = (char *)(uintptr_t)name};
  if (!file->tensor_count) return NULL;
  return bsearch(&wanted, file->tensor, (size_t)file->tensor_count, sizeof *file->tensor,
                 compare_names);
}

const char *apq__safetensors_note(const apq__safetensors *file, const char *key) {
  const apq__note wanted = {.key = (char *)(uintptr_t)key};
  if (!file->note_count) return NULL;
  const apq__note *found = bsearch(&wanted, file->note_by_key, (size_t)file->note_count,
                                   sizeof *file->note, compare_keys);
  return found ? found->value : NULL;
}
