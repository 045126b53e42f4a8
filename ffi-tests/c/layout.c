/* The size of every public structure, and the place and size of every member, as compiled programs rely on them.
 * A change here is a change of the ABI: see docs/c-api.md. In the common subset of C11 and C++11. */
#include <assert.h>

#include "rules.h"

#define SIZE(type, bytes) static_assert(sizeof(downhill_##type) == (bytes), "size of downhill_" #type)
#define MEMBER(type, member, at, bytes)                                                                       \
  static_assert(offsetof(downhill_##type, member) == (at) && sizeof(((downhill_##type *)0)->member) == (bytes), \
                "downhill_" #type "." #member)

static_assert(sizeof(downhill_status) == 4, "downhill_status");
static_assert(DOWNHILL_STATUS_OK == 0 && DOWNHILL_STATUS_NULL_POINTER == 1 && DOWNHILL_STATUS_MISALIGNED == 2 &&
                  DOWNHILL_STATUS_OVERLAP == 3 && DOWNHILL_STATUS_INVALID_LENGTH == 4 &&
                  DOWNHILL_STATUS_INVALID_STEP == 5 && DOWNHILL_STATUS_INVALID_CONFIG == 6 &&
                  DOWNHILL_STATUS_SKIPPED == 7 && DOWNHILL_STATUS_OUT_OF_MEMORY == 8 && DOWNHILL_STATUS_PANIC == 99,
              "values of downhill_status");
static_assert(DOWNHILL_DECAY_L2 == 0 && DOWNHILL_DECAY_DECOUPLED == 1, "values of downhill_decay");
static_assert(DOWNHILL_FORM_CLASSIC == 0 && DOWNHILL_FORM_TORCH == 1, "values of downhill_form");
static_assert(DOWNHILL_BIAS_CORRECTION_STEP == 0 && DOWNHILL_BIAS_CORRECTION_CONSTANT == 1 &&
                  DOWNHILL_BIAS_CORRECTION_NONE == 2,
              "values of downhill_bias_correction");
static_assert(DOWNHILL_EXTRAS_ZERO_GRAD == 1 && DOWNHILL_EXTRAS_SKIP_NONFINITE == 2 && DOWNHILL_EXTRAS_NORM_GIVEN == 4,
              "flags of downhill_extras");
static_assert(DOWNHILL_TYPE_NONE == 0 && DOWNHILL_TYPE_F32 == 1 && DOWNHILL_TYPE_BF16 == 2 && DOWNHILL_TYPE_F16 == 3 &&
                  DOWNHILL_TYPE_SPLIT == 4 && DOWNHILL_TYPE_8BIT == 5,
              "values of downhill_type");
static_assert(DOWNHILL_ROWS_MERGE == 1, "flags of a tensor's rows");
static_assert(DOWNHILL_ROUNDING_STOCHASTIC == 0 && DOWNHILL_ROUNDING_NEAREST == 1, "values of downhill_rounding");
static_assert(DOWNHILL_NUMBERING_BY_PLACE == 0 && DOWNHILL_NUMBERING_GIVEN == 1, "values of downhill_numbering");

#if UINTPTR_MAX == 0xffffffffffffffff

SIZE(extras, 32);
MEMBER(extras, struct_size, 0, 4);
MEMBER(extras, flags, 4, 4);
MEMBER(extras, grad_scale, 8, 8);
MEMBER(extras, max_norm, 16, 8);
MEMBER(extras, norm_squared, 24, 8);

SIZE(report, 56);
MEMBER(report, struct_size, 0, 4);
MEMBER(report, skipped, 4, 4);
MEMBER(report, grad_norm, 8, 8);
MEMBER(report, applied_scale, 16, 8);
MEMBER(report, tensors_updated, 24, 8);
MEMBER(report, group, 32, 8);
MEMBER(report, tensor, 40, 8);
MEMBER(report, element, 48, 8);

SIZE(tensor, 136);
MEMBER(tensor, n, 0, 8);
MEMBER(tensor, w, 8, 8);
MEMBER(tensor, g, 16, 8);
MEMBER(tensor, state, 24, 32);
MEMBER(tensor, w_low, 56, 8);
MEMBER(tensor, w_copy, 64, 8);
MEMBER(tensor, state_bytes, 72, 8);
MEMBER(tensor, t, 80, 8);
MEMBER(tensor, first_element, 88, 8);
MEMBER(tensor, rows, 96, 8);
MEMBER(tensor, row_count, 104, 8);
MEMBER(tensor, row_length, 112, 8);
MEMBER(tensor, row_t, 120, 8);
MEMBER(tensor, row_flags, 128, 4);
MEMBER(tensor, reserved, 132, 4);

SIZE(group, 88);
MEMBER(group, struct_size, 0, 4);
MEMBER(group, tensor_size, 4, 4);
MEMBER(group, weight_type, 8, 4);
MEMBER(group, gradient_type, 12, 4);
MEMBER(group, state_type, 16, 4);
MEMBER(group, copy_type, 20, 4);
MEMBER(group, rounding, 24, 4);
MEMBER(group, numbering, 28, 4);
MEMBER(group, seed, 32, 8);
MEMBER(group, t, 40, 8);
MEMBER(group, config, 48, 8);
MEMBER(group, count, 56, 8);
MEMBER(group, tensors, 64, 8);
MEMBER(group, clamp_low, 72, 8);
MEMBER(group, clamp_high, 80, 8);

#endif

/* On every machine new fields can start at the old end: there is no hole in front of it. */
#define NO_HOLE(type, last) \
  static_assert(offsetof(downhill_##type, last) + sizeof(((downhill_##type *)0)->last) == sizeof(downhill_##type), "the end of downhill_" #type)
NO_HOLE(extras, norm_squared);
NO_HOLE(tensor, reserved);
NO_HOLE(rowwise_adagrad, weight_decay);
NO_HOLE(group, clamp_high);

/* On every machine: the head, uint32_t fields up to byte 16, then doubles, without a hole, in the table's order. */
static void check_configuration(const rule *r) {
  size_t at = 8;
  const field *f;
  for (f = r->fields; f->name != NULL; f++) {
    CHECK(f->offset == at, "%s.%s is at %lu, not %lu", r->name, f->name, (unsigned long)f->offset, (unsigned long)at);
    CHECK(is_enumeration(f) == (at < 16), "%s.%s is not what is at %lu", r->name, f->name, (unsigned long)at);
    at += at < 16 ? 4 : 8;
  }
  CHECK(r->config_size == at, "%s has %lu bytes, not %lu", r->name, (unsigned long)r->config_size, (unsigned long)at);
}

int main(void) {
  const rule *r;
  static_assert(offsetof(any_config, head.struct_size) == 0 && offsetof(any_config, head.rule) == 4, "the head");
  for (r = rules; r < rules + RULES; r++) {
    const any_config config = r->defaults();
    CHECK(config.head.struct_size == r->config_size && config.head.rule == r->tag, "the head of %s", r->name);
    CHECK(r->tag == (uint32_t)(r - rules) + 1 + (r->tag > DOWNHILL_RULE_ROWWISE_ADAGRAD), "the tag of %s is %lu", r->name,
          (unsigned long)r->tag);
    check_configuration(r);
  }
  puts(UINTPTR_MAX == 0xffffffffffffffff ? "every size and offset is as it was"
                                         : "SKIPPED: the sizes and offsets of a 64-bit machine");
  return 0;
}
