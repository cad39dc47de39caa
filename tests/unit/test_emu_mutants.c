/* The real kernels with one barrier, arrival, commit, wait or fence taken out: the emulated device
 * must report it, unless it can be spared. */
#include "emu_kernel.h"

#include "bitplane.h"
#include "config.h"
#include "generator.h"
#include "kernel_abi.h"
#include "kernel_launch.h"

enum { M = 33, N = 65, K = 2100 };

static const char *const words[] = {
    "apq_syncthreads();",   "apq_cp_async_commit();",  "apq_cp_async_wait(",
    "apq_threadfence();",   "apq_mbarrier_wait(FULL(", "apq_mbarrier_wait(FREE(",
    "apq_mbarrier_expect(", "apq_release(FREE(",       "apq_wgmma_commit();",
    "apq_wgmma_wait(",      "apq_wgmma_fence();",      "apq_named_barrier(",
    "apq_cluster_sync();"};
enum { WORDS = sizeof words / sizeof words[0] };

/* How many of these words (in this order) must be reported when missing.  The others are in
 * functions that the config does not call, or can be spared: the wait that drains empty groups, a
 * barrier that makes two cases alike, the fence of a reading block. */
static const struct {
  const char *device, *config;
  int needed[WORDS];
} rows[] = {
    {"emu:sm_80", "family=bmma,out=i32,p=2,q=2,stages=1", {2, 1, 1, 0}},
    {"emu:sm_80",
     "family=bmma,out=i32,p=2,q=1,stages=3,split_k=2,store=staged,layout=xor",
     {4, 1, 1, 1}},
    {"emu:sm_80",
     "family=bmma,out=i32,p=2,q=2,stages=2,store=staged,recombine=shared",
     {3, 1, 1, 0}},
    {"emu:sm_80", "family=imma,out=i32,p=3,q=4,stages=3,split_k=2,store=staged", {4, 1, 1, 1}},
    {"emu:sm_80", "family=decode,out=i32,p=2,q=4,tile_m=4,operand=shared", {2, 1, 1, 0}},
    {"emu:sm_80", "family=decode,out=i32,p=5,q=4,core=u8,operand=shared,persist=1", {2, 1, 1, 0}},
    {"emu:sm_90a",
     "family=bgmma,out=i32,p=2,q=2,tile_k=512,stages=2",
     {1, 0, 0, 0, 1, 1, 1, 1, 1, 2, 1, 1, 0}},
    {"emu:sm_90a",
     "family=bgmma,out=i32,p=2,q=2,tile_k=256,stages=3,schedule=horner,roles=pingpong,tile_m=64,"
     "cluster_n=2,split_k=2",
     {0, 0, 0, 1, 1, 1, 1, 1, 1, 3, 1, 3, 2}},
    {"emu:sm_90a",
     "family=igmma,out=i32,p=3,q=4,tile_m=32,tile_k=256,stages=2",
     {1, 0, 0, 0, 1, 1, 2, 1, 1, 2, 1, 1, 0}},
};

typedef struct product {
  apq__device *device;
  apq__config config;
  apq__shape shape;
  apq_gemm_args args;
  char *source;
} product;

static void *zeros(apq__device *device, size_t size) {
  apq_error error = APQ_ERROR_INIT;
  void *memory = NULL;
  check_ok(device->ops->alloc(device, size, &memory, &error), &error);
  check_ok(device->ops->fill(device, memory, 0, size, NULL, &error), &error);
  return memory;
}

