/* Views of fewer bits, and int as bipolar and back: maps, sums, products, lifetimes. */
#include "weights_fixture.h"

enum { N = 20, K = 150 };

/* What the map of a view must be, by its definition: of all integers z', the one whose value of
 * code 0 is nearest to the mean of what it stands for, the lower of two. */
static int64_t nearest_zero(const looked *whole, int64_t zero, int dropped) {
  const double step = whole->alpha * ldexp(1, dropped - 1);
  const double exact = ((double)zero - whole->alpha * (ldexp(1, dropped) - 1) / 2) / step;
  int64_t best = (int64_t)floor(exact);
  if (exact - (double)best > 0.5) best++;
  return best;
}

static void expect_view(const apq_weights *parent, const apq_weights *view, int bits) {
  looked whole = look_inside(parent), part = look_inside(view);
  const int dropped = whole.bits - bits;
  assert_int_equal(part.bits, bits);
  assert_int_equal(part.group, whole.group);
  expect_sums(view, &part);
  for (int i = 0; i < N * K; i++) assert_int_equal(part.codes[i], whole.codes[i] >> dropped);
  for (int i = 0; i < N * whole.groups && dropped; i++) {
    assert_int_equal(part.zeros[i], nearest_zero(&whole, whole.zeros[i], dropped));
    assert_true((double)part.scales[i] ==
                (double)whole.scales[i] * whole.alpha * ldexp(1, dropped - 1));
  }
  /* Each value lies within a quarter of the view's step of the mean of what it stands for. */
  for (int row = 0; row < N; row++)
    for (int i = 0; i < K; i++) {
      const int cell = cell_of(&whole, row, i);
      const double scale = (double)whole.scales[cell];
      const double first = (double)(part.codes[row * K + i] << dropped);
      const double mean =
          scale * (whole.alpha * (first + (ldexp(1, dropped) - 1) / 2) - whole.zeros[cell]);
      const double step = fabs(scale) * whole.alpha * ldexp(1, dropped);
      assert_true(fabs(value_of(&part, row, i) - mean) <= (dropped ? step / 4 : 0));
    }
  look_end(&whole);
  look_end(&part);
}

static void every_width_of_every_format_is_viewed(void **state) {
  for (int format = 0; format < APQ_FORMAT_COUNT; format++)
    for (int group = 0; group <= 64; group += 32)
      for (int p = 1; p <= 8; p++) {
        apq_weights *parent = random_weights(*state, N, K, p, (apq_format)format, group, 3);
        for (int bits = 1; bits <= p; bits++) {
          apq_weights *view = NULL;
          CHECK(apq_weights_view(parent, bits, &view, error));
          assert_ptr_equal(view->planes,
                           (char *)parent->planes + apq__planes_bytes(N, K, p - bits));
          expect_view(parent, view, bits);
          apq_weights_destroy(view);
        }
        apq_weights_destroy(parent);
      }
}

/* Documented exactly: BIPOLAR loses nothing, INT is half a step of the parent above the mean. */
static void views_are_the_documented_formats(void **state) {
  static const apq_format formats[] = {APQ_FORMAT_INT, APQ_FORMAT_BIPOLAR};
  for (int i = 0; i < 2; i++) {
    apq_weights *parent = random_weights(*state, N, K, 6, formats[i], 0, 4), *view = NULL;
    CHECK(apq_weights_view(parent, 3, &view, error));
    apq_weights_info info;
    CHECK(apq_weights_get_info(view, &info, error));
    assert_int_equal(info.format, APQ_FORMAT_BIPOLAR);
    assert_int_equal(info.alpha, 2);
    assert_int_equal(info.zero, 7);
    assert_int_equal(info.bits, 3);
    assert_true(info.is_view && info.has_scales && !info.has_zeros);
    looked whole = look_inside(parent), part = look_inside(view);
    for (int n = 0; n < N; n++)
      assert_true(part.scales[n] == whole.scales[n] * (formats[i] == APQ_FORMAT_INT ? 4.0f : 8.0f));
    look_end(&whole);
    look_end(&part);
    apq_weights_destroy(view);
    apq_weights_destroy(parent);
  }
}

