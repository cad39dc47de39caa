#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "host.h"
#include "status.h"

int apq__cli_export(const apq__cli *cli) {
  const apq__cli_options *options = cli->options;
  const char *path = options->argument_count ? options->argument[0] : "-";
  apq_error error = APQ_ERROR_INIT;
  apq__db *db = NULL;
  char *text = NULL;
  apq_status status = apq__cli_db_open(cli, APQ__DB_READ, &db, &error);
  if (!status) status = apq__db_export(db, options->with_artifacts, &text, &error);
  if (!status && strcmp(path, "-") == 0)
    fputs(text, stdout);
  else if (!status)
    status = apq__write_file(path, text, strlen(text), &error);
  apq__free(text);
  apq__db_close(db);
  return status ? apq__cli_fail(&error) : APQ__EXIT_OK;
}

static apq_status read_stdin(char **out, apq_error *error) {
  apq__text text = {0};
  char block[4096];
  size_t size;
  while ((size = fread(block, 1, sizeof block, stdin)) > 0) {
    /* A zero byte would end the text early: let the parser see the line as damaged instead. */
    for (size_t i = 0; i < size; i++)
      if (!block[i]) block[i] = '?';
    apq__text_add_bytes(&text, block, size);
  }
  apq__text_add(&text, "%s", "");
  if (ferror(stdin) || text.failed) {
    apq__text_free(&text);
    return apq__fail(error, APQ_IO, "import", "standard input: %s", strerror(errno));
  }
  *out = text.data;
  return APQ_OK;
}

int apq__cli_import(const apq__cli *cli) {
  const apq__cli_options *options = cli->options;
  apq_error error = APQ_ERROR_INIT;
  if (options->argument_count == 0) {
    apq__fail(&error, APQ_INVALID_ARGUMENT, "option", "'import' needs a file, or '-'");
    apq__cli_fail(&error);
    return APQ__EXIT_USAGE;
  }
  const char *path = options->argument[0];
  int is_stdin = strcmp(path, "-") == 0;
  apq__db *db = NULL;
  char *text = NULL;
  size_t size = 0;
  apq__db_counts before, after;
  apq_status status =
      is_stdin ? read_stdin(&text, &error) : apq__read_file(path, &text, &size, &error);
  if (!status) status = apq__cli_db_open(cli, APQ__DB_WRITE, &db, &error);
  if (!status) status = apq__db_count(db, &before, &error);
  if (!status) status = apq__db_import(db, text, is_stdin ? "standard input" : path, &error);
  if (!status) status = apq__db_count(db, &after, &error);
  if (!status)
    apq__cli_note(cli, "%s: %lld new measurements, %lld new winners", apq__db_path(db),
                  (long long)(after.measurements - before.measurements),
                  (long long)(after.winners - before.winners));
  apq__free(text);
  apq__db_close(db);
  return status ? apq__cli_fail(&error) : APQ__EXIT_OK;
}
