/* Values of command-line options: from text to numbers, and numbers as people read them. */
#ifndef APQ_CLI_VALUES_H
#define APQ_CLI_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"
#include "config.h"

typedef struct apq__bits {
  int p, q; /* weights, activations */
} apq__bits;

/* m is 0 where the text gave only n and k. */
typedef struct apq__mnk {
  int m, n, k;
} apq__mnk;

enum { APQ__BITS_MAX = 64, APQ__SHAPES_MAX = 256, APQ__TOKENS_MAX = 64 };

/* Every parser below fails with INVALID_ARGUMENT and a message "<option>: '<item>': why"; lists are
 * separated by commas. */

/* "W2A2,W4A*", "all" (= W*A*); an item given twice counts once. */
apq_status apq__parse_bits(const char *option, const char *text, apq__bits out[APQ__BITS_MAX],
                           int *count, apq_error *error);
/* "4096x4096" (n x k) or "16x4096x4096" (m x n x k). */
apq_status apq__parse_shapes(const char *option, const char *text, apq__mnk out[APQ__SHAPES_MAX],
                             int *count, apq_error *error);
/* "1,16,256". */
apq_status apq__parse_tokens(const char *option, const char *text, int out[APQ__TOKENS_MAX],
                             int *count, apq_error *error);
/* "f16,i32". */
apq_status apq__parse_outputs(const char *option, const char *text, apq_dtype out[4], int *count,
                              apq_error *error);
/* "packed,f16". */
apq_status apq__parse_inputs(const char *option, const char *text, apq__input out[4], int *count,
                             apq_error *error);
/* "90", "90s", "10m", "1h30m", "1.5h": seconds above 0. */
apq_status apq__parse_duration(const char *option, const char *text, double *out, apq_error *error);
apq_status apq__parse_count(const char *option, const char *text, int low, int high, int *out,
                            apq_error *error);
/* Decimal, or hexadecimal after 0x. */
apq_status apq__parse_seed(const char *option, const char *text, uint64_t *out, apq_error *error);

/* "11.2 us", "1.35 ms", "2.40 s"; "-" for 0.  Returns `text`. */
const char *apq__print_time(double seconds, char text[16]);
/* With this many digits after the point, "0.00" rather than "-0.00"; "-" for NaN.  Returns `text`.
 */
const char *apq__print_fixed(double value, int digits, char text[32]);
/* "0:42", "1:02:03"; "?" for a negative number.  Returns `text`. */
const char *apq__print_duration(double seconds, char text[16]);
/* "W2A8 16x4096x4096 f16".  Returns `text`. */
const char *apq__print_problem(const apq__problem *problem, char text[64]);
/* The family and the knobs that are neither the problem's nor at the template's default: "bmma
 * tile_m=16 swap=1".  Returns `text`. */
const char *apq__print_config(const apq__config *config, char text[APQ__KEY_MAX]);

#endif