/* A view is what packing the shifted codes in its format gives. */
static void a_view_equals_packed_shifted_codes(void **state) {
  apq_weights *parent = random_weights(*state, N, K, 7, APQ_FORMAT_BIPOLAR, 32, 8), *view = NULL;
  CHECK(apq_weights_view(parent, 4, &view, error));
  looked l = look_inside(parent);
  for (int i = 0; i < N * K; i++) l.codes[i] >>= 3;
  for (int i = 0; i < N * l.groups; i++) l.scales[i] *= 8;
  const apq_weights_desc desc = {.n = N,
                                 .k = K,
                                 .bits = 4,
                                 .format = APQ_FORMAT_BIPOLAR,
                                 .dtype = APQ_DTYPE_CODES8,
                                 .data = l.codes,
                                 .scale = l.scales,
                                 .group = 32};
  apq_weights *packed = NULL;
  CHECK(apq_weights_create(*state, &desc, &packed, error));
  expect_same(view, packed);
  look_end(&l);
  apq_weights_destroy(packed);
  apq_weights_destroy(view);
  apq_weights_destroy(parent);
}

static void views_of_views_are_of_the_whole(void **state) {
  for (int format = 0; format < APQ_FORMAT_COUNT; format++) {
    apq_weights *parent = random_weights(*state, N, K, 8, (apq_format)format, 64, 5);
    apq_weights *six = NULL, *four = NULL, *direct = NULL;
    CHECK(apq_weights_view(parent, 6, &six, error));
    CHECK(apq_weights_view(six, 4, &four, error));
    CHECK(apq_weights_view(parent, 4, &direct, error));
    expect_same(four, direct);
    assert_ptr_equal(four->planes, direct->planes);
    /* Any order of destruction. */
    apq_weights_destroy(parent);
    apq_weights_destroy(six);
    expect_same(four, direct);
    apq_weights_destroy(direct);
    looked l = look_inside(four);
    expect_sums(four, &l);
    look_end(&l);
    apq_weights_destroy(four);
  }
}

/* Products of a view of `format` weights, by a plan that knows nothing of views. */
static void check_product_of_view(apq_context *context, apq_format format, int m) {
  apq_weights *parent = random_weights(context, N, K, 5, format, 0, 6), *view = NULL;
  CHECK(apq_weights_view(parent, 2, &view, error));
  apq_weights_destroy(parent);
  looked l = look_inside(view);
  const product_case c = {2,
                          3,
                          m,
                          N,
                          K,
                          APQ_FORMAT_UINT,
                          APQ_FORMAT_INT,
                          APQ_DTYPE_CODES8,
                          APQ_DTYPE_CODES8,
                          APQ_DTYPE_F32,
                          0};
  product_data data = make_data(&c, 2);
  product_run run = start_run(context, view, &data);
  CHECK(run_once(&run, &data, NULL, error));
  CHECK(apq_synchronize(context, NULL, error));
  float *y = apq__alloc(data.y_bytes);
  CHECK(apq_copy_to_host(context, y, run.y, data.y_bytes, error));
  for (int i = 0; i < m * N; i++) {
    const uint8_t *w = l.codes + i % N * K, *a = data.a_codes + i / N * K;
    int64_t sum = 0;
    for (int k = 0; k < K; k++) sum += (a[k] - 4) * (l.alpha * w[k] - l.zeros[i % N]);
    assert_true(y[i] == (float)sum * l.scales[i % N]);
  }
  apq__free(y);
  end_run(&run);
  free_data(&data);
  look_end(&l);
  apq_weights_destroy(view);
}

