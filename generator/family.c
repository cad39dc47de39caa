#include "family_impl.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "status.h"

extern const apq__embedded apq__embedded_templates[];

/* Filled once from the embedded templates, then read only. */
static apq__family families[APQ__FAMILIES_MAX];
static int family_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *apq__embedded_text(const char *name) {
  for (const apq__embedded *file = apq__embedded_templates; file->name; file++)
    if (strcmp(file->name, name) == 0) return file->text;
  return NULL;
}

/* The next word of a declaration line; returns where it ends. */
static const char *next_word(const char *at, char *word, size_t size) {
  at += strspn(at, " ");
  size_t length = strcspn(at, " \n");
  snprintf(word, size, "%.*s", (int)length, at);
  return at + length;
}

/* " * @knob name = default : value value : doc".  What is read stays in static storage, as long as
 * the templates themselves, which are part of the binary. */
static void read_knob(apq__family *family, const char *line) {
  enum { VALUES_MAX = 24, STORE = APQ__FAMILIES_MAX * APQ__KNOBS_MAX };
  static char values[STORE][VALUES_MAX][APQ__WORD_MAX];
  static char docs[STORE][96];
  static int used;
  if (family->knob_count == APQ__KNOBS_MAX || used == STORE) return;
  apq__knob_decl *knob = &family->knob[family->knob_count++];
  char word[APQ__WORD_MAX];
  const char *at = next_word(line, knob->name, sizeof knob->name);
  at = next_word(at, word, sizeof word); /* = */
  at = next_word(at, knob->fallback, sizeof knob->fallback);
  at = next_word(at, word, sizeof word); /* : */
  knob->values = values[used];
  for (at = next_word(at, word, sizeof word);
       strcmp(word, ":") != 0 && *word && knob->value_count < VALUES_MAX;
       at = next_word(at, word, sizeof word))
    memcpy(knob->values[knob->value_count++], word, sizeof word);
  at += strspn(at, " ");
  snprintf(docs[used], sizeof docs[used], "%.*s", (int)strcspn(at, "\n"), at);
  knob->doc = docs[used++];
}

/* " * @parts name name ...", one or several lines: the template files that make the kernel, in
 * their order. */
static void read_parts(apq__family *family, const char *text) {
  const char *mark = " * @parts ";
  for (const char *at = strstr(text, mark); at; at = strstr(at, mark)) {
    at += strlen(mark);
    while (*at != '\n' && family->part_count < APQ__PARTS_MAX)
      at = next_word(at, family->part[family->part_count++], sizeof family->part[0]);
  }
}

static void hash_family(apq__family *family, int emulated) {
  const char *parts[APQ__PARTS_MAX + 2];
  apq__piece pieces[APQ__PARTS_MAX + 2];
  int count = apq__family_parts(family, emulated, parts);
  for (int i = 0; i < count; i++) {
    const char *text = apq__embedded_text(parts[i]);
    pieces[i] = (apq__piece){text, strlen(text)};
  }
  apq__sha256(pieces, count, family->hash[emulated]);
}

static void read_families(void) {
  for (const apq__embedded *file = apq__embedded_templates; file->name; file++) {
    const char *at = strstr(file->text, " * @family ");
    if (!at || family_count == APQ__FAMILIES_MAX) continue;
    apq__family *family = &families[family_count];
    char kind[APQ__WORD_MAX], form[APQ__WORD_MAX];
    at = next_word(at + strlen(" * @family "), family->name, sizeof family->name);
    at = next_word(at, kind, sizeof kind);
    next_word(at, form, sizeof form);
    family->is_product = strcmp(kind, "product") == 0;
    family->wants_bytes = strcmp(form, "bytes") == 0;
    family->ops = apq__family_ops_find(family->name);
    if (!family->ops) continue;
    family_count++;
    read_parts(family, file->text);
    const char *mark = " * @knob ";
    for (at = strstr(file->text, mark); at; at = strstr(at + 1, mark))
      read_knob(family, at + strlen(mark));
    hash_family(family, 0);
    hash_family(family, 1);
  }
}

int apq__family_parts(const apq__family *family, int emulated,
                      const char *parts[APQ__PARTS_MAX + 2]) {
  int count = 0;
  parts[count++] = "kernel_abi.h";
  parts[count++] = emulated ? "prelude_emu.h" : "prelude_cuda.h";
  for (int i = 0; i < family->part_count; i++) parts[count++] = family->part[i];
  return count;
}

const apq__family *apq__family_at(int i) {
  pthread_once(&once, read_families);
  return i >= 0 && i < family_count ? &families[i] : NULL;
}

const apq__family *apq__family_find(const char *name) {
  const apq__family *family = NULL;
  for (int i = 0; (family = apq__family_at(i)); i++)
    if (strcmp(family->name, name) == 0) return family;
  return NULL;
}

