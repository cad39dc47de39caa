/* ---- family decode: what is known of the tokens, and rows that the block quantizes itself ---- */

#if !QUANTIZES

/* The edge of token m of the block, its zero point, and the sum of its codes in group g. */
APQ_FUNCTION apq_raw_edge apq_token_row(const apq_gemm_args *args, const apq_lane *lane, int m) {
  return apq_load_row(args, lane->m0 + m);
}

#if HAS_GROUPS
APQ_FUNCTION apq_u32 apq_token_zero(const apq_gemm_args *args, const apq_lane *lane, int m) {
  return args->a_zero ? apq_load_word(args->a_zero + lane->m0 + m) : (apq_u32)args->zero_a;
}

APQ_FUNCTION apq_u32 apq_token_group_sum(const apq_gemm_args *args, const apq_lane *lane, int m,
                                         int g) {
  return apq_load_word(args->a_group_sum + (long long)(lane->m0 + m) * args->groups + g);
}
#endif

#else

/* ROW_WARPS warps go through a row, ROWS_AT_ONCE rows side by side; more tokens than warps take
 * several rounds.  Thread t of a row has its chunks t, t + ROW_STEP, ...  Each block of a cluster
 * needs the range and the sum of the whole row, and keeps the codes of its own k.
 *
 * The row comes by cp.async, each chunk to a place of its thread's own, and is taken from there
 * alone: the assembler counts a load into registers with the loads of weights before it, and who
 * waits for it waits for them. */
#define ROW_STEP (32 * ROW_WARPS)

APQ_FUNCTION int apq_row_thread(void) { return apq_thread() % ROW_STEP; }

/* The row of this warp; past the tokens it has no k. */
APQ_FUNCTION apq_row apq_find_row(const apq_gemm_args *args, const apq_lane *lane, int round) {
  apq_row row;
  row.row = round * ROWS_AT_ONCE + apq_thread() / ROW_STEP;
  int is_there = lane->m0 + row.row < args->m;
  row.k = is_there ? args->k : 0;
  row.x = (const apq_u8 *)args->x;
  row.up = 0;
  if (is_there) row.x += (lane->m0 + row.row) * args->ldx * SRC_BYTES;
  row.chunks = is_there ? (int)lane->chunks * 16 : 0;
  row.is_whole =
      ((unsigned long long)args->x | (unsigned long long)(args->ldx * SRC_BYTES)) % ALIGNED == 0 &&
      args->k % 8 == 0;
  row.is_dirty = args->is_static;
  return row;
}

/* Where chunk i of this thread is: its own place, or the last for whatever is not kept. */
APQ_FUNCTION int apq_held_at(int i) {
  return HELD_AT + 16 * ((i < HOLD ? i : HOLD) * HELD_PARTS * THREADS + apq_thread());
}

/* Starts the copies of a chunk of a whole row; zeros past k. */
APQ_FUNCTION void apq_copy_chunk(const apq_row *row, int i) {
  int chunk = i * ROW_STEP + apq_row_thread(), is_there = 8 * chunk < row->k;
  const apq_u8 *from = row->x + (is_there ? (long long)chunk * (8 * SRC_BYTES) : 0);
  APQ_UNROLL
  for (int j = 0; j < HELD_PARTS; j++)
    apq_cp_async16(apq_held_at(i) + 16 * THREADS * j, from + 16 * j, is_there ? 16 : 0);
}

/* Starts the copies of what is kept of a row: nothing of one whose chunks are ragged. */
APQ_FUNCTION void apq_hold_row(const apq_row *row) {
  if (!row->is_whole) return;
  APQ_UNROLL
  for (int i = 0; i < HOLD; i++) apq_copy_chunk(row, i);
  apq_cp_async_commit();
}

/* Brings a chunk that is not kept. */
APQ_FUNCTION void apq_bring_chunk(const apq_row *row, int i) {
  if (row->is_whole) {
    apq_copy_chunk(row, i);
    apq_cp_async_commit();
    apq_cp_async_wait(0);
    return;
  }
  apq_chunk c = apq_load_ragged(row, row->x, i * ROW_STEP + apq_row_thread());
  APQ_UNROLL
  for (int j = 0; j < HELD_PARTS; j++) {
    apq_u32x4 four = {c.word[4 * j], c.word[4 * j + 1], c.word[4 * j + 2], c.word[4 * j + 3]};
    apq_sts128(apq_held_at(i) + 16 * THREADS * j, four);
  }
}

/* Chunk i of this thread. */
APQ_FUNCTION apq_chunk apq_get_chunk(const apq_row *row, int i) {
  apq_chunk c;
  if (i >= HOLD || !row->is_whole) apq_bring_chunk(row, i);
  APQ_UNROLL
  for (int j = 0; j < HELD_PARTS; j++) {
    apq_u32x4 four = apq_lds128(apq_held_at(i) + 16 * THREADS * j);
    c.word[4 * j] = four.x, c.word[4 * j + 1] = four.y;
    c.word[4 * j + 2] = four.z, c.word[4 * j + 3] = four.w;
  }
  return c;
}

