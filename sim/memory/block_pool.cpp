#include "sim/memory/block_pool.hpp"

#include <limits>
#include <stdexcept>

namespace tessera {

BlockPool::BlockPool(std::uint32_t blocks, Options options)
    : caching_(options.prefix_caching), end_(blocks), usable_(blocks), free_(blocks) {
  // Whoever sizes a pool from user input explains a pool without blocks; here it is a caller's slip.
  if (blocks <= (options.null_block ? 1U : 0U) || blocks == std::numeric_limits<std::uint32_t>::max()) {
    throw std::invalid_argument("BlockPool: no usable block, or more than ids can name");
  }
  if (caching_) index_ = HashIndex(blocks);
  nodes_.resize(std::size_t{blocks} + 1);
  for (BlockId id = 0; id <= blocks; ++id) {
    nodes_[id] = {id == 0 ? end_ : id - 1, id == end_ ? 0 : id + 1, 0, 0};
  }
  if (options.null_block) {
    const BlockId first = allocate();
    null_ = first;
    --usable_;
  }
}

void BlockPool::audit() const {
  std::uint32_t queued = 0;
  BlockId before = end_;
  for (BlockId block = nodes_[end_].next; block != end_; block = nodes_[block].next) {
    if (++queued > free_) break;  // a loop; the count below says so
    TESSERA_CHECK(nodes_[block].previous == before, "the free queue is linked both ways");
    TESSERA_CHECK(nodes_[block].references == 0, "no block in the free queue is in use");
    before = block;
  }
  std::uint32_t live = 0;
  for (BlockId block = 0; block < end_; ++block)
    live += block != null_ && nodes_[block].references > 0 ? 1 : 0;
  // Read even where checks are compiled out, so that such a build has no unused variables.
  const bool whole = queued == free_ && nodes_[end_].previous == before && live + queued == usable_;
  TESSERA_CHECK(whole, "every block is either live or queued once as free");
  static_cast<void>(whole);
}

}  // namespace tessera
