#include "text_table.h"

#include <stdarg.h>
#include <string.h>

static void add_cell(apq__table *table, const char *content) {
  int column = table->cells % table->columns, length = (int)strlen(content);
  if (length > table->width[column]) table->width[column] = length;
  apq__text_add_bytes(&table->text, content, (size_t)length);
  apq__text_add(&table->text, "%c", 0);
  table->cells++;
}

void apq__table_init(apq__table *table, const char *const *headers) {
  *table = (apq__table){0};
  while (headers[table->columns]) table->columns++;
  for (int i = 0; i < table->columns; i++) {
    table->is_right[i] = headers[i][0] == '>';
    add_cell(table, headers[i] + table->is_right[i]);
  }
}

void apq__table_cell(apq__table *table, const char *format, ...) {
  char content[APQ__TABLE_CELL_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(content, sizeof content, format, arguments);
  va_end(arguments);
  add_cell(table, content);
}

void apq__table_print(apq__table *table, FILE *stream) {
  const char *cell = table->text.data;
  int rows = table->text.failed ? 0 : table->cells / table->columns;
  for (int row = 0; row < rows && rows > 1; row++) {
    for (int i = 0; i < table->columns; i++, cell += strlen(cell) + 1) {
      int is_last = i + 1 == table->columns;
      int width = table->is_right[i] ? table->width[i] : is_last ? 0 : -table->width[i];
      fprintf(stream, "%*s%s", width, cell, is_last ? "\n" : "  ");
    }
  }
  apq__text_free(&table->text);
}
