/*
 * downhill.hpp: downhill.h for C++17 and later.
 *
 * Licensed MIT OR Apache-2.0.
 *
 *     downhill::adam config;                                   // the defaults
 *     config.lr = 3e-4;
 *     std::vector<float> w = ..., g(w.size()), m(w.size()), v(w.size());
 *     for (std::uint64_t t = 1; t <= steps; t++) {
 *       ... compute g ...
 *       downhill::step(w, g, m, v, t, config).or_throw();
 *     }
 *
 * The type of the configuration chooses the rule. Arrays are spans, made of a std::vector, a std::array, a pointer
 * with a length; all of one step have one length, or the status is DOWNHILL_STATUS_INVALID_LENGTH. The rest is as
 * downhill.h says it: formulas, preconditions, numerics, threads. Every function is one call of C's.
 *
 * A function that can fail returns a downhill::status, which the compiler does not let pass unseen. Let it throw,
 *
 *     downhill::step(w, g, u, config).or_throw();
 *
 * or look at it, with or without exceptions:
 *
 *     if (auto status = downhill::step(w, g, u, config); !status) log(status.message());
 *
 * Units of C++17 and of C++20, with exceptions and without, can be parts of one program. (downhill::span is std::span
 * where there is one: between such units pass pointers.)
 *
 * CONTENTS
 *   1. Spans, status   downhill::span, status, error
 *   2. Configurations  downhill::sgd, momentum, ..., extras, packing
 *   3. Steps           downhill::step()
 *   4. Whole steps     downhill::pool, tensors, step_many(), grad_norm()
 *   5. Packed states   downhill::packed_bytes(), packed_tensors, step_packed(), pack(), unpack()
 *   6. Version         downhill::version(), version_number(), isa()
 */
#ifndef DOWNHILL_HPP
#define DOWNHILL_HPP

/** @file
 * downhill.h for C++17. The introduction stands at the top of the file. */

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "downhill.hpp needs C++17 (-std=c++17); downhill.h works with C++11"
#endif

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <vector>
#if __has_include(<version>)
#include <version>
#endif
#ifdef __cpp_lib_span
#include <span>
#else
#include <type_traits>
#include <utility>
#endif
#ifdef __cpp_exceptions
#include <stdexcept>
#endif

#include "downhill.h"

/** One object for all shared libraries of a program, even if they hide theirs. */
#ifdef __GNUC__
#define DOWNHILL_HPP_SHARED __attribute__((visibility("default")))
#else
#define DOWNHILL_HPP_SHARED
#endif

/** Fused optimizer steps: downhill.h for C++. */
namespace downhill {

/* ======== 1. Spans, status ======== */

#ifdef __cpp_lib_span
using std::span;
#else
/** Elements that stand one after another and belong to somebody else: what of std::span steps need. */
template <class Element>
class span {
 public:
  /** No elements. */
  constexpr span() noexcept = default;

  /** `size` elements from `data` on. */
  constexpr span(Element *data, std::size_t size) noexcept : data_(data), size_(size) {}

  /** All elements of an array. */
  template <std::size_t Size>
  constexpr span(Element (&array)[Size]) noexcept : data_(array), size_(Size) {}

  /** All elements of a std::vector, a std::array, another span; not of a temporary, unless they are only read. */
  template <class Container, class Pointer = decltype(std::declval<Container &>().data()),
            class = decltype(std::declval<Container &>().size(), std::declval<Container &>().begin(),
                             std::declval<Container &>().end()),
            class = std::enable_if_t<(std::is_lvalue_reference_v<Container> || std::is_const_v<Element>) &&
                                     std::is_convertible_v<std::remove_pointer_t<Pointer> (*)[], Element (*)[]>>>
  constexpr span(Container &&container) noexcept
      : data_(container.data()), size_(static_cast<std::size_t>(container.size())) {}

