// The prefix cache as a radix tree of prompts, as SGLang keeps it (Zheng et al., arXiv 2312.07104): an edge
// is a run of pages, each known by the chained identity of all tokens up to its end (block_hash.hpp), with
// the block that holds it. A page of one token makes it a tree of tokens. Where a prompt leaves an edge in
// its middle the edge is split.
//
// A user locks the path it stands on; locked pages are never evicted. Edges without users stand in a queue by
// the time of their release, deeper ones first, so that the head of the queue is always a leaf: the least
// recently used one. Eviction takes its pages one by one from its end, as many as are needed (SGLang drops
// the whole edge). Chained identities name an edge by its first page alone, so children need no lists.
//
// Against the index of hashes (BlockPool): no content is ever held twice, and with pages of one block both
// find and evict the same blocks (tested).
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <span>
#include <vector>

#include "sim/memory/block_hash.hpp"
#include "sim/memory/free_queue.hpp"

namespace tessera {

class RadixIndex {
 public:
  using NodeId = std::uint32_t;
  static constexpr NodeId kRoot = 0;

  RadixIndex();

  struct Match {
    std::size_t pages = 0;
    std::size_t unlocked = 0;  // of those: nobody uses them yet
  };
  // The longest prefix of `keys` in the tree.
  [[nodiscard]] Match match(std::span<const BlockHash> keys) const;

  // One more user of the path of all `keys`, which must be in the tree. Where it ends.
  NodeId lock(std::span<const BlockHash> keys);
  // A user of `at` goes on with pages: those of them another has put there before are shared, `given_back`
  // says how many; the blocks of the rest are the tree's now. Where the user stands from now on.
  NodeId extend(NodeId at, std::span<const BlockHash> keys, std::span<const BlockId> blocks,
                std::size_t& given_back);
  void unlock(NodeId at);

  // Drops `pages` unlocked pages; their blocks are appended to `freed`. There are as many.
  void evict(std::size_t pages, std::vector<BlockId>& freed);

  [[nodiscard]] std::size_t depth(NodeId at) const { return nodes_[at].end; }  // pages from the root
  [[nodiscard]] std::size_t evictable() const { return evictable_; }
  [[nodiscard]] std::size_t pages() const { return pages_; }
  // Users of the deepest page of `at`.
  [[nodiscard]] std::uint32_t locks(NodeId at) const { return nodes_[at].locks; }
  [[nodiscard]] NodeId parent(NodeId at) const { return nodes_[at].parent; }
  [[nodiscard]] std::span<const BlockId> blocks(NodeId at) const { return nodes_[at].blocks; }
  // Blocks in the order they would be evicted.
  template <class See>
  void for_each_evictable(See see) const {
    for (NodeId at = nodes_[kRoot].newer; at != kRoot; at = nodes_[at].newer)
      for (std::size_t i = nodes_[at].blocks.size(); i-- > 0;) see(nodes_[at].blocks[i]);
  }
  // Walks the tree and checks counts, links and locks.
  void audit() const;

 private:
  struct Node {
    NodeId parent = kRoot;
    NodeId older = 0, newer = 0;  // in the queue of unlocked edges, a ring through the root
    std::uint32_t locks = 0;
    std::uint32_t children = 0;
    std::size_t end = 0;  // pages from the root
    std::vector<BlockHash> keys;
    std::vector<BlockId> blocks;
    [[nodiscard]] std::size_t begin() const { return end - keys.size(); }
  };
  // Leading pages two runs share. Identities are chained: equal at one place means equal before it.
  static std::size_t common(std::span<const BlockHash> a, std::span<const BlockHash> b);
  NodeId new_node();
  void split(NodeId at, std::size_t pages);
  void enqueue_newest(NodeId at) { link_before(at, kRoot); }
  void link_before(NodeId at, NodeId newer);
  void unlink(NodeId at);
  void lock_one(NodeId at);

  std::vector<Node> nodes_;
  std::vector<NodeId> unused_;
  tsl::robin_map<BlockHash, NodeId> edges_;  // by the first page
  std::size_t evictable_ = 0, pages_ = 0;
};

}  // namespace tessera
