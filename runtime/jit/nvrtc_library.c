#include "nvrtc_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "status.h"

static const char *const usual_names[] = {
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so",
    "/usr/local/cuda/lib64/libnvrtc.so",
};

static const struct {
  const char *symbol;
  size_t offset;
} symbols[] = {
#define APQ__NVRTC_SYMBOL(type, field, parameters) {"nvrtc" #field, offsetof(apq__nvrtc, field)},
    APQ__NVRTC_FUNCTIONS(APQ__NVRTC_SYMBOL)
#undef APQ__NVRTC_SYMBOL
};

/* Written once under `once`, read ever after. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
  apq__nvrtc nvrtc;
  apq_error failure; /* never holds a log */
} loaded;

static void *open_library(void) {
  apq_error *failure = &loaded.failure;
  const char *chosen = apq__variable_get(APQ__VAR_NVRTC);
  if (chosen) {
    void *library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    const char *reason = library ? NULL : dlerror();
    if (!library)
      apq__fail(failure, APQ_NO_COMPILER, "compile", "NVRTC, as %s names it, cannot be loaded: %s",
                apq__variable_name(APQ__VAR_NVRTC), reason ? reason : chosen);
    return library;
  }
  for (size_t i = 0; i < sizeof usual_names / sizeof usual_names[0]; i++) {
    void *library = dlopen(usual_names[i], RTLD_NOW | RTLD_LOCAL);
    if (library) return library;
  }
  apq__fail(failure, APQ_NO_COMPILER, "compile",
            "no NVRTC: looked for %s, %s, %s and %s; it comes with the CUDA toolkit, and %s may "
            "name the file",
            usual_names[0], usual_names[1], usual_names[2], usual_names[3],
            apq__variable_name(APQ__VAR_NVRTC));
  return NULL;
}

static void load(void) {
  void *library = open_library();
  if (!library) return;
  for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
    void *address = dlsym(library, symbols[i].symbol);
    if (!address) {
      apq__fail(&loaded.failure, APQ_NO_COMPILER, "compile",
                "the NVRTC library has no %s: it is older than CUDA 11.2, or another library",
                symbols[i].symbol);
      return;
    }
    memcpy((char *)&loaded.nvrtc + symbols[i].offset, &address, sizeof address);
  }
  apq__nvrtc *nvrtc = &loaded.nvrtc;
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
