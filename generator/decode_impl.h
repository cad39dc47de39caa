/* The knobs of family decode, and what follows from them; private to generator/. */
#ifndef APQ_DECODE_IMPL_H
#define APQ_DECODE_IMPL_H

#include "generator.h"

/* Mirrors the #defines of templates/decode_core.cu and decode_load.cu. */
typedef struct apq__decode_knobs {
  int p, q, group, tile_m, tiles, warps_n, warps_k, depth, stages, persist, min_blocks, cluster,
      split_k;
  int is_bytes, is_horner, is_stream, is_keep, is_shared, is_pdl, is_once, is_even, unpacks_early,
      unpacks_first;
  int parts;                       /* blocks that divide k */
  int threads, rows, own, results; /* own: rows that a block finishes */
  int fragments;                   /* of eight columns */
  int src_bytes;                   /* of a number that the block quantizes; 0: it is packed */
  int rows_at_once, row_warps;     /* rows that are quantized side by side, and the warps of each */
  int hold;            /* chunks of eight of them that a thread keeps in shared memory */
  int panel_columns;   /* of activations in shared memory */
  int a_chunks;        /* 16-byte chunks of activations a lane needs for a slab of a fragment */
  int load_k;          /* k of one load of all warps */
  int sum_bytes;       /* a warp's sums, or a group's */
  int fixed_smem;      /* bytes before the panel */
  int item_registers;  /* of one load */
  int other_registers; /* sums, kept activations, codes, addresses */
} apq__decode_knobs;

apq__decode_knobs apq__decode_read(const apq__config *config);
/* k that one of the blocks that divide it has room for: whole slabs, one for each of its warps of k
 * at least. */
int apq__decode_block_k(const apq__decode_knobs *d, const apq__problem *problem);

apq_status apq__decode_limits(const apq__config *config, const apq__problem *problem,
                              const apq__target *target, apq__shape *shape, apq_error *error);
double apq__decode_cost(const apq__config *config, const apq__problem *problem,
                        const apq__target *target, const apq__shape *shape);

/* Family stream: the floor of family decode. */
apq_status apq__stream_limits(const apq__config *config, const apq__problem *problem,
                              const apq__target *target, apq__shape *shape, apq_error *error);
double apq__stream_cost(const apq__config *config, const apq__problem *problem,
                        const apq__target *target, const apq__shape *shape);

#endif
