/* Files of weights: what is saved is loaded, the layout is the documented one, and every damage has
 * its message. */
#include "weights_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

enum { N = 5, K = 150 };

static const char path[] = APQ_BINARY_DIR "/tests/weights_file.safetensors";

static apq_weights_file *open_file(void) {
  apq_weights_file *file = NULL;
  CHECK(apq_weights_file_open(path, &file, error));
  return file;
}

static void save_one(const char *name, const apq_weights *weights) {
  const apq_named_weights matrix = {name, weights};
  CHECK(apq_weights_save(path, &matrix, 1, error));
}

static apq_weights *load_one(apq_context *context, const char *name) {
  apq_weights_file *file = open_file();
  apq_weights *loaded = NULL;
  CHECK(apq_weights_file_load(file, name, context, &loaded, error));
  apq_weights_file_close(file);
  return loaded;
}

/* ---- round trips ---- */

static void every_kind_is_loaded_as_it_was_saved(void **state) {
  for (int format = 0; format < APQ_FORMAT_COUNT; format++)
    for (int bits = 1; bits <= 8; bits++)
      for (int group = 0; group <= 128; group += 64) {
        apq_weights *weights = random_weights(*state, N, K, bits, (apq_format)format, group, 3);
        save_one("w", weights);
        apq_weights *loaded = load_one(*state, "w");
        expect_same(weights, loaded);
        looked l = look_inside(loaded);
        expect_sums(loaded, &l);
        look_end(&l);
        apq_weights_destroy(weights);
        apq_weights_destroy(loaded);
      }
}

/* Without scales, as a view, and in a map that no format has of itself. */
static void odd_kinds_are_loaded_too(void **state) {
  const uint8_t codes[4] = {0, 1, 2, 3};
  const apq_weights_desc desc = {.n = 2,
                                 .k = 2,
                                 .bits = 2,
                                 .format = APQ_FORMAT_INT,
                                 .dtype = APQ_DTYPE_CODES8,
                                 .data = codes};
  apq_weights *plain = NULL, *bipolar = NULL, *view = NULL;
  apq_weights *whole = random_weights(*state, N, K, 6, APQ_FORMAT_UINT, 64, 5);
  CHECK(apq_weights_create(*state, &desc, &plain, error));
  CHECK(apq_weights_convert(plain, APQ_FORMAT_BIPOLAR, &bipolar, error));
  CHECK(apq_weights_view(whole, 3, &view, error));
  const apq_weights *const kinds[] = {plain, bipolar, view};
  for (int i = 0; i < 3; i++) {
    save_one("w", kinds[i]);
    apq_weights *loaded = load_one(*state, "w");
    expect_same(kinds[i], loaded);
    apq_weights_info info;
    CHECK(apq_weights_get_info(loaded, &info, error));
    assert_false(info.is_view);
    apq_weights_destroy(loaded);
  }
  apq_weights_destroy(plain);
  apq_weights_destroy(bipolar);
  apq_weights_destroy(view);
  apq_weights_destroy(whole);
}

static void many_matrices_share_a_file(void **state) {
  static const char *const names[] = {"model.layers.0.q_proj",
                                      "a \"quoted\" \\ name",
                                      "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                      "w",
                                      "w.planes",
                                      "__metadata__",
                                      "w.padding"};
  enum { COUNT = sizeof names / sizeof names[0] };
  apq_named_weights matrices[COUNT];
  apq_weights *made[COUNT];
  for (int i = 0; i < COUNT; i++) {
    made[i] = random_weights(*state, 1 + i, K + i, 1 + i, (apq_format)(i % 3), 32 * (i % 2), 7);
    matrices[i] = (apq_named_weights){names[i], made[i]};
  }
  CHECK(apq_weights_save(path, matrices, COUNT, error));
  apq_weights_file *file = open_file();
  assert_int_equal(apq_weights_file_count(file), COUNT);
  assert_null(apq_weights_file_name(file, COUNT));
  assert_null(apq_weights_file_name(file, -1));
  for (int i = COUNT - 1; i >= 0; i--) {
    assert_string_equal(apq_weights_file_name(file, i), names[i]);
    apq_weights *loaded = NULL;
    CHECK(apq_weights_file_load(file, names[i], *state, &loaded, error));
    expect_same(made[i], loaded);
    apq_weights_destroy(loaded);
  }
  /* An open file is replaced without its readers noticing. */
  save_one("other", made[0]);
  apq_weights *loaded = NULL;
  CHECK(apq_weights_file_load(file, names[3], *state, &loaded, error));
  expect_same(made[3], loaded);
  apq_weights_destroy(loaded);
  REFUSES(APQ_NOT_FOUND, "no matrix 'other'",
          apq_weights_file_load(file, "other", *state, &loaded, error));
  apq_weights_file_close(file);
  loaded = load_one(*state, "other");
  expect_same(made[0], loaded);
  apq_weights_destroy(loaded);
  for (int i = 0; i < COUNT; i++) apq_weights_destroy(made[i]);
}

