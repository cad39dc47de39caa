/* One launch of a kernel in the shape that the generator gave it. */
#ifndef APQ_KERNEL_LAUNCH_H
#define APQ_KERNEL_LAUNCH_H

#include "device.h"
#include "generator.h"

/* Launches with `args`, a struct of kernel_abi.h, by value. */
apq_status apq__kernel_launch(apq__device *device, const apq__kernel *kernel,
                              const apq__shape *shape, const void *args, size_t args_size,
                              void *stream, apq_error *error);

/* Launches a product of p x q planes.  Families that copy by tensor maps get the maps of the
 * operands that `args` names; the others get `args` as it is.  `wants_bytes` says that the
 * activations are bytes. */
apq_status apq__product_launch(apq__device *device, const apq__kernel *kernel,
                               const apq__shape *shape, const apq_gemm_args *args, int p, int q,
                               int wants_bytes, void *stream, apq_error *error);

#endif
