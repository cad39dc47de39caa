#include "emu_impl.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Adds the products of 16 rows with n columns of 32 bytes to d[16][n]. */

/* ---- b1: columns as they are, or word by word for vectors ---- */

static void keep_columns(const uint8_t (*columns)[32], int n, uint32_t *out) {
  memcpy(out, columns, (size_t)n * sizeof *columns);
}

static inline __attribute__((always_inline)) void b1_rows(const uint32_t a[16][8],
                                                          const uint32_t *b, int n, uint32_t *d) {
  for (int r = 0; r < 16; r++) {
    uint64_t row[4];
    memcpy(row, a[r], sizeof row);
    for (int c = 0; c < n; c++) {
      uint64_t column[4];
      memcpy(column, b + 8 * c, sizeof column);
      int sum = 0;
      for (int w = 0; w < 4; w++) sum += __builtin_popcountll(row[w] & column[w]);
      d[r * n + c] += (uint32_t)sum;
    }
  }
}

static void b1_plain(const uint32_t a[16][8], const uint32_t *b, int n, uint32_t *d) {
  b1_rows(a, b, n, d);
}

/* ---- u8: pairs of 16-bit numbers, pair by pair ---- */

static void turn_pairs(const uint8_t (*columns)[32], int n, uint32_t *out) {
  for (int c = 0; c < n; c++)
    for (int i = 0; i < 16; i++)
      out[i * n + c] = columns[c][2 * i] | (uint32_t)columns[c][2 * i + 1] << 16;
}

static void widen(const uint8_t row[32], uint32_t pairs[16]) {
  for (int i = 0; i < 16; i++) pairs[i] = row[2 * i] | (uint32_t)row[2 * i + 1] << 16;
}

#ifndef __x86_64__
static void u8_plain(const uint8_t a[16][32], const uint32_t *b, int n, uint32_t *d) {
  uint32_t row[16];
  for (int r = 0; r < 16; r++) {
    widen(a[r], row);
    for (int i = 0; i < 16; i++)
      for (int c = 0; c < n; c++)
        d[r * n + c] +=
            (row[i] & 0xffff) * (b[i * n + c] & 0xffff) + (row[i] >> 16) * (b[i * n + c] >> 16);
  }
}
#else

__attribute__((target("popcnt"))) static void b1_popcnt(const uint32_t a[16][8], const uint32_t *b,
                                                        int n, uint32_t *d) {
  b1_rows(a, b, n, d);
}

static void turn_words(const uint8_t (*columns)[32], int n, uint32_t *out) {
  for (int c = 0; c < n; c++) {
    uint32_t words[8];
    memcpy(words, columns[c], sizeof words);
    for (int w = 0; w < 8; w++) out[w * n + c] = words[w];
  }
}

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vpopcntdq")))
WIDE static void b1_wide(const uint32_t a[16][8], const uint32_t *b, int n, uint32_t *d) {
  for (int c = 0; c < n; c += 16) {
    __m512i column[8];
    for (int w = 0; w < 8; w++) column[w] = _mm512_loadu_si512(b + w * n + c);
    for (int r = 0; r < 16; r++) {
      __m512i sum = _mm512_loadu_si512(d + r * n + c);
      for (int w = 0; w < 8; w++) {
        __m512i both = _mm512_and_si512(_mm512_set1_epi32((int)a[r][w]), column[w]);
        sum = _mm512_add_epi32(sum, _mm512_popcnt_epi32(both));
      }
      _mm512_storeu_si512(d + r * n + c, sum);
    }
  }
}

/* 16 columns at a time in vectors of `lanes` sums. */
#define U8_ROWS(name, attributes, vector, lanes, load, store, set1, madd, add)                     \
  attributes static void name(const uint8_t a[16][32], const uint32_t *b, int n, uint32_t *d) {    \
    uint32_t row[16];                                                                              \
    for (int r = 0; r < 16; r++) {                                                                 \
      widen(a[r], row);                                                                            \
      for (int c = 0; c < n; c += 16) {                                                            \
        vector sum[16 / (lanes)];                                                                  \
        for (int v = 0; v < 16 / (lanes); v++)                                                     \
          sum[v] = load((const vector *)(const void *)(d + r * n + c + v * (lanes)));              \
        for (int i = 0; i < 16; i++) {                                                             \
          vector pair = set1((int)row[i]);                                                         \
          for (int v = 0; v < 16 / (lanes); v++) {                                                 \
            vector column = load((const vector *)(const void *)(b + i * n + c + v * (lanes)));     \
            sum[v] = add(sum[v], madd(pair, column));                                              \
          }                                                                                        \
        }                                                                                          \
        for (int v = 0; v < 16 / (lanes); v++)                                                     \
          store((vector *)(void *)(d + r * n + c + v * (lanes)), sum[v]);                          \
      }                                                                                            \
    }                                                                                              \
  }
U8_ROWS(u8_plain, , __m128i, 4, _mm_loadu_si128, _mm_storeu_si128, _mm_set1_epi32, _mm_madd_epi16,
        _mm_add_epi32)
U8_ROWS(u8_avx2, __attribute__((target("avx2"))), __m256i, 8, _mm256_loadu_si256,
        _mm256_storeu_si256, _mm256_set1_epi32, _mm256_madd_epi16, _mm256_add_epi32)
U8_ROWS(u8_wide, WIDE, __m512i, 16, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_set1_epi32,
        _mm512_madd_epi16, _mm512_add_epi32)
#endif

void apq__emu_wgmma_math_init(apq__emu_math *math) {
  math->turn_b1 = keep_columns;
  math->turn_u8 = turn_pairs;
  math->wgmma_b1 = b1_plain;
  math->wgmma_u8 = u8_plain;
#ifdef __x86_64__
  __builtin_cpu_init();
  if (__builtin_cpu_supports("popcnt")) math->wgmma_b1 = b1_popcnt;
  if (__builtin_cpu_supports("avx2")) math->wgmma_u8 = u8_avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vpopcntdq")) {
    math->turn_b1 = turn_words;
    math->wgmma_b1 = b1_wide;
    math->wgmma_u8 = u8_wide;
  }
#endif
}
