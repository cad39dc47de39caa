#include "cuda_nvml.h"

#include <pthread.h>

#include "library.h"

/* The few functions in use, declared here: nvml.h is a separate package that many toolkits lack,
 * and this interface is frozen. */
typedef struct nvml_device *nvml_device;
enum { NVML_OK = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_TEMPERATURE_GPU = 0 };

#define APQ__NVML_FUNCTIONS(X)                                                                     \
  X(init, "nvmlInit_v2", (void))                                                                   \
  X(device_by_bus_id, "nvmlDeviceGetHandleByPciBusId_v2", (const char *bus_id, nvml_device *))     \
  X(clock, "nvmlDeviceGetClockInfo", (nvml_device, int type, unsigned *mhz))                       \
  X(temperature, "nvmlDeviceGetTemperature", (nvml_device, int sensor, unsigned *celsius))         \
  X(throttle, "nvmlDeviceGetCurrentClocksThrottleReasons",                                         \
    (nvml_device, unsigned long long *reasons))

static const char *const names[] = {"libnvidia-ml.so.1", NULL};
static const char *const symbols[] = {
#define APQ__NVML_SYMBOL(field, symbol, parameters) symbol,
    APQ__NVML_FUNCTIONS(APQ__NVML_SYMBOL)
#undef APQ__NVML_SYMBOL
        NULL};
static const apq__library_desc library = {
    .what = "NVML",
    .hint = "it comes with the NVIDIA driver",
    .variable = APQ__VAR_COUNT,
    .names = names,
    .symbols = symbols,
    .status = APQ_NOT_FOUND,
    .stage = "device",
};

/* Written once under `once`, read ever after. */
static struct {
#define APQ__NVML_FIELD(field, symbol, parameters) int(*field) parameters;
  APQ__NVML_FUNCTIONS(APQ__NVML_FIELD)
#undef APQ__NVML_FIELD
  int usable;
} nvml;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  nvml.usable = apq__library_load(&library, &nvml, NULL) == APQ_OK && nvml.init() == NVML_OK;
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
