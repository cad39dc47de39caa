#include "emu_impl.h"

#include <string.h>

/* Words at which a warp meets.  A result stays until the whole warp has met again, so each lane
 * reads its own when it goes on. */

static void sync_warp(apq_emu *words, int line) {
  apq__emu *emu = apq__emu_of(words);
  if (!apq__emu_meet(emu, APQ__EMU_SYNC_WARP, line)) return;
  apq__emu_warp *warp = emu->current->warp;
  emu->warp_since = warp->since = apq__emu_tick(emu);
  if (warp->block->is_knowing) apq__emu_join_warp(emu, warp);
  apq__emu_yield(emu);
}

static apq_u32 ballot(apq_emu *words, int line, int predicate) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->value[self->lane] = predicate != 0;
  if (apq__emu_meet(emu, APQ__EMU_BALLOT, line)) {
    uint32_t mask = 0;
    for (int i = 0; i < APQ__EMU_LANES; i++) mask |= warp->value[i] << i;
    for (int i = 0; i < APQ__EMU_LANES; i++) warp->result[i] = mask;
    apq__emu_yield(emu);
  }
  return warp->result[self->lane];
}

static apq_u32 shuffle(apq_emu *words, int line, apq_u32 v, int lane) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->value[self->lane] = v;
  warp->argument[self->lane] = lane;
  if (apq__emu_meet(emu, APQ__EMU_SHUFFLE, line)) {
    for (int i = 0; i < APQ__EMU_LANES; i++)
      warp->result[i] = warp->value[warp->argument[i] & (APQ__EMU_LANES - 1)];
    apq__emu_yield(emu);
  }
  return warp->result[self->lane];
}

static apq_u32 shuffle_xor(apq_emu *words, int line, apq_u32 v, int mask) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->value[self->lane] = v;
  warp->argument[self->lane] = mask;
  if (apq__emu_meet(emu, APQ__EMU_SHUFFLE_XOR, line)) {
    for (int i = 0; i < APQ__EMU_LANES; i++) {
      int from = i ^ warp->argument[i];
      warp->result[i] = warp->value[from & ~(APQ__EMU_LANES - 1) ? i : from];
    }
    apq__emu_yield(emu);
  }
  return warp->result[self->lane];
}

/* A lane reads its row when it comes, so that a store by a lane that comes later is seen to be
 * late. */
static void ldmatrix4(apq_emu *words, int line, apq_u32 *r, int at, int transposed) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  apq__emu_note_read16(emu, line, at);
  warp->argument[self->lane] = at;
  warp->r[self->lane] = r;
  if (!apq__emu_meet(emu, APQ__EMU_LDMATRIX + (transposed != 0), line)) return;
  for (int matrix = 0; matrix < 4; matrix++) {
    uint16_t rows[8][8];
    for (int row = 0; row < 8; row++)
      memcpy(rows[row], emu->shared + warp->argument[8 * matrix + row], sizeof rows[row]);
    for (int lane = 0; lane < APQ__EMU_LANES; lane++) {
      int i = lane / 4, j = 2 * (lane % 4);
      warp->r[lane][matrix] = transposed ? rows[j][i] | (uint32_t)rows[j + 1][i] << 16
                                         : rows[i][j] | (uint32_t)rows[i][j + 1] << 16;
    }
  }
  apq__emu_yield(emu);
}

static void mma(apq_emu *words, int line, int kind, int *d, const apq_u32 *a, const apq_u32 *b) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  warp->d[self->lane] = d;
  warp->a[self->lane] = a;
  warp->b[self->lane] = b;
  if (!apq__emu_meet(emu, APQ__EMU_MMA + kind, line)) return;
  apq__emu_mma(&emu->math, kind, warp->d, warp->a, warp->b);
  apq__emu_yield(emu);
}

/* A lane checks the row that it points to when it comes; the rows are written when all are there.
 */
static void stmatrix4(apq_emu *words, int line, int at, const apq_u32 *r, int transposed) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  apq__emu_note_write16(emu, line, at);
  warp->argument[self->lane] = at;
  warp->a[self->lane] = r;
  if (!apq__emu_meet(emu, APQ__EMU_STMATRIX + (transposed != 0), line)) return;
  for (int matrix = 0; matrix < 4; matrix++) {
    uint16_t rows[8][8];
    for (int lane = 0; lane < APQ__EMU_LANES; lane++)
      for (int half = 0; half < 2; half++) {
        int row = lane / 4, column = 2 * (lane % 4) + half;
        uint16_t v = (uint16_t)(warp->a[lane][matrix] >> (16 * half));
        rows[transposed ? column : row][transposed ? row : column] = v;
      }
    for (int row = 0; row < 8; row++)
      memcpy(emu->shared + warp->argument[8 * matrix + row], rows[row], sizeof rows[row]);
  }
  apq__emu_yield(emu);
}

void apq__emu_warp_words(apq_emu *words) {
  words->sync_warp = sync_warp;
  words->ballot = ballot;
  words->shuffle = shuffle;
  words->shuffle_xor = shuffle_xor;
  words->ldmatrix4 = ldmatrix4;
  words->mma = mma;
  words->stmatrix4 = stmatrix4;
}
