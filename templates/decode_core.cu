/* ---- family decode: what a warp holds of both operands, and their products ----
 * A slab is 512 k: 64 bytes of a row of a plane, of which lane 4g+t has the 16 bytes of chunk t.
 * The order of k inside a fragment is free as long as both operands agree, so those 16 bytes are
 * used as they come. */

#define WARPS   (WARPS_N * WARPS_K)
#define THREADS (32 * WARPS)
#define ROWS    (16 * TILES * WARPS_N) /* of a block's tile */

/* Columns of the mma that a token takes, a power of two: with b1 one for each of its planes. */
#if CORE == CORE_U8
#define TOKEN_COLUMNS 1
#elif Q <= 2
#define TOKEN_COLUMNS Q
#elif Q <= 4
#define TOKEN_COLUMNS 4
#else
#define TOKEN_COLUMNS 8
#endif
/* Fragments of eight columns. */
#define YT ((TILE_M * TOKEN_COLUMNS + 7) / 8)

/* 16-byte chunks of activations that a lane needs for a slab of a fragment, and words that the
 * planes of 32 weights become. */
#if CORE == CORE_U8
#define A_CHUNKS 8
#define WORDS    (P > 4 ? 8 : P > 2 ? 4 : P)
#else
#define A_CHUNKS 1
#define WORDS    P
#endif

#if CORE == CORE_U8
/* Codes in a byte of such a word.  Where there are few fragments of activations, each of them has
 * accumulators of its own, and where even so there are few, both halves of a chunk. */
#define FIELDS (8 / WORDS)
#define SCALES (YT <= 2 && FIELDS <= 4 ? FIELDS : 1)
#define CHAINS (TILES * YT * SCALES < 4 ? 2 : 1)
#endif

/* Accumulators: of each weight plane, or one for all of them; with core=u8 as apq_multiply_bytes
 * says. */
#if CORE == CORE_U8
#define PLANES (SCALES * CHAINS)
#elif SCHEDULE == SCHEDULE_SIDE
#define PLANES P
#else
#define PLANES 1
#endif

/* The weights of DEPTH slabs: [slab][16 rows][row g, g + 8][plane]. */
typedef struct apq_weights {
  apq_u32x4 chunk[DEPTH][TILES][2][WORDS];
} apq_weights;

/* The activations that go with them. */
typedef struct apq_activations {
  apq_u32x4 chunk[DEPTH][YT][A_CHUNKS];
} apq_activations;

typedef struct apq_sums {
  int at[TILES][YT][PLANES][4];
} apq_sums;

APQ_FUNCTION void apq_clear(apq_sums *sums) {
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    APQ_UNROLL
    for (int yi = 0; yi < YT; yi++) {
      APQ_UNROLL
      for (int i = 0; i < PLANES; i++) {
        APQ_UNROLL
        for (int e = 0; e < 4; e++) sums->at[ti][yi][i][e] = 0;
      }
    }
  }
}

/* Word i of four. */
APQ_FUNCTION apq_u32 apq_word(const apq_u32x4 *v, int i) {
  return i == 0 ? v->x : i == 1 ? v->y : i == 2 ? v->z : v->w;
}

APQ_FUNCTION void apq_set_word(apq_u32x4 *v, int i, apq_u32 word) {
  if (i == 0) v->x = word;
  if (i == 1) v->y = word;
  if (i == 2) v->z = word;
  if (i == 3) v->w = word;
}

#if CORE == CORE_B1

/* d += one plane of 16 rows and half a slab times one fragment of activations. */
APQ_FUNCTION void apq_multiply(int d[4], const apq_u32x4 *low, const apq_u32x4 *high,
                               const apq_u32x4 *y, int half) {
  apq_u32 a[4], b[2];
  APQ_UNROLL
  for (int i = 0; i < 2; i++) {
    a[2 * i] = apq_word(low, 2 * half + i);
    a[2 * i + 1] = apq_word(high, 2 * half + i);
    b[i] = apq_word(y, 2 * half + i);
  }
  apq_mma_b1_and(d, a, b);
}

/* Fragments of activations that are multiplied side by side: an mma takes several times as long as
 * the next one may follow it, if it does not need its result. */
#define Y_GROUP (YT < 4 ? YT : 4)

