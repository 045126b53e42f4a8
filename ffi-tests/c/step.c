/* Whole steps of float tensors in groups of all rules against the plain steps, bit by bit: norm, clip, skip, zero, each
 * tensor's own t, absent gradients, pieces with a norm from elsewhere, on any threads. */
#include "pools.h"

#include "plain.h"

enum { STEPS = 2, SMALL_MODELS = 4, MOST_GROUPS = 4, MOST_TENSORS = 5 };

static unsigned long compared;

/* ---- models ---- */

static float finite_float(void) {
  float x = any_float();
  while (!isfinite(x)) x = any_float();
  return x;
}

/* Nothing, one, around vectors, anything, around blocks, more than a chunk of a thread's. */
static size_t random_size(void) {
  switch (draw() % 8) {
    case 0: return 0;
    case 1: return 1;
    case 2: return draw() % 100;
    case 3: return draw() % 3000;
    case 4: return 4095 + draw() % 3;
    case 5: return 16383 + draw() % 3;
    default: return 15 + draw() % 19;
  }
}

static any_config any_rule(void) {
  const rule *const r = &rules[draw() % RULES];
  return configure(r, (int)(draw() % (uint32_t)r->variants), (decay_option)(draw() % DECAYS));
}

static void some_without_gradient_and_some_with_their_own_t(model *m) {
  size_t i;
  for (i = 0; i < m->tensor_count; i++) {
    if (draw() % 5 == 0) remove_gradient(&m->tensors[i]);
    if (draw() % 3 == 0) m->tensors[i].t = 1 + draw() % 2000;
  }
}

/* Groups of any rules, but for the first. */
static model small_model(const any_config *first, float (*number)(void)) {
  const size_t count = 1 + draw() % MOST_GROUPS;
  any_config configs[MOST_GROUPS];
  downhill_group groups[MOST_GROUPS];
  size_t n[MOST_GROUPS * MOST_TENSORS], i, tensors = 0;
  model m;
  for (i = 0; i < count; i++) {
    configs[i] = i == 0 ? *first : any_rule();
    groups[i] = new_group(&configs[i], i == 0 ? 1 + draw() % MOST_TENSORS : draw() % (MOST_TENSORS + 1));
    groups[i].t = 1 + draw() % 3 * 500;
    tensors += groups[i].count;
  }
  for (i = 0; i < tensors; i++) n[i] = random_size();
  m = new_model(count, groups, n, (layout)(draw() % LAYOUTS), draw() % 60);
  any_bounds(&m);
  fill_model(&m, number);
  some_without_gradient_and_some_with_their_own_t(&m);
  return m;
}

/* For more than 8 MiB that are read or written four threads work. */
static size_t large_count(const rule *r) { return ((size_t)17 << 19) / (sizeof(float) * (size_t)(3 + 2 * r->states)); }

static model few_large_tensors(const any_config *config, float (*number)(void)) {
  const rule *const r = &rules[config->head.rule - 1];
  const size_t all = large_count(r), n[] = {all / 2, 0, 1, 4097, all / 3, 16384, all / 6 + 31, 0};
  const any_config other = any_rule();
  const downhill_group groups[] = {new_group(config, 5), new_group(&other, 0), new_group(config, 3)};
  model m = new_model(3, groups, n, (layout)(draw() % LAYOUTS), draw() % 60);
  any_bounds(&m);
  fill_model(&m, number);
  return m;
}

static model many_small_tensors(const any_config *config, float (*number)(void)) {
  const size_t count = large_count(&rules[config->head.rule - 1]) / 200;
  const any_config other = any_rule();
  const downhill_group groups[] = {new_group(config, count / 2), new_group(&other, count - count / 2)};
  size_t *const n = (size_t *)allocate(count * sizeof *n), i;
  model m;
  for (i = 0; i < count; i++) n[i] = draw() % 400;
  n[count / 2] += 20000;
  m = new_model(2, groups, n, (layout)(draw() % LAYOUTS), draw() % 60);
  any_bounds(&m);
  fill_model(&m, number);
  free(n);
  return m;
}

