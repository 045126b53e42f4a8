// downhill.hpp: every rule is C's call, to the same bits, on packed states too; wrong lengths are found; a failure can
// be looked at, or thrown. For C++17 and C++20, with exceptions and without.
#include <downhill.hpp>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "packed.h"

namespace {

using arrays = std::vector<std::vector<float>>;  // w, g, then the states

int checks = 0;

bool says(const downhill::status &status, const std::string &message) { return !status && status.message() == message; }

arrays random_arrays(const rule *c, std::size_t n) {
  arrays all(2 + c->states, std::vector<float>(n));
  for (auto &array : all)
    for (float &x : array) x = uniform() + 0.6f;  // positive, as some states must be
  return all;
}

bool same_bits(const arrays &a, const arrays &b) {
  for (std::size_t k = 0; k < a.size(); k++) {
    if (a[k].size() != b[k].size()) return false;
    for (std::size_t i = 0; i < a[k].size(); i++)
      if (!same(a[k][i], b[k][i])) return false;
  }
  return true;
}

downhill_status step_in_c(const rule *c, arrays &a, std::uint64_t t, const void *config) {
  float *state[MOST_STATES] = {};
  for (int k = 0; k < c->states; k++) state[k] = a[2 + k].empty() ? nullptr : a[2 + k].data();
  return c->step(a[0].size(), a[0].data(), a[1].data(), state, t, config);
}

template <class Config>
void check_defaults(const rule *c) {
  static_assert(std::is_trivially_copyable_v<Config>, "it is passed to C as it is");
  const Config config;
  const any_config defaults = c->defaults();
  any_config ours;
  CHECK(sizeof config == c->config_size && config.struct_size == sizeof config, "%s", c->name);
  std::memcpy(&ours, &config, sizeof config);
  for (const field *f = c->fields; f->name != nullptr; f++) {
    CHECK(get_field(&ours, f) == get_field(&defaults, f), "%s.%s", c->name, f->name);
    checks++;
  }
}

// Empties the states that are not there.
void drop(const rule *c, const any_config *config, arrays &a) {
  for (int k = 0; k < c->states; k++)
    if (!has_state(c, config, k)) a[2 + k].clear();
}

template <class Config, class Step>
void check_bits(const rule *c, Step step, int variant) {
  const any_config any = configure(c, variant, DECOUPLED);
  Config config;
  std::memcpy(static_cast<void *>(&config), &any, sizeof config);
  arrays ours = random_arrays(c, 37);
  drop(c, &any, ours);
  arrays theirs = ours;
  const arrays start = ours;
  for (std::uint64_t t = 1; t <= 3; t++) {
    const downhill::status status = step(ours, t, config);
    CHECK(status && status.code() == DOWNHILL_STATUS_OK, "%s", status.message());
    CHECK(std::string(status.message()).empty(), "%s", status.message());
    CHECK(step_in_c(c, theirs, t, &config) == DOWNHILL_STATUS_OK, "%s", downhill_last_error());
    CHECK(same_bits(ours, theirs), "%s, step %d", c->name, static_cast<int>(t));
    checks++;
  }
  CHECK(!same_bits(ours, start), "%s did nothing", c->name);
}

template <class Config, class Step>
void check_wrong_lengths(const rule *c, Step step) {
  for (std::size_t k = 1; k < 2u + c->states; k++)
    for (const std::size_t length : {8, 10}) {
      arrays a = random_arrays(c, 9);
      a[k].resize(length);
      const arrays before = a;
      const downhill::status status = step(a, 1, Config());
      const std::string name = k == 1 ? "g" : c->state[k - 2].name;
      const std::string wrong = "`" + name + "` has " + std::to_string(length) + " elements";
      CHECK(status.code() == DOWNHILL_STATUS_INVALID_LENGTH, "%s.%s", c->name, name.c_str());
      CHECK(says(status, wrong + "; it must have as many as `w`, 9"), "%s", status.message());
      CHECK(same_bits(a, before), "%s wrote", c->name);
      checks++;
    }
}

// A failure that C finds: status and text are C's.
template <class Config, class Step>
void check_failure(const rule *c, Step step) {
  arrays a = random_arrays(c, 9);
  const any_config defaults = c->defaults();
  drop(c, &defaults, a);
  Config config;
  config.lr = -1.0;
  const downhill::status status = step(a, 1, config);
  CHECK(status.code() == DOWNHILL_STATUS_INVALID_CONFIG, "%s", c->name);
  CHECK(says(status, "`lr` is -1.0; it must be at least 0 and finite in f32"), "%s", status.message());
  checks++;
}

downhill::status add(downhill::tensors &list, arrays &a) {
  a.resize(2 + MOST_STATES);
  return list.add(a[0], a[1], a[2], a[3], a[4]);
}

// Two tensors, clipped, their gradients zeroed, with threads and without, against C's call.
template <class Config, class Many>
void check_step_many(const rule *c, Many step_many) {
  Config config;
  config.lr = 0.03;
  downhill::extras extras;
  extras.max_norm = 0.5;
  extras.flags = DOWNHILL_ZERO_GRAD;
  const downhill::pool pool(2);
  for (downhill_pool *workers : {static_cast<downhill_pool *>(nullptr), static_cast<downhill_pool *>(pool)}) {
    arrays ours[2] = {random_arrays(c, 300001), random_arrays(c, 5)}, theirs[2] = {ours[0], ours[1]};
    downhill::tensors our_list, their_list;
    downhill_report our_report = {}, their_report = {};
    for (int i = 0; i < 2; i++) {
      CHECK(add(our_list, ours[i]), "%s", c->name);
      CHECK(add(their_list, theirs[i]), "%s", c->name);
    }
    CHECK(our_list.size() == 2 && our_list.end() - our_list.begin() == 2, "two tensors");
    const downhill::status status = step_many(our_list, 1, config, extras, workers, &our_report);
    CHECK(status, "%s: %s", c->name, status.message());
    CHECK(c->step_many(2, their_list.data(), 1, &config, &extras, workers, &their_report) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    CHECK(same_bits(ours[0], theirs[0]) && same_bits(ours[1], theirs[1]), "%s", c->name);
    CHECK(our_report.grad_norm == their_report.grad_norm && our_report.grad_norm > 0.5, "%s", c->name);
    CHECK(ours[0][1][0] == 0.0f, "%s: gradients are zero", c->name);
    checks++;
  }
}

template <class Config, class Step>
void check_rule(const char *name, Step step) {
  const rule *c = find_rule(name);
  check_defaults<Config>(c);
  for (int variant = 0; variant < c->variants; variant++) check_bits<Config>(c, step, variant);
  check_wrong_lengths<Config>(c, step);
  check_failure<Config>(c, step);
  // A rule counts steps if it takes their number.
  if constexpr (std::is_base_of_v<downhill_adam, Config> || std::is_base_of_v<downhill_adamax, Config> ||
                std::is_base_of_v<downhill_nadam, Config>)
    check_step_many<Config>(c, [](auto &list, auto t, auto &config, const auto &...rest) {
      return downhill::step_many(list, t, config, rest...);
    });
  else
    check_step_many<Config>(c, [](auto &list, auto, auto &config, const auto &...rest) {
      return downhill::step_many(list, config, rest...);
    });
}

void check_every_rule() {
  using namespace downhill;
  check_rule<sgd>("sgd", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], c); });
  check_rule<momentum>("momentum", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], a[2], c); });
  check_rule<nesterov>("nesterov", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], a[2], c); });
  check_rule<adagrad>("adagrad", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], a[2], c); });
  check_rule<adadelta>("adadelta", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], a[2], a[3], c); });
  check_rule<rmsprop>("rmsprop", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], a[2], a[3], a[4], c); });
  check_rule<adam>("adam", [](arrays &a, auto t, const auto &c) { return step(a[0], a[1], a[2], a[3], t, c); });
  check_rule<adamw>("adamw", [](arrays &a, auto t, const auto &c) { return step(a[0], a[1], a[2], a[3], t, c); });
  check_rule<amsgrad>("amsgrad",
                      [](arrays &a, auto t, const auto &c) { return step(a[0], a[1], a[2], a[3], a[4], t, c); });
  check_rule<adamax>("adamax", [](arrays &a, auto t, const auto &c) { return step(a[0], a[1], a[2], a[3], t, c); });
  check_rule<nadam>("nadam", [](arrays &a, auto t, const auto &c) { return step(a[0], a[1], a[2], a[3], t, c); });
  check_rule<lion>("lion", [](arrays &a, auto, const auto &c) { return step(a[0], a[1], a[2], c); });
  // RMSprop without its optional states.
  arrays ours = random_arrays(find_rule("rmsprop"), 9);
  ours[3].clear(), ours[4].clear();
  arrays theirs = ours;
  const rmsprop config;
  CHECK(step(ours[0], ours[1], ours[2], config), "rmsprop");
  CHECK(step_in_c(find_rule("rmsprop"), theirs, 1, &config) == DOWNHILL_STATUS_OK, "rmsprop");
  CHECK(same_bits(ours, theirs), "rmsprop");
}

