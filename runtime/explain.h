/* Texts for people: what a context found, why a plan runs the kernel it runs. */
#ifndef APQ_EXPLAIN_H
#define APQ_EXPLAIN_H

#include <stddef.h>

#include "alloc.h"

/* Copies a finished text as apq_context_describe and apq_plan_explain promise, frees it, and
 * returns its length; 0, with an empty `to`, when the text failed for lack of memory. */
size_t apq__text_deliver(apq__text *text, char *to, size_t size);

#endif
