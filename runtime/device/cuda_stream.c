#include "cuda_impl.h"

/* Handles of the driver are used directly: an apq__event is a CUevent, an apq__graph a CUgraphExec.
 */
static CUevent event_of(apq__event *event) {
  return (CUevent)(void *)event;
}
static CUgraphExec exec_of(apq__graph *graph) {
  return (CUgraphExec)(void *)graph;
}

apq_status apq__cuda_stream_create(apq__device *device, void **out, apq_error *error) {
  CUstream stream = NULL;
  /* Ordered with the default stream, so that a copy sees what was launched before it on any of our
   * streams, as on the emulated device. */
  apq_status status = APQ__CUDA_RUN(device, error, StreamCreate, &stream, CU_STREAM_DEFAULT);
  *out = stream;
  return status;
}

void apq__cuda_stream_destroy(apq__device *device, void *stream) {
  if (stream) (void)APQ__CUDA_RUN(device, NULL, StreamDestroy, stream);
}

apq_status apq__cuda_synchronize(apq__device *device, void *stream, apq_error *error) {
  return APQ__CUDA_RUN(device, error, StreamSynchronize, stream);
}

apq_status apq__cuda_event_create(apq__device *device, apq__event **out, apq_error *error) {
  CUevent event = NULL;
  apq_status status = APQ__CUDA_RUN(device, error, EventCreate, &event, CU_EVENT_DEFAULT);
  *out = (apq__event *)(void *)event;
  return status;
}

void apq__cuda_event_destroy(apq__device *device, apq__event *event) {
  if (event) (void)APQ__CUDA_RUN(device, NULL, EventDestroy, event_of(event));
}

apq_status apq__cuda_event_record(apq__device *device, apq__event *event, void *stream,
                                  apq_error *error) {
  return APQ__CUDA_RUN(device, error, EventRecord, event_of(event), stream);
}

apq_status apq__cuda_event_seconds(apq__device *device, apq__event *begin, apq__event *end,
                                   double *seconds, apq_error *error) {
  float milliseconds = 0;
  apq_status status = APQ__CUDA_RUN(device, error, EventSynchronize, event_of(end));
  if (!status)
    status = APQ__CUDA_RUN(device, error, EventElapsedTime, &milliseconds, event_of(begin),
                           event_of(end));
  *seconds = status ? 0 : (double)milliseconds * 1e-3;
  return status;
}

/* Thread-local mode: other threads may allocate and load meanwhile, while an allocation or
 * synchronization by the capturing thread itself, which `apq_plan_run` promises not to do, fails
 * the capture instead of passing unseen. */
apq_status apq__cuda_capture_begin(apq__device *device, void *stream, apq_error *error) {
  return APQ__CUDA_RUN(device, error, StreamBeginCapture, stream,
                       CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

apq_status apq__cuda_capture_end(apq__device *device, void *stream, apq__graph **out,
                                 apq_error *error) {
  CUgraph graph = NULL;
  CUgraphExec exec = NULL;
  apq_status status = APQ__CUDA_RUN(device, error, StreamEndCapture, stream, &graph);
  if (!status) status = APQ__CUDA_RUN(device, error, GraphInstantiate, &exec, graph, 0);
  if (graph) (void)APQ__CUDA_RUN(device, NULL, GraphDestroy, graph);
  *out = (apq__graph *)(void *)exec;
  return status;
}

int apq__cuda_is_capturing(apq__device *device, void *stream) {
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  /* The default stream cannot be captured, and asking about it disturbs the captures of others. */
  if (stream) (void)APQ__CUDA_RUN(device, NULL, StreamIsCapturing, stream, &capture);
  return capture != CU_STREAM_CAPTURE_STATUS_NONE;
}

apq_status apq__cuda_graph_launch(apq__device *device, apq__graph *graph, void *stream,
                                  apq_error *error) {
  return APQ__CUDA_RUN(device, error, GraphLaunch, exec_of(graph), stream);
}

void apq__cuda_graph_destroy(apq__device *device, apq__graph *graph) {
  if (graph) (void)APQ__CUDA_RUN(device, NULL, GraphExecDestroy, exec_of(graph));
}
