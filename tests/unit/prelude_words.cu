/* Uses every word of the CUDA prelude once, in a way that the compiler cannot drop.  test_nvrtc.c
 * puts the prelude before it and builds it for every arch; the words that came with sm_90 are used
 * there alone. */

typedef struct words_args {
  const void *from;
  void *to;
  unsigned *counter;
  int n;
  apq_tensor_map map;
} words_args;

/* Shared-memory words, and the asynchronous copies that fill it. */
APQ_FUNCTION apq_u32 words_shared(const words_args *args) {
  apq_cp_async16(16 * apq_thread(), (const apq_u8 *)args->from + 16 * apq_thread(),
                 args->n > 0 ? 16 : 0);
  apq_cp_async_commit();
  apq_cp_async_wait(1);
  apq_cp_async_wait(0);
  apq_syncthreads();
  apq_u32x4 chunk = apq_lds128(16 * (apq_thread() ^ 1));
  apq_u32 matrix[4];
  apq_ldmatrix4(matrix, 16 * (apq_thread() % 32));
  apq_ldmatrix4_transposed(matrix, (int)matrix[0] % 32 * 16);
  chunk.x ^= matrix[0] ^ matrix[1] ^ matrix[2] ^ matrix[3];
  apq_syncthreads();
  apq_sts128(16 * apq_thread(), chunk);
  apq_sts32(4 * apq_thread(), chunk.y);
  apq_sts16(2 * apq_thread(), (apq_u16)chunk.z);
  apq_atomic_add_shared(0, chunk.w);
  apq_syncwarp();
  return apq_lds32(4 * (apq_thread() ^ 2));
}

APQ_FUNCTION apq_u32 words_global(const words_args *args) {
  const apq_u8 *from = (const apq_u8 *)args->from + 16 * apq_block_x();
  apq_u32x4 chunk = apq_ldg128(from);
  apq_u32 sum = chunk.x ^ apq_ldg32(from + 4) ^ apq_ldg16(from + 2) ^ apq_ldg16_volatile(from + 6) ^
                apq_ldg128_volatile(from + 16).y ^ apq_ldg8(from + 1);
  sum ^= apq_float_bits(apq_ldg_f32((const float *)from));
  apq_prefetch_l2(from + 128);
  apq_u8 *to = (apq_u8 *)args->to + 16 * apq_block_y();
  apq_stg128(to, chunk);
  apq_stg32(to + 32, sum);
  apq_stg16(to + 64, (apq_u16)sum);
  apq_stg8(to + 65, (apq_u8)sum);
  apq_threadfence();
  apq_u32 early = apq_ldg128_volatile(args->from).y;
  apq_u64 late = early;
  apq_early32(early);
  apq_early64(late);
  return apq_atomic_increment(args->counter) + apq_ldg32_volatile(args->counter) + early +
         (apq_u32)late;
}

APQ_FUNCTION apq_u32 words_warp(apq_u32 v) {
  v += apq_ballot((int)v > 3);
  v += apq_shuffle(v, 5);
  v += apq_shuffle_xor(v, 1);
  return v + apq_float_bits(apq_shuffle_xor_f32(apq_int_to_float((int)v), 2));
}

APQ_FUNCTION apq_u32 words_mma(const words_args *args, apq_u32 v) {
  apq_u32 a[4] = {v, v + 1, v + 2, v + 3}, b[2] = {v + 4, v + 5};
  int d[4] = {args->n, 0, 1, 2};
#if APQ_CC >= 80
  apq_mma_b1_and(d, a, b);
#endif
  apq_mma_b1_xor(d, a, b);
  apq_mma_u8(d, a, b);
  return (apq_u32)(d[0] + d[1] + d[2] + d[3]);
}

APQ_FUNCTION apq_u32 words_arithmetic(apq_u32 v) {
  float f = apq_bits_float(v), g = apq_half_to_float((apq_u16)v), h = apq_bf16_to_float((apq_u16)v);
  float sum = apq_add(apq_mul(f, g), apq_div(h, f));
  sum = apq_fma(sum, h, apq_reciprocal(apq_add(1.0f, apq_min(apq_abs(f), 1.0f))));
  sum = apq_max(apq_min(sum, g), apq_abs(h));
  apq_u32 bits = apq_float_to_half(sum) + ((apq_u32)apq_float_to_bf16(f) << 16);
  bits ^= apq_floats_to_halves(sum, f) ^ apq_floats_to_bf16s(f, sum);
  return bits + (apq_u32)(apq_popc(v) + apq_float_to_int(sum) + apq_is_finite(sum));
}

