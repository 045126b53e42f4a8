/* Groups of tensors of any types in one piece of memory, which is compared as a whole: all arrays and what is between
 * them. In the common subset of C99 and C++11. */
#ifndef MODEL_H
#define MODEL_H

#include "rules.h"
#include "types.h"

/* What a tensor has. */
enum { W, G, LOW, COPY, STATE, ARRAYS = STATE + 4 };

/* How arrays lie in memory: tensor by tensor; all weights in the order of the tensors, then all gradients, and so on; or
 * in any order. */
typedef enum { BY_TENSOR, BY_KIND, SHUFFLED, LAYOUTS } layout;

typedef struct {
  size_t count; /* of groups, which have their tensors and configurations here */
  downhill_group *groups;
  any_config *configs;
  size_t tensor_count; /* of all groups, one after another */
  downhill_tensor *tensors;
  size_t bytes;
  unsigned char *memory;
} model;

static inline void *allocate(size_t bytes) {
  void *memory = malloc(bytes + 1);
  CHECK(memory != NULL, "out of memory");
  return memory;
}

/* ---- groups and tensors ---- */

static inline const rule *rule_of(const downhill_group *group) {
  return &rules[((const any_config *)group->config)->head.rule - 1];
}

static inline const any_config *config_of(const downhill_group *group) { return (const any_config *)group->config; }

/* Can its states be in eight bits? */
static inline int fits_in_8_bits(const any_config *config) { return downhill_state_bytes(config, 0) != SIZE_MAX; }

/* All floats, rounded to nearest; to be given a configuration, a count of tensors, and types. */
static inline downhill_group new_group(const any_config *config, size_t count) {
  downhill_group group = downhill_group_default();
  group.rounding = DOWNHILL_ROUNDING_NEAREST;
  group.t = 1;
  group.config = config;
  group.count = count;
  return group;
}

/* The group's tensors, which are the model's own. */
static inline downhill_tensor *tensors_of(const downhill_group *group) { return (downhill_tensor *)group->tensors; }

static inline void *get_array(const downhill_tensor *tensor, int kind) {
  switch (kind) {
    case W: return tensor->w;
    case G: return tensor->g;
    case LOW: return tensor->w_low;
    case COPY: return tensor->w_copy;
    default: return tensor->state[kind - STATE];
  }
}

static inline void put_array(downhill_tensor *tensor, int kind, void *array) {
  switch (kind) {
    case W: tensor->w = array; break;
    case G: tensor->g = array; break;
    case LOW: tensor->w_low = (int16_t *)array; break;
    case COPY: tensor->w_copy = array; break;
    default: tensor->state[kind - STATE] = array;
  }
}

/* What an array is called in a text. */
static inline const char *array_name(const downhill_group *group, int kind) {
  static const char *const names[] = {"w", "g", "w_low", "w_copy"};
  if (kind < STATE) return names[kind];
  return group->state_type == DOWNHILL_TYPE_8BIT ? "state" : rule_of(group)->state[kind - STATE].name;
}

/* Bytes of an element, which is what the array is aligned to, and 0 where the group has no such array. (8BIT: 1.) */
static inline size_t element_size(const downhill_group *group, int kind) {
  const rule *const r = rule_of(group);
  switch (kind) {
    case W: return type_size(group->weight_type);
    case G: return type_size(group->gradient_type);
    case LOW: return group->weight_type == DOWNHILL_TYPE_SPLIT ? 2 : 0;
    case COPY: return type_size(group->copy_type);
    default:
      if (group->state_type == DOWNHILL_TYPE_8BIT) return kind == STATE && downhill_state_bytes(group->config, 1) > 0;
      if (kind - STATE >= r->states || !has_state(r, config_of(group), kind - STATE)) return 0;
      return type_size(group->state_type);
  }
}

static inline size_t array_bytes(const downhill_group *group, const downhill_tensor *tensor, int kind) {
  const size_t size = element_size(group, kind);
  return size == 1 ? tensor->state_bytes : tensor->n * size;
}

/* Is it looked at? */
static inline int has_array(const downhill_group *group, const downhill_tensor *tensor, int kind) {
  return tensor->n > 0 && tensor->g != NULL && element_size(group, kind) > 0 && get_array(tensor, kind) != NULL;
}

