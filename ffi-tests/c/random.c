/* Rounding at random: each number goes to one of its two neighbours, and right on average; which one depends on seed, t and
 * the element's number alone, so that a model in pieces has the bits of the whole. */
#include "pools.h"

#include "plain.h"

enum { MEANS = 1 << 14, WHOLE = 200000, CUT = 64 * 1003 };

static unsigned long compared;

static int is_rounded(uint32_t type) { return type == DOWNHILL_TYPE_BF16 || type == DOWNHILL_TYPE_F16 || type == DOWNHILL_TYPE_8BIT; }

/* A running maximum is rounded to nearest, whatever the group says. */
static int is_running_maximum(const rule *r, int state) { return strcmp(r->state[state].name, "v_max") == 0; }

static int rounds_states(const downhill_group *group) {
  const rule *const r = rule_of(group);
  return r->states > 0 && !is_running_maximum(r, 0) && is_rounded(group->state_type);
}

static void must(const downhill_group *group, downhill_status status) {
  CHECK(status == DOWNHILL_STATUS_OK, "%s: %s", describe(group), downhill_last_error());
}

static void take_step(const model *m, downhill_pool *pool) {
  downhill_extras extras = downhill_extras_default();
  extras.max_norm = 100.0;
  must(m->groups, downhill_step(m->count, m->groups, &extras, pool, NULL));
}

static model stepped(const model *start, downhill_pool *pool) {
  model m = copy_model(start);
  take_step(&m, pool);
  return m;
}

/* ---- neighbours ---- */

/* Is it the number itself, or of what is not one of the type's one of the two next to it? */
static int is_neighbour(uint32_t type, float got, float exact) {
  const uint16_t nearest = type == DOWNHILL_TYPE_BF16 ? to_bf16(exact) : to_f16(exact);
  const uint16_t code = type == DOWNHILL_TYPE_BF16 ? to_bf16(got) : to_f16(got);
  const float x = type == DOWNHILL_TYPE_BF16 ? from_bf16(nearest) : from_f16(nearest);
  /* Codes count away from zero. */
  const uint16_t lower = fabsf(x) > fabsf(exact) ? (uint16_t)(nearest - 1) : nearest;
  if (same(x, exact)) return code == nearest || isnan(got);
  if (isinf(got)) return isinf(x);
  return code == lower || code == lower + 1;
}

/* In eight bits a code is not more than 1/8 of it away from the next; of a signed state 2^-16 of its block's largest. */
static int is_near(const rule *r, int state, float got, const float *exact, size_t n, size_t i) {
  const float farther = fmaxf(fabsf(got), fabsf(exact[i]));
  float largest = 0.0f;
  size_t j;
  for (j = i / 64 * 64; j < n && j < i / 64 * 64 + 64; j++) largest = fmaxf(largest, fabsf(exact[j]));
  return fabsf(got - exact[i]) <= 1.001f * (farther / 8.0f + (r->state[state].is_square ? 0.0f : ldexpf(largest, -16)));
}

static void check_array(const downhill_group *group, const char *name, uint32_t type, const float *got, const float *exact,
                        size_t n, int state) {
  size_t i;
  for (i = 0; i < n; i++) {
    int right = same(got[i], exact[i]);
    if (type == DOWNHILL_TYPE_8BIT) right = is_near(rule_of(group), state, got[i], exact, n, i);
    if (type == DOWNHILL_TYPE_BF16 || type == DOWNHILL_TYPE_F16) right = is_neighbour(type, got[i], exact[i]);
    if (type == DOWNHILL_TYPE_BF16 && state >= 0 && is_running_maximum(rule_of(group), state))
      right = same(got[i], from_bf16(to_bf16(exact[i])));
    CHECK(right, "%s: `%s` element %lu: %a has become %a", describe(group), name, (unsigned long)i, (double)exact[i],
          (double)got[i]);
  }
}

/* A step against the plain one in float. */
static void neighbours(const model *start) {
  model ours = copy_model(start);
  const downhill_group *const group = start->groups;
  const downhill_tensor *const before = start->tensors, *const after = ours.tensors;
  const size_t n = before->n;
  float *const w = widened(group->weight_type, before->w, before->w_low, n), *got, *states[4], *got_states[4];
  int k;
  widen_states(group, before, states);
  must(group, rule_of(group)->step(n, w, (const float *)before->g, states, step_number(group, before), group->config));
  must(group, downhill_step(1, ours.groups, NULL, pools[draw() % POOLS], NULL));
  got = widened(group->weight_type, after->w, after->w_low, n);
  check_array(group, "w", group->weight_type, got, w, n, -1);
  widen_states(group, after, got_states);
  for (k = 0; k < rule_of(group)->states; k++)
    if (states[k] != NULL) check_array(group, rule_of(group)->state[k].name, group->state_type, got_states[k], states[k], n, k);
  free(w), free(got);
  free_states(states), free_states(got_states);
  free_model(&ours);
  compared++;
}

