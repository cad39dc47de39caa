-- What `apq-tune` searches on a GPU when no space is named: every family that computes products.

local problems = {}
for _, bits in ipairs { { 1, 1 }, { 2, 2 }, { 4, 4 }, { 2, 8 }, { 4, 8 }, { 8, 8 } } do
  for _, m in ipairs { 1, 8, 32, 256, 4096 } do
    problems[#problems + 1] = { m = m, n = 4096, k = 4096, p = bits[1], q = bits[2] }
  end
end

return space {
  name = "default",
  spaces = { "decode", "bmma", "imma", "bgmma", "igmma", "imma_bulk" },
  problems = problems,
}
