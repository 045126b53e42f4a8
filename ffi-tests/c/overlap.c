/* What is written may share memory with nothing else that is passed, and what is only read may: every array with every other
 * one, of the same tensor, group or of others, and with every structure; in lists of any order. */
#include "refusals.h"

enum { GROUPS = 2, COUNT = 3, TENSORS = GROUPS * COUNT, EMPTY = 1, GAP = 300 };

static const size_t sizes[TENSORS] = {40, 0, 23, 17, 0, 31};

/* Element 0 of an array is moved to this byte, which must be refused: it is of what both texts name. */
static void refuse_at(scene *s, downhill_tensor *tensor, const downhill_group *group, int kind, const void *at,
                      const char *one, const char *other) {
  void *const was = get_array(tensor, kind);
  const uintptr_t size = element_size(group, kind);
  put_array(tensor, kind, (void *)((uintptr_t)at / size * size));
  refuse(s, DOWNHILL_STATUS_OVERLAP, one, other, "share memory");
  put_array(tensor, kind, was);
}

/* `w` of group 0, tensor 2 at; two at a time. */
static const char *array_of_tensor(const scene *s, size_t tensor, int kind) {
  static char texts[2][80];
  static int last;
  const size_t group = group_of(&s->m, tensor);
  last = 1 - last;
  snprintf(texts[last], sizeof texts[last], "`%s` of group %lu, tensor %lu at", array_name(&s->m.groups[group], kind),
           (unsigned long)group, (unsigned long)(&s->m.tensors[tensor] - s->m.groups[group].tensors));
  return texts[last];
}

/* Moves an array so that it has the last byte of another one, all it can, the first byte. */
static void overlap(scene *s, size_t tensor, int kind, size_t other, int other_kind) {
  const downhill_group *const group = &s->m.groups[group_of(&s->m, tensor)], *const others = &s->m.groups[group_of(&s->m, other)];
  downhill_tensor *const moved = &s->m.tensors[tensor];
  const size_t bytes = array_bytes(group, moved, kind), size = element_size(group, kind),
               other_bytes = array_bytes(others, &s->m.tensors[other], other_kind);
  const char *const at = (const char *)get_array(&s->m.tensors[other], other_kind);
  const char *const one = array_of_tensor(s, tensor, kind), *const two = array_of_tensor(s, other, other_kind);
  refuse_at(s, moved, group, kind, at, one, two);
  refuse_at(s, moved, group, kind, at + other_bytes - 1, one, two);
  /* Its last element has the first byte. */
  refuse_at(s, moved, group, kind, at - bytes + size, one, two);
}

static void every_two_arrays(scene *s) {
  size_t i, j;
  int k, m;
  for (i = 0; i < s->m.tensor_count; i++)
    for (j = 0; j < s->m.tensor_count; j++)
      for (k = 0; k < ARRAYS; k++)
        for (m = 0; m < ARRAYS; m++) {
          const downhill_group *const a = &s->m.groups[group_of(&s->m, i)], *const b = &s->m.groups[group_of(&s->m, j)];
          if (has_array(a, &s->m.tensors[i], k) && has_array(b, &s->m.tensors[j], m) && (i != j || k != m)) overlap(s, i, k, j, m);
        }
}

/* Gradients that are only read may be the same one, or parts of it, and others may have weights between theirs. */
static void gradients_that_are_read(scene *s) {
  const uint32_t flags = s->extras.flags;
  void *was[TENSORS];
  size_t i;
  for (i = 0; i < TENSORS; i++) was[i] = s->m.tensors[i].g;
  for (i = 0; i < TENSORS; i++)
    if (sizes[i] > 0 && i != 0) s->m.tensors[i].g = s->m.tensors[0].g;
  refuse(s, DOWNHILL_STATUS_OVERLAP, "`g` of group", "`g` of group", "share memory");
  s->extras.flags &= ~(uint32_t)DOWNHILL_EXTRAS_ZERO_GRAD;
  accept(s);
  for (i = 0; i < TENSORS; i++)
    if (sizes[i] > 0 && i != 0) s->m.tensors[i].g = (char *)s->m.tensors[0].g + 4;
  accept(s);
  /* But nothing that is written may be in one. */
  refuse_at(s, &s->m.tensors[2], &s->m.groups[0], W, (char *)s->m.tensors[0].g + 8, "`w` of group 0, tensor 2 at", "`g` of group");
  for (i = 0; i < TENSORS; i++) s->m.tensors[i].g = was[i];
  s->extras.flags = flags;
}

/* ---- structures ---- */

