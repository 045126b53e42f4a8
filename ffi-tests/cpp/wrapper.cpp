// downhill.hpp: every call is C's call, to the same bits, for every rule and type; wrong lengths and
// types are found; a failure can be looked at, or thrown. For C++17 and C++20, with exceptions and
// without.
#include <downhill.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rules.h"

// A type of another library, which the program says is bfloat16.
struct their_bf16 {
  std::uint16_t value;
};
template <>
struct downhill::element<their_bf16> : downhill::element<downhill::bf16> {};

namespace {

using downhill::bf16;
using downhill::f16;

int checks = 0;

// Calls f with a configuration of each rule.
template <class F>
void for_each_rule(F f) {
#define CALL(name) f(downhill::name());
  EACH_RULE(CALL)
}

template <class Rule>
const rule *known_of(const Rule &config) {
  return std::find_if(rules, rules + RULES, [&](const rule &known) { return known.tag == config.rule; });
}

bool says(const downhill::status &status, const std::string &message) {
  return !status && status.message() == message;
}

template <class Type>
bool same_bits(const std::vector<Type> &a, const std::vector<Type> &b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Type)) == 0);
}

// Positive, as some states must be.
std::vector<float> numbers(std::size_t n) {
  std::vector<float> made(n);
  for (float &x : made) x = uniform() + 0.6f;
  return made;
}

// ---- plain steps

template <class Rule>
constexpr std::size_t states_of = Rule::states.size();

// w, g, then the states.
template <class Rule>
using arrays = std::array<std::vector<float>, 2 + states_of<Rule>>;

template <class Rule>
arrays<Rule> random_arrays(std::size_t n) {
  arrays<Rule> all;
  for (auto &each : all) each = numbers(n);
  return all;
}

template <class Rule>
bool same_bits(const arrays<Rule> &a, const arrays<Rule> &b) {
  for (std::size_t k = 0; k < a.size(); k++)
    if (!same_bits(a[k], b[k])) return false;
  return true;
}

// A step with containers.
template <class Rule, std::size_t... Index>
downhill::status step(arrays<Rule> &a, std::uint64_t t, const Rule &config,
                      std::index_sequence<Index...>) {
  constexpr bool counts =
      std::is_invocable_v<decltype(Rule::c_step), std::size_t, float *, const float *,
                          decltype(a[Index].data())..., std::uint64_t, const Rule *>;
  if constexpr (counts)
    return downhill::step(a[0], a[1], a[2 + Index]..., t, config);
  else
    return downhill::step(a[0], a[1], a[2 + Index]..., config);
}

// A step with pointers.
template <class Rule, std::size_t... Index>
downhill::status step_at(arrays<Rule> &a, std::uint64_t t, const Rule &config,
                         std::index_sequence<Index...>) {
  const auto at = [&a](std::size_t k) { return a[k].empty() ? nullptr : a[k].data(); };
  constexpr bool counts =
      std::is_invocable_v<decltype(Rule::c_step), std::size_t, float *, const float *,
                          decltype(at(Index))..., std::uint64_t, const Rule *>;
  if constexpr (counts)
    return downhill::step(a[0].size(), at(0), at(1), at(2 + Index)..., t, config);
  else
    return downhill::step(a[0].size(), at(0), at(1), at(2 + Index)..., config);
}

template <class Rule>
constexpr auto all_states = std::make_index_sequence<states_of<Rule>>();

template <class Rule>
downhill_status step_in_c(arrays<Rule> &a, std::uint64_t t, const Rule &config) {
  float *state[MOST_STATES] = {};
  for (std::size_t k = 0; k < states_of<Rule>; k++)
    state[k] = a[2 + k].empty() ? nullptr : a[2 + k].data();
  return known_of(config)->step(a[0].size(), a[0].data(), a[1].data(), state, t, &config);
}

template <class Rule>
void check_defaults(const Rule &config) {
  static_assert(std::is_trivially_copyable_v<Rule>, "it is passed to C as it is");
  const rule *known = known_of(config);
  const any_config defaults = known->defaults();
  any_config ours;
  CHECK(sizeof config == known->config_size && config.struct_size == sizeof config, "%s", known->name);
  std::memcpy(&ours, &config, sizeof config);
  for (const field *f = known->fields; f->name != nullptr; f++) {
    CHECK(get_field(&ours, f) == get_field(&defaults, f), "%s.%s", known->name, f->name);
    checks++;
  }
  CHECK(states_of<Rule> == static_cast<std::size_t>(known->states), "%s", known->name);
  for (std::size_t k = 0; k < states_of<Rule>; k++)
    CHECK(std::string(Rule::states[k]) == known->state[k].name, "%s", known->name);
}

// A configuration that differs from the defaults in every number.
template <class Rule>
Rule configured(int variant, decay_option decay) {
  Rule config;
  const any_config made = configure(known_of(config), variant, decay);
  std::memcpy(static_cast<void *>(&config), &made, sizeof config);
  return config;
}

