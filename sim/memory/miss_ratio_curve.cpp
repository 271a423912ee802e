#include "sim/memory/miss_ratio_curve.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "sim/memory/lru_stack.hpp"

namespace tessera {

MissRatioCurve::MissRatioCurve(const DenseTrace& trace)
    : prefix_hits_(std::size_t{trace.distinct()} + 1, 0),
      hits_(prefix_hits_.size(), 0),
      references_(static_cast<std::int64_t>(trace.references().size())) {
  LruStack stack(trace.distinct());
  const auto count_prefix = [&](std::span<const std::uint32_t> ids) {
    std::uint32_t deepest = 0;
    for (const std::uint32_t id : ids) {
      const std::uint32_t depth = stack.depth(id);
      if (depth == 0) return;
      deepest = std::max(deepest, depth);
      ++prefix_hits_[deepest];
    }
  };
  for (std::size_t i = 0; i < trace.requests(); ++i) {
    const auto ids = trace.request(i);
    if (!trace.keyed()) count_prefix(ids);
    for (const std::uint32_t id : ids) {
      if (const std::uint32_t depth = stack.depth(id); depth != 0) ++hits_[depth];
      stack.use(id);
    }
  }
  if (trace.keyed()) prefix_hits_ = hits_;  // the prefix of one key is the key
  // From hits at exactly this depth to hits at this capacity.
  std::partial_sum(prefix_hits_.begin(), prefix_hits_.end(), prefix_hits_.begin());
  std::partial_sum(hits_.begin(), hits_.end(), hits_.begin());
}

}  // namespace tessera
