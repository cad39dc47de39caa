#include "worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "host.h"
#include "status.h"
#include "worker.h"

enum { START_SECONDS = 30, REAP_MS = 2000, LOG_MAX = 16384 };

/* ---- start and stop ---- */

/* The child, between fork and exec: async-signal-safe calls only. */
static void become_worker(int fd, int output_fd, pid_t parent, char *const *argv) {
  /* Its own group: a terminal's Ctrl-C is the coordinator's business, and its compiler dies with
   * it. */
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int null = open("/dev/null", O_RDONLY);
  /* Both lie above the descriptors they are moved to: the coordinator saw to that. */
  if (null < 0 || dup2(null, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(output_fd, 2) < 0 ||
      dup2(fd, APQ__WORKER_FD) < 0)
    _exit(1);
  execv(argv[0], argv);
  _exit(127);
}

/* A duplicate above the descriptors a worker starts with. */
static int move_up(int fd) {
  int high = fcntl(fd, F_DUPFD_CLOEXEC, APQ__WORKER_FD + 1);
  close(fd);
  return high;
}

static apq_status await_hello(apq__worker_process *worker, apq_error *error) {
  apq__message message = {0};
  int which;
  worker->busy = 1;
  worker->doing = APQ__MSG_HELLO;
  worker->deadline = apq__now() + START_SECONDS;
  apq__worker_event event =
      apq__worker_wait(&worker, 1, START_SECONDS + 1, NULL, &which, &message, error);
  if (event == APQ__WORKER_LOST) return APQ_IO;
  int version = apq__get_i32(&message), good = message.kind == APQ__MSG_HELLO && !message.bad;
  apq__message_free(&message);
  if (event == APQ__WORKER_ANSWER && good && version == APQ__PROTOCOL_VERSION) return APQ_OK;
  return apq__fail(error, APQ_IO, "worker", "the worker program is not of this version");
}

apq_status apq__worker_start(apq__worker_process *worker, const char *const *argv,
                             apq_error *error) {
  static const char *const self[] = {"/proc/self/exe", APQ__WORKER_VERB, NULL};
  int pair[2] = {-1, -1}, output = -1;
  apq_status status;
  *worker = (apq__worker_process)APQ__WORKER_PROCESS_INIT;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) goto system_error;
  pair[1] = move_up(pair[1]);
  output = move_up(memfd_create("worker output", MFD_CLOEXEC));
  if (pair[1] < 0 || output < 0) goto system_error;

  pid_t parent = getpid(), pid = fork();
  if (pid < 0) goto system_error;
  /* execv takes the strings as they are; its prototype predates const. */
  if (pid == 0) become_worker(pair[1], output, parent, (char *const *)(argv ? argv : self));
  setpgid(pid, pid);
  close(pair[1]);
  worker->pid = pid;
  worker->fd = pair[0];
  worker->output_fd = output;
  status = await_hello(worker, error);
  if (status != APQ_OK) {
    apq__error_prefix(error, "cannot start a worker (%s)", (argv ? argv : self)[0]);
    apq__worker_stop(worker);
  }
  return status;

system_error:
  status = apq__fail(error, APQ_IO, "worker", "cannot start a worker: %s", strerror(errno));
  if (pair[0] >= 0) close(pair[0]);
  if (pair[1] >= 0) close(pair[1]);
  if (output >= 0) close(output);
  return status;
}

/* Reaps a killed child.  One that hangs in a driver call is left to init rather than waited for
 * without end. */
static void reap(pid_t pid, int *wait_status) {
  for (int waited = 0; waited < REAP_MS; waited += 5) {
    pid_t got = waitpid(pid, wait_status, WNOHANG);
    if (got == pid || (got < 0 && errno != EINTR)) return;
    nanosleep(&(struct timespec){0, 5000000}, NULL);
  }
}

/* What is not yet dead is killed; returns its wait status. */
static int end_process(apq__worker_process *worker) {
  int wait_status = 0;
  if (worker->pid > 0) {
    if (waitpid(worker->pid, &wait_status, WNOHANG) != worker->pid) {
      kill(-worker->pid, SIGKILL);
      kill(worker->pid, SIGKILL);
      reap(worker->pid, &wait_status);
    } else {
      kill(-worker->pid, SIGKILL);
    }
  }
  worker->pid = 0;
  return wait_status;
}

void apq__worker_stop(apq__worker_process *worker) {
  end_process(worker);
  if (worker->fd >= 0) close(worker->fd);
  if (worker->output_fd >= 0) close(worker->output_fd);
  apq__bytes_free(&worker->inbox);
  *worker = (apq__worker_process)APQ__WORKER_PROCESS_INIT;
}

/* ---- loss ---- */

