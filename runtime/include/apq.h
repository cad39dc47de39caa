/*
 * apq.h - matrix products of p-bit weights and q-bit activations, 1 <= p, q <= 8.
 *
 * The one installed header of libapq.  A product is y[m][n] = sum_k a[m][k] * w[n][k] where both
 * matrices hold small integers in one of the formats of `apq_format`; the integer part is exact,
 * and is the same to the last bit whichever kernel computes it.
 *
 * Data flow: open a context on a device, make weights (packed once into bit planes), make a plan
 * (one weight matrix and one epilogue), `apq_plan_prepare` the token counts that will be used, then
 * call `apq_plan_run` as often as wanted.
 *
 * Conventions.  Every function that can fail returns an `apq_status` and takes, last, a pointer to
 * an `apq_error`, which may be NULL.  The library never prints, aborts or exits.  Objects are
 * destroyed by the matching destroy/close function, which accepts NULL.  `const` pointers are
 * borrowed for the call only unless stated.  "Device pointer" means a CUDA device address, or, on
 * an emulated device, memory from `apq_device_alloc`.
 */
#ifndef APQ_H
#define APQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define APQ_API __attribute__((visibility("default")))
#else
#define APQ_API
#endif

#define APQ_VERSION_MAJOR 0
#define APQ_VERSION_MINOR 1
#define APQ_VERSION_PATCH 0

/* ---- status and errors ---- */

/* One list gives the code, the name and the text of every status. */
#define APQ_STATUS_MAP(X)                                                                          \
  X(OK, "success")                                                                                 \
  X(INVALID_ARGUMENT, "an argument is not valid")                                                  \
  X(OUT_OF_MEMORY, "out of memory")                                                                \
  X(OUT_OF_RANGE, "the result may not fit in 32-bit integers")                                     \
  X(INFEASIBLE, "this kernel configuration cannot be built for this device")                       \
  X(NOT_FOUND, "not found")                                                                        \
  X(PARSE, "the text is malformed")                                                                \
  X(IO, "an input or output operation failed")                                                     \
  X(CORRUPT, "the data is damaged")                                                                \
  X(READ_ONLY, "the file or folder cannot be written")                                             \
  X(BUSY, "the resource is in use")                                                                \
  X(NO_DEVICE, "no such device")                                                                   \
  X(NO_COMPILER, "no compiler is available")                                                       \
  X(COMPILE, "a kernel does not compile")                                                          \
  X(DEVICE, "the device reported an error")                                                        \
  X(KERNEL_FAULT, "a kernel broke a rule of the device")                                           \
  X(MISMATCH, "a kernel's result differs from the reference")                                      \
  X(TIMEOUT, "the time limit was reached")                                                         \
  X(INTERRUPTED, "interrupted")                                                                    \
  X(NOT_PREPARED, "the plan was not prepared for this size")                                       \
  X(WORKSPACE_TOO_SMALL, "the workspace is too small")                                             \
  X(UNSUPPORTED, "not supported")                                                                  \
  X(INTERNAL, "internal error")

typedef enum apq_status {
#define APQ_STATUS_ENUM(name, text) APQ_##name,
  APQ_STATUS_MAP(APQ_STATUS_ENUM)
#undef APQ_STATUS_ENUM
      APQ_STATUS_COUNT
} apq_status;

/* Name of a status, such as "OUT_OF_RANGE", and its one-line text.  Both are static strings; an
 * unknown value gives "UNKNOWN" and "unknown status". */
APQ_API const char *apq_status_name(apq_status status);
APQ_API const char *apq_status_text(apq_status status);

/* Detail of a failure.  Start it as APQ_ERROR_INIT; every failing call overwrites it; release the
 * log with `apq_error_clear`.  Not shared between threads. */
typedef struct apq_error {
  apq_status status;
  char stage[16]; /* where it happened: "argument", "space", "generate", "compile", "device", ... */
  char message[488]; /* one line, names the file, line, option or value at fault */
  char *log;         /* a compiler's or device's whole output, or NULL; owned by this object */
} apq_error;

#define APQ_ERROR_INIT                                                                             \
  { APQ_OK, {0}, {0}, NULL }

/* Frees the log and resets the object.  Accepts NULL. */
APQ_API void apq_error_clear(apq_error *error);

/* Replaces malloc, realloc and free for everything the library allocates on the host.  Call it
 * before any other function of the library, from one thread; `allocator` is copied.  NULL restores
 * the C library's.  INVALID_ARGUMENT when a function pointer is missing. */
typedef struct apq_allocator {
  void *(*allocate)(void *user, size_t size);
  void *(*reallocate)(void *user, void *old, size_t size);
  void (*release)(void *user, void *old);
  void *user;
} apq_allocator;
APQ_API apq_status apq_set_allocator(const apq_allocator *allocator);

