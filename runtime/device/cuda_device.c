#include "device_impl.h"

#include <stdio.h>

#include "alloc.h"
#include "cuda_impl.h"
#include "cuda_nvml.h"
#include "status.h"

static apq_status get_context(apq__cuda_device *cuda, CUcontext *out, apq_error *error) {
  *out = atomic_load_explicit(&cuda->context, memory_order_acquire);
  if (*out) return APQ_OK;
  apq_status status = APQ_OK;
  pthread_mutex_lock(&cuda->retaining);
  *out = atomic_load_explicit(&cuda->context, memory_order_relaxed);
  if (!*out) {
    status = APQ__CUDA_CALL(cuda->driver, error, DevicePrimaryCtxRetain, out, cuda->handle);
    if (!status) atomic_store_explicit(&cuda->context, *out, memory_order_release);
  }
  pthread_mutex_unlock(&cuda->retaining);
  if (status) apq__error_prefix(error, "%s", cuda->base.target.name);
  return status;
}

apq_status apq__cuda_enter(apq__device *device, apq__cuda_scope *scope, apq_error *error) {
  apq__cuda_device *cuda = apq__cuda_of(device);
  CUcontext context = NULL, current = NULL;
  scope->pushed = NULL;
  apq_status status = get_context(cuda, &context, error);
  if (status) return status;
  if (cuda->driver->CtxGetCurrent(&current) == CUDA_SUCCESS && current == context) return APQ_OK;
  status = APQ__CUDA_CALL(cuda->driver, error, CtxPushCurrent, context);
  if (!status) scope->pushed = device;
  return status;
}

void apq__cuda_leave(const apq__cuda_scope *scope) {
  CUcontext popped = NULL;
  if (scope->pushed)
    (void)((const apq__cuda_device *)scope->pushed)->driver->CtxPopCurrent(&popped);
}

static void cuda_close(apq__device *device) {
  apq__cuda_device *cuda = apq__cuda_of(device);
  if (atomic_load(&cuda->context)) (void)cuda->driver->DevicePrimaryCtxRelease(cuda->handle);
  pthread_mutex_destroy(&cuda->retaining);
  pthread_mutex_destroy(&cuda->functions);
  apq__free(cuda);
}

static void cuda_clock_state(apq__device *device, apq__clock_state *out) {
  apq__nvml_state(apq__cuda_of(device)->bus_id, out);
}

static const apq__device_ops ops = {
    .close = cuda_close,
    .alloc = apq__cuda_alloc,
    .release = apq__cuda_release,
    .to_device = apq__cuda_to_device,
    .to_host = apq__cuda_to_host,
    .fill = apq__cuda_fill,
    .owns = apq__cuda_owns,
    .load = apq__cuda_load,
    .unload = apq__cuda_unload,
    .kernel = apq__cuda_kernel,
    .launch = apq__cuda_launch,
    .tensor_map = apq__cuda_tensor_map,
    .stream_create = apq__cuda_stream_create,
    .stream_destroy = apq__cuda_stream_destroy,
    .synchronize = apq__cuda_synchronize,
    .event_create = apq__cuda_event_create,
    .event_destroy = apq__cuda_event_destroy,
    .event_record = apq__cuda_event_record,
    .event_seconds = apq__cuda_event_seconds,
    .capture_begin = apq__cuda_capture_begin,
    .capture_end = apq__cuda_capture_end,
    .is_capturing = apq__cuda_is_capturing,
    .graph_launch = apq__cuda_graph_launch,
    .graph_destroy = apq__cuda_graph_destroy,
    .clock_state = cuda_clock_state,
};

int apq__cuda_count(apq_error *error) {
  const apq__cuda_driver *driver = NULL;
  int count = 0;
  if (apq__cuda_driver_get(&driver, error)) return 0;
  if (APQ__CUDA_CALL(driver, error, DeviceGetCount, &count)) return 0;
  if (count == 0)
    apq__fail(error, APQ_NO_DEVICE, "device",
              "the CUDA driver %d.%d sees no GPU (CUDA_VISIBLE_DEVICES hides GPUs too)",
              driver->version / 1000, driver->version % 1000 / 10);
  return count;
}

/* Everything of `cuda` but its memory and mutex. */
static apq_status fill_device(apq__cuda_device *cuda, int ordinal, apq_error *error) {
  const apq__cuda_driver *driver = cuda->driver;
  apq_status status = APQ__CUDA_CALL(driver, error, DeviceGet, &cuda->handle, ordinal);
  if (!status) status = apq__cuda_target(driver, cuda->handle, &cuda->base.target, error);
  if (!status)
    status = APQ__CUDA_CALL(driver, error, DeviceGetPCIBusId, cuda->bus_id,
                            (int)sizeof cuda->bus_id, cuda->handle);
  if (status) return status;
  /* Nothing is reserved before compute capability 8.0, and old drivers do not know the attribute.
   */
  if (driver->DeviceGetAttribute(&cuda->reserved_smem,
                                 CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK,
                                 cuda->handle) != CUDA_SUCCESS)
    cuda->reserved_smem = 0;
  return APQ_OK;
}

apq_status apq__cuda_open(int ordinal, apq__device **out, apq_error *error) {
  apq_error why = APQ_ERROR_INIT;
  *out = NULL;
  int count = apq__cuda_count(&why);
  if (ordinal < 0 || ordinal >= count) {
    if (count > 0)
      return apq__fail(error, APQ_NO_DEVICE, "device",
                       "no device cuda:%d: there %s %d (from cuda:0)", ordinal,
                       count == 1 ? "is" : "are", count);
    return apq__fail(error, why.status, "device", "no device cuda:%d: %s", ordinal, why.message);
  }
  apq__cuda_device *cuda = apq__calloc(1, sizeof *cuda);
  if (!cuda) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "opening cuda:%d", ordinal);
  cuda->base.ops = &ops;
  pthread_mutex_init(&cuda->retaining, NULL);
  pthread_mutex_init(&cuda->functions, NULL);
  apq_status status = apq__cuda_driver_get(&cuda->driver, error);
  if (!status) status = fill_device(cuda, ordinal, error);
  if (status) {
    apq__error_prefix(error, "cuda:%d", ordinal);
    cuda_close(&cuda->base);
    return status;
  }
  *out = &cuda->base;
  return APQ_OK;
}
