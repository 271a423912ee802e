// Slow policies of several lists, some of them ghosts.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <vector>

#include "tests/support/slow_policy.hpp"

namespace tessera::test {

class SlowSlru final : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  bool access(Key key) override {
    for (std::size_t s = 0; s < 4; ++s) {
      if (!has(segments_[s], key)) continue;
      segments_[s].remove(key);
      const std::size_t up = std::min<std::size_t>(s + 1, 3);
      segments_[up].push_back(key);
      for (std::size_t full = up; full > 0; --full)
        if (segments_[full].size() > most(full)) segments_[full - 1].push_back(take_oldest(segments_[full]));
      return true;
    }
    std::size_t residents = 0;
    for (const Keys& segment : segments_) residents += segment.size();
    if (residents == capacity())
      take_oldest(
          *std::find_if(segments_.begin(), segments_.end(), [](const Keys& s) { return !s.empty(); }));
    std::size_t lowest = 0;
    while (segments_[lowest].size() >= most(lowest)) ++lowest;
    segments_[lowest].push_back(key);
    return false;
  }
  [[nodiscard]] bool contains(Key key) const override {
    return std::any_of(segments_.begin(), segments_.end(), [key](const Keys& s) { return has(s, key); });
  }

 private:
  [[nodiscard]] std::size_t most(std::size_t segment) const {
    return capacity() / 4 + (segment < capacity() % 4 ? 1 : 0);
  }
  std::vector<Keys> segments_ = std::vector<Keys>(4);
};

class SlowTwoQ final : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  bool access(Key key) override {
    if (has(in_, key)) return true;
    if (has(main_, key)) {
      main_.remove(key);
      main_.push_back(key);
      return true;
    }
    const bool remembered = has(out_, key);
    out_.remove(key);
    if (in_.size() + main_.size() == capacity()) {
      if (in_.size() > capacity() / 4 || main_.empty()) {
        out_.push_back(take_oldest(in_));
        if (out_.size() > capacity() / 2) out_.pop_front();
      } else {
        main_.pop_front();
      }
    }
    (remembered ? main_ : in_).push_back(key);
    return false;
  }
  [[nodiscard]] bool contains(Key key) const override { return has(in_, key) || has(main_, key); }

 private:
  Keys in_, main_, out_;
};

class SlowArc final : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  bool access(Key key) override {
    const auto c = static_cast<std::int64_t>(capacity());
    const auto ratio = [](const Keys& a, const Keys& b) {
      return std::max<std::int64_t>(1, static_cast<std::int64_t>(a.size() / b.size()));
    };
    if (contains(key)) {  // case I
      t1_.remove(key);
      t2_.remove(key);
      t2_.push_back(key);
      return true;
    }
    if (has(b1_, key)) {  // case II
      p_ = std::min(c, p_ + ratio(b2_, b1_));
      replace(key);
      b1_.remove(key);
      t2_.push_back(key);
      return false;
    }
    if (has(b2_, key)) {  // case III
      p_ = std::max<std::int64_t>(0, p_ - ratio(b1_, b2_));
      replace(key);
      b2_.remove(key);
      t2_.push_back(key);
      return false;
    }
    if (t1_.size() + b1_.size() == capacity()) {  // case IV
      if (t1_.size() < capacity()) {
        b1_.pop_front();
        replace(key);
      } else {
        t1_.pop_front();
      }
    } else if (t1_.size() + t2_.size() + b1_.size() + b2_.size() >= capacity()) {
      if (t1_.size() + t2_.size() + b1_.size() + b2_.size() == 2 * capacity()) b2_.pop_front();
      replace(key);
    }
    t1_.push_back(key);
    return false;
  }
  [[nodiscard]] bool contains(Key key) const override { return has(t1_, key) || has(t2_, key); }

 private:
  void replace(Key key) {
    const auto t1 = static_cast<std::int64_t>(t1_.size());
    if (t1 >= 1 && ((has(b2_, key) && t1 == p_) || t1 > p_))
      b1_.push_back(take_oldest(t1_));
    else
      b2_.push_back(take_oldest(t2_));
  }
  Keys t1_, t2_, b1_, b2_;
  std::int64_t p_ = 0;
};

class SlowS3Fifo final : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  bool access(Key key) override {
    if (contains(key)) {
      ++hits_[key];
      return true;
    }
    const bool remembered = has(ghost_, key);
    ghost_.remove(key);
    const std::size_t small = std::max<std::size_t>(1, capacity() / 10);
    while (small_.size() + main_.size() == capacity()) {
      if (small_.size() >= small)
        evict_small();
      else
        evict_main();
    }
    (remembered ? main_ : small_).push_back(key);
    hits_[key] = 0;
    return false;
  }
  [[nodiscard]] bool contains(Key key) const override { return has(small_, key) || has(main_, key); }

 private:
  void evict_small() {
    while (!small_.empty()) {
      const Key key = take_oldest(small_);
      if (hits_[key] < 2) {
        ghost_.push_back(key);
        if (ghost_.size() > capacity() * 9 / 10) ghost_.pop_front();
        return;
      }
      main_.push_back(key);
      hits_[key] = 0;
    }
  }
  void evict_main() {
    for (;;) {
      const Key key = take_oldest(main_);
      if (hits_[key] == 0) return;
      hits_[key] = std::min(hits_[key], 3) - 1;
      main_.push_back(key);
    }
  }
  Keys small_, main_, ghost_;
  std::map<Key, int> hits_;
};

}  // namespace tessera::test
