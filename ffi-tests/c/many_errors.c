/* Every error path of the whole steps of every rule, and of the norm: the status, the text that names the argument
 * and the tensor, and that nothing was written. */
#include "lists.h"

enum { COUNT = 4, EMPTY = 1, FULL = 40, GAP = 64 };

/* Tensors of several sizes; one is empty, and its pointers are anything. */
static const size_t sizes[COUNT] = {FULL, 0, 23, 17};

static unsigned long cases;

/* ---- a call and what it must come to ---- */

typedef struct {
  const rule *r;
  size_t count;
  const downhill_tensor *tensors;
  uint64_t t;
  const void *config;
  const downhill_extras *extras;
  downhill_pool *pool;
  downhill_report *report;
} call;

/* What every test of a rule starts from: a list, the rule's defaults, all extras. */
typedef struct {
  const rule *r;
  list *l;
  float *before; /* the list's memory before any call */
  any_config config;
  downhill_extras extras;
  downhill_pool *pool;
  downhill_report report;
} scene;

static call usual(scene *s) {
  call c;
  c.r = s->r;
  c.count = s->l->count;
  c.tensors = s->l->tensors;
  c.t = 1;
  c.config = &s->config;
  c.extras = &s->extras;
  c.pool = s->pool;
  c.report = &s->report;
  return c;
}

static downhill_status make(const call *c) {
  return c->r->step_many(c->count, c->tensors, c->t, c->config, c->extras, c->pool, c->report);
}

/* A text must say this, and this, and this. */
typedef struct {
  const char *text[3];
} words;

static words say(const char *a, const char *b, const char *c) {
  words w;
  w.text[0] = a, w.text[1] = b, w.text[2] = c;
  return w;
}

/* The call must return `wanted`, say all the words, and write nothing: not the arrays, not the report. */
static void expect(scene *s, const call *c, downhill_status wanted, words w) {
  downhill_report report;
  downhill_status got;
  int i;
  memset(&report, 0xa5, sizeof report);
  s->report = report;
  got = make(c);
  CHECK(got == wanted, "%s: status %lu, not %lu (%s, %s, %s): %s", s->r->name, (unsigned long)got, (unsigned long)wanted,
        w.text[0], w.text[1], w.text[2], downhill_last_error());
  for (i = 0; i < 3; i++)
    CHECK(strstr(downhill_last_error(), w.text[i]) != NULL, "%s: \"%s\" does not say \"%s\"", s->r->name,
          downhill_last_error(), w.text[i]);
  CHECK(memcmp(s->before, s->l->memory, s->l->length * sizeof(float)) == 0, "%s: an array was written: %s", s->r->name,
        downhill_last_error());
  CHECK(memcmp(&report, &s->report, sizeof report) == 0, "%s: the report was written: %s", s->r->name,
        downhill_last_error());
  cases++;
}

/* The call must do, and writes nothing for it has no elements. */
static void accept(scene *s, const call *c) {
  const downhill_report untouched = {-1.0, -1.0, 7};
  s->report = untouched;
  CHECK(make(c) == DOWNHILL_STATUS_OK, "%s: %s", s->r->name, downhill_last_error());
  CHECK(memcmp(s->before, s->l->memory, s->l->length * sizeof(float)) == 0, "%s: an array was written", s->r->name);
  if (c->report != NULL)
    CHECK(s->report.grad_norm == 0.0 && s->report.skipped == 0, "%s: the report is of something", s->r->name);
  cases++;
}

/* The call does not look at its list. */
static call without_tensors(const call *from) {
  call c = *from;
  c.count = 0;
  c.tensors = NULL;
  return c;
}

/* Refused with tensors and without. */
static void refuse(scene *s, const call *c, downhill_status wanted, words w) {
  const call none = without_tensors(c);
  expect(s, c, wanted, w);
  expect(s, &none, wanted, w);
}

/* ---- names ---- */

