/* A process forks while another of its threads is in its first downhill_pool_new(). The child may step, with a pool of
 * its own, too, if the parent has called downhill_isa() before, as the documents say. Registering for forks is made slow,
 * so that the fork comes in the middle of it if it is not done by then. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "training.h"

static volatile int registrations;

#ifdef __cplusplus
extern "C"
#endif
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object);

/* In the place of glibc's, which pthread_atfork() calls. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object) {
  int (*next)(void (*)(void), void (*)(void), void (*)(void), void *);
  *(void **)&next = dlsym(RTLD_NEXT, "__register_atfork");
  registrations++;
  usleep(300000);
  return next(prepare, parent, child, object);
}

static void *make_a_pool(void *argument) {
  downhill_pool_free(downhill_pool_new(2));
  return argument;
}

static void train_with_a_pool(void) {
  const model start = training_model(LARGE), end = trained(&start);
  downhill_pool *const pool = downhill_pool_new(2);
  compare_training(&start, &end, pool, "in the child");
  downhill_pool_free(pool);
}

int main(void) {
  pthread_t thread;
  pid_t child;
  int status;
  alarm(HANGS_AFTER);
  CHECK(downhill_isa()[0] != '\0', "no name");
  CHECK(registrations == 1, "the first look has registered %d times", registrations);
  CHECK(pthread_create(&thread, NULL, make_a_pool, NULL) == 0, "pthread_create");
  usleep(100000);
  child = fork();
  CHECK(child >= 0, "cannot fork");
  if (child == 0) {
    alarm(60);
    train_with_a_pool();
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child, "no child");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x (14: it hung)", (unsigned)status);
  CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
  CHECK(registrations == 1, "registered %d times", registrations);
  printf("a child of the first call steps\n");
  return 0;
}
