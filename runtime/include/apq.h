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
  X(INTERNAL, "internal error")                                                                    \
  X(NULL_POINTER, "a pointer that is needed is NULL")                                              \
  X(MISALIGNED, "a pointer is not aligned as it must be")                                          \
  X(BAD_SHAPE, "the sizes of matrices do not fit each other")                                      \
  X(FOREIGN_POINTER, "the pointer is not memory of this device")                                   \
  X(CLOSED, "the context is closed")

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

/* Element types of host and device buffers.  CODES8 is one unsigned code of b bits a byte; I8, for
 * weights only, is one integer alpha * u - zero a byte, zero the format's (table above). */
typedef enum apq_dtype {
  APQ_DTYPE_I32,
  APQ_DTYPE_F16,
  APQ_DTYPE_BF16,
  APQ_DTYPE_F32,
  APQ_DTYPE_CODES8,
  APQ_DTYPE_I8,
  APQ_DTYPE_COUNT
} apq_dtype;

/* What is applied to y = product * scales + bias, in float, before `apq_combine`:
 *
 *   SILU       y / (1 + exp(-y))
 *   GELU       y * P(Y <= y), Y normally distributed: y (1 + erf(y / sqrt 2)) / 2
 *   GELU_TANH  its usual approximation y (1 + tanh(sqrt(2/pi) (y + 0.044715 y^3))) / 2
 *
 * Each is computed as y / (1 + 2^-t(y)), t a polynomial in y, by the same float operations on
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
 * "f32", "codes8", "i8".  "?" for an unknown value. */
APQ_API const char *apq_format_name(apq_format format);
APQ_API const char *apq_dtype_name(apq_dtype dtype);

/* ---- context ---- */

/* A device, the table of tuned kernels, and the kernels loaded so far.  Plans of equal shapes share
 * their kernels and tables.  A context may be used from many threads; there may be several. */
typedef struct apq_context apq_context;

typedef struct apq_context_options {
  /* "cuda" or "cuda:<ordinal>", "emu" or "emu:<arch>" such as "emu:sm_80"; NULL: the variable
   * APQ_DEVICE, else CUDA device 0, else "emu". */
  const char *device;
  /* The database file to read winners from.  NULL: the variable APQ_DB, else the user's file over
   * the installed one.  A missing or damaged file is never an error here: the context falls back to
   * the cost model, and `apq_context_describe` says why. */
  const char *database;
  /* What `apq_context_winners_hash` must give, so that every process of a job chooses the same
   * kernels; NULL: anything. */
  const char *winners_hash;
} apq_context_options;

/* Opens a context; `options` may be NULL.  NO_DEVICE when the device does not exist or has no
 * driver; MISMATCH when the winners read are not those of `winners_hash`. */
APQ_API apq_status apq_context_open(const apq_context_options *options, apq_context **out,
                                    apq_error *error);

/* Closes a context.  Weights and plans made from it that still exist stay valid to destroy, and
 * hold its memory until then; any other use of them fails with CLOSED.  No call may be under way.
 */
APQ_API void apq_context_close(apq_context *context);

/* SHA-256, as 64 lower-case hexadecimal digits, of the winners that the context chooses kernels
 * from: problems, GPUs and configs, in order; times, which differ from one measurement to the next,
 * are not part of it. */
APQ_API apq_status apq_context_winners_hash(apq_context *context, char hash[65], apq_error *error);

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
 * byte k/8, plane 0 the least significant; row sums; scales; zero points.  Immutable.
 *
 * Scales and zero points are one per output channel [n], or one per group of 32, 64, 128 or 256
 * codes along k [n][ceil(k/group)], where the last group of a row may be short. */
typedef struct apq_weights apq_weights;

/* How values are rounded to codes when weights are quantized.  In both, a scale comes from the
 * range of its channel or group (symmetric for INT and BIPOLAR; for UINT from the least to the
 * greatest value, 0 included, with a zero point), and codes are rounded to nearest, ties to even.
 */
