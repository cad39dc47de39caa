/* Kernels with one planted fault each in the words of sm_90, and their correct twins: the emulated
 * device must report the first with block and thread whatever the order of threads, and let the
 * second pass. */
#include "emu_kernel.h"

enum { SEEDS = 12, GLOBAL_BYTES = 4096, SMEM = 16512 };

/* `body` has its fault where BAD is not zero.  t is the thread; in and out are GLOBAL_BYTES each,
 * in all zeros.  LOAD brings the 8192 bytes of MAP's box, rows of 128, to offset 0 and counts them
 * into FULL, an mbarrier of one arrival; FREE is another, and RAW the place for one that nobody has
 * initialized.  PRODUCT waits for LOAD and for one wgmma of descriptors a and b. */
typedef struct fault_case {
  const char *name;
  unsigned blocks, cluster, threads;
  const char *body;
  const char *expected; /* in the report; "A|B": one of the two */
} fault_case;

static const char helpers[] =
    "enum { FULL = 16384, FREE = 16392, RAW = 16400 };\n"
    "#define MAP (&args.map[0])\n"
    "#define LOAD (apq_mbarrier_expect(FULL, 8192), apq_tma_load(0, MAP, FULL, 0, 0, 0))\n"
    "#define A apq_wgmma_desc(0, 128)\n"
    "#define PRODUCT(n, a, b) \\\n"
    "  int d[32]; \\\n"
    "  if (t == 0) LOAD; \\\n"
    "  apq_mbarrier_wait(FULL, 0); \\\n"
    "  apq_wgmma_fence(); \\\n"
    "  apq_wgmma_b1(n, d, a, b, 0); \\\n"
    "  apq_wgmma_commit(); \\\n"
    "  apq_wgmma_wait(0)\n";

/* The reader may come even before the copy. */
#define IN_FLIGHT "is still in flight|was not waited for|never written"

