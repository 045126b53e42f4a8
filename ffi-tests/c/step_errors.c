/* Every error path of whole steps but overlap, for groups of every rule: the status, the text that names group, tensor and
 * argument, and that nothing was written. */
#include "refusals.h"

enum { GROUPS = 2, COUNT = 4, TENSORS = GROUPS * COUNT, EMPTY = 1, ABSENT = 3, GAP = 64, LONGEST = 512 };

/* Tensors of several sizes. One is empty and one has no gradient: their pointers are anything. */
static const size_t sizes[TENSORS] = {40, 0, 23, 17, 5, 0, 65, 9};

static scene both_groups(const downhill_group *group, layout how, downhill_pool *pool) {
  const downhill_group groups[GROUPS] = {*group, *group};
  scene s = set_scene(GROUPS, groups, sizes, how, GAP, pool);
  remove_gradient(&s.m.tensors[ABSENT]);
  remove_gradient(&s.m.tensors[COUNT + ABSENT]);
  return s;
}

/* ---- the list of groups ---- */

static void lists_of_groups(scene *s) {
  const size_t size = sizeof(downhill_group), too_many[] = {SIZE_MAX, SIZE_MAX / size + 2, PTRDIFF_MAX / size + 1};
  call c = usual(s);
  size_t i;
  c.groups = NULL;
  expect(s, &c, DOWNHILL_STATUS_NULL_POINTER, "`groups`", "NULL", "");
  for (i = 1; i < sizeof(void *); i++) {
    c.groups = (const downhill_group *)shifted(s->m.groups, (ptrdiff_t)i);
    expect(s, &c, DOWNHILL_STATUS_MISALIGNED, "`groups`", "multiple of", "");
  }
  c = usual(s);
  for (i = 0; i < sizeof too_many / sizeof *too_many; i++) {
    c.group_count = too_many[i];
    expect(s, &c, DOWNHILL_STATUS_INVALID_LENGTH, "`group_count`", "at most", "");
  }
}

/* ---- a group ---- */

static void types(scene *s, size_t index) {
  downhill_group *const group = &s->m.groups[index], was = *group;
  struct {
    uint32_t *field;
    const char *name, *said;
    unsigned allowed; /* bits */
  } fields[6];
  uint32_t value;
  size_t i;
  memset(fields, 0, sizeof fields);
  fields[0].field = &group->weight_type, fields[0].name = "weight_type", fields[0].allowed = 0x1e;
  fields[1].field = &group->gradient_type, fields[1].name = "gradient_type", fields[1].allowed = 0x0e;
  fields[2].field = &group->state_type, fields[2].name = "state_type", fields[2].allowed = 0x26;
  fields[3].field = &group->copy_type, fields[3].name = "copy_type", fields[3].allowed = 0x0f;
  fields[4].field = &group->rounding, fields[4].name = "rounding", fields[4].allowed = 0x03;
  fields[5].field = &group->numbering, fields[5].name = "numbering", fields[5].allowed = 0x03;
  for (i = 0; i < 6; i++)
    for (value = 0; value < 9; value++) {
      char text[60];
      *fields[i].field = value < 8 ? value : UINT32_MAX;
      snprintf(text, sizeof text, "`%s` is %lu; it must be one of", fields[i].name, (unsigned long)*fields[i].field);
      if (value >= 8 || (fields[i].allowed >> value & 1) == 0) refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), text, "");
      *group = was;
    }
}

/* Bounds that are no numbers, that are too large, or that are not in order. */
static void bounds(scene *s, size_t index) {
  const double infinite = (double)INFINITY, no_number = (double)NAN;
  const struct {
    double low, high;
    const char *name, *value;
  } wrong[] = {{no_number, 1.0, "`clamp_low`", "is NaN"},       {1.0, no_number, "`clamp_high`", "is NaN"},
               {-1e39, 1.0, "`clamp_low`", "is -1e39"},         {-1.0, 1e39, "`clamp_high`", "is 1e39"},
               {infinite, infinite, "`clamp_low`", "is inf"},   {-infinite, -infinite, "`clamp_high`", "is -inf"},
               {0.5, 0.25, "`clamp_low`", "is 0.5; it must be"}, {0.5, 0.0, "`clamp_low`", "is 0.5; it must be"}};
  downhill_group *const group = &s->m.groups[index], was = *group;
  size_t i;
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    group->clamp_low = wrong[i].low, group->clamp_high = wrong[i].high;
    refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), wrong[i].name, wrong[i].value);
  }
  group->clamp_low = -infinite, group->clamp_high = 0.0;
  accept(s);
  *group = was;
}

