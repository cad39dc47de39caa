/* The cross product of a space's knob lists, walked like an odometer whose slowest wheels are the
 * knobs that the first constraints read: when a constraint rejects by these alone, everything
 * behind them is skipped at once. */
#ifndef APQ_KNOB_PRODUCT_H
#define APQ_KNOB_PRODUCT_H

#include "space_impl.h"

typedef struct apq__knob_product {
  int count; /* wheels, by rank: 0 turns slowest */
  const apq__space_knob *list[APQ__KNOBS_MAX];
  int digit[APQ__KNOBS_MAX];
  int at[APQ__KNOBS_MAX]; /* index of the knob in `config` */
  apq__config config;     /* complete, of the current digits */
  int dirty;              /* smallest rank turned since the changes were last taken */
  int64_t size;           /* combinations in all */
} apq__knob_product;

/* Puts the wheels in order and stands at the first combination, with the problem's bits and type
 * and the defaults of what the space does not list.  The space has a family.  OUT_OF_RANGE when the
 * size exceeds 10^15; INVALID_ARGUMENT, with `size` set, when the family does not do the problem's
 * bits or type. */
apq_status apq__knob_product_start(apq__knob_product *product, const apq__space *space,
                                   const apq__problem *problem, apq_error *error);

/* Rank of a knob by name, -1 when it is not listed. */
int apq__knob_product_rank(const apq__knob_product *product, const char *name);

/* Combinations that share the digits of ranks 0..rank with the current one. */
int64_t apq__knob_product_behind(const apq__knob_product *product, int rank);

/* Turns the wheel of this rank by one, all faster ones back to 0, and carries.  Returns the
 * smallest rank that turned, or -1 when the product is exhausted (at once for rank -1). */
int apq__knob_product_turn(apq__knob_product *product, int rank);

#endif
