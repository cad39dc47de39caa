#include "lua_host.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "alloc.h"
#include "arena.h"
#include "host.h"
#include "space_builtin.h"
#include "status.h"

enum {
  HOOK_STEP = 256,    /* instructions between two looks at the limits */
  CALLS_IN_ALL = 200, /* all calls together may cost as much as this many */
  DEPTH_MAX = 8,      /* of tables in tables */
  NODES_MAX = 200000, /* values in all: shared tables are copied at each place */
  NAMES_MAX = 500,    /* in one table */
};

struct apq__script {
  lua_State *L;
  char *file;
  const char *declare;
  apq__script_limits limits;
  apq__arena arena;
  apq__script_value root;
  int line;     /* of the declaration, 0 before it */
  int root_ref; /* registry reference of the declared table */
  int node_count;
  int view[APQ__SCRIPT_VIEW_COUNT];  /* registry references of the backing tables */
  int proxy[APQ__SCRIPT_VIEW_COUNT]; /* and of what predicates get */
  int ranks;                         /* and of the table of the config's ranks */
  int deepest;                       /* largest rank read in the filter call under way */
  size_t bytes;
  int64_t spent, call_end, all_end; /* instructions */
  double began, seconds;            /* of the call under way, and of all before it */
  apq_status stopped; /* TIMEOUT or OUT_OF_MEMORY once a limit was reached: no pcall may go on */
  char where[96];     /* "file:line: " of the last error or refused allocation, or "" */
  size_t where_file;  /* length of the file's name in it */
};

static const char *const view_names[APQ__SCRIPT_VIEW_COUNT] = {"config", "problem", "device"};

const char *apq__script_kind_name(apq__script_kind kind) {
  static const char *const names[] = {"boolean", "integer", "number",
                                      "string",  "table",   "function"};
  return names[kind];
}

static apq__script *script_of(lua_State *L) {
  return *(apq__script **)lua_getextraspace(L);
}

/* ---- limits ---- */

/* Notes where the innermost Lua function is.  Allocates nothing: the allocator calls it too. */
static void note_where(apq__script *script) {
  lua_Debug frame;
  for (int level = 0; script->L && lua_getstack(script->L, level, &frame); level++) {
    lua_getinfo(script->L, "Sl", &frame);
    if (frame.currentline <= 0) continue;
    script->where_file = strlen(frame.short_src);
    snprintf(script->where, sizeof script->where, "%s:%d: ", frame.short_src, frame.currentline);
    return;
  }
}

static void *bounded_alloc(void *user, void *old, size_t old_size, size_t size) {
  apq__script *script = user;
  if (!old) old_size = 0; /* Lua passes the kind of object there */
  if (size == 0) {
    apq__free(old);
    script->bytes -= old_size;
    return NULL;
  }
  void *data = NULL;
  if (size <= old_size || script->bytes - old_size + size <= script->limits.memory)
    data = apq__realloc(old, size);
  if (data)
    script->bytes += size - old_size;
  else
    note_where(script);
  return data;
}

static int limit_reached(const apq__script *script) {
  double seconds = apq__now() - script->began;
  return script->spent > script->call_end || script->spent > script->all_end ||
         seconds > script->limits.seconds ||
         seconds + script->seconds > script->limits.seconds * CALLS_IN_ALL;
}

static void count_hook(lua_State *L, lua_Debug *frame) {
  (void)frame;
  apq__script *script = script_of(L);
  script->spent += HOOK_STEP;
  if (!script->stopped && !limit_reached(script)) return;
  if (!script->stopped) script->stopped = APQ_TIMEOUT;
  note_where(script);
  luaL_error(L, "the script runs too long");
}

/* ---- errors ---- */

/* Keeps the place of the error and makes the message a string. */
static int message_handler(lua_State *L) {
  apq__script *script = script_of(L);
  if (!script->stopped) note_where(script);
  if (lua_type(L, 1) != LUA_TSTRING)
    lua_pushfstring(L, "the error is a %s, not a message", luaL_typename(L, 1));
  return 1;
}

