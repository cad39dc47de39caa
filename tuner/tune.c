#include "tune.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "host.h"
#include "status.h"
#include "tune_impl.h"

enum {
  TOP_GPU = 64,
  TOP_EMULATED = 8,
  ROUNDS = 30,
  COMPILE_SECONDS = 120,
  RUN_SECONDS = 60,
  CLAIM_TTL = 10
};

const char *apq__tune_outcome_name(apq__tune_outcome outcome) {
  static const char *const names[APQ__TUNE_OUTCOME_COUNT] = {"untuned",       "tuned",   "partial",
                                                             "already tuned", "claimed", "failed"};
  return (unsigned)outcome < APQ__TUNE_OUTCOME_COUNT ? names[outcome] : "?";
}

/* ---- opening and closing a run ---- */

static int usable_cpus(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count > 0 ? count : 1;
}

static double or_default(double value, double fallback) {
  return value > 0 ? value : fallback;
}

/* Tells this run from all others, on this machine and elsewhere. */
static void name_run(apq__session *session) {
  char host[65] = "", seed[160], hex[65];
  gethostname(host, sizeof host - 1);
  snprintf(seed, sizeof seed, "%s %ld %lld %.9f", host, (long)getpid(), (long long)apq__unix_time(),
           apq__now());
  apq__sha256(&(apq__piece){seed, strlen(seed)}, 1, hex);
  memcpy(session->run, hex, 32);
  snprintf(session->owner, sizeof session->owner, "%ld@%.20s/%.8s", (long)getpid(), host, hex);
}

static apq_status check_options(const apq__tune_options *options, apq_error *error) {
  if (!options->space)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "no search space is given");
  if (options->problem_count < 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "there is no problem to tune");
  if (options->objective && strcmp(options->objective, "burst") != 0 &&
      strcmp(options->objective, "sustained") != 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "objective \"%s\" is neither \"burst\" nor \"sustained\"", options->objective);
  for (int i = 0; i < options->problem_count; i++) {
    apq_status status = apq__problem_check(&options->problems[i], error);
    if (status != APQ_OK) return status;
  }
  return APQ_OK;
}

static void settle_options(apq__session *session) {
  const apq__tune_options *options = session->options;
  session->jobs = options->jobs > 0 ? options->jobs : usable_cpus();
  if (session->jobs > APQ__JOBS_MAX) session->jobs = APQ__JOBS_MAX;
  session->rounds = options->rounds > 0 ? options->rounds : ROUNDS;
  session->claim_ttl = options->claim_ttl > 1 ? options->claim_ttl : CLAIM_TTL;
  session->prune_ratio = or_default(options->prune_ratio, 4);
  session->compile_timeout = or_default(options->compile_timeout, COMPILE_SECONDS);
  session->run_timeout = or_default(options->run_timeout, RUN_SECONDS);
  session->objective =
      options->objective ? options->objective : apq__space_objective(options->space);
  session->cache_dir = options->cache_dir ? apq__strdup(options->cache_dir) : apq__cache_dir();
}

static apq_status open_db(apq__session *session, apq_error *error) {
  const apq__tune_options *options = session->options;
  char note[256] = "";
  char *path = options->db_path ? apq__strdup(options->db_path) : apq__db_user_path();
  session->summary->db_path = path;
  if (!path)
    return apq__fail(error, APQ_NOT_FOUND, "database",
                     "no database is named and there is no cache folder for the default one");
  apq_status status = apq__db_open(path, APQ__DB_WRITE, &session->db, note, error);
  if (status == APQ_OK && note[0])
    apq__session_report(session, &(apq__news){.phase = APQ__TUNE_SEARCH, .note = note});
  return status;
}

static apq_status session_open(apq__session *session, apq_error *error) {
  apq__tune_summary *summary = session->summary;
  apq_status status = check_options(session->options, error);
  if (status != APQ_OK) return status;
  name_run(session);
  settle_options(session);
  summary->result = apq__calloc((size_t)session->options->problem_count, sizeof *summary->result);
  if (!summary->result)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "search", "no memory for results");
  summary->count = session->options->problem_count;
  for (int i = 0; i < summary->count; i++)
    summary->result[i].problem = session->options->problems[i];
  status = open_db(session, error);
  if (status == APQ_OK) status = apq__session_device(session, error);
  if (status != APQ_OK) return status;
  session->top = session->options->top > 0  ? session->options->top
                 : session->target.emulated ? TOP_EMULATED
                                            : TOP_GPU;
  session->space_name = apq__space_name(session->options->space);
  session->space_hash = apq__space_hash(session->options->space, session->target.emulated);
  summary->target = session->target;
  memcpy(summary->compiler, session->environment.compiler, sizeof summary->compiler);
  memcpy(summary->run, session->run, sizeof summary->run);
  return APQ_OK;
}

