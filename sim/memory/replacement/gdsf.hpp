// GDSF, Greedy-Dual-Size-Frequency (Cherkasova, HP Labs HPL-98-69R1, 1998): the key of least
//
//   H = L + uses * cost / size
//
// goes first, among equals the one used longest ago. H is set anew on every use; L is the H of the last
// key evicted, so what is not used grows old. Uses count since insertion. With unit cost and size it is
// LFU with ageing; with cost 1 it maximises hits, with cost = size hit bytes. RAGCache's PGDSF (Jin et
// al., 2024) is this with the cost of prefill. H is a double; L never passes 2^53 unit costs.
#pragma once

#include <bit>

#include "sim/memory/lazy_heap.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class Gdsf {
 public:
  explicit Gdsf(const CacheSetup& setup)
      : weight_(setup), costs_(setup.costs), keys_(setup.distinct), room_(setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].uses != 0; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&keys_[id], 1); }

  bool access(std::uint32_t id) {
    const bool hit = contains(id);
    if (!hit) {
      while (room_ < weight_(id)) evict();
      room_ -= weight_(id);
    }
    Key& key = keys_[id];
    ++key.uses;
    key.last_use = ++now_;
    key.h = age_ + key.uses * value(id);
    if (!hit) order_.push(id, priority(id));
    return hit;
  }

 private:
  struct Key {
    double h = 0;
    std::uint32_t uses = 0;  // 0: not resident
    std::uint32_t last_use = 0;
  };

  [[nodiscard]] double value(std::uint32_t id) const {
    const double cost = costs_.empty() ? 1 : costs_[id];
    return cost / static_cast<double>(weight_(id));
  }
  // The bits of doubles that are not negative order as the numbers do.
  [[nodiscard]] Priority priority(std::uint32_t id) const {
    return {std::bit_cast<std::uint64_t>(keys_[id].h), keys_[id].last_use};
  }
  void evict() {
    const std::uint32_t victim = order_.pop([this](std::uint32_t key) { return priority(key); },
                                            [this](std::uint32_t key) { prefetch(key); });
    age_ = keys_[victim].h;
    keys_[victim].uses = 0;
    room_ += weight_(victim);
  }

  [[no_unique_address]] Weights weight_;
  std::span<const std::uint32_t> costs_;
  HugeVector<Key> keys_;
  LazyHeap order_;
  std::int64_t room_;
  std::uint32_t now_ = 0;
  double age_ = 0;  // L
};

}  // namespace tessera
