/* Pools of every kind, by number: none, workers of the library's, and threads of the caller's own, which call the body as
 * often as they like. To be included before system headers. In the common subset of C99 and C++11. */
#ifndef POOLS_H
#define POOLS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <downhill.h>
#include <pthread.h>
#include <sched.h>

#include "check.h"

/* How often a function calls the body: on as many threads as there are parts, and one after another. */
typedef struct {
  int never, more_often;
  size_t calls, bodies; /* how often it was called itself, and the body by it */
} own_threads;

typedef struct {
  void (*body)(void *);
  void *job;
} errand;

static inline void *run_errand(void *argument) {
  const errand *const e = (const errand *)argument;
  e->body(e->job);
  return NULL;
}

#ifdef __cplusplus
extern "C" {
#endif
static inline void on_own_threads(void *context, size_t parts, void (*body)(void *), void *job) {
  enum { MOST = 16 };
  own_threads *const own = (own_threads *)context;
  const size_t count = own->never ? 0 : own->more_often ? parts + 3 : parts;
  pthread_t threads[MOST];
  errand e;
  size_t i;
  CHECK(parts > 0 && count <= MOST, "%lu parts", (unsigned long)parts);
  own->calls++;
  own->bodies += own->more_often ? 2 * count : count;
  e.body = body, e.job = job;
  for (i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, run_errand, &e) == 0, "no thread");
  for (i = 0; i < count; i++) pthread_join(threads[i], NULL);
  for (i = 0; i < count && own->more_often; i++) body(job);
}
#ifdef __cplusplus
}
#endif

enum { OWN_KINDS = 3, POOLS = 4 + 1 + OWN_KINDS };

static own_threads own_kinds[OWN_KINDS] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}};

/* None; of 2, 3 and 4 threads; a worker on the first CPU, twice; own threads: each once, never, more often. */
static downhill_pool *pools[POOLS];

/* The first CPU that this thread may use. */
static inline uint32_t first_cpu(void) {
  uint32_t cpu = 0;
#ifdef __linux__
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
  while (!CPU_ISSET(cpu, &set)) cpu++;
#endif
  return cpu;
}

static inline void make_pools(void) {
  const uint32_t cpus[2] = {first_cpu(), first_cpu()};
  int i;
  for (i = 1; i < 4; i++) pools[i] = downhill_pool_new((size_t)i + 1);
  pools[4] = downhill_pool_new_on(2, cpus);
#ifdef __linux__
  CHECK(pools[4] != NULL, "%s", downhill_last_error());
#endif
  for (i = 0; i < OWN_KINDS; i++) {
    pools[5 + i] = downhill_pool_from(4, on_own_threads, &own_kinds[i]);
    CHECK(downhill_pool_threads(pools[5 + i]) == 4, "%s", downhill_last_error());
  }
}

static inline void free_pools(void) {
  int i;
  for (i = 0; i < POOLS; i++) downhill_pool_free(pools[i]);
  /* They were in use. */
  for (i = 0; i < OWN_KINDS; i++) {
    CHECK(own_kinds[i].calls > 0, "own threads %d were never asked", i);
    CHECK((own_kinds[i].bodies == 0) == own_kinds[i].never, "own threads %d: %lu bodies", i, (unsigned long)own_kinds[i].bodies);
  }
}

#endif
