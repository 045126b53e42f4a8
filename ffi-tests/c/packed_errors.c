/* Every error path of the steps on packed states, of pack and of unpack: the status, the text that names the argument
 * and the tensor, and that nothing was written. */
#include "packed.h"

enum { COUNT = 4, EMPTY = 1, N = 70 };

/* One tensor is empty, and its pointers are anything. */
static const size_t sizes[COUNT] = {N, 0, 23, 65};

static unsigned long cases;

/* ---- a call and what it must come to ---- */

typedef struct {
  size_t count;
  const downhill_packed_tensor *tensors;
  uint64_t t;
  const void *config;
  const downhill_packing *packing;
  const downhill_extras *extras;
  downhill_report *report;
} call;

/* What every test of a rule starts from. */
typedef struct {
  const packed_rule *p;
  const rule *r;
  model l, before;
  any_config config;
  downhill_packing packing;
  downhill_extras extras;
  downhill_report report;
  downhill_pool *pool;
} scene;

static call usual(scene *s) {
  call c;
  c.count = COUNT;
  c.tensors = s->l.tensors;
  c.t = 1;
  c.config = &s->config;
  c.packing = &s->packing;
  c.extras = &s->extras;
  c.report = &s->report;
  return c;
}

static downhill_status make(const scene *s, const call *c) {
  return s->p->step(c->count, c->tensors, c->t, c->config, c->packing, c->extras, s->pool, c->report);
}

/* The last error says this, and this, and this. */
static void says(const char *name, const char *a, const char *b, const char *c) {
  const char *const text[] = {a, b, c};
  int i;
  for (i = 0; i < 3; i++)
    CHECK(strstr(downhill_last_error(), text[i]) != NULL, "%s: \"%s\" does not say \"%s\"", name, downhill_last_error(),
          text[i]);
}

/* The call must return `wanted`, say all the words, and write nothing: not the arrays, not the report. */
static void expect(scene *s, const call *c, downhill_status wanted, const char *x, const char *y, const char *z) {
  downhill_report report;
  downhill_status got;
  memset(&report, 0xa5, sizeof report);
  s->report = report;
  got = make(s, c);
  CHECK(got == wanted, "%s: status %lu, not %lu (%s, %s, %s): %s", s->p->name, (unsigned long)got,
        (unsigned long)wanted, x, y, z, downhill_last_error());
  says(s->p->name, x, y, z);
  CHECK(memcmp(s->before.memory, s->l.memory, s->l.bytes) == 0, "%s: an array was written: %s", s->p->name,
        downhill_last_error());
  CHECK(memcmp(&report, &s->report, sizeof report) == 0, "%s: the report was written", s->p->name);
  cases++;
}

/* Refused with tensors and without. */
static void refuse(scene *s, const call *c, downhill_status wanted, const char *x, const char *y, const char *z) {
  call none = *c;
  none.count = 0;
  none.tensors = NULL;
  expect(s, c, wanted, x, y, z);
  expect(s, &none, wanted, x, y, z);
}

/* The call must do, without tensors. */
static void accept(scene *s, const call *from) {
  call c = *from;
  c.count = 0;
  c.tensors = NULL;
  CHECK(make(s, &c) == DOWNHILL_STATUS_OK, "%s: %s", s->p->name, downhill_last_error());
  cases++;
}

/* ---- names and addresses ---- */

static const char *quoted(int k) { return k == 0 ? "`w`" : k == 1 ? "`g`" : "`state`"; }

/* tensor 2: */
static const char *tensor_colon(size_t tensor) {
  static char text[40];
  snprintf(text, sizeof text, "tensor %lu: ", (unsigned long)tensor);
  return text;
}

/* `w` of tensor 2 at; two at a time. */
static const char *array_of_tensor(size_t tensor, int k) {
  static char texts[2][60];
  static int last;
  last = 1 - last;
  snprintf(texts[last], sizeof texts[last], "%s of tensor %lu at", quoted(k), (unsigned long)tensor);
  return texts[last];
}

static void *shifted(const void *pointer, ptrdiff_t bytes) { return (char *)pointer + bytes; }

/* So near to the end of the address space that nothing fits there, at any alignment. */
static void *at_the_end(void) { return (void *)(UINTPTR_MAX - 7); }

/* ---- arrays ---- */

