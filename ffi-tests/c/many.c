/* Whole steps over many tensors against the plain step on each: norm, clip, skip, zero, on any number of threads. */
#include <float.h>

#include "lists.h"

enum { POOLS = 5, STEPS = 2, BLOCK = 4096, SUMS = 32, SMALL_LISTS = 6, MOST_TENSORS = 8 };

static downhill_pool *pools[POOLS]; /* none, and those of 1 to 4 threads */
static unsigned long compared;

/* A rule, configured. */
typedef struct {
  const rule *r;
  int variant;
  any_config config;
} setup;

static setup set_up(const rule *r, int variant, decay_option decay) {
  setup x;
  x.r = r;
  x.variant = variant;
  x.config = configure(x.r, variant, decay);
  return x;
}

/* ---- the plain computation ---- */

static double block_sum(const float *g, size_t n) {
  double sums[SUMS] = {0.0};
  size_t i, width;
  for (i = 0; i < n; i++) sums[i % SUMS] += (double)g[i] * (double)g[i];
  for (width = SUMS / 2; width > 0; width /= 2)
    for (i = 0; i < width; i++) sums[i] = sums[2 * i] + sums[2 * i + 1];
  return sums[0];
}

static double plain_norm(const list *l) {
  double sum = 0.0;
  size_t i, at;
  for (i = 0; i < l->count; i++) {
    const size_t n = l->tensors[i].n;
    for (at = 0; at < n; at += BLOCK) sum += block_sum(l->tensors[i].g + at, n - at < BLOCK ? n - at : (size_t)BLOCK);
  }
  return sqrt(sum);
}

static float plain_scale(const downhill_extras *extras, double norm) {
  double clip = 1.0;
  if (extras->max_norm > 0.0) clip = extras->max_norm / (norm + 1e-6);
  if (clip > 1.0) clip = 1.0; /* NaN stays */
  return (float)(extras->grad_scale * clip);
}

static void scaled_step(const setup *x, downhill_tensor *tensor, uint64_t t, float scale) {
  float *const g = (float *)allocate(tensor->n * sizeof *g);
  size_t i;
  for (i = 0; i < tensor->n; i++) g[i] = scale == 1.0f ? tensor->g[i] : tensor->g[i] * scale;
  CHECK(x->r->step(tensor->n, tensor->w, g, tensor->state, t, &x->config) == DOWNHILL_STATUS_OK, "%s: %s", x->r->name,
        downhill_last_error());
  free(g);
}

static downhill_report plain_step_many(const setup *x, list *l, uint64_t t, const downhill_extras *extras) {
  downhill_report report;
  float scale;
  size_t i, j;
  report.grad_norm = fabs(extras->grad_scale) * plain_norm(l);
  scale = plain_scale(extras, report.grad_norm);
  report.skipped = (extras->flags & DOWNHILL_SKIP_NONFINITE) != 0 && !(fabs((double)scale) * plain_norm(l) <= FLT_MAX);
  report.applied_scale = report.skipped ? 0.0 : (double)scale;
  if (report.skipped) return report;
  for (i = 0; i < l->count; i++) {
    scaled_step(x, &l->tensors[i], t, scale);
    if ((extras->flags & DOWNHILL_ZERO_GRAD) != 0)
      for (j = 0; j < l->tensors[i].n; j++) l->tensors[i].g[j] = 0.0f;
  }
  return report;
}

/* ---- lists and extras ---- */

static float finite_float(void) {
  float x = any_float();
  while (!isfinite(x)) x = any_float();
  return x;
}

