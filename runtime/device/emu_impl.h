/* The emulated device's inside, shared by the emu_*.c files.
 *
 * A launch runs its blocks one after another on the calling thread.  Each CUDA thread is a fiber
 * that runs until it must wait for others.  All lanes of a warp meet at every collective word and
 * at every barrier, so a warp is at most at one of them, and the lanes that have not arrived can
 * always run: there is no ready list of threads, only each warp's circular order of lanes and a
 * list of warps. */
#ifndef APQ_EMU_IMPL_H
#define APQ_EMU_IMPL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "emu_fiber.h"

#define APQ_EMU_HOST
#include "prelude_emu.h"

enum {
  APQ__EMU_LANES = 32,
  APQ__EMU_THREADS = 1024,
  APQ__EMU_WARPS = APQ__EMU_THREADS / APQ__EMU_LANES,
  APQ__EMU_ORDERS = 64, /* lane orders to draw from */
  APQ__EMU_HOT = 4,
};

typedef struct apq__emu apq__emu;

/* What is known of four bytes of shared memory.  An access is recorded as
 *   bit 63 in flight, 62..32 clock, 31..16 source line, 12..10 flags, 9..0 thread
 * so that records compare by time.  The clock of a device only grows: a record older than the block
 * is no record.  Halves are apart for 16-bit stores. */
typedef struct apq__emu_cell {
  uint64_t written[2];  /* last write of each half */
  uint64_t read;        /* last read since that write */
  uint64_t read_before; /* an earlier read by another thread; of another warp if there was one since
                           the last block barrier */
} apq__emu_cell;

/* A piece of device memory; kept for a while after its release, to name uses after it. */
typedef struct apq__emu_allocation {
  uintptr_t base;
  size_t size;
  void *raw;
  uint64_t *writes; /* last write of each 4 bytes: launch << 32 | interval; NULL before the first */
  int released;
} apq__emu_allocation;

/* What one thread writes until a fence.  The fence may be its own, or another thread's behind a
 * barrier.  Then an atomic, maybe behind a barrier and in another thread, tells other blocks. Times
 * are clocks, 0 for never. */
typedef struct apq__emu_interval {
  uint64_t written_at; /* last */
  uint64_t fenced_at;  /* by the thread itself */
  uint64_t covered_at; /* by the latest fence of another thread, `covered_by` */
  uint32_t block;      /* linear */
  uint16_t thread, covered_by;
  uint8_t published;
} apq__emu_interval;

typedef struct apq__emu_memory {
  apq__emu_allocation *table; /* sorted by base */
  int count, capacity;
  size_t live_bytes, released_bytes;
  int released_count;
  apq__emu_allocation *hot[APQ__EMU_HOT]; /* lately used by the kernel; into the table */
  int hot_next;
  uint32_t launch;              /* number of the running one */
  apq__emu_interval *intervals; /* of this launch, by block; the first stands for atomic writes */
  uint32_t interval_count, interval_capacity;
} apq__emu_memory;

/* A cp.async on its way. */
typedef struct apq__emu_copy {
  const void *from; /* NULL: zeros */
  int at, group;
} apq__emu_copy;

typedef struct apq__emu_warp apq__emu_warp;

typedef struct apq__emu_thread {
  apq__fiber *fiber;
  apq__emu_warp *warp;
  int index, lane;
  apq__emu_copy *copies; /* [first, last) are on their way, in order */
  int first, last, capacity;
  int groups;        /* committed */
  uint32_t interval; /* of its global writes, 0 when there is none since the last fence */
} apq__emu_thread;

