/* Every step on arrays beyond which nothing may be touched: each in memory of exactly its size, for AddressSanitizer
 * and valgrind to watch; and between two pages that cannot be read. With the argument "beyond" it steps one element
 * too far, and with "overflow" an int overflows: both must be seen. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plain.h"

enum { PLACES = 2 + MOST_STATES, MOST = 70, T = 7 };

/* From some length on what is in front of the first aligned vector is stepped apart: arrays that end with a page begin
 * at each place in a vector. */
enum { WITH_HEAD = 128, MOST_WITH_HEAD = WITH_HEAD + 32 };

/* Memory for arrays of up to a page: where one is in it, and for how long. */
typedef struct {
  void *(*get)(int array, size_t bytes);
  void (*put_back)(void *memory);
} place;

static void *from_malloc(int array, size_t bytes) {
  void *const memory = malloc(bytes);
  (void)array;
  CHECK(memory != NULL || bytes == 0, "out of memory");
  return memory;
}

static void to_malloc(void *memory) { free(memory); }

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

static void *before_a_wall(int array, size_t bytes) { return page_of(array) + page_size() - bytes; }

static void *behind_a_wall(int array, size_t bytes) {
  (void)bytes;
  return page_of(array);
}

static void leave(void *memory) { (void)memory; }

static const place places[] = {{from_malloc, to_malloc}, {before_a_wall, leave}, {behind_a_wall, leave}};

/* ---- plain steps ---- */