static void lists_that_are_none(scene *s) {
  call c = usual(s);
  c.tensors = NULL;
  expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, "`tensors`", "is NULL", "");
  c.tensors = (const downhill_packed_tensor *)shifted(s->l.tensors, 1);
  expect(s, &c, DOWNHILL_STATUS_MISALIGNED, "`tensors`", "multiple of", "");
  c.tensors = (const downhill_packed_tensor *)at_the_end();
  expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, "`tensors`", "address space", "");
  c = usual(s);
  c.count = PTRDIFF_MAX / sizeof(downhill_packed_tensor) + 1;
  expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, "`count`", "at most", "");
  c.count = SIZE_MAX;
  expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, "`count`", "at most", "");
  c = usual(s);
  c.count = 0;
  c.tensors = (const downhill_packed_tensor *)at_the_end();
  CHECK(make(s, &c) == DOWNHILL_STATUS_OK, "%s: %s", s->p->name, downhill_last_error());
  c.count = 1;
  c.tensors = s->l.tensors + EMPTY;
  CHECK(make(s, &c) == DOWNHILL_STATUS_OK, "%s: %s", s->p->name, downhill_last_error());
}

static void bad_arrays(scene *s, size_t i) {
  downhill_packed_tensor *const tensor = &s->l.tensors[i];
  const downhill_packed_tensor was = *tensor;
  const char *const multiple = s->l.size == 4 ? "multiple of 4" : "multiple of 2";
  const call c = usual(s);
  int k;
  for (k = 0; k < 3; k++) {
    put_packed_array(tensor, k, NULL);
    expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, tensor_colon(i), quoted(k), "is NULL");
    put_packed_array(tensor, k, at_the_end());
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, tensor_colon(i), quoted(k), "address space");
    *tensor = was;
    if (k == 2) continue; /* bytes stand anywhere */
    put_packed_array(tensor, k, shifted(packed_array(&was, k), 1));
    expect(s, &c, DOWNHILL_STATUS_MISALIGNED, tensor_colon(i), quoted(k), multiple);
    put_packed_array(tensor, k, shifted(packed_array(&was, k), 2));
    if (s->l.size == 4) expect(s, &c, DOWNHILL_STATUS_MISALIGNED, tensor_colon(i), quoted(k), multiple);
    *tensor = was;
  }
}

static void bad_lengths(scene *s, size_t i) {
  const size_t size = s->l.size, too_long[] = {SIZE_MAX, SIZE_MAX / size, PTRDIFF_MAX / size + 1};
  downhill_packed_tensor *const tensor = &s->l.tensors[i];
  const downhill_packed_tensor was = *tensor;
  const size_t bytes[] = {0, 1, was.state_bytes - 1, was.state_bytes + 1, was.state_bytes + 2};
  const call c = usual(s);
  char takes[30];
  size_t j;
  for (j = 0; j < 3; j++) {
    tensor->n = too_long[j];
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, tensor_colon(i), "`n`", "at most");
  }
  *tensor = was;
  snprintf(takes, sizeof takes, "takes %lu", (unsigned long)was.state_bytes);
  for (j = 0; j < sizeof bytes / sizeof *bytes; j++) {
    tensor->state_bytes = bytes[j];
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, tensor_colon(i), "`state` has", takes);
  }
  tensor->state_bytes = SIZE_MAX;
  expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, tensor_colon(i), "`state_bytes`", "at most");
  *tensor = was;
  tensor->n = 0;
  expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, tensor_colon(i), "`state` has", "takes 0");
  *tensor = was;
  for (j = 1; j < 128; j++) {
    tensor->first_element = was.first_element + j;
    if (j != 64) expect(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, tensor_colon(i), "`first_element` is", "multiple of 64");
  }
  tensor->first_element = UINT64_MAX;
  expect(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, tensor_colon(i), "`first_element` is", "multiple of 64");
  *tensor = was;
}

