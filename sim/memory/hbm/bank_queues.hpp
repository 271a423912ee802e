// The requests a channel holds, by bank, in order of arrival.
//
// Every bank of a pseudo-channel has two lists for reads and two for writes: requests that hit its open
// row, and the others. So the scheduler never looks at single requests: it compares the heads of lists
// through bit masks of banks. Requests are threaded through one pool of slots; nothing is allocated after
// construction. Opening a row moves its requests from `wait` to `hit`, closing it moves the rest back.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/hbm/command.hpp"

namespace tessera {

// A request in the order of arrival, and the bank it is for.
using HbmTurn = std::uint64_t;  // from the top: 57 bits of arrivals, 1 of pseudo-channel, 6 of bank
inline constexpr HbmTurn kHbmNobody = ~HbmTurn{0};
constexpr HbmTurn hbm_turn(std::uint64_t arrival, std::uint32_t half, std::uint32_t bank) {
  return arrival << 7U | half << 6U | bank;
}
constexpr HbmTurn hbm_turn_if(bool may, HbmTurn turn) { return turn | (static_cast<HbmTurn>(may) - 1); }
// Which of two comes first is a coin toss: arithmetic, so that no compiler makes it a branch.
constexpr HbmTurn hbm_first(HbmTurn a, HbmTurn b) { return b ^ ((a ^ b) & -static_cast<HbmTurn>(a < b)); }
constexpr std::uint32_t half_of(HbmTurn turn) { return turn >> 6U & 1U; }
constexpr std::uint32_t bank_of(HbmTurn turn) { return turn & 63U; }

class HbmSlots {
 public:
  using Id = std::uint16_t;
  static constexpr Id kNone = 0xFFFF;
  struct Slot {
    HbmTick arrival = 0;
    HbmTurn turn = 0;
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

// Requests that do not hit. It knows which rows it may hold: when one is opened, mostly for a single request,
// nobody has to look for others.
class HbmWaitList : public HbmList {
 public:
  void append(HbmSlots& slots, HbmSlots::Id id) {
    HbmList::append(slots, id);
    note(slots[id].row);
  }
  // Moves the requests of `row` to the end of `hits`; all stay in order of age.
  void open_row(HbmSlots& slots, HbmList& hits, std::uint32_t row) {
    if ((rows_ & bit(row)) == 0) return;
    if (!repeated_ && slots[head].row == row) {
      rows_ &= ~bit(row);
      hits.append(slots, pop(slots));
      return;
    }
    HbmList all = *this;
    *this = {};
    while (!all.empty()) {
      const HbmSlots::Id id = all.pop(slots);
      if (slots[id].row == row)
        hits.append(slots, id);
      else
        append(slots, id);
    }
  }
  // Takes the requests of `hits` back, by age.
  void close_row(HbmSlots& slots, HbmList& hits) {
    HbmList waiting = *this;
    *this = {};
    while (!hits.empty() || !waiting.empty()) {
      const bool from_hits =
          waiting.empty() || (!hits.empty() && slots[hits.head].turn < slots[waiting.head].turn);
      append(slots, (from_hits ? hits : waiting).pop(slots));
    }
  }

 private:
  static constexpr std::uint64_t bit(std::uint32_t row) { return std::uint64_t{1} << (row % 64); }
  void note(std::uint32_t row) {
    repeated_ = repeated_ || (rows_ & bit(row)) != 0;
    rows_ |= bit(row);
  }
  std::uint64_t rows_ = 0;  // modulo 64
  bool repeated_ = false;   // two requests share a bit
};

}  // namespace tessera
