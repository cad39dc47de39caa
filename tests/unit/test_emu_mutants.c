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
    {"family=decode,out=i32,p=2,q=2,tile_m=2,warps_k=2,split_k=2", {4, 0, 0, 1}},
    {"family=decode,out=i32,p=2,q=2,tile_m=8,core=u8,operand=shared,warps_k=2,warps_n=2,split_k=4",
     {4, 0, 1, 1}},
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

static const char *const shared_tiles[] = {
    "family=decode,out=i32,p=2,q=2,tile_m=2,warps_k=2,pdl=1,split_k=2",
    "family=decode,out=i32,p=2,q=2,core=u8,operand=shared,tile_m=8,unpack=wait,pdl=1,split_k=4",
    "family=decode,out=i32,p=2,q=2,operand=keep,warps_k=4,persist=1,pdl=1,split_k=2",
};
enum { SHARED_TILES = sizeof shared_tiles / sizeof shared_tiles[0] };

/* Blocks that all take themselves for the last of their tile, without a ticket. */
static void sums_taken_without_a_ticket_are_reported(void **state) {
  (void)state;
  for (int i = 0; i < SHARED_TILES; i++) {
    product at;
    apq_error error = APQ_ERROR_INIT;
    open_product(&at, "emu:sm_90a", 2, shared_tiles[i], M, N, K);
    const char ticket[] = "apq_atomic_increment(ticket)", last[] = "SPLIT_K - 1";
    char *found = strstr(at.source, ticket);
    assert_non_null(found);
    memset(found, ' ', sizeof ticket - 1);
    memcpy(found, last, sizeof last - 1);
    assert_int_equal(launch_source(&at, &error), APQ_KERNEL_FAULT);
    assert_non_null(strstr(error.message, "with no threadfence, barrier and atomic after it"));
    apq_error_clear(&error);
    close_product(&at);
  }
}

/* The launch before may have the workspace still. */
static void sums_parked_before_the_launch_before_ends_are_reported(void **state) {
  (void)state;
  for (int i = 0; i < SHARED_TILES; i++) {
    product at;
    apq_error error = APQ_ERROR_INIT;
    open_product(&at, "emu:sm_90a", 2, shared_tiles[i], M, N, K);
    check_ok(launch_source(&at, &error), &error);
    assert_int_equal(count_missed(&at, "apq_grid_wait();"), 1);
    close_product(&at);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_removed_is_missed),
      cmocka_unit_test(sums_taken_without_a_ticket_are_reported),
      cmocka_unit_test(sums_parked_before_the_launch_before_ends_are_reported),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
