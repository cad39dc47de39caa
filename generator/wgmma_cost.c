#include <math.h>

#include "family_impl.h"
#include "roofline.h"

/* The time of the warpgroup families: the busiest SM's main loops, bound by the tensor cores, by
 * shared memory or by what the L2 delivers, and what of its epilogues no other warpgroup's products
 * cover. */

/* Cycles between the products of one block of 128 k and the next that unpacking p planes takes: the
 * two warps of a scheduler share its integer units, and each has one block to unpack before its
 * next products (fitted to kernels of 128, 192 and 256 tokens on an H200). */
static const double unpack_cycles[9] = {0, 410, 460, 520, 600, 680, 750, 880, 920};

/* Cycles for 128 k of 128 rows where feeding warps unpack into shared memory: what is left of L1
 * beside the rings holds few lines, and so few loads are under way (H100). */
static const double unpacking_cycles = 2200;

/* wgmma against mma.sync, whose rates the target gives: 15 300 against 10 260 TOPS in b1, 1 900
 * against 1 280 in u8; and bulk copies against the loads behind its L2 rate: 12 TB/s were seen
 * (H200). */
static const double warpgroup_gain = 1.49, bulk_gain = 2.2;

/* Cycles of shared memory to write `rows` rows of `bytes`: a bulk copy writes at most 128 bytes and
 * one row a cycle, and short rows cost as 80 bytes do. */
static double write_cycles(double rows, double bytes) {
  return rows * at_least(bytes, 80) / 128;
}

/* The same of rows that come in panels, of which each is a row to the copies.  Right for panels of
 * 64 bytes; kernels with panels of 32 are at 0.73 of what they take, of 16 at 0.58 (H200). */
static double panel_cycles(const apq__wgmma_knobs *g, double rows, int bytes) {
  int panel = apq__wgmma_panel(g, bytes);
  return write_cycles(rows * bytes / panel, panel);
}

/* imma_bulk: mma.sync keeps its scheduler from issuing anything else, so each other instruction
 * adds its cycle: unpacking, loads, and what a warp does about the ring each 128 k (W4A4, tiles of
 * 64x64 and 32x128 a warp: within 5 %).  A warp reads all activations of its warpgroup's share by
 * itself. */
static double mma_cycles(const apq__wgmma_knobs *g, const apq__target *target, double depth) {
  double blocks = depth / 128, warps = 4.0 * g->consumers, weights = g->x_tile * g->y_sharers;
  double tensor = (double)g->x_tile * g->y_tile * depth / target->u8_macs;
  double others = weights / 8 * (apq__select_operations(g->p, g->is_pairs) + 1) +
                  warps * (g->y_share / 16.0 * 4 + 15);
  double shared = (warps * g->y_share + weights * g->p / 8) * depth / 128 +
                  write_cycles((double)g->tile_n * g->p * depth / g->tile_k, g->slab) +
                  write_cycles(g->tile_m * blocks, 128);
  /* Four warps, one a scheduler, hide no latency of each other's (64 to 256 tokens, W4A8). */
  double exposed = g->consumers == 1 ? 200 * blocks : 0;
  return at_least(tensor + others / 4 * blocks, 0.9 * shared) + exposed;
}

/* Cycles of one unit's main loop. */
static double loop_cycles(const apq__wgmma_knobs *g, const apq__target *target, double depth) {
  double rows = (double)g->x_tile * g->x_planes, bytes = g->is_bytes ? 1.0 : 0.125;
  double rate = (g->is_bytes ? target->u8_macs : target->b1_and_macs) * warpgroup_gain;
  double tensor = rows * g->columns * depth / rate, integer = 0;
  /* Shared memory reads the right operand for each 64 rows, and the left one once for all columns;
   * planes of bytes once, to unpack them. */
  double left = g->is_bytes ? (double)g->x_tile * g->p * depth / 8 : rows * depth / 8;
  /* Loads of planes pass through it too; codes are stored and read. */
  if (g->is_unpacked) left += 2 * (double)g->x_tile * depth;
  double shared = (rows / 64 * g->columns * depth * bytes + left) / 128;
  double slabs = depth / g->tile_k, w_rows = (double)g->tile_n * g->p, a_rows = g->tile_m;
  if (g->is_unpacked) {
    shared += panel_cycles(g, a_rows * depth / 128, 128);
    integer = depth / 128 * g->tile_n / 128 * unpacking_cycles;
  } else if (g->is_bytes) {
    shared += panel_cycles(g, w_rows * slabs, g->slab) + panel_cycles(g, a_rows * depth / 128, 128);
    /* One warpgroup alone has the integer units to itself. */
    integer = depth / 128 * unpack_cycles[g->p] * (g->consumers > 1 ? 1 : 0.45) * g->x_blocks;
    if (g->is_pingpong) integer /= 2;
  } else {
    w_rows = (double)g->tile_n * (g->swap ? g->x_planes : g->y_planes);
    a_rows = (double)g->tile_m * (g->swap ? g->y_planes : g->x_planes);
    shared += panel_cycles(g, (w_rows + a_rows) * slabs, g->slab);
    /* In turns less than that was seen (W2A2, W1A2, 64x64 to 128x192, H200). */
    if (g->is_pingpong) shared *= 0.9;
  }
  /* What a cluster shares comes from L2 once. */
  double fetched =
      (w_rows / g->cluster_m * 0.125 + a_rows / g->cluster_n * (g->is_bytes ? 1.0 : 0.125)) * depth;
  double l2_rate = target->l2_bytes_per_s * bulk_gain / target->sm_count / target->clock_hz;
  double full = g->is_bytes ? 0.96 : 0.93; /* of the tensor cores, at best */
  double busy = at_least(at_least(tensor / full, shared), fetched / l2_rate);
  /* A group's sums are recombined, corrected, converted, scaled and added by each lane; what is
   * shorter than a block multiplies it once a group. */
  double ends = 0, results = (double)g->tile_m * g->tile_n;
  if (g->group) {
    ends = depth / g->group * (results * (4 + g->x_planes * g->y_planes) / 128 + 60);
    integer += ends;
    if (g->is_bytes && g->group < 128) busy *= 128.0 / g->group;
  }
  /* Where unpacking takes about as long, the two hide each other only in part. */
  busy = pow(pow(busy, 6) + pow(integer, 6), 1.0 / 6);
  if (g->is_mma) busy = at_least(mma_cycles(g, target, depth) + ends, fetched / l2_rate);
  /* A ring has to cover the latency of its copies: of both operands, or of activations, which are
   * in L2 mostly. */
  double latency = g->is_bytes ? 900 : 1500;
  double covered = (g->stages - 1) * (double)(g->is_bytes ? 128 : g->tile_k) / depth * busy;
  if (covered < latency) busy += (latency - covered) / (covered + 300) * 0.8 * busy;
  return busy + 250;
}

