/* NVRTC: every word of the CUDA prelude and every family's defaults compile for every arch; what
 * goes wrong is told. Skipped, with the reason, where the library is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "compile_impl.h"
#include "generator.h"
#include "host.h"

enum { SKIPPED = 77 };

#ifndef APQ_HAVE_CUDA

int main(void) {
  printf("skipped: built without the CUDA backend\n");
  return SKIPPED;
}

#else

/* This program, for what needs a process of its own. */
static const char *program;

static char *read_source(const char *path) {
  char *name = apq__format("%s/%s", APQ_SOURCE_DIR, path), *text = NULL;
  size_t size = 0;
  apq_error error = APQ_ERROR_INIT;
  if (apq__read_file(name, &text, &size, &error)) fail_msg("%s", error.message);
  apq__free(name);
  return text;
}

static apq__target target_of(const char *arch) {
  apq__target target;
  assert_int_equal(apq__target_emulated(arch, &target, NULL), APQ_OK);
  target.emulated = 0;
  return target;
}

static void assert_cubin(const void *image, size_t size) {
  assert_true(size > 64);
  assert_memory_equal(image, "\177ELF", 4);
}

/* The name that follows `at`, when it is one of the prelude's words, into `name`. */
static int word_at(const char *at, char name[64]) {
  size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
  if (strncmp(at, "apq_", 4) != 0 || length >= 64 || at[length] != '(') return 0;
  snprintf(name, 64, "%.*s", (int)length, at);
  return 1;
}

static void every_word_is_in_the_test_kernel(void **state) {
  (void)state;
  char *prelude = read_source("templates/prelude_cuda.h");
  char *kernel = read_source("tests/unit/prelude_words.cu");
  int count = 0;
  for (char *line = strtok(prelude, "\n"); line; line = strtok(NULL, "\n")) {
    char name[64], call[66];
    const char *at = strstr(line, "apq_");
    if (strncmp(line, "#define apq_", 12) != 0 && strncmp(line, "APQ_WORD ", 9) != 0) continue;
    while (at && !word_at(at, name)) at = strstr(at + 1, "apq_");
    if (!at) fail_msg("no word in '%s'", line);
    snprintf(call, sizeof call, "%s(", name);
    if (!strstr(kernel, call)) fail_msg("prelude_words.cu does not use %s", name);
    count++;
  }
  assert_true(count > 40);
  apq__free(prelude);
  apq__free(kernel);
}

static void every_word_compiles_for_every_arch(void **state) {
  (void)state;
  char *prelude = read_source("templates/prelude_cuda.h");
  char *abi = read_source("templates/kernel_abi.h");
  char *kernel = read_source("tests/unit/prelude_words.cu");
  for (int i = 0; apq__target_arch(i); i++) {
    apq__target target = target_of(apq__target_arch(i));
    char *source = apq__format("#define APQ_CC %d\n%s\n%s\n%s", target.cc, abi, prelude, kernel);
    void *image = NULL;
    char *log = NULL;
    size_t size = 0;
    apq_error error = APQ_ERROR_INIT;
    if (apq__nvrtc_compile(source, &target, &image, &size, &log, &error))
      fail_msg("%s: %s\n%s", target.arch, error.message, log ? log : "");
    if (log) fail_msg("%s: the compiler warns:\n%s", target.arch, log);
    assert_cubin(image, size);
    apq__free(image);
    apq__free(source);
  }
  apq__free(abi);
  apq__free(prelude);
  apq__free(kernel);
}

/* Every family's defaults for every arch, and some branches that they do not take for one arch.
 * Where b1 is XOR only, the limits refuse AND. */
