/* ---- weight planes to u8 codes ----
 * Word t of the 16 bytes that a row of a plane has in a block of 128 k holds k = 32t .. 32t + 31; a
 * lane's eight plane words, transposed bit by bit, are eight words of four codes, k = 32t + 8j + b
 * in byte j of word b.  Three rounds of exchanges make the transpose, in any order; what absent
 * planes would add is zero, and the compiler removes it. */

/* One exchange of an 8x8 bit transpose: `low` keeps the bits of `mask` and gets those of `high`,
 * shifted up, in the places between; `high` gets the rest.  The mask's bits shifted up are its
 * other bits. */
APQ_FUNCTION void apq_exchange(apq_u32 *low, apq_u32 *high, int shift, apq_u32 mask) {
  apq_u32 kept = apq_select(*low, *high << shift, mask);
  *high = apq_select(*low >> shift, *high, mask);
  *low = kept;
}

/* The words of eight planes, or fewer and zeros, to words of four codes.  P is the number of planes
 * that there are. */
APQ_FUNCTION void apq_transpose(apq_u32 word[8]) {
  APQ_UNROLL
  for (int i = 0; i < 8; i += 4) {
    if (i >= P) continue;
    apq_exchange(&word[i], &word[i + 1], 1, 0x55555555u);
    apq_exchange(&word[i + 2], &word[i + 3], 1, 0x55555555u);
    apq_exchange(&word[i], &word[i + 2], 2, 0x33333333u);
    apq_exchange(&word[i + 1], &word[i + 3], 2, 0x33333333u);
  }
  APQ_UNROLL
  for (int i = 0; i < 4; i++) apq_exchange(&word[i], &word[i + 4], 4, 0x0f0f0f0fu);
}

/* The same in fewer operations, most of them in the logic unit: for kernels that are bound by the
 * number of their instructions.  With plane i turned left by i, bit b of a byte stands at b + i in
 * each, so that a word of codes is a selection among the planes, and is turned back last.  Half a
 * word's bits are the four planes from `first` on.
 *
 * Those planes, in place, to words s = 0 ... 3: they take, of plane `first` + i, the bits i + s
 * modulo 4, and hold these planes' bits of the codes s and s + 4 of all bytes.  Planes that do not
 * exist are zeros. */
APQ_FUNCTION void apq_half_codes(apq_u32 word[4], int first) {
  apq_u32 turned[4];
  APQ_UNROLL
  for (int i = 0; i < 4; i++) {
    turned[i] = first + i < P ? word[i] : 0;
    if (first + i > 0 && first + i < P) turned[i] = apq_rotate(word[i], first + i);
  }
  apq_u32 even = apq_select(turned[0], turned[1], 0x55555555u);
  apq_u32 even_high = apq_select(turned[2], turned[3], 0x55555555u);
  apq_u32 odd = apq_select(turned[1], turned[0], 0x55555555u);
  apq_u32 odd_high = apq_select(turned[3], turned[2], 0x55555555u);
  word[0] = apq_select(even, even_high, 0x33333333u);
  word[1] = apq_select(odd, odd_high, 0x66666666u);
  word[2] = apq_select(even_high, even, 0x33333333u);
  word[3] = apq_select(odd_high, odd, 0x66666666u);
}

/* The words of mma step s, of words s of both halves: the codes s, and s + 4; for activations in
 * pairs (bitplane.h) both of them, the first plus 16 times the second, in place of the second. */
APQ_FUNCTION void apq_take_codes(apq_u32 low, apq_u32 high, int s, apq_u32 *first,
                                 apq_u32 *second) {
#if FORM == FORM_PAIRS
  *second = s > 0 ? apq_rotate(low, 32 - s) : low;
  *first = *second & 0x0f0f0f0fu;
  (void)high;
#else
  *first = apq_select(low, high, 0x0f0f0f0fu << s);
  if (s > 0) *first = apq_rotate(*first, 32 - s);
  *second = apq_rotate(apq_select(high, low, 0x0f0f0f0fu << s), 28 - s);
#endif
}
