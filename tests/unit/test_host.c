/* Environment, folders, files, hashes: on success, on failure, and with memory running out at every
 * step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "failing_allocator.h"
#include "host.h"

static char folder[256];

static int make_folder(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "%s/test_host.XXXXXX", APQ_BINARY_DIR);
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char *command = apq__format("rm -rf '%s'", folder);
  int result = system(command);
  apq__free(command);
  return result;
}

/* A name in the test's folder; the four latest stay valid. */
static const char *in_folder(const char *name) {
  static char names[4][512];
  static int next;
  char *text = names[next++ % 4];
  snprintf(text, sizeof names[0], "%s/%s", folder, name);
  return text;
}

static void variables_are_named_and_read(void **state) {
  (void)state;
  for (int i = 0; i < APQ__VAR_COUNT; i++) {
    const char *name = apq__variable_name((apq__variable)i);
    assert_memory_equal(name, "APQ_", 4);
    assert_true(strlen(apq__variable_doc((apq__variable)i)) > 8);
    setenv(name, "some value", 1);
    assert_string_equal(apq__variable_get((apq__variable)i), "some value");
    setenv(name, "", 1);
    assert_null(apq__variable_get((apq__variable)i));
    unsetenv(name);
    assert_null(apq__variable_get((apq__variable)i));
  }
  assert_null(apq__variable_get(APQ__VAR_COUNT));
}

static void variables_are_documented(void **state) {
  (void)state;
  char *text = NULL;
  size_t size = 0;
  assert_int_equal(apq__read_file(APQ_SOURCE_DIR "/docs/environment.md", &text, &size, NULL),
                   APQ_OK);
  for (int i = 0; i < APQ__VAR_COUNT; i++) {
    char *row = apq__format("\n| `%s` |", apq__variable_name((apq__variable)i));
    if (!strstr(text, row)) fail_msg("%s is not in docs/environment.md", row + 1);
    apq__free(row);
  }
  apq__free(text);
}

static void expect_cache_dir(const char *own, const char *xdg, const char *home,
                             const char *expected) {
  setenv("APQ_CACHE_DIR", own, 1);
  setenv("XDG_CACHE_HOME", xdg, 1);
  setenv("HOME", home, 1);
  char *got = apq__cache_dir();
  assert_int_equal(!got, !expected);
  if (got && expected) assert_string_equal(got, expected);
  apq__free(got);
}

static void cache_folder_follows_the_environment(void **state) {
  (void)state;
  const char *old = getenv("HOME");
  char *home = old ? strdup(old) : NULL;
  expect_cache_dir("/own", "/xdg", "/home/u", "/own");
  expect_cache_dir("own/relative", "/xdg", "/home/u", "own/relative");
  expect_cache_dir("", "/xdg", "/home/u", "/xdg/apq");
  expect_cache_dir("", "relative/is/ignored", "/home/u", "/home/u/.cache/apq");
  expect_cache_dir("", "", "/home/u", "/home/u/.cache/apq");
  expect_cache_dir("", "", "", NULL);
  unsetenv("APQ_CACHE_DIR");
  unsetenv("XDG_CACHE_HOME");
  if (home) setenv("HOME", home, 1);
  free(home);
}

static void folders_are_made_once_and_again(void **state) {
  (void)state;
  struct stat info;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__make_dirs(in_folder("a/b//c/"), &error), APQ_OK);
  assert_int_equal(stat(in_folder("a/b/c"), &info), 0);
  assert_true(S_ISDIR(info.st_mode));
  assert_int_equal(apq__make_dirs(in_folder("a/b/c"), &error), APQ_OK);
  assert_int_equal(apq__make_dirs("/", &error), APQ_OK);
  /* A file in the way. */
  assert_int_equal(apq__write_file(in_folder("file"), "x", 1, &error), APQ_OK);
  assert_int_equal(apq__make_dirs(in_folder("file"), &error), APQ_IO);
  assert_int_equal(apq__make_dirs(in_folder("file/below"), &error), APQ_IO);
  assert_non_null(strstr(error.message, in_folder("file")));
  assert_int_equal(error.status, APQ_IO);
  apq_error_clear(&error);
  assert_int_not_equal(apq__make_dirs("/proc/no/such", NULL), APQ_OK);
}

