/* Quantize-and-pack against the rate at which the device copies: microseconds of one launch in a
 * graph over buffers that exceed the L2 cache, bytes read and written, and their share of the rate
 * of a kernel that copies as many bytes.  Not a test.
 *   bench_pack [DEVICE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "compile.h"
#include "device.h"
#include "gemm_args.h"
#include "generator.h"
#include "host.h"
#include "kernel_abi.h"
#include "kernel_launch.h"
#include "embedded.h"
#include "status.h"

enum { LAUNCHES = 24, REPLAYS = 9, SETS_MAX = 64 };

extern const apq__embedded apq__embedded_templates[];

static apq__device *device;
static apq_error error = APQ_ERROR_INIT;

static void check(apq_status status) {
  if (!status) return;
  fprintf(stderr, "%s: %s\n%s", apq_status_name(status), error.message, error.log ? error.log : "");
  exit(1);
}

static int compare(const void *left, const void *right) {
  const double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

/* A kernel and the arguments of each launch. */
typedef struct job {
  const apq__kernel *kernel;
  apq__shape shape;
  const void *args; /* [sets][args_size] */
  size_t args_size;
  int sets;
} job;

static double seconds_of(const job *j) {
  void *stream = NULL;
  apq__graph *graph = NULL;
  apq__event *event[2];
  double samples[REPLAYS];
  check(device->ops->stream_create(device, &stream, &error));
  for (int i = 0; i < 2; i++) check(device->ops->event_create(device, &event[i], &error));
  check(device->ops->capture_begin(device, stream, &error));
  for (int i = 0; i < LAUNCHES; i++)
    check(apq__kernel_launch(device, j->kernel, &j->shape,
                             (const char *)j->args + (size_t)(i % j->sets) * j->args_size,
                             j->args_size, stream, &error));
  check(device->ops->capture_end(device, stream, &graph, &error));
  for (int i = -2; i < REPLAYS; i++) {
    double seconds = 0;
    check(device->ops->event_record(device, event[0], stream, &error));
    check(device->ops->graph_launch(device, graph, stream, &error));
    check(device->ops->event_record(device, event[1], stream, &error));
    check(device->ops->event_seconds(device, event[0], event[1], &seconds, &error));
    if (i >= 0) samples[i] = seconds / LAUNCHES;
  }
  device->ops->graph_destroy(device, graph);
  for (int i = 0; i < 2; i++) device->ops->event_destroy(device, event[i]);
  device->ops->stream_destroy(device, stream);
  qsort(samples, REPLAYS, sizeof samples[0], compare);
  return samples[REPLAYS / 2];
}

static apq__module *load(const char *source, const char *name, size_t smem, apq__kernel **kernel) {
  apq__object object = {0};
  apq__module *module = NULL;
  apq__kernel_info info;
  check(apq__compile(source, &device->target, NULL, &object, &error));
  check(device->ops->load(device, object.image, object.size, &module, &error));
  check(device->ops->kernel(device, module, name, smem, kernel, &info, &error));
  apq__object_free(&object);
  return module;
}

static void *memory(size_t bytes) {
  void *out = NULL;
  check(device->ops->alloc(device, bytes, &out, &error));
  return out;
}

static int sets_of(size_t bytes) {
  const size_t least = 3 * (size_t)device->target.l2_bytes;
  size_t sets = (least + bytes - 1) / bytes;
  return sets < 2 ? 2 : sets > SETS_MAX ? SETS_MAX : (int)sets;
}

/* ---- copying ---- */

typedef struct copy_args {
  const void *from;
  void *to;
  long long count; /* of 16 bytes */
} copy_args;

static const char *const copy_text =
    "typedef struct copy_args { const void *from; void *to; long long count; } copy_args;\n"
    "APQ_KERNEL(copy, copy_args, 256, 8) {\n"
    "  long long first = (long long)apq_block_x() * 1024 + apq_thread();\n"
    "  apq_u32x4 v[4];\n"
    "  APQ_UNROLL\n"
    "  for (int i = 0; i < 4; i++)\n"
    "    if (first + 256 * i < args.count)\n"
    "      v[i] = apq_ldg128((const apq_u8 *)args.from + (first + 256 * i) * 16);\n"
    "  APQ_UNROLL\n"
    "  for (int i = 0; i < 4; i++)\n"
    "    if (first + 256 * i < args.count)\n"
    "      apq_stg128((apq_u8 *)args.to + (first + 256 * i) * 16, v[i]);\n"
    "}\n";

static const char *text_of(const char *name) {
  const apq__embedded *file = apq__embedded_templates;
  while (file->name && strcmp(file->name, name) != 0) file++;
  return file->text;
}

/* Seconds to read and write this many bytes, half each. */
static double copy_seconds(size_t bytes) {
  const size_t half = bytes / 32 * 16;
  const int sets = sets_of(bytes);
  copy_args args[SETS_MAX];
  apq__kernel *kernel = NULL;
  char *source =
      apq__format("#define APQ_CC %d\n#define APQ_EMULATED %d\n%s\n%s\n%s", device->target.cc,
                  device->target.emulated, text_of("kernel_abi.h"),
                  text_of(device->target.emulated ? "prelude_emu.h" : "prelude_cuda.h"), copy_text);
  apq__module *module = load(source, "copy", 0, &kernel);
  apq__free(source);
  for (int i = 0; i < sets; i++)
    args[i] = (copy_args){memory(half), memory(half), (long long)(half / 16)};
  const job j = {.kernel = kernel,
                 .shape = {.grid = {(unsigned)((half / 16 + 1023) / 1024), 1, 1}, .threads = 256},
                 .args = args,
                 .args_size = sizeof args[0],
                 .sets = sets};
  const double seconds = seconds_of(&j);
  for (int i = 0; i < sets; i++) {
    device->ops->release(device, (void *)args[i].from);
    device->ops->release(device, args[i].to);
  }
  device->ops->unload(device, module);
  return seconds;
}

