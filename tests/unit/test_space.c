/* Search spaces: the built-in ones, the script form and its errors, enumeration and its report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "generator.h"
#include "host.h"
#include "script_locate.h"
#include "space.h"

static char folder[64];

static int make_folder(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/apq_space_XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command);
}

/* Writes folder/name and returns its path, valid until the next call. */
static const char *write_script(const char *name, const char *text) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(apq__write_file(path, text, strlen(text), NULL), APQ_OK);
  return path;
}

static apq__space *load(const char *text) {
  apq__space *space = NULL;
  apq_error error = APQ_ERROR_INIT;
  if (apq__space_load(write_script("s.lua", text), &space, &error)) fail_msg("%s", error.message);
  return space;
}

static void expect_refusal(const char *text, apq_status status, const char *fragment) {
  apq__space *space = NULL;
  apq_error error = APQ_ERROR_INIT;
  apq_status got = apq__space_load(write_script("s.lua", text), &space, &error);
  if (got != status || !strstr(error.message, fragment))
    fail_msg("%s\n gave %s: %s\n wanted %s: %s", text, apq_status_name(got), error.message,
             apq_status_name(status), fragment);
  assert_null(space);
}

static const apq__problem product = {
    .p = 2, .q = 2, .m = 256, .n = 4096, .k = 4096, .out = APQ_DTYPE_F16};

static apq__target hopper(void) {
  apq__target target;
  assert_int_equal(apq__target_emulated("sm_90a", &target, NULL), APQ_OK);
  return target;
}

/* ---- the built-in spaces ---- */

static void candidates_are_complete_feasible_and_sorted(const apq__config *config, int count,
                                                        const apq__problem *problem,
                                                        const apq__target *target) {
  char previous[APQ__KEY_MAX] = "", key[APQ__KEY_MAX];
  for (int i = 0; i < count; i++) {
    apq__config complete = config[i];
    apq__shape shape;
    assert_int_equal(apq__config_complete(&complete, NULL), APQ_OK);
    assert_memory_equal(&complete, &config[i], sizeof complete);
    assert_int_equal(apq__config_limits(&config[i], problem, target, &shape, NULL), APQ_OK);
    assert_int_equal(apq__config_int(&config[i], "p", 0), problem->p);
    apq__config_key(&config[i], key);
    assert_true(strcmp(previous, key) < 0);
    memcpy(previous, key, sizeof key);
  }
}

/* What a family is not for. */
static int is_out_of_scope(const char *space, const apq__target *target,
                           const apq__problem *problem) {
  if (strcmp(space, "bmma") == 0) return target->b1_xor_macs == 0;
  if (strcmp(space, "bgmma") == 0 || strcmp(space, "igmma") == 0 || strcmp(space, "imma_bulk") == 0)
    return strcmp(target->arch, "sm_90a") != 0;
  return strcmp(space, "decode") == 0 && problem->m > 32;
}

static void built_in_spaces_cover_every_device_and_bits(void **state) {
  (void)state;
  for (int s = 0; apq__space_builtin(s); s++) {
    apq__space *space = NULL;
    apq_error error = APQ_ERROR_INIT;
    if (apq__space_load(apq__space_builtin(s), &space, &error)) fail_msg("%s", error.message);
    assert_string_equal(apq__space_name(space), apq__space_builtin(s));
    assert_non_null(apq__space_builtin_text(apq__space_builtin(s)));
    for (int a = 0; apq__target_arch(a); a++) {
      apq__target target;
      assert_int_equal(apq__target_emulated(apq__target_arch(a), &target, NULL), APQ_OK);
      const apq__problem problems[] = {
          {.p = 1, .q = 1, .m = 1, .n = 17, .k = 129, .out = APQ_DTYPE_I32},
          {.p = 8, .q = 8, .m = 4096, .n = 4096, .k = 4096, .out = APQ_DTYPE_BF16},
          {.p = 3, .q = 5, .m = 48, .n = 11008, .k = 4096, .out = APQ_DTYPE_F16}};
      /* Each arch gets one of the problems: a large space takes 0.2 s to enumerate. */
      for (int i = a % 3; i < 3; i += 3) {
        apq__config *config = NULL;
        int count = 0;
        apq__space_report report;
        if (is_out_of_scope(apq__space_name(space), &target, &problems[i])) continue;
        if (apq__space_candidates(space, &problems[i], &target, &config, &count, &report, &error))
          fail_msg("%s", error.message);
        assert_true(count > 0 && count == report.kept);
        long removed = 0;
        for (int row = 0; row < report.row_count; row++) removed += report.row[row].removed;
        assert_int_equal(removed + report.kept, report.total);
        if (i == 0)
          candidates_are_complete_feasible_and_sorted(config, count, &problems[i], &target);
        apq__free(config);
      }
    }
    apq__space_close(space);
  }
}

