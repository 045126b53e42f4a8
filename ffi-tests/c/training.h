/* A list that several threads work on, a few steps of AdamW on it, and what these must lead to.
 * In the common subset of C99 and C++11. */
#ifndef TRAINING_H
#define TRAINING_H

#include "lists.h"

/* Elements for which four threads work, and for which one does. */
enum { LARGE = 320000, SMALL = 5000, TRAINING_STEPS = 3 };

/* A few are subnormal, with which arithmetic is slow. */
static inline float small_float(void) {
  const uint32_t bits = draw() % 0x800000u | (draw() % 2) << 31;
  float x;
  memcpy(&x, &bits, sizeof x);
  return draw() % 200 == 0 ? x : uniform();
}

static inline list training_list(size_t elements, int states) {
  const size_t n[] = {elements / 2, 3, 0, elements / 3, 17, elements / 6};
  list l = new_list(sizeof n / sizeof *n, n, states, SHUFFLED, 5);
  int k;
  fill(&l, small_float);
  for (k = 0; k < states; k++) make_absolute(&l, k);
  return l;
}

static inline void train(list *l, downhill_pool *pool) {
  downhill_adam config = downhill_adamw_default();
  downhill_extras extras = downhill_extras_default();
  uint64_t t;
  config.weight_decay = 0.1;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_SKIP_NONFINITE;
  for (t = 1; t <= TRAINING_STEPS; t++)
    CHECK(downhill_adamw_step_many(l->count, l->tensors, t, &config, &extras, pool, NULL) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
}

/* Where training with one thread leads. */
static inline list trained(const list *start) {
  list l = copy_list(start);
  train(&l, NULL);
  return l;
}

static inline void compare_training(const list *start, const list *end, downhill_pool *pool, const char *where) {
  list ours = copy_list(start);
  size_t at;
  train(&ours, pool);
  at = difference(&ours, end);
  CHECK(at == ours.length, "%s: %s: %a, not %a", where, locate(&ours, at), (double)ours.memory[at], (double)end->memory[at]);
  free_list(&ours);
}

#endif
