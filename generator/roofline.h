/* What the families' cost models share; private to generator/. */
#ifndef APQ_ROOFLINE_H
#define APQ_ROOFLINE_H

static inline double at_least(double a, double b) {
  return a > b ? a : b;
}
static inline double at_most(double a, double b) {
  return a < b ? a : b;
}

/* 32-bit operations that transposing the words of p planes costs, for eight words of codes, 32
 * codes a lane, or for the words that activations in pairs want (templates/unpack.cu, absent planes
 * folded away). */
double apq__unpack_operations(int p, int is_pairs);

#endif
