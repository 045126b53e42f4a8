/* The whole step in plain C: norm, clip, skip; then for each tensor widen, scale, plain step, round to nearest.
 * In the common subset of C99 and C++11. */
#ifndef PLAIN_H
#define PLAIN_H

#include <float.h>

#include "model.h"

/* ---- the norm ---- */

static inline double block_squares(const downhill_group *group, const downhill_tensor *tensor, size_t from) {
  enum { BLOCK = 4096, SUMS = 32 };
  double sums[SUMS] = {0.0};
  size_t i, width;
  for (i = from; i < tensor->n && i < from + BLOCK; i++) {
    const double g = (double)get_element(group->gradient_type, tensor->g, NULL, i);
    sums[(i - from) % SUMS] += g * g;
  }
  for (width = SUMS / 2; width > 0; width /= 2)
    for (i = 0; i < width; i++) sums[i] = sums[2 * i] + sums[2 * i + 1];
  return sums[0];
}

static inline double plain_squares(const downhill_group *group, const downhill_tensor *tensor) {
  double sum = 0.0;
  size_t from;
  for (from = 0; from < tensor->n && tensor->g != NULL; from += 4096) sum += block_squares(group, tensor, from);
  return sum;
}

/* Of all groups together, from left to right. */
static inline double plain_sum(const model *m) {
  double sum = 0.0;
  size_t i, j;
  for (i = 0; i < m->count; i++)
    for (j = 0; j < m->groups[i].count; j++) sum += plain_squares(&m->groups[i], &m->groups[i].tensors[j]);
  return sum;
}

static inline float plain_scale(const downhill_extras *extras, double norm) {
  double clip = 1.0;
  if (extras->max_norm > 0.0) clip = extras->max_norm / (norm + 1e-6);
  if (clip > 1.0) clip = 1.0; /* NaN stays */
  return (float)(extras->grad_scale * clip);
}

/* The place of the first gradient that is not finite goes into the report. */
static inline void find_nonfinite(const model *m, downhill_report *report) {
  size_t i, j, k;
  for (i = 0; i < m->count; i++)
    for (j = 0; j < m->groups[i].count; j++) {
      const downhill_tensor *const tensor = &m->groups[i].tensors[j];
      for (k = 0; k < tensor->n && tensor->g != NULL; k++)
        if (!isfinite(get_element(m->groups[i].gradient_type, tensor->g, NULL, k))) {
          report->group = i, report->tensor = j, report->element = k;
          return;
        }
    }
}

/* ---- a tensor ---- */

static inline float *widened(uint32_t type, const void *array, const int16_t *low, size_t n) {
  float *const wide = (float *)allocate(n * sizeof *wide);
  size_t i;
  for (i = 0; i < n; i++) wide[i] = get_element(type, array, low, i);
  return wide;
}

static inline void narrow(const float *wide, uint32_t type, void *array, int16_t *low, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) put_element(type, array, low, i, wide[i]);
}

/* The states at their places, for the caller to free. */
static inline void widen_states(const downhill_group *group, const downhill_tensor *tensor, float *states[4]) {
  const rule *const r = rule_of(group);
  const int is_8bit = group->state_type == DOWNHILL_TYPE_8BIT;
  int k;
  for (k = 0; k < 4; k++) {
    states[k] = NULL;
    if (k >= r->states || !has_state(r, config_of(group), k)) continue;
    states[k] = is_8bit ? (float *)allocate(tensor->n * sizeof(float))
                        : widened(group->state_type, tensor->state[k], NULL, tensor->n);
  }
  if (!is_8bit) return;
  CHECK(downhill_unpack(group->config, tensor->n, tensor->state[0], tensor->state_bytes, states) == DOWNHILL_STATUS_OK, "%s: %s",
        r->name, downhill_last_error());
}

static inline void narrow_states(const downhill_group *group, downhill_tensor *tensor, float *states[4]) {
  int k;
  if (group->state_type == DOWNHILL_TYPE_8BIT) {
    CHECK(downhill_pack(group->config, tensor->n, (const float *const *)states, tensor->state[0], tensor->state_bytes) ==
            DOWNHILL_STATUS_OK,
        "%s: %s",
          rule_of(group)->name, downhill_last_error());
    return;
  }
  for (k = 0; k < 4; k++)
    if (states[k] != NULL) narrow(states[k], group->state_type, tensor->state[k], NULL, tensor->n);
}