static inline uint64_t step_number(const downhill_group *group, const downhill_tensor *tensor) {
  return tensor->t != 0 ? tensor->t : group->t;
}

/* ---- memory ---- */

/* Bounds for some of the groups: none, either, both, and those that change nothing. */
static inline void any_bounds(model *m) {
  const double infinite = (double)INFINITY;
  const double bounds[][2] = {{0.0, 0.0}, {-0.25, 0.5}, {-infinite, 0.25}, {0.0, infinite}, {-infinite, infinite}, {0.125, 0.125}};
  size_t i;
  for (i = 0; i < m->count; i++) {
    const double *const chosen = bounds[draw() % 2 == 0 ? 0 : draw() % 6];
    m->groups[i].clamp_low = chosen[0], m->groups[i].clamp_high = chosen[1];
  }
}

/* What may be where nothing is looked at. */
static inline void *no_array(void) {
  void *const bad[] = {NULL, (void *)1, (void *)(UINTPTR_MAX - 7)};
  return bad[draw() % 3];
}

/* The numbers from 0 on, in any order. */
static inline size_t *shuffled(size_t count) {
  size_t *const order = (size_t *)allocate(count * sizeof *order);
  size_t i;
  for (i = 0; i < count; i++) {
    const size_t j = draw() % (i + 1);
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

/* The group of each tensor of a model. */
static inline size_t group_of(const model *m, size_t tensor) {
  size_t i = 0;
  while (tensor >= m->groups[i].count) tensor -= m->groups[i++].count;
  return i;
}

/* Each array at a multiple of its element's size (8BIT: at an odd address), with at least this many bytes before it. */
static inline void place_arrays(model *m, layout how, size_t gap) {
  const size_t arrays = ARRAYS * m->tensor_count;
  size_t *const order = shuffled(arrays), *const groups = (size_t *)allocate(m->tensor_count * sizeof *groups);
  size_t i, at = 0;
  for (i = 0; i < m->tensor_count; i++) groups[i] = group_of(m, i);
  for (i = 0; i < arrays; i++) {
    const size_t which = how == SHUFFLED ? order[i] : i;
    const size_t index = how == BY_KIND ? which % m->tensor_count : which / ARRAYS;
    const int kind = (int)(how == BY_KIND ? which / m->tensor_count : which % ARRAYS);
    const downhill_group *const group = &m->groups[groups[index]];
    downhill_tensor *const tensor = &m->tensors[index];
    const size_t size = element_size(group, kind);
    put_array(tensor, kind, tensor->n == 0 ? no_array() : NULL);
    if (tensor->n == 0 || size == 0) continue;
    at += gap;
    at = size == 1 ? at | 1 : (at + size - 1) / size * size;
    put_array(tensor, kind, m->memory + at);
    at += array_bytes(group, tensor, kind);
  }
  CHECK(at + gap <= m->bytes, "%lu bytes of %lu", (unsigned long)at, (unsigned long)m->bytes);
  free(order);
  free(groups);
}

/* Like these groups, with tensors of such lengths: those of the first group, then those of the next. */
static inline model new_model(size_t count, const downhill_group *groups, const size_t *n, layout how, size_t gap) {
  model m;
  size_t i, j, next = 0;
  int kind;
  m.count = count;
  m.groups = (downhill_group *)allocate(count * sizeof *m.groups);
  m.configs = (any_config *)allocate(count * sizeof *m.configs);
  m.tensor_count = 0;
  for (i = 0; i < count; i++) m.tensor_count += groups[i].count;
  m.tensors = (downhill_tensor *)allocate(m.tensor_count * sizeof *m.tensors);
  memset(m.tensors, 0, m.tensor_count * sizeof *m.tensors);
  m.bytes = gap;
  for (i = 0; i < count; i++) {
    m.configs[i] = *config_of(&groups[i]);
    m.groups[i] = groups[i];
    m.groups[i].config = &m.configs[i];
    m.groups[i].tensors = m.tensors + next;
    for (j = 0; j < groups[i].count; j++, next++) {
      m.tensors[next].n = n[next];
      if (groups[i].state_type == DOWNHILL_TYPE_8BIT)
        m.tensors[next].state_bytes = downhill_state_bytes(&m.configs[i], n[next]);
      for (kind = 0; kind < ARRAYS; kind++) m.bytes += gap + 4 + array_bytes(&m.groups[i], &m.tensors[next], kind);
    }
  }
  m.memory = (unsigned char *)allocate(m.bytes);
  place_arrays(&m, how, gap);
  return m;
}

static inline model copy_model(const model *from) {
  model m = *from;
  size_t i, j;
  int kind;
  m.groups = (downhill_group *)allocate(m.count * sizeof *m.groups);
  m.configs = (any_config *)allocate(m.count * sizeof *m.configs);
  m.tensors = (downhill_tensor *)allocate(m.tensor_count * sizeof *m.tensors);
  m.memory = (unsigned char *)allocate(m.bytes);
  memcpy(m.groups, from->groups, m.count * sizeof *m.groups);
  memcpy(m.configs, from->configs, m.count * sizeof *m.configs);
  memcpy(m.tensors, from->tensors, m.tensor_count * sizeof *m.tensors);
  memcpy(m.memory, from->memory, m.bytes);
  for (i = 0; i < m.count; i++) {
    downhill_group *const group = &m.groups[i];
    group->config = &m.configs[i];
    group->tensors = m.tensors + (from->groups[i].tensors - from->tensors);
    for (j = 0; j < group->count; j++) {
      downhill_tensor *const tensor = &tensors_of(group)[j];
      const downhill_tensor was = *tensor;
      for (kind = 0; kind < ARRAYS; kind++)
        if (has_array(group, &was, kind))
          put_array(tensor, kind, m.memory + ((unsigned char *)get_array(&was, kind) - from->memory));
    }
  }
  return m;
}

static inline void free_model(model *m) {
  free(m->groups);
  free(m->configs);
  free(m->tensors);
  free(m->memory);
}

/* ---- contents ---- */

/* A prime number of numbers, which no block or vector has, again and again. */
enum { PERIOD = 50021 };
typedef struct {
  float numbers[PERIOD];
  size_t next;
} sequence;

static inline float next_number(sequence *s) {
  if (s->next == PERIOD) s->next = 0;
  return s->numbers[s->next++];
}

static inline void fill_states_8bit(const downhill_group *group, const downhill_tensor *tensor, sequence *s) {
  const rule *const r = rule_of(group);
  float *states[4] = {NULL, NULL, NULL, NULL};
  size_t i;
  int k;
  for (k = 0; k < r->states; k++) {
    if (!has_state(r, config_of(group), k)) continue;
    states[k] = (float *)allocate(tensor->n * sizeof(float));
    for (i = 0; i < tensor->n; i++) states[k][i] = r->state[k].is_square ? fabsf(next_number(s)) : next_number(s);
  }
  CHECK(downhill_pack(group->config, tensor->n, (const float *const *)states, tensor->state[0], tensor->state_bytes) ==
            DOWNHILL_STATUS_OK,
        "%s: %s",
        r->name, downhill_last_error());
  for (k = 0; k < r->states; k++) free(states[k]);
}

static inline void fill_array(const downhill_group *group, const downhill_tensor *tensor, int kind, sequence *s) {
  void *const array = get_array(tensor, kind);
  const int is_square = kind >= STATE && rule_of(group)->state[kind - STATE].is_square;
  const uint32_t type = kind == W ? group->weight_type : kind == G ? group->gradient_type : group->state_type;
  size_t i;
  for (i = 0; i < tensor->n; i++) {
    const float x = next_number(s);
    put_element(type, array, tensor->w_low, i, is_square ? fabsf(x) : x);
  }
}

/* Numbers in all weights, gradients and states; any bytes in copies, and between arrays. */
static inline void fill_model(model *m, float (*number)(void)) {
  sequence *const s = (sequence *)allocate(sizeof *s);
  size_t i, j;
  int kind;
  for (i = 0; i < PERIOD && i < m->bytes; i++) s->numbers[i] = number();
  for (; i < PERIOD; i++) s->numbers[i] = s->numbers[0];
  s->next = 0;
  for (i = 0; i < m->bytes; i++) m->memory[i] = (unsigned char)(i < PERIOD ? draw() >> 8 : m->memory[i - PERIOD]);
  for (i = 0; i < m->count; i++)
    for (j = 0; j < m->groups[i].count; j++) {
      const downhill_group *const group = &m->groups[i];
      const downhill_tensor *const tensor = &group->tensors[j];
      const int is_8bit = group->state_type == DOWNHILL_TYPE_8BIT;
      for (kind = 0; kind < ARRAYS; kind++)
        if (has_array(group, tensor, kind) && kind != LOW && kind != COPY && !(is_8bit && kind >= STATE))
          fill_array(group, tensor, kind, s);
      if (is_8bit && has_array(group, tensor, STATE)) fill_states_8bit(group, tensor, s);
    }
  free(s);
}

/* Takes a tensor's gradient away; what is in its arrays is then between arrays, and nothing else of it is looked at. */
static inline void remove_gradient(downhill_tensor *tensor) {
  int kind;
  for (kind = 0; kind < ARRAYS; kind++) put_array(tensor, kind, no_array());
  tensor->g = NULL;
}

/* ---- comparison ---- */

/* All numbers that are NaN get the same bits. */
static inline void one_nan(const downhill_group *group, const downhill_tensor *tensor, int kind) {
  void *const array = get_array(tensor, kind);
  const uint32_t type = kind == W   ? group->weight_type
                        : kind == G ? group->gradient_type
                        : kind == COPY ? group->copy_type
                                       : group->state_type;
  size_t i;
  for (i = 0; i < tensor->n; i++)
    if (isnan(get_element(type, array, tensor->w_low, i))) {
      /* Of a NaN in two halves the lower one is 0. */
      if (type == DOWNHILL_TYPE_SPLIT)
        ((uint16_t *)array)[i] = to_bf16((float)NAN);
      else
        put_element(type, array, NULL, i, (float)NAN);
    }
}

static inline void one_nan_everywhere(const model *m) {
  size_t i, j;
  int kind;
  for (i = 0; i < m->count; i++)
    for (j = 0; j < m->groups[i].count; j++)
      for (kind = 0; kind < ARRAYS; kind++) {
        const downhill_group *const group = &m->groups[i];
        if (has_array(group, &group->tensors[j], kind) && kind != LOW && element_size(group, kind) > 1)
          one_nan(group, &group->tensors[j], kind);
      }
}

/* Which array of which tensor has this byte: "group 1 tensor 3 `w` element 17", "between arrays". */
static inline const char *locate(const model *m, size_t at) {
  static char text[100];
  size_t i, j;
  int kind;
  snprintf(text, sizeof text, "between arrays");
  for (i = 0; i < m->count; i++)
    for (j = 0; j < m->groups[i].count; j++)
      for (kind = 0; kind < ARRAYS; kind++) {
        const downhill_group *const group = &m->groups[i];
        const downhill_tensor *const tensor = &group->tensors[j];
        size_t from;
        if (!has_array(group, tensor, kind)) continue;
        from = (size_t)((unsigned char *)get_array(tensor, kind) - m->memory);
        if (at >= from && at - from < array_bytes(group, tensor, kind))
          snprintf(text, sizeof text, "group %lu tensor %lu `%s` element %lu of %lu", (unsigned long)i, (unsigned long)j,
                   array_name(group, kind), (unsigned long)((at - from) / element_size(group, kind)), (unsigned long)tensor->n);
      }
  return text;
}

/* The first byte that is not the same, or how many there are. */
static inline size_t difference(const model *a, const model *b) {
  size_t i = 0;
  if (memcmp(a->memory, b->memory, a->bytes) == 0) return a->bytes;
  one_nan_everywhere(a), one_nan_everywhere(b);
  while (i < a->bytes && a->memory[i] == b->memory[i]) i++;
  return i;
}

/* "f32/bf16/8bit/none of adam": the types of weights, gradients, states and copies. */
static inline const char *describe(const downhill_group *group) {
  static const char *const names[] = {"none", "f32", "bf16", "f16", "split", "8bit"};
  static char text[80];
  snprintf(text, sizeof text, "%s/%s/%s/%s of %s", names[group->weight_type], names[group->gradient_type],
           names[group->state_type], names[group->copy_type], rule_of(group)->name);
  return text;
}

static inline void compare_models(const model *got, const model *wanted, const char *what) {
  const size_t at = difference(got, wanted);
  CHECK(at == got->bytes, "%s: %s, byte %lu: %d, not %d; first group %s", what, locate(got, at), (unsigned long)at,
        got->memory[at], wanted->memory[at], got->count > 0 ? describe(&got->groups[0]) : "none");
}

#endif
