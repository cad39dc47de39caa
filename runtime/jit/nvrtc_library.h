/* The NVRTC library, loaded at run time.  Private to the nvrtc_*.c files. */
#ifndef APQ_NVRTC_LIBRARY_H
#define APQ_NVRTC_LIBRARY_H

#include <stddef.h>

#include "apq.h"

/* The little of nvrtc.h in use, declared here: it is a package of its own, and this interface has
 * not changed since CUDA 11.2. */
typedef struct apq__nvrtc_program *apq__nvrtc_program;
enum { APQ__NVRTC_SUCCESS = 0, APQ__NVRTC_OUT_OF_MEMORY = 1, APQ__NVRTC_COMPILATION = 6 };

#define APQ__NVRTC_FUNCTIONS(X)                                                                    \
  X(const char *, GetErrorString, (int result))                                                    \
  X(int, Version, (int *major, int *minor))                                                        \
  X(int, GetNumSupportedArchs, (int *count))                                                       \
  X(int, GetSupportedArchs, (int *archs))                                                          \
  X(int, CreateProgram,                                                                            \
    (apq__nvrtc_program * program, const char *source, const char *name, int header_count,         \
     const char *const *headers, const char *const *header_names))                                 \
  X(int, DestroyProgram, (apq__nvrtc_program * program))                                           \
  X(int, CompileProgram,                                                                           \
    (apq__nvrtc_program program, int option_count, const char *const *options))                    \
  X(int, GetProgramLogSize, (apq__nvrtc_program program, size_t * size))                           \
  X(int, GetProgramLog, (apq__nvrtc_program program, char *log))                                   \
  X(int, GetCUBINSize, (apq__nvrtc_program program, size_t * size))                                \
  X(int, GetCUBIN, (apq__nvrtc_program program, char *cubin))

typedef struct apq__nvrtc {
#define APQ__NVRTC_FIELD(type, field, parameters) type(*field) parameters;
  APQ__NVRTC_FUNCTIONS(APQ__NVRTC_FIELD)
#undef APQ__NVRTC_FIELD
  int major, minor; /* after the functions, which are filled as an array */
} apq__nvrtc;

/* The loaded library: once a process, from any thread.  The file APQ_NVRTC names, or, when that is
 * unset, the first of the usual ones. NO_COMPILER says what was looked for. */
apq_status apq__nvrtc_get(const apq__nvrtc **out, apq_error *error);

/* Whether the library compiles for an arch such as "sm_90a". */
int apq__nvrtc_knows(const apq__nvrtc *nvrtc, const char *arch);

#endif
