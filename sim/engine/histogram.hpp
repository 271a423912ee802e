// A log-linear histogram of non-negative integers, for values too many to keep (every gap between
// two tokens, every transfer).
//
// Each power of two is split into 128 equal buckets; below 256 every integer has its own. A
// percentile answers with the middle of its bucket, at most 1/256 = 0.39 % off the sample it stands
// for. Count, sum, mean, minimum and maximum are exact. Memory follows the largest value seen and
// never passes 58 KB. The idea is HdrHistogram's.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

namespace tessera {

class Histogram {
 public:
  // Counts `value` `count` times.
  void add(std::int64_t value, std::int64_t count = 1) {
    if (value < 0 || count < 0) throw std::logic_error("Histogram: a value or count below zero");
    if (count == 0) return;
    const std::size_t bucket = bucket_of(value);
    if (bucket >= counts_.size()) counts_.resize(bucket + 1);
    counts_[bucket] += count;
    count_ += count;
    sum_ += static_cast<Wide>(value) * count;
    min_ = value < min_ ? value : min_;
    max_ = value > max_ ? value : max_;
  }

  void merge(const Histogram& other);

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] std::int64_t min() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] std::int64_t max() const { return count_ == 0 ? 0 : max_; }
  // NaN when nothing was added.
  [[nodiscard]] double mean() const {
    return count_ == 0 ? std::numeric_limits<double>::quiet_NaN()
                       : static_cast<double>(sum_) / static_cast<double>(count_);
  }
  // The sample of rank floor((count - 1) * q), q in [0, 1], to within half a bucket; NaN when empty.
  [[nodiscard]] double percentile(double q) const;

 private:
  __extension__ using Wide = __int128;  // picoseconds times counts pass 64 bits within hours of tokens
  static constexpr int kSubBits = 7;

  static std::size_t bucket_of(std::int64_t value) {
    const auto x = static_cast<std::uint64_t>(value);
    const auto shift = static_cast<int>(std::bit_width(x >> (kSubBits + 1)));
    return (static_cast<std::size_t>(shift) << kSubBits) + static_cast<std::size_t>(x >> shift);
  }
  static double middle_of(std::size_t bucket);

  std::vector<std::int64_t> counts_;
  std::int64_t count_ = 0;
  Wide sum_ = 0;
  std::int64_t min_ = std::numeric_limits<std::int64_t>::max();
  std::int64_t max_ = 0;
};

}  // namespace tessera
