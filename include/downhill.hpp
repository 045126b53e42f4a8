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
 * A whole training step is one call for all tensors, in groups with different hyper-parameters, types
 * and rules:
 *
 *     downhill::adamw config;
 *     downhill::group decayed(config);
 *     config.weight_decay = 0.0;
 *     downhill::group not_decayed(config);
 *     decayed.add(w, g, m, v);                       // g of another type than w, perhaps
 *     not_decayed.add(n, bias, bias_g, bias_m, bias_v);
 *     const downhill::pool pool;                     // a thread for each CPU
 *     downhill::extras extras;
 *     extras.max_norm = 1.0;
 *     extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE;
 *     for (std::uint64_t t = 1; t <= steps;) {
 *       ... compute the gradients ...
 *       if (downhill::step({decayed, not_decayed}, t, extras, pool).or_throw()) t++;
 *     }
 *
 * A skipped step is not counted: the next call has the same t.
 *
 * An array is a container (what std::data() and std::size() take: a std::vector, a std::span, an
 * Eigen::VectorXf) or a pointer; before pointers there is their length. All arrays of a tensor have one
 * length, or the status is DOWNHILL_STATUS_INVALID_LENGTH. A state that the configuration does not ask
 * for (g_avg and u of a plain rmsprop) is nullptr, or empty. The rest is as downhill.h says: formulas,
 * preconditions, numerics, threads. Every function is one call of C's.
 *
 * A function that can fail returns a downhill::status, which the compiler does not let pass unseen. Let
 * it throw,
 *
 *     downhill::step(w, g, u, config).or_throw();
 *
 * or look at it, with or without exceptions:
 *
 *     if (auto status = downhill::step(w, g, u, config); !status) log(status.message());
 *
 * Units of C++17 and of C++20, with exceptions and without, can be parts of one program.
 *
 * CONTENTS
 *   1. Status          downhill::status, whole_status, error
 *   2. Configurations  downhill::sgd, momentum, ..., extras, report
 *   3. Plain steps     downhill::step(w, g, ..., config)
 *   4. Arrays          downhill::bf16, f16, element, view, as(), split()
 *   5. Pools           downhill::pool
 *   6. Groups          downhill::group, added_tensor, any_group, groups
 *   7. Whole steps     downhill::step(groups, t, ...), grad_squares()
 *   8. Conversion      downhill::state_bytes(), pack(), unpack(), convert()
 */
#ifndef DOWNHILL_HPP
#define DOWNHILL_HPP

/** @file
 * downhill.h for C++17. The introduction is at the top of the file. */

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "downhill.hpp needs C++17 (-std=c++17); downhill.h works with C++11"
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>
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

/* ======== 1. Status ======== */

/** Implementation. */
namespace detail {
/** What was wrong in the last call of this thread that failed before it came to C. */
DOWNHILL_HPP_SHARED inline thread_local char own_message[256] = "";
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
  /** What a C function returned; or, if it `is_own`, what was found here, with the text in
   * detail::own_message. */
  constexpr status(downhill_status code, bool is_own = false) noexcept : code_(code), is_own_(is_own) {}

  /** The value that C's functions return. */
  constexpr downhill_status code() const noexcept { return code_; }
  /** Was it done? */
  constexpr explicit operator bool() const noexcept { return code_ == DOWNHILL_STATUS_OK; }
  /** Which argument was wrong, and its value; "" if none was. Lives until the next failing call in this
   * thread. */
  const char *message() const noexcept {
    return *this ? "" : is_own_ ? detail::own_message : downhill_last_error();
  }

#ifdef __cpp_exceptions
  /** Throws an error unless the call did what it was asked to. */
  void or_throw() const {
    if (!*this) throw error(code_, message());
  }
#endif

 private:
  downhill_status code_;
  bool is_own_;
};

/** How a whole step ended: as any call, or skipped, as DOWNHILL_EXTRAS_SKIP_NONFINITE asks for. */
class [[nodiscard]] whole_status : public status {
 public:
  /** What a C function returned, or was found here. */
  constexpr whole_status(status of) noexcept : status(of) {}

