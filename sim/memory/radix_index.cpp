#include "sim/memory/radix_index.hpp"

#include <algorithm>

#include "models/base/check.hpp"

namespace tessera {

RadixIndex::RadixIndex() { nodes_.emplace_back().locks = 1; }  // the root is always in use

std::size_t RadixIndex::common(std::span<const BlockHash> a, std::span<const BlockHash> b) {
  std::size_t low = 0, high = std::min(a.size(), b.size());
  if (high > 0 && a[high - 1] == b[high - 1]) return high;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (a[middle] == b[middle])
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

RadixIndex::Match RadixIndex::match(std::span<const BlockHash> keys) const {
  Match found;
  while (found.pages < keys.size()) {
    const auto edge = edges_.find(keys[found.pages]);
    if (edge == edges_.end()) break;
    const Node& node = nodes_[edge->second];
    const std::size_t run = common(node.keys, keys.subspan(found.pages));
    found.pages += run;
    if (node.locks == 0) found.unlocked += run;
    if (run < node.keys.size()) break;
  }
  return found;
}

RadixIndex::NodeId RadixIndex::new_node() {
  if (unused_.empty()) {
    nodes_.emplace_back();
    return static_cast<NodeId>(nodes_.size() - 1);
  }
  const NodeId at = unused_.back();
  unused_.pop_back();
  nodes_[at] = {};
  return at;
}

// Cuts the first `pages` of an edge off into a node of their own above it. Whoever stood on the edge stands
// on its lower part as before.
void RadixIndex::split(NodeId at, std::size_t pages) {
  const NodeId above = new_node();
  Node& lower = nodes_[at];
  Node& upper = nodes_[above];
  const auto cut = static_cast<std::ptrdiff_t>(pages);
  upper.parent = lower.parent;
  upper.locks = lower.locks;
  upper.children = 1;
  upper.end = lower.begin() + pages;
  upper.keys.assign(lower.keys.begin(), lower.keys.begin() + cut);
  upper.blocks.assign(lower.blocks.begin(), lower.blocks.begin() + cut);
  lower.keys.erase(lower.keys.begin(), lower.keys.begin() + cut);
  lower.blocks.erase(lower.blocks.begin(), lower.blocks.begin() + cut);
  lower.parent = above;
  edges_[upper.keys.front()] = above;
  edges_[lower.keys.front()] = at;
  if (upper.locks == 0) link_before(above, lower.newer);  // goes right after its end
}

void RadixIndex::link_before(NodeId at, NodeId newer) {
  const NodeId older = nodes_[newer].older;
  nodes_[at].newer = newer;
  nodes_[at].older = older;
  nodes_[older].newer = nodes_[newer].older = at;
}

void RadixIndex::unlink(NodeId at) {
  const Node& node = nodes_[at];
  nodes_[node.older].newer = node.newer;
  nodes_[node.newer].older = node.older;
}

void RadixIndex::lock_one(NodeId at) {
  if (nodes_[at].locks++ > 0) return;
  unlink(at);
  evictable_ -= nodes_[at].keys.size();
}

RadixIndex::NodeId RadixIndex::lock(std::span<const BlockHash> keys) {
  NodeId at = kRoot;
  for (std::size_t done = 0; done < keys.size(); done = nodes_[at].end) {
    const auto edge = edges_.find(keys[done]);
    TESSERA_CHECK(edge != edges_.end(), "only what is in the tree is locked");
    NodeId next = edge->second;
    const std::size_t run = common(nodes_[next].keys, keys.subspan(done));
    if (run < nodes_[next].keys.size()) {
      TESSERA_CHECK(done + run == keys.size(), "only what is in the tree is locked");
      split(next, run);
      next = nodes_[next].parent;
    }
    lock_one(next);
    at = next;
  }
  return at;
}

RadixIndex::NodeId RadixIndex::extend(NodeId at, std::span<const BlockHash> keys,
                                      std::span<const BlockId> blocks, std::size_t& given_back) {
  TESSERA_CHECK(keys.size() == blocks.size(), "every page has its block");
  TESSERA_CHECK(nodes_[at].locks > 0, "a user of its place goes on");
  given_back = 0;
  while (given_back < keys.size()) {
    const auto edge = edges_.find(keys[given_back]);
    if (edge == edges_.end()) break;
    NodeId next = edge->second;
    const std::size_t run = common(nodes_[next].keys, keys.subspan(given_back));
    if (run < nodes_[next].keys.size()) {
      split(next, run);
      next = nodes_[next].parent;
    }
    lock_one(next);
    at = next;
    given_back += run;
  }
  keys = keys.subspan(given_back);
  blocks = blocks.subspan(given_back);
  if (keys.empty()) return at;
  pages_ += keys.size();
  if (Node& node = nodes_[at]; at != kRoot && node.locks == 1 && node.children == 0) {
    node.keys.insert(node.keys.end(), keys.begin(), keys.end());
    node.blocks.insert(node.blocks.end(), blocks.begin(), blocks.end());
    node.end += keys.size();
    return at;
  }
  const NodeId leaf = new_node();
  Node& node = nodes_[leaf];
  node.parent = at;
  node.locks = 1;
  node.end = nodes_[at].end + keys.size();
  node.keys.assign(keys.begin(), keys.end());
  node.blocks.assign(blocks.begin(), blocks.end());
  ++nodes_[at].children;
  edges_[keys.front()] = leaf;
  return leaf;
}

void RadixIndex::unlock(NodeId at) {
  for (; at != kRoot; at = nodes_[at].parent) {
    Node& node = nodes_[at];
    TESSERA_CHECK(node.locks > 0, "a place was left more often than it was taken");
    if (--node.locks > 0) continue;
    evictable_ += node.keys.size();
    enqueue_newest(at);
  }
}

void RadixIndex::evict(std::size_t pages, std::vector<BlockId>& freed) {
  TESSERA_CHECK(pages <= evictable_, "only unlocked pages are evicted");
  evictable_ -= pages;
  pages_ -= pages;
  while (pages > 0) {
    const NodeId at = nodes_[kRoot].newer;
    Node& node = nodes_[at];
    TESSERA_CHECK(node.locks == 0 && node.children == 0, "the head of the queue is an unused leaf");
    const std::size_t run = std::min(pages, node.keys.size());
    for (std::size_t i = 0; i < run; ++i) freed.push_back(node.blocks[node.blocks.size() - 1 - i]);
    pages -= run;
    node.blocks.resize(node.blocks.size() - run);
    if (run < node.keys.size()) {
      node.keys.resize(node.keys.size() - run);
      node.end -= run;
      return;
    }
    edges_.erase(node.keys.front());
    unlink(at);
    --nodes_[node.parent].children;
    unused_.push_back(at);
    nodes_[at] = {};
  }
}

void RadixIndex::audit() const {
  std::size_t pages = 0, evictable = 0;
  std::vector<std::uint32_t> children(nodes_.size(), 0);
  bool good = true;
  for (auto edge = edges_.begin(); edge != edges_.end(); ++edge) {
    const Node& node = nodes_[edge->second];
    pages += node.keys.size();
    if (node.locks == 0) evictable += node.keys.size();
    ++children[node.parent];
    good = good && node.keys.size() == node.blocks.size() && !node.keys.empty() &&
           node.keys.front() == edge->first && node.begin() == nodes_[node.parent].end &&
           (node.parent == kRoot || nodes_[node.parent].locks >= node.locks);
  }
  for (NodeId at = 0; at < nodes_.size(); ++at) good = good && children[at] == nodes_[at].children;
  std::size_t queued = 0;
  for_each_evictable([&](BlockId) { ++queued; });
  good = good && pages == pages_ && evictable == evictable_ && queued == evictable_;
  TESSERA_CHECK(good, "the tree's counts, links and locks agree");
  static_cast<void>(good);
}

}  // namespace tessera
