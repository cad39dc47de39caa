/* Family bmma: bit-serial products on mma.sync b1, m16n8k256, AND + POPC (XOR + POPC on sm_75).
 *
 * @family bmma product planes
 * @parts gemm_tile.cu activation.cu gemm_epilogue.cu bmma.cu group_scales.cu gemm.cu
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
 * @knob schedule  = side : side horner : all planes of a k slab at once, or one pair of planes
 * after the other
 * @knob recombine = registers : registers shared : where plane products of one output are added
 * (side only)
 * @knob swap      = 0 : 0 1 : 1 puts the weights on the 16-row side of the mma
 * @knob split_k   = 1 : 1 2 4 8 16 : blocks that share one output tile
 * @knob op        = and : and xor : how two bits are multiplied
 * @knob store     = direct : direct staged : results from the fragments, or through shared memory
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * Fragments come from shared memory by ldmatrix: a 16-byte chunk of eight rows is an 8x128-bit
 * quarter of an operand, in the registers where mma wants it. */

/* Rows of one stage: with `side` every plane of both operands, plane after plane; with `horner` one
 * plane of each. */
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

#define CHUNKS      (TILE_K / 128) /* of 16 bytes, of a row */
#define PITCH       PITCH_OF(CHUNKS)
#define Y_AT        (X_ROWS * PITCH)
#define STAGE_BYTES ((X_ROWS + Y_ROWS) * PITCH)

typedef struct apq_lane {
  int group, quad;      /* lane / 4, lane % 4 */
  int x_base, y_base;   /* first row of the warp in a stage */
  int x_first, y_first; /* first output of the warp in the tile */
  int x_at, y_at;       /* where ldmatrix reads for this lane: byte offset of its row in a stage */
  int x_chunk, y_chunk; /* and its chunk, swizzled, of the first k step */
  int y_second;         /* offset of the second y fragment, for the lanes that read it */
  const apq_u8 *x, *y;  /* operands, at the stage of k and the plane to be loaded next */
  apq_u32 x_from[COPIES(X_ROWS * CHUNKS)], y_from[COPIES(Y_ROWS * CHUNKS)];
  int chunks_left; /* of k, from the next stage and this thread's chunk on */
  int steps_left;  /* stages to be loaded of this split (Horner: of this pair of planes) */
  int k_steps;
  /* Horner walks the pairs of planes by falling sum of their weights: (weight, plane of x), once
   * for loads and once for products. */
  int load_weight, load_plane;
  int weight, plane, done;
} apq_lane;

/* Row of fragment i in a stage, from the warp's first.  With planes side by side and recombined in
 * registers, a warp has the same outputs of every plane; otherwise its rows are one run. */
#if SCHEDULE == SCHEDULE_SIDE && RECOMBINE == RECOMBINE_REGISTERS
#define X_ROW(i)      ((i) / XF * X_TILE + (i) % XF * 16)
#define Y_ROW(i)      ((i) / YF * Y_TILE + (i) % YF * 8)
#define X_START(lane) (lane)->x_first
#define Y_START(lane) (lane)->y_first
#else
#define X_ROW(i)      ((i)*16)
#define Y_ROW(i)      ((i)*8)
#define X_START(lane) (lane)->x_base
#define Y_START(lane) (lane)->y_base
#endif

/* Points the loads at a pair of planes and at this split's first stage of k. */
APQ_FUNCTION void apq_start_planes(apq_lane *lane, const apq_gemm_args *args, int x_plane,
                                   int y_plane) {
  int first, end;
  apq_split_stages((args->row_bytes / 16 + CHUNKS - 1) / CHUNKS, &first, &end);
#if SWAP
  const void *x = args->w, *y = args->a;
  int x_limit = args->n, y_limit = args->m;
#else
  const void *x = args->a, *y = args->w;
  int x_limit = args->m, y_limit = args->n;
#endif
  lane->x =
      (const apq_u8 *)x + (long long)x_plane * x_limit * args->row_bytes + first * (CHUNKS * 16);
  lane->y =
      (const apq_u8 *)y + (long long)y_plane * y_limit * args->row_bytes + first * (CHUNKS * 16);
  lane->chunks_left = args->row_bytes / 16 - first * CHUNKS - apq_thread() % CHUNKS;
  lane->steps_left = lane->k_steps = end - first;
}

APQ_FUNCTION void apq_lane_init(apq_lane *lane, const apq_gemm_args *args, int m0, int n0) {
  int warp = apq_thread() / 32, l = apq_thread() % 32;
  int x_warp = warp % X_WARPS, y_warp = warp / X_WARPS;
  lane->group = l / 4;
  lane->quad = l % 4;
  lane->x_base = x_warp * (X_ROWS / X_WARPS);
  lane->y_base = y_warp * (Y_ROWS / Y_WARPS);
  lane->x_first = x_warp * (X_TILE / X_WARPS);
  lane->y_first = y_warp * (Y_TILE / Y_WARPS);
  /* ldmatrix, matrix l/8: of x rows 0-7 and 8-15 of one chunk, then of the next; of y two chunks of
   * one fragment, then of the next fragment. */
  lane->x_at = (X_START(lane) + l % 16) * PITCH;
  lane->y_at = Y_AT + (Y_START(lane) + l % 8) * PITCH;
  lane->x_chunk = l / 16 ^ apq_swizzle(l % 8, CHUNKS);
  lane->y_chunk = l / 8 % 2 ^ apq_swizzle(l % 8, CHUNKS);
  lane->y_second = l / 16 * (Y_ROW(1) * PITCH);
#if SWAP
  int x0 = n0, y0 = m0, x_limit = args->n, y_limit = args->m;
#else
  int x0 = m0, y0 = n0, x_limit = args->m, y_limit = args->n;
#endif
  int row_chunks = args->row_bytes / 16;
  apq_plan_copies(lane->x_from, X_ROWS * CHUNKS, CHUNKS, X_TILE, x0, x_limit, row_chunks);
  apq_plan_copies(lane->y_from, Y_ROWS * CHUNKS, CHUNKS, Y_TILE, y0, y_limit, row_chunks);
  lane->load_weight = lane->weight = X_BITS + Y_BITS - 2;
  lane->load_plane = lane->plane = X_BITS - 1;
  lane->done = 0;
#if SCHEDULE == SCHEDULE_SIDE
  apq_start_planes(lane, args, 0, 0);
#else
  apq_start_planes(lane, args, X_BITS - 1, Y_BITS - 1);
#endif
}

