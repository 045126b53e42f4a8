/* Prints what the header says its version is, and what the library says: parts and number, string and number. */
#include <downhill.h>

#include <stdio.h>

int main(void) {
  printf("%d.%d.%d %d\n", DOWNHILL_VERSION_MAJOR, DOWNHILL_VERSION_MINOR, DOWNHILL_VERSION_PATCH, DOWNHILL_VERSION_NUMBER);
  printf("%s %lu\n", downhill_version(), (unsigned long)downhill_version_number());
  return 0;
}
