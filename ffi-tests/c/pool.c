/* Pools in somebody's process: its signals, its floating-point environment, its forks, its own threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <unistd.h>

#include "floating_point.h"
#include "training.h"

enum { CALLERS = 8, MOST_TASKS = 100 };

/* A model, and where training leads from there. */
typedef struct {
  model start, end;
} training;

static training new_training(size_t elements) {
  training x;
  x.start = training_model(elements);
  x.end = trained(&x.start);
  return x;
}

/* ---- how many threads ---- */

static void sizes_of_pools(const training *large) {
  const size_t cores = (size_t)sysconf(_SC_NPROCESSORS_CONF);
  size_t threads;
  downhill_pool *pool = downhill_pool_new(0);
  CHECK(downhill_pool_threads(pool) >= 1 && downhill_pool_threads(pool) <= cores, "%lu threads on %lu cores",
        (unsigned long)downhill_pool_threads(pool), (unsigned long)cores);
  compare_training(&large->start, &large->end, pool, "a thread for each CPU");
  downhill_pool_free(pool);
  for (threads = 1; threads <= 4; threads++) {
    pool = downhill_pool_new(threads);
    CHECK(downhill_pool_threads(pool) == threads, "%lu threads, not %lu", (unsigned long)downhill_pool_threads(pool),
          (unsigned long)threads);
    compare_training(&large->start, &large->end, pool, "a number of threads");
    downhill_pool_free(pool);
  }
  CHECK(downhill_pool_threads(NULL) == 1, "%lu threads", (unsigned long)downhill_pool_threads(NULL));
  downhill_pool_free(NULL);
}

/* ---- signals and the workers' end ---- */

#ifdef __linux__

/* The ids of this process's threads. */
static int tasks(long *ids) {
  DIR *directory = opendir("/proc/self/task");
  struct dirent *entry;
  int count = 0;
  CHECK(directory != NULL, "cannot open /proc/self/task");
  while ((entry = readdir(directory)) != NULL)
    if (entry->d_name[0] != '.' && count < MOST_TASKS) ids[count++] = atol(entry->d_name);
  closedir(directory);
  return count;
}

static unsigned long long blocked_by(long task) {
  unsigned long long blocked = 0;
  char path[100], line[200];
  FILE *file;
  snprintf(path, sizeof path, "/proc/self/task/%ld/status", task);
  file = fopen(path, "r");
  CHECK(file != NULL, "cannot open %s", path);
  while (fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, "SigBlk:", 7) == 0) blocked = strtoull(line + 7, NULL, 16);
  fclose(file);
  return blocked;
}

/* What an instruction of the thread itself raises, which the host may want to serve. */
static int is_raised_by_instructions(int number) {
  return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP ||
         number == SIGSYS;
}

/* All others are blocked, but for those that nothing can block, and the two or three that the C library keeps to itself. */
static void check_signals(long task) {
  unsigned long long blocked = blocked_by(task);
  int number;
  /* The C library starts a thread with all signals blocked, and gives it its mask then. */
  while ((blocked >> (SIGSEGV - 1) & 1) == 1) usleep(1000), blocked = blocked_by(task);
  for (number = 1; number <= SIGRTMAX; number++)
    if (number != SIGKILL && number != SIGSTOP && (number < 32 || number >= SIGRTMIN))
      CHECK((blocked >> (number - 1) & 1) == !is_raised_by_instructions(number), "signal %d: a worker's SigBlk is %llx",
            number, blocked);
}

static void block(int number) {
  sigset_t set;
  sigemptyset(&set);
  if (number != 0) sigaddset(&set, number);
  CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0, "pthread_sigmask");
}

static void workers(void) {
  long before[MOST_TASKS], after[MOST_TASKS];
  const int others = tasks(before);
  downhill_pool *pool;
  int all, i, j, found = 0;
  block(SIGUSR1);
  pool = downhill_pool_new(4);
  CHECK(blocked_by(getpid()) == 1ull << (SIGUSR1 - 1), "the caller's mask has become %llx", blocked_by(getpid()));
  block(0);
  all = tasks(after);
  CHECK(all == others + 3, "%d threads, and %d before the pool", all, others);
  for (i = 0; i < all; i++) {
    int is_new = 1;
    for (j = 0; j < others; j++)
      if (before[j] == after[i]) is_new = 0;
    if (is_new) check_signals(after[i]), found++;
  }
  CHECK(found == 3, "%d workers", found);
  downhill_pool_free(pool);
  /* The system takes a moment to forget a thread that has been joined. */
  while (tasks(after) != others) usleep(1000);
}

