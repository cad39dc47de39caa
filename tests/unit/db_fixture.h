/* Databases in a folder of their own, and rows to put into them. */
#ifndef APQ_DB_FIXTURE_H
#define APQ_DB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "db.h"
#include "host.h"

/* Setup and teardown of a test: *state is a new folder, removed with all that is in it; in memory
 * where the system has such a file system, because every commit waits for the disk. */
static inline int make_folder(void **state) {
  char name[256];
  snprintf(name, sizeof name, "%s/apq-db-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (!mkdtemp(name)) return -1;
  *state = strdup(name);
  return 0;
}

static inline void remove_tree(const char *path) {
  char name[1024];
  DIR *folder = opendir(path);
  struct dirent *entry;
  while (folder && (entry = readdir(folder))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    if (unlink(name) != 0) remove_tree(name);
  }
  if (folder) closedir(folder);
  rmdir(path);
}

static inline int remove_folder(void **state) {
  remove_tree(*state);
  free(*state);
  return 0;
}

/* "<folder>/<name>" in a buffer of the caller's. */
static inline const char *path_in(void *folder, const char *name, char path[512]) {
  snprintf(path, 512, "%s/%s", (const char *)folder, name);
  return path;
}

/* Number of files in a folder whose name starts with `prefix`. */
static inline int count_files(const char *folder, const char *prefix) {
  int count = 0;
  DIR *open_folder = opendir(folder);
  struct dirent *entry;
  while (open_folder && (entry = readdir(open_folder)))
    count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
  if (open_folder) closedir(open_folder);
  return count;
}

static const apq__environment real_gpu = {"NVIDIA H200", "sm_90a", "13.0", "nvrtc 13.0", 132, 0};
static const apq__environment emulated_gpu = {"emu:sm_90a", "sm_90a", "emu", "cc 12.2.0", 132, 1};

static inline apq__problem problem_of(int m) {
  return (apq__problem){.p = 2, .q = 4, .m = m, .n = 4096, .k = 4096, .out = APQ_DTYPE_F16};
}

static inline apq__variant variant_of(const char *config, const char *hash) {
  apq__variant variant = {0};
  assert_int_equal(apq__config_parse(config, &variant.config, NULL), APQ_OK);
  snprintf(variant.hash, sizeof variant.hash, "%s", hash);
  return variant;
}

/* A measured time of `p50` seconds. */
static inline apq__measurement time_of(double p50, const char *run, int64_t unix_time) {
  apq__measurement m = {.objective = "burst",
                        .samples = 40,
                        .min = p50 * 0.9,
                        .p10 = p50 * 0.95,
                        .p50 = p50,
                        .p90 = p50 * 1.1,
                        .max = p50 * 1.5,
                        .incumbent_ratio = 1,
                        .sm_mhz = 1755,
                        .temperature_c = 51,
                        .unix_time = unix_time};
  snprintf(m.run, sizeof m.run, "%s", run);
  return m;
}

static inline apq__db *open_for(const char *path, apq__db_mode mode) {
  apq__db *db = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__db_open(path, mode, &db, NULL, &error)) fail_msg("open: %s", error.message);
  return db;
}

static inline void add_time_of(apq__db *db, const apq__environment *environment,
                               apq__problem problem, const char *config, const char *hash,
                               double p50, const char *run, int64_t unix_time) {
  apq__variant variant = variant_of(config, hash);
  apq__measurement measurement = time_of(p50, run, unix_time);
  measurement.modelled = environment->emulated;
  apq_error error = APQ_ERROR_INIT;
  if (apq__db_add_measurement(db, environment, &problem, &variant, &measurement, &error))
    fail_msg("add: %s", error.message);
}

static inline void add_time(apq__db *db, const apq__environment *environment, int m,
                            const char *config, const char *hash, double p50, const char *run,
                            int64_t unix_time) {
  add_time_of(db, environment, problem_of(m), config, hash, p50, run, unix_time);
}

/* The winners as lines "gpu m hash config p50_in_us;". */
static inline int append_winner(const apq__winner *winner, void *user) {
  char key[APQ__KEY_MAX];
  apq__text_add(user, "%s %d %s %s %.2f;", winner->environment.gpu, winner->problem.m,
                winner->variant.hash, apq__config_key(&winner->variant.config, key),
                winner->measurement.p50 * 1e6);
  return 0;
}

static inline void assert_winners(apq__db *db, const char *gpu, const char *arch,
                                  const char *expected) {
  apq__text text = {0};
  apq_error error = APQ_ERROR_INIT;
  if (apq__db_winners(db, gpu, arch, append_winner, &text, &error))
    fail_msg("winners: %s", error.message);
  assert_string_equal(text.data ? text.data : "", expected);
  apq__text_free(&text);
}

#endif
