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
 * A whole training step is one call for all tensors, in groups with different hyper-parameters, by several threads if
 * wanted: it scales the gradients, clips them by their common norm, skips the step if one is not finite, updates, and sets
 * the gradients to zero:
 *
 *     downhill_adam decayed = downhill_adamw_default(), not_decayed = decayed;
 *     not_decayed.weight_decay = 0.0;
 *     downhill_tensor weight = {.n = n0, .w = w0, .g = g0, .state = {m0, v0}};
 *     downhill_tensor bias = {.n = n1, .w = w1, .g = g1, .state = {m1, v1}};
 *     downhill_group groups[] = {downhill_group_default(), downhill_group_default()};
 *     groups[0].config = &decayed;
 *     groups[0].count = 1;
 *     groups[0].tensors = &weight;
 *     groups[1].config = &not_decayed;
 *     groups[1].count = 1;
 *     groups[1].tensors = &bias;
 *     downhill_pool *pool = downhill_pool_new(0);
 *     downhill_extras extras = downhill_extras_default();
 *     extras.max_norm = 1.0;
 *     extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE;
 *     for (uint64_t t = 1; t <= steps;) {
 *         ... compute g0 and g1 ...
 *         groups[0].t = groups[1].t = t;
 *         downhill_status status = downhill_step(2, groups, &extras, pool, NULL);
 *         if (status == DOWNHILL_STATUS_OK)
 *             t++;
 *         else if (status != DOWNHILL_STATUS_SKIPPED)
 *             fprintf(stderr, "%s\n", downhill_last_error());
 *     }
 *
 * A skipped step is not counted: the next call has the same t.
 *
 * Weights, gradients and states may be of fewer bits, and the new weights may also be written in another type: that saves
 * memory, and the passes that would convert them. A bf16 model whose float weights and states are kept here:
 *
 *     weight.w_copy = model_weight;
 *     groups[0].gradient_type = DOWNHILL_TYPE_BF16;
 *     groups[0].copy_type = DOWNHILL_TYPE_BF16;
 *
 * A gradient may have some rows of a table only, row_count of them, each of row_length elements:
 *
 *     downhill_tensor table = {.n = n2, .w = w2, .g = g2, .state = {m2, v2}, .rows = rows, .row_count = k, .row_length = d};
 *
 * Preconditions of every step function:
 *   - Each array has n elements of its type, aligned to that, initialized. State arrays are zeros before the first step.
 *     An array that the configuration does not ask for is NULL. n = 0 is allowed, and the array pointers may then be
 *     anything.
 *   - What is written (weights, states, copies, reports, gradients that are set to zero) shares memory with nothing else
 *     that is passed. What is only read may overlap. During the call nobody else writes to any of it, or reads what is
 *     written.
 *   - config points to a configuration that was made with its downhill_..._default() function. Its first 8 bytes say how
 *     long it is and which rule it is for.
 *   - Other structures start with their size, too, as their downhill_..._default() sets it; a tensor does not: start from
 *     zeros. Lists have as many structures
 *     as the count says; with 0 their pointer may be anything.
 * Then any number of threads may call functions at once, also with one pool, and steps with different arrays; where a
 * function asks for more, it says so. A signal handler may call no function of this library. All functions are there since
 * release 0.1.0.
 *
 * Status: a step returns DOWNHILL_STATUS_OK or another downhill_status. On any but OK and _PANIC no array has been
 * written, and downhill_last_error() says which argument (and of which group and tensor, counted from 0) was wrong and
 * what its value was.
 *
 * Numerics: IEEE-754 binary32, each operation of the formula rounded to nearest even on its own, in the order written,
 * never fused: what a plain C loop gives with -ffp-contract=off. Hyper-parameters are doubles; what is derived from them
 * (1-beta, lr/(1-beta1^t), ...) is computed in double and rounded once. A subnormal state value is read as +0. NaN and
 * infinity follow IEEE. The bits do not depend on the instruction set, on alignment, on how arrays are cut into calls, on
 * threads, or (on x86, aarch64 and s390x) on the caller's rounding mode and flush-to-zero setting, which are put back. A
 * whole step has the bits of "widen, plain step, round" for every combination of types; where rounding is random or
 * states have eight bits, tensors may be cut at multiples of 64 elements.
 *
 * A plain step allocates nothing, prints nothing, takes no lock and starts no thread; only the first call of a process
 * allocates, to look at the CPU and the environment (downhill_isa() can be that call). A whole step allocates lists. The
 * only threads are the pools' that the caller makes. After a fork() the child may step, with a pool of the parent's too,
 * which then works on the calling thread.
 *
 * Compatibility: a program that was built with this header runs with the library of the same release and with later ones,
 * of the same minor version before 1.0 and of the same major version from then on. A later library that it does not run
 * with has another SONAME; an earlier one with the same SONAME may lack functions. downhill.hpp is this header for C++17.
 *
 * CONTENTS
 *   1. Version            DOWNHILL_VERSION_..., downhill_version(), downhill_version_number(), downhill_isa()
 *   2. Status             downhill_status, downhill_status_message(), downhill_last_error()
 *   3. Configurations     DOWNHILL_RULE_..., downhill_decay, downhill_form, downhill_config_default()
 *   4. Plain steps        for each rule R: downhill_R, downhill_R_default(), downhill_R_step()
 *   5. Pools              downhill_pool_new(), _new_on(), _from(), _threads(), _free()
 *   6. Groups of tensors  downhill_type, downhill_tensor, downhill_group, downhill_group_default()
 *   7. The whole step     downhill_extras, downhill_report, downhill_step(), downhill_grad_squares()
 *   8. Conversion         downhill_state_bytes(), downhill_pack(), downhill_unpack(), downhill_convert()
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

/** Is before each function of the library. A program that links its DLL on Windows may define DOWNHILL_DLL, as CMake's
 * downhill::shared does: calls are then a jump shorter. */
#if defined(_WIN32) && defined(DOWNHILL_DLL)
#define DOWNHILL_API __declspec(dllimport)
#else
#define DOWNHILL_API
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

