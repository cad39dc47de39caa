/* The emulated device's inside, shared by the emu_*.c files.
 *
 * A launch runs its clusters of blocks one after another on the calling thread; the blocks of one
 * cluster run together.  Each CUDA thread is a fiber that runs until it must wait for others.  All
 * lanes of a warp meet at every collective word and at every barrier, so a warp is at most at one
 * of them; a lane may wait alone for an mbarrier.  A warp knows which of its lanes can run, and a
 * list holds the warps of which one can. */
#ifndef APQ_EMU_IMPL_H
#define APQ_EMU_IMPL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "emu_fiber.h"
#include "emu_order.h"

#define APQ_EMU_HOST
#include "prelude_emu.h"

enum {
  APQ__EMU_LANES = 32,
  APQ__EMU_THREADS = 1024, /* of a block */
  APQ__EMU_WARPS = APQ__EMU_THREADS / APQ__EMU_LANES,
  APQ__EMU_GROUP_WARPS = 4, /* of a warpgroup */
  APQ__EMU_GROUPS = APQ__EMU_WARPS / APQ__EMU_GROUP_WARPS,
  APQ__EMU_CLUSTER = 8,    /* blocks */
  APQ__EMU_MBARRIERS = 64, /* that one block may initialize; a limit of the emulator */
  APQ__EMU_NAMED = 16,     /* barriers 0 .. 15 */
  APQ__EMU_ORDERS = 64,    /* lane orders to draw from */
  APQ__EMU_HOT = 4,
  APQ__EMU_FENCES = 4, /* latest fences of a thread that are remembered */
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

/* What asynchronous operations did to 16 bytes of shared memory, by the number of the operation; a
 * number below the cluster's first is none.  Reads are apart by warpgroup, because operations of
 * one warpgroup end in order; the last is for bulk stores. */
typedef struct apq__emu_chunk {
  uint32_t loaded;      /* by the last bulk copy */
  uint32_t read_latest; /* the highest of those below */
  uint32_t read[APQ__EMU_GROUPS + 1];
  uint32_t touched; /* the block's number if its threads accessed the bytes since the copy */
} apq__emu_chunk;

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
  uint32_t chain;               /* of the first that may still run: those after it are dependent */
  apq__emu_interval *intervals; /* of this launch, by block; the first stands for atomic writes */
  uint32_t interval_count, interval_capacity;
} apq__emu_memory;

/* A cp.async on its way. */
typedef struct apq__emu_copy {
  const void *from; /* NULL: zeros */
  int at, group;
} apq__emu_copy;

/* A bulk store on its way. */
typedef struct apq__emu_store {
  uint8_t *bytes; /* what it read; freed when it has been written */
  void *to;
  int size, line, group;
  uint32_t op;
  int is_read; /* its reads have been waited for */
} apq__emu_store;

typedef struct apq__emu_warp apq__emu_warp;
typedef struct apq__emu_block apq__emu_block;
typedef struct apq__emu_mbarrier apq__emu_mbarrier;

typedef struct apq__emu_thread {
  apq__fiber *fiber;
  apq__emu_warp *warp;
  int index, lane;
  apq__emu_copy *copies; /* [first, last) are on their way, in order */
  int first, last, capacity;
  int groups;        /* committed */
  uint32_t interval; /* of its global writes, 0 when there is none since the last fence */

  apq__emu_known *known;           /* what it learned at barriers other than the block's; or NULL */
  uint64_t fence[APQ__EMU_FENCES]; /* clocks of its latest apq_fence_async, as a ring */
  int fences;                      /* how many there were */
  apq__emu_mbarrier *awaited;      /* where it waits alone, and where that stands */
  int awaited_line, awaited_parity;
  struct apq__emu_thread *next_waiter;
  int products, product_groups, product_fences; /* wgmma: issued, committed; fences */
  apq__emu_store *stores;                       /* bulk stores that are not yet written */
  int store_count, store_capacity, store_groups;
  int grid_waited;
  int has_atomic; /* it has made a global atomic, or seen what one wrote */
} apq__emu_thread;

/* RUNNING: the current thread is of it.  READY: listed.  PARKED: all its lanes wait. */
typedef enum apq__emu_state { APQ__EMU_RUNNING, APQ__EMU_READY, APQ__EMU_PARKED } apq__emu_state;

