/* Family pack: one row a block, from fp16, bf16, fp32 or ready codes to planes or bytes, with
 * scale, zero point and sums of codes.  The quantizer is apq__reference_quantize, operation by
 * operation.
 *
 * @family pack helper planes
 * @parts activation.cu pack.cu
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : bits of a code
 * @knob src       = f16 : f16 bf16 f32 codes8 : type of the rows
 * @knob form      = planes : planes bytes pairs : bit planes, or one byte a code in the order of u8
 * kernels, or such bytes made of two codes (bitplane.h)
 * @knob warps     = 8 : 4 5 6 7 8 9 10 11 12 13 14 15 16 20 24 28 32 : warps of a block
 * @knob hold      = 4 : 1 2 4 : chunks of a row that a thread keeps in registers
 * @knob gate      = 0 : 0 1 : the row is the product of an activated row and the one beside it
 *
 * A chunk is eight k: 16 bytes of fp16.  Thread t has chunks t, t + THREADS, ...; the first HOLD of
 * them are read once and kept while the range of the row is found, the others are read again. Codes
 * of a chunk are two words of four; transposing their bits gives two words of four planes. Either
 * way four lanes exchange bytes, and then lane j has the word j of 32 k: of plane j (and j + 4), or
 * of the codes 8 i + j (and + 4), whose place in the byte form is chunk j (and j + 4). */

#define THREADS (32 * WARPS)
#define BITS    Q
#define LEVELS  ((1 << BITS) - 1)
/* Byte offsets in shared memory of the warps' partial results. */
#define LOW_AT  0
#define HIGH_AT (4 * WARPS)
#define SUM_AT  (8 * WARPS)

#define FORMAT_UINT    0
#define FORMAT_INT     1
#define FORMAT_BIPOLAR 2

#if SRC == SRC_CODES8
#define SRC_BYTES 1
#define ALIGNED   4
#elif SRC == SRC_F32
#define SRC_BYTES 4
#define ALIGNED   16
#else
#define SRC_BYTES 2
#define ALIGNED   16
#endif

#define CHUNK_WORDS (2 * SRC_BYTES)

typedef struct apq_chunk {
  apq_u32 word[CHUNK_WORDS];
} apq_chunk;

/* The block's row. */
typedef struct apq_row {
  const apq_u8 *x, *up; /* up: with GATE, the factors of what is activated */
  int row, k, chunks;   /* chunks up to the end of the packed row, a multiple of 16 */
  int is_whole;         /* chunks are aligned and k ends with one */
  int is_dirty;         /* what is not finite is to be replaced by 0 */
  apq_u8 *out;          /* where this lane's words of the row begin */
  long long plane_bytes;
} apq_row;

/* Elements 8 chunk ... 8 chunk + 7; zeros past k. */
APQ_FUNCTION apq_chunk apq_load_whole(const apq_row *row, const apq_u8 *x, int chunk) {
  apq_chunk c;
  const apq_u8 *at = x + (long long)chunk * (8 * SRC_BYTES);
  APQ_UNROLL
  for (int i = 0; i < CHUNK_WORDS; i++) c.word[i] = 0;
  if (8 * chunk >= row->k) return c;
#if SRC == SRC_CODES8
  c.word[0] = apq_ldg32(at);
  c.word[1] = apq_ldg32(at + 4);
#else
  APQ_UNROLL
  for (int i = 0; i < CHUNK_WORDS; i += 4) {
    apq_u32x4 four = apq_ldg128(at + 4 * i);
    c.word[i] = four.x, c.word[i + 1] = four.y, c.word[i + 2] = four.z, c.word[i + 3] = four.w;
  }
#endif
  return c;
}

/* The same where chunks are not aligned or the last is not whole. */
APQ_FUNCTION apq_chunk apq_load_ragged(const apq_row *row, const apq_u8 *x, int chunk) {
  apq_chunk c;
  const apq_u8 *at = x + (long long)chunk * (8 * SRC_BYTES);
  int left = row->k - 8 * chunk;
  APQ_UNROLL
  for (int i = 0; i < CHUNK_WORDS; i++) {
    c.word[i] = 0;
    APQ_UNROLL
    for (int j = 0; j < 4 / SRC_BYTES; j++) {
      int element = i * 4 / SRC_BYTES + j;
      if (element >= left) continue;
#if SRC == SRC_CODES8
      c.word[i] |= (apq_u32)apq_ldg8(at + element) << (8 * j);
#elif SRC == SRC_F32
      c.word[i] = apq_ldg32(at + 4 * element);
#else
      c.word[i] |= (apq_u32)apq_ldg16(at + 2 * element) << (16 * j);
#endif
    }
  }
  return c;
}

