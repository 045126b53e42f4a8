/* Rows of a table: the bits of the plain step of each row, for every rule; and what is refused. */
#include "pools.h"
#include "rules.h"

enum { MOST_LISTED = 4096 };

/* A table, and a gradient of the rows that are listed. Every array is as long as it has to be, and no longer. */
typedef struct {
  const rule *r; /* NULL: row-wise Adagrad */
  any_config config;
  downhill_rowwise_adagrad rowwise;
  size_t count, length, listed;
  float *w, *g, *state[MOST_STATES];
  int64_t *rows;
  uint64_t *row_t;
} table;

static void *allocate(size_t bytes) {
  void *const memory = malloc(bytes > 0 ? bytes : 1);
  CHECK(memory != NULL, "out of memory");
  return memory;
}

static float *floats(size_t n, int is_square) {
  float *const x = (float *)allocate(n * sizeof *x);
  size_t i;
  for (i = 0; i < n; i++) x[i] = is_square ? fabsf(any_float()) : any_float();
  return x;
}

static int states_of(const table *t) { return t->r == NULL ? 1 : t->r->states; }

static size_t state_length(const table *t) { return t->r == NULL ? t->count : t->count * t->length; }

static int is_there(const table *t, int k) { return t->r == NULL || has_state(t->r, &t->config, k); }

/* A list in any order: each row at most once, or some twice. */
static void list_rows(table *t, int repeats) {
  size_t k;
  for (k = 0; k < t->listed; k++) {
    size_t before = 0;
    t->rows[k] = (int64_t)(draw() % t->count);
    while (!repeats && before < k) {
      if (t->rows[before++] != t->rows[k]) continue;
      t->rows[k] = (t->rows[k] + 1) % (int64_t)t->count;
      before = 0;
    }
  }
}

static table new_table(const rule *r, int variant, size_t count, size_t length, size_t listed, int repeats) {
  table t;
  int k;
  memset(&t, 0, sizeof t);
  t.r = r, t.count = count, t.length = length, t.listed = listed;
  if (r != NULL) t.config = configure(r, variant, L2);
  t.rowwise = downhill_rowwise_adagrad_default();
  t.rowwise.weight_decay = 0.125, t.rowwise.decay = variant % 2 == 0 ? DOWNHILL_DECAY_L2 : DOWNHILL_DECAY_DECOUPLED;
  t.w = floats(count * length, 0), t.g = floats(listed * length, 0);
  for (k = 0; k < states_of(&t); k++)
    if (is_there(&t, k)) t.state[k] = floats(state_length(&t), r == NULL || r->state[k].is_square);
  t.rows = (int64_t *)allocate(listed * sizeof *t.rows), t.row_t = (uint64_t *)allocate(count * sizeof *t.row_t);
  list_rows(&t, repeats);
  for (k = 0; k < (int)count; k++) t.row_t[k] = draw() % 5;
  return t;
}

static void *copy(const void *from, size_t bytes) { return from == NULL ? NULL : memcpy(allocate(bytes), from, bytes); }

static table copy_table(const table *from) {
  table t = *from;
  int k;
  t.w = (float *)copy(from->w, t.count * t.length * sizeof(float)), t.g = (float *)copy(from->g, t.listed * t.length * sizeof(float));
  for (k = 0; k < MOST_STATES; k++) t.state[k] = (float *)copy(from->state[k], state_length(&t) * sizeof(float));
  t.rows = (int64_t *)copy(from->rows, t.listed * sizeof *t.rows), t.row_t = (uint64_t *)copy(from->row_t, t.count * sizeof *t.row_t);
  return t;
}

static void free_table(table *t) {
  int k;
  free(t->w), free(t->g), free(t->rows), free(t->row_t);
  for (k = 0; k < MOST_STATES; k++) free(t->state[k]);
}

static downhill_tensor tensor_of(const table *t, int has_row_t, uint32_t flags) {
  downhill_tensor tensor;
  int k;
  memset(&tensor, 0, sizeof tensor);
  tensor.n = t->count * t->length, tensor.w = t->w, tensor.g = t->g;
  for (k = 0; k < states_of(t); k++) tensor.state[k] = t->state[k];
  tensor.rows = t->rows, tensor.row_count = t->listed, tensor.row_length = t->length;
  tensor.row_t = has_row_t ? t->row_t : NULL, tensor.row_flags = flags;
  return tensor;
}

