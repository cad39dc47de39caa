/* Family imma: weight planes unpacked to u8 in registers, products on mma.sync u8, m16n8k32.
 *
 * @family imma product bytes
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
 * @knob split_k   = 1 : 1 2 4 8 16 : blocks that share one output tile
 * @knob store     = direct : direct staged : results from the fragments, or through shared memory
 *
 * Blocks of 128 k.  Lane t of a fragment row owns word t of the 16 bytes of each weight plane, that is 32 k; transposing bits gives eight
 * words of four u8 codes, the k = 32t + 8j + b of word b, byte j.  Activations are stored as bytes in that same order
 * (apq__byte_position), so a lane's eight words are 32 consecutive bytes, and two words of each operand make one mma. */

#define WARPS   (WARPS_M * WARPS_N)
#define THREADS (32 * WARPS)

#if SWAP
#define X_TILE  TILE_N
#define X_WARPS WARPS_N
#define Y_TILE  TILE_M
#define Y_WARPS WARPS_M
#else
#define X_TILE  TILE_M
#define X_WARPS WARPS_M
#define Y_TILE  TILE_N
#define Y_WARPS WARPS_N
#endif

#define XT (X_TILE / X_WARPS / 16)
#define YT (Y_TILE / Y_WARPS / 8)
#define XF XT
#define YF YT

#define BLOCKS (TILE_K / 128)
#if LAYOUT == LAYOUT_PADDED
#define PITCH (TILE_K + 16)
#else
#define PITCH TILE_K
#endif
/* A stage: activation rows [TILE_M][PITCH], then weights [block][plane][TILE_N][16 bytes], whose word reads of eight rows are 128 consecutive
 * bytes. */
#define WEIGHTS_AT  (TILE_M * PITCH)
#define STAGE_BYTES (WEIGHTS_AT + BLOCKS * P * TILE_N * 16)

typedef struct apq_lane {
  int group, quad;      /* lane / 4, lane % 4 */
  int x_first, y_first; /* first output of the warp in the tile */
  int m0, n0;
  int next_block; /* of 128 k, to be loaded next */
  int k_steps;
} apq_lane;

APQ_FUNCTION void apq_lane_init(apq_lane *lane, const apq_gemm_args *args, int m0, int n0) {
  int warp = apq_thread() / 32;
  lane->group = apq_thread() % 32 / 4;
  lane->quad = apq_thread() % 4;
  lane->x_first = warp % X_WARPS * (X_TILE / X_WARPS);
  lane->y_first = warp / X_WARPS * (Y_TILE / Y_WARPS);
  lane->m0 = m0;
  lane->n0 = n0;
  /* Whole stages of k are dealt to the splits as evenly as they go. */
  int stages = (args->row_bytes / 16 + BLOCKS - 1) / BLOCKS;
  int first = (int)((long long)stages * apq_block_y() / SPLIT_K);
  int end = (int)((long long)stages * (apq_block_y() + 1) / SPLIT_K);
  lane->next_block = first * BLOCKS;
  lane->k_steps = end - first;
}

APQ_FUNCTION int apq_steps(const apq_lane *lane) { return lane->k_steps; }

/* Where 16-byte chunk `chunk` of activation row `row` is.  A quarter of a warp reads every other chunk of two neighboring rows; `xor` spreads
 * them over all banks. */
APQ_FUNCTION int apq_chunk_at(int row, int chunk) {
#if LAYOUT == LAYOUT_XOR
  chunk ^= row & 7;
#endif
  return row * PITCH + chunk * 16;
}

APQ_FUNCTION void apq_load_stage(const apq_gemm_args *args, apq_lane *lane, int at) {
  /* Rows past the matrix and blocks past k are zeros. */
  int k_blocks = args->row_bytes / 16;
  APQ_UNROLL
  for (int i = 0; i < TILE_M * BLOCKS * 8; i += THREADS) {
    int index = i + apq_thread();
    int row = index / (BLOCKS * 8), chunk = index % (BLOCKS * 8);
    if (TILE_M * BLOCKS * 8 % THREADS == 0 || index < TILE_M * BLOCKS * 8) {
      int m = lane->m0 + row, k_chunk = lane->next_block * 8 + chunk;
      int valid = m < args->m && k_chunk < k_blocks * 8;
      long long offset = (long long)m * (k_blocks * 128) + k_chunk * 16;
      apq_cp_async16(at + apq_chunk_at(row, chunk), (const apq_u8 *)args->a + (valid ? offset : 0),
                     valid ? 16 : 0);
    }
  }
  APQ_UNROLL
  for (int i = 0; i < P * TILE_N * BLOCKS; i += THREADS) {
    int index = i + apq_thread();
    int block = index % BLOCKS, row = index / BLOCKS % TILE_N, plane = index / BLOCKS / TILE_N;
    if (P * TILE_N * BLOCKS % THREADS == 0 || index < P * TILE_N * BLOCKS) {
      int n = lane->n0 + row, k_block = lane->next_block + block;
      int valid = n < args->n && k_block < k_blocks;
      long long offset = ((long long)plane * args->n + n) * args->row_bytes + k_block * 16;
      apq_cp_async16(at + WEIGHTS_AT + ((block * P + plane) * TILE_N + row) * 16,
                     (const apq_u8 *)args->w + (valid ? offset : 0), valid ? 16 : 0);
    }
  }
  lane->next_block += BLOCKS;
}

