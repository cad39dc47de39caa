/* ---- family decode: sums of a tile that blocks anywhere in the grid share ----
 * Each of them has a part of k, parks its sums in device memory and takes a ticket of the tile. The
 * last to come adds the others' to its own and finishes the tile, so nobody waits.  Sums are
 * integers: their order is free.  The blocks of a tile are neighbors in the grid and end at about
 * the same time, so that to look first whether the others have come would mostly be a way to device
 * memory for nothing. */

#if SPLIT_K > 1

/* A block's sums as four rows of a token each, parked [token][row]. */
#define PIECES (TILE_M * (ROWS / 4))
#define PIECE_AT(set, warp, i)                                                                     \
  (SETS_AT +                                                                                       \
   4 * ((set)*SET_WORDS + (warp)*SUM_WORDS + (i) / (ROWS / 4) * SUM_PITCH + (i) % (ROWS / 4) * 4))
#define TICKET_AT 0

APQ_FUNCTION apq_u32x4 apq_add_pieces(apq_u32x4 a, apq_u32x4 b) {
  apq_u32x4 sum = {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
  return sum;
}

/* Whether all other blocks of the tile have parked their sums.  One thread speaks for the block. */
APQ_FUNCTION int apq_is_last(unsigned *ticket) {
  apq_syncthreads(); /* all sums of the block are stored */
  if (apq_thread() == 0) {
    apq_threadfence();
    apq_u32 come = apq_atomic_increment(ticket);
    if (come == SPLIT_K - 1) {
      apq_threadfence();
      apq_stg32(ticket, 0); /* as it was */
    }
    apq_sts32(TICKET_AT, come);
  }
  apq_syncthreads();
  return apq_lds32(TICKET_AT) == SPLIT_K - 1;
}

/* Adds the warps' sums up into the first one's place, and parks them.  The last block of a tile
 * adds the others' and returns 1. */
APQ_FUNCTION int apq_share_sums(const apq_gemm_args *args, const apq_lane *lane, int tile,
                                int set) {
  long long index = (long long)apq_block_y() * lane->tiles + tile;
  int *parked = args->partial + index * (SPLIT_K * PIECES * 4);
  APQ_NO_UNROLL
  for (int i = apq_thread(); i < PIECES; i += THREADS) {
    apq_u32x4 sum = apq_lds128(PIECE_AT(set, 0, i));
    APQ_UNROLL
    for (int warp = 1; warp < WARPS_K; warp++)
      sum = apq_add_pieces(sum, apq_lds128(PIECE_AT(set, warp, i)));
    apq_sts128(PIECE_AT(set, 0, i), sum);
    apq_stg128(parked + (lane->rank * PIECES + i) * 4, sum);
  }
  if (!apq_is_last(args->tickets + index)) return 0;
  APQ_NO_UNROLL
  for (int i = apq_thread(); i < PIECES; i += THREADS) {
    apq_u32x4 other[SPLIT_K - 1], sum = apq_lds128(PIECE_AT(set, 0, i));
    APQ_UNROLL
    for (int j = 1; j < SPLIT_K; j++)
      other[j - 1] = apq_ldg128_volatile(parked + ((lane->rank + j) % SPLIT_K * PIECES + i) * 4);
    APQ_UNROLL
    for (int j = 1; j < SPLIT_K; j++) sum = apq_add_pieces(sum, other[j - 1]);
    apq_sts128(PIECE_AT(set, 0, i), sum);
  }
  apq_syncthreads();
  return 1;
}

#endif
