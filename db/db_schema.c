#include "db_schema.h"

#include <stdio.h>
#include <string.h>

#include "status.h"

/* Text that two statements share: rows that were written are facts, so nothing may change them. */
#define APPEND_ONLY(table)                                                                         \
  "CREATE TRIGGER " table "_no_update BEFORE UPDATE ON " table                                     \
  " BEGIN SELECT RAISE(ABORT, '" table " is append-only'); END;"                                   \
  "CREATE TRIGGER " table "_no_delete BEFORE DELETE ON " table                                     \
  " BEGIN SELECT RAISE(ABORT, '" table " is append-only'); END;"

#define CONTEST "PARTITION BY gpu, sm_count, arch, problem, objective, hash"

/* A step is never edited once released: a file of version v was made by exactly steps 1 to v. */
static const char *const steps[APQ__DB_VERSION] = {
    /* 1: facts, and the winners derived from them. */
    "CREATE TABLE environment ("
    "  id INTEGER PRIMARY KEY, gpu TEXT NOT NULL, arch TEXT NOT NULL, driver TEXT NOT NULL,"
    "  compiler TEXT NOT NULL, sm_count INTEGER NOT NULL, emulated INTEGER NOT NULL,"
    "  UNIQUE (gpu, sm_count, arch, driver, compiler),"
    "  CHECK (emulated IN (0, 1)), CHECK (emulated = (substr(gpu, 1, 4) = 'emu:')));"
    "CREATE TABLE problem ("
    "  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, p INTEGER NOT NULL, q INTEGER NOT NULL,"
    "  m INTEGER NOT NULL, n INTEGER NOT NULL, k INTEGER NOT NULL, out TEXT NOT NULL,"
    "  CHECK (p BETWEEN 1 AND 8), CHECK (q BETWEEN 1 AND 8), CHECK (m >= 1 AND n >= 1 AND k >= 1));"
    "CREATE TABLE variant ("
    "  id INTEGER PRIMARY KEY, key TEXT NOT NULL, hash TEXT NOT NULL, UNIQUE (key, hash));"
    "CREATE TABLE measurement ("
    "  id INTEGER PRIMARY KEY,"
    "  environment INTEGER NOT NULL REFERENCES environment (id),"
    "  problem INTEGER NOT NULL REFERENCES problem (id),"
    "  variant INTEGER NOT NULL REFERENCES variant (id),"
    "  objective TEXT NOT NULL, run TEXT NOT NULL, modelled INTEGER NOT NULL,"
    "  samples INTEGER NOT NULL, min REAL NOT NULL, p10 REAL NOT NULL, p50 REAL NOT NULL,"
    "  p90 REAL NOT NULL, max REAL NOT NULL, incumbent_ratio REAL NOT NULL,"
    "  sm_mhz INTEGER NOT NULL, temperature_c INTEGER NOT NULL, throttle_reasons INTEGER NOT NULL,"
    "  unix_time INTEGER NOT NULL, artifact TEXT NOT NULL, digest BLOB NOT NULL UNIQUE,"
    "  CHECK (objective IN ('burst', 'sustained')), CHECK (modelled IN (0, 1)),"
    "  CHECK (samples >= 1 OR modelled),"
    "  CHECK (0 < min AND min <= p10 AND p10 <= p50 AND p50 <= p90 AND p90 <= max AND max < 1e9),"
    "  CHECK (incumbent_ratio >= 0 AND incumbent_ratio < 1e9), CHECK (length(digest) = 16));"
    "CREATE INDEX measurement_by_problem ON measurement (problem, objective);"
    "CREATE INDEX measurement_by_variant ON measurement (variant, problem);"
    /* A CHECK sees one table only. */
    "CREATE TRIGGER measurement_is_honest BEFORE INSERT ON measurement"
    "  WHEN NEW.modelled IS NOT (SELECT emulated FROM environment WHERE id = NEW.environment)"
    "  BEGIN SELECT RAISE(ABORT, 'modelled times belong to emulated environments, measured times to"
    " real ones'); END;"
    "CREATE TABLE failure ("
    "  id INTEGER PRIMARY KEY,"
    "  environment INTEGER NOT NULL REFERENCES environment (id),"
    "  problem INTEGER REFERENCES problem (id),"
    "  variant INTEGER NOT NULL REFERENCES variant (id),"
    "  stage TEXT NOT NULL, message TEXT NOT NULL, unix_time INTEGER NOT NULL,"
    "  digest BLOB NOT NULL UNIQUE, log TEXT NOT NULL, CHECK (length(digest) = 16));"
    "CREATE INDEX failure_by_variant ON failure (variant, problem);"
    "CREATE TABLE artifact ("
    "  id TEXT NOT NULL, sha256 TEXT NOT NULL, arch TEXT NOT NULL, compiler TEXT NOT NULL,"
    "  image BLOB NOT NULL, PRIMARY KEY (id, sha256),"
    "  CHECK (length(id) = 64), CHECK (length(sha256) = 64));"
    "CREATE TABLE tuned ("
    "  gpu TEXT NOT NULL, sm_count INTEGER NOT NULL, arch TEXT NOT NULL, problem TEXT NOT NULL,"
    "  objective TEXT NOT NULL, space TEXT NOT NULL, space_hash TEXT NOT NULL,"
    "  unix_time INTEGER NOT NULL,"
    "  PRIMARY KEY (gpu, sm_count, arch, problem, objective, space, space_hash)) WITHOUT ROWID;"
    "CREATE TABLE claim ("
    "  gpu TEXT NOT NULL, sm_count INTEGER NOT NULL, arch TEXT NOT NULL, problem TEXT NOT NULL,"
    "  owner TEXT NOT NULL, claimed_at INTEGER NOT NULL,"
    "  PRIMARY KEY (gpu, sm_count, arch, problem)) WITHOUT ROWID;"
    /* clang-format off */
    APPEND_ONLY("environment") APPEND_ONLY("problem") APPEND_ONLY("variant") APPEND_ONLY("measurement")
    "CREATE VIEW winner AS WITH "
    "eligible AS ("
    "  SELECT m.id, e.gpu, e.sm_count, e.arch, p.key AS problem, m.objective, v.hash,"
    "    v.key AS config, m.run, m.unix_time, m.p50, m.digest"
    "  FROM measurement m JOIN environment e ON e.id = m.environment"
    "    JOIN problem p ON p.id = m.problem JOIN variant v ON v.id = m.variant"
    "  WHERE m.modelled = e.emulated AND NOT EXISTS ("
    "    SELECT 1 FROM failure f JOIN environment x ON x.id = f.environment"
    "    WHERE f.variant = m.variant AND (f.problem IS NULL OR f.problem = m.problem)"
    "      AND f.stage = 'verify' AND x.gpu = e.gpu AND x.arch = e.arch"
    "      AND x.compiler = e.compiler)),"
    "dated AS (SELECT *, first_value(run) OVER (" CONTEST
    "    ORDER BY unix_time DESC, run DESC) AS newest FROM eligible),"
    "timed AS (SELECT *, min(p50) OVER (" CONTEST ") AS fastest FROM dated WHERE run = newest),"
    "ranked AS (SELECT *, row_number() OVER (" CONTEST
    "    ORDER BY config, p50, digest) AS place FROM timed WHERE p50 <= fastest * 1.01) "
    "SELECT r.gpu, r.arch, e.driver, e.compiler, r.sm_count, e.emulated, r.problem, r.objective,"
    "  r.config, r.hash, m.run, m.modelled, m.samples, m.min, m.p10, m.p50, m.p90, m.max,"
    "  m.incumbent_ratio, m.sm_mhz, m.temperature_c, m.throttle_reasons, m.unix_time, m.artifact,"
    "  m.digest "
    "FROM ranked r JOIN measurement m ON m.id = r.id JOIN environment e ON e.id = m.environment "
    "WHERE r.place = 1;",
    /* 2: the winners kept ready, because deriving thousands of them takes too long at program start.  Triggers list what the kept ones
     * no longer answer, whoever writes. */
    "CREATE TABLE winner_pending ("
    "  gpu TEXT NOT NULL, sm_count INTEGER NOT NULL, arch TEXT NOT NULL, problem TEXT NOT NULL,"
    "  objective TEXT NOT NULL, hash TEXT NOT NULL,"
    "  PRIMARY KEY (gpu, sm_count, arch, problem, objective, hash)) WITHOUT ROWID;"
    "CREATE TABLE winner_cache ("
    "  gpu TEXT NOT NULL, arch TEXT NOT NULL, sm_count INTEGER NOT NULL, problem TEXT NOT NULL,"
    "  objective TEXT NOT NULL, hash TEXT NOT NULL, record BLOB NOT NULL,"
    "  PRIMARY KEY (gpu, arch, sm_count, problem, objective, hash)) WITHOUT ROWID;"
#define PENDING                                                                                    \
    " BEGIN INSERT OR IGNORE INTO winner_pending"                                                  \
    "   SELECT e.gpu, e.sm_count, e.arch, p.key, m.objective, v.hash FROM measurement m"           \
    "     JOIN environment e ON e.id = m.environment JOIN problem p ON p.id = m.problem"           \
    "     JOIN variant v ON v.id = m.variant WHERE "
    "CREATE TRIGGER measurement_pending AFTER INSERT ON measurement"
    PENDING "m.id = NEW.id; END;"
    "CREATE TRIGGER failure_pending AFTER INSERT ON failure WHEN NEW.stage = 'verify'"
    PENDING "m.variant = NEW.variant AND (NEW.problem IS NULL OR m.problem = NEW.problem); END;"
    "CREATE TRIGGER failure_withdrawn AFTER DELETE ON failure WHEN OLD.stage = 'verify'"
    PENDING "m.variant = OLD.variant AND (OLD.problem IS NULL OR m.problem = OLD.problem); END;"
    "INSERT INTO winner_pending SELECT DISTINCT e.gpu, e.sm_count, e.arch, p.key, m.objective, v.hash"
    "  FROM measurement m JOIN environment e ON e.id = m.environment"
    "  JOIN problem p ON p.id = m.problem JOIN variant v ON v.id = m.variant;",
    /* clang-format on */
};

