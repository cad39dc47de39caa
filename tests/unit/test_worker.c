/* Messages between coordinator and worker, a worker fed nonsense, and what happens when memory is
 * short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "failing_allocator.h"
#include "host.h"
#include "problem_data.h"
#include "spot_check.h"
#include "status.h"
#include "worker.h"
#include "worker_process.h"

/* ---- messages ---- */

static void fields_round_trip(void **state) {
  (void)state;
  const unsigned char bytes[] = {0, 1, 0, 255, 0};
  apq__bytes body = {0};
  apq__message message = {.kind = APQ__MSG_LOAD};
  size_t size;
  apq__put_i32(&body, -7);
  apq__put_i64(&body, INT64_MIN);
  apq__put_f64(&body, 0.1);
  apq__put_bytes(&body, bytes, sizeof bytes);
  apq__put_string(&body, "text");
  apq__put_string(&body, NULL);
  message.data = body.data;
  message.size = body.length;
  assert_int_equal(apq__get_i32(&message), -7);
  assert_true(apq__get_i64(&message) == INT64_MIN);
  assert_float_equal(apq__get_f64(&message), 0.1, 0);
  assert_memory_equal(apq__get_bytes(&message, &size), bytes, sizeof bytes);
  assert_int_equal(size, sizeof bytes);
  assert_string_equal(apq__get_string(&message), "text");
  assert_string_equal(apq__get_string(&message), "");
  assert_int_equal(message.bad, 0);
  /* Past the end there are zeros, and it is noticed. */
  assert_int_equal(apq__get_i32(&message), 0);
  assert_int_equal(message.bad, 1);
  apq__bytes_free(&body);
}

static void an_error_travels_whole(void **state) {
  (void)state;
  apq__bytes body = {0};
  apq_error error = APQ_ERROR_INIT, copy = APQ_ERROR_INIT;
  apq__fail(&error, APQ_COMPILE, "compile", "line %d", 3);
  apq__error_take_log(&error, apq__format("a\nlong\nlog"));
  apq__put_status(&body, error.status, &error);
  apq__message message = {APQ__MSG_REPLY, body.data, body.length, 0, 0};
  assert_int_equal(apq__get_status(&message, &copy), APQ_COMPILE);
  assert_string_equal(copy.stage, "compile");
  assert_string_equal(copy.message, "line 3");
  assert_string_equal(copy.log, "a\nlong\nlog");
  /* Cut anywhere, it is refused rather than misread. */
  for (size_t cut = 0; cut < body.length; cut++) {
    apq__message part = {APQ__MSG_REPLY, body.data, cut, 0, 0};
    assert_int_equal(apq__get_status(&part, NULL), APQ_CORRUPT);
  }
  apq__bytes_free(&body);
  apq_error_clear(&error);
  apq_error_clear(&copy);
}

static void frames_are_taken_whole(void **state) {
  (void)state;
  apq__bytes body = {0}, inbox = {0};
  apq__message message;
  int pair[2];
  unsigned char raw[256];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  apq__put_string(&body, "one");
  assert_int_equal(apq__message_send(pair[0], APQ__MSG_OPEN, &body, 0, NULL), APQ_OK);
  ssize_t length = recv(pair[1], raw, sizeof raw, 0);
  assert_true(length > 8);
  for (ssize_t i = 0; i < length; i++) {
    assert_int_equal(apq__message_take(&inbox, &message), 0);
    apq__bytes_add(&inbox, raw + i, 1);
  }
  assert_int_equal(apq__message_take(&inbox, &message), 1);
  assert_string_equal(apq__get_string(&message), "one");
  apq__message_free(&message);
  /* An unknown kind, and a size no message has. */
  const uint32_t wrong[2][2] = {{1000, 0}, {APQ__MSG_OPEN, 0xffffffffu}};
  for (int i = 0; i < 2; i++) {
    inbox.length = 0;
    apq__bytes_add(&inbox, wrong[i], sizeof wrong[i]);
    assert_int_equal(apq__message_take(&inbox, &message), -1);
  }
  /* The other end closed between frames, and within one. */
  assert_int_equal(send(pair[0], raw, (size_t)length - 1, 0), length - 1);
  close(pair[0]);
  assert_int_equal(apq__message_receive(pair[1], &message, NULL), APQ_CORRUPT);
  assert_int_equal(apq__message_receive(pair[1], &message, NULL), APQ_NOT_FOUND);
  close(pair[1]);
  apq__bytes_free(&body);
  apq__bytes_free(&inbox);
}

static void a_reader_that_stalls_is_a_timeout(void **state) {
  (void)state;
  apq__bytes body = {0};
  int pair[2];
  static unsigned char much[4 << 20];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  apq__put_bytes(&body, much, sizeof much);
  assert_int_equal(apq__message_send(pair[0], APQ__MSG_LOAD, &body, apq__now() + 0.2, NULL),
                   APQ_TIMEOUT);
  close(pair[1]);
  assert_int_equal(apq__message_send(pair[0], APQ__MSG_LOAD, &body, 0, NULL), APQ_IO);
  close(pair[0]);
  apq__bytes_free(&body);
}