  /** The first element. */
  constexpr Element *data() const noexcept { return data_; }
  /** How many there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** Are there none? */
  constexpr bool empty() const noexcept { return size_ == 0; }
  /** Element `i`, which must be one. */
  constexpr Element &operator[](std::size_t i) const noexcept { return data_[i]; }
  /** The first element. */
  constexpr Element *begin() const noexcept { return data_; }
  /** Behind the last element. */
  constexpr Element *end() const noexcept { return data_ + size_; }

 private:
  Element *data_ = nullptr;
  std::size_t size_ = 0;
};
#endif

/** Implementation. */
namespace detail {
/** What was wrong with a length, in the last call of this thread where one was. */
DOWNHILL_HPP_SHARED inline thread_local char length_error[128] = "";
}  // namespace detail

#ifdef __cpp_exceptions
/** What status::or_throw() throws; what() says which argument was wrong, and its value. */
class DOWNHILL_HPP_SHARED error : public std::runtime_error {
 public:
  /** A status that is not DOWNHILL_STATUS_OK, and what to say of it. */
  error(downhill_status code, const char *message) : std::runtime_error(message), code_(code) {}
  /** The status. */
  downhill_status code() const noexcept { return code_; }

 private:
  downhill_status code_;
};
#endif

/** How a call ended. */
class [[nodiscard]] status {
 public:
  /** What a C function returned. */
  constexpr status(downhill_status code) noexcept : code_(code) {}

  /** The arrays of one call have different lengths: `name` has `length` elements, and `first` has `n`. */
  static status wrong_length(const char *name, std::size_t length, std::size_t n, const char *first = "w") noexcept {
    std::snprintf(detail::length_error, sizeof detail::length_error,
                  "`%s` has %zu elements; it must have as many as `%s`, %zu", name, length, first, n);
    status result(DOWNHILL_STATUS_INVALID_LENGTH);
    result.is_of_lengths_ = true;
    return result;
  }

  /** The value that C's functions return. */
  constexpr downhill_status code() const noexcept { return code_; }
  /** Was the step made? */
  constexpr explicit operator bool() const noexcept { return code_ == DOWNHILL_STATUS_OK; }
  /** Which argument was wrong, and its value; "" if none was. Lives until the next failing call in this thread. */
  const char *message() const noexcept {
    return *this ? "" : is_of_lengths_ ? detail::length_error : downhill_last_error();
  }

#ifdef __cpp_exceptions
  /** Throws an error unless the call did what it was asked to. */
  void or_throw() const {
    if (!*this) throw error(code_, message());
  }
#endif

 private:
  downhill_status code_;
  bool is_of_lengths_ = false;
};

/** How a whole step ended: as any call, or skipped, as DOWNHILL_SKIP_NONFINITE asks for. */
class [[nodiscard]] whole_status : public status {
 public:
  /** What a C function returned. */
  constexpr whole_status(downhill_status code) noexcept : status(code) {}

