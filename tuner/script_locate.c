#include "script_locate.h"

#include <ctype.h>
#include <string.h>

/* A token of Lua, as far as finding entries of a table constructor needs: names and numbers,
 * strings, single characters. */
typedef struct lua_token {
  enum { END, WORD, STRING, MARK } kind;
  const char *text;
  int length; /* a string's without the quotes */
  int line;
} lua_token;

typedef struct lua_reader {
  const char *at;
  int line;
} lua_reader;

/* Skips to `end` (a character past what it finds), counting lines. */
static void skip_to(lua_reader *reader, const char *end) {
  for (; reader->at < end; reader->at++) reader->line += *reader->at == '\n';
}

/* The end of a long bracket [[...]] or [==[...]==] that starts here, or NULL when none does. */
static const char *long_bracket_end(const char *at) {
  if (*at != '[') return NULL;
  size_t level = strspn(at + 1, "=");
  if (at[1 + level] != '[') return NULL;
  for (const char *close = at + 2 + level; (close = strchr(close, ']')) != NULL; close++)
    if (strspn(close + 1, "=") == level && close[1 + level] == ']') return close + 2 + level;
  return at + strlen(at);
}

static const char *quoted_end(const char *at) {
  char quote = *at++;
  while (*at && *at != quote && *at != '\n') at += *at == '\\' && at[1] ? 2 : 1;
  return *at ? at + 1 : at;
}

static void skip_blank(lua_reader *reader) {
  for (;;) {
    const char *at = reader->at;
    if (isspace((unsigned char)*at)) {
      skip_to(reader, at + 1);
    } else if (at[0] == '-' && at[1] == '-') {
      const char *end = long_bracket_end(at + 2);
      skip_to(reader, end ? end : at + strcspn(at, "\n"));
    } else {
      return;
    }
  }
}

static lua_token next_token(lua_reader *reader) {
  skip_blank(reader);
  const char *at = reader->at, *end = at;
  lua_token found = {MARK, at, 1, reader->line};
  if (!*at) {
    found.kind = END;
    return found;
  }
  if (isalnum((unsigned char)*at) || *at == '_') {
    while (isalnum((unsigned char)*end) || *end == '_' || *end == '.') end++;
    found.kind = WORD;
    found.length = (int)(end - at);
  } else if (*at == '"' || *at == '\'') {
    end = quoted_end(at);
    found.kind = STRING;
    found.text = at + 1;
    found.length = (int)(end - at) - 2;
  } else if ((end = long_bracket_end(at)) != NULL) {
    found.kind = STRING;
    found.length = 0; /* never a key here */
  } else {
    end = at + 1;
  }
  skip_to(reader, end);
  return found;
}

static int is_mark(const lua_token *token, char mark) {
  return token->kind == MARK && *token->text == mark;
}

static int is_word(const lua_token *token, const char *word) {
  return token->kind == WORD && (size_t)token->length == strlen(word) &&
         strncmp(token->text, word, strlen(word)) == 0;
}

/* Words that open what `end` closes; `while` and `for` do it with their `do`. */
static int block_change(const lua_token *token) {
  if (is_word(token, "function") || is_word(token, "do") || is_word(token, "if")) return 1;
  return is_word(token, "end") ? -1 : 0;
}

/* Skips the rest of one entry; *last gets the token that ends it: a separator or the closing brace.
 */
static void skip_entry(lua_reader *reader, lua_token *last) {
  int depth = 0;
  for (*last = next_token(reader); last->kind != END; *last = next_token(reader)) {
    if (depth == 0 && (is_mark(last, ',') || is_mark(last, ';') || is_mark(last, '}'))) return;
    if (is_mark(last, '{') || is_mark(last, '(') || is_mark(last, '[')) depth++;
    if (is_mark(last, '}') || is_mark(last, ')') || is_mark(last, ']')) depth--;
    depth += block_change(last);
  }
}

/* If an entry with a name starts here, moves past its '=' and gives the name. */
static int entry_name(lua_reader *start, lua_token *name) {
  lua_reader reader = *start;
  lua_token first = next_token(&reader);
  int bracket = is_mark(&first, '[');
  *name = bracket ? next_token(&reader) : first;
  lua_token after = next_token(&reader);
  if (bracket) {
    if (name->kind != STRING || !is_mark(&after, ']')) return 0;
    after = next_token(&reader);
  } else if (name->kind != WORD) {
    return 0;
  }
  if (!is_mark(&after, '=') || *reader.at == '=') return 0;
  *start = reader;
  return 1;
}

/* Inside a table, moves to the value of one entry; 0 when it is not there. */
static int enter(lua_reader *reader, const apq__script_step *step, int *line) {
  lua_token name, last = {MARK, ",", 1, 0};
  for (int position = 0; last.kind != END && !is_mark(&last, '}'); skip_entry(reader, &last)) {
    skip_blank(reader);
    int at = reader->line;
    int named = entry_name(reader, &name);
    if (!named) position++;
    int found = step->name ? named && (size_t)name.length == strlen(step->name) &&
                                 strncmp(name.text, step->name, (size_t)name.length) == 0
                           : !named && position == step->position;
    if (!found) continue;
    *line = at;
    return 1;
  }
  return 0;
}

int apq__script_locate(const char *text, int line, const apq__script_step *steps, int count) {
  lua_reader reader = {text, 1};
  while (reader.line < line && *reader.at) skip_to(&reader, reader.at + 1);
  lua_token brace = next_token(&reader);
  while (brace.kind != END && !is_mark(&brace, '{')) brace = next_token(&reader);
  int found = line;
  for (int i = 0; i < count && brace.kind != END; i++) {
    if (!enter(&reader, &steps[i], &found)) break;
    if (i + 1 == count) break;
    brace = next_token(&reader);
    if (!is_mark(&brace, '{')) break;
  }
  return found;
}

int apq__script_mentions(const char *text, int first, int last, const char *word) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  size_t length = strlen(word);
  int line = 1;
  for (const char *at = text; *at && line <= last; at += *at != 0) {
    line += *at == '\n';
    size_t name = strspn(at, letters);
    if (name == length && line >= first && strncmp(at, word, length) == 0) return 1;
    if (name) at += name - 1;
  }
  return 0;
}
