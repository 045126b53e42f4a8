/* Whole steps of tensors of any types, rounded to nearest: the bits of "widen, plain step, round" for every rule and every
 * combination. Split weights are floats without a loss. Conversions against plain C, number by number. */
#include "pools.h"

#include "plain.h"

enum { STEPS = 2, LARGE = 200003 };

static unsigned long compared;

/* ---- steps ---- */

static void compare_steps(const model *start, const downhill_extras *extras, downhill_pool *pool) {
  model ours = copy_model(start), plain = copy_model(start);
  downhill_report report = downhill_report_default(), wanted;
  size_t i;
  int step;
  for (step = 0; step < STEPS; step++) {
    wanted = plain_step(&plain, extras);
    CHECK(downhill_step(ours.count, ours.groups, extras, pool, &report) == DOWNHILL_STATUS_OK, "%s: %s",
          describe(&ours.groups[0]), downhill_last_error());
    compare_reports(&report, &wanted, describe(&ours.groups[0]));
    compare_models(&ours, &plain, "any types");
    for (i = 0; i < ours.count; i++) ours.groups[i].t++, plain.groups[i].t++;
    compared++;
  }
  free_model(&ours), free_model(&plain);
}

static downhill_extras any_extras(void) {
  downhill_extras extras = downhill_extras_default();
  if (draw() % 2 == 0) extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD;
  if (draw() % 2 == 0) extras.grad_scale = 0.5;
  if (draw() % 2 == 0) extras.max_norm = 1.5;
  return extras;
}

/* Calls `f` with a group of each combination of types that the configuration can have. */
static void each_combination(const any_config *config, void (*f)(downhill_group *group)) {
  int weight, gradient, state, copy;
  for (weight = 0; weight < WEIGHT_TYPES; weight++)
    for (gradient = 0; gradient < GRADIENT_TYPES; gradient++)
      for (state = 0; state < STATE_TYPES; state++)
        for (copy = 0; copy < COPY_TYPES; copy++) {
          downhill_group group = new_group(config, 0);
          group.weight_type = weight_types[weight];
          group.gradient_type = gradient_types[gradient];
          group.state_type = state_types[state];
          group.copy_type = copy_types[copy];
          group.t = 1 + draw() % 1000;
          if (group.state_type != DOWNHILL_TYPE_8BIT || fits_in_8_bits(config)) f(&group);
        }
}

/* Around blocks of 64, with weights that are no number, too. A tensor without a copy, one without a gradient. */
static void every_length(downhill_group *group) {
  const size_t n[] = {1, 63, 0, 64, 65, 130, 7};
  const downhill_extras extras = any_extras();
  model m;
  group->count = 7;
  m = new_model(1, group, n, (layout)(draw() % LAYOUTS), draw() % 50);
  any_bounds(&m);
  fill_model(&m, draw() % 2 == 0 ? any_float : uniform);
  m.tensors[3].w_copy = NULL;
  m.tensors[4].t = 7;
  remove_gradient(&m.tensors[5]);
  compare_steps(&m, &extras, pools[draw() % POOLS]);
  free_model(&m);
}

/* Groups of every type at once, by threads. */
static void large_mixture(size_t first_pool) {
  enum { GROUPS = 6 };
  any_config configs[GROUPS];
  downhill_group groups[GROUPS];
  size_t n[2 * GROUPS], i;
  const downhill_extras extras = any_extras();
  model m;
  for (i = 0; i < GROUPS; i++) {
    const rule *const r = &rules[draw() % RULES];
    configs[i] = configure(r, (int)(draw() % (uint32_t)r->variants), (decay_option)(draw() % DECAYS));
    groups[i] = new_group(&configs[i], 2);
    groups[i].weight_type = weight_types[i % WEIGHT_TYPES];
    groups[i].gradient_type = gradient_types[draw() % GRADIENT_TYPES];
    groups[i].state_type = state_types[draw() % (fits_in_8_bits(&configs[i]) ? 3 : 2)];
    groups[i].copy_type = copy_types[draw() % COPY_TYPES];
    n[2 * i] = draw() % 3 == 0 ? (size_t)LARGE : draw() % 5000;
    n[2 * i + 1] = 60000 + draw() % 1000;
  }
  m = new_model(GROUPS, groups, n, SHUFFLED, 10);
  any_bounds(&m);
  fill_model(&m, any_float);
  for (i = first_pool; i < POOLS; i += 2) compare_steps(&m, &extras, pools[i]);
  free_model(&m);
}

