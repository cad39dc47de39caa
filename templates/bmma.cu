/* Family bmma: bit-serial products on mma.sync b1, m16n8k256, AND + POPC (XOR + POPC on sm_75).
 *
 * @family bmma product planes
 * @knob p         = 2 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 2 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob tile_m    = 64 : 8 16 32 64 128 256 : tokens of a block
 * @knob tile_n    = 64 : 8 16 32 64 128 256 : output channels of a block
 * @knob tile_k    = 512 : 512 1024 2048 : reduction length of a stage
 * @knob stages    = 3 : 1 2 3 4 5 6 : slots of the cp.async ring
 * @knob warps_m   = 2 : 1 2 4 8 : warps along m
 * @knob warps_n   = 2 : 1 2 4 8 : warps along n
 * @knob min_blocks = 1 : 1 2 3 4 : blocks an SM must have room for (bounds the registers)
 * @knob layout    = linear : linear padded xor : rows of a stage in shared memory
 * @knob schedule  = side : side horner : all planes of a k slab at once, or one pair of planes after the other
 * @knob recombine = registers : registers shared : where plane products of one output are added (side only)
 * @knob swap      = 0 : 0 1 : 1 puts the weights on the 16-row side of the mma
 * @knob split_k   = 1 : 1 2 4 8 16 : blocks that share one output tile
 * @knob op        = and : and xor : how two bits are multiplied
 * @knob store     = direct : direct staged : results from the fragments, or through shared memory
 *
 * The order of k inside a fragment is free as long as both operands use the same one: lane 4g+t of a fragment loads 16 consecutive bytes of
 * row g, chunk t of four, and feeds two k steps of 256 from them. */

#define WARPS   (WARPS_M * WARPS_N)
#define THREADS (32 * WARPS)

#if SWAP
#define X_BITS  P
#define X_TILE  TILE_N
#define X_WARPS WARPS_N
#define Y_BITS  Q
#define Y_TILE  TILE_M
#define Y_WARPS WARPS_M
#else
#define X_BITS  Q
#define X_TILE  TILE_M
#define X_WARPS WARPS_M
#define Y_BITS  P
#define Y_TILE  TILE_N
#define Y_WARPS WARPS_N
#endif

/* Rows of one stage: with `side` every plane of both operands, plane after plane; with `horner` one plane of each. */
#if SCHEDULE == SCHEDULE_SIDE
#define X_ROWS (X_BITS * X_TILE)
#define Y_ROWS (Y_BITS * Y_TILE)
#else
#define X_ROWS X_TILE
#define Y_ROWS Y_TILE
#endif

/* Fragments of a warp: XT x YT of plane products, XF x YF of outputs. */
#define XT (X_ROWS / X_WARPS / 16)
#define YT (Y_ROWS / Y_WARPS / 8)
#define XF (X_TILE / X_WARPS / 16)
#define YF (Y_TILE / Y_WARPS / 8)

#define CHUNKS    (TILE_K / 128) /* 16-byte chunks of a row */
#define ROW_BYTES (TILE_K / 8)
#if LAYOUT == LAYOUT_PADDED
/* Rows g and g+1 are read together, 64 bytes each: an odd multiple of 64 keeps them in different banks. */
#define PITCH (ROW_BYTES % 128 ? ROW_BYTES + 128 : ROW_BYTES + 64)
#else
#define PITCH ROW_BYTES
#endif
#define STAGE_BYTES ((X_ROWS + Y_ROWS) * PITCH)

typedef struct apq_lane {
  int group, quad;      /* lane / 4, lane % 4 */
  int x_base, y_base;   /* first row of the warp in a stage */
  int x_first, y_first; /* first output of the warp in the tile */
  int m0, n0;
  int next_chunk, first_chunk, end_chunk; /* 16-byte chunks of this split's part of k */
  int k_steps;
  /* Horner walks the pairs of planes by falling sum of their weights: (weight, plane of x), once for loads and once for
   * products. */
  int load_weight, load_plane;
  int weight, plane, done;
} apq_lane;

/* Row of fragment i in a stage.  With planes side by side and recombined in registers, a warp has the same outputs of every
 * plane; otherwise its rows are one run. */
