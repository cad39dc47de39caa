#include "db_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "status.h"

apq_status apq__db_check_writable(const apq__db *db, apq_error *error) {
  if (db->mode == APQ__DB_WRITE) return APQ_OK;
  return apq__fail(error, APQ_READ_ONLY, "database", "'%s' is open for reading only", db->path);
}

/* ---- what measurements and failures refer to ---- */

static apq_status insert_environment(apq__db *db, const apq__environment *e, int64_t *id,
                                     apq_error *error) {
  const apq__value values[] = {apq__value_text(e->gpu),      apq__value_integer(e->sm_count),
                               apq__value_text(e->arch),     apq__value_text(e->driver),
                               apq__value_text(e->compiler), apq__value_integer(e->emulated != 0)};
  apq_status status = apq__store_run(db->store,
                                     "INSERT INTO environment (gpu, sm_count, arch, driver,"
                                     " compiler, emulated) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                                     " ON CONFLICT (gpu, sm_count, arch, driver, compiler)"
                                     " DO NOTHING",
                                     values, 6, error);
  if (status) return status;
  return apq__store_integer(db->store,
                            "SELECT id FROM environment WHERE gpu = ?1 AND sm_count = ?2 AND"
                            " arch = ?3 AND driver = ?4 AND compiler = ?5",
                            values, 5, 0, id, error);
}

static apq_status insert_problem(apq__db *db, const apq__problem *problem, int64_t *id,
                                 apq_error *error) {
  char key[APQ__KEY_MAX];
  apq_status status = apq__problem_check(problem, error);
  if (status) return status;
  const apq__value values[] = {apq__value_text(apq__problem_key(problem, key)),
                               apq__value_integer(problem->p),
                               apq__value_integer(problem->q),
                               apq__value_integer(problem->m),
                               apq__value_integer(problem->n),
                               apq__value_integer(problem->k),
                               apq__value_text(apq_dtype_name(problem->out))};
  status = apq__store_run(db->store,
                          "INSERT INTO problem (key, p, q, m, n, k, out) VALUES"
                          " (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (key) DO NOTHING",
                          values, 7, error);
  if (status) return status;
  return apq__store_integer(db->store, "SELECT id FROM problem WHERE key = ?1", values, 1, 0, id,
                            error);
}

static apq_status insert_variant(apq__db *db, const apq__variant *variant, int64_t *id,
                                 apq_error *error) {
  char key[APQ__KEY_MAX];
  const apq__value values[] = {apq__value_text(apq__config_key(&variant->config, key)),
                               apq__value_text(variant->hash)};
  apq_status status = apq__store_run(
      db->store,
      "INSERT INTO variant (key, hash) VALUES (?1, ?2) ON CONFLICT (key, hash) DO NOTHING", values,
      2, error);
  if (status) return status;
  return apq__store_integer(db->store, "SELECT id FROM variant WHERE key = ?1 AND hash = ?2",
                            values, 2, 0, id, error);
}

/* ---- measurements ---- */

static apq_status check_measurement(const apq__winner *row, apq_error *error) {
  const apq__measurement *m = &row->measurement;
  const char *fault = NULL;
  if (strcmp(m->objective, "burst") != 0 && strcmp(m->objective, "sustained") != 0)
    fault = "the objective must be burst or sustained";
  else if (!m->run[0] || !row->variant.hash[0] || !row->variant.config.count)
    fault = "the run, the template hash or the config is empty";
  else if (!m->modelled != !row->environment.emulated)
    fault = "modelled times belong to emulated environments, measured times to real ones";
  else if (!row->environment.emulated != (strncmp(row->environment.gpu, "emu:", 4) != 0))
    fault = "an emulated GPU is one whose name starts with 'emu:'";
  else if (m->samples < 0 || (m->samples == 0 && !m->modelled))
    fault = "a measured time needs samples";
  else if (!(0 < m->min && m->min <= m->p10 && m->p10 <= m->p50 && m->p50 <= m->p90 &&
             m->p90 <= m->max && m->max < 1e9))
    fault = "the quantiles must be positive, finite and in order";
  else if (!(m->incumbent_ratio >= 0 && m->incumbent_ratio < 1e9))
    fault = "the ratio to the incumbent must be positive and finite";
  if (!fault) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "database", "measurement refused: %s", fault);
}

apq_status apq__db_insert_measurement(apq__db *db, apq__winner *row, apq_error *error) {
  int64_t environment = 0, problem = 0, variant = 0;
  const apq__measurement *m = &row->measurement;
  apq_status status = check_measurement(row, error);
  /* As SQLite gives them back, because the digest is of that. */
  row->environment.emulated = row->environment.emulated != 0;
  row->measurement.modelled = row->measurement.modelled != 0;
  row->measurement.incumbent_ratio += 0.0;
  if (!status) status = insert_environment(db, &row->environment, &environment, error);
  if (!status) status = insert_problem(db, &row->problem, &problem, error);
  if (!status) status = insert_variant(db, &row->variant, &variant, error);
  if (status) return status;
  apq__record record;
  unsigned char digest[APQ__DIGEST_SIZE];
  apq__record_pack(apq__winner_fields, apq__winner_field_count, row, &record);
  apq__record_digest(&record, NULL, digest);
  const apq__value values[] = {apq__value_integer(environment),
                               apq__value_integer(problem),
                               apq__value_integer(variant),
                               apq__value_text(m->objective),
                               apq__value_text(m->run),
                               apq__value_integer(m->modelled),
                               apq__value_integer(m->samples),
                               apq__value_real(m->min),
                               apq__value_real(m->p10),
                               apq__value_real(m->p50),
                               apq__value_real(m->p90),
                               apq__value_real(m->max),
                               apq__value_real(m->incumbent_ratio),
                               apq__value_integer(m->sm_mhz),
                               apq__value_integer(m->temperature_c),
                               apq__value_integer(m->throttle_reasons),
                               apq__value_integer(m->unix_time),
                               apq__value_text(m->artifact),
                               apq__value_blob(digest, sizeof digest)};
  return apq__store_run(db->store,
                        "INSERT INTO measurement (environment, problem, variant, objective, run,"
                        " modelled, samples, min, p10, p50, p90, max, incumbent_ratio, sm_mhz,"
                        " temperature_c, throttle_reasons, unix_time, artifact, digest) VALUES"
                        " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
                        " ?17, ?18, ?19) ON CONFLICT (digest) DO NOTHING",
                        values, APQ__COUNT(values), error);
}

