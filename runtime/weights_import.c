/* Weights from the packed int32 arrays of model checkpoints. */
#include <string.h>

#include "alloc.h"
#include "config.h"
#include "context.h"
#include "parallel.h"
#include "status.h"
#include "weights.h"

enum { WORD_BITS = 32 };

/* ---- fields ---- */

/* Field `i` of a sequence of `bits`-bit fields, packed without gaps from bit 0 of word 0 on, whose
 * words lie `stride` apart.  A field may straddle two words. */
static unsigned stream_field(const uint32_t *words, int64_t stride, int64_t i, int bits) {
  const int64_t first = i * bits / WORD_BITS;
  const int shift = (int)(i * bits % WORD_BITS);
  uint64_t word = words[first * stride];
  if (shift + bits > WORD_BITS) word |= (uint64_t)words[(first + 1) * stride] << WORD_BITS;
  return (unsigned)(word >> shift) & ((1u << bits) - 1);
}

/* Field of column `n` in a row of words of eight 4-bit fields in AWQ's order. */
static unsigned awq_field(const uint32_t *row, int64_t n) {
  static const uint8_t place[8] = {0, 4, 1, 5, 2, 6, 3, 7}; /* of columns 0 to 7 */
  return row[n / 8] >> (4 * place[n % 8]) & 15;
}

static unsigned code_at(const apq_checkpoint_desc *desc, int n, int k) {
  const uint32_t *words = (const uint32_t *)desc->qweight;
  if (desc->layout == APQ_CHECKPOINT_AWQ) return awq_field(words + (int64_t)k * (desc->n / 8), n);
  return stream_field(words + n, desc->n, k, desc->bits);
}

static int zero_at(const apq_checkpoint_desc *desc, int n, int g) {
  const int levels = 1 << desc->bits;
  if (!desc->qzeros) return levels / 2;
  const uint32_t *row =
      (const uint32_t *)desc->qzeros + (int64_t)g * desc->n * desc->bits / WORD_BITS;
  if (desc->layout == APQ_CHECKPOINT_AWQ) return (int)awq_field(row, n);
  const int field = (int)stream_field(row, 1, n, desc->bits);
  /* Quantizers' zero points lie in 0 .. 2^bits-1, so the field of -1 can only mean 0. */
  return desc->layout == APQ_CHECKPOINT_GPTQ ? (field + 1) % levels : field;
}

/* ---- checks ---- */

static apq_status check_layout(const apq_checkpoint_desc *desc, apq_error *error) {
  if ((unsigned)desc->layout >= APQ_CHECKPOINT_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "layout=%d: not an apq_checkpoint",
                     (int)desc->layout);
  if (desc->layout == APQ_CHECKPOINT_AWQ) {
    if (desc->bits != 4)
      return apq__fail(error, APQ_UNSUPPORTED, "argument",
                       "bits=%d: AWQ defines no packed layout but that of 4 bits", desc->bits);
    if (desc->n % 8)
      return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                       "n=%d: AWQ packs 8 output channels a word", desc->n);
    return APQ_OK;
  }
  if (desc->bits != 2 && desc->bits != 3 && desc->bits != 4 && desc->bits != 8)
    return apq__fail(error, APQ_UNSUPPORTED, "argument",
                     "bits=%d: GPTQ defines packed layouts of 2, 3, 4 and 8 bits", desc->bits);
  if ((int64_t)desc->k * desc->bits % WORD_BITS)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "k=%d: a column of %d-bit codes does not fill whole words", desc->k,
                     desc->bits);
  if (desc->qzeros && (int64_t)desc->n * desc->bits % WORD_BITS)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "n=%d: a row of %d-bit zero points does not fill whole words", desc->n,
                     desc->bits);
  return APQ_OK;
}

static apq_status check_desc(const apq_checkpoint_desc *desc, apq_error *error) {
  apq_status status = apq__check_dimension(desc->n, "n", error);
  if (!status) status = apq__check_dimension(desc->k, "k", error);
  if (!status) status = apq__check_bits(desc->bits, "bits", error);
  if (!status) status = apq__check_group(desc->group, desc->k, error);
  if (!status) status = check_layout(desc, error);
  if (!status) status = apq__check_pointer(desc->qweight, "qweight", error);
  if (!status) status = apq__check_pointer(desc->scales, "scales", error);
  if (status) return status;
  if (desc->scale_dtype != APQ_DTYPE_F16 && desc->scale_dtype != APQ_DTYPE_BF16 &&
      desc->scale_dtype != APQ_DTYPE_F32)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "scale_dtype=%s: must be f16, bf16 or f32", apq_dtype_name(desc->scale_dtype));
  if (desc->on_device != 0 && desc->on_device != 1)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "on_device=%d: must be 0 or 1",
                     desc->on_device);
  return APQ_OK;
}

static apq_status check_order(const apq_checkpoint_desc *desc, int group, apq_error *error) {
  const int groups = apq__weights_groups(group, desc->k);
  int is_ordered = 1;
  int64_t wrong = -1;
  for (int k = 0; desc->g_idx && k < desc->k; k++) {
    if (desc->g_idx[k] < 0 || desc->g_idx[k] >= groups)
      return apq__fail(error, APQ_INVALID_ARGUMENT, "argument", "g_idx[%d]=%d: there are %d groups",
                       k, desc->g_idx[k], groups);
    if (k && desc->g_idx[k] < desc->g_idx[k - 1]) is_ordered = 0;
    if (wrong < 0 && desc->g_idx[k] != (group ? k / group : 0)) wrong = k;
  }
  if (!is_ordered)
    return apq__fail(
        error, APQ_UNSUPPORTED, "weights",
        "g_idx[%lld]=%d: the rows are in activation order (act-order, desc_act), which "
        "is not supported: quantize without it",
        (long long)wrong, desc->g_idx[wrong]);
  if (wrong >= 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "argument",
                     "g_idx[%lld]=%d: does not follow from group=%d", (long long)wrong,
                     desc->g_idx[wrong], desc->group);
  return APQ_OK;
}

