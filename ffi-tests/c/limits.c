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
  size_t threads;
  leave_room(room);
  pool = downhill_pool_new(4);
  threads = downhill_pool_threads(pool);
  train(&ours, pool);
  downhill_pool_free(pool);
  leave_all_room();
  CHECK(pool != NULL, "no pool: %s", downhill_last_error());
  CHECK(threads >= least && threads <= most, "%lu threads, not %lu to %lu", (unsigned long)threads, (unsigned long)least,
        (unsigned long)most);
  compare_models(&ours, end, "with little room");
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

/* The user may have this many threads and processes. */
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

/* No memory for it, and the weights, which are all 1, stay as they are. */
static void out_of_memory(downhill_status got, const float *memory, size_t count, const char *what) {
  size_t i;
  CHECK(got == DOWNHILL_STATUS_OUT_OF_MEMORY, "%s: status %lu: %s", what, (unsigned long)got, downhill_last_error());
  CHECK(strstr(downhill_last_error(), "no memory for lists of arrays") != NULL, "%s: %s", what, downhill_last_error());
  for (i = 0; i < count; i++) CHECK(memory[i] == 1.0f, "%s: something was written", what);
}

/* One step of a group of this many tensors, by the first rule of all, which has no states. */
static downhill_status take_step(size_t count, const downhill_tensor *tensors, const downhill_extras *extras, downhill_pool *pool) {
  const any_config config = rules[0].defaults();
  downhill_group group = new_group(&config, count);
  group.tensors = tensors;
  return downhill_step(1, &group, extras, pool, NULL);
}

/* Tensors of one element, backwards in memory, so that there is something to sort. */
typedef struct {
  downhill_tensor *tensors;
  float *memory;
} backwards;

static backwards new_backwards(size_t count) {
  backwards x;
  size_t i;
  x.tensors = (downhill_tensor *)calloc(count, sizeof *x.tensors);
  x.memory = (float *)malloc(2 * count * sizeof *x.memory);
  CHECK(x.tensors != NULL && x.memory != NULL, "out of memory");
  for (i = 0; i < count; i++) {
    x.memory[2 * i] = x.memory[2 * i + 1] = 1.0f;
    x.tensors[i].n = 1;
    x.tensors[i].w = x.memory + 2 * (count - 1 - i);
    x.tensors[i].g = x.memory + 2 * (count - 1 - i) + 1;
  }
  return x;
}

static void free_backwards(backwards *x) { free(x->tensors), free(x->memory); }