typedef enum apq_clip {
  APQ_CLIP_ABSMAX, /* the whole range; what the pack kernels do with activations */
  APQ_CLIP_MSE,    /* the range times the ratio, from 1 down to 1/32, of least squared error */
  APQ_CLIP_COUNT
} apq_clip;

typedef struct apq_weights_desc {
  int n, k;          /* output channels and reduction length, both at least 1 */
  int bits;          /* 1 .. 8 */
  apq_format format; /* of the codes, or the one to quantize to */
  /* Of `data`: CODES8 or I8 (taken as they are), F32, F16 or BF16 (quantized; what is not finite
   * counts as 0). */
  apq_dtype dtype;
  const void *data; /* [n][ld] */
  int64_t ld;       /* elements from one row to the next; 0 means k */
  /* With CODES8 and I8: [n][groups] as above; NULL means 1.0.  Must be NULL otherwise. */
  const float *scale;
  /* [n][groups]; NULL means the format's.  With CODES8 and UINT the zero of the table above.  With
   * I8 and INT, v = scale * (integer - zero), and the weights become UINT of zero + 2^(bits-1). */
  const int32_t *zero;
  int group;     /* codes along k that share a scale: 32, 64, 128, 256; 0 (or k and more): all */
  apq_clip clip; /* of F32, F16 and BF16 */
  int on_device; /* data, scale and zero are 0: host memory; 1: device memory of the context */
} apq_weights_desc;

/* Packs a matrix into device memory.  INVALID_ARGUMENT names the field at fault (a code of 2^bits
 * or more included). */
APQ_API apq_status apq_weights_create(apq_context *context, const apq_weights_desc *desc,
                                      apq_weights **out, apq_error *error);
/* Gives the weights up; their memory goes with the last view of them. */
APQ_API void apq_weights_destroy(apq_weights *weights);

/* Packed int32 layouts of model checkpoints.  Every value is scale * (code - zero). */
typedef enum apq_checkpoint {
  /* AutoGPTQ, GPTQModel "gptq": qweight [k*bits/32][n], the codes of a column one after another
   * from bit 0; qzeros [groups][n*bits/32], those of a group likewise; 2, 3, 4 or 8 bits.  The
   * field stored for a zero point z is z - 1, modulo 2^bits. */
  APQ_CHECKPOINT_GPTQ,
  APQ_CHECKPOINT_GPTQ_V2, /* GPTQModel "gptq_v2": the same, the field is z */
  /* AutoAWQ "gemm": qweight [k][n/8], qzeros [groups][n/8], 4 bits; fields 0 .. 7 of a word are
   * columns 0, 2, 4, 6, 1, 3, 5, 7 of its eight; the field of a zero point is z. */
  APQ_CHECKPOINT_AWQ,
  APQ_CHECKPOINT_COUNT
} apq_checkpoint;

typedef struct apq_checkpoint_desc {
  apq_checkpoint layout;
  int n, k, bits;
  int group;              /* 32, 64, 128, 256; 0 (or k and more): one group is the whole of k */
  const int32_t *qweight; /* as the layout says */
  const int32_t *qzeros;  /* as the layout says; NULL: each zero point is 2^(bits-1) */
  const void *scales;     /* [groups][n] */
  apq_dtype scale_dtype;  /* F16, BF16 or F32 */
  /* [k] or NULL: the group of each row of qweight.  It must be k / group: UNSUPPORTED when the
   * checkpoint reorders rows ("act-order"). */
  const int32_t *g_idx;
  int on_device; /* all arrays are 0: host memory; 1: device memory of the context */
} apq_checkpoint_desc;

/* Makes weights of a checkpoint's arrays, bit for bit: UINT with its zero points, or INT where all
 * of them are 2^(bits-1).  UNSUPPORTED for a width that the layout does not define,
 * INVALID_ARGUMENT for everything else, naming the field. */
APQ_API apq_status apq_weights_import(apq_context *context, const apq_checkpoint_desc *desc,
                                      apq_weights **out, apq_error *error);

