/* What a context holds; the public face is in apq.h. */
#ifndef APQ_CONTEXT_H
#define APQ_CONTEXT_H

#include <stdatomic.h>

#include "apq.h"
#include "device.h"
#include "entry.h"
#include "kernels.h"
#include "winner_table.h"

enum {
  APQ__DATABASES_MAX = 2,
  /* Largest m, n and k: rounded up to whole tiles they still are ints. */
  APQ__DIMENSION_MAX = 0x7ffff000,
};

/* A database file that the context looked at. */
typedef struct apq__source_file {
  const char *role; /* "database", "user database", "system database" */
  char *path;
  char note[256]; /* why it was not read, or what was done to it; "" when all is well */
  int readable;
  int winners; /* rows taken from it */
} apq__source_file;

struct apq_context {
  apq__device *device;
  apq__winner_table winners;
  apq__source_file file[APQ__DATABASES_MAX]; /* in order of precedence */
  int file_count;
  char *cache_dir; /* of compiled objects; NULL: none */
  apq__kernel_cache kernels;
  apq__recipe_list recipes;
  atomic_int holders;   /* the caller, and every object made from it */
  atomic_int is_closed; /* by the caller, while objects may still exist */
};

/* The target of the context's device. */
const apq__target *apq__context_target(const apq_context *context);

/* One more object that keeps the context; one less, the last of which frees it. */
void apq__context_hold(apq_context *context);
void apq__context_release(apq_context *context);
/* CLOSED when it was closed. */
apq_status apq__context_check_open(const apq_context *context, apq_error *error);
/* FOREIGN_POINTER, naming `name`, when the device does not know the address. */
apq_status apq__context_check_owner(const apq_context *context, const void *address,
                                    const char *name, apq_error *error);

/* Fails with NULL_POINTER, naming `name`, when the pointer is NULL. */
apq_status apq__check_pointer(const void *pointer, const char *name, apq_error *error);
/* INVALID_ARGUMENT, naming `name`, when not 1 to APQ__DIMENSION_MAX. */
apq_status apq__check_dimension(int value, const char *name, apq_error *error);

#endif
