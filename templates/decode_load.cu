/* ---- family decode: what a block holds where, and how weights and activations come to it ---- */

#define PARTS   (CLUSTER * SPLIT_K) /* blocks that divide k: a cluster, or any of the grid */
#define OWN     (ROWS / CLUSTER)    /* rows that the block finishes */
#define RESULTS (TILE_M * OWN)

/* A thread finishes one channel: a token, and every M_STEP-th after it, this many side by side. */
#define M_STEP   (THREADS / OWN)
#define FINISHED (TILE_M >= 4 * M_STEP ? 4 : TILE_M >= 2 * M_STEP ? 2 : 1)

/* Shared memory: the edges of the tokens, the sums, and with operand=shared the activations,
 * [column][its bytes].  The sums: two sets of the warps' own, [warp of k][token][row]; in a cluster
 * one set of all its warps', SENT_WORDS of each, and in front the mbarrier that counts them; with
 * split_k in front the ticket. */
#define EDGES_AT (PARTS > 1 ? 16 : 0)
#define SETS_AT  (EDGES_AT + TILE_M * EDGE_BYTES)
#if CLUSTER > 1
#define SETS      1
#define SET_WORDS (CLUSTER * WARPS_K * SENT_WORDS)
#else
#define SETS      2
#define SET_WORDS (WARPS_K * SUM_WORDS)
#endif
/* A token's rows of sums are this many words apart, so that the four lanes of a quad, which have
 * other tokens, meet no bank conflict; and the words of a warp. */
#define SUM_PITCH (ROWS + (TOKEN_COLUMNS == 1 ? 4 : TOKEN_COLUMNS == 2 ? 8 : 0))
#define SUM_WORDS (TILE_M * SUM_PITCH)
#define SETS_END  (SETS_AT + SETS * 4 * SET_WORDS)

#if QUANTIZES
/* Then what comes of quantizing: the ranges that the warps found, the tokens' scales and zero
 * points, each warp's part of their sums; and the chunks of its row that each thread keeps, in
 * parts of 16 bytes. */
#define ROWS_AT_ONCE  (TILE_M < WARPS ? TILE_M : WARPS)
#define ROW_WARPS     (WARPS / ROWS_AT_ONCE)
#define RANGES_AT     ((SETS_END + 15) / 16 * 16)
#define TOKENS_AT     (RANGES_AT + 8 * WARPS)
#define TOKEN_SUMS_AT (TOKENS_AT + 8 * TILE_M)
#define HELD_AT       ((TOKEN_SUMS_AT + 4 * TILE_M * ROW_WARPS + 15) / 16 * 16)
#define HELD_PARTS    (SRC_BYTES / 2)
#define PANEL_AT      ((HELD_AT + 16 * HELD_PARTS * (HOLD + 1) * THREADS + 127) / 128 * 128)
#else
#define PANEL_AT ((SETS_END + 127) / 128 * 128)
#endif

#if OPERAND == OPERAND_SHARED
/* Columns that the panel has.  Of a single fragment a block that quantizes writes only those of its
 * tokens, and the lanes of the others read these again: nobody looks at what they multiply. */
#if QUANTIZES
#define PANEL_COLUMNS (TILE_M * TOKEN_COLUMNS)
#else
#define PANEL_COLUMNS (8 * YT)
#endif

/* A column of the panel is whole lines, 128 bytes for each 128 k (core=u8) or 1024, as they are in
 * device memory but for an order of the eight chunks of a line in which the eight lanes that read
 * at a time meet no bank conflict. */
