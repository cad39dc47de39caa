#include "entry.h"

#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "generator.h"
#include "status.h"

enum { ALIGNMENT = 256 };

/* ---- recipes ---- */

apq_status apq__recipes_open(apq__recipe_list *list, apq_error *error) {
  if (pthread_mutex_init(&list->lock, NULL) != 0)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "context", "no memory for a mutex");
  list->has_lock = 1;
  return APQ_OK;
}

void apq__recipes_close(apq__recipe_list *list) {
  while (list->first) {
    apq__recipe *recipe = list->first;
    list->first = recipe->next;
    while (recipe->first) {
      apq__entry *entry = recipe->first;
      recipe->first = entry->next;
      apq__entry_free(entry);
    }
    apq__free(recipe);
  }
  if (list->has_lock) pthread_mutex_destroy(&list->lock);
  list->has_lock = 0;
}

static apq_status no_memory(apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "plan", "no memory for a prepared size");
}

apq_status apq__recipe_get(apq_context *context, const apq__recipe_key *key, apq__recipe **out,
                           apq_error *error) {
  apq__recipe_list *list = &context->recipes;
  apq_status status = APQ_OK;
  pthread_mutex_lock(&list->lock);
  apq__recipe *recipe = list->first;
  while (recipe && memcmp(&recipe->key, key, sizeof *key) != 0) recipe = recipe->next;
  if (!recipe) {
    recipe = apq__calloc(1, sizeof *recipe);
    if (recipe) {
      recipe->key = *key;
      recipe->next = list->first;
      list->first = recipe;
    } else {
      status = no_memory(error);
    }
  }
  pthread_mutex_unlock(&list->lock);
  *out = recipe;
  return status;
}

apq__problem apq__recipe_problem(const apq__recipe_key *key, int product, int m) {
  return (apq__problem){.p = key->product[product].p,
                        .q = key->q,
                        .m = m,
                        .n = key->product[product].n,
                        .k = key->k,
                        .out = key->output,
                        .group = key->product[product].group,
                        .in = key->count == 1 && !key->is_gated ? apq__input_of(key->input)
                                                                : APQ__INPUT_PACKED};
}

/* ---- workspace ---- */

/* Takes `bytes` from the workspace; its offset. */
static size_t take(size_t *total, size_t bytes) {
  size_t at = *total;
  *total = at + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return at;
}

static void lay_out(const apq__recipe_key *key, apq__entry *entry) {
  const size_t m = (size_t)entry->high, row = m * 4;
  for (int form = 0; form < APQ__FORM_COUNT; form++) {
    apq__packing *packing = &entry->packing[form];
    if (packing->is_used)
      packing->at = take(&entry->total,
                         (size_t)apq__form_bytes((apq__form)form, entry->high, key->k, key->q));
  }
  if (entry->is_packed) {
    entry->sums = take(&entry->total, row);
    entry->group_sums = take(&entry->total, row * (size_t)entry->groups);
  }
  if (entry->is_packed && key->input != APQ_DTYPE_CODES8) {
    entry->scales = take(&entry->total, row);
    entry->zeros = take(&entry->total, row);
  }
  for (int i = 0; i < entry->count; i++) {
    const apq__shape *shape = &entry->product[i].choice.shape;
    entry->product[i].partial = take(&entry->total, shape->workspace_bytes - shape->ticket_bytes);
  }
  entry->tickets = entry->total;
  for (int i = 0; i < entry->count; i++)
    entry->product[i].tickets = take(&entry->total, entry->product[i].choice.shape.ticket_bytes);
  entry->ticket_bytes = entry->total - entry->tickets;
}

/* ---- choices ---- */

/* The packing that a product wants, if any, its config and shape filled in. */
static apq_status use_form(apq_context *context, const apq__recipe_key *key, apq__entry *entry,
                           const apq__product_entry *product, apq_error *error) {
  const apq__form form = product->form;
  apq__packing *packing = &entry->packing[form];
  if (product->quantizes || packing->is_used) return APQ_OK;
  const apq__problem problem = apq__recipe_problem(key, 0, entry->high);
  apq_status status = apq__pack_config(key->input, &problem, form, &packing->config, error);
  if (!status && key->is_gated) status = apq__config_set_int(&packing->config, "gate", 1, error);
  if (!status)
    status = apq__config_limits(&packing->config, &problem, apq__context_target(context),
                                &packing->shape, error);
  packing->row_bytes = (int)apq__form_row_bytes(form, key->k);
  packing->is_used = !status;
  entry->is_packed |= !status;
  return status;
}

/* Takes a choice for one product; with an activation or a second operand, in the variant of its
 * kernel that has code for them. */
static apq_status take_choice(apq_context *context, const apq__recipe_key *key, int i, int high,
                              const apq__choice *choice, apq__product_entry *product,
                              apq_error *error) {
  product->choice = *choice;
  product->form = apq__config_form(&choice->config);
  product->quantizes = apq__config_source(&choice->config) != NULL;
  product->is_variant = apq__config_post(&choice->config) < key->product[i].post;
  if (!product->is_variant) return APQ_OK;
  const apq__problem problem = apq__recipe_problem(key, i, high);
  apq_status status = apq__config_need_post(&product->choice.config, key->product[i].post,
                                            apq__context_target(context), error);
  if (!status)
    status = apq__config_limits(&product->choice.config, &problem, apq__context_target(context),
                                &product->choice.shape, error);
  return status;
}

