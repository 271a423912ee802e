#include "sim/memory/sampled_curve.hpp"

#include <algorithm>
#include <cmath>
#include <queue>

#include "sim/memory/block_hash.hpp"
#include "sim/memory/lru_stack.hpp"

namespace tessera {

SampledCurve SampledCurve::fixed_rate(const DenseTrace& trace, double rate, std::uint64_t seed) {
  TESSERA_CHECK(rate > 0 && rate <= 1, "a rate is a share of the keys");
  return {trace, rate, trace.distinct(), seed};
}

SampledCurve SampledCurve::fixed_size(const DenseTrace& trace, std::size_t most_keys, std::uint64_t seed) {
  TESSERA_CHECK(most_keys > 0, "a sample holds something");
  return {trace, 1, most_keys, seed};
}

SampledCurve::SampledCurve(const DenseTrace& trace, double rate, std::size_t most_keys, std::uint64_t seed)
    : references_(static_cast<double>(trace.references().size())), rate_(rate) {
  constexpr double kAll = 0x1p64;
  const std::uint64_t salt = mix64(seed + 1);
  const auto hash = [salt](std::uint32_t id) { return mix64(id ^ salt); };
  // 2^64 itself does not fit: at rate 1 the one key whose hash is the largest number is left out.
  std::uint64_t threshold = rate >= 1 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(std::ldexp(rate, 64));
  LruStack stack(trace.distinct());
  std::priority_queue<std::pair<std::uint64_t, std::uint32_t>> tracked;  // largest hash on top
  double stood_for = 0;
  for (const std::uint32_t id : trace.references()) {
    const std::uint64_t h = hash(id);
    if (h >= threshold) continue;
    const double weight = 1 / rate_;
    stood_for += weight;
    if (const std::uint32_t depth = stack.depth(id); depth != 0) {
      steps_.push_back({1 + (depth - 1) * weight, weight});
      stack.use(id);
      continue;
    }
    stack.use(id);
    tracked.emplace(h, id);
    if (tracked.size() <= most_keys) continue;
    threshold = tracked.top().first;
    rate_ = static_cast<double>(threshold) / kAll;
    stack.drop(tracked.top().second);
    tracked.pop();
  }
  keys_ = tracked.size();
  correction_ = references_ - stood_for;
  std::sort(steps_.begin(), steps_.end(),
            [](const Step& a, const Step& b) { return a.distance < b.distance; });
  double sum = 0;
  for (Step& step : steps_) step.references = sum += step.references;
}

double SampledCurve::miss_ratio(std::uint32_t blocks) const {
  if (references_ == 0) return 0;
  if (blocks == 0) return 1;
  const auto beyond =
      std::upper_bound(steps_.begin(), steps_.end(), static_cast<double>(blocks),
                       [](double capacity, const Step& step) { return capacity < step.distance; });
  const double hits = correction_ + (beyond == steps_.begin() ? 0 : std::prev(beyond)->references);
  return std::clamp(1 - hits / references_, 0.0, 1.0);
}

}  // namespace tessera
