/* Family bgmma: bit-serial products on wgmma b1 AND + POPC, m64nNk256, fed by bulk tensor copies.
 *
 * @family bgmma product planes
 * @parts activation.cu gemm_epilogue.cu warpgroup.cu warpgroup_units.cu wgmma_groups.cu bgmma.cu
 * @parts bgmma_halves.cu bgmma_groups.cu wgmma_feed.cu wgmma_split.cu wgmma_store.cu wgmma_post.cu
 * @parts wgmma.cu
 * @knob p         = 2 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 2 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob tile_m    = 128 : 16 32 48 64 80 96 112 128 144 160 176 192 224 256 : tokens of a tile
 * @knob tile_n    = 64 : 16 32 48 64 80 96 112 128 144 160 176 192 224 256 : output channels of a
 * tile
 * @knob tile_k    = 1024 : 256 512 1024 : reduction length of a stage
 * @knob swizzle   = 128 : none 32 64 128 : bytes of K among which the tensor copies permute 16-byte
 * chunks, tile_k / 8 where that is less; none: operands of core matrices, a copy for each chunk
 * @knob stages    = 3 : 2 3 4 5 6 7 8 : slots of the ring
 * @knob consumers = 2 : 1 2 3 : warpgroups that multiply
 * @knob roles     = cooperative : cooperative pingpong : they share a tile, or take turns with
 * tiles
 * @knob stagger   = 0 : 0 1 2 3 : stages that each of them starts behind the one before
 * @knob schedule  = side : side horner : plane products side by side in registers, or one after
 * another
 * @knob swap      = 0 : 0 1 : 1 puts the weights on the 64-row side
 * @knob cluster_m = 1 : 1 2 : blocks of a cluster along m, which share weights
 * @knob cluster_n = 1 : 1 2 : blocks of a cluster along n, which share activations
 * @knob raster    = 4 : 1 2 4 8 16 32 : rows of tiles that run at the same time
 * @knob split_k   = 1 : 1 2 4 8 stream : units that share one output tile; stream: the tiles of a
 * last wave that is not full are divided evenly over the blocks
 * @knob store     = staged : direct staged tensor : results from the registers, or through shared
 * memory by the threads or by tensor copies
 * @knob overlap   = 0 : 0 1 2 3 : stages at both ends of a tile whose products run while a half of
 * a tile is stored
 * @knob post      = 0 : 0 1 2 : what may follow the bias: 1 a second operand, 2 an activation too
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * A stage holds, of tile_k bits, the rows of the x planes and of the y planes, each side in panels
 * as warpgroup.cu says.  Side by side all y
 * planes are columns of one instruction and each x plane has its own sums; every plane product of
 * an output lies in one thread.  With `horner` one pair of planes (i, j) after another runs over
 * all of K, by descending i + j, and the sums are doubled where i + j falls: one tile of sums for
 * any p and q, at the price of reading the planes p q times. */

#if SCHEDULE == SCHEDULE_HORNER
#define X_PLANES 1
#define Y_PLANES 1
#else
#define X_PLANES X_BITS
#define Y_PLANES Y_BITS
#endif

/* Y_PLANES * Y_TILE as a number: the word for the product pastes it. */
#if Y_PLANES * Y_TILE == 16
#define COLUMNS 16
#elif Y_PLANES * Y_TILE == 32
#define COLUMNS 32
#elif Y_PLANES * Y_TILE == 48
#define COLUMNS 48
#elif Y_PLANES * Y_TILE == 64
#define COLUMNS 64
#elif Y_PLANES * Y_TILE == 80
#define COLUMNS 80
#elif Y_PLANES * Y_TILE == 96
#define COLUMNS 96
#elif Y_PLANES * Y_TILE == 112
#define COLUMNS 112
#elif Y_PLANES * Y_TILE == 128
#define COLUMNS 128
#elif Y_PLANES * Y_TILE == 144
#define COLUMNS 144
#elif Y_PLANES * Y_TILE == 160
#define COLUMNS 160
#elif Y_PLANES * Y_TILE == 176
#define COLUMNS 176
#elif Y_PLANES * Y_TILE == 192
#define COLUMNS 192
#elif Y_PLANES * Y_TILE == 208
#define COLUMNS 208
#elif Y_PLANES * Y_TILE == 224
#define COLUMNS 224
#elif Y_PLANES * Y_TILE == 240
#define COLUMNS 240
#elif Y_PLANES * Y_TILE == 256
#define COLUMNS 256
#endif