void check_spans() {
  std::vector<float> vector{1.0f, 2.0f, 3.0f};
  const std::array<float, 3> constant{1.0f, 1.0f, 1.0f};
  std::array<float, 3> array{};
  float plain[3] = {};
  downhill::adagrad config;
  config.lr = 1.0;
  CHECK(downhill::step(vector, constant, array, config), "a vector, and arrays");
  CHECK(vector[0] == 0.0f && vector[2] == 2.0f && array[1] == 1.0f, "each moved by 1");
  CHECK(downhill::step(plain, constant, array, config) && plain[0] != 0.0f, "a plain array");
  CHECK(downhill::step({vector.data(), 2}, {plain, 2}, {array.data(), 2}, config), "pointers with lengths");
  static_assert(!std::is_constructible_v<downhill::span<float>, const std::vector<float> &>, "not to be written");
  static_assert(!std::is_constructible_v<downhill::span<float>, std::vector<double> &>, "not float");
  static_assert(!std::is_constructible_v<downhill::span<float>, std::vector<float>>, "it would dangle");
  static_assert(std::is_constructible_v<downhill::span<const float>, std::vector<float>>, "for the time of a call");
}

void check_lists() {
  float w[4] = {1.0f, 2.0f, 3.0f, 4.0f}, g[4] = {3.0f, 4.0f, 0.0f, 0.0f}, m[4] = {}, v[4] = {}, shorter[3] = {};
  downhill::tensors list;
  const downhill::adam config;
  double norm = 0.0;
  CHECK(says(list.add(w, shorter, m, v), "`g` has 3 elements; it must have as many as `w`, 4"), "not so");
  CHECK(says(list.add(w, g, shorter, v), "`state0` has 3 elements; it must have as many as `w`, 4"), "not so");
  CHECK(says(list.add(w, g, m, shorter), "`state1` has 3 elements; it must have as many as `w`, 4"), "not so");
  CHECK(says(list.add(w, g, m, v, shorter), "`state2` has 3 elements; it must have as many as `w`, 4"), "not so");
  CHECK(list.size() == 0, "a wrong tensor is not added");
  CHECK(list.add(w, g, m), "a state is missing");
  CHECK(says(downhill::step_many(list, 1, config), "tensor 0: `v` is NULL"), "%s", downhill_last_error());
  list = {};
  CHECK(list.add(w, g, m, v) && list.size() == 1, "four arrays");
  CHECK(downhill::grad_norm(list, norm) && norm == 5.0, "the norm is %g", norm);
  CHECK(says(downhill::step_many({list.data(), 1}, 0, config), "`t` is 0; steps are counted from 1"), "t");
}

