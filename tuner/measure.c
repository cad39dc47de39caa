#include "measure.h"

#include <string.h>
#include <time.h>

#include "alloc.h"
#include "host.h"
#include "status.h"

/* Seconds of GPU work in one sample.  A burst is long enough to dwarf an event (1.3 us) and short
 * enough to stay cool. */
#define BURST_SECONDS     1e-3
#define SUSTAINED_SECONDS 20e-3
/* A replay shorter than this is preceded by an untimed one: the first kernel then starts without
 * the latency of a graph launch, with its code in the instruction caches. */
#define PRELUDE_SECONDS 2e-3
/* Idle time after a burst, as a multiple of its length: bursts of 15 ms with gaps of 20 ms do not
 * throttle an H200. */
#define GAP_RATIO 1.3
/* After an idle moment longer than the first, sustained samples are preceded by this much load. */
#define IDLE_SECONDS 0.1
#define WARM_SECONDS 1.0

enum { LAUNCHES_MIN = 3, LAUNCHES_MAX = 256, REPLAYS_MAX = 64 };

/* ---- rotating operands ---- */

int apq__rotation_count(const apq__target *target, size_t set_bytes) {
  double wanted = 2.2 * (double)target->l2_bytes / (double)set_bytes + 1;
  double fits = (double)target->mem_bytes / 4 / (double)set_bytes;
  double count = wanted < APQ__SETS_MAX ? wanted : APQ__SETS_MAX;
  if (count > fits) count = fits;
  return count > 2 ? (int)count : 2;
}

/* A copy in other memory, by way of the host: set-up happens once a problem. */
static apq_status duplicate(apq__device *device, const void *from, size_t bytes, int count,
                            void **copies, apq_error *error) {
  if (!from || count <= 1) return APQ_OK;
  void *host = apq__alloc(bytes);
  if (!host) return apq__fail(error, APQ_OUT_OF_MEMORY, "run", "no memory for %zu bytes", bytes);
  apq_status status = device->ops->to_host(device, host, from, bytes, error);
  for (int i = 1; status == APQ_OK && i < count; i++) {
    status = device->ops->alloc(device, bytes, &copies[i], error);
    if (status == APQ_OK) status = device->ops->to_device(device, copies[i], host, bytes, error);
  }
  apq__free(host);
  return status;
}

apq_status apq__rotation_make(apq__device_data *data, apq__rotation *out, apq_error *error) {
  apq__device *device = data->device;
  /* The smallest form of the activations decides: kernels of that form touch no more. */
  size_t a = 0;
  for (int form = 0; form < APQ__FORM_COUNT; form++)
    if (data->a[form] && (!a || data->a_bytes[form] < a)) a = data->a_bytes[form];
  if (data->x) a = data->x_bytes;
  *out = (apq__rotation){.data = data};
  out->count = apq__rotation_count(&device->target, data->w_bytes + a + data->y_bytes);
  out->w[0] = data->w;
  for (int form = 0; form < APQ__FORM_COUNT; form++) out->a[form][0] = data->a[form];
  out->x[0] = data->x;
  out->y[0] = apq__device_data_y(data);
  apq_status status = duplicate(device, data->w, data->w_bytes, out->count, out->w, error);
  if (status == APQ_OK)
    status = duplicate(device, data->x, data->x_bytes, out->count, out->x, error);
  for (int form = 0; status == APQ_OK && !data->x && form < APQ__FORM_COUNT; form++)
    status = duplicate(device, data->a[form], data->a_bytes[form], out->count, out->a[form], error);
  for (int i = 1; status == APQ_OK && i < out->count; i++)
    status = device->ops->alloc(device, data->y_bytes, &out->y[i], error);
  if (status != APQ_OK) apq__rotation_free(out);
  return status;
}

void apq__rotation_free(apq__rotation *rotation) {
  if (!rotation || !rotation->data) return;
  apq__device *device = rotation->data->device;
  for (int i = 1; i < rotation->count; i++) {
    void *blocks[3 + APQ__FORM_COUNT] = {rotation->w[i], rotation->y[i], rotation->x[i]};
    for (int form = 0; form < APQ__FORM_COUNT; form++) blocks[3 + form] = rotation->a[form][i];
    for (size_t j = 0; j < sizeof blocks / sizeof blocks[0]; j++)
      if (blocks[j]) device->ops->release(device, blocks[j]);
  }
  *rotation = (apq__rotation){0};
}

const void *apq__rotation_input(const apq__rotation *rotation, int set, apq__form form) {
  if (rotation->x[set]) return rotation->x[set];
  return rotation->a[form][set];
}

/* ---- pace ---- */

apq_status apq__pace_open(apq__device *device, const char *objective, apq__pace *out,
                          apq_error *error) {
  *out = (apq__pace){.device = device, .sustained = strcmp(objective, "sustained") == 0};
  if (!out->sustained && strcmp(objective, "burst") != 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "objective \"%s\" is neither \"burst\" nor \"sustained\"", objective);
  if (device->target.emulated)
    return apq__fail(error, APQ_UNSUPPORTED, "run", "an emulated device has no time to measure");
  apq_status status = device->ops->stream_create(device, &out->stream, error);
  if (status == APQ_OK) status = device->ops->event_create(device, &out->begin, error);
  if (status == APQ_OK) status = device->ops->event_create(device, &out->end, error);
  if (status != APQ_OK) apq__pace_close(out);
  return status;
}

void apq__pace_close(apq__pace *pace) {
  if (!pace || !pace->device) return;
  const apq__device_ops *ops = pace->device->ops;
  if (pace->begin) ops->event_destroy(pace->device, pace->begin);
  if (pace->end) ops->event_destroy(pace->device, pace->end);
  if (pace->stream) ops->stream_destroy(pace->device, pace->stream);
  *pace = (apq__pace){0};
}

