/* ---- group scales of the warpgroup families: a scale and zero point of the weights every GROUP k
 * ----
 * At the end of a group its integer sums are corrected, scaled and added to floats in registers, in
 * the order of kernel_abi.h.  What of the correction depends on the token or the channel alone is
 * prepared by the feeding warpgroup, a stage of weights at a time, and travels with that stage:
 * behind the ring there is a set of edges for each of its slots, and the barriers of the slot count
 * them in. */

#if GROUP

/* A set: for each group of a stage the tokens' rest and zero point, then the channels' zero point,
 * rest and scale (apq_edge), the zero points negative.  Where the tokens have none of their own, a
 * channel's rest is minus all that it takes from a sum. */
#define STAGE_GROUPS     (TILE_K / GROUP)
#define CHANNELS_AT      (TILE_M * 8)
#define GROUP_EDGE_BYTES (CHANNELS_AT + TILE_N * 16)
#define GROUP_SET_BYTES  (STAGE_GROUPS * GROUP_EDGE_BYTES)
#define GROUP_ARRIVALS   EDGE_THREADS
/* Groups whose edges are loaded at once. */
#define FEED_GROUPS (STAGE_GROUPS < 4 ? STAGE_GROUPS : 4)
/* Where the edges of a group are, of the stage in slot `slot`. */
#define GROUP_AT(slot, group)                                                                      \
  (GROUPS_AT + (slot)*GROUP_SET_BYTES + (group) % STAGE_GROUPS * GROUP_EDGE_BYTES)

/* FEED_GROUPS words of a row of `groups`, from word `first` on; zeros past the last.  Whole
 * sixteens of bytes are read at once: lanes are rows, which lie far apart. */
#if PDL
#define apq_load_four apq_ldg128_volatile
#else
#define apq_load_four apq_ldg128
#endif
APQ_FUNCTION void apq_load_groups(const apq_gemm_args *args, const apq_u32 *row, int first,
                                  apq_u32 word[FEED_GROUPS]) {
#if FEED_GROUPS % 4 == 0
  if (args->groups % 4 == 0 && (apq_u64)row % 16 == 0) {
    APQ_UNROLL
    for (int g = 0; g < FEED_GROUPS; g += 4) {
      apq_u32x4 four = {0, 0, 0, 0};
      if (first + g < args->groups) four = apq_load_four(row + first + g);
      word[g] = four.x, word[g + 1] = four.y, word[g + 2] = four.z, word[g + 3] = four.w;
    }
    return;
  }
#endif
  APQ_UNROLL
  for (int g = 0; g < FEED_GROUPS; g++)
    word[g] = first + g < args->groups ? apq_load_word(row + first + g) : 0;
}

/* What a set needs of one token and one channel, as it is in device memory; those past the matrix
 * repeat the last.  Groups past the last, in the padding of the last stage, are not used. */
typedef struct apq_raw_groups {
  apq_u32 a_zero, a_sum[FEED_GROUPS];
  apq_u32 w_sum[FEED_GROUPS], w_zero[FEED_GROUPS], w_scale[FEED_GROUPS];
} apq_raw_groups;

APQ_FUNCTION void apq_load_group_edges(const apq_gemm_args *args, int m, int n, int first,
                                       apq_raw_groups *raw) {
  if (m >= args->m) m = args->m - 1;
  if (n >= args->n) n = args->n - 1;
  long long a_row = (long long)m * args->groups, w_row = (long long)n * args->groups;
  APQ_UNROLL
  for (int g = 0; g < FEED_GROUPS; g++)
    raw->w_zero[g] = (apq_u32)args->zero_w, raw->w_scale[g] = apq_float_bits(1.0f);
  apq_load_groups(args, (const apq_u32 *)args->a_group_sum + a_row, first, raw->a_sum);
  apq_load_groups(args, (const apq_u32 *)args->w_group_sum + w_row, first, raw->w_sum);
  if (args->w_scale)
    apq_load_groups(args, (const apq_u32 *)args->w_scale + w_row, first, raw->w_scale);
  if (args->w_zero)
    apq_load_groups(args, (const apq_u32 *)args->w_zero + w_row, first, raw->w_zero);
  raw->a_zero = args->a_zero ? apq_load_word(args->a_zero + m) : (apq_u32)args->zero_a;
}

APQ_FUNCTION void apq_put_group_row(const apq_gemm_args *args, const apq_raw_groups *raw, int first,
                                    int at) {
  APQ_UNROLL
  for (int g = 0; g < FEED_GROUPS; g++) {
    int left = args->k - (first + g) * GROUP;
    apq_u32 rest = (apq_u32)args->alpha_a * raw->a_sum[g] -
                   (apq_u32)(left < GROUP ? left : GROUP) * raw->a_zero;
    apq_sts32(at + g * GROUP_EDGE_BYTES, rest);
    apq_sts32(at + g * GROUP_EDGE_BYTES + 4, 0u - raw->a_zero);
  }
}

APQ_FUNCTION void apq_put_group_column(const apq_gemm_args *args, const apq_raw_groups *raw,
                                       int at) {
  APQ_UNROLL
  for (int g = 0; g < FEED_GROUPS; g++) {
    apq_u32 rest = (apq_u32)args->alpha_w * raw->w_sum[g];
    if (!args->a_zero) rest *= 0u - (apq_u32)args->zero_a;
    apq_u32x4 edge = {0u - raw->w_zero[g], rest, raw->w_scale[g], 0};
    apq_sts128(at + g * GROUP_EDGE_BYTES, edge);
  }
}