  /** Was it skipped? Nothing has changed then, and the step is not counted: the next one has the same `t`. */
  constexpr bool skipped() const noexcept { return code() == DOWNHILL_STATUS_SKIPPED; }

#ifdef __cpp_exceptions
  /**
   * Throws an error unless the step was made or skipped. `t` counts the steps that were made:
   *
   *     if (downhill::step_many(tensors, t, config, extras).or_throw()) t++;
   *
   * @return true if it was made, false if it was skipped
   */
  [[nodiscard]] bool or_throw() const {
    if (!skipped()) status::or_throw();
    return !skipped();
  }
#endif
};

/* ======== 2. Configurations ======== */

/** downhill_sgd with its defaults. */
struct sgd : downhill_sgd {
  sgd() noexcept : downhill_sgd(downhill_sgd_default()) {}
};

/** downhill_momentum with its defaults. */
struct momentum : downhill_momentum {
  momentum() noexcept : downhill_momentum(downhill_momentum_default()) {}
};

/** downhill_nesterov with its defaults. */
struct nesterov : downhill_nesterov {
  nesterov() noexcept : downhill_nesterov(downhill_nesterov_default()) {}
};

/** downhill_adagrad with its defaults. */
struct adagrad : downhill_adagrad {
  adagrad() noexcept : downhill_adagrad(downhill_adagrad_default()) {}
};

/** downhill_adadelta with its defaults. */
struct adadelta : downhill_adadelta {
  adadelta() noexcept : downhill_adadelta(downhill_adadelta_default()) {}
};

/** downhill_rmsprop with its defaults. */
struct rmsprop : downhill_rmsprop {
  rmsprop() noexcept : downhill_rmsprop(downhill_rmsprop_default()) {}
};

/** downhill_adam with its defaults. */
struct adam : downhill_adam {
  adam() noexcept : downhill_adam(downhill_adam_default()) {}
};

/** downhill_adam with the defaults of AdamW: a decoupled weight_decay of 1e-2. */
struct adamw : downhill_adam {
  adamw() noexcept : downhill_adam(downhill_adamw_default()) {}
};

/** downhill_adam with the defaults of AMSGrad. */
struct amsgrad : downhill_adam {
  amsgrad() noexcept : downhill_adam(downhill_amsgrad_default()) {}
};

/** downhill_adamax with its defaults. */
struct adamax : downhill_adamax {
  adamax() noexcept : downhill_adamax(downhill_adamax_default()) {}
};

/** downhill_nadam with its defaults. */
struct nadam : downhill_nadam {
  nadam() noexcept : downhill_nadam(downhill_nadam_default()) {}
};

/** downhill_lion with its defaults. */
struct lion : downhill_lion {
  lion() noexcept : downhill_lion(downhill_lion_default()) {}
};

/** What a whole step does besides the update: nothing, unless it is told. */
struct extras : downhill_extras {
  extras() noexcept : downhill_extras(downhill_extras_default()) {}
};

/** How states are packed: in 8 bits, rounded at random, beside weights of float, unless it is told. */
struct packing : downhill_packing {
  packing() noexcept : downhill_packing(downhill_packing_default()) {}
};

/* ======== 3. Steps ======== */

namespace detail {

/** An array's name and length. */
struct length {
  const char *name;
  std::size_t value;
};

/** Do all arrays have `n` elements? */
template <class... Arrays>
constexpr bool all_have(std::size_t n, const Arrays &...arrays) noexcept {
  return ((arrays.size() == n) && ...);
}

/** Says which is the first array that has not. Never inlined, so that a call in a program is C's call. */
[[gnu::cold, gnu::noinline]] inline status wrong_length(std::size_t n, std::initializer_list<length> lengths) noexcept {
  for (const length &each : lengths)
    if (each.value != n) return status::wrong_length(each.name, each.value, n);
  return DOWNHILL_STATUS_OK;
}

}  // namespace detail

/** One call of downhill_sgd_step(). */
inline status step(span<float> w, span<const float> g, const sgd &config) noexcept {
  if (detail::all_have(w.size(), g))
    return downhill_sgd_step(w.size(), w.data(), g.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}});
}

/** One call of downhill_momentum_step(). */
inline status step(span<float> w, span<const float> g, span<float> u, const momentum &config) noexcept {
  if (detail::all_have(w.size(), g, u))
    return downhill_momentum_step(w.size(), w.data(), g.data(), u.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"u", u.size()}});
}

/** One call of downhill_nesterov_step(). */
inline status step(span<float> w, span<const float> g, span<float> u, const nesterov &config) noexcept {
  if (detail::all_have(w.size(), g, u))
    return downhill_nesterov_step(w.size(), w.data(), g.data(), u.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"u", u.size()}});
}

