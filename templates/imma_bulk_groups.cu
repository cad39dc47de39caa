/* ---- imma_bulk with group scales ----
 * A warp adds the sums of a group to its totals before it starts on the next.  Lane t of each four
 * holds k = 32t .. 32t + 31 of a block of 128: for groups of fewer than 128 k a block is multiplied
 * once a group, with zeros in the lanes of the others. */

#if GROUP

#if GROUP < 128
#define PASSES (128 / GROUP)
#else
#define PASSES 1
#endif

/* Adds the sums of group `group` to the totals, and starts the next from zero. */
APQ_FUNCTION void apq_take_group(const apq_gemm_args *args, int group, int slot, int sharer,
                                 int acc[ACCUMULATORS][SUMS], apq_totals *totals) {
  apq_u32 sum[X_BLOCKS][Y_SHARE / 2];
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * SUMS; i++) {
    sum[i / SUMS][i % SUMS] = apq_sum(acc, i / SUMS, i % SUMS);
    acc[i / SUMS][i % SUMS] = 0;
  }
  apq_end_group(args, totals, sum, group, GROUP_AT(slot, group), sharer);
}

/* As apq_consume; what it leaves in acc are the bits of the totals. */
APQ_FUNCTION void apq_consume_groups(const apq_gemm_args *args, const apq_work *work, int sharer,
                                     int lead, apq_ring *at, int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  APQ_UNROLL
  for (int i = 0; i < ACCUMULATORS * SUMS; i++) acc[i / SUMS][i % SUMS] = 0;
  apq_fragments f;
  apq_totals totals;
  apq_start_totals(&totals);
  apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
  apq_load_planes(at->w.slot, sharer, 0, &f);
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    int slot = at->w.slot;
    APQ_UNROLL
    for (int block = 0; block < BLOCKS; block++) {
      int group = stage * STAGE_GROUPS + block * 128 / GROUP;
      int is_last = block == BLOCKS - 1 && stage + 1 == work->end;
      apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
      apq_prepare_fragments(&f);
      if (block == BLOCKS - 1) at->w = apq_next_place(at->w, W_STAGES);
      APQ_UNROLL
      for (int step = 0; step < 4 * PASSES; step++) {
        int s = step % 4, pass = step / 4;
        apq_u32 w[X_BLOCKS][4], a[AT][4];
        apq_load_activations(at->a.slot * A_BYTES, sharer, s, a);
        apq_step_words(&f, s, w);
        APQ_UNROLL
        for (int i = 0; i < 4 * X_BLOCKS; i++)
          if (apq_thread() % 4 * PASSES / 4 != pass) w[i / 4][i % 4] = 0;
        if (step == 4 * PASSES - 1 && !is_last) {
          if (block == BLOCKS - 1) apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
          apq_load_planes(at->w.slot, sharer, (block + 1) % BLOCKS, &f);
        }
        apq_multiply(w, a, acc);
        if (s == 3 && (block * 128 + (pass + 1) * (128 / PASSES)) % GROUP == 0)
          apq_take_group(args, group + pass, slot, sharer, acc, &totals);
      }
      apq_release(FREE(at->a.slot));
      at->a = apq_next_place(at->a, STAGES);
      apq_let_follow(&lead, STARTED(sharer), 0);
    }
    apq_release(W_FREE(slot));
  }
  apq_let_follow(&lead, STARTED(sharer), 1);
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * SUMS; i++)
    acc[i / SUMS][i % SUMS] = (int)apq_float_bits(totals.value[i / SUMS][i % SUMS]);
}

#endif
