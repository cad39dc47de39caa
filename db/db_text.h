/* The export's text: lines of fields parted by tabs. */
#ifndef APQ_DB_TEXT_H
#define APQ_DB_TEXT_H

#include <stddef.h>

#include "alloc.h"
#include "apq.h"
#include "db_record.h"

/* Appends `text` with backslash, tab, line feed, carriage return and other control characters as
 * \\ \t \n \r \xHH. */
void apq__escape(apq__text *out, const char *text);
/* Undoes it in place; 0 when an escape is malformed or gives a zero byte. */
int apq__unescape(char *text);

void apq__base64_encode(apq__text *out, const void *data, size_t size);
/* Decodes in place, into the start of `text`; 0 when it is not base64 with padding. */
int apq__base64_decode(char *text, size_t *size);

/* Appends the fields of a row, each after a tab: numbers in decimal, reals with as many digits as
 * give the same number back, in every locale. */
void apq__fields_write(const apq__field *fields, int count, const void *row, apq__text *out);
/* Reads `count` escaped texts into the row; PARSE names the field at fault. */
apq_status apq__fields_parse(const apq__field *fields, int count, char *const *texts, void *row,
                             apq_error *error);

#endif
