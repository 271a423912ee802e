// The decoding requests of one engine as aggregates.
//
// All decodes advance by one token per step, so a request's context is `key + clock()` with a key that
// never changes while it decodes. That makes everything a step needs incremental: the sum of contexts,
// their order (by key), which requests cross a block boundary (those of one phase, key mod block) and
// which emit their last token (a heap on the step number). A step costs O(requests that cross or finish).
// A request may decode as several sequences of equal length (samples, beams): it is one slot and counts as
// that many.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

class DecodeSet {
 public:
  using Slot = std::uint32_t;

  // block_tokens > 0. windows: sizes for which window_sum is kept. width: sequences of every request.
  DecodeSet(std::int64_t block_tokens, std::span<const std::int64_t> windows, std::int64_t width = 1);

  // A request with `computed` tokens in the cache that still has to emit `remaining` > 0 tokens.
  void add(Slot slot, std::int64_t computed, std::int64_t remaining);
  void remove(Slot slot);

  // Sequences.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(keys_.size()); }
  [[nodiscard]] std::int64_t clock() const { return clock_; }
  [[nodiscard]] std::int64_t computed(Slot slot) const { return slots_[slot].key + clock_; }
  [[nodiscard]] bool contains(Slot slot) const { return slot < slots_.size() && slots_[slot].in; }

  // Requests that need a new block in the next step.
  [[nodiscard]] const std::vector<Slot>& crossing() const {
    return phase_[static_cast<std::size_t>(clock_phase_)];
  }
  // Sum of contexts attended to in the next step (each counts its new token).
  [[nodiscard]] std::int64_t context_sum() const { return sum_ + size(); }
  // Sum of min(context, window i) in the next step.
  [[nodiscard]] std::int64_t window_sum(std::size_t i) const;
  // key + 1 of every sequence, largest first: context in the next step = value + clock().
  [[nodiscard]] std::span<const std::int32_t> lengths() const { return keys_; }

  // Steps until the first request emits its last token: 1 means in the next step. 2^62 if empty.
  [[nodiscard]] std::int64_t steps_to_finish();

  // Runs the next step; requests that emit their last token leave the set and are appended to `finished`
  // in the order they were added.
  void step(std::vector<Slot>& finished);

 private:
  struct Entry {
    std::int64_t key = 0;
    std::uint32_t phase_at = 0;  // position in its phase list
    std::uint32_t epoch = 0;     // distinguishes uses of a recycled slot in the heaps
    bool in = false;
  };
  struct Due {
    std::int64_t step;
    std::uint64_t order;
    Slot slot;
    std::uint32_t epoch;
    // For std::push_heap: the earliest due on top.
    friend bool operator<(const Due& a, const Due& b) {
      return a.step != b.step ? a.step > b.step : a.order > b.order;
    }
  };
  struct Window {
    std::int64_t size;
    std::int64_t below = 0;       // sequences whose context is still shorter than the window
    std::int64_t below_keys = 0;  // sum of their keys
    std::vector<Due> fills;       // when each reaches the window
  };

  [[nodiscard]] std::size_t phase_of(std::int64_t key) const;
  bool live(const Due& due) const { return slots_[due.slot].in && slots_[due.slot].epoch == due.epoch; }

  std::int64_t block_tokens_, width_;
  std::int64_t clock_ = 0;
  std::int64_t clock_phase_ = 0;  // clock mod block_tokens
  std::int64_t sum_ = 0;          // of computed tokens
  std::uint64_t order_ = 0;
  std::vector<Entry> slots_;
  std::vector<std::int32_t> keys_;  // key + 1, descending
  std::vector<std::vector<Slot>> phase_;
  std::vector<Due> due_;
  std::vector<Window> windows_;
};

}  // namespace tessera