double apq__wgmma_cost(const apq__config *config, const apq__problem *problem,
                       const apq__target *target, const apq__shape *shape) {
  apq__wgmma_knobs g = apq__wgmma_read(config);
  double m_tiles = apq__ceil_div(problem->m, g.tile_m * g.cluster_m) * g.cluster_m;
  double n_tiles = apq__ceil_div(problem->n, g.tile_n * g.cluster_n) * g.cluster_n;
  double units = m_tiles * n_tiles * g.split_k, blocks = shape->grid[0], rounds = 1, extra = 0;
  while (rounds * blocks < units) rounds++;
  double k = apq__ceil_div(problem->k, g.tile_k) * (double)g.tile_k;
  double loop = loop_cycles(&g, target, k / g.split_k * g.passes);
  /* Sums that leave few registers for anything else are moved about; 192 in turns are not (W8A1,
   * 8192^3: 658 us, 653 with 128 of 128 x 256). */
  if (shape->registers > 210 && !g.is_mma && !g.is_pingpong) loop *= 1.25;
  /* Rows of planes short and many, so that copies are what bounds the products. */
  int has_short_rows = g.is_bytes && !g.is_unpacked && apq__wgmma_panel(&g, g.slab) < 64 && g.p > 6;
  /* Sharing the smaller operand makes blocks wait for each other and saves little; but copying half
   * as many short rows is worth it (W8A8, 8192^3, H100: 828 against 853 us). */
  if (g.cluster_m * g.cluster_n > 1) {
    int is_smaller =
        (g.cluster_m > 1 ? g.tile_n : g.tile_m) < (g.cluster_m > 1 ? g.tile_m : g.tile_n);
    loop *= has_short_rows && g.cluster_m > 1 && g.cluster_n == 1 ? 0.97 : is_smaller ? 1.15 : 1.0;
  }

  double outputs = (double)g.tile_m * g.tile_n;
  double operations = 12.5 + (g.is_horner || g.is_bytes ? 0 : g.p * g.q - 1) * 1.5;
  double epilogue =
      outputs * (g.store == APQ__STORE_DIRECT ? 4 * operations : operations) / 128 + 400;
  /* Of 128x256 outputs on an H200 and an H100, one to four pairs of planes.  What overlaps still
   * takes its cycles of shared memory from the products; with swap all warps wait for each other.
   */
  if (g.store == APQ__STORE_TENSOR) epilogue *= 0.85;
  if (g.overlap) epilogue *= has_short_rows ? 1.8 : 0.9;
  if (g.swap && !g.is_bytes) epilogue *= 1.3;
  if (g.split_k > 1) epilogue += outputs * 8 / 128 + 2500;
  if (g.is_stream) {
    long long clusters = (long long)blocks / (g.cluster_m * g.cluster_n);
    long long tiles = (long long)units / (g.cluster_m * g.cluster_n);
    long long streamed = apq__wgmma_streamed(tiles, clusters);
    if (streamed) {
      /* Whole tiles, and the longest range in tiles: it ends with a part that waits for nobody's
       * sums but stores its first's and loads those of the last. */
      double stages = k / g.tile_k, range = ceil((double)streamed * stages / (double)clusters);
      rounds = (double)(tiles - streamed) / (double)clusters + range / stages;
      extra += outputs * 8 / 128 + (g.is_pingpong ? 3000 : 8000);
      /* Each block finishes a tile, unless there are fewer. */
      extra += epilogue * at_least(0, ceil(rounds) - rounds);
    }
  }
  int is_ragged = problem->m % g.tile_m || problem->n % g.tile_n;
  /* Tiles at the edge: in turns and side by side they cost a tenth (unexplained), and without
   * tensor copies their results leave by another way, of other instructions (4 to 9 us, bgmma,
   * H200). */
  if (is_ragged && !g.is_bytes) {
    if (g.is_pingpong && !g.is_horner) loop *= 1.1;
    if (g.store != APQ__STORE_TENSOR) extra += 10000;
  }
  double unit = loop + epilogue;
  /* Warpgroups in turns hand over a few percent late. */
  if (g.is_pingpong) unit = 1.04 * at_least(loop + outputs * 0.03, (loop + epilogue) / 2);
  double cycles = rounds * unit + extra + (g.is_pingpong ? epilogue : 0) + 3000;

  double bytes = (double)problem->n * problem->k / 8 * g.p +
                 (double)problem->m * problem->k * (g.is_bytes ? 1.0 : g.q / 8.0) +
                 (double)problem->m * problem->n * g.out_bytes;
  return 2.2e-6 + at_least(cycles / target->clock_hz, bytes / target->dram_bytes_per_s);
}