/* ---- what the bits depend on ---- */

/* The first array of states that is there. */
static int first_states(const downhill_group *group) {
  int kind = STATE;
  while (element_size(group, kind) == 0) kind++;
  return kind;
}

/* Other states and other weights, if they are rounded. */
static void check_other_bits(const model *start, const model *usual, const char *what) {
  model other = stepped(start, NULL);
  const downhill_group *const group = usual->groups;
  if (rounds_states(group)) {
    const int kind = first_states(group);
    CHECK(memcmp(get_array(&other.tensors[0], kind), get_array(&usual->tensors[0], kind),
                 array_bytes(group, &usual->tensors[0], kind)) != 0,
          "%s: another %s, the same states", describe(group), what);
  }
  if (is_rounded(group->weight_type))
    CHECK(memcmp(other.tensors[0].w, usual->tensors[0].w, array_bytes(group, &usual->tensors[0], W)) != 0,
          "%s: another %s, the same weights", describe(group), what);
  free_model(&other);
  compared++;
}

static void what_bits_depend_on(model *start) {
  downhill_group *const group = start->groups;
  model once = stepped(start, NULL), again = stepped(start, pools[3]), own_t;
  compare_models(&again, &once, "with threads");
  /* A tensor's own t is as good as the group's. */
  start->tensors[0].t = group->t++;
  own_t = stepped(start, NULL);
  compare_models(&own_t, &once, "its own t");
  start->tensors[0].t = 0;
  check_other_bits(start, &once, "t");
  group->t--;
  start->tensors[0].first_element += 64;
  check_other_bits(start, &once, "first_element");
  start->tensors[0].first_element -= 64;
  group->seed++;
  check_other_bits(start, &once, "seed");
  group->seed--;
  free_model(&once), free_model(&again), free_model(&own_t);
}

/* ---- a model in pieces ---- */

static void copy_part(const downhill_group *group, const downhill_tensor *from, size_t first, downhill_tensor *to) {
  int kind;
  for (kind = 0; kind < ARRAYS; kind++) {
    const size_t size = element_size(group, kind);
    if (!has_array(group, to, kind)) continue;
    if (size == 1)
      memset(get_array(to, kind), 0, to->state_bytes);
    else
      memcpy(get_array(to, kind), (const char *)get_array(from, kind) + first * size, to->n * size);
  }
}

/* Of 8BIT what the codes are: their scales follow all codes of a tensor. */
static void compare_part(const downhill_group *group, const downhill_tensor *whole, size_t first, const downhill_tensor *part) {
  float *all[4], *some[4];
  int kind, k;
  for (kind = 0; kind < ARRAYS; kind++) {
    const size_t size = element_size(group, kind);
    if (size > 1)
      CHECK(memcmp((char *)get_array(whole, kind) + first * size, get_array(part, kind), part->n * size) == 0,
            "%s: `%s` of the part from %lu on", describe(group), array_name(group, kind), (unsigned long)first);
  }
  if (group->state_type != DOWNHILL_TYPE_8BIT) return;
  widen_states(group, whole, all), widen_states(group, part, some);
  for (k = 0; k < 4; k++)
    CHECK(all[k] == NULL || memcmp(all[k] + first, some[k], part->n * sizeof(float)) == 0, "%s: state %d of the part from %lu on",
          describe(group), k, (unsigned long)first);
  free_states(all), free_states(some);
}

/* One tensor, and the same in two, numbered as in the whole. States in eight bits start from zeros. */
static void pieces(const downhill_group *like) {
  const size_t n[] = {WHOLE, CUT, WHOLE - CUT};
  downhill_group group = *like;
  model whole, parts;
  int step;
  group.numbering = DOWNHILL_NUMBERING_GIVEN;
  group.count = 1;
  whole = new_model(1, &group, n, BY_TENSOR, 8);
  group.count = 2;
  parts = new_model(1, &group, n + 1, SHUFFLED, 8);
  fill_model(&whole, uniform);
  copy_part(&group, &whole.tensors[0], 0, &whole.tensors[0]);
  copy_part(&group, &whole.tensors[0], 0, &parts.tensors[0]);
  copy_part(&group, &whole.tensors[0], CUT, &parts.tensors[1]);
  whole.tensors[0].first_element = parts.tensors[0].first_element = 64 * 77;
  parts.tensors[1].first_element = 64 * 77 + CUT;
  for (step = 0; step < 2; step++) {
    must(&group, downhill_step(1, whole.groups, NULL, pools[3 * step], NULL));
    must(&group, downhill_step(1, parts.groups, NULL, pools[3 - 3 * step], NULL));
    whole.groups[0].t++, parts.groups[0].t++;
  }
  compare_part(&group, &whole.tensors[0], 0, &parts.tensors[0]);
  compare_part(&group, &whole.tensors[0], CUT, &parts.tensors[1]);
  free_model(&whole), free_model(&parts);
  compared++;
}