/* Whether a message begins with "<chunk>:<line>: " already. */
static int has_place(const apq__script *script, const char *message) {
  size_t file = script->where_file;
  if (!script->where[0] || strncmp(message, script->where, file + 1) != 0) return 0;
  size_t digits = strspn(message + file + 1, "0123456789");
  return digits > 0 && message[file + 1 + digits] == ':';
}

static apq_status report(apq__script *script, int code, apq_error *error) {
  const char *message = lua_type(script->L, -1) == LUA_TSTRING ? lua_tostring(script->L, -1) : "?";
  if (code == LUA_ERRMEM && !script->stopped) script->stopped = APQ_OUT_OF_MEMORY;
  if (script->stopped == APQ_TIMEOUT)
    return apq__fail(error, APQ_TIMEOUT, "space",
                     "%sthe script runs too long (the limit is %lld instructions or %g seconds)",
                     script->where, (long long)script->limits.instructions, script->limits.seconds);
  if (script->stopped == APQ_OUT_OF_MEMORY)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "space",
                     "%sthe script uses too much memory (the limit is %zu KiB)", script->where,
                     script->limits.memory / 1024);
  return apq__fail(error, code == LUA_ERRSYNTAX ? APQ_PARSE : APQ_INVALID_ARGUMENT, "space", "%s%s",
                   has_place(script, message) || code == LUA_ERRSYNTAX ? "" : script->where,
                   message);
}

/* Runs body(argument) protected and within the limits; the script's stack is empty before and
 * after. */
static apq_status protect(apq__script *script, lua_CFunction body, void *argument,
                          apq_error *error) {
  lua_State *L = script->L;
  script->call_end = script->spent + script->limits.instructions;
  script->began = apq__now();
  script->where[0] = 0;
  lua_pushcfunction(L, message_handler);
  lua_pushcfunction(L, body);
  lua_pushlightuserdata(L, argument);
  int code = lua_pcall(L, 1, 0, 1);
  if (code == LUA_OK && script->stopped) {
    lua_pushnil(L);
    code = LUA_ERRRUN;
  }
  script->seconds += apq__now() - script->began;
  apq_status status = code == LUA_OK ? APQ_OK : report(script, code, error);
  lua_settop(L, 0);
  return status;
}

/* ---- what scripts see ---- */

/* pcall that lets the limits through. */
static int bounded_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  int code = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  if (code == LUA_ERRMEM || script_of(L)->stopped) return lua_error(L);
  lua_pushboolean(L, code == LUA_OK);
  lua_insert(L, 1);
  return lua_gettop(L);
}

