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
 * A whole training step does that for many tensors in one call, by several threads if wanted: it scales the
 * gradients, clips them by their common norm, skips the step if one is not finite, updates, and sets the
 * gradients to zero:
 *
 *     downhill_tensor tensors[] = {{n0, w0, g0, {m0, v0}}, {n1, w1, g1, {m1, v1}}};
 *     downhill_pool *pool = downhill_pool_new(0);
 *     downhill_extras extras = downhill_extras_default();
 *     extras.max_norm = 1.0;
 *     extras.flags = DOWNHILL_ZERO_GRAD | DOWNHILL_SKIP_NONFINITE;
 *     for (uint64_t t = 1; t <= steps;) {
 *         ... compute g0 and g1 ...
 *         downhill_status status = downhill_adam_step_many(2, tensors, t, &config, &extras, pool, NULL);
 *         if (status == DOWNHILL_STATUS_OK)
 *             t++;
 *         else if (status != DOWNHILL_STATUS_SKIPPED)
 *             fprintf(stderr, "%s\n", downhill_last_error());
 *     }
 *
 * A skipped step is not counted: the next call has the same t.
 *
 * States can be packed in a quarter or half of the memory, and weights and gradients be bfloat16. A whole step then
 * moves fewer bytes, which is what it waits for on large arrays. Each state is rounded at random, and right on average:
 *
 *     downhill_packing packing = downhill_packing_default();
 *     size_t bytes = downhill_packed_bytes(2, n, packing.state_format);
 *     downhill_packed_tensor tensor = {n, w, g, calloc(bytes, 1), bytes, 0};
 *     status = downhill_adam_step_packed(1, &tensor, t, &config, &packing, &extras, pool, NULL);
 *
 * Preconditions of every step function:
 *   - Each array has n elements of type float, aligned to 4 bytes, initialized. State arrays are zeros
 *     before the first step. An array that the configuration does not ask for is NULL (g_avg and u of
 *     downhill_rmsprop_step(), say). n = 0 is allowed, and the array pointers may then be anything.
 *   - No two arrays share memory. During the call nobody else writes to any of them, or reads one that
 *     is updated. A step over many tensors checks all arrays of all of them, and wants g for itself, too.
 *   - Packed states are state_bytes bytes, zeros before the first step; weights and gradients beside them are
 *     n elements of float or of uint16_t (aligned to that), as weight_format says.
 *   - config points to a configuration of the very rule, made with its downhill_..._default() function. Its first
 *     8 bytes say how long it is and which rule it is for.
 *   - tensors points to count initialized tensors. count = 0 is allowed, and tensors may then be anything.
 * Then, with different arrays, steps may be called from any number of threads at once. A signal handler may call
 * no function of this library.
 *
 * Status: a step returns DOWNHILL_STATUS_OK or another downhill_status. On any but OK and _PANIC no array has been
 * written, and downhill_last_error() says which argument (and of which tensor, counted from 0) was wrong and what its
 * value was.
 *
 * Numerics: IEEE-754 binary32, each operation of the formula rounded to nearest even on its own, in the
 * order written, never fused: what a plain C loop gives with -ffp-contract=off. Hyper-parameters are
 * doubles; what is derived from them (1-beta, lr/(1-beta1^t), ...) is computed in double and rounded once.
 * A subnormal state value is read as +0. NaN and infinity follow IEEE. The bits do not depend on the
 * instruction set, on alignment, on how arrays are cut into calls, on threads, or (on x86, aarch64 and s390x) on the
 * caller's rounding mode and flush-to-zero setting, which are put back. A step over many tensors gives each the bits that the
 * plain step gives it, with the gradient g*s where s is grad_scale*min(1, max_norm/(norm + 1e-6)), rounded to
 * float, and norm that of all scaled gradients together. With s = 1 there is no multiplication. A step on packed states
 * decodes them exactly, makes the plain step, and encodes; the random bits depend on seed, t and the element's number.
 * Such a tensor has the same bits if it is cut at multiples of 64 elements.
 *
 * A plain step allocates nothing, prints nothing, takes no lock and starts no thread; only the first call of
 * a process allocates, to look at the CPU and the environment (downhill_isa() can be that call). A step over
 * many tensors allocates a list of them. The only threads are the pools' that the caller makes. After a
 * fork() the child may step, with a pool of the parent's too, which then works on the calling thread.
 *
 * Compatibility: a program that was built with this header runs with the library of the same release and with
 * later ones, of the same minor version before 1.0 and of the same major version from then on. A later library
 * that it does not run with has another SONAME; an earlier one with the same SONAME may lack functions.
 * downhill.hpp is this header for C++17.
 *
 * CONTENTS
 *   1. Version     DOWNHILL_VERSION_..., downhill_version(), downhill_version_number(), downhill_isa()
 *   2. Status      downhill_status, downhill_status_message(), downhill_last_error()
 *   3. Configurations
 *                  DOWNHILL_RULE_..., downhill_decay, downhill_form, downhill_config_default()
 *   4. Plain steps
 *                  for each rule R: downhill_R, downhill_R_default(), downhill_R_step()
 *   5. Pools       downhill_pool_new(), downhill_pool_new_on(), downhill_pool_threads(), downhill_pool_free()
 *   6. Whole steps over many tensors
 *                  downhill_extras, downhill_extras_default(), downhill_tensor, downhill_report, downhill_grad_norm();
 *                  downhill_sgd_step_many(), and so on for every rule, with t where the plain step has it
 *   7. Packed      downhill_state_format, downhill_weight_format, downhill_rounding;
 *                  downhill_packing, downhill_packing_default(), downhill_packed_tensor, downhill_packed_bytes();
 *                  downhill_momentum_step_packed(), and so for adam, adamw and lion;
 *                  downhill_momentum_pack(), downhill_momentum_unpack(), and so for adam and lion
 */

#ifndef DOWNHILL_H
#define DOWNHILL_H

/** @file
 * Fused optimizer steps on f32 arrays. The introduction is at the top of the file. */

#include <stddef.h>
#include <stdint.h>

/** Defaults are functions of this header, and not of the library. In C++ `static` would give each file one of its
 * own, which an inline function of another header or a module must not call. */
#ifdef __cplusplus
#define DOWNHILL_INLINE inline
#else
#define DOWNHILL_INLINE static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ======== 1. Version ======== */

