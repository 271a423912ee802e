#include "sim/memory/block_pool.hpp"

#include <limits>
#include <stdexcept>

namespace tessera {

namespace {

// Whoever sizes a pool from user input explains a pool without blocks; here it is a caller's slip.
std::uint32_t checked(std::uint32_t blocks) {
  if (blocks == 0 || blocks == std::numeric_limits<std::uint32_t>::max())
    throw std::invalid_argument("BlockPool: no usable block, or more than ids can name");
  return blocks;
}

}  // namespace

BlockPool::BlockPool(std::uint32_t blocks, Options options)
    : caching_(options.prefix_caching), usable_(checked(blocks)), nodes_(blocks), queue_(blocks) {
  if (caching_) index_ = HashIndex(blocks);
}

bool BlockPool::twin_in_use(BlockId block) const {
  bool found = false;
  index_.for_each(index_.hash_of(block),
                  [&](BlockId twin) { found = found || (twin != block && nodes_[twin].references > 0); });
  return found;
}

void BlockPool::show_free(std::span<BlockCell> cells) const {
  for (BlockId block = 0; block < nodes_.size(); ++block) {
    const bool cached = hash_of(block) != kNoHash && references(block) == 0;
    cells[block].state = cached ? BlockCell::State::cached : BlockCell::State::free;
    cells[block].content = nodes_[block].generation;
  }
}

void BlockPool::show_held(std::span<BlockCell> cells, std::span<const BlockId> blocks,
                          std::uint32_t holder) const {
  for (const BlockId block : blocks) {
    BlockCell& cell = cells[block];
    if (cell.users++ == 0) cell.holder = holder;
    cell.state = BlockCell::State::held;
  }
}

void BlockPool::audit() const {
  std::uint32_t queued = 0, live = 0;
  for_each_free([&](BlockId block) {
    ++queued;
    TESSERA_CHECK(references(block) == 0, "no block in the free queue is in use");
    static_cast<void>(block);
  });
  for (BlockId block = 0; block < nodes_.size(); ++block) live += references(block) > 0 ? 1 : 0;
  // Read even where checks are compiled out, so that such a build has no unused variables.
  const bool whole = queued == queue_.size() && live + queued == usable_;
  TESSERA_CHECK(whole, "every block is either live or queued once as free");
  static_cast<void>(whole);
}

}  // namespace tessera
