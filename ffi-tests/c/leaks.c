/* A program as a user writes it, for checkers of leaks and races: it makes pools, steps with them, from two threads, too,
 * meets an error, and frees everything. With an argument it does one thing wrong, which the checker must see. */
#include <downhill.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N = 400000, STEPS = 3 };

typedef struct {
  float *w, *g, *m, *v;
  downhill_pool *pool;
} model;

static float *array(void) {
  float *memory = (float *)calloc(N, sizeof(float));
  CHECK(memory != NULL, "no memory");
  return memory;
}

static model new_model(downhill_pool *pool) {
  model x;
  x.w = array(), x.g = array(), x.m = array(), x.v = array(), x.pool = pool;
  return x;
}

static void free_model(model *x) { free(x->w), free(x->g), free(x->m), free(x->v); }

static void *train(void *argument) {
  model *const x = (model *)argument;
  downhill_adam config = downhill_adam_default();
  downhill_extras extras = downhill_extras_default();
  downhill_group group = downhill_group_default();
  uint64_t t = 1;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD;
  while (t <= STEPS) {
    downhill_tensor tensor;
    int i;
    memset(&tensor, 0, sizeof tensor);
    tensor.n = N, tensor.w = x->w, tensor.g = x->g, tensor.state[0] = x->m, tensor.state[1] = x->v;
    group.t = t, group.config = &config, group.count = 1, group.tensors = &tensor;
    for (i = 0; i < N; i++) x->g[i] = x->w[i] - 1.0f;
    CHECK(downhill_step(1, &group, &extras, x->pool, NULL) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    for (i = 0; i < N; i++) CHECK(x->g[i] == 0.0f && x->w[i] > 0.0f, "element %d", i);
    t++;
  }
  config.lr = -1.0;
  CHECK(downhill_adam_step(N, x->w, x->g, x->m, x->v, 1, &config) == DOWNHILL_STATUS_INVALID_CONFIG, "no error");
  return NULL;
}

static int race;
static void *add(void *argument) {
  int i;
  for (i = 0; i < 1000; i++) race++;
  return argument;
}

int main(int count, char **arguments) {
  downhill_pool *const pool = downhill_pool_new(3);
  model models[2];
  pthread_t thread;
  models[0] = new_model(pool), models[1] = new_model(pool);
  CHECK(pthread_create(&thread, NULL, train, &models[1]) == 0, "pthread_create");
  train(&models[0]);
  pthread_join(thread, NULL);
  if (count > 1 && strcmp(arguments[1], "race") == 0) {
    CHECK(pthread_create(&thread, NULL, add, NULL) == 0, "pthread_create");
    add(NULL);
    pthread_join(thread, NULL);
  }
  if (count > 1 && strcmp(arguments[1], "leak") == 0) {
    models[0].m[0] = 1.0f, models[0].m = NULL;
  }
  free_model(&models[0]), free_model(&models[1]);
  downhill_pool_free(pool);
  printf("nothing is left\n");
  return 0;
}
