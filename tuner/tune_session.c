#include <math.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "host.h"
#include "status.h"
#include "tune_impl.h"

/* Opening a device and setting up a problem's operands may take long on a busy machine. */
enum { OPEN_SECONDS = 120, PROBLEM_SECONDS = 300 };

int apq__session_stopped(const apq__session *session) {
  return session->options->stop && *session->options->stop;
}

double apq__session_elapsed(const apq__session *session) {
  return apq__now() - session->begin;
}

/* ---- progress ---- */

/* From the share of the work that is done; bounded by the budget. */
static double eta(const apq__session *session, double fraction) {
  double elapsed = apq__session_elapsed(session), budget = session->options->budget_seconds;
  double part = session->todo > 0 ? (session->done + fraction) / session->todo : 1;
  double left = part > 0.01 ? elapsed * (1 - part) / part : -1;
  if (budget > 0 && (left < 0 || left > budget - elapsed)) left = fmax(budget - elapsed, 0);
  return left;
}

void apq__session_report(apq__session *session, const apq__news *news) {
  const apq__tune_options *options = session->options;
  if (!options->progress) return;
  apq__tune_progress progress = {
      .phase = news->phase,
      .problem_index = session->problem_index,
      .problem_count = options->problem_count,
      .problem = session->problem,
      .done = news->done,
      .total = news->total,
      .failures = news->failures,
      .best = news->best,
      .best_seconds = news->best_seconds,
      .modelled = session->target.emulated,
      .elapsed_seconds = apq__session_elapsed(session),
      .eta_seconds = eta(session, news->fraction),
      .note = news->note,
      .result = news->result,
  };
  options->progress(&progress, options->user);
}

/* ---- waiting ---- */

static void renew_claim(apq__session *session) {
  if (!session->is_claimed || apq__now() < session->renewal) return;
  session->renewal = apq__now() + session->claim_ttl / 3.0;
  /* Failing to renew costs nothing but, perhaps, work done twice. */
  apq__db_claim(session->db, &session->environment, session->problem, session->owner,
                session->claim_ttl, NULL);
}

apq__worker_event apq__session_wait(apq__session *session, double seconds, int *which,
                                    apq__message *message, apq_error *error) {
  apq__worker_process *workers[APQ__JOBS_MAX + 1] = {&session->device};
  for (int i = 0; i < session->jobs; i++) workers[i + 1] = &session->compiler[i];
  double end = apq__now() + seconds;
  for (;;) {
    renew_claim(session);
    double left = end - apq__now();
    if (left > 1) left = 1;
    apq__worker_event event = apq__worker_wait(workers, session->jobs + 1, left > 0 ? left : 0,
                                               session->options->stop, which, message, error);
    *which -= 1;
    if (event != APQ__WORKER_NOTHING) return event;
    if (apq__session_stopped(session) || apq__now() >= end) return event;
    int busy = 0;
    for (int i = 0; i <= session->jobs; i++) busy += workers[i]->busy;
    if (!busy) return event;
  }
}

apq_status apq__session_call(apq__session *session, apq__message_kind command, apq__bytes *body,
                             double seconds, apq__message *message, int *lost, apq_error *error) {
  apq__worker_process *device = &session->device;
  double end = apq__now() + seconds + 1;
  apq_error loss = APQ_ERROR_INIT;
  int which;
  *lost = 0;
  *message = (apq__message){0};
  apq_status status = apq__worker_ask(device, command, 0, body, seconds, error);
  apq__worker_event event = APQ__WORKER_NOTHING;
  /* Not broken off by a stop: a command is short, and its answer would be taken for the next one's.
   */
  while (status == APQ_OK && event == APQ__WORKER_NOTHING && apq__now() < end) {
    renew_claim(session);
    event = apq__worker_wait(&device, 1, 1, NULL, &which, message, &loss);
  }
  if (status != APQ_OK) return status;
  if (event == APQ__WORKER_ANSWER) {
    status = apq__get_status(message, error);
    if (status != APQ_OK) apq__message_free(message);
    return status;
  }
  *lost = 1;
  status = loss.status != APQ_OK ? loss.status : APQ_TIMEOUT;
  apq__fail(error, status, loss.stage[0] ? loss.stage : "timeout", "%s", loss.message);
  apq__error_take_log(error, loss.log);
  return status;
}

