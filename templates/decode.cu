/* Family decode: few tokens.  Weights are streamed once, from device memory straight into the
 * fragments of mma.sync: nothing of them passes through shared memory.
 *
 * @family decode product planes
 * @parts unpack.cu gemm_epilogue.cu decode_core.cu decode_groups.cu decode.cu decode_kernel.cu
 * @knob p         = 2 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob core      = b1 : b1 u8 : products of bits, or of bytes that the weights are unpacked to
 * @knob tile_m    = 1 : 1 2 4 8 16 32 64 : tokens of a block
 * @knob tiles     = 1 : 1 2 4 : 16-row blocks of weights of a warp
 * @knob warps_n   = 1 : 1 2 4 8 : warps along n
 * @knob warps_k   = 8 : 1 2 4 8 16 32 : warps that share k
 * @knob depth     = 1 : 1 2 3 4 6 8 : slabs of 512 k that a warp loads at once
 * @knob stages    = 1 : 1 2 3 4 : such loads that are in registers
 * @knob persist   = 0 : 0 1 2 3 4 5 6 8 : blocks an SM, each going from tile to tile; 0 is one tile
 * a block
 * @knob once      = 0 : 0 1 : 1 has no loop: for k that one load of all warps holds
 * @knob even      = 0 : 0 1 : 1 adds idle blocks, so that every SM has a block
 * @knob min_blocks = 1 : 1 2 3 4 5 6 8 : blocks an SM must have room for (bounds the registers)
 * @knob operand   = stream : stream keep shared : activations loaded with the weights, or once to
 * registers, or once to shared memory
 * @knob schedule  = side : side horner : an accumulator for each weight plane, or one (b1 only)
 * @knob cluster   = 1 : 1 2 4 8 : blocks that divide k and send each other their sums
 * @knob unpack    = use : use fill wait : core=u8: the first weights are unpacked when they are
 * used, or while activations come, or before these are waited for (pdl)
 * @knob release   = start : start issue : when the kernel after this one may begin: at once, or
 * when activations are asked for (pdl)
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended, and loads weights
 * meanwhile
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * The weights are the 16-row side of the mma, the activations its columns: with b1 the planes of a
 * token are neighboring columns, so that eight planes fill the instruction.  Slabs of 512 k are
 * dealt to the warps that share k in turn. */

#define OWN     (ROWS / CLUSTER) /* rows that the block finishes */
#define RESULTS (TILE_M * OWN)

/* A thread finishes one channel: a token, and every M_STEP-th after it, this many side by side. */
#define M_STEP   (THREADS / OWN)
#define FINISHED (TILE_M >= 4 * M_STEP ? 4 : TILE_M >= 2 * M_STEP ? 2 : 1)

/* Shared memory: the edges of the tokens, the sums, and with operand=shared the activations,
 * [column][its bytes].  The sums: two sets of the warps' own, [warp of k][token][row]; in a cluster
 * one set of all its warps', SENT_WORDS of each, and in front the mbarrier that counts them. */
#define EDGES_AT (CLUSTER > 1 ? 16 : 0)
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
#define PANEL_AT  ((SETS_AT + SETS * 4 * SET_WORDS + 127) / 128 * 128)

#if OPERAND == OPERAND_SHARED
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
#define LANE_PLACE(lane)          (128 * (lane)->quad + 16 * ((lane)->quad ^ (lane)->group % 2 * 4))
#else
#define PANEL_LINES(room)         (((room) + 7) / 8)
#define PANEL_ORDER(column, line) ((column) % 2 * 4)
#define PANEL_SLAB(at, slab)      ((at) + (slab) / 2 * 128 ^ (slab) % 2 * 64)
#define COPY_COLUMNS              8
#define COPY_PLANES               Q
#define LANE_PLACE(lane)          (16 * ((lane)->quad ^ (lane)->group % 2 * 4))
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
  int rank;     /* of the block in its cluster */
  int panel_at; /* where its first chunk of activations in shared memory is */
  int steps;    /* loads of a tile */
