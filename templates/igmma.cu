/* Family igmma: weight planes unpacked to u8 in registers or once a tile into shared memory,
 * products on wgmma u8, m64nNk32, fed by bulk tensor copies.
 *
 * @family igmma product bytes
 * @parts activation.cu gemm_epilogue.cu unpack.cu warpgroup.cu warpgroup_units.cu wgmma_groups.cu
 * @parts byte_ring.cu byte_weights.cu igmma.cu igmma_groups.cu wgmma_feed.cu wgmma_split.cu
 * @parts wgmma_store.cu wgmma_post.cu wgmma.cu
 * @knob p         = 4 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob tile_m    = 128 : 16 32 48 64 80 96 112 128 144 160 176 192 224 256 : tokens of a tile
 * @knob tile_n    = 128 : 64 128 192 256 : output channels of a tile
 * @knob tile_k    = 512 : 256 512 1024 : reduction length of a stage of weights
 * @knob swizzle   = 128 : none 32 64 128 : bytes of K among which the tensor copies permute 16-byte
 * chunks, of weights tile_k / 8 where that is less; none: operands of core matrices, a copy for
 * each chunk
 * @knob stages    = 4 : 2 3 4 5 6 7 8 : slots of the activations' ring, 128 k each
 * @knob w_stages  = 2 : 2 3 4 : slots of the weights' ring, tile_k each
 * @knob consumers = 2 : 1 2 3 : warpgroups that multiply
 * @knob roles     = cooperative : cooperative pingpong : they share a tile, or take turns with
 * tiles
 * @knob unpack    = registers : registers shared : each warp unpacks its weights into its
 * registers, or feeding warps all of a tile into shared memory
 * @knob stagger   = 0 : 0 1 2 3 : stages of activations that each of them starts behind the one
 * before
 * @knob swap      = 1 : 1 : the weights are on the 64-row side
 * @knob cluster_m = 1 : 1 2 : blocks of a cluster along m, which share weights
 * @knob cluster_n = 1 : 1 2 : blocks of a cluster along n, which share activations
 * @knob raster    = 4 : 1 2 4 8 16 32 : rows of tiles that run at the same time
 * @knob split_k   = 1 : 1 2 4 8 stream : units that share one output tile; stream: the tiles of a
 * last wave that is not full are divided evenly over the blocks
 * @knob store     = staged : direct staged tensor : results from the registers, or through shared
 * memory by the threads or by tensor copies
 * @knob overlap   = 0 : 0 2 : blocks of 128 k at both ends of a tile whose products run while a
 * half of a tile is stored
 * @knob post      = 0 : 0 1 2 : what may follow the bias: 1 a second operand, 2 an activation too
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * Weights are on the 64-row side, in registers or in shared memory as byte_weights.cu says;
 * activations lie in shared memory as bytes, in the order of apq__byte_position: bytes 32s .. 32s +
 * 31 of a block of 128 meet words 2s and 2s + 1 of the unpacked weights.  While one block of 128 k
 * is multiplied, the words of the next are unpacked into other registers. */

#define COLUMNS      TILE_M
#define SUMS         (COLUMNS / 2)
#define ACCUMULATORS X_BLOCKS

#if UNPACK == UNPACK_SHARED
/* The codes of a block of 128 k: a left operand's descriptor, of a warpgroup's first 64 rows.  Its
 * lowest bits are twice TURN_OF the block. */
typedef struct apq_codes {
  apq_u64 desc;
} apq_codes;

#define apq_multiply_codes(columns, d, codes, x, step, y_desc, accumulate)                         \
  apq_wgmma_u8(columns, d,                                                                         \
               ((codes)->desc ^ (apq_u64)(2 * (step))) + (apq_u64)((x) * (64 * 128 / 16)), y_desc, \
               accumulate)

APQ_FUNCTION void apq_unpack(int slot, int sharer, int block, apq_codes *codes) {
  codes->desc = apq_wgmma_desc(W_AT + sharer * X_BLOCKS * 64 * 128, 128) +
                (apq_u64)(slot * (W_BYTES / 16) + block * (TILE_N * 128 / 16) + 2 * TURN_OF(block));
}
#else
/* The codes of a block of 128 k, of the 16 rows that a warp has of each 64-row block: [4s .. 4s +
 * 3] is the left operand of step s. */
typedef struct apq_codes {
  apq_u32 word[X_BLOCKS][16];
} apq_codes;

#define apq_multiply_codes(columns, d, codes, x, step, y_desc, accumulate)                         \
  apq_wgmma_u8_registers(columns, d, (codes)->word[x] + 4 * (step), y_desc, accumulate)