/* ---- packing ---- */

/* With `gated` rows of two matrices side by side, activated by SiLU. */
static void bench(int m, int k, int bits, apq__form form, apq_format format, int gated) {
  const apq__problem problem = {.q = bits, .m = m, .k = k};
  apq__config config;
  apq__shape shape;
  apq__kernel *kernel = NULL;
  char *source = NULL, name[APQ__WORD_MAX + 8];
  check(apq__pack_config(APQ_DTYPE_F16, &problem, form, &config, &error));
  check(apq__config_set_int(&config, "gate", gated, &error));
  check(apq__config_limits(&config, &problem, &device->target, &shape, &error));
  check(apq__generate(&config, &device->target, &source, &error));
  apq__module *module = load(source, apq__kernel_name(&config, name), shape.smem_bytes, &kernel);
  apq__free(source);

  const size_t count = (size_t)m * (size_t)k, in = count * (gated ? 4 : 2);
  const int row_bytes = (int)apq__form_row_bytes(form, k);
  const size_t out = (size_t)apq__form_bytes(form, m, k, bits);
  const int sets = sets_of(in + out);
  apq_pack_args args[SETS_MAX];
  uint16_t *x = apq__alloc(in);
  uint64_t seed = 1;
  for (size_t i = 0; i < in / 2; i++) x[i] = (uint16_t)(0x3000 + (apq__random(&seed) & 0x8bff));
  for (int i = 0; i < sets; i++) {
    void *from = memory(in);
    check(device->ops->to_device(device, from, x, in, &error));
    args[i] = (apq_pack_args){.x = from,
                              .out = memory(out),
                              .sum = memory((size_t)m * 4),
                              .scale = memory((size_t)m * 4),
                              .zero = memory((size_t)m * 4),
                              .ldx = gated ? 2 * (long long)k : k,
                              .rows = m,
                              .k = k,
                              .row_bytes = row_bytes,
                              .format = (int)format,
                              .gate = apq__gate_args(gated ? APQ_ACTIVATION_SILU : 0)};
  }
  apq__free(x);
  const job j = {kernel, shape, args, sizeof args[0], sets};
  const double seconds = seconds_of(&j), copy = copy_seconds(in + out);
  printf(
      "%5d x %5d  A%d %-6s %-7s %-5s  %8.2f us  %6.1f MB  %5.2f TB/s  copying %8.2f us  %3.0f %%\n",
      m, k, bits, apq__form_name(form), apq_format_name(format), gated ? "gated" : "",
      seconds * 1e6, (double)(in + out) * 1e-6, (double)(in + out) / seconds * 1e-12, copy * 1e6,
      100 * copy / seconds);
  for (int i = 0; i < sets; i++) {
    void *const all[] = {(void *)args[i].x, args[i].out, args[i].sum, args[i].scale, args[i].zero};
    for (int a = 0; a < 5; a++) device->ops->release(device, all[a]);
  }
  device->ops->unload(device, module);
}

static void bench_shape(int m, int k) {
  bench(m, k, 2, APQ__FORM_PLANES, APQ_FORMAT_INT, 0);
  bench(m, k, 8, APQ__FORM_PLANES, APQ_FORMAT_INT, 0);
  bench(m, k, 8, APQ__FORM_BYTES, APQ_FORMAT_INT, 0);
  bench(m, k, 4, APQ__FORM_PAIRS, APQ_FORMAT_INT, 0);
  bench(m, k, 4, APQ__FORM_PLANES, APQ_FORMAT_UINT, 0);
  bench(m, k, 2, APQ__FORM_PLANES, APQ_FORMAT_INT, 1);
  bench(m, k, 8, APQ__FORM_BYTES, APQ_FORMAT_INT, 1);
}

/* bench_pack [DEVICE [ROWS K]] */
int main(int argc, char **argv) {
  check(apq__device_open(argc > 1 ? argv[1] : NULL, &device, &error));
  printf("%s\n", device->target.name);
  if (argc > 3) {
    bench_shape(atoi(argv[2]), atoi(argv[3]));
  } else if (device->target.emulated) {
    bench(3, 256, 2, APQ__FORM_PLANES, APQ_FORMAT_INT, 0);
    bench(3, 256, 2, APQ__FORM_PLANES, APQ_FORMAT_INT, 1);
  } else {
    printf("copying 1 GiB: %.2f TB/s\n", 1.073741824e-3 / copy_seconds((size_t)1 << 30));
    static const int shapes[][2] = {{4096, 4096}, {8192, 8192},  {4096, 11008},
                                    {2048, 4096}, {2048, 11008}, {128, 4096},
                                    {16, 4096},   {1, 4096},     {1, 11008}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
      bench_shape(shapes[s][0], shapes[s][1]);
  }
  apq__device_close(device);
  return 0;
}
