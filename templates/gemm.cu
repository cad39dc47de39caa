/* ---- the kernel: one block computes one TILE_M x TILE_N tile of y over one K split ----
 * The family above gives: STAGE_BYTES, XT, YT, XF, YF, apq_lane, apq_lane_init, apq_steps, PARTS,
 * apq_load_part, apq_next_stage, apq_before_stage, apq_fragments, apq_load_fragments,
 * apq_compute_stage, apq_sum. */

#if STORE == STORE_STAGED
/* The int32 tile in shared memory, over the ring.  The pad keeps the fragment stores free of bank
 * conflicts: neighbors along n are two words of a lane, or, with SWAP, lanes. */
#if SWAP
#define TILE_PITCH (TILE_N + 4)
#else
#define TILE_PITCH (TILE_N + 8)
#endif
#endif

/* Behind the ring, or what takes its place after the products where that is larger: the edges, then
 * the ticket. */
#define RING_BYTES (STAGES * STAGE_BYTES)
#if STORE == STORE_STAGED
#define TILE_BYTES (4 * TILE_M * TILE_PITCH)
#else
#define TILE_BYTES (16 * YF * THREADS) /* apq_store_post_fragments */
#endif
#define EDGES_AT  (RING_BYTES > TILE_BYTES ? RING_BYTES : TILE_BYTES)
#define TICKET_AT (EDGES_AT + (TILE_M + TILE_N) * EDGE_BYTES)

/* Token and channel, within the tile, of an x row and a y column. */
#if SWAP
#define TILE_AT_M(x, y) (y)
#define TILE_AT_N(x, y) (x)
#else
#define TILE_AT_M(x, y) (x)
#define TILE_AT_N(x, y) (y)
#endif

/* The grid is (tiles of m in a group, tiles of n, groups x splits): blocks that run at the same
 * time take a few rows of tiles, so that they share both operands in L2.  Returns 0 for a block
 * past the last row of tiles. */
#define SPLIT (apq_block_z() % SPLIT_K)
APQ_FUNCTION int apq_tile_origin(const apq_gemm_args *args, int *m0, int *n0) {
  *m0 = (apq_block_z() / SPLIT_K * apq_grid_x() + apq_block_x()) * TILE_M;
  *n0 = apq_block_y() * TILE_N;
  return *m0 < args->m;
}

/* A thread's edges of the tile at (m0, n0); those past the matrix repeat its last.  They are loaded
 * before the first stage and put behind the ring after it, so that the two wait together. */
#define EDGES ((TILE_M + TILE_N + THREADS - 1) / THREADS)
APQ_FUNCTION void apq_load_edges(const apq_gemm_args *args, int m0, int n0,
                                 apq_raw_edge edge[EDGES]) {
  APQ_UNROLL
  for (int e = 0; e < EDGES; e++) {
    int i = apq_thread() + e * THREADS, m = m0 + i, n = n0 + i - TILE_M;
    if (i < TILE_M)
      edge[e] = apq_load_row(args, m < args->m ? m : args->m - 1);
    else
      edge[e] = apq_load_column(args, n < args->n ? n : args->n - 1);
  }
}