/* What weights are: a code u stands for scale * (alpha * u - zero). */
typedef struct apq_weights_info {
  int n, k, bits;
  apq_format format;
  int group;      /* 32, 64, 128, 256; 0: per channel */
  int alpha;      /* 1 or 2 */
  int zero;       /* where has_zeros is 0 */
  int has_zeros;  /* 1: a zero point per channel or group instead */
  int has_scales; /* 0: every scale is 1 */
  int is_view;    /* 1: the planes are another's */
} apq_weights_info;
APQ_API apq_status apq_weights_get_info(const apq_weights *weights, apq_weights_info *out,
                                        apq_error *error);

/* Writes the values that the codes stand for, each scale * (alpha * u - zero) rounded once, to host
 * memory [n][ld]; ld in elements, 0 means k. */
APQ_API apq_status apq_weights_dequantize(const apq_weights *weights, float *values, int64_t ld,
                                          apq_error *error);

/* The `bits` most significant planes of a matrix of p >= bits bits, as weights of their own: no
 * plane is copied; scales, zero points and sums are new.  With d = p - bits planes left out, code t
 * of the view stands for the 2^d codes from 2^d t on, and its value is their mean, as closely as
 * whole zero points allow: scale * alpha * 2^(d-1) * (2 t - z'), where z' is the integer nearest to
 * (zero - alpha (2^d - 1) / 2) / (alpha * 2^(d-1)), the lower of two equally near.  So a view of
 * BIPOLAR weights is BIPOLAR with the scale times 2^d, without error; one of INT weights is BIPOLAR
 * with the scale times 2^(d-1), half a step of the parent above the mean; with zero points the mean
 * is missed by at most a quarter of the view's step.  With bits = p it is the parent's map.
 *
 * The view keeps the parent's memory alive; either may be destroyed first.  Views of views are
 * taken of the first parent.  INVALID_ARGUMENT when bits is not 1 .. p, OUT_OF_RANGE when a scale
 * is too large. */
APQ_API apq_status apq_weights_view(apq_weights *parent, int bits, apq_weights **out,
                                    apq_error *error);

/* The same values, to the last bit, in another format's map:
 *   INT -> BIPOLAR        v = (v' - 1) / 2 with v' = 2 v + 1: scale / 2, the zero one above
 * BIPOLAR's; shares the planes, as a view does that -> INT           the inverse; shares the planes
 *   BIPOLAR -> INT        an integer v needs one bit more: INT of bits + 1, with planes of its own;
 *                         UNSUPPORTED at 8 bits
 *   a format -> itself    a view of all bits
 * UNSUPPORTED from or to UINT.  OUT_OF_RANGE when a scale cannot be halved or doubled without
 * error.
 */
APQ_API apq_status apq_weights_convert(apq_weights *weights, apq_format format, apq_weights **out,
                                       apq_error *error);

/* A name for weights in a file: 1 to 200 bytes of UTF-8 without control characters. */
typedef struct apq_named_weights {
  const char *name;
  const apq_weights *weights;
} apq_named_weights;

/* Writes at least one matrix to one file, by a temporary file that replaces `path` when it is
 * complete.  The file is a safetensors container, described in docs/weights.md; it holds what the
 * weights are, not how they are shared: a view is written as a matrix of its own. */
APQ_API apq_status apq_weights_save(const char *path, const apq_named_weights *matrices, int count,
                                    apq_error *error);

/* A file of weights, mapped into memory: it must not be changed in place while open (replacing it
 * is fine).  May be used from many threads. */
typedef struct apq_weights_file apq_weights_file;

/* Reads and checks the header alone.  NOT_FOUND, READ_ONLY and IO as the system says; CORRUPT when
 * the header is damaged or does not fit the file's length; UNSUPPORTED for another version of the
 * format; PARSE when the file is no safetensors file, or one without weights of this library. */
APQ_API apq_status apq_weights_file_open(const char *path, apq_weights_file **out,
                                         apq_error *error);
