/* Every error path of downhill_pack, _unpack, _state_bytes, _convert and _pool_from: the status, the text that names the
 * argument, and that nothing was written. */
#include "model.h"

enum { N = 70, MEMORY = 8192 };

static unsigned char memory[MEMORY], before[MEMORY];
static unsigned long cases;

static void prepare(void) {
  size_t i;
  for (i = 0; i < MEMORY; i++) memory[i] = before[i] = (unsigned char)(draw() >> 9);
}

static void check(downhill_status got, downhill_status wanted, const char *what, const char *why) {
  CHECK(got == wanted, "status %lu, not %lu (%s, %s): %s", (unsigned long)got, (unsigned long)wanted, what, why,
        downhill_last_error());
  CHECK(wanted == DOWNHILL_STATUS_OK || (strstr(downhill_last_error(), what) != NULL && strstr(downhill_last_error(), why) != NULL),
        "\"%s\" does not say \"%s\" and \"%s\"", downhill_last_error(), what, why);
  CHECK(memcmp(memory, before, MEMORY) == 0, "written: %s", downhill_last_error());
  cases++;
}

/* ---- pack and unpack ---- */

typedef struct {
  const void *config;
  size_t n;
  float *states[4];
  float **list;
  void *packed;
  size_t bytes;
} arguments;

/* Both functions return the same. */
static void both(arguments *x, downhill_status wanted, const char *what, const char *why) {
  float **const list = x->list != NULL ? x->list : x->states;
  check(downhill_pack(x->config, x->n, (const float *const *)list, x->packed, x->bytes), wanted, what, why);
  check(downhill_unpack(x->config, x->n, x->packed, x->bytes, list), wanted, what, why);
}

static void at(arguments *x, const any_config *config) {
  const rule *const r = &rules[config->head.rule - 1];
  int k;
  x->config = config, x->n = N, x->list = NULL;
  for (k = 0; k < 4; k++) x->states[k] = NULL;
  for (k = 0; k < r->states; k++)
    if (has_state(r, config, k)) x->states[k] = (float *)(void *)(memory + 1024 * (k + 1));
  x->packed = memory + 6 * 1024 + 1;
  x->bytes = downhill_state_bytes(config, N);
}

static void states(const any_config *config) {
  const rule *const r = &rules[config->head.rule - 1];
  arguments x;
  size_t i;
  int k, m;
  char name[20];
  at(&x, config);
  for (k = 0; k < r->states; k++) {
    float *const was = x.states[k];
    if (was == NULL) continue;
    snprintf(name, sizeof name, "`%s`", r->state[k].name);
    x.states[k] = NULL;
    both(&x, DOWNHILL_STATUS_NULL_POINTER, name, "is NULL");
    for (i = 1; i < 4; i++) {
      x.states[k] = (float *)(void *)((char *)was + i);
      both(&x, DOWNHILL_STATUS_MISALIGNED, name, "multiple of 4");
    }
    x.states[k] = (float *)(UINTPTR_MAX - 7);
    both(&x, DOWNHILL_STATUS_INVALID_LENGTH, name, "address space");
    /* What is written must be apart from all; what pack reads, only from what is written. */
    x.states[k] = (float *)(void *)((char *)x.packed - 1);
    both(&x, DOWNHILL_STATUS_OVERLAP, name, "`packed` at");
    x.states[k] = (float *)(void *)((char *)x.packed - 1 - (N - 1) * 4);
    both(&x, DOWNHILL_STATUS_OVERLAP, name, "`packed` at");
    for (m = 0; m < r->states; m++) {
      if (m == k || x.states[m] == NULL) continue;
      x.states[k] = x.states[m] + N - 1;
      check(downhill_unpack(config, N, x.packed, x.bytes, x.states), DOWNHILL_STATUS_OVERLAP, name, "share memory");
    }
    x.states[k] = was;
  }
}

