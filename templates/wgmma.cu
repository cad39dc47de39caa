/* ---- the kernel of the warpgroup families: output, roles ---- */

/* A lane's results, before their last rounding, of 16 columns from y on of a 64-row block. */
APQ_FUNCTION void apq_get_results(const apq_gemm_args *args, const apq_lane *lane, int block, int y,
                                  const apq_edge *upper, const apq_edge *lower, int is_plain,
                                  int acc[ACCUMULATORS][SUMS], apq_u32 result[8]) {
  APQ_UNROLL
  for (int e = 0; e < 8; e += 4) {
    int column = y + 2 * e, r = column / 2;
    apq_edge edge[2];
    apq_get_pair(lane, column, is_plain, edge);
    result[e] = apq_finish(args, apq_sum(acc, block, r), upper, &edge[0], is_plain);
    result[e + 1] = apq_finish(args, apq_sum(acc, block, r + 1), upper, &edge[1], is_plain);
    result[e + 2] = apq_finish(args, apq_sum(acc, block, r + 2), lower, &edge[0], is_plain);
    result[e + 3] = apq_finish(args, apq_sum(acc, block, r + 3), lower, &edge[1], is_plain);
  }
}

/* Finishes and stores columns y_first .. y_end - 1, whole chunks, of a warpgroup's share of the
 * tile at (m0, n0).  `is_fast` is a constant (apq_is_fast), but for the results that something
 * follows. */
APQ_FUNCTION void apq_finish_columns(const apq_tma_args *tma, int m0, int n0, apq_lane *lane,
                                     int warpgroup, int y_first, int y_end, int is_fast,
                                     int acc[ACCUMULATORS][SUMS]) {
  const apq_gemm_args *args = &tma->gemm;
#if OTHER_COPIES
  int has_others = is_fast && args->combine;
  if (!has_others) apq_free_buffers(args);
#endif
  int is_plain = !POST && is_fast ? is_fast == 2 : apq_is_plain(args);
  APQ_UNROLL
  for (int block = 0; block < X_BLOCKS; block++) {
    int x = lane->x_first + 64 * block;
    apq_edge upper = apq_get_edge(lane->edges + (x + lane->x_row) * EDGE_BYTES);
    apq_edge lower = apq_get_edge(lane->edges + (x + lane->x_row + 8) * EDGE_BYTES);
#if POST && STORE != STORE_DIRECT && !OTHER_COPIES
    apq_others ahead[OTHERS_AHEAD];
    APQ_UNROLL
    for (int i = 0; i < OTHERS_AHEAD; i++)
      if (y_first + 16 * i < y_end)
        apq_load_others(args, lane, m0, n0, x, y_first + 16 * i, is_fast, &ahead[i]);
    APQ_NO_UNROLL
    for (int part = y_first; part < y_end; part += PART_COLUMNS) {
      apq_others others[PART_GROUPS];
      APQ_UNROLL
      for (int i = 0; i < PART_GROUPS; i++) others[i] = ahead[i];
      APQ_UNROLL
      for (int i = 0; i < OTHERS_AHEAD; i++) {
        int coming = part + 16 * (i + PART_GROUPS);
        if (i + PART_GROUPS < OTHERS_AHEAD)
          ahead[i] = ahead[i + PART_GROUPS];
        else if (coming < y_end)
          apq_load_others(args, lane, m0, n0, x, coming, is_fast, &ahead[i]);
      }
      /* Sums have to be named by constants. */
      APQ_UNROLL
      for (int y = y_first; y < y_end; y += 16) {
        apq_u32 result[8];
        if (y / PART_COLUMNS * PART_COLUMNS != part) continue;
        apq_get_results(args, lane, block, y, &upper, &lower, is_plain, acc, result);
        apq_put_floats(warpgroup, y % PART_COLUMNS / 16, result);
      }
      if (part % Y_CHUNK == 0) apq_free_buffers(args);
      apq_post_part(args, lane, warpgroup, m0, n0, x, part, is_fast, others);
      if ((part + PART_COLUMNS) % Y_CHUNK) continue;
      int first = lane->y_first + part - part % Y_CHUNK;
      apq_pass_buffer(tma, 0, m0 + TILE_AT_M(x, first), n0 + TILE_AT_N(x, first), is_fast);
    }
#else
    APQ_UNROLL
    for (int y = y_first; y < y_end; y += 16) {
      apq_u32 result[8];
      apq_get_results(args, lane, block, y, &upper, &lower, is_plain, acc, result);
#if STORE == STORE_DIRECT
#if POST
      apq_post_results(args, lane, m0, n0, x, y, result);
#endif
      APQ_UNROLL
      for (int e = 0; e < 8; e++) {
        int m, n;
        if (apq_result_at(args, lane, m0, n0, x, y, e, &m, &n))
          apq_store_one(args, m, n, result[e]);
      }
#else
      int chunk = block * CHUNKS + y / Y_CHUNK, i = y % Y_CHUNK / 16;
#if OTHER_COPIES
      float other[8];
      if (has_others)
        apq_get_others(lane, chunk, i, other);
      else if (args->combine)
        apq_ragged_others(args, lane, m0, n0, x, y, other);
      if (args->combine) apq_apply_other(args, other, result);
      if (has_others && i == Y_CHUNK / 16 - 1) apq_ask_next_other(tma, lane, m0, n0, chunk);
#endif
      apq_stage_sixteen(lane, BUFFER_AT(warpgroup, chunk), i, result);
      if (i < Y_CHUNK / 16 - 1) continue;
      int first = lane->y_first + y - y % Y_CHUNK;
      apq_pass_buffer(tma, chunk, m0 + TILE_AT_M(x, first), n0 + TILE_AT_N(x, first), is_fast);
#endif
    }
#endif
  }
#if STORE != STORE_DIRECT && !POST
  /* An odd number of chunks would meet the buffer of the last one first. */
  if (X_BLOCKS * CHUNKS % 2 && y_end == Y_SHARE) apq_free_buffers(args);
#endif
  (void)warpgroup;
}

