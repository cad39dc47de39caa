/* The CUDA device, as its files share it. */
#ifndef APQ_CUDA_IMPL_H
#define APQ_CUDA_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cuda_driver.h"
#include "device_scope.h"
#include "device.h"

typedef struct apq__cuda_device {
  apq__device base;
  const apq__cuda_driver *driver;
  CUdevice handle;
  /* The primary one, which the CUDA runtime API uses too; NULL until the first call that needs it:
   * a process that only looks at the device takes neither its time nor its memory. */
  _Atomic(CUcontext) context;
  pthread_mutex_t retaining; /* guards the making of `context` */
  char bus_id[32];           /* PCI, by which NVML knows the GPU */
  int reserved_smem;         /* bytes of each block that the system keeps */
  pthread_mutex_t functions; /* guards the kernel lists of the modules */
} apq__cuda_device;

static inline apq__cuda_device *apq__cuda_of(apq__device *device) {
  return (apq__cuda_device *)device;
}
static inline CUdeviceptr apq__cuda_address(const void *memory) {
  return (CUdeviceptr)(uintptr_t)memory;
}

/* One driver call with the device's context current; its status. */
#define APQ__CUDA_RUN(device, error, field, ...)                                                   \
  __extension__({                                                                                  \
    apq__cuda_scope scope_;                                                                        \
    apq_status status_ = apq__cuda_enter((device), &scope_, (error));                              \
    if (!status_)                                                                                  \
      status_ = APQ__CUDA_CALL(apq__cuda_of(device)->driver, (error), field, __VA_ARGS__);         \
    apq__cuda_leave(&scope_);                                                                      \
    status_;                                                                                       \
  })

/* The entries of apq__device_ops, by file. */

/* cuda_memory.c */
apq_status apq__cuda_alloc(apq__device *, size_t, void **, apq_error *);
void apq__cuda_release(apq__device *, void *);
apq_status apq__cuda_to_device(apq__device *, void *, const void *, size_t, apq_error *);
apq_status apq__cuda_to_host(apq__device *, void *, const void *, size_t, apq_error *);
apq_status apq__cuda_fill(apq__device *, void *, int, size_t, void *, apq_error *);
int apq__cuda_owns(apq__device *, const void *);

/* cuda_module.c */
apq_status apq__cuda_load(apq__device *, const void *, size_t, apq__module **, apq_error *);
void apq__cuda_unload(apq__device *, apq__module *);
apq_status apq__cuda_kernel(apq__device *, apq__module *, const char *, size_t, apq__kernel **,
                            apq__kernel_info *, apq_error *);
apq_status apq__cuda_launch(apq__device *, const apq__launch *, void *, apq_error *);
apq_status apq__cuda_tensor_map(apq__device *, const apq__tensor_box *, apq_tensor_map *,
                                apq_error *);

/* cuda_stream.c */
apq_status apq__cuda_stream_create(apq__device *, void **, apq_error *);
void apq__cuda_stream_destroy(apq__device *, void *);
apq_status apq__cuda_synchronize(apq__device *, void *, apq_error *);
apq_status apq__cuda_event_create(apq__device *, apq__event **, apq_error *);
void apq__cuda_event_destroy(apq__device *, apq__event *);
apq_status apq__cuda_event_record(apq__device *, apq__event *, void *, apq_error *);
apq_status apq__cuda_event_seconds(apq__device *, apq__event *, apq__event *, double *,
                                   apq_error *);
apq_status apq__cuda_capture_begin(apq__device *, void *, apq_error *);
apq_status apq__cuda_capture_end(apq__device *, void *, apq__graph **, apq_error *);
int apq__cuda_is_capturing(apq__device *, void *);
apq_status apq__cuda_graph_launch(apq__device *, apq__graph *, void *, apq_error *);
void apq__cuda_graph_destroy(apq__device *, apq__graph *);

/* cuda_target.c: everything the driver knows about a device.  No context is needed. */
apq_status apq__cuda_target(const apq__cuda_driver *driver, CUdevice device, apq__target *out,
                            apq_error *error);
/* The arch to compile for on a GPU of compute capability `cc` (89 is 8.9), and that arch's own
 * capability; NULL when there is none. */
const char *apq__cuda_arch(int cc, int *arch_cc);

#endif