/* string.rep without the library's loop over empty strings, and within the memory limit. */
static int bounded_rep(lua_State *L) {
  size_t length, between;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_Integer times = luaL_checkinteger(L, 2);
  const char *separator = luaL_optlstring(L, 3, "", &between);
  size_t each = length + between;
  if (times <= 0 || each == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  apq__script *script = script_of(L);
  if ((lua_Unsigned)times > script->limits.memory / each) {
    script->stopped = APQ_OUT_OF_MEMORY;
    note_where(script);
    return luaL_error(L, "the string is too long");
  }
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (lua_Integer i = 0; i < times; i++) {
    luaL_addlstring(&buffer, text, length);
    if (i + 1 < times) luaL_addlstring(&buffer, separator, between);
  }
  luaL_pushresult(&buffer);
  return 1;
}

static int declare(lua_State *L) {
  apq__script *script = script_of(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Debug frame;
  if (script->line) return luaL_error(L, "%s { ... } stands twice", script->declare);
  if (!lua_getstack(L, 1, &frame) || !lua_getinfo(L, "l", &frame) || frame.currentline <= 0)
    return luaL_error(L, "%s { ... } must be called by the script itself", script->declare);
  script->line = frame.currentline;
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  script->root_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

/* models { ... } inside model_layers: the table itself. */
static int return_table(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  return 1;
}

/* model_layers("llama-2-7b"): a fresh list of {name=, n=, k=}. */
static int model_layers(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *text = apq__embedded_lua("models");
  if (!text || luaL_loadbufferx(L, text, strlen(text), "@models.lua", "t") != LUA_OK)
    return luaL_error(L, "the table of models cannot be read");
  lua_newtable(L); /* its whole environment */
  lua_pushcfunction(L, return_table);
  lua_setfield(L, -2, "models");
  lua_setupvalue(L, -2, 1);
  lua_call(L, 0, 1);
  luaL_checktype(L, -1, LUA_TTABLE);
  if (lua_getfield(L, -1, name) != LUA_TTABLE)
    return luaL_error(L, "no model '%s' in models.lua", name);
  return 1;
}

/* Names kept of each standard library; the rest of it is never visible. */
static const char *const base_names[] = {"assert", "error",    "ipairs",   "next", "pairs",
                                         "select", "tonumber", "tostring", "type", NULL};
static const char *const math_names[] = {
    "abs",        "ceil",       "floor", "fmod", "huge",      "log",  "max", "min",
    "maxinteger", "mininteger", "pi",    "sqrt", "tointeger", "type", "ult", NULL};
static const char *const string_names[] = {"byte",  "char",    "format", "len", "lower",
                                           "upper", "reverse", "sub",    NULL};
static const char *const table_names[] = {"concat", "insert", "pack", "remove",
                                          "sort",   "unpack", NULL};

/* Copies the named fields of the table at the top into the table below it, and pops it. */
static void keep_names(lua_State *L, const char *const *names) {
  for (int i = 0; names[i]; i++) {
    lua_getfield(L, -1, names[i]);
    lua_setfield(L, -3, names[i]);
  }
  lua_pop(L, 1);
}

static void open_library(lua_State *L, const char *name, lua_CFunction open,
                         const char *const *names) {
  lua_newtable(L);
  luaL_requiref(L, name, open, 0);
  keep_names(L, names);
  lua_setfield(L, -2, name);
}

/* Leaves the one table that is the script's whole world on the stack. */
static void push_environment(lua_State *L, const char *declare_name) {
  static const luaL_Reg own[] = {
      {"pcall", bounded_pcall}, {"model_layers", model_layers}, {NULL, NULL}};
  lua_newtable(L);
  luaL_requiref(L, "_G", luaopen_base, 0);
  keep_names(L, base_names);
  open_library(L, "math", luaopen_math, math_names);
  open_library(L, "string", luaopen_string, string_names);
  open_library(L, "table", luaopen_table, table_names);
  luaL_setfuncs(L, own, 0);
  lua_pushcfunction(L, declare);
  lua_setfield(L, -2, declare_name);

  /* ("x"):upper() goes through the metatable of strings: point it at what is left, and at nothing
   * else. */
  lua_getfield(L, -1, "string");
  lua_pushcfunction(L, bounded_rep);
  lua_setfield(L, -2, "rep");
  lua_pushliteral(L, "");
  lua_newtable(L);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pop(L, 2);

  /* What the libraries registered elsewhere (package.loaded, the real _G) goes. */
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_newtable(L);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

/* ---- views ---- */

static int view_missing(lua_State *L) {
  const char *view = lua_tostring(L, lua_upvalueindex(1));
  return luaL_error(L, "'%s' has no field '%s'", view, luaL_tolstring(L, 2, NULL));
}

static int view_assigned(lua_State *L) {
  return luaL_error(L, "'%s' is read-only", lua_tostring(L, lua_upvalueindex(1)));
}

static int view_next(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_replace(L, 1);
  return lua_next(L, 1) ? 2 : 0;
}

/* pairs(view) must not hand out the table behind it. */
static int view_pairs(lua_State *L) {
  script_of(L)->deepest = INT_MAX; /* it may read everything */
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, view_next, 1);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

/* Reading the config: the value, noting the rank of what is read. */
static int config_index(lua_State *L) {
  apq__script *script = script_of(L);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL)
    return luaL_error(L, "'config' has no field '%s'", luaL_tolstring(L, 2, NULL));
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  int rank = (int)lua_tointeger(L, -1);
  if (rank > script->deepest) script->deepest = rank;
  lua_pop(L, 1);
  return 1;
}

/* proxy -> (metatable.__index) backing -> (its metatable.__index) error; the config's proxy has a
 * function of its own instead. */
static void make_view(lua_State *L, apq__script *script, apq__script_view view) {
  lua_newtable(L); /* backing */
  lua_newtable(L);
  lua_pushstring(L, view_names[view]);
  lua_pushcclosure(L, view_missing, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);

  lua_newtable(L); /* proxy */
  lua_newtable(L);
  lua_pushvalue(L, -3);
  if (view == APQ__SCRIPT_CONFIG) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    script->ranks = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcclosure(L, config_index, 2);
  }
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, view_names[view]);
  lua_pushcclosure(L, view_assigned, 1);
  lua_setfield(L, -2, "__newindex");
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, view_pairs, 1);
  lua_setfield(L, -2, "__pairs");
  lua_setmetatable(L, -2);
  script->proxy[view] = luaL_ref(L, LUA_REGISTRYINDEX);
  script->view[view] = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Sets the field in the table at the top. */
static void set_field(lua_State *L, const apq__script_field *field) {
  lua_pushstring(L, field->name);
  if (field->text)
    lua_pushstring(L, field->text);
  else if (field->is_boolean)
    lua_pushboolean(L, field->integer != 0);
  else
    lua_pushinteger(L, field->integer);
  lua_rawset(L, -3);
}

typedef struct set_view_call {
  apq__script *script;
  apq__script_view view;
  const apq__script_field *fields;
  int count;
} set_view_call;

static int set_view_body(lua_State *L) {
  set_view_call *call = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->script->view[call->view]);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4); /* clearing a field while traversing is allowed */
  }
  for (int i = 0; i < call->count; i++) set_field(L, &call->fields[i]);
  if (call->view != APQ__SCRIPT_CONFIG) return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->script->ranks);
  for (int i = 0; i < call->count; i++) {
    lua_pushinteger(L, call->fields[i].rank);
    lua_setfield(L, -2, call->fields[i].name);
  }
  return 0;
}

