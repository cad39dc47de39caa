/* The sandbox: what scripts can reach, what they may cost, and that every error names its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "failing_allocator.h"
#include "lua_host.h"

static const apq__script_limits tight = {200000, 1.0, 1 << 20};

static apq_status run(const char *text, apq__script **out, apq_error *error) {
  return apq__script_run("dir/s.lua", text, strlen(text), "space", &tight, out, error);
}

/* Runs a script that must fail so, with this in its message. */
static void expect_failure(const char *text, apq_status status, const char *fragment) {
  apq__script *script = NULL;
  apq_error error = APQ_ERROR_INIT;
  apq_status got = run(text, &script, &error);
  if (got != status || !strstr(error.message, fragment))
    fail_msg("%s\n gave %s: %s\n wanted %s: %s", text, apq_status_name(got), error.message,
             apq_status_name(status), fragment);
  assert_null(script);
  assert_int_equal(error.status, status);
}

static void values_arrive_in_c(void **state) {
  (void)state;
  apq__script *script = NULL;
  assert_int_equal(run("local t = {1, 2^4, 'xor'}\n"
                       "return space { b = true, a = t, c = 0.5, f = function() end }",
                       &script, NULL),
                   APQ_OK);
  const apq__script_value *root = apq__script_root(script);
  assert_int_equal(apq__script_line(script), 2);
  assert_int_equal(root->kind, APQ__SCRIPT_TABLE);
  assert_int_equal(root->count, 4);
  assert_int_equal(root->list_count, 0);
  assert_string_equal(root->entry[0].key, "a");
  const apq__script_value *list = apq__script_get(root, "a");
  assert_int_equal(list->list_count, 3);
  assert_int_equal(list->entry[0].value.integer, 1);
  assert_int_equal(list->entry[1].value.kind, APQ__SCRIPT_INTEGER);
  assert_int_equal(list->entry[1].value.integer, 16);
  assert_string_equal(list->entry[2].value.string, "xor");
  assert_int_equal(apq__script_get(root, "b")->integer, 1);
  assert_int_equal(apq__script_get(root, "c")->kind, APQ__SCRIPT_NUMBER);
  assert_int_equal(apq__script_get(root, "f")->line, 2);
  assert_null(apq__script_get(root, "z"));
  apq__script_close(script);
}

static void form_is_enforced(void **state) {
  (void)state;
  expect_failure("local x = 1", APQ_INVALID_ARGUMENT, "dir/s.lua:1: the script does not declare");
  expect_failure("\nspace {}", APQ_INVALID_ARGUMENT, "dir/s.lua:2: the script must end in");
  expect_failure("\nlocal a = space {}\nreturn space {}", APQ_INVALID_ARGUMENT, "dir/s.lua:3: ");
  expect_failure("return space(1)", APQ_INVALID_ARGUMENT, "dir/s.lua:1: ");
  expect_failure("return pcall(space, {})", APQ_INVALID_ARGUMENT, "dir/s.lua:1: ");
  expect_failure("\nreturn space { [1.5] = 1 }", APQ_INVALID_ARGUMENT,
                 "dir/s.lua:2: a table has a key");
  expect_failure("return space { a = {1, nil, 3} }", APQ_INVALID_ARGUMENT, "gaps");
  expect_failure("return space { a = 'x\\0y' }", APQ_INVALID_ARGUMENT, "zero byte");
  expect_failure("local t = {} t.t = t\nreturn space(t)", APQ_INVALID_ARGUMENT, "nested too deep");
  expect_failure("local t = {1,1,1,1,1,1,1,1,1,1}\nfor i = 1, 6 do t = {t,t,t,t,t,t,t,t,t,t} end\n"
                 "return space(t)",
                 APQ_OUT_OF_MEMORY, "too much memory");
}

static void errors_carry_file_and_line(void **state) {
  (void)state;
  expect_failure("\n\nreturn space {", APQ_PARSE, "dir/s.lua:3:");
  expect_failure("\nlocal x = nil + 1", APQ_INVALID_ARGUMENT, "dir/s.lua:2: attempt to perform");
  expect_failure("\nerror('boom')", APQ_INVALID_ARGUMENT, "dir/s.lua:2: boom");
  expect_failure("\nerror('boom', 0)", APQ_INVALID_ARGUMENT, "dir/s.lua:2: boom");
  expect_failure("\n\nerror({})", APQ_INVALID_ARGUMENT, "dir/s.lua:3: the error is a table");
  expect_failure("\nerror()", APQ_INVALID_ARGUMENT, "dir/s.lua:2: the error is a nil");
  expect_failure("local function f()\nf()\nreturn 1 end\nf()", APQ_OUT_OF_MEMORY,
                 "dir/s.lua:2: "); /* the stack is memory */
  expect_failure("\x1bLua\x54", APQ_PARSE, "dir/s.lua");
  /* A script can catch its own errors, and go on. */
  apq__script *script = NULL;
  assert_int_equal(run("local ok, why = pcall(error, 'x')\nassert(not ok and why == 'x')\n"
                       "return space {}",
                       &script, NULL),
                   APQ_OK);
  apq__script_close(script);
}

