/* What coordinator and worker say to each other over a socket pair: framed messages of typed
 * fields.  Both ends are the same build, so numbers travel in the host's own form.  The worker
 * answers every command with one REPLY, in order. */
#ifndef APQ_WORKER_PROTOCOL_H
#define APQ_WORKER_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#include "apq.h"

/* Commands, their fields, and what a successful REPLY carries. */
typedef enum apq__message_kind {
  APQ__MSG_REPLY,   /* status i32; then, unless OK: stage, message, log texts */
  APQ__MSG_HELLO,   /* first word of a worker: the version below, i32 */
  APQ__MSG_OPEN,    /* device name text -> apq__target bytes, compiler version text */
  APQ__MSG_COMPILE, /* target bytes, cache dir text ("": none), source text -> object bytes, sha256
                       text */
  APQ__MSG_PROBLEM, /* problem key text, seed i64, objective text, cache directory text -> nothing;
                       forgets what was loaded */
  APQ__MSG_LOAD,    /* id i32, config key text, object bytes -> nothing */
  APQ__MSG_VERIFY,  /* id i32, skip small shapes i32 -> 1 when it proves that all verified since
                       PROBLEM are wrong, i32 */
  APQ__MSG_SAMPLE,  /* id i32 -> seconds of one launch f64, apq__clock_state bytes */
  APQ__MSG_UNLOAD,  /* id i32 -> nothing */
  APQ__MSG_COUNT
} apq__message_kind;

enum { APQ__PROTOCOL_VERSION = 2 };
/* A longer frame is not one of ours. */
#define APQ__MESSAGE_MAX ((size_t)1 << 28)

/* "compile", "load", ...: what a worker was doing, for failure records. */
const char *apq__message_name(apq__message_kind kind);

/* Growing bytes; start them zeroed.  After a failed append `failed` stays set and later ones do
 * nothing. */
typedef struct apq__bytes {
  unsigned char *data;
  size_t length, capacity;
  int failed;
} apq__bytes;
void apq__bytes_add(apq__bytes *bytes, const void *data, size_t size);
void apq__bytes_free(apq__bytes *bytes);

/* Writing: append fields to bytes started as {0}. */
void apq__put_i32(apq__bytes *body, int32_t value);
void apq__put_i64(apq__bytes *body, int64_t value);
void apq__put_f64(apq__bytes *body, double value);
void apq__put_bytes(apq__bytes *body, const void *data, size_t size);
void apq__put_string(apq__bytes *body, const char *text);
/* The body of a REPLY: the status and, unless OK, the error's fields. */
void apq__put_status(apq__bytes *body, apq_status status, const apq_error *error);

/* Sends one frame; waits for room until `deadline` (apq__now; 0: for ever).  TIMEOUT, IO when the
 * other end is gone. */
apq_status apq__message_send(int fd, apq__message_kind kind, const apq__bytes *body,
                             double deadline, apq_error *error);

/* Reading.  `data` is owned. */
typedef struct apq__message {
  apq__message_kind kind;
  unsigned char *data;
  size_t size, at;
  int bad; /* set once a field did not fit; later fields read as zero */
} apq__message;

/* Blocks for one frame.  NOT_FOUND at end of file between frames, CORRUPT for what is no frame. */
apq_status apq__message_receive(int fd, apq__message *out, apq_error *error);
/* Takes one whole frame off the front of collected bytes: 1 when there was one, 0 when more is
 * needed, -1 when it is no frame or memory is short. */
int apq__message_take(apq__bytes *inbox, apq__message *out);
void apq__message_free(apq__message *message);

int32_t apq__get_i32(apq__message *message);
int64_t apq__get_i64(apq__message *message);
double apq__get_f64(apq__message *message);
/* Borrowed from the message; NULL with size 0 when it does not fit. */
const void *apq__get_bytes(apq__message *message, size_t *size);
/* Copies bytes that must be exactly `size` long. */
void apq__get_struct(apq__message *message, void *out, size_t size);
/* Borrowed, zero-terminated; "" when it does not fit. */
const char *apq__get_string(apq__message *message);
/* Reads what apq__put_status wrote: returns the status and fills `error`.  CORRUPT when it is not
 * that. */
apq_status apq__get_status(apq__message *message, apq_error *error);

#endif
