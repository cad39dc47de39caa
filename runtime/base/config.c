#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"

static const char *const dtype_names[APQ_DTYPE_COUNT] = {"i32", "f16",    "bf16",
                                                         "f32", "codes8", "i8"};
static const size_t dtype_bytes[APQ_DTYPE_COUNT] = {4, 2, 2, 4, 1, 1};
static const char *const format_names[APQ_FORMAT_COUNT] = {"uint", "int", "bipolar"};

const char *apq_dtype_name(apq_dtype dtype) {
  return (unsigned)dtype < APQ_DTYPE_COUNT ? dtype_names[dtype] : "?";
}

const char *apq_format_name(apq_format format) {
  return (unsigned)format < APQ_FORMAT_COUNT ? format_names[format] : "?";
}

size_t apq__dtype_bytes(apq_dtype dtype) {
  return (unsigned)dtype < APQ_DTYPE_COUNT ? dtype_bytes[dtype] : 0;
}

static const char *const input_names[APQ__INPUT_COUNT] = {"packed", "f16", "bf16", "f32"};
static const apq_dtype input_dtypes[APQ__INPUT_COUNT] = {APQ_DTYPE_CODES8, APQ_DTYPE_F16,
                                                         APQ_DTYPE_BF16, APQ_DTYPE_F32};

const char *apq__input_name(apq__input input) {
  return (unsigned)input < APQ__INPUT_COUNT ? input_names[input] : "?";
}

apq_dtype apq__input_dtype(apq__input input) {
  return (unsigned)input < APQ__INPUT_COUNT ? input_dtypes[input] : APQ_DTYPE_CODES8;
}

apq__input apq__input_of(apq_dtype dtype) {
  for (int i = 1; i < APQ__INPUT_COUNT; i++)
    if (input_dtypes[i] == dtype) return (apq__input)i;
  return APQ__INPUT_PACKED;
}

static int find_name(const char *name, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(name, names[i]) == 0) return i;
  return -1;
}

int apq__dtype_parse(const char *name, apq_dtype *out) {
  int found = find_name(name, dtype_names, APQ_DTYPE_COUNT);
  if (found >= 0) *out = (apq_dtype)found;
  return found >= 0;
}

int apq__format_parse(const char *name, apq_format *out) {
  int found = find_name(name, format_names, APQ_FORMAT_COUNT);
  if (found >= 0) *out = (apq_format)found;
  return found >= 0;
}

int apq__input_parse(const char *name, apq__input *out) {
  int found = find_name(name, input_names, APQ__INPUT_COUNT);
  if (found >= 0) *out = (apq__input)found;
  return found >= 0;
}

int apq__parse_int(const char *text, int *out) {
  if (!text || !*text || *text == ' ' || *text == '\t' || *text == '\n') return 0;
  char *end = NULL;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || *end || value < INT_MIN || value > INT_MAX) return 0;
  *out = (int)value;
  return 1;
}

static int is_word(const char *text, int is_value) {
  if (is_value && *text == '-') text++;
  size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
  return length > 0 && length < APQ__WORD_MAX - 1 && text[length] == 0;
}

/* Index of the first knob whose name is not before `name`. */
static int knob_position(const apq__config *config, const char *name) {
  int i = 0;
  while (i < config->count && strcmp(config->knob[i].name, name) < 0) i++;
  return i;
}

apq_status apq__config_set(apq__config *config, const char *name, const char *value,
                           apq_error *error) {
  if (!is_word(name, 0)) return apq__fail(error, APQ_PARSE, "config", "bad knob name '%s'", name);
  if (!is_word(value, 1))
    return apq__fail(error, APQ_PARSE, "config", "bad value '%s' of knob '%s'", value, name);
  int at = knob_position(config, name);
  if (at == config->count || strcmp(config->knob[at].name, name) != 0) {
    if (config->count == APQ__KNOBS_MAX)
      return apq__fail(error, APQ_OUT_OF_RANGE, "config", "more than %d knobs", APQ__KNOBS_MAX);
    memmove(&config->knob[at + 1], &config->knob[at],
            (size_t)(config->count - at) * sizeof config->knob[0]);
    config->count++;
    memset(&config->knob[at], 0, sizeof config->knob[at]);
    snprintf(config->knob[at].name, APQ__WORD_MAX, "%s", name);
  }
  memset(config->knob[at].value, 0, APQ__WORD_MAX);
  snprintf(config->knob[at].value, APQ__WORD_MAX, "%s", value);
  return APQ_OK;
}

apq_status apq__config_set_int(apq__config *config, const char *name, int value, apq_error *error) {
  char text[APQ__WORD_MAX];
  snprintf(text, sizeof text, "%d", value);
  return apq__config_set(config, name, text, error);
}

const char *apq__config_get(const apq__config *config, const char *name) {
  int at = knob_position(config, name);
  if (at == config->count || strcmp(config->knob[at].name, name) != 0) return NULL;
  return config->knob[at].value;
}

int apq__config_int(const apq__config *config, const char *name, int fallback) {
  int value = 0;
  return apq__parse_int(apq__config_get(config, name), &value) ? value : fallback;
}

int apq__config_is(const apq__config *config, const char *name, const char *value) {
  const char *have = apq__config_get(config, name);
  return have && strcmp(have, value) == 0;
}

