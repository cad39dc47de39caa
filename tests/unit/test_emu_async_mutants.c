/* The warpgroup kernels with one word of synchronization taken out: the emulated device must report
 * it, unless it can be spared. */
#include "mutants.h"

enum { M = 150, N = 300, K = 4200, SMS = 2 };

/* The words, and whether a kernel of each of the configs below has one that must be reported when
 * missing.  Others are in functions that the config does not call, or can be spared: a syncwarp
 * before a barrier, the fence of a reading block, a wait that another one implies. */
enum { CONFIGS = 8 };
static const char *const configs[CONFIGS] = {
    "family=bgmma,out=i32,p=2,q=2",
    "family=bgmma,out=i32,p=2,q=2,split_k=2",
    "family=bgmma,out=i32,p=2,q=2,cluster_m=2,store=direct",
    "family=igmma,out=i32,p=3,q=4",
    "family=imma_bulk,out=i32,p=3,q=4",
    "family=bgmma,out=i32,p=2,q=1,tile_m=64,tile_k=512,schedule=horner,roles=pingpong",
    "family=igmma,out=i32,p=3,q=4,tile_k=256,unpack=shared",
    "family=igmma,out=i32,p=3,q=4,tile_m=160,split_k=stream",
};
static const struct {
  const char *word;
  int needed[CONFIGS];
} words[] = {
    {"apq_mbarrier_init(", {4, 4, 4, 4, 4, 4, 6, 4}},
    {"apq_mbarrier_publish(", {1, 1, 1, 1, 1, 0, 1, 1}},
    {"apq_mbarrier_arrive(", {2, 2, 1, 2, 2, 2, 2, 2}},
    {"apq_mbarrier_arrive_at(", {0, 0, 1, 0, 0, 0, 0, 0}},
    {"apq_mbarrier_expect(", {1, 1, 1, 1, 1, 1, 1, 1}},
    {"apq_mbarrier_wait(", {4, 4, 4, 4, 4, 4, 4, 4}},
    {"apq_wgmma_fence(", {1, 1, 1, 1, 0, 1, 1, 1}},
    {"apq_wgmma_commit(", {1, 1, 1, 1, 0, 1, 1, 1}},
    {"apq_wgmma_wait(", {2, 2, 2, 2, 0, 3, 2, 2}},
    {"apq_named_barrier(", {1, 3, 0, 1, 1, 1, 1, 3}},
    {"apq_cluster_sync(", {0, 0, 2, 0, 0, 0, 0, 0}},
    {"apq_syncthreads(", {1, 1, 0, 1, 1, 0, 1, 1}},
    {"apq_syncwarp(", {0, 0, 1, 1, 1, 0, 1, 1}},
    {"apq_tma_load(", {1, 1, 1, 1, 1, 1, 1, 1}},
    {"apq_tma_load_multicast(", {0, 0, 1, 0, 0, 0, 0, 0}},
    {"apq_fence_async(", {0, 0, 0, 0, 0, 0, 1, 0}},
    {"apq_registers_decrease(", {1, 1, 1, 1, 1, 0, 0, 1}},
    {"apq_threadfence(", {0, 1, 0, 0, 0, 0, 0, 1}},
};
enum { WORDS = sizeof words / sizeof words[0] };

static void what_is_removed_is_missed(void **state) {
  (void)state;
  for (int i = 0; i < CONFIGS; i++) {
    product at;
    apq_error error = APQ_ERROR_INIT;
    /* Few SMs, so that blocks walk over several tiles. */
    open_product(&at, "emu:sm_90a", SMS, configs[i], M, N, K);
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
