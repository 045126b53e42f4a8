/* One number for the bits of all rules: the same on every system. Whole steps, by two threads, with odd lengths, so that there are
 * tails; a clipping norm; and states in bfloat16, rounded at random, in every second group. The last rule steps rows of a table. */
#include <downhill.h>
#include <stdio.h>
#include <string.h>

enum { RULES = 16, N = 100003, STEPS = 5, ROW = 97, LISTED = 300 };
static const int states[RULES] = {0, 1, 1, 1, 2, 1, 2, 2, 3, 2, 2, 1, 1, 2, 2, 1};
static int64_t rows[LISTED];
static float w[RULES][N], g[RULES][N], state[RULES][3][N];

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
  double configs[RULES][64];
  downhill_tensor tensors[RULES];
  downhill_group groups[RULES];
  downhill_extras extras = downhill_extras_default();
  downhill_pool *pool = downhill_pool_new(2);
  uint64_t h = 0xcbf29ce484222325u;
  uint32_t seed = 1;

  memset(configs, 0, sizeof configs);
  memset(tensors, 0, sizeof tensors);
  extras.max_norm = 100.0;
  if (downhill_config_default(RULES + 1, configs[0], sizeof configs[0]) == DOWNHILL_STATUS_OK)
    return fprintf(stderr, "rule %d is missing here\n", RULES + 1), 1;
  for (int r = 0; r < RULES; r++) {
    if (downhill_config_default((uint32_t)r + 1, configs[r], sizeof configs[r]) != DOWNHILL_STATUS_OK)
      return fprintf(stderr, "rule %d: %s\n", r + 1, downhill_last_error()), 1;
    for (int i = 0; i < N; i++) w[r][i] = next(&seed);
    tensors[r].n = N - (size_t)r, tensors[r].w = w[r], tensors[r].g = g[r];
    for (int k = 0; k < states[r]; k++) tensors[r].state[k] = state[r][k];
    groups[r] = downhill_group_default();
    groups[r].config = configs[r], groups[r].tensors = &tensors[r], groups[r].count = 1;
    if (r % 2 == 1 && r < RULES - 1) groups[r].state_type = DOWNHILL_TYPE_BF16;
  }
  tensors[RULES - 1].n = N / ROW * ROW, tensors[RULES - 1].row_length = ROW;
  tensors[RULES - 1].rows = rows, tensors[RULES - 1].row_count = LISTED, tensors[RULES - 1].row_flags = DOWNHILL_ROWS_MERGE;
  for (uint64_t t = 1; t <= STEPS; t++) {
    for (int r = 0; r < RULES; r++) {
      groups[r].t = t;
      for (int i = 0; i < N; i++) g[r][i] = next(&seed);
    }
    for (int i = 0; i < LISTED; i++) rows[i] = (int64_t)((next(&seed) + 1.0f) * 0.499f * (N / ROW));
    if (downhill_step(RULES, groups, &extras, pool, NULL) != DOWNHILL_STATUS_OK)
      return fprintf(stderr, "%s\n", downhill_last_error()), 1;
  }
  for (int r = 0; r < RULES; r++) {
    h = hash(h, w[r], sizeof w[r]);
    h = hash(h, state[r], sizeof state[r]);
  }
  printf("%08lx%08lx\n", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
  fprintf(stderr, "downhill %s, %s, %u threads\n", downhill_version(), downhill_isa(), (unsigned)downhill_pool_threads(pool));
  downhill_pool_free(pool);
  return 0;
}
