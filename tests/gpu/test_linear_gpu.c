/* The linear layer on the first GPU. */
#include "linear_cases.h"

int main(void) {
  apq_context *context = NULL;
  apq_error error = APQ_ERROR_INIT;
  const apq_context_options options = {"cuda", APQ_BINARY_DIR "/no-such.db", NULL};
  apq_status status = apq_context_open(&options, &context, &error);
  if (status == APQ_NO_DEVICE) {
    printf("skipped: %s\n", error.message);
    return 77;
  }
  if (status) {
    printf("%s\n", error.message);
    return 1;
  }
  struct CMUnitTest tests[] = {LINEAR_CASES};
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) tests[i].initial_state = context;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  apq_context_close(context);
  return failed;
}
