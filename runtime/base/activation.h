/* Activations: y / (1 + 2^-t) with an odd polynomial t of y for each of them, so that kernels
 * compute all by one text (templates/gemm_epilogue.cu). */
#ifndef APQ_ACTIVATION_H
#define APQ_ACTIVATION_H

#include "apq.h"

enum { APQ__GATE_TERMS = 10 };

/* t = y (term[0] + term[1] z + ... + term[9] z^9), z = min(y^2, limit). */
typedef struct apq__gate {
  float term[APQ__GATE_TERMS];
  float limit;
} apq__gate;

/* NULL for APQ_ACTIVATION_NONE and for what is no activation. */
const apq__gate *apq__activation_gate(apq_activation activation);

/* The activation of one value, operation by operation as kernels do it. */
float apq__activate(apq_activation activation, float y);

/* An input of a product: activation(gate) * up, rounded to `type`. */
float apq__gated_input(apq_activation activation, float gate, float up, apq_dtype type);

#endif
