/* A device: a small table of functions over memory, modules, streams and graphs.  Two exist: CUDA
 * (driver API) and the emulated one.  Addresses are plain pointers; on CUDA they are device
 * addresses and must not be dereferenced. */
#ifndef APQ_DEVICE_H
#define APQ_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"
#include "kernel_abi.h"
#include "target.h"

typedef struct apq__device apq__device;
typedef struct apq__module apq__module; /* a loaded object file */
typedef struct apq__kernel apq__kernel; /* belongs to its module */
typedef struct apq__event apq__event;
typedef struct apq__graph apq__graph;

/* How a kernel is launched.  `args` is the one struct every kernel takes by value. */
typedef struct apq__launch {
  const apq__kernel *kernel;
  unsigned grid[3];
  unsigned threads;
  unsigned smem_bytes; /* dynamic shared memory */
  const void *args;
  size_t args_size;
  unsigned cluster; /* neighboring blocks along x that form a cluster; 0 and 1: none */
  int dependent;    /* 1: may start before the stream's previous kernel has ended, up to its own
                       apq_grid_wait (programmatic dependent launch) */
} apq__launch;

/* A matrix of planes as the bulk tensor copies see it: [planes][rows][row_bytes], and the box of
 * box_bytes x box_rows of one plane that one copy brings.  What a box covers outside is zero.  The
 * copy permutes the 16-byte chunks of a row of `swizzle` bytes (0: as they are) by its number. */
typedef struct apq__tensor_box {
  const void *base;               /* device memory, 16-byte aligned */
  size_t row_bytes, rows, planes; /* extents */
  size_t row_pitch, plane_pitch;  /* bytes, multiples of 16 */
  int box_bytes, box_rows;        /* at most 256 each; a swizzled box is as wide as its swizzle */
  int swizzle;                    /* 0, 32, 64 or 128 */
} apq__tensor_box;

/* What the compiler gave a kernel. */
typedef struct apq__kernel_info {
  int registers, local_bytes, static_smem_bytes, max_threads;
} apq__kernel_info;

/* Throttling and clocks while measuring; all zero where unknown. */
typedef struct apq__clock_state {
  int sm_mhz, mem_mhz, temperature_c;
  unsigned throttle_reasons; /* NVML's bit mask */
} apq__clock_state;

typedef struct apq__device_ops {
  void (*close)(apq__device *);
  apq_status (*alloc)(apq__device *, size_t, void **, apq_error *);
  void (*release)(apq__device *, void *);
  apq_status (*to_device)(apq__device *, void *, const void *, size_t, apq_error *);
  apq_status (*to_host)(apq__device *, void *, const void *, size_t, apq_error *);
  apq_status (*fill)(apq__device *, void *, int byte, size_t, void *stream, apq_error *);
  /* 1 unless the address is known not to be memory that kernels of this device can read. */
  int (*owns)(apq__device *, const void *);
  apq_status (*load)(apq__device *, const void *image, size_t, apq__module **, apq_error *);
  void (*unload)(apq__device *, apq__module *);
  /* `smem_bytes` is the dynamic shared memory launches will use (CUDA must opt in above 48 KB). */
  apq_status (*kernel)(apq__device *, apq__module *, const char *name, size_t smem_bytes,
                       apq__kernel **, apq__kernel_info *, apq_error *);
  apq_status (*launch)(apq__device *, const apq__launch *, void *stream, apq_error *);
  /* Describes a matrix for a kernel's arguments; INFEASIBLE where the device has no bulk tensor
   * copies.  Touches no device memory and does not synchronize: legal in a captured stream. */
  apq_status (*tensor_map)(apq__device *, const apq__tensor_box *, apq_tensor_map *, apq_error *);
  apq_status (*stream_create)(apq__device *, void **, apq_error *);
  void (*stream_destroy)(apq__device *, void *);
  apq_status (*synchronize)(apq__device *, void *stream, apq_error *);
  apq_status (*event_create)(apq__device *, apq__event **, apq_error *);
  void (*event_destroy)(apq__device *, apq__event *);
  apq_status (*event_record)(apq__device *, apq__event *, void *stream, apq_error *);
  /* Waits for `end`; seconds between the two. */
  apq_status (*event_seconds)(apq__device *, apq__event *begin, apq__event *end, double *,
                              apq_error *);
  apq_status (*capture_begin)(apq__device *, void *stream, apq_error *);
  apq_status (*capture_end)(apq__device *, void *stream, apq__graph **, apq_error *);
  /* 1 while the stream is being captured. */
  int (*is_capturing)(apq__device *, void *stream);
  apq_status (*graph_launch)(apq__device *, apq__graph *, void *stream, apq_error *);
  void (*graph_destroy)(apq__device *, apq__graph *);
  void (*clock_state)(apq__device *, apq__clock_state *);
} apq__device_ops;

/* The head of every device; a backend's own struct begins with it. */
struct apq__device {
  const apq__device_ops *ops;
  apq__target target;
};

/* Opens by name: "cuda", "cuda:1", "emu" (= emu:sm_90a), "emu:sm_80"; NULL or "": APQ_DEVICE, else
 * cuda:0 where a driver and a GPU are present, else emu.  NO_DEVICE says what is missing. */
apq_status apq__device_open(const char *name, apq__device **out, apq_error *error);
void apq__device_close(apq__device *device);

/* Says which devices this machine has, a line each ("cuda:0 NVIDIA H200 sm_90a driver 13.0"), for
 * `doctor` and error texts. */
void apq__device_list(char *text, size_t size);

#endif
