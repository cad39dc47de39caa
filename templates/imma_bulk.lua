-- Search space of the family imma_bulk (imma's products in the persistent blocks of the warpgroup families).
-- bmma.lua explains the form.

local function tiles(config, problem)
  return ((problem.m + config.tile_m - 1) // config.tile_m) * ((problem.n + config.tile_n - 1) // config.tile_n)
end

-- Slots of activations that fit beside two slots of weights, edges and buffers.
local function slots(config, problem, device)
  local edges, buffers = 32 * (config.tile_m + config.tile_n), 8 * 1024 * config.consumers
  local groups = problem.group > 0 and config.tile_k // problem.group or 0
  local slot = problem.p * config.tile_n * config.tile_k // 8 + groups * (8 * config.tile_m + 16 * config.tile_n)
  local rest = device.smem_per_block - 1024 - edges - buffers - 2 * slot
  return rest // (config.tile_m * 128)
end

return space {
  name = "imma_bulk",
  family = "imma_bulk",
  objective = "burst",

  knobs = {
    tile_m = { 32, 64, 96, 128, 192, 256 },
    tile_n = { 64, 128, 192, 256 },
    tile_k = { 256, 512 },
    consumers = { 1, 2 },
    divide = { "columns", "rows" },
    stages = { 2, 3, 4, 5, 6, 7, 8 },
    stagger = { 0, 1, 2 },
    form = { "bytes", "pairs" },
    ahead = { 0, 1 },
    raster = { 4, 8 },
    split_k = { 1, 2, 4 },
    pdl = { 1 }, -- never slower: beginning costs about 0.4 us less
  },

  constraints = {
    { "warpgroups of sm_90a", function(config, problem, device) return device.arch == "sm_90a" end },
    { "tile no higher than the tokens need", function(config, problem)
      return config.tile_m <= (problem.m + 31) // 32 * 32
    end },
    { "pairs of codes that fit", function(config, problem)
      return config.form == "bytes" or (problem.p <= 4 and problem.q <= 4 and problem.group == 0 and problem.k <= 1000000)
    end },
    { "products enough for the operands of a warp", function(config, problem)
      return config.tile_m * config.tile_n >= 8192 * config.consumers or problem.m < 512
    end },
    { "one consumer only for few tiles", function(config, problem, device)
      return config.consumers == 2 or tiles(config, problem) <= 2 * device.sm_count
    end },
    { "one way to divide for one", function(config)
      return config.consumers == 2 or (config.divide == "columns" and config.stagger == 0)
    end },
    { "deepest ring that fits, or one slot less", function(config, problem, device)
      local fits = math.min(slots(config, problem, device), 8)
      return config.stages == fits or config.stages == fits - 1
    end },
    { "order of the tiles only where they are many", function(config, problem, device)
      return config.raster == 4 or tiles(config, problem) >= 4 * device.sm_count
    end },
    { "split_k only where tiles are few", function(config, problem, device)
      return config.split_k == 1 or tiles(config, problem) * config.split_k <= 2 * device.sm_count
    end },
  },
}