/* Without the formatting machinery: opening a database makes the keys of all its winners. */
const char *apq__config_key(const apq__config *config, char key[APQ__KEY_MAX]) {
  char *at = key;
  for (int i = 0; i < config->count; i++) {
    if (i) *at++ = ',';
    for (const char *from = config->knob[i].name; *from;) *at++ = *from++;
    *at++ = '=';
    for (const char *from = config->knob[i].value; *from;) *at++ = *from++;
  }
  *at = 0;
  return key;
}

/* Copies [from, to) into a word; 0 when it does not fit. */
static int copy_word(const char *from, const char *to, char word[APQ__WORD_MAX]) {
  size_t length = (size_t)(to - from);
  if (length >= APQ__WORD_MAX) return 0;
  memcpy(word, from, length);
  word[length] = 0;
  return 1;
}

apq_status apq__config_parse(const char *text, apq__config *out, apq_error *error) {
  *out = (apq__config){0};
  const char *at = text;
  while (*at) {
    const char *end = at + strcspn(at, ",");
    const char *equals = memchr(at, '=', (size_t)(end - at));
    char name[APQ__WORD_MAX], value[APQ__WORD_MAX];
    if (!equals || !copy_word(at, equals, name) || !copy_word(equals + 1, end, value))
      return apq__fail(error, APQ_PARSE, "config", "'%.*s' is not name=value", (int)(end - at), at);
    if (apq__config_get(out, name))
      return apq__fail(error, APQ_PARSE, "config", "knob '%s' is given twice", name);
    apq_status status = apq__config_set(out, name, value, error);
    if (status) return status;
    if (*end && !end[1]) return apq__fail(error, APQ_PARSE, "config", "'%s' ends in a comma", text);
    at = *end ? end + 1 : end;
  }
  return APQ_OK;
}

const char *apq__problem_key(const apq__problem *problem, char key[APQ__KEY_MAX]) {
  char group[24] = "", input[24] = "";
  if (problem->group) snprintf(group, sizeof group, "group=%d,", problem->group);
  if (problem->in) snprintf(input, sizeof input, "in=%s,", apq__input_name(problem->in));
  snprintf(key, APQ__KEY_MAX, "%s%sk=%d,m=%d,n=%d,out=%s,p=%d,q=%d", group, input, problem->k,
           problem->m, problem->n, apq_dtype_name(problem->out), problem->p, problem->q);
  return key;
}

int apq__problem_is_same(const apq__problem *a, const apq__problem *b) {
  return a->p == b->p && a->q == b->q && a->m == b->m && a->n == b->n && a->k == b->k &&
         a->out == b->out && a->group == b->group && a->in == b->in;
}

apq_status apq__problem_check(const apq__problem *problem, apq_error *error) {
  if (problem->p < 1 || problem->p > 8)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem", "weight bits p=%d: must be 1 to 8",
                     problem->p);
  if (problem->q < 1 || problem->q > 8)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem", "activation bits q=%d: must be 1 to 8",
                     problem->q);
  if (problem->m < 1 || problem->n < 1 || problem->k < 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem",
                     "shape m=%d n=%d k=%d: each must be at least 1", problem->m, problem->n,
                     problem->k);
  if ((unsigned)problem->out > APQ_DTYPE_F32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem",
                     "output type '%s': must be i32, f16, bf16 or f32",
                     apq_dtype_name(problem->out));
  const int group = problem->group;
  if (group != 0 && group != 32 && group != 64 && group != 128 && group != 256)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem",
                     "group=%d: must be 0, 32, 64, 128 or 256", group);
  if (group && problem->out == APQ_DTYPE_I32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem",
                     "group=%d: scales of groups need a floating output, not i32", group);
  if ((unsigned)problem->in >= APQ__INPUT_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "problem",
                     "input %d: must be packed, f16, bf16 or f32", (int)problem->in);
  return APQ_OK;
}

apq_status apq__problem_parse(const char *text, apq__problem *out, apq_error *error) {
  apq__config fields;
  apq_status status = apq__config_parse(text, &fields, error);
  if (status) return status;
  *out = (apq__problem){0};
  const struct {
    const char *name;
    int *value;
  } integers[] = {{"p", &out->p}, {"q", &out->q}, {"m", &out->m}, {"n", &out->n}, {"k", &out->k}};
  for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
    if (!apq__parse_int(apq__config_get(&fields, integers[i].name), integers[i].value))
      return apq__fail(error, APQ_PARSE, "problem", "'%s': '%s' is missing or not an integer", text,
                       integers[i].name);
  const char *dtype = apq__config_get(&fields, "out");
  if (!dtype || !apq__dtype_parse(dtype, &out->out))
    return apq__fail(error, APQ_PARSE, "problem", "'%s': 'out' is missing or unknown", text);
  const char *group = apq__config_get(&fields, "group");
  if (group && (!apq__parse_int(group, &out->group) || out->group == 0))
    return apq__fail(error, APQ_PARSE, "problem", "'%s': 'group' is not a positive integer", text);
  /* Packed is told by leaving it out, as there is one text of a problem. */
  const char *input = apq__config_get(&fields, "in");
  if (input && (!apq__input_parse(input, &out->in) || !out->in))
    return apq__fail(error, APQ_PARSE, "problem", "'%s': 'in' is not f16, bf16 or f32", text);
  if (fields.count != 6 + (group != NULL) + (input != NULL))
    return apq__fail(error, APQ_PARSE, "problem",
                     "'%s': a problem has group, in, k, m, n, out, p, q only", text);
  return apq__problem_check(out, error);
}
