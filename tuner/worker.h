/* The worker process: compiles candidates, or holds the device, for a tuner that outlives its
 * crashes. */
#ifndef APQ_WORKER_H
#define APQ_WORKER_H

/* A program that tunes must, when its only argument is this, return apq__worker_main() from main()
 * before anything else. */
#define APQ__WORKER_VERB "--worker"

/* Serves the coordinator on file descriptor APQ__WORKER_FD until it closes its end; returns the
 * exit status.  The worker is killed when its parent dies. */
enum { APQ__WORKER_FD = 3 };
int apq__worker_main(void);

#endif