APQ_FUNCTION void apq_put_edges(const apq_gemm_args *args, int at, const apq_raw_edge raw[EDGES]) {
  APQ_UNROLL
  for (int e = 0; e < EDGES; e++) {
    int i = apq_thread() + e * THREADS;
    apq_edge edge = apq_finish_edge(args, &raw[e], i < TILE_M);
    int place = i < TILE_M ? ROW_EDGE(i) : COLUMN_EDGE(i - TILE_M);
    if (i < TILE_M + TILE_N) apq_put_edge(at + place * EDGE_BYTES, &edge);
  }
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
/* Adds this block's sums to what the other splits of the tile leave in device memory.  The block
 * that takes the last ticket has all of them; it returns 1 and finishes the tile.  Sums are
 * integers, so their order is free. */
APQ_FUNCTION int apq_share_tile(const apq_gemm_args *args, int m0, int n0) {
  for (int i = apq_thread(); i < TILE_M * TILE_N; i += THREADS) {
    int m = i / TILE_N, n = i % TILE_N;
    if (m0 + m < args->m && n0 + n < args->n)
      apq_stg32(args->partial + ((long long)SPLIT * args->m + m0 + m) * args->n + n0 + n,
                apq_lds32(4 * (m * TILE_PITCH + n)));
  }
  /* One thread speaks for the block: what the others stored before the barrier is covered by its
   * fence, and what it sees after the ticket they may read after the next barrier. */
  apq_syncthreads();
  if (apq_thread() == 0) {
    apq_threadfence();
    apq_u32 ticket =
        apq_atomic_increment(args->tickets + (m0 / TILE_M * apq_grid_y() + n0 / TILE_N));
    apq_threadfence();
    apq_sts32(TICKET_AT, ticket);
  }
  apq_syncthreads();
  int is_last = apq_lds32(TICKET_AT) == SPLIT_K - 1;
  return is_last;
}
#endif

/* The exact sums of eight neighboring channels of the finished tile; those past the matrix are not
 * used. */
APQ_FUNCTION void apq_tile_sums(const apq_gemm_args *args, int m0, int n0, int m, int n,
                                apq_u32 sum[8]) {
#if SPLIT_K > 1
  APQ_UNROLL
  for (int i = 0; i < 8; i++) {
    sum[i] = 0;
    if (n0 + n + i >= args->n) continue;
    for (int split = 0; split < SPLIT_K; split++)
      sum[i] += apq_ldg32_volatile(args->partial + ((long long)split * args->m + m0 + m) * args->n +
                                   n0 + n + i);
  }
#else
  apq_u32x4 low = apq_lds128(4 * (m * TILE_PITCH + n)),
            high = apq_lds128(4 * (m * TILE_PITCH + n) + 16);
  sum[0] = low.x, sum[1] = low.y, sum[2] = low.z, sum[3] = low.w;
  sum[4] = high.x, sum[5] = high.y, sum[6] = high.z, sum[7] = high.w;
#endif
}

/* Tokens m, m + step, ... of a thread's eight channels from n on.  `is_whole` and `is_plain` are
 * constants where they are 1: the tile lies inside the matrix, in whole 16-byte stores, so that no
 * step branches; and it is plain (apq_edge). */
APQ_FUNCTION void apq_store_column(const apq_gemm_args *args, int m0, int n0, int n, int is_whole,
                                   int is_wide, int is_plain, const apq_edge column[8]) {
  APQ_UNROLL_4
  for (int m = apq_thread() / (TILE_N / 8); m < TILE_M; m += THREADS / (TILE_N / 8)) {
    if (!is_whole && m0 + m >= args->m) continue;
    apq_edge row = apq_get_edge(EDGES_AT + ROW_EDGE(m) * EDGE_BYTES);
    apq_u32 sum[8];
    apq_tile_sums(args, m0, n0, m, n, sum);
    APQ_UNROLL
    for (int i = 0; i < 8; i++) sum[i] = apq_finish_total(args, sum[i], &row, &column[i], is_plain);
    apq_store_eight(args, m0 + m, n0 + n, is_whole || is_wide, sum);
  }
}

#if OUT != OUT_I32
/* The same for results that an activation or another operand follows.  A loop of its own, not
 * unrolled: the code for eight exponentials is long. */
APQ_FUNCTION void apq_store_post_column(const apq_gemm_args *args, int m0, int n0, int n,
                                        int is_wide, const apq_edge column[8]) {
  APQ_NO_UNROLL
  for (int m = apq_thread() / (TILE_N / 8); m < TILE_M; m += THREADS / (TILE_N / 8)) {
    if (m0 + m >= args->m) continue;
    apq_edge row = apq_get_edge(EDGES_AT + ROW_EDGE(m) * EDGE_BYTES);
    apq_u32 sum[8];
    apq_tile_sums(args, m0, n0, m, n, sum);
    APQ_UNROLL
    for (int i = 0; i < 8; i++) sum[i] = apq_finish_total(args, sum[i], &row, &column[i], 0);
    apq_post_eight(args, m0 + m, n0 + n, sum);
    apq_store_eight(args, m0 + m, n0 + n, is_wide, sum);
  }
}
#endif

/* Writes the tile, eight neighboring channels a thread, whole 16-byte stores where they fit.  A
 * thread keeps its channels over the tokens it writes, so those edges are read once. */
APQ_FUNCTION void apq_store_tile(const apq_gemm_args *args, int m0, int n0) {
  int n = apq_thread() % (TILE_N / 8) * 8;
  int is_aligned = (args->ldy * OUT_BYTES) % 16 == 0 && (unsigned long long)args->y % 16 == 0;
  int is_whole = is_aligned && m0 + TILE_M <= args->m && n0 + TILE_N <= args->n;
  int is_wide = is_aligned && n0 + n + 8 <= args->n;
  if (n0 + n >= args->n) return;
  apq_edge column[8];
  APQ_UNROLL
  for (int i = 0; i < 8; i++) column[i] = apq_get_edge(EDGES_AT + COLUMN_EDGE(n + i) * EDGE_BYTES);
#if OUT != OUT_I32
  if (apq_has_post(args)) {
    apq_store_post_column(args, m0, n0, n, is_wide, column);
    return;
  }
#endif
  if (is_whole && apq_is_plain(args))
    apq_store_column(args, m0, n0, n, 1, 1, 1, column);
  else if (is_whole)
    apq_store_column(args, m0, n0, n, 1, 1, 0, column);
  else
    apq_store_column(args, m0, n0, n, 0, is_wide, apq_is_plain(args), column);
}

#else

/* Results of one fragment, straight from the registers: less shared memory, narrower stores. */
APQ_FUNCTION void apq_fragment_at(const apq_lane *lane, int xi, int yi, int e, int *m, int *n) {
  int x = lane->x_first + 16 * xi + lane->group + 8 * (e / 2);
  int y = lane->y_first + 8 * yi + 2 * lane->quad + e % 2;
  *m = TILE_AT_M(x, y);
  *n = TILE_AT_N(x, y);
}

APQ_FUNCTION apq_u32 apq_fragment_result(const apq_gemm_args *args, apq_u32 sum, int m, int n,
                                         int is_plain) {
  apq_edge row = apq_get_edge(EDGES_AT + ROW_EDGE(m) * EDGE_BYTES);
  apq_edge column = apq_get_edge(EDGES_AT + COLUMN_EDGE(n) * EDGE_BYTES);
  return apq_finish_total(args, sum, &row, &column, is_plain);
}

#if OUT != OUT_I32
/* The fragments of one xi, where an activation or another operand follows: a thread passes the sums
 * through its own words of shared memory, so that one loop, and not code unrolled over them, holds
 * the exponential. */
APQ_FUNCTION void apq_store_post_fragments(const apq_gemm_args *args, const apq_lane *lane, int m0,
                                           int n0, int xi, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int i = 0; i < 4 * YF; i++)
    apq_sts32(4 * (THREADS * i + apq_thread()), apq_sum(acc, xi, i / 4, i % 4));
  APQ_NO_UNROLL
  for (int i = 0; i < 4 * YF; i++) {
    int m, n;
    apq_fragment_at(lane, xi, i / 4, i % 4, &m, &n);
    if (m0 + m >= args->m || n0 + n >= args->n) continue;
    apq_u32 result =
        apq_fragment_result(args, apq_lds32(4 * (THREADS * i + apq_thread())), m, n, 0);
    apq_store_one(args, m0 + m, n0 + n, apq_post_one(args, m0 + m, n0 + n, result));
  }
}
#endif