/* An array that is written, at the first or the last byte of a structure. */
static void arrays_in(scene *s, const void *structure, size_t bytes, const char *name) {
  const char *const start = (const char *)structure;
  size_t i;
  int kind;
  for (i = 0; i < TENSORS; i++)
    for (kind = 0; kind < ARRAYS; kind++) {
      const downhill_group *const group = &s->m.groups[group_of(&s->m, i)];
      downhill_tensor *const tensor = &s->m.tensors[i];
      const char *array;
      if (!has_array(group, tensor, kind)) continue;
      array = array_of_tensor(s, i, kind);
      refuse_at(s, tensor, group, kind, start, array, name);
      refuse_at(s, tensor, group, kind, start + bytes - 1, array, name);
      refuse_at(s, tensor, group, kind, start - array_bytes(group, tensor, kind) + element_size(group, kind), array, name);
    }
}

/* In memory of their own, so that arrays of any length fit around them. */
static void arrays_in_structures(scene *s) {
  enum { ROOM = 4096 };
  const model was = s->m;
  const downhill_group groups_were[GROUPS] = {s->m.groups[0], s->m.groups[1]};
  char *const memory = (char *)calloc(6, ROOM);
  downhill_group *const groups = (downhill_group *)(void *)(memory + ROOM);
  downhill_tensor *const tensors = (downhill_tensor *)(void *)(memory + 2 * ROOM);
  any_config *const config = (any_config *)(void *)(memory + 3 * ROOM);
  CHECK(memory != NULL, "no memory");
  memcpy(tensors, was.tensors, TENSORS * sizeof *tensors);
  *config = *config_of(&was.groups[0]);
  s->m.groups = groups, s->m.tensors = tensors;
  groups[0] = groups_were[0], groups[1] = groups_were[1];
  groups[0].config = config, groups[0].tensors = tensors, groups[1].tensors = tensors + COUNT;
  arrays_in(s, groups, GROUPS * sizeof *groups, "`groups` at");
  arrays_in(s, tensors, TENSORS * sizeof *tensors, "`tensors` at");
  arrays_in(s, config, rule_of(&groups[0])->config_size, "`config` at");
  arrays_in(s, &s->report, sizeof s->report, "`report` at");
  arrays_in(s, &s->extras, sizeof s->extras, "`extras` at");
  s->m = was;
  free(memory);
}

/* The report where something else is, which has its size there by chance. */
static void report_in(scene *s, const void *at, const downhill_extras *extras, const char *name) {
  call c = usual(s);
  c.extras = extras;
  c.report = (downhill_report *)at;
  expect(s, &c, DOWNHILL_STATUS_OVERLAP, "`report` at", name, "share memory");
}

static void the_report_in_structures(scene *s) {
  const uint32_t size = (uint32_t)sizeof(downhill_report);
  const uint64_t twice = (uint64_t)size << 32 | size;
  any_config *const config = &s->m.configs[0];
  struct {
    downhill_extras known;
    unsigned char zeros[sizeof(downhill_report)];
  } extras;
  memset(&extras, 0, sizeof extras);
  extras.known = s->extras;
  extras.known.struct_size = size;
  report_in(s, &extras, &extras.known, "`extras` at");
  s->m.groups[0].seed = s->m.tensors[0].t = twice;
  report_in(s, &s->m.groups[0].seed, &s->extras, "`groups` at");
  report_in(s, &s->m.tensors[0].t, &s->extras, "`tensors` at");
  if (rule_of(&s->m.groups[0])->config_size > size) return;
  config->head.struct_size = size;
  report_in(s, config, &s->extras, "`config` at");
}

/* A configuration that is in the list of tensors, which may be, as both are only read. What is in the list in front of it is
 * still not to be written. */
