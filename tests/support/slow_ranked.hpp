// Slow policies that evict the resident of least rank, the oracle, and the tree whose leaves go first.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/support/slow_single_list.hpp"

namespace tessera::test {

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

}  // namespace tessera::test