/* ---- the layout, read by hand ---- */

static void hash_block(const void *data, size_t size, char hex[65]) {
  const apq__piece piece = {data, size};
  apq__sha256(&piece, 1, hex);
}

static void the_file_is_as_documented(void **state) {
  apq_weights *weights = random_weights(*state, N, K, 3, APQ_FORMAT_UINT, 64, 3);
  apq_weights *second = random_weights(*state, 1, 1, 1, APQ_FORMAT_INT, 0, 4);
  const apq_named_weights matrices[] = {{"w", weights}, {"x", second}};
  CHECK(apq_weights_save(path, matrices, 2, error));
  char *file = NULL;
  size_t size = 0;
  CHECK(apq__read_file(path, &file, &size, error));
  size_t length = 0;
  for (int i = 0; i < 8; i++) length |= (size_t)(unsigned char)file[i] << (8 * i);
  assert_int_equal((8 + length) % 64, 0);
  assert_int_equal(file[8], '{');
  char *header = apq__strndup(file + 8, length);
  const uint8_t *data = (const uint8_t *)file + 8 + length;
  /* 3 planes of 5 rows of 32 bytes, 15 scales, 15 zero points, 40 bytes of padding; then 16 bytes
   * and one scale. */
  static const char *const lines[] = {
      "\"format\": \"apq-weights\"",
      "\"version\": \"1\"",
      "\"matrix.w\": \"alpha=1,bits=3,format=uint,group=64,k=150,n=5,scales=1,zero=0,zeros=1\"",
      "\"matrix.x\": \"alpha=1,bits=1,format=int,group=0,k=1,n=1,scales=1,zero=1,zeros=0\"",
      "\"w.planes\"",
      "\"w.scales\"",
      "\"w.zeros\"",
      "\"w.padding\"",
      "\"x.planes\"",
      NULL};
  for (int i = 0; lines[i]; i++)
    if (!strstr(header, lines[i])) fail_msg("no %s in\n%s", lines[i], header);
  assert_int_equal(size - 8 - length, 640 + 64);

  looked l = look_inside(weights);
  uint8_t *planes = apq__alloc((size_t)apq__planes_bytes(N, K, 3));
  apq__pack_planes_scalar(l.codes, K, N, K, 3, planes, NULL);
  assert_memory_equal(data, planes, 480);
  assert_memory_equal(data + 480, l.scales, 60);
  assert_memory_equal(data + 540, l.zeros, 60);
  for (int i = 600; i < 640; i++) assert_int_equal(data[i], 0);

  char blocks[3][65], all[64 * 3 + 1], hex[65];
  hash_block(data, 480, blocks[0]);
  hash_block(data + 480, 60, blocks[1]);
  hash_block(data + 540, 60, blocks[2]);
  snprintf(all, sizeof all, "%s%s%s", blocks[0], blocks[1], blocks[2]);
  char *text = apq__format(
      "w\nalpha=1,bits=3,format=uint,group=64,k=150,n=5,scales=1,zero=0,zeros=1\n%s", all);
  hash_block(text, strlen(text), hex);
  char *note = apq__format("\"sha256.w\": \"%s\"", hex);
  assert_non_null(strstr(header, note));
  apq__free(note);
  apq__free(text);
  apq__free(planes);
  apq__free(header);
  apq__free(file);
  look_end(&l);
  apq_weights_destroy(weights);
  apq_weights_destroy(second);
}

