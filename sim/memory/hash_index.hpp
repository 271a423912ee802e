// From a block hash to the blocks that hold it: open addressing with linear probing over block ids.
//
// A slot is four bytes, the id; the hash is looked up in the array the pool keeps anyway. The table
// is sized once, at most half full, so nothing is allocated while it runs, and removal shifts later
// entries back instead of leaving tombstones that would pile up. It cannot be iterated.
//
// Several blocks may carry one hash (a block recomputed while its twin is cached). As in vLLM they
// are kept in order of insertion and the oldest still cached answers.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/block_hash.hpp"

namespace tessera {

using BlockId = std::uint32_t;
inline constexpr BlockId kNoBlock = ~BlockId{0};

class HashIndex {
 public:
  HashIndex() = default;
  explicit HashIndex(std::uint32_t blocks) : hashes_(blocks, kNoHash), twins_(blocks, kNoBlock) {
    const std::uint64_t slots = std::bit_ceil(std::uint64_t{blocks} * 2 + 2);
    slots_.assign(slots, kNoBlock);
    shift_ = std::countl_zero(slots - 1);
  }

  // The hash `block` is known by, or kNoHash.
  [[nodiscard]] BlockHash hash_of(BlockId block) const { return hashes_[block]; }

  // The block cached longest under `hash`, or kNoBlock.
  [[nodiscard]] BlockId find(BlockHash hash) const { return slots_[locate(hash)]; }

  void insert(BlockId block, BlockHash hash) {
    TESSERA_CHECK(hash != kNoHash, "a block is published under a real hash");
    TESSERA_CHECK(hashes_[block] == kNoHash, "a block is published once until it is evicted");
    const std::size_t slot = locate(hash);
    hashes_[block] = hash;
    if (slots_[slot] == kNoBlock) {
      slots_[slot] = block;
      return;
    }
    BlockId last = slots_[slot];
    while (twins_[last] != kNoBlock) last = twins_[last];
    twins_[last] = block;
  }

  void erase(BlockId block) {
    const std::size_t slot = locate(hashes_[block]);
    const BlockId twin = twins_[block];
    hashes_[block] = kNoHash;
    twins_[block] = kNoBlock;
    if (slots_[slot] != block) {
      BlockId before = slots_[slot];
      while (twins_[before] != block) before = twins_[before];
      twins_[before] = twin;
    } else if (twin != kNoBlock) {
      slots_[slot] = twin;
    } else {
      close_gap(slot);
    }
  }

 private:
  // Hashes may come from outside and be small numbers: the high bits of a product spread them.
  [[nodiscard]] std::size_t home(BlockHash hash) const {
    return static_cast<std::size_t>((hash * 0x9E3779B97F4A7C15) >> shift_);
  }
  // The slot that holds `hash`, or the empty one where it would go.
  [[nodiscard]] std::size_t locate(BlockHash hash) const {
    std::size_t slot = home(hash);
    while (slots_[slot] != kNoBlock && hashes_[slots_[slot]] != hash) slot = next(slot);
    return slot;
  }
  [[nodiscard]] std::size_t next(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }

  // Moves back every following entry that may stand in the gap, so that no probe ends early.
  void close_gap(std::size_t gap) {
    for (std::size_t slot = next(gap); slots_[slot] != kNoBlock; slot = next(slot)) {
      const std::size_t distance = (slot - home(hashes_[slots_[slot]])) & (slots_.size() - 1);
      if (distance >= ((slot - gap) & (slots_.size() - 1))) {
        slots_[gap] = slots_[slot];
        gap = slot;
      }
    }
    slots_[gap] = kNoBlock;
  }

  std::vector<BlockId> slots_;
  std::vector<BlockHash> hashes_;  // per block
  std::vector<BlockId> twins_;     // per block: the next younger block of the same hash
  int shift_ = 0;
};

}  // namespace tessera
