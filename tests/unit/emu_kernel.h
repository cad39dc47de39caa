/* Small kernels for the tests of the emulated device: source text, compiled, loaded and launched in
 * one call. */
#ifndef APQ_TESTS_EMU_KERNEL_H
#define APQ_TESTS_EMU_KERNEL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "device.h"
#include "embedded.h"
#include "status.h"

/* The arguments of every test kernel: four device pointers and four integers. */
typedef struct test_args {
  void *p[4];
  int i[4];
} test_args;

/* The same and two tensor maps. */
typedef struct test_bulk_args {
  apq_tensor_map map[2];
  test_args plain;
} test_bulk_args;

static const char test_args_text[] =
    "typedef struct test_args { void *p[4]; int i[4]; } test_args;\n"
    "typedef struct test_bulk_args { apq_tensor_map map[2]; test_args plain; } test_bulk_args;\n";

extern const apq__embedded apq__embedded_templates[];

typedef struct test_kernel {
  apq__device *device;
  apq__module *module;
  apq__kernel *kernel;
} test_kernel;

static inline void check_ok(apq_status status, apq_error *error) {
  if (status != APQ_OK)
    fail_msg("%s: %s\n%s", apq_status_name(status), error->message, error->log ? error->log : "");
}

static inline const char *test_embedded(const char *name) {
  const apq__embedded *row = apq__embedded_templates;
  while (row->name && strcmp(row->name, name) != 0) row++;
  assert_non_null(row->name);
  return row->text;
}

/* The whole text; line 1 of `body` is line 1 of the reports. */
static inline char *test_source(int cc, const char *body) {
  return apq__format("#define APQ_CC %d\n#define APQ_EMULATED 1\n%s\n%s\n%s\n#line 1\n%s\n", cc,
                     test_embedded("kernel_abi.h"), test_embedded("prelude_emu.h"), test_args_text,
                     body);
}

static inline void test_compile(const char *arch, const char *body, apq__object *object) {
  apq_error error = APQ_ERROR_INIT;
  apq__target target;
  check_ok(apq__target_emulated(arch, &target, &error), &error);
  char *source = test_source(target.cc, body);
  check_ok(apq__compile(source, &target, NULL, object, &error), &error);
  apq__free(source);
}

/* Opens "emu:<arch>" with this seed (0: its own) and loads the object. */
static inline void test_open(test_kernel *test, const char *arch, unsigned seed,
                             const apq__object *object) {
  char name[32], number[16];
  apq_error error = APQ_ERROR_INIT;
  snprintf(name, sizeof name, "emu:%s", arch);
  snprintf(number, sizeof number, "%u", seed);
  if (seed) setenv("APQ_EMU_SEED", number, 1);
  check_ok(apq__device_open(name, &test->device, &error), &error);
  unsetenv("APQ_EMU_SEED");
  check_ok(
      test->device->ops->load(test->device, object->image, object->size, &test->module, &error),
      &error);
}

/* Makes the kernel of this name the one to launch, with up to `smem` bytes of shared memory. */
static inline void test_use(test_kernel *test, const char *name, size_t smem) {
  apq_error error = APQ_ERROR_INIT;
  check_ok(test->device->ops->kernel(test->device, test->module, name, smem, &test->kernel, NULL,
                                     &error),
           &error);
}

static inline void test_close(test_kernel *test) {
  test->device->ops->unload(test->device, test->module);
  apq__device_close(test->device);
}

static inline apq_status test_launch(test_kernel *test, unsigned blocks, unsigned threads,
                                     size_t smem, const test_args *args, apq_error *error) {
  const apq__launch launch = {.kernel = test->kernel,
                              .grid = {blocks, 1, 1},
                              .threads = threads,
                              .smem_bytes = (unsigned)smem,
                              .args = args,
                              .args_size = sizeof *args};
  return test->device->ops->launch(test->device, &launch, NULL, error);
}

/* In clusters of `cluster` blocks, with tensor maps. */
static inline apq_status test_launch_bulk(test_kernel *test, unsigned blocks, unsigned cluster,
                                          unsigned threads, size_t smem, const test_bulk_args *args,
                                          apq_error *error) {
  const apq__launch launch = {.kernel = test->kernel,
                              .grid = {blocks, 1, 1},
                              .threads = threads,
                              .smem_bytes = (unsigned)smem,
                              .args = args,
                              .args_size = sizeof *args,
                              .cluster = cluster};
  return test->device->ops->launch(test->device, &launch, NULL, error);
}

static inline void *test_alloc(test_kernel *test, size_t size) {
  void *memory = NULL;
  apq_error error = APQ_ERROR_INIT;
  check_ok(test->device->ops->alloc(test->device, size, &memory, &error), &error);
  return memory;
}

static inline void *test_upload(test_kernel *test, const void *data, size_t size) {
  apq_error error = APQ_ERROR_INIT;
  void *memory = test_alloc(test, size);
  check_ok(test->device->ops->to_device(test->device, memory, data, size, &error), &error);
  return memory;
}

static inline void test_download(test_kernel *test, void *data, const void *memory, size_t size) {
  apq_error error = APQ_ERROR_INIT;
  check_ok(test->device->ops->to_host(test->device, data, memory, size, &error), &error);
}

#endif