static void endless_scripts_stop(void **state) {
  (void)state;
  expect_failure("\nwhile true do end", APQ_TIMEOUT, "dir/s.lua:2: the script runs too long");
  expect_failure("\npcall(function()\nwhile true do end end)\nreturn space {}", APQ_TIMEOUT,
                 "dir/s.lua:3: ");
  expect_failure("\nwhile true do pcall(function() while true do end end) end", APQ_TIMEOUT,
                 "dir/s.lua:2: ");
  expect_failure("\nlocal function f() return f() end\nf()", APQ_TIMEOUT, "dir/s.lua:2: ");
  expect_failure("::a:: goto a", APQ_TIMEOUT, "dir/s.lua:1: ");
  expect_failure("return pcall(function() while true do end end)", APQ_TIMEOUT, "dir/s.lua:1: ");
  expect_failure("table.sort({3,2,1}, function() while true do end end)", APQ_TIMEOUT,
                 "dir/s.lua:1: ");
  /* Few instructions, long library calls: the clock stops it. */
  const apq__script_limits slow = {1000000000, 0.1, 8 << 20};
  const char *text = "local s = ('x'):rep(2000000)\nwhile true do local t = s .. 'y' end";
  apq__script *script = NULL;
  apq_error error = APQ_ERROR_INIT;
  assert_int_equal(apq__script_run("s.lua", text, strlen(text), "space", &slow, &script, &error),
                   APQ_TIMEOUT);
  assert_non_null(strstr(error.message, "s.lua:2: "));
}

static void memory_is_bounded(void **state) {
  (void)state;
  const char *out = "the script uses too much memory";
  expect_failure("local s = 'x'\nwhile true do\ns = s .. s end", APQ_OUT_OF_MEMORY, out);
  expect_failure("local s = 'x'\nwhile true do\ns = s .. s end", APQ_OUT_OF_MEMORY,
                 "dir/s.lua:3: ");
  expect_failure("\nlocal t = {}\nfor i = 1, 1e9 do t[i] = {} end", APQ_OUT_OF_MEMORY,
                 "dir/s.lua:3: ");
  expect_failure("\nlocal s = string.rep('x', 1 << 40)", APQ_OUT_OF_MEMORY, "dir/s.lua:2: ");
  expect_failure("local s = ('x'):rep(1 << 62, 'y')", APQ_OUT_OF_MEMORY, out);
  expect_failure("pcall(string.rep, 'x', 1 << 40) return space {}", APQ_OUT_OF_MEMORY, out);
  expect_failure("while true do pcall(string.rep, 'x', 600000) pcall(function() local s = 'x' "
                 "while true do s = s .. s end end) end",
                 APQ_OUT_OF_MEMORY, out);
  expect_failure("local t = {} for i = 1, 100000 do t[i] = i .. '' end\ntable.concat(t)",
                 APQ_OUT_OF_MEMORY, out);
  apq__script *script = NULL;
  assert_int_equal(run("assert((''):rep(1 << 62) == '')\nassert(('ab'):rep(3, '-') == 'ab-ab-ab')\n"
                       "assert(('x'):rep(-1) == '')\nreturn space {}",
                       &script, NULL),
                   APQ_OK);
  apq__script_close(script);
}

