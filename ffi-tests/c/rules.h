/* Everything that is known of each rule: its functions, states, fields and their ranges, its variants, and its step as a
 * plain C loop, written from the formulas in the header. In the common subset of C99 and C++11. */
#ifndef RULES_H
#define RULES_H

#include <downhill.h>

#include "check.h"

enum { MOST_STATES = 3, MOST_FIELDS = 8 };

typedef union {
  struct {
    uint32_t struct_size, rule;
  } head;
  downhill_sgd sgd;
  downhill_momentum momentum;
  downhill_nesterov nesterov;
  downhill_adagrad adagrad;
  downhill_adadelta adadelta;
  downhill_rmsprop rmsprop;
  downhill_adam adam;
  downhill_adamax adamax;
  downhill_nadam nadam;
  downhill_lion lion;
  downhill_signum signum;
  downhill_radam radam;
  downhill_ftrl ftrl;
} any_config;

/* What a field may be: a uint32_t with one of these values, or a double in a range. */
typedef enum { ONLY_0, ONLY_1, UP_TO_1, UP_TO_2, NON_NEGATIVE, POSITIVE, BELOW_ONE, AT_MOST_ONE } range;

typedef struct {
  const char *name;
  size_t offset;
  range allowed;
} field;

/* `needed_by` names the field without which the state is not there, if there is one. */
typedef struct {
  const char *name;
  int is_square; /* or a maximum: not negative */
  const char *needed_by;
} rule_state;

typedef downhill_status step_function(size_t n, float *w, const float *g, float *const *state, uint64_t t, const void *config);
typedef void plain_function(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config);

typedef struct {
  const char *name;
  uint32_t tag;
  size_t config_size;
  any_config (*defaults)(void);
  step_function *step;
  plain_function *plain;
  int counts_steps;
  int variants; /* made by `vary` from the number of one, if there are several */
  void (*vary)(any_config *config, int variant);
  int states;
  rule_state state[MOST_STATES];
  field fields[MOST_FIELDS + 1]; /* after struct_size and rule, in their order; a NULL name after the last */
} rule;

/* A rule's functions under one signature. Arguments: its name, its structure's, and those of the step but the last. */
#define FUNCTIONS(rule, type, ...)                                                                             \
  static inline any_config rule##_defaults(void) {                                                             \
    any_config config;                                                                                         \
    memset(&config, 0, sizeof config);                                                                         \
    config.type = downhill_##rule##_default();                                                                 \
    return config;                                                                                             \
  }                                                                                                            \
  static inline downhill_status rule##_step(size_t n, float *w, const float *g, float *const *s, uint64_t t,   \
                                            const void *config) {                                              \
    (void)s, (void)t;                                                                                          \
    return downhill_##rule##_step(__VA_ARGS__, (const downhill_##type *)config);                               \
  }

/* ---- what the rules share ---- */

/* A subnormal state is read as +0. */
static inline float read_state(float x) { return x == 0.0f || fpclassify(x) == FP_SUBNORMAL ? 0.0f : x; }

static inline void apply_decay(float *w, float *g, uint32_t decay, double weight_decay, double lr) {
  if (weight_decay == 0.0) return;
  if (decay == DOWNHILL_DECAY_L2) {
    *g = *g + (float)weight_decay * *w;
  } else {
    *w = *w * (float)(1.0 - lr * weight_decay);
  }
}

static inline double power(double x, uint64_t t) {
  double y = 1.0;
  for (; t > 0; t >>= 1, x *= x)
    if (t & 1) y *= x;
  return y;
}

/* NaN if either is, unlike fmaxf. */
static inline float larger(float a, float b) {
  if (isnan(a) || isnan(b)) return (float)NAN;
  return b > a ? b : a;
}

static inline float sign(float x) {
  if (isnan(x)) return x;
  return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
}

/* An average of x, of which 1 - rate is new. */
static inline float average(float old, double rate, float x) { return (float)rate * read_state(old) + (float)(1.0 - rate) * x; }

