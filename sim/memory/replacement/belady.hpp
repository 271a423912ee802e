// Belady's MIN (IBM Systems Journal 5(2), 1966): the key whose next use lies farthest ahead goes first.
// No policy that, like all here, takes in every key it misses has more hits. It needs the whole trace
// beforehand and is the bound the others are measured by. On a block trace the bound is on blocks found,
// not on prefix hits, for which other choices may be better.
//
// A heap of (next use, key). A use pushes the new entry and leaves the old one, whose time has then
// passed and which can never come to the top; now and then such entries are swept out. Unit sizes only:
// with sizes the best choice is NP-hard.
#pragma once

#include <algorithm>
#include <vector>

#include "sim/memory/huge_pages.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class Belady {
 public:
  explicit Belady(const CacheSetup& setup)
      : next_use_(setup.future.size()), resident_(setup.distinct, 0), room_(setup.capacity) {
    std::vector<std::uint32_t> upcoming(setup.distinct, kNeverAgain);
    for (std::size_t i = setup.future.size(); i-- > 0;) {
      next_use_[i] = upcoming[setup.future[i]];
      upcoming[setup.future[i]] = static_cast<std::uint32_t>(i);
    }
  }

  [[nodiscard]] bool contains(std::uint32_t id) const { return resident_[id] != 0; }
  void prefetch(std::uint32_t id) const { __builtin_prefetch(&resident_[id], 1); }

  bool access(std::uint32_t id) {
    const bool hit = contains(id);
    if (!hit) {
      if (room_ == 0) evict();
      --room_;
      ++residents_;
      resident_[id] = 1;
    }
    entries_.push_back(std::uint64_t{next_use_[now_]} << 32U | id);
    std::push_heap(entries_.begin(), entries_.end());
    ++now_;
    if (entries_.size() > 4 * residents_ + 1024) sweep();
    return hit;
  }

 private:
  static constexpr std::uint32_t kNeverAgain = ~std::uint32_t{0};

  void evict() {
    std::pop_heap(entries_.begin(), entries_.end());
    resident_[static_cast<std::uint32_t>(entries_.back())] = 0;
    entries_.pop_back();
    ++room_;
    --residents_;
  }
  void sweep() {
    std::erase_if(entries_, [this](std::uint64_t entry) { return entry >> 32U < now_; });
    std::make_heap(entries_.begin(), entries_.end());
  }

  HugeVector<std::uint32_t> next_use_;  // by number of the reference
  HugeVector<std::uint8_t> resident_;
  HugeVector<std::uint64_t> entries_;  // next use above, key below
  std::size_t residents_ = 0;
  std::size_t now_ = 0;
  std::int64_t room_;
};

}  // namespace tessera
