/* Family imma: weight planes unpacked to u8 in registers, products on mma.sync u8, m16n8k32.
 *
 * @family imma product bytes
 * @parts gemm_tile.cu activation.cu gemm_epilogue.cu unpack.cu imma.cu group_scales.cu gemm.cu
 * @knob p         = 4 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob tile_m    = 64 : 8 16 32 64 128 256 : tokens of a block
 * @knob tile_n    = 64 : 8 16 32 64 128 256 : output channels of a block
 * @knob tile_k    = 128 : 128 256 512 : reduction length of a stage
 * @knob stages    = 3 : 1 2 3 4 5 6 : slots of the cp.async ring
 * @knob warps_m   = 2 : 1 2 4 8 : warps along m
 * @knob warps_n   = 2 : 1 2 4 8 : warps along n
 * @knob min_blocks = 1 : 1 2 3 4 : blocks an SM must have room for (bounds the registers)
 * @knob layout    = linear : linear padded xor : activation rows of a stage in shared memory
 * @knob swap      = 0 : 0 1 : 1 puts the weights on the 16-row side of the mma
 * @knob form      = bytes : bytes pairs : of the activations
 * @knob split_k   = 1 : 1 2 4 8 16 : blocks that share one output tile
 * @knob store     = direct : direct staged : results from the fragments, or through shared memory
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * Blocks of 128 k.  Lane 4g+t of a fragment owns word t of the 16 bytes of row g of each weight
 * plane, that is 32 k; transposing bits gives eight words of four u8 codes, k = 32t + 8j + b in
 * byte j of word b.  Activations are stored as bytes in that order, word b of all four lanes in
 * chunk b (apq__byte_position), so ldmatrix gives the same k to the same lane; words s and s + 4
 * make mma step s.  A group of fewer than 128 k belongs to some of the four lanes: the block is
 * then multiplied once a group, with the words of the other lanes as zeros.  With activations in
 * pairs (bitplane.h) the words of a step are its low codes and two codes a byte. */

#define X_ROWS X_TILE
#define Y_ROWS Y_TILE
#define XT     (X_TILE / X_WARPS / 16)
#define YT     (Y_TILE / Y_WARPS / 8)
#define XF     XT
#define YF     YT

#define BLOCKS (TILE_K / 128)
/* Groups of a block, and mma steps: four for each of them. */
#if GROUP == 32 || GROUP == 64
#define PASSES (128 / GROUP)
#else
#define PASSES 1
#endif
#define MMA_STEPS (4 * PASSES * BLOCKS)
#define CHUNKS    (8 * BLOCKS) /* of 16 bytes, of an activation row */
#define PITCH     PITCH_OF(CHUNKS)
/* A stage: activation rows [TILE_M][PITCH], then weights [block][plane][TILE_N][16 bytes]: ldmatrix
 * reads eight rows of a plane as 128 consecutive bytes. */
#define WEIGHTS_AT    (TILE_M * PITCH)
#define WEIGHT_CHUNKS (BLOCKS * P * TILE_N)
#define STAGE_BYTES   (WEIGHTS_AT + WEIGHT_CHUNKS * 16)

typedef struct apq_lane {
  int group, quad;      /* lane / 4, lane % 4 */
  int x_first, y_first; /* first output of the warp in the tile */
  int a_at, a_chunk; /* where ldmatrix reads activations for this lane: byte offset of its row, and
                        its chunk, swizzled */
#if SWAP
  int a_second; /* offset of the second fragment of a load, for the lanes that read it */
#endif
  int w_at;            /* and weights: byte offset of its row of the first plane */
  const apq_u8 *a, *w; /* operands, at the stage to be loaded next */
  apq_u32 a_from[COPIES(TILE_M * CHUNKS)], w_from[COPIES(WEIGHT_CHUNKS)];
  int a_left, w_left; /* chunks and blocks of k, from the next stage and this thread's own on */
  int k_steps;
} apq_lane;

