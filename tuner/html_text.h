/* Text for HTML, of a form that XML parsers read too. */
#ifndef APQ_HTML_TEXT_H
#define APQ_HTML_TEXT_H

#include "alloc.h"

/* Appends any bytes as text, legal in elements and quoted attributes: markup characters as
 * entities; control characters, what is not UTF-8 and what XML forbids as U+FFFD. */
void apq__html_add_text(apq__text *out, const char *bytes);

#endif