static void session_close(apq__session *session) {
  for (int i = 0; i < session->jobs; i++) apq__worker_stop(&session->compiler[i]);
  apq__worker_stop(&session->device);
  for (int i = 0; i < session->verified_count; i++) apq__free(session->verified[i]);
  apq__free(session->verified);
  apq__free(session->cache_dir);
  apq__db_close(session->db);
}

/* ---- problem by problem ---- */

static apq_status is_tuned(apq__session *session, const apq__problem *problem, int *out,
                           apq_error *error) {
  *out = 0;
  if (session->options->retune) return APQ_OK;
  return apq__db_is_tuned(session->db, &session->environment, problem, session->objective,
                          session->space_name, session->space_hash, out, error);
}

static void announce(apq__session *session, int index) {
  apq__tune_result *result = &session->summary->result[index];
  apq__news news = {.phase = APQ__TUNE_RESULT, .failures = result->failed, .result = result};
  if (result->has_winner) {
    news.best = &result->winner;
    news.best_seconds = result->seconds;
  }
  session->problem_index = index;
  session->problem = &result->problem;
  apq__session_report(session, &news);
  session->problem = NULL;
}

/* The winner stands in the database already. */
static apq_status take_tuned(apq__session *session, int index, apq_error *error) {
  apq__tune_result *result = &session->summary->result[index];
  result->outcome = APQ__TUNE_ALREADY;
  apq_status status = apq__read_result(session, &result->problem, result, error);
  if (status == APQ_OK) announce(session, index);
  return status;
}

/* Claims and tunes one problem.  One that another process has claimed is left CLAIMED. */
static apq_status attempt(apq__session *session, int index, apq_error *error) {
  apq__tune_result *result = &session->summary->result[index];
  int tuned = 0;
  apq_status status = apq__db_claim(session->db, &session->environment, &result->problem,
                                    session->owner, session->claim_ttl, error);
  if (status == APQ_BUSY) {
    result->outcome = APQ__TUNE_CLAIMED;
    snprintf(result->message, sizeof result->message, "%s", error->message);
    apq_error_clear(error);
    return APQ_OK;
  }
  if (status != APQ_OK) return status;
  *result = (apq__tune_result){.problem = result->problem};
  session->problem = &result->problem;
  session->problem_index = index;
  session->is_claimed = 1;
  session->renewal = apq__now() + session->claim_ttl / 3.0;
  /* Asked again: another process may have finished it since. */
  status = is_tuned(session, &result->problem, &tuned, error);
  if (status == APQ_OK && !tuned) status = apq__tune_problem(session, result, error);
  session->is_claimed = 0;
  session->problem = NULL;
  apq__db_release(session->db, &session->environment, &result->problem, session->owner, NULL);
  session->done++;
  if (status == APQ_OK && tuned) return take_tuned(session, index, error);
  if (status == APQ_OK) announce(session, index);
  return status;
}

/* Whether the run must end before another problem; notes it when it is for want of time. */
static int must_end(apq__session *session) {
  double budget = session->options->budget_seconds;
  if (apq__session_stopped(session)) return 1;
  if (budget <= 0 || apq__session_elapsed(session) < budget) return 0;
  session->summary->out_of_budget = 1;
  return 1;
}

/* Problems that other processes had claimed: tuned by now, or their owner is dead and the claim
 * runs out, or left to it. */
