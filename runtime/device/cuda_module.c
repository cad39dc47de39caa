#include "cuda_impl.h"

#include <elf.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

struct apq__kernel {
  CUfunction function;
  char *name;
  int dynamic_smem; /* most that was asked for so far */
  apq__kernel_info info;
  apq__kernel *next;
};

struct apq__module {
  CUmodule module;
  apq__kernel *kernels;
};

enum {
  ELF_MACHINE_CUDA = 190, /* EM_CUDA */
  SMEM_WITHOUT_OPT_IN =
      49152, /* CUDA C++ Programming Guide, "Shared Memory": above it a kernel must opt in */
};

static int range_fits(uint64_t offset, uint64_t length, size_t size) {
  return offset <= size && length <= size - offset;
}

/* The driver takes no size and trusts the image; a cubin cut short on its way through a cache must
 * not be read past its end. */
static int is_whole_cubin(const void *image, size_t size) {
  Elf64_Ehdr head;
  if (size < sizeof head) return 0;
  memcpy(&head, image, sizeof head);
  if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
      head.e_machine != ELF_MACHINE_CUDA)
    return 0;
  if (head.e_shentsize != sizeof(Elf64_Shdr) ||
      !range_fits(head.e_shoff, (uint64_t)head.e_shnum * sizeof(Elf64_Shdr), size) ||
      !range_fits(head.e_phoff, (uint64_t)head.e_phnum * head.e_phentsize, size))
    return 0;
  for (unsigned i = 0; i < head.e_shnum; i++) {
    Elf64_Shdr section;
    memcpy(&section, (const char *)image + head.e_shoff + i * sizeof section, sizeof section);
    if (section.sh_type != SHT_NOBITS && !range_fits(section.sh_offset, section.sh_size, size))
      return 0;
  }
  return 1;
}

/* While any stream is captured, the driver takes a load for a mistake and voids the capture, unless
 * the thread has chosen relaxed rules.  Exchanges the thread's rules with `*mode`. */
static void exchange_rules(apq__device *device, CUstreamCaptureMode *mode) {
  (void)APQ__CUDA_RUN(device, NULL, ThreadExchangeStreamCaptureMode, mode);
}

apq_status apq__cuda_load(apq__device *device, const void *image, size_t size, apq__module **out,
                          apq_error *error) {
  *out = NULL;
  if (!is_whole_cubin(image, size))
    return apq__fail(error, APQ_CORRUPT, "device", "the image of %zu bytes is not a whole cubin",
                     size);
  apq__module *module = apq__calloc(1, sizeof *module);
  if (!module) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "loading a cubin");
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  exchange_rules(device, &mode);
  apq_status status = APQ__CUDA_RUN(device, error, ModuleLoadData, &module->module, image);
  exchange_rules(device, &mode);
  if (status) {
    apq__error_prefix(error, "loading a cubin of %zu bytes on %s", size, device->target.name);
    apq__free(module);
    return status;
  }
  *out = module;
  return APQ_OK;
}

static void free_kernel(apq__kernel *kernel) {
  apq__free(kernel->name);
  apq__free(kernel);
}

void apq__cuda_unload(apq__device *device, apq__module *module) {
  if (!module) return;
  (void)APQ__CUDA_RUN(device, NULL, ModuleUnload, module->module);
  while (module->kernels) {
    apq__kernel *next = module->kernels->next;
    free_kernel(module->kernels);
    module->kernels = next;
  }
  apq__free(module);
}

static apq_status read_info(apq__device *device, apq__kernel *kernel, apq_error *error) {
  const struct {
    CUfunction_attribute attribute;
    int *value;
  } rows[] = {
      {CU_FUNC_ATTRIBUTE_NUM_REGS, &kernel->info.registers},
      {CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &kernel->info.local_bytes},
      {CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &kernel->info.static_smem_bytes},
      {CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &kernel->info.max_threads},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq_status status = APQ__CUDA_RUN(device, error, FuncGetAttribute, rows[i].value,
                                      rows[i].attribute, kernel->function);
    if (status) return status;
  }
  return APQ_OK;
}

static apq_status fill_kernel(apq__device *device, apq__module *module, const char *name,
                              apq__kernel *kernel, apq_error *error) {
  kernel->name = apq__strdup(name);
  if (!kernel->name) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "its name");
  apq_status status =
      APQ__CUDA_RUN(device, error, ModuleGetFunction, &kernel->function, module->module, name);
  return status ? status : read_info(device, kernel, error);
}

