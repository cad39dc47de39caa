/* What the process's surroundings give: environment, clock, folders.  The only file that calls
 * getenv. */
#ifndef APQ_HOST_H
#define APQ_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"

/* The environment, each variable named once. */
typedef enum apq__variable {
  APQ__VAR_DEVICE,    /* APQ_DEVICE: default device name */
  APQ__VAR_DB,        /* APQ_DB: database file */
  APQ__VAR_CACHE_DIR, /* APQ_CACHE_DIR: instead of $XDG_CACHE_HOME/apq */
  APQ__VAR_CC,        /* APQ_CC: host C compiler of the emulated device */
  APQ__VAR_NVRTC,     /* APQ_NVRTC: path of libnvrtc.so */
  APQ__VAR_CUBLASLT,  /* APQ_CUBLASLT: path of libcublasLt.so */
  APQ__VAR_EMU_SEED,  /* APQ_EMU_SEED: fiber order of the emulated device */
  APQ__VAR_COUNT
} apq__variable;

/* Value or NULL when unset or empty; and the variable's name and one-line meaning (for --help and
 * docs). */
const char *apq__variable_get(apq__variable variable);
const char *apq__variable_name(apq__variable variable);
const char *apq__variable_doc(apq__variable variable);

/* The folder for databases and compiled objects: APQ_CACHE_DIR, else $XDG_CACHE_HOME/apq, else
 * $HOME/.cache/apq.  A new string (apq__free), or NULL when none of them is set.  Not created. */
char *apq__cache_dir(void);

/* The folder for short-lived files: $TMPDIR when that is an absolute path, else the system's. */
const char *apq__temp_dir(void);

/* mkdir -p.  READ_ONLY or IO with the folder's name. */
apq_status apq__make_dirs(const char *path, apq_error *error);

/* Whole file into a new zero-terminated buffer (size without the zero). */
apq_status apq__read_file(const char *path, char **data, size_t *size, apq_error *error);
/* Writes to a temporary name beside `path`, then renames: readers see the old or the new file,
 * never half. */
apq_status apq__write_file(const char *path, const void *data, size_t size, apq_error *error);

/* A file written piece by piece that takes the place of `path` only when it is whole.  Start it
 * zeroed; after a `begin`, `end` is due. */
typedef struct apq__new_file {
  const char *path; /* borrowed until the end */
  char *temporary;
  int descriptor;
} apq__new_file;
apq_status apq__new_file_begin(apq__new_file *file, const char *path, apq_error *error);
apq_status apq__new_file_write(apq__new_file *file, const void *data, size_t size,
                               apq_error *error);
/* Writes over what stands at the beginning. */
apq_status apq__new_file_rewrite(apq__new_file *file, const void *data, size_t size,
                                 apq_error *error);
/* Renames to `path` when `status` is OK, else, or when that fails, removes the file; returns the
 * first failure. */
apq_status apq__new_file_end(apq__new_file *file, apq_status status, apq_error *error);

/* A whole file in memory, read only; `data` is NULL when it is empty.  A file that shrinks while it
 * is mapped makes its readers crash: only files that are replaced, never changed, are for this. */
typedef struct apq__file_map {
  const uint8_t *data;
  size_t size;
} apq__file_map;
apq_status apq__file_map_open(const char *path, apq__file_map *out, apq_error *error);
void apq__file_map_close(apq__file_map *map); /* accepts a zeroed one */

/* Monotonic seconds, and seconds since 1970. */
double apq__now(void);
int64_t apq__unix_time(void);

/* SHA-256 as 64 hexadecimal digits and a zero, of the concatenation of `count` pieces. */
typedef struct apq__piece {
  const void *data;
  size_t size;
} apq__piece;
void apq__sha256(const apq__piece *pieces, int count, char hex[65]);

/* A small reproducible generator (SplitMix64) for tests, verification data and fiber order. */
uint64_t apq__random(uint64_t *state);

#endif