/* ---- a worker ---- */

/* Asks and returns the answer's status. */
static apq_status ask(apq__worker_process *worker, apq__message_kind kind, apq__bytes *body,
                      apq_error *error) {
  apq__message message;
  int which;
  assert_int_equal(apq__worker_ask(worker, kind, 0, body, 60, error), APQ_OK);
  apq__worker_event event = apq__worker_wait(&worker, 1, 61, NULL, &which, &message, error);
  if (event != APQ__WORKER_ANSWER) fail_msg("no answer: %s", error->message);
  apq_status status = apq__get_status(&message, error);
  apq__message_free(&message);
  return status;
}

static void nonsense_is_answered_and_survived(void **state) {
  (void)state;
  apq__worker_process worker;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__worker_start(&worker, NULL, &error), APQ_OK);
  uint64_t seed = 4;
  for (int i = 0; i < 300; i++) {
    apq__bytes body = {0};
    int count = (int)(apq__random(&seed) % 6);
    for (int field = 0; field < count; field++) {
      uint64_t word = apq__random(&seed);
      if (word % 3 == 0)
        apq__put_i32(&body, (int32_t)(word >> 40));
      else if (word % 3 == 1)
        apq__put_string(&body, "k=1,m=1,n=1,out=i32,p=1,q=1");
      else
        apq__bytes_add(&body, &word, sizeof word);
    }
    apq__message_kind kind = (apq__message_kind)(apq__random(&seed) % APQ__MSG_COUNT);
    assert_int_not_equal(ask(&worker, kind, &body, &error), APQ_OK);
  }
  /* It is still of use. */
  apq__bytes body = {0};
  apq__put_string(&body, "emu:sm_80");
  assert_int_equal(ask(&worker, APQ__MSG_OPEN, &body, &error), APQ_OK);
  apq_error_clear(&error);
  apq__worker_stop(&worker);
}

static void a_dead_worker_is_told_with_its_last_words(void **state) {
  (void)state;
  apq__worker_process worker, *list = &worker;
  apq__message message;
  apq_error error = APQ_ERROR_INIT;
  int which;
  apq__bytes body = {0};
  assert_int_equal(apq__worker_start(&worker, NULL, &error), APQ_OK);
  assert_int_equal(kill(worker.pid, SIGKILL), 0);
  apq__put_string(&body, "emu:sm_80");
  assert_int_equal(apq__worker_ask(&worker, APQ__MSG_OPEN, 17, &body, 5, &error), APQ_OK);
  assert_int_equal(apq__worker_wait(&list, 1, 6, NULL, &which, &message, &error), APQ__WORKER_LOST);
  assert_string_equal(error.stage, "crash");
  assert_non_null(strstr(error.message, "signal 9"));
  assert_int_equal(worker.tag, 17);
  assert_int_equal(worker.pid, 0);

  /* A stopped one hangs. */
  assert_int_equal(apq__worker_start(&worker, NULL, &error), APQ_OK);
  assert_int_equal(kill(worker.pid, SIGSTOP), 0);
  body = (apq__bytes){0};
  apq__put_string(&body, "emu:sm_80");
  assert_int_equal(apq__worker_ask(&worker, APQ__MSG_OPEN, 0, &body, 0.3, &error), APQ_OK);
  assert_int_equal(apq__worker_wait(&list, 1, 6, NULL, &which, &message, &error), APQ__WORKER_LOST);
  assert_string_equal(error.stage, "timeout");
  apq_error_clear(&error);
}

/* ---- memory ---- */

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state) {
  (void)state;
  apq__problem problem = {2, 3, 20, 12, 130, APQ_DTYPE_I32, 0, 0};
  for (long fail_at = 1;; fail_at++) {
    failing_allocator count = {0, fail_at, 0};
    assert_int_equal(failing_install(&count), APQ_OK);
    apq__spot_check check;
    apq__bytes body = {0};
    apq_error error = APQ_ERROR_INIT;
    apq_status status = apq__spot_check_make(&problem, 3, &check, &error);
    if (status == APQ_OK) {
      apq__put_bytes(&body, check.host.w_codes, 100);
      status = body.failed ? APQ_OUT_OF_MEMORY : APQ_OK;
      apq__spot_check_free(&check);
    }
    apq__bytes_free(&body);
    apq_error_clear(&error);
    assert_int_equal(apq_set_allocator(NULL), APQ_OK);
    assert_int_equal(count.live, 0);
    if (status == APQ_OK) {
      assert_true(fail_at > 8);
      return;
    }
    assert_int_equal(status, APQ_OUT_OF_MEMORY);
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], APQ__WORKER_VERB) == 0) return apq__worker_main();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fields_round_trip),
      cmocka_unit_test(an_error_travels_whole),
      cmocka_unit_test(frames_are_taken_whole),
      cmocka_unit_test(a_reader_that_stalls_is_a_timeout),
      cmocka_unit_test(nonsense_is_answered_and_survived),
      cmocka_unit_test(a_dead_worker_is_told_with_its_last_words),
      cmocka_unit_test(every_failed_allocation_is_reported_and_leaks_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