/* An average of x*x. */
static inline float average_square(float old, double rate, float x) {
  return (float)rate * read_state(old) + (float)(1.0 - rate) * x * x;
}

/* ---- sgd ---- */

FUNCTIONS(sgd, sgd, n, w, g)

static inline void sgd_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_sgd c = config->sgd;
  size_t i;
  (void)state, (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    w[i] = w_i - (float)c.lr * g_i;
  }
}

/* ---- momentum ---- */

FUNCTIONS(momentum, momentum, n, w, g, s[0])

/* Classic, torch, torch with dampening. */
static inline void momentum_vary(any_config *config, int variant) {
  config->momentum.form = variant == 0 ? DOWNHILL_FORM_CLASSIC : DOWNHILL_FORM_TORCH;
  config->momentum.dampening = variant == 2 ? 0.3 : 0.0;
}

static inline void momentum_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_momentum c = config->momentum;
  float *u = state[0];
  const float lr = (float)c.lr, momentum = (float)c.momentum, fresh = (float)(1.0 - c.dampening);
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    if (c.form == DOWNHILL_FORM_CLASSIC) {
      u[i] = momentum * read_state(u[i]) + lr * g_i;
      w[i] = w_i - u[i];
    } else {
      u[i] = momentum * read_state(u[i]) + fresh * g_i;
      w[i] = w_i - lr * u[i];
    }
  }
}

/* ---- nesterov ---- */

FUNCTIONS(nesterov, nesterov, n, w, g, s[0])

static inline void nesterov_vary(any_config *config, int variant) { config->nesterov.form = (uint32_t)variant; }

static inline void nesterov_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_nesterov c = config->nesterov;
  float *u = state[0];
  const float lr = (float)c.lr, momentum = (float)c.momentum;
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    if (c.form == DOWNHILL_FORM_CLASSIC) {
      u[i] = momentum * read_state(u[i]) + lr * g_i;
      w[i] = w_i - (momentum * u[i] + lr * g_i);
    } else {
      u[i] = momentum * read_state(u[i]) + g_i;
      w[i] = w_i - lr * (g_i + momentum * u[i]);
    }
  }
}

/* ---- adagrad ---- */

FUNCTIONS(adagrad, adagrad, n, w, g, s[0])

static inline void adagrad_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_adagrad c = config->adagrad;
  float *s = state[0];
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    s[i] = read_state(s[i]) + g_i * g_i;
    w[i] = w_i - (float)c.lr * g_i / (sqrtf(s[i]) + (float)c.eps);
  }
}

/* ---- adadelta ---- */

FUNCTIONS(adadelta, adadelta, n, w, g, s[0], s[1])

static inline void adadelta_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_adadelta c = config->adadelta;
  float *v = state[0], *u = state[1];
  const float eps = (float)c.eps;
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    float d;
    v[i] = average_square(v[i], c.rho, g_i);
    d = sqrtf(read_state(u[i]) + eps) / sqrtf(v[i] + eps) * g_i;
    u[i] = average_square(u[i], c.rho, d);
    w[i] = w_i - (float)c.lr * d;
  }
}

/* ---- rmsprop ---- */

FUNCTIONS(rmsprop, rmsprop, n, w, g, s[0], s[1], s[2])

/* Plain, centered, with momentum, with both. */
static inline void rmsprop_vary(any_config *config, int variant) {
  config->rmsprop.centered = (uint32_t)variant & 1;
  if ((variant & 2) == 0) config->rmsprop.momentum = 0.0;
}

