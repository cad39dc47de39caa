/* Compiling in several workers while another verifies what they have made. */
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "host.h"
#include "status.h"
#include "tune_impl.h"

typedef struct checking {
  apq__session *session;
  apq__candidates *list;
  apq__verified_fn verified;
  void *user;
  int finished, failed;
  int best;      /* index of the cheapest verified, -1 */
  int at_device; /* index being loaded or verified, -1 */
} checking;

/* ---- outcomes ---- */

/* Causes that say nothing about the candidate. */
static int is_circumstance(apq_status status) {
  return status == APQ_OUT_OF_MEMORY || status == APQ_IO || status == APQ_NO_COMPILER ||
         status == APQ_NO_DEVICE || status == APQ_READ_ONLY || status == APQ_INTERNAL ||
         status == APQ_CORRUPT;
}

apq_status apq__fail_candidate(apq__session *session, apq__candidate *candidate, const char *stage,
                               int everywhere, const apq_error *failure, apq_error *error) {
  apq__variant variant;
  candidate->state = APQ__CANDIDATE_FAILED;
  apq__free(candidate->image);
  candidate->image = NULL;
  if (is_circumstance(failure->status)) return APQ_OK;
  apq_status status = apq__candidate_variant(session, candidate, &variant, error);
  if (status == APQ_OK)
    status = apq__db_add_failure(session->db, &session->environment,
                                 everywhere ? NULL : session->problem, &variant, stage,
                                 failure->message, failure->log, error);
  return status;
}

static void report(checking *c, const char *note) {
  apq__news news = {.phase = APQ__TUNE_CHECK,
                    .done = c->finished,
                    .total = c->list->count,
                    .failures = c->failed,
                    .note = note};
  /* Timing is about a third of the work on a GPU, and no work on an emulated device. */
  double share = c->session->target.emulated ? 1 : 0.7;
  news.fraction = c->list->count > 0 ? share * c->finished / c->list->count : 0;
  if (c->session->standing) {
    news.best = &c->session->standing->winner;
    news.best_seconds = c->session->standing->seconds;
    news.fraction = 1;
  } else if (c->best >= 0 && c->session->target.emulated) {
    news.best = &c->list->item[c->best].config;
    news.best_seconds = c->list->item[c->best].cost;
  }
  apq__session_report(c->session, &news);
}

/* The stage of a failure in what a worker was doing: that of its loss, if it was lost; "run" where
 * the device complained. */
static const char *stage_of(apq__message_kind doing, const apq_error *failure) {
  if (strcmp(failure->stage, "crash") == 0 || strcmp(failure->stage, "timeout") == 0)
    return failure->stage;
  if (doing == APQ__MSG_VERIFY &&
      (failure->status == APQ_KERNEL_FAULT || failure->status == APQ_DEVICE))
    return "run";
  return apq__message_name(doing);
}

static apq_status fail(checking *c, int index, const char *stage, const apq_error *failure,
                       apq_error *error) {
  /* A wrong or crashing kernel is trusted for no problem.  One that takes too long on a GPU, where
   * it runs the whole problem, may do for a smaller one. */
  int everywhere = failure->status != APQ_TIMEOUT || c->session->target.emulated ||
                   c->list->item[index].state == APQ__CANDIDATE_COMPILING;
  char note[2048], key[APQ__KEY_MAX];
  apq__candidate *candidate = &c->list->item[index];
  apq_status status = apq__fail_candidate(c->session, candidate, stage, everywhere, failure, error);
  c->failed++;
  c->finished++;
  snprintf(note, sizeof note, "%s: %s: %s", apq__config_key(&candidate->config, key), stage,
           failure->message);
  report(c, note);
  return status;
}

static apq_status pass(checking *c, int index, apq_error *error) {
  apq__candidate *candidate = &c->list->item[index];
  candidate->state = APQ__CANDIDATE_VERIFIED;
  candidate->passed = 1;
  apq__session_set_verified(c->session, &candidate->config);
  c->finished++;
  if (c->best < 0 || candidate->cost < c->list->item[c->best].cost) c->best = index;
  apq_status status = APQ_OK;
  if (c->verified) status = c->verified(c->session, candidate, c->user, error);
  report(c, NULL);
  return status;
}

/* A later kernel proved that the whole result all earlier ones agreed on is wrong. */
static apq_status refute(checking *c, int by, apq_error *error) {
  apq_error failure = APQ_ERROR_INIT;
  apq_status status = APQ_OK;
  apq__fail(&failure, APQ_MISMATCH, "verify",
            "an element of the whole result is wrong, found by comparing with another kernel");
  for (int i = 0; i < c->list->count && status == APQ_OK; i++) {
    const apq__candidate *other = &c->list->item[i];
    if (i == by || other->state != APQ__CANDIDATE_VERIFIED ||
        other->generation != c->session->generation)
      continue;
    c->finished--;
    status = fail(c, i, "verify", &failure, error);
  }
  apq_error_clear(&failure);
  return status;
}

