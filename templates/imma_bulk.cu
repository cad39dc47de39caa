/* Family imma_bulk: as imma, weight planes unpacked to u8 in registers and products on mma.sync u8,
 * m16n8k32, in the persistent blocks of the warpgroup families: bulk tensor copies bring the
 * operands.
 *
 * @family imma_bulk product bytes
 * @parts activation.cu gemm_epilogue.cu unpack.cu warpgroup.cu warpgroup_units.cu wgmma_groups.cu
 * @parts byte_ring.cu imma_bulk.cu imma_bulk_groups.cu wgmma_feed.cu wgmma_split.cu wgmma_store.cu
 * @parts wgmma_post.cu wgmma.cu
 * @knob p         = 4 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob tile_m    = 128 : 16 32 48 64 80 96 112 128 144 160 176 192 224 256 : tokens of a tile
 * @knob tile_n    = 128 : 64 128 192 256 : output channels of a tile
 * @knob tile_k    = 512 : 256 512 1024 : reduction length of a stage of weights
 * @knob stages    = 4 : 2 3 4 5 6 7 8 : slots of the activations' ring, 128 k each
 * @knob w_stages  = 2 : 2 3 4 : slots of the weights' ring, tile_k each
 * @knob consumers = 2 : 1 2 3 : warpgroups that multiply
 * @knob divide    = columns : columns rows : they divide a tile by tokens or by output channels
 * @knob stagger   = 0 : 0 1 2 3 : stages of activations that each of them starts behind the one
 * before
 * @knob form      = bytes : bytes pairs : of the activations
 * @knob ahead     = 0 : 0 1 : 1 loads the activations of a product before the one before it
 * @knob swap      = 1 : 1 : the weights are on the 16-row side
 * @knob overlap   = 0 : 0 : a tile is stored before the next is multiplied
 * @knob cluster_m = 1 : 1 2 : blocks of a cluster along m, which share weights
 * @knob cluster_n = 1 : 1 2 : blocks of a cluster along n, which share activations
 * @knob raster    = 4 : 1 2 4 8 16 32 : rows of tiles that run at the same time
 * @knob split_k   = 1 : 1 2 4 8 : units that share one output tile
 * @knob store     = staged : direct staged tensor : results from the registers, or through shared
 * memory by the threads or by tensor copies
 * @knob post      = 0 : 0 1 2 : what may follow the bias: 1 a second operand, 2 an activation too
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * A warp has 16 rows of each 64-row block of weights.  Codes and activations meet as in imma: word
 * s and word s + 4 of the unpacked weights, chunks s and s + 4 of the 128 bytes of a token, in mma
 * step s.  With activations in pairs (bitplane.h) these words are the low codes of the plane words'
 * pairs, and the pairs: 18 operations in place of 26 to unpack four planes, where every one costs a
 * cycle. */

#define SUMS         (Y_SHARE / 2)
#define ACCUMULATORS X_BLOCKS

/* Weight fragments of a warp, eight rows each, and loads of activations, of sixteen tokens. */
#define WT (2 * X_BLOCKS)
#define AT (Y_SHARE / 16)

/* Plane words of a block of 128 k.  Words of the halves of two codes a byte are made of them in
 * place; of these the words of a step just before its products. */
#define HALF_WORDS (P > 4 ? 8 : 4)
typedef struct apq_fragments {
  apq_u32 word[WT][HALF_WORDS];
} apq_fragments;

/* Loads the words of block `block` of the stage in `slot`. */
APQ_FUNCTION void apq_load_planes(int slot, int sharer, int block, apq_fragments *f) {
  int l = apq_thread() % 32, warp = apq_thread() / 32 % 4;
  int row = X_FIRST(sharer) + warp * 16 + l % 8;
  /* The copies permuted a row's chunks by the bits above those of 128 bytes. */
  int chunk = block ^ ((l % 8 * SLAB / 128) & (BLOCKS - 1));
  int from = W_AT + slot * W_BYTES + row * SLAB + chunk * 16;
  APQ_UNROLL
  for (int i = 0; i < WT; i++) {
    APQ_UNROLL
    for (int plane = P; plane < HALF_WORDS; plane++) f->word[i][plane] = 0;
    APQ_UNROLL
    for (int plane = 0; plane < P; plane += 4) {
      /* Lanes of a plane that does not exist read the last one; its words are not used. */
      int mine = plane + l / 8 < P ? plane + l / 8 : P - 1;
      apq_u32 four[4];
      apq_ldmatrix4(four, from + mine * (TILE_N * SLAB) + (i / 2 * 64 + i % 2 * 8) * SLAB);
      APQ_UNROLL
      for (int j = 0; j < 4 && plane + j < P; j++) f->word[i][plane + j] = four[j];
    }
  }
}

APQ_FUNCTION void apq_prepare_fragments(apq_fragments *f) {
  APQ_UNROLL
  for (int i = 0; i < WT * (HALF_WORDS / 4); i++)
    apq_half_codes(f->word[i / (HALF_WORDS / 4)] + i % (HALF_WORDS / 4) * 4,
                   i % (HALF_WORDS / 4) * 4);
}

