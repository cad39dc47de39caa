/* Every (p, q) of every product family, and the pack kernels, against the CPU reference on emulated
 * devices. `test_kernels KIND` runs one kind of kernel_sweep.h or "pack"; without arguments all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../kernel_sweep.h"
#include "alloc.h"
#include "device.h"
#include "host.h"
#include "verify.h"

static apq__device *open_device(const char *name) {
  apq__device *device = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__device_open(name, &device, &error)) fail_msg("%s: %s", name, error.message);
  return device;
}

static void verify(apq__device *device, const apq__config *config) {
  char key[APQ__KEY_MAX];
  char *cache = apq__cache_dir();
  apq_error error = APQ_ERROR_INIT;
  apq__verify_report report = {0};
  if (apq__verify_config(device, config, NULL, cache, 20260901, &report, &error))
    fail_msg("%s on %s: %s\n%s", apq__config_key(config, key), device->target.arch, error.message,
             error.log ? error.log : "");
  assert_true(report.products > 0 && report.outputs > 0);
  apq__free(cache);
}

/* Returns how many pairs the kind has no config for.  `sm_count` 0: as the device has them. */
static int sweep_on(const sweep_kind *kind, const char *device_name, int sm_count, int step) {
  apq__device *device = open_device(device_name);
  if (sm_count) device->target.sm_count = sm_count;
  int missing = 0;
  for (int pair = 0; pair < 64; pair += step) {
    apq__config config;
    if (sweep_config(kind, pair / 8 + 1, pair % 8 + 1, 0, &device->target, &config))
      verify(device, &config);
    else
      missing++;
  }
  apq__device_close(device);
  return missing;
}

static int sweep(const sweep_kind *kind, const char *device_name, int step) {
  return sweep_on(kind, device_name, 0, step);
}

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
static void warpgroups_multiply_bytes(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[8], "emu:sm_90a", 4, 1), 0);
}
static void warpgroups_multiply_bytes_warp_by_warp(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[11], "emu:sm_90a", 4, 1), 0);
}
/* Codes of five bits and more do not fit. */
static void activations_in_pairs(void **state) {
  (void)state;
  assert_int_equal(sweep(&sweep_kinds[18], "emu:sm_80", 1), 48);
  assert_int_equal(sweep_on(&sweep_kinds[19], "emu:sm_90a", 4, 1), 48);
}
static void weights_unpacked_once_a_tile(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[15], "emu:sm_90a", 4, 1), 0);
}
static void groups_have_their_own_scales(void **state) {
  (void)state;
  assert_int_equal(sweep(&sweep_kinds[9], "emu:sm_90a", 3), 0);
  /* Totals of the groups beside the products of all planes: past about 25 no tile has room. */
  assert_in_range(sweep(&sweep_kinds[10], "emu:sm_80", 5), 0, 6);
}
static void warpgroups_have_scales_of_groups(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[12], "emu:sm_90a", 4, 1), 0);
  assert_int_equal(sweep_on(&sweep_kinds[13], "emu:sm_90a", 4, 1), 0);
  /* As without groups, and totals beside the sums. */
  assert_in_range(sweep_on(&sweep_kinds[14], "emu:sm_90a", 4, 1), 0, 30);
}
static void streamed_weights_have_scales_of_groups(void **state) {
  (void)state;
  assert_int_equal(sweep_on(&sweep_kinds[16], "emu:sm_90a", 2, 1), 0);
  assert_int_equal(sweep_on(&sweep_kinds[17], "emu:sm_90a", 2, 1), 0);
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
      cmocka_unit_test(warpgroups_multiply_bits),
      cmocka_unit_test(warpgroups_multiply_bits_plane_by_plane),
      cmocka_unit_test(warpgroups_multiply_bytes),
      cmocka_unit_test(warpgroups_multiply_bytes_warp_by_warp),
      cmocka_unit_test(activations_in_pairs),
      cmocka_unit_test(weights_unpacked_once_a_tile),
      cmocka_unit_test(groups_have_their_own_scales),
      cmocka_unit_test(warpgroups_have_scales_of_groups),
      cmocka_unit_test(streamed_weights_have_scales_of_groups),
      cmocka_unit_test(turing_has_xor_and_plain_loads),
      cmocka_unit_test(activations_are_packed),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