// ---- packed states

const packed_rule *find_packed_rule(const char *name) {
  for (const packed_rule &each : packed_rules)
    if (std::strcmp(each.name, name) == 0) return &each;
  CHECK(false, "no rule %s", name);
  return nullptr;
}

// Two tensors, by our step and by C's, from states that are not zero.
template <class Weight, class Config>
void check_step_packed(const packed_rule *c, const Config &config, const downhill::packing &packing) {
  struct model {
    std::vector<Weight> w[2], g[2];
    std::vector<std::uint8_t> state[2];
    bool operator==(const model &other) const {
      return w[0] == other.w[0] && w[1] == other.w[1] && g[0] == other.g[0] && g[1] == other.g[1] &&
             state[0] == other.state[0] && state[1] == other.state[1];
    }
  } ours;
  const std::size_t n[2] = {1000, 65};
  for (int i = 0; i < 2; i++) {
    for (auto *array : {&ours.w[i], &ours.g[i]})
      for (std::size_t j = 0; j < n[i]; j++)
        if constexpr (std::is_same_v<Weight, float>)
          array->push_back(uniform());
        else
          array->push_back(narrowed(uniform()));
    ours.state[i].resize(downhill::packed_bytes(static_cast<std::size_t>(c->states), n[i], packing));
  }
  model theirs = ours;
  const model start = ours;
  downhill::packed_tensors our_list, their_list;
  for (int i = 0; i < 2; i++) {
    CHECK(our_list.add(ours.w[i], ours.g[i], ours.state[i], i * 1024u), "%s", c->name);
    CHECK(their_list.add(theirs.w[i], theirs.g[i], theirs.state[i], i * 1024u), "%s", c->name);
  }
  CHECK(our_list.size() == 2 && our_list.end() - our_list.begin() == 2, "two tensors");
  CHECK(our_list.begin()[1].first_element == 1024 && our_list.begin()[1].n == 65, "the second");
  downhill::extras extras;
  extras.max_norm = 0.5;
  extras.flags = DOWNHILL_ZERO_GRAD;
  const downhill::pool pool(2);
  downhill_report our_report = {}, their_report = {};
  for (std::uint64_t t = 1; t <= 2; t++) {
    const downhill::status status = downhill::step_packed(our_list, t, config, packing, extras, pool, &our_report);
    CHECK(status, "%s: %s", c->name, status.message());
    CHECK(c->step(2, their_list.data(), t, &config, &packing, &extras, pool, &their_report) == DOWNHILL_STATUS_OK, "%s",
          downhill_last_error());
    CHECK(ours == theirs && !(ours == start), "%s, step %d", c->name, static_cast<int>(t));
    CHECK(our_report.grad_norm == their_report.grad_norm && (t > 1 || our_report.grad_norm > 0.5), "%s", c->name);
    CHECK(ours.g[1] == std::vector<Weight>(65), "%s: gradients are zero", c->name);
    checks++;
  }
  // With nothing but tensors and configuration: what the defaults are.
  const downhill_packing defaults = downhill_packing_default();
  if (packing.weight_format != defaults.weight_format || packing.state_format != defaults.state_format) return;
  CHECK(downhill::step_packed(our_list, 3, config), "%s", c->name);
  CHECK(c->step(2, their_list.data(), 3, &config, &defaults, nullptr, nullptr, nullptr) == DOWNHILL_STATUS_OK, "%s",
        c->name);
  CHECK(ours == theirs, "%s with the defaults", c->name);
}