/* The space that is searched when none is named, for every pair and for few and many tokens. */
static void the_default_space_is_small_enough_to_search(void **state) {
  (void)state;
  static const int tokens[] = {1, 48, 300, 4096};
  apq__space *space = NULL;
  apq__target target;
  apq_error error = APQ_ERROR_INIT;
  if (apq__space_load("default", &space, &error)) fail_msg("%s", error.message);
  assert_int_equal(apq__target_emulated("sm_90a", &target, NULL), APQ_OK);
  for (int i = 0; i < 64; i++) {
    const apq__problem problem = {.p = 1 + i / 8,
                                  .q = 1 + i % 8,
                                  .m = tokens[(i + i / 8) % 4],
                                  .n = 11008,
                                  .k = 4096,
                                  .out = APQ_DTYPE_F16};
    apq__config *config = NULL;
    int count = 0;
    apq__space_report report;
    if (apq__space_candidates(space, &problem, &target, &config, &count, &report, &error))
      fail_msg("W%dA%d, %d tokens: %s", problem.p, problem.q, problem.m, error.message);
    assert_true(count > 0);
    apq__free(config);
  }
  apq__space_close(space);
}

static void quick_is_small_and_has_problems(void **state) {
  (void)state;
  apq__space *space = NULL;
  apq__target target = hopper();
  assert_int_equal(apq__space_load("quick", &space, NULL), APQ_OK);
  apq__problem *problems = NULL;
  int count = 0;
  assert_int_equal(apq__space_problems(space, &problems, &count, NULL), APQ_OK);
  assert_in_range(count, 4, 12);
  for (int i = 0; i < count; i++) {
    apq__config *config = NULL;
    int candidates = 0;
    assert_int_equal(
        apq__space_candidates(space, &problems[i], &target, &config, &candidates, NULL, NULL),
        APQ_OK);
    assert_in_range(candidates, 4, 60);
    apq__free(config);
  }
  apq__free(problems);
  apq__space_close(space);
}

/* ---- the report ---- */

static void the_report_adds_up(void **state) {
  (void)state;
  apq__space *space =
      load("return space {\n"
           " name = 'mine', family = 'bmma', objective = 'sustained',\n"
           " knobs = { tile_m = {32, 64}, tile_n = {8, 64, 128}, stages = {1, 2, 3, 4} },\n"
           " constraints = {\n"
           "  {'not 64', function(c) return c.tile_m ~= 64 end},\n"
           "  {'none', function(c, p, d) return p.m == 256 and d.arch == 'sm_90a' end},\n"
           "  {'deep', function(c) return c.stages > 1 end},\n"
           " } }");
  assert_string_equal(apq__space_name(space), "mine");
  assert_string_equal(apq__space_objective(space), "sustained");
  apq__target target = hopper();
  apq__config *config = NULL;
  int count = 0;
  apq__space_report report;
  apq_error error = APQ_ERROR_INIT;
  if (apq__space_candidates(space, &product, &target, &config, &count, &report, &error))
    fail_msg("%s", error.message);
  assert_int_equal(report.total, 24);
  assert_string_equal(report.row[0].name, "not 64");
  assert_int_equal(report.row[0].removed, 12);
  assert_string_equal(report.row[1].name, "none");
  assert_int_equal(report.row[1].removed, 0);
  assert_string_equal(report.row[2].name, "deep");
  assert_int_equal(report.row[2].removed, 3);
  /* tile_n = 8 leaves less than a fragment for two warps. */
  assert_int_equal(report.row_count, 4);
  assert_string_equal(report.row[3].name, "the warps do not divide the tile into whole fragments");
  assert_int_equal(report.row[3].removed, 3);
  assert_int_equal(report.kept, 6);
  assert_int_equal(count, 6);
  candidates_are_complete_feasible_and_sorted(config, count, &product, &target);
  apq__free(config);
  apq__space_close(space);
}