APQ_FUNCTION apq_chunk apq_load_chunk(const apq_row *row, const apq_u8 *x, int chunk) {
  return row->is_whole ? apq_load_whole(row, x, chunk) : apq_load_ragged(row, x, chunk);
}

#if SRC != SRC_CODES8
APQ_FUNCTION float apq_element(const apq_chunk *c, int i) {
#if SRC == SRC_F32
  return apq_bits_float(c->word[i]);
#elif SRC == SRC_BF16
  return apq_bits_float(i % 2 ? c->word[i / 2] & 0xffff0000u : c->word[i / 2] << 16);
#else
  return apq_half_to_float((apq_u16)(c->word[i / 2] >> (i % 2 * 16)));
#endif
}
#endif

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
/* Bits of infinity, and of the largest of what is read as integers: magnitudes of halves are
 * ordered as 15-bit integers, of floats as 31-bit ones, and what is not finite comes last. */
#if SRC == SRC_F32
#define LOWEST 0x80000000u /* -0 */
#else
#define LOWEST 0x80008000u
#endif
#if SRC == SRC_F16
#define INFINITE 0x7c00u
#elif SRC == SRC_BF16
#define INFINITE 0x7f80u
#else
#define INFINITE 0x7f800000u
#endif

/* What is not finite becomes 0. */
APQ_FUNCTION void apq_clean_chunk(apq_chunk *c) {
  APQ_UNROLL
  for (int i = 0; i < CHUNK_WORDS; i++) {
    apq_u32 w = c->word[i];
#if SRC == SRC_F32
    if ((w & INFINITE) == INFINITE) w = 0;
#else
    if ((w & INFINITE) == INFINITE) w &= 0xffff0000u;
    if ((w >> 16 & INFINITE) == INFINITE) w &= 0xffffu;
#endif
    c->word[i] = w;
  }
}

/* The largest magnitude of either sign, as bits; a pair of halves at once until the end. */
typedef struct apq_range {
  apq_u32 low, high;
} apq_range;

/* Signed, the greatest is the highest number; unsigned, the lowest. */
APQ_FUNCTION void apq_extend_range(apq_range *range, const apq_chunk *c) {
  APQ_UNROLL
  for (int i = 0; i < CHUNK_WORDS; i++) {
    apq_u32 w = c->word[i];
#if SRC == SRC_F32
    range->high = (int)w > (int)range->high ? w : range->high;
    range->low = w > range->low ? w : range->low;
#else
    range->high = apq_max_s16x2(range->high, w);
    range->low = apq_max_u16x2(range->low, w);
#endif
  }
}

APQ_FUNCTION apq_u32 apq_larger(apq_u32 a, apq_u32 b) { return a > b ? a : b; }

/* Of the whole block, in every thread, without signs. */
APQ_FUNCTION apq_range apq_share_range(apq_range range) {
  int lane = apq_thread() % 32, warp = apq_thread() / 32;
#if SRC == SRC_F32
  range.low &= 0x7fffffffu;
  APQ_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) {
    range.low = apq_larger(range.low, apq_shuffle_xor(range.low, mask));
    range.high = apq_larger(range.high, apq_shuffle_xor(range.high, mask));
  }
#else
  /* Both fit one word once they are magnitudes. */
  range.low &= 0x7fff7fffu;
  apq_u32 both = apq_permute(apq_max_u16x2(range.low, range.low >> 16),
                             apq_max_u16x2(range.high, range.high >> 16), 0x5410);
  APQ_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) both = apq_max_u16x2(both, apq_shuffle_xor(both, mask));
  range.low = both & 0xffffu;
  range.high = both >> 16;
#endif
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

APQ_FUNCTION float apq_magnitude(apq_u32 bits) {
#if SRC == SRC_F32
  return apq_bits_float(bits);
#elif SRC == SRC_F16
  return apq_half_to_float((apq_u16)bits);
#else
  return apq_bf16_to_float((apq_u16)bits);
#endif
}

