/* Packed checkpoints, made here by packers of the test's own, and what is refused. */
#include "weights_fixture.h"

/* A random layer as checkpoints see it. */
typedef struct layer {
  int n, k, bits, group, groups;
  uint8_t *codes;   /* [n][k] */
  int32_t *zeros;   /* [n][groups] */
  uint16_t *scales; /* fp16 [groups][n] */
  int32_t *qweight, *qzeros, *g_idx;
} layer;

static layer make_layer(int n, int k, int bits, int group, uint64_t seed) {
  layer l = {.n = n, .k = k, .bits = bits, .group = group};
  l.groups = group ? (k + group - 1) / group : 1;
  l.codes = apq__alloc((size_t)n * (size_t)k);
  for (int i = 0; i < n * k; i++) l.codes[i] = (uint8_t)(apq__random(&seed) & ((1u << bits) - 1));
  l.zeros = random_zeros(n * l.groups, bits, &seed);
  l.scales = apq__alloc((size_t)(n * l.groups) * 2);
  for (int i = 0; i < n * l.groups; i++) l.scales[i] = apq__half_from_float(random_float(&seed));
  l.g_idx = apq__alloc((size_t)k * 4);
  for (int i = 0; i < k; i++) l.g_idx[i] = group ? i / group : 0;
  return l;
}

static void free_layer(layer *l) {
  apq__free(l->codes);
  apq__free(l->zeros);
  apq__free(l->scales);
  apq__free(l->qweight);
  apq__free(l->qzeros);
  apq__free(l->g_idx);
}

/* 32 three-bit values in three words, as GPTQ's packing of 3 bits is written: ten, the eleventh
 * split 2 + 1, ten, the twenty-second split 1 + 2, ten. */
static void pack_three_words(const uint32_t value[32], uint32_t word[3]) {
  word[0] = word[1] = word[2] = 0;
  for (int i = 0; i < 10; i++) word[0] |= value[i] << (3 * i);
  word[0] |= value[10] << 30;
  word[1] |= value[10] >> 2 & 1;
  for (int i = 0; i < 10; i++) word[1] |= value[11 + i] << (3 * i + 1);
  word[1] |= value[21] << 31;
  word[2] |= value[21] >> 1 & 3;
  for (int i = 0; i < 10; i++) word[2] |= value[22 + i] << (3 * i + 2);
}

/* 32 values in `bits` words. */
static void pack_words(const uint32_t value[32], int bits, uint32_t *word) {
  if (bits == 3) {
    pack_three_words(value, word);
    return;
  }
  const int each = 32 / bits;
  for (int i = 0; i < bits; i++) {
    word[i] = 0;
    for (int j = 0; j < each; j++) word[i] |= value[i * each + j] << (bits * j);
  }
}

/* n and k multiples of 32; `less` is taken from every zero point. */
static void pack_gptq(layer *l, int less) {
  const int rows = l->k / 32 * l->bits, columns = l->n / 32 * l->bits;
  const uint32_t mask = (1u << l->bits) - 1;
  uint32_t value[32], word[8];
  l->qweight = apq__alloc((size_t)(rows * l->n) * 4);
  l->qzeros = apq__alloc((size_t)(l->groups * columns) * 4);
  for (int n = 0; n < l->n; n++)
    for (int block = 0; block < l->k / 32; block++) {
      for (int i = 0; i < 32; i++) value[i] = l->codes[n * l->k + 32 * block + i];
      pack_words(value, l->bits, word);
      for (int i = 0; i < l->bits; i++)
        l->qweight[(block * l->bits + i) * l->n + n] = (int32_t)word[i];
    }
  for (int g = 0; g < l->groups; g++)
    for (int block = 0; block < l->n / 32; block++) {
      for (int i = 0; i < 32; i++)
        value[i] = (uint32_t)(l->zeros[(32 * block + i) * l->groups + g] - less) & mask;
      pack_words(value, l->bits, word);
      for (int i = 0; i < l->bits; i++)
        l->qzeros[g * columns + block * l->bits + i] = (int32_t)word[i];
    }
}

static void pack_awq(layer *l) {
  static const int order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  const int columns = l->n / 8;
  l->qweight = apq__alloc((size_t)(l->k * columns) * 4);
  l->qzeros = apq__alloc((size_t)(l->groups * columns) * 4);
  for (int c = 0; c < columns; c++) {
    for (int k = 0; k < l->k; k++) {
      uint32_t word = 0;
      for (int i = 0; i < 8; i++)
        word |= (uint32_t)l->codes[(8 * c + order[i]) * l->k + k] << (4 * i);
      l->qweight[k * columns + c] = (int32_t)word;
    }
    for (int g = 0; g < l->groups; g++) {
      uint32_t word = 0;
      for (int i = 0; i < 8; i++)
        word |= (uint32_t)l->zeros[(8 * c + order[i]) * l->groups + g] << (4 * i);
      l->qzeros[g * columns + c] = (int32_t)word;
    }
  }
}

