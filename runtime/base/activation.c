#include "activation.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#include "format.h"

/* t counts in powers of two: exp(-x) = 2^-t, t = x / ln 2.
 * SILU: x = y.  GELU_TANH: x = 2 sqrt(2/pi) (y + 0.044715 y^3), since (1 + tanh u) / 2 =
 * 1 / (1 + exp(-2u)).  GELU: x is the logit of the normal distribution function; the terms are a
 * fit over |y| <= 6.25 by iterated weighted least squares, which leaves an error of 5.5 (2^-23
 * |result| + 4e-10).  Beyond the limit t goes on in a straight line, while the result is below
 * 2e-9.  The limit of the others keeps z finite. */
static const apq__gate gates[APQ_ACTIVATION_COUNT] = {
    [APQ_ACTIVATION_SILU] = {{1.44269502f}, 0.0f},
    [APQ_ACTIVATION_GELU] = {{2.30221295f, 0.10482309f, -8.38628766e-05f, -0.000162756944f,
                              1.17591408e-05f, -3.58493537e-07f, -1.89605953e-09f, 5.0599569e-10f,
                              -1.47577159e-11f, 1.45022476e-13f},
                             39.0625f},
    [APQ_ACTIVATION_GELU_TANH] = {{2.30220819f, 0.102943234f}, 1e6f},
};

const apq__gate *apq__activation_gate(apq_activation activation) {
  if (activation == APQ_ACTIVATION_NONE || (unsigned)activation >= APQ_ACTIVATION_COUNT)
    return NULL;
  return &gates[activation];
}

float apq__activate(apq_activation activation, float y) {
  const apq__gate *gate = apq__activation_gate(activation);
  if (!gate) return y;
  float z = fminf(y * y, gate->limit), factor = gate->term[APQ__GATE_TERMS - 1];
  for (int i = APQ__GATE_TERMS - 2; i >= 0; i--) factor = fmaf(factor, z, gate->term[i]);
  const float shift = 12582912.0f, t = fminf(factor * y, 125.0f);
  if (t < -125.0f) return 0.0f;
  float whole = (shift - t) - shift, f = -t - whole;
  float p = fmaf(1.32695551e-3f, f, 9.6712932e-3f);
  p = fmaf(p, f, 5.55071086e-2f);
  p = fmaf(p, f, 0.240222469f);
  p = fmaf(p, f, 0.693147004f);
  p = fmaf(p, f, 1.0f);
  return y * (1.0f / (1.0f + ldexpf(p, (int)whole)));
}

float apq__gated_input(apq_activation activation, float gate, float up, apq_dtype type) {
  float rounded;
  apq__store_float(&rounded, type, 0, apq__activate(activation, gate) * up);
  return apq__load_float(&rounded, type, 0);
}
