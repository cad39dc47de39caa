/* Text files that travel in the binary: the rows that generator/embed.cmake writes. */
#ifndef APQ_EMBEDDED_H
#define APQ_EMBEDDED_H

typedef struct apq__embedded {
  const char *name; /* file name without folder; NULL ends the table */
  const char *text;
} apq__embedded;

#endif