// There and back by our functions and by C's.
template <class Config, class Pack, class Unpack>
void check_pack(const packed_rule *c, const downhill::packing &packing, Pack pack, Unpack unpack) {
  arrays states(c->states, std::vector<float>(100)), ours = states, theirs = states;
  for (auto &array : states)
    for (float &x : array) x = uniform() + 0.6f;
  std::vector<std::uint8_t> state(downhill::packed_bytes(states.size(), 100, packing)), their_state(state.size());
  float *from[MOST_PACKED] = {}, *to[MOST_PACKED] = {};
  for (std::size_t k = 0; k < states.size(); k++) from[k] = states[k].data(), to[k] = theirs[k].data();
  const downhill::status packed = pack(states, state, Config(), packing);
  CHECK(packed, "%s: %s", c->name, packed.message());
  CHECK(c->pack(100, from, packing.state_format, their_state.data(), state.size()) == DOWNHILL_STATUS_OK, "%s",
        c->name);
  CHECK(state == their_state && state != std::vector<std::uint8_t>(state.size()), "%s: packed", c->name);
  const downhill::status unpacked = unpack(ours, state, Config(), packing);
  CHECK(unpacked, "%s: %s", c->name, unpacked.message());
  CHECK(c->unpack(100, to, packing.state_format, state.data(), state.size()) == DOWNHILL_STATUS_OK, "%s", c->name);
  CHECK(same_bits(ours, theirs), "%s: unpacked", c->name);
  for (std::size_t k = 0; k < states.size(); k++)
    for (std::size_t i = 0; i < 100; i++)
      CHECK(std::fabs(ours[k][i] / states[k][i] - 1.0f) < 0.07f, "%s: state %d", c->name, static_cast<int>(k));
  // Lengths: of the states, which we compare, and of what is packed, which C knows.
  const arrays before = ours;
  state.pop_back();
  CHECK(pack(ours, state, Config(), packing).code() == DOWNHILL_STATUS_INVALID_LENGTH, "%s", c->name);
  CHECK(unpack(ours, state, Config(), packing).code() == DOWNHILL_STATUS_INVALID_LENGTH, "%s", c->name);
  CHECK(same_bits(ours, before), "%s wrote", c->name);
  if (c->states == 2) {
    ours[1].pop_back();
    const char *const wrong = "`v` has 99 elements; it must have as many as `m`, 100";
    CHECK(says(pack(ours, their_state, Config(), packing), wrong), "%s", c->name);
    CHECK(says(unpack(ours, their_state, Config(), packing), wrong), "%s", c->name);
  }
  checks++;
}