static void a_configuration_among_tensors(void) {
  struct {
    downhill_tensor tensors[2];
    float w[5], g[5];
  } memory;
  float *const w = memory.w, *const g = memory.g;
  downhill_tensor *const tensors = memory.tensors, *const second = tensors + 1;
  downhill_tensor other;
  downhill_sgd config = downhill_sgd_default();
  downhill_group groups[2];
  /* The second tensor's n and w are also numbers. */
  if (sizeof(size_t) != sizeof(double)) return;
  memset(&memory, 0, sizeof memory);
  memset(&other, 0, sizeof other);
  second->n = 4, second->w = w, second->g = g;
  memcpy(&config.lr, &second->n, sizeof second->n);
  memcpy(&config.weight_decay, &second->w, sizeof second->w);
  memcpy(&tensors[0].row_t, &config, sizeof config);
  groups[0] = new_group((const any_config *)(void *)&tensors[0].row_t, 2);
  groups[1] = groups[0];
  groups[0].tensors = tensors;
  groups[1].count = 1, groups[1].tensors = &other;
  other.n = 1, other.w = w + 4, other.g = g;
  CHECK(downhill_step(2, groups, NULL, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  other.w = tensors;
  CHECK(downhill_step(2, groups, NULL, NULL, NULL) == DOWNHILL_STATUS_OVERLAP, "the list of tensors was written");
  CHECK(strstr(downhill_last_error(), "`tensors` at") != NULL, "%s", downhill_last_error());
}

/* ---- long lists ---- */

/* Any two of very many arrays, in any order. */
static void two_of_a_long_list(const downhill_group *like, layout how) {
  enum { MANY = 150, TRIES = 60 };
  size_t n[MANY], i;
  downhill_group groups[3];
  scene s;
  for (i = 0; i < MANY; i++) n[i] = draw() % 10 == 0 ? 0 : 1 + draw() % 60;
  for (i = 0; i < 3; i++) groups[i] = *like, groups[i].count = MANY / 3;
  s = set_scene(3, groups, n, how, GAP, NULL);
  accept(&s);
  for (i = 0; i < TRIES; i++) {
    const size_t a = draw() % MANY, b = draw() % MANY;
    const int k = (int)(draw() % ARRAYS), m = (int)(draw() % ARRAYS);
    if (has_array(&groups[0], &s.m.tensors[a], k) && has_array(&groups[0], &s.m.tensors[b], m) && (a != b || k != m))
      overlap(&s, a, k, b, m);
  }
  /* Two tensors that are one. */
  for (i = 0; s.m.tensors[i].n == 0;) i++;
  s.m.tensors[MANY - 1] = s.m.tensors[i];
  refuse(&s, DOWNHILL_STATUS_OVERLAP, "of group 0, tensor ", "of group 2, tensor 49 at", "share memory");
  free_scene(&s);
}

/* Arrays that only touch are apart, and those without elements are nowhere, even in the midst of others. */
static void touching_arrays(const downhill_group *like, layout how) {
  const size_t n[] = {64, 0, 128, 64};
  downhill_group group = *like;
  scene s;
  int kind;
  group.count = 4;
  s = set_scene(1, &group, n, how, 0, NULL);
  for (kind = 0; kind < ARRAYS; kind++) put_array(&s.m.tensors[EMPTY], kind, (char *)s.m.tensors[2].w + 1);
  accept(&s);
  remove_gradient(&s.m.tensors[2]);
  for (kind = 0; kind < ARRAYS; kind++)
    if (kind != G) put_array(&s.m.tensors[2], kind, s.m.tensors[0].w);
  accept(&s);
  free_scene(&s);
}

int main(void) {
  downhill_pool *const pool = downhill_pool_new(2);
  int i, how;
  for (i = 0; i < RULES; i++)
    for (how = 0; how < LAYOUTS; how++) {
      const any_config config = configure(&rules[i], rules[i].variants - 1, L2),
                       next = configure(&rules[(i + 1) % RULES], 0, DECOUPLED);
      downhill_group groups[GROUPS];
      scene s;
      groups[0] = new_group(&config, COUNT), groups[1] = new_group(&next, COUNT);
      groups[0].weight_type = weight_types[(i + how) % WEIGHT_TYPES];
      groups[1].weight_type = DOWNHILL_TYPE_SPLIT;
      groups[0].state_type = state_types[(i + how) % (fits_in_8_bits(&config) ? 3 : 2)];
      groups[1].state_type = state_types[i % 2];
      groups[0].copy_type = copy_types[how];
      groups[1].copy_type = copy_types[(i + 2 * how) % COPY_TYPES];
      s = set_scene(GROUPS, groups, sizes, (layout)how, GAP, how % 2 == 0 ? NULL : pool);
      every_two_arrays(&s);
      free_scene(&s);
      s = set_scene(GROUPS, groups, sizes, (layout)how, GAP, how % 2 == 0 ? NULL : pool);
      gradients_that_are_read(&s);
      arrays_in_structures(&s);
      the_report_in_structures(&s);
      free_scene(&s);
      two_of_a_long_list(&groups[0], (layout)how);
      touching_arrays(&groups[0], (layout)how);
    }
  a_configuration_among_tensors();
  downhill_pool_free(pool);
  printf("%lu calls, each with the right status and nothing written\n", cases);
  return 0;
}