#define SLAB         (TILE_K / 8)
#define SUMS         (COLUMNS / 2)
#define ACCUMULATORS (X_BLOCKS * X_PLANES)
#define X_ROWS       (X_PLANES * X_TILE)
#define Y_AT         (X_ROWS * SLAB)
#define STAGE_BYTES  ((X_ROWS + COLUMNS) * SLAB)
/* With groups their edges follow, a set for each slot (wgmma_groups.cu). */
#define GROUPS_AT   (STAGES * STAGE_BYTES)
#define GROUP_SLOTS STAGES
#define RING_BYTES  (GROUPS_AT + GROUP_SLOTS * GROUP_SET_BYTES)

/* Two barriers a slot: filled, free; and one a warpgroup, for the stagger or for its turns. */
#define FULL(slot)       (BARRIERS_AT + 8 * (slot))
#define FREE(slot)       (BARRIERS_AT + 8 * (STAGES + (slot)))
#define GROUP_FULL(slot) FULL(slot)
#define GROUP_FREE(slot) FREE(slot)
#define STARTED(w)       (BARRIERS_AT + 8 * (2 * STAGES + (w)))
#define TURN(w)          (BARRIERS_AT + 8 * (2 * STAGES + (w)))
#define RING_BARRIERS    (2 * STAGES + CONSUMERS)
#define BARRIERS_AT      RING_BYTES

APQ_FUNCTION void apq_init_ring(void) {
  APQ_UNROLL
  for (int slot = 0; slot < STAGES; slot++) {
    apq_mbarrier_init(FULL(slot), COPIERS + GROUP_ARRIVALS);
    apq_mbarrier_init(FREE(slot), RELEASES(SHARERS));
  }
  APQ_UNROLL
  for (int w = 0; w < CONSUMERS; w++) apq_mbarrier_init(STARTED(w), START_ARRIVALS);
}

/* Passes over K, each with the planes that it multiplies; `falls` says that i + j is one less than
 * in the pass before. */
#if SCHEDULE == SCHEDULE_HORNER
#define PASSES (X_BITS * Y_BITS)
#else
#define PASSES 1
#endif

/* Stages of a pass; some for both ends, of zeros where K has fewer. */
#define STAGES_MIN (PASSES == 1 ? 2 * OVERLAP : OVERLAP)
APQ_FUNCTION int apq_stage_count(const apq_gemm_args *args) {
  int stages = (args->row_bytes + SLAB - 1) / SLAB;
  return stages < STAGES_MIN ? STAGES_MIN : stages;
}

typedef struct apq_pass {
  int x_plane, y_plane, falls;
} apq_pass;

APQ_FUNCTION apq_pass apq_first_pass(void) {
  apq_pass pass = {0, 0, 0};
#if SCHEDULE == SCHEDULE_HORNER
  pass.x_plane = X_BITS - 1;
  pass.y_plane = Y_BITS - 1;
#endif
  return pass;
}

/* Down the pairs of one sum from the highest x plane, then on to the next lower sum. */
APQ_FUNCTION apq_pass apq_next_pass(apq_pass pass) {
  int sum = pass.x_plane + pass.y_plane;
  pass.falls = pass.x_plane == 0 || pass.y_plane == Y_BITS - 1;
  if (pass.falls) {
    sum--;
    pass.x_plane = sum < X_BITS - 1 ? sum : X_BITS - 1;
  } else {
    pass.x_plane--;
  }
  pass.y_plane = sum - pass.x_plane;
  return pass;
}

/* Between passes, where the sum of the planes' numbers falls. */
APQ_FUNCTION void apq_double_sums(int acc[ACCUMULATORS][SUMS]) {
  APQ_UNROLL
  for (int i = 0; i < ACCUMULATORS * SUMS; i++)
    acc[i / SUMS][i % SUMS] = (int)((apq_u32)acc[i / SUMS][i % SUMS] << 1);
}

#if SWAP
#define W_AT     0
#define A_AT     Y_AT
#define W_PLANES X_PLANES
#define A_PLANES Y_PLANES
#else
#define W_AT     Y_AT
#define A_AT     0
#define W_PLANES Y_PLANES
#define A_PLANES X_PLANES
#endif

/* Where in the ring a warpgroup, or the feeding thread, is.  Nothing is kept in registers from
 * apq_open to apq_consume. */
typedef apq_place apq_ring;
typedef int apq_kept;

/* Past the stages of a unit that another warpgroup takes. */
APQ_FUNCTION void apq_skip_unit(const apq_work *work, apq_ring *at) {
  *at = apq_skip_places(*at, STAGES, (work->end - work->first) * PASSES);
}

