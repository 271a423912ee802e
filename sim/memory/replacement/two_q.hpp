// 2Q, the full version (Johnson, Shasha, VLDB 1994): new keys enter A1in, a FIFO whose hits change
// nothing. What leaves A1in is remembered, without its data, in the FIFO A1out; a miss found there enters
// Am, an LRU list. Out of room, A1in gives its oldest key if it holds more than Kin, else Am its oldest.
// Kin = 25 % of the capacity, Kout = 50 %: the paper's advice and libCacheSim's default.
//
// As in libCacheSim a key leaves A1out before room is made for it. Rounded down; where Am is empty A1in
// pays.
#pragma once

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class TwoQ {
 public:
  explicit TwoQ(const CacheSetup& setup)
      : keys_(setup.distinct, 3),
        room_(setup.capacity),
        room_in_(setup.capacity / 4),
        room_out_(setup.capacity / 2) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].place <= kMain; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    Node& key = keys_[id];
    switch (key.place) {
      case kIn:
        return true;
      case kMain:
        keys_.make_newest(kMain, id);
        return true;
      case kOut:
        keys_.remove(id);
        ++room_out_;
        break;
      case kAbsent:
        break;
    }
    if (room_ == 0) evict();
    --room_;
    if (key.place == kAbsent) --room_in_;
    key.place = key.place == kOut ? kMain : kIn;
    keys_.push_newest(key.place, id);
    return false;
  }

 private:
  enum Place : std::uint32_t { kIn, kMain, kOut, kAbsent };
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    Place place = kAbsent;
  };

  void evict() {
    ++room_;
    if (room_in_ >= 0 && !keys_.empty(kMain)) {
      keys_[keys_.pop_oldest(kMain)].place = kAbsent;
      return;
    }
    const std::uint32_t victim = keys_.pop_oldest(kIn);
    ++room_in_;
    keys_[victim].place = kOut;
    keys_.push_newest(kOut, victim);
    if (--room_out_ < 0) {
      keys_[keys_.pop_oldest(kOut)].place = kAbsent;
      ++room_out_;
    }
  }

  LinkedLists<Node> keys_;
  std::int64_t room_;
  std::int64_t room_in_;  // below 0: A1in holds more than Kin
  std::int64_t room_out_;
};

}  // namespace tessera
