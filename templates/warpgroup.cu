/* ---- blocks of warpgroups: who does what, shared memory, the order of the tiles ----
 * Warpgroup 0 feeds: a thread of its first warp starts the bulk tensor copies of weights, one of
 * its second those of activations, and the other warps prepare what of the output depends on the
 * row or the column alone.  CONSUMERS warpgroups multiply and store.  A block takes one tile after
 * another, so that one warpgroup's stores run under another's products.
 * wgmma takes 64 rows of one operand, called x, and up to 256 columns of the other, y: activations
 * and weights, or exchanged with SWAP.
 *
 * The family gives its knobs; RING_BYTES, RING_BARRIERS; apq_ring, apq_init_ring, apq_stage_count,
 * apq_skip_unit, apq_produce, apq_consume, apq_sum. */

#define THREADS (128 + 128 * CONSUMERS)

/* Warps of the feeding warpgroup that start copies, and its threads that prepare edges: all of the
 * other warps, or of the first where the other UNPACK_WARPS unpack weights. */
#define W_COPIER 0
#define A_COPIER 1
#if UNPACK == UNPACK_SHARED
#define COPIERS      1
#define UNPACK_WARPS 3
#define EDGE_FIRST   0
#define EDGE_THREADS 32
#else
#define COPIERS      2
#define EDGE_FIRST   (32 * COPIERS)
#define EDGE_THREADS (128 - EDGE_FIRST)
#endif

#if SWAP
#define X_BITS P
#define X_TILE TILE_N
#define Y_BITS Q
#define Y_TILE TILE_M
#else
#define X_BITS Q
#define X_TILE TILE_M
#define Y_BITS P
#define Y_TILE TILE_N
#endif

/* Warpgroups that share a tile; who tells another to start, the warps of one that takes turns with
 * it, or one thread of one that it follows; 64-row blocks and columns that each has of a tile, and
 * where they begin. */
#if ROLES == ROLES_PINGPONG
#define SHARERS        1
#define START_ARRIVALS 4
#else
#define SHARERS        CONSUMERS
#define START_ARRIVALS 1
#endif
#if DIVIDE == DIVIDE_COLUMNS
#define X_BLOCKS        (X_TILE / 64)
#define Y_SHARE         (Y_TILE / SHARERS)
#define X_FIRST(sharer) 0
#define Y_FIRST(sharer) ((sharer)*Y_SHARE)
#else
#define X_BLOCKS        (X_TILE / 64 / SHARERS)
#define Y_SHARE         Y_TILE
#define X_FIRST(sharer) ((sharer)*X_BLOCKS * 64)
#define Y_FIRST(sharer) 0
#endif

/* Blocks along m share the weights of their tiles, blocks along n the activations. */
#define CLUSTER (CLUSTER_M * CLUSTER_N)
/* Blocks that read what one of them copies, and so free its slots. */
#define FRIENDS (CLUSTER_M + CLUSTER_N - 1)

/* Place in the cluster. */
#if CLUSTER > 1
#define RANK apq_cluster_rank()
#else
#define RANK 0
#endif
#define RANK_M (RANK % CLUSTER_M)
#define RANK_N (RANK / CLUSTER_M)

/* With OVERLAP the sums of a warpgroup are two halves, by columns, that are stored one after the
 * other while products of the other half run: the last OVERLAP stages of a tile multiply the first
 * half before the second, so that the first is stored meanwhile; the second half is stored when
 * the first OVERLAP stages of the next tile have started to multiply the first half, and then
 * catches up.  Every instruction multiplies one half: in wider ones between the compiler could not
 * keep the sums where they are. */
#define BOTH_HALVES 2
#define HALF_32     16
#define HALF_64     32
#define HALF_96     48
#define HALF_128    64
#define HALF_160    80
#define HALF_192    96
#define HALF_224    112
#define HALF_256    128
/* Half of a number of columns, as a number: the word for the product pastes it. */
#define HALF_OF(columns)        HALF_OF_NUMBER(columns)
#define HALF_OF_NUMBER(columns) HALF_##columns

/* A position in a ring of `slots`; `phase` is the parity of the phase that fills the slot. */
typedef struct apq_place {
  int slot, phase;
} apq_place;

APQ_FUNCTION apq_place apq_next_place(apq_place at, int slots) {
  at.slot++;
  if (at.slot == slots) {
    at.slot = 0;
    at.phase ^= 1;
  }
  return at;
}

/* `count` places on. */
APQ_FUNCTION apq_place apq_skip_places(apq_place at, int slots, int count) {
  at.slot += count;
  at.phase ^= at.slot / slots & 1;
  at.slot %= slots;
  return at;
}

/* Rows of K lie in panels, [panel][row][bytes of a panel], as wide as the tensor copies swizzle:
 * without it a panel is one 16-byte chunk of K, and eight rows of it are a core matrix.  Of rows of
 * `bytes`, each panel has: */