/** Version of the library that is linked, which can differ from the header's.
 *
 * @return "major.minor.patch", a string that lives as long as the program */
DOWNHILL_API const char *downhill_version(void);

/** Version of the library that is linked as one number, to compare with DOWNHILL_VERSION_NUMBER.
 *
 * @return 10000*major + 100*minor + patch */
DOWNHILL_API uint32_t downhill_version_number(void);

/** The instruction set that steps use in this process: the widest that this CPU has, or a lower one that
 * DOWNHILL_ISA in the environment names ("avx512", "avx2", "neon", "simd128" or "scalar"; empty is as
 * unset). All give the same bits. The environment is read once, by the first call that needs it. That call looks at
 * everything else that a process looks at once, too: make it before you fork, if another thread could
 * be in its first call of this library just then, or the child may wait for that thread for ever.
 *
 * @return "avx512", "avx2", "neon", "simd128" or "scalar"; "invalid" if DOWNHILL_ISA names none that
 *         this CPU has, and every step then returns DOWNHILL_STATUS_INVALID_CONFIG. The string lives as long as
 *         the program */
DOWNHILL_API const char *downhill_isa(void);

/* ======== 2. Status ======== */

/** What a function returns. A value never changes its meaning and is never used for something else. */
typedef uint32_t downhill_status;

/** The step was made. */
#define DOWNHILL_STATUS_OK 0
/** A pointer is NULL that may not be. */
#define DOWNHILL_STATUS_NULL_POINTER 1
/** A pointer is not aligned to its type. */
#define DOWNHILL_STATUS_MISALIGNED 2
/** What is written shares memory with something else. */
#define DOWNHILL_STATUS_OVERLAP 3
/** An array of n elements does not fit in the address space, or a list of count structures; or
 * state_bytes is not what downhill_state_bytes() says, or row_length does not fit n or 8BIT. */
#define DOWNHILL_STATUS_INVALID_LENGTH 4
/** t is 0. Steps are counted from 1. */
#define DOWNHILL_STATUS_INVALID_STEP 5
/** A configuration is not the rule's, a field is out of its range, a value is unknown, struct_size is
 * wrong, an array is there that the configuration does not ask for, first_element is not a multiple of
 * 64, a row is not in the table or listed twice, or DOWNHILL_ISA in the environment names no instruction set of this CPU. */
#define DOWNHILL_STATUS_INVALID_CONFIG 6
/** The step was skipped, as DOWNHILL_EXTRAS_SKIP_NONFINITE asks for: a gradient is NaN or infinite, or
 * could become so when it is scaled. Nothing has changed. */
#define DOWNHILL_STATUS_SKIPPED 7
/** There is no memory for a list of groups, arrays or rows. */
#define DOWNHILL_STATUS_OUT_OF_MEMORY 8
/** A bug in this library. The arrays may have been written in part. */
#define DOWNHILL_STATUS_PANIC 99

/** What a status value means, in one sentence.
 *
 * @param status  any value; one that no function returns gets "unknown status"
 * @return a string that lives as long as the program */
DOWNHILL_API const char *downhill_status_message(uint32_t status);

/** Which argument was wrong in the last call of this thread that failed, its value and what is
 * allowed. A call that succeeds leaves it as it is.
 *
 * @return a string of at most 511 bytes that lives until the next failing call in this thread, or the
 *         thread's end (in the first thread also in atexit() handlers and static destructors); "" if no
 *         call has failed */
DOWNHILL_API const char *downhill_last_error(void);

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
/** downhill_signum, for downhill_signum_step(). */
#define DOWNHILL_RULE_SIGNUM 13
/** downhill_radam, for downhill_radam_step(). */
#define DOWNHILL_RULE_RADAM 14
/** downhill_ftrl, for downhill_ftrl_step(). */
#define DOWNHILL_RULE_FTRL 15
/** downhill_rowwise_adagrad, for tensors with rows, and for downhill_rowwise_adagrad_step(). */
#define DOWNHILL_RULE_ROWWISE_ADAGRAD 16

/** How weight_decay enters a step. With weight_decay = 0 neither does any arithmetic. */
typedef uint32_t downhill_decay;

/** Whether lr is in the state of a rule with momentum. At a constant lr, and without dampening, both
 * walk the same path. */
typedef uint32_t downhill_form;

/** g += weight_decay*w before the rule. */
#define DOWNHILL_DECAY_L2 0
/** w *= 1 - lr*weight_decay before the update (Loshchilov & Hutter, "Decoupled Weight Decay
 * Regularization", 2019). That factor is rounded to float, whose numbers below 1 are 6e-8 apart, in
 * PyTorch as here. With lr*weight_decay below 3e-8 (both 1e-4, say) nothing decays at all, and with
 * 1e-7 (lr 1e-5, weight_decay 0.01) 19 % too much. Where that matters, decay in every k-th step with
 * k*weight_decay, and with 0 in the others. */
#define DOWNHILL_DECAY_DECOUPLED 1
/** lr is in the state: u is the last step. */
#define DOWNHILL_FORM_CLASSIC 0
/** lr is outside of the state: u sums gradients. As PyTorch has it. */
#define DOWNHILL_FORM_TORCH 1

/** Writes the defaults of a rule, as downhill_R_default() returns them: for languages that have no C
 * header.
 *
 * @param rule         which rule, DOWNHILL_RULE_...
 * @param config       a configuration of that rule, written
 * @param struct_size  how long it is, at most 512; after the fields that this release knows it is set
 *                     to zero
 * @return DOWNHILL_STATUS_OK; _INVALID_CONFIG (rule, struct_size), _NULL_POINTER, _MISALIGNED */
DOWNHILL_API downhill_status downhill_config_default(uint32_t rule, void *config, size_t struct_size);

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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_SGD; config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0; config.lr = 0.001; config.weight_decay = 0.0;
  return config;
}

/** Gradient descent (Robbins & Monro, "A Stochastic Approximation Method", 1951).
 *     w -= lr*g */
