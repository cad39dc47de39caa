/* A chain of pack kernels and products without synchronization between them, where each pack kernel
 * writes over what the product before it reads, and dependent launches start early: the results
 * must be those of the same launches one by one. */
#include "gpu_support.h"

#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "compile.h"
#include "generator.h"
#include "kernel_abi.h"
#include "kernel_launch.h"

enum { K = 4096, N = 4096, P = 2, Q = 8, LINKS = 64, REPEATS = 20 };

typedef struct link_kernel {
  apq__module *module;
  apq__kernel *kernel;
  apq__shape shape;
} link_kernel;

static const apq__problem problem = {.p = P, .q = Q, .m = 1, .n = N, .k = K, .out = APQ_DTYPE_F16};

static void make_kernel(apq__device *device, const apq__config *config, link_kernel *out) {
  apq_error error = APQ_ERROR_INIT;
  apq__object object = {0};
  char *source = NULL, name[APQ__WORD_MAX + 8];
  assert_int_equal(apq__config_limits(config, &problem, &device->target, &out->shape, &error), 0);
  assert_int_equal(apq__generate(config, &device->target, &source, &error), 0);
  assert_int_equal(apq__compile(source, &device->target, NULL, &object, &error), 0);
  assert_int_equal(device->ops->load(device, object.image, object.size, &out->module, &error), 0);
  assert_int_equal(device->ops->kernel(device, out->module, apq__kernel_name(config, name),
                                       out->shape.smem_bytes, &out->kernel, NULL, &error),
                   0);
  apq__free(source);
  apq__object_free(&object);
}

static void *make_buffer(apq__device *device, size_t size, int is_random) {
  void *memory = NULL;
  assert_int_equal(device->ops->alloc(device, size, &memory, NULL), 0);
  unsigned char *host = apq__calloc(size, 1);
  unsigned state = 12345;
  /* Halves below 2 for the activations, any bits for the weights. */
  for (size_t i = 0; is_random && i < size; i++) {
    state = state * 1664525u + 1013904223u;
    host[i] = (unsigned char)(state >> 24);
    if (is_random == 2 && i % 2) host[i] &= 0xbf;
  }
  assert_int_equal(device->ops->to_device(device, memory, host, size, NULL), 0);
  apq__free(host);
  return memory;
}

typedef struct chain {
  apq__device *device;
  link_kernel pack, product;
  apq_pack_args pack_args;
  apq_gemm_args args;
  unsigned char *x, *y;
} chain;

static void run(chain *c, int is_synchronized) {
  for (int i = 0; i < LINKS; i++) {
    c->pack_args.x = c->x + (size_t)i * K * 2;
    c->args.y = c->y + (size_t)i * N * 2;
    assert_int_equal(apq__kernel_launch(c->device, c->pack.kernel, &c->pack.shape, &c->pack_args,
                                        sizeof c->pack_args, NULL, NULL),
                     0);
    assert_int_equal(apq__kernel_launch(c->device, c->product.kernel, &c->product.shape, &c->args,
                                        sizeof c->args, NULL, NULL),
                     0);
    if (is_synchronized) assert_int_equal(c->device->ops->synchronize(c->device, NULL, NULL), 0);
  }
  assert_int_equal(c->device->ops->synchronize(c->device, NULL, NULL), 0);
}

