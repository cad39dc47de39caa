#include "decode_impl.h"

#include <math.h>

#include "family_impl.h"
#include "roofline.h"

/* What a launch takes in a chain of launches, fitted to 644 kernels of 36 problems on an H200 and
 * an H100 (docs/decode.md): it orders candidates and is within 10 % of most. */

/* Cycles that quantizing a block's rows takes.  Guessed from the instructions, not fitted: about
 * 100 of a thread for each chunk of eight k, four warps side by side, and the way of the row from
 * L2, once more for what is not kept in registers; then the ranges are exchanged. */
static double quantize_cycles(const apq__decode_knobs *d, const apq__problem *problem) {
  int turns = d->tile_m / d->rows_at_once;
  double chunks = apq__ceil_div(problem->k, 128) * 16.0;
  double each = chunks / (32.0 * d->row_warps); /* of a thread, in a row */
  double rounds = turns, again = each > d->hold ? each - d->hold : 0;
  return rounds * (700 + 150 * again + 200) + d->tile_m * chunks * 100 / 128;
}

/* Cycles between the sums of a block and those of a tile that it shares: they are stored, fenced
 * and counted, and what others stored is fenced and read, each of which goes to L2 and back.
 * From about 600 cycles a way; 1.3 us were seen where nothing else changes (H200). */
static double share_cycles(const apq__decode_knobs *d) {
  if (d->split_k == 1) return 0;
  return 3000 + 4.0 * d->results * d->split_k / 64;
}

/* Cycles that one tile keeps an SM's units busy. */
typedef struct {
  double fill;     /* copies of activations into shared memory, or loads into registers */
  double products; /* of what binds them */
  double sums;     /* of the warps added up, results stored */
  double unpack;   /* the weights to bytes */
} tile_cycles;

static tile_cycles tile_cost(const apq__decode_knobs *d, const apq__problem *problem) {
  double k = apq__decode_block_k(d, problem), rows = d->rows, columns = 8.0 * d->fragments;
  double column_bytes = d->is_bytes ? k : k / 8;
  double mma = rows / 16 * d->fragments * (d->is_bytes ? k / 32 : k / 256 * d->p);
  if (d->group) mma *= 512.0 / d->group; /* a slab is multiplied once for each of its groups */
  /* An mma takes 6 cycles of one of four schedulers; integer operations, two cycles each, make its
   * operands of bytes or shift Horner's sums. */
  double operations = d->is_horner ? 8 : 0;
  if (d->is_bytes) operations = (d->p > 4 ? 0.0 : d->fragments <= 2 ? 4.0 : 8.0) / d->fragments;
  double tensor = mma * 6.03 / 4, integer = mma * operations * 2 / 4;
  double shared = d->is_shared ? rows / (16 * d->tiles) * columns * column_bytes / 128 : 0;
  double results = (double)d->warps_k * d->tile_m * rows * 8 / 128;
  int own = apq__ceil_div(d->results, d->threads);
  return (tile_cycles){
      .fill = d->src_bytes ? quantize_cycles(d, problem)
                           : columns * column_bytes * (d->is_shared ? 1 : d->warps_n) / 72,
      .products = 0.6 * at_least(tensor, at_least(integer, shared)),
      .sums = results + 12.0 * d->tiles * d->fragments + 100.0 * own,
      .unpack = d->is_bytes ? rows * k / 2048 * apq__unpack_operations[d->p] : 0,
  };
}

/* Blocks that an SM has room for. */
static double count_resident(const apq__decode_knobs *d, const apq__target *target,
                             const apq__shape *shape) {
  double registers = at_least(shape->registers, 32);
  registers = at_most(registers, target->regs_per_sm / ((double)shape->threads * d->min_blocks));
  double most = at_most(target->smem_per_sm / (shape->smem_bytes + 1024.0),
                        target->regs_per_sm / (registers * shape->threads));
  most = at_most(most, (double)target->threads_per_sm / shape->threads);
  return at_least(1, (double)(long long)at_most(most, target->blocks_per_sm));
}

/* How much longer a block takes that loads only a part of its weights before the wait for the
 * launch before: the rest is asked for when the others' first part is done with, all at once (one
 * token, H200; a third with two steps and one stage, nothing from six on). */
static double late_loads(const apq__decode_knobs *d, double steps, double turns) {
  double ratio = steps / d->stages;
  if (!d->is_pdl || d->persist || ratio <= 1 || turns < 2) return 1;
  return ratio < 2 ? 1.08 : 1 + 0.33 * exp(1.2 * (2 - ratio));
}

double apq__decode_cost(const apq__config *config, const apq__problem *problem,
                        const apq__target *target, const apq__shape *shape) {
  apq__decode_knobs d = apq__decode_read(config);
  double sms = target->sm_count, grid = (double)shape->grid[0] * shape->grid[1];
  double tiles = (double)apq__ceil_div(problem->n, d.rows) * d.parts * shape->grid[1];
  double resident = count_resident(&d, target, shape);
  double turns = (double)(long long)((tiles + sms - 1) / sms); /* tiles of the busiest SM */
  double here = d.persist ? d.persist : at_most(turns, resident);
  double steps = apq__ceil_div(apq__decode_block_k(&d, problem), d.load_k);
  double rounds = (double)(long long)((turns + here - 1) / here);

  tile_cycles tile = tile_cost(&d, problem);
  double each = tile.products + tile.sums + (d.unpacks_early ? 0 : tile.unpack);
  double busy = turns * each + (d.persist ? here : turns) * tile.fill;
  double latency =
      600 + 400 * (steps - 1) * rounds / d.stages + 500 * (rounds - 1) + share_cycles(&d);
  double late = apq__config_is(config, "release", "issue") ? 80 : 0;

  double weights = (double)problem->n * problem->k / 8 * d.p;
  if (d.group) weights += 12.0 * problem->n * problem->k / d.group; /* sums, zero points, scales */
  double in_flight =
      here * at_most(sms, grid) * d.threads * d.stages * d.depth * d.tiles * d.p * 32.0;
  double memory = at_least(weights / target->dram_bytes_per_s, weights / (in_flight / 0.92e-6));
  memory *= late_loads(&d, steps, turns);

  const double hz = target->clock_hz;
  double launch = 0.85e-6;
  if (d.group) launch += 0.5e-6; /* sums are scaled, and then added in their order */
  double units = busy / hz, exposed = latency / hz, both = at_least(memory, units);
  double less = at_most(memory, units);
  if (!d.is_pdl) return launch + 0.8e-6 + both + 0.8 * less + exposed;
  /* Launches that take turns with the SMs: each has loaded its weights when its turn comes, and
   * those of the next do not stand in its activations' way. */
  if (2 * grid <= sms && steps <= d.stages)
    return launch + 0.8 * units + exposed + 0.8 * memory + (d.p <= 2 ? -late : late) / hz;
  if (2 * grid <= sms * 1.5) memory *= 0.75 * sms / grid;
  if (turns <= resident && !(d.persist && rounds > 1))
    return launch + units + exposed + 0.88 * (memory + 0.1 * turns * tile.unpack / hz) + late / hz;
  both = at_least(memory, units + 0.04 * turns * tile.unpack / hz);
  return launch + 0.3e-6 + both + 0.8 * less + exposed;
}
