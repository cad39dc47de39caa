-- Search space of the family imma (weight planes unpacked to bytes, products on the 8-bit tensor core).
-- The form of a space is explained at the top of bmma.lua.

local function blocks(config, problem)
  local rows = (problem.m + config.tile_m - 1) // config.tile_m
  local columns = (problem.n + config.tile_n - 1) // config.tile_n
  return rows * columns
end

local function covering_tile(config, problem)
  local tile = config.swap == 1 and 8 or 16
  while tile < problem.m do tile = 2 * tile end
  return tile
end

return space {
  name = "imma",
  family = "imma",
  objective = "burst",

  knobs = {
    tile_m = { 8, 16, 32, 64, 128, 256 },
    tile_n = { 16, 32, 64, 128, 256 },
    tile_k = { 128, 256 },
    stages = { 2, 3, 4 },
    warps_m = { 1, 2, 4 },
    warps_n = { 1, 2, 4, 8 },
    min_blocks = { 1, 2 },
    layout = { "linear", "padded", "xor" },
    swap = { 0, 1 },
    form = { "bytes", "pairs" },
    split_k = { 1, 2, 4, 8 },
    store = { "direct", "staged" },
  },

  constraints = {
    { "8-bit product of the device", function(config, problem, device) return device.u8 end },
    -- Where activations fit they are never slower: bytes are for the others.
    { "pairs of codes that fit", function(config, problem)
      return (config.form == "pairs") == (problem.p <= 4 and problem.q <= 4 and problem.group == 0 and problem.k <= 1000000)
    end },
    { "two to eight warps", function(config)
      local warps = config.warps_m * config.warps_n
      return warps >= 2 and warps <= 8
    end },
    { "whole fragments a warp", function(config)
      local m, n = 16, 8
      if config.swap == 1 then m, n = 8, 16 end
      return config.tile_m % (m * config.warps_m) == 0 and config.tile_n % (n * config.warps_n) == 0
    end },
    { "tile no higher than the tokens need", function(config, problem)
      return config.tile_m <= covering_tile(config, problem)
    end },
    -- Few tokens fill no more than the 8-column side; many may be on either.
    { "tokens on the 8-column side when few", function(config, problem)
      return problem.m > 32 or config.swap == 1
    end },
    -- Each warp along m unpacks the weights again: more than two only where tiles are high.
    { "weights unpacked by few warps", function(config) return config.warps_m <= 2 or config.tile_m >= 128 end },
    -- Below 16 accumulators a warp reads more shared memory than it multiplies.
    { "enough products a warp when tokens are many", function(config, problem)
      return problem.m < 512 or config.tile_m * config.tile_n >= 2048 * config.warps_m * config.warps_n
    end },
    { "split_k only where blocks are few", function(config, problem, device)
      return config.split_k == 1 or blocks(config, problem) * config.split_k <= 2 * device.sm_count
    end },
    { "staged stores where they are needed or may help", function(config, problem)
      if config.split_k > 1 then return config.store == "staged" end
      return config.store == "direct" or problem.m >= 64
    end },
    { "ring no longer than k", function(config, problem)
      return (config.stages - 1) * config.tile_k <= math.max(problem.k, config.tile_k)
    end },
  },
}
