/* From a problem to the kernels worth trying, best first.  Pure: reads the table, calls the limits
 * and the cost model, and nothing else. */
#ifndef APQ_DISPATCH_H
#define APQ_DISPATCH_H

#include "config.h"
#include "generator.h"
#include "target.h"
#include "winner_table.h"

/* Where a choice comes from. */
typedef enum apq__source {
  APQ__SOURCE_EXACT,     /* tuned on this GPU for this problem */
  APQ__SOURCE_NEAREST,   /* tuned on this GPU for another m, n, k */
  APQ__SOURCE_SAME_ARCH, /* tuned on another GPU of this arch, for this or another m, n, k */
  APQ__SOURCE_MODEL,     /* not tuned: the cost model's choice */
  APQ__SOURCE_COUNT
} apq__source;

/* "exact", "nearest", "same arch", "model". */
const char *apq__source_name(apq__source source);

typedef struct apq__choice {
  apq__source source;
  apq__config config; /* complete, feasible for the problem */
  apq__shape shape;
  const apq__tuned *tuned; /* its row of the table; NULL for MODEL */
  double modelled_seconds; /* the cost model's, for this problem */
} apq__choice;

enum { APQ__CHOICES_MAX = 8 };

/* Fills `choice` with 1 to APQ__CHOICES_MAX different configs in the order to try them; later ones
 * serve when an earlier one cannot be built or loaded.
 *
 * Order: exact; nearest on this GPU; other GPUs of the arch; the model's choice.  Nearest is by the
 * Euclidean distance of (log m, log n, log k) among rows of equal p, q, out and group, equal
 * distances going to the larger m; so for given n and k the row chosen is monotonic in m.  A row
 * whose config is not feasible for the actual problem is skipped.  A row for another shape is put
 * behind the model's choice when the model expects it to be more than twice as slow as that: tuned
 * far from here, it says nothing here.
 *
 * For a problem whose input is not packed, rows tuned with that input stand before rows as near
 * that were tuned with packed activations, whose kernels follow a pack kernel.
 *
 * Fails when the problem is not valid, out of memory, or when nothing at all is feasible. */
apq_status apq__dispatch(const apq__winner_table *table, const apq__problem *problem,
                         const apq__target *target, apq__choice choice[APQ__CHOICES_MAX],
                         int *count, apq_error *error);

#endif