static const char *array_name(const rule *r, int k) { return k == 0 ? "w" : k == 1 ? "g" : r->state[k - 2].name; }

/* `w`, as a text has it; two at a time. */
static const char *quoted(const char *name) {
  static char texts[2][30];
  static int last;
  last = 1 - last;
  snprintf(texts[last], sizeof texts[last], "`%s`", name);
  return texts[last];
}

/* tensor 2: */
static const char *tensor_colon(size_t tensor) {
  static char text[40];
  snprintf(text, sizeof text, "tensor %lu: ", (unsigned long)tensor);
  return text;
}

/* `w` of tensor 2 at; two at a time. */
static const char *array_of_tensor(const rule *r, size_t tensor, int k) {
  static char texts[2][60];
  static int last;
  last = 1 - last;
  snprintf(texts[last], sizeof texts[last], "`%s` of tensor %lu at", array_name(r, k), (unsigned long)tensor);
  return texts[last];
}

static void *shifted(const void *pointer, size_t bytes) { return (char *)pointer + bytes; }

/* So near to the end of the address space that nothing fits there, at any alignment. */
static void *at_the_end(void) { return (void *)(UINTPTR_MAX - 7); }

/* ---- pointers and lengths ---- */

static void lists_that_are_none(scene *s) {
  const size_t size = sizeof(downhill_tensor), too_many[] = {SIZE_MAX, SIZE_MAX / size + 2, PTRDIFF_MAX / size + 1};
  call c = usual(s);
  size_t i;
  c.tensors = NULL;
  expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, say("`tensors`", "NULL", ""));
  for (i = 1; i < sizeof(void *); i++) {
    c.tensors = (const downhill_tensor *)shifted(s->l->tensors, i);
    expect(s, &c, DOWNHILL_STATUS_MISALIGNED, say("`tensors`", "multiple of", ""));
  }
  c.tensors = (const downhill_tensor *)at_the_end();
  expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, say("`tensors`", "address space", ""));
  for (i = 0; i < sizeof too_many / sizeof *too_many; i++) {
    c = usual(s);
    c.count = too_many[i];
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, say("`count`", "at most", ""));
  }
}

/* No tensors, whatever the pointer; then no elements, whatever the pointers; the rest is checked. */
static void no_tensors(scene *s) {
  const void *const anywhere[] = {NULL, s->l->tensors, shifted(s->l->tensors, 1), at_the_end()};
  call c = usual(s);
  size_t i;
  c.count = 0;
  for (i = 0; i < sizeof anywhere / sizeof *anywhere; i++) {
    c.tensors = (const downhill_tensor *)anywhere[i];
    accept(s, &c);
  }
  c.report = NULL;
  accept(s, &c);
  c = usual(s);
  c.count = 1;
  c.tensors += EMPTY;
  for (i = 0; i < 20; i++) {
    int k;
    for (k = 0; k < ARRAYS; k++) *array_of(&s->l->tensors[EMPTY], k) = no_array();
    accept(s, &c);
  }
}

/* One array of one tensor that cannot be. */
static void bad_arrays(scene *s, size_t tensor) {
  const int arrays = s->l->arrays;
  const call c = usual(s);
  int k;
  for (k = 0; k < arrays; k++) {
    float **const array = array_of(&s->l->tensors[tensor], k), *const was = *array;
    const char *name = quoted(array_name(s->r, k));
    size_t i;
    *array = NULL;
    expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, say(tensor_colon(tensor), name, "is NULL"));
    for (i = 1; i < sizeof(float); i++) {
      *array = (float *)shifted(was, i);
      expect(s, &c, DOWNHILL_STATUS_MISALIGNED, say(tensor_colon(tensor), name, "multiple of 4"));
    }
    *array = (float *)at_the_end();
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, say(tensor_colon(tensor), name, "address space"));
    *array = was;
  }
}