/* ---- compilers ---- */

static int next_in(const checking *c, apq__candidate_state state) {
  for (int i = 0; i < c->list->count; i++)
    if (c->list->item[i].state == state) return i;
  return -1;
}

static apq_status give_source(checking *c, apq__worker_process *worker, int index,
                              apq_error *error) {
  apq__session *session = c->session;
  apq__candidate *candidate = &c->list->item[index];
  apq_error failure = APQ_ERROR_INIT;
  char *source = NULL;
  apq_status status = (session->options->generate ? session->options->generate : apq__generate)(
      &candidate->config, &session->target, &source, &failure);
  if (status != APQ_OK) {
    status = fail(c, index, "generate", &failure, error);
  } else {
    apq__bytes body = {0};
    apq__put_bytes(&body, &session->target, sizeof session->target);
    apq__put_string(&body, session->cache_dir);
    apq__put_string(&body, source);
    candidate->state = APQ__CANDIDATE_COMPILING;
    status =
        apq__worker_ask(worker, APQ__MSG_COMPILE, index, &body, session->compile_timeout, error);
  }
  apq__free(source);
  apq_error_clear(&failure);
  return status;
}

static apq_status feed_compilers(checking *c, apq_error *error) {
  apq__session *session = c->session;
  for (int i = 0; i < session->jobs; i++) {
    apq__worker_process *worker = &session->compiler[i];
    while (!worker->busy) {
      int index = next_in(c, APQ__CANDIDATE_WAITING);
      if (index < 0) return APQ_OK;
      apq_status status = APQ_OK;
      if (worker->pid == 0)
        status = apq__worker_start(worker, session->options->worker_argv, error);
      if (status == APQ_OK) status = give_source(c, worker, index, error);
      if (status != APQ_OK) return status;
    }
  }
  return APQ_OK;
}

static apq_status take_object(checking *c, int index, apq__message *message, apq_error *error) {
  apq__candidate *candidate = &c->list->item[index];
  apq_error failure = APQ_ERROR_INIT;
  apq_status status = apq__get_status(message, &failure);
  if (status == APQ_NO_COMPILER) {
    *error = failure; /* no candidate will fare better */
    return status;
  }
  if (status == APQ_OK) {
    const void *image = apq__get_bytes(message, &candidate->image_size);
    const char *id = apq__get_string(message);
    candidate->image = apq__alloc(candidate->image_size);
    if (message->bad || !candidate->image) {
      status = apq__fail(&failure, APQ_OUT_OF_MEMORY, "compile", "no object was returned");
    } else {
      memcpy(candidate->image, image, candidate->image_size);
      /* A pack kernel has its id already: no winner names it. */
      if (!candidate->object_id[0])
        snprintf(candidate->object_id, sizeof candidate->object_id, "%s", id);
      candidate->state = APQ__CANDIDATE_COMPILED;
    }
  }
  if (status != APQ_OK) status = fail(c, index, "compile", &failure, error);
  apq_error_clear(&failure);
  return status;
}

/* ---- the device ---- */

static int count_again(const checking *c) {
  int count = 0;
  for (int i = 0; i < c->list->count; i++)
    count += c->list->item[i].state == APQ__CANDIDATE_COMPILED && c->list->item[i].passed;
  return count;
}

/* Which one to check next: on a GPU those that no worker has had yet, so that a worker which dies
 * early is not followed by all being compared again more than once.  An emulated device takes them
 * in order, so that modelled times are written best first. */
static int next_to_check(const checking *c) {
  int is_ordered = c->session->target.emulated, again = -1;
  for (int i = 0; i < c->list->count; i++) {
    const apq__candidate *candidate = &c->list->item[i];
    if (candidate->state == APQ__CANDIDATE_COMPILED) {
      if (is_ordered || !candidate->passed) return i;
      if (again < 0) again = i;
    } else if (is_ordered && candidate->state != APQ__CANDIDATE_VERIFIED &&
               candidate->state != APQ__CANDIDATE_FAILED) {
      return -1;
    }
  }
  /* Not before the last compile: what it gives may end this worker too. */
  return c->finished + count_again(c) == c->list->count ? again : -1;
}

/* A new worker knows nothing of the result on which those that passed in the old one agreed: they
 * are compared again, so that in the end all agree on one.  (The emulated device compares none.) */
static void check_again(checking *c) {
  if (c->session->target.emulated || c->verified) return;
  for (int i = 0; i < c->list->count; i++) {
    if (c->list->item[i].state != APQ__CANDIDATE_VERIFIED) continue;
    c->list->item[i].state = APQ__CANDIDATE_COMPILED;
    c->finished--;
  }
}

