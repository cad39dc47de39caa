/* ---- output: from exact sums to the result type ---- */

/* What of the correction depends on the token alone (row) and on the output channel alone (column):
 *   c = alpha_a alpha_w D - z_w (alpha_a Sa - k z_a) - z_a alpha_w Sw        modulo 2^32 */
typedef struct apq_row {
  apq_u32 zero, rest; /* z_a;  alpha_a Sa - k z_a */
  apq_u32 sum;        /* Sa */
  float scale;
} apq_row;
typedef struct apq_column {
  apq_u32 zero, rest; /* z_w;  alpha_w Sw */
  apq_u32 sum;        /* Sw */
  float scale, bias;
} apq_column;

APQ_FUNCTION apq_row apq_load_row(const apq_gemm_args *args, int m) {
  apq_row row;
  row.sum = apq_ldg32(args->a_sum + m);
  row.zero = args->a_zero ? apq_ldg32(args->a_zero + m) : (apq_u32)args->zero_a;
  row.rest = (apq_u32)args->alpha_a * row.sum - (apq_u32)args->k * row.zero;
  row.scale = args->a_scale ? apq_ldg_f32(args->a_scale + m) : 1.0f;
  return row;
}

APQ_FUNCTION apq_column apq_load_column(const apq_gemm_args *args, int n) {
  apq_column column;
  column.sum = apq_ldg32(args->w_sum + n);
  column.zero = args->w_zero ? apq_ldg32(args->w_zero + n) : (apq_u32)args->zero_w;
  column.rest = (apq_u32)args->alpha_w * column.sum;
  column.scale = args->w_scale ? apq_ldg_f32(args->w_scale + n) : 1.0f;
  column.bias = args->bias ? apq_ldg_f32(args->bias + n) : 0.0f;
  return column;
}

/* The corrected integer product of one output. */
APQ_FUNCTION apq_u32 apq_correct(const apq_gemm_args *args, apq_u32 sum, const apq_row *row,
                                 const apq_column *column) {
#if OP == OP_XOR
  /* popc(a ^ w) = popc(a) + popc(w) - 2 popc(a & w), summed over all planes with their weights. The limits keep D below
   * 2^32, so twice D is exact in 64 bits. */
  unsigned long long twice = (unsigned long long)((1u << P) - 1u) * row->sum +
                             (unsigned long long)((1u << Q) - 1u) * column->sum - sum;
  sum = (apq_u32)(twice >> 1);
#endif
  apq_u32 alpha = (apq_u32)args->alpha_a * (apq_u32)args->alpha_w;
  return alpha * sum - column->zero * row->rest - row->zero * column->rest;
}

/* The bits of one result element. */
APQ_FUNCTION apq_u32 apq_result(const apq_gemm_args *args, apq_u32 sum, const apq_row *row,
                                const apq_column *column) {
  apq_u32 c = apq_correct(args, sum, row, column);
#if OUT == OUT_I32
  return c;
#else
  float y = apq_mul(apq_int_to_float((int)c), apq_mul(row->scale, column->scale));
  if (args->bias) y = apq_add(y, column->bias);
#if OUT == OUT_F32
  return apq_float_bits(y);
#elif OUT == OUT_F16
  return apq_float_to_half(y);
#else
  return apq_float_to_bf16(y);
#endif
#endif
}

#if OUT == OUT_I32 || OUT == OUT_F32
#define OUT_BYTES 4
#else
#define OUT_BYTES 2
#endif

APQ_FUNCTION void apq_store_one(const apq_gemm_args *args, int m, int n, apq_u32 bits) {
  apq_u8 *at = (apq_u8 *)args->y + (m * args->ldy + n) * OUT_BYTES;
#if OUT_BYTES == 4
  apq_stg32(at, bits);
#else
  apq_stg16(at, (apq_u16)bits);
#endif
}

/* Eight neighboring results; `wide` says that all eight exist and the address is 16-byte aligned. */
APQ_FUNCTION void apq_store_eight(const apq_gemm_args *args, int m, int n, int wide,
                                  const apq_u32 bits[8]) {
  if (!wide) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++)
      if (n + i < args->n) apq_store_one(args, m, n + i, bits[i]);
    return;
  }
  apq_u8 *at = (apq_u8 *)args->y + (m * args->ldy + n) * OUT_BYTES;
#if OUT_BYTES == 4
  apq_u32x4 low = {bits[0], bits[1], bits[2], bits[3]};
  apq_u32x4 high = {bits[4], bits[5], bits[6], bits[7]};
  apq_stg128(at, low);
  apq_stg128(at + 16, high);
#else
  apq_u32x4 all = {bits[0] | bits[1] << 16, bits[2] | bits[3] << 16, bits[4] | bits[5] << 16,
                   bits[6] | bits[7] << 16};
  apq_stg128(at, all);
#endif
}