/* Version of the library, "0.1.0". */
APQ_API const char *apq_version(void);

/* ---- numbers ---- */

/* A code u of b bits stands for the value  scale * (alpha * u - zero):
 *
 *   UINT     alpha 1, zero 0        values 0 .. 2^b-1
 *   INT      alpha 1, zero 2^(b-1)  values -2^(b-1) .. 2^(b-1)-1
 *                                   a code is the two's complement pattern, its top bit flipped
 *   BIPOLAR  alpha 2, zero 2^b-1    odd values -(2^b-1) .. 2^b-1
 *                                   each bit stands for -1 or +1
 *
 * A zero point array replaces `zero` by one integer per output channel (weights) or per token
 * (activations), for UINT only: asymmetric quantization; ternary {-1,0,1} is 2-bit UINT with
 * zero 1. */
typedef enum apq_format {
  APQ_FORMAT_UINT,
  APQ_FORMAT_INT,
  APQ_FORMAT_BIPOLAR,
  APQ_FORMAT_COUNT
} apq_format;

/* Element types of host and device buffers.  CODES8 is one unsigned code of b bits a byte. */
typedef enum apq_dtype {
  APQ_DTYPE_I32,
  APQ_DTYPE_F16,
  APQ_DTYPE_BF16,
  APQ_DTYPE_F32,
  APQ_DTYPE_CODES8,
  APQ_DTYPE_COUNT
} apq_dtype;

/* What is applied to y = product * scales + bias, in float, before `apq_combine`:
 *
 *   SILU       y / (1 + exp(-y))
 *   GELU       y * P(Y <= y), Y normally distributed: y (1 + erf(y / sqrt 2)) / 2
 *   GELU_TANH  its usual approximation y (1 + tanh(sqrt(2/pi) (y + 0.044715 y^3))) / 2
 *
 * Each is computed as y / (1 + exp(-t(y))), t a polynomial in y, by the same float operations on
 * every device, and differs from the exact value y' by at most 2^-18 |y'| + 5e-9. */
typedef enum apq_activation {
  APQ_ACTIVATION_NONE,
  APQ_ACTIVATION_SILU,
  APQ_ACTIVATION_GELU,
  APQ_ACTIVATION_GELU_TANH,
  APQ_ACTIVATION_COUNT
} apq_activation;

/* What is done, last, with a second matrix of y's shape and type: a residual is added, a gate
 * multiplied. */
typedef enum apq_combine {
  APQ_COMBINE_NONE,
  APQ_COMBINE_ADD,
  APQ_COMBINE_MULTIPLY,
  APQ_COMBINE_COUNT
} apq_combine;

/* Names used in keys and on the command line: "uint", "int", "bipolar"; "i32", "f16", "bf16",
 * "f32", "codes8".  "?" for an unknown value. */
APQ_API const char *apq_format_name(apq_format format);
APQ_API const char *apq_dtype_name(apq_dtype dtype);

/* ---- context ---- */

/* A device, the table of tuned kernels, and the kernels loaded so far.  Every object made from a
 * context must be destroyed before it is closed.  A context may be used from many threads. */
typedef struct apq_context apq_context;

typedef struct apq_context_options {
  /* "cuda" or "cuda:<ordinal>", "emu" or "emu:<arch>" such as "emu:sm_80"; NULL: the variable
   * APQ_DEVICE, else CUDA device 0, else "emu". */
  const char *device;
  /* The database file to read winners from.  NULL: the variable APQ_DB, else the user's file over
   * the installed one.  A missing or damaged file is never an error here: the context falls back to
   * the cost model, and `apq_context_describe` says why. */
  const char *database;
} apq_context_options;

/* Opens a context; `options` may be NULL.  NO_DEVICE when the device does not exist or has no
 * driver. */
APQ_API apq_status apq_context_open(const apq_context_options *options, apq_context **out,
                                    apq_error *error);
APQ_API void apq_context_close(apq_context *context);

/* Writes a text of several lines (device, databases read or set aside, number of winners) into
 * `text`, always terminated when `size` > 0; returns the length the whole text has. */
APQ_API size_t apq_context_describe(apq_context *context, char *text, size_t size);

/* Device memory, for programs that have no other way to it (always so on an emulated device).
 * Copies are complete when the call returns. */
APQ_API apq_status apq_device_alloc(apq_context *context, size_t bytes, void **out,
                                    apq_error *error);
APQ_API void apq_device_free(apq_context *context, void *memory);
APQ_API apq_status apq_copy_to_device(apq_context *context, void *to, const void *from,
                                      size_t bytes, apq_error *error);
APQ_API apq_status apq_copy_to_host(apq_context *context, void *to, const void *from, size_t bytes,
                                    apq_error *error);