apq_status apq__db_add_measurements(apq__db *db, const apq__environment *environment,
                                    const apq__problem *problem, int count,
                                    const apq__variant *variants,
                                    const apq__measurement *measurements, apq_error *error) {
  apq_status status = apq__db_check_writable(db, error);
  if (!status) status = apq__store_begin(db->store, error);
  if (status) return status;
  for (int i = 0; i < count && !status; i++) {
    apq__winner row = {*environment, *problem, variants[i], measurements[i]};
    if (!row.measurement.unix_time) row.measurement.unix_time = apq__unix_time();
    status = apq__db_insert_measurement(db, &row, error);
  }
  if (!status) status = apq__db_refresh_winners(db, error);
  return apq__store_end(db->store, status, error);
}

apq_status apq__db_add_measurement(apq__db *db, const apq__environment *environment,
                                   const apq__problem *problem, const apq__variant *variant,
                                   const apq__measurement *measurement, apq_error *error) {
  return apq__db_add_measurements(db, environment, problem, 1, variant, measurement, error);
}

/* ---- failures ---- */

apq_status apq__db_insert_failure(apq__db *db, apq__failure *row, apq_error *error) {
  int64_t environment = 0, problem = 0, variant = 0;
  row->environment.emulated = row->environment.emulated != 0;
  apq_status status = insert_environment(db, &row->environment, &environment, error);
  if (!status && row->problem[0]) {
    apq__problem parsed;
    status = apq__problem_parse(row->problem, &parsed, error);
    if (!status) status = insert_problem(db, &parsed, &problem, error);
  }
  if (!status) status = insert_variant(db, &row->variant, &variant, error);
  if (status) return status;
  apq__record record;
  unsigned char digest[APQ__DIGEST_SIZE];
  apq__record_pack(apq__failure_fields, apq__failure_field_count, row, &record);
  apq__record_digest(&record, row->log, digest);
  const apq__value values[] = {apq__value_integer(environment),
                               row->problem[0] ? apq__value_integer(problem) : apq__value_null(),
                               apq__value_integer(variant),
                               apq__value_text(row->stage),
                               apq__value_text(row->message),
                               apq__value_integer(row->unix_time),
                               apq__value_blob(digest, sizeof digest),
                               apq__value_text(row->log)};
  return apq__store_run(db->store,
                        "INSERT INTO failure (environment, problem, variant, stage, message,"
                        " unix_time, digest, log) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                        " ON CONFLICT (digest) DO NOTHING",
                        values, APQ__COUNT(values), error);
}

apq_status apq__db_add_failure(apq__db *db, const apq__environment *environment,
                               const apq__problem *problem, const apq__variant *variant,
                               const char *stage, const char *message, const char *log,
                               apq_error *error) {
  apq__failure row = {.environment = *environment, .variant = *variant, .log = log ? log : ""};
  row.unix_time = apq__unix_time();
  snprintf(row.stage, sizeof row.stage, "%s", stage);
  snprintf(row.message, sizeof row.message, "%s", message ? message : "");
  if (problem) apq__problem_key(problem, row.problem);
  apq_status status = apq__db_check_writable(db, error);
  if (!status) status = apq__store_begin(db->store, error);
  if (status) return status;
  status = apq__db_insert_failure(db, &row, error);
  if (!status) status = apq__db_refresh_winners(db, error);
  return apq__store_end(db->store, status, error);
}

/* ---- artifacts ---- */

static int is_digest(const char *text) {
  return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

apq_status apq__db_insert_artifact(apq__db *db, const char *id, const char *arch,
                                   const char *compiler, const void *image, size_t size,
                                   apq_error *error) {
  char sha256[65];
  if (!is_digest(id))
    return apq__fail(error, APQ_INVALID_ARGUMENT, "database",
                     "artifact id '%s' is not 64 hexadecimal digits", id);
  apq__sha256(&(apq__piece){image, size}, 1, sha256);
  const apq__value values[] = {apq__value_text(id), apq__value_text(sha256), apq__value_text(arch),
                               apq__value_text(compiler), apq__value_blob(image, size)};
  /* Two compilers may give the same bytes; which one is named must not depend on who came first. */
  return apq__store_run(db->store,
                        "INSERT INTO artifact (id, sha256, arch, compiler, image) VALUES"
                        " (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id, sha256) DO UPDATE SET"
                        " arch = min(arch, excluded.arch),"
                        " compiler = max(compiler, excluded.compiler)",
                        values, APQ__COUNT(values), error);
}

apq_status apq__db_add_artifact(apq__db *db, const char sha256[65], const char *arch,
                                const char *compiler, const void *image, size_t size,
                                apq_error *error) {
  apq_status status = apq__db_check_writable(db, error);
  if (!status) status = apq__store_begin(db->store, error);
  if (status) return status;
  status = apq__db_insert_artifact(db, sha256, arch, compiler, image, size, error);
  return apq__store_end(db->store, status, error);
}
