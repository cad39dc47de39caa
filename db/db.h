/* The database: one SQLite file of environments, problems, variants, append-only measurements,
 * failures and artifacts, from which winners are derived. */
#ifndef APQ_DB_H
#define APQ_DB_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"

/* Used by one thread at a time, and not by a child after fork: each process opens its own. */
typedef struct apq__db apq__db;

/* Where a measurement was taken.  Two equal environments are one row. */
typedef struct apq__environment {
  char gpu[64];      /* "NVIDIA H200", "emu:sm_90a" */
  char arch[12];     /* "sm_90a" */
  char driver[24];   /* "13.0", "emu" */
  char compiler[64]; /* "nvrtc 13.0", "cc (...) 12.2.0" */
  int sm_count;
  int emulated;
} apq__environment;

/* One candidate of one problem.  `hash` is apq__family_hash: other text of the template, other
 * variant. */
typedef struct apq__variant {
  apq__config config;
  char hash[65];
} apq__variant;

/* Quantiles of one candidate's samples in one run, in seconds, and the state of the GPU. `modelled`
 * samples come from the cost model: the schema accepts them in emulated environments only, and
 * accepts nothing else there. */
typedef struct apq__measurement {
  char objective[12]; /* "burst" or "sustained" */
  char run[33];       /* id of the tuning run: rows of one run are comparable */
  int modelled;
  int samples;
  double min, p10, p50, p90, max;
  double incumbent_ratio; /* median of paired ratios to the run's winner; 1 for the winner itself */
  int sm_mhz, temperature_c;
  unsigned throttle_reasons;
  int64_t unix_time;
  char artifact[65]; /* sha256 of the object that ran, or "" */
} apq__measurement;

/* How to open.  A file that is not a database, is damaged, or is of a newer version is renamed to
 * "<path>.set-aside-<n>" when opened for writing (and a new one is made), and refused with CORRUPT
 * when opened for reading; `note` tells. */
typedef enum apq__db_mode { APQ__DB_READ, APQ__DB_WRITE } apq__db_mode;

/* Opens, migrating in place when writing.  NOT_FOUND, READ_ONLY, CORRUPT, IO and BUSY name the
 * file.  A read-only folder and file open for reading (immutable).  `note` (may be NULL) receives
 * one line when something was set aside or migrated, else "". */
apq_status apq__db_open(const char *path, apq__db_mode mode, apq__db **out, char note[256],
                        apq_error *error);
void apq__db_close(apq__db *db);
const char *apq__db_path(const apq__db *db);

/* "<cache dir>/apq.db", a new string; NULL without a cache dir. */
char *apq__db_user_path(void);
/* The installed, read-only file: APQ__SYSTEM_DB, set at build time.  A static string. */
const char *apq__db_system_path(void);

/* How winners follow from measurements, in words. */
const char *apq__db_policy(void);

/* Appends one measurement in a short BEGIN IMMEDIATE transaction. */
apq_status apq__db_add_measurement(apq__db *db, const apq__environment *environment,
                                   const apq__problem *problem, const apq__variant *variant,
                                   const apq__measurement *measurement, apq_error *error);

/* Appends those of `count` variants at once: all or none.  A run is to measure the winner it may
 * replace, and to write it no later than the others: winners come from the newest run alone. */
apq_status apq__db_add_measurements(apq__db *db, const apq__environment *environment,
                                    const apq__problem *problem, int count,
                                    const apq__variant *variants,
                                    const apq__measurement *measurements, apq_error *error);

/* Records that a variant failed (stage "generate", "compile", "verify", "run", "crash",
 * "timeout"...); `problem` may be NULL when it fails for every problem. Log kept whole. */
apq_status apq__db_add_failure(apq__db *db, const apq__environment *environment,
                               const apq__problem *problem, const apq__variant *variant,
                               const char *stage, const char *message, const char *log,
                               apq_error *error);

/* What is known about a variant: 0 nothing, 1 measured, 2 failed (for this problem or for all), in
 * this environment's GPU (name and SMs), arch and compiler.  A failure outweighs a measurement. */
typedef enum apq__known { APQ__UNKNOWN, APQ__MEASURED, APQ__FAILED } apq__known;
apq_status apq__db_known(apq__db *db, const apq__environment *environment,
                         const apq__problem *problem, const apq__variant *variant,
                         const char *objective, apq__known *out, apq_error *error);

