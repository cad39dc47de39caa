/* A CUDA driver of the tests' own, built as libcuda.so.1: host memory for device memory, and a
 * check in every call that the right context is current.  It lets the backend's own logic be tested
 * where there is no GPU. */
#ifndef APQ_FAKE_CUDA_H
#define APQ_FAKE_CUDA_H

#include <stddef.h>

enum {
  FAKE_ERROR_INVALID_VALUE = 1,
  FAKE_ERROR_OUT_OF_MEMORY = 2,
  FAKE_ERROR_NO_DEVICE = 100,
  FAKE_ERROR_INVALID_CONTEXT = 201,
  FAKE_ERROR_NOT_FOUND = 500,
  FAKE_ERROR_ILLEGAL_ADDRESS = 700,
  FAKE_ERROR_CAPTURE_UNSUPPORTED = 900,
  FAKE_DEVICES = 2,
};

/* What the driver remembers, for the tests to read, and the few things they may set. */
typedef struct fake_cuda {
  /* set by the test */
  int init_result; /* of cuInit */
  int cc[FAKE_DEVICES];
  int memory_clock_khz;  /* 0: the driver no longer tells */
  int knows_kernels;     /* a module has a function of any name, not only "known" */
  int sticky;            /* the result of every later call that takes work */
  const char *fail_call; /* this call fails with fail_result */
  int fail_result;
  /* counted */
  int retained[FAKE_DEVICES], allocations, modules, streams, events, graphs, execs;
  int max_dynamic_smem, carveout; /* last cuFuncSetAttribute */
  int launches, graph_launches, launches_on[FAKE_DEVICES];
  unsigned grid[3], threads, smem_bytes; /* of the last launch */
  unsigned cluster;
  int dependent;
  char args[64];
  size_t args_size;
} fake_cuda;

/* The library's one instance, and the depth of the calling thread's context stack. */
__attribute__((visibility("default"))) fake_cuda *fake_cuda_state(void);
__attribute__((visibility("default"))) int fake_cuda_depth(void);
/* Puts a context of the test's own on the thread's stack, and takes it off. */
__attribute__((visibility("default"))) void fake_cuda_push_foreign(void);
__attribute__((visibility("default"))) int fake_cuda_pop_foreign(void);

#endif