APQ_FUNCTION void apq_lane_init(apq_lane *lane, const apq_gemm_args *args, int m0, int n0) {
  int warp = apq_thread() / 32, l = apq_thread() % 32;
  lane->group = l / 4;
  lane->quad = l % 4;
  lane->x_first = warp % X_WARPS * (X_TILE / X_WARPS);
  lane->y_first = warp / X_WARPS * (Y_TILE / Y_WARPS);
  /* ldmatrix, matrix l/8: of activations on the x side rows 0-7 and 8-15 of chunk s, then of chunk
   * s + 4; on the y side the two chunks of one fragment, then of the next; of weights eight rows of
   * each of four planes. */
#if SWAP
  lane->a_at = (lane->y_first + l % 8) * PITCH;
  lane->a_chunk = l / 8 % 2 * 4 ^ apq_swizzle(l % 8, CHUNKS);
  lane->a_second = l / 16 * (8 * PITCH);
  lane->w_at = WEIGHTS_AT + lane->x_first * 16;
#else
  lane->a_at = (lane->x_first + l % 16) * PITCH;
  lane->a_chunk = l / 16 * 4 ^ apq_swizzle(l % 8, CHUNKS);
  lane->w_at = WEIGHTS_AT + lane->y_first * 16;
#endif
  int k_blocks = args->row_bytes / 16, first, end;
  apq_split_stages((k_blocks + BLOCKS - 1) / BLOCKS, &first, &end);
  lane->k_steps = end - first;
  lane->a = (const apq_u8 *)args->a + first * (CHUNKS * 16);
  lane->w = (const apq_u8 *)args->w + first * (BLOCKS * 16);
  lane->a_left = (k_blocks - first * BLOCKS) * 8 - apq_thread() % CHUNKS;
  lane->w_left = k_blocks - first * BLOCKS - apq_thread() % BLOCKS;
  apq_plan_copies(lane->a_from, TILE_M * CHUNKS, CHUNKS, TILE_M, m0, args->m, k_blocks * 8);
  apq_plan_copies(lane->w_from, WEIGHT_CHUNKS, BLOCKS, TILE_N, n0, args->n, k_blocks);
}

APQ_FUNCTION int apq_steps(const apq_lane *lane) { return lane->k_steps; }

/* Copies are started between the products of all mma steps but the last: the thinner they are
 * spread, the less they hold them up. */
#define PARTS ((MMA_STEPS - 1) * XT)

/* Starts part `part` of PARTS of the next stage's copies; with `is_loading` 0 nothing is left to
 * load. */
APQ_FUNCTION void apq_load_part(const apq_lane *lane, int at, int part, int is_loading) {
  int is_a_in_k = is_loading && lane->a_left > 0, is_w_in_k = is_loading && lane->w_left > 0;
  apq_copy_rows(at, lane->a, lane->a_from, TILE_M * CHUNKS, CHUNKS, is_a_in_k, part, PARTS);
  APQ_UNROLL
  for (int i = PART_FIRST(WEIGHT_CHUNKS, part, PARTS);
       i < PART_FIRST(WEIGHT_CHUNKS, part + 1, PARTS); i++) {
    int index = i * THREADS + apq_thread();
    if (WEIGHT_CHUNKS % THREADS == 0 || index < WEIGHT_CHUNKS)
      apq_cp_async16(at + WEIGHTS_AT + (index % BLOCKS * P * TILE_N + index / BLOCKS) * 16,
                     lane->w + (long long)lane->w_from[i] * 16, is_w_in_k ? 16 : 0);
  }
}

/* After the last part: on to the stage behind. */
APQ_FUNCTION void apq_next_stage(const apq_gemm_args *args, apq_lane *lane) {
  (void)args;
  lane->a += CHUNKS * 16;
  lane->w += BLOCKS * 16;
  lane->a_left -= CHUNKS;
  lane->w_left -= BLOCKS;
}

APQ_FUNCTION void apq_before_stage(apq_lane *lane, int acc[XT][YT][4]) {
  (void)lane;
  (void)acc;
}

/* Weight fragments of a warp: eight rows each. */
#if SWAP
#define WT (2 * XT)
#else
#define WT YT
#endif

/* Loads of activation fragments: one of 16 rows, or two of 8. */
#if SWAP
#define AT ((YT + 1) / 2)
#else
#define AT XT
#endif

#if GROUP
/* group_scales.cu */
typedef struct apq_totals apq_totals;
APQ_FUNCTION void apq_end_group(const apq_lane *lane, apq_totals *totals, int acc[XT][YT][4]);
#endif

/* The plane words of one block of 128 k, loaded while the block before is multiplied.  Once a block
 * words of the halves of two codes a byte are made of them, in place; of these the words of mma
 * step s just before they are used, which spreads the work between the products and needs no
 * registers for it. */
#define HALF_WORDS (P > 4 ? 8 : 4)
typedef struct apq_fragments {
  apq_u32 word[WT][HALF_WORDS];
#if GROUP
  apq_totals *totals;
#endif
} apq_fragments;

APQ_FUNCTION void apq_load_fragments(const apq_lane *lane, int at, int block, apq_fragments *f) {
  int l = apq_thread() % 32;
  APQ_UNROLL
  for (int wi = 0; wi < WT; wi++) {
    int from = at + lane->w_at + (block * P * TILE_N + 8 * wi) * 16;
    /* Absent planes are zeros; the compiler removes what is done with them. */
    APQ_UNROLL
    for (int plane = P; plane < HALF_WORDS; plane++) f->word[wi][plane] = 0;
    APQ_UNROLL
    for (int plane = 0; plane < P; plane += 4) {
      if (P - plane >= 3) {
        /* Lanes of a fourth plane that does not exist read the third again; its words are not used.
         */
        int mine = plane + l / 8 < P ? plane + l / 8 : P - 1;
        apq_u32 four[4];
        apq_ldmatrix4(four, from + (mine * TILE_N + l % 8) * 16);
        APQ_UNROLL
        for (int i = 0; i < 4 && plane + i < P; i++) f->word[wi][plane + i] = four[i];
      } else {
        APQ_UNROLL
        for (int i = plane; i < P; i++)
          f->word[wi][i] = apq_lds32(from + (i * TILE_N + lane->group) * 16 + 4 * lane->quad);
      }
    }
  }
}