/** Major version of this header. */
#define DOWNHILL_VERSION_MAJOR 0
/** Minor version of this header. */
#define DOWNHILL_VERSION_MINOR 1
/** Patch version of this header. */
#define DOWNHILL_VERSION_PATCH 0
/** Version of this header as one number that grows: 10000*major + 100*minor + patch. */
#define DOWNHILL_VERSION_NUMBER (((DOWNHILL_VERSION_MAJOR * 10000) + (DOWNHILL_VERSION_MINOR * 100)) + DOWNHILL_VERSION_PATCH)

/**
 * Version of the library that is linked, which can differ from the header's.
 *
 * @return "major.minor.patch", a string that lives as long as the program
 *
 * Threads: any number at once. Since 0.1.0.
 */
const char *downhill_version(void);

/**
 * Version of the library that is linked as one number, to compare with DOWNHILL_VERSION_NUMBER.
 *
 * @return 10000*major + 100*minor + patch
 *
 * Threads: any number at once. Since 0.1.0.
 */
uint32_t downhill_version_number(void);

/**
 * The instruction set that steps use in this process: the widest that this CPU has, or a lower one
 * that DOWNHILL_ISA in the environment names ("avx512", "avx2", "neon" or "scalar"; empty is as unset). All give the
 * same bits. The environment is read once, by the first call that needs it. That call looks at everything else that a
 * process looks at once, too: make it before you fork, if another thread could be in its first call of this library
 * just then, or the child may wait for that thread for ever.
 *
 * @return "avx512", "avx2", "neon" or "scalar"; "invalid" if DOWNHILL_ISA names none that this CPU
 *         has, and every step then returns DOWNHILL_STATUS_INVALID_CONFIG. The string lives as long as
 *         the program
 *
 * Threads: any number at once. Since 0.1.0.
 */
const char *downhill_isa(void);

/* ======== 2. Status ======== */

/** What a function returns. The values never change and are never reused. */
typedef uint32_t downhill_status;

/** The step was made. */
#define DOWNHILL_STATUS_OK 0
/** A pointer is NULL that may not be. */
#define DOWNHILL_STATUS_NULL_POINTER 1
/** A pointer is not aligned to its type. */
#define DOWNHILL_STATUS_MISALIGNED 2
/** Two arrays share memory. */
#define DOWNHILL_STATUS_OVERLAP 3

/**
 * n elements do not fit in the address space (n*4 > PTRDIFF_MAX), or as many tensors as count says; or
 * state_bytes is not what downhill_packed_bytes() says.
 */
#define DOWNHILL_STATUS_INVALID_LENGTH 4
/** t is 0. Steps are counted from 1. */
#define DOWNHILL_STATUS_INVALID_STEP 5

/**
 * A configuration is not the rule's, a field is out of its range, a value is unknown, struct_size is
 * wrong, an array is there that the configuration does not ask for, first_element is not a multiple of
 * 64, or DOWNHILL_ISA in the environment names no instruction set of this CPU.
 */
#define DOWNHILL_STATUS_INVALID_CONFIG 6

/**
 * The step was skipped, as DOWNHILL_SKIP_NONFINITE asks for: a gradient is NaN or infinite, or could
 * become so when it is scaled. Nothing has changed. A skipped step is not counted: the next call has
 * the same t.
 */
#define DOWNHILL_STATUS_SKIPPED 7
/** Memory for the list of tensors could not be had. */
#define DOWNHILL_STATUS_OUT_OF_MEMORY 8
/** A bug in this library. The arrays may have been written in part. */
#define DOWNHILL_STATUS_PANIC 99



/**
 * What a status value means, in one sentence.
 *
 * @param status  any value; one that no function returns gets "unknown status"
 * @return a string that lives as long as the program
 *
 * Threads: any number at once. Since 0.1.0.
 */
const char *downhill_status_message(uint32_t status);

/**
 * Which argument was wrong in the last call of this thread that failed, its value and what is
 * allowed. A call that succeeds leaves it as it is.
 *
 * @return a string of at most 511 bytes that lives until the next failing call in this thread, or the
 *         thread's end (in the first thread also in atexit() handlers and static destructors); "" if no
 *         call has failed
 *
 * Threads: any number at once; each has its own text. Since 0.1.0.
 */
const char *downhill_last_error(void);

/* ======== 3. Configurations ======== */

/* A configuration holds the hyper-parameters of a rule. Make it with the rule's downhill_R_default(), then
 * set fields:
 *
 *   struct_size   sizeof the structure, set by downhill_R_default(). A later release's may be larger, up to
 *                 512 bytes, if all that this release does not know is zero.
 *   rule          which rule it is for, a DOWNHILL_RULE_..., set by downhill_R_default().
 *   decay         a downhill_decay: how weight_decay enters.
 *   reserved      0.
 *   weight_decay  finite and >= 0. DOWNHILL_DECAY_DECOUPLED says what becomes of a very small one.
 *
 * What is said to be finite must be so as a float. struct_size and rule are the first 8 bytes of every
 * configuration, in all releases.
 */

/** downhill_sgd, for downhill_sgd_step(). */
#define DOWNHILL_RULE_SGD 1
/** downhill_momentum, for downhill_momentum_step(). */
#define DOWNHILL_RULE_MOMENTUM 2
/** downhill_nesterov, for downhill_nesterov_step(). */
#define DOWNHILL_RULE_NESTEROV 3
/** downhill_adagrad, for downhill_adagrad_step(). */
#define DOWNHILL_RULE_ADAGRAD 4
/** downhill_adadelta, for downhill_adadelta_step(). */
#define DOWNHILL_RULE_ADADELTA 5
/** downhill_rmsprop, for downhill_rmsprop_step(). */
#define DOWNHILL_RULE_RMSPROP 6
/** downhill_adam, for downhill_adam_step(). */
#define DOWNHILL_RULE_ADAM 7
/** downhill_adam, for downhill_adamw_step(): its decay must be DOWNHILL_DECAY_DECOUPLED. */
#define DOWNHILL_RULE_ADAMW 8
/** downhill_adam, for downhill_amsgrad_step(). */
#define DOWNHILL_RULE_AMSGRAD 9
/** downhill_adamax, for downhill_adamax_step(). */
#define DOWNHILL_RULE_ADAMAX 10
/** downhill_nadam, for downhill_nadam_step(). */
#define DOWNHILL_RULE_NADAM 11
/** downhill_lion, for downhill_lion_step(). */
#define DOWNHILL_RULE_LION 12

/** How weight_decay enters a step. With weight_decay = 0 neither does any arithmetic. */
typedef uint32_t downhill_decay;

/**
 * Whether lr is in the state of a rule with momentum. At a constant lr, and without dampening, both
 * walk the same path.
 */
typedef uint32_t downhill_form;

/** g += weight_decay*w before the rule. */
#define DOWNHILL_DECAY_L2 0

