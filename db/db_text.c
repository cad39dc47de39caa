#include "db_text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"

/* ---- escapes ---- */

static const char escaped[] = "\\\t\n\r", letters[] = "\\tnr";

void apq__escape(apq__text *out, const char *text) {
  while (*text) {
    size_t plain = 0;
    while ((unsigned char)text[plain] >= 32 && text[plain] != '\\' && text[plain] != 127) plain++;
    if (plain) apq__text_add_bytes(out, text, plain);
    text += plain;
    if (!*text) break;
    const char *found = strchr(escaped, *text);
    if (found)
      apq__text_add(out, "\\%c", letters[found - escaped]);
    else
      apq__text_add(out, "\\x%02x", (unsigned char)*text);
    text++;
  }
}

static int hex_digit(char c) {
  const char *digits = "0123456789abcdef", *found = c ? strchr(digits, c) : NULL;
  return found ? (int)(found - digits) : -1;
}

int apq__unescape(char *text) {
  char *to = text;
  for (const char *from = text; *from; from++) {
    if (*from != '\\') {
      *to++ = *from;
      continue;
    }
    from++;
    const char *found = *from ? strchr(letters, *from) : NULL;
    if (found) {
      *to++ = escaped[found - letters];
      continue;
    }
    if (*from != 'x') return 0;
    int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
    if (low < 0 || high + low == 0) return 0;
    *to++ = (char)(high * 16 + low);
    from += 2;
  }
  *to = 0;
  return 1;
}

/* ---- base64, RFC 4648 section 4 ---- */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void apq__base64_encode(apq__text *out, const void *data, size_t size) {
  const unsigned char *from = data;
  char line[1024];
  size_t length = 0;
  for (size_t i = 0; i < size; i += 3) {
    size_t have = size - i < 3 ? size - i : 3;
    unsigned group = (unsigned)from[i] << 16 | (have > 1 ? (unsigned)from[i + 1] << 8 : 0) |
                     (have > 2 ? (unsigned)from[i + 2] : 0);
    for (size_t j = 0; j < 4; j++)
      line[length++] = j <= have ? base64[group >> (18 - 6 * j) & 63] : '=';
    if (length == sizeof line) {
      apq__text_add_bytes(out, line, length);
      length = 0;
    }
  }
  if (length) apq__text_add_bytes(out, line, length);
}

int apq__base64_decode(char *text, size_t *size) {
  size_t length = strlen(text), padding = 0;
  unsigned char *to = (unsigned char *)text;
  *size = 0;
  if (length % 4) return 0;
  while (padding < 2 && padding < length && text[length - 1 - padding] == '=') padding++;
  for (size_t i = 0; i < length; i += 4) {
    unsigned group = 0;
    size_t digits = i + 4 == length ? 4 - padding : 4;
    for (size_t j = 0; j < 4; j++) {
      const char *found = j < digits ? strchr(base64, text[i + j]) : base64;
      if (!found) return 0;
      group = group << 6 | (unsigned)(found - base64);
    }
    /* Bits that the padding makes meaningless must be zero, so that one image has one text. */
    if (digits < 4 && (group & (digits == 3 ? 0xffu : 0xffffu))) return 0;
    for (size_t j = 0; j + 1 < digits; j++) to[(*size)++] = (unsigned char)(group >> (16 - 8 * j));
  }
  return 1;
}

/* ---- numbers ---- */

/* The decimal point is '.' whatever the program's locale says. */
static locale_t enter_c_locale(locale_t *made) {
  *made = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
  return *made ? uselocale(*made) : (locale_t)0;
}

static void leave_c_locale(locale_t made, locale_t before) {
  if (!made) return;
  uselocale(before);
  freelocale(made);
}

static void write_real(apq__text *out, double value) {
  char text[40];
  locale_t made, before = enter_c_locale(&made);
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  leave_c_locale(made, before);
  apq__text_add(out, "%s", text);
}

/* Only what write_real can write: no spaces, hexadecimal, infinities or NaN. */
static int parse_real(const char *text, double *out) {
  char *end = NULL;
  if (!*text || strspn(text, "0123456789.e+-") != strlen(text)) return 0;
  locale_t made, before = enter_c_locale(&made);
  errno = 0;
  *out = strtod(text, &end);
  int fine = !*end && errno != ERANGE;
  leave_c_locale(made, before);
  return fine;
}

static int parse_integer(const char *text, int64_t *out) {
  char *end = NULL;
  if (!*text || strspn(text, "0123456789-") != strlen(text)) return 0;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  *out = value;
  return !*end && !errno;
}

/* ---- fields ---- */

static void write_field(const apq__field *field, const void *row, apq__text *out) {
  const char *at = (const char *)row + field->offset;
  const void *member = at;
  char key[APQ__KEY_MAX];
  switch (field->kind) {
  case APQ__FIELD_TEXT:
    apq__escape(out, at);
    return;
  case APQ__FIELD_INT:
    apq__text_add(out, "%d", *(const int *)member);
    return;
  case APQ__FIELD_UINT:
    apq__text_add(out, "%u", *(const unsigned *)member);
    return;
  case APQ__FIELD_INT64:
    apq__text_add(out, "%" PRId64, *(const int64_t *)member);
    return;
  case APQ__FIELD_REAL:
    write_real(out, *(const double *)member);
    return;
  case APQ__FIELD_PROBLEM:
    apq__text_add(out, "%s", apq__problem_key(member, key));
    return;
  case APQ__FIELD_CONFIG:
    apq__text_add(out, "%s", apq__config_key(member, key));
    return;
  }
}

void apq__fields_write(const apq__field *fields, int count, const void *row, apq__text *out) {
  for (int i = 0; i < count; i++) {
    apq__text_add(out, "\t");
    write_field(&fields[i], row, out);
  }
}

static int parse_field(const apq__field *field, char *text, void *row) {
  char *at = (char *)row + field->offset;
  void *member = at;
  int64_t integer = 0;
  switch (field->kind) {
  case APQ__FIELD_TEXT:
    if (!apq__unescape(text) || strlen(text) >= field->size) return 0;
    memcpy(at, text, strlen(text) + 1);
    return 1;
  case APQ__FIELD_INT:
    if (!parse_integer(text, &integer) || integer < INT_MIN || integer > INT_MAX) return 0;
    *(int *)member = (int)integer;
    return 1;
  case APQ__FIELD_UINT:
    if (!parse_integer(text, &integer) || integer < 0 || integer > UINT_MAX) return 0;
    *(unsigned *)member = (unsigned)integer;
    return 1;
  case APQ__FIELD_INT64:
    return parse_integer(text, member);
  case APQ__FIELD_REAL:
    return parse_real(text, member);
  case APQ__FIELD_PROBLEM:
    return apq__canonical_problem(text, strlen(text), member);
  case APQ__FIELD_CONFIG:
    return apq__canonical_config(text, strlen(text), member);
  }
  return 0;
}

apq_status apq__fields_parse(const apq__field *fields, int count, char *const *texts, void *row,
                             apq_error *error) {
  for (int i = 0; i < count; i++)
    if (!parse_field(&fields[i], texts[i], row))
      return apq__fail(error, APQ_PARSE, "database", "field '%s' is malformed: '%.40s'",
                       fields[i].name, texts[i]);
  return APQ_OK;
}
