/* The contest of the verified candidates on a GPU. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "device.h"
#include "host.h"
#include "statistics.h"
#include "status.h"
#include "tune_impl.h"

/* Objects are kept of all that the database could make the winner: it calls times within 1 % equal.
 */
#define KEEP_OBJECT 1.015

typedef struct measuring {
  apq__session *session;
  apq__candidates *list;
  apq__contest contest; /* index for index with the list */
  apq__clock_state *clocks;
  unsigned char *pinned;
  int samples, expected; /* taken, and about how many there will be */
  int failed;
} measuring;

static apq_status measuring_open(measuring *m, apq_error *error) {
  size_t count = (size_t)m->list->count;
  m->contest = (apq__contest){.count = m->list->count,
                              .seconds = apq__alloc(count * sizeof *m->contest.seconds),
                              .alive = apq__calloc(count, 1)};
  m->clocks = apq__calloc(count, sizeof *m->clocks);
  m->pinned = apq__calloc(count, 1);
  m->contest.pinned = m->pinned;
  if (!m->contest.seconds || !m->contest.alive || !m->clocks || !m->pinned)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for samples");
  for (int i = 0; i < m->list->count; i++) {
    m->contest.alive[i] = m->list->item[i].state == APQ__CANDIDATE_VERIFIED;
    m->pinned[i] = m->list->item[i].pinned != 0;
    for (int r = 0; r < APQ__ROUNDS_MAX; r++) m->contest.seconds[i][r] = NAN;
  }
  return APQ_OK;
}

static void measuring_close(measuring *m) {
  apq__free(m->contest.seconds);
  apq__free(m->contest.alive);
  apq__free(m->clocks);
  apq__free(m->pinned);
}

static void report(const measuring *m, const char *note) {
  int leader = apq__contest_leader(&m->contest);
  apq__news news = {.phase = APQ__TUNE_MEASURE,
                    .done = m->samples,
                    .total = m->expected,
                    .failures = m->failed,
                    .note = note};
  news.fraction = 0.7 + (m->expected > 0 ? 0.3 * m->samples / m->expected : 0);
  if (leader >= 0) {
    apq__quantiles q;
    apq__quantiles_of(m->contest.seconds[leader], m->contest.rounds, &q);
    news.best = &m->list->item[leader].config;
    news.best_seconds = q.p50;
  }
  apq__session_report(m->session, &news);
}

/* ---- sampling ---- */

static apq_status fail(measuring *m, int index, const apq_error *failure, apq_error *error) {
  char note[2048], key[APQ__KEY_MAX];
  apq__candidate *candidate = &m->list->item[index];
  const char *stage = strcmp(failure->stage, "crash") == 0 || strcmp(failure->stage, "timeout") == 0
                          ? failure->stage
                          : "run";
  m->contest.alive[index] = 0;
  for (int r = 0; r < APQ__ROUNDS_MAX; r++) m->contest.seconds[index][r] = NAN;
  m->failed++;
  apq_status status = apq__fail_candidate(m->session, candidate, stage, 0, failure, error);
  snprintf(note, sizeof note, "%s: %s: %s", apq__config_key(&candidate->config, key), stage,
           failure->message);
  report(m, note);
  return status;
}

static apq_status sample(measuring *m, int index, double *seconds, int *lost, apq_error *error) {
  apq__session *session = m->session;
  apq__candidate *candidate = &m->list->item[index];
  apq__message answer = {0};
  apq__bytes body = {0};
  apq_status status = APQ_OK;
  *lost = 0;
  if (candidate->generation != session->generation) {
    apq__put_load(&body, index, candidate);
    status = apq__session_call(session, APQ__MSG_LOAD, &body, session->run_timeout, &answer, lost,
                               error);
    apq__message_free(&answer);
    if (status != APQ_OK) return status;
    candidate->generation = session->generation;
    body = (apq__bytes){0};
  }
  apq__put_i32(&body, index);
  status = apq__session_call(session, APQ__MSG_SAMPLE, &body, session->run_timeout, &answer, lost,
                             error);
  if (status != APQ_OK) return status;
  apq__clock_state clocks;
  *seconds = apq__get_f64(&answer);
  apq__get_struct(&answer, &clocks, sizeof clocks);
  if (answer.bad || !(*seconds > 0))
    status = apq__fail(error, APQ_INTERNAL, "run", "the worker's sample is malformed");
  apq__message_free(&answer);
  /* Clocks of the last sample; every reason to throttle that was ever given. */
  clocks.throttle_reasons |= m->clocks[index].throttle_reasons;
  m->clocks[index] = clocks;
  return status;
}