#else
static void workers(void) { printf("SKIPPED: without /proc the workers' signals and their end cannot be seen\n"); }
#endif

/* ---- the floating-point environment ---- */

static void environments(const training *large) {
  downhill_pool *const usual = downhill_pool_new(4);
  int i;
  for (i = 0; i < ENVIRONMENTS; i++) {
    const unsigned callers = enter_environment(i);
    downhill_pool *const pool = downhill_pool_new(4);
    compare_training(&large->start, &large->end, usual, "set after the pool was made");
    compare_training(&large->start, &large->end, pool, "set before the pool was made");
    CHECK(control() == callers, "the caller's environment is gone");
    leave_environment();
    compare_training(&large->start, &large->end, pool, "set while the pool was made");
    downhill_pool_free(pool);
  }
  downhill_pool_free(usual);
}

/* ---- fork ---- */

typedef pid_t forker(void);

/* Steps with the pools of those before, makes its own, forks this many generations, and frees all. */
static void descend(const training *large, downhill_pool *inherited, forker *by, int generations);

/* As _Fork() does and clone() can: no handler of pthread_atfork() runs, nor malloc's own. A lock that another thread has in malloc
 * stays closed in the child. So this is only for a process without other threads than workers, and waits until these have begun. */
static pid_t bare_fork(void) {
#ifdef __linux__
  usleep(50000);
  return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#else
  return fork();
#endif
}

static void fork_and_descend(const training *large, downhill_pool *pool, forker *by, int generations) {
  int status;
  const pid_t child = by();
  CHECK(child >= 0, "cannot fork");
  if (child == 0) {
    alarm(HANGS_AFTER);
    descend(large, pool, by, generations);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child, "no child");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x (signal 14: it hung)", (unsigned)status);
}

static void descend(const training *large, downhill_pool *inherited, forker *by, int generations) {
  downhill_pool *const own = downhill_pool_new(4);
  compare_training(&large->start, &large->end, inherited, "in a child, with its parent's pool");
  compare_training(&large->start, &large->end, own, "in a child, with its own pool");
  if (generations > 1) fork_and_descend(large, own, by, generations - 1);
  compare_training(&large->start, &large->end, own, "in a child, after it forked itself");
  downhill_pool_free(inherited);
  downhill_pool_free(own);
}

static void forks(const training *large) {
  downhill_pool *const pool = downhill_pool_new(4);
  compare_training(&large->start, &large->end, pool, "before a fork");
  fork_and_descend(large, pool, fork, 2);
  fork_and_descend(large, pool, bare_fork, 2);
  compare_training(&large->start, &large->end, pool, "after a fork");
  downhill_pool_free(pool);
}

/* ---- callers at once ---- */

/* What a thread does again and again, until it is told to end. */
typedef struct {
  const training *x;
  downhill_pool *pool;
  int times;
  pthread_mutex_t *lock; /* of `ended` */
  const int *ended;
} caller;

static int has_ended(const caller *c) {
  int ended;
  pthread_mutex_lock(c->lock);
  ended = *c->ended;
  pthread_mutex_unlock(c->lock);
  return ended;
}

static void *keep_training(void *argument) {
  const caller *const c = (const caller *)argument;
  int i;
  for (i = 0; i < c->times && !has_ended(c); i++)
    compare_training(&c->x->start, &c->x->end, c->pool, "in one of several threads");
  return NULL;
}

static void start(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
  CHECK(pthread_create(thread, attributes, body, argument) == 0, "cannot start a thread");
}

/* All with one pool; some have work for several threads, some for one. */
static void callers_at_once(const training *large, const training *small) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  const int never = 0;
  downhill_pool *const pool = downhill_pool_new(3);
  pthread_t threads[CALLERS];
  caller callers[CALLERS];
  int i;
  for (i = 0; i < CALLERS; i++) {
    const caller large_one = {large, pool, 4, &lock, &never}, small_one = {small, pool, 100, &lock, &never};
    callers[i] = i % 4 == 3 ? small_one : large_one;
    start(&threads[i], NULL, keep_training, &callers[i]);
  }
  for (i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
  downhill_pool_free(pool);
}