DOWNHILL_API downhill_status downhill_sgd_step(size_t n, float *w, const float *g,
    const struct downhill_sgd *config);

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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_MOMENTUM;
  config.form = DOWNHILL_FORM_CLASSIC; config.decay = DOWNHILL_DECAY_L2; config.lr = 0.001;
  config.momentum = 0.9; config.dampening = 0.0; config.weight_decay = 0.0;
  return config;
}

/** Gradient descent with momentum (Rumelhart, Hinton & Williams, "Learning representations by
 * back-propagating errors", 1986). State: u. In the classic form and in the torch form:
 *     u = momentum*u + lr*g; w -= u
 *     u = momentum*u + (1-dampening)*g; w -= lr*u */
DOWNHILL_API downhill_status downhill_momentum_step(size_t n, float *w, const float *g, float *u,
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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_NESTEROV;
  config.form = DOWNHILL_FORM_CLASSIC; config.decay = DOWNHILL_DECAY_L2; config.lr = 0.001;
  config.momentum = 0.9; config.weight_decay = 0.0;
  return config;
}

/** Gradient descent with Nesterov's momentum (Nesterov, "A method for solving the convex programming
 * problem with convergence rate O(1/k^2)", 1983, as in Sutskever et al., "On the importance of
 * initialization and momentum in deep learning", 2013). State: u. In the classic form and in the torch
 * form:
 *     u = momentum*u + lr*g; w -= momentum*u + lr*g
 *     u = momentum*u + g; w -= lr*(g + momentum*u) */
DOWNHILL_API downhill_status downhill_nesterov_step(size_t n, float *w, const float *g, float *u,
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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_ADAGRAD;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 0.01; config.eps = 1e-10;
  config.weight_decay = 0.0;
  return config;
}

/** Adagrad (Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
 * Optimization", 2011). State: s, which may also start as another initial accumulator.
 *     s += g*g
 *     w -= (lr*g)/(sqrt(s) + eps) */
DOWNHILL_API downhill_status downhill_adagrad_step(size_t n, float *w, const float *g, float *s,
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
  /** Added inside both roots; finite and >= 0. With 0 nothing ever moves: u starts as zero, and 0/0 is
   * NaN where the gradient is zero. */
  double eps;
  double weight_decay;
} downhill_adadelta;

/** The defaults of downhill_adadelta_step(). */
DOWNHILL_INLINE downhill_adadelta downhill_adadelta_default(void) {
  downhill_adadelta config;
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_ADADELTA;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 1.0; config.rho = 0.9;
  config.eps = 1e-6; config.weight_decay = 0.0;
  return config;
}

/** Adadelta (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012). States: v, u, the averages of
 * squared gradients and of squared steps.
 *     v = rho*v + ((1-rho)*g)*g
 *     d = (sqrt(u + eps)/sqrt(v + eps))*g
 *     u = rho*u + ((1-rho)*d)*d
 *     w -= lr*d */
DOWNHILL_API downhill_status downhill_adadelta_step(size_t n, float *w, const float *g, float *v,
    float *u, const struct downhill_adadelta *config);

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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_RMSPROP; config.centered = 0;
  config.decay = DOWNHILL_DECAY_L2; config.lr = 0.01; config.momentum = 0.0; config.alpha = 0.99;
  config.eps = 1e-8; config.weight_decay = 0.0;
  return config;
}

/** RMSprop (Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012; centered: Graves, "Generating Sequences
 * With Recurrent Neural Networks", 2013). States: v; g_avg if centered is 1, else NULL; u if momentum >
 * 0, else NULL.
 *     v = alpha*v + ((1-alpha)*g)*g; r = sqrt(v) + eps
 *     centered: g_avg = alpha*g_avg + (1-alpha)*g; r = sqrt(max(v - g_avg*g_avg, 0)) + eps
 *     w -= (lr*g)/r; with momentum: u = momentum*u + g/r; w -= lr*u */
DOWNHILL_API downhill_status downhill_rmsprop_step(size_t n, float *w, const float *g, float *v,
    float *g_avg, float *u, const struct downhill_rmsprop *config);

/** What the moments of Adam, AdamW and AMSGrad are divided by. */
typedef uint32_t downhill_bias_correction;

/** The hyper-parameters of downhill_adam_step(), downhill_adamw_step() and downhill_amsgrad_step(). The
 * field rule says for which of them. */
typedef struct downhill_adam {
  uint32_t struct_size;
  uint32_t rule;
  downhill_bias_correction bias_correction;
  /** For DOWNHILL_RULE_ADAMW it must be DOWNHILL_DECAY_DECOUPLED. */
  downhill_decay decay;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of the first moment, in [0, 1). With 0 the first moment is the gradient, and there is
   * no state m, but for AMSGrad. */
  double beta1;
  /** Decay rate of the second moment, in [0, 1). */
  double beta2;
  /** Added to the denominator, outside the root; finite and >= 0. Below 1e-17 it no longer hides that
   * a second moment which grows in portions below 2^-126 (gradients below 4e-18) stays 0. */
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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_ADAM;
  config.bias_correction = DOWNHILL_BIAS_CORRECTION_STEP; config.decay = DOWNHILL_DECAY_L2;
  config.lr = 0.001; config.beta1 = 0.9; config.beta2 = 0.999; config.eps = 1e-8;
  config.weight_decay = 0.0;
  return config;
}

/** The defaults of downhill_adamw_step(). */
DOWNHILL_INLINE downhill_adam downhill_adamw_default(void) {
  downhill_adam config = downhill_adam_default();
  config.rule = DOWNHILL_RULE_ADAMW; config.decay = DOWNHILL_DECAY_DECOUPLED; config.weight_decay = 0.01;
  return config;
}

/** The defaults of downhill_amsgrad_step(). */
DOWNHILL_INLINE downhill_adam downhill_amsgrad_default(void) {
  downhill_adam config = downhill_adam_default();
  config.rule = DOWNHILL_RULE_AMSGRAD;
  return config;
}

/** Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014). States: m if beta1 > 0, else
 * NULL; v. With c1 and c2 as downhill_bias_correction says, a = lr/c1 and k = 1/sqrt(c2):
 *     m = beta1*m + (1-beta1)*g; without m it is g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     w -= (a*m)/(sqrt(v)*k + eps) */
DOWNHILL_API downhill_status downhill_adam_step(size_t n, float *w, const float *g, float *m, float *v,
    uint64_t t, const struct downhill_adam *config);

/** AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019): downhill_adam_step() with
 * decoupled weight decay. Start from downhill_adamw_default().
 *     w *= 1 - lr*weight_decay; then as Adam */
DOWNHILL_API downhill_status downhill_adamw_step(size_t n, float *w, const float *g, float *m, float *v,
    uint64_t t, const struct downhill_adam *config);

/** AMSGrad (Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond", 2018), with the bias
 * correction of Adam, as PyTorch has it. States: m, v, v_max. With a and k as Adam, and a maximum that
 * is NaN if either number is:
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     v_max = max(v_max, v)
 *     w -= (a*m)/(sqrt(v_max)*k + eps) */
DOWNHILL_API downhill_status downhill_amsgrad_step(size_t n, float *w, const float *g, float *m,
    float *v, float *v_max, uint64_t t, const struct downhill_adam *config);

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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_ADAMAX;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 0.002; config.beta1 = 0.9;
  config.beta2 = 0.999; config.eps = 1e-8; config.weight_decay = 0.0;
  return config;
}

/** AdaMax, which is Adam with the infinity norm (Kingma & Ba, "Adam: A Method for Stochastic
 * Optimization", 2014, section 7.1). States: m, u. With a = lr/(1-beta1^t), and a maximum that is NaN
 * if either number is:
 *     m = beta1*m + (1-beta1)*g
 *     u = max(beta2*u, |g| + eps)
 *     w -= (a*m)/u */
DOWNHILL_API downhill_status downhill_adamax_step(size_t n, float *w, const float *g, float *m, float *u,
    uint64_t t, const struct downhill_adamax *config);

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
  /** As downhill_adam's. */
  double eps;
  /** How fast the momentum warms up, finite and >= 0. */
  double momentum_decay;
  double weight_decay;
} downhill_nadam;

/** The defaults of downhill_nadam_step(). */
DOWNHILL_INLINE downhill_nadam downhill_nadam_default(void) {
  downhill_nadam config;
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_NADAM;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 0.002; config.beta1 = 0.9;
  config.beta2 = 0.999; config.eps = 1e-8; config.momentum_decay = 0.004; config.weight_decay = 0.0;
  return config;
}

/** Nadam, which is Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov Momentum into Adam",
 * 2016). States: m, v. With c2 = 1-beta2^t, mu(t) = beta1*(1 - 0.5*0.96^(t*momentum_decay)), P =
 * mu(1)*...*mu(t) (of which factors are left out that no longer change 1-P), a = lr*(1-mu(t))/(1-P), b
 * = lr*mu(t+1)/(1-P*mu(t+1)):
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     r = sqrt(v*(1/c2)) + eps
 *     w -= (a*g)/r; w -= (b*m)/r */
DOWNHILL_API downhill_status downhill_nadam_step(size_t n, float *w, const float *g, float *m, float *v,
    uint64_t t, const struct downhill_nadam *config);

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
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_LION; config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0; config.lr = 0.0001; config.beta1 = 0.9; config.beta2 = 0.99;
  config.weight_decay = 0.0;
  return config;
}

/** Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023), whose weight decay is
 * decoupled in the paper and not by default. State: m. The sign of a zero is 0, and that of a NaN is
 * NaN.
 *     w -= lr*sign(beta1*m + (1-beta1)*g)
 *     m = beta2*m + (1-beta2)*g */
DOWNHILL_API downhill_status downhill_lion_step(size_t n, float *w, const float *g, float *m,
    const struct downhill_lion *config);

/** The hyper-parameters of downhill_signum_step(). */
typedef struct downhill_signum {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of m, in [0, 1). With 0 the rule is signSGD. */
  double momentum;
  double weight_decay;
} downhill_signum;

/** The defaults of downhill_signum_step(). */
DOWNHILL_INLINE downhill_signum downhill_signum_default(void) {
  downhill_signum config;
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_SIGNUM;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 0.0001; config.momentum = 0.9;
  config.weight_decay = 0.0;
  return config;
}

/** Signum (Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", 2018), with
 * momentum = 0 signSGD. State: m. The sign of a zero is 0, and that of a NaN is NaN.
 *     m = momentum*m + (1-momentum)*g
 *     w -= lr*sign(m) */
DOWNHILL_API downhill_status downhill_signum_step(size_t n, float *w, const float *g, float *m,
    const struct downhill_signum *config);

/** The hyper-parameters of downhill_radam_step(). */
typedef struct downhill_radam {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Decay rate of the first moment, in [0, 1). */
  double beta1;
  /** Decay rate of the second moment, in [0, 1). With 2/3 or less the second moment is never used. */
  double beta2;
  /** Added to the root of the second moment, before its bias is corrected; finite and >= 0. Below
   * 1e-17 it no longer hides that a second moment which grows in portions below 2^-126 (gradients
   * below 4e-18) stays 0. */
  double eps;
  double weight_decay;
} downhill_radam;

/** The defaults of downhill_radam_step(). */
DOWNHILL_INLINE downhill_radam downhill_radam_default(void) {
  downhill_radam config;
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_RADAM;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 0.001; config.beta1 = 0.9;
  config.beta2 = 0.999; config.eps = 1e-8; config.weight_decay = 0.0;
  return config;
}

/** RAdam, which is Adam that leaves its second moment out while that is an average of too few gradients
 * (Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019; with 5 where that has
 * 4, as PyTorch has it). States: m, v. With c1 = 1-beta1^t, c2 = 1-beta2^t, R = 2/(1-beta2) - 1,
 * rho = R - ((2*t)*beta2^t)/c2, r = sqrt((((rho-4)*(rho-2))*R)/(((R-4)*(R-2))*rho)):
 *     m = beta1*m + (1-beta1)*g
 *     v = beta2*v + ((1-beta2)*g)*g
 *     rho > 5: w -= (a*m)/(sqrt(v) + eps) with a = (lr/c1)*(r*sqrt(c2))
 *     else:    w -= a*m with a = lr/c1 */
