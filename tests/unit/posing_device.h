/* The emulated device posing as a real GPU with a clock of its own, so that what only happens on
 * GPUs (timing, contests, benchmarks) runs in tests.  Kernels run as ever; a launch "takes" a time
 * computed from its shape, with a little noise. */
#ifndef POSING_DEVICE_H
#define POSING_DEVICE_H

#include <stdio.h>

#include "compile.h"
#include "device.h"
#include "host.h"

enum { POSED_MAX = 4096 };

typedef struct posed_time {
  const void *owner; /* an event or a graph */
  double seconds;
} posed_time;

/* One device a process. */
static struct {
  apq__device_ops real, ops;
  double clock, pending; /* of the capture in progress */
  posed_time times[POSED_MAX];
  int time_count;
  uint64_t seed;
  int graph_launches;
  int crash_at; /* this graph launch kills the process; 0: none */
} posing;

static double *posed(const void *owner) {
  for (int i = 0; i < posing.time_count; i++)
    if (posing.times[i].owner == owner) return &posing.times[i].seconds;
  posing.times[posing.time_count % POSED_MAX].owner = owner;
  return &posing.times[posing.time_count++ % POSED_MAX].seconds;
}

/* Fewer blocks and more threads are faster here: the order differs from the cost model's. */
static double posed_cost(const apq__launch *launch) {
  return 200e-6 + 1e-5 * launch->grid[0] * launch->grid[1] + 1e-2 / launch->threads;
}

static apq_status posed_launch(apq__device *device, const apq__launch *launch, void *stream,
                               apq_error *error) {
  if (posing.real.is_capturing(device, stream))
    posing.pending += posed_cost(launch);
  else
    posing.clock += posed_cost(launch);
  return posing.real.launch(device, launch, stream, error);
}

static apq_status posed_capture_begin(apq__device *device, void *stream, apq_error *error) {
  posing.pending = 0;
  return posing.real.capture_begin(device, stream, error);
}

static apq_status posed_capture_end(apq__device *device, void *stream, apq__graph **out,
                                    apq_error *error) {
  apq_status status = posing.real.capture_end(device, stream, out, error);
  if (status == APQ_OK) *posed(*out) = posing.pending;
  return status;
}

static apq_status posed_graph_launch(apq__device *device, apq__graph *graph, void *stream,
                                     apq_error *error) {
  if (++posing.graph_launches == posing.crash_at) __builtin_trap();
  /* A clock that drifts by a percent a hundred launches, and noise of a thousandth. */
  double noise = 1 + (double)(apq__random(&posing.seed) % 1000) * 1e-6;
  posing.clock += *posed(graph) * noise * (1 + 1e-4 * posing.graph_launches);
  return posing.real.graph_launch(device, graph, stream, error);
}

static apq_status posed_event_record(apq__device *device, apq__event *event, void *stream,
                                     apq_error *error) {
  *posed(event) = posing.clock;
  return posing.real.event_record(device, event, stream, error);
}

static apq_status posed_event_seconds(apq__device *device, apq__event *begin, apq__event *end,
                                      double *seconds, apq_error *error) {
  (void)device, (void)error;
  *seconds = *posed(end) - *posed(begin);
  return APQ_OK;
}

static void posed_clock_state(apq__device *device, apq__clock_state *state) {
  (void)device;
  *state = (apq__clock_state){1980, 2619, 40, 0};
}

static apq_status posing_open(const char *name, apq__device **out, apq_error *error) {
  (void)name;
  apq_status status = apq__device_open("emu:sm_90a", out, error);
  if (status != APQ_OK) return status;
  apq__device *device = *out;
  posing.real = posing.ops = *device->ops;
  posing.ops.launch = posed_launch;
  posing.ops.capture_begin = posed_capture_begin;
  posing.ops.capture_end = posed_capture_end;
  posing.ops.graph_launch = posed_graph_launch;
  posing.ops.event_record = posed_event_record;
  posing.ops.event_seconds = posed_event_seconds;
  posing.ops.clock_state = posed_clock_state;
  device->ops = &posing.ops;
  snprintf(device->target.name, sizeof device->target.name, "Posing GPU");
  device->target.emulated = 0;
  device->target.l2_bytes = 16 << 10; /* few operand sets */
  return APQ_OK;
}

/* Sources and objects are the emulated device's. */
static apq__target posing_as_emulated(const apq__target *target) {
  apq__target copy = *target;
  copy.emulated = 1;
  return copy;
}

static apq_status posing_compile(const char *source, const apq__target *target,
                                 const char *cache_dir, apq__object *out, apq_error *error) {
  apq__target copy = posing_as_emulated(target);
  return apq__compile(source, &copy, cache_dir, out, error);
}

static apq_status posing_compiler_version(const apq__target *target, char *text, size_t size,
                                          apq_error *error) {
  apq__target copy = posing_as_emulated(target);
  return apq__compiler_version(&copy, text, size, error);
}

#endif
