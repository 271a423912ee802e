// Block tables of sequences that branch, over one pool: samples of one prompt, beams. A branch starts as a
// copy of its parent's table, every block counted once more; nothing is copied until one of them writes.
// Only the last block can be partly filled, so only it is ever written: if others hold it too, the writer
// takes a fresh block and gives up its share of the old one (arXiv 2309.06180 section 4.4).
//
// The pool must count references (BlockPool::Options::prefix_caching). Room is the caller's concern: a copy
// needs one free block.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/block_pool.hpp"

namespace tessera {

class CopyOnWrite {
 public:
  using Table = std::vector<BlockId>;

  explicit CopyOnWrite(BlockPool& pool) : pool_(pool) {
    TESSERA_CHECK(pool.prefix_caching(), "shared blocks are counted");
  }

  // `to` becomes a second holder of all that `from` holds. `to` must be empty.
  void fork(const Table& from, Table& to) {
    TESSERA_CHECK(to.empty(), "a branch starts empty");
    to.assign(from.begin(), from.end());
    for (const BlockId block : to) pool_.touch(block);
  }

  // Makes the last block the table's own before it is written into; true if that took a copy.
  bool own_last(Table& table) {
    TESSERA_CHECK(!table.empty(), "there is a block to write into");
    if (pool_.references(table.back()) == 1) return false;
    const BlockId copy = pool_.allocate();
    pool_.free(table.back());
    table.back() = copy;
    ++copies_;
    return true;
  }

  void release(Table& table) {
    pool_.free_tail_first(table);
    table.clear();
  }

  [[nodiscard]] std::int64_t copies() const { return copies_; }

 private:
  BlockPool& pool_;
  std::int64_t copies_ = 0;
};

}  // namespace tessera