static const struct {
  const char *config, *arch; /* NULL: every arch */
} configs[] = {
    {"family=bmma", NULL},
    {"family=imma", NULL},
    {"family=pack", NULL},
    {"family=stream", NULL},
    {"family=decode", NULL},
    {"family=decode,core=u8,tile_m=8,operand=shared,p=3", NULL},
    {"family=decode,p=4,tile_m=4,operand=keep,persist=2,stages=2,schedule=horner,pdl=1", "sm_90a"},
    {"family=decode,core=u8,p=5,tile_m=16,operand=shared,warps_n=4,warps_k=2,cluster=4,"
     "unpack=wait,pdl=1",
     "sm_90a"},
    {"family=decode,core=u8,p=4,tile_m=8,operand=shared,once=1,even=1,unpack=fill", "sm_90a"},
    {"family=decode,split_k=8", NULL},
    {"family=decode,p=4,tile_m=4,operand=keep,persist=2,stages=2,schedule=horner,pdl=1,split_k=2",
     "sm_90a"},
    {"family=decode,core=u8,p=5,tile_m=16,operand=shared,warps_n=4,warps_k=2,once=1,unpack=wait,"
     "pdl=1,split_k=4",
     "sm_90a"},
    {"family=decode,core=u8,p=3,tile_m=8,operand=shared,split_k=2,out=i32", "sm_80"},
    {"family=decode,operand=shared,src=f16,hold=2", NULL},
    {"family=decode,operand=shared,src=f16,hold=2,once=1,pdl=1,release=issue", "sm_90a"},
    {"family=decode,p=4,operand=shared,src=bf16,hold=4,tiles=2,warps_n=2,warps_k=4,once=1,pdl=1",
     "sm_90a"},
    {"family=decode,p=4,core=u8,tile_m=8,operand=shared,src=f16,hold=8,once=1,pdl=1,unpack=wait",
     "sm_90a"},
    {"family=decode,p=8,core=u8,tile_m=4,operand=shared,src=f32,hold=4,group=128", "sm_80"},
    {"family=decode,core=u8,p=5,tile_m=16,operand=shared,src=f16,hold=4,warps_n=4,warps_k=2,"
     "cluster=4,pdl=1",
     "sm_90a"},
    {"family=bmma,op=xor", "sm_75"},
    {"family=bmma,p=3,q=5,schedule=horner,layout=xor,out=i32", "sm_80"},
    {"family=bmma,recombine=shared,store=staged,swap=1,split_k=2", "sm_90a"},
    {"family=imma,p=8,q=8,layout=padded,store=staged,out=bf16", "sm_90a"},
    {"family=bgmma", "sm_90a"},
    {"family=igmma", "sm_90a"},
    {"family=bgmma,p=3,q=1,schedule=horner,tile_n=256,roles=pingpong,tile_m=64,cluster_m=2",
     "sm_90a"},
    {"family=bgmma,p=1,q=3,swap=1,tile_m=64,tile_n=128,schedule=horner,overlap=2,out=bf16",
     "sm_90a"},
    {"family=igmma,p=7,q=5,tile_m=96,tile_k=256,out=i32,consumers=1,tile_n=64,cluster_n=2",
     "sm_90a"},
    {"family=igmma,p=8,tile_m=256,tile_k=256,unpack=shared,overlap=2", "sm_90a"},
    {"family=igmma,p=6,q=6,tile_m=64,unpack=shared,split_k=2", "sm_90a"},
    {"family=igmma,p=8,q=8,tile_m=256,tile_k=256,stages=3,split_k=stream", "sm_90a"},
    {"family=bgmma,p=2,q=1,tile_n=256,stages=3,schedule=horner,store=tensor,split_k=stream",
     "sm_90a"},
    {"family=bgmma,swizzle=none,cluster_m=2", "sm_90a"},
    {"family=bgmma,p=1,q=2,schedule=horner,tile_n=256,stages=3,overlap=1,store=tensor,swizzle=none",
     "sm_90a"},
    {"family=bgmma,p=2,q=2,group=256,stages=2,swizzle=64", "sm_90a"},
    {"family=igmma,p=8,tile_m=256,tile_k=256,stages=3,overlap=2,swizzle=none", "sm_90a"},
    {"family=igmma,p=3,group=64,tile_m=64,swizzle=none,cluster_n=2", "sm_90a"},
    {"family=igmma,unpack=shared,tile_k=256,swizzle=none", "sm_90a"},
    {"family=igmma,p=4,tile_k=1024,stages=2,swizzle=32", "sm_90a"},
    {"family=imma_bulk,tile_n=256,divide=rows,ahead=1", "sm_90a"},
    {"family=imma_bulk,p=7,q=3,out=f32,tile_k=256,stagger=1,cluster_m=2,split_k=2", "sm_90a"},
    {"family=imma,p=2,stages=1,swap=1,split_k=4,store=staged,out=f32", "sm_120"},
};
enum { CONFIGS = sizeof configs / sizeof configs[0], ARCHS_MAX = 16, THREADS = 2 };

/* Bytes of local memory of a thread, which are spills where a kernel has no arrays: the largest
 * EIATTR_FRAME_SIZE of the cubin's .nv.info (entries of a format, an attribute, a size, and if the
 * format is 4 that many bytes: here a symbol and the frame). */
