/* Plans whose kernel quantizes the input itself, through the public interface: bit for bit what a
 * pack kernel and a product give, without the one's launch and the other's workspace. */
#include "linear_cases.h"

#include "generator.h"

#define DEVICE "emu:sm_90a"

/* How the rows lie in memory. */
typedef struct row_layout {
  int gap;    /* ldx - k */
  int offset; /* elements before the first row */
} row_layout;

typedef struct input_case {
  linear_case c;
  row_layout rows;
  int is_odd; /* rows of zeros and of what is not finite among them */
  const char *kernel;
} input_case;

static apq_context *open_with(const input_case *at, apq__input in) {
  apq_context *context = open_device(DEVICE, APQ_BINARY_DIR "/no-such.db");
  const apq__target *target = apq__context_target(context);
  const linear_case *c = &at->c;
  apq__winner winner = {.problem = {.p = c->p,
                                    .q = c->q,
                                    .m = c->m,
                                    .n = c->n,
                                    .k = c->k,
                                    .out = c->output,
                                    .group = c->group,
                                    .in = in}};
  if (!at->kernel) return context;
  apq__config *config = &winner.variant.config;
  CHECK(apq__config_parse(at->kernel, config, error));
  CHECK(apq__config_set_problem(config, &winner.problem, error));
  CHECK(apq__config_set(config, "src", apq__input_name(in), error));
  CHECK(apq__config_complete(config, error));
  snprintf(winner.variant.hash, sizeof winner.variant.hash, "%s",
           apq__family_hash(apq__family_find(apq__config_get(config, "family")), 1));
  snprintf(winner.environment.gpu, sizeof winner.environment.gpu, "%s", target->name);
  snprintf(winner.environment.arch, sizeof winner.environment.arch, "%s", target->arch);
  snprintf(winner.measurement.objective, sizeof winner.measurement.objective, "burst");
  winner.environment.sm_count = target->sm_count;
  winner.environment.emulated = winner.measurement.modelled = 1;
  winner.measurement.p50 = 1e-6;
  CHECK(apq__winner_table_add(&context->winners, &winner, 0, target, error));
  apq__winner_table_seal(&context->winners);
  return context;
}

/* [m][k + gap] behind `offset` elements. */
static void *make_rows(const input_case *at, uint64_t seed, size_t *bytes) {
  const linear_case *c = &at->c;
  const int64_t ldx = c->k + at->rows.gap, count = at->rows.offset + c->m * ldx;
  *bytes = (size_t)count * apq__dtype_bytes(c->input);
  void *x = apq__calloc(1, *bytes);
  for (int64_t i = 0; i < count; i++) {
    const int64_t row = (i - at->rows.offset) / ldx;
    float value = random_float(&seed) * 2.0f + 0.25f;
    if (at->is_odd && row % 4 == 1) value = 0;
    if (at->is_odd && row % 4 == 2 && i % 5 == 0) value = i % 2 ? INFINITY : NAN;
    if (at->is_odd && row % 4 == 3) value = -1e-3f * fabsf(value);
    apq__store_float(x, c->input, i, value);
  }
  return x;
}

typedef struct outcome {
  uint8_t *y;
  size_t y_bytes, workspace;
  char text[4096];
} outcome;

/* Runs a plan twice, as what the first run leaves must not matter. */
static outcome run_in(apq_context *context, const input_case *at, const linear_data *d) {
  const linear_case *c = &at->c;
  const size_t element = apq__dtype_bytes(c->output);
  const int64_t ldx = c->k + at->rows.gap;
  size_t x_bytes;
  apq_weights *weights = linear_weights(context, d);
  float *bias = d->bias ? device_copy(context, d->bias, (size_t)c->n * 4) : NULL;
  const apq_plan_desc desc = linear_plan(c, weights, bias);
  apq_plan *plan = NULL;
  CHECK(apq_plan_create(context, &desc, &plan, error));
  CHECK(apq_plan_prepare(plan, &c->m, 1, error));
  outcome out = {.y_bytes = (size_t)(c->m * d->ldy) * element,
                 .workspace = apq_plan_workspace(plan, c->m)};
  out.y = apq__alloc(out.y_bytes);
  memset(out.y, 0x5a, out.y_bytes);
  void *x_host = make_rows(at, 99, &x_bytes);
  uint8_t *x = device_copy(context, x_host, x_bytes);
  void *other = device_copy(context, d->other, (size_t)(c->m * d->ldo) * element);
  void *y = device_copy(context, out.y, out.y_bytes);
  void *workspace = out.workspace ? device_new(context, out.workspace) : NULL;
  const apq_output output = {y, d->ldy, c->combine ? other : NULL, c->combine ? d->ldo : 0};
  for (int i = 0; i < 2; i++)
    CHECK(apq_plan_run_all(plan, c->m, x + (size_t)at->rows.offset * apq__dtype_bytes(c->input),
                           ldx, &output, 1, workspace, out.workspace, NULL, error));
  CHECK(apq_synchronize(context, NULL, error));
  CHECK(apq_copy_to_host(context, out.y, y, out.y_bytes, error));
  apq_plan_explain(plan, c->m, out.text, sizeof out.text);
  void *const memory[] = {x, other, y, workspace, bias};
  for (int i = 0; i < 5; i++) apq_device_free(context, memory[i]);
  apq__free(x_host);
  apq_plan_destroy(plan);
  apq_weights_destroy(weights);
  return out;
}

