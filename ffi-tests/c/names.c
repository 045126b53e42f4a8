/* A program with names of its own that a header might take: before the header, and after it. */
enum { Success, Failure };
struct Pool;
struct Error;
enum ISA { scalar, avx2 };
static int step, status, tensor, report, extras, N, MOST;
#include <downhill.h>
#include <stdio.h>
typedef struct Adam { int lr; } Adam;
enum { L2, DECOUPLED, OK };

int main(void) {
  struct Pool *pool = NULL;
  struct Error *error = NULL;
  Adam adam = {Failure};
  step = status = tensor = report = extras = N = MOST = OK;
  (void)Success, (void)L2, (void)DECOUPLED, (void)scalar, (void)avx2, (void)step, (void)status, (void)tensor;
  (void)report, (void)extras, (void)N, (void)MOST;
  printf("the header takes no name\n");
  return pool == NULL && error == NULL && adam.lr == 1 ? 0 : 1;
}