DOWNHILL_API downhill_status downhill_radam_step(size_t n, float *w, const float *g, float *m, float *v,
    uint64_t t, const struct downhill_radam *config);

/** The hyper-parameters of downhill_ftrl_step(). */
typedef struct downhill_ftrl {
  uint32_t struct_size;
  uint32_t rule;
  /** It must be DOWNHILL_DECAY_L2: the new weight is not made of the old one. */
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and > 0, and not so small that 1/lr is infinite. */
  double lr;
  /** Added to the root of the sum of squares, finite and >= 0. With 0 (and l2 = 0) an element whose
   * squares have been zero so far is divided by zero, as IEEE says, and one with gradients of about
   * 1e-20, whose sum of squares is subnormal and so read as zero, doubles in every step. */
  double beta;
  /** L1 regularization, finite and >= 0: what makes weights exactly zero. */
  double l1;
  /** L2 regularization, finite and >= 0. */
  double l2;
  double weight_decay;
} downhill_ftrl;

/** The defaults of downhill_ftrl_step(). */
DOWNHILL_INLINE downhill_ftrl downhill_ftrl_default(void) {
  downhill_ftrl config;
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_FTRL; config.decay = DOWNHILL_DECAY_L2;
  config.reserved = 0; config.lr = 0.1; config.beta = 1.0; config.l1 = 0.0; config.l2 = 0.0;
  config.weight_decay = 0.0;
  return config;
}

/** FTRL-Proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013), for sparse
 * linear models. States: z, s. The new weight is made of them alone: weights that are not zero at the
 * start are pulled towards zero by the first step, unless z starts from
 * -(w*(beta/lr + l2) + sign(w)*l1). A NaN in g makes z, s and w NaN. With a = 1/lr:
 *     r = sqrt(s)
 *     s += g*g
 *     z += g - ((sqrt(s) - r)*a)*w
 *     w = (sign(z)*l1 - z)/((beta + sqrt(s))*a + l2), but 0 where |z| <= l1 */
DOWNHILL_API downhill_status downhill_ftrl_step(size_t n, float *w, const float *g, float *z, float *s,
    const struct downhill_ftrl *config);

/** The hyper-parameters of downhill_rowwise_adagrad_step(), and of tensors with rows whose state[0] has
 * one float for each row of w, n/row_length of them. */
typedef struct downhill_rowwise_adagrad {
  uint32_t struct_size;
  uint32_t rule;
  downhill_decay decay;
  uint32_t reserved;
  /** Learning rate, finite and >= 0. */
  double lr;
  /** Added to the denominator, outside the root; finite and >= 0. */
  double eps;
  double weight_decay;
} downhill_rowwise_adagrad;

/** The defaults of downhill_rowwise_adagrad_step(). */
DOWNHILL_INLINE downhill_rowwise_adagrad downhill_rowwise_adagrad_default(void) {
  downhill_rowwise_adagrad config;
  config.struct_size = sizeof config; config.rule = DOWNHILL_RULE_ROWWISE_ADAGRAD;
  config.decay = DOWNHILL_DECAY_L2; config.reserved = 0; config.lr = 0.01; config.eps = 1e-10;
  config.weight_decay = 0.0;
  return config;
}

/** Row-wise Adagrad (Duchi, Hazan & Singer, 2011, with one accumulator for a row as in FBGEMM and
 * TorchRec), for one row. State: s, one float, which may also start as another initial accumulator.
 *     s += mean(g*g), which is summed in double as downhill_grad_squares() does within 4,096 elements
 *     w -= (lr/(sqrt(s) + eps))*g */
DOWNHILL_API downhill_status downhill_rowwise_adagrad_step(size_t n, float *w, const float *g, float *s,
    const struct downhill_rowwise_adagrad *config);

/* ======== 5. Pools ======== */

/** Threads for whole steps. Made by downhill_pool_new(), downhill_pool_new_on() or downhill_pool_from(),
 * and the caller's to free. Any number of threads may use one at once. */
typedef struct downhill_pool downhill_pool;

/** A function that calls body(job) on several threads, any number of times, at once or one after
 * another, parts times if possible, and returns when all calls have returned. It must not throw. */
typedef void (*downhill_parallel_for)(void *context, size_t parts, void (*body)(void *job), void *job);

/** Starts a pool of threads. The workers have 512 KiB of stack each and compute in the default
 * floating-point environment. They block the signals that are sent to a process, and none that an
 * instruction of their own raises (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS), so that a host
 * that serves page faults gets them. A step is shared only if it moves at least 2 MiB per
 * thread; an element of Adam moves 28 bytes (g is read; w, m and v are read and written).
 *
 * Only one step at a time uses the workers. A thread that finds them busy, or a child process forked
 * after the pool was made, steps alone.
 *
 * The workers may run where the calling thread may: threads inherit its mask of CPUs. A thread that is
 * bound to one CPU (OMP_PROC_BIND binds a program's first one) shares it with all of them;
 * downhill_pool_new_on() is for such programs. A worker that wakes up on the CPU of the thread that
 * woke it moves to another one of its mask, by sched_setaffinity(); a mask that was set does not grow
 * when the CPUs of its control group do. DOWNHILL_MIGRATE=0 in the environment turns that off.
 *
 * @param threads  with how many threads a step is made, the calling one included, at most 1024; 0: one
 *                 for each CPU that the calling thread may use (its mask, and its control group's
 *                 quota)
 * @return the pool, to be freed with downhill_pool_free(). It has fewer workers, or none, where the
 *         system lets no (more) thread start; downhill_pool_threads() says. NULL, which works as a pool
 *         of 1, where there is no memory at all, or on a bug in this library */
DOWNHILL_API struct downhill_pool *downhill_pool_new(size_t threads);

