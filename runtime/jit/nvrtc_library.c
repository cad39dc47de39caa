#include "nvrtc_library.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "status.h"

static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
                                    "/usr/local/cuda/lib64/libnvrtc.so", NULL};
static const char *const symbols[] = {
#define APQ__NVRTC_SYMBOL(type, field, parameters) "nvrtc" #field,
    APQ__NVRTC_FUNCTIONS(APQ__NVRTC_SYMBOL)
#undef APQ__NVRTC_SYMBOL
        NULL};
static const apq__library_desc library = {
    .what = "NVRTC",
    .hint = "it comes with the CUDA toolkit, 11.2 or newer",
    .variable = APQ__VAR_NVRTC,
    .names = names,
    .symbols = symbols,
    .status = APQ_NO_COMPILER,
    .stage = "compile",
};

/* Written once under `once`, read ever after. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
  apq__nvrtc nvrtc;
  apq_error failure; /* never holds a log */
} loaded;

static void load(void) {
  apq__nvrtc *nvrtc = &loaded.nvrtc;
  if (apq__library_load(&library, nvrtc, &loaded.failure)) return;
  int result = nvrtc->Version(&nvrtc->major, &nvrtc->minor);
  if (result != APQ__NVRTC_SUCCESS)
    apq__fail(&loaded.failure, APQ_NO_COMPILER, "compile", "nvrtcVersion: %s",
              nvrtc->GetErrorString(result));
}

apq_status apq__nvrtc_get(const apq__nvrtc **out, apq_error *error) {
  *out = NULL;
  pthread_once(&once, load);
  if (loaded.failure.status)
    return apq__fail(error, loaded.failure.status, "compile", "%s", loaded.failure.message);
  *out = &loaded.nvrtc;
  return APQ_OK;
}

int apq__nvrtc_knows(const apq__nvrtc *nvrtc, const char *arch) {
  enum { ARCHS_MAX = 64 };
  int archs[ARCHS_MAX], count = 0;
  int wanted = (int)strtol(arch + strlen("sm_"), NULL, 10);
  if (nvrtc->GetNumSupportedArchs(&count) != APQ__NVRTC_SUCCESS || count > ARCHS_MAX ||
      nvrtc->GetSupportedArchs(archs) != APQ__NVRTC_SUCCESS)
    return 1; /* then the compilation itself tells */
  for (int i = 0; i < count; i++)
    if (archs[i] == wanted) return 1;
  return 0;
}
