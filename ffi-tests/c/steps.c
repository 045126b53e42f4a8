/* Every step against a plain C loop, bit by bit: every option, every small length, every offset. */
#include <downhill.h>

#include "check.h"

enum { MOST_STATES = 2, MARGIN = 20, DECAYS = 3 };

/* An option is a variant of the rule and one of: no decay, L2, decoupled. */
static uint32_t decay_of(int option) { return option % DECAYS == 2 ? DOWNHILL_DECAY_DECOUPLED : DOWNHILL_DECAY_L2; }
static double weight_decay_of(int option) { return option % DECAYS == 0 ? 0.0 : 0.1; }
static int variant_of(int option) { return option / DECAYS; }

typedef struct {
  const char *name;
  int states, variants;
  downhill_status (*step)(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option);
  void (*plain)(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option);
} rule;

/* A subnormal state is read as +0. */
static float read_state(float x) { return x == 0.0f || fpclassify(x) == FP_SUBNORMAL ? 0.0f : x; }

static void apply_decay(float *w, float *g, uint32_t decay, double weight_decay, double lr) {
  if (weight_decay == 0.0) return;
  if (decay == DOWNHILL_DECAY_L2) {
    *g = *g + (float)weight_decay * *w;
  } else {
    *w = *w * (float)(1.0 - lr * weight_decay);
  }
}

static double power(double x, uint64_t t) {
  double y = 1.0;
  for (; t > 0; t >>= 1, x *= x)
    if (t & 1) y *= x;
  return y;
}

/* ---- sgd ---- */

static downhill_sgd sgd_config(int option) {
  downhill_sgd config = downhill_sgd_default();
  config.lr = 0.05;
  config.decay = decay_of(option);
  config.weight_decay = weight_decay_of(option);
  return config;
}

static downhill_status sgd_step(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option) {
  downhill_sgd config = sgd_config(option);
  (void)state, (void)t;
  return downhill_sgd_step(n, w, g, &config);
}

static void sgd_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option) {
  downhill_sgd config = sgd_config(option);
  float lr = (float)config.lr;
  size_t i;
  (void)state, (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, config.decay, config.weight_decay, config.lr);
    w[i] = w_i - lr * g_i;
  }
}

/* ---- momentum: classic, torch, torch with dampening ---- */

static downhill_momentum momentum_config(int option) {
  downhill_momentum config = downhill_momentum_default();
  config.lr = 0.05;
  config.momentum = 0.8;
  config.form = variant_of(option) == 0 ? DOWNHILL_FORM_CLASSIC : DOWNHILL_FORM_TORCH;
  config.dampening = variant_of(option) == 2 ? 0.3 : 0.0;
  config.decay = decay_of(option);
  config.weight_decay = weight_decay_of(option);
  return config;
}

static downhill_status momentum_step(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option) {
  downhill_momentum config = momentum_config(option);
  (void)t;
  return downhill_momentum_step(n, w, g, state[0], &config);
}

static void momentum_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option) {
  downhill_momentum config = momentum_config(option);
  float *u = state[0];
  float lr = (float)config.lr, momentum = (float)config.momentum, fresh = (float)(1.0 - config.dampening);
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i], u_i = read_state(u[i]);
    apply_decay(&w_i, &g_i, config.decay, config.weight_decay, config.lr);
    if (config.form == DOWNHILL_FORM_CLASSIC) {
      u[i] = momentum * u_i + lr * g_i;
      w[i] = w_i - u[i];
    } else {
      u[i] = momentum * u_i + fresh * g_i;
      w[i] = w_i - lr * u[i];
    }
  }
}

/* ---- adam: bias correction by step, constant, none ---- */

static downhill_adam adam_config(int option) {
  downhill_adam config = downhill_adam_default();
  config.lr = 0.05;
  config.beta1 = 0.8;
  config.beta2 = 0.99;
  config.eps = 1e-6;
  config.bias_correction = (uint32_t)variant_of(option);
  config.decay = decay_of(option);
  config.weight_decay = weight_decay_of(option);
  return config;
}

static downhill_status adam_step(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option) {
  downhill_adam config = adam_config(option);
  return downhill_adam_step(n, w, g, state[0], state[1], t, &config);
}

