// Which of several engines acts next, the first named first where times are equal.
//
// A tournament over their next actions: a new time for one engine replays its matches alone, O(log engines),
// and the runner-up is among those that lost to the winner.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

namespace tessera {

class ActionOrder {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  explicit ActionOrder(std::size_t engines)
      : leaves_(std::bit_ceil(std::max<std::size_t>(engines, 1))), times_(leaves_, kNever), best_(leaves_) {
    for (std::size_t at = leaves_; at-- > 1;) best_[at] = better(2 * at);
  }

  void set(std::size_t engine, std::int64_t acts_ps) {
    times_[engine] = acts_ps;
    for (std::size_t at = (leaves_ + engine) / 2; at > 0; at /= 2) best_[at] = better(2 * at);
  }
  // The engine that acts first, and when; kNever: none does.
  [[nodiscard]] std::size_t first() const { return winner(1); }
  [[nodiscard]] std::int64_t first_ps() const { return times_[first()]; }
  // When the first of the others acts.
  [[nodiscard]] std::int64_t second_ps() const {
    std::int64_t second = kNever;
    for (std::size_t at = leaves_ + first(); at > 1; at /= 2)
      second = std::min(second, times_[winner(at ^ 1U)]);
    return second;
  }

 private:
  // Of the engines below a place of the tree: children of `at` are 2 at and 2 at + 1, engine i is the leaf
  // leaves_ + i.
  [[nodiscard]] std::size_t winner(std::size_t at) const { return at >= leaves_ ? at - leaves_ : best_[at]; }
  [[nodiscard]] std::size_t better(std::size_t left) const {
    const std::size_t a = winner(left), b = winner(left + 1);
    return times_[b] < times_[a] ? b : a;
  }

  std::size_t leaves_;
  std::vector<std::int64_t> times_;
  std::vector<std::size_t> best_;
};

}  // namespace tessera