#if SCHEDULE == SCHEDULE_SIDE && RECOMBINE == RECOMBINE_REGISTERS
#define X_ROW(lane, i) ((lane)->x_first + (i) / XF * X_TILE + (i) % XF * 16)
#define Y_ROW(lane, i) ((lane)->y_first + (i) / YF * Y_TILE + (i) % YF * 8)
#else
#define X_ROW(lane, i) ((lane)->x_base + (i) * 16)
#define Y_ROW(lane, i) ((lane)->y_base + (i) * 8)
#endif

APQ_FUNCTION void apq_lane_init(apq_lane *lane, const apq_gemm_args *args, int m0, int n0) {
  int warp = apq_thread() / 32;
  int x_warp = warp % X_WARPS, y_warp = warp / X_WARPS;
  lane->group = apq_thread() % 32 / 4;
  lane->quad = apq_thread() % 4;
  lane->x_base = x_warp * (X_ROWS / X_WARPS);
  lane->y_base = y_warp * (Y_ROWS / Y_WARPS);
  lane->x_first = x_warp * (X_TILE / X_WARPS);
  lane->y_first = y_warp * (Y_TILE / Y_WARPS);
  lane->m0 = m0;
  lane->n0 = n0;
  /* Whole stages of k are dealt to the splits as evenly as they go. */
  int stages = (args->row_bytes / 16 + CHUNKS - 1) / CHUNKS;
  int first = (int)((long long)stages * apq_block_y() / SPLIT_K);
  int end = (int)((long long)stages * (apq_block_y() + 1) / SPLIT_K);
  lane->first_chunk = lane->next_chunk = first * CHUNKS;
  lane->end_chunk = end * CHUNKS;
  lane->k_steps = end - first;
  lane->load_weight = lane->weight = X_BITS + Y_BITS - 2;
  lane->load_plane = lane->plane = X_BITS - 1;
  lane->done = 0;
}

APQ_FUNCTION int apq_steps(const apq_lane *lane) {
#if SCHEDULE == SCHEDULE_SIDE
  return lane->k_steps;
#else
  return lane->k_steps * X_BITS * Y_BITS;
#endif
}

/* The next pair of planes: another with the same weight, else the first of the next lower one. */
APQ_FUNCTION void apq_next_pair(int *weight, int *plane) {
  int low = *weight - (Y_BITS - 1) > 0 ? *weight - (Y_BITS - 1) : 0;
  if (*plane > low) {
    --*plane;
    return;
  }
  --*weight;
  *plane = *weight < X_BITS - 1 ? *weight : X_BITS - 1;
}

/* Where chunk `chunk` of row `row` is in an operand's part of a stage.  A quarter of a warp reads four chunks of two
 * neighboring rows; `xor` moves odd rows to the other half of 128 bytes. */
APQ_FUNCTION int apq_chunk_at(int row, int chunk) {
#if LAYOUT == LAYOUT_XOR && CHUNKS >= 8
  chunk ^= (row & 1) << 2;
#endif
  return row * PITCH + chunk * 16;
}

/* Copies `rows` rows of planes, from plane `plane` on, `tile` rows of each.  Rows past the matrix and chunks past k are
 * zeros. */
APQ_FUNCTION void apq_load_rows(int at, int rows, int tile, const void *from, int first, int limit,
                                int plane, int row_bytes, int chunk0) {
  APQ_UNROLL
  for (int i = 0; i < rows * CHUNKS; i += THREADS) {
    int index = i + apq_thread();
    int row = index / CHUNKS, chunk = index % CHUNKS;
    if (rows * CHUNKS % THREADS == 0 || index < rows * CHUNKS) {
      int matrix_row = first + row % tile;
      int valid = matrix_row < limit && (chunk0 + chunk) * 16 < row_bytes;
      long long offset = (long long)((plane + row / tile) * (long long)limit + matrix_row) * row_bytes +
                         (chunk0 + chunk) * 16;
      apq_cp_async16(at + apq_chunk_at(row, chunk), (const apq_u8 *)from + (valid ? offset : 0),
                     valid ? 16 : 0);
    }
  }
}