static void a_space_without_knobs_is_its_default(void **state) {
  (void)state;
  apq__space *space = load("return space { family = 'imma' }");
  assert_string_equal(apq__space_name(space), "s");
  apq__target target = hopper();
  apq__config *config = NULL;
  int count = 0;
  assert_int_equal(apq__space_candidates(space, &product, &target, &config, &count, NULL, NULL),
                   APQ_OK);
  assert_int_equal(count, 1);
  apq__free(config);
  apq__space_close(space);
}

static void what_removes_everything_is_named(void **state) {
  (void)state;
  apq__space *space = load("return space { family = 'bmma', knobs = { stages = {2, 3} },\n"
                           " constraints = { {'fine', function() return true end},\n"
                           "  {'never', function() return false end} } }");
  apq__target target = hopper();
  apq__config *config = NULL;
  int count = 7;
  apq__space_report report;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(
      apq__space_candidates(space, &product, &target, &config, &count, &report, &error),
      APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, "s.lua:3: "));
  assert_non_null(strstr(error.message, "constraint 'never' removed 2 of 2"));
  assert_null(config);
  assert_int_equal(count, 0);
  assert_int_equal(report.row[1].removed, 2);
  apq__space_close(space);

  space = load("return space { family = 'bmma', knobs = { tile_m = {8} } }");
  assert_int_equal(apq__space_candidates(space, &product, &target, &config, &count, NULL, &error),
                   APQ_NOT_FOUND);
  assert_non_null(
      strstr(error.message, "the limit 'the tile is not a multiple of the mma's 16x8'"));
  apq__space_close(space);
}

/* ---- unions ---- */

static void unions_join_and_drop_repeats(void **state) {
  (void)state;
  write_script("part.lua", "return space { name = 'part', family = 'imma',\n"
                           "knobs = { stages = {2, 3} },\n"
                           "constraints = { {'three', function(c) return c.stages == 3 end} } }");
  apq__space *space = load("return space { spaces = { 'part.lua', 'part.lua',\n"
                           " { family = 'bmma', knobs = { stages = {2, 4} } } } }");
  apq__target target = hopper();
  apq__config *config = NULL;
  int count = 0;
  apq__space_report report;
  assert_int_equal(apq__space_candidates(space, &product, &target, &config, &count, &report, NULL),
                   APQ_OK);
  assert_int_equal(report.total, 6);
  assert_int_equal(count, 3);
  assert_true(apq__config_is(&config[0], "family", "bmma"));
  assert_true(apq__config_is(&config[2], "family", "imma"));
  assert_string_equal(report.row[0].name, "part: three");
  assert_int_equal(report.row[0].removed, 1);
  assert_string_equal(report.row[2].name, "listed twice");
  assert_int_equal(report.row[2].removed, 1);
  apq__free(config);
  apq__space_close(space);

  write_script("a.lua", "return space { spaces = { 'b.lua' } }");
  write_script("b.lua", "return space { spaces = { 'a.lua' } }");
  expect_refusal("return space { spaces = { 'a.lua' } }", APQ_INVALID_ARGUMENT,
                 "spaces contain each other");
  expect_refusal("return space {\nspaces = { 'bmma',\n'nosuch' } }", APQ_NOT_FOUND,
                 "s.lua:3: no built-in space 'nosuch'");
  expect_refusal(
      "return space {\nspaces = { 'bmma',\n{ family = 'bmma',\nknobs = { x = {1} } } } }",
      APQ_INVALID_ARGUMENT, "s.lua:4: family 'bmma' has no knob 'x'");
  expect_refusal("return space { spaces = { 'gone.lua' } }", APQ_NOT_FOUND, "gone.lua");
}

/* ---- errors name the line and the thing ---- */

