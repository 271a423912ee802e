// W-TinyLFU (Einziger, Friedman, Manes, ACM TOS 13(4), 2017): new keys enter Window, an LRU list of 1 %
// of the capacity (at least one key). What falls out of it is a candidate for Main, an SLRU of Probation
// (entered there) and Protected (80 % of Main, entered by a hit; overflow goes back to Probation). If Main
// is full the candidate takes the place of Probation's oldest only if a sketch of recent frequencies
// (frequency_sketch.hpp) has seen it more often; else it is evicted itself.
//
// Every access counts in the sketch, as in Caffeine; no doorkeeper, no jitter for ties, no adaptive
// window. libCacheSim differs: it counts hits of Main and insertions only, and again each candidate.
#pragma once

#include <algorithm>

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"
#include "sim/memory/replacement/frequency_sketch.hpp"

namespace tessera {

class WTinyLfu {
 public:
  explicit WTinyLfu(const CacheSetup& setup)
      : keys_(setup.distinct, 3),
        seen_(setup.most_residents()),
        room_window_(std::max<std::int64_t>(1, setup.capacity / 100)),
        room_main_(setup.capacity - room_window_),
        room_protected_(room_main_ * 8 / 10) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].list != kAbsent; }
  void prefetch(std::uint32_t id) const {
    keys_.prefetch(id);
    seen_.prefetch(id);
  }

  bool access(std::uint32_t id) {
    seen_.add(id);
    Node& key = keys_[id];
    switch (key.list) {
      case kWindow:
      case kProtected:
        keys_.make_newest(key.list, id);
        return true;
      case kProbation:
        protect(id);
        return true;
      case kAbsent:
        break;
    }
    if (room_window_ == 0)
      place_candidate(keys_.pop_oldest(kWindow));
    else
      --room_window_;
    enter(kWindow, id);
    return false;
  }

 private:
  enum List : std::uint32_t { kWindow, kProbation, kProtected, kAbsent };
  struct alignas(16) Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    List list = kAbsent;
  };

  void enter(List list, std::uint32_t id) {
    keys_[id].list = list;
    keys_.push_newest(list, id);
  }
  void protect(std::uint32_t id) {
    keys_.remove(id);
    enter(kProtected, id);
    if (room_protected_-- > 0) return;
    enter(kProbation, keys_.pop_oldest(kProtected));
    ++room_protected_;
  }
  void place_candidate(std::uint32_t candidate) {
    if (room_main_ > 0) {
      --room_main_;
    } else {
      // Main is full and Protected at most 80 % of it: Probation has one, unless Main holds none at all.
      if (keys_.empty(kProbation) || seen_.estimate(candidate) <= seen_.estimate(keys_.oldest(kProbation))) {
        keys_[candidate].list = kAbsent;
        seen_.prefetch(keys_.oldest(kWindow));
        return;
      }
      keys_[keys_.pop_oldest(kProbation)].list = kAbsent;
    }
    enter(kProbation, candidate);
    // Those to be compared next.
    seen_.prefetch(keys_.oldest(kWindow));
    seen_.prefetch(keys_.oldest(kProbation));
  }

  LinkedLists<Node> keys_;
  FrequencySketch seen_;
  std::int64_t room_window_;
  std::int64_t room_main_;
  std::int64_t room_protected_;
};

}  // namespace tessera