/* The workers are at work for another thread when the process forks. */
static void forks_at_work(const training *large) {
  enum { FORKS = 5, FOREVER = 1000000000 };
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  int ended = 0, i;
  downhill_pool *const pool = downhill_pool_new(2);
  caller other = {large, pool, FOREVER, &lock, &ended};
  pthread_t thread;
  start(&thread, NULL, keep_training, &other);
  for (i = 0; i < FORKS; i++) fork_and_descend(large, pool, fork, 1);
  pthread_mutex_lock(&lock);
  ended = 1;
  pthread_mutex_unlock(&lock);
  pthread_join(thread, NULL);
  compare_training(&large->start, &large->end, pool, "after forks during steps");
  downhill_pool_free(pool);
}

/* ---- a small stack ---- */

/* Every rule with every type, all extras, an error's text, and the sums of squares. */
typedef struct {
  model m;
  downhill_pool *pool;
} stepped;

static void *step_with_all(void *argument) {
  stepped *const x = (stepped *)argument;
  downhill_extras extras = downhill_extras_default();
  downhill_report report = downhill_report_default();
  double *const sums = (double *)allocate(x->m.tensor_count * sizeof *sums);
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_EXTRAS_SKIP_NONFINITE | DOWNHILL_EXTRAS_ZERO_GRAD;
  CHECK(downhill_grad_squares(x->m.count, x->m.groups, x->pool, sums) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(downhill_step(x->m.count, x->m.groups, &extras, x->pool, &report) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(downhill_step(1, NULL, &extras, x->pool, &report) == DOWNHILL_STATUS_NULL_POINTER, "no error");
  free(sums);
  return NULL;
}

/* A group for each combination of rule, weights and states, with gradients and copies of any type. */
static model all_combinations(void) {
  enum { MOST = RULES * WEIGHT_TYPES * STATE_TYPES };
  static any_config configs[MOST];
  static downhill_group groups[MOST];
  static size_t n[MOST];
  size_t count = 0;
  int i, weight, state;
  model m;
  for (i = 0; i < RULES; i++)
    for (weight = 0; weight < WEIGHT_TYPES; weight++)
      for (state = 0; state < STATE_TYPES; state++) {
        configs[count] = configure(&rules[i], rules[i].variants - 1, L2);
        if (state_types[state] == DOWNHILL_TYPE_8BIT && !fits_in_8_bits(&configs[count])) continue;
        groups[count] = new_group(&configs[count], 1);
        groups[count].weight_type = weight_types[weight];
        groups[count].state_type = state_types[state];
        groups[count].gradient_type = gradient_types[count % GRADIENT_TYPES];
        groups[count].copy_type = copy_types[count % COPY_TYPES];
        groups[count].rounding = count % 2;
        n[count++] = 5000;
      }
  m = new_model(count, groups, n, SHUFFLED, 20);
  fill_model(&m, small_float);
  return m;
}

static void a_small_stack(void) {
  enum { STACK = 32 << 10 };
  downhill_pool *const pools[] = {NULL, downhill_pool_new(2)};
  model first = all_combinations();
  stepped usual;
  pthread_attr_t attributes;
  int i;
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, STACK) != 0) printf("SKIPPED: this system has no stacks of 32 KiB\n");
  usual.m = copy_model(&first);
  usual.pool = NULL;
  step_with_all(&usual);
  for (i = 0; i < 2; i++) {
    stepped on_a_small_stack;
    pthread_t thread;
    on_a_small_stack.m = copy_model(&first);
    on_a_small_stack.pool = pools[i];
    start(&thread, &attributes, step_with_all, &on_a_small_stack);
    pthread_join(thread, NULL);
    compare_models(&on_a_small_stack.m, &usual.m, "on a small stack");
    free_model(&on_a_small_stack.m);
  }
  pthread_attr_destroy(&attributes);
  downhill_pool_free(pools[1]);
  free_model(&usual.m);
  free_model(&first);
}

static int is_emulated(void) {
  const char *runner = getenv("DOWNHILL_TEST_RUNNER");
  return runner != NULL && strstr(runner, "qemu") != NULL;
}

int main(void) {
  training large, small;
  alarm(HANGS_AFTER);
  large = new_training(LARGE);
  small = new_training(SMALL);
  sizes_of_pools(&large);
  environments(&large);
  callers_at_once(&large, &small);
  a_small_stack();
  if (is_emulated()) {
    printf("SKIPPED: signals, ends and forks, in an emulator, in which threads look different and do not survive a fork\n");
  } else {
    workers();
    forks(&large);
    forks_at_work(&large);
  }
  free_model(&large.start), free_model(&large.end);
  free_model(&small.start), free_model(&small.end);
  printf("the same bits with any pool, anywhere\n");
  return 0;
}
