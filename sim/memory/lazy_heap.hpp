// Finds the resident key of least priority when priorities only ever rise: a hit changes the priority
// where its owner keeps it and leaves the heap alone. An entry's key is thus a lower bound, and the top
// is brought up to date before it is believed: if it was stale it sinks to its true place and the new
// top is looked at. Exact, and a hit costs nothing here.
//
// A four-ary heap of 16-byte entries: four siblings fill one cache line, and it is half as deep as a
// binary one. The root stands at index 3, so that the children of i, 4i - 8 to 4i - 5, are aligned.
#pragma once

#include <cstdint>

#include "models/base/check.hpp"
#include "sim/memory/huge_pages.hpp"

namespace tessera {

// Least `major` goes first; among equals least `minor`, usually the number of the last use.
struct Priority {
  std::uint64_t major = 0;
  std::uint32_t minor = 0;
};

class LazyHeap {
 public:
  LazyHeap() : entries_(kRoot) {}

  [[nodiscard]] bool empty() const { return entries_.size() == kRoot + (vacant_ ? 1 : 0); }

  void push(std::uint32_t id, Priority priority) {
    if (vacant_) {
      vacant_ = false;
      sink(Entry(id, priority));
      return;
    }
    entries_.emplace_back();
    rise(entries_.size() - 1, Entry(id, priority));
  }

  // Removes and returns the id whose `current(id)` is least. Those likely to be asked for next are told
  // to `prefetch`.
  template <class Current, class Prefetch>
  std::uint32_t pop(Current&& current, Prefetch&& prefetch) {
    TESSERA_CHECK(!empty(), "something is resident");
    if (vacant_) {
      vacant_ = false;
      const Entry last = entries_.back();
      entries_.pop_back();
      sink(last);
    }
    for (;;) {
      const std::uint32_t id = entries_[kRoot].id();
      const Entry now(id, current(id));
      if (now == entries_[kRoot]) {
        for (std::size_t next = kRoot + 1; next < entries_.size() && next <= kRoot + 4; ++next)
          prefetch(entries_[next].id());
        vacant_ = true;
        return id;
      }
      TESSERA_CHECK(entries_[kRoot] < now, "priorities only rise");
      sink(now);
    }
  }

 private:
  static constexpr std::size_t kRoot = 3;
  struct Entry {
    Entry() = default;
    Entry(std::uint32_t id, Priority priority)
        : major(priority.major), minor_id(std::uint64_t{priority.minor} << 32U | id) {}
    [[nodiscard]] std::uint32_t id() const { return static_cast<std::uint32_t>(minor_id); }
    friend bool operator==(const Entry&, const Entry&) = default;
    // No branch: which of two siblings is less is a coin toss.
    friend bool operator<(const Entry& a, const Entry& b) {
      return static_cast<bool>(
          static_cast<int>(a.major < b.major) |
          (static_cast<int>(a.major == b.major) & static_cast<int>(a.minor_id < b.minor_id)));
    }
    std::uint64_t major = 0;
    std::uint64_t minor_id = 0;
  };

  // Puts `entry` at the root and lets it down to its place.
  void sink(const Entry& entry) {
    const std::size_t size = entries_.size();
    Entry* const all = entries_.data();
    std::size_t at = kRoot;
    for (;;) {
      const std::size_t first = at * 4 - 8;
      std::size_t least = first;
      if (first + 4 <= size) {
        // The sixteen grandchildren stand together: ask for them before it is known which four it will be.
        if (first * 4 + 8 <= size)
          for (std::size_t below = first * 4 - 8; below < first * 4 + 8; below += 4)
            __builtin_prefetch(&all[below], 1);
        const std::size_t left = first + (all[first + 1] < all[first] ? 1 : 0);
        const std::size_t right = first + 2 + (all[first + 3] < all[first + 2] ? 1 : 0);
        least = all[right] < all[left] ? right : left;
      } else {
        if (first >= size) break;
        for (std::size_t child = first + 1; child < size; ++child)
          if (all[child] < all[least]) least = child;
      }
      if (!(all[least] < entry)) break;
      all[at] = all[least];
      at = least;
    }
    all[at] = entry;
  }
  void rise(std::size_t at, const Entry& entry) {
    while (at > kRoot) {
      const std::size_t parent = (at + 8) / 4;
      if (!(entry < entries_[parent])) break;
      entries_[at] = entries_[parent];
      at = parent;
    }
    entries_[at] = entry;
  }

  HugeVector<Entry> entries_;
  // The root has been popped. An eviction makes room for a key: it takes the root, and need not sink far,
  // as newcomers have low priority.
  bool vacant_ = false;
};

}  // namespace tessera
