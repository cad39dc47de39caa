/* Weights from rows: quantizing against a float64 reference, integers, groups, device memory. */
#include "weights_fixture.h"

#include <float.h>

enum { N = 4, K = 300 }; /* the last group is short, whatever its length */

static const int groups_tried[] = {0, 32, 64, 128, 256};
static const apq_dtype types_tried[] = {APQ_DTYPE_F32, APQ_DTYPE_F16, APQ_DTYPE_BF16};

/* ---- the reference ---- */

/* What quantizing one channel or group to the range times `ratio` gives, in float64. */
typedef struct reference {
  double scale;
  int zero, alpha;
} reference;

static reference reference_map(const double *x, int count, int bits, apq_format format,
                               double ratio) {
  double low = 0, high = 0;
  for (int i = 0; i < count; i++) {
    low = fmin(low, x[i] * ratio);
    high = fmax(high, x[i] * ratio);
  }
  const double levels = (1 << bits) - 1, most = fmax(high, -low);
  if (format == APQ_FORMAT_BIPOLAR) return (reference){most / levels, (1 << bits) - 1, 2};
  if (format == APQ_FORMAT_INT)
    return (reference){bits == 1 ? most : most / ((1 << (bits - 1)) - 1), 1 << (bits - 1), 1};
  const double scale = (high - low) / levels;
  return (reference){scale, (int)fmin(rint(-low / scale), levels), 1};
}

/* The code before rounding. */
static double reference_code(const reference *map, double x, int bits) {
  const double at = (x / map->scale + map->zero) / map->alpha, last = (1 << bits) - 1;
  return at < 0 ? 0 : at > last ? last : at;
}

static double reference_error(const double *x, int count, int bits, const reference *map) {
  double sum = 0;
  for (int i = 0; i < count; i++) {
    const double code = rint(reference_code(map, x[i], bits));
    const double off = x[i] - map->scale * (map->alpha * code - map->zero);
    sum += off * off;
  }
  return sum;
}

static double actual_error(const looked *l, const double *x, int row, int begin, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) {
    const double off = x[i] - value_of(l, row, begin + i);
    sum += off * off;
  }
  return sum;
}

/* Scale within float rounding; zero point and codes exactly, but where float64 itself is within
 * 1e-4 of a tie. */
static void expect_absmax(const looked *l, const double *x, int row, int begin, int count) {
  const reference map = reference_map(x, count, l->bits, l->format, 1);
  const int cell = cell_of(l, row, begin);
  assert_true(fabs((double)l->scales[cell] - map.scale) <= map.scale * 4 * FLT_EPSILON);
  reference seen = map;
  if (l->format == APQ_FORMAT_UINT) {
    /* Zero points, like codes, are rounded: at a tie either is right. */
    assert_true(abs(l->zeros[cell] - map.zero) <= 1);
    seen.zero = l->zeros[cell];
  } else {
    assert_int_equal(l->zeros[cell], map.zero);
  }
  for (int i = 0; i < count; i++) {
    const double at = reference_code(&seen, x[i], l->bits);
    assert_true(fabs(l->codes[row * l->k + begin + i] - at) <= 0.5 + 1e-4);
  }
}

/* No worse than any ratio of a grid, nor than no clipping. */
static void expect_least_error(const looked *l, const double *x, int row, int begin, int count) {
  const double got = actual_error(l, x, row, begin, count);
  for (int i = 0; i <= 40; i++) {
    const reference map = reference_map(x, count, l->bits, l->format, exp2(-i / 8.0));
    const double other = reference_error(x, count, l->bits, &map);
    if (got > other * 1.0001 + 1e-9)
      fail_msg("%d bits %s: error %g, at ratio 2^(-%d/8) %g", l->bits, apq_format_name(l->format),
               got, i, other);
  }
}

/* Values like those of models: many small ones, few large ones. */
static void *make_values(apq_dtype type, double *x, uint64_t *seed) {
  void *data = apq__calloc((size_t)N * (K + 3), 4);
  for (int row = 0; row < N; row++)
    for (int i = 0; i < K; i++) {
      const float r = random_float(seed);
      apq__store_float(data, type, row * (K + 3) + i, 2.0f * r * r * r + 0.05f);
      x[row * K + i] = (double)apq__load_float(data, type, row * (K + 3) + i);
    }
  return data;
}

