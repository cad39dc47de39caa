#include "space_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "status.h"

typedef const apq__script_value value;

typedef apq__space_place place;

static place at_name(place outer, const char *name) {
  outer.step[outer.count++] = (apq__script_step){name, 0};
  return outer;
}

static place at_position(place outer, int position) {
  outer.step[outer.count++] = (apq__script_step){NULL, position};
  return outer;
}

__attribute__((format(printf, 4, 5))) static apq_status
refuse(const apq__space *space, place where, apq_error *error, const char *format, ...) {
  char message[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  int line =
      apq__script_locate(space->text, apq__script_line(space->script), where.step, where.count);
  return apq__fail(error, APQ_INVALID_ARGUMENT, "space", "%s:%d: %s", space->file, line, message);
}

static apq_status out_of_memory(apq_error *error) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "space", "out of memory");
}

/* "a, b, c" into a bounded text. */
static void append_name(char *text, size_t size, const char *name) {
  size_t length = strlen(text);
  snprintf(text + length, size - length, "%s%s", length ? ", " : "", name);
}

static apq_status expect(const apq__space *space, value *v, apq__script_kind kind, place where,
                         const char *what, apq_error *error) {
  if (v->kind == kind) return APQ_OK;
  return refuse(space, where, error, "%s is a %s; it must be a %s", what,
                apq__script_kind_name(v->kind), apq__script_kind_name(kind));
}

/* A table used as a list: no named entries. */
static apq_status expect_list(const apq__space *space, value *v, place where, const char *what,
                              apq_error *error) {
  apq_status status = expect(space, v, APQ__SCRIPT_TABLE, where, what, error);
  if (status) return status;
  if (v->count == v->list_count) return APQ_OK;
  return refuse(space, at_name(where, v->entry[v->list_count].key), error,
                "%s is a list; '%s' has no place in it", what, v->entry[v->list_count].key);
}

/* ---- name, objective ---- */

static apq_status parse_name(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect(space, v, APQ__SCRIPT_STRING, where, "'name'", error);
  if (status) return status;
  if (v->string[0] == 0 || strlen(v->string) >= APQ__SPACE_NAME_MAX)
    return refuse(space, where, error, "'name' must have 1 to %d characters",
                  APQ__SPACE_NAME_MAX - 1);
  snprintf(space->name, sizeof space->name, "%s", v->string);
  return APQ_OK;
}

static apq_status parse_objective(apq__space *space, value *v, place where, apq_error *error) {
  static const char *const objectives[] = {"burst", "sustained"};
  apq_status status = expect(space, v, APQ__SCRIPT_STRING, where, "'objective'", error);
  if (status) return status;
  for (int i = 0; i < 2; i++)
    if (strcmp(v->string, objectives[i]) == 0) {
      space->objective = objectives[i];
      return APQ_OK;
    }
  return refuse(space, where, error, "objective '%s' is not 'burst' or 'sustained'", v->string);
}

/* ---- family and knobs ---- */

static apq_status parse_family(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect(space, v, APQ__SCRIPT_STRING, where, "'family'", error);
  if (status) return status;
  const apq__family *family = apq__family_find(v->string);
  if (family && apq__family_is_product(family)) {
    space->family = family;
    return APQ_OK;
  }
  char names[160] = "";
  for (int i = 0; apq__family_at(i); i++)
    if (apq__family_is_product(apq__family_at(i)))
      append_name(names, sizeof names, apq__family_name(apq__family_at(i)));
  return refuse(space, where, error, "no kernel family '%s'; there are %s", v->string, names);
}

/* These describe the product, not the way to compute it. */
static int is_problem_knob(const char *name) {
  return strcmp(name, "p") == 0 || strcmp(name, "q") == 0 || strcmp(name, "out") == 0 ||
         strcmp(name, "group") == 0;
}

static const apq__knob_decl *find_knob(const apq__family *family, const char *name) {
  int count = 0;
  const apq__knob_decl *decl = apq__family_knobs(family, &count);
  for (int i = 0; i < count; i++)
    if (strcmp(decl[i].name, name) == 0) return &decl[i];
  return NULL;
}

