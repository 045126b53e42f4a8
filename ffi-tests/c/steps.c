/* Every step against a plain C loop, bit by bit: every option, every small length, every offset. */
#include "rules.h"

enum { MARGIN = 20, ARRAYS = 2 + MOST_STATES };

/* ---- the comparison ---- */

/* w, g and the states, each with a margin before (which shifts its alignment) and after. */
typedef struct {
  size_t n;
  float *block[ARRAYS];
  float *array[ARRAYS];
} arrays;

static size_t block_length(size_t n) { return MARGIN + n + MARGIN; }

static arrays new_arrays(const rule *r, size_t n, size_t offset) {
  arrays a;
  int k;
  size_t i;
  a.n = n;
  for (k = 0; k < ARRAYS; k++) {
    a.block[k] = (float *)malloc(block_length(n) * sizeof(float));
    CHECK(a.block[k] != NULL, "out of memory");
    a.array[k] = a.block[k] + offset;
    for (i = 0; i < block_length(n); i++) a.block[k][i] = any_float();
    if (k >= 2 && k - 2 < r->states && r->state[k - 2].is_square)
      for (i = 0; i < n; i++) a.array[k][i] = fabsf(a.array[k][i]);
  }
  return a;
}

static arrays copy_arrays(const rule *r, const arrays *from, size_t offset) {
  arrays a = new_arrays(r, from->n, offset);
  int k;
  for (k = 0; k < ARRAYS; k++) memcpy(a.block[k], from->block[k], block_length(a.n) * sizeof(float));
  return a;
}

static void free_arrays(arrays *a) {
  int k;
  for (k = 0; k < ARRAYS; k++) free(a->block[k]);
}

static void compare(const rule *r, size_t n, size_t offset, int variant, decay_option decay, uint64_t first_t) {
  const any_config config = configure(r, variant, decay);
  arrays ours = new_arrays(r, n, offset), plain = copy_arrays(r, &ours, offset);
  uint64_t t;
  int k;
  size_t i;
  drop_states(r, &config, ours.array + 2);
  drop_states(r, &config, plain.array + 2);
  for (t = first_t; t < first_t + 3; t++) {
    downhill_status status = r->step(n, ours.array[0], ours.array[1], ours.array + 2, t, &config);
    CHECK(status == DOWNHILL_STATUS_OK, "%s: %s", r->name, downhill_last_error());
    r->plain(n, plain.array[0], plain.array[1], plain.array + 2, t, &config);
    for (i = 0; i < n; i++) ours.array[1][i] = plain.array[1][i] = any_float();
  }
  for (k = 0; k < ARRAYS; k++)
    for (i = 0; i < block_length(n); i++)
      CHECK(same(ours.block[k][i], plain.block[k][i]),
            "%s variant %d decay %d, n = %lu, offset %lu, t from %lu, array %d, element %ld: %a, not %a", r->name, variant,
            (int)decay, (unsigned long)n, (unsigned long)offset, (unsigned long)first_t, k, (long)i - (long)offset,
            (double)ours.block[k][i], (double)plain.block[k][i]);
  free_arrays(&ours);
  free_arrays(&plain);
}

/* Every length up to 67 at every offset, and longer ones, at later steps too: a rule may begin with another formula. */
static unsigned long compare_sizes(const rule *r, int variant, decay_option decay) {
  const size_t lengths[] = {1000, 4095, 4096, 4097, 100003};
  const uint64_t steps[] = {1, 2, 1000, 30000, 10};
  unsigned long compared = 0;
  size_t n, offset, i;
  for (n = 0; n <= 67; n++)
    for (offset = 0; offset < 16; offset++, compared++) compare(r, n, offset, variant, decay, 1 + n % 2 * 4);
  for (i = 0; i < sizeof lengths / sizeof *lengths; i++, compared++)
    compare(r, lengths[i], i, variant, decay, steps[i]);
  return compared;
}

int main(void) {
  unsigned long compared = 0;
  const rule *r;
  int variant, decay;
  for (r = rules; r < rules + RULES; r++)
    for (variant = 0; variant < r->variants; variant++)
      for (decay = NO_DECAY; decay < DECAYS; decay++) compared += compare_sizes(r, variant, (decay_option)decay);
  printf("%s: %lu runs, all the same bits\n", downhill_isa(), compared);
  return 0;
}
