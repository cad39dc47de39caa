#include "resolve.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "family_impl.h"
#include "status.h"

/* ---- constant expressions ---- */

/* A value, or unknown.  Words (knob values such as "xor") are large numbers made from their
 * letters: they are only ever compared. */
typedef struct {
  long long value;
  int known;
} number;

typedef struct {
  const char *at;
  const apq__resolver *resolver;
  int depth;
} reader;

static const number unknown = {0, 0};

static number known(long long value) {
  return (number){value, 1};
}

static long long word_value(const char *word) {
  unsigned long long hash = 1469598103934665603ull;
  for (; *word; word++)
    hash = (hash ^ (unsigned char)tolower((unsigned char)*word)) * 1099511628211ull;
  return (long long)(hash >> 8) + (1ll << 40);
}

static void skip_space(reader *r) {
  for (;;) {
    while (*r->at == ' ' || *r->at == '\t') r->at++;
    if (r->at[0] != '/' || r->at[1] != '*') return;
    const char *end = strstr(r->at, "*/");
    r->at = end ? end + 2 : r->at + strlen(r->at);
  }
}

static int accept(reader *r, const char *token) {
  skip_space(r);
  size_t length = strlen(token);
  if (strncmp(r->at, token, length) != 0) return 0;
  r->at += length;
  return 1;
}

static number expression(reader *r, int level);

static number evaluate_text(const apq__resolver *resolver, const char *text, int depth) {
  reader r = {text, resolver, depth};
  number value = expression(&r, 0);
  skip_space(&r);
  return *r.at ? unknown : value;
}

/* A knob's value, or NAME_VALUE of a knob NAME. */
static number knob_value(const apq__resolver *resolver, const char *upper) {
  char name[40];
  size_t length = strlen(upper);
  for (size_t i = 0; i <= length; i++) name[i] = (char)tolower((unsigned char)upper[i]);
  if (apq__knob_exists(name)) {
    const char *value = apq__config_get(resolver->config, name);
    int integer = 0;
    if (!value) return known(word_value(""));
    return known(apq__parse_int(value, &integer) ? integer : word_value(value));
  }
  for (char *cut = strrchr(name, '_'); cut; cut = strrchr(name, '_')) {
    *cut = 0;
    if (apq__knob_exists(name)) return known(word_value(upper + (cut - name) + 1));
  }
  return unknown;
}

static number name_value(reader *r, const char *name) {
  if (r->depth > 16) return unknown;
  for (int i = r->resolver->define_count - 1; i >= 0; i--)
    if (strcmp(r->resolver->define[i].name, name) == 0)
      return evaluate_text(r->resolver, r->resolver->define[i].body, r->depth + 1);
  return knob_value(r->resolver, name);
}

