#include "worker_protocol.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "alloc.h"
#include "host.h"
#include "status.h"

typedef struct frame_head {
  uint32_t kind, size;
} frame_head;

const char *apq__message_name(apq__message_kind kind) {
  static const char *const names[APQ__MSG_COUNT] = {
      "reply", "start", "open", "compile", "problem", "load", "verify", "sample", "unload"};
  return (unsigned)kind < APQ__MSG_COUNT ? names[kind] : "?";
}

void apq__bytes_add(apq__bytes *bytes, const void *data, size_t size) {
  if (bytes->failed || size == 0) return;
  size_t need = bytes->length + size;
  if (need > bytes->capacity) {
    size_t capacity = need < 256 ? 256 : need * 2;
    unsigned char *grown = apq__realloc(bytes->data, capacity);
    if (!grown) {
      bytes->failed = 1;
      return;
    }
    bytes->data = grown;
    bytes->capacity = capacity;
  }
  memcpy(bytes->data + bytes->length, data, size);
  bytes->length = need;
}

void apq__bytes_free(apq__bytes *bytes) {
  apq__free(bytes->data);
  *bytes = (apq__bytes){0};
}

void apq__put_bytes(apq__bytes *body, const void *data, size_t size) {
  uint64_t length = size;
  apq__bytes_add(body, &length, sizeof length);
  apq__bytes_add(body, data, size);
}

void apq__put_i32(apq__bytes *body, int32_t value) {
  apq__bytes_add(body, &value, sizeof value);
}

void apq__put_i64(apq__bytes *body, int64_t value) {
  apq__bytes_add(body, &value, sizeof value);
}

void apq__put_f64(apq__bytes *body, double value) {
  apq__bytes_add(body, &value, sizeof value);
}

void apq__put_string(apq__bytes *body, const char *text) {
  apq__put_bytes(body, text ? text : "", strlen(text ? text : "") + 1);
}

void apq__put_status(apq__bytes *body, apq_status status, const apq_error *error) {
  apq__put_i32(body, (int32_t)status);
  if (status == APQ_OK) return;
  apq__put_string(body, error->stage);
  apq__put_string(body, error->message);
  apq__put_string(body, error->log);
}

/* ---- sending ---- */

static apq_status send_all(int fd, const void *data, size_t size, double deadline,
                           apq_error *error) {
  const char *at = data;
  while (size > 0) {
    ssize_t sent = send(fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      at += sent;
      size -= (size_t)sent;
      continue;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
      return apq__fail(error, APQ_IO, "worker", "cannot write to the other process: %s",
                       strerror(errno));
    if (deadline > 0 && apq__now() > deadline)
      return apq__fail(error, APQ_TIMEOUT, "worker", "the other process does not read");
    struct pollfd wait = {fd, POLLOUT, 0};
    poll(&wait, 1, 100);
  }
  return APQ_OK;
}

apq_status apq__message_send(int fd, apq__message_kind kind, const apq__bytes *body,
                             double deadline, apq_error *error) {
  size_t size = body ? body->length : 0;
  if (body && body->failed)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "worker", "no memory for a message");
  if (size > APQ__MESSAGE_MAX)
    return apq__fail(error, APQ_OUT_OF_RANGE, "worker", "a message of %zu bytes is too long", size);
  frame_head head = {(uint32_t)kind, (uint32_t)size};
  apq_status status = send_all(fd, &head, sizeof head, deadline, error);
  if (status == APQ_OK && size > 0) status = send_all(fd, body->data, size, deadline, error);
  return status;
}

/* ---- receiving ---- */

static apq_status receive_all(int fd, void *data, size_t size, size_t *got, apq_error *error) {
  *got = 0;
  while (*got < size) {
    ssize_t count = recv(fd, (char *)data + *got, size - *got, 0);
    if (count > 0) {
      *got += (size_t)count;
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count == 0)
      return apq__fail(error, APQ_NOT_FOUND, "worker", "the other process closed the connection");
    return apq__fail(error, APQ_IO, "worker", "cannot read from the other process: %s",
                     strerror(errno));
  }
  return APQ_OK;
}

static int head_is_valid(const frame_head *head) {
  return head->kind < APQ__MSG_COUNT && head->size <= APQ__MESSAGE_MAX;
}

