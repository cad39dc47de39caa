/* ---- the warpgroup families: where results are, and how they leave ---- */

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
 * on; 0 when that is outside the matrix. */
APQ_FUNCTION int apq_result_at(const apq_gemm_args *args, const apq_lane *lane, int m0, int n0,
                               int x, int y, int e, int *m, int *n) {
  x += lane->x_row + 8 * (e / 2 % 2);
  y += lane->y_first + e / 4 * 8 + lane->y_column + e % 2;
  *m = m0 + TILE_AT_M(x, y);
  *n = n0 + TILE_AT_N(x, y);
  return *m < args->m && *n < args->n;
}

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
  int is_inside = is_whole || (apq_is_aligned(args) && column + 16 / OUT_BYTES <= args->n);
  APQ_UNROLL
  for (int row = 0; row < BUFFER_ROWS; row += 128 / PIECES) {
    if (!is_whole && m + first + row >= args->m) return;
    apq_u32x4 piece = apq_lds128(from + row * ROW_BYTES);
    if (is_inside)
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
