/* Every (p, q) of igmma and imma_bulk against the CPU reference on the emulated device. */
#include "kernel_fixture.h"

/* Four SMs: one cluster of four, and several tiles a block. */
static void warpgroups_multiply_bytes(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[8], "emu:sm_90a", 4, 1), 0);
}

static void warpgroups_multiply_bytes_warp_by_warp(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[11], "emu:sm_90a", 4, 1), 0);
}

/* Codes of five bits and more do not fit. */
static void warpgroups_take_activations_in_pairs(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[19], "emu:sm_90a", 4, 1), 48);
}

static void weights_unpacked_once_a_tile(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[15], "emu:sm_90a", 4, 3), 0);
}

static void bytes_have_scales_of_groups(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[12], "emu:sm_90a", 4, 3), 0);
  assert_int_equal(sweep_on(&sweep_kinds[13], "emu:sm_90a", 4, 3), 0);
}

/* With three and four SMs there are fewer tiles than blocks, less than two waves, and more. */
static void bytes_share_the_last_tiles_evenly(void **state) {
  (void)state;
  for (int sms = 3; sms <= 4; sms++) {
    int step = sms == 4 ? 3 : 7;
    assert_int_equal(sweep_on(&sweep_kinds[26], "emu:sm_90a", sms, step), 0);
    assert_int_equal(sweep_on(&sweep_kinds[27], "emu:sm_90a", sms, step), 0);
  }
}

/* With codes that warps unpack only the activations do. */
static void bytes_lie_in_core_matrices(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[32], "emu:sm_90a", 4, 3), 0);
  assert_int_equal(sweep_on(&sweep_kinds[34], "emu:sm_90a", 4, 7), 0);
  assert_int_equal(sweep_on(&sweep_kinds[35], "emu:sm_90a", 4, 7), 0);
}

static void bytes_lie_in_panels_of_narrow_swizzles(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[38], "emu:sm_90a", 4, 7), 0);
  assert_int_equal(sweep_on(&sweep_kinds[39], "emu:sm_90a", 4, 7), 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(warpgroups_multiply_bytes),
      cmocka_unit_test(warpgroups_multiply_bytes_warp_by_warp),
      cmocka_unit_test(warpgroups_take_activations_in_pairs),
      cmocka_unit_test(weights_unpacked_once_a_tile),
      cmocka_unit_test(bytes_have_scales_of_groups),
      cmocka_unit_test(bytes_share_the_last_tiles_evenly),
      cmocka_unit_test(bytes_lie_in_core_matrices),
      cmocka_unit_test(bytes_lie_in_panels_of_narrow_swizzles),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