static apq_status fail_knob(const apq__space *space, const char *name, place where,
                            apq_error *error) {
  const char *family = apq__family_name(space->family);
  if (is_problem_knob(name))
    return refuse(space, where, error, "knob '%s' of family '%s' comes from the problem", name,
                  family);
  char names[320] = "";
  int count = 0;
  const apq__knob_decl *decl = apq__family_knobs(space->family, &count);
  for (int i = 0; i < count; i++)
    if (!is_problem_knob(decl[i].name)) append_name(names, sizeof names, decl[i].name);
  return refuse(space, where, error, "family '%s' has no knob '%s'; it has %s", family, name,
                names);
}

/* A knob's value as the word it is in a config. */
static apq_status parse_word(const apq__space *space, value *v, const char *knob, place where,
                             char word[APQ__WORD_MAX], apq_error *error) {
  int length = 0;
  if (v->kind == APQ__SCRIPT_INTEGER)
    length = snprintf(word, APQ__WORD_MAX, "%lld", (long long)v->integer);
  else if (v->kind == APQ__SCRIPT_STRING)
    length = snprintf(word, APQ__WORD_MAX, "%s", v->string);
  else
    return refuse(space, where, error,
                  "a value of knob '%s' is a %s; it must be an integer or a string", knob,
                  apq__script_kind_name(v->kind));
  if (length >= APQ__WORD_MAX)
    return refuse(space, where, error, "a value of knob '%s' is longer than %d characters", knob,
                  APQ__WORD_MAX - 1);
  return APQ_OK;
}

static apq_status check_domain(const apq__space *space, const apq__knob_decl *decl,
                               const char *word, place where, apq_error *error) {
  char values[256] = "";
  for (int i = 0; i < decl->value_count; i++) {
    if (strcmp(decl->values[i], word) == 0) return APQ_OK;
    append_name(values, sizeof values, decl->values[i]);
  }
  return refuse(space, where, error, "knob '%s' of family '%s' has no value %s; it has %s",
                decl->name, apq__family_name(space->family), word, values);
}

static apq_status parse_knob(apq__space *space, const apq__script_entry *entry, place where,
                             apq_error *error) {
  const apq__knob_decl *decl = find_knob(space->family, entry->key);
  if (!decl || is_problem_knob(entry->key)) return fail_knob(space, entry->key, where, error);
  char what[48];
  snprintf(what, sizeof what, "knob '%s'", entry->key);
  apq_status status = expect_list(space, &entry->value, where, what, error);
  if (status) return status;
  if (entry->value.count == 0)
    return refuse(space, where, error, "knob '%s' has no values", entry->key);

  apq__space_knob *knob = &space->knob[space->knob_count++];
  snprintf(knob->name, sizeof knob->name, "%s", entry->key);
  knob->value = apq__calloc((size_t)entry->value.count, APQ__WORD_MAX);
  if (!knob->value) return out_of_memory(error);
  for (int i = 0; i < entry->value.count; i++) {
    char *word = knob->value[i];
    place here = at_position(where, i + 1);
    status = parse_word(space, &entry->value.entry[i].value, knob->name, here, word, error);
    if (!status) status = check_domain(space, decl, word, here, error);
    if (status) return status;
    for (int j = 0; j < i; j++)
      if (strcmp(word, knob->value[j]) == 0)
        return refuse(space, here, error, "value %s of knob '%s' is listed twice", word,
                      knob->name);
    knob->count++;
  }
  return APQ_OK;
}

static apq_status parse_knobs(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect(space, v, APQ__SCRIPT_TABLE, where, "'knobs'", error);
  if (status) return status;
  if (v->list_count)
    return refuse(space, at_position(where, 1), error,
                  "'knobs' holds a list without a knob's name");
  /* Each name is a knob of the family, so there are at most APQ__KNOBS_MAX. */
  for (int i = 0; i < v->count && !status; i++)
    status = parse_knob(space, &v->entry[i], at_name(where, v->entry[i].key), error);
  return status;
}

/* ---- constraints ---- */

static apq_status parse_constraint(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect_list(space, v, where, "a constraint", error);
  if (status) return status;
  if (v->count != 2 || v->entry[0].value.kind != APQ__SCRIPT_STRING ||
      v->entry[1].value.kind != APQ__SCRIPT_FUNCTION)
    return refuse(space, where, error,
                  "a constraint is { \"name\", function(config, problem, device) ... end }");
  if (space->constraint_count == APQ__SPACE_CONSTRAINTS_MAX)
    return refuse(space, where, error, "more than %d constraints", APQ__SPACE_CONSTRAINTS_MAX);
  apq__space_constraint *constraint = &space->constraint[space->constraint_count++];
  snprintf(constraint->name, sizeof constraint->name, "%s", v->entry[0].value.string);
  constraint->line = v->entry[1].value.line;
  constraint->last_line = v->entry[1].value.last_line;
  constraint->function = v->entry[1].value.function;
  return APQ_OK;
}

