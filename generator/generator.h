/* Config -> one self-contained kernel source, its limits, its launch shape and its estimated time.
 */
#ifndef APQ_GENERATOR_H
#define APQ_GENERATOR_H

#include <stddef.h>

#include "apq.h"
#include "bitplane.h"
#include "config.h"
#include "target.h"

/* One knob as its template declares it. */
typedef struct apq__knob_decl {
  char name[APQ__WORD_MAX];
  char fallback[APQ__WORD_MAX]; /* default */
  int value_count;
  char (*values)[APQ__WORD_MAX]; /* the domain, in the declared order */
  char *doc;
} apq__knob_decl;

/* A kernel family: a template and what is known about it. */
typedef struct apq__family apq__family;

/* Family by name ("bmma", "imma", "pack"), or NULL; family i, NULL past the end. */
const apq__family *apq__family_find(const char *name);
const apq__family *apq__family_at(int i);
const char *apq__family_name(const apq__family *family);
/* 1 for families that compute products (the tuner's subject), 0 for `pack`. */
int apq__family_is_product(const apq__family *family);
/* The declared knobs, without `family`. */
const apq__knob_decl *apq__family_knobs(const apq__family *family, int *count);
/* SHA-256 of everything that decides the generated text of this family (template, ABI, prelude):
 * stored with every measurement, so that a changed template makes them stale. */
const char *apq__family_hash(const apq__family *family, int emulated);

/* Adds the defaults of knobs that are not set and checks that each value is in its domain. `family`
 * must be set. NOT_FOUND, INVALID_ARGUMENT name the family, knob and value. */
apq_status apq__config_complete(apq__config *config, apq_error *error);

/* What one bulk tensor copy of an operand brings: `rows` rows of one plane (or of the byte matrix),
 * `bytes` of each. */
typedef struct apq__box {
  int bytes, rows, swizzle;
} apq__box;

/* Sets the knobs that come from the problem: p, q, out, and group where the family has it. */
apq_status apq__config_set_problem(apq__config *config, const apq__problem *problem,
                                   apq_error *error);

/* What a kernel can do after the bias.  Families that generate code for it only on demand have a
 * knob `post`, which apq__config_need_post raises to what is needed. */
typedef enum apq__post {
  APQ__POST_NONE,
  APQ__POST_COMBINE,   /* a second operand */
  APQ__POST_ACTIVATION /* an activation function, then a second operand */
} apq__post;
apq__post apq__config_post(const apq__config *config);
apq_status apq__config_need_post(apq__config *config, apq__post post, const apq__target *target,
                                 apq_error *error);
/* The form in which the kernel reads activations, or, of family pack, writes them. */
apq__form apq__config_form(const apq__config *config);
/* The type of the numbers that the product's kernel quantizes itself ("f16", "bf16", "f32"), or
 * NULL when it takes packed activations. */
const char *apq__config_source(const apq__config *config);

/* How a complete config is launched for a problem. */
typedef struct apq__shape {
  unsigned grid[3];
  unsigned threads;
  unsigned smem_bytes;
  size_t workspace_bytes; /* split-K partial sums and tickets; 0 otherwise */
  size_t ticket_bytes;    /* the tail of the workspace that must be zero before each launch */
  int keeps_tickets;      /* 1: a launch leaves it zero, for the next one */
  int registers;          /* estimated, a thread */
  int tile_m, tile_n;     /* of a block (products) */
  int tile_k;             /* of one stage of its loads */
  unsigned cluster;       /* blocks along x in a cluster; 0: none */
  int dependent;          /* 1: launched as a dependent of the kernel before it */
  int is_tma;             /* 1: takes apq_tma_args, with maps of these boxes */
  apq__box w_box, a_box;
  apq__box y_box; /* of results, with store=tensor; else empty */
} apq__shape;

/* Static limits: legal knob combinations, instructions of the arch, shared memory, registers, and
 * the problem's own (the problem may be NULL: only what does not depend on it, and the grid is left
 * 0).  INFEASIBLE carries the reason: that is data, not a failure. */
apq_status apq__config_limits(const apq__config *config, const apq__problem *problem,
                              const apq__target *target, apq__shape *shape, apq_error *error);

/* Modelled seconds of one launch on this target: a roofline over device memory, L2, shared memory,
 * the tensor cores, unpack arithmetic, waves and launch; of a product that takes packed
 * activations, for a problem whose input is not, with the launch of family pack before it. Meant
 * for ordering; call only for feasible configs. */
double apq__config_cost(const apq__config *config, const apq__problem *problem,
                        const apq__target *target);

/* The source text (apq__free): a comment with the canonical config, the knobs as constants, the
 * prelude of the target, the ABI, and the template with every branch that this config does not take
 * removed.  The kernel is named by apq__kernel_name. */
apq_status apq__generate(const apq__config *config, const apq__target *target, char **source,
                         apq_error *error);

/* The entry point in the generated source: "apq_<family>". */
const char *apq__kernel_name(const apq__config *config, char name[APQ__WORD_MAX + 8]);

/* A complete config of some family that is feasible for this problem, by lowest modelled cost over
 * a small built-in list that covers every shape and arch: dispatch's last resort, always succeeds
 * for a valid problem and known arch. */
apq_status apq__default_config(const apq__problem *problem, const apq__target *target,
                               apq__config *out, apq_error *error);

/* The pack kernel for the activations of a problem (its q, m and k) from a source type (F16, BF16,
 * F32, CODES8) into a form. */
apq_status apq__pack_config(apq_dtype source, const apq__problem *problem, apq__form form,
                            apq__config *out, apq_error *error);

#endif
