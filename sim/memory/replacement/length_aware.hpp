// Length-aware: the block that stands farthest from the front of its prompt goes first, among equals the
// one with the fewest uses, then the one used longest ago. Since a prefix hit ends at the first miss, a
// block is worth nothing without all before it, and short prompts are worth more a block than long ones.
//
// The first Mooncake paper (arXiv 2407.00079v1) compares a LengthAwareCache, which it describes as LFU that
// prefers to evict what stands later in requests, and gives no formula: position before uses is our
// reading. Position is that of the insertion; on a key trace all are 0, and this is LFU. No ageing: what
// stands near the front of an old prompt stays.
#pragma once

#include "sim/memory/lazy_heap.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class LengthAware {
 public:
  explicit LengthAware(const CacheSetup& setup) : keys_(setup.distinct), room_(setup.capacity) {}

  void begin_request(std::int64_t, std::span<const std::uint32_t>) { position_ = 0; }

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].uses != 0; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&keys_[id], 1); }

  bool access(std::uint32_t id) {
    Key& key = keys_[id];
    const bool hit = key.uses != 0;
    if (!hit) {
      key.position = position_;
      if (room_ == 0) evict();
      --room_;
    }
    ++position_;
    ++key.uses;
    key.last_use = ++now_;
    if (!hit) order_.push(id, priority(id));
    return hit;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    const std::uint32_t victim = order_.pop([this](std::uint32_t other) { return priority(other); },
                                            [this](std::uint32_t other) { prefetch(other); });
    keys_[victim].uses = 0;
    ++room_;
    return victim;
  }
  // The next access is of the block that stands here in its prompt.
  void go_to(std::uint32_t position) { position_ = position; }

 private:
  struct Key {
    std::uint32_t position = 0;
    std::uint32_t uses = 0;  // 0: not resident
    std::uint32_t last_use = 0;
  };
  [[nodiscard]] Priority priority(std::uint32_t id) const {
    const Key& key = keys_[id];
    return {std::uint64_t{~key.position} << 32U | key.uses, key.last_use};
  }

  HugeVector<Key> keys_;
  LazyHeap order_;
  std::int64_t room_;
  std::uint32_t now_ = 0;
  std::uint32_t position_ = 0;  // in the prompt, of the next access
};

static_assert(FollowsRequests<LengthAware>);

}  // namespace tessera
