#include "alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apq.h"

static void *c_allocate(void *user, size_t size) {
  (void)user;
  return malloc(size);
}
static void *c_reallocate(void *user, void *old, size_t size) {
  (void)user;
  return realloc(old, size);
}
static void c_release(void *user, void *old) {
  (void)user;
  free(old);
}

/* Set once, before any other call (apq.h says so); read ever after. */
static apq_allocator current = {c_allocate, c_reallocate, c_release, NULL};

apq_status apq_set_allocator(const apq_allocator *allocator) {
  if (!allocator) {
    current = (apq_allocator){c_allocate, c_reallocate, c_release, NULL};
    return APQ_OK;
  }
  if (!allocator->allocate || !allocator->reallocate || !allocator->release)
    return APQ_INVALID_ARGUMENT;
  current = *allocator;
  return APQ_OK;
}

void *apq__alloc(size_t size) {
  return current.allocate(current.user, size ? size : 1);
}

void *apq__calloc(size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  void *memory = apq__alloc(count * size);
  if (memory) memset(memory, 0, count * size);
  return memory;
}

void *apq__realloc(void *old, size_t size) {
  return current.reallocate(current.user, old, size ? size : 1);
}

void apq__free(void *old) {
  if (old) current.release(current.user, old);
}

char *apq__strndup(const char *text, size_t length) {
  char *copy = apq__alloc(length + 1);
  if (!copy) return NULL;
  memcpy(copy, text, length);
  copy[length] = 0;
  return copy;
}

char *apq__strdup(const char *text) {
  return apq__strndup(text, strlen(text));
}

/* Room for `length` more characters and the zero; 0 and `failed` when there is none. */
static int text_reserve(apq__text *text, size_t length) {
  if (text->failed) return 0;
  size_t need = text->length + length + 1;
  if (need <= text->capacity) return 1;
  size_t capacity = need < 128 ? 128 : need * 2;
  char *data = apq__realloc(text->data, capacity);
  if (!data) {
    text->failed = 1;
    return 0;
  }
  text->data = data;
  text->capacity = capacity;
  return 1;
}

static void text_add_va(apq__text *text, const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (length < 0) text->failed = 1;
  if (length < 0 || !text_reserve(text, (size_t)length)) return;
  vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
  text->length += (size_t)length;
}

void apq__text_add(apq__text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  text_add_va(text, format, arguments);
  va_end(arguments);
}

void apq__text_add_bytes(apq__text *text, const char *bytes, size_t length) {
  if (!text_reserve(text, length)) return;
  memcpy(text->data + text->length, bytes, length);
  text->length += length;
  text->data[text->length] = 0;
}

void apq__text_free(apq__text *text) {
  apq__free(text->data);
  *text = (apq__text){0};
}

char *apq__format(const char *format, ...) {
  apq__text text = {0};
  va_list arguments;
  va_start(arguments, format);
  text_add_va(&text, format, arguments);
  va_end(arguments);
  if (text.failed) apq__text_free(&text);
  return text.data;
}
