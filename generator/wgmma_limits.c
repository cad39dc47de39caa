#include <string.h>

#include "family_impl.h"
#include "status.h"

apq__wgmma_knobs apq__wgmma_read(const apq__config *config) {
  apq__wgmma_knobs g = {0};
  apq_dtype out = APQ_DTYPE_F32;
  const char *name = apq__config_get(config, "out");
  if (name) (void)apq__dtype_parse(name, &out);
  g.out_bytes = (int)apq__dtype_bytes(out);
  g.p = apq__config_int(config, "p", 1);
  g.q = apq__config_int(config, "q", 1);
  g.tile_m = apq__config_int(config, "tile_m", 16);
  g.tile_n = apq__config_int(config, "tile_n", 64);
  g.tile_k = apq__config_int(config, "tile_k", 512);
  g.stages = apq__config_int(config, "stages", 2);
  g.w_stages = apq__config_int(config, "w_stages", 0);
  g.consumers = apq__config_int(config, "consumers", 1);
  g.stagger = apq__config_int(config, "stagger", 0);
  g.cluster_m = apq__config_int(config, "cluster_m", 1);
  g.cluster_n = apq__config_int(config, "cluster_n", 1);
  g.split_k = apq__config_int(config, "split_k", 1);
  g.is_stream = apq__config_is(config, "split_k", "stream");
  g.group = apq__config_int(config, "group", 0);
  g.is_pingpong = apq__config_is(config, "roles", "pingpong");
  g.is_horner = apq__config_is(config, "schedule", "horner");
  g.overlap = apq__config_int(config, "overlap", 0);
  g.store = apq__config_is(config, "store", "direct")   ? APQ__STORE_DIRECT
            : apq__config_is(config, "store", "tensor") ? APQ__STORE_TENSOR
                                                        : APQ__STORE_STAGED;
  g.is_mma = apq__config_is(config, "family", "imma_bulk");
  g.is_bytes = g.is_mma || apq__config_is(config, "family", "igmma");
  g.is_pairs = apq__config_form(config) == APQ__FORM_PAIRS;
  g.is_ahead = apq__config_int(config, "ahead", 0);
  g.is_unpacked = apq__config_is(config, "unpack", "shared");
  g.swap = g.is_bytes || apq__config_int(config, "swap", 0);
  g.has_other_copies =
      g.store == APQ__STORE_TENSOR && apq__config_post(config) == APQ__POST_COMBINE;
  g.x_tile = g.swap ? g.tile_n : g.tile_m;
  g.y_tile = g.swap ? g.tile_m : g.tile_n;
  int is_expanded = !g.is_bytes && !g.is_horner;
  g.x_planes = !is_expanded ? 1 : g.swap ? g.p : g.q;
  g.y_planes = !is_expanded ? 1 : g.swap ? g.q : g.p;
  g.passes = g.is_horner ? g.p * g.q : 1;
  g.sharers = g.is_pingpong ? 1 : g.consumers;
  int divides_y = apq__config_is(config, "divide", "columns");
  g.x_sharers = divides_y ? 1 : g.sharers;
  g.y_sharers = divides_y ? g.sharers : 1;
  g.x_blocks = g.x_tile / 64 / g.x_sharers;
  g.y_share = g.y_tile / g.y_sharers;
  g.columns = g.y_planes * g.y_share;
  g.sums = g.x_blocks * g.x_planes * g.columns / 2;
  g.slab = g.tile_k / 8;
  g.swizzle =
      apq__config_is(config, "swizzle", "none") ? 0 : apq__config_int(config, "swizzle", 128);
  g.threads = 128 * (1 + g.consumers);
  if (g.is_bytes) {
    g.stage_bytes = g.tile_m * 128;
    g.w_slot_bytes = g.tile_n * (g.is_unpacked ? g.tile_k : g.p * g.slab);
  } else {
    g.stage_bytes = (g.x_planes * g.x_tile + g.columns) * g.slab;
  }
  /* templates/wgmma_groups.cu: 8 bytes a token and 16 a channel. */
  if (g.group)
    g.group_bytes = (g.is_bytes ? g.w_stages : g.stages) * (g.tile_k / g.group) *
                    (g.tile_m * 8 + g.tile_n * 16);
  g.ring_bytes = g.stages * g.stage_bytes + g.w_stages * g.w_slot_bytes + g.group_bytes;
  return g;
}

int apq__wgmma_panel(const apq__wgmma_knobs *g, int bytes) {
  if (!g->swizzle) return 16;
  return g->swizzle < bytes ? g->swizzle : bytes;
}

long long apq__wgmma_streamed(long long tiles, long long clusters) {
  long long left = tiles % clusters;
  return left && tiles > clusters ? left + clusters : left;
}

