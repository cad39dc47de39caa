#include "generator.h"

#include "family_impl.h"
#include "roofline.h"

/* A roofline whose terms are those a kernel of this kind can be bound by.  Rates come from
 * target.c; instructions are counted as in compiled kernels, and exposed latency is fitted to 49
 * kernels of an H200 and an H100, most of which it gives within 15 % (docs/performance.md). */

static double ceil_to(double value, double unit) {
  double whole = (double)(long long)(value / unit);
  return whole * unit < value ? whole + 1 : whole;
}

const double apq__unpack_operations[9] = {0, 15, 20, 24, 28, 36, 40, 44, 48};

double apq__select_operations(int p, int is_pairs) {
  static const double codes[9] = {0, 21, 22, 25, 26, 33, 34, 37, 38};
  static const double pairs[5] = {0, 13, 14, 17, 18};
  return is_pairs ? pairs[p] : codes[p];
}

/* Cycles one block keeps each unit of its SM busy for one stage; `issue` are those that the
 * schedulers need for all that is no mma. */
typedef struct {
  double tensor, shared, integer, issue;
} stage_cycles;

/* How often a row of eight that ldmatrix reads at once meets the banks of another. */
static double row_conflicts(const apq__config *config, const apq__gemm_knobs *g) {
  if (!apq__config_is(config, "layout", "linear")) return 1;
  const int bytes = g->is_bytes ? g->tile_k : g->tile_k / 8;
  return at_least(1, at_most(8, bytes / 16.0));
}

static stage_cycles stage_cost(const apq__config *config, const apq__gemm_knobs *g,
                               const apq__target *target) {
  stage_cycles cost;
  double warps = g->warps_m * g->warps_n;
  double products = (double)g->x_rows * g->y_rows * g->tile_k;
  double rate = g->is_bytes    ? target->u8_macs
                : g->is_xor_op ? target->b1_xor_macs
                               : target->b1_and_macs;
  /* b1 emulated by integer instructions: about what an H200 does in XOR per SM and clock, a quarter
   * of it. */
  if (rate <= 0) rate = 800;
  cost.tensor = products / rate;
  double conflicts = row_conflicts(config, g), reads, instructions = 0;
  if (g->is_bytes) {
    double activation = (double)g->tile_m * g->tile_k * (g->warps_n);
    double weight = (double)g->tile_n * g->tile_k / 8 * g->p * g->warps_m;
    reads = activation * conflicts + weight;
    double words = (double)g->tile_n * g->tile_k / 1024 * g->warps_m; /* a warp's eight */
    instructions = words * (apq__select_operations(g->p, g->is_pairs) + 8) + activation / 512;
  } else {
    double x = (double)g->x_rows * g->tile_k / 8 * g->y_warps;
    double y = (double)g->y_rows * g->tile_k / 8 * g->x_warps;
    reads = (x + y) * conflicts;
    instructions = (x + y) / 512;
  }
  /* Copies with their addresses; barriers, waits and the loop. */
  instructions += warps * (4.0 * g->copies + 40);
  cost.issue = instructions / 4;
  cost.integer = instructions / 2;
  if (g->group) {
    /* Recombined, corrected, converted, scaled and added at the end of every group; and groups
     * shorter than imma's blocks multiply each block once a group. */
    double planes = g->is_bytes ? 1 : (double)g->p * g->q;
    double ends = (double)g->tile_k / g->group;
    /* What each result takes, fitted to imma at groups of 128: its edges come from device memory.
     */
    cost.integer += ends * g->tile_m * g->tile_n * (planes + 30) / 128;
    if (g->group < 128) cost.tensor *= 128.0 / g->group;
  }
  cost.shared = (reads + g->stage_bytes) / 128;
  return cost;
}

double apq__config_cost(const apq__config *config, const apq__problem *problem,
                        const apq__target *target) {
  const apq__family *family = NULL;
  apq__shape shape;
  if (apq__config_family(config, "cost", &family, NULL)) return 1e9;
  if (apq__config_limits(config, problem, target, &shape, NULL)) return 1e9;
  double seconds = family->ops->cost(config, problem, target, &shape);
  if (family->is_product && problem->in && !apq__config_source(config))
    seconds += apq__pack_cost(NULL, problem, target, NULL);
  return seconds;
}

/* A launch in a graph, from the end of the kernel before it. */
static const double launch_seconds = 2.2e-6;

/* One pass over the rows. */
double apq__pack_cost(const apq__config *config, const apq__problem *problem,
                      const apq__target *target, const apq__shape *shape) {
  (void)config;
  (void)shape;
  double bytes = (double)problem->m * problem->k * 3;
  return launch_seconds + bytes / target->dram_bytes_per_s;
}

double apq__gemm_cost(const apq__config *config, const apq__problem *problem,
                      const apq__target *target, const apq__shape *shape) {
  apq__gemm_knobs g = apq__gemm_read(config);
  double launch = launch_seconds;
  double m_tiles = ceil_to(problem->m, g.tile_m), n_tiles = ceil_to(problem->n, g.tile_n);
  double blocks = m_tiles * n_tiles * g.split_k;
  double steps = ceil_to(ceil_to(problem->k, g.tile_k), g.split_k) * (g.is_horner ? g.p * g.q : 1);
  double resident = at_most(target->smem_per_sm / (shape->smem_bytes + 1024.0),
                            target->regs_per_sm / ((double)shape->registers * shape->threads));
  resident = at_most(resident, (double)target->threads_per_sm / shape->threads);
  resident = at_least(1, (double)(long long)at_most(resident, target->blocks_per_sm));

  stage_cycles stage = stage_cost(config, &g, target);
  /* On Hopper an mma.sync keeps its scheduler from issuing anything else. */
  if (target->cc == 90) stage.tensor += stage.issue;
  double busy = at_least(at_least(stage.tensor, stage.shared), stage.integer);
  /* What a block alone cannot hide: one barrier and the first fragment loads a stage; everything
   * when the ring has one slot. */
  double exposed = g.stages == 1 ? 900 : 250 + 500.0 / (g.stages * g.stages);
  double epilogue = (double)g.tile_m * g.tile_n * (g.is_staged ? 12.0 : 30.0) / 128 + 400;
  if (g.is_shared) epilogue += (double)g.x_rows * g.y_rows / 32;
  double here = at_most(resident, at_least(1, ceil_to(blocks, target->sm_count)));
  /* Fewer warps than schedulers leave some idle. */
  double idle = at_least(1, 4.0 / (g.warps_m * g.warps_n));
  double alone = steps * (busy * idle + exposed) + epilogue * idle + 1200;
  double together = steps * (busy + 0.5 * exposed) + epilogue; /* one hides half of another's */
  /* `here` blocks share an SM: bound by the busiest unit, or by each block's own chain. */
  double rounds = ceil_to(blocks, target->sm_count * here);
  double seconds = rounds * at_least(alone, here * together) / target->clock_hz;

  double loaded = blocks * steps * g.stage_bytes;
  double weight = (double)problem->n * problem->k / 8 * g.p;
  double activation = (double)problem->m * problem->k * (g.is_bytes ? 1.0 : g.q / 8.0);
  double result = (double)problem->m * problem->n * (double)apq__dtype_bytes(problem->out);
  double dram = (weight + activation + result) / target->dram_bytes_per_s;
  double l2 = (loaded + result) / target->l2_bytes_per_s;
  if (g.split_k > 1) {
    double partial = 2.0 * g.split_k * problem->m * problem->n * 4;
    l2 += partial / target->l2_bytes_per_s;
    launch += 2.5e-6;
  }
  return launch + at_least(seconds, at_least(dram, l2));
}
