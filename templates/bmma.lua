-- Search space of the family bmma (bit-serial products on the one-bit tensor core), for one problem on one device.
--
-- A space lists values to try for the knobs that its template, bmma.cu, declares; knobs it does not list keep the
-- template's default; p, q and out come from the problem.  Every combination of the lists is a candidate.  A
-- constraint is a name and a function over
--   config   the knobs of a candidate: config.tile_m, ...
--   problem  m, n, k, p, q, out
--   device   name, arch, cc, emulated, sm_count, smem_per_block, smem_per_sm, regs_per_sm, threads_per_sm,
--            blocks_per_sm, l2_bytes, mem_bytes, and whether it has b1_and, b1_xor, u8 products in hardware
-- that returns true to keep the candidate.  It must depend on these alone.  Put constraints that read few knobs first:
-- all combinations that differ in other knobs only are then skipped at once, so lists may be long.  What a device cannot
-- build at all (shared memory, registers, shapes of the instruction) needs no constraint here: the static limits of the
-- generator remove it, and are part of the report of `apq-tune space bmma`.

local function blocks(config, problem)
  local rows = (problem.m + config.tile_m - 1) // config.tile_m
  local columns = (problem.n + config.tile_n - 1) // config.tile_n
  return rows * columns
end

-- The smallest tile height that covers a small number of tokens in one block.
local function covering_tile(config, problem)
  local tile = config.swap == 1 and 8 or 16
  while tile < problem.m do tile = 2 * tile end
  return tile
end

return space {
  name = "bmma",
  family = "bmma",
  objective = "burst",

  knobs = {
    tile_m = { 8, 16, 32, 64, 128, 256 },
    tile_n = { 16, 32, 64, 128, 256 },
    tile_k = { 512, 1024 },
    stages = { 2, 3, 4 },
    warps_m = { 1, 2, 4 },
    warps_n = { 1, 2, 4, 8 },
    min_blocks = { 1, 2 },
    layout = { "linear", "padded", "xor" },
    schedule = { "side", "horner" },
    recombine = { "registers", "shared" },
    swap = { 0, 1 },
    split_k = { 1, 2, 4, 8 },
    op = { "and", "xor" },
    store = { "direct", "staged" },
  },

  constraints = {
    { "one-bit product of the device", function(config, problem, device)
      return config.op == (device.b1_and and "and" or "xor")
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
    -- A tile twice as high as the tokens are many wastes half of its work.
    { "tile no higher than the tokens need", function(config, problem)
      return config.tile_m <= covering_tile(config, problem)
    end },
    { "tokens on the 8-column side when few", function(config, problem)
      return config.swap == (problem.m <= 32 and 1 or 0)
    end },
    -- With one plane each there is nothing to recombine, and both schedules are one.
    { "recombination only of several planes", function(config, problem)
      return problem.p * problem.q > 1 or (config.schedule == "side" and config.recombine == "registers")
    end },
    { "shared recombination only side by side", function(config)
      return config.recombine == "registers" or (config.schedule == "side" and config.split_k == 1)
    end },
    -- Splitting k buys parallelism; with every SM busy it only costs traffic.
    { "split_k only where blocks are few", function(config, problem, device)
      return config.split_k == 1 or blocks(config, problem) * config.split_k <= 2 * device.sm_count
    end },
    { "staged stores where they are needed or may help", function(config, problem)
      if config.split_k > 1 or config.recombine == "shared" then return config.store == "staged" end
      return config.store == "direct" or problem.m >= 64
    end },
    { "enough products a warp when tokens are many", function(config, problem)
      if problem.m < 512 then return true end
      local planes = config.schedule == "side" and problem.p * problem.q or 1
      return config.tile_m * config.tile_n * planes >= 2048 * config.warps_m * config.warps_n
    end },
    { "ring no longer than k", function(config, problem)
      return (config.stages - 1) * config.tile_k <= math.max(problem.k, config.tile_k)
    end },
  },
}
