/* Where threads cannot be started, and memory cannot be had. On Linux, where the address space can be limited. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "training.h"

enum { KIB = 1 << 10, MANY = 1 << 20, MOST_THREADS = 1024, NOBODY = 65534 };

/* ---- the limit ---- */

static size_t address_space(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1, "cannot read /proc/self/statm");
  fclose(file);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit(rlim_t bytes) {
  struct rlimit limits;
  CHECK(getrlimit(RLIMIT_AS, &limits) == 0, "getrlimit");
  limits.rlim_cur = bytes < limits.rlim_max ? bytes : limits.rlim_max;
  CHECK(setrlimit(RLIMIT_AS, &limits) == 0, "setrlimit");
}

/* From now on the process may grow by so much and no more. */
static void leave_room(size_t bytes) { limit(address_space() + bytes); }

static void leave_all_room(void) { limit(RLIM_INFINITY); }

/* ---- threads ---- */

/* A pool of at least `least` and at most `most` threads comes out, and works. */
static void pool_of(const model *start, const model *end, size_t room, size_t least, size_t most) {
  model ours = copy_model(start);
  downhill_pool *pool;
  size_t threads, at;
  leave_room(room);
  pool = downhill_pool_new(4);
  threads = downhill_pool_threads(pool);
  train(&ours, pool);
  downhill_pool_free(pool);
  leave_all_room();
  at = difference(&ours, end);
  CHECK(pool != NULL, "no pool: %s", downhill_last_error());
  CHECK(threads >= least && threads <= most, "%lu threads, not %lu to %lu", (unsigned long)threads, (unsigned long)least,
        (unsigned long)most);
  CHECK(at == ours.length, "%lu threads, %s: %a, not %a", (unsigned long)threads, locate(&ours, at), (double)ours.memory[at],
        (double)end->memory[at]);
  free_model(&ours);
}

static void threads_that_cannot_start(void) {
  model start = training_model(LARGE), end = trained(&start);
  /* A worker's stack has 512 KiB. */
  pool_of(&start, &end, 300 * KIB, 1, 1);
  pool_of(&start, &end, 1500 * KIB, 2, 3);
  pool_of(&start, &end, (size_t)1 << 30, 4, 4);
  free_model(&start);
  free_model(&end);
}

/* Runs `body` in a process of its own, which may spoil its limits. */
static void apart(void (*body)(void)) {
  int status;
  const pid_t child = fork();
  CHECK(child >= 0, "no process");
  if (child == 0) {
    alarm(HANGS_AFTER);
    body();
    fflush(stdout);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child, "not waited for");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x", (unsigned)status);
}

/* The user may have so many threads and processes. */
static void allow_threads(rlim_t count) {
  struct rlimit limits;
  CHECK(getrlimit(RLIMIT_NPROC, &limits) == 0, "getrlimit");
  limits.rlim_cur = count < limits.rlim_max ? count : limits.rlim_max;
  CHECK(setrlimit(RLIMIT_NPROC, &limits) == 0, "setrlimit");
}

