/* The hardware words of the templates on CUDA.  All inline PTX of the project is in this file.
 * prelude_emu.h gives the same words on the CPU.  Instruction semantics: PTX ISA 9.0, sections
 * named at each word.  The machine instructions named below are what NVRTC 13.0 makes of the word.
 */

#define APQ_WORD __device__ __forceinline__

typedef unsigned long long apq_u64;
typedef unsigned int apq_u32;
typedef unsigned char apq_u8;
typedef unsigned short apq_u16;

/* Four words, moved as one 16-byte access. */
typedef struct __align__(16) apq_u32x4 {
  apq_u32 x, y, z, w;
}
apq_u32x4;

/* A kernel: `APQ_KERNEL(name, type, threads, blocks) { ... args ... }` with at most `threads`
 * threads and room for `blocks` blocks on an SM. Helpers are declared APQ_FUNCTION. */
#define APQ_KERNEL(name, type, threads, blocks)                                                    \
  extern "C" __global__ void __launch_bounds__(threads, blocks)                                    \
      name(const __grid_constant__ type args)
#define APQ_FUNCTION  APQ_WORD
#define APQ_UNROLL    _Pragma("unroll")
#define APQ_UNROLL_4  _Pragma("unroll 4")
#define APQ_NO_UNROLL _Pragma("unroll 1")

APQ_WORD int apq_thread(void) { return (int)threadIdx.x; }
APQ_WORD int apq_block_x(void) { return (int)blockIdx.x; }
APQ_WORD int apq_block_y(void) { return (int)blockIdx.y; }
APQ_WORD int apq_block_z(void) { return (int)blockIdx.z; }
APQ_WORD int apq_grid_x(void) { return (int)gridDim.x; }
APQ_WORD int apq_grid_y(void) { return (int)gridDim.y; }

/* Has the value of a variable of 32 or 64 bits computed here, not where it is used. */
#define apq_early32(v) asm volatile("" : "+r"(v))
#define apq_early64(v) asm volatile("" : "+l"(v))

/* ---- shared memory: dynamic, addressed by byte offset ----
 * Offsets from the one array keep the addresses 32 bits wide, and each word is one LDS or STS, with
 * constant parts of the offset in the instruction.  A 16-byte access is served a quarter of a warp
 * at a time: eight lanes without a bank conflict are enough. */

extern __shared__ __align__(1024) apq_u8 apq_shared[];

/* The same place as the instructions that take 32-bit addresses name it. */
APQ_FUNCTION apq_u32 apq_shared_address(int at) {
  return (apq_u32)__cvta_generic_to_shared(apq_shared) + (apq_u32)at;
}

APQ_WORD apq_u32 apq_lds32(int at) { return *(const apq_u32 *)(apq_shared + at); }
APQ_WORD apq_u32x4 apq_lds128(int at) { return *(const apq_u32x4 *)(apq_shared + at); }
APQ_WORD void apq_sts16(int at, apq_u16 v) { *(apq_u16 *)(apq_shared + at) = v; }
APQ_WORD void apq_sts32(int at, apq_u32 v) { *(apq_u32 *)(apq_shared + at) = v; }
APQ_WORD void apq_sts128(int at, apq_u32x4 v) { *(apq_u32x4 *)(apq_shared + at) = v; }
/* Adds to a shared 32-bit word; modulo 2^32.  ATOMS.ADD without a result: no round trip. */
APQ_WORD void apq_atomic_add_shared(int at, apq_u32 v) {
  atomicAdd((apq_u32 *)(apq_shared + at), v);
}

/* Four 8x8 matrices of 16-bit elements (PTX ldmatrix .x4): lane 8i+r gives the offset of row r, 16
 * bytes, of matrix i; register i of lane 4g+t gets word t of row g of matrix i. */
APQ_WORD void apq_ldmatrix4(apq_u32 r[4], int at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(apq_shared_address(at))
               : "memory");
}
/* The same with rows and columns of each matrix exchanged. */
APQ_WORD void apq_ldmatrix4_transposed(apq_u32 r[4], int at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(apq_shared_address(at))
               : "memory");
}