APQ_API void apq_weights_file_close(apq_weights_file *file);
/* The matrices in the file, and their names in the order they were saved; NULL when there is no
 * such index.  A name lives as long as the file is open. */
APQ_API int apq_weights_file_count(const apq_weights_file *file);
APQ_API const char *apq_weights_file_name(const apq_weights_file *file, int index);
/* Checks one matrix against its checksum (CORRUPT names it) and makes weights of it, which do not
 * need the file afterwards.  NOT_FOUND when there is no such name. */
APQ_API apq_status apq_weights_file_load(const apq_weights_file *file, const char *name,
                                         apq_context *context, apq_weights **out, apq_error *error);

/* Joins matrices of equal k, bits, format and groups along n, in order, to one of their own:
 * products of the same activations (q, k, v; gate and up) are then one launch with a result [m][sum
 * of n], the columns of each matrix side by side.  Scales that are NULL become 1.0, zero points
 * those of the format.  The parts may be destroyed after.  BAD_SHAPE names the part that does not
 * fit. */
APQ_API apq_status apq_weights_concat(apq_context *context, const apq_weights *const *parts,
                                      int count, apq_weights **out, apq_error *error);

/* ---- plan ---- */

/* One or several products of the same activations, each with its weights and epilogue, for any
 * number of tokens. */
typedef struct apq_plan apq_plan;

/* One more product of a plan. */
typedef struct apq_product_desc {
  const apq_weights *weights; /* k as the plan's; must outlive the plan */
  const float *bias;          /* device, [n]; NULL means none */
  apq_activation activation;
  apq_combine combine;
} apq_product_desc;

typedef struct apq_plan_desc {
  const apq_weights *weights; /* must outlive the plan */
  int bits;                   /* of the activations, 1 .. 8 */
  apq_format format;          /* of the activations */
  /* What `x` holds: F16, BF16 or F32 are quantized per token at run time (symmetric absmax for INT
   * and BIPOLAR, asymmetric min/max with a zero point per token for UINT), or all with
   * `static_scale`; what is not finite counts as 0.  CODES8 are taken as they are, without the bits
   * above `bits`. */
  apq_dtype input;
  /* What `y` holds: I32 is the exact integer product with zero points applied and no scales.  F16,
   * BF16, F32 are  product * (scale_a[m] * scale_w[n]) + bias[n], then the activation, then
   * `combine`, each step rounded to float and the last to the type.  With weights in groups the
   * first term is  (sum over groups g, in order, of product_g * scale_w[n][g]) * scale_a[m]. */
  apq_dtype output;
  const float *input_scale; /* device, [m], CODES8 only: scale of each token; NULL means 1.0 */
  /* device, [m], CODES8 and UINT only; NULL means the format's.  Each from 0 to 2^bits - 1: the
   * check against overflow relies on it, and cannot see device memory. */
  const int32_t *input_zero;
  const float *bias; /* device, [n]; NULL means none; not with I32 */
  /* Not 0, for F16, BF16 and F32 inputs: the scale of every token, positive; with UINT
   * `static_zero` is the zero point of all, 0 .. 2^bits - 1. */
  float static_scale;
  int32_t static_zero;
  apq_activation activation; /* not with I32 */
  apq_combine combine;       /* not with I32 */
  /* Further products of the same x: it is quantized and packed once for all of them.  `more` is
   * borrowed for the call, at most APQ_PRODUCTS_MAX - 1 of them. */
  const apq_product_desc *more;
  int more_count;
  /* Not NONE, for F16, BF16 and F32: x is [m][2 k], two matrices side by side, and the activations
   * are  act(x[m][i]) * x[m][k + i],  computed in float and rounded to the input's type before they
   * are quantized: what a model's gate and up give, joined by apq_weights_concat in this order. */
  apq_activation input_gate;
} apq_plan_desc;

#define APQ_PRODUCTS_MAX 8

/* OUT_OF_RANGE when k * max|w| * max|a| reaches 2^31, the bound past which int32 could wrap (with
 * groups, k of a group).  BAD_SHAPE when weights of one plan differ in k, or in their groups.
 * FOREIGN_POINTER when an array is not memory of the context's device. */