/** Starts a pool with a worker on each of these CPUs, bound to it for its whole life. The calling thread
 * is left where it is: it waits while they work, and makes small steps by itself. For a program whose
 * own threads are bound (by OMP_PROC_BIND, say), and for one pool on each NUMA node. Otherwise as
 * downhill_pool_new().
 *
 * @param count  how many CPUs, 1 to 1024, which is also how many threads make a step
 * @param cpus   their numbers, as the system has them; one that is listed twice gets two workers
 * @return the pool, to be freed with downhill_pool_free(). NULL for an empty list, a CPU that is not
 *         there or that the process may not use, where no thread can be started, and on systems other
 *         than Linux; downhill_last_error() names the CPU */
DOWNHILL_API struct downhill_pool *downhill_pool_new_on(size_t count, const uint32_t *cpus);

/** Makes a pool of the caller's own threads: of OpenMP, TBB, a framework. Right after a parallel region
 * of theirs its threads still spin, and workers of another pool would compete with them. Whole steps
 * are cut up as with other pools, and small ones do not call the function. With OpenMP:
 *
 *     static void on_team(void *context, size_t parts, void (*body)(void *), void *job) {
 *       #pragma omp parallel num_threads((int)parts)
 *       body(job);
 *     }
 *
 * @param threads       with how many threads a step is made, 1 to 1024
 * @param parallel_for  calls the body, and is called by the thread that makes a step, which then does
 *                      what no call of the body has done
 * @param context       its first argument
 * @return the pool, to be freed with downhill_pool_free(). NULL, with downhill_last_error(), if
 *         parallel_for is NULL, threads out of its range, or where there is no memory */
DOWNHILL_API struct downhill_pool *downhill_pool_from(size_t threads, downhill_parallel_for parallel_for,
    void *context);

/** How many threads make a step with this pool: the workers, and with a pool of downhill_pool_new() the
 * calling one.
 *
 * @param pool  a pool, or NULL
 * @return at least 1; 1 for NULL */
DOWNHILL_API size_t downhill_pool_threads(const struct downhill_pool *pool);

/** Ends the workers, waits until they are gone, and frees the pool. In a forked child, which has no
 * workers, it forgets them.
 *
 * @param pool  a pool that no thread uses any more, or NULL
 *
 * Threads: one, after all other calls with this pool have returned. */
DOWNHILL_API void downhill_pool_free(struct downhill_pool *pool);

/* ======== 6. Groups of tensors ======== */

/** A flag of a tensor's row_flags: a row may be listed more than once. Its gradients are then added up
 * in float, in the order of the list, before they are scaled. */
#define DOWNHILL_ROWS_MERGE 1

/** What an array is made of. */
typedef uint32_t downhill_type;

/** How weights of BF16 and F16, and states of BF16 and 8BIT, are rounded. */
typedef uint32_t downhill_rounding;

/** How elements are numbered, which random rounding depends on. */
typedef uint32_t downhill_numbering;

/** The arrays of a tensor. With n = 0 the pointers may be anything; without a gradient only n, t and
 * first_element are looked at. */
typedef struct downhill_tensor {
  /** Number of elements. */
  size_t n;
  /** Weights, updated: the group's weight_type. */
  void *w;
  /** Gradient: the group's gradient_type. Written only with DOWNHILL_EXTRAS_ZERO_GRAD. NULL: there is
   * none, and the tensor is left alone; nothing is decayed or copied. */
  void *g;
  /** States, updated, in the order of the plain step (rmsprop: v, g_avg, u; adam: m, v), those that the
   * configuration does not have NULL; zeros before the first step. 8BIT: state[0] is one buffer for
   * all of them. */
  void *state[4];
  /** SPLIT: the lower halves of the weights. Else NULL. */
  int16_t *w_low;
  /** Where the new weights also go, in copy_type, rounded to nearest even; or NULL. */
  void *w_copy;
  /** 8BIT: what downhill_state_bytes() says. Else 0. */
  size_t state_bytes;
  /** The number of this step for this tensor alone, for one that joined late or was frozen. 0: the
   * group's. */
  uint64_t t;
  /** With DOWNHILL_NUMBERING_GIVEN the number of the first element in the model, a multiple of 64.
   * Else 0. */
  uint64_t first_element;
  /** Where row_length is not 0: which rows of w, counted from 0, g has, one after another. Only these
   * are stepped, each with the bits that it has in a step of all rows. For a list that does not
   * ascend memory is allocated. */
  const int64_t *rows;
  /** How many rows are listed: g has row_count*row_length elements. */
  size_t row_count;
  /** 0: g has all elements. Else w is a table whose rows have this many, which divides n. 8BIT: a
   * multiple of 64. */
  size_t row_length;
  /** The number of steps that each row of w has had, n/row_length of them; one more for a row that is
   * touched, which is its t in this step. NULL: its t is the tensor's. */
  uint64_t *row_t;
  /** 0, or DOWNHILL_ROWS_MERGE. Without it a row that is listed twice is an error. */
  uint32_t row_flags;
  uint32_t reserved;
} downhill_tensor;

/** Tensors that share a configuration and types. Start from downhill_group_default(). All groups of a
 * call have the same struct_size and tensor_size. */
