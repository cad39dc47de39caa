#include "emu_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "device_impl.h"
#include "host.h"
#include "status.h"

/* The vtable: each entry locks the device and calls the part that does it. */

struct apq__event {
  double seconds;
};

static apq__emu *lock(apq__device *device) {
  apq__emu *emu = (apq__emu *)device;
  pthread_mutex_lock(&emu->lock);
  return emu;
}

static apq_status unlock(apq__emu *emu, apq_status status) {
  pthread_mutex_unlock(&emu->lock);
  return status;
}

/* As CUDA does in its default capture mode: nothing that may wait for the device while any stream
 * is captured. */
static apq_status check_no_capture(apq__emu *emu, const char *what, apq_error *error) {
  return emu->capturing ? apq__emu_check_idle(emu, NULL, what, error) : APQ_OK;
}

static apq_status emu_alloc(apq__device *device, size_t size, void **out, apq_error *error) {
  apq__emu *emu = lock(device);
  *out = NULL;
  apq_status status = check_no_capture(emu, "allocation", error);
  if (status == APQ_OK) status = apq__emu_alloc(emu, size, out, error);
  return unlock(emu, status);
}

static void emu_release(apq__device *device, void *pointer) {
  apq__emu *emu = lock(device);
  if (pointer) apq__emu_release(emu, pointer);
  unlock(emu, APQ_OK);
}

static apq_status emu_to_device(apq__device *device, void *to, const void *from, size_t size,
                                apq_error *error) {
  apq__emu *emu = lock(device);
  apq_status status = check_no_capture(emu, "copy to the device", error);
  if (status == APQ_OK) status = apq__emu_check_range(emu, to, size, "copy to the device", error);
  if (status == APQ_OK && size) memcpy(to, from, size);
  emu->memory.chain = 0; /* what was launched before has ended */
  return unlock(emu, status);
}

static apq_status emu_to_host(apq__device *device, void *to, const void *from, size_t size,
                              apq_error *error) {
  apq__emu *emu = lock(device);
  apq_status status = check_no_capture(emu, "copy to the host", error);
  if (status == APQ_OK) status = apq__emu_check_range(emu, from, size, "copy to the host", error);
  if (status == APQ_OK && size) memcpy(to, from, size);
  emu->memory.chain = 0; /* what was launched before has ended */
  return unlock(emu, status);
}

static apq_status emu_fill(apq__device *device, void *pointer, int byte, size_t size, void *stream,
                           apq_error *error) {
  apq__emu *emu = lock(device);
  const apq__emu_node node = {.is_fill = 1, .pointer = pointer, .size = size, .byte = byte};
  return unlock(emu, apq__emu_submit(emu, stream, &node, error));
}

static int emu_owns(apq__device *device, const void *pointer) {
  apq__emu *emu = lock(device);
  char text[200];
  int owned = !apq__emu_explain(&emu->memory, (uintptr_t)pointer, 1, text);
  unlock(emu, APQ_OK);
  return owned;
}

static apq_status emu_load(apq__device *device, const void *image, size_t size, apq__module **out,
                           apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_load(emu, image, size, out, error));
}

static void emu_unload(apq__device *device, apq__module *module) {
  apq__emu *emu = lock(device);
  apq__emu_unload(emu, module);
  unlock(emu, APQ_OK);
}

static apq_status emu_kernel(apq__device *device, apq__module *module, const char *name,
                             size_t smem_bytes, apq__kernel **out, apq__kernel_info *info,
                             apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_kernel(emu, module, name, smem_bytes, out, info, error));
}

static apq_status emu_launch(apq__device *device, const apq__launch *launch, void *stream,
                             apq_error *error) {
  apq__emu *emu = lock(device);
  const apq__emu_node node = {.launch = *launch};
  return unlock(emu, apq__emu_submit(emu, stream, &node, error));
}

static apq_status emu_tensor_map(apq__device *device, const apq__tensor_box *box,
                                 apq_tensor_map *out, apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_tensor_map(emu, box, out, error));
}

static apq_status emu_stream_create(apq__device *device, void **out, apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_stream_create(emu, out, error));
}

static void emu_stream_destroy(apq__device *device, void *stream) {
  apq__emu *emu = lock(device);
  apq__emu_stream_destroy(emu, stream);
  unlock(emu, APQ_OK);
}

static apq_status emu_synchronize(apq__device *device, void *stream, apq_error *error) {
  apq__emu *emu = lock(device);
  apq_status status = apq__emu_check_idle(emu, stream, "synchronization", error);
  if (status == APQ_OK) emu->memory.chain = 0;
  return unlock(emu, status);
}

static apq_status emu_event_create(apq__device *device, apq__event **out, apq_error *error) {
  (void)device;
  *out = apq__calloc(1, sizeof **out);
  return *out ? APQ_OK : apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for an event");
}

static void emu_event_destroy(apq__device *device, apq__event *event) {
  (void)device;
  apq__free(event);
}

