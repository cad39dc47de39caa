#include "spot_check.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "host.h"
#include "status.h"

enum { ROWS = 64, VECTORS = 2 };
/* Multiply-accumulates the reference may spend once a problem, and again for the corners of each
 * kernel: a few tenths of a second. */
#define SAMPLE_WORK 2400000000ll
#define CORNER_WORK 400000000ll
/* A longer result is not kept whole on the host. */
#define AGREED_MAX ((size_t)1 << 30)

/* ---- comparing ---- */

static void print_element(const void *y, apq_dtype dtype, int64_t at, char text[40]) {
  if (dtype == APQ_DTYPE_I32)
    snprintf(text, 40, "%d", ((const int32_t *)y)[at]);
  else
    snprintf(text, 40, "%.9g", (double)apq__load_float(y, dtype, at));
}

apq_status apq__compare_results(const apq__problem *problem, const void *got, int64_t ld,
                                const void *expected, const int *rows, int row_count,
                                const int *columns, int column_count, const char *what,
                                apq_error *error) {
  size_t element = apq__dtype_bytes(problem->out);
  for (int i = 0; i < row_count; i++) {
    int row = rows ? rows[i] : i;
    const char *got_row = (const char *)got + (size_t)row * (size_t)ld * element;
    const char *expected_row = (const char *)expected + (size_t)i * (size_t)column_count * element;
    if (!columns && memcmp(got_row, expected_row, (size_t)column_count * element) == 0) continue;
    for (int j = 0; j < column_count; j++) {
      int column = columns ? columns[j] : j;
      if (memcmp(got_row + (size_t)column * element, expected_row + (size_t)j * element, element) ==
          0)
        continue;
      char has[40], wants[40];
      print_element(got_row, problem->out, column, has);
      print_element(expected_row, problem->out, j, wants);
      return apq__fail(error, APQ_MISMATCH, "verify", "%dx%dx%d, %s: y[%d][%d] is %s, expected %s",
                       problem->m, problem->n, problem->k, what, row, column, has, wants);
    }
  }
  return APQ_OK;
}

/* ---- making ---- */

/* `count` of 0..limit-1, each taken once, in rising order: one at random from each of `count` equal
 * parts.  NULL when out of memory. */
static int *sample(int limit, int count, uint64_t *seed) {
  int *list = apq__alloc((size_t)count * sizeof *list);
  for (int i = 0; list && i < count; i++) {
    int64_t begin = (int64_t)limit * i / count, end = (int64_t)limit * (i + 1) / count;
    list[i] = (int)(begin + (int64_t)(apq__random(seed) % (uint64_t)(end - begin)));
  }
  return list;
}

static uint32_t value_of(uint8_t code, apq__affine map) {
  return (uint32_t)map.alpha * code - (uint32_t)map.zero;
}

/* sums[m] = sum_n y[m][n] r[n] = sum_k va[m][k] (sum_n vw[n][k] r[n]), modulo 2^32. */
static apq_status make_vectors(apq__spot_check *check, uint64_t *seed, apq_error *error) {
  const apq__problem *problem = &check->host.spec.problem;
  size_t m = (size_t)problem->m, n = (size_t)problem->n, k = (size_t)problem->k;
  uint32_t *inner = apq__alloc(k * sizeof *inner);
  check->vector = apq__alloc(VECTORS * n * sizeof *check->vector);
  check->sums = apq__calloc(VECTORS * m, sizeof *check->sums);
  if (!inner || !check->vector || !check->sums) {
    apq__free(inner);
    return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for check vectors");
  }
  for (size_t v = 0; v < VECTORS; v++) {
    uint32_t *r = check->vector + v * n;
    memset(inner, 0, k * sizeof *inner);
    for (size_t row = 0; row < n; row++) {
      /* Odd: then no single wrong element can vanish modulo 2^32. */
      r[row] = (uint32_t)apq__random(seed) | 1u;
      const uint8_t *codes = check->host.w_codes + row * k;
      for (size_t i = 0; i < k; i++) inner[i] += r[row] * value_of(codes[i], check->host.w);
    }
    for (size_t row = 0; row < m; row++) {
      const uint8_t *codes = check->host.a_codes + row * k;
      uint32_t sum = 0;
      for (size_t i = 0; i < k; i++) sum += value_of(codes[i], check->host.a) * inner[i];
      check->sums[v * m + row] = sum;
    }
  }
  apq__free(inner);
  return APQ_OK;
}

