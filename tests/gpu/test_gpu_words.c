/* Words of the CUDA prelude whose results rest on what the hardware's estimates are like. */
#include "gpu_support.h"

#include <math.h>
#include <string.h>

#include "alloc.h"
#include "compile.h"
#include "embedded.h"
#include "kernel_launch.h"
#include "status.h"

enum { COUNT = (1 << 23) + 1, THREADS = 128 };

static const char kernel_text[] =
    "typedef struct words_args { float *out; int count, exponent; } words_args;\n"
    "APQ_KERNEL(reciprocals, words_args, 128, 1) {\n"
    "  int i = apq_block_x() * 128 + apq_thread();\n"
    "  if (i < args.count)\n"
    "    args.out[i] = apq_reciprocal(apq_bits_float(0x3f800000u + (apq_u32)i +\n"
    "                                                ((apq_u32)args.exponent << 23)));\n"
    "}\n";

typedef struct words_args {
  float *out;
  int count, exponent;
} words_args;

extern const apq__embedded apq__embedded_templates[];

static apq__device *device;

static const char *text_of(const char *name) {
  const apq__embedded *file = apq__embedded_templates;
  while (file->name && strcmp(file->name, name) != 0) file++;
  return file->text;
}

/* All divisors from 1 to 2, and from 2^125 to 2^126. */
static void reciprocals_are_rounded(void **state) {
  (void)state;
  const apq__device_ops *ops = device->ops;
  const size_t bytes = COUNT * sizeof(float);
  apq_error error = APQ_ERROR_INIT;
  apq__object object = {0};
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  apq__kernel_info info;
  void *out = NULL;
  char *source =
      apq__format("#define APQ_CC %d\n#define APQ_EMULATED 0\n%s\n%s\n%s", device->target.cc,
                  text_of("kernel_abi.h"), text_of("prelude_cuda.h"), kernel_text);
  assert_ok(apq__compile(source, &device->target, NULL, &object, &error), &error);
  apq__free(source);
  assert_ok(ops->load(device, object.image, object.size, &module, &error), &error);
  assert_ok(ops->kernel(device, module, "reciprocals", 0, &kernel, &info, &error), &error);
  assert_ok(ops->alloc(device, bytes, &out, &error), &error);
  const apq__shape shape = {.grid = {(COUNT + THREADS - 1) / THREADS, 1, 1}, .threads = THREADS};
  float *got = apq__alloc(bytes);
  for (int exponent = 0; exponent <= 125; exponent += 125) {
    const words_args args = {out, COUNT, exponent};
    assert_ok(apq__kernel_launch(device, kernel, &shape, &args, sizeof args, NULL, &error), &error);
    assert_ok(ops->to_host(device, got, out, bytes, &error), &error);
    for (int i = 0; i < COUNT; i++) {
      const float divisor = ldexpf(1.0f + (float)i * 0x1p-23f, exponent);
      if (got[i] != 1.0f / divisor) fail_msg("1 / %a is %a", (double)divisor, (double)got[i]);
    }
  }
  apq__free(got);
  ops->release(device, out);
  ops->unload(device, module);
  apq__object_free(&object);
}

int main(void) {
  device = open_gpu();
  if (!device) return SKIPPED;
  apq_error error = APQ_ERROR_INIT;
  char version[64];
  if (apq__compiler_version(&device->target, version, sizeof version, &error)) {
    printf("skipped: %s\n", error.message);
    return SKIPPED;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(reciprocals_are_rounded)};
  int result = cmocka_run_group_tests(tests, NULL, NULL);
  device->ops->close(device);
  return result;
}
