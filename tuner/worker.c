#include "worker.h"

#include "alloc.h"
#include "measure.h"
#include "packers.h"
#include "problem_data.h"
#include "spot_check.h"
#include "status.h"
#include "verify.h"
#include "worker_protocol.h"

/* One candidate on the device, by the id the coordinator gave it. */
typedef struct slot {
  const apq__rotation *rotation;
  apq__test_kernel kernel;
  apq__prepared prepared;
  apq__timing timing;
} slot;

enum { SLOTS_MAX = 4096 };

typedef struct server {
  const apq__worker_hooks *hooks;
  apq__device *device; /* NULL until OPEN */
  uint64_t seed;
  apq__problem problem;
  /* On a GPU, what the candidates of the problem run on. */
  apq__spot_check check;
  apq__device_data data;
  apq__rotation rotation;
  apq__pace pace;
  slot *slots[SLOTS_MAX];
} server;

/* ---- slots ---- */

static void slot_free(server *s, int id) {
  slot *old = s->slots[id];
  if (!old) return;
  apq__timing_free(&s->pace, &old->timing);
  apq__test_kernel_unload(&old->kernel);
  apq__free(old);
  s->slots[id] = NULL;
}

static void forget_problem(server *s) {
  for (int id = 0; id < SLOTS_MAX; id++) slot_free(s, id);
  apq__pace_close(&s->pace);
  apq__rotation_free(&s->rotation);
  apq__device_data_free(&s->data);
  apq__spot_check_free(&s->check);
}

static apq_status find_slot(server *s, apq__message *message, slot **out, int *id,
                            apq_error *error) {
  *id = apq__get_i32(message);
  if (message->bad || *id < 0 || *id >= SLOTS_MAX || !s->slots[*id])
    return apq__fail(error, APQ_INTERNAL, "worker", "no candidate %d is loaded", *id);
  *out = s->slots[*id];
  return APQ_OK;
}

/* The candidate ready for the problem.  The workspace moves when another candidate needs a larger
 * one: what was recorded with the old one is dropped then. */
static apq_status prepare_slot(server *s, slot *candidate, apq_error *error) {
  const apq__prepared *old = &candidate->prepared;
  int is_current = !old->args.partial || old->args.partial == s->data.workspace;
  if (old->shape.keeps_tickets) is_current &= old->args.tickets == s->data.tickets;
  if (old->data && is_current) return APQ_OK;
  apq__timing_free(&s->pace, &candidate->timing);
  return apq__prepared_make(&candidate->kernel, &s->data, &candidate->prepared, error);
}

static apq_status launch_slot(void *user, int set, void *stream, apq_error *error) {
  slot *candidate = user;
  const apq__rotation *rotation = candidate->rotation;
  const void *a = apq__rotation_input(rotation, set, candidate->kernel.form);
  return apq__prepared_launch(&candidate->prepared, rotation->w[set], a, rotation->y[set], stream,
                              error);
}

/* ---- commands: read fields, act, append the answer's fields to `reply` ---- */

static apq_status do_open(server *s, apq__message *message, apq__bytes *reply, apq_error *error) {
  const char *name = apq__get_string(message);
  char compiler[64];
  if (message->bad || s->device)
    return apq__fail(error, APQ_INTERNAL, "worker", "malformed open command");
  apq_status status = s->hooks->open(*name ? name : NULL, &s->device, error);
  if (status == APQ_OK)
    status = s->hooks->compiler_version(&s->device->target, compiler, sizeof compiler, error);
  if (status != APQ_OK) return status;
  apq__put_bytes(reply, &s->device->target, sizeof s->device->target);
  apq__put_string(reply, compiler);
  return APQ_OK;
}

static apq_status do_compile(server *s, apq__message *message, apq__bytes *reply,
                             apq_error *error) {
  apq__target target;
  apq__get_struct(message, &target, sizeof target);
  const char *cache_dir = apq__get_string(message);
  const char *source = apq__get_string(message);
  if (message->bad) return apq__fail(error, APQ_INTERNAL, "worker", "malformed compile command");
  apq__object object = {0};
  apq_status status =
      s->hooks->compile(source, &target, *cache_dir ? cache_dir : NULL, &object, error);
  if (status == APQ_OK) {
    apq__put_bytes(reply, object.image, object.size);
    apq__put_string(reply, object.sha256);
  }
  apq__object_free(&object);
  return status;
}

static apq_status do_problem(server *s, apq__message *message, apq__bytes *reply,
                             apq_error *error) {
  (void)reply;
  const char *key = apq__get_string(message);
  s->seed = (uint64_t)apq__get_i64(message);
  const char *objective = apq__get_string(message);
  const char *cache_dir = apq__get_string(message);
  if (message->bad || !s->device)
    return apq__fail(error, APQ_INTERNAL, "worker", "malformed problem command");
  forget_problem(s);
  apq_status status = apq__problem_parse(key, &s->problem, error);
  /* The emulated device checks small shapes only and times nothing. */
  if (status != APQ_OK || s->device->target.emulated) return status;
  status = apq__spot_check_make(&s->problem, s->seed, &s->check, error);
  if (status == APQ_OK)
    status = apq__device_data_make(s->device, &s->check.host, APQ__ALL_FORMS, s->problem.n,
                                   &s->data, error);
  if (status == APQ_OK)
    status = apq__packers_make(s->hooks->generate, s->hooks->compile, *cache_dir ? cache_dir : NULL,
                               &s->data, error);
  if (status == APQ_OK) status = apq__rotation_make(&s->data, &s->rotation, error);
  if (status == APQ_OK) status = apq__pace_open(s->device, objective, &s->pace, error);
  return status;
}

