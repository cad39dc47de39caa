/* Family pack: one row a block, from fp16, bf16, fp32 or ready codes to planes or bytes, with
 * scale, zero point and sum of codes.  The quantizer is apq__reference_quantize, operation by
 * operation.
 *
 * @family pack helper planes
 * @parts pack.cu
 * @knob q         = 8 : 1 2 3 4 5 6 7 8 : bits of a code
 * @knob src       = f16 : f16 bf16 f32 codes8 : type of the rows
 * @knob form      = planes : planes bytes : bit planes, or one byte a code in the order of u8
 * kernels
 * @knob warps     = 8 : 1 2 4 8 16 : warps of a block
 *
 * A warp takes 128 k at a time, 32 lanes of four: k = 32 i + lane for i < 4, so that a ballot over
 * bit b of the codes is a word of plane b. */

#define THREADS (32 * WARPS)
#define BITS    Q
#define LEVELS  ((1 << BITS) - 1)
/* Byte offsets in shared memory of the warps' partial results: low, high, sum. */
#define LOW_AT  0
#define HIGH_AT (4 * WARPS)
#define SUM_AT  (8 * WARPS)

#define FORMAT_UINT    0
#define FORMAT_INT     1
#define FORMAT_BIPOLAR 2

typedef struct apq_quantizer {
  float scale, inverse;
  int zero;
} apq_quantizer;

#if SRC == SRC_CODES8
#define SRC_BYTES 1
#elif SRC == SRC_F32
#define SRC_BYTES 4
#else
#define SRC_BYTES 2
#endif

APQ_FUNCTION const apq_u8 *apq_element(const apq_pack_args *args, int k) {
  return (const apq_u8 *)args->x + (apq_block_x() * args->ldx + k) * SRC_BYTES;
}

#if SRC != SRC_CODES8
/* Element k of the row; what is not finite counts as 0. */
APQ_FUNCTION float apq_value(const apq_pack_args *args, int k) {
  const apq_u8 *at = apq_element(args, k);
#if SRC == SRC_F32
  float x = apq_bits_float(apq_ldg32(at));
#elif SRC == SRC_F16
  float x = apq_half_to_float(apq_ldg16(at));
#else
  float x = apq_bf16_to_float(apq_ldg16(at));
#endif
  return apq_is_finite(x) ? x : 0.0f;
}

/* Scale and zero point of a row whose values lie in [low, high], low <= 0 <= high. */
APQ_FUNCTION apq_quantizer apq_make_quantizer(int format, float low, float high) {
  apq_quantizer z;
  float top = apq_max(high, -low);
  if (format == FORMAT_INT) {
    z.scale = BITS > 1 ? apq_div(top, (float)((1 << (BITS - 1)) - (BITS > 1))) : top;
  } else if (format == FORMAT_BIPOLAR) {
    z.scale = apq_div(top, (float)LEVELS);
  } else {
    z.scale = apq_div(apq_min(apq_add(high, -low), 3.402823466e38f), (float)LEVELS);
  }
  z.inverse = apq_div(1.0f, z.scale);
  if (!apq_is_finite(z.scale) || !(z.scale > 0.0f) || !apq_is_finite(z.inverse)) {
    z.scale = 1.0f;
    z.inverse = 1.0f;
  }
  z.zero = format == FORMAT_INT ? 1 << (BITS - 1) : LEVELS;
  if (format == FORMAT_UINT) {
    z.zero = apq_float_to_int(apq_mul(-low, z.inverse));
    if (z.zero > LEVELS) z.zero = LEVELS;
  }
  return z;
}

APQ_FUNCTION int apq_clamp_code(int code) {
  return code < 0 ? 0 : code > LEVELS ? LEVELS : code;
}

APQ_FUNCTION int apq_quantize(int format, const apq_quantizer *z, float x) {
  float scaled = apq_mul(x, z->inverse);
  if (format == FORMAT_BIPOLAR)
    return apq_clamp_code(apq_float_to_int(apq_mul(apq_add(scaled, (float)LEVELS), 0.5f)));
  int v = apq_float_to_int(scaled);
  /* Beyond the code range either way, and far from overflow in the sum below. */
  v = v < -512 ? -512 : v > 512 ? 512 : v;
  return apq_clamp_code(v + z->zero);
}
#endif

