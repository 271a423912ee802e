// From a block hash to the blocks that hold it: open addressing with linear probing.
//
// A slot is eight bytes: a tag of 32 mixed bits of the hash, from which its home follows, and the
// block, whose full hash decides. Probing and shifting thus stay within the table. It is sized once,
// at most half full, so nothing is allocated while it runs, and removal shifts later entries back
// instead of leaving tombstones that would pile up. It cannot be iterated.
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
#include "sim/memory/free_queue.hpp"

namespace tessera {

class HashIndex {
 public:
  HashIndex() = default;
  explicit HashIndex(std::uint32_t blocks) : blocks_(blocks) {
    TESSERA_CHECK(blocks < 1U << 31U, "homes are 32 bits wide");
    slots_.assign(std::bit_ceil(std::size_t{blocks} * 2 + 2), kEmpty);
    shift_ = std::countl_zero(slots_.size() - 1) - 32;
  }

  // The hash `block` is known by, or kNoHash.
  [[nodiscard]] BlockHash hash_of(BlockId block) const { return blocks_[block].hash; }

  // The block cached longest under `hash`, or kNoBlock.
  [[nodiscard]] BlockId find(BlockHash hash) const { return slots_[locate(hash)].block; }

  // The block that answers for `hash` from now on: another one where there are twins.
  BlockId insert(BlockId block, BlockHash hash) {
    TESSERA_CHECK(hash != kNoHash, "a block is published under a real hash");
    TESSERA_CHECK(blocks_[block].hash == kNoHash, "a block is published once until it is evicted");
    Slot& slot = slots_[locate(hash)];
    blocks_[block].hash = hash;
    if (slot.block == kNoBlock) {
      slot = {tag_of(hash), block};
      return block;
    }
    BlockId last = slot.block;
    while (blocks_[last].twin != kNoBlock) last = blocks_[last].twin;
    blocks_[last].twin = block;
    blocks_[block].twinned = blocks_[slot.block].twinned = true;
    return slot.block;
  }

  // Whether the block may have twins: if not, it has none.
  [[nodiscard]] bool twinned(BlockId block) const { return blocks_[block].twinned; }
  // Calls `see` for every block of this hash.
  template <class See>
  void for_each(BlockHash hash, See see) const {
    for (BlockId block = find(hash); block != kNoBlock; block = blocks_[block].twin) see(block);
  }

  void erase(BlockId block) {
    const std::size_t at = locate(blocks_[block].hash);
    const BlockId twin = blocks_[block].twin;
    blocks_[block] = {};
    if (slots_[at].block != block) {
      BlockId before = slots_[at].block;
      while (blocks_[before].twin != block) before = blocks_[before].twin;
      blocks_[before].twin = twin;
    } else if (twin != kNoBlock) {
      slots_[at].block = twin;
    } else {
      close_gap(at);
    }
  }

 private:
  struct Slot {
    std::uint32_t tag;
    BlockId block;
  };
  struct Block {
    BlockHash hash = kNoHash;
    BlockId twin = kNoBlock;  // the next younger block of the same hash
    bool twinned = false;
  };
  static constexpr Slot kEmpty{0, kNoBlock};

  // Hashes may come from outside and be small numbers: the high bits of a product spread them.
  static std::uint32_t tag_of(BlockHash hash) {
    return static_cast<std::uint32_t>((hash * 0x9E3779B97F4A7C15) >> 32U);
  }
  [[nodiscard]] std::size_t home(std::uint32_t tag) const { return tag >> shift_; }
  [[nodiscard]] std::size_t after(std::size_t at) const { return (at + 1) & (slots_.size() - 1); }

  // Where `hash` is, or the empty slot where it would go.
  [[nodiscard]] std::size_t locate(BlockHash hash) const {
    const std::uint32_t tag = tag_of(hash);
    std::size_t at = home(tag);
    while (slots_[at].block != kNoBlock &&
           (slots_[at].tag != tag || blocks_[slots_[at].block].hash != hash)) {
      at = after(at);
    }
    return at;
  }

  // Moves back every following entry that may stand in the gap, so that no probe ends early.
  void close_gap(std::size_t gap) {
    for (std::size_t at = after(gap); slots_[at].block != kNoBlock; at = after(at)) {
      const std::size_t from_home = (at - home(slots_[at].tag)) & (slots_.size() - 1);
      if (from_home >= ((at - gap) & (slots_.size() - 1))) {
        slots_[gap] = slots_[at];
        gap = at;
      }
    }
    slots_[gap] = kEmpty;
  }

  std::vector<Slot> slots_;
  std::vector<Block> blocks_;
  int shift_ = 0;
};

}  // namespace tessera