APQ_FUNCTION void apq_before_stage(apq_lane *lane, int acc[XT][YT][4]) {
  (void)lane;
  (void)acc;
}

/* One exchange of an 8x8 bit transpose: `low` keeps the bits of `mask` and gets those of `high`, shifted up, in the places between;
 * `high` the rest. */
APQ_FUNCTION void apq_exchange(apq_u32 *low, apq_u32 *high, int shift, apq_u32 mask) {
  apq_u32 kept = (*low & mask) | ((*high & mask) << shift);
  *high = ((*low >> shift) & mask) | (*high & ~mask);
  *low = kept;
}

/* Eight words of four codes from the words of the planes: bits of byte j of the planes become the bytes j of words 0..7. Absent planes are
 * constant zeros, which the compiler removes. */
APQ_FUNCTION void apq_unpack(apq_u32 word[8]) {
  APQ_UNROLL
  for (int i = 0; i < 8; i += 2) apq_exchange(&word[i], &word[i + 1], 1, 0x55555555u);
  APQ_UNROLL
  for (int i = 0; i < 8; i += 4) {
    apq_exchange(&word[i], &word[i + 2], 2, 0x33333333u);
    apq_exchange(&word[i + 1], &word[i + 3], 2, 0x33333333u);
  }
  APQ_UNROLL
  for (int i = 0; i < 4; i++) apq_exchange(&word[i], &word[i + 4], 4, 0x0f0f0f0fu);
}

/* The lane's eight words of weight row `row`, and of activation row `row`, of one block of 128 k. */
APQ_FUNCTION void apq_weight_words(int at, int block, int row, int quad, apq_u32 word[8]) {
  APQ_UNROLL
  for (int plane = 0; plane < 8; plane++)
    word[plane] = plane < P ? apq_lds32(at + WEIGHTS_AT + ((block * P + plane) * TILE_N + row) * 16 + 4 * quad) : 0;
  apq_unpack(word);
}

APQ_FUNCTION void apq_activation_words(int at, int block, int row, int quad, apq_u32 word[8]) {
  apq_u32x4 low = apq_lds128(at + apq_chunk_at(row, 8 * block + 2 * quad));
  apq_u32x4 high = apq_lds128(at + apq_chunk_at(row, 8 * block + 2 * quad + 1));
  word[0] = low.x, word[1] = low.y, word[2] = low.z, word[3] = low.w;
  word[4] = high.x, word[5] = high.y, word[6] = high.z, word[7] = high.w;
}

#if SWAP
#define apq_x_words apq_weight_words
#define apq_y_words apq_activation_words
#else
#define apq_x_words apq_activation_words
#define apq_y_words apq_weight_words
#endif

APQ_FUNCTION void apq_compute_stage(const apq_lane *lane, int at, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int block = 0; block < BLOCKS; block++) {
    apq_u32 top[XT][8], bottom[XT][8];
    APQ_UNROLL
    for (int xi = 0; xi < XT; xi++) {
      int row = lane->x_first + 16 * xi + lane->group;
      apq_x_words(at, block, row, lane->quad, top[xi]);
      apq_x_words(at, block, row + 8, lane->quad, bottom[xi]);
    }
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      apq_u32 word[8];
      apq_y_words(at, block, lane->y_first + 8 * yi + lane->group, lane->quad, word);
      APQ_UNROLL
      for (int step = 0; step < 4; step++) {
        apq_u32 b[2] = {word[2 * step], word[2 * step + 1]};
        APQ_UNROLL
        for (int xi = 0; xi < XT; xi++) {
          apq_u32 a[4] = {top[xi][2 * step], bottom[xi][2 * step], top[xi][2 * step + 1],
                          bottom[xi][2 * step + 1]};
          apq_mma_u8(acc[xi][yi], a, b);
        }
      }
    }
  }
}

APQ_FUNCTION apq_u32 apq_sum(int acc[XT][YT][4], int xi, int yi, int e) {
  return (apq_u32)acc[xi][yi][e];
}
