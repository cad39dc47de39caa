#include "family_impl.h"

/* Mirrors the #defines at the top of templates/gemm_tile.cu, bmma.cu and imma.cu. */
apq__gemm_knobs apq__gemm_read(const apq__config *config) {
  apq__gemm_knobs g = {0};
  g.p = apq__config_int(config, "p", 1);
  g.q = apq__config_int(config, "q", 1);
  g.tile_m = apq__config_int(config, "tile_m", 0);
  g.tile_n = apq__config_int(config, "tile_n", 0);
  g.tile_k = apq__config_int(config, "tile_k", 0);
  g.stages = apq__config_int(config, "stages", 1);
  g.warps_m = apq__config_int(config, "warps_m", 1);
  g.warps_n = apq__config_int(config, "warps_n", 1);
  g.min_blocks = apq__config_int(config, "min_blocks", 1);
  g.split_k = apq__config_int(config, "split_k", 1);
  g.group = apq__config_int(config, "group", 0);
  g.swap = apq__config_int(config, "swap", 0);
  g.is_horner = apq__config_is(config, "schedule", "horner");
  g.is_shared = apq__config_is(config, "recombine", "shared");
  g.is_xor_op = apq__config_is(config, "op", "xor");
  g.is_staged = apq__config_is(config, "store", "staged");
  g.is_padded = apq__config_is(config, "layout", "padded");
  g.is_bytes = apq__config_is(config, "family", "imma");
  g.is_pairs = apq__config_form(config) == APQ__FORM_PAIRS;
  g.threads = 32 * g.warps_m * g.warps_n;
  g.x_tile = g.swap ? g.tile_n : g.tile_m;
  g.y_tile = g.swap ? g.tile_m : g.tile_n;
  g.x_warps = g.swap ? g.warps_n : g.warps_m;
  g.y_warps = g.swap ? g.warps_m : g.warps_n;
  int x_bits = g.swap ? g.p : g.q, y_bits = g.swap ? g.q : g.p;
  int is_expanded = !g.is_bytes && !g.is_horner; /* planes side by side in a stage */
  g.x_rows = g.x_tile * (is_expanded ? x_bits : 1);
  g.y_rows = g.y_tile * (is_expanded ? y_bits : 1);
  g.x_fragments = g.x_rows / g.x_warps / 16;
  g.y_fragments = g.y_rows / g.y_warps / 8;
  int pad = g.is_padded ? 16 : 0;
  if (g.is_bytes) {
    g.stage_bytes = g.tile_m * (g.tile_k + pad) + g.tile_k / 128 * g.p * g.tile_n * 16;
    g.copies = apq__ceil_div(g.tile_m * g.tile_k / 16, g.threads) +
               apq__ceil_div(g.tile_n * g.p * g.tile_k / 128, g.threads);
  } else {
    g.stage_bytes = (g.x_rows + g.y_rows) * (g.tile_k / 8 + pad);
    g.copies = apq__ceil_div(g.x_rows * g.tile_k / 128, g.threads) +
               apq__ceil_div(g.y_rows * g.tile_k / 128, g.threads);
  }
  return g;
}