static void check_quantized(apq_context *context, int bits, apq_format format, int group,
                            apq_clip clip, apq_dtype type) {
  double x[N * K];
  uint64_t seed = (uint64_t)bits + 10 * (uint64_t)group + (uint64_t)format;
  void *data = make_values(type, x, &seed);
  const apq_weights_desc desc = {.n = N,
                                 .k = K,
                                 .bits = bits,
                                 .format = format,
                                 .dtype = type,
                                 .data = data,
                                 .ld = K + 3,
                                 .group = group,
                                 .clip = clip};
  apq_weights *weights = NULL;
  CHECK(apq_weights_create(context, &desc, &weights, error));
  looked l = look_inside(weights);
  assert_int_equal(l.group, group);
  expect_sums(weights, &l);
  const int width = group ? group : K;
  for (int row = 0; row < N; row++)
    for (int begin = 0; begin < K; begin += width) {
      const int count = K - begin < width ? K - begin : width;
      const double *at = x + row * K + begin;
      if (clip == APQ_CLIP_MSE)
        expect_least_error(&l, at, row, begin, count);
      else
        expect_absmax(&l, at, row, begin, count);
    }
  look_end(&l);
  apq_weights_destroy(weights);
  apq__free(data);
}

static void every_format_width_and_group_is_quantized_right(void **state) {
  int turn = 0;
  for (int format = 0; format < APQ_FORMAT_COUNT; format++)
    for (int bits = 1; bits <= 8; bits++)
      for (int g = 0; g < 5; g++)
        for (int clip = 0; clip < APQ_CLIP_COUNT; clip++)
          check_quantized(*state, bits, (apq_format)format, groups_tried[g], (apq_clip)clip,
                          types_tried[turn++ % 3]);
}

/* One channel or group is quantized as the pack kernels quantize a token. */
static void absmax_is_the_kernels_rule(void **state) {
  float x[2][64];
  uint64_t seed = 3;
  for (int i = 0; i < 128; i++) x[i / 64][i % 64] = random_float(&seed);
  x[0][5] = INFINITY;
  x[1][63] = NAN;
  for (int format = 0; format < APQ_FORMAT_COUNT; format++) {
    const apq_weights_desc desc = {.n = 2,
                                   .k = 64,
                                   .bits = 5,
                                   .format = (apq_format)format,
                                   .dtype = APQ_DTYPE_F32,
                                   .data = x,
                                   .group = 32};
    apq_weights *weights = NULL;
    CHECK(apq_weights_create(*state, &desc, &weights, error));
    looked l = look_inside(weights);
    for (int cell = 0; cell < 4; cell++) {
      uint8_t codes[32];
      float scale;
      int32_t zero;
      apq__reference_quantize(x[0] + 32 * cell, 32, 5, (apq_format)format, codes, &scale, &zero);
      assert_memory_equal(codes, l.codes + 32 * cell, 32);
      assert_memory_equal(&scale, &l.scales[cell], 4);
      assert_int_equal(zero, l.zeros[cell]);
    }
    look_end(&l);
    apq_weights_destroy(weights);
  }
}

/* Rows of one value, of zeros, and of the least and greatest floats. */
static void odd_rows_are_quantized(void **state) {
  static const float rows[][4] = {
      {0, 0, 0, 0},
      {1, 1, 1, 1},
      {-1, -1, -1, -1},
      {FLT_MAX, -FLT_MAX},
      {FLT_TRUE_MIN, 0, 0, 0},
      {NAN, INFINITY, -INFINITY, 0},
  };
  enum { ROWS = sizeof rows / sizeof rows[0] };
  for (int clip = 0; clip < APQ_CLIP_COUNT; clip++)
    for (int format = 0; format < APQ_FORMAT_COUNT; format++)
      for (int bits = 1; bits <= 8; bits++) {
        const apq_weights_desc desc = {.n = ROWS,
                                       .k = 4,
                                       .bits = bits,
                                       .format = (apq_format)format,
                                       .dtype = APQ_DTYPE_F32,
                                       .data = rows,
                                       .clip = (apq_clip)clip};
        apq_weights *weights = NULL;
        CHECK(apq_weights_create(*state, &desc, &weights, error));
        looked l = look_inside(weights);
        for (int i = 0; i < ROWS; i++) assert_true(isfinite(l.scales[i]) && l.scales[i] > 0);
        /* A row of one value keeps it, where the format has it. */
        if (format == APQ_FORMAT_BIPOLAR || (format == APQ_FORMAT_UINT))
          assert_true(fabs(value_of(&l, 1, 2) - 1) < 1e-5);
        look_end(&l);
        apq_weights_destroy(weights);
      }
}

