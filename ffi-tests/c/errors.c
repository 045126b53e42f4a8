/* Every error path: the status, the text that names the argument, and that nothing was written. */
#include <downhill.h>

#include "check.h"

enum { N = 40 };

/* w, g and two states, and what they hold before the call. */
static float arrays[4 * N], before[4 * N];
static unsigned cases;

static float *const w = arrays, *const g = arrays + N, *const m = arrays + 2 * N, *const v = arrays + 3 * N;

static void prepare(void) {
  int i;
  for (i = 0; i < 4 * N; i++) arrays[i] = uniform();
  memcpy(before, arrays, sizeof arrays);
}

static void expect(downhill_status got, downhill_status wanted, const char *text, int line) {
  CHECK(got == wanted, "line %d: status %lu, not %lu: %s", line, (unsigned long)got, (unsigned long)wanted,
        downhill_last_error());
  CHECK(wanted == DOWNHILL_STATUS_OK || strstr(downhill_last_error(), text) != NULL,
        "line %d: \"%s\" does not say \"%s\"", line, downhill_last_error(), text);
  CHECK(memcmp(before, arrays, sizeof arrays) == 0, "line %d: something was written", line);
  cases++;
}

/* `call` must return `status`, say `text`, and write nothing. */
#define EXPECT(status, text, call) (prepare(), expect((call), DOWNHILL_STATUS_##status, text, __LINE__))

static const downhill_sgd sgd = {sizeof(downhill_sgd), DOWNHILL_DECAY_L2, 0.1, 0.1};

/* An array argument of any value, in every place. */
static void expect_array(downhill_status status, float *bad, const char *text) {
  const downhill_momentum momentum = downhill_momentum_default();
  const downhill_adam adam = downhill_adam_default();
  const char *names[] = {"`w`", "`g`", "`m`", "`v`"};
  int k;
  for (k = 0; k < 4; k++) {
    float *a[4] = {w, g, m, v};
    a[k] = bad;
    prepare();
    if (k < 2) {
      expect(downhill_sgd_step(N, a[0], a[1], &sgd), status, names[k], __LINE__);
      CHECK(strstr(downhill_last_error(), text), "\"%s\" does not say \"%s\"", downhill_last_error(), text);
    }
    if (k < 3) expect(downhill_momentum_step(N, a[0], a[1], a[2], &momentum), status, k == 2 ? "`u`" : names[k], __LINE__);
    expect(downhill_adam_step(N, a[0], a[1], a[2], a[3], 1, &adam), status, names[k], __LINE__);
  }
}

