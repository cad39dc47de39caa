/* ---- activations: apq_gate_args of kernel_abi.h, in the operations of apq__activate ---- */

/* exp(-a) for a >= 0: 2^-n exp(r), |r| <= ln(2)/2, and 0 from 86 on, where 2^-n nears the smallest
 * normal float.  Adding 1.5 * 2^23 leaves -n in the low bits.  The product of n and the first part
 * of ln 2 is exact; the coefficients are a minimax fit of (exp(r) - 1 - r) / r^2, to 7e-8. */
APQ_FUNCTION float apq_exp_minus(float a) {
  float whole = apq_fma(a, -1.44269504f, 12582912.0f);
  apq_u32 exponent = apq_float_bits(whole) << 23;
  whole = apq_add(whole, -12582912.0f);
  float r = apq_fma(whole, -1.42860677e-6f, apq_fma(whole, -0.693145752f, -a));
  float p = apq_fma(1.39269181e-3f, r, 8.36376702e-3f);
  p = apq_fma(p, r, 4.16665502e-2f);
  p = apq_fma(p, r, 0.166665734f);
  p = apq_fma(p, r, 0.5f);
  p = apq_fma(apq_fma(p, r, 1.0f), r, 1.0f);
  return a < 86.0f ? apq_bits_float(apq_float_bits(p) + exponent) : 0.0f;
}

/* y / (1 + exp(-t)), t = factor * y.  For negative t it is y exp(t) / (1 + exp(t)), so that no
 * exponential overflows. */
APQ_FUNCTION float apq_apply_gate(float y, float factor) {
  float t = apq_mul(factor, y), e = apq_exp_minus(apq_abs(t));
  /* -infinity counts as the lowest number: times 0 it would be NaN. */
  float top = t < 0.0f ? apq_mul(apq_max(y, -3.402823466e38f), e) : y;
  return apq_mul(top, apq_reciprocal(apq_add(1.0f, e)));
}

APQ_FUNCTION float apq_gate_factor(const apq_gate_args *gate, float y) {
  float z = apq_min(apq_mul(y, y), gate->limit), t = gate->term[9];
  APQ_UNROLL
  for (int i = 8; i >= 0; i--) t = apq_fma(t, z, gate->term[i]);
  return t;
}

APQ_FUNCTION float apq_activate(const apq_gate_args *gate, float y) {
  return apq_apply_gate(y, gate->kind == 2 ? gate->term[0] : apq_gate_factor(gate, y));
}

/* Eight values at once: without branches between them their long chains of operations run side by
 * side. */
APQ_FUNCTION void apq_activate_eight(const apq_gate_args *gate, float y[8]) {
  if (gate->kind == 2) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++) y[i] = apq_apply_gate(y[i], gate->term[0]);
    return;
  }
  APQ_UNROLL
  for (int i = 0; i < 8; i++) y[i] = apq_apply_gate(y[i], apq_gate_factor(gate, y[i]));
}