static apq_status revisit_claimed(apq__session *session, apq_error *error) {
  apq__tune_summary *summary = session->summary;
  apq_status status = APQ_OK;
  for (double end = apq__now() + session->claim_ttl + 2; apq__now() < end;) {
    int claimed = 0;
    for (int i = 0; i < summary->count && status == APQ_OK && !must_end(session); i++) {
      if (summary->result[i].outcome != APQ__TUNE_CLAIMED) continue;
      double begin = apq__now();
      status = attempt(session, i, error);
      claimed += summary->result[i].outcome == APQ__TUNE_CLAIMED;
      end += summary->result[i].outcome == APQ__TUNE_CLAIMED ? 0 : apq__now() - begin;
    }
    if (status != APQ_OK || claimed == 0 || must_end(session)) break;
    nanosleep(&(struct timespec){0, 300000000}, NULL);
  }
  for (int i = 0; i < summary->count && status == APQ_OK; i++)
    if (summary->result[i].outcome == APQ__TUNE_CLAIMED) announce(session, i);
  return status;
}

static apq_status run_problems(apq__session *session, apq_error *error) {
  apq__tune_summary *summary = session->summary;
  apq_status status = APQ_OK;
  /* Counted first, so that the time left and shares of the budget are of what has to be done. */
  for (int i = 0; i < summary->count && status == APQ_OK; i++) {
    int tuned;
    status = is_tuned(session, &summary->result[i].problem, &tuned, error);
    session->todo += !tuned;
    if (tuned) summary->result[i].outcome = APQ__TUNE_ALREADY;
  }
  for (int i = 0; i < summary->count && status == APQ_OK; i++)
    if (summary->result[i].outcome == APQ__TUNE_ALREADY) status = take_tuned(session, i, error);
  for (int i = 0; i < summary->count && status == APQ_OK; i++) {
    if (summary->result[i].outcome != APQ__TUNE_UNTUNED) continue;
    if (must_end(session)) break;
    status = attempt(session, i, error);
  }
  if (status == APQ_OK) status = revisit_claimed(session, error);
  return status;
}

static void count_results(apq__tune_summary *summary, int interrupted) {
  int counts[APQ__TUNE_OUTCOME_COUNT] = {0};
  for (int i = 0; i < summary->count; i++) counts[summary->result[i].outcome]++;
  summary->tuned = counts[APQ__TUNE_TUNED];
  summary->partial = counts[APQ__TUNE_PARTIAL];
  summary->already = counts[APQ__TUNE_ALREADY];
  summary->claimed = counts[APQ__TUNE_CLAIMED];
  summary->failed = counts[APQ__TUNE_FAILED];
  summary->untuned = counts[APQ__TUNE_UNTUNED];
  /* Whatever was cut short without being interrupted was so for want of time. */
  if (summary->partial > 0 && !interrupted) summary->out_of_budget = 1;
}

apq_status apq__tune(const apq__tune_options *options, apq__tune_summary *out, apq_error *error) {
  apq_error own = APQ_ERROR_INIT;
  *out = (apq__tune_summary){0};
  if (!error) error = &own;
  apq__session *session = apq__calloc(1, sizeof *session);
  if (!session) return apq__fail(error, APQ_OUT_OF_MEMORY, "search", "no memory for a run");
  session->options = options;
  session->summary = out;
  session->begin = apq__now();
  session->device = (apq__worker_process)APQ__WORKER_PROCESS_INIT;
  for (int i = 0; i < APQ__JOBS_MAX; i++)
    session->compiler[i] = (apq__worker_process)APQ__WORKER_PROCESS_INIT;
  apq_status status = session_open(session, error);
  if (status == APQ_OK) status = run_problems(session, error);
  if (status == APQ_OK && apq__session_stopped(session))
    status = apq__fail(error, APQ_INTERRUPTED, "run",
                       "interrupted: what was finished is kept, and the next run resumes");
  out->elapsed_seconds = apq__session_elapsed(session);
  session_close(session);
  apq__free(session);
  count_results(out, status == APQ_INTERRUPTED);
  for (int i = 0; i < out->count; i++)
    if (out->result[i].outcome == APQ__TUNE_UNTUNED && !out->result[i].message[0])
      snprintf(out->result[i].message, sizeof out->result[i].message, "%s",
               status == APQ_INTERRUPTED ? "interrupted"
               : out->out_of_budget      ? "the budget ran out"
                                         : "not reached");
  apq_error_clear(&own);
  return status;
}

void apq__tune_summary_free(apq__tune_summary *summary) {
  if (!summary) return;
  apq__free(summary->result);
  apq__free(summary->db_path);
  *summary = (apq__tune_summary){0};
}
