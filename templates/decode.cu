/* Family decode: few tokens.  Weights are streamed once, from device memory straight into the
 * fragments of mma.sync: nothing of them passes through shared memory.
 *
 * @family decode product planes
 * @parts unpack.cu gemm_epilogue.cu decode_core.cu decode.cu
 * @knob p         = 2 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob core      = b1 : b1 u8 : products of bits, or of bytes that the weights are unpacked to
 * @knob tile_m    = 1 : 1 2 4 8 16 32 : tokens of a block
 * @knob tiles     = 1 : 1 2 4 : 16-row blocks of weights of a warp
 * @knob warps_n   = 1 : 1 2 4 8 : warps along n
 * @knob warps_k   = 8 : 1 2 4 8 16 32 : warps that share k
 * @knob depth     = 1 : 1 2 3 4 6 8 : slabs of 512 k that a warp loads at once
 * @knob stages    = 1 : 1 2 3 4 : such loads that are in registers
 * @knob persist   = 0 : 0 1 2 3 4 5 6 8 : blocks an SM, each going from tile to tile; 0 is one tile
 * a block
 * @knob min_blocks = 1 : 1 2 3 4 5 6 8 : blocks an SM must have room for (bounds the registers)
 * @knob operand   = stream : stream keep shared : activations loaded with the weights, or once to
 * registers, or once to shared memory
 * @knob schedule  = side : side horner : an accumulator for each weight plane, or one (b1 only)
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended, and loads weights
 * meanwhile
 *
 * The weights are the 16-row side of the mma, the activations its columns: with b1 the planes of a
 * token are neighboring columns, so that eight planes fill the instruction.  Slabs of 512 k are
 * dealt to the warps that share k in turn. */

#define WARPS   (WARPS_N * WARPS_K)
#define THREADS (32 * WARPS)
#define ROWS    (16 * TILES * WARPS_N) /* of a block's tile */
#define RESULTS (TILE_M * ROWS)

/* Shared memory: the edges of the tokens, two sets of the warps' sums, [warp of k][token][row], and
 * with operand=shared the activations, [slab][fragment][chunk][lane][16 bytes]. */
#define SET_WORDS (WARPS_K * RESULTS)
#define SETS_AT   (TILE_M * EDGE_BYTES)
#define PANEL_AT  (SETS_AT + 2 * 4 * SET_WORDS)

/* What the kernel before this one wrote is read only past apq_grid_wait, and not through the path
 * of data that nothing writes during the launch. */
#if PDL
#define apq_load_activation apq_ldg128_volatile
#else
#define apq_load_activation apq_ldg128
#endif

typedef struct apq_lane {
  int group, quad; /* lane / 4, lane % 4 */
  int n_warp, k_warp;
  int m0;     /* first token of the block */
  int chunks; /* 16-byte chunks of a weight row */
  int steps;  /* loads of a tile */
  int tiles;  /* of n */
} apq_lane;

/* A load of a warp: which tile of n, and which DEPTH slabs. */
typedef struct apq_cursor {
  int tile, step;
} apq_cursor;

/* What is in registers of one load.  A block of several tiles has with the last load of a tile the
 * edge of the output channel that the thread finishes. */
typedef struct apq_item {
  apq_weights w;
#if OPERAND == OPERAND_STREAM
  apq_activations a;
#endif
#if PERSIST
  apq_raw_edge edge;
#endif
} apq_item;

APQ_FUNCTION void apq_lane_init(apq_lane *lane, const apq_gemm_args *args) {
  apq_u32 thread = (apq_u32)apq_thread();
  lane->group = (int)(thread / 4 % 8);
  lane->quad = (int)(thread % 4);
  lane->k_warp = (int)(thread / 32 % WARPS_K);
  lane->n_warp = (int)(thread / 32 / WARPS_K);
  lane->m0 = apq_block_y() * TILE_M;
  lane->chunks = (int)((apq_u32)args->row_bytes / 16);
  lane->steps = (int)(((apq_u32)lane->chunks + 4 * WARPS_K * DEPTH - 1) / (4 * WARPS_K * DEPTH));
  lane->tiles = (int)(((apq_u32)args->n + ROWS - 1) / ROWS);
}

APQ_FUNCTION void apq_next(const apq_lane *lane, apq_cursor *at) {
  if (++at->step < lane->steps) return;
  at->step = 0;
#if PERSIST
  at->tile += apq_grid_x();
#else
  at->tile = lane->tiles;
#endif
}