static int frame_bytes(const unsigned char *image, size_t size) {
  uint64_t sections;
  uint16_t count, names, entry;
  memcpy(&sections, image + 0x28, sizeof sections);
  memcpy(&entry, image + 0x3a, sizeof entry);
  memcpy(&count, image + 0x3c, sizeof count);
  memcpy(&names, image + 0x3e, sizeof names);
  uint64_t at, length, name_at;
  memcpy(&name_at, image + sections + (size_t)names * entry + 0x18, sizeof name_at);
  int most = -1;
  for (size_t i = 0; i < count; i++) {
    const unsigned char *header = image + sections + i * entry;
    uint32_t name;
    memcpy(&name, header, sizeof name);
    memcpy(&at, header + 0x18, sizeof at);
    memcpy(&length, header + 0x20, sizeof length);
    if (strcmp((const char *)image + name_at + name, ".nv.info") != 0) continue;
    assert_true(at + length <= size);
    for (const unsigned char *p = image + at, *end = p + length; p + 4 <= end;) {
      enum { SIZED = 4, FRAME_SIZE = 0x11 };
      uint16_t bytes;
      uint32_t frame;
      memcpy(&bytes, p + 2, sizeof bytes);
      if (p[0] == SIZED && p[1] == FRAME_SIZE) {
        memcpy(&frame, p + 8, sizeof frame);
        if ((int)frame > most) most = (int)frame;
      }
      p += 4 + (p[0] == SIZED ? bytes : 0);
    }
  }
  return most;
}

typedef struct compile_job {
  int config;
  const char *arch;
  apq_status status; /* INFEASIBLE: the limits refuse it */
  char *text;        /* what went wrong */
  int frame;         /* as frame_bytes */
} compile_job;

static struct {
  compile_job job[CONFIGS * ARCHS_MAX];
  int count, next;
  pthread_mutex_t lock;
} work = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void run_job(compile_job *job) {
  apq__target target;
  apq__config config = {0};
  apq__shape shape;
  apq_error error = APQ_ERROR_INIT;
  char *source = NULL, *log = NULL;
  void *image = NULL;
  size_t size = 0;
  apq_status status = apq__target_emulated(job->arch, &target, &error);
  target.emulated = 0;
  if (!status) status = apq__config_parse(configs[job->config].config, &config, &error);
  if (!status) status = apq__config_complete(&config, &error);
  if (!status) status = apq__config_limits(&config, NULL, &target, &shape, &error);
  if (!status) status = apq__generate(&config, &target, &source, &error);
  if (!status) status = apq__nvrtc_compile(source, &target, &image, &size, &log, &error);
  job->status = status;
  job->frame = status ? 0 : frame_bytes(image, size);
  if (status || log)
    job->text = apq__format("%s for %s: %s\n%s", configs[job->config].config, job->arch,
                            error.message, log ? log : "");
  apq__free(log);
  apq__free(image);
  apq__free(source);
  apq_error_clear(&error);
}

static void *run_jobs(void *unused) {
  (void)unused;
  for (;;) {
    pthread_mutex_lock(&work.lock);
    int mine = work.next < work.count ? work.next++ : -1;
    pthread_mutex_unlock(&work.lock);
    if (mine < 0) return NULL;
    run_job(&work.job[mine]);
  }
}

static void families_compile_for_every_arch(void **state) {
  (void)state;
  int compiled[CONFIGS] = {0};
  for (int i = 0; apq__target_arch(i) && i < ARCHS_MAX; i++)
    for (int c = 0; c < CONFIGS; c++)
      if (!configs[c].arch || strcmp(configs[c].arch, apq__target_arch(i)) == 0)
        work.job[work.count++] = (compile_job){.config = c, .arch = apq__target_arch(i)};
  pthread_t thread[THREADS];
  for (int t = 0; t < THREADS; t++)
    assert_int_equal(pthread_create(&thread[t], NULL, run_jobs, NULL), 0);
  for (int t = 0; t < THREADS; t++) pthread_join(thread[t], NULL);
  for (int j = 0; j < work.count; j++) {
    /* Where a row waits in registers beside weights there is a temptation to spill. */
    if (strstr(configs[work.job[j].config].config, "src=") && work.job[j].frame != 0)
      fail_msg("'%s' for %s has %d bytes of local memory", configs[work.job[j].config].config,
               work.job[j].arch, work.job[j].frame);
    if (work.job[j].status == APQ_OK)
      compiled[work.job[j].config]++;
    else if (work.job[j].status != APQ_INFEASIBLE)
      fail_msg("%s", work.job[j].text);
    if (work.job[j].text)
      printf("%s: %s", work.job[j].status ? "not built" : "warnings", work.job[j].text);
    apq__free(work.job[j].text);
  }
  for (int c = 0; c < CONFIGS; c++)
    if (!compiled[c]) fail_msg("'%s' is feasible for no arch", configs[c].config);
}

