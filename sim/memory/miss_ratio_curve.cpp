#include "sim/memory/miss_ratio_curve.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr std::uint32_t kNever = 0;  // times of last use count from 1

// The LRU stack of unbounded depth, as a Fenwick tree that counts the latest uses by time.
class LruStack {
 public:
  explicit LruStack(std::uint32_t distinct)
      : last_use_(distinct, kNever), tree_(std::size_t{distinct} * 2 + 2, 0) {
    TESSERA_CHECK(distinct < (1U << 31U) - 1, "times of use are 32 bits wide");
  }

  // Depth of the key in the stack, 1 on top; 0 if it was never used.
  [[nodiscard]] std::uint32_t depth(std::uint32_t id) const {
    const std::uint32_t time = last_use_[id];
    return time == kNever ? 0 : keys_ - count_to(time - 1);
  }

  void use(std::uint32_t id) {
    if (now_ + 1 == tree_.size()) renumber();
    if (last_use_[id] == kNever) {
      ++keys_;
    } else {
      change(last_use_[id], -1);
    }
    last_use_[id] = ++now_;
    change(now_, +1);
  }

 private:
  [[nodiscard]] std::uint32_t count_to(std::size_t time) const {
    std::int32_t sum = 0;
    for (; time > 0; time &= time - 1) sum += tree_[time];
    return static_cast<std::uint32_t>(sum);
  }
  void change(std::size_t time, std::int32_t by) {
    for (; time < tree_.size(); time += time & (~time + 1)) tree_[time] += by;
  }

  // Closes the holes that old uses left; at least half of the times become free again.
  void renumber() {
    std::vector<std::uint32_t> order;
    order.reserve(keys_);
    for (std::uint32_t id = 0; id < last_use_.size(); ++id) {
      if (last_use_[id] != kNever) order.push_back(id);
    }
    std::sort(order.begin(), order.end(),
              [this](std::uint32_t a, std::uint32_t b) { return last_use_[a] < last_use_[b]; });
    std::fill(tree_.begin(), tree_.end(), 0);
    now_ = 0;
    for (const std::uint32_t id : order) {
      last_use_[id] = ++now_;
      change(now_, +1);
    }
  }

  std::vector<std::uint32_t> last_use_;  // time, by key
  std::vector<std::int32_t> tree_;
  std::uint32_t keys_ = 0;
  std::uint32_t now_ = 0;
};

}  // namespace

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