static void mistakes_are_named_with_their_line(void **state) {
  (void)state;
  const struct {
    const char *text, *message;
  } cases[] = {
      {"\nreturn space {\n family = 'bmma',\n knob = {} }", "s.lua:4: a space has no 'knob'"},
      {"return space {\n family = 'nosuch' }",
       "s.lua:2: no kernel family 'nosuch'; there are bgmma"},
      {"return space {\n family = 'pack' }", "s.lua:2: no kernel family 'pack'"},
      {"return space { name = 'x' }", "s.lua:1: a space has either 'family' or 'spaces'"},
      {"return space { family = 'bmma', spaces = {} }", "either 'family' or 'spaces'"},
      {"return space { spaces = {} }", "s.lua:1: 'spaces' must name 1 to"},
      {"return space { spaces = {'bmma'},\nknobs = {} }", "s.lua:2: 'knobs' belongs to a space"},
      {"return space { family = 'bmma',\n-- tile_x = 1,\nknobs = {\n tile_x = {1} } }",
       "s.lua:4: family 'bmma' has no knob 'tile_x'; it has tile_m"},
      {"return space { family = 'bmma', knobs = {\n tile_m = {16,\n 48} } }",
       "s.lua:3: knob 'tile_m' of family 'bmma' has no value 48; it has 8, 16"},
      {"return space { family = 'bmma', knobs = {\n layout = {'xor', 'zigzag'} } }",
       "s.lua:2: knob 'layout' of family 'bmma' has no value zigzag"},
      {"return space { family = 'bmma', knobs = {\n\n [\"stages\"] = {2, 2} } }",
       "s.lua:3: value 2 of knob 'stages' is listed twice"},
      {"return space { family = 'bmma', knobs = {\n stages = {} } }",
       "s.lua:2: knob 'stages' has no values"},
      {"return space { family = 'bmma', knobs = {\n stages = 2 } }",
       "s.lua:2: knob 'stages' is a integer"},
      {"return space { family = 'bmma', knobs = {\n stages = {2.5} } }",
       "s.lua:2: a value of knob 'stages' is a number"},
      {"return space { family = 'bmma', knobs = {\n p = {2} } }",
       "s.lua:2: knob 'p' of family 'bmma' comes from the problem"},
      {"return space { family = 'bmma', constraints = {\n {'x', 1} } }",
       "s.lua:2: a constraint is {"},
      {"return space { family = 'bmma',\n objective = 'fast' }", "s.lua:2: objective 'fast'"},
      {"return space { family = 'bmma',\n name = '' }", "s.lua:2: 'name' must have"},
      {"return space { family = 'bmma', problems = {\n {m=1,n=1,k=1,p=2,q=2},\n "
       "{m=1,n=1,k=1,p=9,q=2} } }",
       "s.lua:3: weight bits p=9"},
      {"return space { family = 'bmma', problems = {\n {m=1,n=1,p=2,q=2} } }",
       "s.lua:2: a problem lacks 'k'"},
      {"return space { family = 'bmma', problems = {\n {m=1,n=1,k=-4,p=2,q=2} } }",
       "s.lua:2: 'k' of a problem must be"},
      {"return space { family = 'bmma', problems = {\n {m=1,n=1,k=1,p=2,q=2,out='f64'} } }",
       "s.lua:2: 'out' of a problem"},
      {"return space { family = 'bmma', problems = {\n {m=1,n=1,k=1,p=2,q=2,\n z=1} } }",
       "s.lua:3: a problem has m, n, k"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    expect_refusal(cases[i].text, APQ_INVALID_ARGUMENT, cases[i].message);
  expect_refusal("return space {\n family = 'bmma',\n knobs = { = 1 } }", APQ_PARSE, "s.lua:3: ");
  expect_refusal("\nwhile true do end", APQ_TIMEOUT, "s.lua:2: ");
}

static void missing_scripts_are_named(void **state) {
  (void)state;
  apq__space *space = NULL;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__space_load("nosuch", &space, &error), APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, "'nosuch'; there are default, quick, bmma, imma"));
  assert_int_equal(apq__space_load("models", &space, &error), APQ_NOT_FOUND);
  assert_int_equal(apq__space_load("/nonexistent/x.lua", &space, &error), APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, "/nonexistent/x.lua"));
  assert_int_not_equal(apq__space_load("/tmp/", &space, &error), APQ_OK);
  assert_null(space);
  apq_error_clear(&error);
}

