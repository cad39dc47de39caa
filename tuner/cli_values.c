#include "cli_values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"
#include "status.h"

/* One item of a comma-separated list, cut out. */
typedef struct list_item {
  const char *option;
  char text[48];
} list_item;

static apq_status fail(const list_item *item, apq_error *error, const char *why) {
  return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "%s: '%s': %s", item->option, item->text,
                   why);
}

/* Cuts the next item off *text; 0 after the last. */
static int next_item(const char **text, list_item *item) {
  if (!*text) return 0;
  size_t length = strcspn(*text, ",");
  snprintf(item->text, sizeof item->text, "%.*s", (int)length, *text);
  *text = (*text)[length] ? *text + length + 1 : NULL;
  return 1;
}

/* ---- bits ---- */

/* "8" or "*" after the letter; moves past it.  The range is low..high. */
static apq_status parse_width(const list_item *item, const char **at, char letter, const char *name,
                              int *low, int *high, apq_error *error) {
  char why[64];
  if (toupper((unsigned char)**at) != letter) return fail(item, error, "must be like W4A8");
  ++*at;
  if (**at == '*') {
    ++*at;
    *low = 1;
    *high = 8;
    return APQ_OK;
  }
  size_t digits = strspn(*at, "0123456789");
  if (digits == 0) return fail(item, error, "must be like W4A8");
  int value = digits == 1 ? **at - '0' : 0;
  if (value < 1 || value > 8) {
    snprintf(why, sizeof why, "%s bits must be 1 to 8", name);
    return fail(item, error, why);
  }
  *at += digits;
  *low = *high = value;
  return APQ_OK;
}

static void add_bits(apq__bits *out, int *count, int p, int q) {
  for (int i = 0; i < *count; i++)
    if (out[i].p == p && out[i].q == q) return;
  out[(*count)++] = (apq__bits){p, q}; /* there are no more than 64 different ones */
}

apq_status apq__parse_bits(const char *option, const char *text, apq__bits out[APQ__BITS_MAX],
                           int *count, apq_error *error) {
  list_item item = {option, ""};
  *count = 0;
  while (next_item(&text, &item)) {
    const char *at = strcmp(item.text, "all") == 0 ? "W*A*" : item.text;
    int p_low, p_high, q_low, q_high;
    apq_status status = parse_width(&item, &at, 'W', "weight", &p_low, &p_high, error);
    if (!status) status = parse_width(&item, &at, 'A', "activation", &q_low, &q_high, error);
    if (status) return status;
    if (*at) return fail(&item, error, "must be like W4A8");
    for (int p = p_low; p <= p_high; p++)
      for (int q = q_low; q <= q_high; q++) add_bits(out, count, p, q);
  }
  return APQ_OK;
}

/* ---- shapes, tokens, outputs ---- */

/* A positive integer of at most nine digits before `end`; moves past it. */
static apq_status parse_size(const list_item *item, const char **at, int *out, apq_error *error) {
  size_t digits = strspn(*at, "0123456789");
  if (**at == '-') return fail(item, error, "sizes must be at least 1");
  if (digits == 0) return fail(item, error, "is not a size");
  errno = 0;
  unsigned long long value = strtoull(*at, NULL, 10);
  if (errno || value > INT32_MAX) return fail(item, error, "sizes must be below 2^31");
  if (value == 0) return fail(item, error, "sizes must be at least 1");
  *out = (int)value;
  *at += digits;
  return APQ_OK;
}

apq_status apq__parse_shapes(const char *option, const char *text, apq__mnk out[APQ__SHAPES_MAX],
                             int *count, apq_error *error) {
  list_item item = {option, ""};
  *count = 0;
  while (next_item(&text, &item)) {
    int size[3] = {0, 0, 0}, sizes = 0;
    const char *at = item.text;
    for (;;) {
      apq_status status = parse_size(&item, &at, &size[sizes++], error);
      if (status) return status;
      if (sizes == 3 || tolower((unsigned char)*at) != 'x') break;
      at++;
    }
    if (*at || sizes < 2) return fail(&item, error, "must be NxK or MxNxK");
    if (*count == APQ__SHAPES_MAX) return fail(&item, error, "is one shape too many");
    out[(*count)++] =
        sizes == 2 ? (apq__mnk){0, size[0], size[1]} : (apq__mnk){size[0], size[1], size[2]};
  }
  return APQ_OK;
}

apq_status apq__parse_tokens(const char *option, const char *text, int out[APQ__TOKENS_MAX],
                             int *count, apq_error *error) {
  list_item item = {option, ""};
  *count = 0;
  while (next_item(&text, &item)) {
    const char *at = item.text;
    if (*count == APQ__TOKENS_MAX) return fail(&item, error, "is one number too many");
    apq_status status = parse_size(&item, &at, &out[*count], error);
    if (status) return status;
    if (*at) return fail(&item, error, "is not a number of tokens");
    ++*count;
  }
  return APQ_OK;
}

apq_status apq__parse_outputs(const char *option, const char *text, apq_dtype out[4], int *count,
                              apq_error *error) {
  list_item item = {option, ""};
  *count = 0;
  while (next_item(&text, &item)) {
    apq_dtype type;
    if (!apq__dtype_parse(item.text, &type) || type == APQ_DTYPE_CODES8)
      return fail(&item, error, "must be i32, f16, bf16 or f32");
    int known = 0;
    for (int i = 0; i < *count; i++) known |= out[i] == type;
    if (!known) out[(*count)++] = type;
  }
  return APQ_OK;
}

