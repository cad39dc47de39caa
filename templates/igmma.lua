-- Search space of the family igmma (weight planes unpacked to bytes in registers or shared memory, products on the u8 tensor core of
-- Hopper's warpgroups).  bmma.lua explains the form.

local function tiles(config, problem)
  return ((problem.m + config.tile_m - 1) // config.tile_m) * ((problem.n + config.tile_n - 1) // config.tile_n)
end

-- A slot of weights, planes or codes, and the edges of its groups: 8 bytes a token, 16 a channel.
local function w_bytes(config, problem, tile_k)
  local groups = problem.group > 0 and tile_k // problem.group or 0
  local bits = config.unpack == "shared" and 8 or problem.p
  return bits * config.tile_n * tile_k // 8 + groups * (8 * config.tile_m + 16 * config.tile_n)
end

-- Bytes left for the activations' ring beside the weights', edges and buffers.
local function ring_bytes(config, problem, device, tile_k)
  return device.smem_per_block - 30 * 1024 - config.w_stages * w_bytes(config, problem, tile_k)
end

return space {
  name = "igmma",
  family = "igmma",
  objective = "burst",

  knobs = {
    tile_m = { 16, 32, 48, 64, 80, 96, 128, 160, 192, 256 },
    tile_n = { 64, 128 },
    tile_k = { 256, 512 },
    swizzle = { 128, "none" }, -- and 32, 64
    consumers = { 1, 2 },
    roles = { "cooperative", "pingpong" },
    unpack = { "registers", "shared" },
    stages = { 2, 3, 4, 5, 6, 7, 8 },
    w_stages = { 2, 3 },
    cluster_m = { 1, 2 },
    cluster_n = { 1, 2 },
    raster = { 4, 8, 16 },
    split_k = { 1, 2, 4, "stream" },
    overlap = { 0, 2 },
    pdl = { 1 }, -- never slower: beginning costs about 0.4 us less
  },

  constraints = {
    { "warpgroups of sm_90a", function(config, problem, device) return device.arch == "sm_90a" end },
    { "tile no higher than the tokens need", function(config, problem)
      return config.tile_m <= (problem.m + 15) // 16 * 16 or config.tile_m == 16
    end },
    -- Weights are unpacked once for all tokens of the tile.
    { "tokens enough for an unpacked weight", function(config, problem, device)
      return config.tile_m >= 128 or problem.m <= 128 or tiles(config, problem) <= 2 * device.sm_count
    end },
    { "64 rows a warpgroup", function(config)
      return config.tile_n == 64 * (config.roles == "pingpong" and 1 or config.consumers)
    end },
    { "turns need two", function(config) return config.roles == "cooperative" or config.consumers == 2 end },
    { "one consumer only for few tiles", function(config, problem, device)
      return config.consumers == 2 or tiles(config, problem) <= 2 * device.sm_count
    end },
    -- It was slower wherever it was measured: few candidates, which the cost model puts last.
    { "unpacked once only for large tiles", function(config)
      return config.unpack == "registers"
        or (config.tile_m >= 128 and config.tile_n == 128 and config.tile_k == 256 and config.cluster_m == 1)
    end },
    -- What few tokens wait for is memory.
    { "a third slot of weights only for few tokens", function(config, problem)
      return config.w_stages == 2 or (problem.m <= 128 and config.tile_n == 64 and config.unpack == "registers")
    end },
    -- A bulk copy writes one row a cycle: longer rows of weights are cheaper, where their slots fit.
    { "weights in rows as long as fit", function(config, problem, device)
      if config.unpack == "shared" then return true end
      local long = ring_bytes(config, problem, device, 512)
      return (config.tile_k == 512) == (long >= 3 * config.tile_m * 128) or problem.k < 1024
    end },
    { "deepest ring that fits, or one slot less", function(config, problem, device)
      local fits = ring_bytes(config, problem, device, config.tile_k) // (config.tile_m * 128)
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
    { "overlap of several tiles, in halves of 64 columns or more", function(config, problem, device)
      return config.overlap == 0
        or (config.roles == "cooperative" and config.tile_m >= 128 and tiles(config, problem) > device.sm_count)
    end },
    -- Copies are asked for each 16 bytes of a row: a few candidates show what that costs.
    { "no swizzle only in plain kernels of 128 channels", function(config)
      return config.swizzle == 128
        or (config.tile_n == 128 and config.tile_k == 512 and config.consumers == 2 and config.roles == "cooperative"
          and config.unpack == "registers" and config.cluster_m * config.cluster_n == 1 and config.raster == 4
          and config.split_k == 1 and config.overlap == 0)
    end },
  },
}
