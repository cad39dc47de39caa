/* What device.c needs of the two backends. */
#ifndef APQ_DEVICE_IMPL_H
#define APQ_DEVICE_IMPL_H

#include "device.h"

/* The emulated device posing as a GPU of this arch ("sm_80").  NOT_FOUND lists the archs. */
apq_status apq__emu_open(const char *arch, apq__device **out, apq_error *error);

#ifdef APQ_HAVE_CUDA
/* Opens GPU `ordinal` through the driver.  NO_DEVICE says what is missing: the driver library, the
 * GPU, or that ordinal. */
apq_status apq__cuda_open(int ordinal, apq__device **out, apq_error *error);

/* GPUs the driver reports; 0 without a driver, and then `error` says why.  Creates no context. */
int apq__cuda_count(apq_error *error);
#endif

#endif
