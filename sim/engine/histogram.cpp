#include "sim/engine/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace tessera {

void Histogram::merge(const Histogram& other) {
  if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
  for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

// Inverts bucket_of: buckets 0..255 are the integers themselves, later ones 2^shift wide.
double Histogram::middle_of(std::size_t bucket) {
  constexpr std::size_t kSub = std::size_t{1} << kSubBits;
  if (bucket < 2 * kSub) return static_cast<double>(bucket);
  const auto shift = static_cast<int>(bucket / kSub) - 1;
  const std::size_t mantissa = bucket % kSub + kSub;
  const double width = std::ldexp(1.0, shift);
  return static_cast<double>(mantissa) * width + (width - 1) / 2;
}

double Histogram::percentile(double q) const {
  if (!(q >= 0 && q <= 1)) throw std::logic_error("Histogram: a percentile outside [0, 1]");
  if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
  const auto rank = static_cast<std::int64_t>(std::floor(static_cast<double>(count_ - 1) * q));
  if (rank == 0) return static_cast<double>(min_);
  if (rank >= count_ - 1) return static_cast<double>(max_);
  std::int64_t below = 0;
  std::size_t bucket = 0;
  while (below + counts_[bucket] <= rank) below += counts_[bucket++];
  // The ends of the range are known exactly, which only ever brings the answer closer.
  return std::clamp(middle_of(bucket), static_cast<double>(min_), static_cast<double>(max_));
}

}  // namespace tessera