/* Slab `d` of the weights times fragments `first` ... of activations. */
APQ_FUNCTION void apq_compute(apq_weights *w, int d, int first, const apq_u32x4 y[Y_GROUP],
                              apq_sums *sums) {
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
#if SCHEDULE == SCHEDULE_HORNER
    /* Over the planes of this slab. */
    int sum[Y_GROUP][4];
    APQ_UNROLL
    for (int yi = 0; yi < Y_GROUP; yi++) {
      APQ_UNROLL
      for (int e = 0; e < 4; e++) sum[yi][e] = 0;
    }
#endif
    APQ_UNROLL
    for (int i = P - 1; i >= 0; i--) {
      APQ_UNROLL
      for (int half = 0; half < 2; half++) {
        APQ_UNROLL
        for (int yi = 0; yi < Y_GROUP && first + yi < YT; yi++) {
#if SCHEDULE == SCHEDULE_SIDE
          int *sum = sums->at[ti][first + yi][i];
          apq_multiply(sum, &w->chunk[d][ti][0][i], &w->chunk[d][ti][1][i], &y[yi], half);
#else
          apq_multiply(sum[yi], &w->chunk[d][ti][0][i], &w->chunk[d][ti][1][i], &y[yi], half);
#endif
        }
      }
#if SCHEDULE == SCHEDULE_HORNER
      APQ_UNROLL
      for (int yi = 0; yi < Y_GROUP && first + yi < YT; yi++) {
        APQ_UNROLL
        for (int e = 0; e < 4; e++) {
          if (i > 0)
            sum[yi][e] = (int)((apq_u32)sum[yi][e] << 1);
          else
            sums->at[ti][first + yi][0][e] =
                (int)((apq_u32)sums->at[ti][first + yi][0][e] + (apq_u32)sum[yi][e]);
        }
      }
#endif
    }
  }
}

#else

/* A lane's 16 bytes of each plane are four words of 32 k.  Transposing the bits of word i of all
 * planes, as unpack.cu says, as far as there are planes, gives WORDS words: code k = 32 i + 8 j + s
 * is field s / WORDS, of WORDS bits, of byte j of word s % WORDS.  In place of the planes. */
APQ_FUNCTION void apq_transpose_weights(apq_weights *w) {
  APQ_UNROLL
  for (int c = 0; c < DEPTH * TILES * 2; c++) {
    apq_u32x4 *plane = w->chunk[c / (TILES * 2)][c / 2 % TILES][c % 2];
    APQ_UNROLL
    for (int i = 0; i < 4; i++) {
      apq_u32 word[8];
      /* Absent planes are zeros; the compiler removes what is done with them. */
      APQ_UNROLL
      for (int p = 0; p < 8; p++) word[p] = p < P ? apq_word(&plane[p < P ? p : 0], i) : 0;
      APQ_UNROLL
      for (int p = 0; p < WORDS / 2; p++)
        apq_exchange(&word[2 * p], &word[2 * p + 1], 1, 0x55555555u);
      APQ_UNROLL
      for (int p = 0; p < WORDS / 4 * 2; p++)
        apq_exchange(&word[p / 2 * 4 + p % 2], &word[p / 2 * 4 + p % 2 + 2], 2, 0x33333333u);
      APQ_UNROLL
      for (int p = 0; p < WORDS / 8 * 4; p++) apq_exchange(&word[p], &word[p + 4], 4, 0x0f0f0f0fu);
      APQ_UNROLL
      for (int p = 0; p < WORDS; p++) apq_set_word(&plane[p], i, word[p]);
    }
  }
}

/* Codes k = 32 i + 8 j + s of a row, of `chunk`, as bytes j of a word; with SCALES times 2 to the
 * power of SCALE_BITS(s), which the sums are rid of in the end. */
#define SCALE_BITS(s) ((s) / WORDS * WORDS)
APQ_FUNCTION apq_u32 apq_codes(const apq_u32x4 chunk[WORDS], int i, int s) {
  apq_u32 word = apq_word(&chunk[s % WORDS], i), mask = ((1u << WORDS) - 1) * 0x01010101u;
#if FIELDS == 1
  (void)mask;
  return word;
#elif SCALES > 1
  return word & mask << SCALE_BITS(s);
#else
  return word >> SCALE_BITS(s) & mask;
#endif
}

/* Codes s of all weights of a slab times chunk s of all fragments of activations. */
APQ_FUNCTION void apq_multiply_bytes(const apq_weights *w, int d, int s, const apq_u32x4 y[YT],
                                     apq_sums *sums) {
  APQ_UNROLL
  for (int half = 0; half < 2; half++) {
    APQ_UNROLL
    for (int ti = 0; ti < TILES; ti++) {
      apq_u32 a[4];
      APQ_UNROLL
      for (int i = 0; i < 4; i++) a[i] = apq_codes(w->chunk[d][ti][i % 2], 2 * half + i / 2, s);
      APQ_UNROLL
      for (int yi = 0; yi < YT; yi++) {
        apq_u32 b[2] = {apq_word(&y[yi], 2 * half), apq_word(&y[yi], 2 * half + 1)};
        apq_mma_u8(sums->at[ti][yi][s / WORDS % SCALES * CHAINS + half % CHAINS], a, b);
      }
    }
  }
}

#endif

/* ---- sums of a warp over the columns of its tokens ---- */

/* Tokens in a fragment of eight columns, and those that a lane has results of after apq_fold. */
#define FRAGMENT_TOKENS (8 / TOKEN_COLUMNS)
#define LANE_TOKENS     (TOKEN_COLUMNS == 1 ? 2 : 1)
/* Rows g and g + 8 of which a lane has results: where lanes of a quad add up, they share the rows.
 */
#define LANE_HALVES (TOKEN_COLUMNS > 2 ? 1 : 2)

