// Slow policies with one list of residents in order of insertion or use.
#pragma once

#include <set>

#include "sim/memory/block_hash.hpp"
#include "tests/support/slow_policy.hpp"

namespace tessera::test {

// Policies with one set of residents, kept in order of insertion.
class SlowSingle : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  bool access(Key key) override {
    ++now_;
    const bool hit = contains(key);
    if (!hit) {
      while (over(keys_, key)) evict();
      keys_.push_back(key);
    }
    used(key, hit);
    return hit;
  }
  [[nodiscard]] bool contains(Key key) const override { return has(keys_, key); }

 protected:
  virtual void evict() = 0;
  virtual void used(Key key, bool hit) = 0;
  Keys keys_;
  std::int64_t now_ = 0;
};

class SlowFifo final : public SlowSingle {
  using SlowSingle::SlowSingle;
  void evict() override { keys_.pop_front(); }
  void used(Key, bool) override {}
};

class SlowLru final : public SlowSingle {
  using SlowSingle::SlowSingle;
  void evict() override { keys_.pop_front(); }
  void used(Key key, bool) override {
    keys_.remove(key);
    keys_.push_back(key);
  }
};

class SlowClock final : public SlowSingle {
  using SlowSingle::SlowSingle;
  void evict() override {
    while (referenced_.erase(keys_.front()) > 0) keys_.splice(keys_.end(), keys_, keys_.begin());
    keys_.pop_front();
  }
  void used(Key key, bool hit) override {
    if (hit) referenced_.insert(key);
  }
  std::set<Key> referenced_;
};

class SlowSieve final : public SlowSingle {
  using SlowSingle::SlowSingle;
  void evict() override {
    if (hand_ == keys_.end()) hand_ = keys_.begin();
    while (visited_.erase(*hand_) > 0)
      if (++hand_ == keys_.end()) hand_ = keys_.begin();
    hand_ = keys_.erase(hand_);
    at_end_ = hand_ == keys_.end();
  }
  void used(Key key, bool hit) override {
    if (hit) visited_.insert(key);
    // The hand past the head stays past it, whatever enters there: it starts at the tail again.
    if (at_end_) hand_ = keys_.end();
  }
  std::set<Key> visited_;
  Keys::iterator hand_ = keys_.end();
  bool at_end_ = true;
};

class SlowRandom final : public SlowSingle {
  using SlowSingle::SlowSingle;
  void evict() override {
    state_ += 0x9E3779B97F4A7C15;
    const std::size_t at = (mix64(state_) >> 32U) * places_.size() >> 32U;
    keys_.remove(places_[at]);
    places_[at] = places_.back();
    places_.pop_back();
  }
  void used(Key key, bool hit) override {
    if (!hit) places_.push_back(key);
  }
  std::vector<Key> places_;
  std::uint64_t state_ = setup_.seed;
};

}  // namespace tessera::test
