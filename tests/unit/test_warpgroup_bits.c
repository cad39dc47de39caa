/* Every (p, q) of bgmma against the CPU reference on the emulated device. */
#include "kernel_fixture.h"

/* Four SMs: one cluster of four, and several tiles a block. */
static void warpgroups_multiply_bits(void **state) {
  (void)state;
  /* Past 24 products of planes, eight registers each in the narrowest tile, a thread has no room.
   */
  assert_in_range(sweep_on(&sweep_kinds[6], "emu:sm_90a", 4, 1), 0, 18);
}

static void warpgroups_multiply_bits_plane_by_plane(void **state) {
  (void)state;
  /* One pair of planes has nothing to go through. */
  assert_int_equal(sweep_on(&sweep_kinds[7], "emu:sm_90a", 4, 1), 1);
}

/* As without groups, and totals beside the sums. */
static void bits_have_scales_of_groups(void **state) {
  (void)state;
  assert_in_range(sweep_on(&sweep_kinds[14], "emu:sm_90a", 4, 3), 0, 10);
}

/* With three and four SMs there are fewer tiles than blocks, less than two waves, and more. */
static void bits_share_the_last_tiles_evenly(void **state) {
  (void)state;
  for (int sms = 3; sms <= 4; sms++) {
    int step = sms == 4 ? 3 : 7;
    assert_in_range(sweep_on(&sweep_kinds[24], "emu:sm_90a", sms, step), 0, 18);
    assert_in_range(sweep_on(&sweep_kinds[25], "emu:sm_90a", sms, step), 0, 1);
  }
}

static void bits_lie_in_core_matrices(void **state) {
  (void)state;
  assert_in_range(sweep_on(&sweep_kinds[30], "emu:sm_90a", 4, 3), 0, 18);
  assert_int_equal(sweep_on(&sweep_kinds[31], "emu:sm_90a", 4, 3), 1);
  assert_in_range(sweep_on(&sweep_kinds[33], "emu:sm_90a", 4, 7), 0, 6);
}

static void bits_lie_in_panels_of_narrow_swizzles(void **state) {
  (void)state;
  assert_in_range(sweep_on(&sweep_kinds[36], "emu:sm_90a", 4, 7), 0, 4);
  assert_in_range(sweep_on(&sweep_kinds[37], "emu:sm_90a", 4, 7), 0, 1);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(warpgroups_multiply_bits),
      cmocka_unit_test(warpgroups_multiply_bits_plane_by_plane),
      cmocka_unit_test(bits_have_scales_of_groups),
      cmocka_unit_test(bits_share_the_last_tiles_evenly),
      cmocka_unit_test(bits_lie_in_core_matrices),
      cmocka_unit_test(bits_lie_in_panels_of_narrow_swizzles),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
