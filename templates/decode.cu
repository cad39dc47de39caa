/* Family decode: few tokens.  Weights are streamed once, from device memory straight into the
 * fragments of mma.sync: nothing of them passes through shared memory.
 *
 * @family decode product planes
 * @parts unpack.cu activation.cu quantize.cu gemm_epilogue.cu decode_core.cu decode_load.cu
 * @parts decode_rows.cu decode_groups.cu decode_split.cu decode.cu decode_kernel.cu
 * @knob p         = 2 : 1 2 3 4 5 6 7 8 : weight bits
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : activation bits
 * @knob out       = f16 : i32 f16 bf16 f32 : result type
 * @knob core      = b1 : b1 u8 : products of bits, or of bytes that the weights are unpacked to
 * @knob tile_m    = 1 : 1 2 4 8 16 32 64 : tokens of a block
 * @knob tiles     = 1 : 1 2 4 : 16-row blocks of weights of a warp
 * @knob warps_n   = 1 : 1 2 4 8 : warps along n
 * @knob warps_k   = 8 : 1 2 4 8 16 32 : warps that share k
 * @knob depth     = 1 : 1 2 3 4 6 8 : slabs of 512 k that a warp loads at once
 * @knob stages    = 1 : 1 2 3 4 : such loads that are in registers
 * @knob persist   = 0 : 0 1 2 3 4 5 6 8 : blocks an SM, each going from tile to tile; 0 is one tile
 * a block
 * @knob once      = 0 : 0 1 : 1 has no loop: for k that one load of all warps holds
 * @knob even      = 0 : 0 1 : 1 adds idle blocks, so that every SM has a block
 * @knob min_blocks = 1 : 1 2 3 4 5 6 8 : blocks an SM must have room for (bounds the registers)
 * @knob operand   = stream : stream keep shared : activations loaded with the weights, or once to
 * registers, or once to shared memory
 * @knob schedule  = side : side horner : an accumulator for each weight plane, or one (b1 only)
 * @knob cluster   = 1 : 1 2 4 8 : blocks that divide k and send each other their sums
 * @knob split_k   = 1 : 1 2 4 8 : blocks, anywhere in the grid, that divide k; the last to come
 * adds the others' sums to its own
 * @knob unpack    = use : use fill wait : core=u8: the first weights are unpacked when they are
 * used, or while activations come, or before these are waited for (pdl)
 * @knob release   = start : start issue : when the kernel after this one may begin: at once, or
 * when activations are asked for (pdl)
 * @knob pdl       = 0 : 0 1 : 1 starts before the kernel before it has ended, and loads weights
 * meanwhile
 * @knob src       = packed : packed f16 bf16 f32 : activations as pack leaves them, or rows of this
 * type, which each block quantizes
 * @knob hold      = 1 : 1 2 4 8 16 : chunks of eight k of a row that a thread keeps, in shared
 * memory (src)
 * @knob group     = 0 : 0 32 64 128 256 : k that share a scale of the weights; 0: all
 *
 * The weights are the 16-row side of the mma, the activations its columns: with b1 the planes of a
 * token are neighboring columns, so that eight planes fill the instruction.  Slabs of 512 k are
 * dealt to the warps that share k in turn. */

/* Slab d of a load; with groups its products of one of them. */
APQ_FUNCTION void apq_multiply_pass(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, int d, int pass, apq_sums *sums) {
#if CORE == CORE_U8
  APQ_UNROLL
  for (int i = 0; i < 8; i++) {
    int s = i % FIELDS * WORDS + i / FIELDS; /* neighbors into different sums */
    apq_u32x4 y[YT];
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++)
      y[yi] = apq_of_group(apq_get_activation(lane, at, a, d, yi, s), lane->quad, pass);
    apq_multiply_bytes(&item->w, d, s, y, sums);
  }
#else
  APQ_UNROLL
  for (int first = 0; first < YT; first += Y_GROUP) {
    apq_u32x4 y[Y_GROUP];
    APQ_UNROLL
    for (int yi = 0; yi < Y_GROUP; yi++) {
      int at_y = first + yi < YT ? first + yi : YT - 1;
      y[yi] = apq_of_group(apq_get_activation(lane, at, a, d, at_y, 0), lane->quad, pass);
    }
    apq_compute(&item->w, d, first, y, sums);
  }
#endif
  (void)pass;
}

#if HAS_GROUPS
APQ_FUNCTION void apq_put_warp_sums(const apq_lane *lane, int first, const apq_sums *sums);

