/* Threads that are cancelled (pthread_cancel) around calls: a call ends as it should, and the thread after it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <unistd.h>

#include "training.h"

/* What a thread does with a cancellation pending, and whether it came to the end. */
typedef struct {
  const model *start, *end;
  downhill_pool *pool;
  int done;
} subject;

static void make_a_pool(subject *x) {
  downhill_pool *const pool = downhill_pool_new(0);
  CHECK(pool != NULL, "%s", downhill_last_error());
  x->pool = pool;
}

static void make_a_bound_pool(subject *x) {
  const uint32_t nowhere = 1023;
  CHECK(downhill_pool_new_on(1, &nowhere) == NULL, "CPU 1023?");
  make_a_pool(x);
}

static void free_a_pool(subject *x) {
  downhill_pool_free(downhill_pool_new(3));
  (void)x;
}

static void step(subject *x) { compare_training(x->start, x->end, x->pool, "in a thread that is cancelled"); }

static void fail(subject *x) {
  downhill_adam config = downhill_adam_default();
  config.lr = -1.0;
  CHECK(downhill_adam_step(0, NULL, NULL, NULL, NULL, 1, &config) == DOWNHILL_STATUS_INVALID_CONFIG, "no error");
  CHECK(downhill_last_error()[0] == '`' && downhill_isa()[0] != '\0', "nothing is said");
  (void)x;
}

typedef void (*body)(subject *);
typedef struct {
  body run;
  subject *x;
} errand;

static void *with_a_cancellation_pending(void *argument) {
  const errand *const e = (const errand *)argument;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  CHECK(pthread_cancel(pthread_self()) == 0, "pthread_cancel");
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  e->run(e->x);
  e->x->done = 1;
  pthread_testcancel();
  CHECK(0, "a thread has outlived its cancellation");
  return NULL;
}

static void cancelled(body run, subject *x) {
  errand e;
  pthread_t thread;
  void *result;
  e.run = run, e.x = x, x->done = 0;
  CHECK(pthread_create(&thread, NULL, with_a_cancellation_pending, &e) == 0, "pthread_create");
  CHECK(pthread_join(thread, &result) == 0, "pthread_join");
  CHECK(result == PTHREAD_CANCELED && x->done == 1, "it ended %s the call", x->done ? "after" : "within");
}

int main(void) {
  model start, end;
  subject x;
  alarm(HANGS_AFTER);
  x.pool = NULL;
  /* The first call of the process. */
  cancelled(make_a_pool, &x);
  downhill_pool_free(x.pool);
  start = training_model(LARGE);
  end = trained(&start);
  x.start = &start, x.end = &end;
  cancelled(make_a_bound_pool, &x);
  downhill_pool_free(x.pool);
  cancelled(free_a_pool, &x);
  cancelled(fail, &x);
  x.pool = NULL;
  cancelled(step, &x);
  x.pool = downhill_pool_new(3);
  cancelled(step, &x);
  compare_training(&start, &end, x.pool, "afterwards");
  downhill_pool_free(x.pool);
  free_model(&start), free_model(&end);
  printf("cancellation waits for the end of a call\n");
  return 0;
}
