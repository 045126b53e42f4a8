/*
 * downhill.h: fused optimizer steps on f32 arrays, bit-identical on every CPU.
 *
 * Generated from the Rust sources. Licensed MIT OR Apache-2.0.
 *
 * INTRODUCTION
 *
 * A step reads a gradient `g` and updates weights `w` and the rule's state in place, in one pass, on the
 * calling thread:
 *
 *     downhill_adam config = downhill_adam_default();
 *     config.lr = 3e-4;
 *     for (uint64_t t = 1; t <= steps; t++) {
 *         ... compute g ...
 *         if (downhill_adam_step(n, w, g, m, v, t, &config) != DOWNHILL_STATUS_OK)
 *             fprintf(stderr, "%s\n", downhill_last_error());
 *     }
 *
 * Preconditions of every step function:
 *   - Each array has n elements of type float, aligned to 4 bytes, initialized. State arrays are zeros
 *     before the first step. n = 0 is allowed, and the array pointers may then be anything.
 *   - No two arrays share memory. During the call nobody else writes to any of them, or reads one that
 *     is updated.
 *   - config points to a configuration whose first member, struct_size, says how long it is. Make it with
 *     the downhill_..._default() function of the rule. One from a later release of this header works as
 *     long as its additions are zero.
 * Then, with different arrays, steps may be called from any number of threads at once.
 *
 * Status: every step function returns DOWNHILL_STATUS_OK or one of
 *   _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH    an array, n or config
 *   _INVALID_STEP                                            t is 0 (rules that count steps)
 *   _INVALID_CONFIG                                          config, or DOWNHILL_ISA in the environment
 *   _PANIC                                                   a bug in this library
 * On any status but OK no array has been written (but after a bug, who knows), and downhill_last_error()
 * says which argument was wrong and what its value was.
 *
 * Numerics: IEEE-754 binary32, each operation of the formula rounded to nearest even on its own, in the
 * order written, never fused: what a plain C loop gives with -ffp-contract=off. Hyper-parameters are
 * doubles; what is derived from them (1-beta, lr/(1-beta1^t), ...) is computed in double and rounded once.
 * A subnormal state value is read as +0. NaN and infinity follow IEEE. The bits do not depend on the
 * instruction set, on alignment, on how arrays are cut into calls, or on the caller's rounding mode and
 * flush-to-zero setting, which are put back.
 *
 * Nothing is allocated, printed or locked by a step, and no thread is started.
 *
 * CONTENTS
 *   1. Version     DOWNHILL_VERSION_..., downhill_version(), downhill_version_number(), downhill_isa()
 *   2. Status      downhill_status, downhill_status_message(), downhill_last_error()
 *   3. Configurations and their defaults
 *   4. Steps       downhill_sgd_step(), downhill_momentum_step(), downhill_adam_step()
 */

#ifndef DOWNHILL_H
#define DOWNHILL_H

#include <stddef.h>
#include <stdint.h>

/* ======== 1. Version ======== */

/**
 * Major version of this header.
 */
#define DOWNHILL_VERSION_MAJOR 0

/**
 * Minor version of this header.
 */
#define DOWNHILL_VERSION_MINOR 1

/**
 * Patch version of this header.
 */
#define DOWNHILL_VERSION_PATCH 0

/**
 * Version of this header as one number that grows: 10000*major + 100*minor + patch.
 */
#define DOWNHILL_VERSION_NUMBER (((DOWNHILL_VERSION_MAJOR * 10000) + (DOWNHILL_VERSION_MINOR * 100)) + DOWNHILL_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Version of the library that is linked, which can differ from the header's.
 *
 * @return "major.minor.patch", a string that lives as long as the program
 *
 * Since 0.1.0.
 */
const char *downhill_version(void);

/**
 * Version of the library that is linked as one number, to compare with DOWNHILL_VERSION_NUMBER.
 *
 * @return 10000*major + 100*minor + patch
 *
 * Since 0.1.0.
 */
uint32_t downhill_version_number(void);

/**
 * The instruction set that steps use in this process: the widest that this CPU has, or a lower one
 * that DOWNHILL_ISA in the environment names ("avx512", "avx2", "neon" or "scalar"). All give the same
 * bits. The environment is read once, by the first call that needs it.
 *
 * @return "avx512", "avx2", "neon" or "scalar"; "invalid" if DOWNHILL_ISA names none that this CPU
 *         has, and every step then returns DOWNHILL_STATUS_INVALID_CONFIG. The string lives as long as
 *         the program
 *
 * Since 0.1.0.
 */
