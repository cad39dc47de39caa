/* Every (p, q) of the families for any GPU, and the pack kernels, against the CPU reference on
 * emulated devices; the others are test_warpgroup_bits and test_warpgroup_bytes. */
#include "kernel_fixture.h"

static void planes_side_by_side(void **state) {
  (void)state;
  /* Past about 40 products of planes, four registers each, a thread has no room. */
  assert_in_range(sweep(&sweep_kinds[0], "emu:sm_90a", 1), 0, 12);
}
static void horner_over_planes(void **state) {
  (void)state;
  assert_int_equal(sweep(&sweep_kinds[1], "emu:sm_80", 1), 0);
}
static void planes_recombined_in_shared_memory(void **state) {
  (void)state;
  /* 7 x 7 planes cannot be dealt to 2, 4 or 8 warps, nor fit one. */
  assert_in_range(sweep(&sweep_kinds[2], "emu:sm_90a", 1), 0, 2);
}
static void planes_unpacked_to_bytes(void **state) {
  (void)state;
  assert_int_equal(sweep(&sweep_kinds[3], "emu:sm_90a", 1), 0);
}
/* Two SMs, so that persistent blocks walk over several tiles. */
static void weights_streamed_into_bit_products(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[4], "emu:sm_90a", 2, 1), 0);
}
static void weights_streamed_and_unpacked_to_bytes(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[5], "emu:sm_90a", 2, 1), 0);
}
/* Codes of five bits and more do not fit. */
static void activations_in_pairs(void **state) {
  (void)state;
  assert_int_equal(sweep(&sweep_kinds[18], "emu:sm_80", 1), 48);
}
static void groups_have_their_own_scales(void **state) {
  (void)state;
  assert_int_equal(sweep(&sweep_kinds[9], "emu:sm_90a", 3), 0);
  /* Totals of the groups beside the products of all planes: past about 25 no tile has room. */
  assert_in_range(sweep(&sweep_kinds[10], "emu:sm_80", 5), 0, 6);
}
static void streamed_weights_have_scales_of_groups(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[16], "emu:sm_90a", 2, 3), 0);
  assert_int_equal(sweep_on(&sweep_kinds[17], "emu:sm_90a", 2, 3), 0);
}
static void rows_are_quantized_where_they_are_multiplied(void **state) {
  (void)state;
  for (int kind = 20; kind < 24; kind++) {
    int is_grouped = kind >= 22;
    assert_int_equal(sweep_on(&sweep_kinds[kind], "emu:sm_90a", 2, is_grouped ? 3 : 1), 0);
  }
}
/* So few SMs that persistent blocks, which are a multiple of the parts, walk over several tiles. */
static void blocks_of_the_grid_share_sums(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[28], "emu:sm_90a", 4, 3), 0);
  assert_int_equal(sweep_on(&sweep_kinds[29], "emu:sm_90a", 4, 3), 0);
}
static void turing_has_xor_and_plain_loads(void **state) {
  (void)state;
  for (int kind = 0; kind < SWEEP_KINDS; kind++) sweep(&sweep_kinds[kind], "emu:sm_75", 9);
}

static void activations_are_packed(void **state) {
  (void)state;
  apq__device *device = open_device("emu:sm_90a");
  const apq_dtype sources[] = {APQ_DTYPE_F16, APQ_DTYPE_BF16, APQ_DTYPE_F32, APQ_DTYPE_CODES8};
  for (int i = 0; i < 8 * 4 * APQ__FORM_COUNT; i++) {
    apq__config config;
    /* Each source meets each form at every second number of bits. */
    int bits = i / 4 % 8 + 1;
    apq__form form = (apq__form)(i / 32);
    if ((i + bits + (int)form) % 2 || bits > apq__form_bits(form)) continue;
    const apq__problem problem = {.q = bits, .m = i % 3 * 200, .k = 1000 << i % 4};
    assert_int_equal(apq__pack_config(sources[i % 4], &problem, form, &config, NULL), APQ_OK);
    if (i % 4 < 3 && i / 8 % 2)
      assert_int_equal(apq__config_set_int(&config, "gate", 1, NULL), APQ_OK);
    verify(device, &config);
  }
  apq__device_close(device);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(planes_side_by_side),
      cmocka_unit_test(horner_over_planes),
      cmocka_unit_test(planes_recombined_in_shared_memory),
      cmocka_unit_test(planes_unpacked_to_bytes),
      cmocka_unit_test(weights_streamed_into_bit_products),
      cmocka_unit_test(weights_streamed_and_unpacked_to_bytes),
      cmocka_unit_test(activations_in_pairs),
      cmocka_unit_test(groups_have_their_own_scales),
      cmocka_unit_test(streamed_weights_have_scales_of_groups),
      cmocka_unit_test(rows_are_quantized_where_they_are_multiplied),
      cmocka_unit_test(blocks_of_the_grid_share_sums),
      cmocka_unit_test(turing_has_xor_and_plain_loads),
      cmocka_unit_test(activations_are_packed),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
