#include "compile_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "host.h"
#include "status.h"

extern char **environ;

/* A kernel takes well under a second; a minute says that the compiler hangs. */
static const double timeout_seconds = 60;

/* A kernel of the templates compiles in 43 ms at -O0 and in 80 ms at -O1, which takes 0.4 ms off a
 * launch of 64x64x512: few objects are launched a hundred times.  Each operation of the templates
 * is rounded once, so none may be contracted; fragments are read as words of other types.  The C
 * library is the host program's.  Nothing depends on this machine's CPU: objects are shared through
 * caches and databases. */
static const char options[] =
    "-std=c11 -O0 -ffp-contract=off -fno-strict-aliasing -fwrapv -fPIC -fvisibility=hidden "
    "-Werror=implicit-function-declaration -Werror=incompatible-pointer-types "
    "-Werror=int-conversion -shared -nostdlib -pipe -x c -";
enum { ARGUMENTS_MAX = 24 };

const char *apq__host_compiler_options(void) {
  return options;
}

static const char *program_name(void) {
  const char *named = apq__variable_get(APQ__VAR_CC);
  return named ? named : "cc";
}

/* Kills a process and its descendants, parents first so that none can start another. */
static void kill_tree(pid_t process) {
  char path[64];
  char *children = NULL;
  size_t size = 0;
  kill(process, SIGSTOP);
  snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)process, (long)process);
  if (apq__read_file(path, &children, &size, NULL) == APQ_OK) {
    char *rest = NULL;
    for (char *word = strtok_r(children, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
      kill_tree((pid_t)strtol(word, NULL, 10));
  }
  apq__free(children);
  kill(process, SIGKILL);
}

/* Waits for the child; kills it and its own when time is up. */
static apq_status await(pid_t child, const char *program, int *code, apq_error *error) {
  const double deadline = apq__now() + timeout_seconds;
  const struct timespec nap = {0, 500 * 1000};
  int state = 0;
  for (;;) {
    pid_t done = waitpid(child, &state, WNOHANG);
    if (done == child) break;
    if (done < 0 && errno != EINTR) {
      /* The host program ignores SIGCHLD: the result must be judged by the output. */
      *code = 0;
      return APQ_OK;
    }
    if (apq__now() > deadline) {
      kill_tree(child);
      waitpid(child, &state, 0);
      return apq__fail(error, APQ_TIMEOUT, "compile", "'%s' took longer than %.0f seconds", program,
                       timeout_seconds);
    }
    nanosleep(&nap, NULL);
  }
  *code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return APQ_OK;
}

/* Runs a program with its input and output in files; `code` gets its exit status.  It stays in this
 * process's group: who kills that, kills the compiler too. */
static apq_status run(const char *const *arguments, const char *input, const char *output,
                      int *code, apq_error *error) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, input, O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t child;
  /* argv is not written to; its type is older than const. */
  int failure = posix_spawnp(&child, arguments[0], &files, NULL,
                             (char *const *)(uintptr_t)arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  const char *variable = apq__variable_name(APQ__VAR_CC);
  if (failure == ENOENT || failure == EACCES)
    return apq__fail(
        error, APQ_NO_COMPILER, "compile",
        "the emulated device needs a C compiler: no program '%s' (%s) can be run: %s; install "
        "gcc or set %s",
        arguments[0], apq__variable_get(APQ__VAR_CC) ? variable : "found by PATH",
        strerror(failure), variable);
  if (failure)
    return apq__fail(error, APQ_IO, "compile", "cannot start '%s': %s", arguments[0],
                     strerror(failure));
  return await(child, arguments[0], code, error);
}

/* A folder that only this user can enter; apq__free. */
static apq_status make_folder(char **path, apq_error *error) {
  const char *const places[] = {apq__temp_dir(), P_tmpdir, "/var/tmp", "/dev/shm"};
  int code = 0;
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    *path = apq__format("%s/apq-XXXXXX", places[i]);
    if (!*path) return apq__fail(error, APQ_OUT_OF_MEMORY, "compile", "no memory for a path");
    if (mkdtemp(*path)) return APQ_OK;
    code = errno;
    apq__free(*path);
    *path = NULL;
  }
  return apq__fail(error, apq__status_from_errno(code), "compile",
                   "no temporary folder in %s, %s, /var/tmp or /dev/shm: %s", places[0], P_tmpdir,
                   strerror(code));
}

/* COMPILE with the first line that reports an error. */
static apq_status report_source(const char *program, int code, const char *log, apq_error *error) {
  const char *found = log ? strstr(log, "error:") : NULL;
  if (!found)
    return apq__fail(error, APQ_COMPILE, "compile", "'%s' fails with exit status %d", program,
                     code);
  while (found > log && found[-1] != '\n') found--;
  return apq__fail(error, APQ_COMPILE, "compile", "%s: %.*s", program, (int)strcspn(found, "\n"),
                   found);
}

