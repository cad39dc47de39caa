/* ---- the warpgroup families: shared memory behind the ring, and what the feeding warps do ---- */

/* A second operand alone, of results that leave by tensor copies, comes by them too: into the place
 * of the result that it goes with (wgmma_post.cu), by turns two buffers of those that copy together:
 * a warp, or with SWAP a warpgroup. */
#if POST == 1 && STORE == STORE_TENSOR
#define OTHER_COPIES   1
#define OTHER_BARRIERS (2 * CONSUMERS * (SWAP ? 1 : 4))
#else
#define OTHER_COPIES   0
#define OTHER_BARRIERS 0
#endif

/* Behind the ring and its barriers: two sets of edges, so that the next tile's are prepared while
 * this one is stored, each filled and freed by barriers; a word a warpgroup for its ticket; and the
 * warpgroups' buffers of results. */
#define EDGES_FULL(set)            (RING_BYTES + 8 * (RING_BARRIERS + (set)))
#define EDGES_FREE(set)            (RING_BYTES + 8 * (RING_BARRIERS + 2 + (set)))
#define OTHER_FULL(copier, buffer) (RING_BYTES + 8 * (RING_BARRIERS + 4 + 2 * (copier) + (buffer)))
#define TICKET_AT(w)               (RING_BYTES + 8 * (RING_BARRIERS + 4 + OTHER_BARRIERS) + 4 * (w))
#define EDGES_AT                   ((TICKET_AT(CONSUMERS) + 127) / 128 * 128)
#define EDGE_SET_BYTES             ((TILE_M + TILE_N) * EDGE_BYTES)
#if STORE == STORE_TENSOR
/* The permutation of a tensor copy's rows begins anew every 1024 bytes. */
#define BUFFERS_AT ((EDGES_AT + 2 * EDGE_SET_BYTES + 1023) / 1024 * 1024)
#else
#define BUFFERS_AT (EDGES_AT + 2 * EDGE_SET_BYTES)
#endif

/* A set holds the edges of the x rows; then, for pairs of y columns, what a lane needs of both in
 * one access: the rests and the scales; then their zero points and biases. */
#define PAIRS_AT  (X_TILE * EDGE_BYTES)
#define OTHERS_AT (PAIRS_AT + Y_TILE / 2 * 16)

/* The edge of row or column i of the tile; past the matrix its last again, of which nothing is
 * stored. */
APQ_FUNCTION apq_edge apq_edge_of(const apq_gemm_args *args, const apq_work *work, int i,
                                  int is_row) {
  int m = work->m0 + i, n = work->n0 + i;
  apq_raw_edge raw = is_row ? apq_load_row(args, m < args->m ? m : args->m - 1)
                            : apq_load_column(args, n < args->n ? n : args->n - 1);
  return apq_finish_edge(args, &raw, is_row);
}

/* Puts the edge of x row `x` into the set at `at`. */
APQ_FUNCTION void apq_put_row(const apq_gemm_args *args, const apq_work *work, int at, int x) {
  apq_edge edge = apq_edge_of(args, work, x, !SWAP);
  apq_put_edge(at + x * EDGE_BYTES, &edge);
}

/* And those of y columns 2 * pair and the next. */
APQ_FUNCTION void apq_put_pair(const apq_gemm_args *args, const apq_work *work, int at, int pair) {
  apq_edge left = apq_edge_of(args, work, 2 * pair, SWAP);
  apq_edge right = apq_edge_of(args, work, 2 * pair + 1, SWAP);
  apq_u32x4 needed = {left.rest, right.rest, apq_float_bits(left.scale),
                      apq_float_bits(right.scale)};
  apq_u32x4 others = {left.zero, right.zero, apq_float_bits(left.bias), apq_float_bits(right.bias)};
  apq_sts128(at + PAIRS_AT + pair * 16, needed);
  apq_sts128(at + OTHERS_AT + pair * 16, others);
}

#if UNPACK == UNPACK_SHARED
/* What the first warp feeds where the others unpack: activations, and after each block of them 32
 * edges, so that these hold the copies up by one access to memory. */
#define EDGE_SLICES ((X_TILE + Y_TILE / 2 + 31) / 32)
APQ_FUNCTION void apq_put_slice(const apq_gemm_args *args, const apq_work *work, apq_place set,
                                int slice) {
  int at = EDGES_AT + set.slot * EDGE_SET_BYTES, i = slice * 32 + apq_thread() % 32;
  if (slice == 0) apq_mbarrier_wait(EDGES_FREE(set.slot), set.phase ^ 1);
  if (i < X_TILE)
    apq_put_row(args, work, at, i);
  else if (i < X_TILE + Y_TILE / 2)
    apq_put_pair(args, work, at, i - X_TILE);
}

