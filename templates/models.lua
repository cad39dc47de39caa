-- Linear layers of well-known models: y[m][n] = x[m][k] * w[n][k] for any number of tokens m.
-- `qkv` is the query, key and value projections side by side, `gate_up` the two halves of a gated MLP; engines
-- that keep them apart use `q`, `kv` (key and value have one shape), `gate` and `up`.
-- Used by `apq-tune --model` and by model_layers("name") in a space.

local function transformer(hidden, heads, kv_heads, head_dim, mlp)
  local q, kv = heads * head_dim, kv_heads * head_dim
  return {
    { name = "qkv", n = q + 2 * kv, k = hidden },
    { name = "q", n = q, k = hidden },
    { name = "kv", n = kv, k = hidden },
    { name = "o", n = hidden, k = q },
    { name = "gate_up", n = 2 * mlp, k = hidden },
    { name = "gate", n = mlp, k = hidden },
    { name = "down", n = hidden, k = mlp },
  }
end

return models {
  ["llama-2-7b"] = transformer(4096, 32, 32, 128, 11008),
  ["llama-2-13b"] = transformer(5120, 40, 40, 128, 13824),
  ["llama-2-70b"] = transformer(8192, 64, 8, 128, 28672),
  ["llama-3-8b"] = transformer(4096, 32, 8, 128, 14336),
  ["llama-3-70b"] = transformer(8192, 64, 8, 128, 28672),
  ["qwen2.5-7b"] = transformer(3584, 28, 4, 128, 18944),
  ["mistral-7b"] = transformer(4096, 32, 8, 128, 14336),
}
