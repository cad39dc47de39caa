#include "generator.h"

#include <string.h>

#include "family_impl.h"
#include "status.h"

apq_status apq__first_refusal(const apq__refusal *rows, int count, apq_error *error) {
  for (int i = 0; i < count; i++)
    if (rows[i].is_true) return apq__fail(error, APQ_INFEASIBLE, "limits", "%s", rows[i].reason);
  return APQ_OK;
}

const char *apq__form_refusal(const apq__config *config, const apq__problem *problem) {
  const int p = apq__config_int(config, "p", 1), q = apq__config_int(config, "q", 1);
  const apq__form form = apq__config_form(config);
  if (q > apq__form_bits(form)) return "form=pairs holds activations of up to four bits";
  if (form != APQ__FORM_PAIRS || apq__config_is(config, "family", "pack")) return NULL;
  if (p > 4) return "form=pairs leaves two codes in a byte of the weights: of up to four bits";
  if (apq__config_int(config, "group", 0)) return "form=pairs has no group scales";
  /* templates/gemm_epilogue.cu divides the sums by 16. */
  const int64_t most = (int64_t)((1 << p) - 1) * (1 << (q + 4));
  if (problem && most * problem->k >= (int64_t)1 << 32)
    return "form=pairs needs 16 (2^p-1) 2^q k below 2^32";
  return NULL;
}

/* Registers of a thread: accumulators, the fragments in flight, one word a copy, and addresses and
 * loop state (about 36 in compiled kernels). */
static int estimate_registers(const apq__gemm_knobs *g) {
  int fragments = !g->is_bytes ? g->x_fragments * 8 + g->y_fragments * 4
                  : g->swap    ? 2 * g->x_fragments * (g->p > 4 ? 10 : 6) + g->y_fragments * 2
                               : g->y_fragments * (g->p > 4 ? 10 : 6) + g->x_fragments * 4;
  /* With groups: a float an output, and the edges of both sides (templates/group_scales.cu). */
  int outputs = (g->x_tile / g->x_warps / 16) * (g->y_tile / g->y_warps / 8);
  int totals = g->group ? outputs * 4 + 6 * (g->y_tile / g->y_warps / 8) + 6 : 0;
  return g->x_fragments * g->y_fragments * 4 + fragments + totals + g->copies + 14;
}

/* k stages that one split at least would have to share. */
static int k_stages(const apq__gemm_knobs *g, const apq__problem *problem) {
  return apq__ceil_div(apq__ceil_div(problem->k, 128) * 128, g->tile_k);
}

apq_status apq__gemm_limits(const apq__config *config, const apq__problem *problem,
                            const apq__target *target, apq__shape *shape, apq_error *error) {
  apq__gemm_knobs g = apq__gemm_read(config);
  /* As templates/gemm.cu lays it out: the ring or the tile, then the edges and the ticket. */
  int ring = g.stages * g.stage_bytes;
  int tile = g.is_staged ? 4 * g.tile_m * (g.tile_n + (g.swap ? 4 : 8))
                         : 16 * g.threads * (g.y_tile / g.y_warps / 8);
  int smem = (ring > tile ? ring : tile) + (g.tile_m + g.tile_n) * (g.is_xor_op ? 32 : 16) + 16;
  int registers = estimate_registers(&g);
  int is_split_rows = g.is_shared ? g.x_rows % (16 * g.x_warps) || g.y_rows % (8 * g.y_warps)
                                  : g.x_tile % (16 * g.x_warps) || g.y_tile % (8 * g.y_warps);
  const char *form_refusal = apq__form_refusal(config, problem);
  long long xor_bound = problem ? (long long)((1 << g.p) - 1) * ((1 << g.q) - 1) * problem->k : 0;
  const apq__refusal rows[] = {
      {g.x_tile % 16 || g.y_tile % 8, "the tile is not a multiple of the mma's 16x8"},
      {is_split_rows, "the warps do not divide the tile into whole fragments"},
      {g.is_shared && g.is_horner, "recombine=shared needs schedule=side"},
      {g.is_shared && !g.is_staged, "recombine=shared needs store=staged"},
      {g.split_k > 1 && !g.is_staged, "split_k needs store=staged"},
      {g.group && (g.is_horner || g.is_shared),
       "group scales need schedule=side and recombine=registers: all planes of a group at once"},
      {g.group && g.split_k > 1,
       "group scales need split_k=1: their floats are added in the order of the groups"},
      {g.group && !g.is_bytes && g.group % 256,
       "a b1 instruction spans 256 k: more than one group"},
      {g.group && g.tile_k % g.group, "tile_k is not a multiple of the group"},
      {g.group && apq__config_is(config, "out", "i32"), "group scales need a floating output"},
      {form_refusal != NULL, form_refusal},
      {g.copies > 32, "too few threads for the copies of a stage"},
      {g.threads > 1024, "more than 1024 threads a block"},
      {!g.is_bytes && !g.is_xor_op && target->cc < 80, "no b1 AND before sm_80: use op=xor"},
      {xor_bound >= 1ll << 32 && g.is_xor_op, "op=xor needs (2^p-1)(2^q-1)k below 2^32"},
      {smem > target->smem_per_block, "too much shared memory for a block"},
      {g.min_blocks * (smem + 1024) > target->smem_per_sm,
       "min_blocks do not fit the shared memory of an SM"},
      {g.min_blocks * g.threads > target->threads_per_sm,
       "min_blocks do not fit the threads of an SM"},
      {registers > 255, "too many registers a thread"},
      {(long long)registers * g.threads * g.min_blocks > target->regs_per_sm,
       "too many registers for an SM"},
      {problem && g.split_k > 1 && g.split_k > k_stages(&g, problem),
       "more splits than stages of k"},
  };
  apq_status status = apq__first_refusal(rows, sizeof rows / sizeof rows[0], error);
  if (status) return status;
  *shape = (apq__shape){
      .threads = (unsigned)g.threads, .smem_bytes = (unsigned)smem, .registers = registers};
  if (!problem) return APQ_OK;
  /* As apq_tile_origin in templates/gemm.cu reads it. */
  enum { GROUP = 4, GRID_MAX = 65535 };
  int m_tiles = apq__ceil_div(problem->m, g.tile_m), n_tiles = apq__ceil_div(problem->n, g.tile_n);
  int height = m_tiles < GROUP ? m_tiles : GROUP;
  int layers = apq__ceil_div(m_tiles, height) * g.split_k;
  if (n_tiles > GRID_MAX || layers > GRID_MAX)
    return apq__fail(error, APQ_INFEASIBLE, "limits", "more tiles than a grid has");
  shape->grid[0] = (unsigned)height;
  shape->grid[1] = (unsigned)n_tiles;
  shape->grid[2] = (unsigned)layers;
  size_t tiles = (size_t)m_tiles * (size_t)n_tiles;
  if (g.split_k > 1) {
    size_t partial = (size_t)g.split_k * (size_t)problem->m * (size_t)problem->n * 4;
    shape->ticket_bytes = (tiles * 4 + 255) / 256 * 256;
    shape->workspace_bytes = (partial + 255) / 256 * 256 + shape->ticket_bytes;
  }
  return APQ_OK;
}