static void expect_in(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static void check_case(const input_case *at, uint64_t seed) {
  input_case packed = *at;
  packed.kernel = NULL;
  linear_data d = linear_make(&at->c, seed);
  const apq__input in = apq__input_of(at->c.input);
  apq_context *context[2] = {open_with(&packed, in), open_with(at, in)};
  outcome out[2] = {run_in(context[0], &packed, &d), run_in(context[1], at, &d)};
  expect_in(out[0].text, "\npack: family=pack");
  assert_true(out[0].workspace > 0);
  expect_in(out[1].text, "source: exact\n");
  expect_in(out[1].text, "it packs for itself\n");
  expect_in(out[1].text, "problem: ");
  expect_in(out[1].text, "in=");
  assert_null(strstr(out[1].text, "\npack: "));
  assert_int_equal(out[1].workspace, 0);
  if (memcmp(out[0].y, out[1].y, out[0].y_bytes) != 0)
    fail_msg("W%dA%d %dx%dx%d group %d, %s %s: %s differs from pack and product", at->c.p, at->c.q,
             at->c.m, at->c.n, at->c.k, at->c.group, apq_dtype_name(at->c.input),
             apq_format_name(at->c.a_format), at->kernel);
  for (int i = 0; i < 2; i++) {
    apq__free(out[i].y);
    apq_context_close(context[i]);
  }
  linear_free(&d);
}

/* Formats, groups, types, scales, what follows and layouts by turns. */
static void all_pairs_equal_pack_and_product(void **state) {
  (void)state;
  static const apq_dtype types[] = {APQ_DTYPE_F16, APQ_DTYPE_BF16, APQ_DTYPE_F32};
  static const row_layout layouts[] = {{0, 0}, {8, 0}, {3, 0}, {8, 1}};
  static const char two_tiles[] =
      "family=decode,operand=shared,tile_m=2,warps_k=1,warps_n=2,tiles=2,"
      "pdl=1,release=issue,schedule=horner";
  static const char *const kernels[] = {
      "family=decode,operand=shared,tile_m=1,pdl=1",
      "family=decode,operand=shared,core=u8,tile_m=4,warps_k=2,pdl=1,unpack=wait,hold=2",
      "family=decode,operand=shared,tile_m=8,warps_n=2,warps_k=2,schedule=horner,hold=4",
      "family=decode,operand=shared,core=u8,tile_m=8,warps_k=4,unpack=fill,hold=8", two_tiles};
  for (int i = 0; i < 64; i++) {
    input_case at = {.c = {.p = i / 8 + 1,
                           .q = i % 8 + 1,
                           .m = 1 + i % 9,
                           .n = 24 + i % 9,
                           .k = i % 3 ? 640 + 8 * (i % 7) : 501 + i % 7,
                           .group = i % 5 ? 0 : 32 << i / 5 % 4,
                           .w_format = (apq_format)(i % 3),
                           .a_format = (apq_format)(i / 3 % 3),
                           .input = types[i / 2 % 3],
                           .output = types[i / 4 % 3],
                           .has_bias = i % 2,
                           .activation = (apq_activation)(i / 5 % 4),
                           .combine = (apq_combine)(i / 7 % 3)},
                     .rows = layouts[i / 3 % 4],
                     .is_odd = i % 2,
                     .kernel = kernels[i % 5]};
    if (i % 4 == 3) at.c.static_scale = 0.03f, at.c.static_zero = at.c.a_format == APQ_FORMAT_UINT;
    check_case(&at, 77 + (uint64_t)i);
  }
}

/* k divided over a cluster: each block needs the range of the whole row. */
static void blocks_of_a_cluster_share_rows(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    const input_case at = {
        .c = {.p = 3,
              .q = i % 2 ? 8 : 2,
              .m = 5,
              .n = 70,
              .k = i / 2 ? 2096 : 1601,
              .w_format = APQ_FORMAT_INT,
              .a_format = APQ_FORMAT_UINT,
              .input = APQ_DTYPE_F16,
              .output = APQ_DTYPE_I32},
        .is_odd = i % 2,
        .kernel = i % 2 ? "family=decode,operand=shared,core=u8,tile_m=8,warps_k=1,warps_n=4,"
                          "cluster=4,pdl=1,unpack=wait"
                        : "family=decode,operand=shared,tile_m=4,warps_k=2,warps_n=2,cluster=2"};
    check_case(&at, 5 + (uint64_t)i);
  }
}

