/* What the files of the database share. */
#ifndef APQ_DB_IMPL_H
#define APQ_DB_IMPL_H

#include "db.h"
#include "db_record.h"
#include "sqlite_store.h"

struct apq__db {
  apq__store *store;
  char *path;
  apq__db_mode mode;
};

/* How many elements an array has. */
#define APQ__COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* READ_ONLY when the database was opened for reading. */
apq_status apq__db_check_writable(const apq__db *db, apq_error *error);

/* The inserts below run inside a transaction of the caller's.  A row that is already there is left
 * as it is. */
apq_status apq__db_insert_measurement(apq__db *db, apq__winner *row, apq_error *error);
apq_status apq__db_insert_failure(apq__db *db, apq__failure *row, apq_error *error);
apq_status apq__db_insert_tuned(apq__db *db, const apq__tuned_row *row, apq_error *error);
apq_status apq__db_insert_artifact(apq__db *db, const char *id, const char *arch,
                                   const char *compiler, const void *image, size_t size,
                                   apq_error *error);

/* Derives again the kept winners that are listed as pending.  Inside a transaction too. */
apq_status apq__db_refresh_winners(apq__db *db, apq_error *error);

/* CORRUPT when a kept winner is damaged or kept under another name than its own. */
apq_status apq__db_check_kept(apq__db *db, apq_error *error);

/* Every measurement, failure or row of `tuned`, in no order, each checked against its digest:
 * CORRUPT names a damaged one. A non-zero return of the visitor stops. */
apq_status apq__db_each_measurement(apq__db *db, int (*visit)(const apq__winner *, void *),
                                    void *user, apq_error *error);
apq_status apq__db_each_tuned(apq__db *db, int (*visit)(const apq__tuned_row *, void *), void *user,
                              apq_error *error);
/* The winners as the view derives them, without the kept ones. */
apq_status apq__db_derive_winners(apq__db *db, int (*visit)(const apq__winner *, void *),
                                  void *user, apq_error *error);

#endif
