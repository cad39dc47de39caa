#include "emu_fiber.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc.h"
#include "status.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define APQ_FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define APQ_FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define APQ_FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define APQ_FIBER_TSAN 1
#endif

#ifdef APQ_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef APQ_FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Kernels keep little more than their fragments on the stack; reports print from it. */
enum { STACK_BYTES = 128 * 1024 };

#if !defined(APQ_FIBER_UCONTEXT) &&                                                                \
    ((defined(__x86_64__) && !defined(__ILP32__)) || defined(__aarch64__))

void apq__emu_switch(void **save_sp, void *load_sp);
void apq__emu_start(void);

static void switch_context(apq__fiber *from, apq__fiber *to) {
  apq__emu_switch(&from->sp, to->sp);
}
static void leave_context(apq__fiber *to) {
  /* Not into a local: AddressSanitizer may just have freed the frame. */
  apq__emu_switch(&to->left, to->sp);
}

/* Builds the frame that apq__emu_switch takes off. */
static void make_context(apq__fiber *fiber, char *top, void (*entry)(void *), void *arg) {
#ifdef __x86_64__
  enum { WORDS = 9, ARG = 3, ENTRY = 2, START = 6 };
#else
  enum { WORDS = 20, ARG = 0, ENTRY = 1, START = 11 };
#endif
  uintptr_t frame[WORDS] = {0};
  frame[ARG] = (uintptr_t)arg;
  frame[ENTRY] = (uintptr_t)entry;
  frame[START] = (uintptr_t)apq__emu_start;
  fiber->sp = top - sizeof frame;
  memcpy(fiber->sp, frame, sizeof frame);
}

static apq_status create_context(apq__fiber *fiber, apq_error *error) {
  (void)fiber;
  (void)error;
  return APQ_OK;
}
static void destroy_context(apq__fiber *fiber) {
  (void)fiber;
}

#else

#include <ucontext.h>

static void switch_context(apq__fiber *from, apq__fiber *to) {
  swapcontext(from->sp, to->sp);
}
static void leave_context(apq__fiber *to) {
  setcontext(to->sp);
}

/* makecontext passes integers only. */
static void start(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low) {
  uintptr_t entry = (uintptr_t)((uint64_t)entry_high << 32 | entry_low);
  uintptr_t arg = (uintptr_t)((uint64_t)arg_high << 32 | arg_low);
  ((void (*)(void *))entry)((void *)arg);
}

static void make_context(apq__fiber *fiber, char *top, void (*entry)(void *), void *arg) {
  ucontext_t *context = fiber->sp;
  getcontext(context);
  context->uc_stack.ss_sp = fiber->stack;
  context->uc_stack.ss_size = (size_t)(top - fiber->stack);
  context->uc_link = NULL;
  uint64_t e = (uintptr_t)entry, a = (uintptr_t)arg;
  makecontext(context, (void (*)(void))start, 4, (unsigned)(e >> 32), (unsigned)e,
              (unsigned)(a >> 32), (unsigned)a);
}

static apq_status create_context(apq__fiber *fiber, apq_error *error) {
  fiber->sp = apq__calloc(1, sizeof(ucontext_t));
  return fiber->sp ? APQ_OK
                   : apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a fiber");
}
static void destroy_context(apq__fiber *fiber) {
  apq__free(fiber->sp);
}

#endif

apq_status apq__fiber_pool_create(apq__fiber_pool *pool, int count, apq_error *error) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t stride = STACK_BYTES + page;
  memset(pool, 0, sizeof *pool);
  pool->fibers = apq__calloc((size_t)count, sizeof *pool->fibers);
  if (!pool->fibers) return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for fibers");
  pool->count = count;
  pool->mapping_size = stride * (size_t)count;
  pool->mapping = mmap(NULL, pool->mapping_size, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  apq_status status = APQ_OK;
  if (pool->mapping == MAP_FAILED) {
    pool->mapping = NULL;
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for %d stacks of %d bytes",
                       count, STACK_BYTES);
  }
  for (int i = 0; i < count && status == APQ_OK; i++) {
    apq__fiber *fiber = &pool->fibers[i];
    fiber->stack = (char *)pool->mapping + stride * (size_t)i + page;
    fiber->stack_size = STACK_BYTES;
    if (mprotect(fiber->stack, STACK_BYTES, PROT_READ | PROT_WRITE))
      status =
          apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for stack %d of %d", i, count);
    else
      status = create_context(fiber, error);
  }
  if (status != APQ_OK) apq__fiber_pool_destroy(pool);
  return status;
}

void apq__fiber_pool_destroy(apq__fiber_pool *pool) {
  for (int i = 0; i < pool->count; i++) {
#ifdef APQ_FIBER_TSAN
    if (pool->fibers[i].sanitizer) __tsan_destroy_fiber(pool->fibers[i].sanitizer);
#endif
    destroy_context(&pool->fibers[i]);
  }
  if (pool->mapping) munmap(pool->mapping, pool->mapping_size);
  apq__free(pool->fibers);
  memset(pool, 0, sizeof *pool);
}

apq_status apq__fiber_adopt(apq__fiber *home, apq_error *error) {
  memset(home, 0, sizeof *home);
#ifdef APQ_FIBER_TSAN
  home->sanitizer = __tsan_get_current_fiber();
#endif
  return create_context(home, error);
}

void apq__fiber_release(apq__fiber *home) {
  destroy_context(home);
}

void apq__fiber_prepare(apq__fiber *fiber, void (*entry)(void *), void *arg) {
  /* Stacks lie a power of two apart (plus a page): without a different start each, the hot ends of
   * a warp's stacks would all fall into the same few cache sets. */
  size_t color = ((uintptr_t)fiber->stack / STACK_BYTES * 37 % 128) * 64;
#ifdef APQ_FIBER_ASAN
  __asan_unpoison_memory_region(fiber->stack, fiber->stack_size);
#endif
#ifdef APQ_FIBER_TSAN
  if (!fiber->sanitizer) fiber->sanitizer = __tsan_create_fiber(0);
#endif
  fiber->fake_stack = NULL;
  make_context(fiber, fiber->stack + fiber->stack_size - color, entry, arg);
}

void apq__fiber_entered(apq__fiber *home) {
#ifdef APQ_FIBER_ASAN
  const void *bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
  /* The first fiber of a launch comes from home: only now are the bounds of that stack known. */
  if (!home->stack) {
    home->stack = (char *)(uintptr_t)bottom;
    home->stack_size = size;
  }
#else
  (void)home;
#endif
}

void apq__fiber_switch(apq__fiber *from, apq__fiber *to) {
#ifdef APQ_FIBER_ASAN
  __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_size);
#endif
#ifdef APQ_FIBER_TSAN
  __tsan_switch_to_fiber(to->sanitizer, 0);
#endif
  switch_context(from, to);
#ifdef APQ_FIBER_ASAN
  __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

void apq__fiber_leave(apq__fiber *to) {
#ifdef APQ_FIBER_ASAN
  __sanitizer_start_switch_fiber(NULL, to->stack, to->stack_size);
#endif
#ifdef APQ_FIBER_TSAN
  __tsan_switch_to_fiber(to->sanitizer, 0);
#endif
  leave_context(to);
  __builtin_unreachable();
}
