/* The pack kernels in front of products, where activations are numbers to be quantized. */
#ifndef APQ_PACKERS_H
#define APQ_PACKERS_H

#include "compile.h"
#include "problem_data.h"

typedef apq_status apq__generate_fn(const apq__config *config, const apq__target *target,
                                    char **source, apq_error *error);
typedef apq_status apq__compile_fn(const char *source, const apq__target *target,
                                   const char *cache_dir, apq__object *object, apq_error *error);

/* Makes (apq__generate, apq__compile or what stands for them; cache_dir may be NULL) and loads the
 * pack kernels of a problem whose input is not packed, as a plan would launch them: from then on
 * apq__prepared_launch packs first.  What the host had packed is overwritten, so that nothing but a
 * pack kernel can have made it.  Nothing to do for packed problems. */
apq_status apq__packers_make(apq__generate_fn *generate, apq__compile_fn *compile,
                             const char *cache_dir, apq__device_data *data, apq_error *error);

#endif