struct apq__emu_warp {
  apq__emu_thread *threads;
  int size;                /* below 32 in the last warp of a ragged block */
  const uint8_t *next;     /* circular order of lanes */
  int arrived, exited;     /* lanes at the pending word, lanes gone */
  int word, line, first;   /* the pending word, where it stands, the lane that came first */
  apq__emu_thread *resume; /* who runs when the warp's turn comes */
  uint64_t since;          /* records before it are ordered with this warp by a warp barrier */
  uint32_t value[APQ__EMU_LANES], result[APQ__EMU_LANES];
  int argument[APQ__EMU_LANES];
  uint32_t *r[APQ__EMU_LANES];
  int *d[APQ__EMU_LANES];
  const uint32_t *a[APQ__EMU_LANES], *b[APQ__EMU_LANES];
};

/* The matrix products of a 16x8 tile, chosen for the CPU at hand. */
typedef struct apq__emu_math {
  void (*b1_and)(const uint64_t a[16][4], const uint64_t b[8][4], uint32_t d[16][8]);
  void (*b1_xor)(const uint64_t a[16][4], const uint64_t b[8][4], uint32_t d[16][8]);
} apq__emu_math;

typedef struct apq__emu_stream apq__emu_stream;

struct apq__module {
  apq__module *next;
  void *handle;
  int file; /* kept open: the loader tells objects apart by the name this number is part of */
  apq__kernel *kernels;
};

struct apq__kernel {
  apq__kernel *next;
  const apq_emu_kernel *code;
  size_t smem_bytes;
  char name[64];
};

struct apq__emu {
  apq__device base;
  apq_emu words; /* what objects see */
  pthread_mutex_t lock;
  apq__emu_math math;
  apq__emu_memory memory;
  apq__module *modules;
  apq__emu_stream *streams;
  int capturing; /* streams being captured */
  int seed_fixed;
  uint64_t seed; /* of this launch */

  uint8_t *shared; /* target.smem_per_block bytes */
  apq__emu_cell *cells;
  int shared_size; /* of this launch */

  apq__fiber_pool pool;
  apq__fiber home;
  apq__emu_thread threads[APQ__EMU_THREADS];
  apq__emu_warp warps[APQ__EMU_WARPS];
  uint8_t orders[APQ__EMU_ORDERS][APQ__EMU_LANES];
  uint8_t ragged[APQ__EMU_ORDERS][APQ__EMU_LANES]; /* for a last warp below 32 lanes */

  const apq__kernel *kernel;
  const void *args;
  int thread_count, warp_count;
  apq__emu_thread *current;
  uint64_t random;
  uint64_t clock;       /* in place in a record */
  uint64_t block_start; /* records before it are of other blocks */
  uint64_t block_since; /* records before it are ordered by a block barrier */
  uint64_t warp_since;  /* of the current thread's warp */
  int ready[APQ__EMU_WARPS], ready_count;
  int waiting_warps, done_warps;
  uint32_t block;          /* linear index of the running one */
  uint32_t first_interval; /* of that block */
  uint64_t atomic_at;      /* clock of its first global atomic; 0 before */
  int atomic_thread;
  int barrier_line, barrier_thread;
  int slice;          /* collectives until another warp gets its turn */
  const void *polled; /* by the latest volatile load */
  int polls;          /* that many times in a row */
  int faulted;
  char report[400];
};

static inline apq__emu *apq__emu_of(apq_emu *words) {
  return (apq__emu *)(void *)((char *)words - offsetof(apq__emu, words));
}

