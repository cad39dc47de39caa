/* Which kernel is chosen from which table, without any device or file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "dispatch.h"

#define SMALL "family=bmma,swap=1,schedule=horner,tile_m=8,tile_n=64,warps_m=1,warps_n=4,tile_k=512"
#define LARGE                                                                                      \
  "family=bmma,schedule=side,tile_m=64,tile_n=64,warps_m=2,warps_n=2,stages=2,layout=xor"
#define BYTES "family=imma,tile_m=64,tile_n=64,warps_m=2,warps_n=2,stages=2"

static apq__target target_of(const char *arch) {
  apq__target target;
  assert_int_equal(apq__target_emulated(arch, &target, NULL), APQ_OK);
  return target;
}

/* An H200, not emulated. */
static apq__target real_target(void) {
  apq__target target = target_of("sm_90a");
  snprintf(target.name, sizeof target.name, "NVIDIA H200");
  target.emulated = 0;
  return target;
}

static apq__problem problem_of(int p, int q, int m, int n, int k) {
  return (apq__problem){p, q, m, n, k, APQ_DTYPE_F16, 0, 0};
}

/* A winner of this problem on this very target. */
static apq__winner winner_of(const apq__target *target, apq__problem problem, const char *config,
                             double seconds) {
  apq__winner winner = {.problem = problem};
  snprintf(winner.environment.gpu, sizeof winner.environment.gpu, "%s", target->name);
  snprintf(winner.environment.arch, sizeof winner.environment.arch, "%s", target->arch);
  winner.environment.sm_count = target->sm_count;
  winner.environment.emulated = target->emulated;
  winner.measurement.modelled = target->emulated;
  winner.measurement.p50 = seconds;
  snprintf(winner.measurement.objective, sizeof winner.measurement.objective, "burst");
  apq__config *out = &winner.variant.config;
  assert_int_equal(apq__config_parse(config, out, NULL), APQ_OK);
  assert_int_equal(apq__config_set_int(out, "p", problem.p, NULL), APQ_OK);
  assert_int_equal(apq__config_set_int(out, "q", problem.q, NULL), APQ_OK);
  assert_int_equal(apq__config_set(out, "out", apq_dtype_name(problem.out), NULL), APQ_OK);
  assert_int_equal(apq__config_complete(out, NULL), APQ_OK);
  const apq__family *family = apq__family_find(apq__config_get(out, "family"));
  snprintf(winner.variant.hash, sizeof winner.variant.hash, "%s",
           apq__family_hash(family, target->emulated));
  return winner;
}

static void add(apq__winner_table *table, const apq__winner *winner, int database,
                const apq__target *target) {
  assert_int_equal(apq__winner_table_add(table, winner, database, target, NULL), APQ_OK);
}

static void add_tuned(apq__winner_table *table, const apq__target *target, apq__problem problem,
                      const char *config) {
  apq__winner winner = winner_of(target, problem, config, 1e-5);
  add(table, &winner, 0, target);
}

static apq__choice first_choice(const apq__winner_table *table, apq__problem problem,
                                const apq__target *target) {
  apq__choice choice[APQ__CHOICES_MAX];
  int count = 0;
  apq_error error = APQ_ERROR_INIT;
  if (apq__dispatch(table, &problem, target, choice, &count, &error)) fail_msg("%s", error.message);
  assert_in_range(count, 1, APQ__CHOICES_MAX);
  return choice[0];
}

static void an_empty_table_gives_the_model_for_every_problem(void **state) {
  (void)state;
  apq__winner_table table = {0};
  const int shape[][3] = {
      {1, 1, 1}, {17, 33, 129}, {4096, 4096, 4096}, {1, 28672, 8192}, {100000, 8, 64}};
  const char *arch = NULL;
  for (int i = 0; (arch = apq__target_arch(i)); i++) {
    apq__target target = target_of(arch);
    for (int p = 1; p <= 8; p++)
      for (size_t s = 0; s < sizeof shape / sizeof shape[0]; s++) {
        apq__problem problem = problem_of(p, 9 - p, shape[s][0], shape[s][1], shape[s][2]);
        apq__choice choice = first_choice(&table, problem, &target);
        assert_int_equal(choice.source, APQ__SOURCE_MODEL);
        assert_null(choice.tuned);
        assert_true(choice.shape.threads >= 32 && choice.shape.grid[0] >= 1);
        assert_true(choice.modelled_seconds > 0);
      }
  }
}

