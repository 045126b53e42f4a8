// Trains a network to read handwritten digits, as mlp.c does, to the same bits.
//
//   mlp DIGITS.CSV
#include <downhill.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "network.h"

namespace {

constexpr int epochs = 20, batch = 32;

// Weights, their gradient and AdamW's two states: zeros, but for the weights.
struct training {
  network w{}, g{}, m{}, v{};
};

// The digits to train on, by their place in the file.
std::vector<int> training_digits() {
  std::vector<int> order;
  for (int i = 0; i < DIGITS; i++)
    if (!is_test(i)) order.push_back(i);
  return order;
}

double train(const std::vector<digit> &digits) {
  const auto net = std::make_unique<training>();
  auto &[w, g, m, v] = *net;
  std::uint64_t random = 1, t = 1;
  initialize(&w, &random);

  downhill::adamw config;
  config.lr = 3e-3;
  downhill::group decayed(config);
  config.weight_decay = 0.0;
  downhill::group not_decayed(config);
  decayed.add(w.w1, g.w1, m.w1, v.w1);
  decayed.add(w.w2, g.w2, m.w2, v.w2);
  not_decayed.add(w.b1, g.b1, m.b1, v.b1);
  not_decayed.add(w.b2, g.b2, m.b2, v.b2);
  const downhill::pool pool;  // a thread for each CPU; large tensors are stepped by all of them
  downhill::extras extras;
  extras.max_norm = 1.0;
  extras.flags = DOWNHILL_EXTRAS_ZERO_GRAD | DOWNHILL_EXTRAS_SKIP_NONFINITE;

  std::vector<int> order = training_digits();
  const int count = static_cast<int>(order.size());
  for (int epoch = 1; epoch <= epochs; epoch++) {
    double loss = 0.0;
    shuffle(order.data(), count, &random);
    for (int start = 0; start < count; start += batch) {
      const int end = std::min(start + batch, count);
      for (int i = start; i < end; i++) loss += add_gradient(&w, &digits[order[i]], &g);
      extras.grad_scale = 1.0 / (end - start);
      if (downhill::step({decayed, not_decayed}, t, extras, pool).or_throw())
        t++;
      else
        g = {};  // a step that was skipped has left NaN in it, and is not counted
    }
    std::string bar;
    while (bar.size() < 100 && bar.size() < loss / count * 50.0) bar += '#';
    std::printf("epoch %2d  loss %.4f  %s\n", epoch, loss / count, bar.c_str());
  }
  return accuracy(&w, digits.data());
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIGITS.CSV\n", argv[0]);
    return EXIT_FAILURE;
  }
  try {
    std::vector<digit> digits(DIGITS);
    if (!read_digits(argv[1], digits.data())) return EXIT_FAILURE;
    const double test_accuracy = train(digits);
    std::printf("%.1f %% of the digits that it has not seen\n", 100.0 * test_accuracy);
    return test_accuracy >= 0.95 ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
  }
}
