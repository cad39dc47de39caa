/* The parts of a record of an access to shared memory (apq__emu_cell in emu_impl.h). */
#ifndef APQ_EMU_RECORD_H
#define APQ_EMU_RECORD_H

#include "emu_impl.h"

/* Atomic additions do not race among themselves, so a record of one may stand for several threads:
 * of one warp (MANY) or of more (WIDE). */
#define APQ__EMU_FLIGHT ((uint64_t)1 << 63)
enum {
  APQ__EMU_THREAD_MASK = 0x3ff,
  APQ__EMU_ATOMIC = 1 << 10,
  APQ__EMU_MANY = 1 << 11,
  APQ__EMU_WIDE = 1 << 12,
  APQ__EMU_WHO_MASK = 0xffff,
};

static inline int apq__emu_record_line(uint64_t record) {
  return (int)(record >> 16 & 0xffff);
}
static inline int apq__emu_record_thread(uint64_t record) {
  return (int)(record & APQ__EMU_THREAD_MASK);
}

/* Whether it was made since the running cluster began. */
static inline int apq__emu_is_recent(const apq__emu *emu, uint64_t record) {
  return (record & ~APQ__EMU_FLIGHT) >= emu->cluster_start;
}

#endif