static inline void rmsprop_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_rmsprop c = config->rmsprop;
  float *v = state[0], *g_avg = state[1], *u = state[2];
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    float variance, r;
    v[i] = average_square(v[i], c.alpha, g_i);
    variance = v[i];
    if (c.centered) {
      g_avg[i] = average(g_avg[i], c.alpha, g_i);
      variance = larger(variance - g_avg[i] * g_avg[i], 0.0f);
    }
    r = sqrtf(variance) + (float)c.eps;
    if (c.momentum > 0.0) {
      u[i] = (float)c.momentum * read_state(u[i]) + g_i / r;
      w[i] = w_i - (float)c.lr * u[i];
    } else {
      w[i] = w_i - (float)c.lr * g_i / r;
    }
  }
}

/* ---- adam, adamw, amsgrad ---- */

FUNCTIONS(adam, adam, n, w, g, s[0], s[1], t)
FUNCTIONS(adamw, adam, n, w, g, s[0], s[1], t)
FUNCTIONS(amsgrad, adam, n, w, g, s[0], s[1], s[2], t)

/* Without a first moment, which amsgrad has all the same; and each bias correction. */
static inline void adam_vary(any_config *config, int variant) {
  config->adam.bias_correction = (uint32_t)variant % 3;
  if (variant == 0) config->adam.beta1 = 0.0;
}

/* c1 or c2 of Adam, from beta1 or beta2. */
static inline double correction(uint32_t bias_correction, double beta, uint64_t t) {
  if (bias_correction == DOWNHILL_BIAS_CORRECTION_STEP) return 1.0 - power(beta, t);
  if (bias_correction == DOWNHILL_BIAS_CORRECTION_CONSTANT) return 1.0 - beta;
  return 1.0;
}

static inline void adam_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_adam c = config->adam;
  float *m = state[0], *v = state[1];
  const float a = (float)(c.lr / correction(c.bias_correction, c.beta1, t));
  const float k = (float)(1.0 / sqrt(correction(c.bias_correction, c.beta2, t)));
  size_t i;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    const float first = c.beta1 == 0.0 ? g_i : (m[i] = average(m[i], c.beta1, g_i));
    v[i] = average_square(v[i], c.beta2, g_i);
    w[i] = w_i - a * first / (sqrtf(v[i]) * k + (float)c.eps);
  }
}

static inline void amsgrad_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_adam c = config->adam;
  float *m = state[0], *v = state[1], *v_max = state[2];
  const float a = (float)(c.lr / correction(c.bias_correction, c.beta1, t));
  const float k = (float)(1.0 / sqrt(correction(c.bias_correction, c.beta2, t)));
  size_t i;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    m[i] = average(m[i], c.beta1, g_i);
    v[i] = average_square(v[i], c.beta2, g_i);
    v_max[i] = larger(read_state(v_max[i]), v[i]);
    w[i] = w_i - a * m[i] / (sqrtf(v_max[i]) * k + (float)c.eps);
  }
}

/* ---- adamax ---- */

FUNCTIONS(adamax, adamax, n, w, g, s[0], s[1], t)

static inline void adamax_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_adamax c = config->adamax;
  float *m = state[0], *u = state[1];
  const float a = (float)(c.lr / (1.0 - power(c.beta1, t)));
  size_t i;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    m[i] = average(m[i], c.beta1, g_i);
    u[i] = larger((float)c.beta2 * read_state(u[i]), fabsf(g_i) + (float)c.eps);
    w[i] = w_i - a * m[i] / u[i];
  }
}

/* ---- nadam ---- */

FUNCTIONS(nadam, nadam, n, w, g, s[0], s[1], t)

static inline double nadam_momentum(const downhill_nadam *c, uint64_t t) {
  return c->beta1 * (1.0 - 0.5 * pow(0.96, (double)t * c->momentum_decay));
}

/* mu(1)*...*mu(t), every factor of it. */
static inline double nadam_product(const downhill_nadam *c, uint64_t t) {
  double product = 1.0;
  for (; t > 0; t--) product *= nadam_momentum(c, t);
  return product;
}

