#include "db_export.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "db_impl.h"
#include "db_text.h"
#include "host.h"
#include "status.h"

/* The lines so far, each where it starts in one text. */
typedef struct lines {
  apq__text text;
  size_t *start;
  size_t count, capacity;
  int failed;
} lines;

static void begin_line(lines *out, const char *kind) {
  if (out->count == out->capacity) {
    size_t capacity = out->capacity ? out->capacity * 2 : 64;
    size_t *start = apq__realloc(out->start, capacity * sizeof *start);
    if (!start) {
      out->failed = 1;
      return;
    }
    out->start = start;
    out->capacity = capacity;
  }
  out->start[out->count++] = out->text.length;
  apq__text_add(&out->text, "%s", kind);
}

/* Zero bytes part the lines until they are sorted. */
static int end_line(lines *out) {
  apq__text_add(&out->text, "%c", 0);
  return out->failed || out->text.failed;
}

static int add_measurement(const apq__winner *row, void *user) {
  begin_line(user, APQ__LINE_MEASUREMENT);
  apq__fields_write(apq__winner_fields, apq__winner_field_count, row, &((lines *)user)->text);
  return end_line(user);
}

static int add_failure(const apq__failure *row, void *user) {
  lines *out = user;
  begin_line(out, APQ__LINE_FAILURE);
  apq__fields_write(apq__failure_fields, apq__failure_field_count, row, &out->text);
  apq__text_add(&out->text, "\t");
  apq__escape(&out->text, row->log);
  return end_line(out);
}

static int add_tuned(const apq__tuned_row *row, void *user) {
  begin_line(user, APQ__LINE_TUNED);
  apq__fields_write(apq__tuned_fields, apq__tuned_field_count, row, &((lines *)user)->text);
  return end_line(user);
}

static apq_status add_artifacts(apq__db *db, lines *out, apq_error *error) {
  apq__rows rows = {0};
  int more = 0;
  apq_status status = apq__rows_open(
      db->store, "SELECT id, sha256, arch, compiler, image FROM artifact", NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    char sha256[65];
    size_t size = 0;
    const void *image = apq__rows_blob(&rows, 4, &size);
    apq__sha256(&(apq__piece){image, size}, 1, sha256);
    if (strcmp(sha256, apq__rows_text(&rows, 1)) != 0) {
      status = apq__fail(error, APQ_CORRUPT, "database", "'%s': object %s is damaged", db->path,
                         apq__rows_text(&rows, 0));
      break;
    }
    begin_line(out, APQ__LINE_ARTIFACT);
    const int order[] = {0, 2, 3};
    for (int i = 0; i < APQ__COUNT(order); i++) {
      apq__text_add(&out->text, "\t");
      apq__escape(&out->text, apq__rows_text(&rows, order[i]));
    }
    apq__text_add(&out->text, "\t");
    apq__base64_encode(&out->text, image, size);
    if (end_line(out)) break;
    status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  return status;
}

static apq_status collect(apq__db *db, int what, lines *out, apq_error *error) {
  apq_status status = what & APQ__EXPORT_WINNERS
                          ? apq__db_winners(db, NULL, NULL, add_measurement, out, error)
                          : apq__db_each_measurement(db, add_measurement, out, error);
  if (!status && !(what & APQ__EXPORT_WINNERS))
    status = apq__db_failures(db, add_failure, out, error);
  if (!status) status = apq__db_each_tuned(db, add_tuned, out, error);
  if (!status && what & APQ__EXPORT_ARTIFACTS) status = add_artifacts(db, out, error);
  return status;
}

static int compare_lines(const void *left, const void *right) {
  return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Header, sorted lines, checksum. */
static apq_status assemble(const lines *in, char **text, apq_error *error) {
  apq__text out = {0};
  char sha256[65];
  const char **sorted = apq__alloc(in->count * sizeof *sorted);
  if (!sorted || in->failed || in->text.failed) goto cleanup;
  for (size_t i = 0; i < in->count; i++) sorted[i] = in->text.data + in->start[i];
  qsort(sorted, in->count, sizeof *sorted, compare_lines);
  apq__text_add(&out, "%s\n", APQ__LINE_HEADER);
  for (size_t i = 0; i < in->count; i++) apq__text_add(&out, "%s\n", sorted[i]);
  if (out.failed) goto cleanup;
  apq__sha256(&(apq__piece){out.data, out.length}, 1, sha256);
  apq__text_add(&out, "%s\t%s\n", APQ__LINE_CHECKSUM, sha256);
  if (!out.failed) {
    *text = out.data;
    out = (apq__text){0};
  }

cleanup:
  apq__text_free(&out);
  apq__free(sorted);
  if (*text) return APQ_OK;
  return apq__fail(error, APQ_OUT_OF_MEMORY, "database", "no memory for the export");
}

apq_status apq__db_export(apq__db *db, int what, char **text, apq_error *error) {
  lines out = {0};
  *text = NULL;
  /* One transaction, so that all lines are of one moment. */
  apq_status status = apq__store_exec(db->store, "BEGIN", error);
  if (!status) status = apq__store_end(db->store, collect(db, what, &out, error), error);
  if (!status) status = assemble(&out, text, error);
  apq__text_free(&out.text);
  apq__free(out.start);
  return status;
}
