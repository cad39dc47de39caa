#include "cuda_impl.h"

#include <stdio.h>

#include "status.h"

/* Compute capability -> the arch that sources are compiled for, newest first.  A capability without
 * a row takes the nearest lower one of its major version, whose cubins it runs (8.7 runs
 * sm_86, 10.3 runs sm_100, 12.1 runs sm_120).  sm_90a is the exception that no other capability
 * runs, but 9.0 is the only 9.x there is. */
static const struct {
  int cc;
  const char *arch;
} arches[] = {{120, "sm_120"}, {100, "sm_100"}, {90, "sm_90a"}, {89, "sm_89"},
              {86, "sm_86"},   {80, "sm_80"},   {75, "sm_75"}};

/* Share of the memory's nominal rate that a copy reaches: 4.28 of 4.92 TB/s on an H200. */
static const double dram_efficiency = 0.87;

const char *apq__cuda_arch(int cc, int *arch_cc) {
  for (size_t i = 0; i < sizeof arches / sizeof arches[0]; i++) {
    if (arches[i].cc > cc || arches[i].cc / 10 != cc / 10) continue;
    *arch_cc = arches[i].cc;
    return arches[i].arch;
  }
  return NULL;
}

/* The clock and memory rate.  The driver gives the boost clock, which a power-limited GPU does not
 * hold: where the table has a slower one for this arch, that is the one its rates were taken at.
 * The memory rate is nominal (two transfers a clock). */
static void fill_speeds(apq__target *target, int clock_khz, int memory_khz, int bus_bits) {
  apq__target row;
  int known = apq__target_emulated(target->arch, &row, NULL) == APQ_OK;
  target->clock_hz = clock_khz * 1e3;
  if (known && (clock_khz <= 0 || row.clock_hz < target->clock_hz)) target->clock_hz = row.clock_hz;
  if (memory_khz > 0 && bus_bits > 0)
    target->dram_bytes_per_s = dram_efficiency * 2.0 * memory_khz * 1e3 * (bus_bits / 8.0);
  else if (known)
    target->dram_bytes_per_s = row.dram_bytes_per_s;
  apq__target_fill_rates(target);
}

apq_status apq__cuda_target(const apq__cuda_driver *driver, CUdevice device, apq__target *out,
                            apq_error *error) {
  int major = 0, minor = 0, l2 = 0, clock_khz = 0, memory_khz = 0, bus_bits = 0;
  size_t memory = 0;
  *out = (apq__target){0};
  const struct {
    CUdevice_attribute attribute;
    int *value;
    int required;
  } rows[] = {
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major, 1},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor, 1},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &out->sm_count, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &out->smem_per_block, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, &out->smem_per_sm, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, &out->regs_per_sm, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, &out->threads_per_sm, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, &out->blocks_per_sm, 1},
      {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &l2, 1},
      /* Deprecated: a newer driver may stop giving them. */
      {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, &clock_khz, 0},
      {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, &memory_khz, 0},
      {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, &bus_bits, 0},
  };
  apq_status status = APQ_OK;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    CUresult result = driver->DeviceGetAttribute(rows[i].value, rows[i].attribute, device);
    if (result != CUDA_SUCCESS && !rows[i].required) {
      *rows[i].value = 0;
      continue;
    }
    status = apq__cuda_check(driver, result, "cuDeviceGetAttribute", error);
    if (status) return status;
  }
  status = APQ__CUDA_CALL(driver, error, DeviceGetName, out->name, (int)sizeof out->name, device);
  if (!status) status = APQ__CUDA_CALL(driver, error, DeviceTotalMem, &memory, device);
  if (status) return status;
  const char *arch = apq__cuda_arch(major * 10 + minor, &out->cc);
  if (!arch)
    return apq__fail(error, APQ_UNSUPPORTED, "device",
                     "%s has compute capability %d.%d, for which there are no kernels", out->name,
                     major, minor);
  snprintf(out->arch, sizeof out->arch, "%s", arch);
  snprintf(out->driver, sizeof out->driver, "%d.%d", driver->version / 1000,
           driver->version % 1000 / 10);
  out->l2_bytes = l2;
  out->mem_bytes = (int64_t)memory;
  fill_speeds(out, clock_khz, memory_khz, bus_bits);
  return APQ_OK;
}
