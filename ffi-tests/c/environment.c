/* The same bits in any floating-point environment of the caller's, which is there again afterwards. */
#include <downhill.h>
#include <fenv.h>

#include "check.h"

enum { N = 103 };

#if defined(__SSE__)
#include <immintrin.h>
enum { FLUSHES = 3 };
/* DAZ, FTZ, both. */
static void flush_to_zero(int k) {
  const unsigned bits[FLUSHES] = {0x0040, 0x8000, 0x8040};
  _mm_setcsr(_mm_getcsr() | bits[k]);
}
static unsigned control(void) { return _mm_getcsr() & ~0x3fu; } /* without the raised exceptions */
#elif defined(__aarch64__)
enum { FLUSHES = 1 };
static unsigned control(void) {
  uint64_t fpcr;
  __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
  return (unsigned)fpcr;
}
static void flush_to_zero(int k) {
  uint64_t fpcr = control() | 1u << (24 + k);
  __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#else
enum { FLUSHES = 0 };
static unsigned control(void) { return (unsigned)fegetround(); }
static void flush_to_zero(int k) { (void)k; }
#endif

typedef struct {
  float w[N], g[N], m[N], v[N];
} arrays;

/* Subnormal weights and gradients, and sums that must be rounded. */
static arrays make_arrays(void) {
  arrays a;
  int i;
  for (i = 0; i < N; i++) {
    uint32_t subnormal = 12345u + 1000u * (uint32_t)i;
    float tiny;
    memcpy(&tiny, &subnormal, sizeof tiny);
    a.w[i] = i % 2 == 0 ? 0.1f * (float)i : tiny;
    a.g[i] = i % 3 == 0 ? tiny : 1.0f / (float)(i + 1);
    a.m[i] = a.v[i] = 0.0f;
  }
  return a;
}

static void run(arrays *a) {
  downhill_adam config = downhill_adam_default();
  uint64_t t;
  config.decay = DOWNHILL_DECAY_DECOUPLED;
  config.weight_decay = 0.1;
  for (t = 1; t <= 3; t++)
    CHECK(downhill_adam_step(N, a->w, a->g, a->m, a->v, t, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
}

int main(void) {
  const int modes[] = {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  const arrays start = make_arrays();
  const unsigned usual = control();
  arrays expected = start;
  int i;
  run(&expected);
  for (i = 0; i < 3 + FLUSHES; i++) {
    arrays got;
    unsigned callers;
    memcpy(&got, &start, sizeof got);
    if (i < 3) {
      CHECK(fesetround(modes[i]) == 0, "mode %d", modes[i]);
    } else {
      flush_to_zero(i - 3);
    }
    callers = control();
    run(&got);
    CHECK(control() == callers, "the caller's environment is gone");
    fesetenv(FE_DFL_ENV);
    CHECK(callers != usual, "the environment was never changed");
    CHECK(memcmp(&expected, &got, sizeof got) == 0, "other bits in environment %d", i);
  }
  printf("the same bits in every environment\n");
  return 0;
}
