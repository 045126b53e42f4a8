/* Softmax regression on the digits, by mini-batches in order, with one of the rules: its defaults but for
 * the named fields. Prints the bits of every weight and state, which the test compares with the same run
 * in Rust.
 *
 *   trainer DIGITS.CSV EPOCHS BATCH_SIZE RULE [FIELD VALUE]...
 */
#include "rules.h"

enum { SAMPLES = 1437, PIXELS = 64, CLASSES = 10, WEIGHTS = PIXELS * CLASSES + CLASSES };

static float inputs[SAMPLES][PIXELS];
static int labels[SAMPLES];

static void read_digits(const char *path) {
  FILE *file = fopen(path, "r");
  int i, k, pixel;
  CHECK(file != NULL, "cannot open %s", path);
  for (i = 0; i < SAMPLES; i++) {
    for (k = 0; k < PIXELS; k++) {
      CHECK(fscanf(file, "%d,", &pixel) == 1, "%s, line %d", path, i + 1);
      inputs[i][k] = (float)pixel / 16.0f;
    }
    CHECK(fscanf(file, "%d", &labels[i]) == 1, "%s, line %d", path, i + 1);
  }
  fclose(file);
}

/* Adds one sample's gradient to g. The weights are a PIXELS x CLASSES matrix, then a bias for each class. */
static void add_gradient(const float *w, const float *x, int label, float *g) {
  const float *bias = w + PIXELS * CLASSES;
  float z[CLASSES], max, sum = 0.0f;
  int i, k;
  for (k = 0; k < CLASSES; k++) z[k] = bias[k];
  for (i = 0; i < PIXELS; i++)
    for (k = 0; k < CLASSES; k++) z[k] += x[i] * w[i * CLASSES + k];
  max = z[0];
  for (k = 0; k < CLASSES; k++) max = z[k] > max ? z[k] : max;
  for (k = 0; k < CLASSES; k++) {
    z[k] = (float)exp((double)(z[k] - max));
    sum += z[k];
  }
  for (k = 0; k < CLASSES; k++) z[k] /= sum;
  z[label] -= 1.0f;
  for (i = 0; i < PIXELS; i++)
    for (k = 0; k < CLASSES; k++) g[i * CLASSES + k] += x[i] * z[k];
  for (k = 0; k < CLASSES; k++) g[PIXELS * CLASSES + k] += z[k];
}

static void print_bits(const float *x) {
  int i;
  for (i = 0; i < WEIGHTS; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    printf("%08lx\n", (unsigned long)bits);
  }
}

int main(int argc, char **argv) {
  static float w[WEIGHTS], g[WEIGHTS], states[MOST_STATES][WEIGHTS];
  float *state[MOST_STATES] = {states[0], states[1], states[2]};
  const rule *r;
  any_config config;
  uint64_t t = 0;
  int epoch, epochs, batch_size, start, i;
  CHECK(argc >= 5 && argc % 2 == 1, "usage: trainer DIGITS.CSV EPOCHS BATCH_SIZE RULE [FIELD VALUE]...");
  read_digits(argv[1]);
  epochs = atoi(argv[2]);
  batch_size = atoi(argv[3]);
  r = find_rule(argv[4]);
  config = r->defaults();
  for (i = 5; i < argc; i += 2) set_field(r, &config, argv[i], atof(argv[i + 1]));
  drop_states(r, &config, state);
  for (epoch = 0; epoch < epochs; epoch++)
    for (start = 0; start < SAMPLES; start += batch_size) {
      for (i = 0; i < WEIGHTS; i++) g[i] = 0.0f;
      for (i = start; i < start + batch_size && i < SAMPLES; i++) add_gradient(w, inputs[i], labels[i], g);
      CHECK(r->step(WEIGHTS, w, g, state, ++t, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    }
  print_bits(w);
  for (i = 0; i < MOST_STATES; i++) print_bits(state[i]);
  return 0;
}
