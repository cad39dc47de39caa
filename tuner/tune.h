/* The tuning engine: problems and a space in, measured winners in a database out. */
#ifndef APQ_TUNE_H
#define APQ_TUNE_H

#include <signal.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"
#include "space.h"
#include "target.h"

/* What the engine is busy with. */
typedef enum apq__tune_phase {
  APQ__TUNE_SEARCH,  /* candidates are listed and ordered */
  APQ__TUNE_CHECK,   /* candidates are compiled and verified; done/total count candidates */
  APQ__TUNE_MEASURE, /* survivors are timed; done/total count samples */
  APQ__TUNE_RESULT   /* the problem is finished; `result` is set */
} apq__tune_phase;

/* How a problem ended. */
typedef enum apq__tune_outcome {
  APQ__TUNE_UNTUNED, /* the budget ran out or the run was stopped before anything of it was measured
                      */
  APQ__TUNE_TUNED,   /* completely */
  APQ__TUNE_PARTIAL, /* stopped early: there is a winner among what was measured; a later run
                        resumes */
  APQ__TUNE_ALREADY, /* completely tuned by an earlier run; winner and times are the database's */
  APQ__TUNE_CLAIMED, /* another process is tuning it now */
  APQ__TUNE_FAILED,  /* no candidate is feasible, or none passed; `message` says why */
  APQ__TUNE_OUTCOME_COUNT
} apq__tune_outcome;

/* "untuned", "tuned", "partial", "already tuned", "claimed", "failed". */
const char *apq__tune_outcome_name(apq__tune_outcome outcome);

typedef struct apq__tune_result {
  apq__problem problem;
  apq__tune_outcome outcome;
  int has_winner;
  apq__config winner;
  double seconds; /* of the winner, median of one launch */
  /* What would run untuned: the defaults of the winner's template, or, where they cannot do the
   * problem, dispatch's last resort.  Always a candidate, so that seconds and default_seconds come
   * from one run; default_seconds is 0 when it failed or was not reached. */
  apq__config default_config;
  double default_seconds;
  int modelled;   /* times are the cost model's (emulated devices) */
  int tied;       /* candidates within the noise of the winner, itself not counted */
  int candidates; /* the space gave, after constraints and limits */
  int pruned;     /* of these, left out by the cost model's order */
  int measured;   /* timed in this run */
  int failed;     /* failed in this run */
  int known;      /* skipped: failed, or on resume measured, in an earlier run */
  int replaced;   /* 1: an earlier winner of the database was beaten by more than the noise */
  double elapsed_seconds;
  char message[488]; /* for FAILED and CLAIMED: why; for PARTIAL and UNTUNED: what stopped it */
} apq__tune_result;

typedef struct apq__tune_progress {
  apq__tune_phase phase;
  int problem_index, problem_count;
  const apq__problem *problem;
  int done, total;
  int failures;            /* of this problem so far */
  const apq__config *best; /* NULL while nothing has a time */
  double best_seconds;
  int modelled;
  double elapsed_seconds; /* since the run began */
  double eta_seconds;     /* for the whole run; negative while unknown */
  const char
      *note; /* NULL, or one line about a failure just recorded, or about the database set aside */
  const apq__tune_result *result; /* RESULT only */
} apq__tune_progress;

typedef struct apq__tune_options {
  const char *device;    /* as apq__device_open takes it; NULL: the default device */
  const char *db_path;   /* NULL: the user's database */
  const char *cache_dir; /* of compiled objects; NULL: apq__cache_dir() */
  apq__space *space;
  const apq__problem *problems;
  int problem_count;
  double budget_seconds; /* for the whole run; 0: none */
  int jobs;              /* parallel compiles; 0: as many as the process may use CPUs */
  const char *objective; /* "burst" or "sustained"; NULL: the space's */
  uint64_t seed;         /* of data and round order */
  int top;    /* candidates kept a problem by the cost model; 0: 64, or 8 on an emulated device */
  int rounds; /* samples each finalist gets; 0: 30 */
  double prune_ratio; /* candidates modelled slower than this multiple of the best are left out; 0:
                         4 */
  int retune; /* 1: tune what is marked tuned too, and try known failures and measured variants
                 again */
  double compile_timeout; /* seconds one compile may take; 0: 120 */
  double run_timeout;     /* seconds one load, verification or sample may take; 0: 60 */
  int claim_ttl; /* seconds after which the claim of a process that died is void, at least 2; 0: 10
                  */
  /* The program of worker processes and its arguments, NULL-terminated: it must call
   * apq__worker_main (worker.h).  NULL: this program with the argument APQ__WORKER_VERB. */
  const char *const *worker_argv;
  /* Makes the source of a candidate; NULL: apq__generate. */
  apq_status (*generate)(const apq__config *config, const apq__target *target, char **source,
                         apq_error *error);
  void (*progress)(const apq__tune_progress *progress, void *user); /* may be NULL */
  void *user;
  const volatile sig_atomic_t *stop; /* non-zero: finish with what there is; may be NULL */
} apq__tune_options;

typedef struct apq__tune_summary {
  apq__target target; /* what was tuned for */
  char compiler[64];
  char run[33]; /* id of this run in the database */
  char *db_path;
  int count;                /* of results: one a problem, in the order given */
  apq__tune_result *result; /* problems not reached are UNTUNED */
  int tuned, partial, already, claimed, failed, untuned; /* how many of each */
  int out_of_budget;
  double elapsed_seconds;
} apq__tune_summary;

/* Tunes every problem and writes the database as it goes.  Compiling and all device work happen in
 * worker processes: a candidate that crashes, hangs, or breaks the device is recorded as a failure
 * and costs nothing else.  `out` is filled, as far as the run came, whatever the status, and must
 * be freed.  OK also when problems failed, were claimed by others, or the budget ran out (the
 * summary says so); INTERRUPTED when `stop` was set: what was finished is kept and the next run
 * resumes.  NO_DEVICE, NO_COMPILER, and the database's own errors. */
apq_status apq__tune(const apq__tune_options *options, apq__tune_summary *out, apq_error *error);
void apq__tune_summary_free(apq__tune_summary *summary);

#endif