static void threads_that_the_user_may_not_have(void) {
  const model start = training_model(LARGE), end = trained(&start);
  struct rlimit before;
  downhill_pool *pool;
  CHECK(getrlimit(RLIMIT_NPROC, &before) == 0, "getrlimit");
  /* The limit does not bind root. */
  if (geteuid() == 0 && setuid(NOBODY) != 0) {
    printf("SKIPPED: root cannot become somebody whose threads can be limited\n");
    return;
  }
  allow_threads(0);
  pool = downhill_pool_new(4);
  CHECK(pool != NULL && downhill_pool_threads(pool) == 1, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  compare_training(&start, &end, pool, "no thread allowed");
  downhill_pool_free(pool);
  /* Afterwards there is nothing left that was spoilt. */
  allow_threads(before.rlim_cur);
  pool = downhill_pool_new(4);
  CHECK(downhill_pool_threads(pool) == 4, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  compare_training(&start, &end, pool, "threads allowed again");
  downhill_pool_free(pool);
}

static void more_threads_than_are_of_use(void) {
  downhill_pool *const pool = downhill_pool_new(SIZE_MAX);
  CHECK(downhill_pool_threads(pool) <= MOST_THREADS, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  downhill_pool_free(pool);
}

/* ---- memory ---- */

/* The call fails for want of memory, and so the two tensors that have elements stay as they are. */
static void out_of_memory(downhill_status got, const float *memory, const char *what) {
  CHECK(got == DOWNHILL_STATUS_OUT_OF_MEMORY, "%s: status %lu: %s", what, (unsigned long)got, downhill_last_error());
  CHECK(strstr(downhill_last_error(), "no memory for lists of arrays") != NULL, "%s: %s", what, downhill_last_error());
  CHECK(memory[0] == 1.0f && memory[1] == 2.0f && memory[2] == 3.0f && memory[3] == 4.0f, "%s: something was written", what);
}

/* Very many tensors, two of which have an element, in an order of memory that has to be sorted to be checked. */
static void lists_that_cannot_be_had(void) {
  const downhill_sgd config = downhill_sgd_default();
  downhill_tensor *const tensors = (downhill_tensor *)calloc(MANY, sizeof *tensors);
  float memory[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  double norm = 7.0;
  CHECK(tensors != NULL, "out of memory");
  tensors[0].n = tensors[1].n = 1;
  tensors[0].w = memory + 3, tensors[0].g = memory + 2;
  tensors[1].w = memory + 1, tensors[1].g = memory;
  leave_room(2 * (size_t)MANY);
  out_of_memory(downhill_sgd_step_many(MANY, tensors, &config, NULL, NULL, NULL), memory, "a list to sort");
  tensors[0].n = 0;
  tensors[1].g = memory + 1, tensors[1].w = memory;
  out_of_memory(downhill_sgd_step_many(MANY, tensors, &config, NULL, NULL, NULL), memory, "a list");
  out_of_memory(downhill_grad_norm(MANY, tensors, NULL, &norm), memory, "a norm");
  CHECK(norm == 7.0, "the norm was written");
  leave_all_room();
  CHECK(downhill_sgd_step_many(MANY, tensors, &config, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  free(tensors);
}

/* With whatever room: a step by threads, or alone for want of memory to share, or none, but never an abort. */
static void any_room(void) {
  /* The list of these does not fit into what the C library keeps for the pool's threads. */
  enum { TENSORS = 3 * MANY };
  const downhill_sgd config = downhill_sgd_default();
  downhill_extras extras = downhill_extras_default();
  downhill_tensor *const tensors = (downhill_tensor *)calloc(TENSORS, sizeof *tensors);
  float *const memory = (float *)calloc(2 * (size_t)TENSORS, sizeof *memory);
  downhill_pool *const pool = downhill_pool_new(2);
  int made = 0, refused = 0;
  size_t i, room;
  CHECK(tensors != NULL && memory != NULL, "out of memory");
  extras.max_norm = 1.0;
  for (i = 0; i < TENSORS; i++) { /* backwards, so that there is something to sort */
    tensors[i].n = 1;
    tensors[i].w = memory + 2 * (TENSORS - 1 - i);
    tensors[i].g = tensors[i].w + 1;
  }
  for (room = 0; room < (size_t)400 << 20; room += (size_t)40 << 20) {
    downhill_status status;
    leave_room(room);
    status = downhill_sgd_step_many(TENSORS, tensors, &config, &extras, pool, NULL);
    leave_all_room();
    CHECK(status == DOWNHILL_STATUS_OK || status == DOWNHILL_STATUS_OUT_OF_MEMORY, "status %lu: %s", (unsigned long)status,
          downhill_last_error());
    status == DOWNHILL_STATUS_OK ? made++ : refused++;
  }
  CHECK(made > 0 && refused > 0, "%d made, %d refused", made, refused);
  downhill_pool_free(pool);
  free(tensors);
  free(memory);
}

/* Takes all memory there is, to the last bytes. */
static void exhaust(void) {
  size_t bytes;
  leave_room(0);
  for (bytes = MANY; bytes > 0; bytes /= 2)
    while (malloc(bytes) != NULL) continue;
}

static void no_memory_at_all(void) {
  const downhill_sgd config = downhill_sgd_default();
  float memory[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  const downhill_tensor tensor = {1, memory, memory + 1, {NULL, NULL, NULL}};
  downhill_pool *pool;
  /* The thread's last error is a variable that the C library makes room for when it is first used. */
  CHECK(downhill_sgd_step(1, NULL, memory, &config) == DOWNHILL_STATUS_NULL_POINTER, "a NULL was taken");
  exhaust();
  pool = downhill_pool_new(4);
  CHECK(downhill_pool_threads(pool) == 1, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  CHECK(pool != NULL || strstr(downhill_last_error(), "no memory") != NULL, "%s", downhill_last_error());
  out_of_memory(downhill_sgd_step_many(1, &tensor, &config, NULL, pool, NULL), memory, "one tensor");
  CHECK(downhill_sgd_step(1, memory, memory + 1, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  downhill_pool_free(pool);
  leave_all_room();
  pool = downhill_pool_new(4);
  CHECK(downhill_pool_threads(pool) == 4, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  CHECK(downhill_sgd_step_many(1, &tensor, &config, NULL, pool, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  downhill_pool_free(pool);
}

int main(void) {
  alarm(HANGS_AFTER);
  apart(no_memory_at_all);
  apart(threads_that_the_user_may_not_have);
  /* In this order: what threads have had, stacks and memory, the C library keeps for the next who asks. */
  lists_that_cannot_be_had();
  threads_that_cannot_start();
  more_threads_than_are_of_use();
  any_room();
  printf("fewer threads where there are no more, a status where there is no memory\n");
  return 0;
}