static downhill_group group_of(const table *t, const downhill_tensor *tensor) {
  downhill_group group = downhill_group_default();
  group.config = t->r == NULL ? (const void *)&t->rowwise : (const void *)&t->config;
  group.t = 3, group.count = 1, group.tensors = tensor;
  return group;
}

/* ---- in plain C ---- */

static float mean_of_squares(const float *w, const float *g, size_t n, const downhill_rowwise_adagrad *config) {
  double sums[32] = {0.0};
  size_t i, width;
  for (i = 0; i < n; i++) {
    float w_i = w[i], g_i = g[i];
    apply_decay(&w_i, &g_i, config->decay, config->weight_decay, config->lr);
    sums[i % 32] += (double)g_i * (double)g_i;
  }
  for (width = 16; width > 0; width /= 2)
    for (i = 0; i < width; i++) sums[i] = sums[2 * i] + sums[2 * i + 1];
  return (float)(sums[0] / (double)n);
}

static void rowwise_plain(float *w, const float *g, size_t n, float *s, const downhill_rowwise_adagrad *config) {
  float rate;
  size_t i;
  *s = read_state(*s) + mean_of_squares(w, g, n, config);
  rate = (float)config->lr / (sqrtf(*s) + (float)config->eps);
  for (i = 0; i < n; i++) {
    float g_i = g[i];
    apply_decay(&w[i], &g_i, config->decay, config->weight_decay, config->lr);
    w[i] = w[i] - rate * g_i;
  }
}

static void plain_row(table *t, size_t row, const float *g, uint64_t step) {
  float *state[MOST_STATES];
  int k;
  if (t->r == NULL) {
    rowwise_plain(t->w + row * t->length, g, t->length, &t->state[0][row], &t->rowwise);
    return;
  }
  for (k = 0; k < MOST_STATES; k++) state[k] = t->state[k] == NULL ? NULL : t->state[k] + row * t->length;
  t->r->plain(t->length, t->w + row * t->length, g, state, step, &t->config);
}

/* The gradients of a row that is listed more than once are added up where it is listed first. */
static void plain_rows(table *t, int has_row_t, int zero) {
  float *const sums = (float *)copy(t->g, t->listed * t->length * sizeof *sums);
  size_t *const first = (size_t *)calloc(t->count, sizeof *first); /* counted from 1 */
  size_t k, i;
  CHECK(first != NULL, "out of memory");
  for (k = 0; k < t->listed; k++) {
    size_t *const place = &first[t->rows[k]];
    if (*place == 0) *place = k + 1;
    else
      for (i = 0; i < t->length; i++) {
        float *const sum = &sums[(*place - 1) * t->length + i];
        *sum = *sum + t->g[k * t->length + i];
      }
  }
  for (k = 0; k < t->count; k++)
    if (first[k] != 0) plain_row(t, k, sums + (first[k] - 1) * t->length, has_row_t ? ++t->row_t[k] : 3);
  if (zero) memset(t->g, 0, t->listed * t->length * sizeof *t->g);
  free(sums), free(first);
}

/* ---- the comparison ---- */

static void compare_floats(const char *name, const float *a, const float *b, size_t n) {
  size_t i;
  for (i = 0; i < n && a != NULL; i++) CHECK(same(a[i], b[i]), "%s, element %lu: %a, not %a", name, (unsigned long)i, (double)a[i], (double)b[i]);
}

static void compare_tables(const table *a, const table *b) {
  const char *const name = a->r == NULL ? "rowwise_adagrad" : a->r->name;
  int k;
  compare_floats(name, a->w, b->w, a->count * a->length);
  compare_floats(name, a->g, b->g, a->listed * a->length);
  for (k = 0; k < MOST_STATES; k++) compare_floats(name, a->state[k], b->state[k], state_length(a));
  CHECK(memcmp(a->row_t, b->row_t, a->count * sizeof *a->row_t) == 0, "%s: row_t", name);
}

