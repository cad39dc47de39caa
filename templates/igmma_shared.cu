#if UNPACK == UNPACK_SHARED
/* ---- igmma with both operands in shared memory ---- */

/* The products of a warpgroup's share of one unit, into sums that need not be zero before.  `lead`
 * is how many blocks of k the next warpgroup waits for, 0 when it does not. */
APQ_FUNCTION void apq_consume(const apq_work *work, int sharer, int lead, apq_ring *at,
                              const apq_gemm_args *args, apq_pending *pending,
                              int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  apq_u64 x_desc = apq_wgmma_desc(W_AT + sharer * X_BLOCKS * 64 * 128, 128);
  apq_u64 y_desc = apq_wgmma_desc(0, 128);
  int accumulate = 0, held = -1, w_held = -1;
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    apq_u64 x_stage = x_desc + (apq_u64)(at->w.slot * (W_BYTES / 16));
    apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
    APQ_UNROLL
    for (int block = 0; block < BLOCKS; block++) {
      apq_u64 x = x_stage + (apq_u64)(block * TILE_N * (128 / 16));
      apq_u64 y = y_desc + (apq_u64)(at->a.slot * (A_BYTES / 16));
      apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
      apq_wgmma_fence();
      APQ_UNROLL
      for (int step = 0; step < 4; step++) {
        APQ_UNROLL
        for (int i = 0; i < X_BLOCKS; i++)
          apq_wgmma_u8(COLUMNS, acc[i],
                       x + (apq_u64)(i * 64 * (128 / 16) + 2 * (step ^ TURN_OF(block))),
                       y + (apq_u64)(2 * step), accumulate);
        accumulate = 1;
      }
      apq_wgmma_commit();
#if OVERLAP
      if (pending->is_there) apq_store_pending(args, pending);
#endif
      /* The block before is multiplied: its slot is free, and the stage before when it was the last
       * of that. */
      apq_wgmma_wait(1);
      if (held >= 0) apq_release(FREE(held));
      if (block == 0 && w_held >= 0) apq_release_weights(W_FREE(w_held));
      held = at->a.slot;
      apq_let_follow(&lead, STARTED(sharer), 0);
      at->a = apq_next_place(at->a, STAGES);
    }
    w_held = at->w.slot;
    at->w = apq_next_place(at->w, W_STAGES);
  }
  apq_pass_turn(TURN(2 - apq_thread() / 128));
  apq_wgmma_wait(0);
  apq_release(FREE(held));
  apq_release_weights(W_FREE(w_held));
  apq_let_follow(&lead, STARTED(sharer), 1);
  (void)args;
  (void)pending;
}
#endif
