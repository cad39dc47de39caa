#include "gemm_args.h"

#include <string.h>

#include "activation.h"

void apq__gate_args(apq_activation activation, apq_gemm_args *args) {
  const apq__gate *gate = apq__activation_gate(activation);
  args->gated = 0;
  if (!gate) return;
  enum { TERMS = sizeof gate->term / sizeof gate->term[0] };
  args->gated = 2;
  for (int i = 1; i < TERMS; i++)
    if (gate->term[i] != 0) args->gated = 1;
  _Static_assert(sizeof args->gate == sizeof gate->term, "the kernels' polynomial is the gate's");
  memcpy(args->gate, gate->term, sizeof args->gate);
  args->gate_limit = gate->limit;
}
