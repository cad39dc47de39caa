/* What keeps several tuners on one file from doing the same work twice: what is known, done or
 * being done. */
#include "db_impl.h"

#include <stdio.h>
#include <string.h>

#include "host.h"
#include "status.h"

apq_status apq__db_known(apq__db *db, const apq__environment *environment,
                         const apq__problem *problem, const apq__variant *variant,
                         const char *objective, apq__known *out, apq_error *error) {
  char config[APQ__KEY_MAX], key[APQ__KEY_MAX];
  int64_t found = 0;
  const apq__value values[] = {apq__value_text(apq__config_key(&variant->config, config)),
                               apq__value_text(variant->hash),
                               apq__value_text(apq__problem_key(problem, key)),
                               apq__value_text(environment->gpu),
                               apq__value_integer(environment->sm_count),
                               apq__value_text(environment->arch),
                               apq__value_text(environment->compiler),
                               apq__value_text(objective)};
#define OF_THIS_KIND                                                                               \
  "JOIN environment e ON e.id = r.environment"                                                     \
  " WHERE r.variant = (SELECT id FROM variant WHERE key = ?1 AND hash = ?2)"                       \
  " AND e.gpu = ?4 AND e.sm_count = ?5 AND e.arch = ?6 AND e.compiler = ?7"
  /* A failure outweighs a time: what once gave a wrong result is not trusted. */
  apq_status status = apq__store_integer(
      db->store,
      "SELECT CASE WHEN EXISTS (SELECT 1 FROM failure r " OF_THIS_KIND
      " AND (r.problem IS NULL OR r.problem = (SELECT id FROM problem WHERE key = ?3))) THEN 2"
      " WHEN EXISTS (SELECT 1 FROM measurement r " OF_THIS_KIND
      " AND r.problem = (SELECT id FROM problem WHERE key = ?3) AND r.objective = ?8) THEN 1"
      " ELSE 0 END",
      values, APQ__COUNT(values), 0, &found, error);
  *out = (apq__known)found;
  return status;
}

/* ---- tuned ---- */

static apq_status make_tuned(const apq__environment *environment, const apq__problem *problem,
                             const char *objective, const char *space, const char *space_hash,
                             apq__tuned_row *row, apq_error *error) {
  *row = (apq__tuned_row){.sm_count = environment->sm_count, .problem = *problem};
  const struct {
    const char *name, *from;
    char *to;
    size_t size;
  } texts[] = {{"gpu", environment->gpu, row->gpu, sizeof row->gpu},
               {"arch", environment->arch, row->arch, sizeof row->arch},
               {"objective", objective, row->objective, sizeof row->objective},
               {"space", space, row->space, sizeof row->space},
               {"space hash", space_hash, row->space_hash, sizeof row->space_hash}};
  for (int i = 0; i < APQ__COUNT(texts); i++)
    if (snprintf(texts[i].to, texts[i].size, "%s", texts[i].from) >= (int)texts[i].size)
      return apq__fail(error, APQ_INVALID_ARGUMENT, "database", "the %s '%s' is too long",
                       texts[i].name, texts[i].from);
  return apq__problem_check(problem, error);
}

/* The columns of `tuned` as parameters 1 to 8. */
static void bind_tuned(const apq__tuned_row *row, char key[APQ__KEY_MAX], apq__value values[8]) {
  values[0] = apq__value_text(row->gpu);
  values[1] = apq__value_integer(row->sm_count);
  values[2] = apq__value_text(row->arch);
  values[3] = apq__value_text(apq__problem_key(&row->problem, key));
  values[4] = apq__value_text(row->objective);
  values[5] = apq__value_text(row->space);
  values[6] = apq__value_text(row->space_hash);
  values[7] = apq__value_integer(row->unix_time);
}

apq_status apq__db_insert_tuned(apq__db *db, const apq__tuned_row *row, apq_error *error) {
  char key[APQ__KEY_MAX];
  apq__value values[8];
  bind_tuned(row, key, values);
  return apq__store_run(db->store,
                        "INSERT INTO tuned (gpu, sm_count, arch, problem, objective, space,"
                        " space_hash, unix_time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                        " ON CONFLICT DO UPDATE SET unix_time = max(unix_time, excluded.unix_time)",
                        values, 8, error);
}

