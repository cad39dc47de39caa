/* The warpgroup kernels with one word of synchronization taken out: the emulated device must report
 * it, unless it can be spared. */
#include "emu_kernel.h"

#include "bitplane.h"
#include "config.h"
#include "generator.h"
#include "kernel_abi.h"
#include "kernel_launch.h"

enum { M = 150, N = 300, K = 4200, SMS = 2 };

/* The words, and whether a kernel of each of the configs below has one that must be reported when
 * missing.  Others are in functions that the config does not call, or can be spared: a syncwarp
 * before a barrier, the fence of a reading block, a wait that another one implies. */
enum { CONFIGS = 4 };
static const char *const configs[CONFIGS] = {
    "family=bgmma,out=i32,p=2,q=2",
    "family=bgmma,out=i32,p=2,q=2,split_k=2",
    "family=bgmma,out=i32,p=2,q=2,cluster_m=2,store=direct",
    "family=igmma,out=i32,p=3,q=4",
};
static const struct {
  const char *word;
  int needed[CONFIGS];
} words[] = {
    {"apq_mbarrier_init(", {4, 4, 4, 4}},      {"apq_mbarrier_publish(", {1, 1, 1, 1}},
    {"apq_mbarrier_arrive(", {2, 2, 1, 2}},    {"apq_mbarrier_arrive_at(", {0, 0, 1, 0}},
    {"apq_mbarrier_expect(", {1, 1, 1, 1}},    {"apq_mbarrier_wait(", {4, 4, 4, 4}},
    {"apq_wgmma_fence(", {1, 1, 1, 1}},        {"apq_wgmma_commit(", {1, 1, 1, 1}},
    {"apq_wgmma_wait(", {2, 2, 2, 2}},         {"apq_named_barrier(", {1, 3, 0, 1}},
    {"apq_cluster_sync(", {0, 0, 2, 0}},       {"apq_syncthreads(", {1, 1, 0, 1}},
    {"apq_syncwarp(", {0, 0, 1, 1}},           {"apq_tma_load(", {1, 1, 1, 1}},
    {"apq_tma_load_multicast(", {0, 0, 1, 0}}, {"apq_registers_decrease(", {1, 1, 1, 1}},
    {"apq_threadfence(", {0, 1, 0, 0}},
};
enum { WORDS = sizeof words / sizeof words[0] };

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

static void open_product(product *at, const char *text) {
  apq_error error = APQ_ERROR_INIT;
  check_ok(apq__device_open("emu:sm_90a", &at->device, &error), &error);
  at->device->target.sm_count = SMS; /* so that blocks walk over several tiles */
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

static apq_status launch_source(product *at, apq_error *error) {
  const apq__device_ops *ops = at->device->ops;
  apq__object object;
  apq__module *module = NULL;
  apq__kernel *kernel = NULL;
  char name[APQ__WORD_MAX + 8];
  check_ok(apq__compile(at->source, &at->device->target, NULL, &object, error), error);
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
  apq_tensor_map map;
  if (at->shape.is_tma)
    check_ok(apq__weights_map(at->device, &at->shape, &args, apq__config_int(&at->config, "p", 0),
                              &map, error),
             error);
  apq_status status = apq__product_launch(at->device, kernel, &at->shape, &args, &map,
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
    char saved[256];
    assert_true(length < sizeof saved);
    memcpy(saved, found, length);
    memset(found, ' ', length);
    apq_status status = launch_source(at, &error);
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
  for (int i = 0; i < CONFIGS; i++) {
    product at;
    apq_error error = APQ_ERROR_INIT;
    open_product(&at, configs[i]);
    check_ok(launch_source(&at, &error), &error);
    for (int w = 0; w < WORDS; w++) {
      int missed = words[w].needed[i] ? count_missed(&at, words[w].word) : 0;
      if (missed < words[w].needed[i])
        fail_msg("%s: only %d missing '%s' reported", configs[i], missed, words[w].word);
    }
    close_product(&at);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_removed_is_missed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
