/* One launch of a kernel in the shape that the generator gave it. */
#ifndef APQ_KERNEL_LAUNCH_H
#define APQ_KERNEL_LAUNCH_H

#include "device.h"
#include "generator.h"
#include "map_cache.h"

/* Launches with `args`, a struct of kernel_abi.h, by value. */
apq_status apq__kernel_launch(apq__device *device, const apq__kernel *kernel,
                              const apq__shape *shape, const void *args, size_t args_size,
                              void *stream, apq_error *error);

/* The map through which a shape with `is_tma` copies the weights, p planes, that `args` names. */
apq_status apq__weights_map(apq__device *device, const apq__shape *shape, const apq_gemm_args *args,
                            int p, apq_tensor_map *out, apq_error *error);

/* Launches a product.  Families that copy by tensor maps (is_tma) get `w_map`, of apq__weights_map,
 * and those of the activations, in `form` with q bits, and of the results that
 * `args` names, out of `cache` where there is one; the others get `args` as it is. */
apq_status apq__product_launch(apq__device *device, const apq__kernel *kernel,
                               const apq__shape *shape, const apq_gemm_args *args,
                               const apq_tensor_map *w_map, apq__map_cache *cache, int q,
                               apq__form form, void *stream, apq_error *error);

#endif
