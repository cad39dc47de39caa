/* Checks a kernel against the CPU reference, bit for bit, before it may be timed or shipped. */
#ifndef APQ_VERIFY_H
#define APQ_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"
#include "device.h"

typedef struct apq__verify_report {
  int products;               /* launches compared */
  long long outputs;          /* output elements compared */
  double seconds;             /* spent, compile not counted */
  int registers, local_bytes; /* of the kernel, as the device reports them */
} apq__verify_report;

/* Verifies one compiled kernel.  A product: small shapes derived from the config (1x1x1, one less
 * and one more than a tile, K off the multiples of 128, several K tiles) with random, all-ones and
 * sparse codes, every affine form, random scales, zero points and bias, into poisoned output
 * between canaries; then, unless the device is emulated, `problem` itself (may be NULL: small
 * shapes only): int32 results by Freivalds' check modulo 2^32, floating ones on random rows and
 * every tile corner. MISMATCH names the shape, data, element, value and expected value;
 * KERNEL_FAULT and DEVICE are the device's.  `report` may be NULL. */
apq_status apq__verify_image(apq__device *device, const apq__config *config,
                             const apq__problem *problem, const void *image, size_t size,
                             uint64_t seed, apq__verify_report *report, apq_error *error);

/* A kernel already loaded (problem_data.h): the small shapes alone of a product, all of a pack
 * kernel. Adds to `report`. */
struct apq__test_kernel;
apq_status apq__verify_kernel(const struct apq__test_kernel *kernel, uint64_t seed,
                              apq__verify_report *report, apq_error *error);

/* The same from the config alone: generates and compiles it first (cache_dir may be NULL).  A
 * `pack` config is verified against apq__reference_quantize and the host packers: ragged rows,
 * every format, zero rows, infinities and NaN, row strides; `problem` is unused then. */
apq_status apq__verify_config(apq__device *device, const apq__config *config,
                              const apq__problem *problem, const char *cache_dir, uint64_t seed,
                              apq__verify_report *report, apq_error *error);

#endif