/* The sum of an accumulator over the weight planes, or the fields of bytes. */
APQ_FUNCTION apq_u32 apq_sum(const apq_sums *sums, int ti, int yi, int e) {
  apq_u32 sum = 0;
  APQ_UNROLL
  for (int i = 0; i < PLANES; i++) {
#if CORE == CORE_U8
    sum += (apq_u32)sums->at[ti][yi][i][e] >> i / CHAINS * WORDS;
#else
    sum += (apq_u32)sums->at[ti][yi][i][e] << i;
#endif
  }
  return sum;
}

/* The exact sums of this warp: result[half][token].  With more than two columns a token, lane 4g+t
 * ends with row g + 8 (t % 2), of all columns of the token; else with both rows. */
APQ_FUNCTION void apq_fold(const apq_sums *sums, int ti, int yi, int quad,
                           apq_u32 result[LANE_HALVES][LANE_TOKENS]) {
#if TOKEN_COLUMNS == 1
  (void)quad;
  APQ_UNROLL
  for (int e = 0; e < 4; e++) result[e / 2][e % 2] = apq_sum(sums, ti, yi, e);
#else
  apq_u32 half[2];
  APQ_UNROLL
  for (int h = 0; h < 2; h++)
    half[h] = apq_sum(sums, ti, yi, 2 * h) + (apq_sum(sums, ti, yi, 2 * h + 1) << 1);
#if TOKEN_COLUMNS == 2
  (void)quad;
  result[0][0] = half[0];
  result[1][0] = half[1];
#else
  int shift = 2 * (quad % (TOKEN_COLUMNS / 2)), mine = quad % 2;
  apq_u32 kept = (mine ? half[1] : half[0]) << shift, sent = (mine ? half[0] : half[1]) << shift;
  kept += apq_shuffle_xor(sent, 1);
#if TOKEN_COLUMNS == 8
  kept += apq_shuffle_xor(kept, 2);
#endif
  result[0][0] = kept;
#endif
#endif
}

#if CLUSTER > 1

/* ---- sums on their way to another block: 16-byte chunks, one of each lane for SENT_TOKENS tokens
 * of 16 rows.  SENT_QUAD says which lane of a quad has an output, SENT_WORD which word of its chunk
 * that is. ---- */

#if TOKEN_COLUMNS == 1
#define SENT_TOKENS       8
#define SENT_QUAD(row, m) ((m) % 8 / 2)
#define SENT_WORD(row, m) ((row) % 16 / 8 * 2 + (m) % 2)
#elif TOKEN_COLUMNS == 2
#define SENT_TOKENS       8
#define SENT_QUAD(row, m) ((m) % 4)
#define SENT_WORD(row, m) ((m) % 8 / 4 * 2 + (row) % 16 / 8)
#elif TOKEN_COLUMNS == 4
#define SENT_TOKENS       8
#define SENT_QUAD(row, m) ((m) % 2 * 2 + (row) % 16 / 8)
#define SENT_WORD(row, m) ((m) % 8 / 2)
#else
#define SENT_TOKENS       8
#define SENT_QUAD(row, m) ((m) % 8 / 4 * 2 + (row) % 16 / 8)
#define SENT_WORD(row, m) ((m) % 4)
#endif

#define SENT_PARTS ((TILE_M + SENT_TOKENS - 1) / SENT_TOKENS)
#define SENT_WORDS (OWN / 16 * SENT_PARTS * 128) /* of a warp, into one block */

/* The chunk of lane 4g+t: an order in which eight lanes that write, and those that read one word of
 * eight rows, meet no bank conflict. */
#define SENT_PLACE(group, quad) ((quad)*8 + ((group) ^ 2 * (quad)))

/* Value `word` of fragment yi; nothing past the last fragment. */
APQ_FUNCTION apq_u32 apq_fold_one(const apq_sums *sums, int ti, int yi, int quad, int half,
                                  int token) {
  apq_u32 result[LANE_HALVES][LANE_TOKENS];
  if (yi >= YT) return 0;
  apq_fold(sums, ti, yi, quad, result);
  return result[half][token];
}

/* Chunk j of this lane. */
APQ_FUNCTION apq_u32x4 apq_fold_part(const apq_sums *sums, int ti, int j, int quad) {
  apq_u32 v[4];
  APQ_UNROLL
  for (int i = 0; i < 4; i++) {
#if TOKEN_COLUMNS == 1
    v[i] = apq_fold_one(sums, ti, j, quad, i / 2, i % 2);
#elif TOKEN_COLUMNS == 2
    v[i] = apq_fold_one(sums, ti, 2 * j + i / 2, quad, i % 2, 0);
#elif TOKEN_COLUMNS == 4
    v[i] = apq_fold_one(sums, ti, 4 * j + i, quad, 0, 0);
#else
    /* Two lanes have the same sum: each sends that of other tokens. */
    apq_u32 low = apq_fold_one(sums, ti, 8 * j + i, quad, 0, 0);
    apq_u32 high = apq_fold_one(sums, ti, 8 * j + 4 + i, quad, 0, 0);
    v[i] = quad < 2 ? low : high;
#endif
  }
  apq_u32x4 chunk = {v[0], v[1], v[2], v[3]};
  return chunk;
}

#endif
