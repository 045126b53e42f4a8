/* Every error path of every rule: the status, the text that names the argument, and that nothing was written. */
#include "rules.h"

enum { N = 40, ARRAYS = 2 + MOST_STATES };

/* w, g and the states, with room around them, and what all of it holds before the call. */
static float memory[(1 + ARRAYS + 1) * N], before[(1 + ARRAYS + 1) * N];
static unsigned long cases;

static float *array(int k) { return memory + (1 + k) * N; }

static void prepare(void) {
  size_t i;
  for (i = 0; i < sizeof memory / sizeof *memory; i++) memory[i] = uniform();
  memcpy(before, memory, sizeof memory);
}

static int array_count(const rule *r) { return 2 + r->states; }

/* The name of w, g or a state, as a text has it. */
static const char *quoted(const rule *r, int k) {
  static char text[20];
  snprintf(text, sizeof text, "`%s`", k == 0 ? "w" : k == 1 ? "g" : r->state[k - 2].name);
  return text;
}

/* ---- a call and what it must come to ---- */

typedef struct {
  size_t n;
  float *a[ARRAYS];
  uint64_t t;
  const void *config;
} arguments;

/* With the states that the configuration asks for. */
static arguments usual(const rule *r, const any_config *config) {
  arguments x;
  int k;
  x.n = N;
  for (k = 0; k < ARRAYS; k++) x.a[k] = array(k);
  drop_states(r, config, x.a + 2);
  x.t = 1;
  x.config = config;
  return x;
}

/* Switches a state on or off that is not always there. */
static void switch_state(const rule *r, any_config *config, int state, int on) {
  const field *f = find_field(r, r->state[state].needed_by);
  put_field(config, f, !on ? 0.0 : is_enumeration(f) ? 1.0 : 0.5);
}

/* The defaults, but with every state there. */
static any_config all_states(const rule *r) {
  any_config config = r->defaults();
  int k;
  for (k = 0; k < r->states; k++)
    if (r->state[k].needed_by != NULL) switch_state(r, &config, k, 1);
  return config;
}

/* No elements, and arrays that would not do for any. */
static arguments empty(const rule *r, const any_config *config, float *bad) {
  arguments x = usual(r, config);
  int k;
  x.n = 0;
  for (k = 0; k < ARRAYS; k++) x.a[k] = bad;
  return x;
}

static downhill_status call(const rule *r, const arguments *x) {
  prepare();
  return r->step(x->n, x->a[0], x->a[1], x->a + 2, x->t, x->config);
}

/* The call must return `wanted`, say both texts, and write nothing. */
static void expect(const rule *r, const arguments *x, downhill_status wanted, const char *text, const char *more) {
  const downhill_status got = call(r, x);
  const char *error = downhill_last_error();
  CHECK(got == wanted, "%s: status %lu, not %lu (%s, %s): %s", r->name, (unsigned long)got, (unsigned long)wanted, text, more,
        error);
  CHECK(wanted == DOWNHILL_STATUS_OK || (strstr(error, text) != NULL && strstr(error, more) != NULL),
        "%s: \"%s\" does not say \"%s\" and \"%s\"", r->name, error, text, more);
  CHECK(memcmp(before, memory, sizeof memory) == 0, "%s: something was written", r->name);
  cases++;
}

/* ---- arrays ---- */

static void bad_pointers(const rule *r) {
  const any_config config = all_states(r);
  float *const off_by_one = (float *)((char *)array(0) + 1);
  float *const high = (float *)(UINTPTR_MAX - 7);
  int k;
  arguments x = usual(r, &config);
  x.config = NULL;
  expect(r, &x, DOWNHILL_STATUS_NULL_POINTER, "`config`", "NULL");
  x.config = off_by_one;
  expect(r, &x, DOWNHILL_STATUS_MISALIGNED, "`config`", "multiple of");
  for (k = 0; k < array_count(r); k++) {
    x = usual(r, &config);
    x.a[k] = NULL;
    expect(r, &x, DOWNHILL_STATUS_NULL_POINTER, quoted(r, k), "is NULL");
    x.a[k] = off_by_one;
    expect(r, &x, DOWNHILL_STATUS_MISALIGNED, quoted(r, k), "multiple of 4");
    /* Its end would be past the end of the address space. */
    x.a[k] = high;
    expect(r, &x, DOWNHILL_STATUS_INVALID_LENGTH, quoted(r, k), "address space");
  }
}

