#include "emu_impl.h"

#include <string.h>

#include "alloc.h"

/* Room for one more; copies that have arrived make way first. */
static apq__emu_copy *push_copy(apq__emu *emu, int line, apq__emu_thread *thread) {
  if (thread->last == thread->capacity && thread->first > 0) {
    thread->last -= thread->first;
    memmove(thread->copies, thread->copies + thread->first,
            (size_t)thread->last * sizeof *thread->copies);
    thread->first = 0;
  }
  if (thread->last == thread->capacity) {
    int capacity = thread->capacity ? 2 * thread->capacity : 32;
    apq__emu_copy *copies = apq__realloc(thread->copies, (size_t)capacity * sizeof *copies);
    if (!copies) apq__emu_fault(emu, line, "no memory to emulate cp.async");
    thread->copies = copies;
    thread->capacity = capacity;
  }
  return &thread->copies[thread->last++];
}

static void cp_async16(apq_emu *words, int line, int at, const void *from, int valid) {
  apq__emu *emu = apq__emu_of(words);
  if (valid != 0 && valid != 16)
    apq__emu_fault(emu, line, "cp.async of %d valid bytes: only 0 and 16 are allowed", valid);
  if (valid) apq__emu_check_source(emu, line, from);
  apq__emu_note_write16(emu, line, at);
  if (emu->base.target.cc < 80) {
    if (valid)
      memcpy(emu->shared + at, from, 16);
    else
      memset(emu->shared + at, 0, 16);
    return;
  }
  apq__emu_mark_flight(emu, at);
  apq__emu_thread *thread = emu->current;
  *push_copy(emu, line, thread) = (apq__emu_copy){valid ? from : NULL, at, thread->groups};
}

static void cp_async_commit(apq_emu *words, int line) {
  (void)line;
  apq__emu_of(words)->current->groups++;
}

static void cp_async_wait(apq_emu *words, int line, int pending) {
  (void)line;
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *thread = emu->current;
  while (thread->first < thread->last) {
    const apq__emu_copy *copy = &thread->copies[thread->first];
    if (copy->group >= thread->groups - pending) break;
    if (copy->from)
      memcpy(emu->shared + copy->at, copy->from, 16);
    else
      memset(emu->shared + copy->at, 0, 16);
    apq__emu_mark_arrived(emu, copy->at);
    thread->first++;
  }
  if (thread->first == thread->last) thread->first = thread->last = 0;
}

void apq__emu_copy_words(apq_emu *words) {
  words->cp_async16 = cp_async16;
  words->cp_async_commit = cp_async_commit;
  words->cp_async_wait = cp_async_wait;
}
