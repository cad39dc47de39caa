-- A few dozen candidates and a handful of problems: what emulated devices tune by default, where every candidate
-- costs a compile and a bit-for-bit check on the CPU.  A space may be a union: of other spaces by name or path, or, as here, of
-- parts written in place.

local function fits(config, problem)
  return config.tile_m <= math.max(16, 2 * problem.m)
end

return space {
  name = "quick",

  spaces = {
    {
      family = "decode",
      knobs = { core = { "b1", "u8" }, operand = { "stream", "shared" }, tiles = { 1, 2 } },
      constraints = {
        { "products in hardware", function(config, problem, device)
          if config.core == "u8" then return device.u8 end
          return device.b1_and
        end },
        { "one token", function(config, problem) return problem.m == 1 end },
      },
    },
    {
      family = "bmma",
      knobs = {
        tile_m = { 16, 64 },
        tile_n = { 32, 64 },
        stages = { 2, 3 },
        warps_m = { 1, 2 },
        layout = { "padded", "xor" },
        op = { "and", "xor" },
      },
      constraints = {
        { "one-bit product of the device", function(config, problem, device)
          return config.op == (device.b1_and and "and" or "xor")
        end },
        { "tile no higher than the tokens need", fits },
      },
    },
    {
      family = "imma",
      knobs = {
        tile_m = { 16, 64 },
        tile_n = { 32, 64 },
        stages = { 2, 3 },
        warps_m = { 1, 2 },
        layout = { "padded", "xor" },
      },
      constraints = {
        { "tile no higher than the tokens need", fits },
      },
    },
  },

  problems = {
    { m = 1, n = 4096, k = 4096, p = 1, q = 1 },
    { m = 1, n = 4096, k = 4096, p = 2, q = 8 },
    { m = 16, n = 4096, k = 4096, p = 4, q = 4 },
    { m = 16, n = 4096, k = 4096, p = 4, q = 8 },
    { m = 256, n = 4096, k = 4096, p = 2, q = 2 },
    { m = 4096, n = 4096, k = 4096, p = 2, q = 2 },
    { m = 4096, n = 4096, k = 4096, p = 4, q = 4 },
    { m = 4096, n = 4096, k = 4096, p = 8, q = 8 },
  },
}
