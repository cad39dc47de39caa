#include "sqlite_store.h"

#include <sqlite3.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

enum {
  KEPT_MAX = 32,
  /* Writers hold the file for milliseconds; a wait this long means that one hangs. */
  BUSY_MILLISECONDS = 10000,
};

struct apq__store {
  sqlite3 *connection;
  char *path;
  struct {
    const char *sql;
    sqlite3_stmt *statement;
    int busy;
  } kept[KEPT_MAX];
  int kept_count;
};

/* SQLITE_ERROR comes from statements that do not fit the schema.  The statements are the library's
 * own, so it is the schema that is damaged. */
static const struct {
  int code;
  apq_status status;
} status_of[] = {
    {SQLITE_BUSY, APQ_BUSY},
    {SQLITE_LOCKED, APQ_BUSY},
    {SQLITE_NOMEM, APQ_OUT_OF_MEMORY},
    {SQLITE_READONLY, APQ_READ_ONLY},
    {SQLITE_PERM, APQ_READ_ONLY},
    {SQLITE_CORRUPT, APQ_CORRUPT},
    {SQLITE_NOTADB, APQ_CORRUPT},
    {SQLITE_FORMAT, APQ_CORRUPT},
    {SQLITE_ERROR, APQ_CORRUPT},
    {SQLITE_MISMATCH, APQ_CORRUPT},
    {SQLITE_SCHEMA, APQ_CORRUPT},
    {SQLITE_CONSTRAINT, APQ_INVALID_ARGUMENT},
    {SQLITE_TOOBIG, APQ_OUT_OF_RANGE},
    {SQLITE_FULL, APQ_IO},
    {SQLITE_IOERR, APQ_IO},
    {SQLITE_CANTOPEN, APQ_IO},
    {SQLITE_PROTOCOL, APQ_BUSY},
    {SQLITE_AUTH, APQ_CORRUPT},
};

static apq_status fail(const apq__store *store, int code, apq_error *error) {
  apq_status status = APQ_INTERNAL;
  for (size_t i = 0; i < sizeof status_of / sizeof status_of[0]; i++)
    if (status_of[i].code == (code & 0xff)) status = status_of[i].status;
  /* A journal of a crashed writer that must be rolled back, which a reader may not do. */
  if (code == SQLITE_READONLY_ROLLBACK || code == SQLITE_READONLY_RECOVERY) status = APQ_BUSY;
  const char *text = store->connection ? sqlite3_errmsg(store->connection) : sqlite3_errstr(code);
  return apq__fail(error, status, "database", "'%s': %s", store->path, text);
}

/* "file:<path>?<query>" with everything but plain characters as %XX, so that no name is special to
 * SQLite. */
static char *make_uri(const char *path, const char *query) {
  apq__text uri = {0};
  apq__text_add(&uri, "file:");
  if (path[0] != '/') apq__text_add(&uri, "./");
  for (const char *at = path; *at; at++) {
    int plain = strchr("/._-~", *at) || (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') ||
                (*at >= 'A' && *at <= 'Z');
    apq__text_add(&uri, plain ? "%c" : "%%%02X", (unsigned char)*at);
  }
  apq__text_add(&uri, "?%s", query);
  if (uri.failed) apq__text_free(&uri);
  return uri.data;
}

/* The file may come from anyone: its schema may not call what has side effects, and cells are
 * checked as they are read. */
static int harden(sqlite3 *connection) {
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, BUSY_MILLISECONDS);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
  return sqlite3_exec(connection, "PRAGMA cell_size_check = ON", NULL, NULL, NULL);
}

apq_status apq__store_open(const char *path, apq__store_mode mode, apq__store **out,
                           apq_error *error) {
  static const char *const queries[] = {"mode=ro", "mode=ro&immutable=1", "mode=rwc",
                                        "mode=memory"};
  static const int flags[] = {SQLITE_OPEN_READONLY, SQLITE_OPEN_READONLY,
                              SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                              SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE};
  apq_status status = APQ_OK;
  *out = NULL;
  apq__store *store = apq__calloc(1, sizeof *store);
  char *uri = make_uri(path, queries[mode]);
  if (store) store->path = apq__strdup(path);
  if (!store || !uri || !store->path) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "database", "'%s': out of memory", path);
    goto cleanup;
  }
  int code = sqlite3_open_v2(uri, &store->connection,
                             flags[mode] | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
  if (!code) code = harden(store->connection);
  if (code) {
    status = fail(store, code, error);
    goto cleanup;
  }
  *out = store;
  store = NULL;

cleanup:
  apq__free(uri);
  apq__store_close(store);
  return status;
}

void apq__store_close(apq__store *store) {
  if (!store) return;
  for (int i = 0; i < store->kept_count; i++) sqlite3_finalize(store->kept[i].statement);
  sqlite3_close(store->connection);
  apq__free(store->path);
  apq__free(store);
}

apq_status apq__store_copy(apq__store *from, apq__store *to, apq_error *error) {
  sqlite3_backup *backup = sqlite3_backup_init(to->connection, "main", from->connection, "main");
  if (!backup) return fail(to, sqlite3_extended_errcode(to->connection), error);
  int code = sqlite3_backup_step(backup, -1);
  sqlite3_backup_finish(backup);
  return code == SQLITE_DONE ? APQ_OK : fail(from, code, error);
}

int apq__store_is_read_only(const apq__store *store) {
  return sqlite3_db_readonly(store->connection, "main") == 1;
}

