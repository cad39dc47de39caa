/* Products through the public interface equal the CPU reference to the last bit, on the emulated
 * device. */
#include "runtime_cases.h"

static int open_context(void **state) {
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  *state = open_device("emu:sm_80", APQ_BINARY_DIR "/no-such.db");
  return 0;
}

static int close_context(void **state) {
  apq_context_close(*state);
  return 0;
}

static void another_arch(void **state) {
  (void)state;
  apq_context *context = open_device("emu:sm_75", APQ_BINARY_DIR "/no-such.db");
  static const product_case rows[] = {
      {2, 2, 9, 20, 150, INT, INT, CODES, CODES, I32, 0},
      {1, 1, 3, 9, 1100, BI, BI, CODES, F16, F16, 0},
  };
  check_all(context, rows, sizeof rows / sizeof rows[0]);
  apq_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      RUNTIME_CASES,
      cmocka_unit_test(another_arch),
  };
  return cmocka_run_group_tests(tests, open_context, close_context);
}