#define SLAB_BYTES (64 * A_CHUNKS) /* of a column */
#if CORE == CORE_U8
#define PANEL_LINES(room)         (room)
#define PANEL_ORDER(column, line) ((line) % 4 ^ (column) % 2 * 4)
#define PANEL_SLAB(at, slab)      ((at) + SLAB_BYTES * (slab))
#define COPY_COLUMNS              1
#define COPY_PLANES               1
#define LANE_PLACE(lane, column)  (128 * (lane)->quad + 16 * ((lane)->quad ^ (column) % 2 * 4))
#else
#define PANEL_LINES(room)         (((room) + 7) / 8)
#define PANEL_ORDER(column, line) ((column) % 2 * 4)
#define PANEL_SLAB(at, slab)      ((at) + (slab) / 2 * 128 ^ (slab) % 2 * 64)
#define COPY_COLUMNS              8
#define COPY_PLANES               Q
#define LANE_PLACE(lane, column)  (16 * ((lane)->quad ^ (column) % 2 * 4))
#endif
#endif

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
  int m0;         /* first token of the block */
  apq_u32 chunks; /* 16-byte chunks of a weight row */
  apq_u32 begin;  /* the first of them that is this block's */
  apq_u32 span;   /* its chunks: those that there are, and in whole slabs */
  apq_u32 room;
  int rank;     /* of the block among those that divide k */
  int panel_at; /* where its first chunk of activations in shared memory is */
  int steps;    /* loads of a tile */
#if HAS_GROUPS
  int groups, groups_at; /* how many, and where their sums are: [group][token][row] */
#if QUANTIZES
  int token_groups_at; /* and those of the activations' codes: [token][group] */
#endif
#endif
  int tiles; /* of n */
} apq_lane;

/* A load of a warp: which tile of n, and which DEPTH slabs. */
typedef struct apq_cursor {
  int tile, step;
} apq_cursor;

/* What is in registers of one load.  A block of several tiles has with the last load of a tile the
 * edge of the channel that the thread finishes. */
typedef struct apq_item {
  apq_weights w;
#if OPERAND == OPERAND_STREAM
  apq_activations a;
#endif
#if PERSIST
  apq_raw_edge column;
#endif
} apq_item;

/* The copies of activations into shared memory that a thread starts: the first of its warp's first
 * slab, and of which token that is.  And where the lane's first chunk of slab 0 will be. */
typedef struct apq_copies {
  const apq_u8 *from;
  int to, token, lane_at;
} apq_copies;

/* What a thread finishes in a tile. */
typedef struct apq_output {
  int m, n;   /* token of the block, and channel */
  apq_u8 *at; /* of its result */
  apq_u32 is_plain;
#if SPLIT_K > 1
  int tile;
#endif
} apq_output;

/* The block's tile of n, or the first of them. */
APQ_FUNCTION int apq_first_tile(void) { return (int)((apq_u32)apq_block_x() / PARTS); }

APQ_FUNCTION void apq_lane_init(apq_lane *lane, const apq_gemm_args *args) {
  apq_u32 thread = (apq_u32)apq_thread();
  lane->group = (int)(thread / 4 % 8);
  lane->quad = (int)(thread % 4);
  lane->k_warp = (int)(thread / 32 % WARPS_K);
  lane->n_warp = (int)(thread / 32 / WARPS_K);
  lane->m0 = apq_block_y() * TILE_M;
  lane->chunks = (apq_u32)args->row_bytes / 16;
#if ONCE
  lane->room = 4 * WARPS_K * DEPTH;
#else
  lane->room = (lane->chunks + 4 * PARTS - 1) / (4 * PARTS) * 4;
  if (lane->room < 4 * WARPS_K) lane->room = 4 * WARPS_K;
#endif
#if PARTS > 1
#if CLUSTER > 1
  lane->rank = apq_cluster_rank();
#else
  lane->rank = (int)((apq_u32)apq_block_x() % PARTS);
#endif
  lane->begin = (apq_u32)lane->rank * lane->room;
  lane->span = lane->chunks > lane->begin ? lane->chunks - lane->begin : 0;
  if (lane->span > lane->room) lane->span = lane->room;
#else
  lane->rank = 0;
  lane->begin = 0;
  lane->span = lane->chunks;
#endif
#if ONCE
  lane->steps = 1;
#else
  lane->steps = (int)((lane->room + 4 * WARPS_K * DEPTH - 1) / (4 * WARPS_K * DEPTH));
#endif
  lane->tiles = (int)(((apq_u32)args->n + ROWS - 1) / ROWS);
#if HAS_GROUPS
  lane->groups = args->groups;
  lane->groups_at = PANEL_AT;
#if OPERAND == OPERAND_SHARED
  lane->groups_at += PANEL_COLUMNS * 128 * (int)PANEL_LINES(lane->room);
#endif
#if QUANTIZES
  lane->token_groups_at = lane->groups_at;
  lane->groups_at += (4 * TILE_M * lane->groups + 15) / 16 * 16;
#endif
#endif
}