static void open_product(product *at, const char *device, const char *text) {
  apq_error error = APQ_ERROR_INIT;
  check_ok(apq__device_open(device, &at->device, &error), &error);
  check_ok(apq__config_parse(text, &at->config, &error), &error);
  check_ok(apq__config_complete(&at->config, &error), &error);
  int p = apq__config_int(&at->config, "p", 0), q = apq__config_int(&at->config, "q", 0);
  const apq__problem problem = {p, q, M, N, K, APQ_DTYPE_I32, 0};
  check_ok(apq__config_limits(&at->config, &problem, &at->device->target, &at->shape, &error),
           &error);
  check_ok(apq__generate(&at->config, &at->device->target, &at->source, &error), &error);
  size_t a_bytes = (size_t)(apq__config_wants_bytes(&at->config) ? M * apq__byte_row_bytes(K)
                                                                 : apq__planes_bytes(M, K, q));
  at->args = (apq_gemm_args){
      .w = zeros(at->device, (size_t)apq__planes_bytes(N, K, p)),
      .a = zeros(at->device, a_bytes),
      .y = zeros(at->device, 4 * M * N),
      .w_sum = zeros(at->device, 4 * N),
      .a_sum = zeros(at->device, 4 * M),
      .ldy = N,
      .m = M,
      .n = N,
      .k = K,
      .row_bytes = (int)apq__plane_row_bytes(K),
      .alpha_w = 1,
      .alpha_a = 1,
  };
}

static void close_product(product *at) {
  apq__free(at->source);
  apq__device_close(at->device);
}

static apq_status launch_source(product *at, const char *source, apq_error *error) {
  const apq__device_ops *ops = at->device->ops;
  apq__object object;
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  char name[APQ__WORD_MAX + 8];
  check_ok(apq__compile(source, &at->device->target, NULL, &object, error), error);
  check_ok(ops->load(at->device, object.image, object.size, &module, error), error);
  check_ok(ops->kernel(at->device, module, apq__kernel_name(&at->config, name),
                       at->shape.smem_bytes, &kernel, NULL, error),
           error);
  /* Fresh tickets: a fault may have left some. */
  apq_gemm_args args = at->args;
  if (at->shape.workspace_bytes) {
    args.partial = zeros(at->device, at->shape.workspace_bytes);
    args.tickets = (unsigned *)(void *)((char *)args.partial + at->shape.workspace_bytes -
                                        at->shape.ticket_bytes);
  }
  apq_tensor_map map = {0};
  apq_status status = APQ_OK;
  if (at->shape.is_tma)
    status = apq__weights_map(at->device, &at->shape, &args, apq__config_int(&at->config, "p", 0),
                              &map, error);
  if (!status)
    status = apq__product_launch(at->device, kernel, &at->shape, &args, &map,
                                 apq__config_int(&at->config, "q", 0),
                                 apq__config_wants_bytes(&at->config), NULL, error);
  ops->release(at->device, args.partial);
  ops->unload(at->device, module);
  apq__object_free(&object);
  return status;
}

/* Takes out each occurrence of `word` in turn.  Returns how many were missed. */
static int count_missed(product *at, const char *word) {
  int missed = 0;
  const char *first =
      strstr(at->source, "APQ_WORD apq_u32 apq_floats_to_bf16s("); /* prelude's end */
  assert_non_null(first);
  for (char *found = (char *)(uintptr_t)strstr(first, word); found;
       found = strstr(found + 1, word)) {
    apq_error error = APQ_ERROR_INIT;
    size_t length = strcspn(found, ";");
    char saved[64];
    assert_true(length < sizeof saved);
    memcpy(saved, found, length);
    memset(found, ' ', length);
    apq_status status = launch_source(at, at->source, &error);
    memcpy(found, saved, length);
    if (status == APQ_OK) continue;
    assert_int_equal(status, APQ_KERNEL_FAULT);
    assert_non_null(strstr(error.message, "block ("));
    assert_non_null(strstr(error.message, "thread "));
    apq_error_clear(&error);
    missed++;
  }
  return missed;
}

static void what_is_removed_is_missed(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    product at;
    apq_error error = APQ_ERROR_INIT;
    open_product(&at, rows[i].device, rows[i].config);
    check_ok(launch_source(&at, at.source, &error), &error);
    for (int w = 0; w < WORDS; w++) {
      int missed = count_missed(&at, words[w]);
      if (missed < rows[i].needed[w])
        fail_msg("%s: only %d missing '%s' reported", rows[i].config, missed, words[w]);
    }
    close_product(&at);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_removed_is_missed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