/** One call of downhill_adagrad_step(). */
inline status step(span<float> w, span<const float> g, span<float> s, const adagrad &config) noexcept {
  if (detail::all_have(w.size(), g, s))
    return downhill_adagrad_step(w.size(), w.data(), g.data(), s.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"s", s.size()}});
}

/** One call of downhill_adadelta_step(). */
inline status step(span<float> w, span<const float> g, span<float> v, span<float> u,
                   const adadelta &config) noexcept {
  if (detail::all_have(w.size(), g, v, u))
    return downhill_adadelta_step(w.size(), w.data(), g.data(), v.data(), u.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"v", v.size()}, {"u", u.size()}});
}

/** One call of downhill_rmsprop_step(), neither centered nor with momentum. */
inline status step(span<float> w, span<const float> g, span<float> v, const rmsprop &config) noexcept {
  if (detail::all_have(w.size(), g, v))
    return downhill_rmsprop_step(w.size(), w.data(), g.data(), v.data(), nullptr, nullptr, &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"v", v.size()}});
}

/** One call of downhill_rmsprop_step(): centered if `g_avg` is not empty, with momentum if `u` is not. */
inline status step(span<float> w, span<const float> g, span<float> v, span<float> g_avg, span<float> u,
                   const rmsprop &config) noexcept {
  const auto g_avg_or_w = g_avg.empty() ? w : g_avg, u_or_w = u.empty() ? w : u;
  if (detail::all_have(w.size(), g, v, g_avg_or_w, u_or_w))
    return downhill_rmsprop_step(w.size(), w.data(), g.data(), v.data(), g_avg.empty() ? nullptr : g_avg.data(),
                                 u.empty() ? nullptr : u.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"v", v.size()}, {"g_avg", g_avg_or_w.size()},
                                         {"u", u_or_w.size()}});
}

/** One call of downhill_adam_step(). */
inline status step(span<float> w, span<const float> g, span<float> m, span<float> v, std::uint64_t t,
                   const adam &config) noexcept {
  if (detail::all_have(w.size(), g, m, v))
    return downhill_adam_step(w.size(), w.data(), g.data(), m.data(), v.data(), t, &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"m", m.size()}, {"v", v.size()}});
}

/** One call of downhill_adamw_step(). */
inline status step(span<float> w, span<const float> g, span<float> m, span<float> v, std::uint64_t t,
                   const adamw &config) noexcept {
  if (detail::all_have(w.size(), g, m, v))
    return downhill_adamw_step(w.size(), w.data(), g.data(), m.data(), v.data(), t, &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"m", m.size()}, {"v", v.size()}});
}

/** One call of downhill_amsgrad_step(). */
inline status step(span<float> w, span<const float> g, span<float> m, span<float> v, span<float> v_max, std::uint64_t t,
                   const amsgrad &config) noexcept {
  if (detail::all_have(w.size(), g, m, v, v_max))
    return downhill_amsgrad_step(w.size(), w.data(), g.data(), m.data(), v.data(), v_max.data(), t, &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"m", m.size()}, {"v", v.size()}, {"v_max", v_max.size()}});
}

/** One call of downhill_adamax_step(). */
inline status step(span<float> w, span<const float> g, span<float> m, span<float> u, std::uint64_t t,
                   const adamax &config) noexcept {
  if (detail::all_have(w.size(), g, m, u))
    return downhill_adamax_step(w.size(), w.data(), g.data(), m.data(), u.data(), t, &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"m", m.size()}, {"u", u.size()}});
}

/** One call of downhill_nadam_step(). */
inline status step(span<float> w, span<const float> g, span<float> m, span<float> v, std::uint64_t t,
                   const nadam &config) noexcept {
  if (detail::all_have(w.size(), g, m, v))
    return downhill_nadam_step(w.size(), w.data(), g.data(), m.data(), v.data(), t, &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"m", m.size()}, {"v", v.size()}});
}

