#include "json_writer.h"

#include <math.h>

static void add_quoted(apq__json *json, const char *value) {
  static const struct {
    char character;
    const char *escape;
  } escapes[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"}, {'\t', "\\t"}};
  enum { ESCAPES = sizeof escapes / sizeof escapes[0] };
  apq__text_add(&json->text, "\"");
  for (const char *at = value; *at; at++) {
    int i = 0;
    while (i < ESCAPES && escapes[i].character != *at) i++;
    if (i < ESCAPES)
      apq__text_add(&json->text, "%s", escapes[i].escape);
    else if ((unsigned char)*at < 0x20)
      apq__text_add(&json->text, "\\u%04x", (unsigned)*at);
    else
      apq__text_add(&json->text, "%c", *at);
  }
  apq__text_add(&json->text, "\"");
}

/* What stands before any value: comma, line, indentation, name. */
static void lead(apq__json *json, const char *key) {
  if (json->is_filled) apq__text_add(&json->text, ",");
  if (json->depth) apq__text_add(&json->text, "\n%*s", 2 * json->depth, "");
  if (key) {
    add_quoted(json, key);
    apq__text_add(&json->text, ": ");
  }
  json->is_filled = 1;
}

static void begin(apq__json *json, const char *key, const char *bracket) {
  lead(json, key);
  apq__text_add(&json->text, "%s", bracket);
  json->depth++;
  json->is_filled = 0;
}

static void end(apq__json *json, const char *bracket) {
  json->depth--;
  if (json->is_filled) apq__text_add(&json->text, "\n%*s", 2 * json->depth, "");
  apq__text_add(&json->text, "%s%s", bracket, json->depth ? "" : "\n");
  json->is_filled = 1;
}

void apq__json_begin_object(apq__json *json, const char *key) {
  begin(json, key, "{");
}
void apq__json_end_object(apq__json *json) {
  end(json, "}");
}
void apq__json_begin_array(apq__json *json, const char *key) {
  begin(json, key, "[");
}
void apq__json_end_array(apq__json *json) {
  end(json, "]");
}

void apq__json_string(apq__json *json, const char *key, const char *value) {
  lead(json, key);
  if (value)
    add_quoted(json, value);
  else
    apq__text_add(&json->text, "null");
}

void apq__json_int(apq__json *json, const char *key, int64_t value) {
  lead(json, key);
  apq__text_add(&json->text, "%lld", (long long)value);
}

void apq__json_double(apq__json *json, const char *key, double value) {
  lead(json, key);
  if (isfinite(value))
    apq__text_add(&json->text, "%.9g", value);
  else
    apq__text_add(&json->text, "null");
}

void apq__json_bool(apq__json *json, const char *key, int value) {
  lead(json, key);
  apq__text_add(&json->text, value ? "true" : "false");
}