#if HAS_GROUPS
  int groups, groups_at; /* how many, and where their sums are: [group][token][row] */
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
} apq_output;

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
  lane->room = (lane->chunks + 4 * CLUSTER - 1) / (4 * CLUSTER) * 4;
  if (lane->room < 4 * WARPS_K) lane->room = 4 * WARPS_K;
#endif
#if CLUSTER > 1
  lane->rank = apq_cluster_rank();
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
  lane->groups_at += 8 * YT * 128 * (int)PANEL_LINES(lane->room);
#endif
#endif
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

APQ_FUNCTION void apq_output_init(const apq_gemm_args *args, const apq_lane *lane, int tile,
                                  apq_output *out) {
  out->m = (int)((apq_u32)apq_thread() / OWN);
  out->n = tile * ROWS + lane->rank * OWN + (int)((apq_u32)apq_thread() % OWN);
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
  copies.lane_at = PANEL_AT + 128 * lane->group * (int)PANEL_LINES(lane->room) + LANE_PLACE(lane);
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

/* Where the lane's chunks of fragment yi of a slab are: chunk c at this place with bits of 16 c
 * turned over (core=u8). */
APQ_FUNCTION int apq_panel_at(const apq_lane *lane, int slab, int yi) {
  /* A slab past k has zero weights: any activations of the warp do. */
  if (4 * slab >= (int)lane->room) slab = lane->k_warp;
  return PANEL_SLAB(lane->panel_at + yi * 8 * 128 * (int)PANEL_LINES(lane->room), slab);
}

#else

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

/* Slab d of a load; with groups its products of one of them. */
APQ_FUNCTION void apq_multiply_pass(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, int d, int pass, apq_sums *sums) {
#if CORE == CORE_U8
  APQ_UNROLL
  for (int i = 0; i < 8; i++) {
    int s = i % FIELDS * WORDS + i / FIELDS; /* neighbors into different sums */
    apq_u32x4 y[YT];
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++)
      y[yi] = apq_of_group(apq_get_activation(lane, at, a, d, yi, s), lane->quad, pass);
    apq_multiply_bytes(&item->w, d, s, y, sums);
  }
#else
  APQ_UNROLL
  for (int first = 0; first < YT; first += Y_GROUP) {
    apq_u32x4 y[Y_GROUP];
    APQ_UNROLL
    for (int yi = 0; yi < Y_GROUP; yi++) {
      int at_y = first + yi < YT ? first + yi : YT - 1;
      y[yi] = apq_of_group(apq_get_activation(lane, at, a, d, at_y, 0), lane->quad, pass);
    }
    apq_compute(&item->w, d, first, y, sums);
  }
#endif
  (void)pass;
}

#if HAS_GROUPS
APQ_FUNCTION void apq_put_warp_sums(const apq_lane *lane, int first, const apq_sums *sums);

/* The sums of each group go their own way. */
APQ_FUNCTION void apq_multiply_slab(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, int d, apq_sums *sums) {
  APQ_UNROLL
  for (int pass = 0; pass < PASSES; pass++) {
    int group = apq_slab(lane, at, d) * PASSES + pass;
    apq_clear(sums);
    apq_multiply_pass(lane, at, item, a, d, pass, sums);
    if (group < lane->groups)
      apq_put_warp_sums(lane, lane->groups_at + 4 * group * SUM_WORDS, sums);
  }
}
#else
APQ_FUNCTION void apq_multiply_slab(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, int d, apq_sums *sums) {
  apq_multiply_pass(lane, at, item, a, d, 0, sums);
}
#endif

APQ_FUNCTION void apq_multiply_item(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, apq_sums *sums) {
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) apq_multiply_slab(lane, at, item, a, d, sums);
}

#if CLUSTER > 1