static void a_view_is_multiplied_like_any_weights(void **state) {
  apq_context *hopper = open_device("emu:sm_90a", APQ_BINARY_DIR "/no-such.db");
  for (int format = 0; format < APQ_FORMAT_COUNT; format++) {
    check_product_of_view(*state, (apq_format)format, 9);
    check_product_of_view(hopper, (apq_format)format, 1);
    check_product_of_view(hopper, (apq_format)format, 65);
  }
  apq_context_close(hopper);
}

/* ---- int and bipolar ---- */

static void expect_same_values(const apq_weights *left, const apq_weights *right) {
  looked a = look_inside(left), b = look_inside(right);
  for (int row = 0; row < N; row++)
    for (int i = 0; i < K; i++) assert_true(value_of(&a, row, i) == value_of(&b, row, i));
  expect_sums(right, &b);
  look_end(&a);
  look_end(&b);
}

static void int_becomes_bipolar_and_back(void **state) {
  for (int bits = 1; bits <= 8; bits++)
    for (int group = 0; group <= 32; group += 32) {
      apq_weights *whole = random_weights(*state, N, K, bits, APQ_FORMAT_INT, group, 7);
      apq_weights *bipolar = NULL, *back = NULL;
      CHECK(apq_weights_convert(whole, APQ_FORMAT_BIPOLAR, &bipolar, error));
      assert_int_equal(bipolar->affine.alpha, 2);
      assert_int_equal(bipolar->affine.zero, 1 << bits);
      assert_ptr_equal(bipolar->planes, whole->planes);
      expect_same_values(whole, bipolar);
      CHECK(apq_weights_convert(bipolar, APQ_FORMAT_INT, &back, error));
      expect_same(whole, back);
      apq_weights_destroy(bipolar);
      apq_weights_destroy(back);
      apq_weights_destroy(whole);
    }
}

static void bipolar_becomes_int_of_one_bit_more(void **state) {
  for (int bits = 1; bits <= 7; bits++) {
    apq_weights *whole = random_weights(*state, N, K, bits, APQ_FORMAT_BIPOLAR, 32, 7);
    apq_weights *wide = NULL;
    CHECK(apq_weights_convert(whole, APQ_FORMAT_INT, &wide, error));
    assert_int_equal(wide->bits, bits + 1);
    assert_int_equal(wide->affine.alpha, 1);
    assert_int_equal(wide->affine.zero, 1 << bits);
    expect_same_values(whole, wide);
    apq_weights_destroy(whole);
    looked l = look_inside(wide);
    expect_sums(wide, &l);
    look_end(&l);
    apq_weights_destroy(wide);
  }
}