/* The object of a winner is that of its own config. */
static apq_status load_kernel(apq_context *context, apq__product_entry *product, apq_error *error) {
  const apq__choice *choice = &product->choice;
  return apq__kernel_get(context, &choice->config, choice->shape.smem_bytes,
                         product->is_variant ? NULL : choice->tuned, &product->kernel, error);
}

static void give_error(apq_error *from, apq_error *to) {
  if (!to) {
    apq_error_clear(from);
    return;
  }
  apq_error_clear(to);
  *to = *from;
}

/* Tries the choices in their order; the ones that do not load are told in product->rejected. */
static apq_status load_first(apq_context *context, const apq__recipe_key *key, int product_index,
                             int high, const apq__choice *choice, int count,
                             apq__product_entry *product, apq_error *error) {
  apq__text rejected = {0};
  apq_error trouble = APQ_ERROR_INIT;
  apq_status status = APQ_OK;
  for (int i = 0; i < count; i++) {
    status = take_choice(context, key, product_index, high, &choice[i], product, &trouble);
    if (!status) status = load_kernel(context, product, &trouble);
    if (status == APQ_OK || status == APQ_OUT_OF_MEMORY) break;
    apq__text_add(&rejected, "rejected: %s: %s\n", apq__source_name(choice[i].source),
                  trouble.message);
  }
  if (!status && rejected.failed) status = no_memory(&trouble);
  if (status) {
    apq__text_free(&rejected);
    give_error(&trouble, error);
    return status;
  }
  apq_error_clear(&trouble);
  product->rejected = rejected.data;
  return APQ_OK;
}

/* Chooses one product's kernel; with `loads` the first choice that loads, else the first. */
static apq_status choose(apq_context *context, const apq__recipe_key *key, int i, int loads,
                         apq__choice *choice, apq__entry *entry, apq_error *error) {
  apq__product_entry *product = &entry->product[i];
  const apq__problem problem = apq__recipe_problem(key, i, entry->high);
  int count = 0;
  apq_status status = apq__dispatch(&context->winners, &problem, apq__context_target(context),
                                    choice, &count, error);
  if (status) return status;
  if (loads) return load_first(context, key, i, entry->high, choice, count, product, error);
  return take_choice(context, key, i, entry->high, &choice[0], product, error);
}

static apq_status make(apq_context *context, const apq__recipe_key *key, int low, int high,
                       int loads, apq__entry **out, apq_error *error) {
  apq__entry *entry = apq__calloc(1, sizeof *entry + (size_t)key->count * sizeof entry->product[0]);
  apq__choice *choice = apq__calloc(APQ__CHOICES_MAX, sizeof *choice);
  apq_status status = entry && choice ? APQ_OK : no_memory(error);
  if (status) goto cleanup;
  entry->low = low;
  entry->high = high;
  entry->count = key->count;
  for (int i = 0; i < key->count; i++)
    if (key->product[i].group) entry->group = key->product[i].group;
  if (entry->group) entry->groups = (key->k + entry->group - 1) / entry->group;
  for (int i = 0; i < key->count && !status; i++) {
    status = choose(context, key, i, loads, choice, entry, error);
    if (!status) status = use_form(context, key, entry, &entry->product[i], error);
  }
  for (int form = 0; form < APQ__FORM_COUNT && !status && loads; form++) {
    apq__packing *packing = &entry->packing[form];
    if (packing->is_used)
      status = apq__kernel_get(context, &packing->config, packing->shape.smem_bytes, NULL,
                               &packing->kernel, error);
  }
  if (!status) lay_out(key, entry);
cleanup:
  apq__free(choice);
  if (status) {
    apq__entry_free(entry);
    entry = NULL;
  }
  *out = entry;
  return status;
}

void apq__entry_free(apq__entry *entry) {
  if (!entry) return;
  for (int i = 0; i < entry->count; i++) apq__free(entry->product[i].rejected);
  apq__free(entry);
}

apq_status apq__entry_draft(apq_context *context, const apq__recipe_key *key, int m,
                            apq__entry **out, apq_error *error) {
  return make(context, key, m, m, 0, out, error);
}

apq_status apq__entry_get(apq_context *context, apq__recipe *recipe, int low, int high,
                          const apq__entry **out, apq_error *error) {
  apq__recipe_list *list = &context->recipes;
  apq_status status = APQ_OK;
  pthread_mutex_lock(&list->lock);
  apq__entry *entry = recipe->first;
  while (entry && (entry->low != low || entry->high != high)) entry = entry->next;
  if (!entry) {
    status = make(context, &recipe->key, low, high, 1, &entry, error);
    if (!status) {
      entry->next = recipe->first;
      recipe->first = entry;
    }
  }
  pthread_mutex_unlock(&list->lock);
  *out = entry;
  return status;
}