/* ---- global memory ---- */

/* Loads of data that nothing writes during the launch, so that the compiler may move them over
 * stores. */
APQ_WORD apq_u8 apq_ldg8(const void *p) { return __ldg((const apq_u8 *)p); }
APQ_WORD apq_u16 apq_ldg16(const void *p) { return __ldg((const apq_u16 *)p); }
APQ_WORD apq_u32 apq_ldg32(const void *p) { return __ldg((const apq_u32 *)p); }
APQ_WORD apq_u32x4 apq_ldg128(const void *p) {
  uint4 v = __ldg((const uint4 *)p);
  apq_u32x4 r = {v.x, v.y, v.z, v.w};
  return r;
}
/* The same for data that is read once and would only push other data out of L1. */
APQ_WORD apq_u32x4 apq_ldg128_stream(const void *p) {
#if APQ_CC >= 80
  apq_u32x4 r;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "l"(__cvta_generic_to_global(p)));
  return r;
#else
  return apq_ldg128(p);
#endif
}
/* Brings the line into L2. */
APQ_WORD void apq_prefetch_l2(const void *p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(p)));
}
APQ_WORD float apq_ldg_f32(const float *p) { return __ldg(p); }
/* Bypasses L1: for data that other blocks of this launch wrote (PTX ld.relaxed).  A C volatile load
 * would order against the whole system instead of this GPU. */
