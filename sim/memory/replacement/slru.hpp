// SLRU, segmented LRU (Karedla, Love, Wherry, IEEE Computer 27(3), 1994), with four segments of equal
// size, each an LRU list. A hit moves a key to the newest end of the next segment (of the last one, to
// its own newest end); a segment over its size hands its oldest key down to the newest end of the one
// below. Out of room, the oldest key of the lowest segment that has one is evicted.
//
// A new key enters the lowest segment with room, which is the lowest of all once the cache is full. That
// is libCacheSim's rule; the paper has two segments and fills only the lower one. Segments take what is
// left over when the capacity is no multiple of four, lowest first.
#pragma once

#include <array>

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class Slru {
 public:
  explicit Slru(const CacheSetup& setup) : keys_(setup.distinct, kSegments), room_(setup.capacity) {
    for (std::uint32_t s = 0; s < kSegments; ++s)
      room_in_[s] = setup.capacity / kSegments + (s < setup.capacity % kSegments ? 1 : 0);
  }

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].segment != kAbsent; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    if (contains(id)) {
      promote(id);
      return true;
    }
    if (room_ == 0) evict();
    --room_;
    std::uint32_t lowest = 0;
    while (room_in_[lowest] == 0) ++lowest;
    enter(lowest, id);
    return false;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    std::uint32_t lowest = 0;
    while (keys_.empty(lowest)) ++lowest;
    const std::uint32_t victim = keys_.oldest(lowest);
    erase(victim);
    keys_.prefetch(keys_.oldest(lowest));
    return victim;
  }
  void erase(std::uint32_t id) {
    const std::uint32_t segment = keys_[id].segment;
    keys_.remove(id);
    keys_[id].segment = kAbsent;
    ++room_in_[segment];
    ++room_;
  }

 private:
  static constexpr std::uint32_t kSegments = 4;
  static constexpr std::uint32_t kAbsent = kSegments;
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    std::uint32_t segment = kAbsent;
  };

  void enter(std::uint32_t segment, std::uint32_t id) {
    keys_[id].segment = segment;
    keys_.push_newest(segment, id);
    --room_in_[segment];
  }
  void promote(std::uint32_t id) {
    const std::uint32_t from = keys_[id].segment;
    if (from + 1 == kSegments) {
      keys_.make_newest(from, id);
      return;
    }
    keys_.remove(id);
    ++room_in_[from];
    enter(from + 1, id);
    // Down to the place the key has left there is at most one key too many in each segment.
    for (std::uint32_t s = from + 1; s > from && room_in_[s] < 0; --s) {
      const std::uint32_t cooled = keys_.pop_oldest(s);
      ++room_in_[s];
      enter(s - 1, cooled);
    }
  }

  LinkedLists<Node> keys_;
  std::array<std::int64_t, kSegments> room_in_{};
  std::int64_t room_;
};

}  // namespace tessera
