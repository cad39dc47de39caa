/* Timing on a GPU, as the tuner and the benchmark both do it: every launch on other operands than
 * the last, over more memory than the L2 holds twice; launches replayed from a graph; one sample of
 * one subject at a time, so that the caller can interleave subjects. */
#ifndef APQ_MEASURE_H
#define APQ_MEASURE_H

#include "device.h"
#include "problem_data.h"

/* Copies of one problem's operands that launches rotate through.  Set 0 is the data itself. */
enum { APQ__SETS_MAX = 200 };
typedef struct apq__rotation {
  apq__device_data *data;
  int count;
  void *w[APQ__SETS_MAX], *a[APQ__FORM_COUNT][APQ__SETS_MAX], *y[APQ__SETS_MAX];
  /* In place of packed activations, which each launch makes anew, the rows they are made from. */
  void *x[APQ__SETS_MAX];
} apq__rotation;

/* The activations of a set that a kernel is launched with (apq__prepared_launch). */
const void *apq__rotation_input(const apq__rotation *rotation, int set, apq__form form);

/* How many sets of `set_bytes` read and written a launch together exceed twice the L2; at least 2,
 * within a quarter of the device's memory. */
int apq__rotation_count(const apq__target *target, size_t set_bytes);
/* `data` must outlive it. */
apq_status apq__rotation_make(apq__device_data *data, apq__rotation *out, apq_error *error);
void apq__rotation_free(apq__rotation *rotation);

/* One thing to time: `launch` queues one product on operand set 0..sets-1 and must be fit for
 * capture. */
typedef struct apq__subject {
  apq_status (*launch)(void *user, int set, void *stream, apq_error *error);
  void *user;
  int sets;
} apq__subject;

/* The stream samples run on, and when the device was last busy. */
typedef struct apq__pace {
  apq__device *device;
  int sustained; /* 0: short bursts with gaps, so that the GPU never throttles; 1: without gaps,
                    after warming up */
  void *stream;
  apq__event *begin, *end;
  double last_end, last_busy;
} apq__pace;

/* `objective` is "burst" or "sustained".  UNSUPPORTED on an emulated device, which has no time. */
apq_status apq__pace_open(apq__device *device, const char *objective, apq__pace *out,
                          apq_error *error);
void apq__pace_close(apq__pace *pace);

/* One subject's recorded launches. */
typedef struct apq__timing {
  apq__graph *graph;
  int launches; /* in one replay */
  int replays;  /* in one sample */
  double estimate;
} apq__timing;

/* Launches it a few times for an estimate and records a replay that covers every set. */
apq_status apq__timing_make(apq__pace *pace, const apq__subject *subject, apq__timing *out,
                            apq_error *error);
void apq__timing_free(apq__pace *pace, apq__timing *timing);

/* One sample: seconds of one launch.  `clocks` may be NULL. */
apq_status apq__timing_sample(apq__pace *pace, apq__timing *timing, double *seconds,
                              apq__clock_state *clocks, apq_error *error);

/* How one sample is made up, from the estimate of one launch: pure. */
void apq__timing_plan(double estimate, int sets, int sustained, int *launches, int *replays);

#endif