/* ---- split weights ---- */

/* The floats in two halves are at each step what float weights are. */
static void split_is_lossless(const any_config *config) {
  const size_t n[] = {1000, 3};
  downhill_group group = new_group(config, 2);
  model whole, split;
  size_t i, j;
  uint64_t t;
  whole = new_model(1, &group, n, BY_TENSOR, 4);
  fill_model(&whole, uniform);
  group.weight_type = DOWNHILL_TYPE_SPLIT;
  split = new_model(1, &group, n, SHUFFLED, 4);
  for (i = 0; i < 2; i++) {
    const downhill_tensor *const a = &whole.tensors[i];
    downhill_tensor *const b = &split.tensors[i];
    CHECK(downhill_convert(n[i], DOWNHILL_TYPE_F32, a->w, NULL, DOWNHILL_TYPE_SPLIT, b->w, b->w_low) == DOWNHILL_STATUS_OK,
          "%s", downhill_last_error());
    memcpy(b->g, a->g, n[i] * sizeof(float));
    for (j = 0; j < 4; j++)
      if (a->state[j] != NULL) memcpy(b->state[j], a->state[j], n[i] * sizeof(float));
  }
  for (t = 1; t <= 20; t++) {
    whole.groups[0].t = split.groups[0].t = t;
    CHECK(downhill_step(1, whole.groups, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(downhill_step(1, split.groups, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  }
  for (i = 0; i < 2; i++) {
    float back[1000];
    const downhill_tensor *const b = &split.tensors[i];
    CHECK(downhill_convert(n[i], DOWNHILL_TYPE_SPLIT, b->w, b->w_low, DOWNHILL_TYPE_F32, back, NULL) == DOWNHILL_STATUS_OK,
          "%s", downhill_last_error());
    CHECK(memcmp(back, whole.tensors[i].w, n[i] * sizeof(float)) == 0, "%s: split weights are not the floats",
          rule_of(&group)->name);
  }
  free_model(&whole), free_model(&split);
  compared++;
}

/* ---- conversion ---- */

enum { CODES = 65536, FLOATS = 200000 };

/* `n` numbers from one type to another, against plain C. */
static void convert(size_t n, uint32_t from_type, const void *from, const int16_t *from_low, uint32_t to_type) {
  uint16_t *const to = (uint16_t *)allocate(n * 4);
  int16_t *const to_low = (int16_t *)allocate(n * 2);
  const int is_split = to_type == DOWNHILL_TYPE_SPLIT;
  uint16_t wanted[2];
  int16_t wanted_low;
  size_t i;
  CHECK(downhill_convert(n, from_type, from, from_low, to_type, to, is_split ? to_low : NULL) == DOWNHILL_STATUS_OK, "%s",
        downhill_last_error());
  for (i = 0; i < n; i++) {
    const float x = get_element(from_type, from, from_low, i), y = get_element(to_type, to, to_low, i);
    put_element(to_type, wanted, &wanted_low, 0, x);
    CHECK(same(y, get_element(to_type, wanted, &wanted_low, 0)), "type %lu to %lu: %a is %a", (unsigned long)from_type,
          (unsigned long)to_type, (double)x, (double)y);
    CHECK(!is_split || isnan(x) || (to[i] == wanted[0] && to_low[i] == wanted_low), "the halves of %a are %x and %x", (double)x,
          to[i], (unsigned)to_low[i]);
    CHECK(!is_split || !isnan(x) || ((to[i] & 0x40) != 0 && to_low[i] == 0), "a NaN in halves is %x and %x", to[i],
          (unsigned)to_low[i]);
  }
  free(to), free(to_low);
  compared++;
}

/* Into every type; a length that no vector has, and each short one. */
static void convert_all(size_t n, uint32_t from_type, const void *from, const int16_t *from_low) {
  size_t i, length;
  for (i = 0; i < WEIGHT_TYPES; i++) {
    convert(n, from_type, from, from_low, weight_types[i]);
    for (length = 0; length < 70; length++) convert(length, from_type, from, from_low, weight_types[i]);
  }
}

/* Every number of 16 bits, and floats next to what rounds up and down. */
static void conversions(void) {
  uint16_t *const codes = (uint16_t *)allocate(CODES * sizeof *codes);
  int16_t *const low = (int16_t *)allocate(CODES * sizeof *low);
  float *const floats = (float *)allocate(FLOATS * sizeof *floats);
  size_t i;
  for (i = 0; i < CODES; i++) codes[i] = (uint16_t)i, low[i] = (int16_t)(draw() >> 16);
  convert_all(CODES, DOWNHILL_TYPE_BF16, codes, NULL);
  convert_all(CODES, DOWNHILL_TYPE_F16, codes, NULL);
  convert_all(CODES, DOWNHILL_TYPE_SPLIT, codes, low);
  for (i = 0; i < FLOATS; i++) {
    const float x = from_f16((uint16_t)draw()), near[] = {x, from_f16((uint16_t)i)};
    switch (i % 4) {
      case 0: floats[i] = float_of(draw()); break;
      case 1: floats[i] = float_of((draw() & 0xffff0000u) | 0x7fff); break;
      case 2: floats[i] = float_of(((uint32_t)i << 15) + draw() % 3 - 1); break;
      default: floats[i] = float_of((bits_of(near[draw() % 2]) + 0x1000u) + draw() % 3 - 1);
    }
  }
  convert_all(FLOATS, DOWNHILL_TYPE_F32, floats, NULL);
  free(codes), free(low), free(floats);
}

/* ---- eight bits ---- */

/* What is packed comes back as its nearest code, which is not more than 1/16 of it away; of a signed state 2^-17 of its block's
 * largest, half of the spacing next to zero. */
static void there_and_back(const any_config *config) {
  enum { N = 1000 };
  const rule *const r = &rules[config->head.rule - 1];
  const size_t bytes = downhill_state_bytes(config, N);
  float states[MOST_STATES][N], *there[4] = {NULL, NULL, NULL, NULL}, back[MOST_STATES][N], *again[4] = {NULL, NULL, NULL, NULL};
  unsigned char *const packed = (unsigned char *)allocate(bytes);
  size_t i, j;
  int k;
  for (k = 0; k < r->states; k++) {
    if (!has_state(r, config, k)) continue;
    there[k] = states[k], again[k] = back[k];
    for (i = 0; i < N; i++) states[k][i] = r->state[k].is_square ? fabsf(uniform()) + 1e-6f : uniform();
  }
  CHECK(downhill_pack(config, N, (const float *const *)there, packed, bytes) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(downhill_unpack(config, N, packed, bytes, again) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  for (k = 0; k < r->states; k++)
    for (i = 0; i < N && there[k] != NULL; i++) {
      float largest = 0.0f, allowed;
      for (j = i / 64 * 64; j < N && j < i / 64 * 64 + 64; j++) largest = fmaxf(largest, fabsf(states[k][j]));
      allowed = fabsf(states[k][i]) / 16.0f + (r->state[k].is_square ? 0.0f : ldexpf(largest, -17));
      CHECK(fabsf(back[k][i] - states[k][i]) <= allowed, "%s: `%s` %g comes back as %g", r->name, r->state[k].name,
            (double)states[k][i], (double)back[k][i]);
    }
  free(packed);
  compared++;
}

/* 65 for each block of 64 and each state; nothing of no elements; nothing for too many. */
static void state_bytes(const any_config *config) {
  const size_t n[] = {0, 1, 63, 64, 65, 1000};
  const rule *const r = &rules[config->head.rule - 1];
  size_t states = 0, i;
  int k;
  for (k = 0; k < r->states; k++) states += has_state(r, config, k) ? 1 : 0;
  for (i = 0; i < sizeof n / sizeof *n; i++)
    CHECK(downhill_state_bytes(config, n[i]) == states * (64 + 1) * ((n[i] + 63) / 64), "%s: %lu bytes for %lu elements", r->name,
          (unsigned long)downhill_state_bytes(config, n[i]), (unsigned long)n[i]);
  if (states > 0) CHECK(downhill_state_bytes(config, SIZE_MAX) == SIZE_MAX, "%s: too many", r->name);
}

int main(void) {
  int i, variant, decay;
  make_pools();
  for (i = 0; i < RULES; i++) {
    const rule *const r = &rules[i];
    for (variant = 0; variant < r->variants; variant++)
      for (decay = NO_DECAY; decay < DECAYS; decay++) {
        const any_config config = configure(r, variant, (decay_option)decay);
        each_combination(&config, every_length);
        split_is_lossless(&config);
        if (!fits_in_8_bits(&config)) continue;
        there_and_back(&config);
        state_bytes(&config);
      }
  }
  for (i = 0; i < 2; i++) large_mixture((size_t)i);
  conversions();
  free_pools();
  printf("%s: %lu comparisons of types\n", downhill_isa(), compared);
  return 0;
}
