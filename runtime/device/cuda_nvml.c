#include "cuda_nvml.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

/* The few functions in use, declared here: nvml.h is a separate package that many toolkits lack,
 * and this interface is frozen. */
typedef struct nvml_device *nvml_device;
enum { NVML_OK = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_TEMPERATURE_GPU = 0 };

static struct {
  int (*device_by_bus_id)(const char *, nvml_device *);
  int (*clock)(nvml_device, int type, unsigned *mhz);
  int (*temperature)(nvml_device, int sensor, unsigned *celsius);
  int (*throttle)(nvml_device, unsigned long long *reasons);
  int usable;
} nvml;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* POSIX gives functions as data pointers; copying the bytes is the conversion C allows. */
static int find(void *library, const char *symbol, void *function) {
  void *address = dlsym(library, symbol);
  memcpy(function, &address, sizeof address);
  return address != NULL;
}

static void load(void) {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  int (*init)(void) = NULL;
  if (!find(library, "nvmlInit_v2", &init) ||
      !find(library, "nvmlDeviceGetHandleByPciBusId_v2", &nvml.device_by_bus_id) ||
      !find(library, "nvmlDeviceGetClockInfo", &nvml.clock) ||
      !find(library, "nvmlDeviceGetTemperature", &nvml.temperature) ||
      !(find(library, "nvmlDeviceGetCurrentClocksEventReasons", &nvml.throttle) ||
        find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", &nvml.throttle)))
    return;
  nvml.usable = init() == NVML_OK;
}

void apq__nvml_state(const char *bus_id, apq__clock_state *out) {
  *out = (apq__clock_state){0};
  pthread_once(&once, load);
  nvml_device device = NULL;
  if (!nvml.usable || nvml.device_by_bus_id(bus_id, &device) != NVML_OK) return;
  unsigned value = 0;
  unsigned long long reasons = 0;
  if (nvml.clock(device, NVML_CLOCK_SM, &value) == NVML_OK) out->sm_mhz = (int)value;
  if (nvml.clock(device, NVML_CLOCK_MEM, &value) == NVML_OK) out->mem_mhz = (int)value;
  if (nvml.temperature(device, NVML_TEMPERATURE_GPU, &value) == NVML_OK)
    out->temperature_c = (int)value;
  if (nvml.throttle(device, &reasons) == NVML_OK) out->throttle_reasons = (unsigned)reasons;
}