/* The module's kernel of this name, made on first use; NULL and `*status` on failure. */
static apq__kernel *get_kernel(apq__device *device, apq__module *module, const char *name,
                               apq_status *status, apq_error *error) {
  *status = APQ_OK;
  for (apq__kernel *known = module->kernels; known; known = known->next)
    if (strcmp(known->name, name) == 0) return known;
  apq__kernel *kernel = apq__calloc(1, sizeof *kernel);
  if (!kernel) {
    *status = apq__fail(error, APQ_OUT_OF_MEMORY, "device", "its handle");
    return NULL;
  }
  *status = fill_kernel(device, module, name, kernel, error);
  if (*status) {
    free_kernel(kernel);
    return NULL;
  }
  kernel->next = module->kernels;
  module->kernels = kernel;
  return kernel;
}

/* Opts in to `bytes` of dynamic shared memory and asks for as much of the L1 as the blocks that fit
 * an SM need: the driver's default leaves room for one block only in some cases, and all of it
 * would take the L1 from kernels that read global memory directly. */
static apq_status reserve_smem(apq__device *device, const apq__kernel *kernel, int bytes,
                               apq_error *error) {
  const apq__cuda_device *cuda = apq__cuda_of(device);
  const apq__target *target = &device->target;
  int block_bytes = bytes + kernel->info.static_smem_bytes;
  apq_status status = APQ_OK;
  if (block_bytes > SMEM_WITHOUT_OPT_IN)
    status = APQ__CUDA_RUN(device, error, FuncSetAttribute, kernel->function,
                           CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
  if (status || block_bytes == 0) return status;
  int blocks = 0;
  status = APQ__CUDA_RUN(device, error, OccupancyMaxActiveBlocks, &blocks, kernel->function,
                         kernel->info.max_threads, (size_t)bytes);
  if (status) return status;
  int64_t wanted = (int64_t)(blocks > 0 ? blocks : 1) * (block_bytes + cuda->reserved_smem);
  int64_t percent = (wanted * 100 + target->smem_per_sm - 1) / target->smem_per_sm;
  return APQ__CUDA_RUN(device, error, FuncSetAttribute, kernel->function,
                       CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                       percent > 100 ? 100 : (int)percent);
}

/* Makes launches with `smem_bytes` of dynamic shared memory legal. */
static apq_status allow_smem(apq__device *device, apq__kernel *kernel, size_t smem_bytes,
                             apq_error *error) {
  const apq__target *target = &device->target;
  size_t block_bytes = smem_bytes + (size_t)kernel->info.static_smem_bytes;
  if (smem_bytes > (size_t)target->smem_per_block || block_bytes > (size_t)target->smem_per_block)
    return apq__fail(error, APQ_INFEASIBLE, "device",
                     "a block needs %zu bytes of shared memory, %s has %d", block_bytes,
                     target->name, target->smem_per_block);
  /* A function has one limit, so two users of one kernel get the larger. */
  int bytes = (int)smem_bytes;
  if (bytes <= kernel->dynamic_smem && kernel->dynamic_smem) return APQ_OK;
  apq_status status = reserve_smem(device, kernel, bytes, error);
  if (!status) kernel->dynamic_smem = bytes;
  return status;
}

apq_status apq__cuda_kernel(apq__device *device, apq__module *module, const char *name,
                            size_t smem_bytes, apq__kernel **out, apq__kernel_info *info,
                            apq_error *error) {
  apq__cuda_device *cuda = apq__cuda_of(device);
  apq_status status = APQ_OK;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  pthread_mutex_lock(&cuda->functions);
  exchange_rules(device, &mode);
  apq__kernel *kernel = get_kernel(device, module, name, &status, error);
  if (kernel) status = allow_smem(device, kernel, smem_bytes, error);
  exchange_rules(device, &mode);
  pthread_mutex_unlock(&cuda->functions);
  if (kernel && info) *info = kernel->info;
  *out = status ? NULL : kernel;
  if (status) apq__error_prefix(error, "kernel '%s'", name);
  return status;
}

/* A launch with attributes: clusters and dependent launches, which sm_90 brought. */
static apq_status launch_extended(apq__device *device, const apq__launch *launch, void *stream,
                                  void **params, apq_error *error) {
  CUlaunchAttribute attribute[2];
  unsigned count = 0;
  if (launch->cluster > 1)
    attribute[count++] = (CUlaunchAttribute){
        .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
        .value.clusterDim = {.x = launch->cluster, .y = 1, .z = 1},
    };
  if (launch->dependent)
    attribute[count++] = (CUlaunchAttribute){
        .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        .value.programmaticStreamSerializationAllowed = 1,
    };
  CUlaunchConfig config = {
      .gridDimX = launch->grid[0],
      .gridDimY = launch->grid[1],
      .gridDimZ = launch->grid[2],
      .blockDimX = launch->threads,
      .blockDimY = 1,
      .blockDimZ = 1,
      .sharedMemBytes = launch->smem_bytes,
      .hStream = stream,
      .attrs = attribute,
      .numAttrs = count,
  };
  return APQ__CUDA_RUN(device, error, LaunchKernelEx, &config, launch->kernel->function, params,
                       NULL);
}

apq_status apq__cuda_launch(apq__device *device, const apq__launch *launch, void *stream,
                            apq_error *error) {
  /* The driver only reads the one argument; its interface lacks the const.  It is given as a
   * parameter, not as a buffer of parameters, which the driver would not align. */
  void *params[] = {(void *)(uintptr_t)launch->args};
  int has_attributes = launch->cluster > 1 || launch->dependent;
  apq_status status = APQ_OK;
  if (has_attributes && device->target.cc < 90)
    status = apq__fail(error, APQ_INFEASIBLE, "device",
                       "%s has neither clusters nor dependent launches", device->target.name);
  else if (has_attributes)
    status = launch_extended(device, launch, stream, params, error);
  else
    status = APQ__CUDA_RUN(device, error, LaunchKernel, launch->kernel->function, launch->grid[0],
                           launch->grid[1], launch->grid[2], launch->threads, 1, 1,
                           launch->smem_bytes, stream, params, NULL);
  if (status)
    apq__error_prefix(error,
                      "kernel '%s', grid %u x %u x %u in clusters of %u, %u threads, %u bytes of "
                      "shared memory",
                      launch->kernel->name, launch->grid[0], launch->grid[1], launch->grid[2],
                      launch->cluster > 1 ? launch->cluster : 1, launch->threads,
                      launch->smem_bytes);
  return status;
}

apq_status apq__cuda_tensor_map(apq__device *device, const apq__tensor_box *box,
                                apq_tensor_map *out, apq_error *error) {
  static const struct {
    int bytes;
    CUtensorMapSwizzle swizzle;
  } swizzles[] = {{0, CU_TENSOR_MAP_SWIZZLE_NONE},
                  {32, CU_TENSOR_MAP_SWIZZLE_32B},
                  {64, CU_TENSOR_MAP_SWIZZLE_64B},
                  {128, CU_TENSOR_MAP_SWIZZLE_128B}};
  if (device->target.cc < 90)
    return apq__fail(error, APQ_INFEASIBLE, "device", "%s has no bulk tensor copies",
                     device->target.name);
  size_t i = 0;
  while (i < 3 && swizzles[i].bytes != box->swizzle) i++;
  const cuuint64_t sizes[3] = {box->row_bytes, box->rows, box->planes};
  const cuuint64_t strides[2] = {box->row_pitch, box->plane_pitch};
  const cuuint32_t extents[3] = {(cuuint32_t)box->box_bytes, (cuuint32_t)box->box_rows, 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  /* The encoder works on the host alone, and yet wants a context. */
  apq_status status = APQ__CUDA_RUN(
      device, error, TensorMapEncodeTiled, (CUtensorMap *)out, CU_TENSOR_MAP_DATA_TYPE_UINT8, 3,
      (void *)(uintptr_t)box->base, sizes, strides, extents, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      swizzles[i].swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status)
    apq__error_prefix(error,
                      "the tensor map of %zu planes (pitch %zu) of %zu rows (pitch %zu) of %zu "
                      "bytes, in boxes of %d rows of %d bytes, swizzle %d",
                      box->planes, box->plane_pitch, box->rows, box->row_pitch, box->row_bytes,
                      box->box_rows, box->box_bytes, box->swizzle);
  return status;
}
