/* ---- the kernel: one block computes one TILE_M x TILE_N tile of y over one K split ----
 * The family above gives: X_ROWS, Y_ROWS, STAGE_BYTES, XT, YT, apq_lane, apq_lane_init, apq_steps, apq_load_stage,
 * apq_before_stage, apq_compute_stage, apq_sum.
 * The mma operand with 16 rows is called x, the one with 8 columns y: activations and weights, or exchanged with SWAP. */

#define RING_BYTES (STAGES * STAGE_BYTES)

#if STORE == STORE_STAGED
/* The int32 tile in shared memory, over the ring.  The pad keeps the fragment stores free of bank conflicts: neighbors along n are two words of a
 * lane, or, with SWAP, lanes. */
#if SWAP
#define TILE_PITCH (TILE_N + 4)
#else
#define TILE_PITCH (TILE_N + 8)
#endif
#endif

/* Token and channel, within the tile, of an x row and a y column. */
#if SWAP
#define TILE_AT_M(x, y) (y)
#define TILE_AT_N(x, y) (x)
#else
#define TILE_AT_M(x, y) (x)
#define TILE_AT_N(x, y) (y)
#endif

/* Tile coordinates of this block. Blocks that run at the same time take tiles of a few rows of tiles, so that they share both
 * operands in L2. */
APQ_FUNCTION void apq_tile_origin(const apq_gemm_args *args, int *m0, int *n0) {
  int m_tiles = (args->m + TILE_M - 1) / TILE_M;
  int n_tiles = (args->n + TILE_N - 1) / TILE_N;
  int group = apq_block_x() / (8 * n_tiles);
  int height = m_tiles - 8 * group < 8 ? m_tiles - 8 * group : 8;
  int within = apq_block_x() - group * 8 * n_tiles;
  *m0 = (8 * group + within % height) * TILE_M;
  *n0 = (within / height) * TILE_N;
}

#if STORE == STORE_STAGED

#if RECOMBINE == RECOMBINE_SHARED
/* Every warp adds its plane products, shifted to their weight, into the tile. */
APQ_FUNCTION void apq_stage_tile(const apq_lane *lane, int acc[XT][YT][4]) {
  for (int i = apq_thread(); i < TILE_M * TILE_PITCH; i += THREADS) apq_sts32(4 * i, 0);
  apq_syncthreads();
  APQ_UNROLL
  for (int xi = 0; xi < XT; xi++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      int x = lane->x_base + 16 * xi, y = lane->y_base + 8 * yi;
      int shift = x / X_TILE + y / Y_TILE;
      APQ_UNROLL
      for (int e = 0; e < 4; e++) {
        int xe = x % X_TILE + lane->group + 8 * (e / 2), ye = y % Y_TILE + 2 * lane->quad + e % 2;
        apq_atomic_add_shared(4 * (TILE_AT_M(xe, ye) * TILE_PITCH + TILE_AT_N(xe, ye)),
                              (apq_u32)acc[xi][yi][e] << shift);
      }
    }
  }
}
#else
APQ_FUNCTION void apq_stage_tile(const apq_lane *lane, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int xi = 0; xi < XF; xi++) {
    APQ_UNROLL
    for (int yi = 0; yi < YF; yi++) {
      APQ_UNROLL
      for (int e = 0; e < 4; e++) {
        int x = lane->x_first + 16 * xi + lane->group + 8 * (e / 2);
        int y = lane->y_first + 8 * yi + 2 * lane->quad + e % 2;
        apq_sts32(4 * (TILE_AT_M(x, y) * TILE_PITCH + TILE_AT_N(x, y)), apq_sum(acc, xi, yi, e));
      }
    }
  }
}
#endif

#if SPLIT_K > 1
/* Adds this block's sums to what the other splits of the tile leave in device memory.  The block that takes the last ticket has all of them; it
 * returns 1 and finishes the tile.  Sums are integers, so their order is free. */
APQ_FUNCTION int apq_share_tile(const apq_gemm_args *args, int m0, int n0) {
  for (int i = apq_thread(); i < TILE_M * TILE_N; i += THREADS) {
    int m = i / TILE_N, n = i % TILE_N;
    if (m0 + m < args->m && n0 + n < args->n)
      apq_stg32(args->partial + ((long long)apq_block_y() * args->m + m0 + m) * args->n + n0 + n,
                apq_lds32(4 * (m * TILE_PITCH + n)));
  }
  apq_threadfence();
  apq_syncthreads();
  if (apq_thread() == 0) apq_sts32(4 * TILE_M * TILE_PITCH, apq_atomic_increment(args->tickets + apq_block_x()));
  apq_syncthreads();
  int is_last = apq_lds32(4 * TILE_M * TILE_PITCH) == SPLIT_K - 1;
  apq_threadfence();
  return is_last;
}
#endif

