#include "decode_impl.h"

#include "family_impl.h"

/* Bytes of shared memory that quantizing takes beside the panel, behind `before` others. */
static int quantizing_smem(const apq__decode_knobs *d, int before) {
  int warps = d->threads / 32, aligned = (before + 15) / 16 * 16 - before;
  int tokens = (8 * warps + 8 * d->tile_m + 4 * d->tile_m * d->row_warps + 15) / 16 * 16;
  return aligned + tokens + 8 * d->src_bytes * (d->hold + 1) * d->threads;
}

apq__decode_knobs apq__decode_read(const apq__config *config) {
  apq__decode_knobs d = {0};
  d.p = apq__config_int(config, "p", 1);
  d.q = apq__config_int(config, "q", 1);
  d.group = apq__config_int(config, "group", 0);
  d.tile_m = apq__config_int(config, "tile_m", 1);
  d.tiles = apq__config_int(config, "tiles", 1);
  d.warps_n = apq__config_int(config, "warps_n", 1);
  d.warps_k = apq__config_int(config, "warps_k", 1);
  d.depth = apq__config_int(config, "depth", 1);
  d.stages = apq__config_int(config, "stages", 1);
  d.persist = apq__config_int(config, "persist", 0);
  d.min_blocks = apq__config_int(config, "min_blocks", 1);
  d.cluster = apq__config_int(config, "cluster", 1);
  d.split_k = apq__config_int(config, "split_k", 1);
  d.parts = d.cluster * d.split_k;
  d.is_bytes = apq__config_is(config, "core", "u8");
  d.is_horner = apq__config_is(config, "schedule", "horner");
  d.is_stream = apq__config_is(config, "operand", "stream");
  d.is_keep = apq__config_is(config, "operand", "keep");
  d.is_shared = apq__config_is(config, "operand", "shared");
  d.is_pdl = apq__config_int(config, "pdl", 0);
  d.is_once = apq__config_int(config, "once", 0);
  d.is_even = apq__config_int(config, "even", 0);
  d.unpacks_early = !apq__config_is(config, "unpack", "use");
  d.unpacks_first = apq__config_is(config, "unpack", "wait");
  const char *source = apq__config_source(config);
  apq_dtype dtype;
  d.src_bytes = source && apq__dtype_parse(source, &dtype) ? (int)apq__dtype_bytes(dtype) : 0;
  d.hold = apq__config_int(config, "hold", 1);
  d.threads = 32 * d.warps_n * d.warps_k;
  int warps = d.warps_n * d.warps_k;
  d.rows_at_once = d.tile_m < warps ? d.tile_m : warps;
  d.row_warps = warps / d.rows_at_once;
  d.rows = 16 * d.tiles * d.warps_n;
  d.own = d.rows / d.cluster;
  d.results = d.tile_m * d.own;
  int columns = d.is_bytes ? 1 : d.q <= 2 ? d.q : d.q <= 4 ? 4 : 8;
  d.fragments = apq__ceil_div(d.tile_m * columns, 8);
  d.panel_columns = d.src_bytes ? d.tile_m * columns : 8 * d.fragments;
  d.a_chunks = d.is_bytes ? 8 : 1;
  d.load_k = 512 * d.warps_k * d.depth;
  int pitch = d.rows + (columns == 1 ? 4 : columns == 2 ? 8 : 0);
  int sent = d.own / 16 * apq__ceil_div(d.tile_m, 8) * 128;
  d.sum_bytes = 4 * d.tile_m * pitch;
  d.fixed_smem = d.cluster > 1 ? 16 + 16 * d.tile_m + 4 * d.cluster * d.warps_k * sent
                               : 16 * d.tile_m + 2 * 4 * d.warps_k * d.tile_m * pitch;
  if (d.split_k > 1) d.fixed_smem += 16; /* the ticket */
  if (d.src_bytes) d.fixed_smem += quantizing_smem(&d, d.fixed_smem);
  int activations = 4 * d.depth * d.fragments * d.a_chunks;
  int words = !d.is_bytes ? d.p : d.p > 4 ? 8 : d.p > 2 ? 4 : d.p;
  d.item_registers = 8 * d.depth * d.tiles * words + (d.is_stream ? activations : 0);
  int fields = 8 / words, scales = d.fragments <= 2 && fields <= 4 ? fields : 1;
  int chains = d.tiles * d.fragments * scales < 4 ? 2 : 1;
  int planes = d.is_bytes ? scales * chains : d.is_horner ? 1 : d.p;
  int sums = 4 * d.tiles * d.fragments * planes;
  /* A chunk of a row and its codes are done with before there are sums. */
  int quantizing = d.src_bytes ? 2 * d.src_bytes + 28 : 0;
  d.other_registers = (sums > quantizing ? sums : quantizing) + (d.is_keep ? activations : 0) + 34;
  return d;
}

int apq__decode_block_k(const apq__decode_knobs *d, const apq__problem *problem) {
  int slabs = apq__ceil_div(problem->k, 512 * d->parts);
  int k = 512 * (slabs > d->warps_k ? slabs : d->warps_k);
  return d->is_once && k < d->load_k ? d->load_k : k;
}

