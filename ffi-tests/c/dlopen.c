/* The library opened, used and closed at run time, in any order with threads and pools. Its path is the argument. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <downhill.h>

#include "check.h"

enum { N = 400000, THREADS = 2 };

typedef struct {
  void *library;
  downhill_status (*step)(size_t, float *, const float *, const downhill_sgd *);
  downhill_status (*whole_step)(size_t, const downhill_group *, const downhill_extras *, downhill_pool *, downhill_report *);
  downhill_pool *(*pool_new)(size_t);
  size_t (*pool_threads)(const downhill_pool *);
  void (*pool_free)(downhill_pool *);
  const char *(*last_error)(void);
} functions;

static void find(void *library, const char *name, void *function) {
  void *const address = dlsym(library, name);
  CHECK(address != NULL, "%s: %s", name, dlerror());
  memcpy(function, &address, sizeof address); /* ISO C has no cast from an object to a function */
}

static functions open_library(const char *path) {
  functions f;
  f.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CHECK(f.library != NULL, "%s", dlerror());
  find(f.library, "downhill_sgd_step", &f.step);
  find(f.library, "downhill_step", &f.whole_step);
  find(f.library, "downhill_pool_new", &f.pool_new);
  find(f.library, "downhill_pool_threads", &f.pool_threads);
  find(f.library, "downhill_pool_free", &f.pool_free);
  find(f.library, "downhill_last_error", &f.last_error);
  return f;
}

static void close_library(functions f) { CHECK(dlclose(f.library) == 0, "%s", dlerror()); }

/* A whole step by several threads moves each weight from 1 to 0.5, and back. */
static void step_with(functions f, downhill_pool *pool) {
  downhill_sgd config = downhill_sgd_default();
  float *const w = (float *)malloc(N * sizeof *w), *const g = (float *)malloc(N * sizeof *g);
  downhill_group group = downhill_group_default();
  downhill_tensor tensor;
  size_t i;
  CHECK(w != NULL && g != NULL, "out of memory");
  for (i = 0; i < N; i++) w[i] = 1.0f, g[i] = 5.0f;
  config.lr = 0.1;
  memset(&tensor, 0, sizeof tensor);
  tensor.n = N, tensor.w = w, tensor.g = g;
  group.t = 1, group.config = &config, group.count = 1, group.tensors = &tensor;
  CHECK(f.whole_step(1, &group, NULL, pool, NULL) == DOWNHILL_STATUS_OK, "%s", f.last_error());
  for (i = 0; i < N; i++) CHECK(w[i] == 0.5f, "element %lu: %a", (unsigned long)i, (double)w[i]);
  free(w);
  free(g);
}

static void use(functions f) {
  float w = 1.0f;
  const float g = 1.0f;
  downhill_sgd config = downhill_sgd_default();
  downhill_pool *const pool = f.pool_new(THREADS);
  CHECK(f.pool_threads(pool) == THREADS, "%lu threads", (unsigned long)f.pool_threads(pool));
  step_with(f, pool);
  f.pool_free(pool);
  config.lr = -1.0; /* so that this thread has an error, which lives in a variable of the thread */
  CHECK(f.step(1, &w, &g, &config) == DOWNHILL_STATUS_INVALID_CONFIG && w == 1.0f, "lr -1 was taken");
  CHECK(strstr(f.last_error(), "`lr` is -1") != NULL, "%s", f.last_error());
}

static const char *path;

/* A thread that has used the library, and ends after it was closed: the thread's variables are freed then. */
static void *use_and_close(void *argument) {
  const functions f = open_library(path);
  use(f);
  close_library(f);
  return argument;
}

static void in_a_thread(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, use_and_close, NULL) == 0, "no thread");
  CHECK(pthread_join(thread, NULL) == 0, "not joined");
}

/* A pool outlives one of two handles; and, as the library stays, all of them. */
static void with_a_pool_that_stays(void) {
  const functions first = open_library(path), second = open_library(path);
  downhill_pool *const pool = first.pool_new(THREADS);
  close_library(first);
  step_with(second, pool);
  close_library(second);
  step_with(second, pool);
  second.pool_free(pool);
}

int main(int count, char **arguments) {
  int i;
  CHECK(count == 2, "usage: %s LIBRARY", arguments[0]);
  path = arguments[1];
  alarm(HANGS_AFTER);
  for (i = 0; i < 3; i++) {
    in_a_thread();
    use_and_close(NULL);
    with_a_pool_that_stays();
  }
  printf("opened, used and closed\n");
  return 0;
}
