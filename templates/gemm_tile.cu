/* ---- tiles: which operand is on which side of the mma, shared-memory rows, and their copies ----
 * The operand with 16 rows is called x, the one with 8 columns y: activations and weights, or
 * exchanged with SWAP. */

#define WARPS   (WARPS_M * WARPS_N)
#define THREADS (32 * WARPS)

#if SWAP
#define X_BITS  P
#define X_TILE  TILE_N
#define X_WARPS WARPS_N
#define Y_BITS  Q
#define Y_TILE  TILE_M
#define Y_WARPS WARPS_M
#else
#define X_BITS  Q
#define X_TILE  TILE_M
#define X_WARPS WARPS_M
#define Y_BITS  P
#define Y_TILE  TILE_N
#define Y_WARPS WARPS_N
#endif

/* Bytes from one row of `chunks` 16-byte chunks to the next. */
#if LAYOUT == LAYOUT_PADDED
#define PITCH_OF(chunks) ((chunks)*16 + 16)
#else
#define PITCH_OF(chunks) ((chunks)*16)
#endif

/* ldmatrix reads the same chunk of eight rows at once.  With `xor` a row's chunks are permuted by
 * its number so that those eight lie in different banks: by row % 8 where a row fills all banks,
 * else by which of the eight rows share the banks. `padded` gets the same from an odd pitch;
 * `linear` does not. */
APQ_FUNCTION int apq_swizzle(int row, int chunks) {
#if LAYOUT == LAYOUT_XOR
  return chunks >= 8 ? row & 7 : row % 8 / (8 / chunks);
#else
  (void)row;
  (void)chunks;
  return 0;
#endif
}

/* Byte offset of a chunk of a row. */
APQ_FUNCTION int apq_chunk_at(int row, int chunk, int chunks) {
  return row * PITCH_OF(chunks) + (chunk ^ apq_swizzle(row, chunks)) * 16;
}

/* How many 16-byte copies of `total` a thread makes. */
#define COPIES(total) (((total) + THREADS - 1) / THREADS)

/* Where each copy of one operand reads, in chunks from the base; this does not change from stage to
 * stage.  Rows past the matrix read its last row: what comes of them is not stored. */
APQ_FUNCTION void apq_plan_copies(apq_u32 *from, int total, int chunks, int tile, int first,
                                  int limit, int row_chunks) {
  APQ_UNROLL
  for (int i = 0; i < COPIES(total); i++) {
    int index = i * THREADS + apq_thread();
    /* One plane needs no division of its rows. */
    int plane = total > tile * chunks ? index / chunks / tile : 0;
    int at = first + (total > tile * chunks ? index / chunks % tile : index / chunks);
    if (at >= limit) at = limit - 1;
    from[i] = ((apq_u32)plane * (apq_u32)limit + (apq_u32)at) * (apq_u32)row_chunks +
              (apq_u32)(index % chunks);
  }
}

/* The copies of a stage are started in parts, one before each k step of the stage that is computed
 * meanwhile. */
#define PART_FIRST(total, part, parts) (COPIES(total) * (part) / (parts))

/* Starts one part of the copies of an operand's rows; zeros when the thread's chunk lies past k. */
APQ_FUNCTION void apq_copy_rows(int at, const apq_u8 *base, const apq_u32 *from, int total,
                                int chunks, int is_in_k, int part, int parts) {
  APQ_UNROLL
  for (int i = PART_FIRST(total, part, parts); i < PART_FIRST(total, part + 1, parts); i++) {
    int index = i * THREADS + apq_thread();
    if (total % THREADS == 0 || index < total)
      apq_cp_async16(at + apq_chunk_at(index / chunks, index % chunks, chunks),
                     base + (long long)from[i] * 16, is_in_k ? 16 : 0);
  }
}

/* The whole stages of k that this block's split has: [first, end).  They are dealt as evenly as
 * they go. */
APQ_FUNCTION void apq_split_stages(int stages, int *first, int *end) {
  *first = (int)((long long)stages * (apq_block_z() % SPLIT_K) / SPLIT_K);
  *end = (int)((long long)stages * (apq_block_z() % SPLIT_K + 1) / SPLIT_K);
}

/* Between two stages: this one's copies are all started, the next stage has arrived, and no warp
 * reads the one before any more. */
APQ_FUNCTION void apq_turn_stage(void) {
  apq_cp_async_commit();
#if STAGES > 1
  apq_cp_async_wait(STAGES - 2);
#endif
  apq_syncthreads();
}