apq_status apq__message_receive(int fd, apq__message *out, apq_error *error) {
  frame_head head;
  size_t got;
  *out = (apq__message){0};
  apq_status status = receive_all(fd, &head, sizeof head, &got, error);
  if (status == APQ_NOT_FOUND && got > 0) goto torn;
  if (status != APQ_OK) return status;
  if (!head_is_valid(&head)) goto torn;
  out->kind = (apq__message_kind)head.kind;
  out->size = head.size;
  out->data = apq__alloc(out->size + 1);
  if (!out->data) return apq__fail(error, APQ_OUT_OF_MEMORY, "worker", "no memory for a message");
  status = receive_all(fd, out->data, out->size, &got, error);
  if (status == APQ_OK) return APQ_OK;
  apq__message_free(out);
  if (status != APQ_NOT_FOUND) return status;
torn:
  return apq__fail(error, APQ_CORRUPT, "worker", "the other process sent what is not a message");
}

int apq__message_take(apq__bytes *inbox, apq__message *out) {
  frame_head head;
  *out = (apq__message){0};
  if (inbox->failed) return -1;
  if (inbox->length < sizeof head) return 0;
  memcpy(&head, inbox->data, sizeof head);
  if (!head_is_valid(&head)) return -1;
  size_t whole = sizeof head + head.size;
  if (inbox->length < whole) return 0;
  out->kind = (apq__message_kind)head.kind;
  out->size = head.size;
  out->data = apq__alloc(out->size + 1);
  if (!out->data) return -1;
  memcpy(out->data, inbox->data + sizeof head, out->size);
  inbox->length -= whole;
  memmove(inbox->data, inbox->data + whole, inbox->length);
  return 1;
}

void apq__message_free(apq__message *message) {
  if (!message) return;
  apq__free(message->data);
  *message = (apq__message){0};
}

static const void *take_raw(apq__message *message, size_t size) {
  if (message->bad || message->size - message->at < size) {
    message->bad = 1;
    return NULL;
  }
  const void *field = message->data + message->at;
  message->at += size;
  return field;
}

static void take_copy(apq__message *message, void *out, size_t size) {
  const void *field = take_raw(message, size);
  if (field)
    memcpy(out, field, size);
  else
    memset(out, 0, size);
}

int32_t apq__get_i32(apq__message *message) {
  int32_t value;
  take_copy(message, &value, sizeof value);
  return value;
}

int64_t apq__get_i64(apq__message *message) {
  int64_t value;
  take_copy(message, &value, sizeof value);
  return value;
}

double apq__get_f64(apq__message *message) {
  double value;
  take_copy(message, &value, sizeof value);
  return value;
}

const void *apq__get_bytes(apq__message *message, size_t *size) {
  uint64_t length;
  take_copy(message, &length, sizeof length);
  *size = 0;
  if (length > APQ__MESSAGE_MAX) message->bad = 1;
  const void *field = message->bad ? NULL : take_raw(message, (size_t)length);
  if (field) *size = (size_t)length;
  return field;
}

void apq__get_struct(apq__message *message, void *out, size_t size) {
  size_t length;
  const void *field = apq__get_bytes(message, &length);
  if (field && length == size) {
    memcpy(out, field, size);
    return;
  }
  message->bad = 1;
  memset(out, 0, size);
}

const char *apq__get_string(apq__message *message) {
  size_t length;
  const char *field = apq__get_bytes(message, &length);
  if (field && length > 0 && field[length - 1] == 0) return field;
  message->bad = 1;
  return "";
}

apq_status apq__get_status(apq__message *message, apq_error *error) {
  int32_t code = apq__get_i32(message);
  if (message->kind != APQ__MSG_REPLY || message->bad || code < 0 || code >= APQ_STATUS_COUNT)
    return apq__fail(error, APQ_CORRUPT, "worker", "the worker's answer is not a reply");
  if (code == APQ_OK) return APQ_OK;
  const char *stage = apq__get_string(message);
  const char *text = apq__get_string(message);
  const char *log = apq__get_string(message);
  if (message->bad)
    return apq__fail(error, APQ_CORRUPT, "worker", "the worker's answer is cut short");
  apq__fail(error, (apq_status)code, stage, "%s", text);
  if (*log) apq__error_take_log(error, apq__strdup(log));
  return (apq_status)code;
}