static apq_status do_load(server *s, apq__message *message, apq__bytes *reply, apq_error *error) {
  (void)reply;
  apq__config config;
  size_t size;
  int id = apq__get_i32(message);
  const char *key = apq__get_string(message);
  const void *image = apq__get_bytes(message, &size);
  if (message->bad || id < 0 || id >= SLOTS_MAX || !s->device)
    return apq__fail(error, APQ_INTERNAL, "worker", "malformed load command");
  slot_free(s, id);
  apq_status status = apq__config_parse(key, &config, error);
  if (status != APQ_OK) return status;
  slot *candidate = apq__calloc(1, sizeof *candidate);
  if (!candidate) return apq__fail(error, APQ_OUT_OF_MEMORY, "load", "no memory for a candidate");
  status = apq__test_kernel_load(s->device, &config, image, size, &candidate->kernel, error);
  if (status != APQ_OK) {
    apq__free(candidate);
    return status;
  }
  candidate->rotation = &s->rotation;
  s->slots[id] = candidate;
  return APQ_OK;
}

static apq_status do_verify(server *s, apq__message *message, apq__bytes *reply, apq_error *error) {
  slot *candidate = NULL;
  int id, refuted = 0;
  apq__verify_report report = {0};
  apq_status status = find_slot(s, message, &candidate, &id, error);
  int skip_small = apq__get_i32(message);
  if (status == APQ_OK && !skip_small)
    status = apq__verify_kernel(&candidate->kernel, s->seed, &report, error);
  if (status == APQ_OK && candidate->kernel.is_product && !s->device->target.emulated) {
    status = prepare_slot(s, candidate, error);
    if (status == APQ_OK)
      status = apq__spot_check_run(&s->check, &candidate->prepared, &refuted, NULL, error);
  }
  if (status == APQ_OK) apq__put_i32(reply, refuted);
  return status;
}

static apq_status ready_timing(server *s, slot *candidate, apq_error *error) {
  apq_status status = prepare_slot(s, candidate, error);
  if (status != APQ_OK || candidate->timing.graph) return status;
  apq__subject subject = {launch_slot, candidate, s->rotation.count};
  return apq__timing_make(&s->pace, &subject, &candidate->timing, error);
}

static apq_status do_sample(server *s, apq__message *message, apq__bytes *reply, apq_error *error) {
  slot *candidate = NULL;
  int id;
  double seconds = 0;
  apq__clock_state clocks = {0};
  apq_status status = find_slot(s, message, &candidate, &id, error);
  if (status == APQ_OK) status = ready_timing(s, candidate, error);
  if (status == APQ_OK)
    status = apq__timing_sample(&s->pace, &candidate->timing, &seconds, &clocks, error);
  apq__put_f64(reply, seconds);
  apq__put_bytes(reply, &clocks, sizeof clocks);
  return status;
}

static apq_status do_unload(server *s, apq__message *message, apq__bytes *reply, apq_error *error) {
  (void)reply;
  slot *candidate = NULL;
  int id;
  apq_status status = find_slot(s, message, &candidate, &id, error);
  if (status == APQ_OK) slot_free(s, id);
  return status;
}

typedef apq_status (*command_fn)(server *, apq__message *, apq__bytes *, apq_error *);
static const command_fn commands[APQ__MSG_COUNT] = {
    [APQ__MSG_OPEN] = do_open,     [APQ__MSG_COMPILE] = do_compile, [APQ__MSG_PROBLEM] = do_problem,
    [APQ__MSG_LOAD] = do_load,     [APQ__MSG_VERIFY] = do_verify,   [APQ__MSG_SAMPLE] = do_sample,
    [APQ__MSG_UNLOAD] = do_unload,
};

/* ---- the loop ---- */

/* Does one command and answers it; not OK only when the connection is gone. */
static apq_status serve(server *s, apq__message *message) {
  apq__bytes fields = {0}, reply = {0};
  apq_error error = APQ_ERROR_INIT;
  apq_status status;
  if (commands[message->kind])
    status = commands[message->kind](s, message, &fields, &error);
  else
    status = apq__fail(&error, APQ_INTERNAL, "worker", "message %d is not a command",
                       (int)message->kind);
  if (status != APQ_OK && error.status == APQ_OK)
    apq__fail(&error, status, "worker", "%s", apq_status_text(status));
  apq__put_status(&reply, status, &error);
  if (status == APQ_OK && fields.length > 0) apq__bytes_add(&reply, fields.data, fields.length);
  if (fields.failed) reply.failed = 1;
  apq_status sent = apq__message_send(APQ__WORKER_FD, APQ__MSG_REPLY, &reply, 0, NULL);
  apq__bytes_free(&fields);
  apq__bytes_free(&reply);
  apq_error_clear(&error);
  return sent;
}

int apq__worker_serve(const apq__worker_hooks *hooks) {
  apq__bytes hello = {0};
  server *s = apq__calloc(1, sizeof *s);
  if (!s) return 1;
  s->hooks = hooks;
  apq__put_i32(&hello, APQ__PROTOCOL_VERSION);
  apq_status status = apq__message_send(APQ__WORKER_FD, APQ__MSG_HELLO, &hello, 0, NULL);
  apq__bytes_free(&hello);
  while (status == APQ_OK) {
    apq__message message;
    status = apq__message_receive(APQ__WORKER_FD, &message, NULL);
    if (status == APQ_OK) status = serve(s, &message);
    apq__message_free(&message);
  }
  forget_problem(s);
  apq__device_close(s->device);
  apq__free(s);
  return status == APQ_NOT_FOUND ? 0 : 1;
}

int apq__worker_main(void) {
  static const apq__worker_hooks hooks = {apq__device_open, apq__compile, apq__compiler_version,
                                          apq__generate};
  return apq__worker_serve(&hooks);
}
