// downhill.hpp: every rule is C's call, to the same bits; wrong lengths are found; a failure can be looked at, or
// thrown. For C++17 and C++20, with exceptions and without.
#include <downhill.hpp>

#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rules.h"

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

// The states at the end of the list are left out; the others have n elements.
template <class Config, class Step>
void check_bits(const rule *c, Step step, int left_out) {
  Config config;
  config.lr = 0.03;
  config.weight_decay = 0.1;
  arrays ours = random_arrays(c, 37);
  for (int k = 0; k < left_out; k++) ours[ours.size() - 1 - k].clear();
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
      const std::string name = k == 1 ? "g" : c->state[k - 2];
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
  for (int left_out = 0; left_out <= c->optional; left_out++) check_bits<Config>(c, step, left_out);
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

void check_pools() {
  downhill::pool one(1), two(2);
  CHECK(one.threads() == 1 && two.threads() <= 2, "as many as asked for, or fewer");
  one = std::move(two);
  downhill::pool moved = std::move(one);
  CHECK(moved.threads() <= 2 && static_cast<downhill_pool *>(one) == nullptr, "moved");
  CHECK(downhill::pool().threads() >= 1, "one for each core");
  static_assert(!std::is_copy_constructible_v<downhill::pool>, "who frees it?");
}

void check_versions() {
  CHECK(std::string(downhill::version()) == downhill_version(), "%s", downhill::version());
  CHECK(downhill::version_number() == DOWNHILL_VERSION_NUMBER, "%u", downhill::version_number());
  CHECK(std::string(downhill::isa()) == downhill_isa(), "%s", downhill::isa());
}

// A step that is skipped, as its gradient is not finite.
downhill::status skipped_step() {
  static float w[2] = {1.0f, 1.0f}, g[2] = {1.0f, std::numeric_limits<float>::infinity()};
  downhill::tensors list;
  CHECK(list.add(w, g), "no state");
  downhill::extras extras;
  extras.flags = DOWNHILL_SKIP_NONFINITE;
  return downhill::step_many(list, downhill::sgd(), extras);
}

void check_skipping() {
  const downhill::status status = skipped_step();
  CHECK(status.code() == DOWNHILL_STATUS_SKIPPED, "%s", status.message());
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
  CHECK(downhill::step({w, 1}, g, config).or_throw(), "a step that is made");
  CHECK(!skipped_step().or_throw(), "to skip is no error");
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
  check_pools();
  check_versions();
  check_skipping();
  check_exceptions();
  std::printf("%d comparisons\n", checks);
}
