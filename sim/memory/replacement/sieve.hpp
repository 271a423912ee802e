// SIEVE (Zhang et al., NSDI 2024): one queue, newest at the head, and a hand that moves from the tail to
// the head. A hit sets the key's visited bit and moves nothing. To evict, the hand clears visited bits
// on its way until it meets a key without, which goes; the hand stays before it, and starts at the tail
// again after the head. Until it first gets there this evicts what LFU does: the oldest key without a hit.
// Unlike CLOCK, survivors keep their place, so newcomers are sifted sooner.
// With sizes it evicts until the new key fits.
#pragma once

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class Sieve {
 public:
  explicit Sieve(const CacheSetup& setup)
      : weight_(setup), keys_(setup.distinct, 1), hand_(keys_.end(0)), room_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].state != kAbsent; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    if (contains(id)) {
      keys_[id].state = kVisited;
      return true;
    }
    while (room_ < weight_(id)) evict();
    room_ -= weight_(id);
    keys_[id].state = kResident;
    keys_.push_newest(0, id);
    return false;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    std::uint32_t id = hand_ == keys_.end(0) ? keys_.oldest(0) : hand_;
    while (keys_[id].state == kVisited) {
      keys_[id].state = kResident;
      id = keys_[id].newer;
      if (id == keys_.end(0)) id = keys_.oldest(0);
    }
    erase(id, keys_[id].newer);
    keys_.prefetch(hand_);
    return id;
  }
  void erase(std::uint32_t id) { erase(id, hand_ == id ? keys_[id].newer : hand_); }

 private:
  enum State : std::uint32_t { kAbsent, kResident, kVisited };
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    State state = kAbsent;
  };

  void erase(std::uint32_t id, std::uint32_t hand) {
    hand_ = hand;
    keys_.remove(id);
    keys_[id].state = kAbsent;
    room_ += weight_(id);
  }

  [[no_unique_address]] Weights weight_;
  LinkedLists<Node> keys_;
  std::uint32_t hand_;  // the next key to look at; end: the oldest
  std::int64_t room_;
};

}  // namespace tessera
