// LFU: the key with the fewest uses since it was inserted goes first; among equals the one used longest
// ago. A key that comes back starts at one use again ("in-cache" LFU, as in libCacheSim, whose lists by
// frequency give the same order); a perfect LFU would remember. With sizes it evicts until the new key
// fits.
#pragma once

#include "sim/memory/lazy_heap.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class Lfu {
 public:
  explicit Lfu(const CacheSetup& setup) : weight_(setup), keys_(setup.distinct), room_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].uses != 0; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&keys_[id], 1); }

  bool access(std::uint32_t id) {
    const bool hit = contains(id);
    if (!hit) {
      while (room_ < weight_(id)) evict();
      room_ -= weight_(id);
    }
    ++keys_[id].uses;
    keys_[id].last_use = ++now_;
    if (!hit) order_.push(id, priority(id));
    return hit;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    const std::uint32_t victim = order_.pop([this](std::uint32_t key) { return priority(key); },
                                            [this](std::uint32_t key) { prefetch(key); });
    keys_[victim].uses = 0;
    room_ += weight_(victim);
    return victim;
  }

 private:
  struct Key {
    std::uint32_t uses = 0;  // 0: not resident
    std::uint32_t last_use = 0;
  };
  [[nodiscard]] Priority priority(std::uint32_t id) const { return {keys_[id].uses, keys_[id].last_use}; }

  [[no_unique_address]] Weights weight_;
  HugeVector<Key> keys_;
  LazyHeap order_;
  std::int64_t room_;
  std::uint32_t now_ = 0;
};

}  // namespace tessera