apq_status apq__decode_limits(const apq__config *config, const apq__problem *problem,
                              const apq__target *target, apq__shape *shape, apq_error *error) {
  enum { GRID_MAX = 65535 };
  apq__decode_knobs d = apq__decode_read(config);
  long long line = d.is_bytes ? 128 : 1024; /* k of 128 bytes of a column */
  long long panel =
      problem && d.is_shared
          ? 1ll * d.panel_columns * ((apq__decode_block_k(&d, problem) + line - 1) / line) * 128
          : 0;
  long long sums =
      problem && d.group ? (long long)apq__ceil_div(problem->k, d.group) * d.sum_bytes : 0;
  if (sums && d.src_bytes)
    sums += (4 * d.tile_m * apq__ceil_div(problem->k, d.group) + 15) / 16 * 16;
  long long smem = (d.fixed_smem + 127) / 128 * 128 + panel + sums;
  int registers = d.stages * d.item_registers + d.other_registers +
                  (d.group ? 3 * apq__ceil_div(d.rows, d.warps_n * d.warps_k) : 0);
  const apq__refusal rows[] = {
      {!d.is_bytes && target->cc < 80, "no b1 AND before sm_80: use core=u8"},
      {d.is_pdl && target->cc < 90, "no dependent launches before sm_90"},
      {d.is_bytes && d.is_horner, "schedule=horner is for core=b1"},
      {d.group && (d.persist || d.cluster > 1),
       "group scales need persist=0 and cluster=1: the groups of one tile meet in shared memory"},
      {d.group && apq__config_is(config, "out", "i32"), "group scales need a floating output"},
      {d.group && d.split_k > 1,
       "group scales need split_k=1: their floats are added in the order of the groups"},
      {d.cluster > 1 && d.split_k > 1, "k is divided over a cluster or by split_k, not both"},
      {d.src_bytes && d.split_k > 1,
       "src needs split_k=1: its tickets would need a launch that clears them, as pack does"},
      {d.src_bytes && !d.is_shared,
       "what a block quantizes waits in shared memory: src needs operand=shared"},
      {d.hold > 1 && !d.src_bytes, "hold is for blocks that quantize"},
      {d.is_once && (d.persist || d.stages > 1), "once=1 is for one load of one tile"},
      {d.is_once && d.is_shared && d.depth > 4, "once=1 waits for no more than four slabs"},
      {problem && d.is_once && apq__decode_block_k(&d, problem) > d.load_k,
       "once=1 needs one load to hold all of k"},
      {d.is_even && d.persist, "even=1 is for blocks of one tile"},
      {!d.is_pdl && !apq__config_is(config, "release", "start"), "release is for pdl=1"},
      {d.unpacks_early && !d.is_bytes, "unpack is for core=u8"},
      {d.unpacks_first && !d.is_pdl, "unpack=wait is for pdl=1"},
      {problem && d.is_bytes && problem->k > 1 << 17,
       "more k than sums of unpacked bytes have room for"},
      {d.threads > 1024, "more than 1024 threads a block"},
      {d.own > d.threads, "too few threads to finish the rows of a tile"},
      {d.cluster > 1 && target->cc < 90, "no clusters of blocks before sm_90"},
      {d.cluster > 1 && d.persist, "blocks of a cluster do one tile"},
      {d.cluster > 1 && d.rows % (16 * d.cluster), "less than 16 rows for each block of a cluster"},
      {smem > target->smem_per_block, "too much shared memory for a block"},
      {d.min_blocks * (smem + 1024) > target->smem_per_sm,
       "min_blocks do not fit the shared memory of an SM"},
      {d.min_blocks * d.threads > target->threads_per_sm,
       "min_blocks do not fit the threads of an SM"},
      {registers > 255, "too many registers a thread"},
      {(long long)registers * d.threads * d.min_blocks > target->regs_per_sm,
       "too many registers for an SM"},
      {problem && d.is_keep && apq__decode_block_k(&d, problem) > d.load_k,
       "operand=keep needs one load to hold all of k"},
      {problem && apq__ceil_div(problem->m, d.tile_m) > GRID_MAX, "more tiles than a grid has"},
  };
  apq_status status = apq__first_refusal(rows, sizeof rows / sizeof rows[0], error);
  if (status) return status;
  *shape = (apq__shape){.threads = (unsigned)d.threads,
                        .smem_bytes = (unsigned)smem,
                        .registers = registers,
                        .tile_m = d.tile_m,
                        .tile_n = d.rows,
                        .tile_k = d.load_k,
                        .cluster = (unsigned)d.cluster,
                        .dependent = d.is_pdl};
  if (!problem) return APQ_OK;
  int tiles = apq__ceil_div(problem->n, d.rows), most = d.persist * target->sm_count;
  int each = d.persist && most / d.split_k < tiles ? most / d.split_k : tiles;
  int blocks = (each > 0 ? each : 1) * d.parts;
  int everywhere = apq__ceil_div(target->sm_count, d.parts) * d.parts;
  if (d.is_even && blocks < everywhere) blocks = everywhere;
  shape->grid[0] = (unsigned)blocks;
  shape->grid[1] = (unsigned)apq__ceil_div(problem->m, d.tile_m);
  shape->grid[2] = 1;
  if (d.split_k > 1) {
    size_t all = (size_t)tiles * shape->grid[1];
    shape->ticket_bytes = (all * 4 + 255) / 256 * 256;
    shape->workspace_bytes = all * (size_t)(d.split_k * d.tile_m * d.rows) * 4;
    shape->workspace_bytes = (shape->workspace_bytes + 255) / 256 * 256 + shape->ticket_bytes;
    shape->keeps_tickets = 1;
  }
  return APQ_OK;
}
