// CLOCK, also called second chance or FIFO-reinsertion: a FIFO whose hits set a reference bit. The hand
// passes over a key with the bit set, clearing it, and evicts the first key without (Corbato, A Paging
// Experiment with the Multics System, 1968). A key enters with the bit clear, as in libCacheSim; some
// textbooks enter it set. Instead of a hand the key goes to the back of the queue, which is the same
// order. With sizes it evicts until the new key fits.
#pragma once

#include "sim/memory/replacement.hpp"
#include "sim/memory/ring.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class Clock {
 public:
  explicit Clock(const CacheSetup& setup)
      : weight_(setup),
        state_(setup.distinct, kAbsent),
        queue_(Weights::kUnit ? setup.most_residents() : setup.distinct),
        room_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return state_[id] != kAbsent; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&state_[id], 1); }

  bool access(std::uint32_t id) {
    if (contains(id)) {
      state_[id] = kReferenced;
      return true;
    }
    while (room_ < weight_(id)) evict();
    room_ -= weight_(id);
    state_[id] = kResident;
    queue_.push(id);
    return false;
  }

 private:
  enum State : std::uint8_t { kAbsent, kResident, kReferenced };

  void evict() {
    for (;;) {
      const std::uint32_t id = queue_.pop();
      if (state_[id] == kResident) {
        state_[id] = kAbsent;
        room_ += weight_(id);
        return;
      }
      state_[id] = kResident;
      queue_.push(id);
    }
  }

  [[no_unique_address]] Weights weight_;
  HugeVector<std::uint8_t> state_;
  Ring queue_;
  std::int64_t room_;
};

}  // namespace tessera