static const fault_case cases[] = {
    {"a read of what a copy brings, not waited for", 2, 1, 64,
     "  if (t == 0) LOAD;\n"
     "  if (!BAD || t < 32) apq_mbarrier_wait(FULL, 0);\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * t));\n",
     IN_FLIGHT},
    {"one thread's wait is not another's", 1, 1, 64,
     "  if (t == 0) LOAD;\n"
     "  if (t == 0) apq_mbarrier_wait(FULL, 0);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * t));\n",
     IN_FLIGHT},
    {"a lane's wait is its warp's after a syncwarp only", 1, 1, 32,
     "  if (t == 0) LOAD;\n"
     "  if (t == 0) apq_mbarrier_wait(FULL, 0);\n"
     "  if (BAD)\n"
     "    apq_shuffle(0, 0);\n"
     "  else\n"
     "    apq_syncwarp();\n"
     "  apq_stg32(out + 4 * t, apq_lds32(4 * t));\n",
     IN_FLIGHT},
    {"a store under a copy in flight", 1, 1, 64,
     "  if (t == 0) LOAD;\n"
     "  if (!BAD) apq_mbarrier_wait(FULL, 0);\n"
     "  if (t == 0) apq_sts32(16, 1);\n"
     "  if (BAD) apq_mbarrier_wait(FULL, 0);\n",
     IN_FLIGHT},
    {"a copy over what a thread reads", 1, 1, 64,
     "  if (t == 0) {\n"
     "    LOAD;\n"
     "    apq_mbarrier_wait(FULL, 0);\n"
     "    if (!BAD) apq_mbarrier_wait(FREE, 0);\n"
     "    LOAD;\n"
     "  }\n"
     "  if (t == 32) {\n"
     "    apq_mbarrier_wait(FULL, 0);\n"
     "    apq_stg32(out, apq_lds32(64));\n"
     "    apq_mbarrier_arrive(FREE);\n"
     "  }\n"
     "  apq_mbarrier_wait(FULL, 1);\n",
     "read by thread 32|read of 4 bytes at offset 64: a bulk copy issued by thread 0|waits "
     "forever"},
    {"a thread that reads on after it has let the copy go", 1, 1, 64,
     "  if (t == 0) {\n"
     "    LOAD;\n"
     "    apq_mbarrier_wait(FREE, 0);\n"
     "    LOAD;\n"
     "  }\n"
     "  if (t == 32) {\n"
     "    apq_mbarrier_wait(FULL, 0);\n"
     "    apq_u32 v = BAD ? 0 : apq_lds32(64);\n"
     "    apq_mbarrier_arrive(FREE);\n"
     "    apq_stg32(out, BAD ? apq_lds32(64) : v);\n"
     "  }\n"
     "  apq_mbarrier_wait(FULL, 1);\n",
     "read by thread 32|offset 64: a bulk copy issued by thread 0"},
    {"a copy over stores with no fence", 1, 1, 64,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_fence_async();\n"
     "  apq_syncthreads();\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "with no fence_async by it before the barrier"},
    {"a second copy over one in flight", 1, 1, 32,
     "  if (t == 0) LOAD;\n"
     "  if (!BAD) apq_mbarrier_wait(FULL, 0);\n"
     "  if (t == 0) apq_mbarrier_expect(FREE, 16), apq_bulk_load(32, in, 16, FREE);\n"
     "  apq_mbarrier_wait(FREE, 0);\n"
     "  if (BAD) apq_mbarrier_wait(FULL, 0);\n",
     "thread 0: bulk copy of 16 bytes at offset 32: a bulk copy issued by thread 0 at line 1 is "
     "still"},
    {"more bytes expected than come", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_expect(FULL, 32 + BAD), apq_bulk_load(0, in, 32, FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "waits forever: phase 0 of the mbarrier at offset 16384 lacks 0 of 1 arrivals and 1 bytes, of "
     "which none are on their way"},
    {"more bytes come than are expected", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_expect(FULL, 32 - BAD), apq_bulk_load(0, in, 32, FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "thread 0: mbarrier at offset 16384: 1 bytes more than its phase expects"},
    {"a wait that nobody ends", 1, 1, 64,
     "  if (t == 32 && !BAD) apq_mbarrier_arrive(FREE);\n"
     "  if (t == 0) apq_mbarrier_wait(FREE, 0);\n",
     "thread 0: waits forever: phase 0 of the mbarrier at offset 16392 lacks 1 of 1 arrivals (line "
     "2"},
    {"a wait for the wrong parity", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_arrive(FREE);\n"
     "  apq_mbarrier_wait(FREE, BAD);\n"
     "  if (t == 0) apq_mbarrier_wait(FREE, BAD);\n"
     "  if (BAD && t == 0) apq_mbarrier_arrive(FREE);\n"
     "  apq_syncwarp();\n"
     "  if (BAD) apq_mbarrier_wait(FREE, 1), apq_mbarrier_wait(FREE, 0);\n",
     "waits forever"},
    {"a parity that is none", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_arrive(FREE);\n"
     "  apq_mbarrier_wait(FREE, 2 * BAD);\n",
     "parity 2"},
    {"an arrival beyond the count", 1, 1, 32,
     "  if (t == 0) {\n"
     "    apq_mbarrier_expect(FULL, 32);\n"
     "    if (BAD) apq_mbarrier_arrive(FULL);\n"
     "    apq_bulk_load(0, in, 32, FULL);\n"
     "  }\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "more than the 1 arrivals of its phase, which still waits for 32 bytes"},
    {"an mbarrier that nobody initialized", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_arrive(BAD ? RAW : FREE);\n",
     "no mbarrier was initialized at offset 16400"},
    {"an mbarrier in no place", 1, 1, 32, "  if (t == 0) apq_mbarrier_arrive(FREE + 4 * BAD);\n",
     "misaligned"},
    {"an mbarrier that is initialized with no barrier between", 1, 1, 64,
     "  if (t == 0) apq_mbarrier_init(RAW, 1);\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 32) apq_mbarrier_arrive(RAW);\n",
     "with no barrier between|no mbarrier was initialized"},
    {"an mbarrier for copies that is not published", 1, 1, 64,
     "  if (t == 0) {\n"
     "    apq_mbarrier_init(RAW, 1);\n"
     "    if (!BAD) apq_mbarrier_publish();\n"
     "    apq_mbarrier_expect(RAW, 16);\n"
     "    apq_bulk_load(0, in, 16, RAW);\n"
     "    apq_mbarrier_wait(RAW, 0);\n"
     "  }\n",
     "no mbarrier_publish by thread 0"},
    {"an mbarrier initialized twice", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_init(BAD ? FULL : RAW, 1);\n", "initialized before"},
    {"a store over an mbarrier", 1, 1, 32, "  if (t == 0) apq_sts32(FULL + 4 + 20 * !BAD, 1);\n",
     "there is an mbarrier at 16384"},
    {"a copy over an mbarrier", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_expect(FULL, 16), apq_bulk_load(BAD ? FREE / 16 * 16 : 0, in, 16, "
     "FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "there is an mbarrier at 16384"},
    {"a tensor copy to a misaligned place", 1, 1, 32,
     "  if (t == 0) {\n"
     "    apq_mbarrier_expect(FULL, 8192);\n"
     "    apq_tma_load(64 * BAD, MAP, FULL, 0, 0, 0);\n"
     "  }\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "to offset 64: not 128-byte aligned"},
    {"what is no tensor map", 1, 1, 32,
     "  apq_tensor_map other = args.map[0];\n"
     "  other.word[2] += (apq_u64)BAD;\n"
     "  if (t == 0) apq_tma_prefetch(&other);\n",
     "none of this device"},
    {"a bulk copy of an odd size", 1, 1, 32,
     "  int size = BAD ? 24 : 32;\n"
     "  if (t == 0) apq_mbarrier_expect(FULL, size), apq_bulk_load(0, in, size, FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "bulk copy of 24 bytes"},
    {"a bulk copy out of bounds", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_expect(FULL, 32), apq_bulk_load(0, in + (BAD ? 4080 : 4064), 32, "
     "FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "out of bounds"},
    {"a bulk copy out of shared memory", 1, 1, 32,
     "  if (t == 0) apq_mbarrier_expect(FULL, 32), apq_bulk_load(BAD ? 16496 : 16480, in, 32, "
     "FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "outside the block's 16512 bytes"},
    {"a bulk copy of what this launch writes", 1, 1, 32,
     "  if (t == 0) apq_stg32(BAD ? in : out, 1);\n"
     "  if (t == 0) apq_mbarrier_expect(FULL, 32), apq_bulk_load(0, in, 32, FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "written in this launch"},
    {"a copy that nobody waits for", 1, 1, 32,
     "  if (t == 0) LOAD;\n"
     "  if (!BAD) apq_mbarrier_wait(FULL, 0);\n",
     "exits while a bulk copy issued by thread 0"},
    {"a bulk store with no fence", 1, 1, 64,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_fence_async();\n"
     "  apq_syncthreads();\n"
     "  if (t == 0) apq_bulk_store(out, 0, 256), apq_bulk_commit(), apq_bulk_wait_read(0);\n",
     "thread 0: bulk store's read of 16 bytes at offset"},
    {"a fence by the wrong thread", 1, 1, 64,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_fence_async();\n"
     "  apq_syncthreads();\n"
     "  apq_fence_async();\n"
     "  if (t == 0) apq_bulk_store(out, 0, 256), apq_bulk_commit(), apq_bulk_wait_read(0);\n",
     "with no fence_async by it before the barrier"},
    {"a fence before the store", 1, 1, 64,
     "  if (BAD) apq_fence_async();\n"
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD) apq_fence_async();\n"
     "  apq_syncthreads();\n"
     "  if (t == 0) apq_bulk_store(out, 0, 256), apq_bulk_commit(), apq_bulk_wait_read(0);\n",
     "with no fence_async by it before the barrier"},
    {"a bulk store with no barrier", 1, 1, 64,
     "  if (t >= 32) apq_sts32(4 * t, 1), apq_fence_async();\n"
     "  if (!BAD) apq_syncthreads();\n"
     "  if (t == 0) apq_bulk_store(out, 128, 128), apq_bulk_commit(), apq_bulk_wait_read(0);\n",
     "with no barrier between|never written"},
    {"a bulk store that still reads at the end", 1, 1, 32,
     "  apq_sts32(4 * t, 1);\n"
     "  apq_fence_async();\n"
     "  apq_syncwarp();\n"
     "  if (t == 0) apq_bulk_store(out, 0, 128), apq_bulk_commit();\n"
     "  if (t == 0 && !BAD) apq_bulk_wait_read(0);\n",
     "thread 0: exits, while its bulk store of line 4 still reads shared memory"},
    {"a bulk store that is never committed", 1, 1, 32,
     "  apq_sts32(4 * t, 1);\n"
     "  apq_fence_async();\n"
     "  apq_syncwarp();\n"
     "  if (t == 0) apq_bulk_store(out, 0, 128);\n"
     "  if (!BAD) apq_bulk_commit();\n"
     "  apq_bulk_wait_read(0);\n",
     "never committed"},
    {"a store over what a bulk store reads", 1, 1, 64,
     "  apq_sts32(4 * t, 1);\n"
     "  apq_fence_async();\n"
     "  apq_syncthreads();\n"
     "  if (t == 0) {\n"
     "    apq_bulk_store(out, 0, 256), apq_bulk_commit();\n"
     "    if (!BAD) apq_bulk_wait_read(0);\n"
     "  }\n"
     "  apq_syncthreads();\n"
     "  apq_sts32(4 * t, 2);\n"
     "  if (t == 0) apq_bulk_wait_read(0);\n",
     "a bulk store issued by thread 0 at line 5 reads them"},
    {"a bulk store to a read-only place", 1, 1, 32,
     "  apq_sts32(4 * t, 1);\n"
     "  apq_fence_async();\n"
     "  apq_syncwarp();\n"
     "  if (t == 0) apq_bulk_store(out + (BAD ? 4080 : 0), 0, 128), apq_bulk_commit(), "
     "apq_bulk_wait(0);\n",
     "global write of 128 bytes at offset 4080"},

    {"a named barrier that is none", 1, 1, 64, "  apq_named_barrier(16 - !BAD, 64);\n", "1 to 15"},
    {"a named barrier of part of a warp", 1, 1, 64, "  apq_named_barrier(1, 64 - 8 * BAD);\n",
     "whole warps"},
    {"a named barrier of different sizes", 1, 1, 96,
     "  apq_named_barrier(2, BAD && t < 32 ? 64 : 96);\n", "named_barrier 2 of"},
    {"a named barrier at which too few come", 1, 1, 96,
     "  if (!BAD || t < 64) apq_named_barrier(3, 96);\n", "waits at named_barrier forever"},
    {"a named barrier orders only those who come", 1, 1, 96,
     "  apq_sts32(4 * t, 1);\n"
     "  if (!BAD)\n"
     "    apq_named_barrier(1, 96);\n"
     "  else if (t < 64)\n"
     "    apq_named_barrier(1, 64);\n"
     "  if (t < 64) apq_stg32(out + 4 * t, apq_lds32(4 * (t + 32)));\n",
     "with no barrier between|never written"},
    {"lanes at different named barriers", 1, 1, 32, "  apq_named_barrier(1 + BAD * (t & 1), 32);\n",
     "divergent"},
    {"an odd number of registers", 1, 1, 128, "  apq_registers_decrease(40 + BAD);\n",
     "a multiple of 8"},
    {"more registers by a decrease", 1, 1, 256,
     "  apq_registers_decrease(BAD ? 256 : 40);\n"
     "  if (BAD) apq_registers_decrease(256);\n"
     "  if (BAD) apq_registers_increase(40);\n",
     "registers_increase to 40, but a thread has 256"},
    {"more registers than there are", 1, 1, 384,
     "  if (t < 128)\n"
     "    apq_registers_decrease(40);\n"
     "  else\n"
     "    apq_registers_increase(BAD ? 240 : 232);\n",
     "waits at registers_decrease or _increase forever"},
    {"registers of part of a warpgroup", 1, 1, 256,
     "  if (!BAD || t < 96) apq_registers_decrease(40);\n",
     "waits at registers_decrease or _increase forever"},

    {"wgmma that is not waited for", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  if (!BAD) apq_wgmma_wait(0);\n",
     "its wgmma of line 5 is on its way: no wgmma_wait covers it"},
    {"wgmma that is not committed", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  if (!BAD) apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "its wgmma of line 5 is on its way: no wgmma_wait covers it"},
    {"wgmma with no fence", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  for (int i = 0; i < 2; i++) {\n"
     "    if (i == 0 || !BAD) apq_wgmma_fence();\n"
     "    apq_wgmma_b1(16, d, A, A, 0);\n"
     "    apq_wgmma_commit();\n"
     "    apq_wgmma_wait(0);\n"
     "  }\n",
     "with no wgmma_fence"},
    {"sums that are touched before the wait", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  if (BAD && t == 77) d[3] += 1;\n"
     "  apq_wgmma_wait(0);\n",
     "thread 77: wgmma: its sum 3 was changed before it was waited for"},
    {"operands in registers that are touched before the wait", 1, 1, 128,
     "  int d[8];\n"
     "  apq_u32 a[4] = {0, 0, 0, 0};\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_u8_registers(16, d, a, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  if (BAD && t == 77) a[3] += 1;\n"
     "  apq_wgmma_wait(0);\n",
     "thread 77: wgmma: its A registers were changed before it was waited for"},
    {"operands in registers that are written with no fence after it", 1, 1, 128,
     "  int d[8];\n"
     "  apq_u32 a[4] = {0, 0, 0, 0};\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  int e[8];\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_u8_registers(16, d, a, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n"
     "  a[0] = 5;\n"
     "  if (!BAD) apq_wgmma_fence();\n"
     "  apq_wgmma_u8_registers(16, e, a, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "with no wgmma_fence since its A registers were written"},
    {"wgmma of part of a warpgroup", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  if (BAD && t < 32) return;\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "thread 0: has not issued the wgmma of line 6"},
    {"wgmma of part of a warp", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  if (!BAD || t != 40) apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "thread 40 has issued 0 and 1: divergent"},
    {"wgmma that differ between warps", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A + (apq_u64)(BAD && t >= 96 ? 2 : 0), A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "issues another one, at line 5: divergent"},
    {"wgmma with an odd number of columns", 1, 1, 128, "  PRODUCT(16 + 8 * BAD, A, A);\n",
     "wgmma of 24 columns"},
    {"wgmma whose sums overlap", 1, 1, 128,
     "  int d[16];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_b1(16, d + 8 - 4 * BAD, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "d overlaps the sums of another one"},
    {"a descriptor of a misaligned place", 1, 1, 128,
     "  (void)apq_wgmma_desc(1024 - 512 * BAD, 128);\n", "a multiple of 1024"},
    {"a descriptor of an impossible swizzle", 1, 1, 128,
     "  (void)apq_wgmma_desc(1024, 128 - 112 * BAD);\n", "swizzle 16"},
    {"a plain descriptor of a misaligned place", 1, 1, 128,
     "  (void)apq_wgmma_desc_plain(1024 - 8 * BAD, 256);\n",
     "wgmma_desc_plain of offset 1016: a multiple of 16"},
    {"a plain descriptor of impossible distances", 1, 1, 128,
     "  (void)apq_wgmma_desc_plain(0, 128 - 112 * BAD);\n", "core matrices 16 bytes apart"},
    {"core matrices that lie over each other", 1, 1, 128,
     "  PRODUCT(16, apq_wgmma_desc_plain(0, BAD ? 1008 : 1024), A);\n",
     "A are 1008 bytes apart along K, where 64 rows of them take 1024"},
    {"core matrices outside shared memory", 1, 1, 128,
     "  PRODUCT(16, A, apq_wgmma_desc_plain(512, BAD ? 16000 : 256));\n",
     "B at offset 512 ends at 16768, outside"},
    {"core matrices that nobody has written", 1, 1, 128,
     "  PRODUCT(16, A, apq_wgmma_desc_plain(BAD ? 7936 : 7680, 256));\n",
     "wgmma's read of B of 16 bytes at offset 8192: never written"},
    {"a number that is no descriptor", 1, 1, 128, "  PRODUCT(16, A, BAD ? 64 : A);\n",
     "0x40 for B is no descriptor"},
    {"a descriptor that leaves its rows", 1, 1, 128, "  PRODUCT(16, A + (apq_u64)(6 + BAD), A);\n",
     "A begins 112 bytes into its rows of 128"},
    {"an operand outside shared memory", 1, 1, 128,
     "  PRODUCT(64, A, apq_wgmma_desc(BAD ? 9216 : 0, 128));\n",
     "B at offset 9216 ends at 17408, outside"},
    {"wgmma of what nobody has written", 1, 1, 128,
     "  PRODUCT(16, A, apq_wgmma_desc(8192 * BAD, 128));\n",
     "wgmma's read of B of 16 bytes at offset 8192: never written"},
    {"wgmma of a copy that is not waited for", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  if (!BAD) apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     IN_FLIGHT},
    {"wgmma that is issued before its copy is waited for", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  if (!BAD) apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_wait(0);\n",
     "was not waited for"},
    {"wgmma of stores with no fence", 1, 1, 128,
     "  int d[8];\n"
     "  for (int i = 0; i < 16; i++) apq_sts32(4 * t + 512 * i, 1);\n"
     "  if (!BAD) apq_fence_async();\n"
     "  apq_syncthreads();\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "with no fence_async by it before the barrier"},
    {"wgmma of stores with no barrier", 1, 1, 128,
     "  int d[8];\n"
     "  for (int i = 0; i < 16; i++) apq_sts32(4 * t + 512 * i, 1);\n"
     "  apq_fence_async();\n"
     "  if (BAD)\n"
     "    apq_syncwarp();\n"
     "  else\n"
     "    apq_syncthreads();\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  apq_wgmma_wait(0);\n",
     "with no barrier between|never written"},
    {"a store over what wgmma reads", 1, 1, 128,
     "  int d[8];\n"
     "  if (t == 0) LOAD;\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_wgmma_fence();\n"
     "  apq_wgmma_b1(16, d, A, A, 0);\n"
     "  apq_wgmma_commit();\n"
     "  if (BAD) apq_sts32(4 * t, 0);\n"
     "  apq_wgmma_wait(0);\n",
     "written by thread|reads them"},
    {"a slot that is freed before wgmma is waited for", 1, 1, 160,
     "  int d[8];\n"
     "  if (t == 128) {\n"
     "    LOAD;\n"
     "    apq_mbarrier_wait(FREE, 0);\n"
     "    LOAD;\n"
     "  }\n"
     "  if (t >= 128) return;\n"
     "  for (int i = 0; i < 2; i++) {\n"
     "    apq_mbarrier_wait(FULL, i);\n"
     "    apq_wgmma_fence();\n"
     "    apq_wgmma_b1(16, d, A, A, 0);\n"
     "    apq_wgmma_commit();\n"
     "    if (BAD && t == 0 && i == 0) apq_mbarrier_arrive(FREE);\n"
     "    apq_wgmma_wait(0);\n"
     "    if (!BAD && t == 0 && i == 0) apq_mbarrier_arrive(FREE);\n"
     "  }\n",
     "a wgmma issued by thread|a bulk copy issued by thread 128|waits forever"},

    {"an arrival outside the cluster", 2, 2, 32,
     "  if (t == 0) apq_mbarrier_arrive_at(FREE, (apq_cluster_rank() ^ 1) + 2 * BAD);\n"
     "  apq_mbarrier_wait(FREE, 0);\n"
     "  apq_cluster_sync();\n",
     "of a cluster of 2"},
    {"a multicast outside the cluster", 2, 2, 32,
     "  if (t == 0) {\n"
     "    apq_mbarrier_expect(FULL, 2 * 8192 - 8192);\n"
     "    if (apq_cluster_rank() == 0)\n"
     "      apq_tma_load_multicast(0, MAP, FULL, 0, 0, 0, BAD ? 7 : 3);\n"
     "  }\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_cluster_sync();\n",
     "multicast to the blocks 0x7 of a cluster of 2"},
    {"a block that does not outlive an arrival", 2, 2, 32,
     "  if (t == 0) apq_mbarrier_arrive_at(FREE, apq_cluster_rank() ^ 1);\n"
     "  if (!BAD) apq_cluster_sync();\n",
     "acts on block|exits without waiting for thread 0 of block"},
    {"a block that exits at a cluster barrier", 4, 2, 64,
     "  if (!BAD || apq_cluster_rank() == 0 || t < 32) apq_cluster_sync();\n",
     "exits, while others of its cluster wait|have exited|cluster_sync forever"},
    {"a cluster that does not wait for the mbarriers", 2, 2, 32,
     "  if (t == 0) {\n"
     "    apq_mbarrier_init(RAW, 1);\n"
     "    apq_mbarrier_publish();\n"
     "  }\n"
     "  if (!BAD) apq_cluster_sync();\n"
     "  if (t == 0) apq_mbarrier_arrive_at(RAW, apq_cluster_rank() ^ 1);\n"
     "  apq_cluster_sync();\n",
     "no mbarrier was initialized at offset 16400 of the other block|with no barrier between"},
    {"a chunk sent outside the cluster", 2, 2, 32,
     "  apq_u32x4 v = {1, 2, 3, 4};\n"
     "  if (t == 0) {\n"
     "    apq_mbarrier_expect(FULL, 16);\n"
     "    apq_send128(0, (apq_cluster_rank() ^ 1) + 2 * BAD, v, FULL);\n"
     "  }\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "of a cluster of 2"},
    {"a sent chunk that is not waited for", 2, 2, 32,
     "  apq_u32x4 v = {1, 2, 3, 4};\n"
     "  if (t == 0) {\n"
     "    apq_mbarrier_expect(FULL, 16);\n"
     "    apq_send128(0, apq_cluster_rank() ^ 1, v, FULL);\n"
     "  }\n"
     "  if (BAD) apq_stg32(out, apq_lds32(0));\n"
     "  apq_mbarrier_wait(FULL, 0);\n"
     "  apq_stg32(out, apq_lds32(0));\n",
     "a bulk copy issued by thread 0|never written"},
    {"chunks sent to one place", 2, 2, 32,
     "  apq_u32x4 v = {1, 2, 3, 4};\n"
     "  if (t == 0) apq_mbarrier_expect(FULL, 512);\n"
     "  apq_syncwarp();\n"
     "  apq_send128(16 * t / (1 + BAD) / 16 * 16, apq_cluster_rank() ^ 1, v, FULL);\n"
     "  apq_mbarrier_wait(FULL, 0);\n",
     "a bulk copy issued by thread"},
    {"a multicast over what the other block reads", 2, 2, 64,
     "  int rank = apq_cluster_rank();\n"
     "  for (int i = 0; i < 2; i++) {\n"
     "    if (t == 0) {\n"
     "      apq_mbarrier_expect(FULL, 8192);\n"
     "      if (i && !BAD && rank == 0) apq_mbarrier_wait(FREE, 0);\n"
     "      if (rank == 0) apq_tma_load_multicast(0, MAP, FULL, 0, 0, 0, 3);\n"
     "    }\n"
     "    apq_mbarrier_wait(FULL, i);\n"
     "    apq_stg32(out + 256 * rank + 4 * t, apq_lds32(4 * t));\n"
     "    apq_syncthreads();\n"
     "    if (t == 0 && rank == 1 && i == 0) apq_mbarrier_arrive_at(FREE, 0);\n"
     "  }\n"
     "  apq_cluster_sync();\n",
     "of block 1 at line|a bulk copy issued by thread 0|waits forever"},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static int compile_cases(void **state) {
  static apq__object object;
  apq__text text = {0};
  apq__text_add(&text, "%s", helpers);
  for (int i = 0; i < CASES; i++)
    apq__text_add(&text,
                  "APQ_KERNEL(test_%d, test_bulk_args, %u, 1) {\n"
                  "  const int t = apq_thread(), BAD = args.plain.i[0];\n"
                  "  apq_u8 *in = args.plain.p[0], *out = args.plain.p[1];\n"
                  "  (void)in, (void)out;\n"
                  "  if (t == 0) {\n"
                  "    apq_mbarrier_init(FULL, 1);\n"
                  "    apq_mbarrier_init(FREE, 1);\n"
                  "    apq_mbarrier_publish();\n"
                  "  }\n"
                  "  apq_cluster_sync();\n"
                  "#line 1\n%s}\n",
                  i, cases[i].threads, cases[i].body);
  assert_false(text.failed);
  test_compile("sm_90a", text.data, &object);
  apq__text_free(&text);
  *state = &object;
  return 0;
}

static int free_cases(void **state) {
  apq__object_free(*state);
  return 0;
}

static int has_one_of(const char *message, const char *expected) {
  char part[200];
  for (const char *at = expected; *at;) {
    size_t length = strcspn(at, "|");
    snprintf(part, sizeof part, "%.*s", (int)length, at);
    if (strstr(message, part)) return 1;
    at += length + (at[length] == '|');
  }
  return 0;
}

static apq_status launch_case(test_kernel *test, int index, int bad, test_bulk_args *args,
                              apq_error *error) {
  const fault_case *c = &cases[index];
  char name[16];
  snprintf(name, sizeof name, "test_%d", index);
  test_use(test, name, SMEM);
  check_ok(test->device->ops->fill(test->device, args->plain.p[0], 0, GLOBAL_BYTES, NULL, error),
           error);
  args->plain.i[0] = bad;
  return test_launch_bulk(test, c->blocks, c->cluster, c->threads, SMEM, args, error);
}

static void open_buffers(test_kernel *test, test_bulk_args *args) {
  apq_error error = APQ_ERROR_INIT;
  memset(args, 0, sizeof *args);
  args->plain.p[0] = test_alloc(test, GLOBAL_BYTES);
  args->plain.p[1] = test_alloc(test, GLOBAL_BYTES);
  const apq__tensor_box box = {args->plain.p[0], 128, 32, 1, 128, GLOBAL_BYTES, 128, 64, 128};
  check_ok(test->device->ops->tensor_map(test->device, &box, &args->map[0], &error), &error);
}

/* 1 unless the fault is reported and its twin, which runs after it, passes: a fault leaves nothing
 * behind. */
static int check_case(test_kernel *test, int index, unsigned seed, test_bulk_args *args) {
  const fault_case *c = &cases[index];
  apq_error error = APQ_ERROR_INIT;
  apq_status status = launch_case(test, index, 1, args, &error);
  int is_wrong = status != APQ_KERNEL_FAULT || !has_one_of(error.message, c->expected) ||
                 !strstr(error.message, ": block (") || !strstr(error.message, ") thread ");
  if (is_wrong)
    print_error("%s, seed %u: %s: %s\n", c->name, seed, apq_status_name(status), error.message);
  status = launch_case(test, index, 0, args, &error);
  if (status != APQ_OK)
    print_error("the correct twin of %s, seed %u: %s\n", c->name, seed, error.message);
  apq_error_clear(&error);
  return is_wrong || status != APQ_OK;
}

static void each_fault_is_reported_and_its_twin_passes(void **state) {
  int wrong = 0;
  for (unsigned seed = 1; seed <= SEEDS; seed++) {
    test_kernel test;
    test_bulk_args args;
    test_open(&test, "sm_90a", seed, *state);
    open_buffers(&test, &args);
    for (int i = 0; i < CASES; i++) wrong += check_case(&test, i, seed, &args);
    test_close(&test);
  }
  assert_int_equal(wrong, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_fault_is_reported_and_its_twin_passes),
  };
  return cmocka_run_group_tests(tests, compile_cases, free_cases);
}