static void lists_that_cannot_be_had(void) {
  const any_config config = rules[0].defaults();
  backwards x = new_backwards(MANY);
  downhill_group *const groups = (downhill_group *)allocate(MANY * sizeof *groups);
  double *const sums = (double *)allocate(MANY * sizeof *sums);
  size_t i;
  for (i = 0; i < MANY; i++) groups[i] = new_group(&config, 1), groups[i].tensors = &x.tensors[MANY - 1 - i];
  leave_room(2 * (size_t)MANY);
  out_of_memory(take_step(MANY, x.tensors, NULL, NULL), x.memory, 2 * MANY, "arrays to sort");
  out_of_memory(downhill_step(MANY, groups, NULL, NULL, NULL), x.memory, 2 * MANY, "a list of groups");
  out_of_memory(downhill_grad_squares(MANY, groups, NULL, sums), x.memory, 2 * MANY, "sums");
  leave_all_room();
  CHECK(take_step(MANY, x.tensors, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(x.memory[0] < 1.0f && x.memory[1] == 1.0f, "no step");
  CHECK(downhill_grad_squares(MANY, groups, NULL, sums) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  for (i = 0; i < MANY; i++) CHECK(sums[i] == 1.0, "sum %lu is %g", (unsigned long)i, sums[i]);
  free_backwards(&x);
  free(groups), free(sums);
}

/* A list of rows that would have to be sorted. */
static void rows_that_cannot_be_sorted(void) {
  const any_config config = rules[0].defaults();
  float *const memory = (float *)allocate((MANY + 2) * sizeof *memory);
  int64_t *const rows = (int64_t *)allocate(MANY * sizeof *rows);
  downhill_tensor tensor;
  downhill_group group = new_group(&config, 1);
  size_t i;
  memset(&tensor, 0, sizeof tensor);
  for (i = 0; i < MANY + 2; i++) memory[i] = 1.0f;
  for (i = 0; i < MANY; i++) rows[i] = (int64_t)(1 - i % 2);
  tensor.n = 2, tensor.w = memory, tensor.g = memory + 2;
  tensor.rows = rows, tensor.row_count = MANY, tensor.row_length = 1, tensor.row_flags = DOWNHILL_ROWS_MERGE;
  group.tensors = &tensor;
  leave_room(2 * (size_t)MANY);
  out_of_memory(downhill_step(1, &group, NULL, NULL, NULL), memory, MANY + 2, "rows to sort");
  leave_all_room();
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(memory[0] < 1.0f && memory[1] < 1.0f, "no step");
  free(memory), free(rows);
}

/* With whatever room: a step by threads, or alone without memory to share, or none, but never an abort. */
static void any_room(void) {
  /* To sort their arrays takes 16 bytes for each of two: 80 MiB, more than the 64 MiB that the C library keeps for a
   * thread. */
  enum { TENSORS = 5 * MANY / 2 };
  downhill_extras extras = downhill_extras_default();
  backwards x = new_backwards(TENSORS);
  downhill_pool *const pool = downhill_pool_new(2);
  int made = 0, refused = 0;
  size_t room;
  extras.max_norm = 1.0;
  for (room = 0; room < (size_t)400 << 20; room += (size_t)40 << 20) {
    downhill_status status;
    leave_room(room);
    status = take_step(TENSORS, x.tensors, &extras, pool);
    leave_all_room();
    CHECK(status == DOWNHILL_STATUS_OK || status == DOWNHILL_STATUS_OUT_OF_MEMORY, "status %lu: %s", (unsigned long)status,
          downhill_last_error());
    status == DOWNHILL_STATUS_OK ? made++ : refused++;
  }
  CHECK(made > 0 && refused > 0, "%d made, %d refused", made, refused);
  downhill_pool_free(pool);
  free_backwards(&x);
}

/* Takes all memory there is, to the last bytes. */
static void exhaust(void) {
  size_t bytes;
  leave_room(0);
  for (bytes = MANY; bytes > 0; bytes /= 2)
    while (malloc(bytes) != NULL) continue;
}

/* A plain step needs none. A whole step needs lists, of which a short one may find a place that was free. */
static void no_memory_at_all(void) {
  enum { COUNT = 1000 };
  const any_config config = rules[0].defaults();
  backwards x = new_backwards(COUNT);
  float *no_state[1] = {NULL};
  downhill_status status;
  downhill_pool *pool;
  /* The thread's last error is a variable that the C library makes room for when it is first used. */
  CHECK(rules[0].step(1, NULL, x.memory, no_state, 1, &config) == DOWNHILL_STATUS_NULL_POINTER, "a NULL was taken");
  exhaust();
  pool = downhill_pool_new(4);
  CHECK(downhill_pool_threads(pool) == 1, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  CHECK(pool != NULL || strstr(downhill_last_error(), "no memory") != NULL, "%s", downhill_last_error());
  out_of_memory(take_step(COUNT, x.tensors, NULL, pool), x.memory, 2 * COUNT, "tensors to sort");
  status = take_step(1, x.tensors, NULL, pool);
  CHECK(status == DOWNHILL_STATUS_OK || status == DOWNHILL_STATUS_OUT_OF_MEMORY, "status %lu: %s", (unsigned long)status,
        downhill_last_error());
  CHECK(rules[0].step(1, x.memory, x.memory + 1, no_state, 1, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(x.memory[0] < 1.0f, "no step");
  downhill_pool_free(pool);
  leave_all_room();
  pool = downhill_pool_new(4);
  CHECK(downhill_pool_threads(pool) == 4, "%lu threads", (unsigned long)downhill_pool_threads(pool));
  CHECK(take_step(COUNT, x.tensors, NULL, pool) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  downhill_pool_free(pool);
}

int main(void) {
  alarm(HANGS_AFTER);
  apart(no_memory_at_all);
  apart(threads_that_the_user_may_not_have);
  /* In this order: what threads have had, stacks and memory, the C library keeps for the next who asks. */
  lists_that_cannot_be_had();
  rows_that_cannot_be_sorted();
  threads_that_cannot_start();
  more_threads_than_are_of_use();
  any_room();
  printf("fewer threads where there are no more, a status where there is no memory\n");
  return 0;
}