apq_status apq__config_family(const apq__config *config, const char *stage, const apq__family **out,
                              apq_error *error) {
  const char *name = apq__config_get(config, "family");
  *out = name ? apq__family_find(name) : NULL;
  if (*out) return APQ_OK;
  return apq__fail(error, APQ_NOT_FOUND, stage, "no family '%s'", name ? name : "");
}

const char *apq__family_name(const apq__family *family) {
  return family->name;
}
int apq__family_is_product(const apq__family *family) {
  return family->is_product;
}
apq__post apq__config_post(const apq__config *config) {
  return (apq__post)apq__config_int(config, "post", APQ__POST_ACTIVATION);
}
apq_status apq__config_need_post(apq__config *config, apq__post post, const apq__target *target,
                                 apq_error *error) {
  if (apq__config_post(config) >= post) return APQ_OK;
  apq_status status = apq__config_set_int(config, "post", (int)post, error);
  /* The code of both does not fit the instruction cache. */
  if (!status && apq__config_get(config, "overlap"))
    status = apq__config_set(config, "overlap", "0", error);
  if (status || post != APQ__POST_COMBINE) return status;
  /* With tensor copies, where they fit, the second operand costs next to nothing. */
  apq__config copies = *config;
  apq__shape shape;
  status = apq__config_set(&copies, "store", "tensor", error);
  if (!status && !apq__config_limits(&copies, NULL, target, &shape, NULL)) *config = copies;
  return status;
}
apq__form apq__config_form(const apq__config *config) {
  const apq__family *family = NULL;
  for (int form = 0; form < APQ__FORM_COUNT; form++)
    if (apq__config_is(config, "form", apq__form_name((apq__form)form))) return (apq__form)form;
  if (apq__config_family(config, "config", &family, NULL)) return APQ__FORM_PLANES;
  return family->wants_bytes || apq__config_is(config, "core", "u8") ? APQ__FORM_BYTES
                                                                     : APQ__FORM_PLANES;
}
const char *apq__config_source(const apq__config *config) {
  const char *source = apq__config_get(config, "src");
  const apq__family *family = NULL;
  if (!source || strcmp(source, "packed") == 0) return NULL;
  if (apq__config_family(config, "config", &family, NULL) || !family->is_product) return NULL;
  return source;
}
const char *apq__family_hash(const apq__family *family, int emulated) {
  return family->hash[emulated != 0];
}

const apq__knob_decl *apq__family_knobs(const apq__family *family, int *count) {
  *count = family->knob_count;
  return family->knob;
}

static const apq__knob_decl *find_knob(const apq__family *family, const char *name) {
  for (int i = 0; i < family->knob_count; i++)
    if (strcmp(family->knob[i].name, name) == 0) return &family->knob[i];
  return NULL;
}

int apq__knob_exists(const char *name) {
  const apq__family *family = NULL;
  for (int i = 0; (family = apq__family_at(i)); i++)
    if (find_knob(family, name)) return 1;
  return 0;
}

apq_status apq__config_set_problem(apq__config *config, const apq__problem *problem,
                                   apq_error *error) {
  const apq__family *family = NULL;
  apq_status status = apq__config_family(config, "config", &family, error);
  if (!status) status = apq__config_set_int(config, "p", problem->p, error);
  if (!status) status = apq__config_set_int(config, "q", problem->q, error);
  if (!status) status = apq__config_set(config, "out", apq_dtype_name(problem->out), error);
  if (!status && find_knob(family, "group"))
    status = apq__config_set_int(config, "group", problem->group, error);
  return status;
}

static int is_in_domain(const apq__knob_decl *knob, const char *value) {
  for (int i = 0; i < knob->value_count; i++)
    if (strcmp(knob->values[i], value) == 0) return 1;
  return 0;
}

apq_status apq__config_complete(apq__config *config, apq_error *error) {
  const char *name = apq__config_get(config, "family");
  if (!name) return apq__fail(error, APQ_INVALID_ARGUMENT, "config", "the config has no family");
  const apq__family *family = apq__family_find(name);
  if (!family) return apq__fail(error, APQ_NOT_FOUND, "config", "no family '%s'", name);
  for (int i = 0; i < config->count; i++) {
    const apq__knob *knob = &config->knob[i];
    if (strcmp(knob->name, "family") == 0) continue;
    const apq__knob_decl *decl = find_knob(family, knob->name);
    if (!decl)
      return apq__fail(error, APQ_NOT_FOUND, "config", "family %s has no knob '%s'", family->name,
                       knob->name);
    if (!is_in_domain(decl, knob->value))
      return apq__fail(error, APQ_INVALID_ARGUMENT, "config",
                       "family %s: %s=%s is not in its domain", family->name, knob->name,
                       knob->value);
  }
  for (int i = 0; i < family->knob_count; i++) {
    const apq__knob_decl *decl = &family->knob[i];
    if (apq__config_get(config, decl->name)) continue;
    apq_status status = apq__config_set(config, decl->name, decl->fallback, error);
    if (status) return status;
  }
  return APQ_OK;
}
