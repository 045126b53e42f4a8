/* One number for the bits of all rules: the same on every system. Whole steps, by two threads, with odd lengths, so that there are
 * tails; a clipping norm; and states in bfloat16, rounded at random, in every second group. The rule for tables steps rows of one. */
#include <downhill.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 32, N = 100003, STEPS = 5, ROW = 97, LISTED = 300 };
static int64_t rows[LISTED];
static float w[MOST][N], g[MOST][N], state[MOST][4][N];

/* Between -1 and 1, and 0 or small at times. */
static float next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return (float)(int32_t)*seed / 2147483648.0f * (*seed % 7 == 0 ? 1e-20f : 1.0f);
}

static uint64_t hash(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *p = (const unsigned char *)bytes;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

int main(void) {
  static double configs[MOST][64];
  static downhill_tensor tensors[MOST];
  downhill_group groups[MOST];
  downhill_extras extras = downhill_extras_default();
  downhill_pool *pool = downhill_pool_new(2);
  uint64_t h = 0xcbf29ce484222325u;
  uint32_t seed = 1;
  int rules = 0;

  extras.max_norm = 100.0;
  for (int r = 0; r < MOST && downhill_config_default((uint32_t)r + 1, configs[r], sizeof configs[r]) == DOWNHILL_STATUS_OK; r++) {
    const int has_rows = r + 1 == DOWNHILL_RULE_ROWWISE_ADAGRAD;
    tensors[r].n = has_rows ? N / ROW * ROW : N - (size_t)r, tensors[r].w = w[r], tensors[r].g = g[r];
    if (has_rows) {
      tensors[r].row_length = ROW, tensors[r].rows = rows, tensors[r].row_flags = DOWNHILL_ROWS_MERGE;
    }
    groups[r] = downhill_group_default();
    groups[r].config = configs[r], groups[r].tensors = &tensors[r], groups[r].count = 1, groups[r].t = 1;
    /* How many states there are is tried. All is zero, and stays so. */
    for (int k = 0; k < 4 && downhill_step(1, &groups[r], NULL, NULL, NULL) == DOWNHILL_STATUS_NULL_POINTER; k++)
      tensors[r].state[k] = state[r][k];
    if (r % 2 == 1 && !has_rows) groups[r].state_type = DOWNHILL_TYPE_BF16;
    if (has_rows) tensors[r].row_count = LISTED;
    for (int i = 0; i < N; i++) w[r][i] = next(&seed);
    rules = r + 1;
  }
  for (uint64_t t = 1; t <= STEPS; t++) {
    for (int r = 0; r < rules; r++) {
      groups[r].t = t;
      for (int i = 0; i < N; i++) g[r][i] = next(&seed);
    }
    for (int i = 0; i < LISTED; i++) rows[i] = (int64_t)((next(&seed) + 1.0f) * 0.499f * (N / ROW));
    if (downhill_step((size_t)rules, groups, &extras, pool, NULL) != DOWNHILL_STATUS_OK)
      return fprintf(stderr, "%s\n", downhill_last_error()), 1;
  }
  for (int r = 0; r < rules; r++) {
    h = hash(h, w[r], sizeof w[r]);
    h = hash(h, state[r], sizeof state[r]);
  }
  printf("%08lx%08lx\n", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
  fprintf(stderr, "downhill %s, %s, %d rules, %u threads\n", downhill_version(), downhill_isa(), rules,
          (unsigned)downhill_pool_threads(pool));
  downhill_pool_free(pool);
  return 0;
}