APQ_FUNCTION void apq_next(const apq_lane *lane, apq_cursor *at) {
  if (++at->step < lane->steps) return;
  at->step = 0;
#if PERSIST
  at->tile += (int)((apq_u32)apq_grid_x() / PARTS);
#else
  at->tile = lane->tiles;
#endif
}

/* The slab that this warp has as number d of a load. */
APQ_FUNCTION int apq_slab(const apq_lane *lane, const apq_cursor *at, int d) {
  return (at->step * DEPTH + d) * WARPS_K + lane->k_warp;
}

APQ_FUNCTION void apq_output_init(const apq_gemm_args *args, const apq_lane *lane, int tile,
                                  apq_output *out) {
  out->m = (int)((apq_u32)apq_thread() / OWN);
  out->n = tile * ROWS + (int)((apq_u32)apq_thread() % OWN);
#if CLUSTER > 1
  out->n += lane->rank * OWN;
#endif
#if SPLIT_K > 1
  out->tile = tile;
#endif
  out->is_plain = (apq_u32)apq_is_plain(args);
  out->at = (apq_u8 *)args->y + ((lane->m0 + out->m) * args->ldy + out->n) * OUT_BYTES;
}

APQ_FUNCTION int apq_has_output(const apq_gemm_args *args, const apq_lane *lane,
                                const apq_output *out) {
  return out->m < TILE_M && lane->m0 + out->m < args->m && out->n < args->n;
}

/* Loads weights; what lies past the matrix is zero.  Chunks are counted in 32 bits. */
APQ_FUNCTION void apq_load_weights(const apq_gemm_args *args, const apq_lane *lane,
                                   const apq_cursor *at, apq_item *item) {
  apq_u32 rows = (apq_u32)args->n, step = 8 * lane->chunks;
  apq_u32 n = (apq_u32)(at->tile * ROWS + lane->n_warp * (16 * TILES) + lane->group);
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
    apq_u32 chunk = (apq_u32)(4 * apq_slab(lane, at, d) + lane->quad);
    apq_u32 first = n * lane->chunks + lane->begin + chunk;
    APQ_UNROLL
    for (int i = P - 1; i >= 0; i--) {
      APQ_UNROLL
      for (int r = 0; r < 2 * TILES; r++) {
        apq_u32 index = first + (apq_u32)i * (rows * lane->chunks) + (apq_u32)r * step;
        apq_u32x4 v = {0, 0, 0, 0};
        if (chunk < lane->span && n + 8 * (apq_u32)r < rows)
          v = apq_ldg128_stream((const apq_u8 *)args->w + 16 * (apq_u64)index);
        item->w.chunk[d][r / 2][r % 2][i] = v;
      }
    }
  }
#if PERSIST
  if (at->step == lane->steps - 1) {
    apq_output out;
    apq_output_init(args, lane, at->tile, &out);
    if (apq_has_output(args, lane, &out)) item->column = apq_load_column(args, out.n);
  }
#endif
}

