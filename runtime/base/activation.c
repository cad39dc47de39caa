#include "activation.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

/* GELU_TANH: t = 2 sqrt(2/pi) (y + 0.044715 y^3), since (1 + tanh u) / 2 = 1 / (1 + exp(-2u)).
 * GELU: t is the logit of the normal distribution function; the terms are a fit over |y| <= 6.25 by
 * iterated weighted least squares, which leaves an error of 5.5 (2^-23 |result| + 4e-10).  Beyond
 * the limit t goes on in a straight line, while the result is below 2e-9.  The limit of the others
 * keeps z finite. */
static const apq__gate gates[APQ_ACTIVATION_COUNT] = {
    [APQ_ACTIVATION_SILU] = {{1.0f}, 0.0f},
    [APQ_ACTIVATION_GELU] = {{1.59577244f, 0.0726578278f, -5.81293178e-5f, -1.12814515e-4f,
                              8.15081483e-6f, -2.48488799e-7f, -1.31424834e-9f, 3.50729510e-10f,
                              -1.02292695e-11f, 1.00521921e-13f},
                             39.0625f},
    [APQ_ACTIVATION_GELU_TANH] = {{1.59576912f, 0.0713548163f}, 1e6f},
};

const apq__gate *apq__activation_gate(apq_activation activation) {
  if (activation == APQ_ACTIVATION_NONE || (unsigned)activation >= APQ_ACTIVATION_COUNT)
    return NULL;
  return &gates[activation];
}

/* exp(-a), a >= 0. */
static float exp_minus(float a) {
  a = fminf(a, 104.0f);
  int n = (int)rintf(a * 1.44269504f);
  float r = ((float)n * 0.693145752f + -a) + (float)n * 1.42860677e-6f;
  float p = 1.39269181e-3f;
  p = p * r + 8.36376702e-3f;
  p = p * r + 4.16665502e-2f;
  p = p * r + 0.166665734f;
  p = p * r + 0.5f;
  p = (r * r * p + r) + 1.0f;
  return p * ldexpf(1.0f, -(n / 2)) * ldexpf(1.0f, -(n - n / 2));
}

float apq__activate(apq_activation activation, float y) {
  const apq__gate *gate = apq__activation_gate(activation);
  if (!gate) return y;
  float z = fminf(y * y, gate->limit), t = gate->term[APQ__GATE_TERMS - 1];
  for (int i = APQ__GATE_TERMS - 2; i >= 0; i--) t = t * z + gate->term[i];
  t = t * y;
  float e = exp_minus(fabsf(t));
  float top = t < 0 ? fmaxf(y, -FLT_MAX) * e : y;
  return top / (1.0f + e);
}