/* Sends the warp's sums to the blocks that finish their rows.  A lane's are a chunk of four for
 * each SENT_TOKENS tokens of 16 rows. */
APQ_FUNCTION void apq_put_sums(const apq_lane *lane, int set, const apq_sums *sums) {
  int from = (lane->rank * WARPS_K + lane->k_warp) * SENT_WORDS;
  int place = SENT_PLACE(lane->group, lane->quad);
  (void)set;
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    int block = lane->n_warp * TILES + ti; /* of 16 rows */
    APQ_UNROLL
    for (int j = 0; j < SENT_PARTS; j++) {
      apq_u32x4 v = apq_fold_part(sums, ti, j, lane->quad);
      int at = from + ((block % (OWN / 16)) * SENT_PARTS + j) * 128 + place * 4;
      apq_send128(SETS_AT + 4 * at, block / (OWN / 16), v, 0);
    }
  }
}

/* The sum of an output that this thread finishes, token m. */
APQ_FUNCTION apq_u32 apq_add_sums(int set, int m) {
  int row = apq_thread() % OWN, quad = SENT_QUAD(row, m);
  int at = (row / 16 * SENT_PARTS + m / SENT_TOKENS) * 128 + SENT_PLACE(row % 8, quad) * 4 +
           SENT_WORD(row, m);
  apq_u32 sum = 0;
  (void)set;
  APQ_UNROLL
  for (int i = 0; i < CLUSTER * WARPS_K; i++) sum += apq_lds32(SETS_AT + 4 * (i * SENT_WORDS + at));
  return sum;
}

#else

/* Puts the warp's sums into shared memory, [token][row] from byte `at` on. */
APQ_FUNCTION void apq_put_warp_sums(const apq_lane *lane, int at, const apq_sums *sums) {
  int first = lane->n_warp * (16 * TILES) + lane->group;
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
        apq_sts32(at + 4 * (first + m * SUM_PITCH + 16 * ti + 8 * (lane->quad % 2)), result[0][0]);
#else
      APQ_UNROLL
      for (int i = 0; i < 2 * LANE_TOKENS; i++) {
        int m = yi * FRAGMENT_TOKENS + lane->quad * LANE_TOKENS + i / 2;
        if (m < TILE_M)
          apq_sts32(at + 4 * (first + m * SUM_PITCH + 16 * ti + 8 * (i % 2)), result[i % 2][i / 2]);
      }
#endif
    }
  }
}

APQ_FUNCTION void apq_put_sums(const apq_lane *lane, int set, const apq_sums *sums) {
  apq_put_warp_sums(lane, SETS_AT + 4 * (set * SET_WORDS + lane->k_warp * SUM_WORDS), sums);
}

APQ_FUNCTION apq_u32 apq_add_sums(int set, int m) {
  int at = set * SET_WORDS + m * SUM_PITCH + apq_thread() % ROWS;
  apq_u32 sum = 0;
  APQ_UNROLL
  for (int i = 0; i < WARPS_K; i++) sum += apq_lds32(SETS_AT + 4 * (i * SUM_WORDS + at));
  return sum;
}

#endif

/* The token of which this thread loads the edge: the one it finishes, or, where it finishes
 * several, one for shared memory. */
#if RESULTS <= THREADS
#define ROW_TOKEN ((int)((apq_u32)apq_thread() / OWN))
#else
#define ROW_TOKEN apq_thread()
#endif

APQ_FUNCTION int apq_has_row(const apq_gemm_args *args, const apq_lane *lane) {
  return ROW_TOKEN < TILE_M && lane->m0 + ROW_TOKEN < args->m;
}

/* Adds the sums of all warps up and writes the results of a tile.  With the block's first tile the
 * edges of its tokens come into shared memory. */
