/* Writes JSON into a growing text: commas, quotes and indentation are its business, the structure
 * is the caller's. */
#ifndef APQ_JSON_WRITER_H
#define APQ_JSON_WRITER_H

#include <stdint.h>

#include "alloc.h"

/* Start it zeroed.  After the outermost value has ended, text.data is the document, with a final
 * newline; free it with apq__text_free. Memory exhaustion shows in text.failed. */
typedef struct apq__json {
  apq__text text;
  int depth;
  int is_filled; /* something stands before this place in the innermost object or array */
} apq__json;

/* `key` is the member's name inside an object, NULL inside an array and for the outermost value. */
void apq__json_begin_object(apq__json *json, const char *key);
void apq__json_end_object(apq__json *json);
void apq__json_begin_array(apq__json *json, const char *key);
void apq__json_end_array(apq__json *json);
void apq__json_string(apq__json *json, const char *key, const char *value); /* NULL gives null */
void apq__json_int(apq__json *json, const char *key, int64_t value);
void apq__json_double(apq__json *json, const char *key, double value); /* null unless finite */
void apq__json_bool(apq__json *json, const char *key, int value);

#endif