/** One call of downhill_lion_step(). */
inline status step(span<float> w, span<const float> g, span<float> m, const lion &config) noexcept {
  if (detail::all_have(w.size(), g, m))
    return downhill_lion_step(w.size(), w.data(), g.data(), m.data(), &config);
  return detail::wrong_length(w.size(), {{"g", g.size()}, {"m", m.size()}});
}

/* ======== 4. Whole steps ======== */

/** Threads for whole steps: downhill_pool_new(), and downhill_pool_free() at the end. */
class pool {
 public:
  /** With how many threads a step is made, the calling one included; 0: one for each CPU that it may use. */
  explicit pool(std::size_t threads = 0) noexcept : pool_(downhill_pool_new(threads)) {}
  /** Takes over a pool of C's; with NULL it is a pool of 1. */
  static pool take(downhill_pool *taken) noexcept { return pool(taken, true); }
#ifdef __cpp_exceptions
  /**
   * A worker bound to each of these CPUs: downhill_pool_new_on(). Throws an error, always with
   * DOWNHILL_STATUS_INVALID_CONFIG, whose text says which CPU it was or what else was wrong.
   */
  static pool on(span<const std::uint32_t> cpus) {
    downhill_pool *const made = downhill_pool_new_on(cpus.size(), cpus.data());
    if (made == nullptr) throw error(DOWNHILL_STATUS_INVALID_CONFIG, downhill_last_error());
    return take(made);
  }
#endif
  /** With how many threads a step is really made. */
  std::size_t threads() const noexcept { return downhill_pool_threads(pool_.get()); }
  /** C's pool, which this one still owns. */
  operator downhill_pool *() const noexcept { return pool_.get(); }

 private:
  struct free {
    void operator()(downhill_pool *pool) const noexcept { downhill_pool_free(pool); }
  };
  pool(downhill_pool *taken, bool) noexcept : pool_(taken) {}
  std::unique_ptr<downhill_pool, free> pool_;
};

/** A list of tensors whose arrays belong to somebody else and stay where they are. */
class tensors {
 public:
  /**
   * Adds a tensor: weights, gradient, and the states in the order of the rule's step(). A state that the rule does
   * not have, or can do without, is empty. The list grows as a std::vector does.
   */
  status add(span<float> w, span<float> g, span<float> state0 = {}, span<float> state1 = {}, span<float> state2 = {}) {
    const char *const names[] = {"state0", "state1", "state2"};
    const span<float> states[] = {state0, state1, state2};
    downhill_tensor tensor = {w.size(), w.data(), g.data(), {}};
    if (g.size() != w.size()) return status::wrong_length("g", g.size(), w.size());
    for (int k = 0; k < 3; k++) {
      if (states[k].empty()) continue;
      if (states[k].size() != w.size()) return status::wrong_length(names[k], states[k].size(), w.size());
      tensor.state[k] = states[k].data();
    }
    list_.push_back(tensor);
    return DOWNHILL_STATUS_OK;
  }
  /** The first one. */
  const downhill_tensor *data() const noexcept { return list_.data(); }
  /** How many there are. */
  std::size_t size() const noexcept { return list_.size(); }
  /** The first one. */
  const downhill_tensor *begin() const noexcept { return list_.data(); }
  /** Behind the last one. */
  const downhill_tensor *end() const noexcept { return list_.data() + list_.size(); }

 private:
  std::vector<downhill_tensor> list_;
};