struct apq__emu_warp {
  apq__emu_thread *threads;
  const uint8_t *next;   /* circular order of lanes */
  uint32_t runnable;     /* lanes that can go on */
  int size;              /* below 32 in the last warp of a ragged block */
  int arrived, exited;   /* lanes at the pending word, lanes gone */
  int word, line, first; /* the pending word, where it stands, the lane that came first */
  apq__emu_state state;
  uint64_t since; /* records before it are ordered with this warp by a warp barrier */
  apq__emu_block *block;
  apq__emu_thread *resume; /* who runs when the warp's turn comes */
  int index;               /* in its block */
  int parked_word;         /* the barrier at which the whole warp waits, with `line` */
  int registers;           /* of each thread */
  int atomic_thread;       /* who made its first global atomic, and when; 0 before */
  uint64_t atomic_at;
  uint32_t value[APQ__EMU_LANES], result[APQ__EMU_LANES];
  int argument[APQ__EMU_LANES];
  uint32_t *r[APQ__EMU_LANES];
  int *d[APQ__EMU_LANES];
  const uint32_t *a[APQ__EMU_LANES], *b[APQ__EMU_LANES];
  struct apq__emu_warp_products *products; /* wgmma; NULL before the first */
};

/* The words at which all lanes of a warp meet, and their names for reports.  The matrix words are
 * told apart by their kind. */
#define APQ__EMU_MEETINGS(X)                                                                       \
  X(SYNC_BLOCK, "syncthreads")                                                                     \
  X(SYNC_WARP, "syncwarp")                                                                         \
  X(BALLOT, "ballot")                                                                              \
  X(SHUFFLE, "shuffle")                                                                            \
  X(SHUFFLE_XOR, "shuffle_xor")                                                                    \
  X(LDMATRIX, "ldmatrix4")                                                                         \
  X(LDMATRIX_TRANSPOSED, "ldmatrix4_transposed")                                                   \
  X(MMA, "mma_b1_and")                                                                             \
  X(MMA_XOR, "mma_b1_xor")                                                                         \
  X(MMA_U8, "mma_u8")                                                                              \
  X(STMATRIX, "stmatrix4")                                                                         \
  X(STMATRIX_TRANSPOSED, "stmatrix4_transposed")                                                   \
  X(NAMED_BARRIER, "named_barrier")                                                                \
  X(SYNC_CLUSTER, "cluster_sync")                                                                  \
  X(REGISTERS, "registers_decrease or _increase")                                                  \
  X(WGMMA_WAIT, "wgmma_wait")
#define APQ__EMU_MEETING(name, text) APQ__EMU_##name,
typedef enum apq__emu_meeting { APQ__EMU_MEETINGS(APQ__EMU_MEETING) } apq__emu_meeting;
#undef APQ__EMU_MEETING

/* An mbarrier. */
struct apq__emu_mbarrier {
  apq__emu_block *block;
  int at, count;
  int thread, line;                /* who initialized it */
  uint64_t made_at, published_at;  /* clocks; the latter 0 before */
  int pending;                     /* arrivals that the phase still lacks */
  long long expected;              /* bytes that it still lacks; below 0 when they came early */
  uint32_t phase;                  /* completed ones */
  apq__emu_known *gathered, *done; /* what the arrivals of this phase, of the one before, knew */
  apq__emu_thread *waiters;
};

/* Barrier `id` while some warps wait at it. */
typedef struct apq__emu_named {
  int threads, arrived, line, thread;
  uint32_t warps; /* waiting, by bit */
  apq__emu_known *gathered;
} apq__emu_named;

/* The warps of a warpgroup that have met at setmaxnreg. */
typedef struct apq__emu_group {
  int arrived, count, line, thread;
  struct apq__emu_group_products *products; /* wgmma; NULL before the first */
} apq__emu_group;

/* One live block. */
struct apq__emu_block {
  int rank;       /* in its cluster */
  uint32_t index; /* linear, in the grid */
  int position[3];
  uint8_t *shared; /* target.smem_per_block bytes */
  apq__emu_cell *cells;
  apq__emu_chunk *chunks; /* NULL below sm_90 */
  apq__emu_thread *threads;
  apq__emu_warp *warps;
  uint64_t since; /* records before it are ordered by a block barrier */
  int waiting_warps, done_warps;
  int barrier_line, barrier_thread;
  int is_async;   /* it has mbarriers, or operations on its shared memory have begun */
  int is_knowing; /* a thread of it has learned something */
  int is_grid_waited;
  int registers_free; /* of its share of the register file */
  int mbarrier_count;
  apq__emu_mbarrier mbarriers[APQ__EMU_MBARRIERS];
  uint8_t *mbarrier_at; /* by offset / 8: 1 + index, 0 for none */
  apq__emu_named named[APQ__EMU_NAMED];
  apq__emu_group groups[APQ__EMU_GROUPS];
  uint64_t *visited; /* by thread of the cluster: clock of its last arrival here */
  int *visited_line;
  apq__emu_known *known_at_exit; /* by all threads that are gone */
};

