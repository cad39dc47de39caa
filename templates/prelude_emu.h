/* The hardware words of the templates on the CPU: the same names and meanings as prelude_cuda.h, in
 * host C11.  Words that a rule of the device governs (memory, barriers, collectives) go through a
 * table of functions that the emulator hands over when it loads the object, together with the
 * source line for its reports; so they are macros, and an object needs no symbol of the program.
 * The emulator includes this file with APQ_EMU_HOST for the table alone. */
#ifndef APQ_PRELUDE_EMU_H
#define APQ_PRELUDE_EMU_H

typedef unsigned long long apq_u64;
typedef unsigned int apq_u32;
typedef unsigned char apq_u8;
typedef unsigned short apq_u16;

/* Four words, moved as one 16-byte access. */
typedef struct __attribute__((aligned(16))) apq_u32x4 {
  apq_u32 x, y, z, w;
} apq_u32x4;

/* Changes with the table below: an object built for another one is refused. */
#define APQ_EMU_VERSION 5

/* Which matrix instruction. */
enum { APQ_EMU_B1_AND, APQ_EMU_B1_XOR, APQ_EMU_U8 };

/* What an object sees of the emulator: the running thread's coordinates and the governed words. */
typedef struct apq_emu apq_emu;
struct apq_emu {
  int thread, block[3], grid[3];
  int rank; /* of the block in its cluster */
  apq_u32 (*lds32)(apq_emu *, int line, int at);
  apq_u32x4 (*lds128)(apq_emu *, int line, int at);
  void (*ldmatrix4)(apq_emu *, int line, apq_u32 *r, int at, int transposed);
  void (*sts16)(apq_emu *, int line, int at, apq_u16);
  void (*sts32)(apq_emu *, int line, int at, apq_u32);
  void (*sts128)(apq_emu *, int line, int at, apq_u32x4);
  void (*atomic_add_shared)(apq_emu *, int line, int at, apq_u32);
  apq_u8 (*ldg8)(apq_emu *, int line, const void *);
  apq_u16 (*ldg16)(apq_emu *, int line, const void *);
  apq_u32 (*ldg32)(apq_emu *, int line, const void *);
  apq_u32x4 (*ldg128)(apq_emu *, int line, const void *);
  apq_u32 (*ldg32_volatile)(apq_emu *, int line, const void *);
  apq_u16 (*ldg16_volatile)(apq_emu *, int line, const void *);
  void (*stg8)(apq_emu *, int line, void *, apq_u8);
  void (*stg16)(apq_emu *, int line, void *, apq_u16);
  void (*stg32)(apq_emu *, int line, void *, apq_u32);
  void (*stg128)(apq_emu *, int line, void *, apq_u32x4);
  apq_u32 (*atomic_increment)(apq_emu *, int line, unsigned *);
  void (*threadfence)(apq_emu *, int line);
  void (*cp_async16)(apq_emu *, int line, int at, const void *, int valid);
  void (*cp_async_commit)(apq_emu *, int line);
  void (*cp_async_wait)(apq_emu *, int line, int pending);
  void (*sync_block)(apq_emu *, int line);
  void (*sync_warp)(apq_emu *, int line);
  apq_u32 (*ballot)(apq_emu *, int line, int predicate);
  apq_u32 (*shuffle)(apq_emu *, int line, apq_u32, int lane);
  apq_u32 (*shuffle_xor)(apq_emu *, int line, apq_u32, int mask);
  void (*mma)(apq_emu *, int line, int kind, int *d, const apq_u32 *a, const apq_u32 *b);
  void (*stmatrix4)(apq_emu *, int line, int at, const apq_u32 *r, int transposed);
  void (*mbarrier_init)(apq_emu *, int line, int at, int count);
  void (*mbarrier_publish)(apq_emu *, int line);
  void (*mbarrier_arrive)(apq_emu *, int line, int at);
  void (*mbarrier_arrive_at)(apq_emu *, int line, int at, int rank);
  void (*send128)(apq_emu *, int line, int at, int rank, apq_u32x4, int mbarrier);
  void (*mbarrier_expect)(apq_emu *, int line, int at, int bytes);
  void (*mbarrier_wait)(apq_emu *, int line, int at, int parity);
  void (*tma_prefetch)(apq_emu *, int line, const void *map);
  void (*tma_load)(apq_emu *, int line, int at, const void *map, int mbarrier, int x, int y, int z);
  void (*tma_load_multicast)(apq_emu *, int line, int at, const void *map, int mbarrier, int x,
                             int y, int z, int mask);
  void (*bulk_load)(apq_emu *, int line, int at, const void *from, int bytes, int mbarrier);
  void (*fence_async)(apq_emu *, int line);
  void (*bulk_store)(apq_emu *, int line, void *to, int at, int bytes);
  void (*tma_store)(apq_emu *, int line, const void *map, int at, int x, int y, int z);
  void (*bulk_commit)(apq_emu *, int line);
  void (*bulk_wait)(apq_emu *, int line, int pending, int only_read);
  void (*sync_cluster)(apq_emu *, int line);
  void (*named_barrier)(apq_emu *, int line, int id, int threads);
  void (*set_registers)(apq_emu *, int line, int grow, int count);
  void (*grid_wait)(apq_emu *, int line);
  void (*grid_release)(apq_emu *, int line);
  apq_u64 (*wgmma_desc)(apq_emu *, int line, int at, int swizzle);
  apq_u64 (*wgmma_desc_plain)(apq_emu *, int line, int at, int leading);
  void (*wgmma_fence)(apq_emu *, int line);
  void (*wgmma_commit)(apq_emu *, int line);
  void (*wgmma_wait)(apq_emu *, int line, int pending);
  /* a_registers are NULL where `a` says where A is. */
  void (*wgmma)(apq_emu *, int line, int kind, int n, int *d, const apq_u32 *a_registers, apq_u64 a,
                apq_u64 b, int accumulate);
};