/* The largest of the row's warps', in all of its threads: a word of each, for numbers of 4 bytes
 * two. */
APQ_FUNCTION apq_range apq_exchange_range(apq_range range) {
#if ROW_WARPS > 1
  int warp = apq_thread() / 32, first = warp / ROW_WARPS * ROW_WARPS;
#if SRC == SRC_F32
  if (apq_thread() % 32 == 0) {
    apq_sts32(RANGES_AT + 8 * warp, range.low);
    apq_sts32(RANGES_AT + 8 * warp + 4, range.high);
  }
  apq_syncthreads();
  APQ_UNROLL
  for (int i = 0; i < ROW_WARPS; i += 2) {
    apq_u32x4 two = apq_lds128(RANGES_AT + 8 * (first + i));
    range.low = apq_larger(range.low, apq_larger(two.x, two.z));
    range.high = apq_larger(range.high, apq_larger(two.y, two.w));
  }
#else
  apq_u32 both = range.low | range.high << 16;
  if (apq_thread() % 32 == 0) apq_sts32(RANGES_AT + 4 * warp, both);
  apq_syncthreads();
#if ROW_WARPS == 2
  both = apq_max_u16x2(apq_lds32(RANGES_AT + 4 * first), apq_lds32(RANGES_AT + 4 * first + 4));
#else
  APQ_UNROLL
  for (int i = 0; i < ROW_WARPS; i += 4) {
    apq_u32x4 four = apq_lds128(RANGES_AT + 4 * (first + i));
    both = apq_max_u16x2(
        both, apq_max_u16x2(apq_max_u16x2(four.x, four.y), apq_max_u16x2(four.z, four.w)));
  }
#endif
  range.low = both & 0xffffu;
  range.high = both >> 16;
#endif
#endif
  return range;
}

/* Of the row, in all of its threads. */
APQ_FUNCTION apq_range apq_find_range(const apq_row *row) {
  apq_range range = {LOWEST, 0};
  APQ_NO_UNROLL
  for (int i = 0; i * ROW_STEP + apq_row_thread() < row->chunks; i++) {
    apq_chunk c = apq_get_chunk(row, i);
    apq_extend_range(&range, &c);
  }
  return apq_exchange_range(apq_warp_range(range));
}

/* Of a row with something that is not finite, which is rare: each warp goes through all of it, so
 * that none waits for another. */
APQ_FUNCTION apq_range apq_find_clean_range(const apq_row *row) {
  apq_range range = {LOWEST, 0};
  APQ_NO_UNROLL
  for (int chunk = apq_thread() % 32; chunk < row->chunks; chunk += 32) {
    apq_chunk c = apq_load_chunk(row, row->x, chunk);
    apq_clean_chunk(&c);
    apq_extend_range(&range, &c);
  }
  return apq_warp_range(range);
}

APQ_FUNCTION apq_quantizer apq_choose_quantizer(const apq_gemm_args *args, apq_row *row) {
  apq_quantizer z;
  if (args->is_static) {
    z.scale = args->static_scale;
    z.inverse = apq_div(1.0f, args->static_scale);
    z.zero = args->static_zero;
  } else {
    apq_range range = apq_find_range(row);
    if (range.low >= INFINITE || range.high >= INFINITE) {
      row->is_dirty = 1;
      range = apq_find_clean_range(row);
    }
    z = apq_make_quantizer(args->format, apq_magnitude(range.low), apq_magnitude(range.high));
  }
  apq_finish_quantizer(args->format, args->is_static, &z);
  return z;
}

/* Puts the codes of this lane's chunk into the panel, as the packed ones would be copied there. */
APQ_FUNCTION void apq_put_codes(const apq_lane *lane, int token, int chunk, apq_u32 word[2]) {
  int j = apq_thread() % 4, own = chunk - 16 * (int)lane->begin;
  int is_own = own >= 0 && own < 16 * (int)lane->room;
#if CORE == CORE_U8
  int line = own / 16, order = PANEL_ORDER(token, line);
  int at = PANEL_AT + 128 * (token * (int)PANEL_LINES(lane->room) + line) + (own & 12);
  APQ_UNROLL
  for (int i = 0; i < 2; i++) {
    apq_u32 mine = apq_transpose_lanes(word[i]);
    if (is_own) apq_sts32(at + 16 * ((j + 4 * i) ^ order), mine);
  }
#else
  apq_transpose_bits(word);
  APQ_UNROLL
  for (int i = 0; i < (BITS > 4 ? 2 : 1); i++) {
    apq_u32 mine = apq_transpose_lanes(word[i]);
    int plane = 4 * i + j, column = token * TOKEN_COLUMNS + plane;
    int at = PANEL_AT + 128 * (column * (int)PANEL_LINES(lane->room) + own / 128) + (own & 12);
    if (is_own && plane < TOKEN_COLUMNS)
      apq_sts32(at + 16 * (own / 16 % 8 ^ PANEL_ORDER(column, own / 128)), mine);
  }
#endif
}