/**
 * w *= 1 - lr*weight_decay before the update (Loshchilov & Hutter, "Decoupled Weight Decay
 * Regularization", 2019). That factor is rounded to float, whose numbers below 1 are 6e-8 apart, in
 * PyTorch as here. With lr*weight_decay below 3e-8 (both 1e-4, say) nothing decays at all, and with
 * 1e-7 (lr 1e-5, weight_decay 0.01) 19 % too much. Where that matters, decay in every k-th step with
 * k*weight_decay, and with 0 in the others.
 */
#define DOWNHILL_DECAY_DECOUPLED 1
/** lr is in the state: u is the last step. */
#define DOWNHILL_FORM_CLASSIC 0
/** lr is outside of the state: u sums gradients. As PyTorch has it. */
#define DOWNHILL_FORM_TORCH 1

/**
 * Writes the defaults of a rule, as downhill_R_default() returns them: for languages that have no C
 * header.
 *
 * @param rule         which rule, DOWNHILL_RULE_...
 * @param config       a configuration of that rule, written
 * @param struct_size  how long it is, at most 512; behind the fields that this release knows it is set
 *                     to zero
 * @return DOWNHILL_STATUS_OK; _INVALID_CONFIG (rule, struct_size), _NULL_POINTER, _MISALIGNED
 *
 * Threads: any number at once. Since 0.1.0.
 */
downhill_status downhill_config_default(uint32_t rule, void *config, size_t struct_size);

/* ======== 4. Plain steps ======== */

/* A plain step reads the gradient g and updates the weights w and the rule's states, on the calling thread.
 * Each rule has a configuration, its defaults and one step function. The formulas are for each element, in
 * this order.
 *
 * @param n       number of elements of every array; with 0 the array pointers may be anything
 * @param w       weights, updated
 * @param g       gradient
 * @param ...     states, updated; zeros before the first step
 * @param t       number of this step, counted from 1 by the caller; for rules that count steps
 * @param config  hyper-parameters, as from downhill_R_default(), for this very rule
 * @return DOWNHILL_STATUS_OK; or, with nothing written,
 *         _NULL_POINTER, _MISALIGNED  an array, config
 *         _OVERLAP                    two arrays
 *         _INVALID_LENGTH             n
 *         _INVALID_STEP               t
 *         _INVALID_CONFIG             config, an array that it does not ask for, or DOWNHILL_ISA in the
 *                                     environment
 *         or _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */

/** The hyper-parameters of downhill_sgd_step(). */
typedef struct downhill_sgd {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  double weight_decay;
} downhill_sgd;