/* Array k of tensor i where another is, or so that one's first bytes are the other's last. */
static void overlap(scene *s, size_t i, int k, size_t j, int m) {
  const downhill_packed_tensor was = s->l.tensors[i];
  const ptrdiff_t size = (ptrdiff_t)s->l.size, align = k == 2 ? 1 : size;
  const ptrdiff_t bytes = (ptrdiff_t)packed_array_bytes(&s->l, i, k);
  const ptrdiff_t others = (ptrdiff_t)packed_array_bytes(&s->l, j, m);
  const ptrdiff_t shifts[] = {size - bytes, 0, others - size};
  const call c = usual(s);
  int at;
  for (at = 0; at < 3; at++) {
    unsigned char *array = packed_array(&s->l.tensors[j], m) + shifts[at];
    array -= (uintptr_t)array % (uintptr_t)align;
    put_packed_array(&s->l.tensors[i], k, array);
    expect(s, &c, DOWNHILL_STATUS_OVERLAP, array_of_tensor(i, k), array_of_tensor(j, m), "share memory");
    s->l.tensors[i] = was;
  }
}

static void overlaps(scene *s) {
  const call c = usual(s);
  const downhill_packed_tensor was = s->l.tensors[3];
  size_t i, j;
  int k, m;
  for (i = 0; i < COUNT; i++)
    for (j = 0; j < COUNT; j++)
      for (k = 0; k < 3; k++)
        for (m = 0; m < 3; m++)
          if (i != EMPTY && j != EMPTY && (i != j || k != m)) overlap(s, i, k, j, m);
  s->l.tensors[3] = s->l.tensors[0];
  expect(s, &c, DOWNHILL_STATUS_OVERLAP, "of tensor 0 at", "of tensor 3 at", "share memory");
  s->l.tensors[3] = was;
}

/* ---- config, packing, t, extras, report ---- */

static void bad_configurations(scene *s) {
  const double never[] = {-1e-300, 1e300, (double)NAN, (double)INFINITY};
  any_config config = s->config;
  call c = usual(s);
  const field *f;
  char name[30];
  size_t i;
  c.config = NULL;
  refuse(s, &c, DOWNHILL_STATUS_NULL_POINTER, "`config`", "is NULL", "");
  c.config = shifted(&config, 1);
  refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, "`config`", "multiple of", "");
  c.config = &config;
  config.head.struct_size -= 1;
  refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` of `config` is", "must be", "");
  for (f = s->r->fields; f->name != NULL; f++)
    for (i = 0; i < sizeof never / sizeof *never; i++) {
      config = s->config;
      put_field(&config, f, is_enumeration(f) ? (double)f->allowed + (double)i : never[i]);
      snprintf(name, sizeof name, "`%s` is", f->name);
      refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, name, "must be", "");
    }
  c = usual(s);
  c.t = 0;
  if (s->r->counts_steps)
    refuse(s, &c, DOWNHILL_STATUS_INVALID_STEP, "`t`", "is 0", "");
  else
    accept(s, &c);
  c.t = UINT64_MAX;
  accept(s, &c);
}

/* A packing as a later release might have it, with fields that this one does not know. */
typedef struct {
  downhill_packing known;
  unsigned char added[512];
} later;

static void bad_packings(scene *s) {
  const uint32_t own = (uint32_t)sizeof(downhill_packing), refused[] = {0, 1, 4, own - 8, own - 1, 513, UINT32_MAX};
  static later packing;
  call c = usual(s);
  uint32_t unknown;
  size_t i;
  c.packing = NULL;
  refuse(s, &c, DOWNHILL_STATUS_NULL_POINTER, "`packing`", "is NULL", "");
  c.packing = (const downhill_packing *)shifted(&s->packing, 1);
  refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, "`packing`", "multiple of", "");
  c.packing = &packing.known;
  for (unknown = 2; unknown != 0; unknown = unknown == 2 ? UINT32_MAX : 0) {
    packing.known = s->packing;
    packing.known.state_format = unknown;
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`state_format` is", "must be one of 0, 1", "");
    packing.known = s->packing;
    packing.known.weight_format = unknown;
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`weight_format` is", "must be one of 0, 1", "");
    packing.known = s->packing;
    packing.known.rounding = unknown;
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`rounding` is", "must be one of 0, 1", "");
  }
  packing.known = s->packing;
  for (i = 0; i < sizeof refused / sizeof *refused; i++) {
    packing.known.struct_size = refused[i];
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` of `packing` is", "must be", "");
  }
  /* A later release's is fine if what it adds is zero, up to 512 bytes. */
  for (i = own; i <= 512; i += i < own + 16 ? 1 : 331) {
    unsigned char *const end = (unsigned char *)&packing + i;
    packing.known.struct_size = (uint32_t)i;
    *end = 1; /* is not read */
    accept(s, &c);
    *end = 0;
    if (i == own) continue;
    end[-1] = 1;
    refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` of `packing` is", "not zero", "");
    end[-1] = 0;
  }
}

static void bad_extras(scene *s) {
  downhill_extras extras = s->extras;
  call c = usual(s);
  c.extras = &extras;
  extras.struct_size -= 1;
  refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` of `extras` is", "must be", "");
  extras = s->extras;
  extras.flags = 4;
  refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`flags`", "bits", "");
  extras = s->extras;
  extras.max_norm = -1.0;
  refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`max_norm`", "must be", "");
  extras = s->extras;
  extras.grad_scale = (double)NAN;
  refuse(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, "`grad_scale`", "must be", "");
  c.extras = (const downhill_extras *)shifted(&extras, 1);
  refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, "`extras`", "multiple of", "");
  c = usual(s);
  c.report = (downhill_report *)shifted(&s->report, 1);
  refuse(s, &c, DOWNHILL_STATUS_MISALIGNED, "`report`", "multiple of", "");
  c.report = (downhill_report *)at_the_end();
  refuse(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, "`report`", "address space", "");
  c.extras = NULL;
  c.report = NULL;
  accept(s, &c);
}

