/* ---- the warpgroup families: sums of a tile that several units share ----
 * All but one unit of a tile leave their sums in device memory.  The last to come finds that by the
 * tile's ticket, adds the others' and stores the results, so nobody waits.  Sums are integers, so
 * their order is free; they lie as the threads hold them, so that all accesses are whole and
 * neighbors. */

#define SHARES_SUMS (STREAM || SPLITS > 1)

#if SHARES_SUMS
/* Recombines the planes' sums of a share where they are: into those of the lowest planes, with
 * zeros in the others.  The registers stay the accumulators of the next unit, so a copy of them
 * would need as many again. */
APQ_FUNCTION void apq_gather_sums(int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * (Y_SHARE / 2); i++) {
    int block = i / (Y_SHARE / 2), at = i % (Y_SHARE / 2);
    int sum = (int)apq_sum(acc, block, at);
    APQ_UNROLL
    for (int plane = 0; plane < ACCUMULATORS / X_BLOCKS; plane++) {
      APQ_UNROLL
      for (int other = at; other < SUMS; other += Y_SHARE / 2)
        acc[block * (ACCUMULATORS / X_BLOCKS) + plane][other] = 0;
    }
    acc[block * (ACCUMULATORS / X_BLOCKS)][at] = sum;
  }
}

/* A warpgroup's sums of its share, in pieces of four a thread. */
#define SHARE_PIECES (X_BLOCKS * (Y_SHARE / 8))
#define SHARE_WORDS  (SHARE_PIECES * 4 * 128)
#define PIECE_OF(acc, i)                                                                           \
  ((acc)[(i) / (Y_SHARE / 8) * (ACCUMULATORS / X_BLOCKS)] + (i) % (Y_SHARE / 8) * 4)
APQ_FUNCTION int *apq_parked_at(const apq_gemm_args *args, const apq_work *work, int part,
                                int sharer) {
  long long share = (long long)apq_slot_of(work, part) * SHARERS + sharer;
  return args->partial + share * SHARE_WORDS + apq_thread() % 128 * 4;
}

APQ_FUNCTION void apq_park_sums(int *to, int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int i = 0; i < SHARE_PIECES; i++) {
    const int *four = PIECE_OF(acc, i);
    apq_u32x4 piece = {(apq_u32)four[0], (apq_u32)four[1], (apq_u32)four[2], (apq_u32)four[3]};
    apq_stg128(to + i * 512, piece);
  }
}

APQ_FUNCTION void apq_add_parked(const int *from, int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int i = 0; i < SHARE_PIECES; i++) {
    int *four = PIECE_OF(acc, i);
    apq_u32x4 piece = apq_ldg128_volatile(from + i * 512);
    four[0] = (int)((apq_u32)four[0] + piece.x);
    four[1] = (int)((apq_u32)four[1] + piece.y);
    four[2] = (int)((apq_u32)four[2] + piece.z);
    four[3] = (int)((apq_u32)four[3] + piece.w);
  }
}

/* Whether all other parts of the tile are parked.  One thread speaks for the warpgroup, between two
 * barriers; `ticket` with `takes` is its own place among those that have come, else how many have.
 */
APQ_FUNCTION int apq_is_last(unsigned *ticket, int takes, int parts, int warpgroup) {
  /* With `takes` also: all sums of the warpgroup are stored. */
  apq_named_barrier(1 + warpgroup, 128);
  if (apq_thread() % 128 == 0) {
    if (takes) apq_threadfence();
    apq_u32 come = takes ? apq_atomic_increment(ticket) : apq_ldg32_volatile(ticket);
    if (come == (apq_u32)parts - 1) apq_threadfence();
    apq_sts32(TICKET_AT(warpgroup), come);
  }
  apq_named_barrier(1 + warpgroup, 128);
  return apq_lds32(TICKET_AT(warpgroup)) == (apq_u32)parts - 1;
}

/* Makes `acc` the sums of a warpgroup's share of the whole tile and returns 1, or parks them and
 * returns 0.  The last part leaves the ticket as it was, 0. */
APQ_FUNCTION int apq_share_sums(const apq_gemm_args *args, const apq_work *work, int sharer,
                                int warpgroup, int acc[ACCUMULATORS][SUMS]) {
  apq_gather_sums(acc);
  if (work->parts == 1) return 1;
  unsigned *ticket = args->tickets + work->ticket * SHARERS + sharer;
  /* Most often those who come last find all others there, and need not store. */
  if (!apq_is_last(ticket, 0, work->parts, warpgroup)) {
    apq_park_sums(apq_parked_at(args, work, work->part, sharer), acc);
    if (!apq_is_last(ticket, 1, work->parts, warpgroup)) return 0;
  }
  if (apq_thread() % 128 == 0) apq_stg32(ticket, 0);
  APQ_NO_UNROLL
  for (int part = 0; part < work->parts; part++)
    if (part != work->part) apq_add_parked(apq_parked_at(args, work, part, sharer), acc);
  return 1;
}
#endif
