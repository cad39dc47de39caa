/* The live display of a tuning run: one line redrawn on a terminal, plain lines elsewhere. */
#ifndef APQ_PROGRESS_H
#define APQ_PROGRESS_H

#include <stdio.h>

#include "tune.h"

typedef struct apq__progress {
  FILE *stream;
  int is_terminal;
  int is_quiet;   /* nothing is written at all */
  int is_drawn;   /* a line to be erased stands on the terminal */
  double last;    /* elapsed seconds at the last status line */
  int last_index; /* its problem, ... */
  int last_phase; /* ... and phase */
} apq__progress;

void apq__progress_init(apq__progress *progress, FILE *stream, int is_quiet);
/* The callback of apq__tune_options; `user` is the apq__progress. */
void apq__progress_update(const apq__tune_progress *state, void *user);
/* Erases the live line. */
void apq__progress_end(apq__progress *progress);

#endif
