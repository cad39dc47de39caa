/* A measurement with all it refers to, as one table of fields: the same table packs, digests,
 * exports, imports and stores it. */
#ifndef APQ_DB_RECORD_H
#define APQ_DB_RECORD_H

#include <stddef.h>

#include "db.h"

typedef enum apq__field_kind {
  APQ__FIELD_TEXT,    /* char[size] */
  APQ__FIELD_INT,     /* int */
  APQ__FIELD_UINT,    /* unsigned */
  APQ__FIELD_INT64,   /* int64_t */
  APQ__FIELD_REAL,    /* double */
  APQ__FIELD_PROBLEM, /* apq__problem */
  APQ__FIELD_CONFIG,  /* apq__config */
} apq__field_kind;

/* One member of a struct. */
typedef struct apq__field {
  const char *name;
  apq__field_kind kind;
  size_t offset, size;
} apq__field;

enum {
  APQ__DIGEST_SIZE = 16,
  APQ__RECORD_MAX = 4096, /* more than all fields at their longest */
};

/* The fields of an apq__winner, in the order of the columns of the view `winner`; those of an
 * apq__failure; those of an apq__tuned_row. */
extern const apq__field apq__winner_fields[];
extern const int apq__winner_field_count;
extern const apq__field apq__failure_fields[];
extern const int apq__failure_field_count;
extern const apq__field apq__tuned_fields[];
extern const int apq__tuned_field_count;

/* A row of the table `tuned`. */
typedef struct apq__tuned_row {
  char gpu[64];
  int sm_count;
  char arch[12];
  apq__problem problem;
  char objective[12];
  char space[256];
  char space_hash[65];
  int64_t unix_time;
} apq__tuned_row;

/* Canonical texts, faster than the parsers of config.h, which take any order.  0 when the text is
 * not exactly what apq__config_key or apq__problem_key writes. */
int apq__canonical_config(const char *text, size_t length, apq__config *out);
int apq__canonical_problem(const char *text, size_t length, apq__problem *out);

/* A packed row: little-endian numbers, texts with their length before them. */
typedef struct apq__record {
  size_t size;
  unsigned char data[APQ__RECORD_MAX];
} apq__record;
void apq__record_pack(const apq__field *fields, int count, const void *row, apq__record *out);
/* 0 when the bytes are not what apq__record_pack makes of some row. */
int apq__record_unpack(const apq__field *fields, int count, const void *data, size_t size,
                       void *row);

/* Appends a checksum that any one changed bit changes, and the reverse: 0 when it does not fit. */
void apq__record_seal(apq__record *record);
int apq__record_open(const void *data, size_t *size);

/* First bytes of the SHA-256 of a record and, for a failure, its log (NULL for none): the row's
 * name in every database. */
void apq__record_digest(const apq__record *record, const char *log,
                        unsigned char digest[APQ__DIGEST_SIZE]);

#endif