/* ---- the device worker ---- */

static void fill_environment(apq__session *session, const char *compiler) {
  apq__environment *environment = &session->environment;
  const apq__target *target = &session->target;
  *environment = (apq__environment){.sm_count = target->sm_count, .emulated = target->emulated};
  snprintf(environment->gpu, sizeof environment->gpu, "%s", target->name);
  snprintf(environment->arch, sizeof environment->arch, "%s", target->arch);
  snprintf(environment->driver, sizeof environment->driver, "%s", target->driver);
  snprintf(environment->compiler, sizeof environment->compiler, "%s", compiler);
}

static apq_status open_device(apq__session *session, apq_error *error) {
  apq__bytes body = {0};
  apq__message answer;
  int lost;
  apq__put_string(&body, session->options->device);
  apq_status status =
      apq__session_call(session, APQ__MSG_OPEN, &body, OPEN_SECONDS, &answer, &lost, error);
  if (status != APQ_OK) return status;
  apq__get_struct(&answer, &session->target, sizeof session->target);
  fill_environment(session, apq__get_string(&answer));
  if (answer.bad)
    status = apq__fail(error, APQ_INTERNAL, "worker", "the worker's device is not described");
  apq__message_free(&answer);
  return status;
}

apq_status apq__session_set_problem(apq__session *session, apq_error *error) {
  apq__bytes body = {0};
  apq__message answer;
  int lost;
  char key[APQ__KEY_MAX];
  apq__put_string(&body, apq__problem_key(session->problem, key));
  apq__put_i64(&body, (int64_t)session->options->seed);
  apq__put_string(&body, session->objective);
  apq__put_string(&body, session->cache_dir);
  apq_status status =
      apq__session_call(session, APQ__MSG_PROBLEM, &body, PROBLEM_SECONDS, &answer, &lost, error);
  apq__message_free(&answer);
  return status;
}

apq_status apq__session_device(apq__session *session, apq_error *error) {
  if (session->device.pid > 0) return APQ_OK;
  apq_status status = apq__worker_start(&session->device, session->options->worker_argv, error);
  if (status != APQ_OK) return status;
  session->generation++;
  status = open_device(session, error);
  if (status == APQ_OK && session->problem) status = apq__session_set_problem(session, error);
  if (status != APQ_OK) apq__worker_stop(&session->device);
  return status;
}

void apq__put_load(apq__bytes *body, int id, const apq__candidate *candidate) {
  char key[APQ__KEY_MAX];
  apq__put_i32(body, id);
  apq__put_string(body, apq__config_key(&candidate->config, key));
  apq__put_bytes(body, candidate->image, candidate->image_size);
}

/* ---- what has been verified ---- */

int apq__session_is_verified(const apq__session *session, const apq__config *config) {
  char key[APQ__KEY_MAX];
  apq__config_key(config, key);
  for (int i = 0; i < session->verified_count; i++)
    if (strcmp(session->verified[i], key) == 0) return 1;
  return 0;
}

void apq__session_set_verified(apq__session *session, const apq__config *config) {
  char key[APQ__KEY_MAX];
  if (apq__session_is_verified(session, config)) return;
  if (session->verified_count == session->verified_capacity) {
    int capacity = session->verified_capacity ? 2 * session->verified_capacity : 64;
    char **grown = apq__realloc(session->verified, (size_t)capacity * sizeof *grown);
    if (!grown) return;
    session->verified = grown;
    session->verified_capacity = capacity;
  }
  char *copy = apq__strdup(apq__config_key(config, key));
  if (copy) session->verified[session->verified_count++] = copy;
}
