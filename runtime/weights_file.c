#include "weights_file.h"

#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "bitplane.h"
#include "context.h"
#include "host.h"
#include "parallel.h"
#include "status.h"

void apq__file_tensors(const apq__weights_parts *parts, int has_scales, int has_zeros,
                       apq__file_tensor tensor[APQ__FILE_TENSORS]) {
  const int64_t row = apq__plane_row_bytes(parts->k);
  const int64_t groups = apq__weights_groups(parts->group, parts->k);
  const int64_t cells = 4 * parts->n * groups;
  tensor[0] = (apq__file_tensor){
      ".planes",    "U8", 3, {parts->bits, parts->n, row}, parts->bits * parts->n * row,
      parts->planes};
  tensor[1] = (apq__file_tensor){".scales",    "F32", 2, {parts->n, groups}, has_scales ? cells : 0,
                                 parts->scales};
  tensor[2] = (apq__file_tensor){".zeros",    "I32", 2, {parts->n, groups}, has_zeros ? cells : 0,
                                 parts->zeros};
}

/* ---- the note about a matrix ---- */

apq_status apq__file_text(const apq__weights_parts *parts, char text[APQ__KEY_MAX],
                          apq_error *error) {
  const struct {
    const char *name;
    int value;
  } numbers[] = {{"alpha", parts->affine.alpha},
                 {"bits", parts->bits},
                 {"group", parts->group},
                 {"k", parts->k},
                 {"n", parts->n},
                 {"scales", parts->scales != NULL},
                 {"zero", parts->affine.zero},
                 {"zeros", parts->zeros != NULL}};
  apq__config config = {0};
  apq_status status = apq__config_set(&config, "format", apq_format_name(parts->format), error);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && !status; i++)
    status = apq__config_set_int(&config, numbers[i].name, numbers[i].value, error);
  if (!status) apq__config_key(&config, text);
  return status;
}

apq_status apq__file_parse(const char *text, apq__weights_parts *parts, int *has_scales,
                           int *has_zeros, apq_error *error) {
  *parts = (apq__weights_parts){0};
  const struct {
    const char *name;
    int least, most;
    int *to;
  } numbers[] = {{"alpha", 1, 2, &parts->affine.alpha},
                 {"bits", 1, 8, &parts->bits},
                 {"group", 0, 256, &parts->group},
                 {"k", 1, APQ__DIMENSION_MAX, &parts->k},
                 {"n", 1, APQ__DIMENSION_MAX, &parts->n},
                 {"scales", 0, 1, has_scales},
                 {"zero", INT32_MIN, INT32_MAX, &parts->affine.zero},
                 {"zeros", 0, 1, has_zeros}};
  enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
  apq__config config;
  apq_status status = apq__config_parse(text, &config, error);
  if (status) return status;
  for (int i = 0; i < NUMBERS; i++) {
    const char *value = apq__config_get(&config, numbers[i].name);
    if (!value || !apq__parse_int(value, numbers[i].to) || *numbers[i].to < numbers[i].least ||
        *numbers[i].to > numbers[i].most)
      return apq__fail(error, APQ_PARSE, "weights", "%s=%s: must be %d to %d", numbers[i].name,
                       value ? value : "", numbers[i].least, numbers[i].most);
  }
  const char *format = apq__config_get(&config, "format");
  if (!format || !apq__format_parse(format, &parts->format))
    return apq__fail(error, APQ_PARSE, "weights", "format=%s: not a format", format ? format : "");
  if (config.count != NUMBERS + 1)
    return apq__fail(error, APQ_PARSE, "weights", "'%s': holds an unknown value", text);
  if ((parts->format == APQ_FORMAT_BIPOLAR) != (parts->affine.alpha == 2))
    return apq__fail(error, APQ_PARSE, "weights", "alpha=%d: not that of %s", parts->affine.alpha,
                     format);
  if (parts->group && (parts->group >= parts->k || apq__check_group(parts->group, parts->k, NULL)))
    return apq__fail(error, APQ_PARSE, "weights", "group=%d: not a group of k=%d", parts->group,
                     parts->k);
  return APQ_OK;
}

/* ---- the digest ---- */

enum { HEX = 64 };

typedef struct hashing {
  const apq__file_tensor *tensor;
  char *hex; /* [blocks][HEX] */
} hashing;

static int64_t blocks_of(const apq__file_tensor *tensor) {
  return (tensor->bytes + APQ__FILE_BLOCK - 1) / APQ__FILE_BLOCK;
}

static void hash_blocks(void *user, int worker, int begin, int end) {
  const hashing *job = user;
  (void)worker;
  for (int i = begin; i < end; i++) {
    const apq__file_tensor *tensor = job->tensor;
    int64_t block = i;
    for (; block >= blocks_of(tensor); tensor++) block -= blocks_of(tensor);
    const int64_t at = block * APQ__FILE_BLOCK, left = tensor->bytes - at;
    const apq__piece piece = {(const uint8_t *)tensor->data + at,
                              (size_t)(left < APQ__FILE_BLOCK ? left : APQ__FILE_BLOCK)};
    char hex[HEX + 1];
    apq__sha256(&piece, 1, hex);
    memcpy(job->hex + (int64_t)i * HEX, hex, HEX);
  }
}

apq_status apq__file_digest(const char *name, const char *text,
                            const apq__file_tensor tensor[APQ__FILE_TENSORS], char hex[65],
                            apq_error *error) {
  int64_t blocks = 0;
  for (int i = 0; i < APQ__FILE_TENSORS; i++) blocks += blocks_of(&tensor[i]);
  if (blocks > INT32_MAX)
    return apq__fail(error, APQ_OUT_OF_RANGE, "weights", "'%s': too large", name);
  const hashing job = {tensor, apq__calloc((size_t)blocks, HEX)};
  if (!job.hex)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "weights", "no memory to hash '%s'", name);
  apq__parallel(apq__parallel_workers((int)blocks, 2), (int)blocks, hash_blocks, (void *)&job);
  const apq__piece pieces[] = {{name, strlen(name)},
                               {"\n", 1},
                               {text, strlen(text)},
                               {"\n", 1},
                               {job.hex, (size_t)blocks * HEX}};
  apq__sha256(pieces, sizeof pieces / sizeof pieces[0], hex);
  apq__free(job.hex);
  return APQ_OK;
}
