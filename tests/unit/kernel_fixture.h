/* What the programs that sweep kernels over an emulated device share. */
#ifndef KERNEL_FIXTURE_H
#define KERNEL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../kernel_sweep.h"
#include "alloc.h"
#include "device.h"
#include "host.h"
#include "verify.h"

static inline apq__device *open_device(const char *name) {
  apq__device *device = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__device_open(name, &device, &error)) fail_msg("%s: %s", name, error.message);
  return device;
}

static inline void verify(apq__device *device, const apq__config *config) {
  char key[APQ__KEY_MAX];
  char *cache = apq__cache_dir();
  apq_error error = APQ_ERROR_INIT;
  apq__verify_report report = {0};
  if (apq__verify_config(device, config, NULL, cache, 20260901, &report, &error))
    fail_msg("%s on %s: %s\n%s", apq__config_key(config, key), device->target.arch, error.message,
             error.log ? error.log : "");
  assert_true(report.products > 0 && report.outputs > 0);
  apq__free(cache);
}

/* Returns how many pairs the kind has no config for.  `sm_count` 0: as the device has them. */
static inline int sweep_on(const sweep_kind *kind, const char *device_name, int sm_count,
                           int step) {
  apq__device *device = open_device(device_name);
  if (sm_count) device->target.sm_count = sm_count;
  int missing = 0;
  for (int pair = 0; pair < 64; pair += step) {
    apq__config config;
    if (sweep_config(kind, pair / 8 + 1, pair % 8 + 1, 0, &device->target, &config))
      verify(device, &config);
    else
      missing++;
  }
  apq__device_close(device);
  return missing;
}

static inline int sweep(const sweep_kind *kind, const char *device_name, int step) {
  return sweep_on(kind, device_name, 0, step);
}

#endif
