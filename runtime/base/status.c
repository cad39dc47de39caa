#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"

static const char *const names[] = {
#define APQ_STATUS_NAME(name, text) #name,
    APQ_STATUS_MAP(APQ_STATUS_NAME)
#undef APQ_STATUS_NAME
};

static const char *const texts[] = {
#define APQ_STATUS_TEXT(name, text) text,
    APQ_STATUS_MAP(APQ_STATUS_TEXT)
#undef APQ_STATUS_TEXT
};

static int is_known(apq_status status) {
  return (unsigned)status < (unsigned)APQ_STATUS_COUNT;
}

const char *apq_status_name(apq_status status) {
  return is_known(status) ? names[status] : "UNKNOWN";
}

const char *apq_status_text(apq_status status) {
  return is_known(status) ? texts[status] : "unknown status";
}

const char *apq_version(void) {
#define APQ_TEXT_OF(x) #x
#define APQ_TEXT(x)    APQ_TEXT_OF(x)
  return APQ_TEXT(APQ_VERSION_MAJOR) "." APQ_TEXT(APQ_VERSION_MINOR) "." APQ_TEXT(
      APQ_VERSION_PATCH);
}

void apq_error_clear(apq_error *error) {
  if (!error) return;
  apq__free(error->log);
  *error = (apq_error)APQ_ERROR_INIT;
}

apq_status(apq__fail)(apq_error *error, apq_status status, const char *stage, const char *format,
                      ...) {
  if (!error) return status;
  /* The message is built before the old one is cleared: an argument may point into it. */
  char message[sizeof error->message];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  apq_error_clear(error);
  error->status = status;
  snprintf(error->stage, sizeof error->stage, "%s", stage);
  memcpy(error->message, message, sizeof message);
  return status;
}

void apq__error_take_log(apq_error *error, char *log) {
  if (!error) {
    apq__free(log);
    return;
  }
  apq__free(error->log);
  error->log = log;
}

void apq__error_prefix(apq_error *error, const char *format, ...) {
  if (!error) return;
  char prefixed[sizeof error->message];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(prefixed, sizeof prefixed, format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= sizeof prefixed) return;
  snprintf(prefixed + length, sizeof prefixed - (size_t)length, ": %s", error->message);
  memcpy(error->message, prefixed, sizeof prefixed);
}

apq_status apq__status_from_errno(int code) {
  switch (code) {
  case ENOENT:
    return APQ_NOT_FOUND;
  case EACCES:
  case EPERM:
  case EROFS:
    return APQ_READ_ONLY;
  case ENOMEM:
    return APQ_OUT_OF_MEMORY;
  default:
    return APQ_IO;
  }
}
