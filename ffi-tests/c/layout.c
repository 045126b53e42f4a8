/* The size of every public structure, and the place and size of every member, as compiled programs rely on them.
 * A change here is a change of the ABI: see docs/c-api.md. In the common subset of C11 and C++11. */
#include <downhill.h>

#include <assert.h>
#include <stdio.h>

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
static_assert(DOWNHILL_ZERO_GRAD == 1 && DOWNHILL_SKIP_NONFINITE == 2, "flags of downhill_extras");

#if UINTPTR_MAX == 0xffffffffffffffff

SIZE(sgd, 24);
MEMBER(sgd, struct_size, 0, 4);
MEMBER(sgd, decay, 4, 4);
MEMBER(sgd, lr, 8, 8);
MEMBER(sgd, weight_decay, 16, 8);

SIZE(momentum, 48);
MEMBER(momentum, struct_size, 0, 4);
MEMBER(momentum, form, 4, 4);
MEMBER(momentum, decay, 8, 4);
MEMBER(momentum, lr, 16, 8);
MEMBER(momentum, momentum, 24, 8);
MEMBER(momentum, dampening, 32, 8);
MEMBER(momentum, weight_decay, 40, 8);

SIZE(nesterov, 40);
MEMBER(nesterov, struct_size, 0, 4);
MEMBER(nesterov, form, 4, 4);
MEMBER(nesterov, decay, 8, 4);
MEMBER(nesterov, lr, 16, 8);
MEMBER(nesterov, momentum, 24, 8);
MEMBER(nesterov, weight_decay, 32, 8);

SIZE(adagrad, 32);
MEMBER(adagrad, struct_size, 0, 4);
MEMBER(adagrad, decay, 4, 4);
MEMBER(adagrad, lr, 8, 8);
MEMBER(adagrad, eps, 16, 8);
MEMBER(adagrad, weight_decay, 24, 8);

SIZE(adadelta, 40);
MEMBER(adadelta, struct_size, 0, 4);
MEMBER(adadelta, decay, 4, 4);
MEMBER(adadelta, lr, 8, 8);
MEMBER(adadelta, rho, 16, 8);
MEMBER(adadelta, eps, 24, 8);
MEMBER(adadelta, weight_decay, 32, 8);

SIZE(rmsprop, 48);
MEMBER(rmsprop, struct_size, 0, 4);
MEMBER(rmsprop, decay, 4, 4);
MEMBER(rmsprop, lr, 8, 8);
MEMBER(rmsprop, momentum, 16, 8);
MEMBER(rmsprop, alpha, 24, 8);
MEMBER(rmsprop, eps, 32, 8);
MEMBER(rmsprop, weight_decay, 40, 8);

SIZE(adam, 56);
MEMBER(adam, struct_size, 0, 4);
MEMBER(adam, bias_correction, 4, 4);
MEMBER(adam, decay, 8, 4);
MEMBER(adam, lr, 16, 8);
MEMBER(adam, beta1, 24, 8);
MEMBER(adam, beta2, 32, 8);
MEMBER(adam, eps, 40, 8);
MEMBER(adam, weight_decay, 48, 8);

SIZE(adamax, 48);
MEMBER(adamax, struct_size, 0, 4);
MEMBER(adamax, decay, 4, 4);
MEMBER(adamax, lr, 8, 8);
MEMBER(adamax, beta1, 16, 8);
MEMBER(adamax, beta2, 24, 8);
MEMBER(adamax, eps, 32, 8);
MEMBER(adamax, weight_decay, 40, 8);

SIZE(nadam, 56);
MEMBER(nadam, struct_size, 0, 4);
MEMBER(nadam, decay, 4, 4);
MEMBER(nadam, lr, 8, 8);
MEMBER(nadam, beta1, 16, 8);
MEMBER(nadam, beta2, 24, 8);
MEMBER(nadam, eps, 32, 8);
MEMBER(nadam, momentum_decay, 40, 8);
MEMBER(nadam, weight_decay, 48, 8);

SIZE(lion, 40);
MEMBER(lion, struct_size, 0, 4);
MEMBER(lion, decay, 4, 4);
MEMBER(lion, lr, 8, 8);
MEMBER(lion, beta1, 16, 8);
MEMBER(lion, beta2, 24, 8);
MEMBER(lion, weight_decay, 32, 8);

SIZE(extras, 24);
MEMBER(extras, struct_size, 0, 4);
MEMBER(extras, flags, 4, 4);
MEMBER(extras, grad_scale, 8, 8);
MEMBER(extras, max_norm, 16, 8);

SIZE(tensor, 48);
MEMBER(tensor, n, 0, 8);
MEMBER(tensor, w, 8, 8);
MEMBER(tensor, g, 16, 8);
MEMBER(tensor, state, 24, 24);

SIZE(report, 24);
MEMBER(report, grad_norm, 0, 8);
MEMBER(report, applied_scale, 8, 8);
MEMBER(report, skipped, 16, 4);

SIZE(packing, 24);
MEMBER(packing, struct_size, 0, 4);
MEMBER(packing, state_format, 4, 4);
MEMBER(packing, weight_format, 8, 4);
MEMBER(packing, rounding, 12, 4);
MEMBER(packing, seed, 16, 8);

SIZE(packed_tensor, 48);
MEMBER(packed_tensor, n, 0, 8);
MEMBER(packed_tensor, w, 8, 8);
MEMBER(packed_tensor, g, 16, 8);
MEMBER(packed_tensor, state, 24, 8);
MEMBER(packed_tensor, state_bytes, 32, 8);
MEMBER(packed_tensor, first_element, 40, 8);

int main(void) {
  puts("every size and offset is as it was");
  return 0;
}

#else

int main(void) {
  puts("SKIPPED: the sizes and offsets of a 64-bit machine");
  return 0;
}

#endif
