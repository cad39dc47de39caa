/* One file of 8-bit weights serves every width: floats are quantized and saved once, mapped and
 * loaded, and viewed at fewer bits without a copy.  Prints the error of each view beside that of
 * quantizing to its width directly.  any_precision [N K [FILE]] */
#include <apq.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BITS = 8, GROUP = 128 };

static apq_context *context;
static apq_error error = APQ_ERROR_INIT;

static void check(apq_status status) {
  if (status == APQ_OK) return;
  fprintf(stderr, "%s in %s: %s\n", apq_status_name(status), error.stage, error.message);
  exit(1);
}

static double now(void) {
  struct timespec at;
  timespec_get(&at, TIME_UTC);
  return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Root mean square of what the weights miss of `data`, in units of that of `data`. */
static double relative_error(const apq_weights *weights, const float *data, float *values,
                             size_t count) {
  double off = 0, all = 0;
  check(apq_weights_dequantize(weights, values, 0, &error));
  for (size_t i = 0; i < count; i++) {
    off += ((double)values[i] - data[i]) * ((double)values[i] - data[i]);
    all += (double)data[i] * data[i];
  }
  return sqrt(off / all);
}

int main(int argc, char **argv) {
  const int n = argc > 2 ? atoi(argv[1]) : 64, k = argc > 2 ? atoi(argv[2]) : 1024;
  const char *path = argc > 3 ? argv[3] : "any_precision.safetensors";
  if (n < 1 || k < 1) return 2;
  const size_t count = (size_t)n * (size_t)k;
  float *data = malloc(count * sizeof *data), *values = malloc(count * sizeof *values);
  if (!data || !values) return 2;
  /* The sum of twelve uniform values is nearly normal. */
  for (size_t i = 0; i < count; i++) {
    double sum = -6;
    for (int j = 0; j < 12; j++) sum += (double)rand() / RAND_MAX;
    data[i] = (float)(0.02 * sum);
  }

  check(apq_context_open(NULL, &context, &error));
  apq_weights *made = NULL, *loaded = NULL;
  apq_weights_desc desc = {.n = n,
                           .k = k,
                           .bits = BITS,
                           .format = APQ_FORMAT_BIPOLAR,
                           .dtype = APQ_DTYPE_F32,
                           .data = data,
                           .group = GROUP,
                           .clip = APQ_CLIP_MSE};
  const double begin = now();
  check(apq_weights_create(context, &desc, &made, &error));
  const double quantized = now();
  const apq_named_weights matrix = {"layer.0.weight", made};
  check(apq_weights_save(path, &matrix, 1, &error));
  apq_weights_destroy(made);
  const double saved = now();
  apq_weights_file *file = NULL;
  check(apq_weights_file_open(path, &file, &error));
  check(apq_weights_file_load(file, "layer.0.weight", context, &loaded, &error));
  apq_weights_file_close(file);
  printf("%d x %d: quantized in %.3f s, saved in %.3f s, loaded in %.3f s\n", n, k,
         quantized - begin, saved - quantized, now() - saved);

  int worse = 0;
  double last = 0;
  printf("bits  view    quantized directly: absmax  least error\n");
  for (int bits = BITS; bits >= 1; bits--) {
    apq_weights *view = NULL, *absmax = NULL, *least = NULL;
    check(apq_weights_view(loaded, bits, &view, &error));
    desc.bits = bits;
    desc.clip = APQ_CLIP_ABSMAX;
    check(apq_weights_create(context, &desc, &absmax, &error));
    desc.clip = APQ_CLIP_MSE;
    check(apq_weights_create(context, &desc, &least, &error));
    const double error_of_view = relative_error(view, data, values, count);
    const double error_of_absmax = relative_error(absmax, data, values, count);
    const double error_of_least = relative_error(least, data, values, count);
    printf("%4d  %.4f  %26.4f  %11.4f\n", bits, error_of_view, error_of_absmax, error_of_least);
    /* Each bit that is left out costs precision, and the search never does. */
    worse += error_of_view < last || error_of_least > error_of_absmax;
    last = error_of_view;
    apq_weights_destroy(view);
    apq_weights_destroy(absmax);
    apq_weights_destroy(least);
  }
  apq_weights_destroy(loaded);
  apq_context_close(context);
  remove(path);
  free(data);
  free(values);
  return worse ? 1 : 0;
}
