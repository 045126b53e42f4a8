/* A step allocates nothing: counts every malloc of the process through glibc's own. */
#include <downhill.h>

#include "check.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static unsigned long allocations;

void *malloc(size_t size) { return allocations++, __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return allocations++, __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return allocations++, __libc_realloc(block, size); }

int main(void) {
  enum { N = 1003 };
  static float w[N], g[N], m[N], v[N];
  const downhill_sgd sgd = downhill_sgd_default();
  const downhill_momentum momentum = downhill_momentum_default();
  downhill_adam adam = downhill_adam_default();
  unsigned long before;
  uint64_t t;
  /* The first call may look at the CPU and the environment. */
  CHECK(downhill_sgd_step(N, w, g, &sgd) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  before = allocations;
  for (t = 1; t <= 100; t++) {
    CHECK(downhill_sgd_step(N, w, g, &sgd) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(downhill_momentum_step(N, w, g, m, &momentum) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(downhill_adam_step(N, w, g, m, v, t, &adam) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  }
  CHECK(allocations == before, "%lu allocations in 300 steps", allocations - before);
  /* An error has a text to keep: the counter counts. */
  adam.lr = -1.0;
  CHECK(downhill_adam_step(N, w, g, m, v, 1, &adam) == DOWNHILL_STATUS_INVALID_CONFIG, "accepted");
  CHECK(allocations > before, "the counter does not count");
  printf("no allocation in 300 steps\n");
  return 0;
}
