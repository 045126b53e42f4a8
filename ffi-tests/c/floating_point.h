/* The floating-point environments that a caller may have set. In the common subset of C99 and C++11. */
#ifndef FLOATING_POINT_H
#define FLOATING_POINT_H

#include <fenv.h>

#include "check.h"

#if defined(__SSE__)
#include <immintrin.h>
enum { FLUSHES = 3 };
/* DAZ, FTZ, both. */
static inline void flush_to_zero(int k) {
  const unsigned bits[FLUSHES] = {0x0040, 0x8000, 0x8040};
  _mm_setcsr(_mm_getcsr() | bits[k]);
}
static inline unsigned control(void) { return _mm_getcsr() & ~0x3fu; } /* without the raised exceptions */
#elif defined(__aarch64__)
enum { FLUSHES = 1 };
static inline unsigned control(void) {
  uint64_t fpcr;
  __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
  return (unsigned)fpcr;
}
static inline void flush_to_zero(int k) {
  uint64_t fpcr = control() | 1u << (24 + k);
  __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#else
enum { FLUSHES = 0 };
static inline unsigned control(void) { return (unsigned)fegetround(); }
static inline void flush_to_zero(int k) { (void)k; }
#endif

enum { ROUNDINGS = 3, ENVIRONMENTS = ROUNDINGS + FLUSHES };

/* From the default environment into another one. Gives its control word, which is not the default's. */
static inline unsigned enter_environment(int i) {
  const int modes[ROUNDINGS] = {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  const unsigned usual = control();
  if (i < ROUNDINGS) {
    CHECK(fesetround(modes[i]) == 0, "mode %d", modes[i]);
  } else {
    flush_to_zero(i - ROUNDINGS);
  }
  CHECK(control() != usual, "environment %d is the default one", i);
  return control();
}

static inline void leave_environment(void) {
  fesetenv(FE_DFL_ENV);
#if defined(__SSE__)
  _mm_setcsr(0x1f80); /* MinGW's leaves FTZ and DAZ as they are */
#endif
}

#endif
