#include "fake_cuda.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static fake_cuda state = {.cc = {90, 87}, .memory_clock_khz = 3201000};

/* A context is its device; the foreign one belongs to none. */
static int contexts[FAKE_DEVICES + 1];
static _Thread_local void *stack[8];
static _Thread_local int depth;

/* Streams under capture, as the driver's default mode counts them: calls that it cannot record void
 * all captures, unless their thread has exchanged its mode for the relaxed one. */
static int capturing, voided;
static _Thread_local int thread_mode; /* CU_STREAM_CAPTURE_MODE_GLOBAL */

static int check_capture(void) {
  enum { RELAXED = 2 };
  if (!capturing || thread_mode == RELAXED) return 0;
  voided = 1;
  return FAKE_ERROR_CAPTURE_UNSUPPORTED;
}

/* Device memory, and whose it is. */
enum { FAKE_BLOCKS = 256 };
static struct {
  uint64_t from, end;
  int device;
} owned[FAKE_BLOCKS];

static int device_of(const void *context) {
  return (int)((const int *)context - contexts);
}

/* An object on a device: event, stream, graph, function. */
typedef struct object {
  void *context;
  int capturing, recorded;
} object;

fake_cuda *fake_cuda_state(void) {
  return &state;
}

int fake_cuda_depth(void) {
  return depth;
}

void fake_cuda_push_foreign(void) {
  stack[depth++] = &contexts[FAKE_DEVICES];
}

int fake_cuda_pop_foreign(void) {
  return depth > 0 && stack[--depth] == &contexts[FAKE_DEVICES];
}

/* The result of a call that needs a device's context. */
static int enter(const char *call) {
  if (state.fail_call && strcmp(state.fail_call, call) == 0) return state.fail_result;
  if (depth == 0 || stack[depth - 1] == &contexts[FAKE_DEVICES]) return FAKE_ERROR_INVALID_CONTEXT;
  return state.sticky;
}

/* The same, for a call on an object, which must be of the current context. */
static int enter_with(const char *call, const void *handle) {
  int result = enter(call);
  if (result || !handle) return result;
  return ((const object *)handle)->context == stack[depth - 1] ? 0 : FAKE_ERROR_INVALID_CONTEXT;
}

static int make(const char *call, void **out, int *count) {
  int result = enter(call);
  if (result) return result;
  object *made = calloc(1, sizeof *made);
  if (!made) return FAKE_ERROR_OUT_OF_MEMORY;
  made->context = stack[depth - 1];
  *out = made;
  ++*count;
  return 0;
}

static int destroy(const char *call, void *handle, int *count) {
  int result = enter_with(call, handle);
  if (result && result != state.sticky) return result;
  free(handle);
  --*count;
  return result;
}

EXPORT int cuInit(unsigned flags) {
  return flags ? FAKE_ERROR_INVALID_VALUE : state.init_result;
}

EXPORT int cuDriverGetVersion(int *version) {
  *version = 12040;
  return 0;
}

