#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "statistics.h"
#include "status.h"
#include "tune_impl.h"

/* Of a problem's share of the budget, what compiling and verifying may take; the rest is for
 * timing. */
#define CHECK_SHARE 0.6

/* Modelled times are written as candidates pass; the first is the best, since they pass in order.
 */
typedef struct modelled {
  double best;
  int count;
} modelled;

static apq_status write_modelled(apq__session *session, apq__candidate *candidate, void *user,
                                 apq_error *error) {
  modelled *m = user;
  if (m->count++ == 0) m->best = candidate->cost;
  return apq__record_modelled(session, candidate, m->best, error);
}

static apq_status store_pack(apq__session *session, apq__candidate *candidate, void *user,
                             apq_error *error) {
  (void)user;
  return apq__record_object(session, candidate, candidate->object_id, error);
}

/* The kernels that pack activations for the winner: stored, so that a machine without a compiler
 * can run the whole plan. */
static apq_status tune_pack(apq__session *session, double deadline, apq__tune_result *result,
                            apq_error *error) {
  apq__candidates list;
  apq_status status = apq__candidates_pack(session, &result->winner, &list, error);
  session->standing = result;
  if (status == APQ_OK && list.count > 0)
    status =
        apq__check_candidates(session, &list, deadline, store_pack, NULL, &result->failed, error);
  session->standing = NULL;
  apq__candidates_free(&list);
  return status;
}

static int count_in(const apq__candidates *list, apq__candidate_state state) {
  int count = 0;
  for (int i = 0; i < list->count; i++) count += list->item[i].state == state;
  return count;
}

/* Compiles, verifies and times; *complete says that nothing was left undone. */
static apq_status run_candidates(apq__session *session, apq__candidates *list, double begin,
                                 double share, apq__tune_result *result, int *complete,
                                 apq_error *error) {
  int emulated = session->target.emulated;
  modelled times = {0};
  double check_end = isinf(share) ? INFINITY : begin + (emulated ? share : CHECK_SHARE * share);
  apq_status status = apq__check_candidates(
      session, list, check_end, emulated ? write_modelled : NULL, &times, &result->failed, error);
  int verified = count_in(list, APQ__CANDIDATE_VERIFIED);
  *complete = verified + count_in(list, APQ__CANDIDATE_FAILED) == list->count;
  if (emulated) result->measured = times.count;
  if (status != APQ_OK || emulated || verified == 0 || apq__session_stopped(session)) return status;
  /* The only one of several that there was time for, often the default, which compiles fastest,
   * would be the winner of a comparison with nothing: the model knows better. */
  if (verified == 1 && !*complete) return status;
  int played;
  status = apq__measure_candidates(session, list, begin + share, &result->measured, &result->tied,
                                   &result->failed, &played, error);
  if (!played) *complete = 0;
  return status;
}

static void conclude(const apq__session *session, apq__tune_result *result, int complete,
                     const apq__candidates *list) {
  if (complete && result->has_winner) {
    result->outcome = APQ__TUNE_TUNED;
  } else if (complete) {
    result->outcome = APQ__TUNE_FAILED;
    snprintf(result->message, sizeof result->message,
             "none of %d candidates passed (%d failed now, %d are known to fail)", list->total,
             result->failed, result->known);
  } else {
    result->outcome = result->has_winner ? APQ__TUNE_PARTIAL : APQ__TUNE_UNTUNED;
    snprintf(result->message, sizeof result->message, "%s",
             apq__session_stopped(session) ? "interrupted" : "the budget ran out");
  }
}

/* Announces the problem to a device worker that runs, or starts one.  A problem that cannot be set
 * up, such as one too large for the device, fails alone. */
static apq_status set_up(apq__session *session, apq__tune_result *result, int *usable,
                         apq_error *error) {
  apq_error failure = APQ_ERROR_INIT;
  apq_status status = session->device.pid > 0 ? apq__session_set_problem(session, &failure)
                                              : apq__session_device(session, &failure);
  *usable = status == APQ_OK;
  if (status == APQ_OK) return APQ_OK;
  /* What is left of it in the worker is of no use, nor is a worker whose device is lost. */
  apq__worker_stop(&session->device);
  result->outcome = APQ__TUNE_FAILED;
  snprintf(result->message, sizeof result->message, "cannot set up the problem: %s",
           failure.message);
  if (status == APQ_NO_DEVICE || status == APQ_NO_COMPILER)
    apq__fail(error, status, failure.stage, "%s", failure.message);
  else
    status = APQ_OK;
  apq_error_clear(&failure);
  return status;
}

apq_status apq__tune_problem(apq__session *session, apq__tune_result *result, apq_error *error) {
  const apq__problem *problem = session->problem;
  double begin = apq__now();
  double share = apq__budget_share(session->options->budget_seconds, apq__session_elapsed(session),
                                   session->todo - session->done);
  apq__candidates list = {0};
  apq__config before = {0};
  int complete = 0, usable = 0;
  apq__session_report(session, &(apq__news){.phase = APQ__TUNE_SEARCH});
  apq_status status = apq__read_result(session, problem, result, error);
  if (status != APQ_OK) return status;
  if (result->has_winner) before = result->winner;

  status = apq__candidates_make(session, &list, error);
  if (status == APQ_NOT_FOUND) {
    result->outcome = APQ__TUNE_FAILED;
    snprintf(result->message, sizeof result->message, "%s", error->message);
    apq_error_clear(error);
    return APQ_OK;
  }
  if (status == APQ_OK) status = set_up(session, result, &usable, error);
  if (status != APQ_OK || !usable) goto cleanup;
  result->candidates = list.total;
  result->pruned = list.pruned;
  result->known = list.known;
  status = run_candidates(session, &list, begin, share, result, &complete, error);
  if (status == APQ_OK) status = apq__read_result(session, problem, result, error);
  if (status != APQ_OK) goto cleanup;
  conclude(session, result, complete, &list);
  if (result->has_winner && before.count > 0) {
    char old[APQ__KEY_MAX], new[APQ__KEY_MAX];
    result->replaced =
        strcmp(apq__config_key(&before, old), apq__config_key(&result->winner, new)) != 0;
  }
  if (result->has_winner && !apq__session_stopped(session))
    status = tune_pack(session, begin + share, result, error);
  if (status == APQ_OK && result->outcome == APQ__TUNE_TUNED)
    status = apq__db_set_tuned(session->db, &session->environment, problem, session->objective,
                               session->space_name, session->space_hash, error);
cleanup:
  result->elapsed_seconds = apq__now() - begin;
  apq__candidates_free(&list);
  return status;
}
