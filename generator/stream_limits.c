#include "decode_impl.h"
#include "family_impl.h"

apq_status apq__stream_limits(const apq__config *config, const apq__problem *problem,
                              const apq__target *target, apq__shape *shape, apq_error *error) {
  enum { THREADS = 256, BLOCKS_AN_SM = 4 }; /* as templates/stream.cu is built */
  int is_pdl = apq__config_int(config, "pdl", 0);
  const apq__refusal rows[] = {
      {is_pdl && target->cc < 90, "no dependent launches before sm_90"},
  };
  apq_status status = apq__first_refusal(rows, 1, error);
  if (status) return status;
  *shape = (apq__shape){.threads = THREADS, .registers = 48, .dependent = is_pdl};
  if (problem) {
    shape->grid[0] = (unsigned)(BLOCKS_AN_SM * target->sm_count);
    shape->grid[1] = shape->grid[2] = 1;
  }
  return APQ_OK;
}

double apq__stream_cost(const apq__config *config, const apq__problem *problem,
                        const apq__target *target, const apq__shape *shape) {
  (void)shape;
  double bytes = (double)apq__config_int(config, "p", 1) * problem->n * problem->k / 8;
  return 1.4e-6 + bytes / target->dram_bytes_per_s;
}