/* Array i where array j is, or so that one's first element is the other's last. */
static void overlap(const rule *r, arguments x, int i, int j) {
  int shift;
  for (shift = -(N - 1); shift <= N - 1; shift += N - 1) {
    x.a[i] = array(j) + shift;
    expect(r, &x, DOWNHILL_STATUS_OVERLAP, quoted(r, i), "share memory");
    if (shift == 0) expect(r, &x, DOWNHILL_STATUS_OVERLAP, quoted(r, j), "share memory");
  }
}

static void overlaps(const rule *r) {
  const any_config config = all_states(r);
  int i, j;
  for (i = 0; i < array_count(r); i++)
    for (j = 0; j < array_count(r); j++)
      if (i != j) overlap(r, usual(r, &config), i, j);
}

/* Arrays that only touch are apart; all that a rule updates is written, and nothing else. */
static void touching_arrays(const rule *r) {
  const any_config config = all_states(r);
  const arguments x = usual(r, &config);
  int k;
  CHECK(call(r, &x) == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
  for (k = -1; k < ARRAYS + 1; k++) {
    const int written = memcmp(array(k), before + (1 + k) * N, N * sizeof(float)) != 0;
    CHECK(written == (k >= 0 && k != 1 && k < array_count(r)), "%s: array %d", r->name, k);
  }
}

/* A state that is not always there: NULL where it is needed, and an array where it is not, which changes nothing about the
 * checks of the others. Without elements any pointer will do. */
static void a_state_too_few_or_too_many(const rule *r, int state) {
  any_config config = all_states(r);
  const int absent = 2 + state;
  arguments x = usual(r, &config), none;
  int k;
  x.a[absent] = NULL;
  expect(r, &x, DOWNHILL_STATUS_NULL_POINTER, quoted(r, absent), r->state[state].needed_by);
  none = empty(r, &config, NULL);
  expect(r, &none, DOWNHILL_STATUS_OK, "", "");

  switch_state(r, &config, state, 0);
  x = usual(r, &config);
  x.a[absent] = array(absent);
  expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, quoted(r, absent), "must be NULL");
  expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, quoted(r, absent), r->state[state].needed_by);
  none = empty(r, &config, array(0));
  expect(r, &none, DOWNHILL_STATUS_OK, "", "");
  for (k = 0; k < array_count(r); k++) {
    x = usual(r, &config);
    if (x.a[k] == NULL) continue;
    if (k != 0) overlap(r, x, k, 0);
    x.a[k] = (float *)((char *)array(0) + 1);
    expect(r, &x, DOWNHILL_STATUS_MISALIGNED, quoted(r, k), "multiple of 4");
  }
}

static void states_that_are_not_always_there(const rule *r) {
  int k;
  for (k = 0; k < r->states; k++)
    if (r->state[k].needed_by != NULL) a_state_too_few_or_too_many(r, k);
}

/* ---- n and t ---- */

static void lengths(const rule *r) {
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  const any_config config = r->defaults();
  arguments x = usual(r, &config);
  char at_most[60];
  size_t i;
  snprintf(at_most, sizeof at_most, "at most %llu", (unsigned long long)(PTRDIFF_MAX / 4));
  for (i = 0; i < sizeof too_long / sizeof *too_long; i++) {
    x.n = too_long[i];
    expect(r, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`n`", at_most);
  }
}

/* n = 0: any array pointers, but the rest is checked. */
static void no_elements(const rule *r) {
  float *const bad[] = {NULL, array(0), (float *)((char *)array(0) + 1), (float *)(UINTPTR_MAX - 7)};
  any_config config = r->defaults();
  arguments x;
  size_t i;
  for (i = 0; i < sizeof bad / sizeof *bad; i++) {
    config = r->defaults();
    x = empty(r, &config, bad[i]);
    expect(r, &x, DOWNHILL_STATUS_OK, "", "");
    set_field(r, &config, "lr", -1.0);
    expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, "`lr`", "-1");
    x.config = NULL;
    expect(r, &x, DOWNHILL_STATUS_NULL_POINTER, "`config`", "NULL");
  }
}

