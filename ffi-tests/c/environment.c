/* The same bits in any floating-point environment of the caller's, which is there again afterwards. */
#include <downhill.h>

#include "floating_point.h"

enum { N = 103 };

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
  const arrays start = make_arrays();
  arrays expected = start;
  int i;
  run(&expected);
  for (i = 0; i < ENVIRONMENTS; i++) {
    arrays got;
    unsigned callers;
    memcpy(&got, &start, sizeof got);
    callers = enter_environment(i);
    run(&got);
    CHECK(control() == callers, "the caller's environment is gone");
    leave_environment();
    CHECK(memcmp(&expected, &got, sizeof got) == 0, "other bits in environment %d", i);
  }
  printf("the same bits in every environment\n");
  return 0;
}
