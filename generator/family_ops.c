#include "family_impl.h"

#include <string.h>

#include "decode_impl.h"

static const apq__family_ops ops[] = {
    {"bmma", apq__gemm_limits, apq__gemm_cost},
    {"imma", apq__gemm_limits, apq__gemm_cost},
    {"bgmma", apq__wgmma_limits, apq__wgmma_cost},
    {"igmma", apq__wgmma_limits, apq__wgmma_cost},
    {"imma_bulk", apq__wgmma_limits, apq__wgmma_cost},
    {"decode", apq__decode_limits, apq__decode_cost},
    {"pack", apq__pack_limits, apq__pack_cost},
    {"stream", apq__stream_limits, apq__stream_cost},
};

const apq__family_ops *apq__family_ops_find(const char *family) {
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
    if (strcmp(ops[i].family, family) == 0) return &ops[i];
  return NULL;
}
