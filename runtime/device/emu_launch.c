#include "emu_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "status.h"

void apq__emu_fault(apq__emu *emu, int line, const char *format, ...) {
  char what[300], where[24] = "";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  if (line) snprintf(where, sizeof where, "line %d, ", line);
  const apq_emu *at = &emu->words;
  snprintf(emu->report, sizeof emu->report, "%s: block (%d,%d,%d) thread %d: %s (%sseed %llu)",
           emu->kernel->name, at->block[0], at->block[1], at->block[2], at->thread, what, where,
           (unsigned long long)emu->seed);
  emu->faulted = 1;
  apq__fiber_leave(&emu->home);
}

void apq__emu_blame(apq__emu *emu, const apq__emu_block *block, int thread) {
  for (int i = 0; i < 3; i++) emu->words.block[i] = block->position[i];
  emu->words.thread = thread;
}

/* Clusters and dependent launches came with sm_90. */
static apq_status check_attributes(const apq__emu *emu, const apq__launch *launch,
                                   apq_error *error) {
  const char *name = launch->kernel->name;
  if ((launch->cluster > 1 || launch->dependent) && emu->base.target.cc < 90)
    return apq__fail(error, APQ_INFEASIBLE, "device",
                     "%s: %s has neither clusters nor dependent launches", name,
                     emu->base.target.name);
  if (launch->cluster > APQ__EMU_CLUSTER)
    return apq__fail(error, APQ_KERNEL_FAULT, "device",
                     "%s: a cluster of %u blocks; at most %d are possible", name, launch->cluster,
                     APQ__EMU_CLUSTER);
  if (launch->cluster > 1 && launch->grid[0] % launch->cluster)
    return apq__fail(error, APQ_KERNEL_FAULT, "device",
                     "%s: a grid of %u blocks along x is not made of clusters of %u", name,
                     launch->grid[0], launch->cluster);
  return APQ_OK;
}

static apq_status check_limits(const apq__emu *emu, const apq__launch *launch, apq_error *error) {
  const apq__kernel *kernel = launch->kernel;
  const unsigned *grid = launch->grid;
  const char *name = kernel->name;
  if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffff || grid[1] > 65535 ||
      grid[2] > 65535)
    return apq__fail(error, APQ_KERNEL_FAULT, "device", "%s: a grid of (%u,%u,%u) is not possible",
                     name, grid[0], grid[1], grid[2]);
  if (!launch->threads || launch->threads > (unsigned)kernel->code->max_threads)
    return apq__fail(error, APQ_KERNEL_FAULT, "device",
                     "%s: %u threads, but it is built for at most %d", name, launch->threads,
                     kernel->code->max_threads);
  if (launch->smem_bytes > (unsigned)emu->base.target.smem_per_block ||
      launch->smem_bytes > kernel->smem_bytes)
    return apq__fail(error, APQ_KERNEL_FAULT, "device",
                     "%s: %u bytes of shared memory; it was readied for %zu, and %s has %d", name,
                     launch->smem_bytes, kernel->smem_bytes, emu->base.target.name,
                     emu->base.target.smem_per_block);
  if (launch->args_size != kernel->code->args_size)
    return apq__fail(error, APQ_KERNEL_FAULT, "device", "%s: %zu bytes of arguments instead of %u",
                     name, launch->args_size, kernel->code->args_size);
  return check_attributes(emu, launch, error);
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b) {
  while (b) {
    uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Every cluster once, from a random one on in steps that share no divisor with their number. */
static void run_clusters(apq__emu *emu, const unsigned grid[3]) {
  uint64_t count = (uint64_t)grid[0] * grid[1] * grid[2] / (unsigned)emu->cluster;
  uint64_t cluster = apq__random(&emu->random) % count;
  uint64_t step = 1 + apq__random(&emu->random) % count;
  while (greatest_common_divisor(step, count) != 1) step++;
  for (uint64_t i = 0; i < count && !emu->faulted; i++) {
    apq__emu_run_cluster(emu, (uint32_t)cluster * (uint32_t)emu->cluster);
    cluster = (cluster + step) % count;
  }
}

apq_status apq__emu_launch(apq__emu *emu, const apq__launch *launch, apq_error *error) {
  apq_status status = check_limits(emu, launch, error);
  if (status != APQ_OK) return status;
  emu->kernel = launch->kernel;
  emu->args = launch->args;
  emu->thread_count = (int)launch->threads;
  emu->warp_count = (emu->thread_count + APQ__EMU_LANES - 1) / APQ__EMU_LANES;
  emu->shared_size = (int)launch->smem_bytes;
  emu->cluster = launch->cluster > 1 ? (int)launch->cluster : 1;
  emu->is_dependent = launch->dependent;
  for (int i = 0; i < 3; i++) emu->words.grid[i] = (int)launch->grid[i];
  status = apq__emu_ready_blocks(emu, error);
  if (status == APQ_OK) status = apq__emu_ready_memory(emu, error);
  if (status == APQ_OK) status = apq__fiber_adopt(&emu->home, error);
  if (status != APQ_OK) return status;
  apq__emu_order_start(emu);
  emu->faulted = 0;
  if (!emu->seed_fixed) emu->seed++;
  emu->random = emu->seed;
  apq__emu_draw_orders(emu);
  run_clusters(emu, launch->grid);
  apq__fiber_release(&emu->home);
  if (emu->faulted) return apq__fail(error, APQ_KERNEL_FAULT, "device", "%s", emu->report);
  return apq__emu_check_red_zones(emu, error);
}
