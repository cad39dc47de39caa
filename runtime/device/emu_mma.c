#include "emu_impl.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One 16x8 tile of 256-bit rows, by AND or XOR; a function of its own for each, so that the choice
 * is made outside the loops. */
static inline __attribute__((always_inline)) void
b1_tile(const uint64_t a[16][4], const uint64_t b[8][4], uint32_t d[16][8], int exclusive) {
  for (int r = 0; r < 16; r++)
    for (int c = 0; c < 8; c++) {
      int sum = 0;
      for (int w = 0; w < 4; w++)
        sum += __builtin_popcountll(exclusive ? a[r][w] ^ b[c][w] : a[r][w] & b[c][w]);
      d[r][c] = (uint32_t)sum;
    }
}

#define B1_TILE(name, attributes, exclusive)                                                       \
  attributes static void name(const uint64_t a[16][4], const uint64_t b[8][4],                     \
                              uint32_t d[16][8]) {                                                 \
    b1_tile(a, b, d, exclusive);                                                                   \
  }
B1_TILE(and_plain, , 0)
B1_TILE(xor_plain, , 1)
#ifdef __x86_64__
B1_TILE(and_popcnt, __attribute__((target("popcnt"))), 0)
B1_TILE(xor_popcnt, __attribute__((target("popcnt"))), 1)
#endif

void apq__emu_math_init(apq__emu_math *math) {
  math->b1_and = and_plain;
  math->b1_xor = xor_plain;
#ifdef __x86_64__
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("popcnt")) return;
  math->b1_and = and_popcnt;
  math->b1_xor = xor_popcnt;
#endif
}

/* Codes of one row as 16-bit pairs: pair i holds elements 2i and 2i+1. */
static void widen(const uint8_t row[32], uint32_t pairs[16]) {
  for (int i = 0; i < 16; i++) pairs[i] = row[2 * i] | (uint32_t)row[2 * i + 1] << 16;
}

static void u8_tile(const uint8_t a[16][32], const uint8_t b[8][32], uint32_t d[16][8]) {
  uint32_t wide[16], columns[16][8];
  for (int c = 0; c < 8; c++) {
    widen(b[c], wide);
    for (int i = 0; i < 16; i++) columns[i][c] = wide[i];
  }
  for (int r = 0; r < 16; r++) {
    widen(a[r], wide);
#ifdef __SSE2__
    __m128i low = _mm_setzero_si128(), high = low;
    for (int i = 0; i < 16; i++) {
      __m128i pair = _mm_set1_epi32((int)wide[i]);
      const __m128i *column = (const __m128i *)(const void *)columns[i];
      low = _mm_add_epi32(low, _mm_madd_epi16(pair, _mm_loadu_si128(column)));
      high = _mm_add_epi32(high, _mm_madd_epi16(pair, _mm_loadu_si128(column + 1)));
    }
    _mm_storeu_si128((__m128i *)(void *)d[r], low);
    _mm_storeu_si128((__m128i *)(void *)d[r] + 1, high);
#else
    for (int c = 0; c < 8; c++) d[r][c] = 0;
    for (int i = 0; i < 16; i++)
      for (int c = 0; c < 8; c++)
        d[r][c] +=
            (wide[i] & 0xffff) * (columns[i][c] & 0xffff) + (wide[i] >> 16) * (columns[i][c] >> 16);
#endif
  }
}

void apq__emu_mma(const apq__emu_math *math, int kind, int *const d[], const uint32_t *const a[],
                  const uint32_t *const b[]) {
  uint32_t rows[16][8], columns[8][8], sums[16][8];
  for (int lane = 0; lane < APQ__EMU_LANES; lane++) {
    int g = lane / 4, t = lane % 4;
    rows[g][t] = a[lane][0];
    rows[g + 8][t] = a[lane][1];
    rows[g][t + 4] = a[lane][2];
    rows[g + 8][t + 4] = a[lane][3];
    columns[g][t] = b[lane][0];
    columns[g][t + 4] = b[lane][1];
  }
  if (kind == APQ_EMU_U8) {
    uint8_t row_bytes[16][32], column_bytes[8][32];
    memcpy(row_bytes, rows, sizeof rows);
    memcpy(column_bytes, columns, sizeof columns);
    u8_tile(row_bytes, column_bytes, sums);
  } else {
    uint64_t row_words[16][4], column_words[8][4];
    memcpy(row_words, rows, sizeof rows);
    memcpy(column_words, columns, sizeof columns);
    (kind == APQ_EMU_B1_AND ? math->b1_and : math->b1_xor)(row_words, column_words, sums);
  }
  for (int lane = 0; lane < APQ__EMU_LANES; lane++) {
    int g = lane / 4, t = lane % 4;
    d[lane][0] = (int)((uint32_t)d[lane][0] + sums[g][2 * t]);
    d[lane][1] = (int)((uint32_t)d[lane][1] + sums[g][2 * t + 1]);
    d[lane][2] = (int)((uint32_t)d[lane][2] + sums[g + 8][2 * t]);
    d[lane][3] = (int)((uint32_t)d[lane][3] + sums[g + 8][2 * t + 1]);
  }
}