/* The files of one compilation. */
typedef struct workplace {
  char *folder, *source, *object, *log;
} workplace;

static void close_workplace(workplace *at) {
  char *const files[] = {at->source, at->object, at->log};
  for (int i = 0; i < 3; i++) {
    if (files[i]) unlink(files[i]);
    apq__free(files[i]);
  }
  if (at->folder) rmdir(at->folder);
  apq__free(at->folder);
}

static apq_status open_workplace(workplace *at, apq_error *error) {
  *at = (workplace){0};
  apq_status status = make_folder(&at->folder, error);
  if (status != APQ_OK) return status;
  at->source = apq__format("%s/kernel.c", at->folder);
  at->object = apq__format("%s/kernel.so", at->folder);
  at->log = apq__format("%s/log", at->folder);
  if (at->source && at->object && at->log) return APQ_OK;
  close_workplace(at);
  return apq__fail(error, APQ_OUT_OF_MEMORY, "compile", "no memory for a path");
}

static char *read_log(const char *path) {
  char *log = NULL;
  size_t size = 0;
  if (apq__read_file(path, &log, &size, NULL) == APQ_OK && size) return log;
  apq__free(log);
  return NULL;
}

/* PROGRAM OPTIONS... -o OBJECT; `words` holds the options while they are used. */
static void list_arguments(const char *program, char words[sizeof options], const char *object,
                           const char *arguments[ARGUMENTS_MAX]) {
  int count = 0;
  char *rest = NULL;
  arguments[count++] = program;
  memcpy(words, options, sizeof options);
  for (char *word = strtok_r(words, " ", &rest); word && count < ARGUMENTS_MAX - 3;
       word = strtok_r(NULL, " ", &rest))
    arguments[count++] = word;
  arguments[count++] = "-o";
  arguments[count++] = object;
  arguments[count] = NULL;
}

apq_status apq__host_compile(const char *source, const apq__target *target, void **image,
                             size_t *size, char **log, apq_error *error) {
  (void)target; /* what differs between targets is in the source */
  workplace at;
  const char *program = program_name(), *arguments[ARGUMENTS_MAX];
  char words[sizeof options], *object = NULL;
  int code = 0;
  *image = NULL;
  *size = 0;
  *log = NULL;
  apq_status status = open_workplace(&at, error);
  if (status != APQ_OK) return status;
  status = apq__write_file(at.source, source, strlen(source), error);
  if (status != APQ_OK) goto cleanup;
  list_arguments(program, words, at.object, arguments);
  status = run(arguments, at.source, at.log, &code, error);
  *log = read_log(at.log);
  if (status != APQ_OK) goto cleanup;
  if (code != 0) {
    status = report_source(program, code, *log, error);
    goto cleanup;
  }
  status = apq__read_file(at.object, &object, size, error);
  *image = object;
cleanup:
  close_workplace(&at);
  return status;
}

/* The answer of the last compiler asked; a program has one, tests have more. */
static struct {
  pthread_mutex_t lock;
  char program[256], version[160];
} asked = {PTHREAD_MUTEX_INITIALIZER, "", ""};

static apq_status ask_version(const char *program, char *text, size_t size, apq_error *error) {
  workplace at;
  int code = 0;
  const char *const arguments[] = {program, "--version", NULL};
  apq_status status = open_workplace(&at, error);
  if (status != APQ_OK) return status;
  status = run(arguments, "/dev/null", at.log, &code, error);
  char *log = read_log(at.log);
  if (status == APQ_OK && (code != 0 || !log))
    status =
        apq__fail(error, APQ_NO_COMPILER, "compile", "'%s --version' gives no version", program);
  if (status == APQ_OK && log) snprintf(text, size, "%.*s", (int)strcspn(log, "\n"), log);
  apq__free(log);
  close_workplace(&at);
  return status;
}

apq_status apq__host_compiler_version(char *text, size_t size, apq_error *error) {
  const char *program = program_name();
  apq_status status = APQ_OK;
  pthread_mutex_lock(&asked.lock);
  if (strcmp(asked.program, program) != 0) {
    asked.program[0] = 0;
    status = ask_version(program, asked.version, sizeof asked.version, error);
    if (status == APQ_OK && strlen(program) < sizeof asked.program)
      snprintf(asked.program, sizeof asked.program, "%s", program);
  }
  if (status == APQ_OK) snprintf(text, size, "%s", asked.version);
  pthread_mutex_unlock(&asked.lock);
  return status;
}