/* Marks a problem as completely tuned with a space (its name and SHA-256), and asks.  Done is
 * forgotten when the GPU (name and SMs), arch or space hash differ; the space hash the tuner passes
 * covers the template hashes. */
apq_status apq__db_set_tuned(apq__db *db, const apq__environment *environment,
                             const apq__problem *problem, const char *objective, const char *space,
                             const char *space_hash, apq_error *error);
apq_status apq__db_is_tuned(apq__db *db, const apq__environment *environment,
                            const apq__problem *problem, const char *objective, const char *space,
                            const char *space_hash, int *out, apq_error *error);

/* Claims a problem for this process so that several tuners share one file without doing the same
 * work twice.  A claim ends with apq__db_release, or when older than `ttl_seconds`.  BUSY when
 * another holds it. */
apq_status apq__db_claim(apq__db *db, const apq__environment *environment,
                         const apq__problem *problem, const char *owner, int ttl_seconds,
                         apq_error *error);
apq_status apq__db_release(apq__db *db, const apq__environment *environment,
                           const apq__problem *problem, const char *owner, apq_error *error);

/* Compiled objects by id: 64 hexadecimal digits, apq__object.sha256 for a candidate's object, or
 * apq__artifact_id (runtime/kernels.h) for the pack kernels, which no winner names.  The digest of
 * the bytes is stored beside.  load: NOT_FOUND, or CORRUPT when the bytes no longer hash to it. */
apq_status apq__db_add_artifact(apq__db *db, const char sha256[65], const char *arch,
                                const char *compiler, const void *image, size_t size,
                                apq_error *error);
apq_status apq__db_load_artifact(apq__db *db, const char sha256[65], void **image, size_t *size,
                                 apq_error *error);

/* One winner, as the view `winner` derives it: the variant of the problem with the lowest median of
 * the newest run, for this GPU (name, SMs, arch), objective and template hash; docs/database.md has
 * the whole policy.  The caller compares variant.hash with that of its own template. */
typedef struct apq__winner {
  apq__environment environment;
  apq__problem problem;
  apq__variant variant;
  apq__measurement measurement;
} apq__winner;

/* Calls `visit` for each winner in order of (gpu, arch, SMs, problem); a non-zero return stops.
 * `gpu` and `arch` filter when not NULL. */
apq_status apq__db_winners(apq__db *db, const char *gpu, const char *arch,
                           int (*visit)(const apq__winner *, void *), void *user, apq_error *error);
/* Every measurement of one problem, best first (for `show`), same filter. */
apq_status apq__db_measurements(apq__db *db, const char *gpu, const apq__problem *problem,
                                int (*visit)(const apq__winner *, void *), void *user,
                                apq_error *error);
/* Every failure. */
typedef struct apq__failure {
  apq__environment environment;
  apq__variant variant;
  char problem[APQ__KEY_MAX]; /* canonical text, "" when for all */
  char stage[16];
  char message[488];
  const char *log; /* borrowed for the visit */
  int64_t unix_time;
} apq__failure;
apq_status apq__db_failures(apq__db *db, int (*visit)(const apq__failure *, void *), void *user,
                            apq_error *error);

/* Counts for status lines. */
typedef struct apq__db_counts {
  int64_t environments, problems, variants, measurements, failures, artifacts, winners;
} apq__db_counts;
apq_status apq__db_count(apq__db *db, apq__db_counts *out, apq_error *error);

/* What an export holds: by default every measurement, failure and tuned problem. */
enum {
  APQ__EXPORT_ARTIFACTS = 1, /* also the objects, in base64 */
  APQ__EXPORT_WINNERS = 2, /* of the measurements only the winners, and no failures: small enough to
                              ship, and the same winners where it is imported */
};

/* Export as text: a header, one row a line, sorted, so that two exports of equal databases are
 * equal, and a checksum.  Claims are not exported.  `what` is a sum of the above.  *text is a new
 * string (apq__free). */
apq_status apq__db_export(apq__db *db, int what, char **text, apq_error *error);
/* Adds what is not there yet: importing A then B gives the same database as B then A, and importing
 * twice the same as once.  All or nothing: PARSE names `name` and the line at fault. */
apq_status apq__db_import(apq__db *db, const char *text, const char *name, apq_error *error);

#endif
