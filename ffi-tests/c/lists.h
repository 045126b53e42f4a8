/* Lists of tensors in one piece of memory, which is compared as a whole: all arrays and what is between them.
 * In the common subset of C99 and C++11. */
#ifndef LISTS_H
#define LISTS_H

#include "rules.h"

enum { ARRAYS = 2 + MOST_STATES };

/* How the arrays stand in memory: tensor by tensor (w, g, states); all w in the order of the list, then all g, and
 * so on; or in any order. */
typedef enum { BY_TENSOR, BY_KIND, SHUFFLED, LAYOUTS } layout;

typedef struct {
  size_t count, length; /* of tensors; of memory, in floats */
  int arrays;           /* of each tensor: w, g and its states */
  downhill_tensor *tensors;
  float *memory;
} list;

/* ---- memory ---- */

static inline void *allocate(size_t bytes) {
  void *memory = malloc(bytes + 1);
  CHECK(memory != NULL, "out of memory");
  return memory;
}

static inline float **array_of(downhill_tensor *tensor, int k) {
  return k == 0 ? &tensor->w : k == 1 ? &tensor->g : &tensor->state[k - 2];
}

/* What may stand where nothing is looked at. */
static inline float *no_array(void) {
  float *const bad[] = {NULL, (float *)1, (float *)(UINTPTR_MAX - 7)};
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

/* Places array after array, with so many floats in front of each and behind the last. */
static inline void place(list *l, layout how, size_t gap) {
  const size_t kinds = (size_t)l->arrays, arrays = l->count * kinds;
  size_t *const order = shuffled(arrays);
  size_t i, at = gap;
  for (i = 0; i < arrays; i++) {
    const size_t which = how == SHUFFLED ? order[i] : i;
    const size_t tensor = how == BY_KIND ? which % l->count : which / kinds;
    const size_t k = how == BY_KIND ? which / l->count : which % kinds;
    if (l->tensors[tensor].n == 0) continue;
    *array_of(&l->tensors[tensor], (int)k) = l->memory + at;
    at += l->tensors[tensor].n + gap;
  }
  free(order);
}

static inline list new_list(size_t count, const size_t *n, int states, layout how, size_t gap) {
  list l;
  size_t i;
  int k;
  l.count = count;
  l.arrays = 2 + states;
  l.tensors = (downhill_tensor *)allocate(count * sizeof *l.tensors);
  l.length = gap;
  for (i = 0; i < count; i++) {
    l.tensors[i].n = n[i];
    for (k = 0; k < ARRAYS; k++) *array_of(&l.tensors[i], k) = no_array();
    l.length += (size_t)l.arrays * (n[i] + gap);
  }
  l.memory = (float *)allocate(l.length * sizeof *l.memory);
  place(&l, how, gap);
  return l;
}

static inline list copy_list(const list *from) {
  list l = *from;
  size_t i;
  int k;
  l.tensors = (downhill_tensor *)allocate(l.count * sizeof *l.tensors);
  l.memory = (float *)allocate(l.length * sizeof *l.memory);
  memcpy(l.memory, from->memory, l.length * sizeof *l.memory);
  for (i = 0; i < l.count; i++) {
    l.tensors[i] = from->tensors[i];
    for (k = 0; k < l.arrays; k++) {
      float **const array = array_of(&l.tensors[i], k);
      if (l.tensors[i].n > 0 && *array != NULL) *array = l.memory + (*array - from->memory);
    }
  }
  return l;
}

static inline void free_list(list *l) {
  free(l->tensors);
  free(l->memory);
}

/* ---- contents ---- */

/* So many numbers, again and again: a prime number of them, which no block or vector has. */
static inline void fill(list *l, float (*number)(void)) {
  const size_t period = 50021;
  size_t i;
  for (i = 0; i < l->length; i++) l->memory[i] = i < period ? number() : l->memory[i - period];
}

/* Makes a state of every tensor not negative. */
static inline void make_absolute(list *l, int state) {
  size_t i, j;
  for (i = 0; i < l->count; i++) {
    float *const array = *array_of(&l->tensors[i], 2 + state);
    for (j = 0; j < l->tensors[i].n; j++) array[j] = fabsf(array[j]);
  }
}

/* Which array of which tensor has this float of memory, if any: "tensor 3 array 2 element 17". */
static inline const char *locate(list *l, size_t at) {
  static char text[100];
  size_t i;
  int k;
  snprintf(text, sizeof text, "between arrays");
  for (i = 0; i < l->count; i++)
    for (k = 0; k < l->arrays; k++) {
      const size_t n = l->tensors[i].n;
      const size_t from = n == 0 ? 0 : (size_t)(*array_of(&l->tensors[i], k) - l->memory);
      if (at >= from && at - from < n)
        snprintf(text, sizeof text, "tensor %lu array %d element %lu", (unsigned long)i, k, (unsigned long)(at - from));
    }
  return text;
}

/* The first float that is not the same, or the length. */
static inline size_t difference(const list *a, const list *b) {
  size_t i;
  if (memcmp(a->memory, b->memory, a->length * sizeof *a->memory) == 0) return a->length;
  for (i = 0; i < a->length; i++)
    if (!same(a->memory[i], b->memory[i])) return i;
  return a->length;
}

#endif