static void an_unwritable_folder_is_read_only(void **state) {
  (void)state;
  if (geteuid() == 0) {
    print_message("skipped as root, whom permissions do not stop\n");
    skip();
  }
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(mkdir(in_folder("locked"), 0555), 0);
  assert_int_equal(apq__make_dirs(in_folder("locked/x"), &error), APQ_READ_ONLY);
  assert_int_equal(apq__write_file(in_folder("locked/f"), "x", 1, &error), APQ_READ_ONLY);
  apq_error_clear(&error);
}

static void files_come_back_whole(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 4094, 4095, 4096, 4097, 1000003};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char *data = apq__alloc(sizes[i]), *read = NULL;
    size_t size = 77;
    uint64_t seed = i;
    for (size_t j = 0; j < sizes[i]; j++) data[j] = (char)apq__random(&seed);
    assert_int_equal(apq__write_file(in_folder("data"), data, sizes[i], NULL), APQ_OK);
    assert_int_equal(apq__read_file(in_folder("data"), &read, &size, NULL), APQ_OK);
    assert_int_equal(size, sizes[i]);
    assert_memory_equal(read, data, size);
    assert_int_equal(read[size], 0);
    apq__free(read);
    apq__free(data);
  }
}

static void files_that_hide_their_size_are_read(void **state) {
  (void)state;
  char *data = NULL;
  size_t size = 0;
  assert_int_equal(apq__read_file("/proc/self/maps", &data, &size, NULL), APQ_OK);
  assert_true(size > 100 && strlen(data) == size);
  apq__free(data);
}

static void file_failures_name_the_file(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  char *data = NULL;
  size_t size = 0;
  assert_int_equal(apq__read_file(in_folder("missing"), &data, &size, &error), APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, in_folder("missing")));
  assert_int_equal(apq__read_file(folder, &data, &size, &error), APQ_IO);
  assert_null(data);
  assert_int_equal(apq__write_file(in_folder("missing/x"), "x", 1, &error), APQ_NOT_FOUND);
  assert_int_equal(mkdir(in_folder("taken"), 0777), 0);
  assert_int_equal(apq__write_file(in_folder("taken"), "x", 1, &error), APQ_IO);
  assert_non_null(strstr(error.message, in_folder("taken")));
  apq_error_clear(&error);
  /* No temporary file is left beside it. */
  char *command = apq__format("test -z \"$(find '%s' -name '*.tmp')\"", folder);
  assert_int_equal(system(command), 0);
  apq__free(command);
}

static void files_are_mapped(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__file_map map;
  assert_int_equal(apq__write_file(in_folder("map"), "mapped", 6, NULL), APQ_OK);
  assert_int_equal(apq__file_map_open(in_folder("map"), &map, NULL), APQ_OK);
  assert_int_equal(map.size, 6);
  assert_memory_equal(map.data, "mapped", 6);
  /* Replacing the file leaves the mapping alone. */
  assert_int_equal(apq__write_file(in_folder("map"), "", 0, NULL), APQ_OK);
  assert_memory_equal(map.data, "mapped", 6);
  apq__file_map_close(&map);
  apq__file_map_close(&map);
  assert_int_equal(apq__file_map_open(in_folder("map"), &map, NULL), APQ_OK);
  assert_null(map.data);
  assert_int_equal(map.size, 0);
  assert_int_equal(apq__file_map_open(folder, &map, &error), APQ_IO);
  assert_non_null(strstr(error.message, folder));
  assert_int_equal(apq__file_map_open(in_folder("missing"), &map, &error), APQ_NOT_FOUND);
  assert_null(map.data);
  apq_error_clear(&error);
}