/* ---- ready codes ---- */

static void integers_become_codes(void **state) {
  for (int format = 0; format < APQ_FORMAT_COUNT; format++)
    for (int bits = 1; bits <= 8; bits++) {
      const apq__affine map = apq__format_affine((apq_format)format, bits);
      int8_t data[3][70];
      uint64_t seed = (uint64_t)bits;
      for (int i = 0; i < 3 * 70; i++) {
        int value = 0;
        do value = map.alpha * (int)(apq__random(&seed) % (1u << bits)) - map.zero;
        while (value < INT8_MIN || value > INT8_MAX);
        data[i / 70][i % 70] = (int8_t)value;
      }
      const apq_weights_desc desc = {.n = 3,
                                     .k = 67,
                                     .bits = bits,
                                     .format = (apq_format)format,
                                     .dtype = APQ_DTYPE_I8,
                                     .data = data,
                                     .ld = 70};
      apq_weights *weights = NULL;
      CHECK(apq_weights_create(*state, &desc, &weights, error));
      looked l = look_inside(weights);
      for (int i = 0; i < 3 * 67; i++) {
        const int row = i / 67, column = i % 67;
        assert_true(value_of(&l, row, column) == data[row][column]);
      }
      expect_sums(weights, &l);
      look_end(&l);
      apq_weights_destroy(weights);
    }
}

static void integers_with_zero_points_keep_their_values(void **state) {
  int8_t data[2][100];
  uint64_t seed = 1;
  float scales[2][4];
  const int32_t zeros[2][4] = {{0, -3, 7, 1}, {-8, 2, 0, 5}};
  for (int i = 0; i < 200; i++) data[i / 100][i % 100] = (int8_t)(apq__random(&seed) % 16 - 8);
  for (int i = 0; i < 8; i++) scales[i / 4][i % 4] = random_float(&seed);
  apq_weights_desc desc = {.n = 2,
                           .k = 100,
                           .bits = 4,
                           .format = APQ_FORMAT_INT,
                           .dtype = APQ_DTYPE_I8,
                           .data = data,
                           .scale = scales[0],
                           .zero = zeros[0],
                           .group = 32};
  apq_weights *weights = NULL;
  CHECK(apq_weights_create(*state, &desc, &weights, error));
  float values[2][101];
  CHECK(apq_weights_dequantize(weights, values[0], 101, error));
  for (int row = 0; row < 2; row++)
    for (int i = 0; i < 100; i++) {
      const int g = i / 32;
      assert_true(values[row][i] == scales[row][g] * (float)(data[row][i] - zeros[row][g]));
    }
  apq_weights_info info;
  CHECK(apq_weights_get_info(weights, &info, error));
  assert_int_equal(info.format, APQ_FORMAT_UINT);
  assert_int_equal(info.group, 32);
  assert_true(info.has_zeros && info.has_scales && !info.is_view);
  apq_weights_destroy(weights);

  const int32_t far[2][4] = {{0, 0, 0, 0}, {0, INT32_MAX, 0, 0}};
  desc.zero = far[0];
  REFUSES(APQ_INVALID_ARGUMENT, "zero[1][1]=2147483647",
          apq_weights_create(*state, &desc, &weights, error));
}