/* The exact sums of eight neighboring channels of the finished tile; those past the matrix are not used. */
APQ_FUNCTION void apq_tile_sums(const apq_gemm_args *args, int m0, int n0, int m, int n, apq_u32 sum[8]) {
#if SPLIT_K > 1
  APQ_UNROLL
  for (int i = 0; i < 8; i++) {
    sum[i] = 0;
    if (n0 + n + i >= args->n) continue;
    for (int split = 0; split < SPLIT_K; split++)
      sum[i] += apq_ldg32_volatile(args->partial + ((long long)split * args->m + m0 + m) * args->n + n0 + n + i);
  }
#else
  apq_u32x4 low = apq_lds128(4 * (m * TILE_PITCH + n)), high = apq_lds128(4 * (m * TILE_PITCH + n) + 16);
  sum[0] = low.x, sum[1] = low.y, sum[2] = low.z, sum[3] = low.w;
  sum[4] = high.x, sum[5] = high.y, sum[6] = high.z, sum[7] = high.w;
#endif
}

/* Writes the tile, eight neighboring channels a thread, whole 16-byte stores where they fit.  A thread keeps its channels over the tokens it
 * writes, so their scales and zero points are loaded once. */
APQ_FUNCTION void apq_store_tile(const apq_gemm_args *args, int m0, int n0) {
  int wide = (args->ldy * OUT_BYTES) % 16 == 0 && (unsigned long long)args->y % 16 == 0;
  int n = apq_thread() % (TILE_N / 8) * 8;
  if (n0 + n >= args->n) return;
  wide = wide && n0 + n + 8 <= args->n;
  apq_column column[8];
  APQ_UNROLL
  for (int i = 0; i < 8; i++)
    column[i] = apq_load_column(args, n0 + n + i < args->n ? n0 + n + i : args->n - 1);
  for (int m = apq_thread() / (TILE_N / 8); m < TILE_M && m0 + m < args->m; m += THREADS / (TILE_N / 8)) {
    apq_row row = apq_load_row(args, m0 + m);
    apq_u32 bits[8];
    apq_tile_sums(args, m0, n0, m, n, bits);
    APQ_UNROLL
    for (int i = 0; i < 8; i++) bits[i] = apq_result(args, bits[i], &row, &column[i]);
    apq_store_eight(args, m0 + m, n0 + n, wide, bits);
  }
}

#else

/* Straight from the fragments: less shared memory, narrower stores. */
APQ_FUNCTION void apq_store_fragments(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                                      int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int xi = 0; xi < XF; xi++) {
    APQ_UNROLL
    for (int yi = 0; yi < YF; yi++) {
      APQ_UNROLL
      for (int e = 0; e < 4; e++) {
        int x = lane->x_first + 16 * xi + lane->group + 8 * (e / 2);
        int y = lane->y_first + 8 * yi + 2 * lane->quad + e % 2;
        int m = m0 + TILE_AT_M(x, y), n = n0 + TILE_AT_N(x, y);
        if (m >= args->m || n >= args->n) continue;
        apq_row row = apq_load_row(args, m);
        apq_column column = apq_load_column(args, n);
        apq_store_one(args, m, n, apq_result(args, apq_sum(acc, xi, yi, e), &row, &column));
      }
    }
  }
}

#endif

APQ_KERNEL(KERNEL, apq_gemm_args, THREADS, MIN_BLOCKS) {
  int m0, n0;
  apq_tile_origin(&args, &m0, &n0);
  apq_lane lane;
  apq_lane_init(&lane, &args, m0, n0);
  int acc[XT][YT][4];
  APQ_UNROLL
  for (int xi = 0; xi < XT; xi++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      APQ_UNROLL
      for (int e = 0; e < 4; e++) acc[xi][yi][e] = 0;
    }
  }

  int steps = apq_steps(&lane);
#if STAGES == 1
  APQ_NO_UNROLL
  for (int step = 0; step < steps; step++) {
    apq_load_stage(&args, &lane, 0);
    apq_cp_async_commit();
    apq_cp_async_wait(0);
    apq_syncthreads();
    apq_before_stage(&lane, acc);
    apq_compute_stage(&lane, 0, acc);
    apq_syncthreads();
  }
#else
  /* A ring of STAGES slots: a slot is refilled right after the barrier that says all warps are done with it.  One group a step is committed even
   * when nothing is left to load, so that the wait counts the same in every step. */
  int slot = 0, fill = 0;
  APQ_NO_UNROLL
  for (int step = 0; step < STAGES - 1; step++) {
    if (step < steps) apq_load_stage(&args, &lane, fill * STAGE_BYTES);
    apq_cp_async_commit();
    fill++;
  }
  APQ_NO_UNROLL
  for (int step = 0; step < steps; step++) {
    apq_cp_async_wait(STAGES - 2);
    apq_syncthreads();
    if (step + STAGES - 1 < steps) apq_load_stage(&args, &lane, fill * STAGE_BYTES);
    apq_cp_async_commit();
    fill = fill + 1 == STAGES ? 0 : fill + 1;
    apq_before_stage(&lane, acc);
    apq_compute_stage(&lane, slot * STAGE_BYTES, acc);
    slot = slot + 1 == STAGES ? 0 : slot + 1;
  }
  apq_cp_async_wait(0);
#endif

#if STORE == STORE_STAGED
  apq_syncthreads();
  apq_stage_tile(&lane, acc);
  apq_syncthreads();
#if SPLIT_K > 1
  if (!apq_share_tile(&args, m0, n0)) return;
#endif
  apq_store_tile(&args, m0, n0);
#else
  apq_store_fragments(&args, &lane, m0, n0, acc);
#endif
}