/* The slab that this warp has as number d of a load. */
APQ_FUNCTION int apq_slab(const apq_lane *lane, const apq_cursor *at, int d) {
  return (at->step * DEPTH + d) * WARPS_K + lane->k_warp;
}

/* The edge of the output channel that this thread finishes. */
APQ_FUNCTION void apq_load_edge(const apq_gemm_args *args, int tile, apq_raw_edge *edge) {
  int n = tile * ROWS + (int)((apq_u32)apq_thread() % ROWS);
  if (apq_thread() < RESULTS) *edge = apq_load_column(args, n < args->n ? n : args->n - 1);
}

/* Loads weights; rows past the matrix repeat its last, and chunks past k are zero. */
APQ_FUNCTION void apq_load_weights(const apq_gemm_args *args, const apq_lane *lane,
                                   const apq_cursor *at, apq_item *item) {
  apq_u64 plane_bytes = (apq_u64)(apq_u32)args->n * (apq_u32)args->row_bytes;
  const apq_u8 *row[TILES][2];
  APQ_UNROLL
  for (int i = 0; i < 2 * TILES; i++) {
    int n = at->tile * ROWS + (lane->n_warp * TILES * 2 + i) * 8 + lane->group;
    if (n >= args->n) n = args->n - 1;
    row[i / 2][i % 2] = (const apq_u8 *)args->w + (apq_u64)(apq_u32)n * (apq_u32)args->row_bytes;
  }
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
    int chunk = 4 * apq_slab(lane, at, d) + lane->quad;
    APQ_UNROLL
    for (int i = P - 1; i >= 0; i--) {
      APQ_UNROLL
      for (int r = 0; r < 2 * TILES; r++) {
        apq_u32x4 v = {0, 0, 0, 0};
        if (chunk < lane->chunks)
          v = apq_ldg128_stream(row[r / 2][r % 2] + (apq_u32)i * plane_bytes + 16 * (apq_u32)chunk);
        item->w.chunk[d][r / 2][r % 2][i] = v;
      }
    }
  }
#if PERSIST
  if (at->step == lane->steps - 1) apq_load_edge(args, at->tile, &item->edge);
#endif
}

/* A lane's 16 bytes of activations: chunk c of a slab in fragment yi; zeros past k and past the
 * tokens. */
APQ_FUNCTION apq_u32x4 apq_activation(const apq_gemm_args *args, const apq_lane *lane, int slab,
                                      int yi, int c) {
  apq_u32 column = 8 * (apq_u32)yi + (apq_u32)lane->group;
  int m = lane->m0 + (int)(column / TOKEN_COLUMNS), chunk = 4 * slab + lane->quad;
  apq_u32x4 v = {0, 0, 0, 0};
#if CORE == CORE_U8
  if (m < args->m && chunk < lane->chunks)
    v = apq_load_activation((const apq_u8 *)args->a +
                            (apq_u64)(apq_u32)m * ((apq_u32)args->row_bytes * 8) +
                            (apq_u32)(128 * chunk + 16 * c));
#else
  apq_u32 plane = column % TOKEN_COLUMNS;
  (void)c;
  if (plane < Q && m < args->m && chunk < lane->chunks)
    v = apq_load_activation((const apq_u8 *)args->a +
                            (apq_u64)(plane * (apq_u32)args->m + (apq_u32)m) *
                                (apq_u32)args->row_bytes +
                            16 * (apq_u32)chunk);
#endif
  return v;
}

#if OPERAND == OPERAND_SHARED

/* All activations of the block's tokens, where a lane finds its 16 bytes among those of its warp.
 */
APQ_FUNCTION void apq_fill_panel(const apq_gemm_args *args, apq_lane *lane) {
  int total = (lane->chunks + 3) / 4 * YT * A_CHUNKS * 32;
  for (int i = apq_thread(); i < total; i += THREADS) {
    int part = i / 32;
    apq_sts128(PANEL_AT + 16 * i, apq_activation(args, lane, part / A_CHUNKS / YT,
                                                 part / A_CHUNKS % YT, part % A_CHUNKS));
  }
}

#else

