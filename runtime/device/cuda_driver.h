/* The CUDA driver library, loaded at run time.  Private to the cuda_*.c files. */
#ifndef APQ_CUDA_DRIVER_H
#define APQ_CUDA_DRIVER_H

#include <cuda.h>

#include "apq.h"

/* Every driver function in use: field, exported symbol, parameters.  Symbols are spelled out
 * because the toolkit's macros name the newest version of each, which an older driver lacks.  All
 * of these exist since driver 11.4 (R470). */
#define APQ__CUDA_FUNCTIONS(X)                                                                     \
  X(Init, "cuInit", (unsigned flags))                                                              \
  X(DriverGetVersion, "cuDriverGetVersion", (int *version))                                        \
  X(GetErrorName, "cuGetErrorName", (CUresult result, const char **name))                          \
  X(GetErrorString, "cuGetErrorString", (CUresult result, const char **text))                      \
  X(DeviceGetCount, "cuDeviceGetCount", (int *count))                                              \
  X(DeviceGet, "cuDeviceGet", (CUdevice * device, int ordinal))                                    \
  X(DeviceGetName, "cuDeviceGetName", (char *name, int size, CUdevice device))                     \
  X(DeviceGetAttribute, "cuDeviceGetAttribute",                                                    \
    (int *value, CUdevice_attribute attribute, CUdevice device))                                   \
  X(DeviceTotalMem, "cuDeviceTotalMem_v2", (size_t * bytes, CUdevice device))                      \
  X(DeviceGetPCIBusId, "cuDeviceGetPCIBusId", (char *text, int size, CUdevice device))             \
  X(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))    \
  X(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                    \
  X(CtxGetCurrent, "cuCtxGetCurrent", (CUcontext * context))                                       \
  X(CtxPushCurrent, "cuCtxPushCurrent_v2", (CUcontext context))                                    \
  X(CtxPopCurrent, "cuCtxPopCurrent_v2", (CUcontext * context))                                    \
  X(MemAlloc, "cuMemAlloc_v2", (CUdeviceptr * memory, size_t bytes))                               \
  X(MemFree, "cuMemFree_v2", (CUdeviceptr memory))                                                 \
  X(MemcpyHtoD, "cuMemcpyHtoD_v2", (CUdeviceptr to, const void *from, size_t bytes))               \
  X(MemcpyDtoH, "cuMemcpyDtoH_v2", (void *to, CUdeviceptr from, size_t bytes))                     \
  X(MemsetD8Async, "cuMemsetD8Async",                                                              \
    (CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream))                          \
  X(PointerGetAttribute, "cuPointerGetAttribute",                                                  \
    (void *value, CUpointer_attribute attribute, CUdeviceptr memory))                              \
  X(ModuleLoadData, "cuModuleLoadData", (CUmodule * module, const void *image))                    \
  X(ModuleUnload, "cuModuleUnload", (CUmodule module))                                             \
  X(ModuleGetFunction, "cuModuleGetFunction",                                                      \
    (CUfunction * function, CUmodule module, const char *name))                                    \
  X(FuncGetAttribute, "cuFuncGetAttribute",                                                        \
    (int *value, CUfunction_attribute attribute, CUfunction function))                             \
  X(FuncSetAttribute, "cuFuncSetAttribute",                                                        \
    (CUfunction function, CUfunction_attribute attribute, int value))                              \
  X(OccupancyMaxActiveBlocks, "cuOccupancyMaxActiveBlocksPerMultiprocessor",                       \
    (int *blocks, CUfunction function, int threads, size_t smem_bytes))                            \
  X(LaunchKernel, "cuLaunchKernel",                                                                \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,     \
     unsigned block_y, unsigned block_z, unsigned smem_bytes, CUstream stream, void **params,      \
     void **extra))                                                                                \
  X(StreamCreate, "cuStreamCreate", (CUstream * stream, unsigned flags))                           \
  X(StreamDestroy, "cuStreamDestroy_v2", (CUstream stream))                                        \
  X(StreamSynchronize, "cuStreamSynchronize", (CUstream stream))                                   \
  X(StreamBeginCapture, "cuStreamBeginCapture_v2", (CUstream stream, CUstreamCaptureMode mode))    \
  X(StreamEndCapture, "cuStreamEndCapture", (CUstream stream, CUgraph * graph))                    \
  X(ThreadExchangeStreamCaptureMode, "cuThreadExchangeStreamCaptureMode",                          \
    (CUstreamCaptureMode * mode))                                                                  \
  X(StreamIsCapturing, "cuStreamIsCapturing", (CUstream stream, CUstreamCaptureStatus * status))   \
  X(GraphInstantiate, "cuGraphInstantiateWithFlags",                                               \
    (CUgraphExec * exec, CUgraph graph, unsigned long long flags))                                 \
  X(GraphDestroy, "cuGraphDestroy", (CUgraph graph))                                               \
  X(GraphLaunch, "cuGraphLaunch", (CUgraphExec exec, CUstream stream))                             \
  X(GraphExecDestroy, "cuGraphExecDestroy", (CUgraphExec exec))                                    \
  X(EventCreate, "cuEventCreate", (CUevent * event, unsigned flags))                               \
  X(EventDestroy, "cuEventDestroy_v2", (CUevent event))                                            \
  X(EventRecord, "cuEventRecord", (CUevent event, CUstream stream))                                \
  X(EventSynchronize, "cuEventSynchronize", (CUevent event))                                       \
  X(EventElapsedTime, "cuEventElapsedTime", (float *milliseconds, CUevent begin, CUevent end))

/* What GPUs from sm_90 on need; such a GPU has no driver without them, so they are NULL only where
 * nothing calls them. */
#define APQ__CUDA_FUNCTIONS_12(X)                                                                  \
  X(LaunchKernelEx, "cuLaunchKernelEx",                                                            \
    (const CUlaunchConfig *config, CUfunction function, void **params, void **extra))              \
  X(TensorMapEncodeTiled, "cuTensorMapEncodeTiled",                                                \
    (CUtensorMap * map, CUtensorMapDataType type, cuuint32_t rank, void *base,                     \
     const cuuint64_t *sizes, const cuuint64_t *strides, const cuuint32_t *box,                    \
     const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,        \
     CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill))

typedef struct apq__cuda_driver {
#define APQ__CUDA_FIELD(field, symbol, parameters) CUresult(CUDAAPI *field) parameters;
  APQ__CUDA_FUNCTIONS(APQ__CUDA_FIELD)
  APQ__CUDA_FUNCTIONS_12(APQ__CUDA_FIELD)
#undef APQ__CUDA_FIELD
  int version; /* of the API, 13000 for 13.0; after the functions, which are filled as an array */
} apq__cuda_driver;

/* The loaded and initialized driver: once a process, from any thread.  NO_DEVICE says what was
 * looked for.  A child of fork() whose parent had initialized the driver gets DEVICE: CUDA does not
 * survive a fork. */
apq_status apq__cuda_driver_get(const apq__cuda_driver **out, apq_error *error);

/* OK for success; otherwise the matching status with "`call`: CUDA_ERROR_NAME (text)". */
apq_status apq__cuda_check(const apq__cuda_driver *driver, CUresult result, const char *call,
                           apq_error *error);

/* apq__cuda_check of one driver call. */
#define APQ__CUDA_CALL(driver, error, field, ...)                                                  \
  apq__cuda_check((driver), (driver)->field(__VA_ARGS__), "cu" #field, (error))

#endif
