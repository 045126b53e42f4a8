/* The rules that step packed states, under one signature; and lists of tensors with packed states in one piece of
 * memory, which is compared as a whole. In the common subset of C99 and C++11. */
#ifndef PACKED_H
#define PACKED_H

#include "lists.h"

enum { MOST_PACKED = 2, MOST_TENSORS = 8, ROOM = 640 };

typedef downhill_status step_packed_function(size_t count, const downhill_packed_tensor *tensors, uint64_t t,
                                             const void *config, const downhill_packing *packing,
                                             const downhill_extras *extras, downhill_pool *pool,
                                             downhill_report *report);
typedef downhill_status pack_function(size_t n, float *const *s, uint32_t format, uint8_t *state, size_t state_bytes);
typedef downhill_status unpack_function(size_t n, float *const *s, uint32_t format, const uint8_t *state,
                                        size_t state_bytes);

typedef struct {
  const char *name;
  int states, squares; /* how many states; which of them is not negative, or -1 */
  step_packed_function *step;
  pack_function *pack;
  unpack_function *unpack;
} packed_rule;

#define STEP_PACKED(rule, type)                                                                                       \
  static inline downhill_status rule##_step_packed(size_t count, const downhill_packed_tensor *tensors, uint64_t t,   \
                                                   const void *config, const downhill_packing *packing,               \
                                                   const downhill_extras *extras, downhill_pool *pool,                \
                                                   downhill_report *report) {                                         \
    return downhill_##rule##_step_packed(count, tensors, t, (const downhill_##type *)config, packing, extras, pool,   \
                                         report);                                                                     \
  }

#define PACK(rule, ...)                                                                                               \
  static inline downhill_status rule##_pack(size_t n, float *const *s, uint32_t format, uint8_t *state,               \
                                            size_t state_bytes) {                                                     \
    return downhill_##rule##_pack(n, __VA_ARGS__, format, state, state_bytes);                                        \
  }                                                                                                                   \
  static inline downhill_status rule##_unpack(size_t n, float *const *s, uint32_t format, const uint8_t *state,       \
                                              size_t state_bytes) {                                                   \
    return downhill_##rule##_unpack(n, __VA_ARGS__, format, state, state_bytes);                                      \
  }

STEP_PACKED(momentum, momentum)
STEP_PACKED(adam, adam)
STEP_PACKED(adamw, adam)
STEP_PACKED(lion, lion)
PACK(momentum, s[0])
PACK(adam, s[0], s[1])
PACK(lion, s[0])

static const packed_rule packed_rules[] = {
    {"momentum", 1, -1, momentum_step_packed, momentum_pack, momentum_unpack},
    {"adam", 2, 1, adam_step_packed, adam_pack, adam_unpack},
    {"adamw", 2, 1, adamw_step_packed, adam_pack, adam_unpack},
    {"lion", 1, -1, lion_step_packed, lion_pack, lion_unpack},
};

enum { PACKED_RULES = sizeof packed_rules / sizeof *packed_rules };

/* ---- tensors ---- */

typedef struct {
  size_t count, bytes; /* of tensors; of memory, in bytes */
  size_t size;         /* of a weight: 4, or 2 of bfloat16 */
  downhill_packed_tensor tensors[MOST_TENSORS];
  unsigned char *memory;
} model;

/* w, g or state. */
static inline unsigned char *packed_array(const downhill_packed_tensor *tensor, int k) {
  return (unsigned char *)(k == 0 ? tensor->w : k == 1 ? tensor->g : tensor->state);
}

static inline void put_packed_array(downhill_packed_tensor *tensor, int k, void *array) {
  if (k == 0) tensor->w = array;
  if (k == 1) tensor->g = array;
  if (k == 2) tensor->state = (uint8_t *)array;
}

static inline size_t packed_array_bytes(const model *l, size_t tensor, int k) {
  return k < 2 ? l->size * l->tensors[tensor].n : l->tensors[tensor].state_bytes;
}

