/* Parts of apq_gemm_args that plans and the tuner fill alike. */
#ifndef APQ_GEMM_ARGS_H
#define APQ_GEMM_ARGS_H

#include "apq.h"
#include "kernel_abi.h"

/* Sets gated, gate and gate_limit. */
void apq__gate_args(apq_activation activation, apq_gemm_args *args);

#endif