static void sleep_seconds(double seconds) {
  if (seconds <= 0) return;
  struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
}

/* Brings the GPU into the state the objective asks for. */
static apq_status settle(apq__pace *pace, apq__graph *graph, apq_error *error) {
  apq__device *device = pace->device;
  double now = apq__now();
  if (!pace->sustained) {
    sleep_seconds(pace->last_end + GAP_RATIO * pace->last_busy - now);
    return APQ_OK;
  }
  if (now - pace->last_end < IDLE_SECONDS) return APQ_OK;
  apq_status status = APQ_OK;
  for (double end = now + WARM_SECONDS; status == APQ_OK && apq__now() < end;) {
    for (int i = 0; status == APQ_OK && i < 8; i++)
      status = device->ops->graph_launch(device, graph, pace->stream, error);
    if (status == APQ_OK) status = device->ops->synchronize(device, pace->stream, error);
  }
  return status;
}

/* ---- timing ---- */

void apq__timing_plan(double estimate, int sets, int sustained, int *launches, int *replays) {
  double target = sustained ? SUSTAINED_SECONDS : BURST_SECONDS;
  double wanted = estimate > 0 ? target / estimate : LAUNCHES_MAX;
  int count = wanted < LAUNCHES_MAX ? (int)wanted : LAUNCHES_MAX;
  if (count < LAUNCHES_MIN) count = LAUNCHES_MIN;
  /* Whole turns through the sets, so that every replay starts on the one that was touched longest
   * ago. */
  *launches = (count + sets - 1) / sets * sets;
  double again = wanted / *launches;
  *replays = again > REPLAYS_MAX ? REPLAYS_MAX : again > 1 ? (int)again : 1;
}

static apq_status launch_some(apq__pace *pace, const apq__subject *subject, int count,
                              apq_error *error) {
  apq_status status = APQ_OK;
  for (int i = 0; status == APQ_OK && i < count; i++)
    status = subject->launch(subject->user, i % subject->sets, pace->stream, error);
  return status;
}

/* Seconds of one launch, roughly: the first, which loads code, is not counted. */
static apq_status estimate_launch(apq__pace *pace, const apq__subject *subject, double *seconds,
                                  apq_error *error) {
  enum { COUNT = 4 };
  apq__device *device = pace->device;
  apq_status status = launch_some(pace, subject, 1, error);
  if (status == APQ_OK) status = device->ops->synchronize(device, pace->stream, error);
  if (status == APQ_OK)
    status = device->ops->event_record(device, pace->begin, pace->stream, error);
  if (status == APQ_OK) status = launch_some(pace, subject, COUNT, error);
  if (status == APQ_OK) status = device->ops->event_record(device, pace->end, pace->stream, error);
  if (status == APQ_OK)
    status = device->ops->event_seconds(device, pace->begin, pace->end, seconds, error);
  *seconds /= COUNT;
  return status;
}

apq_status apq__timing_make(apq__pace *pace, const apq__subject *subject, apq__timing *out,
                            apq_error *error) {
  apq__device *device = pace->device;
  *out = (apq__timing){0};
  apq_status status = estimate_launch(pace, subject, &out->estimate, error);
  if (status != APQ_OK) return status;
  apq__timing_plan(out->estimate, subject->sets, pace->sustained, &out->launches, &out->replays);
  status = device->ops->capture_begin(device, pace->stream, error);
  if (status != APQ_OK) return status;
  status = launch_some(pace, subject, out->launches, error);
  /* Capture is ended even after a failure, or the stream would be lost; the first error is the one
   * to tell. */
  apq_status ended =
      device->ops->capture_end(device, pace->stream, &out->graph, status == APQ_OK ? error : NULL);
  if (status == APQ_OK) status = ended;
  /* A first replay uploads the graph. */
  if (status == APQ_OK) status = device->ops->graph_launch(device, out->graph, pace->stream, error);
  if (status == APQ_OK) status = device->ops->synchronize(device, pace->stream, error);
  pace->last_end = apq__now();
  if (status != APQ_OK) apq__timing_free(pace, out);
  return status;
}

void apq__timing_free(apq__pace *pace, apq__timing *timing) {
  if (!timing || !timing->graph) return;
  pace->device->ops->graph_destroy(pace->device, timing->graph);
  *timing = (apq__timing){0};
}

apq_status apq__timing_sample(apq__pace *pace, apq__timing *timing, double *seconds,
                              apq__clock_state *clocks, apq_error *error) {
  apq__device *device = pace->device;
  double elapsed = 0;
  *seconds = 0;
  apq_status status = settle(pace, timing->graph, error);
  double start = apq__now();
  if (status == APQ_OK && timing->estimate * timing->launches < PRELUDE_SECONDS)
    status = device->ops->graph_launch(device, timing->graph, pace->stream, error);
  if (status == APQ_OK)
    status = device->ops->event_record(device, pace->begin, pace->stream, error);
  for (int i = 0; status == APQ_OK && i < timing->replays; i++)
    status = device->ops->graph_launch(device, timing->graph, pace->stream, error);
  if (status == APQ_OK) status = device->ops->event_record(device, pace->end, pace->stream, error);
  if (status == APQ_OK)
    status = device->ops->event_seconds(device, pace->begin, pace->end, &elapsed, error);
  pace->last_end = apq__now();
  pace->last_busy = pace->last_end - start;
  if (status != APQ_OK) return status;
  if (elapsed <= 0)
    return apq__fail(error, APQ_DEVICE, "run", "the device timed a launch at %g seconds", elapsed);
  *seconds = elapsed / ((double)timing->launches * timing->replays);
  if (clocks) device->ops->clock_state(device, clocks);
  return APQ_OK;
}