apq_status apq__script_set_view(apq__script *script, apq__script_view view,
                                const apq__script_field *fields, int count, apq_error *error) {
  set_view_call call = {script, view, fields, count};
  return protect(script, set_view_body, &call, error);
}

/* ---- predicates ---- */

typedef struct filter_call {
  apq__script *script;
  const apq__script_field *changes;
  int change_count;
  const int *function;
  int count;
  int at; /* the predicate being called */
} filter_call;

static int filter_body(lua_State *L) {
  filter_call *call = lua_touserdata(L, 1);
  apq__script *script = call->script;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->view[APQ__SCRIPT_CONFIG]);
  for (int i = 0; i < call->change_count; i++) set_field(L, &call->changes[i]);
  for (; call->at < call->count; call->at++) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function[call->at]);
    for (int view = 0; view < APQ__SCRIPT_VIEW_COUNT; view++)
      lua_rawgeti(L, LUA_REGISTRYINDEX, script->proxy[view]);
    lua_call(L, APQ__SCRIPT_VIEW_COUNT, 1);
    if (!lua_isboolean(L, -1)) {
      lua_Debug about;
      lua_rawgeti(L, LUA_REGISTRYINDEX, call->function[call->at]);
      lua_getinfo(L, ">S", &about);
      return luaL_error(L, "%s:%d: the function returned %s, not true or false", about.short_src,
                        about.linedefined, luaL_typename(L, -1));
    }
    int keep = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!keep) break;
  }
  return 0;
}

apq_status apq__script_filter(apq__script *script, const apq__script_field *changes,
                              int change_count, const int *function, int count, int *rejected,
                              int *deepest, apq_error *error) {
  filter_call call = {script, changes, change_count, function, count, 0};
  script->deepest = -1;
  apq_status status = protect(script, filter_body, &call, error);
  *rejected = call.at;
  *deepest = script->deepest;
  return status;
}

/* ---- from Lua values to C values ---- */

_Noreturn static void refuse(lua_State *L, apq__script *script, const char *what) {
  luaL_error(L, "%s:%d: %s", script->file, script->line, what);
  __builtin_unreachable();
}

