/* ---- blocks of warpgroups: which work a block does, and in which order ----
 * A unit of work is a tile, or a part of its stages of k.  With split_k=stream blocks take whole
 * tiles in turn, as long as these fill whole waves; of what is left, less than two waves, all
 * stages are one row of work, a tile after another, and each cluster takes an equal range of it:
 * the end of a tile, whole tiles, the beginning of one.  That end comes first, so its sums wait
 * long when the block that began the tile is done with it and adds them. */

#if SPLIT_K == SPLIT_K_STREAM
#define STREAM 1
#define SPLITS 1
#else
#define STREAM 0
#define SPLITS SPLIT_K
#endif

#define FIRST_UNIT (apq_block_x() / CLUSTER)
#define UNIT_STEP  (apq_grid_x() / CLUSTER)

typedef struct apq_work {
  int m0, n0;     /* may lie outside the matrix, in a cluster at its edge */
  int first, end; /* whole stages of k */
  /* Units that share the tile, which of them this is, and where the sums of unit i lie (slot) and
   * their tickets. */
  int parts, part, slot, ticket;
} apq_work;

/* Tiles in units of a cluster's, and the stages of k. */
typedef struct apq_tiles {
  int m, n, stages, units;
#if STREAM
  int whole;       /* tiles taken in turn */
  int range, more; /* stages of each cluster, and how many clusters have one more */
#endif
} apq_tiles;

#if STREAM
/* Where cluster i's range begins. */
APQ_FUNCTION int apq_range_first(const apq_tiles *tiles, int i) {
  return i * tiles->range + (i < tiles->more ? i : tiles->more);
}

/* The cluster whose range stage `at` is in. */
APQ_FUNCTION int apq_range_of(const apq_tiles *tiles, int at) {
  int long_ones = tiles->more * (tiles->range + 1);
  return at < long_ones ? at / (tiles->range + 1) : tiles->more + (at - long_ones) / tiles->range;
}
#endif

/* `units` counts as if all blocks had as many as this one. */
APQ_FUNCTION apq_tiles apq_count_tiles(const apq_gemm_args *args, int stages) {
  apq_tiles tiles;
  tiles.m = (args->m + TILE_M * CLUSTER_M - 1) / (TILE_M * CLUSTER_M);
  tiles.n = (args->n + TILE_N * CLUSTER_N - 1) / (TILE_N * CLUSTER_N);
  tiles.stages = stages;
  tiles.units = tiles.m * tiles.n * SPLITS;
#if STREAM
  int left = tiles.units % UNIT_STEP;
  if (left > 0 && tiles.units > UNIT_STEP) left += UNIT_STEP;
  tiles.whole = tiles.units - left;
  tiles.range = left * stages / UNIT_STEP;
  tiles.more = left * stages % UNIT_STEP;
  tiles.units = tiles.whole;
  if (left > 0) {
    /* The host starts no more clusters than there are stages: no range is empty. */
    int first = apq_range_first(&tiles, FIRST_UNIT), end = apq_range_first(&tiles, FIRST_UNIT + 1);
    tiles.units += ((end - 1) / stages - first / stages + 1) * UNIT_STEP;
  }
#endif
  return tiles;
}

/* Units that run at the same time take RASTER rows of tiles, so that they share both operands in
 * L2. */
APQ_FUNCTION void apq_place_tile(const apq_tiles *tiles, int index, apq_work *work) {
  int group = index / (RASTER * tiles->n) * RASTER;
  int height = tiles->m - group < RASTER ? tiles->m - group : RASTER;
  int inside = index - group * tiles->n;
  work->m0 = ((group + inside % height) * CLUSTER_M + RANK_M) * TILE_M;
  work->n0 = (inside / height * CLUSTER_N + RANK_N) * TILE_N;
}

#if STREAM
/* This cluster's part of a tile, after `skipped` tiles of its range. */
APQ_FUNCTION void apq_take_range(const apq_tiles *tiles, int skipped, apq_work *work) {
  int stages = tiles->stages, cluster = FIRST_UNIT;
  int first = apq_range_first(tiles, cluster), end = apq_range_first(tiles, cluster + 1);
  int tile = first / stages + skipped, begin = tile * stages;
  int first_cluster = apq_range_of(tiles, begin);
  work->first = first > begin ? first - begin : 0;
  work->end = end < begin + stages ? end - begin : stages;
  work->parts = apq_range_of(tiles, begin + stages - 1) - first_cluster + 1;
  work->part = cluster - first_cluster;
  work->slot = first_cluster;
  work->ticket = tile * CLUSTER + RANK;
  apq_place_tile(tiles, tiles->whole + tile, work);
}
#endif

APQ_FUNCTION apq_work apq_work_at(const apq_tiles *tiles, int unit) {
  apq_work work;
#if STREAM
  if (unit >= tiles->whole) {
    apq_take_range(tiles, (unit - tiles->whole) / UNIT_STEP, &work);
    return work;
  }
#endif
  int index = unit / SPLITS;
  apq_place_tile(tiles, index, &work);
  work.parts = SPLITS;
  work.part = unit % SPLITS;
  work.first = (int)((long long)tiles->stages * work.part / SPLITS);
  work.end = (int)((long long)tiles->stages * (work.part + 1) / SPLITS);
  work.ticket = index * CLUSTER + RANK;
  work.slot = index * SPLITS;
  return work;
}

/* Where the sums of part i of a tile lie in the workspace, in tiles.  A range has at most one part
 * that does not begin its tile, and one that begins it and does not end it. */
APQ_FUNCTION int apq_slot_of(const apq_work *work, int i) {
  int slot = work->slot + i;
#if STREAM
  if (i == 0) slot += UNIT_STEP;
#endif
  return slot * CLUSTER + RANK;
}