apq_status apq__pack_limits(const apq__config *config, const apq__problem *problem,
                            const apq__target *target, apq__shape *shape, apq_error *error) {
  unsigned warps = (unsigned)apq__config_int(config, "warps", 1);
  if (32 * warps > (unsigned)target->threads_per_sm)
    return apq__fail(error, APQ_INFEASIBLE, "limits", "more threads than an SM has");
  const char *form_refusal = apq__form_refusal(config, problem);
  if (form_refusal) return apq__fail(error, APQ_INFEASIBLE, "limits", "%s", form_refusal);
  if (apq__config_int(config, "gate", 0) && apq__config_is(config, "src", "codes8"))
    return apq__fail(error, APQ_INFEASIBLE, "limits", "codes cannot be activated");
  *shape = (apq__shape){.threads = 32 * warps,
                        .smem_bytes = 12 * warps,
                        .registers = 32,
                        .dependent = target->cc >= 90};
  if (problem) {
    shape->grid[0] = (unsigned)problem->m;
    shape->grid[1] = shape->grid[2] = 1;
  }
  return APQ_OK;
}

/* What every product kernel is built for. */
static apq_status check_problem(const apq__config *config, const apq__problem *problem,
                                apq_error *error) {
  const char *source = apq__config_source(config);
  const apq__refusal rows[] = {
      {problem->p != apq__config_int(config, "p", 0) ||
           problem->q != apq__config_int(config, "q", 0),
       "the problem has other bits"},
      {!apq__config_is(config, "out", apq_dtype_name(problem->out)),
       "the problem has another output type"},
      {source && problem->in == APQ__INPUT_PACKED,
       "the kernel quantizes its activations, the problem's are packed"},
      {source && strcmp(source, apq__input_name(problem->in)) != 0,
       "the problem's activations are of another type"},
  };
  return apq__first_refusal(rows, sizeof rows / sizeof rows[0], error);
}

apq_status apq__config_limits(const apq__config *config, const apq__problem *problem,
                              const apq__target *target, apq__shape *shape, apq_error *error) {
  const apq__family *family = NULL;
  apq_status status = apq__config_family(config, "limits", &family, error);
  if (status) return status;
  const int group = apq__config_int(config, "group", 0);
  if (problem && family->is_product && group != problem->group)
    return apq__fail(error, APQ_INFEASIBLE, "limits",
                     problem->group && !apq__config_get(config, "group")
                         ? "the family has no group scales"
                         : "the problem has other groups");
  status = family->ops->limits(config, problem, target, shape, error);
  if (!status && problem && family->is_product) status = check_problem(config, problem, error);
  if (status || shape->tile_m) return status;
  shape->tile_m = apq__config_int(config, "tile_m", 0);
  shape->tile_n = apq__config_int(config, "tile_n", 0);
  shape->tile_k = apq__config_int(config, "tile_k", 0);
  return APQ_OK;
}
