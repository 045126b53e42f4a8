/* Prints the instruction set, the status of a step, and what was wrong. */
#include <downhill.h>

#include "check.h"

int main(void) {
  float w[3] = {1.0f, 2.0f, 3.0f};
  const float g[3] = {1.0f, 1.0f, 1.0f};
  const downhill_sgd config = downhill_sgd_default();
  const downhill_status status = downhill_sgd_step(3, w, g, &config);
  CHECK((w[0] != 1.0f) == (status == DOWNHILL_STATUS_OK), "written, or not, against the status");
  CHECK(downhill_sgd_step(3, w, g, &config) == status, "another status for the same call");
  printf("%s %d %s\n", downhill_isa(), (int)status, downhill_last_error());
  return 0;
}