/* Where the configuration has none. */
static void unexpected_states(const any_config *config) {
  const rule *const r = &rules[config->head.rule - 1];
  arguments x;
  int k;
  at(&x, config);
  for (k = 0; k < 4 && x.bytes > 0; k++) {
    char name[20];
    if (k < r->states && has_state(r, config, k)) continue;
    snprintf(name, sizeof name, "`states[%d]`", k);
    x.states[k] = (float *)(void *)(memory + 5 * 1024);
    both(&x, DOWNHILL_STATUS_INVALID_CONFIG, name, "must be NULL");
    x.states[k] = NULL;
  }
}

static void packed(const any_config *config) {
  arguments x;
  size_t i;
  char text[40];
  at(&x, config);
  snprintf(text, sizeof text, "must be %lu", (unsigned long)x.bytes);
  for (i = 0; i < 3; i++) {
    const size_t wrong[] = {x.bytes + 1, x.bytes - 1, SIZE_MAX};
    arguments y = x;
    y.bytes = wrong[i];
    both(&y, DOWNHILL_STATUS_INVALID_LENGTH, "`bytes`", text);
  }
  if (x.bytes == 0) return; /* without states nothing more is looked at */
  x.packed = NULL;
  both(&x, DOWNHILL_STATUS_NULL_POINTER, "`packed`", "NULL");
  x.packed = (void *)(UINTPTR_MAX - 7);
  both(&x, DOWNHILL_STATUS_INVALID_LENGTH, "`packed`", "address space");
  at(&x, config);
  x.list = (float **)(void *)(memory + 1);
  both(&x, DOWNHILL_STATUS_MISALIGNED, "`states`", "multiple of");
  check(downhill_pack(config, N, NULL, x.packed, x.bytes), DOWNHILL_STATUS_NULL_POINTER, "`states`", "NULL");
  check(downhill_unpack(config, N, x.packed, x.bytes, NULL), DOWNHILL_STATUS_NULL_POINTER, "`states`", "NULL");
  /* Without elements the pointers may be anything, but no bytes are left over. */
  x.n = 0;
  both(&x, DOWNHILL_STATUS_INVALID_LENGTH, "`bytes`", "must be 0");
  x.bytes = 0, x.packed = no_array();
  check(downhill_pack(config, 0, (const float *const *)no_array(), x.packed, 0), DOWNHILL_STATUS_OK, "", "");
  check(downhill_unpack(config, 0, x.packed, 0, (float *const *)no_array()), DOWNHILL_STATUS_OK, "", "");
}

static void configurations(const any_config *config) {
  any_config wrong = *config;
  arguments x;
  at(&x, config);
  x.config = NULL;
  both(&x, DOWNHILL_STATUS_NULL_POINTER, "`config`", "NULL");
  CHECK(downhill_state_bytes(NULL, N) == SIZE_MAX && strstr(downhill_last_error(), "`config`") != NULL, "NULL was taken");
  x.config = &wrong;
  wrong.head.rule = TAGS + 1;
  both(&x, DOWNHILL_STATUS_INVALID_CONFIG, "`rule` of `config`", "must be one of");
  CHECK(downhill_state_bytes(&wrong, N) == SIZE_MAX && strstr(downhill_last_error(), "`rule` of `config`") != NULL, "taken");
}

static void does_not_fit(const any_config *config) {
  const rule *const r = &rules[config->head.rule - 1];
  arguments x;
  CHECK(downhill_state_bytes(config, N) == SIZE_MAX, "%s fits", r->name);
  CHECK(strstr(downhill_last_error(), r->name) != NULL, "%s", downhill_last_error());
  at(&x, config);
  x.bytes = 130;
  both(&x, DOWNHILL_STATUS_INVALID_CONFIG, r->name, "eight bits");
}

/* ---- convert ---- */

