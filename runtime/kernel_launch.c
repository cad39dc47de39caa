#include "kernel_launch.h"

apq_status apq__kernel_launch(apq__device *device, const apq__kernel *kernel,
                              const apq__shape *shape, const void *args, size_t args_size,
                              void *stream, apq_error *error) {
  const apq__launch launch = {.kernel = kernel,
                              .grid = {shape->grid[0], shape->grid[1], shape->grid[2]},
                              .threads = shape->threads,
                              .smem_bytes = shape->smem_bytes,
                              .args = args,
                              .args_size = args_size,
                              .cluster = shape->cluster,
                              .dependent = shape->dependent};
  return device->ops->launch(device, &launch, stream, error);
}

/* The map of `planes` planes, one after another, of `rows` rows of `row_bytes` bytes that begin
 * `row_pitch` bytes apart. */
static apq_status get_map(apq__map_cache *cache, apq__device *device, const apq__box *box,
                          const void *base, int planes, int rows, size_t row_bytes,
                          size_t row_pitch, apq_tensor_map *out, apq_error *error) {
  const apq__tensor_box tensor = {.base = base,
                                  .row_bytes = row_bytes,
                                  .rows = (size_t)rows,
                                  .planes = (size_t)planes,
                                  .row_pitch = row_pitch,
                                  .plane_pitch = (size_t)rows * row_pitch,
                                  .box_bytes = box->bytes,
                                  .box_rows = box->rows,
                                  .swizzle = box->swizzle};
  return apq__map_get(cache, device, &tensor, out, error);
}

/* The map of a matrix of results, or the one that goes with them, whose rows may be apart; none
 * where they do not begin and end at 16-byte addresses, which the kernel sees for itself.  Elements
 * of 2 bytes. */
static apq_status get_result_map(apq__map_cache *cache, apq__device *device, const apq__box *box,
                                 const apq_gemm_args *args, const void *base, long long ld,
                                 apq_tensor_map *out, apq_error *error) {
  enum { BYTES = 2, ALIGNMENT = 16 };
  const size_t pitch = (size_t)ld * BYTES, row_bytes = (size_t)args->n * BYTES;
  if (pitch % ALIGNMENT || row_bytes % ALIGNMENT || (uintptr_t)base % ALIGNMENT) return APQ_OK;
  return get_map(cache, device, box, base, 1, args->m, row_bytes, pitch, out, error);
}

apq_status apq__weights_map(apq__device *device, const apq__shape *shape, const apq_gemm_args *args,
                            int p, apq_tensor_map *out, apq_error *error) {
  const size_t bytes = (size_t)args->row_bytes;
  return get_map(NULL, device, &shape->w_box, args->w, p, args->n, bytes, bytes, out, error);
}

apq_status apq__product_launch(apq__device *device, const apq__kernel *kernel,
                               const apq__shape *shape, const apq_gemm_args *args,
                               const apq_tensor_map *w_map, apq__map_cache *cache, int q,
                               apq__form form, void *stream, apq_error *error) {
  if (!shape->is_tma)
    return apq__kernel_launch(device, kernel, shape, args, sizeof *args, stream, error);
  apq_tma_args all = {.w = *w_map, .gemm = *args};
  const int has_planes = form == APQ__FORM_PLANES;
  /* A row of bytes holds eight for each byte of a plane's row. */
  const size_t a_bytes = (size_t)args->row_bytes * (has_planes ? 1 : 8);
  apq_status status = get_map(cache, device, &shape->a_box, args->a, has_planes ? q : 1, args->m,
                              a_bytes, a_bytes, &all.a, error);
  if (!status && shape->y_box.bytes)
    status = get_result_map(cache, device, &shape->y_box, args, args->y, args->ldy, &all.y, error);
  if (!status && shape->y_box.bytes && args->combine)
    status = get_result_map(cache, device, &shape->y_box, args, args->other, args->ld_other,
                            &all.other, error);
  if (status) return status;
  return apq__kernel_launch(device, kernel, shape, &all, sizeof all, stream, error);
}
