-- Search space of the family bgmma (bit-serial products on the one-bit tensor core of Hopper's warpgroups).  bmma.lua
-- explains the form.

-- Sides of the instruction: 64 rows of x, up to 256 columns of y.
local function sides(config, problem)
  if config.swap == 1 then return config.tile_n, config.tile_m, problem.p, problem.q end
  return config.tile_m, config.tile_n, problem.q, problem.p
end

local function columns(config, problem)
  local _, y, _, y_bits = sides(config, problem)
  return config.schedule == "side" and y * y_bits or y
end

local function stage_bytes(config, problem)
  local x, _, x_bits = sides(config, problem)
  local rows = config.schedule == "side" and x * x_bits or x
  return (rows + columns(config, problem)) * config.tile_k // 8
end

-- Edges of the groups of a stage: 8 bytes a token, 16 a channel.
local function group_bytes(config, problem)
  return problem.group > 0 and config.tile_k // problem.group * (8 * config.tile_m + 16 * config.tile_n) or 0
end

local function tiles(config, problem)
  return ((problem.m + config.tile_m - 1) // config.tile_m) * ((problem.n + config.tile_n - 1) // config.tile_n)
end

return space {
  name = "bgmma",
  family = "bgmma",
  objective = "burst",

  knobs = {
    schedule = { "side", "horner" },
    swap = { 0, 1 },
    tile_m = { 16, 32, 48, 64, 80, 96, 128, 160, 192, 256 },
    tile_n = { 16, 32, 48, 64, 80, 96, 128, 160, 192, 256 },
    tile_k = { 512, 1024 },
    swizzle = { 128, "none" }, -- and 32, 64
    consumers = { 1, 2 },
    roles = { "cooperative", "pingpong" },
    stages = { 2, 3, 4, 5, 6, 7, 8 },
    cluster_m = { 1, 2 },
    cluster_n = { 1, 2 },
    raster = { 4, 16 },
    split_k = { 1, 2, 4, "stream" },
    overlap = { 0, 1 },
    store = { "staged", "tensor" },
    pdl = { 1 }, -- never slower: beginning costs about 0.4 us less
  },

  constraints = {
    { "warpgroups of sm_90a", function(config, problem, device) return device.arch == "sm_90a" end },
    { "planes one after another only where there are several", function(config, problem)
      return config.schedule == "side" or problem.p * problem.q > 1
    end },
    { "columns of one instruction", function(config, problem)
      local wide, y = columns(config, problem), config.swap == 1 and config.tile_m or config.tile_n
      return wide <= 256 and wide % 16 == 0 and y % 16 == 0
    end },
    -- A tile much higher than the tokens are many wastes its work.
    { "tile no higher than the tokens need", function(config, problem)
      local unit = config.swap == 1 and 16 or 64
      local needed = (problem.m + unit - 1) // unit * unit
      return config.tile_m <= needed or config.tile_m == unit
    end },
    { "64 or 128 rows a warpgroup", function(config, problem)
      local x = sides(config, problem)
      local sharers = config.roles == "pingpong" and 1 or config.consumers
      return x == 64 * sharers or x == 128 * sharers
    end },
    { "overlap of several tiles, in halves of 64 columns or more", function(config, problem, device)
      if config.overlap == 0 then return true end
      local x, y, _, y_bits = sides(config, problem)
      return config.roles == "cooperative" and x == 64 * config.consumers and y >= 128
        and (config.schedule == "horner" or y_bits == 1) and tiles(config, problem) > device.sm_count
    end },
    { "tensor copies where results are rows of 64", function(config, problem)
      local _, y = sides(config, problem)
      local half = config.overlap > 0 and y // 2 or y
      local fits = (problem.out == "f16" or problem.out == "bf16") and (config.swap == 1 or half % 64 == 0)
      return (config.store == "tensor") == fits
    end },
    { "turns need two", function(config) return config.roles == "cooperative" or config.consumers == 2 end },
    -- A lone warpgroup leaves the tensor cores idle while it stores.
    { "one consumer only for few tiles", function(config, problem, device)
      return config.consumers == 2 or tiles(config, problem) <= 2 * device.sm_count
    end },
    { "wide instructions where tokens are many", function(config, problem)
      return problem.m < 256 or columns(config, problem) >= 96
    end },
    -- Shared memory reads a 64-row operand again for each instruction: sums enough to pay for it.
    { "large tiles where there are tiles enough", function(config, problem, device)
      if tiles(config, problem) < 2 * device.sm_count then return true end
      local x, _, x_bits = sides(config, problem)
      local rows = config.schedule == "side" and x * x_bits or x
      local sharers = config.roles == "pingpong" and 1 or config.consumers
      -- With groups the totals take registers beside the sums.
      return rows * columns(config, problem) >= (problem.group > 0 and 8192 or 16384) * sharers
    end },
    { "rows as wide as the swizzle where K has them", function(config, problem)
      return config.tile_k == 1024 or problem.k <= 2048 or config.consumers == 1
    end },
    { "deepest ring that fits, or one slot less", function(config, problem, device)
      local fits = (device.smem_per_block - 40 * 1024) // (stage_bytes(config, problem) + group_bytes(config, problem))
      if fits > 8 then fits = 8 end
      return config.stages == fits or config.stages == fits - 1
    end },
    { "clusters of two", function(config) return config.cluster_m * config.cluster_n <= 2 end },
    { "clusters only where tiles are many", function(config, problem, device)
      return config.cluster_m * config.cluster_n == 1 or tiles(config, problem) >= device.sm_count
    end },
    { "order of the tiles only where they are many", function(config, problem, device)
      return config.raster == 4 or tiles(config, problem) >= 4 * device.sm_count
    end },
    { "split_k only where tiles are few", function(config, problem, device)
      if config.split_k == "stream" then
        local waves = tiles(config, problem) / device.sm_count
        return waves < 4 and waves ~= math.floor(waves) and config.overlap == 0 and problem.group == 0
      end
      return config.split_k == 1 or tiles(config, problem) * config.split_k <= 2 * device.sm_count
    end },
    -- Copies are asked for each 16 bytes of a row: a few candidates show what that costs.
    { "no swizzle only in plain kernels of 128 rows", function(config)
      return config.swizzle == 128
        or (config.swap == 0 and config.tile_m == 128 and config.tile_k == 1024 and config.consumers == 2
          and config.roles == "cooperative" and config.cluster_m * config.cluster_n == 1 and config.raster == 4
          and config.split_k == 1 and config.overlap == 0)
    end },
  },
}