/* The copies of one operand of one unit, by one thread. */
APQ_FUNCTION void apq_produce(const apq_tma_args *args, const apq_work *work, int copier,
                              apq_ring *at) {
  apq_pass pass = apq_first_pass();
  APQ_NO_UNROLL
  for (int i = 0; i < PASSES; i++) {
    int w_plane = SWAP ? pass.x_plane : pass.y_plane, a_plane = SWAP ? pass.y_plane : pass.x_plane;
    APQ_NO_UNROLL
    for (int stage = work->first; stage < work->end; stage++) {
      int full = FULL(at->slot), base = at->slot * STAGE_BYTES;
      apq_mbarrier_wait(FREE(at->slot), at->phase ^ 1);
      apq_mbarrier_expect(full, copier == W_COPIER ? W_PLANES * TILE_N * SLAB
                                                   : A_PLANES * TILE_M * SLAB);
      APQ_UNROLL
      for (int plane = 0; plane < W_PLANES && copier == W_COPIER; plane++)
        apq_copy_tile(base + W_AT + plane * TILE_N * PANEL(SLAB), &args->w, full, stage * SLAB,
                      work->n0, w_plane + plane, TILE_N, W_PLANES * TILE_N, SLAB, CLUSTER_M, RANK_M,
                      W_MASK);
      APQ_UNROLL
      for (int plane = 0; plane < A_PLANES && copier == A_COPIER; plane++)
        apq_copy_tile(base + A_AT + plane * TILE_M * PANEL(SLAB), &args->a, full, stage * SLAB,
                      work->m0, a_plane + plane, TILE_M, A_PLANES * TILE_M, SLAB, CLUSTER_N, RANK_N,
                      A_MASK);
      *at = apq_next_place(*at, STAGES);
    }
    pass = apq_next_pass(pass);
  }
}

#if !OVERLAP && !GROUP
/* The products of a warpgroup's share of one unit, into sums that need not be zero before.  `lead`
 * is how many stages the next warpgroup waits for, 0 when it does not. */
APQ_FUNCTION void apq_consume(const apq_work *work, int sharer, int lead, apq_ring *at,
                              apq_kept *kept, int acc[ACCUMULATORS][SUMS]) {
#if STAGGER > 0
  if (lead > 0 && sharer > 0) apq_mbarrier_wait(STARTED(sharer - 1), 0);
#endif
  apq_u64 x_desc = apq_operand(sharer * X_BLOCKS * 64 * PANEL(SLAB), X_ROWS, SLAB);
  apq_u64 y_desc = apq_operand(Y_AT, COLUMNS, SLAB);
  apq_pass pass = apq_first_pass();
  int accumulate = 0, held = -1;
  APQ_NO_UNROLL
  for (int i = 0; i < PASSES; i++) {
    if (pass.falls) {
      apq_wgmma_wait(0);
      apq_double_sums(acc);
    }
    APQ_NO_UNROLL
    for (int stage = work->first; stage < work->end; stage++) {
      apq_u64 offset = (apq_u64)(at->slot * (STAGE_BYTES / 16));
      apq_mbarrier_wait(FULL(at->slot), at->phase);
      apq_wgmma_fence();
      APQ_UNROLL
      for (int step = 0; step < SLAB / 32; step++) {
        APQ_UNROLL
        for (int block = 0; block < X_BLOCKS; block++) {
          APQ_UNROLL
          for (int plane = 0; plane < X_PLANES; plane++)
            apq_wgmma_b1(COLUMNS, acc[block * X_PLANES + plane],
                         x_desc + offset +
                             apq_operand_at(plane * X_TILE + block * 64, step, X_ROWS, SLAB),
                         y_desc + offset + apq_operand_at(0, step, COLUMNS, SLAB), accumulate);
        }
        accumulate = 1;
      }
      apq_wgmma_commit();
      /* The stage before is multiplied once at most this one is not. */
      apq_wgmma_wait(1);
      if (held >= 0) apq_release(FREE(held));
      held = at->slot;
      apq_let_follow(&lead, STARTED(sharer), 0);
      *at = apq_next_place(*at, STAGES);
    }
    pass = apq_next_pass(pass);
  }
  apq_pass_turn(TURN(2 - apq_thread() / 128));
  apq_wgmma_wait(0);
  apq_release(FREE(held));
  apq_let_follow(&lead, STARTED(sharer), 1);
  (void)kept;
}
#endif

/* Sum i of a 64-row block: register i of a tile whose columns are outputs. */
APQ_FUNCTION apq_u32 apq_sum(int acc[ACCUMULATORS][SUMS], int block, int i) {
  apq_u32 sum = 0;
  APQ_UNROLL
  for (int x = 0; x < X_PLANES; x++) {
    APQ_UNROLL
    for (int y = 0; y < Y_PLANES; y++)
      sum += (apq_u32)acc[block * X_PLANES + x][y * (Y_TILE / 2) + i] << (x + y);
  }
  return sum;
}
