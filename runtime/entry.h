/* What a plan needs of each token count, but for the pointers: the kernels, their launches and the
 * workspace.  Plans of equal shape share it through their context. */
#ifndef APQ_ENTRY_H
#define APQ_ENTRY_H

#include <pthread.h>

#include "apq.h"
#include "bitplane.h"
#include "dispatch.h"
#include "kernels.h"

/* Everything the choice of kernels depends on beside the token count.  Start it zeroed: two are
 * compared as memory. */
typedef struct apq__recipe_key {
  int q, k;
  apq_dtype input, output;
  int is_gated; /* the input is two matrices side by side */
  int count;    /* of products */
  struct {
    int p, n, group;
    apq__post post;
  } product[APQ_PRODUCTS_MAX];
} apq__recipe_key;

/* Activations packed in one form. */
typedef struct apq__packing {
  int is_used;
  apq__config config;
  apq__shape shape; /* grid[0] is the token count of the run */
  int row_bytes;    /* of the packed activations */
  size_t at;        /* in the workspace, as all below */
  const apq__loaded *kernel;
} apq__packing;

/* One product of the plan. */
typedef struct apq__product_entry {
  apq__choice choice; /* for `high` tokens, which serves fewer as well */
  apq__form form;
  int quantizes;  /* the kernel takes the plan's input itself: no packing, `form` says nothing */
  int is_variant; /* the config has code for an activation that the winner's has not */
  size_t partial, tickets;
  const apq__loaded *kernel; /* belong to the context, like all kernels */
  char *rejected;            /* why better choices were not taken, a line each; or NULL */
} apq__product_entry;

/* Serves the token counts low .. high.  Immutable once made.  Offsets are multiples of 256. */
typedef struct apq__entry {
  struct apq__entry *next; /* of the same recipe */
  int low, high;
  apq__packing packing[APQ__FORM_COUNT];
  int is_packed;     /* some packing is used */
  size_t sums;       /* int32 [m] */
  size_t group_sums; /* int32 [m][groups], with groups */
  size_t scales;     /* float [m], quantized inputs only */
  size_t zeros;      /* int32 [m], quantized inputs only */
  size_t tickets;    /* of all products, to be cleared before them */
  size_t ticket_bytes;
  size_t total;
  int group, groups;
  int count;
  apq__product_entry product[];
} apq__entry;

/* Plans with equal keys. */
typedef struct apq__recipe {
  struct apq__recipe *next;
  apq__recipe_key key;
  apq__entry *first;
} apq__recipe;

typedef struct apq__recipe_list {
  pthread_mutex_t lock;
  int has_lock;
  apq__recipe *first;
} apq__recipe_list;

apq_status apq__recipes_open(apq__recipe_list *list, apq_error *error);
/* Accepts a list that was zeroed and never opened. */
void apq__recipes_close(apq__recipe_list *list);

/* The recipe of a key, which belongs to the context. */
apq_status apq__recipe_get(apq_context *context, const apq__recipe_key *key, apq__recipe **out,
                           apq_error *error);

/* With the plan's input only where the product could quantize it for itself: nobody else needs it,
 * and it is not two matrices side by side. */
apq__problem apq__recipe_problem(const apq__recipe_key *key, int product, int m);

/* The entry for low .. high, made and its kernels loaded when the recipe has none. */
apq_status apq__entry_get(apq_context *context, apq__recipe *recipe, int low, int high,
                          const apq__entry **out, apq_error *error);

/* An entry with the choices that would be tried first, without kernels: for explanations. */
apq_status apq__entry_draft(apq_context *context, const apq__recipe_key *key, int m,
                            apq__entry **out, apq_error *error);
void apq__entry_free(apq__entry *entry);

#endif
