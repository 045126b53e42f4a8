/* Every rule's defaults: downhill_R_default() against downhill_config_default(), and what that refuses. */
#include "rules.h"

enum { MOST = 512 };

static const unsigned char untouched = 0xa5;

/* A configuration with room after it. */
typedef struct {
  any_config config;
  unsigned char more[1024];
} roomy;

static void refused(uint32_t tag, void *config, size_t size, downhill_status wanted, const char *text) {
  const downhill_status status = downhill_config_default(tag, config, size);
  CHECK(status == wanted, "rule %lu, size %lu: status %lu", (unsigned long)tag, (unsigned long)size, (unsigned long)status);
  CHECK(strstr(downhill_last_error(), text) != NULL, "\"%s\" does not say \"%s\"", downhill_last_error(), text);
}

static void compare_with_header(const rule *r) {
  const any_config header = r->defaults();
  roomy library;
  uint32_t size;
  size_t i;
  for (size = (uint32_t)r->config_size; size <= MOST; size++) {
    memset(&library, untouched, sizeof library);
    CHECK(downhill_config_default(r->tag, &library, size) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(library.config.head.struct_size == size, "%s: struct_size %lu", r->name,
          (unsigned long)library.config.head.struct_size);
    library.config.head.struct_size = (uint32_t)r->config_size;
    CHECK(memcmp(&library, &header, r->config_size) == 0, "the defaults of %s", r->name);
    for (i = r->config_size; i < sizeof library; i++) {
      const unsigned char byte = ((const unsigned char *)&library)[i];
      CHECK(byte == (i < size ? 0 : untouched), "%s, size %lu: byte %lu is %d", r->name, (unsigned long)size, (unsigned long)i,
            byte);
    }
  }
}

static void errors(const rule *r) {
  const size_t sizes[] = {0, 8, r->config_size - 1, MOST + 1, SIZE_MAX};
  roomy library, before;
  size_t i;
  memset(&library, untouched, sizeof library);
  before = library;
  for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
    refused(r->tag, &library, sizes[i], DOWNHILL_STATUS_INVALID_CONFIG, "`struct_size` is ");
  refused(r->tag, NULL, r->config_size, DOWNHILL_STATUS_NULL_POINTER, "`config` is NULL");
  refused(r->tag, (char *)&library + 1, r->config_size, DOWNHILL_STATUS_MISALIGNED, "`config` is ");
  CHECK(memcmp(&library, &before, sizeof library) == 0, "%s: something was written", r->name);
}

int main(void) {
  const rule *r;
  roomy library;
  for (r = rules; r < rules + RULES; r++) {
    compare_with_header(r);
    errors(r);
  }
  refused(0, &library, MOST, DOWNHILL_STATUS_INVALID_CONFIG, "`rule` is 0;");
  refused(TAGS + 1, &library, MOST, DOWNHILL_STATUS_INVALID_CONFIG, "`rule` is ");
  refused(UINT32_MAX, &library, MOST, DOWNHILL_STATUS_INVALID_CONFIG, "`rule` is 4294967295;");
  printf("the defaults of %d rules\n", (int)RULES);
  return 0;
}