static void failing_constraints_are_errors(void **state) {
  (void)state;
  const struct {
    const char *body;
    apq_status status;
    const char *message;
  } cases[] = {
      {"return config.tile", APQ_INVALID_ARGUMENT, "s.lua:3: 'config' has no field 'tile'"},
      {"return 1", APQ_INVALID_ARGUMENT, "s.lua:2: the function returned number"},
      {"error('x')", APQ_INVALID_ARGUMENT, "s.lua:3: x"},
      {"while true do end", APQ_TIMEOUT, "s.lua:3: the script runs too long"},
      {"while true do pcall(error) end", APQ_TIMEOUT, "s.lua:3: the script runs too long"},
      {"local t = {} while true do t[#t + 1] = {} end", APQ_OUT_OF_MEMORY, "s.lua:3: "},
  };
  apq__target target = hopper();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[300];
    snprintf(
        text, sizeof text,
        "return space { family = 'bmma', constraints = {\n{'mine', function(config)\n%s\nend}}}",
        cases[i].body);
    apq__space *space = load(text);
    apq__config *config = NULL;
    int count = 0;
    apq_error error = APQ_ERROR_INIT;
    apq_status status =
        apq__space_candidates(space, &product, &target, &config, &count, NULL, &error);
    if (status != cases[i].status || !strstr(error.message, cases[i].message) ||
        !strstr(error.message, "constraint 'mine'"))
      fail_msg("%s gave %s: %s", cases[i].body, apq_status_name(status), error.message);
    assert_null(config);
    apq__space_close(space);
  }
}

/* ---- size, hash, problems, models ---- */

static void large_products_are_quick_or_refused(void **state) {
  (void)state;
  const char *knobs = "tile_m = {16, 32, 64, 128, 256}, tile_n = {16, 32, 64, 128, 256}, "
                      "tile_k = {512, 1024, 2048}, stages = {1, 2, 3, 4, 5, 6}, "
                      "warps_m = {1, 2, 4, 8}, warps_n = {1, 2, 4, 8}, layout = {'linear', "
                      "'padded', 'xor'}, schedule = {'side', 'horner'}, swap = {0, 1}, ";
  char text[700];
  snprintf(text, sizeof text,
           "return space { family = 'bmma', knobs = { %s split_k = {1, 2} }, constraints = {\n"
           "{'w', function(c) return c.warps_m * c.warps_n == 4 end},\n"
           "{'t', function(c) return c.tile_m * c.tile_n <= 8192 and c.tile_m >= c.tile_n end},\n"
           "{'s', function(c) return c.stages == 3 end} } }",
           knobs);
  apq__space *space = load(text);
  apq__target target = hopper();
  apq__config *config = NULL;
  int count = 0;
  apq__space_report report;
  double began = apq__now();
  assert_int_equal(apq__space_candidates(space, &product, &target, &config, &count, &report, NULL),
                   APQ_OK);
  print_message("%ld combinations in %.2f s, %d kept\n", report.total, apq__now() - began, count);
  assert_int_equal(report.total, 172800);
  assert_true(count > 0);
  apq__free(config);
  apq__space_close(space);

  /* Twenty times as many, and no constraint decides before the fastest knob is known. */
  snprintf(text, sizeof text,
           "local function last(c) return c.warps_n end\n"
           "return space { family = 'bmma', knobs = { %s split_k = {1, 2, 4, 8, 16}, op = {'and', "
           "'xor'}, min_blocks = {1, 2, 3, 4} }, constraints = {\n"
           "{'all', function(c) return last(c) > 9 end} } }",
           knobs);
  space = load(text);
  apq_error error = APQ_ERROR_INIT;
  config = NULL;
  apq_status status =
      apq__space_candidates(space, &product, &target, &config, &count, NULL, &error);
  assert_int_equal(status, APQ_OUT_OF_RANGE);
  assert_non_null(strstr(error.message, "s.lua:2: more than 2000000 combinations"));
  assert_null(config);
  apq__space_close(space);
}

/* Skipping what a constraint decides by a few knobs changes neither candidates nor counts: reading
 * all knobs forbids it. */
