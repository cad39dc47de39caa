/* Making a CUDA device's context current, for code outside the backend that calls a CUDA library
 * (cuBLASLt). */
#ifndef APQ_DEVICE_SCOPE_H
#define APQ_DEVICE_SCOPE_H

#include "apq.h"
#include "device.h"

typedef struct apq__cuda_scope {
  const apq__device *pushed; /* whose context `apq__cuda_leave` takes away again, or NULL */
} apq__cuda_scope;

/* Makes the primary context of `device` (a CUDA device) current in this thread, and puts the
 * previous one back.  Costs one thread-local look-up when it already is current.  Leave accepts a
 * scope whose enter failed. */
apq_status apq__cuda_enter(apq__device *device, apq__cuda_scope *scope, apq_error *error);
void apq__cuda_leave(const apq__cuda_scope *scope);

#endif