static void errors(const packed_rule *p, uint32_t state_format, uint32_t weight_format, layout how,
                   downhill_pool *pool) {
  scene s;
  size_t i;
  s.p = p;
  s.r = find_rule(p->name);
  s.config = s.r->defaults();
  s.packing = downhill_packing_default();
  s.packing.state_format = state_format;
  s.packing.weight_format = weight_format;
  s.extras = downhill_extras_default();
  s.extras.flags = DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
  s.extras.max_norm = 1.0;
  s.pool = pool;
  s.l = new_model(p, &s.packing, COUNT, sizes, 640, how);
  fill_model(p, &s.packing, &s.l, uniform, 0);
  s.before = copy_model(&s.l);
  lists_that_are_none(&s);
  for (i = 0; i < COUNT; i++) {
    if (i == EMPTY) continue;
    bad_arrays(&s, i);
    bad_lengths(&s, i);
  }
  overlaps(&s);
  bad_configurations(&s);
  bad_packings(&s);
  bad_extras(&s);
  free(s.l.memory), free(s.before.memory);
}

/* ---- pack and unpack ---- */

enum { FLOATS = 4 * N, BYTES = 2 * 2 * 128 + 2 * N };

/* The states, one of the numbers' memory each, and behind them the packed ones. */
typedef struct {
  size_t n;
  float *s[MOST_PACKED];
  uint32_t format;
  uint8_t *state;
  size_t state_bytes;
} arguments;

static struct {
  float floats[FLOATS];
  uint8_t bytes[BYTES];
} memory, before;

static arguments usual_arguments(const packed_rule *p, uint32_t format) {
  arguments x;
  x.n = N;
  x.s[0] = memory.floats + N / 2;
  x.s[1] = memory.floats + 2 * N;
  x.format = format;
  x.state = memory.bytes + N + 1;
  x.state_bytes = downhill_packed_bytes((size_t)p->states, N, format);
  return x;
}

/* Both functions return `wanted`, say all the words, and write nothing. */
static void both(const packed_rule *p, const arguments *x, downhill_status wanted, const char *a, const char *b,
                 const char *c) {
  int unpack;
  for (unpack = 0; unpack < 2; unpack++) {
    const downhill_status got = unpack ? p->unpack(x->n, x->s, x->format, x->state, x->state_bytes)
                                       : p->pack(x->n, x->s, x->format, x->state, x->state_bytes);
    CHECK(got == wanted, "%s, unpack %d: status %lu, not %lu (%s, %s, %s): %s", p->name, unpack, (unsigned long)got,
          (unsigned long)wanted, a, b, c, downhill_last_error());
    if (wanted != DOWNHILL_STATUS_OK) says(p->name, a, b, c);
    CHECK(memcmp(&memory, &before, sizeof memory) == 0, "%s, unpack %d: something was written", p->name, unpack);
    cases++;
  }
}