APQ_API apq_status apq_plan_create(apq_context *context, const apq_plan_desc *desc, apq_plan **out,
                                   apq_error *error);
APQ_API void apq_plan_destroy(apq_plan *plan);

/* Chooses, and loads or compiles, the kernels for each of `count` token counts; `apq_plan_run`
 * takes exactly these counts.  Adds to what earlier calls prepared; on failure nothing is added.
 * May take long.  May be called while other threads run the plan, and while streams are captured:
 * what it does is not recorded, and the captures stay usable. */
APQ_API apq_status apq_plan_prepare(apq_plan *plan, const int *m, int count, apq_error *error);

/* The same for every token count from `from` to `to`: counts up to 16 each have a choice of their
 * own, above that eight choices a power of two serve those below them.  Counts that were or will be
 * prepared by themselves keep their own. */
APQ_API apq_status apq_plan_prepare_range(apq_plan *plan, int from, int to, apq_error *error);

/* Bytes of workspace a run needs for `m` tokens; m must have been prepared (else 0).  Within a
 * prepared range it does not fall as m grows. */
APQ_API size_t apq_plan_workspace(const apq_plan *plan, int m);

/* The product of a plan that has one, without `combine`.
 *   x          device, [m][ldx] of the plan's input type; ldx in elements, 0 means k, with
 *              `input_gate` 2 k
 *   y          device, [m][ldy] of the plan's output type; ldy in elements, 0 means n
 *   workspace  device, 256-byte aligned, at least apq_plan_workspace(plan, m) bytes, not shared by
 *              calls that may overlap in time; NULL when that is 0
 *   stream     a CUstream / cudaStream_t, NULL the default one
 * Only launches: no allocation, lock, file access or synchronization, so it may be captured in a
 * CUDA graph and called from many threads.  Every failure comes before anything is launched, so a
 * capture under way stays usable:
 *   NULL_POINTER, MISALIGNED, FOREIGN_POINTER   name the argument
 *   BAD_SHAPE             a row stride less than the columns
 *   WORKSPACE_TOO_SMALL   says how much is needed
 *   NOT_PREPARED          m was not prepared: to run it would mean to compile
 *   CLOSED                the context was closed
 * but for DEVICE, which the launch itself gives.  Pointers seen before are not looked up again. */
APQ_API apq_status apq_plan_run(const apq_plan *plan, int m, const void *x, int64_t ldx, void *y,
                                int64_t ldy, void *workspace, size_t workspace_bytes, void *stream,
                                apq_error *error);

/* Where one product of a plan goes.  `other`, with `combine`, is device memory of the output type,
 * [m][ld_other] (0 means n); it may be y itself, with equal strides, or a y that an earlier product
 * of the same plan writes. */
typedef struct apq_output {
  void *y;
  int64_t ldy;
  const void *other;
  int64_t ld_other;
} apq_output;

/* All products of a plan, in the order of the plan: `weights`, then `more`.  `count` is their
 * number.  Otherwise as apq_plan_run. */
APQ_API apq_status apq_plan_run_all(const apq_plan *plan, int m, const void *x, int64_t ldx,
                                    const apq_output *output, int count, void *workspace,
                                    size_t workspace_bytes, void *stream, apq_error *error);

/* Why this kernel: writes lines of "name: value" (problem, kernel, source of the choice: exact,
 * nearest, same arch or model, measured or modelled time) for `m` tokens, prepared or not; returns
 * the whole length, as apq_context_describe does. */
APQ_API size_t apq_plan_explain(const apq_plan *plan, int m, char *text, size_t size);

/* SHA-256, as 64 lower-case hexadecimal digits, of what the plan prepared: the device's arch, and
 * for every token count the configs of its kernels and the hashes of their templates.  Equal
 * fingerprints run equal kernels. */
APQ_API apq_status apq_plan_fingerprint(const apq_plan *plan, char hash[65], apq_error *error);

#ifdef __cplusplus
}
#endif

#endif