/* w, g and the states that are passed, and the configuration, all where `p` says. */
static void step(const rule *r, const place *p, size_t n, int variant, decay_option decay) {
  const any_config any = configure(r, variant, decay);
  void *const config = malloc(r->config_size);
  float *ours[PLACES], plain[PLACES][MOST_WITH_HEAD], *expected[PLACES];
  size_t i;
  int k;
  CHECK(config != NULL, "out of memory");
  memcpy(config, &any, r->config_size);
  for (k = 0; k < PLACES; k++) {
    const int is_there = k < 2 || (k - 2 < r->states && has_state(r, &any, k - 2));
    ours[k] = is_there ? (float *)p->get(k, n * sizeof(float)) : NULL;
    expected[k] = is_there ? plain[k] : NULL;
    for (i = 0; i < n && is_there; i++) {
      plain[k][i] = any_float();
      if (k >= 2 && r->state[k - 2].is_square) plain[k][i] = fabsf(plain[k][i]);
    }
    if (n > 0 && is_there) memcpy(ours[k], plain[k], n * sizeof(float));
  }
  CHECK(r->step(n, ours[0], ours[1], ours + 2, T, config) == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
  r->plain(n, expected[0], expected[1], expected + 2, T, &any);
  for (k = 0; k < PLACES; k++) {
    for (i = 0; i < n && ours[k] != NULL; i++)
      CHECK(same(ours[k][i], plain[k][i]), "%s variant %d decay %d, n = %lu, array %d, element %lu: %a, not %a", r->name,
            variant, (int)decay, (unsigned long)n, k, (unsigned long)i, (double)ours[k][i], (double)plain[k][i]);
    p->put_back(ours[k]);
  }
  free(config);
}

static void every_step(const rule *r, const place *p) {
  int variant, decay;
  size_t n;
  for (variant = 0; variant < r->variants; variant++)
    for (decay = NO_DECAY; decay < DECAYS; decay++) {
      for (n = 0; n <= MOST; n++) step(r, p, n, variant, (decay_option)decay);
      for (n = WITH_HEAD; n <= MOST_WITH_HEAD; n++) step(r, p, n, variant, (decay_option)decay);
    }
}

/* ---- whole steps ---- */

/* A tensor of any types with all extras, against the same where there is room around; its structures are in memory of
 * exactly their size, too. If the gradient is not to be written, it cannot be. */
static void whole_step(const place *p, const downhill_group *like, size_t n, int writes_gradient) {
  model roomy = new_model(1, like, &n, BY_TENSOR, 64);
  const downhill_group *const group = roomy.groups;
  const int closes = p->get != from_malloc && !writes_gradient;
  downhill_group *const ours = (downhill_group *)malloc(sizeof *ours);
  downhill_tensor *const tensor = (downhill_tensor *)malloc(sizeof *tensor);
  downhill_extras *const extras = (downhill_extras *)malloc(sizeof *extras);
  downhill_report *const report = (downhill_report *)malloc(sizeof *report);
  double *const sum = (double *)malloc(sizeof *sum);
  int kind;
  CHECK(ours != NULL && tensor != NULL && extras != NULL && report != NULL && sum != NULL, "out of memory");
  fill_model(&roomy, uniform);
  *ours = *group, *tensor = roomy.tensors[0], *extras = downhill_extras_default(), *report = downhill_report_default();
  ours->tensors = tensor;
  extras->max_norm = 1.0;
  extras->flags = DOWNHILL_EXTRAS_SKIP_NONFINITE | (writes_gradient ? DOWNHILL_EXTRAS_ZERO_GRAD : 0);
  for (kind = 0; kind < ARRAYS; kind++) {
    const size_t bytes = array_bytes(group, tensor, kind);
    if (!has_array(group, &roomy.tensors[0], kind)) continue;
    put_array(tensor, kind, p->get(kind, bytes));
    memcpy(get_array(tensor, kind), get_array(&roomy.tensors[0], kind), bytes);
  }
  if (closes) CHECK(mprotect(page_of(G), page_size(), PROT_READ) == 0, "a page stays open");
  CHECK(downhill_grad_squares(1, ours, NULL, sum) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(downhill_step(1, ours, extras, NULL, report) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  if (closes) CHECK(mprotect(page_of(G), page_size(), PROT_READ | PROT_WRITE) == 0, "a page stays closed");
  CHECK(sqrt(*sum) == report->grad_norm, "norm %a", report->grad_norm);
  CHECK(downhill_step(1, group, extras, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  for (kind = 0; kind < ARRAYS; kind++) {
    if (!has_array(group, &roomy.tensors[0], kind)) continue;
    CHECK(memcmp(get_array(tensor, kind), get_array(&roomy.tensors[0], kind), array_bytes(group, tensor, kind)) == 0,
          "%s: `%s` of %lu elements is another", describe(group), array_name(group, kind), (unsigned long)n);
    p->put_back(get_array(tensor, kind));
  }
  free(ours), free(tensor), free(extras), free(report), free(sum);
  free_model(&roomy);
}

/* Each rule with each weight and state type, and any gradient and copy. */
static void whole_steps(const rule *r, const place *p) {
  const any_config config = configure(r, r->variants - 1, L2);
  int weight, state;
  size_t n;
  for (weight = 0; weight < WEIGHT_TYPES; weight++)
    for (state = 0; state < STATE_TYPES; state++)
      for (n = 0; n <= MOST; n++) {
        downhill_group group = new_group(&config, 1);
        group.weight_type = weight_types[weight];
        group.state_type = state_types[state];
        group.gradient_type = gradient_types[n % GRADIENT_TYPES];
        group.copy_type = copy_types[draw() % COPY_TYPES];
        group.rounding = n % 2;
        if (group.state_type != DOWNHILL_TYPE_8BIT || fits_in_8_bits(&config)) whole_step(p, &group, n, draw() % 2 == 0);
      }
}

/* ---- conversion ---- */

static void conversions(const place *p) {
  size_t n, from, to;
  for (from = 0; from < WEIGHT_TYPES; from++)
    for (to = 0; to < WEIGHT_TYPES; to++)
      for (n = 1; n <= MOST; n++) {
        void *const a = p->get(0, n * type_size(weight_types[from])), *const b = p->get(1, n * type_size(weight_types[to]));
        int16_t *const a_low = weight_types[from] == DOWNHILL_TYPE_SPLIT ? (int16_t *)p->get(2, n * 2) : NULL;
        int16_t *const b_low = weight_types[to] == DOWNHILL_TYPE_SPLIT ? (int16_t *)p->get(3, n * 2) : NULL;
        size_t i;
        for (i = 0; i < n; i++) put_element(weight_types[from], a, a_low, i, 1.0f);
        CHECK(downhill_convert(n, weight_types[from], a, a_low, weight_types[to], b, b_low) == DOWNHILL_STATUS_OK, "%s",
              downhill_last_error());
        for (i = 0; i < n; i++) CHECK(get_element(weight_types[to], b, b_low, i) == 1.0f, "element %lu", (unsigned long)i);
        p->put_back(a), p->put_back(b);
        if (a_low != NULL) p->put_back(a_low);
        if (b_low != NULL) p->put_back(b_low);
      }
}

/* Of a configuration that is refused for its first 8 bytes no further one is read. */
static void refused_heads(const place *p) {
  const rule *r;
  uint32_t size;
  for (r = rules; r < rules + RULES; r++)
    for (size = 0; size <= r->config_size; size += 4) {
      uint32_t *const head = (uint32_t *)p->get(0, 8);
      float *no_states[MOST_STATES] = {NULL, NULL, NULL};
      head[0] = size;
      head[1] = size < r->config_size ? r->tag : r->tag + 1;
      CHECK(r->step(0, NULL, NULL, no_states, 1, head) == DOWNHILL_STATUS_INVALID_CONFIG, "%s: size %lu", r->name,
            (unsigned long)size);
      p->put_back(head);
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
    for (r = rules; r < rules + RULES; r++) {
      every_step(r, &places[i]);
      whole_steps(r, &places[i]);
    }
    refused_heads(&places[i]);
    conversions(&places[i]);
  }
  printf("%s: nothing touched beyond its memory\n", downhill_isa());
  return 0;
}
