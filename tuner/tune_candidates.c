#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "generator.h"
#include "kernels.h"
#include "status.h"
#include "tune_impl.h"

/* ---- selection ---- */

int apq__select_candidates(const apq__selection_row *rows, int count, int top, double ratio,
                           unsigned char *keep) {
  enum { SHARE = 8 };
  int kept = 0, reserve = top / SHARE > 0 ? top / SHARE : 1;
  memset(keep, 0, (size_t)count);
  /* The best few of each family, then the best of all. */
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < count && kept < top; i++) {
      if (keep[i] || rows[i].cost > ratio * rows[0].cost) continue;
      int same = 0;
      for (int j = 0; pass == 0 && j < i; j++) same += keep[j] && rows[j].family == rows[i].family;
      if (pass == 0 && same >= reserve) continue;
      keep[i] = 1;
      kept++;
    }
  }
  for (int i = 0; i < count; i++) {
    if (!rows[i].pinned || keep[i]) continue;
    keep[i] = 1;
    kept++;
  }
  return kept;
}

/* ---- the whole list ---- */

apq_status apq__untuned_config(const char *family, const apq__problem *problem,
                               const apq__target *target, apq__config *out, apq_error *error) {
  apq__shape shape;
  *out = (apq__config){0};
  apq_status status = apq__config_set(out, "family", family, error);
  if (status == APQ_OK) status = apq__config_set_problem(out, problem, error);
  if (status == APQ_OK) status = apq__config_complete(out, error);
  if (status == APQ_OK) status = apq__config_limits(out, problem, target, &shape, error);
  if (status != APQ_INFEASIBLE) return status;
  return apq__default_config(problem, target, out, error);
}

static int same_config(const apq__config *a, const apq__config *b) {
  char key_a[APQ__KEY_MAX], key_b[APQ__KEY_MAX];
  if (a->count != b->count) return 0;
  return strcmp(apq__config_key(a, key_a), apq__config_key(b, key_b)) == 0;
}

/* Room beyond what the space gave, for pinned configs it does not have. */
enum { EXTRA = 32 };

/* Marks a config as one to keep, adding it when the space did not give it. */
static void pin(apq__candidates *list, int room, const apq__config *config, int incumbent) {
  for (int i = 0; i < list->count; i++) {
    if (!same_config(&list->item[i].config, config)) continue;
    list->item[i].pinned = 1;
    list->item[i].incumbent |= incumbent;
    return;
  }
  if (list->count >= room) return;
  list->item[list->count++] =
      (apq__candidate){.config = *config, .pinned = 1, .incumbent = incumbent};
}

static void pin_defaults(const apq__session *session, apq__candidates *list, int room) {
  const apq__family *family;
  for (int i = 0; (family = apq__family_at(i)) != NULL; i++) {
    const char *name = apq__family_name(family);
    int used = 0;
    for (int j = 0; j < list->count && !used; j++)
      used = apq__config_is(&list->item[j].config, "family", name);
    apq__config config;
    if (used &&
        apq__untuned_config(name, session->problem, &session->target, &config, NULL) == APQ_OK)
      pin(list, room, &config, 0);
  }
}

/* The winners of earlier runs, one for each version of each template; those of the present
 * templates count. */
typedef struct pinning {
  const apq__session *session;
  apq__candidates *list;
  int room;
  double best;
  apq__config best_config;
} pinning;