apq_status apq__db_identify(apq__store *store, apq__db_kind *kind, int *version, apq_error *error) {
  /* One statement, so that all three are of one moment: between them another process may be making
   * the tables, and a file half empty and half made would look like another program's. */
  static const char sql[] = "SELECT (SELECT application_id FROM pragma_application_id),"
                            " (SELECT user_version FROM pragma_user_version),"
                            " (SELECT count(*) FROM sqlite_schema)";
  apq__rows rows = {0};
  int more = 0;
  apq_status status = apq__rows_open(store, sql, NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  int64_t application = more ? apq__rows_integer(&rows, 0) : 0;
  int64_t user = more ? apq__rows_integer(&rows, 1) : 0;
  int64_t tables = more ? apq__rows_integer(&rows, 2) : 0;
  apq__rows_close(&rows);
  if (status) return status;
  *version = (int)user;
  if (!application && !user && !tables)
    *kind = APQ__DB_EMPTY;
  else if (application != APQ__DB_APPLICATION_ID || user < 1)
    *kind = APQ__DB_FOREIGN;
  else
    *kind = user > APQ__DB_VERSION   ? APQ__DB_NEWER
            : user < APQ__DB_VERSION ? APQ__DB_OLDER
                                     : APQ__DB_CURRENT;
  return APQ_OK;
}

apq_status apq__db_migrate(apq__store *store, int from, int to, apq_error *error) {
  apq_status status = APQ_OK;
  for (int i = from; i < to && !status; i++) status = apq__store_exec(store, steps[i], error);
  char stamp[96];
  snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d",
           APQ__DB_APPLICATION_ID, to);
  return status ? status : apq__store_exec(store, stamp, error);
}

static apq_status find_object(apq__store *store, const char *name, const char *sql,
                              apq_error *error) {
  const apq__value values[] = {apq__value_text(name), apq__value_text(sql)};
  int64_t found = 0;
  apq_status status =
      apq__store_integer(store, "SELECT count(*) FROM sqlite_schema WHERE name = ?1 AND sql = ?2",
                         values, 2, 0, &found, error);
  if (!status && !found)
    status = apq__fail(error, APQ_CORRUPT, "database", "'%s' is missing or altered", name);
  return status;
}

apq_status apq__db_check_schema(apq__store *store, apq_error *error) {
  apq__store *model = NULL;
  apq__rows rows = {0};
  int more = 0;
  apq_status status = apq__store_open("model", APQ__STORE_MEMORY, &model, error);
  if (!status) status = apq__db_migrate(model, 0, APQ__DB_VERSION, error);
  if (!status)
    status = apq__rows_open(model, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL",
                            NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  while (!status && more) {
    status = find_object(store, apq__rows_text(&rows, 0), apq__rows_text(&rows, 1), error);
    if (!status) status = apq__rows_next(&rows, &more, error);
  }
  apq__rows_close(&rows);
  apq__store_close(model);
  return status;
}