/* Ends the launch with a report; called by the running thread. */
_Noreturn void apq__emu_fault(apq__emu *emu, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Each part puts its words into the table. */
void apq__emu_shared_words(apq_emu *words);
void apq__emu_copy_words(apq_emu *words);
void apq__emu_global_words(apq_emu *words);
void apq__emu_warp_words(apq_emu *words);

/* ---- emu_memory.c ---- */
apq_status apq__emu_alloc(apq__emu *emu, size_t size, void **out, apq_error *error);
void apq__emu_release(apq__emu *emu, void *pointer);
void apq__emu_release_all(apq__emu *emu);
/* INVALID_ARGUMENT unless [pointer, pointer+size) lies in one live allocation; `what` is for the
 * message. */
apq_status apq__emu_check_range(apq__emu *emu, const void *pointer, size_t size, const char *what,
                                apq_error *error);
/* KERNEL_FAULT when the bytes round an allocation have changed. */
apq_status apq__emu_check_red_zones(apq__emu *emu, apq_error *error);
/* What is wrong with an access to [address, address + size), in words; NULL when nothing is. */
const char *apq__emu_explain(const apq__emu_memory *memory, uintptr_t address, size_t size,
                             char text[200]);
/* The allocation of an address that apq__emu_explain accepts. */
apq__emu_allocation *apq__emu_find(apq__emu_memory *memory, uintptr_t address);
/* Before each launch. */
apq_status apq__emu_ready_memory(apq__emu *emu, apq_error *error);

/* ---- emu_global.c ---- */
/* Faults unless the running thread may copy 16 bytes from there. */
void apq__emu_check_source(apq__emu *emu, int line, const void *pointer);

/* ---- emu_shared.c ---- */
/* Checks and records a 16-byte access of the running thread. */
void apq__emu_note_read16(apq__emu *emu, int line, int at);
void apq__emu_note_write16(apq__emu *emu, int line, int at);
/* Marks 16 bytes, just noted as written, as in flight; and as written now. */
void apq__emu_mark_flight(apq__emu *emu, int at);
void apq__emu_mark_arrived(apq__emu *emu, int at);

/* ---- emu_mma.c ---- */
void apq__emu_math_init(apq__emu_math *math);
/* d += a b over the fragments of a whole warp (prelude_cuda.h tells their order). */
void apq__emu_mma(const apq__emu_math *math, int kind, int *const d[], const uint32_t *const a[],
                  const uint32_t *const b[]);

/* ---- emu_warp.c ---- */
/* Readies threads and warps for a block and runs it to its end or a fault. */
void apq__emu_run_block(apq__emu *emu);
/* Draws the lane orders of a launch. */
void apq__emu_draw_orders(apq__emu *emu);

/* ---- emu_launch.c ---- */
apq_status apq__emu_launch(apq__emu *emu, const apq__launch *launch, apq_error *error);

/* ---- emu_module.c ---- */
apq_status apq__emu_load(apq__emu *emu, const void *image, size_t size, apq__module **out,
                         apq_error *error);
void apq__emu_unload(apq__emu *emu, apq__module *module);
apq_status apq__emu_kernel(apq__emu *emu, apq__module *module, const char *name, size_t smem_bytes,
                           apq__kernel **out, apq__kernel_info *info, apq_error *error);

/* ---- emu_stream.c ---- */
/* What a stream does, now or when the graph is launched. */
typedef struct apq__emu_node {
  struct apq__emu_node *next;
  int is_fill;
  void *pointer; /* of a fill */
  size_t size;
  int byte;
  apq__launch launch; /* its args point behind this struct */
} apq__emu_node;

apq_status apq__emu_stream_create(apq__emu *emu, void **out, apq_error *error);
void apq__emu_stream_destroy(apq__emu *emu, void *stream);
/* Executes the node, or adds a copy of it to the graph that the stream is being captured into. */
apq_status apq__emu_submit(apq__emu *emu, void *stream, const apq__emu_node *node,
                           apq_error *error);
/* INVALID_ARGUMENT unless the stream exists; BUSY, naming `what`, while it is being captured. */
apq_status apq__emu_check_idle(apq__emu *emu, void *stream, const char *what, apq_error *error);
int apq__emu_is_capturing(apq__emu *emu, void *stream);
apq_status apq__emu_capture_begin(apq__emu *emu, void *stream, apq_error *error);
apq_status apq__emu_capture_end(apq__emu *emu, void *stream, apq__graph **out, apq_error *error);
apq_status apq__emu_graph_launch(apq__emu *emu, apq__graph *graph, void *stream, apq_error *error);
void apq__emu_graph_destroy(apq__graph *graph);

#endif