#if HAS_GROUPS
/* Adds up the lanes that share a group; chunks of a group are neighbors in one warp. */
APQ_FUNCTION void apq_put_group_sum(const apq_lane *lane, int token, int chunk, apq_u32 sum) {
  int group = chunk / (GROUP / 8);
  APQ_UNROLL
  for (int mask = 1; mask < GROUP / 8; mask *= 2) sum += apq_shuffle_xor(sum, mask);
  if (chunk % (GROUP / 8) == 0 && group < lane->groups)
    apq_sts32(lane->token_groups_at + 4 * (token * lane->groups + group), sum);
}
#endif

/* Quantizes a chunk into the panel; returns the sum of its codes. */
APQ_FUNCTION apq_u32 apq_quantize_into_panel(const apq_gemm_args *args, const apq_lane *lane,
                                             const apq_row *row, const apq_quantizer *z, int chunk,
                                             apq_chunk *c) {
  apq_u32 code[8], word[2];
  if (row->is_dirty) apq_clean_chunk(c);
  apq_quantize_chunk(args->format, z, c, code);
  apq_join_codes(row, chunk, code, z->surplus, word);
  if (8 * chunk >= row->k) word[0] = word[1] = 0;
  apq_u32 sum = (apq_u32)apq_dp4a_u8(word[0], 0x01010101u, apq_dp4a_u8(word[1], 0x01010101u, 0));
  apq_put_codes(lane, row->row, chunk, word);
#if HAS_GROUPS
  apq_put_group_sum(lane, row->row, chunk, sum);
#endif
  return sum;
}

APQ_FUNCTION void apq_quantize_row(const apq_gemm_args *args, const apq_lane *lane, apq_row *row) {
  int thread = apq_row_thread(), end = 16 * (int)(lane->begin + lane->room);
  apq_cp_async_wait(0);
  apq_quantizer z = apq_choose_quantizer(args, row);
  if (end < (int)lane->chunks * 16) end = (int)lane->chunks * 16;
  apq_u32 sum = 0;
  APQ_NO_UNROLL
  for (int i = 0; i * ROW_STEP + (thread & ~31) < end; i++) {
    apq_chunk c = apq_get_chunk(row, i);
    sum += apq_quantize_into_panel(args, lane, row, &z, i * ROW_STEP + thread, &c);
  }
  APQ_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) sum += apq_shuffle_xor(sum, mask);
  if (apq_thread() % 32 != 0) return;
  apq_sts32(TOKEN_SUMS_AT + 4 * (row->row * ROW_WARPS + thread / 32), sum);
  if (thread != 0) return;
  apq_sts32(TOKENS_AT + 8 * row->row, apq_float_bits(z.scale));
  apq_sts32(TOKENS_AT + 8 * row->row + 4, (apq_u32)z.zero);
}

/* Quantizes the block's rows, the copies of the first of which were started.  A barrier has to
 * follow. */
APQ_FUNCTION void apq_quantize_rows(const apq_gemm_args *args, const apq_lane *lane, apq_row *row) {
  apq_quantize_row(args, lane, row);
#if TILE_M > WARPS
  APQ_NO_UNROLL
  for (int round = 1; round < TILE_M / ROWS_AT_ONCE; round++) {
    *row = apq_find_row(args, lane, round);
    apq_hold_row(row);
    apq_quantize_row(args, lane, row);
  }
#endif
}

APQ_FUNCTION apq_raw_edge apq_token_row(const apq_gemm_args *args, const apq_lane *lane, int m) {
  apq_raw_edge row;
  (void)args;
  (void)lane;
  row.sum = 0;
  APQ_UNROLL
  for (int i = 0; i < ROW_WARPS; i++) row.sum += apq_lds32(TOKEN_SUMS_AT + 4 * (m * ROW_WARPS + i));
  row.scale = apq_bits_float(apq_lds32(TOKENS_AT + 8 * m));
  row.zero = apq_lds32(TOKENS_AT + 8 * m + 4);
  row.bias = 0.0f;
  return row;
}

#if HAS_GROUPS
APQ_FUNCTION apq_u32 apq_token_zero(const apq_gemm_args *args, const apq_lane *lane, int m) {
  (void)args;
  (void)lane;
  return apq_lds32(TOKENS_AT + 8 * m + 4);
}

APQ_FUNCTION apq_u32 apq_token_group_sum(const apq_gemm_args *args, const apq_lane *lane, int m,
                                         int g) {
  (void)args;
  return apq_lds32(lane->token_groups_at + 4 * (m * lane->groups + g));
}
#endif

#endif