/* Waits for a stream (a CUstream or cudaStream_t; NULL is the default stream).  Errors of earlier
 * launches, such as KERNEL_FAULT, are reported here. */
APQ_API apq_status apq_synchronize(apq_context *context, void *stream, apq_error *error);

/* ---- weights ---- */

/* A packed weight matrix in device memory: bit planes [bits][n][ceil(k/128)*16 bytes], bit k%8 of
 * byte k/8, plane 0 the least significant; row sums; scales; zero points.  Immutable. */
typedef struct apq_weights apq_weights;

typedef struct apq_weights_desc {
  int n, k;          /* output channels and reduction length, both at least 1 */
  int bits;          /* 1 .. 8 */
  apq_format format; /* of the codes, or the one to quantize to */
  /* Of `data`: CODES8 (taken as they are), F32, F16 or BF16 (quantized per channel). */
  apq_dtype dtype;
  const void *data;    /* host memory, [n][ld] */
  int64_t ld;          /* elements from one row to the next; 0 means k */
  const float *scale;  /* host, [n], with CODES8; NULL means 1.0.  Must be NULL otherwise */
  const int32_t *zero; /* host, [n], with CODES8 and UINT; NULL means the format's */
} apq_weights_desc;

/* Packs a matrix into device memory.  INVALID_ARGUMENT names the field at fault (a code of 2^bits
 * or more included). */
APQ_API apq_status apq_weights_create(apq_context *context, const apq_weights_desc *desc,
                                      apq_weights **out, apq_error *error);
APQ_API void apq_weights_destroy(apq_weights *weights);

/* ---- plan ---- */

/* One weight matrix and one epilogue, for any number of tokens. */
typedef struct apq_plan apq_plan;

typedef struct apq_plan_desc {
  const apq_weights *weights; /* must outlive the plan */
  int bits;                   /* of the activations, 1 .. 8 */
  apq_format format;          /* of the activations */
  /* What `x` holds: F16, BF16 or F32 are quantized per token at run time (symmetric absmax for INT
   * and BIPOLAR, asymmetric min/max with a zero point per token for UINT); CODES8 are taken as they
   * are, without the bits above `bits`. */
  apq_dtype input;
  /* What `y` holds: I32 is the exact integer product with zero points applied and no scales;
   * F16, BF16, F32 are  product * (scale_a[m] * scale_w[n]) + bias[n], each step rounded to float.
   */
  apq_dtype output;
  const float *input_scale; /* device, [m], CODES8 only: scale of each token; NULL means 1.0 */
  /* device, [m], CODES8 and UINT only; NULL means the format's.  Each from 0 to 2^bits - 1: the
   * check against overflow relies on it, and cannot see device memory. */
  const int32_t *input_zero;
  const float *bias; /* device, [n]; NULL means none; not with I32 */
} apq_plan_desc;

/* OUT_OF_RANGE when k * max|w| * max|a| reaches 2^31, the bound past which int32 could wrap. */
APQ_API apq_status apq_plan_create(apq_context *context, const apq_plan_desc *desc, apq_plan **out,
                                   apq_error *error);
APQ_API void apq_plan_destroy(apq_plan *plan);

/* Chooses, and loads or compiles, the kernels for each of `count` token counts; `apq_plan_run`
 * takes exactly these counts.  Adds to what earlier calls prepared; on failure nothing is added.
 * May take long; not to be called while a stream is being captured.  May be called while other
 * threads run the plan. */
APQ_API apq_status apq_plan_prepare(apq_plan *plan, const int *m, int count, apq_error *error);

/* Bytes of workspace `apq_plan_run` needs for `m` tokens; m must have been prepared (else 0). */
APQ_API size_t apq_plan_workspace(const apq_plan *plan, int m);

/* One product.
 *   x          device, [m][ldx] of the plan's input type; ldx in elements, 0 means k
 *   y          device, [m][ldy] of the plan's output type; ldy in elements, 0 means n
 *   workspace  device, 256-byte aligned, at least apq_plan_workspace(plan, m) bytes, not shared by
 *              calls that may overlap in time; NULL when that is 0
 *   stream     a CUstream / cudaStream_t, NULL the default one
 * Only launches: no allocation, lock, file access or synchronization, so it may be captured in a
 * CUDA graph and called from many threads.  NOT_PREPARED when m was not prepared. */
APQ_API apq_status apq_plan_run(const apq_plan *plan, int m, const void *x, int64_t ldx, void *y,
                                int64_t ldy, void *workspace, size_t workspace_bytes, void *stream,
                                apq_error *error);

/* Why this kernel: writes lines of "name: value" (problem, kernel, source of the choice: exact,
 * nearest, same arch or model, measured or modelled time) for `m` tokens, prepared or not; returns
 * the whole length, as apq_context_describe does. */
APQ_API size_t apq_plan_explain(const apq_plan *plan, int m, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
