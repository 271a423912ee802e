// The pending-event set: a timing wheel for the near future, a heap for the rest.
//
// Time is cut into slots of 2^slot_bits ticks. The wheel covers kSlots slots from the current one;
// an event inside that window is put on its slot's list in O(1), and a bitmap of occupied slots finds
// the next one in a few instructions. An event beyond the window goes to a heap. The current slot is
// held as a sorted run, so several times may share a slot; events pushed into it while it is being
// emptied go to a small heap beside it.
//
// Order is (time, order of push) without a sequence number per event. Of one slot, the events in the
// heap were pushed while it lay beyond the window, so before any on its list, and those before any
// pushed once it is current; within each of the three the order of push is kept.
//
// Source: Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987; a heap in place of
// outer wheels because far events are few. Left out: deletion (see event.hpp).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "sim/engine/event.hpp"
#include "sim/engine/far_heap.hpp"

namespace tessera::sim {

class TimingWheel {
 public:
  static constexpr std::uint32_t kSlots = 1U << 14U;
  // 512 ps: about one clock of a GPU, so that a slot seldom holds more than one time.
  static constexpr int kDefaultSlotBits = 9;

  explicit TimingWheel(int slot_bits = kDefaultSlotBits) : slot_bits_(slot_bits) {
    if (slot_bits < 0 || slot_bits > 40) throw std::invalid_argument("TimingWheel: slot_bits outside 0..40");
    lists_.assign(kSlots, kNone);
  }

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Time of the event popped last; nothing may be pushed before it.
  [[nodiscard]] Ticks now() const { return now_; }

  void push(const Event& event) {
    if (event.time < now_) throw std::logic_error("TimingWheel: an event was pushed into the past");
    ++size_;
    const Ticks slot = event.time >> slot_bits_;
    if (slot <= current_) {
      late_.push(event);
    } else if (slot - current_ < kSlots) {
      append(slot, event);
    } else {
      far_.push(event);
    }
  }

  // Time of the earliest event; the queue must not be empty.
  [[nodiscard]] Ticks next_time() {
    make_current();
    if (late_first()) return late_.top().time;
    return run_[next_].time;
  }

  // Removes and returns the earliest event; the queue must not be empty.
  Event pop() {
    make_current();
    const Event event = late_first() ? late_.pop() : run_[next_++];
    --size_;
    now_ = event.time;
    return event;
  }

 private:
  static constexpr std::uint32_t kNone = ~0U;
  static constexpr std::uint32_t kWords = kSlots / 64;
  // Events of one slot in order of push. A slot's chunks form a ring; the slot names the last one.
  static constexpr std::uint32_t kChunk = 7;  // what fits two cache lines
  struct alignas(64) Chunk {
    std::array<Event, kChunk> events;
    std::uint32_t size;
    std::uint32_t next;
  };

  static std::uint32_t index_of(Ticks slot) { return static_cast<std::uint32_t>(slot) & (kSlots - 1); }

  // On equal times the run goes first: all of it was pushed before the slot became current.
  [[nodiscard]] bool late_first() const {
    return !late_.empty() && (next_ == run_.size() || late_.top().time < run_[next_].time);
  }

  void append(Ticks slot, const Event& event) {
    const std::uint32_t index = index_of(slot);
    const std::uint32_t last = lists_[index];
    if (last != kNone && chunks_[last].size < kChunk) {
      Chunk& chunk = chunks_[last];
      chunk.events[chunk.size++] = event;
      return;
    }
    const std::uint32_t fresh = take_chunk();
    Chunk& chunk = chunks_[fresh];
    chunk.events[0] = event;
    chunk.size = 1;
    if (last == kNone) {
      chunk.next = fresh;
      words_[index / 64] |= std::uint64_t{1} << (index % 64);
      summary_[index / 4096] |= std::uint64_t{1} << (index / 64 % 64);
      ++occupied_;
    } else {
      chunk.next = chunks_[last].next;
      chunks_[last].next = fresh;
    }
    lists_[index] = fresh;
  }

  std::uint32_t take_chunk() {
    if (unused_ == kNone) {
      chunks_.emplace_back();
      return static_cast<std::uint32_t>(chunks_.size() - 1);
    }
    const std::uint32_t chunk = unused_;
    unused_ = chunks_[chunk].next;
    return chunk;
  }

  void make_current() {
    if (next_ == run_.size() && late_.empty()) advance();
  }

  void advance();
  void collect(std::uint32_t index);
  void sort_run();

  // The first occupied slot after `from`, going round; `from` itself is always empty.
  [[nodiscard]] std::uint32_t next_occupied(std::uint32_t from) const {
    const std::uint32_t word = from / 64;
    const std::uint64_t rest = words_[word] & (~std::uint64_t{0} << (from % 64));
    if (rest != 0) return word * 64 + static_cast<std::uint32_t>(std::countr_zero(rest));
    // Words after this one, then round to this one again: kWords/64 summaries plus the split one.
    const std::uint32_t after = (word + 1) % kWords;
    for (std::uint32_t step = 0; step <= kWords / 64; ++step) {
      const std::uint32_t block = (after / 64 + step) % (kWords / 64);
      std::uint64_t summary = summary_[block];
      const std::uint64_t from_after = ~std::uint64_t{0} << (after % 64);
      if (step == 0) summary &= from_after;
      if (step == kWords / 64) summary &= ~from_after;
      if (summary == 0) continue;
      const std::uint32_t found = block * 64 + static_cast<std::uint32_t>(std::countr_zero(summary));
      return found * 64 + static_cast<std::uint32_t>(std::countr_zero(words_[found]));
    }
    return kNone;
  }

  int slot_bits_;
  Ticks now_ = 0;
  Ticks current_ = 0;  // the slot the run came from, counted from time 0
  std::size_t size_ = 0;
  std::size_t next_ = 0;       // first event of the run not yet popped
  std::vector<Event> run_;     // the current slot in order
  FarHeap late_;               // pushed into the current slot since
  std::vector<Chunk> chunks_;  // of the slots' lists and of the list of unused ones
  std::uint32_t unused_ = kNone;
  std::uint32_t occupied_ = 0;                        // slots with a list
  std::vector<std::uint32_t> lists_;                  // last chunk of each slot
  std::array<std::uint64_t, kWords> words_{};         // bit set: the slot is occupied
  std::array<std::uint64_t, kWords / 64> summary_{};  // bit set: the word is not zero
  FarHeap far_;
};

}  // namespace tessera::sim
