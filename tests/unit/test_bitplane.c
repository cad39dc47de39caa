/* Bit planes: the layout stated bit by bit, the fast packer against the plain one, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "host.h"

enum { GUARD = 64, POISON = 0xa5 };

static const int64_t lengths[] = {1, 7, 8, 9, 127, 128, 129, 255, 256, 1000};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

/* `bytes` poisoned bytes with guards on both sides. */
static uint8_t *guarded(int64_t bytes) {
  uint8_t *memory = apq__alloc((size_t)bytes + 2 * GUARD);
  memset(memory, POISON, (size_t)bytes + 2 * GUARD);
  return memory + GUARD;
}

static void release_guarded(uint8_t *memory, int64_t bytes) {
  for (int i = 1; i <= GUARD; i++) {
    assert_int_equal(memory[-i], POISON);
    assert_int_equal(memory[bytes + i - 1], POISON);
  }
  apq__free(memory - GUARD);
}

static void sizes_are_in_blocks_of_128(void **state) {
  (void)state;
  assert_int_equal(apq__plane_row_bytes(1), 16);
  assert_int_equal(apq__plane_row_bytes(128), 16);
  assert_int_equal(apq__plane_row_bytes(129), 32);
  assert_int_equal(apq__planes_bytes(3, 129, 5), 3 * 32 * 5);
  assert_int_equal(apq__byte_row_bytes(1), 128);
  assert_int_equal(apq__byte_row_bytes(129), 256);
  assert_true(apq__planes_bytes(1 << 20, 1 << 20, 8) == (int64_t)1 << 40);
}

static void check_planes(int64_t rows, int64_t k, int bits, uint64_t *seed) {
  int64_t ld = k + 3, bytes = apq__planes_bytes(rows, k, bits), row_bytes = apq__plane_row_bytes(k);
  uint8_t *codes = guarded(rows * ld), *slow = guarded(bytes), *fast = guarded(bytes),
          *back = guarded(rows * ld);
  int32_t slow_sums[4], fast_sums[4];
  /* What lies between the rows is not code and must not leak into the planes. */
  memset(codes, 0xff, (size_t)(rows * ld));
  for (int64_t row = 0; row < rows; row++)
    for (int64_t i = 0; i < k; i++)
      codes[row * ld + i] = (uint8_t)(apq__random(seed) & ((1u << bits) - 1));
  apq__pack_planes_scalar(codes, ld, rows, k, bits, slow, slow_sums);
  apq__pack_planes(codes, ld, rows, k, bits, fast, fast_sums);
  for (int bit = 0; bit < bits; bit++)
    for (int64_t row = 0; row < rows; row++)
      for (int64_t i = 0; i < row_bytes * 8; i++) {
        int expected = i < k ? codes[row * ld + i] >> bit & 1 : 0;
        assert_int_equal(slow[(bit * rows + row) * row_bytes + i / 8] >> (i % 8) & 1, expected);
      }
  assert_memory_equal(slow, fast, (size_t)bytes);
  for (int64_t row = 0; row < rows; row++) {
    int32_t sum = 0;
    for (int64_t i = 0; i < k; i++) sum += codes[row * ld + i];
    assert_int_equal(slow_sums[row], sum);
    assert_int_equal(fast_sums[row], sum);
  }
  apq__unpack_planes(fast, rows, k, bits, back, ld);
  for (int64_t row = 0; row < rows; row++) {
    assert_memory_equal(back + row * ld, codes + row * ld, (size_t)k);
    for (int64_t i = k; i < ld; i++) assert_int_equal(back[row * ld + i], POISON);
  }
  apq__pack_planes(codes, ld, rows, k, bits, fast, NULL);
  assert_memory_equal(slow, fast, (size_t)bytes);
  release_guarded(codes, rows * ld);
  release_guarded(slow, bytes);
  release_guarded(fast, bytes);
  release_guarded(back, rows * ld);
}

static void planes_hold_the_codes(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int bits = 1; bits <= 8; bits++)
    for (int i = 0; i < LENGTHS; i++)
      for (int64_t rows = 1; rows <= 4; rows += 3) check_planes(rows, lengths[i], bits, &seed);
}

static void full_bytes_are_summed_without_carry_loss(void **state) {
  (void)state;
  uint8_t codes[1024], planes[1024];
  int32_t sum;
  memset(codes, 0xff, sizeof codes);
  apq__pack_planes(codes, 1024, 1, 1024, 8, planes, &sum);
  assert_int_equal(sum, 255 * 1024);
}

static void byte_positions_are_as_stated(void **state) {
  (void)state;
  for (int t = 0; t < 4; t++)
    for (int j = 0; j < 4; j++)
      for (int b = 0; b < 8; b++) {
        assert_int_equal(apq__byte_position(32 * t + 8 * j + b), 16 * b + 4 * t + j);
        assert_int_equal(apq__byte_position(384 + 32 * t + 8 * j + b), 384 + 16 * b + 4 * t + j);
      }
}