static void an_exact_winner_comes_first_and_the_model_stays_behind_it(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__problem problem = problem_of(2, 2, 64, 512, 1024);
  apq__winner_table table = {0};
  add_tuned(&table, &target, problem, LARGE);
  apq__winner_table_seal(&table);
  apq__choice choice[APQ__CHOICES_MAX];
  int count = 0;
  assert_int_equal(apq__dispatch(&table, &problem, &target, choice, &count, NULL), APQ_OK);
  assert_int_equal(count, 2);
  assert_int_equal(choice[0].source, APQ__SOURCE_EXACT);
  assert_ptr_equal(choice[0].tuned, &table.row[0]);
  assert_int_equal(apq__config_int(&choice[0].config, "stages", 0), 2);
  assert_int_equal(choice[1].source, APQ__SOURCE_MODEL);
  apq__winner_table_free(&table);
}

static void other_bits_and_outputs_are_never_near(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__winner_table table = {0};
  add_tuned(&table, &target, problem_of(2, 2, 64, 512, 1024), LARGE);
  apq__winner_table_seal(&table);
  assert_int_equal(first_choice(&table, problem_of(2, 3, 64, 512, 1024), &target).source,
                   APQ__SOURCE_MODEL);
  assert_int_equal(first_choice(&table, problem_of(3, 2, 64, 512, 1024), &target).source,
                   APQ__SOURCE_MODEL);
  apq__problem other_out = problem_of(2, 2, 64, 512, 1024);
  other_out.out = APQ_DTYPE_I32;
  assert_int_equal(first_choice(&table, other_out, &target).source, APQ__SOURCE_MODEL);
  apq__winner_table_free(&table);
}

static void nearest_is_by_ratio_and_monotonic_in_m(void **state) {
  (void)state;
  /* Where one kernel is hopeless for none of these counts. */
  apq__target target = target_of("sm_80");
  target.emulated = 0;
  apq__winner_table table = {0};
  const int tuned[] = {32, 64, 128, 512, 2048};
  for (size_t i = 0; i < sizeof tuned / sizeof tuned[0]; i++)
    add_tuned(&table, &target, problem_of(2, 2, tuned[i], 4096, 4096), LARGE);
  apq__winner_table_seal(&table);
  const struct {
    int m, expected;
  } rows[] = {{33, 32},   {40, 32},    {50, 64},     {100, 128},  {256, 512},
              {255, 128}, {1000, 512}, {1100, 2048}, {9000, 2048}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    apq__choice choice = first_choice(&table, problem_of(2, 2, rows[i].m, 4096, 4096), &target);
    assert_int_equal(choice.source, APQ__SOURCE_NEAREST);
    assert_int_equal(choice.tuned->problem.m, rows[i].expected);
  }
  /* Other n and k shift the choice, but never make it go down as m goes up. */
  int before = 0;
  for (int m = 32; m <= 4096; m += 13) {
    apq__choice choice = first_choice(&table, problem_of(2, 2, m, 11008, 4000), &target);
    assert_int_equal(choice.source, APQ__SOURCE_NEAREST);
    assert_true(choice.tuned->problem.m >= before);
    before = choice.tuned->problem.m;
  }
  apq__winner_table_free(&table);
}

static void a_nearest_config_that_cannot_run_here_is_passed_over(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__winner_table table = {0};
  /* Eight splits need eight stages of k; the actual problem has one. */
  add_tuned(&table, &target, problem_of(2, 2, 64, 512, 8192), LARGE ",split_k=8,store=staged");
  apq__winner_table_seal(&table);
  assert_int_equal(first_choice(&table, problem_of(2, 2, 64, 512, 128), &target).source,
                   APQ__SOURCE_MODEL);
  add_tuned(&table, &target, problem_of(2, 2, 64, 512, 16384), LARGE);
  apq__winner_table_seal(&table);
  apq__choice choice = first_choice(&table, problem_of(2, 2, 64, 512, 128), &target);
  assert_int_equal(choice.source, APQ__SOURCE_NEAREST);
  assert_int_equal(choice.tuned->problem.k, 16384);
  apq__winner_table_free(&table);
}

static void a_kernel_tuned_for_one_token_does_not_serve_thousands(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__winner_table table = {0};
  add_tuned(&table, &target, problem_of(2, 2, 1, 4096, 4096), "family=decode,tile_m=2");
  apq__winner_table_seal(&table);
  assert_int_equal(first_choice(&table, problem_of(2, 2, 2, 4096, 4096), &target).source,
                   APQ__SOURCE_NEAREST);
  apq__problem problem = problem_of(2, 2, 8192, 4096, 4096);
  apq__choice choice[APQ__CHOICES_MAX];
  int count = 0;
  assert_int_equal(apq__dispatch(&table, &problem, &target, choice, &count, NULL), APQ_OK);
  assert_int_equal(choice[0].source, APQ__SOURCE_MODEL);
  /* It is still better than nothing, where the model's choice cannot be built. */
  assert_int_equal(count, 2);
  assert_int_equal(choice[1].source, APQ__SOURCE_NEAREST);
  apq__winner_table_free(&table);
}