/* The memory of values counts as the script's. */
static void *get_memory(lua_State *L, apq__script *script, size_t size) {
  size_t limit = script->limits.memory, held = script->bytes;
  void *data = apq__arena_get(&script->arena, size, limit > held ? limit - held : 0);
  if (!data) {
    script->stopped = APQ_OUT_OF_MEMORY;
    refuse(L, script, "out of memory");
  }
  return data;
}

static const char *read_string(lua_State *L, apq__script *script, int at) {
  size_t length;
  const char *text = lua_tolstring(L, at, &length);
  if (memchr(text, 0, length)) refuse(L, script, "a string has a zero byte in it");
  char *copy = get_memory(L, script, length + 1);
  memcpy(copy, text, length);
  return copy;
}

static void read_value(lua_State *L, apq__script *script, int depth, apq__script_value *out);

/* Named entries are kept sorted: insertion, as tables in spaces are small. */
static apq__script_entry *named_slot(apq__script_value *table, int filled, const char *key) {
  int at = filled;
  while (at > table->list_count && strcmp(table->entry[at - 1].key, key) > 0) {
    table->entry[at] = table->entry[at - 1];
    at--;
  }
  table->entry[at].key = key;
  return &table->entry[at];
}

static void read_table(lua_State *L, apq__script *script, int depth, apq__script_value *out) {
  if (depth == DEPTH_MAX) refuse(L, script, "tables are nested too deep");
  luaL_checkstack(L, 8, "tables");
  int table = lua_gettop(L);
  lua_Unsigned length = lua_rawlen(L, table);
  if (length > NODES_MAX) refuse(L, script, "too many values");
  out->list_count = (int)length;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    out->count++;
    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 &&
        lua_tointeger(L, -2) <= (lua_Integer)length)
      continue;
    if (lua_type(L, -2) != LUA_TSTRING)
      refuse(L, script, "a table has a key that is neither a name nor a position without gaps");
  }
  if (out->count - out->list_count > NAMES_MAX) refuse(L, script, "too many names in a table");
  if (out->count > NODES_MAX - script->node_count) refuse(L, script, "too many values");
  script->node_count += out->count;
  out->entry = get_memory(L, script, (size_t)out->count * sizeof *out->entry);
  for (int i = 0; i < out->list_count; i++) {
    lua_rawgeti(L, table, i + 1);
    if (lua_isnil(L, -1)) refuse(L, script, "a list has gaps");
    read_value(L, script, depth + 1, &out->entry[i].value);
    lua_pop(L, 1);
  }
  int filled = out->list_count;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) continue;
    apq__script_value value = {0};
    const char *key = read_string(L, script, -2);
    read_value(L, script, depth + 1, &value);
    named_slot(out, filled++, key)->value = value;
  }
}

static void read_value(lua_State *L, apq__script *script, int depth, apq__script_value *out) {
  *out = (apq__script_value){0};
  switch (lua_type(L, -1)) {
  case LUA_TBOOLEAN:
    out->kind = APQ__SCRIPT_BOOLEAN;
    out->integer = lua_toboolean(L, -1);
    break;
  case LUA_TNUMBER: {
    int integral = 0;
    lua_Integer integer = lua_tointegerx(L, -1, &integral);
    out->kind = integral ? APQ__SCRIPT_INTEGER : APQ__SCRIPT_NUMBER;
    out->integer = integer;
    out->number = lua_tonumber(L, -1);
    break;
  }
  case LUA_TSTRING:
    out->kind = APQ__SCRIPT_STRING;
    out->string = read_string(L, script, -1);
    break;
  case LUA_TTABLE:
    out->kind = APQ__SCRIPT_TABLE;
    read_table(L, script, depth, out);
    break;
  case LUA_TFUNCTION: {
    lua_Debug about;
    out->kind = APQ__SCRIPT_FUNCTION;
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &about);
    out->line = about.linedefined > 0 ? about.linedefined : script->line;
    out->last_line = about.lastlinedefined > 0 ? about.lastlinedefined : script->line;
    lua_pushvalue(L, -1);
    out->function = luaL_ref(L, LUA_REGISTRYINDEX);
    break;
  }
  default:
    refuse(L, script, "a table holds a value of no use here");
  }
}

