#include "db_impl.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "host.h"
#include "status.h"

/* ---- rows of columns ---- */

/* Reads columns 0 .. count-1 into the struct; 0 when one does not fit its member. */
static int read_fields(const apq__rows *rows, const apq__field *fields, int count, void *row) {
  for (int i = 0; i < count; i++) {
    char *member = (char *)row + fields[i].offset;
    const char *text = NULL;
    size_t length = 0;
    int64_t integer = 0;
    double real = 0;
    switch (fields[i].kind) {
    case APQ__FIELD_TEXT:
      text = apq__rows_text(rows, i);
      length = strlen(text);
      if (length >= fields[i].size) return 0;
      memcpy(member, text, length + 1);
      break;
    case APQ__FIELD_CONFIG:
      text = apq__rows_text(rows, i);
      if (!apq__canonical_config(text, strlen(text), (apq__config *)(void *)member)) return 0;
      break;
    case APQ__FIELD_PROBLEM:
      text = apq__rows_text(rows, i);
      if (!apq__canonical_problem(text, strlen(text), (apq__problem *)(void *)member)) return 0;
      break;
    case APQ__FIELD_REAL:
      real = apq__rows_real(rows, i);
      memcpy(member, &real, sizeof real);
      break;
    default:
      integer = apq__rows_integer(rows, i);
      if (fields[i].size == 4 && (integer < INT32_MIN || integer > UINT32_MAX)) return 0;
      memcpy(member, &integer, fields[i].size);
      break;
    }
  }
  return 1;
}

static apq_status fail_damaged(const apq__db *db, const char *what, apq_error *error) {
  return apq__fail(error, APQ_CORRUPT, "database", "'%s': a %s is damaged", db->path, what);
}

/* Whether column `column` holds the digest of the packed row and the log. */
static int has_digest(const apq__rows *rows, int column, const apq__field *fields, int count,
                      const void *row, const char *log) {
  apq__record record;
  unsigned char digest[APQ__DIGEST_SIZE];
  size_t size = 0;
  apq__record_pack(fields, count, row, &record);
  apq__record_digest(&record, log, digest);
  const void *stored = apq__rows_blob(rows, column, &size);
  return size == sizeof digest && memcmp(stored, digest, size) == 0;
}