typedef struct downhill_group {
  /** sizeof(downhill_group), which is how far apart groups are. */
  uint32_t struct_size;
  /** sizeof(downhill_tensor), which is how far apart tensors are. */
  uint32_t tensor_size;
  /** DOWNHILL_TYPE_F32, _BF16, _F16 or _SPLIT. Default F32. */
  downhill_type weight_type;
  /** DOWNHILL_TYPE_F32, _BF16 or _F16. Default F32. */
  downhill_type gradient_type;
  /** DOWNHILL_TYPE_F32, _BF16 or _8BIT. Default F32. */
  downhill_type state_type;
  /** DOWNHILL_TYPE_NONE, _F32, _BF16 or _F16. Default NONE. */
  downhill_type copy_type;
  /** A downhill_rounding. Default DOWNHILL_ROUNDING_STOCHASTIC. */
  downhill_rounding rounding;
  /** A downhill_numbering. Default DOWNHILL_NUMBERING_BY_PLACE. */
  downhill_numbering numbering;
  /** What random bits are made from, with t and the element's number. Default 0. */
  uint64_t seed;
  /** The number of this step, from 1, for every rule. A skipped step is not counted. */
  uint64_t t;
  /** A configuration of any rule. Groups may have different rules. */
  const void *config;
  /** How many tensors. */
  size_t count;
  /** The tensors. */
  const struct downhill_tensor *tensors;
  /** From where to where new weights are kept, at most clamp_high: a weight that is beyond after the
   * update becomes the bound, before it is rounded to its type (which can go beyond, to a neighbour)
   * or copied; a NaN stays one. Finite as floats, or -INFINITY or INFINITY for no bound. Both 0, the
   * default: no bounds. A plain step has none; a group of one tensor does the same with them. */
  double clamp_low;
  double clamp_high;
} downhill_group;

/** No array. Only for copy_type. */
#define DOWNHILL_TYPE_NONE 0
/** float */
#define DOWNHILL_TYPE_F32 1
/** bfloat16, the upper half of a float, as uint16_t. */
#define DOWNHILL_TYPE_BF16 2
/** IEEE half precision, as uint16_t. */
#define DOWNHILL_TYPE_F16 3
/** Weights that are floats in two halves: w has the nearest bfloat16 (ties away from zero), which a
 * model can run on, and w_low an int16_t that makes it exact. With x the bits of the float, w = (x +
 * 0x8000) >> 16, w_low = x & 0xffff, x = (w << 16) + w_low mod 2^32. (Of a NaN w has the upper half
 * with the quiet bit set, and w_low is 0.) */
#define DOWNHILL_TYPE_SPLIT 4
/** States in eight bits, all of a tensor in one buffer: for rules whose states are signed or averages of
 * squares. To the others (a sum, a maximum) downhill_state_bytes() says no. */
#define DOWNHILL_TYPE_8BIT 5
/** Up or down at random, and right on average: a state moves however small a step's part in it is. (A
 * running maximum, v_max, is always rounded to nearest.) */
#define DOWNHILL_ROUNDING_STOCHASTIC 0
/** To nearest, ties to even (8BIT: away from zero). What should move by less than half of the
 * distance between two numbers never moves: to compare with, not to train with. */
#define DOWNHILL_ROUNDING_NEAREST 1
/** All tensors of a call follow each other from 0, each from the next multiple of 64 on. */
#define DOWNHILL_NUMBERING_BY_PLACE 0
/** By first_element: for a model that is stepped in pieces, or by several ranks. Give each tensor
 * numbers of its own, and a part of a tensor (cut at a multiple of 64) those that it has in the whole;
 * then the bits are those of the whole. */
#define DOWNHILL_NUMBERING_GIVEN 1

/** All floats, no copy, random rounding with seed 0, numbered by place, no bounds; config, count, tensors and t are to be set. */
DOWNHILL_INLINE downhill_group downhill_group_default(void) {
  downhill_group group;
  group.struct_size = sizeof group; group.tensor_size = sizeof(downhill_tensor);
  group.weight_type = group.gradient_type = group.state_type = DOWNHILL_TYPE_F32;
  group.copy_type = DOWNHILL_TYPE_NONE;
  group.rounding = DOWNHILL_ROUNDING_STOCHASTIC; group.numbering = DOWNHILL_NUMBERING_BY_PLACE;
  group.seed = group.t = 0; group.config = 0; group.count = 0; group.tensors = 0;
  group.clamp_low = group.clamp_high = 0.0;
  return group;
}

/* ======== 7. The whole step ======== */

/** A flag of downhill_extras: set the gradients to zero after the step, unless it is skipped. */
#define DOWNHILL_EXTRAS_ZERO_GRAD 1
/** A flag of downhill_extras: if any gradient is NaN or infinite, or may become infinite when it is
 * scaled (the norm times what gradients are to be multiplied by is beyond the largest float), change
 * nothing at all, gradients included, and return DOWNHILL_STATUS_SKIPPED.
 *
 * A skipped step is not counted: the next call has the same t. If it were, Adam's bias correction would
 * assume steps that its moments have not seen: after three skips its first step would be 0.58 times what
 * it should be.
 *
 * It does not see a finite gradient whose square overflows, 5.8e20 for Adam's (1-beta2)*g*g and 1.8e19
 * for g*g alone: that makes v infinite, and its weight never moves again. max_norm prevents it. */
#define DOWNHILL_EXTRAS_SKIP_NONFINITE 2
/** A flag of downhill_extras: norm_squared is given, because this call has only a part of the gradients. */
#define DOWNHILL_EXTRAS_NORM_GIVEN 4

/** What a whole step does beside the update. Start from downhill_extras_default(). */
typedef struct downhill_extras {
  /** sizeof(downhill_extras) */
  uint32_t struct_size;
  /** DOWNHILL_EXTRAS_..., any of them, combined with |. Default 0. */
  uint32_t flags;
  /** What gradients are multiplied by: the inverse of a loss scale, one over a number of samples, -1
   * to maximize. Finite. Default 1. */
  double grad_scale;
  /** The norm of all scaled gradients together above which they are scaled down to it, finite and >=
   * 0. Default 0: no clipping. A norm that is NaN makes all weights NaN; with an infinite
   * one finite gradients become 0 and infinite ones NaN. DOWNHILL_EXTRAS_SKIP_NONFINITE prevents both. */
  double max_norm;
  /** With DOWNHILL_EXTRAS_NORM_GIVEN the sum of the squares of all gradients, before grad_scale: what
   * downhill_grad_squares() gives, added from left to right. NaN and infinity mean that a gradient is
   * not finite. Else 0. */
  double norm_squared;
} downhill_extras;

/** What a whole step did. Written if the status is DOWNHILL_STATUS_OK or DOWNHILL_STATUS_SKIPPED. For
 * the norm the gradients are read once more, if nothing else needs it. Start from
 * downhill_report_default(). */
