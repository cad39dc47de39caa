#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "db_export.h"
#include "db_impl.h"
#include "db_text.h"
#include "host.h"
#include "status.h"

/* More than any kind of line has. */
enum { FIELDS_MAX = 32 };

static apq_status import_measurement(apq__db *db, char **fields, apq_error *error) {
  apq__winner row;
  apq_status status =
      apq__fields_parse(apq__winner_fields, apq__winner_field_count, fields, &row, error);
  return status ? status : apq__db_insert_measurement(db, &row, error);
}

static apq_status import_failure(apq__db *db, char **fields, apq_error *error) {
  apq__failure row;
  char *log = fields[apq__failure_field_count];
  apq_status status =
      apq__fields_parse(apq__failure_fields, apq__failure_field_count, fields, &row, error);
  if (!status && !apq__unescape(log))
    status = apq__fail(error, APQ_PARSE, "database", "field 'log' is malformed");
  row.log = log;
  return status ? status : apq__db_insert_failure(db, &row, error);
}

static apq_status import_tuned(apq__db *db, char **fields, apq_error *error) {
  apq__tuned_row row;
  apq_status status =
      apq__fields_parse(apq__tuned_fields, apq__tuned_field_count, fields, &row, error);
  return status ? status : apq__db_insert_tuned(db, &row, error);
}

static apq_status import_artifact(apq__db *db, char **fields, apq_error *error) {
  size_t size = 0;
  for (int i = 0; i < 3; i++)
    if (!apq__unescape(fields[i]))
      return apq__fail(error, APQ_PARSE, "database", "'%s' is malformed", fields[i]);
  if (!apq__base64_decode(fields[3], &size))
    return apq__fail(error, APQ_PARSE, "database", "the object is not base64");
  return apq__db_insert_artifact(db, fields[0], fields[1], fields[2], fields[3], size, error);
}

static const struct {
  const char *kind;
  const int *count; /* fields of the table, and `more` after them */
  int more;
  apq_status (*import)(apq__db *db, char **fields, apq_error *error);
} kinds[] = {
    {APQ__LINE_ARTIFACT, NULL, 4, import_artifact},
    {APQ__LINE_FAILURE, &apq__failure_field_count, 1, import_failure},
    {APQ__LINE_MEASUREMENT, &apq__winner_field_count, 0, import_measurement},
    {APQ__LINE_TUNED, &apq__tuned_field_count, 0, import_tuned},
};

/* Parts the line at its tabs; the number of parts, or FIELDS_MAX + 1 when there are more. */
static int split(char *line, char *parts[FIELDS_MAX]) {
  int count = 0;
  for (char *tab = line; tab; line = tab + 1) {
    if (count == FIELDS_MAX) return FIELDS_MAX + 1;
    parts[count++] = line;
    tab = strchr(line, '\t');
    if (!tab) break;
    *tab = 0;
  }
  return count;
}

static apq_status import_line(apq__db *db, char *line, apq_error *error) {
  char *parts[FIELDS_MAX];
  int count = split(line, parts);
  for (int i = 0; i < APQ__COUNT(kinds); i++) {
    if (strcmp(parts[0], kinds[i].kind) != 0) continue;
    int expected = (kinds[i].count ? *kinds[i].count : 0) + kinds[i].more;
    if (count - 1 != expected)
      return apq__fail(error, APQ_PARSE, "database", "%s must have %d fields", parts[0], expected);
    return kinds[i].import(db, parts + 1, error);
  }
  return apq__fail(error, APQ_PARSE, "database", "unknown kind of line '%.40s'", parts[0]);
}

/* The start of the last line, which must be the checksum of all before it. */
static apq_status check_frame(const char *text, const char **last, int *line, apq_error *error) {
  size_t length = strlen(text), header = strlen(APQ__LINE_HEADER);
  char expected[128], sha256[65];
  *line = 1;
  if (strncmp(text, APQ__LINE_HEADER "\n", header + 1) != 0)
    return apq__fail(error, APQ_PARSE, "database", "the first line must be '%s'", APQ__LINE_HEADER);
  const char *at = text + length - (text[length - 1] == '\n');
  while (at > text && at[-1] != '\n') at--;
  for (const char *c = text; c < at; c++) *line += *c == '\n';
  apq__sha256(&(apq__piece){text, (size_t)(at - text)}, 1, sha256);
  int size = snprintf(expected, sizeof expected, "%s\t%s", APQ__LINE_CHECKSUM, sha256);
  if (strncmp(at, APQ__LINE_CHECKSUM "\t", strlen(APQ__LINE_CHECKSUM) + 1) != 0)
    return apq__fail(error, APQ_PARSE, "database", "the last line must be the checksum");
  if (strncmp(at, expected, (size_t)size) != 0 || (at[size] && strcmp(at + size, "\n") != 0))
    return apq__fail(error, APQ_PARSE, "database", "the checksum is not that of the lines above");
  *last = at;
  return APQ_OK;
}

static apq_status import_lines(apq__db *db, char *text, const char *last, int *line,
                               apq_error *error) {
  apq_status status = APQ_OK;
  char *at = strchr(text, '\n') + 1;
  for (*line = 2; at != last && !status; ++*line) {
    char *end = strchr(at, '\n');
    *end = 0;
    status = import_line(db, at, error);
    if (status) break;
    at = end + 1;
  }
  return status;
}

apq_status apq__db_import(apq__db *db, const char *text, const char *name, apq_error *error) {
  apq_status status = apq__db_check_writable(db, error);
  if (status) return status;
  int line = 0;
  const char *last = NULL;
  char *copy = apq__strdup(text);
  if (!copy)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "database", "no memory to import '%s'", name);
  status = check_frame(copy, &last, &line, error);
  if (status) goto cleanup;
  status = apq__store_begin(db->store, error);
  if (status) {
    line = 0;
    goto cleanup;
  }
  status = import_lines(db, copy, last, &line, error);
  /* What the schema refuses is the text's fault here. */
  if (status == APQ_INVALID_ARGUMENT) {
    status = APQ_PARSE;
    if (error) error->status = status;
  }
  if (!status) {
    line = 0;
    status = apq__db_refresh_winners(db, error);
  }
  status = apq__store_end(db->store, status, error);

cleanup:
  if (status && line) apq__error_prefix(error, "%s:%d", name, line);
  apq__free(copy);
  return status;
}
