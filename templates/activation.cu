/* ---- activations: apq_gate_args of kernel_abi.h, in the operations of apq__activate ---- */

/* y / (1 + 2^-t), t = factor * y: 2^-t = 2^n 2^f, |f| <= 1/2; adding 1.5 * 2^23 leaves n in the low
 * bits.  The coefficients are a minimax fit of 2^f, to 1e-7.  t ends at 125, where 1 is all that is
 * left of the sum; below -125 the quotient is 0, so that neither power leaves the normal floats. */
APQ_FUNCTION float apq_apply_gate(float y, float factor) {
  float t = apq_min(apq_mul(factor, y), 125.0f);
  float whole = apq_add(12582912.0f, -t);
  float f = apq_add(-t, -apq_add(whole, -12582912.0f));
  float p = apq_fma(1.32695551e-3f, f, 9.6712932e-3f);
  p = apq_fma(p, f, 5.55071086e-2f);
  p = apq_fma(p, f, 0.240222469f);
  p = apq_fma(p, f, 0.693147004f);
  p = apq_fma(p, f, 1.0f);
  float power = apq_bits_float(apq_float_bits(p) + (apq_float_bits(whole) << 23));
  float result = apq_mul(y, apq_reciprocal(apq_add(1.0f, power)));
  return t < -125.0f ? 0.0f : result;
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