/* Reads eight rows of the planes, from `row` of the stage at `at` on, and unpacks them. */
APQ_FUNCTION void apq_unpack_rows(int at, int row, int block, apq_u32 word[8]) {
  int l = apq_thread() % 32;
  APQ_UNROLL
  for (int plane = P; plane < 8; plane++) word[plane] = 0;
  APQ_UNROLL
  for (int plane = 0; plane < P; plane += 4) {
    /* Lanes of a plane that does not exist read the last one; its words are not used. */
    int mine = plane + l / 8 < P ? plane + l / 8 : P - 1;
    apq_u32 four[4];
    apq_ldmatrix4(four, at + (mine * TILE_N + row) * PANEL(SLAB) +
                            apq_chunk_at(l % 8, block / 2, block % 2, P * TILE_N, SLAB));
    APQ_UNROLL
    for (int i = 0; i < 4 && plane + i < P; i++) word[plane + i] = four[i];
  }
  apq_transpose(word);
}

APQ_FUNCTION void apq_unpack(int slot, int sharer, int block, apq_codes *codes) {
  int row = sharer * X_BLOCKS * 64 + apq_thread() / 32 % 4 * 16;
  APQ_UNROLL
  for (int x = 0; x < X_BLOCKS; x++) {
    APQ_UNROLL
    for (int half = 0; half < 2; half++) {
      apq_u32 word[8];
      apq_unpack_rows(W_AT + slot * W_BYTES, row + 64 * x + 8 * half, block, word);
      APQ_UNROLL
      for (int i = 0; i < 8; i++) codes->word[x][2 * i + half] = word[i];
    }
  }
}
#endif

/* The block of activations in `slot`. */
APQ_FUNCTION apq_u64 apq_activations(int slot) {
  return apq_operand(0, TILE_M, 128) + (apq_u64)(slot * (A_BYTES / 16));
}

/* Starts the products of the block of activations in `slot`; with `accumulate` 0 the sums need not
 * be zero before. */
#if OVERLAP
/* Of one half of the columns, or both. */
APQ_FUNCTION void apq_start_products(int slot, int half, const apq_codes *codes, int accumulate,
                                     int acc[ACCUMULATORS][SUMS]) {
  apq_u64 y_desc = apq_activations(slot);
  apq_wgmma_fence();
  APQ_UNROLL
  for (int step = 0; step < 4; step++) {
    APQ_UNROLL
    for (int i = 0; i < 2; i++) {
      if (half != BOTH_HALVES && half != i) continue;
      apq_multiply_codes(HALF_OF(COLUMNS), acc[0] + i * (SUMS / 2), codes, 0, step,
                         y_desc + apq_operand_at(i * (COLUMNS / 2), step, TILE_M, 128), accumulate);
    }
    accumulate = 1;
  }
  apq_wgmma_commit();
}
#else
APQ_FUNCTION void apq_start_products(int slot, int half, const apq_codes *codes, int accumulate,
                                     int acc[ACCUMULATORS][SUMS]) {
  apq_u64 y_desc = apq_activations(slot);
  apq_wgmma_fence();
  APQ_UNROLL
  for (int step = 0; step < 4; step++) {
    APQ_UNROLL
    for (int x = 0; x < X_BLOCKS; x++)
      apq_multiply_codes(COLUMNS, acc[x], codes, x, step,
                         y_desc + apq_operand_at(0, step, TILE_M, 128), accumulate);
    accumulate = 1;
  }
  apq_wgmma_commit();
  (void)half;
}
#endif

/* Codes of a block, and of the one after it. */
typedef struct apq_kept {
  apq_codes codes[2];
} apq_kept;

/* Waits for the first weights of a unit and unpacks their first block. */
APQ_FUNCTION void apq_unpack_first(int sharer, const apq_ring *at, apq_kept *kept) {
  apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
  apq_unpack(at->w.slot, sharer, 0, &kept->codes[0]);
}

/* Unpacks the block after block `block` of `stage`; the slot of a stage whose last block is in
 * registers is free. */
APQ_FUNCTION void apq_unpack_next(const apq_work *work, int sharer, int stage, int block,
                                  apq_ring *at, apq_kept *kept) {
  if (block < BLOCKS - 1) {
    apq_unpack(at->w.slot, sharer, block + 1, &kept->codes[(block + 1) % 2]);
    return;
  }
#if UNPACK != UNPACK_SHARED
  apq_release(W_FREE(at->w.slot));
#endif
  at->w = apq_next_place(at->w, W_STAGES);
  if (stage + 1 < work->end) apq_unpack_first(sharer, at, kept);
}

#if OVERLAP
/* Starts the first half of the first products of a unit. */
APQ_FUNCTION void apq_open(const apq_work *work, int sharer, apq_ring *at, apq_kept *kept,
                           int acc[ACCUMULATORS][SUMS]) {
  apq_place next = apq_next_place(at->a, STAGES);
  apq_unpack_first(sharer, at, kept);
  apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
  apq_start_products(at->a.slot, 0, &kept->codes[0], 0, acc);
  apq_unpack_next(work, sharer, work->first, 0, at, kept);
  apq_mbarrier_wait(FULL(next.slot), next.phase);
  apq_start_products(next.slot, 0, &kept->codes[1], 1, acc);
  /* Waits for nothing; it says to the compiler that the sums of the tile before are complete. */
  apq_wgmma_wait(2);
}

