#include "db_record.h"

#include <limits.h>
#include <string.h>

#include "host.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "records are packed from memory as it is");

#define FIELD(type, kind, path, label)                                                             \
  { label, APQ__FIELD_##kind, offsetof(type, path), sizeof(((type *)0)->path) }
#define W(kind, path, label) FIELD(apq__winner, kind, path, label)
#define F(kind, path, label) FIELD(apq__failure, kind, path, label)
#define T(kind, path, label) FIELD(apq__tuned_row, kind, path, label)
#define COUNT(table)         ((int)(sizeof table / sizeof table[0]))

const apq__field apq__winner_fields[] = {
    W(TEXT, environment.gpu, "gpu"),
    W(TEXT, environment.arch, "arch"),
    W(TEXT, environment.driver, "driver"),
    W(TEXT, environment.compiler, "compiler"),
    W(INT, environment.sm_count, "sm_count"),
    W(INT, environment.emulated, "emulated"),
    W(PROBLEM, problem, "problem"),
    W(TEXT, measurement.objective, "objective"),
    W(CONFIG, variant.config, "config"),
    W(TEXT, variant.hash, "hash"),
    W(TEXT, measurement.run, "run"),
    W(INT, measurement.modelled, "modelled"),
    W(INT, measurement.samples, "samples"),
    W(REAL, measurement.min, "min"),
    W(REAL, measurement.p10, "p10"),
    W(REAL, measurement.p50, "p50"),
    W(REAL, measurement.p90, "p90"),
    W(REAL, measurement.max, "max"),
    W(REAL, measurement.incumbent_ratio, "incumbent_ratio"),
    W(INT, measurement.sm_mhz, "sm_mhz"),
    W(INT, measurement.temperature_c, "temperature_c"),
    W(UINT, measurement.throttle_reasons, "throttle_reasons"),
    W(INT64, measurement.unix_time, "unix_time"),
    W(TEXT, measurement.artifact, "artifact"),
};
const int apq__winner_field_count = COUNT(apq__winner_fields);

const apq__field apq__failure_fields[] = {
    F(TEXT, environment.gpu, "gpu"),
    F(TEXT, environment.arch, "arch"),
    F(TEXT, environment.driver, "driver"),
    F(TEXT, environment.compiler, "compiler"),
    F(INT, environment.sm_count, "sm_count"),
    F(INT, environment.emulated, "emulated"),
    F(TEXT, problem, "problem"),
    F(CONFIG, variant.config, "config"),
    F(TEXT, variant.hash, "hash"),
    F(TEXT, stage, "stage"),
    F(TEXT, message, "message"),
    F(INT64, unix_time, "unix_time"),
};
const int apq__failure_field_count = COUNT(apq__failure_fields);

const apq__field apq__tuned_fields[] = {
    T(TEXT, gpu, "gpu"),
    T(INT, sm_count, "sm_count"),
    T(TEXT, arch, "arch"),
    T(PROBLEM, problem, "problem"),
    T(TEXT, objective, "objective"),
    T(TEXT, space, "space"),
    T(TEXT, space_hash, "space_hash"),
    T(INT64, unix_time, "unix_time"),
};
const int apq__tuned_field_count = COUNT(apq__tuned_fields);

/* ---- canonical texts ---- */

/* Winners are parsed by the ten thousand when a program starts: characters by table, words by
 * block. */
static const unsigned char is_word_character[256] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['_'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1,
    ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1,
    ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

/* Copies a word, which a value may start with a sign; the position after it, or NULL. */
static const char *take_word(const char *at, const char *end, int may_sign,
                             char word[APQ__WORD_MAX]) {
  const char *first = at;
  if (may_sign && at < end && *at == '-') at++;
  const char *digits = at;
  while (at < end && is_word_character[(unsigned char)*at]) at++;
  if (at == digits || at - digits > APQ__WORD_MAX - 2) return NULL;
  memcpy(word, first, (size_t)(at - first));
  word[at - first] = 0;
  return at;
}

static int is_before(const char *a, size_t a_length, const char *b, size_t b_length) {
  int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
  return order < 0 || (order == 0 && a_length < b_length);
}

int apq__canonical_config(const char *text, size_t length, apq__config *out) {
  const char *at = text, *end = text + length, *before = NULL;
  size_t before_length = 0;
  memset(out, 0, sizeof *out);
  while (at < end) {
    if (out->count == APQ__KNOBS_MAX) return 0;
    apq__knob *knob = &out->knob[out->count++];
    const char *name = at;
    at = take_word(at, end, 0, knob->name);
    if (!at || at == end || *at != '=') return 0;
    size_t name_length = (size_t)(at - name);
    if (before && !is_before(before, before_length, name, name_length)) return 0;
    at = take_word(at + 1, end, 1, knob->value);
    if (!at) return 0;
    before = name;
    before_length = name_length;
    if (at < end && (*at != ',' || ++at == end)) return 0;
  }
  return 1;
}

/* "name=digits" up to a comma; the position after it, or NULL. */
static const char *take_number(const char *at, const char *end, const char *name, int *out) {
  size_t length = strlen(name);
  if ((size_t)(end - at) <= length || memcmp(at, name, length) != 0) return NULL;
  at += length;
  const char *first = at;
  int64_t value = 0;
  while (at < end && *at >= '0' && *at <= '9' && value <= INT_MAX)
    value = value * 10 + (*at++ - '0');
  if (at == first || *first == '0' || value > INT_MAX) return NULL;
  *out = (int)value;
  return at < end && *at == ',' ? at + 1 : at == end ? at : NULL;
}

int apq__canonical_problem(const char *text, size_t length, apq__problem *out) {
  const char *at = text, *end = text + length;
  char name[APQ__WORD_MAX];
  memset(out, 0, sizeof *out);
  if (end - at > 6 && memcmp(at, "group=", 6) == 0 &&
      !(at = take_number(at, end, "group=", &out->group)))
    return 0;
  if (end - at > 3 && memcmp(at, "in=", 3) == 0 &&
      (!(at = take_word(at + 3, end, 0, name)) || at == end || *at++ != ',' ||
       !apq__input_parse(name, &out->in) || !out->in))
    return 0;
  if (!(at = take_number(at, end, "k=", &out->k)) || !(at = take_number(at, end, "m=", &out->m)) ||
      !(at = take_number(at, end, "n=", &out->n)))
    return 0;
  if (end - at < 5 || memcmp(at, "out=", 4) != 0 || !(at = take_word(at + 4, end, 0, name)) ||
      at == end || *at != ',' || !apq__dtype_parse(name, &out->out))
    return 0;
  if (!(at = take_number(at + 1, end, "p=", &out->p)) ||
      !(at = take_number(at, end, "q=", &out->q)) || at != end || end[-1] == ',')
    return 0;
  return apq__problem_check(out, NULL) == APQ_OK;
}

/* ---- packing ---- */

static void put_integer(apq__record *record, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) record->data[record->size++] = (unsigned char)(value >> (8 * i));
}

static void put_text(apq__record *record, const char *text, size_t length) {
  put_integer(record, length, 2);
  memcpy(record->data + record->size, text, length);
  record->size += length;
}

/* The output type, the group and the input are one number, which is the type alone without groups
 * and packed: records from before there were others stay good. */
enum { GROUP_UNIT = 256, INPUT_UNIT = 1 << 20 };

static void put_problem(apq__record *record, const apq__problem *problem) {
  const int kind = (int)problem->out + GROUP_UNIT * problem->group + INPUT_UNIT * (int)problem->in;
  const int values[] = {problem->p, problem->q, problem->m, problem->n, problem->k, kind};
  for (int i = 0; i < COUNT(values); i++) put_integer(record, (uint64_t)values[i], 4);
}

static void put_field(const apq__field *field, const void *row, apq__record *record) {
  const char *member = (const char *)row + field->offset;
  char key[APQ__KEY_MAX];
  uint64_t bits = 0;
  switch (field->kind) {
  case APQ__FIELD_TEXT:
    put_text(record, member, strnlen(member, field->size - 1));
    return;
  case APQ__FIELD_PROBLEM:
    put_problem(record, (const apq__problem *)(const void *)member);
    return;
  case APQ__FIELD_CONFIG:
    apq__config_key((const apq__config *)(const void *)member, key);
    put_text(record, key, strlen(key));
    return;
  case APQ__FIELD_INT:
  case APQ__FIELD_UINT:
  case APQ__FIELD_INT64:
  case APQ__FIELD_REAL:
    memcpy(&bits, member, field->size);
    put_integer(record, bits, (int)field->size);
    return;
  }
}

void apq__record_pack(const apq__field *fields, int count, const void *row, apq__record *out) {
  out->size = 0;
  for (int i = 0; i < count; i++) put_field(&fields[i], row, out);
}

typedef struct reader {
  const unsigned char *at, *end;
} reader;

static int get_integer(reader *in, int bytes, uint64_t *value) {
  *value = 0;
  if (in->end - in->at < bytes) return 0;
  for (int i = 0; i < bytes; i++) *value |= (uint64_t)in->at[i] << (8 * i);
  in->at += bytes;
  return 1;
}

/* The text stays where it is. */
static int get_text(reader *in, const char **text, size_t *length) {
  uint64_t value = 0;
  if (!get_integer(in, 2, &value) || (uint64_t)(in->end - in->at) < value) return 0;
  *text = (const char *)in->at;
  *length = (size_t)value;
  in->at += value;
  return 1;
}

static int get_problem(reader *in, apq__problem *out) {
  uint64_t values[6];
  for (int i = 0; i < COUNT(values); i++)
    if (!get_integer(in, 4, &values[i]) || values[i] > INT_MAX) return 0;
  *out = (apq__problem){(int)values[0],
                        (int)values[1],
                        (int)values[2],
                        (int)values[3],
                        (int)values[4],
                        (apq_dtype)(values[5] % GROUP_UNIT),
                        (int)(values[5] % INPUT_UNIT / GROUP_UNIT),
                        (apq__input)(values[5] / INPUT_UNIT)};
  return apq__problem_check(out, NULL) == APQ_OK;
}

static int get_field(const apq__field *field, reader *in, void *row) {
  char *member = (char *)row + field->offset;
  const char *text = NULL;
  size_t length = 0;
  uint64_t bits = 0;
  switch (field->kind) {
  case APQ__FIELD_TEXT:
    if (!get_text(in, &text, &length) || length >= field->size) return 0;
    memcpy(member, text, length);
    member[length] = 0;
    return 1;
  case APQ__FIELD_PROBLEM:
    return get_problem(in, (apq__problem *)(void *)member);
  case APQ__FIELD_CONFIG:
    return get_text(in, &text, &length) &&
           apq__canonical_config(text, length, (apq__config *)(void *)member);
  default:
    if (!get_integer(in, (int)field->size, &bits)) return 0;
    memcpy(member, &bits, field->size);
    return 1;
  }
}

int apq__record_unpack(const apq__field *fields, int count, const void *data, size_t size,
                       void *row) {
  reader in = {data, (const unsigned char *)data + size};
  for (int i = 0; i < count; i++)
    if (!get_field(&fields[i], &in, row)) return 0;
  return in.at == in.end;
}

/* ---- checksums ---- */

/* Word by word, because SHA-256 of every winner would take longer than reading them.  Each step is
 * a bijection of the state. */
static uint64_t mix(const unsigned char *data, size_t size) {
  uint64_t hash = size, word;
  for (; size >= 8; size -= 8, data += 8) {
    memcpy(&word, data, 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  for (; size; size--, data++) hash = (hash ^ *data) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

void apq__record_seal(apq__record *record) {
  put_integer(record, mix(record->data, record->size), 8);
}

int apq__record_open(const void *data, size_t *size) {
  if (*size < 8) return 0;
  reader in = {(const unsigned char *)data + *size - 8, (const unsigned char *)data + *size};
  uint64_t sealed = 0;
  *size -= 8;
  return get_integer(&in, 8, &sealed) && sealed == mix(data, *size);
}

static unsigned nibble(char digit) {
  return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void apq__record_digest(const apq__record *record, const char *log,
                        unsigned char digest[APQ__DIGEST_SIZE]) {
  char hex[65];
  const apq__piece pieces[] = {{record->data, record->size}, {log, log ? strlen(log) : 0}};
  apq__sha256(pieces, log ? 2 : 1, hex);
  for (int i = 0; i < APQ__DIGEST_SIZE; i++)
    digest[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
}