APQ_FUNCTION void apq_load_stage(const apq_gemm_args *args, apq_lane *lane, int at) {
#if SWAP
  const void *x = args->w, *y = args->a;
  int x0 = lane->n0, y0 = lane->m0, x_limit = args->n, y_limit = args->m;
#else
  const void *x = args->a, *y = args->w;
  int x0 = lane->m0, y0 = lane->n0, x_limit = args->m, y_limit = args->n;
#endif
#if SCHEDULE == SCHEDULE_SIDE
  int x_plane = 0, y_plane = 0;
#else
  int x_plane = lane->load_plane, y_plane = lane->load_weight - lane->load_plane;
#endif
  apq_load_rows(at, X_ROWS, X_TILE, x, x0, x_limit, x_plane, args->row_bytes, lane->next_chunk);
  apq_load_rows(at + X_ROWS * PITCH, Y_ROWS, Y_TILE, y, y0, y_limit, y_plane, args->row_bytes,
                lane->next_chunk);
  lane->next_chunk += CHUNKS;
#if SCHEDULE == SCHEDULE_HORNER
  if (lane->next_chunk == lane->end_chunk) {
    lane->next_chunk = lane->first_chunk;
    apq_next_pair(&lane->load_weight, &lane->load_plane);
  }
#endif
}

/* Horner: sums double whenever the weight of the planes falls by one. */
APQ_FUNCTION void apq_before_stage(apq_lane *lane, int acc[XT][YT][4]) {
#if SCHEDULE == SCHEDULE_HORNER
  if (lane->done == lane->k_steps) {
    int old = lane->weight;
    apq_next_pair(&lane->weight, &lane->plane);
    lane->done = 0;
    if (lane->weight != old) {
      APQ_UNROLL
      for (int xi = 0; xi < XT; xi++) {
        APQ_UNROLL
        for (int yi = 0; yi < YT; yi++) {
          APQ_UNROLL
          for (int e = 0; e < 4; e++) acc[xi][yi][e] = (int)((apq_u32)acc[xi][yi][e] << 1);
        }
      }
    }
  }
  lane->done++;
#else
  (void)lane;
  (void)acc;
#endif
}

APQ_FUNCTION void apq_multiply(int d[4], const apq_u32 a[4], const apq_u32 b[2]) {
#if OP == OP_XOR
  apq_mma_b1_xor(d, a, b);
#else
  apq_mma_b1_and(d, a, b);
#endif
}

APQ_FUNCTION void apq_compute_stage(const apq_lane *lane, int at, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int slab = 0; slab < CHUNKS / 4; slab++) {
    /* Two k steps: words .x and .y of a chunk are the first, .z and .w the second. */
    apq_u32 x[XT][2][4];
    APQ_UNROLL
    for (int xi = 0; xi < XT; xi++) {
      int row = X_ROW(lane, xi) + lane->group;
      apq_u32x4 top = apq_lds128(at + apq_chunk_at(row, 4 * slab + lane->quad));
      apq_u32x4 bottom = apq_lds128(at + apq_chunk_at(row + 8, 4 * slab + lane->quad));
      x[xi][0][0] = top.x, x[xi][0][1] = bottom.x, x[xi][0][2] = top.y, x[xi][0][3] = bottom.y;
      x[xi][1][0] = top.z, x[xi][1][1] = bottom.z, x[xi][1][2] = top.w, x[xi][1][3] = bottom.w;
    }
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      int row = Y_ROW(lane, yi) + lane->group;
      apq_u32x4 words = apq_lds128(at + X_ROWS * PITCH + apq_chunk_at(row, 4 * slab + lane->quad));
      apq_u32 y[2][2] = {{words.x, words.y}, {words.z, words.w}};
      APQ_UNROLL
      for (int step = 0; step < 2; step++) {
        APQ_UNROLL
        for (int xi = 0; xi < XT; xi++) apq_multiply(acc[xi][yi], x[xi][step], y[step]);
      }
    }
  }
}

/* The exact sum of one output from the products of its planes. */
APQ_FUNCTION apq_u32 apq_sum(int acc[XT][YT][4], int xi, int yi, int e) {
#if SCHEDULE == SCHEDULE_SIDE
  apq_u32 sum = 0;
  APQ_UNROLL
  for (int i = 0; i < X_BITS; i++) {
    APQ_UNROLL
    for (int j = 0; j < Y_BITS; j++) sum += (apq_u32)acc[i * XF + xi][j * YF + yi][e] << (i + j);
  }
  return sum;
#else
  return (apq_u32)acc[xi][yi][e];
#endif
}
