/* ---- output: from exact sums to the result type ---- */

/* Whether the weights have group scales; a family without that knob has not. */
#if GROUP == 32 || GROUP == 64 || GROUP == 128 || GROUP == 256
#define HAS_GROUPS 1
#else
#define HAS_GROUPS 0
#endif

/* Whether the kernel quantizes its activations itself; a family without that knob does not. */
#if SRC == SRC_F16 || SRC == SRC_BF16 || SRC == SRC_F32
#define QUANTIZES 1
/* Zero points of tokens: those of unsigned codes. */
#define HAS_TOKEN_ZEROS(args) ((args)->format == 0)
#else
#define QUANTIZES             0
#define HAS_TOKEN_ZEROS(args) ((args)->a_zero != 0)
#endif

/* Products with activations in pairs are 16 times those with the codes and 1 more (bitplane.h),
 * as if the tokens' zero points were higher by 1: the limits keep them below 2^32. */
#if FORM == FORM_PAIRS
#define SUM_SHIFT 4
#define EXCESS    1
#else
#define SUM_SHIFT 0
#define EXCESS    0
#endif

/* What of the correction depends on the token alone (row) and on the output channel alone (column):
 *   c = alpha_a alpha_w D - z_w (alpha_a Sa - k z_a) - z_a alpha_w Sw        modulo 2^32
 * Where no zero point varies, both products are known beforehand: an edge's `rest` is then what it
 * takes from D; with both alphas 1 and nothing that follows the scales either, the tile is plain.
 */
typedef struct apq_edge {
  apq_u32 zero;      /* z_a;  z_w */
  apq_u32 rest;      /* alpha_a Sa - k z_a;  alpha_w Sw;  plain: times z_w, z_a */
  float scale, bias; /* bias of a column only */
#if OP == OP_XOR
  apq_u32 sum; /* Sa;  Sw */
#endif
} apq_edge;

/* Whether results go through apq_post_one or apq_post_eight before they are stored. */
APQ_FUNCTION int apq_has_post(const apq_gemm_args *args) {
#if OUT == OUT_I32
  (void)args;
  return 0;
#else
  return args->gate.kind | args->combine;
#endif
}

APQ_FUNCTION int apq_is_plain(const apq_gemm_args *args) {
#if HAS_GROUPS
  /* Zero points were applied at the end of each group. */
  return !args->bias && !apq_has_post(args);
#elif defined POST && POST
  /* No tile of such a kernel is, so that nothing branches on it. */
  (void)args;
  return 0;
#else
  return !HAS_TOKEN_ZEROS(args) && !args->w_zero && !args->bias &&
         args->alpha_a * args->alpha_w == 1 && !apq_has_post(args);
#endif
}

/* An edge as it is in device memory; finished after the first copies are under way. */
typedef struct apq_raw_edge {
  apq_u32 sum, zero;
  float scale, bias;
} apq_raw_edge;

/* What the kernel before this one may still be writing is not read through the path of data that
 * nothing writes during the launch. */
#if PDL == 1
#define apq_load_word apq_ldg32_volatile
#define apq_load_half apq_ldg16_volatile
#else
#define apq_load_word apq_ldg32
#define apq_load_half apq_ldg16
#endif

APQ_FUNCTION apq_raw_edge apq_load_row(const apq_gemm_args *args, int m) {
  apq_raw_edge row;
  row.sum = apq_load_word(args->a_sum + m);
  row.zero = args->a_zero ? apq_load_word(args->a_zero + m) : (apq_u32)args->zero_a;
  row.scale = args->a_scale ? apq_bits_float(apq_load_word(args->a_scale + m)) : 1.0f;
  row.bias = 0.0f;
  return row;
}

APQ_FUNCTION apq_raw_edge apq_load_column(const apq_gemm_args *args, int n) {
  apq_raw_edge column;
  column.sum = apq_ldg32(args->w_sum + n);
  column.zero = args->w_zero ? apq_ldg32(args->w_zero + n) : (apq_u32)args->zero_w;
  column.scale = args->w_scale ? apq_ldg_f32(args->w_scale + n) : 1.0f;
  column.bias = args->bias ? apq_ldg_f32(args->bias + n) : 0.0f;
  return column;
}

