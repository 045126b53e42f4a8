/* A host that protects pages and serves the faults, as garbage collectors, incremental checkpoints and lazily filled
 * mappings do: a step may meet such a page in the caller's part of the arrays or in a worker's. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <downhill.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum { N = 1 << 20, ARRAYS = 4, WORKERS_HALF = 3 * N / 4, CALLERS_HALF = N / 4 };

static long page;
static volatile sig_atomic_t served;

/* Makes the page writable again, and the instruction is tried once more. */
static void serve(int number, siginfo_t *info, void *context) {
  char *const start = (char *)((uintptr_t)info->si_addr / (uintptr_t)page * (uintptr_t)page);
  (void)number, (void)context;
  if (mprotect(start, (size_t)page, PROT_READ | PROT_WRITE) != 0) _exit(3);
  served++;
}

static float *mapped(void) {
  void *memory = mmap(NULL, N * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED, "mmap");
  return (float *)memory;
}

/* One step of Adam; `protect` is an element of each array whose page is closed before, or -1. */
static void step(float *arrays[ARRAYS], downhill_pool *pool, long protect) {
  downhill_adam config = downhill_adam_default();
  downhill_group group = downhill_group_default();
  downhill_tensor tensor;
  int k, i;
  memset(&tensor, 0, sizeof tensor);
  tensor.n = N, tensor.w = arrays[0], tensor.g = arrays[1], tensor.state[0] = arrays[2], tensor.state[1] = arrays[3];
  group.t = 1, group.config = &config, group.count = 1, group.tensors = &tensor;
  for (k = 0; k < ARRAYS; k++)
    for (i = 0; i < N; i++) arrays[k][i] = k < 2 ? (float)(i % 1000) / 1000.0f + (float)k : 0.0f;
  served = 0;
  for (k = 0; k < ARRAYS && protect >= 0; k++) {
    char *const start = (char *)((uintptr_t)&arrays[k][protect] / (uintptr_t)page * (uintptr_t)page);
    CHECK(mprotect(start, (size_t)page, k == 1 ? PROT_NONE : PROT_READ) == 0, "mprotect");
  }
  CHECK(downhill_step(1, &group, NULL, pool, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(served == (protect >= 0 ? ARRAYS : 0), "%d faults served", (int)served);
}

int main(void) {
  float *ours[ARRAYS], *usual[ARRAYS];
  struct sigaction action;
  downhill_pool *pools[2];
  int k, i;
  alarm(HANGS_AFTER);
  page = sysconf(_SC_PAGESIZE);
  memset(&action, 0, sizeof action);
  action.sa_sigaction = serve;
  action.sa_flags = SA_SIGINFO;
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0, "sigaction");
  for (k = 0; k < ARRAYS; k++) ours[k] = mapped(), usual[k] = mapped();
  step(usual, NULL, -1);
  pools[0] = NULL, pools[1] = downhill_pool_new(2);
  for (i = 0; i < 20; i++) {
    step(ours, pools[i % 2], i % 4 < 2 ? WORKERS_HALF : CALLERS_HALF);
    for (k = 0; k < ARRAYS; k++) CHECK(memcmp(ours[k], usual[k], N * sizeof(float)) == 0, "other bits, array %d", k);
  }
  downhill_pool_free(pools[1]);
  printf("faults are served, whoever meets them\n");
  return 0;
}
