/* Weights that share another's planes, and the one conversion that cannot. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "status.h"
#include "weights.h"

/* ---- new maps ---- */

/* What a code stood for, and what it shall stand for: scales by `factor`, zero points by the
 * function. */
typedef struct remap {
  float factor;
  apq__affine affine; /* after; where there are zero points only its alpha counts */
  int alpha, dropped; /* before; planes left out */
  int64_t (*zero)(const struct remap *, int64_t);
} remap;

/* The integer nearest to (zero - alpha (2^d - 1) / 2) / (alpha 2^(d-1)), the lower of two: the
 * least integer not below the quotient less a half. */
static int64_t mean_zero(const remap *to, int64_t zero) {
  const int64_t step = (int64_t)to->alpha << to->dropped;
  const int64_t above = 2 * (2 * zero - (step - to->alpha)) - step, divisor = 2 * step;
  return above / divisor + (above % divisor > 0);
}

static int64_t same_zero(const remap *to, int64_t zero) {
  (void)to;
  return zero;
}

static int64_t doubled_zero(const remap *to, int64_t zero) {
  (void)to;
  return 2 * zero;
}

static int64_t halved_zero(const remap *to, int64_t zero) {
  (void)to;
  return zero / 2;
}

static apq_status map_scales(apq__weights_copy *copy, int64_t count, float factor,
                             apq_error *error) {
  if (factor == 1.0f) return APQ_OK;
  if (!copy->scales) {
    copy->scales = apq__alloc((size_t)count * sizeof *copy->scales);
    if (!copy->scales) return apq__weights_no_memory(copy->parts.n, copy->parts.k, error);
    for (int64_t i = 0; i < count; i++) copy->scales[i] = 1.0f;
    copy->parts.scales = copy->scales;
  }
  for (int64_t i = 0; i < count; i++) {
    const float before = copy->scales[i], after = before * factor;
    /* A power of two: only the ends of the range of float can spoil it. */
    if (!isfinite(after) || after / factor != before)
      return apq__fail(error, APQ_OUT_OF_RANGE, "weights",
                       "scale %g: times %g it is not exact in float", (double)before,
                       (double)factor);
    copy->scales[i] = after;
  }
  return APQ_OK;
}

static apq_status map_zeros(apq__weights_copy *copy, int64_t count, const remap *to,
                            apq_error *error) {
  for (int64_t i = 0; copy->zeros && i < count; i++) {
    const int64_t zero = to->zero(to, copy->zeros[i]);
    if (zero < INT32_MIN || zero > INT32_MAX)
      return apq__fail(error, APQ_OUT_OF_RANGE, "weights",
                       "zero %d: its place in the new format does not fit 32 bits", copy->zeros[i]);
    copy->zeros[i] = (int32_t)zero;
  }
  return APQ_OK;
}

/* Applies `to` to what was copied from `weights`, and makes it a view of them. */
static apq_status build_view(apq_weights *weights, int bits, apq_format format, const remap *to,
                             apq_weights **out, apq_error *error) {
  const int64_t cells = (int64_t)weights->n * weights->groups;
  apq__weights_copy copy;
  apq_status status = apq__weights_copy_out(weights, &copy, error);
  if (status) return status;
  status = map_scales(&copy, cells, to->factor, error);
  if (!status) status = map_zeros(&copy, cells, to, error);
  if (!status) {
    copy.parts.planes = copy.planes + apq__planes_bytes(weights->n, weights->k, to->dropped);
    copy.parts.bits = bits;
    copy.parts.format = format;
    copy.parts.affine = to->affine;
    status = apq__weights_build(weights->context, &copy.parts, weights, to->dropped, out, error);
  }
  apq__weights_copy_free(&copy);
  return status;
}

/* ---- fewer bits ---- */