  /** Was it skipped? Nothing has changed then, and the step is not counted: the next one has the same
   * `t`. */
  constexpr bool skipped() const noexcept { return code() == DOWNHILL_STATUS_SKIPPED; }

#ifdef __cpp_exceptions
  /**
   * Throws an error unless the step was made or skipped. `t` counts the steps that were made:
   *
   *     if (downhill::step(groups, t, extras).or_throw()) t++;
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

namespace detail {
/** C's configuration with a rule's defaults, and the rule's step. */
template <auto Default, auto Step>
struct configuration : decltype(Default()) {
  configuration() noexcept : decltype(Default())(Default()) {}
  /** C's function. */
  static constexpr auto c_step = Step;
};
}  // namespace detail

/* Each has C's fields with the defaults of its rule, and the names of the rule's states in order. */

struct sgd : detail::configuration<downhill_sgd_default, downhill_sgd_step> {
  static constexpr std::array<const char *, 0> states = {};
};
struct momentum : detail::configuration<downhill_momentum_default, downhill_momentum_step> {
  static constexpr std::array states = {"u"};
};
struct nesterov : detail::configuration<downhill_nesterov_default, downhill_nesterov_step> {
  static constexpr std::array states = {"u"};
};
struct adagrad : detail::configuration<downhill_adagrad_default, downhill_adagrad_step> {
  static constexpr std::array states = {"s"};
};
struct adadelta : detail::configuration<downhill_adadelta_default, downhill_adadelta_step> {
  static constexpr std::array states = {"v", "u"};
};
struct rmsprop : detail::configuration<downhill_rmsprop_default, downhill_rmsprop_step> {
  static constexpr std::array states = {"v", "g_avg", "u"};
};
struct adam : detail::configuration<downhill_adam_default, downhill_adam_step> {
  static constexpr std::array states = {"m", "v"};
};
struct adamw : detail::configuration<downhill_adamw_default, downhill_adamw_step> {
  static constexpr std::array states = {"m", "v"};
};
struct amsgrad : detail::configuration<downhill_amsgrad_default, downhill_amsgrad_step> {
  static constexpr std::array states = {"m", "v", "v_max"};
};
struct adamax : detail::configuration<downhill_adamax_default, downhill_adamax_step> {
  static constexpr std::array states = {"m", "u"};
};
struct nadam : detail::configuration<downhill_nadam_default, downhill_nadam_step> {
  static constexpr std::array states = {"m", "v"};
};
struct lion : detail::configuration<downhill_lion_default, downhill_lion_step> {
  static constexpr std::array states = {"m"};
};
struct signum : detail::configuration<downhill_signum_default, downhill_signum_step> {
  static constexpr std::array states = {"m"};
};
struct radam : detail::configuration<downhill_radam_default, downhill_radam_step> {
  static constexpr std::array states = {"m", "v"};
};
struct ftrl : detail::configuration<downhill_ftrl_default, downhill_ftrl_step> {
  static constexpr std::array states = {"z", "s"};
};
/** For tensors with rows (group::add_rows()); the plain step is that of one row, and s one float. */
struct rowwise_adagrad : detail::configuration<downhill_rowwise_adagrad_default, downhill_rowwise_adagrad_step> {
  static constexpr std::array states = {"s"};
};

/** What a whole step does beside the update: nothing, unless it is told. */
struct extras : downhill_extras {
  extras() noexcept : downhill_extras(downhill_extras_default()) {}
};

/** What a whole step did, once it is written. */
struct report : downhill_report {
  report() noexcept : downhill_report(downhill_report_default()) {}
};

/* ======== 3. Plain steps ======== */