static void step_numbers(const rule *r) {
  const any_config config = r->defaults();
  arguments x = usual(r, &config), none = empty(r, &config, NULL);
  x.t = none.t = 0;
  if (r->counts_steps) {
    expect(r, &x, DOWNHILL_STATUS_INVALID_STEP, "`t`", "is 0");
    expect(r, &none, DOWNHILL_STATUS_INVALID_STEP, "`t`", "is 0");
  }
  x = usual(r, &config);
  x.t = UINT64_MAX;
  CHECK(call(r, &x) == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
}

/* ---- fields ---- */

/* With the value in one field the configuration is refused by that field's name, with elements or without. */
static void refuse(const rule *r, any_config config, const field *f, double value, const char *more) {
  arguments x, none;
  char name[20];
  snprintf(name, sizeof name, "`%s`", f->name);
  put_field(&config, f, value);
  x = usual(r, &config);
  none = empty(r, &config, NULL);
  expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, name, more);
  expect(r, &none, DOWNHILL_STATUS_INVALID_CONFIG, name, more);
}

static void accept(const rule *r, const field *f, double value) {
  any_config config = r->defaults();
  const arguments none = empty(r, &config, NULL);
  /* Only the torch form takes every dampening. */
  if (f == find_field(r, "dampening")) set_field(r, &config, "form", DOWNHILL_FORM_TORCH);
  put_field(&config, f, value);
  expect(r, &none, DOWNHILL_STATUS_OK, "", "");
}

static void number_ranges(const rule *r, const field *f) {
  const double never[] = {-1e-300, -1.0, 1e39, 1e300, (double)NAN, (double)INFINITY, -(double)INFINITY};
  size_t i;
  for (i = 0; i < sizeof never / sizeof *never; i++) refuse(r, r->defaults(), f, never[i], "must be");
  if (f->allowed == POSITIVE) {
    refuse(r, r->defaults(), f, 0.0, "above 0");
    refuse(r, r->defaults(), f, 1e-40, "1/lr is finite");
  } else {
    accept(r, f, 0.0);
  }
  if (f->allowed == NON_NEGATIVE || f->allowed == POSITIVE) {
    accept(r, f, 1e20);
  } else {
    accept(r, f, 0.999999);
    refuse(r, r->defaults(), f, 1.0000001, "must be");
    if (f->allowed == AT_MOST_ONE) accept(r, f, 1.0);
    if (f->allowed == BELOW_ONE) refuse(r, r->defaults(), f, 1.0, "below 1");
  }
}

static void enumeration_values(const rule *r, const field *f) {
  const int least = f->allowed == ONLY_1, most = most_value(f);
  int value;
  for (value = least; value <= most; value++) accept(r, f, value);
  if (least == 1) refuse(r, r->defaults(), f, 0, "must be 1");
  refuse(r, r->defaults(), f, most + 1, "must be");
  refuse(r, r->defaults(), f, 4294967295.0, "is 4294967295");
}

static void hyperparameters(const rule *r) {
  const field *f;
  any_config config = r->defaults();
  for (f = r->fields; f->name != NULL; f++)
    if (is_enumeration(f)) {
      enumeration_values(r, f);
    } else {
      number_ranges(r, f);
    }
  /* Finite in f32, but 1 - lr*weight_decay is not. */
  set_field(r, &config, "lr", 1e30);
  if (find_field(r, "decay")->allowed != ONLY_0) {
    set_field(r, &config, "decay", DOWNHILL_DECAY_DECOUPLED);
    refuse(r, config, find_field(r, "weight_decay"), 1e30, "1 - lr*weight_decay");
  }
  /* And what bias correction makes of lr is not (which is mild while a momentum warms up). */
  config = r->defaults();
  if (find_field(r, "momentum_decay") != NULL) set_field(r, &config, "momentum_decay", 1e6);
  if (r->counts_steps) refuse(r, config, find_field(r, "lr"), 3e38, "must be");
}

/* The classic form has no dampening. */
static void fields_that_exclude_each_other(const rule *r) {
  const field *dampening = find_field(r, "dampening");
  if (dampening != NULL) refuse(r, r->defaults(), dampening, 0.1, "classic");
}

/* ---- rule and struct_size ---- */

/* A configuration of another rule, and one of no rule. */
static void wrong_rules(const rule *r) {
  const uint32_t unknown[] = {0, TAGS + 1, 0x80000000u + r->tag, UINT32_MAX};
  any_config config;
  arguments x;
  const rule *other;
  char own[20], name[20], number[40];
  size_t i;
  snprintf(own, sizeof own, "`%s_step`", r->name);
  for (other = rules; other < rules + RULES; other++) {
    if (other == r) continue;
    snprintf(name, sizeof name, "`%s`", other->name);
    config = other->defaults();
    x = usual(r, &config);
    expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, own, name);
    /* It is the tag that says so, and nothing else is looked at before. */
    config = r->defaults();
    config.head.rule = other->tag;
    config.head.struct_size = 8;
    expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, own, name);
  }
  for (i = 0; i < sizeof unknown / sizeof *unknown; i++) {
    config = r->defaults();
    x = usual(r, &config);
    config.head.rule = unknown[i];
    snprintf(number, sizeof number, "`rule` of `config` is %lu,", (unsigned long)unknown[i]);
    expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, own, number);
  }
}

