/* Whole steps called by all threads of an OpenMP team at once, with one pool, and each on its own; and a pool of a team. */
#include "training.h"

enum { TEAM = 4 };

static void on_team(void *context, size_t parts, void (*body)(void *), void *job) {
  (void)context;
#pragma omp parallel num_threads((int)parts)
  body(job);
}

int main(void) {
  model start = training_model(LARGE), end = trained(&start);
  downhill_pool *const pool = downhill_pool_new(2);
  downhill_pool *const team = downhill_pool_from(TEAM, on_team, NULL);
  int i, threads = 0;
#pragma omp parallel for num_threads(TEAM) schedule(static, 1) reduction(+ : threads)
  for (i = 0; i < TEAM; i++) {
    compare_training(&start, &end, pool, "in a team, with a pool");
    compare_training(&start, &end, NULL, "in a team, without a pool");
    threads++;
  }
  CHECK(threads == TEAM, "%d iterations", threads);
  CHECK(downhill_pool_threads(team) == TEAM, "%s", downhill_last_error());
  for (i = 0; i < 20; i++) compare_training(&start, &end, team, "by a team");
  downhill_pool_free(team);
  downhill_pool_free(pool);
  free_model(&start);
  free_model(&end);
  printf("the same bits in a team\n");
  return 0;
}
