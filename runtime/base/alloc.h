/* The one way to host memory: the caller's allocator, or the C library's. */
#ifndef APQ_ALLOC_H
#define APQ_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

/* NULL on failure, and for a size of 0 a unique pointer.  apq__calloc zeroes and checks count *
 * size. */
void *apq__alloc(size_t size);
void *apq__calloc(size_t count, size_t size);
void *apq__realloc(void *old, size_t size);
void apq__free(void *old); /* accepts NULL */

char *apq__strdup(const char *text);
char *apq__strndup(const char *text, size_t length);
/* printf into a new string; NULL when out of memory. */
char *apq__format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A growing text; start it zeroed.  After a failed append `failed` stays set and later calls do
 * nothing, so one check at the end suffices.  `data` is NULL until something is appended. */
typedef struct apq__text {
  char *data;
  size_t length, capacity;
  int failed;
} apq__text;
void apq__text_add(apq__text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void apq__text_add_bytes(apq__text *text, const char *bytes, size_t length);
void apq__text_free(apq__text *text);

#endif
