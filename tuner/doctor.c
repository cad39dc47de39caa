#include "doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compile_impl.h"
#include "cublaslt.h"
#include "db.h"
#include "device_impl.h"
#include "host.h"
#include "status.h"

enum { FINDINGS_MAX = 40 };

const char *apq__health_name(apq__health health) {
  static const char *const names[] = {"ok", "missing", "broken"};
  return (unsigned)health < sizeof names / sizeof names[0] ? names[health] : "?";
}

/* The next row, or NULL when there are too many. */
static apq__finding *add(apq__diagnosis *diagnosis, const char *name, apq__health health,
                         const char *follows) {
  if (diagnosis->count == FINDINGS_MAX) return NULL;
  apq__finding *finding = &diagnosis->finding[diagnosis->count++];
  *finding = (apq__finding){.name = name, .health = health, .follows = follows};
  return finding;
}

__attribute__((format(printf, 2, 3))) static void say(apq__finding *finding, const char *format,
                                                      ...) {
  va_list arguments;
  if (!finding) return;
  va_start(arguments, format);
  vsnprintf(finding->found, sizeof finding->found, format, arguments);
  va_end(arguments);
}

static void look_at_gpu(apq__diagnosis *diagnosis, int ordinal) {
#ifdef APQ_HAVE_CUDA
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  if (apq__cuda_open(ordinal, &device, &error) == APQ_OK) {
    const apq__target *target = &device->target;
    say(add(diagnosis, "gpu", APQ__HEALTH_OK, NULL),
        "cuda:%d %s, %s, %d SMs, %.0f GiB, driver API %s", ordinal, target->name, target->arch,
        target->sm_count, (double)target->mem_bytes / 1073741824.0, target->driver);
    apq__device_close(device);
  } else {
    say(add(diagnosis, "gpu", APQ__HEALTH_BROKEN, "this GPU is not used"), "%s", error.message);
  }
  apq_error_clear(&error);
#else
  (void)diagnosis, (void)ordinal;
#endif
}

/* The driver and its GPUs; how many of them there are. */
static int look_at_driver(apq__diagnosis *diagnosis) {
  static const char follows[] = "kernels run on the emulated device only";
  apq_error error = APQ_ERROR_INIT;
  int count = 0;
#ifdef APQ_HAVE_CUDA
  count = apq__cuda_count(&error);
#else
  apq__fail(
      &error, APQ_NO_DEVICE, "device",
      "this build has no CUDA backend: it was built with APQ_CUDA=OFF or without the toolkit's "
      "headers");
#endif
  if (count == 0)
    say(add(diagnosis, "driver", APQ__HEALTH_MISSING, follows), "%s", error.message);
  else
    say(add(diagnosis, "driver", APQ__HEALTH_OK, NULL), "the CUDA driver sees %d GPU%s", count,
        count == 1 ? "" : "s");
  for (int i = 0; i < count; i++) look_at_gpu(diagnosis, i);
  apq_error_clear(&error);
  return count;
}

/* A program or library that answers with its version; whether it did. */
static int look_at_version(apq__diagnosis *diagnosis, const char *name, const char *follows,
                           apq_status (*ask)(char *text, size_t size, apq_error *error)) {
  apq_error error = APQ_ERROR_INIT;
  char version[128] = "";
  apq_status status = ask(version, sizeof version, &error);
  say(add(diagnosis, name, status ? APQ__HEALTH_MISSING : APQ__HEALTH_OK, status ? follows : NULL),
      "%s", status ? error.message : version);
  apq_error_clear(&error);
  return status == APQ_OK;
}

#ifndef APQ_HAVE_CUDA
static apq_status no_nvrtc(char *text, size_t size, apq_error *error) {
  (void)text, (void)size;
  return apq__fail(error, APQ_NO_COMPILER, "compile", "this build has no CUDA backend");
}
#define apq__nvrtc_version no_nvrtc
#endif

/* Whether a file can be made in the folder, which is the only answer that counts. */
static apq_status try_folder(const char *folder, apq_error *error) {
  apq_status status = apq__make_dirs(folder, error);
  if (status) return status;
  char *path = apq__format("%s/doctor.%ld", folder, (long)getpid());
  if (!path) return apq__fail(error, APQ_OUT_OF_MEMORY, "doctor", "a file name");
  status = apq__write_file(path, "", 0, error);
  if (!status) (void)unlink(path);
  apq__free(path);
  return status;
}

