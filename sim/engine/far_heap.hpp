// A binary heap of events in (time, sequence) order: earlier first, and among equal times the one
// pushed first. Holds what the timing wheel cannot: events beyond its window and events pushed into
// the slot that is being emptied.
//
// std::push_heap and std::pop_heap are used on purpose: libstdc++ sifts to the bottom and back up,
// which measured faster here than two-, four- and eight-way heaps that swap on the way down.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/engine/event.hpp"

namespace tessera::sim {

class FarHeap {
 public:
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] const Event& top() const { return entries_.front().event; }

  void push(const Event& event) {
    entries_.push_back({event, sequence_++});
    std::push_heap(entries_.begin(), entries_.end(), Later{});
  }

  Event pop() {
    std::pop_heap(entries_.begin(), entries_.end(), Later{});
    const Event event = entries_.back().event;
    entries_.pop_back();
    return event;
  }

 private:
  struct Entry {
    Event event;
    std::uint64_t sequence;
  };
  struct Later {  // a type, not a function, so that the comparison is inlined into the sift
    bool operator()(const Entry& a, const Entry& b) const {
      return a.event.time != b.event.time ? a.event.time > b.event.time : a.sequence > b.sequence;
    }
  };

  std::vector<Entry> entries_;
  std::uint64_t sequence_ = 0;
};

}  // namespace tessera::sim