template <class Config, class Pack, class Unpack>
void check_packed_rule(const char *name, Pack pack, Unpack unpack) {
  const packed_rule *c = find_packed_rule(name);
  Config config;
  config.lr = 0.03;
  for (const std::uint32_t format : {DOWNHILL_STATE_FORMAT_BITS8, DOWNHILL_STATE_FORMAT_BF16}) {
    downhill::packing packing;
    packing.state_format = format;
    packing.seed = 3;
    check_step_packed<float>(c, config, packing);
    packing.weight_format = DOWNHILL_WEIGHT_FORMAT_BF16;
    check_step_packed<std::uint16_t>(c, config, packing);
    check_pack<Config>(c, packing, pack, unpack);
  }
  config.lr = -1.0;
  const char *const wrong = "`lr` is -1.0; it must be at least 0 and finite in f32";
  CHECK(says(downhill::step_packed({}, 1, config), wrong), "%s", downhill_last_error());
}

void check_packed_states() {
  using namespace downhill;
  const auto one = [](auto &s, auto &state, const auto &c, const auto &p) { return pack(s[0], state, c, p); };
  const auto two = [](auto &s, auto &state, const auto &c, const auto &p) { return pack(s[0], s[1], state, c, p); };
  const auto from_one = [](auto &s, auto &state, const auto &c, const auto &p) { return unpack(s[0], state, c, p); };
  const auto from_two = [](auto &s, auto &state, const auto &c, const auto &p) {
    return unpack(s[0], s[1], state, c, p);
  };
  check_packed_rule<momentum>("momentum", one, from_one);
  check_packed_rule<adam>("adam", two, from_two);
  check_packed_rule<adamw>("adamw", two, from_two);
  check_packed_rule<lion>("lion", one, from_one);

  const packing packing;
  const downhill_packing defaults = downhill_packing_default();
  static_assert(std::is_trivially_copyable_v<downhill::packing>, "it is passed to C as it is");
  CHECK(sizeof packing == sizeof defaults && std::memcmp(&packing, &defaults, sizeof defaults) == 0, "the defaults");
  CHECK(packed_bytes(2, 65) == 260 && packed_bytes(1, SIZE_MAX) == SIZE_MAX, "bytes of states");

  float w[4] = {}, g[4] = {}, shorter[3] = {};
  std::uint16_t w16[4] = {}, g16[3] = {};
  std::uint8_t state[130] = {};
  packed_tensors list;
  CHECK(says(list.add(w, shorter, state), "`g` has 3 elements; it must have as many as `w`, 4"), "not so");
  CHECK(says(list.add(w16, g16, state), "`g` has 3 elements; it must have as many as `w`, 4"), "not so");
  CHECK(list.size() == 0, "a wrong tensor is not added");
  CHECK(list.add(w, g, state), "two states");
  CHECK(says(step_packed(list, 1, lion()), "tensor 0: `state` has 130 bytes; packed as it is to be, it takes 65"), "%s",
        downhill_last_error());
  CHECK(says(step_packed(list, 0, adam()), "`t` is 0; steps are counted from 1"), "%s", downhill_last_error());
  CHECK(list.add({w, 0}, {g, 0}, {state, 0}, 7), "none, at a number that is none");
  CHECK(says(step_packed(list, 1, adam()), "tensor 1: `first_element` is 7; it must be a multiple of 64"), "%s",
        downhill_last_error());
}

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

