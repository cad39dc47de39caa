/* The schema, as steps from one version to the next. */
#ifndef APQ_DB_SCHEMA_H
#define APQ_DB_SCHEMA_H

#include "apq.h"
#include "sqlite_store.h"

enum {
  APQ__DB_APPLICATION_ID = 0x61707131, /* "apq1" */
  APQ__DB_VERSION = 2,
};

/* What a file is. */
typedef enum apq__db_kind {
  APQ__DB_EMPTY,   /* no tables yet */
  APQ__DB_FOREIGN, /* a database of another program */
  APQ__DB_OLDER,   /* of an earlier version */
  APQ__DB_CURRENT,
  APQ__DB_NEWER, /* of a version that this library does not know */
} apq__db_kind;

/* CORRUPT when it is no database at all, or so damaged that its header cannot be read. */
apq_status apq__db_identify(apq__store *store, apq__db_kind *kind, int *version, apq_error *error);

/* Applies the steps from version `from` (0: an empty file) up to `to`.  Inside a transaction of the
 * caller's. */
apq_status apq__db_migrate(apq__store *store, int from, int to, apq_error *error);

/* CORRUPT when a table, index, view or trigger of the current version is missing or altered; others
 * may have been added. */
apq_status apq__db_check_schema(apq__store *store, apq_error *error);

#endif
