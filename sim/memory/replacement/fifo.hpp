// FIFO: the key inserted longest ago goes first; hits change nothing. A ring of ids and one byte a key.
// More capacity may mean fewer hits (Belady, Nelson, Shedler, CACM 12(6), 1969). With sizes it evicts
// until the new key fits.
#pragma once

#include "sim/memory/replacement.hpp"
#include "sim/memory/ring.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class Fifo {
 public:
  explicit Fifo(const CacheSetup& setup)
      : weight_(setup),
        resident_(setup.distinct, 0),
        queue_(Weights::kUnit ? setup.most_residents() : setup.distinct),
        room_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return resident_[id] != 0; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&resident_[id], 1); }

  bool access(std::uint32_t id) {
    if (contains(id)) return true;
    while (room_ < weight_(id)) evict();
    room_ -= weight_(id);
    resident_[id] = 1;
    queue_.push(id);
    return false;
  }
  // Makes room, of a cache that is not empty; says whose.
  std::uint32_t evict() {
    const std::uint32_t victim = queue_.pop();
    resident_[victim] = 0;
    room_ += weight_(victim);
    return victim;
  }

 private:
  [[no_unique_address]] Weights weight_;
  HugeVector<std::uint8_t> resident_;
  Ring queue_;
  std::int64_t room_;
};

}  // namespace tessera