static void a_new_file_takes_its_place_at_the_end(void **state) {
  (void)state;
  apq__new_file file = {0};
  char *data = NULL;
  size_t size = 0;
  assert_int_equal(apq__write_file(in_folder("new"), "old", 3, NULL), APQ_OK);
  for (int fails = 1; fails >= 0; fails--) {
    assert_int_equal(apq__new_file_begin(&file, in_folder("new"), NULL), APQ_OK);
    assert_int_equal(apq__new_file_write(&file, "head ", 5, NULL), APQ_OK);
    assert_int_equal(apq__new_file_write(&file, "tail", 4, NULL), APQ_OK);
    assert_int_equal(apq__new_file_rewrite(&file, "HEAD", 4, NULL), APQ_OK);
    const apq_status status = fails ? APQ_CORRUPT : APQ_OK;
    assert_int_equal(apq__new_file_end(&file, status, NULL), status);
    assert_int_equal(apq__read_file(in_folder("new"), &data, &size, NULL), APQ_OK);
    assert_string_equal(data, fails ? "old" : "HEAD tail");
    apq__free(data);
  }
}

/* FIPS 180-4 examples. */
static void sha256_is_right(void **state) {
  (void)state;
  char hex[65];
  apq__piece one[] = {{"abc", 3}};
  apq__sha256(one, 1, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  apq__piece parts[] = {{"a", 1}, {"", 0}, {"bc", 2}};
  apq__sha256(parts, 3, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  apq__sha256(NULL, 0, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void clocks_advance(void **state) {
  (void)state;
  double start = apq__now();
  usleep(2000);
  double passed = apq__now() - start;
  assert_true(passed >= 0.002 && passed < 60);
  assert_true(apq__unix_time() > 1700000000);
}

/* First outputs of SplitMix64 for seed 1234567, as published with it. */
static void random_numbers_are_reproducible(void **state) {
  (void)state;
  static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                                      9817491932198370423u};
  uint64_t seed = 1234567;
  for (int i = 0; i < 3; i++) assert_true(apq__random(&seed) == expected[i]);
}

/* Every function of host.h that allocates, in one run; OK or OUT_OF_MEMORY. */
static apq_status use_memory(void) {
  apq_status status = APQ_OUT_OF_MEMORY;
  char *data = NULL;
  size_t size = 0;
  char *cache = apq__cache_dir();
  if (!cache) goto cleanup;
  status = apq__make_dirs(in_folder("memory/x"), NULL);
  if (status) goto cleanup;
  status = apq__write_file(in_folder("memory/x/f"), "text", 4, NULL);
  if (status) goto cleanup;
  status = apq__read_file("/proc/self/maps", &data, &size, NULL);
cleanup:
  apq__free(cache);
  apq__free(data);
  return status;
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state) {
  (void)state;
  setenv("APQ_CACHE_DIR", "/own", 1);
  apq_status status = APQ_OUT_OF_MEMORY;
  long fail_at = 1;
  for (; status != APQ_OK; fail_at++) {
    failing_allocator count = {0, fail_at, 0};
    assert_int_equal(failing_install(&count), APQ_OK);
    status = use_memory();
    assert_int_equal(apq_set_allocator(NULL), APQ_OK);
    assert_int_equal(count.live, 0);
    assert_true(status == APQ_OUT_OF_MEMORY || (status == APQ_OK && count.calls < fail_at));
  }
  assert_true(fail_at > 4);
  unsetenv("APQ_CACHE_DIR");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(variables_are_named_and_read),
      cmocka_unit_test(variables_are_documented),
      cmocka_unit_test(cache_folder_follows_the_environment),
      cmocka_unit_test(folders_are_made_once_and_again),
      cmocka_unit_test(an_unwritable_folder_is_read_only),
      cmocka_unit_test(files_come_back_whole),
      cmocka_unit_test(files_that_hide_their_size_are_read),
      cmocka_unit_test(files_are_mapped),
      cmocka_unit_test(a_new_file_takes_its_place_at_the_end),
      cmocka_unit_test(file_failures_name_the_file),
      cmocka_unit_test(sha256_is_right),
      cmocka_unit_test(clocks_advance),
      cmocka_unit_test(random_numbers_are_reproducible),
      cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
