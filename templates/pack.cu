/* Family pack: one row a block, from fp16, bf16, fp32 or ready codes to planes or bytes, with
 * scale, zero point and sums of codes.  The quantizer is apq__reference_quantize, operation by
 * operation.
 *
 * @family pack helper planes
 * @parts activation.cu quantize.cu pack.cu
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : bits of a code
 * @knob src       = f16 : f16 bf16 f32 codes8 : type of the rows
 * @knob form      = planes : planes bytes pairs : bit planes, or one byte a code in the order of u8
 * kernels, or such bytes made of two codes (bitplane.h)
 * @knob warps     = 8 : 4 5 6 7 8 9 10 11 12 13 14 15 16 20 24 28 32 : warps of a block
 * @knob hold      = 4 : 1 2 4 : chunks of a row that a thread keeps in registers
 * @knob gate      = 0 : 0 1 : the row is the product of an activated row and the one beside it
 *
 * Thread t has chunks t, t + THREADS, ...; the first HOLD of them are read once and kept while the
 * range of the row is found, the others are read again. */

#define THREADS (32 * WARPS)
/* Byte offsets in shared memory of the warps' partial results. */
#define LOW_AT  0
#define HIGH_AT (4 * WARPS)
#define SUM_AT  (8 * WARPS)

#if GATE
/* gate(c) * up, rounded to the source type. */
APQ_FUNCTION void apq_gate_chunk(const apq_gate_args *gate, apq_chunk *c, const apq_chunk *up) {
  float y[8];
  APQ_UNROLL
  for (int i = 0; i < 8; i++) y[i] = apq_element(c, i);
  apq_activate_eight(gate, y);
  APQ_UNROLL
  for (int i = 0; i < 8; i++) y[i] = apq_mul(y[i], apq_element(up, i));
  APQ_UNROLL
  for (int i = 0; i < CHUNK_WORDS; i++) {
#if SRC == SRC_F32
    c->word[i] = apq_float_bits(y[i]);
#elif SRC == SRC_BF16
    c->word[i] = apq_floats_to_bf16s(y[2 * i], y[2 * i + 1]);
#else
    c->word[i] = apq_floats_to_halves(y[2 * i], y[2 * i + 1]);
#endif
  }
}
#endif

/* The chunks that a thread keeps. */
APQ_FUNCTION void apq_load_held(const apq_row *row, const apq_u8 *x, apq_chunk held[HOLD]) {
  if (row->is_whole) {
    APQ_UNROLL
    for (int i = 0; i < HOLD; i++) held[i] = apq_load_whole(row, x, i * THREADS + apq_thread());
  } else {
    APQ_UNROLL
    for (int i = 0; i < HOLD; i++) held[i] = apq_load_ragged(row, x, i * THREADS + apq_thread());
  }
}

/* A chunk of what is to be quantized. */
APQ_FUNCTION apq_chunk apq_load_input(const apq_pack_args *args, const apq_row *row, int chunk) {
  apq_chunk c = apq_load_chunk(row, row->x, chunk);
#if GATE
  apq_chunk up = apq_load_chunk(row, row->up, chunk);
  apq_gate_chunk(&args->gate, &c, &up);
#endif
  (void)args;
  return c;
}

#if SRC != SRC_CODES8
/* Of the whole block, in every thread, without signs. */
APQ_FUNCTION apq_range apq_share_range(apq_range range) {
  int lane = apq_thread() % 32, warp = apq_thread() / 32;
  range = apq_warp_range(range);
  if (lane == 0) {
    apq_sts32(LOW_AT + 4 * warp, range.low);
    apq_sts32(HIGH_AT + 4 * warp, range.high);
  }
  apq_syncthreads();
  APQ_UNROLL
  for (int i = 0; i < WARPS; i++) {
    range.low = apq_larger(range.low, apq_lds32(LOW_AT + 4 * i));
    range.high = apq_larger(range.high, apq_lds32(HIGH_AT + 4 * i));
  }
  return range;
}
#endif

/* Where this lane's words of the packed row go. */
typedef struct apq_place {
  apq_u8 *out;
  long long plane_bytes;
} apq_place;