static void what_cannot_be_converted_is_refused(void **state) {
  apq_weights *integers = random_weights(*state, N, K, 2, APQ_FORMAT_INT, 0, 1);
  apq_weights *codes = random_weights(*state, N, K, 2, APQ_FORMAT_UINT, 0, 1);
  apq_weights *eight = random_weights(*state, N, K, 8, APQ_FORMAT_BIPOLAR, 0, 1);
  apq_weights *part = NULL, *out = NULL;
  CHECK(apq_weights_view(codes, 1, &part, error));
  REFUSES(APQ_UNSUPPORTED, "int to uint",
          apq_weights_convert(integers, APQ_FORMAT_UINT, &out, error));
  REFUSES(APQ_UNSUPPORTED, "uint to int", apq_weights_convert(codes, APQ_FORMAT_INT, &out, error));
  REFUSES(APQ_UNSUPPORTED, "9 bits", apq_weights_convert(eight, APQ_FORMAT_INT, &out, error));
  REFUSES(APQ_UNSUPPORTED, "zero points", apq_weights_convert(part, APQ_FORMAT_INT, &out, error));
  REFUSES(APQ_INVALID_ARGUMENT, "format=5", apq_weights_convert(codes, (apq_format)5, &out, error));
  REFUSES(APQ_NULL_POINTER, "weights", apq_weights_convert(NULL, APQ_FORMAT_INT, &out, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_convert(codes, APQ_FORMAT_INT, NULL, error));
  REFUSES(APQ_INVALID_ARGUMENT, "bits=3", apq_weights_view(codes, 3, &out, error));
  REFUSES(APQ_INVALID_ARGUMENT, "bits=0", apq_weights_view(codes, 0, &out, error));
  REFUSES(APQ_NULL_POINTER, "parent", apq_weights_view(NULL, 1, &out, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_view(codes, 1, NULL, error));
  assert_null(out);
  apq_weights_destroy(integers);
  apq_weights_destroy(codes);
  apq_weights_destroy(eight);
  apq_weights_destroy(part);
}

static void scales_at_the_ends_of_float_are_refused(void **state) {
  const uint8_t codes[2] = {0, 1};
  static const struct {
    float scale;
    int views, converts;
  } rows[] = {{0x1p127f, 0, 1}, {0x1p-149f, 1, 0}, {0x1.000002p-126f, 1, 0}, {0x1p-100f, 1, 1}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const float scale[2] = {1, rows[i].scale};
    const apq_weights_desc desc = {.n = 2,
                                   .k = 1,
                                   .bits = 4,
                                   .format = APQ_FORMAT_INT,
                                   .dtype = APQ_DTYPE_CODES8,
                                   .data = codes,
                                   .scale = scale};
    apq_weights *weights = NULL, *out = NULL;
    CHECK(apq_weights_create(*state, &desc, &weights, error));
    if (rows[i].views)
      CHECK(apq_weights_view(weights, 1, &out, error));
    else
      REFUSES(APQ_OUT_OF_RANGE, "1.70141e+38", apq_weights_view(weights, 1, &out, error));
    apq_weights_destroy(out);
    out = NULL;
    if (rows[i].converts)
      CHECK(apq_weights_convert(weights, APQ_FORMAT_BIPOLAR, &out, error));
    else
      REFUSES(APQ_OUT_OF_RANGE, "times 0.5",
              apq_weights_convert(weights, APQ_FORMAT_BIPOLAR, &out, error));
    apq_weights_destroy(out);
    apq_weights_destroy(weights);
  }
}

/* Without scales, a view has some: a code of it is worth several of the parent's. */
static void views_of_unscaled_weights_have_scales(void **state) {
  const int8_t data[4] = {-8, -1, 0, 7};
  const apq_weights_desc desc = {
      .n = 1, .k = 4, .bits = 4, .format = APQ_FORMAT_INT, .dtype = APQ_DTYPE_I8, .data = data};
  apq_weights *weights = NULL, *view = NULL;
  CHECK(apq_weights_create(*state, &desc, &weights, error));
  CHECK(apq_weights_view(weights, 2, &view, error));
  float values[4];
  static const float expected[4] = {-6, -2, 2, 6};
  CHECK(apq_weights_dequantize(view, values, 0, error));
  for (int i = 0; i < 4; i++) assert_true(values[i] == expected[i]);
  apq_weights_destroy(view);
  apq_weights_destroy(weights);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_width_of_every_format_is_viewed),
      cmocka_unit_test(views_are_the_documented_formats),
      cmocka_unit_test(a_view_equals_packed_shifted_codes),
      cmocka_unit_test(views_of_views_are_of_the_whole),
      cmocka_unit_test(a_view_is_multiplied_like_any_weights),
      cmocka_unit_test(int_becomes_bipolar_and_back),
      cmocka_unit_test(bipolar_becomes_int_of_one_bit_more),
      cmocka_unit_test(what_cannot_be_converted_is_refused),
      cmocka_unit_test(scales_at_the_ends_of_float_are_refused),
      cmocka_unit_test(views_of_unscaled_weights_have_scales),
  };
  return cmocka_run_group_tests(tests, weights_set_up, weights_tear_down);
}
