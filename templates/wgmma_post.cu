/* ---- the warpgroup families: what follows scales and bias ---- */

#if POST && STORE == STORE_DIRECT
/* What follows the scales and the bias, for those of a lane's results that exist. */
APQ_FUNCTION void apq_post_results(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                                   int x, int y, apq_u32 result[8]) {
  APQ_UNROLL
  for (int e = 0; e < 8; e++) {
    int m, n;
    if (apq_result_at(args, lane, m0, n0, x, y, e, &m, &n))
      result[e] = apq_post_one(args, m, n, result[e]);
  }
}
#endif

#if POST && STORE != STORE_DIRECT
/* What follows scales, bias and activation. */
APQ_FUNCTION void apq_apply_other(const apq_gemm_args *args, const float other[8],
                                  apq_u32 result[8]) {
  APQ_UNROLL
  for (int e = 0; e < 8; e++) {
    float v = apq_bits_float(result[e]);
    result[e] = apq_float_bits(args->combine == 1 ? apq_add(v, other[e]) : apq_mul(v, other[e]));
  }
}

/* The second operand of 16 columns from y on in a tile that is not whole; 0 outside the matrix. */
APQ_FUNCTION void apq_ragged_others(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                                    int x, int y, float other[8]) {
  APQ_UNROLL
  for (int e = 0; e < 8; e++) {
    int m, n;
    other[e] = apq_result_at(args, lane, m0, n0, x, y, e, &m, &n) ? apq_other(args, m, n) : 0.0f;
  }
}

#if OTHER_COPIES
/* Asks for what goes with a chunk of a warpgroup's share, those rows of it that copy together; the
 * buffer is free. */
APQ_FUNCTION void apq_ask_other(const apq_tma_args *args, const apq_lane *lane, int m0, int n0,
                                int chunk) {
  int t = apq_thread() - 128, row = t % 128 / COPY_THREADS * COPY_ROWS, buffer = chunk % 2;
  int x = lane->x_first + chunk / CHUNKS * 64, y = lane->y_first + chunk % CHUNKS * Y_CHUNK;
  int full = OTHER_FULL(t / COPY_THREADS, buffer);
  apq_mbarrier_expect(full, COPY_ROWS * ROW_BYTES);
  apq_tma_load(BUFFER_AT(t / 128, buffer) + row * ROW_BYTES, &args->other, full,
               (n0 + TILE_AT_N(x, y)) * OUT_BYTES, m0 + TILE_AT_M(x, y) + row, 0);
}

/* For the first two chunks of a tile, once the last results of the tile before have left. */
APQ_FUNCTION void apq_ask_others(const apq_tma_args *args, const apq_lane *lane, int m0, int n0,
                                 int is_whole) {
  if (!is_whole || !args->gemm.combine || apq_thread() % COPY_THREADS) return;
  apq_bulk_wait_read(0);
  apq_ask_other(args, lane, m0, n0, 0);
  if (X_BLOCKS * CHUNKS > 1) apq_ask_other(args, lane, m0, n0, 1);
}

/* For the chunk after `chunk`, which is about to leave; the one before it has, or does soon. */
APQ_FUNCTION void apq_ask_next_other(const apq_tma_args *args, const apq_lane *lane, int m0, int n0,
                                     int chunk) {
  if (chunk < 1 || chunk + 1 >= X_BLOCKS * CHUNKS || apq_thread() % COPY_THREADS) return;
  apq_bulk_wait_read(0);
  apq_ask_other(args, lane, m0, n0, chunk + 1);
}

/* What goes with columns 16i .. 16i + 15 of a chunk, from the places that apq_stage_pairs fills. */
APQ_FUNCTION void apq_get_others(apq_lane *lane, int chunk, int i, float other[8]) {
  int t = apq_thread() - 128, buffer = chunk % 2;
  apq_u32 pair[4];
  if (i == 0) {
    apq_mbarrier_wait(OTHER_FULL(t / COPY_THREADS, buffer), lane->other_phase >> buffer & 1);
    lane->other_phase ^= 1 << buffer;
  }
  int at = apq_pairs_at(BUFFER_AT(t / 128, buffer), i);
#if SWAP
  apq_ldmatrix4_transposed(pair, at);
#else
  apq_ldmatrix4(pair, at);
#endif
  APQ_UNROLL
  for (int e = 0; e < 8; e++) other[e] = apq_half_float((apq_u16)(pair[e / 2] >> e % 2 * 16));
}
#else
/* The second operand of a lane's results of 16 columns of a whole tile, as it is in device memory:
 * a word for two neighbors, or for each.  It is asked for OTHERS_AHEAD times 16 columns before it
 * is needed, as far as registers go. */
