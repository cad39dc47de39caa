#include "fingerprint.h"

#include <string.h>

#include "alloc.h"
#include "context.h"
#include "generator.h"
#include "host.h"
#include "plan.h"
#include "status.h"

static apq_status finish(apq__text *text, char hash[65], apq_error *error) {
  const int failed = text->failed;
  const apq__piece piece = {text->data, text->length};
  if (!failed) apq__sha256(&piece, text->length > 0, hash);
  apq__text_free(text);
  if (!failed) return APQ_OK;
  return apq__fail(error, APQ_OUT_OF_MEMORY, "hash", "no memory for the text to hash");
}

/* ---- winners ---- */

apq_status apq_context_winners_hash(apq_context *context, char hash[65], apq_error *error) {
  apq_status status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(hash, "hash", error);
  if (!status) status = apq__context_check_open(context, error);
  if (status) return status;
  const apq__winner_table *table = &context->winners;
  apq__text text = {0};
  char key[APQ__KEY_MAX];
  for (int i = 0; i < table->count; i++) {
    const apq__tuned *row = &table->row[i];
    apq__text_add(&text, "%s %s %d %s\n", apq__problem_key(&row->problem, key), row->gpu,
                  row->same_gpu, row->config);
  }
  return finish(&text, hash, error);
}

apq_status apq__context_check_hash(apq_context *context, const char *expected, apq_error *error) {
  char hash[65];
  apq_status status = apq_context_winners_hash(context, hash, error);
  if (status || strcmp(hash, expected) == 0) return status;
  return apq__fail(error, APQ_MISMATCH, "context", "winners_hash=%s: the winners read hash to %s",
                   expected, hash);
}

/* ---- plans ---- */

static void add_config(apq__text *text, const apq__config *config, int emulated) {
  char key[APQ__KEY_MAX];
  const apq__family *family = apq__family_find(apq__config_get(config, "family"));
  apq__text_add(text, " %s %s\n", apq__config_key(config, key), apq__family_hash(family, emulated));
}

static void add_entry(apq__text *text, const apq__entry *entry, int emulated) {
  apq__text_add(text, "%d-%d\n", entry->low, entry->high);
  for (int form = 0; form < APQ__FORM_COUNT; form++)
    if (entry->packing[form].is_used) add_config(text, &entry->packing[form].config, emulated);
  for (int i = 0; i < entry->count; i++)
    add_config(text, &entry->product[i].choice.config, emulated);
}

apq_status apq_plan_fingerprint(const apq_plan *plan, char hash[65], apq_error *error) {
  apq_status status = apq__check_pointer(plan, "plan", error);
  if (!status) status = apq__check_pointer(hash, "hash", error);
  if (!status) status = apq__plan_check_open(plan, error);
  if (status) return status;
  const apq__target *target = apq__context_target(plan->context);
  const apq__slot_table *table = atomic_load_explicit(&plan->table, memory_order_acquire);
  apq__text text = {0};
  apq__text_add(&text, "%s %s\n", target->arch, target->emulated ? "emulated" : "cuda");
  for (int list = 0; table && list < APQ__SLOTS_COUNT; list++)
    for (int i = 0; i < table->count[list]; i++)
      add_entry(&text, table->list[list][i].entry, target->emulated);
  return finish(&text, hash, error);
}