static void bad_lengths(scene *s, size_t tensor) {
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  const call c = usual(s);
  size_t i;
  for (i = 0; i < sizeof too_long / sizeof *too_long; i++) {
    s->l->tensors[tensor].n = too_long[i];
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, say(tensor_colon(tensor), "`n`", "at most"));
  }
  s->l->tensors[tensor].n = sizes[tensor];
}

static int optional_states(const rule *r) {
  int k, count = 0;
  for (k = 0; k < r->states; k++) count += r->state[k].needed_by != NULL;
  return count;
}

/* An optional array of some tensors but not of all; the text names one that has none. */
static void optional_arrays_of_some(scene *s) {
  const int required = s->l->arrays - optional_states(s->r);
  const call c = usual(s);
  size_t i, j;
  int k;
  for (k = required; k < s->l->arrays; k++)
    for (i = 0; i < COUNT; i++) {
      float *was[COUNT];
      const char *const name = quoted(array_name(s->r, k));
      if (i == EMPTY) continue;
      for (j = 0; j < COUNT; j++) was[j] = *array_of(&s->l->tensors[j], k);
      *array_of(&s->l->tensors[i], k) = NULL;
      expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, say(tensor_colon(i), name, "all or for none"));
      /* And the other way round: only tensor i has it. */
      for (j = 0; j < COUNT; j++) *array_of(&s->l->tensors[j], k) = j == i ? was[j] : NULL;
      expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, say(tensor_colon(i == 0 ? 2 : 0), name, "all or for none"));
      for (j = 0; j < COUNT; j++) *array_of(&s->l->tensors[j], k) = was[j];
    }
}

/* ---- overlap ---- */

/* Moves an array so that it shares memory with another one: its last element, all it can, its first. */
static void overlap(scene *s, size_t tensor, int k, size_t other_tensor, int other) {
  downhill_tensor *const tensors = s->l->tensors;
  float **const array = array_of(&tensors[tensor], k), *const was = *array;
  float *const at = *array_of(&tensors[other_tensor], other);
  const ptrdiff_t shifts[] = {1 - (ptrdiff_t)tensors[tensor].n, 0, (ptrdiff_t)tensors[other_tensor].n - 1};
  const call c = usual(s);
  int i;
  for (i = 0; i < 3; i++) {
    *array = at + shifts[i];
    expect(s, &c, DOWNHILL_STATUS_OVERLAP,
           say(array_of_tensor(s->r, tensor, k), array_of_tensor(s->r, other_tensor, other), "share memory"));
  }
  *array = was;
}

/* Every array with every other, of the same tensor and of another. */
static void overlaps(scene *s) {
  size_t i, j;
  int k, m;
  for (i = 0; i < COUNT; i++)
    for (j = 0; j < COUNT; j++)
      for (k = 0; k < s->l->arrays; k++)
        for (m = 0; m < s->l->arrays; m++)
          if (i != EMPTY && j != EMPTY && (i != j || k != m)) overlap(s, i, k, j, m);
}

/* Two tensors that are one. */
static void the_same_tensor_twice(scene *s) {
  const call c = usual(s);
  const downhill_tensor was = s->l->tensors[3];
  s->l->tensors[3] = s->l->tensors[0];
  expect(s, &c, DOWNHILL_STATUS_OVERLAP, say("of tensor 0 at", "of tensor 3 at", "share memory"));
  s->l->tensors[3] = was;
}

/* Without an optional array the others are checked as with it. */
static void overlaps_without_optional_arrays(scene *s) {
  const int required = s->l->arrays - optional_states(s->r);
  int absent, k;
  for (absent = required; absent < s->l->arrays; absent++) {
    float *was[COUNT];
    size_t i;
    for (i = 0; i < COUNT; i++) was[i] = *array_of(&s->l->tensors[i], absent);
    for (i = 0; i < COUNT; i++) *array_of(&s->l->tensors[i], absent) = NULL;
    for (k = 0; k < required; k++) {
      const int other = absent == required ? required + 1 : required;
      overlap(s, 2, other, 0, k);
      overlap(s, 2, k, 0, other);
    }
    for (i = 0; i < COUNT; i++) *array_of(&s->l->tensors[i], absent) = was[i];
  }
}