/* Writes the packed words of this lane's chunk. */
APQ_FUNCTION void apq_store_chunk(const apq_row *row, const apq_place *place, int chunk,
                                  apq_u32 word[2]) {
#if FORM == FORM_PLANES
  int j = apq_thread() % 4;
  apq_transpose_bits(word);
  APQ_UNROLL
  for (int i = 0; i < (BITS > 4 ? 2 : 1); i++) {
    apq_u32 mine = apq_transpose_lanes(word[i]);
    if (chunk < row->chunks && 4 * i + j < BITS)
      apq_stg32(place->out + (chunk & ~3) + 4 * i * place->plane_bytes, mine);
  }
#else
  apq_u32 mine[2] = {apq_transpose_lanes(word[0]), apq_transpose_lanes(word[1])};
#if FORM == FORM_PAIRS
  mine[1] += 0x01010101u;
  mine[0] = 16 * mine[0] - mine[1] + 0x10101010u;
#endif
  APQ_UNROLL
  for (int i = 0; i < 2; i++)
    if (chunk < row->chunks)
      apq_stg32(place->out + (chunk & ~15) * 8 + (chunk & 12) + 64 * i, mine[i]);
#endif
}

/* Adds up the lanes that share a group; chunks of a group are neighbors in one warp. */
APQ_FUNCTION void apq_store_group_sum(const apq_pack_args *args, const apq_row *row, int chunk,
                                      apq_u32 sum) {
  int lanes = args->group / 8, group = chunk / lanes;
  APQ_NO_UNROLL
  for (int mask = 1; mask < lanes; mask *= 2) sum += apq_shuffle_xor(sum, mask);
  if (chunk % lanes == 0 && group < args->groups)
    apq_stg32(args->group_sum + (long long)row->row * args->groups + group, sum);
}

