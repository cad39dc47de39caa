#include "cli_compare.h"

#include "bench.h"
#include "host.h"

enum { COMPARED = 3 };

static void compare_group(const apq__bench_group *group, apq__comparison *out) {
  const apq__bench_entry *entry = group->entry;
  if (entry[0].status || entry[0].samples == 0) return;
  out->winner = entry[0].p50;
  if (!entry[1].status && entry[1].samples) out->fp16 = entry[1].p50;
  if (!entry[2].status && entry[2].samples) out->int8 = entry[2].p50;
}

static void note_missing(const apq__cli *cli, const apq__bench_group *groups, int count) {
  for (int i = 0; i < count; i++)
    for (int e = 1; e < COMPARED; e++)
      if (groups[i].entry[e].status) {
        apq__cli_note(cli, "no %s beside the winners: %s",
                      apq__bench_kind_name(groups[i].entry[e].kind), groups[i].entry[e].message);
        return;
      }
}

void apq__cli_compare(const apq__cli *cli, const apq__tune_summary *summary, const char *objective,
                      apq__comparison *out) {
  static const apq__bench_kind kinds[COMPARED] = {APQ__BENCH_KERNEL, APQ__BENCH_FP16,
                                                  APQ__BENCH_INT8};
  apq_error error = APQ_ERROR_INIT;
  apq__device *device = NULL;
  char *cache_dir = apq__cache_dir();
  size_t most = (size_t)summary->count;
  apq__bench_group *groups = apq__calloc(most, sizeof *groups);
  apq__bench_entry *entries = apq__calloc(most * COMPARED, sizeof *entries);
  int *owner = apq__calloc(most, sizeof *owner);
  int count = 0;
  if (!groups || !entries || !owner) goto cleanup;
  for (int i = 0; i < summary->count; i++) {
    if (!summary->result[i].has_winner) continue;
    apq__bench_entry *entry = entries + COMPARED * count;
    for (int e = 0; e < COMPARED; e++) entry[e].kind = kinds[e];
    entry[0].config = summary->result[i].winner;
    groups[count] = (apq__bench_group){summary->result[i].problem, entry, COMPARED};
    owner[count++] = i;
  }
  apq_status status = apq__device_open(cli->options->device, &device, &error);
  if (!status) {
    apq__bench_options options = {.device = device,
                                  .db_path = summary->db_path,
                                  .cache_dir = cache_dir,
                                  .objective = objective,
                                  .seed = cli->options->seed,
                                  .stop = cli->stop};
    apq__cli_note(cli, "timing the winners beside cuBLASLt");
    status = apq__bench(&options, groups, count, &error);
  }
  if (status)
    apq__cli_note(cli, "no comparison with cuBLASLt: %s", error.message);
  else
    note_missing(cli, groups, count);
  for (int i = 0; i < count; i++) compare_group(&groups[i], &out[owner[i]]);

cleanup:
  apq_error_clear(&error);
  apq__device_close(device);
  apq__free(owner);
  apq__free(entries);
  apq__free(groups);
  apq__free(cache_dir);
}
