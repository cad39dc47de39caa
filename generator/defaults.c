#include "generator.h"

#include "family_impl.h"
#include "status.h"

/* Tiles that between them suit one token and thousands, few planes and many, on every arch: what
 * dispatch falls back on when nothing was tuned.  The knobs that are not named are the template's
 * defaults. */
static const char *const product_configs[] = {
    "family=decode,tile_m=1,warps_k=8",
    "family=decode,tile_m=1,warps_k=4,min_blocks=4",
    "family=decode,tile_m=2,warps_k=8,schedule=horner",
    "family=decode,tile_m=4,warps_k=8,schedule=horner",
    "family=decode,core=u8,operand=shared,unpack=fill,tile_m=1,warps_k=8",
    "family=decode,core=u8,operand=shared,unpack=fill,tile_m=8,warps_k=8",
    "family=decode,core=u8,operand=shared,unpack=fill,tile_m=16,warps_k=8,warps_n=2",
    "family=decode,core=u8,operand=shared,unpack=fill,tile_m=32,warps_k=4,warps_n=2",
    "family=bmma,swap=1,schedule=horner,tile_m=8,tile_n=64,warps_m=1,warps_n=4,tile_k=1024,layout="
    "xor,stages=4,store=staged",
    "family=bmma,swap=1,schedule=horner,tile_m=32,tile_n=64,warps_m=1,warps_n=4,tile_k=1024,layout="
    "xor,stages=3,store=staged",
    "family=bmma,schedule=side,tile_m=64,tile_n=64,warps_m=2,warps_n=2,stages=3,store=staged",
    "family=bmma,schedule=side,tile_m=64,tile_n=128,warps_m=2,warps_n=4,stages=3,store=staged",
    "family=bmma,schedule=horner,tile_m=64,tile_n=64,warps_m=2,warps_n=2,stages=3,store=staged",
    "family=bmma,schedule=horner,tile_m=128,tile_n=128,warps_m=2,warps_n=2,stages=3,store=staged",
    "family=bmma,schedule=horner,tile_m=128,tile_n=256,warps_m=2,warps_n=4,stages=3,store=staged",
    "family=imma,swap=1,tile_m=8,tile_n=64,warps_m=1,warps_n=4,tile_k=256,layout=xor,stages=4,"
    "store=staged",
    "family=imma,swap=1,tile_m=32,tile_n=64,warps_m=1,warps_n=4,tile_k=256,layout=xor,stages=3,"
    "store=staged",
    "family=imma,tile_m=64,tile_n=64,warps_m=2,warps_n=2,layout=xor,stages=3,store=staged",
    "family=imma,tile_m=128,tile_n=128,warps_m=2,warps_n=4,layout=xor,stages=3,store=staged",
    "family=imma,tile_m=32,tile_n=32,warps_m=1,warps_n=2,tile_k=128,layout=xor,stages=2,store="
    "staged",
    "family=bgmma,schedule=horner,tile_m=128,tile_n=256,raster=8,pdl=1",
    "family=bgmma,schedule=horner,tile_m=128,tile_n=256,store=tensor,raster=8,pdl=1",
    "family=bgmma,schedule=horner,tile_m=128,tile_n=192,stages=4,roles=pingpong,store=tensor,"
    "raster=16,pdl=1",
    "family=bgmma,schedule=side,tile_m=128,tile_n=128,stages=4,roles=pingpong,store=tensor,"
    "raster=16,pdl=1",
    "family=bgmma,schedule=horner,tile_m=128,tile_n=128,stages=5,roles=pingpong,store=tensor,pdl=1",
    "family=bgmma,schedule=side,tile_m=64,tile_n=64,stages=5,roles=pingpong,store=tensor,pdl=1",
    "family=bgmma,schedule=side,tile_m=128,tile_n=64,pdl=1",
    "family=igmma,tile_m=256,tile_n=128,stages=3,raster=8,pdl=1",
    "family=igmma,tile_m=128,tile_n=128,raster=8,pdl=1",
    "family=igmma,tile_m=256,tile_n=128,tile_k=256,stages=3,raster=8,pdl=1",
    "family=igmma,tile_m=128,tile_n=128,tile_k=256,raster=8,pdl=1",
    "family=igmma,tile_m=256,tile_n=64,roles=pingpong,split_k=stream,pdl=1",
    "family=igmma,tile_m=128,tile_n=64,stages=6,roles=pingpong,split_k=stream,pdl=1",
    "family=igmma,tile_m=64,tile_n=64,stages=7,roles=pingpong,split_k=stream,pdl=1",
    "family=igmma,tile_m=64,tile_n=64,consumers=1,tile_k=256,pdl=1",
    "family=igmma,tile_m=96,tile_n=128,tile_k=256,pdl=1",
    /* For groups of 256 where shared memory is small. */
    "family=imma,tile_m=32,tile_n=32,warps_m=1,warps_n=2,tile_k=256,layout=xor,stages=2,store="
    "staged",
};

