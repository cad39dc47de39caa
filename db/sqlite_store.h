/* The few words of SQLite that the database uses: open, run, query, transaction, with this
 * library's errors.  sqlite_store.c is the one file that includes sqlite3.h. */
#ifndef APQ_SQLITE_STORE_H
#define APQ_SQLITE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"

/* One connection.  Used by one thread at a time, and not across a fork. */
typedef struct apq__store apq__store;

typedef enum apq__store_mode {
  APQ__STORE_READ,      /* an existing file, locked while read */
  APQ__STORE_IMMUTABLE, /* an existing file that nothing writes: no locks, no journal */
  APQ__STORE_WRITE,     /* an existing file or a new one */
  APQ__STORE_MEMORY,    /* a new one in memory; the path only appears in messages */
} apq__store_mode;

/* IO, READ_ONLY, OUT_OF_MEMORY.  SQLite reads nothing of the file yet, so damage shows at the first
 * query. */
apq_status apq__store_open(const char *path, apq__store_mode mode, apq__store **out,
                           apq_error *error);
void apq__store_close(apq__store *store);

/* Copies a whole database over another one, such as one in memory. */
apq_status apq__store_copy(apq__store *from, apq__store *to, apq_error *error);

/* Whether the connection cannot write although it was opened for it. */
int apq__store_is_read_only(const apq__store *store);

/* One or more statements without results. */
apq_status apq__store_exec(apq__store *store, const char *sql, apq_error *error);

/* BEGIN IMMEDIATE ... COMMIT: waits for other writers, then BUSY.  `apq__store_end` commits when
 * `status` is OK, and otherwise, or when the commit fails, rolls back; it returns the first
 * failure. */
apq_status apq__store_begin(apq__store *store, apq_error *error);
apq_status apq__store_end(apq__store *store, apq_status status, apq_error *error);

/* A parameter of a statement; text and bytes are borrowed until the next call. */
typedef enum apq__value_kind {
  APQ__NULL,
  APQ__INTEGER,
  APQ__REAL,
  APQ__TEXT,
  APQ__BLOB
} apq__value_kind;
typedef struct apq__value {
  apq__value_kind kind;
  int64_t integer;
  double real;
  const void *data;
  size_t size;
} apq__value;
apq__value apq__value_null(void);
apq__value apq__value_integer(int64_t integer);
apq__value apq__value_real(double real);
apq__value apq__value_text(const char *text);
apq__value apq__value_blob(const void *data, size_t size);

/* A running statement.  `sql` must be a string that outlives the connection (a literal): statements
 * are kept by its address. */
typedef struct apq__rows {
  apq__store *store;
  void *statement;
  int slot; /* where it is kept, -1 when it is not */
} apq__rows;
apq_status apq__rows_open(apq__store *store, const char *sql, const apq__value *values, int count,
                          apq__rows *out, apq_error *error);
/* *more is 1 when a row is there, 0 after the last. */
apq_status apq__rows_next(apq__rows *rows, int *more, apq_error *error);
/* Accepts rows that were never opened ({0}) or are closed. */
void apq__rows_close(apq__rows *rows);

/* Column i of the current row, from 0.  Text is "" for NULL; valid until the next call on these
 * rows. */
int64_t apq__rows_integer(const apq__rows *rows, int column);
double apq__rows_real(const apq__rows *rows, int column);
const char *apq__rows_text(const apq__rows *rows, int column);
const void *apq__rows_blob(const apq__rows *rows, int column, size_t *size);

/* A statement without results, and one whose single integer is the result (`fallback` without a
 * row). */
apq_status apq__store_run(apq__store *store, const char *sql, const apq__value *values, int count,
                          apq_error *error);
apq_status apq__store_integer(apq__store *store, const char *sql, const apq__value *values,
                              int count, int64_t fallback, int64_t *out, apq_error *error);
/* Rows that the last statement changed. */
int apq__store_changes(const apq__store *store);

#endif
