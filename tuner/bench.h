/* Side by side: tuned kernels and cuBLASLt in one interleaved run on one GPU. */
#ifndef APQ_BENCH_H
#define APQ_BENCH_H

#include <signal.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"
#include "device.h"

/* What an entry of a group runs. */
typedef enum apq__bench_kind {
  APQ__BENCH_KERNEL, /* `config` */
  APQ__BENCH_FP16,   /* cuBLASLt */
  APQ__BENCH_INT8,
  APQ__BENCH_FP8,
  APQ__BENCH_FLOOR, /* `config`, of family stream: the weights are read and nothing else is done */
  APQ__BENCH_KIND_COUNT
} apq__bench_kind;

/* "apq", "cublaslt-fp16", "cublaslt-int8", "cublaslt-fp8", "floor". */
const char *apq__bench_kind_name(apq__bench_kind kind);

/* One thing to time, and what came of it.  The caller fills the first part. */
typedef struct apq__bench_entry {
  apq__bench_kind kind;
  apq__config config;   /* KERNEL and FLOOR only: complete */
  const char *artifact; /* KERNEL, optional: sha256 of its object in the database; otherwise it is
                           compiled */

  apq_status status; /* of this entry: an entry that fails leaves the others standing */
  char message[488]; /* why, when status is not OK */
  int samples;
  double min, p10, p50, p90, max; /* seconds of one product */
  double tops;                    /* 2 m n k / p50 / 1e12 */
  double ratio; /* p50 of entry 0 over p50 of this one: above 1, this one is faster */
  double paired_p10, paired_p50, paired_p90; /* the same from paired samples of each round */
} apq__bench_entry;

typedef struct apq__bench_group {
  apq__problem problem;
  apq__bench_entry *entry;
  int count;
} apq__bench_group;

typedef struct apq__bench_options {
  apq__device *device;   /* INVALID_ARGUMENT when emulated: there is nothing to time */
  const char *db_path;   /* where artifacts are; may be NULL */
  const char *cache_dir; /* of compiled objects; may be NULL */
  const char *objective; /* "burst" or "sustained"; NULL: "burst" */
  int rounds;            /* samples an entry; 0: 30 */
  uint64_t seed;
  /* Called after each round and before each group; may be NULL. */
  void (*progress)(int group, int group_count, int round, int rounds, void *user);
  void *user;
  const volatile sig_atomic_t
      *stop; /* non-zero: INTERRUPTED, the groups finished are valid; may be NULL */
} apq__bench_options;

/* Verifies each kernel, then times all entries of a group round-robin with the tuner's protocol
 * (rotating buffers beyond twice the L2, graph replays) and fills the results.  One group after
 * another.  Entries whose library or kernel is missing or fails get a status and message. */
apq_status apq__bench(const apq__bench_options *options, apq__bench_group *groups, int count,
                      apq_error *error);

#endif
