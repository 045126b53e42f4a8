/* Pools of a thread that is bound to one CPU, as OMP_PROC_BIND binds a program's first thread; and pools whose workers are
 * bound to CPUs of a list. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include "training.h"

enum { MOST_CPUS = 1024, MOST_TASKS = MOST_CPUS };

static cpu_set_t allowed(pid_t task) {
  cpu_set_t set;
  CHECK(sched_getaffinity(task, sizeof set, &set) == 0, "sched_getaffinity");
  return set;
}

static void bind_caller(const cpu_set_t *set) { CHECK(sched_setaffinity(0, sizeof *set, set) == 0, "sched_setaffinity"); }

/* The masks of all threads but the first. */
static int masks_of_workers(cpu_set_t *masks) {
  DIR *directory = opendir("/proc/self/task");
  struct dirent *entry;
  int count = 0;
  CHECK(directory != NULL, "cannot open /proc/self/task");
  while ((entry = readdir(directory)) != NULL)
    if (entry->d_name[0] != '.' && atol(entry->d_name) != getpid() && count < MOST_TASKS)
      /* One that has ended meanwhile has no mask. */
      if (sched_getaffinity((pid_t)atol(entry->d_name), sizeof *masks, &masks[count]) == 0) count++;
  closedir(directory);
  return count;
}

/* The system takes a moment to forget a thread that has been joined. */
static void await_workers(int count, cpu_set_t *masks) {
  while (masks_of_workers(masks) != count) usleep(1000);
}

static void refused(size_t count, const uint32_t *cpus, const char *text) {
  CHECK(downhill_pool_new_on(count, cpus) == NULL, "a pool, instead of: %s", text);
  CHECK(strstr(downhill_last_error(), text) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), text);
}

int main(void) {
  const cpu_set_t all = allowed(0);
  model start = training_model(LARGE), end = trained(&start);
  uint32_t cpus[MOST_CPUS + 1] = {0};
  static cpu_set_t masks[MOST_TASKS];
  cpu_set_t one;
  size_t count = 0;
  int cpu, i, k;
  downhill_pool *pool;
  alarm(HANGS_AFTER);
  for (cpu = 0; cpu < MOST_CPUS; cpu++)
    if (CPU_ISSET(cpu, &all)) cpus[count++] = (uint32_t)cpu;
  CPU_ZERO(&one);
  CPU_SET(cpus[0], &one);

  /* The caller is bound. A pool of its own has its CPU only, and says so. */
  bind_caller(&one);
  pool = downhill_pool_new(0);
  CHECK(downhill_pool_threads(pool) == 1, "%lu threads on one CPU", (unsigned long)downhill_pool_threads(pool));
  compare_training(&start, &end, pool, "with the pool of a thread that is bound");
  downhill_pool_free(pool);

  /* Workers on all CPUs, all the same. */
  pool = downhill_pool_new_on(count, cpus);
  CHECK(pool != NULL, "%s", downhill_last_error());
  CHECK(downhill_pool_threads(pool) == count, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  for (i = 0; i < 5; i++) compare_training(&start, &end, pool, "with workers on all CPUs");
  await_workers((int)count, masks);
  for (cpu = 0; cpu < (int)count; cpu++) {
    int found = 0;
    for (k = 0; k < (int)count; k++) found += CPU_COUNT(&masks[k]) == 1 && CPU_ISSET(cpus[cpu], &masks[k]);
    CHECK(found == 1, "%d workers on CPU %lu", found, (unsigned long)cpus[cpu]);
  }
  one = allowed(0);
  CHECK(CPU_COUNT(&one) == 1, "the caller is on %d CPUs", CPU_COUNT(&one));
  downhill_pool_free(pool);
  bind_caller(&all);

  /* DOWNHILL_MIGRATE=0: workers are left as they began. The environment is read once, so the caller has set it. */
  pool = downhill_pool_new(3);
  for (i = 0; i < 20; i++) compare_training(&start, &end, pool, "with workers that may move, or not");
  await_workers(2, masks);
  CHECK(CPU_EQUAL(&masks[0], &all) && CPU_EQUAL(&masks[1], &all), "other masks");
  downhill_pool_free(pool);

  refused(0, NULL, "`cpus` lists 0 CPUs; it must list 1 to 1024");
  refused(MOST_CPUS + 1, cpus, "`cpus` lists 1025 CPUs; it must list 1 to 1024");
  refused(2, NULL, "`cpus` is NULL");
  refused(1, (const uint32_t *)((const char *)cpus + 1), "`cpus` is 0x");
  cpus[1] = 1023;
  refused(2, cpus, "`cpus[1]` is 1023; no worker can run there: ");
  cpus[0] = UINT32_MAX;
  refused(1, cpus, "`cpus[0]` is 4294967295; no worker can run there: ");
  /* Nobody is left of those that could be bound; the alarm ends this if somebody is. */
  await_workers(0, masks);
  free_model(&start), free_model(&end);
  printf("workers are where they were told to be\n");
  return 0;
}
