#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "host.h"
#include "status.h"
#include "tune_impl.h"

apq_status apq__candidate_variant(const apq__session *session, const apq__candidate *candidate,
                                  apq__variant *out, apq_error *error) {
  const char *name = apq__config_get(&candidate->config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  if (!family)
    return apq__fail(error, APQ_NOT_FOUND, "search", "no kernel family \"%s\"", name ? name : "");
  *out = (apq__variant){.config = candidate->config};
  strncpy(out->hash, apq__family_hash(family, session->target.emulated), sizeof out->hash - 1);
  return APQ_OK;
}

apq_status apq__record_object(apq__session *session, const apq__candidate *candidate,
                              const char *id, apq_error *error) {
  return apq__db_add_artifact(session->db, id, session->environment.arch,
                              session->environment.compiler, candidate->image,
                              candidate->image_size, error);
}

apq_status apq__record_modelled(apq__session *session, const apq__candidate *candidate, double best,
                                apq_error *error) {
  apq__variant variant;
  double cost = candidate->cost;
  apq__measurement row = {.modelled = 1,
                          .min = cost,
                          .p10 = cost,
                          .p50 = cost,
                          .p90 = cost,
                          .max = cost,
                          .incumbent_ratio = cost / best,
                          .unix_time = apq__unix_time()};
  strncpy(row.objective, session->objective, sizeof row.objective - 1);
  memcpy(row.run, session->run, sizeof row.run);
  memcpy(row.artifact, candidate->object_id, sizeof row.artifact);
  apq_status status = apq__candidate_variant(session, candidate, &variant, error);
  /* The object first: a winner never names one that is missing. */
  if (status == APQ_OK)
    status = apq__record_object(session, candidate, candidate->object_id, error);
  if (status == APQ_OK)
    status = apq__db_add_measurement(session->db, &session->environment, session->problem, &variant,
                                     &row, error);
  return status;
}

/* ---- reading back ---- */

/* The winner as dispatch will see it: the fastest of those that the present templates can still
 * make. */
typedef struct search {
  const apq__session *session;
  const apq__problem *problem;
  char run[33]; /* of the winner */
  apq__tune_result *result;
} search;

static int is_wanted(const search *s, const apq__winner *row) {
  const apq__environment *environment = &s->session->environment;
  const char *name = apq__config_get(&row->variant.config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  return family && strcmp(row->measurement.objective, s->session->objective) == 0 &&
         row->environment.sm_count == environment->sm_count &&
         strcmp(row->environment.arch, environment->arch) == 0 &&
         apq__problem_is_same(&row->problem, s->problem) &&
         strcmp(row->variant.hash, apq__family_hash(family, environment->emulated)) == 0;
}

static int see_winner(const apq__winner *row, void *user) {
  search *s = user;
  apq__tune_result *result = s->result;
  if (!is_wanted(s, row)) return 0;
  if (result->has_winner && row->measurement.p50 >= result->seconds) return 0;
  result->has_winner = 1;
  result->winner = row->variant.config;
  result->seconds = row->measurement.p50;
  result->modelled = row->measurement.modelled;
  memcpy(s->run, row->measurement.run, sizeof s->run);
  return 0;
}

static int see_default(const apq__winner *row, void *user) {
  search *s = user;
  char key[APQ__KEY_MAX], wanted[APQ__KEY_MAX];
  if (!is_wanted(s, row) || strcmp(row->measurement.run, s->run) != 0) return 0;
  apq__config_key(&row->variant.config, key);
  if (strcmp(key, apq__config_key(&s->result->default_config, wanted)) != 0) return 0;
  s->result->default_seconds = row->measurement.p50;
  return 1;
}

apq_status apq__read_result(apq__session *session, const apq__problem *problem,
                            apq__tune_result *result, apq_error *error) {
  search s = {session, problem, "", result};
  result->has_winner = 0;
  result->default_seconds = 0;
  apq_status status = apq__db_winners(session->db, session->environment.gpu,
                                      session->environment.arch, see_winner, &s, error);
  if (status != APQ_OK || !result->has_winner) return status;
  const char *family = apq__config_get(&result->winner, "family");
  if (apq__untuned_config(family, problem, &session->target, &result->default_config, NULL) !=
      APQ_OK)
    return APQ_OK;
  return apq__db_measurements(session->db, session->environment.gpu, problem, see_default, &s,
                              error);
}
