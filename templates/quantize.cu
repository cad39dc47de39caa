/* ---- from rows of numbers to codes: what the families share that quantize activations ----
 * The quantizer is apq__reference_quantize, operation by operation.
 *
 * A chunk is eight k: 16 bytes of fp16.  Codes of a chunk are two words of four; transposing their
 * bits gives two words of four planes. Either way four lanes exchange bytes, and then lane j has
 * the word j of 32 k: of plane j (and j + 4), or of the codes 8 i + j (and + 4), whose place in the
 * byte form is chunk j (and j + 4).  SRC is the type of the rows, Q the bits of a code. */

#if SRC != SRC_PACKED

#define BITS   Q
#define LEVELS ((1 << BITS) - 1)

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

/* A row. */
typedef struct apq_row {
  const apq_u8 *x, *up; /* up: with GATE, the factors of what is activated */
  int row, k, chunks;   /* chunks up to the end of the packed row, a multiple of 16 */
  int is_whole;         /* chunks are aligned and k ends with one */
  int is_dirty;         /* what is not finite is to be replaced by 0 */
} apq_row;

/* What the kernel before this one may still be writing is not read through the path of data that
 * nothing writes during the launch. */
#if PDL == 1
#define apq_load_x16  apq_ldg16_volatile
#define apq_load_x32  apq_ldg32_volatile
#define apq_load_x128 apq_ldg128_volatile
#else
#define apq_load_x16  apq_ldg16
#define apq_load_x32  apq_ldg32
#define apq_load_x128 apq_ldg128
#endif

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
    apq_u32x4 four = apq_load_x128(at + 4 * i);
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
      c.word[i] = apq_load_x32(at + 4 * element);
#else
      c.word[i] |= (apq_u32)apq_load_x16(at + 2 * element) << (16 * j);
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

/* Of a whole warp, in every lane, without signs. */
APQ_FUNCTION apq_range apq_warp_range(apq_range range) {
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

#if FORM != FORM_BYTES && FORM != FORM_PAIRS
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

#endif