/* The edges of the stage `stage` of a unit, into the set at `at`: a token and a channel at a time,
 * so that their loads wait together. */
APQ_FUNCTION void apq_feed_group_set(const apq_gemm_args *args, const apq_work *work, int stage,
                                     int at) {
  APQ_NO_UNROLL
  for (int i = apq_thread() - EDGE_FIRST; i < TILE_M || i < TILE_N; i += EDGE_THREADS) {
    APQ_NO_UNROLL
    for (int g = 0; g < STAGE_GROUPS; g += FEED_GROUPS) {
      int first = stage * STAGE_GROUPS + g, to = at + g * GROUP_EDGE_BYTES;
      apq_raw_groups raw;
      apq_load_group_edges(args, work->m0 + i, work->n0 + i, first, &raw);
      if (i < TILE_M) apq_put_group_row(args, &raw, first, to + 8 * i);
      if (i < TILE_N) apq_put_group_column(args, &raw, to + CHANNELS_AT + 16 * i);
    }
  }
}

/* Floats of a warpgroup's share of a tile, as the sums lie. */
typedef struct apq_totals {
  float value[X_BLOCKS][Y_SHARE / 2];
} apq_totals;

APQ_FUNCTION void apq_start_totals(apq_totals *totals) {
  APQ_UNROLL
  for (int i = 0; i < X_BLOCKS * (Y_SHARE / 2); i++)
    totals->value[i / (Y_SHARE / 2)][i % (Y_SHARE / 2)] = 0.0f;
}

/* An edge of a group: of a token without scale. */
typedef struct apq_group_edge {
  apq_u32 zero, rest;
  float scale;
} apq_group_edge;

APQ_FUNCTION apq_group_edge apq_get_group_channel(int at, int n) {
  apq_u32x4 words = apq_lds128(at + CHANNELS_AT + 16 * n);
  apq_group_edge edge = {words.x, words.y, apq_bits_float(words.z)};
  return edge;
}

APQ_FUNCTION apq_group_edge apq_get_group_token(int at, int m) {
  apq_group_edge edge = {apq_lds32(at + 8 * m + 4), apq_lds32(at + 8 * m), 1.0f};
  return edge;
}

/* The edges of x row x and of the y columns y and y + 1, y even. */
APQ_FUNCTION apq_group_edge apq_get_group_x(int at, int x) {
#if SWAP
  return apq_get_group_channel(at, x);
#else
  return apq_get_group_token(at, x);
#endif
}
APQ_FUNCTION void apq_get_group_pair(int at, int y, apq_group_edge edge[2]) {
#if SWAP
  apq_u32x4 words = apq_lds128(at + 8 * y);
  edge[0].rest = words.x, edge[0].zero = words.y;
  edge[1].rest = words.z, edge[1].zero = words.w;
  edge[0].scale = edge[1].scale = 1.0f;
#else
  edge[0] = apq_get_group_channel(at, y);
  edge[1] = apq_get_group_channel(at, y + 1);
#endif
}

/* Adds one sum of a group to its total: a multiplication and addition each for alpha and the
 * channel's rest, the channel's zero point, and the token's where it has one. */
APQ_FUNCTION float apq_add_group_sum(float total, apq_u32 sum, const apq_group_edge *token,
                                     const apq_group_edge *channel, apq_u32 alpha, int has_a_zero) {
  sum *= alpha;
  sum += has_a_zero ? token->zero * channel->rest : channel->rest;
  sum += channel->zero * token->rest;
  return apq_add(total, apq_mul(apq_int_to_float((int)sum), channel->scale));
}

APQ_FUNCTION void apq_add_group(apq_totals *totals, apq_u32 sum[X_BLOCKS][Y_SHARE / 2], int at,
                                int sharer, apq_u32 alpha, int has_a_zero) {
  int t = apq_thread() % 128, x_row = X_FIRST(sharer) + t / 32 * 16 + t % 32 / 4;
  int y_column = Y_FIRST(sharer) + t % 4 * 2;
  apq_group_edge x[X_BLOCKS][2];
  APQ_UNROLL
  for (int i = 0; i < 2 * X_BLOCKS; i++)
    x[i / 2][i % 2] = apq_get_group_x(at, x_row + i / 2 * 64 + i % 2 * 8);
  APQ_UNROLL
  for (int i = 0; i < Y_SHARE / 2; i += 4) {
    apq_group_edge y[2];
    apq_get_group_pair(at, 2 * i + y_column, y);
    APQ_UNROLL
    for (int block = 0; block < X_BLOCKS; block++) {
      APQ_UNROLL
      for (int e = 0; e < 4; e++) {
        const apq_group_edge *token = SWAP ? &y[e % 2] : &x[block][e / 2];
        const apq_group_edge *channel = SWAP ? &x[block][e / 2] : &y[e % 2];
        totals->value[block][i + e] = apq_add_group_sum(
            totals->value[block][i + e], sum[block][i + e], token, channel, alpha, has_a_zero);
      }
    }
  }
}

/* At the end of group `group` of all, whose edges are at `at`. */
APQ_FUNCTION void apq_end_group(const apq_gemm_args *args, apq_totals *totals,
                                apq_u32 sum[X_BLOCKS][Y_SHARE / 2], int group, int at, int sharer) {
  if (group >= args->groups) return;
  apq_u32 alpha = (apq_u32)(args->alpha_a * args->alpha_w);
  if (args->a_zero)
    apq_add_group(totals, sum, at, sharer, alpha, 1);
  else
    apq_add_group(totals, sum, at, sharer, alpha, 0);
}

#else
#define GROUP_SET_BYTES 0
#define GROUP_ARRIVALS  0
#endif