#if OUT_BYTES == 4 || SWAP
#define OTHER_STEP   1
#define OTHERS_AHEAD 2
#else
#define OTHER_STEP   2
#define OTHERS_AHEAD 6
#endif
typedef struct apq_others {
  apq_u32 word[8 / OTHER_STEP];
} apq_others;

APQ_FUNCTION void apq_load_others(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                                  int x, int y, int is_whole, apq_others *others) {
  if (!args->combine || !is_whole) return;
  int first_m, first_n;
  (void)apq_result_at(args, lane, m0, n0, x, y, 0, &first_m, &first_n);
  const apq_u8 *first =
      (const apq_u8 *)args->other + (first_m * args->ld_other + first_n) * OUT_BYTES;
  APQ_UNROLL
  for (int e = 0; e < 8; e += OTHER_STEP) {
    int right = e / 2 % 2 * 8, down = e / 4 * 8 + e % 2;
    const apq_u8 *at =
        first + (TILE_AT_M(right, down) * args->ld_other + TILE_AT_N(right, down)) * OUT_BYTES;
#if OUT_BYTES == 4 || !SWAP
    others->word[e / OTHER_STEP] = apq_load_word(at);
#else
    others->word[e / OTHER_STEP] = apq_load_half(at);
#endif
  }
}

APQ_FUNCTION void apq_combine(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                              int x, int y, int is_whole, const apq_others *others,
                              apq_u32 result[8]) {
  float other[8];
  if (!args->combine) return;
  if (is_whole) {
    APQ_UNROLL
    for (int e = 0; e < 8; e++) {
#if OUT_BYTES == 4
      other[e] = apq_bits_float(others->word[e]);
#else
      other[e] = apq_half_float((apq_u16)(others->word[e / OTHER_STEP] >> e % OTHER_STEP * 16));
#endif
    }
  } else {
    apq_ragged_others(args, lane, m0, n0, x, y, other);
  }
  apq_apply_other(args, other, result);
}

/* Results that something follows.  A lane puts those of PART_COLUMNS columns, as floats, into words
 * of its own in the second buffer, so that one loop, and not code unrolled over all of them (10 of
 * 54 us slower with a second operand alone), does what follows; they leave through the first
 * buffer. */
#define PART_COLUMNS (Y_CHUNK * OUT_BYTES / 4 < 16 ? 16 : Y_CHUNK * OUT_BYTES / 4)
#define PART_GROUPS  (PART_COLUMNS / 16)
#define FLOATS_AT(warpgroup, group)                                                                \
  (BUFFER_AT(warpgroup, 1) + (group)*4096 + apq_thread() % 128 * 16)

APQ_FUNCTION void apq_put_floats(int warpgroup, int group, const apq_u32 result[8]) {
  apq_u32x4 low = {result[0], result[1], result[2], result[3]};
  apq_u32x4 high = {result[4], result[5], result[6], result[7]};
  apq_sts128(FLOATS_AT(warpgroup, group), low);
  apq_sts128(FLOATS_AT(warpgroup, group) + 2048, high);
}

/* Finishes the results of PART_COLUMNS columns from y on and puts them into the first buffer. */
APQ_FUNCTION void apq_post_part(const apq_gemm_args *args, const apq_lane *lane, int warpgroup,
                                int m0, int n0, int x, int y, int is_whole,
                                const apq_others others[PART_GROUPS]) {
  APQ_UNROLL
  for (int group = 0; group < PART_GROUPS; group++) {
    apq_u32x4 low = apq_lds128(FLOATS_AT(warpgroup, group)),
              high = apq_lds128(FLOATS_AT(warpgroup, group) + 2048);
    apq_u32 result[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#if POST == 2
    float v[8];
    APQ_UNROLL
    for (int e = 0; e < 8; e++) v[e] = apq_bits_float(result[e]);
    if (args->gate.kind) apq_activate_eight(&args->gate, v);
    APQ_UNROLL
    for (int e = 0; e < 8; e++) result[e] = apq_float_bits(v[e]);
#endif
    apq_combine(args, lane, m0, n0, x, y + 16 * group, is_whole, &others[group], result);
    apq_stage_sixteen(lane, BUFFER_AT(warpgroup, 0), y % Y_CHUNK / 16 + group, result);
  }
}
#endif
#endif