template <class Rule>
Rule with_all_states() {
  const Rule defaults;
  return configured<Rule>(known_of(defaults)->variants - 1, DECOUPLED);
}

template <class Rule>
void check_bits(int variant, decay_option decay) {
  const Rule config = configured<Rule>(variant, decay);
  const rule *known = known_of(config);
  any_config any;
  std::memcpy(&any, &config, sizeof config);
  arrays<Rule> ours = random_arrays<Rule>(37);
  for (std::size_t k = 0; k < states_of<Rule>; k++)
    if (!has_state(known, &any, static_cast<int>(k))) ours[2 + k].clear();
  const arrays<Rule> start = ours;
  arrays<Rule> theirs = ours;
  for (std::uint64_t t = 1; t <= 4; t++) {
    const downhill::status status = t % 2 == 0 ? step(ours, t, config, all_states<Rule>)
                                               : step_at(ours, t, config, all_states<Rule>);
    CHECK(status && status.code() == DOWNHILL_STATUS_OK, "%s", status.message());
    CHECK(std::string(status.message()).empty(), "%s", status.message());
    CHECK(step_in_c(theirs, t, config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(same_bits<Rule>(ours, theirs), "%s, step %d", known->name, static_cast<int>(t));
    checks++;
  }
  CHECK(!same_bits<Rule>(ours, start), "%s did nothing", known->name);
}

template <class Rule>
void check_wrong_lengths(const Rule &config) {
  for (std::size_t k = 1; k < 2 + states_of<Rule>; k++)
    for (const std::size_t length : {8, 10}) {
      arrays<Rule> a = random_arrays<Rule>(9);
      a[k].resize(length);
      const arrays<Rule> before = a;
      const downhill::status status = step(a, 1, config, all_states<Rule>);
      const std::string name = k == 1 ? "g" : Rule::states[k - 2];
      const std::string wrong = "`" + name + "` has " + std::to_string(length) + " elements";
      CHECK(status.code() == DOWNHILL_STATUS_INVALID_LENGTH, "%s", name.c_str());
      CHECK(says(status, wrong + "; it must have as many as `w`, 9"), "%s", status.message());
      CHECK(same_bits<Rule>(a, before), "%s wrote", known_of(config)->name);
      checks++;
    }
}

// Failures that C finds: status and text are C's.
template <class Rule>
void check_failures(Rule config) {
  arrays<Rule> a = random_arrays<Rule>(9);
  const double lr = std::exchange(config.lr, -1.0);
  const downhill::status status = step(a, 1, config, all_states<Rule>);
  CHECK(status.code() == DOWNHILL_STATUS_INVALID_CONFIG, "%s", known_of(config)->name);
  CHECK(says(status, downhill_last_error()), "%s", status.message());
  CHECK(std::strstr(status.message(), "`lr` is -1.0") != nullptr, "%s", status.message());
  if constexpr (states_of<Rule> > 0) {
    config.lr = lr;
    a[2].clear();
    const std::string wrong = "`" + std::string(known_of(config)->state[0].name) + "` is NULL";
    const downhill::status missing = step(a, 1, config, all_states<Rule>);
    CHECK(std::string(missing.message()).find(wrong) == 0, "%s", missing.message());
  }
  checks++;
}

template <class Rule>
void check_rule(const Rule &config) {
  check_defaults(config);
  for (int variant = 0; variant < known_of(config)->variants; variant++)
    for (const decay_option decay : {NO_DECAY, L2, DECOUPLED}) check_bits<Rule>(variant, decay);
  check_wrong_lengths(with_all_states<Rule>());
  check_failures(with_all_states<Rule>());
}

void check_arguments() {
  std::vector<float> vector{1.0f, 2.0f, 3.0f};
  const std::array<float, 3> constant{1.0f, 1.0f, 1.0f};
  std::array<float, 3> array{};
  float plain[3] = {};
  downhill::momentum config;
  config.lr = 1.0;
  CHECK(downhill::step(vector, constant, array, config), "a vector, and arrays");
  CHECK(vector[0] == 0.0f && vector[2] == 2.0f && array[1] == 1.0f, "each moved by 1");
  CHECK(downhill::step(plain, constant, array, config) && plain[0] != 0.0f, "a plain array");
  CHECK(downhill::step(downhill::view(vector.data(), 2), std::vector<float>(2), downhill::view(plain, 2),
                       config),
        "views, and a temporary gradient");
  CHECK(downhill::step(2, vector.data(), plain, array.data(), config), "pointers with a length");
  const downhill::rmsprop rmsprop;
  CHECK(downhill::step(vector, constant, array, nullptr, nullptr, rmsprop), "states that are not there");
  CHECK(downhill::step(3, vector.data(), plain, array.data(), nullptr, nullptr, rmsprop),
        "nor with pointers");
  CHECK(downhill::step(std::vector<float>(), std::vector<float>(), downhill::sgd()), "no elements");
  const downhill::status status = downhill::step(vector, constant, array, plain, 0, downhill::adam());
  CHECK(says(status, "`t` is 0; steps are counted from 1"), "%s", status.message());
}

// ---- groups

constexpr std::size_t sizes[] = {1000, 65};

template <class Type>
std::vector<Type> narrowed(const std::vector<float> &from) {
  if constexpr (std::is_same_v<Type, float>) {
    return from;
  } else {
    std::vector<Type> to(from.size());
    CHECK(downhill::convert(from, to), "%s", downhill_last_error());
    return to;
  }
}

// Two tensors of a rule, their memory, and what C is told of it. Low: the lower halves, if weights are
// split.
template <class Rule, class Weight, class Low, class Gradient, class State, class Copy>
struct model {
  std::vector<Weight> w[2];
  std::vector<Low> w_low[2];
  std::vector<Gradient> g[2];
  std::vector<State> state[2][MOST_STATES];
  std::vector<Copy> copy[2];

  static constexpr bool is_split = std::is_same_v<Low, std::int16_t>;
  static constexpr bool is_8bit = std::is_same_v<State, std::uint8_t>;
  static constexpr int count = is_8bit && states_of<Rule> > 0 ? 1 : static_cast<int>(states_of<Rule>);

  explicit model(const Rule &config) {
    const rule *known = known_of(config);
    any_config any;
    std::memcpy(&any, &config, sizeof config);
    for (int i = 0; i < 2; i++) {
      const std::size_t n = sizes[i];
      const std::vector<float> weights = numbers(n);
      if constexpr (is_split) {
        w[i].resize(n), w_low[i].resize(n);
        CHECK(downhill::convert(weights, downhill::split(w[i], w_low[i])), "%s", downhill_last_error());
      } else {
        w[i] = narrowed<Weight>(weights);
      }
      g[i] = narrowed<Gradient>(numbers(n));
      copy[i] = narrowed<Copy>(std::vector<float>(n));
      for (int k = 0; k < count; k++)
        if constexpr (is_8bit)
          state[i][k].resize(downhill::state_bytes(config, n));
        else if (has_state(known, &any, k))
          state[i][k] = narrowed<State>(numbers(n));
    }
  }

  bool operator==(const model &other) const {
    for (int i = 0; i < 2; i++) {
      for (int k = 0; k < count; k++)
        if (!same_bits(state[i][k], other.state[i][k])) return false;
      if (!same_bits(w[i], other.w[i]) || !same_bits(w_low[i], other.w_low[i]) ||
          !same_bits(g[i], other.g[i]) || !same_bits(copy[i], other.copy[i]))
        return false;
    }
    return true;
  }

  template <std::size_t... Index>
  void add_to(downhill::group<Rule> &group, int i, std::index_sequence<Index...>) {
    const std::uint64_t number = 1024 * static_cast<std::uint64_t>(i);
    // One with its length in front and pointers, where they know their types; the other with containers.
    if constexpr (is_split)
      group.add(downhill::split(w[i], w_low[i]), g[i], state[i][Index]...)
          .copy_to(copy[i])
          .first_element(number);
    else if (i == 0 && !is_8bit)
      group.add(sizes[i], w[i].data(), g[i].data(), state[i][Index]...)
          .copy_to(copy[i].data())
          .first_element(number);
    else
      group.add(w[i], g[i], state[i][Index]...).first_element(number).copy_to(copy[i]);
  }

  downhill_tensor tensor_of_c(int i) {
    downhill_tensor made = {};
    made.n = sizes[i];
    made.w = w[i].data();
    made.g = g[i].data();
    if constexpr (is_split) made.w_low = w_low[i].data();
    for (int k = 0; k < count; k++) made.state[k] = state[i][k].empty() ? nullptr : state[i][k].data();
    if (is_8bit) made.state_bytes = state[i][0].size();
    made.w_copy = copy[i].data();
    made.first_element = 1024 * static_cast<std::uint64_t>(i);
    return made;
  }
};

template <class Model>
downhill_group group_of_c(const void *config, const downhill_tensor *tensors,
                          const downhill_type (&types)[4]) {
  downhill_group made = downhill_group_default();
  made.weight_type = types[0];
  made.gradient_type = types[1];
  if (Model::count > 0) made.state_type = types[2];
  made.copy_type = types[3];
  made.numbering = DOWNHILL_NUMBERING_GIVEN;
  made.seed = 3;
  made.config = config;
  made.count = 2;
  made.tensors = tensors;
  return made;
}

// Two groups, the second of SGD, clipped, their gradients zeroed, with threads and without, against C's
// call.
template <class Weight, class Low, class Gradient, class State, class Copy, class Rule>
void check_group(const Rule &config, const downhill_type (&types)[4]) {
  using our_model = model<Rule, Weight, Low, Gradient, State, Copy>;
  const char *const name = known_of(config)->name;
  if (our_model::is_8bit && downhill::state_bytes(config, 1) == SIZE_MAX) return;  // not for eight bits
  our_model ours(config), theirs = ours;
  std::vector<float> w = numbers(9), g = numbers(9), their_w = w, their_g = g;
  const our_model start = ours;
  downhill::group<Rule> group(config);
  downhill::group sgd{downhill::sgd()};
  constexpr auto states = std::make_index_sequence<static_cast<std::size_t>(our_model::count)>();
  for (int i = 0; i < 2; i++) ours.add_to(group, i, states);
  group.seed = 3;
  sgd.add(w, g);
  sgd.rounding = DOWNHILL_ROUNDING_NEAREST;
  group.clamp_low = -INFINITY, group.clamp_high = sgd.clamp_high = 0.25;
  const downhill_tensor tensors[] = {theirs.tensor_of_c(0), theirs.tensor_of_c(1)};
  downhill_tensor other = {};
  other.n = 9;
  other.w = their_w.data();
  other.g = their_g.data();
  downhill_group groups[] = {group_of_c<our_model>(&config, tensors, types), downhill_group_default()};
  groups[0].clamp_low = -INFINITY, groups[0].clamp_high = groups[1].clamp_high = 0.25;
  groups[1].rounding = DOWNHILL_ROUNDING_NEAREST;
  groups[1].config = &sgd.config;
  groups[1].count = 1;
  groups[1].tensors = &other;
  downhill::extras extras;
  extras.max_norm = 0.5;
  extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD;
  const downhill::pool pool(2);
  for (std::uint64_t t = 1; t <= 2; t++) {
    downhill::report our_report;
    downhill_report their_report = downhill_report_default();
    downhill_pool *const workers = t == 1 ? static_cast<downhill_pool *>(pool) : nullptr;
    const downhill::status status = downhill::step({group, sgd}, t, extras, workers, &our_report);
    CHECK(status, "%s: %s", name, status.message());
    groups[0].t = groups[1].t = t;
    CHECK(downhill_step(2, groups, &extras, workers, &their_report) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    CHECK(ours == theirs && !(ours == start), "%s, step %d", name, static_cast<int>(t));
    CHECK(same_bits(w, their_w) && same_bits(g, their_g), "%s, step %d: sgd", name, static_cast<int>(t));
    CHECK(our_report.grad_norm == their_report.grad_norm && (t > 1 || our_report.grad_norm > 0.5), "%s",
          name);
    CHECK(our_report.tensors_updated == 3, "%s", name);
    CHECK(same_bits(g, std::vector<float>(9)), "%s: gradients are zero", name);
    for (const float x : w) CHECK(x >= 0.0f && x <= 0.25f, "%s: %g", name, static_cast<double>(x));
    checks++;
  }
}

constexpr downhill_type F32 = DOWNHILL_TYPE_F32, BF16 = DOWNHILL_TYPE_BF16, F16 = DOWNHILL_TYPE_F16,
                        SPLIT = DOWNHILL_TYPE_SPLIT, BITS8 = DOWNHILL_TYPE_8BIT;

// Types do not ask which rule it is, but how many states it has.
template <class Rule>
void check_types() {
  const Rule config = with_all_states<Rule>();
  check_group<float, float, bf16, float, bf16>(config, {F32, BF16, F32, BF16});
  check_group<bf16, float, f16, bf16, f16>(config, {BF16, F16, BF16, F16});
  check_group<f16, float, their_bf16, std::uint8_t, bf16>(config, {F16, BF16, BITS8, BF16});
  check_group<std::uint16_t, std::int16_t, bf16, std::uint8_t, float>(config, {SPLIT, BF16, BITS8, F32});
  check_group<bf16, std::int16_t, float, bf16, their_bf16>(config, {SPLIT, F32, BF16, BF16});
}

// Arrays of bits whose type the program says, pointers to states in eight bits, const gradients, no
// gradient.
void check_arrays() {
  std::vector<std::uint16_t> bits(64, 0x3f80);
  std::vector<float> w(64, 1.0f);
  std::vector<std::uint8_t> state(130);
  const std::vector<float> g(64, 0.5f);
  downhill::adam config;
  config.lr = 0.25;
  config.eps = 0.0;
  downhill::group group(config);
  group.add(64, downhill::as<bf16>(bits.data()), g.data(), downhill::view(state.data(), state.size()));
  group.rounding = DOWNHILL_ROUNDING_NEAREST;
  CHECK(downhill::step({group}, 1), "%s", downhill_last_error());
  CHECK(bits[0] == 0x3f40 && bits[63] == 0x3f40, "1 - 0.25 is not %x", bits[0]);

  downhill::group copies{downhill::sgd()};
  copies.add(w, g).copy_to(downhill::as<f16>(bits));
  copies.add(w, nullptr);
  copies.config.lr = 2.0;
  downhill::report report;
  CHECK(downhill::step({copies}, 1, {}, nullptr, &report), "a tensor without gradient overlaps nothing");
  CHECK(w[63] == 0.0f && bits[63] == 0 && report.tensors_updated == 1, "1 - 2*0.5 is not %g",
        static_cast<double>(w[63]));
  CHECK(copies.size() == 2 && copies[1].n == 64 && copies[1].g == nullptr, "what was added");

  downhill::extras extras;
  extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD;
  const downhill::status status = downhill::step({group, copies}, 1, extras);
  CHECK(status.code() == DOWNHILL_STATUS_INVALID_CONFIG, "%s", status.message());
  CHECK(says(status, "group 0: a gradient is const, and DOWNHILL_EXTRAS_ZERO_GRAD would write to it"),
        "%s", status.message());

  downhill::group none{downhill::sgd()};
  CHECK(downhill::step({none}, 1, extras) && downhill::step({}, 1), "nothing to do");
  none.add(downhill::view(w.data(), 0), nullptr);
  CHECK(downhill::step({none}, 1), "no elements: %s", downhill_last_error());
  CHECK(says(downhill::step({none}, 0), "group 0: `t` is 0; steps are counted from 1"), "%s",
        downhill_last_error());

  // A tensor that joins late: its first step moves it by lr.
  float late[1] = {1.0f}, late_g[1] = {3.0f}, m[1] = {}, v[1] = {};
  downhill::group joined(config);
  joined.add(late, late_g, m, v);
  joined[0].t = 1;
  CHECK(downhill::step({joined}, 1000), "%s", downhill_last_error());
  CHECK(std::fabs(late[0] - 0.75f) < 1e-6f, "%a", static_cast<double>(late[0]));

  // Groups that are made as the program runs.
  std::vector<downhill::group<downhill::sgd>> layers(3);
  std::vector<float> all[3];
  for (std::size_t i = 0; i < 3; i++) {
    all[i].assign(i + 1, 1.0f);
    layers[i].config.lr = 0.5;
    layers[i].add(all[i], downhill::view(g.data(), i + 1));
  }
  const std::vector<downhill::any_group> list(layers.begin(), layers.end());
  layers[2].config.lr = 1.0;
  CHECK(downhill::step(list, 1), "%s", downhill_last_error());
  CHECK(all[0][0] == 0.75f && all[1][1] == 0.75f && all[2][2] == 0.5f, "each with its own rate");
  static_assert(!downhill::detail::is_view<std::vector<float>>, "a temporary would be gone");
  static_assert(downhill::detail::is_view<downhill::view<float>>, "a temporary is enough");
}

// Tensors that do not fit are found by the step, which writes nothing.
void check_misfits() {
  float w[4] = {1.0f, 2.0f, 3.0f, 4.0f}, g[4] = {3.0f, 4.0f, 0.0f, 0.0f}, m[4] = {}, v[4] = {},
        shorter[3] = {};
  bf16 w16[4] = {}, m16[4] = {};
  f16 half[4] = {};
  std::uint8_t bytes[10] = {};
  std::int16_t low[3] = {};
  const auto finds = [&](downhill_status code, const char *message, auto add) {
    downhill::group good{downhill::sgd()};
    downhill::group<downhill::adam> adam;
    good.add(w, g);
    CHECK(*adam.message() == '\0', "%s", adam.message());
    add(adam);
    adam.add(w, shorter, m, v);  // the first one counts
    CHECK(std::string(adam.message()) == message, "%s", adam.message());
    const downhill::status status = downhill::step({good, adam}, 1);
    CHECK(status.code() == code && says(status, std::string("group 1: ") + message), "%s",
          status.message());
    double sums[3] = {-1.0, -1.0, -1.0};
    CHECK(says(downhill::grad_squares({adam}, sums), std::string("group 0: ") + message), "squares");
    CHECK(w[0] == 1.0f && m[0] == 0.0f && sums[0] == -1.0, "written");
    checks++;
  };
  const downhill_status length = DOWNHILL_STATUS_INVALID_LENGTH, type = DOWNHILL_STATUS_INVALID_CONFIG;
  finds(length, "tensor 0: `g` has 3 elements; it must have as many as `w`, 4",
        [&](auto &group) { group.add(w, shorter, m, v); });
  finds(length, "tensor 0: `g` has 0 elements; it must have as many as `w`, 4",
        [&](auto &group) { group.add(w, downhill::view(g, 0), m, v); });
  finds(length, "tensor 0: `m` has 3 elements; it must have as many as `w`, 4",
        [&](auto &group) { group.add(w, g, shorter, v); });
  finds(length, "tensor 0: `v` has 3 elements; it must have as many as `w`, 4",
        [&](auto &group) { group.add(w, g, m, shorter); });
  finds(length, "tensor 0: `w` has 4 elements; it must have as many as `w`, 3",
        [&](auto &group) { group.add(3, w, g, m, v); });
  finds(length, "tensor 0: `w_low` has 3 elements; it must have as many as `w`, 4",
        [&](auto &group) { group.add(downhill::split(w16, low), g, m, v); });
  finds(length, "tensor 0: `w_copy` has 3 elements; it must have as many as `w`, 4",
        [&](auto &group) { group.add(w, g, m, v).copy_to(shorter); });
  finds(type, "tensor 1: `w` is bf16; the weights of this group are float", [&](auto &group) {
    group.add(w, g, m, v);
    group.add(w16, g, m, v);
  });
  finds(type, "tensor 1: `g` is f16; the gradients of this group are float", [&](auto &group) {
    group.add(w, g, m, v);
    group.add(w, half, m, v);
  });
  finds(type, "tensor 0: `v` is bf16; the states of this group are float",
        [&](auto &group) { group.add(w, g, m, m16); });
  finds(type, "tensor 1: `m` is 8-bit; the states of this group are bf16", [&](auto &group) {
    group.add(w, g, m16, m16);
    group.add(w, g, bytes);
  });
  finds(type, "tensor 1: `w_copy` is f16; the copies of this group are bf16", [&](auto &group) {
    group.add(w, g, m, v).copy_to(w16);
    group.add(w, g, m, v).copy_to(half);
  });

  // What C finds has C's words.
  downhill::group<downhill::adam> adam;
  adam.add(w, g, m);
  CHECK(says(downhill::step({adam}, 1), "group 0: tensor 0: `v` is NULL"), "%s", downhill_last_error());
}

void check_squares() {
  float w[5000] = {}, g[5000], h[2] = {3.0f, 4.0f};
  for (float &x : g) x = uniform();
  downhill::group a{downhill::sgd()}, b{downhill::sgd()};
  a.add(w, g);
  a.add(w, nullptr);
  b.add(2, &w[0], h);
  std::vector<double> sums(3);
  double theirs[3] = {};
  CHECK(downhill::grad_squares({a, b}, sums), "%s", downhill_last_error());
  const downhill_group groups[] = {downhill::any_group(a).c_group(1), downhill::any_group(b).c_group(1)};
  CHECK(downhill_grad_squares(2, groups, nullptr, theirs) == DOWNHILL_STATUS_OK, "%s",
        downhill_last_error());
  CHECK(sums[0] == theirs[0] && sums[0] > 0.0 && sums[1] == 0.0 && sums[2] == 25.0, "%g", sums[2]);
  const downhill::status status = downhill::grad_squares({a, b}, downhill::view(theirs, 2));
  CHECK(status.code() == DOWNHILL_STATUS_INVALID_LENGTH, "%s", status.message());
  CHECK(says(status, "`sums` has 2 elements; it must have one for each tensor, 3"), "%s",
        status.message());
}

// ---- conversion

template <class Rule, std::size_t... Index>
void check_pack(const Rule &config, std::index_sequence<Index...>) {
  const char *const name = known_of(config)->name;
  const std::size_t bytes = downhill::state_bytes(config, 100);
  CHECK(bytes == downhill_state_bytes(&config, 100), "%s", name);
  if constexpr (sizeof...(Index) > 0) {
    if (bytes == SIZE_MAX) return;
    any_config any;
    std::memcpy(&any, &config, sizeof config);
    std::array<std::vector<float>, sizeof...(Index)> states, ours, theirs;
    float *from[4] = {}, *to[4] = {};
    for (std::size_t k = 0; k < states.size(); k++) {
      if (!has_state(known_of(config), &any, static_cast<int>(k))) continue;
      states[k] = numbers(100);
      ours[k] = theirs[k] = std::vector<float>(100);
      from[k] = states[k].data();
      to[k] = theirs[k].data();
    }
    std::vector<std::uint8_t> packed(bytes), their_packed(bytes);
    CHECK(downhill::pack(config, packed, states[Index]...), "%s: %s", name, downhill_last_error());
    CHECK(downhill_pack(&config, 100, from, their_packed.data(), bytes) == DOWNHILL_STATUS_OK, "%s",
          name);
    CHECK(packed == their_packed && packed != std::vector<std::uint8_t>(bytes), "%s: packed", name);
    CHECK(downhill::unpack(config, packed, ours[Index]...), "%s: %s", name, downhill_last_error());
    CHECK(downhill_unpack(&config, 100, packed.data(), bytes, to) == DOWNHILL_STATUS_OK, "%s", name);
    for (std::size_t k = 0; k < states.size(); k++) {
      CHECK(same_bits(ours[k], theirs[k]), "%s: unpacked", name);
      for (std::size_t i = 0; i < ours[k].size(); i++)
        CHECK(std::fabs(ours[k][i] / states[k][i] - 1.0f) < 0.07f, "%s: state %d", name,
              static_cast<int>(k));
    }
    // Lengths: of the states, which we compare, and of what is packed, which C knows.
    packed.pop_back();
    CHECK(downhill::pack(config, packed, states[Index]...).code() == DOWNHILL_STATUS_INVALID_LENGTH,
          "%s", name);
    CHECK(downhill::unpack(config, packed, ours[Index]...).code() == DOWNHILL_STATUS_INVALID_LENGTH,
          "%s", name);
    if (sizeof...(Index) == 2) {
      ours.back().pop_back();
      const std::string second = known_of(config)->state[1].name,
                        first = known_of(config)->state[0].name;
      const std::string wrong =
          "`" + second + "` has 99 elements; it must have as many as `" + first + "`, 100";
      CHECK(says(downhill::pack(config, their_packed, ours[Index]...), wrong), "%s", name);
      CHECK(says(downhill::unpack(config, their_packed, ours[Index]...), wrong), "%s", name);
    }
    checks++;
  }
}

void check_convert() {
  std::vector<float> from(1000), back(1000);
  for (float &x : from) x = any_float();
  std::vector<bf16> ours(1000), theirs(1000);
  std::vector<std::uint16_t> halves(1000), their_halves(1000);
  std::vector<std::int16_t> low(1000);
  CHECK(downhill::convert(from, ours), "%s", downhill_last_error());
  CHECK(downhill_convert(1000, DOWNHILL_TYPE_F32, from.data(), nullptr, DOWNHILL_TYPE_BF16,
                         theirs.data(), nullptr) == DOWNHILL_STATUS_OK,
        "%s", downhill_last_error());
  CHECK(same_bits(ours, theirs), "bf16");
  CHECK(downhill::convert(1000, ours.data(), downhill::as<f16>(halves.data())), "%s",
        downhill_last_error());
  CHECK(downhill_convert(1000, DOWNHILL_TYPE_BF16, ours.data(), nullptr, DOWNHILL_TYPE_F16,
                         their_halves.data(), nullptr) == DOWNHILL_STATUS_OK,
        "%s", downhill_last_error());
  CHECK(same_bits(halves, their_halves), "f16");
  CHECK(downhill::convert(from, downhill::split(halves, low)), "%s", downhill_last_error());
  const std::vector<std::uint16_t> &upper = halves;
  CHECK(downhill::convert(downhill::split(upper, low), back), "%s", downhill_last_error());
  for (std::size_t i = 0; i < 1000; i++) CHECK(same(from[i], back[i]), "split at %zu", i);
  back.pop_back();
  CHECK(
      says(downhill::convert(from, back), "`to` has 999 elements; it must have as many as `from`, 1000"),
      "not so");
  low.pop_back();
  CHECK(says(downhill::convert(downhill::split(halves, low), from),
             "`from_low` has 999 elements; it must have as many as `from`, 1000"),
        "not so");
  checks++;
}

// ---- the rest

void check_pools() {
  downhill::pool one(1), two(2);
  CHECK(one.threads() == 1 && two.threads() <= 2, "as many as asked for, or fewer");
  one = std::move(two);
  downhill::pool moved = std::move(one);
  CHECK(moved.threads() <= 2 && static_cast<downhill_pool *>(one) == nullptr, "moved");
  const downhill::pool all(0);
  CHECK(all.threads() == downhill::pool().threads(), "%zu threads", all.threads());
  CHECK(downhill::pool::take(downhill_pool_new(2)).threads() == 2, "it has another number of threads");
  CHECK(downhill::pool::take(nullptr).threads() == 1, "NULL is a pool of 1");
  CHECK(downhill::pool().threads() >= 1, "one for each CPU");
  static_assert(!std::is_copy_constructible_v<downhill::pool>, "who frees it?");
}

// A step that is skipped, as its gradient is not finite.
downhill::whole_status skipped_step() {
  static float w[2] = {1.0f, 1.0f}, g[2] = {1.0f, std::numeric_limits<float>::infinity()};
  downhill::group group{downhill::sgd()};
  group.add(w, g);
  downhill::extras extras;
  extras.flags = DOWNHILL_EXTRAS_SKIP_NONFINITE;
  downhill::report report;
  const downhill::whole_status status = downhill::step({group}, 1, extras, nullptr, &report);
  CHECK(report.skipped == 1 && report.element == 1 && w[0] == 1.0f, "%zu", report.element);
  return status;
}

void check_skipping() {
  const downhill::whole_status status = skipped_step();
  CHECK(status.skipped() && !status && status.code() == DOWNHILL_STATUS_SKIPPED, "%s", status.message());
  CHECK(says(status, "group 0: tensor 0: `g` is inf at element 1; the step was skipped"), "%s",
        status.message());
}

#ifdef __cpp_exceptions
template <class Call>
void check_throws(Call call, downhill_status code, const char *what) {
  try {
    call();
  } catch (const downhill::error &error) {
    CHECK(error.code() == code && std::string(error.what()) == what, "%s", error.what());
    return;
  }
  CHECK(false, "not thrown: %s", what);
}

void check_exceptions() {
  float w[2] = {1.0f, 1.0f}, g[1] = {1.0f};
  const float *const none = nullptr;
  const downhill::sgd config;
  check_throws([&] { downhill::step(w, g, config).or_throw(); }, DOWNHILL_STATUS_INVALID_LENGTH,
               "`g` has 1 elements; it must have as many as `w`, 2");
  check_throws([&] { downhill::step(1, w, none, config).or_throw(); }, DOWNHILL_STATUS_NULL_POINTER,
               "`g` is NULL");
  downhill::step(1, w, g, config).or_throw();
  CHECK(w[0] != 1.0f, "a step that is made");
  downhill::group group(config);
  group.add(w, g);
  check_throws([&] { (void)downhill::step({group}, 1).or_throw(); }, DOWNHILL_STATUS_INVALID_LENGTH,
               "group 0: tensor 0: `g` has 1 elements; it must have as many as `w`, 2");
  CHECK(!skipped_step().or_throw(), "to skip is no error");
  check_throws([&] { (void)downhill::pool::on(std::vector<std::uint32_t>()); },
               DOWNHILL_STATUS_INVALID_CONFIG, "`cpus` lists 0 CPUs; it must list 1 to 1024");

  // The documents' loop: what is skipped is not counted, and the first step that is made moves by lr.
  downhill::group<downhill::adam> adam;
  adam.config.lr = 0.5, adam.config.eps = 0.0;
  downhill::extras extras;
  extras.flags = DOWNHILL_EXTRAS_SKIP_NONFINITE;
  float one[1] = {1.0f}, gradient[1], m[1] = {}, v[1] = {};
  adam.add(one, gradient, m, v);
  std::uint64_t t = 1;
  for (int batch = 1; t <= 1; batch++) {
    gradient[0] = batch <= 3 ? std::numeric_limits<float>::quiet_NaN() : 3.0f;
    if (downhill::step({adam}, t, extras).or_throw()) t++;
  }
  CHECK(std::fabs(one[0] - 0.5f) < 1e-6f, "%a", static_cast<double>(one[0]));
  static_assert(std::is_base_of_v<std::runtime_error, downhill::error>, "caught as any other");
}
#else
void check_exceptions() {}
#endif

/* Rows 3 and 0 of a table of 4 rows of 2, row 3 twice, against the plain steps of those rows. */
void check_rows() {
  const std::vector<std::int64_t> rows = {3, 0, 3};
  const std::vector<float> g = {1.0f, 2.0f, -3.0f, 0.5f, 4.0f, -1.0f};
  std::vector<float> w(8, 1.0f), s(8, 0.25f), expected = w, expected_s = s;
  std::vector<std::uint64_t> row_t = {4, 0, 0, 9};
  const downhill::adagrad config;
  downhill::group table(config);
  table.add_rows(2, rows, w, g, s).merge().row_t(row_t);
  CHECK(downhill::step({table}, 1), "%s", downhill_last_error());
  const std::vector<float> sum = {g[0] + g[4], g[1] + g[5]};
  CHECK(downhill::step(2, &expected[6], sum.data(), &expected_s[6], config), "%s", downhill_last_error());
  CHECK(downhill::step(2, &expected[0], &g[2], &expected_s[0], config), "%s", downhill_last_error());
  CHECK(w == expected && s == expected_s, "rows");
  CHECK((row_t == std::vector<std::uint64_t>{5, 0, 0, 10}), "row_t");

  const downhill::rowwise_adagrad rowwise;
  std::vector<float> of_rows(4, 0.25f), expected_of_row = of_rows;
  downhill::group embeddings(rowwise);
  const std::vector<std::int64_t> one = {2};
  embeddings.add_rows(2, one, w, sum, of_rows);
  CHECK(downhill::step({embeddings}, 1), "%s", downhill_last_error());
  CHECK(downhill::step(2, &expected[4], sum.data(), &expected_of_row[2], rowwise), "%s", downhill_last_error());
  CHECK(w == expected && of_rows == expected_of_row, "row-wise");

  downhill::group misfit(rowwise);
  misfit.add_rows(2, one, w, sum, s);
  CHECK(std::strcmp(misfit.message(), "tensor 0: `s` has 8 elements; with these rows it must have 4") == 0, "%s", misfit.message());
  downhill::group too_short(config);
  too_short.add_rows(2, rows, w, sum, s);
  CHECK(std::strcmp(too_short.message(), "tensor 0: `g` has 2 elements; with these rows it must have 6") == 0, "%s",
        too_short.message());
  downhill::group counts(config);
  counts.add_rows(2, one, w, sum, s).row_t(std::vector<std::uint64_t>(3));
  CHECK(std::strcmp(counts.message(), "tensor 0: `row_t` has 3 elements; with these rows it must have 4") == 0, "%s",
        counts.message());
}

}  // namespace

int main() {
  int called = 0;
  for_each_rule([&called](const auto &config) {
    called++;
    using config_type = std::remove_cv_t<std::remove_reference_t<decltype(config)>>;
    check_rule(config);
    check_group<float, float, float, float, float>(with_all_states<config_type>(), {F32, F32, F32, F32});
    check_pack(config, all_states<config_type>);
  });
  CHECK(called == RULES, "%d of %d rules", called, static_cast<int>(RULES));
  check_types<downhill::sgd>();
  check_types<downhill::lion>();
  check_types<downhill::adamw>();
  check_types<downhill::rmsprop>();
  check_arguments();
  check_arrays();
  check_misfits();
  check_rows();
  check_squares();
  check_convert();
  check_pools();
  check_skipping();
  check_exceptions();
  std::printf("%d comparisons\n", checks);
}
