/* Every rule of the library under one signature: its states, its configuration's fields and their ranges.
 * In the common subset of C99 and C++11. */
#ifndef RULES_H
#define RULES_H

#include <downhill.h>

#include "check.h"

enum { MOST_STATES = 3, MOST_FIELDS = 7 };

typedef union {
  uint32_t struct_size;
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
} any_config;

/* What a field may be: one of so many enumeration values, or a double in a range. */
typedef enum { ONE_OF_2 = 2, ONE_OF_3 = 3, NON_NEGATIVE, BELOW_ONE, AT_MOST_ONE } range;

typedef struct {
  const char *name;
  size_t offset;
  range allowed;
} field;

typedef downhill_status step_function(size_t n, float *w, const float *g, float *const *state, uint64_t t, const void *config);
typedef downhill_status step_many_function(size_t count, const downhill_tensor *tensors, uint64_t t, const void *config,
                                           const downhill_extras *extras, downhill_pool *pool, downhill_report *report);

typedef struct {
  const char *name;
  size_t config_size;
  any_config (*defaults)(void);
  step_function *step;
  step_many_function *step_many;
  int counts_steps;
  int states, optional; /* the last `optional` of the states may be NULL */
  const char *state[MOST_STATES];
  field fields[MOST_FIELDS + 1]; /* without struct_size, in their order; a NULL name behind the last */
} rule;

#define DEFAULTS(rule, type)                          \
  static inline any_config rule##_defaults(void) {    \
    any_config config;                                \
    memset(&config, 0, sizeof config);                \
    config.type = downhill_##rule##_default();        \
    return config;                                    \
  }

DEFAULTS(sgd, sgd)
DEFAULTS(momentum, momentum)
DEFAULTS(nesterov, nesterov)
DEFAULTS(adagrad, adagrad)
DEFAULTS(adadelta, adadelta)
DEFAULTS(rmsprop, rmsprop)
DEFAULTS(adam, adam)
DEFAULTS(adamw, adam)
DEFAULTS(amsgrad, adam)
DEFAULTS(adamax, adamax)
DEFAULTS(nadam, nadam)
DEFAULTS(lion, lion)

/* ---- the calls ---- */

static inline downhill_status sgd_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)s, (void)t;
  return downhill_sgd_step(n, w, g, (const downhill_sgd *)config);
}

static inline downhill_status momentum_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)t;
  return downhill_momentum_step(n, w, g, s[0], (const downhill_momentum *)config);
}

static inline downhill_status nesterov_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)t;
  return downhill_nesterov_step(n, w, g, s[0], (const downhill_nesterov *)config);
}

static inline downhill_status adagrad_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)t;
  return downhill_adagrad_step(n, w, g, s[0], (const downhill_adagrad *)config);
}

static inline downhill_status adadelta_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)t;
  return downhill_adadelta_step(n, w, g, s[0], s[1], (const downhill_adadelta *)config);
}

static inline downhill_status rmsprop_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)t;
  return downhill_rmsprop_step(n, w, g, s[0], s[1], s[2], (const downhill_rmsprop *)config);
}

static inline downhill_status adam_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  return downhill_adam_step(n, w, g, s[0], s[1], t, (const downhill_adam *)config);
}

static inline downhill_status adamw_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  return downhill_adamw_step(n, w, g, s[0], s[1], t, (const downhill_adam *)config);
}

static inline downhill_status amsgrad_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  return downhill_amsgrad_step(n, w, g, s[0], s[1], s[2], t, (const downhill_adam *)config);
}

static inline downhill_status adamax_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  return downhill_adamax_step(n, w, g, s[0], s[1], t, (const downhill_adamax *)config);
}

static inline downhill_status nadam_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  return downhill_nadam_step(n, w, g, s[0], s[1], t, (const downhill_nadam *)config);
}

static inline downhill_status lion_step(size_t n, float *w, const float *g, float *const *s, uint64_t t, const void *config) {
  (void)t;
  return downhill_lion_step(n, w, g, s[0], (const downhill_lion *)config);
}

#define STEP_MANY(rule, type, ...)                                                                              \
  static inline downhill_status rule##_step_many(size_t count, const downhill_tensor *tensors, uint64_t t,      \
                                                 const void *config, const downhill_extras *extras,             \
                                                 downhill_pool *pool, downhill_report *report) {                \
    (void)t;                                                                                                    \
    return downhill_##rule##_step_many(__VA_ARGS__, (const downhill_##type *)config, extras, pool, report);     \
  }

STEP_MANY(sgd, sgd, count, tensors)
STEP_MANY(momentum, momentum, count, tensors)
STEP_MANY(nesterov, nesterov, count, tensors)
STEP_MANY(adagrad, adagrad, count, tensors)
STEP_MANY(adadelta, adadelta, count, tensors)
STEP_MANY(rmsprop, rmsprop, count, tensors)
STEP_MANY(adam, adam, count, tensors, t)
STEP_MANY(adamw, adam, count, tensors, t)
STEP_MANY(amsgrad, adam, count, tensors, t)
STEP_MANY(adamax, adamax, count, tensors, t)
STEP_MANY(nadam, nadam, count, tensors, t)
STEP_MANY(lion, lion, count, tensors)

/* ---- the table ---- */

