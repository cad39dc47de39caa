#include "parallel.h"

#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

enum { WORKERS_MAX = 16 };

int apq__parallel_workers(int count, int grain) {
  long most = sysconf(_SC_NPROCESSORS_ONLN);
  if (most > WORKERS_MAX) most = WORKERS_MAX;
  if (most > count / grain) most = count / grain;
  return most < 1 ? 1 : (int)most;
}

typedef struct range {
  void (*body)(void *user, int worker, int begin, int end);
  void *user;
  pthread_t thread;
  int worker, begin, end;
  int has_thread;
} range;

static void *run_range(void *argument) {
  const range *r = argument;
  r->body(r->user, r->worker, r->begin, r->end);
  return NULL;
}

void apq__parallel(int workers, int count, void (*body)(void *user, int worker, int begin, int end),
                   void *user) {
  range ranges[WORKERS_MAX];
  if (workers > WORKERS_MAX) workers = WORKERS_MAX;
  for (int i = 0; i < workers; i++) {
    range *r = &ranges[i];
    *r = (range){.body = body, .user = user, .worker = i};
    r->begin = (int)((int64_t)count * i / workers);
    r->end = (int)((int64_t)count * (i + 1) / workers);
    /* The last range is the caller's own. */
    if (i < workers - 1) r->has_thread = pthread_create(&r->thread, NULL, run_range, r) == 0;
    if (!r->has_thread) run_range(r);
  }
  for (int i = 0; i < workers; i++)
    if (ranges[i].has_thread) pthread_join(ranges[i].thread, NULL);
}
