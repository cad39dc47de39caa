/* Configs and problems, and their one canonical text, which is the key everywhere: in the cache, in
 * the database and in every log line. */
#ifndef APQ_CONFIG_H
#define APQ_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"

enum {
  APQ__KNOBS_MAX = 32,
  APQ__WORD_MAX = 16,  /* longest knob name or value, with its zero */
  APQ__KEY_MAX = 1056, /* longest canonical text, with its zero */
};

/* One name=value; both are [a-z0-9_]+ (a value may also start with '-'). */
typedef struct apq__knob {
  char name[APQ__WORD_MAX];
  char value[APQ__WORD_MAX];
} apq__knob;

/* A set of knobs sorted by name.  Start it as {0}; a plain value, copied by assignment. */
typedef struct apq__config {
  int count;
  apq__knob knob[APQ__KNOBS_MAX];
} apq__config;

/* Sets or replaces one knob.  PARSE when the name or value is not a legal word, OUT_OF_RANGE when
 * full. */
apq_status apq__config_set(apq__config *config, const char *name, const char *value,
                           apq_error *error);
apq_status apq__config_set_int(apq__config *config, const char *name, int value, apq_error *error);
/* The value, or NULL when the knob is not set. */
const char *apq__config_get(const apq__config *config, const char *name);
/* The value as an integer, or `fallback` when not set or not an integer. */
int apq__config_int(const apq__config *config, const char *name, int fallback);
/* Whether the knob is set to exactly `value`. */
int apq__config_is(const apq__config *config, const char *name, const char *value);

/* "a=1,b=x": sorted by name, commas, no spaces.  Returns `key`. */
const char *apq__config_key(const apq__config *config, char key[APQ__KEY_MAX]);
/* Reads the text form in any order; a name given twice, an empty name or a stray character is a
 * PARSE error that names it. */
apq_status apq__config_parse(const char *text, apq__config *out, apq_error *error);

/* What activations a product starts from: ready packed, or numbers that are to be quantized first,
 * by family pack or by the product's own kernel. */
typedef enum apq__input {
  APQ__INPUT_PACKED,
  APQ__INPUT_F16,
  APQ__INPUT_BF16,
  APQ__INPUT_F32,
  APQ__INPUT_COUNT
} apq__input;
/* "packed", "f16", "bf16", "f32"; and back, returns 0 when the name is unknown. */
const char *apq__input_name(apq__input input);
int apq__input_parse(const char *name, apq__input *out);
/* The type of the numbers; CODES8 of PACKED.  And back: other types are PACKED. */
apq_dtype apq__input_dtype(apq__input input);
apq__input apq__input_of(apq_dtype dtype);

/* One product to be tuned or dispatched: y[m][n], reduction k, p-bit weights, q-bit activations. */
typedef struct apq__problem {
  int p, q;
  int m, n, k;
  apq_dtype out; /* I32, F16, BF16 or F32 */
  int group;     /* k that share a scale of the weights: 32, 64, 128, 256; 0: all */
  apq__input in;
} apq__problem;

/* "k=4096,m=1,n=4096,out=f16,p=2,q=8", with group scales "group=128,k=4096,...", and unless the
 * activations are packed "in=f16,k=4096,...".  Returns `key`. */
const char *apq__problem_key(const apq__problem *problem, char key[APQ__KEY_MAX]);
/* Parses and checks ranges: p, q in 1..8, m, n, k >= 1, a group that exists and a floating output
 * with it, an input that exists. */
apq_status apq__problem_parse(const char *text, apq__problem *out, apq_error *error);
apq_status apq__problem_check(const apq__problem *problem, apq_error *error);
int apq__problem_is_same(const apq__problem *a, const apq__problem *b);

/* "f16" -> APQ_DTYPE_F16 and so on; returns 0 when the name is unknown. */
int apq__dtype_parse(const char *name, apq_dtype *out);
int apq__format_parse(const char *name, apq_format *out);
/* Bytes of one element. */
size_t apq__dtype_bytes(apq_dtype dtype);

/* A whole decimal integer (optional sign), nothing before or after; returns 0 otherwise. */
int apq__parse_int(const char *text, int *out);

#endif