/* Code = rint(clamp(x * inverse, least, most)) + offset, or, bipolar, rint(clamp((x * inverse +
 * LEVELS) / 2, least, most)).  `magic` is 1.5 * 2^23 and the offset, or the even number after it:
 * adding it leaves their sum, rounded with ties to even, in the low bits. */
typedef struct apq_quantizer {
  float scale, inverse, least, most, magic;
  int zero;
  apq_u32 surplus;    /* what the codes of a word are too high by */
  int may_fall_below; /* some code may be below its range before it is cut */
  int may_exceed;     /* or above */
} apq_quantizer;

/* Of values in [-low, high]. */
APQ_FUNCTION apq_quantizer apq_make_quantizer(int format, float low, float high) {
  apq_quantizer z;
  /* 1-bit INT has no step above zero. */
  int steps = format != FORMAT_INT ? LEVELS : BITS > 1 ? (1 << (BITS - 1)) - 1 : 1;
  float span =
      format == FORMAT_UINT ? apq_min(apq_add(high, low), 3.402823466e38f) : apq_max(high, low);
  z.scale = apq_div(span, apq_int_to_float(steps));
  z.inverse = apq_div(1.0f, z.scale);
  if (!apq_is_finite(z.scale) || !(z.scale > 0.0f) || !apq_is_finite(z.inverse)) {
    z.scale = 1.0f;
    z.inverse = 1.0f;
  }
  z.zero = format == FORMAT_INT ? 1 << (BITS - 1) : LEVELS;
  if (format == FORMAT_UINT) {
    z.zero = apq_float_to_int(apq_mul(low, z.inverse));
    if (z.zero > LEVELS) z.zero = LEVELS;
  }
  return z;
}

/* A row's own scale brings the values of INT and BIPOLAR into the range: |x * inverse| exceeds the
 * steps by a few roundings at most.  1-bit INT cuts what is above zero.  The lowest value of UINT
 * is what its zero point was rounded from, and gets code 0; the highest may round to one too many.
 */
APQ_FUNCTION void apq_finish_quantizer(int format, int is_static, apq_quantizer *z) {
  int offset = format == FORMAT_BIPOLAR ? 0 : z->zero, odd = offset & 1;
  z->least = apq_int_to_float(-offset);
  z->most = apq_int_to_float(LEVELS - offset);
  z->magic = apq_add(12582912.0f, apq_int_to_float(offset + odd));
  z->surplus = (apq_u32)odd * 0x01010101u;
  z->may_fall_below = is_static;
  z->may_exceed = is_static || format == FORMAT_UINT || (format == FORMAT_INT && BITS == 1);
}

/* The codes of a chunk, in their low bytes. */
APQ_FUNCTION void apq_quantize_chunk(int format, const apq_quantizer *z, const apq_chunk *c,
                                     apq_u32 code[8]) {
  float t[8];
  APQ_UNROLL
  for (int i = 0; i < 8; i++) t[i] = apq_mul(apq_element(c, i), z->inverse);
  if (format == FORMAT_BIPOLAR) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++) t[i] = apq_mul(apq_add(t[i], (float)LEVELS), 0.5f);
  }
  if (z->may_fall_below) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++) t[i] = apq_max(t[i], z->least);
  }
  if (z->may_exceed) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++) t[i] = apq_min(t[i], z->most);
  }
  APQ_UNROLL
  for (int i = 0; i < 8; i++) code[i] = apq_float_bits(apq_add(t[i], z->magic));
#if BITS == 8
  /* 256 is no byte: the surplus has to go before the codes are joined. */
  if (z->surplus) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++) code[i]--;
  }
#endif
}
#endif

