/* The coordinator's side of a worker process: start, ask, wait, kill. */
#ifndef APQ_WORKER_PROCESS_H
#define APQ_WORKER_PROCESS_H

#include <signal.h>
#include <sys/types.h>

#include "worker_protocol.h"

/* One worker, running or not.  Start it as APQ__WORKER_PROCESS_INIT. */
typedef struct apq__worker_process {
  pid_t pid; /* 0: not running */
  int fd;
  int output_fd; /* an unnamed file that collects what the worker writes to stdout and stderr */
  int busy;      /* a command is in flight */
  apq__message_kind doing;
  int tag;         /* the caller's: which candidate the command is about */
  double deadline; /* apq__now() by which its answer must be here */
  apq__bytes inbox;
} apq__worker_process;

#define APQ__WORKER_PROCESS_INIT                                                                   \
  { .pid = 0, .fd = -1, .output_fd = -1 }

/* Starts `argv` (argv[0] a path; NULL: this program with APQ__WORKER_VERB) and waits for its hello.
 * To be called from a thread that outlives the worker: a worker dies with the thread that started
 * it.  IO, TIMEOUT. */
apq_status apq__worker_start(apq__worker_process *worker, const char *const *argv,
                             apq_error *error);

/* Kills it and its children, and releases everything.  Accepts one that is not running. */
void apq__worker_stop(apq__worker_process *worker);

/* Sends a command to an idle worker; the answer must come within `seconds`.  `body` is freed in any
 * case. */
apq_status apq__worker_ask(apq__worker_process *worker, apq__message_kind command, int tag,
                           apq__bytes *body, double seconds, apq_error *error);

typedef enum apq__worker_event {
  APQ__WORKER_NOTHING, /* the time is over, or `stop` was set */
  APQ__WORKER_ANSWER,  /* `message` holds the reply of `which` */
  APQ__WORKER_LOST     /* `which` died, hung or talks nonsense and was stopped; `error` says how and
                          holds what it printed */
} apq__worker_event;

/* Waits until something happens to one of the busy workers, at most `seconds`, or until *stop (may
 * be NULL) is set. */
apq__worker_event apq__worker_wait(apq__worker_process *const *workers, int count, double seconds,
                                   const volatile sig_atomic_t *stop, int *which,
                                   apq__message *message, apq_error *error);

#endif