apq_status apq__store_exec(apq__store *store, const char *sql, apq_error *error) {
  int code = sqlite3_exec(store->connection, sql, NULL, NULL, NULL);
  return code ? fail(store, code, error) : APQ_OK;
}

apq_status apq__store_begin(apq__store *store, apq_error *error) {
  return apq__store_exec(store, "BEGIN IMMEDIATE", error);
}

apq_status apq__store_end(apq__store *store, apq_status status, apq_error *error) {
  if (!status) status = apq__store_exec(store, "COMMIT", error);
  /* Some failures roll back by themselves; then there is no transaction left to end. */
  if (status && !sqlite3_get_autocommit(store->connection))
    sqlite3_exec(store->connection, "ROLLBACK", NULL, NULL, NULL);
  return status;
}

apq__value apq__value_null(void) {
  return (apq__value){.kind = APQ__NULL};
}
apq__value apq__value_integer(int64_t integer) {
  return (apq__value){.kind = APQ__INTEGER, .integer = integer};
}
apq__value apq__value_real(double real) {
  return (apq__value){.kind = APQ__REAL, .real = real};
}
apq__value apq__value_text(const char *text) {
  return (apq__value){.kind = APQ__TEXT, .data = text, .size = strlen(text)};
}
apq__value apq__value_blob(const void *data, size_t size) {
  return (apq__value){.kind = APQ__BLOB, .data = data, .size = size};
}

static int bind(sqlite3_stmt *statement, int i, const apq__value *value) {
  switch (value->kind) {
  case APQ__INTEGER:
    return sqlite3_bind_int64(statement, i, value->integer);
  case APQ__REAL:
    return sqlite3_bind_double(statement, i, value->real);
  case APQ__TEXT:
    return sqlite3_bind_text64(statement, i, value->data, value->size, SQLITE_STATIC, SQLITE_UTF8);
  case APQ__BLOB:
    if (!value->size) return sqlite3_bind_zeroblob(statement, i, 0);
    return sqlite3_bind_blob64(statement, i, value->data, value->size, SQLITE_STATIC);
  default:
    return sqlite3_bind_null(statement, i);
  }
}

/* A kept statement that is not running, or a new one, kept where there is room. */
static int prepare(apq__store *store, const char *sql, apq__rows *out) {
  for (int i = 0; i < store->kept_count; i++)
    if (store->kept[i].sql == sql && !store->kept[i].busy) {
      store->kept[i].busy = 1;
      *out = (apq__rows){store, store->kept[i].statement, i};
      return SQLITE_OK;
    }
  sqlite3_stmt *statement = NULL;
  int code = sqlite3_prepare_v2(store->connection, sql, -1, &statement, NULL);
  if (code) return code;
  *out = (apq__rows){store, statement, -1};
  if (store->kept_count == KEPT_MAX) return SQLITE_OK;
  out->slot = store->kept_count++;
  store->kept[out->slot].sql = sql;
  store->kept[out->slot].statement = statement;
  store->kept[out->slot].busy = 1;
  return SQLITE_OK;
}

apq_status apq__rows_open(apq__store *store, const char *sql, const apq__value *values, int count,
                          apq__rows *out, apq_error *error) {
  *out = (apq__rows){0};
  int code = prepare(store, sql, out);
  for (int i = 0; i < count && !code; i++) code = bind(out->statement, i + 1, &values[i]);
  if (!code) return APQ_OK;
  apq_status status = fail(store, code, error);
  apq__rows_close(out);
  return status;
}

apq_status apq__rows_next(apq__rows *rows, int *more, apq_error *error) {
  int code = sqlite3_step(rows->statement);
  *more = code == SQLITE_ROW;
  return code == SQLITE_ROW || code == SQLITE_DONE ? APQ_OK : fail(rows->store, code, error);
}

void apq__rows_close(apq__rows *rows) {
  if (rows->statement && rows->slot >= 0) {
    sqlite3_reset(rows->statement);
    sqlite3_clear_bindings(rows->statement);
    rows->store->kept[rows->slot].busy = 0;
  } else {
    sqlite3_finalize(rows->statement);
  }
  *rows = (apq__rows){0};
}

int64_t apq__rows_integer(const apq__rows *rows, int column) {
  return sqlite3_column_int64(rows->statement, column);
}

double apq__rows_real(const apq__rows *rows, int column) {
  return sqlite3_column_double(rows->statement, column);
}

const char *apq__rows_text(const apq__rows *rows, int column) {
  const unsigned char *text = sqlite3_column_text(rows->statement, column);
  return text ? (const char *)text : "";
}

const void *apq__rows_blob(const apq__rows *rows, int column, size_t *size) {
  const void *data = sqlite3_column_blob(rows->statement, column);
  *size = (size_t)sqlite3_column_bytes(rows->statement, column);
  return data ? data : "";
}

apq_status apq__store_run(apq__store *store, const char *sql, const apq__value *values, int count,
                          apq_error *error) {
  apq__rows rows = {0};
  int more = 0;
  apq_status status = apq__rows_open(store, sql, values, count, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  apq__rows_close(&rows);
  return status;
}

apq_status apq__store_integer(apq__store *store, const char *sql, const apq__value *values,
                              int count, int64_t fallback, int64_t *out, apq_error *error) {
  apq__rows rows = {0};
  int more = 0;
  *out = fallback;
  apq_status status = apq__rows_open(store, sql, values, count, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  if (!status && more) *out = apq__rows_integer(&rows, 0);
  apq__rows_close(&rows);
  return status;
}

int apq__store_changes(const apq__store *store) {
  return sqlite3_changes(store->connection);
}