/* Each expression must be nil, or fail, inside the sandbox. */
static void nothing_leads_out(void **state) {
  (void)state;
  const char *absent[] = {"io",
                          "os",
                          "package",
                          "debug",
                          "require",
                          "load",
                          "loadstring",
                          "loadfile",
                          "dofile",
                          "print",
                          "coroutine",
                          "collectgarbage",
                          "getmetatable",
                          "setmetatable",
                          "rawget",
                          "rawset",
                          "rawequal",
                          "rawlen",
                          "xpcall",
                          "utf8",
                          "_G",
                          "warn",
                          "string.dump",
                          "string.find",
                          "string.match",
                          "string.gmatch",
                          "string.gsub",
                          "string.pack",
                          "string.unpack",
                          "math.random",
                          "math.randomseed",
                          "table.move",
                          "('').dump",
                          "('').gsub",
                          "('').find"};
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
    char text[160];
    snprintf(text, sizeof text, "assert(%s == nil, 'it is there')\nreturn space {}", absent[i]);
    apq__script *script = NULL;
    apq_error error = APQ_ERROR_INIT;
    if (run(text, &script, &error)) fail_msg("%s: %s", absent[i], error.message);
    apq__script_close(script);
  }
  expect_failure("\ngetmetatable('').__index.dump(print)", APQ_INVALID_ARGUMENT,
                 "dir/s.lua:2: attempt to call a nil value (global 'getmetatable')");
  expect_failure("\ncoroutine.wrap(function() while true do end end)()", APQ_INVALID_ARGUMENT,
                 "dir/s.lua:2: ");
  expect_failure("setmetatable({}, {__gc = function() while true do end end})",
                 APQ_INVALID_ARGUMENT, "dir/s.lua:1: ");
  expect_failure("_G.print = 1", APQ_INVALID_ARGUMENT, "dir/s.lua:1: ");
  expect_failure("local x <close> = {}", APQ_INVALID_ARGUMENT, "dir/s.lua:1: ");
  /* _ENV is the script's own; losing it harms the script alone. */
  expect_failure("_ENV = nil\nlocal x = math", APQ_INVALID_ARGUMENT, "dir/s.lua:2: ");
  apq__script *script = NULL;
  assert_int_equal(run("string = nil pcall = nil math.max = nil\nassert(('x'):upper() == 'X')\n"
                       "return space {}",
                       &script, NULL),
                   APQ_OK);
  apq__script_close(script);
  assert_int_equal(run("assert(math.max(1, 2) == 2)\nassert(string ~= nil and pcall ~= nil)\n"
                       "return space {}",
                       &script, NULL),
                   APQ_OK);
  apq__script_close(script);
}

/* Calls the one function `f` of a script on views, after `change`. */
static int deepest; /* of the last call */

static apq_status filter(const char *body, int tile, int *rejected, apq_error *error) {
  apq__script *script = NULL;
  char text[400];
  snprintf(text, sizeof text, "return space { f = function(config, problem, device)\n%s end }",
           body);
  apq_status status = run(text, &script, error);
  assert_int_equal(status, APQ_OK);
  const apq__script_field config[] = {
      {"tile_m", NULL, 1, 0, 3}, {"layout", "xor", 0, 0, 5}, {"p", NULL, 2, 0, -1}};
  const apq__script_field problem[] = {{"m", NULL, 7, 0, -1}};
  const apq__script_field device[] = {{"arch", "sm_80", 0, 0, -1}, {"u8", NULL, 1, 1, -1}};
  assert_int_equal(apq__script_set_view(script, APQ__SCRIPT_CONFIG, problem, 1, error), APQ_OK);
  assert_int_equal(apq__script_set_view(script, APQ__SCRIPT_CONFIG, config, 3, error), APQ_OK);
  assert_int_equal(apq__script_set_view(script, APQ__SCRIPT_PROBLEM, problem, 1, error), APQ_OK);
  assert_int_equal(apq__script_set_view(script, APQ__SCRIPT_DEVICE, device, 2, error), APQ_OK);
  const apq__script_field change = {"tile_m", NULL, tile, 0, 3};
  int function = apq__script_get(apq__script_root(script), "f")->function;
  status = apq__script_filter(script, &change, 1, &function, 1, rejected, &deepest, error);
  apq__script_close(script);
  return status;
}

static void predicates_see_their_views(void **state) {
  (void)state;
  int rejected = 9;
  const char *body = "return config.tile_m == 64 and config.layout == 'xor' and problem.m == 7 "
                     "and device.arch == 'sm_80' and device.u8 == true";
  assert_int_equal(filter(body, 64, &rejected, NULL), APQ_OK);
  assert_int_equal(rejected, 1);
  assert_int_equal(filter(body, 32, &rejected, NULL), APQ_OK);
  assert_int_equal(rejected, 0);
  assert_int_equal(filter("local n = 0 for k, v in pairs(config) do n = n + 1 assert(k ~= 'm') end "
                          "return n == 3",
                          1, &rejected, NULL),
                   APQ_OK);
  assert_int_equal(rejected, 1);
}

static void what_predicates_read_is_known(void **state) {
  (void)state;
  const struct {
    const char *body;
    int deepest;
  } cases[] = {{"return problem.m == 7", -1},
               {"return config.p == 2", -1},
               {"return config.tile_m == 64", 3},
               {"return config.layout == 'xor' and config.tile_m == 1", 5},
               {"return config.tile_m == 2 and config.layout == 'xor'", 3},
               {"for k, v in pairs(config) do end return true", INT_MAX}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int rejected;
    assert_int_equal(filter(cases[i].body, 1, &rejected, NULL), APQ_OK);
    assert_int_equal(deepest, cases[i].deepest);
  }
}