static void pointers(void) {
  const downhill_momentum momentum = downhill_momentum_default();
  const downhill_adam adam = downhill_adam_default();
  float *off_by_one = (float *)((char *)arrays + 1);
  int i, j;
  expect_array(DOWNHILL_STATUS_NULL_POINTER, NULL, "NULL");
  expect_array(DOWNHILL_STATUS_MISALIGNED, off_by_one, "multiple of 4");
  EXPECT(NULL_POINTER, "`config`", downhill_sgd_step(N, w, g, NULL));
  EXPECT(NULL_POINTER, "`config`", downhill_momentum_step(N, w, g, m, NULL));
  EXPECT(NULL_POINTER, "`config`", downhill_adam_step(N, w, g, m, v, 1, NULL));
  EXPECT(MISALIGNED, "`config`", downhill_sgd_step(N, w, g, (const downhill_sgd *)(const void *)off_by_one));

  /* Any two arrays that are the same one, or share their first or last element. */
  for (i = 0; i < 4; i++)
    for (j = 0; j < 4; j++) {
      int shift;
      for (shift = -(N - 1); shift <= N - 1; shift += N - 1) {
        float *a[4] = {w, g, m, v};
        if (i == j || (j == 0 && shift < 0) || (j == 3 && shift > 0)) continue;
        a[i] = a[j] + shift;
        prepare();
        expect(downhill_adam_step(N, a[0], a[1], a[2], a[3], 1, &adam), DOWNHILL_STATUS_OVERLAP, "share memory", __LINE__);
        if (i < 3 && j < 3) {
          prepare();
          expect(downhill_momentum_step(N, a[0], a[1], a[2], &momentum), DOWNHILL_STATUS_OVERLAP, "share memory", __LINE__);
        }
        if (i < 2 && j < 2) {
          prepare();
          expect(downhill_sgd_step(N, a[0], a[1], &sgd), DOWNHILL_STATUS_OVERLAP, "share memory", __LINE__);
        }
      }
    }
  /* Arrays that only touch are apart. */
  prepare();
  CHECK(downhill_sgd_step(N, w, w + N, &sgd) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
  CHECK(memcmp(before, arrays, N * sizeof *w) != 0, "nothing was written");
  CHECK(memcmp(before + N, g, 3 * N * sizeof *w) == 0, "written past the end");
}

static void lengths(void) {
  const downhill_momentum momentum = downhill_momentum_default();
  const downhill_adam adam = downhill_adam_default();
  const size_t too_long[] = {SIZE_MAX, SIZE_MAX / 4, PTRDIFF_MAX / 4 + 1};
  size_t i;
  for (i = 0; i < sizeof too_long / sizeof *too_long; i++) {
    EXPECT(INVALID_LENGTH, "`n`", downhill_sgd_step(too_long[i], w, g, &sgd));
    EXPECT(INVALID_LENGTH, "`n`", downhill_momentum_step(too_long[i], w, g, m, &momentum));
    EXPECT(INVALID_LENGTH, "`n`", downhill_adam_step(too_long[i], w, g, m, v, 1, &adam));
  }
  /* Long enough to leave the address space from a high address, though not too long in itself. */
  EXPECT(INVALID_LENGTH, "`g`", downhill_sgd_step(N, w, (const float *)(UINTPTR_MAX - 7), &sgd));

  /* n = 0: any array pointers, but the rest is checked. */
  {
    float *bad = (float *)((char *)arrays + 1);
    downhill_sgd wrong = sgd;
    wrong.lr = -1.0;
    EXPECT(OK, "", downhill_sgd_step(0, NULL, NULL, &sgd));
    EXPECT(OK, "", downhill_momentum_step(0, NULL, NULL, NULL, &momentum));
    EXPECT(OK, "", downhill_adam_step(0, NULL, NULL, NULL, NULL, 1, &adam));
    EXPECT(OK, "", downhill_adam_step(0, w, w, w, w, 1, &adam));
    EXPECT(OK, "", downhill_sgd_step(0, bad, bad, &sgd));
    EXPECT(NULL_POINTER, "`config`", downhill_sgd_step(0, NULL, NULL, NULL));
    EXPECT(INVALID_CONFIG, "`lr`", downhill_sgd_step(0, NULL, NULL, &wrong));
    EXPECT(INVALID_STEP, "`t`", downhill_adam_step(0, NULL, NULL, NULL, NULL, 0, &adam));
  }
  EXPECT(INVALID_STEP, "`t` is 0", downhill_adam_step(N, w, g, m, v, 0, &adam));
}

/* Each value in turn in one field of a configuration, which is then refused by name. */
#define REFUSE(type, field, call, ...)                                        \
  do {                                                                        \
    const double refused[] = {__VA_ARGS__};                                   \
    size_t k;                                                                 \
    for (k = 0; k < sizeof refused / sizeof *refused; k++) {                  \
      downhill_##type config = downhill_##type##_default();                   \
      config.field = refused[k];                                              \
      EXPECT(INVALID_CONFIG, "`" #field "`", call);                           \
    }                                                                         \
  } while (0)

#define REFUSE_ENUM(type, field, value, call)                                 \
  do {                                                                        \
    downhill_##type config = downhill_##type##_default();                     \
    config.field = value;                                                     \
    EXPECT(INVALID_CONFIG, "`" #field "` is " #value, call);                  \
  } while (0)

#define NOT_NON_NEGATIVE -1e-300, -1.0, 1e39, 1e300, (double)NAN, (double)INFINITY, -(double)INFINITY
#define NOT_BELOW_ONE -0.1, 1.0, 1.5, (double)NAN, (double)INFINITY
#define NOT_AT_MOST_ONE -0.1, 1.0000001, (double)NAN, (double)INFINITY

static void hyperparameters(void) {
  REFUSE(sgd, lr, downhill_sgd_step(N, w, g, &config), NOT_NON_NEGATIVE);
  REFUSE(sgd, weight_decay, downhill_sgd_step(N, w, g, &config), NOT_NON_NEGATIVE);
  REFUSE_ENUM(sgd, decay, 2, downhill_sgd_step(N, w, g, &config));

  REFUSE(momentum, lr, downhill_momentum_step(N, w, g, m, &config), NOT_NON_NEGATIVE);
  REFUSE(momentum, momentum, downhill_momentum_step(N, w, g, m, &config), NOT_BELOW_ONE);
  REFUSE(momentum, dampening, downhill_momentum_step(N, w, g, m, &config), NOT_AT_MOST_ONE);
  REFUSE(momentum, weight_decay, downhill_momentum_step(N, w, g, m, &config), NOT_NON_NEGATIVE);
  REFUSE_ENUM(momentum, form, 2, downhill_momentum_step(N, w, g, m, &config));
  REFUSE_ENUM(momentum, decay, 4294967295, downhill_momentum_step(N, w, g, m, &config));
  /* The classic form has no dampening. */
  REFUSE(momentum, dampening, downhill_momentum_step(N, w, g, m, &config), 0.1);

  REFUSE(adam, lr, downhill_adam_step(N, w, g, m, v, 1, &config), NOT_NON_NEGATIVE);
  REFUSE(adam, beta1, downhill_adam_step(N, w, g, m, v, 1, &config), NOT_BELOW_ONE);
  REFUSE(adam, beta2, downhill_adam_step(N, w, g, m, v, 1, &config), NOT_BELOW_ONE);
  REFUSE(adam, eps, downhill_adam_step(N, w, g, m, v, 1, &config), NOT_NON_NEGATIVE);
  REFUSE(adam, weight_decay, downhill_adam_step(N, w, g, m, v, 1, &config), NOT_NON_NEGATIVE);
  REFUSE_ENUM(adam, bias_correction, 3, downhill_adam_step(N, w, g, m, v, 1, &config));
  REFUSE_ENUM(adam, decay, 2, downhill_adam_step(N, w, g, m, v, 1, &config));
  /* Finite in f32, but lr/(1 - beta1) is not. */
  REFUSE(adam, lr, downhill_adam_step(N, w, g, m, v, 1, &config), 3e38);
  /* And 1 - lr*weight_decay is not. */
  {
    downhill_sgd config = downhill_sgd_default();
    config.decay = DOWNHILL_DECAY_DECOUPLED;
    config.lr = config.weight_decay = 1e30;
    EXPECT(INVALID_CONFIG, "`weight_decay`", downhill_sgd_step(N, w, g, &config));
  }
}

/* A configuration as a later release might have it, with fields that this one does not know. */
typedef struct {
  downhill_adam known;
  unsigned char added[4096];
} later;

static void struct_sizes(void) {
  const uint32_t own = (uint32_t)sizeof(downhill_adam);
  const uint32_t refused[] = {0, 1, 4, own - 8, own - 1, 4097, UINT32_MAX};
  static later config;
  size_t i;
  config.known = downhill_adam_default();
  for (i = 0; i < sizeof refused / sizeof *refused; i++) {
    config.known.struct_size = refused[i];
    EXPECT(INVALID_CONFIG, "`struct_size` is", downhill_adam_step(N, w, g, m, v, 1, &config.known));
  }
  /* Up to 4,096 bytes are fine if what follows is zero ... */
  for (i = own; i <= 4096; i++) {
    config.known.struct_size = (uint32_t)i;
    EXPECT(OK, "", downhill_adam_step(0, NULL, NULL, NULL, NULL, 1, &config.known));
  }
  /* ... and refused if any byte of it is not. */
  for (i = 0; i < 4096 - own; i++) {
    config.added[i] = 1;
    EXPECT(INVALID_CONFIG, "not zero", downhill_adam_step(N, w, g, m, v, 1, &config.known));
    config.added[i] = 0;
  }
  /* What stands after struct_size bytes is not read. */
  config.known.struct_size = own + 8;
  config.added[8] = 1;
  EXPECT(OK, "", downhill_adam_step(0, NULL, NULL, NULL, NULL, 1, &config.known));
  /* A longer configuration steps like its known part. */
  {
    float copy[4 * N];
    const downhill_adam known = downhill_adam_default();
    prepare();
    for (i = 0; i < N; i++) v[i] = fabsf(v[i]);
    memcpy(copy, arrays, sizeof copy);
    CHECK(downhill_adam_step(N, w, g, m, v, 1, &config.known) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(downhill_adam_step(N, copy, copy + N, copy + 2 * N, copy + 3 * N, 1, &known) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    CHECK(memcmp(copy, arrays, sizeof copy) == 0, "another step");
    CHECK(memcmp(before, w, N * sizeof *w) != 0, "no step");
  }
}

static void messages(void) {
  const uint32_t known[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 99};
  size_t i, j;
  for (i = 0; i < 10; i++) {
    CHECK(strcmp(downhill_status_message(known[i]), "unknown status") != 0, "%lu", (unsigned long)known[i]);
    for (j = 0; j < i; j++)
      CHECK(strcmp(downhill_status_message(known[i]), downhill_status_message(known[j])) != 0, "%lu", (unsigned long)known[i]);
  }
  CHECK(strcmp(downhill_status_message(9), "unknown status") == 0, "9");
  CHECK(strcmp(downhill_status_message(UINT32_MAX), "unknown status") == 0, "-1");
}

static void versions(void) {
  char version[40];
  snprintf(version, sizeof version, "%d.%d.%d", DOWNHILL_VERSION_MAJOR, DOWNHILL_VERSION_MINOR, DOWNHILL_VERSION_PATCH);
  CHECK(strcmp(downhill_version(), version) == 0, "%s, not %s", downhill_version(), version);
  CHECK(downhill_version_number() == DOWNHILL_VERSION_NUMBER, "%lu", (unsigned long)downhill_version_number());
}

int main(void) {
  CHECK(strcmp(downhill_last_error(), "") == 0, "an error before any call");
  versions();
  pointers();
  lengths();
  hyperparameters();
  struct_sizes();
  messages();
  printf("%u calls, each with the right status and nothing written\n", cases);
  return 0;
}
