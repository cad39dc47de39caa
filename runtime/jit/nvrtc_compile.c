#include "compile_impl.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "nvrtc_library.h"
#include "status.h"

/* The name that the compiler's messages show. */
static const char source_name[] = "apq_kernel.cu";

/* Beside the arch.  No include path and no -lineinfo: sources include nothing, and line tables
 * more than double the cubins that the database keeps. */
static const char language[] = "--std=c++17";

/* Since 12.9 NVRTC keeps compiled programs in the driver's own cache on disk, loading the driver
 * for it.  The project has a cache of its own, and compiling is to need no driver.  The option
 * changes nothing in the result, so it is no part of a cache key. */
static const char no_driver_cache[] = "--no-cache";
static int has_driver_cache(const apq__nvrtc *nvrtc) {
  return nvrtc->major > 12 || (nvrtc->major == 12 && nvrtc->minor >= 9);
}

const char *apq__nvrtc_options(void) {
  return language;
}

apq_status apq__nvrtc_version(char *text, size_t size, apq_error *error) {
  const apq__nvrtc *nvrtc = NULL;
  apq_status status = apq__nvrtc_get(&nvrtc, error);
  if (!status) snprintf(text, size, "nvrtc %d.%d", nvrtc->major, nvrtc->minor);
  return status;
}

/* OUT_OF_MEMORY or INTERNAL for a call that fails for no fault of the source. */
static apq_status check(const apq__nvrtc *nvrtc, int result, const char *call, apq_error *error) {
  if (result == APQ__NVRTC_SUCCESS) return APQ_OK;
  return apq__fail(error, result == APQ__NVRTC_OUT_OF_MEMORY ? APQ_OUT_OF_MEMORY : APQ_INTERNAL,
                   "compile", "%s: %s", call, nvrtc->GetErrorString(result));
}

/* The whole log, or NULL when it is empty or cannot be had. */
static char *take_log(const apq__nvrtc *nvrtc, apq__nvrtc_program program) {
  size_t size = 0;
  if (nvrtc->GetProgramLogSize(program, &size) != APQ__NVRTC_SUCCESS || size <= 1) return NULL;
  char *log = apq__calloc(size + 1, 1);
  if (!log) return NULL;
  if (nvrtc->GetProgramLog(program, log) == APQ__NVRTC_SUCCESS && log[0]) return log;
  apq__free(log);
  return NULL;
}

/* COMPILE with the first line of the log that reports an error. */
static apq_status report_source(const char *arch, const char *log, apq_error *error) {
  const char *found = log ? strstr(log, "error") : NULL;
  if (!found)
    return apq__fail(error, APQ_COMPILE, "compile", "NVRTC refuses the source for %s", arch);
  const char *line = found;
  while (line > log && line[-1] != '\n') line--;
  return apq__fail(error, APQ_COMPILE, "compile", "NVRTC for %s: %.*s", arch,
                   (int)strcspn(line, "\n"), line);
}

static apq_status take_cubin(const apq__nvrtc *nvrtc, apq__nvrtc_program program, void **image,
                             size_t *size, apq_error *error) {
  size_t bytes = 0;
  apq_status status =
      check(nvrtc, nvrtc->GetCUBINSize(program, &bytes), "nvrtcGetCUBINSize", error);
  if (status) return status;
  char *cubin = apq__alloc(bytes);
  if (!cubin) return apq__fail(error, APQ_OUT_OF_MEMORY, "compile", "a cubin of %zu bytes", bytes);
  status = check(nvrtc, nvrtc->GetCUBIN(program, cubin), "nvrtcGetCUBIN", error);
  if (status) {
    apq__free(cubin);
    return status;
  }
  *image = cubin;
  *size = bytes;
  return APQ_OK;
}

apq_status apq__nvrtc_compile(const char *source, const apq__target *target, void **image,
                              size_t *size, char **log, apq_error *error) {
  const apq__nvrtc *nvrtc = NULL;
  apq__nvrtc_program program = NULL;
  char arch[40];
  *image = NULL;
  *size = 0;
  *log = NULL;
  apq_status status = apq__nvrtc_get(&nvrtc, error);
  if (status) return status;
  if (!apq__nvrtc_knows(nvrtc, target->arch))
    return apq__fail(error, APQ_NO_COMPILER, "compile", "NVRTC %d.%d does not compile for %s",
                     nvrtc->major, nvrtc->minor, target->arch);
  snprintf(arch, sizeof arch, "--gpu-architecture=%s", target->arch);
  const char *options[] = {arch, language, no_driver_cache};
  int option_count = has_driver_cache(nvrtc) ? 3 : 2;
  status = check(nvrtc, nvrtc->CreateProgram(&program, source, source_name, 0, NULL, NULL),
                 "nvrtcCreateProgram", error);
  if (status) return status;
  int result = nvrtc->CompileProgram(program, option_count, options);
  *log = take_log(nvrtc, program);
  if (result == APQ__NVRTC_COMPILATION)
    status = report_source(target->arch, *log, error);
  else
    status = check(nvrtc, result, "nvrtcCompileProgram", error);
  if (!status) status = take_cubin(nvrtc, program, image, size, error);
  (void)nvrtc->DestroyProgram(&program);
  return status;
}
