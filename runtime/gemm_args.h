/* Parts of the kernels' arguments that plans and the tuner fill alike. */
#ifndef APQ_GEMM_ARGS_H
#define APQ_GEMM_ARGS_H

#include "apq.h"
#include "kernel_abi.h"

apq_gate_args apq__gate_args(apq_activation activation);

#endif