/** One call of downhill_sgd_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const sgd &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_sgd_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_momentum_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const momentum &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_momentum_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_nesterov_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const nesterov &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_nesterov_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_adagrad_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const adagrad &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_adagrad_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_adadelta_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const adadelta &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_adadelta_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_rmsprop_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const rmsprop &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_rmsprop_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_adam_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, std::uint64_t t, const adam &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_adam_step_many(tensors.size(), tensors.data(), t, &config, &extras, pool, report);
}

/** One call of downhill_adamw_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, std::uint64_t t, const adamw &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_adamw_step_many(tensors.size(), tensors.data(), t, &config, &extras, pool, report);
}

/** One call of downhill_amsgrad_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, std::uint64_t t, const amsgrad &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_amsgrad_step_many(tensors.size(), tensors.data(), t, &config, &extras, pool, report);
}

/** One call of downhill_adamax_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, std::uint64_t t, const adamax &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_adamax_step_many(tensors.size(), tensors.data(), t, &config, &extras, pool, report);
}

/** One call of downhill_nadam_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, std::uint64_t t, const nadam &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_nadam_step_many(tensors.size(), tensors.data(), t, &config, &extras, pool, report);
}

/** One call of downhill_lion_step_many(). */
inline whole_status step_many(span<const downhill_tensor> tensors, const lion &config,
                              const extras &extras = {}, downhill_pool *pool = nullptr,
                              downhill_report *report = nullptr) noexcept {
  return downhill_lion_step_many(tensors.size(), tensors.data(), &config, &extras, pool, report);
}

/** One call of downhill_grad_norm(). */
inline status grad_norm(span<const downhill_tensor> tensors, double &norm, downhill_pool *pool = nullptr) noexcept {
  return downhill_grad_norm(tensors.size(), tensors.data(), pool, &norm);
}

/* ======== 5. Packed states ======== */

/** One call of downhill_packed_bytes(): for `n` elements of a rule with so many states. */
inline std::size_t packed_bytes(std::size_t states, std::size_t n, const packing &packing = {}) noexcept {
  return downhill_packed_bytes(states, n, packing.state_format);
}

/** A list of tensors with packed states, whose arrays belong to somebody else and stay where they are. */
class packed_tensors {
 public:
  /**
   * Adds a tensor: weights, gradient, all states in packed_bytes() bytes, and the number of the first element in the
   * whole model. The list grows as a std::vector does. All tensors of one list are of float, as here, or all of
   * bfloat16: a step takes them for what packing::weight_format says.
   */
  status add(span<float> w, span<float> g, span<std::uint8_t> state, std::uint64_t first_element = 0) {
    return add_any(w, g, state, first_element);
  }
  /** The same with weights and gradient of bfloat16, for DOWNHILL_WEIGHT_FORMAT_BF16. */
  status add(span<std::uint16_t> w, span<std::uint16_t> g, span<std::uint8_t> state, std::uint64_t first_element = 0) {
    return add_any(w, g, state, first_element);
  }
  /** The first one. */
  const downhill_packed_tensor *data() const noexcept { return list_.data(); }
  /** How many there are. */
  std::size_t size() const noexcept { return list_.size(); }
  /** The first one. */
  const downhill_packed_tensor *begin() const noexcept { return list_.data(); }
  /** Behind the last one. */
  const downhill_packed_tensor *end() const noexcept { return list_.data() + list_.size(); }

 private:
  template <class Element>
  status add_any(span<Element> w, span<Element> g, span<std::uint8_t> state, std::uint64_t first_element) {
    if (g.size() != w.size()) return status::wrong_length("g", g.size(), w.size());
    list_.push_back({w.size(), w.data(), g.data(), state.data(), state.size(), first_element});
    return DOWNHILL_STATUS_OK;
  }

  std::vector<downhill_packed_tensor> list_;
};

/** One call of downhill_momentum_step_packed(). */
inline whole_status step_packed(span<const downhill_packed_tensor> tensors, std::uint64_t t, const momentum &config,
                                const packing &packing = {}, const extras &extras = {}, downhill_pool *pool = nullptr,
                                downhill_report *report = nullptr) noexcept {
  return downhill_momentum_step_packed(tensors.size(), tensors.data(), t, &config, &packing, &extras, pool, report);
}