/* Eight codes as two words of bytes, less the surplus; zeros past k. */
APQ_FUNCTION void apq_join_codes(const apq_row *row, int chunk, const apq_u32 code[8],
                                 apq_u32 surplus, apq_u32 word[2]) {
  APQ_UNROLL
  for (int i = 0; i < 2; i++)
    word[i] = apq_permute(apq_permute(code[4 * i], code[4 * i + 1], 0x0040),
                          apq_permute(code[4 * i + 2], code[4 * i + 3], 0x0040), 0x5410) -
              (BITS < 8 ? surplus : 0);
  if (row->k % 256 == 0) return; /* no warp has a chunk past k */
  int left = row->k - 8 * chunk;
  if (left >= 8) return;
  APQ_UNROLL
  for (int i = 0; i < 2; i++) {
    int bytes = left - 4 * i;
    if (bytes <= 0) word[i] = 0;
    if (bytes > 0 && bytes < 4) word[i] &= (1u << (8 * bytes)) - 1u;
  }
}

#if FORM == FORM_PLANES
/* An 8x8 bit transpose: bit i of byte b of the result is bit b of byte i.  Planes from the fourth
 * on are the second word, which is zero for fewer bits. */
APQ_FUNCTION void apq_transpose_bits(apq_u32 word[2]) {
#if BITS > 4
  apq_u32 upper = (word[0] ^ word[1] << 4) & 0xf0f0f0f0u;
  word[0] ^= upper;
  word[1] ^= upper >> 4;
#else
  word[0] += word[1] << 4;
#endif
  APQ_UNROLL
  for (int i = 0; i < (BITS > 4 ? 2 : 1); i++) {
    apq_u32 t = (word[i] ^ word[i] >> 7) & 0x00aa00aau;
    word[i] ^= t ^ t << 7;
    t = (word[i] ^ word[i] >> 14) & 0x0000ccccu;
    word[i] ^= t ^ t << 14;
  }
}
#endif

/* Byte j of the word of each of four lanes, in lane j. */
APQ_FUNCTION apq_u32 apq_transpose_lanes(apq_u32 word) {
  int lane = apq_thread();
  word = apq_permute(word, apq_shuffle_xor(word, 1), lane & 1 ? 0x3715 : 0x6240);
  return apq_permute(word, apq_shuffle_xor(word, 2), lane & 2 ? 0x3276 : 0x5410);
}

/* Writes the packed words of this lane's chunk. */
APQ_FUNCTION void apq_store_chunk(const apq_row *row, int chunk, apq_u32 word[2]) {
#if FORM == FORM_PLANES
  int j = apq_thread() % 4;
  apq_transpose_bits(word);
  APQ_UNROLL
  for (int i = 0; i < (BITS > 4 ? 2 : 1); i++) {
    apq_u32 mine = apq_transpose_lanes(word[i]);
    if (chunk < row->chunks && 4 * i + j < BITS)
      apq_stg32(row->out + (chunk & ~3) + 4 * i * row->plane_bytes, mine);
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
      apq_stg32(row->out + (chunk & ~15) * 8 + (chunk & 12) + 64 * i, mine[i]);
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
APQ_FUNCTION apq_u32 apq_pack_chunk(const apq_pack_args *args, const apq_row *row, int chunk,
                                    apq_chunk *c) {
  apq_u32 word[2] = {c->word[0] & (LEVELS * 0x01010101u), c->word[1] & (LEVELS * 0x01010101u)};
#else
APQ_FUNCTION apq_u32 apq_pack_chunk(const apq_pack_args *args, const apq_row *row,
                                    const apq_quantizer *z, int chunk, apq_chunk *c) {
  apq_u32 code[8], word[2];
  apq_quantize_chunk(args->format, z, c, code);
  apq_join_codes(row, chunk, code, z->surplus, word);
#endif
  int sum = apq_dp4a_u8(word[0], 0x01010101u, apq_dp4a_u8(word[1], 0x01010101u, 0));
  apq_store_chunk(row, chunk, word);
  if (args->group) apq_store_group_sum(args, row, chunk, (apq_u32)sum);
  return (apq_u32)sum;
}

#if SRC == SRC_CODES8
#define PACK_CHUNK(chunk, c) apq_pack_chunk(&args, &row, chunk, c)
#else
#define PACK_CHUNK(chunk, c) apq_pack_chunk(&args, &row, &quantizer, chunk, c)
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
  row.plane_bytes = (long long)args.rows * args.row_bytes;
  row.out = (apq_u8 *)args.out + (long long)row.row * args.row_bytes;
#if FORM == FORM_PLANES
  row.out += lane % 4 * row.plane_bytes;
#else
  row.out += lane % 4 * 16;
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
