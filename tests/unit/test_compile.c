/* Sources to objects on the host compiler, and the cache of objects. */
#include "emu_kernel.h"

#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

static apq__target target;
static char *cache;
static const char good[] = "int answer(void) { return 42; }\n";

static int make_cache(void **state) {
  (void)state;
  char folder[] = "/tmp/apq-test-XXXXXX";
  assert_non_null(mkdtemp(folder));
  cache = apq__strdup(folder);
  return apq__target_emulated("sm_80", &target, NULL) != APQ_OK;
}

static int remove_cache(void **state) {
  (void)state;
  char *command = apq__format("rm -rf '%s'", cache);
  int failed = system(command);
  apq__free(command);
  apq__free(cache);
  return failed;
}

static char *object_file(const apq__object *object) {
  return apq__format("%s/objects/%s", cache, object->sha256);
}

static void objects_come_from_the_cache(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__object first, second, other;
  check_ok(apq__compile(good, &target, cache, &first, &error), &error);
  assert_int_equal(first.from_cache, 0);
  assert_true(first.seconds > 0);
  check_ok(apq__compile(good, &target, cache, &second, &error), &error);
  assert_int_equal(second.from_cache, 1);
  assert_true(second.seconds >= 0 && second.seconds <= 0);
  assert_string_equal(first.sha256, second.sha256);
  assert_int_equal(first.size, second.size);
  assert_memory_equal(first.image, second.image, first.size);
  check_ok(apq__compile("int answer(void) { return 43; }\n", &target, cache, &other, &error),
           &error);
  assert_int_equal(other.from_cache, 0);
  assert_string_not_equal(first.sha256, other.sha256);
  apq__object_free(&other);
  apq__target ampere = target;
  check_ok(apq__target_emulated("sm_86", &ampere, &error), &error);
  check_ok(apq__compile(good, &ampere, NULL, &other, &error), &error);
  assert_string_not_equal(first.sha256, other.sha256);
  apq__object_free(&other);
  apq__object_free(&first);
  apq__object_free(&second);
  apq__object_free(&second);
  apq__object_free(NULL);
}

/* Cut short, one bit changed, emptied, replaced by a folder. */
static void a_damaged_cache_counts_as_absent(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__object object, again;
  check_ok(apq__compile(good, &target, cache, &object, &error), &error);
  char *path = object_file(&object), *data = NULL;
  size_t size = 0;
  check_ok(apq__read_file(path, &data, &size, &error), &error);
  for (int damage = 0; damage < 4; damage++) {
    data[size / 2] = (char)(data[size / 2] ^ (damage == 1));
    size_t kept = damage == 0 ? size - 1 : damage == 2 ? 0 : size;
    check_ok(apq__write_file(path, data, kept, &error), &error);
    data[size / 2] = (char)(data[size / 2] ^ (damage == 1));
    if (damage == 3) assert_int_equal(unlink(path) || mkdir(path, 0700), 0);
    check_ok(apq__compile(good, &target, cache, &again, &error), &error);
    assert_int_equal(again.from_cache, 0);
    apq__object_free(&again);
    if (damage == 3) assert_int_equal(rmdir(path), 0);
    if (damage == 3) continue;
    check_ok(apq__compile(good, &target, cache, &again, &error), &error);
    assert_int_equal(again.from_cache, 1);
    apq__object_free(&again);
  }
  apq__free(data);
  apq__free(path);
  apq__object_free(&object);
}

static void an_unusable_cache_is_no_error(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  char *file = apq__format("%s/file", cache), *below = apq__format("%s/file/cache", cache);
  check_ok(apq__write_file(file, "", 0, &error), &error);
  const char *const folders[] = {below, "/proc/apq", NULL};
  for (int i = 0; i < 3; i++) {
    check_ok(apq__compile(good, &target, folders[i], &object, &error), &error);
    assert_int_equal(object.from_cache, 0);
    apq__object_free(&object);
  }
  apq__free(below);
  apq__free(file);
}

static void a_wrong_source_is_reported_with_its_log(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  const char *source = "int a;\nint f(void) { return b; }\nint g(void) { return c; }\n";
  assert_int_equal(apq__compile(source, &target, cache, &object, &error), APQ_COMPILE);
  assert_string_equal(error.stage, "compile");
  assert_non_null(strstr(error.message, ":2:"));
  assert_non_null(error.log);
  assert_non_null(strstr(error.log, ":2:"));
  assert_non_null(strstr(error.log, ":3:"));
  assert_null(object.image);
  apq_error_clear(&error);
  assert_int_equal(
      apq__compile("int f(void) { return missing(1); }\n", &target, cache, &object, &error),
      APQ_COMPILE);
  apq_error_clear(&error);
}

static void a_missing_compiler_is_named(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  char version[160];
  static const char *const programs[] = {"/nonexistent/cc", "no-such-program", "false",
                                         "/dev/null"};
  for (int i = 0; i < 4; i++) {
    setenv("APQ_CC", programs[i], 1);
    assert_int_equal(apq__compile(good, &target, NULL, &object, &error), APQ_NO_COMPILER);
    assert_non_null(strstr(error.message, programs[i]));
    assert_int_equal(apq__compiler_version(&target, version, sizeof version, &error),
                     APQ_NO_COMPILER);
  }
  setenv("APQ_CC", "cc", 1);
  check_ok(apq__compiler_version(&target, version, sizeof version, &error), &error);
  unsetenv("APQ_CC");
  char unnamed[160];
  check_ok(apq__compiler_version(&target, unnamed, sizeof unnamed, &error), &error);
  assert_string_equal(version, unnamed);
  assert_true(strlen(version) > 4);
  apq_error_clear(&error);
}

/* Whatever becomes of a compilation, its temporary files are gone; they were where TMPDIR says. */
static void nothing_is_left_behind(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  apq__object object;
  char *folder = apq__format("%s/temporary", cache);
  check_ok(apq__make_dirs(folder, &error), &error);
  setenv("TMPDIR", folder, 1);
  assert_string_equal(apq__temp_dir(), folder);
  check_ok(apq__compile(good, &target, NULL, &object, &error), &error);
  apq__object_free(&object);
  assert_int_equal(apq__compile("int", &target, NULL, &object, &error), APQ_COMPILE);
  apq_error_clear(&error);
  assert_int_equal(rmdir(folder), 0); /* only an empty folder can be removed */
  check_ok(apq__compile(good, &target, NULL, &object, &error), &error); /* in another place */
  apq__object_free(&object);
  unsetenv("TMPDIR");
  apq__free(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(objects_come_from_the_cache),
      cmocka_unit_test(a_damaged_cache_counts_as_absent),
      cmocka_unit_test(an_unusable_cache_is_no_error),
      cmocka_unit_test(a_wrong_source_is_reported_with_its_log),
      cmocka_unit_test(a_missing_compiler_is_named),
      cmocka_unit_test(nothing_is_left_behind),
  };
  return cmocka_run_group_tests(tests, make_cache, remove_cache);
}
