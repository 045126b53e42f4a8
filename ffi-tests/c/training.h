/* A model that several threads work on, a few steps on it by every rule and type, and what these must lead to.
 * In the common subset of C99 and C++11. */
#ifndef TRAINING_H
#define TRAINING_H

#include "model.h"

/* Elements for which four threads work, and for which one does. */
enum { LARGE = 600000, SMALL = 5000, TRAINING_STEPS = 3 };

/* A few are subnormal, with which arithmetic is slow. */
static inline float small_float(void) {
  const float subnormal = float_of(draw() % 0x800000u | (draw() % 2) << 31);
  return draw() % 200 == 0 ? subnormal : uniform();
}

/* A group of each rule, all of other types, rounded at random; one tensor has half of all elements. */
static inline model training_model(size_t elements) {
  any_config configs[RULES];
  downhill_group groups[RULES];
  size_t n[2 * RULES], i;
  model m;
  for (i = 0; i < RULES; i++) {
    configs[i] = configure(&rules[i], rules[i].variants - 1, DECOUPLED);
    groups[i] = new_group(&configs[i], 2);
    groups[i].weight_type = weight_types[i % WEIGHT_TYPES];
    groups[i].gradient_type = gradient_types[i % GRADIENT_TYPES];
    groups[i].state_type = state_types[i % (fits_in_8_bits(&configs[i]) ? 3 : 2)];
    groups[i].copy_type = copy_types[i % COPY_TYPES];
    groups[i].rounding = DOWNHILL_ROUNDING_STOCHASTIC;
    n[2 * i] = i % 5 == 0 ? 0 : 3 + i;
    n[2 * i + 1] = i == RULES / 2 ? elements / 2 : elements / 2 / RULES;
  }
  m = new_model(RULES, groups, n, SHUFFLED, 20);
  fill_model(&m, small_float);
  return m;
}

static inline void train(model *m, downhill_pool *pool) {
  downhill_extras extras = downhill_extras_default();
  uint64_t t;
  size_t i;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_EXTRAS_SKIP_NONFINITE;
  for (t = 1; t <= TRAINING_STEPS; t++) {
    for (i = 0; i < m->count; i++) m->groups[i].t = t;
    CHECK(downhill_step(m->count, m->groups, &extras, pool, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  }
}

/* Where training with one thread leads. */
static inline model trained(const model *start) {
  model m = copy_model(start);
  train(&m, NULL);
  return m;
}

static inline void compare_training(const model *start, const model *end, downhill_pool *pool, const char *where) {
  model ours = copy_model(start);
  train(&ours, pool);
  compare_models(&ours, end, where);
  free_model(&ours);
}

#endif
