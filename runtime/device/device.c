#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "device_impl.h"
#include "host.h"
#include "status.h"

static const char default_emulated[] = "sm_90a";

/* What follows "cuda" or "emu": nothing or ":text".  Returns the text ("" for nothing), NULL when
 * `name` is another. */
static const char *suffix(const char *name, const char *kind) {
  size_t length = strlen(kind);
  if (strncmp(name, kind, length) != 0) return NULL;
  if (name[length] == 0) return "";
  return name[length] == ':' && name[length + 1] ? name + length + 1 : NULL;
}

#ifdef APQ_HAVE_CUDA
static apq_status open_cuda(int ordinal, apq__device **out, apq_error *error) {
  return apq__cuda_open(ordinal, out, error);
}
static int count_cuda(apq_error *error) {
  return apq__cuda_count(error);
}
#else
static apq_status open_cuda(int ordinal, apq__device **out, apq_error *error) {
  (void)out;
  return apq__fail(error, APQ_NO_DEVICE, "device",
                   "no device cuda:%d: this build has no CUDA backend", ordinal);
}
static int count_cuda(apq_error *error) {
  open_cuda(0, NULL, error);
  return 0;
}
#endif

apq_status apq__device_open(const char *name, apq__device **out, apq_error *error) {
  const char *rest;
  *out = NULL;
  if (!name || !*name) name = apq__variable_get(APQ__VAR_DEVICE);
  if (!name) name = count_cuda(NULL) > 0 ? "cuda" : "emu";
  if ((rest = suffix(name, "cuda"))) {
    int ordinal = 0;
    if (*rest && (!apq__parse_int(rest, &ordinal) || ordinal < 0))
      return apq__fail(error, APQ_INVALID_ARGUMENT, "device", "'%s': '%s' is not a GPU's number",
                       name, rest);
    return open_cuda(ordinal, out, error);
  }
  if ((rest = suffix(name, "emu")))
    return apq__emu_open(*rest ? rest : default_emulated, out, error);
  return apq__fail(error, APQ_INVALID_ARGUMENT, "device",
                   "no device is called '%s': it is cuda, cuda:<number>, emu or emu:<arch>", name);
}

void apq__device_close(apq__device *device) {
  if (device) device->ops->close(device);
}

static void add_line(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add_line(char *text, size_t size, const char *format, ...) {
  size_t length = strlen(text);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + length, size - length, format, arguments);
  va_end(arguments);
}

static void list_cuda(char *text, size_t size) {
  apq_error error = APQ_ERROR_INIT;
  int count = count_cuda(&error);
  if (count == 0) add_line(text, size, "cuda: none (%s)\n", error.message);
  for (int i = 0; i < count; i++) {
    apq__device *device = NULL;
    if (open_cuda(i, &device, &error) == APQ_OK)
      add_line(text, size, "cuda:%d %s %s driver %s\n", i, device->target.name, device->target.arch,
               device->target.driver);
    else
      add_line(text, size, "cuda:%d (%s)\n", i, error.message);
    apq__device_close(device);
  }
  apq_error_clear(&error);
}

void apq__device_list(char *text, size_t size) {
  if (!size) return;
  text[0] = 0;
  list_cuda(text, size);
  for (int i = 0; apq__target_arch(i); i++)
    add_line(text, size, "emu:%s%s\n", apq__target_arch(i),
             strcmp(apq__target_arch(i), default_emulated) == 0 ? " (emu)" : "");
}