EXPORT int cuGetErrorName(int result, const char **name) {
  static const struct {
    int result;
    const char *name;
  } rows[] = {{FAKE_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
              {FAKE_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
              {FAKE_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
              {FAKE_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
              {FAKE_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
              {FAKE_ERROR_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
              {FAKE_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].result != result) continue;
    *name = rows[i].name;
    return 0;
  }
  *name = NULL; /* as the driver does for a result it does not know */
  return FAKE_ERROR_INVALID_VALUE;
}

EXPORT int cuGetErrorString(int result, const char **text) {
  *text = "as the test asked";
  return result == 0;
}

EXPORT int cuDeviceGetCount(int *count) {
  *count = FAKE_DEVICES;
  return 0;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < FAKE_DEVICES ? 0 : 101;
}

EXPORT int cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, (size_t)size, "Fake GPU %d", device);
  return 0;
}

/* The attributes of an H200 (cuda.h, CUdevice_attribute). */
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  static const int rows[][2] = {
      {16, 132}, {97, 232448},   {81, 233472},  {82, 65536}, {39, 2048},
      {106, 32}, {38, 62914560}, {13, 1980000}, {37, 6144},  {111, 1024},
  };
  if (attribute == 75 || attribute == 76) {
    *value = attribute == 75 ? state.cc[device] / 10 : state.cc[device] % 10;
    return 0;
  }
  if (attribute == 36) {
    *value = state.memory_clock_khz;
    return state.memory_clock_khz ? 0 : FAKE_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (rows[i][0] == attribute) {
      *value = rows[i][1];
      return 0;
    }
  return FAKE_ERROR_INVALID_VALUE;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  *bytes = (size_t)140 << 30;
  return device < 0;
}

EXPORT int cuDeviceGetPCIBusId(char *text, int size, int device) {
  snprintf(text, (size_t)size, "0000:%02x:00.0", device);
  return 0;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
  if (state.fail_call && strcmp(state.fail_call, "cuDevicePrimaryCtxRetain") == 0)
    return state.fail_result;
  *context = &contexts[device];
  __atomic_fetch_add(&state.retained[device], 1, __ATOMIC_RELAXED);
  return 0;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  __atomic_fetch_sub(&state.retained[device], 1, __ATOMIC_RELAXED);
  return 0;
}

EXPORT int cuCtxGetCurrent(void **context) {
  *context = depth ? stack[depth - 1] : NULL;
  return 0;
}

EXPORT int cuCtxPushCurrent_v2(void *context) {
  stack[depth++] = context;
  return 0;
}

EXPORT int cuCtxPopCurrent_v2(void **context) {
  if (!depth) return FAKE_ERROR_INVALID_CONTEXT;
  *context = stack[--depth];
  return 0;
}

EXPORT int cuMemAlloc_v2(uint64_t *memory, size_t bytes) {
  int result = enter("cuMemAlloc");
  if (result) return result;
  if (!bytes) return FAKE_ERROR_INVALID_VALUE;
  const size_t whole = (bytes + 255) / 256 * 256;
  void *made = bytes < (size_t)1 << 40 ? aligned_alloc(256, whole) : NULL;
  if (!made) return FAKE_ERROR_OUT_OF_MEMORY;
  memset(made, 0, whole);
  *memory = (uint64_t)(uintptr_t)made;
  state.allocations++;
  for (int i = 0; i < FAKE_BLOCKS; i++) {
    if (owned[i].from) continue;
    owned[i].from = *memory;
    owned[i].end = *memory + bytes;
    owned[i].device = device_of(stack[depth - 1]);
    break;
  }
  return 0;
}

EXPORT int cuMemFree_v2(uint64_t memory) {
  int result = enter("cuMemFree");
  if (result && result != state.sticky) return result;
  for (int i = 0; i < FAKE_BLOCKS; i++)
    if (owned[i].from == memory) owned[i].from = owned[i].end = 0;
  free((void *)(uintptr_t)memory);
  state.allocations--;
  return result;
}

EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  int result = enter("cuMemcpyHtoD");
  if (!result) memcpy((void *)(uintptr_t)to, from, bytes);
  return result;
}

EXPORT int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  int result = enter("cuMemcpyDtoH");
  if (!result) memcpy(to, (const void *)(uintptr_t)from, bytes);
  return result;
}

EXPORT int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
  int result = enter_with("cuMemsetD8Async", stream);
  if (!result) memset((void *)(uintptr_t)to, value, bytes);
  return result;
}

/* What was not allocated here counts as memory of the first device; addresses below 64 KB are none.
 */
EXPORT int cuPointerGetAttribute(void *value, int attribute, uint64_t memory) {
  enum { MEMORY_TYPE = 2, DEVICE_ORDINAL = 9 };
  if (memory < 65536) return FAKE_ERROR_INVALID_VALUE;
  *(int *)value = attribute == MEMORY_TYPE ? 2 : 0;
  for (int i = 0; attribute == DEVICE_ORDINAL && i < FAKE_BLOCKS; i++)
    if (owned[i].from <= memory && memory < owned[i].end) *(int *)value = owned[i].device;
  return 0;
}

EXPORT int cuThreadExchangeStreamCaptureMode(int *exchanged) {
  const int before = thread_mode;
  thread_mode = *exchanged;
  *exchanged = before;
  return 0;
}

EXPORT int cuModuleLoadData(void **module, const void *image) {
  int result = check_capture();
  if (result) return result;
  return image ? make("cuModuleLoadData", module, &state.modules) : FAKE_ERROR_INVALID_VALUE;
}

