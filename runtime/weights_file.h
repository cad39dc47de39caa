/* What writing and reading a file of weights agree on; the format is in docs/weights.md. */
#ifndef APQ_WEIGHTS_FILE_H
#define APQ_WEIGHTS_FILE_H

#include "apq.h"
#include "config.h"
#include "weights.h"

#define APQ__FILE_FORMAT  "apq-weights"
#define APQ__FILE_VERSION "1"
/* Keys of "__metadata__"; the last two begin with these and end with a matrix's name. */
#define APQ__NOTE_FORMAT  "format"
#define APQ__NOTE_VERSION "version"
#define APQ__NOTE_MATRIX  "matrix."
#define APQ__NOTE_DIGEST  "sha256."
/* Of the tensor that fills up a matrix to the alignment; its bytes are zero. */
#define APQ__FILE_PADDING ".padding"

enum {
  APQ__FILE_ALIGNMENT = 64,  /* of each matrix's planes, in the file */
  APQ__FILE_BLOCK = 1 << 20, /* bytes that are hashed together */
  APQ__FILE_NAME_MAX = 200,
  APQ__FILE_TENSORS = 3, /* of a matrix, at most, padding aside */
};

/* A tensor of a matrix. */
typedef struct apq__file_tensor {
  const char *suffix; /* ".planes", ".scales", ".zeros" */
  const char *dtype;
  int rank;
  int64_t shape[3];
  int64_t bytes;    /* 0: the matrix has none */
  const void *data; /* from the parts */
} apq__file_tensor;

/* The tensors of a matrix in the order of the file.  Data are NULL where the parts' are. */
void apq__file_tensors(const apq__weights_parts *parts, int has_scales, int has_zeros,
                       apq__file_tensor tensor[APQ__FILE_TENSORS]);

/* The text of the note about a matrix, and back.  Reading: PARSE, saying what is wrong, when a
 * value is missing, unknown or out of range. */
apq_status apq__file_text(const apq__weights_parts *parts, char text[APQ__KEY_MAX],
                          apq_error *error);
apq_status apq__file_parse(const char *text, apq__weights_parts *parts, int *has_scales,
                           int *has_zeros, apq_error *error);

/* SHA-256, in hexadecimal, of the name, a newline, the text, a newline, and the hexadecimal
 * SHA-256 of each block of each tensor, so that many threads can take part.  OUT_OF_MEMORY. */
apq_status apq__file_digest(const char *name, const char *text,
                            const apq__file_tensor tensor[APQ__FILE_TENSORS], char hex[65],
                            apq_error *error);

#endif