namespace detail {

template <class Type>
using bare = std::remove_cv_t<std::remove_reference_t<Type>>;

/** Is it a configuration? */
template <class Type, class = void>
struct is_rule : std::false_type {};
template <class Type>
struct is_rule<Type, std::void_t<decltype(Type::c_step)>> : std::true_type {};

template <class Type>
constexpr bool is_number = std::is_integral_v<bare<Type>>;
/** Does it know its length? */
template <class Type>
constexpr bool is_container = !is_number<Type> && !std::is_pointer_v<bare<Type>> &&
                              !std::is_null_pointer_v<bare<Type>> && !is_rule<bare<Type>>::value;

template <class Type>
struct identity {
  using type = bare<Type>;
};
template <class... Types>
using last = typename decltype((identity<Types>(), ...))::type;

/** The last one, if it is a configuration. */
template <class... Types>
using rule_of = std::enable_if_t<is_rule<last<Types...>>::value, last<Types...>>;

/** What C takes for an argument. */
template <class Given>
constexpr auto argument(Given &given) noexcept {
  if constexpr (is_rule<bare<Given>>::value)
    return &given;
  else if constexpr (is_number<Given>)
    return static_cast<std::uint64_t>(given);
  else if constexpr (is_container<Given>)
    return std::size(given) == 0 ? nullptr : std::data(given);
  else
    return given;
}

/** How many elements an array has; of what does not say, `n`. */
template <class Given>
constexpr std::size_t length(const Given &given, std::size_t n) noexcept {
  if constexpr (is_container<Given>)
    return static_cast<std::size_t>(std::size(given));
  else
    return n;
}

/** Of a state, which may also be empty. */
template <class Given>
constexpr std::size_t state_length(const Given &state, std::size_t n) noexcept {
  const std::size_t own = length(state, n);
  return own == 0 ? n : own;
}

[[gnu::cold, gnu::noinline]] inline status wrong_length(const char *name, std::size_t own, std::size_t n,
                                                        const char *first) noexcept {
  std::snprintf(own_message, sizeof own_message,
                "`%s` has %zu elements; it must have as many as `%s`, %zu", name, own, first, n);
  return {DOWNHILL_STATUS_INVALID_LENGTH, true};
}

/** Says which length is the first that is not `n`. Never inlined: a call in a program is C's call. */
[[gnu::cold, gnu::noinline]] inline status wrong_length(
    const char *const *names, std::size_t n, const char *first,
    std::initializer_list<std::size_t> lengths) noexcept {
  for (const std::size_t &each : lengths)
    if (each != n) return wrong_length(names[&each - lengths.begin()], each, n, first);
  return DOWNHILL_STATUS_OK;
}

template <class Rule, std::size_t... Index>
constexpr std::array<const char *, 1 + sizeof...(Index)> names_of(
    std::index_sequence<Index...>) noexcept {
  return {"g", Rule::states[Index]...};
}
/** What the arrays after w are called. */
template <class Rule>
inline constexpr auto names = names_of<Rule>(std::make_index_sequence<Rule::states.size()>());

template <class Rule, class... Arguments>
status plain_step(std::size_t n, float *w, const float *g, Arguments... arguments) noexcept {
  constexpr bool fits =
      std::is_invocable_v<decltype(Rule::c_step), std::size_t, float *, const float *, Arguments...>;
  static_assert(fits, "a rule's step takes w, g, its states (Rule::states), all of float, then t if it "
                      "counts steps, then the configuration");
  if constexpr (fits) return Rule::c_step(n, w, g, arguments...);
  return DOWNHILL_STATUS_PANIC;
}

}  // namespace detail

/**
 * step(w, g, states..., config), or step(w, g, states..., t, config) for rules that count steps: the
 * plain step of the configuration's rule, one call of downhill_..._step(). Arrays are containers of
 * float.
 */
template <class Weights, class Gradient, class... Rest, class Rule = detail::rule_of<Rest...>,
          class = std::enable_if_t<!detail::is_number<Weights>>>
status step(Weights &&w, Gradient &&g, Rest &&...rest) noexcept {
  static_assert(detail::is_container<Weights>,
                "before pointers there is their length: step(n, w, g, ...)");
  const std::size_t n = detail::length(w, 0);
  if (detail::length(g, n) == n && ((detail::state_length(rest, n) == n) && ...))
    return detail::plain_step<Rule>(n, detail::argument(w), detail::argument(g),
                                    detail::argument(rest)...);
  return detail::wrong_length(detail::names<Rule>.data(), n, "w",
                              {detail::length(g, n), detail::state_length(rest, n)...});
}

/** The same with pointers to the first of `n` elements: step(n, w, g, states..., config), with t before
 * config, too. */
template <class... Rest, class Rule = detail::rule_of<Rest...>>
status step(std::size_t n, float *w, const float *g, Rest &&...rest) noexcept {
  return detail::plain_step<Rule>(n, w, g, detail::argument(rest)...);
}

/* ======== 4. Arrays ======== */

/** A bfloat16, the upper half of a float. */
struct bf16 {
  std::uint16_t bits;
};

/** An IEEE half-precision number. */
struct f16 {
  std::uint16_t bits;
};

/**
 * What C calls an element type. A program may say it of its own types, which have the same bits:
 *
 *     template <>
 *     struct downhill::element<Eigen::bfloat16> : downhill::element<downhill::bf16> {};
 */