APQ_FUNCTION void apq_store_fragments(const apq_gemm_args *args, const apq_lane *lane, int m0,
                                      int n0, int acc[XT][YT][4]) {
#if OUT != OUT_I32
  if (apq_has_post(args)) {
    APQ_UNROLL
    for (int xi = 0; xi < XF; xi++) apq_store_post_fragments(args, lane, m0, n0, xi, acc);
    return;
  }
#endif
  APQ_UNROLL
  for (int xi = 0; xi < XF; xi++) {
    APQ_UNROLL
    for (int i = 0; i < 4 * YF; i++) {
      int m, n;
      apq_fragment_at(lane, xi, i / 4, i % 4, &m, &n);
      if (m0 + m >= args->m || n0 + n >= args->n) continue;
      apq_store_one(
          args, m0 + m, n0 + n,
          apq_fragment_result(args, apq_sum(acc, xi, i / 4, i % 4), m, n, apq_is_plain(args)));
    }
  }
}

#endif

/* A whole stage at once. */
APQ_FUNCTION void apq_load_stage(const apq_gemm_args *args, apq_lane *lane, int at,
                                 int is_loading) {
  APQ_UNROLL
  for (int part = 0; part < PARTS; part++) apq_load_part(lane, at, part, is_loading);
  apq_next_stage(args, lane);
  apq_cp_async_commit();
}

APQ_KERNEL(KERNEL, apq_gemm_args, THREADS, MIN_BLOCKS) {
  int m0, n0;
  if (!apq_tile_origin(&args, &m0, &n0)) return;
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
  apq_fragments fragments;
#if GROUP
  apq_totals totals;
  apq_start_totals(&totals, &args, m0, n0);
  fragments.totals = &totals;
#endif
  apq_raw_edge edges[EDGES];
  apq_load_edges(&args, m0, n0, edges);
#if STAGES == 1
  apq_put_edges(&args, EDGES_AT, edges);
  APQ_NO_UNROLL
  for (int step = 0; step < steps; step++) {
    apq_load_stage(&args, &lane, 0, 1);
    apq_cp_async_wait(0);
    apq_syncthreads();
    apq_before_stage(&lane, acc);
    apq_load_fragments(&lane, 0, 0, &fragments);
    apq_compute_stage(&lane, 0, 0, 0, 0, &fragments, acc);
    apq_syncthreads();
  }
#else
  /* A ring of STAGES slots.  Every step starts copies and commits one group, of zeros when nothing
   * is left to load, so that the wait counts the same in every step and a slot that is read was
   * written. */
  APQ_NO_UNROLL
  for (int step = 0; step < STAGES - 1; step++)
    apq_load_stage(&args, &lane, step * STAGE_BYTES, step < steps);
  apq_put_edges(&args, EDGES_AT, edges);
  apq_cp_async_wait(STAGES - 2);
  apq_syncthreads();
  apq_load_fragments(&lane, 0, 0, &fragments);
  int at = 0, fill = (STAGES - 1) * STAGE_BYTES;
  APQ_NO_UNROLL
  for (int step = 0; step < steps; step++) {
    int next = at == (STAGES - 1) * STAGE_BYTES ? 0 : at + STAGE_BYTES;
    apq_before_stage(&lane, acc);
    apq_compute_stage(&lane, at, next, fill, step + STAGES - 1 < steps, &fragments, acc);
    apq_next_stage(&args, &lane);
    fill = at;
    at = next;
  }
  apq_cp_async_wait(0);
#endif

#if GROUP
  apq_take_totals(&totals, acc);
#endif
  apq_syncthreads();
#if STORE == STORE_STAGED
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