/* The sums of each group go their own way. */
APQ_FUNCTION void apq_multiply_slab(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, int d, apq_sums *sums) {
  APQ_UNROLL
  for (int pass = 0; pass < PASSES; pass++) {
    int group = apq_slab(lane, at, d) * PASSES + pass;
    apq_clear(sums);
    apq_multiply_pass(lane, at, item, a, d, pass, sums);
    if (group < lane->groups)
      apq_put_warp_sums(lane, lane->groups_at + 4 * group * SUM_WORDS, sums);
  }
}
#else
APQ_FUNCTION void apq_multiply_slab(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, int d, apq_sums *sums) {
  apq_multiply_pass(lane, at, item, a, d, 0, sums);
}
#endif

APQ_FUNCTION void apq_multiply_item(const apq_lane *lane, const apq_cursor *at, apq_item *item,
                                    const apq_activations *a, apq_sums *sums) {
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) apq_multiply_slab(lane, at, item, a, d, sums);
}

#if CLUSTER > 1

/* Sends the warp's sums to the blocks that finish their rows.  A lane's are a chunk of four for
 * each SENT_TOKENS tokens of 16 rows. */
APQ_FUNCTION void apq_put_sums(const apq_lane *lane, int set, const apq_sums *sums) {
  int from = (lane->rank * WARPS_K + lane->k_warp) * SENT_WORDS;
  int place = SENT_PLACE(lane->group, lane->quad);
  (void)set;
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    int block = lane->n_warp * TILES + ti; /* of 16 rows */
    APQ_UNROLL
    for (int j = 0; j < SENT_PARTS; j++) {
      apq_u32x4 v = apq_fold_part(sums, ti, j, lane->quad);
      int at = from + ((block % (OWN / 16)) * SENT_PARTS + j) * 128 + place * 4;
      apq_send128(SETS_AT + 4 * at, block / (OWN / 16), v, 0);
    }
  }
}

/* The sum of an output that this thread finishes, token m. */
APQ_FUNCTION apq_u32 apq_add_sums(int set, int m) {
  int row = apq_thread() % OWN, quad = SENT_QUAD(row, m);
  int at = (row / 16 * SENT_PARTS + m / SENT_TOKENS) * 128 + SENT_PLACE(row % 8, quad) * 4 +
           SENT_WORD(row, m);
  apq_u32 sum = 0;
  (void)set;
  APQ_UNROLL
  for (int i = 0; i < CLUSTER * WARPS_K; i++) sum += apq_lds32(SETS_AT + 4 * (i * SENT_WORDS + at));
  return sum;
}

#else

/* Puts the warp's sums into shared memory, [token][row] from byte `at` on. */
APQ_FUNCTION void apq_put_warp_sums(const apq_lane *lane, int at, const apq_sums *sums) {
  int first = lane->n_warp * (16 * TILES) + lane->group;
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      apq_u32 result[LANE_HALVES][LANE_TOKENS];
      apq_fold(sums, ti, yi, lane->quad, result);
#if TOKEN_COLUMNS > 2
      /* With eight columns a token, two lanes have the same sum. */
      int m = yi * FRAGMENT_TOKENS + lane->quad / (TOKEN_COLUMNS / 2);
      if (lane->quad < 2 * FRAGMENT_TOKENS && m < TILE_M)
        apq_sts32(at + 4 * (first + m * SUM_PITCH + 16 * ti + 8 * (lane->quad % 2)), result[0][0]);
#else
      APQ_UNROLL
      for (int i = 0; i < 2 * LANE_TOKENS; i++) {
        int m = yi * FRAGMENT_TOKENS + lane->quad * LANE_TOKENS + i / 2;
        if (m < TILE_M)
          apq_sts32(at + 4 * (first + m * SUM_PITCH + 16 * ti + 8 * (i % 2)), result[i % 2][i / 2]);
      }
#endif
    }
  }
}

APQ_FUNCTION void apq_put_sums(const apq_lane *lane, int set, const apq_sums *sums) {
  apq_put_warp_sums(lane, SETS_AT + 4 * (set * SET_WORDS + lane->k_warp * SUM_WORDS), sums);
}

/* Where blocks share a tile the sums of all warps are in the first one's place by then. */
#define ADDENDS (SPLIT_K > 1 ? 1 : WARPS_K)
APQ_FUNCTION apq_u32 apq_add_sums(int set, int m) {
  int at = set * SET_WORDS + m * SUM_PITCH + apq_thread() % ROWS;
  apq_u32 sum = 0;
  APQ_UNROLL
  for (int i = 0; i < ADDENDS; i++) sum += apq_lds32(SETS_AT + 4 * (i * SUM_WORDS + at));
  return sum;
}

#endif

/* The token of which this thread loads the edge: the one it finishes, or, where it finishes
 * several, one for shared memory. */
