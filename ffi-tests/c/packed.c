/* Steps on packed states: rounded to nearest, they are unpack, the plain step, pack; rounded at random, they are so
 * near that, right on average, and depend on seed, t and the element's number alone. */
#include "packed.h"

enum { STEPS = 3, LARGE = 700001, CUT = 64 * 5003, MEANS = 1 << 16 };

static downhill_pool *pool; /* of three threads */
static unsigned long compared;

typedef struct {
  const packed_rule *p;
  const rule *r;
  any_config config;
  downhill_packing packing;
} setup;

static setup set_up(const packed_rule *p, uint32_t state_format, uint32_t weight_format, uint32_t rounding) {
  setup x;
  x.p = p;
  x.r = find_rule(p->name);
  x.config = configure(x.r, 0, L2);
  x.packing = downhill_packing_default();
  x.packing.state_format = state_format;
  x.packing.weight_format = weight_format;
  x.packing.rounding = rounding;
  return x;
}

static void must(const setup *x, downhill_status status) {
  CHECK(status == DOWNHILL_STATUS_OK, "%s: %s", x->p->name, downhill_last_error());
}

/* ---- the plain computation ---- */

/* The states of a tensor, for the caller to free. */
typedef struct {
  float *s[MOST_PACKED];
} floats;

static floats new_floats(const setup *x, size_t n) {
  floats f;
  int k;
  for (k = 0; k < MOST_PACKED; k++) f.s[k] = k < x->p->states ? (float *)allocate(n * sizeof(float)) : NULL;
  return f;
}

static void free_floats(floats *f) {
  int k;
  for (k = 0; k < MOST_PACKED; k++) free(f->s[k]);
}

static floats unpacked(const setup *x, const downhill_packed_tensor *tensor) {
  floats f = new_floats(x, tensor->n);
  must(x, x->p->unpack(tensor->n, f.s, x->packing.state_format, tensor->state, tensor->state_bytes));
  return f;
}

static float *copied(const model *l, const void *array, size_t n) {
  float *const copy = (float *)allocate(n * sizeof *copy);
  size_t i;
  for (i = 0; i < n; i++) copy[i] = get_weight(l, array, i);
  return copy;
}

/* The plain step in float on what the codes stand for. */
static void plain_step(const setup *x, const model *l, const downhill_packed_tensor *tensor, uint64_t t, float scale,
                       int zero_grad) {
  const size_t n = tensor->n;
  float *const w = copied(l, tensor->w, n), *const g = copied(l, tensor->g, n);
  floats f = unpacked(x, tensor);
  size_t i;
  for (i = 0; i < n; i++) g[i] = scale == 1.0f ? g[i] : g[i] * scale;
  must(x, x->r->step(n, w, g, f.s, t, &x->config));
  must(x, x->p->pack(n, f.s, x->packing.state_format, tensor->state, tensor->state_bytes));
  for (i = 0; i < n; i++) put_weight(l, tensor->w, i, w[i]);
  for (i = 0; i < n && zero_grad; i++) put_weight(l, tensor->g, i, 0.0f);
  free(w), free(g);
  free_floats(&f);
}