/* A buffer of results (templates/wgmma_store.cu): columns of a chunk, rows and bytes of a row. */
static int chunk_columns(const apq__wgmma_knobs *g) {
  int part = g->overlap ? g->y_share / 2 : g->y_share;
  if (!g->swap && part % 64 == 0 && g->out_bytes == 2) return 64;
  return part % 32 ? 16 : 32;
}
static int buffer_rows(const apq__wgmma_knobs *g) {
  return g->swap ? chunk_columns(g) : 64;
}
static int row_bytes(const apq__wgmma_knobs *g) {
  return (g->swap ? 64 : chunk_columns(g)) * g->out_bytes;
}
static int buffer_bytes(const apq__wgmma_knobs *g) {
  return g->store == APQ__STORE_DIRECT ? 0 : buffer_rows(g) * row_bytes(g);
}

/* As templates/wgmma_feed.cu lays it out. */
static int shared_bytes(const apq__wgmma_knobs *g) {
  int others = g->has_other_copies ? 2 * g->consumers * (g->swap ? 1 : 4) : 0;
  int barriers = 2 * g->stages + 2 * g->w_stages + g->consumers + 4 + others;
  int head = g->ring_bytes + 8 * barriers + 4 * g->consumers;
  int edges = (head + 127) / 128 * 128 + 2 * (g->tile_m + g->tile_n) * 16;
  if (g->store == APQ__STORE_TENSOR) edges = (edges + 1023) / 1024 * 1024;
  int buffer = buffer_bytes(g), second = buffer && buffer < 4096 ? 4096 : buffer;
  return edges + g->consumers * (buffer + second);
}

/* Sums, the operands in registers twice, and addresses, edges and loop state. */
static int estimate_registers(const apq__wgmma_knobs *g) {
  /* With groups: a total for each result; the edges of both sides; what is left of the codes of
   * other groups. */
  if (g->group) {
    int codes = g->is_mma     ? 2 * (g->p > 4 ? 8 : 4) + 4
                : g->is_bytes ? (g->group < 128 ? 48 : 32)
                              : 0;
    return g->sums + g->x_blocks * (g->y_share / 2 + 6 + codes) + 44;
  }
  /* imma_bulk: words of planes, codes of a step, activations of the first products. */
  if (g->is_mma)
    return g->sums + g->x_blocks * (2 * (g->p > 4 ? 8 : 4) + 4) +
           (g->is_ahead ? g->y_share / 4 : 4) + 30;
  return g->sums + (g->is_bytes && !g->is_unpacked ? 32 * g->x_blocks + 8 : 0) + 30;
}

