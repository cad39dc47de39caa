/* After a tuning run on a GPU: its winners beside cuBLASLt. */
#ifndef APQ_CLI_COMPARE_H
#define APQ_CLI_COMPARE_H

#include "cli.h"
#include "tune.h"

/* Seconds of a problem's winner and of cuBLASLt, from one interleaved run; 0 where not measured. */
typedef struct apq__comparison {
  double winner, fp16, int8;
} apq__comparison;

/* Times every winner of the summary beside cuBLASLt fp16 and int8 and fills out[i] for result i;
 * `out` is zeroed.  Never fails the run, as the winners are in the database already: what cannot be
 * timed is noted. */
void apq__cli_compare(const apq__cli *cli, const apq__tune_summary *summary, const char *objective,
                      apq__comparison *out);

#endif