static void lists_of_tensors(scene *s, size_t index) {
  const size_t size = sizeof(downhill_tensor), too_many[] = {SIZE_MAX, SIZE_MAX / size + 2, PTRDIFF_MAX / size + 1};
  downhill_group *const group = &s->m.groups[index], was = *group;
  size_t i;
  group->tensors = NULL;
  refuse(s, DOWNHILL_STATUS_NULL_POINTER, in_group(index), "`tensors`", "NULL");
  for (i = 1; i < sizeof(void *); i++) {
    group->tensors = (const downhill_tensor *)shifted(was.tensors, (ptrdiff_t)i);
    refuse(s, DOWNHILL_STATUS_MISALIGNED, in_group(index), "`tensors`", "multiple of");
  }
  group->tensors = (const downhill_tensor *)at_the_end();
  refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, in_group(index), "`tensors`", "address space");
  *group = was;
  for (i = 0; i < sizeof too_many / sizeof *too_many; i++) {
    group->count = too_many[i];
    refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, in_group(index), "`count`", "at most");
  }
  *group = was;
}

static void configurations(scene *s, size_t index) {
  const double never[] = {-1e-300, 1e300, (double)NAN, (double)INFINITY};
  downhill_group *const group = &s->m.groups[index];
  any_config *const config = &s->m.configs[index], was = *config;
  const rule *const r = rule_of(group);
  const uint32_t unknown[] = {0, TAGS + 1, UINT32_MAX};
  const field *f;
  size_t i;
  group->config = NULL;
  refuse(s, DOWNHILL_STATUS_NULL_POINTER, in_group(index), "`config`", "NULL");
  group->config = shifted(config, 1);
  refuse(s, DOWNHILL_STATUS_MISALIGNED, in_group(index), "`config`", "multiple of");
  group->config = config;
  for (i = 0; i < 3; i++) {
    char text[60];
    config->head.rule = unknown[i];
    config->head.struct_size = 8;
    snprintf(text, sizeof text, "`rule` of `config` is %lu; it must be one of 1 to %d", (unsigned long)unknown[i], (int)TAGS);
    /* The first group's is read by what is expected. */
    if (index > 0) refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), text, "");
    *config = was;
  }
  config->head.struct_size -= 1;
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), "`struct_size` of `config` is", "must be");
  *config = was;
  for (f = r->fields; f->name != NULL; f++)
    for (i = 0; i < sizeof never / sizeof *never; i++) {
      put_field(config, f, is_enumeration(f) ? 3.0 + (double)i : never[i]);
      refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), quoted(f->name), "must be");
      *config = was;
    }
}

/* Are all states there that its rule may have? */
static int has_every_state(const downhill_group *group) {
  const rule *const r = rule_of(group);
  int k = 0;
  while (k < r->states && has_state(r, config_of(group), k)) k++;
  return k == r->states;
}

/* A rate that is infinite at the first steps only, after bias correction of a first moment. */
static void step_numbers(scene *s, size_t index) {
  downhill_group *const group = &s->m.groups[index], was = *group;
  any_config *const config = &s->m.configs[index], config_was = *config;
  downhill_tensor *const tensors = tensors_of(group);
  const rule *const r = rule_of(group);
  size_t i;
  group->t = 0;
  refuse(s, DOWNHILL_STATUS_INVALID_STEP, in_group(index), "`t`", "is 0");
  group->t = UINT64_MAX;
  accept(s);
  if (r->counts_steps && has_every_state(group)) {
    *config = r->defaults();
    if (find_field(r, "momentum_decay") != NULL) set_field(r, config, "momentum_decay", 1e6);
    set_field(r, config, "lr", 3e38);
    set_field(r, config, "weight_decay", 0.0);
    accept(s);
    for (i = 0; i < COUNT; i++) {
      tensors[i].t = 1;
      refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_tensor(index, i), "`lr`", "must be");
      tensors[i].t = 0;
    }
    group->t = 1;
    refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), "`lr`", "must be");
  }
  *group = was;
  *config = config_was;
}

