#include "cli_options.h"

#include <getopt.h>
#include <string.h>

#include "host.h"
#include "status.h"

typedef apq_status option_reader(apq__cli_options *options, const char *option, const char *value,
                                 apq_error *error);

enum { ALL_VERBS = (1 << APQ__VERB_COUNT) - 1 };
#define VERB(name) (1 << APQ__VERB_##name)
/* Verbs that work on a selection of problems. */
enum {
  PROBLEM_VERBS = VERB(tune) | VERB(list) | VERB(show) | VERB(space) | VERB(explain) |
                  VERB(verify) | VERB(bench) | VERB(report),
  DEVICE_VERBS = PROBLEM_VERBS | VERB(doctor),
};

static apq_status read_bits(apq__cli_options *o, const char *option, const char *value,
                            apq_error *error) {
  return apq__parse_bits(option, value, o->bits, &o->bits_count, error);
}

static apq_status read_shape(apq__cli_options *o, const char *option, const char *value,
                             apq_error *error) {
  return apq__parse_shapes(option, value, o->shape, &o->shape_count, error);
}

static apq_status read_tokens(apq__cli_options *o, const char *option, const char *value,
                              apq_error *error) {
  return apq__parse_tokens(option, value, o->tokens, &o->tokens_count, error);
}

static apq_status read_out(apq__cli_options *o, const char *option, const char *value,
                           apq_error *error) {
  return apq__parse_outputs(option, value, o->out, &o->out_count, error);
}

static apq_status read_input(apq__cli_options *o, const char *option, const char *value,
                             apq_error *error) {
  return apq__parse_inputs(option, value, o->input, &o->input_count, error);
}

static apq_status read_group(apq__cli_options *o, const char *option, const char *value,
                             apq_error *error) {
  apq_status status = apq__parse_count(option, value, 0, 256, &o->group, error);
  if (status) return status;
  o->is_group_given = 1;
  if (o->group == 0 || o->group == 32 || o->group == 64 || o->group == 128 || o->group == 256)
    return APQ_OK;
  return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "%s: '%s': must be 0, 32, 64, 128 or 256",
                   option, value);
}

static apq_status read_budget(apq__cli_options *o, const char *option, const char *value,
                              apq_error *error) {
  return apq__parse_duration(option, value, &o->budget, error);
}

static apq_status read_jobs(apq__cli_options *o, const char *option, const char *value,
                            apq_error *error) {
  return apq__parse_count(option, value, 1, 1024, &o->jobs, error);
}

static apq_status read_top(apq__cli_options *o, const char *option, const char *value,
                           apq_error *error) {
  return apq__parse_count(option, value, 1, 1000000, &o->top, error);
}

static apq_status read_rounds(apq__cli_options *o, const char *option, const char *value,
                              apq_error *error) {
  return apq__parse_count(option, value, 1, 10000, &o->rounds, error);
}

static apq_status read_seed(apq__cli_options *o, const char *option, const char *value,
                            apq_error *error) {
  return apq__parse_seed(option, value, &o->seed, error);
}

static apq_status read_objective(apq__cli_options *o, const char *option, const char *value,
                                 apq_error *error) {
  if (strcmp(value, "burst") != 0 && strcmp(value, "sustained") != 0)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "%s: '%s': must be burst or sustained",
                     option, value);
  o->objective = value;
  return APQ_OK;
}

static apq_status take_text(const char **field, const char *option, const char *value,
                            apq_error *error) {
  if (!*value)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "%s: the value is empty", option);
  *field = value;
  return APQ_OK;
}

#define TEXT_READER(name)                                                                          \
  static apq_status read_##name(apq__cli_options *o, const char *option, const char *value,        \
                                apq_error *error) {                                                \
    return take_text(&o->name, option, value, error);                                              \
  }
TEXT_READER(space)
TEXT_READER(device)
TEXT_READER(db)
TEXT_READER(model)

#define FLAG_READER(name)                                                                          \
  static apq_status read_##name(apq__cli_options *o, const char *option, const char *value,        \
                                apq_error *error) {                                                \
    (void)option, (void)value, (void)error;                                                        \
    o->name = 1;                                                                                   \
    return APQ_OK;                                                                                 \
  }
FLAG_READER(is_json)
FLAG_READER(is_quiet)
FLAG_READER(is_source)
FLAG_READER(is_retune)
FLAG_READER(with_artifacts)
FLAG_READER(no_compare)
FLAG_READER(is_help)
FLAG_READER(is_version)