static void weights_are_not_streamed_once_for_each_token(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__winner_table table = {0};
  add_tuned(&table, &target, problem_of(2, 2, 1, 4096, 4096), "family=decode,tile_m=1");
  add_tuned(&table, &target, problem_of(2, 2, 8, 4096, 4096), "family=decode,tile_m=8");
  apq__winner_table_seal(&table);
  for (int m = 1; m <= 8; m++) {
    apq__choice choice = first_choice(&table, problem_of(2, 2, m, 4096, 4096), &target);
    assert_non_null(choice.tuned);
    assert_int_equal(choice.tuned->problem.m, m == 1 ? 1 : 8);
  }
  assert_int_equal(first_choice(&table, problem_of(2, 2, 9, 4096, 4096), &target).source,
                   APQ__SOURCE_MODEL);
  apq__winner_table_free(&table);
}

static void other_gpus_of_the_arch_serve_after_this_one(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__problem problem = problem_of(2, 2, 64, 512, 1024);
  apq__winner_table table = {0};
  apq__winner other = winner_of(&target, problem, BYTES, 1e-6);
  snprintf(other.environment.gpu, sizeof other.environment.gpu, "NVIDIA H100 PCIe");
  other.environment.sm_count = 114;
  add(&table, &other, 0, &target);
  apq__winner_table_seal(&table);
  apq__choice choice = first_choice(&table, problem, &target);
  assert_int_equal(choice.source, APQ__SOURCE_SAME_ARCH);
  assert_string_equal(choice.tuned->gpu, "NVIDIA H100 PCIe");

  add_tuned(&table, &target, problem_of(2, 2, 128, 512, 1024), LARGE);
  apq__winner_table_seal(&table);
  assert_int_equal(first_choice(&table, problem, &target).source, APQ__SOURCE_NEAREST);
  add_tuned(&table, &target, problem, LARGE);
  apq__winner_table_seal(&table);
  assert_int_equal(first_choice(&table, problem, &target).source, APQ__SOURCE_EXACT);
  apq__winner_table_free(&table);
}

static void winners_that_do_not_apply_are_counted_and_ignored(void **state) {
  (void)state;
  apq__target real = real_target(), emulated = target_of("sm_90a"), ampere = target_of("sm_80");
  apq__problem problem = problem_of(2, 2, 64, 512, 1024);
  apq__winner_table table = {0};
  apq__winner modelled = winner_of(&emulated, problem, LARGE, 1e-6);
  add(&table, &modelled, 0, &real); /* emulated, on a real GPU */
  apq__winner measured = winner_of(&real, problem, LARGE, 1e-6);
  add(&table, &measured, 0, &emulated); /* the reverse */
  measured.measurement.modelled = 1;
  add(&table, &measured, 0, &real); /* a real GPU's row that was never measured */
  assert_int_equal(table.foreign, 3);

  apq__winner stale = winner_of(&real, problem, LARGE, 1e-6);
  stale.variant.hash[0] = stale.variant.hash[0] == '0' ? '1' : '0';
  add(&table, &stale, 0, &real);
  apq__winner unknown = winner_of(&real, problem, LARGE, 1e-6);
  assert_int_equal(apq__config_set(&unknown.variant.config, "family", "nosuch", NULL), APQ_OK);
  add(&table, &unknown, 0, &real);
  apq__winner wrong_bits = winner_of(&real, problem, LARGE, 1e-6);
  wrong_bits.problem.p = 3;
  add(&table, &wrong_bits, 0, &real);
  assert_int_equal(table.stale, 3);

  apq__winner other_arch = winner_of(&ampere, problem, LARGE, 1e-6);
  add(&table, &other_arch, 0, &emulated);
  assert_int_equal(table.count, 0);

  add(&table, &modelled, 0, &emulated);
  apq__winner_table_seal(&table);
  assert_int_equal(table.count, 1);
  apq__choice choice = first_choice(&table, problem, &emulated);
  assert_int_equal(choice.source, APQ__SOURCE_EXACT);
  assert_int_equal(choice.tuned->modelled, 1);
  apq__winner_table_free(&table);
}

