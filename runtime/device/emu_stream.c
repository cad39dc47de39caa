#include "emu_impl.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

/* Streams hold no queue: everything is done at once, so every order is kept. */
struct apq__emu_stream {
  apq__emu_stream *next;
  apq__graph *capture; /* being recorded, or NULL */
  int spoiled;         /* a forbidden call came during the capture */
};

struct apq__graph {
  apq__emu_node *first, **end;
};

static apq__emu_stream *find_stream(const apq__emu *emu, const void *stream) {
  apq__emu_stream *at = emu->streams;
  while (at && at != stream) at = at->next;
  return at;
}

static apq_status check_stream(const apq__emu *emu, const void *stream, apq_error *error) {
  if (!stream || find_stream(emu, stream)) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "device", "%p is not a stream of %s", stream,
                   emu->base.target.name);
}

apq_status apq__emu_stream_create(apq__emu *emu, void **out, apq_error *error) {
  apq__emu_stream *stream = *out = apq__calloc(1, sizeof *stream);
  if (!stream) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a stream");
  stream->next = emu->streams;
  emu->streams = stream;
  return APQ_OK;
}

void apq__emu_stream_destroy(apq__emu *emu, void *stream) {
  apq__emu_stream *gone = find_stream(emu, stream);
  if (!gone) return;
  apq__emu_stream **link = &emu->streams;
  while (*link != gone) link = &(*link)->next;
  *link = gone->next;
  if (gone->capture) emu->capturing--;
  apq__emu_graph_destroy(gone->capture);
  apq__free(gone);
}

int apq__emu_is_capturing(apq__emu *emu, void *stream) {
  const apq__emu_stream *at = find_stream(emu, stream);
  return at && at->capture;
}

apq_status apq__emu_check_idle(apq__emu *emu, void *stream, const char *what, apq_error *error) {
  apq_status status = check_stream(emu, stream, error);
  if (status != APQ_OK) return status;
  apq__emu_stream *at = find_stream(emu, stream);
  /* The default stream waits for all others. */
  for (apq__emu_stream *i = emu->streams; i && !stream; i = i->next)
    if (i->capture) at = i;
  if (!at || !at->capture) return APQ_OK;
  at->spoiled = 1;
  return apq__fail(error, APQ_BUSY, "device", "%s while a stream is being captured", what);
}

static apq_status execute(apq__emu *emu, const apq__emu_node *node, apq_error *error) {
  if (!node->is_fill) return apq__emu_launch(emu, &node->launch, error);
  apq_status status = apq__emu_check_range(emu, node->pointer, node->size, "fill", error);
  if (status == APQ_OK && node->size) memset(node->pointer, node->byte, node->size);
  emu->memory.chain = 0; /* a fill waits for what was launched before, and the next launch for it */
  return status;
}

static apq_status record(apq__graph *graph, const apq__emu_node *node, apq_error *error) {
  /* The arguments follow at an address that suits every type. */
  size_t offset = (sizeof *node + 15) / 16 * 16;
  size_t args_size = node->is_fill ? 0 : node->launch.args_size;
  apq__emu_node *copy = apq__alloc(offset + args_size);
  if (!copy) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a graph");
  *copy = *node;
  copy->next = NULL;
  if (args_size) {
    memcpy((char *)copy + offset, node->launch.args, args_size);
    copy->launch.args = (char *)copy + offset;
  }
  *graph->end = copy;
  graph->end = &copy->next;
  return APQ_OK;
}

apq_status apq__emu_submit(apq__emu *emu, void *stream, const apq__emu_node *node,
                           apq_error *error) {
  apq_status status = check_stream(emu, stream, error);
  if (status != APQ_OK) return status;
  apq__emu_stream *at = find_stream(emu, stream);
  return at && at->capture ? record(at->capture, node, error) : execute(emu, node, error);
}

apq_status apq__emu_capture_begin(apq__emu *emu, void *stream, apq_error *error) {
  apq__emu_stream *at = find_stream(emu, stream);
  if (!at)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "device",
                     "only a stream that was created can be captured");
  if (at->capture)
    return apq__fail(error, APQ_BUSY, "device", "the stream is already being captured");
  at->capture = apq__calloc(1, sizeof *at->capture);
  if (!at->capture) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a graph");
  at->capture->end = &at->capture->first;
  at->spoiled = 0;
  emu->capturing++;
  return APQ_OK;
}

apq_status apq__emu_capture_end(apq__emu *emu, void *stream, apq__graph **out, apq_error *error) {
  apq__emu_stream *at = find_stream(emu, stream);
  *out = NULL;
  if (!at || !at->capture)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "device", "the stream is not being captured");
  apq__graph *graph = at->capture;
  at->capture = NULL;
  emu->capturing--;
  if (at->spoiled) {
    apq__emu_graph_destroy(graph);
    return apq__fail(error, APQ_DEVICE, "device",
                     "the capture is void: a call that must wait came during it");
  }
  *out = graph;
  return APQ_OK;
}

apq_status apq__emu_graph_launch(apq__emu *emu, apq__graph *graph, void *stream, apq_error *error) {
  apq_status status = APQ_OK;
  for (apq__emu_node *node = graph->first; node && status == APQ_OK; node = node->next)
    status = apq__emu_submit(emu, stream, node, error);
  return status;
}

void apq__emu_graph_destroy(apq__graph *graph) {
  if (!graph) return;
  while (graph->first) {
    apq__emu_node *node = graph->first;
    graph->first = node->next;
    apq__free(node);
  }
  apq__free(graph);
}