#if RESULTS <= THREADS
#define ROW_TOKEN ((int)((apq_u32)apq_thread() / OWN))
#else
#define ROW_TOKEN apq_thread()
#endif

APQ_FUNCTION int apq_has_row(const apq_gemm_args *args, const apq_lane *lane) {
  return ROW_TOKEN < TILE_M && lane->m0 + ROW_TOKEN < args->m;
}

/* Adds the sums of all warps up and writes the results of a tile.  With the block's first tile the
 * edges of its tokens come into shared memory. */
APQ_FUNCTION void apq_finish(const apq_gemm_args *args, const apq_lane *lane, int is_first, int set,
                             const apq_sums *sums, const apq_output *out, const apq_raw_edge *raw,
                             const apq_raw_edge *raw_row) {
  apq_put_sums(lane, set, sums);
  apq_edge row = apq_finish_edge(args, raw_row, 1);
  (void)is_first;
#if RESULTS > THREADS
  if (is_first && ROW_TOKEN < TILE_M) apq_put_edge(EDGES_AT + ROW_TOKEN * EDGE_BYTES, &row);
#endif
#if CLUSTER > 1
#if RESULTS > THREADS
  apq_syncthreads();
#endif
  apq_mbarrier_wait(0, 0);
#else
  apq_syncthreads();
#endif
#if SPLIT_K > 1
  if (!apq_share_sums(args, lane, out->tile, set)) return;
#endif
  if (!apq_has_output(args, lane, out)) return;
  apq_edge column = apq_finish_edge(args, raw, 0);
  apq_u8 *at = out->at;
  APQ_NO_UNROLL
  for (int first = out->m; first < TILE_M; first += FINISHED * M_STEP) {
    apq_u32 result[FINISHED];
    APQ_UNROLL
    for (int i = 0; i < FINISHED; i++) {
      apq_u32 sum = apq_add_sums(set, first + i * M_STEP);
#if RESULTS > THREADS
      row = apq_get_edge(EDGES_AT + (first + i * M_STEP) * EDGE_BYTES);
#endif
      result[i] = apq_result(args, sum, &row, &column, (int)out->is_plain);
    }
    APQ_UNROLL
    for (int i = 0; i < FINISHED; i++) {
      int m = lane->m0 + first + i * M_STEP;
      if (m < args->m) {
#if OUT != OUT_I32
        if (!out->is_plain && apq_has_post(args))
          result[i] = apq_post_one(args, m, out->n, result[i]);
#endif
        apq_store_at(at, result[i]);
      }
      at += M_STEP * args->ldy * OUT_BYTES;
    }
  }
}

#if HAS_GROUPS
/* Scales the sums of all groups, adds them up and writes the results of the tile. */
APQ_FUNCTION void apq_finish_groups(const apq_gemm_args *args, const apq_lane *lane, int n0,
                                    const apq_raw_groups *raw, const apq_output *out,
                                    const apq_raw_edge *column) {
  int warp = apq_thread() / 32;
  apq_syncthreads();
  APQ_UNROLL
  for (int i = 0; i < GROUP_ROWS; i++) {
    int row = i * WARPS + warp;
    if (row >= ROWS || n0 + row >= args->n) continue;
    APQ_NO_UNROLL
    for (int g = apq_thread() % 32; g < args->groups; g += 32) {
      apq_raw_group one = g < 32 ? raw->row[i] : apq_load_group(args, n0 + row, g);
      apq_scale_group(args, lane, g, &one, lane->groups_at + 4 * (g * SUM_WORDS + row),
                      4 * SUM_PITCH);
    }
  }
  apq_syncthreads();
  if (!apq_has_output(args, lane, out)) return;
  apq_edge column_edge = apq_finish_edge(args, column, 0);
  apq_u8 *at = out->at;
  APQ_NO_UNROLL
  for (int m = out->m; m < TILE_M && lane->m0 + m < args->m; m += M_STEP) {
    apq_raw_edge raw_row = apq_token_row(args, lane, m);
    apq_edge row = apq_finish_edge(args, &raw_row, 1);
    int from = lane->groups_at + 4 * (m * SUM_PITCH + apq_thread() % ROWS);
    float total = 0.0f;
    APQ_UNROLL_4
    for (int g = 0; g < args->groups; g++)
      total = apq_add(total, apq_bits_float(apq_lds32(from + 4 * g * SUM_WORDS)));
    apq_u32 result =
        apq_finish_total(args, apq_float_bits(total), &row, &column_edge, (int)out->is_plain);
    if (!out->is_plain && apq_has_post(args))
      result = apq_post_one(args, lane->m0 + m, out->n, result);
    apq_store_at(at, result);
    at += M_STEP * args->ldy * OUT_BYTES;
  }
}
#endif