/* Weights stand at multiples of their size, and states at odd addresses. */
static inline void place_packed(model *l, layout how) {
  size_t *const order = shuffled(3 * l->count);
  size_t i, at = ROOM;
  for (i = 0; i < 3 * l->count; i++) {
    const size_t which = how == SHUFFLED ? order[i] : i;
    const size_t tensor = how == BY_KIND ? which % l->count : which / 3;
    const int k = (int)(how == BY_KIND ? which / l->count : which % 3);
    put_packed_array(&l->tensors[tensor], k, no_array());
    if (l->tensors[tensor].n == 0) continue;
    at = k < 2 ? (at + l->size - 1) / l->size * l->size : at | 1;
    put_packed_array(&l->tensors[tensor], k, l->memory + at);
    at += packed_array_bytes(l, tensor, k) + ROOM;
  }
  free(order);
}

/* Numbers of elements follow one another from `first` on, as in one large model. */
static inline model new_model(const packed_rule *r, const downhill_packing *packing, size_t count, const size_t *n,
                              uint64_t first, layout how) {
  model l;
  size_t i;
  l.count = count;
  l.size = packing->weight_format == DOWNHILL_WEIGHT_FORMAT_F32 ? 4 : 2;
  l.bytes = ROOM + 3 * count * (ROOM + 4);
  for (i = 0; i < count; i++) {
    l.tensors[i].n = n[i];
    l.tensors[i].state_bytes = downhill_packed_bytes((size_t)r->states, n[i], packing->state_format);
    l.tensors[i].first_element = first;
    first += (n[i] + 63) / 64 * 64;
    l.bytes += 2 * l.size * n[i] + l.tensors[i].state_bytes;
  }
  l.memory = (unsigned char *)allocate(l.bytes);
  for (i = 0; i < l.bytes; i++) l.memory[i] = (unsigned char)(draw() >> 8);
  place_packed(&l, how);
  return l;
}

static inline model copy_model(const model *from) {
  model l = *from;
  size_t i;
  int k;
  l.memory = (unsigned char *)allocate(l.bytes);
  memcpy(l.memory, from->memory, l.bytes);
  for (i = 0; i < l.count; i++)
    for (k = 0; k < 3; k++)
      if (l.tensors[i].n > 0)
        put_packed_array(&l.tensors[i], k, l.memory + (packed_array(&l.tensors[i], k) - from->memory));
  return l;
}

static inline float widened(uint16_t x) {
  const uint32_t bits = (uint32_t)x << 16;
  float wide;
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

/* To nearest, ties away from zero; a NaN stays one. */
static inline uint16_t narrowed(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return isnan(x) ? (uint16_t)0x7fc0 : (uint16_t)((bits + 0x8000) >> 16);
}

/* Element i of weights or of a gradient. */
static inline float get_weight(const model *l, const void *array, size_t i) {
  return l->size == 4 ? ((const float *)array)[i] : widened(((const uint16_t *)array)[i]);
}

static inline void put_weight(const model *l, void *array, size_t i, float x) {
  if (l->size == 4)
    ((float *)array)[i] = x;
  else
    ((uint16_t *)array)[i] = narrowed(x);
}

/* Weights, gradients and, unless they are to be zeros, states of such numbers. */
static inline void fill_model(const packed_rule *r, const downhill_packing *packing, model *l, float (*number)(void),
                              int zero_states) {
  size_t i, j;
  int k;
  for (i = 0; i < l->count; i++) {
    const downhill_packed_tensor *const tensor = &l->tensors[i];
    float *s[MOST_PACKED];
    for (j = 0; j < tensor->n; j++) put_weight(l, tensor->w, j, number());
    for (j = 0; j < tensor->n; j++) put_weight(l, tensor->g, j, number());
    if (zero_states && tensor->n > 0) memset(tensor->state, 0, tensor->state_bytes);
    if (zero_states) continue;
    for (k = 0; k < r->states; k++) {
      s[k] = (float *)allocate(tensor->n * sizeof(float));
      for (j = 0; j < tensor->n; j++) s[k][j] = k == r->squares ? fabsf(number()) : number();
    }
    CHECK(r->pack(tensor->n, s, packing->state_format, tensor->state, tensor->state_bytes) == DOWNHILL_STATUS_OK,
          "%s: %s", r->name, downhill_last_error());
    for (k = 0; k < r->states; k++) free(s[k]);
  }
}

#endif
