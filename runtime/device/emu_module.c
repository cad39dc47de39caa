#include "emu_impl.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc.h"
#include "status.h"

/* An object lives in a file of memory: no folder needs to be writable, or to allow execution. */
static apq_status write_image(int file, const char *image, size_t size, apq_error *error) {
  for (size_t done = 0; done < size;) {
    ssize_t written = write(file, image + done, size - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      return apq__fail(error, APQ_IO, "device", "cannot hold an object of %zu bytes: %s", size,
                       strerror(errno));
    done += (size_t)written;
  }
  return APQ_OK;
}

/* The loader trusts its input: one that is cut short would crash it. */
static int is_whole(const char *image, size_t size) {
  ElfW(Ehdr) head;
  if (size < sizeof head) return 0;
  memcpy(&head, image, sizeof head);
  if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(ElfW(Phdr)))
    return 0;
  if (head.e_shoff > size || (size_t)head.e_shnum * head.e_shentsize > size - head.e_shoff ||
      head.e_phoff > size || (size_t)head.e_phnum * head.e_phentsize > size - head.e_phoff)
    return 0;
  for (int i = 0; i < head.e_phnum; i++) {
    ElfW(Phdr) segment;
    memcpy(&segment, image + head.e_phoff + (size_t)i * sizeof segment, sizeof segment);
    if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset) return 0;
  }
  return 1;
}

static apq_status attach(apq__emu *emu, void *handle, apq_error *error) {
  const int *version = dlsym(handle, "apq_emu_version");
  void *symbol = dlsym(handle, "apq_emu_attach");
  if (!version || !symbol)
    return apq__fail(error, APQ_CORRUPT, "device", "the object is not one of the emulated device");
  if (*version != APQ_EMU_VERSION)
    return apq__fail(error, APQ_CORRUPT, "device",
                     "the object is for version %d of the emulated device; this is %d", *version,
                     APQ_EMU_VERSION);
  void (*function)(apq_emu *);
  memcpy(&function, &symbol, sizeof function);
  function(&emu->words);
  return APQ_OK;
}

apq_status apq__emu_load(apq__emu *emu, const void *image, size_t size, apq__module **out,
                         apq_error *error) {
  apq_status status = APQ_OK;
  void *handle = NULL;
  apq__module *module = NULL;
  *out = NULL;
  if (!is_whole(image, size))
    return apq__fail(error, APQ_CORRUPT, "device", "%zu bytes that are no whole object", size);
  int file = memfd_create("apq", MFD_CLOEXEC);
  if (file < 0)
    return apq__fail(error, APQ_IO, "device", "cannot create a memory file: %s", strerror(errno));
  status = write_image(file, image, size, error);
  if (status != APQ_OK) goto cleanup;
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    status = apq__fail(error, APQ_CORRUPT, "device", "the object does not load: %s", dlerror());
    goto cleanup;
  }
  status = attach(emu, handle, error);
  if (status != APQ_OK) goto cleanup;
  module = apq__calloc(1, sizeof *module);
  if (!module) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a module");
    goto cleanup;
  }
  *module = (apq__module){emu->modules, handle, file, NULL};
  emu->modules = module;
  *out = module;
  return APQ_OK;
cleanup:
  if (handle) dlclose(handle);
  close(file);
  return status;
}

void apq__emu_unload(apq__emu *emu, apq__module *module) {
  if (!module) return;
  apq__module **link = &emu->modules;
  while (*link != module) link = &(*link)->next;
  *link = module->next;
  while (module->kernels) {
    apq__kernel *kernel = module->kernels;
    module->kernels = kernel->next;
    apq__free(kernel);
  }
  dlclose(module->handle);
  close(module->file);
  apq__free(module);
}

/* One kernel object for each (name, shared memory): each caller keeps what it asked for. */
apq_status apq__emu_kernel(apq__emu *emu, apq__module *module, const char *name, size_t smem_bytes,
                           apq__kernel **out, apq__kernel_info *info, apq_error *error) {
  *out = NULL;
  const apq_emu_kernel *code = dlsym(module->handle, name);
  if (!code) return apq__fail(error, APQ_NOT_FOUND, "device", "no kernel '%s' in the object", name);
  if (smem_bytes > (size_t)emu->base.target.smem_per_block)
    return apq__fail(error, APQ_INFEASIBLE, "device",
                     "%s: %zu bytes of shared memory, but a block of %s has %d", name, smem_bytes,
                     emu->base.target.name, emu->base.target.smem_per_block);
  if (code->max_threads < 1 || code->max_threads > APQ__EMU_THREADS)
    return apq__fail(error, APQ_INFEASIBLE, "device",
                     "%s: built for %d threads; a block has 1 to %d", name, code->max_threads,
                     APQ__EMU_THREADS);
  apq__kernel *kernel = module->kernels;
  while (kernel && (kernel->code != code || kernel->smem_bytes != smem_bytes))
    kernel = kernel->next;
  if (!kernel) {
    kernel = apq__calloc(1, sizeof *kernel);
    if (!kernel) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a kernel");
    *kernel = (apq__kernel){module->kernels, code, smem_bytes, ""};
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    module->kernels = kernel;
  }
  *out = kernel;
  if (info) *info = (apq__kernel_info){0, 0, 0, code->max_threads};
  return APQ_OK;
}
