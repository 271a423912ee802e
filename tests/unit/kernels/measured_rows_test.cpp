#include "kernels/cost/measured_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

namespace tessera {
namespace {

TEST(MeasuredRows, FindsTheNearestRowsOfAll) {
  // Against looking at every row: outside the grid the answer is the weighted mean of the 16 nearest.
  std::mt19937 random(3);
  std::uniform_real_distribution<double> place(0, 10), height(-1, 1);
  std::vector<std::pair<MeasuredRows::Point, double>> all;
  MeasuredRows rows;
  for (int i = 0; i < 2000; ++i) {
    all.push_back({{place(random), place(random), place(random), place(random)}, height(random)});
    rows.add(all.back().first, all.back().second);
  }
  rows.finish();
  for (int i = 0; i < 100; ++i) {
    const MeasuredRows::Point at{place(random) - 1, place(random) + 1, place(random), place(random)};
    const auto distance = [&](const MeasuredRows::Point& p) {
      double sum = 0;
      for (std::size_t d = 0; d < p.size(); ++d) sum += (p[d] - at[d]) * (p[d] - at[d]);
      return std::sqrt(sum);
    };
    std::sort(all.begin(), all.end(),
              [&](const auto& a, const auto& b) { return distance(a.first) < distance(b.first); });
    double sum = 0, weights = 0;
    for (int j = 0; j < 16; ++j) {
      const double w = 1 / std::pow(distance(all[j].first) + 1e-3, 2);
      sum += w * all[j].second, weights += w;
    }
    EXPECT_NEAR(rows.log_utilisation(at, false), sum / weights, 1e-9);
  }
}

}  // namespace
}  // namespace tessera
