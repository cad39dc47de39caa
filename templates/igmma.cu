/* Family igmma: weight planes unpacked to u8 in registers or once a tile into shared memory,
 * products on wgmma u8, m64nNk32, fed by bulk tensor copies.
 *
 * @family igmma product bytes
 * @parts gemm_epilogue.cu unpack.cu warpgroup.cu byte_ring.cu byte_weights.cu igmma.cu igmma_shared.cu wgmma.cu
 * @knob p         = 4 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob tile_m    = 128 : 16 32 48 64 80 96 112 128 144 160 176 192 224 256 : tokens of a tile
 * @knob tile_n    = 128 : 64 128 192 256 : output channels of a tile
 * @knob tile_k    = 512 : 256 512 1024 : reduction length of a stage of weights
 * @knob stages    = 4 : 2 3 4 5 6 7 8 : slots of the activations' ring, 128 k each
 * @knob w_stages  = 2 : 2 3 4 : slots of the weights' ring, tile_k each
 * @knob consumers = 2 : 1 2 3 : warpgroups that multiply
 * @knob roles     = cooperative : cooperative pingpong : they share a tile, or take turns with
 * tiles
 * @knob unpack    = registers : registers shared : codes of a warp's own weights in its registers, or
 * of the tile's in shared memory, made by three feeding warps
 * @knob stagger   = 0 : 0 1 2 3 : stages of activations that each of them starts behind the one
 * before
 * @knob swap      = 1 : 1 : the weights are on the 64-row side
 * @knob cluster_m = 1 : 1 2 : blocks of a cluster along m, which share weights
 * @knob cluster_n = 1 : 1 2 : blocks of a cluster along n, which share activations
 * @knob raster    = 4 : 1 2 4 8 16 32 : rows of tiles that run at the same time
 * @knob split_k   = 1 : 1 2 4 8 : units that share one output tile
 * @knob store     = staged : direct staged : results from the registers, or through shared memory
 * @knob overlap   = 0 : 0 1 : 1 stores a tile while the next is multiplied
 * @knob post      = 0 : 0 1 : 1 has code for what may follow the bias: activation functions, a
 * second operand
 *
 * Weights are on the 64-row side, in registers; activations lie in shared memory as bytes, in the
 * order of apq__byte_position: bytes 32s .. 32s + 31 of a block of 128 meet words 2s and 2s + 1
 * of the unpacked weights.  While one block of 128 k is multiplied, the words of the next are
 * unpacked into other registers. */

#define COLUMNS      TILE_M
#define SUMS         (COLUMNS / 2)
#define ACCUMULATORS X_BLOCKS

#if UNPACK == UNPACK_REGISTERS
/* The codes of a block of 128 k, of the 16 rows that a warp has of each 64-row block: [4s .. 4s +
 * 3] is the left operand of step s. */
typedef struct apq_codes {
  apq_u32 word[X_BLOCKS][16];
} apq_codes;

/* Reads eight rows of the planes, from `row` of the stage at `at` on, and unpacks them. */
APQ_FUNCTION void apq_unpack_rows(int at, int row, int block, apq_u32 word[8]) {
  int l = apq_thread() % 32;
  APQ_UNROLL
  for (int plane = P; plane < 8; plane++) word[plane] = 0;
  APQ_UNROLL
  for (int plane = 0; plane < P; plane += 4) {
    /* Lanes of a plane that does not exist read the last one; its words are not used. */
    int mine = plane + l / 8 < P ? plane + l / 8 : P - 1;
    /* The copies permuted a row's chunks by the bits above those of 128 bytes. */
    int chunk = block ^ ((l % 8 * SLAB / 128) & (BLOCKS - 1));
    apq_u32 four[4];
    apq_ldmatrix4(four, at + (mine * TILE_N + row + l % 8) * SLAB + chunk * 16);
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

/* The products of a warpgroup's share of one unit, into sums that need not be zero before.  `lead`
 * is how many blocks of k the next warpgroup waits for, 0 when it does not. */
APQ_FUNCTION void apq_consume(const apq_work *work, int sharer, int lead, apq_ring *at,
                              const apq_gemm_args *args, apq_pending *pending,
                              int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  apq_u64 y_desc = apq_wgmma_desc(0, 128);
  int accumulate = 0, held = -1;
  apq_codes codes[2];
  apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
  apq_unpack(at->w.slot, sharer, 0, &codes[0]);
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    APQ_UNROLL
    for (int block = 0; block < BLOCKS; block++) {
      apq_u64 offset = (apq_u64)(at->a.slot * (A_BYTES / 16));
      apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
      apq_wgmma_fence();
      APQ_UNROLL
      for (int step = 0; step < 4; step++) {
        APQ_UNROLL
        for (int x = 0; x < X_BLOCKS; x++)
          apq_wgmma_u8_registers(COLUMNS, acc[x], codes[block % 2].word[x] + 4 * step,
                                 y_desc + offset + (apq_u64)(2 * step), accumulate);
        accumulate = 1;
      }
      apq_wgmma_commit();
#if OVERLAP
      if (pending->is_there) apq_store_pending(args, pending);
#endif
      /* The block before is multiplied: its slot is free, and so are its codes. */
      apq_wgmma_wait(1);
      if (held >= 0) apq_release(FREE(held));
      held = at->a.slot;
      apq_let_follow(&lead, STARTED(sharer), 0);
      at->a = apq_next_place(at->a, STAGES);
      if (block < BLOCKS - 1) {
        apq_unpack(at->w.slot, sharer, block + 1, &codes[(block + 1) % 2]);
      } else {
        apq_release(W_FREE(at->w.slot));
        at->w = apq_next_place(at->w, W_STAGES);
        if (stage + 1 < work->end) {
          apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
          apq_unpack(at->w.slot, sharer, 0, &codes[0]);
        }
      }
    }
  }
  apq_pass_turn(TURN(2 - apq_thread() / 128));
  apq_wgmma_wait(0);
  apq_release(FREE(held));
  apq_let_follow(&lead, STARTED(sharer), 1);
  (void)args;
  (void)pending;
}
#endif

/* Sum i of a 64-row block. */
APQ_FUNCTION apq_u32 apq_sum(int acc[ACCUMULATORS][SUMS], int block, int i) {
  return (apq_u32)acc[block][i];
}
