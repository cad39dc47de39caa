-- Search space of the family decode (few tokens, weights streamed once into registers).
-- The form of a space is explained at the top of bmma.lua.

local function ceil_div(a, b) return (a + b - 1) // b end

-- Columns of the mma that the tokens of a block take, and fragments of eight of them.
local function columns(config, problem)
  local each = 1
  if config.core == "b1" then
    while each < problem.q do each = 2 * each end
  end
  return config.tile_m * each
end
local function fragments(config, problem) return ceil_div(columns(config, problem), 8) end

-- Slabs of 512 k that a block has, and how many loads it takes to get through them.
local function slabs(config, problem) return ceil_div(problem.k, 512 * config.cluster * config.split_k) end
local function slots(config) return config.warps_k * config.depth end
local function steps(config, problem) return ceil_div(slabs(config, problem), slots(config)) end

local function rows(config) return 16 * config.tiles * config.warps_n end
local function tiles(config, problem) return ceil_div(problem.n, rows(config)) end
local function blocks(config, problem) return tiles(config, problem) * config.cluster * config.split_k end

-- Chunks of eight k that a thread has of a row which the block quantizes.
local function chunks(config, problem)
  local row_warps = math.max(config.warps_k * config.warps_n // config.tile_m, 1)
  return ceil_div(problem.k, 256 * row_warps)
end

return space {
  name = "decode",
  family = "decode",
  objective = "burst",

  knobs = {
    core = { "b1", "u8" },
    tile_m = { 1, 2, 4, 8, 16, 32, 64 },
    operand = { "stream", "keep", "shared" },
    schedule = { "side", "horner" },
    pdl = { 0, 1 },
    unpack = { "use", "fill", "wait" },
    cluster = { 1, 2, 4, 8 },
    split_k = { 1, 2, 4, 8 },
    warps_k = { 2, 4, 8, 16 },
    warps_n = { 1, 2, 4, 8 },
    tiles = { 1, 2 },
    depth = { 1, 2, 4 },
    stages = { 1, 2 },
    persist = { 0, 1, 2 },
    once = { 0, 1 },
    even = { 0, 1 },
    min_blocks = { 1, 2 },
    release = { "start", "issue" },
    src = { "packed", "f16", "bf16", "f32" },
    hold = { 1, 2, 4, 8, 16 },
  },

  constraints = {
    { "products in hardware", function(config, problem, device)
      if config.core == "u8" then return device.u8 end
      return device.b1_and
    end },
    { "dependent launches and clusters where the device has them", function(config, problem, device)
      if tonumber(device.cc) >= 90 then return config.pdl == 1 end
      return config.pdl == 0 and config.cluster == 1
    end },
    { "the fewest tokens that cover the problem's", function(config, problem)
      return config.tile_m >= problem.m and (config.tile_m == 1 or config.tile_m < 2 * problem.m)
    end },
    { "activations packed before, or as they are", function(config, problem)
      return config.src == "packed" or config.src == problem.input
    end },
    -- Bytes are read across, eight rows of a fragment by eight chunks: only their copies can go along.
    { "bytes wait in shared memory", function(config) return config.core == "b1" or config.operand == "shared" end },
    { "bytes for many planes or tokens", function(config, problem, device)
      return config.core == "b1" or not device.b1_and or config.tile_m >= 2
    end },
    { "bits for few pairs of planes", function(config, problem, device)
      return config.core == "u8" or not device.u8 or config.tile_m <= 2 or problem.p * problem.q <= 8
    end },
    { "the first weights unpacked early", function(config)
      if config.core == "b1" then return config.unpack == "use" end
      if config.src ~= "packed" and config.unpack == "use" then return true end
      return config.unpack == (config.pdl == 1 and "wait" or "fill")
    end },
    { "activations of one token in registers, of more in shared memory", function(config)
      if config.src ~= "packed" then return config.operand == "shared" end
      return config.core == "u8" or (config.operand == "shared") == (config.tile_m > 1)
    end },
    { "an accumulator a plane for few of them", function(config, problem)
      if config.core == "u8" or problem.p == 1 then return config.schedule == "side" end
      return (config.schedule == "side") == (problem.p * fragments(config, problem) <= 16)
    end },
    { "the smallest cluster whose blocks have room for their activations", function(config, problem, device)
      if config.operand ~= "shared" or config.split_k > 1 then return config.cluster == 1 end
      local width = config.src == "packed" and 8 * fragments(config, problem) or columns(config, problem)
      local panel = width * problem.k / (config.core == "b1" and 8 or 1)
      local most = 0.8 * device.smem_per_block
      return panel / config.cluster <= most and (config.cluster == 1 or 2 * panel / config.cluster > most)
    end },
    -- The sums' way through device memory takes longer than most of what it spares.
    { "k divided over the grid by plain blocks", function(config, problem)
      if config.split_k == 1 then return true end
      return config.cluster == 1 and config.src == "packed" and problem.group == 0 and config.persist == 0
        and config.even == 0 and config.min_blocks == 1 and config.release == "start"
    end },
    { "k divided as long as tiles leave half of the SMs idle", function(config, problem, device)
      if config.split_k == 1 then return true end
      local count = blocks(config, problem)
      return count <= device.sm_count and (2 * count > device.sm_count or config.split_k == 8)
    end },
    { "k divided into a slab a warp or more", function(config, problem)
      return config.split_k == 1 or slabs(config, problem) >= config.warps_k
    end },
    { "four to sixteen warps", function(config)
      local warps = config.warps_k * config.warps_n
      return warps >= 4 and warps <= 16
    end },
    -- What is not kept is read again, behind the weights.
    { "chunks of rows that are quantized here", function(config, problem)
      if config.src == "packed" then return config.hold == 1 end
      local has, enough = chunks(config, problem), 1
      while enough < has and enough < 16 do enough = 2 * enough end
      return config.hold == enough
    end },
    { "16 rows for each block of a cluster", function(config) return rows(config) >= 16 * config.cluster end },
    -- Each block reads all activations, so that few large ones are better than many; but for half of
    -- the SMs at least, which then take turns with the next launch.
    { "blocks for most SMs, or large ones", function(config, problem, device)
      local count, least = blocks(config, problem), problem.m == 1 and 32 or 64
      if count < 0.4 * device.sm_count then return rows(config) == 16 end
      return count <= device.sm_count or rows(config) >= least
    end },
    { "loads no longer than k", function(config, problem)
      return steps(config, problem) * slots(config) <= slabs(config, problem) * 1.25 or slots(config) <= 4
    end },
    { "no loop where one load is all", function(config, problem)
      if steps(config, problem) > 1 or config.persist > 0 or config.stages > 1 then return config.once == 0 end
      return config.once == 1 or config.operand == "stream"
    end },
    { "stages that there are loads for", function(config, problem)
      return config.stages == 1 or config.persist > 0 or config.stages <= steps(config, problem)
    end },
    { "blocks that go on have somewhere to go", function(config, problem, device)
      return config.persist == 0 or config.cluster == 1 and blocks(config, problem) > config.persist * device.sm_count
    end },
    { "idle blocks beside nearly as many others", function(config, problem, device)
      if config.even == 0 then return true end
      local count = blocks(config, problem)
      return config.pdl == 1 and config.persist == 0 and count < device.sm_count and count > 0.75 * device.sm_count
    end },
    { "activations kept by blocks that go on", function(config, problem)
      return config.operand ~= "keep" or (config.persist > 0 and steps(config, problem) == 1)
    end },
    { "room for the blocks that go on", function(config)
      return config.persist == 0 or config.min_blocks == 1 or config.min_blocks == config.persist
    end },
    { "room for more than eight and up to 32 warps", function(config)
      local warps = config.warps_k * config.warps_n * config.min_blocks
      return config.min_blocks == 1 or (warps > 8 and warps <= 32)
    end },
    { "the next kernel held back for few bits", function(config, problem)
      return config.release == "start" or config.pdl == 1 and problem.p <= 2
    end },
  },
}
