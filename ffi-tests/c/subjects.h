/* Every rule with its variants and its plain loop, and configurations that use every option. */
#ifndef SUBJECTS_H
#define SUBJECTS_H

#include "plain.h"

/* A rule, its variants, and the bits of the states that are squares or maxima: not negative. */
typedef struct {
  const char *name;
  plain_function *plain;
  int variants;
  unsigned squares;
} subject;

static const subject subjects[] = {
    {"sgd", sgd_plain, 1, 0},
    {"momentum", momentum_plain, 3, 0}, /* classic, torch, torch with dampening */
    {"nesterov", nesterov_plain, 2, 0}, /* classic, torch */
    {"adagrad", adagrad_plain, 1, 1},
    {"adadelta", adadelta_plain, 1, 3},
    {"rmsprop", rmsprop_plain, 4, 1}, /* plain, centered, momentum, both */
    {"adam", adam_plain, 3, 2},       /* bias correction by step, constant, none */
    {"adamw", adam_plain, 3, 2},
    {"amsgrad", amsgrad_plain, 3, 6},
    {"adamax", adamax_plain, 1, 2},
    {"nadam", nadam_plain, 1, 2},
    {"lion", lion_plain, 1, 0},
};

enum { SUBJECTS = sizeof subjects / sizeof *subjects };

/* Hyper-parameters that are no rule's defaults; those that a rule does not have are left out. */
static const struct {
  const char *name;
  double value;
} values[] = {{"lr", 0.05},   {"momentum", 0.8}, {"rho", 0.7},  {"alpha", 0.9},
              {"beta1", 0.8}, {"beta2", 0.99},   {"eps", 1e-6}, {"momentum_decay", 0.02}};

typedef enum { NO_DECAY, L2, DECOUPLED, DECAYS } decay_option;

static inline int has_field(const rule *r, const char *name) {
  const field *f;
  for (f = r->fields; f->name != NULL; f++)
    if (strcmp(f->name, name) == 0) return 1;
  return 0;
}

static inline any_config configure(const rule *r, int variant, decay_option decay) {
  any_config config = r->defaults();
  size_t i;
  for (i = 0; i < sizeof values / sizeof *values; i++)
    if (has_field(r, values[i].name)) set_field(r, &config, values[i].name, values[i].value);
  if (has_field(r, "form")) set_field(r, &config, "form", variant == 0 ? DOWNHILL_FORM_CLASSIC : DOWNHILL_FORM_TORCH);
  if (has_field(r, "dampening")) set_field(r, &config, "dampening", variant == 2 ? 0.3 : 0.0);
  if (has_field(r, "bias_correction")) set_field(r, &config, "bias_correction", variant);
  if (r->optional > 0 && (variant & 2) == 0) set_field(r, &config, "momentum", 0.0);
  set_field(r, &config, "decay", decay == DECOUPLED ? DOWNHILL_DECAY_DECOUPLED : DOWNHILL_DECAY_L2);
  set_field(r, &config, "weight_decay", decay == NO_DECAY ? 0.0 : 0.1);
  return config;
}

/* Is a state passed? A variant of a rule with optional states says so with its bits. */
static inline int passed(const rule *r, int variant, int state) {
  const int required = r->states - r->optional;
  return state < required || (variant >> (state - required) & 1) == 1;
}

#endif
