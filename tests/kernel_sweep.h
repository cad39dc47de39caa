/* The kernel sweep: for every (p, q) and family a few configs that between them take every value of
 * every knob, so that all layouts, stages, epilogues, schedules, recombinations, sides and splits
 * are run against the reference.  Included by the test for emulated devices and by the one for
 * GPUs. */
#ifndef APQ_KERNEL_SWEEP_H
#define APQ_KERNEL_SWEEP_H

#include <stdio.h>
#include <string.h>

#include "apq.h"
#include "config.h"
#include "generator.h"

/* Tiles and warps, small ones first because emulation is slow: tile_m, tile_n, warps_m, warps_n. */
static const int sweep_tiles[][4] = {{16, 16, 1, 1},
                                     {32, 16, 2, 1},
                                     {16, 32, 1, 2},
                                     {32, 32, 2, 2},
                                     /* for many planes */
                                     {16, 8, 1, 1},
                                     {8, 16, 1, 1},
                                     {16, 16, 2, 2},
                                     {16, 16, 4, 2},
                                     {16, 16, 8, 2},
                                     {16, 16, 2, 4},
                                     {16, 16, 2, 8}};
enum { SWEEP_ROTATED = 4, SWEEP_TILES = sizeof sweep_tiles / sizeof sweep_tiles[0] };

typedef struct sweep_kind {
  const char *family;
  const char *knobs; /* of this kind */
} sweep_kind;

static const sweep_kind sweep_kinds[] = {
    {"bmma", "schedule=side,recombine=registers"},
    {"bmma", "schedule=horner,recombine=registers"},
    {"bmma", "schedule=side,recombine=shared"},
    {"imma", ""},
    {"decode", "core=b1"},
    {"decode", "core=u8"},
    {"bgmma", "schedule=side"},
    {"bgmma", "schedule=horner"},
    {"igmma", ""},
    {"imma", "group=32"},
    {"bmma", "schedule=side,recombine=registers,group=256"},
    {"imma_bulk", ""},
    {"igmma", "group=32"},
    {"imma_bulk", "group=32"},
    {"bgmma", "schedule=side,group=256"},
    {"igmma", "unpack=shared"},
    {"decode", "core=b1,group=32"},
    {"decode", "core=u8,group=32"},
    {"imma", "form=pairs"},
    {"imma_bulk", "form=pairs"},
    {"decode", "core=b1,src=f16"},
    {"decode", "core=u8,src=f16"},
    {"decode", "core=b1,src=f16,group=32"},
    {"decode", "core=u8,src=f16,group=32"},
    {"bgmma", "schedule=side,split_k=stream"},
    {"bgmma", "schedule=horner,split_k=stream"},
    {"igmma", "split_k=stream"},
    {"igmma", "unpack=shared,split_k=stream"},
    {"decode", "core=b1,split_k=2"},
    {"decode", "core=u8,split_k=2"},
    {"bgmma", "schedule=side,swizzle=none"},
    {"bgmma", "schedule=horner,swizzle=none"},
    {"igmma", "swizzle=none"},
    {"bgmma", "schedule=side,group=256,swizzle=none"},
    {"igmma", "group=32,swizzle=none"},
    {"igmma", "unpack=shared,swizzle=none"},
    {"bgmma", "schedule=side,swizzle=64"},
    {"bgmma", "schedule=horner,swizzle=32"},
    {"igmma", "swizzle=64"},
    {"igmma", "swizzle=32"},
};
enum { SWEEP_KINDS = sizeof sweep_kinds / sizeof sweep_kinds[0] };

static void sweep_set(apq__config *config, const char *name, int value) {
  apq__config_set_int(config, name, value, NULL);
}

/* Shapes of decode kernels. */
static const struct {
  int tile_m, tiles, warps_n, warps_k, depth, stages, persist, cluster;
} sweep_decodes[] = {
    {1, 1, 1, 8, 1, 1, 0, 1},  {2, 1, 2, 2, 1, 2, 1, 1}, {4, 2, 1, 2, 1, 1, 2, 1},
    {8, 2, 2, 1, 1, 1, 0, 2},  {8, 1, 1, 4, 1, 1, 1, 1}, {1, 2, 1, 1, 2, 2, 1, 1},
    {16, 1, 4, 2, 1, 1, 0, 4}, {1, 1, 2, 4, 2, 1, 0, 1}, {16, 1, 1, 1, 1, 1, 1, 1},
    {2, 2, 4, 1, 1, 2, 0, 8},  {1, 1, 1, 2, 1, 1, 1, 1},
};
enum { SWEEP_DECODES = sizeof sweep_decodes / sizeof sweep_decodes[0] };

