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

/* A list, and where training leads from there. */
typedef struct {
  list start, end;
} training;

static training new_training(size_t elements) {
  training x;
  x.start = training_list(elements, 2);
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

/* Steps with the pools of those before, makes its own, forks so many generations, and frees all. */
static void descend(const training *large, downhill_pool *inherited, int generations);

#ifdef __linux__
/* As _Fork() does and clone() can: no handler of pthread_atfork() runs. */
static pid_t bare_fork(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
#else
static pid_t bare_fork(void) { return fork(); }
#endif

static void fork_and_descend(const training *large, downhill_pool *pool, int generations) {
  static int calls;
  int status;
  const pid_t child = calls++ % 2 == 0 ? fork() : bare_fork();
  CHECK(child >= 0, "cannot fork");
  if (child == 0) {
    alarm(HANGS_AFTER);
    descend(large, pool, generations);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child, "no child");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x (signal 14: it hung)", (unsigned)status);
}

static void descend(const training *large, downhill_pool *inherited, int generations) {
  downhill_pool *const own = downhill_pool_new(4);
  compare_training(&large->start, &large->end, inherited, "in a child, with its parent's pool");
  compare_training(&large->start, &large->end, own, "in a child, with its own pool");
  if (generations > 1) fork_and_descend(large, own, generations - 1);
  compare_training(&large->start, &large->end, own, "in a child, after it forked itself");
  downhill_pool_free(inherited);
  downhill_pool_free(own);
}

static void forks(const training *large) {
  downhill_pool *const pool = downhill_pool_new(4);
  compare_training(&large->start, &large->end, pool, "before a fork");
  fork_and_descend(large, pool, 2);
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
  for (i = 0; i < FORKS; i++) fork_and_descend(large, pool, 1);
  pthread_mutex_lock(&lock);
  ended = 1;
  pthread_mutex_unlock(&lock);
  pthread_join(thread, NULL);
  compare_training(&large->start, &large->end, pool, "after forks during steps");
  downhill_pool_free(pool);
}

/* ---- a small stack ---- */

/* Every rule on a list, one after another, and an error's text. */
typedef struct {
  list l;
  downhill_pool *pool;
} all_rules;

static void *step_with_all_rules(void *argument) {
  all_rules *const all = (all_rules *)argument;
  downhill_extras extras = downhill_extras_default();
  downhill_report report;
  const rule *r;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_SKIP_NONFINITE;
  for (r = rules; r < rules + RULES; r++) {
    const any_config config = r->defaults();
    downhill_status status = r->step_many(all->l.count, all->l.tensors, 3, &config, &extras, all->pool, &report);
    CHECK(status == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
    status = r->step_many(1, NULL, 3, &config, &extras, all->pool, &report);
    CHECK(status == DOWNHILL_STATUS_NULL_POINTER, "%s: status %lu", r->name, (unsigned long)status);
  }
  return NULL;
}

/* What takes most: two states and weights to be widened. */
static void *step_packed(void *argument) {
  enum { ELEMENTS = 200000 };
  downhill_pool *const pool = (downhill_pool *)argument;
  const downhill_adam config = downhill_adamw_default();
  downhill_extras extras = downhill_extras_default();
  downhill_packing packing = downhill_packing_default();
  uint32_t format;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_SKIP_NONFINITE | DOWNHILL_ZERO_GRAD;
  packing.weight_format = DOWNHILL_WEIGHT_FORMAT_BF16;
  for (format = DOWNHILL_STATE_FORMAT_BITS8; format <= DOWNHILL_STATE_FORMAT_BF16; format++) {
    const size_t bytes = downhill_packed_bytes(2, ELEMENTS, format);
    uint16_t *const w = (uint16_t *)calloc(ELEMENTS, sizeof *w), *const g = (uint16_t *)calloc(ELEMENTS, sizeof *g);
    uint8_t *const state = (uint8_t *)calloc(bytes, 1);
    downhill_packed_tensor tensor = {ELEMENTS, w, g, state, bytes, 0};
    CHECK(w != NULL && g != NULL && state != NULL, "no memory");
    packing.state_format = format;
    CHECK(downhill_adamw_step_packed(1, &tensor, 1, &config, &packing, &extras, pool, NULL) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    free(w), free(g), free(state);
  }
  return NULL;
}

static void a_small_stack(void) {
  enum { STACK = 32 << 10 };
  downhill_pool *const pools[] = {NULL, downhill_pool_new(2)};
  all_rules usual;
  list first = training_list(LARGE, MOST_STATES);
  pthread_attr_t attributes;
  int i;
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, STACK) != 0) printf("SKIPPED: this system has no stacks of 32 KiB\n");
  usual.l = copy_list(&first);
  usual.pool = NULL;
  step_with_all_rules(&usual);
  for (i = 0; i < 2; i++) {
    all_rules on_a_small_stack;
    pthread_t thread;
    on_a_small_stack.l = copy_list(&first);
    on_a_small_stack.pool = pools[i];
    start(&thread, &attributes, step_with_all_rules, &on_a_small_stack);
    pthread_join(thread, NULL);
    start(&thread, &attributes, step_packed, pools[i]);
    pthread_join(thread, NULL);
    CHECK(difference(&usual.l, &on_a_small_stack.l) == first.length, "other bits on a small stack, pool %d", i);
    free_list(&on_a_small_stack.l);
  }
  pthread_attr_destroy(&attributes);
  downhill_pool_free(pools[1]);
  free_list(&usual.l);
  free_list(&first);
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
    printf("SKIPPED in an emulator, in which threads look different and do not survive a fork: signals, ends, forks\n");
  } else {
    workers();
    forks(&large);
    forks_at_work(&large);
  }
  free_list(&large.start), free_list(&large.end);
  free_list(&small.start), free_list(&small.end);
  printf("the same bits with any pool, anywhere\n");
  return 0;
}
