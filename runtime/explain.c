#include "explain.h"

#include <string.h>

size_t apq__text_deliver(apq__text *text, char *to, size_t size) {
  size_t length = text->failed ? 0 : text->length;
  if (size) {
    size_t copied = length < size ? length : size - 1;
    if (copied) memcpy(to, text->data, copied);
    to[copied] = 0;
  }
  apq__text_free(text);
  return length;
}
