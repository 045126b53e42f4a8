/* What the test programs share: checks that say where they failed, and values to test with.
 * In the common subset of C99 and C++11. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition, ...)                                          \
  do {                                                                 \
    if (!(condition)) {                                                \
      fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);  \
      fprintf(stderr, __VA_ARGS__);                                    \
      fprintf(stderr, "\n");                                           \
      exit(1);                                                         \
    }                                                                  \
  } while (0)

/* A program that waits for threads has hung after this many seconds. An emulator needs minutes. */
enum { HANGS_AFTER = 600 };

/* The same bits; any NaN is like any other. */
static inline int same(float a, float b) {
  return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

/* A number from a fixed sequence (Knuth's MMIX generator). */
static inline uint32_t draw(void) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 32);
}

static inline float uniform(void) { return (float)draw() / 4294967296.0f - 0.5f; }

/* Mostly ordinary; one in eight is a zero, a subnormal, tiny, huge, an infinity or a NaN. */
static inline float any_float(void) {
  const float special[8] = {0.0f, -0.0f, 1e-40f, -3e-45f, 1e-20f, 3e38f, (float)INFINITY, (float)NAN};
  uint32_t choice = draw() % 64;
  return choice < 8 ? special[choice] : uniform();
}

#endif
