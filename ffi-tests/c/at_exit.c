/* Errors when a program ends: the text of the last one is still there, and calls that fail then have theirs. */
#include <downhill.h>
#include <stdlib.h>

#include "check.h"

static const char *kept;

static const char *failed(double lr) {
  float w = 1.0f, g = 1.0f;
  downhill_sgd config = downhill_sgd_default();
  config.lr = lr;
  CHECK(downhill_sgd_step(1, &w, &g, &config) == DOWNHILL_STATUS_INVALID_CONFIG, "no error");
  return downhill_last_error();
}

static void at_exit(void) {
  CHECK(strncmp(kept, "`lr` is -1.0;", 13) == 0, "it has become \"%s\"", kept);
  CHECK(strncmp(failed(-2.0), "`lr` is -2.0;", 13) == 0, "it says \"%s\"", downhill_last_error());
  printf("errors have their text to the end\n");
}

int main(void) {
  CHECK(atexit(at_exit) == 0, "atexit");
  kept = failed(-1.0);
  return 0;
}