#define FIELD(type, name, allowed) {#name, offsetof(downhill_##type, name), allowed}
#define RULE(name, type) #name, sizeof(downhill_##type), name##_defaults, name##_step, name##_step_many
#define ADAM_FIELDS                                                                                        \
  {FIELD(adam, bias_correction, ONE_OF_3), FIELD(adam, decay, ONE_OF_2), FIELD(adam, lr, NON_NEGATIVE),    \
   FIELD(adam, beta1, BELOW_ONE), FIELD(adam, beta2, BELOW_ONE), FIELD(adam, eps, NON_NEGATIVE),           \
   FIELD(adam, weight_decay, NON_NEGATIVE)}

static const rule rules[] = {
    {RULE(sgd, sgd), 0, 0, 0, {NULL},
     {FIELD(sgd, decay, ONE_OF_2), FIELD(sgd, lr, NON_NEGATIVE), FIELD(sgd, weight_decay, NON_NEGATIVE)}},
    {RULE(momentum, momentum), 0, 1, 0, {"u"},
     {FIELD(momentum, form, ONE_OF_2), FIELD(momentum, decay, ONE_OF_2), FIELD(momentum, lr, NON_NEGATIVE),
      FIELD(momentum, momentum, BELOW_ONE), FIELD(momentum, dampening, AT_MOST_ONE),
      FIELD(momentum, weight_decay, NON_NEGATIVE)}},
    {RULE(nesterov, nesterov), 0, 1, 0, {"u"},
     {FIELD(nesterov, form, ONE_OF_2), FIELD(nesterov, decay, ONE_OF_2), FIELD(nesterov, lr, NON_NEGATIVE),
      FIELD(nesterov, momentum, BELOW_ONE), FIELD(nesterov, weight_decay, NON_NEGATIVE)}},
    {RULE(adagrad, adagrad), 0, 1, 0, {"s"},
     {FIELD(adagrad, decay, ONE_OF_2), FIELD(adagrad, lr, NON_NEGATIVE), FIELD(adagrad, eps, NON_NEGATIVE),
      FIELD(adagrad, weight_decay, NON_NEGATIVE)}},
    {RULE(adadelta, adadelta), 0, 2, 0, {"v", "u"},
     {FIELD(adadelta, decay, ONE_OF_2), FIELD(adadelta, lr, NON_NEGATIVE), FIELD(adadelta, rho, AT_MOST_ONE),
      FIELD(adadelta, eps, NON_NEGATIVE), FIELD(adadelta, weight_decay, NON_NEGATIVE)}},
    {RULE(rmsprop, rmsprop), 0, 3, 2, {"v", "g_avg", "u"},
     {FIELD(rmsprop, decay, ONE_OF_2), FIELD(rmsprop, lr, NON_NEGATIVE), FIELD(rmsprop, momentum, BELOW_ONE),
      FIELD(rmsprop, alpha, AT_MOST_ONE), FIELD(rmsprop, eps, NON_NEGATIVE),
      FIELD(rmsprop, weight_decay, NON_NEGATIVE)}},
    {RULE(adam, adam), 1, 2, 0, {"m", "v"}, ADAM_FIELDS},
    {RULE(adamw, adam), 1, 2, 0, {"m", "v"}, ADAM_FIELDS},
    {RULE(amsgrad, adam), 1, 3, 0, {"m", "v", "v_max"}, ADAM_FIELDS},
    {RULE(adamax, adamax), 1, 2, 0, {"m", "u"},
     {FIELD(adamax, decay, ONE_OF_2), FIELD(adamax, lr, NON_NEGATIVE), FIELD(adamax, beta1, BELOW_ONE),
      FIELD(adamax, beta2, BELOW_ONE), FIELD(adamax, eps, NON_NEGATIVE), FIELD(adamax, weight_decay, NON_NEGATIVE)}},
    {RULE(nadam, nadam), 1, 2, 0, {"m", "v"},
     {FIELD(nadam, decay, ONE_OF_2), FIELD(nadam, lr, NON_NEGATIVE), FIELD(nadam, beta1, BELOW_ONE),
      FIELD(nadam, beta2, BELOW_ONE), FIELD(nadam, eps, NON_NEGATIVE), FIELD(nadam, momentum_decay, NON_NEGATIVE),
      FIELD(nadam, weight_decay, NON_NEGATIVE)}},
    {RULE(lion, lion), 0, 1, 0, {"m"},
     {FIELD(lion, decay, ONE_OF_2), FIELD(lion, lr, NON_NEGATIVE), FIELD(lion, beta1, BELOW_ONE),
      FIELD(lion, beta2, BELOW_ONE), FIELD(lion, weight_decay, NON_NEGATIVE)}},
};

enum { RULES = sizeof rules / sizeof *rules };

static inline const rule *find_rule(const char *name) {
  int i;
  for (i = 0; i < RULES; i++)
    if (strcmp(rules[i].name, name) == 0) return &rules[i];
  CHECK(0, "no rule %s", name);
  return NULL;
}

/* ---- fields by their place and by their name ---- */

static inline int is_enumeration(const field *f) { return f->allowed <= ONE_OF_3; }

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

static inline void set_field(const rule *r, any_config *config, const char *name, double value) {
  const field *f;
  for (f = r->fields; f->name != NULL; f++)
    if (strcmp(f->name, name) == 0) {
      put_field(config, f, value);
      return;
    }
  CHECK(0, "%s has no field %s", r->name, name);
}

#endif