static int sweep_decode(const sweep_kind *kind, int p, int q, int turn, const apq__target *target,
                        apq__config *out) {
  static const char *const operands[] = {"stream", "shared", "keep"};
  static const char *const outs[] = {"f16", "i32", "bf16", "f32"};
  int i = (p - 1) * 8 + q - 1 + turn * 11, is_b1 = strstr(kind->knobs, "core=b1") != NULL;
  static const char *const unpacks[] = {"use", "fill", "wait"};
  static const char *const sources[] = {"f16", "bf16", "f32"};
  int pdl = target->cc >= 90 && i / 5 % 2, type = i / 2 % 4;
  int is_grouped = strstr(kind->knobs, "group") != NULL;
  int is_fused = strstr(kind->knobs, "src") != NULL;
  int is_split = strstr(kind->knobs, "split_k") != NULL;
  if (is_grouped && type == 1) type = 3;
  for (int try = 0; try < SWEEP_DECODES; try++) {
    int d = (i / 3 + try) % SWEEP_DECODES;
    apq__config config;
    apq__shape shape;
    char text[APQ__KEY_MAX];
    snprintf(text, sizeof text,
             "family=decode,%s,p=%d,q=%d,tile_m=%d,tiles=%d,warps_n=%d,warps_k=%d,depth=%d,"
             "stages=%d,persist=%d,cluster=%d,operand=%s,out=%s,schedule=%s,pdl=%d,unpack=%s,even=%"
             "d,release=%s",
             kind->knobs, p, q, sweep_decodes[d].tile_m, sweep_decodes[d].tiles,
             sweep_decodes[d].warps_n, sweep_decodes[d].warps_k, sweep_decodes[d].depth,
             sweep_decodes[d].stages, is_grouped ? 0 : sweep_decodes[d].persist,
             is_grouped || is_split ? 1 : sweep_decodes[d].cluster, operands[is_fused ? 1 : i % 3],
             outs[type], is_b1 && i / 4 % 2 ? "horner" : "side", pdl,
             unpacks[is_b1 ? 0 : i % (pdl ? 3 : 2)],
             (is_grouped || sweep_decodes[d].persist == 0) && i / 3 % 2,
             pdl && i % 2 ? "issue" : "start");
    if (apq__config_parse(text, &config, NULL)) return 0;
    if (is_grouped) sweep_set(&config, "group", 32 << i % 4);
    if (is_split) sweep_set(&config, "split_k", 2 << i % 3);
    if (is_fused) {
      apq__config_set(&config, "src", sources[i / 2 % 3], NULL);
      sweep_set(&config, "hold", 1 << i / 3 % 5);
    }
    if (apq__config_complete(&config, NULL) ||
        apq__config_limits(&config, NULL, target, &shape, NULL))
      continue;
    *out = config;
    return 1;
  }
  return 0;
}

/* Blocks of warpgroups: the 64-row side, the columns, who multiplies, the cluster. */
static const struct {
  int x_tile, y_tile, consumers;
  const char *roles;
  int cluster_m, cluster_n;
} sweep_warpgroups[] = {
    {64, 16, 1, "cooperative", 1, 1},  {128, 32, 2, "cooperative", 2, 1},
    {64, 16, 2, "pingpong", 1, 1},     {128, 16, 1, "cooperative", 1, 2},
    {192, 16, 3, "cooperative", 1, 1}, {64, 32, 2, "pingpong", 2, 2},
    {128, 48, 2, "cooperative", 1, 1}, {64, 64, 1, "cooperative", 2, 1},
};
enum { SWEEP_WARPGROUPS = sizeof sweep_warpgroups / sizeof sweep_warpgroups[0] };