apq_status apq__db_set_tuned(apq__db *db, const apq__environment *environment,
                             const apq__problem *problem, const char *objective, const char *space,
                             const char *space_hash, apq_error *error) {
  apq__tuned_row row;
  apq_status status = apq__db_check_writable(db, error);
  if (!status) status = make_tuned(environment, problem, objective, space, space_hash, &row, error);
  if (status) return status;
  row.unix_time = apq__unix_time();
  status = apq__store_begin(db->store, error);
  if (status) return status;
  status = apq__db_insert_tuned(db, &row, error);
  return apq__store_end(db->store, status, error);
}

apq_status apq__db_is_tuned(apq__db *db, const apq__environment *environment,
                            const apq__problem *problem, const char *objective, const char *space,
                            const char *space_hash, int *out, apq_error *error) {
  apq__tuned_row row;
  apq__value values[8];
  char key[APQ__KEY_MAX];
  int64_t found = 0;
  *out = 0;
  apq_status status = make_tuned(environment, problem, objective, space, space_hash, &row, error);
  if (status) return status;
  bind_tuned(&row, key, values);
  status = apq__store_integer(db->store,
                              "SELECT count(*) FROM tuned WHERE gpu = ?1 AND sm_count = ?2 AND"
                              " arch = ?3 AND problem = ?4 AND objective = ?5 AND space = ?6 AND"
                              " space_hash = ?7",
                              values, 7, 0, &found, error);
  *out = found > 0;
  return status;
}

/* ---- claims ---- */

static void bind_claim(const apq__environment *environment, const apq__problem *problem,
                       const char *owner, char key[APQ__KEY_MAX], apq__value values[5]) {
  values[0] = apq__value_text(environment->gpu);
  values[1] = apq__value_integer(environment->sm_count);
  values[2] = apq__value_text(environment->arch);
  values[3] = apq__value_text(apq__problem_key(problem, key));
  values[4] = apq__value_text(owner);
}

apq_status apq__db_claim(apq__db *db, const apq__environment *environment,
                         const apq__problem *problem, const char *owner, int ttl_seconds,
                         apq_error *error) {
  apq__value values[7];
  char key[APQ__KEY_MAX];
  apq_status status = apq__db_check_writable(db, error);
  if (!status) status = apq__problem_check(problem, error);
  if (!status) status = apq__store_begin(db->store, error);
  if (status) return status;
  int64_t now = apq__unix_time();
  bind_claim(environment, problem, owner, key, values);
  values[5] = apq__value_integer(now);
  values[6] = apq__value_integer(now - ttl_seconds);
  /* One's own claim is renewed.  One of the future was made before the clock was set back. */
  status = apq__store_run(db->store,
                          "INSERT INTO claim (gpu, sm_count, arch, problem, owner, claimed_at)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE"
                          " SET owner = excluded.owner, claimed_at = excluded.claimed_at"
                          " WHERE owner = ?5 OR claimed_at <= ?7 OR claimed_at > ?6 + 60",
                          values, 7, error);
  if (!status && !apq__store_changes(db->store))
    status = apq__fail(error, APQ_BUSY, "database", "%s is being tuned by another process", key);
  return apq__store_end(db->store, status, error);
}

apq_status apq__db_release(apq__db *db, const apq__environment *environment,
                           const apq__problem *problem, const char *owner, apq_error *error) {
  apq__value values[5];
  char key[APQ__KEY_MAX];
  apq_status status = apq__db_check_writable(db, error);
  if (!status) status = apq__store_begin(db->store, error);
  if (status) return status;
  bind_claim(environment, problem, owner, key, values);
  status = apq__store_run(db->store,
                          "DELETE FROM claim WHERE gpu = ?1 AND sm_count = ?2 AND arch = ?3 AND"
                          " problem = ?4 AND owner = ?5",
                          values, 5, error);
  return apq__store_end(db->store, status, error);
}