/* Any scale; a norm that is above the maximum, at it, below it, or not clipped. */
static downhill_extras random_extras(double norm) {
  const double scales[] = {1.0, 1.0, -1.0, 0.5, 1.0 / 65536.0, 3.7, 0.0, 1e-42};
  downhill_extras extras = downhill_extras_default();
  double scaled;
  extras.grad_scale = scales[draw() % 8];
  scaled = norm * fabs(extras.grad_scale);
  if (scaled < 1e37) {
    const double norms[] = {0.0, 1e-3, scaled / 3.0, scaled + 1e-6, scaled + 2e-6, 3e38};
    extras.max_norm = norms[draw() % 6];
  } else {
    extras.max_norm = draw() % 2 == 0 ? 0.0 : 2.5;
  }
  if (draw() % 2 == 0) extras.flags |= DOWNHILL_EXTRAS_ZERO_GRAD;
  if (draw() % 2 == 0) extras.flags |= DOWNHILL_EXTRAS_SKIP_NONFINITE;
  return extras;
}

/* ---- the comparison ---- */

/* What a few steps lead to. */
typedef struct {
  model after;
  downhill_report reports[STEPS];
} outcome;

static void next_step(model *m) {
  size_t i;
  for (i = 0; i < m->count; i++) m->groups[i].t++;
}

static outcome plain_outcome(const model *start, const downhill_extras *extras) {
  outcome plain;
  int i;
  plain.after = copy_model(start);
  for (i = 0; i < STEPS; i++, next_step(&plain.after)) plain.reports[i] = plain_step(&plain.after, extras);
  return plain;
}

static void compare_on(const model *start, const downhill_extras *extras, const outcome *plain, downhill_pool *pool) {
  const int reported = draw() % 2 == 0;
  model ours = copy_model(start);
  downhill_report report = downhill_report_default();
  int i;
  for (i = 0; i < STEPS; i++, next_step(&ours)) {
    const downhill_status status = downhill_step(ours.count, ours.groups, extras, pool, reported ? &report : NULL);
    CHECK(status == (plain->reports[i].skipped ? DOWNHILL_STATUS_SKIPPED : DOWNHILL_STATUS_OK), "status %d: %s", (int)status,
          downhill_last_error());
    if (reported) compare_reports(&report, &plain->reports[i], describe(&ours.groups[0]));
  }
  compare_models(&ours, &plain->after, "a whole step");
  free_model(&ours);
  compared++;
}

/* With some of the pools: those whose bits are set. */
static void compare(const model *start, const downhill_extras *extras, unsigned with_pools) {
  outcome plain = plain_outcome(start, extras);
  int p;
  for (p = 0; p < POOLS; p++)
    if ((with_pools >> p & 1) == 1) compare_on(start, extras, &plain, pools[p]);
  free_model(&plain.after);
}

static unsigned any_pool(void) { return 1u << draw() % POOLS; }

