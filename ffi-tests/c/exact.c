/* Every step on arrays beyond which nothing may be touched: each in memory of exactly its size, for AddressSanitizer
 * and valgrind to watch; and between two pages that cannot be read. With the argument "beyond" it steps one element
 * too far, and with "overflow" an int overflows: both must be seen. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rules.h"

enum { ARRAYS = 2 + MOST_STATES, MOST = 70, T = 3 };

/* Memory for arrays of up to MOST elements: where one stands in it, and for how long. */
typedef struct {
  float *(*get)(int array, size_t n);
  void (*put_back)(float *memory);
} place;

static float *from_malloc(int array, size_t n) {
  float *const memory = (float *)malloc(n * sizeof *memory);
  (void)array;
  CHECK(memory != NULL || n == 0, "out of memory");
  return memory;
}

static void to_malloc(float *memory) { free(memory); }

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* A page of each array's own, between two that cannot be touched. */
static char *page_of(int array) {
  static char *pages[ARRAYS];
  if (pages[array] == NULL) {
    void *const three = mmap(NULL, 3 * page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(three != MAP_FAILED, "no pages");
    pages[array] = (char *)three + page_size();
    CHECK(mprotect(pages[array], page_size(), PROT_READ | PROT_WRITE) == 0, "a page stays closed");
  }
  return pages[array];
}

static float *before_a_wall(int array, size_t n) { return (float *)(page_of(array) + page_size()) - n; }

static float *behind_a_wall(int array, size_t n) {
  (void)n;
  return (float *)page_of(array);
}

static void leave(float *memory) { (void)memory; }

static const place places[] = {{from_malloc, to_malloc}, {before_a_wall, leave}, {behind_a_wall, leave}};

/* w, g and the states that are passed, and the configuration, all where `p` says. */
static void step(const rule *r, const place *p, size_t n, int variant, decay_option decay, int whole) {
  const any_config any = configure(r, variant, decay);
  void *const config = malloc(r->config_size);
  downhill_tensor *const tensor = (downhill_tensor *)malloc(sizeof *tensor);
  float *ours[ARRAYS], plain[ARRAYS][MOST], *expected[ARRAYS];
  downhill_status status;
  size_t i;
  int k;
  CHECK(config != NULL && tensor != NULL, "out of memory");
  memcpy(config, &any, r->config_size);
  for (k = 0; k < ARRAYS; k++) {
    const int is_there = k < 2 || (k - 2 < r->states && has_state(r, &any, k - 2));
    ours[k] = is_there ? p->get(k, n) : NULL;
    expected[k] = is_there ? plain[k] : NULL;
    for (i = 0; i < n && is_there; i++) {
      plain[k][i] = any_float();
      if (k >= 2 && r->state[k - 2].is_square) plain[k][i] = fabsf(plain[k][i]);
    }
    if (n > 0 && is_there) memcpy(ours[k], plain[k], n * sizeof(float));
  }
  if (whole) {
    tensor->n = n, tensor->w = ours[0], tensor->g = ours[1];
    memcpy(tensor->state, ours + 2, sizeof tensor->state);
    status = r->step_many(1, tensor, T, config, NULL, NULL, NULL);
  } else {
    status = r->step(n, ours[0], ours[1], ours + 2, T, config);
  }
  CHECK(status == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
  r->plain(n, expected[0], expected[1], expected + 2, T, &any);
  for (k = 0; k < ARRAYS; k++) {
    for (i = 0; i < n && ours[k] != NULL; i++)
      CHECK(same(ours[k][i], plain[k][i]), "%s variant %d decay %d, n = %lu, array %d, element %lu: %a, not %a", r->name,
            variant, (int)decay, (unsigned long)n, k, (unsigned long)i, (double)ours[k][i], (double)plain[k][i]);
    p->put_back(ours[k]);
  }
  free(tensor);
  free(config);
}

static void every_step(const rule *r, const place *p) {
  int variant, decay;
  size_t n;
  for (variant = 0; variant < r->variants; variant++)
    for (decay = NO_DECAY; decay < DECAYS; decay++)
      for (n = 0; n <= MOST; n++) {
        step(r, p, n, variant, (decay_option)decay, 0);
        step(r, p, n, variant, (decay_option)decay, 1);
      }
}

/* The whole steps' extras: norm, zero, report. */
static void extras(const place *p) {
  const downhill_sgd config = downhill_sgd_default();
  downhill_extras *const extras = (downhill_extras *)malloc(sizeof *extras);
  downhill_report *const report = (downhill_report *)malloc(sizeof *report);
  size_t n, i;
  CHECK(extras != NULL && report != NULL, "out of memory");
  *extras = downhill_extras_default();
  extras->max_norm = 1.0;
  extras->flags = DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
  for (n = 0; n <= MOST; n++) {
    downhill_tensor tensor = {n, p->get(0, n), p->get(1, n), {NULL, NULL, NULL}};
    for (i = 0; i < n; i++) tensor.w[i] = tensor.g[i] = 3.0f;
    CHECK(downhill_sgd_step_many(1, &tensor, &config, extras, NULL, report) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    CHECK(report->grad_norm == sqrt(9.0 * (double)n), "norm %a", report->grad_norm);
    for (i = 0; i < n; i++) CHECK(tensor.g[i] == 0.0f, "element %lu is not zero", (unsigned long)i);
    p->put_back(tensor.w);
    p->put_back(tensor.g);
  }
  free(report);
  free(extras);
}

/* A step on packed states, against the same where there is room around. Without DOWNHILL_ZERO_GRAD nothing is written to
 * the gradient: where it has a page of its own, nothing can be. */
static void packed_step(const place *p, size_t n, uint32_t format) {
  const downhill_adam config = downhill_adam_default();
  const int has_pages = p->get != from_malloc;
  const size_t bytes = downhill_packed_bytes(2, n, format), words = (bytes + 3) / 4;
  const size_t pad = p->get == behind_a_wall ? 0 : 4 * words - bytes;
  downhill_packing packing = downhill_packing_default();
  float w[MOST], g[MOST], *const ours_w = p->get(0, n), *const ours_g = p->get(1, n), *const memory = p->get(2, words);
  uint8_t state[1024] = {0}, *const ours_state = (uint8_t *)memory + pad;
  downhill_packed_tensor roomy, exact;
  size_t i;
  roomy.n = exact.n = n, roomy.state_bytes = exact.state_bytes = bytes, roomy.first_element = exact.first_element = 0;
  roomy.w = w, roomy.g = g, roomy.state = state;
  exact.w = ours_w, exact.g = ours_g, exact.state = ours_state;
  packing.state_format = format;
  for (i = 0; i < n; i++) w[i] = ours_w[i] = uniform(), g[i] = ours_g[i] = uniform();
  if (n > 0) memset(ours_state, 0, bytes);
  if (has_pages) CHECK(mprotect(page_of(1), page_size(), PROT_READ) == 0, "a page stays open");
  CHECK(downhill_adam_step_packed(1, &exact, T, &config, &packing, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s",
        downhill_last_error());
  if (has_pages) CHECK(mprotect(page_of(1), page_size(), PROT_READ | PROT_WRITE) == 0, "a page stays closed");
  CHECK(downhill_adam_step_packed(1, &roomy, T, &config, &packing, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s",
        downhill_last_error());
  for (i = 0; i < n; i++) CHECK(same(w[i], ours_w[i]), "n = %lu, weight %lu", (unsigned long)n, (unsigned long)i);
  CHECK(n == 0 || memcmp(state, ours_state, bytes) == 0, "n = %lu: other states", (unsigned long)n);
  p->put_back(ours_w);
  p->put_back(ours_g);
  p->put_back(memory);
}

static void packed_steps(const place *p) {
  size_t n;
  for (n = 0; n <= MOST; n++) {
    packed_step(p, n, DOWNHILL_STATE_FORMAT_BITS8);
    packed_step(p, n, DOWNHILL_STATE_FORMAT_BF16);
  }
}

/* Of a configuration that is refused for its first 8 bytes no further one is read. */
static void refused_heads(const place *p) {
  const rule *r;
  uint32_t size;
  for (r = rules; r < rules + RULES; r++)
    for (size = 0; size <= r->config_size; size += 4) {
      uint32_t *const head = (uint32_t *)(void *)p->get(0, 2);
      float *no_states[MOST_STATES] = {NULL, NULL, NULL};
      head[0] = size;
      head[1] = size < r->config_size ? r->tag : r->tag + 1;
      CHECK(r->step(0, NULL, NULL, no_states, 1, head) == DOWNHILL_STATUS_INVALID_CONFIG, "%s: size %lu", r->name,
            (unsigned long)size);
      p->put_back((float *)(void *)head);
    }
}

static void one_too_far(void) {
  const downhill_sgd config = downhill_sgd_default();
  float *const w = (float *)malloc(MOST * sizeof *w), *const g = (float *)calloc(MOST, sizeof *g);
  CHECK(w != NULL && g != NULL, "out of memory");
  memset(w, 0, MOST * sizeof *w);
  CHECK(downhill_sgd_step(MOST + 1, w, g, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  free(w);
  free(g);
}

int main(int count, char **arguments) {
  size_t i;
  const rule *r;
  /* On purpose, for whatever looks on to see. */
  if (count == 2 && strcmp(arguments[1], "beyond") == 0) {
    one_too_far();
    return 0;
  }
  if (count == 2 && strcmp(arguments[1], "overflow") == 0) {
    printf("%d\n", count + INT_MAX);
    return 0;
  }
  for (i = 0; i < sizeof places / sizeof *places; i++) {
    for (r = rules; r < rules + RULES; r++) every_step(r, &places[i]);
    refused_heads(&places[i]);
    extras(&places[i]);
    packed_steps(&places[i]);
  }
  printf("%s: nothing touched beyond its memory\n", downhill_isa());
  return 0;
}
