/* ---- the kernel of the warpgroup families: output, roles ---- */

/* A lane's place: results i of block `block` lie in x row 64 * block + x_row + 8 * (i / 2 % 2) of
 * its warpgroup and y column i / 4 * 8 + y_column + i % 2. */
typedef struct apq_lane {
  int x_first, y_first; /* first row and column of the warpgroup in the tile */
  int x_row, y_column;
  int edges;       /* where this tile's are */
  int other_phase; /* of the second operand's two buffers, a bit each */
} apq_lane;

#if SWAP
#define TILE_AT_M(x, y) (y)
#define TILE_AT_N(x, y) (x)
#else
#define TILE_AT_M(x, y) (x)
#define TILE_AT_N(x, y) (y)
#endif

/* The edges of a lane's two columns from y on. */
APQ_FUNCTION void apq_get_pair(const apq_lane *lane, int y, int is_plain, apq_edge edge[2]) {
  int at = lane->edges + (lane->y_first + y + lane->y_column) * 8;
  apq_u32x4 needed = apq_lds128(at + PAIRS_AT), others = {0, 0, 0, 0};
  if (!is_plain) others = apq_lds128(at + OTHERS_AT);
  edge[0].rest = needed.x, edge[1].rest = needed.y;
  edge[0].scale = apq_bits_float(needed.z), edge[1].scale = apq_bits_float(needed.w);
  edge[0].zero = others.x, edge[1].zero = others.y;
  edge[0].bias = apq_bits_float(others.z), edge[1].bias = apq_bits_float(others.w);
}

APQ_FUNCTION apq_u32 apq_finish(const apq_gemm_args *args, apq_u32 sum, const apq_edge *x,
                                const apq_edge *y, int is_plain) {
  return apq_finish_total(args, sum, SWAP ? y : x, SWAP ? x : y, is_plain);
}

/* Where result e of 16 columns from y on of the tile at (m0, n0) lies, of the block of rows from x
 * on; 0 when that is
 * outside the matrix. */
APQ_FUNCTION int apq_result_at(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                               int x, int y, int e, int *m, int *n) {
  x += lane->x_row + 8 * (e / 2 % 2);
  y += lane->y_first + e / 4 * 8 + lane->y_column + e % 2;
  *m = m0 + TILE_AT_M(x, y);
  *n = n0 + TILE_AT_N(x, y);
  return *m < args->m && *n < args->n;
}

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

/* Whether all rows of y begin at 16-byte addresses. */
APQ_FUNCTION int apq_is_aligned(const apq_gemm_args *args) {
  return (args->ldy * OUT_BYTES) % 16 == 0 && (unsigned long long)args->y % 16 == 0;
}

/* With OVERLAP a share is stored in halves, and the first of these in two parts, so that the slots
 * of its last products are free before all of it is stored. */
#if OVERLAP
#define Y_HALF (Y_SHARE / 2)
#else
#define Y_HALF Y_SHARE
#endif

#if STORE != STORE_DIRECT

/* Results pass through a buffer, a chunk of Y_CHUNK columns of a 64-row block at a time, to leave
 * in rows of neighboring channels.  A warpgroup has two buffers, so that one barrier a chunk is
 * enough. Rows of a buffer are tokens; their 16-byte pieces are permuted by the row's number, so
 * that eight rows of one piece lie in different banks. */
#if SWAP
#define Y_CHUNK     (Y_HALF % 32 ? 16 : 32)
#define BUFFER_ROWS Y_CHUNK
#define ROW_RESULTS 64
#else
#define Y_CHUNK     (Y_HALF % 64 == 0 && OUT_BYTES == 2 ? 64 : Y_HALF % 32 ? 16 : 32)
#define BUFFER_ROWS 64
#define ROW_RESULTS Y_CHUNK
#endif
#define ROW_BYTES    (ROW_RESULTS * OUT_BYTES)
#define PIECES       (ROW_BYTES / 16)
#define BUFFER_BYTES (BUFFER_ROWS * ROW_BYTES)
/* The second buffer holds the floats of 16 columns too. */
#define SECOND_BYTES (BUFFER_BYTES < 4096 ? 4096 : BUFFER_BYTES)
#define BUFFER_AT(warpgroup, chunk)                                                                \
  (BUFFERS_AT + (warpgroup) * (BUFFER_BYTES + SECOND_BYTES) + (chunk) % 2 * BUFFER_BYTES)

APQ_FUNCTION int apq_piece_at(int row, int piece) {
  return row * ROW_BYTES + (piece ^ (row & (PIECES < 8 ? PIECES - 1 : 7))) * 16;
}