/* What an object exports under a kernel's name. */
typedef struct apq_emu_kernel {
  void (*run)(const void *args); /* the body, for the running thread */
  unsigned args_size;
  int max_threads, min_blocks; /* launch bounds */
} apq_emu_kernel;

#ifndef APQ_EMU_HOST

#define APQ_EMU_EXPORT __attribute__((visibility("default"), unused))
#define APQ_WORD       static inline __attribute__((unused))

/* The emulator that loaded this object. */
static apq_emu *apq_emu_self;
APQ_EMU_EXPORT void apq_emu_attach(apq_emu *emu) { apq_emu_self = emu; }
APQ_EMU_EXPORT const int apq_emu_version = APQ_EMU_VERSION;

/* A kernel: `APQ_KERNEL(name, type, threads, blocks) { ... args ... }` with at most `threads`
 * threads and room for `blocks` blocks on an SM. Helpers are declared APQ_FUNCTION. */
#define APQ_KERNEL(name, type, threads, blocks)                                                    \
  static void name##_body(const type args);                                                        \
  static void name##_run(const void *args) { name##_body(*(const type *)args); }                   \
  APQ_EMU_EXPORT const apq_emu_kernel name = {name##_run, sizeof(type), threads, blocks};          \
  static void name##_body(const type args)
#define APQ_FUNCTION APQ_WORD
/* Unrolling would only slow the host compiler down. */
#define APQ_UNROLL
#define APQ_UNROLL_4
#define APQ_NO_UNROLL

#define apq_thread()  (apq_emu_self->thread)
#define apq_block_x() (apq_emu_self->block[0])
#define apq_block_y() (apq_emu_self->block[1])
#define apq_block_z() (apq_emu_self->block[2])
#define apq_grid_x()  (apq_emu_self->grid[0])
#define apq_grid_y()  (apq_emu_self->grid[1])

#define APQ_EMU_CALL(word, ...) (apq_emu_self->word(apq_emu_self, __LINE__, __VA_ARGS__))
#define APQ_EMU_CALL0(word)     (apq_emu_self->word(apq_emu_self, __LINE__))

#define apq_early32(v) ((void)(v))
#define apq_early64(v) ((void)(v))

/* ---- shared memory: dynamic, addressed by byte offset ---- */

#define apq_lds32(...)                  APQ_EMU_CALL(lds32, __VA_ARGS__)
#define apq_lds128(...)                 APQ_EMU_CALL(lds128, __VA_ARGS__)
#define apq_sts16(...)                  APQ_EMU_CALL(sts16, __VA_ARGS__)
#define apq_sts32(...)                  APQ_EMU_CALL(sts32, __VA_ARGS__)
#define apq_sts128(...)                 APQ_EMU_CALL(sts128, __VA_ARGS__)
#define apq_atomic_add_shared(...)      APQ_EMU_CALL(atomic_add_shared, __VA_ARGS__)
#define apq_ldmatrix4(r, at)            APQ_EMU_CALL(ldmatrix4, r, at, 0)
#define apq_ldmatrix4_transposed(r, at) APQ_EMU_CALL(ldmatrix4, r, at, 1)

/* ---- global memory ---- */

#define apq_ldg8(...)           APQ_EMU_CALL(ldg8, __VA_ARGS__)
#define apq_ldg16(...)          APQ_EMU_CALL(ldg16, __VA_ARGS__)
#define apq_ldg32(...)          APQ_EMU_CALL(ldg32, __VA_ARGS__)
#define apq_ldg128(...)         APQ_EMU_CALL(ldg128, __VA_ARGS__)
#define apq_ldg128_stream(...)  APQ_EMU_CALL(ldg128, __VA_ARGS__)
#define apq_prefetch_l2(p)      ((void)(p))
#define apq_ldg_f32(...)        apq_bits_float(APQ_EMU_CALL(ldg32, __VA_ARGS__))
#define apq_ldg32_volatile(...) APQ_EMU_CALL(ldg32_volatile, __VA_ARGS__)
#define apq_ldg16_volatile(...) APQ_EMU_CALL(ldg16_volatile, __VA_ARGS__)
APQ_WORD apq_u32x4 apq_ldg128_volatile(const void *p) {
  const apq_u32 *word = p;
  apq_u32x4 v = {apq_ldg32_volatile(word), apq_ldg32_volatile(word + 1),
                 apq_ldg32_volatile(word + 2), apq_ldg32_volatile(word + 3)};
  return v;
}
#define apq_stg8(...)             APQ_EMU_CALL(stg8, __VA_ARGS__)
#define apq_stg16(...)            APQ_EMU_CALL(stg16, __VA_ARGS__)
#define apq_stg32(...)            APQ_EMU_CALL(stg32, __VA_ARGS__)
#define apq_stg128(...)           APQ_EMU_CALL(stg128, __VA_ARGS__)
#define apq_atomic_increment(...) APQ_EMU_CALL(atomic_increment, __VA_ARGS__)
#define apq_threadfence()         APQ_EMU_CALL0(threadfence)

/* ---- asynchronous copies; below sm_80 the emulator makes them plain loads and stores ---- */

#define apq_cp_async16(...)        APQ_EMU_CALL(cp_async16, __VA_ARGS__)
#define apq_cp_async_commit()      APQ_EMU_CALL0(cp_async_commit)
#define apq_cp_async_wait(pending) APQ_EMU_CALL(cp_async_wait, pending)

/* ---- barriers and warps ---- */

#define apq_syncthreads()    APQ_EMU_CALL0(sync_block)
#define apq_syncwarp()       APQ_EMU_CALL0(sync_warp)
#define apq_ballot(...)      APQ_EMU_CALL(ballot, __VA_ARGS__)
#define apq_shuffle(...)     APQ_EMU_CALL(shuffle, __VA_ARGS__)
#define apq_shuffle_xor(...) APQ_EMU_CALL(shuffle_xor, __VA_ARGS__)
#define apq_shuffle_xor_f32(v, mask)                                                               \
  apq_bits_float(APQ_EMU_CALL(shuffle_xor, apq_float_bits(v), mask))

/* ---- matrix multiply-accumulate over one warp; fragments as prelude_cuda.h describes ---- */

#if APQ_CC >= 80
#define apq_mma_b1_and(...) APQ_EMU_CALL(mma, APQ_EMU_B1_AND, __VA_ARGS__)
#endif
#define apq_mma_b1_xor(...) APQ_EMU_CALL(mma, APQ_EMU_B1_XOR, __VA_ARGS__)
#define apq_mma_u8(...)     APQ_EMU_CALL(mma, APQ_EMU_U8, __VA_ARGS__)

/* c plus the products of the four bytes of a and b. */
APQ_WORD int apq_dp4a_u8(apq_u32 a, apq_u32 b, int c) {
  apq_u32 sum = (apq_u32)c;
  for (int i = 0; i < 32; i += 8) sum += (a >> i & 0xffu) * (b >> i & 0xffu);
  return (int)sum;
}

#if APQ_CC >= 90
/* ---- mbarriers, bulk copies, clusters, parts of a block, dependent launches ---- */

#define apq_mbarrier_init(...)          APQ_EMU_CALL(mbarrier_init, __VA_ARGS__)
#define apq_mbarrier_publish()          APQ_EMU_CALL0(mbarrier_publish)
#define apq_mbarrier_arrive(...)        APQ_EMU_CALL(mbarrier_arrive, __VA_ARGS__)
#define apq_mbarrier_arrive_at(...)     APQ_EMU_CALL(mbarrier_arrive_at, __VA_ARGS__)
#define apq_send128(...)                APQ_EMU_CALL(send128, __VA_ARGS__)
#define apq_mbarrier_expect(...)        APQ_EMU_CALL(mbarrier_expect, __VA_ARGS__)
#define apq_mbarrier_wait(...)          APQ_EMU_CALL(mbarrier_wait, __VA_ARGS__)
#define apq_tma_prefetch(...)           APQ_EMU_CALL(tma_prefetch, __VA_ARGS__)
#define apq_tma_load(...)               APQ_EMU_CALL(tma_load, __VA_ARGS__)
#define apq_tma_load_multicast(...)     APQ_EMU_CALL(tma_load_multicast, __VA_ARGS__)
#define apq_bulk_load(...)              APQ_EMU_CALL(bulk_load, __VA_ARGS__)
#define apq_fence_async()               APQ_EMU_CALL0(fence_async)
#define apq_bulk_store(...)             APQ_EMU_CALL(bulk_store, __VA_ARGS__)
#define apq_tma_store(...)              APQ_EMU_CALL(tma_store, __VA_ARGS__)
#define apq_bulk_commit()               APQ_EMU_CALL0(bulk_commit)
#define apq_bulk_wait_read(pending)     APQ_EMU_CALL(bulk_wait, pending, 1)
#define apq_bulk_wait(pending)          APQ_EMU_CALL(bulk_wait, pending, 0)
#define apq_cluster_rank()              (apq_emu_self->rank)
#define apq_cluster_sync()              APQ_EMU_CALL0(sync_cluster)
#define apq_cluster_meet()              APQ_EMU_CALL0(sync_cluster)
#define apq_named_barrier(...)          APQ_EMU_CALL(named_barrier, __VA_ARGS__)
#define apq_grid_wait()                 APQ_EMU_CALL0(grid_wait)
#define apq_grid_release()              APQ_EMU_CALL0(grid_release)
#define apq_stmatrix4(at, r)            APQ_EMU_CALL(stmatrix4, at, r, 0)
#define apq_stmatrix4_transposed(at, r) APQ_EMU_CALL(stmatrix4, at, r, 1)
#endif

#if APQ_CC == 90
/* ---- warpgroups; sums and operands as prelude_cuda.h describes ---- */

#define apq_registers_decrease(count) APQ_EMU_CALL(set_registers, 0, count)
#define apq_registers_increase(count) APQ_EMU_CALL(set_registers, 1, count)
#define apq_wgmma_desc(...)           APQ_EMU_CALL(wgmma_desc, __VA_ARGS__)
#define apq_wgmma_desc_plain(...)     APQ_EMU_CALL(wgmma_desc_plain, __VA_ARGS__)
#define apq_wgmma_fence()             APQ_EMU_CALL0(wgmma_fence)
#define apq_wgmma_commit()            APQ_EMU_CALL0(wgmma_commit)
#define apq_wgmma_wait(pending)       APQ_EMU_CALL(wgmma_wait, pending)
#define apq_wgmma_b1(n, d, a, b, accumulate)                                                       \
  APQ_EMU_CALL(wgmma, APQ_EMU_B1_AND, n, d, 0, a, b, accumulate)
#define apq_wgmma_b1_registers(n, d, a, b, accumulate)                                             \
  APQ_EMU_CALL(wgmma, APQ_EMU_B1_AND, n, d, a, 0, b, accumulate)
#define apq_wgmma_u8(n, d, a, b, accumulate)                                                       \
  APQ_EMU_CALL(wgmma, APQ_EMU_U8, n, d, 0, a, b, accumulate)
#define apq_wgmma_u8_registers(n, d, a, b, accumulate)                                             \
  APQ_EMU_CALL(wgmma, APQ_EMU_U8, n, d, a, 0, b, accumulate)
#endif

/* ---- arithmetic with one rounding a step (built with -ffp-contract=off) ---- */

APQ_WORD apq_u32 apq_float_bits(float v) {
  union {
    float f;
    apq_u32 u;
  } both = {.f = v};
  return both.u;
}
APQ_WORD float apq_bits_float(apq_u32 v) {
  union {
    apq_u32 u;
    float f;
  } both = {.u = v};
  return both.f;
}

/* Not the compiler's, which may call a library that objects are linked without. */
APQ_WORD int apq_popc(apq_u32 v) {
  v -= v >> 1 & 0x55555555u;
  v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
  return (int)(((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24);
}
APQ_WORD apq_u32 apq_select(apq_u32 a, apq_u32 b, apq_u32 mask) { return (a & mask) | (b & ~mask); }
APQ_WORD apq_u32 apq_rotate(apq_u32 v, int by) { return v << by | v >> (32 - by); }
APQ_WORD apq_u32 apq_permute(apq_u32 a, apq_u32 b, apq_u32 selector) {
  unsigned long long both = (unsigned long long)b << 32 | a;
  apq_u32 r = 0;
  for (int i = 0; i < 4; i++) r |= (apq_u32)(both >> (selector >> 4 * i & 7u) * 8 & 0xffu) << 8 * i;
  return r;
}
APQ_WORD apq_u32 apq_max_u16x2(apq_u32 a, apq_u32 b) {
  apq_u32 low = (a & 0xffffu) > (b & 0xffffu) ? a : b, high = a >> 16 > b >> 16 ? a : b;
  return (high & 0xffff0000u) | (low & 0xffffu);
}
/* With the sign bits turned over, signed order is unsigned order. */
APQ_WORD apq_u32 apq_max_s16x2(apq_u32 a, apq_u32 b) {
  return apq_max_u16x2(a ^ 0x80008000u, b ^ 0x80008000u) ^ 0x80008000u;
}
APQ_WORD float apq_int_to_float(int v) { return (float)v; }
/* To the nearest integer, ties to even; saturating; NaN gives 0.  Adding and taking away 2^23
 * leaves a rounded integer. */
APQ_WORD int apq_float_to_int(float v) {
  const float two23 = 8388608.0f, two31 = 2147483648.0f;
  if (v != v) return 0;
  if (v >= two31) return 0x7fffffff;
  if (v < -two31) return -0x7fffffff - 1;
  if (v >= 0 && v < two23) return (int)((v + two23) - two23);
  if (v < 0 && v > -two23) return (int)((v - two23) + two23);
  return (int)v;
}
APQ_WORD float apq_mul(float a, float b) { return a * b; }
APQ_WORD float apq_add(float a, float b) { return a + b; }
APQ_WORD float apq_div(float a, float b) { return a / b; }
/* a * b + c, rounded once: the product is exact in double; their sum is rounded to odd, with which
 * rounding again, to float, is as good as rounding once. */
APQ_WORD float apq_fma(float a, float b, float c) {
  union {
    double value;
    unsigned long long bits;
  } sum;
  double product = (double)a * b, back, rest;
  sum.value = product + c;
  back = sum.value - product;
  rest = (product - (sum.value - back)) + (c - back);
  if (sum.value - sum.value == 0 && rest != 0 && sum.bits % 2 == 0)
    sum.bits += (rest > 0) == (sum.value > 0) ? 1 : -1ull;
  return (float)sum.value;
}
APQ_WORD float apq_reciprocal(float b) { return 1 / b; }
APQ_WORD float apq_abs(float a) { return apq_bits_float(apq_float_bits(a) & 0x7fffffffu); }
/* A NaN loses against a number, and -0 is below +0. */
APQ_WORD float apq_max(float a, float b) {
  if (a != a || b != b) return a != a ? b : a;
  if (a == b) return apq_bits_float(apq_float_bits(a) & apq_float_bits(b));
  return a > b ? a : b;
}
APQ_WORD float apq_min(float a, float b) {
  if (a != a || b != b) return a != a ? b : a;
  if (a == b) return apq_bits_float(apq_float_bits(a) | apq_float_bits(b));
  return a < b ? a : b;
}
APQ_WORD int apq_is_finite(float a) { return apq_abs(a) <= 3.402823466e38f; }

/* Exponent and mantissa move up into a float's place, where they stand for 2^-112 of the value. */
APQ_WORD float apq_half_to_float(apq_u16 h) {
  apq_u32 sign = (h & 0x8000u) << 16, rest = h & 0x7fffu;
  float v = apq_bits_float(rest << 13) * 0x1p112f;
  if (rest >= 0x7c00u) v = apq_bits_float(0x7f800000u | (rest & 0x3ffu) << 13);
  return apq_bits_float(apq_float_bits(v) | sign);
}
APQ_WORD apq_u16 apq_float_to_half(float f) {
  apq_u32 u = apq_float_bits(f), sign = (u >> 16) & 0x8000u, rest = u & 0x7fffffffu;
  if (rest > 0x7f800000u) return 0x7fff;
  if (rest >= 0x47800000u) return (apq_u16)(sign | 0x7c00u);
  /* Below 2^-14 the half's unit is 2^-24, which is the unit of floats in [0.5, 1). */
  if (rest < 0x38800000u)
    return (apq_u16)(sign | (apq_float_bits(apq_bits_float(rest) + 0.5f) - 0x3f000000u));
  rest += 0xfffu + ((rest >> 13) & 1u);
  return (apq_u16)(sign | ((rest - 0x38000000u) >> 13));
}
APQ_WORD float apq_bf16_to_float(apq_u16 h) { return apq_bits_float((apq_u32)h << 16); }
APQ_WORD apq_u16 apq_float_to_bf16(float f) {
  apq_u32 u = apq_float_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (apq_u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* Two in a word, `low` in its lower 16 bits. */
APQ_WORD apq_u32 apq_floats_to_halves(float low, float high) {
  return (apq_u32)apq_float_to_half(high) << 16 | apq_float_to_half(low);
}
APQ_WORD apq_u32 apq_floats_to_bf16s(float low, float high) {
  return (apq_u32)apq_float_to_bf16(high) << 16 | apq_float_to_bf16(low);
}

#endif
#endif