/* ---- load ---- */

typedef struct load_call {
  apq__script *script;
  const char *text;
  size_t size;
  int is_syntax; /* the text does not parse */
} load_call;

static int load_body(lua_State *L) {
  load_call *call = lua_touserdata(L, 1);
  apq__script *script = call->script;
  push_environment(L, script->declare);
  for (int view = 0; view < APQ__SCRIPT_VIEW_COUNT; view++)
    make_view(L, script, (apq__script_view)view);

  if (call->size && call->text[0] == LUA_SIGNATURE[0]) {
    call->is_syntax = 1;
    return luaL_error(L, "%s:1: a compiled script; a space is text", script->file);
  }
  const char *chunk = lua_pushfstring(L, "@%s", script->file);
  int code = luaL_loadbufferx(L, call->text, call->size, chunk, "t");
  call->is_syntax = code == LUA_ERRSYNTAX;
  if (code != LUA_OK) return lua_error(L);
  lua_pushvalue(L, -3);
  lua_setupvalue(L, -2, 1); /* _ENV */
  lua_call(L, 0, 1);

  if (script->line == 0)
    return luaL_error(L, "%s:1: the script does not declare %s { ... }", script->file,
                      script->declare);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->root_ref);
  if (!lua_rawequal(L, -1, -2)) {
    lua_pushfstring(L, "the script must end in: return %s { ... }", script->declare);
    refuse(L, script, lua_tostring(L, -1));
  }
  read_value(L, script, 0, &script->root);
  return 0;
}

static apq__script_limits with_defaults(const apq__script_limits *limits) {
  apq__script_limits full = limits ? *limits : (apq__script_limits){0};
  if (full.instructions <= 0) full.instructions = 10000000;
  if (full.seconds <= 0) full.seconds = 5;
  if (full.memory == 0) full.memory = (size_t)32 << 20;
  return full;
}

apq_status apq__script_run(const char *file, const char *text, size_t size,
                           const char *declare_name, const apq__script_limits *limits,
                           apq__script **out, apq_error *error) {
  apq_status status = APQ_OUT_OF_MEMORY;
  apq__script *script = apq__calloc(1, sizeof *script);
  if (!script) goto no_memory;
  script->limits = with_defaults(limits);
  script->all_end = script->limits.instructions * CALLS_IN_ALL;
  script->declare = declare_name;
  script->file = apq__strdup(file);
  lua_State *L = script->file ? lua_newstate(bounded_alloc, script) : NULL;
  if (!L) goto no_memory;
  script->L = L;
  *(apq__script **)lua_getextraspace(L) = script;
  lua_sethook(L, count_hook, LUA_MASKCOUNT, HOOK_STEP);

  load_call call = {script, text, size, 0};
  status = protect(script, load_body, &call, error);
  if (status == APQ_INVALID_ARGUMENT && call.is_syntax) {
    status = APQ_PARSE;
    if (error) error->status = status;
  }
  if (status) goto cleanup;
  *out = script;
  return APQ_OK;

no_memory:
  apq__fail(error, status, "space", "%s: out of memory", file);
cleanup:
  apq__script_close(script);
  return status;
}

void apq__script_close(apq__script *script) {
  if (!script) return;
  if (script->L) {
    lua_State *L = script->L;
    script->L = NULL; /* no more places to note */
    lua_close(L);
  }
  apq__arena_free(&script->arena);
  apq__free(script->file);
  apq__free(script);
}

const apq__script_value *apq__script_root(const apq__script *script) {
  return &script->root;
}
int apq__script_line(const apq__script *script) {
  return script->line;
}

const apq__script_value *apq__script_get(const apq__script_value *table, const char *key) {
  for (int i = table->list_count; i < table->count; i++)
    if (strcmp(table->entry[i].key, key) == 0) return &table->entry[i].value;
  return NULL;
}
