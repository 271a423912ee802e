// Leaf-first LRU over the tree of prompts, as SGLang's radix cache evicts (Zheng et al., arXiv
// 2312.07104): only a block without resident children may go, and of those the one used longest ago;
// its parent may follow. So no resident block is ever cut off from its prefix.
//
// One list does it. The blocks of a request are put in order of last use as if the last block had been
// used first: each goes right behind the block before it in the prompt. Identities of blocks are chained,
// so whoever uses a block uses its parent too, a parent is always newer than its children, and the
// oldest block of all is a leaf. The path of the prompt at work is never evicted: where it fills the cache
// alone, the rest of the prompt is not kept. Blocks stand for SGLang's tree nodes one by one; a node of
// many blocks, which goes as a whole, is not modelled. On a key trace this is LRU.
#pragma once

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class LeafFirst {
 public:
  explicit LeafFirst(const CacheSetup& setup) : blocks_(setup.distinct, 1), room_(setup.capacity) {}

  void begin_request(std::int64_t, std::span<const std::uint32_t>) {
    parent_ = blocks_.end(0);
    path_ended_ = false;
  }

  [[nodiscard]] bool contains(std::uint32_t id) const { return blocks_[id].newer != kAbsent; }
  void prefetch(std::uint32_t id) const { blocks_.prefetch(id); }

  bool access(std::uint32_t id) {
    const bool hit = contains(id);
    if (hit) {
      if (id == parent_) return true;
      blocks_.remove(id);
    } else if (path_ended_) {
      return false;
    } else if (room_ > 0) {
      --room_;
    } else if (blocks_.oldest(0) == parent_) {
      path_ended_ = true;
      return false;
    } else {
      blocks_[blocks_.pop_oldest(0)].newer = kAbsent;
    }
    blocks_.insert_older(parent_, id);
    parent_ = id;
    return hit;
  }

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};
  struct Node {
    std::uint32_t newer = kAbsent;
    std::uint32_t older = kAbsent;
  };

  LinkedLists<Node> blocks_;
  std::int64_t room_;
  std::uint32_t parent_ = 0;  // of the next block; the list's end at the front of a prompt
  bool path_ended_ = false;
};

static_assert(FollowsRequests<LeafFirst>);

}  // namespace tessera
