/* The worker process: compiles candidates, or holds the device, for a tuner that outlives its
 * crashes. */
#ifndef APQ_WORKER_H
#define APQ_WORKER_H

#include "compile.h"
#include "device.h"
#include "packers.h"

/* A program that tunes must, when its only argument is this, return apq__worker_main() from main()
 * before anything else. */
#define APQ__WORKER_VERB "--worker"

/* Serves the coordinator on file descriptor APQ__WORKER_FD until it closes its end; returns the
 * exit status.  The worker is killed when its parent dies. */
enum { APQ__WORKER_FD = 3 };
int apq__worker_main(void);

/* What a worker calls for device and compiler; apq__worker_main uses those of device.h and
 * compile.h. */
typedef struct apq__worker_hooks {
  apq_status (*open)(const char *name, apq__device **out, apq_error *error);
  apq_status (*compile)(const char *source, const apq__target *target, const char *cache_dir,
                        apq__object *out, apq_error *error);
  apq_status (*compiler_version)(const apq__target *target, char *text, size_t size,
                                 apq_error *error);
  apq__generate_fn *generate; /* of the kernels that pack in front of candidates */
} apq__worker_hooks;
int apq__worker_serve(const apq__worker_hooks *hooks);

#endif
