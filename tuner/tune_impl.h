/* What the parts of the tuning engine share: one run (session), and the candidates of one problem.
 */
#ifndef APQ_TUNE_IMPL_H
#define APQ_TUNE_IMPL_H

#include "db.h"
#include "tune.h"
#include "worker_process.h"

enum { APQ__JOBS_MAX = 64 };

/* ---- candidates (tune_candidates.c) ---- */

typedef enum apq__candidate_state {
  APQ__CANDIDATE_WAITING,
  APQ__CANDIDATE_COMPILING,
  APQ__CANDIDATE_COMPILED,
  APQ__CANDIDATE_CHECKING, /* loading or being verified */
  APQ__CANDIDATE_VERIFIED,
  APQ__CANDIDATE_FAILED
} apq__candidate_state;

typedef struct apq__candidate {
  apq__config config;
  double cost;   /* modelled seconds; 0 for a pack kernel */
  int pinned;    /* a template's default or the database's: kept and measured to the end */
  int incumbent; /* the winner of the database */
  apq__candidate_state state;
  int passed;  /* has been VERIFIED, if perhaps by a worker that died since */
  void *image; /* once compiled; owned */
  size_t image_size;
  char object_id[65];
  int generation; /* of the device worker that has it loaded; 0: none */
} apq__candidate;

typedef struct apq__candidates {
  apq__candidate *item; /* by rising cost, then key */
  int count;
  int total, pruned, known; /* as in apq__tune_result */
} apq__candidates;

/* What selection looks at. */
typedef struct apq__selection_row {
  double cost;
  int family; /* any number that tells families apart */
  int pinned;
} apq__selection_row;

/* Marks in `keep` which of `count` rows, sorted by rising cost, are tried: the pinned ones, and up
 * to `top` of those within `ratio` of the cheapest, an eighth of the places held for each family,
 * since the model may be wrong about families more than within one.  Returns how many. */
int apq__select_candidates(const apq__selection_row *rows, int count, int top, double ratio,
                           unsigned char *keep);

/* ---- session (tune_session.c) ---- */

typedef struct apq__session {
  const apq__tune_options *options;
  apq__tune_summary *summary;
  /* The options with defaults filled in. */
  int jobs, top, rounds, claim_ttl;
  double prune_ratio, compile_timeout, run_timeout;
  const char *objective;
  char *cache_dir; /* NULL: no cache */
  const char *space_name, *space_hash;

  apq__db *db;
  apq__environment environment;
  apq__target target;
  char run[33], owner[64];

  apq__worker_process device;
  int generation; /* of the device worker: grows with each start */
  apq__worker_process compiler[APQ__JOBS_MAX];
  char **verified; /* keys of configs that passed the small shapes in this run */
  int verified_count, verified_capacity;

  double begin;
  int todo, done;              /* problems to tune, problems finished */
  const apq__problem *problem; /* in progress */
  int problem_index;
  int is_claimed;
  double renewal; /* when the claim is next renewed */
  const apq__tune_result
      *standing; /* what there is of a result while pack kernels are made; else NULL */
} apq__session;

int apq__session_stopped(const apq__session *session);
double apq__session_elapsed(const apq__session *session);

/* Calls the progress callback.  `fraction` of the problem in progress is done. */
typedef struct apq__news {
  apq__tune_phase phase;
  int done, total, failures;
  const apq__config *best;
  double best_seconds, fraction;
  const char *note;
  const apq__tune_result *result;
} apq__news;
void apq__session_report(apq__session *session, const apq__news *news);

/* Waits, at most `seconds`, for the device worker (which = -1) or a compiler (its index), renewing
 * the claim meanwhile. NOTHING also when stopped. */
apq__worker_event apq__session_wait(apq__session *session, double seconds, int *which,
                                    apq__message *message, apq_error *error);

/* One command to the device worker, its answer waited for.  As apq__worker_call. */
apq_status apq__session_call(apq__session *session, apq__message_kind command, apq__bytes *body,
                             double seconds, apq__message *message, int *lost, apq_error *error);

/* Starts the device worker when it is not running, opens the device, and makes it ready for the
 * problem in progress, if there is one. On the first start fills target and environment. */
apq_status apq__session_device(apq__session *session, apq_error *error);
/* Tells a running device worker of another problem. */
apq_status apq__session_set_problem(apq__session *session, apq_error *error);

/* The bodies of commands about candidate `id`. */
void apq__put_load(apq__bytes *body, int id, const apq__candidate *candidate);

/* Whether a config passed the small shapes earlier in this run; and remembers it (memory short: it
 * is verified again). */
int apq__session_is_verified(const apq__session *session, const apq__config *config);
void apq__session_set_verified(apq__session *session, const apq__config *config);

/* ---- the phases ---- */

/* Lists, orders and selects the candidates of the problem in progress.  NOT_FOUND when the space or
 * the limits leave none; then nothing is to be freed. */
apq_status apq__candidates_make(apq__session *session, apq__candidates *out, apq_error *error);
/* The pack kernels that a winner needs and the database has not. */
apq_status apq__candidates_pack(apq__session *session, const apq__config *winner,
                                apq__candidates *out, apq_error *error);
void apq__candidates_free(apq__candidates *list);
/* What one would run without tuning: the defaults of the template `family`, completed for the
 * problem, or, when they cannot do it, the config that dispatch falls back to. */
apq_status apq__untuned_config(const char *family, const apq__problem *problem,
                               const apq__target *target, apq__config *out, apq_error *error);

/* Compiles and verifies all candidates until `deadline` (apq__now) or a stop; their states tell.
 * `verified` (may be NULL) is called for each that passes, in order of the list when the device is
 * emulated.  *failed counts failures, which are recorded.  Not OK only for what makes the run
 * pointless. */
typedef apq_status (*apq__verified_fn)(apq__session *session, apq__candidate *candidate, void *user,
                                       apq_error *error);
apq_status apq__check_candidates(apq__session *session, apq__candidates *list, double deadline,
                                 apq__verified_fn verified, void *user, int *failed,
                                 apq_error *error);

/* Marks a candidate failed and, unless the cause lies outside of it, records that: for every
 * problem (`everywhere`) or for the one in progress. `stage`: as the database wants it. */
apq_status apq__fail_candidate(apq__session *session, apq__candidate *candidate, const char *stage,
                               int everywhere, const apq_error *failure, apq_error *error);

/* Times the verified candidates until `deadline` or a stop, and writes their measurements when at
 * least one round was played. *measured counts them; *complete says whether the contest was played
 * to its end. */
apq_status apq__measure_candidates(apq__session *session, apq__candidates *list, double deadline,
                                   int *measured, int *tied, int *failed, int *complete,
                                   apq_error *error);

/* ---- records (tune_record.c) ---- */

apq_status apq__candidate_variant(const apq__session *session, const apq__candidate *candidate,
                                  apq__variant *out, apq_error *error);
/* Writes one modelled time; `best` is the lowest of the problem. */
apq_status apq__record_modelled(apq__session *session, const apq__candidate *candidate, double best,
                                apq_error *error);
/* Stores the candidate's object under `id`. */
apq_status apq__record_object(apq__session *session, const apq__candidate *candidate,
                              const char *id, apq_error *error);
/* Fills winner, times and default of a result from the database. */
apq_status apq__read_result(apq__session *session, const apq__problem *problem,
                            apq__tune_result *result, apq_error *error);

/* ---- one problem (tune_problem.c) ---- */

apq_status apq__tune_problem(apq__session *session, apq__tune_result *result, apq_error *error);

#endif
