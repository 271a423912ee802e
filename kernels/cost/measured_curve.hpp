// Measurements of one kernel that differ in size alone: utilisation between two of them. Where everything but
// the size is fixed (one expert layer, one collective of one group) nothing lies between but the size.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>

#include "models/base/check.hpp"

namespace tessera {

// ln u over log2 of the size, linear between neighbours, held beyond the ends. Sizes measured twice count
// with their mean.
class MeasuredCurve {
 public:
  void add(double size, double log_utilisation) {
    TESSERA_CHECK(size > 0, "a measured size");
    Point& p = points_[size];
    p.sum += log_utilisation, p.count += 1;
  }
  [[nodiscard]] bool contains(double size) const {
    return !points_.empty() && size >= points_.begin()->first && size <= points_.rbegin()->first;
  }
  [[nodiscard]] double log_utilisation(double size) const {
    TESSERA_CHECK(!points_.empty(), "utilisation is asked of measured rows");
    const auto above = points_.lower_bound(size);
    if (above == points_.end()) return points_.rbegin()->second.mean();
    if (above == points_.begin() || above->first == size) return above->second.mean();
    const auto below = std::prev(above);
    const double share = std::log2(size / below->first) / std::log2(above->first / below->first);
    return below->second.mean() + share * (above->second.mean() - below->second.mean());
  }

 private:
  struct Point {
    double sum = 0, count = 0;
    [[nodiscard]] double mean() const { return sum / count; }
  };
  std::map<double, Point> points_;
};

}  // namespace tessera
