/* Statuses, error detail, the allocator hook and texts, with every allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "failing_allocator.h"
#include "status.h"

static void statuses_have_names_and_texts(void **state) {
  (void)state;
  assert_string_equal(apq_status_name(APQ_OK), "OK");
  assert_string_equal(apq_status_name(APQ_OUT_OF_RANGE), "OUT_OF_RANGE");
  for (int i = 0; i < APQ_STATUS_COUNT; i++) {
    assert_true(strlen(apq_status_name((apq_status)i)) > 1);
    assert_true(strlen(apq_status_text((apq_status)i)) > 4);
  }
  assert_string_equal(apq_status_name(APQ_STATUS_COUNT), "UNKNOWN");
  assert_string_equal(apq_status_text((apq_status)-1), "unknown status");
  assert_string_equal(apq_version(), "0.1.0");
}

static void errors_hold_the_latest_failure(void **state) {
  (void)state;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__fail(&error, APQ_IO, "file", "cannot read '%s'", "x"), APQ_IO);
  assert_int_equal(error.status, APQ_IO);
  assert_string_equal(error.stage, "file");
  assert_string_equal(error.message, "cannot read 'x'");
  apq__error_prefix(&error, "line %d", 3);
  assert_string_equal(error.message, "line 3: cannot read 'x'");
  apq__error_take_log(&error, apq__strdup("whole log"));
  assert_string_equal(error.log, "whole log");
  /* The old message may be an argument of the new one. */
  assert_int_equal(
      apq__fail(&error, APQ_PARSE, "a stage name too long", "again: %s", error.message), APQ_PARSE);
  assert_string_equal(error.message, "again: line 3: cannot read 'x'");
  assert_string_equal(error.stage, "a stage name to");
  assert_null(error.log);
  apq__error_take_log(&error, apq__strdup("one"));
  apq__error_take_log(&error, apq__strdup("two"));
  assert_string_equal(error.log, "two");
  apq_error_clear(&error);
  assert_int_equal(error.status, APQ_OK);
  assert_string_equal(error.message, "");
}

static void long_messages_are_cut(void **state) {
  (void)state;
  char text[2000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  apq_error error = APQ_ERROR_INIT;
  apq__fail(&error, APQ_IO, "file", "%s", text);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  apq__error_prefix(&error, "prefix");
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  assert_memory_equal(error.message, "prefix: xxx", 11);
}

static void a_missing_error_object_is_fine(void **state) {
  (void)state;
  assert_int_equal(apq__fail(NULL, APQ_IO, "file", "nobody listens"), APQ_IO);
  apq__error_take_log(NULL, apq__strdup("freed at once"));
  apq__error_prefix(NULL, "x");
  apq_error_clear(NULL);
}

static void errno_values_map_to_statuses(void **state) {
  (void)state;
  assert_int_equal(apq__status_from_errno(ENOENT), APQ_NOT_FOUND);
  assert_int_equal(apq__status_from_errno(EACCES), APQ_READ_ONLY);
  assert_int_equal(apq__status_from_errno(EROFS), APQ_READ_ONLY);
  assert_int_equal(apq__status_from_errno(ENOMEM), APQ_OUT_OF_MEMORY);
  assert_int_equal(apq__status_from_errno(EIO), APQ_IO);
}

static void the_allocator_hook_sees_everything(void **state) {
  (void)state;
  failing_allocator count = {0};
  assert_int_equal(failing_install(&count), APQ_OK);
  int *numbers = apq__calloc(10, sizeof *numbers);
  for (int i = 0; i < 10; i++) assert_int_equal(numbers[i], 0);
  numbers = apq__realloc(numbers, 1000 * sizeof *numbers);
  void *empty = apq__alloc(0);
  assert_non_null(empty);
  char *copy = apq__strndup("abcdef", 3);
  assert_string_equal(copy, "abc");
  assert_int_equal(count.live, 3);
  apq__free(numbers);
  apq__free(empty);
  apq__free(copy);
  apq__free(NULL);
  assert_int_equal(count.live, 0);
  assert_null(apq__calloc(SIZE_MAX / 2, 3));
  apq_allocator incomplete = {failing_allocate, failing_reallocate, NULL, NULL};
  assert_int_equal(apq_set_allocator(&incomplete), APQ_INVALID_ARGUMENT);
  assert_int_equal(apq_set_allocator(NULL), APQ_OK);
}

/* Bytes are bytes: a zero among them neither ends nor shortens the text. */
static void bytes_may_be_zero(void **state) {
  (void)state;
  apq__text text = {0};
  apq__text_add_bytes(&text, "a\0b", 3);
  apq__text_add(&text, "%s", "c");
  assert_int_equal(text.length, 4);
  assert_memory_equal(text.data, "a\0bc", 5);
  apq__text_free(&text);
}

static void texts_grow(void **state) {
  (void)state;
  apq__text text = {0};
  for (int i = 0; i < 1000; i++) apq__text_add(&text, "%d,", i);
  apq__text_add_bytes(&text, "endless", 3);
  assert_false(text.failed);
  assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 3);
  assert_int_equal(strlen(text.data), text.length);
  assert_memory_equal(text.data, "0,1,2,", 6);
  assert_string_equal(text.data + text.length - 7, "999,end");
  apq__text_free(&text);
  assert_null(text.data);
}

/* 1 when all went well, 0 when memory ran out; either way nothing may stay allocated. */
static int use_memory(void) {
  apq__text text = {0};
  for (int i = 0; i < 100; i++) apq__text_add(&text, "line %d\n", i);
  char *formatted = apq__format("%s%s", "a", "b");
  char *copy = apq__strdup("copy");
  void *zeroed = apq__calloc(3, 4);
  int good = !text.failed && formatted && copy && zeroed;
  if (text.failed) {
    /* A failed text stays failed, and what it has is still a string. */
    apq__text_add(&text, "more");
    assert_true(text.failed);
    if (text.data) assert_int_equal(strlen(text.data), text.length);
  }
  apq__text_free(&text);
  apq__free(formatted);
  apq__free(copy);
  apq__free(zeroed);
  return good;
}

static void each_failing_allocation_is_survived(void **state) {
  (void)state;
  int good = 0;
  long fail_at = 1;
  for (; !good; fail_at++) {
    failing_allocator count = {0, fail_at, 0};
    failing_install(&count);
    good = use_memory();
    apq_set_allocator(NULL);
    assert_int_equal(count.live, 0);
    assert_true(good == (count.calls < fail_at));
  }
  assert_true(fail_at > 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statuses_have_names_and_texts),
      cmocka_unit_test(errors_hold_the_latest_failure),
      cmocka_unit_test(long_messages_are_cut),
      cmocka_unit_test(a_missing_error_object_is_fine),
      cmocka_unit_test(errno_values_map_to_statuses),
      cmocka_unit_test(the_allocator_hook_sees_everything),
      cmocka_unit_test(texts_grow),
      cmocka_unit_test(bytes_may_be_zero),
      cmocka_unit_test(each_failing_allocation_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