static void bytes_hold_the_codes(void **state) {
  (void)state;
  uint64_t seed = 2;
  for (int l = 0; l < LENGTHS; l++) {
    int64_t k = lengths[l], ld = k + 5, rows = 3, row_bytes = apq__byte_row_bytes(k);
    uint8_t *codes = guarded(rows * ld), *bytes = guarded(rows * row_bytes);
    int32_t sums[3];
    for (int64_t i = 0; i < rows * ld; i++) codes[i] = (uint8_t)apq__random(&seed);
    apq__pack_bytes(codes, ld, rows, k, bytes, sums);
    for (int64_t row = 0; row < rows; row++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < row_bytes; i++) {
        int expected = i < k ? codes[row * ld + i] : 0;
        assert_int_equal(bytes[row * row_bytes + apq__byte_position(i)], expected);
        sum += expected;
      }
      assert_int_equal(sums[row], sum);
    }
    apq__pack_bytes(codes, ld, rows, k, bytes, NULL);
    release_guarded(codes, rows * ld);
    release_guarded(bytes, rows * row_bytes);
  }
}

/* What a pair adds to a product of its weights, low code and both, is 16 times theirs with codes
 * one higher. */
static void pairs_multiply_as_codes_do(void **state) {
  (void)state;
  uint64_t seed = 3;
  for (int l = 0; l < LENGTHS; l++) {
    int64_t k = lengths[l], ld = k + 5, rows = 3, row_bytes = apq__byte_row_bytes(k);
    uint8_t *codes = guarded(rows * ld), *pairs = guarded(rows * row_bytes);
    int32_t sums[3];
    for (int64_t i = 0; i < rows * ld; i++) codes[i] = (uint8_t)(apq__random(&seed) % 16);
    apq__pack_pairs(codes, ld, rows, k, pairs, sums);
    for (int64_t row = 0; row < rows; row++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < row_bytes; i++) {
        if (i % 8 >= 4) continue;
        int low = i < k ? codes[row * ld + i] : 0, high = i + 4 < k ? codes[row * ld + i + 4] : 0;
        int first = pairs[row * row_bytes + apq__byte_position(i)];
        int second = pairs[row * row_bytes + apq__byte_position(i + 4)];
        sum += low + high;
        for (int w = 0; w < 256; w++)
          assert_int_equal(w * second + w % 16 * first,
                           16 * (w % 16 * (low + 1) + w / 16 * (high + 1)));
      }
      assert_int_equal(sums[row], sum);
    }
    release_guarded(codes, rows * ld);
    release_guarded(pairs, rows * row_bytes);
  }
}

/* Sums from the planes, by groups and for some of the rows only. */
static void planes_are_summed(void **state) {
  (void)state;
  enum { ROWS = 3, BITS = 5 };
  uint64_t seed = 4;
  for (int l = 0; l < LENGTHS; l++)
    for (int group = 32; group <= 256; group *= 2) {
      const int64_t k = lengths[l], groups = (k + group - 1) / group;
      uint8_t *codes = guarded(ROWS * k);
      for (int64_t i = 0; i < ROWS * k; i++) codes[i] = (uint8_t)(apq__random(&seed) % 32);
      const int64_t size = apq__planes_bytes(ROWS, k, BITS);
      uint8_t *planes = guarded(size);
      int32_t expected[ROWS], sums[ROWS] = {-1, -1, -1};
      apq__pack_planes_scalar(codes, k, ROWS, k, BITS, planes, expected);
      int32_t *parts = apq__calloc((size_t)(ROWS * groups), sizeof *parts);
      apq__plane_sums(planes, ROWS, k, BITS, group, 1, ROWS, sums, parts);
      assert_int_equal(sums[0], -1);
      for (int64_t row = 1; row < ROWS; row++) {
        assert_int_equal(sums[row], expected[row]);
        for (int64_t g = 0; g < groups; g++) {
          int32_t part = 0;
          for (int64_t i = g * group; i < k && i < (g + 1) * group; i++) part += codes[row * k + i];
          assert_int_equal(parts[row * groups + g], part);
        }
      }
      apq__plane_sums(planes, ROWS, k, BITS, 0, 0, 1, sums, NULL);
      assert_int_equal(sums[0], expected[0]);
      apq__free(parts);
      release_guarded(codes, ROWS * k);
      release_guarded(planes, size);
    }
}

static void bits_beyond_the_row_are_found(void **state) {
  (void)state;
  enum { ROWS = 3, BITS = 2 };
  for (int l = 0; l < LENGTHS; l++) {
    const int64_t k = lengths[l], row_bytes = apq__plane_row_bytes(k);
    uint8_t *planes = apq__calloc(1, (size_t)apq__planes_bytes(ROWS, k, BITS));
    for (int64_t at = 0; at < ROWS * BITS * row_bytes * 8; at++) {
      planes[at / 8] = (uint8_t)(1 << at % 8);
      const int is_beyond = at % (8 * row_bytes) >= k;
      const int64_t row = at / (8 * row_bytes) % ROWS;
      assert_int_equal(apq__plane_dirty_row(planes, ROWS, k, BITS), is_beyond ? row : -1);
      planes[at / 8] = 0;
    }
    apq__free(planes);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_are_in_blocks_of_128),
      cmocka_unit_test(planes_hold_the_codes),
      cmocka_unit_test(full_bytes_are_summed_without_carry_loss),
      cmocka_unit_test(byte_positions_are_as_stated),
      cmocka_unit_test(bytes_hold_the_codes),
      cmocka_unit_test(pairs_multiply_as_codes_do),
      cmocka_unit_test(planes_are_summed),
      cmocka_unit_test(bits_beyond_the_row_are_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