static apq_checkpoint_desc describe(const layer *l, apq_checkpoint layout) {
  return (apq_checkpoint_desc){.layout = layout,
                               .n = l->n,
                               .k = l->k,
                               .bits = l->bits,
                               .group = l->group,
                               .qweight = l->qweight,
                               .qzeros = l->qzeros,
                               .scales = l->scales,
                               .scale_dtype = APQ_DTYPE_F16,
                               .g_idx = l->g_idx};
}

static void expect_layer(const apq_weights *weights, const layer *l) {
  looked seen = look_inside(weights);
  assert_int_equal(seen.group, l->group);
  assert_int_equal(seen.alpha, 1);
  assert_memory_equal(seen.codes, l->codes, (size_t)(l->n * l->k));
  assert_memory_equal(seen.zeros, l->zeros, (size_t)(l->n * l->groups) * 4);
  for (int n = 0; n < l->n; n++)
    for (int g = 0; g < l->groups; g++)
      assert_true(seen.scales[n * l->groups + g] == apq__float_from_half(l->scales[g * l->n + n]));
  expect_sums(weights, &seen);
  look_end(&seen);
}

static void every_layout_is_read(void **state) {
  static const struct {
    apq_checkpoint layout;
    int bits, n, k, group, less;
  } rows[] = {
      {APQ_CHECKPOINT_GPTQ, 2, 64, 256, 64, 1},     {APQ_CHECKPOINT_GPTQ, 3, 32, 256, 128, 1},
      {APQ_CHECKPOINT_GPTQ, 4, 96, 160, 32, 1},     {APQ_CHECKPOINT_GPTQ, 8, 32, 320, 256, 1},
      {APQ_CHECKPOINT_GPTQ_V2, 2, 32, 128, 0, 0},   {APQ_CHECKPOINT_GPTQ_V2, 3, 64, 96, 32, 0},
      {APQ_CHECKPOINT_GPTQ_V2, 4, 32, 288, 128, 0}, {APQ_CHECKPOINT_GPTQ_V2, 8, 64, 64, 0, 0},
      {APQ_CHECKPOINT_AWQ, 4, 40, 256, 128, 0},     {APQ_CHECKPOINT_AWQ, 4, 8, 100, 32, 0},
      {APQ_CHECKPOINT_AWQ, 4, 16, 77, 0, 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    layer l = make_layer(rows[i].n, rows[i].k, rows[i].bits, rows[i].group, 100 + i);
    if (rows[i].layout == APQ_CHECKPOINT_AWQ)
      pack_awq(&l);
    else
      pack_gptq(&l, rows[i].less);
    const apq_checkpoint_desc desc = describe(&l, rows[i].layout);
    apq_weights *weights = NULL;
    CHECK(apq_weights_import(*state, &desc, &weights, error));
    expect_layer(weights, &l);
    apq_weights_destroy(weights);
    free_layer(&l);
  }
}

/* A symmetric checkpoint is INT, with and without stored zero points. */
static void symmetric_checkpoints_have_no_zero_points(void **state) {
  layer l = make_layer(32, 128, 4, 64, 5);
  for (int i = 0; i < l.n * l.groups; i++) l.zeros[i] = 8;
  pack_gptq(&l, 1);
  apq_checkpoint_desc desc = describe(&l, APQ_CHECKPOINT_GPTQ);
  apq_weights *stored = NULL, *left_out = NULL;
  apq_weights_info info;
  CHECK(apq_weights_import(*state, &desc, &stored, error));
  CHECK(apq_weights_get_info(stored, &info, error));
  assert_int_equal(info.format, APQ_FORMAT_INT);
  assert_false(info.has_zeros);
  expect_layer(stored, &l);
  desc.qzeros = NULL;
  desc.g_idx = NULL;
  CHECK(apq_weights_import(*state, &desc, &left_out, error));
  expect_same(stored, left_out);
  apq_weights_destroy(stored);
  apq_weights_destroy(left_out);
  free_layer(&l);
}

static void arrays_in_device_memory_are_read(void **state) {
  static const apq_checkpoint layouts[] = {APQ_CHECKPOINT_GPTQ_V2, APQ_CHECKPOINT_AWQ};
  for (int i = 0; i < 2; i++) {
    layer l = make_layer(32, 96, 4, 32, 6);
    if (i)
      pack_awq(&l);
    else
      pack_gptq(&l, 0);
    apq_checkpoint_desc desc = describe(&l, layouts[i]);
    apq_weights *host = NULL, *device = NULL;
    CHECK(apq_weights_import(*state, &desc, &host, error));
    void *qweight = device_copy(*state, l.qweight, 32 * 96 / 2);
    void *qzeros = device_copy(*state, l.qzeros, 3 * 32 / 2);
    void *scales = device_copy(*state, l.scales, 3 * 32 * 2);
    void *g_idx = device_copy(*state, l.g_idx, 96 * 4);
    desc.qweight = qweight;
    desc.qzeros = qzeros;
    desc.scales = scales;
    desc.g_idx = g_idx;
    desc.on_device = 1;
    CHECK(apq_weights_import(*state, &desc, &device, error));
    expect_same(host, device);
    apq_weights_destroy(host);
    apq_weights_destroy(device);
    apq_device_free(*state, qweight);
    apq_device_free(*state, qzeros);
    apq_device_free(*state, scales);
    apq_device_free(*state, g_idx);
    free_layer(&l);
  }
}

/* One field of a good description replaced. */
typedef struct bad_field {
  apq_status status;
  const char *word;
  size_t offset;
  int value;
} bad_field;
#define FIELD(name) offsetof(apq_checkpoint_desc, name)

static void bad_fields_are_named(void **state) {
  static const bad_field rows[] = {
      {APQ_INVALID_ARGUMENT, "layout=7", FIELD(layout), 7},
      {APQ_INVALID_ARGUMENT, "n=0", FIELD(n), 0},
      {APQ_INVALID_ARGUMENT, "k=-1", FIELD(k), -1},
      {APQ_INVALID_ARGUMENT, "k=129", FIELD(k), 129},
      {APQ_INVALID_ARGUMENT, "n=33", FIELD(n), 33},
      {APQ_INVALID_ARGUMENT, "bits=9", FIELD(bits), 9},
      {APQ_UNSUPPORTED, "bits=5: GPTQ", FIELD(bits), 5},
      {APQ_INVALID_ARGUMENT, "group=100", FIELD(group), 100},
      {APQ_INVALID_ARGUMENT, "scale_dtype=i32", FIELD(scale_dtype), APQ_DTYPE_I32},
      {APQ_INVALID_ARGUMENT, "on_device=-1", FIELD(on_device), -1},
  };
  layer l = make_layer(32, 128, 4, 64, 5);
  pack_gptq(&l, 0);
  apq_weights *weights = NULL;
  const apq_checkpoint_desc good = describe(&l, APQ_CHECKPOINT_GPTQ_V2);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq_checkpoint_desc desc = good;
    memcpy((char *)&desc + rows[i].offset, &rows[i].value, sizeof rows[i].value);
    REFUSES(rows[i].status, rows[i].word, apq_weights_import(*state, &desc, &weights, error));
    assert_null(weights);
  }
  apq_checkpoint_desc desc = good;
  desc.qweight = NULL;
  REFUSES(APQ_NULL_POINTER, "qweight", apq_weights_import(*state, &desc, &weights, error));
  desc = good;
  desc.scales = NULL;
  REFUSES(APQ_NULL_POINTER, "scales", apq_weights_import(*state, &desc, &weights, error));
  l.scales[3] = 0x7c00;
  REFUSES(APQ_INVALID_ARGUMENT, "scale[3][0]=inf",
          apq_weights_import(*state, &good, &weights, error));
  desc = good;
  desc.layout = APQ_CHECKPOINT_AWQ;
  desc.n = 12;
  REFUSES(APQ_INVALID_ARGUMENT, "n=12: AWQ", apq_weights_import(*state, &desc, &weights, error));
  for (int bits = 2; bits <= 8; bits++) {
    desc.bits = bits;
    if (bits != 4)
      REFUSES(APQ_UNSUPPORTED, "AWQ defines no packed layout",
              apq_weights_import(*state, &desc, &weights, error));
  }
  REFUSES(APQ_NULL_POINTER, "context", apq_weights_import(NULL, &good, &weights, error));
  REFUSES(APQ_NULL_POINTER, "desc", apq_weights_import(*state, NULL, &weights, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_import(*state, &good, NULL, error));
  free_layer(&l);
}

static void reordered_rows_are_refused(void **state) {
  layer l = make_layer(32, 128, 4, 64, 5);
  pack_gptq(&l, 0);
  const apq_checkpoint_desc desc = describe(&l, APQ_CHECKPOINT_GPTQ_V2);
  apq_weights *weights = NULL;
  l.g_idx[3] = 1;
  REFUSES(APQ_UNSUPPORTED, "act-order", apq_weights_import(*state, &desc, &weights, error));
  l.g_idx[3] = 2;
  REFUSES(APQ_INVALID_ARGUMENT, "g_idx[3]=2", apq_weights_import(*state, &desc, &weights, error));
  l.g_idx[3] = -1;
  REFUSES(APQ_INVALID_ARGUMENT, "g_idx[3]=-1", apq_weights_import(*state, &desc, &weights, error));
  l.g_idx[3] = 0;
  l.g_idx[63] = 1; /* in order, but of other groups */
  REFUSES(APQ_INVALID_ARGUMENT, "g_idx[63]=1: does not follow from group=64",
          apq_weights_import(*state, &desc, &weights, error));
  assert_null(weights);
  free_layer(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_layout_is_read),
      cmocka_unit_test(symmetric_checkpoints_have_no_zero_points),
      cmocka_unit_test(arrays_in_device_memory_are_read),
      cmocka_unit_test(bad_fields_are_named),
      cmocka_unit_test(reordered_rows_are_refused),
  };
  return cmocka_run_group_tests(tests, weights_set_up, weights_tear_down);
}