/* Where 16 bytes of activations are, the block's chunk `chunk` of column `column` of the block's
 * tokens (and with core=u8 the c-th of the eight chunks that go with it); returns 0 past k and past
 * the tokens.
 */
APQ_FUNCTION int apq_find_activation(const apq_gemm_args *args, const apq_lane *lane,
                                     apq_u32 column, apq_u32 chunk, apq_u32 c,
                                     const apq_u8 **from) {
  apq_u32 m = (apq_u32)lane->m0 + column / TOKEN_COLUMNS;
#if CORE == CORE_U8
  apq_u32 index = (m * lane->chunks + lane->begin + chunk) * 8 + c;
  int is_there = m < (apq_u32)args->m && chunk < lane->span;
#else
  apq_u32 plane = column % TOKEN_COLUMNS;
  apq_u32 index = (plane * (apq_u32)args->m + m) * lane->chunks + lane->begin + chunk;
  int is_there = plane < Q && m < (apq_u32)args->m && chunk < lane->span;
  (void)c;
#endif
  *from = (const apq_u8 *)args->a + (is_there ? 16 * (apq_u64)index : 0);
  return is_there;
}

#if OPERAND == OPERAND_SHARED

/* Where the lane's first chunk of slab 0 is. */
APQ_FUNCTION int apq_find_panel(const apq_lane *lane) {
  int column = lane->group % PANEL_COLUMNS;
  return PANEL_AT + 128 * column * (int)PANEL_LINES(lane->room) + LANE_PLACE(lane, column);
}

/* Where the lane's chunks of fragment yi of a slab are: chunk c at this place with bits of 16 c
 * turned over (core=u8). */
APQ_FUNCTION int apq_panel_at(const apq_lane *lane, int slab, int yi) {
  /* A slab past k has zero weights: any activations of the warp do. */
  if (4 * slab >= (int)lane->room) slab = lane->k_warp;
  return PANEL_SLAB(lane->panel_at + yi * 8 * 128 * (int)PANEL_LINES(lane->room), slab);
}

#endif

#if OPERAND == OPERAND_SHARED && !QUANTIZES

/* The warps that multiply a slab copy it, 512 bytes at a time: of COPY_COLUMNS columns.  A thread's
 * copies of a slab are this many columns and tokens apart. */
#define COPIES      ((8 * YT / COPY_COLUMNS + WARPS_N - 1) / WARPS_N)
#define COPY_STEP   (COPY_COLUMNS * WARPS_N)
#define COPY_TOKENS (COPY_STEP / TOKEN_COLUMNS)

APQ_FUNCTION apq_copies apq_find_copies(const apq_gemm_args *args, const apq_lane *lane) {
  int l = apq_thread() % 32, x = l % (SLAB_BYTES / 16);
  int column = lane->n_warp * COPY_COLUMNS + l / (SLAB_BYTES / 16);
  int token = lane->m0 + column / TOKEN_COLUMNS, plane = column % TOKEN_COLUMNS;
  apq_u32 row = (apq_u32)(plane * args->m + token);
  apq_copies copies;
  copies.from = (const apq_u8 *)args->a +
                16 * A_CHUNKS * (apq_u64)(row * lane->chunks + lane->begin) +
                lane->k_warp * SLAB_BYTES + 16 * x;
  copies.to = PANEL_AT + 128 * column * (int)PANEL_LINES(lane->room) +
              16 * (x ^ PANEL_ORDER(column, x / 8));
  copies.token = plane < COPY_PLANES ? token : args->m;
  copies.lane_at = apq_find_panel(lane);
  return copies;
}

/* Finds them here, in a loop as apq_unpack_first. */
APQ_FUNCTION apq_copies apq_plan_copies(const apq_gemm_args *args, const apq_lane *lane) {
  apq_copies copies = apq_find_copies(args, lane);
  copies.from -= 16;
  copies.to -= 16;
  copies.token--;
  copies.lane_at -= 16;
  APQ_NO_UNROLL
  do {
    copies.from += 16;
    copies.to += 16;
    copies.token++;
    copies.lane_at += 16;
  } while (args->m < 0);
  return copies;
}