#if OUT_BYTES == 2
APQ_FUNCTION void apq_round_pairs(const apq_u32 result[8], apq_u32 pair[4]) {
  APQ_UNROLL
  for (int e = 0; e < 4; e++)
    pair[e] = apq_round_pair(apq_bits_float(result[2 * e]), apq_bits_float(result[2 * e + 1]));
}

/* Where this lane's row is of the four matrices that hold the pairs of columns 16i .. 16i + 15 of a
 * chunk.  Matrix j of the four: rows 8 * (j % 2), columns 8 * (j / 2) of the 16 x 16 results. */
APQ_FUNCTION int apq_pairs_at(int buffer, int i) {
  int l = apq_thread() % 32, matrix = l / 8, warp = apq_thread() / 32 % 4;
#if SWAP
  int row = matrix / 2 * 8 + l % 8, piece = warp * 2 + matrix % 2;
  return buffer + apq_piece_at(row, piece) + i * (16 * ROW_BYTES);
#else
  int row = warp * 16 + matrix % 2 * 8 + l % 8, piece = matrix / 2;
  return (buffer + apq_piece_at(row, piece)) ^ (32 * i);
#endif
}

/* Puts a lane's pairs there. */
APQ_FUNCTION void apq_stage_pairs(int buffer, int i, const apq_u32 pair[4]) {
#if SWAP
  apq_stmatrix4_transposed(apq_pairs_at(buffer, i), pair);
#else
  apq_stmatrix4(apq_pairs_at(buffer, i), pair);
#endif
}
#else
/* Puts a lane's results of 16 columns, the chunk's 16i .. 16i + 15, into the buffer. */
APQ_FUNCTION void apq_stage_results(const apq_lane *lane, int buffer, int i,
                                    const apq_u32 result[8]) {
  APQ_UNROLL
  for (int e = 0; e < 8; e++) {
    int x = lane->x_row + 8 * (e / 2 % 2), y = 16 * i + e / 4 * 8 + lane->y_column + e % 2;
    int row = SWAP ? y : x, column = SWAP ? x : y;
    apq_sts32(buffer + apq_piece_at(row, column / 4) + column % 4 * 4, result[e]);
  }
}
#endif

/* Writes one piece where its channels n .. may end at the matrix, or lie off 16-byte addresses. */
APQ_FUNCTION void apq_store_piece(const apq_gemm_args *args, apq_u8 *to, int n, apq_u32x4 piece) {
  apq_u32 word[4] = {piece.x, piece.y, piece.z, piece.w};
  APQ_UNROLL
  for (int e = 0; e < 16 / OUT_BYTES; e++) {
    if (n + e >= args->n) return;
#if OUT_BYTES == 2
    apq_stg16(to + 2 * e, (apq_u16)(word[e / 2] >> (e % 2 * 16)));
#else
    apq_stg32(to + 4 * e, word[e]);
#endif
  }
}

/* Writes a full buffer: tokens from m, channels from n on.  `is_whole` says that all of them exist
 * and all pieces are aligned. */
APQ_FUNCTION void apq_store_buffer(const apq_gemm_args *args, int buffer, int m, int n,
                                   int is_whole) {
  int t = apq_thread() % 128, first = t / PIECES, column = n + t % PIECES * (16 / OUT_BYTES);
  long long pitch = args->ldy * OUT_BYTES;
  apq_u8 *to = (apq_u8 *)args->y + (m + first) * pitch + (long long)column * OUT_BYTES;
  int from = buffer + apq_piece_at(first, t % PIECES);
  APQ_UNROLL
  for (int row = 0; row < BUFFER_ROWS; row += 128 / PIECES) {
    if (!is_whole && m + first + row >= args->m) return;
    apq_u32x4 piece = apq_lds128(from + row * ROW_BYTES);
    if (is_whole)
      apq_stg128(to + row * pitch, piece);
    else
      apq_store_piece(args, to + row * pitch, column, piece);
  }
}

#if STORE == STORE_TENSOR
/* Whether y may be written by tensor copies, which write whole 16 bytes at the end of a row too. */
APQ_FUNCTION int apq_can_copy(const apq_gemm_args *args) {
  return apq_is_aligned(args) && args->n * OUT_BYTES % 16 == 0;
}

/* Rows of a buffer that one copy takes, and the threads that fill them: with SWAP all warps have
 * channels of every token, else each has tokens of its own and need not wait for the others. */