/* The end of what the worker printed, or NULL. */
static char *read_output(int fd) {
  off_t size = lseek(fd, 0, SEEK_END);
  if (size <= 0) return NULL;
  size_t length = size < LOG_MAX ? (size_t)size : LOG_MAX;
  char *text = apq__alloc(length + 1);
  if (!text) return NULL;
  ssize_t got = pread(fd, text, length, size - (off_t)length);
  text[got > 0 ? got : 0] = 0;
  return text;
}

static apq__worker_event lose(apq__worker_process *worker, int timed_out, apq_error *error) {
  const char *doing = apq__message_name(worker->doing);
  /* A dead process closes its socket before it can be waited for: give it the moment. */
  int wait_status = 0;
  if (!timed_out) {
    for (int i = 0; i < 100 && worker->pid > 0; i++) {
      pid_t got = waitpid(worker->pid, &wait_status, WNOHANG);
      if (got == worker->pid) {
        kill(-worker->pid, SIGKILL);
        worker->pid = 0;
      } else {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
      }
    }
  }
  if (worker->pid > 0) wait_status = end_process(worker);
  if (timed_out)
    apq__fail(error, APQ_TIMEOUT, "timeout", "%s took too long: the worker was killed", doing);
  else if (WIFSIGNALED(wait_status))
    apq__fail(error, APQ_KERNEL_FAULT, "crash", "%s: the worker died of signal %d (%s)", doing,
              WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  else
    apq__fail(error, APQ_KERNEL_FAULT, "crash", "%s: the worker ended with status %d", doing,
              WEXITSTATUS(wait_status));
  apq__error_take_log(error, read_output(worker->output_fd));
  int tag = worker->tag;
  apq__worker_stop(worker);
  worker->tag = tag;
  return APQ__WORKER_LOST;
}

/* ---- asking and waiting ---- */

apq_status apq__worker_ask(apq__worker_process *worker, apq__message_kind command, int tag,
                           apq__bytes *body, double seconds, apq_error *error) {
  double deadline = apq__now() + seconds;
  apq_status status = apq__message_send(worker->fd, command, body, deadline, error);
  if (body) apq__bytes_free(body);
  if (status == APQ_OUT_OF_MEMORY || status == APQ_OUT_OF_RANGE) return status;
  /* A worker that cannot take the command is found dead or late by the next wait. */
  worker->busy = 1;
  worker->doing = command;
  worker->tag = tag;
  worker->deadline = deadline;
  return APQ_OK;
}

/* Reads what has come: 1 when there is a whole message, 0 when not yet, -1 when the worker is gone
 * or out of its mind. */
static int collect(apq__worker_process *worker, apq__message *message) {
  char bytes[65536];
  for (;;) {
    int taken = apq__message_take(&worker->inbox, message);
    if (taken != 0) return taken;
    ssize_t got = recv(worker->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) {
      apq__bytes_add(&worker->inbox, bytes, (size_t)got);
      continue;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (got < 0 && errno == EINTR) continue;
    return -1;
  }
}

/* One look at every busy worker. */
static apq__worker_event look(apq__worker_process *const *workers, int count, int *which,
                              apq__message *message, apq_error *error) {
  for (int i = 0; i < count; i++) {
    apq__worker_process *worker = workers[i];
    if (!worker->busy) continue;
    int got = collect(worker, message);
    if (got == 0 && apq__now() < worker->deadline) continue;
    *which = i;
    if (got <= 0) return lose(worker, got == 0, error);
    worker->busy = 0;
    return APQ__WORKER_ANSWER;
  }
  return APQ__WORKER_NOTHING;
}

apq__worker_event apq__worker_wait(apq__worker_process *const *workers, int count, double seconds,
                                   const volatile sig_atomic_t *stop, int *which,
                                   apq__message *message, apq_error *error) {
  enum { POLL_MAX = 128 };
  double end = apq__now() + seconds;
  *message = (apq__message){0};
  for (;;) {
    if (stop && *stop) return APQ__WORKER_NOTHING;
    apq__worker_event event = look(workers, count, which, message, error);
    if (event != APQ__WORKER_NOTHING) return event;
    struct pollfd list[POLL_MAX];
    nfds_t listed = 0;
    double next = end;
    for (int i = 0; i < count && listed < POLL_MAX; i++) {
      if (!workers[i]->busy) continue;
      list[listed++] = (struct pollfd){workers[i]->fd, POLLIN, 0};
      if (workers[i]->deadline < next) next = workers[i]->deadline;
    }
    double now = apq__now();
    if (now >= end || listed == 0) return APQ__WORKER_NOTHING;
    /* Woken at least five times a second, so that `stop` is seen whichever thread took the signal.
     */
    double wait = next - now < 0.2 ? next - now : 0.2;
    poll(list, listed, wait > 0 ? (int)(wait * 1000) + 1 : 0);
  }
}
