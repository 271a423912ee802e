// Blocks in a queue and nothing clever: what BlockPool must agree with. A block in use is in no queue; a free
// one stands in it, next to be overwritten first, and keeps its content until then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

namespace tessera::test {

class SlowPrefixPool {
 public:
  struct Block {
    std::int64_t users = 0;
    std::uint64_t hash = 0;        // it can be found by; 0: none
    std::int64_t published = 0;    // in which order blocks became findable
    std::int64_t overwritten = 0;  // how often
  };

  explicit SlowPrefixPool(std::int64_t blocks) : blocks_(static_cast<std::size_t>(blocks)) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) queue_.push_back(i);
  }

  std::int64_t evictions = 0;

  [[nodiscard]] std::int64_t free_blocks() const { return static_cast<std::int64_t>(queue_.size()); }
  [[nodiscard]] const Block& at(std::size_t block) const { return blocks_[block]; }

  // The block that was published first under this hash, or -1.
  [[nodiscard]] std::int64_t find(std::uint64_t hash) const {
    std::int64_t first = -1;
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      if (blocks_[i].hash == hash &&
          (first < 0 || blocks_[i].published < blocks_[static_cast<std::size_t>(first)].published))
        first = static_cast<std::int64_t>(i);
    return first;
  }
  std::size_t take_new() {
    const std::size_t block = queue_.front();
    queue_.pop_front();
    Block& b = blocks_[block];
    evictions += b.hash != 0 ? 1 : 0;
    b = {1, 0, 0, b.overwritten + 1};
    return block;
  }
  void share(std::size_t block) {
    if (blocks_[block].users++ == 0) queue_.erase(std::find(queue_.begin(), queue_.end(), block));
  }
  void publish(std::size_t block, std::uint64_t hash) {
    blocks_[block].hash = hash;
    blocks_[block].published = ++publications_;
  }
  // The tail is overwritten before the head, which others may share.
  void give_back(const std::vector<std::size_t>& table) {
    for (auto block = table.rbegin(); block != table.rend(); ++block)
      if (--blocks_[*block].users == 0) queue_.push_back(*block);
  }

 private:
  std::vector<Block> blocks_;
  std::deque<std::size_t> queue_;
  std::int64_t publications_ = 0;
};

}  // namespace tessera::test