#if SWAP
#define COPY_ROWS           BUFFER_ROWS
#define COPY_THREADS        128
#define apq_meet_for_copy() apq_named_barrier(apq_thread() / 128, 128)
#else
#define COPY_ROWS           16
#define COPY_THREADS        32
#define apq_meet_for_copy() apq_syncwarp()
#endif

/* Those rows leave, to tokens from m and channels from n on. */
APQ_FUNCTION void apq_copy_buffer(const apq_tma_args *args, int buffer, int m, int n) {
  int is_first = apq_thread() % COPY_THREADS == 0;
  int row = apq_thread() % 128 / COPY_THREADS * COPY_ROWS;
  apq_fence_async();
  /* The copy of the other buffer has read it before the next chunk goes there. */
  if (is_first) apq_bulk_wait_read(0);
  apq_meet_for_copy();
  if (!is_first) return;
  apq_tma_store(&args->y, buffer + row * ROW_BYTES, n * OUT_BYTES, m + row, 0);
  apq_bulk_commit();
}
#endif

/* A full buffer leaves; the next chunk goes to the other one.  All four warps. */
APQ_FUNCTION void apq_pass_buffer(const apq_tma_args *args, int chunk, int m, int n, int is_whole) {
  int warpgroup = apq_thread() / 128 - 1, buffer = BUFFER_AT(warpgroup, chunk);
#if STORE == STORE_TENSOR
  if (apq_can_copy(&args->gemm)) {
    apq_copy_buffer(args, buffer, m, n);
    return;
  }
#endif
  apq_named_barrier(1 + warpgroup, 128);
  apq_store_buffer(&args->gemm, buffer, m, n, is_whole);
}

/* Both buffers are free again. */
APQ_FUNCTION void apq_free_buffers(const apq_gemm_args *args) {
#if STORE == STORE_TENSOR
  if (apq_thread() % COPY_THREADS == 0) apq_bulk_wait_read(0);
  if (apq_can_copy(args)) {
    apq_meet_for_copy();
    return;
  }
#endif
  apq_named_barrier(apq_thread() / 128, 128);
  (void)args;
}
#else
#define Y_CHUNK 16
#endif

#define CHUNKS (Y_SHARE / Y_CHUNK)

#if SPLIT_K > 1
/* Leaves this unit's sums in device memory.  The warpgroup that takes the last ticket of its share
 * of the tile adds up all of them, into acc's first registers, and returns 1.  Sums are integers,
 * so their order is free; a thread's own order of them makes all accesses neighbors. */
#define SHARE (X_BLOCKS * (Y_SHARE / 2) * 128)
APQ_FUNCTION int apq_share_sums(const apq_gemm_args *args, const apq_work *work, int sharer,
                                int warpgroup, int acc[ACCUMULATORS][SUMS],
                                apq_u32 sum[X_BLOCKS][Y_SHARE / 2]) {
  int t = apq_thread() % 128, share = work->tile * SHARERS + sharer;
  int *all = args->partial + (long long)share * SPLIT_K * SHARE + t;
  APQ_UNROLL
  for (int block = 0; block < X_BLOCKS; block++) {
    APQ_UNROLL
    for (int i = 0; i < Y_SHARE / 2; i++) {
      sum[block][i] = apq_sum(acc, block, i);
      apq_stg32(all + work->split * SHARE + (block * (Y_SHARE / 2) + i) * 128, sum[block][i]);
    }
  }
  /* As in a whole block: one thread speaks for the warpgroup between two barriers. */
  apq_named_barrier(1 + warpgroup, 128);
  if (t == 0) {
    apq_threadfence();
    apq_u32 ticket = apq_atomic_increment(args->tickets + share);
    apq_threadfence();
    apq_sts32(TICKET_AT(warpgroup), ticket);
  }
  apq_named_barrier(1 + warpgroup, 128);
  int is_last = apq_lds32(TICKET_AT(warpgroup)) == SPLIT_K - 1;
  if (!is_last) return 0;
  APQ_NO_UNROLL
  for (int other = 0; other < SPLIT_K; other++) {
    if (other == work->split) continue;
    APQ_UNROLL
    for (int block = 0; block < X_BLOCKS; block++) {
      APQ_UNROLL
      for (int i = 0; i < Y_SHARE / 2; i++)
        sum[block][i] +=
            apq_ldg32_volatile(all + other * SHARE + (block * (Y_SHARE / 2) + i) * 128);
    }
  }
  return 1;
}
#define SUM(block, i)     sum[block][i]
#define SUMS_OF_SHARE     sum
#define apq_sums_of_share apq_u32 sum[X_BLOCKS][Y_SHARE / 2]
#else
#define SUM(block, i)     apq_sum(acc, block, i)
#define SUMS_OF_SHARE     acc
#define apq_sums_of_share int acc[ACCUMULATORS][SUMS]
#endif

