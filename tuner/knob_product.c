#include "knob_product.h"

#include <string.h>

#include "script_locate.h"
#include "status.h"

static const int64_t size_max = 1000000000000000;

static int is_placed(const apq__knob_product *product, const apq__space_knob *knob) {
  for (int i = 0; i < product->count; i++)
    if (product->list[i] == knob) return 1;
  return 0;
}

/* By the first constraint whose text names the knob.  That a function of another place reads more
 * only costs time. */
static void order_wheels(apq__knob_product *product, const apq__space *space) {
  product->count = 0;
  for (int c = 0; c <= space->constraint_count; c++)
    for (int i = 0; i < space->knob_count; i++) {
      const apq__space_knob *knob = &space->knob[i];
      const apq__space_constraint *by = &space->constraint[c];
      int is_last = c == space->constraint_count; /* those that no constraint names */
      if (!is_placed(product, knob) &&
          (is_last || apq__script_mentions(space->text, by->line, by->last_line, knob->name)))
        product->list[product->count++] = knob;
    }
}

apq_status apq__knob_product_start(apq__knob_product *product, const apq__space *space,
                                   const apq__problem *problem, apq_error *error) {
  *product = (apq__knob_product){.size = 1};
  order_wheels(product, space);
  for (int i = 0; i < product->count; i++) {
    product->size *= product->list[i]->count;
    if (product->size > size_max)
      return apq__fail(error, APQ_OUT_OF_RANGE, "space",
                       "%s:%d: the knob lists give more than 10^15 combinations", space->file,
                       apq__script_line(space->script));
  }
  apq__config *config = &product->config;
  apq_status status = apq__config_set(config, "family", apq__family_name(space->family), error);
  if (!status) status = apq__config_set_problem(config, problem, error);
  for (int i = 0; i < product->count && !status; i++)
    status = apq__config_set(config, product->list[i]->name, product->list[i]->value[0], error);
  if (!status) status = apq__config_complete(config, error);
  for (int i = 0; i < product->count && !status; i++)
    while (strcmp(config->knob[product->at[i]].name, product->list[i]->name) != 0) product->at[i]++;
  return status;
}

int apq__knob_product_rank(const apq__knob_product *product, const char *name) {
  int rank = product->count - 1;
  while (rank >= 0 && strcmp(product->list[rank]->name, name) != 0) rank--;
  return rank;
}

int64_t apq__knob_product_behind(const apq__knob_product *product, int rank) {
  int64_t behind = 1;
  for (int i = rank + 1; i < product->count; i++) behind *= product->list[i]->count;
  return behind;
}

static void set_digit(apq__knob_product *product, int rank, int digit) {
  product->digit[rank] = digit;
  memcpy(product->config.knob[product->at[rank]].value, product->list[rank]->value[digit],
         APQ__WORD_MAX);
  if (rank < product->dirty) product->dirty = rank;
}

int apq__knob_product_turn(apq__knob_product *product, int rank) {
  for (int i = rank + 1; i < product->count; i++)
    if (product->digit[i]) set_digit(product, i, 0);
  while (rank >= 0 && product->digit[rank] + 1 == product->list[rank]->count)
    set_digit(product, rank--, 0);
  if (rank >= 0) set_digit(product, rank, product->digit[rank] + 1);
  return rank;
}
