/* Calls that must be refused: the status, the text that names group, tensor and argument, and that nothing was written.
 * In the common subset of C99 and C++11. */
#ifndef REFUSALS_H
#define REFUSALS_H

#include "model.h"

/* What a test starts from: groups, extras that use everything, a report. */
typedef struct {
  model m;
  unsigned char *before; /* the model's memory before any call */
  downhill_extras extras;
  unsigned char room[512]; /* so that no array is in both */
  downhill_report report;
  downhill_pool *pool;
} scene;

typedef struct {
  size_t group_count;
  const downhill_group *groups;
  const downhill_extras *extras;
  downhill_report *report;
} call;

static unsigned long cases;

static inline scene set_scene(size_t count, const downhill_group *groups, const size_t *n, layout how, size_t gap,
                              downhill_pool *pool) {
  scene s;
  s.m = new_model(count, groups, n, how, gap);
  fill_model(&s.m, uniform);
  s.before = (unsigned char *)allocate(s.m.bytes);
  memcpy(s.before, s.m.memory, s.m.bytes);
  s.extras = downhill_extras_default();
  s.extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE;
  s.extras.max_norm = 1.0;
  s.report = downhill_report_default();
  s.pool = pool;
  return s;
}

static inline void free_scene(scene *s) {
  free_model(&s->m);
  free(s->before);
}

static inline call usual(scene *s) {
  call c;
  c.group_count = s->m.count, c.groups = s->m.groups, c.extras = &s->extras, c.report = &s->report;
  return c;
}

static inline downhill_status make(const scene *s, const call *c) {
  return downhill_step(c->group_count, c->groups, c->extras, s->pool, c->report);
}

/* ---- what is expected ---- */

static inline void must_say(const char *text) {
  CHECK(strstr(downhill_last_error(), text) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), text);
}

static inline void nothing_is_written(const scene *s, const downhill_report *report) {
  CHECK(memcmp(s->before, s->m.memory, s->m.bytes) == 0, "written: %s", downhill_last_error());
  CHECK(memcmp(report, &s->report, sizeof *report) == 0, "the report was written: %s", downhill_last_error());
}

/* The call must return `wanted`, say all three, and write nothing: not the arrays, not the report. */
static inline void expect(scene *s, const call *c, downhill_status wanted, const char *where, const char *what,
                          const char *why) {
  const downhill_report report = s->report;
  const downhill_status got = make(s, c);
  CHECK(got == wanted, "%s: status %lu, not %lu (%s, %s, %s): %s", rule_of(&s->m.groups[0])->name, (unsigned long)got,
        (unsigned long)wanted, where, what, why, downhill_last_error());
  must_say(where), must_say(what), must_say(why);
  nothing_is_written(s, &report);
  cases++;
}

/* The usual call. */
static inline void refuse(scene *s, downhill_status wanted, const char *where, const char *what, const char *why) {
  const call c = usual(s);
  expect(s, &c, wanted, where, what, why);
}

/* The groups as they are must do. Arrays are then as before again. */
static inline void accept(scene *s) {
  const call c = usual(s);
  CHECK(make(s, &c) == DOWNHILL_STATUS_OK, "%s: %s", rule_of(&s->m.groups[0])->name, downhill_last_error());
  memcpy(s->m.memory, s->before, s->m.bytes);
  s->report = downhill_report_default();
  cases++;
}

/* ---- texts and pointers ---- */

/* `w`, as a text has it; four at a time. */
static inline const char *quoted(const char *name) {
  static char texts[4][30];
  static int next;
  next = (next + 1) % 4;
  snprintf(texts[next], sizeof texts[next], "`%s`", name);
  return texts[next];
}

static inline const char *in_group(size_t group) {
  static char text[40];
  snprintf(text, sizeof text, "group %lu: `", (unsigned long)group);
  return text;
}

static inline const char *in_tensor(size_t group, size_t tensor) {
  static char text[80];
  snprintf(text, sizeof text, "group %lu: tensor %lu: `", (unsigned long)group, (unsigned long)tensor);
  return text;
}

static inline void *shifted(const void *pointer, ptrdiff_t bytes) { return (char *)pointer + bytes; }

/* So near to the end of the address space that nothing fits there, at any alignment. */
static inline void *at_the_end(void) { return (void *)(UINTPTR_MAX - 7); }

#endif
