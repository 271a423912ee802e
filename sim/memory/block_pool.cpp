#include "sim/memory/block_pool.hpp"

#include <bit>
#include <limits>
#include <stdexcept>

namespace tessera {

BlockPool::BlockPool(std::uint32_t blocks, Options options)
    : caching_(options.prefix_caching), usable_(blocks), free_(blocks) {
  // Whoever sizes a pool from user input explains a pool without blocks; here it is a caller's slip.
  if (blocks <= (options.null_block ? 1U : 0U) || blocks == std::numeric_limits<std::uint32_t>::max()) {
    throw std::invalid_argument("BlockPool: no usable block, or more than ids can name");
  }
  if (caching_) index_ = HashIndex(blocks);
  nodes_.resize(blocks);
  queue_.resize(std::bit_ceil(2 * std::size_t{blocks}));
  mask_ = queue_.size() - 1;
  for (BlockId id = 0; id < blocks; ++id) {
    nodes_[id].place = tail_;
    queue_[tail_++] = id;
  }
  if (options.null_block) {
    const BlockId first = allocate();
    null_ = first;
    --usable_;
  }
}

void BlockPool::close_gaps() {
  std::uint64_t to = head_;
  for (std::uint64_t at = head_; at != tail_; ++at) {
    const BlockId block = queue_[at & mask_];
    if (nodes_[block].place != at) continue;
    nodes_[block].place = to;
    queue_[to++ & mask_] = block;
  }
  tail_ = to;
}

void BlockPool::audit() const {
  std::uint32_t queued = 0, live = 0;
  for_each_free([&](BlockId block) {
    ++queued;
    TESSERA_CHECK(nodes_[block].references == 0, "no block in the free queue is in use");
    static_cast<void>(block);
  });
  for (BlockId block = 0; block < nodes_.size(); ++block)
    live += block != null_ && nodes_[block].references > 0 ? 1 : 0;
  // Read even where checks are compiled out, so that such a build has no unused variables.
  const bool whole = queued == free_ && live + queued == usable_;
  TESSERA_CHECK(whole, "every block is either live or queued once as free");
  static_cast<void>(whole);
}

}  // namespace tessera