static number primary(reader *r) {
  if (accept(r, "!")) {
    number operand = primary(r);
    return operand.known ? known(!operand.value) : unknown;
  }
  if (accept(r, "-")) {
    number operand = primary(r);
    return operand.known ? known(-operand.value) : unknown;
  }
  if (accept(r, "(")) {
    number inner = expression(r, 0);
    return accept(r, ")") ? inner : unknown;
  }
  skip_space(r);
  if (isdigit((unsigned char)*r->at)) {
    char *end = NULL;
    long long value = strtoll(r->at, &end, 0);
    r->at = end;
    return known(value);
  }
  char name[40];
  size_t length = strspn(r->at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
  if (length == 0 || length >= sizeof name) {
    r->at += strlen(r->at);
    return unknown;
  }
  memcpy(name, r->at, length);
  name[length] = 0;
  r->at += length;
  return name_value(r, name);
}

/* Binary operators, loosest first; two-character ones before their prefixes. */
static const struct {
  const char *token;
  int level;
} operators[] = {{"||", 0}, {"&&", 1}, {"==", 2}, {"!=", 2}, {"<=", 3}, {">=", 3}, {"<", 3},
                 {">", 3},  {"+", 4},  {"-", 4},  {"*", 5},  {"/", 5},  {"%", 5}};
enum { LEVELS = 6 };

static number apply(const char *token, number a, number b) {
  switch (token[0]) {
  case '|':
    if ((a.known && a.value) || (b.known && b.value)) return known(1);
    return a.known && b.known ? known(0) : unknown;
  case '&':
    if ((a.known && !a.value) || (b.known && !b.value)) return known(0);
    return a.known && b.known ? known(1) : unknown;
  default:
    break;
  }
  if (!a.known || !b.known) return unknown;
  switch (token[0]) {
  case '=':
    return known(a.value == b.value);
  case '!':
    return known(a.value != b.value);
  case '<':
    return known(token[1] ? a.value <= b.value : a.value < b.value);
  case '>':
    return known(token[1] ? a.value >= b.value : a.value > b.value);
  case '+':
    return known(a.value + b.value);
  case '-':
    return known(a.value - b.value);
  case '*':
    return known(a.value * b.value);
  case '/':
    return b.value ? known(a.value / b.value) : unknown;
  default:
    return b.value ? known(a.value % b.value) : unknown;
  }
}

static number expression(reader *r, int level) {
  if (level == LEVELS) return primary(r);
  number left = expression(r, level + 1);
  for (;;) {
    size_t i = 0, count = sizeof operators / sizeof operators[0];
    while (i < count && !(operators[i].level == level && accept(r, operators[i].token))) i++;
    if (i == count) return left;
    left = apply(operators[i].token, left, expression(r, level + 1));
  }
}

/* ---- lines ---- */

enum { DEPTH_MAX = 16 };

/* One open #if chain. */
typedef struct {
  int is_verbatim; /* the condition is unknown: the chain stays in the text */
  int was_live;    /* the text around the chain is live */
  int is_live;     /* this branch is */
  int is_taken;    /* an earlier or this branch was taken */
} chain;

typedef enum directive {
  TEXT, /* no directive, or one that is not of interest */
  DEFINE,
  IF,
  IFDEF,
  IFNDEF,
  ELIF,
  ELSE,
  ENDIF,
} directive;

static directive directive_of(const char *line) {
  static const char *const words[] = {"",       "define", "if",   "ifdef",
                                      "ifndef", "elif",   "else", "endif"};
  if (*line != '#') return TEXT;
  line++;
  while (*line == ' ') line++;
  size_t length = 0;
  while (isalnum((unsigned char)line[length])) length++;
  for (int i = DEFINE; i <= ENDIF; i++)
    if (strlen(words[i]) == length && memcmp(line, words[i], length) == 0) return (directive)i;
  return TEXT;
}

static void note_define(apq__resolver *resolver, const char *line) {
  int room = (int)(sizeof resolver->define / sizeof resolver->define[0]);
  if (resolver->define_count == room || line[strlen(line) - 1] == '\\') return;
  const char *at = strstr(line, "define") + 6;
  at += strspn(at, " ");
  size_t length = strcspn(at, " (");
  if (at[length] == '(' || length >= sizeof resolver->define[0].name) return;
  const char *body = at + length;
  if (strlen(body) >= sizeof resolver->define[0].body) return;
  int i = resolver->define_count++;
  memcpy(resolver->define[i].name, at, length);
  resolver->define[i].name[length] = 0;
  snprintf(resolver->define[i].body, sizeof resolver->define[i].body, "%s", body);
}

static number condition(const apq__resolver *resolver, const char *line) {
  const char *at = strstr(line, "if") + 2;
  return evaluate_text(resolver, at, 0);
}

/* Handles a conditional directive; returns 1 when the line is to be kept in the text. */
static int conditional(const apq__resolver *resolver, directive kind, const char *line,
                       chain *stack, int *depth) {
  if (kind == ENDIF) {
    chain top = stack[--*depth];
    return top.is_verbatim && top.was_live;
  }
  if (kind == ELSE || kind == ELIF) {
    chain *top = &stack[*depth - 1];
    if (top->is_verbatim) return top->was_live;
    number value = kind == ELSE ? known(1) : condition(resolver, line);
    top->is_live = top->was_live && !top->is_taken && value.known && value.value;
    top->is_taken |= top->is_live;
    return 0;
  }
  int was_live = *depth ? stack[*depth - 1].is_live : 1;
  number value = kind == IF ? condition(resolver, line) : unknown;
  int is_live = was_live && (!value.known || value.value);
  stack[(*depth)++] = (chain){!value.known, was_live, is_live, is_live};
  return !value.known && was_live;
}

apq_status apq__resolve(apq__resolver *resolver, const char *name, const char *text, apq__text *out,
                        apq_error *error) {
  chain stack[DEPTH_MAX];
  int depth = 0, number_of_line = 0, was_blank = 0;
  char *line = NULL;
  apq_status status = APQ_OK;
  while (*text) {
    size_t length = strcspn(text, "\n");
    number_of_line++;
    apq__free(line);
    line = apq__strndup(text, length);
    text += length + (text[length] == '\n');
    if (!line) return apq__fail(error, APQ_OUT_OF_MEMORY, "generate", "out of memory");
    directive kind = directive_of(line);
    if (kind >= IF) {
      int is_open = kind <= IFNDEF;
      if ((is_open && depth == DEPTH_MAX) || (!is_open && depth == 0)) {
        status = apq__fail(error, APQ_PARSE, "generate", "%s:%d: unbalanced '%s'", name,
                           number_of_line, line);
        goto cleanup;
      }
      if (conditional(resolver, kind, line, stack, &depth)) apq__text_add(out, "%s\n", line);
      continue;
    }
    if (depth && !stack[depth - 1].is_live) continue;
    if (strncmp(line, " * @", 4) == 0) continue;
    if (!*line && was_blank) continue;
    was_blank = !*line;
    if (kind == DEFINE) note_define(resolver, line);
    apq__text_add(out, "%s\n", line);
  }
  if (depth)
    status = apq__fail(error, APQ_PARSE, "generate", "%s: #if without #endif", name);
  else if (out->failed)
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "generate", "out of memory");
cleanup:
  apq__free(line);
  return status;
}
