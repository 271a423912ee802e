// ARC, adaptive replacement cache (Megiddo, Modha, FAST 2003, figure 4): T1 holds keys seen once lately,
// T2 keys seen at least twice, both LRU lists; B1 and B2 remember what was evicted from each. A miss
// found in B1 raises the target p of T1 by max(1, |B2| / |B1|), one in B2 lowers it by max(1, |B1| / |B2|),
// and either enters T2. REPLACE takes the oldest of T1 if |T1| > p (or = p on a miss found in B2), else
// of T2. |T1| + |B1| <= c, and all four lists hold at most 2c.
//
// Quotients are rounded down, as in libCacheSim; the paper leaves it open.
#pragma once

#include <algorithm>
#include <array>

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class Arc {
 public:
  explicit Arc(const CacheSetup& setup) : keys_(setup.distinct, 4), capacity_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].list <= kT2; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    const List found = keys_[id].list;
    switch (found) {
      case kT2:
        keys_.make_newest(kT2, id);
        return true;
      case kT1:
        move(id, kT2);
        return true;
      case kB1:
        target_ = std::min(capacity_, target_ + std::max<std::int64_t>(1, size_[kB2] / size_[kB1]));
        replace(false);
        move(id, kT2);
        return false;
      case kB2:
        target_ = std::max<std::int64_t>(0, target_ - std::max<std::int64_t>(1, size_[kB1] / size_[kB2]));
        replace(true);
        move(id, kT2);
        return false;
      case kAbsent:
        break;
    }
    make_room();
    keys_[id].list = kT1;
    keys_.push_newest(kT1, id);
    ++size_[kT1];
    return false;
  }

 private:
  enum List : std::uint32_t { kT1, kT2, kB1, kB2, kAbsent };
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    List list = kAbsent;
  };

  void move(std::uint32_t id, List to) {
    keys_.remove(id);
    --size_[keys_[id].list];
    keys_[id].list = to;
    keys_.push_newest(to, id);
    ++size_[to];
  }
  void forget_oldest(List list) {
    keys_[keys_.pop_oldest(list)].list = kAbsent;
    --size_[list];
  }
  void replace(bool found_in_b2) {
    const bool from_t1 = size_[kT1] > target_ || (found_in_b2 && size_[kT1] == target_);
    if (size_[kT1] > 0 && from_t1) {
      move(keys_.oldest(kT1), kB1);
      keys_.prefetch(keys_.oldest(kT1));
    } else {
      move(keys_.oldest(kT2), kB2);
      keys_.prefetch(keys_.oldest(kT2));
    }
  }
  // Case IV of the paper: a key in none of the lists.
  void make_room() {
    if (size_[kT1] + size_[kB1] == capacity_) {
      if (size_[kB1] == 0) {
        forget_oldest(kT1);
        return;
      }
      forget_oldest(kB1);
      replace(false);
      return;
    }
    const std::int64_t all = size_[kT1] + size_[kT2] + size_[kB1] + size_[kB2];
    if (all < capacity_) return;
    if (all == 2 * capacity_) forget_oldest(kB2);
    replace(false);
  }

  LinkedLists<Node> keys_;
  std::array<std::int64_t, 4> size_{};
  std::int64_t capacity_;
  std::int64_t target_ = 0;  // p
};

}  // namespace tessera
