// LRU: the key used longest ago goes first. A doubly linked list threaded through an array indexed by
// key, eight bytes each; position `distinct` is the list's sentinel. Keeps what the last `capacity`
// different keys used are, hence a larger LRU cache holds all that a smaller one does (Mattson et
// al., IBM Systems Journal 9(2), 1970).
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class Lru {
 public:
  Lru(std::uint32_t capacity, std::uint32_t distinct)
      : links_(std::size_t{distinct} + 1, Link{kAbsent, kAbsent}), end_(distinct), room_(capacity) {
    TESSERA_CHECK(capacity > 0, "a cache holds something");
    links_[end_] = {end_, end_};
  }

  [[nodiscard]] bool contains(std::uint32_t id) const { return links_[id].newer != kAbsent; }

  void prefetch(std::uint32_t id) const { __builtin_prefetch(&links_[id], 1); }

  bool access(std::uint32_t id) {
    Link& link = links_[id];
    const bool hit = link.newer != kAbsent;
    if (hit) {
      if (link.newer == end_) return true;  // already the newest
      links_[link.newer].older = link.older;
      links_[link.older].newer = link.newer;
    } else if (room_ > 0) {
      --room_;
    } else {
      evict_oldest();
    }
    Link& end = links_[end_];
    link = {end_, end.older};
    links_[end.older].newer = id;
    end.older = id;
    return hit;
  }

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};
  struct Link {
    std::uint32_t newer;
    std::uint32_t older;
  };

  void evict_oldest() {
    Link& end = links_[end_];
    const std::uint32_t victim = end.newer;
    end.newer = links_[victim].newer;
    links_[end.newer].older = end_;
    links_[victim] = {kAbsent, kAbsent};
    prefetch(end.newer);  // the next victim, untouched for longest
  }

  std::vector<Link> links_;
  std::uint32_t end_;   // its older is the newest key, its newer the oldest
  std::uint32_t room_;  // keys that still fit without an eviction
};

static_assert(ReplacementPolicy<Lru>);

}  // namespace tessera