/* ---- config, t, extras, report ---- */

static void bad_configurations(scene *s) {
  const double never[] = {-1e-300, 1e300, (double)NAN, (double)INFINITY};
  any_config config = s->config;
  const field *f;
  size_t i;
  call c = usual(s);
  c.config = NULL;
  refuse(s, &c, DOWNHILL_STATUS_NULL_POINTER, say("`config`", "NULL", ""));
  c.config = shifted(&config, 1);
  refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, say("`config`", "multiple of", ""));
  c.config = &config;
  config.head.struct_size -= 1;
  refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`struct_size` of `config` is", "must be", ""));
  for (f = s->r->fields; f->name != NULL; f++)
    for (i = 0; i < sizeof never / sizeof *never; i++) {
      config = s->config;
      put_field(&config, f, is_enumeration(f) ? (double)f->allowed + (double)i : never[i]);
      refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say(quoted(f->name), "must be", ""));
    }
}

static void step_numbers(scene *s) {
  call c = usual(s);
  c.t = 0;
  if (s->r->counts_steps) {
    refuse(s, &c, DOWNHILL_STATUS_INVALID_STEP, say("`t`", "is 0", ""));
  } else {
    c = without_tensors(&c);
    accept(s, &c);
  }
  c = usual(s);
  c.t = UINT64_MAX;
  c = without_tensors(&c);
  accept(s, &c);
}

/* Extras as a later release might have them, with fields that this one does not know. */
typedef struct {
  downhill_extras known;
  unsigned char added[512];
} later;

static void sizes_of_extras(scene *s) {
  const uint32_t own = (uint32_t)sizeof(downhill_extras), refused[] = {0, 1, 4, own - 8, own - 1, 513, UINT32_MAX};
  static later extras;
  unsigned char *const bytes = (unsigned char *)&extras;
  call c = usual(s), none = without_tensors(&c);
  size_t i;
  memset(&extras, 0, sizeof extras);
  extras.known = downhill_extras_default();
  c.extras = none.extras = &extras.known;
  for (i = 0; i < sizeof refused / sizeof *refused; i++) {
    extras.known.struct_size = refused[i];
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`struct_size` of `extras` is", "must be", ""));
  }
  /* Up to 512 bytes are fine if what follows is zero, and refused if any byte of it is not. */
  for (i = own; i <= 512; i += i < own + 16 ? 1 : 331) {
    extras.known.struct_size = (uint32_t)i;
    accept(s, &none);
    if (i == own) continue;
    bytes[i - 1] = 1;
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`struct_size` of `extras` is", "not zero", ""));
    bytes[i - 1] = 0;
    /* What stands after struct_size bytes is not read. */
    bytes[i] = 1;
    accept(s, &none);
    bytes[i] = 0;
  }
}

static void numbers_in_extras(scene *s) {
  const double never[] = {1e39, -1e39, 1e300, (double)NAN, (double)INFINITY, -(double)INFINITY};
  const double negative[] = {-1.0, -1e-300};
  const double scales[] = {0.0, -0.0, -1.0, 3e38, -3e38, 1e-300, -1e-320}, norms[] = {0.0, -0.0, 1e-300, 1.0, 3e38};
  downhill_extras extras = downhill_extras_default();
  call c = usual(s), none = without_tensors(&c);
  size_t i;
  c.extras = none.extras = &extras;
  for (i = 0; i < sizeof never / sizeof *never; i++) {
    extras.grad_scale = never[i];
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`grad_scale`", "must be", ""));
    extras = downhill_extras_default();
    extras.max_norm = never[i];
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`max_norm`", "must be", ""));
    extras = downhill_extras_default();
  }
  for (i = 0; i < sizeof negative / sizeof *negative; i++) {
    extras.max_norm = negative[i];
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`max_norm`", "must be", ""));
  }
  extras = downhill_extras_default();
  for (i = 0; i < sizeof scales / sizeof *scales; i++) {
    extras.grad_scale = scales[i];
    accept(s, &none);
  }
  extras = downhill_extras_default();
  for (i = 0; i < sizeof norms / sizeof *norms; i++) {
    extras.max_norm = norms[i];
    accept(s, &none);
  }
}

