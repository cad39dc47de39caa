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
 * codes a lane (templates/unpack.cu, absent planes folded away): by exchanges. */
extern const double apq__unpack_operations[9];
/* And as the kernels on mma.sync do it, for activations as codes or in pairs. */
double apq__select_operations(int p, int is_pairs);

#endif
