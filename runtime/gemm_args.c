#include "gemm_args.h"

#include <string.h>

#include "activation.h"

apq_gate_args apq__gate_args(apq_activation activation) {
  const apq__gate *gate = apq__activation_gate(activation);
  apq_gate_args args = {.kind = 0};
  if (!gate) return args;
  args.kind = 2;
  for (int i = 1; i < APQ__GATE_TERMS; i++)
    if (gate->term[i] != 0) args.kind = 1;
  _Static_assert(sizeof args.term == sizeof gate->term, "the kernels' polynomial is the gate's");
  memcpy(args.term, gate->term, sizeof args.term);
  args.limit = gate->limit;
  return args;
}