APQ_FUNCTION void apq_feed(const apq_tma_args *args, const apq_tiles *tiles) {
  apq_place to = {0, 0}, set = {0, 0};
  for (int unit = FIRST_UNIT; unit < tiles->units; unit += UNIT_STEP) {
    apq_work work = apq_work_at(tiles, unit);
    int slice = 0;
    APQ_NO_UNROLL
    for (int i = work.first * BLOCKS; i < work.end * BLOCKS; i++) {
      apq_mbarrier_wait(FREE(to.slot), to.phase ^ 1);
      if (apq_thread() == 0) apq_copy_block(args, &work, i / BLOCKS, i % BLOCKS, to.slot);
      apq_syncwarp();
      to = apq_next_place(to, STAGES);
      if (slice < EDGE_SLICES) apq_put_slice(&args->gemm, &work, set, slice++);
    }
    APQ_NO_UNROLL
    while (slice < EDGE_SLICES) apq_put_slice(&args->gemm, &work, set, slice++);
    apq_mbarrier_arrive(EDGES_FULL(set.slot));
    set = apq_next_place(set, 2);
  }
}
#else
#if GROUP
/* The edges of the groups of one unit, a stage after another. */
APQ_FUNCTION void apq_feed_groups(const apq_gemm_args *args, const apq_work *work, apq_place *set) {
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    apq_mbarrier_wait(GROUP_FREE(set->slot), set->phase ^ 1);
    apq_feed_group_set(args, work, stage, GROUPS_AT + set->slot * GROUP_SET_BYTES);
    apq_mbarrier_arrive(GROUP_FULL(set->slot));
    *set = apq_next_place(*set, GROUP_SLOTS);
  }
}
#endif

#if POST
/* Brings what goes with a tile's results into L2, a line at a time. */
APQ_FUNCTION void apq_prefetch_others(const apq_gemm_args *args, const apq_work *work) {
  enum { LINE = 128, ROW_LINES = (TILE_N * OUT_BYTES + LINE - 1) / LINE };
  if (!args->combine) return;
  APQ_NO_UNROLL
  for (int i = apq_thread() - EDGE_FIRST; i < TILE_M * ROW_LINES; i += EDGE_THREADS) {
    int m = work->m0 + i / ROW_LINES, n = work->n0 + i % ROW_LINES * (LINE / OUT_BYTES);
    if (m < args->m && n < args->n)
      apq_prefetch_l2((const apq_u8 *)args->other + (m * args->ld_other + n) * OUT_BYTES);
  }
}
#endif

/* The edges of the block's tiles, a set after another. */
APQ_FUNCTION void apq_feed_edges(const apq_gemm_args *args, const apq_tiles *tiles) {
  apq_place set = {0, 0};
#if GROUP
  apq_place group_set = {0, 0};
#endif
  for (int unit = FIRST_UNIT; unit < tiles->units; unit += UNIT_STEP) {
    apq_work work = apq_work_at(tiles, unit);
    int at = EDGES_AT + set.slot * EDGE_SET_BYTES;
    apq_mbarrier_wait(EDGES_FREE(set.slot), set.phase ^ 1);
    APQ_NO_UNROLL
    for (int x = apq_thread() - EDGE_FIRST; x < X_TILE; x += EDGE_THREADS)
      apq_put_row(args, &work, at, x);
    APQ_NO_UNROLL
    for (int pair = apq_thread() - EDGE_FIRST; pair < Y_TILE / 2; pair += EDGE_THREADS)
      apq_put_pair(args, &work, at, pair);
    apq_mbarrier_arrive(EDGES_FULL(set.slot));
    set = apq_next_place(set, 2);
#if POST
    apq_prefetch_others(args, &work);
#endif
#if GROUP
    apq_feed_groups(args, &work, &group_set);
#endif
  }
}

/* One of the threads that start copies. */
APQ_FUNCTION void apq_feed(const apq_tma_args *args, const apq_tiles *tiles, int copier) {
  apq_ring ring = {0};
  for (int unit = FIRST_UNIT; unit < tiles->units; unit += UNIT_STEP) {
    apq_work work = apq_work_at(tiles, unit);
    apq_produce(args, &work, copier, &ring);
  }
}
#endif