#if APQ_CC == 90
APQ_FUNCTION apq_u32 words_bulk(const words_args *args) {
  if (apq_thread() == 0) {
    apq_mbarrier_init(0, 2);
    apq_mbarrier_publish();
    apq_tma_prefetch(&args->map);
  }
  apq_syncthreads();
  if (apq_thread() == 0) {
    apq_mbarrier_expect(0, 3 * 64 + 16);
    apq_tma_load(1024, &args->map, 0, 0, 1, 2);
    apq_tma_load_multicast(2048, &args->map, 0, 0, 1, 2, 3);
    apq_bulk_load(3072, args->from, 64, 0);
    apq_u32x4 sent = {1, 2, 3, 4};
    apq_cluster_meet();
    apq_send128(4096, apq_cluster_rank() ^ 1, sent, 0);
    apq_mbarrier_arrive(0);
    apq_mbarrier_arrive_at(0, apq_cluster_rank() ^ 1);
  }
  apq_mbarrier_wait(0, 0);
  apq_u32 r[4] = {1, 2, 3, 4};
  apq_stmatrix4(16 * (apq_thread() % 32), r);
  apq_stmatrix4_transposed(512 + 16 * (apq_thread() % 32), r);
  apq_fence_async();
  apq_named_barrier(1, 128);
  if (apq_thread() == 0) {
    apq_tma_store(&args->map, 0, 0, 1, 2);
    apq_bulk_store(args->to, 0, 64);
    apq_bulk_commit();
    apq_bulk_wait_read(0);
    apq_bulk_wait(0);
  }
  apq_cluster_sync();
  apq_u32x4 v = apq_ldg128_stream(args->from);
  return v.x;
}

APQ_FUNCTION apq_u32 words_wgmma(apq_u32 v) {
  apq_u32 a[4] = {v, v + 1, v + 2, v + 3};
  int d[24];
  APQ_UNROLL
  for (int i = 0; i < 24; i++) d[i] = 0;
  apq_registers_increase(128);
  apq_wgmma_fence();
  apq_wgmma_b1(48, d, apq_wgmma_desc(0, 128), apq_wgmma_desc(8192, 64), 0);
  apq_wgmma_commit();
  apq_wgmma_wait(0);
  apq_wgmma_fence();
  apq_wgmma_u8(48, d, apq_wgmma_desc_plain(0, 1024), apq_wgmma_desc_plain(8192, 768), 1);
  apq_wgmma_commit();
  apq_wgmma_wait(0);
  apq_wgmma_fence();
  apq_wgmma_u8_registers(48, d, a, apq_wgmma_desc(8192, 32), 1);
  apq_wgmma_b1_registers(48, d, a, apq_wgmma_desc(8192, 32), 1);
  apq_wgmma_commit();
  apq_wgmma_wait(0);
  apq_registers_decrease(64);
  APQ_UNROLL
  for (int i = 0; i < 24; i++) v += (apq_u32)d[i];
  return v;
}
#endif

APQ_KERNEL(words, words_args, 128, 1) {
#if APQ_CC == 90
  apq_grid_release();
  apq_grid_wait();
#endif
  apq_u32 sum = words_shared(&args) + words_global(&args);
  APQ_UNROLL
  for (int i = 0; i < 2; i++) sum = words_warp(sum);
  APQ_NO_UNROLL
  for (int i = 0; i < args.n; i++) sum += words_mma(&args, sum);
  sum += words_arithmetic(sum) + (apq_u32)(apq_block_z() + apq_grid_x() + apq_grid_y());
  sum += (apq_u32)apq_dp4a_u8(sum, sum >> 1, 1) + apq_permute(sum, sum >> 3, 0x7126);
  sum += apq_select(sum, sum >> 5, 0x33333333u) + apq_rotate(sum, 7);
  sum += apq_max_u16x2(sum, sum << 1) + apq_max_s16x2(sum, sum << 3);
#if APQ_CC == 90
  sum += words_bulk(&args) + words_wgmma(sum);
#else
  sum += apq_ldg128_stream(args.from).x;
#endif
  apq_stg32((apq_u8 *)args.to + 4 * apq_thread(), sum);
}