static inline void nadam_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_nadam c = config->nadam;
  float *m = state[0], *v = state[1];
  const double now = nadam_momentum(&c, t), next = nadam_momentum(&c, t + 1), product = nadam_product(&c, t);
  const float a = (float)(c.lr * (1.0 - now) / (1.0 - product)), b = (float)(c.lr * next / (1.0 - product * next));
  const float inverse_c2 = (float)(1.0 / (1.0 - power(c.beta2, t)));
  size_t i;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    float r;
    m[i] = average(m[i], c.beta1, g_i);
    v[i] = average_square(v[i], c.beta2, g_i);
    r = sqrtf(v[i] * inverse_c2) + (float)c.eps;
    w[i] = w_i - a * g_i / r;
    w[i] = w[i] - b * m[i] / r;
  }
}

/* ---- lion ---- */

FUNCTIONS(lion, lion, n, w, g, s[0])

static inline void lion_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_lion c = config->lion;
  float *m = state[0];
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    w[i] = w_i - (float)c.lr * sign(average(m[i], c.beta1, g_i));
    m[i] = average(m[i], c.beta2, g_i);
  }
}

/* ---- signum ---- */

FUNCTIONS(signum, signum, n, w, g, s[0])

static inline void signum_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_signum c = config->signum;
  float *m = state[0];
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    m[i] = average(m[i], c.momentum, g_i);
    w[i] = w_i - (float)c.lr * sign(m[i]);
  }
}

/* ---- radam ---- */

FUNCTIONS(radam, radam, n, w, g, s[0], s[1], t)

/* The second moment is used from the sixth step on, or never. */
static inline void radam_vary(any_config *config, int variant) {
  if (variant == 1) config->radam.beta2 = 0.5;
}

static inline void radam_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_radam c = config->radam;
  float *m = state[0], *v = state[1];
  const double c1 = 1.0 - power(c.beta1, t), beta2_t = power(c.beta2, t), c2 = 1.0 - beta2_t;
  const double most = 2.0 / (1.0 - c.beta2) - 1.0, rho = most - 2.0 * (double)t * beta2_t / c2;
  float a = (float)(c.lr / c1);
  size_t i;
  if (rho > 5.0) {
    const double r = sqrt((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho));
    a = (float)(c.lr / c1 * (r * sqrt(c2)));
  }
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    m[i] = average(m[i], c.beta1, g_i);
    v[i] = average_square(v[i], c.beta2, g_i);
    w[i] = rho > 5.0 ? w_i - a * m[i] / (sqrtf(v[i]) + (float)c.eps) : w_i - a * m[i];
  }
}

/* ---- ftrl ---- */

FUNCTIONS(ftrl, ftrl, n, w, g, s[0], s[1])

/* With everything, and without anything in the way of division by zero. */
static inline void ftrl_vary(any_config *config, int variant) {
  if (variant == 1) config->ftrl.beta = config->ftrl.l1 = config->ftrl.l2 = 0.0;
}

static inline void ftrl_plain(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config) {
  const downhill_ftrl c = config->ftrl;
  float *z = state[0], *s = state[1];
  const float a = (float)(1.0 / c.lr), l1 = (float)c.l1;
  size_t i;
  (void)t;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, c.decay, c.weight_decay, c.lr);
    const float before = sqrtf(read_state(s[i]));
    s[i] = read_state(s[i]) + g_i * g_i;
    z[i] = read_state(z[i]) + (g_i - (sqrtf(s[i]) - before) * a * w_i);
    w[i] = fabsf(z[i]) <= l1 ? 0.0f : (sign(z[i]) * l1 - z[i]) / (((float)c.beta + sqrtf(s[i])) * a + (float)c.l2);
  }
}

/* ---- the table ---- */

#define FIELD(type, name, allowed) {#name, offsetof(downhill_##type, name), allowed}
#define RULE(name, type, TAG) #name, DOWNHILL_RULE_##TAG, sizeof(downhill_##type), name##_defaults, name##_step
#define ADAM_NUMBERS                                                                                     \
  FIELD(adam, lr, NON_NEGATIVE), FIELD(adam, beta1, BELOW_ONE), FIELD(adam, beta2, BELOW_ONE),           \
      FIELD(adam, eps, NON_NEGATIVE), FIELD(adam, weight_decay, NON_NEGATIVE)
