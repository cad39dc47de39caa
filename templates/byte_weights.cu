#if IS_UNPACKED
/* ---- weights unpacked once for all warpgroups: what the warps do that unpack ----
 * They load the planes from device memory, transpose bits in registers and store codes into the
 * weights' ring: rows of 128 bytes in the order of the packed activations, their 16-byte pieces
 * permuted by the row's number as tensor copies with a swizzle of 128 bytes do.
 *
 * A stage is made in shares of 32 rows' blocks of 128 k, one a lane.  Lanes side by side take the
 * blocks of one row, so that they load whole sectors, and TURN_OF a block exchanges pieces such
 * that eight of them still store to different banks.  Warps take shares in turn, and load
 * LOOKAHEAD of their own shares before they store. */
#define SHARE_ROWS (32 / BLOCKS)
#define SHARES     (TILE_N / SHARE_ROWS)
#if UNPACK == UNPACK_GROUP && HAS_MANY_SUMS
#define LOOKAHEAD (P > 4 ? 1 : 2)
#else
#define LOOKAHEAD (P > 4 ? 2 : 4)
#endif

/* The share that a warp loads next: of a stage of one of the block's units. */
typedef struct apq_cursor {
  int unit, stage, end, n0, share;
} apq_cursor;

APQ_FUNCTION void apq_begin_unit(const apq_tiles *tiles, apq_cursor *at) {
  if (at->unit >= tiles->units) return;
  apq_work work = apq_work_at(tiles, at->unit);
  at->stage = work.first;
  at->end = work.end;
  at->n0 = work.n0;
}

/* Word t of a row's 16 bytes of plane i is word[i][t]. */
typedef struct apq_row_words {
  apq_u32 word[P][4];
} apq_row_words;

/* Loads the lane's block of a share.  Past the matrix the last row or block again: of such rows
 * nothing is stored, and such blocks meet activations of zero. */
APQ_FUNCTION void apq_load_share(const apq_gemm_args *args, const apq_cursor *at,
                                 apq_row_words *row) {
  int l = apq_thread() % 32, blocks = args->row_bytes / 16;
  int n = at->n0 + at->share * SHARE_ROWS + l / BLOCKS, block = at->stage * BLOCKS + l % BLOCKS;
  if (n >= args->n) n = args->n - 1;
  if (block >= blocks) block = blocks - 1;
  const apq_u8 *from = (const apq_u8 *)args->w + ((long long)n * blocks + block) * 16;
  long long plane_bytes = (long long)args->n * args->row_bytes;
  APQ_UNROLL
  for (int plane = 0; plane < P; plane++) {
    apq_u32x4 four = apq_ldg128_stream(from);
    from += plane_bytes;
    row->word[plane][0] = four.x;
    row->word[plane][1] = four.y;
    row->word[plane][2] = four.z;
    row->word[plane][3] = four.w;
  }
}

/* Loads the warp's next share and goes on to the one behind; 0 where none is left. */
APQ_FUNCTION int apq_load_ahead(const apq_gemm_args *args, const apq_tiles *tiles, apq_cursor *at,
                                apq_row_words *row) {
  if (at->unit >= tiles->units) return 0;
  apq_load_share(args, at, row);
  at->share += UNPACK_WARPS;
  if (at->share < SHARES) return 1;
  at->share -= SHARES;
  at->stage++;
  if (at->stage < at->end) return 1;
  at->unit += UNIT_STEP;
  apq_begin_unit(tiles, at);
  return 1;
}

/* The row's codes: piece[b][t] has k = 32t + 8j + b in byte j. */
APQ_FUNCTION void apq_row_codes(const apq_row_words *row, apq_u32 piece[8][4]) {
  APQ_UNROLL
  for (int t = 0; t < 4; t++) {
    apq_u32 word[8];
    APQ_UNROLL
    for (int i = 0; i < 8; i++) word[i] = i < P ? row->word[i < P ? i : 0][t] : 0;
    apq_transpose(word);
    APQ_UNROLL
    for (int b = 0; b < 8; b++) piece[b][t] = word[b];
  }
}

APQ_FUNCTION void apq_store_share(int slot, int share, apq_u32 piece[8][4]) {
  int l = apq_thread() % 32, row = share * SHARE_ROWS + l / BLOCKS, block = l % BLOCKS;
  int at = W_AT + slot * W_BYTES + (block * TILE_N + row) * 128;
  at += (2 * TURN_OF(block) ^ (row & 7)) * 16;
  APQ_UNROLL
  for (int b = 0; b < 8; b++) {
    apq_u32x4 four = {piece[b][0], piece[b][1], piece[b][2], piece[b][3]};
    apq_sts128(at ^ (b * 16), four);
  }
}

/* The shares of one of UNPACK_WARPS of all that the block needs. */
APQ_FUNCTION void apq_feed_weights(const apq_gemm_args *args, const apq_tiles *tiles) {
  int warp = apq_thread() / 32 - UNPACK_FIRST;
  apq_cursor ahead = {FIRST_UNIT, 0, 0, 0, warp};
  apq_begin_unit(tiles, &ahead);
  apq_place at = {0, 0};
  apq_row_words row[LOOKAHEAD];
  int share = warp, is_first = 1, loaded = 0;
  APQ_UNROLL
  for (int i = 0; i < LOOKAHEAD; i++) loaded += apq_load_ahead(args, tiles, &ahead, &row[i]);
  APQ_NO_UNROLL
  while (loaded > 0) {
    APQ_UNROLL
    for (int i = 0; i < LOOKAHEAD; i++) {
      if (loaded == 0) continue;
      apq_u32 piece[8][4];
      apq_row_codes(&row[i], piece);
      if (is_first) apq_mbarrier_wait(W_FREE(at.slot), at.phase ^ 1);
      apq_store_share(at.slot, share, piece);
      loaded += apq_load_ahead(args, tiles, &ahead, &row[i]) - 1;
      share += UNPACK_WARPS;
      is_first = share >= SHARES;
      if (is_first) {
        share -= SHARES;
        apq_fence_async();
        apq_arrive_warp(W_FULL(at.slot));
        at = apq_next_place(at, W_STAGES);
      }
    }
  }
}
#endif