APQ_FUNCTION apq_edge apq_finish_edge(const apq_gemm_args *args, const apq_raw_edge *raw,
                                      int is_row) {
  apq_edge edge;
  edge.zero = raw->zero + (is_row ? (apq_u32)args->alpha_a * EXCESS : 0);
  edge.scale = raw->scale;
  edge.bias = raw->bias;
  edge.rest = is_row ? (apq_u32)args->alpha_a * raw->sum - (apq_u32)args->k * raw->zero
                     : (apq_u32)args->alpha_w * raw->sum;
  if (apq_is_plain(args)) edge.rest *= (apq_u32)(is_row ? args->zero_w : args->zero_a + EXCESS);
#if OP == OP_XOR
  edge.sum = raw->sum;
#endif
  return edge;
}

/* The edges of the block's tile wait in shared memory behind the ring, TILE_M rows and then TILE_N
 * columns, so that the output does not wait for device memory: a global load costs as much as a
 * stage of products. */
#if OP == OP_XOR
#define EDGE_BYTES 32
#else
#define EDGE_BYTES 16
#endif

/* Places of a row and of a column among the edges.  Lanes read every eighth column at once: these
 * are neighbors. */
#define ROW_EDGE(m)    (m)
#define COLUMN_EDGE(n) (TILE_M + (n) % 8 * (TILE_N / 8) + (n) / 8)

APQ_FUNCTION void apq_put_edge(int at, const apq_edge *edge) {
  apq_u32x4 words = {edge->zero, edge->rest, apq_float_bits(edge->scale),
                     apq_float_bits(edge->bias)};
  apq_sts128(at, words);
#if OP == OP_XOR
  apq_sts32(at + 16, edge->sum);
#endif
}

APQ_FUNCTION apq_edge apq_get_edge(int at) {
  apq_u32x4 words = apq_lds128(at);
  apq_edge edge;
  edge.zero = words.x;
  edge.rest = words.y;
  edge.scale = apq_bits_float(words.z);
  edge.bias = apq_bits_float(words.w);
#if OP == OP_XOR
  edge.sum = apq_lds32(at + 16);
#endif
  return edge;
}

/* The corrected integer product of one output. */
APQ_FUNCTION apq_u32 apq_correct(const apq_gemm_args *args, apq_u32 sum, const apq_edge *row,
                                 const apq_edge *column, int is_plain) {
  sum >>= SUM_SHIFT;
#if OP == OP_XOR
  /* popc(a ^ w) = popc(a) + popc(w) - 2 popc(a & w), summed over all planes with their weights. The
   * limits keep D below 2^32, so twice D is exact in 64 bits. */
  unsigned long long twice = (unsigned long long)((1u << P) - 1u) * row->sum +
                             (unsigned long long)((1u << Q) - 1u) * column->sum - sum;
  sum = (apq_u32)(twice >> 1);
#endif
  if (is_plain) return sum - row->rest - column->rest;
  /* Both alphas are 1 or 2: a shift. */
  sum <<= (args->alpha_a >> 1) + (args->alpha_w >> 1);
  return sum - column->zero * row->rest - row->zero * column->rest;
}

/* One result: the integer, or the scaled float before its last rounding, as bits. */
APQ_FUNCTION apq_u32 apq_result(const apq_gemm_args *args, apq_u32 sum, const apq_edge *row,
                                const apq_edge *column, int is_plain) {
  apq_u32 c = apq_correct(args, sum, row, column, is_plain);
#if OUT == OUT_I32
  return c;
#else
  float y = apq_mul(apq_int_to_float((int)c), apq_mul(row->scale, column->scale));
  if (!is_plain && args->bias) y = apq_add(y, column->bias);
  return apq_float_bits(y);
#endif
}

