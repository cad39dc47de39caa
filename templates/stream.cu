/* Family stream: reads the weights of a product once and does nothing else.
 *
 * @family stream helper planes
 * @parts stream.cu
 * @knob p         = 2 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended
 *
 * What it takes is the floor of a product of few tokens, launch included. */

#define THREADS 256
#define DEPTH   8 /* loads of a thread in flight */

/* Four blocks an SM: with more registers to spare, the compiler keeps all loads in flight. */
APQ_KERNEL(KERNEL, apq_gemm_args, THREADS, 4) {
  apq_u64 chunks = (apq_u64)(P * (apq_u32)args.n) * ((apq_u32)args.row_bytes / 16);
  apq_u64 step = (apq_u64)(THREADS * (apq_u32)apq_grid_x());
  apq_u32 sum = 0;
#if PDL
  apq_grid_release();
#endif
  for (apq_u64 i = (apq_u64)(THREADS * (apq_u32)apq_block_x() + (apq_u32)apq_thread()); i < chunks;
       i += DEPTH * step) {
    apq_u32x4 v[DEPTH];
    APQ_UNROLL
    for (int d = 0; d < DEPTH; d++) {
      apq_u32x4 none = {0, 0, 0, 0};
      apq_u64 at = i + (apq_u32)d * step;
      v[d] = none;
      if (at < chunks) v[d] = apq_ldg128_stream((const apq_u8 *)args.w + 16 * at);
    }
#if PDL
    if (args.m > 0) apq_grid_wait(); /* a branch: else the compiler moves it before the loads */
#endif
    APQ_UNROLL
    for (int d = 0; d < DEPTH; d++) sum ^= v[d].x ^ v[d].y ^ v[d].z ^ v[d].w;
  }
#if PDL
  apq_grid_wait(); /* also of blocks that have nothing to read */
#endif
  /* Hardly ever true, and only there so that the loads are waited for. */
  if (sum == 0x9e3779b9u) apq_stg32(args.y, sum);
}