apq_status apq_weights_view(apq_weights *parent, int bits, apq_weights **out, apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(parent, "parent", error);
  if (status) return status;
  if (bits < 1 || bits > parent->bits)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "bits=%d: must be 1 to the %d of the parent", bits, parent->bits);
  /* From the whole, so that no rounding of zero points builds on another. */
  while (parent->dropped) parent = parent->parent;
  remap to = {1.0f, parent->affine, parent->affine.alpha, parent->bits - bits, same_zero};
  if (!to.dropped) return build_view(parent, bits, parent->format, &to, out, error);
  to.zero = mean_zero;
  to.factor = ldexpf((float)parent->affine.alpha, to.dropped - 1);
  to.affine = (apq__affine){2, (int)mean_zero(&to, parent->affine.zero)};
  return build_view(parent, bits, APQ_FORMAT_BIPOLAR, &to, out, error);
}

/* ---- another format ---- */

static apq_status unsupported(const apq_weights *weights, apq_format format, const char *why,
                              apq_error *error) {
  return apq__fail(error, APQ_UNSUPPORTED, "weights", "from %s to %s: %s",
                   apq_format_name(weights->format), apq_format_name(format), why);
}

/* The integers 2 u - zero, odd as the zero is, as codes of one bit more: 2 u + 1 on a zero one
 * above. */
static apq_status widen(apq_weights *weights, apq_weights **out, apq_error *error) {
  const int n = weights->n, k = weights->k, bits = weights->bits + 1;
  const size_t plane = (size_t)apq__planes_bytes(n, k, 1), row = (size_t)apq__plane_row_bytes(k);
  apq__weights_copy copy;
  apq_status status = apq__weights_copy_out(weights, &copy, error);
  if (status) return status;
  uint8_t *planes = apq__calloc((size_t)bits, plane);
  if (!planes) {
    status = apq__weights_no_memory(n, k, error);
    goto cleanup;
  }
  for (int i = 0; i < n; i++) {
    memset(planes + (size_t)i * row, 0xff, (size_t)k / 8);
    if (k % 8) planes[(size_t)i * row + (size_t)k / 8] = (uint8_t)((1u << (k % 8)) - 1);
  }
  memcpy(planes + plane, copy.planes, plane * (size_t)weights->bits);
  copy.parts.planes = planes;
  copy.parts.bits = bits;
  copy.parts.format = APQ_FORMAT_INT;
  copy.parts.affine = (apq__affine){1, weights->affine.zero + 1};
  status = apq__weights_build(weights->context, &copy.parts, NULL, 0, out, error);

cleanup:
  apq__free(planes);
  apq__weights_copy_free(&copy);
  return status;
}

apq_status apq_weights_convert(apq_weights *weights, apq_format format, apq_weights **out,
                               apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(weights, "weights", error);
  if (!status) status = apq__check_format(format, "format", error);
  if (status) return status;
  const apq__affine map = weights->affine;
  remap to = {1.0f, map, map.alpha, 0, same_zero};
  if (format == weights->format) return build_view(weights, weights->bits, format, &to, out, error);
  if (format == APQ_FORMAT_UINT || weights->format == APQ_FORMAT_UINT)
    return unsupported(weights, format, "the two share no map", error);
  if (format == APQ_FORMAT_BIPOLAR) {
    to = (remap){0.5f, {2, 2 * map.zero}, map.alpha, 0, doubled_zero};
    return build_view(weights, weights->bits, format, &to, out, error);
  }
  /* Zero points of their own only stay in views of UINT weights, where they may be odd or even. */
  if (weights->w_zero)
    return unsupported(weights, format, "weights with zero points are no integers of it", error);
  if (map.zero % 2 == 0) {
    to = (remap){2.0f, {1, map.zero / 2}, map.alpha, 0, halved_zero};
    return build_view(weights, weights->bits, format, &to, out, error);
  }
  if (weights->bits == 8) return unsupported(weights, format, "it would take 9 bits", error);
  return widen(weights, out, error);
}
