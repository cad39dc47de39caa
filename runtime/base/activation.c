#include "activation.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#include "format.h"

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

/* exp(-a), a >= 0: templates/activation.cu says how. */
static float exp_minus(float a) {
  const float shift = 12582912.0f;
  float whole = fmaf(a, -1.44269504f, shift) - shift;
  float r = fmaf(whole, -1.42860677e-6f, fmaf(whole, -0.693145752f, -a));
  float p = fmaf(1.39269181e-3f, r, 8.36376702e-3f);
  p = fmaf(p, r, 4.16665502e-2f);
  p = fmaf(p, r, 0.166665734f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(fmaf(p, r, 1.0f), r, 1.0f);
  return a < 86.0f ? ldexpf(p, (int)whole) : 0.0f;
}

float apq__activate(apq_activation activation, float y) {
  const apq__gate *gate = apq__activation_gate(activation);
  if (!gate) return y;
  float z = fminf(y * y, gate->limit), factor = gate->term[APQ__GATE_TERMS - 1];
  for (int i = APQ__GATE_TERMS - 2; i >= 0; i--) factor = fmaf(factor, z, gate->term[i]);
  float t = factor * y, e = exp_minus(fabsf(t));
  float top = t < 0 ? fmaxf(y, -FLT_MAX) * e : y;
  return top * (1.0f / (1.0f + e));
}

float apq__gated_input(apq_activation activation, float gate, float up, apq_dtype type) {
  float rounded;
  apq__store_float(&rounded, type, 0, apq__activate(activation, gate) * up);
  return apq__load_float(&rounded, type, 0);
}