apq_status apq__parse_inputs(const char *option, const char *text, apq__input out[4], int *count,
                             apq_error *error) {
  list_item item = {option, ""};
  *count = 0;
  while (next_item(&text, &item)) {
    apq__input input;
    if (!apq__input_parse(item.text, &input))
      return fail(&item, error, "must be packed, f16, bf16 or f32");
    int known = 0;
    for (int i = 0; i < *count; i++) known |= out[i] == input;
    if (!known) out[(*count)++] = input;
  }
  return APQ_OK;
}

/* ---- scalars ---- */

apq_status apq__parse_duration(const char *option, const char *text, double *out,
                               apq_error *error) {
  static const struct {
    char unit;
    double seconds;
  } units[] = {{'h', 3600}, {'m', 60}, {'s', 1}};
  list_item item = {option, ""};
  snprintf(item.text, sizeof item.text, "%s", text);
  double total = 0;
  int from = 0;
  for (const char *at = text; *at || at == text;) {
    char *end = NULL;
    double value = isdigit((unsigned char)*at) ? strtod(at, &end) : 0;
    if (!end) return fail(&item, error, "must be a time like 90s, 10m or 1h30m");
    if (*end == 0 && at == text) { /* a plain number counts seconds */
      total = value;
      break;
    }
    int unit = from; /* units come largest first, each once */
    while (unit < 3 && units[unit].unit != *end) unit++;
    if (unit == 3) return fail(&item, error, "must be a time like 90s, 10m or 1h30m");
    total += value * units[unit].seconds;
    from = unit + 1;
    at = end + 1;
  }
  if (!(total > 0) || total > 1e9) return fail(&item, error, "must be above 0 and below 30 years");
  *out = total;
  return APQ_OK;
}

apq_status apq__parse_count(const char *option, const char *text, int low, int high, int *out,
                            apq_error *error) {
  if (apq__parse_int(text, out) && *out >= low && *out <= high) return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "%s: '%s': must be %d to %d", option,
                   text, low, high);
}

apq_status apq__parse_seed(const char *option, const char *text, uint64_t *out, apq_error *error) {
  char *end = NULL;
  int base = strncmp(text, "0x", 2) == 0 ? 16 : 10;
  errno = 0;
  if (isdigit((unsigned char)*text)) *out = strtoull(text, &end, base);
  if (!end || *end || errno)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "option",
                     "%s: '%s': must be an integer from 0 to 2^64-1", option, text);
  return APQ_OK;
}

/* ---- for people ---- */

const char *apq__print_time(double seconds, char text[16]) {
  static const struct {
    double unit;
    const char *name;
  } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}};
  if (!(seconds > 0)) {
    snprintf(text, 16, "-");
    return text;
  }
  int i = 0;
  while (i < 2 && seconds < units[i].unit) i++;
  double value = seconds / units[i].unit;
  snprintf(text, 16, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[i].name);
  return text;
}

const char *apq__print_fixed(double value, int digits, char text[32]) {
  snprintf(text, 32, "%.*f", digits, value);
  if (isnan(value)) snprintf(text, 32, "-");
  /* Nothing but a sign, zeros and a point: the sign says nothing. */
  if (text[0] == '-' && text[1] && strspn(text + 1, "0.") == strlen(text + 1))
    memmove(text, text + 1, strlen(text));
  return text;
}

const char *apq__print_duration(double seconds, char text[16]) {
  if (!(seconds >= 0) || seconds > 1e8) {
    snprintf(text, 16, "?");
    return text;
  }
  long whole = lround(seconds);
  if (whole < 3600)
    snprintf(text, 16, "%ld:%02ld", whole / 60, whole % 60);
  else
    snprintf(text, 16, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

const char *apq__print_problem(const apq__problem *problem, char text[64]) {
  int length = snprintf(text, 64, "W%dA%d %dx%dx%d %s", problem->p, problem->q, problem->m,
                        problem->n, problem->k, apq_dtype_name(problem->out));
  if (problem->group)
    length += snprintf(text + length, 64 - (size_t)length, " g%d", problem->group);
  if (problem->in)
    snprintf(text + length, 64 - (size_t)length, " in %s", apq__input_name(problem->in));
  return text;
}

const char *apq__print_config(const apq__config *config, char text[APQ__KEY_MAX]) {
  const char *name = apq__config_get(config, "family");
  const apq__family *family = name ? apq__family_find(name) : NULL;
  if (!family) return apq__config_key(config, text);
  int count = 0;
  const apq__knob_decl *knob = apq__family_knobs(family, &count);
  size_t length = (size_t)snprintf(text, APQ__KEY_MAX, "%s", name), bare = length;
  for (int i = 0; i < count; i++) {
    const char *value = apq__config_get(config, knob[i].name);
    int is_problem = strcmp(knob[i].name, "p") == 0 || strcmp(knob[i].name, "q") == 0 ||
                     strcmp(knob[i].name, "out") == 0 || strcmp(knob[i].name, "group") == 0;
    if (!value || is_problem || strcmp(value, knob[i].fallback) == 0) continue;
    length += (size_t)snprintf(text + length, APQ__KEY_MAX - length, " %s=%s", knob[i].name, value);
  }
  if (length == bare) snprintf(text + length, APQ__KEY_MAX - length, " (defaults)");
  return text;
}