#define ADAM_FIELDS {FIELD(adam, bias_correction, UP_TO_2), FIELD(adam, decay, UP_TO_1), ADAM_NUMBERS}

/* In the order of the tags, which are counted from 1. */
static const rule rules[] = {
    {RULE(sgd, sgd, SGD), sgd_plain, 0, 1, NULL, 0, {{NULL, 0, NULL}},
     {FIELD(sgd, decay, UP_TO_1), FIELD(sgd, reserved, ONLY_0), FIELD(sgd, lr, NON_NEGATIVE),
      FIELD(sgd, weight_decay, NON_NEGATIVE)}},
    {RULE(momentum, momentum, MOMENTUM), momentum_plain, 0, 3, momentum_vary, 1, {{"u", 0, NULL}},
     {FIELD(momentum, form, UP_TO_1), FIELD(momentum, decay, UP_TO_1), FIELD(momentum, lr, NON_NEGATIVE),
      FIELD(momentum, momentum, BELOW_ONE), FIELD(momentum, dampening, AT_MOST_ONE),
      FIELD(momentum, weight_decay, NON_NEGATIVE)}},
    {RULE(nesterov, nesterov, NESTEROV), nesterov_plain, 0, 2, nesterov_vary, 1, {{"u", 0, NULL}},
     {FIELD(nesterov, form, UP_TO_1), FIELD(nesterov, decay, UP_TO_1), FIELD(nesterov, lr, NON_NEGATIVE),
      FIELD(nesterov, momentum, BELOW_ONE), FIELD(nesterov, weight_decay, NON_NEGATIVE)}},
    {RULE(adagrad, adagrad, ADAGRAD), adagrad_plain, 0, 1, NULL, 1, {{"s", 1, NULL}},
     {FIELD(adagrad, decay, UP_TO_1), FIELD(adagrad, reserved, ONLY_0), FIELD(adagrad, lr, NON_NEGATIVE),
      FIELD(adagrad, eps, NON_NEGATIVE), FIELD(adagrad, weight_decay, NON_NEGATIVE)}},
    {RULE(adadelta, adadelta, ADADELTA), adadelta_plain, 0, 1, NULL, 2, {{"v", 1, NULL}, {"u", 1, NULL}},
     {FIELD(adadelta, decay, UP_TO_1), FIELD(adadelta, reserved, ONLY_0), FIELD(adadelta, lr, NON_NEGATIVE),
      FIELD(adadelta, rho, AT_MOST_ONE), FIELD(adadelta, eps, NON_NEGATIVE),
      FIELD(adadelta, weight_decay, NON_NEGATIVE)}},
    {RULE(rmsprop, rmsprop, RMSPROP), rmsprop_plain, 0, 4, rmsprop_vary, 3,
     {{"v", 1, NULL}, {"g_avg", 0, "centered"}, {"u", 0, "momentum"}},
     {FIELD(rmsprop, centered, UP_TO_1), FIELD(rmsprop, decay, UP_TO_1), FIELD(rmsprop, lr, NON_NEGATIVE),
      FIELD(rmsprop, momentum, BELOW_ONE), FIELD(rmsprop, alpha, AT_MOST_ONE), FIELD(rmsprop, eps, NON_NEGATIVE),
      FIELD(rmsprop, weight_decay, NON_NEGATIVE)}},
    {RULE(adam, adam, ADAM), adam_plain, 1, 4, adam_vary, 2, {{"m", 0, "beta1"}, {"v", 1, NULL}}, ADAM_FIELDS},
    {RULE(adamw, adam, ADAMW), adam_plain, 1, 4, adam_vary, 2, {{"m", 0, "beta1"}, {"v", 1, NULL}},
     {FIELD(adam, bias_correction, UP_TO_2), FIELD(adam, decay, ONLY_1), ADAM_NUMBERS}},
    {RULE(amsgrad, adam, AMSGRAD), amsgrad_plain, 1, 4, adam_vary, 3,
     {{"m", 0, NULL}, {"v", 1, NULL}, {"v_max", 1, NULL}}, ADAM_FIELDS},
    {RULE(adamax, adamax, ADAMAX), adamax_plain, 1, 1, NULL, 2, {{"m", 0, NULL}, {"u", 1, NULL}},
     {FIELD(adamax, decay, UP_TO_1), FIELD(adamax, reserved, ONLY_0), FIELD(adamax, lr, NON_NEGATIVE),
      FIELD(adamax, beta1, BELOW_ONE), FIELD(adamax, beta2, BELOW_ONE), FIELD(adamax, eps, NON_NEGATIVE),
      FIELD(adamax, weight_decay, NON_NEGATIVE)}},
    {RULE(nadam, nadam, NADAM), nadam_plain, 1, 1, NULL, 2, {{"m", 0, NULL}, {"v", 1, NULL}},
     {FIELD(nadam, decay, UP_TO_1), FIELD(nadam, reserved, ONLY_0), FIELD(nadam, lr, NON_NEGATIVE),
      FIELD(nadam, beta1, BELOW_ONE), FIELD(nadam, beta2, BELOW_ONE), FIELD(nadam, eps, NON_NEGATIVE),
      FIELD(nadam, momentum_decay, NON_NEGATIVE), FIELD(nadam, weight_decay, NON_NEGATIVE)}},
    {RULE(lion, lion, LION), lion_plain, 0, 1, NULL, 1, {{"m", 0, NULL}},
     {FIELD(lion, decay, UP_TO_1), FIELD(lion, reserved, ONLY_0), FIELD(lion, lr, NON_NEGATIVE),
      FIELD(lion, beta1, BELOW_ONE), FIELD(lion, beta2, BELOW_ONE), FIELD(lion, weight_decay, NON_NEGATIVE)}},
    {RULE(signum, signum, SIGNUM), signum_plain, 0, 1, NULL, 1, {{"m", 0, NULL}},
     {FIELD(signum, decay, UP_TO_1), FIELD(signum, reserved, ONLY_0), FIELD(signum, lr, NON_NEGATIVE),
      FIELD(signum, momentum, BELOW_ONE), FIELD(signum, weight_decay, NON_NEGATIVE)}},
    {RULE(radam, radam, RADAM), radam_plain, 1, 2, radam_vary, 2, {{"m", 0, NULL}, {"v", 1, NULL}},
     {FIELD(radam, decay, UP_TO_1), FIELD(radam, reserved, ONLY_0), FIELD(radam, lr, NON_NEGATIVE),
      FIELD(radam, beta1, BELOW_ONE), FIELD(radam, beta2, BELOW_ONE), FIELD(radam, eps, NON_NEGATIVE),
      FIELD(radam, weight_decay, NON_NEGATIVE)}},
    {RULE(ftrl, ftrl, FTRL), ftrl_plain, 0, 2, ftrl_vary, 2, {{"z", 0, NULL}, {"s", 1, NULL}},
     {FIELD(ftrl, decay, ONLY_0), FIELD(ftrl, reserved, ONLY_0), FIELD(ftrl, lr, POSITIVE),
      FIELD(ftrl, beta, NON_NEGATIVE), FIELD(ftrl, l1, NON_NEGATIVE), FIELD(ftrl, l2, NON_NEGATIVE),
      FIELD(ftrl, weight_decay, NON_NEGATIVE)}},
};