EXPORT int cuModuleUnload(void *module) {
  return destroy("cuModuleUnload", module, &state.modules);
}

/* Every module holds one function, its own first member. */
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  int result = enter_with("cuModuleGetFunction", module);
  if (result) return result;
  *function = module;
  const int is_known = state.knows_kernels || strcmp(name, "known") == 0;
  return is_known ? 0 : FAKE_ERROR_NOT_FOUND;
}

/* Static shared memory, local memory, threads, registers. */
EXPORT int cuFuncGetAttribute(int *value, int attribute, void *function) {
  static const int values[] = {[0] = 256, [1] = 1024, [3] = 16, [4] = 40};
  *value = values[attribute];
  return enter_with("cuFuncGetAttribute", function);
}

EXPORT int cuFuncSetAttribute(void *function, int attribute, int value) {
  int result = enter_with("cuFuncSetAttribute", function);
  if (result) return result;
  *(attribute == 8 ? &state.max_dynamic_smem : &state.carveout) = value;
  return 0;
}

EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *function, int threads,
                                                       size_t smem_bytes) {
  int by_smem = (int)(233472 / (smem_bytes + 1024 + 1024)), by_threads = 2048 / threads;
  *blocks = by_smem < by_threads ? by_smem : by_threads;
  return enter_with("cuOccupancyMaxActiveBlocksPerMultiprocessor", function);
}

/* Of a launch: what its attributes say. */
typedef struct launch_kind {
  unsigned cluster;
  int dependent;
} launch_kind;

/* The backend gives one argument; the driver knows its size from the kernel, the fake one takes all
 * kernels' to be an int. */
static int take_launch(const unsigned grid[3], const unsigned threads[3], unsigned smem_bytes,
                       void **params, void **extra, launch_kind kind) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  if (!params || extra || !grid[0] || threads[1] != 1 || threads[2] != 1)
    return FAKE_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&lock);
  state.args_size = sizeof(int);
  memcpy(state.args, params[0], state.args_size);
  memcpy(state.grid, grid, sizeof state.grid);
  state.threads = threads[0];
  state.smem_bytes = smem_bytes;
  state.cluster = kind.cluster;
  state.dependent = kind.dependent;
  state.launches++;
  state.launches_on[device_of(stack[depth - 1])]++;
  pthread_mutex_unlock(&lock);
  return 0;
}

EXPORT int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned block_y, unsigned block_z, unsigned smem_bytes,
                          void *stream, void **params, void **extra) {
  const unsigned grid[] = {grid_x, grid_y, grid_z}, threads[] = {block_x, block_y, block_z};
  int result = enter_with("cuLaunchKernel", function);
  if (!result) result = enter_with("cuLaunchKernel", stream);
  return result ? result
                : take_launch(grid, threads, smem_bytes, params, extra, (launch_kind){0, 0});
}

/* CUlaunchConfig and CUlaunchAttribute. */
typedef struct fake_attribute {
  int id;
  char pad[4];
  union {
    unsigned cluster[3];
    int allowed;
    char bytes[64];
  } value;
} fake_attribute;
typedef struct fake_config {
  unsigned grid[3], block[3], smem_bytes;
  void *stream;
  const fake_attribute *attribute;
  unsigned count;
} fake_config;

EXPORT int cuLaunchKernelEx(const fake_config *config, void *function, void **params,
                            void **extra) {
  launch_kind kind = {0, 0};
  int result = enter_with("cuLaunchKernelEx", function);
  if (!result) result = enter_with("cuLaunchKernelEx", config->stream);
  if (result) return result;
  for (unsigned i = 0; i < config->count; i++) {
    const fake_attribute *attribute = &config->attribute[i];
    if (attribute->id == 4) kind.cluster = attribute->value.cluster[0];
    if (attribute->id == 6) kind.dependent = attribute->value.allowed;
  }
  return take_launch(config->grid, config->block, config->smem_bytes, params, extra, kind);
}

EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *base,
                                  const uint64_t *sizes, const uint64_t *strides,
                                  const unsigned *box, const unsigned *steps, int interleave,
                                  int swizzle, int promotion, int fill) {
  (void)promotion;
  if ((uintptr_t)map % 64 || (uintptr_t)base % 16 || type != 0 || rank != 3 || interleave || fill)
    return FAKE_ERROR_INVALID_VALUE;
  for (int i = 0; i < 3; i++)
    if (!sizes[i] || !box[i] || box[i] > 256 || steps[i] != 1) return FAKE_ERROR_INVALID_VALUE;
  if (strides[0] % 16 || strides[1] % 16) return FAKE_ERROR_INVALID_VALUE;
  const uint64_t words[] = {(uint64_t)(uintptr_t)base,
                            sizes[0],
                            sizes[1],
                            sizes[2],
                            strides[0],
                            strides[1],
                            box[0],
                            box[1],
                            box[2],
                            (uint64_t)swizzle};
  int result = enter("cuTensorMapEncodeTiled");
  if (!result) memcpy(map, words, sizeof words);
  return result;
}

EXPORT int cuStreamCreate(void **stream, unsigned flags) {
  return flags ? FAKE_ERROR_INVALID_VALUE : make("cuStreamCreate", stream, &state.streams);
}

EXPORT int cuStreamDestroy_v2(void *stream) {
  return destroy("cuStreamDestroy", stream, &state.streams);
}

EXPORT int cuStreamSynchronize(void *stream) {
  return enter_with("cuStreamSynchronize", stream);
}

EXPORT int cuStreamBeginCapture_v2(void *stream, int mode) {
  int result = enter_with("cuStreamBeginCapture", stream);
  if (result) return result;
  if (!stream || mode != 1) return FAKE_ERROR_INVALID_VALUE;
  ((object *)stream)->capturing = 1;
  capturing++;
  return 0;
}

EXPORT int cuStreamEndCapture(void *stream, void **graph) {
  int result = enter_with("cuStreamEndCapture", stream);
  if (result) return result;
  if (!((object *)stream)->capturing) return FAKE_ERROR_INVALID_VALUE;
  ((object *)stream)->capturing = 0;
  result = voided ? FAKE_ERROR_CAPTURE_UNSUPPORTED : 0;
  if (--capturing == 0) voided = 0;
  return result ? result : make("", graph, &state.graphs);
}

EXPORT int cuStreamIsCapturing(void *stream, int *status) {
  int result = enter_with("cuStreamIsCapturing", stream);
  if (!result) *status = ((const object *)stream)->capturing;
  return result;
}

EXPORT int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
  int result = enter_with("cuGraphInstantiate", graph);
  if (result) return result;
  return flags ? FAKE_ERROR_INVALID_VALUE : make("", exec, &state.execs);
}

EXPORT int cuGraphDestroy(void *graph) {
  return destroy("cuGraphDestroy", graph, &state.graphs);
}

EXPORT int cuGraphLaunch(void *exec, void *stream) {
  int result = enter_with("cuGraphLaunch", exec);
  if (!result) result = enter_with("cuGraphLaunch", stream);
  if (!result) state.graph_launches++;
  return result;
}

EXPORT int cuGraphExecDestroy(void *exec) {
  return destroy("cuGraphExecDestroy", exec, &state.execs);
}

EXPORT int cuEventCreate(void **event, unsigned flags) {
  return flags ? FAKE_ERROR_INVALID_VALUE : make("cuEventCreate", event, &state.events);
}

EXPORT int cuEventDestroy_v2(void *event) {
  return destroy("cuEventDestroy", event, &state.events);
}

EXPORT int cuEventRecord(void *event, void *stream) {
  int result = enter_with("cuEventRecord", stream);
  if (!result) result = enter_with("cuEventRecord", event);
  if (!result) ((object *)event)->recorded = 1;
  return result;
}

EXPORT int cuEventSynchronize(void *event) {
  int result = enter_with("cuEventSynchronize", event);
  if (result) return result;
  return ((const object *)event)->recorded ? 0 : FAKE_ERROR_INVALID_VALUE;
}

EXPORT int cuEventElapsedTime(float *milliseconds, void *begin, void *end) {
  *milliseconds = 1.5f;
  int result = enter_with("cuEventElapsedTime", begin);
  return result ? result : enter_with("cuEventElapsedTime", end);
}