/* ---- unpacking ---- */

typedef struct unpacking {
  const apq_checkpoint_desc *desc;
  int groups;
  uint8_t *codes; /* [n][k] */
  float *scales;  /* [n][groups] */
  int32_t *zeros; /* [n][groups] */
} unpacking;

/* Channels begin to end, a few at a time: neighbors share the words or cache lines of the source.
 */
static void unpack_rows(void *user, int worker, int begin, int end) {
  enum { TOGETHER = 32 };
  const unpacking *job = user;
  const apq_checkpoint_desc *desc = job->desc;
  (void)worker;
  for (int first = begin; first < end; first += TOGETHER) {
    const int last = end - first < TOGETHER ? end : first + TOGETHER;
    for (int k = 0; k < desc->k; k++)
      for (int n = first; n < last; n++)
        job->codes[(int64_t)n * desc->k + k] = (uint8_t)code_at(desc, n, k);
  }
  for (int n = begin; n < end; n++)
    for (int g = 0; g < job->groups; g++) {
      const int64_t cell = (int64_t)n * job->groups + g;
      job->scales[cell] =
          apq__load_float(desc->scales, desc->scale_dtype, (int64_t)g * desc->n + n);
      job->zeros[cell] = zero_at(desc, n, g);
    }
}

static int is_symmetric(const unpacking *job) {
  const int64_t count = (int64_t)job->desc->n * job->groups;
  for (int64_t i = 0; i < count; i++)
    if (job->zeros[i] != 1 << (job->desc->bits - 1)) return 0;
  return 1;
}

static apq_status unpack(apq_context *context, const apq_checkpoint_desc *desc, int group,
                         apq_weights **out, apq_error *error) {
  const int groups = apq__weights_groups(group, desc->k);
  const size_t cells = (size_t)desc->n * (size_t)groups;
  const int workers = apq__parallel_workers(desc->n, 1 + (1 << 18) / desc->k);
  unpacking job = {.desc = desc,
                   .groups = groups,
                   .codes = apq__calloc((size_t)desc->n, (size_t)desc->k),
                   .scales = apq__calloc(cells, sizeof *job.scales),
                   .zeros = apq__calloc(cells, sizeof *job.zeros)};
  apq_status status = APQ_OK;
  if (!job.codes || !job.scales || !job.zeros) {
    status = apq__weights_no_memory(desc->n, desc->k, error);
    goto cleanup;
  }
  apq__parallel(workers, desc->n, unpack_rows, &job);
  /* With the format's own zero point kernels do less. */
  const apq_format format = is_symmetric(&job) ? APQ_FORMAT_INT : APQ_FORMAT_UINT;
  const apq__weights_parts parts = {.n = desc->n,
                                    .k = desc->k,
                                    .bits = desc->bits,
                                    .format = format,
                                    .affine = apq__format_affine(format, desc->bits),
                                    .group = group,
                                    .scales = job.scales,
                                    .zeros = format == APQ_FORMAT_INT ? NULL : job.zeros};
  status = apq__weights_build_codes(context, &parts, job.codes, desc->k, out, error);

cleanup:
  apq__free(job.codes);
  apq__free(job.scales);
  apq__free(job.zeros);
  return status;
}

/* Brings the arrays of `desc` from the device to the host; `made` takes the memory. */
static apq_status fetch(apq_context *context, apq_checkpoint_desc *desc, int groups, void *made[4],
                        apq_error *error) {
  const int64_t n = desc->n, k = desc->k, bits = desc->bits;
  const void *const from[4] = {desc->qweight, desc->qzeros, desc->scales, desc->g_idx};
  const int64_t words =
      desc->layout == APQ_CHECKPOINT_AWQ ? n * bits / WORD_BITS * k : k * bits / WORD_BITS * n;
  const int64_t bytes[4] = {4 * words, 4 * (n * bits / WORD_BITS) * groups,
                            n * groups * (int64_t)apq__dtype_bytes(desc->scale_dtype), 4 * k};
  apq_status status = APQ_OK;
  for (int i = 0; i < 4 && !status; i++)
    status = apq__weights_fetch(context, from[i], (size_t)bytes[i], &made[i], error);
  desc->qweight = made[0];
  desc->qzeros = made[1];
  desc->scales = made[2];
  desc->g_idx = made[3];
  return status;
}

apq_status apq_weights_import(apq_context *context, const apq_checkpoint_desc *desc,
                              apq_weights **out, apq_error *error) {
  apq_status status = apq__check_pointer(out, "out", error);
  if (status) return status;
  *out = NULL;
  status = apq__check_pointer(context, "context", error);
  if (!status) status = apq__check_pointer(desc, "desc", error);
  if (!status) status = check_desc(desc, error);
  if (status) return status;
  const int group = apq__weights_group(desc->group, desc->k);
  apq_checkpoint_desc host = *desc;
  void *made[4] = {NULL, NULL, NULL, NULL};
  if (desc->on_device)
    status = fetch(context, &host, apq__weights_groups(group, desc->k), made, error);
  if (!status) status = check_order(&host, group, error);
  if (!status) status = unpack(context, &host, group, out, error);
  for (int i = 0; i < 4; i++) apq__free(made[i]);
  return status;
}
