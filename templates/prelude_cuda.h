/* The hardware words of the templates on CUDA.  All inline PTX of the project is in this file.
 * prelude_emu.h gives the same words on the CPU.  Instruction semantics: PTX ISA 9.0, sections
 * named at each word.  The machine instructions named below are what NVRTC 13.0 makes of the word.
 */

#define APQ_WORD __device__ __forceinline__

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

/* ---- shared memory: dynamic, addressed by byte offset ----
 * Offsets from the one array keep the addresses 32 bits wide, and each word is one LDS or STS, with
 * constant parts of the offset in the instruction.  A 16-byte access is served a quarter of a warp
 * at a time: eight lanes without a bank conflict are enough. */

extern __shared__ __align__(128) apq_u8 apq_shared[];

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
  apq_u32 shared = (apq_u32)__cvta_generic_to_shared(apq_shared) + (apq_u32)at;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared)
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
  apq_u32 shared = (apq_u32)__cvta_generic_to_shared(apq_shared) + (apq_u32)at;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared),
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

/* ---- arithmetic with one rounding a step, so that every device gives the same bits ---- */

APQ_WORD int apq_popc(apq_u32 v) { return __popc(v); }
APQ_WORD float apq_int_to_float(int v) { return __int2float_rn(v); }
/* To the nearest integer, ties to even; saturating. */
APQ_WORD int apq_float_to_int(float v) { return __float2int_rn(v); }
APQ_WORD float apq_mul(float a, float b) { return __fmul_rn(a, b); }
APQ_WORD float apq_add(float a, float b) { return __fadd_rn(a, b); }
/* A call of some twenty instructions: keep it out of inner loops. */
APQ_WORD float apq_div(float a, float b) { return __fdiv_rn(a, b); }
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