/* A group that spans k is no group. */
static void long_groups_are_per_channel(void **state) {
  for (int group = 127; group <= 128; group++) {
    apq_weights *weights = random_weights(*state, 2, group, 3, APQ_FORMAT_INT, 128, 1);
    looked l = look_inside(weights);
    assert_int_equal(l.group, 0);
    assert_int_equal(l.groups, 1);
    look_end(&l);
    apq_weights_destroy(weights);
  }
}

static void device_memory_is_read_as_host_memory_is(void **state) {
  for (int which = 0; which < 3; which++) {
    uint64_t seed = 9;
    float values[5 * 130];
    uint8_t codes[5 * 130];
    for (int i = 0; i < 5 * 130; i++) {
      values[i] = random_float(&seed);
      codes[i] = (uint8_t)(apq__random(&seed) % 8);
    }
    float *scales = random_floats(10, &seed);
    int32_t *zeros = random_zeros(10, 3, &seed);
    apq_weights_desc desc = {.n = 5,
                             .k = 128,
                             .bits = 3,
                             .format = APQ_FORMAT_UINT,
                             .dtype = which ? APQ_DTYPE_CODES8 : APQ_DTYPE_F32,
                             .data = which ? (const void *)codes : (const void *)values,
                             .ld = 130,
                             .scale = which ? scales : NULL,
                             .zero = which == 2 ? zeros : NULL,
                             .group = 64};
    apq_weights *host = NULL, *device = NULL;
    CHECK(apq_weights_create(*state, &desc, &host, error));
    /* The last row ends with its last element. */
    void *data = device_copy(*state, desc.data, (4 * 130 + 128) * apq__dtype_bytes(desc.dtype));
    void *scale = device_copy(*state, scales, 40), *zero = device_copy(*state, zeros, 40);
    desc.data = data;
    if (desc.scale) desc.scale = scale;
    if (desc.zero) desc.zero = zero;
    desc.on_device = 1;
    CHECK(apq_weights_create(*state, &desc, &device, error));
    expect_same(host, device);
    apq_weights_destroy(host);
    apq_weights_destroy(device);
    apq_device_free(*state, data);
    apq_device_free(*state, scale);
    apq_device_free(*state, zero);
    apq__free(scales);
    apq__free(zeros);
  }
}

static void bad_groups_of_scales_are_named(void **state) {
  uint8_t codes[2 * 100] = {0};
  float scales[2][4] = {{1, 1, 1, 1}, {1, 1, INFINITY, 1}};
  const apq_weights_desc desc = {.n = 2,
                                 .k = 100,
                                 .bits = 2,
                                 .dtype = APQ_DTYPE_CODES8,
                                 .data = codes,
                                 .scale = scales[0],
                                 .group = 32};
  apq_weights *weights = NULL;
  REFUSES(APQ_INVALID_ARGUMENT, "scale[1][2]=inf",
          apq_weights_create(*state, &desc, &weights, error));
  assert_null(weights);
  weights = random_weights(*state, 2, 100, 2, APQ_FORMAT_INT, 0, 1);
  float values[200];
  apq_weights_info info;
  REFUSES(APQ_INVALID_ARGUMENT, "ld=99", apq_weights_dequantize(weights, values, 99, error));
  REFUSES(APQ_NULL_POINTER, "values", apq_weights_dequantize(weights, NULL, 0, error));
  REFUSES(APQ_NULL_POINTER, "weights", apq_weights_dequantize(NULL, values, 0, error));
  REFUSES(APQ_NULL_POINTER, "weights", apq_weights_get_info(NULL, &info, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_get_info(weights, NULL, error));
  apq_weights_destroy(weights);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format_width_and_group_is_quantized_right),
      cmocka_unit_test(absmax_is_the_kernels_rule),
      cmocka_unit_test(odd_rows_are_quantized),
      cmocka_unit_test(integers_become_codes),
      cmocka_unit_test(integers_with_zero_points_keep_their_values),
      cmocka_unit_test(long_groups_are_per_channel),
      cmocka_unit_test(device_memory_is_read_as_host_memory_is),
      cmocka_unit_test(bad_groups_of_scales_are_named),
  };
  return cmocka_run_group_tests(tests, weights_set_up, weights_tear_down);
}
