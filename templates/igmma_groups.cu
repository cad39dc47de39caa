/* ---- igmma with group scales ----
 * A warpgroup waits for the products of a block of 128 k as soon as the next one's codes are
 * unpacked, and adds them to its totals; meanwhile the tensor cores have the other warpgroup's.
 * Lane t of each four holds k = 32t .. 32t + 31 of a block: for groups of fewer than 128 k a block
 * is multiplied once a group, with zeros in the lanes of the others. */

#if GROUP

#if GROUP < 128
#define PASSES (128 / GROUP)
#else
#define PASSES 1
#endif

/* Of a block's codes those of its group `pass`. */
APQ_FUNCTION void apq_pick_group(const apq_codes *codes, int pass, apq_codes *picked) {
  int is_mine = apq_thread() % 4 * PASSES / 4 == pass;
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * 16; i++)
    picked->word[i / 16][i % 16] = is_mine ? codes->word[i / 16][i % 16] : 0;
}

/* Starts the products of a block, into sums that need not be zero before unless `accumulate`. */
APQ_FUNCTION void apq_multiply_block(apq_codes *codes, apq_u64 y_desc, int accumulate,
                                     int acc[ACCUMULATORS][SUMS]) {
  apq_wgmma_fence();
  APQ_UNROLL
  for (int step = 0; step < 4; step++) {
    APQ_UNROLL
    for (int x = 0; x < X_BLOCKS; x++)
      apq_wgmma_u8_registers(COLUMNS, acc[x], codes->word[x] + 4 * step,
                             y_desc + apq_operand_at(0, step, TILE_M, 128),
                             accumulate | (step > 0));
  }
  apq_wgmma_commit();
}

/* Adds the finished sums of group `group` to the totals; its edges lie in slot `slot`. */
APQ_FUNCTION void apq_take_group(const apq_gemm_args *args, int group, int slot, int sharer,
                                 int acc[ACCUMULATORS][SUMS], apq_totals *totals) {
  apq_u32 sum[X_BLOCKS][Y_SHARE / 2];
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * SUMS; i++)
    sum[i / SUMS][i % SUMS] = apq_sum(acc, i / SUMS, i % SUMS);
  apq_end_group(args, totals, sum, group, GROUP_AT(slot, group), sharer);
}

/* As apq_consume; what it leaves in acc are the bits of the totals. */
APQ_FUNCTION void apq_consume_groups(const apq_gemm_args *args, const apq_work *work, int sharer,
                                     int lead, apq_ring *at, int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  apq_u64 y_desc = apq_activations(0);
  apq_codes codes[2];
#if PASSES > 1
  apq_codes picked;
#endif
  apq_totals totals;
  apq_start_totals(&totals);
  apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
  apq_unpack(at->w.slot, sharer, 0, &codes[0]);
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    int slot = at->w.slot;
    APQ_UNROLL
    for (int block = 0; block < BLOCKS; block++) {
      int group = stage * STAGE_GROUPS + block * 128 / GROUP;
      apq_u64 offset = (apq_u64)(at->a.slot * (A_BYTES / 16));
      apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
#if PASSES > 1
      APQ_UNROLL
      for (int pass = 0; pass < PASSES; pass++) {
        apq_pick_group(&codes[block % 2], pass, &picked);
        apq_multiply_block(&picked, y_desc + offset, 0, acc);
        if (pass == PASSES - 1) continue;
        apq_wgmma_wait(0);
        apq_take_group(args, group + pass, slot, sharer, acc, &totals);
      }
#else
      apq_multiply_block(&codes[block % 2], y_desc + offset, block * 128 % GROUP > 0, acc);
#endif
      if (block < BLOCKS - 1) {
        apq_unpack(slot, sharer, block + 1, &codes[(block + 1) % 2]);
      } else {
        at->w = apq_next_place(at->w, W_STAGES);
        if (stage + 1 < work->end) {
          apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
          apq_unpack(at->w.slot, sharer, 0, &codes[0]);
        }
      }
      apq_wgmma_wait(0);
      apq_release(FREE(at->a.slot));
      at->a = apq_next_place(at->a, STAGES);
      apq_let_follow(&lead, STARTED(sharer), 0);
      if ((block + 1) * 128 % GROUP == 0)
        apq_take_group(args, group + PASSES - 1, slot, sharer, acc, &totals);
    }
    apq_release(W_FREE(slot));
  }
  apq_let_follow(&lead, STARTED(sharer), 1);
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * SUMS; i++)
    acc[i / SUMS][i % SUMS] = (int)apq_float_bits(totals.value[i / SUMS][i % SUMS]);
}

#endif
