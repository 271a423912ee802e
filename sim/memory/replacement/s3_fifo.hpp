// S3-FIFO (Yang et al., SOSP 2023, algorithm 1): three FIFO queues. New keys enter Small; a miss found in
// Ghost, which remembers the last 90 % of a capacity of keys that left Small for good, enters Main. Hits
// only count. Out of room, Small gives way while it holds its 10 % (at least one key) or more: its oldest
// moves to Main with its count cleared if it was hit at least twice, else it is evicted into Ghost.
// Otherwise the oldest of Main goes round with min(count, 3) - 1, or is evicted at 0.
//
// libCacheSim's present S3FIFO.c differs while the cache has never been full: new keys then enter Main once
// Small has its share. Its S3FIFOv0.c is the paper's rule, followed here; on a Zipf trace of ten million
// requests the other has 0.1 points fewer misses.
#pragma once

#include <algorithm>

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class S3Fifo {
 public:
  explicit S3Fifo(const CacheSetup& setup)
      : keys_(setup.distinct, 3),
        room_(setup.capacity),
        room_small_(std::max<std::int64_t>(1, setup.capacity / 10)),
        room_ghost_(setup.capacity * 9 / 10) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].queue <= kMain; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    Node& key = keys_[id];
    if (key.queue <= kMain) {
      key.hits = static_cast<std::uint16_t>(std::min(key.hits + 1, kMostHits));
      return true;
    }
    const bool remembered = key.queue == kGhost;
    if (remembered) {
      keys_.remove(id);
      ++room_ghost_;
      key.queue = kAbsent;
    }
    if (room_ == 0) evict();
    --room_;
    enter(remembered ? kMain : kSmall, id, 0);
    return false;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    for (;;) {
      const bool from_main = keys_.empty(kSmall) || (room_small_ > 0 && !keys_.empty(kMain));
      const std::uint32_t victim = from_main ? evict_main() : evict_small();
      if (victim != kNone) return victim;
    }
  }
  void erase(std::uint32_t id) {
    if (keys_[id].queue == kSmall) ++room_small_;
    keys_.remove(id);
    keys_[id].queue = kAbsent;
    ++room_;
  }

 private:
  static constexpr int kMostHits = 3;  // more makes no difference
  static constexpr int kHitsToMain = 2;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  enum Queue : std::uint16_t { kSmall, kMain, kGhost, kAbsent };
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    Queue queue = kAbsent;
    std::uint16_t hits = 0;
  };

  void enter(Queue queue, std::uint32_t id, int hits) {
    keys_[id].queue = queue;
    keys_[id].hits = static_cast<std::uint16_t>(hits);
    keys_.push_newest(queue, id);
    if (queue == kSmall) --room_small_;
  }

  // Frees one place and says whose, or empties Small into Main.
  std::uint32_t evict_small() {
    while (!keys_.empty(kSmall)) {
      const std::uint32_t id = keys_.pop_oldest(kSmall);
      ++room_small_;
      if (keys_[id].hits >= kHitsToMain) {
        enter(kMain, id, 0);
        continue;
      }
      ++room_;
      enter(kGhost, id, 0);
      if (room_ghost_ > 0)
        --room_ghost_;
      else
        keys_[keys_.pop_oldest(kGhost)].queue = kAbsent;
      return id;
    }
    return kNone;
  }
  std::uint32_t evict_main() {
    for (;;) {
      const std::uint32_t id = keys_.pop_oldest(kMain);
      if (keys_[id].hits == 0) {
        keys_[id].queue = kAbsent;
        ++room_;
        return id;
      }
      enter(kMain, id, keys_[id].hits - 1);
    }
  }

  LinkedLists<Node> keys_;
  std::int64_t room_;
  std::int64_t room_small_;  // below 0: Small holds more than its share
  std::int64_t room_ghost_;
};

}  // namespace tessera