/* Row-wise Adagrad has a tag, too, but states that are not as long as its weights: see rows.c. */
enum { RULES = sizeof rules / sizeof *rules, TAGS = RULES + 1 };

/* The same rules, for what is made of names: in C++ each is a type. */
#define EACH_RULE(F) \
  F(sgd) F(momentum) F(nesterov) F(adagrad) F(adadelta) F(rmsprop) F(adam) F(adamw) F(amsgrad) F(adamax) F(nadam) F(lion) F(signum) \
  F(radam) F(ftrl)

static inline const rule *find_rule(const char *name) {
  int i;
  for (i = 0; i < RULES; i++)
    if (strcmp(rules[i].name, name) == 0) return &rules[i];
  CHECK(0, "no rule %s", name);
  return NULL;
}

/* ---- fields by their place and by their name ---- */

static inline int is_enumeration(const field *f) { return f->allowed <= UP_TO_2; }

/* The largest value of an enumeration. */
static inline int most_value(const field *f) { return f->allowed == UP_TO_2 ? 2 : f->allowed != ONLY_0; }

static inline double get_field(const any_config *config, const field *f) {
  const char *at = (const char *)config + f->offset;
  uint32_t number;
  double value;
  memcpy(&number, at, sizeof number);
  if (is_enumeration(f)) return (double)number;
  memcpy(&value, at, sizeof value);
  return value;
}

