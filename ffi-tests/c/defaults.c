/* Prints every field's default (as the bits of a double) and offset, for the test to compare with Rust's. */
#include "rules.h"

static void print(const char *rule, const char *field, double value, size_t offset) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  printf("%s.%s %08lx%08lx at %lu\n", rule, field, (unsigned long)(bits >> 32), (unsigned long)(bits & 0xffffffff),
         (unsigned long)offset);
}

static void print_extras(void) {
  const downhill_extras extras = downhill_extras_default();
  printf("extras.sizeof %lu\n", (unsigned long)sizeof extras);
  print("extras", "struct_size", (double)extras.struct_size, offsetof(downhill_extras, struct_size));
  print("extras", "flags", (double)extras.flags, offsetof(downhill_extras, flags));
  print("extras", "grad_scale", extras.grad_scale, offsetof(downhill_extras, grad_scale));
  print("extras", "max_norm", extras.max_norm, offsetof(downhill_extras, max_norm));
}

static void print_packing(void) {
  const downhill_packing packing = downhill_packing_default();
  printf("packing.sizeof %lu\n", (unsigned long)sizeof packing);
  print("packing", "struct_size", (double)packing.struct_size, offsetof(downhill_packing, struct_size));
  print("packing", "state_format", (double)packing.state_format, offsetof(downhill_packing, state_format));
  print("packing", "weight_format", (double)packing.weight_format, offsetof(downhill_packing, weight_format));
  print("packing", "rounding", (double)packing.rounding, offsetof(downhill_packing, rounding));
  print("packing", "seed", (double)packing.seed, offsetof(downhill_packing, seed));
}

int main(void) {
  const rule *r;
  const field *f;
  for (r = rules; r < rules + RULES; r++) {
    const any_config config = r->defaults();
    printf("%s.sizeof %lu\n", r->name, (unsigned long)r->config_size);
    print(r->name, "struct_size", (double)config.struct_size, 0);
    for (f = r->fields; f->name != NULL; f++) print(r->name, f->name, get_field(&config, f), f->offset);
  }
  print_extras();
  print_packing();
  return 0;
}
