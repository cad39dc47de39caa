#if UNPACK == UNPACK_SHARED
/* ---- weights unpacked once for all warpgroups: what the warps do that unpack ----
 * They load the planes from device memory, transpose bits in registers and store codes into the
 * weights' ring: rows of 128 bytes in the order of the packed activations, their 16-byte pieces
 * permuted by the row's number as tensor copies with a swizzle of 128 bytes do, whatever the
 * swizzle of the activations: in core matrices the pieces of four rows' blocks would meet in the
 * same banks.
 *
 * A stage is made in shares of 32 rows' blocks of 128 k, one a lane.  Lanes side by side take the
 * blocks of one row, so that they load whole sectors, and TURN_OF a block exchanges pieces such
 * that eight of them still store to different banks.  Warps take shares in turn.
 * BATCH of a warp's shares are loaded together: the compiler gives all loads one scoreboard, so
 * that a warp can wait only for all of them. */
#define SHARE_ROWS (32 / BLOCKS)
#define SHARES     (TILE_N / SHARE_ROWS)
#define BATCH      (P > 7 ? 3 : P > 4 ? 4 : 6)

/* A stage of a unit and a warp's share of it. */
typedef struct apq_share {
  int stage, share;
} apq_share;

/* The same warp's next one. */
APQ_FUNCTION apq_share apq_next_share(apq_share at) {
  at.share += UNPACK_WARPS;
  if (at.share >= SHARES) {
    at.share -= SHARES;
    at.stage++;
  }
  return at;
}

/* Word t of a row's 16 bytes of plane i is word[i][t]. */
typedef struct apq_row_words {
  apq_u32 word[P][4];
} apq_row_words;

/* What a lane needs to load and to store, kept in registers. */
typedef struct apq_unpacker {
  const apq_u8 *w;
  long long plane_bytes;
  int last_row, blocks; /* of the matrix; of 128 k */
  int row, block;       /* of this lane in a share */
  int to;               /* where its first piece goes, in the first slot and share */
} apq_unpacker;

APQ_FUNCTION apq_unpacker apq_unpacker_of(const apq_gemm_args *args) {
  int l = apq_thread() % 32;
  apq_unpacker u = {(const apq_u8 *)args->w,
                    (long long)args->n * args->row_bytes,
                    args->n - 1,
                    args->row_bytes / 16,
                    l / BLOCKS,
                    l % BLOCKS,
                    0};
  u.to = W_AT + (u.block * TILE_N + u.row) * 128 + (2 * TURN_OF(u.block) ^ (u.row & 7)) * 16;
  apq_early64(u.w);
  apq_early64(u.plane_bytes);
  apq_early32(u.last_row);
  apq_early32(u.blocks);
  apq_early32(u.row);
  apq_early32(u.block);
  apq_early32(u.to);
  return u;
}

/* Loads the lane's block of a share of the tile from channel n0 on.  Past the matrix the last row
 * or block again: of such rows nothing is stored, and such blocks meet activations of zero. */
APQ_FUNCTION void apq_load_share(const apq_unpacker *u, int n0, apq_share at, apq_row_words *row) {
  int n = n0 + at.share * SHARE_ROWS + u->row, block = at.stage * BLOCKS + u->block;
  if (n > u->last_row) n = u->last_row;
  if (block >= u->blocks) block = u->blocks - 1;
  const apq_u8 *from = u->w + ((long long)n * u->blocks + block) * 16;
  APQ_UNROLL
  for (int plane = 0; plane < P; plane++) {
    apq_u32x4 four = apq_ldg128_stream(from + plane * u->plane_bytes);
    row->word[plane][0] = four.x;
    row->word[plane][1] = four.y;
    row->word[plane][2] = four.z;
    row->word[plane][3] = four.w;
  }
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

APQ_FUNCTION void apq_store_share(int at, apq_u32 piece[8][4]) {
  APQ_UNROLL
  for (int b = 0; b < 8; b++) {
    apq_u32x4 four = {piece[b][0], piece[b][1], piece[b][2], piece[b][3]};
    apq_sts128(at ^ (b * 16), four);
  }
}

/* The shares of one of UNPACK_WARPS of all that the block needs. */
APQ_FUNCTION void apq_feed_weights(const apq_gemm_args *args, const apq_tiles *tiles) {
  apq_unpacker u = apq_unpacker_of(args);
  apq_place to = {0, 0};
  apq_share at = {0, apq_thread() / 32 - 1};
  for (int unit = FIRST_UNIT; unit < tiles->units; unit += UNIT_STEP) {
    apq_work work = apq_work_at(tiles, unit);
    int is_first = 1;
    at.stage = work.first;
    APQ_NO_UNROLL
    while (at.stage < work.end) {
      apq_row_words row[BATCH];
      apq_share next = at;
      APQ_UNROLL
      for (int i = 0; i < BATCH; i++) {
        if (next.stage < work.end) apq_load_share(&u, work.n0, next, &row[i]);
        next = apq_next_share(next);
      }
      APQ_UNROLL
      for (int i = 0; i < BATCH; i++) {
        if (at.stage >= work.end) continue;
        apq_u32 piece[8][4];
        apq_row_codes(&row[i], piece);
        if (is_first) apq_mbarrier_wait(W_FREE(to.slot), to.phase ^ 1);
        apq_store_share(u.to + to.slot * W_BYTES + at.share * (SHARE_ROWS * 128), piece);
        next = apq_next_share(at);
        is_first = next.stage > at.stage;
        at = next;
        if (is_first) {
          apq_fence_async();
          apq_arrive_warp(W_FULL(to.slot));
          to = apq_next_place(to, W_STAGES);
        }
      }
    }
  }
}
#endif