/* More than one block of 1 MiB, hashed by several threads. */
static void a_large_matrix_is_checked_by_blocks(void **state) {
  apq_weights *weights = random_weights(*state, 600, 5000, 7, APQ_FORMAT_INT, 0, 3);
  save_one("w", weights);
  apq_weights *loaded = load_one(*state, "w");
  expect_same(weights, loaded);
  apq_weights_destroy(loaded);
  apq_weights_destroy(weights);
  char *file = NULL;
  size_t size = 0;
  CHECK(apq__read_file(path, &file, &size, error));
  file[size / 2] ^= 4;
  CHECK(apq__write_file(path, file, size, error));
  apq_weights_file *opened = open_file();
  REFUSES(APQ_CORRUPT, "'w': its checksum",
          apq_weights_file_load(opened, "w", *state, &loaded, error));
  apq_weights_file_close(opened);
  apq__free(file);
}

/* ---- damage ---- */

/* The first failure of opening the file and loading all of it. */
static apq_status read_all(apq_context *context, apq_error *error) {
  apq_weights_file *file = NULL;
  apq_status status = apq_weights_file_open(path, &file, error);
  for (int i = 0; !status && i < apq_weights_file_count(file); i++) {
    apq_weights *weights = NULL;
    status = apq_weights_file_load(file, apq_weights_file_name(file, i), context, &weights, error);
    apq_weights_destroy(weights);
  }
  apq_weights_file_close(file);
  return status;
}

static char *saved_bytes(apq_context *context, size_t *size) {
  apq_weights *weights = random_weights(context, N, K, 2, APQ_FORMAT_UINT, 64, 3);
  char *file = NULL;
  save_one("w", weights);
  apq_weights_destroy(weights);
  CHECK(apq__read_file(path, &file, size, error));
  return file;
}

static void expect_damage(apq_context *context, const char *what, size_t at) {
  apq_error error = APQ_ERROR_INIT;
  const apq_status status = read_all(context, &error);
  if (status != APQ_CORRUPT && status != APQ_PARSE && status != APQ_UNSUPPORTED)
    fail_msg("%s %zu: %s: %s", what, at, apq_status_name(status), error.message);
  if (!strstr(error.message, "weights_file.safetensors"))
    fail_msg("%s %zu: does not name the file: %s", what, at, error.message);
  apq_error_clear(&error);
}

static void every_changed_byte_is_noticed(void **state) {
  size_t size = 0;
  char *file = saved_bytes(*state, &size);
  for (size_t i = 0; i < size; i++) {
    file[i] = (char)(file[i] ^ 1 << (i % 8));
    CHECK(apq__write_file(path, file, size, error));
    expect_damage(*state, "byte", i);
    file[i] = (char)(file[i] ^ 1 << (i % 8));
  }
  CHECK(apq__write_file(path, file, size, error));
  CHECK(read_all(*state, error));
  apq__free(file);
}

static void every_cut_is_noticed(void **state) {
  size_t size = 0;
  char *file = saved_bytes(*state, &size);
  for (size_t length = 0; length < size; length += length < 16 ? 1 : 7) {
    CHECK(apq__write_file(path, file, length, error));
    expect_damage(*state, "length", length);
  }
  char *longer = apq__calloc(size + 1, 1);
  memcpy(longer, file, size);
  CHECK(apq__write_file(path, longer, size + 1, error));
  REFUSES(APQ_CORRUPT, "1 bytes belong to no tensor", read_all(*state, error));
  apq__free(longer);
  apq__free(file);
}

/* Writes a header, blanks up to the alignment, and `data` zero bytes. */
static void write_container(const char *header, size_t length, size_t data) {
  const size_t whole = (8 + length + 63) / 64 * 64;
  char *file = apq__calloc(whole + data, 1);
  memset(file, ' ', whole);
  for (int i = 0; i < 8; i++) file[i] = (char)((whole - 8) >> (8 * i) & 0xff);
  memcpy(file + 8, header, length);
  CHECK(apq__write_file(path, file, whole + data, error));
  apq__free(file);
}

