#include "plan.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "gemm_args.h"
#include "status.h"
#include "weights.h"

int apq__plan_quantizes(const apq_plan *plan) {
  return plan->recipe->key.input != APQ_DTYPE_CODES8;
}

apq_status apq__plan_check_open(const apq_plan *plan, apq_error *error) {
  return apq__context_check_open(plan->context, error);
}

/* ---- checks ---- */

static apq_status bad_argument(apq_error *error, const char *name, const char *needs) {
  return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s: needs %s", name, needs);
}

static apq_status check_array(apq_context *context, const void *array, const char *name,
                              int allowed, const char *needs, apq_error *error) {
  if (!array) return APQ_OK;
  if (!allowed) return bad_argument(error, name, needs);
  if ((uintptr_t)array % 4 != 0)
    return apq__fail(error, APQ_MISALIGNED, "argument", "%s: not aligned to 4 bytes", name);
  return apq__context_check_owner(context, array, name, error);
}

static apq_status check_types(const apq_plan_desc *desc, apq_error *error) {
  if (desc->input != APQ_DTYPE_CODES8 && desc->input != APQ_DTYPE_F16 &&
      desc->input != APQ_DTYPE_BF16 && desc->input != APQ_DTYPE_F32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "input=%s: must be codes8, f16, bf16 or f32", apq_dtype_name(desc->input));
  if (desc->output != APQ_DTYPE_I32 && desc->output != APQ_DTYPE_F16 &&
      desc->output != APQ_DTYPE_BF16 && desc->output != APQ_DTYPE_F32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "output=%s: must be i32, f16, bf16 or f32", apq_dtype_name(desc->output));
  return APQ_OK;
}

static apq_status check_static(const apq_plan_desc *desc, apq_error *error) {
  const float scale = desc->static_scale;
  const int last = (1 << desc->bits) - 1;
  if (scale == 0 && desc->static_zero == 0) return APQ_OK;
  if (desc->input == APQ_DTYPE_CODES8)
    return bad_argument(error, "static_scale", "input f16, bf16 or f32");
  if (!(scale > 0) || !isfinite(scale) || !isfinite(1.0f / scale))
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "static_scale=%g: must be positive, finite and have a finite inverse",
                     (double)scale);
  if (desc->static_zero && desc->format != APQ_FORMAT_UINT)
    return bad_argument(error, "static_zero", "format uint");
  if (desc->static_zero < 0 || desc->static_zero > last)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "static_zero=%d: must be 0 to %d",
                     desc->static_zero, last);
  return APQ_OK;
}

static apq_status check_gate(const apq_plan_desc *desc, apq_error *error) {
  if ((unsigned)desc->input_gate >= APQ_ACTIVATION_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "input_gate=%d: not an apq_activation", (int)desc->input_gate);
  if (desc->input_gate && desc->input == APQ_DTYPE_CODES8)
    return bad_argument(error, "input_gate", "input f16, bf16 or f32");
  if (desc->input_gate && desc->weights->k > INT32_MAX / 2)
    return apq__fail(error, APQ_BAD_SHAPE, "argument", "input_gate: 2 k=%d columns exceed int32",
                     desc->weights->k);
  return APQ_OK;
}

static apq_status check_input(apq_context *context, const apq_plan_desc *desc, apq_error *error) {
  const int is_codes = desc->input == APQ_DTYPE_CODES8;
  apq_status status = apq__check_bits(desc->bits, "bits", error);
  if (!status) status = apq__check_format(desc->format, "format", error);
  if (!status) status = check_types(desc, error);
  if (!status) status = check_static(desc, error);
  if (!status) status = check_gate(desc, error);
  if (!status)
    status =
        check_array(context, desc->input_scale, "input_scale", is_codes, "input codes8", error);
  if (!status)
    status = check_array(context, desc->input_zero, "input_zero",
                         is_codes && desc->format == APQ_FORMAT_UINT,
                         "input codes8 and format uint", error);
  return status;
}