static inline void free_states(float *states[4]) {
  int k;
  for (k = 0; k < 4; k++) free(states[k]);
}

static inline void plain_tensor(const downhill_group *group, downhill_tensor *tensor, float scale) {
  const rule *const r = rule_of(group);
  const size_t n = tensor->n;
  float *const w = widened(group->weight_type, tensor->w, tensor->w_low, n);
  float *const g = widened(group->gradient_type, tensor->g, NULL, n);
  float *states[4];
  size_t i;
  widen_states(group, tensor, states);
  for (i = 0; i < n && scale != 1.0f; i++) g[i] = g[i] * scale;
  CHECK(r->step(n, w, g, states, step_number(group, tensor), group->config) == DOWNHILL_STATUS_OK, "%s: %s", r->name,
        downhill_last_error());
  for (i = 0; i < n && (group->clamp_low != 0.0 || group->clamp_high != 0.0); i++) {
    if (w[i] < (float)group->clamp_low) w[i] = (float)group->clamp_low;
    if (w[i] > (float)group->clamp_high) w[i] = (float)group->clamp_high;
  }
  narrow(w, group->weight_type, tensor->w, tensor->w_low, n);
  if (has_array(group, tensor, COPY))
    for (i = 0; i < n; i++)
      put_element(group->copy_type, tensor->w_copy, NULL, i, get_element(group->weight_type, tensor->w, tensor->w_low, i));
  narrow_states(group, tensor, states);
  free(w), free(g);
  free_states(states);
}

/* ---- the step ---- */

/* The report says what a library's would; with `extras` NULL as with its defaults. */
static inline downhill_report plain_step(model *m, const downhill_extras *extras) {
  const downhill_extras none = downhill_extras_default();
  downhill_report report = downhill_report_default();
  const downhill_extras *const e = extras != NULL ? extras : &none;
  const double sum = (e->flags & DOWNHILL_EXTRAS_NORM_GIVEN) != 0 ? e->norm_squared : plain_sum(m);
  float scale;
  size_t i, j;
  report.grad_norm = fabs(e->grad_scale) * sqrt(sum);
  scale = plain_scale(e, report.grad_norm);
  report.skipped = (e->flags & DOWNHILL_EXTRAS_SKIP_NONFINITE) != 0 &&
                   !(isfinite(sum) && fabs((double)scale) * sqrt(sum) <= (double)FLT_MAX);
  if (report.skipped) {
    if (!isfinite(sum)) find_nonfinite(m, &report);
    return report;
  }
  report.applied_scale = (double)scale;
  for (i = 0; i < m->count; i++)
    for (j = 0; j < m->groups[i].count; j++) {
      downhill_tensor *const tensor = &tensors_of(&m->groups[i])[j];
      if (tensor->g == NULL) continue;
      report.tensors_updated++;
      if (tensor->n == 0) continue;
      plain_tensor(&m->groups[i], tensor, scale);
      if ((e->flags & DOWNHILL_EXTRAS_ZERO_GRAD) != 0) memset(tensor->g, 0, array_bytes(&m->groups[i], tensor, G));
    }
  return report;
}

static inline int same_double(double a, double b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

static inline void compare_reports(const downhill_report *got, const downhill_report *wanted, const char *what) {
  CHECK(got->struct_size == wanted->struct_size, "%s: struct_size %lu", what, (unsigned long)got->struct_size);
  CHECK(same_double(got->grad_norm, wanted->grad_norm), "%s: norm %a, not %a", what, got->grad_norm, wanted->grad_norm);
  CHECK(same_double(got->applied_scale, wanted->applied_scale), "%s: scale %a, not %a", what, got->applied_scale,
        wanted->applied_scale);
  CHECK(got->skipped == wanted->skipped, "%s: skipped %lu", what, (unsigned long)got->skipped);
  CHECK(got->tensors_updated == wanted->tensors_updated, "%s: %lu tensors, not %lu", what, (unsigned long)got->tensors_updated,
        (unsigned long)wanted->tensors_updated);
  CHECK(got->group == wanted->group && got->tensor == wanted->tensor && got->element == wanted->element,
        "%s: group %ld tensor %ld element %ld, not %ld %ld %ld", what, (long)got->group, (long)got->tensor, (long)got->element,
        (long)wanted->group, (long)wanted->tensor, (long)wanted->element);
}

#endif
