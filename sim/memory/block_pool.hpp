// The KV blocks of one rank, as vLLM v1 keeps them (vllm/v1/core/block_pool.py).
//
// All blocks are equal and named by dense ids. A block is live while its reference count is above
// zero; otherwise it stands in the free queue, where it may still hold content under a hash.
// Allocation takes the head of the queue and drops its hash. A request that ends appends its blocks
// last block first, so that the head of its prompt, which others share, survives longest: the
// queue is LRU by the time of release. A hit takes a free block out of the middle of the queue.
//
// Invariant: live + free = usable. Every operation is O(1) per block and none allocates memory.
// Writing into shared blocks is the concern of copy_on_write.hpp. Left out: blocks of different sizes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/block_cell.hpp"
#include "sim/memory/free_queue.hpp"
#include "sim/memory/hash_index.hpp"

namespace tessera {

class BlockPool {
 public:
  struct Options {
    bool prefix_caching = true;  // false: publish and lookup do nothing, and no block has two users
  };

  BlockPool(std::uint32_t blocks, Options options);
  explicit BlockPool(std::uint32_t blocks) : BlockPool(blocks, Options{}) {}

  [[nodiscard]] std::uint32_t usable_blocks() const { return usable_; }
  [[nodiscard]] std::uint32_t free_blocks() const { return queue_.size(); }
  [[nodiscard]] std::uint32_t live_blocks() const { return usable_ - queue_.size(); }
  [[nodiscard]] bool prefix_caching() const { return caching_; }
  [[nodiscard]] std::uint32_t references(BlockId block) const {
    return caching_ ? nodes_[block].references : queue_.contains(block) ? 0 : 1;
  }
  [[nodiscard]] BlockHash hash_of(BlockId block) const { return caching_ ? index_.hash_of(block) : kNoHash; }
  // How often the block was given new content: it still holds what a past user left while this is unchanged.
  [[nodiscard]] std::uint32_t generation(BlockId block) const { return nodes_[block].generation; }
  // Blocks in use whose content another block in use holds as well, less one of each content.
  [[nodiscard]] std::int64_t duplicates() const { return duplicates_; }
  // Published blocks whose content was dropped to make room.
  [[nodiscard]] std::int64_t evictions() const { return evictions_; }

  // A fresh block with one reference. The caller has made sure there is one.
  BlockId allocate() {
    BlockId block = 0;
    allocate_n({&block, 1});
    return block;
  }

  // Fills `out` from the head of the free queue.
  void allocate_n(std::span<BlockId> out) {
    queue_.pop_n(out);
    for (const BlockId block : out) ++nodes_[block].generation;
    if (!caching_) return;
    for (const BlockId block : out) {
      nodes_[block].references = 1;
      forget(block);
    }
  }

  // One more user of a cached block; takes it out of the free queue if it stood there.
  void touch(BlockId block) {
    if (!caching_) return queue_.remove(block);
    if (nodes_[block].references++ > 0) return;
    queue_.remove(block);
    if (index_.twinned(block) && twin_in_use(block)) ++duplicates_;
  }

  // One user less of every block, last block first; blocks without users join the free queue's tail.
  void free_tail_first(std::span<const BlockId> blocks) {
    if (!caching_) return queue_.push_tail_first(blocks);
    for (std::size_t i = blocks.size(); i-- > 0;) free(blocks[i]);
  }

  void free(BlockId block) {
    if (!caching_) return queue_.push(block);
    Node& node = nodes_[block];
    TESSERA_CHECK(node.references > 0, "a block was freed more often than it was taken");
    if (--node.references > 0) return;
    queue_.push(block);
    if (index_.twinned(block) && twin_in_use(block)) --duplicates_;
  }

  // A live block with one user is given new content: whoever looked for the old no longer finds it.
  void recycle(BlockId block) {
    ++nodes_[block].generation;
    TESSERA_CHECK(!caching_ || nodes_[block].references == 1, "only its one user gives a block new content");
    if (!caching_ || index_.hash_of(block) == kNoHash) return;
    if (index_.twinned(block) && twin_in_use(block)) --duplicates_;
    forget(block);
  }

  // The cached block of this hash, live or free, or kNoBlock. Does not take a reference.
  [[nodiscard]] BlockId lookup(BlockHash hash) const { return caching_ ? index_.find(hash) : kNoBlock; }

  // Makes a full, live block findable. Of blocks with equal hashes the first published answers.
  void publish(BlockId block, BlockHash hash) {
    if (!caching_) return;
    TESSERA_CHECK(nodes_[block].references > 0, "only a live block is published");
    if (index_.insert(block, hash) != block && twin_in_use(block)) ++duplicates_;
  }

  // Hashes whose last cached block is dropped are appended to `log` from now on; null: to nothing.
  void log_drops(std::vector<BlockHash>* log) { drops_ = log; }

  // Walks the whole pool and checks that no block is lost, doubled or miscounted. O(blocks).
  void audit() const;
  // Cells of the free blocks, and of those that `holder` holds.
  void show_free(std::span<BlockCell> cells) const;
  void show_held(std::span<BlockCell> cells, std::span<const BlockId> blocks, std::uint32_t holder) const;
  // Calls `see(block)` for every free block, next victim first.
  template <class See>
  void for_each_free(See see) const {
    queue_.for_each(see);
  }

 private:
  struct Node {
    std::uint32_t references = 0;  // counted while caching only: without hits a block has one user or none
    std::uint32_t generation = 0;
  };

  void forget(BlockId block) {
    const BlockHash hash = index_.hash_of(block);
    if (hash == kNoHash) return;
    index_.erase(block);
    ++evictions_;
    if (drops_ != nullptr && index_.find(hash) == kNoBlock) drops_->push_back(hash);
  }

  [[nodiscard]] bool twin_in_use(BlockId block) const;

  bool caching_;
  std::uint32_t usable_;
  std::int64_t evictions_ = 0, duplicates_ = 0;
  std::vector<Node> nodes_;
  FreeQueue queue_;
  HashIndex index_;
  std::vector<BlockHash>* drops_ = nullptr;
};

}  // namespace tessera
