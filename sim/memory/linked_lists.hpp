// Doubly linked lists threaded through one array indexed by id: a key is in at most one list of the
// array at a time, and moving it allocates nothing. Nodes are the caller's struct with members `newer`
// and `older`; behind the last id stands one sentinel a list, so that no end is a special case.
#pragma once

#include <cstdint>

#include "sim/memory/huge_pages.hpp"

namespace tessera {

template <class Node>
class LinkedLists {
 public:
  LinkedLists(std::uint32_t ids, std::uint32_t lists) : nodes_(std::size_t{ids} + lists), first_end_(ids) {
    for (std::uint32_t list = 0; list < lists; ++list)
      nodes_[end(list)].newer = nodes_[end(list)].older = end(list);
  }

  Node& operator[](std::uint32_t id) { return nodes_[id]; }
  const Node& operator[](std::uint32_t id) const { return nodes_[id]; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&nodes_[id], 1); }

  // Comes after the newest and before the oldest.
  [[nodiscard]] std::uint32_t end(std::uint32_t list) const { return first_end_ + list; }
  // Meaningful while the list is not empty.
  [[nodiscard]] std::uint32_t oldest(std::uint32_t list) const { return nodes_[end(list)].newer; }
  [[nodiscard]] bool empty(std::uint32_t list) const { return oldest(list) == end(list); }

  void push_newest(std::uint32_t list, std::uint32_t id) { insert_older(end(list), id); }
  // Right behind `at`, which may be an end: then `id` is the newest.
  void insert_older(std::uint32_t at, std::uint32_t id) {
    Node& newer = nodes_[at];
    nodes_[id].newer = at;
    nodes_[id].older = newer.older;
    nodes_[newer.older].newer = id;
    newer.older = id;
  }
  // A key that is the newest already is left alone.
  void make_newest(std::uint32_t list, std::uint32_t id) {
    if (nodes_[id].newer == end(list)) return;
    remove(id);
    push_newest(list, id);
  }
  void remove(std::uint32_t id) {
    const Node& node = nodes_[id];
    nodes_[node.newer].older = node.older;
    nodes_[node.older].newer = node.newer;
  }
  std::uint32_t pop_oldest(std::uint32_t list) {
    const std::uint32_t id = oldest(list);
    remove(id);
    prefetch(oldest(list));  // the next to go, untouched for longest
    return id;
  }

 private:
  HugeVector<Node> nodes_;
  std::uint32_t first_end_;
};

}  // namespace tessera