APQ_FUNCTION void apq_load_activations(const apq_gemm_args *args, const apq_lane *lane,
                                       const apq_cursor *at, apq_activations *a) {
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      APQ_UNROLL
      for (int c = 0; c < A_CHUNKS; c++)
        a->chunk[d][yi][c] = apq_activation(args, lane, apq_slab(lane, at, d), yi, c);
    }
  }
}

#endif

/* Chunk c of fragment yi, slab d of a load. */
APQ_FUNCTION apq_u32x4 apq_get_activation(const apq_lane *lane, const apq_cursor *at,
                                          const apq_activations *a, int d, int yi, int c) {
#if OPERAND == OPERAND_SHARED
  /* A slab past k has zero weights: any activations do. */
  int slab = apq_slab(lane, at, d);
  (void)a;
  if (4 * slab >= lane->chunks) slab = 0;
  return apq_lds128(PANEL_AT + ((slab * YT + yi) * A_CHUNKS + c) * 512 + apq_thread() % 32 * 16);
#else
  (void)lane;
  (void)at;
  return a->chunk[d][yi][c];
#endif
}

APQ_FUNCTION void apq_multiply_item(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, apq_sums *sums) {
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
#if CORE == CORE_U8
    apq_codes codes;
    apq_unpack(&item->w, d, &codes);
    APQ_UNROLL
    for (int s = 0; s < 4; s++) {
      APQ_UNROLL
      for (int yi = 0; yi < YT; yi++) {
        apq_u32x4 low = apq_get_activation(lane, at, a, d, yi, s),
                  high = apq_get_activation(lane, at, a, d, yi, s + 4);
        apq_compute_step(&codes, s, yi, &low, &high, sums);
      }
    }
#else
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      apq_u32x4 y = apq_get_activation(lane, at, a, d, yi, 0);
      apq_compute(&item->w, d, yi, &y, sums);
    }
#endif
  }
}

/* Puts the warp's sums into shared memory. */
APQ_FUNCTION void apq_put_sums(const apq_lane *lane, int set, const apq_sums *sums) {
  int first = set * SET_WORDS + lane->k_warp * RESULTS + lane->n_warp * (16 * TILES) + lane->group;
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      apq_u32 result[LANE_HALVES][LANE_TOKENS];
      apq_fold(sums, ti, yi, lane->quad, result);
#if TOKEN_COLUMNS > 2
      /* With eight columns a token, two lanes have the same sum. */
      int m = yi * FRAGMENT_TOKENS + lane->quad / (TOKEN_COLUMNS / 2);
      if (lane->quad < 2 * FRAGMENT_TOKENS && m < TILE_M)
        apq_sts32(SETS_AT + 4 * (first + m * ROWS + 16 * ti + 8 * (lane->quad % 2)), result[0][0]);
#else
      APQ_UNROLL
      for (int i = 0; i < 2 * LANE_TOKENS; i++) {
        int m = yi * FRAGMENT_TOKENS + lane->quad * LANE_TOKENS + i / 2;
        if (m < TILE_M)
          apq_sts32(SETS_AT + 4 * (first + m * ROWS + 16 * ti + 8 * (i % 2)), result[i % 2][i / 2]);
      }
#endif
    }
  }
}

/* Adds the warps' sums up and writes the results of a tile. */
APQ_FUNCTION void apq_store_tile(const apq_gemm_args *args, const apq_lane *lane, int tile, int set,
                                 const apq_raw_edge *raw) {
  int r = (int)((apq_u32)apq_thread() % ROWS), n = tile * ROWS + r;
  if (apq_thread() >= RESULTS || n >= args->n) return;
  apq_edge column = apq_finish_edge(args, raw, 0);
  int is_plain = apq_is_plain(args);
  APQ_UNROLL_4
  for (int m = (int)((apq_u32)apq_thread() / ROWS); m < TILE_M; m += THREADS / ROWS) {
    if (lane->m0 + m >= args->m) break;
    apq_u32 sum = 0;
    APQ_UNROLL
    for (int i = 0; i < WARPS_K; i++)
      sum += apq_lds32(SETS_AT + 4 * (set * SET_WORDS + i * RESULTS + m * ROWS + r));
    apq_edge row = apq_get_edge(m * EDGE_BYTES);
    apq_u32 result = apq_result(args, sum, &row, &column, is_plain);
#if OUT != OUT_I32
    if (apq_has_post(args)) result = apq_post_one(args, lane->m0 + m, n, result);
#endif
    apq_store_one(args, lane->m0 + m, n, result);
  }
}