apq_status apq__spot_check_make(const apq__problem *problem, uint64_t seed, apq__spot_check *out,
                                apq_error *error) {
  int is_float = problem->out != APQ_DTYPE_I32;
  apq__data_spec spec = {.problem = *problem,
                         .kind = APQ__DATA_RANDOM,
                         .w_format = APQ_FORMAT_INT,
                         .a_format = APQ_FORMAT_INT,
                         .w_scales = is_float,
                         .a_scales = is_float,
                         .seed = seed};
  *out = (apq__spot_check){0};
  apq_status status = apq__host_data_make(&spec, &out->host, error);
  if (status != APQ_OK) return status;
  out->row_count = problem->m < ROWS ? problem->m : ROWS;
  out->column_count = problem->n;
  int64_t columns = SAMPLE_WORK / ((int64_t)out->row_count * problem->k);
  if (columns < problem->n) out->column_count = columns > 1 ? (int)columns : 1;
  out->rows = sample(problem->m, out->row_count, &seed);
  if (out->column_count < problem->n) {
    out->columns = sample(problem->n, out->column_count, &seed);
    if (!out->columns) goto no_memory;
  }
  out->expected = apq__alloc((size_t)out->row_count * (size_t)out->column_count *
                             apq__dtype_bytes(problem->out));
  if (!out->rows || !out->expected) goto no_memory;
  status = apq__host_data_expect(&out->host, out->rows, out->row_count, out->columns,
                                 out->column_count, out->expected, error);
  if (status == APQ_OK && !is_float) status = make_vectors(out, &seed, error);
  if (status != APQ_OK) apq__spot_check_free(out);
  return status;

no_memory:
  apq__spot_check_free(out);
  return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for reference results");
}

void apq__spot_check_free(apq__spot_check *check) {
  if (!check) return;
  apq__host_data_free(&check->host);
  apq__free(check->rows);
  apq__free(check->columns);
  apq__free(check->expected);
  apq__free(check->vector);
  apq__free(check->sums);
  apq__free(check->agreed);
  *check = (apq__spot_check){0};
}

/* ---- running ---- */

/* First and last line of every tile, thinned to at most `most`.  NULL when out of memory. */
static int *tile_edges(int limit, int tile, int64_t most, int *count) {
  int tiles = (limit + tile - 1) / tile;
  int *edges = apq__alloc((size_t)tiles * 2 * sizeof *edges);
  *count = 0;
  if (!edges) return NULL;
  int64_t stride = (2 * (int64_t)tiles + most - 1) / most;
  /* An odd stride visits first and last lines in turn. */
  stride |= 1;
  for (int64_t i = 0; i < 2 * (int64_t)tiles; i += stride) {
    int64_t first = i / 2 * tile, last = first + tile - 1;
    if (last >= limit) last = limit - 1;
    int edge = (int)(i % 2 ? last : first);
    if (*count == 0 || edges[*count - 1] != edge) edges[(*count)++] = edge;
  }
  return edges;
}

static apq_status check_corners(apq__spot_check *check, const apq__config *config, const void *y,
                                long long *outputs, apq_error *error) {
  const apq__problem *problem = &check->host.spec.problem;
  int row_count, column_count;
  int64_t points = CORNER_WORK / problem->k;
  int *rows = tile_edges(problem->m, apq__config_int(config, "tile_m", 64), 512, &row_count);
  int64_t most = row_count > 0 && points / row_count > 2 ? points / row_count : 2;
  int *columns = tile_edges(problem->n, apq__config_int(config, "tile_n", 64), most, &column_count);
  void *expected =
      apq__alloc((size_t)(rows ? row_count : 1) * (size_t)(columns ? column_count : 1) *
                 apq__dtype_bytes(problem->out));
  apq_status status;
  if (!rows || !columns || !expected) {
    status = apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for tile corners");
  } else {
    status = apq__host_data_expect(&check->host, rows, row_count, columns, column_count, expected,
                                   error);
    if (status == APQ_OK)
      status = apq__compare_results(problem, y, problem->n, expected, rows, row_count, columns,
                                    column_count, "tile corners", error);
    *outputs += (long long)row_count * column_count;
  }
  apq__free(rows);
  apq__free(columns);
  apq__free(expected);
  return status;
}