APQ_WORD apq_u32 apq_ldg32_volatile(const void *p) {
  apq_u32 v;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];"
               : "=r"(v)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return v;
}
APQ_WORD apq_u16 apq_ldg16_volatile(const void *p) {
  apq_u16 v;
  asm volatile("ld.relaxed.gpu.global.u16 %0, [%1];"
               : "=h"(v)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return v;
}
/* 16 bytes, each word of them by itself. */
APQ_WORD apq_u32x4 apq_ldg128_volatile(const void *p) {
  apq_u32x4 r;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return r;
}
APQ_WORD void apq_stg8(void *p, apq_u8 v) { *(apq_u8 *)p = v; }
APQ_WORD void apq_stg16(void *p, apq_u16 v) { *(apq_u16 *)p = v; }
APQ_WORD void apq_stg32(void *p, apq_u32 v) { *(apq_u32 *)p = v; }
APQ_WORD void apq_stg128(void *p, apq_u32x4 v) { *(apq_u32x4 *)p = v; }
/* Adds 1 and returns the old value; device scope, relaxed. */
APQ_WORD apq_u32 apq_atomic_increment(unsigned *p) { return atomicAdd(p, 1u); }
/* Orders accesses to global memory before it and after it, for the whole GPU (PTX fence).  To
 * publish what a block wrote, the thread that takes the ticket fences between the block's barrier
 * and the ticket; to read what others published, it fences after the ticket, before the next
 * barrier.  __threadfence() would be the costlier sequentially consistent fence. */
APQ_WORD void apq_threadfence(void) { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

/* ---- asynchronous copies (PTX cp.async, sm_80+) ---- */

/* 16 bytes from global to shared of which the first `valid` (0 or 16) are read and the others are
 * zero.  On sm_75 a plain load and store. Not visible before apq_cp_async_wait by the issuing
 * thread and a barrier for the others.  One LDGSTS.BYPASS.128: past L1 and registers, with
 * a hint to fetch 128 bytes into L2.  Give `valid` as `condition ? 16 : 0`: it then becomes the
 * instruction's predicate, while any other form costs arithmetic on the address.  `from` must be a
 * legal address even when nothing is read. */
APQ_WORD void apq_cp_async16(int at, const void *from, int valid) {
#if APQ_CC >= 80
  asm volatile(
      "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(apq_shared_address(at)),
      "l"(__cvta_generic_to_global(from)), "r"(valid)
      : "memory");
#else
  apq_u32x4 v = {0, 0, 0, 0};
  if (valid) v = *(const apq_u32x4 *)from;
  *(apq_u32x4 *)(apq_shared + at) = v;
#endif
}
APQ_WORD void apq_cp_async_commit(void) {
#if APQ_CC >= 80
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* Waits until at most `pending` (a literal) of this thread's latest groups are incomplete. */
#if APQ_CC >= 80
#define apq_cp_async_wait(pending) asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory")
#else
#define apq_cp_async_wait(pending) ((void)(pending))
#endif

/* ---- barriers and warps ---- */

APQ_WORD void apq_syncthreads(void) { __syncthreads(); }
APQ_WORD void apq_syncwarp(void) { __syncwarp(0xffffffffu); }
APQ_WORD apq_u32 apq_ballot(int predicate) { return __ballot_sync(0xffffffffu, predicate); }
APQ_WORD apq_u32 apq_shuffle(apq_u32 v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
APQ_WORD apq_u32 apq_shuffle_xor(apq_u32 v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}
APQ_WORD float apq_shuffle_xor_f32(float v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}

/* ---- matrix multiply-accumulate over one warp ----
 * Fragments (PTX "Matrix Fragments for mma.m16n8k256" and m16n8k32 .u8), g = lane/4, t = lane%4:
 *   a[0] row g, word t     a[1] row g+8, word t     a[2] row g, word t+4     a[3] row g+8, word t+4
 *   b[0] column g, word t  b[1] column g, word t+4
 *   d[0], d[1] row g, columns 2t, 2t+1               d[2], d[3] row g+8, the same columns
 * where a row or column is 8 words of 32 bits: 256 b1 or 32 u8 elements. */

/* AND is one BMMA from sm_80 to sm_90a and a routine of eight IMMA and bit arithmetic from sm_100
 * on; XOR is one BMMA up to sm_89 and two with counts on sm_90a.  u8 is one IMMA everywhere.  They
 * are not volatile: the scheduler may move them. */
#if APQ_CC >= 80
APQ_WORD void apq_mma_b1_and(int d[4], const apq_u32 a[4], const apq_u32 b[2]) {
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
APQ_WORD void apq_mma_b1_xor(int d[4], const apq_u32 a[4], const apq_u32 b[2]) {
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.xor.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
APQ_WORD void apq_mma_u8(int d[4], const apq_u32 a[4], const apq_u32 b[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
/* sm_75 has the 8x8 shapes, k = 128 b1 XOR and k = 16 u8: four of them make the same 16x8 tile. */
#define APQ_MMA_8X8(shape, suffix, d0, d1, a, b)                                                   \
  asm("mma.sync.aligned." shape ".row.col.s32." suffix " {%0,%1}, {%2}, {%3}, {%0,%1};"            \
      : "+r"(d0), "+r"(d1)                                                                         \
      : "r"(a), "r"(b))
#define APQ_MMA_16X8(shape, suffix)                                                                \
  APQ_MMA_8X8(shape, suffix, d[0], d[1], a[0], b[0]);                                              \
  APQ_MMA_8X8(shape, suffix, d[2], d[3], a[1], b[0]);                                              \
  APQ_MMA_8X8(shape, suffix, d[0], d[1], a[2], b[1]);                                              \
  APQ_MMA_8X8(shape, suffix, d[2], d[3], a[3], b[1])
APQ_WORD void apq_mma_b1_xor(int d[4], const apq_u32 a[4], const apq_u32 b[2]) {
  APQ_MMA_16X8("m8n8k128", "b1.b1.s32.xor.popc");
}
APQ_WORD void apq_mma_u8(int d[4], const apq_u32 a[4], const apq_u32 b[2]) {
  APQ_MMA_16X8("m8n8k16", "u8.u8.s32");
}
#endif

/* c plus the products of the four bytes of a and b (PTX dp4a). */
APQ_WORD int apq_dp4a_u8(apq_u32 a, apq_u32 b, int c) { return (int)__dp4a(a, b, (apq_u32)c); }

#if APQ_CC >= 90
/* ---- transaction barriers (PTX mbarrier), 8 bytes of shared memory each ----
 * A phase completes when `count` arrivals and all the bytes expected in it have come. */

APQ_WORD void apq_mbarrier_init(int at, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(apq_shared_address(at)), "r"(count)
               : "memory");
}
/* By the thread that initialized, before the barrier after which others use them. */
APQ_WORD void apq_mbarrier_publish(void) {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
APQ_WORD void apq_mbarrier_arrive(int at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(apq_shared_address(at)) : "memory");
}
/* On the barrier at the same place in block `rank` of the cluster.  Says that this thread's reads
 * of shared memory are done, and publishes nothing: a release for the cluster would flush device
 * memory (MEMBAR.ALL.GPU) and halve a kernel's speed. */
APQ_WORD void apq_mbarrier_arrive_at(int at, int rank) {
  asm volatile("{\n"
               ".reg .b32 remote;\n"
               "mapa.shared::cluster.u32 remote, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
               "}" ::"r"(apq_shared_address(at)),
               "r"(rank)
               : "memory");
}
/* Stores 16 bytes into block `rank` of the cluster, at the same place as here; its mbarrier at
 * `mbarrier` counts them (PTX st.async).  No thread fences: the wait for that phase orders them. */
APQ_WORD void apq_send128(int at, int rank, apq_u32x4 v, int mbarrier) {
  asm volatile(
      "{\n"
      ".reg .b32 to, counter;\n"
      "mapa.shared::cluster.u32 to, %0, %2;\n"
      "mapa.shared::cluster.u32 counter, %1, %2;\n"
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [to], {%3,%4,%5,%6}, "
      "[counter];\n"
      "}" ::"r"(apq_shared_address(at)),
      "r"(apq_shared_address(mbarrier)), "r"(rank), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
      : "memory");
}
/* Arrives, and makes the phase wait for `bytes` more. */
APQ_WORD void apq_mbarrier_expect(int at, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(apq_shared_address(at)),
      "r"(bytes)
      : "memory");
}
/* Until the phase of this parity is complete: 0 for the first, third, ...; a fresh barrier counts
 * as having completed a phase of parity 1.  Orders what this block and its copies wrote. */
APQ_WORD void apq_mbarrier_wait(int at, int parity) {
  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra.uni out;\n"
               "bra.uni again;\n"
               "out:\n"
               "}" ::"r"(apq_shared_address(at)),
               "r"(parity)
               : "memory");
}

/* ---- bulk copies (PTX cp.async.bulk), by one thread; their bytes count into an mbarrier ---- */

APQ_WORD void apq_tma_prefetch(const apq_tensor_map *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/* The map's box at byte x of row y of plane z (device.h, apq__tensor_box). */
APQ_WORD void apq_tma_load(int at, const apq_tensor_map *map, int mbarrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
               "[%1, {%3, %4, %5}], [%2];" ::"r"(apq_shared_address(at)),
               "l"(map), "r"(apq_shared_address(mbarrier)), "r"(x), "r"(y), "r"(z)
               : "memory");
}
/* The same into every block of the cluster whose bit is set, at the same places in each. */
APQ_WORD void apq_tma_load_multicast(int at, const apq_tensor_map *map, int mbarrier, int x, int y,
                                     int z, int mask) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(apq_shared_address(at)),
      "l"(map), "r"(apq_shared_address(mbarrier)), "r"(x), "r"(y), "r"(z), "h"((apq_u16)mask)
      : "memory");
}
/* `bytes` contiguous bytes; addresses and size are multiples of 16. */
APQ_WORD void apq_bulk_load(int at, const void *from, int bytes, int mbarrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(apq_shared_address(at)),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(apq_shared_address(mbarrier))
      : "memory");
}
/* Makes this thread's stores to shared memory visible to the copy engine and the tensor cores;
 * before the barrier after which a thread starts them. */
APQ_WORD void apq_fence_async(void) { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
APQ_WORD void apq_bulk_store(void *to, int at, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
                   __cvta_generic_to_global(to)),
               "r"(apq_shared_address(at)), "r"(bytes)
               : "memory");
}
/* A box, as apq_tma_load has it; what of it lies outside the tensor is not written, but for the
 * rest of 16 bytes that a row ends in (seen on sm_90). */
APQ_WORD void apq_tma_store(const apq_tensor_map *map, int at, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
      "r"(apq_shared_address(at)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
APQ_WORD void apq_bulk_commit(void) { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/* Until at most `pending` (a literal) of this thread's latest groups of stores still read shared
 * memory; still write device memory. */
#define apq_bulk_wait_read(pending)                                                                \
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory")
#define apq_bulk_wait(pending)                                                                     \
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory")

/* ---- clusters, parts of a block, dependent launches ---- */

APQ_WORD int apq_cluster_rank(void) {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
APQ_WORD void apq_cluster_sync(void) {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}
/* The same, ordering nothing but the mbarriers that were published before it. */
APQ_WORD void apq_cluster_meet(void) {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::
                   : "memory");
}
/* Of `threads` threads of the block, whole warps; barrier 0 is apq_syncthreads. */
APQ_WORD void apq_named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/* Registers a thread of this warpgroup has from here on (a literal, a multiple of 8 in 24 .. 240).
 */
#define apq_registers_decrease(count)                                                              \
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count))
#define apq_registers_increase(count)                                                              \
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count))
/* Until the launch before has ended and its results are visible; lets the launch after begin. */
APQ_WORD void apq_grid_wait(void) { asm volatile("griddepcontrol.wait;" ::: "memory"); }
APQ_WORD void apq_grid_release(void) {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/* lane 8i+r gives the offset of row r, 16 bytes, of matrix i: the inverse of apq_ldmatrix4; and
 * with rows and columns of each matrix exchanged. */
APQ_WORD void apq_stmatrix4(int at, const apq_u32 r[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(apq_shared_address(at)),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}
APQ_WORD void apq_stmatrix4_transposed(int at, const apq_u32 r[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(
                   apq_shared_address(at)),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

/* ---- matrix multiply-accumulate over a warpgroup (PTX "Asynchronous Warpgroup Level Matrix") ----
 * m64 x n, n a multiple of 16 up to 256; one instruction has 256 k of b1 or 32 k of u8.  Warp w of
 * the four, lane 4g+t, holds of column pair j: d[4j], d[4j+1] row 16w+g, columns 8j+2t, 8j+2t+1;
 * d[4j+2], d[4j+3] row 16w+g+8.  BGMMA and IGMMA.  Operands and sums may not be touched between the
 * instruction and the wait that covers it. */

/* Where an operand lies: rows of `swizzle` bytes of K, eight after eight, permuted as the tensor
 * copies do; adding bytes >> 4 moves along K inside the row. */
APQ_WORD apq_u64 apq_wgmma_desc(int at, int swizzle) {
  apq_u64 code = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
  return (apq_u64)((apq_shared_address(at) & 0x3ffffu) >> 4) | (apq_u64)1 << 16 |
         (apq_u64)(swizzle * 8 >> 4) << 32 | code << 62;
}
/* The same without swizzle, of core matrices: 16 bytes of K of eight rows, one row after another.
 * Those of eight rows on follow each other, those of 16 bytes of K on are `leading` bytes apart. */
APQ_WORD apq_u64 apq_wgmma_desc_plain(int at, int leading) {
  return (apq_u64)((apq_shared_address(at) & 0x3ffffu) >> 4) | (apq_u64)(leading >> 4) << 16 |
         (apq_u64)(128 >> 4) << 32;
}
/* Before the first instruction, and after sums or operands in registers were written. */
APQ_WORD void apq_wgmma_fence(void) { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
APQ_WORD void apq_wgmma_commit(void) {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* Until at most `pending` (a literal) of the latest groups are incomplete. */
#define apq_wgmma_wait(pending)                                                                    \
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory")

/* By n: the names of the sums' registers, the registers, and the names of the operands after them.
 */
#define APQ_EIGHT(d, i)                                                                            \
  "+r"((d)[i]), "+r"((d)[i + 1]), "+r"((d)[i + 2]), "+r"((d)[i + 3]), "+r"((d)[i + 4]),            \
      "+r"((d)[i + 5]), "+r"((d)[i + 6]), "+r"((d)[i + 7])
#define APQ_NAMES_16         "%0,%1,%2,%3,%4,%5,%6,%7"
#define APQ_NAMES_32         APQ_NAMES_16 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define APQ_NAMES_48         APQ_NAMES_32 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define APQ_NAMES_64         APQ_NAMES_48 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define APQ_NAMES_80         APQ_NAMES_64 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define APQ_NAMES_96         APQ_NAMES_80 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define APQ_NAMES_112        APQ_NAMES_96 ",%48,%49,%50,%51,%52,%53,%54,%55"
#define APQ_NAMES_128        APQ_NAMES_112 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define APQ_NAMES_144        APQ_NAMES_128 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define APQ_NAMES_160        APQ_NAMES_144 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define APQ_NAMES_176        APQ_NAMES_160 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define APQ_NAMES_192        APQ_NAMES_176 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define APQ_NAMES_208        APQ_NAMES_192 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define APQ_NAMES_224        APQ_NAMES_208 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define APQ_NAMES_240        APQ_NAMES_224 ",%112,%113,%114,%115,%116,%117,%118,%119"
#define APQ_NAMES_256        APQ_NAMES_240 ",%120,%121,%122,%123,%124,%125,%126,%127"
#define APQ_SUMS_16(d)       APQ_EIGHT(d, 0)
#define APQ_SUMS_32(d)       APQ_SUMS_16(d), APQ_EIGHT(d, 8)
#define APQ_SUMS_48(d)       APQ_SUMS_32(d), APQ_EIGHT(d, 16)
#define APQ_SUMS_64(d)       APQ_SUMS_48(d), APQ_EIGHT(d, 24)
#define APQ_SUMS_80(d)       APQ_SUMS_64(d), APQ_EIGHT(d, 32)
#define APQ_SUMS_96(d)       APQ_SUMS_80(d), APQ_EIGHT(d, 40)
#define APQ_SUMS_112(d)      APQ_SUMS_96(d), APQ_EIGHT(d, 48)
#define APQ_SUMS_128(d)      APQ_SUMS_112(d), APQ_EIGHT(d, 56)
#define APQ_SUMS_144(d)      APQ_SUMS_128(d), APQ_EIGHT(d, 64)
#define APQ_SUMS_160(d)      APQ_SUMS_144(d), APQ_EIGHT(d, 72)
#define APQ_SUMS_176(d)      APQ_SUMS_160(d), APQ_EIGHT(d, 80)
#define APQ_SUMS_192(d)      APQ_SUMS_176(d), APQ_EIGHT(d, 88)
#define APQ_SUMS_208(d)      APQ_SUMS_192(d), APQ_EIGHT(d, 96)
#define APQ_SUMS_224(d)      APQ_SUMS_208(d), APQ_EIGHT(d, 104)
#define APQ_SUMS_240(d)      APQ_SUMS_224(d), APQ_EIGHT(d, 112)
#define APQ_SUMS_256(d)      APQ_SUMS_240(d), APQ_EIGHT(d, 120)
#define APQ_REST_16(f, ...)  f(16, "%8", "%9", "%10", "%11", "%12", "%13", __VA_ARGS__)
#define APQ_REST_32(f, ...)  f(32, "%16", "%17", "%18", "%19", "%20", "%21", __VA_ARGS__)
#define APQ_REST_48(f, ...)  f(48, "%24", "%25", "%26", "%27", "%28", "%29", __VA_ARGS__)
#define APQ_REST_64(f, ...)  f(64, "%32", "%33", "%34", "%35", "%36", "%37", __VA_ARGS__)
#define APQ_REST_80(f, ...)  f(80, "%40", "%41", "%42", "%43", "%44", "%45", __VA_ARGS__)
#define APQ_REST_96(f, ...)  f(96, "%48", "%49", "%50", "%51", "%52", "%53", __VA_ARGS__)
#define APQ_REST_112(f, ...) f(112, "%56", "%57", "%58", "%59", "%60", "%61", __VA_ARGS__)
#define APQ_REST_128(f, ...) f(128, "%64", "%65", "%66", "%67", "%68", "%69", __VA_ARGS__)
#define APQ_REST_144(f, ...) f(144, "%72", "%73", "%74", "%75", "%76", "%77", __VA_ARGS__)
#define APQ_REST_160(f, ...) f(160, "%80", "%81", "%82", "%83", "%84", "%85", __VA_ARGS__)
#define APQ_REST_176(f, ...) f(176, "%88", "%89", "%90", "%91", "%92", "%93", __VA_ARGS__)
#define APQ_REST_192(f, ...) f(192, "%96", "%97", "%98", "%99", "%100", "%101", __VA_ARGS__)
#define APQ_REST_208(f, ...) f(208, "%104", "%105", "%106", "%107", "%108", "%109", __VA_ARGS__)
#define APQ_REST_224(f, ...) f(224, "%112", "%113", "%114", "%115", "%116", "%117", __VA_ARGS__)
#define APQ_REST_240(f, ...) f(240, "%120", "%121", "%122", "%123", "%124", "%125", __VA_ARGS__)
#define APQ_REST_256(f, ...) f(256, "%128", "%129", "%130", "%131", "%132", "%133", __VA_ARGS__)

#define APQ_WGMMA_SHARED(n, o0, o1, o2, o3, o4, o5, type, d, a, b, accumulate)                     \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o2 ", 0;\n"                                     \
               "wgmma.mma_async.sync.aligned.m64n" #n type " {" APQ_NAMES_##n "}, " o0 ", " o1     \
                                                                              ", p;\n}"            \
               : APQ_SUMS_##n(d)                                                                   \
               : "l"(a), "l"(b), "r"(accumulate)                                                   \
               : "memory")
#define APQ_WGMMA_REGISTERS(n, o0, o1, o2, o3, o4, o5, type, d, a, b, accumulate)                  \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o5 ", 0;\n"                                     \
               "wgmma.mma_async.sync.aligned.m64n" #n type " {" APQ_NAMES_##n                      \
               "}, {" o0 "," o1 "," o2 "," o3 "}, " o4 ", p;\n}"                                   \
               : APQ_SUMS_##n(d)                                                                   \
               : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "l"(b), "r"(accumulate)       \
               : "memory")
/* So that n may itself be a macro. */
#define APQ_WGMMA(n, ...)   APQ_REST_##n(__VA_ARGS__)
#define APQ_WGMMA_N(n, ...) APQ_WGMMA(n, __VA_ARGS__)

/* d = a b + d, or a b where `accumulate` is 0.  Operands by descriptor, or `a` in registers: warp
 * w's 16 rows as apq_mma_u8 has them. */
#define apq_wgmma_b1(n, d, a, b, accumulate)                                                       \
  APQ_WGMMA_N(n, APQ_WGMMA_SHARED, "k256.s32.b1.b1.and.popc", d, a, b, accumulate)
#define apq_wgmma_b1_registers(n, d, a, b, accumulate)                                             \
  APQ_WGMMA_N(n, APQ_WGMMA_REGISTERS, "k256.s32.b1.b1.and.popc", d, a, b, accumulate)
#define apq_wgmma_u8(n, d, a, b, accumulate)                                                       \
  APQ_WGMMA_N(n, APQ_WGMMA_SHARED, "k32.s32.u8.u8", d, a, b, accumulate)
#define apq_wgmma_u8_registers(n, d, a, b, accumulate)                                             \
  APQ_WGMMA_N(n, APQ_WGMMA_REGISTERS, "k32.s32.u8.u8", d, a, b, accumulate)
#endif

/* ---- arithmetic with one rounding a step, so that every device gives the same bits ---- */

APQ_WORD int apq_popc(apq_u32 v) { return __popc(v); }
/* `a` where the mask's bits are set, else `b`; one LOP3, where the compiler would make two of C's
 * three operations with a constant mask (PTX lop3). */
APQ_WORD apq_u32 apq_select(apq_u32 a, apq_u32 b, apq_u32 mask) {
  apq_u32 r;
  asm("lop3.b32 %0, %1, %2, %3, 0xe4;" : "=r"(r) : "r"(a), "r"(b), "r"(mask));
  return r;
}
/* Left by 0 < `by` < 32; of which C's form would be taken apart where some of its bits are not
 * used. */
APQ_WORD apq_u32 apq_rotate(apq_u32 v, int by) {
  apq_u32 r;
  asm("shf.l.wrap.b32 %0, %1, %1, %2;" : "=r"(r) : "r"(v), "r"(by));
  return r;
}
/* Byte i of the result is byte number (selector >> 4i) % 8 of the eight of b:a (PTX prmt). */
APQ_WORD apq_u32 apq_permute(apq_u32 a, apq_u32 b, apq_u32 selector) {
  return __byte_perm(a, b, selector);
}
/* Maxima of both halves of a word; one VIMNMX on sm_90, a few instructions elsewhere. */
APQ_WORD apq_u32 apq_max_u16x2(apq_u32 a, apq_u32 b) { return __vmaxu2(a, b); }
APQ_WORD apq_u32 apq_max_s16x2(apq_u32 a, apq_u32 b) { return __vmaxs2(a, b); }
APQ_WORD float apq_int_to_float(int v) { return __int2float_rn(v); }
/* To the nearest integer, ties to even; saturating. */
APQ_WORD int apq_float_to_int(float v) { return __float2int_rn(v); }
APQ_WORD float apq_mul(float a, float b) { return __fmul_rn(a, b); }
APQ_WORD float apq_add(float a, float b) { return __fadd_rn(a, b); }
/* A call of some twenty instructions: keep it out of inner loops. */
APQ_WORD float apq_div(float a, float b) { return __fdiv_rn(a, b); }
/* a * b + c, rounded once. */
APQ_WORD float apq_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
/* 1 / b, rounded, for 1 <= b <= 2^126, without branches: the hardware's estimate and one step. */
APQ_WORD float apq_reciprocal(float b) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(b));
  return __fmaf_rn(r, __fmaf_rn(-b, r, 1.0f), r);
}
APQ_WORD float apq_abs(float a) { return fabsf(a); }
APQ_WORD float apq_max(float a, float b) { return fmaxf(a, b); }
APQ_WORD float apq_min(float a, float b) { return fminf(a, b); }
APQ_WORD int apq_is_finite(float a) { return fabsf(a) <= 3.402823466e38f; }

APQ_WORD apq_u32 apq_float_bits(float v) { return __float_as_uint(v); }
APQ_WORD float apq_bits_float(apq_u32 v) { return __uint_as_float(v); }
APQ_WORD float apq_half_to_float(apq_u16 h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
/* Two halves in a word, `low` in its lower 16 bits: one instruction where a single conversion runs
 * at a quarter of the rate. */
APQ_WORD apq_u32 apq_floats_to_halves(float low, float high) {
  apq_u32 pair;
#if APQ_CC >= 80
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#else
  apq_u16 l, h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(l) : "f"(low));
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(high));
  pair = (apq_u32)h << 16 | l;
#endif
  return pair;
}
APQ_WORD apq_u16 apq_float_to_half(float f) { return (apq_u16)apq_floats_to_halves(f, 0.0f); }
APQ_WORD float apq_bf16_to_float(apq_u16 h) { return __uint_as_float((apq_u32)h << 16); }
/* Rounded to nearest even, any NaN as 0x7fff; sm_75 has no instruction for it. */
APQ_WORD apq_u16 apq_float_to_bf16(float f) {
  apq_u32 u = __float_as_uint(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (apq_u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
/* Two bf16 in a word, `low` in its lower 16 bits. */
APQ_WORD apq_u32 apq_floats_to_bf16s(float low, float high) {
#if APQ_CC >= 80
  apq_u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return (apq_u32)apq_float_to_bf16(high) << 16 | apq_float_to_bf16(low);
#endif
}