apq_status apq__default_config(const apq__problem *problem, const apq__target *target,
                               apq__config *out, apq_error *error) {
  apq_status status = apq__problem_check(problem, error);
  if (status) return status;
  double best = 0;
  for (size_t i = 0; i < sizeof product_configs / sizeof product_configs[0]; i++) {
    apq__config config;
    apq__shape shape;
    if ((status = apq__config_parse(product_configs[i], &config, error)) ||
        (status = apq__config_set_problem(&config, problem, error)))
      return status;
    if (target->cc < 80 && apq__config_is(&config, "family", "bmma") &&
        (status = apq__config_set(&config, "op", "xor", error)))
      return status;
    if ((status = apq__config_complete(&config, error))) return status;
    if (apq__config_limits(&config, problem, target, &shape, NULL)) continue;
    /* decode reads the weights again for each tile of tokens. */
    if (apq__config_is(&config, "family", "decode") && problem->m > shape.tile_m) continue;
    double seconds = apq__config_cost(&config, problem, target);
    if (best > 0 && seconds >= best) continue;
    best = seconds;
    *out = config;
  }
  if (best > 0) return APQ_OK;
  return apq__fail(error, APQ_INFEASIBLE, "limits", "no built-in kernel fits %s", target->arch);
}

/* Few rows leave an SM with one or two: all of its threads share them, a chunk each if that
 * suffices.  Of many rows several are in flight, each of fewer threads that keep more of it. */
static void pack_threads(const apq__problem *problem, int *warps, int *hold) {
  enum { FEW_ROWS = 256, LEAST = 4, LANES = 32, WARPS_MAX = 32 };
  const int is_few = problem->m <= FEW_ROWS;
  const int unit = is_few ? LEAST : 1;
  const int chunks = apq__ceil_div(problem->k, 128) * 16;
  const int most = is_few ? WARPS_MAX : WARPS_MAX / 2;
  *hold = is_few ? 1 : 4;
  while (*hold < 4 && chunks > LANES * WARPS_MAX * *hold) *hold *= 2;
  *warps = apq__ceil_div(chunks, LANES * *hold * unit) * unit;
  if (*warps < LEAST) *warps = LEAST;
  if (*warps > most) *warps = most;
}

apq_status apq__pack_config(apq_dtype source, const apq__problem *problem, apq__form form,
                            apq__config *out, apq_error *error) {
  *out = (apq__config){0};
  if (source == APQ_DTYPE_I32 || source == APQ_DTYPE_I8 || (unsigned)source >= APQ_DTYPE_COUNT)
    return apq__fail(error, APQ_INVALID_ARGUMENT, "config",
                     "activations of type %s cannot be packed", apq_dtype_name(source));
  int warps, hold;
  pack_threads(problem, &warps, &hold);
  apq_status status = APQ_OK;
  if ((status = apq__config_set(out, "family", "pack", error)) ||
      (status = apq__config_set(out, "src", apq_dtype_name(source), error)) ||
      (status = apq__config_set_int(out, "q", problem->q, error)) ||
      (status = apq__config_set_int(out, "warps", warps, error)) ||
      (status = apq__config_set_int(out, "hold", hold, error)) ||
      (status = apq__config_set(out, "form", apq__form_name(form), error)))
    return status;
  return apq__config_complete(out, error);
}