static void adam_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, int option) {
  downhill_adam config = adam_config(option);
  float *m = state[0], *v = state[1];
  double c1 = 1.0, c2 = 1.0;
  if (config.bias_correction == DOWNHILL_BIAS_CORRECTION_STEP) {
    c1 = 1.0 - power(config.beta1, t);
    c2 = 1.0 - power(config.beta2, t);
  } else if (config.bias_correction == DOWNHILL_BIAS_CORRECTION_CONSTANT) {
    c1 = 1.0 - config.beta1;
    c2 = 1.0 - config.beta2;
  }
  float a = (float)(config.lr / c1), k = (float)(1.0 / sqrt(c2)), eps = (float)config.eps;
  float beta1 = (float)config.beta1, fresh1 = (float)(1.0 - config.beta1);
  float beta2 = (float)config.beta2, fresh2 = (float)(1.0 - config.beta2);
  size_t i;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, config.decay, config.weight_decay, config.lr);
    m[i] = beta1 * read_state(m[i]) + fresh1 * g_i;
    v[i] = beta2 * read_state(v[i]) + fresh2 * g_i * g_i;
    w[i] = w_i - (a * m[i]) / (sqrtf(v[i]) * k + eps);
  }
}

static const rule rules[] = {
    {"sgd", 0, 1, sgd_step, sgd_plain},
    {"momentum", 1, 3, momentum_step, momentum_plain},
    {"adam", 2, 3, adam_step, adam_plain},
};

/* ---- the comparison ---- */

/* w, g and the states, each with a margin in front (which shifts its alignment) and behind. */
typedef struct {
  size_t n;
  float *block[2 + MOST_STATES];
  float *array[2 + MOST_STATES];
} arrays;

static size_t block_length(size_t n) { return MARGIN + n + MARGIN; }

static arrays new_arrays(size_t n, size_t offset) {
  arrays a;
  int k;
  size_t i;
  a.n = n;
  for (k = 0; k < 2 + MOST_STATES; k++) {
    a.block[k] = (float *)malloc(block_length(n) * sizeof(float));
    CHECK(a.block[k] != NULL, "out of memory");
    a.array[k] = a.block[k] + offset;
    for (i = 0; i < block_length(n); i++) a.block[k][i] = any_float();
    /* A second moment is not negative. */
    if (k == 3)
      for (i = 0; i < n; i++) a.array[k][i] = fabsf(a.array[k][i]);
  }
  return a;
}

static arrays copy_arrays(const arrays *from, size_t offset) {
  arrays a = new_arrays(from->n, offset);
  int k;
  for (k = 0; k < 2 + MOST_STATES; k++) memcpy(a.block[k], from->block[k], block_length(a.n) * sizeof(float));
  return a;
}

static void free_arrays(arrays *a) {
  int k;
  for (k = 0; k < 2 + MOST_STATES; k++) free(a->block[k]);
}

static void compare(const rule *r, size_t n, size_t offset, int option) {
  arrays ours = new_arrays(n, offset), plain = copy_arrays(&ours, offset);
  uint64_t t;
  int k;
  size_t i;
  for (t = 1; t <= 3; t++) {
    downhill_status status = r->step(n, ours.array[0], ours.array[1], ours.array + 2, t, option);
    CHECK(status == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
    r->plain(n, plain.array[0], plain.array[1], plain.array + 2, t, option);
    for (i = 0; i < n; i++) ours.array[1][i] = plain.array[1][i] = any_float();
  }
  for (k = 0; k < 2 + MOST_STATES; k++)
    for (i = 0; i < block_length(n); i++)
      CHECK(same(ours.block[k][i], plain.block[k][i]), "%s option %d, n = %lu, offset %lu, array %d, element %ld: %a, not %a",
            r->name, option, (unsigned long)n, (unsigned long)offset, k, (long)i - (long)offset,
            (double)ours.block[k][i], (double)plain.block[k][i]);
  free_arrays(&ours);
  free_arrays(&plain);
}

int main(void) {
  const size_t large[] = {1000, 4095, 4096, 4097, 100003};
  unsigned long compared = 0;
  size_t r, n, offset, i;
  int option;
  for (r = 0; r < sizeof rules / sizeof *rules; r++)
    for (option = 0; option < rules[r].variants * DECAYS; option++) {
      for (n = 0; n <= 67; n++)
        for (offset = 0; offset < 16; offset++, compared++) compare(&rules[r], n, offset, option);
      for (i = 0; i < sizeof large / sizeof *large; i++, compared++) compare(&rules[r], large[i], i, option);
    }
  printf("%s: %lu runs, all the same bits\n", downhill_isa(), compared);
  return 0;
}
