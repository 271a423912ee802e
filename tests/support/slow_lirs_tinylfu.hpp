// LIRS and W-TinyLFU, slowly.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "sim/memory/replacement/frequency_sketch.hpp"
#include "tests/support/slow_policy.hpp"

namespace tessera::test {

class SlowLirs final : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  bool access(Key key) override {
    const bool hit = contains(key);
    const bool in_stack = has(stack_, key);
    if (lir_.contains(key)) {
      to_top(key);
      prune();
      return true;
    }
    queue_.remove(key);
    gone_.remove(key);
    if (!hit && lir_.size() + queue_.size() == capacity()) {
      const Key victim = take_oldest(queue_);
      if (has(stack_, victim)) gone_.push_back(victim);
    }
    to_top(key);
    if (in_stack || (!hit && lir_.size() < most_lir())) {
      lir_.insert(key);
      if (lir_.size() > most_lir()) {
        prune();
        const Key bottom = take_oldest(stack_);
        lir_.erase(bottom);
        queue_.push_back(bottom);
        prune();
      }
    } else {
      queue_.push_back(key);
    }
    while (stack_.size() > 2 * capacity() && !gone_.empty()) stack_.remove(take_oldest(gone_));
    return hit;
  }
  [[nodiscard]] bool contains(Key key) const override { return lir_.contains(key) || has(queue_, key); }

 private:
  [[nodiscard]] std::size_t most_lir() const {
    return capacity() - std::max<std::size_t>(1, capacity() / 100);
  }
  void to_top(Key key) {
    stack_.remove(key);
    stack_.push_back(key);
  }
  void prune() {
    while (!stack_.empty() && !lir_.contains(stack_.front())) gone_.remove(take_oldest(stack_));
  }
  Keys stack_, queue_, gone_;
  std::set<Key> lir_;
};

class SlowWTinyLfu final : public SlowPolicy {
 public:
  explicit SlowWTinyLfu(const CacheSetup& setup) : SlowPolicy(setup), seen_(setup.most_residents()) {}
  bool access(Key key) override {
    seen_.add(key);
    const std::size_t window = std::max<std::size_t>(1, capacity() / 100);
    const std::size_t main = capacity() - window;
    for (Keys* list : {&window_, &protected_}) {
      if (!has(*list, key)) continue;
      list->remove(key);
      list->push_back(key);
      return true;
    }
    if (has(probation_, key)) {
      probation_.remove(key);
      protected_.push_back(key);
      if (protected_.size() > main * 8 / 10) probation_.push_back(take_oldest(protected_));
      return true;
    }
    if (window_.size() == window) {
      const Key candidate = take_oldest(window_);
      if (probation_.size() + protected_.size() < main) {
        probation_.push_back(candidate);
      } else if (!probation_.empty() && seen_.estimate(candidate) > seen_.estimate(probation_.front())) {
        probation_.pop_front();
        probation_.push_back(candidate);
      }
    }
    window_.push_back(key);
    return false;
  }
  [[nodiscard]] bool contains(Key key) const override {
    return has(window_, key) || has(probation_, key) || has(protected_, key);
  }

 private:
  FrequencySketch seen_;
  Keys window_, probation_, protected_;
};

}  // namespace tessera::test