static void flags_in_extras(scene *s) {
  downhill_extras extras = downhill_extras_default();
  call c = usual(s), none = without_tensors(&c);
  int bit;
  c.extras = none.extras = &extras;
  for (bit = 0; bit < 32; bit++) {
    extras.flags = (uint32_t)1 << bit;
    if (extras.flags == DOWNHILL_ZERO_GRAD || extras.flags == DOWNHILL_SKIP_NONFINITE) {
      accept(s, &none);
    } else {
      refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`flags`", "bits", ""));
      extras.flags |= DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
      refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, say("`flags`", "bits", ""));
    }
  }
}

static void pointers_to_extras_and_report(scene *s) {
  call c = usual(s), none = without_tensors(&c);
  size_t i;
  none.extras = NULL;
  accept(s, &none);
  for (i = 1; i < sizeof(uint32_t); i++) {
    c.extras = (const downhill_extras *)shifted(&s->extras, i);
    refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, say("`extras`", "multiple of", ""));
    c.extras = &s->extras;
    c.report = (downhill_report *)shifted(&s->report, i);
    refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, say("`report`", "multiple of", ""));
    c.report = &s->report;
  }
  c.report = (downhill_report *)at_the_end();
  refuse(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, say("`report`", "address space", ""));
}

