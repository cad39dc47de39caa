#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "alloc.h"
#include "cli_values.h"

/* Seconds between two status lines: fast enough to look alive, and rare enough for a log file. */
static const double terminal_interval = 0.1, plain_interval = 10;

static const char *const phase_names[] = {"searching", "checking", "measuring", "done"};

void apq__progress_init(apq__progress *progress, FILE *stream, int is_quiet) {
  *progress = (apq__progress){.stream = stream,
                              .is_terminal = isatty(fileno(stream)),
                              .is_quiet = is_quiet,
                              .last = -1e9,
                              .last_index = -1};
}

static void erase(apq__progress *progress) {
  if (progress->is_drawn) fputs("\r\033[K", progress->stream);
  progress->is_drawn = 0;
}

static int columns(const apq__progress *progress) {
  struct winsize size = {0};
  if (ioctl(fileno(progress->stream), TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

static void add_heading(apq__text *line, const apq__tune_progress *state) {
  char label[64];
  apq__text_add(line, "[%d/%d] %s", state->problem_index + 1, state->problem_count,
                apq__print_problem(state->problem, label));
}

static void add_status(apq__text *line, const apq__tune_progress *state) {
  char time[16], config[APQ__KEY_MAX];
  add_heading(line, state);
  apq__text_add(line, ": %s", phase_names[state->phase]);
  if (state->total) apq__text_add(line, " %d/%d", state->done, state->total);
  if (state->failures) apq__text_add(line, ", %d failed", state->failures);
  if (state->eta_seconds >= 0)
    apq__text_add(line, ", ETA %s", apq__print_duration(state->eta_seconds, time));
  if (state->best)
    apq__text_add(line, ", best %s%s %s", state->modelled ? "modelled " : "",
                  apq__print_time(state->best_seconds, time),
                  apq__print_config(state->best, config));
}

/* A finished problem, for good. */
static void add_result(apq__text *line, const apq__tune_progress *state) {
  const apq__tune_result *result = state->result;
  char time[16], config[APQ__KEY_MAX];
  add_heading(line, state);
  apq__text_add(line, ": %s", apq__tune_outcome_name(result->outcome));
  if (result->has_winner)
    apq__text_add(line, ", %s%s", result->modelled ? "modelled " : "",
                  apq__print_time(result->seconds, time));
  if (result->has_winner && result->default_seconds > 0)
    apq__text_add(line, ", %.2fx its default", result->default_seconds / result->seconds);
  if (result->failed) apq__text_add(line, ", %d failed", result->failed);
  if (result->has_winner) apq__text_add(line, ", %s", apq__print_config(&result->winner, config));
  if (result->message[0]) apq__text_add(line, ": %s", result->message);
}

static void write_line(apq__progress *progress, const char *line, int is_lasting) {
  erase(progress);
  if (is_lasting || !progress->is_terminal) {
    fprintf(progress->stream, "%s\n", line);
  } else {
    fprintf(progress->stream, "%.*s", columns(progress) - 1, line);
    progress->is_drawn = 1;
  }
  fflush(progress->stream);
}

/* Whether a status line is due: time has passed, or, on a terminal, something else began. */
static int is_due(const apq__progress *progress, const apq__tune_progress *state) {
  double interval = progress->is_terminal ? terminal_interval : plain_interval;
  int is_new =
      state->problem_index != progress->last_index || (int)state->phase != progress->last_phase;
  return (progress->is_terminal && is_new) || state->elapsed_seconds - progress->last >= interval;
}

void apq__progress_update(const apq__tune_progress *state, void *user) {
  apq__progress *progress = user;
  if (progress->is_quiet) return;
  if (state->note) write_line(progress, state->note, 1);
  int is_result = state->phase == APQ__TUNE_RESULT && state->result;
  if (!state->problem || (!is_result && !is_due(progress, state))) return;
  apq__text line = {0};
  if (is_result)
    add_result(&line, state);
  else
    add_status(&line, state);
  if (!line.failed) write_line(progress, line.data, is_result);
  apq__text_free(&line);
  progress->last = state->elapsed_seconds;
  progress->last_index = state->problem_index;
  progress->last_phase = (int)state->phase;
}

void apq__progress_end(apq__progress *progress) {
  erase(progress);
  fflush(progress->stream);
}