static void check_chain(apq__device *device, const char *text) {
  apq__config config, pack_config;
  apq_error error = APQ_ERROR_INIT;
  chain c = {.device = device};
  assert_int_equal(apq__config_parse(text, &config, &error), 0);
  assert_int_equal(apq__config_complete(&config, &error), 0);
  apq__form form = apq__config_form(&config);
  assert_int_equal(apq__pack_config(APQ_DTYPE_F16, &problem, form, &pack_config, &error), 0);
  make_kernel(device, &pack_config, &c.pack);
  make_kernel(device, &config, &c.product);
  c.x = make_buffer(device, (size_t)LINKS * K * 2, 2);
  c.y = make_buffer(device, (size_t)LINKS * N * 2, 0);
  void *w = make_buffer(device, (size_t)apq__planes_bytes(N, K, P), 1);
  void *packed = make_buffer(device, (size_t)K * 8, 0), *sums = make_buffer(device, N * 4, 0);
  char *edges = make_buffer(device, 3 * 256, 0);
  /* All links share it. */
  const apq__shape *shape = &c.product.shape;
  const size_t shared = shape->workspace_bytes - shape->ticket_bytes;
  char *workspace = make_buffer(device, shape->workspace_bytes + 256, 0);
  c.pack_args = (apq_pack_args){.out = packed,
                                .sum = (int *)(void *)edges,
                                .scale = (float *)(void *)(edges + 256),
                                .zero = (int *)(void *)(edges + 512),
                                .ldx = K,
                                .rows = 1,
                                .k = K,
                                .row_bytes = (int)apq__form_row_bytes(form, K),
                                .format = APQ_FORMAT_UINT};
  c.args = (apq_gemm_args){.w = w,
                           .a = packed,
                           .w_sum = sums,
                           .a_sum = c.pack_args.sum,
                           .a_scale = c.pack_args.scale,
                           .a_zero = c.pack_args.zero,
                           .partial = (int *)(void *)workspace,
                           .tickets = (unsigned *)(void *)(workspace + shared),
                           .ldy = N,
                           .m = 1,
                           .n = N,
                           .k = K,
                           .row_bytes = (int)apq__plane_row_bytes(K),
                           .alpha_w = 1,
                           .alpha_a = 1};
  unsigned char *expected = apq__alloc((size_t)LINKS * N * 2),
                *got = apq__alloc((size_t)LINKS * N * 2);
  run(&c, 1);
  assert_int_equal(device->ops->to_host(device, expected, c.y, (size_t)LINKS * N * 2, NULL), 0);
  assert_memory_not_equal(expected, expected + (size_t)N * 2, (size_t)N * 2);
  for (int i = 0; i < REPEATS; i++) {
    assert_int_equal(device->ops->fill(device, c.y, 0xcb, (size_t)LINKS * N * 2, NULL, NULL), 0);
    run(&c, 0);
    assert_int_equal(device->ops->to_host(device, got, c.y, (size_t)LINKS * N * 2, NULL), 0);
    assert_memory_equal(got, expected, (size_t)LINKS * N * 2);
  }
  apq__free(expected);
  apq__free(got);
  void *buffers[] = {c.x, c.y, w, packed, sums, edges, workspace};
  for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
    device->ops->release(device, buffers[i]);
  device->ops->unload(device, c.pack.module);
  device->ops->unload(device, c.product.module);
}

static void early_launches_wait_for_what_they_read(void **state) {
  check_chain(*state, "family=decode,p=2,q=8,pdl=1");
  check_chain(*state, "family=decode,p=2,q=8,pdl=1,tiles=2,warps_n=2");
  check_chain(*state, "family=decode,p=2,q=8,pdl=1,persist=2,stages=2,operand=keep");
  check_chain(*state, "family=decode,p=2,q=8,pdl=1,core=u8,tile_m=8,operand=shared");
  check_chain(*state, "family=decode,p=2,q=8,pdl=1,tiles=2,warps_n=4,warps_k=2,split_k=4");
  check_chain(*state, "family=decode,p=2,q=8,pdl=1,core=u8,operand=shared,once=1,unpack=wait,"
                      "warps_k=4,split_k=2");
}

int main(void) {
  apq__device *device = open_gpu();
  if (!device) return SKIPPED;
  if (device->target.cc < 90) {
    printf("skipped: no dependent launches on %s\n", device->target.arch);
    return SKIPPED;
  }
  struct CMUnitTest tests[] = {cmocka_unit_test(early_launches_wait_for_what_they_read)};
  tests[0].initial_state = device;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  apq__device_close(device);
  return failed;
}
