/* What the tests on a real GPU share: opening it, or the reason to skip. */
#ifndef APQ_TEST_GPU_SUPPORT_H
#define APQ_TEST_GPU_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "device_impl.h"

enum { SKIPPED = 77 };

/* Fails the test with the error's message. */
#define assert_ok(call, error)                                                                     \
  do {                                                                                             \
    if (call) fail_msg("%s: %s", #call, (error)->message);                                         \
  } while (0)

/* The first GPU, or NULL after printing why the program is skipped. */
static inline apq__device *open_gpu(void) {
  apq__device *device = NULL;
#ifdef APQ_HAVE_CUDA
  apq_error error = APQ_ERROR_INIT;
  if (apq__cuda_open(0, &device, &error) == APQ_OK) return device;
  printf("skipped: %s\n", error.message);
#else
  printf("skipped: built without the CUDA backend\n");
#endif
  return device;
}

#endif