/* The left operands of step s: of each 64-row block the warp's 16 rows. */
APQ_FUNCTION void apq_step_words(const apq_fragments *f, int s, apq_u32 w[X_BLOCKS][4]) {
  APQ_UNROLL
  for (int i = 0; i < WT; i++) {
    apq_u32 *to = w[i / 2] + i % 2;
    apq_take_codes(f->word[i][s], P > 4 ? f->word[i][HALF_WORDS - 4 + s] : 0, s, to, to + 2);
  }
}

/* The right operands of step s from the activations at `at`: two blocks of 8 tokens a load. */
APQ_FUNCTION void apq_load_activations(int at, int sharer, int s, apq_u32 a[AT][4]) {
  int l = apq_thread() % 32;
  int row = Y_FIRST(sharer) + l / 16 * 8 + l % 8;
  int from = at + row * 128 + ((l / 8 % 2 * 4 + s) ^ (l % 8)) * 16;
  APQ_UNROLL
  for (int i = 0; i < AT; i++) apq_ldmatrix4(a[i], from + i * (16 * 128));
}

APQ_FUNCTION void apq_multiply(apq_u32 w[X_BLOCKS][4], apq_u32 a[AT][4],
                               int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int y = 0; y < 2 * AT; y++) {
    APQ_UNROLL
    for (int x = 0; x < X_BLOCKS; x++) apq_mma_u8(acc[x] + 4 * y, w[x], a[y / 2] + 2 * (y % 2));
  }
}

/* Nothing is kept in registers from one unit to the next. */
typedef int apq_kept;

#if !GROUP
/* The products of a warpgroup's share of one unit, into sums that need not be zero before.  `lead`
 * is how many blocks of k the next warpgroup waits for, 0 when it does not. */
APQ_FUNCTION void apq_consume(const apq_work *work, int sharer, int lead, apq_ring *at,
                              apq_kept *kept, int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  APQ_UNROLL
  for (int i = 0; i < ACCUMULATORS * SUMS; i++) acc[i / SUMS][i % SUMS] = 0;
  apq_fragments f;
  apq_u32 a[1 + AHEAD][AT][4];
#if AHEAD
  apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
  apq_load_activations(at->a.slot * A_BYTES, sharer, 0, a[0]);
#endif
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    /* Not under the products before: words that stay from turn to turn would be moved about. */
    apq_mbarrier_wait(W_FULL(at->w.slot), at->w.phase);
    apq_load_planes(at->w.slot, sharer, 0, &f);
    APQ_UNROLL
    for (int block = 0; block < BLOCKS; block++) {
      int is_last = block == BLOCKS - 1 && stage + 1 == work->end;
#if BLOCKS % STAGES == 0
      /* Stages of weights begin with slot 0: addresses and barriers are constants. */
      at->a.slot = block % STAGES;
#endif
#if !AHEAD
      apq_mbarrier_wait(FULL(at->a.slot), at->a.phase);
#endif
      APQ_UNROLL
      for (int s = 0; s < 4; s++) {
        apq_u32 w[X_BLOCKS][4];
#if !AHEAD
        apq_load_activations(at->a.slot * A_BYTES, sharer, s, a[0]);
#endif
        if (s == 0) {
          apq_prepare_fragments(&f);
          if (block == BLOCKS - 1) {
            /* The last words of a stage of weights are in registers. */
            apq_release(W_FREE(at->w.slot));
            at->w = apq_next_place(at->w, W_STAGES);
          }
        }
        apq_step_words(&f, s, w);
        if (s == 3 && block < BLOCKS - 1) apq_load_planes(at->w.slot, sharer, block + 1, &f);
#if AHEAD
        if (s < 3) {
          apq_load_activations(at->a.slot * A_BYTES, sharer, s + 1, a[(s + 1) % 2]);
        } else {
          apq_place next = apq_next_place(at->a, STAGES);
          apq_release(FREE(at->a.slot));
          at->a = next;
          if (!is_last) {
            apq_mbarrier_wait(FULL(next.slot), next.phase);
            apq_load_activations(next.slot * A_BYTES, sharer, 0, a[0]);
          }
        }
        apq_multiply(w, a[s % 2], acc);
#else
        apq_multiply(w, a[0], acc);
#endif
      }
#if !AHEAD
      apq_release(FREE(at->a.slot));
      at->a = apq_next_place(at->a, STAGES);
#endif
      apq_let_follow(&lead, STARTED(sharer), 0);
    }
  }
  apq_let_follow(&lead, STARTED(sharer), 1);
  (void)kept;
}
#endif

/* Sum i of a 64-row block. */
APQ_FUNCTION apq_u32 apq_sum(int acc[ACCUMULATORS][SUMS], int block, int i) {
  return (apq_u32)acc[block][i];
}