APQ_FUNCTION int apq_steps(const apq_lane *lane) {
#if SCHEDULE == SCHEDULE_SIDE
  return lane->k_steps;
#else
  return lane->k_steps * X_BITS * Y_BITS;
#endif
}

#if SCHEDULE == SCHEDULE_HORNER
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
#endif

/* Copies are started before all k steps but the last. */
#define PARTS (CHUNKS / 2 - 1)

/* Starts part `part` of PARTS of the next stage's copies; with `is_loading` 0 nothing is left to
 * load. */
APQ_FUNCTION void apq_load_part(const apq_lane *lane, int at, int part, int is_loading) {
  int is_in_k = is_loading && lane->chunks_left > 0;
  apq_copy_rows(at, lane->x, lane->x_from, X_ROWS * CHUNKS, CHUNKS, is_in_k, part, PARTS);
  apq_copy_rows(at + Y_AT, lane->y, lane->y_from, Y_ROWS * CHUNKS, CHUNKS, is_in_k, part, PARTS);
}

/* After the last part: on to the stage behind. */
APQ_FUNCTION void apq_next_stage(const apq_gemm_args *args, apq_lane *lane) {
  lane->x += CHUNKS * 16;
  lane->y += CHUNKS * 16;
  lane->chunks_left -= CHUNKS;
#if SCHEDULE == SCHEDULE_HORNER
  if (--lane->steps_left == 0 && lane->load_weight + lane->load_plane > 0) {
    apq_next_pair(&lane->load_weight, &lane->load_plane);
    apq_start_planes(lane, args, lane->load_plane, lane->load_weight - lane->load_plane);
  }
#else
  (void)args;
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

/* k steps of 256 in a stage, an even number. */
#define STEPS (CHUNKS / 2)

#if GROUP
/* group_scales.cu */
typedef struct apq_totals apq_totals;
APQ_FUNCTION void apq_end_group(const apq_lane *lane, apq_totals *totals, int acc[XT][YT][4]);
#endif

/* Fragments of two k steps: one is multiplied while the other is loaded. */
typedef struct apq_fragments {
  apq_u32 x[2][XT][4], y[2][YT][2];
#if GROUP
  apq_totals *totals;
#endif
} apq_fragments;

/* Loads the fragments of k step `step` of the stage at `at`. */
APQ_FUNCTION void apq_load_fragments(const apq_lane *lane, int at, int step, apq_fragments *f) {
  APQ_UNROLL
  for (int yi = 0; yi < YT; yi += 2) {
    apq_u32 two[4];
    int from = at + lane->y_at + Y_ROW(yi) * PITCH + (lane->y_chunk ^ 2 * step) * 16;
    apq_ldmatrix4(two, yi + 1 < YT ? from + lane->y_second : from);
    f->y[step % 2][yi][0] = two[0], f->y[step % 2][yi][1] = two[1];
    if (yi + 1 < YT) f->y[step % 2][yi + 1][0] = two[2], f->y[step % 2][yi + 1][1] = two[3];
  }
  APQ_UNROLL
  for (int xi = 0; xi < XT; xi++)
    apq_ldmatrix4(f->x[step % 2][xi],
                  at + lane->x_at + X_ROW(xi) * PITCH + (lane->x_chunk ^ 2 * step) * 16);
}

/* Multiplies the stage at `at`, whose first fragments are loaded.  Meanwhile the copies of a later
 * stage into `fill` are started; before the last k step all warps meet, the stage at `next` is
 * there, and its first fragments are loaded.  A ring of one stage does neither. */
APQ_FUNCTION void apq_compute_stage(const apq_lane *lane, int at, int next, int fill,
                                    int is_loading, apq_fragments *f, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int step = 0; step < STEPS; step++) {
    if (step + 1 < STEPS) {
      apq_load_fragments(lane, at, step + 1, f);
#if STAGES > 1
      apq_load_part(lane, fill, step, is_loading);
    } else {
      apq_turn_stage();
      apq_load_fragments(lane, next, 0, f);
#endif
    }
    APQ_UNROLL
    for (int xi = 0; xi < XT; xi++) {
      APQ_UNROLL
      for (int yi = 0; yi < YT; yi++)
        apq_multiply(acc[xi][yi], f->x[step % 2][xi], f->y[step % 2][yi]);
    }
#if GROUP /* of 256, a k step */
    apq_end_group(lane, f->totals, acc);
#endif
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