/* ---- a tensor ---- */

/* Of a tensor that has elements and a gradient. */
static void bad_arrays(scene *s, size_t index, size_t tensor_index) {
  const downhill_group *const group = &s->m.groups[index];
  downhill_tensor *const tensor = &tensors_of(group)[tensor_index], was = *tensor;
  const char *const where = in_tensor(index, tensor_index);
  int kind;
  for (kind = 0; kind < ARRAYS; kind++) {
    const size_t size = element_size(group, kind);
    const char *const name = quoted(array_name(group, kind < STATE || size > 0 ? kind : STATE));
    size_t i;
    if (size == 0) continue;
    put_array(tensor, kind, NULL);
    if (kind == G || kind == COPY)
      accept(s);
    else
      refuse(s, DOWNHILL_STATUS_NULL_POINTER, where, name, "is NULL");
    for (i = 1; i < size; i++) {
      put_array(tensor, kind, shifted(get_array(&was, kind), (ptrdiff_t)i));
      refuse(s, DOWNHILL_STATUS_MISALIGNED, where, name, size == 4 ? "multiple of 4" : "multiple of 2");
    }
    put_array(tensor, kind, at_the_end());
    refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, where, name, "address space");
    *tensor = was;
  }
}

/* Where the group has none. */
static void unexpected_arrays(scene *s, size_t index, size_t tensor_index) {
  const downhill_group *const group = &s->m.groups[index];
  downhill_tensor *const tensor = &tensors_of(group)[tensor_index], was = *tensor;
  int kind;
  for (kind = 0; kind < ARRAYS; kind++) {
    char state[20];
    snprintf(state, sizeof state, "`state[%d]`", kind - STATE);
    if (element_size(group, kind) > 0) continue;
    put_array(tensor, kind, s->m.memory + 8);
    refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_tensor(index, tensor_index), kind >= STATE ? state : kind == LOW ? "`w_low`" : "`w_copy`",
           "it must be NULL, because");
    *tensor = was;
  }
}

static void lengths_and_numbers(scene *s, size_t index, size_t tensor_index) {
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  downhill_group *const group = &s->m.groups[index], group_was = *group;
  downhill_tensor *const tensor = &tensors_of(group)[tensor_index], was = *tensor;
  const char *const where = in_tensor(index, tensor_index);
  const int is_8bit = group->state_type == DOWNHILL_TYPE_8BIT, is_looked_at = tensor->g != NULL;
  size_t i;
  uint64_t number;
  for (i = 0; i < sizeof too_long / sizeof *too_long; i++) {
    tensor->n = too_long[i];
    refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, where, "`n`", "at most");
  }
  *tensor = was;
  for (i = 0; i < 4 && is_looked_at; i++) {
    const size_t wrong[] = {was.state_bytes + 1, was.state_bytes + 65, SIZE_MAX, was.state_bytes - 1};
    char text[80];
    tensor->state_bytes = wrong[i];
    snprintf(text, sizeof text, "is %llu; it must be %llu", (unsigned long long)wrong[i], is_8bit ? (unsigned long long)was.state_bytes : 0ull);
    refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, where, "`state_bytes`", text);
    *tensor = was;
  }
  for (number = 1; number < 130; number++) {
    tensor->first_element = number;
    group->numbering = DOWNHILL_NUMBERING_BY_PLACE;
    refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, where, "`first_element`", "");
    group->numbering = DOWNHILL_NUMBERING_GIVEN;
    if (number % 64 != 0)
      refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, where, "`first_element`", "64");
    else
      accept(s);
  }
  *tensor = was;
  *group = group_was;
}

