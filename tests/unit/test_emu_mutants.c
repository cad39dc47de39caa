/* The real kernels with one barrier, commit, wait or fence taken out: the emulated device must
 * report it, unless it can be spared. */
#include "mutants.h"

enum { M = 33, N = 65, K = 2100 };

static const char *const words[] = {"apq_syncthreads();", "apq_cp_async_commit();",
                                    "apq_cp_async_wait(", "apq_threadfence();"};
enum { WORDS = sizeof words / sizeof words[0] };

/* How many of these words (in this order) must be reported when missing.  The others are in
 * functions that the config does not call, or can be spared: the wait that drains empty groups, a
 * barrier that makes two cases alike, the fence of a reading block. */
static const struct {
  const char *config;
  int needed[WORDS];
} rows[] = {
    {"family=bmma,out=i32,p=2,q=2,stages=1", {2, 1, 1, 0}},
    {"family=bmma,out=i32,p=2,q=1,stages=3,split_k=2,store=staged,layout=xor", {4, 1, 1, 1}},
    {"family=bmma,out=i32,p=2,q=2,stages=2,store=staged,recombine=shared", {3, 1, 1, 0}},
    /* Rows of 2100 numbers do not end with a chunk: they come without copies. */
    {"family=decode,out=i32,p=2,q=2,operand=shared,src=f16,tile_m=2,warps_k=4", {3, 0, 0, 0}},
    {"family=decode,out=i32,p=2,q=2,operand=shared,src=f32,tile_m=1,core=u8", {3, 0, 0, 0}},
    {"family=imma,out=i32,p=3,q=4,stages=3,split_k=2,store=staged", {4, 1, 1, 1}},
};

static void what_is_removed_is_missed(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    product at;
    apq_error error = APQ_ERROR_INIT;
    open_product(&at, "emu:sm_80", 0, rows[i].config, M, N, K);
    check_ok(launch_source(&at, &error), &error);
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