/* Whether the tile lies inside the matrix, in whole 16-byte pieces, or leaves by tensor copies,
 * which end where the matrix does; 2 when it is plain too.  Where something follows, 1 when that is
 * read in whole words, or by such copies. */
APQ_FUNCTION int apq_is_fast(const apq_gemm_args *args, const apq_work *work) {
  int is_whole =
      apq_is_aligned(args) && work->m0 + TILE_M <= args->m && work->n0 + TILE_N <= args->n;
#if STORE == STORE_TENSOR && (!POST || OTHER_COPIES)
  is_whole |= apq_can_copy(args);
#endif
#if OTHER_COPIES
  return apq_can_copy(args) && args->ld_other * OUT_BYTES % 16 == 0 &&
         (unsigned long long)args->other % 16 == 0;
#elif POST
  return is_whole && args->ld_other % 2 == 0 && (unsigned long long)args->other % 4 == 0;
#else
  return is_whole ? 1 + apq_is_plain(args) : 0;
#endif
}

/* A tile whose sums, or a half of them, are to be stored, and the set of its edges. */
typedef struct apq_finished {
  int m0, n0, is_fast;
  apq_place set;
} apq_finished;

APQ_FUNCTION void apq_store_columns(const apq_tma_args *args, const apq_finished *tile,
                                    apq_lane *lane, int warpgroup, int y_first, int y_end,
                                    int acc[ACCUMULATORS][SUMS]) {
  lane->edges = EDGES_AT + tile->set.slot * EDGE_SET_BYTES;
#if POST
  apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, tile->is_fast,
                     acc);
#else
  if (tile->is_fast == 2)
    apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, 2, acc);
  else if (tile->is_fast)
    apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, 1, acc);
  else
    apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, 0, acc);
#endif
}

#if OVERLAP
/* The second half of a tile, under products of the next one; then its edges are free. */
APQ_FUNCTION void apq_store_second_half(const apq_tma_args *args, const apq_finished *tile,
                                        apq_lane *lane, int warpgroup,
                                        int acc[ACCUMULATORS][SUMS]) {
  apq_store_columns(args, tile, lane, warpgroup, Y_HALF, Y_SHARE, acc);
  apq_arrive_warp(EDGES_FREE(tile->set.slot));
}
#endif

/* A multiplying warpgroup: its share of every tile, or every CONSUMERS-th tile. */
APQ_FUNCTION void apq_consume_units(const apq_tma_args *args, const apq_tiles *tiles,
                                    int warpgroup) {
  int acc[ACCUMULATORS][SUMS];
  int sharer = SHARERS > 1 ? warpgroup : 0, t = apq_thread() % 128;
  apq_ring ring = {0};
  apq_place set = {0, 0};
#if !GROUP
  apq_kept kept;
#endif
  apq_finished tile = {0};
  apq_lane lane;
  lane.x_first = X_FIRST(sharer);
  lane.y_first = Y_FIRST(sharer);
  lane.x_row = t / 32 * 16 + t % 32 / 4;
  lane.y_column = t % 4 * 2;
#if OTHER_COPIES
  lane.other_phase = 0;
#endif
  int lead = STAGGER, turn = 0;
#if OVERLAP
  int is_stored = 1; /* the tile before, as a whole */
#endif
#if ROLES == ROLES_PINGPONG
  /* The first warpgroup's first turn has come: a fresh barrier counts as through a phase 1. */
  int phase = warpgroup == 0;
#endif
  for (int unit = FIRST_UNIT; unit < tiles->units; unit += UNIT_STEP) {
    apq_work work = apq_work_at(tiles, unit);
    int is_mine = SHARERS > 1 || turn == warpgroup;
    turn = turn == CONSUMERS - 1 ? 0 : turn + 1;
    if (!is_mine) {
      apq_skip_unit(&work, &ring);
      set = apq_next_place(set, 2);
      continue;
    }
#if ROLES == ROLES_PINGPONG
    apq_mbarrier_wait(TURN(warpgroup), phase);
    phase ^= 1;
#endif
#if OVERLAP
    apq_open(&work, sharer, &ring, &kept, acc);
    if (!is_stored) apq_store_second_half(args, &tile, &lane, warpgroup, acc);
    is_stored = 0;
#endif
#if OTHER_COPIES && !SHARES_SUMS
    apq_ask_others(args, &lane, work.m0, work.n0, apq_is_fast(&args->gemm, &work));
#endif
#if GROUP
    apq_consume_groups(&args->gemm, &work, sharer, lead, &ring, acc);
#else
    apq_consume(&work, sharer, lead, &ring, &kept, acc);
#endif
    lead = 0;
    apq_mbarrier_wait(EDGES_FULL(set.slot), set.phase);
    tile.m0 = work.m0;
    tile.n0 = work.n0;
    tile.is_fast = apq_is_fast(&args->gemm, &work);
    tile.set = set;
    set = apq_next_place(set, 2);
#if OVERLAP
    apq_store_columns(args, &tile, &lane, warpgroup, 0, Y_CHUNK, acc);
    apq_close(&ring);
    if (Y_CHUNK < Y_HALF) apq_store_columns(args, &tile, &lane, warpgroup, Y_CHUNK, Y_HALF, acc);
#else
#if SHARES_SUMS
    int is_complete = apq_share_sums(&args->gemm, &work, sharer, warpgroup, acc);
#if OTHER_COPIES
    if (is_complete) apq_ask_others(args, &lane, work.m0, work.n0, tile.is_fast);
#endif
    if (is_complete)
#endif
      apq_store_columns(args, &tile, &lane, warpgroup, 0, Y_SHARE, acc);
    apq_arrive_warp(EDGES_FREE(tile.set.slot));
#endif
  }
#if OVERLAP
  if (!is_stored) apq_store_second_half(args, &tile, &lane, warpgroup, acc);
#endif
#if STORE == STORE_TENSOR
  /* Shared memory stays until it is read. */
  if (t % COPY_THREADS == 0) apq_bulk_wait_read(0);
#endif
}