void check_versions() {
  CHECK(std::string(downhill::version()) == downhill_version(), "%s", downhill::version());
  CHECK(downhill::version_number() == DOWNHILL_VERSION_NUMBER, "%u", downhill::version_number());
  CHECK(std::string(downhill::isa()) == downhill_isa(), "%s", downhill::isa());
}

// A step that is skipped, as its gradient is not finite.
downhill::whole_status skipped_step() {
  static float w[2] = {1.0f, 1.0f}, g[2] = {1.0f, std::numeric_limits<float>::infinity()};
  downhill::tensors list;
  CHECK(list.add(w, g), "no state");
  downhill::extras extras;
  extras.flags = DOWNHILL_SKIP_NONFINITE;
  return downhill::step_many(list, downhill::sgd(), extras);
}

void check_skipping() {
  const downhill::whole_status status = skipped_step();
  CHECK(status.skipped() && !status && status.code() == DOWNHILL_STATUS_SKIPPED, "%s", status.message());
  CHECK(says(status, "tensor 0: `g` is inf at element 1; the step was skipped"), "%s", status.message());
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
  check_throws([&] { downhill::step({w, 1}, {none, 1}, config).or_throw(); }, DOWNHILL_STATUS_NULL_POINTER,
               "`g` is NULL");
  downhill::step({w, 1}, g, config).or_throw();
  CHECK(w[0] != 1.0f, "a step that is made");
  CHECK(!skipped_step().or_throw(), "to skip is no error");
  const std::uint32_t nowhere[] = {1023};
  check_throws([&] { (void)downhill::pool::on({nowhere, 0}); }, DOWNHILL_STATUS_INVALID_CONFIG,
               "`cpus` lists 0 CPUs; it must list 1 to 1024");

  // The documents' loop: what is skipped is not counted, and the first step that is made moves by lr.
  downhill::adam adam;
  adam.lr = 0.5, adam.eps = 0.0;
  downhill::extras extras;
  extras.flags = DOWNHILL_SKIP_NONFINITE;
  float one[1] = {1.0f}, gradient[1], m[1] = {}, v[1] = {};
  downhill::tensors list;
  list.add(one, gradient, m, v).or_throw();
  std::uint64_t t = 1;
  for (int batch = 1; t <= 1; batch++) {
    gradient[0] = batch <= 3 ? std::numeric_limits<float>::quiet_NaN() : 3.0f;
    if (downhill::step_many(list, t, adam, extras).or_throw()) t++;
  }
  CHECK(std::fabs(one[0] - 0.5f) < 1e-6f, "%a", static_cast<double>(one[0]));
  CHECK(downhill::step_many(downhill::tensors(), config).or_throw(), "a step over no tensors is made");
  static_assert(std::is_base_of_v<std::runtime_error, downhill::error>, "caught as any other");
}
#else
void check_exceptions() {}
#endif

}  // namespace

int main() {
  check_every_rule();
  check_spans();
  check_lists();
  check_packed_states();
  check_pools();
  check_versions();
  check_skipping();
  check_exceptions();
  std::printf("%d comparisons\n", checks);
}