static void compare(const table *start, int has_row_t, int repeats, int zero, downhill_pool *pool) {
  table ours = copy_table(start), plain = copy_table(start);
  const downhill_tensor tensor = tensor_of(&ours, has_row_t, repeats ? DOWNHILL_ROWS_MERGE : 0);
  const downhill_group group = group_of(&ours, &tensor);
  downhill_extras extras = downhill_extras_default();
  if (zero) extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD;
  CHECK(downhill_step(1, &group, &extras, pool, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  plain_rows(&plain, has_row_t, zero);
  compare_tables(&ours, &plain);
  free_table(&ours), free_table(&plain);
}

/* No row at all: nothing is written, but the step is one. */
static void no_rows(const rule *r) {
  table t = new_table(r, 0, 5, 8, 1, 0), before = copy_table(&t);
  downhill_tensor tensor = tensor_of(&t, 1, 0);
  const downhill_group group = group_of(&t, &tensor);
  downhill_report report = downhill_report_default();
  tensor.row_count = 0;
  CHECK(downhill_step(1, &group, NULL, NULL, &report) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(report.tensors_updated == 1 && report.grad_norm == 0.0, "%lu", (unsigned long)report.tensors_updated);
  compare_tables(&t, &before);
  free_table(&t), free_table(&before);
}

/* A list may be empty. Without elements pointers are not followed, and no row can be listed. */
static void nothing_is_touched(void) {
  table t = new_table(&rules[6], 0, 12, 64, 0, 0), before = copy_table(&t);
  void *const nowhere = (void *)(uintptr_t)3;
  downhill_tensor x = tensor_of(&t, 1, 0);
  const downhill_group group = group_of(&t, &x);
  double sum = 1.0;
  x.rows = NULL;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  x.n = 0, x.w = x.g = x.state[0] = nowhere, x.rows = (const int64_t *)nowhere, x.row_t = (uint64_t *)nowhere;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(downhill_grad_squares(1, &group, NULL, &sum) == DOWNHILL_STATUS_OK && sum == 0.0, "%s", downhill_last_error());
  x.row_length = 0;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  x.row_length = 64, x.row_count = 3;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_INVALID_LENGTH, "rows of nothing");
  CHECK(strstr(downhill_last_error(), "`row_count` is 3; it must be 0") != NULL, "%s", downhill_last_error());
  CHECK(downhill_grad_squares(1, &group, NULL, &sum) == DOWNHILL_STATUS_INVALID_LENGTH, "rows of nothing");
  compare_tables(&t, &before);
  free_table(&t), free_table(&before);
}

static unsigned long every_length(const rule *r, int variant) {
  const size_t lengths[] = {1, 2, 15, 16, 17, 64, 100, 300};
  unsigned long compared = 0;
  size_t i;
  int repeats, has_row_t;
  for (i = 0; i < sizeof lengths / sizeof *lengths; i++)
    for (repeats = 0; repeats < 2; repeats++)
      for (has_row_t = 0; has_row_t < 2; has_row_t++, compared++) {
        table t = new_table(r, variant, 23, lengths[i], repeats ? 30 : 9, repeats);
        compare(&t, has_row_t, repeats, (int)(i & 1), NULL);
        free_table(&t);
      }
  return compared;
}

/* Enough for several threads. */
static void with_threads(const rule *r) {
  table t = new_table(r, 0, 8192, 97, MOST_LISTED, 1);
  int i;
  for (i = 0; i < POOLS; i++) compare(&t, 1, 1, 1, pools[i]);
  free_table(&t);
}

static void the_function_of_a_row(void) {
  const downhill_rowwise_adagrad config = downhill_rowwise_adagrad_default();
  downhill_rowwise_adagrad wrong = config;
  float w[40], g[40], plain[40], s = 0.5f, plain_s = 0.5f;
  size_t n;
  int i;
  for (n = 0; n <= 40; n++) {
    for (i = 0; i < 40; i++) w[i] = plain[i] = any_float(), g[i] = any_float();
    CHECK(downhill_rowwise_adagrad_step(n, w, g, &s, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    if (n > 0) rowwise_plain(plain, g, n, &plain_s, &config);
    compare_floats("a row", w, plain, 40);
    compare_floats("its state", &s, &plain_s, 1);
    s = plain_s = 0.5f;
  }
  CHECK(downhill_rowwise_adagrad_step(4, w, g, w + 3, &config) == DOWNHILL_STATUS_OVERLAP, "s in w");
  CHECK(downhill_rowwise_adagrad_step(4, w, g, g, &config) == DOWNHILL_STATUS_OVERLAP, "s in g");
  wrong.lr = -1.0;
  CHECK(downhill_rowwise_adagrad_step(0, NULL, NULL, NULL, &wrong) == DOWNHILL_STATUS_INVALID_CONFIG, "lr below 0");
  CHECK(downhill_rowwise_adagrad_step(4, w, g, NULL, &config) == DOWNHILL_STATUS_NULL_POINTER, "s is NULL");
}

/* ---- a small stack ---- */

enum { COUNT = 6, LENGTH = 1100, LISTED = 4 };

/* Everything in bfloat16, rounded at random, and a row that is listed three times. */
typedef struct {
  uint16_t w[COUNT * LENGTH], m[COUNT * LENGTH], v[COUNT * LENGTH], g[LISTED * LENGTH];
} narrow_table;

static uint16_t narrow_float(void) {
  const float x = uniform();
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)(bits >> 16 & 0x7fff);
}

static void *step_narrow(void *argument) {
  static const int64_t rows[LISTED] = {4, 1, 4, 4};
  narrow_table *const t = (narrow_table *)argument;
  downhill_adam config = downhill_adam_default();
  downhill_group group = downhill_group_default();
  downhill_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  config.weight_decay = 0.5;
  tensor.n = COUNT * LENGTH, tensor.w = t->w, tensor.g = t->g, tensor.state[0] = t->m, tensor.state[1] = t->v;
  tensor.rows = rows, tensor.row_count = LISTED, tensor.row_length = LENGTH, tensor.row_flags = DOWNHILL_ROWS_MERGE;
  group.weight_type = group.gradient_type = group.state_type = DOWNHILL_TYPE_BF16;
  group.config = &config, group.t = 2, group.count = 1, group.tensors = &tensor;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  return NULL;
}

static void on_a_small_stack(void) {
  narrow_table *const usual = (narrow_table *)allocate(sizeof *usual);
  narrow_table *before, *small;
  uint16_t *const all = usual->w;
  pthread_attr_t attributes;
  pthread_t thread;
  size_t i;
  for (i = 0; i < sizeof *usual / sizeof *all; i++) all[i] = narrow_float();
  before = (narrow_table *)copy(usual, sizeof *usual), small = (narrow_table *)copy(usual, sizeof *usual);
  step_narrow(usual);
  CHECK(memcmp(usual->w, before->w, LENGTH * sizeof *all) == 0, "row 0 is not listed");
  CHECK(memcmp(usual->w + 4 * LENGTH, before->w + 4 * LENGTH, LENGTH * sizeof *all) != 0, "row 4 is");
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, 32 << 10) != 0) printf("SKIPPED: this system has no stacks of 32 KiB\n");
  CHECK(pthread_create(&thread, &attributes, step_narrow, small) == 0, "no thread");
  pthread_join(thread, NULL);
  pthread_attr_destroy(&attributes);
  CHECK(memcmp(small, usual, sizeof *usual) == 0, "on a small stack");
  free(usual), free(before), free(small);
}

/* ---- what is refused ---- */

static void refuse(const table *t, const downhill_tensor *tensor, downhill_status status, const char *told) {
  table before = copy_table(t);
  const downhill_group group = group_of(t, tensor);
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == status, "%s: %s", told, downhill_last_error());
  CHECK(strstr(downhill_last_error(), told) != NULL, "%s, not %s", downhill_last_error(), told);
  CHECK(strstr(downhill_last_error(), "group 0") != NULL, "%s", downhill_last_error());
  compare_tables(t, &before);
  free_table(&before);
}