typedef struct downhill_report {
  /** sizeof(downhill_report) */
  uint32_t struct_size;
  /** 1 if the step was skipped, else 0. */
  uint32_t skipped;
  /** The norm of all scaled gradients together, before clipping. */
  double grad_norm;
  /** What the gradients were multiplied by: grad_scale times the clipping factor, rounded to float. 0
   * if the step was skipped. */
  double applied_scale;
  /** How many tensors were updated: those that have a gradient, or none. */
  size_t tensors_updated;
  /** If the step was skipped: the first element of a gradient of this call that is not finite.
   * SIZE_MAX, all three, if there is none. */
  size_t group;
  size_t tensor;
  size_t element;
} downhill_report;

/** One whole training step: for every tensor of every group the formula of its rule's plain step, bit by
 * bit, with g*s in place of g. What is not float is widened to it, exactly, before and rounded after. s
 * is grad_scale*min(1, max_norm/(norm + 1e-6)), rounded to float, and norm that of all scaled gradients
 * of all groups together; with s = 1 there is no multiplication.
 *
 * No result depends on the pool. Which tensors are stepped together affects only the norm
 * (DOWNHILL_EXTRAS_NORM_GIVEN) and random rounding (DOWNHILL_NUMBERING_GIVEN).
 *
 * @param group_count  number of groups
 * @param groups       the groups
 * @param extras       what else is done, or NULL: nothing
 * @param pool         who works, or NULL: this thread
 * @param report       what was done is written here, or NULL
 * @return DOWNHILL_STATUS_OK, _SKIPPED; or as for plain steps, _OUT_OF_MEMORY, too. The first
 *         error is told, in this order: extras, report, each group with its tensors, overlap */
DOWNHILL_API downhill_status downhill_step(size_t group_count, const downhill_group *groups,
    const struct downhill_extras *extras, downhill_pool *pool, struct downhill_report *report);

/** The sum of the squares of each tensor's gradient, in double, in the order of groups and tensors; 0
 * for one without a gradient. Whoever steps whole tensors in pieces, layer by layer or rank by rank,
 * gathers these sums, adds them from left to right and passes the total to each downhill_step() as
 * norm_squared: the bits are those of one call. (A tensor that is itself cut over ranks has another
 * total in its last bits; what counts is that every rank passes the same one.) NaN and infinity are no
 * error.
 *
 * The order of additions: within a block of 4,096 elements, counted from each gradient's start, element
 * i goes to sum i mod 32; the 32 are added pairwise (neighbours, then neighbouring pairs, ...); the
 * blocks of a tensor in order.
 *
 * @param group_count  number of groups
 * @param groups       the groups, of which the sizes, gradient_type, count and tensors are read, and of
 *                     tensors n and g and, for how long g is, row_count and row_length
 * @param pool         who works, or NULL: this thread
 * @param sums         as many as there are tensors in all groups, written
 * @return as downhill_step() */
DOWNHILL_API downhill_status downhill_grad_squares(size_t group_count, const downhill_group *groups,
    downhill_pool *pool, double *sums);

/** Extras that do nothing. */
DOWNHILL_INLINE downhill_extras downhill_extras_default(void) {
  downhill_extras extras;
  extras.struct_size = sizeof extras; extras.flags = 0;
  extras.grad_scale = 1.0; extras.max_norm = 0.0; extras.norm_squared = 0.0;
  return extras;
}

/** A report to be written. */
DOWNHILL_INLINE downhill_report downhill_report_default(void) {
  downhill_report report;
  report.struct_size = sizeof report; report.skipped = 0;
  report.grad_norm = report.applied_scale = 0.0; report.tensors_updated = 0;
  report.group = report.tensor = report.element = SIZE_MAX;
  return report;
}

/* ======== 8. Conversion ======== */

/** How many bytes the states of n elements take with DOWNHILL_TYPE_8BIT: 65 for each state and block of
 * 64 elements, the last of which may be shorter. They start as zeros. The bytes are the same on every
 * machine, and in every release of a SONAME.
 *
 * @param config  a configuration of any rule
 * @param n       number of elements
 * @return the number of bytes; SIZE_MAX on an error, of which downhill_last_error() tells: also for a
 *         rule whose states are not for eight bits */
DOWNHILL_API size_t downhill_state_bytes(const void *config, size_t n);

/** Packs float states for DOWNHILL_TYPE_8BIT, each number rounded to the nearest code, ties away from
 * zero. To go on from a checkpoint bit by bit, keep the packed bytes themselves.
 * docs/formats.md has the layout.
 *
 * @param config  a configuration of any rule
 * @param n       number of elements
 * @param states  the arrays at the places that they have in a tensor's state; four pointers
 * @param packed  written
 * @param bytes   how many: downhill_state_bytes()
 * @return DOWNHILL_STATUS_OK; or as for plain steps */
DOWNHILL_API downhill_status downhill_pack(const void *config, size_t n, const float *const *states,
    void *packed, size_t bytes);

/** Unpacks states to float: what the codes mean, exactly. Parameters as of downhill_pack(); states are
 * written. */
DOWNHILL_API downhill_status downhill_unpack(const void *config, size_t n, const void *packed,
    size_t bytes, float *const *states);

/** Converts numbers from one type to another: rounded to nearest, ties to even. DOWNHILL_TYPE_SPLIT is
 * exact.
 *
 * @param n          number of elements
 * @param from_type  DOWNHILL_TYPE_F32, _BF16, _F16 or _SPLIT
 * @param from       the numbers
 * @param from_low   SPLIT: the lower halves, int16_t. Else NULL
 * @param to_type    as from_type
 * @param to         written
 * @param to_low     SPLIT: the lower halves, written. Else NULL
 * @return DOWNHILL_STATUS_OK; or as for plain steps */
DOWNHILL_API downhill_status downhill_convert(size_t n, uint32_t from_type, const void *from,
    const void *from_low, uint32_t to_type, void *to, void *to_low);

#ifdef __cplusplus
}
#endif

#endif /* DOWNHILL_H */