/* What an asynchronous operation is, for those who meet its traces in shared memory. */
typedef enum apq__emu_op_kind { APQ__EMU_LOAD, APQ__EMU_PRODUCT, APQ__EMU_STORE } apq__emu_op_kind;
typedef struct apq__emu_op {
  uint8_t kind, rank; /* of the block whose memory it accesses */
  uint8_t issuer;     /* rank of the block that issued it */
  uint8_t is_done;    /* a load has landed; a store's reads, a product have been waited for */
  uint16_t thread;
  int line;
  int mbarrier;                        /* a load's, in block `rank` */
  uint64_t time[APQ__EMU_GROUP_WARPS]; /* clock when done; of a product by warp of the warpgroup */
} apq__emu_op;

/* What a read depends on: bulk copies, and stores of threads. */
typedef struct apq__emu_need {
  uint32_t op;     /* of a copy; 0 for a record */
  int at;          /* where it was met */
  uint64_t record; /* the latest of a thread */
} apq__emu_need;
typedef struct apq__emu_needs {
  apq__emu_need *list;
  int count, capacity;
} apq__emu_needs;

/* A thread's place in the order of things, now or when it issued something. */
typedef struct apq__emu_view {
  int rank, thread;
  uint64_t before; /* what comes at this clock or later is not ordered */
  uint64_t block_since, warp_since;
  const apq__emu_known *known;
} apq__emu_view;

/* Who does what to which bytes of shared memory, for reports. */
typedef struct apq__emu_deed {
  int line;
  const char *what; /* "wgmma's read" */
  int at, size;
} apq__emu_deed;

/* The matrix products, chosen for the CPU at hand.  Those of wgmma add the products of 16 rows with
 * n columns, n a multiple of 16, to d[16][n]; `turn` puts the columns in the order that they want.
 */
typedef struct apq__emu_math {
  void (*b1_and)(const uint64_t a[16][4], const uint64_t b[8][4], uint32_t d[16][8]);
  void (*b1_xor)(const uint64_t a[16][4], const uint64_t b[8][4], uint32_t d[16][8]);
  void (*turn_b1)(const uint8_t (*columns)[32], int n, uint32_t *out); /* 8 n words */
  void (*turn_u8)(const uint8_t (*columns)[32], int n, uint32_t *out); /* 16 n words */
  void (*wgmma_b1)(const uint32_t a[16][8], const uint32_t *b, int n, uint32_t *d);
  void (*wgmma_u8)(const uint8_t a[16][32], const uint32_t *b, int n, uint32_t *d);
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

  apq__fiber_pool pool;
  apq__fiber home;
  apq__emu_thread *threads; /* of a cluster, block by block; `capacity` of them are there */
  apq__emu_warp *warps;
  int thread_capacity, warp_capacity;
  apq__emu_block *blocks[APQ__EMU_CLUSTER]; /* NULL before the first cluster that large */
  uint8_t orders[APQ__EMU_ORDERS][APQ__EMU_LANES];
  uint8_t ragged[APQ__EMU_ORDERS][APQ__EMU_LANES]; /* for a last warp below 32 lanes */

  const apq__kernel *kernel;
  const void *args;
  int shared_size, thread_count, warp_count, cluster; /* of this launch */
  int is_dependent;
  apq__emu_thread *current;
  uint64_t random;
  uint64_t clock;          /* in place in a record */
  uint64_t cluster_start;  /* records before it are of other blocks */
  uint32_t first_interval; /* of the cluster */
  apq__emu_warp *ready[APQ__EMU_CLUSTER * APQ__EMU_WARPS];
  int ready_count;
  int waiting_warps; /* at the cluster's barrier */
  int done_blocks;

  /* Of the running block and warp, at hand. */
  apq__emu_block *block;
  uint8_t *shared;
  apq__emu_cell *cells;
  apq__emu_chunk *chunks;
  int is_async;
  uint64_t block_since;
  uint64_t warp_since;

  apq__emu_order order;
  apq__emu_op *ops; /* of the cluster; number first_op + i is at i */
  uint32_t first_op, op_count, op_capacity;
  struct apq__emu_flight *flights; /* copies that have not landed */
  int flight_count, flight_capacity;
  apq__emu_needs needs; /* of the bulk store at hand */
  uint32_t seen[APQ__EMU_THREADS], seen_at[APQ__EMU_THREADS], seen_stamp; /* apq__emu_needs */

  int slice;          /* collectives until another warp gets its turn */
  const void *polled; /* by the latest volatile load */
  int polls;          /* that many times in a row */
  int faulted;
  char report[400];
};

