// The LRU stack of unbounded depth, as a Fenwick tree that counts the latest uses by time. The stack
// distance of a reference is the number of different keys used since the last use of its own, itself
// included; LRU of capacity C hits exactly when that is at most C (Mattson et al., IBM Systems Journal
// 9(2), 1970). Times are renumbered when they run out, so memory follows the number of different keys:
// O(log keys) a reference.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/base/check.hpp"

namespace tessera {

class LruStack {
 public:
  explicit LruStack(std::uint32_t distinct)
      : last_use_(distinct, kNever), tree_(std::size_t{distinct} * 2 + 2, 0) {
    TESSERA_CHECK(distinct < (1U << 31U) - 1, "times of use are 32 bits wide");
  }

  // Depth of the key in the stack, 1 on top; 0 if it is not there.
  [[nodiscard]] std::uint32_t depth(std::uint32_t id) const {
    const std::uint32_t time = last_use_[id];
    return time == kNever ? 0 : keys_ - count_to(time - 1);
  }

  void use(std::uint32_t id) {
    if (now_ + 1 == tree_.size()) renumber();
    drop(id);
    ++keys_;
    last_use_[id] = ++now_;
    change(now_, +1);
  }

  // Takes the key out, as if it had never been used. Does nothing if it is not there.
  void drop(std::uint32_t id) {
    if (last_use_[id] == kNever) return;
    change(last_use_[id], -1);
    last_use_[id] = kNever;
    --keys_;
  }

 private:
  static constexpr std::uint32_t kNever = 0;  // times of last use count from 1

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

}  // namespace tessera
