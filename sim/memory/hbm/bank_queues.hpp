// The requests a channel holds, by bank, in order of arrival.
//
// Every bank of a pseudo-channel has two lists for reads and two for writes: requests that hit its open
// row, and the others. So the scheduler never looks at single requests: it compares the heads of lists
// through bit masks of banks. Requests are threaded through one pool of slots; nothing is allocated after
// construction. Opening a row moves its requests from `wait` to `hit`, closing it merges them back by age.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/hbm/command.hpp"

namespace tessera {

class HbmSlots {
 public:
  using Id = std::uint16_t;
  static constexpr Id kNone = 0xFFFF;
  struct Slot {
    HbmTick arrival = 0;
    std::uint64_t age = 0;  // order of arrival
    std::uint32_t row = 0;
    std::uint16_t column = 0;
    Id next = kNone;
    bool activated = false;  // a row was opened for it, so it has left its queue
  };

  explicit HbmSlots(std::size_t count) : slots_(count) {
    for (std::size_t i = count; i-- > 0;) release(static_cast<Id>(i));
  }
  Id take() {
    TESSERA_CHECK(free_ != kNone, "a request was queued without room for it");
    const Id id = free_;
    free_ = slots_[id].next;
    return id;
  }
  void release(Id id) {
    slots_[id].next = free_;
    free_ = id;
  }
  Slot& operator[](Id id) { return slots_[id]; }
  const Slot& operator[](Id id) const { return slots_[id]; }

 private:
  std::vector<Slot> slots_;
  Id free_ = kNone;  // the first of a list
};

// A list of slots, oldest first.
struct HbmList {
  HbmSlots::Id head = HbmSlots::kNone, tail = HbmSlots::kNone;

  [[nodiscard]] bool empty() const { return head == HbmSlots::kNone; }
  void append(HbmSlots& slots, HbmSlots::Id id) {
    slots[id].next = HbmSlots::kNone;
    if (empty())
      head = id;
    else
      slots[tail].next = id;
    tail = id;
  }
  HbmSlots::Id pop(HbmSlots& slots) {
    const HbmSlots::Id id = head;
    head = slots[id].next;
    return id;
  }
};

// Moves the requests of `row` from one list to the end of the other; both stay in order of age.
inline void split_row(HbmSlots& slots, HbmList& from, HbmList& to, std::uint32_t row) {
  HbmSlots::Id before = HbmSlots::kNone;
  for (HbmSlots::Id id = from.head; id != HbmSlots::kNone;) {
    const HbmSlots::Id next = slots[id].next;
    if (slots[id].row == row) {
      (before == HbmSlots::kNone ? from.head : slots[before].next) = next;
      if (from.tail == id) from.tail = before;
      to.append(slots, id);
    } else {
      before = id;
    }
    id = next;
  }
}

// Empties `from` into `to` by age.
inline void merge_by_age(HbmSlots& slots, HbmList& from, HbmList& to) {
  HbmList merged;
  while (!from.empty() || !to.empty()) {
    const bool take_from = to.empty() || (!from.empty() && slots[from.head].age < slots[to.head].age);
    merged.append(slots, (take_from ? from : to).pop(slots));
  }
  from = HbmList{};
  to = merged;
}

}  // namespace tessera