/* Whether this thread puts the edge of a token into shared memory. */
APQ_FUNCTION int apq_has_row(const apq_gemm_args *args, const apq_lane *lane) {
  return apq_thread() < TILE_M && lane->m0 + apq_thread() < args->m;
}

APQ_FUNCTION void apq_put_row(const apq_gemm_args *args, const apq_lane *lane,
                              const apq_raw_edge *raw) {
  if (!apq_has_row(args, lane)) return;
  apq_edge row = apq_finish_edge(args, raw, 1);
  apq_put_edge(apq_thread() * EDGE_BYTES, &row);
}

/* Finishes a tile. */
APQ_FUNCTION void apq_finish(const apq_gemm_args *args, const apq_lane *lane, int tile, int set,
                             const apq_sums *sums, const apq_raw_edge *edge) {
  apq_put_sums(lane, set, sums);
  apq_syncthreads();
  apq_store_tile(args, lane, tile, set, edge);
}

#if OPERAND == OPERAND_STREAM
#define ITEM_ACTIVATIONS(s) &item[s].a
#elif OPERAND == OPERAND_KEEP
#define ITEM_ACTIVATIONS(s) &kept
#else
#define ITEM_ACTIVATIONS(s) (const apq_activations *)0
#endif

/* The first loads stand before the loop although their code is repeated in it: whatever the
 * compiler moves out of the loop would else come before them. */
APQ_KERNEL(KERNEL, apq_gemm_args, THREADS, MIN_BLOCKS) {
  apq_lane lane;
  apq_lane_init(&lane, &args);
  apq_cursor use = {apq_block_x(), 0}, load = use;
  apq_item item[STAGES];
#if PDL
  apq_grid_release();
#endif
  APQ_UNROLL
  for (int s = 0; s < STAGES; s++) {
    if (load.tile < lane.tiles) apq_load_weights(&args, &lane, &load, &item[s]);
    apq_next(&lane, &load);
  }
#if !PERSIST
  apq_raw_edge edge;
  apq_load_edge(&args, use.tile, &edge);
#endif

  /* Everything else is on its way before anything is waited for. */
#if PDL
  apq_grid_wait();
#endif
#if OPERAND == OPERAND_STREAM
  load = use;
  APQ_UNROLL
  for (int s = 0; s < STAGES; s++) {
    if (load.tile < lane.tiles) apq_load_activations(&args, &lane, &load, &item[s].a);
    apq_next(&lane, &load);
  }
#elif OPERAND == OPERAND_KEEP
  apq_activations kept;
  apq_load_activations(&args, &lane, &use, &kept);
#endif
  apq_raw_edge row = {0, 0, 0.0f, 0.0f};
  if (apq_has_row(&args, &lane)) row = apq_load_row(&args, lane.m0 + apq_thread());
#if OPERAND == OPERAND_SHARED
  apq_fill_panel(&args, &lane);
  apq_syncthreads();
#endif

  apq_sums sums;
  int set = 0; /* which half of the partial sums' place */
  apq_clear(&sums);
  APQ_NO_UNROLL
  do {
    APQ_UNROLL
    for (int s = 0; s < STAGES; s++) {
      if (s > 0 && use.tile >= lane.tiles) break;
      apq_multiply_item(&lane, &use, &item[s], ITEM_ACTIVATIONS(s), &sums);
#if PERSIST
      int tile = use.tile, is_last = use.step == lane.steps - 1;
      apq_raw_edge edge = item[s].edge;
#endif
      apq_next(&lane, &use);
      if (load.tile < lane.tiles) {
        apq_load_weights(&args, &lane, &load, &item[s]);
#if OPERAND == OPERAND_STREAM
        apq_load_activations(&args, &lane, &load, &item[s].a);
#endif
        apq_next(&lane, &load);
      }
#if PERSIST
      if (is_last) {
        if (tile == apq_block_x()) apq_put_row(&args, &lane, &row);
        apq_finish(&args, &lane, tile, set, &sums, &edge);
        apq_clear(&sums);
        set ^= 1;
      }
#endif
    }
  } while (use.tile < lane.tiles);
#if !PERSIST
  apq_put_row(&args, &lane, &row);
  apq_finish(&args, &lane, apq_block_x(), set, &sums, &edge);
#endif
}
