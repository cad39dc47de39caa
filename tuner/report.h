/* What a database says about tuned problems, and how the cost model would have ordered them. */
#ifndef APQ_REPORT_H
#define APQ_REPORT_H

#include "cli.h"

/* One kernel of a run. */
typedef struct apq__report_kernel {
  char family[APQ__WORD_MAX];
  char *key;      /* canonical text of the config */
  char *name;     /* as apq__print_config gives it */
  double seconds; /* median, as measured; modelled in an emulated environment */
  double cost;    /* apq__config_cost; NaN when today's generator refuses the kernel */
} apq__report_kernel;

/* A GPU, problem and objective: its winner, and all kernels of the run that gave the winner,
 * fastest first.  Times of different runs are not comparable. */
typedef struct apq__report_entry {
  apq__winner winner;
  int is_current; /* 0: the winner's template has changed since */
  apq__report_kernel *kernel;
  int count, capacity;
  /* Comparison with the model, over the kernels that have a cost.
   */
  double correlation;  /* Spearman's; NaN when there is none */
  int place;           /* of the winner in the model's order, from 1; equal costs share the first of
                          their places; 0 when it has no cost */
  int choice;          /* kernel that the model puts first, of equals the smallest key; -1: none */
  double choice_ratio; /* its time, divided by the winner's; NaN without a choice */
} apq__report_entry;

/* Sorted by GPU, objective, bits, n, k, output, group and m. */
typedef struct apq__report {
  apq__report_entry *entry;
  int count, capacity;
} apq__report;

/* Reads what the options select: of the GPU of --device when given, else of every GPU.  Winners of
 * changed templates take part where there is none of the present one.  The model's target is the
 * device when it is the GPU that was measured, else the emulated one of the same arch with as many
 * SMs.  Errors are those of the database, the device and the options. */
apq_status apq__report_read(const apq__cli *cli, apq__db *db, apq__report *out, apq_error *error);
void apq__report_free(apq__report *report);

/* Tera-operations a second: two for each multiplication of codes. */
double apq__report_tops(const apq__report_entry *entry);
/* Whether both differ in nothing but m. */
int apq__report_is_same_group(const apq__report_entry *a, const apq__report_entry *b);

#endif
