/* Runs a problem that the test writes, and prints the bits of every weight after every step.
 *
 * On the standard input, in this order, floats as their bits in hexadecimal:
 *   the rule's name; the bits that fill its states; n, how many steps, the bits of w; then for each step:
 *   how many fields differ from the rule's defaults, each one's name and value; the bits of g.
 */
#include "rules.h"

enum { MOST = 1000 };

static long read_count(void) {
  long count;
  CHECK(scanf("%ld", &count) == 1, "no number");
  CHECK(count >= 0 && count <= MOST, "%ld", count);
  return count;
}

static float read_float(void) {
  unsigned long number;
  uint32_t bits;
  float x;
  CHECK(scanf("%lx", &number) == 1, "no float");
  bits = (uint32_t)number;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static const rule *read_rule(void) {
  char name[40];
  CHECK(scanf("%39s", name) == 1, "no rule");
  return find_rule(name);
}

static any_config read_config(const rule *r) {
  any_config config = r->defaults();
  long fields;
  if (find_field(r, "form") != NULL) set_field(r, &config, "form", DOWNHILL_FORM_TORCH);
  for (fields = read_count(); fields > 0; fields--) {
    char name[40];
    double value;
    CHECK(scanf("%39s %lf", name, &value) == 2, "no field");
    set_field(r, &config, name, value);
  }
  return config;
}

int main(void) {
  static float w[MOST], g[MOST], states[MOST_STATES][MOST];
  const rule *r = read_rule();
  const float filling = read_float();
  long n, steps, t, i;
  int k;
  for (k = 0; k < MOST_STATES; k++)
    for (i = 0; i < MOST; i++) states[k][i] = filling;
  n = read_count();
  steps = read_count();
  for (i = 0; i < n; i++) w[i] = read_float();
  for (t = 1; t <= steps; t++) {
    const any_config config = read_config(r);
    float *state[MOST_STATES] = {states[0], states[1], states[2]};
    drop_states(r, &config, state);
    for (i = 0; i < n; i++) g[i] = read_float();
    CHECK(r->step((size_t)n, w, g, state, (uint64_t)t, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    for (i = 0; i < n; i++) {
      uint32_t bits;
      memcpy(&bits, &w[i], sizeof bits);
      printf("%08lx\n", (unsigned long)bits);
    }
  }
  return 0;
}
