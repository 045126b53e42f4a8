/* A plain step allocates nothing: counts every malloc of the process through glibc's own. */
#include "model.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static unsigned long allocations;

void *malloc(size_t size) { return allocations++, __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return allocations++, __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return allocations++, __libc_realloc(block, size); }

/* A whole step has one list of groups, and of what they come to, however many tensors there are. */
static void whole_steps(void) {
  enum { TENSORS = 3000 };
  size_t n[TENSORS], i;
  unsigned long few, many;
  for (i = 0; i < TENSORS; i++) n[i] = 20;
  for (i = 0; i < RULES; i++) {
    const any_config config = configure(&rules[i], 0, L2);
    downhill_group group = new_group(&config, TENSORS);
    model m;
    group.weight_type = weight_types[i % WEIGHT_TYPES];
    m = new_model(1, &group, n, BY_TENSOR, 8);
    fill_model(&m, uniform);
    m.groups[0].count = 1;
    few = allocations;
    CHECK(downhill_step(1, m.groups, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    few = allocations - few;
    m.groups[0].count = TENSORS;
    many = allocations;
    CHECK(downhill_step(1, m.groups, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    many = allocations - many;
    CHECK(many == few && few <= 4, "%s: %lu allocations for one tensor, %lu for many", rules[i].name, few, many);
    free_model(&m);
  }
}

int main(void) {
  enum { N = 1003, STEPS = 100 };
  static float w[N], g[N], states[MOST_STATES][N];
  any_config config = rules[0].defaults();
  float *no_state[1] = {NULL};
  unsigned long before;
  uint64_t t;
  int i;
  /* The first call may look at the CPU and the environment. */
  CHECK(rules[0].step(N, w, g, no_state, 1, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  for (i = 0; i < RULES; i++) {
    float *state[MOST_STATES] = {states[0], states[1], states[2]};
    config = rules[i].defaults();
    drop_states(&rules[i], &config, state);
    before = allocations;
    for (t = 1; t <= STEPS; t++)
      CHECK(rules[i].step(N, w, g, state, t, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(allocations == before, "%s: %lu allocations in %d steps", rules[i].name, allocations - before, STEPS);
  }
  whole_steps();
  /* An error has a text to keep: the counter counts. */
  before = allocations;
  config = rules[0].defaults();
  set_field(&rules[0], &config, "lr", -1.0);
  CHECK(rules[0].step(N, w, g, no_state, 1, &config) == DOWNHILL_STATUS_INVALID_CONFIG, "accepted");
  CHECK(allocations > before, "the counter does not count");
  printf("no allocation in %d steps of each rule\n", STEPS);
  return 0;
}
