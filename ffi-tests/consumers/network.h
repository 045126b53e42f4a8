/* A network that reads handwritten digits: 64 pixels, a hidden layer of rectified linear units, 10 classes. Its loss
 * is the cross-entropy of the softmax. In the common subset of C99 and C++11. */
#ifndef NETWORK_H
#define NETWORK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { PIXELS = 64, HIDDEN = 48, CLASSES = 10, DIGITS = 1797 };

typedef struct {
  float pixels[PIXELS]; /* from 0 to 1 */
  int label;
} digit;

/* The weights; or a gradient, or an optimizer's state, which have the same shape. */
typedef struct {
  float w1[HIDDEN * PIXELS]; /* row by row: the weights of one unit after another */
  float b1[HIDDEN];
  float w2[CLASSES * HIDDEN];
  float b2[CLASSES];
} network;

/* ---- data and random numbers ---- */

/* A file with a digit in each line: 64 pixels from 0 to 16, then the class, with commas between. Gives 1, or says what
 * is wrong and gives 0. */
static inline int read_digits(const char *path, digit *digits) {
  FILE *file = fopen(path, "r");
  int i, k, pixel = 0, ok = 1;
  if (file == NULL) {
    perror(path);
    return 0;
  }
  for (i = 0; ok && i < DIGITS; i++) {
    for (k = 0; ok && k < PIXELS; k++) {
      ok = fscanf(file, "%d,", &pixel) == 1;
      digits[i].pixels[k] = (float)pixel / 16.0f;
    }
    ok = ok && fscanf(file, "%d", &digits[i].label) == 1 && digits[i].label >= 0 && digits[i].label < CLASSES;
  }
  fclose(file);
  if (!ok) fprintf(stderr, "%s, line %d: not a digit\n", path, i);
  return ok;
}

/* Every fifth digit is held out, to test with. */
static inline int is_test(int i) { return i % 5 == 0; }

/* The next number of a fixed sequence (Knuth's MMIX generator). */
static inline uint32_t draw(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 32);
}

static inline void shuffle(int *order, int count, uint64_t *random) {
  int i;
  for (i = count - 1; i > 0; i--) {
    const int j = (int)(draw(random) % (uint32_t)(i + 1)), swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
}

/* Uniform numbers of variance 2/inputs (He et al. 2015). */
static inline void fill(float *w, int count, int inputs, uint64_t *random) {
  int i;
  for (i = 0; i < count; i++) w[i] = ((float)draw(random) / 2147483648.0f - 1.0f) * sqrtf(6.0f / (float)inputs);
}

static inline void initialize(network *net, uint64_t *random) {
  fill(net->w1, HIDDEN * PIXELS, PIXELS, random);
  fill(net->w2, CLASSES * HIDDEN, HIDDEN, random);
}

/* ---- the network ---- */

/* y = w x + b, w row by row. */
static inline void linear(const float *w, const float *b, const float *x, int inputs, float *y, int outputs) {
  int i, k;
  for (k = 0; k < outputs; k++) {
    y[k] = b[k];
    for (i = 0; i < inputs; i++) y[k] += w[k * inputs + i] * x[i];
  }
}

/* What the hidden units give, and the logarithm of each class's probability but for a common constant. */
static inline void forward(const network *net, const digit *d, float *hidden, float *z) {
  int k;
  linear(net->w1, net->b1, d->pixels, PIXELS, hidden, HIDDEN);
  for (k = 0; k < HIDDEN; k++) hidden[k] = fmaxf(hidden[k], 0.0f);
  linear(net->w2, net->b2, hidden, HIDDEN, z, CLASSES);
}

static inline int largest(const float *z) {
  int k, best = 0;
  for (k = 1; k < CLASSES; k++) best = z[k] > z[best] ? k : best;
  return best;
}

/* Adds the gradient of one digit's loss to g, and gives the loss. */
static inline float add_gradient(const network *net, const digit *d, network *g) {
  float hidden[HIDDEN], z[CLASSES], dz[CLASSES], dhidden, sum = 0.0f;
  int i, k, max;
  forward(net, d, hidden, z);
  max = largest(z);
  for (k = 0; k < CLASSES; k++) {
    dz[k] = expf(z[k] - z[max]);
    sum += dz[k];
  }
  for (k = 0; k < CLASSES; k++) dz[k] = dz[k] / sum - (k == d->label ? 1.0f : 0.0f);
  for (k = 0; k < CLASSES; k++) {
    g->b2[k] += dz[k];
    for (i = 0; i < HIDDEN; i++) g->w2[k * HIDDEN + i] += dz[k] * hidden[i];
  }
  for (i = 0; i < HIDDEN; i++) {
    if (hidden[i] == 0.0f) continue;
    dhidden = 0.0f;
    for (k = 0; k < CLASSES; k++) dhidden += dz[k] * net->w2[k * HIDDEN + i];
    g->b1[i] += dhidden;
    for (k = 0; k < PIXELS; k++) g->w1[i * PIXELS + k] += dhidden * d->pixels[k];
  }
  return logf(sum) + z[max] - z[d->label];
}

/* How much of the digits that were held out it reads. */
static inline double accuracy(const network *net, const digit *digits) {
  float hidden[HIDDEN], z[CLASSES];
  int i, right = 0, tested = 0;
  for (i = 0; i < DIGITS; i++) {
    if (!is_test(i)) continue;
    forward(net, &digits[i], hidden, z);
    right += largest(z) == digits[i].label;
    tested++;
  }
  return (double)right / tested;
}

#endif