#if STORE != STORE_DIRECT
/* Puts a lane's results of 16 columns, the chunk's 16i .. 16i + 15, into the buffer. */
APQ_FUNCTION void apq_stage_sixteen(const apq_lane *lane, int buffer, int i,
                                    const apq_u32 result[8]) {
#if OUT_BYTES == 2
  apq_u32 pair[4];
  apq_round_pairs(result, pair);
  apq_stage_pairs(buffer, i, pair);
  (void)lane;
#else
  apq_stage_results(lane, buffer, i, result);
#endif
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

/* A lane's results, before their last rounding, of 16 columns from y on of a 64-row block. */
APQ_FUNCTION void apq_get_results(const apq_gemm_args *args, const apq_lane *lane, int block, int y,
                                  const apq_edge *upper, const apq_edge *lower, int is_plain,
                                  apq_sums_of_share, apq_u32 result[8]) {
  APQ_UNROLL
  for (int e = 0; e < 8; e += 4) {
    int column = y + 2 * e, r = column / 2;
    apq_edge edge[2];
    apq_get_pair(lane, column, is_plain, edge);
    result[e] = apq_finish(args, SUM(block, r), upper, &edge[0], is_plain);
    result[e + 1] = apq_finish(args, SUM(block, r + 1), upper, &edge[1], is_plain);
    result[e + 2] = apq_finish(args, SUM(block, r + 2), lower, &edge[0], is_plain);
    result[e + 3] = apq_finish(args, SUM(block, r + 3), lower, &edge[1], is_plain);
  }
}

/* Finishes and stores columns y_first .. y_end - 1, whole chunks, of a warpgroup's share of the
 * tile at (m0, n0).  `is_fast` is a constant (apq_is_fast), but for the results that something
 * follows. */
APQ_FUNCTION void apq_finish_columns(const apq_tma_args *tma, int m0, int n0, apq_lane *lane,
                                     int warpgroup, int y_first, int y_end, int is_fast,
                                     apq_sums_of_share) {
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
        apq_get_results(args, lane, block, y, &upper, &lower, is_plain, SUMS_OF_SHARE, result);
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
      apq_get_results(args, lane, block, y, &upper, &lower, is_plain, SUMS_OF_SHARE, result);
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

/* Whether the tile lies inside the matrix, in whole 16-byte pieces; 2 when it is plain too.  Where
 * something follows, 1 when that is read in whole words. */
APQ_FUNCTION int apq_is_fast(const apq_gemm_args *args, const apq_work *work) {
  int is_whole =
      apq_is_aligned(args) && work->m0 + TILE_M <= args->m && work->n0 + TILE_N <= args->n;
#if OTHER_COPIES
  return is_whole && apq_can_copy(args) && args->ld_other * OUT_BYTES % 16 == 0 &&
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
                                    apq_sums_of_share) {
  lane->edges = EDGES_AT + tile->set.slot * EDGE_SET_BYTES;
#if POST
  apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, tile->is_fast,
                     SUMS_OF_SHARE);
#else
  if (tile->is_fast == 2)
    apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, 2, SUMS_OF_SHARE);
  else if (tile->is_fast)
    apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, 1, SUMS_OF_SHARE);
  else
    apq_finish_columns(args, tile->m0, tile->n0, lane, warpgroup, y_first, y_end, 0, SUMS_OF_SHARE);
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
#if OTHER_COPIES && SPLIT_K == 1
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
#if SPLIT_K > 1
    apq_u32 sum[X_BLOCKS][Y_SHARE / 2];
    int is_last = apq_share_sums(&args->gemm, &work, sharer, warpgroup, acc, sum);
#if OTHER_COPIES
    if (is_last) apq_ask_others(args, &lane, work.m0, work.n0, tile.is_fast);
#endif
    if (is_last) apq_store_columns(args, &tile, &lane, warpgroup, 0, Y_SHARE, sum);
#else
    apq_store_columns(args, &tile, &lane, warpgroup, 0, Y_SHARE, acc);
#endif
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
  /* Only what precedes runs under the launch before. */
  apq_grid_wait();
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
    if (apq_thread() == 0) apq_feed(&args, &tiles);
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
