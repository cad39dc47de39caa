#include "gemm_args.h"

#include <string.h>

#include "activation.h"

void apq__gate_args(apq_activation activation, apq_gemm_args *args) {
  const apq__gate *gate = apq__activation_gate(activation);
  args->gated = gate != NULL;
  if (!gate) return;
  _Static_assert(sizeof args->gate == sizeof gate->term, "the kernels' polynomial is the gate's");
  memcpy(args->gate, gate->term, sizeof args->gate);
  args->gate_limit = gate->limit;
}