/* Momentum needs its array; without elements no array is missed. */
static void momentum_without_its_array(downhill_pool *pool) {
  downhill_rmsprop with_momentum = downhill_rmsprop_default();
  float w[3] = {1.0f, 2.0f, 3.0f}, g[3] = {1.0f, 1.0f, 1.0f}, v[3] = {0.0f, 0.0f, 0.0f};
  downhill_tensor tensors[2] = {{2, w, g, {v, NULL, NULL}}, {1, w + 2, g + 2, {v + 2, NULL, NULL}}};
  downhill_status status;
  with_momentum.momentum = 0.9;
  status = downhill_rmsprop_step_many(2, tensors, &with_momentum, NULL, pool, NULL);
  CHECK(status == DOWNHILL_STATUS_INVALID_CONFIG, "status %lu", (unsigned long)status);
  CHECK(strstr(downhill_last_error(), "`momentum`") != NULL, "%s", downhill_last_error());
  CHECK(strstr(downhill_last_error(), "without the array `u`") != NULL, "%s", downhill_last_error());
  CHECK(w[0] == 1.0f && w[2] == 3.0f && v[0] == 0.0f, "something was written");
  tensors[0].n = tensors[1].n = 0;
  status = downhill_rmsprop_step_many(2, tensors, &with_momentum, NULL, pool, NULL);
  CHECK(status == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
}

/* ---- all of it, for every rule and layout ---- */

static float *copy_of_memory(const list *l) {
  float *const copy = (float *)allocate(l->length * sizeof *copy);
  memcpy(copy, l->memory, l->length * sizeof *copy);
  return copy;
}

static scene set_scene(const rule *r, list *l, downhill_pool *pool) {
  scene s;
  fill(l, uniform);
  s.r = r;
  s.l = l;
  s.before = copy_of_memory(l);
  s.config = r->defaults();
  s.extras = downhill_extras_default();
  s.extras.flags = DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
  s.extras.max_norm = 1.0;
  s.pool = pool;
  return s;
}

static void errors(const rule *r, layout how, downhill_pool *pool) {
  list l = new_list(COUNT, sizes, r->states, how, GAP);
  scene s = set_scene(r, &l, pool);
  size_t i;
  lists_that_are_none(&s);
  no_tensors(&s);
  for (i = 0; i < COUNT; i++) {
    if (i == EMPTY) continue;
    bad_arrays(&s, i);
    bad_lengths(&s, i);
  }
  optional_arrays_of_some(&s);
  overlaps(&s);
  the_same_tensor_twice(&s);
  overlaps_without_optional_arrays(&s);
  bad_configurations(&s);
  step_numbers(&s);
  sizes_of_extras(&s);
  numbers_in_extras(&s);
  flags_in_extras(&s);
  pointers_to_extras_and_report(&s);
  free(s.before);
  free_list(&l);
}

/* Any two of very many arrays, in any order. */
static void overlaps_in_a_long_list(const rule *r, layout how) {
  enum { TENSORS = 150, TRIES = 60 };
  size_t n[TENSORS], i;
  list l;
  scene s;
  for (i = 0; i < TENSORS; i++) n[i] = draw() % 10 == 0 ? 0 : 1 + draw() % GAP;
  l = new_list(TENSORS, n, r->states, how, GAP);
  s = set_scene(r, &l, NULL);
  for (i = 0; i < TRIES; i++) {
    const size_t a = draw() % TENSORS, b = draw() % TENSORS;
    const int k = (int)(draw() % (uint32_t)l.arrays), m = (int)(draw() % (uint32_t)l.arrays);
    if (n[a] > 0 && n[b] > 0 && (a != b || k != m)) overlap(&s, a, k, b, m);
  }
  free(s.before);
  free_list(&l);
}

/* Arrays that only touch are apart, and those without elements are nowhere, even in the midst of others: weights and
 * gradients are written, from the first element to the last. */
static void touching_arrays(const rule *r, layout how) {
  list l = new_list(COUNT, sizes, r->states, how, 0);
  scene s = set_scene(r, &l, NULL);
  const call c = usual(&s);
  size_t i;
  int k;
  for (k = 0; k < l.arrays; k++) *array_of(&l.tensors[EMPTY], k) = *array_of(&l.tensors[2], k) + 1;
  CHECK(make(&c) == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
  for (i = 0; i < COUNT; i++)
    for (k = 0; k < 2; k++) {
      const size_t last = sizes[i] - 1;
      const float *const now = *array_of(&l.tensors[i], k);
      if (i != EMPTY)
        CHECK(now[0] != s.before[now - l.memory] && now[last] != s.before[now + last - l.memory], "%s: tensor %lu array %d",
              r->name, (unsigned long)i, k);
    }
  free(s.before);
  free_list(&l);
}

/* ---- the norm ---- */

/* With `norm` NULL the norm goes to where it can. */
static void norm_fails(size_t count, const downhill_tensor *tensors, downhill_pool *pool, double *norm,
                       downhill_status wanted, words w) {
  double untouched = 7.0;
  int i;
  const downhill_status got = downhill_grad_norm(count, tensors, pool, norm != NULL ? norm : &untouched);
  CHECK(got == wanted, "status %lu, not %lu (%s)", (unsigned long)got, (unsigned long)wanted, w.text[0]);
  for (i = 0; i < 3; i++)
    CHECK(strstr(downhill_last_error(), w.text[i]) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), w.text[i]);
  CHECK(untouched == 7.0, "the norm was written");
  cases++;
}

static void gradients_that_are_none(downhill_tensor *tensors, size_t tensor, downhill_pool *pool) {
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  const downhill_tensor was = tensors[tensor];
  size_t i;
  tensors[tensor].g = NULL;
  norm_fails(COUNT, tensors, pool, NULL, DOWNHILL_STATUS_NULL_POINTER, say(tensor_colon(tensor), "`g`", "NULL"));
  for (i = 1; i < sizeof(float); i++) {
    tensors[tensor].g = (float *)shifted(was.g, i);
    norm_fails(COUNT, tensors, pool, NULL, DOWNHILL_STATUS_MISALIGNED, say(tensor_colon(tensor), "`g`", "multiple of 4"));
  }
  tensors[tensor].g = (float *)at_the_end();
  norm_fails(COUNT, tensors, pool, NULL, DOWNHILL_STATUS_INVALID_LENGTH, say(tensor_colon(tensor), "`g`", "address space"));
  tensors[tensor].g = was.g;
  for (i = 0; i < sizeof too_long / sizeof *too_long; i++) {
    tensors[tensor].n = too_long[i];
    norm_fails(COUNT, tensors, pool, NULL, DOWNHILL_STATUS_INVALID_LENGTH, say(tensor_colon(tensor), "`n`", "at most"));
  }
  tensors[tensor] = was;
}

static void norm_errors(downhill_pool *pool) {
  const void *const anywhere[] = {NULL, shifted(&pool, 1), at_the_end()};
  list l = new_list(COUNT, sizes, 0, SHUFFLED, GAP);
  const downhill_tensor *const tensors = l.tensors;
  double norms[2] = {7.0, 7.0}, norm;
  size_t i;
  fill(&l, uniform);
  CHECK(downhill_grad_norm(COUNT, tensors, pool, NULL) == DOWNHILL_STATUS_NULL_POINTER, "accepted");
  CHECK(strstr(downhill_last_error(), "`norm` is NULL") != NULL, "%s", downhill_last_error());
  norm_fails(COUNT, tensors, pool, (double *)shifted(norms, 1), DOWNHILL_STATUS_MISALIGNED,
             say("`norm`", "multiple of", ""));
  norm_fails(COUNT, tensors, pool, (double *)at_the_end(), DOWNHILL_STATUS_INVALID_LENGTH,
             say("`norm`", "address space", ""));
  CHECK(norms[0] == 7.0 && norms[1] == 7.0, "the norm was written");
  norm_fails(COUNT, NULL, pool, NULL, DOWNHILL_STATUS_NULL_POINTER, say("`tensors`", "NULL", ""));
  norm_fails(COUNT, (const downhill_tensor *)shifted(tensors, 1), pool, NULL, DOWNHILL_STATUS_MISALIGNED,
             say("`tensors`", "multiple of", ""));
  norm_fails(SIZE_MAX, tensors, pool, NULL, DOWNHILL_STATUS_INVALID_LENGTH, say("`count`", "at most", ""));
  norm_fails(1, (const downhill_tensor *)at_the_end(), pool, NULL, DOWNHILL_STATUS_INVALID_LENGTH,
             say("`tensors`", "address space", ""));
  for (i = 0; i < COUNT; i++)
    if (i != EMPTY) gradients_that_are_none(l.tensors, i, pool);
  for (i = 0; i < sizeof anywhere / sizeof *anywhere; i++) {
    norm = 7.0;
    CHECK(downhill_grad_norm(0, (const downhill_tensor *)anywhere[i], pool, &norm) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    CHECK(norm == 0.0, "the norm of nothing is %g", norm);
  }
  free_list(&l);
}

int main(void) {
  downhill_pool *const pool = downhill_pool_new(2);
  const rule *r;
  int how;
  for (r = rules; r < rules + RULES; r++) {
    for (how = 0; how < LAYOUTS; how++) {
      errors(r, (layout)how, how % 2 == 0 ? NULL : pool);
      overlaps_in_a_long_list(r, (layout)how);
      touching_arrays(r, (layout)how);
    }
  }
  momentum_without_its_array(pool);
  norm_errors(NULL);
  norm_errors(pool);
  downhill_pool_free(pool);
  printf("%lu calls, each with the right status and nothing written\n", cases);
  return 0;
}