static void sealing_keeps_the_row_that_takes_precedence(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__problem problem = problem_of(2, 2, 64, 512, 1024);
  apq__winner fast = winner_of(&target, problem, BYTES, 1e-6);
  apq__winner slow = winner_of(&target, problem, LARGE, 2e-6);
  apq__winner sustained = winner_of(&target, problem, BYTES, 1e-7);
  snprintf(sustained.measurement.objective, sizeof sustained.measurement.objective, "sustained");
  for (int first = 0; first < 2; first++) {
    apq__winner_table table = {0};
    add(&table, &sustained, 1, &target);
    add(&table, first ? &slow : &fast, 1, &target);
    add(&table, first ? &fast : &slow, 1, &target);
    apq__winner_table_seal(&table);
    assert_int_equal(table.count, 1);
    assert_true(table.row[0].seconds == 1e-6);
    assert_string_equal(table.row[0].objective, "burst");
    add(&table, &slow, 0, &target); /* the user's file wins over the system's */
    apq__winner_table_seal(&table);
    assert_int_equal(table.count, 1);
    assert_true(table.row[0].seconds == 2e-6);
    apq__winner_table_free(&table);
  }
}

/* Before winners for packed activations that are as near; but a near shape says less than the same
 * one. */
static void winners_of_the_input_come_first(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__problem packed = problem_of(2, 8, 1, 4096, 4096), own = packed, near = packed;
  own.in = near.in = APQ__INPUT_F16;
  near.n = 8192;
  apq__problem packed_near = near;
  packed_near.in = APQ__INPUT_PACKED;
  apq__winner_table table = {0};
  add_tuned(&table, &target, packed, "family=decode,warps_k=4");
  add_tuned(&table, &target, near, "family=decode,operand=shared,src=f16");
  add_tuned(&table, &target, packed_near, "family=decode,warps_k=4,warps_n=2");
  apq__winner_table_seal(&table);
  assert_int_equal(table.count, 3);
  apq__choice choice[APQ__CHOICES_MAX];
  int count = 0;
  assert_int_equal(apq__dispatch(&table, &own, &target, choice, &count, NULL), APQ_OK);
  assert_true(count >= 3);
  assert_int_equal(choice[0].source, APQ__SOURCE_EXACT);
  assert_int_equal(choice[0].tuned->problem.in, APQ__INPUT_PACKED);
  assert_int_equal(choice[1].source, APQ__SOURCE_NEAREST);
  assert_string_equal(apq__config_get(&choice[1].config, "src"), "f16");
  assert_int_equal(choice[2].source, APQ__SOURCE_NEAREST);
  assert_string_equal(apq__config_get(&choice[2].config, "src"), "packed");
  /* Whoever has packed activations, or others, has no use for them. */
  assert_int_equal(first_choice(&table, packed, &target).source, APQ__SOURCE_EXACT);
  own.in = APQ__INPUT_BF16;
  const apq__choice other = first_choice(&table, own, &target);
  assert_int_equal(other.source, APQ__SOURCE_EXACT);
  assert_string_equal(apq__config_get(&other.config, "src"), "packed");
  /* What the model expects of it has the pack kernel's launch in it. */
  assert_true(other.modelled_seconds > first_choice(&table, packed, &target).modelled_seconds);
  /* A row that says it computes another problem than it does. */
  apq__winner wrong = winner_of(&target, packed, "family=decode,operand=shared,src=f16", 1e-6);
  add(&table, &wrong, 0, &target);
  assert_int_equal(table.stale, 1);
  apq__winner_table_free(&table);
}

static void bad_problems_are_refused(void **state) {
  (void)state;
  apq__target target = real_target();
  apq__winner_table table = {0};
  apq__choice choice[APQ__CHOICES_MAX];
  int count = 1;
  apq_error error = APQ_ERROR_INIT;
  apq__problem problem = problem_of(9, 1, 1, 1, 1);
  assert_int_equal(apq__dispatch(&table, &problem, &target, choice, &count, &error),
                   APQ_INVALID_ARGUMENT);
  assert_int_equal(count, 0);
  assert_non_null(strstr(error.message, "p=9"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_table_gives_the_model_for_every_problem),
      cmocka_unit_test(an_exact_winner_comes_first_and_the_model_stays_behind_it),
      cmocka_unit_test(other_bits_and_outputs_are_never_near),
      cmocka_unit_test(nearest_is_by_ratio_and_monotonic_in_m),
      cmocka_unit_test(a_nearest_config_that_cannot_run_here_is_passed_over),
      cmocka_unit_test(a_kernel_tuned_for_one_token_does_not_serve_thousands),
      cmocka_unit_test(weights_are_not_streamed_once_for_each_token),
      cmocka_unit_test(other_gpus_of_the_arch_serve_after_this_one),
      cmocka_unit_test(winners_that_do_not_apply_are_counted_and_ignored),
      cmocka_unit_test(sealing_keeps_the_row_that_takes_precedence),
      cmocka_unit_test(winners_of_the_input_come_first),
      cmocka_unit_test(bad_problems_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