/* Two arrays, so that the first bytes of one are the last of the other. */
static void both_overlap(const packed_rule *p, arguments x, int k, const char *name) {
  const arguments was = x;
  const int states = p->states;
  int other;
  for (other = 0; other < states; other++) {
    char other_name[20];
    if (other == k) continue;
    snprintf(other_name, sizeof other_name, "`%s` at", find_rule(p->name)->state[other].name);
    x.s[k] = was.s[other];
    both(p, &x, DOWNHILL_STATUS_OVERLAP, name, other_name, "share memory");
    x.s[k] = was.s[other] + N - 1;
    both(p, &x, DOWNHILL_STATUS_OVERLAP, name, other_name, "share memory");
    x.s[k] = was.s[other] - (N - 1);
    both(p, &x, DOWNHILL_STATUS_OVERLAP, name, other_name, "share memory");
  }
  x = was;
  x.state = (uint8_t *)(x.s[k] + N) - 1;
  both(p, &x, DOWNHILL_STATUS_OVERLAP, name, "`state` at", "share memory");
  x.state = (uint8_t *)x.s[k];
  both(p, &x, DOWNHILL_STATUS_OVERLAP, name, "`state` at", "share memory");
}

static void packing_errors(const packed_rule *p, uint32_t format) {
  const arguments good = usual_arguments(p, format);
  const size_t wrong[] = {0, 1, good.state_bytes - 1, good.state_bytes + 1};
  arguments x = good;
  char takes[30], name[20];
  size_t i;
  int k;
  for (i = 0; i < FLOATS; i++) memory.floats[i] = uniform();
  for (i = 0; i < BYTES; i++) memory.bytes[i] = (uint8_t)draw();
  before = memory;
  for (k = 0; k < p->states; k++) {
    snprintf(name, sizeof name, "`%s`", find_rule(p->name)->state[k].name);
    x.s[k] = NULL;
    both(p, &x, DOWNHILL_STATUS_NULL_POINTER, name, "is NULL", "");
    x.s[k] = (float *)shifted(good.s[k], 2);
    both(p, &x, DOWNHILL_STATUS_MISALIGNED, name, "multiple of 4", "");
    x.s[k] = (float *)at_the_end();
    both(p, &x, DOWNHILL_STATUS_INVALID_LENGTH, name, "address space", "");
    x = good;
    both_overlap(p, x, k, name);
  }
  x.state = NULL;
  both(p, &x, DOWNHILL_STATUS_NULL_POINTER, "`state`", "is NULL", "");
  x.state = (uint8_t *)at_the_end();
  both(p, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`state`", "address space", "");
  x = good;
  snprintf(takes, sizeof takes, "takes %lu", (unsigned long)good.state_bytes);
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    x.state_bytes = wrong[i];
    both(p, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`state` has", takes, "");
  }
  x.state_bytes = SIZE_MAX;
  both(p, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`state_bytes`", "at most", "");
  x = good;
  x.n = PTRDIFF_MAX / 4 + 1;
  both(p, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`n`", "at most", "");
  x = good;
  x.format = 2;
  both(p, &x, DOWNHILL_STATUS_INVALID_CONFIG, "`state_format` is 2", "must be one of 0, 1", "");
  /* Without elements the pointers may be anything, but no bytes are left over. */
  x = good;
  x.n = 0;
  both(p, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`state` has", "takes 0", "");
  x.state_bytes = 0;
  for (i = 0; i < 20; i++) {
    for (k = 0; k < MOST_PACKED; k++) x.s[k] = no_array();
    x.state = (uint8_t *)no_array();
    both(p, &x, DOWNHILL_STATUS_OK, "", "", "");
  }
}

int main(void) {
  downhill_pool *const pool = downhill_pool_new(2);
  const packed_rule *p;
  uint32_t state, weight;
  int how;
  for (p = packed_rules; p < packed_rules + PACKED_RULES; p++)
    for (state = DOWNHILL_STATE_FORMAT_BITS8; state <= DOWNHILL_STATE_FORMAT_BF16; state++) {
      packing_errors(p, state);
      for (weight = DOWNHILL_WEIGHT_FORMAT_F32; weight <= DOWNHILL_WEIGHT_FORMAT_BF16; weight++)
        for (how = 0; how < LAYOUTS; how++) errors(p, state, weight, (layout)how, how % 2 == 0 ? NULL : pool);
    }
  downhill_pool_free(pool);
  printf("%lu calls, each with the right status and nothing written\n", cases);
  return 0;
}
