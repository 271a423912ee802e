// Plain statistics of a run. A Counter counts; a Gauge is a level that holds until it is set again,
// so its mean weighs every level by how long it lasted. Histograms and percentiles come along.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "sim/engine/histogram.hpp"
#include "sim/engine/percentile.hpp"

namespace tessera {

class Counter {
 public:
  void add(std::int64_t n = 1) { value_ += n; }
  [[nodiscard]] std::int64_t value() const { return value_; }

 private:
  std::int64_t value_ = 0;
};

class Gauge {
 public:
  explicit Gauge(std::int64_t start_ps = 0, std::int64_t level = 0)
      : start_(start_ps), since_(start_ps), level_(level), max_(level) {}

  // The level is `level` from time `now` on. Levels that last no time count for max() alone.
  void set(std::int64_t now, std::int64_t level) {
    if (now < since_) throw std::logic_error("Gauge: time ran backwards");
    area_ += static_cast<Wide>(level_) * (now - since_);
    since_ = now;
    level_ = level;
    max_ = std::max(max_, level);
  }
  void add(std::int64_t now, std::int64_t change) { set(now, level_ + change); }

  [[nodiscard]] std::int64_t level() const { return level_; }
  [[nodiscard]] std::int64_t max() const { return max_; }
  // Mean level from the start to `now`, which must not lie before the last change; NaN over no time.
  [[nodiscard]] double mean(std::int64_t now) const {
    if (now < since_) throw std::logic_error("Gauge: time ran backwards");
    if (now == start_) return std::numeric_limits<double>::quiet_NaN();
    const Wide area = area_ + static_cast<Wide>(level_) * (now - since_);
    return static_cast<double>(area) / static_cast<double>(now - start_);
  }

 private:
  __extension__ using Wide = __int128;  // bytes times picoseconds pass 64 bits

  std::int64_t start_;
  std::int64_t since_;
  std::int64_t level_;
  std::int64_t max_;
  Wide area_ = 0;
};

}  // namespace tessera