static void skipping_changes_nothing(void **state) {
  (void)state;
  const char *form =
      "local function touch(c) %s end\n"
      "local function tiles(c, p) return ((p.m + c.tile_m - 1) // c.tile_m) * (p.n // c.tile_n) "
      "end\n"
      "return space { family = 'bmma', knobs = { tile_m = {16, 64, 128}, tile_n = {8, 64, 128}, "
      "stages = {1, 2, 3, 4}, warps_m = {1, 2, 4}, warps_n = {1, 2, 4}, layout = {'linear', "
      "'xor'}, "
      "store = {'direct', 'staged'}, split_k = {1, 4}, swap = {0, 1} }, constraints = {\n"
      "{'a', function(c, p) touch(c) return tiles(c, p) > 100 or c.split_k == 1 end},\n"
      "{'b', function(c) touch(c) return c.warps_m * c.warps_n >= 2 and c.warps_m < 4 end},\n"
      "{'c', function(c) touch(c) return c.swap == 0 or (c.stages > 2 and c.layout == 'xor') "
      "end},\n"
      "{'d', function(c, p) touch(c) return p.m > 1 end},\n"
      "{'e', function(c) touch(c) return c.store == (c.split_k > 1 and 'staged' or 'direct') end} "
      "} }";
  apq__target target = hopper();
  apq__space_report report[2];
  apq__config *config[2];
  int count[2];
  for (int i = 0; i < 2; i++) {
    char text[1600];
    snprintf(text, sizeof text, form, i ? "for k in pairs(c) do end" : "");
    apq__space *space = load(text);
    assert_int_equal(
        apq__space_candidates(space, &product, &target, &config[i], &count[i], &report[i], NULL),
        APQ_OK);
    apq__space_close(space);
  }
  assert_int_equal(report[0].total, 3 * 3 * 4 * 3 * 3 * 2 * 2 * 2 * 2);
  assert_int_equal(report[0].kept, report[1].kept);
  assert_int_equal(report[0].row_count, report[1].row_count);
  for (int i = 0; i < 5; i++) assert_int_equal(report[0].row[i].removed, report[1].row[i].removed);
  assert_true(report[0].row[0].removed > 0 && report[0].row[2].removed > 0);
  assert_int_equal(count[0], count[1]);
  assert_memory_equal(config[0], config[1], (size_t)count[0] * sizeof **config);
  apq__free(config[0]);
  apq__free(config[1]);
}

static void hashes_follow_text_and_templates(void **state) {
  (void)state;
  apq__space *a = load("return space { family = 'bmma' }");
  apq__space *same = load("return space { family = 'bmma' }");
  apq__space *other = load("return space { family = 'bmma' } -- x");
  assert_int_equal(strlen(apq__space_hash(a, 0)), 64);
  assert_string_equal(apq__space_hash(a, 0), apq__space_hash(same, 0));
  assert_string_not_equal(apq__space_hash(a, 0), apq__space_hash(other, 0));
  assert_string_not_equal(apq__space_hash(a, 0), apq__space_hash(a, 1));
  apq__space_close(a);
  apq__space_close(same);
  apq__space_close(other);
}

static void problems_are_listed(void **state) {
  (void)state;
  apq__space *space = load("local l = {}\n"
                           "for _, s in ipairs(model_layers('llama-2-7b')) do\n"
                           " l[#l+1] = {m=1, n=s.n, k=s.k, p=4, q=8, out='bf16'} end\n"
                           "return space { family = 'imma', problems = l }");
  apq__problem *problems = NULL;
  int count = 0;
  assert_int_equal(apq__space_problems(space, &problems, &count, NULL), APQ_OK);
  assert_int_equal(count, 7);
  char key[APQ__KEY_MAX];
  assert_string_equal(apq__problem_key(&problems[0], key), "k=4096,m=1,n=12288,out=bf16,p=4,q=8");
  apq__free(problems);
  apq__space_close(space);
  space = load("return space { family = 'imma' }");
  assert_int_equal(apq__space_problems(space, &problems, &count, NULL), APQ_OK);
  assert_null(problems);
  assert_int_equal(count, 0);
  apq__space_close(space);
}