static apq_status check_vectors(const apq__spot_check *check, const uint32_t *y, apq_error *error) {
  const apq__problem *problem = &check->host.spec.problem;
  size_t m = (size_t)problem->m, n = (size_t)problem->n;
  for (size_t row = 0; row < m; row++) {
    uint32_t sums[VECTORS] = {0};
    for (size_t column = 0; column < n; column++)
      for (size_t v = 0; v < VECTORS; v++)
        sums[v] += y[row * n + column] * check->vector[v * n + column];
    for (size_t v = 0; v < VECTORS; v++)
      if (sums[v] != check->sums[v * m + row])
        return apq__fail(error, APQ_MISMATCH, "verify",
                         "%dx%dx%d: row %zu fails Freivalds' check modulo 2^32", problem->m,
                         problem->n, problem->k, row);
  }
  return APQ_OK;
}

/* Compares the whole of y with what the first good kernel gave; takes y when it is the first. */
static apq_status check_agreement(apq__spot_check *check, void **y, int *refuted,
                                  apq_error *error) {
  const apq__problem *problem = &check->host.spec.problem;
  size_t element = apq__dtype_bytes(problem->out);
  size_t count = (size_t)problem->m * (size_t)problem->n;
  if (!check->agreed) {
    check->agreed = *y;
    *y = NULL;
    return APQ_OK;
  }
  const char *got = *y, *agreed = check->agreed;
  if (memcmp(got, agreed, count * element) == 0) return APQ_OK;
  size_t at = 0;
  while (memcmp(got + at * element, agreed + at * element, element) == 0) at++;
  int row = (int)(at / (size_t)problem->n), column = (int)(at % (size_t)problem->n);
  unsigned char truth[8];
  apq_status status = apq__host_data_expect(&check->host, &row, 1, &column, 1, truth, error);
  if (status != APQ_OK) return status;
  status = apq__compare_results(problem, got, problem->n, truth, &row, 1, &column, 1,
                                "whole result", error);
  if (status != APQ_OK) return status;
  *refuted = 1;
  apq__free(check->agreed);
  check->agreed = *y;
  *y = NULL;
  return APQ_OK;
}

/* Results too long for the host: the sampled rows alone. */
static apq_status check_rows_only(apq__spot_check *check, apq__prepared *prepared,
                                  apq_error *error) {
  const apq__problem *problem = &check->host.spec.problem;
  apq__device *device = prepared->data->device;
  size_t row_bytes = (size_t)problem->n * apq__dtype_bytes(problem->out);
  size_t expected_bytes = (size_t)check->column_count * apq__dtype_bytes(problem->out);
  char *row = apq__alloc(row_bytes);
  if (!row) return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for one row");
  apq_status status = APQ_OK;
  for (int i = 0; status == APQ_OK && i < check->row_count; i++) {
    char what[32];
    snprintf(what, sizeof what, "y being row %d", check->rows[i]);
    const char *from =
        (const char *)apq__device_data_y(prepared->data) + (size_t)check->rows[i] * row_bytes;
    status = device->ops->to_host(device, row, from, row_bytes, error);
    if (status == APQ_OK)
      status = apq__compare_results(problem, row, problem->n,
                                    (const char *)check->expected + (size_t)i * expected_bytes,
                                    NULL, 1, check->columns, check->column_count, what, error);
  }
  apq__free(row);
  return status;
}

apq_status apq__spot_check_run(apq__spot_check *check, apq__prepared *prepared, int *refuted,
                               long long *outputs, apq_error *error) {
  const apq__problem *problem = &check->host.spec.problem;
  apq__device_data *data = prepared->data;
  long long unused = 0;
  void *y = NULL;
  if (!outputs) outputs = &unused;
  *refuted = 0;
  apq_status status = apq__device_data_poison(data, error);
  if (status == APQ_OK) status = apq__prepared_launch(prepared, NULL, NULL, NULL, NULL, error);
  if (status == APQ_OK) status = data->device->ops->synchronize(data->device, NULL, error);
  if (status != APQ_OK) return status;
  *outputs += (long long)check->row_count * check->column_count;
  if (data->y_bytes > AGREED_MAX) return check_rows_only(check, prepared, error);

  y = apq__alloc(data->y_bytes);
  if (!y) return apq__fail(error, APQ_OUT_OF_MEMORY, "verify", "no memory for the result");
  status = apq__device_data_fetch(data, y, error);
  if (status == APQ_OK)
    status =
        apq__compare_results(problem, y, problem->n, check->expected, check->rows, check->row_count,
                             check->columns, check->column_count, "sampled rows", error);
  if (status == APQ_OK) status = check_corners(check, &prepared->loaded->config, y, outputs, error);
  if (status == APQ_OK && check->vector) status = check_vectors(check, y, error);
  if (status == APQ_OK) status = check_agreement(check, &y, refuted, error);
  apq__free(y);
  return status;
}
