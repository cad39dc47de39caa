/* ---- group scales of family decode: weights whose scale and zero point change every GROUP k ----
 * A slab is multiplied once for each of its groups, with activations of that group alone: a lane
 * has 128 neighboring k of it, 32 in each word.  Each group's integer sums go to shared memory,
 * where the block corrects and scales them, and then adds them up in the order of kernel_abi.h. */

#if HAS_GROUPS

#define PASSES (512 / GROUP)

/* The words of a lane's chunk that are of the slab's group `pass`; the others are zero. */
APQ_FUNCTION apq_u32x4 apq_of_group(apq_u32x4 v, int quad, int pass) {
  apq_u32x4 picked = {0, 0, 0, 0};
  if (128 * quad / GROUP == pass) picked.x = v.x;
  if ((128 * quad + 32) / GROUP == pass) picked.y = v.y;
  if ((128 * quad + 64) / GROUP == pass) picked.z = v.z;
  if ((128 * quad + 96) / GROUP == pass) picked.w = v.w;
  return picked;
}

/* What of the correction of a group depends on the channel alone, as it is in device memory. */
typedef struct apq_raw_group {
  apq_u32 sum, zero, scale;
} apq_raw_group;

/* Of channel n and group g, which exist. */
APQ_FUNCTION apq_raw_group apq_load_group(const apq_gemm_args *args, int n, int g) {
  apq_u64 at = (apq_u64)n * (apq_u64)args->groups + (apq_u64)g;
  apq_raw_group raw;
  raw.sum = apq_ldg32(args->w_group_sum + at);
  raw.zero = args->w_zero ? apq_ldg32(args->w_zero + at) : (apq_u32)args->zero_w;
  raw.scale = args->w_scale ? apq_ldg32(args->w_scale + at) : apq_float_bits(1.0f);
  return raw;
}

/* A warp scales the sums of every WARPS-th row, a lane those of every 32nd group.  The first 32
 * groups of its rows are loaded behind the first weights. */
#define GROUP_ROWS ((ROWS + WARPS - 1) / WARPS)
typedef struct apq_raw_groups {
  apq_raw_group row[GROUP_ROWS];
} apq_raw_groups;

APQ_FUNCTION void apq_load_groups(const apq_gemm_args *args, int n0, apq_raw_groups *raw) {
  int warp = apq_thread() / 32, g = apq_thread() % 32;
  APQ_UNROLL
  for (int i = 0; i < GROUP_ROWS; i++) {
    int n = n0 + i * WARPS + warp;
    raw->row[i].sum = 0;
    if (i * WARPS + warp < ROWS && n < args->n && g < args->groups)
      raw->row[i] = apq_load_group(args, n, g);
  }
}

/* Scales the sums of group g of a row, of all tokens of the block; those of token m are at `at` + m
 * * `pitch`. */
APQ_FUNCTION void apq_scale_group(const apq_gemm_args *args, const apq_lane *lane, int g,
                                  const apq_raw_group *raw, int at, int pitch) {
  int length = args->k - g * GROUP < GROUP ? args->k - g * GROUP : GROUP;
  apq_edge row, column;
  column.zero = raw->zero;
  column.rest = (apq_u32)args->alpha_w * raw->sum;
  APQ_UNROLL_4
  for (int m = 0; m < TILE_M && lane->m0 + m < args->m; m++) {
    apq_u32 sum = apq_token_group_sum(args, lane, m, g);
    row.zero = apq_token_zero(args, lane, m);
    row.rest = (apq_u32)args->alpha_a * sum - (apq_u32)length * row.zero;
    apq_u32 c = apq_correct(args, apq_lds32(at + m * pitch), &row, &column, 0);
    float scaled = apq_mul(apq_int_to_float((int)c), apq_bits_float(raw->scale));
    apq_sts32(at + m * pitch, apq_float_bits(scaled));
  }
}

#else
#define apq_of_group(v, quad, pass) (v)
#endif
