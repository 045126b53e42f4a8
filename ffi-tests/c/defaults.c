/* Prints every field's default (as the bits of a double) and offset, for the test to compare with Rust's. */
#include <downhill.h>

#include "check.h"

#define SIZE(type) printf(#type ".sizeof %lu\n", (unsigned long)sizeof(downhill_##type))
#define FIELD(type, field) \
  print(#type "." #field, (double)downhill_##type##_default().field, offsetof(downhill_##type, field))

static void print(const char *name, double value, size_t offset) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  printf("%s %08lx%08lx at %lu\n", name, (unsigned long)(bits >> 32), (unsigned long)(bits & 0xffffffff),
         (unsigned long)offset);
}

int main(void) {
  SIZE(sgd);
  FIELD(sgd, struct_size);
  FIELD(sgd, decay);
  FIELD(sgd, lr);
  FIELD(sgd, weight_decay);
  SIZE(momentum);
  FIELD(momentum, struct_size);
  FIELD(momentum, form);
  FIELD(momentum, decay);
  FIELD(momentum, lr);
  FIELD(momentum, momentum);
  FIELD(momentum, dampening);
  FIELD(momentum, weight_decay);
  SIZE(adam);
  FIELD(adam, struct_size);
  FIELD(adam, bias_correction);
  FIELD(adam, decay);
  FIELD(adam, lr);
  FIELD(adam, beta1);
  FIELD(adam, beta2);
  FIELD(adam, eps);
  FIELD(adam, weight_decay);
  return 0;
}