static void predicates_cannot_change_or_misread_views(void **state) {
  (void)state;
  const struct {
    const char *body;
    apq_status status;
    const char *message;
  } cases[] = {
      {"config.tile_m = 2 return true", APQ_INVALID_ARGUMENT, "dir/s.lua:2: 'config' is read-only"},
      {"problem.x = 2 return true", APQ_INVALID_ARGUMENT, "dir/s.lua:2: 'problem' is read-only"},
      {"table.insert(device, 1) return true", APQ_INVALID_ARGUMENT, "dir/s.lua:2: "},
      {"return config.tile_mm == 1", APQ_INVALID_ARGUMENT,
       "dir/s.lua:2: 'config' has no field 'tile_mm'"},
      {"return problem[1]", APQ_INVALID_ARGUMENT, "dir/s.lua:2: 'problem' has no field '1'"},
      {"return 1", APQ_INVALID_ARGUMENT, "dir/s.lua:1: the function returned number"},
      {"return", APQ_INVALID_ARGUMENT, "dir/s.lua:1: the function returned nil"},
      {"error('no')", APQ_INVALID_ARGUMENT, "dir/s.lua:2: no"},
      {"while true do end", APQ_TIMEOUT, "dir/s.lua:2: "},
      {"return pcall(function() while true do end end)", APQ_TIMEOUT, "dir/s.lua:2: "},
      {"local s = 'x' while true do s = s .. s end", APQ_OUT_OF_MEMORY, "dir/s.lua:2: "},
      {"local f, t = pairs(config) t.tile_m = 5 return true", APQ_INVALID_ARGUMENT, "read-only"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int rejected = 9;
    apq_error error = APQ_ERROR_INIT;
    apq_status status = filter(cases[i].body, 1, &rejected, &error);
    if (status != cases[i].status || !strstr(error.message, cases[i].message))
      fail_msg("%s gave %s: %s", cases[i].body, apq_status_name(status), error.message);
    assert_int_equal(rejected, 0);
  }
}

static void models_can_be_read(void **state) {
  (void)state;
  apq__script *script = NULL;
  assert_int_equal(
      run("local l = model_layers('llama-2-7b')\nassert(#l > 3 and l[1].n == 12288 and "
          "l[1].k == 4096)\nl[1].n = 1\nassert(model_layers('llama-2-7b')[1].n == 12288)\n"
          "return space {}",
          &script, NULL),
      APQ_OK);
  apq__script_close(script);
  expect_failure("\nmodel_layers('gpt-9')", APQ_INVALID_ARGUMENT, "dir/s.lua:2: no model 'gpt-9'");
}

static void every_failed_allocation_is_survived(void **state) {
  (void)state;
  const char *text = "local s = ('ab'):rep(50)\nreturn space { a = {1, 'x', s}, f = function(c) "
                     "return c.x == 1 end }";
  for (long at = 1; at < 10000; at++) {
    failing_allocator count = {.fail_at = at};
    failing_install(&count);
    apq__script *script = NULL;
    apq_error error = APQ_ERROR_INIT;
    apq_status status = run(text, &script, &error);
    int rejected = 0;
    const apq__script_field x = {"x", NULL, 1, 0, 0};
    if (!status) {
      int function = apq__script_get(apq__script_root(script), "f")->function;
      status = apq__script_filter(script, &x, 1, &function, 1, &rejected, &deepest, &error);
      if (!status) assert_int_equal(rejected, 1);
    }
    apq__script_close(script);
    apq_set_allocator(NULL);
    assert_true(status == APQ_OK || status == APQ_OUT_OF_MEMORY);
    assert_int_equal(count.live, 0);
    if (count.calls < at) return;
  }
  fail_msg("the script never ran through");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_arrive_in_c),
      cmocka_unit_test(form_is_enforced),
      cmocka_unit_test(errors_carry_file_and_line),
      cmocka_unit_test(endless_scripts_stop),
      cmocka_unit_test(memory_is_bounded),
      cmocka_unit_test(nothing_leads_out),
      cmocka_unit_test(predicates_see_their_views),
      cmocka_unit_test(what_predicates_read_is_known),
      cmocka_unit_test(predicates_cannot_change_or_misread_views),
      cmocka_unit_test(models_can_be_read),
      cmocka_unit_test(every_failed_allocation_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