/* A configuration as a later release might have it, with fields that this one does not know. */
typedef struct {
  any_config known;
  unsigned char added[1024];
} later;

static void struct_sizes(const rule *r) {
  const uint32_t own = (uint32_t)r->config_size;
  const uint32_t refused[] = {0, 1, 4, own - 8, own - 1, 513, 4096, UINT32_MAX};
  static later config;
  unsigned char *const bytes = (unsigned char *)&config;
  arguments x, none;
  size_t i;
  memset(&config, 0, sizeof config);
  config.known = r->defaults();
  x = usual(r, &config.known);
  none = empty(r, &config.known, NULL);
  for (i = 0; i < sizeof refused / sizeof *refused; i++) {
    config.known.head.struct_size = refused[i];
    expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` of `config` is", "must be");
  }
  /* Up to 512 bytes are fine if what follows is zero ... */
  for (i = own; i <= 512; i++) {
    config.known.head.struct_size = (uint32_t)i;
    expect(r, &none, DOWNHILL_STATUS_OK, "", "");
  }
  /* ... and refused if any byte of it is not. */
  for (i = own; i < 512; i++) {
    bytes[i] = 1;
    expect(r, &x, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` of `config` is 512", "not zero");
    bytes[i] = 0;
  }
  /* What comes after struct_size bytes is not read. */
  config.known.head.struct_size = own + 8;
  bytes[own + 8] = 1;
  expect(r, &none, DOWNHILL_STATUS_OK, "", "");
}

/* A longer configuration steps like its known part. */
static void a_later_configuration(const rule *r) {
  static later config;
  const any_config known = r->defaults();
  float *const copy = before; /* the same arrays once more */
  arguments x;
  int k;
  memset(&config, 0, sizeof config);
  config.known = known;
  x = usual(r, &config.known);
  config.known.head.struct_size = 512;
  CHECK(call(r, &x) == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
  for (k = 0; k < ARRAYS; k++) x.a[k] = copy + (1 + k) * N;
  drop_states(r, &known, x.a + 2);
  CHECK(r->step(N, x.a[0], x.a[1], x.a + 2, 1, &known) == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
  for (k = 0; k < ARRAYS * N; k++) CHECK(same(array(0)[k], x.a[0][k]), "%s: another step", r->name);
}

/* ---- the rest ---- */

static void messages(void) {
  const uint32_t known[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 99};
  size_t i, j;
  for (i = 0; i < 10; i++) {
    CHECK(strcmp(downhill_status_message(known[i]), "unknown status") != 0, "%lu", (unsigned long)known[i]);
    for (j = 0; j < i; j++)
      CHECK(strcmp(downhill_status_message(known[i]), downhill_status_message(known[j])) != 0, "%lu", (unsigned long)known[i]);
  }
  CHECK(strcmp(downhill_status_message(9), "unknown status") == 0, "9");
  CHECK(strcmp(downhill_status_message(UINT32_MAX), "unknown status") == 0, "-1");
}

static void versions(void) {
  char version[40];
  snprintf(version, sizeof version, "%d.%d.%d", DOWNHILL_VERSION_MAJOR, DOWNHILL_VERSION_MINOR, DOWNHILL_VERSION_PATCH);
  CHECK(strcmp(downhill_version(), version) == 0, "%s, not %s", downhill_version(), version);
  CHECK(downhill_version_number() == DOWNHILL_VERSION_NUMBER, "%lu", (unsigned long)downhill_version_number());
}

int main(void) {
  const rule *r;
  CHECK(strcmp(downhill_last_error(), "") == 0, "an error before any call");
  versions();
  messages();
  for (r = rules; r < rules + RULES; r++) {
    bad_pointers(r);
    overlaps(r);
    touching_arrays(r);
    states_that_are_not_always_there(r);
    lengths(r);
    no_elements(r);
    step_numbers(r);
    hyperparameters(r);
    fields_that_exclude_each_other(r);
    wrong_rules(r);
    struct_sizes(r);
    a_later_configuration(r);
  }
  printf("%lu calls, each with the right status and nothing written\n", cases);
  return 0;
}
