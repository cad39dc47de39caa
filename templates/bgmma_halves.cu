/* ---- bgmma with OVERLAP: the halves of the sums apart ---- */

#if OVERLAP

/* Where both halves are multiplied, the x rows are read from shared memory once for both: they go
 * through registers, half a stage at a time. */
#define PART_STEPS (SLAB / 64)
typedef struct apq_part {
  apq_u32 word[ACCUMULATORS][PART_STEPS][4];
} apq_part;

APQ_FUNCTION void apq_load_part(int sharer, int slot, int part, apq_part *out) {
  int l = apq_thread() % 32;
  /* Matrix l / 8 of the four: rows 0-7 and 8-15 of a warp's 16, then the same 16 bytes on. */
  int row = sharer * 64 + apq_thread() / 32 % 4 * 16 + l % 16;
  APQ_UNROLL
  for (int plane = 0; plane < X_PLANES; plane++) {
    APQ_UNROLL
    for (int step = 0; step < PART_STEPS; step++) {
      apq_ldmatrix4(out->word[plane][step],
                    slot * STAGE_BYTES + plane * X_TILE * PANEL(SLAB) +
                        apq_chunk_at(row, part * PART_STEPS + step, l / 16, X_ROWS, SLAB));
    }
  }
}

/* Where y columns of a half begin in a slot. */
APQ_FUNCTION apq_u64 apq_half_desc(int slot, int half) {
  return apq_operand(Y_AT, COLUMNS, SLAB) + (apq_u64)(slot * (STAGE_BYTES / 16)) +
         apq_operand_at(half * (COLUMNS / 2), 0, COLUMNS, SLAB);
}

/* Starts the products of half a stage, of both halves of the columns. */
APQ_FUNCTION void apq_start_part(int slot, int part, const apq_part *x,
                                 int acc[ACCUMULATORS][SUMS]) {
  apq_wgmma_fence();
  APQ_UNROLL
  for (int step = 0; step < PART_STEPS; step++) {
    APQ_UNROLL
    for (int half = 0; half < 2; half++) {
      apq_u64 y =
          apq_half_desc(slot, half) + apq_operand_at(0, part * PART_STEPS + step, COLUMNS, SLAB);
      APQ_UNROLL
      for (int plane = 0; plane < X_PLANES; plane++)
        apq_wgmma_b1_registers(HALF_OF(COLUMNS), acc[plane] + half * (SUMS / 2),
                               x->word[plane][step], y, 1);
    }
  }
  apq_wgmma_commit();
}

/* Starts the products of the stage in `slot` of one half of the columns; with `accumulate` 0 its
 * sums need not be zero before. */
APQ_FUNCTION void apq_start_half(int sharer, int slot, int half, int accumulate,
                                 int acc[ACCUMULATORS][SUMS]) {
  apq_u64 x =
      apq_operand(sharer * 64 * PANEL(SLAB), X_ROWS, SLAB) + (apq_u64)(slot * (STAGE_BYTES / 16));
  apq_wgmma_fence();
  APQ_UNROLL
  for (int step = 0; step < SLAB / 32; step++) {
    APQ_UNROLL
    for (int plane = 0; plane < X_PLANES; plane++)
      apq_wgmma_b1(HALF_OF(COLUMNS), acc[plane] + half * (SUMS / 2),
                   x + apq_operand_at(plane * X_TILE, step, X_ROWS, SLAB),
                   apq_half_desc(slot, half) + apq_operand_at(0, step, COLUMNS, SLAB), accumulate);
    accumulate = 1;
  }
  apq_wgmma_commit();
}

/* Starts the first half of the first products of a unit. */
APQ_FUNCTION void apq_open(const apq_work *work, int sharer, apq_ring *at, apq_kept *kept,
                           int acc[ACCUMULATORS][SUMS]) {
  apq_place ahead = *at;
  APQ_UNROLL
  for (int i = 0; i < OVERLAP; i++) {
    apq_mbarrier_wait(FULL(ahead.slot), ahead.phase);
    apq_start_half(sharer, ahead.slot, 0, i > 0, acc);
    ahead = apq_next_place(ahead, STAGES);
  }
  /* Waits for nothing; it says to the compiler that the sums of the tile before are complete. */
  apq_wgmma_wait(OVERLAP);
  (void)work;
  (void)kept;
}

/* The second half of the first products; all but the last stage is released. */
APQ_FUNCTION void apq_catch_up(int sharer, apq_ring *at, int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int i = 0; i < OVERLAP; i++) {
    int before = at->slot;
    if (i > 0) *at = apq_next_place(*at, STAGES);
    apq_start_half(sharer, at->slot, 1, i > 0, acc);
    apq_wgmma_wait(1);
    if (i > 0) apq_release(FREE(before));
  }
}

/* The last products of a unit, one half after the other; the slot of the stage before is `held`.
 * Returns when the first half is complete. */
APQ_FUNCTION void apq_start_closing(int sharer, int held, const apq_ring *at,
                                    int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int half = 0; half < 2; half++) {
    apq_place ahead = *at;
    APQ_UNROLL
    for (int i = 0; i < OVERLAP; i++) {
      if (half == 0) apq_mbarrier_wait(FULL(ahead.slot), ahead.phase);
      apq_start_half(sharer, ahead.slot, half, 1, acc);
      ahead = apq_next_place(ahead, STAGES);
      if (half == 0 && i == 0) {
        apq_wgmma_wait(1);
        apq_release(FREE(held));
      }
    }
  }
  apq_wgmma_wait(OVERLAP);
}

/* Ends a unit: all its sums are complete. */
APQ_FUNCTION void apq_close(apq_ring *at) {
  apq_wgmma_wait(0);
  APQ_UNROLL
  for (int i = 0; i < OVERLAP; i++) {
    apq_release(FREE(at->slot));
    *at = apq_next_place(*at, STAGES);
  }
}

/* The products of a warpgroup's share of one unit, from where apq_open ended; when it returns, the
 * first half of the sums is complete. */
APQ_FUNCTION void apq_consume(const apq_work *work, int sharer, int lead, apq_ring *at,
                              apq_kept *kept, int acc[ACCUMULATORS][SUMS]) {
  apq_pass pass = apq_first_pass();
  apq_part part[2];
  apq_catch_up(sharer, at, acc);
  int held = at->slot;
  *at = apq_next_place(*at, STAGES);
  APQ_NO_UNROLL
  for (int i = 0; i < PASSES; i++) {
    if (pass.falls) {
      apq_wgmma_wait(0);
      apq_double_sums(acc);
    }
    int first = work->first + (i == 0 ? OVERLAP : 0);
    int end = work->end - (i == PASSES - 1 ? OVERLAP : 0);
    APQ_NO_UNROLL
    for (int stage = first; stage < end; stage++) {
      apq_mbarrier_wait(FULL(at->slot), at->phase);
      apq_load_part(sharer, at->slot, 0, &part[0]);
      apq_start_part(at->slot, 0, &part[0], acc);
      /* All before this is multiplied once at most this is not. */
      apq_wgmma_wait(1);
      apq_release(FREE(held));
      apq_load_part(sharer, at->slot, 1, &part[1]);
      apq_start_part(at->slot, 1, &part[1], acc);
      apq_wgmma_wait(1);
      held = at->slot;
      *at = apq_next_place(*at, STAGES);
    }
    pass = apq_next_pass(pass);
  }
  apq_start_closing(sharer, held, at, acc);
  (void)lead;
  (void)kept;
}

#endif