/* One pack kernel serves all products of a plan; and two matrices side by side are packed. */
static void shared_and_gated_inputs_are_packed(void **state) {
  (void)state;
  for (int is_gated = 0; is_gated < 2; is_gated++) {
    const input_case at = {.c = {.p = 2,
                                 .q = 8,
                                 .m = 2,
                                 .n = 32,
                                 .k = 256,
                                 .input = APQ_DTYPE_F16,
                                 .output = APQ_DTYPE_F16},
                           .kernel = "family=decode,operand=shared,tile_m=2"};
    apq_context *context = open_with(&at, APQ__INPUT_F16);
    linear_data d = linear_make(&at.c, 3);
    apq_weights *weights = linear_weights(context, &d);
    const apq_product_desc more = {.weights = weights};
    apq_plan_desc desc = linear_plan(&at.c, weights, NULL);
    if (is_gated)
      desc.input_gate = APQ_ACTIVATION_SILU;
    else
      desc.more = &more, desc.more_count = 1;
    apq_plan *plan = NULL;
    char text[4096];
    CHECK(apq_plan_create(context, &desc, &plan, error));
    CHECK(apq_plan_prepare(plan, &at.c.m, 1, error));
    apq_plan_explain(plan, at.c.m, text, sizeof text);
    expect_in(text, "\npack: family=pack");
    expect_in(text, "source: model\n");
    assert_null(strstr(text, "in=f16"));
    apq_plan_destroy(plan);
    apq_weights_destroy(weights);
    linear_free(&d);
    apq_context_close(context);
  }
}

/* What such a plan launches decides its fingerprint. */
static void fingerprints_tell_who_packs(void **state) {
  (void)state;
  char hash[2][65];
  for (int i = 0; i < 2; i++) {
    const input_case at = {.c = {.p = 2,
                                 .q = 8,
                                 .m = 1,
                                 .n = 32,
                                 .k = 256,
                                 .input = APQ_DTYPE_F16,
                                 .output = APQ_DTYPE_F16},
                           .kernel = i ? "family=decode,operand=shared" : NULL};
    apq_context *context = open_with(&at, APQ__INPUT_F16);
    linear_data d = linear_make(&at.c, 3);
    apq_weights *weights = linear_weights(context, &d);
    const apq_plan_desc desc = linear_plan(&at.c, weights, NULL);
    apq_plan *plan = NULL;
    CHECK(apq_plan_create(context, &desc, &plan, error));
    CHECK(apq_plan_prepare(plan, &at.c.m, 1, error));
    CHECK(apq_plan_fingerprint(plan, hash[i], error));
    apq_plan_destroy(plan);
    apq_weights_destroy(weights);
    linear_free(&d);
    apq_context_close(context);
  }
  assert_string_not_equal(hash[0], hash[1]);
}

int main(void) {
  use_cache(APQ_BINARY_DIR "/tests/cache/runtime");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_pairs_equal_pack_and_product),
      cmocka_unit_test(blocks_of_a_cluster_share_rows),
      cmocka_unit_test(shared_and_gated_inputs_are_packed),
      cmocka_unit_test(fingerprints_tell_who_packs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