/* By place tensors follow each other, each from the next multiple of 64 on, those without a gradient included. */
static void by_place(const downhill_group *like) {
  const size_t n[] = {100, 64, 0, 70, 1, 65};
  const uint64_t numbers[] = {0, 128, 192, 192, 320, 384};
  downhill_group groups[2];
  model placed, given;
  size_t i;
  groups[0] = groups[1] = *like;
  groups[0].count = 4, groups[1].count = 2;
  placed = new_model(2, groups, n, SHUFFLED, 8);
  fill_model(&placed, uniform);
  remove_gradient(&placed.tensors[3]);
  given = copy_model(&placed);
  given.groups[0].numbering = given.groups[1].numbering = DOWNHILL_NUMBERING_GIVEN;
  for (i = 0; i < given.tensor_count; i++) given.tensors[i].first_element = numbers[i];
  take_step(&placed, NULL), take_step(&given, NULL);
  compare_models(&given, &placed, "numbers that are those of the places");
  free_model(&placed), free_model(&given);
  compared++;
}

/* ---- on average ---- */

static float third(void) { return 1.0f / 3.0f; }

static double mean(const float *x) {
  double sum = 0.0;
  size_t i;
  for (i = 0; i < MEANS; i++) sum += (double)x[i];
  return sum / MEANS;
}

/* How far a number is from the next, in parts of itself, at most. */
static double spacing(uint32_t type) {
  return type == DOWNHILL_TYPE_8BIT ? 1.0 / 8.0 : type == DOWNHILL_TYPE_BF16 ? 1.0 / 128.0 : 1.0 / 1024.0;
}

/* A deviation is not more than half of the spacing over the root of how many there are: five of them are allowed. */
static void check_mean(const downhill_group *group, const char *name, uint32_t type, const float *got, float exact) {
  const double allowed = is_rounded(type) ? 5.0 * 0.5 / 128.0 * spacing(type) * fabs((double)exact) : 1e-6 * fabs((double)exact);
  CHECK(fabs(mean(got) - (double)exact) <= allowed, "%s: `%s` is %g on average, not %g", describe(group), name, mean(got),
        (double)exact);
}

/* All elements are the same, and the mean of what they become is what a plain step makes. */
static void right_on_average(const downhill_group *like) {
  const size_t n = MEANS;
  downhill_group group = *like;
  model m;
  const downhill_tensor *tensor;
  float *w, *got, *states[4], *got_states[4];
  int k;
  group.count = 1;
  m = new_model(1, &group, &n, BY_TENSOR, 8);
  tensor = m.tensors;
  fill_model(&m, third);
  w = widened(group.weight_type, tensor->w, tensor->w_low, n);
  widen_states(m.groups, tensor, states);
  must(&group, rule_of(&group)->step(n, w, (const float *)tensor->g, states, group.t, group.config));
  must(&group, downhill_step(1, m.groups, NULL, NULL, NULL));
  got = widened(group.weight_type, tensor->w, tensor->w_low, n);
  check_mean(&group, "w", group.weight_type, got, w[0]);
  widen_states(m.groups, tensor, got_states);
  for (k = 0; k < rule_of(&group)->states; k++)
    if (states[k] != NULL && !is_running_maximum(rule_of(&group), k))
      check_mean(&group, rule_of(&group)->state[k].name, group.state_type, got_states[k], states[k][0]);
  free(w), free(got);
  free_states(states), free_states(got_states);
  free_model(&m);
  compared++;
}

/* ---- all of it ---- */

static void random_rounding(downhill_group *group) {
  const size_t n = 5000;
  model m;
  group->rounding = DOWNHILL_ROUNDING_STOCHASTIC;
  group->numbering = DOWNHILL_NUMBERING_GIVEN;
  group->seed = draw();
  group->t = 7;
  group->count = 1;
  m = new_model(1, group, &n, SHUFFLED, 8);
  m.tensors[0].first_element = 64 * (uint64_t)draw();
  fill_model(&m, uniform);
  neighbours(&m);
  what_bits_depend_on(&m);
  free_model(&m);
  pieces(group);
  right_on_average(group);
  group->numbering = DOWNHILL_NUMBERING_BY_PLACE;
  by_place(group);
}

int main(void) {
  int i, weight, state;
  make_pools();
  for (i = 0; i < RULES; i++)
    for (weight = 0; weight < WEIGHT_TYPES; weight++)
      for (state = 0; state < STATE_TYPES; state++) {
        const any_config config = configure(&rules[i], rules[i].variants - 1, L2);
        downhill_group group = new_group(&config, 0);
        group.weight_type = weight_types[weight];
        group.state_type = state_types[state];
        if (group.state_type != DOWNHILL_TYPE_8BIT || fits_in_8_bits(&config)) random_rounding(&group);
      }
  for (i = 0; i < POOLS; i++) downhill_pool_free(pools[i]);
  printf("%s: %lu comparisons of rounding at random\n", downhill_isa(), compared);
  return 0;
}