/* In a captured stream it is part of the graph, where nothing can read it. */
static apq_status emu_event_record(apq__device *device, apq__event *event, void *stream,
                                   apq_error *error) {
  (void)error;
  apq__emu *emu = lock(device);
  if (!apq__emu_is_capturing(emu, stream)) event->seconds = apq__now();
  return unlock(emu, APQ_OK);
}

/* The emulator's own time says nothing of the GPU it poses as; the cost model does. */
static apq_status emu_event_seconds(apq__device *device, apq__event *begin, apq__event *end,
                                    double *seconds, apq_error *error) {
  apq__emu *emu = lock(device);
  *seconds = end->seconds - begin->seconds;
  return unlock(emu, check_no_capture(emu, "reading an event", error));
}

static apq_status emu_capture_begin(apq__device *device, void *stream, apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_capture_begin(emu, stream, error));
}

static apq_status emu_capture_end(apq__device *device, void *stream, apq__graph **out,
                                  apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_capture_end(emu, stream, out, error));
}

static int emu_is_capturing(apq__device *device, void *stream) {
  apq__emu *emu = lock(device);
  int capturing = apq__emu_is_capturing(emu, stream);
  unlock(emu, APQ_OK);
  return capturing;
}

static apq_status emu_graph_launch(apq__device *device, apq__graph *graph, void *stream,
                                   apq_error *error) {
  apq__emu *emu = lock(device);
  return unlock(emu, apq__emu_graph_launch(emu, graph, stream, error));
}

static void emu_graph_destroy(apq__device *device, apq__graph *graph) {
  (void)device;
  apq__emu_graph_destroy(graph);
}

static void emu_clock_state(apq__device *device, apq__clock_state *state) {
  (void)device;
  memset(state, 0, sizeof *state);
}

static void emu_close(apq__device *device) {
  apq__emu *emu = (apq__emu *)device;
  while (emu->modules) apq__emu_unload(emu, emu->modules);
  while (emu->streams) apq__emu_stream_destroy(emu, emu->streams);
  apq__emu_release_all(emu);
  apq__emu_free_blocks(emu);
  pthread_mutex_destroy(&emu->lock);
  apq__free(emu);
}

static const apq__device_ops emu_ops = {
    .close = emu_close,
    .alloc = emu_alloc,
    .release = emu_release,
    .to_device = emu_to_device,
    .to_host = emu_to_host,
    .fill = emu_fill,
    .owns = emu_owns,
    .load = emu_load,
    .unload = emu_unload,
    .kernel = emu_kernel,
    .launch = emu_launch,
    .tensor_map = emu_tensor_map,
    .stream_create = emu_stream_create,
    .stream_destroy = emu_stream_destroy,
    .synchronize = emu_synchronize,
    .event_create = emu_event_create,
    .event_destroy = emu_event_destroy,
    .event_record = emu_event_record,
    .event_seconds = emu_event_seconds,
    .capture_begin = emu_capture_begin,
    .capture_end = emu_capture_end,
    .is_capturing = emu_is_capturing,
    .graph_launch = emu_graph_launch,
    .graph_destroy = emu_graph_destroy,
    .clock_state = emu_clock_state,
};

/* The seed in the environment, for every launch; without one, each launch has its own. */
static apq_status read_seed(apq__emu *emu, apq_error *error) {
  const char *text = apq__variable_get(APQ__VAR_EMU_SEED);
  if (!text) {
    emu->seed = ((uint64_t)apq__unix_time() * 1000003 + (uint64_t)getpid()) % 1000000000;
    return APQ_OK;
  }
  char *end;
  emu->seed = strtoull(text, &end, 10);
  emu->seed_fixed = 1;
  if (*end || text[0] < '0' || text[0] > '9')
    return apq__fail(error, APQ_INVALID_ARGUMENT, "device", "%s is '%s', not a decimal number",
                     apq__variable_name(APQ__VAR_EMU_SEED), text);
  return APQ_OK;
}

apq_status apq__emu_open(const char *arch, apq__device **out, apq_error *error) {
  apq__target target;
  *out = NULL;
  apq_status status = apq__target_emulated(arch, &target, error);
  if (status != APQ_OK) return status;
  apq__emu *emu = apq__calloc(1, sizeof *emu);
  if (!emu) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a device");
  pthread_mutex_init(&emu->lock, NULL);
  emu->base.ops = &emu_ops;
  emu->base.target = target;
  apq__emu_math_init(&emu->math);
  apq__emu_wgmma_math_init(&emu->math);
  apq__emu_shared_words(&emu->words);
  apq__emu_copy_words(&emu->words);
  apq__emu_global_words(&emu->words);
  apq__emu_warp_words(&emu->words);
  apq__emu_barrier_words(&emu->words);
  apq__emu_mbarrier_words(&emu->words);
  apq__emu_bulk_words(&emu->words);
  apq__emu_store_words(&emu->words);
  apq__emu_wgmma_words(&emu->words);
  status = read_seed(emu, error);
  if (status != APQ_OK)
    emu_close(&emu->base);
  else
    *out = &emu->base;
  return status;
}
