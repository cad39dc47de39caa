#include "weights.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "status.h"

/* What the parts have in common. */
static apq_status check_parts(apq_context *context, const apq_weights *const *parts, int count,
                              int *n, apq_error *error) {
  int64_t total = 0;
  for (int i = 0; i < count; i++) {
    char name[24];
    snprintf(name, sizeof name, "parts[%d]", i);
    apq_status status = apq__check_pointer(parts[i], name, error);
    if (status) return status;
    const apq_weights *a = parts[0], *b = parts[i];
    if (b->context != context)
      return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "%s: made in another context",
                       name);
    if (b->k != a->k || b->bits != a->bits || b->format != a->format || b->group != a->group ||
        b->affine.alpha != a->affine.alpha)
      return apq__fail(error, APQ_BAD_SHAPE, "argument",
                       "%s: k=%d, %d bits, %s, groups of %d; the first has k=%d, %d bits, %s, %d",
                       name, b->k, b->bits, apq_format_name(b->format), b->group, a->k, a->bits,
                       apq_format_name(a->format), a->group);
    total += b->n;
  }
  if (total > APQ__DIMENSION_MAX)
    return apq__fail(error, APQ_BAD_SHAPE, "argument", "parts: %lld rows are more than %d",
                     (long long)total, APQ__DIMENSION_MAX);
  *n = (int)total;
  return APQ_OK;
}

/* Puts one part's rows behind the `row` rows before it, on the host. */
static void put_part(const apq__weights_copy *part, apq__weights_copy *all, int row) {
  const apq__weights_parts *from = &part->parts, *to = &all->parts;
  const size_t row_bytes = (size_t)apq__plane_row_bytes(from->k);
  const size_t plane = (size_t)from->n * row_bytes;
  for (int bit = 0; bit < from->bits; bit++)
    memcpy(all->planes + ((size_t)bit * (size_t)to->n + (size_t)row) * row_bytes,
           part->planes + (size_t)bit * plane, plane);
  const int groups = apq__weights_groups(from->group, from->k);
  const size_t cells = (size_t)from->n * (size_t)groups, at = (size_t)row * (size_t)groups;
  for (size_t i = 0; i < cells && all->scales; i++)
    all->scales[at + i] = part->scales ? part->scales[i] : 1.0f;
  for (size_t i = 0; i < cells && all->zeros; i++)
    all->zeros[at + i] = part->zeros ? part->zeros[i] : from->affine.zero;
}

static apq_status join(const apq_weights *const *parts, int count, apq__weights_copy *all,
                       apq_error *error) {
  int row = 0;
  for (int i = 0; i < count; i++) {
    apq__weights_copy part;
    apq_status status = apq__weights_copy_out(parts[i], &part, error);
    if (status) return status;
    put_part(&part, all, row);
    row += parts[i]->n;
    apq__weights_copy_free(&part);
  }
  return APQ_OK;
}

apq_status apq_weights_concat(apq_context *context, const apq_weights *const *parts, int count,
                              apq_weights **out, apq_error *error) {
  int n = 0, has_scales = 0, has_zeros = 0;
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(parts, "parts", error);
  if (!status && count < 1)
    status =
        apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "count=%d: must be at least 1", count);
  if (!status) status = check_parts(context, parts, count, &n, error);
  if (status) return status;
  const apq_weights *first = parts[0];
  for (int i = 0; i < count; i++) {
    has_scales |= parts[i]->w_scale != NULL;
    has_zeros |= parts[i]->w_zero || parts[i]->affine.zero != first->affine.zero;
  }

  apq__weights_copy all = {.parts = {.n = n,
                                     .k = first->k,
                                     .bits = first->bits,
                                     .format = first->format,
                                     .affine = first->affine,
                                     .group = first->group}};
  const size_t cells = (size_t)n * (size_t)first->groups;
  all.planes = apq__alloc((size_t)apq__planes_bytes(n, first->k, first->bits));
  if (has_scales) all.scales = apq__alloc(cells * sizeof *all.scales);
  if (has_zeros) all.zeros = apq__alloc(cells * sizeof *all.zeros);
  if (!all.planes || (has_scales && !all.scales) || (has_zeros && !all.zeros))
    status = apq__weights_no_memory(n, first->k, error);
  else
    status = join(parts, count, &all, error);
  all.parts.planes = all.planes;
  all.parts.scales = all.scales;
  all.parts.zeros = all.zeros;
  if (!status) status = apq__weights_build(context, &all.parts, NULL, 0, out, error);
  apq__weights_copy_free(&all);
  return status;
}