/** One call of downhill_adam_step_packed(). */
inline whole_status step_packed(span<const downhill_packed_tensor> tensors, std::uint64_t t, const adam &config,
                                const packing &packing = {}, const extras &extras = {}, downhill_pool *pool = nullptr,
                                downhill_report *report = nullptr) noexcept {
  return downhill_adam_step_packed(tensors.size(), tensors.data(), t, &config, &packing, &extras, pool, report);
}

/** One call of downhill_adamw_step_packed(). */
inline whole_status step_packed(span<const downhill_packed_tensor> tensors, std::uint64_t t, const adamw &config,
                                const packing &packing = {}, const extras &extras = {}, downhill_pool *pool = nullptr,
                                downhill_report *report = nullptr) noexcept {
  return downhill_adamw_step_packed(tensors.size(), tensors.data(), t, &config, &packing, &extras, pool, report);
}

/** One call of downhill_lion_step_packed(). */
inline whole_status step_packed(span<const downhill_packed_tensor> tensors, std::uint64_t t, const lion &config,
                                const packing &packing = {}, const extras &extras = {}, downhill_pool *pool = nullptr,
                                downhill_report *report = nullptr) noexcept {
  return downhill_lion_step_packed(tensors.size(), tensors.data(), t, &config, &packing, &extras, pool, report);
}

/** One call of downhill_momentum_pack(). */
inline status pack(span<const float> u, span<std::uint8_t> state, const momentum &,
                   const packing &packing = {}) noexcept {
  return downhill_momentum_pack(u.size(), u.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_momentum_unpack(). */
inline status unpack(span<float> u, span<const std::uint8_t> state, const momentum &,
                     const packing &packing = {}) noexcept {
  return downhill_momentum_unpack(u.size(), u.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_adam_pack(). */
inline status pack(span<const float> m, span<const float> v, span<std::uint8_t> state, const adam &,
                   const packing &packing = {}) noexcept {
  if (v.size() != m.size()) return status::wrong_length("v", v.size(), m.size(), "m");
  return downhill_adam_pack(m.size(), m.data(), v.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_adam_unpack(). */
inline status unpack(span<float> m, span<float> v, span<const std::uint8_t> state, const adam &,
                     const packing &packing = {}) noexcept {
  if (v.size() != m.size()) return status::wrong_length("v", v.size(), m.size(), "m");
  return downhill_adam_unpack(m.size(), m.data(), v.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_adam_pack(). */
inline status pack(span<const float> m, span<const float> v, span<std::uint8_t> state, const adamw &,
                   const packing &packing = {}) noexcept {
  if (v.size() != m.size()) return status::wrong_length("v", v.size(), m.size(), "m");
  return downhill_adam_pack(m.size(), m.data(), v.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_adam_unpack(). */
inline status unpack(span<float> m, span<float> v, span<const std::uint8_t> state, const adamw &,
                     const packing &packing = {}) noexcept {
  if (v.size() != m.size()) return status::wrong_length("v", v.size(), m.size(), "m");
  return downhill_adam_unpack(m.size(), m.data(), v.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_lion_pack(). */
inline status pack(span<const float> m, span<std::uint8_t> state, const lion &, const packing &packing = {}) noexcept {
  return downhill_lion_pack(m.size(), m.data(), packing.state_format, state.data(), state.size());
}

/** One call of downhill_lion_unpack(). */
inline status unpack(span<float> m, span<const std::uint8_t> state, const lion &,
                     const packing &packing = {}) noexcept {
  return downhill_lion_unpack(m.size(), m.data(), packing.state_format, state.data(), state.size());
}

/* ======== 6. Version ======== */

/** downhill_version(): of the library that is linked. */
inline const char *version() noexcept { return downhill_version(); }

/** downhill_version_number(): of the library that is linked. */
inline std::uint32_t version_number() noexcept { return downhill_version_number(); }

/** downhill_isa(): the instruction set that steps use. */
inline const char *isa() noexcept { return downhill_isa(); }

}  // namespace downhill

#endif /* DOWNHILL_HPP */
