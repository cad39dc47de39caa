#include "cuda_driver.h"

#include <pthread.h>
#include <unistd.h>

#include "library.h"
#include "status.h"

static const char *const names[] = {"libcuda.so.1", NULL};
static const char *const symbols[] = {
#define APQ__CUDA_SYMBOL(field, symbol, parameters) symbol,
    APQ__CUDA_FUNCTIONS(APQ__CUDA_SYMBOL) APQ__CUDA_FUNCTIONS_12(APQ__CUDA_SYMBOL)
#undef APQ__CUDA_SYMBOL
        NULL};
#define APQ__CUDA_ONE(field, symbol, parameters) +1
static const apq__library_desc library = {
    .what = "CUDA driver",
    .hint = "it comes with the NVIDIA driver, 470 or newer",
    .variable = APQ__VAR_COUNT,
    .names = names,
    .symbols = symbols,
    .optional = 0 APQ__CUDA_FUNCTIONS_12(APQ__CUDA_ONE),
    .status = APQ_NO_DEVICE,
    .stage = "device",
};

/* Results that mean something more precise than "the device reported an error". */
static const struct {
  CUresult result;
  apq_status status;
} meanings[] = {
    {CUDA_ERROR_OUT_OF_MEMORY, APQ_OUT_OF_MEMORY},
    {CUDA_ERROR_NO_DEVICE, APQ_NO_DEVICE},
    {CUDA_ERROR_INVALID_DEVICE, APQ_NO_DEVICE},
    {CUDA_ERROR_STUB_LIBRARY, APQ_NO_DEVICE},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, APQ_NO_DEVICE},
    {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, APQ_NO_DEVICE},
    {CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, APQ_NO_DEVICE},
    {CUDA_ERROR_INVALID_IMAGE, APQ_CORRUPT},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, APQ_UNSUPPORTED},
    {CUDA_ERROR_NOT_FOUND, APQ_NOT_FOUND},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, APQ_INFEASIBLE},
    /* Sticky: the context of this process is lost. */
    {CUDA_ERROR_ILLEGAL_ADDRESS, APQ_KERNEL_FAULT},
    {CUDA_ERROR_LAUNCH_TIMEOUT, APQ_KERNEL_FAULT},
    {CUDA_ERROR_ASSERT, APQ_KERNEL_FAULT},
    {CUDA_ERROR_HARDWARE_STACK_ERROR, APQ_KERNEL_FAULT},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, APQ_KERNEL_FAULT},
    {CUDA_ERROR_MISALIGNED_ADDRESS, APQ_KERNEL_FAULT},
    {CUDA_ERROR_INVALID_ADDRESS_SPACE, APQ_KERNEL_FAULT},
    {CUDA_ERROR_INVALID_PC, APQ_KERNEL_FAULT},
    {CUDA_ERROR_LAUNCH_FAILED, APQ_KERNEL_FAULT},
};

static apq_status meaning_of(CUresult result) {
  for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
    if (meanings[i].result == result) return meanings[i].status;
  return APQ_DEVICE;
}

apq_status apq__cuda_check(const apq__cuda_driver *driver, CUresult result, const char *call,
                           apq_error *error) {
  if (result == CUDA_SUCCESS) return APQ_OK;
  const char *name = NULL, *text = NULL;
  if (driver->GetErrorName(result, &name) != CUDA_SUCCESS || !name) name = "unknown CUDA error";
  if (driver->GetErrorString(result, &text) != CUDA_SUCCESS || !text) text = "no description";
  apq_status status = meaning_of(result);
  return apq__fail(error, status, "device", "%s: %s %d (%s)%s", call, name, (int)result, text,
                   status == APQ_KERNEL_FAULT
                       ? "; a kernel failed, and this process cannot use the device any more"
                       : "");
}

/* Written once under `once`, read ever after. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
  apq__cuda_driver driver;
  pid_t process;
  apq_error failure; /* never holds a log */
} loaded;

static void load_driver(void) {
  apq_error *failure = &loaded.failure;
  apq__cuda_driver *driver = &loaded.driver;
  loaded.process = getpid();
  if (apq__library_load(&library, driver, failure)) return;
  apq_status status = APQ__CUDA_CALL(driver, failure, Init, 0);
  if (!status) status = APQ__CUDA_CALL(driver, failure, DriverGetVersion, &driver->version);
  if (!status) return;
  /* Whatever the driver says here, there is no device to work with. */
  failure->status = APQ_NO_DEVICE;
  apq__error_prefix(failure, "the CUDA driver (%s) does not start", names[0]);
}

apq_status apq__cuda_driver_get(const apq__cuda_driver **out, apq_error *error) {
  *out = NULL;
  pthread_once(&once, load_driver);
  if (loaded.failure.status)
    return apq__fail(error, loaded.failure.status, "device", "%s", loaded.failure.message);
  if (loaded.process != getpid())
    return apq__fail(
        error, APQ_DEVICE, "device",
        "CUDA was initialized in process %ld before this process was forked from it: open "
        "CUDA devices only after the fork, or exec",
        (long)loaded.process);
  *out = &loaded.driver;
  return APQ_OK;
}