static const struct cli_option {
  const char *name;
  const char *value; /* NULL: a flag */
  int verbs;
  option_reader *read;
  const char *help;
} table[] = {
    {"space", "NAME|FILE", VERB(tune) | VERB(space), read_space,
     "search space: a built-in one or a .lua file"},
    {"bits", "LIST", PROBLEM_VERBS, read_bits, "weight and activation bits: W2A2,W4A*,all"},
    {"shape", "LIST", PROBLEM_VERBS, read_shape, "MxNxK, or NxK with --m: 16x4096x4096,11008x4096"},
    {"m", "LIST", PROBLEM_VERBS, read_tokens, "numbers of tokens for NxK shapes: 1,16,256"},
    {"model", "NAME", PROBLEM_VERBS, read_model, "the layer shapes of a model: llama-2-7b"},
    {"out", "LIST", PROBLEM_VERBS, read_out, "result types: i32, f16, bf16, f32"},
    {"input", "LIST", PROBLEM_VERBS, read_input, "activations: packed, f16, bf16, f32"},
    {"group", "N", PROBLEM_VERBS, read_group, "scales for each N of k: 32, 64, 128, 256; 0: none"},
    {"budget", "TIME", VERB(tune), read_budget, "stop after this time: 90s, 10m, 1h30m"},
    {"jobs", "N", VERB(tune), read_jobs, "parallel compiles"},
    {"top", "N", VERB(tune) | VERB(show) | VERB(space), read_top,
     "candidates tried a problem; lines shown"},
    {"rounds", "N", VERB(tune) | VERB(bench), read_rounds, "samples of each kernel"},
    {"retune", NULL, VERB(tune), read_is_retune, "also what is tuned already or failed before"},
    {"no-compare", NULL, VERB(tune), read_no_compare, "do not time cuBLASLt beside the winners"},
    {"objective", "NAME", VERB(tune) | VERB(bench), read_objective, "burst or sustained"},
    {"seed", "N", VERB(tune) | VERB(verify) | VERB(bench), read_seed, "of data and order"},
    {"source", NULL, VERB(show), read_is_source, "print the generated kernel"},
    {"artifacts", NULL, VERB(export), read_with_artifacts, "with the compiled kernels"},
    {"device", "NAME", DEVICE_VERBS, read_device, "cuda, cuda:1, emu, emu:sm_80"},
    {"db", "FILE", ALL_VERBS, read_db, "database instead of the user's"},
    {"json", NULL, ALL_VERBS & ~VERB(import) & ~VERB(export), read_is_json,
     "results as JSON on standard output"},
    {"quiet", NULL, ALL_VERBS, read_is_quiet, "no progress, no notes"},
    {"help", NULL, ALL_VERBS, read_is_help, "this text"},
    {"version", NULL, ALL_VERBS, read_is_version, "the version"},
};
enum { OPTIONS = sizeof table / sizeof table[0] };

static const struct {
  const char *name, *arguments, *summary;
} verbs[] = {
#define VERB_ROW(name, arguments, summary) {#name, arguments, summary},
    APQ__VERB_MAP(VERB_ROW)
#undef VERB_ROW
};

const char *apq__verb_name(apq__verb verb) {
  return verbs[verb].name;
}

static apq_status take_verb(const char *word, apq__cli_options *out, apq_error *error) {
  for (int i = 0; i < APQ__VERB_COUNT; i++)
    if (strcmp(verbs[i].name, word) == 0) {
      out->verb = (apq__verb)i;
      out->is_verb_given = 1;
      return APQ_OK;
    }
  return apq__fail(error, APQ_INVALID_ARGUMENT, "option",
                   "unknown verb '%s' (apq-tune --help lists them)", word);
}

/* getopt gives the option's letter only for short ones; the whole word stands in argv. */
static apq_status fail_unknown(char **argv, apq_error *error) {
  char letter[3] = {'-', (char)optopt, 0};
  const char *word = optopt && optopt < 256 ? letter : argv[optind - 1];
  size_t length = strcspn(word, "=");
  return apq__fail(error, APQ_INVALID_ARGUMENT, "option",
                   "unknown or ambiguous option '%.*s' (apq-tune --help lists them)", (int)length,
                   word);
}