static list make_list(const setup *x, size_t count, const size_t *n, float (*number)(void)) {
  list l = new_list(count, n, x->r->states, (layout)(draw() % LAYOUTS), draw() % 16);
  size_t i;
  int k;
  fill(&l, number);
  for (k = 0; k < x->r->states; k++) {
    if (x->r->state[k].is_square) make_absolute(&l, k);
    if (has_state(x->r, &x->config, k)) continue;
    for (i = 0; i < count; i++)
      if (n[i] > 0) l.tensors[i].state[k] = NULL;
  }
  return l;
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

static list small_list(const setup *x, float (*number)(void)) {
  const size_t count = draw() % (MOST_TENSORS + 1);
  size_t n[MOST_TENSORS], i;
  for (i = 0; i < count; i++) n[i] = random_size();
  return make_list(x, count, n, number);
}

/* For more than 8 MiB that are read or written four threads work. */
static size_t large(const setup *x) { return ((size_t)17 << 19) / (sizeof(float) * (size_t)(3 + 2 * x->r->states)); }

static list few_large_tensors(const setup *x, float (*number)(void)) {
  const size_t all = large(x);
  const size_t n[] = {all / 2, 0, 1, 4097, all / 3, 16384, all / 6 + 31, 0};
  return make_list(x, sizeof n / sizeof *n, n, number);
}

static list many_small_tensors(const setup *x, float (*number)(void)) {
  const size_t count = large(x) / 200;
  size_t *const n = (size_t *)allocate(count * sizeof *n), i;
  list l;
  for (i = 0; i < count; i++) n[i] = draw() % 400;
  n[count / 2] += 20000;
  l = make_list(x, count, n, number);
  free(n);
  return l;
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
  if (draw() % 2 == 0) extras.flags |= DOWNHILL_ZERO_GRAD;
  if (draw() % 2 == 0 && isfinite(norm)) extras.flags |= DOWNHILL_SKIP_NONFINITE;
  return extras;
}

/* ---- the comparison ---- */

static int same_double(double a, double b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

static void compare_reports(const char *name, const downhill_report *got, const downhill_report *wanted) {
  CHECK(same_double(got->grad_norm, wanted->grad_norm), "%s: %a, not %a", name, got->grad_norm, wanted->grad_norm);
  CHECK(same_double(got->applied_scale, wanted->applied_scale), "%s: %a, not %a", name, got->applied_scale,
        wanted->applied_scale);
  CHECK(got->skipped == wanted->skipped, "%s: skipped %lu", name, (unsigned long)got->skipped);
}

static void compare_lists(const setup *x, list *got, const list *wanted, downhill_pool *pool) {
  const size_t at = difference(got, wanted);
  CHECK(at == got->length, "%s variant %d, %lu tensors, %lu threads, %s: %a, not %a", x->r->name, x->variant,
        (unsigned long)got->count, (unsigned long)downhill_pool_threads(pool), locate(got, at), (double)got->memory[at],
        (double)wanted->memory[at]);
}

/* What a few steps lead to. */
typedef struct {
  list after;
  downhill_report reports[STEPS];
} outcome;

static outcome plain_outcome(const setup *x, const list *start, const downhill_extras *extras, uint64_t first_t) {
  const downhill_extras none = downhill_extras_default();
  outcome plain;
  int i;
  plain.after = copy_list(start);
  for (i = 0; i < STEPS; i++)
    plain.reports[i] = plain_step_many(x, &plain.after, first_t + (uint64_t)i, extras != NULL ? extras : &none);
  return plain;
}

static void compare_on(const setup *x, const list *start, const downhill_extras *extras, uint64_t first_t,
                       const outcome *plain, downhill_pool *pool) {
  const int reported = draw() % 2 == 0;
  list ours = copy_list(start);
  downhill_report report;
  int i;
  for (i = 0; i < STEPS; i++) {
    const downhill_status status = x->r->step_many(ours.count, ours.tensors, first_t + (uint64_t)i, &x->config, extras, pool,
                                                   reported ? &report : NULL);
    CHECK(status == (plain->reports[i].skipped ? DOWNHILL_STATUS_SKIPPED : DOWNHILL_STATUS_OK), "%s: status %d: %s",
          x->r->name, (int)status, downhill_last_error());
    if (reported) compare_reports(x->r->name, &report, &plain->reports[i]);
  }
  compare_lists(x, &ours, &plain->after, pool);
  free_list(&ours);
  compared++;
}

/* With some of the pools: those whose bits are set. */
static void compare(const setup *x, const list *start, const downhill_extras *extras, unsigned with_pools) {
  const uint64_t first_t = 1 + draw() % 3 * 500;
  outcome plain = plain_outcome(x, start, extras, first_t);
  int p;
  for (p = 0; p < POOLS; p++)
    if ((with_pools >> p & 1) == 1) compare_on(x, start, extras, first_t, &plain, pools[p]);
  free_list(&plain.after);
}

/* The norm is of the gradients: nothing else is looked at. */
static void compare_norms(const list *l) {
  const double wanted = plain_norm(l);
  downhill_tensor *const tensors = (downhill_tensor *)allocate(l->count * sizeof *tensors);
  size_t i;
  int p, k;
  for (i = 0; i < l->count; i++) {
    tensors[i] = l->tensors[i];
    tensors[i].w = no_array();
    for (k = 0; k < MOST_STATES; k++) tensors[i].state[k] = no_array();
  }
  for (p = 0; p < POOLS; p++) {
    double norm = -1.0;
    CHECK(downhill_grad_norm(l->count, tensors, pools[p], &norm) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(same_double(norm, wanted), "pool %d, %lu tensors: %a, not %a", p, (unsigned long)l->count, norm, wanted);
  }
  free(tensors);
}

/* ---- what is compared ---- */

static unsigned any_pool(void) { return 1u << draw() % POOLS; }

static void compare_small_lists(const setup *x) {
  float (*const numbers[])(void) = {any_float, finite_float, uniform};
  int i;
  for (i = 0; i < SMALL_LISTS; i++) {
    list l = small_list(x, numbers[i % 3]);
    const downhill_extras extras = random_extras(plain_norm(&l));
    compare_norms(&l);
    compare(x, &l, NULL, any_pool());
    compare(x, &l, &extras, any_pool());
    free_list(&l);
  }
}

/* ---- gradients that are not finite ---- */

static downhill_extras skipping(uint32_t more_flags, double grad_scale, double max_norm) {
  downhill_extras extras = downhill_extras_default();
  extras.flags = DOWNHILL_SKIP_NONFINITE | more_flags;
  extras.grad_scale = grad_scale;
  extras.max_norm = max_norm;
  return extras;
}

/* Nothing at all is changed, and the text says where the first of them is. */
static void skip(const setup *x, const list *l, size_t tensor, size_t element, const downhill_extras *extras,
                 downhill_pool *pool) {
  list ours = copy_list(l);
  downhill_report report, wanted;
  char text[100];
  wanted.grad_norm = fabs(extras->grad_scale) * plain_norm(l);
  wanted.applied_scale = 0.0;
  wanted.skipped = 1;
  snprintf(text, sizeof text, "tensor %lu: `g` is %s at element %lu;", (unsigned long)tensor,
           isnan(l->tensors[tensor].g[element]) ? "NaN" : l->tensors[tensor].g[element] > 0.0f ? "inf" : "-inf",
           (unsigned long)element);
  CHECK(x->r->step_many(ours.count, ours.tensors, 1, &x->config, extras, pool, &report) == DOWNHILL_STATUS_SKIPPED,
        "%s: %s", x->r->name, text);
  CHECK(strstr(downhill_last_error(), text) != NULL, "%s: \"%s\" does not say \"%s\"", x->r->name, downhill_last_error(),
        text);
  compare_reports(x->r->name, &report, &wanted);
  CHECK(x->r->step_many(ours.count, ours.tensors, 1, &x->config, extras, pool, NULL) == DOWNHILL_STATUS_SKIPPED,
        "%s: %s, without a report", x->r->name, text);
  CHECK(memcmp(ours.memory, l->memory, l->length * sizeof *l->memory) == 0, "%s: skipped, and changed: %s", x->r->name,
        text);
  free_list(&ours);
  compared++;
}

/* A value in one place: skipped if asked for, else computed with. */
static void nonfinite(const setup *x, list *l, size_t tensor, size_t element, float value, downhill_pool *pool) {
  const downhill_extras skips[] = {skipping(0, 1.0, 0.0), skipping(DOWNHILL_ZERO_GRAD, -0.5, 1.0)};
  float *const at = l->tensors[tensor].g + element, was = *at;
  downhill_extras extras = skips[draw() % 2];
  *at = value;
  skip(x, l, tensor, element, &extras, pool);
  extras.flags &= ~(uint32_t)DOWNHILL_SKIP_NONFINITE;
  compare(x, l, &extras, any_pool());
  *at = was;
}

/* The first, a middle, the last element of the first, a middle, the last tensor that has any. */
static void nonfinite_places(const setup *x) {
  const size_t n[] = {37, 0, 3, 4099, 0, 18, 0}, tensors[] = {0, 3, 5};
  const float values[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
  list l = make_list(x, sizeof n / sizeof *n, n, finite_float);
  const downhill_extras extras = skipping(0, 1.0, 0.0);
  int i, j, k;
  for (i = 0; i < 3; i++)
    for (j = 0; j < 3; j++)
      for (k = 0; k < 3; k++) {
        const size_t last = n[tensors[i]] - 1, elements[3] = {0, last / 2, last};
        nonfinite(x, &l, tensors[i], elements[j], values[k], pools[draw() % POOLS]);
      }
  /* Of two the first is named. */
  l.tensors[5].g[0] = (float)NAN;
  l.tensors[3].g[4098] = (float)INFINITY;
  l.tensors[3].g[4097] = -(float)INFINITY;
  skip(x, &l, 3, 4097, &extras, NULL);
  free_list(&l);
}

static float huge_float(void) { return draw() % 2 == 0 ? 3e38f : -3e38f; }

/* Whose squares are infinite in float, and are finite all the same. */
static void huge_gradients(const setup *x) {
  const size_t n[] = {4097, 100, 16385};
  const downhill_extras extras = skipping(0, 1.0, 0.0), clipping = skipping(DOWNHILL_ZERO_GRAD, 1.0, 1.0);
  list l = make_list(x, sizeof n / sizeof *n, n, huge_float);
  compare(x, &l, &extras, any_pool());
  compare(x, &l, &clipping, any_pool());
  free_list(&l);
}

/* ---- work for several threads ---- */

/* And one of them finds a NaN, in the last tensor that has elements, of which all must know. */
static void compare_large_list(const setup *x, list (*make)(const setup *, float (*)(void))) {
  list l = make(x, finite_float);
  const downhill_extras extras = random_extras(plain_norm(&l)), skips = skipping(DOWNHILL_ZERO_GRAD, 1.0, 1.0);
  size_t last = l.count - 1;
  compare_norms(&l);
  compare(x, &l, NULL, 1u << 4);
  compare(x, &l, &extras, 1u << 4 | 1u << (2 + draw() % 2));
  while (l.tensors[last].n == 0) last--;
  l.tensors[last].g[l.tensors[last].n - 1] = (float)NAN;
  skip(x, &l, last, l.tensors[last].n - 1, &skips, pools[4]);
  free_list(&l);
}

int main(void) {
  size_t p;
  int i, variant, decay;
  for (p = 1; p < POOLS; p++) pools[p] = downhill_pool_new(p);
  for (i = 0; i < RULES; i++) {
    const rule *r = &rules[i];
    const setup full = set_up(r, r->variants - 1, DECOUPLED);
    for (variant = 0; variant < r->variants; variant++)
      for (decay = NO_DECAY; decay < DECAYS; decay++) {
        const setup x = set_up(r, variant, (decay_option)decay);
        compare_small_lists(&x);
      }
    nonfinite_places(&full);
    huge_gradients(&full);
    compare_large_list(&full, i % 2 == 0 ? few_large_tensors : many_small_tensors);
  }
  for (p = 1; p < POOLS; p++) downhill_pool_free(pools[p]);
  printf("%s: %lu runs over lists, all the same bits\n", downhill_isa(), compared);
  return 0;
}
