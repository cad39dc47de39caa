/* Text in pages: markup, control characters and broken UTF-8 do no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "html_text.h"

#define GONE "\xEF\xBF\xBD"

static void text_is_made_legal(void **state) {
  (void)state;
  static const struct {
    const char *bytes, *html;
  } cases[] = {
      {"NVIDIA H200", "NVIDIA H200"},
      {"<a href=\"x\" title='y'>&amp;</a>",
       "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;"},
      {"a\tb\nc", "a\tb\nc"},
      {"\x01\x1B[0m\x7F\r", GONE GONE "[0m" GONE GONE},
      {"\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
      {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
      /* A lone continuation, cut sequences, overlong forms, a surrogate, above U+10FFFF. */
      {"\x80z", GONE "z"},
      {"\xE2\x82z", GONE GONE "z"},
      {"\xE2\x82", GONE GONE},
      {"\xF0\x9F\x98", GONE GONE GONE},
      {"\xC3", GONE},
      {"\xC0\xBC", GONE GONE},
      {"\xE0\x80\xBC", GONE GONE GONE},
      {"\xED\xA0\x80", GONE GONE GONE},
      {"\xF4\x90\x80\x80", GONE GONE GONE GONE},
      {"\xFF<", GONE "&lt;"},
      {"\xEF\xBF\xBE", GONE}, /* U+FFFE */
      {"\xEF\xBF\xBD", GONE},
      {"", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    apq__text out = {0};
    apq__text_add(&out, "%s", "");
    apq__html_add_text(&out, cases[i].bytes);
    assert_false(out.failed);
    assert_string_equal(out.data, cases[i].html);
    apq__text_free(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(text_is_made_legal)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