/* `prefix` is "" for the plan's first product, "more[i]." for the others. */
static apq_status check_epilogue(apq_context *context, const apq_product_desc *product,
                                 const char *prefix, apq_dtype output, apq_error *error) {
  const int is_float = output != APQ_DTYPE_I32;
  char name[32];
  snprintf(name, sizeof name, "%sbias", prefix);
  apq_status status =
      check_array(context, product->bias, name, is_float, "a floating output", error);
  if (status) return status;
  snprintf(name, sizeof name, "%sactivation", prefix);
  if ((unsigned)product->activation >= APQ_ACTIVATION_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: not an apq_activation", name,
                     (int)product->activation);
  if (product->activation && !is_float) return bad_argument(error, name, "a floating output");
  snprintf(name, sizeof name, "%scombine", prefix);
  if ((unsigned)product->combine >= APQ_COMBINE_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s=%d: not an apq_combine", name,
                     (int)product->combine);
  if (product->combine && !is_float) return bad_argument(error, name, "a floating output");
  return APQ_OK;
}

static apq_status check_product(apq_context *context, const apq_plan_desc *desc, int i,
                                const apq_product_desc *product, apq_error *error) {
  const apq_weights *weights = product->weights;
  char prefix[16] = "", name[32];
  if (i) snprintf(prefix, sizeof prefix, "more[%d].", i - 1);
  snprintf(name, sizeof name, "%sweights", prefix);
  apq_status status = apq__check_pointer(weights, name, error);
  if (status) return status;
  if (weights->context != context)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s: made in another context", name);
  if (weights->k != desc->weights->k)
    return apq__fail(error, APQ_BAD_SHAPE, "argument", "%s: k=%d, the first product's is %d", name,
                     weights->k, desc->weights->k);
  if (weights->group != desc->weights->group)
    return apq__fail(error, APQ_BAD_SHAPE, "argument", "%s: groups of %d, the first product's %d",
                     name, weights->group, desc->weights->group);
  if (weights->group && desc->output == APQ_DTYPE_I32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "%s: scales of groups need a floating output", name);
  status = check_epilogue(context, product, prefix, desc->output, error);
  if (status) return status;
  /* Zero points of tokens, given or computed, lie in the code range, so no value exceeds 2^bits
   * - 1. */
  int64_t max_input = apq__format_max_abs(desc->format, desc->bits, NULL, 0);
  int k = weights->group && weights->group < weights->k ? weights->group : weights->k;
  return apq__check_bound(k, weights->max_abs, max_input, error);
}

/* ---- making ---- */

static apq_product_desc product_of(const apq_plan_desc *desc, int i) {
  if (i) return desc->more[i - 1];
  return (apq_product_desc){desc->weights, desc->bias, desc->activation, desc->combine};
}

static apq_status check_desc(apq_context *context, const apq_plan_desc *desc, apq_error *error) {
  apq_status status = apq__check_pointer(desc->weights, "weights", error);
  if (!status) status = check_input(context, desc, error);
  if (status) return status;
  if (desc->more_count < 0 || desc->more_count >= APQ_PRODUCTS_MAX)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "more_count=%d: must be 0 to %d",
                     desc->more_count, APQ_PRODUCTS_MAX - 1);
  if (desc->more_count) status = apq__check_pointer(desc->more, "more", error);
  for (int i = 0; i <= desc->more_count && !status; i++) {
    const apq_product_desc product = product_of(desc, i);
    status = check_product(context, desc, i, &product, error);
  }
  return status;
}

static apq__recipe_key key_of(const apq_plan_desc *desc) {
  apq__recipe_key key;
  memset(&key, 0, sizeof key);
  key.q = desc->bits;
  key.k = desc->weights->k;
  key.input = desc->input;
  key.output = desc->output;
  key.is_gated = desc->input_gate != APQ_ACTIVATION_NONE;
  key.count = 1 + desc->more_count;
  for (int i = 0; i < key.count; i++) {
    const apq_product_desc product = product_of(desc, i);
    key.product[i].p = product.weights->bits;
    key.product[i].n = product.weights->n;
    key.product[i].group = product.weights->group;
    key.product[i].post = product.activation ? APQ__POST_ACTIVATION
                          : product.combine  ? APQ__POST_COMBINE
                                             : APQ__POST_NONE;
  }
  return key;
}

