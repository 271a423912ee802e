// The free blocks of a pool, next to be reused first: a queue from whose middle a block can be taken.
//
// A ring with room for at least twice the blocks. Every entry has a position that only grows; a block
// knows the position it last stood at, and stands in the queue if that position is not yet passed.
// Taking a block out of the middle leaves a hole, which is skipped when the head comes by, or squeezed out
// when the ring is full. Without holes blocks leave in runs, copied as they lie.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "models/base/check.hpp"

namespace tessera {

using BlockId = std::uint32_t;
inline constexpr BlockId kNoBlock = ~BlockId{0};

class FreeQueue {
 public:
  // Starts with the blocks 0, 1, … in this order.
  explicit FreeQueue(std::uint32_t blocks)
      : ring_(std::bit_ceil(2 * std::size_t{blocks})), place_(blocks), mask_(ring_.size() - 1) {
    for (BlockId id = 0; id < blocks; ++id) push(id);
  }

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(tail_ - head_ - holes_); }
  [[nodiscard]] bool contains(BlockId block) const { return place_[block] >= head_; }

  BlockId pop() {
    BlockId block = 0;
    pop_n({&block, 1});
    return block;
  }
  void pop_n(std::span<BlockId> out) {
    TESSERA_CHECK(out.size() <= size(), "a block was asked for and none is free");
    if (holes_ == 0) {
      const std::size_t at = head_ & mask_, run = std::min(out.size(), ring_.size() - at);
      std::copy_n(ring_.data() + at, run, out.data());
      std::copy_n(ring_.data(), out.size() - run, out.data() + run);
      head_ += out.size();
      return;
    }
    for (BlockId& block : out) {
      for (; ring_[head_ & mask_] == kNoBlock; ++head_) --holes_;
      block = ring_[head_++ & mask_];
    }
  }
  void push(BlockId block) { push_tail_first({&block, 1}); }
  // The last of `blocks` joins first.
  void push_tail_first(std::span<const BlockId> blocks) {
    if (tail_ - head_ + blocks.size() > ring_.size()) close_gaps();
    BlockId* const ring = ring_.data();
    std::uint64_t* const place = place_.data();
    const std::uint64_t mask = mask_, head = head_;
    std::uint64_t tail = tail_;
    for (std::size_t i = blocks.size(); i-- > 0;) {
      const BlockId block = blocks[i];
      TESSERA_CHECK(place[block] < head, "a block was freed more often than it was taken");
      place[block] = tail;
      ring[tail++ & mask] = block;
    }
    tail_ = tail;
  }
  void remove(BlockId block) {
    TESSERA_CHECK(contains(block), "only a free block leaves the free queue");
    ring_[place_[block] & mask_] = kNoBlock;
    place_[block] = 0;
    ++holes_;
  }

  // Calls `see(block)` for every free block, next victim first.
  template <class See>
  void for_each(See see) const {
    for (std::uint64_t at = head_; at != tail_; ++at)
      if (ring_[at & mask_] != kNoBlock) see(ring_[at & mask_]);
  }

 private:
  // Moves every entry to the head of the line; their positions shrink but stay above the head.
  void close_gaps() {
    std::uint64_t to = head_;
    for (std::uint64_t at = head_; at != tail_; ++at) {
      const BlockId block = ring_[at & mask_];
      if (block == kNoBlock) continue;
      place_[block] = to;
      ring_[to++ & mask_] = block;
    }
    tail_ = to;
    holes_ = 0;
  }

  std::vector<BlockId> ring_;
  std::vector<std::uint64_t> place_;  // position it last stood at; 0: left from the middle
  std::uint64_t mask_;
  std::uint64_t head_ = 1, tail_ = 1;  // so that position 0 is always passed
  std::uint64_t holes_ = 0;            // taken-out entries between head and tail
};

}  // namespace tessera