template <class Type>
struct element {
  static_assert(!sizeof(Type),
                "arrays are of float, bf16, f16 (or as<bf16>(), say), states also of std::uint8_t");
};
template <>
struct element<float> {
  static constexpr downhill_type type = DOWNHILL_TYPE_F32;
};
template <>
struct element<bf16> {
  static constexpr downhill_type type = DOWNHILL_TYPE_BF16;
};
template <>
struct element<f16> {
  static constexpr downhill_type type = DOWNHILL_TYPE_F16;
};
/** States in eight bits: all of a tensor in one array, state_bytes() long. */
template <>
struct element<std::uint8_t> {
  static constexpr downhill_type type = DOWNHILL_TYPE_8BIT;
};

/** A pointer with a length, as a container: for states in eight bits, say. */
template <class Element>
class view {
 public:
  constexpr view(Element *data, std::size_t size) noexcept : data_(data), size_(size) {}
  constexpr Element *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  Element *data_;
  std::size_t size_;
};

namespace detail {

/** An array of a type that is known at run time; TYPE_NONE: none. Void is const if it is only read. */
template <class Void>
struct array {
  Void *data = nullptr;
  std::size_t size = unsized;
  downhill_type type = DOWNHILL_TYPE_NONE;
  /** SPLIT: the lower halves. */
  Void *low = nullptr;
  std::size_t low_size = unsized;

  /** It is for a pointer's user to know. */
  static constexpr std::size_t unsized = SIZE_MAX;

  /** What is written may be read. */
  operator array<const void>() const noexcept { return {data, size, type, low, low_size}; }
};
template <class Type>
struct is_array : std::false_type {};
template <class Void>
struct is_array<array<Void>> : std::true_type {};

/** Does it not own its elements, so that a temporary is enough? Then its constness is not theirs. */
template <class Container>
constexpr bool is_view = std::is_same_v<decltype(std::data(std::declval<Container &>())),
                                        decltype(std::data(std::declval<const Container &>()))>;

/** An array with its type; with To its bits are of that type. */
template <class To = void, class Given>
auto as_array(Given &&given) noexcept {
  if constexpr (std::is_null_pointer_v<bare<Given>>) {
    return array<void>();
  } else if constexpr (is_array<bare<Given>>::value) {
    return given;
  } else {
    if constexpr (is_container<Given>)
      static_assert(std::is_lvalue_reference_v<Given> || is_view<Given>,
                    "it would be gone when it is needed");
    else
      static_assert(std::is_pointer_v<bare<Given>>, "an array is a container, a pointer, or nullptr");
    using from = std::remove_pointer_t<decltype(argument(given))>;
    using to = std::conditional_t<std::is_void_v<To>, std::remove_cv_t<from>, To>;
    constexpr downhill_type number = element<to>::type;
    static_assert(sizeof(from) == sizeof(to), "its elements have another size");
    static_assert(number != DOWNHILL_TYPE_8BIT || is_container<Given>,
                  "give its length: view(state, bytes)");
    using type = std::conditional_t<std::is_const_v<from>, const void, void>;
    return array<type>{argument(given), length(given, array<type>::unsized), number};
  }
}

}  // namespace detail

/** An array whose bits are those of another type: as<bf16>(w), where w is of std::uint16_t. */
template <class Element, class Bits>
auto as(Bits &&bits) noexcept {
  return detail::as_array<Element>(std::forward<Bits>(bits));
}

/**
 * Weights of DOWNHILL_TYPE_SPLIT: the upper halves, of bf16 or as std::uint16_t, which the model runs
 * on, and the std::int16_t that make them exact floats.
 */
template <class High, class Low>
auto split(High &&w, Low &&w_low) noexcept {
  using low_half = std::remove_pointer_t<decltype(detail::argument(w_low))>;
  static_assert(std::is_same_v<std::remove_cv_t<low_half>, std::int16_t>,
                "lower halves are std::int16_t");
  const auto high = detail::as_array<bf16>(std::forward<High>(w));
  const auto low = detail::as_array<bf16>(std::forward<Low>(w_low));
  using type = std::remove_pointer_t<std::common_type_t<decltype(high.data), decltype(low.data)>>;
  return detail::array<type>{high.data, high.size, DOWNHILL_TYPE_SPLIT, low.data, low.size};
}

/* ======== 5. Pools ======== */