/* The second half of the first products; the last of their slots is still in use. */
APQ_FUNCTION void apq_catch_up(const apq_work *work, int sharer, apq_ring *at, apq_kept *kept,
                               int acc[ACCUMULATORS][SUMS]) {
  int first = at->a.slot;
  at->a = apq_next_place(at->a, STAGES);
  apq_start_products(first, 1, &kept->codes[0], 0, acc);
  apq_start_products(at->a.slot, 1, &kept->codes[1], 1, acc);
  apq_wgmma_wait(1);
  apq_release_block(first, at);
  apq_unpack_next(work, sharer, work->first, 1, at, kept);
}

/* The last two blocks, of which the first is unpacked; the slot of the block before is `held`.
 * Returns when the first half of the sums is complete. */
APQ_FUNCTION void apq_start_closing(const apq_work *work, int sharer, int held, apq_ring *at,
                                    apq_kept *kept, int acc[ACCUMULATORS][SUMS]) {
  apq_place next = apq_next_place(at->a, STAGES);
  apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
  apq_start_products(at->a.slot, 0, &kept->codes[0], 1, acc);
  apq_wgmma_wait(1);
  apq_release_block(held, at);
  apq_unpack_next(work, sharer, work->end - 1, BLOCKS - 2, at, kept);
  apq_mbarrier_wait(FULL(next.slot), next.phase);
  apq_start_products(next.slot, 0, &kept->codes[1], 1, acc);
  apq_start_products(at->a.slot, 1, &kept->codes[0], 1, acc);
  apq_start_products(next.slot, 1, &kept->codes[1], 1, acc);
  apq_unpack_next(work, sharer, work->end - 1, BLOCKS - 1, at, kept);
  apq_wgmma_wait(2);
}

/* Ends a unit: all its sums are complete. */
APQ_FUNCTION void apq_close(apq_ring *at) {
  apq_wgmma_wait(0);
  APQ_UNROLL
  for (int i = 0; i < OVERLAP; i++) {
    apq_release_block(at->a.slot, at);
    at->a = apq_next_place(at->a, STAGES);
  }
}
#endif

/* Whether the products of a block take one half of the columns after the other. */
APQ_FUNCTION int apq_is_halved(const apq_work *work, int stage, int block) {
#if OVERLAP
  return (stage == work->first && block < OVERLAP) ||
         (stage == work->end - 1 && block >= BLOCKS - OVERLAP);
#else
  (void)work;
  (void)stage;
  (void)block;
  return 0;
#endif
}

#if !GROUP
/* The products of a warpgroup's share of one unit, into sums that need not be zero before.  `lead`
 * is how many blocks of k the next warpgroup waits for, 0 when it does not.  With OVERLAP it goes
 * on where apq_open ended, and when it returns the first half of the sums is complete. */
APQ_FUNCTION void apq_consume(const apq_work *work, int sharer, int lead, apq_ring *at,
                              apq_kept *kept, int acc[ACCUMULATORS][SUMS]) {
  int accumulate = OVERLAP, held = -1;
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
#if OVERLAP
  apq_catch_up(work, sharer, at, kept, acc);
  held = at->a.slot;
  at->a = apq_next_place(at->a, STAGES);
#else
  apq_unpack_first(sharer, at, kept);
#endif
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    APQ_UNROLL
    for (int block = 0; block < BLOCKS; block++) {
      if (apq_is_halved(work, stage, block)) continue;
      apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
      apq_start_products(at->a.slot, BOTH_HALVES, &kept->codes[block % 2], accumulate, acc);
      accumulate = 1;
      /* The block before is multiplied: its slot is free, and so are its codes. */
      apq_wgmma_wait(1);
      if (held >= 0) apq_release_block(held, at);
      held = at->a.slot;
      apq_let_follow(&lead, STARTED(sharer), 0);
      at->a = apq_next_place(at->a, STAGES);
      apq_unpack_next(work, sharer, stage, block, at, kept);
    }
  }
#if OVERLAP
  apq_start_closing(work, sharer, held, at, kept, acc);
#else
  apq_pass_turn(TURN(2 - apq_thread() / 128));
  apq_wgmma_wait(0);
  apq_release_block(held, at);
#endif
  apq_let_follow(&lead, STARTED(sharer), 1);
}
#endif

/* Sum i of a 64-row block. */
APQ_FUNCTION apq_u32 apq_sum(int acc[ACCUMULATORS][SUMS], int block, int i) {
  return (apq_u32)acc[block][i];
}