static void look_at_cache(apq__diagnosis *diagnosis, const char *cache_dir) {
  static const char follows[] = "kernels are compiled again in every run, and tuning needs --db";
  apq_error error = APQ_ERROR_INIT;
  char *own = cache_dir ? NULL : apq__cache_dir();
  const char *folder = cache_dir ? cache_dir : own;
  if (!folder)
    say(add(diagnosis, "cache", APQ__HEALTH_MISSING, follows),
        "no folder: none of %s, XDG_CACHE_HOME and HOME is set",
        apq__variable_name(APQ__VAR_CACHE_DIR));
  else if (try_folder(folder, &error))
    say(add(diagnosis, "cache", APQ__HEALTH_BROKEN, follows), "%s cannot be written: %s", folder,
        error.message);
  else
    say(add(diagnosis, "cache", APQ__HEALTH_OK, NULL), "%s can be written", folder);
  apq_error_clear(&error);
  apq__free(own);
}

static void look_at_database(apq__diagnosis *diagnosis, const char *name, const char *path,
                             const char *absent) {
  apq_error error = APQ_ERROR_INIT;
  apq__db *db = NULL;
  apq__db_counts counts = {0};
  char note[256] = "";
  apq_status status = apq__db_open(path, APQ__DB_READ, &db, note, &error);
  if (!status) status = apq__db_count(db, &counts, &error);
  if (!status)
    say(add(diagnosis, name, APQ__HEALTH_OK, NULL), "%s: %lld winners of %lld problems%s%s", path,
        (long long)counts.winners, (long long)counts.problems, note[0] ? "; " : "", note);
  else if (status == APQ_NOT_FOUND)
    say(add(diagnosis, name, APQ__HEALTH_MISSING, absent), "%s does not exist", path);
  else
    say(add(diagnosis, name, APQ__HEALTH_BROKEN,
            status == APQ_CORRUPT
                ? "it is not used; tuning into it sets it aside and makes a new one"
                : "it is not used"),
        "%s", error.message);
  apq__db_close(db);
  apq_error_clear(&error);
}

static void look_at_databases(apq__diagnosis *diagnosis, const char *database) {
  char *own = database ? NULL : apq__db_user_path();
  const char *path = database ? database : own;
  if (path)
    look_at_database(diagnosis, "database", path,
                     "the cost model chooses kernels until apq-tune has measured some");
  if (!database)
    look_at_database(diagnosis, "shipped database", apq__db_system_path(),
                     "nothing was measured beforehand for this installation");
  apq__free(own);
}

apq_status apq__diagnose(const char *database, const char *cache_dir, apq__diagnosis *out,
                         apq_error *error) {
  *out = (apq__diagnosis){.finding = apq__calloc(FINDINGS_MAX, sizeof *out->finding)};
  if (!out->finding) return apq__fail(error, APQ_OUT_OF_MEMORY, "doctor", "a diagnosis");
  int gpus = look_at_driver(out);
  int has_nvrtc = look_at_version(
      out, "nvrtc", "on a GPU, only kernels that the database holds ready run", apq__nvrtc_version);
  look_at_version(out, "cublaslt", "bench has nothing to compare with", apq__cublaslt_version);
  int has_host = look_at_version(out, "host compiler", "the emulated device runs no kernel",
                                 apq__host_compiler_version);
  look_at_cache(out, cache_dir);
  look_at_databases(out, database);
  out->is_usable = gpus > 0 || has_host;
  if (gpus > 0)
    out->verdict = has_nvrtc ? "Ready: kernels can be tuned and run on a GPU."
                             : "Ready to run what was tuned; to tune, install NVRTC.";
  else
    out->verdict = has_host
                       ? "No GPU: everything works on the emulated device, with exact results and "
                         "modelled times."
                       : "Neither a GPU nor a host compiler: no kernel can run here.";
  return APQ_OK;
}

void apq__diagnosis_free(apq__diagnosis *diagnosis) {
  apq__free(diagnosis->finding);
  *diagnosis = (apq__diagnosis){0};
}

void apq__diagnosis_write(const apq__diagnosis *diagnosis, apq__text *out) {
  for (int i = 0; i < diagnosis->count; i++) {
    const apq__finding *finding = &diagnosis->finding[i];
    apq__text_add(out, "%-8s %-16s %s\n", apq__health_name(finding->health), finding->name,
                  finding->found);
    if (finding->follows) apq__text_add(out, "%-25s so %s\n", "", finding->follows);
  }
  apq__text_add(out, "%s\n", diagnosis->verdict);
}