/* ---- sizes of structures ---- */

/* Groups and tensors as a later release might have them: `extra` bytes longer, of which the last one is `last`. */
static void longer_structures(scene *s, size_t group_extra, size_t tensor_extra, unsigned char last, int of_tensor) {
  const size_t group_size = sizeof(downhill_group) + group_extra, tensor_size = sizeof(downhill_tensor) + tensor_extra;
  char *const groups = (char *)calloc(GROUPS, group_size), *const tensors = (char *)calloc(TENSORS, tensor_size);
  call c = usual(s);
  size_t i;
  CHECK(groups != NULL && tensors != NULL, "no memory");
  for (i = 0; i < TENSORS; i++) memcpy(tensors + i * tensor_size, &s->m.tensors[i], sizeof(downhill_tensor));
  for (i = 0; i < GROUPS; i++) {
    downhill_group group = s->m.groups[i];
    group.struct_size = (uint32_t)group_size, group.tensor_size = (uint32_t)tensor_size;
    group.tensors = (const downhill_tensor *)(void *)(tensors + i * COUNT * tensor_size);
    memcpy(groups + i * group_size, &group, sizeof group);
  }
  if (of_tensor)
    tensors[(COUNT + 3) * tensor_size - 1] = (char)last;
  else
    groups[GROUPS * group_size - 1] = (char)last;
  c.groups = (const downhill_group *)(void *)groups;
  if (last != 0 && of_tensor) {
    expect(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, in_tensor(1, 2), "`tensor_size` is", "not zero");
  } else if (last != 0) {
    expect(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`struct_size` of `groups` is", "not zero");
  } else {
    model usual_step = copy_model(&s->m);
    CHECK(downhill_step(GROUPS, usual_step.groups, &s->extras, NULL, NULL) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(make(s, &c) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    compare_models(&s->m, &usual_step, "a later release's structures");
    memcpy(s->m.memory, s->before, s->m.bytes);
    s->report = downhill_report_default();
    free_model(&usual_step);
    cases++;
  }
  free(groups), free(tensors);
}

/* What groups and tensors are aligned to: 8 bytes, on 32-bit x86 4. */
typedef struct {
  char first;
  downhill_group group;
} after_a_byte;
enum { ALIGNMENT = offsetof(after_a_byte, group) };

static void sizes_of_groups(scene *s) {
  const uint32_t own = (uint32_t)sizeof(downhill_group), own_tensor = (uint32_t)sizeof(downhill_tensor);
  const uint32_t wrong[] = {0, 1, 4, own - 8, own - 1, own + 1, own + ALIGNMENT / 2, 513, 520, UINT32_MAX};
  const uint32_t wrong_tensor[] = {0, 8, own_tensor - 8, own_tensor - 1, own_tensor + ALIGNMENT / 2, 513, 520, UINT32_MAX};
  const size_t more[] = {8, 16, 160, 512};
  size_t i, j;
  char text[40];
  snprintf(text, sizeof text, "a multiple of %d up to 512", (int)ALIGNMENT);
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    s->m.groups[0].struct_size = s->m.groups[1].struct_size = wrong[i];
    refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` is", text, "");
    s->m.groups[0].struct_size = own;
    refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`struct_size`", "");
    s->m.groups[1].struct_size = own;
  }
  s->m.groups[1].struct_size = own + 8;
  s->m.groups[1].config = NULL; /* it is not said that the config is */
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`struct_size`", "");
  s->m.groups[1].struct_size = own;
  s->m.groups[1].config = &s->m.configs[1];
  for (i = 0; i < GROUPS; i++)
    for (j = 0; j < sizeof wrong_tensor / sizeof *wrong_tensor; j++) {
      s->m.groups[i].tensor_size = wrong_tensor[j];
      refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(i), "`tensor_size` is", text);
      s->m.groups[i].tensor_size = own_tensor;
    }
  for (i = 0; i < 4; i++) {
    const size_t group_extra = more[i] < 512 ? more[i] : 512 - own, tensor_extra = more[i] < 512 ? more[i] : 512 - own_tensor;
    longer_structures(s, group_extra, 0, 0, 0);
    longer_structures(s, group_extra, 0, 1, 0);
    longer_structures(s, group_extra, tensor_extra, 0, 1);
    longer_structures(s, 0, tensor_extra, 0x80, 1);
  }
}

/* Extras or a report with fields that this release does not know. */
typedef union {
  uint32_t struct_size;
  downhill_extras extras;
  downhill_report report;
  unsigned char bytes[1024];
} later;

static void sizes_of(scene *s, const char *name, uint32_t own, later *structure, const call *c) {
  const uint32_t refused[] = {0, 1, 4, own - 8, own - 1, 513, UINT32_MAX};
  char text[60];
  size_t i;
  snprintf(text, sizeof text, "`struct_size` of `%s` is", name);
  for (i = 0; i < sizeof refused / sizeof *refused; i++) {
    structure->struct_size = refused[i];
    expect(s, c, DOWNHILL_STATUS_INVALID_CONFIG, text, "must be", "");
  }
  /* Up to 512 bytes are fine if what follows is zero, and refused if any byte of it is not. */
  for (i = own; i <= LONGEST; i += i < own + 16 ? 1 : 31) {
    structure->struct_size = (uint32_t)i;
    structure->bytes[i] = 1; /* is not read */
    CHECK(downhill_step(0, NULL, c->extras, s->pool, c->report) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(structure->struct_size == i && structure->bytes[i] == 1, "the end of %s was written", name);
    structure->bytes[i] = 0;
    if (i == own) continue;
    structure->bytes[i - 1] = 1;
    expect(s, c, DOWNHILL_STATUS_INVALID_CONFIG, text, "not zero", "");
    structure->bytes[i - 1] = 0;
  }
}

static void sizes_of_extras_and_report(scene *s) {
  static later structure;
  call c = usual(s);
  memset(&structure, 0, sizeof structure);
  structure.extras = s->extras;
  c.extras = &structure.extras;
  sizes_of(s, "extras", (uint32_t)sizeof(downhill_extras), &structure, &c);
  c = usual(s);
  memset(&structure, 0, sizeof structure);
  structure.report = downhill_report_default();
  c.report = &structure.report;
  sizes_of(s, "report", (uint32_t)sizeof(downhill_report), &structure, &c);
}

/* ---- extras and report ---- */

/* Refused with groups and without. */
static void refuse_extras(scene *s, const char *what, const char *why) {
  call c = usual(s);
  expect(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, what, why, "");
  c.group_count = 0;
  expect(s, &c, DOWNHILL_STATUS_INVALID_CONFIG, what, why, "");
}

static void numbers_in_extras(scene *s) {
  const double never[] = {1e39, -1e39, 1e300, (double)NAN, (double)INFINITY, -(double)INFINITY};
  const double scales[] = {0.0, -0.0, -1.0, 1e30, -1e30, 1e-300, -1e-320}, norms[] = {0.0, -0.0, 1e-300, 1.0, 3e38};
  const double squares[] = {0.0, -0.0, 1e-320, 1.0, 1e70};
  const downhill_extras was = s->extras;
  size_t i;
  for (i = 0; i < sizeof never / sizeof *never; i++) {
    s->extras.grad_scale = never[i];
    refuse_extras(s, "`grad_scale`", "must be");
    s->extras = was;
    s->extras.max_norm = never[i];
    refuse_extras(s, "`max_norm`", "must be");
    s->extras = was;
    s->extras.norm_squared = never[i];
    refuse_extras(s, "`norm_squared`", "must be 0 without DOWNHILL_EXTRAS_NORM_GIVEN");
    s->extras = was;
  }
  s->extras.max_norm = -1e-300;
  refuse_extras(s, "`max_norm`", "must be");
  s->extras = was;
  for (i = 0; i < sizeof scales / sizeof *scales; i++) s->extras.grad_scale = scales[i], accept(s);
  s->extras = was;
  for (i = 0; i < sizeof norms / sizeof *norms; i++) s->extras.max_norm = norms[i], accept(s);
  s->extras = was;
  s->extras.flags |= DOWNHILL_EXTRAS_NORM_GIVEN;
  for (i = 0; i < sizeof squares / sizeof *squares; i++) s->extras.norm_squared = squares[i], accept(s);
  s->extras.norm_squared = -1e-300;
  refuse_extras(s, "`norm_squared`", "must be");
  s->extras.norm_squared = -(double)INFINITY;
  refuse_extras(s, "`norm_squared`", "must be");
  s->extras = was;
}

static void flags_in_extras(scene *s) {
  const downhill_extras was = s->extras;
  int bit;
  for (bit = 0; bit < 32; bit++) {
    s->extras.flags = (uint32_t)1 << bit;
    if (bit < 3) {
      accept(s);
      continue;
    }
    refuse_extras(s, "`flags` is 0x", "DOWNHILL_EXTRAS_");
    s->extras.flags |= was.flags;
    refuse_extras(s, "`flags` is 0x", "DOWNHILL_EXTRAS_");
  }
  s->extras = was;
}

static void pointers_to_extras_and_report(scene *s) {
  call c = usual(s);
  ptrdiff_t i;
  for (i = 1; i < (ptrdiff_t)sizeof(uint32_t); i++) {
    c.extras = (const downhill_extras *)shifted(&s->extras, i);
    expect(s, &c, DOWNHILL_STATUS_MISALIGNED, "`extras`", "multiple of", "");
    c.extras = &s->extras;
    c.report = (downhill_report *)shifted(&s->report, i);
    expect(s, &c, DOWNHILL_STATUS_MISALIGNED, "`report`", "multiple of", "");
    c.report = &s->report;
  }
}

/* ---- which is told of several ---- */

/* One mistake after another is made, each in front of those before it, and is told then. */
static void the_first_error_wins(scene *s) {
  downhill_tensor *const first = tensors_of(&s->m.groups[0]), *const second = tensors_of(&s->m.groups[1]);
  const model was = copy_model(&s->m);
  const downhill_extras extras = s->extras;
  const downhill_report report = s->report;
  call c = usual(s);
  size_t i;
  second[2].w = first[0].w;
  refuse(s, DOWNHILL_STATUS_OVERLAP, "`w` of group 1, tensor 2 at", "`w` of group 0, tensor 0 at", "share memory");
  second[2].n = SIZE_MAX;
  refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, in_tensor(1, 2), "`n`", "");
  second[0].w = NULL;
  refuse(s, DOWNHILL_STATUS_NULL_POINTER, in_tensor(1, 0), "`w`", "");
  s->m.groups[1].t = 0;
  refuse(s, DOWNHILL_STATUS_INVALID_STEP, in_group(1), "`t`", "");
  s->m.groups[1].weight_type = DOWNHILL_TYPE_NONE;
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`weight_type`", "");
  first[3].n = SIZE_MAX;
  refuse(s, DOWNHILL_STATUS_INVALID_LENGTH, in_tensor(0, 3), "`n`", "");
  first[0].w = NULL;
  refuse(s, DOWNHILL_STATUS_NULL_POINTER, in_tensor(0, 0), "`w`", "");
  s->m.groups[0].config = NULL;
  c.groups = s->m.groups;
  CHECK(make(s, &c) == DOWNHILL_STATUS_NULL_POINTER, "status");
  must_say("group 0: `config` is NULL");
  c.group_count = SIZE_MAX;
  CHECK(make(s, &c) == DOWNHILL_STATUS_INVALID_LENGTH, "status");
  must_say("`group_count`");
  s->report.struct_size = 8;
  CHECK(make(s, &c) == DOWNHILL_STATUS_INVALID_CONFIG, "status");
  must_say("`report`");
  s->extras.max_norm = -1.0;
  CHECK(make(s, &c) == DOWNHILL_STATUS_INVALID_CONFIG, "status");
  must_say("`max_norm`");
  s->extras.struct_size = 0;
  CHECK(make(s, &c) == DOWNHILL_STATUS_INVALID_CONFIG, "status");
  must_say("`struct_size` of `extras`");
  CHECK(memcmp(s->before, s->m.memory, s->m.bytes) == 0, "something was written");
  for (i = 0; i < GROUPS; i++) {
    s->m.groups[i] = was.groups[i];
    s->m.groups[i].config = &s->m.configs[i];
    s->m.groups[i].tensors = s->m.tensors + i * COUNT;
  }
  first[0].w = (char *)was.tensors[0].w - (char *)was.memory + (char *)s->m.memory, first[3].n = sizes[3];
  second[0].w = (char *)was.tensors[COUNT].w - (char *)was.memory + (char *)s->m.memory;
  second[2].w = (char *)was.tensors[COUNT + 2].w - (char *)was.memory + (char *)s->m.memory, second[2].n = sizes[COUNT + 2];
  s->extras = extras, s->report = report;
  accept(s);
  free_model((model *)&was);
}

/* A group that somebody forgot to fill is refused, and not misread. */
static void zeros(scene *s) {
  downhill_group *const group = &s->m.groups[1], was = *group;
  memset(group, 0, sizeof *group);
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`struct_size`", "");
  group->struct_size = was.struct_size;
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`tensor_size`", "");
  group->tensor_size = was.tensor_size;
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`gradient_type` is 0", "");
  group->gradient_type = DOWNHILL_TYPE_F32;
  refuse(s, DOWNHILL_STATUS_INVALID_CONFIG, in_group(1), "`weight_type` is 0", "");
  *group = was;
}

/* ---- eight bits that a rule does not fit into ---- */

static void rules_that_do_not_fit(const any_config *config) {
  const size_t n = 5;
  downhill_group group = new_group(config, 1);
  scene s = set_scene(1, &group, &n, BY_TENSOR, GAP, NULL);
  const rule *const r = rule_of(&group);
  int k;
  s.m.groups[0].state_type = DOWNHILL_TYPE_8BIT;
  for (k = 1; k < 4; k++) s.m.tensors[0].state[k] = NULL;
  s.m.tensors[0].state_bytes = (size_t)r->states * 65;
  refuse(&s, DOWNHILL_STATUS_INVALID_CONFIG, in_tensor(0, 0), r->name, "eight bits");
  free_scene(&s);
}

/* ---- sums of squares ---- */

static void expect_sums(scene *s, double *sums, downhill_status wanted, const char *where, const char *what, const char *why) {
  const downhill_status got = downhill_grad_squares(s->m.count, s->m.groups, s->pool, sums);
  CHECK(got == wanted, "status %lu, not %lu (%s, %s, %s): %s", (unsigned long)got, (unsigned long)wanted, where, what, why,
        downhill_last_error());
  must_say(where), must_say(what), must_say(why);
  cases++;
}

static void errors_of_sums(scene *s) {
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  double sums[TENSORS + 1];
  size_t index, i;
  memset(sums, 0x55, sizeof sums);
  expect_sums(s, NULL, DOWNHILL_STATUS_NULL_POINTER, "`sums`", "NULL", "");
  for (i = 1; i < ALIGNMENT; i++)
    expect_sums(s, (double *)shifted(sums, (ptrdiff_t)i), DOWNHILL_STATUS_MISALIGNED, "`sums`", "multiple of", "");
  expect_sums(s, (double *)at_the_end(), DOWNHILL_STATUS_INVALID_LENGTH, "`sums`", "address space", "");
  for (index = 0; index < GROUPS; index++) {
    downhill_group *const group = &s->m.groups[index], was = *group;
    downhill_tensor *const tensor = &tensors_of(group)[2], tensor_was = *tensor;
    const size_t size = element_size(group, G);
    const uint32_t wrong[] = {DOWNHILL_TYPE_NONE, DOWNHILL_TYPE_SPLIT, DOWNHILL_TYPE_8BIT, 6, UINT32_MAX};
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
      group->gradient_type = wrong[i];
      expect_sums(s, sums, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), "`gradient_type`", "must be");
    }
    *group = was;
    group->tensor_size -= 8;
    expect_sums(s, sums, DOWNHILL_STATUS_INVALID_CONFIG, in_group(index), "`tensor_size`", "must be");
    *group = was;
    group->tensors = NULL;
    expect_sums(s, sums, DOWNHILL_STATUS_NULL_POINTER, in_group(index), "`tensors`", "NULL");
    *group = was;
    for (i = 1; i < size; i++) {
      tensor->g = shifted(tensor_was.g, (ptrdiff_t)i);
      expect_sums(s, sums, DOWNHILL_STATUS_MISALIGNED, in_tensor(index, 2), "`g`", "multiple of");
    }
    tensor->g = at_the_end();
    expect_sums(s, sums, DOWNHILL_STATUS_INVALID_LENGTH, in_tensor(index, 2), "`g`", "address space");
    *tensor = tensor_was;
    for (i = 0; i < 3; i++) {
      tensor->n = too_long[i];
      expect_sums(s, sums, DOWNHILL_STATUS_INVALID_LENGTH, in_tensor(index, 2), "`n`", "at most");
    }
    *tensor = tensor_was;
    expect_sums(s, (double *)(void *)group, DOWNHILL_STATUS_OVERLAP, "`sums` at", "share memory", "`groups` at");
    expect_sums(s, (double *)(void *)tensor, DOWNHILL_STATUS_OVERLAP, "`sums` at", "share memory", "`tensors` at");
    expect_sums(s, (double *)((uintptr_t)tensor->g / 8 * 8), DOWNHILL_STATUS_OVERLAP, "`sums` at", "share memory", "`g` of group");
  }
  for (i = 0; i < sizeof sums; i++) CHECK(((unsigned char *)sums)[i] == 0x55, "a sum was written");
  CHECK(memcmp(s->before, s->m.memory, s->m.bytes) == 0, "something was written");
}

/* ---- all of it, for every rule ---- */

static void errors(const downhill_group *group, layout how, downhill_pool *pool) {
  scene s = both_groups(group, how, pool);
  size_t index, i;
  accept(&s);
  lists_of_groups(&s);
  for (index = 0; index < GROUPS; index++) {
    types(&s, index);
    bounds(&s, index);
    lists_of_tensors(&s, index);
    configurations(&s, index);
    step_numbers(&s, index);
    for (i = 0; i < COUNT; i++) {
      lengths_and_numbers(&s, index, i);
      if (i != EMPTY && i != ABSENT) bad_arrays(&s, index, i), unexpected_arrays(&s, index, i);
    }
  }
  sizes_of_groups(&s);
  sizes_of_extras_and_report(&s);
  numbers_in_extras(&s);
  flags_in_extras(&s);
  pointers_to_extras_and_report(&s);
  the_first_error_wins(&s);
  zeros(&s);
  errors_of_sums(&s);
  free_scene(&s);
}

int main(void) {
  downhill_pool *const pool = downhill_pool_new(2);
  int i, variant, state;
  for (i = 0; i < RULES; i++)
    for (variant = 0; variant < rules[i].variants; variant += rules[i].variants > 1 ? rules[i].variants - 1 : 1)
      for (state = 0; state < STATE_TYPES; state++) {
        const any_config config = configure(&rules[i], variant, L2);
        downhill_group group = new_group(&config, COUNT);
        group.weight_type = weight_types[(i + state) % WEIGHT_TYPES];
        group.gradient_type = gradient_types[(i + variant + state) % GRADIENT_TYPES];
        group.state_type = state_types[state];
        group.copy_type = copy_types[(i + variant + 2 * state) % COPY_TYPES];
        if (group.state_type != DOWNHILL_TYPE_8BIT || fits_in_8_bits(&config))
          errors(&group, (layout)((i + state) % LAYOUTS), state % 2 == 0 ? NULL : pool);
        else
          rules_that_do_not_fit(&config);
      }
  downhill_pool_free(pool);
  printf("%lu calls, each with the right status and nothing written\n", cases);
  return 0;
}