const char *downhill_isa(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ======== 2. Status ======== */

/**
 * What a function returns. The values never change and are never reused.
 */
enum downhill_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The step was made.
   */
  DOWNHILL_STATUS_OK = 0,
  /**
   * `config`, or an array while n > 0, is NULL.
   */
  DOWNHILL_STATUS_NULL_POINTER = 1,
  /**
   * A pointer is not aligned to its type.
   */
  DOWNHILL_STATUS_MISALIGNED = 2,
  /**
   * Two arrays share memory.
   */
  DOWNHILL_STATUS_OVERLAP = 3,
  /**
   * n elements do not fit in the address space (n*4 > PTRDIFF_MAX).
   */
  DOWNHILL_STATUS_INVALID_LENGTH = 4,
  /**
   * t is 0. Steps are counted from 1.
   */
  DOWNHILL_STATUS_INVALID_STEP = 5,
  /**
   * A field of the configuration is out of its range, an enumeration value is unknown, struct_size
   * is wrong, or DOWNHILL_ISA in the environment names no instruction set of this CPU.
   */
  DOWNHILL_STATUS_INVALID_CONFIG = 6,
  /**
   * Gradients were not finite and the step was skipped, as asked for.
   */
  DOWNHILL_STATUS_SKIPPED = 7,
  /**
   * Memory could not be had.
   */
  DOWNHILL_STATUS_OUT_OF_MEMORY = 8,
  /**
   * A bug in this library. The arrays may have been written in part.
   */
  DOWNHILL_STATUS_PANIC = 99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum downhill_status downhill_status;
#else
typedef uint32_t downhill_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What a status value means, in one sentence.
 *
 * @param status  any value; one that no function returns gets "unknown status"
 * @return a string that lives as long as the program
 *
 * Since 0.1.0.
 */
const char *downhill_status_message(uint32_t status);

/**
 * Which argument was wrong in the last call of this thread that failed, its value and what is
 * allowed. A call that succeeds leaves it as it is.
 *
 * @return a string that lives until the next failing call in this thread, or the thread's end;
 *         "" if no call has failed
 *
 * Since 0.1.0.
 */
const char *downhill_last_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ======== 3. Configurations ======== */

/**
 * How weight_decay enters a step. With weight_decay = 0 neither does any arithmetic.
 */
enum downhill_decay
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * g += weight_decay*w before the rule.
   */
  DOWNHILL_DECAY_L2 = 0,
  /**
   * w *= 1 - lr*weight_decay before the update (Loshchilov & Hutter, "Decoupled Weight Decay
   * Regularization", 2019).
   */
  DOWNHILL_DECAY_DECOUPLED = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum downhill_decay downhill_decay;
#else
typedef uint32_t downhill_decay;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Where lr stands in a rule with momentum. At a constant lr both walk the same path.
 */
enum downhill_form
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * u = momentum*u + lr*g; w -= u.
   */
  DOWNHILL_FORM_CLASSIC = 0,
  /**
   * u = momentum*u + (1-dampening)*g; w -= lr*u. As PyTorch has it.
   */
  DOWNHILL_FORM_TORCH = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum downhill_form downhill_form;
#else
typedef uint32_t downhill_form;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What Adam divides its moments by.
 */
enum downhill_bias_correction
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * c = 1 - beta^t (Kingma & Ba).
   */
  DOWNHILL_BIAS_CORRECTION_STEP = 0,
  /**
   * c = 1 - beta, at every step.
   */
  DOWNHILL_BIAS_CORRECTION_CONSTANT = 1,
  /**
   * c = 1.
   */
  DOWNHILL_BIAS_CORRECTION_NONE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum downhill_bias_correction downhill_bias_correction;
#else
typedef uint32_t downhill_bias_correction;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The hyper-parameters of downhill_sgd_step. Start from downhill_sgd_default().
 */
typedef struct downhill_sgd {
  /**
   * sizeof(downhill_sgd), set by downhill_sgd_default().
   */
  uint32_t struct_size;
  /**
   * A downhill_decay. Default DOWNHILL_DECAY_L2.
   */
  uint32_t decay;
  /**
   * Learning rate, finite and >= 0. Default 1e-3.
   */
  double lr;
  /**
   * Finite and >= 0. Default 0.
   */
  double weight_decay;
} downhill_sgd;

/**
 * The hyper-parameters of downhill_momentum_step. Start from downhill_momentum_default().
 */
typedef struct downhill_momentum {
  /**
   * sizeof(downhill_momentum), set by downhill_momentum_default().
   */
  uint32_t struct_size;
  /**
   * A downhill_form. Default DOWNHILL_FORM_CLASSIC.
   */
  uint32_t form;
  /**
   * A downhill_decay. Default DOWNHILL_DECAY_L2.
   */
  uint32_t decay;
  /**
   * Learning rate, finite and >= 0. Default 1e-3.
   */
  double lr;
  /**
   * How much of the last step is kept, in [0, 1). Default 0.9.
   */
  double momentum;
  /**
   * How much of the gradient is left out of u, in [0, 1]; 0 in the classic form, which has none.
   * Default 0.
   */
  double dampening;
  /**
   * Finite and >= 0. Default 0.
   */
  double weight_decay;
} downhill_momentum;

/**
 * The hyper-parameters of downhill_adam_step. Start from downhill_adam_default().
 */
typedef struct downhill_adam {
  /**
   * sizeof(downhill_adam), set by downhill_adam_default().
   */
  uint32_t struct_size;
  /**
   * A downhill_bias_correction. Default DOWNHILL_BIAS_CORRECTION_STEP.
   */
  uint32_t bias_correction;
  /**
   * A downhill_decay. Default DOWNHILL_DECAY_L2.
   */
  uint32_t decay;
  /**
   * Learning rate, finite and >= 0. Default 1e-3.
   */
  double lr;
  /**
   * Decay rate of the first moment, in [0, 1). Default 0.9.
   */
  double beta1;
  /**
   * Decay rate of the second moment, in [0, 1). Default 0.999.
   */
  double beta2;
  /**
   * Added to the denominator, outside the root; finite and >= 0. Default 1e-8.
   */
  double eps;
  /**
   * Finite and >= 0. Default 0.
   */
  double weight_decay;
} downhill_adam;

/** The defaults of downhill_sgd. Since 0.1.0. */
static inline downhill_sgd downhill_sgd_default(void) {
  downhill_sgd config;
  config.struct_size = (uint32_t)sizeof config;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 1e-3;
  config.weight_decay = 0.0;
  return config;
}

/** The defaults of downhill_momentum. Since 0.1.0. */
static inline downhill_momentum downhill_momentum_default(void) {
  downhill_momentum config;
  config.struct_size = (uint32_t)sizeof config;
  config.form = DOWNHILL_FORM_CLASSIC;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 1e-3;
  config.momentum = 0.9;
  config.dampening = 0.0;
  config.weight_decay = 0.0;
  return config;
}

/** The defaults of downhill_adam. Since 0.1.0. */
static inline downhill_adam downhill_adam_default(void) {
  downhill_adam config;
  config.struct_size = (uint32_t)sizeof config;
  config.bias_correction = DOWNHILL_BIAS_CORRECTION_STEP;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 1e-3;
  config.beta1 = 0.9;
  config.beta2 = 0.999;
  config.eps = 1e-8;
  config.weight_decay = 0.0;
  return config;
}

/* ======== 4. Steps ======== */

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * One step of gradient descent (Robbins & Monro, "A Stochastic Approximation Method", 1951). For each
 * element:
 *
 * - w -= lr*g
 *
 * @param n       number of elements
 * @param w       weights, updated
 * @param g       gradient
 * @param config  hyper-parameters, as from downhill_sgd_default()
 * @return DOWNHILL_STATUS_OK, or what the introduction lists
 *
 * Since 0.1.0.
 */
downhill_status downhill_sgd_step(size_t n, float *w, const float *g, const downhill_sgd *config);

/**
 * One step of gradient descent with momentum (Rumelhart, Hinton & Williams, "Learning representations
 * by back-propagating errors", 1986). For each element, in the classic form and in the torch form:
 *
 * - u = momentum*u + lr*g; w -= u
 * - u = momentum*u + (1-dampening)*g; w -= lr*u
 *
 * @param n       number of elements
 * @param w       weights, updated
 * @param g       gradient
 * @param u       state, updated; zeros before the first step
 * @param config  hyper-parameters, as from downhill_momentum_default()
 * @return DOWNHILL_STATUS_OK, or what the introduction lists
 *
 * Since 0.1.0.
 */
downhill_status downhill_momentum_step(size_t n,
                                       float *w,
                                       const float *g,
                                       float *u,
                                       const downhill_momentum *config);

/**
 * One step of Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014). For each
 * element, with c1 and c2 as downhill_bias_correction says, a = lr/c1 and k = 1/sqrt(c2):
 *
 * - m = beta1*m + (1-beta1)*g
 * - v = beta2*v + ((1-beta2)*g)*g
 * - w -= (a*m)/(sqrt(v)*k + eps)
 *
 * @param n       number of elements
 * @param w       weights, updated
 * @param g       gradient
 * @param m       state, updated; zeros before the first step
 * @param v       state, updated; zeros before the first step
 * @param t       number of this step, counted from 1 by the caller
 * @param config  hyper-parameters, as from downhill_adam_default()
 * @return DOWNHILL_STATUS_OK, or what the introduction lists
 *
 * Since 0.1.0.
 */
downhill_status downhill_adam_step(size_t n,
                                   float *w,
                                   const float *g,
                                   float *m,
                                   float *v,
                                   uint64_t t,
                                   const downhill_adam *config);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif /* DOWNHILL_H */
