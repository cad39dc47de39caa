/* What the generator's files know about a family; private to generator/. */
#ifndef APQ_FAMILY_IMPL_H
#define APQ_FAMILY_IMPL_H

#include "embedded.h"
#include "generator.h"

enum { APQ__PARTS_MAX = 16, APQ__FAMILIES_MAX = 16 };

/* What the generator computes about a family's kernels, beyond what its template declares. */
typedef struct apq__family_ops {
  const char *family;
  /* apq__config_limits and, for what passes them, apq__config_cost. */
  apq_status (*limits)(const apq__config *, const apq__problem *, const apq__target *, apq__shape *,
                       apq_error *);
  double (*cost)(const apq__config *, const apq__problem *, const apq__target *,
                 const apq__shape *);
} apq__family_ops;

/* The row of the family in family_ops.c; NULL when it has none. */
const apq__family_ops *apq__family_ops_find(const char *family);

struct apq__family {
  char name[APQ__WORD_MAX];
  int is_product;
  int wants_bytes; /* where a config names no form */
  const apq__family_ops *ops;
  char part[APQ__PARTS_MAX][2 * APQ__WORD_MAX]; /* files of the text, after the prelude */
  int part_count;
  apq__knob_decl knob[APQ__KNOBS_MAX];
  int knob_count;
  char hash[2][65]; /* for CUDA and for emulated targets */
};

static inline int apq__ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

/* A reason to refuse a config. */
typedef struct apq__refusal {
  int is_true;
  const char *reason;
} apq__refusal;

/* INFEASIBLE with the reason of the first row that is true. */
apq_status apq__first_refusal(const apq__refusal *rows, int count, apq_error *error);

/* Why the kernel cannot take activations in the form it names, or NULL.  The problem may be NULL.
 */
const char *apq__form_refusal(const apq__config *config, const apq__problem *problem);

/* The family that a config names; NOT_FOUND, in the name of `stage`, when there is none. */
apq_status apq__config_family(const apq__config *config, const char *stage, const apq__family **out,
                              apq_error *error);

/* The file's text, or NULL. */
const char *apq__embedded_text(const char *name);

/* The template parts of a family in the order in which they are concatenated; returns their number.
 */
int apq__family_parts(const apq__family *family, int emulated,
                      const char *parts[APQ__PARTS_MAX + 2]);

/* Whether any family declares a knob of this lower-case name: to templates shared by families, a
 * knob a family lacks is one without value. */
int apq__knob_exists(const char *name);

/* Integers of a product config, read once. */
typedef struct apq__gemm_knobs {
  int p, q, tile_m, tile_n, tile_k, stages, warps_m, warps_n, min_blocks, split_k, group;
  int swap, is_horner, is_shared, is_xor_op, is_staged, is_padded, is_bytes, is_pairs;
  int x_tile, y_tile, x_warps, y_warps; /* sides of the mma: 16 rows, 8 columns */
  int x_rows, y_rows;                   /* rows of a stage (bmma) */
  int x_fragments, y_fragments;         /* accumulators of a warp, 16x8 each */
  int threads, stage_bytes;
  int copies; /* 16-byte copies a thread makes for one stage */
} apq__gemm_knobs;

apq__gemm_knobs apq__gemm_read(const apq__config *config);

/* bmma and imma. */
apq_status apq__gemm_limits(const apq__config *config, const apq__problem *problem,
                            const apq__target *target, apq__shape *shape, apq_error *error);
double apq__gemm_cost(const apq__config *config, const apq__problem *problem,
                      const apq__target *target, const apq__shape *shape);

/* Integers of a config of the warpgroup families, read once; as templates/warpgroup.cu, bgmma.cu,
 * igmma.cu and imma_bulk.cu define them. */
typedef struct apq__wgmma_knobs {
  int p, q, tile_m, tile_n, tile_k, stages, w_stages, consumers, stagger, cluster_m, cluster_n,
      split_k, group;
  int is_stream; /* split_k=stream; split_k is 1 */
  int swap, is_pingpong, is_horner, is_bytes, is_mma, is_ahead, is_pairs, has_other_copies;
  int is_unpacked; /* weights lie in shared memory as codes */
  enum { APQ__STORE_DIRECT, APQ__STORE_STAGED, APQ__STORE_TENSOR } store;
  int overlap; /* stages, 0: none */
  int out_bytes;
  int x_tile, y_tile, x_planes, y_planes, passes;
  int sharers, x_sharers, y_sharers; /* warpgroups that divide a tile, its rows, its columns */
  int x_blocks, y_share, columns;    /* of a warpgroup */
  int slab;                          /* bytes of a plane's row in a stage */
  int swizzle;                       /* bytes; 0: none */
  int stage_bytes;                   /* a slot of the ring; igmma: of the activations' ring */
  int w_slot_bytes;                  /* igmma: a slot of the weights' ring */
  int group_bytes;                   /* edges of all groups in the ring */
  int ring_bytes, threads, sums;     /* sums: accumulators of a thread */
} apq__wgmma_knobs;

apq__wgmma_knobs apq__wgmma_read(const apq__config *config);

/* Bytes of a row of `bytes` that one box copies (PANEL of templates/warpgroup.cu). */
int apq__wgmma_panel(const apq__wgmma_knobs *g, int bytes);

/* With split_k=stream: how many of the tiles are divided among all clusters (warpgroup_units.cu).
 */
long long apq__wgmma_streamed(long long tiles, long long clusters);

/* bgmma, igmma and imma_bulk. */
apq_status apq__wgmma_limits(const apq__config *config, const apq__problem *problem,
                             const apq__target *target, apq__shape *shape, apq_error *error);
double apq__wgmma_cost(const apq__config *config, const apq__problem *problem,
                       const apq__target *target, const apq__shape *shape);

apq_status apq__pack_limits(const apq__config *config, const apq__problem *problem,
                            const apq__target *target, apq__shape *shape, apq_error *error);
double apq__pack_cost(const apq__config *config, const apq__problem *problem,
                      const apq__target *target, const apq__shape *shape);

#endif