static apq_status parse_constraints(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect_list(space, v, where, "'constraints'", error);
  for (int i = 0; !status && i < v->count; i++)
    status = parse_constraint(space, &v->entry[i].value, at_position(where, i + 1), error);
  return status;
}

/* ---- problems ---- */

static apq_status parse_problem(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect(space, v, APQ__SCRIPT_TABLE, where, "a problem", error);
  if (status) return status;
  apq__problem problem = {.out = APQ_DTYPE_F16};
  const struct {
    const char *name;
    int *field;
  } integers[] = {{"p", &problem.p}, {"q", &problem.q}, {"m", &problem.m},
                  {"n", &problem.n}, {"k", &problem.k}, {"group", &problem.group}};
  enum { INTEGERS = sizeof integers / sizeof integers[0], REQUIRED = INTEGERS - 1 };
  for (int i = 0; i < v->count; i++) {
    const apq__script_entry *entry = &v->entry[i];
    const char *key = entry->key ? entry->key : "?";
    place here = entry->key ? at_name(where, key) : where;
    int field = 0;
    while (field < INTEGERS && strcmp(integers[field].name, key) != 0) field++;
    if (field < INTEGERS) {
      if (entry->value.kind != APQ__SCRIPT_INTEGER || entry->value.integer < 1 ||
          entry->value.integer > INT32_MAX)
        return refuse(space, here, error, "'%s' of a problem must be an integer of at least 1",
                      key);
      *integers[field].field = (int)entry->value.integer;
    } else if (strcmp(key, "input") == 0) {
      if (entry->value.kind != APQ__SCRIPT_STRING ||
          !apq__input_parse(entry->value.string, &problem.in))
        return refuse(space, here, error, "'input' of a problem must be packed, f16, bf16 or f32");
    } else if (strcmp(key, "out") != 0) {
      return refuse(space, here, error,
                    "a problem has m, n, k, p, q, out, group and input, not '%s'", key);
    } else if (entry->value.kind != APQ__SCRIPT_STRING ||
               !apq__dtype_parse(entry->value.string, &problem.out)) {
      return refuse(space, here, error, "'out' of a problem must be i32, f16, bf16 or f32");
    }
  }
  for (int i = 0; i < REQUIRED; i++)
    if (*integers[i].field == 0)
      return refuse(space, where, error, "a problem lacks '%s'", integers[i].name);
  apq_error detail = APQ_ERROR_INIT;
  if (apq__problem_check(&problem, &detail)) {
    status = refuse(space, where, error, "%s", detail.message);
    apq_error_clear(&detail);
    return status;
  }
  space->problem[space->problem_count++] = problem;
  return APQ_OK;
}

static apq_status parse_problems(apq__space *space, value *v, place where, apq_error *error) {
  apq_status status = expect_list(space, v, where, "'problems'", error);
  if (status || v->count == 0) return status;
  space->problem = apq__calloc((size_t)v->count, sizeof *space->problem);
  if (!space->problem) return out_of_memory(error);
  for (int i = 0; i < v->count && !status; i++)
    status = parse_problem(space, &v->entry[i].value, at_position(where, i + 1), error);
  return status;
}

/* ---- unions ---- */

static apq_status parse_inline_part(apq__space *space, value *v, place where, int depth,
                                    apq_error *error) {
  apq__space *part = apq__calloc(1, sizeof *part);
  if (!part) return out_of_memory(error);
  space->part[space->part_count++] = part;
  part->is_inline = 1;
  part->file = space->file;
  part->text = space->text;
  part->script = space->script;
  part->root = v;
  part->place = where;
  apq_status status = apq__space_parse(part, depth + 1, error);
  if (!status) apq__space_hash_all(part);
  return status;
}