static void what_is_wrong_is_told(void) {
  table t = new_table(&rules[6], 0, 12, 64, 4, 0);
  const downhill_tensor right = tensor_of(&t, 1, 0);
  downhill_tensor x = right;
  downhill_group group = group_of(&t, &x);
  const int64_t was = t.rows[2];
#define REFUSE(field, value, status, told) \
  x = right, x.field = (value), refuse(&t, &x, DOWNHILL_STATUS_##status, told)
  REFUSE(rows, NULL, NULL_POINTER, "`rows` is NULL");
  REFUSE(rows, (const int64_t *)(const void *)((const char *)t.rows + 1), MISALIGNED, "`rows` is 0x");
  REFUSE(row_t, (uint64_t *)(void *)((char *)t.row_t + 1), MISALIGNED, "`row_t` is 0x");
  REFUSE(row_length, 5, INVALID_LENGTH, "`row_length` is 5; it must be at least 1 and divide the 768 elements of `w`");
  REFUSE(row_length, 0, INVALID_CONFIG, "because `row_length` is 0");
  REFUSE(row_flags, 2, INVALID_CONFIG, "`row_flags` is 0x2");
  REFUSE(reserved, 1, INVALID_CONFIG, "`reserved` is 1");
  REFUSE(row_count, SIZE_MAX / 8, INVALID_LENGTH, "`row_count` is ");
  x = right, x.n = SIZE_MAX / 16 + 1, x.row_length = 1; /* its weights would fit, but not a step count for each */
  refuse(&t, &x, DOWNHILL_STATUS_INVALID_LENGTH, "`row_t` fills more than half the address space");
  x = right, x.rows = (const int64_t *)(const void *)t.row_t, x.row_flags = DOWNHILL_ROWS_MERGE;
  refuse(&t, &x, DOWNHILL_STATUS_OVERLAP, "`row_t` of group 0, tensor 0");
  REFUSE(row_t, (uint64_t *)(void *)t.w, OVERLAP, "share memory");
  t.rows[2] = 12;
  refuse(&t, &right, DOWNHILL_STATUS_INVALID_CONFIG, "`rows[2]` is 12; it must be at least 0 and below 12");
  t.rows[2] = -1;
  refuse(&t, &right, DOWNHILL_STATUS_INVALID_CONFIG, "`rows[2]` is -1");
  t.rows[2] = t.rows[1];
  refuse(&t, &right, DOWNHILL_STATUS_INVALID_CONFIG, "a row may be listed once, unless rows are merged");
  t.rows[2] = was;
  x = right, x.g = NULL, x.rows = NULL, x.row_flags = 7; /* without a gradient nothing of it is looked at */
  group.tensors = &x;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  free_table(&t);
}

static void a_state_for_each_row_needs_rows(void) {
  table t = new_table(NULL, 0, 12, 64, 4, 0);
  downhill_tensor x = tensor_of(&t, 0, 0);
  downhill_group group = group_of(&t, &x);
  x.rows = NULL, x.row_count = 0, x.row_length = 0;
  refuse(&t, &x, DOWNHILL_STATUS_INVALID_CONFIG, "`rows` is missing");
  x = tensor_of(&t, 0, 0);
  group.state_type = DOWNHILL_TYPE_BF16;
  CHECK(downhill_step(1, &group, NULL, NULL, NULL) == DOWNHILL_STATUS_INVALID_CONFIG, "states of bf16");
  CHECK(strstr(downhill_last_error(), "`s` of rowwise_adagrad must be f32") != NULL, "%s", downhill_last_error());
  CHECK(downhill_state_bytes(&t.rowwise, 64) == SIZE_MAX, "8 bits");
  free_table(&t);
}

/* The norm is that of what is listed. */
static void squares_of_rows(void) {
  table t = new_table(&rules[0], 0, 9, 50, 3, 0);
  const downhill_tensor tensor = tensor_of(&t, 0, 0);
  downhill_tensor dense;
  downhill_group group = group_of(&t, &tensor);
  double of_rows, of_gradient;
  memset(&dense, 0, sizeof dense);
  dense.n = t.listed * t.length, dense.g = t.g;
  CHECK(downhill_grad_squares(1, &group, NULL, &of_rows) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  group.tensors = &dense;
  CHECK(downhill_grad_squares(1, &group, NULL, &of_gradient) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(memcmp(&of_rows, &of_gradient, sizeof of_rows) == 0, "%a, not %a", of_rows, of_gradient);
  free_table(&t);
}

int main(void) {
  unsigned long compared = 0;
  int i, variant;
  make_pools();
  for (i = 0; i < RULES; i++) {
    for (variant = 0; variant < rules[i].variants; variant++) compared += every_length(&rules[i], variant);
    if (i % 5 == 0) with_threads(&rules[i]);
  }
  for (variant = 0; variant < 2; variant++) compared += every_length(NULL, variant);
  with_threads(NULL);
  no_rows(NULL), no_rows(&rules[6]);
  nothing_is_touched();
  the_function_of_a_row();
  what_is_wrong_is_told();
  a_state_for_each_row_needs_rows();
  squares_of_rows();
  /* A sanitizer needs more stack. */
  if (getenv("DOWNHILL_TEST_BRIEFLY") == NULL) on_a_small_stack();
  free_pools();
  printf("%s: %lu tables, all the same bits\n", downhill_isa(), compared);
  return 0;
}