/* One sample of each living candidate.  A candidate that fails is out; the others go on in a new
 * worker. *broken_off: stopped or out of time. */
static apq_status play_round(measuring *m, double deadline, int *broken_off, apq_error *error) {
  int *order = apq__alloc((size_t)m->list->count * sizeof *order);
  int round = m->contest.rounds;
  apq_status status = APQ_OK;
  if (!order) return apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for a round");
  apq__round_order(m->session->options->seed, round, m->list->count, order);
  *broken_off = 0;
  for (int i = 0; i < m->list->count && status == APQ_OK; i++) {
    int index = order[i], lost;
    if (!m->contest.alive[index]) continue;
    /* The first round is played to its end, so that what was begun has a result. */
    *broken_off = apq__session_stopped(m->session) || (round > 0 && apq__now() > deadline);
    if (*broken_off) break;
    apq_error failure = APQ_ERROR_INIT;
    double seconds = 0;
    status = apq__session_device(m->session, error);
    if (status != APQ_OK) break;
    apq_status sampled = sample(m, index, &seconds, &lost, &failure);
    if (sampled == APQ_OK) {
      m->contest.seconds[index][round] = seconds;
      m->samples++;
    } else {
      if (!lost && (sampled == APQ_DEVICE || sampled == APQ_KERNEL_FAULT))
        apq__worker_stop(&m->session->device);
      status = fail(m, index, &failure, error);
    }
    apq_error_clear(&failure);
  }
  apq__free(order);
  if (status == APQ_OK && !*broken_off) m->contest.rounds++;
  return status;
}

static apq_status play(measuring *m, double deadline, int *complete, apq_error *error) {
  int stage, keep, broken_off = 0;
  apq_status status = APQ_OK;
  for (;;) {
    apq__contest_next(&m->contest, m->session->rounds, &stage, &keep);
    int alive = apq__contest_alive(&m->contest), left = m->session->rounds - m->contest.rounds;
    m->expected = m->samples + alive * stage + (alive < keep ? alive : keep) * (left - stage);
    for (int i = 0; i < stage && status == APQ_OK && !broken_off; i++) {
      status = play_round(m, deadline, &broken_off, error);
      report(m, NULL);
    }
    if (stage == 0 || broken_off || status != APQ_OK) break;
    apq__contest_halve(&m->contest, keep);
  }
  *complete = !broken_off;
  return status;
}

/* ---- results ---- */

static int pick_winner(const measuring *m, int *tied, apq_error *error) {
  int count = m->list->count, incumbent = -1, winner = -1;
  char(*text)[APQ__KEY_MAX] = apq__alloc((size_t)count * sizeof *text);
  const char **keys = apq__alloc((size_t)count * sizeof *keys);
  if (text && keys) {
    for (int i = 0; i < count; i++) {
      keys[i] = apq__config_key(&m->list->item[i].config, text[i]);
      if (m->list->item[i].incumbent) incumbent = i;
    }
    winner = apq__contest_winner(&m->contest, keys, incumbent, tied);
  } else {
    apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for keys");
  }
  apq__free(text);
  apq__free(keys);
  return winner;
}

/* The row of one candidate.  Its times are put on the scale of the winner's median by the paired
 * ratio: candidates that were dropped early were sampled at other clocks than those that stayed. */