static void model_shapes_are_known(void **state) {
  (void)state;
  apq__layer_shape *layers = NULL;
  int count = 0;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__model_shapes("llama-3-8b", &layers, &count, &error), APQ_OK);
  assert_int_equal(count, 7);
  assert_string_equal(layers[0].name, "qkv");
  assert_int_equal(layers[0].n, 6144);
  assert_string_equal(layers[6].name, "down");
  assert_int_equal(layers[6].k, 14336);
  apq__free(layers);
  assert_int_equal(apq__model_shapes("gpt-9", &layers, &count, &error), APQ_NOT_FOUND);
  assert_non_null(strstr(error.message, "no model 'gpt-9'; there are llama-2-13b, llama-2-70b"));
}

/* Cut short anywhere, or with bytes changed: an error with a place, or a space; never a crash or a
 * hang. */
static void damaged_scripts_are_survived(void **state) {
  (void)state;
  const char *whole = apq__space_builtin_text("quick");
  size_t length = strlen(whole);
  uint64_t random = 1;
  char *text = apq__strdup(whole);
  for (int round = 0; round < 700; round++) {
    memcpy(text, whole, length + 1);
    if (round < 200) text[(size_t)round * length / 200] = 0;
    for (int i = 0; round >= 200 && i < 3; i++) {
      size_t at = apq__random(&random) % length;
      text[at] = whole[apq__random(&random) % length];
    }
    apq__space *space = NULL;
    apq_error error = APQ_ERROR_INIT;
    if (apq__space_load(write_script("damaged.lua", text), &space, &error))
      assert_non_null(strstr(error.message, "damaged.lua:"));
    apq__space_close(space);
    apq_error_clear(&error);
  }
  apq__free(text);
}

static void entries_are_located_in_odd_texts(void **state) {
  (void)state;
  const char *text =
      "return space --[==[ { ] ]==] { -- knobs = {\n"
      "  name = [[\n}{]], family = \"a\\\"}\",\n"
      "  f = function(a) if a then return {1, 2}, {} end for i = 1, 2 do local b, c = 1 end end,\n"
      "  knobs = { ['x y'] = 1; z\n= { 5,\n6 },\n w = t }\n}";
  const apq__script_step z6[] = {{"knobs", 0}, {"z", 0}, {NULL, 2}};
  const apq__script_step xy[] = {{"knobs", 0}, {"x y", 0}};
  const apq__script_step w1[] = {{"knobs", 0}, {"w", 0}, {NULL, 1}};
  const apq__script_step gone[] = {{"gone", 0}};
  assert_int_equal(apq__script_locate(text, 1, z6, 3), 7);
  assert_int_equal(apq__script_locate(text, 1, z6, 2), 5);
  assert_int_equal(apq__script_locate(text, 1, xy, 2), 5);
  assert_int_equal(apq__script_locate(text, 1, w1, 3), 8);
  assert_int_equal(apq__script_locate(text, 1, gone, 1), 1);
  assert_int_equal(apq__script_locate("", 1, gone, 1), 1);
  assert_int_equal(apq__script_locate("x = '", 3, gone, 1), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(built_in_spaces_cover_every_device_and_bits),
      cmocka_unit_test(the_default_space_is_small_enough_to_search),
      cmocka_unit_test(quick_is_small_and_has_problems),
      cmocka_unit_test(the_report_adds_up),
      cmocka_unit_test(a_space_without_knobs_is_its_default),
      cmocka_unit_test(what_removes_everything_is_named),
      cmocka_unit_test(unions_join_and_drop_repeats),
      cmocka_unit_test(mistakes_are_named_with_their_line),
      cmocka_unit_test(missing_scripts_are_named),
      cmocka_unit_test(failing_constraints_are_errors),
      cmocka_unit_test(large_products_are_quick_or_refused),
      cmocka_unit_test(skipping_changes_nothing),
      cmocka_unit_test(hashes_follow_text_and_templates),
      cmocka_unit_test(problems_are_listed),
      cmocka_unit_test(model_shapes_are_known),
      cmocka_unit_test(damaged_scripts_are_survived),
      cmocka_unit_test(entries_are_located_in_odd_texts),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