APQ_KERNEL(KERNEL, apq_pack_args, THREADS, 1) {
  int lane = apq_thread() % 32, warp = apq_thread() / 32, row = apq_block_x();
#if SRC != SRC_CODES8
  float low = 0.0f, high = 0.0f;
  for (int k = apq_thread(); k < args.k; k += THREADS) {
    float x = apq_value(&args, k);
    low = apq_min(low, x);
    high = apq_max(high, x);
  }
  APQ_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) {
    low = apq_min(low, apq_shuffle_xor_f32(low, mask));
    high = apq_max(high, apq_shuffle_xor_f32(high, mask));
  }
  if (lane == 0) {
    apq_sts32(LOW_AT + 4 * warp, apq_float_bits(low));
    apq_sts32(HIGH_AT + 4 * warp, apq_float_bits(high));
  }
  apq_syncthreads();
  APQ_UNROLL
  for (int i = 0; i < WARPS; i++) {
    low = apq_min(low, apq_bits_float(apq_lds32(LOW_AT + 4 * i)));
    high = apq_max(high, apq_bits_float(apq_lds32(HIGH_AT + 4 * i)));
  }
  apq_quantizer quantizer = apq_make_quantizer(args.format, low, high);
#endif

  apq_u32 sum = 0;
  int blocks = (args.k + 127) / 128;
  for (int block = warp; block < blocks; block += WARPS) {
    apq_u32 code[4];
    APQ_UNROLL
    for (int i = 0; i < 4; i++) {
      int k = 128 * block + 32 * i + lane;
      code[i] = 0;
      if (k < args.k) {
#if SRC == SRC_CODES8
        code[i] = apq_ldg8(apq_element(&args, k)) & LEVELS;
#else
        code[i] = (apq_u32)apq_quantize(args.format, &quantizer, apq_value(&args, k));
#endif
      }
      sum += code[i];
    }
#if FORM == FORM_PLANES
    /* Lane b keeps the four words of plane b and writes its 16 bytes. */
    apq_u32x4 mine = {0, 0, 0, 0};
    APQ_UNROLL
    for (int bit = 0; bit < BITS; bit++) {
      apq_u32x4 words;
      words.x = apq_ballot((int)(code[0] >> bit & 1));
      words.y = apq_ballot((int)(code[1] >> bit & 1));
      words.z = apq_ballot((int)(code[2] >> bit & 1));
      words.w = apq_ballot((int)(code[3] >> bit & 1));
      if (lane == bit) mine = words;
    }
    if (lane < BITS)
      apq_stg128((apq_u8 *)args.out + ((long long)lane * args.rows + row) * args.row_bytes +
                     16 * block,
                 mine);
#else
    /* Code k = 32 t + 8 j + b goes to byte 16 b + 4 t + j.  Lane l gathers the four codes j of word
     * t = l%4 of chunk b = l/4. */
    apq_u32 word = 0;
    APQ_UNROLL
    for (int i = 0; i < 4; i++) {
      APQ_UNROLL
      for (int j = 0; j < 4; j++) {
        apq_u32 c = apq_shuffle(code[i], 8 * j + lane / 4);
        if (lane % 4 == i) word |= c << (8 * j);
      }
    }
    apq_stg32((apq_u8 *)args.out + (long long)row * args.row_bytes + 128 * block + 4 * lane, word);
#endif
  }
  APQ_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) sum += apq_shuffle_xor(sum, mask);
  if (lane == 0) apq_sts32(SUM_AT + 4 * warp, sum);
  apq_syncthreads();
  if (apq_thread() == 0) {
    sum = 0;
    for (int i = 0; i < WARPS; i++) sum += apq_lds32(SUM_AT + 4 * i);
    apq_stg32(args.sum + row, sum);
#if SRC != SRC_CODES8
    apq_stg32(args.scale + row, apq_float_bits(quantizer.scale));
    apq_stg32(args.zero + row, (apq_u32)quantizer.zero);
#endif
  }
}