APQ_FUNCTION void apq_prepare_fragments(apq_fragments *f) {
  APQ_UNROLL
  for (int i = 0; i < WT * (HALF_WORDS / 4); i++)
    apq_half_codes(f->word[i / (HALF_WORDS / 4)] + i % (HALF_WORDS / 4) * 4,
                   i % (HALF_WORDS / 4) * 4);
}

/* The u8 codes of mma step s of a block: words s and s + 4; zeros in lanes without k in the pass.
 */
APQ_FUNCTION void apq_step_words(const apq_lane *lane, const apq_fragments *f, int s, int pass,
                                 apq_u32 w[WT][2]) {
  APQ_UNROLL
  for (int wi = 0; wi < WT; wi++) {
    apq_take_codes(f->word[wi][s], P > 4 ? f->word[wi][HALF_WORDS - 4 + s] : 0, s, &w[wi][0],
                   &w[wi][1]);
    if (lane->quad * PASSES / 4 != pass) w[wi][0] = w[wi][1] = 0;
  }
}

#if SWAP
/* Activation fragments of mma step `step`: two blocks of 8 columns a load. */
APQ_FUNCTION void apq_load_activations(const apq_lane *lane, int at, int step, apq_u32 a[AT][4]) {
  APQ_UNROLL
  for (int i = 0; i < AT; i++) {
    int from = at + lane->a_at + 16 * i * PITCH + (lane->a_chunk ^ (step / 4 * 8 + step % 4)) * 16;
    apq_ldmatrix4(a[i], 2 * i + 1 < YT ? from + lane->a_second : from);
  }
}
#else
/* Activation fragments of mma step `step`. */
APQ_FUNCTION void apq_load_activations(const apq_lane *lane, int at, int step, apq_u32 a[AT][4]) {
  APQ_UNROLL
  for (int i = 0; i < AT; i++)
    apq_ldmatrix4(a[i], at + lane->a_at + 16 * i * PITCH +
                            (lane->a_chunk ^ (step / 4 * 8 + step % 4)) * 16);
}
#endif

/* The products of one x fragment. */
APQ_FUNCTION void apq_multiply(apq_u32 w[WT][2], apq_u32 a[AT][4], int xi, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int yi = 0; yi < YT; yi++) {
#if SWAP
    apq_u32 x[4] = {w[2 * xi][0], w[2 * xi + 1][0], w[2 * xi][1], w[2 * xi + 1][1]};
    apq_mma_u8(acc[xi][yi], x, a[yi / 2] + 2 * (yi % 2));
#else
    apq_mma_u8(acc[xi][yi], a[xi], w[yi]);
#endif
  }
}

/* Multiplies the stage at `at`, whose first weight words are loaded.  Meanwhile the copies of a
 * later stage into `fill` are started; before the last mma step all warps meet, the stage at `next`
 * is there, and its first weight words are loaded.  A ring of one stage does neither.  Activations
 * are loaded step by step: the compiler orders those loads better than two sets of registers would.
 */
APQ_FUNCTION void apq_compute_stage(const apq_lane *lane, int at, int next, int fill,
                                    int is_loading, apq_fragments *f, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int step = 0; step < MMA_STEPS; step++) {
    apq_u32 w[WT][2], a[AT][4];
    int s = step % 4, pass = step / 4 % PASSES, block = step / (4 * PASSES);
    int is_last = step == MMA_STEPS - 1;
    apq_load_activations(lane, at, 4 * block + s, a);
    if (s == 0 && pass == 0) apq_prepare_fragments(f);
    apq_step_words(lane, f, s, pass, w);
    if (s == 3 && pass == PASSES - 1 && !is_last) apq_load_fragments(lane, at, block + 1, f);
#if STAGES > 1
    if (is_last) {
      apq_turn_stage();
      apq_load_fragments(lane, next, 0, f);
    }
#endif
    APQ_UNROLL
    for (int xi = 0; xi < XT; xi++) {
#if STAGES > 1
      if (!is_last) apq_load_part(lane, fill, step * XT + xi, is_loading);
#endif
      apq_multiply(w, a, xi, acc);
    }
#if GROUP
    if (s == 3 && (block * 128 + (pass + 1) * (128 / PASSES)) % GROUP == 0)
      apq_end_group(lane, f->totals, acc);
#endif
  }
}

APQ_FUNCTION apq_u32 apq_sum(int acc[XT][YT][4], int xi, int yi, int e) {
  return (apq_u32)acc[xi][yi][e];
}
