/* ---- two rings of the warpgroup families on bytes: activations by 128 k, weight planes by TILE_K
 * ---- */

/* Activations [STAGES][TILE_M][128 bytes], then weights [W_STAGES][P][TILE_N][SLAB bytes], each in
 * panels as warpgroup.cu says; with UNPACK_SHARED as codes, [W_STAGES][BLOCKS][TILE_N][128 bytes],
 * in place of planes. */
#define SLAB    (TILE_K / 8)
#define BLOCKS  (TILE_K / 128)
#define A_BYTES (TILE_M * 128)
#if UNPACK == UNPACK_SHARED
#define W_BYTES (TILE_N * TILE_K)
#else
#define W_BYTES (P * TILE_N * SLAB)
#endif
#define W_AT (STAGES * A_BYTES)
/* With groups their edges follow, a set for each slot of weights (wgmma_groups.cu). */
#define GROUPS_AT        (W_AT + W_STAGES * W_BYTES)
#define GROUP_SLOTS      W_STAGES
#define GROUP_FULL(slot) W_FULL(slot)
#define GROUP_FREE(slot) W_FREE(slot)
#define RING_BYTES       (GROUPS_AT + GROUP_SLOTS * GROUP_SET_BYTES)

#define BARRIERS_AT   RING_BYTES
#define FULL(slot)    (BARRIERS_AT + 8 * (slot))
#define FREE(slot)    (BARRIERS_AT + 8 * (STAGES + (slot)))
#define W_FULL(slot)  (BARRIERS_AT + 8 * (2 * STAGES + (slot)))
#define W_FREE(slot)  (BARRIERS_AT + 8 * (2 * STAGES + W_STAGES + (slot)))
#define STARTED(w)    (BARRIERS_AT + 8 * (2 * STAGES + 2 * W_STAGES + (w)))
#define TURN(w)       (BARRIERS_AT + 8 * (2 * STAGES + 2 * W_STAGES + (w)))
#define RING_BARRIERS (2 * STAGES + 2 * W_STAGES + CONSUMERS)

/* Codes of block `block` of a stage: which step's pieces of the activations' order a step finds in
 * the first step's place. */
#define TURN_OF(block) (BLOCKS < 4 ? (block) * (4 / BLOCKS) : (block) % 4)

APQ_FUNCTION void apq_init_ring(void) {
  APQ_UNROLL
  for (int slot = 0; slot < STAGES; slot++) {
    apq_mbarrier_init(FULL(slot), 1);
    apq_mbarrier_init(FREE(slot), RELEASES(SHARERS));
  }
  APQ_UNROLL
  for (int slot = 0; slot < W_STAGES; slot++) {
#if UNPACK == UNPACK_SHARED
    apq_mbarrier_init(W_FULL(slot), UNPACK_WARPS);
    apq_mbarrier_init(W_FREE(slot), 4 * SHARERS);
#else
    apq_mbarrier_init(W_FULL(slot), 1 + GROUP_ARRIVALS);
    apq_mbarrier_init(W_FREE(slot), RELEASES(SHARERS));
#endif
  }
  APQ_UNROLL
  for (int w = 0; w < CONSUMERS; w++) apq_mbarrier_init(STARTED(w), START_ARRIVALS);
}

/* Stages of a unit; blocks enough for both ends, of zeros where K has fewer. */
#define STAGES_MIN ((2 * OVERLAP + BLOCKS - 1) / BLOCKS)
APQ_FUNCTION int apq_stage_count(const apq_gemm_args *args) {
  int stages = (args->row_bytes + SLAB - 1) / SLAB;
  return stages < STAGES_MIN ? STAGES_MIN : stages;
}

/* Where in the rings a warpgroup, or the feeding thread, is. */
typedef struct apq_ring {
  apq_place a, w;
  int w_held, w_blocks; /* UNPACK_SHARED: the slot whose codes are in use, and how many are not */
} apq_ring;

/* Past the stages of a unit that another warpgroup takes. */
APQ_FUNCTION void apq_skip_unit(const apq_work *work, apq_ring *at) {
  at->a = apq_skip_places(at->a, STAGES, (work->end - work->first) * BLOCKS);
  at->w = apq_skip_places(at->w, W_STAGES, work->end - work->first);
  at->w_held = at->w.slot;
}

/* A warp's part of a block of 128 k is multiplied: its activations' slot is free, and with the last
 * block of a stage the slot of weights that are codes, which blocks of a cluster do not share. */
APQ_FUNCTION void apq_release_block(int slot, apq_ring *at) {
  apq_release(FREE(slot));
#if UNPACK == UNPACK_SHARED
  at->w_blocks++;
  if (at->w_blocks < BLOCKS) return;
  apq_arrive_warp(W_FREE(at->w_held));
  at->w_blocks = 0;
  at->w_held = at->w_held == W_STAGES - 1 ? 0 : at->w_held + 1;
#else
  (void)at;
#endif
}

/* The copy of one block of activations, by one thread; the caller has waited for its slot. */
APQ_FUNCTION void apq_copy_block(const apq_tma_args *args, const apq_work *work, int stage,
                                 int block, int slot) {
  apq_mbarrier_expect(FULL(slot), A_BYTES);
  apq_copy_tile(slot * A_BYTES, &args->a, FULL(slot), (stage * BLOCKS + block) * 128, work->m0, 0,
                TILE_M, TILE_M, 128, CLUSTER_N, RANK_N, A_MASK);
}

#if UNPACK != UNPACK_SHARED
APQ_FUNCTION void apq_produce_weights(const apq_tma_args *args, const apq_work *work,
                                      apq_place *at) {
  APQ_NO_UNROLL
  for (int stage = work->first; stage < work->end; stage++) {
    int full = W_FULL(at->slot), base = W_AT + at->slot * W_BYTES;
    apq_mbarrier_wait(W_FREE(at->slot), at->phase ^ 1);
    apq_mbarrier_expect(full, W_BYTES);
    APQ_UNROLL
    for (int plane = 0; plane < P; plane++)
      apq_copy_tile(base + plane * TILE_N * PANEL(SLAB), &args->w, full, stage * SLAB, work->n0,
                    plane, TILE_N, P * TILE_N, SLAB, CLUSTER_M, RANK_M, W_MASK);
    *at = apq_next_place(*at, W_STAGES);
  }
}

APQ_FUNCTION void apq_produce_activations(const apq_tma_args *args, const apq_work *work,
                                          apq_place *at) {
  APQ_NO_UNROLL
  for (int i = work->first * BLOCKS; i < work->end * BLOCKS; i++) {
    apq_mbarrier_wait(FREE(at->slot), at->phase ^ 1);
    apq_copy_block(args, work, i / BLOCKS, i % BLOCKS, at->slot);
    *at = apq_next_place(*at, STAGES);
  }
}

/* The copies of one unit into one of the rings, by one thread.  One for both would ask for weights
 * only as far ahead as there is room for activations, which for few tokens is not as far as memory
 * is away. */
APQ_FUNCTION void apq_produce(const apq_tma_args *args, const apq_work *work, int copier,
                              apq_ring *at) {
  if (copier == W_COPIER)
    apq_produce_weights(args, work, &at->w);
  else
    apq_produce_activations(args, work, &at->a);
}
#endif