/* Runs a query each row of which `read` turns into a winner; `what` names a row in the error. */
static apq_status visit_rows(apq__db *db, const char *sql, const apq__value *values, int count,
                             int (*read)(const apq__rows *, apq__winner *), const char *what,
                             int (*visit)(const apq__winner *, void *), void *user,
                             apq_error *error) {
  apq__rows rows = {0};
  apq__winner row;
  int more = 0;
  apq_status status = apq__rows_open(db->store, sql, values, count, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    if (!read(&rows, &row))
      status = fail_damaged(db, what, error);
    else if (visit(&row, user))
      break;
    else
      status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  return status;
}

static int read_measurement(const apq__rows *rows, apq__winner *row) {
  return read_fields(rows, apq__winner_fields, apq__winner_field_count, row) &&
         has_digest(rows, apq__winner_field_count, apq__winner_fields, apq__winner_field_count, row,
                    NULL);
}

/* Runs a query whose columns are those of the view `winner`. */
static apq_status visit_measurements(apq__db *db, const char *sql, const apq__value *values,
                                     int count, int (*visit)(const apq__winner *, void *),
                                     void *user, apq_error *error) {
  return visit_rows(db, sql, values, count, read_measurement, "measurement", visit, user, error);
}

#define MEASUREMENTS                                                                               \
  "SELECT e.gpu, e.arch, e.driver, e.compiler, e.sm_count, e.emulated, p.key, m.objective, v.key," \
  " v.hash, m.run, m.modelled, m.samples, m.min, m.p10, m.p50, m.p90, m.max, m.incumbent_ratio,"   \
  " m.sm_mhz, m.temperature_c, m.throttle_reasons, m.unix_time, m.artifact, m.digest "             \
  "FROM measurement m LEFT JOIN environment e ON e.id = m.environment"                             \
  " LEFT JOIN problem p ON p.id = m.problem LEFT JOIN variant v ON v.id = m.variant "

apq_status apq__db_measurements(apq__db *db, const char *gpu, const apq__problem *problem,
                                int (*visit)(const apq__winner *, void *), void *user,
                                apq_error *error) {
  char key[APQ__KEY_MAX];
  const apq__value values[] = {apq__value_text(apq__problem_key(problem, key)),
                               gpu ? apq__value_text(gpu) : apq__value_null()};
  return visit_measurements(db,
                            MEASUREMENTS "WHERE m.problem = (SELECT id FROM problem WHERE key = ?1)"
                                         " AND (?2 IS NULL OR e.gpu = ?2)"
                                         " ORDER BY m.p50, v.key, v.hash, m.digest",
                            values, 2, visit, user, error);
}

apq_status apq__db_each_measurement(apq__db *db, int (*visit)(const apq__winner *, void *),
                                    void *user, apq_error *error) {
  return visit_measurements(db, MEASUREMENTS, NULL, 0, visit, user, error);
}

/* ---- winners ---- */

#define BY_CONTEST "ORDER BY gpu, arch, sm_count, problem, objective, hash"
#define IS_WANTED  "WHERE (?1 IS NULL OR gpu = ?1) AND (?2 IS NULL OR arch = ?2) "

apq_status apq__db_derive_winners(apq__db *db, int (*visit)(const apq__winner *, void *),
                                  void *user, apq_error *error) {
  return visit_measurements(db, "SELECT * FROM winner " BY_CONTEST, NULL, 0, visit, user, error);
}

static int read_kept(const apq__rows *rows, apq__winner *row) {
  size_t size = 0;
  const void *record = apq__rows_blob(rows, 0, &size);
  return apq__record_open(record, &size) &&
         apq__record_unpack(apq__winner_fields, apq__winner_field_count, record, size, row);
}

static apq_status visit_kept(apq__db *db, const apq__value *values,
                             int (*visit)(const apq__winner *, void *), void *user,
                             apq_error *error) {
  return visit_rows(db, "SELECT record FROM winner_cache " IS_WANTED BY_CONTEST, values, 2,
                    read_kept, "winner", visit, user, error);
}

static int is_kept_as(const apq__rows *rows, const apq__winner *row) {
  char key[APQ__KEY_MAX];
  const char *names[] = {row->environment.gpu, row->environment.arch,
                         apq__problem_key(&row->problem, key), row->measurement.objective,
                         row->variant.hash};
  int same = apq__rows_integer(rows, 1 + APQ__COUNT(names)) == row->environment.sm_count;
  for (int i = 0; i < APQ__COUNT(names); i++)
    same = same && strcmp(apq__rows_text(rows, 1 + i), names[i]) == 0;
  return same;
}

apq_status apq__db_check_kept(apq__db *db, apq_error *error) {
  apq__rows rows = {0};
  apq__winner row;
  int more = 0;
  apq_status status = apq__rows_open(
      db->store, "SELECT record, gpu, arch, problem, objective, hash, sm_count FROM winner_cache",
      NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    if (!read_kept(&rows, &row) || !is_kept_as(&rows, &row))
      status = fail_damaged(db, "winner", error);
    else
      status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  return status;
}

/* Whether rows were added by a program that keeps no winners, such as the sqlite3 shell. */
static apq_status has_pending(apq__db *db, int64_t *out, apq_error *error) {
  return apq__store_integer(db->store, "SELECT EXISTS (SELECT 1 FROM winner_pending)", NULL, 0, 0,
                            out, error);
}

apq_status apq__db_winners(apq__db *db, const char *gpu, const char *arch,
                           int (*visit)(const apq__winner *, void *), void *user,
                           apq_error *error) {
  const apq__value values[] = {gpu ? apq__value_text(gpu) : apq__value_null(),
                               arch ? apq__value_text(arch) : apq__value_null()};
  int64_t pending = 0;
  apq_status status = has_pending(db, &pending, error);
  if (status) return status;
  if (!pending) return visit_kept(db, values, visit, user, error);
  return visit_measurements(db, "SELECT * FROM winner " IS_WANTED BY_CONTEST, values, 2, visit,
                            user, error);
}

static int keep_winner(const apq__winner *row, void *user) {
  apq__record_pack(apq__winner_fields, apq__winner_field_count, row, user);
  return 0;
}

/* `contest` is (gpu, sm_count, arch, problem, objective, hash). */
static apq_status refresh_contest(apq__db *db, const apq__value contest[6], apq_error *error) {
#define THIS_CONTEST                                                                               \
  "WHERE gpu = ?1 AND sm_count = ?2 AND arch = ?3 AND problem = ?4 AND objective = ?5 AND hash = " \
  "?6"
  apq__record record = {0};
  apq_status status =
      apq__store_run(db->store, "DELETE FROM winner_cache " THIS_CONTEST, contest, 6, error);
  if (!status)
    status = visit_measurements(db, "SELECT * FROM winner " THIS_CONTEST, contest, 6, keep_winner,
                                &record, error);
  if (status || !record.size) return status;
  apq__record_seal(&record);
  apq__value values[7];
  memcpy(values, contest, 6 * sizeof values[0]);
  values[6] = apq__value_blob(record.data, record.size);
  return apq__store_run(db->store,
                        "INSERT INTO winner_cache (gpu, sm_count, arch, problem, objective, hash,"
                        " record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        values, 7, error);
}

apq_status apq__db_refresh_winners(apq__db *db, apq_error *error) {
  apq__rows rows = {0};
  int more = 0;
  apq_status status = apq__rows_open(
      db->store, "SELECT gpu, sm_count, arch, problem, objective, hash FROM winner_pending", NULL,
      0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    const apq__value contest[] = {
        apq__value_text(apq__rows_text(&rows, 0)), apq__value_integer(apq__rows_integer(&rows, 1)),
        apq__value_text(apq__rows_text(&rows, 2)), apq__value_text(apq__rows_text(&rows, 3)),
        apq__value_text(apq__rows_text(&rows, 4)), apq__value_text(apq__rows_text(&rows, 5))};
    status = refresh_contest(db, contest, error);
    if (!status) status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  return status ? status : apq__store_exec(db->store, "DELETE FROM winner_pending", error);
}

/* ---- failures, tuned problems, artifacts, counts ---- */

apq_status apq__db_failures(apq__db *db, int (*visit)(const apq__failure *, void *), void *user,
                            apq_error *error) {
  apq__rows rows = {0};
  apq__failure row;
  int more = 0;
  apq_status status = apq__rows_open(
      db->store,
      "SELECT e.gpu, e.arch, e.driver, e.compiler, e.sm_count, e.emulated, p.key, v.key, v.hash,"
      " f.stage, f.message, f.unix_time, f.digest, f.log "
      "FROM failure f LEFT JOIN environment e ON e.id = f.environment"
      " LEFT JOIN problem p ON p.id = f.problem LEFT JOIN variant v ON v.id = f.variant "
      "ORDER BY e.gpu, e.sm_count, v.key, v.hash, p.key, f.unix_time, f.digest",
      NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    const int count = apq__failure_field_count;
    row.log = apq__rows_text(&rows, count + 1);
    if (!read_fields(&rows, apq__failure_fields, count, &row) ||
        !has_digest(&rows, count, apq__failure_fields, count, &row, row.log))
      status = fail_damaged(db, "failure", error);
    else if (visit(&row, user))
      break;
    else
      status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  return status;
}

apq_status apq__db_each_tuned(apq__db *db, int (*visit)(const apq__tuned_row *, void *), void *user,
                              apq_error *error) {
  apq__rows rows = {0};
  apq__tuned_row row;
  int more = 0;
  apq_status status = apq__rows_open(
      db->store,
      "SELECT gpu, sm_count, arch, problem, objective, space, space_hash, unix_time FROM tuned",
      NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    if (!read_fields(&rows, apq__tuned_fields, apq__tuned_field_count, &row))
      status = fail_damaged(db, "row of tuned", error);
    else if (visit(&row, user))
      break;
    else
      status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  return status;
}

apq_status apq__db_load_artifact(apq__db *db, const char sha256[65], void **image, size_t *size,
                                 apq_error *error) {
  apq__rows rows = {0};
  int more = 0;
  char digest[65];
  *image = NULL;
  *size = 0;
  const apq__value value = apq__value_text(sha256);
  apq_status status = apq__rows_open(db->store,
                                     "SELECT image, sha256 FROM artifact WHERE id = ?1"
                                     " ORDER BY compiler DESC, sha256 LIMIT 1",
                                     &value, 1, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  if (!status && !more)
    status = apq__fail(error, APQ_NOT_FOUND, "database", "'%s' has no object %s", db->path, sha256);
  if (status) goto cleanup;
  const void *bytes = apq__rows_blob(&rows, 0, size);
  apq__sha256(&(apq__piece){bytes, *size}, 1, digest);
  if (strcmp(digest, apq__rows_text(&rows, 1)) != 0) {
    status =
        apq__fail(error, APQ_CORRUPT, "database", "'%s': object %s is damaged", db->path, sha256);
    goto cleanup;
  }
  *image = apq__alloc(*size);
  if (!*image) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "database", "no memory for an object of %zu bytes",
                       *size);
    goto cleanup;
  }
  memcpy(*image, bytes, *size);

cleanup:
  if (status) *size = 0;
  apq__rows_close(&rows);
  return status;
}

apq_status apq__db_count(apq__db *db, apq__db_counts *out, apq_error *error) {
  int64_t pending = 0;
  *out = (apq__db_counts){0};
  apq_status status = has_pending(db, &pending, error);
  const struct {
    const char *sql;
    int64_t *count;
  } counts[] = {
      {"SELECT count(*) FROM environment", &out->environments},
      {"SELECT count(*) FROM problem", &out->problems},
      {"SELECT count(*) FROM variant", &out->variants},
      {"SELECT count(*) FROM measurement", &out->measurements},
      {"SELECT count(*) FROM failure", &out->failures},
      {"SELECT count(*) FROM artifact", &out->artifacts},
      {pending ? "SELECT count(*) FROM winner" : "SELECT count(*) FROM winner_cache",
       &out->winners},
  };
  for (int i = 0; i < APQ__COUNT(counts) && !status; i++)
    status = apq__store_integer(db->store, counts[i].sql, NULL, 0, 0, counts[i].count, error);
  return status;
}