static inline void put_field(any_config *config, const field *f, double value) {
  char *at = (char *)config + f->offset;
  uint32_t number;
  if (is_enumeration(f)) {
    number = (uint32_t)value;
    memcpy(at, &number, sizeof number);
  } else {
    memcpy(at, &value, sizeof value);
  }
}

/* NULL if the rule has none of this name. */
static inline const field *find_field(const rule *r, const char *name) {
  const field *f;
  for (f = r->fields; f->name != NULL; f++)
    if (strcmp(f->name, name) == 0) return f;
  return NULL;
}

static inline void set_field(const rule *r, any_config *config, const char *name, double value) {
  const field *f = find_field(r, name);
  CHECK(f != NULL, "%s has no field %s", r->name, name);
  put_field(config, f, value);
}

/* ---- states ---- */

/* Is a state there with this configuration? */
static inline int has_state(const rule *r, const any_config *config, int state) {
  const char *const needed_by = r->state[state].needed_by;
  return needed_by == NULL || get_field(config, find_field(r, needed_by)) != 0.0;
}

/* Leaves out the states that are not there. */
static inline void drop_states(const rule *r, const any_config *config, float **state) {
  int k;
  for (k = 0; k < r->states; k++)
    if (!has_state(r, config, k)) state[k] = NULL;
}

/* ---- configurations that use every option ---- */

/* Hyper-parameters that are no rule's defaults; those that a rule does not have are left out. */
static const struct {
  const char *name;
  double value;
} values[] = {{"lr", 0.05},   {"momentum", 0.8}, {"rho", 0.7},  {"alpha", 0.9},
              {"beta1", 0.8}, {"beta2", 0.99},   {"eps", 1e-6}, {"momentum_decay", 0.02},
              {"beta", 0.5},  {"l1", 0.3},       {"l2", 0.2}};

typedef enum { NO_DECAY, L2, DECOUPLED, DECAYS } decay_option;

static inline any_config configure(const rule *r, int variant, decay_option decay) {
  any_config config = r->defaults();
  const range allowed = find_field(r, "decay")->allowed;
  const int is_l2 = allowed == ONLY_0 || (allowed != ONLY_1 && decay != DECOUPLED);
  size_t i;
  for (i = 0; i < sizeof values / sizeof *values; i++)
    if (find_field(r, values[i].name) != NULL) set_field(r, &config, values[i].name, values[i].value);
  if (r->vary != NULL) r->vary(&config, variant);
  set_field(r, &config, "decay", is_l2 ? DOWNHILL_DECAY_L2 : DOWNHILL_DECAY_DECOUPLED);
  set_field(r, &config, "weight_decay", decay == NO_DECAY ? 0.0 : 0.1);
  return config;
}

#endif
