#include "cuda_impl.h"

#include "status.h"

apq_status apq__cuda_alloc(apq__device *device, size_t bytes, void **out, apq_error *error) {
  CUdeviceptr memory = 0;
  *out = NULL;
  /* The driver refuses 0 bytes; a matrix may need none. */
  apq_status status = APQ__CUDA_RUN(device, error, MemAlloc, &memory, bytes ? bytes : 1);
  if (status)
    apq__error_prefix(error, "%zu bytes of device memory", bytes);
  else
    *out = (void *)(uintptr_t)memory;
  return status;
}

void apq__cuda_release(apq__device *device, void *memory) {
  if (memory) (void)APQ__CUDA_RUN(device, NULL, MemFree, apq__cuda_address(memory));
}

apq_status apq__cuda_to_device(apq__device *device, void *to, const void *from, size_t bytes,
                               apq_error *error) {
  if (!bytes) return APQ_OK;
  apq_status status = APQ__CUDA_RUN(device, error, MemcpyHtoD, apq__cuda_address(to), from, bytes);
  if (status) return status;
  /* From pageable memory the copy may return once the bytes are staged; a caller's non-blocking
   * stream would not wait for the rest. */
  return APQ__CUDA_RUN(device, error, StreamSynchronize, NULL);
}

apq_status apq__cuda_to_host(apq__device *device, void *to, const void *from, size_t bytes,
                             apq_error *error) {
  if (!bytes) return APQ_OK;
  return APQ__CUDA_RUN(device, error, MemcpyDtoH, to, apq__cuda_address(from), bytes);
}

apq_status apq__cuda_fill(apq__device *device, void *to, int byte, size_t bytes, void *stream,
                          apq_error *error) {
  if (!bytes) return APQ_OK;
  return APQ__CUDA_RUN(device, error, MemsetD8Async, apq__cuda_address(to), (unsigned char)byte,
                       bytes, stream);
}

/* The driver knows nothing of an address that it did not allocate or register; managed memory and
 * registered host memory have the ordinal of some device, and every device may read them. */
int apq__cuda_owns(apq__device *device, const void *memory) {
  const apq__cuda_driver *driver = apq__cuda_of(device)->driver;
  const CUdeviceptr address = apq__cuda_address(memory);
  unsigned type = 0;
  int is_managed = 0, ordinal = -1;
  CUdevice owner = -1;
  if (driver->PointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address)) return 0;
  if (type != CU_MEMORYTYPE_DEVICE) return 1;
  if (driver->PointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address) ||
      is_managed)
    return 1;
  if (driver->PointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address) ||
      driver->DeviceGet(&owner, ordinal))
    return 1;
  return owner == apq__cuda_of(device)->handle;
}
