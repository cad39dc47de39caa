/* Activations against their definitions in double precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "activation.h"

static double exact(apq_activation activation, double y) {
  const double tanh_argument = sqrt(2 / acos(-1)) * (y + 0.044715 * y * y * y);
  switch (activation) {
  case APQ_ACTIVATION_SILU:
    return y < -700 ? 0 : y / (1 + exp(-y));
  case APQ_ACTIVATION_GELU:
    return y * erfc(-y / sqrt(2)) / 2;
  case APQ_ACTIVATION_GELU_TANH:
    /* (1 + tanh u) / 2 without its cancellation. */
    return tanh_argument < -350 ? 0 : y / (1 + exp(-2 * tanh_argument));
  default:
    return y;
  }
}

/* As apq.h promises. */
static void activations_are_close_to_their_definition(void **state) {
  (void)state;
  for (int a = 0; a < APQ_ACTIVATION_COUNT; a++)
    for (int i = -120000; i <= 120000; i++) {
      float y = (float)i * 1e-4f;
      double expected = exact((apq_activation)a, y), got = apq__activate((apq_activation)a, y);
      double limit = 0x1p-18 * fabs(expected) + 5e-9;
      if (a == APQ_ACTIVATION_NONE) limit = 0;
      if (!(fabs(got - expected) <= limit))
        fail_msg("activation %d of %.9g: %.9g, expected %.9g", a, (double)y, got, expected);
    }
}

static void activations_of_extremes(void **state) {
  (void)state;
  static const float high[] = {1e3f, 1e20f, FLT_MAX, INFINITY};
  for (int a = APQ_ACTIVATION_SILU; a < APQ_ACTIVATION_COUNT; a++) {
    apq_activation activation = (apq_activation)a;
    for (int i = 0; i < 4; i++) {
      assert_true(apq__activate(activation, high[i]) == high[i]);
      assert_true(apq__activate(activation, -high[i]) == 0);
    }
    assert_true(isnan(apq__activate(activation, NAN)));
    assert_true(apq__activate(activation, 0) == 0);
    assert_true(fabsf(apq__activate(activation, FLT_MIN) - FLT_MIN / 2) < FLT_MIN * 1e-6f);
  }
}

static void what_is_no_activation_has_no_gate(void **state) {
  (void)state;
  assert_null(apq__activation_gate(APQ_ACTIVATION_NONE));
  assert_null(apq__activation_gate(APQ_ACTIVATION_COUNT));
  assert_non_null(apq__activation_gate(APQ_ACTIVATION_GELU));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(activations_are_close_to_their_definition),
      cmocka_unit_test(activations_of_extremes),
      cmocka_unit_test(what_is_no_activation_has_no_gate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