#if SWIZZLE == SWIZZLE_NONE
#define PANEL(bytes) 16
#elif SWIZZLE == 32
#define PANEL(bytes) 32
#elif SWIZZLE == 64
#define PANEL(bytes) ((bytes) < 64 ? (bytes) : 64)
#else
#define PANEL(bytes) (bytes)
#endif

/* Describes to wgmma an operand at `at`, of panels of `rows` rows. */
APQ_FUNCTION apq_u64 apq_operand(int at, int rows, int bytes) {
#if SWIZZLE == SWIZZLE_NONE
  (void)bytes;
  return apq_wgmma_desc_plain(at, rows * 16);
#else
  (void)rows;
  return apq_wgmma_desc(at, PANEL(bytes));
#endif
}

/* What moves a descriptor by `row` rows, a multiple of 8, and `step` times 32 bytes of K. */
APQ_FUNCTION apq_u64 apq_operand_at(int row, int step, int rows, int bytes) {
  int panel = step * 32 / PANEL(bytes), inside = step * 32 % PANEL(bytes);
  return (apq_u64)((panel * rows + row) * (PANEL(bytes) / 16) + inside / 16);
}

/* Where in panels of `rows` rows the first or `second` 16 bytes of a step are, of row `row`: the
 * copies permute the chunks of a panel by the bits above those of 128 bytes. */
APQ_FUNCTION int apq_chunk_at(int row, int step, int second, int rows, int bytes) {
#if SWIZZLE == SWIZZLE_NONE
  (void)bytes;
  return ((2 * step + second) * rows + row) * 16;
#else
  int panel = step * 32 / PANEL(bytes), inside = step * 32 % PANEL(bytes) / 16;
  int mask = (row * PANEL(bytes) / 128) & (PANEL(bytes) / 16 - 1);
  return (panel * rows + row) * PANEL(bytes) + ((inside + second) ^ mask) * 16;
#endif
}

/* Copies one plane of a tile of weights or activations, into panels of `rows` rows; each of the
 * `sharers` blocks of the cluster that need the same tile copies its part of the rows into all of
 * them.  `rank` is the block's place among them, `mask` all of them. */
APQ_FUNCTION void apq_copy_tile(int at, const apq_tensor_map *map, int barrier, int x, int row,
                                int plane, int tile, int rows, int bytes, int sharers, int rank,
                                int mask) {
  int first = sharers == 1 ? 0 : rank * (tile / sharers);
  APQ_UNROLL
  for (int panel = 0; panel < bytes / PANEL(bytes); panel++) {
    int to = at + (panel * rows + first) * PANEL(bytes), from = x + panel * PANEL(bytes);
    if (sharers == 1)
      apq_tma_load(to, map, barrier, from, row, plane);
    else
      apq_tma_load_multicast(to, map, barrier, from, row + first, plane, mask);
  }
}
#define W_MASK (((1 << CLUSTER_M) - 1) << (RANK_N * CLUSTER_M))
#define A_MASK ((CLUSTER_N == 2 ? 1 | 1 << CLUSTER_M : 1) << RANK_M)

/* One arrival for a warp, once all its lanes are here. */
APQ_FUNCTION void apq_arrive_warp(int barrier) {
  apq_syncwarp();
  if (apq_thread() % 32 == 0) apq_mbarrier_arrive(barrier);
}

/* After a stage, or at the end of a unit: a warpgroup that another one follows by `lead` stages
 * lets it start, once. */
APQ_FUNCTION void apq_let_follow(int *lead, int barrier, int is_end) {
#if STAGGER > 0
  if (*lead == 0) return;
  *lead = is_end ? 0 : *lead - 1;
  if (*lead == 0 && apq_thread() % 128 == 0) apq_mbarrier_arrive(barrier);
#else
  (void)lead;
  (void)barrier;
  (void)is_end;
#endif
}

/* After the last products of a turn are started: the other warpgroup's turn has come.  Each warp
 * says so, or one that lags could miss its own next turn. */
APQ_FUNCTION void apq_pass_turn(int barrier) {
#if ROLES == ROLES_PINGPONG
  apq_arrive_warp(barrier);
#else
  (void)barrier;
#endif
}

/* A warp has read a slot: it says so to every block that copies into it.  All its lanes call. */
APQ_FUNCTION void apq_release(int barrier) {
#if CLUSTER > 1
  int lane = apq_thread() % 32;
  /* Friends: the CLUSTER_M blocks with this one's weights, then the other with its activations. */
  int rank = lane < CLUSTER_M ? RANK_N * CLUSTER_M + lane : (RANK_N ^ 1) * CLUSTER_M + RANK_M;
  apq_syncwarp();
  if (lane < FRIENDS) apq_mbarrier_arrive_at(barrier, rank);
#else
  apq_arrive_warp(barrier);
#endif
}
/* Arrivals that free a slot which `warpgroups` read. */
#define RELEASES(warpgroups) (4 * (warpgroups)*FRIENDS)