/* Registers of a thread of the feeding and of the multiplying warpgroups: 64 K in all. */
#if UNPACK == UNPACK_SHARED
/* With two consumers as many as each has at first; said, so that the compiler takes them. */
#define FEED_REGISTERS     (CONSUMERS == 2 ? 168 : 120)
#define MULTIPLY_REGISTERS (CONSUMERS == 2 ? 168 : 128)
#elif CONSUMERS == 2 && GROUP
/* Edges of several groups are loaded at once. */
#define FEED_REGISTERS     64
#define MULTIPLY_REGISTERS 216
#elif CONSUMERS == 2
#define FEED_REGISTERS     40
#define MULTIPLY_REGISTERS 232
#elif CONSUMERS == 3
#define FEED_REGISTERS     32
#define MULTIPLY_REGISTERS 160
#endif

APQ_KERNEL(KERNEL, apq_tma_args, THREADS, 1) {
#if PDL
  apq_grid_release();
#endif
  apq_tiles tiles = apq_count_tiles(&args.gemm, apq_stage_count(&args.gemm));
  if (apq_thread() == 0) {
    apq_tma_prefetch(&args.w);
    apq_tma_prefetch(&args.a);
#if STORE == STORE_TENSOR
    if (apq_can_copy(&args.gemm)) apq_tma_prefetch(&args.y);
    if (OTHER_COPIES && apq_can_copy(&args.gemm) && args.gemm.combine)
      apq_tma_prefetch(&args.other);
#endif
    apq_init_ring();
    APQ_UNROLL
    for (int set = 0; set < 2; set++) {
      apq_mbarrier_init(EDGES_FULL(set), EDGE_THREADS);
      apq_mbarrier_init(EDGES_FREE(set), 4 * SHARERS);
    }
    APQ_UNROLL
    for (int i = 0; i < OTHER_BARRIERS; i++) apq_mbarrier_init(OTHER_FULL(i / 2, i % 2), 1);
    apq_mbarrier_publish();
  }
#if CLUSTER > 1
  apq_cluster_sync();
#else
  apq_syncthreads();
#endif
#if PDL
  /* What precedes runs under the launch before, and so do the copies of weights, which are nobody's
   * result. */
  if (COPIERS == 1 || apq_thread() / 32 != W_COPIER) apq_grid_wait();
#endif
  int warpgroup = apq_thread() / 128;
  if (warpgroup == 0) {
#if CONSUMERS > 1
    apq_registers_decrease(FEED_REGISTERS);
#endif
#if UNPACK == UNPACK_SHARED
    if (apq_thread() < 32)
      apq_feed(&args, &tiles);
    else
      apq_feed_weights(&args.gemm, &tiles);
#else
    if (apq_thread() < EDGE_FIRST && apq_thread() % 32 == 0)
      apq_feed(&args, &tiles, apq_thread() / 32);
    if (apq_thread() >= EDGE_FIRST) apq_feed_edges(&args.gemm, &tiles);
#endif
  } else {
#if CONSUMERS > 1
    apq_registers_increase(MULTIPLY_REGISTERS);
#endif
    apq_consume_units(&args, &tiles, warpgroup - 1);
  }
#if CLUSTER > 1
  /* A block's shared memory stays until the others no longer copy into it or arrive at it. */
  apq_cluster_sync();
#endif
}
