/* The winners of the databases that matter on one device, in memory: read once when a context
 * opens, immutable after. */
#ifndef APQ_WINNER_TABLE_H
#define APQ_WINNER_TABLE_H

#include "config.h"
#include "db.h"
#include "target.h"

/* One tuned kernel. */
typedef struct apq__tuned {
  apq__problem problem;
  char *config;   /* canonical text */
  char gpu[64];   /* where it was tuned */
  int same_gpu;   /* 1: on this GPU model; 0: on another of this arch */
  int database;   /* the number its reader gave; lower ones shadow higher ones */
  int modelled;   /* its time is the cost model's (emulated devices only) */
  double seconds; /* median */
  char objective[12];
  char artifact[65]; /* id of its compiled object, or "" */
} apq__tuned;

/* Start it zeroed.  Sorted by p, q, out, group, in, same_gpu (descending), then the rest. */
typedef struct apq__winner_table {
  apq__tuned *row;
  int count, capacity;
  int stale;   /* rows left out: their template changed since */
  int foreign; /* rows left out: of the other kind of device, or modelled on a real one */
} apq__winner_table;

/* Adds one winner, unless it does not apply to `target`: another arch, an emulated winner on a real
 * GPU or the reverse, or a variant hash that is not that of today's template.  Only OUT_OF_MEMORY
 * fails. */
apq_status apq__winner_table_add(apq__winner_table *table, const apq__winner *winner, int database,
                                 const apq__target *target, apq_error *error);

/* Adds the winners of a database.  Rows already added stay when it fails. */
apq_status apq__winner_table_read(apq__winner_table *table, apq__db *db, int database,
                                  const apq__target *target, apq_error *error);

/* Sorts, and keeps one row of each problem and GPU: the lowest database number, then objective
 * "burst", then the lowest median, then the smaller key.  Call it once, after the last addition. */
void apq__winner_table_seal(apq__winner_table *table);

/* The rows of the problem's p, q, out, group and in: *first, and their number. */
int apq__winner_table_range(const apq__winner_table *table, const apq__problem *problem,
                            int *first);

void apq__winner_table_free(apq__winner_table *table);

#endif