static int pin_winner(const apq__winner *winner, void *user) {
  pinning *p = user;
  const apq__session *session = p->session;
  const char *name = apq__config_get(&winner->variant.config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  apq__shape shape;
  if (!family || !apq__problem_is_same(&winner->problem, session->problem)) return 0;
  if (strcmp(winner->measurement.objective, session->objective) != 0 ||
      winner->environment.sm_count != session->environment.sm_count ||
      strcmp(winner->variant.hash, apq__family_hash(family, session->target.emulated)) != 0)
    return 0;
  apq__config config = winner->variant.config;
  if (apq__config_complete(&config, NULL) != APQ_OK ||
      apq__config_limits(&config, session->problem, &session->target, &shape, NULL) != APQ_OK)
    return 0;
  pin(p->list, p->room, &config, 0);
  if (p->best == 0 || winner->measurement.p50 < p->best) {
    p->best = winner->measurement.p50;
    p->best_config = config;
  }
  return 0;
}

/* By cost, equals by key. */
static int compare(const void *left, const void *right) {
  const apq__candidate *a = left, *b = right;
  if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
  char key_a[APQ__KEY_MAX], key_b[APQ__KEY_MAX];
  return strcmp(apq__config_key(&a->config, key_a), apq__config_key(&b->config, key_b));
}

/* Kernels that quantize their input count as a family of their own: what that takes is not measured
 * yet, and a contest without either kind would decide nothing. */
static int family_index(const apq__config *config) {
  const char *name = apq__config_get(config, "family");
  const apq__family *family;
  for (int i = 0; (family = apq__family_at(i)) != NULL; i++)
    if (name && strcmp(apq__family_name(family), name) == 0)
      return 2 * i + (apq__config_source(config) != NULL);
  return -1;
}

/* Keeps the selected ones. */
static apq_status select_list(const apq__session *session, apq__candidates *list,
                              apq_error *error) {
  size_t count = (size_t)list->count;
  apq__selection_row *rows = apq__calloc(count, sizeof *rows);
  unsigned char *keep = apq__calloc(count, 1);
  apq_status status = APQ_OK;
  if (!rows || !keep) {
    status =
        apq__fail(error, APQ_OUT_OF_MEMORY, "search", "no memory for %d candidates", list->count);
  } else {
    for (int i = 0; i < list->count; i++)
      rows[i] = (apq__selection_row){list->item[i].cost, family_index(&list->item[i].config),
                                     list->item[i].pinned};
    apq__select_candidates(rows, list->count, session->top, session->prune_ratio, keep);
    int kept = 0;
    for (int i = 0; i < list->count; i++)
      if (keep[i]) list->item[kept++] = list->item[i];
    list->pruned = list->count - kept;
    list->count = kept;
  }
  apq__free(rows);
  apq__free(keep);
  return status;
}

/* Drops what earlier runs know: failures, and times unless pinned. */
static apq_status drop_known(apq__session *session, apq__candidates *list, apq_error *error) {
  if (session->options->retune) return APQ_OK;
  int kept = 0;
  for (int i = 0; i < list->count; i++) {
    apq__candidate *candidate = &list->item[i];
    apq__variant variant;
    apq__known known;
    apq_status status = apq__candidate_variant(session, candidate, &variant, error);
    if (status == APQ_OK)
      status = apq__db_known(session->db, &session->environment, session->problem, &variant,
                             session->objective, &known, error);
    if (status != APQ_OK) return status;
    if (known == APQ__FAILED || (known == APQ__MEASURED && !candidate->pinned))
      list->known++;
    else
      list->item[kept++] = *candidate;
  }
  list->count = kept;
  return APQ_OK;
}

apq_status apq__candidates_make(apq__session *session, apq__candidates *out, apq_error *error) {
  apq__config *configs = NULL;
  int count = 0;
  *out = (apq__candidates){0};
  apq_status status = apq__space_candidates(session->options->space, session->problem,
                                            &session->target, &configs, &count, NULL, error);
  if (status != APQ_OK) goto cleanup;
  int room = count + EXTRA;
  out->item = apq__calloc((size_t)room, sizeof *out->item);
  if (!out->item) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "search", "no memory for %d candidates", count);
    goto cleanup;
  }
  out->total = out->count = count;
  for (int i = 0; i < count; i++) out->item[i].config = configs[i];
  pin_defaults(session, out, room);
  pinning p = {session, out, room, 0, {0}};
  status = apq__db_winners(session->db, session->environment.gpu, session->environment.arch,
                           pin_winner, &p, error);
  if (status != APQ_OK) goto cleanup;
  if (p.best > 0) pin(out, room, &p.best_config, 1);
  for (int i = 0; i < out->count; i++)
    out->item[i].cost = apq__config_cost(&out->item[i].config, session->problem, &session->target);
  qsort(out->item, (size_t)out->count, sizeof *out->item, compare);
  status = select_list(session, out, error);
  if (status == APQ_OK) status = drop_known(session, out, error);
cleanup:
  apq__free(configs);
  if (status != APQ_OK) apq__candidates_free(out);
  return status;
}

apq_status apq__candidates_pack(apq__session *session, const apq__config *winner,
                                apq__candidates *out, apq_error *error) {
  static const apq_dtype sources[] = {APQ_DTYPE_F16, APQ_DTYPE_BF16, APQ_DTYPE_F32,
                                      APQ_DTYPE_CODES8};
  enum { SOURCES = sizeof sources / sizeof sources[0] };
  *out = (apq__candidates){.item = apq__calloc(SOURCES, sizeof(apq__candidate))};
  if (!out->item) return apq__fail(error, APQ_OUT_OF_MEMORY, "search", "no memory for candidates");
  apq_status status = APQ_OK;
  if (apq__config_source(winner)) return APQ_OK;
  for (int i = 0; i < SOURCES && status == APQ_OK; i++) {
    apq__candidate *candidate = &out->item[out->count];
    void *image = NULL;
    size_t size;
    status = apq__pack_config(sources[i], session->problem, apq__config_form(winner),
                              &candidate->config, error);
    if (status == APQ_OK)
      status = apq__artifact_id(&candidate->config, &session->target, candidate->object_id, error);
    if (status != APQ_OK) break;
    /* Left out when the database has it already, or when it failed before. */
    apq__variant variant;
    apq__known known = APQ__UNKNOWN;
    status = apq__candidate_variant(session, candidate, &variant, error);
    if (status == APQ_OK && !session->options->retune)
      status = apq__db_known(session->db, &session->environment, session->problem, &variant,
                             session->objective, &known, error);
    if (status == APQ_OK && known == APQ__UNKNOWN &&
        apq__db_load_artifact(session->db, candidate->object_id, &image, &size, NULL) != APQ_OK)
      out->count++;
    apq__free(image);
  }
  if (status != APQ_OK) apq__candidates_free(out);
  return status;
}

void apq__candidates_free(apq__candidates *list) {
  for (int i = 0; i < list->count; i++) apq__free(list->item[i].image);
  apq__free(list->item);
  *list = (apq__candidates){0};
}
