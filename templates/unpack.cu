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
