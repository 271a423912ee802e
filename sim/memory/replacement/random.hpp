// Random: every resident key is as likely to go. Residents stand in an array; the last one fills the gap
// of the evicted. Draws come from SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) scaled by multiplication
// (Lemire, 2019; its bias is below 2^-32 here), so a seed names one run. With sizes it evicts until the
// new key fits.
#pragma once

#include "sim/memory/block_hash.hpp"
#include "sim/memory/huge_pages.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

template <class Weights = UnitWeights>
class RandomEviction {
 public:
  explicit RandomEviction(const CacheSetup& setup)
      : weight_(setup), place_(setup.distinct, kAbsent), room_(setup.capacity), state_(setup.seed) {
    residents_.reserve(Weights::kUnit ? setup.most_residents() : 0);
  }

  [[nodiscard]] bool contains(std::uint32_t id) const { return place_[id] != kAbsent; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&place_[id], 1); }

  bool access(std::uint32_t id) {
    if (contains(id)) return true;
    while (room_ < weight_(id)) evict();
    room_ -= weight_(id);
    place_[id] = static_cast<std::uint32_t>(residents_.size());
    residents_.push_back(id);
    return false;
  }

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};

  void evict() {
    const std::uint64_t draw = mix64(state_ += 0x9E3779B97F4A7C15) >> 32U;
    const std::uint64_t at = draw * residents_.size() >> 32U;
    const std::uint32_t victim = residents_[at];
    residents_[at] = residents_.back();
    place_[residents_[at]] = static_cast<std::uint32_t>(at);
    residents_.pop_back();
    place_[victim] = kAbsent;
    room_ += weight_(victim);
  }

  [[no_unique_address]] Weights weight_;
  HugeVector<std::uint32_t> residents_;
  HugeVector<std::uint32_t> place_;  // in residents_, by id
  std::int64_t room_;
  std::uint64_t state_;
};

}  // namespace tessera