#define OURS   "\"__metadata__\":{\"format\":\"apq-weights\",\"version\":\"1\""
#define TEXT   "alpha=1,bits=1,format=int,group=0,k=1,n=1,scales=0,zero=1,zeros=0"
#define MATRIX OURS ",\"matrix.w\":\"" TEXT "\",\"sha256.w\":\"0\"}"
#define PLANES "\"w.planes\":{\"dtype\":\"U8\",\"shape\":[1,1,16],\"data_offsets\":[0,16]}"
#define TENSOR(name, shape, offsets)                                                               \
  "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
/* A matrix whose text has one value replaced. */
#define BAD_TEXT(text) "{" OURS ",\"matrix.w\":\"" text "\",\"sha256.w\":\"0\"}," PLANES "}"

static void hostile_headers_are_refused(void **state) {
  static const struct {
    apq_status status;
    const char *word, *header;
    size_t data;
  } rows[] = {
      /* The text. */
      {APQ_PARSE, "not a safetensors file", "[]", 0},
      {APQ_CORRUPT, "not JSON", "{", 0},
      {APQ_CORRUPT, "not JSON", "{\"a\":}", 0},
      {APQ_CORRUPT, "not JSON", "{a:{}}", 0},
      {APQ_CORRUPT, "not JSON", "{} {}", 0},
      {APQ_CORRUPT, "not JSON", "{\"a\":[01]}", 0},
      {APQ_CORRUPT, "not JSON", "{,}", 0},
      /* The structure. */
      {APQ_CORRUPT, "'a' in the header is not an object", "{\"a\":3}", 0},
      {APQ_CORRUPT, "two entries '__metadata__'", "{\"__metadata__\":{},\"__metadata__\":{}}", 0},
      {APQ_CORRUPT, "metadata 'x' is not a string", "{\"__metadata__\":{\"x\":1}}", 0},
      {APQ_CORRUPT, "metadata 'x' is given twice", "{\"__metadata__\":{\"x\":\"1\",\"x\":\"1\"}}",
       0},
      {APQ_CORRUPT, "'shape' is of the wrong type", "{\"a\":{\"shape\":3}}", 0},
      {APQ_CORRUPT, "'shape' is given twice", "{\"a\":{\"shape\":[],\"shape\":[]}}", 0},
      {APQ_CORRUPT, "'color' is unknown", "{\"a\":{\"color\":[]}}", 0},
      {APQ_CORRUPT, "needs dtype", "{\"a\":{}}", 0},
      {APQ_CORRUPT, "needs dtype", "{" TENSOR("a", "", "0") "}", 0},
      {APQ_CORRUPT, "shape holds what is no size", "{" TENSOR("a", "-1", "0,0") "}", 0},
      {APQ_CORRUPT, "shape holds what is no size", "{" TENSOR("a", "1.5", "0,0") "}", 0},
      {APQ_CORRUPT, "shape holds what is no size", "{" TENSOR("a", "\"1\"", "0,0") "}", 0},
      {APQ_CORRUPT, "shape holds what is no size",
       "{" TENSOR("a", "99999999999999999999", "0,0") "}", 0},
      {APQ_CORRUPT, "no size", "{" TENSOR("a", "[1]", "0,0") "}", 0},
      {APQ_CORRUPT, "too many numbers in shape", "{" TENSOR("a", "1,1,1,1,1", "0,0") "}", 0},
      {APQ_CORRUPT, "too many numbers in data_offsets", "{" TENSOR("a", "", "0,0,0") "}", 0},
      /* The places. */
      {APQ_CORRUPT, "unknown dtype 'U9'",
       "{\"a\":{\"dtype\":\"U9\",\"shape\":[],\"data_offsets\":[0,1]}}", 1},
      {APQ_CORRUPT, "bytes 0 to 17, and 16 are there", "{" TENSOR("a", "17", "0,17") "}", 16},
      {APQ_CORRUPT, "bytes 2 to 1,", "{" TENSOR("a", "1", "2,1") "}", 16},
      {APQ_CORRUPT, "bytes 9223372036854775807",
       "{" TENSOR("a", "1", "9223372036854775807,9223372036854775807") "}", 16},
      {APQ_CORRUPT, "its shape does not take the 16", "{" TENSOR("a", "2,7", "0,16") "}", 16},
      {APQ_CORRUPT, "its shape does not take the 16",
       "{" TENSOR("a", "4294967296,4294967296,16", "0,16") "}", 16},
      {APQ_CORRUPT, "lies over another",
       "{" TENSOR("a", "16", "0,16") "," TENSOR("b", "8", "8,16") "}", 16},
      {APQ_CORRUPT, "a gap lies before it", "{" TENSOR("a", "8", "8,16") "}", 16},
      {APQ_CORRUPT, "8 bytes belong to no tensor", "{" TENSOR("a", "8", "0,8") "}", 16},
      {APQ_CORRUPT, "two tensors 'a'", "{" TENSOR("a", "8", "0,8") "," TENSOR("a", "8", "8,16") "}",
       16},
      /* The kind. */
      {APQ_PARSE, "none of apq-weights", "{}", 0},
      {APQ_PARSE, "none of apq-weights", "{\"__metadata__\":{\"format\":\"pt\"}}", 0},
      {APQ_UNSUPPORTED, "of version ''", "{\"__metadata__\":{\"format\":\"apq-weights\"}}", 0},
      {APQ_UNSUPPORTED, "of version '2'",
       "{\"__metadata__\":{\"format\":\"apq-weights\",\"version\":\"2\"}}", 0},
      /* The matrices. */
      {APQ_CORRUPT, "1 tensors belong to no matrix", "{" OURS "}," PLANES "}", 16},
      {APQ_CORRUPT, "not a matrix's name", "{" OURS ",\"matrix.\":\"\"}}", 0},
      {APQ_CORRUPT, "no tensor 'w.planes'", "{" MATRIX "}", 0},
      {APQ_CORRUPT, "not of the type and shape",
       "{" MATRIX "," TENSOR("w.planes", "16", "0,16") "}", 16},
      {APQ_CORRUPT, "not aligned to 64",
       "{" MATRIX
       "," TENSOR("w.padding", "16", "0,16") "," TENSOR("w.planes", "1,1,16", "16,32") "}",
       32},
      {APQ_CORRUPT, "'w.padding': not the zeros",
       "{" MATRIX "," PLANES "," TENSOR("w.padding", "64", "16,80") "}", 80},
      {APQ_CORRUPT, "no checksum", "{" OURS ",\"matrix.w\":\"" TEXT "\"}," PLANES "}", 16},
      {APQ_CORRUPT, "its checksum does not match", "{" MATRIX "," PLANES "}", 16},
      {APQ_CORRUPT, "bits=9",
       BAD_TEXT("alpha=1,bits=9,format=int,group=0,k=1,n=1,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "k=: must",
       BAD_TEXT("alpha=1,bits=1,format=int,group=0,n=1,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "n=2147483647",
       BAD_TEXT("alpha=1,bits=1,format=int,group=0,k=1,n=2147483647,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "format=float",
       BAD_TEXT("alpha=1,bits=1,format=float,group=0,k=1,n=1,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "alpha=2: not that of int",
       BAD_TEXT("alpha=2,bits=1,format=int,group=0,k=1,n=1,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "group=32: not a group of k=1",
       BAD_TEXT("alpha=1,bits=1,format=int,group=32,k=1,n=1,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "group=48: not a group of k=99",
       BAD_TEXT("alpha=1,bits=1,format=int,group=48,k=99,n=1,scales=0,zero=1,zeros=0"), 16},
      {APQ_CORRUPT, "unknown value", BAD_TEXT(TEXT ",more=1"), 16},
      {APQ_CORRUPT, "bits", BAD_TEXT("bits=1,bits=1"), 16},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    write_container(rows[i].header, strlen(rows[i].header), rows[i].data);
    REFUSES(rows[i].status, rows[i].word, read_all(*state, error));
  }
  write_container("{\"a\0b\":{}}", 10, 0);
  REFUSES(APQ_CORRUPT, "holds a zero byte", read_all(*state, error));
  CHECK(apq__write_file(path, "\377\377\377\377\377\377\377\377{}", 10, error));
  REFUSES(APQ_CORRUPT, "above the limit", read_all(*state, error));
  CHECK(apq__write_file(path, "\10\0\0\0\0\0\0\0{}", 10, error));
  REFUSES(APQ_CORRUPT, "cut short", read_all(*state, error));
  CHECK(apq__write_file(path, "\2\0\0", 3, error));
  REFUSES(APQ_PARSE, "too few", read_all(*state, error));
  CHECK(apq__write_file(path, "", 0, error));
  REFUSES(APQ_PARSE, "too few", read_all(*state, error));
  /* Deep nesting ends in an error, not in the stack's end. */
  char *deep = apq__alloc(300000);
  memset(deep, '[', 300000);
  deep[0] = '{';
  write_container(deep, 300000, 0);
  REFUSES(APQ_CORRUPT, "not JSON", read_all(*state, error));
  snprintf(deep, 6, "{\"a\":");
  deep[5] = '[';
  write_container(deep, 300000, 0);
  REFUSES(APQ_CORRUPT, "not JSON", read_all(*state, error));
  apq__free(deep);
}

/* With a checksum made to fit, what is in the data still cannot spoil products. */
static void hostile_data_are_refused(void **state) {
  static const struct {
    const char *text, *word, *shapes;
    const char *data;
    size_t planes, rest;
  } rows[] = {
      {TEXT, "row 0 has bits beyond k=1", "", "\3", 16, 0},
      {"alpha=1,bits=1,format=int,group=0,k=1,n=1,scales=1,zero=1,zeros=0", "scale[0]=inf",
       ",\"w.scales\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[16,20]}",
       "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\200\177", 16, 4},
  };
  for (int i = 0; i < 2; i++) {
    char data[32] = {0}, blocks[2][65] = {{0}}, hex[65];
    memcpy(data, rows[i].data, rows[i].rest ? 20 : 1);
    hash_block(data, rows[i].planes, blocks[0]);
    if (rows[i].rest) hash_block(data + rows[i].planes, rows[i].rest, blocks[1]);
    char *text = apq__format("w\n%s\n%s%s", rows[i].text, blocks[0], blocks[1]);
    hash_block(text, strlen(text), hex);
    char *header = apq__format("{" OURS ",\"matrix.w\":\"%s\",\"sha256.w\":\"%s\"}," PLANES "%s}",
                               rows[i].text, hex, rows[i].shapes);
    const size_t size = rows[i].planes + rows[i].rest;
    write_container(header, strlen(header), size);
    char *file = NULL;
    size_t whole = 0;
    CHECK(apq__read_file(path, &file, &whole, error));
    memcpy(file + whole - size, data, size);
    CHECK(apq__write_file(path, file, whole, error));
    REFUSES(APQ_CORRUPT, rows[i].word, read_all(*state, error));
    apq__free(file);
    apq__free(header);
    apq__free(text);
  }
}

/* ---- misuse ---- */

static void misuse_is_named(void **state) {
  apq_weights *weights = random_weights(*state, 1, 1, 1, APQ_FORMAT_INT, 0, 1), *out = NULL;
  apq_weights_file *file = NULL;
  char longest[202];
  memset(longest, 'n', 201);
  longest[201] = 0;
  static const char *const bad_names[] = {
      "",       "tab\there", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "cut \xe2\x82",
      "del\x7f"};
  for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
    const apq_named_weights matrix = {bad_names[i], weights};
    REFUSES(APQ_INVALID_ARGUMENT, "matrices[0].name", apq_weights_save(path, &matrix, 1, error));
  }
  apq_named_weights two[] = {{"w", weights}, {longest, weights}};
  REFUSES(APQ_INVALID_ARGUMENT, "matrices[1].name", apq_weights_save(path, two, 2, error));
  longest[200] = 0;
  CHECK(apq_weights_save(path, two, 2, error));
  CHECK(read_all(*state, error));
  two[1] = (apq_named_weights){"w", weights};
  REFUSES(APQ_INVALID_ARGUMENT, "two are named 'w'", apq_weights_save(path, two, 2, error));
  two[1] = (apq_named_weights){NULL, weights};
  REFUSES(APQ_NULL_POINTER, "matrices[1].name is NULL", apq_weights_save(path, two, 2, error));
  two[1] = (apq_named_weights){"x", NULL};
  REFUSES(APQ_NULL_POINTER, "matrices[1].weights is NULL", apq_weights_save(path, two, 2, error));
  REFUSES(APQ_INVALID_ARGUMENT, "count=0", apq_weights_save(path, two, 0, error));
  REFUSES(APQ_NULL_POINTER, "matrices", apq_weights_save(path, NULL, 1, error));
  REFUSES(APQ_NULL_POINTER, "path", apq_weights_save(NULL, two, 1, error));
  REFUSES(APQ_NULL_POINTER, "path", apq_weights_file_open(NULL, &file, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_file_open(path, NULL, error));
  REFUSES(APQ_NOT_FOUND, "/no/such/file", apq_weights_file_open("/no/such/file", &file, error));
  REFUSES(APQ_IO, APQ_BINARY_DIR, apq_weights_file_open(APQ_BINARY_DIR, &file, error));
  REFUSES(APQ_IO, "/dev/null", apq_weights_file_open("/dev/null", &file, error));
  assert_null(file);
  file = open_file();
  REFUSES(APQ_NULL_POINTER, "file", apq_weights_file_load(NULL, "w", *state, &out, error));
  REFUSES(APQ_NULL_POINTER, "name", apq_weights_file_load(file, NULL, *state, &out, error));
  REFUSES(APQ_NULL_POINTER, "context", apq_weights_file_load(file, "w", NULL, &out, error));
  REFUSES(APQ_NULL_POINTER, "out", apq_weights_file_load(file, "w", *state, NULL, error));
  REFUSES(APQ_NOT_FOUND, "no matrix 'v'", apq_weights_file_load(file, "v", *state, &out, error));
  apq_weights_file_close(file);
  apq_weights_file_close(NULL);
  assert_int_equal(apq_weights_file_count(NULL), 0);
  assert_null(apq_weights_file_name(NULL, 0));
  apq_weights_destroy(weights);
}

/* What cannot be written leaves the old file, and nothing beside it. */
static void a_failed_save_leaves_the_old_file(void **state) {
  apq_weights *weights = random_weights(*state, 1, 1, 1, APQ_FORMAT_INT, 0, 1);
  const apq_named_weights matrix = {"w", weights};
  const char *const folder = APQ_BINARY_DIR "/tests/weights_folder";
  CHECK(apq__make_dirs(APQ_BINARY_DIR "/tests/weights_folder/inner", error));
  REFUSES(APQ_IO, folder, apq_weights_save(folder, &matrix, 1, error));
  REFUSES(APQ_NOT_FOUND, "/no/such/folder/file",
          apq_weights_save("/no/such/folder/file", &matrix, 1, error));
  apq_weights_destroy(weights);
  assert_int_equal(rmdir(APQ_BINARY_DIR "/tests/weights_folder/inner"), 0);
  assert_int_equal(rmdir(folder), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_is_loaded_as_it_was_saved),
      cmocka_unit_test(odd_kinds_are_loaded_too),
      cmocka_unit_test(many_matrices_share_a_file),
      cmocka_unit_test(the_file_is_as_documented),
      cmocka_unit_test(a_large_matrix_is_checked_by_blocks),
      cmocka_unit_test(every_changed_byte_is_noticed),
      cmocka_unit_test(every_cut_is_noticed),
      cmocka_unit_test(hostile_headers_are_refused),
      cmocka_unit_test(hostile_data_are_refused),
      cmocka_unit_test(misuse_is_named),
      cmocka_unit_test(a_failed_save_leaves_the_old_file),
  };
  return cmocka_run_group_tests(tests, weights_set_up, weights_tear_down);
}