static void make_row(const measuring *m, int index, int winner, apq__measurement *row) {
  const apq__session *session = m->session;
  const apq__clock_state *clocks = &m->clocks[index];
  apq__quantiles q, best;
  apq__ratio ratio;
  apq__quantiles_of(m->contest.seconds[index], m->contest.rounds, &q);
  apq__quantiles_of(m->contest.seconds[winner], m->contest.rounds, &best);
  apq__paired_ratio(m->contest.seconds[index], m->contest.seconds[winner], m->contest.rounds,
                    &ratio);
  double scale = ratio.pairs > 0 ? best.p50 * ratio.p50 / q.p50 : 1;
  *row = (apq__measurement){.samples = q.count,
                            .min = q.min * scale,
                            .p10 = q.p10 * scale,
                            .p50 = q.p50 * scale,
                            .p90 = q.p90 * scale,
                            .max = q.max * scale,
                            .incumbent_ratio = ratio.p50,
                            .sm_mhz = clocks->sm_mhz,
                            .temperature_c = clocks->temperature_c,
                            .throttle_reasons = clocks->throttle_reasons,
                            .unix_time = apq__unix_time()};
  strncpy(row->objective, session->objective, sizeof row->objective - 1);
  memcpy(row->run, session->run, sizeof row->run);
}

static apq_status write_rows(const measuring *m, int winner, int *measured, apq_error *error) {
  apq__session *session = m->session;
  size_t count = (size_t)m->list->count;
  apq__variant *variants = apq__calloc(count, sizeof *variants);
  apq__measurement *rows = apq__calloc(count, sizeof *rows);
  apq_status status = APQ_OK;
  double best = 0;
  int used = 0;
  if (!variants || !rows) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for measurements");
    goto cleanup;
  }
  for (int i = 0; i < m->list->count && status == APQ_OK; i++) {
    const apq__candidate *candidate = &m->list->item[i];
    apq__quantiles q;
    apq__quantiles_of(m->contest.seconds[i], m->contest.rounds, &q);
    if (q.count == 0) continue;
    make_row(m, i, winner, &rows[used]);
    if (best == 0 || rows[used].p50 < best) best = rows[used].p50;
    memcpy(rows[used].artifact, candidate->object_id, sizeof rows[used].artifact);
    status = apq__candidate_variant(session, candidate, &variants[used++], error);
  }
  /* The objects first: a winner never names one that is missing. */
  for (int i = 0, row = 0; i < m->list->count && status == APQ_OK; i++) {
    apq__quantiles q;
    apq__quantiles_of(m->contest.seconds[i], m->contest.rounds, &q);
    if (q.count == 0) continue;
    if (i == winner || rows[row].p50 <= best * KEEP_OBJECT)
      status = apq__record_object(session, &m->list->item[i], m->list->item[i].object_id, error);
    else
      rows[row].artifact[0] = 0;
    row++;
  }
  if (status == APQ_OK && used > 0)
    status = apq__db_add_measurements(session->db, &session->environment, session->problem, used,
                                      variants, rows, error);
  if (status == APQ_OK) *measured = used;
cleanup:
  apq__free(variants);
  apq__free(rows);
  return status;
}

apq_status apq__measure_candidates(apq__session *session, apq__candidates *list, double deadline,
                                   int *measured, int *tied, int *failed, int *complete,
                                   apq_error *error) {
  measuring m = {.session = session, .list = list};
  *measured = *tied = *complete = 0;
  apq_status status = measuring_open(&m, error);
  if (status == APQ_OK) status = play(&m, deadline, complete, error);
  int winner = -1;
  if (status == APQ_OK && m.contest.rounds > 0) {
    apq_error failure = APQ_ERROR_INIT;
    winner = pick_winner(&m, tied, &failure);
    if (failure.status != APQ_OK)
      status = apq__fail(error, failure.status, "run", "%s", failure.message);
  }
  if (status == APQ_OK && winner >= 0) status = write_rows(&m, winner, measured, error);
  *failed += m.failed;
  measuring_close(&m);
  return status;
}
