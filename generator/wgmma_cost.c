#include "family_impl.h"

/* The time of the warpgroup families: the busiest SM's main loops, bound by the tensor cores, by
 * shared memory or by what the L2 delivers, and what of its epilogues no other warpgroup's products
 * cover. */

static double at_least(double a, double b) {
  return a > b ? a : b;
}

/* 32-bit operations to unpack eight words of codes of p planes (templates/unpack.cu). */
static const double unpack_operations[9] = {0, 15, 20, 24, 28, 36, 40, 44, 48};

/* wgmma against mma.sync, whose rates the target gives: 15 300 against 10 260 TOPS in b1, 1 900
 * against 1 280 in u8 (H200). */
static const double warpgroup_gain = 1.49;

double apq__wgmma_cost(const apq__config *config, const apq__problem *problem,
                       const apq__target *target, const apq__shape *shape) {
  apq__wgmma_knobs g = apq__wgmma_read(config);
  double sms = target->sm_count, blocks = shape->grid[0];
  double m_tiles = apq__ceil_div(problem->m, g.tile_m * g.cluster_m) * g.cluster_m;
  double n_tiles = apq__ceil_div(problem->n, g.tile_n * g.cluster_n) * g.cluster_n;
  double units = m_tiles * n_tiles * g.split_k, rounds = 1;
  while (rounds * blocks < units) rounds++;
  double k = apq__ceil_div(problem->k, g.tile_k) * (double)g.tile_k;
  double depth = k / g.split_k * g.passes;

  double products = (double)g.x_tile * g.x_planes * g.columns * depth;
  double rate = (g.is_bytes ? target->u8_macs : target->b1_and_macs) * warpgroup_gain;
  double bits = g.is_bytes ? 8 : 1;
  double tensor = products / rate;
  /* The left operand is read once for all columns (b1: from shared memory), the right once for each
   * 64 rows; what the copies write comes on top. */
  double rows = (double)g.x_tile * g.x_planes;
  double right = rows / 64 * g.columns * depth * bits / 8;
  double left = g.is_bytes ? (double)g.x_tile * g.p * depth / 8 : rows * depth / 8;
  double copied = g.is_bytes ? (double)g.tile_m * depth + (double)g.tile_n * g.p * depth / 8
                             : (rows + g.columns) * depth / 8;
  double shared = (right + left + copied) / 128;
  double integer = 0;
  if (g.is_bytes)
    integer = (double)g.x_tile * depth / 32 / 32 * unpack_operations[g.p] / 8 / 4 * 1.6;
  /* What a cluster shares comes from L2 once. */
  double fetched = g.is_bytes
                       ? (double)g.tile_m * depth / g.cluster_n +
                             (double)g.tile_n * g.p * depth / 8 / g.cluster_m
                       : ((double)g.tile_m * (g.swap ? g.y_planes : g.x_planes) / g.cluster_n +
                          (double)g.tile_n * (g.swap ? g.x_planes : g.y_planes) / g.cluster_m) *
                             depth / 8;
  double l2 = fetched / (target->l2_bytes_per_s / sms / target->clock_hz);
  double loop = at_least(at_least(tensor, shared), at_least(integer, l2));
  /* A ring must cover the latency of its copies. */
  double covered = (double)g.stages * (g.is_bytes ? 128 : g.tile_k) / depth * loop;
  loop += 300 + (covered < 1200 ? (1200 - covered) * 0.5 : 0);

  double outputs = (double)g.tile_m * g.tile_n;
  double operations = 9.0 + 1.5 * (g.is_horner || g.is_bytes ? 0 : g.p * g.q - 1);
  double epilogue = outputs * operations / 128 + (g.is_staged ? 300 : outputs * 8 / 128);
  if (g.split_k > 1) epilogue += outputs * 8 / 128 + 2500;
  double hidden = g.is_pingpong || g.stagger ? 0.75 : 0;
  double cycles = rounds * (loop + (1 - hidden) * epilogue) + hidden * epilogue + 2500;
  double seconds = cycles / target->clock_hz;

  double bytes = (double)problem->n * problem->k / 8 * g.p +
                 (double)problem->m * problem->k * (g.is_bytes ? 1.0 : g.q / 8.0) +
                 (double)problem->m * problem->n * g.out_bytes;
  double launch = 2.2e-6 + (g.split_k > 1 ? 2.5e-6 : 0);
  return launch + at_least(seconds, bytes / target->dram_bytes_per_s);
}
