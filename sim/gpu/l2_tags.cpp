#include "sim/gpu/l2_tags.hpp"

#include <cmath>

namespace tessera {
namespace {

constexpr int kWays = 16;
constexpr int kPerCapacity = 128;  // table entries; linear between them, error below 1e-4
constexpr int kEntries = 3 * kPerCapacity + 1;

std::array<double, kEntries> survival_table() {
  std::array<double, kEntries> table{};
  for (int i = 0; i < kEntries; ++i) {
    const double mean = kWays * static_cast<double>(i) / kPerCapacity;
    double term = std::exp(-mean), sum = 0;
    for (int k = 0; k < kWays; ++k) {
      sum += term;
      term *= mean / (k + 1);
    }
    table[static_cast<std::size_t>(i)] = sum;
  }
  return table;
}

}  // namespace

double l2_survival(double capacities) {
  static const std::array<double, kEntries> table = survival_table();
  const double at = capacities * kPerCapacity;
  if (at >= kEntries - 1) return 0;
  const auto low = static_cast<std::size_t>(at);
  const double share = at - static_cast<double>(low);
  return table[low] * (1 - share) + table[low + 1] * share;
}

}  // namespace tessera