static int sweep_warpgroup(const sweep_kind *kind, int p, int q, int turn,
                           const apq__target *target, apq__config *out) {
  static const char *const outs[] = {"f16", "i32", "bf16", "f32"};
  int i = (p - 1) * 8 + q - 1 + turn * 11, is_b1 = strcmp(kind->family, "bgmma") == 0;
  int is_mma = strcmp(kind->family, "imma_bulk") == 0;
  int is_unpacked = strstr(kind->knobs, "unpack") != NULL;
  int is_streamed = strstr(kind->knobs, "split_k") != NULL;
  int is_grouped = strstr(kind->knobs, "group") != NULL, type = i / 3 % 4;
  if (is_grouped && type == 1) type = 3;
  for (int try = 0; try < 4 * SWEEP_WARPGROUPS; try++) {
    /* What of the turn is not feasible gives way step by step: stagger and overlap, then the split.
     */
    int w = (i + try) % SWEEP_WARPGROUPS, ease = try / SWEEP_WARPGROUPS;
    int swap = !is_b1 || i / 2 % 2, stages = 2 + i / 3 % 3;
    int x = sweep_warpgroups[w].x_tile, y = sweep_warpgroups[w].y_tile;
    apq__config config;
    apq__shape shape;
    char text[APQ__KEY_MAX], order[64];
    snprintf(order, sizeof order, "roles=%s,overlap=%d", sweep_warpgroups[w].roles,
             !is_streamed && ease < 2 && i % 3 == 0 ? 2 : 0);
    if (is_mma)
      snprintf(order, sizeof order, "divide=%s,ahead=%d", i % 3 ? "columns" : "rows",
               !is_grouped && i / 2 % 2);
    snprintf(text, sizeof text,
             "family=%s%s%s,p=%d,q=%d,tile_m=%d,tile_n=%d,tile_k=%d,stages=%d,consumers=%d,%s,"
             "stagger=%d,swap=%d,cluster_m=%d,cluster_n=%d,raster=%d,store=%s,"
             "out=%s,post=%d,pdl=%d",
             kind->family, *kind->knobs ? "," : "", kind->knobs, p, q, swap ? y : x, swap ? x : y,
             256 << (i / 5 % (is_unpacked ? 2 : 3)), stages, sweep_warpgroups[w].consumers, order,
             ease < 1 && i % 2 ? 1 : 0, swap, sweep_warpgroups[w].cluster_m,
             sweep_warpgroups[w].cluster_n, 1 << (i % 3),
             i % 7 == 1                   ? "direct"
             : ease < 2 && i % 7 % 2 == 0 ? "tensor"
                                          : "staged",
             outs[type],
             type == 1     ? 0
             : i % 11 == 3 ? 2
                           : i % 11 == 7,
             i / 2 % 2);
    if (apq__config_parse(text, &config, NULL)) return 0;
    if (!is_streamed) sweep_set(&config, "split_k", ease < 3 && i % 5 == 0 ? 2 : 1);
    /* The families on bytes take them all, by turns. */
    if (is_grouped && !is_b1) sweep_set(&config, "group", 32 << i % 4);
    if (apq__config_complete(&config, NULL) ||
        apq__config_limits(&config, NULL, target, &shape, NULL))
      continue;
    *out = config;
    return 1;
  }
  return 0;
}

/* Config `turn` of a kind for (p, q), complete and feasible on the target; 0 when the kind has none
 * (all planes of 8 x 8 bits side by side need more registers than there are). */
static int sweep_config(const sweep_kind *kind, int p, int q, int turn, const apq__target *target,
                        apq__config *out) {
  if (strcmp(kind->family, "decode") == 0) return sweep_decode(kind, p, q, turn, target, out);
  if (strstr(kind->family, "gmma") || strcmp(kind->family, "imma_bulk") == 0)
    return sweep_warpgroup(kind, p, q, turn, target, out);
  static const char *const layouts[] = {"linear", "padded", "xor"};
  static const char *const outs[] = {"i32", "f16", "bf16", "f32"};
  int is_bmma = strcmp(kind->family, "bmma") == 0;
  int is_shared = strstr(kind->knobs, "shared") != NULL;
  int i = (p - 1) * 8 + q - 1 + turn * 11;
  for (int try = 0; try < 2 * SWEEP_TILES; try++) {
    int tile = try % SWEEP_TILES;
    const int *t = sweep_tiles[tile < SWEEP_ROTATED ? (i / 2 + tile) % SWEEP_ROTATED : tile];
    apq__config config;
    char text[160];
    snprintf(text, sizeof text, "family=%s%s%s", kind->family, *kind->knobs ? "," : "",
             kind->knobs);
    if (apq__config_parse(text, &config, NULL)) return 0;
    int is_staged = is_shared || i % 3 != 0, is_grouped = strstr(kind->knobs, "group") != NULL;
    sweep_set(&config, "p", p);
    sweep_set(&config, "q", q);
    sweep_set(&config, "tile_m", t[0]);
    sweep_set(&config, "tile_n", t[1]);
    sweep_set(&config, "warps_m", t[2]);
    sweep_set(&config, "warps_n", t[3]);
    sweep_set(&config, "tile_k", (is_bmma ? 512 : 128) << (i / 5 % 2));
    sweep_set(&config, "stages", 1 + i / 3 % 4);
    sweep_set(&config, "swap", (i / 4 + try / SWEEP_TILES) % 2);
    sweep_set(&config, "split_k", is_staged && !is_grouped && i % 5 == 0 ? 2 : 1);
    /* imma takes them all, by turns; the longest wants a longer stage. */
    if (is_grouped && !is_bmma) {
      sweep_set(&config, "group", 32 << i % 4);
      if (i % 4 == 3) sweep_set(&config, "tile_k", 256);
    }
    apq__config_set(&config, "layout", layouts[i % 3], NULL);
    apq__config_set(&config, "out", outs[is_grouped ? 1 + i / 2 % 3 : i / 2 % 4], NULL);
    apq__config_set(&config, "store", is_staged ? "staged" : "direct", NULL);
    if (is_bmma && (target->cc < 80 || i % 7 == 0)) apq__config_set(&config, "op", "xor", NULL);
    apq__shape shape;
    if (apq__config_complete(&config, NULL) ||
        apq__config_limits(&config, NULL, target, &shape, NULL))
      continue;
    *out = config;
    return 1;
  }
  return 0;
}

#endif
