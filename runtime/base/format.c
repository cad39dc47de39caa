#include "format.h"

#include <string.h>

#include "status.h"

apq__affine apq__format_affine(apq_format format, int bits) {
  switch (format) {
  case APQ_FORMAT_INT:
    return (apq__affine){1, 1 << (bits - 1)};
  case APQ_FORMAT_BIPOLAR:
    return (apq__affine){2, (1 << bits) - 1};
  default:
    return (apq__affine){1, 0};
  }
}

static int64_t absolute(int64_t value) {
  return value < 0 ? -value : value;
}

/* The map is monotonic in the code, so the extremes are at the first and the last. */
static int64_t max_abs(int alpha, int bits, int64_t zero) {
  int64_t low = absolute(-zero);
  int64_t high = absolute((int64_t)alpha * ((1 << bits) - 1) - zero);
  return low > high ? low : high;
}

int64_t apq__affine_max_abs(apq__affine map, int bits, const int32_t *zero, int64_t count) {
  if (!zero) return max_abs(map.alpha, bits, map.zero);
  int64_t most = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t one = max_abs(map.alpha, bits, zero[i]);
    if (one > most) most = one;
  }
  return most;
}

int64_t apq__format_max_abs(apq_format format, int bits, const int32_t *zero, int64_t count) {
  return apq__affine_max_abs(apq__format_affine(format, bits), bits, zero, count);
}

apq_status apq__check_bound(int64_t k, int64_t max_w, int64_t max_a, apq_error *error) {
  /* Divided, not multiplied: the product of three may overflow. */
  if (max_w == 0 || max_a == 0 || k <= INT32_MAX / max_w / max_a) return APQ_OK;
  return apq__fail(error, APQ_OUT_OF_RANGE, "argument",
                   "k * max|w| * max|a| = %lld * %lld * %lld is not below 2^31", (long long)k,
                   (long long)max_w, (long long)max_a);
}

uint8_t apq__code_from_int(int value, int bits) {
  return (uint8_t)(((unsigned)value + (1u << (bits - 1))) & ((1u << bits) - 1));
}

int apq__int_from_code(uint8_t code, int bits) {
  return (int)code - (1 << (bits - 1));
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

uint16_t apq__half_from_float(float value) {
  uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  /* 65520, half way from the largest half to the next power of two: from here all round to
   * infinity. */
  if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  uint32_t significand, drop;
  uint32_t exponent = magnitude >> 23;
  if (exponent >= 113) { /* normal in half: rebias by 112 and drop 13 bits; a carry grows the
                            exponent as it should */
    significand = magnitude - (112u << 23);
    drop = 13;
  } else if (exponent >= 102) { /* subnormal in half, counted in units of 2^-24 */
    significand = (magnitude & 0x7fffff) | 0x800000;
    drop = 126 - exponent;
  } else { /* below 2^-25: rounds to zero */
    return (uint16_t)sign;
  }
  uint32_t kept = significand >> drop;
  uint32_t rest = significand & ((1u << drop) - 1), middle = 1u << (drop - 1);
  kept += rest > middle || (rest == middle && (kept & 1));
  return (uint16_t)(sign | kept);
}

float apq__float_from_half(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
  if (exponent == 31) /* a NaN stays one, quiet */
    return float_of(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000u : 0u));
  if (exponent) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = (float)mantissa * 0x1p-24f; /* exact */
  return sign ? -magnitude : magnitude;
}

uint16_t apq__bf16_from_float(float value) {
  uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float apq__float_from_bf16(uint16_t bits) {
  return float_of((uint32_t)bits << 16);
}

float apq__load_float(const void *data, apq_dtype dtype, int64_t i) {
  switch (dtype) {
  case APQ_DTYPE_F16:
    return apq__float_from_half(((const uint16_t *)data)[i]);
  case APQ_DTYPE_BF16:
    return apq__float_from_bf16(((const uint16_t *)data)[i]);
  default:
    return ((const float *)data)[i];
  }
}

void apq__store_float(void *data, apq_dtype dtype, int64_t i, float value) {
  switch (dtype) {
  case APQ_DTYPE_F16:
    ((uint16_t *)data)[i] = apq__half_from_float(value);
    break;
  case APQ_DTYPE_BF16:
    ((uint16_t *)data)[i] = apq__bf16_from_float(value);
    break;
  default:
    ((float *)data)[i] = value;
  }
}