/** The defaults of downhill_sgd_step(). */
DOWNHILL_INLINE downhill_sgd downhill_sgd_default(void) {
  downhill_sgd config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_SGD;
  config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0;
  config.lr = 0.001;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Gradient descent (Robbins & Monro, "A Stochastic Approximation Method", 1951).
 *     w -= lr*g
 */
downhill_status downhill_sgd_step(size_t n, float *w, const float *g, const struct downhill_sgd *config);

/** The hyper-parameters of downhill_momentum_step(). */
typedef struct downhill_momentum {
  uint32_t struct_size;
  uint32_t rule;
  downhill_form form;
  downhill_decay decay;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** How much of the last step is kept, in [0, 1). */
  double momentum;
  /** How much of the gradient is left out of u, in [0, 1]; 0 in the classic form, which has none. */
  double dampening;
  double weight_decay;
} downhill_momentum;

/** The defaults of downhill_momentum_step(). */
DOWNHILL_INLINE downhill_momentum downhill_momentum_default(void) {
  downhill_momentum config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_MOMENTUM;
  config.form = DOWNHILL_FORM_CLASSIC;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 0.001;
  config.momentum = 0.9;
  config.dampening = 0.0;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Gradient descent with momentum (Rumelhart, Hinton & Williams, "Learning representations by
 * back-propagating errors", 1986). State: u. In the classic form and in the torch form:
 *     u = momentum*u + lr*g; w -= u
 *     u = momentum*u + (1-dampening)*g; w -= lr*u
 */
downhill_status downhill_momentum_step(size_t n,
                                       float *w,
                                       const float *g,
                                       float *u,
                                       const struct downhill_momentum *config);

/** The hyper-parameters of downhill_nesterov_step(). */
typedef struct downhill_nesterov {
  uint32_t struct_size;
  uint32_t rule;
  downhill_form form;
  downhill_decay decay;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** How much of the last step is kept, in [0, 1). */
  double momentum;
  double weight_decay;
} downhill_nesterov;

/** The defaults of downhill_nesterov_step(). */
DOWNHILL_INLINE downhill_nesterov downhill_nesterov_default(void) {
  downhill_nesterov config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_NESTEROV;
  config.form = DOWNHILL_FORM_CLASSIC;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 0.001;
  config.momentum = 0.9;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Gradient descent with Nesterov's momentum (Nesterov, "A method for solving the convex programming
 * problem with convergence rate O(1/k^2)", 1983, as in Sutskever et al., "On the importance of
 * initialization and momentum in deep learning", 2013). State: u. In the classic form and in the torch
 * form:
 *     u = momentum*u + lr*g; w -= momentum*u + lr*g
 *     u = momentum*u + g; w -= lr*(g + momentum*u)
 */
downhill_status downhill_nesterov_step(size_t n,
                                       float *w,
                                       const float *g,
                                       float *u,
                                       const struct downhill_nesterov *config);

/** The hyper-parameters of downhill_adagrad_step(). */
typedef struct downhill_adagrad {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Added to the denominator, outside the root; finite and >= 0. */
  double eps;
  double weight_decay;
} downhill_adagrad;

/** The defaults of downhill_adagrad_step(). */
DOWNHILL_INLINE downhill_adagrad downhill_adagrad_default(void) {
  downhill_adagrad config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_ADAGRAD;
  config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0;
  config.lr = 0.01;
  config.eps = 1e-10;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Adagrad (Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
 * Optimization", 2011). State: s, which may also start as another initial accumulator.
 *     s += g*g
 *     w -= (lr*g)/(sqrt(s) + eps)
 */
downhill_status downhill_adagrad_step(size_t n,
                                      float *w,
                                      const float *g,
                                      float *s,
                                      const struct downhill_adagrad *config);

/** The hyper-parameters of downhill_adadelta_step(). */
typedef struct downhill_adadelta {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of both averages, in [0, 1]. */
  double rho;
  /**
   * Added inside both roots; finite and >= 0. With 0 nothing ever moves: u starts as zero, and 0/0 is
   * NaN where the gradient is zero.
   */
  double eps;
  double weight_decay;
} downhill_adadelta;

/** The defaults of downhill_adadelta_step(). */
DOWNHILL_INLINE downhill_adadelta downhill_adadelta_default(void) {
  downhill_adadelta config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_ADADELTA;
  config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0;
  config.lr = 1.0;
  config.rho = 0.9;
  config.eps = 1e-6;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Adadelta (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012). States: v, u, the averages of
 * squared gradients and of squared steps.
 *     v = rho*v + ((1-rho)*g)*g
 *     d = (sqrt(u + eps)/sqrt(v + eps))*g
 *     u = rho*u + ((1-rho)*d)*d
 *     w -= lr*d
 */
downhill_status downhill_adadelta_step(size_t n,
                                       float *w,
                                       const float *g,
                                       float *v,
                                       float *u,
                                       const struct downhill_adadelta *config);

/** The hyper-parameters of downhill_rmsprop_step(). */
typedef struct downhill_rmsprop {
  uint32_t struct_size;
  uint32_t rule;
  /** 1: centered, with the state g_avg; 0: not. */
  uint32_t centered;
  downhill_decay decay;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** How much of the last step is kept, in [0, 1). Above 0 there is the state u. */
  double momentum;
  /** Decay rate of the averages, in [0, 1]. */
  double alpha;
  /** Added to the denominator, outside the root; finite and >= 0. */
  double eps;
  double weight_decay;
} downhill_rmsprop;

/** The defaults of downhill_rmsprop_step(). */
DOWNHILL_INLINE downhill_rmsprop downhill_rmsprop_default(void) {
  downhill_rmsprop config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_RMSPROP;
  config.centered = 0;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 0.01;
  config.momentum = 0.0;
  config.alpha = 0.99;
  config.eps = 1e-8;
  config.weight_decay = 0.0;
  return config;
}

/**
 * RMSprop (Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012; centered: Graves, "Generating Sequences
 * With Recurrent Neural Networks", 2013). States: v; g_avg if centered is 1, else NULL; u if momentum >
 * 0, else NULL.
 *     v = alpha*v + ((1-alpha)*g)*g; r = sqrt(v) + eps
 *     centered: g_avg = alpha*g_avg + (1-alpha)*g; r = sqrt(max(v - g_avg*g_avg, 0)) + eps
 *     w -= (lr*g)/r; with momentum: u = momentum*u + g/r; w -= lr*u
 */
downhill_status downhill_rmsprop_step(size_t n,
                                      float *w,
                                      const float *g,
                                      float *v,
                                      float *g_avg,
                                      float *u,
                                      const struct downhill_rmsprop *config);

/** What the moments of Adam, AdamW and AMSGrad are divided by. */
typedef uint32_t downhill_bias_correction;

/**
 * The hyper-parameters of downhill_adam_step(), downhill_adamw_step() and downhill_amsgrad_step(). The
 * field rule says for which of them.
 */
typedef struct downhill_adam {
  uint32_t struct_size;
  uint32_t rule;
  downhill_bias_correction bias_correction;
  /** For DOWNHILL_RULE_ADAMW it must be DOWNHILL_DECAY_DECOUPLED. */
  downhill_decay decay;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of the first moment, in [0, 1). */
  double beta1;
  /** Decay rate of the second moment, in [0, 1). */
  double beta2;
  /**
   * Added to the denominator, outside the root; finite and >= 0. Below 1e-17 it no longer hides that
   * a second moment which grows in portions below 2^-126 (gradients below 4e-18) stays 0.
   */
  double eps;
  double weight_decay;
} downhill_adam;

/** c = 1 - beta^t (Kingma & Ba). */
#define DOWNHILL_BIAS_CORRECTION_STEP 0
/** c = 1 - beta, at every step. */
#define DOWNHILL_BIAS_CORRECTION_CONSTANT 1
/** c = 1. */
#define DOWNHILL_BIAS_CORRECTION_NONE 2

/** The defaults of downhill_adam_step(). */
DOWNHILL_INLINE downhill_adam downhill_adam_default(void) {
  downhill_adam config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_ADAM;
  config.bias_correction = DOWNHILL_BIAS_CORRECTION_STEP;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 0.001;
  config.beta1 = 0.9;
  config.beta2 = 0.999;
  config.eps = 1e-8;
  config.weight_decay = 0.0;
  return config;
}

/** The defaults of downhill_adamw_step(). */
DOWNHILL_INLINE downhill_adam downhill_adamw_default(void) {
  downhill_adam config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_ADAMW;
  config.bias_correction = DOWNHILL_BIAS_CORRECTION_STEP;
  config.decay = DOWNHILL_DECAY_DECOUPLED;
  config.lr = 0.001;
  config.beta1 = 0.9;
  config.beta2 = 0.999;
  config.eps = 1e-8;
  config.weight_decay = 0.01;
  return config;
}

/** The defaults of downhill_amsgrad_step(). */
DOWNHILL_INLINE downhill_adam downhill_amsgrad_default(void) {
  downhill_adam config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_AMSGRAD;
  config.bias_correction = DOWNHILL_BIAS_CORRECTION_STEP;
  config.decay = DOWNHILL_DECAY_L2;
  config.lr = 0.001;
  config.beta1 = 0.9;
  config.beta2 = 0.999;
  config.eps = 1e-8;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014). States: m, v. With c1 and c2
 * as downhill_bias_correction says, a = lr/c1 and k = 1/sqrt(c2):
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     w -= (a*m)/(sqrt(v)*k + eps)
 */
downhill_status downhill_adam_step(size_t n,
                                   float *w,
                                   const float *g,
                                   float *m,
                                   float *v,
                                   uint64_t t,
                                   const struct downhill_adam *config);

/**
 * AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019): downhill_adam_step() with
 * decoupled weight decay. Start from downhill_adamw_default().
 *     w *= 1 - lr*weight_decay; then as Adam
 */
downhill_status downhill_adamw_step(size_t n,
                                    float *w,
                                    const float *g,
                                    float *m,
                                    float *v,
                                    uint64_t t,
                                    const struct downhill_adam *config);

/**
 * AMSGrad (Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond", 2018), with the bias
 * correction of Adam, as PyTorch has it. States: m, v, v_max. With a and k as Adam, and a maximum that
 * is NaN if either number is:
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     v_max = max(v_max, v)
 *     w -= (a*m)/(sqrt(v_max)*k + eps)
 */
downhill_status downhill_amsgrad_step(size_t n,
                                      float *w,
                                      const float *g,
                                      float *m,
                                      float *v,
                                      float *v_max,
                                      uint64_t t,
                                      const struct downhill_adam *config);

/** The hyper-parameters of downhill_adamax_step(). */
typedef struct downhill_adamax {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of the first moment, in [0, 1). */
  double beta1;
  /** Decay rate of the infinity norm, in [0, 1). */
  double beta2;
  /** Added to |g|, and so kept in u; finite and >= 0. */
  double eps;
  double weight_decay;
} downhill_adamax;

/** The defaults of downhill_adamax_step(). */
DOWNHILL_INLINE downhill_adamax downhill_adamax_default(void) {
  downhill_adamax config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_ADAMAX;
  config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0;
  config.lr = 0.002;
  config.beta1 = 0.9;
  config.beta2 = 0.999;
  config.eps = 1e-8;
  config.weight_decay = 0.0;
  return config;
}

/**
 * AdaMax, which is Adam with the infinity norm (Kingma & Ba, "Adam: A Method for Stochastic
 * Optimization", 2014, section 7.1). States: m, u. With a = lr/(1-beta1^t), and a maximum that is NaN
 * if either number is:
 *     m = beta1*m + (1-beta1)*g
 *     u = max(beta2*u, |g| + eps)
 *     w -= (a*m)/u
 */
downhill_status downhill_adamax_step(size_t n,
                                     float *w,
                                     const float *g,
                                     float *m,
                                     float *u,
                                     uint64_t t,
                                     const struct downhill_adamax *config);

/** The hyper-parameters of downhill_nadam_step(). */
typedef struct downhill_nadam {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of the first moment, in [0, 1). */
  double beta1;
  /** Decay rate of the second moment, in [0, 1). */
  double beta2;
  /**
   * Added to the denominator, outside the root; finite and >= 0. Below 1e-17 it no longer hides that
   * a second moment which grows in portions below 2^-126 (gradients below 4e-18) stays 0.
   */
  double eps;
  /** How fast the momentum warms up, finite and >= 0. */
  double momentum_decay;
  double weight_decay;
} downhill_nadam;

/** The defaults of downhill_nadam_step(). */
DOWNHILL_INLINE downhill_nadam downhill_nadam_default(void) {
  downhill_nadam config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_NADAM;
  config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0;
  config.lr = 0.002;
  config.beta1 = 0.9;
  config.beta2 = 0.999;
  config.eps = 1e-8;
  config.momentum_decay = 0.004;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Nadam, which is Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov Momentum into Adam",
 * 2016). States: m, v. With c2 = 1-beta2^t, mu(t) = beta1*(1 - 0.5*0.96^(t*momentum_decay)), P =
 * mu(1)*...*mu(t) (of which factors are left out that no longer change 1-P), a = lr*(1-mu(t))/(1-P), b
 * = lr*mu(t+1)/(1-P*mu(t+1)):
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     r = sqrt(v*(1/c2)) + eps
 *     w -= (a*g)/r; w -= (b*m)/r
 */
downhill_status downhill_nadam_step(size_t n,
                                    float *w,
                                    const float *g,
                                    float *m,
                                    float *v,
                                    uint64_t t,
                                    const struct downhill_nadam *config);

/** The hyper-parameters of downhill_lion_step(). */
typedef struct downhill_lion {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Weight of m in the direction of this step, in [0, 1). */
  double beta1;
  /** Decay rate of m, in [0, 1). */
  double beta2;
  double weight_decay;
} downhill_lion;

/** The defaults of downhill_lion_step(). */
DOWNHILL_INLINE downhill_lion downhill_lion_default(void) {
  downhill_lion config;
  config.struct_size = sizeof config;
  config.rule = DOWNHILL_RULE_LION;
  config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0;
  config.lr = 0.0001;
  config.beta1 = 0.9;
  config.beta2 = 0.99;
  config.weight_decay = 0.0;
  return config;
}

/**
 * Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023), whose weight decay is
 * decoupled in the paper and not by default. State: m. The sign of a zero is 0, and that of a NaN is
 * NaN.
 *     w -= lr*sign(beta1*m + (1-beta1)*g)
 *     m = beta2*m + (1-beta2)*g
 */
downhill_status downhill_lion_step(size_t n,
                                   float *w,
                                   const float *g,
                                   float *m,
                                   const struct downhill_lion *config);

/* ======== 5. Pools ======== */

/**
 * Worker threads that wait for steps over many tensors. Made by downhill_pool_new() or downhill_pool_new_on(), and
 * the caller's to free. Any number of threads may use one at once.
 */
typedef struct downhill_pool downhill_pool;

/**
 * Starts a pool of threads. The workers have 512 KiB of stack each and compute in the default floating-point
 * environment. They block the signals that are sent to a process, and none that an instruction of their own raises
 * (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS), so that a host that serves page faults gets them. Small steps
 * wake no worker: it takes 2 MiB to move for each thread, and an element of Adam moves 28 bytes (g is read; w, m and v
 * are read and written).
 *
 * Only one step at a time uses the workers. A thread that finds them busy, or a child process forked after the pool
 * was made, steps alone.
 *
 * The workers may run where the calling thread may: threads inherit its mask of CPUs. A thread that is bound to one
 * CPU (OMP_PROC_BIND binds a program's first one) shares it with all of them; downhill_pool_new_on() is for such
 * programs. A worker that wakes up on the CPU of the thread that woke it moves to another one of its mask, by
 * sched_setaffinity(); a mask that was set does not grow when the CPUs of its control group do. DOWNHILL_MIGRATE=0 in
 * the environment turns that off.
 *
 * @param threads  with how many threads a step is made, the calling one included, at most 1024;
 *                 0: one for each CPU that the calling thread may use (its mask, and its control group's quota)
 * @return the pool, to be freed with downhill_pool_free(). It has fewer workers, or none, where the system
 *         lets no (more) thread start; downhill_pool_threads() says. NULL, which works as a pool of 1, where
 *         there is no memory at all, or on a bug in this library
 *
 * Threads: any number at once. Since 0.1.0.
 */
struct downhill_pool *downhill_pool_new(size_t threads);

/**
 * Starts a pool with a worker on each of these CPUs, bound to it for its whole life. The calling thread is left where
 * it is: it waits while they work, and makes steps that are too small for several threads alone. For a program whose
 * own threads are bound (by OMP_PROC_BIND, say), and for one pool on each NUMA node. Otherwise as downhill_pool_new().
 *
 * @param count  how many CPUs, 1 to 1024, which is also how many threads make a step
 * @param cpus   their numbers, as the system has them; one that is listed twice gets two workers
 * @return the pool, to be freed with downhill_pool_free(). NULL for an empty list, a CPU that is not there or that
 *         the process may not use, where no thread can be started, and on systems other than Linux;
 *         downhill_last_error() names the CPU
 *
 * Threads: any number at once. Since 0.1.0.
 */
struct downhill_pool *downhill_pool_new_on(size_t count,
                                           const uint32_t *cpus);

/**
 * How many threads make a step with this pool: the workers, and with a pool of downhill_pool_new() the calling one.
 *
 * @param pool  a pool, or NULL
 * @return at least 1; 1 for NULL
 *
 * Threads: any number at once. Since 0.1.0.
 */
size_t downhill_pool_threads(const struct downhill_pool *pool);

/**
 * Ends the workers, waits until they are gone, and frees the pool. In a forked child, which has no
 * workers, it forgets them.
 *
 * @param pool  a pool that no thread uses any more, or NULL
 *
 * Threads: one, when no call with this pool is running or to come. Since 0.1.0.
 */
void downhill_pool_free(struct downhill_pool *pool);

/* ======== 6. Whole steps ======== */

/** A flag of downhill_extras: set the gradients to zero after the step, unless it is skipped. */
#define DOWNHILL_ZERO_GRAD 1

/**
 * A flag of downhill_extras: if any gradient is NaN or infinite, or may become infinite when it is scaled (the norm times
 * what gradients are to be multiplied by is beyond the largest float), change nothing at all and return
 * DOWNHILL_STATUS_SKIPPED. The gradients are not set to zero then, not even with DOWNHILL_ZERO_GRAD.
 *
 * A skipped step is not counted: the next call has the same t. If it were, Adam's bias correction would be for steps
 * that its moments have not seen, and after three skips its first step 0.58 of what it should be.
 *
 * It does not see a finite gradient whose square overflows, 5.8e20 for Adam's (1-beta2)*g*g and 1.8e19 for Adagrad's
 * g*g: that makes v infinite, and its weight never moves again. max_norm prevents it.
 */
#define DOWNHILL_SKIP_NONFINITE 2

/** The arrays of one tensor. All have n elements; with n = 0 the pointers may be anything. */
typedef struct downhill_tensor {
  /** Number of elements. */
  size_t n;
  /** Weights, updated. */
  float *w;
  /** Gradient; written only with DOWNHILL_ZERO_GRAD. */
  float *g;
  /**
   * States, updated, in the order of the rule's own step function; zeros before the first step. What
   * the rule does not have is not looked at.
   */
  float *state[3];
} downhill_tensor;

/** What a step over many tensors does besides the update. Start from downhill_extras_default(). */
typedef struct downhill_extras {
  /** sizeof(downhill_extras), set by downhill_extras_default(). */
  uint32_t struct_size;
  /** DOWNHILL_ZERO_GRAD, DOWNHILL_SKIP_NONFINITE, both (with |) or none. Default 0. */
  uint32_t flags;
  /**
   * What gradients are multiplied by: the inverse of a loss scale, one over a number of samples, -1 to
   * maximize. Finite. Default 1.
   */
  double grad_scale;
  /**
   * The norm of all scaled gradients together above which they are scaled down to it, finite and >= 0.
   * Default 0: no clipping. A norm that is NaN makes all weights NaN, and an infinite one multiplies all
   * gradients by 0, if DOWNHILL_SKIP_NONFINITE does not prevent it.
   */
  double max_norm;
} downhill_extras;

/**
 * What a whole step did. Written if the status is DOWNHILL_STATUS_OK or DOWNHILL_STATUS_SKIPPED. For the
 * norm the gradients are read once more, if no extra does so anyway.
 */
typedef struct downhill_report {
  /**
   * The norm of all scaled gradients together, before clipping: |grad_scale| times what
   * downhill_grad_norm() gives.
   */
  double grad_norm;
  /**
   * What the gradients were multiplied by: grad_scale times the clipping factor, rounded to float. 0 if
   * the step was skipped.
   */
  double applied_scale;
  /** 1 if the step was skipped, else 0. A skipped step is not counted: the next call has the same t. */
  uint32_t skipped;
} downhill_report;

/**
 * The Euclidean norm of all gradients together, in double. It is infinite or NaN if and only if an element
 * is. The order of additions is fixed, so that the bits do not depend on pool or instruction set: within a
 * block of 4096 elements, counted from each gradient's start, element i is added to sum i mod 32; the 32
 * sums are added pairwise (neighbours, then neighbouring pairs, ...); the blocks of the first gradient are
 * added up in order, then those of the second, and so on.
 *
 * @param count    number of tensors
 * @param tensors  the tensors, of which n and g are looked at
 * @param pool     who works, or NULL: this thread
 * @param norm     where the norm is written
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _INVALID_LENGTH, _INVALID_CONFIG (DOWNHILL_ISA),
 *         _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool and on the same gradients. Since 0.1.0.
 */
downhill_status downhill_grad_norm(size_t count,
                                   const struct downhill_tensor *tensors,
                                   downhill_pool *pool,
                                   double *norm);

/**
 * The formula of downhill_sgd_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state is not looked at
 * @param config   hyper-parameters, as from downhill_sgd_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_sgd_step_many(size_t count,
                                       const struct downhill_tensor *tensors,
                                       const downhill_sgd *config,
                                       const struct downhill_extras *extras,
                                       downhill_pool *pool,
                                       struct downhill_report *report);

/**
 * The formula of downhill_momentum_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: u
 * @param config   hyper-parameters, as from downhill_momentum_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_momentum_step_many(size_t count,
                                            const struct downhill_tensor *tensors,
                                            const downhill_momentum *config,
                                            const struct downhill_extras *extras,
                                            downhill_pool *pool,
                                            struct downhill_report *report);

/**
 * The formula of downhill_nesterov_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: u
 * @param config   hyper-parameters, as from downhill_nesterov_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_nesterov_step_many(size_t count,
                                            const struct downhill_tensor *tensors,
                                            const downhill_nesterov *config,
                                            const struct downhill_extras *extras,
                                            downhill_pool *pool,
                                            struct downhill_report *report);

/**
 * The formula of downhill_adagrad_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: s
 * @param config   hyper-parameters, as from downhill_adagrad_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adagrad_step_many(size_t count,
                                           const struct downhill_tensor *tensors,
                                           const downhill_adagrad *config,
                                           const struct downhill_extras *extras,
                                           downhill_pool *pool,
                                           struct downhill_report *report);

/**
 * The formula of downhill_adadelta_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: v, u
 * @param config   hyper-parameters, as from downhill_adadelta_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adadelta_step_many(size_t count,
                                            const struct downhill_tensor *tensors,
                                            const downhill_adadelta *config,
                                            const struct downhill_extras *extras,
                                            downhill_pool *pool,
                                            struct downhill_report *report);

/**
 * The formula of downhill_rmsprop_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: v, g_avg or NULL, u or NULL
 *                 (g_avg for all tensors or for none, and so u)
 * @param config   hyper-parameters, as from downhill_rmsprop_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_rmsprop_step_many(size_t count,
                                           const struct downhill_tensor *tensors,
                                           const downhill_rmsprop *config,
                                           const struct downhill_extras *extras,
                                           downhill_pool *pool,
                                           struct downhill_report *report);

/**
 * The formula of downhill_adam_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: m, v
 * @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_adam_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adam_step_many(size_t count,
                                        const struct downhill_tensor *tensors,
                                        uint64_t t,
                                        const downhill_adam *config,
                                        const struct downhill_extras *extras,
                                        downhill_pool *pool,
                                        struct downhill_report *report);

/**
 * The formula of downhill_adamw_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: m, v
 * @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_adamw_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adamw_step_many(size_t count,
                                         const struct downhill_tensor *tensors,
                                         uint64_t t,
                                         const downhill_adam *config,
                                         const struct downhill_extras *extras,
                                         downhill_pool *pool,
                                         struct downhill_report *report);

/**
 * The formula of downhill_amsgrad_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: m, v, v_max
 * @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_amsgrad_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_amsgrad_step_many(size_t count,
                                           const struct downhill_tensor *tensors,
                                           uint64_t t,
                                           const downhill_adam *config,
                                           const struct downhill_extras *extras,
                                           downhill_pool *pool,
                                           struct downhill_report *report);

/**
 * The formula of downhill_adamax_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: m, u
 * @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_adamax_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adamax_step_many(size_t count,
                                          const struct downhill_tensor *tensors,
                                          uint64_t t,
                                          const downhill_adamax *config,
                                          const struct downhill_extras *extras,
                                          downhill_pool *pool,
                                          struct downhill_report *report);

/**
 * The formula of downhill_nadam_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: m, v
 * @param t        number of this step, counted from 1 by the caller; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_nadam_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH, _INVALID_STEP,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_nadam_step_many(size_t count,
                                         const struct downhill_tensor *tensors,
                                         uint64_t t,
                                         const downhill_nadam *config,
                                         const struct downhill_extras *extras,
                                         downhill_pool *pool,
                                         struct downhill_report *report);

/**
 * The formula of downhill_lion_step() for every element of every tensor, with g*s in place of g. Without extras
 * s is 1; the introduction says what it is with them, and what they do besides.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; state: m
 * @param config   hyper-parameters, as from downhill_lion_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH,
 *         _INVALID_CONFIG, _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_lion_step_many(size_t count,
                                        const struct downhill_tensor *tensors,
                                        const downhill_lion *config,
                                        const struct downhill_extras *extras,
                                        downhill_pool *pool,
                                        struct downhill_report *report);

/** Extras that do nothing. */
DOWNHILL_INLINE downhill_extras downhill_extras_default(void) {
  downhill_extras extras;
  extras.struct_size = sizeof extras;
  extras.flags = 0;
  extras.grad_scale = 1.0;
  extras.max_norm = 0.0;
  return extras;
}

/* ======== 7. Packed states ======== */

/** The arrays of one tensor with packed states. */
typedef struct downhill_packed_tensor {
  /** Number of elements. With 0 (and state_bytes 0) the pointers may be anything. */
  size_t n;
  /** Weights, updated: n elements of float, or of uint16_t if weight_format is bfloat16. */
  void *w;
  /** Gradient, of the same; written only with DOWNHILL_ZERO_GRAD. */
  void *g;
  /** All states, updated; zeros before the first step. */
  uint8_t *state;
  /** How many bytes that is: what downhill_packed_bytes() says. */
  size_t state_bytes;
  /**
   * The number of the first element in the whole model, a multiple of 64, which the random bits depend on.
   * Give each tensor numbers of its own, and a part of a tensor those that it has in the whole: then the parts
   * are stepped with the bits of the whole.
   */
  uint64_t first_element;
} downhill_packed_tensor;

/** How states are packed. Start from downhill_packing_default(). */
typedef struct downhill_packing {
  /** sizeof(downhill_packing), set by downhill_packing_default(). */
  uint32_t struct_size;
  /** A downhill_state_format. Default DOWNHILL_STATE_FORMAT_BITS8. */
  uint32_t state_format;
  /** A downhill_weight_format. Default DOWNHILL_WEIGHT_FORMAT_F32. */
  uint32_t weight_format;
  /** A downhill_rounding. Default DOWNHILL_ROUNDING_STOCHASTIC. */
  uint32_t rounding;
  /** What random bits are made from, with t and the element's number. Default 0. */
  uint64_t seed;
} downhill_packing;

/** How many bits a packed state has. */
typedef uint32_t downhill_state_format;

/** What weights and gradients beside packed states are. */
typedef uint32_t downhill_weight_format;

/** What becomes of the bits that a code has not. */
typedef uint32_t downhill_rounding;

/** A byte for each state of each element, and one for each state of 64 elements. */
#define DOWNHILL_STATE_FORMAT_BITS8 0
/** bfloat16. */
#define DOWNHILL_STATE_FORMAT_BF16 1
/** float */
#define DOWNHILL_WEIGHT_FORMAT_F32 0
/** bfloat16: the upper half of a float, as a uint16_t. Weights are rounded as states are. */
#define DOWNHILL_WEIGHT_FORMAT_BF16 1
/** Up or down at random, and right on average: a state moves however small a step's part in it is. */
#define DOWNHILL_ROUNDING_STOCHASTIC 0

/**
 * To the nearest code. A state that should move by less than half of the distance between two codes stays
 * where it is, and Adam's v ends up far from what it should be: to compare with, not to train with.
 */
#define DOWNHILL_ROUNDING_NEAREST 1

/**
 * How many bytes the packed states of a tensor take: in 8 bits 65 for each state of each block of 64 elements, in
 * bfloat16 128; the last block may have fewer elements and takes as many bytes. The layout is the
 * same in every release of a SONAME; downhill_R_pack() and downhill_R_unpack() convert it.
 *
 * @param states  how many states the rule has: 1 for momentum and Lion, 2 for Adam and AdamW
 * @param n       number of elements
 * @param format  a downhill_state_format
 * @return the number of bytes, or SIZE_MAX if the address space has not as many or format is unknown
 *
 * Threads: any number at once. Since 0.1.0.
 */
size_t downhill_packed_bytes(size_t states,
                             size_t n,
                             uint32_t format);

/**
 * The formula of downhill_momentum_step() for every element of every tensor, with g*s in place of g, on states that
 * are decoded before and encoded after. The introduction says what s is.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; one state: u
 * @param t        number of this step, which the random bits depend on; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_momentum_default()
 * @param packing  how states are packed, as from downhill_packing_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_momentum_step_packed(size_t count,
                                              const struct downhill_packed_tensor *tensors,
                                              uint64_t t,
                                              const downhill_momentum *config,
                                              const struct downhill_packing *packing,
                                              const downhill_extras *extras,
                                              downhill_pool *pool,
                                              downhill_report *report);

/**
 * The formula of downhill_adam_step() for every element of every tensor, with g*s in place of g, on states that are
 * decoded before and encoded after. The introduction says what s is.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; two states: m, v
 * @param t        number of this step, counted from 1 by the caller; the random bits depend on it; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_adam_default()
 * @param packing  how states are packed, as from downhill_packing_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_STEP, _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adam_step_packed(size_t count,
                                          const struct downhill_packed_tensor *tensors,
                                          uint64_t t,
                                          const downhill_adam *config,
                                          const struct downhill_packing *packing,
                                          const downhill_extras *extras,
                                          downhill_pool *pool,
                                          downhill_report *report);

/**
 * The formula of downhill_adamw_step() for every element of every tensor, with g*s in place of g, on states that are
 * decoded before and encoded after. The introduction says what s is.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; two states: m, v
 * @param t        number of this step, counted from 1 by the caller; the random bits depend on it; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_adamw_default()
 * @param packing  how states are packed, as from downhill_packing_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_STEP, _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adamw_step_packed(size_t count,
                                           const struct downhill_packed_tensor *tensors,
                                           uint64_t t,
                                           const downhill_adam *config,
                                           const struct downhill_packing *packing,
                                           const downhill_extras *extras,
                                           downhill_pool *pool,
                                           downhill_report *report);

/**
 * The formula of downhill_lion_step() for every element of every tensor, with g*s in place of g, on states that are
 * decoded before and encoded after. The introduction says what s is.
 *
 * @param count    number of tensors
 * @param tensors  the tensors; one state: m
 * @param t        number of this step, which the random bits depend on; a skipped step is not counted
 * @param config   hyper-parameters, as from downhill_lion_default()
 * @param packing  how states are packed, as from downhill_packing_default()
 * @param extras   what is done besides, as from downhill_extras_default(), or NULL: nothing
 * @param pool     who works, or NULL: this thread
 * @param report   what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (first_element, too), _OUT_OF_MEMORY, as the introduction says; _PANIC
 *
 * Threads: any number at once, also with one pool, on different arrays. Since 0.1.0.
 */
downhill_status downhill_lion_step_packed(size_t count,
                                          const struct downhill_packed_tensor *tensors,
                                          uint64_t t,
                                          const downhill_lion *config,
                                          const struct downhill_packing *packing,
                                          const downhill_extras *extras,
                                          downhill_pool *pool,
                                          downhill_report *report);

/**
 * Packs the state of downhill_momentum_step(): each number is rounded to the nearest code.
 *
 * @param n             number of elements
 * @param u             state
 * @param state_format  a downhill_state_format
 * @param state         the packed state, written
 * @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */
downhill_status downhill_momentum_pack(size_t n,
                                       const float *u,
                                       uint32_t state_format,
                                       uint8_t *state,
                                       size_t state_bytes);

/**
 * What the codes of downhill_momentum_step_packed() stand for, exactly.
 *
 * @param n             number of elements
 * @param u             state, written
 * @param state_format  a downhill_state_format
 * @param state         the packed state
 * @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */
downhill_status downhill_momentum_unpack(size_t n,
                                         float *u,
                                         uint32_t state_format,
                                         const uint8_t *state,
                                         size_t state_bytes);

/**
 * Packs the states of downhill_adam_step(), and of downhill_adamw_step(): each number is rounded to the nearest code.
 *
 * @param n             number of elements
 * @param m             state
 * @param v             state
 * @param state_format  a downhill_state_format
 * @param state         the packed states, written
 * @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adam_pack(size_t n,
                                   const float *m,
                                   const float *v,
                                   uint32_t state_format,
                                   uint8_t *state,
                                   size_t state_bytes);

/**
 * What the codes of downhill_adam_step_packed(), and of downhill_adamw_step_packed(), stand for, exactly.
 *
 * @param n             number of elements
 * @param m             state, written
 * @param v             state, written
 * @param state_format  a downhill_state_format
 * @param state         the packed states
 * @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */
downhill_status downhill_adam_unpack(size_t n,
                                     float *m,
                                     float *v,
                                     uint32_t state_format,
                                     const uint8_t *state,
                                     size_t state_bytes);

/**
 * Packs the state of downhill_lion_step(): each number is rounded to the nearest code.
 *
 * @param n             number of elements
 * @param m             state
 * @param state_format  a downhill_state_format
 * @param state         the packed state, written
 * @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */
downhill_status downhill_lion_pack(size_t n,
                                   const float *m,
                                   uint32_t state_format,
                                   uint8_t *state,
                                   size_t state_bytes);

/**
 * What the codes of downhill_lion_step_packed() stand for, exactly.
 *
 * @param n             number of elements
 * @param m             state, written
 * @param state_format  a downhill_state_format
 * @param state         the packed state
 * @param state_bytes   how many bytes that is: what downhill_packed_bytes() says
 * @return DOWNHILL_STATUS_OK; or _NULL_POINTER, _MISALIGNED, _OVERLAP, _INVALID_LENGTH (state_bytes, too),
 *         _INVALID_CONFIG (state_format), as the introduction says; _PANIC
 *
 * Threads: any number at once, on different arrays. Since 0.1.0.
 */
downhill_status downhill_lion_unpack(size_t n,
                                     float *m,
                                     uint32_t state_format,
                                     const uint8_t *state,
                                     size_t state_bytes);

/** The defaults of downhill_packing. */
DOWNHILL_INLINE downhill_packing downhill_packing_default(void) {
  downhill_packing packing;
  packing.struct_size = sizeof packing;
  packing.state_format = DOWNHILL_STATE_FORMAT_BITS8;
  packing.weight_format = DOWNHILL_WEIGHT_FORMAT_F32;
  packing.rounding = DOWNHILL_ROUNDING_STOCHASTIC;
  packing.seed = 0;
  return packing;
}

#ifdef __cplusplus
}
#endif

#endif /* DOWNHILL_H */