/* Starts the copies of what this warp and those beside it multiply; zeros past k and past the
 * tokens. */
APQ_FUNCTION void apq_fill_panel(const apq_gemm_args *args, const apq_lane *lane,
                                 const apq_copies *copies) {
  int x = apq_thread() % 32 % (SLAB_BYTES / 16),
      place = 128 * COPY_STEP * (int)PANEL_LINES(lane->room);
  apq_u64 step = (apq_u64)(COPY_TOKENS * 16 * A_CHUNKS) * lane->chunks;
  const apq_u8 *from = copies->from;
#if ONCE
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
    int slab = lane->k_warp + d * WARPS_K;
#else
  APQ_NO_UNROLL
  for (int slab = lane->k_warp; 4 * slab < (int)lane->room; slab += WARPS_K) {
#endif
    int is_in = 4 * slab + x / A_CHUNKS < (int)lane->span;
    APQ_UNROLL
    for (int i = 0; i < COPIES; i++) {
      int is_there = is_in && copies->token + i * COPY_TOKENS < args->m;
      int to = PANEL_SLAB(copies->to + i * place, slab) ^ i * COPY_STEP % 2 * 64;
      const apq_u8 *at = is_there ? from + (apq_u32)i * step : (const apq_u8 *)args->a;
#if 8 * YT % COPY_STEP != 0
      if (i * COPY_STEP + lane->n_warp * COPY_COLUMNS >= 8 * YT) break;
#endif
      apq_cp_async16(to, at, is_there ? 16 : 0);
    }
    from += WARPS_K * SLAB_BYTES;
#if ONCE
    apq_cp_async_commit();
#endif
  }
#if !ONCE
  apq_cp_async_commit();
#endif
}

/* Until copies of this warp and those beside it are there: all but those of the last `pending`
 * slabs. */
APQ_FUNCTION void apq_wait_panel(const apq_lane *lane, int pending) {
  if (pending == 0)
    apq_cp_async_wait(0);
  else if (pending == 1)
    apq_cp_async_wait(1);
  else if (pending == 2)
    apq_cp_async_wait(2);
  else
    apq_cp_async_wait(3);
#if WARPS_N == 1
  (void)lane;
  apq_syncwarp();
#elif APQ_CC >= 90 && WARPS_K > 1 && WARPS_K < 16
  apq_named_barrier(1 + lane->k_warp, 32 * WARPS_N);
#else
  (void)lane;
  apq_syncthreads();
#endif
}

#elif OPERAND != OPERAND_SHARED

APQ_FUNCTION void apq_load_activations(const apq_gemm_args *args, const apq_lane *lane,
                                       const apq_cursor *at, apq_activations *a) {
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      APQ_UNROLL
      for (int c = 0; c < A_CHUNKS; c++) {
        const apq_u8 *from;
        apq_u32x4 v = {0, 0, 0, 0};
        if (apq_find_activation(args, lane, (apq_u32)(8 * yi + lane->group),
                                (apq_u32)(4 * apq_slab(lane, at, d) + lane->quad), (apq_u32)c,
                                &from))
          v = apq_load_activation(from);
        a->chunk[d][yi][c] = v;
      }
    }
  }
}

#endif

/* Chunk c of fragment yi, slab d of a load. */
APQ_FUNCTION apq_u32x4 apq_get_activation(const apq_lane *lane, const apq_cursor *at,
                                          const apq_activations *a, int d, int yi, int c) {
#if OPERAND == OPERAND_SHARED
  (void)a;
  return apq_lds128(apq_panel_at(lane, apq_slab(lane, at, d), yi) ^ 16 * c);
#else
  (void)lane;
  (void)at;
  return a->chunk[d][yi][c];
#endif
}
