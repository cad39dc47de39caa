/* ---- family decode: what a warp holds of both operands, and their products ----
 * A slab is 512 k: 64 bytes of a row of a plane, of which lane 4g+t has the 16 bytes of chunk t.
 * The order of k inside a fragment is free as long as both operands agree, so those 16 bytes are
 * used as they come. */

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

/* 16-byte chunks of activations that a lane needs for a slab of a fragment. */
#if CORE == CORE_U8
#define A_CHUNKS 8
#else
#define A_CHUNKS 1
#endif

/* Accumulators: of each weight plane, or one for all of them. */
#if CORE == CORE_B1 && SCHEDULE == SCHEDULE_SIDE
#define PLANES P
#else
#define PLANES 1
#endif

/* The weights of DEPTH slabs: [slab][16 rows][row g, g + 8][plane]. */
typedef struct apq_weights {
  apq_u32x4 chunk[DEPTH][TILES][2][P];
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

/* A lane's 16 bytes of each plane are four words of 32 k.  As in imma.cu, transposing the bits of
 * word i of all planes gives words of u8 codes: k = 32 i + 8 j + s in byte j of word s.  Words s
 * and s + 4 make one mma step; activations, stored in that order, have word i of step s in word i
 * of chunks s and s + 4. */
#define HALF_WORDS (P > 4 ? 8 : 4)
typedef struct apq_codes {
  apq_u32 word[TILES][2][4][HALF_WORDS];
} apq_codes;

/* The first two exchanges, which make words of four-bit codes. */
APQ_FUNCTION void apq_unpack(const apq_weights *w, int d, apq_codes *codes) {
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    APQ_UNROLL
    for (int i = 0; i < 8; i++) {
      apq_u32 *word = codes->word[ti][i / 4][i % 4];
      /* Absent planes are zeros; the compiler removes what is done with them. */
      APQ_UNROLL
      for (int plane = 0; plane < HALF_WORDS; plane++)
        word[plane] =
            plane < P ? apq_word(&w->chunk[d][ti][i / 4][plane < P ? plane : 0], i % 4) : 0;
      APQ_UNROLL
      for (int half = 0; half < HALF_WORDS; half += 4) {
        apq_exchange(&word[half], &word[half + 1], 1, 0x55555555u);
        apq_exchange(&word[half + 2], &word[half + 3], 1, 0x55555555u);
        apq_exchange(&word[half], &word[half + 2], 2, 0x33333333u);
        apq_exchange(&word[half + 1], &word[half + 3], 2, 0x33333333u);
      }
    }
  }
}

/* The third exchange: the u8 codes of word i of mma step s. */
APQ_FUNCTION void apq_step_codes(const apq_codes *codes, int ti, int i, int s, apq_u32 x[4]) {
  APQ_UNROLL
  for (int half = 0; half < 2; half++) {
    apq_u32 low = codes->word[ti][half][i][s];
    apq_u32 high = P > 4 ? codes->word[ti][half][i][HALF_WORDS - 4 + s] : 0;
    apq_exchange(&low, &high, 4, 0x0f0f0f0fu);
    x[half] = low;
    x[2 + half] = high;
  }
}

/* Step s of a slab times chunks s and s + 4 of a fragment of activations. */
APQ_FUNCTION void apq_compute_step(const apq_codes *codes, int s, int yi, const apq_u32x4 *low,
                                   const apq_u32x4 *high, apq_sums *sums) {
  APQ_UNROLL
  for (int ti = 0; ti < TILES; ti++) {
    APQ_UNROLL
    for (int i = 0; i < 4; i++) {
      apq_u32 x[4], y[2] = {apq_word(low, i), apq_word(high, i)};
      apq_step_codes(codes, ti, i, s, x);
      apq_mma_u8(sums->at[ti][yi][0], x, y);
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

/* The sum of an accumulator over the weight planes. */
APQ_FUNCTION apq_u32 apq_sum(const apq_sums *sums, int ti, int yi, int e) {
  apq_u32 sum = 0;
  APQ_UNROLL
  for (int i = 0; i < PLANES; i++) sum += (apq_u32)sums->at[ti][yi][i][e] << i;
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
