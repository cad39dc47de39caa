#include <string.h>

#include "cli.h"
#include "status.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
static const apq__bits default_bits[] = {{2, 2}, {4, 4}, {4, 8}};
static const apq__mnk default_shapes[] = {{0, 4096, 4096}};
static const int default_tokens[] = {1, 16, 256, 4096};
static const apq_dtype default_outputs[] = {APQ_DTYPE_F16};
static const apq__input default_inputs[] = {APQ__INPUT_PACKED};

apq_status apq__problem_list_add(apq__problem_list *list, const apq__problem *problem,
                                 apq_error *error) {
  for (int i = 0; i < list->count; i++)
    if (apq__problem_is_same(&list->item[i], problem)) return APQ_OK;
  if (list->count == list->capacity) {
    int capacity = list->capacity ? list->capacity * 2 : 32;
    apq__problem *item = apq__realloc(list->item, (size_t)capacity * sizeof *item);
    if (!item)
      return apq__fail(error, APQ_OUT_OF_MEMORY, "problem", "out of memory for the problems");
    list->item = item;
    list->capacity = capacity;
  }
  list->item[list->count++] = *problem;
  return APQ_OK;
}

int apq__cli_has_selection(const apq__cli *cli) {
  const apq__cli_options *o = cli->options;
  return o->bits_count || o->shape_count || o->tokens_count || o->out_count || o->input_count ||
         o->group || o->model;
}

static apq_status load_layers(const apq__cli_options *options, apq__layer_shape **out, int *count,
                              apq_error *error) {
  *out = NULL;
  *count = 0;
  if (!options->model) return APQ_OK;
  apq_status status = apq__model_shapes(options->model, out, count, error);
  if (status) apq__error_prefix(error, "--model");
  return status;
}

/* Adds a problem with every input. */
static apq_status add_inputs(const apq__cli_options *options, apq__problem problem,
                             apq__problem_list *out, apq_error *error) {
  const apq__input *input = options->input_count ? options->input : default_inputs;
  const int count = options->input_count ? options->input_count : COUNT(default_inputs);
  apq_status status = APQ_OK;
  for (int i = 0; i < count && !status; i++) {
    problem.in = input[i];
    status = apq__problem_list_add(out, &problem, error);
  }
  return status;
}

/* Adds every combination of bits and outputs for one shape; a shape without m takes every number of
 * tokens. */
static apq_status add_shape(const apq__cli_options *options, apq__mnk shape, apq__problem_list *out,
                            apq_error *error) {
  int has_bits = options->bits_count > 0, has_outputs = options->out_count > 0;
  const apq__bits *bits = has_bits ? options->bits : default_bits;
  const apq_dtype *type = has_outputs ? options->out : default_outputs;
  const int *tokens = options->tokens_count ? options->tokens : default_tokens;
  int bits_count = has_bits ? options->bits_count : COUNT(default_bits);
  int out_count = has_outputs ? options->out_count : COUNT(default_outputs);
  int m_count = options->tokens_count ? options->tokens_count : COUNT(default_tokens);
  if (shape.m) {
    tokens = &shape.m;
    m_count = 1;
  }
  for (int b = 0; b < bits_count; b++)
    for (int t = 0; t < out_count; t++)
      for (int i = 0; i < m_count; i++) {
        const apq__problem problem = {.p = bits[b].p,
                                      .q = bits[b].q,
                                      .m = tokens[i],
                                      .n = shape.n,
                                      .k = shape.k,
                                      .out = type[t],
                                      .group = options->group};
        apq_status status = add_inputs(options, problem, out, error);
        if (status) return status;
      }
  return APQ_OK;
}

static apq_status take_space_problems(apq__space *space, apq__problem_list *out, apq_error *error) {
  if (!space) return APQ_OK;
  apq_status status = apq__space_problems(space, &out->item, &out->count, error);
  out->capacity = out->count;
  return status;
}

apq_status apq__cli_problems(const apq__cli *cli, apq__space *space, apq__problem_list *out,
                             apq_error *error) {
  const apq__cli_options *options = cli->options;
  apq__layer_shape *layer = NULL;
  int layer_count = 0;
  *out = (apq__problem_list){0};
  if (!apq__cli_has_selection(cli)) {
    apq_status status = take_space_problems(space, out, error);
    if (status || out->count) return status;
  }
  apq_status status = load_layers(options, &layer, &layer_count, error);
  for (int i = 0; i < options->shape_count && !status; i++)
    status = add_shape(options, options->shape[i], out, error);
  for (int i = 0; i < layer_count && !status; i++)
    status = add_shape(options, (apq__mnk){0, layer[i].n, layer[i].k}, out, error);
  if (!options->shape_count && !layer_count && !status)
    status = add_shape(options, default_shapes[0], out, error);
  apq__free(layer);
  if (status) {
    apq__free(out->item);
    *out = (apq__problem_list){0};
  }
  return status;
}

/* ---- the same options as a filter ---- */

apq_status apq__cli_selection(const apq__cli *cli, apq__selection *out, apq_error *error) {
  *out = (apq__selection){.options = cli->options};
  return load_layers(cli->options, &out->layer, &out->layer_count, error);
}

static int passes_bits(const apq__cli_options *o, const apq__problem *problem) {
  for (int i = 0; i < o->bits_count; i++)
    if (o->bits[i].p == problem->p && o->bits[i].q == problem->q) return 1;
  return o->bits_count == 0;
}

static int has_output(const apq__cli_options *o, const apq__problem *problem) {
  for (int i = 0; i < o->out_count; i++)
    if (o->out[i] == problem->out) return 1;
  return o->out_count == 0;
}

static int has_input(const apq__cli_options *o, const apq__problem *problem) {
  for (int i = 0; i < o->input_count; i++)
    if (o->input[i] == problem->in) return 1;
  return o->input_count == 0;
}

static int has_tokens(const apq__cli_options *o, int m) {
  for (int i = 0; i < o->tokens_count; i++)
    if (o->tokens[i] == m) return 1;
  return o->tokens_count == 0;
}

static int has_shape(const apq__selection *selection, const apq__problem *problem) {
  const apq__cli_options *o = selection->options;
  for (int i = 0; i < o->shape_count; i++) {
    const apq__mnk *shape = &o->shape[i];
    int has_m = shape->m ? shape->m == problem->m : has_tokens(o, problem->m);
    if (has_m && shape->n == problem->n && shape->k == problem->k) return 1;
  }
  for (int i = 0; i < selection->layer_count; i++)
    if (selection->layer[i].n == problem->n && selection->layer[i].k == problem->k &&
        has_tokens(o, problem->m))
      return 1;
  return o->shape_count == 0 && selection->layer_count == 0 && has_tokens(o, problem->m);
}

int apq__selection_has(const apq__selection *selection, const apq__problem *problem) {
  const apq__cli_options *o = selection->options;
  if (o->is_group_given && o->group != problem->group) return 0;
  return passes_bits(o, problem) && has_output(o, problem) && has_input(o, problem) &&
         has_shape(selection, problem);
}

void apq__selection_free(apq__selection *selection) {
  apq__free(selection->layer);
  selection->layer = NULL;
}
