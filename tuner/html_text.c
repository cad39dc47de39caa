#include "html_text.h"

#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at the front, 0 when it is none (RFC 3629, section 4): no overlong
 * forms, no surrogates, nothing above U+10FFFF. */
static size_t sequence_length(const unsigned char *at) {
  static const struct {
    unsigned char first_low, first_high, second_low, second_high, length;
  } forms[] = {{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
               {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
               {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
               {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
  if (*at < 0x80) return 1;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    if (*at < forms[i].first_low || *at > forms[i].first_high) continue;
    if (at[1] < forms[i].second_low || at[1] > forms[i].second_high) return 0;
    for (size_t tail = 2; tail < forms[i].length; tail++)
      if ((at[tail] & 0xC0) != 0x80) return 0;
    return forms[i].length;
  }
  return 0;
}

/* U+FFFE and U+FFFF are no characters of XML 1.0. */
static int is_forbidden(const unsigned char *at) {
  return (*at < 0x20 && *at != '\n' && *at != '\t') || *at == 0x7F ||
         (at[0] == 0xEF && at[1] == 0xBF && at[2] >= 0xBE);
}

void apq__html_add_text(apq__text *out, const char *bytes) {
  static const char marked[] = "&<>\"'";
  static const char *const entity[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
  const unsigned char *at = (const unsigned char *)bytes;
  for (size_t length; *at; at += length) {
    length = sequence_length(at);
    const char *mark = strchr(marked, *at);
    if (mark)
      apq__text_add(out, "%s", entity[mark - marked]);
    else if (length == 0 || is_forbidden(at))
      apq__text_add(out, "\xEF\xBF\xBD");
    else
      apq__text_add_bytes(out, (const char *)at, length);
    if (length == 0) length = 1;
  }
}
