/* Every rule as a plain C loop, written from the formulas in the header's documentation. */
#ifndef PLAIN_H
#define PLAIN_H

#include "rules.h"

typedef void plain_function(size_t n, float *w, const float *g, float *const *state, uint64_t t, const any_config *config);

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

/* ---- the rules ---- */

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

/* Centered if there is g_avg, with momentum if there is u. */
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
    if (g_avg != NULL) {
      g_avg[i] = average(g_avg[i], c.alpha, g_i);
      variance = larger(variance - g_avg[i] * g_avg[i], 0.0f);
    }
    r = sqrtf(variance) + (float)c.eps;
    if (u != NULL) {
      u[i] = (float)c.momentum * read_state(u[i]) + g_i / r;
      w[i] = w_i - (float)c.lr * u[i];
    } else {
      w[i] = w_i - (float)c.lr * g_i / r;
    }
  }
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
    m[i] = average(m[i], c.beta1, g_i);
    v[i] = average_square(v[i], c.beta2, g_i);
    w[i] = w_i - a * m[i] / (sqrtf(v[i]) * k + (float)c.eps);
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

#endif
