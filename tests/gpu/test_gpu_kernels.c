/* The kernel sweep on a GPU: every (p, q), family and kind, several configs each.  One process for
 * four pairs, so that they compile side by side.
 *   test_gpu_kernels [CONFIGS]: of each pair and kind, 4 without the argument */
#include "gpu_support.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kernel_sweep.h"
#include "alloc.h"
#include "device.h"
#include "host.h"
#include "verify.h"

enum { PAIRS = 4, CHILDREN = 64 / PAIRS };
static int turns = 4;

static int verify(apq__device *device, const apq__config *config) {
  char key[APQ__KEY_MAX];
  char *cache = apq__cache_dir();
  apq_error error = APQ_ERROR_INIT;
  apq__verify_report report = {0};
  apq_status status = apq__verify_config(device, config, NULL, cache, 7, &report, &error);
  if (status)
    fprintf(stderr, "%s: %s\n%s\n", apq__config_key(config, key), error.message,
            error.log ? error.log : "");
  apq__free(cache);
  apq_error_clear(&error);
  return status == APQ_OK && report.products > 0;
}

/* All kernels with p-bit weights and PAIRS numbers of activation bits from q on, and half of the
 * pack kernels of p bits; the exit status of a child. */
static int sweep_pairs(int p, int first) {
  apq__device *device = NULL;
  if (apq__device_open("cuda", &device, NULL)) return 1;
  int passed = 0, failed = 0;
  for (int kind = 0; kind < SWEEP_KINDS; kind++)
    for (int q = first; q < first + PAIRS; q++)
      for (int turn = 0; turn < turns; turn++) {
        apq__config config;
        if (!sweep_config(&sweep_kinds[kind], p, q, turn, &device->target, &config)) continue;
        if (verify(device, &config))
          passed++;
        else
          failed++;
      }
  const apq_dtype sources[] = {APQ_DTYPE_F16, APQ_DTYPE_BF16, APQ_DTYPE_F32, APQ_DTYPE_CODES8};
  for (int i = first - 1; i < first - 1 + PAIRS; i++) {
    apq__config config;
    const apq__problem problem = {.q = p, .m = i % 3 * 200, .k = 1000 << i % 4};
    /* Planes, then by turns bytes and pairs. */
    const apq__form form =
        i / 4 ? (p <= 4 && i % 2 ? APQ__FORM_PAIRS : APQ__FORM_BYTES) : APQ__FORM_PLANES;
    const int is_gated = i % 4 < 3 && p % 2;
    if (!apq__pack_config(sources[i % 4], &problem, form, &config, NULL) &&
        !apq__config_set_int(&config, "gate", is_gated, NULL) && verify(device, &config))
      passed++;
    else
      failed++;
  }
  apq__device_close(device);
  printf("p=%d, q=%d..%d: %d kernels equal the reference, %d do not\n", p, first, first + PAIRS - 1,
         passed, failed);
  fflush(stdout);
  return failed > 0 || passed < 2 * PAIRS * turns;
}

static void every_pair_equals_the_reference(void **state) {
  (void)state;
  pid_t children[CHILDREN];
  for (int i = 0; i < CHILDREN; i++) {
    children[i] = fork();
    if (children[i] == 0) _exit(sweep_pairs(1 + i * PAIRS / 8, 1 + i * PAIRS % 8));
    assert_true(children[i] > 0);
  }
  int failures = 0;
  for (int i = 0; i < CHILDREN; i++) {
    int result = 1;
    waitpid(children[i], &result, 0);
    failures += result != 0;
  }
  assert_int_equal(failures, 0);
}

/* Runs `body` in a child and gives its exit status: CUDA does not survive a fork, so this process
 * never starts it. */
static int in_child(int (*body)(int), int argument) {
  pid_t child = fork();
  if (child == 0) _exit(body(argument));
  int result = 1;
  waitpid(child, &result, 0);
  return WIFEXITED(result) ? WEXITSTATUS(result) : 1;
}

static int probe(int unused) {
  (void)unused;
  apq__device *device = open_gpu();
  fflush(stdout);
  apq__device_close(device);
  return device ? 0 : SKIPPED;
}

int main(int argc, char **argv) {
  if (argc > 1) turns = atoi(argv[1]);
  if (turns < 1) {
    fprintf(stderr, "usage: test_gpu_kernels [CONFIGS]: of each pair and kind, 1 or more\n");
    return 2;
  }
  if (in_child(probe, 0) == SKIPPED) return SKIPPED;
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair_equals_the_reference)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
