// Replacement policies once more, in lists and maps, as their papers tell them: what the fast ones are
// compared with. A list has its oldest key in front. Nothing here is shared with sim/memory but the
// frequency sketch, which has tests of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <vector>

#include "sim/memory/block_hash.hpp"
#include "sim/memory/replacement.hpp"
#include "sim/memory/replacement/frequency_sketch.hpp"

namespace tessera::test {

using Key = std::uint32_t;
using Keys = std::list<Key>;

inline bool has(const Keys& keys, Key key) { return std::find(keys.begin(), keys.end(), key) != keys.end(); }
inline Key take_oldest(Keys& keys) {
  const Key key = keys.front();
  keys.pop_front();
  return key;
}

class SlowPolicy {
 public:
  explicit SlowPolicy(const CacheSetup& setup) : setup_(setup) {}
  virtual ~SlowPolicy() = default;
  virtual void begin_request(std::int64_t) {}
  virtual bool access(Key key) = 0;
  [[nodiscard]] virtual bool contains(Key key) const = 0;

 protected:
  [[nodiscard]] std::int64_t weight(Key key) const { return setup_.sizes.empty() ? 1 : setup_.sizes[key]; }
  [[nodiscard]] std::int64_t weight(const Keys& keys) const {
    std::int64_t sum = 0;
    for (const Key key : keys) sum += weight(key);
    return sum;
  }
  [[nodiscard]] bool over(const Keys& keys, Key newcomer) const {
    return weight(keys) + weight(newcomer) > setup_.capacity;
  }
  [[nodiscard]] std::size_t capacity() const { return static_cast<std::size_t>(setup_.capacity); }
  CacheSetup setup_;
};

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

// Evicts the resident with the least rank.
template <class Rank>
class SlowRanked : public SlowSingle {
 public:
  using SlowSingle::SlowSingle;

 protected:
  void evict() override {
    const auto least = std::min_element(keys_.begin(), keys_.end(),
                                        [this](Key a, Key b) { return rank_.at(a) < rank_.at(b); });
    evicted(*least);
    rank_.erase(*least);
    keys_.erase(least);
  }
  virtual void evicted(Key) {}
  std::map<Key, Rank> rank_;
};

class SlowLfu final : public SlowRanked<std::pair<std::int64_t, std::int64_t>> {  // uses, last use
  using SlowRanked::SlowRanked;
  void used(Key key, bool) override { rank_[key] = {rank_[key].first + 1, now_}; }
};

class SlowGdsf final : public SlowRanked<std::pair<double, std::int64_t>> {  // H, last use
  using SlowRanked::SlowRanked;
  void used(Key key, bool) override {
    const double cost = setup_.costs.empty() ? 1 : setup_.costs[key];
    rank_[key] = {age_ + static_cast<double>(++uses_[key]) * (cost / static_cast<double>(weight(key))), now_};
  }
  void evicted(Key key) override {
    age_ = rank_[key].first;
    uses_.erase(key);
  }
  std::map<Key, std::int64_t> uses_;
  double age_ = 0;
};

class SlowLengthAware final : public SlowRanked<std::tuple<std::int64_t, std::int64_t, std::int64_t>> {
  using SlowRanked::SlowRanked;
  void begin_request(std::int64_t) override { position_ = 0; }
  void used(Key key, bool hit) override {
    const std::int64_t position = hit ? std::get<0>(rank_[key]) : -position_;
    rank_[key] = {position, hit ? std::get<1>(rank_[key]) + 1 : 1, now_};
    ++position_;
  }
  std::int64_t position_ = 0;
};

class SlowTtl final : public SlowRanked<std::int64_t> {  // number of the last use
  using SlowRanked::SlowRanked;
  void begin_request(std::int64_t time) override {
    time_ = time;
    std::erase_if(keys_, [this](Key key) { return time_ - last_use_.at(key) > setup_.time_to_live; });
  }
  void used(Key key, bool) override {
    rank_[key] = now_;
    last_use_[key] = time_;
  }
  std::map<Key, std::int64_t> last_use_;
  std::int64_t time_ = 0;
};

class SlowBelady final : public SlowSingle {
 public:
  explicit SlowBelady(const CacheSetup& setup) : SlowSingle(setup) {
    for (std::size_t i = 0; i < setup.future.size(); ++i)
      uses_[setup.future[i]].insert(static_cast<std::int64_t>(i));
  }

 private:
  // now_ is one more than the number of the reference at work.
  [[nodiscard]] std::int64_t next_use(Key key) const {
    const auto next = uses_.at(key).lower_bound(now_);
    return next == uses_.at(key).end() ? INT64_MAX : *next;
  }
  void evict() override {
    keys_.erase(std::max_element(keys_.begin(), keys_.end(), [this](Key a, Key b) {
      return std::pair(next_use(a), a) < std::pair(next_use(b), b);
    }));
  }
  void used(Key, bool) override {}
  std::map<Key, std::set<std::int64_t>> uses_;
};

// A tree: only leaves go. Time is that of the request, as in SGLang; of the leaves of one time, which lie
// on one path, there is one.
class SlowLeafFirst final : public SlowPolicy {
 public:
  using SlowPolicy::SlowPolicy;
  void begin_request(std::int64_t) override {
    path_.clear();
    ++request_;
  }
  bool access(Key key) override {
    const bool hit = contains(key);
    const bool reachable = path_.empty() || contains(path_.back());
    if (!hit && reachable && nodes_.size() == capacity()) evict();
    if (!hit && reachable && nodes_.size() < capacity())
      nodes_[key].parent = path_.empty() ? kRoot : path_.back();
    if (contains(key)) nodes_[key].time = request_;
    path_.push_back(key);
    return hit;
  }
  [[nodiscard]] bool contains(Key key) const override { return nodes_.contains(key); }

 private:
  static constexpr Key kRoot = ~Key{0};
  struct Node {
    Key parent = kRoot;
    std::int64_t time = 0;
  };
  [[nodiscard]] bool leaf(Key key) const {
    return std::none_of(nodes_.begin(), nodes_.end(),
                        [key](const auto& node) { return node.second.parent == key; });
  }
  void evict() {
    auto oldest = nodes_.end();
    for (auto node = nodes_.begin(); node != nodes_.end(); ++node) {
      if (oldest != nodes_.end() && node->second.time >= oldest->second.time) continue;
      const bool locked = std::find(path_.begin(), path_.end(), node->first) != path_.end();
      if (!locked && leaf(node->first)) oldest = node;
    }
    if (oldest != nodes_.end()) nodes_.erase(oldest);
  }
  std::map<Key, Node> nodes_;
  std::vector<Key> path_;  // of the request at work
  std::int64_t request_ = 0;
};

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
