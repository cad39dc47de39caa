/* The safetensors container, read: eight bytes of header length, a header in JSON that names every
 * tensor, its type, shape and place, then the tensors without gaps
 * (https://github.com/huggingface/safetensors, "Format"). */
#ifndef APQ_SAFETENSORS_H
#define APQ_SAFETENSORS_H

#include <stdint.h>

#include "apq.h"
#include "host.h"

enum {
  APQ__TENSOR_RANK_MAX = 4,
  APQ__SAFETENSORS_LENGTH_BYTES = 8,
  /* Of the header.  A thousand matrices take less than one. */
  APQ__SAFETENSORS_HEADER_MAX = 16 << 20,
};

typedef struct apq__tensor {
  char *name;
  char *dtype; /* "U8", "I32", "F32" */
  int rank;
  int64_t shape[APQ__TENSOR_RANK_MAX];
  int64_t begin, end; /* in the data */
} apq__tensor;

/* An entry of "__metadata__". */
typedef struct apq__note {
  char *key, *value;
} apq__note;

/* Start it zeroed. */
typedef struct apq__safetensors {
  char *path;
  apq__file_map map;
  const uint8_t *data; /* of the tensors, in the mapping */
  int64_t data_bytes;
  apq__tensor *tensor; /* sorted by name */
  int tensor_count;
  apq__note *note;        /* in the header's order */
  apq__note *note_by_key; /* the same, sorted */
  int note_count;
} apq__safetensors;

/* Maps a file and reads its header.  Afterwards every tensor is known to lie inside of the file,
 * each of a size that follows from its shape and type, none over another, with no gap between.
 * CORRUPT, or PARSE when the file does not even begin like one; the message names the file and the
 * tensor. */
apq_status apq__safetensors_open(const char *path, apq__safetensors *out, apq_error *error);
void apq__safetensors_close(apq__safetensors *file);

/* By name, or NULL. */
const apq__tensor *apq__safetensors_find(const apq__safetensors *file, const char *name);
const char *apq__safetensors_note(const apq__safetensors *file, const char *key);

/* Fails as CORRUPT with "'path': <message>". */
apq_status apq__safetensors_corrupt(const apq__safetensors *file, apq_error *error,
                                    const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