/* Codes of one chunk, stored; returns their sum. */
#if SRC == SRC_CODES8
APQ_FUNCTION apq_u32 apq_pack_chunk(const apq_pack_args *args, const apq_row *row,
                                    const apq_place *place, int chunk, apq_chunk *c) {
  apq_u32 word[2] = {c->word[0] & (LEVELS * 0x01010101u), c->word[1] & (LEVELS * 0x01010101u)};
#else
APQ_FUNCTION apq_u32 apq_pack_chunk(const apq_pack_args *args, const apq_row *row,
                                    const apq_place *place, const apq_quantizer *z, int chunk,
                                    apq_chunk *c) {
  apq_u32 code[8], word[2];
  apq_quantize_chunk(args->format, z, c, code);
  apq_join_codes(row, chunk, code, z->surplus, word);
#endif
  int sum = apq_dp4a_u8(word[0], 0x01010101u, apq_dp4a_u8(word[1], 0x01010101u, 0));
  apq_store_chunk(row, place, chunk, word);
  if (args->group) apq_store_group_sum(args, row, chunk, (apq_u32)sum);
  return (apq_u32)sum;
}

#if SRC == SRC_CODES8
#define PACK_CHUNK(chunk, c) apq_pack_chunk(&args, &row, &place, chunk, c)
#else
#define PACK_CHUNK(chunk, c) apq_pack_chunk(&args, &row, &place, &quantizer, chunk, c)
#endif

/* Blocks an SM should have room for: enough rows in flight to keep device memory busy, and
 * registers enough to hold the chunks. */
#if SRC == SRC_F32 || APQ_CC < 80
#define RESIDENT (1024 / THREADS)
#elif GATE && THREADS <= 576
#define RESIDENT (1152 / THREADS)
#elif GATE
#define RESIDENT (1024 / THREADS)
#elif WARPS >= 11 && (FORM == FORM_BYTES || BITS <= 4)
/* Long rows: a block more, for which 40 registers are enough. */
#define RESIDENT (1536 / THREADS)
#else
#define RESIDENT (1280 / THREADS)
#endif

APQ_KERNEL(KERNEL, apq_pack_args, THREADS, RESIDENT) {
#if APQ_CC >= 90
  /* A product that is launched as a dependent may begin to load weights; what wrote the row, and
   * what read the workspace, has to end first. */
  apq_grid_release();
  apq_grid_wait();
#endif
  int lane = apq_thread() % 32, warp = apq_thread() / 32;
  apq_row row;
  row.row = apq_block_x();
  row.x = (const apq_u8 *)args.x + row.row * args.ldx * SRC_BYTES;
  row.up = row.x + (long long)args.k * SRC_BYTES;
  row.k = args.k;
  row.chunks = (args.k + 127) / 128 * 16;
  row.is_whole =
      ((unsigned long long)args.x | (unsigned long long)(args.ldx * SRC_BYTES)) % ALIGNED == 0 &&
      args.k % 8 == 0;
  row.is_dirty = args.is_static;
  apq_place place;
  place.plane_bytes = (long long)args.rows * args.row_bytes;
  place.out = (apq_u8 *)args.out + (long long)row.row * args.row_bytes;
#if FORM == FORM_PLANES
  place.out += lane % 4 * place.plane_bytes;
#else
  place.out += lane % 4 * 16;
#endif

  for (int i = row.row * THREADS + apq_thread(); i < args.clear_count; i += args.rows * THREADS)
    apq_stg32(args.clear + i, 0);

  apq_chunk held[HOLD];
  apq_load_held(&row, row.x, held);
#if GATE
  apq_chunk up[HOLD];
  apq_load_held(&row, row.up, up);
  APQ_UNROLL
  for (int i = 0; i < HOLD; i++) apq_gate_chunk(&args.gate, &held[i], &up[i]);
#endif

#if SRC != SRC_CODES8
  apq_quantizer quantizer;
  APQ_NO_UNROLL
  for (;;) {
    if (row.is_dirty) {
      APQ_UNROLL
      for (int i = 0; i < HOLD; i++) apq_clean_chunk(&held[i]);
      if (args.is_static) break;
    }
    apq_range range = {LOWEST, 0};
    APQ_UNROLL
    for (int i = 0; i < HOLD; i++) apq_extend_range(&range, &held[i]);
    APQ_NO_UNROLL
    for (int chunk = HOLD * THREADS + apq_thread(); chunk < row.chunks; chunk += THREADS) {
      apq_chunk c = apq_load_input(&args, &row, chunk);
      if (row.is_dirty) apq_clean_chunk(&c);
      apq_extend_range(&range, &c);
    }
    range = apq_share_range(range);
    /* Rows with something that is not finite are rare: they are gone through again without it. */
    if (range.low < INFINITE && range.high < INFINITE) {
      quantizer =
          apq_make_quantizer(args.format, apq_magnitude(range.low), apq_magnitude(range.high));
      break;
    }
    row.is_dirty = 1;
    apq_syncthreads();
  }
  if (args.is_static) {
    quantizer.scale = args.static_scale;
    quantizer.inverse = apq_div(1.0f, args.static_scale);
    quantizer.zero = args.static_zero;
  }
  apq_finish_quantizer(args.format, args.is_static, &quantizer);
#endif

  apq_u32 sum = 0;
  APQ_UNROLL
  for (int i = 0; i < HOLD; i++)
    if (i * THREADS + 32 * warp < row.chunks)
      sum += PACK_CHUNK(i * THREADS + apq_thread(), &held[i]);
  APQ_NO_UNROLL
  for (int first = HOLD * THREADS + 32 * warp; first < row.chunks; first += THREADS) {
    apq_chunk c = apq_load_input(&args, &row, first + lane);
#if SRC != SRC_CODES8
    if (row.is_dirty) apq_clean_chunk(&c);
#endif
    sum += PACK_CHUNK(first + lane, &c);
  }

  APQ_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) sum += apq_shuffle_xor(sum, mask);
  if (lane == 0) apq_sts32(SUM_AT + 4 * warp, sum);
  apq_syncthreads();
  if (apq_thread() == 0) {
    sum = 0;
    for (int i = 0; i < WARPS; i++) sum += apq_lds32(SUM_AT + 4 * i);
    apq_stg32(args.sum + row.row, sum);
#if SRC != SRC_CODES8
    apq_stg32(args.scale + row.row, apq_float_bits(quantizer.scale));
    apq_stg32(args.zero + row.row, (apq_u32)quantizer.zero);
#endif
  }
}