static inline apq__emu *apq__emu_of(apq_emu *words) {
  return (apq__emu *)(void *)((char *)words - offsetof(apq__emu, words));
}

/* Advances the clock: what is recorded from here on is later than what was. */
static inline uint64_t apq__emu_tick(apq__emu *emu) {
  return emu->clock += (uint64_t)1 << 32;
}

/* Ends the launch with a report that names the running thread. */
_Noreturn void apq__emu_fault(apq__emu *emu, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Makes the next report name another one. */
void apq__emu_blame(apq__emu *emu, const apq__emu_block *block, int thread);

/* Each part puts its words into the table. */
void apq__emu_shared_words(apq_emu *words);
void apq__emu_copy_words(apq_emu *words);
void apq__emu_global_words(apq_emu *words);
void apq__emu_warp_words(apq_emu *words);
void apq__emu_barrier_words(apq_emu *words);
void apq__emu_mbarrier_words(apq_emu *words);
void apq__emu_bulk_words(apq_emu *words);
void apq__emu_store_words(apq_emu *words);
void apq__emu_wgmma_words(apq_emu *words);

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
/* Faults unless an asynchronous copy may read there: nothing that this launch writes. */
void apq__emu_check_bulk_source(apq__emu *emu, int line, const void *pointer, size_t size);
/* Checks a write of the running thread to come; performs it. */
void apq__emu_check_target(apq__emu *emu, int line, const void *pointer, size_t size);
void apq__emu_write_target(apq__emu *emu, int line, void *pointer, const void *bytes, size_t size);

/* ---- emu_shared.c ---- */
/* Checks and records a 16-byte access of the running thread. */
void apq__emu_note_read16(apq__emu *emu, int line, int at);
void apq__emu_note_write16(apq__emu *emu, int line, int at);
void apq__emu_note_write8(apq__emu *emu, int line, int at);
/* Marks 16 bytes, just noted as written, as in flight; and as written now. */
void apq__emu_mark_flight(apq__emu *emu, int at);
void apq__emu_mark_arrived(apq__emu *emu, int at);

/* ---- emu_mma.c ---- */
void apq__emu_math_init(apq__emu_math *math);
/* d += a b over the fragments of a whole warp (prelude_cuda.h tells their order). */
void apq__emu_mma(const apq__emu_math *math, int kind, int *const d[], const uint32_t *const a[],
                  const uint32_t *const b[]);

/* ---- emu_wgmma_math.c ---- */
void apq__emu_wgmma_math_init(apq__emu_math *math);

/* ---- emu_schedule.c ---- */
const char *apq__emu_word_name(int word);
/* Waits for the other lanes of the warp.  Returns 1 in the lane that comes last, before the others
 * go on; it acts for all. */
int apq__emu_meet(apq__emu *emu, int word, int line);
/* Now and then lets another warp have its turn. */
void apq__emu_yield(apq__emu *emu);
/* The running thread waits alone until it is woken. */
void apq__emu_wait_alone(apq__emu *emu);
void apq__emu_wake_thread(apq__emu *emu, apq__emu_thread *thread);
/* The running warp, all its lanes at `word`, waits until it is woken, in any order of lanes. */
void apq__emu_park(apq__emu *emu, int word, int line);
void apq__emu_wake_warp(apq__emu *emu, apq__emu_warp *warp);
/* Another order of lanes for a warp that goes on from a barrier. */
void apq__emu_shuffle_lanes(apq__emu *emu, apq__emu_warp *warp);
/* Runs the blocks of the cluster that begins with this one to their end or a fault. */
void apq__emu_run_cluster(apq__emu *emu, uint32_t first_block);
/* Draws the lane orders of a launch. */
void apq__emu_draw_orders(apq__emu *emu);

/* ---- emu_block.c ---- */
/* Room for the launch's threads, warps and blocks. */
apq_status apq__emu_ready_blocks(apq__emu *emu, apq_error *error);
void apq__emu_free_blocks(apq__emu *emu);
/* A block at its start; its end, where no thread of it runs any more. */
void apq__emu_start_block(apq__emu *emu, apq__emu_block *block, uint32_t index);
void apq__emu_end_block(apq__emu *emu, apq__emu_block *block);

/* ---- emu_mbarrier.c ---- */
/* The mbarrier at this offset of a block, known to the running thread; faults if there is none. */
apq__emu_mbarrier *apq__emu_find_mbarrier(apq__emu *emu, int line, apq__emu_block *block, int at,
                                          int is_async);
/* Bytes of this copy have come. */
void apq__emu_complete_bytes(apq__emu *emu, apq__emu_mbarrier *barrier, int bytes,
                             const apq__emu_op *op);
/* Faults if an mbarrier lies in [at, at + size). */
void apq__emu_check_no_mbarrier(apq__emu *emu, const apq__emu_block *block, apq__emu_deed deed);
/* Faults if the block has exited. */
void apq__emu_check_alive(apq__emu *emu, int line, const apq__emu_block *block);
/* What the mbarrier of a waiting thread lacks, in words. */
void apq__emu_explain_wait(const apq__emu *emu, const apq__emu_thread *thread, char *text,
                           size_t size);

/* ---- emu_async.c ---- */
/* The running thread's view, now. */
apq__emu_view apq__emu_view_now(const apq__emu *emu);
/* From here on the running block's accesses are compared with operations. */
void apq__emu_begin_async(apq__emu *emu);
uint32_t apq__emu_add_op(apq__emu *emu, apq__emu_op op);
static inline apq__emu_op *apq__emu_op_of(const apq__emu *emu, uint32_t id) {
  return id >= emu->first_op ? &emu->ops[id - emu->first_op] : NULL;
}
/* Whether what thread `thread` of block `rank` did at this clock is ordered before the viewer. */
int apq__emu_is_after(const apq__emu *emu, const apq__emu_view *view, int rank, int thread,
                      uint64_t time);
/* Checks the running thread's write to a chunk in which operations may have left traces. */
void apq__emu_check_chunk(apq__emu *emu, apq__emu_deed deed);
/* 1 if a bulk copy has brought these bytes; faults if the viewer does not know that. */
int apq__emu_check_loaded(apq__emu *emu, const apq__emu_view *view, const apq__emu_block *block,
                          apq__emu_deed deed);
/* An operation is going to write there, or reads: faults unless its issuer is ordered after all
 * that was done there before, and leaves its trace. */
void apq__emu_claim(apq__emu *emu, const apq__emu_view *view, apq__emu_block *block,
                    apq__emu_deed deed, uint32_t op);
/* Leaves the trace of a read by `op` in its slot (warpgroup, or the last), and gathers what the
 * read needs; apq__emu_check_needs faults unless the viewer has it. */
void apq__emu_gather_needs(apq__emu *emu, const apq__emu_view *view, apq__emu_block *block,
                           apq__emu_deed deed, uint32_t op, int slot, apq__emu_needs *needs);
void apq__emu_check_needs(apq__emu *emu, const apq__emu_view *view, const apq__emu_block *block,
                          apq__emu_deed deed, const apq__emu_needs *needs);
/* Before gathering for another read. */
void apq__emu_clear_needs(apq__emu *emu, apq__emu_needs *needs);

/* ---- emu_bulk.c ---- */
/* Lets one copy arrive, if there is any. */
int apq__emu_land(apq__emu *emu);
apq_status apq__emu_tensor_map(apq__emu *emu, const apq__tensor_box *box, apq_tensor_map *out,
                               apq_error *error);
/* The box of a map that a kernel names. */
apq__tensor_box apq__emu_read_map(apq__emu *emu, int line, const void *pointer);
/* A copy into this block that has not landed: its operation; 0 if there is none. */
uint32_t apq__emu_flight_into(const apq__emu *emu, int rank);

/* ---- emu_store.c ---- */
/* When a thread exits: faults unless all its bulk stores have read; writes what is left. */
void apq__emu_finish_stores(apq__emu *emu);

/* ---- emu_wgmma.c ---- */
void apq__emu_start_products(apq__emu_block *block, int warp_count);
/* When a thread exits, and a block. */
void apq__emu_finish_products(apq__emu *emu);
void apq__emu_compare_products(apq__emu *emu, apq__emu_block *block);
void apq__emu_free_products(apq__emu_block *block, apq__emu_warp *warps, int warp_count);

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