static apq_status parse_named_part(apq__space *space, const char *name, place where, int depth,
                                   apq_error *error) {
  apq_error detail = APQ_ERROR_INIT;
  apq_status status =
      apq__space_load_at(name, space->file, depth + 1, &space->part[space->part_count], &detail);
  if (status) {
    refuse(space, where, error, "%s", detail.message);
    if (error) error->status = status;
    apq_error_clear(&detail);
    return status;
  }
  space->part_count++;
  return APQ_OK;
}

static apq_status parse_parts(apq__space *space, value *v, place where, int depth,
                              apq_error *error) {
  apq_status status = expect_list(space, v, where, "'spaces'", error);
  if (status) return status;
  if (v->count < 1 || v->count > APQ__SPACE_PARTS_MAX)
    return refuse(space, where, error, "'spaces' must name 1 to %d spaces", APQ__SPACE_PARTS_MAX);
  for (int i = 0; i < v->count && !status; i++) {
    value *part = &v->entry[i].value;
    place here = at_position(where, i + 1);
    if (part->kind == APQ__SCRIPT_STRING)
      status = parse_named_part(space, part->string, here, depth, error);
    else if (part->kind == APQ__SCRIPT_TABLE)
      status = parse_inline_part(space, part, here, depth, error);
    else
      status = refuse(space, here, error,
                      "an entry of 'spaces' is the name of a space, or a table "
                      "with a family");
  }
  return status;
}

/* ---- the whole ---- */

static apq_status check_keys(const apq__space *space, value *root, apq_error *error) {
  static const char known[] = "constraints family knobs name objective problems spaces";
  place top = space->place;
  if (root->list_count)
    return refuse(space, at_position(top, 1), error, "space { ... } has named entries only: %s",
                  known);
  for (int i = 0; i < root->count; i++) {
    const char *key = root->entry[i].key, *found = *key ? strstr(known, key) : NULL;
    size_t length = strlen(key);
    if (!found || (found > known && found[-1] != ' ') || (found[length] && found[length] != ' '))
      return refuse(space, at_name(top, key), error, "a space has no '%s'; it has %s", key, known);
  }
  int is_union = apq__script_get(root, "spaces") != NULL;
  static const char *const of_file[] = {"spaces", "problems", "objective"};
  for (int i = 0; i < 3; i++)
    if (space->is_inline && apq__script_get(root, of_file[i]))
      return refuse(space, at_name(top, of_file[i]), error,
                    "'%s' has no place in a part of 'spaces'", of_file[i]);
  if (is_union == (apq__script_get(root, "family") != NULL))
    return refuse(space, top, error, "a space has either 'family' or 'spaces'");
  static const char *const of_family[] = {"knobs", "constraints"};
  for (int i = 0; i < 2; i++)
    if (is_union && apq__script_get(root, of_family[i]))
      return refuse(space, at_name(top, of_family[i]), error,
                    "'%s' belongs to a space with a family, not to one of other spaces",
                    of_family[i]);
  return APQ_OK;
}

/* The file's name without folder and ".lua". */
static void name_after_file(apq__space *space) {
  const char *slash = strrchr(space->file, '/');
  snprintf(space->name, sizeof space->name, "%s", slash ? slash + 1 : space->file);
  char *dot = strrchr(space->name, '.');
  if (dot && dot > space->name) *dot = 0;
}

apq_status apq__space_parse(apq__space *space, int depth, apq_error *error) {
  /* `family` before `knobs`: knobs are read against it. */
  static const struct {
    const char *key;
    apq_status (*parse)(apq__space *, value *, place, apq_error *);
  } parts[] = {
      {"name", parse_name},   {"objective", parse_objective},     {"family", parse_family},
      {"knobs", parse_knobs}, {"constraints", parse_constraints}, {"problems", parse_problems}};
  value *root = space->root;
  place top = space->place;
  name_after_file(space);
  space->objective = "burst";
  apq_status status = check_keys(space, root, error);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0] && !status; i++) {
    value *v = apq__script_get(root, parts[i].key);
    if (v) status = parts[i].parse(space, v, at_name(top, parts[i].key), error);
  }
  if (!status && space->is_inline && !apq__script_get(root, "name"))
    snprintf(space->name, sizeof space->name, "%s", apq__family_name(space->family));
  value *spaces = apq__script_get(root, "spaces");
  if (!status && spaces) status = parse_parts(space, spaces, at_name(top, "spaces"), depth, error);
  return status;
}