#if HAS_GROUPS
/* In place of apq_result: from the bits of a total of all groups. */
APQ_FUNCTION apq_u32 apq_finish_total(const apq_gemm_args *args, apq_u32 total, const apq_edge *row,
                                      const apq_edge *column, int is_plain) {
  float y = apq_mul(apq_bits_float(total), row->scale);
  if (!is_plain && args->bias) y = apq_add(y, column->bias);
  return apq_float_bits(y);
}
#else
#define apq_finish_total apq_result
#endif

#if OUT == OUT_F16
#define apq_round_pair apq_floats_to_halves
#elif OUT == OUT_BF16
#define apq_round_pair apq_floats_to_bf16s
#endif

#if OUT == OUT_I32 || OUT == OUT_F32
#define OUT_BYTES 4
#else
#define OUT_BYTES 2
#endif

#if OUT != OUT_I32
/* A number of the result type, of 2 bytes. */
#if OUT == OUT_F16
#define apq_half_float apq_half_to_float
#elif OUT == OUT_BF16
#define apq_half_float apq_bf16_to_float
#endif

/* Element of `other`.  It may be the element of y that this thread is about to write, and no other
 * thread touches that; but others write its neighbors. */
APQ_FUNCTION float apq_other(const apq_gemm_args *args, int m, int n) {
  const apq_u8 *at = (const apq_u8 *)args->other + (m * args->ld_other + n) * OUT_BYTES;
#if OUT == OUT_F32
  return apq_bits_float(apq_ldg32_volatile(at));
#else
  return apq_half_float(apq_ldg16_volatile(at));
#endif
}

/* What follows the scales and the bias, where apq_has_post: activation, then `other`. */
APQ_FUNCTION apq_u32 apq_post_one(const apq_gemm_args *args, int m, int n, apq_u32 result) {
  float y = apq_bits_float(result);
  if (args->gate.kind) y = apq_activate(&args->gate, y);
  if (args->combine == 1) y = apq_add(y, apq_other(args, m, n));
  if (args->combine == 2) y = apq_mul(y, apq_other(args, m, n));
  return apq_float_bits(y);
}

/* Eight neighbors; those past the matrix stay as they are. */
APQ_FUNCTION void apq_post_eight(const apq_gemm_args *args, int m, int n, apq_u32 result[8]) {
  APQ_UNROLL
  for (int i = 0; i < 8; i++)
    if (n + i < args->n) result[i] = apq_post_one(args, m, n + i, result[i]);
}
#endif

APQ_FUNCTION void apq_store_at(apq_u8 *at, apq_u32 result) {
#if OUT_BYTES == 4
  apq_stg32(at, result);
#else
  apq_stg16(at, (apq_u16)apq_round_pair(apq_bits_float(result), 0.0f));
#endif
}

APQ_FUNCTION void apq_store_one(const apq_gemm_args *args, int m, int n, apq_u32 result) {
  apq_store_at((apq_u8 *)args->y + (m * args->ldy + n) * OUT_BYTES, result);
}

/* Eight neighboring results; `wide` says that all eight exist and the address is 16-byte aligned.
 */
APQ_FUNCTION void apq_store_eight(const apq_gemm_args *args, int m, int n, int wide,
                                  const apq_u32 result[8]) {
  if (!wide) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++)
      if (n + i < args->n) apq_store_one(args, m, n + i, result[i]);
    return;
  }
  apq_u8 *at = (apq_u8 *)args->y + (m * args->ldy + n) * OUT_BYTES;
#if OUT_BYTES == 4
  apq_u32x4 low = {result[0], result[1], result[2], result[3]};
  apq_u32x4 high = {result[4], result[5], result[6], result[7]};
  apq_stg128(at, low);
  apq_stg128(at + 16, high);
#else
  apq_u32 pair[4];
  APQ_UNROLL
  for (int i = 0; i < 4; i++)
    pair[i] = apq_round_pair(apq_bits_float(result[2 * i]), apq_bits_float(result[2 * i + 1]));
  apq_u32x4 all = {pair[0], pair[1], pair[2], pair[3]};
  apq_stg128(at, all);
#endif
}