apq_status apq__wgmma_limits(const apq__config *config, const apq__problem *problem,
                             const apq__target *target, apq__shape *shape, apq_error *error) {
  apq__wgmma_knobs g = apq__wgmma_read(config);
  int smem = shared_bytes(&g), registers = estimate_registers(&g);
  /* MULTIPLY_REGISTERS of templates/wgmma.cu. */
  static const int registers_of[3][4] = {
      {0, 255, 232, 160}, {0, 255, 216, 160}, {0, 255, 168, 128}};
  int kind = g.is_unpacked ? 2 : g.group > 0;
  int stages = problem ? apq__ceil_div((problem->k + 127) / 128 * 16, g.slab) : 0;
  int w_slice = g.tile_n / g.cluster_m, a_slice = g.tile_m / g.cluster_n;
  int a_bytes = g.is_bytes ? 128 : g.slab;
  const char *form_refusal = apq__form_refusal(config, problem);
  const apq__refusal rows[] = {
      {strcmp(target->arch, "sm_90a") != 0, "warpgroups exist on sm_90a alone"},
      {g.x_tile % (64 * g.x_sharers) || g.y_tile % (16 * g.y_sharers),
       "the warpgroups do not divide the tile into 64 rows and 16 columns"},
      {g.columns % 16 || g.columns > 256,
       "the columns of an instruction are not a multiple of 16 up to 256"},
      {g.tile_n % (8 * g.cluster_m) || g.tile_m % (8 * g.cluster_n),
       "the cluster does not divide the tile into copies of whole groups of 8 rows"},
      {g.cluster_m * g.cluster_n > target->sm_count,
       "a cluster has more blocks than there are SMs"},
      {g.is_pingpong && g.consumers != 2, "roles=pingpong needs two consumers"},
      {g.is_pingpong && g.stagger, "roles=pingpong has no stagger"},
      {form_refusal != NULL, form_refusal},
      {g.stagger && g.consumers < 2, "stagger needs two consumers"},
      {g.stagger * (g.consumers - 1) >= g.stages - 1,
       "stagger leaves no slot of the ring between the warpgroups"},
      {g.overlap && (g.is_pingpong || g.stagger),
       "overlap is for warpgroups that begin and end a tile together"},
      {g.overlap && (g.x_blocks > 1 || g.y_planes > 1 || g.columns % 32),
       "overlap needs sums of one 64-row block in halves of whole instructions"},
      {g.overlap && (g.split_k > 1 || g.is_stream), "overlap needs split_k=1"},
      {g.overlap && apq__config_int(config, "post", 0), "overlap and post are too much code"},
      {g.overlap && !g.is_bytes && g.tile_k < 512, "overlap takes stages of 512 k in two parts"},
      {g.overlap > g.stages, "the ring has fewer slots than overlap needs"},
      {g.store == APQ__STORE_TENSOR && (g.out_bytes != 2 || row_bytes(&g) != 128),
       "store=tensor needs 16-bit results in rows of 64"},
      {g.group && (g.split_k > 1 || g.is_stream),
       "group scales need split_k=1: their floats are added in the order of the groups"},
      {g.group && g.is_horner, "group scales need schedule=side: all planes of a group at once"},
      {g.group && g.is_pingpong,
       "group scales need roles=cooperative: one warpgroup adds to its totals under the products "
       "of another"},
      {g.group && g.overlap, "group scales need overlap=0: a tile ends with totals, not in halves"},
      {g.group && g.is_ahead, "ahead=1 is not made for group scales"},
      {g.group && !g.is_bytes && g.group % 256,
       "a b1 instruction spans 256 k: more than one group"},
      {g.group && g.tile_k % g.group, "tile_k is not a multiple of the group"},
      {g.group && apq__config_is(config, "out", "i32"), "group scales need a floating output"},
      {apq__config_int(config, "post", 0) && apq__config_is(config, "out", "i32"),
       "post needs a floating result"},
      {g.is_horner && g.p * g.q == 1, "schedule=horner needs more than one pair of planes"},
      {g.is_unpacked && g.cluster_m > 1, "blocks of a cluster do not share unpacked weights"},
      {g.group && g.is_unpacked, "groups need unpack=registers"},
      {g.is_unpacked && g.tile_k > 512, "weights are unpacked by up to 512 k"},
      {registers > registers_of[kind][g.consumers < 4 ? g.consumers : 3],
       "too many registers a thread"},
      {smem > target->smem_per_block, "too much shared memory for a block"},
      {problem && g.split_k > stages, "more splits than stages of k"},
  };
  apq_status status = apq__first_refusal(rows, sizeof rows / sizeof rows[0], error);
  if (status) return status;
  unsigned cluster = (unsigned)(g.cluster_m * g.cluster_n);
  int w_panel = apq__wgmma_panel(&g, g.slab), a_panel = apq__wgmma_panel(&g, a_bytes);
  *shape = (apq__shape){.threads = (unsigned)g.threads,
                        .smem_bytes = (unsigned)smem,
                        .registers = registers,
                        .cluster = cluster,
                        .dependent = apq__config_int(config, "pdl", 0),
                        .is_tma = 1,
                        .w_box = {w_panel, w_slice, g.swizzle ? w_panel : 0},
                        .a_box = {a_panel, a_slice, g.swizzle ? a_panel : 0}};
  if (g.store == APQ__STORE_TENSOR)
    /* With swap, one copy a buffer; else each warp copies the 16 rows it has of it. */
    shape->y_box = (apq__box){row_bytes(&g), g.swap ? buffer_rows(&g) : 16, 128};
  if (!problem) return APQ_OK;
  long long m = apq__ceil_div(problem->m, g.tile_m * g.cluster_m);
  long long n = apq__ceil_div(problem->n, g.tile_n * g.cluster_n), tiles = m * n;
  long long units = tiles * (g.is_stream ? stages : g.split_k);
  if (units > 1 << 30)
    return apq__fail(error, APQ_INFEASIBLE, "limits", "more tiles than a kernel counts");
  /* One block an SM, each taking one unit after another. */
  long long clusters = target->sm_count / (int)cluster;
  if (units < clusters) clusters = units;
  shape->grid[0] = (unsigned)clusters * cluster;
  shape->grid[1] = shape->grid[2] = 1;
  /* Tiles that several units share, and parts of tiles whose sums wait (warpgroup_units.cu). */
  long long shared = g.is_stream ? apq__wgmma_streamed(tiles, clusters) : tiles;
  long long parts = g.is_stream ? 2 * clusters : tiles * g.split_k;
  if (shared && (g.split_k > 1 || g.is_stream)) {
    size_t partial = (size_t)parts * cluster * (size_t)(g.tile_m * g.tile_n) * 4;
    shape->ticket_bytes = ((size_t)shared * cluster * (size_t)g.sharers * 4 + 255) / 256 * 256;
    shape->workspace_bytes = partial + shape->ticket_bytes;
    shape->keeps_tickets = 1;
  }
  return APQ_OK;
}
