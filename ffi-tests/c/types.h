/* The element types of a whole step, each as plain C: what a number of it is, and which is nearest to a float.
 * In the common subset of C99 and C++11. */
#ifndef TYPES_H
#define TYPES_H

#include <downhill.h>

#include "check.h"

static const uint32_t weight_types[] = {DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_F16, DOWNHILL_TYPE_SPLIT};
static const uint32_t gradient_types[] = {DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_F16};
static const uint32_t state_types[] = {DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_8BIT};
static const uint32_t copy_types[] = {DOWNHILL_TYPE_NONE, DOWNHILL_TYPE_F32, DOWNHILL_TYPE_BF16, DOWNHILL_TYPE_F16};

enum { WEIGHT_TYPES = 4, GRADIENT_TYPES = 3, STATE_TYPES = 3, COPY_TYPES = 4 };

static inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* ---- bfloat16, the upper half of a float ---- */

static inline float from_bf16(uint16_t x) { return float_of((uint32_t)x << 16); }

static inline uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if (isnan(x)) return 0x7fc0;
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- half precision: a sign, five bits of exponent, ten of mantissa ---- */

static inline float from_f16(uint16_t x) {
  const int exponent = x >> 10 & 31, mantissa = x & 1023;
  const float sign = x >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa == 0 ? sign * (float)INFINITY : (float)NAN;
  return sign * (exponent == 0 ? ldexpf((float)mantissa, -24) : ldexpf((float)(1024 + mantissa), exponent - 25));
}

static inline uint16_t to_f16(float x) {
  const uint16_t sign = signbit(x) ? 0x8000 : 0;
  const float a = fabsf(x);
  int exponent;
  if (isnan(x)) return 0x7e00;
  if (a >= 65520.0f) return (uint16_t)(sign | 0x7c00);
  exponent = a < 6.103515625e-5f ? -14 : ilogbf(a);
  /* In units of the spacing there, of which 1024 are a power of two: a carry goes into the exponent by itself. */
  return (uint16_t)(sign | ((exponent + 14) * 1024 + (int)nearbyintf(ldexpf(a, 10 - exponent))));
}

/* ---- floats in two halves ---- */

static inline float from_split(uint16_t high, int16_t low) {
  return float_of(((uint32_t)high << 16) + (uint32_t)(int32_t)low);
}

static inline void to_split(float x, uint16_t *high, int16_t *low) {
  const uint32_t bits = bits_of(x);
  const uint16_t lower = isnan(x) ? 0 : (uint16_t)bits;
  *high = isnan(x) ? (uint16_t)(bits >> 16 | 0x40) : (uint16_t)((bits + 0x8000) >> 16);
  memcpy(low, &lower, sizeof lower);
}

/* ---- any of them ---- */

/* Bytes of an element; of the upper half, if there are two. */
static inline size_t type_size(uint32_t type) {
  return type == DOWNHILL_TYPE_NONE ? 0 : type == DOWNHILL_TYPE_F32 ? 4 : 2;
}

/* `low` is for SPLIT alone. */
static inline float get_element(uint32_t type, const void *array, const int16_t *low, size_t i) {
  const uint16_t *const narrow = (const uint16_t *)array;
  switch (type) {
    case DOWNHILL_TYPE_F32: return ((const float *)array)[i];
    case DOWNHILL_TYPE_BF16: return from_bf16(narrow[i]);
    case DOWNHILL_TYPE_F16: return from_f16(narrow[i]);
    case DOWNHILL_TYPE_SPLIT: return from_split(narrow[i], low[i]);
    default: CHECK(0, "type %lu", (unsigned long)type); return 0.0f;
  }
}

/* To nearest even. */
static inline void put_element(uint32_t type, void *array, int16_t *low, size_t i, float x) {
  uint16_t *const narrow = (uint16_t *)array;
  switch (type) {
    case DOWNHILL_TYPE_F32: ((float *)array)[i] = x; break;
    case DOWNHILL_TYPE_BF16: narrow[i] = to_bf16(x); break;
    case DOWNHILL_TYPE_F16: narrow[i] = to_f16(x); break;
    case DOWNHILL_TYPE_SPLIT: to_split(x, &narrow[i], &low[i]); break;
    default: CHECK(0, "type %lu", (unsigned long)type);
  }
}

#endif