static apq__plan_product make_product(const apq_plan *plan, const apq_product_desc *desc) {
  const apq_weights *weights = desc->weights;
  apq__plan_product product = {.weights = weights,
                               .combine = desc->combine,
                               .args = {.w = weights->planes,
                                        .w_sum = weights->w_sum,
                                        .w_zero = weights->w_zero,
                                        .a_zero = plan->input_zero,
                                        .w_scale = weights->w_scale,
                                        .a_scale = plan->input_scale,
                                        .bias = desc->bias,
                                        .w_group_sum = weights->w_group_sum,
                                        .n = weights->n,
                                        .k = weights->k,
                                        .row_bytes = (int)apq__plane_row_bytes(weights->k),
                                        .alpha_w = weights->affine.alpha,
                                        .alpha_a = plan->input.alpha,
                                        .zero_w = weights->affine.zero,
                                        .zero_a = plan->input.zero,
                                        .group = weights->group,
                                        .groups = weights->group ? weights->groups : 0,
                                        .combine = (int)desc->combine}};
  product.args.gate = apq__gate_args(desc->activation);
  return product;
}

apq_status apq_plan_create(apq_context *context, const apq_plan_desc *desc, apq_plan **out,
                           apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(desc, "desc", error);
  if (!status) status = apq__context_check_open(context, error);
  if (!status) status = check_desc(context, desc, error);
  if (status) return status;

  const apq__recipe_key key = key_of(desc);
  apq_plan *plan = apq__calloc(1, sizeof *plan + (size_t)key.count * sizeof plan->product[0]);
  if (!plan) return apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a plan");
  plan->context = context;
  plan->format = desc->format;
  plan->input = apq__format_affine(desc->format, desc->bits);
  plan->static_scale = desc->static_scale;
  /* INT and BIPOLAR have their own zero. */
  plan->static_zero = desc->format == APQ_FORMAT_UINT ? desc->static_zero : plan->input.zero;
  plan->gate = apq__gate_args(desc->input_gate);
  plan->input_scale = desc->input_scale;
  plan->input_zero = desc->input_zero;
  plan->count = key.count;
  for (int i = 0; i < key.count; i++) {
    const apq_product_desc product = product_of(desc, i);
    plan->product[i] = make_product(plan, &product);
  }
  atomic_init(&plan->table, NULL);
  for (int i = 0; i < APQ__SEEN; i++) atomic_init(&plan->seen[i], 0);
  status = apq__recipe_get(context, &key, &plan->recipe, error);
  if (!status && pthread_mutex_init(&plan->lock, NULL) != 0)
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a mutex");
  if (status) {
    apq__free(plan);
    return status;
  }
  apq__context_hold(context);
  *out = plan;
  return APQ_OK;
}

void apq_plan_destroy(apq_plan *plan) {
  if (!plan) return;
  apq__slot_table *table = atomic_load(&plan->table);
  /* The newest table holds every slot of the older ones. */
  for (int list = 0; table && list < APQ__SLOTS_COUNT; list++)
    for (int i = 0; i < table->count[list]; i++) apq__free(table->list[list][i].maps);
  while (table) {
    apq__slot_table *previous = table->previous;
    apq__free(table);
    table = previous;
  }
  pthread_mutex_destroy(&plan->lock);
  apq__context_release(plan->context);
  apq__free(plan);
}

/* ---- looking up ---- */

/* The first slot that ends at m or later. */
static const apq__plan_slot *find_in(const apq__slot_table *table, int list, int m) {
  int low = 0, high = table->count[list];
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (table->list[list][middle].entry->high < m)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == table->count[list] || table->list[list][low].entry->low > m) return NULL;
  return &table->list[list][low];
}

const apq__plan_slot *apq__plan_find(const apq_plan *plan, int m) {
  const apq__slot_table *table = atomic_load_explicit(&plan->table, memory_order_acquire);
  if (!table) return NULL;
  const apq__plan_slot *slot = find_in(table, APQ__SLOTS_SINGLE, m);
  return slot ? slot : find_in(table, APQ__SLOTS_RANGE, m);
}

size_t apq_plan_workspace(const apq_plan *plan, int m) {
  const apq__plan_slot *slot = plan ? apq__plan_find(plan, m) : NULL;
  return slot ? slot->entry->total : 0;
}