apq_status apq__cli_parse(int argc, char **argv, apq__cli_options *out, apq_error *error) {
  enum { FIRST = 256 }; /* long options count from here: no letter */
  struct option longs[OPTIONS + 1] = {0};
  int given = 0;
  for (int i = 0; i < OPTIONS; i++)
    longs[i] = (struct option){table[i].name, table[i].value ? required_argument : no_argument,
                               NULL, FIRST + i};
  *out = (apq__cli_options){0};
  opterr = 0;
  optind = 0; /* start over, and let options stand anywhere */
  for (int found; (found = getopt_long(argc, argv, ":hqj:", longs, NULL)) != -1;) {
    int i = 0;
    char name[24];
    const char *same = found == 'h'   ? "help"
                       : found == 'q' ? "quiet"
                       : found == 'j' ? "jobs"
                                      : NULL;
    if (found == '?') return fail_unknown(argv, error);
    if (found == ':')
      return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "option '%s' needs a value",
                       argv[optind - 1]);
    if (same)
      while (strcmp(table[i].name, same) != 0) i++;
    else
      i = found - FIRST;
    given |= 1 << i;
    snprintf(name, sizeof name, "--%s", table[i].name);
    apq_status status = table[i].read(out, name, optarg, error);
    if (status) return status;
  }
  if (optind < argc) {
    apq_status status = take_verb(argv[optind++], out, error);
    if (status) return status;
  }
  out->argument = argv + optind;
  out->argument_count = argc - optind;
  if (out->is_help || out->is_version) return APQ_OK;
  for (int i = 0; i < OPTIONS; i++)
    if ((given >> i & 1) && !(table[i].verbs >> out->verb & 1))
      return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "option '--%s' is not for '%s'",
                       table[i].name, verbs[out->verb].name);
  int most = verbs[out->verb].arguments[0] != 0;
  if (out->argument_count > most)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "option", "'%s': unexpected argument '%s'",
                     verbs[out->verb].name, out->argument[most]);
  return APQ_OK;
}

static void print_options(FILE *stream, int verbs_wanted) {
  for (int i = 0; i < OPTIONS; i++) {
    if (!(table[i].verbs & verbs_wanted)) continue;
    char left[32];
    snprintf(left, sizeof left, "--%s%s%s", table[i].name, table[i].value ? " " : "",
             table[i].value ? table[i].value : "");
    fprintf(stream, "  %-20s %s\n", left, table[i].help);
  }
}

static void print_environment(FILE *stream) {
  fputs("\nEnvironment:\n", stream);
  for (int i = 0; i < APQ__VAR_COUNT; i++)
    fprintf(stream, "  %-20s %s\n", apq__variable_name((apq__variable)i),
            apq__variable_doc((apq__variable)i));
}

void apq__cli_help(const apq__cli_options *options, FILE *stream) {
  if (options->is_verb_given) {
    apq__verb verb = options->verb;
    fprintf(stream, "Usage: apq-tune %s [OPTIONS]%s%s\n%s\n\nOptions:\n", verbs[verb].name,
            verbs[verb].arguments[0] ? " " : "", verbs[verb].arguments, verbs[verb].summary);
    print_options(stream, 1 << verb);
    return;
  }
  fputs("Usage: apq-tune [VERB] [OPTIONS] [ARGUMENT]\n"
        "Finds the fastest kernels for products of 1- to 8-bit weights and activations.\n"
        "Without a verb it tunes: on the GPU, or without one on an emulated device.\n\nVerbs:\n",
        stream);
  for (int i = 0; i < APQ__VERB_COUNT; i++)
    fprintf(stream, "  %-8s %-17s %s\n", verbs[i].name, verbs[i].arguments, verbs[i].summary);
  fputs("\nOptions (apq-tune VERB --help lists those of a verb):\n", stream);
  print_options(stream, ALL_VERBS);
  fputs(
      "\nA PROBLEM is k=4096,m=1,n=4096,out=f16,p=2,q=8; a CONFIG family=bmma,p=2,q=2,tile_m=64.\n"
      "\nExit status:\n"
      "  0    done\n"
      "  1    failed\n"
      "  2    the command line is wrong\n"
      "  3    nothing to do, or done in part: problems failed, or were left for lack of time\n"
      "  130  interrupted; what was finished is kept\n",
      stream);
  print_environment(stream);
}