static double plain_norm(const model *l) {
  downhill_tensor tensors[MOST_TENSORS];
  double norm = -1.0;
  size_t i;
  memset(tensors, 0, sizeof tensors);
  for (i = 0; i < l->count; i++) {
    tensors[i].n = l->tensors[i].n;
    tensors[i].g = copied(l, l->tensors[i].g, l->tensors[i].n);
  }
  CHECK(downhill_grad_norm(l->count, tensors, NULL, &norm) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  for (i = 0; i < l->count; i++) free(tensors[i].g);
  return norm;
}

static downhill_report plain_steps(const setup *x, const model *l, uint64_t t, const downhill_extras *extras) {
  const downhill_extras none = downhill_extras_default();
  downhill_report report;
  double clip = 1.0;
  size_t i;
  if (extras == NULL) extras = &none;
  report.grad_norm = fabs(extras->grad_scale) * plain_norm(l);
  if (extras->max_norm > 0.0) clip = extras->max_norm / (report.grad_norm + 1e-6);
  if (clip > 1.0) clip = 1.0; /* NaN stays */
  report.applied_scale = (double)(float)(extras->grad_scale * clip);
  report.skipped = 0;
  for (i = 0; i < l->count; i++)
    plain_step(x, l, &l->tensors[i], t, (float)report.applied_scale, (extras->flags & DOWNHILL_ZERO_GRAD) != 0);
  return report;
}

/* ---- to nearest ---- */

static downhill_status packed_step(const setup *x, const model *l, uint64_t t, const downhill_extras *extras,
                                   downhill_pool *with, downhill_report *report) {
  return x->p->step(l->count, l->tensors, t, &x->config, &x->packing, extras, with, report);
}

static int same_double(double a, double b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

static void compare_reports(const setup *x, const downhill_report *got, const downhill_report *wanted) {
  CHECK(same_double(got->grad_norm, wanted->grad_norm), "%s: %a, not %a", x->p->name, got->grad_norm,
        wanted->grad_norm);
  CHECK(same_double(got->applied_scale, wanted->applied_scale), "%s: %a, not %a", x->p->name, got->applied_scale,
        wanted->applied_scale);
  CHECK(got->skipped == wanted->skipped, "%s: skipped %lu", x->p->name, (unsigned long)got->skipped);
}

/* All weights that are NaN get the same bits. */
static void one_nan(const model *l) {
  size_t i, j;
  for (i = 0; i < l->count; i++)
    for (j = 0; j < l->tensors[i].n; j++)
      if (isnan(get_weight(l, l->tensors[i].w, j))) put_weight(l, l->tensors[i].w, j, (float)NAN);
}

/* The whole memory: arrays, and what is between them. */
static void compare_models(const setup *x, const model *got, const model *wanted, const char *what) {
  size_t at = 0, i;
  int k;
  one_nan(got), one_nan(wanted);
  if (memcmp(got->memory, wanted->memory, got->bytes) == 0) return;
  while (got->memory[at] == wanted->memory[at]) at++;
  for (i = 0; i < got->count; i++)
    for (k = 0; k < 3 && got->tensors[i].n > 0; k++) {
      const size_t from = (size_t)(packed_array(&got->tensors[i], k) - got->memory);
      CHECK(at < from || at - from >= packed_array_bytes(got, i, k),
            "%s, states %lu, weights %lu, %s: tensor %lu of %lu elements, array %d, byte %lu", x->p->name,
            (unsigned long)x->packing.state_format, (unsigned long)x->packing.weight_format, what, (unsigned long)i,
            (unsigned long)got->tensors[i].n, k, (unsigned long)(at - from));
    }
  CHECK(0, "%s, %s: between arrays", x->p->name, what);
}

static void compare_nearest(const setup *x, const model *start, const downhill_extras *extras) {
  const int reported = draw() % 2 == 0;
  model ours = copy_model(start), plain = copy_model(start);
  const uint64_t first = 1 + draw() % 3 * 500;
  uint64_t t;
  for (t = first; t < first + STEPS; t++) {
    const downhill_report wanted = plain_steps(x, &plain, t, extras);
    downhill_report report = wanted;
    must(x, packed_step(x, &ours, t, extras, draw() % 2 == 0 ? pool : NULL, reported ? &report : NULL));
    compare_reports(x, &report, &wanted);
    compare_models(x, &ours, &plain, "to nearest");
    compared++;
  }
  free(ours.memory), free(plain.memory);
}

static downhill_extras random_extras(double norm) {
  const double scales[] = {1.0, -1.0, 0.5, 1.0 / 65536.0, 3.7, 0.0};
  downhill_extras extras = downhill_extras_default();
  extras.grad_scale = scales[draw() % 6];
  if (draw() % 2 == 0) extras.max_norm = isfinite(norm) && norm > 0.0 ? norm / 3.0 : 2.5;
  if (draw() % 2 == 0) extras.flags |= DOWNHILL_ZERO_GRAD;
  if (draw() % 2 == 0 && isfinite(norm)) extras.flags |= DOWNHILL_SKIP_NONFINITE;
  return extras;
}

static void nearest_on(const setup *x, size_t count, const size_t *n, float (*number)(void)) {
  model l = new_model(x->p, &x->packing, count, n, 64 * (uint64_t)draw(), (layout)(draw() % LAYOUTS));
  downhill_extras extras;
  fill_model(x->p, &x->packing, &l, number, draw() % 2 == 0);
  extras = random_extras(plain_norm(&l));
  compare_nearest(x, &l, NULL);
  compare_nearest(x, &l, &extras);
  free(l.memory);
}

/* Every length alone, then all together, which have every remainder that matters. */
static void nearest(setup x, int variant, decay_option decay) {
  const size_t n[] = {0, 1, 63, 64, 65, 1000, 128};
  const size_t count = sizeof n / sizeof *n;
  size_t i;
  x.config = configure(x.r, variant, decay);
  for (i = 0; i < count; i++) nearest_on(&x, 1, &n[i], i % 2 == 0 ? any_float : uniform);
  nearest_on(&x, count, n, any_float);
  nearest_on(&x, count, n, uniform);
}

/* ---- codes ---- */

/* Signed states have an even spacing next to zero, of less than this; those in bfloat16 are finer everywhere. */
static float least_step(const setup *x, const float *s, size_t n, size_t i) {
  const size_t start = i / 64 * 64, end = n < start + 64 ? n : start + 64;
  float largest = 0.0f;
  for (i = start; i < end; i++) largest = fabsf(s[i]) > largest ? fabsf(s[i]) : largest;
  return x->packing.state_format == DOWNHILL_STATE_FORMAT_BITS8 ? ldexpf(largest, -16) : 0.0f;
}

/* How far a code is from the next, in parts of itself. */
static float relative_step(const setup *x) {
  return x->packing.state_format == DOWNHILL_STATE_FORMAT_BITS8 ? 1.0f / 8.0f : 1.0f / 128.0f;
}

/* Are numbers of state k so near to others: not further than so many codes? */
static void check_near(const setup *x, size_t n, int k, const float *got, const float *wanted, float codes,
                       const char *what) {
  size_t i;
  for (i = 0; i < n; i++) {
    const float a = fabsf(got[i]), b = fabsf(wanted[i]), larger = a > b ? a : b;
    const float step = relative_step(x) * larger + (k == x->p->squares ? 0.0f : least_step(x, wanted, n, i));
    CHECK(fabsf(got[i] - wanted[i]) <= 1.001f * codes * step, "%s, format %lu, %s: state %d element %lu is %g, not %g",
          x->p->name, (unsigned long)x->packing.state_format, what, k, (unsigned long)i, (double)got[i],
          (double)wanted[i]);
    CHECK(k != x->p->squares || wanted[i] == 0.0f || got[i] > 0.0f, "%s: a square of %g is %g", x->p->name,
          (double)wanted[i], (double)got[i]);
  }
}

/* What is packed comes back, each state as itself, and what it was packed from is in the codes it says. */
static void round_trip(const setup *x, size_t n) {
  const size_t bytes = downhill_packed_bytes((size_t)x->p->states, n, x->packing.state_format);
  uint8_t *const state = (uint8_t *)allocate(bytes);
  floats f = new_floats(x, n), back = new_floats(x, n);
  size_t i;
  int k;
  for (k = 0; k < x->p->states; k++)
    for (i = 0; i < n; i++) f.s[k][i] = k == x->p->squares ? fabsf(uniform()) + 1e-6f : uniform();
  must(x, x->p->pack(n, f.s, x->packing.state_format, state, bytes));
  must(x, x->p->unpack(n, back.s, x->packing.state_format, state, bytes));
  for (k = 0; k < x->p->states; k++) check_near(x, n, k, back.s[k], f.s[k], 0.5f, "there and back");
  free_floats(&f), free_floats(&back);
  free(state);
  compared++;
}

/* ---- at random ---- */

static model large_model(const setup *x, size_t n, int zero_states) {
  model l = new_model(x->p, &x->packing, 1, &n, 64 * 77, BY_TENSOR);
  fill_model(x->p, &x->packing, &l, uniform, zero_states);
  return l;
}

static model stepped(const setup *x, const model *start, uint64_t t, downhill_pool *with) {
  downhill_extras extras = downhill_extras_default();
  model l = copy_model(start);
  extras.max_norm = 100.0;
  must(x, packed_step(x, &l, t, &extras, with, NULL));
  return l;
}

/* Other states, and other weights if they are rounded. The step itself does not depend on t. */
static void check_other_bits(const setup *x, const model *start, uint64_t t, const model *usual, const char *what) {
  model other = stepped(x, start, t, NULL);
  const size_t n = usual->tensors[0].n;
  CHECK(memcmp(other.tensors[0].state, usual->tensors[0].state, usual->tensors[0].state_bytes) != 0,
        "%s: another %s, the same states", x->p->name, what);
  CHECK((memcmp(other.tensors[0].w, usual->tensors[0].w, n * usual->size) != 0) == (usual->size == 2),
        "%s: another %s, and the weights", x->p->name, what);
  free(other.memory);
  compared++;
}

static void what_bits_depend_on(setup x) {
  model start, once, again, nearest;
  floats a, b;
  int k;
  if (x.r->counts_steps) set_field(x.r, &x.config, "bias_correction", DOWNHILL_BIAS_CORRECTION_CONSTANT);
  x.packing.seed = 5;
  start = large_model(&x, LARGE, 0);
  once = stepped(&x, &start, 7, NULL);
  again = stepped(&x, &start, 7, pool);
  compare_models(&x, &again, &once, "with threads");
  check_other_bits(&x, &start, 8, &once, "t");
  start.tensors[0].first_element += 64;
  check_other_bits(&x, &start, 7, &once, "first_element");
  start.tensors[0].first_element -= 64;
  x.packing.seed = 6;
  check_other_bits(&x, &start, 7, &once, "seed");
  x.packing.rounding = DOWNHILL_ROUNDING_NEAREST;
  nearest = stepped(&x, &start, 7, NULL);
  a = unpacked(&x, &once.tensors[0]), b = unpacked(&x, &nearest.tensors[0]);
  for (k = 0; k < x.p->states; k++) check_near(&x, LARGE, k, a.s[k], b.s[k], 1.0f, "beside nearest");
  free_floats(&a), free_floats(&b);
  free(start.memory), free(once.memory), free(again.memory), free(nearest.memory);
  compared++;
}

/* A tensor in two parts is stepped as the whole. The scales of all blocks stand behind all codes, so the parts start
 * from zeros, and are compared by what they stand for. */
static void parts(const setup *x) {
  const size_t n[] = {CUT, LARGE - CUT};
  model whole = large_model(x, LARGE, 1), cut = new_model(x->p, &x->packing, 2, n, 64 * 77, SHUFFLED);
  const downhill_packed_tensor *const all = &whole.tensors[0];
  uint64_t t;
  size_t i, j;
  int k;
  for (i = 0; i < 2; i++) {
    const size_t from = i * CUT * whole.size;
    memcpy(cut.tensors[i].w, (char *)all->w + from, n[i] * whole.size);
    memcpy(cut.tensors[i].g, (char *)all->g + from, n[i] * whole.size);
    memset(cut.tensors[i].state, 0, cut.tensors[i].state_bytes);
  }
  for (t = 1; t <= STEPS; t++) {
    must(x, packed_step(x, &whole, t, NULL, t % 2 == 0 ? pool : NULL, NULL));
    must(x, packed_step(x, &cut, t, NULL, t % 2 == 0 ? NULL : pool, NULL));
  }
  for (i = 0; i < 2; i++) {
    floats a = unpacked(x, all), b = unpacked(x, &cut.tensors[i]);
    for (j = 0; j < n[i]; j++)
      CHECK(same(get_weight(&cut, cut.tensors[i].w, j), get_weight(&whole, all->w, i * CUT + j)),
            "%s: weight %lu of part %lu", x->p->name, (unsigned long)j, (unsigned long)i);
    for (k = 0; k < x->p->states; k++)
      CHECK(memcmp(b.s[k], a.s[k] + i * CUT, n[i] * sizeof(float)) == 0, "%s: state %d of part %lu", x->p->name, k,
            (unsigned long)i);
    free_floats(&a), free_floats(&b);
  }
  free(whole.memory), free(cut.memory);
  compared++;
}

static float third(void) { return 1.0f / 3.0f; }

static double mean(const float *x) {
  double sum = 0.0;
  size_t i;
  for (i = 0; i < MEANS; i++) sum += (double)x[i];
  return sum / MEANS;
}

/* All elements are the same, and the mean of what they become is what a plain step makes: to a hundredth of the
 * distance between two codes, and five deviations. */
static void right_on_average(const setup *x) {
  const size_t n = MEANS;
  model l = new_model(x->p, &x->packing, 1, &n, 0, BY_TENSOR);
  downhill_packed_tensor *const tensor = &l.tensors[0];
  float *const w = (float *)allocate(n * sizeof *w), *const g = (float *)allocate(n * sizeof *g);
  float *s[MOST_PACKED], *ours;
  floats after;
  size_t i;
  int k;
  fill_model(x->p, &x->packing, &l, third, 1);
  after = unpacked(x, tensor);
  for (k = 0; k < x->p->states; k++) s[k] = after.s[k];
  for (i = 0; i < n; i++) w[i] = get_weight(&l, tensor->w, i), g[i] = get_weight(&l, tensor->g, i);
  must(x, x->r->step(n, w, g, s, 1, &x->config));
  must(x, packed_step(x, &l, 1, NULL, NULL, NULL));
  for (k = 0; k < x->p->states; k++) {
    const double wanted = (double)s[k][0], allowed = 0.01 * (double)relative_step(x) * fabs(wanted);
    floats codes = unpacked(x, tensor);
    CHECK(fabs(mean(codes.s[k]) - wanted) <= allowed, "%s: state %d is %g on average, not %g", x->p->name, k,
          mean(codes.s[k]), wanted);
    free_floats(&codes);
  }
  ours = copied(&l, tensor->w, n);
  CHECK(fabs(mean(ours) - (double)w[0]) <= 0.01 / 128.0 * fabs((double)w[0]), "%s: weights are %g on average, not %g",
        x->p->name, mean(ours), (double)w[0]);
  free(w), free(g), free(ours), free(l.memory);
  free_floats(&after);
  compared++;
}

/* ---- gradients that are not finite ---- */

static void skipping(const setup *x, size_t n, float value, const char *name) {
  const size_t lengths[] = {65, 0, n};
  model l = new_model(x->p, &x->packing, 3, lengths, 0, (layout)(draw() % LAYOUTS)), before;
  downhill_extras extras = downhill_extras_default();
  downhill_report report, wanted;
  char text[100];
  fill_model(x->p, &x->packing, &l, uniform, 0);
  put_weight(&l, l.tensors[2].g, n - 1, value);
  before = copy_model(&l);
  extras.flags = DOWNHILL_SKIP_NONFINITE | DOWNHILL_ZERO_GRAD;
  extras.max_norm = 1.0;
  wanted.grad_norm = plain_norm(&l);
  wanted.applied_scale = 0.0;
  wanted.skipped = 1;
  snprintf(text, sizeof text, "tensor 2: `g` is %s at element %lu;", name, (unsigned long)(n - 1));
  CHECK(packed_step(x, &l, 1, &extras, pool, &report) == DOWNHILL_STATUS_SKIPPED, "%s: not skipped", x->p->name);
  CHECK(strstr(downhill_last_error(), text) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), text);
  compare_reports(x, &report, &wanted);
  CHECK(memcmp(l.memory, before.memory, l.bytes) == 0, "%s: skipped, and changed", x->p->name);
  free(l.memory), free(before.memory);
  compared++;
}

/* ---- numbers of bytes ---- */

static void packed_bytes(void) {
  const size_t n[] = {0, 1, 63, 64, 65, 1000}, blocks[] = {0, 1, 1, 1, 2, 16};
  size_t states, i;
  for (states = 0; states <= 3; states++)
    for (i = 0; i < sizeof n / sizeof *n; i++) {
      CHECK(downhill_packed_bytes(states, n[i], DOWNHILL_STATE_FORMAT_BITS8) == 65 * states * blocks[i], "8 bits");
      CHECK(downhill_packed_bytes(states, n[i], DOWNHILL_STATE_FORMAT_BF16) == 128 * states * blocks[i], "bfloat16");
      CHECK(downhill_packed_bytes(states, n[i], 2) == SIZE_MAX, "no format");
      CHECK(downhill_packed_bytes(states, n[i], UINT32_MAX) == SIZE_MAX, "no format");
    }
  CHECK(downhill_packed_bytes(2, SIZE_MAX / 2, DOWNHILL_STATE_FORMAT_BITS8) == SIZE_MAX, "too many");
  CHECK(downhill_packed_bytes(1, SIZE_MAX, DOWNHILL_STATE_FORMAT_BF16) == SIZE_MAX, "too many");
  CHECK(downhill_packed_bytes(SIZE_MAX / 64, 1, DOWNHILL_STATE_FORMAT_BITS8) == SIZE_MAX, "too many");
}

int main(void) {
  const packed_rule *p;
  uint32_t state, weight;
  int variant, variants, decay;
  pool = downhill_pool_new(3);
  packed_bytes();
  for (p = packed_rules; p < packed_rules + PACKED_RULES; p++)
    for (state = DOWNHILL_STATE_FORMAT_BITS8; state <= DOWNHILL_STATE_FORMAT_BF16; state++)
      for (weight = DOWNHILL_WEIGHT_FORMAT_F32; weight <= DOWNHILL_WEIGHT_FORMAT_BF16; weight++) {
        const setup near = set_up(p, state, weight, DOWNHILL_ROUNDING_NEAREST);
        const setup random = set_up(p, state, weight, DOWNHILL_ROUNDING_STOCHASTIC);
        variants = near.r->variants;
        for (variant = 0; variant < variants; variant++)
          for (decay = NO_DECAY; decay < DECAYS; decay++) nearest(near, variant, (decay_option)decay);
        round_trip(&near, 1000);
        what_bits_depend_on(random);
        parts(&random);
        right_on_average(&random);
        skipping(&near, 1, (float)NAN, "NaN");
        skipping(&random, 1000, (float)INFINITY, "inf");
        skipping(&random, LARGE, -(float)INFINITY, "-inf");
      }
  downhill_pool_free(pool);
  printf("%s: %lu comparisons\n", downhill_isa(), compared);
  return 0;
}