static void conversions(uint32_t from, uint32_t to) {
  const int from_split = from == DOWNHILL_TYPE_SPLIT, to_split = to == DOWNHILL_TYPE_SPLIT;
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  void *const places[4] = {memory, from_split ? memory + 1024 : NULL, memory + 2048, to_split ? memory + 3072 : NULL};
  static const char *const names[4] = {"`from`", "`from_low`", "`to`", "`to_low`"};
  void *a[4];
  size_t sizes[4], i;
  uint32_t type;
  int k, m;
  sizes[0] = type_size(from), sizes[2] = type_size(to), sizes[1] = from_split ? 2 : 0, sizes[3] = to_split ? 2 : 0;
  memcpy(a, places, sizeof a);
#define CALL(n) downhill_convert((n), from, a[0], a[1], to, a[2], a[3])
  for (k = 0; k < 4; k++) {
    if (sizes[k] == 0) {
      a[k] = memory + 4096;
      check(CALL(N), DOWNHILL_STATUS_INVALID_CONFIG, names[k], "must be NULL");
      check(CALL(0), DOWNHILL_STATUS_INVALID_CONFIG, names[k], "must be NULL");
      a[k] = NULL;
      continue;
    }
    a[k] = NULL;
    check(CALL(N), DOWNHILL_STATUS_NULL_POINTER, names[k], "NULL");
    for (i = 1; i < sizes[k]; i++) {
      a[k] = (char *)places[k] + i;
      check(CALL(N), DOWNHILL_STATUS_MISALIGNED, names[k], "multiple of");
    }
    a[k] = (void *)(UINTPTR_MAX - 7);
    check(CALL(N), DOWNHILL_STATUS_INVALID_LENGTH, names[k], "address space");
    for (m = 2; m < 4; m++) {
      if (m == k || sizes[m] == 0) continue;
      a[k] = places[m];
      check(CALL(N), DOWNHILL_STATUS_OVERLAP, names[k], names[m]);
      a[k] = (char *)places[m] + ((N - 1) * sizes[m] & ~(size_t)3);
      check(CALL(N), DOWNHILL_STATUS_OVERLAP, names[k], names[m]);
    }
    a[k] = places[k];
  }
  for (i = 0; i < 3; i++) check(CALL(too_long[i]), DOWNHILL_STATUS_INVALID_LENGTH, "`n`", "at most");
  for (type = 0; type < 9; type++) {
    if (type >= DOWNHILL_TYPE_F32 && type <= DOWNHILL_TYPE_SPLIT) continue;
    check(downhill_convert(N, type, a[0], a[1], to, a[2], a[3]), DOWNHILL_STATUS_INVALID_CONFIG, "`from_type` is", "one of 1, 2, 3, 4");
    check(downhill_convert(N, from, a[0], a[1], type, a[2], a[3]), DOWNHILL_STATUS_INVALID_CONFIG, "`to_type` is", "one of 1, 2, 3, 4");
  }
  a[0] = no_array(), a[2] = no_array();
  check(CALL(0), DOWNHILL_STATUS_OK, "", "");
#undef CALL
}

/* ---- pools ---- */

#ifdef __cplusplus
extern "C" {
#endif
static void on_no_thread(void *context, size_t parts, void (*body)(void *), void *job) {
  (void)context, (void)parts, (void)body, (void)job;
}
#ifdef __cplusplus
}
#endif

static void no_pool(size_t threads, downhill_parallel_for function, const char *text) {
  CHECK(downhill_pool_from(threads, function, NULL) == NULL, "a pool, instead of: %s", text);
  CHECK(strstr(downhill_last_error(), text) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), text);
  cases++;
}

static void pools(void) {
  no_pool(2, NULL, "`parallel_for` is NULL");
  no_pool(0, on_no_thread, "`threads` is 0; it must be 1 to 1024");
  no_pool(1025, on_no_thread, "`threads` is 1025; it must be 1 to 1024");
}

int main(void) {
  int i, k, variant;
  prepare();
  for (i = 0; i < RULES; i++)
    for (variant = 0; variant < rules[i].variants; variant++) {
      const any_config config = configure(&rules[i], variant, L2);
      if (!fits_in_8_bits(&config)) {
        does_not_fit(&config);
        continue;
      }
      states(&config);
      unexpected_states(&config);
      packed(&config);
      configurations(&config);
    }
  for (i = 0; i < WEIGHT_TYPES; i++)
    for (k = 0; k < WEIGHT_TYPES; k++) conversions(weight_types[i], weight_types[k]);
  pools();
  printf("%lu calls, each with the right status and nothing written\n", cases);
  return 0;
}
