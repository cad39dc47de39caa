/* The linear layer on an emulated device. */
#include "linear_cases.h"

static int open_context(void **state) {
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  *state = open_device("emu:sm_90a", APQ_BINARY_DIR "/no-such.db");
  return 0;
}

static int close_context(void **state) {
  apq_context_close(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {LINEAR_CASES};
  return cmocka_run_group_tests(tests, open_context, close_context);
}
