/* ---- bgmma with group scales ----
 * An instruction spans a group of 256 k: a warpgroup waits for the products of all pairs of planes,
 * recombines them and adds them to its totals; meanwhile the tensor cores have the other
 * warpgroup's. */

#if GROUP

/* Adds the sums of group `group` to the totals. */
APQ_FUNCTION void apq_take_group(const apq_gemm_args *args, int group, int slot, int sharer,
                                 int acc[ACCUMULATORS][SUMS], apq_totals *totals) {
  apq_u32 sum[X_BLOCKS][Y_SHARE / 2];
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * (Y_SHARE / 2); i++)
    sum[i / (Y_SHARE / 2)][i % (Y_SHARE / 2)] = apq_sum(acc, i / (Y_SHARE / 2), i % (Y_SHARE / 2));
  apq_end_group(args, totals, sum, group, GROUP_AT(slot, group), sharer);
}

/* As apq_consume; what it leaves in acc are the bits of the totals, as sums of the lowest
 * planes. */
APQ_FUNCTION void apq_consume_groups(const apq_gemm_args *args, const apq_work *work, int sharer,
                                     int lead, apq_ring *at, int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  apq_u64 x_desc = apq_operand(sharer * X_BLOCKS * 64 * PANEL(SLAB), X_ROWS, SLAB);
  apq_u64 y_desc = apq_operand(Y_AT, COLUMNS, SLAB);
  apq_totals totals;
  apq_start_totals(&totals);
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    apq_u64 offset = (apq_u64)(at->slot * (STAGE_BYTES / 16));
    apq_mbarrier_wait(FULL(at->slot), at->phase);
    APQ_UNROLL
    for (int step = 0; step < SLAB / 32; step++) {
      apq_wgmma_fence();
      APQ_UNROLL
      for (int block = 0; block < X_BLOCKS; block++) {
        APQ_UNROLL
        for (int plane = 0; plane < X_PLANES; plane++)
          apq_wgmma_b1(COLUMNS, acc[block * X_PLANES + plane],
                       x_desc + offset +
                           apq_operand_at(plane * X_TILE + block * 64, step, X_ROWS, SLAB),
                       y_desc + offset + apq_operand_at(0, step, COLUMNS, SLAB), 0);
      }
      apq_wgmma_commit();
      apq_wgmma_wait(0);
      apq_take_group(args, stage * STAGE_GROUPS + step, at->slot, sharer, acc, &totals);
    }
    apq_release(FREE(at->slot));
    apq_let_follow(&lead, STARTED(sharer), 0);
    *at = apq_next_place(*at, STAGES);
  }
  apq_let_follow(&lead, STARTED(sharer), 1);
  APQ_UNROLL
  for (int i = 0; i < ACCUMULATORS * SUMS; i++) acc[i / SUMS][i % SUMS] = 0;
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * (Y_SHARE / 2); i++)
    acc[i / (Y_SHARE / 2) * X_PLANES][i % (Y_SHARE / 2)] =
        (int)apq_float_bits(totals.value[i / (Y_SHARE / 2)][i % (Y_SHARE / 2)]);
}

#endif
