/* ---- group scales: weights whose scale and zero point change every GROUP k ----
 * At the end of a group its integer sums are corrected as ever, scaled and added to floats, in the
 * order of the groups: the order of kernel_abi.h, so every kernel gives the same bits.  The family
 * calls apq_end_group when the last products of a group are in `acc`.  The sums of the tokens have
 * the scale of the token and the bias still to come. */

#if GROUP

struct apq_totals {
  float value[XF][YF][4];
  int group; /* that ends next */
  int m0, n0;
  const apq_gemm_args *args;
};

APQ_FUNCTION void apq_start_totals(apq_totals *totals, const apq_gemm_args *args, int m0, int n0) {
  totals->group = 0;
  totals->m0 = m0;
  totals->n0 = n0;
  totals->args = args;
  APQ_UNROLL
  for (int i = 0; i < XF * YF * 4; i++) totals->value[i / 4 / YF][i / 4 % YF][i % 4] = 0.0f;
}

/* The edge of a token within a group of `length` k; a token past the matrix repeats the last. */
APQ_FUNCTION apq_edge apq_group_row(const apq_gemm_args *args, int group, int length, int m) {
  if (m >= args->m) m = args->m - 1;
  apq_u32 sum = apq_ldg32(args->a_group_sum + (long long)m * args->groups + group);
  apq_edge edge;
  edge.zero = args->a_zero ? apq_ldg32(args->a_zero + m) : (apq_u32)args->zero_a;
  edge.rest = (apq_u32)args->alpha_a * sum - (apq_u32)length * edge.zero;
  edge.scale = 1.0f;
  edge.bias = 0.0f;
#if OP == OP_XOR
  edge.sum = sum;
#endif
  return edge;
}

APQ_FUNCTION apq_edge apq_group_column(const apq_gemm_args *args, int group, int n) {
  if (n >= args->n) n = args->n - 1;
  long long at = (long long)n * args->groups + group;
  apq_u32 sum = apq_ldg32(args->w_group_sum + at);
  apq_edge edge;
  edge.zero = args->w_zero ? apq_ldg32(args->w_zero + at) : (apq_u32)args->zero_w;
  edge.rest = (apq_u32)args->alpha_w * sum;
  edge.scale = args->w_scale ? apq_ldg_f32(args->w_scale + at) : 1.0f;
  edge.bias = 0.0f;
#if OP == OP_XOR
  edge.sum = sum;
#endif
  return edge;
}

/* Groups past the last, in the padding of the last stage, have no scale. */
APQ_FUNCTION void apq_end_group(const apq_lane *lane, apq_totals *totals, int acc[XT][YT][4]) {
  const apq_gemm_args *args = totals->args;
  int group = totals->group++;
  if (group >= args->groups) return;
  int length = args->k - group * GROUP < GROUP ? args->k - group * GROUP : GROUP;
  apq_edge y[YF][2];
  APQ_UNROLL
  for (int i = 0; i < 2 * YF; i++) {
    int at = lane->y_first + 8 * (i / 2) + 2 * lane->quad + i % 2;
#if SWAP
    y[i / 2][i % 2] = apq_group_row(args, group, length, totals->m0 + at);
#else
    y[i / 2][i % 2] = apq_group_column(args, group, totals->n0 + at);
#endif
  }
  APQ_UNROLL
  for (int xi = 0; xi < XF; xi++) {
    APQ_UNROLL
    for (int half = 0; half < 2; half++) {
      int at = lane->x_first + 16 * xi + lane->group + 8 * half;
#if SWAP
      apq_edge x = apq_group_column(args, group, totals->n0 + at);
#else
      apq_edge x = apq_group_row(args, group, length, totals->m0 + at);
#endif
      APQ_UNROLL
      for (int i = 0; i < 2 * YF; i++) {
        int yi = i / 2, e = 2 * half + i % 2;
#if SWAP
        const apq_edge *row = &y[yi][i % 2], *column = &x;
#else
        const apq_edge *row = &x, *column = &y[yi][i % 2];
#endif
        apq_u32 c = apq_correct(args, apq_sum(acc, xi, yi, e), row, column, 0);
        totals->value[xi][yi][e] =
            apq_add(totals->value[xi][yi][e], apq_mul(apq_int_to_float((int)c), column->scale));
      }
    }
  }
  APQ_UNROLL
  for (int i = 0; i < XT * YT * 4; i++) acc[i / 4 / YT][i / 4 % YT][i % 4] = 0;
}

/* Leaves the bits of the totals where apq_sum finds them. */
APQ_FUNCTION void apq_take_totals(const apq_totals *totals, int acc[XT][YT][4]) {
  APQ_UNROLL
  for (int i = 0; i < XT * YT * 4; i++) acc[i / 4 / YT][i / 4 % YT][i % 4] = 0;
  APQ_UNROLL
  for (int i = 0; i < XF * YF * 4; i++)
    acc[i / 4 / YF][i / 4 % YF][i % 4] =
        (int)apq_float_bits(totals->value[i / 4 / YF][i / 4 % YF][i % 4]);
}

#endif
