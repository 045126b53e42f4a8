/* Trains a network to read handwritten digits, with AdamW over mini-batches, and prints the
 * loss as it falls.
 *
 *   mlp DIGITS.CSV
 *
 * Each step is one call for all tensors, of which the biases do not decay: gradients scaled to their
 * mean, clipped, applied by all cores, and set to zero for the next batch. */
#include <downhill.h>

#include <stdlib.h>
#include <string.h>

#include "network.h"

enum { EPOCHS = 20, BATCH = 32 };

/* A tensor of the network, with its gradient and the two states of Adam. */
#define TENSOR(name)                                                                         \
  {                                                                                          \
    .n = sizeof w.name / sizeof *w.name, .w = w.name, .g = g.name, .state = {m.name, v.name} \
  }

static digit digits[DIGITS];
static network w, g, m, v; /* weights, gradient, states: zeros */

static void print_epoch(int epoch, double loss) {
  int i;
  printf("epoch %2d  loss %.4f  ", epoch, loss);
  for (i = 0; i < 100 && i < loss * 50.0; i++) putchar('#');
  putchar('\n');
}

static downhill_group group_of(const downhill_adam *config, const downhill_tensor *tensors,
                               size_t count) {
  downhill_group group = downhill_group_default();
  group.config = config;
  group.tensors = tensors;
  group.count = count;
  return group;
}

int main(int argc, char **argv) {
  const downhill_tensor weights[] = {TENSOR(w1), TENSOR(w2)}, biases[] = {TENSOR(b1), TENSOR(b2)};
  downhill_adam decayed = downhill_adamw_default(), not_decayed;
  downhill_group groups[2];
  downhill_extras extras = downhill_extras_default();
  downhill_pool *pool;
  uint64_t random = 1, t = 1;
  int order[DIGITS], count = 0, epoch, start, i;
  downhill_status status;
  double test_accuracy;

  if (argc != 2) {
    fprintf(stderr, "usage: %s DIGITS.CSV\n", argv[0]);
    return EXIT_FAILURE;
  }
  if (!read_digits(argv[1], digits)) return EXIT_FAILURE;
  for (i = 0; i < DIGITS; i++)
    if (!is_test(i)) order[count++] = i;
  initialize(&w, &random);

  pool = downhill_pool_new(0); /* a thread for each CPU; large tensors are stepped by all of them */
  decayed.lr = 3e-3;
  not_decayed = decayed;
  not_decayed.weight_decay = 0.0;
  groups[0] = group_of(&decayed, weights, 2);
  groups[1] = group_of(&not_decayed, biases, 2);
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE;
  for (epoch = 1; epoch <= EPOCHS; epoch++) {
    double loss = 0.0;
    shuffle(order, count, &random);
    for (start = 0; start < count; start += BATCH) {
      const int end = start + BATCH < count ? start + BATCH : count;
      for (i = start; i < end; i++) loss += add_gradient(&w, &digits[order[i]], &g);
      extras.grad_scale = 1.0 / (end - start);
      groups[0].t = groups[1].t = t;
      status = downhill_step(2, groups, &extras, pool, NULL);
      if (status == DOWNHILL_STATUS_OK) {
        t++;
      } else if (status == DOWNHILL_STATUS_SKIPPED) {
        memset(&g, 0, sizeof g); /* a step that was skipped has left NaN in it, and is not counted */
      } else {
        fprintf(stderr, "%s\n", downhill_last_error());
        return EXIT_FAILURE;
      }
    }
    print_epoch(epoch, loss / count);
  }
  downhill_pool_free(pool);

  test_accuracy = accuracy(&w, digits);
  printf("%.1f %% of the digits that it has not seen\n", 100.0 * test_accuracy);
  return test_accuracy >= 0.95 ? EXIT_SUCCESS : EXIT_FAILURE;
}