/** Threads for whole steps: downhill_pool_new(), and downhill_pool_free() at the end. */
class pool {
 public:
  /** With how many threads a step is made, the calling one included; 0: one for each CPU that it may
   * use. */
  explicit pool(std::size_t threads = 0) noexcept : pool_(downhill_pool_new(threads)) {}
  /** Takes over a pool of C's; with NULL it is a pool of 1. */
  static pool take(downhill_pool *taken) noexcept { return pool(taken, true); }
#ifdef __cpp_exceptions
  /**
   * A worker bound to each of these CPUs, a container of std::uint32_t: downhill_pool_new_on(). Throws
   * an error, always with DOWNHILL_STATUS_INVALID_CONFIG, whose text says which CPU it was or what else
   * was wrong.
   */
  template <class Cpus>
  static pool on(const Cpus &cpus) {
    downhill_pool *const made = downhill_pool_new_on(std::size(cpus), std::data(cpus));
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

/* ======== 6. Groups ======== */

class added_tensor;
class any_group;

namespace detail {

/** What all groups are, whatever their rule. */
class tensors {
 public:
  /** A downhill_rounding. */
  downhill_rounding rounding = DOWNHILL_ROUNDING_STOCHASTIC;
  /** A downhill_numbering; added_tensor::first_element() sets it. */
  downhill_numbering numbering = DOWNHILL_NUMBERING_BY_PLACE;
  /** What random bits are made from. */
  std::uint64_t seed = 0;
  /** From where to where new weights are kept, as in C: both 0: no bounds. */
  double clamp_low = 0, clamp_high = 0;

  /** How many tensors. */
  std::size_t size() const noexcept { return list_.size(); }
  /** A tensor, to set its `t`, say, or its gradient to another array of the same type. */
  downhill_tensor &operator[](std::size_t i) noexcept { return list_[i]; }
  /** A tensor. */
  const downhill_tensor &operator[](std::size_t i) const noexcept { return list_[i]; }
  /** What was wrong with the first tensor that could not be added as it was; no step is made then. "" if
   * nothing was. */
  const char *message() const noexcept { return message_; }

 protected:
  friend class downhill::added_tensor;
  friend class downhill::any_group;

  /** How many elements the arrays beside the weights should have. */
  struct lengths {
    std::size_t g, state;
  };

  void add(std::size_t n, array<void> w, array<const void> g, bool reads_gradient,
           std::initializer_list<array<void>> states, const char *const *names, lengths wanted) {
    downhill_tensor &made = list_.emplace_back();
    reads_gradients_ |= reads_gradient;
    made.n = n;
    made.w = w.data;
    made.w_low = static_cast<std::int16_t *>(w.low);
    made.g = const_cast<void *>(g.data);
    check("w", "weights", w, weight_type_, n);
    check(names[0], "gradients", g, gradient_type_, wanted.g);
    for (const array<void> &state : states) {
      const std::size_t k = static_cast<std::size_t>(&state - states.begin());
      if (state.size == 0 && n > 0) continue;
      made.state[k] = state.data;
      if (state.type == DOWNHILL_TYPE_8BIT) made.state_bytes = state.size;
      check(names[1 + k], "states", state, state_type_, wanted.state);
    }
  }

  /** As C has it, but for its configuration and `t`. */
  downhill_group c_group() const noexcept {
    downhill_group group = downhill_group_default();
    const auto either = [](downhill_type type, downhill_type other) {
      return type == DOWNHILL_TYPE_NONE ? other : type;
    };
    group.weight_type = either(weight_type_, group.weight_type);
    group.gradient_type = either(gradient_type_, group.gradient_type);
    group.state_type = either(state_type_, group.state_type);
    group.copy_type = copy_type_;
    group.rounding = rounding;
    group.numbering = numbering;
    group.seed = seed;
    group.clamp_low = clamp_low;
    group.clamp_high = clamp_high;
    group.count = list_.size();
    group.tensors = list_.data();
    return group;
  }

 private:
  /** Checks an array of the last tensor: its length, and that its type is that of the tensors before. */
  void check(const char *name, const char *what, const array<const void> &given, downhill_type &type,
             std::size_t n) noexcept {
    static constexpr const char *types[] = {"nothing", "float", "bf16", "f16", "split bf16", "8-bit"};
    if (given.type == DOWNHILL_TYPE_NONE) return;
    if (type == DOWNHILL_TYPE_NONE) type = given.type;
    if (*message_ != '\0') return;
    if (type != given.type)
      fail(DOWNHILL_STATUS_INVALID_CONFIG, "`%s` is %s; the %s of this group are %s", name,
           types[given.type], what, types[type]);
    else if (given.type != DOWNHILL_TYPE_8BIT && given.size != given.unsized && given.size != n)
      fail(DOWNHILL_STATUS_INVALID_LENGTH,
           n == list_.back().n ? "`%s` has %zu elements; it must have as many as `w`, %zu"
                               : "`%s` has %zu elements; with these rows it must have %zu",
           name, given.size, n);
    else if (given.low_size != given.unsized && given.low_size != n)
      fail(DOWNHILL_STATUS_INVALID_LENGTH, "`%s_low` has %zu elements; it must have as many as `w`, %zu",
           name, given.low_size, n);
  }

  template <class... Values>
  void fail(downhill_status code, const char *format, Values... values) noexcept {
    const int start = std::snprintf(message_, sizeof message_, "tensor %zu: ", list_.size() - 1);
    std::snprintf(message_ + start, sizeof message_ - static_cast<std::size_t>(start), format,
                  values...);
    code_ = code;
  }

  std::vector<downhill_tensor> list_;
  downhill_type weight_type_ = DOWNHILL_TYPE_NONE, gradient_type_ = DOWNHILL_TYPE_NONE;
  downhill_type state_type_ = DOWNHILL_TYPE_NONE, copy_type_ = DOWNHILL_TYPE_NONE;
  bool reads_gradients_ = false;
  downhill_status code_ = DOWNHILL_STATUS_OK;
  char message_[160] = "";
};

}  // namespace detail

/** A tensor that was just added, to say more of it in the same statement: the next add() ends it. */
class added_tensor {
 public:
  /** The last tensor of a group. */
  explicit added_tensor(detail::tensors &group) noexcept : group_(group), tensor_(group.list_.back()) {}

  /** The new weights are also written here, rounded to nearest: an array of float, bf16 or f16. */
  template <class Copy>
  added_tensor &copy_to(Copy &&copy) noexcept {
    const detail::array<void> array = detail::as_array(std::forward<Copy>(copy));
    tensor_.w_copy = array.data;
    group_.check("w_copy", "copies", array, group_.copy_type_, tensor_.n);
    return *this;
  }
  /** The number of its first element in the model, a multiple of 64, and the group's numbering is GIVEN.
   */
  added_tensor &first_element(std::uint64_t number) noexcept {
    tensor_.first_element = number;
    group_.numbering = DOWNHILL_NUMBERING_GIVEN;
    return *this;
  }
  /** Of a table: a row may be listed more than once, and its gradients are added up. */
  added_tensor &merge() noexcept {
    tensor_.row_flags |= DOWNHILL_ROWS_MERGE;
    return *this;
  }
  /** Of a table: how many steps each of its rows has had, a container of std::uint64_t, which a step
   * counts on. */
  template <class Steps>
  added_tensor &row_t(Steps &&steps) noexcept {
    const std::size_t rows = tensor_.row_length == 0 ? 0 : tensor_.n / tensor_.row_length;
    tensor_.row_t = std::data(steps);
    if (std::size(steps) != rows && group_.code_ == DOWNHILL_STATUS_OK)
      group_.fail(DOWNHILL_STATUS_INVALID_LENGTH, "`row_t` has %zu elements; with these rows it must have %zu",
                  std::size(steps), rows);
    return *this;
  }

 private:
  detail::tensors &group_;
  downhill_tensor &tensor_;
};

/**
 * Tensors that share a configuration and types. Its arrays belong to somebody else and stay where they
 * are; it grows as a std::vector does. The first tensor that has an array of a kind decides what type
 * such arrays have; float if there is none. A tensor that does not fit is said by message(), and is an
 * error of each step with this group.
 */
template <class Rule>
class group : public detail::tensors {
 public:
  /** The hyper-parameters, which may change from step to step. */
  Rule config;

  /** No tensors. */
  explicit group(const Rule &with = Rule()) : config(with) {}

  /**
   * add(w, g, states...): weights (float, bf16, f16, split()), gradient (float, bf16, f16; it may be
   * const where steps do not set it to zero; nullptr: there is none, and the tensor is left alone), and
   * the states in the order of the rule's step (float, bf16; or all of them in one array of
   * std::uint8_t).
   */
  template <class Weights, class Gradient, class... States,
            class = std::enable_if_t<!detail::is_number<Weights>>>
  added_tensor add(Weights &&w, Gradient &&g, States &&...states) {
    static_assert(!std::is_pointer_v<detail::bare<Weights>>,
                  "before pointers there is their length: add(n, w, g, ...)");
    const auto weights = detail::as_array(std::forward<Weights>(w));
    return add(weights.size, weights, std::forward<Gradient>(g), std::forward<States>(states)...);
  }
  /** The same with the number of elements, for pointers: add(n, w, g, states...). */
  template <class Weights, class Gradient, class... States>
  added_tensor add(std::size_t n, Weights &&w, Gradient &&g, States &&...states) {
    static_assert(sizeof...(States) <= Rule::states.size(), "the rule has fewer states: Rule::states");
    const auto gradient = detail::as_array(std::forward<Gradient>(g));
    constexpr bool is_read = std::is_same_v<decltype(gradient), const detail::array<const void>>;
    tensors::add(n, detail::as_array(std::forward<Weights>(w)), gradient, is_read,
                 {detail::as_array(std::forward<States>(states))...}, detail::names<Rule>.data(), {n, n});
    return added_tensor(*this);
  }
  /**
   * Some rows of a table: add_rows(row_length, rows, w, g, states...), with `rows` a container of
   * std::int64_t, row after row of them in g, and weights and states of the whole table, containers all.
   * added_tensor::merge() and row_t() say more.
   */
  template <class Rows, class Weights, class Gradient, class... States>
  added_tensor add_rows(std::size_t row_length, const Rows &rows, Weights &&w, Gradient &&g,
                        States &&...states) {
    static_assert(sizeof...(States) <= Rule::states.size(), "the rule has fewer states: Rule::states");
    static_assert(!std::is_pointer_v<detail::bare<Weights>>, "containers, which know their length");
    const auto weights = detail::as_array(std::forward<Weights>(w));
    const auto gradient = detail::as_array(std::forward<Gradient>(g));
    constexpr bool is_read = std::is_same_v<decltype(gradient), const detail::array<const void>>;
    constexpr bool is_rowwise = std::is_same_v<Rule, rowwise_adagrad>;
    const std::size_t of_row = is_rowwise && row_length > 0 ? row_length : 1;
    tensors::add(weights.size, weights, gradient, is_read,
                 {detail::as_array(std::forward<States>(states))...}, detail::names<Rule>.data(),
                 {std::size(rows) * row_length, weights.size / of_row});
    downhill_tensor &made = (*this)[size() - 1];
    made.rows = std::data(rows);
    made.row_count = std::size(rows);
    made.row_length = row_length;
    return added_tensor(*this);
  }
};

/** A group of any rule, which stays where it is. */
class any_group {
 public:
  /** This one. */
  template <class Rule>
  any_group(const group<Rule> &of) noexcept : tensors_(&of), config_(&of.config) {}
  /** As C has it, with pointers into the group. */
  downhill_group c_group(std::uint64_t t) const noexcept {
    downhill_group made = tensors_->c_group();
    made.config = config_;
    made.t = t;
    return made;
  }
  /** Do its tensors fit in it? And if gradients are set to zero, may they be? */
  status check(std::size_t index, bool zeroes) const noexcept {
    const bool fits = tensors_->code_ == DOWNHILL_STATUS_OK;
    if (fits && !(zeroes && tensors_->reads_gradients_)) return DOWNHILL_STATUS_OK;
    std::snprintf(detail::own_message, sizeof detail::own_message, "group %zu: %s", index,
                  fits ? "a gradient is const, and DOWNHILL_EXTRAS_ZERO_GRAD would write to it"
                       : tensors_->message_);
    return {fits ? DOWNHILL_STATUS_INVALID_CONFIG : tensors_->code_, true};
  }

 private:
  const detail::tensors *tensors_;
  const void *config_;
};

/* ======== 7. Whole steps ======== */

namespace detail {
/** What is called with C's list, once all groups are checked. */
template <class Call>
status with_groups(const std::vector<any_group> &groups, std::uint64_t t, bool zeroes, Call call) {
  std::vector<downhill_group> list;
  for (const any_group &each : groups) {
    if (const status fits = each.check(list.size(), zeroes); !fits) return fits;
    list.push_back(each.c_group(t));
  }
  return call(list);
}
}  // namespace detail

/**
 * Step `t` of all tensors of all groups: one call of downhill_step().
 *
 *     downhill::step({decayed, not_decayed}, t, extras, pool, &report)
 */
inline whole_status step(const std::vector<any_group> &groups, std::uint64_t t,
                         const extras &extras = {}, downhill_pool *pool = nullptr,
                         downhill_report *report = nullptr) {
  const bool zeroes = (extras.flags & DOWNHILL_EXTRAS_ZERO_GRAD) != 0;
  return detail::with_groups(groups, t, zeroes, [&](const std::vector<downhill_group> &list) {
    return downhill_step(list.size(), list.data(), &extras, pool, report);
  });
}

/**
 * The sum of the squares of each tensor's gradient, into a container of as many doubles as there are
 * tensors: one call of downhill_grad_squares().
 */
template <class Sums>
status grad_squares(const std::vector<any_group> &groups, Sums &&sums, downhill_pool *pool = nullptr) {
  return detail::with_groups(groups, 0, false, [&](const std::vector<downhill_group> &list) -> status {
    std::size_t count = 0;
    for (const downhill_group &each : list) count += each.count;
    if (detail::length(sums, 0) != count) {
      std::snprintf(detail::own_message, sizeof detail::own_message,
                    "`sums` has %zu elements; it must have one for each tensor, %zu",
                    detail::length(sums, 0), count);
      return {DOWNHILL_STATUS_INVALID_LENGTH, true};
    }
    return downhill_grad_squares(list.size(), list.data(), pool, std::data(sums));
  });
}

/* ======== 8. Conversion ======== */

/** How many bytes the states of `n` elements take in eight bits, or SIZE_MAX: downhill_state_bytes(). */
template <class Rule, class = detail::rule_of<Rule>>
std::size_t state_bytes(const Rule &config, std::size_t n) noexcept {
  return downhill_state_bytes(&config, n);
}

namespace detail {
/** Pack or unpack, called with the length and list of states, which have one length. */
template <class Rule, class Float, class Call, class... States>
status with_states(Call call, States &...states) noexcept {
  static_assert(sizeof...(States) == Rule::states.size() && sizeof...(States) > 0,
                "all states of the rule: Rule::states");
  std::size_t n = 0;
  ((n = n == 0 ? length(states, 0) : n), ...);
  if (((state_length(states, n) != n) || ...))
    return wrong_length(Rule::states.data(), n, Rule::states[0], {state_length(states, n)...});
  Float *const list[4] = {argument(states)...};
  return call(n, list);
}
}  // namespace detail

/**
 * pack(config, packed, states...): states of float to eight bits, to nearest, in a container of
 * state_bytes() bytes: one call of downhill_pack(). The states are containers, in the order of the
 * rule's step.
 */
template <class Rule, class Packed, class... States, class = detail::rule_of<Rule>>
status pack(const Rule &config, Packed &&packed, const States &...states) noexcept {
  return detail::with_states<Rule, const float>(
      [&](std::size_t n, const float *const *list) {
        std::uint8_t *const to = std::data(packed);
        return downhill_pack(&config, n, list, to, std::size(packed));
      },
      states...);
}

/** unpack(config, packed, states...): the other way, one call of downhill_unpack(). States are written.
 */
template <class Rule, class Packed, class... States, class = detail::rule_of<Rule>>
status unpack(const Rule &config, const Packed &packed, States &&...states) noexcept {
  return detail::with_states<Rule, float>(
      [&](std::size_t n, float *const *list) {
        const std::uint8_t *const from = std::data(packed);
        return downhill_unpack(&config, n, from, std::size(packed), list);
      },
      states...);
}

/** `n` numbers from one type to another, to nearest: one call of downhill_convert(). Arrays of float,
 * bf16, f16, split(). */
template <class From, class To>
status convert(std::size_t n, From &&from, To &&to) noexcept {
  const detail::array<const void> source = detail::as_array(std::forward<From>(from));
  const detail::array<void> target = detail::as_array(std::forward<To>(to));
  const auto fits = [n](std::size_t size) { return size == n || size == detail::array<void>::unsized; };
  const char *const names[] = {"from", "from_low", "to", "to_low"};
  const std::size_t sizes[] = {source.size, source.low_size, target.size, target.low_size};
  for (int k = 0; k < 4; k++)
    if (!fits(sizes[k])) return detail::wrong_length(names[k], sizes[k], n, "from");
  return downhill_convert(n, source.type, source.data, source.low, target.type, target.data, target.low);
}

/** All numbers of a container. */
template <class From, class To>
status convert(From &&from, To &&to) noexcept {
  static_assert(!std::is_pointer_v<detail::bare<From>>,
                "before pointers there is their length: convert(n, from, to)");
  const detail::array<const void> source = detail::as_array(std::forward<From>(from));
  return convert(source.size, source, std::forward<To>(to));
}

}  // namespace downhill

#endif /* DOWNHILL_HPP */
