/* The pieces of the export's text, and the packed records. */
#include "db_fixture.h"

#include "db_record.h"
#include "db_text.h"

static void escapes_round_trip(void **state) {
  (void)state;
  const char *texts[] = {"", "plain", "tab\tline\nreturn\rback\\slash", "\x01\x1f\x7f",
                         "caf\xc3\xa9 \xff"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    apq__text out = {0};
    apq__text_add(&out, "%s", "");
    apq__escape(&out, texts[i]);
    assert_false(out.failed);
    assert_null(strpbrk(out.data, "\t\n\r\x01\x7f"));
    assert_true(apq__unescape(out.data));
    assert_string_equal(out.data, texts[i]);
    apq__text_free(&out);
  }
  const char *bad[] = {"\\", "a\\q", "\\x", "\\x1", "\\xg0", "\\x00"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char copy[16];
    snprintf(copy, sizeof copy, "%s", bad[i]);
    assert_false(apq__unescape(copy));
  }
}

static void base64_round_trips_and_knows_its_vectors(void **state) {
  (void)state;
  /* RFC 4648, section 10. */
  const char *vectors[][2] = {{"f", "Zg=="},        {"fo", "Zm8="},        {"foo", "Zm9v"},
                              {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
    apq__text out = {0};
    apq__base64_encode(&out, vectors[i][0], strlen(vectors[i][0]));
    assert_string_equal(out.data, vectors[i][1]);
    apq__text_free(&out);
  }
  unsigned char bytes[3001];
  uint64_t seed = 1;
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)apq__random(&seed);
  for (size_t size = 1; size <= sizeof bytes; size += 250) {
    apq__text out = {0};
    size_t decoded = 0;
    apq__base64_encode(&out, bytes, size);
    assert_true(apq__base64_decode(out.data, &decoded));
    assert_int_equal(decoded, size);
    assert_memory_equal(out.data, bytes, size);
    apq__text_free(&out);
  }
  const char *bad[] = {
      "A", "AA", "AAA", "A===", "====", "AA=A", "AA!=", "Zh==", "Zm9=", "AA==AAAA"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char copy[16];
    size_t size = 0;
    snprintf(copy, sizeof copy, "%s", bad[i]);
    assert_false(apq__base64_decode(copy, &size));
  }
}

static void canonical_texts_are_exactly_the_keys(void **state) {
  (void)state;
  const char *configs[] = {"", "a=1", "a=-1,b=x_9", "family=bmma,p=2,tile_m=64"};
  for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
    apq__config fast, slow;
    assert_true(apq__canonical_config(configs[i], strlen(configs[i]), &fast));
    assert_int_equal(apq__config_parse(configs[i], &slow, NULL), APQ_OK);
    assert_memory_equal(&fast, &slow, sizeof fast);
  }
  const char *bad_configs[] = {"a",
                               "a=",
                               "=1",
                               "b=1,a=1",
                               "a=1,a=1",
                               "a=1,",
                               ",a=1",
                               "a=1,,b=1",
                               "A=1",
                               "a=1 ",
                               "a=--1",
                               "a=-",
                               "a_name_longer_than=1",
                               "a=a_value_longer_than"};
  for (size_t i = 0; i < sizeof bad_configs / sizeof bad_configs[0]; i++) {
    apq__config config;
    assert_false(apq__canonical_config(bad_configs[i], strlen(bad_configs[i]), &config));
  }
  apq__config longest = {0};
  char key[APQ__KEY_MAX], name[APQ__WORD_MAX];
  for (int i = 0; i < APQ__KNOBS_MAX; i++) {
    snprintf(name, sizeof name, "abcdefghijkl%02d", i);
    assert_int_equal(apq__config_set(&longest, name, "-abcdefghijklmn", NULL), APQ_OK);
  }
  apq__config again;
  apq__config_key(&longest, key);
  assert_true(apq__canonical_config(key, strlen(key), &again));
  assert_memory_equal(&again, &longest, sizeof again);
  apq__problem problem, expected = problem_of(17);
  apq__problem_key(&expected, key);
  assert_true(apq__canonical_problem(key, strlen(key), &problem));
  assert_memory_equal(&problem, &expected, sizeof problem);
  expected.group = 128;
  apq__problem_key(&expected, key);
  assert_true(apq__canonical_problem(key, strlen(key), &problem));
  assert_memory_equal(&problem, &expected, sizeof problem);
  expected.in = APQ__INPUT_F32;
  apq__problem_key(&expected, key);
  assert_true(apq__canonical_problem(key, strlen(key), &problem));
  assert_memory_equal(&problem, &expected, sizeof problem);
  const char *bad_problems[] = {"",
                                "in=packed,k=1,m=1,n=1,out=i32,p=1,q=1",
                                "in=,k=1,m=1,n=1,out=i32,p=1,q=1",
                                "in=f16",
                                "in=f16,",
                                "in=f16,group=32,k=1,m=1,n=1,out=f16,p=1,q=1",
                                "k=1,m=1,n=1,out=i32,p=1",
                                "group=0,k=1,m=1,n=1,out=f16,p=1,q=1",
                                "group=96,k=1,m=1,n=1,out=f16,p=1,q=1",
                                "group=32,k=1,m=1,n=1,out=i32,p=1,q=1",
                                "k=1,m=1,n=1,out=f16,p=1,q=1,group=32",
                                "k=1,m=1,n=1,out=i32,p=1,q=9",
                                "k=1,m=1,n=1,out=i32,p=1,q=1,",
                                "k=1,m=1,n=1,out=i32,p=1,q=1x",
                                "k=01,m=1,n=1,out=i32,p=1,q=1",
                                "k=0,m=1,n=1,out=i32,p=1,q=1",
                                "k=2147483648,m=1,n=1,out=i32,p=1,q=1",
                                "m=1,k=1,n=1,out=i32,p=1,q=1",
                                "k=1,m=1,n=1,out=codes8,p=1,q=1",
                                "k=1,m=1,n=1,out=,p=1,q=1"};
  for (size_t i = 0; i < sizeof bad_problems / sizeof bad_problems[0]; i++)
    assert_false(apq__canonical_problem(bad_problems[i], strlen(bad_problems[i]), &problem));
}