static apq_status feed_device(checking *c, apq_error *error) {
  apq__session *session = c->session;
  while (c->at_device < 0) {
    int index = next_to_check(c);
    if (index < 0) return APQ_OK;
    apq__candidate *candidate = &c->list->item[index];
    apq_status status;
    if (session->target.emulated && apq__session_is_verified(session, &candidate->config)) {
      status = pass(c, index, error);
    } else {
      apq__bytes body = {0};
      int generation = session->generation;
      status = apq__session_device(session, error);
      if (status != APQ_OK) return status;
      if (session->generation != generation) check_again(c);
      apq__put_load(&body, index, candidate);
      candidate->state = APQ__CANDIDATE_CHECKING;
      c->at_device = index;
      status = apq__worker_ask(&session->device, APQ__MSG_LOAD, index, &body, session->run_timeout,
                               error);
    }
    if (status != APQ_OK) return status;
  }
  return APQ_OK;
}

static apq_status ask_verify(checking *c, int index, apq_error *error) {
  apq__session *session = c->session;
  apq__bytes body = {0};
  c->list->item[index].generation = session->generation;
  apq__put_i32(&body, index);
  apq__put_i32(&body, apq__session_is_verified(session, &c->list->item[index].config));
  return apq__worker_ask(&session->device, APQ__MSG_VERIFY, index, &body, session->run_timeout,
                         error);
}

static apq_status take_check(checking *c, apq__message *message, apq_error *error) {
  apq__session *session = c->session;
  apq__message_kind doing = session->device.doing;
  int index = c->at_device;
  apq_error failure = APQ_ERROR_INIT;
  apq_status status = apq__get_status(message, &failure);
  if (status == APQ_OK && doing == APQ__MSG_LOAD) return ask_verify(c, index, error);
  c->at_device = -1;
  if (status == APQ_OK) {
    int refuted = apq__get_i32(message);
    if (refuted) status = refute(c, index, error);
    if (status == APQ_OK) status = pass(c, index, error);
  } else {
    /* After a device error nothing that this process computes can be trusted. */
    if (status == APQ_DEVICE || status == APQ_KERNEL_FAULT) apq__worker_stop(&session->device);
    status = fail(c, index, stage_of(doing, &failure), &failure, error);
  }
  apq_error_clear(&failure);
  return status;
}

/* ---- the loop ---- */

static apq_status take_event(checking *c, apq__worker_event event, int which, apq__message *message,
                             const apq_error *loss, apq_error *error) {
  if (which >= 0) {
    int index = c->session->compiler[which].tag;
    if (event == APQ__WORKER_ANSWER) return take_object(c, index, message, error);
    return fail(c, index, stage_of(APQ__MSG_COMPILE, loss), loss, error);
  }
  if (event == APQ__WORKER_ANSWER) return take_check(c, message, error);
  int index = c->at_device;
  c->at_device = -1;
  return fail(c, index, stage_of(APQ__MSG_VERIFY, loss), loss, error);
}

/* Ends what is under way: its answers would be taken for those of the next problem. */
static void abandon(checking *c) {
  apq__session *session = c->session;
  for (int i = 0; i < session->jobs; i++)
    if (session->compiler[i].busy) apq__worker_stop(&session->compiler[i]);
  if (session->device.busy) apq__worker_stop(&session->device);
}

apq_status apq__check_candidates(apq__session *session, apq__candidates *list, double deadline,
                                 apq__verified_fn verified, void *user, int *failed,
                                 apq_error *error) {
  checking c = {session, list, verified, user, 0, 0, -1, -1};
  apq_status status = APQ_OK;
  report(&c, NULL);
  while (status == APQ_OK && c.finished < list->count) {
    double left = deadline - apq__now();
    /* Out of time: what is at the device is waited for, as killing its worker costs more. */
    if (apq__session_stopped(session) || (left <= 0 && c.at_device < 0)) break;
    if (left > 0) status = feed_compilers(&c, error);
    if (left > 0 && status == APQ_OK) status = feed_device(&c, error);
    if (status != APQ_OK || c.finished == list->count) break;
    apq__message message;
    apq_error loss = APQ_ERROR_INIT;
    int which;
    apq__worker_event event =
        apq__session_wait(session, left > 0 && left < 1 ? left : 1, &which, &message, &loss);
    if (event != APQ__WORKER_NOTHING) status = take_event(&c, event, which, &message, &loss, error);
    apq__message_free(&message);
    apq_error_clear(&loss);
  }
  abandon(&c);
  /* For want of time not compared again; still, each passed. */
  for (int i = 0; i < list->count; i++)
    if (list->item[i].state == APQ__CANDIDATE_COMPILED && list->item[i].passed)
      list->item[i].state = APQ__CANDIDATE_VERIFIED;
  *failed += c.failed;
  return status;
}
