#include "cli.h"

#include <stdio.h>

#include "doctor.h"
#include "generator.h"
#include "host.h"
#include "verify.h"

static void add_finding(apq__json *json, const apq__finding *finding) {
  apq__json_begin_object(json, NULL);
  apq__json_string(json, "what", finding->name);
  apq__json_string(json, "health", apq__health_name(finding->health));
  apq__json_string(json, "found", finding->found);
  apq__json_string(json, "follows", finding->follows);
  apq__json_end_object(json);
}

static void add_environment(apq__json *json) {
  apq__json_begin_object(json, "environment");
  for (int i = 0; i < APQ__VAR_COUNT; i++)
    apq__json_string(json, apq__variable_name((apq__variable)i),
                     apq__variable_get((apq__variable)i));
  apq__json_end_object(json);
}

static void print_environment(void) {
  for (int i = 0; i < APQ__VAR_COUNT; i++) {
    const char *value = apq__variable_get((apq__variable)i);
    if (value) printf("%-8s %-16s %s\n", "set", apq__variable_name((apq__variable)i), value);
  }
}

/* The whole path once on the device that would be used: source, compiler, device, reference. `text`
 * says how it went. */
static apq_status try_kernel(const apq__cli *cli, char text[600], apq_error *error) {
  static const apq__problem problem = {2, 2, 16, 64, 512, APQ_DTYPE_I32, 0, 0};
  apq__device *device = NULL;
  apq__config config;
  apq__verify_report report = {0};
  char *folder = apq__cache_dir();
  apq_status status = apq__device_open(cli->options->device, &device, error);
  if (!status) status = apq__default_config(&problem, &device->target, &config, error);
  if (!status) status = apq__verify_config(device, &config, &problem, folder, 1, &report, error);
  if (!status)
    snprintf(text, 600, "%s: %d products of W2A2 equal the reference", device->target.name,
             report.products);
  else
    snprintf(text, 600, "%s", error->message);
  apq__device_close(device);
  apq__free(folder);
  return status;
}

static void print_all(const apq__diagnosis *diagnosis, apq_status status, const char *kernel) {
  apq__text text = {0};
  printf("%-8s %-16s apq-tune %s\n", "ok", "version", apq_version());
  print_environment();
  printf("%-8s %-16s %s\n", status ? "broken" : "ok", "kernel", kernel);
  apq__diagnosis_write(diagnosis, &text);
  if (!text.failed) fputs(text.data, stdout);
  apq__text_free(&text);
}

static int add_all(const apq__diagnosis *diagnosis, apq_status status, const char *kernel,
                   int exit_status) {
  apq__json json = {0};
  apq__json_begin_object(&json, NULL);
  apq__json_string(&json, "command", "doctor");
  apq__json_string(&json, "version", apq_version());
  add_environment(&json);
  apq__json_begin_array(&json, "findings");
  for (int i = 0; i < diagnosis->count; i++) add_finding(&json, &diagnosis->finding[i]);
  apq__json_end_array(&json);
  apq__json_begin_object(&json, "kernel");
  apq__json_string(&json, "status", apq_status_name(status));
  apq__json_string(&json, "detail", kernel);
  apq__json_end_object(&json);
  apq__json_string(&json, "verdict", diagnosis->verdict);
  apq__json_end_object(&json);
  return apq__cli_print_json(&json, exit_status);
}

int apq__cli_doctor(const apq__cli *cli) {
  apq_error error = APQ_ERROR_INIT;
  apq__diagnosis diagnosis;
  char kernel[600];
  const char *database = cli->options->db ? cli->options->db : apq__variable_get(APQ__VAR_DB);
  if (apq__diagnose(database, NULL, &diagnosis, &error)) return apq__cli_fail(&error);
  apq_status status = try_kernel(cli, kernel, &error);
  int exit_status = status ? APQ__EXIT_FAILURE : APQ__EXIT_OK;
  if (cli->options->is_json)
    exit_status = add_all(&diagnosis, status, kernel, exit_status);
  else
    print_all(&diagnosis, status, kernel);
  apq__diagnosis_free(&diagnosis);
  apq_error_clear(&error);
  return exit_status;
}