static apq__winner random_row(uint64_t *seed) {
  apq__winner row = {.environment = real_gpu,
                     .problem = problem_of(1 + (int)(apq__random(seed) & 0xffff)),
                     .variant = variant_of("a=1,b=x", "hash")};
  row.measurement =
      time_of((double)(apq__random(seed) >> 11) * 1e-20, "run", (int64_t)apq__random(seed));
  if (apq__random(seed) % 2) row.problem.group = 32 << apq__random(seed) % 4;
  row.problem.in = (apq__input)(apq__random(seed) % APQ__INPUT_COUNT);
  row.measurement.throttle_reasons = (unsigned)apq__random(seed);
  row.measurement.temperature_c = -(int)(apq__random(seed) & 63);
  return row;
}

static void rows_round_trip_as_records_and_as_text(void **state) {
  (void)state;
  uint64_t seed = 3;
  for (int i = 0; i < 200; i++) {
    apq__winner row = random_row(&seed), again;
    apq__record record, other;
    apq__record_pack(apq__winner_fields, apq__winner_field_count, &row, &record);
    assert_true(apq__record_unpack(apq__winner_fields, apq__winner_field_count, record.data,
                                   record.size, &again));
    apq__record_pack(apq__winner_fields, apq__winner_field_count, &again, &other);
    assert_int_equal(record.size, other.size);
    assert_memory_equal(record.data, other.data, other.size);
    assert_false(apq__record_unpack(apq__winner_fields, apq__winner_field_count, record.data,
                                    record.size - 1, &again));
    apq__text text = {0};
    char *fields[32];
    int count = 0;
    apq__fields_write(apq__winner_fields, apq__winner_field_count, &row, &text);
    for (char *tab = text.data; tab && *tab; tab = strchr(tab, '\t')) {
      *tab++ = 0;
      fields[count++] = tab;
    }
    assert_int_equal(count, apq__winner_field_count);
    memset(&again, 0, sizeof again);
    assert_int_equal(
        apq__fields_parse(apq__winner_fields, apq__winner_field_count, fields, &again, NULL),
        APQ_OK);
    apq__record_pack(apq__winner_fields, apq__winner_field_count, &again, &other);
    assert_int_equal(record.size, other.size);
    assert_memory_equal(record.data, other.data, other.size);
    apq__text_free(&text);
  }
}

static void any_changed_bit_breaks_the_seal(void **state) {
  (void)state;
  uint64_t seed = 9;
  apq__winner row = random_row(&seed);
  apq__record record;
  apq__record_pack(apq__winner_fields, apq__winner_field_count, &row, &record);
  apq__record_seal(&record);
  size_t size = record.size;
  assert_true(apq__record_open(record.data, &size));
  assert_int_equal(size, record.size - 8);
  for (size_t bit = 0; bit < record.size * 8; bit++) {
    record.data[bit / 8] = (unsigned char)(record.data[bit / 8] ^ 1u << bit % 8);
    size = record.size;
    assert_false(apq__record_open(record.data, &size));
    record.data[bit / 8] = (unsigned char)(record.data[bit / 8] ^ 1u << bit % 8);
  }
  size = 7;
  assert_false(apq__record_open(record.data, &size));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(escapes_round_trip),
      cmocka_unit_test(base64_round_trips_and_knows_its_vectors),
      cmocka_unit_test(canonical_texts_are_exactly_the_keys),
      cmocka_unit_test(rows_round_trip_as_records_and_as_text),
      cmocka_unit_test(any_changed_bit_breaks_the_seal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
