#include "target.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

/* One well-known GPU of each arch.  Sizes and clocks are the vendors' data sheets (2080 Ti,
 * A100-80, RTX 3090, RTX 4090, H200, B200, RTX 5090).  Rates of sm_90a are measured on an H200:
 * mma.sync b1 AND 10 260 TOPS, XOR 1 570, s8 1 280, all at 1.755 GHz; those of the others are
 * nominal.  b1 is emulated in software from sm_100 on. */
static const apq__target table[] = {
    {"emu:sm_75", "sm_75", "emu", 75, 1, 68, 65536, 65536, 65536, 1024, 16, 5767168, 11811160064,
     1.545e9, 616e9, 1.8e12, 0, 8192, 1024},
    {"emu:sm_80", "sm_80", "emu", 80, 1, 108, 166912, 167936, 65536, 2048, 32, 41943040,
     85899345920, 1.41e9, 2039e9, 4.5e12, 16384, 16384, 2048},
    {"emu:sm_86", "sm_86", "emu", 86, 1, 82, 101376, 102400, 65536, 1536, 16, 6291456, 25769803776,
     1.695e9, 936e9, 2.5e12, 8192, 8192, 1024},
    {"emu:sm_89", "sm_89", "emu", 89, 1, 128, 101376, 102400, 65536, 1536, 24, 75497472,
     25769803776, 2.52e9, 1008e9, 4.5e12, 8192, 8192, 1024},
    {"emu:sm_90a", "sm_90a", "emu", 90, 1, 132, 232448, 233472, 65536, 2048, 32, 62914560,
     150754820096, 1.755e9, 4285e9, 6.0e12, 22144, 3388, 2763},
    {"emu:sm_100", "sm_100", "emu", 100, 1, 148, 232448, 233472, 65536, 2048, 32, 132120576,
     191126044672, 1.85e9, 7700e9, 9.0e12, 0, 0, 2048},
    {"emu:sm_120", "sm_120", "emu", 120, 1, 170, 101376, 102400, 65536, 1536, 24, 100663296,
     34359738368, 2.41e9, 1792e9, 6.0e12, 0, 0, 1024},
};
enum { TABLE_ROWS = sizeof table / sizeof table[0] };

const char *apq__target_arch(int i) {
  return i >= 0 && i < TABLE_ROWS ? table[i].arch : NULL;
}

apq_status apq__target_emulated(const char *arch, apq__target *out, apq_error *error) {
  for (int i = 0; i < TABLE_ROWS; i++) {
    if (strcmp(table[i].arch, arch) != 0) continue;
    *out = table[i];
    return APQ_OK;
  }
  char names[128] = "";
  for (int i = 0; i < TABLE_ROWS; i++) {
    size_t length = strlen(names);
    snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", table[i].arch);
  }
  return apq__fail(error, APQ_NOT_FOUND, "device", "no emulated arch '%s'; there are %s", arch,
                   names);
}

void apq__target_fill_rates(apq__target *target) {
  const apq__target *row = &table[0];
  for (int i = 0; i < TABLE_ROWS; i++)
    if (table[i].cc <= target->cc) row = &table[i];
  target->b1_and_macs = row->b1_and_macs;
  target->b1_xor_macs = row->b1_xor_macs;
  target->u8_macs = row->u8_macs;
  /* L2 bandwidth scales with the SMs that draw on it and their clock. */
  target->l2_bytes_per_s =
      row->l2_bytes_per_s * (target->sm_count * target->clock_hz) / (row->sm_count * row->clock_hz);
}
