/* A table of texts with aligned columns. */
#ifndef APQ_TEXT_TABLE_H
#define APQ_TEXT_TABLE_H

#include <stdio.h>

#include "alloc.h"

enum { APQ__TABLE_COLUMNS_MAX = 16, APQ__TABLE_CELL_MAX = 1200 };

/* Start it with apq__table_init; cells are added row by row, left to right. */
typedef struct apq__table {
  int columns, cells;
  int is_right[APQ__TABLE_COLUMNS_MAX];
  int width[APQ__TABLE_COLUMNS_MAX];
  apq__text text; /* cells one after the other, each ended by a zero byte */
} apq__table;

/* `headers` is NULL-terminated; a header that begins with '>' (not printed) makes its column
 * right-aligned. */
void apq__table_init(apq__table *table, const char *const *headers);
void apq__table_cell(apq__table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes all complete rows, the headers first, and frees the table.  Without rows nothing is
 * written. */
void apq__table_print(apq__table *table, FILE *stream);

#endif
