// LRU: the key used longest ago goes first. A doubly linked list threaded through an array indexed by
// key, eight bytes each. Keeps what the last `capacity` different keys used are, hence a larger LRU
// cache holds all that a smaller one does (Mattson et al., IBM Systems Journal 9(2), 1970). With sizes
// it evicts until the new key fits, and the inclusion holds no longer.
#pragma once

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class Lru {
 public:
  explicit Lru(const CacheSetup& setup) : weight_(setup), keys_(setup.distinct, 1), room_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].newer != kAbsent; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    if (contains(id)) {
      keys_.make_newest(0, id);
      return true;
    }
    while (room_ < weight_(id)) evict();
    room_ -= weight_(id);
    keys_.push_newest(0, id);
    return false;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    const std::uint32_t victim = keys_.pop_oldest(0);
    keys_[victim].newer = kAbsent;
    room_ += weight_(victim);
    return victim;
  }
  void erase(std::uint32_t id) {
    keys_.remove(id);
    keys_[id].newer = kAbsent;
    room_ += weight_(id);
  }

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};
  struct Node {
    std::uint32_t newer = kAbsent;
    std::uint32_t older = kAbsent;
  };

  [[no_unique_address]] Weights weight_;
  LinkedLists<Node> keys_;
  std::int64_t room_;
};

}  // namespace tessera