/* Each tensor's sum. Of a tensor only n and g are looked at, and of a group what says where they are. */
static void compare_squares(const model *m) {
  const any_config nothing = {{0, 0}};
  model bare = copy_model(m);
  double *const sums = (double *)allocate((m->tensor_count + 1) * sizeof *sums);
  size_t i, j;
  int p, kind;
  for (i = 0; i < bare.count; i++) bare.groups[i].config = draw() % 2 == 0 ? NULL : &nothing, bare.groups[i].t = 0;
  for (i = 0; i < bare.tensor_count; i++)
    for (kind = 0; kind < ARRAYS; kind++)
      if (kind != G) put_array(&bare.tensors[i], kind, no_array());
  for (p = 0; p < POOLS; p++) {
    size_t at = 0;
    for (i = 0; i <= m->tensor_count; i++) sums[i] = -1.0;
    CHECK(downhill_grad_squares(bare.count, bare.groups, pools[p], sums) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    for (i = 0; i < m->count; i++)
      for (j = 0; j < m->groups[i].count; j++, at++) {
        const double wanted = plain_squares(&m->groups[i], &m->groups[i].tensors[j]);
        CHECK(same_double(sums[at], wanted), "pool %d, group %lu tensor %lu: %a, not %a", p, (unsigned long)i, (unsigned long)j,
              sums[at], wanted);
      }
    CHECK(sums[at] == -1.0, "a sum too many");
  }
  free(sums);
  free_model(&bare);
}

static void compare_small_models(const any_config *config) {
  float (*const numbers[])(void) = {any_float, finite_float, uniform, finite_float};
  int i;
  for (i = 0; i < SMALL_MODELS; i++) {
    model m = small_model(config, numbers[i % 4]);
    const downhill_extras extras = random_extras(sqrt(plain_sum(&m)));
    compare_squares(&m);
    compare(&m, NULL, any_pool());
    compare(&m, &extras, any_pool());
    free_model(&m);
  }
}

/* ---- no groups, no tensors ---- */

static void nothing_to_do(void) {
  const any_config config = any_rule();
  downhill_group groups[] = {new_group(&config, 0), new_group(&config, 0)};
  const void *const anywhere[] = {NULL, (const char *)groups + 1, (void *)(UINTPTR_MAX - 7)};
  downhill_extras extras = downhill_extras_default();
  double sum = 7.0;
  size_t i;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE;
  for (i = 0; i < 3; i++) {
    const downhill_group *const list = (const downhill_group *)anywhere[i];
    downhill_report report = downhill_report_default(), wanted = report;
    wanted.applied_scale = 1.0;
    groups[1].tensors = (const downhill_tensor *)anywhere[i];
    CHECK(downhill_step(0, list, &extras, pools[i], &report) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    compare_reports(&report, &wanted, "no groups");
    CHECK(downhill_step(2, groups, &extras, pools[i], &report) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    compare_reports(&report, &wanted, "no tensors");
    CHECK(downhill_grad_squares(0, list, pools[i], &sum) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(downhill_grad_squares(2, groups, pools[i], NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(sum == 7.0, "a sum of nothing");
  }
}

/* ---- gradients that are not finite ---- */

static downhill_extras skipping(uint32_t more_flags, double grad_scale, double max_norm) {
  downhill_extras extras = downhill_extras_default();
  extras.flags = DOWNHILL_EXTRAS_SKIP_NONFINITE | more_flags;
  extras.grad_scale = grad_scale;
  extras.max_norm = max_norm;
  return extras;
}

/* Nothing at all is changed, and text and report say where the first of them is. */
static void skip(const model *m, size_t group, size_t tensor, size_t element, const downhill_extras *extras,
                 downhill_pool *pool) {
  model ours = copy_model(m);
  const float value = ((const float *)m->groups[group].tensors[tensor].g)[element];
  downhill_report report = downhill_report_default(), wanted = report;
  char text[100];
  wanted.grad_norm = fabs(extras->grad_scale) * sqrt(plain_sum(m));
  wanted.skipped = 1;
  wanted.group = group, wanted.tensor = tensor, wanted.element = element;
  snprintf(text, sizeof text, "group %lu: tensor %lu: `g` is %s at element %lu;", (unsigned long)group, (unsigned long)tensor,
           isnan(value) ? "NaN" : value > 0.0f ? "inf" : "-inf", (unsigned long)element);
  CHECK(downhill_step(ours.count, ours.groups, extras, pool, &report) == DOWNHILL_STATUS_SKIPPED, "not skipped: %s", text);
  CHECK(strstr(downhill_last_error(), text) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), text);
  compare_reports(&report, &wanted, text);
  CHECK(downhill_step(ours.count, ours.groups, extras, pool, NULL) == DOWNHILL_STATUS_SKIPPED, "%s, without a report", text);
  CHECK(memcmp(ours.memory, m->memory, m->bytes) == 0, "skipped, and changed: %s", text);
  free_model(&ours);
  compared++;
}

/* A value in one place: skipped if asked for, else computed with. */
static void nonfinite(model *m, size_t group, size_t tensor, size_t element, float value, downhill_pool *pool) {
  const downhill_extras skips[] = {skipping(0, 1.0, 0.0), skipping(DOWNHILL_EXTRAS_ZERO_GRAD, -0.5, 1.0)};
  float *const at = (float *)m->groups[group].tensors[tensor].g + element, was = *at;
  downhill_extras extras = skips[draw() % 2];
  *at = value;
  skip(m, group, tensor, element, &extras, pool);
  extras.flags &= ~(uint32_t)DOWNHILL_EXTRAS_SKIP_NONFINITE;
  compare(m, &extras, any_pool());
  *at = was;
}

/* The first, a middle, the last element of tensors of several groups. */
static void nonfinite_places(const any_config *config) {
  const size_t n[] = {37, 0, 3, 4099, 0, 18, 0}, groups[] = {0, 2, 3}, tensors[] = {0, 1, 1};
  const any_config other = any_rule();
  const downhill_group made[] = {new_group(config, 2), new_group(&other, 0), new_group(&other, 2), new_group(config, 3)};
  const float values[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
  const downhill_extras extras = skipping(0, 1.0, 0.0);
  model m = new_model(4, made, n, (layout)(draw() % LAYOUTS), 12);
  int i, j, k;
  fill_model(&m, finite_float);
  for (i = 0; i < 3; i++)
    for (j = 0; j < 3; j++)
      for (k = 0; k < 3; k++) {
        const size_t last = m.groups[groups[i]].tensors[tensors[i]].n - 1, elements[3] = {0, last / 2, last};
        nonfinite(&m, groups[i], tensors[i], elements[j], values[k], pools[draw() % POOLS]);
      }
  /* Of two the first is named. */
  ((float *)m.groups[3].tensors[1].g)[0] = (float)NAN;
  ((float *)m.groups[2].tensors[1].g)[4098] = (float)INFINITY;
  ((float *)m.groups[2].tensors[1].g)[4097] = -(float)INFINITY;
  skip(&m, 2, 1, 4097, &extras, NULL);
  free_model(&m);
}

static float huge_float(void) { return draw() % 2 == 0 ? 3e38f : -3e38f; }

/* Whose squares are infinite in float, and are finite all the same; but their norm is beyond the largest float, so that one
 * could become infinite. Clipped none can. */
static void huge_gradients(const any_config *config) {
  const size_t n[] = {4097, 100, 16385};
  const downhill_group group = new_group(config, 3);
  const downhill_extras none = downhill_extras_default(), extras = skipping(0, 1.0, 0.0),
                        clipping = skipping(DOWNHILL_EXTRAS_ZERO_GRAD, 1.0, 1.0);
  model m = new_model(1, &group, n, SHUFFLED, 8), before;
  downhill_report report = downhill_report_default();
  fill_model(&m, huge_float);
  before = copy_model(&m);
  CHECK(downhill_step(1, m.groups, &extras, NULL, &report) == DOWNHILL_STATUS_SKIPPED, "not skipped");
  CHECK(report.group == SIZE_MAX && report.tensor == SIZE_MAX && report.element == SIZE_MAX, "all of them are finite");
  CHECK(strstr(downhill_last_error(), "`grad_scale` is 1 ") != NULL, "%s", downhill_last_error());
  CHECK(memcmp(m.memory, before.memory, m.bytes) == 0, "skipped, and changed");
  compare(&m, &extras, any_pool());
  compare(&m, &none, any_pool());
  compare(&m, &clipping, any_pool());
  free_model(&m), free_model(&before);
}

/* ---- a model in pieces ---- */

static double left_to_right(const double *sums, size_t count) {
  double sum = 0.0;
  size_t i;
  for (i = 0; i < count; i++) sum += sums[i];
  return sum;
}

/* One call for the whole, and one for each piece with the sum of all: the same bits, and the same decision to skip. The
 * pieces are the tensors one by one (layers), or the groups (ranks), the last one first. */
static void compare_pieces(const model *start, downhill_extras extras, int layers, downhill_status wanted) {
  model whole = copy_model(start), pieces = copy_model(start);
  double *const sums = (double *)allocate(start->tensor_count * sizeof *sums);
  downhill_report report = downhill_report_default(), part;
  size_t i, j, updated = 0, at = 0;
  for (i = 0; i < start->count; at += start->groups[i++].count)
    CHECK(downhill_grad_squares(1, &pieces.groups[i], pools[draw() % POOLS], sums + at) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
  CHECK(downhill_step(whole.count, whole.groups, &extras, NULL, &report) == wanted, "the whole: %s", downhill_last_error());
  extras.flags |= DOWNHILL_EXTRAS_NORM_GIVEN;
  extras.norm_squared = left_to_right(sums, start->tensor_count);
  for (i = start->count; i-- > 0;)
    for (j = 0; j < (layers ? pieces.groups[i].count : 1); j++) {
      downhill_group group = pieces.groups[i];
      if (layers) group.count = 1, group.tensors += j;
      part = downhill_report_default();
      CHECK(downhill_step(1, &group, &extras, pools[draw() % POOLS], &part) == wanted, "a piece: %s", downhill_last_error());
      CHECK(same_double(part.grad_norm, report.grad_norm) && same_double(part.applied_scale, report.applied_scale) &&
                part.skipped == report.skipped,
            "a piece of another norm: %a, not %a", part.grad_norm, report.grad_norm);
      updated += part.tensors_updated;
    }
  CHECK(updated == report.tensors_updated, "%lu tensors, not %lu", (unsigned long)updated,
        (unsigned long)report.tensors_updated);
  compare_models(&pieces, &whole, layers ? "layer by layer" : "rank by rank");
  free(sums);
  free_model(&whole), free_model(&pieces);
  compared++;
}

static void pieces(const any_config *config) {
  downhill_extras extras = skipping(DOWNHILL_EXTRAS_ZERO_GRAD, -0.5, 1.0);
  model m = small_model(config, uniform);
  int layers;
  size_t i;
  for (layers = 0; layers < 2; layers++) compare_pieces(&m, extras, layers, DOWNHILL_STATUS_OK);
  for (i = 0; i < m.tensor_count; i++) {
    if (m.tensors[i].n == 0 || m.tensors[i].g == NULL) continue;
    ((float *)m.tensors[i].g)[m.tensors[i].n - 1] = (float)INFINITY;
    for (layers = 0; layers < 2; layers++) compare_pieces(&m, extras, layers, DOWNHILL_STATUS_SKIPPED);
    break;
  }
  /* A piece whose gradients are finite does not know where the one is that is not. */
  extras = skipping(DOWNHILL_EXTRAS_NORM_GIVEN, 1.0, 0.0);
  extras.norm_squared = (double)NAN;
  CHECK(downhill_step(0, NULL, &extras, NULL, NULL) == DOWNHILL_STATUS_SKIPPED, "not skipped");
  free_model(&m);
}

/* ---- work for several threads ---- */

/* And one of them finds a NaN, in the last tensor that has elements, of which all must know. */
static void compare_large_model(const any_config *config, model (*make)(const any_config *, float (*)(void)), unsigned more) {
  model m = make(config, finite_float);
  const downhill_extras extras = random_extras(sqrt(plain_sum(&m))), skips = skipping(DOWNHILL_EXTRAS_ZERO_GRAD, 1.0, 1.0);
  const size_t group = m.count - 1;
  size_t last = m.groups[group].count - 1;
  compare_squares(&m);
  compare(&m, NULL, 1u << 3);
  compare(&m, &extras, 1u << 3 | 1u << more % POOLS | 1u << (more + 3) % POOLS);
  while (m.groups[group].tensors[last].n == 0) last--;
  ((float *)m.groups[group].tensors[last].g)[m.groups[group].tensors[last].n - 1] = (float)NAN;
  skip(&m, group, last, m.groups[group].tensors[last].n - 1, &skips, pools[more % POOLS]);
  free_model(&m);
}

int main(void) {
  int i, variant, decay;
  make_pools();
  nothing_to_do();
  for (i = 0; i < RULES; i++) {
    const rule *const r = &rules[i];
    const any_config full = configure(r, r->variants - 1, DECOUPLED);
    for (variant = 0; variant < r->variants; variant++)
      for (decay = NO_DECAY; decay < DECAYS; decay++) {
        const any_config config = configure(r, variant, (decay_option)decay);
        compare_small_models(&config);
      }
    nonfinite_places(&full);
    huge_gradients(&full);
    pieces(&full);
    compare_large_model(&full, i % 2 == 0 ? few_large_tensors : many_small_tensors, (unsigned)i);
  }
  free_pools();
  printf("%s: %lu runs over groups, all the same bits\n", downhill_isa(), compared);
  return 0;
}
