#include "explain.h"

#include <string.h>

#include "compile.h"
#include "context.h"
#include "plan.h"
#include "status.h"

size_t apq__text_deliver(apq__text *text, char *to, size_t size) {
  size_t length = text->failed ? 0 : text->length;
  if (to && size) {
    size_t copied = length < size ? length : size - 1;
    if (copied) memcpy(to, text->data, copied);
    to[copied] = 0;
  }
  apq__text_free(text);
  return length;
}

/* ---- context ---- */

static void describe_device(apq__text *text, const apq__target *target) {
  apq__text_add(text, "device: %s (%s, %d SMs", target->name, target->arch, target->sm_count);
  if (target->emulated)
    apq__text_add(text, ", emulated on the CPU: exact results, modelled times)\n");
  else
    apq__text_add(text, ", driver %s)\n", target->driver);
  char version[128];
  apq_error error = APQ_ERROR_INIT;
  if (apq__compiler_version(target, version, sizeof version, &error))
    apq__text_add(text, "compiler: none (%s)\n", error.message);
  else
    apq__text_add(text, "compiler: %s\n", version);
  apq_error_clear(&error);
}

static void describe_winners(apq__text *text, const apq_context *context) {
  const apq__winner_table *winners = &context->winners;
  int same = 0;
  for (int i = 0; i < winners->count; i++) same += winners->row[i].same_gpu;
  apq__text_add(text, "winners: %d for this GPU, %d for others of its arch", same,
                winners->count - same);
  if (winners->stale)
    apq__text_add(text, "; %d stale (their template changed since)", winners->stale);
  if (winners->foreign) apq__text_add(text, "; %d of another kind of device", winners->foreign);
  apq__text_add(text, "\n");
}

size_t apq_context_describe(apq_context *context, char *text, size_t size) {
  apq__text out = {0};
  if (!context) return apq__text_deliver(&out, text, size);
  describe_device(&out, apq__context_target(context));
  for (int i = 0; i < context->file_count; i++) {
    const apq__source_file *file = &context->file[i];
    apq__text_add(&out, "%s: %s", file->role, file->path);
    if (file->readable) apq__text_add(&out, ", %d winners read", file->winners);
    apq__text_add(&out, "%s%s\n", file->note[0] ? "; " : "", file->note);
  }
  describe_winners(&out, context);
  apq__text_add(&out, "object cache: %s\n", context->cache_dir ? context->cache_dir : "none");
  pthread_mutex_lock(&context->kernels.lock);
  apq__text_add(&out, "kernels loaded: %d\n", context->kernels.count);
  pthread_mutex_unlock(&context->kernels.lock);
  return apq__text_deliver(&out, text, size);
}

/* ---- plan ---- */

static const char *time_kind(int modelled) {
  return modelled ? "modelled" : "measured";
}

static void explain_choice(apq__text *text, const apq__choice *choice) {
  char key[APQ__KEY_MAX];
  const apq__tuned *tuned = choice->tuned;
  double seconds = choice->modelled_seconds;
  int is_modelled = 1;
  apq__text_add(text, "source: %s\n", apq__source_name(choice->source));
  if (tuned)
    apq__text_add(text, "tuned: %s on %s, median %.3f us %s, %s\n",
                  apq__problem_key(&tuned->problem, key), tuned->gpu, tuned->seconds * 1e6,
                  time_kind(tuned->modelled), tuned->objective);
  if (tuned && choice->source == APQ__SOURCE_EXACT) {
    seconds = tuned->seconds;
    is_modelled = tuned->modelled;
  }
  apq__text_add(text, "time: %.3f us %s\n", 1e6 * seconds, time_kind(is_modelled));
  apq__text_add(text, "kernel: %s\n", apq__config_key(&choice->config, key));
}

static void explain_product(apq__text *text, const apq__product_entry *product) {
  const apq__shape *shape = &product->choice.shape;
  explain_choice(text, &product->choice);
  apq__text_add(text, "launch: grid %ux%ux%u, %u threads, %u bytes of shared memory\n",
                shape->grid[0], shape->grid[1], shape->grid[2], shape->threads, shape->smem_bytes);
}

static void explain_packing(apq__text *text, const apq__entry *entry) {
  char key[APQ__KEY_MAX];
  for (int form = 0; form < APQ__FORM_COUNT; form++) {
    const apq__packing *packing = &entry->packing[form];
    if (packing->is_used) apq__text_add(text, "pack: %s\n", apq__config_key(&packing->config, key));
  }
}

static void explain_origin(apq__text *text, const apq__entry *entry,
                           const apq__product_entry *product) {
  const apq__packing *packing = &entry->packing[product->form];
  if (product->kernel && product->quantizes)
    apq__text_add(text, "loaded from: %s; it packs for itself\n",
                  apq__origin_name(product->kernel->origin));
  else if (product->kernel)
    apq__text_add(text, "loaded from: %s; pack: %s\n", apq__origin_name(product->kernel->origin),
                  apq__origin_name(packing->kernel->origin));
  else
    apq__text_add(text, "loaded from: nothing yet, this size is not prepared\n");
  if (product->rejected) apq__text_add(text, "%s", product->rejected);
}

static void explain_entry(apq__text *text, const apq_plan *plan, const apq__entry *entry, int m) {
  char key[APQ__KEY_MAX];
  const apq__target *target = apq__context_target(plan->context);
  for (int i = 0; i < entry->count; i++) {
    const apq__problem problem = apq__recipe_problem(&plan->recipe->key, i, m);
    if (entry->count > 1) apq__text_add(text, "product: %d of %d\n", i + 1, entry->count);
    apq__text_add(text, "problem: %s\n", apq__problem_key(&problem, key));
    if (i == 0) apq__text_add(text, "device: %s (%s)\n", target->name, target->arch);
    if (i == 0 && entry->low < entry->high)
      apq__text_add(text, "range: m from %d to %d share this choice\n", entry->low, entry->high);
    explain_product(text, &entry->product[i]);
    if (i == 0) explain_packing(text, entry);
    if (i == 0) apq__text_add(text, "workspace: %zu bytes\n", entry->total);
    explain_origin(text, entry, &entry->product[i]);
  }
}

size_t apq_plan_explain(const apq_plan *plan, int m, char *text, size_t size) {
  apq__text out = {0};
  if (!plan || apq__plan_check_open(plan, NULL)) return apq__text_deliver(&out, text, size);
  const apq__plan_slot *slot = apq__plan_find(plan, m);
  apq__entry *draft = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (slot) {
    explain_entry(&out, plan, slot->entry, m);
  } else if (apq__entry_draft(plan->context, &plan->recipe->key, m, &draft, &error)) {
    const apq__problem problem = apq__recipe_problem(&plan->recipe->key, 0, m);
    char key[APQ__KEY_MAX];
    out.failed |= error.status == APQ_OUT_OF_MEMORY;
    apq__text_add(&out, "problem: %s\nerror: %s\n", apq__problem_key(&problem, key), error.message);
  } else {
    explain_entry(&out, plan, draft, m);
  }
  apq__entry_free(draft);
  apq_error_clear(&error);
  return apq__text_deliver(&out, text, size);
}