static void an_error_in_the_source_is_reported_with_its_log(void **state) {
  (void)state;
  apq__target target = target_of("sm_80");
  apq_error error = APQ_ERROR_INIT;
  void *image = &target;
  size_t size = 1;
  char *log = NULL;
  const char *source = "extern \"C\" __global__ void k(int *p) {\n  *p = missing_name;\n}\n";
  assert_int_equal(apq__nvrtc_compile(source, &target, &image, &size, &log, &error), APQ_COMPILE);
  assert_null(image);
  assert_int_equal(size, 0);
  assert_non_null(strstr(error.message, "missing_name"));
  assert_non_null(strstr(error.message, "apq_kernel.cu(2)"));
  assert_non_null(log);
  assert_non_null(strstr(log, "1 error detected"));
  apq__free(log);
  apq_error_clear(&error);
}

static void a_warning_is_kept_in_the_log(void **state) {
  (void)state;
  apq__target target = target_of("sm_80");
  void *image = NULL;
  size_t size = 0;
  char *log = NULL;
  const char *source = "extern \"C\" __global__ void k(int *p) { int unused; *p = 1; }\n";
  assert_int_equal(apq__nvrtc_compile(source, &target, &image, &size, &log, NULL), APQ_OK);
  assert_cubin(image, size);
  assert_non_null(log);
  assert_non_null(strstr(log, "unused"));
  apq__free(image);
  apq__free(log);
}

static void an_unknown_arch_is_no_fault_of_the_source(void **state) {
  (void)state;
  apq__target target = target_of("sm_80");
  apq_error error = APQ_ERROR_INIT;
  void *image = NULL;
  size_t size = 0;
  char *log = NULL;
  snprintf(target.arch, sizeof target.arch, "sm_20");
  assert_int_equal(apq__nvrtc_compile("", &target, &image, &size, &log, &error), APQ_NO_COMPILER);
  assert_non_null(strstr(error.message, "sm_20"));
  assert_null(log);
}

/* The cache of objects rests on it. */
static void one_source_gives_the_same_bytes_again(void **state) {
  (void)state;
  apq__target target = target_of("sm_90a");
  const char *source = "extern \"C\" __global__ void k(int *p) { p[threadIdx.x] *= 3; }\n";
  void *image[2] = {NULL, NULL};
  size_t size[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    char *log = NULL;
    assert_int_equal(apq__nvrtc_compile(source, &target, &image[i], &size[i], &log, NULL), APQ_OK);
    apq__free(log);
  }
  assert_int_equal(size[0], size[1]);
  assert_memory_equal(image[0], image[1], size[0]);
  for (int i = 0; i < 2; i++) apq__free(image[i]);
}

/* In a process of its own, where APQ_NVRTC names a file that is not there. */
static const char missing_library[] = "/nonexistent/libnvrtc.so";
static int check_missing_library(void) {
  apq__target target;
  apq_error error = APQ_ERROR_INIT;
  void *image = NULL;
  size_t size = 0;
  char *log = NULL, version[64] = "";
  if (apq__target_emulated("sm_80", &target, NULL)) return 1;
  for (int i = 0; i < 2; i++) {
    if (apq__nvrtc_compile("", &target, &image, &size, &log, &error) != APQ_NO_COMPILER) return 2;
    if (!strstr(error.message, missing_library) || !strstr(error.message, "APQ_NVRTC")) return 3;
    if (apq__nvrtc_version(version, sizeof version, &error) != APQ_NO_COMPILER) return 4;
  }
  return image || log ? 5 : 0;
}

static void a_missing_library_is_named(void **state) {
  (void)state;
  pid_t child = fork();
  if (child == 0) {
    setenv("APQ_NVRTC", missing_library, 1);
    execl(program, program, "missing", (char *)NULL);
    _exit(127);
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  assert_int_equal(WEXITSTATUS(result), 0);
}

int main(int argc, char **argv) {
  program = argv[0];
  if (argc == 2 && strcmp(argv[1], "missing") == 0) return check_missing_library();
  char version[64] = "";
  apq_error error = APQ_ERROR_INIT;
  if (apq__nvrtc_version(version, sizeof version, &error)) {
    printf("skipped: %s\n", error.message);
    return SKIPPED;
  }
  printf("%s\n", version);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_word_is_in_the_test_kernel),
      cmocka_unit_test(every_word_compiles_for_every_arch),
      cmocka_unit_test(families_compile_for_every_arch),
      cmocka_unit_test(an_error_in_the_source_is_reported_with_its_log),
      cmocka_unit_test(a_warning_is_kept_in_the_log),
      cmocka_unit_test(an_unknown_arch_is_no_fault_of_the_source),
      cmocka_unit_test(one_source_gives_the_same_bytes_again),
      cmocka_unit_test(a_missing_library_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