APQ_FUNCTION void apq_finish(const apq_gemm_args *args, const apq_lane *lane, int is_first, int set,
                             const apq_sums *sums, const apq_output *out, const apq_raw_edge *raw,
                             const apq_raw_edge *raw_row) {
  apq_put_sums(lane, set, sums);
  apq_edge row = apq_finish_edge(args, raw_row, 1);
  (void)is_first;
#if RESULTS > THREADS
  if (is_first && ROW_TOKEN < TILE_M) apq_put_edge(EDGES_AT + ROW_TOKEN * EDGE_BYTES, &row);
#endif
#if CLUSTER > 1
#if RESULTS > THREADS
  apq_syncthreads();
#endif
  apq_mbarrier_wait(0, 0);
#else
  apq_syncthreads();
#endif
  if (!apq_has_output(args, lane, out)) return;
  apq_edge column = apq_finish_edge(args, raw, 0);
  apq_u8 *at = out->at;
  APQ_NO_UNROLL
  for (int first = out->m; first < TILE_M; first += FINISHED * M_STEP) {
    apq_u32 result[FINISHED];
    APQ_UNROLL
    for (int i = 0; i < FINISHED; i++) {
      apq_u32 sum = apq_add_sums(set, first + i * M_STEP);
#if RESULTS > THREADS
      row = apq_get_edge(EDGES_AT + (first + i * M_STEP) * EDGE_BYTES);
#endif
      result[i] = apq_result(args, sum, &row, &column, (int)out->is_plain);
    }
    APQ_UNROLL
    for (int i = 0; i < FINISHED; i++) {
      int m = lane->m0 + first + i * M_STEP;
      if (m < args->m) {
#if OUT != OUT_I32
        if (!out->is_plain && apq_has_post(args))
          result[i] = apq_post_one(args, m, out->n, result[i]);
#endif
        apq_store_at(at, result[i]);
      }
      at += M_STEP * args->ldy * OUT_BYTES;
    }
  }
}

#if HAS_GROUPS
/* Scales the sums of all groups, adds them up and writes the results of the tile. */
APQ_FUNCTION void apq_finish_groups(const apq_gemm_args *args, const apq_lane *lane, int n0,
                                    const apq_raw_groups *raw, const apq_output *out,
                                    const apq_raw_edge *column) {
  int warp = apq_thread() / 32;
  apq_syncthreads();
  APQ_UNROLL
  for (int i = 0; i < GROUP_ROWS; i++) {
    int row = i * WARPS + warp;
    if (row >= ROWS || n0 + row >= args->n) continue;
    APQ_NO_UNROLL
    for (int g = apq_thread() % 32; g < args->groups; g += 32) {
      apq_raw_group one = g < 32 ? raw->row[i] : apq_load_group(args, n0 + row, g);
      apq_scale_group(args, lane->m0, g, &one, lane->groups_at + 4 * (g * SUM_WORDS + row),
                      4 * SUM_PITCH);
    }
  }
  apq_syncthreads();
  if (!apq_has_output(args, lane, out)) return;
  apq_edge column_edge = apq_finish_edge(args, column, 0);
  apq_u8 *at = out->at;
  APQ_NO_UNROLL
  for (int m = out->m; m < TILE_M && lane->m0 + m < args->m; m += M_STEP) {
    apq_raw_edge raw_row = apq_load_row(args, lane->m0 + m);
    apq_edge row = apq_finish_edge(args, &raw_row, 1);
    int from = lane->groups_at + 4 * (m * SUM_PITCH + apq_thread() % ROWS);
    float total = 0.0f;
    APQ_UNROLL_4
    for (int g = 0; g < args->groups; g++)
      total = apq_add(total, apq_bits_float(apq_lds32(from + 4 * g * SUM_WORDS)));
    apq_u32 result =
        apq_finish_total(args, apq_float_bits(total), &row, &column_edge, (int)out->is_plain);
    if (!out->is_plain && apq_has_post(args))
      result = apq_post_one(args, lane->m0 + m, out->n, result);
    apq_store_at(at, result);
    at += M_STEP * args->ldy * OUT_BYTES;
  }
}
#endif
